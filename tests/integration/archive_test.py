#!/usr/bin/env python3
"""The archive: what moves, what must stay, and that all of it comes back as it was, whoever dies in between.

    tests/integration/archive_test.py [name part ...]"""
import json
import os
import re
import signal
import sys

from harness import TESTS, Fleet, Process, equal, http_get, main, test, true, wait_until
from sql_test import explain, read_trace

TESTS.clear()  # that suite's own
OLD, YOUNG = 100, 5  # days
TABLES = ("broadcast_messages", "message_events")
FINAL = ("sent", "failed", "skipped", "unknown")
KEEPERS = ("campaigns", "sequence_contacts", "recurring_message_logs", "sequences", "recurring_messages")


class World:
    """Messages of every source in every state, filled in by SQL; recipient_name says what a message waits for:
    'goes' (behind a retention of 90 days), 'direct', or why it stays."""

    def __init__(self, fleet, size=1):
        self.fleet, self.sql, self.size = fleet, fleet.sql, size
        self.number = 0
        fleet.devices(3)
        fleet.sql.exec("INSERT INTO users (id, name, created_at) VALUES (2, 'other', UTC_TIMESTAMP(3))")
        fleet.sql.exec("INSERT INTO devices (id, user_id, name, sender, created_at, updated_at) VALUES"
                       " (50, 2, 'theirs', 'stub', UTC_TIMESTAMP(3), UTC_TIMESTAMP(3))")
        self.campaigns()
        self.sequences()
        self.recurring()
        self.add("other user", 1, "sent", user_id=2, device_id=50, campaign_id=self.campaign("theirs", "finished", True, 2))
        self.direct()
        self.sql.exec("INSERT INTO message_events (message_id, gen, token, event, actor, happened_at, detail)"
                      " SELECT m.id, 1, t.seq, IF(t.seq = 1, 'retry', m.status), 'worker', m.updated_at + INTERVAL t.seq SECOND, 'höre 你好'"
                      " FROM broadcast_messages m JOIN seq_1_to_2 t WHERE m.status IN ('sent', 'failed', 'skipped', 'unknown')")
        self.sql.exec("UPDATE recurring_message_logs g SET total = (SELECT COUNT(*) FROM broadcast_messages m WHERE m.recurring_id ="
                      " g.recurring_id AND m.occurrence_at = g.occurrence_at)")
        self.sql.exec("UPDATE sequence_contacts n SET total = (SELECT COUNT(*) FROM broadcast_messages m WHERE m.recipient_phone ="
                      " n.recipient_phone AND m.sequence_id = n.sequence_id AND m.device_id = n.device_id AND m.rotation = n.rotation)")
        self.sql.exec("UPDATE campaigns c SET total = (SELECT COUNT(*) FROM broadcast_messages m WHERE m.campaign_id = c.id),"
                      " n_sent = (SELECT COUNT(*) FROM broadcast_messages m WHERE m.campaign_id = c.id AND m.status = 'sent')")

    def campaign(self, name, status, finished, user=1):
        at = "UTC_TIMESTAMP(3) - INTERVAL 100 DAY"
        self.sql.exec("INSERT INTO campaigns (user_id, name, status, steered, content, expanded_at, finished_at, created_at,"
                      f" updated_at) VALUES ({user}, '{name}', '{status}', 'none', 'x', {at}, {at if finished else 'NULL'}, {at}, {at})")
        return self.sql.one("SELECT LAST_INSERT_ID()")

    def add(self, name, n, status, days=OLD, **columns):
        columns = {"user_id": 1, "device_id": 1, **columns}
        kind = next((k for k in ("campaign", "sequence", "recurring") if f"{k}_id" in columns), "direct")
        times = {t: f"UTC_TIMESTAMP(3) - INTERVAL {days} DAY - INTERVAL s.seq MINUTE"
                 for t in ("scheduled_at", "created_at", "updated_at")}
        base = self.number
        self.number += n
        values = {**{k: v if str(v).startswith("(") else f"'{v}'" for k, v in columns.items()}, **times}
        self.sql.exec(f"INSERT INTO broadcast_messages (job_id, kind, recipient_phone, recipient_name, status, {', '.join(values)})"
                      f" SELECT CONCAT('job-', {base} + s.seq), '{kind}', 60120000000 + {base} + s.seq, '{name}', '{status}',"
                      f" {', '.join(values.values())} FROM seq_1_to_{n} s")

    def campaigns(self):
        n = self.size
        done = self.campaign("done", "finished", True)
        for device in (1, 2, 3):
            for status in FINAL[:3]:
                self.add("goes", 7 * n, status, campaign_id=done, device_id=device)
        self.add("young", 3, "sent", days=YOUNG, campaign_id=done)
        self.add("stopped", 3, "skipped", campaign_id=self.campaign("stopping", "cancelled", False))
        self.add("goes", 3, "skipped", campaign_id=self.campaign("stopped", "cancelled", True))
        goes_on = self.campaign("goes on", "running", False)
        for status in ("sent", "pending", "processing", "queued"):
            self.add("runs", 4, status, campaign_id=goes_on)
        held = self.campaign("undecided", "finished", True)
        self.add("undecided", 5, "sent", campaign_id=held)
        self.add("unknown", 2, "unknown", campaign_id=held)

    def sequences(self):
        self.sql.exec("INSERT INTO sequences (id, user_id, name, created_at, updated_at) VALUES (1, 1, 'cold', UTC_TIMESTAMP(3),"
                      " UTC_TIMESTAMP(3))")
        for status, name in (("finished", "goes"), ("left", "goes"), ("active", "on its way")):
            first = self.number + 1
            self.add(name, 6, "sent", sequence_id=1, sequence_stepid=1)
            ended = "NULL" if status == "active" else "UTC_TIMESTAMP(3)"
            check = "UTC_TIMESTAMP(3) + INTERVAL 1 DAY" if status == "active" else "NULL"
            self.sql.exec("INSERT INTO sequence_contacts (sequence_id, user_id, device_id, lead_id, recipient_phone, entry_sequence_id,"
                          f" status, enrolled_at, ended_at, check_at, total, n_sent) SELECT 1, 1, 1, seq, 60120000000 + seq, 1,"
                          f" '{status}', UTC_TIMESTAMP(3), {ended}, {check}, 1, 1 FROM seq_{first}_to_{first + 5}")

        self.add("without its contact", 1, "sent", sequence_id=1, sequence_stepid=1)
        self.sql.exec("UPDATE sequence_contacts SET check_at = NULL WHERE status = 'active' AND id % 2")

    def recurring(self):
        self.sql.exec("INSERT INTO recurring_messages (id, user_id, name, content, freq, start_local, planned_after, created_at,"
                      " updated_at) VALUES (1, 1, 'weekly', 'x', 'weekly', NOW(), NOW(), UTC_TIMESTAMP(3), UTC_TIMESTAMP(3))")
        for at, status, name in (("2026-01-05 01:00:00", "finished", "goes"), ("2026-01-12 01:00:00", "running", "run is open")):
            self.add(name, 4, "sent", recurring_id=1, occurrence_at=at)
            ended = "UTC_TIMESTAMP(3)" if status == "finished" else "NULL"
            self.sql.exec("INSERT INTO recurring_message_logs (recurring_id, user_id, occurrence_at, status, total, n_sent, started_at,"
                          f" finished_at) VALUES (1, 1, '{at}', '{status}', 4, 4, UTC_TIMESTAMP(3), {ended})")
        self.add("run is open", 1, "pending", recurring_id=1, occurrence_at="2026-01-12 01:00:00")
        self.add("without its run", 1, "sent", recurring_id=1, occurrence_at="2026-01-19 01:00:00")

    def direct(self):
        self.add("direct", 5, "sent")
        self.add("open", 1, "pending", days=YOUNG)  # the highest id never leaves

    # --- what is looked at

    def rows(self, table):
        return sorted(self.sql.rows(f"SELECT * FROM {table}"), key=str)

    def hot(self):
        return {t: self.rows(t) for t in TABLES}

    def everything(self):
        """Both sides together, without archived_at, which is the last column."""
        return {t: sorted(self.rows(t) + [r[:-1] for r in self.rows(t + "_archive")], key=str) for t in TABLES}

    def keepers(self):
        return {t: self.rows(t) for t in KEEPERS}

    def archived(self):
        return {n: int(c) for n, c in self.sql.rows(
            "SELECT recipient_name, COUNT(*) FROM broadcast_messages_archive GROUP BY recipient_name")}

    def count(self, name):
        return self.sql.one(f"SELECT COUNT(*) FROM broadcast_messages WHERE recipient_name = '{name}'")

    def json(self, *args, code=0):
        got, out, err = self.fleet.ctl("--json", *args, check=False)
        equal(code, got, f"exit of {args}: {out}{err}")
        return json.loads(out)

    def says(self, code, pattern, *args):
        got, out, err = self.fleet.ctl(*args, check=False)
        equal(code, got, f"exit of {args}: {out}{err}")
        true(re.search(pattern, out + err), f"{args}: want {pattern!r} in {out + err!r}")


