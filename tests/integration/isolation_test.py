#!/usr/bin/env python3
"""What belongs to one user is neither seen nor changed by another, whatever command is typed, by name or by
number.  The commands come from `paceline --help`: one without a case here fails.

    tests/integration/isolation_test.py [name part ...]"""
import hashlib
import json
import os
import re
import sys

from harness import Fleet, equal, literal, main, mono_us, test, true, wait_until
from inlet import Inlet, message, recipient
from receipts import Receipts, said as answer, status as wamid, statuses

A, B = 1, 2  # users: kestrel, and the one who looks
# No text of A's is without one of these, and no text of B's has one.
MARKS = re.compile(r"kestrel|60777\d{7}|lm-[0-9a-f]{32}", re.I)
NOW = "UTC_TIMESTAMP(3)"
STATES = ("pending", "processing", "queued", "sent", "failed", "skipped", "unknown")

# Whose rows of a table without a column user_id are: the condition for user A.
CHILDREN = {
    "users": "id = {user}",
    "account_recipients": "account_id IN (SELECT id FROM accounts WHERE user_id = {user})",
    "campaign_devices": "campaign_id IN (SELECT id FROM campaigns WHERE user_id = {user})",
    "sequence_devices": "sequence_id IN (SELECT id FROM sequences WHERE user_id = {user})",
    "sequence_steps": "sequence_id IN (SELECT id FROM sequences WHERE user_id = {user})",
    "sequence_requests": "sequence_id IN (SELECT id FROM sequences WHERE user_id = {user})",
    "media_pieces": "media_id IN (SELECT id FROM media WHERE user_id = {user})",
    "recurring_devices": "recurring_id IN (SELECT id FROM recurring_messages WHERE user_id = {user})",
    "recurring_contacts": "recurring_id IN (SELECT id FROM recurring_messages WHERE user_id = {user})",
    "message_events": "message_id IN (SELECT id FROM broadcast_messages WHERE user_id = {user})",
    "broadcast_messages_restored": "message_id IN (SELECT id FROM broadcast_messages WHERE user_id = {user})",
    "message_events_archive": "message_id IN (SELECT id FROM broadcast_messages_archive WHERE user_id = {user})",
}
NOBODYS = {"fleet_members", "schema_migrations", "adoption_sources", "adoption_cursors", "adoptions"}


# --- two users ------------------------------------------------------------------------------------------


