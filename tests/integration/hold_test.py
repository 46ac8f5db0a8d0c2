#!/usr/bin/env python3
"""What one answer of a provider means for others: sources, devices and accounts stop until a person resumes them;
endpoints, pairs, new contacts and recipients wait; and nothing else does."""
import json
import sys
import time

from harness import Fleet, equal, main, test, true, wait_until
from refusals import RULES, refuse


def fleet_with_rules(**more):
    fleet = Fleet(**more)
    fleet.senders["stub"].update(RULES)
    fleet.senders["other"] = dict(fleet.senders["stub"])
    return fleet


def sent(fleet, campaign):
    return fleet.statuses(campaign).get("sent", 0)


def paused(fleet, table, name):
    return fleet.sql.rows(f"SELECT status_reason FROM {table} WHERE status = 'paused' AND name = '{name}'")


@test
def a_template_error_pauses_its_campaign_at_the_first_hit_and_no_other():
    with fleet_with_rules(conf={"all": {"partitions": "4"}}) as fleet:
        fleet.stub.control(refuse("device:1", "tpl"))
        fleet.devices(8)
        fleet.leads(40)
        bad = fleet.campaign("bad")
        fleet.start()
        wait_until(lambda: paused(fleet, "campaigns", "bad"), 20, "the campaign to be paused")
        equal([("tpl: HTTP 400: because tpl",)], paused(fleet, "campaigns", "bad"), "reason")
        wait_until(lambda: {fleet.redis.call("HGET", f"pl:{{p{p:02}}}:stopped", f"c{bad}") for p in range(4)} == {"paused"}, 10,
                   "every partition to know")
        good = fleet.campaign("good", devices=[3, 4])
        wait_until(lambda: sent(fleet, good) == 80, 30, "the other campaign to be sent")
        shown = json.loads(fleet.ctl("--json", "campaign", "show", "bad")[1])
        equal(("paused", "tpl: HTTP 400: because tpl"), (shown["status"], shown["reason"]), "campaign show")
        code, out, _ = fleet.ctl("audit", "stuck", check=False)
        true("mend it, then campaign resume" in out, f"audit: {out}")
        hits = [r for r in fleet.ledger() if r.verdict.startswith("reject")]
        true(1 <= len(hits) <= 4, f"{len(hits)} messages were refused before it stood")
        equal(0, fleet.statuses(bad).get("failed", 0), "messages given up")
        fleet.stub.control()
        fleet.ctl("campaign", "resume", "bad")
        fleet.drain()
        equal({"sent": 320}, fleet.statuses(bad), "after it was mended")
        equal("", fleet.sql.one(f"SELECT status_reason FROM campaigns WHERE id = {bad}"), "reason")


@test
def many_messages_refused_alike_pause_their_campaign_and_a_few_among_many_do_not():
    with fleet_with_rules() as fleet:
        fleet.stub.control(refuse("device:1", "param"))
        fleet.devices(2, gap=(50, 50))
        fleet.leads(60)
        fleet.start()
        few = fleet.campaign("few", devices=[2])
        wait_until(lambda: sent(fleet, few) == 60, 30, "the first campaign")
        fleet.sql.exec("UPDATE broadcast_messages SET status = 'failed', error_class = 'param' WHERE campaign_id = %d LIMIT 2" % few)
        all_ = fleet.campaign("all", devices=[1])
        wait_until(lambda: paused(fleet, "campaigns", "all"), 20, "the campaign to be paused")
        reason = paused(fleet, "campaigns", "all")[0][0]
        equal([("campaign", "all", reason)], [(h["scope"], h["name"], h["reason"]) for h in json.loads(fleet.ctl("--json", "holds")[1])], "holds")
        true(reason.endswith("messages refused alike, param: HTTP 400: because param") and int(reason.split()[0]) >= 3, reason)
        true(3 <= fleet.statuses(all_)["failed"] < 30, f"{fleet.statuses(all_)}")
        fleet.stub.control(refuse("recipient:30", "param"), refuse("recipient:45", "param"), refuse("recipient:59", "param"))
        mostly = fleet.campaign("mostly", devices=[2], content="again")
        wait_until(lambda: sent(fleet, mostly) == 57, 30, "a campaign of which three are refused")
        equal([], paused(fleet, "campaigns", "mostly"), "paused")


