#!/usr/bin/env python3
"""Media and approved templates from the command line to the provider: downloads from servers of every kind, contents
that are stored once, handed over through Redis, lost there and put back; rows of applications that say nonsense.

    tests/integration/media_test.py [name part ...]"""
import base64
import hashlib
import http.server
import json
import os
import re
import resource
import signal
import subprocess
import sys
import threading
import time
import urllib.parse

from harness import FAULTS, PATH, ROOT, Fleet, equal, http_get, literal, main, pause, test, true, wait_until

NOW = "UTC_TIMESTAMP(3)"
JPEG = b"\xff\xd8\xff\xe0" + b"a picture " * 500
PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 20
PDF = b"%PDF-1.7\n" + bytes(range(256)) * 12000  # 3 MB: some pieces, with every byte
MB = 1 << 20


def sha(content):
    return hashlib.sha256(content).hexdigest()


# --- a server of every kind ---------------------------------------------------------------------------


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, content, kind="image/jpeg", status=200, length=None, **more):
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": len(content) if length is None else length, **more}.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()
        self.wfile.write(content)

    def endless(self, length=None):
        """A picture that never ends; says how much was taken."""
        self.send_response(200)
        self.send_header("Content-Type", "image/jpeg")
        if length:
            self.send_header("Content-Length", str(length))
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        try:
            self.wfile.write(JPEG)
            while True:
                self.wfile.write(b"\0" * 65536)
                self.server.written += 65536
        except OSError:
            pass

    def handle(self):
        try:
            super().handle()
        except OSError:  # who asked has gone
            pass

    def do_GET(self):
        url = urllib.parse.urlparse(self.path)
        self.server.asked.append(self.path)
        name, to = url.path[1:], urllib.parse.parse_qs(url.query).get("to", [""])[0]
        try:
            if name in self.server.files:
                self.answer(*self.server.files[name])
            elif name == "endless":
                self.endless()
            elif name == "huge":
                self.endless(4 << 30)
            elif name == "redirect":
                self.answer(b"<html>moved</html>", "text/html", 302, Location=to)
            elif name == "loop":
                self.answer(b"", status=302, Location="/loop")
            elif name == "short":
                self.answer(JPEG, length=len(JPEG) + 100, Connection="close")
                self.close_connection = True
            elif name == "silent":
                self.server.held.wait(20)
            else:
                self.answer(b"<html>no</html>", "text/html", 404)
        except OSError:
            pass


class Web:
    def __init__(self, host="127.0.0.1"):
        self.server = http.server.ThreadingHTTPServer((host, 0), Handler)
        self.server.daemon_threads = True
        self.server.asked, self.server.written, self.server.held = [], 0, threading.Event()
        self.server.files = {"photo.jpg": (JPEG,), "photo": (JPEG, "application/octet-stream"), "page.jpg": (b"<!DOCTYPE html><p>log in", "text/html"),
                             "price.pdf": (PDF, "application/pdf"), "empty.jpg": (b"",), "lies.jpg": (PDF, "image/jpeg"),
                             "big.jpg": (JPEG + bytes(6 * MB),)}
        self.port = self.server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}/"
        self.asked = self.server.asked
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


def world(conf=None, private="yes", **more):
    conf = {"paceline": {"media_allow_private": private, "media_timeout": "5s"}, **(conf or {})}
    return Fleet(conf=conf, **more)


def refused(fleet, says, *args, code=2):
    """The command is refused and says so."""
    got, out, err = fleet.ctl(*args, check=False)
    true(got == code and re.search(says, err), f"{' '.join(a[:200] for a in args)}: exit {got}, {err or out!r}, wanted {says!r}")
    return err


def asked(fleet, *args):
    return json.loads(fleet.ctl("--json", *args)[1])


def file(fleet, name, content):
    path = os.path.join(fleet.folder, name)
    with open(path, "wb") as f:
        f.write(content)
    return path


def stored(fleet):
    """{sha256: content}, as the pieces hold it."""
    out = {}
    for number, name, size in fleet.sql.rows("SELECT id, sha256, size FROM media"):
        pieces = [p for (p,) in fleet.sql.rows(f"SELECT HEX(content) FROM media_pieces WHERE media_id = {number} ORDER BY position")]
        out[name] = bytes.fromhex("".join(pieces))
        equal(int(size), len(out[name]), "size")
    return out


def kept(fleet, content):
    """Milliseconds that Redis keeps it; none: -2."""
    return fleet.redis.call("PTTL", f"pl:media:{sha(content)}")


def direct(fleet, job, device, **columns):
    """A row of an application."""
    columns = {"job_id": job, "user_id": 1, "device_id": device, "kind": "direct", "recipient_phone": "60123456789", **columns}
    columns = {k: json.dumps(v) if isinstance(v, dict) else v for k, v in columns.items()}
    fleet.sql.exec(f"INSERT INTO broadcast_messages ({', '.join(columns)}, scheduled_at, created_at, updated_at) VALUES "
                   f"({', '.join(literal(v) for v in columns.values())}, {NOW}, {NOW}, {NOW})")


