#!/usr/bin/env python3
"""The paceline command as people type it, against real servers: every command, its refusals and exit codes,
imports that are killed half-way, and what it says when Redis or MySQL is away.

    tests/integration/cli_test.py [name part ...]"""
import json
import os
import pty
import random
import re
import select
import signal
import subprocess
import time

from harness import Fleet, Process, equal, main, pause, test, true, wait_until

BIG = 200_000
RNG = random.Random(20261122)


class Cli:
    """A fleet's command, with what it says split up."""

    def __init__(self, fleet, user=None):
        self.fleet = fleet
        self.user = ["--user", user] if user else []

    def run(self, *args):
        return self.fleet.ctl(*self.user, *args, check=False, seconds=120)

    def ok(self, *args):
        code, out, err = self.run(*args)
        true(code == 0, f"{args}: exit {code}\n{out}{err}")
        return out

    def json(self, *args, code=0):
        got, out, err = self.run("--json", *args)
        true(got == code, f"{args}: exit {got}, want {code}\n{out}{err}")
        return json.loads(out)

    def refused(self, code, *args, says):
        got, out, err = self.run(*args)
        true(got == code, f"{args}: exit {got}, want {code}\n{out}{err}")
        true(re.search(says, err), f"{args}: want {says!r} in {err!r}")
        return err

    def write(self, name, text):
        path = os.path.join(self.fleet.folder, name)
        with open(path, "wb") as f:
            f.write(text if isinstance(text, bytes) else text.encode())
        return path


def bare(**options):
    """Servers without the provider and without our programs."""
    return Fleet(stub=False, **options)


def open_partitions(fleet):
    """What a reaper would do: nothing recovers on this new Redis."""
    fleet.ctl("status")
    for p in range(8):
        fleet.redis.call("HSET", f"pl:{{p{p:02}}}:meta", "state", "open")


def one(fleet, query):
    return fleet.sql.rows(query)[0][0]


def pick(got, *keys):
    return tuple(got[k] for k in keys)


def add_message(fleet, number, device, status, job=None, **columns):
    """A row of campaign 1."""
    columns = {"id": number, "job_id": job or f"c1-d{device}-{number:016x}-r0", "user_id": 1, "device_id": device,
               "campaign_id": 1, "recipient_phone": f"6012{number:07}", "status": status, **columns}
    values = ", ".join("NULL" if v is None else v[1:] if str(v).startswith("=") else f"'{v}'" for v in columns.values())
    fleet.sql.exec(f"INSERT INTO broadcast_messages ({', '.join(columns)}, scheduled_at, created_at, updated_at) VALUES "
                   f"({values}, UTC_TIMESTAMP(3), UTC_TIMESTAMP(3), UTC_TIMESTAMP(3))")
    return columns["job_id"]


# --- usage --------------------------------------------------------------------------------------------


@test
def usage_is_checked():
    with bare() as fleet:
        cli = Cli(fleet)
        cli.refused(2, says="say what to do")
        cli.refused(2, "devise", "list", says="did you mean device")
        cli.refused(2, "device", "lst", says="did you mean list")
        cli.refused(2, "message", "60123456789", says="message 60123456789: unknown command; see: paceline message --help")
        true("1  refused, or something was found" in cli.ok("--help"), "the codes that commands end with")
        cli.refused(2, "device", "add", "A", "--gapp", "5s", says="--gapp: unknown flag .did you mean --gap")
        cli.refused(2, "device", "add", "A", "--mysql-ur", "x", says="did you mean --mysql-url")
        cli.refused(2, "device", "add", says="an argument is missing")
        cli.refused(2, "device", "add", "A", "B", says="too many")
        cli.refused(2, "device", "add", "A", "--gap", says="value is missing")
        cli.refused(2, "campaign", "create", "x", "--content", "hi", says="--devices.* is missing")
        cli.refused(2, "--mysql-password", "geheim", "status", says="takes no secret")
        for args in (["campaign", "create", "--help"], ["campaign", "--help"], ["--help"], ["leads", "import", "-h"]):
            true("Usage: paceline" in cli.ok(*args), args)
        for flag, value in (("--gap", "5..15s"), ("--gap", "15s..5s"), ("--batch", "20"), ("--quiet", "25:00-07:00"),
                            ("--quiet", "07:00-07:00"), ("--zone", "Asia/KL"), ("--max-in-flight", "0"),
                            ("--when-offline", "sleep"), ("--hourly-cap", "-1"), ("--phone", "0123456789"),
                            ("--sender", "a b"), ("--gap", "5")):
            cli.refused(2, "device", "add", "A", f"{flag}={value}", says=flag.strip("-"))
        equal("0", one(fleet, "SELECT COUNT(*) FROM devices"), "devices")


@test
def migrate_twice():
    with bare() as fleet:
        cli = Cli(fleet)
        fleet.mysql.client.exec("DROP DATABASE paceline")
        fleet.mysql.client.exec("CREATE DATABASE paceline")
        cli.refused(2, "device", "list", says="paceline migrate")
        true("applied 0001_spine" in cli.ok("migrate"), "the migration is named")
        true("nothing to do" in cli.ok("migrate"), "twice changes nothing")
        equal({"applied": []}, cli.json("migrate"), "json")


# --- devices ------------------------------------------------------------------------------------------