class World:
    """Two users who have everything; what B named by what is A's is in ids and names."""

    def __init__(self, fleet):
        self.fleet, self.sql, self.seen = fleet, fleet.sql, 0
        self.known = list(self.tables())
        self.sql.exec("UPDATE users SET name = 'kestrel' WHERE id = 1")
        self.sql.exec(f"INSERT INTO users (id, name, created_at) VALUES (2, 'bob', {NOW})")
        self.a, self.b = self.user(A, "kestrel", "60777"), self.user(B, "bob", "60333")
        self.entangle()
        if any(table == "broadcast_messages_archive" for table, _ in self.known):
            self.archive()
        self.redis()

    def insert(self, table, **columns):
        """Texts as they are; times now."""
        times = [c for c in ("created_at", "updated_at") if table not in (
            "campaign_devices", "sequence_devices", "recurring_devices", "sequence_steps", "recurring_contacts",
            "recurring_message_logs", "message_events", "sequence_contacts", "sequence_requests", "receipts", "account_recipients", "media_pieces")]
        if table in ("opt_outs", "sequence_requests", "media"):
            times = ["created_at"]
        names = list(columns) + times
        values = [v if isinstance(v, str) and v.startswith("UTC_") else literal(v) for v in columns.values()] + [NOW] * len(times)
        self.sql.exec(f"INSERT INTO {table} ({', '.join('`' + n + '`' for n in names)}) VALUES ({', '.join(values)})")
        return self.sql.one("SELECT LAST_INSERT_ID()")

    def user(self, user, w, phone):
        """w: the word in all of its texts."""
        d = {"word": w, "phones": [f"{phone}{n:07}" for n in range(20)]}
        d["device"] = self.insert("devices", user_id=user, name=w + "-dev", phone=d["phones"][19], sender="log",
                                  sender_ref=w + "-ref", status_reason=w + "-why")
        d["spare"] = self.insert("devices", user_id=user, name=w + "-spare", status="removed")
        d["leads"] = [self.insert("leads", user_id=user, device_id=d["device"], phone=p, name=f"{w} lead {n}",
                                  niche=w + "-niche", target_status=w + "-stage", trigger=w + "-go", attributes=f'{{"c":"{w}"}}')
                      for n, p in enumerate(d["phones"][:5])]
        self.insert("opt_outs", user_id=user, phone=d["phones"][9], source=w + "-form")
        for state, job in (("applied", None), ("orphan", w + "-gone"), ("new", None)):
            self.insert("receipts", user_id=user, section=w + "-meta", kind="read", provider_message_id=f"{w}-{state}", job_id=job, phone=d["phones"][0],
                        detail=w + " detail", happened_at=NOW, received_at=NOW, state=state, due_at="UTC_TIMESTAMP(3) + INTERVAL 1 DAY")
        d["account"] = self.insert("accounts", user_id=user, name=w + "-waba", daily_recipients=100)
        self.insert("account_recipients", account_id=d["account"], phone=d["phones"][1], last_at=NOW)
        self.sql.exec(f"UPDATE devices SET account = '{w}-waba' WHERE user_id = {user}")
        d["hash"] = hashlib.sha256(w.encode()).hexdigest()
        d["media"] = self.insert("media", user_id=user, sha256=d["hash"], mime="image/jpeg", size=7, filename=w + ".jpg")
        self.insert("media_pieces", media_id=d["media"], position=0, content="content")
        beside = {"media": json.dumps({"type": "image", "sha256": d["hash"], "filename": w + ".jpg"}),
                  "template": json.dumps({"name": w, "language": "ms"})}
        d["campaigns"] = {}
        for status in ("draft", "scheduled", "running", "paused", "finished", "cancelled"):
            c = self.insert("campaigns", user_id=user, name=f"{w}-{status}", status=status, content=w + " text", niche=w,
                            total=7, scheduled_at=NOW, started_at=NOW, audience_max_lead=9, expanded_at=NOW, **beside)
            self.insert("campaign_devices", campaign_id=c, device_id=d["device"])
            d["campaigns"][status] = c
        self.sql.exec(f"UPDATE campaigns SET finished_at = {NOW} WHERE user_id = {user} AND status IN ('finished', 'cancelled')")
        d["sequence"] = self.insert("sequences", user_id=user, name=w + "-seq", trigger=w + "-go")
        d["sequences"] = [d["sequence"], self.insert("sequences", user_id=user, name=w + "-seq2", status="paused",
                                                     next_sequence_id=d["sequence"])]
        d["step"] = self.insert("sequence_steps", sequence_id=d["sequence"], position=1, content=w + " step", **beside)
        self.insert("sequence_devices", sequence_id=d["sequence"], device_id=d["device"])
        self.insert("sequence_requests", sequence_id=d["sequence"], lead_id=d["leads"][1])
        self.insert("sequence_contacts", sequence_id=d["sequence"], user_id=user, device_id=d["device"], lead_id=d["leads"][0],
                    recipient_phone=d["phones"][0], entry_sequence_id=d["sequence"], enrolled_at=NOW)
        d["recurring"] = self.insert("recurring_messages", user_id=user, name=w + "-rule", content=w + " daily", freq="daily",
                                     at_times="09:00", start_local="2026-01-01 00:00:00", planned_after=NOW,
                                     audience="contacts", status_reason=w, **beside)
        self.insert("recurring_devices", recurring_id=d["recurring"], device_id=d["device"])
        self.insert("recurring_contacts", recurring_id=d["recurring"], device_id=d["device"], phone=d["phones"][6], name=w)
        self.insert("recurring_message_logs", recurring_id=d["recurring"], user_id=user, occurrence_at=NOW, status="running",
                    started_at=NOW, reason=w)
        d["messages"] = self.messages(user, d)
        return d

    def messages(self, user, d):
        """One in every state of every kind: {(kind, status): id}."""
        out, w = {}, d["word"]
        sources = {"campaign": {"campaign_id": d["campaigns"]["running"]}, "recurring": {"recurring_id": d["recurring"]},
                   "sequence": {"sequence_id": d["sequence"], "sequence_stepid": d["step"]}, "direct": {}}
        for kind, source in sources.items():
            for n, status in enumerate(STATES):
                more = {"processing_worker_id": w, "processing_started_at": "UTC_TIMESTAMP(3) - INTERVAL 1 HOUR"}
                out[kind, status] = m = self.insert(
                    "broadcast_messages", job_id=f"{w}-{kind}-{status}", user_id=user, device_id=d["device"], kind=kind,
                    lead_id=d["leads"][0], recipient_phone=d["phones"][n], recipient_name=w, content=w + " message",
                    scheduled_at=NOW, status=status, gen=1, provider_message_id=w + "-p", error_class=w + "-class",
                    error_message=w + " error", queued_at="UTC_TIMESTAMP(3) - INTERVAL 1 HOUR", **source, **more)
                self.insert("message_events", message_id=m, gen=1, event=status[:16], actor=w, happened_at=NOW, detail=w)
        return out

    def entangle(self):
        """Rows of B that point at what is A's, as an application may write them."""
        a, b = self.a, self.b
        self.insert("campaign_devices", campaign_id=b["campaigns"]["draft"], device_id=a["device"])
        self.insert("campaign_devices", campaign_id=b["campaigns"]["paused"], device_id=a["device"])
        self.insert("sequence_devices", sequence_id=b["sequence"], device_id=a["device"])
        self.insert("recurring_devices", recurring_id=b["recurring"], device_id=a["device"])
        self.sql.exec(f"UPDATE sequences SET next_sequence_id = {a['sequence']} WHERE id = {b['sequence']}")
        # What has ended at A's: a contact and a run, which a decision about B's rows must not open again.
        self.sql.exec(f"UPDATE sequence_contacts SET status = 'finished', ended_at = {NOW}, recipient_phone = '60447' "
                      f"WHERE user_id = {A}")
        self.sql.exec(f"UPDATE recurring_message_logs SET status = 'finished', finished_at = {NOW} WHERE user_id = {A}")
        for kind, more in (("sequence", {"sequence_id": a["sequence"], "recipient_phone": "60447", "device_id": a["device"]}),
                           ("recurring", {"recurring_id": a["recurring"], "recipient_phone": "60446", "device_id": b["device"]})):
            b["hidden", kind] = self.insert("broadcast_messages", job_id=f"bob-hidden-{kind}", user_id=B, kind=kind, gen=1,
                                            scheduled_at=NOW, status="unknown", lead_id=a["leads"][0], **more)
        self.sql.exec(f"UPDATE broadcast_messages m JOIN recurring_message_logs l ON l.recurring_id = m.recurring_id SET "
                      f"m.occurrence_at = l.occurrence_at WHERE m.id = {b['hidden', 'recurring']}")
        # And a lead of A's that its application has put onto B's device.
        a["stray"] = self.insert("leads", user_id=A, device_id=b["device"], phone=a["phones"][8], name="kestrel stray",
                                 niche="kestrel-niche", target_status="kestrel-stage", trigger="bob-go")
        for n, status in enumerate(STATES):
            b["messages"]["crossed", status] = self.insert(
                "broadcast_messages", job_id=f"bob-crossed-{status}", user_id=B, device_id=a["device"], kind="campaign",
                campaign_id=a["campaigns"]["finished"], lead_id=a["leads"][0], recipient_phone=f"6044400000{n}",
                scheduled_at=NOW, status=status, gen=1, queued_at=NOW, processing_started_at=NOW)
            b["messages"]["crossed2", status] = self.insert(
                "broadcast_messages", job_id=f"bob-crossed2-{status}", user_id=B, device_id=b["device"], kind="sequence",
                sequence_id=a["sequence"], sequence_stepid=a["step"], lead_id=a["leads"][0],
                recipient_phone=f"6044500000{n}", scheduled_at=NOW, status=status, gen=1, queued_at=NOW,
                processing_started_at=NOW)

    def archive(self):
        """Copies of all final messages, as if they had been put away; ids from 1,000,000."""
        for table, changed in (("broadcast_messages", {"id": "id + 1000000", "job_id": "CONCAT(job_id, '-old')"}),
                               ("message_events", {"message_id": "message_id + 1000000"})):
            names = self.columns(table)
            self.sql.exec(f"INSERT INTO {table}_archive ({', '.join(names)}, archived_at) SELECT "
                          f"{', '.join(changed.get(n, n) for n in names)}, {NOW} FROM {table}"
                          + (" WHERE status IN ('sent', 'failed', 'skipped', 'unknown')" if table == "broadcast_messages" else ""))
        for user in (self.a, self.b):
            user["messages"].update({(kind + "-old", status): m + 1000000 for (kind, status), m in user["messages"].items()
                                     if status in ("sent", "failed", "skipped", "unknown")})

    def base(self, device):
        return f"pl:{{p{device % 8:02}}}"

    def redis(self):
        """Jobs of A's device as the fleet keeps them."""
        call, base, device = self.fleet.redis.call, self.base(self.a["device"]), self.a["device"]
        call("HSET", f"{base}:d:{device}:ids", "kestrel-campaign-queued", "W 1 5-1", "kestrel-direct-queued", "L 1 5-2 9 kestrel")
        call("HSET", f"{base}:d:{device}", "gap_min", "1", "in_flight", "1", "held", "kestrel", "next",
             "99999999999999", "new_until", "99999999999999", "new_code", "kestrel")
        call("HSET", f"{base}:holds", f"a:{A}/kestrel", "99999999999999 1 kestrel")
        call("XADD", f"{base}:d:{device}:jobs", "5-1", "id", "kestrel-campaign-queued", "gen", "1", "job", "kestrel")
        call("SADD", f"{base}:devices", device)
        call("ZADD", f"{base}:leases", 99999999999999, f"{device}/kestrel-direct-queued")

    # --- what is compared

    def columns(self, table):
        self.sql.rows(f"SELECT * FROM {table} LIMIT 0")
        return self.sql.columns

    def tables(self):
        for (name,) in self.sql.rows("SHOW TABLES"):
            if "user_id" in self.columns(name):
                yield name, "user_id = {user}"
            elif name not in NOBODYS:
                true(name in CHILDREN, f"no isolation rule for the table {name}: say in CHILDREN whose its rows are")
                yield name, CHILDREN[name]

    def rows(self, user=A):
        out = {}
        for table, where in self.known:
            for row in self.sql.rows(f"SELECT * FROM {table} WHERE {where.format(user=user)}"):
                out.setdefault(table, []).append(row)
            out.setdefault(table, []).sort(key=repr)
        return out

    def keys(self):
        """What Redis holds of A: the keys of its device, and what is stopped of its sources."""
        call, out, device = self.fleet.redis.call, {}, self.a["device"]
        for key in call("KEYS", f"*:d:{device}") + call("KEYS", f"*:d:{device}:*"):
            kind = call("TYPE", key)
            out[key] = call("HGETALL", key) if kind == "hash" else call("XRANGE", key, "-", "+") if kind == "stream" else kind
        words = [f"c{c}" for c in self.a["campaigns"].values()] + [f"s{s}" for s in self.a["sequences"]] + [f"r{self.a['recurring']}"]
        for p in range(8):
            for word in words + [f"d{A}"]:
                out[p, word] = call("HGET", f"pl:{{p{p:02}}}:stopped", word)
        return out

    # --- what is typed

    def look(self, argv, refused=False, typed=()):
        """typed: words of a file that is named."""
        code, out, err = self.fleet.ctl("--user", "bob", *argv, check=False)
        self.seen += 1
        said = out + err
        # What B has typed may come back.
        for word in sorted({w for a in [*argv, *typed] for w in [a, a.split("=", 1)[-1], *a.split(",")] if w}, key=len, reverse=True):
            said = said.replace(word, "<>")
        leak = MARKS.search(said)
        true(not leak, f"`{' '.join(argv)}` shows {leak and leak.group()!r}:\n{out}{err}")
        true(code in (0, 1, 2), f"`{' '.join(argv)}` ended with {code}: {err}")
        true(not refused or code != 0, f"`{' '.join(argv)}` is not refused:\n{out}{err}")
        return code

    def does(self, *argv):
        """On what is B's own it works: what is refused above is not refused for its spelling."""
        true(self.look(list(argv)) == 0, f"`{' '.join(argv)}` is refused: {self.fleet.ctl('--user', 'bob', *argv, check=False)}")

    def refs(self, what):
        """What is A's, by name and by id."""
        a, w = self.a, "kestrel"
        return {"device": [w + "-dev", str(a["device"])],
                "campaign": [x for s, c in a["campaigns"].items() for x in (f"{w}-{s}", str(c))],
                "sequence": [x for n, s in zip((w + "-seq", w + "-seq2"), a["sequences"]) for x in (n, str(s))],
                "recurring": [w + "-rule", str(a["recurring"])],
                "message": [str(m) for m in a["messages"].values()],
                "unknown": [str(m) for (k, s), m in a["messages"].items() if s == "unknown" and not k.endswith("-old")],
                "job": [f"{w}-{k}-{s}" if not k.endswith("-old") else f"{w}-{k[:-4]}-{s}-old" for k, s in a["messages"]],
                "phone": a["phones"][:10]}[what]

    def file(self, name, text):
        path = os.path.join(self.fleet.folder, name)
        with open(path, "w") as f:
            f.write(text)
        return path


