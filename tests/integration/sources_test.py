#!/usr/bin/env python3
"""Where messages come from besides campaigns: sequences, recurring messages, rows of an application.

    tests/integration/sources_test.py [name part ...]      B names the build folder; T_SEED, T_JOBS, T_KEEP"""
import json
import sys
import time
from collections import Counter

from harness import Fleet, equal, literal, main, test, true, wait_until


def rows_by(fleet, *columns, where="1 = 1"):
    return Counter(tuple(r) if len(columns) > 1 else r[0] for r in
                   fleet.sql.rows(f"SELECT {', '.join(columns)} FROM broadcast_messages WHERE {where}"))


def trigger(fleet, word, where="1 = 1"):
    fleet.sql.exec(f"UPDATE leads SET `trigger` = '{word}' WHERE {where}")


def enrolled(fleet, n):
    wait_until(lambda: fleet.sql.one("SELECT COUNT(*) FROM sequence_contacts") == n, 20, f"{n} contacts")


# --- sequences ------------------------------------------------------------------------------------------


def chain(fleet, delay=1):
    """COLD 3 -> WARM 2 -> HOT 1."""
    hot = fleet.sequence("HOT", [(0, "hot {{name}}")])
    warm = fleet.sequence("WARM", [(0, "warm one"), (delay, "warm two")], next_sequence_id=hot, next_after_s=delay)
    cold = fleet.sequence("COLD", [(0, "cold one"), (delay, "cold two"), (delay, "cold three")], trigger="COLD",
                          next_sequence_id=warm, next_after_s=delay)
    return cold, warm, hot


@test
def a_lead_gets_all_steps_of_all_linked_sequences_once_and_in_time():
    with Fleet(rules=["p:0.1=late:20", "p:0.05=status:429"]) as fleet:
        fleet.devices(6)
        fleet.leads(30)
        cold, warm, hot = chain(fleet)
        trigger(fleet, "cold", "id % 3 = 0")  # words match whatever their case
        fleet.start(producer=2, worker=2, reaper=2)
        enrolled(fleet, 3 * 60)
        equal({str(cold): 180, str(warm): 120, str(hot): 60}, dict(rows_by(fleet, "sequence_id")), "rows by sequence")
        wrong = fleet.sql.rows(
            "SELECT m.recipient_phone, GROUP_CONCAT(TIMESTAMPDIFF(SECOND, n.enrolled_at, m.scheduled_at) ORDER BY m.id) t"
            " FROM broadcast_messages m JOIN sequence_contacts n ON n.sequence_id = m.sequence_id AND n.device_id = m.device_id"
            " AND n.recipient_phone = m.recipient_phone WHERE m.gen = 0 OR m.attempt <= 1 AND m.deferrals = 0"
            " GROUP BY m.recipient_phone HAVING COUNT(*) = 6 AND t <> '0,1,2,3,4,5'")
        equal([], wrong, "times of steps")
        fleet.drain()
        verdict = fleet.check()
        equal(360, verdict.rows["sent"], "sent")
        fleet.sql.exec("UPDATE sequence_contacts SET check_at = UTC_TIMESTAMP(3) WHERE status = 'active'")
        wait_until(lambda: fleet.sql.one("SELECT COUNT(*) FROM sequence_contacts WHERE status = 'finished'") == 180, 20,
                   "contacts to finish")
        equal(360, fleet.sql.one("SELECT SUM(n_sent) FROM sequence_contacts"), "sent, as contacts count it")
        equal(0, fleet.sql.one("SELECT COUNT(*) FROM leads WHERE trigger_pending"), "pending triggers")
        # The same word once more, and a second look by the producers: nothing.
        trigger(fleet, "", "id % 3 = 0")
        wait_until(lambda: fleet.sql.one("SELECT COUNT(*) FROM leads WHERE trigger_pending AND `trigger` = ''") == 60, 5, "words cleared")
        fleet.sql.exec("UPDATE leads SET trigger_seen = `trigger`")
        trigger(fleet, "COLD", "id % 3 = 0")
        wait_until(lambda: fleet.sql.one("SELECT COUNT(*) FROM leads WHERE trigger_pending") == 0, 10, "triggers taken")
        equal(360, fleet.sql.one("SELECT COUNT(*) FROM broadcast_messages"), "rows")
        fleet.stop()


