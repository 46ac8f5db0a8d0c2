#!/usr/bin/env python3
"""The real programs on real servers, from rows to the provider and back.

    tests/integration/fleet_test.py [name part ...]      B names the build folder; T_SEED, T_JOBS, T_KEEP"""
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter, defaultdict

from harness import BINARIES, Fleet, equal, http_get, main, mono_us, test, true, wait_until
from witness import xxh64

# --- the path ------------------------------------------------------------------------------------------


@test
def a_campaign_goes_all_the_way_whatever_the_provider_answers():
    rules = ["p:0.10=late:30", "p:0.05=status:429", "p:0.05=status:400", "p:0.03=status:500", "p:0.03=garbage",
             "p:0.03=reset-after", "p:0.02=truncated", "p:0.02=wrong-type", "p:0.02=reset-before"]
    with Fleet(rules=rules) as fleet:
        fleet.devices(30)
        fleet.leads(40)
        first = fleet.campaign("first", content="Dear {{name}}, {good morning|hello}.")
        fleet.start(producer=2, worker=2, reaper=2)
        second = fleet.campaign("second", max_attempts=2)
        fleet.drain()
        verdict = fleet.check(late_ms=30)
        equal(2400, verdict.total, "rows")
        true(verdict.rows["sent"] > 1800 and verdict.rows["failed"] > 50 and verdict.rows["unknown"] > 50,
             f"an odd mixture: {verdict.rows}")
        for number in (first, second):
            c = fleet.sql.dicts(f"SELECT * FROM campaigns WHERE id = {number}")[0]
            equal("finished", c["status"], "the campaign's status")
            counted = {s: int(c["n_" + s]) for s in ("sent", "failed", "skipped", "unknown") if int(c["n_" + s])}
            equal(fleet.statuses(number), counted, "the campaign's own counts")
            equal("1200", c["total"], "total")
        rows = fleet.sql.dicts("SELECT * FROM broadcast_messages")
        lines = {l.job: l for l in fleet.ledger()}
        for r in rows:
            if r["status"] == "sent":
                true(r["sent_at"] and r["provider_message_id"].startswith("stub-"), f"a bare sent row: {r}")
            elif r["status"] == "failed":
                true(r["error_class"] or r["error_message"], f"failed without a reason: {r}")
                true(lines[r["job_id"]].kind == "refused", f"failed without a refusal: {r}")
        events = Counter(e for (e,) in fleet.sql.rows("SELECT event FROM message_events"))
        true(events["sent"] >= verdict.rows["sent"], f"events are missing: {events}")
        fleet.stop()


@test
def the_text_that_arrives_is_the_template_filled_in():
    with Fleet() as fleet:
        devices = fleet.devices(3)
        fleet.leads(5)
        fleet.sql.exec("UPDATE leads SET name = '' WHERE id % 5 = 0")
        fleet.campaign("text", content="Hi {{name|friend}} of {{phone}}: 5% {plain}", devices=devices)
        fleet.start()
        fleet.drain()
        fleet.check()
        lines = {l.job: l for l in fleet.ledger()}
        for job, phone, name in fleet.sql.rows("SELECT job_id, recipient_phone, recipient_name FROM broadcast_messages"):
            text = f"Hi {name or 'friend'} of {phone}: 5% {{plain}}"
            equal(f"{xxh64(text.encode()):016x}", lines[job].hash, f"hash of {text!r}")


@test
def devices_with_different_senders_share_a_campaign():
    with Fleet(senders={"paper": {"type": "log"}}) as fleet:
        by = {sender: fleet.devices(3, sender=sender) for sender in ("stub", "null", "paper", "missing")}
        fleet.leads(10)
        fleet.campaign("mixed")
        fleet.start()
        wait_until(lambda: fleet.statuses().get("sent") == 90, 30, lambda: f"90 sent: {fleet.statuses()}")
        for sender in ("stub", "null", "paper"):
            equal({"sent": 30}, {s: int(n) for s, n in fleet.sql.rows(
                "SELECT status, COUNT(*) FROM broadcast_messages WHERE device_id IN"
                f" ({', '.join(map(str, by[sender]))}) GROUP BY status")}, f"rows of {sender}")
        seen = Counter(l.device for l in fleet.ledger())
        equal({d: 10 for d in by["stub"] + by["null"]}, dict(seen), "lines a device")
        # A sender that this worker does not know holds its devices, and loses nothing.
        equal({"sent": 90, "queued": 30}, fleet.statuses(), "rows")
        for device in by["missing"]:
            key = f"pl:{{p{device % 8:02}}}:d:{device}"
            wait_until(lambda: fleet.redis.call("HGET", key, "held") == "no-sender", 10, "the reason why it waits")
        said = [l for l in fleet.log_lines("worker") if "missing" in l]
        true(said and "cure=" in said[0], f"the log: {said[:2]}")


