#!/usr/bin/env python3
"""Who has said stop gets nothing more, also from what Redis holds; how much one recipient and one account get.

    tests/integration/consent_test.py [name part ...]"""
import json
import os
import signal
import sys
from collections import Counter

from harness import Fleet, equal, main, mono_us, pause, test, true, wait_until

NOW = "UTC_TIMESTAMP(3)"
# The times that programs have when nobody configures anything.
DEFAULTS = {"producer": {"poll_min": "250ms", "poll_max": "5s", "steer_interval": "500ms"}}


def in_redis(fleet, rows):
    """The states of the jobs of (job id, device)."""
    calls = [("HGET", f"pl:{{p{int(d) % 8:02}}}:d:{d}:ids", job) for job, d in rows]
    return [(s or "")[:1] for s in fleet.redis.client.pipeline(calls)]


def opt_out(fleet, phones, source="reply"):
    fleet.sql.exec("INSERT INTO opt_outs (user_id, phone, source, created_at) VALUES "
                   + ", ".join(f"({fleet.user}, '{p}', '{source}', {NOW})" for p in phones))


def steered(fleet):
    return fleet.sql.one("SELECT COUNT(*) FROM opt_outs WHERE steered = 0") == 0


def jobs_of(fleet, phones):
    return set(j for (j,) in fleet.sql.rows("SELECT job_id FROM broadcast_messages WHERE recipient_phone IN ('"
                                            + "', '".join(phones) + "')"))


def later_sends(fleet, jobs, at):
    return [l for l in fleet.ledger() if l.job in jobs and l.mono_us > at]


# --- jobs that Redis holds ------------------------------------------------------------------------------


@test
def a_stop_stops_the_jobs_in_redis_within_a_second():
    with Fleet(conf=DEFAULTS) as fleet:
        fleet.devices(30, gap=(200, 400))
        fleet.leads(40)
        fleet.campaign("loud")
        fleet.start(producer=2, worker=2, reaper=2)
        wait_until(lambda: fleet.statuses().get("sent", 0) > 60 and fleet.statuses().get("queued", 0) > 900, 30, "jobs in Redis")
        # One by one, as replies come; next ones and last ones of their devices.
        taken = []
        for n in range(12):
            rows = fleet.sql.rows("SELECT job_id, device_id, recipient_phone FROM broadcast_messages WHERE status = 'queued'"
                                  f" AND recipient_phone NOT IN (SELECT phone FROM opt_outs) ORDER BY id {'DESC' if n % 2 else 'ASC'} LIMIT 40")
            job, device, phone = fleet.random.choice(rows)
            at = mono_us()
            opt_out(fleet, [phone])
            wait_until(lambda: in_redis(fleet, [(job, device)])[0] not in ("W", "L"), 10, "the job to be taken out", 0.002)
            taken.append((mono_us() - at) / 1000)
            later = later_sends(fleet, {job}, at + 1_000_000)
            equal([], later, "sends a second after the STOP")
        at = mono_us()
        phones = [p for (p,) in fleet.sql.rows("SELECT recipient_phone FROM broadcast_messages WHERE status = 'queued' AND"
                                                 " recipient_phone NOT IN (SELECT phone FROM opt_outs) ORDER BY RAND() LIMIT 300")]
        opt_out(fleet, phones)
        wait_until(lambda: steered(fleet), 20, "the opt-outs to be steered")
        jobs = jobs_of(fleet, phones)
        fleet.drain(90)
        equal([], later_sends(fleet, jobs, at + 1_000_000), "sends a second after 300 STOPs at once")
        verdict = fleet.check()
        true(verdict.rows["skipped"] > 280, f"rows: {verdict.rows}")
        equal([("opted-out",)], fleet.sql.rows("SELECT DISTINCT error_class FROM broadcast_messages WHERE status = 'skipped'"), "why")
        equal(verdict.rows["skipped"], fleet.sql.one("SELECT n_skipped FROM campaigns"), "the campaign's count")
        taken.sort()
        print(f"from the INSERT to the job out of Redis: median {taken[len(taken) // 2]:.0f} ms, worst {taken[-1]:.0f} ms of {len(taken)}")
        true(taken[-1] < 1000, f"too slow: {taken}")
        fleet.stop()


