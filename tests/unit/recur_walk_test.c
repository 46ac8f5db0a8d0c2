/* Random rules against a plain enumeration: every day is looked at by the C library's calendar,
 * every time of it is looked up, and all are sorted. */
#include "shared/tz.h"
#include "tests/unit/recur_case.h"

enum { DAY = 86400, SPAN = 40, TIMES = 1440, MAX = SPAN * TIMES };

struct rule {
    char freq[16], cron[512], weekday_list[64], day_list[128], at_list[128], start[32];
    int every;
    bool minutes[60], hours[24], days[32], months[13], weekdays[7], back[32], either, clock;
    int times[8], n_times;
    bool clamp, shift;
    int64_t start_local;
    struct tz *zone;
};

static int
below(int n)
{
    return (int)(t_random() % (uint64_t)n);
}

static struct tm
date_of(int64_t local)
{
    time_t t = local;
    struct tm tm;
    CHECK(gmtime_r(&t, &tm) != NULL);
    return tm;
}

static int
month_length(int64_t local)
{
    struct tm tm = date_of(local);
    tm.tm_mday = 0;
    tm.tm_mon++;
    (void)timegm(&tm);
    return tm.tm_mday;
}

static bool
fits_month_days(const struct rule *r, int day, int length)
{
    for (int i = 1; i <= 31; i++) {
        int from_first = i <= length ? i : r->clamp ? length : 0;
        int from_last = i <= length ? length + 1 - i : r->clamp ? 1 : 0;
        if ((r->days[i] && day == from_first) || (r->back[i] && day == from_last)) {
            return true;
        }
    }
    return false;
}

/* Whether the rule names the day that begins at local. */
static bool
fits_day(const struct rule *r, int64_t local)
{
    struct tm d = date_of(local), start = date_of(r->start_local);
    int64_t start_day = r->start_local - r->start_local % DAY;
    if (r->freq[0] == 'd') {
        return local >= start_day && (local - start_day) / DAY % r->every == 0;
    }
    if (r->freq[0] == 'w') {
        int64_t monday = start_day - (start.tm_wday + 6) % 7 * (int64_t)DAY;
        return local >= monday && (local - monday) / DAY / 7 % r->every == 0 &&
               r->weekdays[d.tm_wday];
    }
    if (r->freq[0] == 'm') {
        int months = (d.tm_year - start.tm_year) * 12 + d.tm_mon - start.tm_mon;
        return months >= 0 && months % r->every == 0 &&
               fits_month_days(r, d.tm_mday, month_length(local));
    }
    bool day = r->days[d.tm_mday], weekday = r->weekdays[d.tm_wday];
    return r->months[d.tm_mon + 1] && (r->either ? day || weekday : day && weekday);
}

static bool
fits_time(const struct rule *r, int s)
{
    bool fits = r->freq[0] == 'c' && s % 60 == 0 && r->hours[s / 3600] && r->minutes[s / 60 % 60];
    for (int i = 0; i < r->n_times; i++) {
        fits = fits || r->times[i] == s;
    }
    return fits;
}

/* --- random rules
 * ------------------------------------------------------------------------------------------ */

/* A list of some of [from, to], "*" now and then; the first character of the text tells. */
static void
random_field(struct buf *out, bool *set, int from, int to, int stars)
{
    memset(set, 0, (size_t)(to + 1));
    if (below(100) < stars) {
        int step = below(3) ? 1 : 1 + below(to - from < 6 ? to - from : 6);
        buf_addf(out, step > 1 ? "*/%d " : "* ", step);
        for (int i = from; i <= to; i += step) {
            set[i] = true;
        }
        return;
    }
    for (int n = 1 + below(3); n > 0; n--) {
        int low = from + below(to - from + 1), high = low + below(to - low + 1);
        high = below(2) ? low : high;
        buf_addf(out, high > low ? "%d-%d%s" : "%d%.0d%s", low, high > low ? high : 0,
                 n > 1 ? "," : " ");
        for (int i = low; i <= high; i++) {
            set[i] = true;
        }
    }
}

static void
random_cron(struct rule *r)
{
    struct buf out = {0};
    random_field(&out, r->minutes, 0, 59, 20);
    random_field(&out, r->hours, 0, 23, 40);
    size_t day = out.len;
    random_field(&out, r->days, 1, 31, 60);
    random_field(&out, r->months, 1, 12, 90);
    size_t weekday = out.len;
    random_field(&out, r->weekdays, 0, 6, 60);
    r->either = out.data[day] != '*' && out.data[weekday] != '*';
    r->clock = memchr(r->hours, 0, 24) == NULL;
    (void)snprintf(r->cron, sizeof r->cron, "%s", out.data);
    buf_done(&out);
}