@test
def devices():
    with bare() as fleet:
        cli = Cli(fleet)
        cli.ok("device", "add", "Kedai Ali 你好", "--gap", "5s..15s", "--batch", "20/10m", "--quiet", "22:00-07:00",
               "--zone", "Asia/Kuala_Lumpur", "--phone", "012-345 6789", "--country", "60", "--sender", "stub",
               "--sender-ref", "X7", "--hourly-cap", "60", "--daily-cap", "500", "--max-in-flight", "3",
               "--when-offline", "skip")
        cli.refused(1, "device", "add", "Kedai Ali 你好", says="already")
        cli.ok("device", "set", "Kedai Ali 你好", "--account", "shop")
        equal("shop", cli.json("device", "show", "Kedai Ali 你好")["account"], "account")
        cli.ok("device", "set", "Kedai Ali 你好", "--account", "none")
        d = cli.json("device", "show", "Kedai Ali 你好")
        equal("", d["account"], "no account any more")
        for key, value in {"phone": "60123456789", "gap_min_ms": 5000, "gap_max_ms": 15000, "batch_size": 20,
                           "batch_pause_ms": 600000, "quiet": "22:00-07:00", "zone": "Asia/Kuala_Lumpur",
                           "hourly_cap": 60, "daily_cap": 500, "max_in_flight": 3, "when_offline": "skip",
                           "sender": "stub", "sender_ref": "X7", "status": "active"}.items():
            equal(value, d[key], key)
        cli.ok("device", "add", "B")
        equal(["B", "Kedai Ali 你好"], [x["name"] for x in cli.json("device", "list")], "list")
        lines = cli.ok("device", "list").splitlines()
        column = lines[0].index("STATUS")
        for line in lines[1:]:
            wide = sum(2 if ord(c) > 0x2e80 else 1 for c in line[:line.index("active")])
            equal(column, wide, "the column's place on the screen")


@test
def device_pause_tells_redis():
    with bare() as fleet:
        cli = Cli(fleet)
        cli.ok("device", "add", "A", "--gap", "1s")
        equal("told", cli.json("device", "pause", "A", "--reason", "it's ill")["redis"], "redis")
        equal("it's ill", fleet.redis.call("HGET", "pl:{p01}:d:1", "paused"), "pause in Redis")
        equal([("2", "2", "0")], fleet.sql.rows("SELECT config_version, steered_version, unsteered FROM devices"), "row")
        d = cli.json("device", "show", "1")
        equal(("it's ill", "2", 1), (d["redis"]["paused"], d["redis"]["config"], d["redis"]["partition"]), "live facts")
        cli.refused(1, "device", "pause", "A", says="is paused .it's ill.")
        cli.ok("device", "set", "A", "--gap", "2s..3s", "--max-in-flight", "2")
        equal(["2000", "3000", "2"], fleet.redis.call("HMGET", "pl:{p01}:d:1", "gap_min", "gap_max", "max_in_flight"), "pace")
        cli.ok("device", "resume", "A")
        cli.refused(1, "device", "resume", "A", says="is active")
        equal(None, fleet.redis.call("HGET", "pl:{p01}:d:1", "paused"), "resumed")
        cli.refused(1, "device", "pause", "nobody", says="no device 'nobody'")
        fleet.redis.kill()
        code, out, err = cli.run("device", "pause", "A")
        equal(0, code, "exit without Redis")
        true("producers do so within seconds" in err, err)
        equal([("paused", "1")], fleet.sql.rows("SELECT status, unsteered FROM devices"), "left to the producers")
        d = cli.json("device", "show", "A")
        true("redis" in d["redis"]["state"].lower() or "connect" in d["redis"]["state"].lower(), d["redis"])


@test
def device_import():
    with bare() as fleet:
        cli = Cli(fleet)
        path = cli.write("d.csv", "Name,Gap,max in flight,Sender_Ref,quiet\nA,1s..2s,2,ref a,22:00-06:00\n"
                                  "B,,,,\nC,5..9s,,,\n,1s,,,\n\"x,y\",,,,\n")
        equal((2, 3), pick(cli.json("device", "import", path, "--dry-run", code=1), "inserted", "refused"), "dry run")
        equal("0", one(fleet, "SELECT COUNT(*) FROM devices"), "nothing written")
        err = cli.refused(1, "device", "import", path, says=r"d\.csv:4: gap: '5\.\.9s' is no gap")
        true(re.search(r"d\.csv:5: .*name", err) and re.search(r"d\.csv:6: .*commas", err), err)
        equal([("A", "1000", "2000", "2", "ref a", "1320", "360"), ("B", "5000", "15000", "1", "", "-1", "-1")],
              fleet.sql.rows("SELECT name, min_gap_ms, max_gap_ms, max_in_flight, sender_ref, quiet_from, quiet_to FROM devices ORDER BY id"), "rows")
        good = cli.write("g.csv", "name,gap\nA,7s\nD,8s\n")
        three = ("inserted", "updated", "duplicates")
        equal((1, 0, 1), pick(cli.json("device", "import", good), *three), "again")
        equal((0, 2, 0), pick(cli.json("device", "import", good, "--update"), *three), "update")
        equal([("7000", "2", "1")], fleet.sql.rows("SELECT min_gap_ms, config_version, unsteered FROM devices WHERE name = 'A'"), "changed")
        cli.refused(2, "device", "import", cli.write("u.csv", "name,gaap\nA,1s\n"), says="'gaap' is unknown .did you mean gap")
        cli.refused(2, "device", "import", cli.write("n.csv", "gap\n1s\n"), says="no column is called name")


# --- users --------------------------------------------------------------------------------------------


@test
def users_are_strangers():
    """Whatever one user types, another's things are neither shown nor changed."""
    with bare() as fleet:
        ann, bob = Cli(fleet, "ann"), Cli(fleet, "bob")
        open_partitions(fleet)
        ann.refused(1, "device", "list", says="no user 'ann'")
        ann.ok("device", "add", "A")
        bob.ok("device", "add", "B")
        ann.ok("campaign", "create", "mine", "--devices", "all", "--content", "hi")
        user = one(fleet, "SELECT id FROM users WHERE name = 'ann'")
        fleet.sql.exec(f"UPDATE campaigns SET id = 1, user_id = {user}")
        job = add_message(fleet, 5, 1, "unknown", user_id=user)
        tables = ("devices", "leads", "campaigns", "broadcast_messages", "message_events", "campaign_devices")
        before = {t: fleet.sql.rows(f"SELECT * FROM {t}") for t in tables}
        for args in (["device", "show", "A"], ["device", "show", "1"], ["device", "pause", "1"], ["device", "set", "1", "--gap", "1s"],
                     ["device", "resume", "A"], ["campaign", "show", "mine"], ["campaign", "start", "1"], ["campaign", "cancel", "mine"],
                     ["campaign", "create", "x", "--devices", "A", "--content", "hi"], ["message", "trace", "5"],
                     ["message", "trace", job], ["message", "trace", "60120000005"], ["unknown", "drop", "5"], ["unknown", "confirm", job],
                     ["unknown", "resend", "--campaign", "mine", "--all"], ["unknown", "list", "--campaign", "1"],
                     ["leads", "import", bob.write("l.csv", "phone\n60123456789\n"), "--device", "A"]):
            bob.refused(1, *args, says="has no|of 1 messages only 0|there is no message")
        for args in (["device", "list"], ["campaign", "list"], ["unknown", "list"], ["status"], ["audit", "conservation"], ["audit", "stuck"]):
            code, out, err = bob.run(*args)
            true(not re.search(r"\bA\b|mine|60120000005", out + err), f"{args} shows another's: {out}{err}")
        line = bob.write("l.csv", "phone,device\n60123456789,A\n")
        bob.refused(1, "leads", "import", line, says="no device is called 'A'")
        equal(before, {t: fleet.sql.rows(f"SELECT * FROM {t}") for t in tables}, "all tables")


