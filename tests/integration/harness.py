"""A private fleet for tests, demo and scenarios: servers on unix sockets in a folder of their own, the
provider stub, the real programs; and the runner of the test suites.

    with Fleet(faults=True, rules=["p:0.05=late:50"]) as fleet:
        fleet.devices(20); fleet.leads(50); fleet.campaign("first")
        fleet.start(producer=2, worker=2, reaper=2)
        fleet.drain()
        fleet.check()

Every process is in a group of its own and dies with the test that started it.  Waiting is polling with a
deadline.  T_SEED repeats the random choices, T_KEEP=1 keeps the folders, B names the build folder.
What a check compares is in witness.py."""
import ctypes
import fcntl
import json
import os
import random
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback

import witness
from clients import Lost, Redis, RedisError, Sql, SqlError

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.join(ROOT, os.environ.get("B", "build"))
FAULTS = BUILD + "-faults"
SEED = int(os.environ.get("T_SEED") or random.SystemRandom().randrange(1 << 32))
BINARIES = {"producer": "paceline-producer", "worker": "paceline-worker",
            "reaper": "paceline-reaper", "ctl": "paceline"}
PATH = os.environ.get("PATH", "") + ":/usr/local/sbin:/usr/sbin:/sbin"

# --- waiting ------------------------------------------------------------------------------------------


def pause(seconds=0.02):
    """The step of a polling loop."""
    select.select([], [], [], seconds)


def wait_until(condition, seconds, what, step=0.02):
    """Polls until the condition gives something true, and returns that.  A server that is away counts as
    "not yet"."""
    until = time.monotonic() + seconds
    last = None
    while True:
        try:
            value = condition()
            if value:
                return value
            last = value
        except (Lost, SqlError, RedisError, OSError) as e:
            last = e
        if time.monotonic() > until:
            said = what() if callable(what) else what
            raise AssertionError(f"waited {seconds} s for {said} (last: {last!r})")
        pause(step)


def mono_us():
    return time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000


def equal(want, got, what="value"):
    if want != got:
        raise AssertionError(f"{what}: want {repr(want)[:1000]}, got {repr(got)[:1000]}")


def true(value, what):
    if not value:
        raise AssertionError(what)


# --- processes ----------------------------------------------------------------------------------------

_prctl = ctypes.CDLL(None, use_errno=True).prctl


def die_with_parent():
    _prctl(1, signal.SIGKILL, 0, 0, 0)  # PR_SET_PDEATHSIG


class Process:
    """One started program with its output in a file."""

    def __init__(self, name, argv, log, env=None):
        self.name, self.log = name, log
        parent = os.getpid()

        def prepare():
            os.setpgid(0, 0)
            die_with_parent()
            if os.getppid() != parent:
                os._exit(127)

        with open(log, "ab") as out:
            self.log_start = out.tell()
            self.popen = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                                          env={**os.environ, "PATH": PATH, **(env or {})},
                                          preexec_fn=prepare)
        self.pid = self.popen.pid

    def status(self):
        """None while it runs, else its exit status (negative: the signal)."""
        return self.popen.poll()

    def running(self):
        return self.status() is None

    def signal(self, number):
        if self.running():
            self.popen.send_signal(number)

    def wait(self, seconds=20):
        try:
            return self.popen.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} does not end within {seconds} s") from None

    def kill(self):
        self.signal(signal.SIGKILL)
        return self.wait()

    def terminate(self, seconds=20):
        self.signal(signal.SIGTERM)
        return self.wait(seconds)

    def freeze(self):
        self.signal(signal.SIGSTOP)

    def thaw(self):
        self.signal(signal.SIGCONT)

    def lines(self):
        """What it has written since it was started."""
        with open(self.log, "rb") as f:
            f.seek(self.log_start)
            return f.read().decode("utf-8", "replace").splitlines()

    def peak_rss_mb(self):
        try:
            with open(f"/proc/{self.pid}/status") as f:
                return int(re.search(r"VmHWM:\s+(\d+)", f.read()).group(1)) / 1024
        except (OSError, AttributeError):
            return 0.0


def http_get(path, target="/healthz", seconds=10):
    """(status, body) from a unix socket."""
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(seconds)
    try:
        s.connect(path)
        s.sendall(f"GET {target} HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n".encode())
        data = b""
        while part := s.recv(65536):
            data += part
    finally:
        s.close()
    head, _, body = data.partition(b"\r\n\r\n")
    return int(head.split()[1]), body.decode("utf-8", "replace")