@test
def deliberate_enrolment_again_is_a_rotation():
    with Fleet() as fleet:
        fleet.devices(2)
        fleet.leads(5)
        number = fleet.sequence("S", [(0, "one"), (1, "two")])
        ask = (f"INSERT IGNORE INTO sequence_requests (sequence_id, lead_id, again, created_at) SELECT {number}, id, %d,"
               " UTC_TIMESTAMP(3) FROM leads")
        fleet.sql.exec(ask % 0)
        # Of a lead that is not there, and of another user's, nothing comes; the requests go all the same.
        fleet.sql.exec("INSERT INTO leads (id, user_id, device_id, phone, created_at, updated_at) VALUES (900, 2, 1, '60999999999',"
                       " UTC_TIMESTAMP(3), UTC_TIMESTAMP(3))")
        fleet.sql.exec(f"INSERT INTO sequence_requests (sequence_id, lead_id, created_at) VALUES ({number}, 900, UTC_TIMESTAMP(3)),"
                       f" ({number}, 901, UTC_TIMESTAMP(3))")
        fleet.start()
        enrolled(fleet, 10)
        fleet.sql.exec("DELETE FROM leads WHERE id = 900")
        fleet.sql.exec(ask % 1)  # they are active: nothing
        wait_until(lambda: fleet.sql.one("SELECT COUNT(*) FROM sequence_requests") == 0, 10, "requests taken")
        equal(10, fleet.sql.one("SELECT COUNT(*) FROM sequence_contacts"), "contacts")
        fleet.drain()
        fleet.sql.exec("UPDATE sequence_contacts SET check_at = UTC_TIMESTAMP(3)")
        wait_until(lambda: fleet.sql.one("SELECT COUNT(*) FROM sequence_contacts WHERE status = 'finished'") == 10, 20, "the end")
        fleet.sql.exec(ask % 0)  # been there
        fleet.sql.exec(ask % 1)  # INSERT IGNORE: the first word stands
        wait_until(lambda: fleet.sql.one("SELECT COUNT(*) FROM sequence_requests") == 0, 10, "requests taken")
        equal(10, fleet.sql.one("SELECT COUNT(*) FROM sequence_contacts"), "contacts")
        fleet.sql.exec(ask % 1)
        enrolled(fleet, 20)
        fleet.drain()
        equal({"0": 20, "1": 20}, dict(rows_by(fleet, "rotation", where="status = 'sent'")), "sent by rotation")
        fleet.check()
        fleet.stop()


@test
def paused_resumed_cancelled_sequences():
    with Fleet() as fleet:
        fleet.devices(4, gap=(20, 40))
        fleet.leads(25)
        number = fleet.sequence("S", [(0, "one"), (2, "two")], trigger="go")
        trigger(fleet, "go")
        fleet.start(worker=2)
        wait_until(lambda: len(fleet.ledger()) > 10, 20, "sends")
        fleet.sql.exec(f"UPDATE sequences SET status = 'paused' WHERE id = {number}")
        wait_until(lambda: fleet.sql.one("SELECT steered FROM sequences") == "paused", 5, "Redis to be told")
        wait_until(lambda: fleet.sql.one("SELECT COUNT(*) FROM broadcast_messages WHERE status IN ('processing', 'queued')") == 0,
                   10, "jobs to come back")
        held = len(fleet.ledger())
        true(held < 200, "all went out before the pause")
        until = time.monotonic() + 2.5  # the second steps are due, and stay
        wait_until(lambda: time.monotonic() > until, 5, "a while")
        equal(held, len(fleet.ledger()), "sends of a paused sequence")
        fleet.sql.exec(f"UPDATE sequences SET status = 'active' WHERE id = {number}")
        wait_until(lambda: len(fleet.ledger()) > held + 20, 20, "sends again")
        fleet.sql.exec(f"UPDATE sequences SET status = 'cancelled' WHERE id = {number}")
        wait_until(lambda: fleet.sql.one("SELECT COUNT(*) FROM sequences WHERE finished_at IS NOT NULL") == 1, 20, "the end")
        fleet.drain()
        fleet.check(order=False)
        by = rows_by(fleet, "status", "COALESCE(error_class, '')")
        true(by[("skipped", "cancelled")] > 0 and sum(by.values()) == 200, f"rows: {by}")
        equal(0, fleet.sql.one("SELECT COUNT(*) FROM sequence_contacts WHERE status = 'active'"), "active contacts")
        wait_until(lambda: fleet.sql.one("SELECT steered FROM sequences") == "none", 5, "Redis to forget the word")
        fleet.stop()


