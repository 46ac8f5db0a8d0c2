"""Where implementations disagree, and why: each differing instant is explained by one of the reasons below, by the
rule and by the clock of its zone, or it is a failure.  docs/recurrence.md tells them to people."""
import datetime

from cases import DAY, changes, local_of, offset_at, zone_of

# Implementation -> {reason: what it does}.  What is not listed here fails.
KNOWN = {
    "python zoneinfo": {},
    "cron-parser": {
        "gap skipped": "does not run at a time that is left out, where the gap ends the day after",
        "lost day": "does not run on a day that ends in a gap, when it is asked on that day",
        "second pass": "takes the second of two passes of the hour behind midnight",
        "odd change": "skips, repeats, shifts by an hour or gives up on the day of a change that is not by one hour "
                      "at a full hour",
        "month end": "skips a month without the day",
        "star step": "takes */2 for a restricted day, so that either the day of month or of week decides",
    },
    "croner": {
        "gap end": "moves a time that is left out to the end of the gap, where the rule has one hour and minute",
        "gap skipped": "does not run at a time that is left out, where it has several or the gap ends the day after",
        "both passes": "runs in both passes of an overlap, where it has several",
        "month end": "skips a month without the day",
        "star step": "takes */2 for a restricted day, so that either the day of month or of week decides",
    },
    "rrule-temporal": {
        "gap skipped": "does not run at a time that is left out",
        "short stretch": "does not see an offset that is in force for less than two months",
    },
    "systemd": {
        "gap skipped": "does not run at a time that is left out",
        "second pass": "takes the second of two passes of the hour before midnight",
        "torn hour": "does not run in the rest of an hour of which a part is left out",
        "rest of day": "does not run on the day of a gap after which no daylight saving is in force, as in Dublin",
        "gives up": "finds no time at all when a time is left out just behind midnight",
        "month end": "skips a month without the day",
    },
}
SHORT = 62 * 86400


def single(case):
    return len(case.hours) == 1 and len(case.minutes) == 1


def over_midnight(case, gap):
    """Whether a time that the gap leaves out is of another date than the gap's end."""
    last = at(gap[0] + gap[2])
    return any(named(case, at(s)) and at(s).date() != last.date()
               for s in range(gap[0] + gap[1], gap[0] + gap[2], 60))


def always(case, change):
    return True


# Where a reason holds at all: the implementation and its reason -> (the case, the change of the clock).
WHERE = {
    ("croner", "gap end"): lambda case, gap: single(case),
    ("croner", "gap skipped"): lambda case, gap: not single(case) or over_midnight(case, gap),
    ("cron-parser", "second pass"): lambda case, overlap: at(overlap[0] + overlap[2]).hour == 0,
    ("systemd", "second pass"): lambda case, overlap: at(overlap[0] + overlap[2]).hour == 23,
    ("cron-parser", "gap skipped"): over_midnight,
    ("croner", "both passes"): lambda case, overlap: not single(case),
}


def gap_around(case, s):
    """The change (instant, before, after) that leaves out a time which is then shifted to s, or ends at s."""
    return next((c for c in changes(case.zone) if c[0] <= s < c[0] + max(0, c[2] - c[1])), None)


def overlap_around(case, s):
    """The change in whose second pass s lies."""
    return next((c for c in changes(case.zone) if c[0] <= s < c[0] + max(0, c[1] - c[2])), None)


def overlap_ahead(case, s):
    """The change in whose first pass s lies."""
    return next((c for c in changes(case.zone) if c[0] - max(0, c[1] - c[2]) <= s < c[0]), None)


def at(second):
    return datetime.datetime.fromtimestamp(second, datetime.timezone.utc).replace(tzinfo=None)


def named(case, local):
    return (case.names(local.date()) and local.second == 0 and local.hour in case.hours and
            local.minute in case.minutes)


def shifted(case, s):
    """Whether s stands in for a time of the rule that its clock leaves out."""
    gap = gap_around(case, s)
    return gap and named(case, at(s + gap[1]))


def left_out(case, change):
    """Whether a gap holds a time of the rule."""
    return any(named(case, at(s)) for s in range(change[0] + change[1], change[0] + change[2], 60))


def clamped(case, s):
    """Whether s is due only because the month is too short for its day."""
    if case.freq != "monthly" or not case.clamp:
        return False
    gap = gap_around(case, s)
    days = [local_of(case.zone, s).date()] + ([at(s + gap[1]).date()] if gap else [])
    return any(day.day not in case.days and (day + DAY).day == 1 and any(d > day.day for d in case.days)
               for day in days)


