#!/usr/bin/env python3
"""The text that arrives at the provider: greetings by the clock of Redis and the zone and language of recipient or
device, names that are none, bytes of any script, texts that are too long; and `paceline template`, which must tell
the same.

    tests/integration/render_test.py [name part ...]"""
import json
import os
import re
import sys
import time

from harness import ROOT, Fleet, equal, literal, main, test, true, wrong_clock
from witness import xxh64

PLAIN = {"content_type": "text/plain", "body": "{text}", "max_text": "4096"}
SCRIPTS = "é ß e\u0301 مرحبا \u200f(\u200e12) 你好 नमस्ते क\u094d\u200dष สวัสดี\u200bครับ Аа \ufeff👨\u200d👩\u200d👧 👍🏽 🇲🇾 ❤\ufe0f\u2028 tab\t\\o/"
HOUR = 3600


def at_hour(hour):
    """Environment of a program whose clock shows this hour of today, half past, in UTC."""
    return wrong_clock(hour * HOUR + HOUR // 2 - time.time() % 86400)


def add_leads(fleet, device, leads):
    """{phone: (name, attributes)}"""
    for phone, (name, attributes) in leads.items():
        fleet.sql.exec("INSERT INTO leads (user_id, device_id, phone, name, attributes, created_at, updated_at) VALUES"
                       f" (1, {device}, '{phone}', {literal(name)}, {literal(json.dumps(attributes, ensure_ascii=False))},"
                       " UTC_TIMESTAMP(3), UTC_TIMESTAMP(3))")


def arrived(fleet, campaign):
    """{phone: hash of the text}"""
    hashes = {line.job: line.hash for line in fleet.ledger()}
    rows = fleet.sql.rows(f"SELECT job_id, recipient_phone FROM broadcast_messages WHERE campaign_id = {campaign}")
    return {phone: hashes.get(job) for job, phone in rows}


def hashed(texts):
    return {phone: f"{xxh64(text.encode()):016x}" for phone, text in texts.items()}


def shown(fleet, *args):
    """{phone: text} of paceline template render."""
    _, out, _ = fleet.ctl("--json", "template", "render", *args)
    return {r["phone"]: r["text"] for r in json.loads(out)}


@test
def greetings_follow_the_recipients_clock():
    with Fleet(senders={"stub": PLAIN}, redis_env=at_hour(4)) as fleet:
        malay, indonesian = fleet.devices(1, time_zone="Asia/Kuala_Lumpur"), fleet.devices(1, language="id", time_zone="Asia/Jakarta")
        add_leads(fleet, malay[0], {
            "60120000001": ("Ali", {}),
            "60120000002": ("+60 12-000", {"time_zone": "America/Sao_Paulo"}),
            "60120000003": ("null", {"language": "en-GB", "Time_Zone": "Europe/London"}),
            "60120000004": ("Budi", {"lang": "id", "time_zone": "Asia/Jakarta"}),
            "60120000005": ("Mei", {"time_zone": "Asia/Atlantis", "language": "tlh"}),
            "60120000006": ("Siti", {"greeting": "Assalamualaikum"}),
        })
        add_leads(fleet, indonesian[0], {"62810000001": ("-", {}), "62810000002": ("Tanpa nama", {"language": "Malay"})})
        texts = {
            "60120000001": "Selamat tengah hari Ali!",
            "60120000002": "Selamat malam Cik!",
            "60120000003": "Good evening there!",
            "60120000004": "Selamat siang Budi!",
            "60120000005": "Selamat tengah hari Mei!",
            "60120000006": "Assalamualaikum Siti!",
            "62810000001": "Selamat siang Kak!",
            "62810000002": "Selamat pagi Tanpa nama!",  # 11:30 there; the words for no name are Malay's
        }
        campaign = fleet.campaign("greet", content="{{greeting}} {name}!")
        # The worker's own clock is ten hours off: it does not count.
        fleet.start(worker=0)
        fleet.spawn("worker", env=at_hour(14))
        fleet.drain()
        equal(hashed(texts), arrived(fleet, campaign), "texts at the provider")
        unknown = [l for l in fleet.log_lines("worker") if "zone_unknown" in l]
        true(len(unknown) == 1 and "Asia/Atlantis" in unknown[0], f"one line about the unknown zone: {unknown}")
        today = time.strftime("%Y-%m-%d", time.gmtime())
        equal(texts, shown(fleet, "--campaign", "greet", "--samples", "20", "--at", f"{today} 04:30Z"), "what the command shows")
        fleet.stop()


@test
def any_text_passes_and_what_is_too_long_fails_unsent():
    with Fleet(senders={"stub": PLAIN}, conf={"worker": {"neutral_names": "yes"}}) as fleet:
        fleet.ctl_env["PACELINE_NEUTRAL_NAMES"] = "yes"
        device = fleet.devices(1)
        x = "\U0001f600"
        leads = {"60120000001": ("Ali", {"note": SCRIPTS}), "60120000002": (SCRIPTS, {"note": "{a|b} {{name}}"}),
                 "60120000003": ("", {"note": x * 3000}), "60120000004": ("", {"note": ""})}
        add_leads(fleet, device[0], leads)
        content = f"{SCRIPTS} {{{{name}}}} {{{{note}}}}".replace("\\", "\\\\")
        fixed = len(SCRIPTS) + 2 + len("Tuan/Puan")
        fits, over = "60120000005", "60120000006"
        add_leads(fleet, device[0], {fits: ("", {"note": x * (4096 - fixed)}), over: ("", {"note": x * (4097 - fixed)})})
        texts = {p: f"{SCRIPTS} {n or 'Tuan/Puan'} {a['note']}" for p, (n, a) in leads.items()}
        texts[fits] = f"{SCRIPTS} Tuan/Puan " + x * (4096 - fixed)
        campaign = fleet.campaign("bytes", content=content)
        fleet.start()
        fleet.drain()
        equal({**hashed(texts), over: None}, arrived(fleet, campaign), "texts at the provider")
        status, reason, text, attempt = fleet.sql.rows("SELECT status, error_class, error_message, attempt FROM broadcast_messages"
                                                       f" WHERE recipient_phone = '{over}'")[0]
        equal(("failed", "too-long"), (status, reason), "the long one's row")
        true("the text has 4097 characters, more than the 4096 that sender stub takes" in text, text)
        code, out, err = fleet.ctl("--json", "template", "render", "--campaign", "bytes", "--samples", "10", check=False)
        equal(1, code, "exit status with a text that is too long")
        rows = {r["phone"]: r for r in json.loads(out)}
        equal(texts, {p: r["text"] for p, r in rows.items() if not r["error"]}, "what the command shows")
        equal("4097 characters are more than 4096", rows[over]["error"], "the long one's error")
        true("1 of these texts would fail" in err, err)
        fleet.stop()


@test
def the_command_tells_what_the_worker_sends():
    with Fleet(senders={"stub": PLAIN}) as fleet:
        devices = fleet.devices(3)
        fleet.leads(10)
        campaign = fleet.campaign("spin", devices=devices[:2], content="{a|b|c|d} {{name}} {e|{f|g}|h}")
        fleet.sql.exec("INSERT INTO users (id, name, created_at) VALUES (2, 'other', UTC_TIMESTAMP(3))")
        before = shown(fleet, "--campaign", "spin", "--samples", "100")
        equal(20, len(before), "the leads of the campaign's devices")
        true(len({re.sub("[0-9]", "", t) for t in before.values()}) > 8, "the texts differ")
        fleet.start()
        fleet.drain()
        equal(hashed(before), arrived(fleet, campaign), "texts at the provider")
        phone = next(iter(before))
        equal({phone: before[phone]}, shown(fleet, "--campaign", "spin", "--lead", "+" + phone), "one lead")

        sequence = fleet.sequence("drip", steps=[(0, "one {a|b|c|d}"), (1, "two {{name}} {a|b|c|d}")])
        rows = json.loads(fleet.ctl("--json", "template", "render", "--sequence", "drip", "--lead", phone)[1])
        equal(["step 1", "step 2"], [r["template"] for r in rows], "a sequence's texts")
        lead = fleet.sql.one(f"SELECT id FROM leads WHERE phone = '{phone}'")
        fleet.sql.exec(f"INSERT INTO sequence_requests (sequence_id, lead_id, created_at) VALUES ({sequence}, {lead}, UTC_TIMESTAMP(3))")
        fleet.drain()
        hashes = {line.job: line.hash for line in fleet.ledger()}
        equal([f"{xxh64(r['text'].encode()):016x}" for r in rows], [hashes.get(r["job"]) for r in rows], "steps at the provider")
        for args, says in ((("--lead", phone), "has no lead"), (("--samples", "3"), "has no leads")):
            code, out, err = fleet.ctl("--user", "other", "template", "render", "--content", "{name}", *args, check=False)
            equal((1, ""), (code, out), f"another user's leads: {err}")
            true(says in err, err)
        code, out, err = fleet.ctl("--user", "other", "template", "render", "--campaign", "spin", "--samples", "1", check=False)
        true(code == 1 and "has no campaign 'spin'" in err, err)
        fleet.stop()


@test
def templates_are_checked():
    with Fleet(stub=False) as fleet:
        def check(*args, code=0):
            got, out, err = fleet.ctl("--json", "template", "check", *args, check=False)
            equal(code, got, f"exit status of {args}: {err}")
            return json.loads(out) if out else err

        path = fleet.folder + "/t.txt"
        fleet.ctl("device", "add", "A", "--language", "id")
        equal("id", json.loads(fleet.ctl("--json", "device", "show", "A")[1])["language"], "a device's language")
        fleet.ctl("device", "set", "A", "--language", "")
        equal("", json.loads(fleet.ctl("--json", "device", "show", "A")[1])["language"], "no language")
        true("language: a name like ms" in fleet.ctl("device", "set", "A", "--language", "a b", check=False)[2], "no name of one")
        with open(path, "w") as f:
            f.write("{{greeting}} {{name|you}}, {our|the} menu in {{city}} {town}.\n{{name}}\n")
        got = check(path)
        equal({"template": path, "bytes": 70, "choices": 1, "variants": 2, "shortest": 42, "longest": 49, "limit": 4096, "fits": True},
              got["templates"][0], "what is told of a file")
        equal([("greeting", 1, 1, "never missing"), ("name", 2, 1, "the language's word"), ("city", 1, 1, "nothing"),
               ("town", 1, 1, "{...} as it stands")],
              [(v["variable"], v["uses"], v["without_default"], v["missing"]) for v in got["variables"]], "its variables")
        check(path, "--limit", "49")
        true("longer than 48 characters" in fleet.ctl("template", "check", path, "--limit", "48", check=False)[2], "too long")
        with open(path, "w") as f:
            f.write("fine\nnot {a|b\n")
        true(f"{path}: template 2:5 (byte 9): this {{ is never closed" in check(path, code=1), "the place of a mistake")
        true("braces nest deeper than 16" in check("--content", "{a|" * 10000 + "}" * 10000, code=1), "nested braces")
        true("name one text" in check(code=2), "no text")
        true("name one text" in check(path, "--content", "x", code=2), "two texts")
        true("No such file" in check("/nowhere", code=2), "no file")
        true("has no campaign 'x'" in check("--campaign", "x", code=1), "no campaign")
        with open(path, "w") as f:
            f.write("[ms]\n05:00 = {a|b\n")
        fleet.ctl_env["PACELINE_GREETINGS"] = path
        true(f"{path}:2: 05:00: template 1:1" in check("--content", "x", code=2), "a mistake in the greetings")
        p = fleet.spawn("worker", env={"PACELINE_GREETINGS": path})
        equal(2, p.wait(), "exit status of a worker with a mistake in its greetings")
        true(any(f"{path}:2: 05:00" in l for l in p.lines()), "the worker names the line")
        with open(path, "w") as f:
            f.write("[ms]\nname = kawan\n00:00 = Hai {name}\n")
        fleet.ctl_env["PACELINE_DEFAULT_LANGUAGE"] = "xx"
        true("default_language: no greetings for 'xx'" in check("--content", "x", code=2), "an unknown language")
        fleet.ctl_env["PACELINE_DEFAULT_LANGUAGE"] = "ms"
        equal(9, check("--content", "{{greeting}}")["templates"][0]["longest"], "the configured greeting")
        with open(os.path.join(ROOT, "docs/templates.md")) as f:
            example = re.search(r"```greetings\n(.*?)```", f.read(), re.S).group(1)
        with open(path, "w") as f:
            f.write(example)
        fleet.ctl_env["PACELINE_DEFAULT_LANGUAGE"] = "jawa"
        equal(len("Sugeng enjing, Mas/Mbak"), check("--content", "{{greeting}}, {{name}}")["templates"][0]["longest"],
              "the documented file")


if __name__ == "__main__":
    sys.exit(main())