@test
def who_opts_out_is_removed_or_leaves_gets_nothing_more():
    with Fleet() as fleet:
        fleet.devices(2)
        fleet.leads(8)
        number = fleet.sequence("S", [(0, "one"), (3, "two")], trigger="go")
        fleet.sql.exec("INSERT INTO opt_outs (user_id, phone, created_at) SELECT 1, phone, UTC_TIMESTAMP(3) FROM leads WHERE id = 1")
        trigger(fleet, "go")
        fleet.start()
        wait_until(lambda: len(fleet.ledger()) == 15, 20, "first steps")
        equal("left", fleet.sql.one("SELECT status FROM sequence_contacts WHERE lead_id = 1"), "contact of lead 1")
        fleet.sql.exec("INSERT INTO opt_outs (user_id, phone, created_at) SELECT 1, phone, UTC_TIMESTAMP(3) FROM leads WHERE id = 2")
        fleet.sql.exec("DELETE FROM leads WHERE id = 3")
        fleet.sql.exec("UPDATE leads SET device_id = 3 - device_id WHERE id = 4")
        fleet.sql.exec("UPDATE sequence_contacts SET status = 'left', reason = 'asked' WHERE lead_id = 5")
        fleet.drain()
        equal({"opted-out": 1, "lead-removed": 2, "left": 1}, dict(rows_by(fleet, "error_class", where="status = 'skipped'")), "skipped")
        equal(11 + 15, len(fleet.ledger()), "requests")
        fleet.sql.exec("UPDATE sequence_contacts SET check_at = UTC_TIMESTAMP(3)")
        wait_until(lambda: fleet.sql.one("SELECT COUNT(*) FROM sequence_contacts WHERE check_at IS NOT NULL") == 0, 20, "the count")
        equal({("1", "opted-out"), ("2", "opted-out"), ("3", "lead-removed"), ("4", "lead-removed"), ("5", "asked")},
              set(fleet.sql.rows("SELECT lead_id, reason FROM sequence_contacts WHERE status = 'left'")), "who has left")
        fleet.stop()


@test
def sequences_without_steps_and_in_circles_do_no_harm():
    """Not by the paceline command, but by whoever writes rows."""
    with Fleet() as fleet:
        fleet.devices(1)
        fleet.leads(3)
        empty = fleet.sequence("empty", [], trigger="empty")
        ring = fleet.sequence("ring", [(0, "a")], trigger="ring")
        back = fleet.sequence("back", [(0, "b")], next_sequence_id=ring, next_after_s=0)
        fleet.sql.exec(f"UPDATE sequences SET next_sequence_id = {empty} WHERE id = {empty}")
        fleet.sql.exec(f"UPDATE sequences SET next_sequence_id = {back}, next_after_s = 0 WHERE id = {ring}")
        trigger(fleet, "empty", "id = 1")
        trigger(fleet, "ring", "id > 1")
        fleet.start()
        enrolled(fleet, 1 + 2 * 2)
        fleet.drain()
        equal({str(ring): 2, str(back): 2}, dict(rows_by(fleet, "sequence_id")), "rows")
        wait_until(lambda: fleet.sql.one(f"SELECT status FROM sequence_contacts WHERE sequence_id = {empty}") == "finished", 10,
                   "the contact without messages to be through")
        fleet.check()
        fleet.stop()


# --- recurring messages -----------------------------------------------------------------------------------


