#!/usr/bin/env python3
"""Redis restarted, Redis killed and restarted without its data, MySQL restarted, all in the middle of one campaign
and without touching any program: it completes, 0 lost and 0 duplicates outside `unknown`.

    tests/scenario/outage.py [LEADS A DEVICE [DEVICES]]"""
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "integration"))
from harness import Fleet, pause, scenario, true  # noqa: E402


def troubles(fleet):
    def redis_restarts():
        fleet.redis.restart()

    def redis_loses_all():
        fleet.redis.kill(lose_data=True)
        fleet.redis.start()

    def mysql_restarts():
        fleet.mysql.restart()

    def mysql_dies():
        fleet.mysql.kill()
        fleet.mysql.start()

    return [("Redis is restarted", redis_restarts), ("Redis is killed and comes back without its data", redis_loses_all),
            ("MySQL is restarted", mysql_restarts), ("MySQL is killed and restarted", mysql_dies)]


def main(leads=100, devices=150):
    with Fleet(quick=False, keep="everysec", durable=True, rules=["p:0.05=late:100"],
               conf={"producer": {"poll_max": "1s"}}) as fleet:
        fleet.devices(devices, gap=(200, 400))
        fleet.leads(leads)
        programs = fleet.start(producer=2, worker=2, reaper=2)
        fleet.campaign("storm")
        total, began, shown = leads * devices, time.monotonic(), 0.0
        todo = [(total * (i + 1) // 6, *t) for i, t in enumerate(troubles(fleet))]
        while True:
            sent, now = len(fleet.ledger()), time.monotonic() - began
            if todo and sent >= todo[0][0]:
                _, what, trouble = todo.pop(0)
                print(f"  {now:5.1f} s  {sent:6} sent: {what}", flush=True)
                trouble()
            elif now - shown > 5:
                shown = now
                print(f"  {now:5.1f} s  {sent:6} sent  {fleet.statuses()}", flush=True)
            if not todo and fleet.settled():
                break
            true(now < 400, f"not done after {now:.0f} s")
            pause(0.2)
        fleet.drain(60)
        verdict = fleet.check(throw=False, late_ms=100)
        gone = [p.name for p in programs if not p.running()]
        print(f"\n  rows        {verdict.total}: {dict(verdict.rows)}")
        print(f"  ledger      {dict(verdict.ledger)}")
        print(f"  duplicates  {verdict.duplicates}")
        print(f"  lost        {verdict.lost}")
        print(f"  unknown     {verdict.unknowns}")
        print(f"  elapsed     {time.monotonic() - began:.1f} s; programs that ended: {len(gone)}")
        problems = list(verdict.problems) + [f"{n} ended" for n in gone]
        if verdict.total != total:
            problems.append(f"{verdict.total} rows for {total} leads")
        fleet.stop()
        return problems


if __name__ == "__main__":
    sys.exit(scenario(main))
