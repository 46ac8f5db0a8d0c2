#!/usr/bin/env python3
"""Definitions of sequences and recurring messages as people write them, against real servers: both forms and the
way back, every mistake with its place, enrolling, leaving, steering, and what other users can reach.

    tests/integration/define_test.py [name part ...]"""
import json
import os
import re
import shlex
import subprocess
import sys

from cli_test import Cli, bare, one, open_partitions, pick
from harness import PATH, ROOT, TESTS, Fleet, Process, equal, main, test, true, wait_until

TESTS.clear()  # those of cli_test.py are its own


def xxh64(data, seed):
    """XXH64 of less than 32 bytes: the part of a job's id that stands for the phone."""
    p1, p2, p3, p4, p5 = (0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0x85EBCA77C2B2AE63,
                          0x27D4EB2F165667C5)
    mask = (1 << 64) - 1

    def rotate(x, n):
        return (x << n | x >> 64 - n) & mask

    h = (seed + p5 + len(data)) & mask
    while len(data) >= 8:
        k = rotate(int.from_bytes(data[:8], "little") * p2 & mask, 31) * p1 & mask
        h, data = (rotate(h ^ k, 27) * p1 + p4) & mask, data[8:]
    if len(data) >= 4:
        h, data = (rotate(h ^ int.from_bytes(data[:4], "little") * p1 & mask, 23) * p2 + p3) & mask, data[4:]
    for byte in data:
        h = rotate(h ^ byte * p5 & mask, 11) * p1 & mask
    h = (h ^ h >> 33) * p2 & mask
    h = (h ^ h >> 29) * p3 & mask
    return h ^ h >> 32


def step_job(step, device, phone, rotation=0):
    return f"s{step}-d{device}-{xxh64(phone.encode(), step):016x}-r{rotation}"


def shops(fleet, *names, user=None):
    cli = Cli(fleet, user)
    for name in names or ("Shop 1", "Shop 2"):
        cli.ok("device", "add", name)
    return cli


def piped(fleet, text, *args):
    done = subprocess.run([fleet.binary("ctl"), "--config", fleet.conf_file, *args], input=text, text=True,
                          capture_output=True, timeout=60, env={**os.environ, "PATH": PATH})
    return done.returncode, done.stdout, done.stderr


def enrol_row(fleet, sequence, device, phone, user=1, rotation=0, entry=None, status="active", lead=0):
    """A contact and its messages as a producer makes them; returns the ids of the messages."""
    fleet.sql.exec(f"INSERT INTO sequence_contacts (sequence_id, user_id, device_id, lead_id, recipient_phone, rotation,"
                   f" entry_sequence_id, status, enrolled_at) VALUES ({sequence}, {user}, {device}, {lead}, '{phone}', {rotation},"
                   f" {entry or sequence}, '{status}', UTC_TIMESTAMP(3))")
    ids = []
    for (step,) in fleet.sql.rows(f"SELECT id FROM sequence_steps WHERE sequence_id = {sequence} ORDER BY position"):
        fleet.sql.exec(
            "INSERT INTO broadcast_messages (job_id, user_id, device_id, kind, sequence_id, sequence_stepid, rotation,"
            " recipient_phone, scheduled_at, status, created_at, updated_at) VALUES"
            f" ('{step_job(int(step), device, phone, rotation)}', {user}, {device}, 'sequence', {sequence}, {step}, {rotation},"
            f" '{phone}', UTC_TIMESTAMP(3) + INTERVAL 1 DAY, 'pending', UTC_TIMESTAMP(3), UTC_TIMESTAMP(3))")
        ids.append(int(fleet.sql.one("SELECT LAST_INSERT_ID()")))
    return ids


def rows_of(fleet, ids):
    return [s for (s,) in fleet.sql.rows(f"SELECT status FROM broadcast_messages WHERE id IN ({', '.join(map(str, ids))})"
                                         " ORDER BY id")]


def definitions(fleet):
    return [one(fleet, f"SELECT COUNT(*) FROM {t}") for t in
            ("sequences", "sequence_steps", "sequence_devices", "recurring_messages", "recurring_devices", "recurring_contacts")]


# --- both forms, and back -----------------------------------------------------------------------------


@test
def the_examples_of_the_page_can_be_made():
    with open(os.path.join(ROOT, "docs/definitions.md")) as f:
        page = f.read()
    with bare() as fleet:
        cli = shops(fleet)
        examples = re.findall(r"^```json (\w+)\n(.*?)^```", page, re.M | re.S)
        commands = [l for block in re.findall(r"^```sh\n(.*?)^```", page, re.M | re.S) for l in block.splitlines()]
        equal((["sequence"] * 2 + ["recurring"] * 2, 4), ([k for k, _ in examples], len(commands)), "examples")
        for i, (kind, text) in enumerate(examples):
            cli.ok(kind, "create", "--file", cli.write(f"{i}.json", text))
            want, got = json.loads(text), json.loads(cli.ok(kind, "show", json.loads(text)["name"], "--definition"))
            for member in want:
                if member not in ("steps", "contacts", "schedule"):
                    equal(want[member], got[member], f"{want['name']}: {member}")
            equal([s["content"] for s in want.get("steps", [])], [s["content"] for s in got.get("steps", [])], "steps")
            for member, value in want.get("schedule", {}).items():
                equal(value, got["schedule"][member], f"schedule.{member}")
        for line in commands:
            cli.ok(*shlex.split(line)[1:])
        words = set(re.findall(r"`--([a-z-]+)", page))
        for kind in ("sequence", "recurring"):
            for flag in re.findall(r"^  --([a-z-]+)", cli.ok(kind, "create", "--help"), re.M):
                true(flag in words, f"the page does not name --{flag} of {kind} create")
        members = {m for kind, text in examples for m in re.findall(r'"(\w+)":', text)} | {"cron"}
        for kind, name in (("sequence", "COLD"), ("recurring", "Friday offers")):
            shown = cli.ok(kind, "show", name, "--definition")
            true(set(re.findall(r'"(\w+)":', shown)) <= members, f"a member of {name} is in no example: {shown}")