def bare(**options):
    return Fleet(stub=False, **options)


@test
def the_archive_has_the_columns_of_its_originals():
    with bare() as fleet:
        for table in TABLES:
            def columns(of):
                return fleet.sql.rows("SELECT column_name, column_type, is_nullable, collation_name, column_default FROM"
                                      f" information_schema.columns WHERE table_schema = 'paceline' AND table_name = '{of}'"
                                      " AND column_name <> 'archived_at' ORDER BY ordinal_position")
            true(len(columns(table)) > 8, "columns")
            # event ids are given by the original only
            equal(columns(table), columns(table + "_archive"), f"columns of {table} and its archive")


@test
def what_has_ended_goes_and_comes_back_as_it_was():
    with bare() as fleet:
        w = World(fleet)
        hot, keepers, goes = w.hot(), w.keepers(), w.count("goes")
        fleet.ctl("audit", "conservation", check=False)
        dry = w.json("archive", "run", "--dry-run")
        equal((goes, True), (dry["archived"], dry["dry_run"]), "dry run")
        equal(hot, w.hot(), "a dry run changes nothing")
        movable = w.json("archive", "status", "--older-than", "90d")["movable"]
        equal(goes, sum(m["rows"] for m in movable), "archive status says what would go")
        moved = w.json("archive", "run", "--older-than", "90d")
        equal(goes, moved["archived"], "moved")
        equal({"goes": goes}, w.archived(), "what is in the archive")
        equal(0, fleet.sql.one("SELECT COUNT(*) FROM message_events e JOIN broadcast_messages_archive a ON a.id = e.message_id"),
              "the history goes along")
        equal(2 * goes, fleet.sql.one("SELECT COUNT(*) FROM message_events_archive"), "archived history")
        equal(keepers, w.keepers(), "totals")
        totals_are_conserved(w)
        status = w.json("archive", "status")
        equal(goes, sum(s["total"] for s in status["archive"]), "archive status: archive")
        equal(len(w.rows("broadcast_messages")) - 1, sum(s["total"] for s in status["messages"]), "archive status: ledger, own user")
        equal({"campaign": 66, "sequence": 12, "recurring": 4, "direct": 0},
              {k: sum(s[k] for s in status["archive"]) for k in ("campaign", "sequence", "recurring", "direct")}, "by source")
        restored = w.json("archive", "restore", "--all")
        equal((goes, 0), (restored["restored"], restored["twins"]), "restored")
        equal(hot, w.hot(), "every column of every row and of its history")
        equal(keepers, w.keepers(), "totals")
        totals_are_conserved(w)
        # Not at once again, and again when a retention has passed since.
        equal(0, w.json("archive", "run")["archived"], "restored rows stay")
        fleet.sql.exec("UPDATE broadcast_messages_restored SET restored_at = restored_at - INTERVAL 91 DAY")
        equal(goes, w.json("archive", "run")["archived"], "and leave later")
        equal(0, fleet.sql.one("SELECT COUNT(*) FROM broadcast_messages_restored"), "marks that are left")


