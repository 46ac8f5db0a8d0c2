#!/usr/bin/env python3
"""The senders of known providers against servers that are not ours: Prism checks every request by an OpenAPI
description, mockttp plays a provider that fails in every way, another client reads the same error codes.  make contract
runs it.

    tests/contract/contract.py [name part ...]      B names the build folder; T_SEED, T_KEEP

The packages are installed as the lock file says the first time, which needs a network.  Descriptions that the publishers
give are looked for in $PUBLISHED, else in ../shared/data beside the project; without them the project's own decide
alone."""
import collections
import itertools
import json
import os
import re
import shutil
import socket
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(ROOT, "tests", "integration"))
from harness import BUILD, SEED, Fleet, Process, equal, main, test, true, wait_until  # noqa: E402

PUBLISHED = os.environ.get("PUBLISHED") or os.path.join(ROOT, "..", "shared", "data")
DESCRIPTIONS = {"cloudapi": "cloudapi_v23.0.openapi.yaml", "gowa": "gowa.openapi.yaml"}
FORMS = ("whacenter", "fonnte", "wablas")
KINDS = ("cloudapi", "gowa", "waha", "evolution") + FORMS
TOKEN, USER, PASSWORD = "EAAGm0PX4ZCps", "Aladdin", "open sesame"
# As the provider gets it, in whichever header or field it wants it.
AUTHORIZATION = {kind: TOKEN for kind in KINDS}
AUTHORIZATION |= {"cloudapi": "Bearer " + TOKEN, "gowa": "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="}
SERIAL = itertools.count()
SENDS, DEVICES, CLOSE_RATE = 10000, 20, 0.05