# --- the cases ------------------------------------------------------------------------------------------

CASES = {}


def case(*commands, turn=0):
    """A function that types commands as B.  turn: -1 before others change what it would wait for, 1 behind those
    that look on, 2 when it gives A's names to sources of B's, 3 to devices."""
    def add(f):
        for command in commands:
            CASES[command] = (turn, f)
        return f
    return add


def each(w, what, *argv, refused=True):
    """argv with every thing of A's in the place of @, for people and as JSON."""
    for ref in w.refs(what):
        typed = [a.replace("@", ref) for a in argv]
        w.look(typed, refused)
    w.look(["--json", *typed], refused)


def both(w, *argv, refused=False):
    w.look(list(argv), refused)
    w.look(["--json", *argv], refused)


@case("migrate")
def _(w, verb):
    both(w, "migrate")


@case("status", "holds")
def _(w, verb):
    both(w, verb)


@case("device list", "campaign list", "sequence list", "recurring list", "unknown list")
def _(w, verb):
    both(w, *verb.split())
    w.does(*verb.split())
    if verb == "unknown list":
        each(w, "campaign", "unknown", "list", "--campaign", "@")
        w.does("unknown", "list", "--campaign", "bob-draft")


@case("device show", "device resume")
def _(w, verb):
    each(w, "device", *verb.split(), "@")
    both(w, *verb.split(), "bob-dev")


