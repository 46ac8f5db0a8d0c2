#!/usr/bin/env python3
"""`paceline receipts` and what the reaper makes of it: unknown outcomes resolved, receipts that only rise, answers that
stop and resume; forged, repeated, reordered and strange webhooks.

    tests/integration/receipts_test.py [name part ...]"""
import json
import signal
import sys
import threading
import time

from harness import Fleet, equal, http_get, main, test, true, wait_until
from receipts import ENV, OLD, SECTIONS, Receipts, cloudapi, preference, said, sign, signature, status, statuses


def fleet(**options):
    return Fleet(stub=False, **options)


def message(f, job, status="sent", provider=None, phone="60123456789", device=1, **columns):
    """A row as it is after its send; returns its id."""
    columns = {"job_id": job, "user_id": f.user, "device_id": device, "kind": "direct", "recipient_phone": phone, "content": "x",
               "status": status, "gen": 1, "attempt": 1, "unknowns": int(status == "unknown"), "provider_message_id": provider, **columns}
    names = ", ".join(columns)
    values = ", ".join("NULL" if v is None else repr(v) for v in columns.values())
    f.sql.exec(f"INSERT INTO broadcast_messages ({names}, scheduled_at, queued_at, created_at, updated_at) VALUES"
               f" ({values}{', UTC_TIMESTAMP(3)' * 4})")
    return f.sql.one("SELECT LAST_INSERT_ID()")


def row(f, id):
    return f.sql.dicts(f"SELECT * FROM broadcast_messages WHERE id = {id}")[0]


def looks(f, id):
    r = row(f, id)
    return r["status"], r["receipt"], int(r["unknowns"]), r["provider_message_id"]


def opt_outs(f):
    return sorted(f.sql.rows("SELECT phone, source FROM opt_outs"))


# --- the server -----------------------------------------------------------------------------------------


@test
def a_signed_body_is_written_once_and_answered_behind_the_commit():
    with fleet() as f:
        f.devices(1)
        server = Receipts(f)
        body = statuses(status("wamid.A", "sent", at=1749416383, tag="job-1:2"), status("wamid.A", "read", at=1749416390),
                        status("wamid.B", "failed", code=131049), status("wamid.C", "deleted"))
        server.takes("meta", body)
        server.takes("meta", body)
        server.takes("meta", body, secret=OLD)  # while the secret is being changed
        got = [(r["provider_message_id"], r["kind"], r["section"], r["job_id"], int(r["attempt"]), r["phone"], r["code"], r["detail"])
               for r in server.rows()]
        equal([("wamid.A", "sent", "meta", "job-1", 2, "60123456789", "", ""), ("wamid.A", "read", "meta", None, 0, "60123456789", "", ""),
               ("wamid.B", "failed", "meta", None, 0, "60123456789", "131049", "because of \u00fcber")], got, "events")
        equal("2025-06-08 20:59:43.000", server.rows()[0]["happened_at"], "time")
        _, _, text = server.get("/metrics")
        for line in ('events_total{outcome="new"} 3', 'events_total{outcome="repeated"} 6', 'events_total{outcome="left_out"} 3'):
            true("paceline_receipts_" + line in text, f"{line}: {text}")
        equal((200, "ok\n"), server.get("/healthz")[::2], "healthz")
        equal(0, server.process.terminate(), "exit status")


@test
def whoever_knows_no_secret_is_refused_before_anything_is_read():
    with fleet() as f:
        f.devices(1)
        server = Receipts(f)
        body = statuses(status("wamid.A", "sent"))
        data = json.dumps(body).encode()
        good = sign(data)
        wrong = ["", "X-Hub-Signature-256: " + sign(data, "guess"), "X-Hub-Signature-256: " + good[:-2], "X-Hub-Signature-256: " + good + "0",
                 "X-Hub-Signature-256: " + good[7:], "X-Hub-Signature-256: sha256=", "X-Hub-Signature-256: sha256=" + "z" * 64,
                 "X-Hub-Signature: " + good, "X-Hub-Signature-256: " + sign(data + b" ")]
        for line in wrong:
            server.refuses(401, "signature", "meta", data, line=line)
            server.refuses(401, "signature", "meta", b"{not json", line=line)
        server.takes("meta", data, line="x-hub-signature-256: SHA256=" + good[7:].upper())
        server.refuses(404, "no .receipts", "nobody", data)
        server.refuses(405, "only GET and POST", "meta", data, method="PUT")
        server.refuses(400, "line 1", "meta", b"{not json")
        equal(1, len(server.rows()), "rows")
        log = "\n".join(server.process.lines())
        true("signature" in log and not any(s in log for s in (ENV["RECEIPTS_SECRET"], OLD, good[7:], "not json")), log)
        true('refused_total{why="signature"} 18' in server.get("/metrics")[2], server.get("/metrics")[2])