@test
def opted_out_leads_never_become_rows():
    with Fleet() as fleet:
        fleet.devices(5)
        fleet.leads(20)
        fleet.sql.exec("INSERT INTO opt_outs (user_id, phone, source, created_at)"
                       " SELECT user_id, phone, 'test', UTC_TIMESTAMP(3) FROM leads WHERE id % 4 = 0")
        n = fleet.sql.one("SELECT COUNT(*) FROM opt_outs")
        fleet.sql.exec("INSERT INTO users (id, name, created_at) VALUES (2, 'other', UTC_TIMESTAMP(3))")
        fleet.sql.exec("INSERT INTO opt_outs (user_id, phone, source, created_at) SELECT 2, phone, '', UTC_TIMESTAMP(3)"
                       " FROM leads WHERE id % 4 = 1")
        fleet.campaign("polite")
        fleet.start(producer=2)
        fleet.drain()
        fleet.check()
        equal(100 - n, fleet.sql.one("SELECT COUNT(*) FROM broadcast_messages"), "rows")
        equal(0, fleet.sql.one("SELECT COUNT(*) FROM broadcast_messages m JOIN opt_outs o ON o.user_id = m.user_id"
                               " AND o.phone = m.recipient_phone"), "rows of opted-out phones")


@test
def niche_and_target_status_choose_the_audience():
    with Fleet() as fleet:
        devices = fleet.devices(4)
        fleet.leads(10, niche="salon")
        fleet.leads(10, niche="gym")
        fleet.sql.exec("UPDATE leads SET target_status = 'warm' WHERE id % 2 = 0")
        fleet.campaign("chosen", devices=devices[:3], niche="gym", target_status="warm")
        fleet.start()
        fleet.drain()
        fleet.check()
        equal(15, fleet.sql.one("SELECT COUNT(*) FROM broadcast_messages m JOIN leads l ON l.id = m.lead_id"
                                " WHERE l.niche = 'gym' AND l.target_status = 'warm'"), "chosen rows")
        equal(15, fleet.sql.one("SELECT COUNT(*) FROM broadcast_messages"), "rows")


@test
def a_lead_added_after_the_start_is_not_in_the_campaign():
    with Fleet(conf={"producer": {"expand_batch": "10"}}) as fleet:
        fleet.devices(2)
        fleet.leads(50)
        number = fleet.campaign("snapshot")
        fleet.start(producer=2)
        wait_until(lambda: fleet.statuses(number), 10, "first rows")
        fleet.leads(5)
        fleet.drain()
        fleet.check()
        equal("finished", fleet.sql.one(f"SELECT status FROM campaigns WHERE id = {number}"), "status")


# --- steering ------------------------------------------------------------------------------------------


def lines_after(fleet, moment_us):
    return [l for l in fleet.ledger() if l.mono_us > moment_us]


@test
def pause_stops_within_a_second_and_resume_goes_on():
    with Fleet() as fleet:
        fleet.devices(20, gap=(30, 60))
        fleet.leads(60)
        fleet.campaign("brake")
        fleet.campaign("other")
        fleet.start(producer=2, worker=2, reaper=2)
        wait_until(lambda: len(fleet.ledger()) > 200, 20, "some sends")
        fleet.ctl("campaign", "pause", "brake")
        at = mono_us()
        mine = fleet.sql.one("SELECT id FROM campaigns WHERE name = 'brake'")
        wait_until(lambda: mono_us() > at + 2_000_000, 5, "two seconds to pass")
        late = [l for l in lines_after(fleet, at + 1_000_000) if l.job.startswith(f"c{mine}-")]
        equal(0, len(late), "messages sent more than a second after the pause")
        others = [l for l in lines_after(fleet, at + 1_000_000) if not l.job.startswith(f"c{mine}-")]
        true(len(others) > 20, f"the other campaign stands still ({len(others)} sends)")
        equal("paused", fleet.sql.one(f"SELECT status FROM campaigns WHERE id = {mine}"), "status")
        fleet.ctl("campaign", "resume", "brake")
        fleet.drain()
        verdict = fleet.check()
        equal({"sent": 2400}, dict(verdict.rows), "rows")


