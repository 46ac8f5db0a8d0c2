#!/usr/bin/env python3
"""The demo: a campaign, a sequence that leads to another, and a recurring message, all in one fleet on this machine,
with a worker that is killed on the way.

    make demo            runs it, and leaves nothing running
    make demo KEEP=1     keeps it up afterwards, to look around; Ctrl-C ends it

Everything lives on unix sockets in ./run: a private MariaDB and Redis, a provider that keeps a ledger of every
request, producer, two workers, reaper.  The database's clock runs an hour a second, for it alone decides what is due:
days of the sequence and of the recurring message pass in half a minute, while Redis paces in real time.  No system service is touched, no network is used.  Exit status 1 if the
ledger, MySQL and Redis do not agree in the end."""
import fcntl
import os
import shutil
import signal
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path[:0] = [os.path.join(ROOT, "tests", "integration"), os.path.dirname(os.path.abspath(__file__))]

import leads  # noqa: E402  (the path comes first)
import witness  # noqa: E402
from harness import Fleet, http_get, pause, wait_until, wrong_clock  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
RUN = os.path.join(ROOT, "run")
LEADS, DEVICES = int(os.environ.get("LEADS", "3000")), int(os.environ.get("DEVICES", "30"))
KEEP = os.environ.get("KEEP", "") not in ("", "0")
TTY = sys.stdout.isatty()
CONTENT = "{{Hi|Hello|Salam}} {{name}}, our new shop in {{city}} opens on {Friday|Saturday}. See you there!"
# What a provider does on an ordinary day.
RULES = ["p:0.10=late:250", "p:0.005=throttle:1", "p:0.004=status:400"]
HOUR = 1  # seconds of ours for an hour of the database's
# What MySQL's clock measures, in its hours; what is looked at again and again, in seconds of ours.
CONF = {
    "reaper": {"retry_base": "2h", "retry_cap": "10h", "claim_lease": "1h", "fresh_age": "1h"},
    "producer": {"poll_max": "1s", "enrol_interval": "500ms"},
}
LIMIT = 240  # seconds: by then a healthy fleet has long been done


def bold(text):
    return f"\033[1m{text}\033[0m" if TTY else text


def say(text=""):
    print(text, flush=True)


def lock_run():
    """One demo at a time; the folder is this demo's own."""
    os.makedirs(RUN, exist_ok=True)
    fd = os.open(RUN, os.O_RDONLY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        sys.exit("demo: another demo is running in ./run; end it first (Ctrl-C there)")
    return fd


def clean(folder):
    if os.path.islink(os.path.join(RUN, "s")):
        shutil.rmtree(os.path.realpath(os.path.join(RUN, "s")), ignore_errors=True)
    for name in os.listdir(folder):
        path = os.path.join(folder, name)
        if os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path, ignore_errors=True)
        else:
            os.unlink(path)


def folder_for_sockets():
    """./run, or where that path is too long for a unix socket, a short one that ./run/s points to."""
    if len(RUN) < 80:
        return RUN
    short = tempfile.mkdtemp(prefix="paceline-", dir="/tmp")
    os.symlink(short, os.path.join(RUN, "s"))
    return short


class Progress:
    """One line that is rewritten on a terminal; elsewhere a line every two seconds."""

    def __init__(self, total):
        self.total, self.began, self.last = total, time.monotonic(), -9.0
        self.note = ""

    def show(self, done, sent, alive, over=False):
        now = time.monotonic()
        if not over and now - self.last < (0.1 if TTY else 2):
            return
        self.last = now
        width = 30
        full = width * done // max(1, self.total)
        text = (f"  [{'#' * full}{'.' * (width - full)}] {done:5}/{self.total}  sent {sent:5}  workers {alive}"
                f"  {now - self.began:4.0f} s  {self.note}")
        if TTY:
            print("\r" + text[:shutil.get_terminal_size().columns - 1] + "\033[K", end="", flush=True)
        else:
            say(text)

    def end(self):
        if TTY:
            print(flush=True)


def done_rows(statuses):
    return sum(statuses.get(s, 0) for s in ("sent", "failed", "skipped", "unknown"))


def holds_lease(fleet, pid):
    """Whether this worker has a message in hand just now."""
    redis = fleet.redis.client
    leases = redis.pipeline([("ZRANGE", f"pl:{{p{p:02}}}:leases", 0, -1) for p in range(64)])
    asked = [("HGET", f"pl:{{p{p:02}}}:d:{m.split('/')[0]}:ids", m.split("/")[1]) for p, ms in enumerate(leases) for m in ms]
    return any(f".{pid}." in (word or "") for word in (redis.pipeline(asked) if asked else ()))


def all_planned(fleet):
    """The sequence has enrolled everybody, and the recurring message has run as often as it should."""
    return fleet.sql.one("SELECT NOT EXISTS (SELECT 1 FROM leads WHERE trigger_pending) AND NOT EXISTS (SELECT 1 FROM"
                         " recurring_messages WHERE status <> 'finished')")


