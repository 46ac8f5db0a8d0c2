"""listmonk's side of `paceline inlet`: its messages as it writes them, and a client."""
import base64
import json
import os
import re
import socket

from harness import Process, equal, true, wait_until

PASSWORD = "p:w öü \"x\""
CAMPAIGN, ANON = "2e7e4b51-f31b-418a-a120-e41800cb689f", "e44b4135-1e1d-40c5-8a30-0f9a886c2884"


def message(recipients=None, **more):
    """As listmonk's postback messenger writes it."""
    return {"subject": "Welcome", "content_type": "plain", "body": "Hello",
            "recipients": recipients if recipients is not None else [recipient()],
            "campaign": {"from_email": "a@b.c", "uuid": CAMPAIGN, "name": "Test", "headers": None, "tags": ["x"]},
            "attachments": None, **more}


def recipient(uuid=ANON, phone="+60 12-345 6789", status="enabled", name="Anon Doe", **attribs):
    attribs = {**({} if phone is None else {"phone": phone}), "city": "Bengaluru", **attribs}
    return {"uuid": uuid, "email": "anon@example.com", "name": name, "attribs": attribs, "status": status}


class Inlet:
    def __init__(self, fleet, *flags, address=None, user="default", fault=None, name="inlet", env=None):
        self.fleet, self.path = fleet, os.path.join(fleet.folder, name + ".http")
        argv = [fleet.binary("ctl"), "--config", fleet.conf_file, "--log-level", "info", "--user", user, "inlet",
                "--listen", address or "unix:" + self.path, *flags]
        env = {"PACELINE_INLET_PASSWORD": PASSWORD, **({"PACELINE_FAULT": fault} if fault else {}), **(env or {})}
        self.process = Process(name, argv, os.path.join(fleet.folder, name + ".log"), env)
        fleet.processes[name] = self.process
        said = wait_until(self.said, 20, lambda: f"the inlet: {self.process.lines()}")
        self.address = self.path if said[1].startswith("unix:") else ("127.0.0.1", int(said[1].rsplit(":", 1)[1]))

    def said(self):
        true(self.process.running(), f"the inlet ended: {self.process.lines()}")
        return next(filter(None, (re.match(r"listening on (\S+), path /listmonk$", l) for l in self.process.lines())), None)

    def connect(self, seconds=20):
        s = socket.socket(socket.AF_UNIX if isinstance(self.address, str) else socket.AF_INET)
        s.settimeout(seconds)
        s.connect(self.address)
        return s

    def raw(self, data):
        with self.connect() as s:
            try:
                s.sendall(data)
            except ConnectionError:
                pass  # it was cut off; what was answered before is read all the same
            return answer(s)

    def head(self, length, method="POST", path="/listmonk", login="listmonk:" + PASSWORD, more=""):
        credentials = "" if login is None else "Authorization: Basic " + base64.b64encode(login.encode()).decode() + "\r\n"
        return (f"{method} {path} HTTP/1.1\r\nHost: t\r\nUser-Agent: listmonk\r\nContent-Type: application/json\r\n"
                f"{credentials}{more}" + (f"Content-Length: {length}\r\n" if length is not None else "") + "\r\n").encode()

    def post(self, body, **head):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return self.raw(self.head(len(data), **head) + data)

    def accepts(self, body, accepted, duplicates=0, skipped=0):
        status, headers, said = self.post(body)
        equal((200, accepted, duplicates, skipped),
              (status, said.get("accepted"), said.get("duplicates"), len(said.get("skipped", []))), f"{said}")
        return said["skipped"]

    def refuses(self, status, pattern, body, **head):
        got, headers, said = self.post(body, **head)
        true(got == status and re.search(pattern, said["error"]), f"want {status} {pattern}: got {got} {said}")
        return headers, said


def answer(s):
    """(status, headers, JSON); (0, {}, "") when the server closes without one."""
    data = b""
    try:
        while part := s.recv(65536):
            data += part
    except ConnectionError:
        pass
    head, _, body = data.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    headers = {k.lower(): v for k, _, v in (l.partition(": ") for l in lines[1:])}
    return (int(lines[0].split()[1]), headers, json.loads(body)) if body else (0, headers, "")
