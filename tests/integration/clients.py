"""The two smallest clients that the tests need: Redis' protocol and MySQL's, over unix sockets.

Neither shares a line with the programs, so they are witnesses of their own."""
import socket
import struct

TIMEOUT = 30.0


class Lost(Exception):
    """The connection is gone, or could not be made; the next call dials again."""


class RedisError(Exception):
    """Redis answered with an error."""


class SqlError(Exception):
    """The server answered with an error."""

    def __init__(self, code, text):
        super().__init__(f"{code}: {text}")
        self.code = code


class _Connection:
    def __init__(self, path):
        self.path = path
        self.socket = None
        self.data = b""

    def dial(self):
        self.data = b""
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(TIMEOUT)
        try:
            self.socket.connect(self.path)
        except OSError as e:
            self.close()
            raise Lost(f"{self.path}: {e}") from None

    def close(self):
        if self.socket:
            self.socket.close()
        self.socket = None

    def write(self, data):
        try:
            self.socket.sendall(data)
        except OSError as e:
            self.close()
            raise Lost(str(e)) from None

    def more(self):
        try:
            got = self.socket.recv(1 << 18)
        except OSError as e:
            got, why = b"", str(e)
        else:
            why = "end of stream"
        if not got:
            self.close()
            raise Lost(why)
        self.data += got


class Redis(_Connection):
    """call("SET", "a", 1) -> "OK"; bulk strings are str (surrogateescape), nil is None."""

    def line(self):
        while (at := self.data.find(b"\r\n")) < 0:
            self.more()
        line, self.data = self.data[:at], self.data[at + 2:]
        return line

    def reply(self):
        line = self.line()
        kind, rest = line[:1], line[1:]
        if kind == b"+":
            return rest.decode()
        if kind == b"-":
            return RedisError(rest.decode())
        if kind == b":":
            return int(rest)
        n = int(rest)
        if n < 0:
            return None
        if kind == b"*":
            return [self.reply() for _ in range(n)]
        while len(self.data) < n + 2:
            self.more()
        text, self.data = self.data[:n], self.data[n + 2:]
        return text.decode("utf-8", "surrogateescape")

    def pipeline(self, calls):
        """All answers, errors among them as objects."""
        if not self.socket:
            self.dial()
        out = bytearray()
        for args in calls:
            out += b"*%d\r\n" % len(args)
            for a in args:
                b = a if isinstance(a, bytes) else str(a).encode("utf-8", "surrogateescape")
                out += b"$%d\r\n%s\r\n" % (len(b), b)
        self.write(bytes(out))
        return [self.reply() for _ in calls]

    def call(self, *args):
        (answer,) = self.pipeline([args])
        if isinstance(answer, RedisError):
            raise answer
        return answer

    def keys(self, pattern="*"):
        return self.call("KEYS", pattern)


class Sql(_Connection):
    """One session without a password.  rows() gives tuples of str or None, exec() the changed rows."""

    CAPABILITIES = 0x1 | 0x4 | 0x8 | 0x200 | 0x2000 | 0x8000 | 0x20000 | 0x80000

    def __init__(self, path, database="", user="root"):
        super().__init__(path)
        self.database = database
        self.user = user
        self.columns = []

    def packet(self):
        while len(self.data) < 4:
            self.more()
        n = int.from_bytes(self.data[:3], "little")
        self.sequence = (self.data[3] + 1) & 255
        while len(self.data) < 4 + n:
            self.more()
        body, self.data = self.data[4:4 + n], self.data[4 + n:]
        if body[:1] == b"\xff":
            text = body[9:] if body[3:4] == b"#" else body[3:]
            raise SqlError(int.from_bytes(body[1:3], "little"), text.decode("utf-8", "replace"))
        if n == 0xffffff:
            raise NotImplementedError("a row of 16 MB")
        return body

    def send(self, body, sequence):
        self.write(struct.pack("<I", len(body))[:3] + bytes([sequence]) + body)

    def login(self):
        self.dial()
        try:
            self.packet()
            self.send(struct.pack("<IIB23x", self.CAPABILITIES, 1 << 24, 45) + self.user.encode()
                      + b"\0\0" + self.database.encode() + b"\0mysql_native_password\0",
                      self.sequence)
            if self.packet()[:1] == b"\xfe":
                self.send(b"", self.sequence)
                self.packet()
        except SqlError:
            self.close()
            raise
        self.query("SET time_zone = '+00:00', NAMES utf8mb4")

    @staticmethod
    def number(b, at):
        """A length-encoded number and the place behind it; None for NULL."""
        first = b[at]
        if first < 0xfb:
            return first, at + 1
        if first == 0xfb:
            return None, at + 1
        n = {0xfc: 2, 0xfd: 3, 0xfe: 8}[first]
        return int.from_bytes(b[at + 1:at + 1 + n], "little"), at + 1 + n

    def fields(self, body):
        at, out = 0, []
        while at < len(body):
            n, at = self.number(body, at)
            out.append(None if n is None else body[at:at + n].decode("utf-8", "replace"))
            at += n or 0
        return tuple(out)

    def query(self, text):
        if not self.socket:
            self.login()
        self.send(b"\x03" + text.encode(), 0)
        head = self.packet()
        if head[0] == 0:
            self.columns = []
            return self.number(head, 1)[0], []
        n = self.number(head, 0)[0]
        self.columns = [self.fields(self.packet()[:-13])[4] for _ in range(n)]
        self.packet()
        rows = []
        while True:
            body = self.packet()
            if body[:1] == b"\xfe" and len(body) < 9:
                return 0, rows
            rows.append(self.fields(body))

    def rows(self, text):
        return self.query(text)[1]

    def exec(self, text):
        return self.query(text)[0]

    def one(self, text):
        """The only column of the only row; a whole number as int."""
        ((value,),) = self.rows(text)
        return int(value) if value is not None and value.lstrip("-").isdigit() else value

    def dicts(self, text):
        rows = self.rows(text)
        return [dict(zip(self.columns, row)) for row in rows]
