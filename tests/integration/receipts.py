"""Providers' side of `paceline receipts`: their webhooks as they write and sign them."""
import base64
import hashlib
import hmac
import json
import os
import re
import socket
import time

from harness import Process, equal, true, wait_until

SECRET, OLD = "s3cr\u00e9t of the app", "the one before"
SECTIONS = {
    "meta": {"type": "cloudapi", "secret": "env:RECEIPTS_SECRET", "secret_2": "env:RECEIPTS_OLD", "verify_token": "env:RECEIPTS_TOKEN"},
    "gowa": {"type": "gowa", "secret": "env:RECEIPTS_SECRET"},
    "waha": {"type": "waha", "secret": "env:RECEIPTS_SECRET"},
    "evo": {"type": "evolution", "secret": "env:RECEIPTS_SECRET"},
    "own": {"type": "json", "secret": "env:RECEIPTS_SECRET", "signature_encoding": "base64", "id": "/m/0/id", "status": "/m/0/st",
            "words": "SEEN=read GOT=delivered BAD=failed", "code": "/m/0/why", "callback": "/tag", "at": "/t"},
}
ENV = {"RECEIPTS_SECRET": SECRET, "RECEIPTS_OLD": OLD, "RECEIPTS_TOKEN": "t0ken"}


def cloudapi(*values, field="messages"):
    """One body of any number of values."""
    base = {"messaging_product": "whatsapp", "metadata": {"display_phone_number": "15550", "phone_number_id": "1066"}}
    return {"object": "whatsapp_business_account",
            "entry": [{"id": "WABA", "changes": [{"field": field, "value": {**base, **v}} for v in values]}]}


def status(id, word, at=None, to="60123456789", tag=None, code=None, **more):
    """One status of the Cloud API."""
    s = {"id": id, "status": word, "timestamp": str(int(at or time.time())), **more}
    s.update({"recipient_id": to} if to else {})
    s.update({"biz_opaque_callback_data": tag} if tag else {})
    if code:
        s["errors"] = [{"code": code, "title": "no", "message": "no", "error_data": {"details": "because of \u00fcber"}, "href": "x"}]
    return s


def statuses(*list_):
    return cloudapi({"statuses": list(list_)})


def said(text, phone="60123456789", at=None, id=None):
    """One answer of somebody's."""
    return cloudapi({"contacts": [{"profile": {"name": "A"}, "wa_id": phone}], "messages": [
        {"from": phone, "id": id or f"wamid.in{time.time_ns()}", "timestamp": str(int(at or time.time())), "type": "text",
         "text": {"body": text}}]})


def preference(value, phone="60123456789", at=None):
    return cloudapi({"user_preferences": [{"wa_id": phone, "detail": "x", "category": "marketing_messages", "value": value,
                                           "timestamp": int(at or time.time())}]}, field="user_preferences")


def sign(data, secret=SECRET):
    return "sha256=" + hmac.new(secret.encode(), data, hashlib.sha256).hexdigest()


def signature(section, data, secret=SECRET):
    """The header line of a section's provider."""
    if section == "waha":
        return "X-Webhook-Hmac: " + hmac.new(secret.encode(), data, hashlib.sha512).hexdigest()
    if section == "evo":
        return "Authorization: Bearer " + secret
    if section == "own":
        return "X-Signature-256: sha256=" + base64.b64encode(hmac.new(secret.encode(), data, hashlib.sha256).digest()).decode()
    return "X-Hub-Signature-256: " + sign(data, secret)


class Receipts:
    def __init__(self, fleet, *flags, sections=None, user="default", fault=None, name="receipts", address=None):
        fleet.receipts = SECTIONS if sections is None else sections
        fleet.configure()
        self.fleet, self.path = fleet, os.path.join(fleet.folder, name + ".http")
        argv = [fleet.binary("ctl"), "--config", fleet.conf_file, "--log-level", "info", "--user", user, "receipts",
                "--listen", address or "unix:" + self.path, *flags]
        env = {**ENV, **fleet.env, **({"PACELINE_FAULT": fault} if fault else {})}
        self.process = Process(name, argv, os.path.join(fleet.folder, name + ".log"), env)
        fleet.processes[name] = self.process
        words = wait_until(self.announced, 20, lambda: f"the server: {self.process.lines()}")
        self.address = self.path if words[1].startswith("unix:") else ("127.0.0.1", int(words[1].rsplit(":", 1)[1]))

    def announced(self):
        true(self.process.running(), f"the server ended: {self.process.lines()}")
        return next(filter(None, (re.match(r"listening on (\S+), paths ", l) for l in self.process.lines())), None)

    def connect(self, seconds=20):
        s = socket.socket(socket.AF_UNIX if isinstance(self.address, str) else socket.AF_INET)
        s.settimeout(seconds)
        s.connect(self.address)
        return s

    def raw(self, data):
        """(status, headers, body); (0, {}, "") when the server closes without an answer."""
        with self.connect() as s:
            try:
                s.sendall(data)
            except ConnectionError:
                pass
            return answer(s)

    def head(self, section, data, line, method="POST", path=None, close=True):
        return (f"{method} {path or '/receipts/' + section} HTTP/1.1\r\nHost: t\r\nContent-Type: application/json\r\n"
                + (line + "\r\n" if line else "") + ("Connection: close\r\n" if close else "")
                + f"Content-Length: {len(data)}\r\n\r\n").encode("utf-8", "surrogateescape")

    def post(self, section, body, line=None, secret=SECRET, **head):
        data = body if isinstance(body, bytes) else json.dumps(body, ensure_ascii=False).encode()
        return self.raw(self.head(section, data, signature(section, data, secret) if line is None else line, **head) + data)

    def takes(self, section, body, **more):
        got = self.post(section, body, **more)
        equal(200, got[0], f"{got} {self.process.lines()[-3:]}")

    def refuses(self, status, pattern, section, body, **more):
        got, _, text = self.post(section, body, **more)
        true(got == status and re.search(pattern, text), f"want {status} {pattern}: got {got} {text}")

    def get(self, path):
        return self.raw(f"GET {path} HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n".encode())

    def rows(self, where="1"):
        return self.fleet.sql.dicts(f"SELECT * FROM receipts WHERE {where} ORDER BY id")

    def settled(self, seconds=20, where="1"):
        """Waits until the reaper has looked at all of them."""
        wait_until(lambda: not self.rows(f"state = 'new' AND {where}"), seconds, lambda: f"receipts: {self.rows()}")


def answer(s):
    data = b""
    try:
        while part := s.recv(65536):
            data += part
    except ConnectionError:
        pass
    head, _, body = data.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    headers = {k.lower(): v for k, _, v in (l.partition(": ") for l in lines[1:])}
    return (int(lines[0].split()[1]), headers, body.decode()) if head else (0, {}, "")