@test
def a_text_that_no_message_can_have_pauses_its_campaign():
    with fleet_with_rules(conf={"producer": {"window": "20"}}) as fleet:
        fleet.devices(1, gap=(1, 1))
        fleet.leads(900)
        fleet.start()
        c = fleet.campaign("broken", content="Hi {{name")
        wait_until(lambda: paused(fleet, "campaigns", "broken"), 20, "the campaign to be paused")
        true("messages refused alike, bad-template" in paused(fleet, "campaigns", "broken")[0][0], f"{paused(fleet, 'campaigns', 'broken')}")
        true(fleet.statuses(c)["failed"] < 900, f"{fleet.statuses(c)}")
        fleet.sql.exec(f"UPDATE campaigns SET content = 'Hi {{{{name}}}}' WHERE id = {c}")
        fleet.ctl("campaign", "resume", "broken")
        fleet.drain()
        end = fleet.statuses(c)
        true(end["sent"] + end["failed"] == 900 and end["sent"] > 0, f"{end}")


@test
def a_device_and_an_account_stop_until_a_person_resumes_them():
    with fleet_with_rules() as fleet:
        spammer, friend = fleet.devices(2)
        shop = fleet.devices(2, prefix="shop", account="my shop")
        rest = fleet.devices(2, prefix="rest", account="rest")
        fleet.stub.control(refuse(f"device:{spammer}", "spam"), refuse(f"device:{shop[0]}", "locked"))
        fleet.leads(30)
        c = fleet.campaign("c")
        fleet.start()
        wait_until(lambda: fleet.sql.one("SELECT COUNT(*) FROM devices WHERE status = 'paused'") == 3, 20, "three devices to be paused")
        locked = "provider said locked: HTTP 400: because locked"
        equal({str(spammer): "provider said spam: HTTP 400: because spam", str(shop[0]): locked, str(shop[1]): locked},
              {str(i): r for i, r in fleet.sql.rows("SELECT id, status_reason FROM devices WHERE status = 'paused'")}, "reasons")
        done = lambda device: fleet.sql.one(f"SELECT COUNT(*) FROM broadcast_messages WHERE device_id = {device} AND status = 'sent'")
        wait_until(lambda: [done(d) for d in [friend, *rest]] == [30, 30, 30], 30, "the others to go on")
        held = {h["name"]: h for h in json.loads(fleet.ctl("--json", "holds")[1])}
        equal(("account", "locked"), (held["my shop"]["scope"], held["my shop"]["reason"]), "holds")
        true(held["d1-1"]["reason"].startswith("provider said spam"), f"{held['d1-1']}")
        code, out, _ = fleet.ctl("audit", "stuck", check=False)
        true(code == 1 and "device d1-1 is paused: provider said spam: HTTP 400: because spam; mend it, then device resume" in out, out)
        equal(0, fleet.statuses(c).get("failed", 0), "messages given up")
        fleet.stub.control()
        began = time.monotonic()
        for name in ("d1-1", "shop2-1", "shop2-2"):
            fleet.ctl("device", "resume", name)
        fleet.drain()
        true(time.monotonic() - began < 30, "they waited for the old holds")
        equal({"sent": 180}, fleet.statuses(c), "after they were resumed")