@test
def a_long_list_does_not_hold_up_who_has_just_said_stop():
    with Fleet(conf=DEFAULTS) as fleet:
        fleet.devices(4, gap=(60000, 60000))
        fleet.leads(20)
        fleet.campaign("slow")
        fleet.start()
        wait_until(lambda: fleet.statuses().get("queued", 0) > 60, 30, "jobs in Redis")
        fleet.sql.exec(f"INSERT INTO opt_outs (user_id, phone, source, created_at) SELECT 1, CONCAT('6019', 1000000 + seq), 'list', {NOW}"
                       " FROM seq_1_to_50000")
        job, device, phone = fleet.sql.rows("SELECT job_id, device_id, recipient_phone FROM broadcast_messages WHERE status = 'queued' LIMIT 1")[0]
        at = mono_us()
        opt_out(fleet, [phone])
        wait_until(lambda: in_redis(fleet, [(job, device)])[0] not in ("W", "L"), 10, "the job to be taken out", 0.002)
        took = (mono_us() - at) / 1000
        left = fleet.sql.one("SELECT COUNT(*) FROM opt_outs WHERE steered = 0")
        print(f"beside {left} others: {took:.0f} ms")
        true(took < 1000, f"{took} ms beside a long list")
        wait_until(lambda: steered(fleet), 30, "the whole list")


def one_row(fleet):
    """A device with one lead and a campaign; (phone, device)."""
    device = fleet.devices(1)[0]
    fleet.leads(1)
    fleet.campaign("one")
    return fleet.sql.rows("SELECT phone FROM leads")[0][0], device


def stopped(process):
    with open(f"/proc/{process.pid}/stat") as f:
        return f.read().rsplit(")", 1)[1].split()[0] == "T"


# What dispatch has done with the row when the STOP comes, whoever acts for it.
ORDERS = {"dispatch.claimed": "processing", "dispatch.staged": "processing", "dispatch.queued": "queued",
          "dispatch.activated": "queued"}


@test(seconds=240)
def whenever_the_stop_comes_in_dispatch_nothing_is_sent():
    for point, status in ORDERS.items():
        with Fleet(faults=True) as fleet:
            phone, _ = one_row(fleet)
            slow = fleet.spawn("producer", "slow", fault=f"{point}:1:stop")
            fleet.spawn("reaper")
            wait_until(lambda: stopped(slow), 20, f"the producer at {point}")
            equal({status: 1}, fleet.statuses(), f"the row at {point}")
            other = fleet.spawn("producer", "other")
            opt_out(fleet, [phone])
            wait_until(lambda: fleet.statuses() == {"skipped": 1}, 20, lambda: f"the row to be skipped at {point}: {fleet.statuses()}")
            wait_until(lambda: steered(fleet), 20, f"the opt-out to be steered at {point}")
            slow.thaw()
            fleet.spawn("worker")
            fleet.drain(30)
            equal([], fleet.ledger(), f"sends, stopped at {point}")
            equal({"skipped": 1}, fleet.statuses(), f"the row, stopped at {point}")
            equal("opted-out", fleet.sql.one("SELECT error_class FROM broadcast_messages"), "why")
            true(other.running() and slow.running(), "producers")


@test
def a_stop_between_the_claim_and_the_last_look_is_seen_by_the_last_look():
    """Nobody else acts for it: the claim is committed, the look comes behind the STOP."""
    with Fleet(faults=True) as fleet:
        phone, _ = one_row(fleet)
        fleet.spawn("reaper")
        slow = fleet.spawn("producer", "slow", fault="dispatch.claimed:1:stop")
        wait_until(lambda: stopped(slow), 20, "the producer behind its claim")
        opt_out(fleet, [phone])
        slow.thaw()
        wait_until(lambda: fleet.statuses() == {"skipped": 1}, 20, "the row to be skipped")
        wait_until(lambda: steered(fleet), 20, "the opt-out to be steered")
        equal(0, len(fleet.redis.client.keys("pl:{*}:d:*:ids")), "jobs in Redis")


@test
def a_leased_job_is_taken_from_its_worker():
    with Fleet(faults=True, conf={"worker": {"lease": "60s", "renew": "1s"}}) as fleet:
        phone, device = one_row(fleet)
        fleet.start(worker=0)
        worker = fleet.spawn("worker", fault="worker.claimed:1:stop")
        wait_until(lambda: stopped(worker), 20, "the worker behind its claim")
        opt_out(fleet, [phone])
        wait_until(lambda: fleet.statuses() == {"skipped": 1}, 10, "the row to be skipped")
        worker.thaw()
        fleet.drain(30)
        equal([], fleet.ledger(), "sends")
        fleet.leads(1, devices=[device])
        fleet.campaign("two", devices=[device])  # the device has room, the worker goes on
        wait_until(lambda: len(fleet.ledger()) == 1, 20, "the next message")
        fleet.drain(30)
        fleet.stop()


