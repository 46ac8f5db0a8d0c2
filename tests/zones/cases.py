"""Generated cases for the agreement of recurrence rules: which zones, which changes of their clocks, and rules that
are due near them or anywhere.  A case knows its rule in the words of every implementation."""
import copy
import datetime
import functools
import random
import zoneinfo

ZONES = ("America/New_York", "Europe/London", "Australia/Lord_Howe", "Asia/Kuala_Lumpur", "Pacific/Apia",
         "Africa/Casablanca", "America/Sao_Paulo", "Asia/Kathmandu", "Europe/Dublin", "America/St_Johns",
         "Asia/Tehran", "Antarctica/Troll", "America/Caracas", "Pacific/Kwajalein", "Asia/Gaza", "UTC")
YEARS = (1975, 2036)
DAY = datetime.timedelta(days=1)
NAMES = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")


@functools.cache
def zone_of(name):
    return zoneinfo.ZoneInfo(name)


def offset_at(name, s):
    """Seconds east; Python's own reader of the zone's file."""
    return int(datetime.datetime.fromtimestamp(s, zone_of(name)).utcoffset().total_seconds())


def instant(name, day, second=0):
    """When a wall clock shows it, the first time; one that is left out by the offset before the gap."""
    moment = datetime.datetime.combine(day, datetime.time()) + datetime.timedelta(seconds=second)
    return int(moment.replace(tzinfo=zone_of(name)).timestamp())


def local_of(name, s):
    return datetime.datetime.fromtimestamp(s, zone_of(name)).replace(tzinfo=None)


@functools.cache
def changes(name):
    """[(instant, offset before, offset after)] of YEARS, found by halving."""
    found, step = [], 5 * 86400
    first = int(datetime.datetime(YEARS[0], 1, 1, tzinfo=datetime.timezone.utc).timestamp())
    last = int(datetime.datetime(YEARS[1] + 2, 1, 1, tzinfo=datetime.timezone.utc).timestamp())
    for s in range(first, last, step):
        before, after = offset_at(name, s), offset_at(name, s + step)
        if before == after:
            continue
        low, high = s, s + step
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if offset_at(name, middle) == before else (low, middle)
        found.append((high, before, after))
    return tuple(found)


class Case:
    """hours, minutes: each of the ones with each of the others.  days: of the month, negative from its end."""

    def __init__(self, zone, start):
        self.zone, self.start = zone, start
        self.freq, self.every, self.count = "daily", 1, 5
        self.weekdays, self.days, self.hours, self.minutes = [], [], [0], [0]
        self.months, self.fields = range(1, 13), None
        self.clamp, self.shift = True, True

    @property
    def either(self):
        return self.fields and self.fields[2][0] != "*" and self.fields[4][0] != "*"

    @property
    def clock(self):
        """Follows the clock: a cron of every hour."""
        return self.freq == "cron" and len(self.hours) == 24

    @functools.cached_property
    def after(self):
        return instant(self.zone, self.start) - 1

    def numbered(self, day):
        """Whether the days of the month name this one."""
        length = ((day.replace(day=1) + 31 * DAY).replace(day=1) - DAY).day
        named = set()
        for d in self.days:
            there = abs(d) <= length
            if there or self.clamp:
                named.add(length + 1 + d if there and d < 0 else d if there else length if d > 0 else 1)
        return day.day in named

    def names(self, day):
        if day < self.start:
            return False
        weekday = (day.weekday() + 1) % 7
        if self.freq == "daily":
            return (day - self.start).days % self.every == 0
        if self.freq == "weekly":
            monday = self.start - self.start.weekday() * DAY
            return weekday in self.weekdays and (day - monday).days // 7 % self.every == 0
        if self.freq == "monthly":
            months = (day.year - self.start.year) * 12 + day.month - self.start.month
            return months % self.every == 0 and self.numbered(day)
        fits = weekday in self.weekdays, day.day in self.days
        return day.month in self.months and (any(fits) if self.either else all(fits))

    def ours(self):
        """The line that tests/zones/due.c reads."""
        cron, interval = self.freq == "cron", self.freq == "interval"
        at = ",".join(f"{h:02}:{m:02}" for h in self.hours for m in self.minutes)
        return "\t".join((self.freq, str(self.every),
                          ",".join(NAMES[d] for d in self.weekdays) if self.freq == "weekly" else "",
                          ",".join(map(str, self.days)) if self.freq == "monthly" else "",
                          "" if cron or interval else at, " ".join(self.fields) if cron else "", self.zone,
                          str(self.start), "clamp" if self.clamp else "skip", "shift" if self.shift else "skip",
                          str(self.after), str(self.count)))

    def cron(self):
        """The rule in five fields, or None.  Cron knows no every, no last day and no skipping of a gap."""
        if not self.shift or self.freq == "interval" or self.every > 1 or any(d < 0 for d in self.days):
            return None
        if self.freq == "cron":
            return " ".join(self.fields)
        return " ".join((",".join(map(str, self.minutes)), ",".join(map(str, self.hours)),
                         ",".join(map(str, self.days)) or "*", "*", ",".join(map(str, self.weekdays)) or "*"))

    def rrule(self):
        """(DTSTART's date, RRULE), or None.  SKIP is heeded only where BYMONTHDAY is not written: the day is then
        that of DTSTART."""
        if self.freq in ("cron", "interval"):
            return None
        rule = f"FREQ={self.freq.upper()};INTERVAL={self.every};COUNT={self.count}"
        if self.freq == "weekly":
            rule += ";BYDAY=" + ",".join(NAMES[d][:2].upper() for d in self.weekdays)
        if self.freq == "monthly" and self.clamp and any(abs(d) > 28 for d in self.days):
            if self.days != [self.start.day]:
                return None
            rule += ";RSCALE=GREGORIAN;SKIP=BACKWARD"
        elif self.freq == "monthly":
            rule += ";BYMONTHDAY=" + ",".join(map(str, self.days))
        return (self.start.strftime("%Y%m%dT000000"),
                f"{rule};BYHOUR={','.join(map(str, self.hours))};BYMINUTE={','.join(map(str, self.minutes))}")

    def calendar(self):
        """An OnCalendar expression of systemd, or None."""
        if self.freq == "interval" or self.every > 1 or self.clock or self.either:
            return None
        if self.freq == "cron" and any("/" in f for f in self.fields):
            return None
        weekdays = ",".join(NAMES[d].capitalize() for d in self.weekdays) + " " if len(self.weekdays) % 7 else ""
        days = [] if len(self.days) == 31 else self.days
        if len(days) > 1 and min(days) < 0:
            return None
        day = f"~{-days[0]:02}" if days and days[0] < 0 else "-" + (",".join(f"{d:02}" for d in days) or "*")
        months = "*" if len(self.months) == 12 else ",".join(f"{m:02}" for m in self.months)
        numbers = [",".join(f"{n:02}" for n in field) for field in (self.hours, self.minutes)]
        return f"{weekdays}*-{months}{day} {numbers[0]}:{numbers[1]}:00 {self.zone}"

    def starless(self):
        """The same with steps written as ranges, so that a day with a step counts as restricted; None where nothing
        would change."""
        if self.freq != "cron" or not any(self.fields[i].startswith("*/") for i in (2, 4)):
            return None
        other = copy.copy(self)
        other.fields = list(self.fields)
        for i, whole in ((2, "1-31"), (4, "0-6")):
            other.fields[i] = whole + self.fields[i][1:] if self.fields[i].startswith("*/") else self.fields[i]
        return other

    def __str__(self):
        return " ".join(self.ours().split())