@test
def what_redis_stopped_for_a_result_that_changes_nothing_goes_on():
    """A receipt or a repeated result may have ended the row before: then nobody sees the stop in MySQL, so it must not stay in Redis."""
    with fleet_with_rules() as fleet:
        fleet.devices(2)
        c = fleet.campaign("c", expanded_at="2026-01-01", status="running")
        for device, job, status in ((1, "device", "sent"), (2, "source", "sent"), (1, "next", "pending")):
            fleet.sql.exec("INSERT INTO broadcast_messages (job_id, user_id, device_id, kind, campaign_id, recipient_phone, content, status, gen,"
                           f" attempt, sent_at, scheduled_at, created_at, updated_at) VALUES ('{job}', 1, {device}, 'campaign', {c}, '{60100000 + len(job)}',"
                           f" 'x', '{status}', 1, 1, UTC_TIMESTAMP(3), '2100-01-01', UTC_TIMESTAMP(3), UTC_TIMESTAMP(3))")
        fleet.start(worker=0)
        for device, stop in ((1, "device"), (2, "source")):
            key = f"pl:{{p{device % 8:02}}}"
            if stop == "device":
                fleet.redis.call("HSET", f"{key}:d:1", "paused", "spam", "config", "1")
            else:
                fleet.redis.call("HSET", f"{key}:stopped", f"c{c}", "paused")
            fleet.redis.call("XADD", f"{key}:results", "*", "kind", "deferred", "id", stop, "row",
                             fleet.sql.one(f"SELECT id FROM broadcast_messages WHERE job_id = '{stop}'"), "dev", device, "gen", 1, "tok", 1,
                             "code", "spam", "text", "", "late", 0, "stop", stop)
        wait_until(lambda: fleet.redis.call("HGET", "pl:{p01}:d:1", "paused") is None, 15, "the device to go on")
        wait_until(lambda: fleet.redis.call("HGET", "pl:{p02}:stopped", f"c{c}") is None, 15, "the campaign to go on")
        equal([("active",), ("active",)], fleet.sql.rows("SELECT status FROM devices"), "devices")
        equal("sent", fleet.sql.one("SELECT status FROM broadcast_messages WHERE job_id = 'device'"), "row")


@test
def a_busy_endpoint_holds_its_devices_and_no_others_and_is_probed():
    with fleet_with_rules() as fleet:
        fleet.devices(6)
        other = fleet.devices(2, prefix="o", sender="other")
        fleet.leads(30)
        fleet.stub.control(*[refuse(f"device:{d}", "busy", 503) for d in range(1, 7)])
        c = fleet.campaign("c")
        fleet.start()
        done = lambda devices: fleet.sql.one("SELECT COUNT(*) FROM broadcast_messages WHERE status = 'sent' AND device_id IN"
                                             f" ({', '.join(map(str, devices))})")
        wait_until(lambda: done(other) == 60, 20, "the other endpoint's devices")
        wait_until(lambda: any(h["scope"] == "endpoint" for h in json.loads(fleet.ctl("--json", "holds")[1])), 10, "a hold to be shown")
        equal(0, done(range(1, 7)), "sent by the busy one")
        refused = len([r for r in fleet.ledger() if r.verdict.startswith("retry")])
        fleet.stub.control()
        fleet.drain()
        equal({"sent": 240}, fleet.statuses(c), "afterwards")
        true(refused < 120, f"{refused} requests to an endpoint that said it is busy")