@test
def what_may_have_left_is_told_as_it_was_and_does_not_come_again():
    with Fleet(faults=True, rules=["p:1=status:429"], conf={"reaper": {"retry_base": "100ms"}}) as fleet:
        phone, _ = one_row(fleet)
        fleet.start(worker=0)
        worker = fleet.spawn("worker", fault="worker.sending:1:stop")
        wait_until(lambda: stopped(worker), 20, "the worker with its request")
        opt_out(fleet, [phone])
        wait_until(lambda: any("withdrawn" in l and "gone=1" in l for l in fleet.log_lines("producer")), 10, "the look at it")
        equal(False, steered(fleet), "steered while it may come back")
        worker.thaw()  # within its lease: the provider refuses, the row comes back, and ends
        wait_until(lambda: set(fleet.statuses()) <= {"skipped", "unknown"}, 20, lambda: f"its end: {fleet.statuses()}")
        wait_until(lambda: steered(fleet), 20, "the opt-out to be steered")
        true(len(fleet.ledger()) <= 1, f"sent again: {fleet.ledger()}")


@test
def an_opt_out_waits_for_redis():
    """While Redis is away nothing can be taken out of it, and nothing is sent; when it is back, nobody is forgotten."""
    with Fleet(keep="always") as fleet:
        fleet.devices(5, gap=(2000, 2000))
        fleet.leads(20)
        fleet.campaign("held")
        fleet.start()
        wait_until(lambda: fleet.statuses().get("queued", 0) > 80, 30, "jobs in Redis")
        fleet.redis.kill()
        phones = [p for (p,) in fleet.sql.rows("SELECT recipient_phone FROM broadcast_messages WHERE status = 'queued' LIMIT 50")]
        jobs = jobs_of(fleet, phones)
        at = mono_us()
        opt_out(fleet, phones)
        fleet.redis.start()
        wait_until(lambda: steered(fleet), 40, "the opt-outs to be steered")
        equal([], later_sends(fleet, jobs, at + 1_000_000), "sends behind the STOP")
        rows = dict(fleet.sql.rows("SELECT status, COUNT(*) FROM broadcast_messages WHERE recipient_phone IN ('" + "', '".join(phones) + "') GROUP BY status"))
        true(int(rows.get("skipped", 0)) > 40 and "queued" not in rows, f"rows: {rows}")


@test
def leaving_a_sequence_takes_its_jobs_out_of_redis():
    with Fleet() as fleet:
        fleet.devices(2, gap=(60000, 60000))
        fleet.leads(6)
        number = fleet.sequence("welcome", [(0, "a"), (0, "b"), (3600, "c")])
        fleet.sql.exec(f"INSERT INTO sequence_requests (sequence_id, lead_id, created_at) SELECT {number}, id, {NOW} FROM leads")
        fleet.start()
        wait_until(lambda: fleet.statuses().get("queued", 0) >= 20, 30, lambda: f"jobs in Redis: {fleet.statuses()}")
        phone = fleet.sql.rows("SELECT recipient_phone FROM broadcast_messages WHERE status = 'queued' ORDER BY id DESC LIMIT 1")[0][0]
        jobs = jobs_of(fleet, [phone])
        said = json.loads(fleet.ctl("--json", "sequence", "leave", "welcome", phone)[1])
        equal((1, 3, 0), (said["contacts"], said["skipped"], said["on_their_way"]), "what it says")
        wait_until(lambda: fleet.sql.rows(f"SELECT status, error_class, COUNT(*) FROM broadcast_messages WHERE recipient_phone = '{phone}'"
                                          " GROUP BY 1, 2") == [("skipped", "left", "3")], 10, "its rows")
        equal([], [l for l in fleet.ledger() if l.job in jobs], "sends")


# --- the commands ---------------------------------------------------------------------------------------


def said(fleet, *args, code=0):
    """The JSON document of a command."""
    got, out, err = fleet.ctl("--json", *args, check=False)
    equal(code, got, f"exit status of {' '.join(args)}: {out}{err}")
    return json.loads(out)


def pick(d, *keys):
    return tuple(d[k] for k in keys)


def write(fleet, name, text):
    path = os.path.join(fleet.folder, name)
    with open(path, "w") as f:
        f.write(text)
    return path