@test
def a_cancelled_campaign_ends_as_skipped():
    with Fleet() as fleet:
        fleet.devices(10, gap=(50, 80))
        fleet.leads(60)
        number = fleet.campaign("away")
        fleet.start(producer=2)
        wait_until(lambda: len(fleet.ledger()) > 50, 20, "some sends")
        fleet.ctl("campaign", "cancel", "away")
        at = mono_us()
        fleet.drain()
        verdict = fleet.check()
        equal([], lines_after(fleet, at + 1_000_000), "sends a second after the cancel")
        true(verdict.rows["skipped"] > 300 and set(verdict.rows) == {"sent", "skipped"}, f"rows: {verdict.rows}")
        equal("cancelled", fleet.sql.one(f"SELECT status FROM campaigns WHERE id = {number}"), "status")
        equal([("cancelled",)], fleet.sql.rows(
            "SELECT DISTINCT error_class FROM broadcast_messages WHERE status = 'skipped'"), "the reason")


@test
def a_paused_campaign_can_be_cancelled_and_one_paused_while_it_expands_stays_whole():
    with Fleet(conf={"producer": {"expand_batch": "20"}}) as fleet:
        fleet.devices(10, gap=(20, 40))
        fleet.leads(50)
        one, two = fleet.campaign("one"), fleet.campaign("two")
        fleet.start(producer=2)
        wait_until(lambda: fleet.statuses(one) and fleet.statuses(two), 10, "rows of both")
        fleet.ctl("campaign", "pause", "one")
        fleet.ctl("campaign", "pause", "two")
        wait_until(lambda: not {"queued", "processing"} & set(fleet.statuses()), 20,
                   lambda: f"nothing to be queued: {fleet.statuses()}")
        fleet.ctl("campaign", "cancel", "one")
        fleet.ctl("campaign", "resume", "two")
        fleet.drain()
        fleet.check()
        equal({"sent": 500}, fleet.statuses(two), "rows of two")
        true(set(fleet.statuses(one)) <= {"sent", "skipped"}, f"rows of one: {fleet.statuses(one)}")


@test
def a_paused_device_waits_and_the_others_do_not():
    with Fleet() as fleet:
        devices = fleet.devices(4, gap=(5, 10))
        fleet.leads(30)
        fleet.start(producer=2)
        name = fleet.sql.one(f"SELECT name FROM devices WHERE id = {devices[0]}")
        fleet.ctl("device", "pause", name)
        fleet.campaign("some")
        wait_until(lambda: fleet.statuses().get("sent") == 90, 20, lambda: f"the others: {fleet.statuses()}")
        equal(0, sum(l.device == devices[0] for l in fleet.ledger()), "sends of the paused device")
        fleet.ctl("device", "resume", name)
        fleet.drain()
        equal({"sent": 120}, dict(fleet.check().rows), "rows")


@test
def too_late_is_skipped_as_expired():
    with Fleet() as fleet:
        fleet.devices(4, gap=(200, 300))
        fleet.leads(30)
        fleet.campaign("news", max_lateness_s=2)
        fleet.start(producer=2)
        fleet.drain(30)
        verdict = fleet.check()
        true(verdict.rows["sent"] >= 8 and verdict.rows["skipped"] >= 60, f"rows: {verdict.rows}")
        equal([("expired",)], fleet.sql.rows(
            "SELECT DISTINCT error_class FROM broadcast_messages WHERE status = 'skipped'"), "the reason")


# --- pace ----------------------------------------------------------------------------------------------