@test
def occurrences_run_once_whoever_sees_them():
    with Fleet(rules=["p:0.1=late:20"]) as fleet:
        fleet.devices(3)
        fleet.leads(4)
        leads = fleet.recurring("leads", max_executions=3)
        # Group chats and phones, each named once an occurrence.
        group = fleet.recurring("group", audience="contacts", max_executions=2, every=2, max_lateness_s=3600)
        fleet.sql.exec(f"INSERT INTO recurring_contacts (recurring_id, device_id, phone, name) VALUES ({group}, 1,"
                       f" '120363041234567890@g.us', 'G'), ({group}, 2, '60123456789', 'P'), ({group}, 2, '60123456780', 'Q')")
        fleet.sql.exec("INSERT INTO opt_outs (user_id, phone, created_at) VALUES (1, '60123456780', UTC_TIMESTAMP(3))")
        fleet.start(producer=3, worker=2, reaper=2)
        wait_until(lambda: fleet.sql.one("SELECT COUNT(*) FROM recurring_messages WHERE status = 'finished'") == 2, 30, "the end")
        fleet.drain()
        fleet.check()
        equal({(str(leads), "finished", "12"): 3, (str(group), "finished", "2"): 2},
              dict(Counter(fleet.sql.rows("SELECT recurring_id, status, total FROM recurring_message_logs"))), "runs")
        equal({"sent": 40}, dict(rows_by(fleet, "status")), "rows")
        steps = fleet.sql.rows(f"SELECT TIMESTAMPDIFF(SECOND, MIN(occurrence_at), MAX(occurrence_at)) FROM recurring_message_logs"
                               " GROUP BY recurring_id ORDER BY recurring_id")
        equal([("2",), ("2",)], steps, "seconds from the first run to the last")
        true(fleet.sql.one(f"SELECT MIN(TIMESTAMPDIFF(SECOND, scheduled_at, expires_at)) FROM broadcast_messages WHERE"
                           f" recurring_id = {group}") == 3600, "expiry")
        fleet.stop()


@test
def missed_runs_are_caught_up_by_policy_and_logged():
    start = "UTC_TIMESTAMP() - INTERVAL 100 MINUTE"
    with Fleet() as fleet:
        fleet.devices(1)
        fleet.leads(2)
        numbers = {}
        for name, more in {"one": {}, "skip": {"catch_up": "skip"}, "all": {"catch_up": "all", "catch_up_max": 4},
                           "late": {"max_run_lateness_s": 60}}.items():
            numbers[name] = fleet.recurring(name, every=1800, status="paused", **more)
        # The next one would have been due 90 minutes ago: four are due, at 100, 70, 40 and 10 minutes.
        fleet.sql.exec(f"UPDATE recurring_messages SET start_local = {start}, planned_after = {start} - INTERVAL 1 SECOND, status = 'active'")
        fleet.start()
        wait_until(lambda: fleet.sql.one("SELECT COUNT(*) FROM recurring_message_logs WHERE status IN ('finished', 'missed')") == 16,
                   20, "logs")
        fleet.drain()
        fates = {name: "".join(s[0] for (s,) in fleet.sql.rows(
            f"SELECT status FROM recurring_message_logs WHERE recurring_id = {n} ORDER BY occurrence_at")) for name, n in numbers.items()}
        # All: those up to an hour late.
        equal({"one": "mmmf", "skip": "mmmm", "all": "mmff", "late": "mmmm"}, fates, "fates (missed, finished)")
        equal(2 * 3, len(fleet.ledger()), "requests")
        true(fleet.sql.one("SELECT COUNT(*) FROM recurring_messages WHERE next_run_at > UTC_TIMESTAMP()") == 4, "next runs")
        fleet.stop()


@test
def a_run_that_still_goes_on_can_be_waited_for_or_skipped():
    with Fleet() as fleet:
        fleet.devices(1, gap=(300, 300))
        fleet.leads(10)
        number = fleet.recurring("skip", run_overlap="skip", max_executions=2)
        fleet.start()
        wait_until(lambda: fleet.sql.one("SELECT COUNT(*) FROM recurring_message_logs WHERE status = 'finished'") == 2, 40, "two runs")
        fleet.drain()
        fleet.check()
        skipped = fleet.sql.one(f"SELECT COUNT(*) FROM recurring_message_logs WHERE recurring_id = {number} AND status = 'skipped'"
                                " AND reason = 'overlap'")
        true(skipped >= 1, "an overlapping run was not skipped")
        equal(20, len(fleet.ledger()), "requests")
        fleet.stop()


