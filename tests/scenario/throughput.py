#!/usr/bin/env python3
"""Two producers, three workers and two reapers on one database: 100,000 messages over 300 devices with the null
sender and without pacing.  Ledger and rows agree, no deadlock escapes, no process grows over 64 MB.

    tests/scenario/throughput.py [MESSAGES [DEVICES]]"""
import os
import re
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "integration"))
from harness import Fleet, pause, scenario, true  # noqa: E402

RSS_MB = 64


def main(messages=100_000, devices=300):
    conf = {"worker": {"concurrency": "256"}, "producer": {"window": "400", "claim_batch": "1000"}}
    large = ["--innodb-log-file-size=256M", "--innodb-buffer-pool-size=512M"]
    with Fleet(quick=False, conf=conf, stub=False, durable=False, mysql_options=large) as fleet:
        fleet.devices(devices, sender="null")
        fleet.leads(-(-messages // devices))
        messages = fleet.sql.one("SELECT COUNT(*) FROM leads")
        programs = fleet.start(producer=2, worker=3, reaper=2)
        began = time.monotonic()
        fleet.campaign("all")
        expanded, shown = None, 0.0
        while True:
            now = time.monotonic() - began
            statuses = fleet.statuses() if now - shown >= 1 else {}
            if statuses:
                shown = now
                print(f"  {now:5.1f} s  {statuses}", flush=True)
                if expanded is None and sum(statuses.values()) == messages:
                    expanded = now
                if sum(statuses.values()) == messages and set(statuses) <= {"sent", "unknown", "failed"}:
                    break
            true(now < 300, f"not done after {now:.0f} s")
            gone = [p.name for p in programs if not p.running()]
            true(not gone, f"ended: {gone}")
            pause(0.05)
        took = time.monotonic() - began
        fleet.drain()
        verdict = fleet.check(throw=False)
        lines = fleet.ledger()
        sending = (lines[-1].mono_us - lines[0].mono_us) / 1e6
        rss = {p.name: p.peak_rss_mb() for p in programs}
        deadlocks = int(fleet.sql.dicts("SHOW GLOBAL STATUS LIKE 'Innodb_deadlocks'")[0]["Value"])
        escaped = [l for l in fleet.log_lines() if re.search(r"deadlock|1213|1205", l, re.I)]
        print(f"\n  messages            {verdict.total}: {dict(verdict.rows)}")
        print(f"  ledger              {sum(verdict.ledger.values())} lines, duplicates {verdict.duplicates}, lost {verdict.lost}")
        print(f"  row to row          {took:.1f} s, {verdict.total / took:,.0f} messages/s (all expanded after {expanded:.0f} s)")
        print(f"  first to last send  {sending:.1f} s, {len(lines) / sending:,.0f} messages/s")
        print(f"  deadlocks           {deadlocks} in the server, {len(escaped)} escaped")
        for name, mb in sorted(rss.items()):
            print(f"  peak RSS            {mb:5.1f} MB {name}")
        problems = verdict.problems + escaped
        problems += [f"{name} grew to {mb:.0f} MB" for name, mb in rss.items() if mb >= RSS_MB]
        if verdict.rows["sent"] != messages:
            problems.append(f"{messages} messages: {dict(verdict.rows)}")
        fleet.stop()
        return problems


if __name__ == "__main__":
    sys.exit(scenario(main))