# --- leads --------------------------------------------------------------------------------------------

MESSY = (b'\xef\xbb\xbfNama;No. HP;Kategori;Status;Nama Syarikat;City\r\n'
         b'"Ali; bin\nAbu";012-345 6789;fit;new;ACME "1";KL\r\n'       # 2 and 3
         b'Siti;+60 19 222 3333;fit;new;;\r\n'                          # 4
         b';6.01E+10;;;;\r\n'                                           # 5
         b'X;;;;;\r\n'                                                  # 6
         b';;;;;\r\n'
         b'Bad\xff;0123456788;;;;\r\n'                                  # 8
         b'Dup;60123456789;fit;new;;\r\n'                               # 9, as 2
         b'Too;0123456781;a;b;c;d;e\r\n'                                # 10
         b'O\'Neil\\;0123456782;fit;new;"A ""B"" C";\r\n'               # 11
         + 'N'.encode() * 200 + b';0123456783;;;;\r\n'                  # 12
         b'"open;0123')                                                 # 13


@test
def leads_of_all_kinds():
    with bare() as fleet:
        cli = Cli(fleet)
        cli.ok("device", "add", "A")
        path = cli.write("m.csv", MESSY)
        args = ["leads", "import", path, "--device", "A", "--country", "60"]
        want = {"inserted": 3, "updated": 0, "duplicates": 1, "refused": 6, "rows": 10}
        got = cli.json(*args, "--dry-run", code=1)
        equal(want, {k: got[k] for k in want}, "dry run")
        equal(("0", "0"), (one(fleet, "SELECT COUNT(*) FROM leads"), one(fleet, "SELECT COUNT(*) FROM lead_imports")), "dry")
        err = cli.refused(1, *args, says="m.csv:5: .*spreadsheet")
        for line, what in ((6, "empty"), (8, "column 1 .Nama. is not UTF-8: save"), (10, "7 columns, the header 6"),
                           (12, "200 characters: shorten"), (13, "quote opened")):
            true(re.search(rf"m\.csv:{line}: .*{what}", err), f"line {line}: {err}")
        true("0123456" not in err, "no phone number in an error")
        rows = fleet.sql.rows("SELECT phone, name, niche, target_status, attributes FROM leads ORDER BY phone")
        equal(["60123456782", "60123456789", "60192223333"], [r[0] for r in rows], "phones")
        equal(("O'Neil\\", "Ali; bin\nAbu", "Siti"), tuple(r[1] for r in rows), "names")
        equal({"Nama_Syarikat": 'ACME "1"', "City": "KL"}, json.loads(rows[1][4]), "attributes")
        equal(None, rows[2][4], "no attributes")
        true("nothing to do (3 inserted, 0 updated, 6 refused" in cli.ok(*args), "finished before")
        got = cli.json(*args, "--again", code=1)
        equal((0, 4), (got["inserted"], got["duplicates"]), "again")
        errors = os.path.join(fleet.folder, "errors")
        err = cli.refused(1, *args, "--again", "--errors", errors, says="6 rows were refused")
        equal(6, len(open(errors).read().splitlines()), "the errors' file")
        fixed = cli.write("f.csv", "phone,name,city,trigger\n60192223333,Siti Aminah,Ipoh,warm\n60192223334,New,,cold\n60123456782,O'Neil\\,,\n")
        got = cli.json("leads", "import", fixed, "--device", "A", "--update")
        equal((1, 2, 0), (got["inserted"], got["updated"], got["duplicates"]), "update")
        equal([("Siti Aminah", '{"city":"Ipoh"}', "fit")],
              fleet.sql.rows("SELECT name, attributes, niche FROM leads WHERE phone = '60192223333'"), "what the file has not stays")
        equal([("60192223333", "warm"), ("60192223334", "cold")],
              fleet.sql.rows("SELECT phone, `trigger` FROM leads WHERE trigger_pending ORDER BY phone"), "triggers")
        got = cli.json("leads", "import", fixed, "--device", "A", "--update", "--again")
        equal((0, 0, 3), (got["inserted"], got["updated"], got["duplicates"]), "the same again")


