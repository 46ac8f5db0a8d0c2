#!/usr/bin/env python3
"""Taking over the database of an older system: two shapes of it, with duplicates, rows that are stuck, local
times, phones that are none; dry runs, deaths at every point, and a fleet that goes on with what is left.

    tests/integration/adopt_test.py [name part ...]     show: prints the tables before and after"""
import json
import re
import signal
import sys
import time

from harness import Fleet, Process, equal, main, pause, test, true, wait_until

# One has other names for its tables and columns, and ids that are words.
SHAPES = {
    "plain": dict(devices="user_devices", user="name", device="device_name", title="title", text="message",
                  step="sequence_stepid", at="scheduled_at", id="BIGINT", media="media_url"),
    "other": dict(devices="Devices", user="email", device="name", title="name", text="content",
                  step="sequence_step_id", at="send_at", id="CHAR(36)", media="image_url"),
}


def key(shape, n, what="x"):
    return n if SHAPES[shape]["id"] == "BIGINT" else f"'{what}-0000-{n:08}'"


def build(fleet, shape, name="older"):
    """An older system's database; its sessions wrote DATE_ADD(NOW(), INTERVAL 8 HOUR)."""
    s, sql = SHAPES[shape], fleet.mysql.client
    k = lambda n, what="x": key(shape, n, what)
    now = "DATE_ADD(NOW(), INTERVAL 8 HOUR)"
    sql.exec(f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
    do = lambda text: sql.exec(text.replace("@", name + "."))
    do(f"CREATE TABLE @users (id {s['id']} PRIMARY KEY, {s['user']} VARCHAR(255), password VARCHAR(99))")
    do(f"CREATE TABLE @{s['devices']} (id {s['id']} PRIMARY KEY, user_id {s['id']}, {s['device']} VARCHAR(255),"
       " phone VARCHAR(40), provider VARCHAR(40), instance VARCHAR(99), status VARCHAR(20),"
       " min_delay_seconds INT, max_delay_seconds INT)")
    do(f"CREATE TABLE @leads (id {s['id']} PRIMARY KEY, user_id {s['id']}, device_id {s['id']}, phone VARCHAR(40),"
       " name VARCHAR(255), niche VARCHAR(255), target_status VARCHAR(50), `trigger` VARCHAR(255))")
    do(f"CREATE TABLE @campaigns (id {s['id']} PRIMARY KEY, user_id {s['id']}, {s['title']} VARCHAR(255), niche VARCHAR(99),"
       f" target_status VARCHAR(50), {s['text']} TEXT, image_url TEXT, campaign_date DATE, time_schedule VARCHAR(10),"
       " status VARCHAR(20), min_delay_seconds INT, max_delay_seconds INT)")
    do(f"CREATE TABLE @sequences (id {s['id']} PRIMARY KEY, user_id {s['id']}, name VARCHAR(255), `trigger` VARCHAR(99),"
       " status VARCHAR(20))")
    do(f"CREATE TABLE @sequence_steps (id {s['id']} PRIMARY KEY, sequence_id {s['id']}, day INT, content TEXT)")
    do("CREATE TABLE @sequence_contacts (id INT PRIMARY KEY)")
    do(f"CREATE TABLE @broadcast_messages (id {s['id']} PRIMARY KEY, user_id {s['id']}, device_id {s['id']},"
       f" campaign_id {s['id']}, sequence_id {s['id']}, {s['step']} {s['id']}, recipient_phone VARCHAR(40),"
       f" recipient_name VARCHAR(255), content LONGTEXT, {s['media']} TEXT, status VARCHAR(20), error_message TEXT,"
       f" {s['at']} DATETIME, sent_at DATETIME, created_at TIMESTAMP NULL DEFAULT CURRENT_TIMESTAMP,"
       " processing_worker_id VARCHAR(99),"
       # NULLs guard nothing
       f" UNIQUE KEY u ({s['step']}, campaign_id, recipient_phone, device_id))")
    do(f"INSERT INTO @users VALUES ({k(1)}, 'ali', 'x'), ({k(2)}, 'siti', 'x')")
    do(f"INSERT INTO @{s['devices']} VALUES"
       f" ({k(1)}, {k(1)}, 'Kedai', '0123456789', 'Whacenter', 'tok-1', 'online', 0, 0),"
       f" ({k(2)}, {k(2)}, 'Kedai', NULL, 'stub', '', 'offline', 5, 2),"
       f" ({k(3)}, {k(1)}, 'Kedai', 'none', 'stub', 'ref', 'online', NULL, NULL),"
       f" ({k(4)}, {k(9)}, 'of nobody', NULL, 'stub', '', 'online', 1, 2)")
    do(f"INSERT INTO @campaigns VALUES"
       f" ({k(1)}, {k(1)}, 'Raya', 'shoes', 'prospect', '{{Hi|Hai}} {{name}}', NULL, '2026-11-22', '18:00', 'processing', 0, 0),"
       f" ({k(2)}, {k(1)}, 'Raya', '', '', 'old', NULL, '2026-01-02', '09:30:00', 'completed', NULL, NULL),"
       f" ({k(3)}, {k(2)}, 'Stopped', '', '', 'x', 'http://x/y.jpg', NULL, NULL, 'cancelled', NULL, NULL),"
       f" ({k(4)}, {k(1)}, 'Later', 'shoes', '', 'soon', NULL, '2099-01-01', '08:00', 'pending', NULL, NULL)")
    do(f"INSERT INTO @sequences VALUES ({k(1)}, {k(1)}, 'COLD', 'COLD', 'active'), ({k(2)}, {k(1)}, 'twin', 'COLD', 'inactive')")
    do(f"INSERT INTO @sequence_steps VALUES ({k(2)}, {k(1)}, 1, 'first {{name}}'), ({k(1)}, {k(1)}, 3, 'second'),"
       f" ({k(3)}, {k(8)}, 1, 'lost')")
    leads = [f"({k(i)}, {k(1)}, {k(1)}, '01{i:08}', 'Lead {i}', 'shoes', 'prospect', 'COLD')" for i in range(1, 51)]
    leads += [f"({k(60)}, {k(1)}, {k(1)}, '+60 1-{3:08}', 'twice', '', '', '')", f"({k(61)}, {k(1)}, {k(1)}, '6.01E+10', '', '', '', '')",
              f"({k(62)}, {k(1)}, {k(2)}, '0187654321', 'of another user', '', '', '')",
              f"({k(63)}, {k(2)}, {k(2)}, '0187654321', 'ok', '', '', '')", f"({k(64)}, {k(2)}, NULL, '0187654321', '', '', '', '')"]
    do("INSERT INTO @leads VALUES " + ", ".join(leads))
    rows, n = [], 0

    def add(status, phone, campaign=None, sequence=None, step=None, device=1, user=1, text="'text'", at=now, sent="NULL",
            media="NULL", times=1):
        nonlocal n
        for _ in range(times):
            n += 1
            f = lambda v: "NULL" if v is None else k(v)
            rows.append(f"({k(n)}, {k(user)}, {k(device)}, {f(campaign)}, {f(sequence)}, {f(step)}, '{phone}', 'N', {text},"
                        f" {media}, '{status}', NULL, {at}, {sent}, NOW(), NULL)")

    for i in range(1, 31):  # the campaign that is under way: 10 sent, 5 stuck, 15 left
        add("sent" if i <= 10 else "processing" if i <= 13 else "queued" if i <= 15 else "pending", f"01{i:08}", campaign=1,
            sent=now if i <= 10 else "NULL", text="NULL" if i > 15 else "'text'")
    for i in (1, 2):  # sent, and there once more as pending: as typed otherwise
        add("pending", f"+601{i:08}", campaign=1)
    add("pending", "01" + "1".zfill(7) + "0", campaign=1)  # number 10, sent above
    add("pending", f"01{31:08}", campaign=1)  # the later one was sent
    add("sent", f"601{31:08}", campaign=1, sent=now)
    add("failed", f"01{32:08}", campaign=1)
    add("queued", f"601{32:08}", campaign=1)
    add("pending", f"01{33:08}", campaign=1, at="'2025-01-01 00:00:00'")  # too late
    add("pending", f"01{34:08}", campaign=1, media="'/uploads/y.jpg'")
    add("pending", f"01{45:08}", campaign=1, media="'http://x/y.mp4'", text="''")
    add("pending", "not a phone", campaign=1)
    add("pending", f"01{35:08}", campaign=77)
    add("pending", f"01{36:08}", campaign=3, user=2, device=2)
    add("sent", f"01{37:08}", campaign=1, user=2, device=1)  # another user's device
    add("skipped", f"01{38:08}", campaign=2)
    add("failed", f"01{39:08}", campaign=2)
    add("timeout", f"01{40:08}", campaign=2)
    for i in (1, 2, 3):  # the sequence; the key's NULL campaign let each step in twice
        add("sent", f"01{i:08}", sequence=1, step=2, sent=now, times=2)
        add("pending", f"01{i:08}", sequence=1, step=1, at=f"DATE_ADD({now}, INTERVAL 2 DAY)", times=2)
    add("pending", f"01{41:08}", sequence=1, text="'by itself'", times=2)  # without its step
    add("sent", f"01{42:08}", text="'direct'", sent=now)
    add("pending", f"01{43:08}", text="'direct {a|b'")
    add("sent", f"01{44:08}", text="REPEAT('é', 40000)", sent="'2026-11-22 18:00:00'", at="'2026-11-22 17:59:00'")
    do("INSERT INTO @broadcast_messages VALUES " + ", ".join(rows))
    return n


def fingerprint(fleet, name="older"):
    """Everything in a database."""
    sql = fleet.mysql.client
    tables = [r[0] for r in sql.rows(f"SELECT table_name FROM information_schema.tables WHERE table_schema = '{name}' ORDER BY 1")]
    return {t: sorted(map(repr, sql.rows(f"SELECT * FROM {name}.{t}"))) for t in tables}


# What is the same however often a run was cut off: no ids of ours, no times at which it ran.
RESULT = {
    "messages": "SELECT a.old_id, m.job_id, m.status, m.error_class, m.kind, m.recipient_phone, m.scheduled_at, m.sent_at, m.content,"
                " c.name, s.name, p.position, l.phone FROM adoptions a LEFT JOIN broadcast_messages m ON m.id = a.new_id"
                " LEFT JOIN campaigns c ON c.id = m.campaign_id LEFT JOIN sequences s ON s.id = m.sequence_id"
                " LEFT JOIN sequence_steps p ON p.id = m.sequence_stepid LEFT JOIN leads l ON l.id = m.lead_id"
                " WHERE a.table_name = 'broadcast_messages' ORDER BY 1",
    "media": "SELECT 'c', name, media FROM campaigns WHERE media IS NOT NULL UNION ALL SELECT 'm', recipient_phone, media FROM"
             " broadcast_messages WHERE media IS NOT NULL ORDER BY 1, 2",
    "adoptions": "SELECT table_name, old_id, old_status, new_status, reason, new_id IS NULL FROM adoptions ORDER BY 1, 2",
    "leads": "SELECT d.name, l.phone, l.name, l.niche, l.trigger_pending FROM leads l JOIN devices d ON d.id = l.device_id ORDER BY 1, 2",
    "contacts": "SELECT s.name, k.recipient_phone, k.total, k.first_at, k.last_at FROM sequence_contacts k"
                " JOIN sequences s ON s.id = k.sequence_id ORDER BY 1, 2",
    "campaigns": "SELECT name, status, IF(name = 'Stopped', NULL, scheduled_at), total, n_pending, n_sent, n_failed, n_skipped, n_unknown FROM campaigns ORDER BY id",
    "counts": "SELECT (SELECT COUNT(*) FROM users), (SELECT COUNT(*) FROM devices), (SELECT COUNT(*) FROM leads),"
              " (SELECT COUNT(*) FROM broadcast_messages), (SELECT COUNT(*) FROM sequence_steps)",
}
IDS = re.compile(r"\b[cs]\d+-d\d+-[0-9a-f]{16}|old-d\d+-[0-9a-f]{16}")


def result(fleet):
    return {k: [tuple(IDS.sub("ID", v) if v else v for v in r) for r in fleet.sql.rows(q)] for k, q in RESULT.items()}


ARGS = ["--from", "older", "--country", "60"]


def adopt(fleet, *args, code=0):
    got, out, err = fleet.ctl("--json", "adopt", *ARGS, *args, check=False)
    equal(code, got, f"exit of adopt {args}\n{out}{err}")
    return json.loads(out) if code == 0 else err


def flows(report):
    return {(r["table"], r["from"], r["to"], r["why"]): r["rows"] for r in report["rows"]}


def status_of(fleet, n):
    """(old status, status, class, whether it is a loser) of the rows of number n in campaigns."""
    return [tuple(r) for r in fleet.sql.rows(
        "SELECT a.old_status, m.status, COALESCE(m.error_class, ''), m.campaign_id IS NULL FROM adoptions a JOIN broadcast_messages m"
        f" ON m.id = a.new_id WHERE a.table_name = 'broadcast_messages' AND m.recipient_phone = '601{n:08}'"
        " AND m.kind = 'campaign' ORDER BY a.old_id + 0")]


def old_shape_is_adopted(shape):
    with Fleet(stub=False) as fleet:
        n = build(fleet, shape)
        before, empty = fingerprint(fleet), fingerprint(fleet, "paceline")
        dry = adopt(fleet, "--dry-run")
        equal(empty, fingerprint(fleet, "paceline"), "our database after a dry run")
        others = {c["column"]: c["theirs"] for c in dry["columns"] if "not taken over" in c["column"]}
        equal(("password", "sequence_contacts"), (others["users not taken over"], others["tables not taken over"]), "named")
        done = adopt(fleet, "--batch", "7")
        equal(before, fingerprint(fleet), "the old database")
        equal(flows(dry), flows(done), "what the dry run foresaw")
        equal(flows(adopt(fleet)), flows(done), "once more")
        for t in done["tables"]:
            equal((t["before"], 0), (t["adopted"] + t["duplicate"] + t["left_out"], t["not_yet"]), t["table"])
        equal(n, sum(r["rows"] for r in done["rows"] if r["table"] == "broadcast_messages"), "every message has its line")
        for name in ("users", "devices", "campaigns", "sequences", "sequence_steps", "broadcast_messages"):
            equal(fleet.sql.one(f"SELECT COUNT(*) FROM adoptions WHERE table_name = '{name}' AND new_id IS NOT NULL"),
                  fleet.sql.one(f"SELECT COUNT(*) FROM {name}") - (name == "users"), name)
        after = dict((s, int(c)) for s, c in fleet.sql.rows("SELECT status, COUNT(*) FROM broadcast_messages GROUP BY 1"))
        equal(after, {r["status"]: r["rows"] for r in done["messages_after"]}, "statuses")
        got = flows(done)
        m = "broadcast_messages"
        equal({"bad_phone": 1, "other_user": 1}, {k[3]: v for k, v in got.items() if k[0] == m and k[2] == "left out"}, "left out")
        for what, rows in {(m, "processing", "unknown", "stuck"): 3, (m, "queued", "unknown", "stuck"): 3,
                           (m, "timeout", "unknown", "adopted"): 1, (m, "pending", "skipped", "expired"): 1,
                           (m, "pending", "skipped", "no_media"): 1, (m, "pending", "skipped", "no_campaign"): 1,
                           (m, "pending", "skipped", "cancelled"): 1, (m, "pending", "skipped", "bad_template"): 1,
                           (m, "sent", "sent", "duplicate"): 3, (m, "sent", "sent", "too_long"): 1, ("leads", "", "adopted", "duplicate"): 1,
                           ("leads", "", "left out", "bad_phone"): 1, ("leads", "", "left out", "other_user"): 1,
                           ("leads", "", "left out", "no_device"): 1, ("devices", "", "left out", "no_user"): 1,
                           ("sequence_steps", "", "left out", "no_sequence"): 1}.items():
            equal(rows, got.get(what), str(what))
        check_values(fleet)


def check_values(fleet):
    rows = fleet.sql.rows
    equal([("ali", "Kedai", "paused", "60123456789", "whacenter", "tok-1", "5000", "15000"),
           ("ali", "Kedai (" + rows("SELECT old_id FROM adoptions WHERE table_name = 'devices' ORDER BY old_id LIMIT 2, 1")[0][0] + ")",
            "paused", "", "stub", "ref", "5000", "15000"),
           ("siti", "Kedai", "paused", "", "stub", "", "2000", "5000")],
          sorted(rows("SELECT u.name, d.name, d.status, d.phone, d.sender, d.sender_ref, d.min_gap_ms, d.max_gap_ms FROM devices d"
                      " JOIN users u ON u.id = d.user_id")), "devices")
    equal([("Raya", "paused", "2026-11-22 10:00:00.000"), ("Later", "paused", "2099-01-01 00:00:00.000"),
           ("Stopped", "cancelled", None)],
          [(a, b, c if a != "Stopped" else None) for a, b, c in
           rows("SELECT name, status, scheduled_at FROM campaigns WHERE name NOT LIKE 'Raya (%' ORDER BY name = 'Stopped', name = 'Later', id")],
          "campaigns")
    equal([("finished", "2026-01-02 01:30:00.000")], rows("SELECT status, scheduled_at FROM campaigns WHERE name LIKE 'Raya (%'"), "Raya 2")
    equal([("1", "first {name}", "0"), ("2", "second", "172800")],
          rows("SELECT position, content, delay_s FROM sequence_steps ORDER BY 1"), "steps")
    equal([("COLD", "COLD", "paused"), ("twin", None, "paused")], rows("SELECT name, `trigger`, status FROM sequences ORDER BY id"), "sequences")
    links = [("campaign Stopped", {"type": "image", "url": "http://x/y.jpg"}), ("601" + f"{45:08}", {"type": "video", "url": "http://x/y.mp4"})]
    equal(links, [(a, json.loads(b)) for a, b in rows(
        "SELECT CONCAT('campaign ', name), media FROM campaigns WHERE media IS NOT NULL UNION ALL SELECT recipient_phone, media FROM"
        " broadcast_messages WHERE media IS NOT NULL")], "links")
    equal("0", rows("SELECT COUNT(*) FROM leads WHERE trigger_pending = 1")[0][0], "leads that would be enrolled")
    # one message each, whatever the phones were typed as
    equal([("sent", "sent", "", "0"), ("pending", "skipped", "duplicate", "1")], sorted(status_of(fleet, 1), reverse=True), "1")
    equal([("pending", "skipped", "duplicate", "1"), ("sent", "sent", "", "0")], sorted(status_of(fleet, 31)), "31")
    equal([("failed", "failed", "duplicate", "1"), ("queued", "unknown", "stuck", "0")], sorted(status_of(fleet, 32)), "32")
    equal([("2026-11-22 09:59:00.000", "2026-11-22 10:00:00.000", "65534")],
          rows("SELECT scheduled_at, sent_at, LENGTH(content) FROM broadcast_messages WHERE recipient_phone = '60100000044'"), "times")
    true(abs(float(rows("SELECT TIMESTAMPDIFF(SECOND, MAX(created_at), UTC_TIMESTAMP(3)) FROM broadcast_messages")[0][0])) < 120,
         "a TIMESTAMP is an instant")
    equal([(f"601{i:08}", "2") for i in (1, 2, 3)] + [(f"601{41:08}", "1")],
          rows("SELECT recipient_phone, total FROM sequence_contacts ORDER BY 1"), "contacts")
    equal("0", rows("SELECT COUNT(*) FROM (SELECT campaign_id, recipient_phone FROM broadcast_messages WHERE campaign_id IS NOT NULL"
                    " GROUP BY campaign_id, device_id, recipient_phone HAVING COUNT(*) > 1) x")[0][0], "duplicates left")


@test
def a_plain_shape_is_adopted():
    old_shape_is_adopted("plain")


@test
def a_shape_with_other_names_and_word_ids_is_adopted():
    old_shape_is_adopted("other")


@test
def what_is_not_understood_is_refused_with_its_cure():
    with Fleet(stub=False) as fleet:
        build(fleet, "plain")
        sql, empty = fleet.mysql.client, fingerprint(fleet, "paceline")
        refused = lambda says, *args, code=2: true(re.search(says, err := adopt(fleet, *args, code=code)), f"{says!r} in {err!r}")
        sql.exec("UPDATE older.broadcast_messages SET status = 'parked' WHERE id IN (3, 4)")
        refused("2 rows have the status 'parked'.*--status 'parked=")
        adopt(fleet, "--dry-run", "--status", "parked=skipped")
        sql.exec("UPDATE older.campaigns SET status = 'odd' WHERE id = 1")
        refused("status 'odd'.*--status 'campaigns.odd=", "--status", "parked=sent")
        both = ["--status", "parked=sent,campaigns.odd=paused"]
        refused("no database|no table like", *both, "--from", "nowhere")
        refused("no name of a database", *both, "--from", "older`; DROP")
        refused("Paceline's own", *both, "--from", "paceline")
        refused("--zone.*Nowhere", *both, "--zone", "Asia/Nowhere")
        refused("no column 'nix'", *both, "--map", "leads.phone=nix")
        refused("no table 'nix'", *both, "--map", "leads=nix")
        refused("--times", *both, "--times", "broadcast_messages.status=utc")
        sql.exec("ALTER TABLE older.leads CHANGE phone msisdn VARCHAR(40)")
        refused(r"no column for phone.*--map leads.phone=COLUMN", *both)
        both += ["--map", "leads.phone=msisdn"]
        refused("rows are duplicates.*nothing was changed", *both, "--duplicates", "refuse", code=1)
        equal(empty, fingerprint(fleet, "paceline"), "our database")
        adopt(fleet, *both)
        refused("begun with other rules.*--status 'parked=sent", *both, "--stuck", "failed")


@test
def texts_and_times_that_cannot_be_are_mended_and_counted():
    with Fleet(stub=False) as fleet:
        build(fleet, "plain")
        sql = fleet.mysql.client
        sql.exec("ALTER TABLE older.broadcast_messages MODIFY content LONGBLOB, MODIFY recipient_name BLOB,"
                 " MODIFY created_at DATETIME NULL, MODIFY sent_at VARCHAR(40)")
        sql.exec("UPDATE older.broadcast_messages SET content = x'4142ff00c3a9', recipient_name = x'c3' WHERE id IN (1, 16)")
        sql.exec("UPDATE older.broadcast_messages SET content = REPEAT('x', 70000) WHERE id = 17")
        sql.exec("UPDATE older.broadcast_messages SET created_at = '2026-03-29 02:30:00' WHERE id = 2")
        sql.exec("UPDATE older.broadcast_messages SET sent_at = 'yesterday' WHERE id = 3")
        done = adopt(fleet, "--zone", "Europe/Berlin", "--times", "broadcast_messages.scheduled_at=utc")
        got = lambda old, what: fleet.sql.rows(f"SELECT {what} FROM broadcast_messages m JOIN adoptions a ON a.new_id = m.id"
                                               f" AND a.table_name = 'broadcast_messages' WHERE a.old_id = '{old}'")[0]
        equal(("AB??é", "?", "sent", "bad_text"), got(1, "content, recipient_name, status, error_class"), "mended")
        equal(("skipped", "bad_text"), got(16, "status, error_class"), "a broken text is not sent")
        equal(("65535", "skipped", "too_long"), got(17, "LENGTH(content), status, error_class"), "nor a cut one")
        equal(("2026-03-29 01:30:00.000",), got(2, "created_at"), "a time that was left out")
        equal(("sent", got(3, "scheduled_at")[0]), got(3, "status, sent_at"), "no time of sending")
        true(abs(int(got(4, "TIMESTAMPDIFF(MINUTE, UTC_TIMESTAMP(3), scheduled_at)")[0]) - 480) < 5, "read as UTC")
        equal({"texts that were no UTF-8, mended with '?'": 4, "texts that were too long, shortened": 2,
               "times that are none, left empty": 1, "times that a clock change left out, moved forward": 1,
               "rows with a picture or file, passed on as a link": 2,
               "rows with a picture or file that is no link, which is not taken over": 1},
              {n["what"]: n["count"] for n in done["notes"]}, "notes")


@test
def a_database_without_users_belongs_to_the_one_who_adopts():
    with Fleet(stub=False) as fleet:
        build(fleet, "plain")
        fleet.mysql.client.exec("DROP TABLE older.users")
        adopt(fleet, "--user", "owner", "--dry-run")
        equal(0, fleet.sql.one("SELECT COUNT(*) FROM users WHERE name = 'owner'"), "a dry run")
        adopt(fleet, "--user", "owner")
        equal([("owner", "4")], fleet.sql.rows("SELECT u.name, COUNT(*) FROM devices d JOIN users u ON u.id = d.user_id GROUP BY 1"), "devices")
        true("begun with other rules" in adopt(fleet, "--user", "somebody", code=2), "whose it is is a rule, too")


@test
def a_database_of_another_program_is_not_migrated():
    with Fleet(stub=False) as fleet:
        build(fleet, "plain")
        before = fingerprint(fleet)
        url = f"mysql://root@/older?socket={fleet.mysql.socket}"
        code, _, err = fleet.ctl("--mysql-url", url, "migrate", check=False)
        equal((2, True), (code, "adopt --from older" in err), err)
        equal(before, fingerprint(fleet), "the old database")


@test
def the_first_of_duplicates_is_kept_on_request():
    with Fleet(stub=False) as fleet:
        build(fleet, "plain")
        equal(flows(adopt(fleet, "--dry-run", "--duplicates", "keep-first")),
              flows(adopt(fleet, "--duplicates", "keep-first", "--batch", "5")), "what the dry run foresaw")
        # nothing is pending where one of them went out
        equal([("pending", "skipped", "duplicate", "0"), ("sent", "sent", "duplicate", "1")], sorted(status_of(fleet, 31)), "31")
        equal([("failed", "failed", "", "0"), ("queued", "skipped", "duplicate", "1")], sorted(status_of(fleet, 32)), "32")


@test(seconds=180)
def deaths_change_nothing_of_the_end():
    with Fleet(faults=True, stub=False) as fleet:
        build(fleet, "plain")
        adopt(fleet, "--batch", "9")
        want = result(fleet)
        for _ in range(2):
            fleet.mysql.client.exec("DROP DATABASE paceline")
            fleet.mysql.client.exec("CREATE DATABASE paceline CHARACTER SET utf8mb4")
            fleet.sql.close()
            fleet.ctl("migrate")
            fleet.sql.exec("INSERT INTO users (id, name, created_at) VALUES (1, 'default', UTC_TIMESTAMP(3))")
            deaths = 0
            for _ in range(80):
                point = fleet.random.choice(["adopt.copied", "adopt.committed"])
                fleet.ctl_env["PACELINE_FAULT"] = f"{point}:{fleet.random.randrange(1, 5)}:kill"
                code, out, err = fleet.ctl("--json", "adopt", *ARGS, "--batch", "9", check=False)
                if code == 0:
                    break
                equal(-signal.SIGKILL, code, out + err)
                deaths += 1
            equal((0, True), (code, deaths > 2), f"deaths {deaths}")
            fleet.ctl_env.clear()
            got = result(fleet)
            for k in want:
                equal(want[k], got[k], f"{k} after {deaths} deaths")


@test
def killed_at_random_moments():
    with Fleet(stub=False) as fleet:
        build(fleet, "plain")
        fleet.sql.exec("INSERT INTO older.broadcast_messages (id, user_id, device_id, campaign_id, recipient_phone, content, status,"
                       " scheduled_at) SELECT 1000 + seq, 1, 1, 2, CONCAT('017', LPAD(seq, 7, '0')), 'x', 'sent', NOW()"
                       " FROM seq_1_to_8000")
        n = fleet.sql.one("SELECT COUNT(*) FROM older.broadcast_messages")
        command = [fleet.binary("ctl"), "--config", fleet.conf_file, "adopt", *ARGS, "--batch", "100"]
        deaths = 0
        for _ in range(40):
            p = Process("adopt", command, fleet.folder + "/adopt.log")
            until = time.monotonic() + fleet.random.uniform(0.02, 0.25)
            while p.running() and time.monotonic() < until:
                pause(0.005)
            if not p.running():
                equal(0, p.wait(), "\n".join(p.lines()[-5:]))
                break
            p.kill()
            deaths += 1
        adopt(fleet, "--batch", "100")
        true(deaths > 1, "it was killed")
        equal((n, n), (fleet.sql.one("SELECT COUNT(*) FROM adoptions WHERE table_name = 'broadcast_messages'"),
                       fleet.sql.one("SELECT COUNT(*) FROM broadcast_messages") +
                       fleet.sql.one("SELECT COUNT(*) FROM adoptions WHERE table_name = 'broadcast_messages' AND new_id IS NULL")), "rows")


@test
def a_fleet_goes_on_and_sends_nothing_again():
    with Fleet() as fleet:
        build(fleet, "plain")
        adopt(fleet, "--sender", "stub")
        ali = ["--user", "ali"]
        fleet.start()
        fleet.ctl(*ali, "device", "set", "Kedai", "--gap", "0s..1ms")
        fleet.ctl(*ali, "device", "resume", "Kedai")
        wait_until(lambda: fleet.sql.one("SELECT COUNT(*) FROM devices WHERE status = 'active' AND unsteered = 0") == 1, 20, "the device")
        fleet.ctl(*ali, "campaign", "resume", "Raya")
        wait_until(lambda: fleet.sql.one("SELECT COUNT(*) FROM broadcast_messages m JOIN campaigns c ON c.id = m.campaign_id"
                                         " WHERE c.name = 'Raya' AND m.status IN ('pending', 'processing', 'queued')") == 0, 40, "Raya")
        wait_until(lambda: fleet.sql.rows("SELECT status FROM campaigns WHERE name = 'Raya'") == [("finished",)], 20, "its end")
        for what in ("duplicates", "stuck", "conservation"):
            fleet.ctl(*ali, "audit", what)
        fleet.stop()
        sent = {r[0] for r in fleet.sql.rows("SELECT recipient_phone FROM broadcast_messages WHERE kind = 'campaign' AND gen > 0"
                                             " AND status = 'sent'")}
        equal({f"601{i:08}" for i in range(16, 31)}, sent, "who was sent to")
        was = dict(fleet.sql.rows("SELECT m.job_id, a.old_status FROM broadcast_messages m JOIN adoptions a ON a.new_id = m.id"
                                  " AND a.table_name = 'broadcast_messages'"))
        jobs = [c.job for c in fleet.ledger()]
        equal(15, sum(j.startswith("c") for j in jobs), "the campaign's requests at the provider")
        equal((len(set(jobs)), {"pending"}), (len(jobs), {was[j] for j in jobs}), "each once, and only what was pending")


def show():
    """Show 5: the counts before and after."""
    with Fleet(stub=False) as fleet:
        build(fleet, "plain")
        count = "SELECT status, COUNT(*) FROM {} GROUP BY status ORDER BY 1"
        print("before: the older system's broadcast_messages")
        for status, n in fleet.mysql.client.rows(count.format("older.broadcast_messages")):
            print(f"  {status:12} {n:>5}")
        for title, args in (("dry run", ["--dry-run"]), ("adoption", ["--batch", "10"])):
            print(f"\n$ paceline adopt {' '.join(ARGS + args)}    ({title})\n")
            print(fleet.ctl("adopt", *ARGS, *args)[1])
        print("after: broadcast_messages")
        for status, n in fleet.sql.rows(count.format("broadcast_messages")):
            print(f"  {status:12} {n:>5}")
    return 0


if __name__ == "__main__":
    sys.exit(show() if sys.argv[1:] == ["show"] else main())
