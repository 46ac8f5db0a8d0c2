#!/usr/bin/env python3
"""A campaign on three providers at once, each of which refuses something: what is refused waits or stops in its own scope, and
the others' pace is untouched.  `make show-scopes` prints the table."""
import json
import os
import sys
from collections import Counter

from gateways import Gateways, cloud_error, gowa_error
from harness import Fleet, equal, main, test, true, wait_until

GAP, LEADS = 150, 40  # milliseconds between two messages of a device; leads of a device
# device name -> sender, what the provider calls it, account, what goes wrong there
DEVICES = {
    "cloud-fine": ("cloud", "1001", "good", "nothing"),
    "cloud-pair": ("cloud", "1002", "good", "one recipient is written to too often (131056)"),
    "cloud-template": ("cloud", "1003", "good", "the promo's template is paused (132015)"),
    "cloud-blocked": ("cloud", "1004", "bad", "the account is blocked (368)"),
    "cloud-sibling": ("cloud", "1005", "bad", "nothing, but it is of the blocked account"),
    "cloud-expired": ("cloud-old", "1006", "", "the token has expired (190)"),
    "gowa-fine": ("gowa", "g1", "", "nothing"),
    "gowa-463": ("gowa", "g2", "", "no new contacts (error 463)"),
    "waha-fine": ("waha", "w1", "", "nothing"),
    "waha-fine2": ("waha", "w2", "", "nothing"),
}
UNTOUCHED = ["cloud-fine", "cloud-pair", "cloud-template", "gowa-fine", "waha-fine", "waha-fine2"]


def fleet_on(gateways):
    common = {"url": gateways.url, "allow_private": "yes"}
    cloud = {"type": "cloudapi", "token": "good-token", **common}
    return Fleet(stub=False, conf={"worker": {"device_rest": "30s"}}, senders={
        "cloud": cloud, "cloud-old": {**cloud, "token": "old-token"}, "gowa": {"type": "gowa", **common},
        "waha": {"type": "waha", "api_key": "key", **common}})


def prepare(fleet):
    for name, (sender, ref, account, _) in DEVICES.items():
        fleet.ctl("device", "add", name, "--sender", sender, "--sender-ref", ref, "--gap", f"{GAP}ms..{GAP}ms",
                  *(["--account", account] if account else []))
    ids = {n: int(i) for i, n in fleet.sql.rows("SELECT id, name FROM devices")}
    fleet.leads(LEADS)
    return ids


def trouble(pair, friends):
    """The script of the providers while they refuse."""
    def script(r):
        if r.provider == "cloud":
            if r.token == "Bearer old-token":
                return cloud_error(190, "Error validating access token: Session has expired", 401)
            if r.device == "1004":
                return cloud_error(368, "Temporarily blocked for policies violations")
            if r.text.startswith("Promo"):
                return cloud_error(132015, "Template is paused due to low quality")
            if r.recipient == pair and r.nth <= 2:
                return cloud_error(131056, "(Business Account, Consumer Account) pair rate limit hit")
        if r.provider == "gowa" and r.device == "g2" and r.recipient not in friends:
            return gowa_error("WA_REACHOUT_TIMELOCK", "server returned error 463", 429)
        return None
    return script


def longest_gap(gateways, fleet_ref):
    at = [l.at for l in gateways.ledger if l.device == fleet_ref]
    return max(b - a for a, b in zip(at, at[1:]))


def table(fleet, gateways, title):
    print(title)
    print(f"  {'device':15} {'campaign':9} {'sent':>5} {'waits':>6} {'failed':>7}  {'requests':>8}  what went wrong")
    rows = fleet.sql.rows("SELECT d.name, c.name, SUM(m.status = 'sent'), SUM(m.status IN ('pending', 'processing', 'queued')),"
                          " SUM(m.status = 'failed'), SUM(m.status NOT IN ('sent', 'pending', 'processing', 'queued', 'failed')), COUNT(*)"
                          " FROM broadcast_messages m JOIN devices d ON d.id = m.device_id JOIN campaigns c ON c.id = m.campaign_id"
                          " GROUP BY d.id, d.name, c.id, c.name ORDER BY d.id, c.id")
    requests = Counter(l.device for l in gateways.ledger)
    for device, campaign, sent, waits, failed, other, n in rows:
        equal(int(n), int(sent) + int(waits) + int(failed) + int(other), f"{device}: messages")
        print(f"  {device:15} {campaign:9} {sent:>5} {waits:>6} {failed:>7}  {requests[DEVICES[device][1]]:>8}  {DEVICES[device][3]}")
    return {(d, c): (int(s), int(w), int(f)) for d, c, s, w, f, *_ in rows}