@test
def gaps_are_kept_while_workers_come_and_go():
    with Fleet() as fleet:
        fleet.devices(40, gap=(500, 1000))
        fleet.leads(12)
        fleet.campaign("slow")
        fleet.start(producer=1, worker=2, reaper=2)
        n = 2
        for round_ in range(3):
            want = 100 + 100 * round_
            wait_until(lambda: len(fleet.ledger()) > want, 20, "sends")
            n += 1
            fleet.spawn("worker", f"worker{n}")
            victim = fleet.processes.pop(f"worker{n - 2}")
            if round_ == 1:
                equal(0, victim.terminate(), "exit status of a drained worker")
            else:
                victim.kill()
        fleet.drain()
        fleet.check(gaps=300)  # the way from permit to ledger is long on a busy machine; pacing.py is strict


@test
def batches_pause_and_caps_hold():
    with Fleet() as fleet:
        (batched,) = fleet.devices(1, gap=(5, 10), batch_size=5, batch_pause_ms=600)
        (capped,) = fleet.devices(1, gap=(5, 10), hourly_cap=7)
        (daily,) = fleet.devices(1, gap=(5, 10), daily_cap=9, hourly_cap=50)
        fleet.leads(20)
        fleet.campaign("measured")
        fleet.start()
        wait_until(lambda: Counter(l.device for l in fleet.ledger())[batched] == 20, 20, "the batched device")
        at = mono_us()
        wait_until(lambda: mono_us() > at + 500_000, 5, "half a second to pass")
        lines = fleet.ledger()
        times = [l.mono_us / 1000 for l in lines if l.device == batched]
        for i in range(5, 20, 5):
            true(times[i] - times[i - 1] >= 600, f"only {times[i] - times[i - 1]:.0f} ms behind a batch")
        true(times[4] - times[0] < 500, "a pause within a batch")
        counts = Counter(l.device for l in lines)
        equal((7, 9), (counts[capped], counts[daily]), "sends of the capped devices")
        fleet.check(drained=False)


@test
def quiet_hours_are_quiet():
    with Fleet() as fleet:
        now = fleet.sql.one("SELECT HOUR(UTC_TIMESTAMP()) * 60 + MINUTE(UTC_TIMESTAMP())")
        (quiet,) = fleet.devices(1, gap=(5, 10), quiet_from=(now - 60) % 1440, quiet_to=(now + 60) % 1440)
        (awake,) = fleet.devices(1, gap=(5, 10), quiet_from=(now + 60) % 1440, quiet_to=(now + 120) % 1440)
        (abroad,) = fleet.devices(1, gap=(5, 10), quiet_from=(now - 60) % 1440, quiet_to=(now + 60) % 1440,
                                  time_zone="Asia/Kuala_Lumpur")
        fleet.leads(10)
        fleet.campaign("night")
        fleet.start()
        wait_until(lambda: fleet.statuses().get("sent") == 20, 20, lambda: f"two devices: {fleet.statuses()}")
        equal({awake: 10, abroad: 10}, dict(Counter(l.device for l in fleet.ledger())), "sends")
        fleet.sql.exec(f"UPDATE devices SET quiet_from = -1, quiet_to = -1, config_version = config_version + 1 WHERE id = {quiet}")
        fleet.drain()
        equal({"sent": 30}, dict(fleet.check().rows), "rows")


@test
def no_more_than_max_in_flight_at_once():
    with Fleet(rules=["all=late:100"]) as fleet:
        fleet.devices(5, max_in_flight=3)
        fleet.devices(5)
        fleet.leads(30)
        fleet.campaign("parallel")
        fleet.start(worker=2)
        fleet.drain()
        fleet.check(late_ms=100)
        by = defaultdict(list)
        for l in fleet.ledger():
            by[l.device].append(l.mono_us / 1000)
        for device, times in list(by.items())[:]:
            allowed = 3 if device <= 5 else 1
            for i in range(len(times) - allowed):
                true(times[i + allowed] - times[i] >= 98,
                     f"device {device} had {allowed + 1} under way within {times[i + allowed] - times[i]:.0f} ms")
        true(max(t[-1] - t[0] for d, t in by.items() if d <= 5) < 2500, "three at once are not three times as fast")


# --- outcomes ------------------------------------------------------------------------------------------