@test
def the_last_run_of_a_rule_can_be_stopped():
    with Fleet() as fleet:
        fleet.devices(1, gap=(100, 100))
        fleet.leads(60)
        number = fleet.recurring("once", max_executions=1)
        fleet.start()
        wait_until(lambda: len(fleet.ledger()) >= 3, 20, "the run to begin")
        equal("finished", fleet.sql.one("SELECT status FROM recurring_messages"), "a rule whose last run goes on")
        fleet.ctl("recurring", "pause", "once")
        wait_until(lambda: fleet.statuses().get("queued", 0) + fleet.statuses().get("processing", 0) == 0, 10, "jobs to come back")
        held = len(fleet.ledger())
        until = time.monotonic() + 1
        wait_until(lambda: time.monotonic() > until, 5, "a while")
        equal(held, len(fleet.ledger()), "sends in the pause")
        fleet.ctl("recurring", "resume", "once")
        wait_until(lambda: len(fleet.ledger()) > held, 20, "sends again")
        fleet.ctl("recurring", "cancel", "once")
        wait_until(lambda: fleet.sql.one("SELECT finished_at IS NOT NULL FROM recurring_messages") == 1, 20, "the end")
        fleet.drain()
        fleet.check()
        true(len(fleet.ledger()) < 60 and fleet.statuses()["skipped"] > 0, f"nothing was stopped: {fleet.statuses()}")
        equal(1, fleet.ctl("recurring", "cancel", "once", check=False)[0], "cancelling it once more")
        equal(1, fleet.sql.one(f"SELECT COUNT(*) FROM recurring_message_logs WHERE recurring_id = {number}"), "runs")
        fleet.stop()


@test
def many_rules_that_are_due_at_once_are_all_claimed_in_time():
    with Fleet() as fleet:
        fleet.devices(4)
        fleet.leads(5)
        fleet.recurring("first", max_executions=1, catch_up="skip")
        fleet.sql.exec("UPDATE recurring_messages SET start_local = UTC_TIMESTAMP() + INTERVAL 3 SECOND, every = 3600")
        columns = [c for (c,) in fleet.sql.rows("SELECT column_name FROM information_schema.columns WHERE table_schema = DATABASE()"
                                                " AND table_name = 'recurring_messages' AND column_name NOT IN ('id', 'name')")]
        listed = ", ".join(f"`{c}`" for c in columns)
        fleet.sql.exec(f"INSERT INTO recurring_messages (name, {listed}) SELECT CONCAT('rule ', seq), {listed} FROM recurring_messages"
                       " JOIN seq_1_to_199 WHERE name = 'first'")
        fleet.start(producer=2, worker=2)
        wait_until(lambda: fleet.sql.one("SELECT COUNT(*) FROM recurring_messages WHERE finished_at IS NOT NULL") == 200, 60, "all runs")
        fleet.drain()
        fleet.check()
        equal({"finished": 200}, {s: int(n) for s, n in fleet.sql.rows("SELECT status, COUNT(*) FROM recurring_message_logs GROUP BY status")},
              "occurrences")
        true(fleet.sql.one("SELECT MAX(late_ms) FROM recurring_message_logs") < 10000, "an occurrence was claimed late")
        equal(200 * 20, fleet.statuses()["sent"], "messages")
        fleet.stop()