static void
random_days(struct rule *r)
{
    static const char *const names[] = {"sun", "mon", "tue", "wed", "thu", "fri", "sat"};
    for (int n = 1 + below(3); n > 0; n--) {
        int weekday = below(7), day = 1 + below(31), back = 1 + below(31);
        r->weekdays[weekday] = r->days[day] = r->back[back] = true;
        (void)snprintf(r->weekday_list + strlen(r->weekday_list), 8, "%s%s", names[weekday],
                       n > 1 ? "," : "");
        (void)snprintf(r->day_list + strlen(r->day_list), 16, "%d,-%d%s", day, back,
                       n > 1 ? "," : "");
    }
}

static void
random_times(struct rule *r)
{
    for (r->n_times = 0; r->n_times < 1 + below(6); r->n_times++) {
        int minute = below(4) ? below(4 * 60) : below(24 * 60); /* where clocks are changed */
        r->times[r->n_times] = minute * 60;
        (void)snprintf(r->at_list + strlen(r->at_list), 8, "%s%02d:%02d", r->n_times ? "," : "",
                       minute / 60, minute % 60);
    }
}

static struct recur *
random_rule(struct rule *r, const char *zone, int64_t near)
{
    static const char *const freqs[] = {"daily", "weekly", "monthly", "cron"};
    struct tz *z = r->zone;
    *r = (struct rule){.zone = z, .every = 1 + below(3), .clamp = below(2), .shift = below(2)};
    (void)snprintf(r->freq, sizeof r->freq, "%s", freqs[below(4)]);
    r->start_local = (near - below(30 * DAY)) / 60 * 60;
    struct tm tm = date_of(r->start_local);
    CHECK(strftime(r->start, sizeof r->start, "%F %H:%M", &tm));
    random_cron(r);
    bool cron = r->freq[0] == 'c', weekly = r->freq[0] == 'w', monthly = r->freq[0] == 'm';
    r->clock = r->clock && cron;
    if (!cron) {
        memset(r->weekdays, 0, sizeof r->weekdays);
        memset(r->days, 0, sizeof r->days);
        random_days(r);
        random_times(r);
    }
    struct recur *rule = NULL;
    struct recur_text t = {.freq = r->freq,
                           .every = cron ? 1 : r->every,
                           .weekdays = weekly ? r->weekday_list : "",
                           .month_days = monthly ? r->day_list : "",
                           .at = cron ? "" : r->at_list,
                           .cron = cron ? r->cron : "",
                           .zone = zone,
                           .start = r->start,
                           .month_policy = r->clamp ? "" : "skip",
                           .gap_policy = r->shift ? "shift" : "skip"};
    struct err e;
    if (!recur_parse(&t, &rule, &e) && !strstr(e.text, "never fires")) {
        t_fail(__FILE__, __LINE__, "%s %s %s: %s", r->freq, r->cron, r->at_list, e.text);
    }
    return rule;
}

/* --- the plain enumeration
 * --------------------------------------------------------------------------------- */