@test
def refusals_for_now_are_retried_with_backoff_until_the_attempts_are_used_up():
    with Fleet(rules=["device:1=status:429", "device:2,attempt:1=status:429", "device:2,attempt:2=status:429"],
               conf={"reaper": {"retry_base": "400ms"}}) as fleet:
        fleet.devices(3)
        fleet.leads(4)
        fleet.campaign("again", max_attempts=3)
        fleet.start()
        fleet.drain()
        fleet.check()
        equal({"sent": 8, "failed": 4}, fleet.statuses(), "rows")
        by = defaultdict(list)
        for l in fleet.ledger():
            by[l.job].append(l)
        for job, device, status, attempt in fleet.sql.rows("SELECT job_id, device_id, status, attempt FROM broadcast_messages"):
            lines = by[job]
            equal({"1": 3, "2": 3, "3": 1}[device], len(lines), f"requests for a job of device {device}")
            equal(list(range(1, len(lines) + 1)), [l.attempt for l in lines], "attempts")
            for n, (a, b) in enumerate(zip(lines, lines[1:])):
                wait = (b.mono_us - a.mono_us) / 1000
                true(wait >= 200 * 2 ** n - 5, f"attempt {n + 2} came after {wait:.0f} ms")


@test
def a_provider_that_is_away_costs_no_attempt():
    with Fleet(conf={"reaper": {"retry_cap": "500ms"}}) as fleet:
        fleet.devices(5)
        fleet.leads(10)
        fleet.stub.kill()
        fleet.campaign("patient", max_attempts=1)
        fleet.start()
        wait_until(lambda: fleet.sql.one("SELECT MAX(deferrals) FROM broadcast_messages") >= 1, 20, "deferrals")
        fleet.stub.start()
        fleet.drain()
        verdict = fleet.check(order=False)
        equal({"sent": 50}, dict(verdict.rows), "rows")
        equal({1}, {l.attempt for l in fleet.ledger()}, "attempts")


@test
def unknown_outcomes_follow_the_campaigns_policy():
    with Fleet(rules=["attempt:1=reset-after"]) as fleet:
        fleet.devices(5)
        fleet.leads(4)
        numbers = {p: fleet.campaign(p, on_unknown=p) for p in ("hold", "resend", "assume_sent")}
        fleet.start()
        fleet.drain()
        verdict = fleet.check()
        equal({"unknown": 20}, fleet.statuses(numbers["hold"]), "hold")
        equal({"sent": 20}, fleet.statuses(numbers["assume_sent"]), "assume_sent")
        got = Counter(l.job.split("-")[0] for l in fleet.ledger())
        equal(20, got[f"c{numbers['hold']}"], "requests under hold")
        equal(20, got[f"c{numbers['assume_sent']}"], "requests under assume_sent")
        true(got[f"c{numbers['resend']}"] >= 40, f"nothing was sent again: {got}")
        true(verdict.unknowns >= 60, f"unknown outcomes are not counted: {verdict.unknowns}")


@test
def a_kept_connection_that_dies_is_never_sent_again_silently():
    with Fleet(rules=["kept,p:0.15=close-after-read", "kept,p:0.02=reset-after"]) as fleet:
        fleet.devices(20)
        fleet.leads(100)
        fleet.campaign("trap")
        fleet.start()
        fleet.drain()
        verdict = fleet.check()
        true(verdict.ledger["open"] > 100, f"the trap did not spring: {verdict.ledger}")
        equal(verdict.ledger["open"], verdict.rows["unknown"], "rows unknown")


@test
def people_settle_unknown_rows():
    with Fleet(rules=["attempt:1=reset-after"]) as fleet:
        fleet.devices(1)
        fleet.leads(6)
        fleet.campaign("open")
        fleet.start()
        fleet.drain()
        equal({"unknown": 6}, fleet.statuses(), "rows")
        listed = json.loads(fleet.ctl("unknown", "list", "--json")[1])
        rows = listed if isinstance(listed, list) else next(v for v in listed.values() if isinstance(v, list))
        equal(6, len(rows), "listed rows")
        ids = [i for (i,) in fleet.sql.rows("SELECT id FROM broadcast_messages ORDER BY id")]
        fleet.ctl("unknown", "confirm", ids[0])
        fleet.ctl("unknown", "drop", ids[1])
        fleet.ctl("unknown", "resend", ids[2])
        wait_until(lambda: fleet.sql.one(f"SELECT status FROM broadcast_messages WHERE id = {ids[2]}") == "sent", 20, "the resend")
        got = dict(fleet.sql.rows("SELECT id, status FROM broadcast_messages"))
        equal(("sent", "sent", 3), (got[ids[0]], got[ids[2]], sum(s == "unknown" for s in got.values())), "statuses")
        true(got[ids[1]] in ("skipped", "failed"), f"a dropped row is {got[ids[1]]}")


