#!/usr/bin/env python3
"""`paceline inlet`: what listmonk posts becomes rows, once each, whatever dies or is posted again; whatever
cannot be sent is answered with its reason.

    tests/integration/inlet_test.py [name part ...]"""
import json
import os
import re
import signal
import sys
import threading

import witness
from harness import ROOT, Fleet, equal, http_get, main, mono_us, test, true, wait_until
from inlet import PASSWORD, Inlet, answer, message, recipient

def fleet(**options):
    return Fleet(stub=False, **options)


def rows(f):
    return f.sql.dicts("SELECT * FROM broadcast_messages ORDER BY id")


# --- what is accepted -----------------------------------------------------------------------------------


@test
def a_posted_message_becomes_one_row_and_a_repeated_one_none():
    with fleet() as f:
        (device,) = f.devices(1)
        inlet = Inlet(f, "--devices", "d1-1")
        body = "Hi {name}, {a|b} {{x}} \\ 50% 'q' \u00e9\U0001f600\n\nbye|"
        inlet.accepts(message(body=body), 1)
        inlet.accepts(message(body=body), 0, 1)
        inlet.accepts(message(body="another text of the same campaign"), 0, 1)
        (row,) = rows(f)
        equal(("direct", "pending", "60123456789", "Anon Doe", str(device), "1", None),
              tuple(row[k] if row[k] is None else str(row[k]) for k in (
                  "kind", "status", "recipient_phone", "recipient_name", "device_id", "user_id", "campaign_id")), "row")
        equal("Hi \\{name\\}, \\{a\\|b\\} \\{\\{x\\}\\} \\\\ 50% 'q' \u00e9\U0001f600\n\nbye\\|", row["content"], "content")
        true(re.fullmatch(r"lm-[0-9a-f]{32}", row["job_id"]), row["job_id"])
        equal(1, f.sql.one("SELECT COUNT(*) FROM broadcast_messages WHERE scheduled_at BETWEEN UTC_TIMESTAMP(3) - "
                           "INTERVAL 1 MINUTE AND UTC_TIMESTAMP(3)"), "rows that are due")
        inlet.accepts(message([recipient("newer")]), 1)  # the newest row is never archived
        f.sql.exec("UPDATE broadcast_messages SET status = 'sent'")
        f.sql.exec("UPDATE broadcast_messages SET created_at = '2020-01-01', updated_at = '2020-01-01', scheduled_at = '2020-01-01'")
        f.ctl("archive", "run", "--older-than", "1d", "--direct")
        equal(1, len(rows(f)), "rows behind the archive")
        inlet.accepts(message(body=body), 0, 1)
        equal(1, len(rows(f)), "rows behind what is archived was posted again")
        status, text = http_get(inlet.path, "/metrics")
        true('paceline_inlet_messages_total{outcome="accepted"} 2' in text
             and 'paceline_inlet_messages_total{outcome="duplicate"} 3' in text, text)
        equal((200, "ok\n"), http_get(inlet.path, "/healthz"), "healthz")
        equal((200, "ready\n"), http_get(inlet.path, "/readyz"), "readyz")
        equal(0, inlet.process.terminate(), "exit status")


@test
def it_listens_on_loopback_too_and_many_post_at_once():
    with fleet() as f:
        f.devices(4)
        inlet = Inlet(f, "--devices", "d1-1,d1-2, d1-3,d1-4", address="127.0.0.1:0")
        sums, errors = [0, 0], []

        def work(seed):
            for i in range(40):
                try:
                    status, _, said = inlet.post(message([recipient(f"u{i}", f"6012000{i:04}")]))
                    equal(200, status, f"{said}")
                    sums[0] += said["accepted"]
                    sums[1] += said["duplicates"]
                except Exception as e:
                    errors.append(f"{seed}.{i}: {e!r}")
        threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        equal([], errors, "errors")
        equal([40, 120], sums, "accepted, duplicates")
        equal(40, len(rows(f)), "rows")
        true(len({r["device_id"] for r in rows(f)}) == 4, "every device has some")