def watch(fleet):
    """Shows the messages until all are through; kills a worker at 40 %, while it has messages in hand."""
    progress = Progress(1)
    killed = False
    until = time.monotonic() + LIMIT
    while True:
        statuses = fleet.statuses()
        done, total = done_rows(statuses), sum(statuses.values())
        progress.total = total
        alive = sum(p.running() for n, p in fleet.processes.items() if n.startswith("worker"))
        progress.show(done, statuses.get("sent", 0), alive)
        if not killed and done >= total * 0.4 and (
                holds_lease(fleet, fleet.processes["worker1"].pid) or done >= total * 0.6):
            killed = True
            fleet.processes["worker1"].kill()
            progress.note = "worker 1 was killed (SIGKILL)"
            if not TTY:
                say("  " + progress.note)
        if done >= total and fleet.settled() and all_planned(fleet):
            break
        gone = [n for n, p in fleet.processes.items() if not p.running() and not (killed and n == "worker1")]
        if gone or time.monotonic() > until:
            progress.end()
            raise AssertionError(f"{gone[0]} ended" if gone else f"not done after {LIMIT} s: {statuses}")
        pause(0.05)
    statuses = fleet.statuses()
    progress.show(done_rows(statuses), statuses.get("sent", 0), alive, over=True)
    progress.end()
    fleet.drain(30)


def metric(fleet, role, name, label=""):
    """The sum of a counter over a role's programs."""
    total = 0
    for n, p in fleet.processes.items():
        if n.startswith(role) and p.running():
            for line in http_get(p.health, "/metrics")[1].splitlines():
                if line.startswith(name) and label in line:
                    total += int(float(line.rsplit(" ", 1)[1]))
    return total


def table(rows):
    width = max(len(k) for k, _ in rows) + 2
    for key, value in rows:
        say(f"  {key:{width}}{value}")


def source_table(fleet):
    """A line for each source."""
    statuses = ("sent", "failed", "skipped", "unknown")
    counts = ", ".join(f"SUM(m.status = '{s}')" for s in statuses)
    lines = fleet.sql.rows(
        f"SELECT 'campaign', c.name, COUNT(*), {counts}, '' FROM broadcast_messages m JOIN campaigns c ON c.id = m.campaign_id"
        f" GROUP BY c.id UNION ALL SELECT 'sequence', CONCAT(s.name, IF(n.id IS NULL, '', CONCAT(' -> ', n.name))), COUNT(*), {counts},"
        " (SELECT CONCAT(COUNT(*), ' contacts') FROM sequence_contacts x WHERE x.sequence_id = s.id) FROM broadcast_messages m"
        " JOIN sequences s ON s.id = m.sequence_id LEFT JOIN sequences n ON n.id = s.next_sequence_id GROUP BY s.id"
        f" UNION ALL SELECT 'recurring', r.name, COUNT(*), {counts}, (SELECT CONCAT(COUNT(*), ' runs') FROM recurring_message_logs g"
        " WHERE g.recurring_id = r.id AND g.status = 'finished') FROM broadcast_messages m JOIN recurring_messages r"
        " ON r.id = m.recurring_id GROUP BY r.id")
    say(f"  {'':11}{'':19}{'messages':>9}" + "".join(f"{s:>9}" for s in statuses))
    for kind, name, total, *counts, more in lines:
        say(f"  {kind:11}{name:19}{total:>9}" + "".join(f"{n:>9}" for n in counts) + (f"  {more}" if more else ""))
    say()


def result(fleet, began):
    """The table of the end, and whether all invariants hold."""
    v = fleet.check(throw=False, late_ms=250, gaps=150)
    conservation = fleet.ctl("audit", "conservation", check=False)
    if conservation[0] != 0:
        v.problems.append("paceline audit conservation: " + (conservation[1] + conservation[2]).strip())
    again = metric(fleet, "reaper", "paceline_reclaims_total", 'reason="again"')
    unknown = metric(fleet, "reaper", "paceline_reclaims_total", 'reason="unknown"')
    requests = sum(v.ledger.values())
    per_job = ", ".join(f"{n} x {jobs} jobs" for n, jobs in sorted(v.per_job.items()))
    say()
    say(bold("What came of it"))
    source_table(fleet)
    table([(f"rows {s}", n) for s, n in sorted(v.rows.items())] + [
        ("rows in all", f"{v.total}  (leads: {LEADS})"),
        ("provider's ledger", f"{requests} requests: {v.ledger['accepted']} accepted, {v.ledger['refused']} refused,"
                              f" {v.ledger['open']} left open"),
        ("  per job, not refused", f"{per_job}   (min {min(v.per_job)}, max {max(v.per_job)})"),
        ("recovered leases", f"{again + unknown}  ({again} were provably unsent and went out again)"),
        ("unknown outcomes", f"{v.unknowns}  (held for a decision: paceline unknown list)"),
        ("duplicates", bold(f"{v.duplicates}")),
        ("lost", bold(f"{v.lost}")),
        ("elapsed", f"{time.monotonic() - began:.1f} s"),
    ])
    for p in v.problems[:20]:
        say("  ! " + p)
    say()
    say(bold("All invariants hold." if not v.problems else f"{len(v.problems)} invariants are broken."))
    return not v.problems


