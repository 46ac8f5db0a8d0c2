"""Other implementations of the same rules.  Each answers a case with (instants, horizon): what is due up to there; or
with a text in place of instants, where it fails."""
import datetime
import json
import os
import re
import shutil
import subprocess

from cases import DAY, instant, local_of, offset_at

HERE = os.path.dirname(os.path.abspath(__file__))
AHEAD = 900  # days that Python looks through
FOREVER = 1 << 60


# --- Python's zoneinfo, and an enumeration day by day

def passes(case, day):
    """What the clock shows on a day, five minutes by five, whatever it was put to."""
    first = instant(case.zone, day) - 27 * 3600
    for s in range(first - first % 300, first + 54 * 3600, 300):
        local = local_of(case.zone, s)
        if local.date() == day and local.hour in case.hours and local.minute in case.minutes:
            yield s


def times(case, day):
    for hour in case.hours:
        for minute in case.minutes:
            second = hour * 3600 + minute * 60
            s = instant(case.zone, day, second)
            if case.shift or local_of(case.zone, s) == datetime.datetime.combine(day, datetime.time(hour, minute)):
                yield s


def enumerate_days(case):
    if case.freq == "interval":
        return [case.after + 1 + i * case.every for i in range(case.count)], FOREVER
    found, enough = set(), case.start + AHEAD * DAY
    day = case.start - DAY
    while day < enough:
        if case.names(day):
            found.update(s for s in (passes if case.clock else times)(case, day) if s > case.after)
            if len(found) >= case.count:
                enough = min(enough, day + 3 * DAY)
        day += DAY
    return sorted(found)[:case.count], instant(case.zone, case.start + (AHEAD - 3) * DAY)


# --- systemd

def systemd(case):
    answer = subprocess.run(
        ["systemd-analyze", "calendar", f"--iterations={case.count}", "--base-time",
         datetime.datetime.fromtimestamp(case.after, datetime.timezone.utc).strftime("%Y-%m-%d %H:%M:%S UTC"),
         case.calendar()], capture_output=True, text=True, env={**os.environ, "TZ": "UTC", "LC_ALL": "C"})
    if answer.returncode:
        return answer.stderr.strip(), FOREVER
    found = re.findall(r"(?:Next elapse|Iter\. #\d+|Iteration #\d+): \w+ (\d+-\d+-\d+ \d+:\d+:\d+) UTC", answer.stdout)
    return [int(datetime.datetime.fromisoformat(t + "+00:00").timestamp()) for t in found], FOREVER


# --- npm packages

def packages(build):
    """Installs them once, as the lock file says; returns their folder."""
    folder = os.path.join(build, "tests", "zones", "npm")
    lock = os.path.join(HERE, "package-lock.json")
    mark = os.path.join(folder, "installed")
    with open(lock, "rb") as f:
        want = f.read()
    if os.path.exists(mark):
        with open(mark, "rb") as f:
            if f.read() == want:
                return folder
    if not shutil.which("npm") or not shutil.which("node"):
        raise AssertionError("node and npm are needed: sh deploy/deps.sh installs them")
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    for name in ("package.json", "package-lock.json"):
        shutil.copy(os.path.join(HERE, name), folder)
    done = subprocess.run(["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"], cwd=folder,
                          capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise AssertionError(f"npm ci: {done.stderr or done.stdout}\n(it needs a network the first time)")
    with open(mark, "wb") as f:
        f.write(want)
    return folder


def start_node(folder, scratch, library, lines):
    """Starts node.cjs over some lines of JSON; finish_node() reads its answers.  Files in scratch, since pipes would
    stop it while others are asked."""
    path = os.path.join(scratch, library)
    with open(path + ".in", "w") as f:
        f.writelines(json.dumps(line) + "\n" for line in lines)
    with open(path + ".in") as given, open(path + ".out", "w") as told, open(path + ".err", "w") as problems:
        return path, subprocess.Popen(["node", os.path.join(HERE, "node.cjs"), folder, library], stdin=given,
                                      stdout=told, stderr=problems)


def finish_node(started):
    path, process = started
    if process.wait():
        with open(path + ".err") as f:
            raise AssertionError(f"{os.path.basename(path)} in node: {f.read()}")
    with open(path + ".out") as f:
        return [json.loads(line) for line in f]


def node_differs(folder, scratch, moments):
    """Node has tables of its own: the (zone, year) of which it tells another offset than the system does."""
    lines = [[zone, s] for zone, s in moments]
    told = finish_node(start_node(folder, scratch, "offsets", lines))
    return {(zone, local_of(zone, s).year + near) for (zone, s), offset in zip(moments, told)
            if offset != offset_at(zone, s) for near in (-1, 0, 1)}
