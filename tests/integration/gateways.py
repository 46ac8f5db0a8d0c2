"""Three providers in one process: the shapes of the Cloud API, GOWA and WAHA over real HTTP, with a ledger of their own.
What each answers to a message is decided by a script that the test gives; what it says is written as the providers write it."""
import json
import re
import threading
import time
from collections import namedtuple
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Request = namedtuple("Request", "at provider device recipient text token nth")
Line = namedtuple("Line", "at provider device recipient text status")


def cloud_error(code, details, status=400):
    return status, {"error": {"message": f"(#{code}) {details}", "type": "OAuthException", "code": code, "fbtrace_id": "A1",
                              "error_data": {"messaging_product": "whatsapp", "details": details}}}


def gowa_error(code, message, status):
    return status, {"code": code, "message": message, "results": None}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status, body):
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self):
        g = self.server.gateways
        if m := re.fullmatch(r"/devices/([^/]+)/status", self.path):
            on = m[1] not in g.offline
            self.answer(200, {"code": "SUCCESS", "message": "", "results": {"device_id": m[1], "is_connected": on, "is_logged_in": on}})
        elif m := re.fullmatch(r"/api/sessions/([^/]+)", self.path):
            self.answer(200, {"name": m[1], "status": "STOPPED" if m[1] in g.offline else "WORKING"})
        elif m := re.fullmatch(r"/v[0-9.]+/(\d+)(?:\?.*)?", self.path):
            self.answer(200, {"id": m[1], "status": "BANNED" if m[1] in g.offline else "CONNECTED", "quality_rating": "GREEN"})
        else:
            self.answer(404, {})

    def do_POST(self):
        g = self.server.gateways
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"{}")
        token = self.headers.get("Authorization", "")
        if m := re.fullmatch(r"/v[0-9.]+/(\d+)/messages", self.path):
            what = ("cloud", m[1], body["to"], (body.get("text") or {}).get("body", ""))
        elif self.path == "/send/message":
            what = ("gowa", self.headers.get("X-Device-Id", ""), body["phone"].split("@")[0], body["message"])
        elif self.path == "/api/sendText":
            what = ("waha", body["session"], body["chatId"].split("@")[0], body["text"])
        else:
            self.answer(404, {"error": "no such call"})
            return
        self.answer(*g.receive(*what, token))


class Gateways:
    """script(Request) -> (status, body), or None for an acceptance."""

    def __init__(self):
        self.script, self.ledger, self.offline = (lambda r: None), [], set()
        self.seen, self.lock = {}, threading.Lock()
        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.http.gateways = self
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.http.shutdown()
        self.http.server_close()

    def receive(self, provider, device, recipient, text, token):
        with self.lock:
            key = (provider, device, recipient)
            self.seen[key] = nth = self.seen.get(key, 0) + 1
            at = time.monotonic()
            status, body = self.script(Request(at, provider, device, recipient, text, token, nth)) or (200, None)
            self.ledger.append(Line(at, provider, device, recipient, text, status))
            number = len(self.ledger)
        if body is None:
            body = {"cloud": {"messaging_product": "whatsapp", "contacts": [{"input": recipient, "wa_id": recipient}],
                              "messages": [{"id": f"wamid.{number}"}]},
                    "gowa": {"code": "SUCCESS", "message": "sent", "results": {"message_id": f"3EB0{number}", "status": "ok"}},
                    "waha": {"id": f"true_{recipient}@c.us_{number}", "timestamp": 1, "fromMe": True}}[provider]
        return status, body

    def accepted(self):
        with self.lock:
            return [l for l in self.ledger if l.status < 300]
