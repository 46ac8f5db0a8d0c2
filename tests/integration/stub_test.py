#!/usr/bin/env python3
"""The provider stub on the wire: every action, the ledger, the control paths, hostile input.

    tests/integration/stub_test.py [name part ...]      B=build names the build folder, T_SEED the seed

The stub is the witness of all other suites, so this one talks to it with bare sockets and reads its
ledger with code of its own.  One file beyond the usual length, because it is one contract."""
import errno
import json
import os
import random
import resource
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import traceback

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
STUB = os.path.join(ROOT, os.environ.get("B", "build"), "tests", "provider-stub")
SEED = int(os.environ.get("T_SEED") or random.SystemRandom().randrange(1 << 32))
DEADLINE = 20.0
FIELDS = "arrival_us mono_us serial job attempt device recipient hash length verdict".split()
TESTS = []


def test(function):
    TESTS.append(function)
    return function


def equal(want, got, what=""):
    if want != got:
        raise AssertionError(f"{what or 'value'}: want {want!r}, got {got!r}")


def wait_for(condition, what):
    """Polls until the condition gives something true, and returns that."""
    until = time.monotonic() + DEADLINE
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > until:
            raise AssertionError(f"waited {DEADLINE:.0f} s for {what}")
        select.select([], [], [], 0.002)


def xxh64(data):
    """XXH64 with seed 0, written from its specification."""
    mask = (1 << 64) - 1
    p1, p2, p3 = 0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9
    p4, p5 = 0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5

    def rotate(x, r):
        return ((x << r) | (x >> (64 - r))) & mask

    def step(acc, lane):
        return rotate((acc + lane * p2) & mask, 31) * p1 & mask

    at, n = 0, len(data)
    if n >= 32:
        acc = [(p1 + p2) & mask, p2, 0, -p1 & mask]
        while n - at >= 32:
            acc = [step(a, lane) for a, lane in zip(acc, struct.unpack_from("<4Q", data, at))]
            at += 32
        h = sum(rotate(a, r) for a, r in zip(acc, (1, 7, 12, 18))) & mask
        for a in acc:
            h = ((h ^ step(0, a)) * p1 + p4) & mask
    else:
        h = p5
    h = (h + n) & mask
    while n - at >= 8:
        h = (rotate(h ^ step(0, struct.unpack_from("<Q", data, at)[0]), 27) * p1 + p4) & mask
        at += 8
    if n - at >= 4:
        h = (rotate(h ^ (struct.unpack_from("<I", data, at)[0] * p1 & mask), 23) * p2 + p3) & mask
        at += 4
    for byte in data[at:]:
        h = rotate(h ^ (byte * p5 & mask), 11) * p1 & mask
    h = (h ^ (h >> 33)) * p2 & mask
    h = (h ^ (h >> 29)) * p3 & mask
    return h ^ (h >> 32)


class Client:
    """One connection."""

    def __init__(self, address):
        self.socket = socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET)
        self.socket.settimeout(DEADLINE)
        self.socket.connect(address)
        self.data = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def more(self):
        """Reads on; False at the end of the stream."""
        got = self.socket.recv(1 << 20)
        self.data += got
        return bool(got)

    def end(self):
        """All bytes up to the end of the stream."""
        while self.more():
            pass
        return self.data

    def ended_by(self):
        """What ends the stream: "eof" or "reset"; no byte may come before it."""
        try:
            equal(b"", self.socket.recv(100), "bytes before the end")
            return "eof"
        except ConnectionResetError:
            return "reset"

    def head(self):
        while b"\r\n\r\n" not in self.data:
            if not self.more():
                raise AssertionError(f"the stream ended inside a head: {self.data!r}")
        head, self.data = self.data.split(b"\r\n\r\n", 1)
        line, *headers = head.decode().split("\r\n")
        return int(line.split()[1]), dict(h.split(": ", 1) for h in headers)

    def answer(self):
        """(status, headers, body) of one answer."""
        status, headers = self.head()
        n = int(headers.get("Content-Length", 0)) if status >= 200 else 0
        while len(self.data) < n:
            if not self.more():
                raise AssertionError(f"the stream ended inside a body, {len(self.data)} of {n}")
        body, self.data = self.data[:n], self.data[n:]
        return status, headers, body

    def call(self, *args, **kwargs):
        self.send(message(*args, **kwargs))
        return self.answer()


def message(job="job-1", body=b'{"text":"hello"}', device="d1", recipient="60123", attempt=1,
            json_type=True, headers=(), method="POST", version="1.1", length=True):
    lines = [f"{method} /messages HTTP/{version}", "Host: stub"]
    for name, value in (("Idempotency-Key", job), ("X-Attempt", attempt), ("X-Device", device),
                        ("X-Recipient", recipient)):
        if value is not None:
            lines.append(f"{name}: {value}")
    lines.append("Content-Type: application/json" if json_type else "Content-Type: text/plain")
    if length:
        lines.append(f"Content-Length: {len(body)}")
    lines += headers
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