@test
def rules_that_cannot_be_read_are_paused_with_the_reason():
    with Fleet() as fleet:
        fleet.devices(1)
        fleet.leads(1)
        # A zone that this host does not know may be known to others: such a rule is left to them for a minute.
        bad = fleet.recurring("bad", time_zone="Mars/Olympus")
        fleet.sql.exec("UPDATE recurring_messages SET updated_at = updated_at - INTERVAL 2 MINUTE")
        young = fleet.recurring("young", time_zone="Mars/Olympus")
        six = fleet.recurring("six", freq="cron", cron="0 0 9 * * *")
        over = fleet.recurring("over", freq="daily", start_local="2020-01-01 09:00:00", end_date_local="2020-02-01")
        good = fleet.recurring("good", max_executions=1)
        fleet.start()
        wait_until(lambda: fleet.sql.one("SELECT COUNT(*) FROM recurring_messages WHERE status IN ('paused', 'finished')") == 4, 20,
                   lambda: f"verdicts: {fleet.sql.rows('SELECT name, status, status_reason FROM recurring_messages')}")
        state = {int(i): (s, w) for i, s, w in fleet.sql.rows("SELECT id, status, status_reason FROM recurring_messages")}
        equal("paused", state[bad][0], "an unknown zone")
        equal("active", state[young][0], "an unknown zone for a moment")
        true("Mars/Olympus" in state[bad][1], f"the reason: {state[bad]}")
        true(state[six][0] == "paused" and "cron" in state[six][1], f"six fields: {state[six]}")
        equal("finished", state[over][0], "a rule that is over")
        equal("finished", state[good][0], "a good rule beside them")
        fleet.stop()


@test
def cancelled_messages_do_not_wait_for_a_slow_device():
    with Fleet() as fleet:
        fleet.devices(1, gap=(600000, 600000))
        fleet.leads(10)
        fleet.campaign("C")
        fleet.sequence("S", [(0, "one")], trigger="go")
        fleet.recurring("R", max_executions=1)
        trigger(fleet, "go")
        fleet.start()
        wait_until(lambda: fleet.statuses().get("queued", 0) == 29 and len(fleet.ledger()) == 1, 20, "all to be queued")
        for kind, name in (("campaign", "C"), ("sequence", "S"), ("recurring", "R")):
            fleet.ctl(kind, "cancel", name)
        wait_until(lambda: fleet.statuses() == {"sent": 1, "skipped": 29}, 20, lambda: f"the rest to be skipped: {fleet.statuses()}")
        fleet.drain()
        fleet.check()
        fleet.stop()


# --- audits -----------------------------------------------------------------------------------------------


@test
def audits_know_every_source():
    def audit(what):
        code, out, err = fleet.ctl("--json", "audit", what, check=False)
        true(code in (0, 1), f"audit {what}: {err}")
        found = json.loads(out)
        equal(code, 1 if found["found"] else 0, f"exit code of audit {what}")
        return {f["kind"] for f in found["findings"]}, {f["what"]: f["count"] for f in found["facts"]}

    with Fleet() as fleet:
        fleet.devices(2)
        fleet.leads(5)
        fleet.sequence("S", [(0, "one"), (0, "two")], trigger="go")
        fleet.recurring("R", max_executions=2)
        trigger(fleet, "go")
        direct(fleet, "order-1")
        fleet.start()
        wait_until(lambda: fleet.sql.one("SELECT status FROM recurring_messages") == "finished", 20, "the rule's end")
        enrolled(fleet, 10)
        fleet.drain()
        equal(set(), audit("stuck")[0], "what is stuck")
        kinds, facts = audit("conservation")
        equal((set(), 41, 10), (kinds, facts["sent"], facts["contacts in sequences"]), "conservation")
        kinds, facts = audit("duplicates")
        equal((set(), 41), (kinds, facts["sent by other sources"]), "duplicates")
        fleet.stop()
        fleet.sql.exec("DELETE FROM broadcast_messages WHERE kind = 'sequence' LIMIT 1")
        equal({"total"}, audit("conservation")[0], "a row of a contact is missing")
        fleet.sql.exec("UPDATE sequence_contacts SET total = 1 WHERE id = (SELECT id FROM (SELECT n.id FROM sequence_contacts n LEFT"
                       " JOIN broadcast_messages m ON m.recipient_phone = n.recipient_phone AND m.sequence_id = n.sequence_id GROUP BY n.id"
                       " HAVING COUNT(m.id) = 1) x)")
        equal(set(), audit("conservation")[0], "the count put right")
        fleet.sql.exec("DELETE FROM broadcast_messages WHERE kind = 'recurring' LIMIT 1")
        equal({"total"}, audit("conservation")[0], "a row of a run is missing")
        fleet.sql.exec("UPDATE broadcast_messages SET attempt = 2 WHERE job_id = 'order-1'")
        fleet.sql.exec("INSERT INTO message_events (message_id, gen, token, event, happened_at) SELECT m.id, 9, t.seq, 'sent',"
                       " UTC_TIMESTAMP(3) FROM broadcast_messages m JOIN seq_1_to_2 t WHERE m.job_id = 'order-1'")
        equal({"sent-twice"}, audit("duplicates")[0], "a direct message sent twice")
        for statement, kind in (
                ("INSERT INTO sequence_requests (sequence_id, lead_id, created_at) VALUES (1, 1, UTC_TIMESTAMP(3) - INTERVAL 1 HOUR)", "not-enrolled"),
                ("UPDATE sequence_contacts SET check_at = UTC_TIMESTAMP(3) - INTERVAL 1 HOUR WHERE id = 1", "not-counted"),
                ("UPDATE recurring_messages SET status = 'active', next_run_at = UTC_TIMESTAMP(3) - INTERVAL 1 HOUR", "not-run"),
                ("UPDATE recurring_messages SET status = 'paused', status_reason = 'cron: six fields', steered = 'paused'", "stopped"),
                ("UPDATE recurring_message_logs SET status = 'expanding', started_at = started_at - INTERVAL 1 HOUR WHERE id = 1", "not-expanded"),
                ("UPDATE sequences SET steered = 'paused', updated_at = updated_at - INTERVAL 1 HOUR", "unsteered")):
            true(kind not in audit("stuck")[0], f"{kind} before it was there")
            fleet.sql.exec(statement)
            true(kind in audit("stuck")[0], f"{kind} was not found")