def totals_are_conserved(w):
    """The audit; Redis is empty, so that only its findings of totals count here."""
    _, out, err = w.fleet.ctl("--json", "audit", "conservation", check=False)
    found = json.loads(out)
    equal([], [f for f in found["findings"] if f["kind"] == "total"], "findings of the audit")
    facts = {f["what"]: f["count"] for f in found["facts"]}
    equal(w.fleet.sql.one("SELECT COUNT(*) FROM broadcast_messages_archive WHERE kind <> 'direct' AND user_id = 1"),
          facts["archived"], "the audit's count of archived messages")


@test
def statuses_direct_messages_and_unknown_ones_have_times_of_their_own():
    with bare() as fleet:
        w = World(fleet)
        equal(0, w.json("archive", "run", "--older-than", "200d")["archived"], "nothing is that old")
        n = w.json("archive", "run", "--status", "failed")["by_status"]
        equal({"sent": 0, "failed": 21, "skipped": 0, "unknown": 0}, n, "failed only")
        w.json("archive", "run")
        true("direct" not in w.archived(), "direct messages stay unless asked for")
        w.json("archive", "run", "--direct")
        equal(5, w.archived()["direct"], "direct messages")
        w.add("the newest", 1, "sent", campaign_id=1)
        w.json("archive", "run")
        true("the newest" not in w.archived(), "the highest id stays, or an old server would give it away again")
        true("unknown" not in w.archived() and "undecided" not in w.archived(), "undecided things stay whole")
        fleet.sql.exec("UPDATE broadcast_messages SET decide_at = UTC_TIMESTAMP(3) WHERE status = 'unknown'")
        equal(0, w.json("archive", "run", "--status", "unknown")["archived"], "a decision is due")
        fleet.sql.exec("UPDATE broadcast_messages SET decide_at = NULL WHERE status = 'unknown'")
        equal(2, w.json("archive", "run", "--status", "unknown")["archived"], "nobody will decide")
        equal(5, w.json("archive", "run")["archived"], "then the others follow")
        equal({"goes", "direct", "unknown", "undecided"}, set(w.archived()), "what is in the archive")
        w.add("open", 1, "pending", days=YOUNG)
        equal(1, w.json("archive", "run")["archived"], "the one that was the newest")
        for where in ("status NOT IN ('sent', 'failed', 'skipped', 'unknown')", "user_id = 2"):
            equal(0, fleet.sql.one(f"SELECT COUNT(*) FROM broadcast_messages_archive WHERE {where}"), where)