class Stub:
    """One running provider, in a folder of its own."""

    def __init__(self, *rules, tcp=False, ledger="ledger", options=(), folder=None, limit=None):
        self.temporary = None if folder else tempfile.TemporaryDirectory(prefix="stub-test-")
        self.folder = folder or self.temporary.name
        self.ledger = os.path.join(self.folder, ledger)
        self.port_file = os.path.join(self.folder, "port")
        self.path = os.path.join(self.folder, "socket")
        self.listen = "127.0.0.1:0" if tcp else "unix:" + self.path
        argv = [STUB, "--listen", self.listen, "--port-file", self.port_file, "--ledger",
                self.ledger, "--seed", str(SEED), "--print-stats", "--log-level", "warn"]
        for rule in rules:
            argv += ["--rule", rule]
        env = dict(os.environ, UBSAN_OPTIONS="halt_on_error=1:print_stacktrace=1")
        self.process = subprocess.Popen(argv + list(options), stdout=subprocess.PIPE, env=env,
                                        preexec_fn=limit)
        # The address comes on stdout when the port file is there.
        ready = select.select([self.process.stdout], [], [], DEADLINE)[0]
        self.line = self.process.stdout.readline().decode().strip() if ready else ""
        self.address = self.path
        if tcp and self.line:
            self.address = ("127.0.0.1", int(self.line))

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        try:
            if self.process.poll() is None:
                code = self.stop()[0]
                if kind is None:
                    equal(0, code, "exit status")
            elif kind is None and self.process.returncode != -signal.SIGKILL:
                equal(0, self.process.returncode, "exit status")
        finally:
            self.process.stdout.close()
            if self.temporary:
                self.temporary.cleanup()

    def stop(self, how=signal.SIGTERM):
        """(exit status, statistics)"""
        self.process.send_signal(how)
        try:
            out = self.process.communicate(timeout=DEADLINE)[0]
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        return self.process.returncode, json.loads(out) if out else None

    def client(self):
        return Client(self.address)

    def lines(self):
        """The ledger: whole lines, each checked."""
        with open(self.ledger, "rb") as f:
            data = f.read()
        rows = []
        for line in data[:data.rfind(b"\n") + 1].decode("utf-8", "surrogateescape").split("\n")[:-1]:
            fields = line.split("\t")
            equal(len(FIELDS), len(fields), "fields of " + repr(line))
            rows.append(dict(zip(FIELDS, fields)))
        return rows

    def verdicts(self):
        return [row["verdict"] for row in self.lines()]

    def stats(self):
        with self.client() as c:
            c.send(b"GET /_stats HTTP/1.1\r\nHost: s\r\n\r\n")
            status, _, body = c.answer()
            equal(200, status)
            return json.loads(body)

    def control(self, *rules):
        with self.client() as c:
            body = "\n".join(rules).encode()
            c.send(b"POST /_control HTTP/1.1\r\nHost: s\r\nContent-Length: %d\r\n\r\n%s"
                   % (len(body), body))
            return c.answer()


def accepted(answer):
    """The serial in a good answer."""
    equal(200, answer[0], "status")
    body = json.loads(answer[2])
    equal("accepted", body["status"])
    return int(body["id"].removeprefix("stub-"))


# The ledger


@test
def a_message_is_accepted_and_in_the_ledger():
    before = time.time_ns() // 1000
    with Stub() as s, s.client() as c:
        equal("unix:" + s.path, s.line)
        with open(s.port_file) as f:
            equal(s.line + "\n", f.read())
        status, headers, body = c.call("job-42", attempt=3, device="dev-9", recipient="60129876543")
        equal((200, b'{"id":"stub-1","status":"accepted"}'), (status, body))
        equal("application/json", headers["Content-Type"])
        (row,) = s.lines()
        equal(["1", "job-42", "3", "dev-9", "60129876543", f"{xxh64(b'hello'):016x}", "5", "ok"],
              [row[f] for f in FIELDS[2:]])
        if not before <= int(row["arrival_us"]) <= time.time_ns() // 1000:
            raise AssertionError("arrival time is off")
        if not 0 < int(row["mono_us"]) <= time.monotonic_ns() // 1000:
            raise AssertionError("monotonic time is off")


@test
def the_text_is_found_in_every_kind_of_body():
    equal(0xEF46DB3751D8E999, xxh64(b""))
    long = bytes(range(32, 33)) + b"x\xc3\xa9" * 100
    cases = [
        (True, b'{"text":"hi"}', b"hi"),
        (True, b' { "to" : "1", "n":[1,{"text":"no"},"]"], "text" : "a\\"b\\\\" }', b'a\\"b\\\\'),
        (True, b'{"o":{"text":"inner"},"text":"outer"}', b"outer"),
        (True, b'{"text":{"preview":false,"body":"cloud"}}', b"cloud"),
        (True, b'{"text":""}', b""),
        (True, b'{"text":5}', b'{"text":5}'),
        (True, b'{"message":"m"}', b'{"message":"m"}'),
        (True, b'{"text":"open', b'{"text":"open'),
        (True, b'{"text":"esc\\', b'{"text":"esc\\'),
        (True, b'{"a":}}}}', b'{"a":}}}}'),
        (True, b"{", b"{"),
        (True, b'["text","x"]', b'["text","x"]'),
        (True, b"", b""),
        (False, b'{"text":"hi"}', b'{"text":"hi"}'),
        (False, b"\x00\xff\t\r\n", b"\x00\xff\t\r\n"),
        (False, long, long),
    ]
    with Stub() as s, s.client() as c:
        for is_json, body, _ in cases:
            accepted(c.call(body=body, json_type=is_json))
        for (_, body, text), row in zip(cases, s.lines(), strict=True):
            equal((f"{xxh64(text):016x}", str(len(text))), (row["hash"], row["length"]), repr(body))