@test
def transactional_messages_count_once_by_recipient_and_text():
    with fleet() as f:
        f.devices(1)
        inlet = Inlet(f, "--devices", "d1-1", "--phone-attribute", "whatsapp", "--country", "60")
        one = {"phone": None, "whatsapp": "012-345 6789"}
        inlet.accepts(message([recipient(**one)], campaign=None, body="your order 1"), 1)
        inlet.accepts(message([recipient(**one)], campaign=None, body="your order 1"), 0, 1)
        inlet.accepts(message([recipient(**one)], campaign=None, body="your order 2"), 1)
        inlet.accepts(message([recipient("", **one)], campaign=None, body="your order 2"), 1)  # by its phone
        inlet.accepts(message([recipient("", None, whatsapp=60123456789)], campaign=None, body="your order 2"), 0, 1)
        inlet.accepts(message([recipient(**one)], body="your order 2"), 1)
        equal({"60123456789"}, {r["recipient_phone"] for r in rows(f)}, "phones")


@test
def the_device_is_named_or_the_leads_or_hashed_and_never_another_users():
    with fleet() as f:
        a, b, c, gone = f.devices(4)
        f.sql.exec(f"UPDATE devices SET status = 'removed' WHERE id = {gone}")
        f.sql.exec("INSERT INTO users (id, name, created_at) VALUES (2, 'other', UTC_TIMESTAMP(3))")
        f.user = 2
        (foreign,) = f.devices(1, prefix="theirs")
        for user, device, phone in ((1, c, "60111"), (1, gone, "60222"), (2, foreign, "60333")):
            f.sql.exec("INSERT INTO leads (user_id, device_id, phone, created_at, updated_at) VALUES "
                       f"({user}, {device}, '{phone}0000000', UTC_TIMESTAMP(3), UTC_TIMESTAMP(3))")
        f.sql.exec("INSERT INTO opt_outs (user_id, phone, created_at) VALUES (2, '601110000000', UTC_TIMESTAMP(3))")
        inlet = Inlet(f)

        def goes_to(**r):
            inlet.accepts(message([recipient("u" + str(len(rows(f))), **r)]), 1)
            return int(rows(f)[-1]["device_id"])
        equal(b, goes_to(phone="601110000000", device="d1-2"), "by name")
        equal(b, goes_to(phone="60999000001", device=str(b)), "by id")
        equal(b, goes_to(phone="60999000002", device=b), "by id as a number")
        equal(c, goes_to(phone="601110000000"), "by the lead")
        for r in ({"device": "theirs2-1"}, {"device": foreign}, {"device": str(foreign)}, {"device": gone},
                  {"device": "d1-4"}, {"phone": "602220000000"}, {"phone": "603330000000"}, {"phone": "60999000003"}):
            _, said = inlet.refuses(422, "no recipient", message([recipient("x", **r)]))
            true("device" in said["skipped"][0]["why"] and not re.search("theirs2-1'.*exists", said["skipped"][0]["why"]),
                 f"{said}")
        equal(4, len(rows(f)), "rows")
        # Chosen by the phone: the same again when a device is gone, but for those that were the device's.
        hashed = Inlet(f, "--devices", "d1-1,d1-2,d1-3", name="hashed")
        phones = [f"6017000{i:04}" for i in range(60)]
        hashed.accepts(message([recipient(f"h{p}", p) for p in phones]), 60)
        before = dict(f.sql.rows("SELECT recipient_phone, device_id FROM broadcast_messages WHERE recipient_phone LIKE '6017%'"))
        equal({a, b, c}, {int(d) for d in before.values()}, "devices in use")
        f.sql.exec("DELETE FROM broadcast_messages")
        f.sql.exec(f"UPDATE devices SET status = 'removed' WHERE id = {a}")
        hashed.accepts(message([recipient(f"h{p}", p) for p in phones]), 60)
        after = dict(f.sql.rows("SELECT recipient_phone, device_id FROM broadcast_messages WHERE recipient_phone LIKE '6017%'"))
        equal({p: d for p, d in before.items() if int(d) != a}, {p: d for p, d in after.items() if int(before[p]) != a},
              "devices of the others")
        everywhere = Inlet(f, "--devices", "all", name="all")
        everywhere.accepts(message([recipient(f"a{p}", p) for p in phones]), 60)
        equal([str(b), str(c)], [r[0] for r in f.sql.rows("SELECT DISTINCT device_id FROM broadcast_messages ORDER BY 1")],
              "all devices that are left")