@test
def adding_an_opt_out_acts_at_once_without_a_producer():
    with Fleet() as fleet:
        fleet.devices(2, gap=(60000, 60000))
        fleet.leads(5)
        fleet.campaign("one")
        fleet.start()
        wait_until(lambda: fleet.statuses().get("queued", 0) >= 8, 30, "jobs in Redis")
        fleet.processes.pop("producer1").terminate()
        phone = fleet.sql.rows("SELECT recipient_phone FROM broadcast_messages WHERE status = 'queued' ORDER BY id DESC LIMIT 1")[0][0]
        got = said(fleet, "optout", "add", "+" + phone, phone, "--source", "phoned us")
        equal((1, 0, 1, 0, "told"), pick(got, "added", "known", "stopped", "may_have_left", "redis"), "what it says")
        wait_until(lambda: fleet.statuses().get("skipped") == 1, 10, "its row")
        equal([(phone, "phoned us")], fleet.sql.rows("SELECT phone, source FROM opt_outs"), "the list")
        got = said(fleet, "optout", "add", phone, "--source", "again")
        equal((0, 1, 0), pick(got, "added", "known", "stopped"), "once more")
        equal(True, steered(fleet), "steered by the command")
        equal("phoned us", fleet.sql.one("SELECT source FROM opt_outs"), "the first source stays")
        code, out, _ = fleet.ctl("optout", "add", "60123456789")
        equal("1 opted out, 0 had before; 0 messages on their way were stopped\n", out, "for people")
        fleet.redis.kill()
        code, out, err = fleet.ctl("--json", "optout", "add", "0198765432", "--country", "60")
        equal((1, "later"), pick(json.loads(out), "added", "redis"), "without Redis")
        true("stopped later" in err, f"what it notes: {err}")
        equal(1, fleet.sql.one("SELECT COUNT(*) FROM opt_outs WHERE phone = '60198765432' AND steered = 0"), "left to producers")


@test
def the_list_is_shown_and_shortened():
    with Fleet(stub=False) as fleet:
        for n in range(5):
            fleet.ctl("optout", "add", f"6012345670{n}", "--source", "web" if n % 2 else "phone")
        listed = said(fleet, "optout", "list")
        equal([f"6012345670{n}" for n in (4, 3, 2, 1, 0)], [o["phone"] for o in listed], "the latest first")
        equal(("phone", True), pick(listed[0], "source", "in_force"), "one of them")
        true(listed[0]["created_at"].endswith("Z"), "since when")
        equal(2, len(said(fleet, "optout", "list", "--source", "web")), "of one source")
        equal(["60123456703"], [o["phone"] for o in said(fleet, "optout", "list", "012-345 6703", "60123456799", "--country", "60")], "of two phones")
        code, out, err = fleet.ctl("optout", "list", "--limit", "2")
        true("more than 2" in err and out.count("6012345670") == 2, f"{out}{err}")
        got = said(fleet, "optout", "remove", "60123456703", "60123456799", code=1)
        equal((1, ["60123456799"]), pick(got, "removed", "not_opted_out"), "removing")
        equal(4, fleet.sql.one("SELECT COUNT(*) FROM opt_outs"), "left")
        for args, why in ((("add", "x"), "phone 1 ('x')"), (("add", "60123456789", "--source", ""), "--source"),
                          (("add", "60123456789", "--source", "x" * 65), "--source"), (("remove", "0123456789"), "country")):
            code, out, err = fleet.ctl("optout", *args, check=False)
            true(code == 2 and why in err, f"{args}: {code} {err}")
        equal(4, fleet.sql.one("SELECT COUNT(*) FROM opt_outs"), "nothing was done by what was refused")


@test
def lists_are_imported_once_and_go_on_where_they_were():
    with Fleet(stub=False) as fleet:
        good = write(fleet, "stop.csv", "No HP,why\n0123456701,a\n+60 12-345 6702,b\nnonsense,c\n60123456701,d\n")
        dry = said(fleet, "optout", "import", good, "--country", "60", "--dry-run", code=1)
        equal((2, 1, 1, 4), pick(dry, "inserted", "duplicates", "refused", "rows"), "a dry run")
        equal(0, fleet.sql.one("SELECT COUNT(*) FROM opt_outs"), "nothing yet")
        code, out, err = fleet.ctl("--json", "optout", "import", good, "--country", "60", "--source", "old list", check=False)
        got = json.loads(out)
        equal((1, 2, 1, 1), (code,) + pick(got, "inserted", "duplicates", "refused"), "the import")
        true("stop.csv:4: " in err, f"the bad line: {err}")
        equal([("60123456701", "old list"), ("60123456702", "old list")], fleet.sql.rows("SELECT phone, source FROM opt_outs ORDER BY phone"), "the list")
        equal(True, said(fleet, "optout", "import", good, "--country", "60", "--source", "old list")["finished_before"], "once more")
        again = said(fleet, "optout", "import", good, "--country", "60", "--source", "old list", "--again", code=1)
        equal((0, 3), pick(again, "inserted", "duplicates"), "--again")
        for text, why in (("a,b\n1,2\n", "phone"), ("", "empty")):
            code, _, err = fleet.ctl("optout", "import", write(fleet, "bad.csv", text), check=False)
            true(code == 2 and why in err, f"{text!r}: {code} {err}")
        # One that is killed on the way goes on behind its last batch.
        big = write(fleet, "big.csv", "phone\n" + "".join(f"6019{n:07}\n" for n in range(30000)))
        p = fleet.spawn_ctl("optout", "import", big)
        wait_until(lambda: fleet.sql.one("SELECT COUNT(*) FROM opt_outs") > 3000, 20, "a few batches", 0.001)
        p.kill()
        n = fleet.sql.one("SELECT COUNT(*) FROM opt_outs") - 2
        code, out, err = fleet.ctl("--json", "optout", "import", big, check=False)
        if n < 30000:
            true("resuming at line" in err, f"it begins anew: {err}")
            equal(30000 - n, json.loads(out)["inserted"], "what was left")
        equal(30002, fleet.sql.one("SELECT COUNT(*) FROM opt_outs"), "all")


