#!/usr/bin/env python3
"""A storm of enrolments beside due messages: rows a second that the sequences make, and how late due messages are
dispatched meanwhile, against the same messages before the storm.

    tests/bench/sources.py [DEVICES [LEADS [STEPS]]]      1000 x 90 x 11: one million messages

The due messages are an application's: RATE a second over devices of their own, each due at a full second."""
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "integration"))

from harness import Fleet, pause, wait_until  # noqa: E402  (the path comes first)

DEVICES, LEADS, STEPS = (list(map(int, sys.argv[1:4])) + [1000, 90, 11][len(sys.argv) - 1:])[:3]
RATE, QUIET, LIMIT = 200, 15, 900  # messages a second; seconds before the storm; seconds
CONF = {"all": {"partitions": "64", "log_level": "warn"},
        "producer": {"poll_min": "250ms", "poll_max": "1s", "enrol_interval": "1s"}}
OPTIONS = ("--innodb-buffer-pool-size=4G", "--innodb-log-file-size=1G")


class Due:
    """Messages of an application, a second's worth at a time, two seconds ahead."""

    def __init__(self, fleet, devices):
        self.fleet, self.devices, self.n, self.label, self.second = fleet, devices, 0, "before", time.monotonic()

    def feed(self):
        if time.monotonic() < self.second:
            return
        self.second += 1
        self.fleet.sql.exec(
            "INSERT INTO broadcast_messages (job_id, user_id, device_id, kind, recipient_phone, content, scheduled_at, created_at,"
            f" updated_at) SELECT CONCAT('{self.label}-', {self.n} + seq), 1, {self.devices[0]} + ({self.n} + seq) % {len(self.devices)},"
            " 'direct', CONCAT('6011', LPAD(seq, 7, '0')), 'x', UTC_TIMESTAMP() + INTERVAL 2 SECOND, UTC_TIMESTAMP(3), UTC_TIMESTAMP(3)"
            f" FROM seq_1_to_{RATE}")
        self.n += RATE

    def lateness(self, label):
        """Milliseconds from due to queued, in order."""
        return [int(ms) for (ms,) in self.fleet.sql.rows(
            "SELECT TIMESTAMPDIFF(MICROSECOND, scheduled_at, queued_at) DIV 1000 ms FROM broadcast_messages WHERE job_id LIKE"
            f" '{label}-%' AND queued_at IS NOT NULL ORDER BY ms")]


def percentile(values, p):
    return values[min(len(values) - 1, int(len(values) * p))] if values else -1


def main():
    total = DEVICES * LEADS * STEPS
    with Fleet(quick=False, conf=CONF, durable=True, mysql_options=OPTIONS) as fleet:
        own = fleet.devices(200, sender="null", prefix="due")
        for_leads = fleet.devices(DEVICES, sender="null", prefix="seq")
        fleet.leads(LEADS, for_leads)
        # COLD -> WARM -> HOT, as people build them; their steps add up.
        sizes, linked = [STEPS - 2 * (STEPS // 4), STEPS // 4, STEPS // 4], None
        for i, n in reversed(list(enumerate(sizes))):
            more = {"trigger": "go", "start_after_s": 86400} if i == 0 else {}
            linked = fleet.sequence(f"storm {i}", [(3600, f"Step {k} for {{{{name}}}}") for k in range(n)], next_sequence_id=linked, **more)
        fleet.start(producer=2, worker=1, reaper=1)
        due = Due(fleet, own)
        until = time.monotonic() + QUIET
        while time.monotonic() < until:
            due.feed()
            pause(0.02)
        print(f"{DEVICES} devices x {LEADS} leads x {STEPS} steps = {total:,} messages; {RATE} due messages a second beside them;"
              " 2 producers, 1 worker, 1 reaper, every commit on disk", flush=True)
        due.label = "storm"
        fleet.sql.exec("UPDATE leads SET `trigger` = 'go'")
        began, last = time.monotonic(), 0
        while True:
            due.feed()
            pause(0.02)
            if time.monotonic() - last > 5:
                last = time.monotonic()
                contacts = fleet.sql.one("SELECT COUNT(*) FROM sequence_contacts WHERE sequence_id = entry_sequence_id")
                print(f"  {last - began:5.0f} s  {contacts * STEPS:>10,} messages", flush=True)
                if contacts == DEVICES * LEADS:
                    break
                if last - began > LIMIT:
                    raise AssertionError(f"not done after {LIMIT} s")
        took = fleet.sql.one("SELECT TIMESTAMPDIFF(MICROSECOND, MIN(enrolled_at), MAX(enrolled_at)) DIV 1000 FROM sequence_contacts") / 1000
        wait_until(lambda: fleet.sql.one("SELECT COUNT(*) FROM broadcast_messages WHERE kind = 'direct' AND status = 'pending'") == 0,
                   60, "due messages to be dispatched")
        rows = fleet.sql.one("SELECT COUNT(*) FROM broadcast_messages WHERE kind = 'sequence'")
        twice = fleet.sql.one("SELECT COUNT(*) - COUNT(DISTINCT job_id) FROM broadcast_messages")
        print(f"enrolled: {rows:,} rows in {took:.1f} s = {rows / took:,.0f} rows/s; missing {total - rows}, twice {twice}")
        before, meanwhile = due.lateness("before"), due.lateness("storm")
        for name, values in (("before the storm", before), ("in the storm", meanwhile)):
            print(f"due -> queued, {name:17} n {len(values):>7,}  p50 {percentile(values, 0.5):>5} ms  p99 {percentile(values, 0.99):>5} ms"
                  f"  max {values[-1]:>5} ms")
        print(f"p99 in the storm / before: {percentile(meanwhile, 0.99) / max(1, percentile(before, 0.99)):.2f}")
        return 0 if rows == total and not twice else 1


if __name__ == "__main__":
    sys.exit(main())