@test
def two_users_with_the_same_uuids_do_not_meet():
    with fleet() as f:
        f.devices(1)
        f.sql.exec("INSERT INTO users (id, name, created_at) VALUES (2, 'other', UTC_TIMESTAMP(3))")
        f.user = 2
        f.devices(1, prefix="theirs")
        Inlet(f, "--devices", "d1-1").accepts(message(), 1)
        Inlet(f, "--devices", "theirs2-1", user="other", name="inlet2").accepts(message(), 1)
        equal(["1", "2"], [str(r["user_id"]) for r in rows(f)], "owners")


@test
def who_must_not_get_it_is_skipped_and_the_others_get_it():
    with fleet() as f:
        f.devices(1)
        f.sql.exec("INSERT INTO opt_outs (user_id, phone, created_at) VALUES (1, '60120000001', UTC_TIMESTAMP(3))")
        inlet = Inlet(f, "--devices", "d1-1")
        everybody = [recipient("out", "60120000001"), recipient("blocked", "60120000002", "blocklisted"),
                     recipient("off", "60120000003", "disabled"), recipient("good", "60120000004"),
                     recipient("bad", "six"), recipient("none", None), recipient("fine", "60120000005", name="N" * 500),
                     recipient("list", ["60120000006"])]
        skipped = inlet.accepts(message(everybody), 2, 0, 6)
        want = {"out": "opted out", "blocked": "blocklisted", "off": "disabled", "bad": "attribs.phone: ",
                "none": "attribs.phone is missing", "list": "attribs.phone is no text"}
        equal(set(want), {s["recipient"] for s in skipped}, "who is skipped")
        for s in skipped:
            true(want[s["recipient"]] in s["why"], f"{s}")
        equal(["60120000004", "60120000005"], [r["recipient_phone"] for r in rows(f)], "phones")
        equal(190, len(rows(f)[1]["recipient_name"]), "letters of a long name")
        inlet.accepts(message(everybody[:3]), 0, 0, 3)  # nothing to mend: no error
        inlet.refuses(422, "no recipient can be sent to", message([everybody[0], everybody[4]]))
        equal(2, len(rows(f)), "rows")


@test
def the_recipient_gets_the_text_as_it_was_posted():
    with Fleet() as f:
        f.devices(1)
        inlet = Inlet(f, "--devices", "d1-1")
        text = "Hi {name}, {a|b} {{x|y}} \\{z\\} 50% \u00e9\U0001f600\n\nbye|"
        inlet.accepts(message([recipient(f"u{i}", f"6012000{i:04}") for i in range(5)], body=text), 5)
        f.processes.pop("inlet")
        f.start()
        wait_until(lambda: f.statuses() == {"sent": 5}, 30, lambda: f"five sent messages: {f.statuses()}")
        f.stop()
        with open(f.stub.ledger) as ledger:
            lines = [line.split() for line in ledger]
        sent = json.dumps(text, ensure_ascii=False)[1:-1].encode()  # as it stands in the provider's JSON
        equal({(f"{witness.xxh64(sent):016x}", str(len(sent)))}, {(l[7], l[8]) for l in lines}, "texts")
        equal(5, len({l[6] for l in lines}), "recipients")


# --- what is refused ------------------------------------------------------------------------------------