@case("device set")
def _(w, verb):
    each(w, "device", "device", "set", "@", "--gap", "1s", "--sender-ref", "mine")
    w.does("device", "set", "bob-dev", "--gap", "1s", "--sender-ref", "mine")


@case("device pause")
def _(w, verb):
    each(w, "device", "device", "pause", "@")
    w.does("device", "pause", "bob-dev")


@case("device remove", turn=1)
def _(w, verb):
    each(w, "device", "device", "remove", "@", "--yes")
    w.does("device", "add", "bob-third")
    w.does("device", "remove", "bob-third", "--yes")


@case("device add", turn=3)
def _(w, verb):
    w.does("device", "add", "kestrel-dev", "--sender-ref", "x", "--gap", "2s")


@case("device import", turn=3)
def _(w, verb):
    path = w.file("devices.csv", "name,sender_ref,gap\nkestrel-dev,stolen,3s\nkestrel-spare,stolen,3s\n")
    both(w, "device", "import", path, "--dry-run")
    both(w, "device", "import", path, "--update")


@case("template check", "template render")
def _(w, verb):
    both(w, *verb.split(), "--content", "Hi {{name}}")
    each(w, "campaign", *verb.split(), "--campaign", "@")
    each(w, "sequence", *verb.split(), "--sequence", "@")
    if verb == "template render":
        both(w, *verb.split(), "--content", "Hi {{name}}, {{phone}}", "--samples", "1000")
        each(w, "phone", *verb.split(), "--content", "Hi {{name}}", "--lead", "+@")
        each(w, "device", *verb.split(), "--content", "Hi {{name}}", "--samples", "10", "--device", "@")


