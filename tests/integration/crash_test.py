#!/usr/bin/env python3
"""Every row of DESIGN.md's crash table: the program that owns the point is killed at that very point at
least twenty times while a fleet works on random data; then the three witnesses are compared.

    tests/integration/crash_test.py [producer|worker|recovery ...]     T_SEED, T_JOBS, T_KILLS (20)

The table and this file name the same points, or the test fails; so does a point that never fires."""
import os
import re
import signal
import sys
import time
from collections import Counter

from harness import ROOT, Fleet, main, pause, test, true, wait_until

KILLS = int(os.environ.get("T_KILLS", "20"))

# Storm -> program -> point: up to which passage the kill is drawn.
STORMS = {
    "producer": {
        "producer": {
            "campaign.started": 1, "expand.inserted": 3, "expand.committed": 3, "dispatch.claimed": 4,
            "dispatch.staged": 4, "dispatch.queued": 4, "dispatch.activated": 4, "steer.noted": 3,
            "withdraw.taken": 2, "withdraw.written": 2, "dispatch.reserved": 4,
        },
        "reaper": {"reconcile.probed": 2, "reconcile.written": 2},
    },
    "sources": {
        "producer": {
            "recurring.claimed": 2, "recurring.committed": 2, "run.inserted": 3, "run.committed": 3,
            "enrol.inserted": 3, "enrol.committed": 3,
        },
    },
    "worker": {
        "worker": {
            "worker.claimed": 15, "worker.permitted": 30, "worker.sending": 30, "worker.answered": 30,
            "worker.finished": 20, "worker.released": 1,
        },
        "reaper": {
            "settle.applied": 10, "settle.committed": 10, "settle.forgotten": 10, "reclaim.ended": 2,
            "policy.applied": 2,
        },
    },
    "recovery": {
        "reaper": {"recovery.begun": 4, "recovery.dropped": 4, "recovery.opened": 4},
    },
}

# Points whose programs people start; the suites named kill there.
ELSEWHERE = {
    "archive.copied": "archive_test", "archive.committed": "archive_test",
    "adopt.copied": "adopt_test", "adopt.committed": "adopt_test",
    "media.inserted": "media_test", "media.stored": "media_test", "dispatch.medium": "media_test",
    "inlet.inserted": "inlet_test", "inlet.committed": "inlet_test",
    "receipts.inserted": "receipts_test", "receipts.committed": "receipts_test",
    "receipts.applied": "receipts_test", "receipts.settled": "receipts_test",
}


def table_points():
    """The points that DESIGN.md's crash table names, in its order."""
    with open(os.path.join(ROOT, "DESIGN.md")) as f:
        section = f.read().split("## Crash table")[1].split("\n## ")[0]
    return re.findall(r"^\|[^|]*\|\s*`([a-z.]+)`\s*\|", section, re.M)


def source_points():
    found = set()
    for program in ("producer", "worker", "reaper", "ctl", "shared"):
        folder = os.path.join(ROOT, program)
        for name in os.listdir(folder):
            if name.endswith(".c"):
                with open(os.path.join(folder, name)) as f:
                    found |= set(re.findall(r'\bFAULT(?:_ERROR|_LOST)?\("([a-z.]+)"\)', f.read()))
    return found


@test
def the_table_the_tests_and_the_programs_name_the_same_points():
    table = table_points()
    tests = [p for storm in STORMS.values() for points in storm.values() for p in points]
    for point, suite in ELSEWHERE.items():
        with open(os.path.join(ROOT, "tests", "integration", suite + ".py")) as f:
            tests += [point] if point in f.read() else []
    problems = [f"{p} is in the table, but has no test" for p in table if p not in tests]
    problems += [f"{p} has a test, but is not in the table" for p in tests if p not in table]
    problems += [f"{p} is not compiled into any program" for p in table if p not in source_points()]
    problems += [f"{p} is a fault point outside of the table" for p in source_points() if p not in table]
    problems += [f"{p} is there twice" for p, n in Counter(table + [""]).items() if n > 1]
    true(not problems, "; ".join(problems))