# --- servers ------------------------------------------------------------------------------------------


class RedisServer:
    """A private redis-server.  keep: "always", "everysec" or "no" (no file at all)."""

    def __init__(self, folder, keep="no", options=(), env=None):
        self.folder, self.keep, self.options, self.env = folder, keep, list(options), env
        self.socket = os.path.join(folder, "redis.sock")
        self.data = os.path.join(folder, "redis")
        os.makedirs(self.data, exist_ok=True)
        self.client = Redis(self.socket)
        self.process = None

    def start(self):
        argv = ["redis-server", "--port", "0", "--unixsocket", self.socket, "--dir", self.data,
                "--maxmemory-policy", "noeviction", "--save", "", "--daemonize", "no",
                "--appendonly", "no" if self.keep == "no" else "yes", "--enable-protected-configs", "yes"]
        if self.keep != "no":
            argv += ["--appendfsync", self.keep]
        log = os.path.join(self.folder, "redis.log")
        self.process = Process("redis-server", argv + self.options, log, self.env)
        self.client.close()
        wait_until(self.answers, 30, "redis-server to start")

    def answers(self):
        if not self.process.running():
            raise AssertionError("redis-server ended:\n" + "\n".join(self.process.lines()[-10:]))
        return self.client.call("PING") == "PONG"

    def restart(self):
        """With its data: SIGTERM writes out what is left."""
        self.process.terminate()
        self.start()

    def kill(self, lose_data=False):
        self.process.kill()
        self.client.close()
        if lose_data:
            shutil.rmtree(self.data)
            os.makedirs(self.data)

    def call(self, *args):
        return self.client.call(*args)