@case("campaign plan")
def _(w, verb):
    each(w, "campaign", "campaign", "plan", "@")
    w.sql.exec(f"UPDATE campaigns SET audience_max_lead = NULL, expanded_at = NULL WHERE user_id = {B} AND status = 'draft'")
    w.does("campaign", "plan", "bob-draft", "--samples", "1000")


@case("account list", "user show")
def _(w, verb):
    both(w, *verb.split())
    w.does(*verb.split())


@case("account show")
def _(w, verb):
    both(w, "account", "show", "kestrel-waba", refused=True)
    w.does("account", "show", "bob-waba")


@case("account set", turn=1)
def _(w, verb):
    both(w, "account", "set", "kestrel-waba", "--daily-recipients", "7")
    each(w, "device", "account", "set", "bob-waba", "--devices", "@")


@case("user set", turn=1)
def _(w, verb):
    both(w, "user", "set", "--recipient-daily", "1000")


@case("optout list")
def _(w, verb):
    both(w, "optout", "list")
    both(w, "optout", "list", *w.a["phones"])
    both(w, "optout", "list", "--source", "kestrel-form")
    w.does("optout", "list", w.b["phones"][9])


@case("optout remove")
def _(w, verb):
    both(w, "optout", "remove", w.a["phones"][9], refused=True)
    w.does("optout", "remove", w.b["phones"][9])


@case("optout add", turn=1)
def _(w, verb):
    both(w, "optout", "add", *w.a["phones"][:10])


@case("optout import", turn=1)
def _(w, verb):
    path = w.file("stop.csv", "phone\n" + "".join(p + "\n" for p in w.a["phones"]))
    both(w, "optout", "import", path, "--dry-run")
    both(w, "optout", "import", path, "--source", "stolen")


@case("leads import", turn=1)
def _(w, verb):
    people = "".join(f"{p},stolen\n" for p in w.a["phones"])
    path = w.file("leads.csv", "phone,name\n" + people)
    each(w, "device", "leads", "import", path, "--device", "@", "--update")
    for ref in w.refs("device"):
        rows = w.file("mine.csv", "phone,name,device\n" + "".join(f"{p},stolen,{ref}\n" for p in w.a["phones"]))
        errors = os.path.join(w.fleet.folder, "refused.csv")
        w.look(["leads", "import", rows, "--update", "--errors", errors, "--again"], refused=True)
        equal(0, w.sql.one(f"SELECT COUNT(*) FROM leads WHERE device_id = {w.a['device']} AND user_id = {B}"), "leads of B")
    w.does("leads", "import", path, "--device", "bob-dev", "--update")