class Slot:
    """One place of the fleet; whoever stands in it dies at a point and is followed by the next."""

    def __init__(self, storm, role, number):
        self.storm, self.role = storm, role
        self.points = storm.plan.get(role, {})
        self.name = f"{role}{number}"
        self.process = self.point = None
        self.ours = False
        self.start()

    def start(self):
        storm = self.storm
        fault = None
        self.point = self.ours = None
        if not storm.over and self.points:
            # The neediest point, one that no neighbour has if there is one; at random among equals.
            needy = [p for p in self.points if storm.kills[p] < KILLS]
            taken = {s.point for s in storm.slots if s is not self}
            choice = [p for p in needy if p not in taken] or needy
            if choice:
                self.point = min(choice, key=lambda p: (storm.kills[p], storm.random.random()))
                fault = f"{self.point}:{storm.random.randint(1, storm.reach[self.point])}:kill"
        self.process = storm.fleet.spawn(self.role, self.name, fault=fault)
        self.since = time.monotonic()
        # worker.released is passed on the way out: it is asked to go after a while.
        self.leave_at = self.since + storm.random.uniform(0.2, 0.8) if self.point == "worker.released" else None

    def look(self):
        storm, code, now = self.storm, self.process.status(), time.monotonic()
        if code is None:
            if self.leave_at and now > self.leave_at:
                self.leave()
            elif self.point and now - self.since > storm.patience:
                # The point was not reached: the next one tries an earlier passage.
                storm.reach[self.point] = max(1, storm.reach[self.point] // 2)
                storm.missed[self.point] += 1
                self.ours = True
                self.process.kill()
            return
        if code == -signal.SIGKILL and self.point and not self.ours:
            storm.kills[self.point] += 1
        elif not self.ours and not (code in (0, -signal.SIGTERM) and self.point == "worker.released"):
            raise AssertionError(f"{self.name} (at {self.point}) ended with {code}:\n  "
                                 + "\n  ".join(self.process.lines()[-8:]))
        storm.bury(self.process)
        self.start()


    def leave(self):
        """SIGTERM while Redis stands still: what was claimed and not permitted yet has to be given back."""
        self.leave_at = None
        redis = self.storm.fleet.redis.process
        redis.freeze()
        pause(0.1)
        self.process.signal(signal.SIGTERM)
        pause(0.02)
        redis.thaw()


class Storm:
    def __init__(self, fleet, plan, provoke, patience=4.0):
        self.fleet, self.plan, self.provoke, self.patience = fleet, plan, provoke, patience
        self.random = fleet.random
        self.kills, self.missed = Counter(), Counter()
        self.reach = {p: n for points in plan.values() for p, n in points.items()}
        self.over = False
        self.number = 0
        self.slots = []
        self.backlog, self.looked = 0, 0.0
        for role in ("reaper", "producer", "worker"):
            self.slots += [Slot(self, role, i + 1) for i in range(2)]

    def bury(self, process):
        """The dead count as alive for some seconds, and their partitions wait; at two deaths a second nothing
        would go on, so the fleet forgets them at once."""
        for name in self.fleet.redis.call("ZRANGE", "pl:fleet", 0, -1):
            if f".{process.pid}." in name:
                self.fleet.redis.call("ZREM", "pl:fleet", name)

    def feed(self, least):
        """New campaigns over random devices, while there is little left to do, or one has to begin."""
        now = time.monotonic()
        if now - self.looked < 0.1:
            return
        self.looked = now
        statuses = self.fleet.statuses()
        self.backlog = sum(statuses.get(s, 0) for s in ("pending", "processing", "queued"))
        waiting = self.fleet.sql.one("SELECT COUNT(*) FROM campaigns WHERE status = 'scheduled'"
                                     " OR (status = 'running' AND expanded_at IS NULL)")
        wanted = any((x.point or "").startswith(("campaign.", "expand.")) for x in self.slots)
        if waiting < (3 if self.backlog < least else 1 if wanted and self.backlog < 5 * least else 0):
            self.campaign()

    def campaign(self):
        self.number += 1
        ids = self.fleet.all_devices
        self.fleet.campaign(f"storm {self.number}", self.random.sample(ids, self.random.randint(4, 10)),
                            on_unknown=self.random.choice(("hold", "resend", "resend", "assume_sent")))

    def run(self, seconds, least):
        until = time.monotonic() + seconds
        while any(self.kills[p] < KILLS for p in self.reach):
            for slot in self.slots:
                slot.look()
            self.feed(least)
            self.provoke(self)
            if time.monotonic() > until:
                raise AssertionError(f"not every point was killed {KILLS} times: {self.counts()}")
            pause(0.01)
        self.over = True
        for slot in self.slots:
            slot.ours = True
            slot.process.kill()
            slot.start()

    def counts(self):
        return ", ".join(f"{p} {self.kills[p]}" + (f" (missed {self.missed[p]})" if self.missed[p] else "")
                         for p in self.reach)


RULES = ["p:0.05=late:60", "p:0.03=status:429", "p:0.02=status:400", "p:0.01=reset-after", "p:0.01=status:500",
         "p:0.01=garbage", "p:0.003=never"]


def storm(plan, provoke, after=lambda s: None, seconds=200, conf=None, patience=4.0, begin=lambda s: None, least=300):
    batches = {"producer": {"claim_batch": "25", "expand_batch": "15", "window": "20"},
               "reaper": {"settle_batch": "20"}}
    for section, pairs in (conf or {}).items():
        batches.setdefault(section, {}).update(pairs)
    with Fleet(faults=True, rules=RULES, conf=batches, senders={"stub": {"timeout": "1s"}}) as fleet:
        fleet.all_devices = fleet.devices(20) + fleet.devices(30, gap=(5, 30)) + fleet.devices(4, max_in_flight=3)
        fleet.leads(12)
        fleet.sql.exec("UPDATE devices SET account = 'large' WHERE id % 3 = 0")
        fleet.sql.exec("INSERT INTO accounts (user_id, name, daily_recipients, created_at, updated_at) VALUES (1, 'large', 100000,"
                       " UTC_TIMESTAMP(3), UTC_TIMESTAMP(3))")
        s = Storm(fleet, plan, provoke, patience)
        begin(s)
        s.run(seconds, least)
        after(s)
        fleet.drain(90)
        verdict = fleet.check(late_ms=60)
        fleet.stop()
        print(f"kills: {s.counts()}")
        print(f"rows: {dict(verdict.rows)}, ledger: {dict(verdict.ledger)}, unknown outcomes: {verdict.unknowns}")


@test(seconds=300)
def producers_and_reconcilers_die_at_every_point():
    state = {"next": 0.0, "stop": 0.0, "stops": 0}

    def say_stop(s):
        """Somebody to whom something is on its way, while producers are to die of it; new people come."""
        if time.monotonic() < state["stop"] or not any((x.point or "").startswith("withdraw.") for x in s.slots):
            return
        state["stop"] = time.monotonic() + 0.3
        for job, phone in s.fleet.sql.rows("SELECT job_id, recipient_phone FROM broadcast_messages WHERE status IN ('queued',"
                                           " 'processing') ORDER BY RAND() LIMIT 2"):
            s.fleet.sql.exec(f"INSERT IGNORE INTO opt_outs (user_id, phone, source, created_at) VALUES (1, '{phone}', 'reply',"
                             " UTC_TIMESTAMP(3))")
            state["stops"] += 1
        if state["stops"] > 100:
            state["stops"] = 0
            s.fleet.leads(2)

    def flip(s):
        """Campaigns are paused and resumed, so that steering never rests."""
        say_stop(s)
        if time.monotonic() < state["next"]:
            return
        state["next"] = time.monotonic() + 0.05
        running = s.fleet.sql.rows("SELECT id, status FROM campaigns WHERE status IN ('running', 'paused')")
        if running:
            number, status = s.random.choice(running)
            other = "running" if status == "paused" else "paused"
            s.fleet.sql.exec(f"UPDATE campaigns SET status = '{other}', updated_at = UTC_TIMESTAMP(3)"
                             f" WHERE id = {number} AND status = '{status}'")

    def resume(s):
        s.fleet.sql.exec("UPDATE campaigns SET status = 'running' WHERE status = 'paused'")
        wait_until(lambda: s.fleet.sql.one("SELECT COUNT(*) FROM opt_outs WHERE steered = 0") == 0, 30, "opt-outs to be steered")

    storm(STORMS["producer"], flip, resume)


@test(seconds=300)
def producers_die_while_they_enrol_and_run_what_recurs():
    state = {"next": 0.0, "rules": 0}

    def begin(s):
        fleet = s.fleet
        for i in range(5):
            fleet.recurring(f"rule {i}", fleet.random.sample(fleet.all_devices, 3), every=1 + i % 3, catch_up="all",
                            on_unknown=fleet.random.choice(("hold", "resend")))
        last = fleet.sequence("last", [(0, "c {{name}}")])
        fleet.sequence("first", [(0, "a {{name}}"), (1, "b {{name}}")], trigger="go", next_sequence_id=last, next_after_s=1)

    def provoke(s):
        """Leads get their word a few at a time; some have been through and are enrolled again."""
        now = time.monotonic()
        if now < state["next"]:
            return
        state["next"] = now + 0.1
        s.fleet.sql.exec("UPDATE leads SET `trigger` = 'go' WHERE `trigger` = '' ORDER BY RAND() LIMIT 4")
        s.fleet.sql.exec("UPDATE sequence_contacts SET check_at = UTC_TIMESTAMP(3) WHERE status = 'active' AND last_at < UTC_TIMESTAMP(3)")
        s.fleet.sql.exec("INSERT IGNORE INTO sequence_requests (sequence_id, lead_id, again, created_at) SELECT"
                         " n.sequence_id, n.lead_id, 1, UTC_TIMESTAMP(3) FROM sequence_contacts n WHERE n.status = 'finished'"
                         " AND n.rotation < 3 AND n.sequence_id = n.entry_sequence_id ORDER BY RAND() LIMIT 4")

    def end(s):
        """No occurrence twice, none left out: the logs are as even as the clock."""
        s.fleet.sql.exec("UPDATE recurring_messages SET status = 'finished'")
        gaps = s.fleet.sql.rows(
            "SELECT m.name, m.every, COUNT(*), TIMESTAMPDIFF(SECOND, MIN(g.occurrence_at), MAX(g.occurrence_at)) FROM"
            " recurring_message_logs g JOIN recurring_messages m ON m.id = g.recurring_id GROUP BY m.id")
        true(len(gaps) == 5, "a rule never ran")
        for name, every, n, span in gaps:
            true(int(span) == (int(n) - 1) * int(every), f"{name}: {n} occurrences in {span} s, one in {every} s")

    storm(STORMS["sources"], provoke, end, conf={"producer": {"enrol_batch": "5", "expand_batch": "10"}}, begin=begin, least=50)


@test(seconds=300)
def workers_and_settlers_die_at_every_point():
    state = {"next": 0.0}

    def kill(s):
        """When all workers' points are done, workers still die, so that there is something to reclaim."""
        now = time.monotonic()
        if now > state["next"] and all(s.kills[p] >= KILLS for p in s.plan["worker"]):
            state["next"] = now + 0.7
            slot = s.random.choice([x for x in s.slots if x.role == "worker"])
            slot.ours = True
            slot.process.kill()

    storm(STORMS["worker"], kill, conf={"worker": {"poll_max": "10ms"}})


@test(seconds=300)
def reapers_die_while_partitions_recover():
    state = {"next": 0.0}

    def lose(s):
        """Redis loses everything as soon as it has recovered from the last time."""
        now = time.monotonic()
        if now < state["next"]:
            return
        state["next"] = now + 0.2
        metas = [s.fleet.redis.call("HMGET", k, "state", "inc", "swept") for k in s.fleet.redis.client.keys("pl:{*}:meta")]
        if len(metas) == 8 and all(m[0] == "open" for m in metas) or now > state.get("late", now):
            s.fleet.redis.call("FLUSHALL")
            state["late"] = now + 8

    storm(STORMS["recovery"], lose)


if __name__ == "__main__":
    sys.exit(main())
