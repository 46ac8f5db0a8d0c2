#!/usr/bin/env python3
"""300 devices at a gap of 1 to 2 s for one minute, with one worker's SIGKILL in the middle: the provider's ledger
never shows a gap below the drawn one (less 5 ms of clock reading), and the order is kept.

    tests/scenario/pacing.py [SECONDS [DEVICES]]"""
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "integration"))
import witness  # noqa: E402
from harness import Fleet, pause, scenario, true  # noqa: E402

GAP, READING_MS = (1000, 2000), 5


def main(seconds=60, devices=300):
    with Fleet(quick=False, conf={"all": {"partitions": "64"}}, keep="everysec", durable=True) as fleet:
        fleet.devices(devices, gap=GAP)
        fleet.leads(seconds)  # more than a device can send: the time is the end
        fleet.start(producer=2, worker=3, reaper=2)
        number = fleet.campaign("paced")
        began, killed = time.monotonic(), None
        while time.monotonic() - began < seconds:
            if not killed and time.monotonic() - began > seconds / 2:
                killed = fleet.processes.pop("worker1")
                killed.kill()
                print(f"  {time.monotonic() - began:5.1f} s  worker1 was killed", flush=True)
            gone = [n for n, p in fleet.processes.items() if not p.running()]
            true(not gone, f"ended: {gone}")
            pause(0.2)
        fleet.ctl("campaign", "cancel", "paced")
        fleet.drain(90)
        verdict = fleet.check(throw=False, gaps=READING_MS)
        lines = fleet.ledger()
        errors = witness.gap_errors_ms(lines, lambda device: GAP)
        values = sorted(e for e, _, _ in errors)
        # Where a device stood still because its worker died, the gap is long for a good reason.
        per = lambda q: values[min(len(values) - 1, int(len(values) * q))]  # noqa: E731
        print(f"\n  messages        {len(lines)} of {devices} devices, rows {dict(verdict.rows)}")
        print(f"  ledger gap less drawn gap, ms: min {values[0]:.1f}, p50 {per(.5):.1f}, p99 {per(.99):.1f}, max {values[-1]:.1f}")
        print(f"  below -{READING_MS} ms     {sum(v < -READING_MS for v in values)} of {len(values)} gaps")
        print(f"  unknown         {verdict.unknowns} (the killed worker's flights)")
        print(f"  duplicates {verdict.duplicates}, lost {verdict.lost}")
        problems = list(verdict.problems)
        if len(lines) < devices * seconds / 1.5 * 0.75:
            problems.append(f"only {len(lines)} messages: the fleet is slower than its pace")
        true(number and killed, "no worker was killed")
        fleet.stop()
        return problems


if __name__ == "__main__":
    sys.exit(scenario(main))