@case("campaign create", turn=2)
def _(w, verb):
    each(w, "device", "campaign", "create", "mine", "--content", "x", "--devices", "@")
    each(w, "device", "campaign", "create", "mine", "--content", "x", "--devices", "bob-dev,@")
    w.does("campaign", "create", "kestrel-draft", "--content", "x", "--devices", "all")
    equal(0, w.sql.one("SELECT COUNT(*) FROM campaign_devices x JOIN campaigns c ON c.id = x.campaign_id WHERE c.user_id = 2 "
                       f"AND c.name = 'kestrel-draft' AND x.device_id IN ({w.a['device']}, {w.a['spare']})"), "A's devices")


@case("campaign show", "campaign start", "campaign pause", "campaign resume", "campaign cancel")
def _(w, verb):
    each(w, "campaign", *verb.split(), "@")
    for state in ("draft", "paused"):  # these have A's device by a row of B's
        both(w, *verb.split(), "bob-" + state)


@case("message trace")
def _(w, verb):
    for what in ("message", "job", "phone"):
        each(w, what, "message", "trace", "@")
    each(w, "message", "message", "trace", "@", "--by", "id")
    each(w, "job", "message", "trace", "@", "--by", "job")
    each(w, "phone", "message", "trace", "+@", "--by", "phone")
    for (kind, _), m in w.b["messages"].items():
        if kind.startswith("crossed"):
            both(w, "message", "trace", str(m))


@case("unknown resend", "unknown confirm", "unknown drop")
def _(w, verb):
    own = str(w.b["messages"]["direct", "unknown"])
    each(w, "message", *verb.split(), "@")
    each(w, "job", *verb.split(), "@")
    each(w, "unknown", *verb.split(), own, "@")
    each(w, "unknown", *verb.split(), own, "@", "--dry-run")
    each(w, "campaign", *verb.split(), "--campaign", "@", "--all")
    w.does(*verb.split(), own, "--dry-run")
    for m in (w.b["messages"]["crossed", "unknown"], w.b["messages"]["crossed2", "unknown"], w.b["hidden", "sequence"],
              w.b["hidden", "recurring"]):
        both(w, *verb.split(), str(m))
        w.sql.exec(f"UPDATE broadcast_messages SET status = 'unknown' WHERE id = {m}")


@case("audit duplicates", "audit stuck", "audit conservation", "audit receipts", turn=-1)
def _(w, verb):
    both(w, *verb.split())


@case("receipts")
def _(w, verb):
    """Bob's webhooks about kestrel's messages, of the same provider's account."""
    w.look(["receipts", "--listen", "unix:" + os.path.join(w.fleet.folder, "x")], True)  # no section
    server = Receipts(w.fleet, user="bob")
    for provider, job in w.sql.rows("SELECT provider_message_id, job_id FROM broadcast_messages WHERE user_id = 1"):
        status, _, said = server.post("meta", statuses(wamid(provider or "wamid.none", "read", tag=job + ":1", to=w.a["phones"][9])))
        equal(200, status, said)
        true(not MARKS.search(said), f"the server says {said}")
    status, _, said = server.post("meta", answer("START", w.a["phones"][9]))
    equal(200, status, said)
    w.sql.rows("SELECT GET_LOCK('paceline-reconcile', 9)")  # so that it does nothing else
    reaper = w.fleet.spawn("reaper", "of receipts")
    wait_until(lambda: not w.sql.one("SELECT COUNT(*) FROM receipts WHERE user_id = 2 AND state = 'new' AND due_at = received_at"), 20, "a look at each")
    equal(0, server.process.terminate(), "exit status")
    reaper.terminate()
    w.sql.rows("SELECT RELEASE_LOCK('paceline-reconcile')")
    equal([], w.sql.rows("SELECT id FROM receipts WHERE user_id = 2 AND message_id IS NOT NULL"), "bob's receipts that met a message")
    w.fleet.receipts = {}
    w.fleet.configure()


