#!/usr/bin/env python3
"""Occurrences of recurring messages under producers whose hosts' clocks are wrong by minutes and which die and
come back at random: each occurrence exactly once, and those that came too late are in the log as missed.

    tests/integration/clock_test.py     T_SEED repeats the random choices; it ends with a table of what came of it"""
import sys
import time

from harness import Fleet, equal, main, test, true, wait_until, wrong_clock

RULES, OCCURRENCES = 50, 200
SKEWS = (-420.0, 0.0, 365.0)  # seconds
BLACKOUT = 4.0                # seconds without any producer, twice


def spawn(fleet, i):
    return fleet.spawn("producer", f"producer{i + 1}", env=wrong_clock(SKEWS[i]))


def logged(fleet):
    return fleet.sql.one("SELECT COUNT(*) FROM recurring_message_logs")


def storm(fleet, until_logged):
    """Producers die at random until so many occurrences are in the log."""
    restarts, until = 0, time.monotonic() + 90
    while logged(fleet) < until_logged:
        true(time.monotonic() < until, f"only {logged(fleet)} occurrences in the log")
        i = fleet.random.randrange(len(SKEWS))
        rest = time.monotonic() + fleet.random.uniform(0.1, 0.5)
        wait_until(lambda: time.monotonic() > rest, 5, "a moment")
        fleet.processes.pop(f"producer{i + 1}").kill()
        spawn(fleet, i)
        restarts += 1
    return restarts


def blackout(fleet):
    for i in range(len(SKEWS)):
        fleet.processes.pop(f"producer{i + 1}").kill()
    until = time.monotonic() + BLACKOUT
    wait_until(lambda: time.monotonic() > until, 30, "the blackout to be over")
    for i in range(len(SKEWS)):
        spawn(fleet, i)


@test(seconds=240)
def each_occurrence_runs_once_or_is_logged_as_missed_whatever_the_clocks_say():
    with Fleet() as fleet:
        fleet.devices(10)
        fleet.leads(3)
        for i in range(RULES):
            # Every third rule takes no run that is later than a second; the others catch the newest one up, or all.
            policy = ({"max_run_lateness_s": 1}, {"catch_up": "all"}, {})[i % 3]
            fleet.recurring(f"rule {i}", [1 + i % 10], every=4 + i % 3, **policy)
        fleet.start(producer=0, worker=1, reaper=1)
        for i in range(len(SKEWS)):
            spawn(fleet, i)
        restarts = storm(fleet, OCCURRENCES // 3)
        blackout(fleet)
        restarts += storm(fleet, 2 * OCCURRENCES // 3)
        blackout(fleet)
        restarts += storm(fleet, OCCURRENCES)
        fleet.sql.exec("UPDATE recurring_messages SET status = 'finished'")
        fleet.drain(60)
        fleet.check(order=False)
        fates = dict(fleet.sql.rows("SELECT status, COUNT(*) FROM recurring_message_logs GROUP BY status"))
        uneven = fleet.sql.rows(
            "SELECT m.name, COUNT(*), COUNT(DISTINCT g.occurrence_at), m.every, TIMESTAMPDIFF(SECOND, MIN(g.occurrence_at),"
            " MAX(g.occurrence_at)) span FROM recurring_messages m JOIN recurring_message_logs g ON g.recurring_id = m.id"
            " GROUP BY m.id HAVING span <> (COUNT(*) - 1) * m.every")
        equal([], uneven, "rules with an occurrence too many or too few")
        equal(RULES, fleet.sql.one("SELECT COUNT(DISTINCT recurring_id) FROM recurring_message_logs"), "rules that ran")
        wrong = fleet.sql.rows(
            "SELECT g.id, g.status FROM recurring_message_logs g LEFT JOIN broadcast_messages m ON m.recurring_id = g.recurring_id"
            " AND m.occurrence_at = g.occurrence_at GROUP BY g.id HAVING COUNT(m.id) <> IF(g.status = 'missed', 0, 3)")
        equal([], wrong, "occurrences with other than their three messages, or none where they were missed")
        early = fleet.sql.one("SELECT COUNT(*) FROM recurring_message_logs WHERE late_ms < 0")
        equal(0, early, "occurrences before their time")
        true(int(fates.get("missed", 0)) > 0, "nothing was missed: the blackouts were no test")
        requests = len(fleet.ledger())
        equal(3 * int(fates["finished"]), requests, "requests at the provider")
        print(f"clocks off by {', '.join(f'{s:+.0f} s' for s in SKEWS)}; {restarts} producers killed and started again,"
              f" 2 blackouts of {BLACKOUT:.0f} s")
        for name, n in (("rules", RULES), ("occurrences", logged(fleet)), ("  run", fates["finished"]),
                        ("  missed, and logged so", fates.get("missed", 0)), ("  twice, or left out", 0),
                        ("messages sent", requests), ("  twice", 0)):
            print(f"    {name:26}{n:>6}")
        fleet.stop()


if __name__ == "__main__":
    sys.exit(main())
