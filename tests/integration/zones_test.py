#!/usr/bin/env python3
"""Agreement of recurrence rules with other implementations, over generated cases in many zones.

    tests/integration/zones_test.py [--all]     B: the build folder (build), T_SEED: other cases

Each implementation is asked what it can express, the slow ones a share of it (--all: all of it, some minutes).
Where one disagrees, the reason must be known (tests/zones/reasons.py); without one the suite fails."""
import collections
import datetime
import os
import random
import shutil
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests", "zones"))
import cases as zone_cases  # noqa: E402
import peers  # noqa: E402
import reasons  # noqa: E402

BUILD = os.path.join(ROOT, os.environ.get("B", "build"))
# The same cases each time unless asked otherwise: a new oddity of another program is no failure of a change here.
SEED = int(os.environ.get("T_SEED") or 20261126)
CASES = 24000
SHOWN = 5
# Cases that each is asked in a run of all tests; with --all it is all but of systemd's, a program for each.
SHARES = {"python zoneinfo": CASES, "croner": 3000, "cron-parser": 1200, "rrule-temporal": 2000, "systemd": 150}
SYSTEMD_ALL = 800


def ours(cases):
    text = "".join(c.ours() + "\n" for c in cases)
    lines = subprocess.run([os.path.join(BUILD, "tests", "zones", "due")], input=text, capture_output=True,
                           text=True, check=True).stdout.splitlines()
    if len(lines) != len(cases):
        raise AssertionError(f"{len(cases)} rules, {len(lines)} answers")
    return [line if line.startswith("!") else [int(s) for s in line.split()] for line in lines]


def ask_node(folder, scratch, library, asked):
    def words(case):
        about = {"zone": case.zone, "after": case.after, "count": case.count}
        if library == "rrule-temporal":
            about["start"], about["rrule"] = case.rrule()
        else:
            about["cron"] = case.cron()
        return about
    return peers.start_node(folder, scratch, library, [words(c) for _, c in asked])


class Table:
    def __init__(self):
        self.rows, self.failures = {}, []
        self.zones = collections.Counter()

    def compare(self, name, asked, answers, mine, starless):
        agree, why = 0, collections.Counter()
        for (i, case), (theirs, horizon) in zip(asked, answers):
            found, other = reasons.differences(name, case, mine[i], theirs, horizon), case.starless()
            if found and other and "star step" in reasons.KNOWN[name]:
                found = [("star step", None, "")] + reasons.differences(name, other, starless[i], theirs, horizon)
            if any(reason is None for reason, _, _ in found):
                self.failures.append(f"{name}: {case}\n    ours {mine[i]}\n    its  {theirs}\n    {found}")
                why["UNKNOWN"] += 1
            elif found:
                why.update({reason for reason, _, _ in found})
            else:
                agree += 1
                self.zones[case.zone] += 1
        self.rows[name] = (len(asked), agree, why)

    def print(self):
        print(f"{'implementation':<18}{'cases':>8}{'agree':>8}{'differ':>8}  reasons")
        for name, (n, agree, why) in self.rows.items():
            told = "; ".join(f"{k}: {v}" for k, v in why.most_common())
            print(f"{name:<18}{n:>8}{agree:>8}{n - agree:>8}  {told}")
        print("answers that agree, by zone: " + ", ".join(f"{zone} {n}" for zone, n in sorted(self.zones.items())))


def choose(cases, everything):
    """{implementation: [(index, case)]}"""
    able = {"python zoneinfo": lambda c: True, "croner": zone_cases.Case.cron, "cron-parser": zone_cases.Case.cron,
            "rrule-temporal": zone_cases.Case.rrule, "systemd": zone_cases.Case.calendar}
    if not shutil.which("systemd-analyze"):
        print("systemd-analyze is not installed: left out")
        del able["systemd"]

    def share(name):
        return SHARES[name] if not everything else SYSTEMD_ALL if name == "systemd" else CASES
    # Unlike cases for each: a share is spread over all.
    order = list(enumerate(cases))
    random.Random(SEED).shuffle(order)
    return {name: [(i, c) for i, c in order if can(c)][:share(name)]
            for name, can in able.items()}


def node_answers(folder, scratch, asked):
    """Drops the cases for which node has other tables, starts the packages on the rest: {name: started}"""
    moments = sorted({(z, s + d) for z in zone_cases.ZONES for s, _, _ in zone_cases.changes(z) for d in (-1, 0)} |
                     {(z, zone_cases.instant(z, datetime.date(year, month, 1))) for z in zone_cases.ZONES
                      for year in range(zone_cases.YEARS[0], zone_cases.YEARS[1] + 2) for month in range(1, 13)})
    differs = peers.node_differs(folder, scratch, moments)
    if differs:
        print(f"node's tables of zones are of another version: {len(differs)} years of zones are left out")
    running = {}
    for name in ("cron-parser", "croner", "rrule-temporal"):
        asked[name] = [(i, c) for i, c in asked[name] if (c.zone, c.start.year) not in differs]
        running[name] = ask_node(folder, scratch, name, asked[name])
    return running


def compare_all(cases, asked, running):
    table, mine = Table(), ours(cases)
    for case, answer in zip(cases, mine):
        if isinstance(answer, str) and "never fires" not in answer:  # then others must find nothing either
            table.failures.append(f"{case}\n    {answer}")
    mine = [[] if isinstance(a, str) else a for a in mine]
    others = {i: c.starless() for i, c in enumerate(cases) if c.starless()}
    starless = dict(zip(others, ours(list(others.values()))))
    for name, ask in (("python zoneinfo", peers.enumerate_days), ("systemd", peers.systemd)):
        if name in asked:
            table.compare(name, asked[name], [ask(c) for _, c in asked[name]], mine, starless)
    for name, process in running.items():
        answers = [(a, peers.FOREVER) for a in peers.finish_node(process)]
        table.compare(name, asked[name], answers, mine, starless)
    return table


def main(everything):
    print(f"{CASES} cases, T_SEED={SEED}", flush=True)
    cases = zone_cases.generate(SEED, CASES)
    folder = peers.packages(BUILD)
    asked = choose(cases, everything)
    with tempfile.TemporaryDirectory() as scratch:
        table = compare_all(cases, asked, node_answers(folder, scratch, asked))
    table.print()
    for text in table.failures[:SHOWN]:
        print(text)
    total = sum(n for n, _, _ in table.rows.values())
    print(f"{total - len(table.failures)} passed, {len(table.failures)} failed")
    return 1 if table.failures else 0


if __name__ == "__main__":
    try:
        sys.exit(main("--all" in sys.argv[1:]))
    except AssertionError as e:
        print(f"{e}\n0 passed, 1 failed")
        sys.exit(1)