@case("inlet")
def _(w, verb):
    for devices in w.refs("device"):
        w.look(["inlet", "--listen", "unix:" + os.path.join(w.fleet.folder, "x"), "--devices", "bob-dev," + devices], True)
    inlet = Inlet(w.fleet, "--devices", "bob-dev", user="bob")
    phone, n = w.a["phones"], 0
    for r in [recipient("k1", phone[0], device=d) for d in ("kestrel-dev", w.a["device"], str(w.a["device"]))] + [
            recipient("k2", phone[1]), recipient("k3", phone[9])]:
        status, _, said = inlet.post(message([r], body="mine"))
        leak = MARKS.search(re.sub("kestrel-dev", "", json.dumps(said)) if r["attribs"].get("device") else json.dumps(said))
        true(not leak, f"the inlet says {said}")
        n += status == 200
    equal(2, n, "messages to A's contacts by B's own device")
    equal(0, w.sql.one(f"SELECT COUNT(*) FROM broadcast_messages WHERE content = 'mine' AND (user_id <> {B} OR device_id = "
                       f"{w.a['device']})"), "rows on A's device")
    equal(0, inlet.process.terminate(), "exit status")


@case("sequence show", "sequence pause", "sequence resume", "sequence cancel")
def _(w, verb):
    each(w, "sequence", *verb.split(), "@")
    w.does(*verb.split(), "bob-seq")
    both(w, *verb.split(), "bob-seq")
    if verb == "sequence pause":
        each(w, "sequence", *verb.split(), "@", "--leave")
    if verb == "sequence show":
        w.look(["sequence", "show", "bob-seq", "--definition"])


@case("sequence enrol", "sequence leave")
def _(w, verb):
    each(w, "sequence", *verb.split(), "@", w.a["phones"][0])
    each(w, "sequence", *verb.split(), "@", w.b["phones"][0])
    each(w, "phone", *verb.split(), "bob-seq", "@", refused=False)
    if verb == "sequence enrol":
        each(w, "sequence", "sequence", "enrol", "@", "--all")
        each(w, "device", "sequence", "enrol", "bob-seq", "--all", "--device", "@")
    w.does(*verb.split(), "bob-seq", w.b["phones"][2])
    w.does(*verb.split(), "bob-seq", "--all")  # not the lead of A's that is on B's device
    equal(0, w.sql.one("SELECT COUNT(*) FROM sequence_requests x JOIN sequences s ON s.id = x.sequence_id JOIN leads l ON "
                       "l.id = x.lead_id WHERE s.user_id <> l.user_id"), "requests across users")


@case("sequence create", turn=2)
def _(w, verb):
    make = ["sequence", "create", "mine", "--step", "0s:x"]
    each(w, "device", *make, "--devices", "@")
    each(w, "sequence", *make, "--devices", "bob-dev", "--next", "@")
    w.does("sequence", "create", "kestrel-seq", "--step", "0s:x", "--devices", "all", "--trigger", "kestrel-go")
    w.does("sequence", "create", "tern", "--step", "0s:x", "--devices", "bob-dev", "--next", "bob-seq2")
    for name, devices, following in (("mine", ["kestrel-dev"], None), ("mine", ["bob-dev"], "kestrel-seq2")):
        d = {"name": name, "devices": devices, "steps": [{"content": "x", "delay": "0s"}]}
        if following:
            d["next"] = {"sequence": following, "after": "1d"}
        w.look(["sequence", "create", "--file", w.file("seq.json", json.dumps(d))], True, devices + [following or ""])


@case("recurring show", "recurring pause", "recurring resume", "recurring cancel", "recurring runs", "recurring next")
def _(w, verb):
    number = ["5"] if verb == "recurring next" else []
    each(w, "recurring", *verb.split(), "@", *number)
    each(w, "recurring", *verb.split(), "@")
    w.does(*verb.split(), "bob-rule", *number)
    both(w, *verb.split(), "bob-rule")
    if verb == "recurring show":
        w.look(["recurring", "show", "bob-rule", "--definition"])


@case("recurring create", turn=2)
def _(w, verb):
    each(w, "device", "recurring", "create", "mine", "--content", "x", "--freq", "daily", "--at", "09:00", "--devices", "@")
    w.does("recurring", "create", "kestrel-rule", "--content", "x", "--freq", "daily", "--at", "09:00", "--devices", "all")
    make = ["recurring", "create", "mine", "--content", "x", "--freq", "daily", "--at", "09:00", "--contacts"]
    path = w.file("contacts.csv", "phone,name\n60448000001,x\n")
    each(w, "device", *make, path, "--device", "@")
    for ref in w.refs("device"):
        w.look(make + [w.file("contacts.csv", f"phone,name,device\n60448000001,x,{ref}\n")], True, [ref])
    path = w.file("contacts.csv", "phone,name\n60448000001,x\n")
    w.does(*make, path, "--device", "bob-dev")


@case("archive status")
def _(w, verb):
    both(w, "archive", "status")
    both(w, "archive", "status", "--older-than", "1ms")


