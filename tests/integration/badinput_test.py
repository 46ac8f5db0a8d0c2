#!/usr/bin/env python3
"""What should not be, and is: hostile bytes in the stream, hostile answers, servers that refuse.  A clear
line in the log, no crash, no hot loop, nothing lost, and recovery without a restart.

    tests/integration/badinput_test.py [name part ...]"""
import os
import re
import sys

from harness import Fleet, equal, main, mono_us, test, true, wait_until

# Swaps the payload of a waiting job: (ids, jobs, id, version, payload) in one step.
SWAP = """
local s = redis.call('HGET', KEYS[1], ARGV[1])
if not s or string.sub(s, 1, 2) ~= 'W ' then return 0 end
local gen, entry = string.match(s, '^W (%S+) (%S+)')
local old = redis.call('XRANGE', KEYS[2], entry, entry)[1]
if not old then return 0 end
local f = old[2]
for i = 1, #f, 2 do
  if f[i] == 'v' then f[i + 1] = ARGV[2] elseif f[i] == 'job' then f[i + 1] = ARGV[3] end
end
redis.call('XACK', KEYS[2], 'fleet', entry)
redis.call('XDEL', KEYS[2], entry)
local new = redis.call('XADD', KEYS[2], '*', unpack(f))
redis.call('HSET', KEYS[1], ARGV[1], 'W ' .. gen .. ' ' .. new)
return 1
"""


def keys_of(fleet, device):
    base = f"pl:{{p{device % 8:02}}}:d:{device}"
    return base + ":ids", base + ":jobs"


def rest(ms):
    at = mono_us()
    wait_until(lambda: mono_us() > at + ms * 1000, 60, "a rest")


def cpu_seconds(p):
    with open(f"/proc/{p.pid}/stat") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def calm(fleet, ms=3000, lines=40, load=0.5):
    """While the trouble lasts, no program writes or works as if it could end it by haste.  Returns what
    each has written."""
    before = {p: (len(p.lines()), cpu_seconds(p)) for p in fleet.processes.values()}
    rest(ms)
    said = {}
    for p, (n, cpu) in before.items():
        true(p.running(), f"{p.name} ended with {p.status()}: {p.lines()[-3:]}")
        said[p.name] = p.lines()[n:]
        true(len(said[p.name]) <= lines, f"{p.name} wrote {len(said[p.name])} lines in {ms} ms: {said[p.name][-3:]}")
        used = cpu_seconds(p) - cpu
        true(used < load * ms / 1000, f"{p.name} used {used:.2f} s of CPU in {ms} ms")
    return said


def complained(fleet, pattern, roles):
    """Somebody of each role says what is wrong."""
    for role in roles:
        lines = [l for l in fleet.log_lines(role) if re.search(pattern, l, re.I)]
        true(lines, f"no {role} says anything like {pattern}: {fleet.log_lines(role)[-3:]}")


# --- the stream ----------------------------------------------------------------------------------------