@test(seconds=180)
def only_what_is_refused_waits():
    with Gateways() as gateways, fleet_on(gateways) as fleet:
        ids = prepare(fleet)
        phone = lambda device, where: str(fleet.sql.one(f"SELECT phone FROM leads WHERE device_id = {ids[device]} ORDER BY id {where} LIMIT 1"))
        pair, friend = phone("cloud-pair", ""), phone("gowa-463", "DESC")
        fleet.sql.exec("INSERT INTO broadcast_messages (job_id, user_id, device_id, kind, recipient_phone, content, scheduled_at, status,"
                       f" sent_at, created_at, updated_at) VALUES ('old', 1, {ids['gowa-463']}, 'direct', '{friend}', 'x', UTC_TIMESTAMP(3),"
                       " 'sent', UTC_TIMESTAMP(3), UTC_TIMESTAMP(3), UTC_TIMESTAMP(3))")
        gateways.script = trouble(pair, {friend})
        news = fleet.campaign("news", content="News for {{name}}")
        promo = fleet.campaign("promo", devices=[ids["cloud-template"]], content="Promo for {{name}}")
        fleet.start()
        rest = [ids[d] for d in UNTOUCHED]
        wait_until(lambda: fleet.sql.one("SELECT COUNT(*) FROM broadcast_messages WHERE status = 'sent' AND campaign_id = %d AND device_id IN (%s)"
                                         % (news, ", ".join(map(str, rest)))) == len(rest) * LEADS, 60, "the untouched devices")
        wait_until(lambda: fleet.sql.one("SELECT COUNT(*) FROM broadcast_messages WHERE status = 'sent' AND campaign_id = %d AND device_id = %d"
                                         % (news, ids["gowa-463"])) == 1, 30, "the friend of the device without new contacts")
        got = table(fleet, gateways, "while the providers refuse:")
        for device in UNTOUCHED:
            equal((LEADS, 0, 0), got[device, "news"], f"{device}: sent, waits, failed")
        for device in ("cloud-blocked", "cloud-sibling", "cloud-expired"):
            true(got[device, "news"][2] == 0 and got[device, "news"][1] > 0, f"{device} lost messages: {got[device, 'news']}")
        equal((1, LEADS - 1, 0), got["gowa-463", "news"], "gowa-463: sent, waits, failed")
        equal((0, LEADS, 0), got["cloud-template", "promo"], "promo: sent, waits, failed")
        equal([("promo",)], fleet.sql.rows("SELECT name FROM campaigns WHERE status = 'paused'"), "campaigns that stopped")
        equal({"cloud-blocked", "cloud-sibling"}, {n for (n,) in fleet.sql.rows("SELECT name FROM devices WHERE status = 'paused'")}, "devices that stopped")
        gaps = {d: longest_gap(gateways, DEVICES[d][1]) for d in UNTOUCHED}
        print("  longest pause of the untouched devices, s: " + ", ".join(f"{d} {g:.2f}" for d, g in gaps.items()))
        equal(2, sum(l.recipient == pair and l.status >= 300 for l in gateways.ledger), "refusals of the pair")
        if os.environ.get("T_VERBOSE"):
            print(fleet.ctl("holds")[1])
        # Everything is mended; what a person has to resume is resumed.
        gateways.script = lambda r: None
        fleet.ctl("campaign", "resume", "promo")
        fleet.ctl("device", "resume", "cloud-blocked")
        fleet.ctl("device", "resume", "cloud-sibling")
        lift_new_contacts(fleet, ids["gowa-463"])
        fleet.drain(90)
        end = table(fleet, gateways, "after it was mended and resumed:")
        equal({(LEADS, 0, 0)}, set(end.values()), "sent, waits, failed")
        equal((LEADS * (len(DEVICES) + 1), 1), (len(gateways.accepted()), max(Counter((l.device, l.recipient, l.text) for l in gateways.accepted()).values())),
              "accepted by the providers, and each at most")