@test
def missing_headers_are_dashes():
    with Stub() as s, s.client() as c:
        accepted(c.call(None, device=None, recipient=None, attempt=""))
        equal(["-"] * 4, [s.lines()[0][f] for f in ("job", "attempt", "device", "recipient")])


@test
def a_line_is_in_the_ledger_before_the_first_byte_of_its_answer():
    with Stub() as s, s.client() as c:
        for i in range(300):
            c.send(message(f"j{i}"))
            c.data += c.socket.recv(1)
            with open(s.ledger, "rb") as f:
                equal(i + 1, f.read().count(b"\n"), "lines at the first byte")
            equal(i + 1, accepted(c.answer()))


@test
def a_ledger_that_cannot_be_written_is_answered_503():
    with tempfile.TemporaryDirectory() as folder:
        os.symlink("/dev/full", os.path.join(folder, "ledger"))
        with Stub("device:n=never", "device:r=reset-after", folder=folder) as s, s.client() as c:
            for device in ("d", "n", "r", "d"):
                equal(503, c.call(device=device)[0])
            stats = s.stats()
            equal((0, 4, 0), (stats["received"], stats["lost"], stats["answered"]))


def file_limit(n):
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (n, resource.RLIM_INFINITY))


@test
def a_full_disk_leaves_whole_lines_and_heals():
    with Stub(limit=file_limit(1500)) as s, s.client() as c:
        n = 60
        c.send(b"".join(message(f"full-{i}") for i in range(n)))
        answers = [c.answer() for _ in range(n)]
        jobs = [row["job"] for row in s.lines()]
        good = [f"full-{i}" for i, a in enumerate(answers) if a[0] == 200]
        equal(good, jobs, "answered 200 and recorded")
        equal({200, 503}, {a[0] for a in answers})
        with open(s.ledger, "rb") as f:
            equal(b"\n", f.read()[-1:], "last byte of the ledger")
        resource.prlimit(s.process.pid, resource.RLIMIT_FSIZE,
                         (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        equal(n + 1, accepted(c.call("healed")))
        equal(jobs + ["healed"], [row["job"] for row in s.lines()])
        equal(n - len(good), s.stats()["lost"])


@test
def a_provider_that_comes_back_goes_on_counting():
    with tempfile.TemporaryDirectory() as folder:
        with Stub(folder=folder) as s, s.client() as c:
            for serial in (1, 2, 3):
                equal(serial, accepted(c.call()))
            s.stop(signal.SIGKILL)
        with open(s.ledger, "ab") as f:
            f.write(b"1700000000000000\t12345\t4\ttorn")
        with Stub(folder=folder) as s, s.client() as c:
            equal(4, accepted(c.call()))
            equal(["1", "2", "3", "4"], [row["serial"] for row in s.lines()])


@test
def a_ledger_has_one_writer_and_other_files_are_left_alone():
    with Stub() as s:
        with Stub(folder=s.folder, options=("--listen", "127.0.0.1:0")) as other:
            equal(("", 1), (other.line, other.process.wait(DEADLINE)))
            other.process.returncode = 0
    for content in (b"some text", b"a\tb\n", b"x" * 20000):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "ledger")
            with open(path, "wb") as f:
                f.write(content)
            with Stub(folder=folder) as other:
                equal(("", 1), (other.line, other.process.wait(DEADLINE)))
                other.process.returncode = 0
            with open(path, "rb") as f:
                equal(content, f.read())


@test
def every_answer_seen_before_a_kill_is_in_the_ledger():
    with Stub() as s:
        clients = [s.client() for _ in range(20)]
        for i, c in enumerate(clients):
            c.send(b"".join(message(f"k{i}-{j}") for j in range(200)))
        seen = [accepted(clients[0].answer())]
        s.process.kill()
        s.process.wait(DEADLINE)
        for c in clients:
            try:
                c.end()
            except ConnectionResetError:
                pass
            c.socket.close()
            seen += [int(part.split(b'"')[0]) for part in c.data.split(b'"stub-')[1:]]
        serials = {int(row["serial"]) for row in s.lines()}
        equal(set(), set(seen) - serials, "answered but not recorded")


# The protocol


@test
def a_request_may_come_in_any_pieces():
    with Stub() as s, s.client() as c:
        whole = message("pieces", headers=["Connection: keep-alive"])
        for i in range(len(whole)):
            c.send(whole[i:i + 1])
        equal(1, accepted(c.answer()))
        rng = random.Random(SEED)
        stream = b"".join(message(f"p{i}") for i in range(50))
        while stream:
            n = rng.randrange(1, 400)
            c.send(stream[:n])
            stream = stream[n:]
        equal(list(range(2, 52)), [accepted(c.answer()) for _ in range(50)])
        equal(["pieces"] + [f"p{i}" for i in range(50)], [row["job"] for row in s.lines()])


def chunked(body, size, trailer=b""):
    parts = [body[i:i + size] for i in range(0, len(body), size)]
    return b"".join(b"%X;x=1\r\n%s\r\n" % (len(p), p) for p in parts) + b"0\r\n" + trailer + b"\r\n"


@test
def chunked_bodies_are_put_together():
    body = b'{"text":"' + b"0123456789" * 50 + b'"}'
    head = message(body=b"", length=False, headers=["Transfer-Encoding: chunked"])
    with Stub() as s, s.client() as c:
        for size in (1, 7, 1000):
            c.send(head + chunked(body, size))
            accepted(c.answer())
        whole = head + chunked(body, 100, b"X-Sum: 1\r\n")
        for i in range(len(whole)):
            c.send(whole[i:i + 1])
        accepted(c.answer())
        c.send((head + chunked(body, 9)) * 20)
        for _ in range(20):
            accepted(c.answer())
        c.send(head + chunked(b"", 1))
        accepted(c.answer())
        text = b"0123456789" * 50
        rows = s.lines()
        equal({(f"{xxh64(text):016x}", "500")}, {(r["hash"], r["length"]) for r in rows[:-1]})
        equal(("0", 25), (rows[-1]["length"], len(rows)))


@test
def bodies_up_to_a_megabyte_are_taken():
    limit = 1 << 20
    head = message(body=b"", length=False, headers=["Transfer-Encoding: chunked"], json_type=False)
    with Stub() as s:
        with s.client() as c:
            accepted(c.call(body=b"a" * limit, json_type=False))
            c.send(head + chunked(b"b" * limit, 65536))
            accepted(c.answer())
        equal([f"{xxh64(x * limit):016x}" for x in (b"a", b"b")], [r["hash"] for r in s.lines()])
        with s.client() as c:
            c.send(message(headers=[f"Content-Length: {limit + 1}"], length=False, body=b""))
            equal(413, c.answer()[0])
            equal(b"", c.end())
        with s.client() as c:
            c.send(head + chunked(b"b" * limit, 65536)[:-5] + b"1\r\n")
            equal(413, c.answer()[0])
        equal(2, len(s.lines()))


@test
def pipelined_requests_are_answered_in_order():
    with Stub("job:slow=late:30", "job:drip=dribble:1") as s, s.client() as c:
        jobs = [f"j{i}" for i in range(3000)]
        jobs[100], jobs[200] = "slow", "drip"
        c.send(b"".join(map(message, jobs)))
        equal(list(range(1, 3001)), [accepted(c.answer()) for _ in jobs])
        equal(jobs, [row["job"] for row in s.lines()])


@test
def a_client_that_does_not_read_is_not_read_either():
    total = 60000
    with Stub() as s, s.client() as c, s.client() as other:
        data = memoryview(message() * total)
        c.socket.setblocking(False)
        stalled = False
        while data and not stalled:
            stalled = not select.select([], [c.socket], [], 0.5)[1]
            if not stalled:
                data = data[c.socket.send(data[:1 << 16]):]
        equal(True, stalled, "the client is stalled")
        with open(f"/proc/{s.process.pid}/status") as f:
            peak = int(next(x for x in f if x.startswith("VmRSS")).split()[1])
        if "address" not in STUB and peak > 32 * 1024:
            raise AssertionError(f"the stub holds {peak} KB for one connection")
        accepted(other.call())
        answers = 0
        tail = b""
        while answers < total:
            readable, writable, _ = select.select([c.socket], [c.socket] if data else [], [], DEADLINE)
            if writable:
                data = data[c.socket.send(data[:1 << 16]):]
            if readable:
                got = tail + c.socket.recv(1 << 20)
                answers += got.count(b'"accepted"')
                tail = got[got.rfind(b'"accepted"') + 10:] if b'"accepted"' in got else got
            if not readable and not writable:
                raise AssertionError(f"stuck after {answers} answers")


@test
def expectations_are_met():
    body = b'{"text":"x"}'
    with Stub("job:no=reset-before") as s:
        with s.client() as c:
            whole = message(body=body, headers=["Expect: 100-continue"])
            c.send(whole[:-len(body)])
            equal((100, {}, b""), c.answer())
            equal([], s.lines())
            c.send(body)
            equal(1, accepted(c.answer()))
            c.send(message() + whole)
            equal([200, 100, 200], [c.answer()[0] for _ in range(3)])
        with s.client() as c:
            equal(417, c.call(headers=["Expect: tea"])[0])
        with s.client() as c:
            c.send(message("no", headers=["Expect: 100-continue"])[:-5])
            c.ended_by()


@test
def connections_end_when_the_client_says_so():
    with Stub() as s:
        with s.client() as c:
            answer = c.call(headers=["Connection: close"])
            accepted(answer)
            equal("close", answer[1]["Connection"])
            equal(b"", c.end())
        with s.client() as c:
            accepted(c.call(version="1.0"))
            equal(b"", c.end())
        with s.client() as c:
            accepted(c.call(version="1.0", headers=["Connection: Keep-Alive"]))
            accepted(c.call())
            c.send(message(headers=["Connection: close"]) + message("after"))
            accepted(c.answer())
            equal(b"", c.end(), "an answer after the last one")
        with s.client() as c:
            c.send(message("half") * 2 + message()[:-3])
            c.socket.shutdown(socket.SHUT_WR)
            accepted(c.answer())
            accepted(c.answer())
            equal(b"", c.end())
        equal(7, len(s.lines()))
        wait_for(lambda: s.stats()["open_connections"] == 1, "closed connections")


@test
def requests_that_are_no_http_are_refused():
    cases = [
        (400, b"GARBAGE\r\n\r\n"),
        (400, b"GET /\r\n\r\n"),
        (400, b"GET / HTTP/1.1\n\n"),
        (400, b"G(T / HTTP/1.1\r\n\r\n"),
        (400, b"GET x HTTP/1.1\r\n\r\n"),
        (400, b"GET / HTTP/1.1\r\nA b: c\r\n\r\n"),
        (400, b"GET / HTTP/1.1\r\nA: c\r\n folded\r\n\r\n"),
        (400, b"GET / HTTP/1.1\r\nA: \x00\r\n\r\n"),
        (400, b"GET / HTTP/1.1\r\n: x\r\n\r\n"),
        (400, b"GET / HTTP/1.1\r\nContent-Length: 1x\r\n\r\n"),
        (400, b"GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n"),
        (400, b"GET / HTTP/1.1\r\nContent-Length:\r\n\r\n"),
        (400, b"GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n"),
        (400, b"GET / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"),
        (400, b"GET / HTTP/1.1\r\nIdempotency-Key: a\tb\r\n\r\n"),
        (400, b"GET / HTTP/1.1\r\nIdempotency-Key: a\r\nIdempotency-Key: a\r\n\r\n"),
        (400, b"GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n"),
        (400, b"GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n\r\n"),
        (400, b"GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n"),
        (413, b"GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n"),
        (413, b"GET / HTTP/1.1\r\nContent-Length: 99999999999999999999999\r\n\r\n"),
        (414, b"GET /" + b"x" * 400 + b" HTTP/1.1\r\n\r\n"),
        (431, b"GET / HTTP/1.1\r\nX-Device: " + b"x" * 200 + b"\r\n\r\n"),
        (431, b"GET / HTTP/1.1\r\nA: " + b"x" * 17000),
        (431, b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 4000),
        (501, b"HEAD / HTTP/1.1\r\n\r\n"),
        (501, b"GET / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n"),
        (501, b"GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"),
        (505, b"GET / HTTP/2.0\r\n\r\n"),
    ]
    for tcp in (False, True):
        with Stub(tcp=tcp) as s:
            for status, data in cases:
                with s.client() as c:
                    try:
                        c.send(data + b"and more that nobody will read")
                    except BrokenPipeError:
                        pass
                    got = c.answer()
                    equal((status, "close"), (got[0], got[1]["Connection"]), repr(data[:80]))
                    equal(b"", c.end())
                    if not json.loads(got[2])["error"]:
                        raise AssertionError("no reason")
            equal([], s.lines())
            equal(len(cases), s.stats()["bad_requests"])


# The actions


@test
def status_answers_as_told():
    body = '{"error":{"code":131026,"text":"a=b,c"}}'
    with Stub("device:a=status:400:" + body, "device:b=status:500", "device:c=status:429",
              "device:d=status:204", "device:e=status:401", "device:f=throttle:7",
              "device:g=status:202") as s, s.client() as c:
        status, _, got = c.call(device="a")
        equal((400, body), (status, got.decode()))
        equal(500, c.call(device="b")[0])
        equal((429, None), (lambda a: (a[0], a[1].get("Retry-After")))(c.call(device="c")))
        equal((204, {}, b""), c.call(device="d"))
        equal({"error": {"code": 401, "message": "refused by rule"}},
              json.loads(c.call(device="e")[2]))
        status, headers, got = c.call(device="f")
        equal((429, "7"), (status, headers["Retry-After"]))
        json.loads(got)
        status, _, got = c.call(device="g")
        equal((202, "accepted"), (status, json.loads(got)["status"]))
        accepted(c.call())
        equal(["reject:400", "retry:500", "retry:429", "status:204", "reject:401", "retry:429",
               "status:202", "ok"], s.verdicts())


@test
def late_answers_after_its_time():
    with Stub("device:l=late:150") as s, s.client() as c, s.client() as other:
        start = time.monotonic()
        c.send(message(device="l"))
        wait_for(lambda: s.verdicts() == ["ok:late"], "the line")
        accepted(other.call())
        equal(1, accepted(c.answer()))
        if time.monotonic() - start < 0.14:
            raise AssertionError("too early")
        accepted(c.call())
        with s.client() as gone:
            gone.send(message(device="l"))
        wait_for(lambda: s.stats()["open_connections"] == 3, "the end of a client that left")


@test
def never_answers_nothing():
    with Stub("device:n=never") as s, s.client() as c, s.client() as other:
        c.send(message(device="n") + message("behind"))
        wait_for(lambda: s.verdicts() == ["drop:never"], "the line")
        for _ in range(20):
            accepted(other.call())
        c.send(message("later"))
        equal([], select.select([c.socket], [], [], 0)[0], "bytes from a mute connection")
        equal(21, len(s.lines()))
        equal(3, s.stats()["open_connections"])
        c.socket.close()
        wait_for(lambda: s.stats()["open_connections"] == 2, "the end of the connection")


@test
def odd_bodies_are_odd():
    with Stub("device:g=garbage", "device:w=wrong-type", "device:t=truncated", "device:h=huge") as s:
        with s.client() as c:
            status, _, body = c.call(device="g")
            equal(200, status)
            try:
                json.loads(body)
                raise AssertionError("the garbage is JSON")
            except json.JSONDecodeError:
                pass
            status, _, body = c.call(device="w")
            equal((200, list), (status, type(json.loads(body))))
            accepted(c.call())
            c.send(message(device="t"))
            status, headers = c.head()
            body = c.end()
            equal(200, status)
            if not 0 < len(body) < int(headers["Content-Length"]):
                raise AssertionError(f"not truncated: {len(body)} {headers}")
        with s.client() as c:
            c.send(message(device="h"))
            status, headers = c.head()
            n = int(headers["Content-Length"])
            equal(50 << 20, n)
            got = len(c.data)
            while got < n:
                part = c.socket.recv(1 << 20)
                equal(True, bool(part), "the huge body goes on")
                got += len(part)
            equal(n, got)
            c.data = b""
            accepted(c.call())
        with s.client() as c:
            c.send(message(device="h"))
            c.head()
        equal(["odd:garbage", "odd:wrong-type", "ok", "odd:truncated", "odd:huge", "ok", "odd:huge"],
              s.verdicts())
        wait_for(lambda: s.stats()["open_connections"] == 1, "closed connections")


@test
def slow_answers_come_byte_by_byte():
    for tcp in (False, True):
        with Stub("device:d=dribble:1", "device:s=slow-headers:1", tcp=tcp) as s, s.client() as c:
            for device in ("d", "s"):
                c.send(message(device=device))
                sizes, data = [], b""
                while not data.endswith(b'"accepted"}'):
                    part = c.socket.recv(65536)
                    equal(True, bool(part))
                    sizes.append(len(part))
                    data += part
                slow = len(data) if device == "d" else data.index(b"\r\n\r\n") + 4
                # A loaded machine may let a few bytes arrive together.
                if len(sizes) < slow / 4 or (device == "s" and len(sizes) > slow + 1):
                    raise AssertionError(f"{len(sizes)} pieces for {slow} slow bytes")
            accepted(c.call())
            equal(["ok:dribble", "ok:slow-headers", "ok"], s.verdicts())
            equal(3, s.stats()["answered"])


@test
def resets_reset():
    with Stub("device:a=reset-after", "device:b=reset-before", tcp=True) as s:
        for device in ("a", "b"):
            with s.client() as c:
                c.send(message(device=device))
                equal("reset", c.ended_by())
        with s.client() as c:
            c.send(message(device="b", body=b"x" * 100000)[:300])
            equal("reset", c.ended_by())
        equal(["drop:reset-after"], s.verdicts())
        stats = s.stats()
        equal((1, 2, 0), (stats["received"], stats["unread"], stats["answered"]))
        equal({"drop:reset-after": 1, "unread:reset-before": 2}, stats["verdicts"])
    with Stub("device:a=reset-after", "device:b=reset-before") as s:
        for device in ("a", "b"):
            with s.client() as c:
                c.send(message(device=device))
                c.ended_by()
        equal(["drop:reset-after"], s.verdicts())


@test
def a_kept_connection_is_closed_after_reading():
    for tcp in (False, True):
        with Stub("kept=close-after-read", tcp=tcp) as s:
            for i in range(50):
                with s.client() as c:
                    accepted(c.call(f"first-{i}"))
                    c.send(message(f"second-{i}"))
                    equal("eof", c.ended_by())
            equal(["ok", "drop:close-after-read"] * 50, s.verdicts())
            equal(50, s.stats()["answered"])


@test
def what_was_answered_before_a_fault_arrives():
    for tcp in (False, True):
        with Stub("device:a=reset-after", "device:b=reset-before", "device:c=close-after-read",
                  "device:t=truncated", tcp=tcp) as s:
            for device in "abct":
                with s.client() as c:
                    c.send(message() * 100 + message(device=device) + message("unread"))
                    for _ in range(100):
                        accepted(c.answer())
                    try:
                        equal(device == "t", b"accepted" in c.end())
                    except ConnectionResetError:
                        pass
            want = ["drop:reset-after", "drop:close-after-read", "odd:truncated"]
            equal(want, [v for v in s.verdicts() if v != "ok"])
            equal(403, len(s.lines()))


# The rules


@test
def the_first_rule_that_matches_decides():
    with Stub("device:a,nth:3=status:500", "recipient:99,first:2=status:400", "attempt:1,job:x=garbage",
              "nth:4=wrong-type", "p:0=never", "all,first:1=throttle:1") as s, s.client() as c:
        for _ in range(7):
            c.call(device="a", recipient="1")
        verdicts = s.verdicts()
        equal(["retry:500" if i % 3 == 2 else None for i in range(7)],
              [v if v == "retry:500" else None for v in verdicts])
        equal("retry:429", verdicts[0])
        for _ in range(3):
            c.call(recipient="6099")
        equal(["reject:400", "reject:400"], s.verdicts()[7:9])
        c.call("x", attempt=1)
        c.call("x", attempt=2)
        equal("odd:garbage", s.verdicts()[10])
        stats = s.stats()
        equal([2, 2, 1], [r["matched"] for r in stats["rules"][:3]])
        equal(12, stats["received"])
        equal(12, sum(stats["verdicts"].values()))
        equal(1, stats["verdicts"]["retry:429"])


@test
def chances_are_kept_and_can_be_repeated():
    runs = []
    for _ in range(2):
        with Stub("p:0.25=status:500") as s, s.client() as c:
            c.send(message() * 4000)
            runs.append([c.answer()[0] for _ in range(4000)])
    equal(runs[0], runs[1], "two runs with one seed")
    share = runs[0].count(500) / 4000
    if not 0.20 < share < 0.30:
        raise AssertionError(f"p:0.25 fired {share}")


@test
def rules_are_replaced_at_run_time():
    with Stub("all=status:500") as s, s.client() as c:
        equal(500, c.call()[0])
        equal((200, {"rules": 2}), (lambda a: (a[0], json.loads(a[2])))(
            s.control("# comment", "", "device:q=status:400", "first:1=status:418:{\"a\":1}\r")))
        equal([418, 200, 400], [c.call(device=d)[0] for d in ("d", "d", "q")])
        status, _, body = s.control("all=ok", "device:q=explode")
        equal((400, {"error": 'line 2: unknown action "explode"'}), (status, json.loads(body)))
        equal(400, c.call(device="q")[0], "the old rules stay")
        equal((200, b'{"rules":0}'), (lambda a: (a[0], a[2]))(s.control()))
        equal(200, c.call(device="q")[0])
        for request, want in ((b"PUT /_control", 405), (b"GET /_control", 200), (b"GET /_x", 404)):
            c.send(request + b" HTTP/1.1\r\n\r\n")
            equal(want, c.answer()[0])
        equal(6, len(s.lines()), "own paths are not in the ledger")
        # In one stream, and with a late answer under way whose rule goes.
        s.control("all=late:50")
        c.send(message())
        wait_for(lambda: len(s.lines()) == 7, "the line")
        s.control("all=status:400:gone")
        equal(200, c.answer()[0])
        body = b"all=garbage"
        c.send(message() + b"POST /_control HTTP/1.1\r\nContent-Length: %d\r\n\r\n%s"
               % (len(body), body) + message())
        equal([b"gone", b'{"rules":1}'], [c.answer()[2] for _ in range(2)])
        c.answer()
        equal(["reject:400", "odd:garbage"], s.verdicts()[7:])


@test
def bad_arguments_are_refused():
    bad_rules = ["", "all", "=ok", "all=", "all=ok:1", "all:1=ok", "p=ok", "p:2=ok", "p:nan=ok",
                 "p:0.5x=ok", "nth:0=ok", "nth:x=ok", "first:=ok", "device=ok", "device:=ok",
                 "what:1=ok", "all=late", "all=late:x", "all=late:99999999999", "all=dribble:0",
                 "all=status", "all=status:99", "all=status:600", "all=status:2x", "all=slow-headers:",
                 "all,=ok", ",".join(["kept"] * 9) + "=ok", "all=ok" + " " * 5000]
    arguments = [["--rule", r] for r in bad_rules]
    arguments += [["--seed", "x"], ["--log-level", "loud"], ["--listen", "nowhere"], ["extra"],
                  ["--listen", "127.0.0.1:70000"], ["--listen", "unix:"], ["--unknown"],
                  ["--listen", "unix:/" + "x" * 200]]
    for more in arguments:
        done = subprocess.run([STUB, "--listen", "127.0.0.1:0"] + more, capture_output=True,
                              timeout=DEADLINE)
        equal((2, b""), (done.returncode, done.stdout), str(more)[:80])
    equal(0, subprocess.run([STUB, "--help"], capture_output=True, timeout=DEADLINE).returncode)
    equal(2, subprocess.run([STUB], capture_output=True, timeout=DEADLINE).returncode)


# The process


@test
def statistics_count():
    with Stub("device:n=never") as s:
        with s.client() as a, s.client() as b:
            accepted(a.call())
            b.send(message(device="n"))
            wait_for(lambda: len(s.lines()) == 2, "the lines")
            stats = s.stats()
            equal((2, 1, 3), (stats["received"], stats["answered"], stats["open_connections"]))
            equal({"ok": 1, "drop:never": 1}, stats["verdicts"])
            equal([{"rule": "device:n=never", "matched": 1}], stats["rules"])


@test
def sigterm_ends_it_cleanly():
    for how in (signal.SIGTERM, signal.SIGINT):
        with Stub("device:l=late:60000", "device:n=never", "device:d=dribble:5000", "device:h=huge") as s:
            clients = [s.client() for _ in range(5)]
            for c, device in zip(clients, "lndhx"):
                c.send(message(device=device))
            wait_for(lambda: len(s.lines()) == 5, "the lines")
            code, stats = s.stop(how)
            equal((0, 5, 0), (code, stats["received"], stats["open_connections"]))
            equal([False, False], [os.path.exists(s.port_file), os.path.exists(s.path)])
            for c in clients:
                c.socket.close()


@test
def a_stale_socket_is_replaced_and_a_live_one_is_not():
    with tempfile.TemporaryDirectory() as folder:
        with Stub(folder=folder) as s:
            s.stop(signal.SIGKILL)
        equal(True, os.path.exists(s.path))
        with Stub(folder=folder) as s, s.client() as c:
            with Stub(folder=folder, options=("--ledger", os.path.join(folder, "two"))) as other:
                equal(("", 1), (other.line, other.process.wait(DEADLINE)))
                other.process.returncode = 0
            accepted(c.call())
    with Stub(tcp=True) as s:
        with open(s.port_file) as f:
            equal(s.address[1], int(f.read()))


def descriptor_limit():
    resource.setrlimit(resource.RLIMIT_NOFILE, (24, 24))


@test
def without_descriptors_clients_wait():
    with Stub(limit=descriptor_limit) as s:
        clients = [s.client() for _ in range(60)]
        for i, c in enumerate(clients):
            c.send(message(f"e{i}"))
        done = 0
        while clients:
            ready = select.select([c.socket for c in clients], [], [], DEADLINE)[0]
            equal(True, bool(ready), f"progress after {done} clients")
            for c in [c for c in clients if c.socket in ready]:
                accepted(c.answer())
                c.socket.close()
                clients.remove(c)
                done += 1
        equal({f"e{i}" for i in range(60)}, {row["job"] for row in s.lines()})


@test
def thousands_of_connections_are_served():
    n = 3000
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    want = n + 100
    if hard != resource.RLIM_INFINITY and hard < want:
        n, want = hard - 100, hard
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, want), hard))
    with Stub("nth:2=late:20") as s:
        clients = []
        for i in range(n):
            clients.append(s.client())
            clients[-1].send(message(f"t{i}"))
        for c in clients:
            accepted(c.answer())
        equal(n + 1, s.stats()["open_connections"])
        for c in clients:
            c.send(message("again"))
        for c in clients:
            accepted(c.answer())
            c.socket.close()
        equal(2 * n, len(s.lines()))
        wait_for(lambda: s.stats()["open_connections"] == 1, "closed connections")