@test
def leads_columns():
    with bare() as fleet:
        cli = Cli(fleet)
        cli.ok("device", "add", "A")
        cli.ok("device", "add", "B")
        path = cli.write("m.csv", "Phone,Mobile,Full Name,Cawangan,Name\n1,60123456781,Ali,a,x\n2,60123456782,Abu,B,y\n3,60123456783,Z,C,z\n")
        cli.refused(2, "leads", "import", path, "--device", "A", says="'Phone' and 'Mobile' both look like the phone")
        cli.refused(2, "leads", "import", path, "--map", "phone=Mobile,name=", says="no column looks like the device.*--device-column")
        cli.refused(2, "leads", "import", path, "--map", "phone=Tel", "--device", "A", says="no column.*'Tel'.*'Phone', 'Mobile'")
        cli.refused(2, "leads", "import", path, "--map", "fone=Mobile", "--device", "A", says="'fone' is none of")
        cli.refused(2, "leads", "import", path, "--device", "A", "--device-column", "Cawangan", says="exclude")
        cli.refused(1, "leads", "import", path, "--map", 'phone=Mobile,name="Full Name"', "--device-column", "cawangan",
                    says=r"m\.csv:4: no device is called 'C': add it")
        equal([("1", "60123456781", "Ali", '{"Phone":"1","Name":"x"}'), ("2", "60123456782", "Abu", '{"Phone":"2","Name":"y"}')],
              fleet.sql.rows("SELECT device_id, phone, name, attributes FROM leads ORDER BY id"), "leads")
        path = cli.write("h.csv", "60123456789,Ali\n")
        cli.refused(2, "leads", "import", path, "--device", "A", says="no column looks like the phone; the columns are '60123456789', 'Ali'")
        cli.refused(2, "leads", "import", cli.write("e.csv", ""), "--device", "A", says="empty")
        cli.refused(2, "leads", "import", cli.write("w.csv", "phone\n1\n".encode("utf-16")), "--device", "A", says="UTF-16")
        cli.refused(2, "leads", "import", "/dev/null", "--device", "A", says="regular file")
        cli.refused(2, "leads", "import", fleet.folder + "/none.csv", "--device", "A", says="No such file")
        many = "phone," + ",".join(f"c{i}" for i in range(61)) + "\n"
        cli.refused(2, "leads", "import", cli.write("c.csv", many), "--device", "A", says="61 columns beside")
        got = cli.json("leads", "import", cli.write("o.csv", "phone\n"), "--device", "A")
        equal(0, got["rows"], "a header alone")


def big_file(cli, name="big.csv", n=BIG, bad=()):
    lines = ["name,mobile,niche,status,city,device\n"]
    for i in range(n):
        phone = "+60 12-%07d" % i if i not in bad else "none"
        lines.append('Lead Number %d,%s,fit,new,"Kuala Lumpur, %d",d%02d\n' % (i, phone, i % 50, i % 30))
    return cli.write(name, "".join(lines))


def thirty_devices(fleet):
    fleet.sql.exec("INSERT INTO devices (user_id, name, created_at, updated_at) SELECT 1, CONCAT('d', LPAD(seq, 2, '0')), "
                   "UTC_TIMESTAMP(3), UTC_TIMESTAMP(3) FROM seq_0_to_29")


@test(seconds=300)
def leads_200000():
    """A large import: quick, in bounded memory; then killed at random moments, and resumed."""
    with bare() as fleet:
        cli = Cli(fleet)
        fleet.mysql.client.exec("SET GLOBAL innodb_log_file_size = 100663296")  # its default; 8 MB is for many small servers
        thirty_devices(fleet)
        bad = set(RNG.sample(range(BIG), 500))
        path = big_file(cli, bad=bad)
        argv = [fleet.binary("ctl"), "--config", fleet.conf_file, "--json", "leads", "import", path]
        since = time.monotonic()
        p = Process("import", argv, fleet.folder + "/import.log")
        peak = 0.0
        while p.running():
            peak = max(peak, p.peak_rss_mb())
            pause(0.01)
        took = time.monotonic() - since
        print(f"    {BIG} lines in {took:.1f} s ({BIG / took:.0f}/s), {peak:.0f} MB")
        equal(1, p.status(), "exit: some were refused")
        equal(str(BIG - 500), one(fleet, "SELECT COUNT(*) FROM leads"), "leads")
        true(peak < 32, f"{peak} MB")
        true(took < 60, f"{took} s")

        fleet.sql.exec("TRUNCATE leads")
        fleet.sql.exec("TRUNCATE lead_imports")
        kills = 0
        while True:
            line = int((fleet.sql.rows("SELECT line_number FROM lead_imports") or [("0",)])[0][0])
            p = Process("import", argv, fleet.folder + f"/import{kills}.log")
            target = line + RNG.randrange(5000, 60000)
            while p.running() and int((fleet.sql.rows("SELECT line_number FROM lead_imports") or [("0",)])[0][0]) < target:
                pause(0.002)
            if not p.running():
                break
            p.kill()
            kills += 1
        true(kills >= 3, f"{kills} kills")
        equal(1, p.wait(), "exit of the last one")
        said = "\n".join(p.lines())
        true(re.search(r"resuming at line [0-9]+", said), said)
        equal(str(BIG - 500), one(fleet, "SELECT COUNT(*) FROM leads"), "leads after all kills")
        equal([(str(BIG - 500), "0", "500", "1")],
              fleet.sql.rows("SELECT inserted, updated, refused, finished_at IS NOT NULL FROM lead_imports"), "the import's row")
        true("nothing to do" in cli.ok("leads", "import", path), "finished")
        print(f"    resumed {kills} times")


@test(seconds=120)
def leads_survive_mysql():
    """MySQL dies in the middle of an import: it waits, and goes on."""
    with bare() as fleet:
        cli = Cli(fleet)
        thirty_devices(fleet)
        path = big_file(cli, n=40000)
        p = Process("import", [fleet.binary("ctl"), "--config", fleet.conf_file, "leads", "import", path], fleet.folder + "/i.log")
        wait_until(lambda: int(one(fleet, "SELECT COUNT(*) FROM leads")) > 3000, 30, "some leads", 0.005)
        fleet.mysql.kill()
        true(p.running(), "it was still at work")
        fleet.mysql.start()
        equal(0, p.wait(60), "exit\n" + "\n".join(p.lines()))
        true(any("waiting for the database" in l for l in p.lines()), p.lines())
        fleet.sql.close()
        equal("40000", one(fleet, "SELECT COUNT(*) FROM leads"), "leads")
        equal([("40000", "1")], fleet.sql.rows("SELECT inserted, finished_at IS NOT NULL FROM lead_imports"), "row")


@test
def one_import_at_a_time():
    """Two imports of one file at once: every lead once, at most one of them gives up."""
    with bare() as fleet:
        cli = Cli(fleet)
        thirty_devices(fleet)
        path = big_file(cli, n=30000)
        argv = [fleet.binary("ctl"), "--config", fleet.conf_file, "leads", "import", path]
        both = [Process(f"i{i}", argv, f"{fleet.folder}/i{i}.log") for i in (0, 1)]
        codes = sorted(p.wait(60) for p in both)
        true(codes in ([0, 1], [0, 0]), f"{codes} {[p.lines() for p in both]}")
        equal(("30000", "30000"), (one(fleet, "SELECT COUNT(*) FROM leads"), one(fleet, "SELECT inserted FROM lead_imports")), "leads")