def fates(fleet, where="1"):
    """{job id: (status, class, text)}"""
    return {r[0]: tuple(r[1:]) for r in
            fleet.sql.rows(f"SELECT job_id, status, COALESCE(error_class, ''), COALESCE(error_message, '') FROM broadcast_messages WHERE {where}")}


def metric(fleet, worker, name):
    found = re.search(rf"^{name} (\d+)", http_get(worker.health, "/metrics")[1], re.M)
    return int(found.group(1)) if found else 0


# --- from people to the database ----------------------------------------------------------------------


@test
def what_is_named_is_stored_once_and_shown_again():
    web = Web()
    with world(stub=False) as fleet:
        fleet.ctl("device", "add", "shop")
        photo = file(fleet, "a photo.jpg", JPEG)
        price = file(fleet, "price list.pdf", PDF)
        data = "data:image/jpeg;base64," + base64.b64encode(JPEG).decode()
        for n, source in enumerate((photo, data, web.url + "photo.jpg", web.url + "photo", f"sha256:{sha(JPEG)}")):
            fleet.ctl("campaign", "create", f"c{n}", "--content", "For {{name}}", "--image", source, "--devices", "all")
            shown = asked(fleet, "campaign", "show", f"c{n}")
            equal({"type": "image", "sha256": sha(JPEG), "mime": "image/jpeg", "size": len(JPEG)}, shown["media"], source[:40])
        fleet.ctl("campaign", "create", "pdf", "--document", price, "--devices", "all")
        equal("price list.pdf", asked(fleet, "campaign", "show", "pdf")["media"]["filename"], "filename")
        fleet.ctl("campaign", "create", "named", "--document", price, "--filename", "Preise.pdf", "--devices", "all")
        equal("Preise.pdf", asked(fleet, "campaign", "show", "named")["media"]["filename"], "filename")
        equal({sha(JPEG): JPEG, sha(PDF): PDF}, stored(fleet), "contents")
        fleet.ctl("campaign", "create", "link", "--video", "link:https://shop.example/film.mp4?a=1", "--devices", "all")
        equal({"type": "video", "url": "https://shop.example/film.mp4?a=1"}, asked(fleet, "campaign", "show", "link")["media"], "link")
        _, out, _ = fleet.ctl("campaign", "show", "pdf")
        true(f'"sha256":"{sha(PDF)}"' in out and "Medium:" in out, out)
        fleet.ctl("--user", "bob", "media", "add", photo)
        equal(2, fleet.sql.one(f"SELECT COUNT(*) FROM media WHERE sha256 = '{sha(JPEG)}'"), "one for each user")
        refused(fleet, "has no such content", "--user", "bob", "campaign", "create", "x", "--image", "sha256:" + sha(PDF), "--devices", "all", code=1)


@test
def what_cannot_be_a_medium_is_refused_with_its_reason():
    web = Web()
    with world(stub=False) as fleet:
        fleet.ctl("device", "add", "shop")
        make = ["campaign", "create", "x", "--devices", "all"]
        true("limit for an image" in refused(fleet, "larger than 5242880 bytes", *make, "--image", web.url + "endless"), "endless")
        before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
        taken, since = web.server.written, time.monotonic()
        refused(fleet, "larger than 5242880 bytes", *make, "--image", web.url + "huge")
        true(time.monotonic() - since < 4 and web.server.written - taken < 30 * MB, "4 GB are noticed by their header")
        true(before < 200000, f"{before} kB of memory for an endless body")
        for path, says in (("page.jpg", "text/html, and an image has to be one of jpg, png, webp"), ("lies.jpg", "application/pdf, and an image"),
                           ("empty.jpg", "it is empty"), ("nothing", "the server answers 404"), ("loop", "more than 5 times"),
                           ("short", "cannot be downloaded"), ("silent", "cannot be downloaded: .*[Tt]ime"), ("big.jpg", "larger than"),
                           ("redirect?to=ftp://127.0.0.1/x", "neither https nor"), ("redirect?to=file:///etc/passwd", "neither https nor")):
            err = refused(fleet, says, *make, "--image", web.url + path)
            true("--image: " + web.url + path.split("?")[0] in err, err)
        fleet.ctl(*make[:2], "moved", *make[3:], "--image", web.url + "redirect?to=/photo.jpg")
        refused(fleet, "1 is no base64|not full|pad it", *make, "--image", "data:image/png;base64,abc")
        refused(fleet, "character 27: .*alphabet", *make, "--image", "data:image/png;base64,AAAA*AAA")
        refused(fleet, "application/pdf, and an image", *make, "--image", "data:image/png;base64," + base64.b64encode(PDF[:900]).decode())
        refused(fleet, "No such file", *make, "--image", "nowhere.jpg")
        refused(fleet, "directory", *make, "--image", fleet.folder)
        refused(fleet, "more than 5242880 bytes", *make, "--image", "/dev/zero")
        refused(fleet, "the file is empty", *make, "--image", file(fleet, "none.jpg", b""))
        refused(fleet, "127.0.0.1 is a private address", *make, "--image", "link:http://127.0.0.1/a.jpg")
        refused(fleet, "0x7f.1 is a private address", *make, "--image", "link:http://0x7f.1/a.jpg")
        refused(fleet, "user name or password", *make, "--image", "link:http://a:b@shop.example/a.jpg")
        refused(fleet, "character 22 has no place", *make, "--image", "link:http://shop.example/a b.jpg")
        refused(fleet, "--video: there is --image already", *make, "--image", "a", "--video", "b")
        refused(fleet, "--filename: there is no medium", *make, "--content", "x", "--filename", "b")
        refused(fleet, "audio has no caption", *make, "--content", "x", "--audio", "link:https://a.example/a.mp3")
        equal([], fleet.sql.rows("SELECT name FROM campaigns WHERE name = 'x'"), "campaigns")
        equal([sha(JPEG)], list(stored(fleet)), "contents")