def some(choose, among, most):
    return sorted(choose.sample(among, choose.randint(1, most)))


def field(choose, low, high, near, stars):
    """(text, numbers) of a field of cron; near is likely to be one of them."""
    if choose.random() < stars:
        step = choose.choice((1, 1, 1, 2, 3, 5))
        return ("*" if step == 1 else f"*/{step}"), list(range(low, high + 1, step))
    start = near if choose.random() < 0.7 else choose.randint(low, high)
    if choose.random() < 0.3:
        end = choose.randint(start, high)
        return f"{start}-{end}", list(range(start, end + 1))
    numbers = sorted({start} | set(some(choose, range(low, high + 1), 2)[1:]))
    return ",".join(map(str, numbers)), numbers


def cron_fields(choose, case, day, hour):
    minutes = some(choose, range(0, 60, 5), 3)
    weekday = (day.weekday() + 1) % 7
    case.minutes = minutes
    made = [field(choose, 0, 23, hour, 0.3), field(choose, 1, 31, day.day, 0.6),
            field(choose, 1, 12, day.month, 0.95), field(choose, 0, 6, weekday, 0.6)]
    case.fields = [",".join(map(str, minutes))] + [text for text, _ in made]
    case.hours, case.days, case.months, case.weekdays = (numbers for _, numbers in made)


def make(choose):
    zone = choose.choice(ZONES)
    if changes(zone) and choose.random() < 0.75:
        s, before, after = choose.choice(changes(zone))
        low, high = sorted((before, after))
        shown = datetime.datetime.fromtimestamp(s + choose.randint(low - 1800, high + 1800), datetime.timezone.utc)
        day, hour = shown.date(), shown.hour
    else:
        day = datetime.date(choose.randint(*YEARS), 1, 1) + choose.randint(0, 364) * DAY
        hour = choose.randint(0, 23)
    case = Case(zone, day - choose.choice((0, 1, 1, 2)) * DAY)
    case.freq = choose.choice(("daily", "daily", "weekly", "monthly", "monthly", "cron", "cron", "cron", "interval"))
    case.every = choose.choice((1, 1, 1, 2, 3))
    case.clamp, case.shift = choose.random() < 0.5, choose.random() < 0.75
    case.hours = sorted({hour, choose.choice((hour, choose.randint(0, 23)))})
    case.minutes = some(choose, range(0, 60, 5), 2)
    if case.freq == "weekly":
        case.weekdays = sorted({(day.weekday() + 1) % 7, choose.randint(0, 6)})
    elif case.freq == "monthly":
        case.days = choose.choice(([day.day], [day.day], [31], [-1], [case.start.day], [30, 31], [1, -2], [29]))
    elif case.freq == "cron":
        case.every = 1
        cron_fields(choose, case, day, hour)
    elif case.freq == "interval":
        case.every = choose.choice((900, 3600, 7200, 43200, 86400, 172800, choose.randint(1, 10 ** 6)))
    return case


def starts_plainly(case):
    """A start that its zone's clock shows, and but once: where others disagree about DTSTART, it is not about rules."""
    local = datetime.datetime.combine(case.start, datetime.time())
    s = instant(case.zone, case.start)
    return local_of(case.zone, s) == local and not any(t <= s < t + max(0, b - a) or t - max(0, b - a) <= s < t
                                                       for t, b, a in changes(case.zone))


def generate(seed, count):
    choose, cases = random.Random(seed), []
    while len(cases) < count:
        case = make(choose)
        if starts_plainly(case):
            cases.append(case)
    return cases
