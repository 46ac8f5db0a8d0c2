"""The verdict: what the provider received, what MySQL says, what Redis still holds.

A line of a ledger is one request that a provider received, written before it was answered.  By its verdict
it is

    accepted   the provider took it and said so, or began to (ok, ok:late ..., and 1 of the null sender)
    open       it was received and nobody was told what came of it (dropped, garbage, 408, 5xx)
    refused    it was answered with a refusal that is known as such: sending it again is legitimate"""
import os
import re
import struct
from collections import Counter, defaultdict
from dataclasses import dataclass

from clients import RedisError

M64 = (1 << 64) - 1
P1, P2, P3, P4, P5 = (0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9,
                      0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5)


def xxh64(data, seed=0):
    """XXH64 as its specification has it."""
    def rotate(x, r):
        return ((x << r) | (x >> (64 - r))) & M64

    def step(acc, lane):
        return rotate((acc + lane * P2) & M64, 31) * P1 & M64

    at, n = 0, len(data)
    if n >= 32:
        acc = [(seed + P1 + P2) & M64, (seed + P2) & M64, seed, (seed - P1) & M64]
        while n - at >= 32:
            acc = [step(a, lane) for a, lane in zip(acc, struct.unpack_from("<4Q", data, at))]
            at += 32
        h = sum(rotate(a, r) for a, r in zip(acc, (1, 7, 12, 18))) & M64
        for a in acc:
            h = ((h ^ step(0, a)) * P1 + P4) & M64
    else:
        h = (seed + P5) & M64
    h = (h + n) & M64
    while n - at >= 8:
        h = (rotate(h ^ step(0, struct.unpack_from("<Q", data, at)[0]), 27) * P1 + P4) & M64
        at += 8
    if n - at >= 4:
        h = (rotate(h ^ (struct.unpack_from("<I", data, at)[0] * P1 & M64), 23) * P2 + P3) & M64
        at += 4
    for byte in data[at:]:
        h = rotate(h ^ (byte * P5 & M64), 11) * P1 & M64
    h = (h ^ (h >> 33)) * P2 & M64
    h = (h ^ (h >> 29)) * P3 & M64
    return h ^ (h >> 32)


def drawn_gap_ms(job, gap):
    """The gap that follows this job's permit, as the worker draws it."""
    low, high = gap
    return low + xxh64(job.encode(), 1) % (high - low + 1)


@dataclass
class Line:
    mono_us: int
    job: str
    attempt: int
    device: int
    verdict: str
    hash: str

    @property
    def kind(self):
        v = self.verdict
        if v == "1" or v == "ok" or v.startswith("ok:"):
            return "accepted"
        if v.startswith(("reject:", "status:3")) or v == "retry:429":
            return "refused"
        return "open"


def read_ledgers(paths):
    """Lines of all ledgers in the order of arrival."""
    lines = []
    for path in paths:
        if not os.path.exists(path):
            continue
        with open(path, "rb") as f:
            data = f.read()
        for text in data[:data.rfind(b"\n") + 1].decode("utf-8", "replace").split("\n")[:-1]:
            c = text.split("\t")
            if len(c) != 10:
                raise AssertionError(f"a bad line in {path}: {text!r}")
            lines.append(Line(int(c[1]), c[3], int(c[4]) if c[4].isdigit() else 0,
                              int(c[5]) if c[5].isdigit() else 0, c[9], c[7]))
    lines.sort(key=lambda l: l.mono_us)
    return lines


def redis_leftovers(redis, prefix="pl"):
    """What a drained Redis must not hold any more: {what: how much}."""
    left = Counter()
    keys = redis.call("KEYS", prefix + ":*")
    kinds = re.compile(re.escape(prefix) + r":\{p\d+\}:(?:d:\d+:(ids|jobs)|(leases|ready|results)|(d):\d+)$")
    asked, calls = [], []
    for key in keys:
        m = kinds.match(key)
        if not m:
            continue
        what = m.group(1) or m.group(2) or "in_flight"
        asked.append((what, key))
        calls.append({"ids": ("HLEN", key), "jobs": ("XLEN", key), "leases": ("ZCARD", key),
                      "ready": ("ZCARD", key), "results": ("XLEN", key),
                      "in_flight": ("HGET", key, "in_flight")}[what])
        if what == "results":
            asked.append(("results not acknowledged", key))
            calls.append(("XPENDING", key, "ledger"))
    for (what, key), answer in zip(asked, redis.client.pipeline(calls) if calls else ()):
        if isinstance(answer, RedisError):
            continue
        if isinstance(answer, list):
            answer = answer[0]
        left[what] += int(answer or 0)
    return +left