@test
def what_cannot_be_read_or_sent_is_refused_with_its_place():
    with fleet() as f:
        f.devices(1)
        inlet = Inlet(f, "--devices", "d1-1")
        for status, pattern, body in (
                (400, r"no JSON, at 1:", b""), (400, r"no JSON, at 2:\d+", b'{"a": 1,\n "b" 2}'), (400, "no JSON", b"{"),
                (400, "no JSON, at 1:", b'{"body": "\xff"}'), (400, "no JSON", b'{"a": 1, "a": 2}'), (400, "no JSON", b"[" * 100000),
                (400, "an object is wanted", b"[]"), (400, r"^body: a text", message(body=3)),
                (400, "^content_type: a text", message(content_type={})), (400, "recipients: a list", message(recipients=[])),
                (400, "recipients: a list", message(recipients={})), (400, r"recipients\[0\]: an object", message(["x"])),
                (400, r"recipients\[1\]\.uuid: a text", message([recipient(), {"uuid": 4}])),
                (400, r"recipients\[0\]\.attribs: an object", message([{"uuid": "x", "attribs": []}])),
                (400, "campaign: an object", message(campaign="x")), (400, r"campaign\.uuid: a text", message(campaign={"uuid": 1})),
                (422, "content_type: 'html'.*Plain text", message(content_type="html")),
                (422, "content_type: 'markdown'", message(content_type="markdown")),
                (422, "attachments", message(attachments=[{"name": "a.pdf"}])), (422, "body: it is empty", message(body="")),
                (422, "body: 65536 bytes", message(body="x" * 65536)), (422, "body: 80000 bytes", message(body="{" * 40000)),
                (413, "501 in one request; at most 500", message([recipient(f"u{i}") for i in range(501)])),
                (422, "no recipient", message([recipient(phone="012-345 6789")]))):
            inlet.refuses(status, pattern, body)
        equal([], rows(f), "rows")
        inlet.accepts(message([recipient(f"u{i}", f"6012{i:07}") for i in range(500)], body="x" * 65535), 500)
        equal(65535, f.sql.one("SELECT MIN(LENGTH(content)) FROM broadcast_messages"), "bytes of the shortest content")


@test
def strangers_and_wrong_methods_are_refused():
    with fleet() as f:
        f.devices(1)
        inlet = Inlet(f, "--devices", "d1-1")
        right = "listmonk:" + PASSWORD
        for login in (None, "listmonk:", "listmonk:x", right + "x", right[:-1], "Listmonk:" + PASSWORD, ":" + PASSWORD, ""):
            headers, _ = inlet.refuses(401, "user name or password", message(), login=login)
            true(headers["www-authenticate"].startswith("Basic realm="), f"{headers}")
        inlet.refuses(401, "user name", message(), login=None, more="Authorization: Bearer x\r\n")
        for method in ("GET", "PUT", "DELETE"):
            headers, _ = inlet.refuses(405, "only POST", message(), method=method)
            equal("POST", headers["allow"], "allow")
        for path in ("/", "/listmonk/", "/listmonk2", "/LISTMONK"):
            data = inlet.head(0, path=path)
            with inlet.connect() as s:
                s.sendall(data)
                true(s.recv(100).startswith(b"HTTP/1.1 404 "), path)
        equal([], rows(f), "rows")
        inlet.accepts(message(), 1)
        true(PASSWORD not in "".join(inlet.process.lines()), "the password is in the log")


@test
def big_and_slow_bodies_end_and_hold_nobody_up():
    with fleet() as f:
        f.devices(1)
        inlet = Inlet(f, "--devices", "d1-1")
        limit = 1 << 20
        inlet.refuses(413, "longer than 1048576 bytes", b"x" * (limit + 1))
        chunk = b"10000\r\n" + b"y" * 65536 + b"\r\n"
        status, _, said = inlet.raw(inlet.head(None, more="Transfer-Encoding: chunked\r\n") + chunk * 17 + b"0\r\n\r\n")
        equal(413, status, f"chunked: {said}")
        fits = json.dumps(message()).encode()
        status, _, said = inlet.raw(inlet.head(None, more="Transfer-Encoding: chunked\r\n") + b"%x\r\n" % len(fits) + fits
                                    + b"\r\n0\r\n\r\n")
        equal((200, 1), (status, said.get("accepted")), f"{said}")
        equal(0, inlet.raw(inlet.head(100 * limit) + b"x" * (9 * limit))[0], "a body without end is cut off")
        idle = [inlet.connect() for _ in range(20)]
        for s in idle[:10]:
            s.sendall(inlet.head(1000)[:-10])
        drip, since = inlet.connect(), mono_us()
        drip.sendall(inlet.head(1000))
        drip.setblocking(False)

        def closed():
            try:
                drip.send(b" ")
                return drip.recv(100) == b""
            except BlockingIOError:
                return False
            except ConnectionError:
                return True
        inlet.accepts(message([recipient("meanwhile")]), 1)
        wait_until(closed, 15, "the slow body to be cut off", 0.5)
        true(mono_us() - since > 4_000_000, "it had its time")
        inlet.accepts(message([recipient("behind")]), 1)
        for s in idle + [drip]:
            s.close()


# --- what is away, and what dies ------------------------------------------------------------------------