@test
def nobody_decides_on_something_of_which_a_part_is_away():
    with bare() as fleet:
        w = World(fleet)
        one, two = [r[0] for r in fleet.sql.rows("SELECT id FROM broadcast_messages WHERE status = 'unknown' ORDER BY id")]
        fleet.sql.exec(f"UPDATE broadcast_messages SET updated_at = UTC_TIMESTAMP(3) WHERE id = {two}")
        equal(1, w.json("archive", "run", "--status", "unknown")["archived"], "the older one")
        for verb in ("confirm", "drop", "resend"):
            w.says(1, "is archived: paceline archive restore", "unknown", verb, two)
        equal("finished", fleet.sql.rows("SELECT status FROM campaigns WHERE name = 'undecided'")[0][0], "campaign")
        w.says(1, "only 0 are there", "unknown", "confirm", one)
        w.says(0, "1 messages are back", "archive", "restore", "--campaign", "undecided")
        w.says(0, "2 messages count as sent", "unknown", "confirm", one, two)
        equal("running", fleet.sql.rows("SELECT status FROM campaigns WHERE name = 'undecided'")[0][0], "counted anew")


@test
def a_message_that_was_made_again_is_found_and_left_alone():
    with bare() as fleet:
        w = World(fleet)
        w.json("archive", "run", "--direct")
        twin = fleet.sql.rows("SELECT id, job_id FROM broadcast_messages_archive WHERE recipient_name = 'direct'")[0]
        fleet.sql.exec("INSERT INTO broadcast_messages (job_id, user_id, device_id, kind, recipient_phone, status, scheduled_at,"
                       f" created_at, updated_at) VALUES ('{twin[1]}', 1, 1, 'direct', '601', 'sent', UTC_TIMESTAMP(3) - INTERVAL 95 DAY,"
                       " UTC_TIMESTAMP(3) - INTERVAL 95 DAY, UTC_TIMESTAMP(3) - INTERVAL 95 DAY)")
        again = fleet.sql.one("SELECT LAST_INSERT_ID()")
        fleet.sql.exec("INSERT INTO broadcast_messages (job_id, user_id, device_id, kind, recipient_phone, scheduled_at, created_at,"
                       " updated_at) VALUES ('last', 1, 1, 'direct', '601', UTC_TIMESTAMP(3), UTC_TIMESTAMP(3), UTC_TIMESTAMP(3))")
        everything = w.everything()
        w.says(1, f"message {again} stays: its job id is in the archive", "archive", "run", "--direct")
        w.says(1, f"made-again +{twin[0]}", "audit", "duplicates")
        w.says(1, f"message {twin[0]} stays in the archive", "archive", "restore", "--message", twin[0])
        equal(everything, w.everything(), "neither is lost")
        got = w.json("archive", "restore", "--all", code=1)
        equal((1, {"direct"}), (got["twins"], set(w.archived())), "the others come back")