def on_a_terminal(fleet, *args):
    """What the command writes to a terminal."""
    pid, fd = pty.fork()
    if pid == 0:
        os.execv(fleet.binary("ctl"), ["paceline", "--config", fleet.conf_file, *args])
    data = b""
    while select.select([fd], [], [], 60)[0]:
        try:
            part = os.read(fd, 65536)
        except OSError:
            break
        if not part:
            break
        data += part
    _, status = os.waitpid(pid, 0)
    os.close(fd)
    return os.waitstatus_to_exitcode(status), data.decode()


@test
def progress_bar():
    with bare() as fleet:
        cli = Cli(fleet)
        thirty_devices(fleet)
        code, said = on_a_terminal(fleet, "leads", "import", big_file(cli, n=60000))
        equal(0, code, said)
        true(re.search(r"\[#+-+\] +\d+%  \d+ rows  \d+/s  ETA \d+:\d\d", said), said[:500])
        true("\x1b[K" in said and "INSERTED" in said, said[-300:])


# --- campaigns ----------------------------------------------------------------------------------------


@test
def campaigns():
    with bare() as fleet:
        cli = Cli(fleet)
        for d in "ABC":
            cli.ok("device", "add", d)
        make = ["campaign", "create", "c1", "--devices", "A, B"]
        cli.refused(2, *make, says="either --content or --content-file")
        cli.refused(2, *make, "--content", "Hi {{name|x} there", says=r"1:4")
        cli.refused(2, *make, "--content-file", cli.write("t.txt", "Hi\n{a|b{c}\n"), says=r"t\.txt: .*2:1")
        cli.refused(2, *make, "--content", "x" * 65536, says="bytes|long")
        cli.refused(2, *make, "--content", "", says="empty")
        cli.refused(2, *make, "--content", "x", "--on-unknown", "panic", says="none of hold.resend.assume_sent")
        cli.refused(2, *make, "--content", "x", "--start", "2026-02-30 10:00", says="no time")
        cli.refused(2, *make, "--content", "x", "--start", "2020-02-03 10:00", says="is past; write now")
        cli.refused(2, *make, "--image", "ftp://shop.example/x.png", says="http.s. or a data: URL, or a file")
        cli.refused(1, "campaign", "create", "c1", "--devices", "A,Z", "--content", "x", says="no device 'Z'")
        cli.refused(2, "campaign", "create", "c1", "--devices", ",", "--content", "x", says="names no device")
        got = cli.json("campaign", "create", "c1", "--devices", "A, B", "--content-file", cli.write("t.txt", "Hi {name}\n"),
                       "--gap", "1s..2s", "--batch", "5/1m", "--max-lateness", "2h", "--max-attempts", "3", "--niche", "fit",
                       "--target-status", "new", "--on-unknown", "resend")
        equal(("draft", 2), (got["status"], got["devices"]), "created")
        cli.refused(1, *make, "--content", "x", says="already")
        equal([("Hi {name}", "1000", "2000", "5", "60000", "7200", "3", "fit", "new", "resend", "draft")],
              fleet.sql.rows("SELECT content, min_gap_ms, max_gap_ms, batch_size, batch_pause_ms, max_lateness_s, max_attempts,"
                             " niche, target_status, on_unknown, status FROM campaigns"), "row")
        cli.ok("campaign", "create", "c2", "--devices", "all", "--content", "x", "--start", "2031-05-06T10:00+08:00")
        equal("2031-05-06 02:00:00.000", one(fleet, "SELECT scheduled_at FROM campaigns WHERE name = 'c2'"), "UTC")
        equal("3", one(fleet, "SELECT COUNT(*) FROM campaign_devices WHERE campaign_id = (SELECT id FROM campaigns WHERE name = 'c2')"), "all")
        shown = cli.json("campaign", "show", "c1")
        equal((["A", "B"], "Hi {name}", 7200000), ([d["name"] for d in shown["devices"]], shown["content"], shown["max_lateness_ms"]), "show")
        equal(["c1", "c2"], [c["name"] for c in cli.json("campaign", "list")], "list")


@test
def campaign_states():
    with bare() as fleet:
        cli = Cli(fleet)
        cli.ok("device", "add", "A")
        cli.ok("campaign", "create", "c", "--devices", "A", "--content", "x")

        def status():
            return fleet.sql.rows("SELECT status, steered FROM campaigns")[0]

        stopped = lambda: {fleet.redis.call("HGET", f"pl:{{p{p:02}}}:stopped", "c1") for p in range(8)}
        for verb in ("pause", "resume"):
            cli.refused(1, "campaign", verb, "c", says="is draft")
        equal("scheduled", cli.json("campaign", "start", "c")["status"], "start")
        cli.refused(1, "campaign", "start", "c", says="is scheduled: only a draft")
        equal("told", cli.json("campaign", "pause", "c")["redis"], "pause")
        equal((("paused", "paused"), {"paused"}), (status(), stopped()), "paused everywhere")
        equal("scheduled", cli.json("campaign", "resume", "c")["status"], "it had not begun: it begins again")
        equal((("scheduled", "none"), {None}), (status(), stopped()), "resumed")
        fleet.sql.exec("UPDATE campaigns SET status = 'running', audience_max_lead = 7")
        cli.ok("campaign", "pause", "c")
        equal("running", cli.json("campaign", "resume", "c")["status"], "it goes on")
        cli.ok("campaign", "cancel", "c")
        equal((("cancelled", "cancelled"), {"cancelled"}), (status(), stopped()), "cancelled everywhere")
        for verb in ("cancel", "pause", "resume", "start"):
            cli.refused(1, "campaign", verb, "c", says="is cancelled")
        cli.ok("campaign", "create", "d", "--devices", "A", "--content", "x", "--start", "now")
        fleet.redis.kill()
        code, out, err = cli.run("campaign", "pause", "d")
        equal(0, code, err)
        true("producers do so within seconds" in err, err)
        equal([("paused", "none")], fleet.sql.rows("SELECT status, steered FROM campaigns WHERE name = 'd'"), "left to the producers")