@test
def only_its_own_attempt_resolves_an_unknown_row():
    """What a lease that was given back says late is no word on the attempt that followed it."""
    with Fleet(rules=["all=reset-after"]) as fleet:
        (device,) = fleet.devices(1)
        fleet.leads(1)
        fleet.campaign("open")
        fleet.start()
        fleet.drain()
        row, job, gen, token = fleet.sql.rows("SELECT m.id, m.job_id, e.gen, e.token FROM broadcast_messages m JOIN message_events e"
                                              " ON e.message_id = m.id AND e.event = 'unknown'")[0]

        def say(kind, by):
            fleet.redis.call("XADD", f"pl:{{p{device % 8:02}}}:results", "*", "kind", kind, "id", job, "row", row, "dev", device,
                             "gen", gen, "tok", by, "code", "418", "text", "late", "late", "1")
            wait_until(lambda: fleet.sql.one(f"SELECT COUNT(*) FROM message_events WHERE event = '{kind}' AND token = {by}"), 20, f"{kind} by {by}")
            return fleet.sql.one("SELECT status FROM broadcast_messages")

        equal("unknown", say("retry", int(token) + 7), "status after another's retry")
        equal("unknown", say("failed", int(token) + 8), "status after another's refusal")
        equal("failed", say("failed", int(token)), "status after its own refusal")
        equal("sent", say("sent", int(token) + 9), "status after any proof that it was sent")


# --- the programs --------------------------------------------------------------------------------------


@test
def a_draining_worker_finishes_what_flies_and_gives_the_rest_back():
    with Fleet(rules=["all=late:300"]) as fleet:
        fleet.devices(40, max_in_flight=2)
        fleet.leads(20)
        fleet.campaign("leaving")
        first, = [p for p in fleet.start() if p.name == "worker1"]
        wait_until(lambda: len(fleet.ledger()) > 100, 20, "sends")
        began = time.monotonic()
        equal(0, first.terminate(10), "exit status")
        took = time.monotonic() - began
        true(took < 3, f"draining took {took:.1f} s")
        leases = sum(fleet.redis.call("ZCARD", k) for k in fleet.redis.client.keys("pl:{*}:leases"))
        equal(0, leases, "leases left behind")
        del fleet.processes["worker1"]
        fleet.spawn("worker", "worker2")
        fleet.drain()
        verdict = fleet.check()
        equal({"sent": 800}, dict(verdict.rows), "rows")
        equal(800, sum(verdict.ledger.values()), "requests")


@test
def a_second_sigterm_ends_a_worker_at_once_and_nothing_is_lost():
    with Fleet(rules=["all=late:1500"]) as fleet:
        fleet.devices(10)
        fleet.leads(2)
        fleet.campaign("hasty")
        fleet.start()
        wait_until(lambda: len(fleet.ledger()) >= 10, 20, "sends")
        worker = fleet.processes.pop("worker1")
        worker.signal(signal.SIGTERM)
        wait_until(lambda: any("drain" in l or "stopping" in l for l in worker.lines()), 5, "the drain")
        began = time.monotonic()
        worker.signal(signal.SIGTERM)
        worker.wait(5)
        true(time.monotonic() - began < 1, "the second SIGTERM was not obeyed at once")
        fleet.spawn("worker", "worker2")
        fleet.drain()
        verdict = fleet.check()
        true(verdict.rows["unknown"] <= 10, f"rows: {verdict.rows}")


@test
def a_frozen_worker_does_no_harm_when_it_wakes():
    with Fleet(rules=["p:0.3=late:200"]) as fleet:
        fleet.devices(30, gap=(20, 60))
        fleet.leads(100)
        fleet.campaign("frozen", on_unknown="hold")
        fleet.start(worker=2, reaper=2)
        for n in range(3):
            before = len(fleet.ledger())
            wait_until(lambda: len(fleet.ledger()) > before + 150, 20, "sends")
            sleeper = fleet.processes[f"worker{n % 2 + 1}"]
            sleeper.freeze()
            before = len(fleet.ledger())
            wait_until(lambda: len(fleet.ledger()) > before + 60, 20, "the other worker to go on")
            at = mono_us()
            wait_until(lambda: mono_us() > at + 2_000_000, 5, "the leases to run out")
            sleeper.thaw()
        fleet.drain()
        fleet.check()
        fleet.stop()