def in_short_stretch(case, s, now):
    """Whether s is a time of the rule under the offset that is in force for a short while (now), or under the one
    around it, taken for it."""
    found = changes(case.zone)
    for i, (since, around, offset) in enumerate(found[:-1]):
        until = found[i + 1][0]
        if until - since < SHORT and since - 86400 < s < until + 86400 and named(
                case, at(s + (offset_at(case.zone, s) if now else around))):
            return True
    return False


def torn(case, s):
    """Whether a part of the hour in which s lies is left out."""
    local = s + offset_at(case.zone, s)
    top = local - local % 3600
    return any(max(top, c[0] + c[1]) < min(top + 3600, c[0] + c[2]) for c in changes(case.zone))


def lost_day(case, s):
    """Whether the clock leaves out the end of the day of s, which is the day of the start."""
    day = local_of(case.zone, s).date()
    return day == case.start and any(
        at(c[0] + c[1]).date() == day and at(c[0] + c[2]).date() > day for c in changes(case.zone))


def day_of_plain_gap(case, s):
    """Whether the clock is put forward on the day of s, and it is not daylight saving that begins."""
    day = local_of(case.zone, s).date()
    return any(c[2] > c[1] and day in (at(c[0] + c[1]).date(), at(c[0] + c[2]).date()) and
               not datetime.datetime.fromtimestamp(c[0], zone_of(case.zone)).dst() for c in changes(case.zone))


def odd(change):
    return abs(change[2] - change[1]) != 3600 or (change[0] + change[1]) % 3600 != 0


def by_odd_change(case, s):
    return any(odd(c) and abs(s - c[0]) < 36 * 3600 for c in changes(case.zone))


def why_ours(case, s, ours, theirs):
    """Why s may be due to us and not to them."""
    if clamped(case, s):
        yield "month end"
    if shifted(case, s) and not case.clock:
        gap = gap_around(case, s)
        if gap[0] in theirs:
            yield "gap end"
        if gap[0] not in theirs or gap[0] in ours:
            yield "gap skipped"
    if torn(case, s):
        yield "torn hour"
    if day_of_plain_gap(case, s):
        yield "rest of day"
    if in_short_stretch(case, s, now=True):
        yield "short stretch"
    first = overlap_ahead(case, s)
    if first and s + first[1] - first[2] in theirs:
        yield "second pass"
    if lost_day(case, s):
        yield "lost day"
    if by_odd_change(case, s):
        yield "odd change"


def why_theirs(case, s, ours):
    """Why s may be due to them and not to us."""
    gap, overlap = gap_around(case, s), overlap_around(case, s)
    if gap and gap[0] == s and left_out(case, gap):
        yield "gap end"
    if overlap and not case.clock and named(case, at(s + offset_at(case.zone, s))):
        yield "both passes"
        if s - overlap[1] + overlap[2] in ours:
            yield "second pass"
    if in_short_stretch(case, s, now=False):
        yield "short stretch"
    if by_odd_change(case, s):
        yield "odd change"


def why_none(name, case, ours, text):
    """Why it ends with an error and we do not."""
    met = [c for c in changes(case.zone) if case.after < c[0] <= (ours or [case.after])[-1] + 86400]
    if name == "systemd" and "Resource deadlock" in text and any(left_out(case, c) for c in met):
        return "gives up"
    if name == "cron-parser" and "loop limit" in text and any(odd(c) for c in met):
        return "odd change"
    return None


def differences(name, case, ours, theirs, horizon):
    """[(reason or None, instant, "ours" or "theirs")] up to where both lists tell all."""
    if isinstance(theirs, str):
        return [(why_none(name, case, ours, theirs), None, theirs)]
    for answer in (ours, theirs):
        if len(answer) >= case.count:
            horizon = min(horizon, answer[-1])
    seen = [{s for s in answer if s <= horizon} for answer in (ours, theirs)]

    def known(reasons, s):
        change = gap_around(case, s) or overlap_around(case, s) or overlap_ahead(case, s)
        return next((r for r in reasons if r in KNOWN[name] and WHERE.get((name, r), always)(case, change)), None)
    return ([(known(why_ours(case, s, ours, theirs), s), s, "ours") for s in sorted(seen[0] - seen[1])] +
            [(known(why_theirs(case, s, ours), s), s, "theirs") for s in sorted(seen[1] - seen[0])])