def look_around(fleet):
    """Another, slower campaign runs, so that there is something to see."""
    fleet.ctl("campaign", "create", "encore", "--content", CONTENT, "--devices", "all", "--start", "now", "--gap", "3s..6s")
    redis, conf = fleet.redis.socket, fleet.conf_file
    shown = lambda path: os.path.relpath(path) if len(os.path.relpath(path)) < len(path) else path  # noqa: E731
    say(f"\nThe database's clock here runs 3,600 times faster than ours: what is due in an hour is due in a second.")
    say(f"\n{bold('Still running')} (Ctrl-C, or kill -TERM {os.getpid()}, ends it).  A second campaign, \"encore\", is on its way.  Try:\n")
    cli = f"redis-cli -s {shown(redis)}"
    partition = "pl:{p07}"
    for command, what in (
            (f"{cli} ZRANGE pl:fleet 0 -1 WITHSCORES", "who is alive"),
            (f"{cli} ZRANGE '{partition}:ready' 0 9 WITHSCORES", "which devices are served next, and when (ms)"),
            (f"{cli} HGETALL '{partition}:d:7'", "how device 7 is paced, and why it waits"),
            (f"{cli} XRANGE '{partition}:d:7:jobs' - + COUNT 2", "the next messages in its stream"),
            (f"{cli} HGETALL '{partition}:d:7:ids'", "every message of it that Redis knows: S W L P D R U"),
            (f"build/bin/paceline --config {shown(conf)} status", "the same for people"),
            (f"build/bin/paceline --config {shown(conf)} unknown list", "what waits for a decision"),
            (f"mariadb -S {shown(fleet.mysql.socket)} -u root paceline", "the ledger in MySQL")):
        say(f"    {command}\n        {what}")
    say(f"\n  sockets: {shown(redis)}  {shown(fleet.mysql.socket)}  {shown(fleet.stub.socket)}")
    while all(p.running() for n, p in fleet.processes.items() if n != "worker1"):
        pause(0.5)


def demo():
    began = time.monotonic()
    say(bold(f"Paceline: a campaign to {LEADS} leads, a sequence and a recurring message through {DEVICES} devices, at 200 to"
             " 400 ms each, with two workers."))
    folder = folder_for_sockets()
    fleet = Fleet(folder=folder, quick=False, conf=CONF, rules=RULES, keep="everysec", durable=True,
                  senders={"provider": None}, mysql_env=wrong_clock(0, 3600 // HOUR))
    with fleet:
        say(f"  {time.monotonic() - began:4.1f} s  MariaDB, Redis and the provider run on sockets in {os.path.relpath(folder)}")
        devices, csv = leads.write(folder, LEADS, DEVICES)
        fleet.ctl("device", "import", devices)
        fleet.ctl("leads", "import", csv, "--device-column", "device")
        imported = fleet.sql.one("SELECT COUNT(*) FROM leads")
        say(f"  {time.monotonic() - began:4.1f} s  {imported} leads for {DEVICES} devices are imported from {os.path.relpath(csv)}")
        for name in ("care", "welcome"):
            fleet.ctl("sequence", "create", "--file", os.path.join(HERE, name + ".json"))
        fleet.ctl("recurring", "create", "--file", os.path.join(HERE, "regulars.json"))
        fleet.start(producer=1, worker=2, reaper=1)
        fleet.ctl("campaign", "create", "opening", "--content", CONTENT, "--devices", "all", "--start", "now",
                  "--on-unknown", "hold")
        say(f"  {time.monotonic() - began:4.1f} s  producer, two workers and reaper run; a campaign, a sequence and a recurring message begin\n")
        wait_until(lambda: fleet.sql.one("SELECT COUNT(*) FROM campaigns WHERE expanded_at IS NOT NULL"), 30, "the audience")
        watch(fleet)
        ok = result(fleet, began)
        if KEEP:
            look_around(fleet)
        del fleet.processes["worker1"]
        fleet.stop()
    return ok


def main():
    fd = lock_run()
    clean(RUN)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where a script started it with &
    ok = False
    try:
        ok = demo()
    except KeyboardInterrupt:
        say()
        ok = KEEP
    except AssertionError as e:
        say(f"\ndemo: {e}")
    finally:
        clean(RUN)
        os.rmdir(RUN)
        os.close(fd)
    if ok and not KEEP:
        say("Next: make demo KEEP=1 to look around, make test, README.md.")
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