# --- rows of an application -------------------------------------------------------------------------------


def direct(fleet, job_id, device=1, phone="60123456789", content="Direct {{name}}", user=1, **columns):
    columns = {"job_id": job_id, "user_id": user, "device_id": device, "kind": "direct", "recipient_phone": phone,
               "recipient_name": "Ann", "content": content, **columns}
    fleet.sql.exec(f"INSERT INTO broadcast_messages ({', '.join(columns)}, scheduled_at, created_at, updated_at) VALUES"
                   f" ({', '.join(literal(v) for v in columns.values())}, UTC_TIMESTAMP(3), UTC_TIMESTAMP(3), UTC_TIMESTAMP(3))")


@test
def direct_rows_go_out_and_bad_ones_are_refused_with_a_reason():
    with Fleet() as fleet:
        fleet.devices(2)
        fleet.leads(1)
        fleet.sql.exec("INSERT INTO users (id, name, created_at) VALUES (2, 'other', UTC_TIMESTAMP(3))")
        fleet.sql.exec("INSERT INTO devices (id, user_id, name, sender, created_at, updated_at) VALUES"
                       " (99, 2, 'theirs', 'stub', UTC_TIMESTAMP(3), UTC_TIMESTAMP(3))")
        theirs = fleet.campaign("theirs", user_id=2, status="draft", content="a secret")
        for i in range(20):
            direct(fleet, f"order-{i}", device=1 + i % 2, phone=f"6012345678{i:02}")
        direct(fleet, "on their device", device=99)
        direct(fleet, "their-device", device=99)
        direct(fleet, "their-text", content=None, kind="campaign", campaign_id=theirs)
        direct(fleet, "bad id/{p07}")
        direct(fleet, "bad-phone", phone="call me")
        direct(fleet, "no-text", content=None)
        direct(fleet, "out", phone="60111111111")
        fleet.sql.exec("INSERT INTO opt_outs (user_id, phone, created_at) VALUES (1, '60111111111', UTC_TIMESTAMP(3))")
        fleet.start(producer=2, worker=2)
        fleet.drain()
        equal({"sent": 20, "failed": 6, "skipped": 1}, fleet.statuses(), "rows")
        why = dict(fleet.sql.rows("SELECT job_id, error_class FROM broadcast_messages WHERE status <> 'sent'"))
        equal({"on their device": "isolation", "their-device": "isolation", "their-text": "isolation", "bad id/{p07}": "input",
               "bad-phone": "input", "no-text": "input", "out": "opted-out"}, why, "reasons")
        equal(20, len(fleet.ledger()), "requests")
        fleet.check()
        fleet.stop()


if __name__ == "__main__":
    sys.exit(main())
