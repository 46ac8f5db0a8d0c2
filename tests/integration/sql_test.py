#!/usr/bin/env python3
"""Every statement that the programs say while a fleet lives through all that can happen to it, explained by
the server against large tables: no scan of a large table, no large sort.

    tests/integration/sql_test.py [name part ...]      SQL_ROWS: of the large ledger (60000)"""
import json
import os
import re
import signal
import sys
import time
from collections import defaultdict

from clients import SqlError
from harness import Fleet, main, test, true, wait_until
from receipts import Receipts, said, status, statuses
from refusals import RULES, refuse

ROWS = int(os.environ.get("SQL_ROWS", "60000"))
CHUNK = 250000
OTHERS = min(ROWS, 200000)  # rows of the tables beside it
SERVER = ("--innodb-buffer-pool-size=6G", "--innodb-log-file-size=2G") if ROWS > 1000000 else ()
LARGE, SORT = 1000, 2000  # rows: more than this must not be scanned, or sorted
# How rows are spread over the states: a system that has long been running, and one with a great backlog.
MIXTURES = {
    "mostly sent": "ELT(1 + (s.seq * 7919) % 20, 'pending', 'queued', 'failed', 'skipped', 'unknown', 'sent', 'sent', 'sent',"
                   " 'sent', 'sent', 'sent', 'sent', 'sent', 'sent', 'sent', 'sent', 'sent', 'sent', 'sent', 'sent')",
    "backlog": "ELT(1 + (s.seq * 7919) % 10, 'pending', 'pending', 'pending', 'pending', 'pending', 'pending', 'queued', 'queued',"
               " 'processing', 'sent')",
}


def live_through_everything(fleet):
    """Campaigns of every policy, retries, pauses, expiry, deaths, a lost Redis."""
    fleet.devices(12, gap=(5, 15))
    fleet.leads(25)
    fleet.sql.exec("UPDATE users SET recipient_daily = 8, recipient_weekly = 30, recipient_wait_s = 5")
    fleet.sql.exec("UPDATE devices SET account = IF(id % 2, 'even', 'odd')")
    fleet.sql.exec("INSERT INTO accounts (user_id, name, daily_recipients, created_at, updated_at) VALUES (1, 'even', 1000, UTC_TIMESTAMP(3),"
                   " UTC_TIMESTAMP(3)), (1, 'odd', 140, UTC_TIMESTAMP(3), UTC_TIMESTAMP(3))")
    fleet.sql.exec("INSERT INTO opt_outs (user_id, phone, created_at) SELECT user_id, phone, UTC_TIMESTAMP(3) FROM leads WHERE id % 50 = 0")
    fleet.start(producer=2, worker=2, reaper=2)
    for policy in ("hold", "resend", "assume_sent"):
        fleet.campaign(policy, on_unknown=policy)
    fleet.campaign("short", max_lateness_s=1)
    fleet.campaign("niche", niche="none")
    fleet.campaign("stopped")
    other_sources(fleet)
    media(fleet)
    wait_until(lambda: len(fleet.ledger()) > 100, 20, "sends")
    fleet.ctl("campaign", "pause", "stopped")
    fleet.ctl("device", "pause", "d1-3")
    wait_until(lambda: len(fleet.ledger()) > 300, 20, "sends")
    fleet.ctl("campaign", "resume", "stopped")
    fleet.ctl("device", "resume", "d1-3")
    fleet.processes.pop("worker1").kill()
    fleet.processes.pop("producer1").kill()
    fleet.redis.call("FLUSHALL")
    fleet.spawn("worker", "worker3")
    wait_until(lambda: len(fleet.ledger()) > 500, 20, "sends")
    fleet.ctl("campaign", "cancel", "stopped")
    fleet.sql.exec("INSERT IGNORE INTO opt_outs (user_id, phone, created_at) SELECT user_id, recipient_phone, UTC_TIMESTAMP(3) FROM"
                   " broadcast_messages WHERE status IN ('queued', 'processing', 'pending') ORDER BY RAND() LIMIT 20")
    fleet.ctl("sequence", "leave", "third", "--all")
    fleet.sql.exec("UPDATE sequences SET status = 'cancelled' WHERE name = 'third'")
    fleet.sql.exec("UPDATE recurring_messages SET status = IF(name = 'contacts', 'cancelled', 'finished')")
    fleet.sql.exec("UPDATE accounts SET daily_recipients = 100000 WHERE user_id = 1")
    fleet.sql.exec("UPDATE account_recipients SET last_at = UTC_TIMESTAMP(3) - INTERVAL 1410 MINUTE WHERE phone LIKE '%1'")
    fleet.sql.exec("UPDATE broadcast_messages SET scheduled_at = UTC_TIMESTAMP(3) WHERE status = 'pending' AND error_class = 'account-limit'")
    fleet.ctl("campaign", "cancel", "picture", check=False)  # it pauses where no device can send it
    fleet.drain(90)
    fleet.sql.exec("UPDATE sequence_contacts SET check_at = UTC_TIMESTAMP(3)")
    wait_until(lambda: fleet.sql.one("SELECT COUNT(*) FROM sequence_contacts WHERE check_at IS NOT NULL") == 0, 20, "contacts counted")
    be_refused_in_every_scope(fleet)
    fleet.check(order=False)
    tell_everything(fleet)