@test
def garbage_in_the_stream_fails_with_its_reason_and_the_device_goes_on():
    with Fleet() as fleet:
        (device,) = fleet.devices(1, gap=(150, 150))
        fleet.leads(30)
        fleet.campaign("mud")
        fleet.start(worker=1)
        ids, jobs = keys_of(fleet, device)
        wait_until(lambda: fleet.redis.call("XLEN", jobs) > 20, 10, "waiting jobs")
        good = fleet.redis.call("XRANGE", jobs, "-", "+")[-1][1]
        good = good[good.index("job") + 1].encode("utf-8", "surrogateescape")
        payloads = {
            "empty": b"", "text": b"hello", "nil": b"\xc0", "cut": good[:len(good) // 2],
            "one byte less": good[:-1], "one byte more": good + b"\x00", "version": bytes([good[0], 99]) + good[2:],
            "another row": good[:2] + b"\xcd\xff\xff" + good[2 + {0xcc: 2, 0xcd: 3, 0xce: 5}.get(good[2], 1):],
            "huge array": b"\xdd\xff\xff\xff\xff", "huge string": b"\x9f\x01\xdb\xff\xff\xff\xff",
            "deep": b"\x91" * 100000, "random": fleet.random.randbytes(3000), "too long": good[:1] + b"\x01" + b"\xc0" * 200000,
        }
        done, left = {}, list(payloads.items())
        waiting = [k for k, v in zip(*[iter(fleet.redis.call("HGETALL", ids))] * 2) if v.startswith("W ")]
        for job in reversed(waiting):
            if left and fleet.redis.call("EVAL", SWAP, 2, ids, jobs, job, "1", left[-1][1]) == 1:
                done[job] = left.pop()[0]
        equal([], left, "payloads that found no job")
        fleet.drain()
        rows = {r["job_id"]: r for r in fleet.sql.dicts("SELECT * FROM broadcast_messages")}
        for job, kind in done.items():
            equal("failed", rows[job]["status"], f"status with {kind}")
            true(rows[job]["error_class"] == "bad-payload" and rows[job]["error_message"],
                 f"{kind}: {rows[job]['error_class']}: {rows[job]['error_message']}")
        equal({"sent": 30 - len(done), "failed": len(done)}, fleet.statuses(), "rows")
        fleet.check(order=False)
        fleet.stop()


@test
def entries_that_nobody_staged_are_swept_out():
    with Fleet() as fleet:
        devices = fleet.devices(8, gap=(50, 60))
        fleet.leads(30)
        fleet.campaign("strays")
        fleet.start(worker=1)
        for device in devices:
            ids, jobs = keys_of(fleet, device)
            wait_until(lambda: fleet.redis.call("XLEN", jobs) > 10, 10, "waiting jobs")
            fleet.redis.call("XADD", jobs, "*", "foo", "bar")
            fleet.redis.call("XADD", jobs, "*", "id", "nobody", "gen", "1", "row", "1", "src", "c1", "exp", "0", "v", "1", "job", "x")
            fleet.redis.call("XADD", jobs, "*", "id", f"c9-d{device}-0-r0", "exp", "soon")
        # Jobs that have no row, in every state that can be left behind.
        for n, word in enumerate(("S 1", "W 1 9-9", "L 1 9-9 5 worker/x", "P 1 9-9 6 worker/x")):
            ids, jobs = keys_of(fleet, devices[n])
            fleet.redis.call("HSET", ids, f"c9-d{devices[n]}-ghost-r0", word)
        wait_until(fleet.settled, 30, lambda: f"the rows: {fleet.statuses()}")
        equal({"sent": 240}, fleet.statuses(), "rows")
        fleet.check(drained=False)
        # What is left over is swept out by the audit.
        fleet.drain(30)


@test
def results_that_make_no_sense_do_not_stop_the_reaper():
    with Fleet() as fleet:
        fleet.devices(4)
        fleet.leads(10)
        fleet.start()
        fleet.campaign("first")
        fleet.drain()
        for p in range(8):
            for entry in (["dev", p], ["kind", "sent", "dev", p, "foo", "bar"],
                          ["kind", "odd", "id", "x", "row", "y", "dev", p, "gen", "-1", "tok", "?"],
                          ["kind", "sent", "id", f"c1-d{p}-00-r0", "row", "99999999", "dev", p, "gen", "1", "tok", "1"],
                          ["kind", "sent", "id", "x" * 5000, "row", "1", "dev", p, "gen", "1", "tok", "1", "text", "\udcff" * 100],
                          ["kind", "failed", "id", "a\nb", "row", "1", "dev", p, "gen", "1", "tok", "9", "code", "c" * 500,
                           "text", "t" * 5000]):
                fleet.redis.call("XADD", f"pl:{{p{p:02}}}:results", "*", *entry)
        fleet.campaign("second")
        fleet.drain()
        fleet.check()
        equal({"sent": 80}, fleet.statuses(), "rows")
        calm(fleet, 1000)


# --- the provider --------------------------------------------------------------------------------------


@test
def hostile_answers_are_outcomes():
    rules = ["device:1=garbage", "device:2=wrong-type", "device:3=truncated", "device:4=huge", "device:5=dribble:40",
             "device:6=slow-headers:40", "device:7=never", "device:8=status:302", "device:9=status:418:{\"a\":",
             "device:10=reset-before", "device:11=status:204", "device:12=status:599"]
    with Fleet(rules=rules, senders={"stub": {"timeout": "1500ms"}, "moved": None}) as fleet:
        fleet.devices(13)
        fleet.sql.exec("UPDATE devices SET sender = 'moved' WHERE id = 8")
        fleet.leads(3)
        fleet.campaign("hostile", max_attempts=2)
        programs = fleet.start()
        # A redirect means a wrong URL: that sender's devices wait for somebody to mend it.
        wait_until(lambda: fleet.statuses() and sum(fleet.statuses().get(s, 0) for s in ("sent", "failed", "unknown")) == 36,
                   60, lambda: f"all but the redirected: {fleet.statuses()}")
        got = {int(d): (s, e) for d, s, e in fleet.sql.rows(
            "SELECT device_id, GROUP_CONCAT(DISTINCT status), GROUP_CONCAT(DISTINCT error_class) FROM broadcast_messages"
            " GROUP BY device_id")}
        for device in (1, 2, 3, 4, 7, 10, 12):
            equal("unknown", got[device][0], f"{rules[device - 1]}: status ({got[device][1]})")
        equal("failed", got[9][0], f"{rules[8]}: status ({got[9][1]})")
        equal("sent", got[13][0], "the honest device")
        true(1 <= sum(l.device == 8 for l in fleet.ledger()) <= 3, "requests that were redirected: one, and probes")
        true(all(p.running() for p in programs), "a program ended")
        true(max(p.peak_rss_mb() for p in programs) < 64, "a program grew over 64 MB")
        bare = fleet.sql.rows("SELECT job_id FROM broadcast_messages WHERE status <> 'sent' AND device_id <> 8"
                              " AND COALESCE(error_message, '') = ''")
        equal([], bare, "rows without a reason")


@test
def a_template_that_cannot_be_filled_in_fails_its_rows_only():
    with Fleet() as fleet:
        fleet.devices(3)
        fleet.leads(5)
        fleet.campaign("broken", content="Hi {{name")
        fleet.campaign("nested", content="{" * 40 + "a|b" + "}" * 40)
        fleet.campaign("good", content="Hi {{name}}")
        fleet.campaign("long", content="x{y|z}" * 10000)
        fleet.start()
        fleet.drain()
        fleet.check()
        equal({"sent": 15}, fleet.statuses(3), "rows of the good one")
        for n in (1, 2):
            true(set(fleet.statuses(n)) <= {"failed", "sent"}, f"rows of campaign {n}: {fleet.statuses(n)}")
        fleet.stop()


# --- servers that refuse -------------------------------------------------------------------------------


def busy(fleet, n=100):
    fleet.devices(20, gap=(20, 60))
    fleet.leads(80)
    fleet.start(producer=1, worker=2, reaper=2)
    fleet.campaign("busy")
    wait_until(lambda: len(fleet.ledger()) > n, 20, "sends")


@test
def a_redis_out_of_memory_is_waited_for():
    with Fleet() as fleet:
        busy(fleet)
        fleet.redis.call("CONFIG", "SET", "maxmemory", "1")
        fleet.campaign("later", devices=[1, 2])
        calm(fleet)
        complained(fleet, r"OOM|memory", ["worker"])
        fleet.redis.call("CONFIG", "SET", "maxmemory", "0")
        fleet.drain()
        verdict = fleet.check()
        equal({"sent": 1760}, dict(verdict.rows), "rows")


@test
def a_redis_that_became_a_replica_is_waited_for():
    with Fleet() as fleet:
        busy(fleet)
        fleet.redis.call("REPLICAOF", "127.0.0.1", "1")
        calm(fleet)
        complained(fleet, r"READONLY|read.only", ["producer", "worker", "reaper"])
        fleet.redis.call("REPLICAOF", "NO", "ONE")
        fleet.drain()
        verdict = fleet.check()
        equal((1600, 0), (verdict.rows["sent"] + verdict.rows["unknown"], verdict.duplicates), "rows, duplicates")
        true(verdict.rows["unknown"] <= 20, f"rows: {verdict.rows}")


@test
def a_redis_that_cannot_save_is_waited_for():
    with Fleet() as fleet:
        busy(fleet)
        os.mkdir(os.path.join(fleet.redis.data, "dir.rdb"))
        open(os.path.join(fleet.redis.data, "dir.rdb", "x"), "w").close()
        fleet.redis.call("CONFIG", "SET", "dbfilename", "dir.rdb")
        fleet.redis.call("CONFIG", "SET", "save", "1 1")
        fleet.redis.call("BGSAVE")
        wait_until(lambda: "rdb_last_bgsave_status:err" in fleet.redis.call("INFO", "persistence"), 10, "a failed save")
        calm(fleet)
        complained(fleet, r"MISCONF", ["worker", "reaper"])
        fleet.redis.call("CONFIG", "SET", "save", "")
        fleet.redis.call("CONFIG", "SET", "dbfilename", "good.rdb")
        fleet.redis.call("CONFIG", "SET", "stop-writes-on-bgsave-error", "no")
        fleet.drain()
        verdict = fleet.check()
        equal((1600, 0), (verdict.rows["sent"] + verdict.rows["unknown"], verdict.duplicates), "rows, duplicates")
        true(verdict.rows["unknown"] <= 20, f"rows: {verdict.rows}")


@test
def a_mysql_that_is_read_only_is_waited_for():
    with Fleet(mysql_user="app") as fleet:
        busy(fleet)
        fleet.mysql.client.exec("SET GLOBAL read_only = 1")
        calm(fleet)
        complained(fleet, r"read.only", ["reaper"])
        fleet.mysql.client.exec("SET GLOBAL read_only = 0")
        fleet.drain()
        verdict = fleet.check()
        equal({"sent": 1600}, dict(verdict.rows), "rows")


@test
def a_mysql_that_refuses_everybody_is_waited_for():
    with Fleet(mysql_user="app") as fleet:
        busy(fleet)
        fleet.mysql.client.exec("ALTER USER app@localhost ACCOUNT LOCK")
        for (number,) in fleet.mysql.client.rows("SELECT id FROM information_schema.processlist WHERE user = 'app'"):
            fleet.mysql.client.exec(f"KILL {number}")
        calm(fleet)
        complained(fleet, r"locked|denied", ["producer", "reaper"])
        fleet.mysql.client.exec("ALTER USER app@localhost ACCOUNT UNLOCK")
        fleet.drain()
        verdict = fleet.check()
        equal({"sent": 1600}, dict(verdict.rows), "rows")


@test
def a_table_locked_for_a_while_is_waited_for():
    with Fleet() as fleet:
        busy(fleet)
        fleet.mysql.client.exec("LOCK TABLES paceline.broadcast_messages WRITE, paceline.campaigns WRITE")
        calm(fleet)
        fleet.mysql.client.exec("UNLOCK TABLES")
        fleet.drain()
        equal({"sent": 1600}, dict(fleet.check().rows), "rows")


@test
def a_full_disk_under_the_witness_is_an_open_outcome():
    with Fleet(senders={"full": {"type": "null", "ledger": "/dev/full"}}) as fleet:
        full, good = fleet.devices(3, sender="full"), fleet.devices(3)
        fleet.leads(5)
        fleet.campaign("full")
        programs = fleet.start()
        fleet.drain()
        equal({"sent": 15, "unknown": 15}, fleet.statuses(), "rows")
        complained(fleet, r"No space left", ["worker"])
        true(all(p.running() for p in programs), "a program ended")
        true(full and good, "devices")


@test
def a_journal_that_cannot_be_written_is_refused_at_the_start():
    with Fleet() as fleet:
        blocked = os.path.join(fleet.folder, "blocked")
        open(blocked, "w").close()
        p = fleet.spawn("worker", "blocked", args=("--journal-dir", blocked + "/journal"))
        code = p.wait(10)
        true(code not in (0, -6, -11), f"exit status {code}")
        true(any("blocked" in l for l in p.lines()), f"it does not name the folder: {p.lines()[-3:]}")
        del fleet.processes["blocked"]


@test
def a_database_that_was_not_migrated_is_named():
    with Fleet() as fleet:
        fleet.mysql.client.exec("DROP DATABASE paceline")
        fleet.mysql.client.exec("CREATE DATABASE paceline")
        for role in ("producer", "reaper"):
            p = fleet.spawn(role)
            wait_until(lambda: any("paceline migrate" in l for l in p.lines()), 15,
                       lambda: f"{role} to say what to do: {p.lines()[-3:]}")
            p.kill()
        fleet.processes.clear()


@test
def bad_lines_of_a_csv_are_named_and_the_others_imported():
    with Fleet() as fleet:
        fleet.devices(2, prefix="shop")
        names = [n for (n,) in fleet.sql.rows("SELECT name FROM devices ORDER BY id")]
        path = os.path.join(fleet.folder, "bad.csv")
        with open(path, "wb") as f:
            f.write(b"phone,name,device\r\n60123000001,ok," + names[0].encode() + b"\r\n,nobody," + names[0].encode()
                    + b"\r\n60123000002,two,nowhere\r\nhello,three," + names[0].encode() + b"\r\n60123000003,\"mul\nti\","
                    + names[1].encode() + b"\r\n60123000004,\xff\xfe," + names[1].encode() + b"\r\n60123000005,last,"
                    + names[1].encode() + b"\r\n")
        code, out, err = fleet.ctl("leads", "import", path, "--device-column", "device", check=False)
        phones = {p for (p,) in fleet.sql.rows("SELECT phone FROM leads")}
        true({"60123000001", "60123000003", "60123000005"} <= phones, f"imported: {phones}\n{out}{err}")
        for line in (3, 4, 5):
            true(re.search(rf"\b{line}\b", out + err), f"line {line} is not named:\n{out}{err}")
        true(code != 0, "bad lines, and exit status 0")


if __name__ == "__main__":
    sys.exit(main())