@test
def a_definition_makes_an_equal_one():
    """Flags -> show -> a file -> another user -> show: the same text, and the same rows."""
    with bare() as fleet:
        cli, other = shops(fleet), shops(fleet, user="bob")
        kinds = {"sequence": (["WARM"], ["--devices", "all", "--step", "0s:Hi \"you\" 你好\n", "--step", "36h:x{a|b}"]),
                 "recurring": (["R"], ["--devices", "Shop 2, Shop 1", "--content", "Hi", "--freq", "daily", "--start", "2027-02-03"])}
        more = [("sequence", ["COLD", "--devices", "Shop 1", "--trigger", "go", "--step", "0s:a", "--step", "90s:b", "--next", "WARM",
                              "--next-after", "3d", "--start-after", "0s", "--gap", "500ms", "--batch", "none", "--max-lateness", "90m",
                              "--max-attempts", "9", "--on-unknown", "resend"]),
                ("recurring", ["I", "--contacts", cli.write("c.csv", "Nombor;Nama;Cawangan\n0123456789;Ali;Shop 1\n"
                                                                     "120363041234567890@g.us;;shop 2\n"), "--country", "60", "--map", "phone=Nombor",
                               "--device-column", "Cawangan",
                               "--content-file", cli.write("t.txt", "Two\nlines\n"), "--freq", "interval", "--every", "90m",
                               "--catch-up", "all", "--catch-up-max", "3", "--max-run-lateness", "0s", "--run-overlap", "skip",
                               "--max-executions", "7", "--delay", "adaptive", "--randomise", "no", "--end-date", "2099-01-01"]),
                ("recurring", ["C", "--devices", "all", "--content", "x", "--freq", "cron", "--cron", "*/5 9-17 * * mon-fri", "--zone",
                               "Europe/Berlin", "--gap-policy", "skip", "--niche", "fit", "--target-status", "new", "--gap", "1s..2s"]),
                ("recurring", ["M", "--devices", "all", "--content", "x", "--freq", "monthly", "--month-days", "-1,15", "--at", "09:00,17:30:15",
                               "--every", "2", "--month-policy", "skip"])]
        for kind, args in [(k, n + f) for k, (n, f) in kinds.items()] + more:
            cli.ok(kind, "create", *args)
            text = cli.ok(kind, "show", args[0], "--definition")
            path = cli.write("d.json", text)
            other.ok(kind, "create", "--file", path)
            equal(text, other.ok(kind, "show", args[0], "--definition"), f"{kind} {args[0]}")
            equal(json.loads(text), cli.json(kind, "show", args[0])["definition"], "show --json")
            cli.refused(1, kind, "create", "--file", path, says="already")
        for table, skip in (("sequences", "id, user_id, next_sequence_id, created_at, updated_at"),
                            ("recurring_messages", "id, user_id, created_at, updated_at, planned_after")):
            columns = [c for (c,) in fleet.sql.rows("SELECT column_name FROM information_schema.columns WHERE table_schema = 'paceline'"
                                                    f" AND table_name = '{table}'") if c not in skip.split(", ")]
            rows = fleet.sql.rows(f"SELECT {', '.join(f'`{c}`' for c in columns)} FROM {table} ORDER BY user_id, name")
            equal(rows[:len(rows) // 2], rows[len(rows) // 2:], table)
        equal([("0", "1", "Hi \"you\" 你好\n"), ("129600", "2", "x{a|b}")], fleet.sql.rows(
            "SELECT delay_s, position, content FROM sequence_steps t JOIN sequences s ON s.id = t.sequence_id WHERE s.name = 'WARM'"
            " AND s.user_id = 1 ORDER BY position"), "steps")
        equal([("60123456789", "Ali"), ("120363041234567890@g.us", "")], fleet.sql.rows(
            "SELECT x.phone, x.name FROM recurring_contacts x JOIN recurring_messages m ON m.id = x.recurring_id WHERE m.user_id = 1"
            " ORDER BY x.id"), "contacts")
        code, out, err = piped(fleet, cli.ok("sequence", "show", "COLD", "--definition").replace('"go"', '"went"'), "sequence", "create",
                               "COLD again", "--file", "-")
        equal(0, code, f"from the standard input, under another name: {out}{err}")
        equal([(None, None)], fleet.sql.rows("SELECT DISTINCT next_run_at, finished_at FROM recurring_messages"), "a producer plans")


@test
def files_of_a_sequence_step_and_help():
    with bare() as fleet:
        cli = shops(fleet)
        cli.ok("sequence", "create", "S", "--devices", "all", "--step-file", "0s:" + cli.write("a.txt", "first\n"), "--step", "1d:second:x",
               "--step-file", "2d:" + cli.write("b.txt", "third"))
        equal(["first", "second:x", "third"], [s["content"] for s in cli.json("sequence", "show", "S")["definition"]["steps"]], "order")
        for group in ("sequence", "recurring"):
            for verb in re.findall(r"^  (\w+)", cli.ok(group, "--help"), re.M):
                true(f"Usage: paceline {group} {verb}" in cli.ok(group, verb, "--help"), f"{group} {verb} --help")
        shown = cli.ok("sequence", "show", "S")
        true(re.search(r"S\s+3\s+3d5m\s+third", shown), f"the times of the steps: {shown}")


# --- mistakes -----------------------------------------------------------------------------------------

STEP = {"content": "hi"}
GOOD_SEQUENCE = {"name": "X", "devices": "all", "steps": [STEP]}
GOOD_RULE = {"name": "X", "content": "hi", "devices": "all", "schedule": {"freq": "daily", "at": ["09:00"]}}


def member(good, path, value):
    """A copy with another value at "schedule.at"; None: without it."""
    copy = json.loads(json.dumps(good))
    at, names = copy, path.split(".")
    for name in names[:-1]:
        at = at[name]
    at[names[-1]] = value
    return {k: v for k, v in copy.items() if v is not None}


@test
def mistakes_in_sequences_have_their_place():
    with bare() as fleet:
        cli = shops(fleet)
        cli.ok("sequence", "create", "OLD", "--devices", "all", "--step", "0s:x", "--trigger", "taken")
        cli.ok("sequence", "create", "GONE", "--devices", "all", "--step", "0s:x", "--trigger", "free")
        cli.ok("sequence", "cancel", "GONE")
        before = definitions(fleet)
        for text, says in (("", ":1:1: there is nothing in it"), ("[]", ":1:1: a definition is one object"),
                           ('{\n  "name": "X",\n  "steps": [}\n', r":3:\d+: .*'}'"), ('{"name": "X", "name": "Y"}', r":1:\d+: duplicate"),
                           ('{"name": "\xff"}'.encode("latin-1"), r":1:10: unable to decode byte 0xff")):
            cli.refused(2, "sequence", "create", "--file", cli.write("d.json", text), says=r"d\.json" + says)
        cli.refused(2, "sequence", "create", "--file", fleet.folder + "/none.json", says=r"none\.json: No such file")
        cli.refused(2, "sequence", "create", "--file", fleet.folder, says="Is a directory")
        wrong = [
            ("nam", "X", r"nam: unknown member .did you mean name"), ("name", None, "name: is missing"), ("name", 7, "name: has to be text"),
            ("name", "a\nb", "name: .*one line"), ("name", "x" * 191, "name: .*190 bytes"), ("devices", None, "devices: has to be a list"),
            ("devices", [], "devices: the list is empty"), ("devices", ["Shop 1", 7], r"devices\[1\]: has to be"),
            ("devices", "Shop 1", "devices: has to be a list"), ("steps", None, "steps: is missing"), ("steps", [], "steps: the list is empty"),
            ("steps", {}, "steps: has to be a list"), ("steps", ["hi"], r"steps\[0\]: has to be an object"),
            ("steps", [STEP, {"content": "", "delay": "1d"}], r"steps\[1\]\.content: the message is empty"),
            ("steps", [STEP, {"content": "a", "delay": "1d"}, {"content": "Hi\n{{name", "delay": "1d"}], r"steps\[2\]\.content: .*2:1"),
            ("steps", [STEP, {"delay": "1d"}], r"steps\[1\]\.content: is missing"), ("steps", [STEP, STEP], r"steps\[1\]\.delay: is missing"),
            ("steps", [{"content": "a", "dellay": "1d"}], r"steps\[0\]\.dellay: unknown member .did you mean delay"),
            ("steps", [{"content": "a", "delay": 5}], r"steps\[0\]\.delay: has to be a duration in quotes"),
            ("steps", [{"content": "a", "delay": "5"}], r"steps\[0\]\.delay: '5' is no duration"),
            ("steps", [{"content": "a", "delay": "1500ms"}], r"steps\[0\]\.delay: 1500ms are no whole seconds"),
            ("steps", [{"content": "a", "delay": "9999d"}], r"steps\[0\]\.delay: .*not within 0s\.\.3650d"),
            ("steps", [{"content": "a", "from": "start"}], r"steps\[0\]\.from: 'start' is none of previous\|enrolment"),
            ("steps", [{"content": "a", "content_file": "x"}], r"steps\[0\]\.content_file: .*--step-file"),
            ("steps", [STEP, {"content": "b", "delay": "2h"}, {"content": "c", "delay": "1h", "from": "enrolment"}],
             r"steps\[2\]\.delay: 3600s from enrolment is before the step in front of it, which goes out at 7200s"),
            ("steps", [STEP] + [{"content": "x", "delay": "1s"}] * 500, "steps: 501 steps; a sequence has at most 500"),
            ("trigger", "", "trigger: is empty"), ("trigger", "x" * 65, "trigger: has at most 64"), ("next", "OLD", "next: has to be an object"),
            ("next", {}, r"next\.sequence: is missing"), ("next", {"sequence": "X"}, r"next\.sequence: X -> X: .*follow itself"),
            ("next", {"sequence": "GONE"}, r"next\.sequence: sequence 'GONE' is cancelled"),
            ("next", {"sequence": "OLD", "afer": "1d"}, r"next\.afer: unknown member .did you mean after"),
            ("gap", "5", "gap: '5' is no gap"), ("gap", 5, "gap: has to be text like"), ("batch", "20", "batch: '20' is no batch"),
            ("max_attempts", "5", "max_attempts: has to be a whole number"), ("max_attempts", 0, "max_attempts: 0 is not within"),
            ("on_unknown", "ask", "on_unknown: 'ask' is none of"), ("max_lateness", "0s", "max_lateness: 0s is not within"),
            ("start_after", "1ms", "start_after: 1ms are no whole seconds")]
        for path, value, says in wrong:
            cli.refused(2, "sequence", "create", "--file", cli.write("d.json", json.dumps(member(GOOD_SEQUENCE, path, value))),
                        says=r"d\.json: " + says)
        gone = [("devices", ["Shop 1", "nowhere"], r"devices\[1\]: .*no device 'nowhere'"),
                ("next", {"sequence": "NONE"}, r"next\.sequence: .*no sequence 'NONE'"),
                ("trigger", "taken", "trigger: 'taken' is the trigger of sequence 'OLD'")]
        for path, value, says in gone:
            cli.refused(1, "sequence", "create", "--file", cli.write("d.json", json.dumps(member(GOOD_SEQUENCE, path, value))),
                        says=r"d\.json: " + says)
        make = ["sequence", "create", "X", "--devices", "all"]
        for args, says in ((["--step", "0s:a", "--step", "hello"], "--step 2: write DELAY:TEXT"), (["--step", "0s:"], "--step 1: the message is empty"),
                           (["--step", "0s:a", "--step", "1d:{{x"], "--step 2: .*1:1"), (["--step-file", "0s:/none"], "--step-file 1: /none: No such"),
                           ([], "--step=DELAY:TEXT is missing"), (["--step", "0s:a", "--next-after", "1d"], "--next-after: there is no --next"),
                           (["--step", "0s:a", "--next", "X"], "--next: X -> X"), (["--step", "0s:a", "--gap", "5"], "--gap: '5'"),
                           (["--file", cli.write("d.json", json.dumps(GOOD_SEQUENCE))], "--devices: with --file")):
            cli.refused(2, *make, *args, says=says)
        cli.refused(1, *make, "--step", "0s:a", "--trigger", "taken", says="--trigger: 'taken' is the trigger of sequence 'OLD'")
        cli.refused(2, "sequence", "create", "--devices", "all", "--step", "0s:a", says="give the sequence a name")
        equal(before, definitions(fleet), "nothing was made")
        err = cli.run(*make, "--step", "0s:a", "--trigger", "free")[2]
        true("no lead has the trigger 'free' yet" in err, f"a trigger without leads is reported, and the cancelled one gave it up: {err}")
        fleet.leads(1)
        fleet.sql.exec("UPDATE leads SET `trigger` = 'hot'")
        equal("", cli.run("sequence", "create", "Y", "--devices", "all", "--step", "0s:a", "--trigger", "hot")[2], "a trigger with leads")


@test
def circles_and_long_chains_are_refused():
    with bare() as fleet:
        cli = shops(fleet)
        for name, after in (("A", []), ("B", ["--next", "A"]), ("C", ["--next", "B"])):
            cli.ok("sequence", "create", name, "--devices", "all", "--step", "0s:x", *after)
        fleet.sql.exec("UPDATE sequences SET next_sequence_id = 3 WHERE id = 1")
        cli.refused(2, "sequence", "create", "D", "--devices", "all", "--step", "0s:x", "--next", "C",
                    says="--next: C -> B -> A -> C: .*circle")
        fleet.sql.exec("UPDATE sequences SET next_sequence_id = NULL WHERE id = 1")
        fleet.sql.exec("INSERT INTO sequence_steps (sequence_id, position, content) SELECT 1, seq, 'x' FROM seq_2_to_498")
        cli.refused(2, "sequence", "create", "D", "--devices", "all", "--step", "0s:x", "--next", "C",
                    says="--next: .* 501 messages; 500 are the most")
        cli.ok("sequence", "create", "D", "--devices", "all", "--step", "0s:x", "--next", "B")


@test
def mistakes_in_rules_have_their_place():
    with bare() as fleet:
        cli = shops(fleet)
        before = definitions(fleet)
        cron = {"freq": "cron", "cron": "0 9 * * *"}
        wrong = [
            ("schedule.zone", "Asia/KL", r"schedule\.zone: .*Asia/KL"), ("schedule", None, "schedule: is missing"), ("schedule", [], "schedule: has to be an object"),
            ("schedule", {"freq": "monthly", "month_days": [31], "month_policy": "skip", "start": "2027-02-01", "end_date": "2027-02-28"}, r"schedule\.\w+: "),
            ("schedule", {"freq": "monthly", "month_days": [32]}, r"schedule\.month_days: .*'32'"),
            ("schedule", {"freq": "monthly", "month_days": ["1"]}, r"schedule\.month_days\[0\]: has to be a whole number"),
            ("schedule", {"freq": "cron", "cron": "0 0 9 * * *"}, r"schedule\.cron: .*6 fields; 5 are needed"),
            ("schedule", {"freq": "cron", "cron": "0 0 30 2 *"}, r"schedule\.cron: .*never fires"),
            ("schedule", {**cron, "every": 2}, r"schedule\.every: a cron rule has none"),
            ("schedule", {"freq": "cron"}, r"schedule\.cron: "), ("schedule", {"freq": "weekly", "weekdays": ["mon", "mno"]}, r"schedule\.weekdays: .*'mno'"),
            ("schedule", {"freq": "weekly", "weekdays": ["mon,tue"]}, r"schedule\.weekdays\[0\]: one value"),
            ("schedule", {"freq": "weekly", "weekdays": "mon"}, r"schedule\.weekdays: has to be a list"), ("schedule", {}, r"schedule\.freq: is missing"),
            ("schedule", {"freq": "hourly"}, r"schedule\.freq: 'hourly' is none of"), ("schedule", {"freq": "interval"}, r"schedule\.every: is missing"),
            ("schedule", {"freq": "interval", "every": 90}, r"schedule\.every: '90' is no duration"),
            ("schedule", {"freq": "interval", "every": "1500ms"}, r"schedule\.every: 1500ms are no whole"),
            ("schedule.every", 0, r"schedule\.every: 0 is not within"), ("schedule.every", [], r"schedule\.every: has to be"),
            ("schedule.at", ["25:00"], r"schedule\.at: .*'25:00'"), ("schedule.at", [], r"schedule\.at: has to be a list"),
            ("schedule.start", "tomorrow", r"schedule\.start: 'tomorrow' is no date"), ("schedule.start", "2027-02-30", r"schedule\.start: "),
            ("schedule", {"freq": "daily", "start": "2027-02-01", "end_date": "2027-01-01"}, r"schedule\.end_date: 2027-01-01 is before the start"),
            ("schedule", {"freq": "daily", "start": "2020-01-01", "end_date": "2020-02-01"}, r"schedule\.end_date: the last time is over"),
            ("schedule.ends", "x", r"schedule\.ends: unknown member"), ("schedule.month_policy", "last", r"schedule\.month_policy: 'last' is none of"),
            ("content", "", "content: the message is empty"), ("content", "{a", "content: .*1:1"), ("content", None, "content: is missing"),
            ("devices", None, "devices: say who gets it"), ("contacts", [], "devices: say who gets it"), ("delay", "manual", "delay: manual needs a gap"),
            ("catch_up_max", 0, "catch_up_max: 0 is not within"), ("randomise", "yes", "randomise: has to be true or false"),
            ("niche", "x" * 65, "niche: has at most 64"), ("max_run_lateness", "500ms", "max_run_lateness: 500ms are no whole"),
            ("run_overlap", "both", "run_overlap: 'both' is none of"), ("max_executions", 1.5, "max_executions: has to be a whole number")]
        for path, value, says in wrong:
            cli.refused(2, "recurring", "create", "--file", cli.write("d.json", json.dumps(member(GOOD_RULE, path, value))),
                        says=r"d\.json: " + says)
        cli.refused(2, "recurring", "create", "--file", cli.write("d.json", json.dumps({**GOOD_RULE, "gap": "5s", "delay": "auto"})),
                    says="gap: with delay auto")
        make = ["recurring", "create", "X", "--content", "hi", "--devices", "all"]
        for args, says in ((["--freq", "cron", "--cron", "0 0 9 * * *"], "--cron: .*6 fields"), ([], "--freq: is missing"), (["--freq", "daily", "--zone", "Mars"], "--zone: "),
                           (["--freq", "daily", "--end-date", "2020-01-01"], "--end-date: "), (["--freq", "daily", "--contacts", "x.csv"], "either --devices or --contacts"),
                           (["--freq", "daily", "--content-file", "x"], "either --content or"), (["--freq", "daily", "--device", "Shop 1"], "--device: is for --contacts"),
                           (["--file", cli.write("d.json", json.dumps(GOOD_RULE))], "--content: with --file")):
            cli.refused(2, *make, *args, says=says)
        equal(before, definitions(fleet), "nothing was made")
        for schedule in ({"freq": "monthly", "month_days": [31]}, {"freq": "daily", "at": ["02:30"], "zone": "Europe/Berlin"}):
            code, out, err = cli.run("recurring", "create", schedule["freq"], "--file", cli.write("d.json", json.dumps({**GOOD_RULE, "schedule": schedule})))
            true(code == 0 and re.search("31|02:30|clock", err), f"{schedule} is reported: {out}{err}")


@test
def contacts_are_checked_together():
    with bare() as fleet:
        cli = shops(fleet)
        contacts = [{"phone": "60123456789", "name": "Ali", "device": "Shop 1"}, {"phone": "hello", "device": "Shop 1"},
                    {"phone": "+60 12-345 6789", "device": "Shop 2"}, {"phone": "60123456780", "device": "Nowhere"}, {"phone": "60123456781"},
                    {"device": "Shop 1"}, {"phone": "120363041234567890@g.us", "device": "Shop 1"}]
        rule = {"name": "X", "content": "hi", "schedule": {"freq": "daily"}, "contacts": contacts}
        err = cli.refused(2, "recurring", "create", "--file", cli.write("d.json", json.dumps(rule)), says=r"d\.json: contacts: 5 of them cannot be used")
        for says in (r"d\.json: contacts\[1\]\.phone: 'h'", r"contacts\[2\]\.phone: the same phone as in contacts\[0\]",
                     r"contacts\[3\]\.device: no device is called 'Nowhere'", r"contacts\[4\]\.device: the device is missing", r"contacts\[5\]\.phone: "):
            true(re.search(says, err), f"{says} in {err}")
        rows = "phone,name,device\n60123456789,Ali,Shop 1\nhello,,Shop 1\n0123456789,Twin,Shop 2\n60123456780,,Nowhere\n"
        make = ["recurring", "create", "X", "--content", "hi", "--freq", "daily", "--country", "60", "--contacts"]
        err = cli.refused(2, *make, cli.write("c.csv", rows), says="c.csv: 3 of them cannot be used")
        for says in (r"c\.csv:3: 'h'", r"c\.csv:4: the same phone as in line 2", r"c\.csv:5: no device is called 'Nowhere'"):
            true(re.search(says, err), f"{says} in {err}")
        cli.refused(2, *make, cli.write("c.csv", "phone,device\n"), says="there is nobody in it")
        cli.refused(2, *make, cli.write("c.csv", "name\nx\n"), says="looks like the phone")
        many = [{"phone": "x", "device": "Shop 1"}] * 50
        err = cli.refused(2, "recurring", "create", "--file", cli.write("d.json", json.dumps({**rule, "contacts": many})), says="50 of them")
        equal(21, len(err.splitlines()), "lines")
        equal(["0"] * 6, definitions(fleet), "nothing was made")
        big = [{"phone": f"6012{i:07}", "name": f"n{i}", "device": "Shop 2"} for i in range(2500)]
        cli.ok("recurring", "create", "--file", cli.write("d.json", json.dumps({**rule, "contacts": big})))
        equal([("2500", "2")], fleet.sql.rows("SELECT COUNT(*), MAX(device_id) FROM recurring_contacts"), "contacts")
        cli.ok("recurring", "create", "one", *make[3:], cli.write("c.csv", "phone\n0123456789\n"), "--device", "Shop 2")


# --- steering -----------------------------------------------------------------------------------------


@test
def pause_resume_cancel_tell_redis():
    with bare() as fleet:
        cli = shops(fleet)
        open_partitions(fleet)
        cli.ok("sequence", "create", "S", "--devices", "all", "--step", "0s:x")
        cli.ok("recurring", "create", "S", "--devices", "all", "--content", "x", "--freq", "daily")
        fleet.sql.exec("UPDATE recurring_messages SET next_run_at = UTC_TIMESTAMP(3), planned_after = '2020-01-01'")
        for kind, table, word in (("sequence", "sequences", "s1"), ("recurring", "recurring_messages", "r1")):
            key = [k for k in fleet.redis.call("KEYS", "*") if k.endswith("paused") or k.endswith("cancelled")]
            equal([], key, "at first")

            def told():
                found = {}
                for k in fleet.redis.call("KEYS", "*"):
                    if fleet.redis.call("TYPE", k) == "set" and fleet.redis.call("SISMEMBER", k, word):
                        found.setdefault(k.split(":")[-1], set()).add(k)
                    if fleet.redis.call("TYPE", k) == "hash" and fleet.redis.call("HGET", k, word):
                        found.setdefault(fleet.redis.call("HGET", k, word), set()).add(k)
                return {k: len(v) for k, v in found.items()}
            equal("told", cli.json(kind, "pause", "S")["redis"], "pause")
            equal(1, len(told()), f"in Redis: {told()}")
            equal([("paused", "paused")], fleet.sql.rows(f"SELECT status, steered FROM {table}"), "row")
            cli.refused(1, kind, "pause", "S", says="is paused: only an active one")
            cli.ok(kind, "resume", "S")
            equal({}, told(), "resumed")
            equal([("active", "none")], fleet.sql.rows(f"SELECT status, steered FROM {table}"), "row")
            cli.refused(1, kind, "resume", "S", says="is active: only a paused one")
            cli.ok(kind, "cancel", "S")
            equal(1, len(told()), f"in Redis: {told()}")
            equal([("cancelled", "cancelled")], fleet.sql.rows(f"SELECT status, steered FROM {table}"), "row")
            for verb in ("pause", "resume", "cancel"):
                cli.refused(1, kind, verb, "S", says="is cancelled")
            fleet.redis.call("FLUSHALL")
            open_partitions(fleet)
        equal([(None, "1")], fleet.sql.rows("SELECT next_run_at, planned_after > UTC_TIMESTAMP(3) - INTERVAL 1 MINUTE FROM recurring_messages"),
              "what fell into the pause is not caught up")
        cli.ok("sequence", "create", "T", "--devices", "all", "--step", "0s:x")
        fleet.redis.kill()
        code, out, err = cli.run("sequence", "pause", "T")
        equal(0, code, "exit without Redis")
        true("producers do so within seconds" in err, err)
        equal([("paused", "none")], fleet.sql.rows("SELECT status, steered FROM sequences WHERE name = 'T'"), "left to the producers")


# --- enrolling ----------------------------------------------------------------------------------------


@test
def enrolling_asks_once():
    with bare() as fleet:
        cli = shops(fleet, "A", "B", "C")
        shops(fleet, "Z", user="bob")
        fleet.leads(1200)  # of all four devices
        fleet.sql.exec("UPDATE leads SET niche = 'fit', target_status = 'new' WHERE id % 2 = 0")
        cli.ok("sequence", "create", "S", "--devices", "A,B", "--step", "0s:x")

        def asked():
            return [tuple(map(int, r)) for r in fleet.sql.rows(
                "SELECT l.device_id, COUNT(*), SUM(q.again) FROM sequence_requests q JOIN leads l ON l.id = q.lead_id GROUP BY l.device_id")]
        equal((600, 600), pick(cli.json("sequence", "enrol", "S", "--device", "A", "--niche", "fit", "--target-status", "new"), "leads", "asked"), "some")
        equal((2400, 1800), pick(cli.json("sequence", "enrol", "S", "--all"), "leads", "asked"), "all")
        equal([(1, 1200, 0), (2, 1200, 0)], asked(), "requests, of the sequence's devices only")
        equal((2400, 0), pick(cli.json("sequence", "enrol", "S", "--all"), "leads", "asked"), "once more")
        equal((1200, 0), pick(cli.json("sequence", "enrol", "S", "--device", "B", "--again"), "leads", "asked"), "again")
        equal([(1, 1200, 0), (2, 1200, 1200)], asked(), "again is noted")
        fleet.sql.exec("DELETE FROM sequence_requests")
        phones = [p for (p,) in fleet.sql.rows("SELECT phone FROM leads WHERE device_id IN (1, 3, 4) AND id % 400 = 1 ORDER BY id LIMIT 9")]
        own = fleet.sql.rows(f"SELECT phone FROM leads WHERE device_id = 1 AND phone IN ({', '.join(phones)})")
        got = cli.json("sequence", "enrol", "S", *["+" + p[:4] + " " + p[4:] for p in phones], code=1)
        equal((len(own), len(phones) - len(own)), (got["asked"], len(got["unknown"])), "phones: other devices' and others' are unknown")
        cli.refused(2, "sequence", "enrol", "S", phones[0], "12", says="phone 2 .'12'.: ")
        cli.refused(2, "sequence", "enrol", "S", says="say who")
        cli.refused(2, "sequence", "enrol", "S", phones[0], "--all", says="not both")
        cli.refused(1, "sequence", "enrol", "S", "--device", "C", says="device C is none of those of sequence S")
        true("in sequence S" in cli.ok("sequence", "show", "S") or "asked" in cli.ok("sequence", "show", "S"), "waiting")
        equal(len(own), cli.json("sequence", "show", "S")["waiting"]["asked"], "waiting")
        p = Process("wait", [fleet.binary("ctl"), "--config", fleet.conf_file, "sequence", "enrol", "S", "--all", "--wait"], fleet.folder + "/wait.log")
        wait_until(lambda: asked() == [(1, 1200, 0), (2, 1200, 0)], 20, "the requests")
        true(p.running(), "it waits")
        fleet.sql.exec("DELETE FROM sequence_requests")
        equal(0, p.wait(10), "exit")
        true("were enrolled in sequence S" in p.lines()[-1], p.lines())
        cli.ok("sequence", "cancel", "S")
        cli.refused(1, "sequence", "enrol", "S", "--all", says="is cancelled")


@test
def imported_leads_have_triggers():
    """A column `trigger` is what enrols; an import that changes it enrols anew."""
    with bare() as fleet:
        cli = shops(fleet, "A")
        cli.ok("sequence", "create", "S", "--devices", "all", "--step", "0s:x", "--trigger", "cold")
        cli.ok("leads", "import", cli.write("l.csv", "phone,Trigger\n60123456781,cold\n60123456782,\n60123456783,other\n"), "--device", "A")
        equal([("cold", None), ("", None), ("other", None)], fleet.sql.rows("SELECT `trigger`, attributes FROM leads ORDER BY id"), "leads")
        equal({"asked": 0, "triggered": 1}, cli.json("sequence", "show", "S")["waiting"], "waiting")
        fleet.sql.exec("UPDATE leads SET trigger_seen = `trigger`")
        equal(0, cli.json("sequence", "show", "S")["waiting"]["triggered"], "acted upon")
        again = cli.write("m.csv", "phone,word\n60123456782,cold\n60123456781,cold\n")
        equal((1, 1), pick(cli.json("leads", "import", again, "--device", "A", "--map", "trigger=word", "--update"), "updated", "duplicates"), "update")
        equal(1, cli.json("sequence", "show", "S")["waiting"]["triggered"], "the one that changed")
        cli.refused(1, "leads", "import", cli.write("n.csv", "phone,trigger\n60123456784," + "x" * 65 + "\n"), "--device", "A", says="n.csv:2: the trigger has 65")


# --- leaving ------------------------------------------------------------------------------------------


def chain(fleet):
    """COLD -> WARM, and OTHER."""
    cli = shops(fleet, "A", "B")
    for name, more in (("WARM", []), ("COLD", ["--next", "WARM"]), ("OTHER", [])):
        cli.ok("sequence", "create", name, "--devices", "all", "--step", "0s:x", "--step", "1d:y", *more)
    return cli, {n: int(i) for n, i in fleet.sql.rows("SELECT name, id FROM sequences")}


@test
def leaving_skips_what_is_not_on_its_way():
    with bare() as fleet:
        cli, ids = chain(fleet)
        phone, friend = "60123456789", "60123456780"
        cold = enrol_row(fleet, ids["COLD"], 1, phone)
        warm = enrol_row(fleet, ids["WARM"], 1, phone, entry=ids["COLD"])
        straight = enrol_row(fleet, ids["WARM"], 2, phone)
        again = enrol_row(fleet, ids["WARM"], 1, phone, rotation=1)
        other = enrol_row(fleet, ids["OTHER"], 1, phone)
        friends = enrol_row(fleet, ids["COLD"], 1, friend)
        fleet.sql.exec(f"UPDATE broadcast_messages SET status = 'queued' WHERE id = {cold[0]}")
        fleet.sql.exec(f"UPDATE broadcast_messages SET unknowns = 1 WHERE id = {warm[0]}")
        got = cli.json("sequence", "leave", "COLD", "+60 12-345 6789", "--reason", "phoned us")
        equal((2, 2, 1, 1), pick(got, "contacts", "skipped", "unknown", "on_their_way"), "what it says")
        equal(["queued", "skipped"], rows_of(fleet, cold), "of the sequence")
        equal(["unknown", "skipped"], rows_of(fleet, warm), "of the linked one: an open attempt may have arrived")
        for what, rows in (("of another entry", straight), ("of another rotation", again), ("of another sequence", other), ("of somebody else", friends)):
            equal(["pending"] * 2, rows_of(fleet, rows), what)
        equal([("left", None)] * 3, fleet.sql.rows(f"SELECT error_class, decide_at FROM broadcast_messages WHERE id IN ({cold[1]}, {warm[0]}, {warm[1]})"), "why")
        equal([("left", "phoned us", "1", "1")] * 2, fleet.sql.rows(
            "SELECT status, reason, ended_at IS NOT NULL, check_at IS NOT NULL FROM sequence_contacts WHERE status <> 'active'"), "contacts")
        cli.refused(1, "sequence", "leave", "COLD", phone, says="is no active contact")
        true("1 message is in the device's queue" not in cli.run("sequence", "leave", "COLD", friend)[2], "nothing on its way")
        cli.refused(2, "sequence", "leave", "COLD", says="name the phones")
        cli.refused(2, "sequence", "leave", "COLD", "x", says="phone 1")
        cli.refused(2, "sequence", "leave", "COLD", phone, "--reason", "x" * 33, says="--reason")
        cli.refused(1, "unknown", "resend", str(warm[0]), says="has left the sequence")
        # Through COLD already, and in WARM still.
        third = "60123456781"
        enrol_row(fleet, ids["COLD"], 1, third, status="finished")
        later = enrol_row(fleet, ids["WARM"], 1, third, entry=ids["COLD"])
        equal(1, cli.json("sequence", "leave", "COLD", third)["contacts"], "behind a finished one")
        equal(["skipped"] * 2, rows_of(fleet, later), "rows")


@test
def everybody_leaves():
    with bare() as fleet:
        cli, ids = chain(fleet)
        open_partitions(fleet)
        fleet.leads(150, devices=[1])
        cold, warm = [], []
        for (phone,) in fleet.sql.rows("SELECT phone FROM leads"):
            cold += enrol_row(fleet, ids["COLD"], 1, phone)
            warm += enrol_row(fleet, ids["WARM"], 1, phone, entry=ids["COLD"])
        keep = enrol_row(fleet, ids["OTHER"], 1, "60123456789")
        cli.ok("sequence", "enrol", "COLD", "--all", "--again")
        got = cli.json("sequence", "pause", "COLD", "--leave")
        equal(("paused", "told", 300, 600, 150), pick(got, "status", "redis", "contacts", "skipped", "not_enrolled"), "what it says")
        equal([("pending", "2"), ("skipped", "600")], fleet.sql.rows("SELECT status, COUNT(*) FROM broadcast_messages GROUP BY status"), "rows")
        equal(["pending"] * 2, rows_of(fleet, keep), "of another sequence")
        equal([("left", "paused", "300")], fleet.sql.rows("SELECT status, reason, COUNT(*) FROM sequence_contacts WHERE status = 'left' GROUP BY reason"), "contacts")
        equal(0, cli.json("sequence", "leave", "COLD", "--all")["contacts"], "again")
        shown = cli.json("sequence", "show", "COLD")
        equal((150, 0), pick(shown, "left", "active"), "shown")
        equal([{"status": "skipped", "rows": 300}], shown["messages"], "messages")
        equal([("COLD", "paused", 150), ("OTHER", "active", 0), ("WARM", "active", 150)],
              sorted(pick(s, "name", "status", "left") for s in cli.json("sequence", "list")), "list")


# --- looking ------------------------------------------------------------------------------------------


def run_row(fleet, occurrence, status, **columns):
    columns = {"recurring_id": 1, "user_id": 1, "occurrence_at": occurrence, "status": status, **columns}
    fleet.sql.exec(f"INSERT INTO recurring_message_logs ({', '.join(columns)}, started_at) VALUES"
                   f" ({', '.join(repr(v) for v in columns.values())}, UTC_TIMESTAMP(3))")


@test
def runs_and_next_times():
    with bare(conf={"paceline": {"default_time_zone": "Europe/Berlin"}}) as fleet:
        cli = shops(fleet)
        rule = {**GOOD_RULE, "schedule": {"freq": "daily", "at": ["09:00"], "start": "2099-03-27"}}
        path = cli.write("d.json", json.dumps(rule))
        equal(["2099-03-27T08:00:00.000Z", "2099-03-28T08:00:00.000Z", "2099-03-29T07:00:00.000Z"],
              [t["at"] for t in cli.json("recurring", "next", "--file", path, "3")], "in the default zone, over a change of the clock")
        equal("0", definitions(fleet)[3], "nothing was made")
        cli.ok("recurring", "create", "--file", path)
        got = cli.json("recurring", "next", "X")
        equal((5, "Fri 2099-03-27 09:00:00", "Europe/Berlin (+01:00)", "Fri 2099-03-27 08:00:00"),
              (len(got), *pick(got[0], "local", "zone", "utc")), "next")
        fleet.sql.exec("UPDATE recurring_messages SET max_executions = 5, executions = 3")
        equal(2, len(cli.json("recurring", "next", "X", "10")), "as often as it still may")
        for args in (["X", "0"], ["X", "many"], [], ["--file", path, "1", "2"]):
            cli.refused(2, "recurring", "next", *args, says="write: recurring next NAME")
        run_row(fleet, "2026-01-01 08:00:00.000", "finished", total=10, n_sent=7, n_failed=2, n_skipped=1, late_ms=1500)
        run_row(fleet, "2026-01-02 08:00:00.000", "missed", reason="late")
        run_row(fleet, "2026-01-03 08:00:00.000", "running", total=10, n_pending=9, n_unknown=1)
        fleet.sql.exec("UPDATE recurring_messages SET next_run_at = '2099-03-27 08:00:00'")
        got = cli.json("recurring", "runs", "X")
        equal([("running", 0, 0), ("missed", 0, 0), ("finished", 1500, 7)], [pick(r, "status", "late_ms", "sent") for r in got["runs"]], "newest first")
        equal((2, 1, 20, 7, 2, 1, 1, "2099-03-27T08:00:00.000Z"), pick(got["totals"], "runs", "missed", "total", "sent", "failed", "skipped", "unknown",
                                                                       "next_run_at"), "totals")
        equal(1, len(cli.json("recurring", "runs", "X", "--limit", "1")["runs"]), "limit")
        true("Mon" not in cli.ok("recurring", "show", "X") and "freq: daily" in cli.ok("recurring", "show", "X"), "show")
        status = cli.json("status")
        equal([("X", 7)], [pick(r, "name", "sent") for r in status["recurring"]], "status")
        cli.ok("recurring", "cancel", "X")
        equal([], cli.json("recurring", "next", "X"), "a cancelled one has none")


@test
def every_source_is_traced_and_decided():
    with bare() as fleet:
        cli, ids = chain(fleet)
        cli.ok("recurring", "create", "R", "--devices", "all", "--content", "x", "--freq", "daily")
        (a, b) = enrol_row(fleet, ids["COLD"], 1, "60123456789", status="finished")
        run_row(fleet, "2026-01-01 08:00:00.000", "finished")
        insert = ("INSERT INTO broadcast_messages (job_id, user_id, device_id, kind, recurring_id, occurrence_at, recipient_phone, scheduled_at,"
                  " status, created_at, updated_at) VALUES ('{}', 1, 1, '{}', {}, {}, '60123', UTC_TIMESTAMP(3), 'unknown', UTC_TIMESTAMP(3), UTC_TIMESTAMP(3))")
        fleet.sql.exec(insert.format("r1-t1-x", "recurring", 1, "'2026-01-01 08:00:00.000'"))
        fleet.sql.exec(insert.format("mine", "direct", "NULL", "NULL"))
        fleet.sql.exec("UPDATE broadcast_messages SET status = 'unknown', unknowns = 1, gen = 1, attempt = 1")
        listed = cli.json("unknown", "list")
        equal([("sequence", "COLD"), ("sequence", "COLD"), ("recurring", "R"), ("direct", None)], [pick(m, "kind", "source") for m in listed], "list")
        equal(2, len(cli.json("unknown", "list", "--sequence", "COLD")), "of a sequence")
        equal(["r1-t1-x"], [m["job_id"] for m in cli.json("unknown", "list", "--recurring", "R")], "of a rule")
        cli.refused(2, "unknown", "list", "--recurring", "R", "--sequence", "COLD", says="exclude each other")
        equal(("sequence", "COLD", ids["COLD"]), pick(cli.json("message", "trace", str(a)), "kind", "source", "source_id"), "trace")
        equal(("direct", None, None), pick(cli.json("message", "trace", "mine"), "kind", "source", "source_id"), "trace")
        equal(2, cli.json("unknown", "resend", "--sequence", "COLD", "--all")["messages"], "a sequence's")
        equal([("active", "1")], fleet.sql.rows("SELECT status, check_at IS NOT NULL FROM sequence_contacts"), "its contact goes on")
        equal(1, cli.json("unknown", "confirm", "--recurring", "R", "--all")["messages"], "a rule's")
        equal([("running", None)], fleet.sql.rows("SELECT status, finished_at FROM recurring_message_logs"), "its run is counted anew")
        equal(1, cli.json("unknown", "drop", "mine")["messages"], "a direct one")
        fleet.sql.exec(f"UPDATE broadcast_messages SET status = 'unknown' WHERE id = {a}")
        cli.ok("sequence", "cancel", "COLD")
        cli.refused(1, "unknown", "resend", str(a), says="its sequence is cancelled")
        equal({"pending": 1, "unknown": 1, "sent": 1}, {m["status"]: m["rows"] for m in cli.json("status")["messages"]}, "status counts all sources but direct")


@test
def from_definitions_to_messages():
    """The whole fleet: what people type is planned, sent and counted."""
    with Fleet() as fleet:
        fleet.devices(2)
        fleet.leads(5)
        fleet.start()
        cli = Cli(fleet)
        cli.ok("sequence", "create", "WARM", "--devices", "all", "--step", "0s:Warm {{name}}")
        cli.ok("sequence", "create", "COLD", "--devices", "all", "--start-after", "0s", "--step", "0s:Hi {{name}}", "--step", "1s:And again",
               "--next", "WARM", "--next-after", "1d")
        got = cli.json("sequence", "enrol", "COLD", "--all", "--wait")
        equal((10, 10), pick(got, "leads", "asked"), "enrolled")
        cli.ok("recurring", "create", "tick", "--devices", "d1-1", "--content", "Tick {{name}}", "--freq", "interval", "--every", "1s",
               "--max-executions", "2")
        equal(10, cli.json("sequence", "show", "COLD")["active"] + cli.json("sequence", "show", "COLD")["finished"], "contacts")
        wait_until(lambda: fleet.statuses().get("sent") == 30, 40, lambda: f"20 of COLD and 10 of tick: {fleet.statuses()}")
        wait_until(lambda: cli.json("recurring", "runs", "tick")["totals"]["sent"] == 10, 20, lambda: cli.ok("recurring", "runs", "tick"))
        equal((2, 0), pick(cli.json("recurring", "runs", "tick")["totals"], "runs", "failed"), "runs")
        got = cli.json("sequence", "leave", "COLD", "--all")
        equal((10, 0), pick(got, "skipped", "on_their_way"), f"WARM is left: {got}")
        equal({"sent": 30, "skipped": 10}, fleet.statuses(), "rows")
        true(got["contacts"] >= 10, f"contacts that left: {got}")
        fleet.stop()


# --- strangers ----------------------------------------------------------------------------------------


@test
def users_are_strangers():
    with bare() as fleet:
        ann, bob = shops(fleet, "A", user="ann"), shops(fleet, "B", user="bob")
        open_partitions(fleet)
        ann.ok("sequence", "create", "mine", "--devices", "A", "--step", "0s:secret", "--trigger", "t")
        ann.ok("recurring", "create", "rule", "--contacts", ann.write("c.csv", "phone\n60123456789\n"), "--device", "A", "--content", "secret", "--freq", "daily")
        user = one(fleet, "SELECT id FROM users WHERE name = 'ann'")
        (row,) = enrol_row(fleet, 1, 1, "60120000005", user=user)
        fleet.sql.exec("INSERT INTO leads (user_id, device_id, phone, `trigger`, created_at, updated_at) VALUES"
                       f" ({user}, 1, '60120000005', 't', UTC_TIMESTAMP(3), UTC_TIMESTAMP(3))")
        tables = [t for (t,) in fleet.sql.rows("SHOW TABLES")]
        before = {t: fleet.sql.rows(f"SELECT * FROM {t}") for t in tables}
        file = bob.write("d.json", json.dumps({"name": "x", "devices": ["A"], "steps": [STEP]}))
        link = bob.write("l.json", json.dumps({"name": "x", "devices": "all", "steps": [STEP], "next": {"sequence": "mine"}}))
        for args in (["sequence", "show", "mine"], ["sequence", "show", "1"], ["sequence", "show", "1", "--definition"], ["sequence", "pause", "mine"],
                     ["sequence", "pause", "1", "--leave"], ["sequence", "resume", "1"], ["sequence", "cancel", "1"], ["sequence", "enrol", "1", "--all"],
                     ["sequence", "enrol", "mine", "60120000005"], ["sequence", "leave", "1", "60120000005"], ["sequence", "leave", "mine", "--all"],
                     ["sequence", "create", "--file", file], ["sequence", "create", "--file", link],
                     ["sequence", "create", "x", "--devices", "1", "--step", "0s:x"], ["sequence", "create", "x", "--devices", "all", "--step", "0s:x", "--next", "1"],
                     ["recurring", "show", "rule"], ["recurring", "show", "1", "--definition"], ["recurring", "pause", "1"], ["recurring", "resume", "1"],
                     ["recurring", "cancel", "rule"], ["recurring", "runs", "1"], ["recurring", "next", "1"], ["unknown", "list", "--sequence", "1"],
                     ["recurring", "create", "x", "--devices", "A", "--content", "x", "--freq", "daily"],
                     ["recurring", "create", "x", "--contacts", bob.write("c.csv", "phone\n60123456789\n"), "--device", "1", "--content", "x", "--freq", "daily"],
                     ["unknown", "drop", "--recurring", "rule", "--all"], ["message", "trace", str(row)]):
            bob.refused(1, *args, says="has no")
        bob.refused(2, "recurring", "create", "x", "--contacts", bob.write("c.csv", "phone,device\n60123456789,A\n"), "--content", "x", "--freq", "daily",
                    says="no device is called 'A'")
        equal(before, {t: fleet.sql.rows(f"SELECT * FROM {t}") for t in tables}, "all tables")
        for args in (["sequence", "list"], ["recurring", "list"], ["status"], ["unknown", "list"]):
            code, out, err = bob.run(*args)
            true(not re.search(r"mine|rule|secret|6012", out + err), f"{args} shows another's: {out}{err}")
        # Bob's own with the same names and trigger reach only his.
        err = bob.run("sequence", "create", "mine", "--devices", "all", "--step", "0s:x", "--trigger", "t")[2]
        true("no lead has the trigger" in err, f"another's lead has it: {err}")
        equal(0, bob.json("sequence", "enrol", "mine", "--all")["asked"], "nobody of his")
        bob.refused(1, "sequence", "enrol", "mine", "60120000005", says="is no lead")
        bob.refused(1, "sequence", "leave", "mine", "60120000005", says="is no active contact")
        equal(0, bob.json("sequence", "leave", "mine", "--all")["contacts"], "nobody leaves")
        equal((["pending"], [("active",)]), (rows_of(fleet, [row]), fleet.sql.rows("SELECT status FROM sequence_contacts")), "hers")


if __name__ == "__main__":
    sys.exit(main())