def tell_everything(fleet):
    """Receipts of every kind, of known messages and of none; answers."""
    server = Receipts(fleet)
    jobs = fleet.sql.rows("SELECT job_id, provider_message_id FROM broadcast_messages WHERE attempt > 0 LIMIT 200")
    list_ = [status(p or f"wamid.{j}", w, tag=j + ":1" if n % 2 else None) for n, (j, p) in enumerate(jobs) for w in ("sent", "delivered")]
    server.takes("meta", statuses(*list_, *(status(f"wamid.f{n}", "failed", tag=j + ":1", code=131050) for n, (j, _) in enumerate(jobs[:9]))))
    for phone in ("60100000001", "60100000002"):
        server.takes("meta", said("STOP", phone))
        server.takes("meta", said("START", phone, at=time.time() + 9))
    (phone, ref), = fleet.sql.rows("SELECT m.recipient_phone, d.sender_ref FROM broadcast_messages m JOIN devices d ON d.id = m.device_id"
                                   " WHERE m.status = 'unknown' LIMIT 1") or [("60100000001", "ref1")]
    server.takes("gowa", {"event": "message.ack", "device_id": ref, "payload": {"ids": ["3EB0"], "chat_id": phone, "receipt_type": "read"}})
    fleet.sql.exec("UPDATE receipts SET received_at = received_at - INTERVAL 20 SECOND WHERE section = 'gowa'")
    wait_until(lambda: not server.rows("state = 'new' AND due_at = received_at"), 20, "receipts looked at")
    fleet.sql.exec("UPDATE broadcast_messages SET status = 'sent', unknowns = 0 WHERE recipient_phone = '%s' AND status = 'unknown'" % phone)
    server.process.terminate()


def be_refused_in_every_scope(fleet):
    """Sources, devices and accounts that stop, recipients and new contacts that wait."""
    devices = fleet.devices(6, prefix="h")
    fleet.sql.exec(f"UPDATE devices SET account = 'shop' WHERE id IN ({devices[2]}, {devices[5]})")
    fleet.leads(5, devices=devices)
    codes = ["tpl", "spam", "locked", "463", "131049", "param"]
    fleet.stub.control(*[refuse(f"device:{d}", code) for d, code in zip(devices, codes)])
    campaigns = [fleet.campaign(f"held {code}", devices=[d]) for d, code in zip(devices, codes)]
    one = fleet.sql.one
    wait_until(lambda: one("SELECT COUNT(*) FROM campaigns WHERE status = 'paused' AND status_reason <> ''") >= 1
               and one("SELECT COUNT(*) FROM devices WHERE status = 'paused' AND status_reason <> ''") >= 2
               and one("SELECT COUNT(*) FROM devices WHERE new_contacts_until IS NOT NULL")
               and one("SELECT COUNT(*) FROM recipient_rests WHERE user_id = 1"), 30, "holds of every scope")
    fleet.ctl("holds")
    fleet.stub.control()
    for number in campaigns:
        fleet.ctl("campaign", "cancel", str(number), check=False)
    fleet.sql.exec("UPDATE devices SET status = 'active', config_version = config_version + 1 WHERE status = 'paused'")
    fleet.drain(60)


