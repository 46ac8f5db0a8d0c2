#!/usr/bin/env python3
"""Runs every layer of the tests, several suites at once, and adds up.

    tests/run.py [-j N] [name part ...]       B: the build folder (build), T_SEED: repeats the random choices

A suite is a program that ends with a line "N passed, N failed".  Its line is printed when it is done, its
output too when something failed.  The last line is the sum; the exit status is 1 if anything failed."""
import ctypes
import glob
import os
import re
import select
import signal
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BUILD = os.environ.get("B", "build")
LIMIT = 1500  # seconds for one suite
JOBS_WITHIN = {"integration/crash_test": "3"}  # tests of one suite at once
_prctl = ctypes.CDLL(None).prctl


def suites():
    """(name, command), the longest first."""
    python = [("integration/" + n, ["python3", f"tests/integration/{n}.py"]) for n in
              ("crash_test", "fleet_test", "outage_test", "badinput_test", "sql_test", "stub_test")]
    known = {name.split("/")[1] for name, _ in python}
    for path in sorted(glob.glob(os.path.join(ROOT, "tests/integration/*_test.py"))):
        name = os.path.basename(path)[:-3]
        if name not in known:
            python.append(("integration/" + name, ["python3", f"tests/integration/{name}.py"]))
    c = []
    for layer in ("script", "sql", "unit"):
        for path in sorted(glob.glob(os.path.join(ROOT, f"tests/{layer}/*_test.c"))):
            name = f"{layer}/{os.path.basename(path)[:-2]}"
            c.append((name, [os.path.join(BUILD, "tests", name)]))
        for path in sorted(glob.glob(os.path.join(ROOT, f"tests/{layer}/*_test.py"))):
            c.append((f"{layer}/{os.path.basename(path)[:-3]}", ["python3", path]))
    # The crash tests wait more than they work: they begin first, and the small suites run beside them.
    return python[:1] + c + python[1:] + [("layers", ["python3", "tests/layers.py", BUILD])]


def prepare():
    os.setpgid(0, 0)
    _prctl(1, signal.SIGKILL, 0, 0, 0)


class Running:
    def __init__(self, name, command):
        self.name, self.since = name, time.monotonic()
        self.output = tempfile.TemporaryFile("w+")
        try:
            self.process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=self.output,
                                            stderr=subprocess.STDOUT,
                                            env={"T_JOBS": JOBS_WITHIN.get(name, "1"), **os.environ, "B": BUILD},
                                            preexec_fn=prepare)
        except OSError as e:
            self.process = None
            self.output.write(f"{command[0]}: {e}\n")

    def done(self):
        if self.process is None:
            return True
        if time.monotonic() - self.since > LIMIT:
            self.end()
        return self.process.poll() is not None

    def end(self):
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except OSError:
            pass

    def result(self):
        """(passed, failed, output)"""
        self.output.flush()
        self.output.seek(0)
        text = self.output.read()
        self.output.close()
        sums = re.findall(r"^(\d+) passed, (\d+) failed$", text, re.M)
        passed, failed = map(int, sums[-1]) if sums else (0, 0)
        code = self.process.returncode if self.process else 127
        if (code != 0 or not sums) and failed == 0:
            failed = 1
            text += f"\n(ended with status {code}{'' if sums else ', without a sum'})\n"
        return passed, failed, text


def main():
    arguments = sys.argv[1:]
    jobs = 3
    if arguments[:1] == ["-j"]:
        jobs, arguments = int(arguments[1]), arguments[2:]
    todo = [s for s in suites() if not arguments or any(a in s[0] for a in arguments)]
    running, passed, failed, broken = [], 0, 0, []
    began = time.monotonic()
    try:
        while todo or running:
            while todo and len(running) < jobs:
                running.append(Running(*todo.pop(0)))
            for r in [r for r in running if r.done()]:
                running.remove(r)
                p, f, text = r.result()
                passed, failed = passed + p, failed + f
                if f:
                    broken.append(r.name)
                    print(f"--- {r.name}\n{text.rstrip()}\n---")
                print(f"{r.name:32} {p:5} passed {f:3} failed {time.monotonic() - r.since:7.1f} s", flush=True)
            select.select([], [], [], 0.02)
    finally:
        for r in running:
            if r.process:
                r.end()
    print(f"{time.monotonic() - began:.0f} s{'; failed: ' + ', '.join(broken) if broken else ''}")
    print(f"{passed} passed, {failed} failed", flush=True)
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
