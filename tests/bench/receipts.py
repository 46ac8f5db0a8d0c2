#!/usr/bin/env python3
"""Webhooks a second that `paceline receipts` checks, writes durably and answers, one event each, over connections that
stay; beside it what MySQL takes in single inserts, and what the HTTP server answers without writing anything.  Then how
fast the reaper applies what has come.

    tests/bench/receipts.py [REQUESTS [CLIENTS [CONNECTIONS]]]      40000 requests of 2 clients with 32 connections each"""
import json
import multiprocessing
import os
import socket
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "integration"))

from harness import Fleet, wait_until  # noqa: E402  (the path comes first)
from receipts import Receipts, signature, status, statuses  # noqa: E402

REQUESTS, CLIENTS, CONNECTIONS = (list(map(int, sys.argv[1:4])) + [40000, 2, 32][len(sys.argv) - 1:])[:3]
OPTIONS = ("--innodb-buffer-pool-size=1G", "--innodb-log-file-size=512M")


def requests(server, first, n, path=None):
    for i in range(first, first + n):
        word = ("sent", "delivered", "read")[i % 3]
        data = json.dumps(statuses(status(f"wamid.HBgLNjAxMjM0NTY3ODkVAgARGBI5QTNDQTVCM0Q0Q0Q2RTY3RTcA{i // 3}", word, tag=f"bench-{i // 3}:1",
                                          pricing={"billable": True, "pricing_model": "PMP", "category": "marketing"}))).encode()
        yield server.head("meta", data, signature("meta", data), path=path, close=False) + data


def client(address, todo, want, pipe):
    """A request on each connection, then their answers, and so on."""
    sockets = [socket.create_connection(address) for _ in range(CONNECTIONS)]
    pipe.send("ready")
    pipe.recv()
    for at in range(0, len(todo), CONNECTIONS):
        some = todo[at:at + CONNECTIONS]
        for s, data in zip(sockets, some):
            s.sendall(data)
        for s, _ in zip(sockets, some):
            got = s.recv(4096)
            while b"}" not in got:
                got += s.recv(4096)
            assert got.startswith(want), got
    pipe.send("done")


def drive(server, n, want, path=None):
    """Requests a second."""
    pipes, each = [], n // CLIENTS
    for c in range(CLIENTS):
        ours, theirs = multiprocessing.Pipe()
        todo = list(requests(server, c * each, each, path))
        multiprocessing.Process(target=client, args=(server.address, todo, want, theirs), daemon=True).start()
        pipes.append(ours)
    for p in pipes:
        p.recv()
    began = time.monotonic()
    for p in pipes:
        p.send("go")
    for p in pipes:
        p.recv()
    return each * CLIENTS / (time.monotonic() - began)


def single_inserts(fleet, n):
    """Rows a second over one connection, a commit each."""
    began = time.monotonic()
    for i in range(n):
        fleet.sql.exec("INSERT INTO receipts (user_id, section, kind, provider_message_id, happened_at, received_at, due_at) VALUES"
                       f" (9, 'raw', 'sent', 'raw.{i}', UTC_TIMESTAMP(3), UTC_TIMESTAMP(3), UTC_TIMESTAMP(3))")
    rate = n / (time.monotonic() - began)
    fleet.sql.exec("DELETE FROM receipts WHERE user_id = 9")
    return rate


def apply(fleet, n):
    """Lines a second that the reaper applies; each message has three."""
    fleet.sql.exec("INSERT INTO broadcast_messages (job_id, user_id, device_id, kind, recipient_phone, content, scheduled_at, status, gen, attempt,"
                   " created_at, updated_at) SELECT CONCAT('bench-', seq - 1), 1, 1, 'direct', CONCAT('6012', seq), 'x', UTC_TIMESTAMP(3),"
                   f" IF(seq % 10, 'sent', 'unknown'), 1, 1, UTC_TIMESTAMP(3), UTC_TIMESTAMP(3) FROM seq_1_to_{n // 3 + 1}")
    fleet.spawn("reaper")
    wait_until(lambda: fleet.sql.one("SELECT COUNT(*) FROM receipts WHERE state <> 'new'") > 0, 30, "the first", 0.01)
    began, done = time.monotonic(), fleet.sql.one("SELECT COUNT(*) FROM receipts WHERE state <> 'new'")
    wait_until(lambda: not fleet.sql.rows("SELECT id FROM receipts WHERE state = 'new' LIMIT 1"), 300, "the last", 0.05)
    rate = (n - done) / (time.monotonic() - began)
    left = fleet.sql.one("SELECT COUNT(*) FROM broadcast_messages WHERE status = 'unknown'")
    assert left <= 1, f"{left} unknown messages are left"
    return rate


def main():
    with Fleet(stub=False, durable=True, mysql_options=OPTIONS, conf={"all": {"log_level": "warn"}}) as fleet:
        fleet.devices(1)
        raw = single_inserts(fleet, 3000)
        server = Receipts(fleet, address="127.0.0.1:0")
        n = REQUESTS - REQUESTS % CLIENTS
        written = drive(server, n, b"HTTP/1.1 200")
        assert int(fleet.sql.one("SELECT COUNT(*) FROM receipts")) == n
        commits = int(server.get("/metrics")[2].split("\npaceline_receipts_commits_total ")[1].split()[0])
        bare = drive(server, n // 2, b"HTTP/1.1 404", path="/receipts/nobody")
        applied = apply(fleet, n)
        print(f"{n} webhooks, {CLIENTS} clients x {CONNECTIONS} connections, every commit on disk")
        print(f"{'single inserts, one connection':<44}{raw:>9.0f} a second")
        print(f"{'webhooks signed, written, answered':<44}{written:>9.0f} a second, {written / raw:.2f} x the inserts, {n / commits:.1f} a commit")
        print(f"{'requests answered 404, nothing written':<44}{bare:>9.0f} a second; with signature, JSON and commit {written / bare:.2f} of it")
        print(f"{'lines that the reaper applied':<44}{applied:>9.0f} a second")


if __name__ == "__main__":
    main()