static int
ascending(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* All occurrences that are named on the days from `from` on. */
static size_t
enumerate(const struct rule *r, int64_t from, int64_t *out)
{
    size_t n = 0, kept = 0;
    for (int64_t day = from; day < from + (int64_t)SPAN * DAY; day += DAY) {
        for (int s = 0; fits_day(r, day) && s < DAY; s += 60) {
            int64_t local = day + s, utc = tz_local_to_utc(r->zone, local);
            bool shown = utc + tz_offset_at(r->zone, utc) == local;
            if (local >= r->start_local && (shown || r->shift) && fits_time(r, s)) {
                out[n++] = utc;
            }
        }
    }
    qsort(out, n, sizeof *out, ascending);
    for (size_t i = 0; i < n; i++) {
        if (!i || out[i] != out[kept - 1]) {
            out[kept++] = out[i];
        }
    }
    return kept;
}

/* The same for a rule that follows the clock: minute by minute of what it shows. */
static size_t
watch(const struct rule *r, int64_t from, int64_t *out)
{
    size_t n = 0;
    int64_t start = tz_local_to_utc(r->zone, r->start_local);
    for (int64_t utc = from; utc < from + (int64_t)SPAN * DAY; utc += 60) {
        int64_t local = utc + tz_offset_at(r->zone, utc), day = local - local % DAY;
        bool begun = utc >= start || local >= r->start_local;
        if (begun && fits_day(r, day) && fits_time(r, (int)(local % DAY))) {
            out[n++] = utc;
        }
    }
    return n;
}

static void
compare(const struct rule *r, const struct recur *rule, int64_t middle)
{
    static int64_t want[MAX];
    int64_t from = middle - middle % DAY - SPAN / 2 * DAY;
    size_t n = r->clock ? watch(r, from, want) : enumerate(r, from, want);
    int64_t low = middle - 15 * (int64_t)DAY, high = middle + 15 * (int64_t)DAY, s = low, got;
    size_t i = 0;
    while (i < n && want[i] <= low) {
        i++;
    }
    for (; recur_next(rule, s, &got) && got < high; i++) {
        if (i == n || got != want[i]) {
            t_fail(__FILE__, __LINE__,
                   "%s every %d, cron %s, at %s, days %s %s, start %s: %lld, not %lld", r->freq,
                   r->every, r->cron, r->at_list, r->weekday_list, r->day_list, r->start,
                   (long long)got, (long long)(i < n ? want[i] : 0));
        }
        int64_t again = s + below((int)(got - s)); /* anywhere between, the next one is the same */
        CHECK(recur_next(rule, again, &s));
        CHECK_INT(got, s);
    }
    if (i < n && want[i] < high) {
        t_fail(__FILE__, __LINE__, "%s every %d, cron %s, at %s, start %s: %lld is missing",
               r->freq, r->every, r->cron, r->at_list, r->start, (long long)want[i]);
    }
}

static void
walk(const char *zone, const char *near, int rounds)
{
    struct rule r = {0};
    CHECK_OK(tz_load(zone, &r.zone, e));
    for (int i = 0; i < rounds; i++) {
        struct recur *rule = random_rule(&r, zone, at(near));
        if (rule) {
            compare(&r, rule, at(near));
            recur_free(rule);
        }
    }
    tz_free(r.zone);
}

TEST(around_changes_of_the_clock_rules_agree_with_plain_enumeration)
{
    static const struct {
        const char *zone, *near;
    } cases[] = {
        {"America/New_York", "2026-03-08 07:00"},    {"America/New_York", "2026-11-01 06:00"},
        {"Europe/London", "2027-03-28 01:00"},       {"Europe/Dublin", "2027-10-31 01:00"},
        {"Australia/Lord_Howe", "2026-10-03 15:30"}, {"Australia/Lord_Howe", "2026-04-04 15:00"},
        {"Asia/Kuala_Lumpur", "1981-12-31 16:00"},   {"Pacific/Apia", "2011-12-30 10:00"},
        {"America/Sao_Paulo", "2018-11-04 03:00"},   {"America/Sao_Paulo", "2018-02-18 02:00"},
        {"Africa/Casablanca", "2026-02-15 02:00"},   {"Africa/Casablanca", "2026-03-22 02:00"},
        {"Asia/Kathmandu", "1985-12-31 18:30"},      {"Pacific/Kwajalein", "1993-08-21 12:00"},
        {"Antarctica/Troll", "2055-03-28 01:00"},    {"UTC", "2028-02-29 00:00"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        walk(cases[i].zone, cases[i].near, 60);
    }
}

TEST(rare_rules_are_found_fast)
{
    static const struct recur_text rules[] = {
        {.freq = "cron", .cron = "30 * 29 2 *"},
        {.freq = "cron", .cron = "30 2 29 2 */6"},
        {.freq = "monthly", .every = 1200, .month_days = "29", .month_policy = "skip"},
        {.freq = "daily", .every = 36525},
        {.freq = "interval", .every = 3155760000},
        {.freq = "daily", .every = 1, .at = "02:30", .end_date = "2026-11-30"},
    };
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
        struct recur_text t = rules[i];
        t.zone = "America/New_York";
        t.start = "2000-02-01";
        struct recur *r = parse(&t);
        int64_t began = t_now_ms(), s = INT64_MIN, calls = 0;
        for (int64_t last = s; calls < 200 && recur_next(r, s, &s); calls++, last = s) {
            CHECK(!calls || s > last);
        }
        CHECK(!recur_next(r, INT64_MAX, &s));
        CHECK(!recur_next(r, INT64_C(1) << 54, &s));
        int64_t each_us = (t_now_ms() - began) * 1000 / (calls + 2);
        if (each_us > 5000) {
            t_fail(__FILE__, __LINE__, "rule %zu: %lld us a call", i, (long long)each_us);
        }
        recur_free(r);
    }
}