@dataclass
class Verdict:
    rows: Counter           # rows by status
    total: int
    ledger: Counter         # ledger lines by kind
    per_job: Counter        # how many jobs have so many requests that were not refused
    unknowns: int           # outcomes that were open, as the rows count them
    duplicates: int
    lost: int
    problems: list


def audience(fleet):
    """Campaign -> how many rows it must have at least and at most, once expanded: its leads without those that had
    opted out, where who opts out while it expands may be among them."""
    return {c: (int(least), int(most)) for c, least, most in fleet.sql.rows(
        "SELECT c.id, SUM(o.id IS NULL OR o.created_at > c.expanded_at), SUM(o.id IS NULL OR o.created_at >= c.started_at)"
        " FROM campaigns c JOIN campaign_devices cd ON cd.campaign_id = c.id"
        " JOIN leads l ON l.device_id = cd.device_id AND l.user_id = c.user_id AND l.id <= c.audience_max_lead"
        " LEFT JOIN opt_outs o ON o.user_id = c.user_id AND o.phone = l.phone"
        " WHERE c.expanded_at IS NOT NULL AND (c.niche = '' OR c.niche = l.niche)"
        " AND (c.target_status = '' OR c.target_status = l.target_status) GROUP BY c.id")}


def check_sources(fleet, problems):
    """Every contact has the rows that it was enrolled with, every run those that its log counts."""
    wrong = fleet.sql.rows(
        "SELECT n.sequence_id, n.device_id, n.rotation, n.total, COUNT(m.id) FROM sequence_contacts n LEFT JOIN"
        " broadcast_messages m ON m.recipient_phone = n.recipient_phone AND m.sequence_id = n.sequence_id AND"
        " m.device_id = n.device_id AND m.rotation = n.rotation GROUP BY n.id HAVING COUNT(m.id) <> n.total")
    problems += [f"a contact of sequence {s} on device {d} (rotation {r}) has {have} rows for {want} steps"
                 for s, d, r, want, have in wrong]
    wrong = fleet.sql.rows(
        "SELECT g.recurring_id, g.occurrence_at, g.total, COUNT(m.id) FROM recurring_message_logs g LEFT JOIN"
        " broadcast_messages m ON m.recurring_id = g.recurring_id AND m.occurrence_at = g.occurrence_at"
        " WHERE g.status <> 'expanding' GROUP BY g.id HAVING COUNT(m.id) <> g.total")
    problems += [f"rule {r}'s run of {at} has {have} rows, and counts {want}" for r, at, want, have in wrong]


def overlaps(lines, lateness_us):
    """Pairs of one device's requests that were under way together although the first was answered late."""
    bad, last = [], {}
    for l in lines:
        before = last.get(l.device)
        if before and before.verdict == "ok:late" and l.mono_us - before.mono_us < lateness_us:
            bad.append((before, l))
        last[l.device] = l
    return bad


def gap_errors_ms(lines, gap_of):
    """Ledger gap minus drawn gap for each pair of neighbours of a device, worst first."""
    errors, last = [], {}
    for l in lines:
        before = last.get(l.device)
        if before:
            drawn = drawn_gap_ms(before.job, gap_of(before.device))
            errors.append(((l.mono_us - before.mono_us) / 1000 - drawn, before.job, l.job))
        last[l.device] = l
    errors.sort()
    return errors


def judge(rows, lines, problems):
    """Rows against the ledger."""
    by_job = defaultdict(list)
    for l in lines:
        by_job[l.job].append(l)
    duplicates = lost = 0
    known = {r["job_id"] for r in rows}
    for job in by_job.keys() - known:
        problems.append(f"{job} was received by the provider, but has no row")
        lost += 1
    for r in rows:
        job, status, unknowns = r["job_id"], r["status"], int(r["unknowns"])
        mine = by_job.get(job, ())
        kinds = Counter(l.kind for l in mine)
        maybe = kinds["accepted"] + kinds["open"]
        said = f"{job} is {status} (gen {r['gen']}, attempt {r['attempt']}, unknowns {unknowns}, {r['error_class']}), " \
               f"the provider received {[l.verdict for l in mine]}"
        allowed = 1 + (unknowns if r["on_unknown"] == "resend" else 0)
        if maybe > allowed:
            duplicates += 1
            problems.append("twice: " + said)
        if status == "sent" and not kinds["accepted"] and not (r["on_unknown"] == "assume_sent" and unknowns):
            lost += 1
            problems.append("never sent: " + said)
        if kinds["accepted"] and status not in ("sent", "unknown"):
            problems.append("sent, but not recorded: " + said)
        if kinds["open"] and status not in ("unknown",) and not unknowns:
            problems.append("an open outcome was not recorded: " + said)
        if status == "unknown" and not unknowns:
            problems.append("unknown is not counted: " + said)
    return by_job, duplicates, lost