@test
def without_mysql_it_says_so_and_writes_nothing():
    with fleet() as f:
        f.devices(1)
        inlet = Inlet(f, "--devices", "d1-1")
        inlet.accepts(message([recipient("first")]), 1)
        f.mysql.restart()  # the connection is gone, the server is there: nobody notices
        inlet.accepts(message([recipient("second")]), 1)
        f.mysql.kill()
        for _ in range(3):
            headers, _ = inlet.refuses(503, "MySQL is away", message([recipient("third")]))
            equal("5", headers.get("retry-after"), "Retry-After")
        equal((503, "MySQL does not answer\n"), http_get(inlet.path, "/readyz"), "readyz")
        equal((200, "ok\n"), http_get(inlet.path, "/healthz"), "healthz")
        inlet.refuses(400, "no JSON", b"{")
        f.mysql.start()
        wait_until(lambda: http_get(inlet.path, "/readyz")[0] == 200, 20, "readiness")
        equal(2, len(rows(f)), "rows")
        inlet.accepts(message([recipient("third")]), 1)
        f.mysql.process.freeze()  # it takes the question and does not answer
        inlet.refuses(503, "MySQL is away", message([recipient("fourth")]))
        inlet.refuses(503, "MySQL is away", message([recipient("fourth")]))
        f.mysql.process.thaw()
        wait_until(lambda: http_get(inlet.path, "/readyz")[0] == 200, 20, "readiness")
        status, _, said = inlet.post(message([recipient("fourth")]))
        equal((200, 1), (status, said["accepted"] + said["duplicates"]), f"{said}")
        equal(4, len(rows(f)), "rows")
        equal(0, inlet.process.terminate(), "exit status")


def dies_at(point, left):
    with fleet(faults=True) as f:
        f.devices(1)
        people = [recipient(f"u{i}", f"6012000{i:04}") for i in range(20)]
        for n in range(1, 6):
            inlet = Inlet(f, "--devices", "d1-1", fault=f"{point}:{f.random.randint(1, 3)}:kill", name=f"inlet{n}")
            for k in range(4):
                with inlet.connect() as s:
                    body = json.dumps(message(people, campaign={"uuid": f"c{n}"})).encode()
                    s.sendall(inlet.head(len(body)) + body)
                    status, _, said = answer(s)
                if status == 0:
                    break
                equal((200, 20), (status, said["accepted"] + said["duplicates"]), f"{said}")
            equal(-signal.SIGKILL, inlet.process.wait(), "exit status")
            had = k * 20 if k < 1 else 20
            equal(20 * (n - 1) + max(had, left), len(rows(f)), f"rows behind kill {n}, request {k + 1}")
            again = Inlet(f, "--devices", "d1-1", name=f"again{n}")
            status, _, said = again.post(message(people, campaign={"uuid": f"c{n}"}))
            equal((200, 20 - max(had, left), max(had, left)), (status, said["accepted"], said["duplicates"]), f"{said}")
            equal(0, again.process.terminate(), "exit status")
        per = f.sql.rows("SELECT COUNT(*) FROM broadcast_messages GROUP BY job_id HAVING COUNT(*) <> 1")
        equal(([], 100), (per, len(rows(f))), "rows in the end")


@test
def killed_before_the_commit_nothing_is_there_and_a_repeat_writes_it():
    dies_at("inlet.inserted", 0)


@test
def killed_behind_the_commit_all_is_there_and_a_repeat_writes_nothing():
    dies_at("inlet.committed", 20)


@test
def sigterm_ends_it_when_everybody_has_an_answer():
    with fleet() as f:
        f.devices(1)
        inlet = Inlet(f, "--devices", "d1-1")
        body = json.dumps(message()).encode()
        with inlet.connect() as s:
            s.sendall(inlet.head(len(body)) + body[:50])
            inlet.accepts(message([recipient("other")]), 1)  # the half one is being read
            inlet.process.signal(signal.SIGTERM)
            wait_until(lambda: not os.path.exists(inlet.path), 10, "the door to be closed")
            true(inlet.process.running(), "it waits for the body")
            s.sendall(body[50:])
            equal((200, 1), (lambda a: (a[0], a[2]["accepted"]))(answer(s)), "answer")
        equal(0, inlet.process.wait(), "exit status")
        equal(2, len(rows(f)), "rows")