@test
def the_handshake_gives_the_challenge_to_whoever_knows_the_token():
    with fleet() as f:
        f.devices(1)
        server = Receipts(f)

        def ask(path, want):
            got = server.get(path)
            equal(want, got[0] if want != 200 else got[2], f"{path}: {got}")
            return got
        good = "hub.mode=subscribe&hub.challenge=11%2058&hub.verify_token=t0ken"
        status, headers, text = server.get("/receipts/meta?" + good)
        equal((200, "11 58", "text/plain; charset=utf-8"), (status, text, headers["content-type"]), "handshake")
        ask("/receipts/meta?" + good.replace("t0ken", "t0ke"), 403)
        ask("/receipts/meta?" + good.replace("&hub.verify_token=t0ken", ""), 403)
        ask("/receipts/meta?" + good.replace("subscribe", "x"), 400)
        ask("/receipts/meta?hub.challenge=" + "1" * 300 + "&" + good, 400)
        ask("/receipts/meta", 400)
        ask("/receipts/gowa?" + good, 405)
        ask("/receipts/", 404)


@test
def every_providers_shape_is_read():
    with fleet() as f:
        f.devices(1)
        server = Receipts(f)
        gowa = {"event": "message.ack", "device_id": "628@s.whatsapp.net", "timestamp": "2025-07-18T22:44:20+08:00", "payload": {
            "ids": ["3EB0A", "3EB0B"], "chat_id": "60111111111@s.whatsapp.net", "from": "x", "receipt_type": "delivered"}}
        server.takes("gowa", gowa)
        server.takes("gowa", {**gowa, "payload": {**gowa["payload"], "receipt_type": "read-self"}})
        server.takes("gowa", {"event": "message", "device_id": "628@s.whatsapp.net", "payload": {
            "id": "IN1", "from": "60111111111:3@s.whatsapp.net", "timestamp": "2025-07-18T22:44:20Z", "is_from_me": False, "body": " Berhenti! "}})
        server.takes("gowa", {"event": "message", "payload": {"id": "IN2", "from": "60111111111@s.whatsapp.net", "is_from_me": True, "body": "stop"}})
        server.takes("gowa", {"event": "call.offer", "payload": {}})
        server.takes("waha", {"event": "message.ack", "session": "s1", "timestamp": 1749416383123,
                              "payload": {"id": "true_60@c.us_A", "to": "60122222222@c.us", "ack": 3, "ackName": "READ"}})
        server.takes("evo", {"event": "messages.update", "instance": "i1", "date_time": "2025-07-18T22:44:20.000Z",
                             "data": {"keyId": "3EV", "remoteJid": "60133333333@s.whatsapp.net", "status": "DELIVERY_ACK"}})
        server.takes("own", {"m": [{"id": 77, "st": "BAD", "why": 42}], "tag": "a:b:3", "t": 1749416383})
        got = [(r["section"], r["provider_message_id"], r["kind"], r["phone"], r["device_ref"], r["code"], r["job_id"], r["happened_at"][:19])
               for r in server.rows()]
        at = "2025-07-18 14:44:20"
        equal([("gowa", "3EB0A", "delivered", "60111111111", "628@s.whatsapp.net", "", None, at),
               ("gowa", "3EB0B", "delivered", "60111111111", "628@s.whatsapp.net", "", None, at),
               ("gowa", "IN1", "stop", "60111111111", "628@s.whatsapp.net", "reply", None, "2025-07-18 22:44:20"),
               ("waha", "true_60@c.us_A", "read", "60122222222", "s1", "", None, "2025-06-08 20:59:43"),
               ("evo", "3EV", "delivered", "60133333333", "i1", "", None, "2025-07-18 22:44:20"),
               ("own", "77", "failed", "", "", "42", "a:b", "2025-06-08 20:59:43")], got, "events")
        server.refuses(401, "signature", "evo", {"event": "x"}, line="Authorization: Bearer wrong")


@test
def bodies_that_are_strange_are_refused_or_left_out_and_nothing_breaks():
    with fleet() as f:
        f.devices(1)
        server = Receipts(f)
        for data, what in ((b"", "line 1"), (b"[]", "object"), (b"{}", "entry"), (b'{"entry":5}', "entry"), (b"[" * 100000, "depth"),
                           (b'{"a":' * 100000, "depth"), (b'{"entry":[{"changes":"\xff"}]}', "line 1"), (b'{"entry":[]} x', "line 1"),
                           (b"\x00" * 100, "line 1")):
            server.refuses(400, what, "meta", data)
        for entry in ([], [5], [{"changes": 5}], [{"changes": [5]}], [{"changes": [{"value": {"statuses": [5, None, {}, []]}}]}],
                      [{"changes": [{"value": {"statuses": {"id": "x"}, "messages": [1, {"id": {}, "text": []}], "user_preferences": [[]]}}]}]):
            server.takes("meta", {"entry": entry})
        strange = [status("i" * 191, "sent"), status("", "sent"), status("w1", "sent", tag="x" * 600), status("w2", "failed", code=10**18),
                   status("w3", "read", timestamp="9" * 30), status("w4", "read", timestamp=-5), status("w5", "read", timestamp=4e99),
                   status("w6", "sent", to="US.13491208655302741918"), status("w7", "sent", to=None), status("w8\u0000x", "sent"),
                   status("\U0001f600" * 40, "sent"), status("w9", "sent", tag="no such job!:1"), status("w10", "sent", tag="job:0")]
        strange[3]["errors"][0]["error_data"] = "\U0001f600" * 300
        server.takes("meta", statuses(*strange))
        equal(11, len(server.rows()), "rows")
        equal([None] * 11, [r["job_id"] for r in server.rows()], "jobs")
        equal({"", "60123456789"}, {r["phone"] for r in server.rows()}, "phones")
        # As much as may be posted at once, and one byte more.
        many = statuses(*(status(f"wamid.many{i}", "delivered") for i in range(15000)))
        data = json.dumps(many).encode()
        server.takes("meta", data + b" " * (3 * 1024 * 1024 - len(data)))
        equal(15011, int(f.sql.one("SELECT COUNT(*) FROM receipts")), "rows")
        server.refuses(413, "longer than 3145728", "meta", data + b" " * (3 * 1024 * 1024 + 1 - len(data)))
        equal((200, "ok\n"), server.get("/healthz")[::2], "healthz")