@test
def archived_messages_are_found_by_their_user_only():
    with bare() as fleet:
        w = World(fleet)
        w.json("archive", "run")
        number, phone, job = fleet.sql.rows("SELECT id, recipient_phone, job_id FROM broadcast_messages_archive ORDER BY id LIMIT 1")[0]
        for what in (number, phone, job):
            got = w.json("message", "trace", what)
            true(got["archived_at"], f"{what}: archived_at")
            equal(["created", "retry", "sent", "archived"], [h["event"] for h in got["hops"]], f"hops by {what}")
        w.says(0, "archived", "message", "trace", number)
        show = {m["status"]: (m["rows"], m["archived"]) for m in w.json("campaign", "show", "done")["messages"]}
        equal({"sent": (24, 21), "failed": (21, 21), "skipped": (21, 21)}, show, "campaign show")
        equal(None, w.json("message", "trace", str(w.sql.one("SELECT MIN(id) FROM broadcast_messages WHERE user_id = 1")))["archived_at"], "not archived")
        for args in (["message", "trace", number], ["archive", "restore", "--message", number],
                     ["archive", "restore", "--campaign", "done"]):
            w.says(1, "user 'other' has no", "--user", "other", *args)
        w.says(0, "0 messages", "--user", "other", "archive", "restore", "--all")
        equal(1, w.json("--user", "other", "archive", "run")["archived"], "their own")
        equal([("1", "theirs")], [(r[0], r[1]) for r in fleet.sql.rows(
            "SELECT COUNT(*), c.name FROM broadcast_messages_archive a JOIN campaigns c ON c.id = a.campaign_id WHERE a.user_id = 2"
            " GROUP BY c.name")], "theirs")
        w.says(1, "no user 'nobody'", "--user", "nobody", "archive", "run")
        w.says(0, "1 messages are back", "archive", "restore", "--message", number)
        for args in (["archive", "restore"], ["archive", "restore", "--all", "--message", "1"]):
            w.says(2, "one of --campaign", *args)
        w.says(2, "--status: 'queued' is no final status", "archive", "run", "--status", "sent,queued")
        w.says(2, "older-than", "archive", "run", "--older-than", "90")
        w.says(1, "no campaign 'x'", "archive", "restore", "--campaign", "x")