@test
def one_winner():
    """Many people pause at once: one is told so, the others are refused."""
    with bare() as fleet:
        cli = Cli(fleet)
        cli.ok("device", "add", "A")
        cli.ok("campaign", "create", "c", "--devices", "A", "--content", "x", "--start", "now")
        argv = [fleet.binary("ctl"), "--config", fleet.conf_file, "campaign", "pause", "c"]
        many = [Process(f"p{i}", argv, f"{fleet.folder}/p{i}.log") for i in range(8)]
        equal([0] + [1] * 7, sorted(p.wait() for p in many), "exit codes")


# --- unknown ------------------------------------------------------------------------------------------


def unknown_fixture(fleet):
    cli = Cli(fleet)
    open_partitions(fleet)
    cli.ok("device", "add", "A")
    cli.ok("campaign", "create", "c", "--devices", "A", "--content", "x")
    fleet.sql.exec("UPDATE campaigns SET status = 'finished', finished_at = UTC_TIMESTAMP(3), expanded_at = UTC_TIMESTAMP(3)")
    for i in range(1, 7):
        add_message(fleet, i, 1, "unknown", gen=1, attempt=1, unknowns=1, error_class="timeout", error_message="no answer")
    add_message(fleet, 7, 1, "sent", gen=1, attempt=1)
    return cli


@test
def unknown_decisions():
    with bare() as fleet:
        cli = unknown_fixture(fleet)
        listed = cli.json("unknown", "list", "--campaign", "c")
        equal([(i, "timeout", "A", "c") for i in range(1, 7)],
              [(m["id"], m["reason"], m["device"], m["source"]) for m in listed], "list")
        code, out, err = cli.run("unknown", "list", "--limit", "2")
        true("more than 2" in err and out.count("timeout") == 2, out + err)
        equal(2, cli.json("unknown", "resend", "1", "2", "--dry-run")["messages"], "dry run")
        equal("6", one(fleet, "SELECT COUNT(*) FROM broadcast_messages WHERE status = 'unknown'"), "nothing changed")
        cli.ok("unknown", "resend", "1", f"c1-d1-{2:016x}-r0")
        equal([("pending", "1", "1", None)] * 2,
              fleet.sql.rows("SELECT status, attempt, unknowns, decide_at FROM broadcast_messages WHERE id < 3"), "pending again")
        equal([("running", None)], fleet.sql.rows("SELECT status, finished_at FROM campaigns"), "the campaign goes on")
        got = cli.json("unknown", "confirm", "2", "3", "7", code=1)
        equal((1, {2: "it is pending, not unknown", 7: "it is sent, not unknown"}),
              (got["messages"], {r["id"]: r["why"] for r in got["refusals"]}), "only what is unknown")
        cli.ok("unknown", "drop", "4")
        equal([("sent", "confirmed"), ("failed", "dropped")],
              fleet.sql.rows("SELECT status, error_class FROM broadcast_messages WHERE id IN (3, 4) ORDER BY id"), "decided")
        equal([("1", "resend", "cli"), ("2", "resend", "cli"), ("3", "confirm", "cli"), ("4", "drop", "cli")],
              fleet.sql.rows("SELECT message_id, event, actor FROM message_events ORDER BY message_id"), "history")
        cli.refused(1, "unknown", "drop", "99", says="of 1 messages only 0 are there")
        cli.refused(2, "unknown", "drop", says="name the messages")
        cli.refused(2, "unknown", "drop", "--all", says="name the messages")
        fleet.sql.exec("UPDATE broadcast_messages SET expires_at = UTC_TIMESTAMP(3) - INTERVAL 1 MINUTE WHERE id = 5")
        got = cli.json("unknown", "resend", "--campaign", "c", "--all", code=1)
        equal((1, 1), (got["messages"], got["refused"]), "one is too late")
        fleet.sql.exec("UPDATE campaigns SET status = 'cancelled'")
        cli.refused(1, "unknown", "resend", "5", says="campaign is cancelled")
        equal(1, cli.json("unknown", "drop", "--campaign", "c", "--all")["messages"], "the last one")


@test
def unknown_by_the_thousand():
    with bare() as fleet:
        cli = unknown_fixture(fleet)
        fleet.sql.exec("INSERT INTO broadcast_messages (job_id, user_id, device_id, campaign_id, recipient_phone, status, scheduled_at, created_at, updated_at)"
                       " SELECT CONCAT('j', seq), 1, 1 + seq % 5, 1, CONCAT('6013', LPAD(seq, 7, '0')), 'unknown', UTC_TIMESTAMP(3), UTC_TIMESTAMP(3),"
                       " UTC_TIMESTAMP(3) FROM seq_1_to_2300")
        equal(2306, cli.json("unknown", "confirm", "--campaign", "c", "--all", "--dry-run")["messages"], "dry run")
        equal(2306, cli.json("unknown", "confirm", "--campaign", "c", "--all")["messages"], "all")
        equal("2306", one(fleet, "SELECT COUNT(*) FROM message_events"), "events")


# --- audits -------------------------------------------------------------------------------------------