@test
def programs_frozen_between_their_steps_do_no_harm():
    with Fleet(rules=["p:0.1=late:50"]) as fleet:
        fleet.devices(20)
        fleet.leads(60)
        fleet.start(producer=2, worker=2, reaper=2)
        fleet.campaign("tired")
        until = time.monotonic() + 12
        while time.monotonic() < until and not (fleet.settled() and fleet.statuses()):
            p = fleet.random.choice(list(fleet.processes.values()))
            p.freeze()
            at, length = mono_us(), fleet.random.randint(100, 3000) * 1000
            wait_until(lambda: mono_us() > at + length, 5, "a nap")
            p.thaw()
            fleet.campaign(f"tired {at}", fleet.random.sample(range(1, 21), 3))
        fleet.drain()
        fleet.check()


@test
def health_ready_and_metrics_are_served():
    with Fleet() as fleet:
        fleet.devices(2)
        fleet.leads(5)
        programs = fleet.start()
        fleet.campaign("well")
        fleet.drain()
        line = re.compile(r"^(# (HELP|TYPE|EOF|UNIT)\b.*|[a-zA-Z_:][\w:]*(\{[^{}]*\})? -?[0-9.e+-]+(Inf|NaN)?)$")
        for p in programs:
            equal(200, http_get(p.health, "/healthz")[0], f"{p.name} /healthz")
            equal(200, http_get(p.health, "/readyz")[0], f"{p.name} /readyz")
            status, body = http_get(p.health, "/metrics")
            equal(200, status, f"{p.name} /metrics")
            bad = [l for l in body.splitlines() if l and not line.match(l)]
            equal([], bad, f"{p.name}: lines that are no metrics")
            true("paceline_" in body, f"{p.name}: no metric of ours")
            equal(404, http_get(p.health, "/nothing")[0], f"{p.name} /nothing")
        fleet.redis.kill()
        worker = next(p for p in programs if p.name == "worker1")
        wait_until(lambda: http_get(worker.health, "/readyz")[0] == 503, 10, "a worker without Redis to be not ready")
        for p in programs:
            equal(200, http_get(p.health, "/healthz")[0], f"{p.name} /healthz without Redis")
        fleet.redis.start()
        wait_until(lambda: http_get(worker.health, "/readyz")[0] == 200, 15, "it to be ready again")
        fleet.stop()


@test
def programs_explain_themselves_and_refuse_bad_settings():
    with Fleet() as fleet:
        for role, name in BINARIES.items():
            binary = os.path.join(fleet.bin, name)

            def run(*args, env=None):
                done = subprocess.run([binary, *args], capture_output=True, text=True, timeout=30,
                                      env={**os.environ, **(env or {})})
                return done.returncode, done.stdout, done.stderr

            code, out, _ = run("--version")
            equal(0, code, f"{name} --version")
            true(re.search(r"\d+\.\d+\.\d+", out), f"{name} --version says {out!r}")
            code, out, _ = run("--help")
            true(code == 0 and "--redis-url" in out or role == "ctl" and code == 0, f"{name} --help says {out!r}")
            code, out, err = run("--config", fleet.conf_file, "--check-config")
            equal(0, code, f"{name} --check-config: {out}{err}")
            secret = {"PACELINE_REDIS_PASSWORD": "hunter2"}
            code, out, _ = run("--config", fleet.conf_file, "--print-config", env=secret)
            true(code == 0 and "redis_url" in out and "hunter2" not in out, f"{name} --print-config says {out!r}")
            bad = fleet.conf_file + ".bad"
            for text, place in ((f"[{role if role != 'ctl' else 'paceline'}]\nredis_ulr = x\n", ":2:"),
                                ("[nonsense\n", ":1:"), ("[widget a]\n", ":1:")):
                with open(bad, "w") as f:
                    f.write(text)
                code, out, err = run("--config", bad, "--check-config")
                true(code == 2 and bad + place in err, f"{name} accepts {text!r}: {code} {out}{err}")
            code, _, err = run("--config", bad + ".missing", "--check-config")
            true(code == 2 and "missing" in err, f"{name} without its file: {code} {err}")
        # A sender's mistakes are found without starting anything.
        with open(bad, "w") as f:
            f.write("[sender x]\ntype = webhook\nurl = ftp://a\n")
        code, out, err = run("--config", bad, "--check-config")
        worker = subprocess.run([fleet.binary("worker"), "--config", bad, "--check-config"], capture_output=True, text=True)
        true(worker.returncode == 2 and bad + ":" in worker.stderr, f"the worker accepts ftp: {worker.stderr}")