def packages():
    """Installs them once; returns their folder."""
    folder = os.path.join(BUILD, "tests", "contract", "npm")
    mark = os.path.join(folder, "installed")
    with open(os.path.join(HERE, "package-lock.json"), "rb") as f:
        want = f.read()
    if os.path.exists(mark):
        with open(mark, "rb") as f:
            if f.read() == want:
                return folder
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    for name in ("package.json", "package-lock.json"):
        shutil.copy(os.path.join(HERE, name), folder)
    done = subprocess.run(["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"], cwd=folder,
                          capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise AssertionError(f"npm ci: {done.stderr or done.stdout}\n(it needs a network the first time)")
    with open(mark, "wb") as f:
        f.write(want)
    return folder


class Peers:
    """peers.cjs: the provider, and Prism in front of it when there is a description."""

    def __init__(self, fleet, name, description=None, close_rate=0.0):
        argv = ["node", os.path.join(HERE, "peers.cjs"), packages(), str(close_rate), str(SEED)]
        self.process = Process(name, argv + ([description] if description else []),
                               os.path.join(fleet.folder, name + ".peer"))
        fleet.processes["peer " + name] = self.process
        self.ports = wait_until(self.first, 60, f"{name} to listen", 0.05)

    def lines(self):
        with open(self.process.log, errors="replace") as f:
            text = f.read()
        lines = [json.loads(line) for line in text[:text.rfind("\n") + 1].splitlines() if line.startswith("{")]
        return [line for line in lines if "failed" not in line or self.fail(line)]

    def fail(self, line):
        raise AssertionError(f"{self.process.name}: {line['failed']}")

    def first(self):
        true(self.process.running() or self.lines(), f"{self.process.name} ended:\n{self.process.lines()}")
        return (self.lines() or [None])[0]

    def seen(self, looks=False):
        """What reached the provider; how devices are may be asked at any time, and counts only with looks."""
        return [line for line in self.lines() if "seen" in line and (looks or not line["look"])]

    def wrong(self):
        return [line["wrong"] for line in self.lines() if "wrong" in line]


def sender(kind, port, **more):
    secrets = {"cloudapi": {"token": "env:TEST_TOKEN"}, "gowa": {"user": USER, "password": "env:TEST_PASSWORD"}}
    secret = {"profile": kind, "secret": "env:TEST_TOKEN"} if kind in FORMS else {"api_key": "env:TEST_TOKEN"}
    return {"type": "form" if kind in FORMS else kind, "url": f"http://127.0.0.1:{port}", "allow_private": "yes",
            **secrets.get(kind, secret), **more}


def new_fleet():
    return Fleet(stub=False, env={"TEST_TOKEN": TOKEN, "TEST_PASSWORD": PASSWORD})


def add_sender(fleet, name, pairs):
    """Its section, and a device of its own that names it."""
    fleet.senders[name] = pairs
    return add_device(fleet, name)


def add_device(fleet, name):
    pairs = fleet.senders[name]
    (device,) = fleet.devices(1, sender=name, prefix=f"{name}-{next(SERIAL)}-")
    ref = str(106540352242922 + device) if pairs["type"] == "cloudapi" else f"caf\u00e9 {device}+%"
    fleet.sql.exec(f"UPDATE devices SET sender_ref = '{ref}' WHERE id = {device}")
    return device


def rows_of(fleet, device):
    return fleet.sql.dicts("SELECT id, status, attempt, deferrals, error_class, error_message, provider_message_id,"
                           f" recipient_phone FROM broadcast_messages WHERE device_id = {device}")


# --- requests -----------------------------------------------------------------------------------------

TEXTS = ("Hi {{name}}, a plain line.",
         "Quotes \\\"\\\\ and \u00fcml\u00e4uts, \U0001f600, \u0645\u0631\u062d\u0628\u0627;\nlines\tand tabs https://a.example/?b=c&d=%25",
         "\u00e9" * 4096)


def described(kind):
    """(name, path) of the descriptions that there are for a provider."""
    yield "own", os.path.join(HERE, ("form" if kind in FORMS else kind) + ".yaml")
    if kind not in DESCRIPTIONS:
        return
    published = os.path.join(PUBLISHED, DESCRIPTIONS[kind])
    if os.path.exists(published):
        yield "published", published
    else:
        print(f"left out: the publisher's description of {kind} is not in {os.path.relpath(PUBLISHED, ROOT)}")


def check_requests(fleet, kind, peers, devices, texts):
    seen = peers.seen()
    equal([], peers.wrong(), f"what Prism found wrong with {kind}")
    rows = [r for d in devices for r in rows_of(fleet, d)]
    equal({"sent": len(devices) * texts}, dict(collections.Counter(r["status"] for r in rows)), kind)
    equal(len(rows), len(seen), f"requests that reached {kind}")
    equal({AUTHORIZATION[kind]}, {s["authorization"] for s in seen}, "authorization")
    ids = {r["provider_message_id"] for r in rows}
    equal(1 if kind == "whacenter" else len(rows), len(ids), f"message ids of {kind}")  # it names none


@test(seconds=240)
def texts_of_campaigns_are_what_the_descriptions_allow():
    with new_fleet() as fleet:
        todo = []
        for kind in KINDS:
            for name, path in described(kind):
                peers = Peers(fleet, f"{kind}-{name}", path)
                variants = [{}] if kind != "cloudapi" else [{}, {"preview_url": "yes"}]
                if (kind, name) == ("cloudapi", "own"):
                    variants.append({"callback_data": "yes"})
                devices = [add_sender(fleet, f"{kind}{name}{i}", sender(kind, peers.ports["front"], **v))
                           for i, v in enumerate(variants)]
                todo.append((kind, peers, devices))
        fleet.configure()
        fleet.leads(1)
        for i, text in enumerate(TEXTS):
            fleet.campaign(f"text {i}", content=text)
        fleet.start()
        fleet.drain()
        for kind, peers, devices in todo:
            check_requests(fleet, kind, peers, devices, len(TEXTS))


# --- every kind of request ------------------------------------------------------------------------------

LINK = "https://a.example/x"
MEDIA = {"image": {"url": LINK + ".jpg", "mime": "image/jpeg"}, "video": {"url": LINK + ".mp4", "mime": "video/mp4"},
         "audio": {"url": LINK + ".ogg", "mime": "audio/ogg"},
         "document": {"url": LINK + ".pdf", "mime": "application/pdf", "filename": "price \"list\".pdf"}}
CONTENT = "%PDF-1.7 \r\n\u00e9\r\n--\r\n" * 50
TEMPLATES = [
    {"name": "hello_world", "language": "en_US"},
    {"name": "promo", "language": "ms", "header": "Hello", "body": ["Siti", "10%"],
     "buttons": [{"index": 1, "url": True, "value": "c7"}, {"index": 2, "value": "STOP"}]},
    {"name": "promo", "language": "ms", "body": {"first_name": "Siti", "rest": "\u00e9 \"x\""}},
]


def request(do, ref, **more):
    return {"do": do, "ref": ref, **({"to": "60123456789"} if do == "send" else {}), **more}


def requests_of(kind):
    """Every kind of request that a sender makes, once with each optional part and once without."""
    ref = "106540352242922" if kind == "cloudapi" else "caf\u00e9 1"
    send = lambda **more: request("send", ref, **more)  # noqa: E731
    yield send(text="Hi \"you\" & \U0001f600\n")
    for word, medium in MEDIA.items():
        yield send(media={"type": word, **medium})
        if word != "audio":
            yield send(media={"type": word, **medium}, text="caption & \u00e9")
        if kind in ("gowa", "waha", "evolution"):
            content = {k: v for k, v in medium.items() if k != "url"}
            yield send(media={"type": word, "text": CONTENT, **content})
        if kind == "cloudapi":
            yield send(media={"type": word, "id": "4490709327384033"})
            content = {k: v for k, v in medium.items() if k != "url"}
            yield request("upload", ref, media={"type": word, "text": CONTENT, **content})
    if kind == "cloudapi":
        for template in TEMPLATES:
            yield send(template=template)
        for word in ("image", "video", "document"):
            yield send(template=TEMPLATES[2], media={"type": word, **MEDIA[word]})
        yield send(template=TEMPLATES[0], media={"type": "document", "id": "44907", "filename": "a.pdf"})
    yield request("check", ref)
    if kind in ("gowa", "waha"):
        yield request("check", "")


def ask(kind, port, requests, **more):
    """What the sender made of each request."""
    pairs = sender(kind, port, **more)
    program = os.path.join(BUILD, "tests", "contract", "ask")
    argv = [program, pairs.pop("type"), *(f"{k}={v}" for k, v in pairs.items())]
    done = subprocess.run(argv, input="".join(json.dumps(r) + "\n" for r in requests), capture_output=True, text=True,
                          env={**os.environ, "TEST_TOKEN": TOKEN, "TEST_PASSWORD": PASSWORD}, check=False, timeout=120)
    equal((0, ""), (done.returncode, done.stderr.replace(short_timeout(done.stderr), "")), f"ask {kind}")
    return [json.loads(line) for line in done.stdout.splitlines()]


def short_timeout(log):
    return "".join(line for line in log.splitlines(True) if "event=short_timeout" in line)


def check_answers(kind, requests, answers):
    equal(len(requests), len(answers), f"answers of {kind}")
    for rq, answer in zip(requests, answers):
        if rq["do"] == "check":
            equal("online", answer["device"], f"{kind} {rq}")
        else:
            equal("sent", answer["class"], f"{kind} {rq}: {answer}")
            true(answer["id"] or kind == "whacenter", f"{kind} {rq}: no id in {answer}")
        if rq["do"] == "upload":
            true(answer["keep_ms"] > 0, f"{kind}: {answer}")


def paths_of(peers):
    return collections.Counter(re.sub(r"/v[0-9.]+/\d+", "", s["path"].split("?")[0]) for s in peers.seen(looks=True))


@test(seconds=180)
def every_kind_of_request_is_what_the_descriptions_allow():
    with new_fleet() as fleet:
        for kind in KINDS:
            for name, path in described(kind):
                peers = Peers(fleet, f"{kind}-{name}", path)
                requests = list(requests_of(kind))
                answers = ask(kind, peers.ports["front"], requests)
                equal([], peers.wrong(), f"what Prism found wrong with {kind}, {name}")
                check_answers(kind, requests, answers)
                equal(len(requests), len(peers.seen(looks=True)), f"requests that reached {kind}")
                # Whacenter's look has it in the query.
                told = {s.get("authorization", TOKEN if TOKEN in s["path"] else "") for s in peers.seen(looks=True)}
                equal({AUTHORIZATION[kind]}, told, f"authorization of {kind}")
                print(f"{kind:<10} {name:<10} {len(requests):>3} requests, {len(paths_of(peers))} paths: "
                      + " ".join(f"{p}" for p in sorted(paths_of(peers))))


@test(seconds=60)
def templates_for_marketing_go_another_way():
    with new_fleet() as fleet:
        for name, path in described("cloudapi"):
            peers = Peers(fleet, "marketing-" + name, path)
            requests = [request("send", "1065", template=t) for t in TEMPLATES]
            answers = ask("cloudapi", peers.ports["front"], requests, marketing_messages="yes")
            equal([], peers.wrong(), f"what Prism found wrong, {name}")
            check_answers("cloudapi", requests, answers)
            equal({"/marketing_messages": len(TEMPLATES)}, dict(paths_of(peers)), "paths")


@test(seconds=60)
def a_description_would_notice_what_is_wrong():
    """Each of ours refuses a request that lacks something: else it would prove nothing."""
    with new_fleet() as fleet:
        for kind in KINDS:
            path = dict(described(kind))["own"]
            peers = Peers(fleet, kind + "-strict", path)
            wrong = request("send", "1065", to="60123456789", media={"type": "image", "url": "ftp://a.example/x"})
            (answer,) = ask(kind, peers.ports["front"], [wrong])
            wait_until(peers.wrong, 10, f"Prism's word on {kind}: {answer}")
            equal(("422", []), (answer["code"], peers.seen()), f"answer of Prism for {kind}, and what reached the provider")


@test(seconds=120)
def prism_stops_what_is_wrong_and_no_row_is_lost():
    with new_fleet() as fleet:
        # No password; and what Meta's own description does not have for texts.
        wrong = {"gowa": ({"user": None, "password": None}, "401"), "cloudapi": ({"callback_data": "yes"}, "422")}
        todo = []
        for kind, (change, code) in wrong.items():
            path = dict(described(kind)).get("published" if kind == "cloudapi" else "own")
            if path:
                peers = Peers(fleet, kind, path)
                pairs = {**sender(kind, peers.ports["front"]), **change}
                device = add_sender(fleet, kind, {k: v for k, v in pairs.items() if v is not None})
                todo.append((peers, device, code))
        fleet.configure()
        fleet.leads(1)
        fleet.campaign("refused")
        fleet.start()
        for peers, device, code in todo:
            wait_until(lambda: [r for r in rows_of(fleet, device) if r["deferrals"] != "0"], 30, "a deferral")
            (row,) = rows_of(fleet, device)
            equal(("0", code), (row["attempt"], row["error_class"]), "attempts and code")
            equal([], peers.seen(), "requests that reached the provider")
            true(peers.wrong(), "Prism said nothing")


# --- error codes --------------------------------------------------------------------------------------

# What another client advises -> the classes of ours that say the same.
ADVICE = {"do_not_retry": {"rejected"}, "refresh_token": {"rejected"}, "fix_and_retry": {"rejected"},
          "retry_after": {"retry"}, "retry": {"retry"}}
DIFFERS = {"131048": "it repeats what recipients have flagged as spam; here the device rests",
           "132069": "throttled: it passes by itself",
           "133005": "a wrong PIN does not pass by itself"}


def table_of(provider):
    """{code: class} as docs/providers.md has it, which a test compares with the code."""
    with open(os.path.join(ROOT, "docs", "providers.md")) as f:
        text = f.read().split(f"<!-- {provider}: printed by make docs -->\n")[1].split("<!-- end -->")[0]
    classes = {}
    for line in text.splitlines()[2:]:
        answer, _, outcome = [cell.strip() for cell in line.split("|")[1:4]]
        codes = re.fullmatch(r"`(\d+)`(?: to `(\d+)`)?", answer)
        for code in range(int(codes[1]), int(codes[2] or codes[1]) + 1) if codes else ():
            classes.setdefault(str(code), outcome)
    return classes


@test
def another_client_of_the_cloud_api_reads_its_codes_alike():
    ours = table_of("cloudapi")
    asked = [(status, int(code)) for code in ours for status in (400, 500)]
    told = subprocess.run(["node", os.path.join(HERE, "kapso.cjs"), packages()], input=json.dumps(asked),
                          capture_output=True, text=True, check=True).stdout.splitlines()
    equal(len(asked), len(told), "answers")
    different, known = {}, 0
    for (code, mine), by_status in zip(ours.items(), zip(told[::2], told[1::2])):
        (at_400, _), (category, action) = (line.split() for line in by_status)
        if at_400 != category and action != "do_not_retry":
            continue  # not in its map: it goes by the status
        known += 1
        if mine not in ADVICE[action]:
            different[code] = f"{category}: {action}, ours {mine}"
    for code, what in different.items():
        print(f"{code}: {what} ({DIFFERS.get(code, 'NO REASON')})")
    print(f"{len(ours)} codes, {known} known to it, {len(different)} differ")
    true(known > 100, "it knows too little")
    equal(set(), set(different) - set(DIFFERS), "differences without a reason")


# --- faults -------------------------------------------------------------------------------------------

# What the provider does -> the row's end, its code, requests a row.
FAULTS = {
    "ok": ("sent", "", 1),
    "late": ("sent", "", 1),
    "close": ("unknown", "curl-52", 1),
    "reset": ("unknown", "curl-56", 1),
    "never": ("unknown", "curl-28", 1),
    "dribble": ("unknown", "curl-28", 1),
    "huge": ("sent", "200-unidentified", 1),
    "garbage": ("sent", "200-unidentified", 1),
    "noise": ("unknown", "curl-1", 1),
    "slowhead": ("unknown", "curl-28", 1),
}
# Without their verdict nobody knows.
FORM_FAULTS = {**FAULTS, "huge": ("unknown", "200", 1), "garbage": ("unknown", "200", 1)}
ERRORS = {
    "cloudapi": {"error_400_131026": ("failed", "131026", 1), "error_500_131000": ("failed", "131000", 2),
                 "error_504_2": ("unknown", "2", 1)},
    "gowa": {"error_400_VALIDATION_ERROR": ("failed", "VALIDATION_ERROR", 1),
             "error_400_INVALID_JID": ("failed", "INVALID_JID", 2),
             "error_504_GATEWAY_TIMEOUT": ("unknown", "GATEWAY_TIMEOUT", 1)},
    "waha": {"error_400_bad_chatId": ("failed", "400", 1), "error_500_server_returned_error_479": ("failed", "500", 2),
             "error_500_context_deadline_exceeded": ("unknown", "500", 1)},
    "evolution": {"error_400_exists": ("failed", "not-on-whatsapp", 2), "error_400_requires_property": ("failed", "400", 1),
                  "error_500_anything": ("unknown", "500", 1)},
    "whacenter": {"error_200_number_not_valid": ("failed", "not-valid", 1), "error_200_other": ("failed", "refused", 1)},
    "fonnte": {"error_200_target_invalid": ("failed", "target-invalid", 1)},
    "wablas": {"error_200_unheard_of": ("failed", "refused", 1)},
}
RAW = ("noise", "slowhead")
# On a connection that served another message before, libcurl is about to send it again, and is stopped.
KEPT = {"close": ("curl-65",), "reset": ("curl-65", "curl-55")}
LEADS = 3


def faults_of(kind):
    return {**(FORM_FAULTS if kind in FORMS else FAULTS), **ERRORS[kind]}


@test(seconds=300)
def every_fault_gives_its_outcome_and_no_second_request():
    with new_fleet() as fleet:
        peers = Peers(fleet, "provider")
        cases = {}
        for kind in KINDS:
            for port in ("raw", "provider"):
                fleet.senders[f"{kind}-{port}"] = sender(kind, peers.ports[port], timeout="4s")
            for fault, want in faults_of(kind).items():
                name = f"{kind}-" + ("raw" if fault in RAW else "provider")
                cases[add_device(fleet, name)] = (kind, fault, want)
        fleet.configure()
        fleet.leads(LEADS)
        for device, (kind, fault, _) in cases.items():
            fleet.campaign(f"{kind} {fault}", devices=[device], content=f"[{fault}] {{{{name}}}}", max_attempts=2)
        fleet.start()
        fleet.drain()
        equal([], fleet_secrets(fleet), "secrets in logs and tables")
        print(f"{'provider':<10}{'fault':<38}{'row':<9}{'code':<20}requests a row")
        seen = collections.Counter(s["seen"] for s in peers.seen())
        for device, (kind, fault, (status, code, requests)) in cases.items():
            rows = rows_of(fleet, device)
            got = {(r["status"], r["error_class"] or "") for r in rows}
            equal(LEADS, len(rows), f"rows of {kind} {fault}")
            if (status, code) == ("sent", "200-unidentified"):
                equal({("sent", None)}, {(r["status"], r["provider_message_id"] or None) for r in rows}, f"{kind} {fault}")
            elif status == "sent":
                equal({"sent"}, {s for s, _ in got}, f"{kind} {fault}")
                true(kind == "whacenter" or all(r["provider_message_id"] for r in rows), f"an id is missing: {rows}")
            else:
                got -= {(status, c) for c in KEPT.get(fault, ())}
                equal({(status, code)}, got | {(status, code)}, f"{kind} {fault}")
            alike = 1 if fault in ERRORS[kind] else len(KINDS)
            equal(LEADS * requests * alike, seen[fault], f"requests of {fault}")
            print(f"{kind:<10}{fault:<38}{status:<9}{code:<20}{requests}")


def fleet_secrets(fleet):
    """Where the secrets turned up: nowhere."""
    found = []
    for word in (TOKEN, PASSWORD, AUTHORIZATION["gowa"].split()[1]):
        found += [line for line in fleet.log_lines() if word in line]
        found += fleet.sql.rows(f"SELECT id FROM broadcast_messages WHERE error_message LIKE '%{word}%'")
        found += fleet.sql.rows(f"SELECT message_id FROM message_events WHERE detail LIKE '%{word}%'")
    return found


@test(seconds=120)
def faults_of_uploads_and_looks_are_told_and_not_repeated():
    with new_fleet() as fleet:
        peers = Peers(fleet, "provider")
        faults = [fault for fault in FAULTS if fault not in ("ok", "late", *RAW)] + ["error_500_2"]
        medium = {"type": "image", "mime": "image/png"}
        uploads = [request("upload", "1065", media={**medium, "text": f"[{fault}]"}) for fault in faults]
        for fault, answer in zip(faults, ask("cloudapi", peers.ports["provider"], uploads, timeout="1500ms")):
            true(answer["class"] == "retry" and answer["keep_ms"] == 0, f"upload, {fault}: {answer}")
        for kind in ("gowa", "waha", "evolution"):
            looks = [request("check", f"[{fault}]") for fault in faults]
            for fault, answer in zip(faults, ask(kind, peers.ports["provider"], looks, timeout="1500ms")):
                equal("unknown", answer["device"], f"{kind}, a look, {fault}: {answer}")
        seen = collections.Counter(s["seen"] for s in peers.seen(looks=True))
        equal({fault: 4 for fault in faults}, dict(seen), "requests")


@test(seconds=120)
def a_provider_that_is_not_there_costs_no_attempt():
    with new_fleet() as fleet, socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # and never listens
        devices = [add_sender(fleet, kind + "-down", sender(kind, closed.getsockname()[1])) for kind in KINDS]
        fleet.configure()
        fleet.leads(1)
        fleet.campaign("down")
        fleet.start()
        for device in devices:
            wait_until(lambda: [r for r in rows_of(fleet, device) if r["deferrals"] != "0"], 30, "a deferral")
            (row,) = rows_of(fleet, device)
            equal(("0", "curl-7"), (row["attempt"], row["error_class"]), "attempts and code")


# --- kept connections -----------------------------------------------------------------------------------

@test(seconds=300)
def kept_connections_that_close_at_random_make_no_second_send():
    with new_fleet() as fleet:
        peers = Peers(fleet, "provider", close_rate=CLOSE_RATE)
        for i in range(DEVICES):
            kind = KINDS[i % len(KINDS)]
            add_sender(fleet, f"{kind}{i}", sender(kind, peers.ports["provider"], max_connections="4"))
        fleet.configure()
        fleet.leads(SENDS // DEVICES)
        fleet.campaign("sometimes", content="[sometimes] {{name}}")
        fleet.start()
        fleet.drain(240)
        seen = collections.Counter(s["to"].split("@")[0] for s in peers.seen())
        rows = fleet.statuses()
        attempts = fleet.sql.one("SELECT SUM(attempt) FROM broadcast_messages")
        print(f"{SENDS} sends, {sum(seen.values())} bodies received, {attempts} attempts, most for one recipient"
              f" {max(seen.values())}; rows {rows}")
        equal(SENDS, sum(rows.values()), "rows")
        equal({"sent", "unknown"}, set(rows), "statuses")
        equal((SENDS, SENDS, 1), (len(seen), sum(seen.values()), max(seen.values())), "recipients, bodies, most for one")
        equal(SENDS, attempts, "attempts")
        connections = len({s["from"] for s in peers.seen(looks=True)})
        print(f"{connections} connections")
        # Counted by their ports, of which the system gives some out a second time.
        true(0.9 * rows["unknown"] <= connections < 2 * rows["unknown"], f"connections are not kept: {connections}")
        true(0.03 * SENDS < rows["unknown"] < 0.07 * SENDS, f"an odd share of closes: {rows}")


if __name__ == "__main__":
    print(f"packages in {os.path.relpath(packages(), ROOT)}", flush=True)
    sys.exit(main())