def other_sources(fleet):
    """Sequences by trigger and by request, recurring messages to leads and to contacts, rows of an application."""
    second = fleet.sequence("second", [(0, "c")])
    first = fleet.sequence("first", [(0, "a"), (1, "b")], trigger="go", next_sequence_id=second, next_after_s=1)
    third = fleet.sequence("third", [(0, "d"), (3600, "e")], devices=[1, 2], on_unknown="resend")
    fleet.sql.exec("UPDATE leads SET `trigger` = 'go' WHERE id % 7 = 0")
    fleet.sql.exec(f"INSERT INTO sequence_requests (sequence_id, lead_id, created_at) SELECT {third}, id, UTC_TIMESTAMP(3)"
                   " FROM leads WHERE device_id < 4")
    fleet.recurring("leads", niche="", every=2, delay="adaptive")
    contacts = fleet.recurring("contacts", audience="contacts", every=3)
    fleet.sql.exec(f"INSERT INTO recurring_contacts (recurring_id, device_id, phone) SELECT {contacts}, device_id, phone FROM"
                   " leads WHERE id % 20 = 0")
    fleet.sql.exec("INSERT INTO broadcast_messages (job_id, user_id, device_id, kind, recipient_phone, content, scheduled_at,"
                   " created_at, updated_at) SELECT CONCAT('direct-', id), user_id, device_id, 'direct', phone, 'x',"
                   " UTC_TIMESTAMP(3), UTC_TIMESTAMP(3), UTC_TIMESTAMP(3) FROM leads WHERE id % 30 = 0")
    wait_until(lambda: fleet.sql.one("SELECT COUNT(*) FROM sequence_contacts WHERE sequence_id = %d" % first) > 0, 20, "enrolment")


def media(fleet):
    """A campaign with a picture, which Redis loses on the way, and rows with media of their own."""
    picture = os.path.join(fleet.folder, "picture.jpg")
    with open(picture, "wb") as f:
        f.write(b"\xff\xd8\xff\xe0" + b"x" * 2000)
    fleet.ctl("media", "add", picture)
    fleet.ctl("campaign", "create", "picture", "--image", picture, "--devices", "all", "--start", "now")
    stored = json.loads(fleet.ctl("--json", "media", "list")[1])[0]["sha256"]
    fleet.sql.exec("INSERT INTO broadcast_messages (job_id, user_id, device_id, kind, recipient_phone, media, template, scheduled_at,"
                   " created_at, updated_at) SELECT CONCAT('media-', id), user_id, device_id, 'direct', phone,"
                   f" IF(id % 60 = 0, '{{', '{{\"type\":\"image\",\"sha256\":\"{stored}\"}}'), IF(id % 90 = 0, '{{}}', NULL),"
                   " UTC_TIMESTAMP(3), UTC_TIMESTAMP(3), UTC_TIMESTAMP(3) FROM leads WHERE id % 30 = 0")
    fleet.redis.call("SADD", "pl:media-wanted", f"1/{stored}", "1/" + "0" * 64)
    fleet.ctl("media", "show", stored)
    fleet.ctl("media", "remove", stored, check=False)
    fleet.ctl("sequence", "create", "picture", "--step", "0s:", "--image", "sha256:" + stored, "--devices", "all")
    fleet.ctl("campaign", "show", "picture")
    fleet.ctl("sequence", "show", "picture")
    fleet.ctl("sequence", "cancel", "picture")