@test
def audits_find_things():
    with bare() as fleet:
        cli = Cli(fleet)
        open_partitions(fleet)
        cli.ok("device", "add", "A")
        cli.ok("device", "add", "B")
        fleet.sql.exec("UPDATE devices SET steered_version = config_version")
        cli.ok("campaign", "create", "c", "--devices", "A", "--content", "x")
        for audit in ("duplicates", "stuck", "conservation"):
            got = cli.json("audit", audit)
            equal((True, []), (got["clean"], got["findings"]), audit)

        def kinds(audit, code=1):
            got = cli.json("audit", audit, code=code)
            return sorted({(f["kind"], f["message"]) for f in got["findings"]}, key=str)

        # One recipient, two devices; one message that two deliveries called sent; and one that policy sent again.
        add_message(fleet, 1, 1, "sent", recipient_phone="601111111")
        add_message(fleet, 2, 2, "sent", recipient_phone="601111111")
        add_message(fleet, 3, 1, "sent", attempt=2)
        add_message(fleet, 4, 1, "sent", attempt=2, unknowns=1)
        fleet.sql.exec("INSERT INTO message_events (message_id, gen, token, event, happened_at) SELECT m.id, 1, t.seq, 'sent', UTC_TIMESTAMP(3)"
                       " FROM broadcast_messages m JOIN seq_1_to_2 t WHERE m.id IN (3, 4)")
        equal([("recipient", 2), ("sent-twice", 3)], kinds("duplicates"), "duplicates")
        got = cli.json("audit", "duplicates", code=1)
        equal({"campaigns": 1, "messages": 4, "sent by other sources": 0, "sent again after an unknown outcome": 1, "of these delivered twice for certain": 1},
              {f["what"]: f["count"] for f in got["facts"]}, "facts")
        fleet.sql.exec("DELETE FROM broadcast_messages")
        fleet.sql.exec("ALTER TABLE broadcast_messages DROP KEY messages_job")
        equal([("key", None)], kinds("duplicates"), "a missing key")
        fleet.sql.exec("ALTER TABLE broadcast_messages ADD UNIQUE KEY messages_job (job_id)")

        # In one place only.
        redis = fleet.redis
        queued = add_message(fleet, 11, 1, "queued", gen=2)
        fine = add_message(fleet, 12, 1, "queued", gen=1)
        ended = add_message(fleet, 13, 1, "sent", gen=1)
        older = add_message(fleet, 14, 1, "queued", gen=3)
        transit = add_message(fleet, 15, 1, "sent", gen=1)
        redis.call("HSET", "pl:{p01}:d:1:ids", fine, "W 1 1-0", ended, "W 1 2-0", older, "W 2 3-0", "c1-d1-gone-r0", "S 1", transit, "D 1 5 sent")
        redis.call("XADD", "pl:{p01}:results", "*", "id", transit)
        redis.call("SADD", "pl:{p01}:devices", "1")
        fleet.sql.exec("UPDATE campaigns SET total = 5")
        equal([("queued", 11), ("queued", 14), ("stray", 13), ("stray", None)], kinds("conservation"), "conservation")
        equal([("queued", 11), ("queued", 14)], kinds("stuck"), "stuck")
        redis.call("DEL", "pl:{p01}:results")
        true(("settled", 15) in kinds("conservation"), "a result that is gone")
        redis.call("HSET", "pl:{p01}:d:1:ids", fine, "L 1 1-0 7 w")
        equal({("in-flight", None), ("leases", None)}, set(kinds("conservation")) & {("in-flight", None), ("leases", None)}, "leases")
        redis.call("HSET", "pl:{p01}:d:1", "in_flight", "1")
        redis.call("ZADD", "pl:{p01}:leases", "1", f"1/{fine}")
        true(not set(kinds("conservation")) & {("in-flight", None), ("leases", None)}, "leases agree")
        fleet.sql.exec("UPDATE campaigns SET total = 6")
        true(("total", None) in kinds("conservation"), "a row is missing")
        redis.call("DEL", "pl:{p01}:d:1:ids", "pl:{p01}:leases", "pl:{p01}:d:1")
        fleet.sql.exec("DELETE FROM broadcast_messages")

        # Standing still.
        fleet.sql.exec("UPDATE campaigns SET total = 0, status = 'paused', updated_at = UTC_TIMESTAMP(3) - INTERVAL 1 MINUTE")
        add_message(fleet, 21, 1, "processing", processing_started_at="=UTC_TIMESTAMP(3) - INTERVAL 6 MINUTE")
        add_message(fleet, 22, 1, "processing", processing_started_at="=UTC_TIMESTAMP(3) - INTERVAL 4 MINUTE")
        fleet.sql.exec("UPDATE devices SET config_version = 9, updated_at = UTC_TIMESTAMP(3) - INTERVAL 1 MINUTE WHERE id = 2")
        got = cli.json("audit", "stuck", code=1)
        equal({"processing", "unsteered"}, {f["kind"] for f in got["findings"]}, "stuck")
        equal([21], [f["message"] for f in got["findings"] if f["kind"] == "processing"], "the old one")
        equal(2, sum(f["kind"] == "unsteered" for f in got["findings"]), "campaign and device")
        fleet.sql.exec("DELETE FROM broadcast_messages")
        fleet.sql.exec("UPDATE campaigns SET status = 'running', expanded_at = UTC_TIMESTAMP(3)")
        true(("unended", None) in kinds("stuck"), "a campaign that nobody ends")
        add_message(fleet, 31, 1, "pending")
        fleet.sql.exec("UPDATE campaigns SET status = 'finished', finished_at = UTC_TIMESTAMP(3)")
        true(("ended-early", None) in kinds("stuck"), "a campaign that ended too early")


@test
def audits_that_cannot_look():
    with bare() as fleet:
        cli = Cli(fleet)
        cli.ok("device", "add", "A")
        fleet.redis.kill()
        cli.refused(2, "audit", "conservation", says="edis|onnect")
        cli.refused(2, "audit", "stuck", says="edis|onnect")
        cli.ok("audit", "duplicates")
        fleet.mysql.kill()
        for audit in ("duplicates", "stuck", "conservation"):
            cli.refused(2, "audit", audit, says="mysql")


# --- the whole ----------------------------------------------------------------------------------------