@test
def whoever_dies_in_between_leaves_every_message_in_one_place():
    with bare(faults=True) as fleet:
        w = World(fleet, size=60)
        hot, everything, goes = w.hot(), w.everything(), w.count("goes")

        def die(point, *args):
            fleet.ctl_env["PACELINE_FAULT"] = f"{point}:2:kill"
            code, out, err = fleet.ctl(*args, check=False)
            del fleet.ctl_env["PACELINE_FAULT"]
            equal(-signal.SIGKILL, code, f"{args} at {point}: {out}{err}")
            equal(everything, w.everything(), f"both sides, killed at {point}")
            return fleet.sql.one("SELECT COUNT(*) FROM broadcast_messages_archive")

        first = die("archive.copied", "archive", "run")
        equal(436, first, "sent ones of the first device: the second batch was rolled back")
        equal(first + 2 * 420, die("archive.committed", "archive", "run"), "sent ones of two more devices")
        equal(goes - first - 2 * 420, w.json("archive", "run")["archived"], "the rest")
        equal({"goes": goes}, w.archived(), "the archive")
        equal(everything, w.everything(), "both sides")
        left = die("archive.copied", "archive", "restore", "--all")
        true(0 < left < goes, f"{left} of {goes} left")
        true(0 < die("archive.committed", "archive", "restore", "--all") < left, "the next two batches")
        w.json("archive", "restore", "--all")
        equal(hot, w.hot(), "all are back as they were")


RETENTION = {"retention_sent": "90d", "retention_failed": "90d", "retention_skipped": "90d", "archive_interval": "50ms"}


@test
def reapers_archive_what_their_settings_say_and_another_goes_on_when_one_dies():
    with bare(faults=True, conf={"reaper": RETENTION}) as fleet:
        w = World(fleet, size=10)
        goes = w.count("goes") + w.count("stopped") + 1  # everybody's; the reaper ends the cancelled campaign
        everything, keepers = w.everything(), w.keepers()
        for point in ("archive.copied:2:kill", "archive.committed:1:kill"):
            p = fleet.spawn("reaper", fault=point)
            equal(-signal.SIGKILL, p.wait(30), point)
            equal({k: sorted(r[:1] for r in v) for k, v in everything.items()},
                  {k: sorted(r[:1] for r in v) for k, v in w.everything().items()}, f"ids, killed at {point}")
        fleet.processes.clear()
        reaper, _ = fleet.start(producer=0, worker=0, reaper=2)
        wait_until(lambda: sum(w.archived().values()) == goes, 30, lambda: f"{goes} archived: {w.archived()}")
        equal({"goes": goes - 4, "stopped": 3, "other user": 1}, w.archived(), "the archive")
        # The campaigns that go on are counted by the reaper; the others must stay as they are.
        ended = [r for r in keepers["campaigns"] if r[3] in ("finished",)]
        equal([], [r for r in ended if r not in w.keepers()["campaigns"]], "campaigns that have ended")
        wait_until(lambda: re.search(r'paceline_archived_total\{status="sent"\} [1-9]', "".join(
            http_get(p.health, "/metrics")[1] for p in fleet.processes.values())), 10, "the metric")


@test
def movers_restorers_and_deciders_at_once_lose_nothing():
    with bare() as fleet:
        w = World(fleet, size=5)
        many = [w.campaign(f"many {i}", "finished", True) for i in range(12)]
        for campaign in many:
            w.add("many", 20, "sent", campaign_id=campaign)
            w.add("many", 2, "unknown", campaign_id=campaign)
        w.add("open", 1, "pending", days=YOUNG)
        ids = [r[0] for r in w.everything()["broadcast_messages"]]
        events = len(w.everything()["message_events"])
        argv = [fleet.binary("ctl"), "--config", fleet.conf_file]
        logs = os.path.join(fleet.folder, "crowd")
        crowd = []
        for i, args in enumerate(([["archive", "run", "--older-than", "0", "--status", "sent,failed,unknown"]] * 2
                                  + [["archive", "restore", "--all"]]) * 4):
            crowd.append(Process(f"crowd{i}", argv + args, f"{logs}{i}.log"))
            campaign = many[i]
            unknown = fleet.sql.rows(f"SELECT id FROM broadcast_messages WHERE campaign_id = {campaign} AND status = 'unknown'")
            if unknown:
                fleet.ctl("unknown", "confirm", unknown[0][0], check=False)
        for p in crowd:
            equal(0, p.wait(60), f"{p.name}: {p.lines()}")
        both = w.everything()
        equal(ids, [r[0] for r in both["broadcast_messages"]], "each message in one place")
        equal(events, len([e for e in both["message_events"] if e[4] != "confirm"]), "history")
        equal([], fleet.sql.rows("SELECT c.id FROM campaigns c JOIN broadcast_messages_archive a ON a.campaign_id = c.id"
                                 " WHERE c.finished_at IS NULL"), "campaigns that are counted and of which a part is away")