# --- before a campaign starts ---------------------------------------------------------------------------


@test
def a_plan_says_what_will_come_of_a_campaign():
    with Fleet() as fleet:
        a, b = fleet.devices(2, gap=(100, 200))
        off = fleet.devices(1, prefix="off", status="paused", status_reason="ops")[0]
        fleet.leads(30, devices=[a, b])
        fleet.leads(4, devices=[off])
        fleet.sql.exec(f"UPDATE leads SET niche = 'gym' WHERE device_id <> {off}")
        twice = [p for (p,) in fleet.sql.rows(f"SELECT phone FROM leads WHERE device_id = {a} ORDER BY id LIMIT 5")]
        for n, phone in enumerate(twice):  # five people are leads of both
            fleet.sql.exec(f"UPDATE leads l JOIN (SELECT id FROM leads WHERE device_id = {b} ORDER BY id LIMIT 1 OFFSET {n}) x"
                           f" ON x.id = l.id SET l.phone = '{phone}'")
        stop = [p for (p,) in fleet.sql.rows(f"SELECT phone FROM leads WHERE device_id = {a} ORDER BY id DESC LIMIT 3")]
        opt_out(fleet, stop)
        number = fleet.campaign("soon", status="draft", niche="gym", content="{Hi|Hello} {{name}}.")
        before = {t: fleet.sql.rows(f"CHECKSUM TABLE {t}") for t in ("campaigns", "leads", "broadcast_messages", "opt_outs")}
        got = said(fleet, "campaign", "plan", "soon")
        equal({t: fleet.sql.rows(f"CHECKSUM TABLE {t}") for t in before}, before, "a plan changes nothing")
        equal((60, 3, 57, 5, 0, 0), pick(got, "leads", "opted_out", "messages", "duplicates", "capped", "over_quota"), "counts")
        by = {d["device"]: d for d in got["devices"]}
        equal([(30, 3, 27, 0), (30, 0, 30, 5), (0, 0, 0, 0)],
              [pick(d, "leads", "opted_out", "messages", "duplicates") for d in got["devices"]], "each device")
        equal([26 * 150, 29 * 150, None], [d["takes_ms"] for d in got["devices"]], "how long each takes")
        equal(29 * 150, got["takes_ms"], "all of it")
        equal(3, len(got["samples"]), "samples")
        true(all(s["text"].startswith(("Hi Lead ", "Hello Lead ")) for s in got["samples"]), f"samples: {got['samples']}")
        # People in whose way the caps are, and an account that has not enough for today.
        fleet.sql.exec("UPDATE users SET recipient_weekly = 2 WHERE id = 1")
        fleet.sql.exec("INSERT INTO broadcast_messages (job_id, user_id, device_id, kind, recipient_phone, scheduled_at, sent_at, status,"
                       f" created_at, updated_at) SELECT CONCAT('old-', l.id, '-', s.seq), 1, {a}, 'direct', l.phone, {NOW}, {NOW} - INTERVAL s.seq DAY,"
                       f" 'sent', {NOW}, {NOW} - INTERVAL s.seq DAY FROM seq_1_to_2 s JOIN (SELECT id, phone FROM leads WHERE device_id = {b}"
                       " ORDER BY id DESC LIMIT 4) l")
        fleet.sql.exec(f"UPDATE devices SET account = 'waba' WHERE id IN ({a}, {b})")
        fleet.sql.exec(f"INSERT INTO accounts (id, user_id, name, daily_recipients, created_at, updated_at) VALUES (7, 1, 'waba', 20, {NOW}, {NOW})")
        fleet.sql.exec(f"INSERT INTO account_recipients (account_id, phone, last_at) SELECT 7, phone, {NOW} - INTERVAL 1 HOUR FROM leads"
                       f" WHERE device_id = {b} ORDER BY id LIMIT 8")
        fleet.sql.exec(f"INSERT INTO account_recipients (account_id, phone, last_at) SELECT 7, phone, {NOW} - INTERVAL 25 HOUR FROM leads"
                       f" WHERE device_id = {b} ORDER BY id DESC LIMIT 4")
        got = said(fleet, "campaign", "plan", str(number), "--samples", "0")
        equal(4, got["capped"], "capped")
        # 52 phones, 8 of them known; 12 have room today.
        equal([("waba", 20, 8, 44, 32, 2)], [pick(x, "account", "limit", "used", "wanted", "shortfall", "days") for x in got["accounts"]], "the account")
        equal((32, 2 * 86400000, []), pick(got, "over_quota", "takes_ms", "samples"), "the account makes it last")
        fleet.sql.exec("UPDATE users SET recipient_daily = 1, recipient_weekly = 0 WHERE id = 1")
        equal(5, said(fleet, "campaign", "plan", "soon")["capped"], "a second one to the same phone on one day")
        fleet.sql.exec(f"UPDATE devices SET min_gap_ms = 200001, max_gap_ms = 200001 WHERE id = {b}")
        code, out, err = fleet.ctl("campaign", "plan", "soon")
        true("OPTED OUT" in out and "waba" in out and "Samples:\nTEMPLATE " in out and " 1h36m40s\n" in out, out)
        # A device that stands still, and what cannot be planned.
        fleet.sql.exec(f"UPDATE leads SET niche = 'gym' WHERE device_id = {off}")
        got = said(fleet, "campaign", "plan", "soon", "--at", "2030-01-01 00:00")
        equal((None, "2030-01-01T00:00:00.000Z"), pick(got, "ends_at", "starts_at"), "no end in sight")
        fleet.sql.exec(f"UPDATE campaigns SET status = 'running', audience_max_lead = 9 WHERE id = {number}")
        code, _, err = fleet.ctl("campaign", "plan", "soon", check=False)
        true(code == 1 and "is running: its messages are made" in err, err)