def ask_everything(fleet):
    """The commands that people type."""
    number = fleet.sql.one("SELECT MIN(id) FROM broadcast_messages WHERE status = 'unknown'")
    stop = os.path.join(fleet.folder, "stop.csv")
    with open(stop, "w") as f:
        f.write("phone\n" + "".join(f"6012345{n:04}\n" for n in range(1500)))
    for command in (["status"], ["device", "list"], ["device", "show", "d1-1"], ["campaign", "list"],
                    ["campaign", "show", "hold"], ["unknown", "list"], ["message", "trace", str(number or 1)],
                    ["unknown", "confirm", str(number or 1)], ["audit", "stuck"],
                    ["account", "list"], ["account", "show", "odd"], ["account", "set", "odd", "--daily-recipients", "100", "--devices", "d1-2"],
                    ["user", "show"], ["campaign", "create", "planned", "--content", "x", "--devices", "all"], ["campaign", "plan", "planned"],
                    ["optout", "add", "60123456789", "60123456780"], ["optout", "list"], ["optout", "list", "60123456789"],
                    ["optout", "list", "--source", "by hand"], ["optout", "remove", "60123456789"],
                    ["optout", "import", stop, "--dry-run"], ["optout", "import", stop],
                    ["audit", "receipts"], ["message", "trace", str(fleet.sql.one("SELECT MIN(id) FROM broadcast_messages WHERE receipt <> 'none'") or 1)]):
        fleet.ctl(*command, check=False)


def shape(statement):
    s = re.sub(r"'(?:[^'\\]|\\.|'')*'", "?", statement)
    s = re.sub(r"(?<![\w.])-?\d+(?:\.\d+)?\b", "?", s)
    s = re.sub(r"\(\s*\?(?:\s*,\s*\?)*\s*\)", "(?..)", s)
    s = re.sub(r"(\((?:[^()]|\([^()]*\))*\))(?:\s*,\s*\1)+", r"\1..", s)
    return re.sub(r"\s+", " ", s).strip()