@test
def pairs_new_contacts_and_recipients_wait_alone():
    with fleet_with_rules() as fleet:
        fleet.devices(3)
        fleet.leads(20)
        first = fleet.sql.one("SELECT phone FROM leads WHERE device_id = 1 ORDER BY id LIMIT 1")
        third = fleet.sql.one("SELECT phone FROM leads WHERE device_id = 3 ORDER BY id LIMIT 1")
        friend = fleet.sql.one("SELECT phone FROM leads WHERE device_id = 2 ORDER BY id DESC LIMIT 1")
        # Device 2 has sent to one of its recipients before.
        fleet.sql.exec("INSERT INTO broadcast_messages (job_id, user_id, device_id, kind, recipient_phone, content, scheduled_at, status,"
                       f" sent_at, created_at, updated_at) VALUES ('old', 1, 2, 'direct', '{friend}', 'x', UTC_TIMESTAMP(3), 'sent',"
                       " UTC_TIMESTAMP(3), UTC_TIMESTAMP(3), UTC_TIMESTAMP(3))")
        fleet.stub.control(refuse(f"recipient:{first},first:2", "pair"), refuse("device:2,first:1", "463"),
                           refuse(f"recipient:{third}", "131049"))
        c = fleet.campaign("c")
        fleet.start()
        of = lambda d: dict(fleet.sql.rows(f"SELECT status, COUNT(*) FROM broadcast_messages WHERE device_id = {d} AND campaign_id = {c} GROUP BY status"))
        wait_until(lambda: int(of(1).get("sent", 0)) == 20, 40, lambda: f"the pair to be tried again: {of(1)}")
        wait_until(lambda: int(of(2).get("sent", 0)) == 1, 40, lambda: f"the friend: {of(2)}")
        wait_until(lambda: int(of(2).get("pending", 0)) == 19, 20, lambda: f"the others to wait: {of(2)}")
        equal(friend, fleet.sql.one(f"SELECT recipient_phone FROM broadcast_messages WHERE campaign_id = {c} AND device_id = 2 AND status = 'sent'"),
              "who got it")
        true(fleet.sql.one("SELECT new_contacts_until > UTC_TIMESTAMP(3) + INTERVAL 50 MINUTE FROM devices WHERE id = 2") == 1, "until")
        equal({"sent": 19, "failed": 1}, {k: int(v) for k, v in of(3).items()}, "device 3")
        equal([(str(third), "131049")], [(str(p), c) for p, c in fleet.sql.rows("SELECT phone, code FROM recipient_rests WHERE until_at > UTC_TIMESTAMP(3) + INTERVAL 23 HOUR")],
              "recipients that rest")
        again = fleet.campaign("again", devices=[3], content="once more")
        wait_until(lambda: {k: int(v) for k, v in fleet.statuses(again).items()} == {"sent": 19, "pending": 1}, 20,
                   lambda: f"another campaign to leave it alone: {fleet.statuses(again)}")
        equal("recipient-rests", fleet.sql.one(f"SELECT error_class FROM broadcast_messages WHERE campaign_id = {again} AND status = 'pending'"), "why")
        scopes = {h["scope"] for h in json.loads(fleet.ctl("--json", "holds")[1])}
        true({"new contacts", "recipient"} <= scopes, f"{scopes}")


@test
def a_removed_device_leaves_nothing_in_redis_and_its_messages_are_skipped():
    with fleet_with_rules() as fleet:
        fleet.devices(2)
        fleet.leads(20)
        fleet.stub.control("device:1=late:100")
        c = fleet.campaign("c")
        fleet.start()
        wait_until(lambda: sent(fleet, c) > 22, 20, "some of both")
        code, _, err = fleet.ctl("device", "remove", "d1-1", check=False)
        true(code == 1 and "would be skipped" in err and "device remove d1-1 --yes" in err, err)
        fleet.ctl("device", "remove", "d1-1", "--yes")
        fleet.drain()
        end = fleet.statuses(c)
        true(end["skipped"] > 0 and end["sent"] + end["skipped"] == 40, f"{end}")
        equal([], fleet.redis.call("KEYS", "*:d:1") + fleet.redis.call("KEYS", "*:d:1:*"), "keys of the removed device")
        for args, says in ((["add", "d1-1"], "history keeps the name"), (["set", "d1-1", "--gap", "1s"], "is removed: nothing")):
            code, _, err = fleet.ctl("device", *args, check=False)
            true(code == 1 and says in err, err)


@test
def a_sender_that_no_worker_has_is_named():
    with fleet_with_rules() as fleet:
        fleet.devices(1, sender="gone")
        fleet.leads(2)
        fleet.campaign("c")
        fleet.start()
        held = lambda: [h["reason"] for h in json.loads(fleet.ctl("--json", "holds")[1])]
        wait_until(lambda: held() == ["no-sender: no worker has [sender gone]"], 20, lambda: f"{held()}")
        # What is mended holds for the messages that are queued, and at once.
        fleet.ctl("device", "set", "d1-1", "--sender", "stub")
        wait_until(lambda: fleet.statuses() == {"sent": 2}, 15, lambda: f"both to be sent: {fleet.statuses()}")


if __name__ == "__main__":
    sys.exit(main())