@test(seconds=180)
def a_campaign_from_csv_to_the_end():
    """Everything with the command alone: import, create, start, pause, resume, watch, trace, audit."""
    with Fleet(rules=["p:0.1=reset-after"]) as fleet:
        cli = Cli(fleet)
        devices = "name,gap,sender\n" + "".join(f"d{i:02},1ms..3ms,stub\n" for i in range(10))
        cli.ok("device", "import", cli.write("d.csv", devices))
        leads = "phone,name,device,city\n" + "".join(f"6012{i:07},Lead {i},d{i % 10:02},Ipoh\n" for i in range(600))
        cli.ok("leads", "import", cli.write("l.csv", leads))
        fleet.start(producer=1, worker=2, reaper=1)
        cli.ok("campaign", "create", "raya", "--devices", "all", "--content", "{Hi|Hello} {{name}} in {{city|town}}")
        cli.ok("campaign", "start", "raya")
        wait_until(lambda: len(fleet.ledger()) > 50, 30, "sends")
        cli.ok("campaign", "pause", "raya")
        wait_until(lambda: fleet.statuses().get("queued", 0) + fleet.statuses().get("processing", 0) == 0, 20, "all to come back")
        n = len(fleet.ledger())
        equal("paused", cli.json("campaign", "show", "raya")["status"], "status")
        pause(1)
        equal(n, len(fleet.ledger()), "nothing is sent while it is paused")
        cli.ok("campaign", "resume", "raya")
        fleet_now = cli.json("status")
        equal({"producer": 1, "worker": 2, "reaper": 1}, {f["role"]: f["alive"] for f in fleet_now["fleet"]}, "fleet")
        for _ in range(3):  # while everything moves
            cli.json("audit", "conservation")
            equal([], cli.json("audit", "stuck")["findings"], "stuck")
        fleet.drain()
        status = cli.json("status")
        unknown = fleet.statuses().get("unknown", 0)
        true(unknown > 10, f"{unknown} unknown")
        equal(("finished", 600, 100), tuple(status["campaigns"][0][k] for k in ("status", "total", "progress")), "campaign")
        equal({"sent": 600 - unknown, "unknown": unknown}, {m["status"]: m["rows"] for m in status["messages"]}, "messages")

        first = cli.json("unknown", "list")[0]["id"]
        cli.ok("unknown", "resend", str(first))
        wait_until(lambda: one(fleet, f"SELECT status FROM broadcast_messages WHERE id = {first}") != "pending", 20, "the second try")
        cli.ok("unknown", "confirm", "--campaign", "raya", "--all") if fleet.statuses().get("unknown") else None
        fleet.drain()
        hops = [h["event"] for h in cli.json("message", "trace", str(first))["hops"]]
        true(hops[0] == "created" and {"queued", "resend", "unknown"} <= set(hops), hops)
        sent = fleet.sql.rows("SELECT id, job_id, recipient_phone FROM broadcast_messages WHERE status = 'sent' AND unknowns = 0 LIMIT 1")[0]
        for key in sent:
            trace = cli.json("message", "trace", key)
            equal((int(sent[0]), "sent"), (trace["id"], trace["status"]), f"trace by {key}")
            equal("Redis does not know it", trace["redis"]["state"], "where it is")
            equal("sent", trace["hops"][-1]["event"], "its end")
        for audit in ("stuck", "conservation"):
            equal([], cli.json("audit", audit)["findings"], audit)
        equal([], cli.json("audit", "duplicates")["findings"], "duplicates")
        text = cli.ok("status")
        true("raya" in text and "finished" in text and "100%" in text, text)


@test
def status_without_servers():
    with bare() as fleet:
        cli = Cli(fleet)
        cli.ok("device", "add", "A")
        fleet.redis.kill()
        code, out, err = cli.run("--json", "status")
        got = json.loads(out)
        equal((2, ["Redis"], [{"status": "active", "devices": 1}]), (code, [p["what"] for p in got["problems"]], got["devices"]), "without Redis")
        fleet.redis.start()
        fleet.mysql.kill()
        got = cli.json("status", code=2)
        equal((["MySQL"], True, False), ([p["what"] for p in got["problems"]], "queue" in got, "devices" in got), "without MySQL")
        fleet.redis.kill()
        code, out, err = cli.run("status")
        true(code == 2 and "Redis" in out and "MySQL" in out, out + err)


@test
def status_watches():
    with bare() as fleet:
        cli = Cli(fleet)
        cli.ok("device", "add", "A")
        p = Process("watch", [fleet.binary("ctl"), "--config", fleet.conf_file, "status", "--watch"], fleet.folder + "/w.log")
        wait_until(lambda: sum("DEVICES" in l for l in p.lines()) >= 2, 20, "two rounds")
        fleet.redis.kill()
        wait_until(lambda: any("AWAY" in l for l in p.lines()), 20, "Redis' absence")
        fleet.redis.start()
        n = len(p.lines())
        wait_until(lambda: any("devices ready" in l for l in p.lines()[n:]), 20, "Redis to be back")
        p.signal(signal.SIGINT)
        equal(-signal.SIGINT, p.wait(), "Ctrl-C")


@test
def secrets_stay_secret():
    with bare() as fleet:
        fleet.mysql.client.exec("CREATE USER geheim@localhost IDENTIFIED BY 'pa55wort'")
        fleet.mysql.client.exec("GRANT ALL ON paceline.* TO geheim@localhost")
        url = f"mysql://geheim:falsch@/paceline?socket={fleet.mysql.socket}"
        cli = Cli(fleet)
        for args in (["--mysql-url", url, "status"], ["--mysql-url", url, "device", "list"], ["--redis-url", "redis://:pa55wort@127.0.0.1:1", "status"]):
            code, out, err = cli.run(*args)
            true(code == 2 and "falsch" not in out + err and "pa55wort" not in out + err, out + err)
        fleet.ctl_env = {"PACELINE_MYSQL_PASSWORD": "pa55wort"}
        equal([], cli.json("--mysql-url", url.replace(":falsch", ""), "device", "list"), "the right password")
        true("pa55wort" not in cli.ok("--print-config"), "print-config")


@test
def a_full_disk():
    """Output that cannot be written is a failure, not a success."""
    with bare() as fleet:
        Cli(fleet).ok("device", "add", "A")
        with open("/dev/full", "w") as full:
            done = subprocess.run([fleet.binary("ctl"), "--config", fleet.conf_file, "device", "list"], stdout=full, stderr=subprocess.PIPE, text=True)
        equal(2, done.returncode, "exit")
        true("standard output" in done.stderr, done.stderr)


if __name__ == "__main__":
    raise SystemExit(main())