@test
def strangers_can_neither_fill_the_memory_nor_the_log():
    with fleet() as f:
        f.devices(1)
        server = Receipts(f)
        size, open_ = 3 << 20, []
        for _ in range(30):  # 90 MiB
            s = server.connect()
            s.sendall(server.head("meta", b" " * size, "X-Hub-Signature-256: sha256=00") + b" " * (size - 1))
            open_.append(s)
        server.takes("gowa", {"event": "call.offer"})  # what is small still fits
        seen = []
        for s in open_:
            with s:
                s.sendall(b" ")
                seen.append(int(s.recv(65536).split()[1]))
        equal({401, 503}, set(seen), "answers")
        true(20 <= seen.count(401) <= 21, f"{seen}")
        for _ in range(200):
            server.refuses(401, "signature", "meta", b"{}", line="x: y")
        true(len([l for l in server.process.lines() if "receipts_refused" in l]) < 30, "lines of the log")
        server.takes("meta", b'{"entry":[]}' + b" " * (size - 12))
        true(server.process.peak_rss_mb() < 300, f"{server.process.peak_rss_mb()} MB")


@test
def while_mysql_is_away_it_says_so_and_drains_when_it_is_asked_to_go():
    with fleet() as f:
        f.devices(1)
        server = Receipts(f)
        server.takes("meta", statuses(status("wamid.A", "sent")))
        f.mysql.kill()
        wait_until(lambda: server.post("meta", statuses(status("wamid.B", "sent")))[0] == 503, 20, "503")
        equal("5", server.post("meta", statuses(status("wamid.B", "sent")))[1]["retry-after"], "Retry-After")
        wait_until(lambda: server.get("/readyz")[0] == 503, 10, "not ready")
        f.mysql.start()
        wait_until(lambda: server.post("meta", statuses(status("wamid.B", "sent")))[0] == 200, 20, "200")
        equal(2, len(server.rows()), "rows")
        data = json.dumps(statuses(status("wamid.C", "sent"))).encode()
        s = server.connect()
        s.sendall(server.head("meta", data, signature("meta", data)) + data[:10])
        wait_until(lambda: server.get("/healthz")[0] == 200, 10, "it to have begun")
        server.process.signal(signal.SIGTERM)
        s.sendall(data[10:])
        with s:
            true(b" 200 " in s.recv(65536).split(b"\r\n")[0], "an answer while it ends")
        equal(0, server.process.wait(), "exit status")
        equal(3, len(server.rows()), "rows")


@test
def many_post_at_once_on_connections_that_stay():
    with fleet() as f:
        f.devices(1)
        server = Receipts(f, address="127.0.0.1:0")
        errors = []

        def work(n):
            try:
                with server.connect() as s:
                    for i in range(50):
                        data = json.dumps(statuses(status(f"wamid.{n % 4}.{i}", "sent"))).encode()
                        s.sendall(server.head("meta", data, signature("meta", data), close=False) + data)
                        got = b""
                        while b"}" not in got:
                            got += s.recv(4096)
                        equal(b"HTTP/1.1 200 OK", got.split(b"\r\n")[0], "answer")
            except Exception as e:
                errors.append(f"{n}: {e!r}")
        threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        equal([], errors, "errors")
        equal(200, len(server.rows()), "rows")  # each was posted twice
        commits = int(server.get("/metrics")[2].split("\npaceline_receipts_commits_total ")[1].split()[0])
        true(0 < commits <= 400, f"{commits} commits")
        print(f"    400 requests in {commits} transactions")


@test
def it_does_not_start_without_what_it_needs():
    with fleet() as f:
        f.devices(1)

        def fails(pattern, sections, *argv, env=ENV):
            f.receipts = sections
            f.configure()
            f.ctl_env = env
            code, _, err = f.ctl(*argv, "receipts", check=False)
            true(code != 0 and pattern in err, f"{pattern}: {code} {err}")
        fails("no [receipts NAME] section", {})
        fails("needs a secret", {"x": {"type": "gowa"}})
        fails("RECEIPTS_SECRET is not in the environment", {"x": SECTIONS["gowa"]}, env={})
        fails("needs type =", {"x": {"type": "sms", "secret": "s"}})
        fails("part of a path", {"a.b": {"type": "gowa", "secret": "s"}})
        fails("begins with \"/\"", {"x": {"type": "json", "secret": "s", "id": "id"}})
        fails("id, status and words", {"x": {"type": "json", "secret": "s"}})
        fails("pointer that cloudapi does not take", {"x": {"type": "cloudapi", "secret": "s", "id": "/a"}})
        fails("there is no user 'nobody'", {"x": {"type": "gowa", "secret": "s", "user": "nobody"}})
        fails("unknown key", {"x": {"type": "gowa", "secret": "s", "sekret": "x"}})
        f.receipts = {"x": {"type": "gowa", "secret": "env:NOT_SET"}}
        f.configure()
        f.ctl_env = {}
        f.ctl("status")  # other commands have no use for the secret
        equal(2, f.ctl("--check-config", check=False)[0], "--check-config")