@test
def a_campaign_takes_as_long_as_planned():
    with Fleet() as fleet:
        fleet.devices(3, gap=(100, 300))
        fleet.devices(1, prefix="batch", gap=(50, 50), batch_size=10, batch_pause_ms=1000)
        fleet.leads(30)
        fleet.campaign("soon", status="draft")
        plan = said(fleet, "campaign", "plan", "soon")
        equal([29 * 200] * 3 + [29 * 50 + 2000], [d["takes_ms"] for d in plan["devices"]], "planned")
        fleet.start()
        fleet.ctl("campaign", "start", "soon")
        fleet.drain()
        lines = fleet.ledger()
        for d in plan["devices"]:
            mine = [l.mono_us for l in lines if l.device == int(d["id"])]
            took = (mine[-1] - mine[0]) / 1000
            print(f"{d['device']}: planned {d['takes_ms']} ms, took {took:.0f} ms")
            true(d["takes_ms"] * 0.8 < took < d["takes_ms"] * 1.4, f"{d['device']} took {took:.0f} ms, planned were {d['takes_ms']}")


@test
def a_plan_for_many_leads_goes_through_them_in_batches():
    with Fleet(stub=False) as fleet:
        fleet.devices(20, gap=(5000, 15000), hourly_cap=200, quiet_from=1320, quiet_to=420, time_zone="Asia/Kuala_Lumpur")
        fleet.leads(10000)
        fleet.sql.exec("UPDATE users SET recipient_daily = 1 WHERE id = 1")
        fleet.campaign("large", status="draft")
        at = mono_us()
        got = said(fleet, "campaign", "plan", "large")
        took = (mono_us() - at) / 1e6
        equal((200000, 0), pick(got, "messages", "duplicates"), "messages")
        print(f"200,000 leads on 20 devices: {took:.2f} s; a device ends after {got['takes_ms'] / 86400000:.1f} days")
        true(took < 30, f"it took {took} s")


# --- caps -----------------------------------------------------------------------------------------------


def phones_sent(fleet, devices=None):
    """Phone -> how many requests the provider received for it."""
    phone = dict(fleet.sql.rows("SELECT job_id, recipient_phone FROM broadcast_messages"))
    return Counter(phone[l.job] for l in fleet.ledger() if not devices or l.device in devices)


def waits(fleet, why):
    """(rows that are put off for this reason, the least and the longest wait in hours)."""
    n, least, most = fleet.sql.rows(f"SELECT COUNT(*), MIN(TIMESTAMPDIFF(SECOND, {NOW}, scheduled_at)), MAX(TIMESTAMPDIFF(SECOND, {NOW},"
                                    f" scheduled_at)) FROM broadcast_messages WHERE status = 'pending' AND error_class = '{why}'")[0]
    return int(n), int(least or 0) / 3600, int(most or 0) / 3600