def lift_new_contacts(fleet, device):
    """Half an hour has passed for the device: Redis and the rows that wait for it are moved on."""
    key = f"pl:{{p{device % 8:02}}}:d:{device}"
    fleet.redis.call("HSET", key, "new_until", "1000")
    fleet.sql.exec(f"UPDATE broadcast_messages SET scheduled_at = UTC_TIMESTAMP(3) WHERE status = 'pending' AND device_id = {device}")


@test
def a_device_that_goes_offline_is_noticed_and_goes_on_by_itself():
    with Gateways() as gateways, Fleet(stub=False, conf={"reaper": {"check_interval": "300ms"}}, senders={
            "gowa": {"type": "gowa", "url": gateways.url, "allow_private": "yes"},
            "waha": {"type": "waha", "api_key": "key", "url": gateways.url, "allow_private": "yes"}}) as fleet:
        fleet.ctl("device", "add", "g", "--sender", "gowa", "--sender-ref", "g1", "--gap", "1ms..2ms")
        fleet.ctl("device", "add", "w", "--sender", "waha", "--sender-ref", "w1", "--gap", "1ms..2ms", "--when-offline", "skip")
        fleet.leads(20)
        gateways.offline = {"g1", "w1"}
        fleet.start()
        status = lambda: dict(fleet.sql.rows("SELECT name, status FROM devices"))
        wait_until(lambda: status() == {"g": "offline", "w": "offline"}, 20, lambda: f"both to be offline: {status()}")
        true(fleet.sql.one("SELECT status_reason FROM devices WHERE name = 'g'").startswith("not connected"), "reason")
        c = fleet.campaign("c")
        wait_until(lambda: fleet.statuses(c) == {"pending": 20, "skipped": 20}, 20, lambda: f"one to wait, one to skip: {fleet.statuses(c)}")
        equal([], gateways.ledger, "requests to devices that are offline")
        gateways.offline = set()
        wait_until(lambda: status() == {"g": "active", "w": "active"}, 20, lambda: f"both to be back: {status()}")
        fleet.drain(30)
        equal({"sent": 20, "skipped": 20}, fleet.statuses(c), "messages")
        # A person's pause is a person's.
        fleet.ctl("device", "pause", "g", "--reason", "holiday")
        asked = fleet.sql.one("SELECT checked_at FROM devices WHERE name = 'w'")
        gateways.offline = {"g1"}
        wait_until(lambda: fleet.sql.one("SELECT checked_at FROM devices WHERE name = 'w'") != asked, 20, "another round of looks")
        equal(("paused", "holiday"), fleet.sql.rows("SELECT status, status_reason FROM devices WHERE name = 'g'")[0], "the paused device")


@test
def a_refusal_about_the_device_asks_at_once():
    with Gateways() as gateways, Fleet(stub=False, senders={
            "gowa": {"type": "gowa", "url": gateways.url, "allow_private": "yes"}}) as fleet:
        fleet.ctl("device", "add", "g", "--sender", "gowa", "--sender-ref", "g1", "--gap", "1ms..2ms")
        fleet.leads(5)
        gateways.script = lambda r: gowa_error("AUTHENTICATION_ERROR", "you are not logged in", 401)
        fleet.sql.exec("UPDATE devices SET checked_at = UTC_TIMESTAMP(3) + INTERVAL 1 HOUR")
        gateways.offline = {"g1"}
        fleet.campaign("c")
        fleet.start()
        wait_until(lambda: fleet.sql.one("SELECT status FROM devices") == "offline", 20, "the device to be offline")
        equal(1, len(gateways.ledger), "requests")
        shown = lambda: json.loads(fleet.ctl("--json", "device", "show", "g")[1])["redis"]["paused"] or ""
        wait_until(lambda: shown().startswith("not connected"), 10, lambda: f"Redis to know: {shown()}")


if __name__ == "__main__":
    sys.exit(main())