# --- the reaper -----------------------------------------------------------------------------------------


@test
def receipts_rise_whatever_their_order():
    with fleet() as f:
        f.devices(1)
        f.start(producer=0, worker=0)
        server = Receipts(f)
        a, b, c, d = (message(f, f"j{n}", provider=f"wamid.{n}") for n in "abcd")
        server.takes("meta", statuses(*(status("wamid.a", w) for w in ("sent", "delivered", "read"))))
        server.takes("meta", statuses(*(status("wamid.b", w) for w in ("read", "sent"))))
        server.takes("meta", statuses(status("wamid.c", "failed", code=131026), status("wamid.d", "delivered")))
        server.settled()
        equal([("sent", "read", 0, "wamid.a"), ("sent", "read", 0, "wamid.b"), ("sent", "failed", 0, "wamid.c"),
               ("sent", "delivered", 0, "wamid.d")], [looks(f, x) for x in (a, b, c, d)], "rows")
        equal("131026", row(f, c)["receipt_code"], "code")
        server.takes("meta", statuses(status("wamid.b", "delivered"), status("wamid.c", "sent"), status("wamid.d", "failed", code=1)))
        server.settled()
        equal(["read", "failed", "delivered"], [looks(f, x)[1] for x in (b, c, d)], "later ones")
        server.takes("meta", statuses(status("wamid.c", "played")))
        server.settled()
        equal(("read", ""), (looks(f, c)[1], row(f, c)["receipt_code"]), "what was read had not failed")
        equal(0, int(f.sql.one("SELECT COUNT(*) FROM message_events")), "history of ordinary receipts")
        _, out, _ = f.ctl("--json", "message", "trace", str(c))
        trace = json.loads(out)
        equal(("read", 3), (trace["receipt"], len(trace["receipts"])), f"trace: {out}")


@test
def an_unknown_outcome_is_what_a_receipt_says():
    with fleet() as f:
        f.devices(1)
        f.start(producer=0, worker=0)
        server = Receipts(f)
        out, refused, two, byid, other = (message(f, j, "unknown") for j in ("out", "re:fused", "two", "byid", "other"))
        f.sql.exec(f"UPDATE broadcast_messages SET unknowns = 2, attempt = 2 WHERE id = {two}")
        f.sql.exec(f"UPDATE broadcast_messages SET provider_message_id = 'wamid.5' WHERE id = {byid}")
        server.takes("meta", statuses(status("wamid.1", "sent", tag="out:1"), status("wamid.2", "failed", tag="re:fused:1", code=131026),
                                      status("wamid.3", "failed", tag="two:1", code=131026), status("wamid.5", "delivered", to=None),
                                      status("wamid.6", "sent", tag="OTHER:1"), status("WAMID.5", "read")))
        wait_until(lambda: len(server.rows("state = 'applied'")) == 4, 20, lambda: f"{server.rows()}")
        equal([("sent", "sent", 0, "wamid.1"), ("failed", "failed", 0, "wamid.2"), ("unknown", "none", 1, None),
               ("sent", "delivered", 0, "wamid.5"), ("unknown", "none", 1, None)],
              [looks(f, x) for x in (out, refused, two, byid, other)], "rows")
        equal(("131026", "because of \u00fcber"), (row(f, refused)["error_class"], row(f, refused)["error_message"]), "error")
        events = dict(f.sql.rows("SELECT message_id, CONCAT(event, ' ', actor, ' ', detail) FROM message_events"))
        equal("receipt receipts/meta sent, told by job and attempt", events[str(out)], "history")
        server.takes("meta", statuses(status("wamid.2", "delivered"), status("wamid.3b", "delivered", tag="two:2")))
        wait_until(lambda: looks(f, two)[0] == "sent", 20, "the second attempt")
        equal(("sent", "delivered", 0), looks(f, two)[:3], "two")
        wait_until(lambda: looks(f, refused) == ("sent", "delivered", 0, "wamid.2"), 20, "what arrived was sent")


@test
def what_a_policy_assumed_is_corrected():
    with fleet() as f:
        f.devices(1)
        ids = [message(f, f"a{n}", "sent", unknowns=1, error_class="assumed") for n in range(3)]
        f.start(producer=0, worker=0)
        server = Receipts(f)
        server.takes("meta", statuses(status("wamid.0", "failed", tag="a0:1", code=131026), status("wamid.1", "delivered", tag="a1:1")))
        server.settled()
        equal([("failed", "failed", 0, "wamid.0"), ("sent", "delivered", 0, "wamid.1"), ("sent", "none", 1, None)], [looks(f, x) for x in ids], "rows")
        equal(["131026", None, "assumed"], [row(f, x)["error_class"] for x in ids], "classes")