@test
def a_recipient_gets_no_more_than_the_cap_whatever_the_campaign():
    with Fleet() as fleet:
        a, b, c = fleet.devices(3, gap=(1, 3))
        fleet.leads(20)
        fleet.sql.exec(f"UPDATE leads l JOIN leads m ON m.device_id = {a} AND m.id - (SELECT MIN(id) FROM (SELECT id, device_id FROM leads) x WHERE"
                       f" x.device_id = {a}) = l.id - (SELECT MIN(id) FROM (SELECT id, device_id FROM leads) y WHERE y.device_id = {b})"
                       f" SET l.phone = m.phone WHERE l.device_id = {b}")  # everybody of a is a lead of b, too
        equal({"recipient_daily": 2, "recipient_weekly": 3, "recipient_wait_ms": 86400000 * 2},
              {k: v for k, v in said(fleet, "user", "set", "--recipient-daily", "2", "--recipient-weekly", "3", "--recipient-wait", "2d").items() if k != "name"}, "user set")
        for n in range(4):
            fleet.campaign(f"campaign {n}")
        fleet.sequence("asked", [(0, "you asked for it")], devices=[c])
        fleet.start(producer=2, worker=2, reaper=2)
        # Of 4 x 60 messages the 40 people get 2 each.
        wait_until(lambda: fleet.statuses() == {"sent": 80, "pending": 160}, 30, lambda: f"the caps to be reached: {fleet.statuses()}")
        equal({2}, set(phones_sent(fleet).values()), "messages a phone")
        n, least, most = waits(fleet, "frequency-cap")
        equal(160, n, "rows put off")
        true(23.9 < least and most <= 24, f"they wait {least} to {most} h")
        # What was asked for goes all the same, and counts.
        fleet.sql.exec(f"INSERT INTO sequence_requests (sequence_id, lead_id, created_at) SELECT 1, id, {NOW} FROM leads WHERE device_id = {c}")
        wait_until(lambda: fleet.statuses()["sent"] == 100, 20, "the sequence's messages")
        # A day later: the week leaves one for each; those of c have had their three.
        fleet.sql.exec("UPDATE broadcast_messages SET sent_at = sent_at - INTERVAL 25 HOUR WHERE status = 'sent'")
        fleet.sql.exec("UPDATE broadcast_messages SET scheduled_at = scheduled_at - INTERVAL 25 HOUR, created_at = created_at - INTERVAL 25 HOUR WHERE status = 'pending'")
        wait_until(lambda: fleet.statuses().get("sent") == 120 and fleet.statuses().get("skipped") == 140, 20,
                   lambda: f"the next day: {fleet.statuses()}")  # who would wait for days more is skipped
        equal({3}, set(phones_sent(fleet).values()), "messages a phone")
        equal([("frequency-cap", "140")], fleet.sql.rows("SELECT error_class, COUNT(*) FROM broadcast_messages WHERE status = 'skipped' GROUP BY 1"), "why")
        wait_until(lambda: fleet.sql.one("SELECT COUNT(*) FROM campaigns WHERE status = 'finished'") == 4, 20, "the campaigns to end")


@test
def a_message_that_would_be_too_late_does_not_wait():
    with Fleet() as fleet:
        fleet.devices(1)
        fleet.leads(10)
        fleet.ctl("user", "set", "--recipient-daily", "1")
        fleet.campaign("first")
        fleet.start()
        wait_until(lambda: fleet.statuses() == {"sent": 10}, 20, "the first")
        fleet.campaign("second", max_lateness_s=3600)
        wait_until(lambda: fleet.statuses() == {"sent": 10, "skipped": 10}, 20, lambda: f"the second: {fleet.statuses()}")
        fleet.ctl("user", "set", "--recipient-wait", "1h")
        fleet.campaign("third")
        wait_until(lambda: fleet.statuses() == {"sent": 10, "skipped": 20}, 20, lambda: f"the third: {fleet.statuses()}")
        fleet.ctl("user", "set", "--recipient-daily", "0")
        fleet.campaign("fourth")
        wait_until(lambda: fleet.statuses() == {"sent": 20, "skipped": 20}, 20, "no cap any more")
        fleet.drain()