@test
def a_private_network_is_not_reached_by_name_by_address_or_by_redirect():
    web = Web()
    with world(private="no", stub=False) as fleet:
        fleet.ctl("device", "add", "shop")
        make = ["campaign", "create", "x", "--devices", "all", "--image"]
        for host in ("127.0.0.1", "localhost", "0x7f000001", "2130706433", "127.1"):
            refused(fleet, "private address", *make, f"http://{host}:{web.port}/photo.jpg")
        refused(fleet, "private address", *make, "http://[::1]:1/a.jpg")
        refused(fleet, "private address", *make, "http://169.254.169.254/latest/meta-data/a.jpg")
        equal([], web.asked, "requests")
        # Behind a public address, in a network of our own: the same server redirects to the loopback.
        script = ("ip link set lo up && ip addr add 93.184.216.34/32 dev lo && exec python3 -c '"
                  "import sys, os; sys.path.insert(0, \"tests/integration\"); from media_test import outside; outside(sys.argv[1], sys.argv[2])'"
                  f" {fleet.binary('ctl')} {fleet.conf_file}")
        done = subprocess.run(["unshare", "-n", "sh", "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60, env={**os.environ, "PATH": PATH})
        if "unshare" in done.stderr or "ip:" in done.stderr or "RTNETLINK" in done.stderr:
            print(f"    no network of our own here ({done.stderr.strip()[:100]}): redirects are not tried")
            return
        true(done.returncode == 0 and "as it should be" in done.stdout, done.stdout + done.stderr)


def outside(binary, conf):
    """Runs in a network in which 93.184.216.34 is this host."""
    web = Web("0.0.0.0")

    def create(name, path):
        done = subprocess.run([binary, "--config", conf, "campaign", "create", name, "--devices", "all", "--image",
                               f"http://93.184.216.34:{web.port}/{path}"], capture_output=True, text=True)
        return done.returncode, done.stderr

    equal((0, ""), create("public", "photo.jpg"), "from a public address")
    equal(0, create("public2", f"redirect?to=http://93.184.216.34:{web.port}/photo.jpg")[0], "redirected to a public address")
    n = len(web.asked)
    code, err = create("private", f"redirect?to=http://127.0.0.1:{web.port}/photo.jpg")
    true(code == 2 and "private address" in err, f"redirected to the loopback: {code} {err}")
    equal(n + 1, len(web.asked), "requests")
    print("as it should be")


@test
def definitions_say_it_in_json_and_by_flags_and_give_it_back():
    web = Web()
    with world(stub=False) as fleet:
        fleet.ctl("device", "add", "shop")
        photo = file(fleet, "p.jpg", JPEG)
        template = {"name": "promo", "language": "ms", "body": ["{{name|Cik}}", "20%"],
                    "buttons": [{"index": 0, "type": "url", "value": "?c={{code|7}}"}]}
        fleet.ctl("sequence", "create", "flags", "--devices", "all", "--step", "0s:", "--image", photo, "--step", "1d:Hi {{name}}",
                  "--document", "link:https://a.example/a.pdf", "--filename", "b.pdf", "--step", "2d:", "--template", "promo",
                  "--template-language", "ms", "--template-param", "{{name|Cik}}", "--template-param", "20%",
                  "--template-button", "0:url:?c={{code|7}}")
        d = asked(fleet, "sequence", "show", "flags", "--definition")
        image = {"type": "image", "sha256": sha(JPEG), "mime": "image/jpeg", "size": len(JPEG)}
        link = {"type": "document", "url": "https://a.example/a.pdf", "filename": "b.pdf"}
        equal([(image, None, None), (link, None, "Hi {{name}}"), (None, template, None)],
              [(s.get("media"), s.get("template"), s.get("content")) for s in d["steps"]], "steps")
        d["name"] = "again"
        fleet.ctl("sequence", "create", "--file", file(fleet, "d.json", json.dumps(d).encode()))
        equal(d, asked(fleet, "sequence", "show", "again", "--definition"), "the same again")
        _, out, _ = fleet.ctl("sequence", "show", "flags")
        true("template promo (ms)" in out and "document b.pdf, a link" in out, out)
        steps = [{"media": {"type": "image", "fetch": web.url + "photo.jpg"}, "content": "Hi"},
                 {"delay": "1d", "media": {"type": "image", "fetch": "data:image/png;base64," + base64.b64encode(PNG).decode()}}]
        fleet.ctl("sequence", "create", "--file", file(fleet, "d.json", json.dumps({"name": "fetch", "devices": "all", "steps": steps}).encode()))
        d = asked(fleet, "sequence", "show", "fetch", "--definition")
        equal([sha(JPEG), sha(PNG)], [s["media"]["sha256"] for s in d["steps"]], "fetched")
        rule = {"name": "r", "devices": "all", "template": {"name": "t", "language": "en_US", "body": {"first_name": "{{name|you}}"}},
                "media": {"type": "image", "url": "https://a.example/a.jpg"}, "schedule": {"freq": "daily", "at": ["09:00"]}}
        fleet.ctl("recurring", "create", "--file", file(fleet, "r.json", json.dumps(rule).encode()))
        back = asked(fleet, "recurring", "show", "r", "--definition")
        equal((rule["template"], rule["media"], None), (back["template"], back["media"], back.get("content")), "rule")
        fleet.ctl("recurring", "create", "by flags", "--devices", "all", "--freq", "daily", "--at", "09:00", "--image", photo,
                  "--template", "t", "--template-language", "en_US", "--template-named", "first_name={{name|you}}")
        back = asked(fleet, "recurring", "show", "by flags", "--definition")
        equal((rule["template"], image), (back["template"], back["media"]), "rule by flags")
        mistakes(fleet)


def mistakes(fleet):
    def step(says, code=2, **members):
        d = {"name": "x", "devices": "all", "steps": [{"content": "a"}, {"delay": "1d", **members}]}
        path = file(fleet, "x.json", json.dumps(d).encode())
        refused(fleet, f"x.json: {says}", "sequence", "create", "--file", path, code=code)

    t = {"name": "t", "language": "ms"}
    step(r"steps\[1\]\.media\.type: has to be", media={"type": "picture", "url": "https://a.example/a.jpg"})
    step(r"steps\[1\]\.media: has to have either", media={"type": "image"})
    step(r"steps\[1\]\.media\.color: unknown member", media={"type": "image", "url": "https://a.example/a", "color": 1})
    step(r"steps\[1\]\.media\.fetch: has to be an http", media={"type": "image", "fetch": "/etc/passwd"})
    step(r"steps\[1\]\.media\.fetch: data: URL, character 7: a parameter", media={"type": "image", "fetch": "data:;base64*,"})
    step(r"steps\[1\]\.media\.sha256: the user has no such content", 1, media={"type": "image", "sha256": "0" * 64})
    step(r"steps\[1\]\.template\.name: has to be", template={"name": "No!", "language": "ms"})
    step(r"steps\[1\]\.template\.language: has to be", template={"name": "t"})
    step(r"steps\[1\]\.template\.body\[1\]: template 1:1", template={**t, "body": ["a", "{{name"]})
    step(r"steps\[1\]\.template\.body\[0\]: byte 2 is a line end", template={**t, "body": ["a\nb"]})
    step(r"steps\[1\]\.template\.body\[0\]: byte 6 is the fifth blank", template={**t, "body": ["a     b"]})
    step(r"steps\[1\]\.template\.body\[0\]: byte 1 is a tab", template={**t, "body": ["\t"]})
    step(r"steps\[1\]\.template\.body\[0\]: is empty", template={**t, "body": [""]})
    step(r"steps\[1\]\.template\.buttons\[0\]\.type: has to be", template={**t, "buttons": [{"index": 0, "type": "call", "value": "1"}]})
    step(r"steps\[1\]\.template\.buttons\[1\]\.index: 0 has a value", template={**t, "buttons": [{"index": 0, "type": "url", "value": "1"}] * 2})
    step(r"steps\[1\]\.template\.colour: unknown member", template={**t, "colour": "red"})
    step(r"steps\[1\]\.template: there is a text too", template=t, content="b")
    step(r"steps\[1\]\.template\.header: its header is the medium", template={**t, "header": "a"}, media={"type": "image", "url": "https://a.example/a"})
    make = ["sequence", "create", "x", "--devices", "all"]
    refused(fleet, "--image: stands behind the --step", *make, "--image", "a.jpg", "--step", "0s:a")
    refused(fleet, "--image: is given twice", *make, "--step", "0s:a", "--image", "a.jpg", "--image", "b.jpg")
    refused(fleet, "--step 1: --image: nowhere.jpg", *make, "--step", "0s:a", "--image", "nowhere.jpg", "--step", "1d:b")
    refused(fleet, "--template-language: is missing", "campaign", "create", "x", "--devices", "all", "--template", "t")
    refused(fleet, "either --template-param or --template-named", "campaign", "create", "x", "--devices", "all", "--template", "t",
            "--template-language", "ms", "--template-param", "a", "--template-named", "b=c")


@test
def what_is_used_is_not_removed():
    with world(stub=False) as fleet:
        fleet.ctl("device", "add", "shop")
        added = asked(fleet, "media", "add", file(fleet, "p.jpg", JPEG))
        equal({"sha256": sha(JPEG), "type": "image", "mime": "image/jpeg", "size": len(JPEG), "new": True}, added, "added")
        equal(False, asked(fleet, "media", "add", file(fleet, "p.jpg", JPEG))["new"], "new")
        refused(fleet, "does not tell what it is", "media", "add", file(fleet, "photo", JPEG))
        fleet.ctl("media", "add", file(fleet, "photo", PNG), "--type", "image")
        equal(sorted([sha(JPEG), sha(PNG)]), [m["sha256"] for m in asked(fleet, "media", "list")], "list")
        fleet.ctl("campaign", "create", "c", "--image", "sha256:" + sha(JPEG), "--devices", "all")
        fleet.ctl("sequence", "create", "s", "--step", "0s:", "--image", "sha256:" + sha(JPEG), "--devices", "all")
        uses = asked(fleet, "media", "show", sha(JPEG)[:8])["uses"]
        equal([("campaign", "c", True), ("sequence", "s, step 1", True)], [(u["kind"], u["name"], u["open"]) for u in uses], "uses")
        refused(fleet, r"still used, by campaign c \(draft\)", "media", "remove", sha(JPEG), code=1)
        fleet.ctl("campaign", "cancel", "c")
        fleet.ctl("sequence", "cancel", "s")
        direct(fleet, "d1", 1, media={"type": "image", "sha256": sha(JPEG)})
        refused(fleet, "still used, by messages 1 of their own", "media", "remove", sha(JPEG), code=1)
        fleet.sql.exec("UPDATE broadcast_messages SET status = 'failed'")
        fleet.ctl("media", "remove", sha(JPEG)[:12])
        fleet.ctl("media", "remove", sha(PNG))
        equal(({}, 0), (stored(fleet), fleet.sql.one("SELECT COUNT(*) FROM media_pieces")), "left")
        refused(fleet, "has no medium", "media", "remove", sha(JPEG), code=1)
        refused(fleet, "is no hash", "media", "show", "xyz")


# --- from the database to the provider ----------------------------------------------------------------


@test
def a_content_goes_through_redis_beside_the_jobs():
    with world({"producer": {"window": "5"}}, stub=False) as fleet:
        devices = fleet.devices(3, sender="null")
        fleet.leads(20)
        price = file(fleet, "price.pdf", PDF)
        fleet.ctl("campaign", "create", "c", "--document", price, "--content", "For {{name}}", "--devices", "all", "--start", "now")
        fleet.start(worker=0)
        wait_until(lambda: kept(fleet, PDF) > 0, 20, "the content in Redis")
        wait_until(lambda: fleet.redis.call("XLEN", f"pl:{{p{devices[0] % 8:02}}}:d:{devices[0]}:jobs") == 5, 20, "jobs")
        job = fleet.redis.call("XRANGE", f"pl:{{p{devices[0] % 8:02}}}:d:{devices[0]}:jobs", "-", "+", "COUNT", 1)[0][1]
        true(sha(PDF) in str(job) and len(str(job)) < 2000, "a job names the content and does not hold it")
        equal(len(PDF), fleet.redis.call("STRLEN", f"pl:media:{sha(PDF)}"), "bytes")
        (worker,) = [fleet.spawn("worker")]
        fleet.drain()
        equal({"sent": 60}, fleet.statuses(), "rows")
        equal(len(PDF), metric(fleet, worker, "paceline_media_bytes"), "bytes in the worker's memory, once")
        fleet.check(order=False)
        fleet.stop()


@test
def what_redis_loses_is_put_back_and_what_it_keeps_is_kept_on():
    with world({"producer": {"media_keep": "4s"}}, stub=False) as fleet:
        (device,) = fleet.devices(1, sender="null", gap=(200, 200))
        fleet.leads(40)
        fleet.ctl("campaign", "create", "c", "--image", file(fleet, "p.jpg", JPEG), "--devices", "all", "--start", "now")
        fleet.start(worker=0)
        wait_until(lambda: kept(fleet, JPEG) > 0, 20, "the content in Redis")
        fleet.redis.call("DEL", f"pl:media:{sha(JPEG)}")
        worker = fleet.spawn("worker")
        wait_until(lambda: metric(fleet, worker, "paceline_media_missing_total") > 0, 20, "a worker to miss it")
        wait_until(lambda: kept(fleet, JPEG) > 0, 20, "the content to be put back")
        wait_until(lambda: len(fleet.ledger()) > 2, 20, "sends")
        wait_until(lambda: kept(fleet, JPEG) < 1500, 20, "time to pass")
        direct(fleet, "d1", device, media={"type": "image", "sha256": sha(JPEG)})
        wait_until(lambda: kept(fleet, JPEG) > 2500, 20, "the time to be drawn out")
        fleet.drain()
        equal({"sent": 41}, fleet.statuses(), "rows")
        true(metric(fleet, worker, "paceline_media_missing_total") < 10, "it is not asked for hotly")
        fleet.check(order=False)
        fleet.stop()


@test
def what_nobody_has_any_more_fails_with_its_reason():
    with world(stub=False) as fleet:
        (device,) = fleet.devices(1, sender="null")
        fleet.ctl("media", "add", file(fleet, "p.jpg", JPEG))
        fleet.start(worker=0)
        direct(fleet, "d1", device, media={"type": "image", "sha256": sha(JPEG)})
        direct(fleet, "d2", device, content="after it")
        wait_until(lambda: fleet.statuses() == {"queued": 2}, 20, "jobs")
        fleet.sql.exec("DELETE FROM media")
        fleet.redis.call("DEL", f"pl:media:{sha(JPEG)}")
        fleet.spawn("worker")
        fleet.drain()
        equal(("failed", "media-gone"), fates(fleet)["d1"][:2], "the one without content")
        equal("sent", fates(fleet)["d2"][0], "the one behind it")


@test
def a_content_that_is_broken_fails_its_message_and_not_the_device():
    with world(stub=False) as fleet:
        (device,) = fleet.devices(1, sender="null")
        fleet.ctl("media", "add", file(fleet, "p.pdf", PDF))
        fleet.sql.exec("DELETE FROM media_pieces WHERE position = 1")
        direct(fleet, "picture", device, media={"type": "document", "sha256": sha(PDF)})
        direct(fleet, "text", device, content="x")
        fleet.start()
        fleet.drain(30)
        equal(("failed", "media-gone"), fates(fleet)["picture"][:2], "the one whose content is broken")
        equal("sent", fates(fleet)["text"][0], "the one behind it")
        fleet.stop()


@test
def rows_of_applications_are_checked():
    with world(stub=False) as fleet:
        (device,) = fleet.devices(1, sender="null")
        fleet.ctl("--user", "bob", "media", "add", file(fleet, "p.jpg", JPEG))
        fleet.ctl("media", "add", file(fleet, "p.png", PNG))
        bad = {"json": ("{", "media: no JSON"), "type": ({"type": "gif", "url": "https://a.example/a"}, "media.type: "),
               "private": ({"type": "image", "url": "http://10.0.0.1/a"}, "10.0.0.1 is a private address"),
               "local": ({"type": "image", "url": "http://localhost/a"}, "private address"),
               "file": ({"type": "image", "url": "file:///etc/passwd"}, "begins with http"),
               "none": ({"type": "image", "sha256": "0" * 64}, "has no such content"),
               "theirs": ({"type": "image", "sha256": sha(JPEG)}, "has no such content"),
               "kind": ({"type": "video", "sha256": sha(PNG)}, "the content is image/png, not a video"),
               "both": ({"type": "image", "sha256": sha(PNG), "url": "https://a.example/a"}, "either url or sha256"),
               "list": ("[1]", "has to be an object"), "long": ({"type": "image", "url": "https://a.example/" + "a" * 3000}, "media.url: has")}
        for name, (media, _) in bad.items():
            direct(fleet, name, device, media=media)
        t = {"name": "t", "language": "ms"}
        for name, (template, says) in {"t1": ("{}", "template.name"), "t2": ({**t, "body": ["{{name"]}, r"template.body[0]")}.items():
            direct(fleet, name, device, template=template)
            bad[name] = (template, says)
        direct(fleet, "empty", device)
        good = {"link": {"media": {"type": "image", "url": "https://a.example/a.jpg"}}, "png": {"media": {"type": "image", "sha256": sha(PNG)}, "content": "x"},
                "template": {"template": {**t, "body": ["{{name|Cik}}"]}}, "text": {"content": "x"}}
        for name, columns in good.items():
            direct(fleet, name, device, **columns)
        late = {"no value": {**t, "body": ["{{name2}}"]}, "line end": {**t, "body": ["{{recipient_name}}"]}}
        for name, template in late.items():
            direct(fleet, name.replace(" ", "-"), device, template=template, recipient_name="A\nB")
        fleet.start()
        fleet.drain()
        rows = fates(fleet)
        for name, (_, says) in bad.items():
            true(rows[name][:2] == ("failed", "input") and says in rows[name][2], f"{name}: {rows[name]}, wanted {says!r}")
        true("no text" in rows["empty"][2], str(rows["empty"]))
        equal(["sent"] * len(good), [rows[name][0] for name in good], "good ones")
        true(rows["no-value"][1] == "bad-template" and "is empty for this recipient" in rows["no-value"][2], str(rows["no-value"]))
        true(rows["line-end"][1] == "bad-template" and "is a line end" in rows["line-end"][2], str(rows["line-end"]))
        equal(0, fleet.redis.call("EXISTS", f"pl:media:{sha(JPEG)}"), "another user's content in Redis")


@test
def a_sender_that_cannot_says_so():
    """One that takes texts alone: its request has no place for anything else."""
    with world() as fleet:
        (device,) = fleet.devices(1)
        fleet.ctl("media", "add", file(fleet, "p.jpg", JPEG))
        direct(fleet, "link", device, media={"type": "image", "url": "https://a.example/a.jpg"})
        direct(fleet, "stored", device, media={"type": "image", "sha256": sha(JPEG)})
        direct(fleet, "template", device, template={"name": "t", "language": "ms"})
        direct(fleet, "text", device, content="x")
        fleet.start()
        fleet.drain()
        rows = fates(fleet)
        equal("sent", rows["text"][0], "text")
        for name, says in (("link", "takes no image as a link, and none at all"), ("stored", "takes no image that is stored here"),
                           ("template", "sends no approved templates")):
            true(rows[name][:2] == ("failed", "unsupported") and says in rows[name][2], f"{name}: {rows[name]}")


class Provider(http.server.BaseHTTPRequestHandler):
    """The Cloud API, as far as a medium needs it: ids by device, and what is refused."""
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        server, device, what = self.server, *self.path.split("/")[2:4]
        with server.lock:
            status, answer = server.upload(device, body) if what == "media" else server.message(device, json.loads(body))
        data = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


class Cloud(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Provider)
        self.lock, self.uploads, self.messages, self.failures = threading.Lock(), [], [], []
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def sender(self):
        return {"type": "cloudapi", "url": f"http://127.0.0.1:{self.server_address[1]}", "token": "secret", "allow_private": "yes"}

    def upload(self, device, body):
        if self.failures:
            return self.failures.pop(0)
        self.uploads.append((device, body))
        return 200, {"id": f"id-{device}-{len(self.uploads)}"}

    def message(self, device, body):
        known = {f"id-{d}-{n + 1}" for n, (d, _) in enumerate(self.uploads) if d == device}
        media = body.get("image") or next((p["image"] for c in body["template"]["components"] for p in c["parameters"] if "image" in p), {})
        if media.get("id") not in known:
            return 400, {"error": {"code": 131053, "message": "Media upload error"}}
        self.messages.append((device, body))
        return 200, {"messages": [{"id": f"wamid.{len(self.messages)}"}]}


@test
def an_upload_is_made_once_for_a_device_and_its_id_is_named():
    cloud = Cloud()
    with world(stub=False, senders={"cloud": cloud.sender()}) as fleet:
        devices = fleet.devices(3, sender="cloud")
        fleet.sql.exec("UPDATE devices SET sender_ref = 1000 + id")
        fleet.leads(15)
        photo = file(fleet, "p.jpg", JPEG)
        make = ["--image", photo, "--devices", "all", "--start", "now"]
        fleet.ctl("campaign", "create", "plain", "--content", "For {{name}}", *make)
        fleet.ctl("campaign", "create", "approved", "--template", "promo", "--template-language", "ms", "--template-param", "{{name}}",
                  "--template-button", "0:url:?p={{phone}}", *make)
        fleet.start(worker=2)
        fleet.drain()
        equal({"sent": 90}, fleet.statuses(), "rows")
        equal(90, len(cloud.messages), "messages")
        true(3 <= len(cloud.uploads) <= 6, f"{len(cloud.uploads)} uploads for 3 devices and 2 workers")
        true(all(JPEG in body and b"image/jpeg" in body for _, body in cloud.uploads), "contents")
        for device in devices:
            true(fleet.redis.call("PTTL", f"pl:upload:cloud:{1000 + device}:{sha(JPEG)}") > 86400000, "the id is kept")
        (plain,) = [b for _, b in cloud.messages if b["type"] == "image"][:1]
        true(plain["image"]["caption"].startswith("For Lead "), str(plain))
        (t,) = [b["template"] for _, b in cloud.messages if b["type"] == "template"][:1]
        kinds = {c["type"]: c["parameters"][0] for c in t["components"]}
        true(kinds["body"]["text"].startswith("Lead ") and kinds["button"]["text"].startswith("?p=6") and "id" in kinds["header"]["image"], str(t))
        fleet.stop()


@test
def an_id_that_has_ended_is_dropped_and_a_failed_upload_is_no_attempt():
    cloud = Cloud()
    with world(stub=False, senders={"cloud": cloud.sender()}) as fleet:
        (device,) = fleet.devices(1, sender="cloud")
        fleet.sql.exec("UPDATE devices SET sender_ref = '77'")
        fleet.leads(5)
        fleet.redis.call("SET", f"pl:upload:cloud:77:{sha(JPEG)}", "id-of-last-month")
        cloud.failures = [(500, {"error": {"code": 131000, "message": "Something went wrong"}}), (503, {"error": "out"})]
        fleet.ctl("campaign", "create", "c", "--image", file(fleet, "p.jpg", JPEG), "--devices", "all", "--start", "now")
        fleet.start()
        fleet.drain()
        equal({"sent": 5}, fleet.statuses(), "rows")
        equal(("running", "none"), tuple(fleet.sql.rows("SELECT IF(status = 'paused', 'paused', 'running'), steered FROM campaigns")[0]), "campaign")
        equal([1], [n for n in range(2) if len(cloud.uploads) == n], "uploads that were taken")
        refusals = fleet.sql.rows("SELECT event, code FROM message_events WHERE event NOT IN ('sent') ORDER BY id")
        equal(1, sum(1 for event, code in refusals if code == "131053"), f"messages refused for the old id: {refusals}")
        true(all(event == "deferred" for event, code in refusals if code != "131053"), f"what failed uploads were: {refusals}")
        equal(6, int(fleet.sql.one("SELECT SUM(attempt) FROM broadcast_messages")), "attempts")


@test
def an_upload_that_outlasts_a_lease_is_made_once_all_the_same():
    cloud = Cloud()
    quick = cloud.upload

    def slow(device, body):
        pause(2.5)
        return quick(device, body)

    cloud.upload = slow
    with world({"worker": {"lease": "800ms", "renew": "200ms"}}, stub=False, senders={"cloud": cloud.sender()}) as fleet:
        fleet.devices(1, sender="cloud", max_in_flight=3)
        fleet.sql.exec("UPDATE devices SET sender_ref = '77'")
        fleet.leads(6)
        fleet.ctl("campaign", "create", "c", "--image", file(fleet, "p.jpg", JPEG), "--devices", "all", "--start", "now")
        fleet.start()
        fleet.drain()
        equal(({"sent": 6}, 1, 6), (fleet.statuses(), len(cloud.uploads), len(cloud.messages)), "rows, uploads, messages")
        equal(6, int(fleet.sql.one("SELECT SUM(attempt) FROM broadcast_messages")), "attempts")
        fleet.stop()


@test
def a_gateway_gets_the_content_with_the_message():
    cloud = Cloud()
    bodies = []
    cloud.message = cloud.upload = lambda device, body: (bodies.append(body), (201, {"id": f"true_1@c.us_{len(bodies)}"}))[1]
    sender = {"type": "waha", "url": f"http://127.0.0.1:{cloud.server_address[1]}/x/y", "api_key": "k", "allow_private": "yes"}
    with world(stub=False, senders={"waha": sender}) as fleet:
        fleet.devices(2, sender="waha")
        fleet.leads(5)
        fleet.ctl("campaign", "create", "c", "--image", file(fleet, "p.jpg", JPEG), "--content", "Look", "--devices", "all", "--start", "now")
        fleet.start()
        fleet.drain()
        equal({"sent": 10}, fleet.statuses(), "rows")
        equal(10, len(bodies), "requests")
        true(all(base64.b64encode(JPEG).decode() in json.dumps(b) and b["caption"] == "Look" for b in bodies), "contents")


@test
def a_webhook_gets_the_link():
    stub = {"body": '{"to":"{recipient}","text":"{text} {media_type} {media_url}"}'}
    with world(senders={"stub": stub}) as fleet:
        (device,) = fleet.devices(1)
        direct(fleet, "link", device, content="caption", media={"type": "image", "url": "https://a.example/a.jpg"})
        fleet.start()
        fleet.drain()
        equal("sent", fates(fleet)["link"][0], "row")
        from witness import xxh64
        equal([f"{xxh64(b'caption image https://a.example/a.jpg'):016x}"], [line.hash for line in fleet.ledger()], "what arrived")


@test
def a_redis_that_is_full_keeps_rows_waiting():
    with world(stub=False) as fleet:
        (device,) = fleet.devices(1, sender="null")
        fleet.ctl("media", "add", file(fleet, "price.pdf", PDF))
        fleet.start()
        used = int(re.search(r"used_memory:(\d+)", fleet.redis.call("INFO", "memory")).group(1))
        fleet.redis.call("CONFIG", "SET", "maxmemory", used + MB)
        direct(fleet, "d1", device, media={"type": "document", "sha256": sha(PDF)})
        wait_until(lambda: any("redis_refuses" in l for l in fleet.log_lines("producer")), 20, "the refusal")
        wait_until(lambda: fleet.statuses() == {"pending": 1}, 20, "the row to wait")
        fleet.redis.call("CONFIG", "SET", "maxmemory", 0)
        fleet.drain()
        equal({"sent": 1}, fleet.statuses(), "rows")


# --- deaths -------------------------------------------------------------------------------------------


@test
def who_stores_a_content_may_die_at_any_point():
    with world(faults=True, stub=False) as fleet:
        fleet.ctl("device", "add", "shop")
        path = file(fleet, "price.pdf", PDF)
        make = ["campaign", "create", "c", "--document", path, "--devices", "all"]
        for point, left in (("media.inserted", {}), ("media.stored", {sha(PDF): PDF})):
            fleet.ctl_env["PACELINE_FAULT"] = f"{point}:1:kill"
            equal(-signal.SIGKILL, fleet.ctl(*make, check=False)[0], "exit status")
            fleet.ctl_env.clear()
            equal(left, stored(fleet), f"contents behind {point}")
            equal(0, fleet.sql.one("SELECT COUNT(*) FROM campaigns"), "campaigns")
        fleet.ctl(*make)
        equal(1, len(stored(fleet)), "contents")


@test
def a_producer_that_dies_behind_the_content_loses_nothing():
    with world(faults=True, stub=False) as fleet:
        fleet.devices(2, sender="null")
        fleet.leads(3)
        fleet.ctl("campaign", "create", "c", "--document", file(fleet, "price.pdf", PDF), "--devices", "all", "--start", "now")
        first = fleet.spawn("producer", fault="dispatch.medium:1:kill")
        fleet.start(producer=0)
        wait_until(lambda: not first.running(), 20, "its death")
        equal(-signal.SIGKILL, first.status(), "exit status")
        true(kept(fleet, PDF) > 0, "the content is in Redis")
        fleet.processes.pop(first.name)
        fleet.spawn("producer")
        fleet.drain()
        equal({"sent": 6}, fleet.statuses(), "rows")
        fleet.check(order=False)


if __name__ == "__main__":
    sys.exit(main())