@test
def an_ended_campaign_is_counted_anew():
    with fleet() as f:
        (d,) = f.devices(1)
        c = f.campaign("c", status="finished", n_unknown=1, total=1, expanded_at="2026-01-01 00:00:00", finished_at="2026-01-01 00:00:00")
        id = message(f, "c1", "unknown", device=d, campaign_id=c, kind="campaign")
        f.start(producer=0, worker=0)
        server = Receipts(f)
        server.takes("meta", statuses(status("wamid.1", "read", tag="c1:1")))
        wait_until(lambda: f.sql.rows(f"SELECT status, n_sent, n_unknown FROM campaigns WHERE id = {c}") == [("finished", "1", "0")], 20, "counts")
        equal("sent", looks(f, id)[0], "row")
        _, out, _ = f.ctl("campaign", "show", "c")
        true("RECEIPTS" in out and "read" in out, out)


@test
def a_receipt_that_is_early_waits_and_one_of_nobodys_is_an_orphan():
    with fleet(conf={"reaper": {"receipt_orphan_after": "1500ms"}}) as f:
        f.devices(1)
        f.start(producer=0, worker=0)
        server = Receipts(f)
        server.takes("meta", statuses(status("wamid.early", "delivered"), status("wamid.nobody", "read"), status("wamid.lost", "read", tag="gone:1")))
        f.sql.exec("INSERT INTO users (id, name, created_at) VALUES (2, 'other', UTC_TIMESTAMP(3))")
        f.user = 2
        theirs = message(f, "theirs", provider="wamid.nobody")
        f.user = 1
        wait_until(lambda: f.sql.one("SELECT COUNT(*) FROM receipts WHERE due_at > received_at") == 3, 10, "one look at each")
        early = message(f, "early", provider="wamid.early")
        server.settled()
        equal("delivered", looks(f, early)[1], "early")
        equal("none", looks(f, theirs)[1], "another user's")
        equal(["applied", "orphan", "orphan"], [r["state"] for r in server.rows()], "states")
        code, out, _ = f.ctl("audit", "receipts", check=False)
        true(code == 1 and "gone" in out and "orphans" in out, f"{code} {out}")
        code, out, _ = f.ctl("--user", "other", "audit", "receipts", check=False)
        true(code == 0 and "gone" not in out, f"{code} {out}")


@test
def receipts_of_two_users_do_not_meet_in_one_batch():
    with fleet() as f:
        f.devices(1)
        f.sql.exec("INSERT INTO users (id, name, created_at) VALUES (2, 'other', UTC_TIMESTAMP(3))")
        mine = message(f, "mine", "unknown", provider="wamid.mine")
        f.user = 2
        theirs = message(f, "theirs", "unknown", provider="wamid.theirs")
        own = message(f, "own", "unknown")
        server = Receipts(f, sections={**SECTIONS, "theirs": {**SECTIONS["meta"], "user": "other"}})
        server.takes("meta", statuses(status("wamid.theirs", "read"), status("wamid.x", "read", tag="theirs:1")))
        server.takes("theirs", statuses(status("wamid.mine", "read"), status("wamid.y", "read", tag="mine:1"), status("wamid.z", "read", tag="own:1")))
        f.start(producer=0, worker=0)
        wait_until(lambda: looks(f, own)[:2] == ("sent", "read"), 20, "the user's own")
        wait_until(lambda: not server.rows("due_at = received_at"), 20, "a look at each")
        equal([("unknown", "none", 1)] * 2, [looks(f, x)[:3] for x in (mine, theirs)], "the other's")