@test
def an_account_writes_to_no_more_people_than_it_may():
    with Fleet() as fleet:
        ours = fleet.devices(4, gap=(1, 3))
        other = fleet.devices(1, prefix="free")[0]
        fleet.leads(10)
        code, out, _ = fleet.ctl("account", "set", "waba", "--daily-recipients", "25", "--devices", "d1-1,d1-2,d1-3,d1-4")
        equal("account waba is set; 4 devices joined or left it\n", out, "account set")
        fleet.campaign("one")
        fleet.start(producer=2, worker=2, reaper=2)
        wait_until(lambda: fleet.statuses() == {"sent": 35, "pending": 15}, 30, lambda: f"the limit to be reached: {fleet.statuses()}")
        equal(25, len(phones_sent(fleet, ours)), "people")
        equal(10, len(phones_sent(fleet, [other])), "another device is not held up")
        n, least, most = waits(fleet, "account-limit")
        equal(15, n, "rows put off")
        true(23.9 < least and most <= 24, f"they wait {least} to {most} h")
        got = said(fleet, "account", "show", "waba")
        equal((25, 25, 0, 4), pick(got, "limit", "used", "free", "devices"), "account show")
        true(got["free_at"] and len(got["members"]) == 4, f"{got}")
        true("\nfree at  " in fleet.ctl("account", "show", got["name"])[1], "two lines of one name")
        # Whom it has written to gets more; nobody new.
        fleet.campaign("two")
        wait_until(lambda: fleet.statuses() == {"sent": 70, "pending": 30}, 30, lambda: f"the second: {fleet.statuses()}")
        equal(25, len(phones_sent(fleet, ours)), "people")
        # Five fall out; five of those that waited go, in as many messages as they were to get.
        fleet.sql.exec(f"UPDATE account_recipients SET last_at = {NOW} - INTERVAL 25 HOUR ORDER BY phone LIMIT 5")
        fleet.sql.exec(f"UPDATE broadcast_messages SET scheduled_at = {NOW} WHERE status = 'pending'")
        wait_until(lambda: len(phones_sent(fleet, ours)) == 30, 20, "five more people")
        fleet.ctl("account", "set", "waba", "--daily-recipients", "0")
        fleet.sql.exec(f"UPDATE broadcast_messages SET scheduled_at = {NOW} WHERE status = 'pending'")
        fleet.drain()
        fleet.check(order=False)
        equal(40, len(phones_sent(fleet, ours)), "everybody, without a limit")
        equal([("waba", 4, None)], [pick(x, "name", "devices", "limit") for x in said(fleet, "account", "list")], "account list")
        fleet.ctl("account", "set", "waba", "--devices", "d1-1")
        equal(1, fleet.sql.one("SELECT COUNT(*) FROM devices WHERE account = 'waba'"), "members")
        for args, why in ((("show", "none"), "no account"), (("set", "waba"), "say what"), (("set", "waba", "--devices", "nobody"), "no device"),
                          (("set", "", "--daily-recipients", "5"), "1 to 64")):
            code, _, err = fleet.ctl("account", *args, check=False)
            true(code > 0 and why in err, f"{args}: {code} {err}")


@test
def an_entry_stays_for_24_hours_behind_the_last_message():
    with Fleet() as fleet:
        a, b = fleet.devices(2, gap=(3600000, 3600000))
        fleet.leads(3)
        fleet.ctl("account", "set", "waba", "--daily-recipients", "100", "--devices", "d1-1")
        fleet.campaign("one")
        fleet.start()
        wait_until(lambda: fleet.statuses() == {"sent": 2, "queued": 4}, 20, lambda: f"{fleet.statuses()}")
        equal(3, fleet.sql.one("SELECT COUNT(*) FROM account_recipients"), "reserved when dispatched")
        fleet.sql.exec(f"UPDATE account_recipients SET last_at = {NOW} - INTERVAL 1410 MINUTE")
        fleet.sql.exec(f"INSERT INTO account_recipients (account_id, phone, last_at) SELECT id, '60999', {NOW} - INTERVAL 1410 MINUTE FROM accounts")
        fleet.sql.exec(f"INSERT INTO account_recipients (account_id, phone, last_at) SELECT id, CONCAT('608', seq), {NOW} - INTERVAL 3 DAY"
                       " FROM accounts JOIN seq_1_to_500")
        wait_until(lambda: fleet.sql.one("SELECT COUNT(*) FROM account_recipients") == 4, 20, "old entries to go")
        wait_until(lambda: fleet.sql.one(f"SELECT COUNT(*) FROM account_recipients WHERE last_at > {NOW} - INTERVAL 1 HOUR") == 3, 20,
                   "entries to move on, of the one that was sent and of those that wait")
        equal(1, fleet.sql.one(f"SELECT COUNT(*) FROM account_recipients WHERE phone = '60999' AND last_at < {NOW} - INTERVAL 23 HOUR"), "one without a message")


if __name__ == "__main__":
    sys.exit(main())