@test
def the_command_line_leads_through_a_whole_campaign():
    with Fleet() as fleet:
        fleet.sql.exec("DELETE FROM users")
        csv = os.path.join(fleet.folder, "leads.csv")
        with open(csv, "w") as f:
            f.write("phone,name,device,city\n")
            for i in range(60):
                f.write(f"+6012-555 {i:04},\"Siti, no. {i}\",shop{i % 3 + 1},Ipoh\n")
        for i in (1, 2, 3):
            fleet.ctl("device", "add", f"shop{i}", "--sender", "stub", "--gap", "5ms..10ms")
        code, out, err = fleet.ctl("leads", "import", csv, "--device-column", "device", "--dry-run")
        equal(0, fleet.sql.one("SELECT COUNT(*) FROM leads"), "leads after a dry run")
        fleet.ctl("leads", "import", csv, "--device-column", "device")
        equal(60, fleet.sql.one("SELECT COUNT(*) FROM leads"), "leads")
        fleet.ctl("leads", "import", csv, "--device-column", "device")
        equal(60, fleet.sql.one("SELECT COUNT(*) FROM leads"), "leads after the same import")
        equal([("60125550000", "60125550059")], fleet.sql.rows("SELECT MIN(phone), MAX(phone) FROM leads"), "phones")
        fleet.start()
        fleet.ctl("campaign", "create", "raya", "--content", "Hi {{name}} in {{city}}", "--devices", "all",
                  "--start", "now", "--on-unknown", "hold")
        wait_until(lambda: fleet.statuses().get("sent") == 60, 30, lambda: f"60 sent: {fleet.statuses()}")
        fleet.drain()
        fleet.check()
        hashes = {l.hash for l in fleet.ledger()}
        true(f"{xxh64(b'Hi Siti, no. 7 in Ipoh'):016x}" in hashes, "a CSV column does not reach the text")
        status = json.loads(fleet.ctl("status", "--json")[1])
        true(status, "status --json is empty")
        true("raya" in fleet.ctl("campaign", "list")[1], "campaign list")
        true("raya" in fleet.ctl("campaign", "show", "raya")[1], "campaign show")
        number = fleet.sql.one("SELECT MIN(id) FROM broadcast_messages")
        true("sent" in fleet.ctl("message", "trace", str(number))[1], "message trace")
        for what in ("duplicates", "stuck", "conservation"):
            code, out, err = fleet.ctl("audit", what, check=False)
            equal(0, code, f"audit {what}: {out}{err}")
        code, _, err = fleet.ctl("campaign", "pause", "nonesuch", check=False)
        true(code != 0 and "nonesuch" in err, f"a campaign that is not there: {code} {err!r}")
        code, out, _ = fleet.ctl("migrate")
        equal(0, code, "migrate again")


@test
def two_partition_counts_do_not_mix():
    with Fleet() as fleet:
        fleet.start()
        other = fleet.spawn("worker", "other", args=("--partitions", "16"))
        true(other.wait(20) != 0, "a worker with another number of partitions runs")
        true(any("partition" in l for l in other.lines()), f"it does not say why: {other.lines()[-3:]}")
        fleet.redis.call("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
        evicting = fleet.spawn("worker", "evicting")
        true(evicting.wait(20) != 0, "a worker runs on a Redis that evicts")
        true(any("noeviction" in l for l in evicting.lines()), f"it does not say why: {evicting.lines()[-3:]}")


if __name__ == "__main__":
    sys.exit(main())