@test
def an_id_that_comes_again_is_the_latest_messages_to_that_phone():
    with fleet() as f:
        f.devices(1)
        f.start(producer=0, worker=0)
        server = Receipts(f)
        old, new, other = (message(f, job, provider="17", phone=phone) for job, phone in
                           (("old", "60111111111"), ("new", "60111111111"), ("other", "60122222222")))
        server.takes("gowa", {"event": "message.ack", "device_id": "628001@s.whatsapp.net", "timestamp": time.strftime(
            "%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "payload": {"ids": ["17"], "chat_id": "60111111111@s.whatsapp.net", "receipt_type": "delivered"}})
        server.settled()
        equal(["none", "delivered", "none"], [looks(f, x)[1] for x in (old, new, other)], "receipts")


@test
def a_gateway_without_callback_data_resolves_only_what_is_certain():
    with fleet(conf={"reaper": {"receipt_orphan_after": "14s"}}) as f:
        f.devices(2)
        f.sql.exec("UPDATE devices SET phone = CONCAT('62800', id)")
        f.start(producer=0, worker=0)
        server = Receipts(f)
        one = message(f, "one", "unknown", phone="60111111111")
        two = [message(f, f"two{n}", "unknown", phone="60122222222") for n in range(2)]
        old = message(f, "old", "unknown", phone="60133333333")
        elsewhere = message(f, "elsewhere", "unknown", phone="60144444444", device=2)
        f.sql.exec(f"UPDATE broadcast_messages SET updated_at = UTC_TIMESTAMP(3) - INTERVAL 20 MINUTE WHERE id = {old}")

        def ack(id, phone, device):
            return {"event": "message.ack", "device_id": device, "timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "payload": {
                "ids": [id], "chat_id": phone + "@s.whatsapp.net", "receipt_type": "delivered"}}
        for n, phone in enumerate(("60111111111", "60122222222", "60133333333", "60144444444")):
            server.takes("gowa", ack(f"3EB{n}", phone, "628001@s.whatsapp.net"))
        server.settled(40)
        equal([("sent", "delivered", 0, "3EB0")] + 4 * [("unknown", "none", 1, None)],
              [looks(f, x) for x in (one, *two, old, elsewhere)], "rows")
        (detail,) = f.sql.rows(f"SELECT detail FROM message_events WHERE message_id = {one}")
        true("guessed: the only unknown message" in detail[0], detail)


@test
def what_would_be_sent_again_is_taken_back():
    """The policy sends unknown outcomes again; a receipt comes while the job waits in Redis."""
    # Nobody else looks for jobs that should not be there.
    with Fleet(rules=["nth:1=reset-after"], conf={"reaper": {"resend_after": "10ms", "audit_interval": "1h"}}) as f:
        (d,) = f.devices(1, gap=(600000, 600000))
        f.sql.exec("INSERT INTO leads (user_id, device_id, phone, name, created_at, updated_at) VALUES"
                   f" (1, {d}, '60123456789', 'x', UTC_TIMESTAMP(3), UTC_TIMESTAMP(3))")
        c = f.campaign("c", on_unknown="resend")
        f.start()
        wait_until(lambda: f.sql.rows("SELECT status, unknowns FROM broadcast_messages") == [("queued", "1")], 30,
                   lambda: f"the resend to wait: {f.sql.rows('SELECT status, unknowns FROM broadcast_messages')}")
        job = f.sql.one("SELECT job_id FROM broadcast_messages")
        wait_until(lambda: str(f.redis.call("HGET", f"pl:{{p{d % 8:02}}}:d:{d}:ids", job)).startswith("W"), 20, "the job in Redis")
        server = Receipts(f)
        server.takes("meta", statuses(status("wamid.1", "delivered", tag=job + ":1")))
        server.settled()
        equal([("sent", "delivered", "wamid.1")], f.sql.rows("SELECT status, receipt, provider_message_id FROM broadcast_messages"), "row")
        equal(None, f.redis.call("HGET", f"pl:{{p{d % 8:02}}}:d:{d}:ids", job), "the job in Redis")
        f.drain()
        equal(1, len(f.ledger()), "sends")
        f.ctl("audit", "conservation")
        equal([("finished", "1")], f.sql.rows(f"SELECT status, n_sent FROM campaigns WHERE id = {c}"), "campaign")


@test
def while_redis_is_away_nothing_is_called_sent_that_may_still_go_out():
    with Fleet(rules=["nth:1=reset-after"], keep="always", conf={"reaper": {"resend_after": "10ms", "audit_interval": "1h"}}) as f:
        (d,) = f.devices(1, gap=(600000, 600000))
        f.leads(1)
        f.campaign("c", on_unknown="resend")
        f.start()
        wait_until(lambda: f.sql.rows("SELECT status, unknowns FROM broadcast_messages") == [("queued", "1")], 30, "the resend to wait")
        job = f.sql.one("SELECT job_id FROM broadcast_messages")
        wait_until(lambda: str(f.redis.call("HGET", f"pl:{{p{d % 8:02}}}:d:{d}:ids", job)).startswith("W"), 20, "the job in Redis")
        f.redis.kill()
        server = Receipts(f)
        server.takes("meta", statuses(status("wamid.1", "read", tag=job + ":1")))
        wait_until(lambda: http_get(f.processes["reaper1"].health, "/readyz")[0] == 503, 20, "the reaper to notice")
        equal([("queued", "none")], f.sql.rows("SELECT status, receipt FROM broadcast_messages"), "row")
        f.redis.start()
        wait_until(lambda: f.sql.rows(f"SELECT status, receipt FROM broadcast_messages WHERE job_id = '{job}'") == [("sent", "read")], 40, "the rest")
        f.drain()
        equal(1, len(f.ledger()), "sends")


@test
def a_reaper_that_dies_with_the_job_taken_back_loses_nothing():
    with Fleet(faults=True, rules=["nth:1=reset-after"], conf={"reaper": {"resend_after": "10ms"}}) as f:
        (d,) = f.devices(1, gap=(600000, 600000))
        f.leads(1)
        f.campaign("c", on_unknown="resend")
        f.start()
        wait_until(lambda: f.sql.rows("SELECT status, unknowns FROM broadcast_messages") == [("queued", "1")], 30, "the resend to wait")
        job = f.sql.one("SELECT job_id FROM broadcast_messages")
        where = f"pl:{{p{d % 8:02}}}:d:{d}:ids"
        wait_until(lambda: str(f.redis.call("HGET", where, job)).startswith("W"), 20, "the job in Redis")
        for name in ("reaper1", "producer1"):
            f.processes.pop(name).kill()
        server = Receipts(f)
        server.takes("meta", statuses(status("wamid.1", "read", tag=job + ":1")))
        dying = f.spawn("reaper", "dying", fault="receipts.applied:1:kill")
        wait_until(lambda: dying.status() == -signal.SIGKILL, 20, "its death")
        equal(None, f.redis.call("HGET", where, job), "the job in Redis")
        true(f.sql.one("SELECT status FROM broadcast_messages") != "sent", "nothing was committed")
        f.start(producer=1, worker=0)
        f.drain()
        equal([("sent", "read")], f.sql.rows("SELECT status, receipt FROM broadcast_messages"), "row")
        equal(1, len(f.ledger()), "sends")


@test(seconds=180)
def a_whole_campaign_of_unknown_outcomes_is_resolved_by_its_receipts():
    """Show 4: the provider takes every message and its answer is lost; its webhooks tell what came of each."""
    with Fleet(rules=["p:0.5=reset-after"]) as f:
        f.devices(5)
        f.leads(40)
        f.campaign("c")
        f.start(producer=1, worker=2, reaper=2)
        server = Receipts(f)
        told = 0

        def tell():
            """As the provider sees it: each request that came is told of, in no order, twice."""
            nonlocal told
            lines = list(f.ledger())
            fresh, told = lines[told:], len(lines)
            list_ = [status(f"wamid.{l.job}.{l.attempt}", w, tag=f"{l.job}:{l.attempt}", to=None) for l in fresh for w in ("read", "sent", "delivered")]
            f.random.shuffle(list_)
            for _ in range(2):
                if list_:
                    server.takes("meta", statuses(*list_))
            return told >= 200
        wait_until(tell, 60, lambda: f"all sends: {told}, {f.statuses()}", 0.1)
        f.drain()
        wait_until(lambda: f.statuses() == {"sent": 200}, 30, lambda: f"all resolved: {f.statuses()}")
        server.settled()
        equal([("read", "200")], f.sql.rows("SELECT receipt, COUNT(*) FROM broadcast_messages GROUP BY receipt"), "receipts")
        evidence = int(f.sql.one("SELECT COUNT(*) FROM message_events WHERE event = 'receipt'"))
        equal(200, len(f.ledger()), "sends")
        true(evidence > 50, f"{evidence} rows were resolved by a receipt")
        wait_until(lambda: f.sql.rows("SELECT status, n_sent, n_unknown FROM campaigns") == [("finished", "200", "0")], 20, "the campaign's counts")
        f.ctl("audit", "duplicates")
        f.ctl("audit", "conservation")
        print(f"    {evidence} of 200 outcomes were open and told by a receipt")


@test
def lines_that_are_done_go_when_nobody_repeats_them_any_more():
    with fleet() as f:
        f.devices(1)
        for n, (state, days) in enumerate((s, d) for s in ("applied", "orphan", "new") for d in (7, 9)):
            f.sql.exec("INSERT INTO receipts (user_id, section, kind, provider_message_id, happened_at, received_at, state, due_at) VALUES (1, 'meta',"
                       f" 'read', 'w{n}', UTC_TIMESTAMP(3), UTC_TIMESTAMP(3), '{state}', UTC_TIMESTAMP(3) - INTERVAL {days} DAY)")
        f.start(producer=0, worker=0)
        wait_until(lambda: f.sql.one("SELECT COUNT(*) FROM receipts") == 4, 20, lambda: f"{f.sql.rows('SELECT state, due_at FROM receipts')}")
        equal(["w0", "w2", "w4", "w5"], [r[0] for r in f.sql.rows("SELECT provider_message_id FROM receipts ORDER BY 1")], "what stays")


# --- opting out -----------------------------------------------------------------------------------------


@test
def answers_opt_out_and_in_again():
    with fleet() as f:
        f.devices(1)
        f.sql.exec("INSERT INTO opt_outs (user_id, phone, source, created_at) VALUES (1, '60100000009', 'form', UTC_TIMESTAMP(3))")
        f.start(producer=0, worker=0)
        server = Receipts(f)
        now = int(time.time())
        for n, text in enumerate(("STOP", " Stop. ", "berhenti", "UNSUBSCRIBE!", "Batal")):
            server.takes("meta", said(text, f"6010000000{n}"))
        for text in ("please stop by at noon", "stop it", "", "START"):
            server.takes("meta", said(text, "60100000005"))
        server.takes("meta", cloudapi({"messages": [{"from": "60100000006", "id": "wamid.b", "type": "button", "timestamp": str(now),
                                                     "button": {"payload": "STOP", "text": "No more"}}]}))
        server.takes("meta", preference("stop", "60100000007"))
        server.settled()
        want = [(f"6010000000{n}", "reply") for n in (0, 1, 2, 3, 4, 6)] + [("60100000007", "preference"), ("60100000009", "form")]
        equal(want, opt_outs(f), "opt-outs")
        equal(8, len(server.rows()), "only stop words are kept")
        for n in (0, 7, 9):
            server.takes("meta", said("Start", f"6010000000{n}", at=now + 5))
        server.takes("meta", preference("resume", "60100000001", at=now + 5))
        server.settled()
        equal([w for w in want if w[0] != "60100000000"], opt_outs(f), "START lifts what STOP has written")
        server.takes("meta", preference("resume", "60100000007", at=now + 6))
        server.settled()
        equal(5 + 1, len(opt_outs(f)), "resume lifts what the setting has written")
        # In the wrong order.
        server.takes("meta", said("START", "60100000008", at=now + 9))
        server.settled()
        server.takes("meta", said("STOP", "60100000008", at=now + 8))
        server.settled()
        true("60100000008" not in dict(opt_outs(f)), f"the later one holds: {opt_outs(f)}")
        server.takes("meta", said("STOP", "60100000008", at=now + 10))
        server.settled()
        true("60100000008" in dict(opt_outs(f)), f"the later one holds: {opt_outs(f)}")


@test
def a_refusal_for_the_recipients_wish_opts_out():
    with fleet() as f:
        (d,) = f.devices(1)
        f.start(producer=0, worker=0)
        server = Receipts(f)
        sent = message(f, "s", "queued", phone="60123456701", device=d, attempt=0)
        f.redis.call("XADD", f"pl:{{p{d % 8:02}}}:results", "*", "kind", "failed", "id", "s", "row", sent, "dev", d, "gen", 1, "token", 1,
                     "code", "131050", "text", "stopped", "by", "w", "ms", 1, "late", 0)
        wait_until(lambda: opt_outs(f) == [("60123456701", "provider")], 20, lambda: f"{opt_outs(f)} {row(f, sent)}")
        id = message(f, "a", provider="wamid.a", phone="60123456702", device=d)
        server.takes("meta", statuses(status("wamid.a", "failed", code=131050, to=None), status("wamid.z", "failed", code=131050, to="60123456703")))
        wait_until(lambda: len(opt_outs(f)) == 3, 20, lambda: f"{server.rows()}")
        equal([(f"6012345670{n}", "provider") for n in (1, 2, 3)], opt_outs(f), "opt-outs")
        equal("failed", looks(f, id)[1], "receipt")
        server.takes("meta", preference("resume", "60123456702"))
        wait_until(lambda: len(opt_outs(f)) == 2, 20, "the resume")


@test
def words_of_a_file_are_added():
    with fleet() as f:
        f.devices(1)
        path = f.folder + "/words.conf"
        with open(path, "w") as w:
            w.write("# ours\n[fr]\nstop = arr\u00eat, d\u00c9sinscrire\n[en]\nstop = halt\n")
        f.conf["paceline"]["stop_words"] = path
        server = Receipts(f)
        for n, text in enumerate(("ARR\u00caT", "D\u00e9sinscrire", "halt", "stop", "berhenti")):
            server.takes("meta", said(text, f"6010000000{n}"))
        equal([f"6010000000{n}" for n in (0, 1, 2, 4)], [r["phone"] for r in server.rows()], "stops")


# --- deaths ---------------------------------------------------------------------------------------------


@test
def what_dies_on_the_way_is_repeated_without_harm():
    with fleet(faults=True) as f:
        f.devices(1)
        ids = [message(f, f"job{n}", "unknown") for n in range(40)]
        for n in range(20):
            point = ("receipts.inserted", "receipts.committed")[n % 2]
            server = Receipts(f, fault=f"{point}:1:kill")
            body = statuses(status(f"wamid.{n}", "sent", tag=f"job{n}:1"), status(f"wamid.{n}", "read", tag=f"job{n}:1"))
            equal(0, server.post("meta", body)[0], "no answer")
            equal(-signal.SIGKILL, server.process.wait(), "it died at " + point)
            equal(2 if point == "receipts.committed" else 0, len(server.rows(f"provider_message_id = 'wamid.{n}'")), "rows behind " + point)
            server = Receipts(f)
            server.takes("meta", body)
            equal(2, len(server.rows(f"provider_message_id = 'wamid.{n}'")), "rows")
            server.process.terminate()
        server = Receipts(f, name="more")
        for n in range(20, 40):
            server.takes("meta", statuses(status(f"wamid.{n}", "read", tag=f"job{n}:1")))
            point = ("receipts.applied", "receipts.settled")[n % 2]
            reaper = f.spawn("reaper", f"dying{n}", fault=f"{point}:1:kill")
            wait_until(lambda: reaper.status() == -signal.SIGKILL, 20, "a death at " + point)
            equal(1 - n % 2, int(f.sql.one("SELECT COUNT(*) FROM receipts WHERE state = 'new'") > 0), "open lines behind " + point)
        f.start(producer=0, worker=0)
        wait_until(lambda: not f.sql.one("SELECT COUNT(*) FROM receipts WHERE state = 'new'"), 20, "the inbox")
        equal([("sent", "read", 0)] * 40, [looks(f, x)[:3] for x in ids], "rows")
        equal([1] * 40, [int(n) for _, n in f.sql.rows("SELECT message_id, COUNT(*) FROM message_events GROUP BY 1")], "history")


if __name__ == "__main__":
    sys.exit(main())
