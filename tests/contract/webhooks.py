#!/usr/bin/env python3
"""Webhooks of the Cloud API as another reader of them sees them: the same signatures hold, and the same statuses are in
them.  make contract runs it.

    tests/contract/webhooks.py [name part ...]"""
import base64
import json
import os
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "integration"))
from contract import packages  # noqa: E402
import harness  # noqa: E402
from harness import Fleet, equal, main, test, true  # noqa: E402
from receipts import SECRET, Receipts, cloudapi, said, status, statuses  # noqa: E402

harness.TESTS.clear()  # those of contract.py are its own
BODIES = 150


def ask(cases):
    """The other reader's answers to (body, header) pairs."""
    lines = "\n".join(json.dumps({"body": base64.b64encode(b).decode(), "header": h, "secret": SECRET}) for b, h in cases)
    done = subprocess.run(["node", os.path.join(HERE, "webhook.cjs"), packages()], input=lines, capture_output=True, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def bodies(random):
    """As providers may write them: other spacing, escapes, emoji, and what is no JSON."""
    for n in range(BODIES):
        list_ = [status(f"wamid.{n}.{i}", random.choice(("sent", "delivered", "read", "failed")), at=random.randint(1600000000, 1900000000),
                        to=random.choice(("60123456789", None)), code=random.choice((None, 131049, 131026)),
                        note="\U0001f600 \u00fc \u2028 </script>" * random.randint(0, 3)) for i in range(random.randint(0, 5))]
        body = random.choice((statuses(*list_), cloudapi({"statuses": list_}, {"statuses": list_[:1]}), said("hello")))
        data = json.dumps(body, ensure_ascii=random.choice((True, False)), indent=random.choice((None, 2)),
                          separators=random.choice((None, (",", ":")))).encode()
        yield random.choice((data, data, data, data + b"\r\n", data[:-1]))


def headers(random, good):
    """Mostly right; what is not is wrong in a way of its own."""
    made = "sha256=" + good
    wrong = ("", good, "sha1=" + good, "sha256=", "sha256=" + good[:-1], "sha256=" + good[:-2], "sha256=" + good[:-1] + ("0" if good[-1] != "0" else "1"),
             "sha256=" + good[::-1])
    return random.choice((made, made, random.choice(wrong)))


@test(seconds=120)
def signatures_and_statuses_are_what_another_reader_finds():
    with Fleet(stub=False) as fleet:
        fleet.devices(1)
        server = Receipts(fleet)
        list_ = list(bodies(fleet.random))
        made = [a["made"] for a in ask([(b, "") for b in list_])]
        cases = [(b, headers(fleet.random, m)) for b, m in zip(list_, made)]
        good = bad = broken = 0
        want = {}
        for (body, header), theirs in zip(cases, ask(cases)):
            got, _, text = server.post("meta", body, line="X-Hub-Signature-256: " + header)
            if not theirs["good"]:
                equal(401, got, f"{header} of {body[:200]}: {text}")
                bad += 1
            elif theirs["statuses"] is None:
                equal(400, got, f"{body[:200]}: {text}")
                broken += 1
            else:
                equal(200, got, f"{body[:200]}: {text}")
                good += 1
                for id, word, phone, code, at in theirs["statuses"]:
                    want[id, word] = (phone, code if word == "failed" else "", time.strftime("%Y-%m-%d %H:%M:%S.000", time.gmtime(int(at))))
        rows = {(r["provider_message_id"], r["kind"]): (r["phone"], r["code"], r["happened_at"]) for r in server.rows()}
        equal(want, rows, "statuses")
        true(good > 20 and bad > 10 and broken > 2, f"{good} good, {bad} wrongly signed, {broken} broken")
        print(f"{good} taken with {len(rows)} statuses, {bad} wrongly signed, {broken} no JSON: both say the same")


if __name__ == "__main__":
    sys.exit(main())