def read_trace(path):
    """Shape -> up to three of its statements."""
    shapes = defaultdict(list)
    with open(path, errors="replace") as f:
        for line in f:
            statement = line.strip()
            if re.match(r"(SELECT|UPDATE|DELETE|INSERT|REPLACE|WITH)\b", statement, re.I):
                shapes[shape(statement)].append(statement)
    return {s: [all_[0], all_[len(all_) // 2], all_[-1]] for s, all_ in shapes.items()}


def fill(sql, mixture):
    """Large tables of another user's, so that nobody's work changes its meaning."""
    sql.exec("SET foreign_key_checks = 0")
    while sql.exec("DELETE FROM broadcast_messages WHERE user_id = 2 LIMIT 100000"):
        pass
    if not sql.rows("SELECT 1 FROM users WHERE id = 2"):
        sql.exec("INSERT INTO users (id, name, created_at) VALUES (2, 'large', UTC_TIMESTAMP(3))")
        sql.exec("INSERT INTO devices (user_id, name, created_at, updated_at, config_version, steered_version)"
                 " SELECT 2, CONCAT('large-', seq), UTC_TIMESTAMP(3), UTC_TIMESTAMP(3), 1, 1 FROM seq_1_to_5000")
        sql.exec("INSERT INTO leads (user_id, device_id, phone, created_at, updated_at)"
                 f" SELECT 2, 1000 + seq % 5000, CONCAT('77', seq), UTC_TIMESTAMP(3), UTC_TIMESTAMP(3) FROM seq_1_to_{OTHERS}")
        sql.exec("INSERT INTO opt_outs (user_id, phone, created_at)"
                 f" SELECT 2, CONCAT('77', seq), UTC_TIMESTAMP(3) FROM seq_1_to_{OTHERS}")
        sql.exec("INSERT INTO recipient_rests (user_id, phone, until_at) SELECT 2, CONCAT('77', seq), UTC_TIMESTAMP(3) + INTERVAL seq SECOND"
                 f" FROM seq_1_to_{OTHERS}")
        sql.exec("INSERT INTO campaigns (user_id, name, status, content, expanded_at, finished_at, created_at, updated_at)"
                 " SELECT 2, CONCAT('large-', seq), ELT(1 + seq % 40, 'running', 'paused') , '', UTC_TIMESTAMP(3), NULL,"
                 " UTC_TIMESTAMP(3), UTC_TIMESTAMP(3) FROM seq_1_to_5000 WHERE seq % 40 < 2")
        sql.exec("INSERT INTO campaigns (user_id, name, status, content, expanded_at, finished_at, created_at, updated_at)"
                 " SELECT 2, CONCAT('old-', seq), 'finished', '', UTC_TIMESTAMP(3), UTC_TIMESTAMP(3),"
                 " UTC_TIMESTAMP(3), UTC_TIMESTAMP(3) FROM seq_1_to_5000")
        sql.exec("INSERT INTO campaign_devices SELECT c.id, d.id FROM (SELECT id FROM campaigns WHERE user_id = 2 LIMIT 50) c"
                 " JOIN (SELECT id FROM devices WHERE user_id = 2 LIMIT 1000) d")
        sql.exec("INSERT INTO accounts (user_id, name, daily_recipients, created_at, updated_at) SELECT 2, CONCAT('large-', seq), 1000,"
                 " UTC_TIMESTAMP(3), UTC_TIMESTAMP(3) FROM seq_1_to_2000")
        sql.exec("INSERT INTO account_recipients (account_id, phone, last_at) SELECT a.id, CONCAT('77', seq), UTC_TIMESTAMP(3) - INTERVAL"
                 f" seq SECOND FROM (SELECT id FROM accounts WHERE user_id = 2 LIMIT 10) a JOIN seq_1_to_{OTHERS // 10}")
        sql.exec("UPDATE leads SET `trigger` = ELT(1 + id % 3, 'go', 'come', ''), trigger_seen = IF(id % 6 < 3, `trigger`, '') WHERE user_id = 2")
        sql.exec("INSERT INTO sequences (user_id, name, status, `trigger`, created_at, updated_at) SELECT 2, CONCAT('large-', seq),"
                 " ELT(1 + seq % 40, 'paused', 'active', 'active', 'cancelled', 'active'), CONCAT('t', seq), UTC_TIMESTAMP(3), UTC_TIMESTAMP(3) FROM seq_1_to_30000 WHERE seq % 40 < 5")
        sql.exec("UPDATE sequences SET finished_at = UTC_TIMESTAMP(3) - INTERVAL 9 DAY WHERE user_id = 2 AND status = 'cancelled'")
        sql.exec("INSERT INTO sequence_steps (sequence_id, position, content) SELECT 1000 + seq % 5000, seq DIV 5000, 'x' FROM seq_1_to_30000")
        sql.exec("INSERT INTO sequence_requests (sequence_id, lead_id, created_at) SELECT 1000000 + seq % 50, seq, UTC_TIMESTAMP(3)"
                 f" FROM seq_1_to_{OTHERS // 10}")
        sql.exec("INSERT INTO sequence_contacts (sequence_id, user_id, device_id, lead_id, recipient_phone, entry_sequence_id, status,"
                 " enrolled_at, last_at, check_at) SELECT IF(seq % 3, 1 + seq % 4, 1000 + seq % 100), 2, 1000 + seq % 5000, seq, CONCAT('77', seq), 1, ELT(1 + seq % 4,"
                 " 'active', 'finished', 'finished', 'left'), UTC_TIMESTAMP(3), UTC_TIMESTAMP(3), IF(seq % 4, NULL, UTC_TIMESTAMP(3) +"
                 f" INTERVAL seq SECOND) FROM seq_1_to_{OTHERS}")
        sql.exec("INSERT INTO recurring_messages (user_id, name, status, content, freq, start_local, planned_after, next_run_at, created_at,"
                 " updated_at) SELECT 2, CONCAT('large-', seq), ELT(1 + seq % 3, 'active', 'finished', 'cancelled'), '', 'daily', UTC_TIMESTAMP(),"
                 " UTC_TIMESTAMP(), UTC_TIMESTAMP() + INTERVAL 10 + seq HOUR, UTC_TIMESTAMP(3), UTC_TIMESTAMP(3) FROM seq_1_to_5000")
        sql.exec("UPDATE recurring_messages SET finished_at = UTC_TIMESTAMP(3) - INTERVAL 9 DAY WHERE user_id = 2 AND status <> 'active'")
        sql.exec("UPDATE recurring_messages SET updated_at = UTC_TIMESTAMP(3) - INTERVAL 1 DAY WHERE user_id = 2")
        sql.exec("UPDATE sequences SET updated_at = UTC_TIMESTAMP(3) - INTERVAL 1 DAY WHERE user_id = 2")
        sql.exec("INSERT INTO recurring_contacts (recurring_id, device_id, phone) SELECT 1000 + seq % 500, 1000 + seq % 5000,"
                 f" CONCAT('77', seq) FROM seq_1_to_{OTHERS}")
        sql.exec("INSERT INTO recurring_message_logs (recurring_id, user_id, occurrence_at, status, started_at, finished_at) SELECT"
                 " 1000 + seq % 500, 2, UTC_TIMESTAMP(3) - INTERVAL seq MINUTE, 'finished', UTC_TIMESTAMP(3), UTC_TIMESTAMP(3)"
                 f" FROM seq_1_to_{OTHERS}")
        sql.exec("INSERT INTO receipts (user_id, section, kind, provider_message_id, job_id, phone, consent_phone, happened_at, received_at, state, due_at)"
                 " SELECT 2, 'meta', ELT(1 + seq % 4, 'sent', 'delivered', 'read', 'stop'), CONCAT('wamid.', seq DIV 3), IF(seq % 2, CONCAT('large-', seq), NULL),"
                 " CONCAT('77', seq), IF(seq % 4 = 3, CONCAT('77', seq), NULL), UTC_TIMESTAMP(3), UTC_TIMESTAMP(3), IF(seq % 100, 'applied', ELT(1 + seq DIV 100 % 2,"
                 f" 'orphan', 'new')), UTC_TIMESTAMP(3) + INTERVAL seq % 1000 SECOND - INTERVAL 900 SECOND FROM seq_1_to_{OTHERS}")
        sql.exec("INSERT INTO media (user_id, sha256, mime, size, created_at) SELECT 2, SHA2(seq, 256), 'image/jpeg', 1, UTC_TIMESTAMP(3)"
                 f" FROM seq_1_to_{OTHERS // 10}")
        sql.exec("INSERT INTO media_pieces (media_id, position, content) SELECT id, 0, 'x' FROM media WHERE user_id = 2")
        sql.exec("INSERT INTO message_events (message_id, gen, token, event, happened_at)"
                 f" SELECT 1000000 + seq, 1, 1, 'sent', UTC_TIMESTAMP(3) FROM seq_1_to_{OTHERS}")
    # Devices and campaigns have some hundred rows each, as an audience has; half of the messages are of other sources.
    devices, campaigns = max(200, ROWS // 300), max(100, ROWS // 600)
    for begin in range(1, ROWS + 1, CHUNK):
        sql.exec(
            "INSERT INTO broadcast_messages (job_id, user_id, device_id, kind, campaign_id, sequence_id, sequence_stepid, recurring_id,"
            " occurrence_at, lead_id, recipient_phone, provider_message_id, scheduled_at, status, gen, queued_at, processing_started_at, expires_at, decide_at,"
            f" created_at, updated_at) SELECT CONCAT('large-', seq), 2, 1 + seq % {devices}, ELT(1 + seq % 4, 'sequence', 'recurring',"
            f" 'campaign', 'campaign'), IF(seq % 4 > 1, 1 + seq % {campaigns}, NULL), IF(seq % 4 = 0, 1000 + seq % 100, NULL),"
            " IF(seq % 4 = 0, seq, NULL), IF(seq % 4 = 1, 1000 + seq % 500, NULL), IF(seq % 4 = 1, UTC_TIMESTAMP(3) - INTERVAL"
            " seq % 5000 SECOND, NULL), seq, CONCAT('77', seq), IF(st = 'sent', CONCAT('wamid.', seq), NULL), UTC_TIMESTAMP(3) - INTERVAL seq % 5000 SECOND, st, 1,"
            " UTC_TIMESTAMP(3) - INTERVAL seq % 900 SECOND, UTC_TIMESTAMP(3) - INTERVAL seq % 900 SECOND,"
            " IF(seq % 3, NULL, UTC_TIMESTAMP(3) + INTERVAL seq % 900 SECOND),"
            " IF(st = 'unknown' AND seq % 2, UTC_TIMESTAMP(3) + INTERVAL seq % 900 SECOND, NULL), UTC_TIMESTAMP(3), UTC_TIMESTAMP(3)"
            f" FROM (SELECT s.seq, {MIXTURES[mixture]} st FROM seq_{begin}_to_{min(ROWS, begin + CHUNK - 1)} s) x")
        if ROWS > CHUNK:
            print(f"    {min(ROWS, begin + CHUNK - 1):,} rows", flush=True)
    sql.query("ANALYZE TABLE broadcast_messages, message_events, leads, devices, campaigns, campaign_devices, opt_outs, accounts, account_recipients,"
              " recipient_rests, sequences, sequence_steps, sequence_requests, sequence_contacts, recurring_messages, recurring_contacts,"
              " recurring_message_logs, receipts, media, media_pieces")


def explain(sql, statement):
    """What is wrong with the server's plan for one statement."""
    found = []
    for step in sql.dicts("EXPLAIN " + statement):
        rows, extra = int((step.get("rows") or "0").split()[0]), step.get("Extra") or ""
        what = f"table {step['table']} by {step['type']}/{step['key']}, {rows} rows, {extra}"
        # What a step before has gathered is guessed at, and read once.
        large = SORT if (step["table"] or "").startswith("<") else LARGE
        if step["type"] in ("ALL", "index") and rows > large:
            found.append("scan: " + what)
        elif ("filesort" in extra or "temporary" in extra) and rows > SORT:
            found.append("large sort: " + what)
    return found


def judge(fleet, paths):
    """Explains every statement of the traces in each mixture, which is filled once for all of them."""
    problems = {}
    shapes = {path: read_trace(path) for path in paths}
    for mixture in MIXTURES if ROWS <= 1000000 else list(MIXTURES)[:1]:
        fill(fleet.sql, mixture)
        for s, statements in (item for path in paths for item in shapes[path].items()):
            if re.match(r"(INSERT|REPLACE)\b(?!.*\bSELECT\b)", s, re.I) or not re.search(r"\b(FROM|UPDATE|INTO)\b", s):
                continue
            for statement in statements:
                try:
                    for p in explain(fleet.sql, statement):
                        problems.setdefault((s, p.split(",")[0]), f"{p} ({mixture})\n      {statement[:1200]}")
                except SqlError as e:
                    problems.setdefault((s, "error"), f"cannot be explained: {e}\n      {statement[:1200]}")
    for path in paths:
        print(f"{len(shapes[path])} kinds of statements in {os.path.basename(path)}")
    print(f"{fleet.sql.one('SELECT COUNT(*) FROM broadcast_messages'):,} rows, {len(problems)} remarks")
    for text in problems.values():
        print("    " + text)
    true(not problems, f"{len(problems)} statements scan or sort too much")


@test(seconds=240 if ROWS <= 1000000 else 3600)
def no_statement_scans_or_sorts_a_large_table():
    rules = ["p:0.05=status:429", "p:0.05=reset-after", "p:0.03=status:400"]
    with Fleet(rules=rules, conf={"reaper": {"audit_interval": "1s"}}, mysql_options=SERVER) as fleet:
        fleet.senders["stub"].update(RULES)
        fleet.configure()
        trace = os.path.join(fleet.folder, "programs.sql")
        commands = os.path.join(fleet.folder, "commands.sql")
        fleet.env["PACELINE_SQL_TRACE"] = trace
        fleet.ctl_env["PACELINE_SQL_TRACE"] = commands
        live_through_everything(fleet)
        ask_everything(fleet)
        for p in fleet.processes.values():
            p.signal(signal.SIGTERM)
        for p in fleet.processes.values():
            p.wait()
        fleet.processes.clear()
        began = time.monotonic()
        judge(fleet, [trace, commands])
        print(f"explained in {time.monotonic() - began:.1f} s")


if __name__ == "__main__":
    sys.exit(main())