def check_order(rows, by_job, problems):
    """Messages that were claimed once and sent once leave a device in the order of their rows."""
    at = {}
    for r in rows:
        mine = by_job.get(r["job_id"], ())
        if r["status"] == "sent" and r["gen"] == "1" and r["unknowns"] == "0" and r["deferrals"] == "0" and len(mine) == 1:
            at.setdefault((r["campaign_id"], r["device_id"]), []).append((int(r["id"]), mine[0].mono_us, r["job_id"]))
    for (campaign, device), sent in at.items():
        sent.sort()
        for (_, t1, j1), (_, t2, j2) in zip(sent, sent[1:]):
            if t2 < t1:
                problems.append(f"order: device {device} sent {j2} {(t1 - t2) / 1000:.0f} ms before {j1}")
                break


def check(fleet, order=True, drained=True, late_ms=None, gaps=None, complete=True, throw=True):
    """Compares the three witnesses.  Raises with every disagreement (the first 20 are shown).

    order     messages of one campaign and device that did not retry left in the order of their rows
    drained   nothing is under way any more, neither in MySQL nor in Redis
    late_ms   how long the provider takes for a request with the verdict ok:late: no other one of its device
              may arrive meanwhile
    gaps      requests of a device keep the drawn gaps, less so many ms for the way from permit to ledger
    Order, lateness and gaps are those of devices with max_in_flight 1."""
    problems = []
    rows = fleet.sql.dicts(
        "SELECT m.id, m.job_id, m.campaign_id, m.device_id, m.status, m.gen, m.attempt, m.deferrals, m.unknowns,"
        " COALESCE(m.error_class, '') error_class, COALESCE(c.on_unknown, s.on_unknown, r.on_unknown, 'hold') on_unknown"
        " FROM broadcast_messages m LEFT JOIN campaigns c ON c.id = m.campaign_id"
        " LEFT JOIN sequences s ON s.id = m.sequence_id LEFT JOIN recurring_messages r ON r.id = m.recurring_id")
    lines = fleet.ledger()
    by_job, duplicates, lost = judge(rows, lines, problems)
    statuses = Counter(r["status"] for r in rows)
    if complete:
        have = Counter(r["campaign_id"] for r in rows)
        for campaign, (least, most) in audience(fleet).items():
            if not least <= have[campaign] <= most:
                lost += max(0, least - have[campaign])
                problems.append(f"campaign {campaign} has {have[campaign]} rows for {least} to {most} leads")
        check_sources(fleet, problems)
    if drained:
        for status in ("pending", "processing", "queued"):
            if statuses[status]:
                problems.append(f"{statuses[status]} rows are still {status}")
        left = redis_leftovers(fleet.redis)
        if left:
            problems.append(f"Redis still holds {dict(left)}")
    pace = {int(d): (int(a), int(b)) for d, a, b in
            fleet.sql.rows("SELECT id, min_gap_ms, max_gap_ms FROM devices WHERE max_in_flight = 1")}
    serial = [l for l in lines if l.device in pace]
    if order and not os.environ.get("T_NO_ORDER"):
        check_order([r for r in rows if int(r["device_id"]) in pace and r["campaign_id"]], by_job, problems)
    if late_ms:
        # A request whose worker died is nobody's any more, however long the provider ponders it.
        abandoned = {r["job_id"] for r in rows if int(r["unknowns"])}
        for a, b in overlaps(serial, late_ms * 900):
            if a.job in abandoned:
                continue
            problems.append(f"device {a.device}: {b.job} began {(b.mono_us - a.mono_us) / 1000:.0f} ms after {a.job},"
                            f" which took {late_ms} ms")
    if gaps is not None:
        for error, a, b in gap_errors_ms(serial, pace.__getitem__):
            if error < -gaps:
                problems.append(f"pace: {b} came {-error:.1f} ms too early after {a}")
    verdict = Verdict(statuses, len(rows), Counter(l.kind for l in lines),
                      Counter(sum(l.kind != "refused" for l in by_job.get(r["job_id"], ())) for r in rows),
                      sum(int(r["unknowns"]) for r in rows), duplicates, lost, problems)
    if problems and throw:
        raise AssertionError(f"{len(problems)} problems:\n  " + "\n  ".join(problems[:20]))
    return verdict