@test
def it_does_not_start_on_what_cannot_work():
    with fleet() as f:
        f.devices(1)
        address = "unix:" + os.path.join(f.folder, "x.http")

        def fails(code, pattern, *args, password=PASSWORD):
            f.ctl_env = {} if password is None else {"PACELINE_INLET_PASSWORD": password}
            got, out, err = f.ctl(*args, check=False)
            true(got == code and re.search(pattern, err) and not out, f"{args}: {got} {out}{err}")
            true(not os.path.exists(address[5:]), "a socket is left")
        fails(2, "inlet_password: there is none; set it", "inlet", "--listen", address, password=None)
        fails(2, "inlet_password: there is none", "inlet", "--listen", address, password="")
        fails(2, "inlet_user: .*without a colon", "--inlet-user", "a:b", "inlet", "--listen", address)
        fails(2, "--listen: .*malformed", "inlet", "--listen", "nowhere")
        fails(2, "--listen: ", "inlet", "--listen", "")
        fails(2, "--listen: unix:/nowhere/x: No such", "inlet", "--listen", "unix:/nowhere/x")
        fails(2, "--country: ", "inlet", "--listen", address, "--country", "x")
        fails(1, "--devices: .*no device 'd9'", "inlet", "--listen", address, "--devices", "d1-1,d9")
        fails(2, "--devices: it names no device", "inlet", "--listen", address, "--devices", ",")
        fails(1, "no user 'nobody'", "--user", "nobody", "inlet", "--listen", address)
        fails(2, "takes no secret", "--inlet-password", "x", "inlet", "--listen", address)
        Inlet(f)
        fails(2, "in use", "inlet", "--listen", "unix:" + os.path.join(f.folder, "inlet.http"))
        f.mysql.kill()
        fails(2, "mysql|MySQL|connect", "inlet", "--listen", address)


# --- rows from an application ---------------------------------------------------------------------------


@test
def the_statements_of_the_page_about_direct_rows_do_what_it_says():
    with open(os.path.join(ROOT, "docs", "direct.md")) as page:
        insert, escape, cancel, outcome = re.findall(r"```sql\n(.*?);\n```", page.read(), re.S)
    with Fleet() as f:
        f.sql.exec(
            "INSERT INTO devices (user_id, name, sender, min_gap_ms, max_gap_ms, created_at, updated_at) VALUES "
            "(1, 'sales-1', 'stub', 0, 0, UTC_TIMESTAMP(3), UTC_TIMESTAMP(3))")
        equal([1, 0], [f.sql.exec(insert), f.sql.exec(insert)], "rows of two inserts")
        equal([1, 0], [f.sql.exec(cancel), f.sql.exec(cancel)], "rows of two cancellations")
        equal("skipped", f.sql.rows(outcome)[0][0], "outcome")
        text = "50% {off} | \\o/"
        content = f.sql.one(escape)
        equal("50% \\{off\\} \\| \\\\o/", content, "escaped")
        equal(1, f.sql.exec(insert.replace("1042", "1043").replace("'Hi {{name|there}}, order 1043 is on its way.'",
                                                                   f"({escape.replace(' AS content', '')})")), "another row")
        equal(1, f.sql.exec(insert.replace("1042", "1044")), "a third row")
        f.start()
        wait_until(lambda: f.statuses() == {"sent": 2, "skipped": 1}, 30, lambda: f"sent messages: {f.statuses()}")
        equal(0, f.sql.exec(cancel.replace("1042", "1044")), "rows of a cancellation that comes too late")
        f.stop()
        with open(f.stub.ledger) as ledger:
            texts = {line.split()[3]: line.split()[7] for line in ledger}
        want = {"order-1043:shipped": text, "order-1044:shipped": "Hi Aisyah, order 1044 is on its way."}
        equal({k: f"{witness.xxh64(json.dumps(v)[1:-1].encode()):016x}" for k, v in want.items()}, texts, "texts")
        f.sql.exec("INSERT INTO opt_outs (user_id, phone, created_at) VALUES (1, '60123456789', UTC_TIMESTAMP(3))")
        equal(0, f.sql.exec(insert.replace("1042", "1045")), "rows for somebody who has opted out")


if __name__ == "__main__":
    sys.exit(main())