@test
def hostile_bytes_do_no_harm():
    rng = random.Random(SEED)
    rules = ["p:0.03=late:1", "p:0.03=truncated", "p:0.03=reset-after", "p:0.03=reset-before",
             "p:0.03=dribble:1", "p:0.03=close-after-read", "p:0.03=never", "p:0.03=status:400:x"]
    head = message(body=b"", length=False, headers=["Transfer-Encoding: chunked"])
    seeds = [message(), message(headers=["Expect: 100-continue"]), message() * 5,
             head + chunked(b'{"text":"chunk"}' * 5, 6), message(headers=["Connection: close"]),
             b"GET /_stats HTTP/1.1\r\n\r\n", message(version="1.0"),
             message(body=b'{"a":[{"text":"\\"' * 8)]
    for tcp in (False, True):
        with Stub(*rules, tcp=tcp) as s:
            for _ in range(1500):
                data = bytearray(b"".join(rng.choices(seeds, k=rng.randrange(1, 4))))
                for _ in range(rng.choice((0, 1, 2, 8))):
                    at = rng.randrange(len(data))
                    what = rng.randrange(4)
                    if what == 0:
                        data[at] = rng.randrange(256)
                    elif what == 1:
                        del data[at:at + rng.randrange(1, 30)]
                    elif what == 2:
                        data[at:at] = rng.randbytes(rng.randrange(1, 20))
                    else:
                        data[at:at] = rng.choice((b"\r\n", b"\n", b"0\r\n\r\n", b"\x00", b":", b" "))
                    data = data or bytearray(b"\n")
                if rng.random() < 0.1:
                    data = bytearray(rng.randbytes(rng.randrange(1, 3000)))
                with s.client() as c:
                    try:
                        cut = rng.randrange(len(data) + 1)
                        c.send(data[:cut])
                        if rng.random() < 0.2:
                            continue
                        c.send(data[cut:])
                        c.socket.shutdown(socket.SHUT_WR)
                        c.end()
                    except OSError as e:
                        equal(True, e.errno in (errno.EPIPE, errno.ECONNRESET, errno.ENOTCONN), str(e))
            wait_for(lambda: s.stats()["open_connections"] == 1, "closed connections")
            stats = s.stats()
            equal(stats["received"], len(s.lines()))
            equal(0, stats["lost"])
            s.control()
            with s.client() as c:
                accepted(c.call())


def main(parts):
    passed = failed = 0
    for function in TESTS:
        name = function.__name__
        if parts and not any(part in name for part in parts):
            continue
        try:
            function()
            passed += 1
        except Exception:  # a test that fails in any way is a failure, and the others go on
            failed += 1
            print(f"FAILED {name} (T_SEED={SEED})")
            traceback.print_exc(file=sys.stdout)
        sys.stdout.flush()
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
