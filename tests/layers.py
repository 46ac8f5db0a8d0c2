#!/usr/bin/env python3
"""The directions of the house: who may include whom, and what each binary may link.  Exit status 1 with every
wrong arrow.

    tests/layers.py [build folder]"""
import os
import re
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PROGRAMS = ("producer", "worker", "reaper", "ctl")

# Header -> the only files that may include it.
ONLY = {
    r"hiredis/.*": ("shared/redis.c",),
    r"mysql\.h|mariadb/.*|mysql/.*": ("shared/store.c",),
    r"msgpack(\.h|/.*)": ("shared/job.c",),
    r"curl/.*": ("worker/http*.c", "worker/http_internal.h", "ctl/media_fetch.c"),
    r"microhttpd\.h": ("shared/http_server.c", "shared/http_post.c"),
    r"jansson\.h": ("producer/*.c", "worker/webhook_*.c", "worker/webhook_*.h", "worker/sender_*.c",
                    "worker/answer.*", "worker/provider*.*", "ctl/*.c", "shared/media.c", "shared/approved.c"),
    r"openssl/.*": ("ctl/receipts_sign.c", "ctl/media_store.c"),
    r"systemd/.*": ("shared/http_server.c", "shared/program.c"),
}
# Shared rooms from the lowest to the highest: a room includes none above it.
RANK = [
    {"err", "clock", "mem", "fault", "civil"},
    {"log", "conf", "conf_private", "conf_internal", "conf_file", "conf_print", "conf_value", "backoff", "metrics", "phone", "tz", "source", "receipt", "http_address"},
    {"job", "media", "media_data", "media_type", "approved", "render", "render_private", "render_parse", "render_facts", "render_words", "greeting", "stop_words", "compose", "csv", "script", "http_server", "http_post", "http_listen", "recur", "recur_private", "recur_parse", "recur_cron", "recur_notes"},
    {"redis", "store", "sql"},
    {"queue", "queue_private", "queue_push", "queue_deliver", "queue_keep", "queue_check", "queue_withdraw", "queue_media", "withdraw", "optout", "migrate", "device", "archive", "archive_private", "archive_move", "unknown_source"},
    {"program", "program_blocking", "rank"},
]
# No I/O and no clock of their own: what they include must not have any either.
PURE = r"(\w+_plan|pace|render(_\w+)?|greeting|stop_words|backoff|job|tz|phone|csv|civil|recur(_\w+)?|source|receipt|shared/media(_\w+)?|approved|http_address)\.[ch]$"
IMPURE = {"shared/redis.h", "shared/clock.h", "shared/log.h", "shared/http_server.h", "shared/http_post.h", "ev.h"}
# What a binary must not be linked with.
NOT_LINKED = {
    "paceline-worker": ("libmariadb", "libmysqlclient"),
    "paceline-producer": ("libcurl",),
    "paceline-reaper": ("libcurl", "libmsgpack"),
}


def sources():
    for folder in PROGRAMS + ("shared",):
        for name in sorted(os.listdir(os.path.join(ROOT, folder))):
            if name.endswith((".c", ".h")):
                yield f"{folder}/{name}"


def includes(path):
    with open(os.path.join(ROOT, path)) as f:
        for number, line in enumerate(f, 1):
            m = re.match(r'\s*#\s*include\s*[<"]([^>"]+)[>"]', line)
            if m:
                yield number, m.group(1)


def matches(path, patterns):
    return any(re.fullmatch(re.escape(p).replace(r"\*", "[^/]*"), path) for p in patterns)


def rank(path):
    if not path.startswith("shared/"):
        return None
    name = re.sub(r"\.[ch]$", "", path[len("shared/"):])
    return next((i for i, names in enumerate(RANK) if name in names), None)


def wrong_includes():
    for path in sources():
        folder = path.split("/")[0]
        if folder == "shared" and rank(path) is None:
            yield f"{path}: its place among the shared rooms is not known: name it in tests/layers.py"
        for number, header in includes(path):
            at = f"{path}:{number}: {header}"
            target = header.split("/")[0]
            if target in PROGRAMS and target != folder:
                yield f"{at}: {folder}/ may not include {target}/"
            if target in ("tests", "deploy"):
                yield f"{at}: no program includes {target}/"
            for pattern, allowed in ONLY.items():
                if re.fullmatch(pattern, header) and not matches(path, allowed):
                    yield f"{at}: only {', '.join(allowed)} may"
            if header == "ev.h" and folder == "shared" and path.endswith(".h") and "_private" not in path:
                yield f"{at}: a shared header names no type of libev but struct ev_loop *"
            mine, other = rank(path), rank(header)
            if mine is not None and other is not None and other > mine:
                yield f"{at}: an arrow upwards"
            if re.search(PURE, path) and header in IMPURE:
                yield f"{at}: this room does no I/O and asks no clock"


def wrong_links(build):
    folder = os.path.join(ROOT, build, "bin")
    for name, forbidden in NOT_LINKED.items():
        path = os.path.join(folder, name)
        if not os.path.exists(path):
            yield f"{path} is not built"
            continue
        linked = subprocess.run(["ldd", path], capture_output=True, text=True).stdout
        for library in forbidden:
            if library + "." in linked or library + "c." in linked:
                yield f"{name} is linked with {library}"


def main():
    build = sys.argv[1] if len(sys.argv) > 1 else os.environ.get("B", "build")
    problems = list(wrong_includes()) + list(wrong_links(build))
    for p in problems:
        print(p)
    checks = len(list(sources())) + len(NOT_LINKED)
    print(f"{checks - len(problems)} passed, {len(problems)} failed")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