@case("archive run", "archive restore", turn=1)
def _(w, verb):
    if verb == "archive run":
        for more in (["--dry-run"], [], ["--direct"], ["--status", "sent,failed,skipped,unknown"]):
            both(w, "archive", "run", "--older-than", "0ms", *more)
        return
    for what in ("campaign", "sequence", "recurring", "message"):
        each(w, what, "archive", "restore", f"--{what}", "@", refused=what != "message")
    both(w, "archive", "restore", "--all", "--dry-run")
    both(w, "archive", "restore", "--all")


@case("media add", "media list", "media show", "media remove", turn=1)
def _(w, verb):
    if verb == "media list":
        both(w, "media", "list")
        w.does("media", "list")
        return
    if verb == "media add":
        w.does("media", "add", w.file("mine.jpg", "kestrel"), "--type", "document")  # what A has as well, and is B's own now
        equal(1, w.sql.one(f"SELECT COUNT(*) FROM media WHERE user_id = {B} AND sha256 = '{w.a['hash']}'"), "contents of B")
        w.sql.exec(f"DELETE FROM media WHERE user_id = {B} AND sha256 = '{w.a['hash']}'")
        for more in (["campaign", "create", "mine"], ["sequence", "create", "mine", "--step", "0s:"],
                     ["recurring", "create", "mine", "--freq", "daily", "--at", "09:00"]):
            w.look([*more, "--image", "sha256:" + w.a["hash"], "--devices", "bob-dev"], True)
        return
    for length in (6, 20, 64):
        w.look([*verb.split(), w.a["hash"][:length]], True)
    both(w, *verb.split(), w.b["hash"])
    if verb == "media show":
        w.does("media", "show", w.b["hash"])


@case("adopt")
def _(w, verb):
    for source in ("paceline", "nowhere"):  # this very database is none to be taken over
        both(w, "adopt", "--from", source, "--zone", "UTC", "--dry-run", refused=True)
        both(w, "adopt", "--from", source, "--zone", "UTC", refused=True)


# --- the test -------------------------------------------------------------------------------------------


def commands(fleet):
    """As `paceline --help` lists them: "device show", "status"."""
    _, out, _ = fleet.ctl("--help")
    part = out.split("Commands (")[1].split("\n", 1)[1].split("\n\n")[0]
    for line in part.splitlines():
        alone, verbs = re.match(r"  (\S+): ", line), re.match(r"  (\S+) (\S+)$", line)
        if alone:
            yield alone.group(1)
        elif verbs:
            yield from (f"{verbs.group(1)} {v}" for v in verbs.group(2).split("|"))


def owners_view(w):
    """The owner sees it: what is looked for is there, and the marks find it."""
    typed = [["device", "list"], ["device", "show", "kestrel-dev"], ["campaign", "list"], ["campaign", "show", "kestrel-running"],
             ["message", "trace", str(w.a["messages"]["direct", "sent"])], ["unknown", "list"], ["status"]]
    for argv in typed:
        code, out, err = w.fleet.ctl("--user", "kestrel", *argv)
        true(MARKS.search(out), f"{argv}: the owner sees nothing: {out}{err}")


@test(seconds=240)
def no_command_shows_or_changes_what_is_another_users():
    with Fleet(stub=False) as fleet:
        fleet.start(producer=0, worker=0, reaper=1)
        wait_until(lambda: any("event=recovered" in line for line in fleet.log_lines("reaper")), 20, "open partitions")
        fleet.stop()
        w = World(fleet)
        owners_view(w)
        names = list(commands(fleet))
        true("device show" in names and "status" in names and len(names) > 20, f"commands: {names}")
        equal([], [f"no isolation case for `{n}`" for n in names if n not in CASES], "commands without a case")
        typed = {}
        for name in sorted(names, key=lambda n: CASES[n][0]):
            rows, keys = w.rows(), w.keys()
            before, since = w.seen, mono_us()
            CASES[name][1](w, name)
            typed[name] = f"{w.seen - before} in {(mono_us() - since) / 1e6:.1f} s"
            after = w.rows()
            for table, had in rows.items():
                has = after[table]
                true(had == has, f"`{name}` has changed {table}: lost {[r for r in had if r not in has]}, "
                                 f"new {[r for r in has if r not in had]}")
            equal(keys, w.keys(), f"Redis behind `{name}`")
        print(f"    {w.seen} commands typed: {typed}")
        true(all(len(r) for t, r in w.rows().items() if t in ("leads", "broadcast_messages", "opt_outs", "sequences",
             "recurring_messages", "campaign_devices", "message_events", "sequence_contacts")), "A has something everywhere")


if __name__ == "__main__":
    sys.exit(main())