@test
def a_column_that_the_archive_lacks_stops_the_archive_only():
    with bare(conf={"reaper": RETENTION}) as fleet:
        w = World(fleet)
        fleet.sql.exec("ALTER TABLE broadcast_messages ADD COLUMN colour VARCHAR(20) NOT NULL DEFAULT 'red'")
        w.says(2, "column colour is 'varchar.20.' in broadcast_messages and ''", "archive", "run")
        reaper, = fleet.start(producer=0, worker=0, reaper=1)
        wait_until(lambda: any("archive_refused" in l and "colour" in l for l in reaper.lines()), 20, "the reaper to say so")
        true(fleet.is_ready(reaper), "the reaper goes on")
        equal({}, w.archived(), "nothing was moved")
        fleet.stop()
        fleet.sql.exec("ALTER TABLE broadcast_messages_archive ADD COLUMN colour VARCHAR(20) NOT NULL DEFAULT 'red'")
        fleet.sql.exec("UPDATE broadcast_messages SET colour = recipient_name")
        hot = w.hot()
        w.json("archive", "run")
        w.json("archive", "restore", "--all")
        equal(hot, w.hot(), "a new column comes along")


@test
def no_statement_scans_a_large_table():
    with bare(conf={"reaper": RETENTION}) as fleet:
        path = os.path.join(fleet.folder, "archive.sql")
        w = World(fleet)
        w.add("goes", 4000, "sent", campaign_id=1, device_id=2)
        w.add("runs", 66000, "sent", campaign_id=4, device_id=2)
        w.add("busy", 30000, "pending", days=YOUNG, campaign_id=4, device_id=3)
        for table in TABLES:
            fleet.sql.query(f"ANALYZE TABLE {table}")
        fleet.ctl_env["PACELINE_SQL_TRACE"] = path
        w.json("archive", "run")
        w.json("archive", "status", "--older-than", "1d")
        number = str(fleet.sql.one("SELECT MIN(id) FROM broadcast_messages_archive"))
        w.json("message", "trace", number)
        w.json("archive", "restore", "--message", number)
        fleet.ctl("audit", "duplicates", check=False)
        fleet.ctl("unknown", "confirm", "%s" % fleet.sql.one("SELECT MIN(id) FROM broadcast_messages WHERE status = 'unknown'"))
        for table in TABLES + tuple(t + "_archive" for t in TABLES):
            fleet.sql.query(f"ANALYZE TABLE {table}")
        w.json("archive", "restore", "--campaign", "done", "--dry-run")
        w.json("archive", "restore", "--all", "--dry-run")
        away = fleet.sql.one("SELECT COUNT(*) FROM broadcast_messages_archive")
        fleet.sql.exec("UPDATE broadcast_messages_restored SET restored_at = restored_at - INTERVAL 91 DAY")
        fleet.spawn("reaper", env={"PACELINE_SQL_TRACE": path})
        wait_until(lambda: fleet.sql.one("SELECT COUNT(*) FROM broadcast_messages_archive") > away, 30, "the reaper to archive")
        fleet.stop()
        bad, shapes = [], 0
        for shape, statements in read_trace(path).items():
            shapes += 1
            for statement in statements if re.search(r"\b(FROM|UPDATE|INTO)\b", shape) else ():
                bad += [f"{p}\n      {statement[:900]}" for p in explain(fleet.sql, statement) if "<derived" not in p and "<union" not in p]
        true(shapes > 25, f"{shapes} kinds of statements")
        true(not bad, "\n    ".join(sorted(set(bad))))


if __name__ == "__main__":
    sys.exit(main())