class MariaDB:
    """A private mariadbd.  durable: every commit reaches the disk, as in production."""

    OPTIONS = ["--no-defaults", "--skip-networking", "--innodb-buffer-pool-size=64M",
               "--innodb-log-file-size=8M", "--innodb-use-native-aio=0", "--performance-schema=0",
               "--aria-pagecache-buffer-size=1M", "--key-buffer-size=64K", "--max-connections=100"]

    def __init__(self, folder, durable=False, options=(), env=None):
        self.folder, self.durable, self.options, self.env = folder, durable, list(options), env
        self.socket = os.path.join(folder, "mysql.sock")
        self.data = os.path.join(folder, "mysql")
        self.client = Sql(self.socket)
        self.clients = [self.client]
        self.process = None

    @staticmethod
    def template():
        """A datadir that mariadb-install-db made once; shared with the C tests."""
        tests = os.path.join(BUILD, "tests")
        os.makedirs(tests, exist_ok=True)
        path = os.path.join(tests, "mariadb-template")
        with open(path + ".lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not os.path.exists(path):
                part = path + ".part"
                shutil.rmtree(part, ignore_errors=True)
                argv = ["mariadb-install-db", "--no-defaults", "--datadir=" + part, "--skip-test-db",
                        "--auth-root-authentication-method=normal", "--innodb-log-file-size=8M"]
                if os.geteuid() == 0:
                    argv.append("--user=root")
                done = subprocess.run(argv, capture_output=True, text=True,
                                      env={**os.environ, "PATH": PATH})
                if done.returncode:
                    raise AssertionError("mariadb-install-db failed:\n" + done.stdout + done.stderr)
                os.rename(part, path)
        return path

    def start(self):
        if not os.path.exists(self.data):
            subprocess.run(["cp", "-a", "--reflink=auto", self.template(), self.data], check=True)
        argv = ["mariadbd"] + self.OPTIONS + [
            "--datadir=" + self.data, "--socket=" + self.socket, "--pid-file=" + self.folder + "/mysql.pid",
            "--tmpdir=" + self.folder,  # a server that starts clears the files of others out of /tmp
            f"--innodb-flush-log-at-trx-commit={1 if self.durable else 2}"]
        if not self.durable:
            argv.append("--innodb-doublewrite=0")
        if os.geteuid() == 0:
            argv.append("--user=root")
        self.process = Process("mariadbd", argv + self.options, os.path.join(self.folder, "mysql.log"), self.env)
        self.hang_up()
        wait_until(self.answers, 60, "mariadbd to start")

    def answers(self):
        if not self.process.running():
            raise AssertionError("mariadbd ended:\n" + "\n".join(self.process.lines()[-10:]))
        return self.client.rows("SELECT 1")

    def hang_up(self):
        for client in self.clients:
            client.close()

    def kill(self):
        self.process.kill()
        self.hang_up()

    def restart(self):
        self.process.terminate(60)
        self.start()


class Stub:
    """The provider: its ledger is the first witness."""

    def __init__(self, folder, rules=()):
        self.folder, self.rules = folder, list(rules)
        self.socket = os.path.join(folder, "stub.sock")
        self.ledger = os.path.join(folder, "ledger")
        self.process = None

    def start(self):
        port_file = os.path.join(self.folder, "stub.ready")
        argv = [os.path.join(BUILD, "tests", "provider-stub"), "--listen", "unix:" + self.socket,
                "--port-file", port_file, "--ledger", self.ledger, "--seed", str(SEED),
                "--log-level", "warn"]
        for rule in self.rules:
            argv += ["--rule", rule]
        self.process = Process("stub", argv, os.path.join(self.folder, "stub.log"))
        wait_until(lambda: os.path.exists(port_file) or not self.process.running(), 20, "the stub")
        true(self.process.running(), "the stub does not start")

    def control(self, *rules):
        body = "\n".join(rules).encode()
        s = socket.socket(socket.AF_UNIX)
        s.settimeout(20)
        try:
            s.connect(self.socket)
            s.sendall(b"POST /_control HTTP/1.1\r\nHost: t\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s"
                      % (len(body), body))
            answer = s.recv(65536)
        finally:
            s.close()
        true(b" 200 " in answer.split(b"\r\n")[0], f"the stub refused its rules: {answer!r}")

    def kill(self):
        self.process.kill()


# --- the fleet ----------------------------------------------------------------------------------------

# Small times, so that what others repair is repaired while a test looks on.
QUICK = {
    "all": {"partitions": "8", "log_level": "info"},
    "producer": {"poll_min": "20ms", "poll_max": "200ms", "steer_interval": "100ms", "enrol_interval": "200ms"},
    "worker": {"lease": "1s", "renew": "300ms", "drain": "20s", "device_rest": "2ms"},
    "reaper": {"lease": "1s", "confirm": "300ms", "sweep": "100ms", "claim_lease": "2s", "fresh_age": "1s",
               "audit_interval": "3s", "retry_base": "200ms", "retry_cap": "2s", "resend_after": "300ms",
               "recovery_grace": "3s"},
    "paceline": {},
}


def wrong_clock(offset, rate=1):
    """Environment of a program whose clock is off by so many seconds, and runs that much faster from now on."""
    return {"LD_PRELOAD": os.path.join(BUILD, "tests", "clock.so"), "PACELINE_TEST_CLOCK": f"{offset},{rate},{time.time():.0f}"}


class Fleet:
    def __init__(self, faults=False, rules=(), conf=None, senders=None, keep="no", durable=False, seed=None,
                 folder=None, quick=True, env=None, stub=True, binaries=None, mysql_user="root", mysql_options=(), mysql_env=None,
                 redis_env=None):
        self.seed = SEED if seed is None else seed
        self.random = random.Random(self.seed)
        self.own_folder = folder is None
        self.folder = folder or tempfile.mkdtemp(prefix="pl-", dir="/tmp")
        self.bin = os.path.join(binaries or (FAULTS if faults else BUILD), "bin")
        self.env, self.ctl_env = dict(env or {}), {}
        self.mysql_user = mysql_user
        self.redis = RedisServer(self.folder, keep, env=redis_env)
        self.mysql = MariaDB(self.folder, durable, mysql_options, mysql_env)
        self.stub = Stub(self.folder, rules) if stub else None
        self.null_ledger = os.path.join(self.folder, "null-ledger")
        self.conf_file = os.path.join(self.folder, "paceline.conf")
        self.conf = {k: dict(v) for k, v in (QUICK if quick else dict.fromkeys(QUICK, {})).items()}
        for section, pairs in (conf or {}).items():
            self.conf[section].update(pairs)
        self.senders = {"stub": self.webhook(), "null": {"type": "null", "ledger": self.null_ledger}}
        for name, pairs in (senders or {}).items():  # None: another one that talks to the stub
            self.senders[name] = self.webhook() if pairs is None else {**self.senders.get(name, {}), **pairs}
        self.receipts = {}  # sections of `paceline receipts`
        self.processes = {}
        self.serial = 0
        self.user = 1
        self.sql = Sql(self.mysql.socket, "paceline")
        self.mysql.clients.append(self.sql)

    def webhook(self):
        """The sender that talks to the stub; by its headers the stub knows job, attempt and device."""
        return {
            "type": "webhook",
            "url": "http://provider/messages",
            "unix_socket": self.stub.socket if self.stub else "/nowhere",
            "body": '{"to":"{recipient}","text":"{text}"}',
            "success": '2xx and /status = "accepted"',
            # A device that was refused for now goes on; what rests is the message.
            "error_1": "429 -> retry/message",
            "timeout": "2s",
        }

    # --- life

    def __enter__(self):
        try:
            self.mysql.start()
            self.redis.start()
            if self.stub:
                self.stub.start()
            self.mysql.client.exec("CREATE DATABASE IF NOT EXISTS paceline CHARACTER SET utf8mb4")
            if self.mysql_user != "root":
                self.mysql.client.exec(f"CREATE USER {self.mysql_user}@localhost")
                self.mysql.client.exec(f"GRANT ALL ON paceline.* TO {self.mysql_user}@localhost")
            self.configure()
            self.ctl("migrate")
            self.sql.exec("INSERT INTO users (id, name, created_at) VALUES (1, 'default', UTC_TIMESTAMP(3))")
        except BaseException:
            self.__exit__(*sys.exc_info())
            raise
        return self

    def __exit__(self, kind, value, trace):
        servers = [s.process for s in (self.stub, self.redis, self.mysql) if s and s.process]
        failed = kind is not None and not issubclass(kind, (KeyboardInterrupt, SystemExit))
        if failed:
            self.print_logs()
        for p in list(self.processes.values()) + servers:
            if p.running():
                p.signal(signal.SIGKILL)
                p.wait()
        if os.environ.get("T_KEEP"):
            print(f"    kept {self.folder}")
        elif self.own_folder:
            shutil.rmtree(self.folder, ignore_errors=True)
        return False

    def print_logs(self, n=8):
        print(f"    seed {self.seed}, folder {self.folder}")
        for name in sorted(os.listdir(self.folder)):
            path = os.path.join(self.folder, name)
            if name.endswith(".log") and os.path.getsize(path):
                with open(path, "rb") as f:
                    lines = f.read().decode("utf-8", "replace").splitlines()
                bad = [l for l in lines if re.match(r"\S+ (warn|error) ", l) or "Sanitizer" in l]
                shown = lines[-n:] if len(bad) < 3 else bad[:n] + ["..."] + lines[-5:]
                if name in ("mysql.log", "redis.log", "stub.log"):
                    shown = [l for l in lines if re.search(r"ERROR|rror:|bug|crash|signal", l)][-n:]
                    if not shown:
                        continue
                print(f"    --- {name} ({len(lines)} lines)")
                for line in shown:
                    print("    " + line[:400])

    def configure(self):
        """Writes the config file."""
        redis = {"redis_url": "unix:" + self.redis.socket}
        mysql = {"mysql_url": f"mysql://{self.mysql_user}@/paceline?socket={self.mysql.socket}"}
        every = {**redis, **self.conf["all"]}
        people = {k: v for k, v in every.items() if not k.startswith("log_")}
        sections = {
            "producer": {**every, **mysql, **self.conf["producer"]},
            "worker": {**every, "journal_dir": os.path.join(self.folder, "journal"), **self.conf["worker"]},
            "reaper": {**every, **mysql, **self.conf["reaper"]},
            "paceline": {**people, **mysql, **self.conf["paceline"]},
        }
        os.makedirs(os.path.join(self.folder, "journal"), exist_ok=True)
        with open(self.conf_file, "w") as f:
            for name, pairs in sections.items():
                f.write(f"[{name}]\n" + "".join(f"{k} = {quoted(v)}\n" for k, v in pairs.items()))
            for name, pairs in self.senders.items():
                f.write(f"[sender {name}]\n" + "".join(f"{k} = {quoted(v)}\n" for k, v in pairs.items()))
            for name, pairs in self.receipts.items():
                f.write(f"[receipts {name}]\n" + "".join(f"{k} = {quoted(v)}\n" for k, v in pairs.items()))

    def binary(self, role):
        return os.path.join(self.bin, BINARIES[role])

    def spawn(self, role, name=None, fault=None, env=None, args=()):
        """One program; name defaults to worker1, worker2 ..."""
        if name is None:
            n = 1
            while f"{role}{n}" in self.processes:
                n += 1
            name = f"{role}{n}"
        health = os.path.join(self.folder, name + ".http")
        argv = [self.binary(role), "--config", self.conf_file, "--listen", "unix:" + health, *args]
        more = {**self.env, **(env or {})}
        if fault:
            more["PACELINE_FAULT"] = fault
        p = Process(name, argv, os.path.join(self.folder, name + ".log"), more)
        p.health = health
        self.processes[name] = p
        return p

    def start(self, producer=1, worker=1, reaper=1, ready=True):
        started = []
        for role, n in (("reaper", reaper), ("producer", producer), ("worker", worker)):
            started += [self.spawn(role) for _ in range(n)]
        for p in started if ready else ():
            wait_until(lambda: self.is_ready(p), 30, f"{p.name} to be ready", 0.05)
        return started

    @staticmethod
    def is_ready(p):
        if not p.running():
            raise AssertionError(f"{p.name} ended with {p.status()}:\n" + "\n".join(p.lines()[-10:]))
        return http_get(p.health, "/readyz")[0] == 200

    def stop(self, seconds=30):
        """SIGTERM to all programs; each must end with 0."""
        for p in self.processes.values():
            p.signal(signal.SIGTERM)
        codes = {p.name: p.wait(seconds) for p in self.processes.values()}
        self.processes.clear()
        bad = {n: c for n, c in codes.items() if c != 0}
        equal({}, bad, "exit statuses")

    def ctl(self, *args, check=True, seconds=60):
        """(exit status, stdout, stderr) of the paceline command."""
        done = subprocess.run([self.binary("ctl"), "--config", self.conf_file, *args], text=True,
                              capture_output=True, timeout=seconds, stdin=subprocess.DEVNULL,
                              env={**os.environ, "PATH": PATH, **self.ctl_env}, preexec_fn=die_with_parent)
        if check and done.returncode:
            raise AssertionError(f"paceline {' '.join(args)}: exit {done.returncode}\n{done.stdout}{done.stderr}")
        return done.returncode, done.stdout, done.stderr

    def spawn_ctl(self, *args, fault=None):
        """The paceline command on its own; the test waits for it, or kills it."""
        self.serial += 1
        return Process("ctl", [self.binary("ctl"), "--config", self.conf_file, *args],
                       os.path.join(self.folder, f"ctl{self.serial}.log"), {"PACELINE_FAULT": fault} if fault else None)

    # --- rows

    def devices(self, n, sender="stub", gap=(0, 0), prefix="d", **columns):
        """Adds n devices and returns their ids."""
        self.serial += 1
        names = ", ".join(columns)
        values = ", ".join(literal(v) for v in columns.values())
        self.sql.exec(
            "INSERT INTO devices (user_id, name, sender, sender_ref, min_gap_ms, max_gap_ms, created_at, updated_at"
            f"{', ' + names if names else ''}) SELECT {self.user}, CONCAT('{prefix}{self.serial}-', seq),"
            f" '{sender}', CONCAT('ref', seq), {gap[0]}, {gap[1]}, UTC_TIMESTAMP(3), UTC_TIMESTAMP(3)"
            f"{', ' + values if values else ''} FROM seq_1_to_{n}")
        rows = self.sql.rows(f"SELECT id FROM devices WHERE name LIKE '{prefix}{self.serial}-%' ORDER BY id")
        return [int(r[0]) for r in rows]

    def leads(self, per_device, devices=None, niche=""):
        """per_device new leads for each device."""
        self.serial += 1
        where = f"WHERE d.id IN ({', '.join(map(str, devices))})" if devices else ""
        return self.sql.exec(
            "INSERT INTO leads (user_id, device_id, phone, name, niche, attributes, created_at, updated_at)"
            f" SELECT d.user_id, d.id, CONCAT('6', LPAD(d.id, 5, '0'), '{self.serial % 1000:03}', LPAD(s.seq, 6, '0')),"
            f" CONCAT('Lead ', s.seq), '{niche}', NULL, UTC_TIMESTAMP(3), UTC_TIMESTAMP(3)"
            f" FROM devices d JOIN seq_1_to_{per_device} s {where} ORDER BY d.id, s.seq")

    def campaign(self, name, devices=None, content="{{Hi|Hello}} {{name}}, this is {a|b|c}.", **columns):
        """A campaign that is due now; returns its id."""
        columns = {"status": "scheduled", "user_id": self.user, "name": name, "content": content, **columns}
        times = ["created_at", "updated_at"]
        if columns["status"] == "scheduled" and "scheduled_at" not in columns:
            times.append("scheduled_at")
        which = f"AND d.id IN ({', '.join(map(str, devices))})" if devices else ""
        self.sql.exec("START TRANSACTION")
        self.sql.exec(f"INSERT INTO campaigns ({', '.join(columns)}, {', '.join(times)}) VALUES"
                      f" ({', '.join(literal(v) for v in columns.values())}{', UTC_TIMESTAMP(3)' * len(times)})")
        number = self.sql.one("SELECT LAST_INSERT_ID()")
        self.sql.exec(f"INSERT INTO campaign_devices (campaign_id, device_id) SELECT {number}, d.id FROM devices d"
                      f" WHERE d.user_id = {columns['user_id']} {which}")
        self.sql.exec("COMMIT")
        return number

    def _source(self, table, column, columns, times, devices):
        self.sql.exec(f"INSERT INTO {table} ({', '.join(f'`{c}`' for c in columns)}, {', '.join(times)}) VALUES"
                      f" ({', '.join(literal(v) for v in columns.values())}{', UTC_TIMESTAMP(3)' * len(times)})")
        number = self.sql.one("SELECT LAST_INSERT_ID()")
        for device in devices or ():
            self.sql.exec(f"INSERT INTO {column.removesuffix('_id')}_devices ({column}, device_id) VALUES ({number}, {device})")
        return number

    def sequence(self, name, steps=((0, "{{Hi|Hello}} {{name}}."),), devices=None, **columns):
        """A sequence of (delay in seconds, text) steps; its messages may begin at once.  Returns its id."""
        columns = {"user_id": self.user, "name": name, "start_after_s": 0, "all_devices": 0 if devices else 1, **columns}
        self.sql.exec("START TRANSACTION")
        number = self._source("sequences", "sequence_id", columns, ["created_at", "updated_at"], devices)
        for i, (delay, text) in enumerate(steps):
            self.sql.exec("INSERT INTO sequence_steps (sequence_id, position, delay_s, content) VALUES"
                          f" ({number}, {i + 1}, {delay}, {literal(text)})")
        self.sql.exec("COMMIT")
        return number

    def recurring(self, name, devices=None, content="{{Hi|Hello}} {{name}}, again.", **columns):
        """A recurring message, by default each second from now on; returns its id."""
        columns = {"user_id": self.user, "name": name, "content": content, "all_devices": 0 if devices else 1,
                   "freq": "interval", "every": 1, "time_zone": "UTC", **columns}
        times = ["created_at", "updated_at"] + [t for t in ("planned_after", "start_local") if t not in columns]
        self.sql.exec("START TRANSACTION")
        number = self._source("recurring_messages", "recurring_id", columns, times, devices)
        self.sql.exec("COMMIT")
        return number

    def statuses(self, campaign=None):
        where = f"WHERE campaign_id = {campaign}" if campaign else ""
        return {s: int(n) for s, n in
                self.sql.rows(f"SELECT status, COUNT(*) FROM broadcast_messages {where} GROUP BY status")}

    def settled(self):
        """Every campaign expanded and every row at its end (an unknown that waits for its policy is not)."""
        if self.sql.one("SELECT COUNT(*) FROM campaigns WHERE status IN ('scheduled', 'running') AND expanded_at IS NULL"):
            return False
        if self.sql.one("SELECT (SELECT COUNT(*) FROM recurring_message_logs WHERE status = 'expanding')"
                        " + (SELECT COUNT(*) FROM sequence_requests)"):
            return False
        return self.sql.one("SELECT COUNT(*) FROM broadcast_messages WHERE status IN ('pending', 'processing', 'queued')"
                            " OR (status = 'unknown' AND decide_at IS NOT NULL)") == 0

    def drain(self, seconds=60):
        """Waits for the end of everything: rows, and nothing left in Redis."""
        wait_until(self.settled, seconds, lambda: f"all rows to be settled: {self.statuses()}", 0.1)
        wait_until(lambda: not witness.redis_leftovers(self.redis), min(seconds, 30),
                   lambda: f"Redis to be empty: {witness.redis_leftovers(self.redis)}", 0.1)
        wait_until(lambda: self.sql.one("SELECT (SELECT COUNT(*) FROM campaigns WHERE status = 'running')"
                                        " + (SELECT COUNT(*) FROM recurring_message_logs WHERE status = 'running')") == 0,
                   min(seconds, 30), "the campaigns and runs to finish", 0.1)

    def ledger(self):
        files = [self.null_ledger] + ([self.stub.ledger] if self.stub else [])
        return witness.read_ledgers(files)

    def check(self, **options):
        """The three witnesses agree; see witness.check()."""
        return witness.check(self, **options)

    def log_lines(self, role=None):
        """All lines that the programs wrote."""
        out = []
        for name in sorted(os.listdir(self.folder)):
            if name.endswith(".log") and (role is None or name.startswith(role)):
                with open(os.path.join(self.folder, name), errors="replace") as f:
                    out += f.read().splitlines()
        return out


def quoted(value):
    value = str(value)
    if any(c in value for c in '"#;\\\n') or value != value.strip():
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
    return value


def literal(value):
    if value is None:
        return "NULL"
    if isinstance(value, (int, float)):
        return str(value)
    return "'" + str(value).replace("\\", "\\\\").replace("'", "''") + "'"


# --- the runner ---------------------------------------------------------------------------------------

TESTS = []


class TimeOut(Exception):
    pass


def test(function=None, *, seconds=120):
    def add(f):
        TESTS.append((f, seconds))
        return f
    return add(function) if function else add


def _run_in_child(function, seconds, output):
    """A test has a process of its own; what it leaves behind dies with it."""
    fd = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(fd, 1)
    os.dup2(fd, 2)
    os.setpgid(0, 0)
    die_with_parent()
    random.seed(SEED)

    def ring(*_):
        raise TimeOut(f"not done after {seconds} s")

    signal.signal(signal.SIGALRM, ring)
    signal.alarm(seconds)
    code = 1
    try:
        function()
        code = 0
    except BaseException:  # whatever it is, it is this test's failure
        traceback.print_exc(file=sys.stdout)
    sys.stdout.flush()
    os._exit(code)


def main(arguments=None):
    """Runs the tests whose names contain one of the arguments; T_JOBS of them at once (1)."""
    parts = sys.argv[1:] if arguments is None else arguments
    jobs = int(os.environ.get("T_JOBS", "1"))
    todo = [t for t in TESTS if not parts or any(p in t[0].__name__ for p in parts)]
    running, passed, failed = {}, 0, 0
    folder = tempfile.mkdtemp(prefix="pl-out-", dir="/tmp")
    print(f"seed {SEED}", flush=True)
    try:
        while todo or running:
            while todo and len(running) < jobs:
                function, seconds = todo.pop(0)
                output = os.path.join(folder, function.__name__)
                sys.stdout.flush()
                pid = os.fork()
                if pid == 0:
                    _run_in_child(function, seconds, output)
                running[pid] = (function.__name__, output, time.monotonic(), seconds)
            pid, status = os.waitpid(-1, os.WNOHANG)
            now = time.monotonic()
            if pid == 0:
                for late, (_, _, since, seconds) in running.items():
                    if now - since > seconds + 30:
                        os.kill(late, signal.SIGKILL)
                pause()
                continue
            name, output, since, _ = running.pop(pid)
            with open(output, errors="replace") as f:
                said = f.read()
            ok = status == 0
            passed, failed = passed + ok, failed + (not ok)
            print(f"{'ok' if ok else 'FAILED'} {name} ({now - since:.1f} s)")
            if said and (not ok or os.environ.get("T_VERBOSE")):
                print(said, end="" if said.endswith("\n") else "\n")
            sys.stdout.flush()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    print(f"{passed} passed, {failed} failed", flush=True)
    return 1 if failed or not passed else 0


def scenario(function):
    """Runs one scenario with whole numbers from the command line; it returns what is wrong."""
    print(f"seed {SEED}", flush=True)
    try:
        problems = function(*map(int, sys.argv[1:]))
    except AssertionError as e:
        problems = [str(e)]
    for p in problems[:20]:
        print("  ! " + p)
    print(f"\n  {'all as it should be' if not problems else f'{len(problems)} problems'}")
    return 1 if problems else 0
