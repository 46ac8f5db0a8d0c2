#include "shared/tz.h"
#include "tests/harness/t.h"
#include "worker/pace.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#define HOUR ((int64_t)3600000)
#define DAY  (24 * HOUR)

/* --- the gap ---------------------------------------------------------------------------------- */

static char *
random_id(char out[64])
{
    (void)snprintf(out, 64, "c%d-d%d-%016llx-r0", (int)(t_random() % 1000),
                   (int)(t_random() % 5000), (unsigned long long)t_random());
    return out;
}

TEST(the_gap_lies_between_its_bounds_and_is_the_same_for_the_same_job)
{
    for (int i = 0; i < 100000; i++) {
        char id[64], again[64];
        int64_t min = (int64_t)(t_random() % 20000), max = min + (int64_t)(t_random() % 20000);
        int64_t gap = pace_gap_ms(random_id(id), min, max);
        CHECK(gap >= min && gap <= max);
        (void)snprintf(again, sizeof again, "%s", id);
        CHECK_INT(gap, pace_gap_ms(again, min, max));
    }
}

TEST(bounds_that_are_equal_or_crossed_leave_no_choice)
{
    static const struct {
        int64_t min, max, want;
    } cases[] = {{0, 0, 0},          {5000, 5000, 5000}, {5000, 0, 5000},
                 {5000, 4999, 5000}, {1, 0, 1},          {4294967295, 0, 4294967295}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (int k = 0; k < 100; k++) {
            char id[64];
            CHECK_INT(cases[i].want, pace_gap_ms(random_id(id), cases[i].min, cases[i].max));
        }
    }
    CHECK_INT(7, pace_gap_ms("", 7, 7));
}

/* Chi-square with n - 1 degrees of freedom; beyond the limit but once in 10^7. */
static void
check_uniform(const size_t *count, size_t n, double limit)
{
    double total = 0, chi = 0;
    for (size_t i = 0; i < n; i++) {
        total += (double)count[i];
    }
    for (size_t i = 0; i < n; i++) {
        double d = (double)count[i] - total / (double)n;
        chi += d * d / (total / (double)n);
    }
    if (chi > limit) {
        t_fail(__FILE__, __LINE__, "chi-square of %zu classes is %.1f", n, chi);
    }
}

TEST(gaps_are_uniform)
{
    size_t by_tenth[10] = {0}, by_value[4] = {0};
    for (int i = 0; i < 100000; i++) {
        char id[64];
        by_tenth[(pace_gap_ms(random_id(id), 5000, 14999) - 5000) / 1000]++;
        by_value[pace_gap_ms(id, 0, 3)]++;
    }
    check_uniform(by_tenth, 10, 52.);
    check_uniform(by_value, 4, 36.);
}

/* Jobs that differ in one digit only draw independently. */
TEST(gaps_of_neighbours_are_independent)
{
    size_t count[16] = {0};
    for (int i = 0; i < 32000; i++) {
        char a[64], b[64];
        (void)snprintf(a, sizeof a, "c1-d1-%08x-r0", (unsigned)i);
        (void)snprintf(b, sizeof b, "c1-d1-%08x-r0", (unsigned)i + 1);
        count[4 * pace_gap_ms(a, 0, 3) + pace_gap_ms(b, 0, 3)]++;
    }
    check_uniform(count, 16, 62.);
}

/* --- quiet hours as text ---------------------------------------------------------------------- */

TEST(quiet_hours_are_read)
{
    struct quiet q;
    CHECK(pace_quiet_parse("1320 420 Asia/Kuala_Lumpur", &q));
    CHECK_INT(1320, q.from_min);
    CHECK_INT(420, q.to_min);
    CHECK_STR("Asia/Kuala_Lumpur", q.zone);
    CHECK(pace_quiet_parse("0 1439 UTC", &q));
    CHECK_INT(0, q.from_min);
    CHECK_INT(1439, q.to_min);
    CHECK(pace_quiet_parse("1439 0 America/Argentina/ComodRivadavia", &q));
    CHECK_STR("America/Argentina/ComodRivadavia", q.zone);
}

TEST(quiet_hours_without_a_zone_are_utc)
{
    struct quiet q;
    static const char *const texts[] = {"60 120", "60 120 "}; /* a device whose zone is empty */
    for (size_t i = 0; i < 2; i++) {
        CHECK(pace_quiet_parse(texts[i], &q));
        CHECK_INT(60, q.from_min);
        CHECK_INT(120, q.to_min);
        CHECK_STR("", q.zone);
    }
}

TEST(a_zone_fits_or_there_are_no_quiet_hours)
{
    struct quiet q;
    char text[96] = "1 2 ";
    size_t n = strlen(text), longest = sizeof q.zone - 1;
    memset(text + n, 'a', longest);
    CHECK(pace_quiet_parse(text, &q));
    CHECK_STR(text + n, q.zone);
    text[n + longest] = 'a';
    CHECK(!pace_quiet_parse(text, &q));
}

TEST(malformed_quiet_hours_are_none)
{
    static const char *const bad[] = {
        "",
        " ",
        "UTC",
        "1320",
        "1320 ",
        "1320 UTC",
        "1320 x UTC",
        "x 420 UTC",
        "1320-420 UTC",
        "22:00 07:00 UTC",
        "-1 420 UTC",
        "1320 -1 UTC",
        "1440 420 UTC",
        "1320 1440 UTC",
        "480 480 UTC",
        "99999999999999999999 420 UTC",
        "4294967297 420 UTC", /* not 1 */
        "1320 4294967716 UTC",
        "1320 420x UTC",
        "1320 420UTC",
        "1320 420 UTC and more",
        "1320.5 420 UTC",
        "1320 420 aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct quiet q;
        if (pace_quiet_parse(bad[i], &q)) {
            t_fail(__FILE__, __LINE__, "\"%s\" is read as %d to %d", bad[i], q.from_min, q.to_min);
        }
    }
}

TEST(random_text_is_read_within_bounds_or_not_at_all)
{
    for (int i = 0; i < 100000; i++) {
        char text[96];
        size_t n = t_random() % (sizeof text - 1);
        for (size_t k = 0; k < n; k++) {
            text[k] = "0123456789 -+xUTC/"[t_random() % 18];
        }
        text[n] = '\0';
        struct quiet q;
        if (pace_quiet_parse(text, &q)) {
            CHECK(q.from_min >= 0 && q.from_min < 1440 && q.to_min >= 0 && q.to_min < 1440);
            CHECK(q.from_min != q.to_min && strlen(q.zone) < sizeof q.zone);
        }
    }
}

/* --- quiet hours in UTC ----------------------------------------------------------------------- */

static int64_t
left(int from_min, int to_min, int64_t now_ms)
{
    const struct quiet q = {from_min, to_min, "UTC"};
    return pace_quiet_left_ms(&q, NULL, now_ms);
}

TEST(edges_of_quiet_hours_are_sharp)
{
    const int64_t day = 19800 * DAY;
    static const struct {
        int from, to;
        int64_t at, want;
    } cases[] = {
        /* within one day */
        {60, 120, HOUR - 1, 0},
        {60, 120, HOUR, HOUR},
        {60, 120, HOUR + 1, HOUR - 1},
        {60, 120, 2 * HOUR - 1, 1},
        {60, 120, 2 * HOUR, 0},
        {60, 120, 23 * HOUR, 0},
        /* over midnight */
        {1320, 420, 22 * HOUR - 1, 0},
        {1320, 420, 22 * HOUR, 9 * HOUR},
        {1320, 420, DAY - 1, 7 * HOUR + 1},
        {1320, 420, 0, 7 * HOUR},
        {1320, 420, 7 * HOUR - 1, 1},
        {1320, 420, 7 * HOUR, 0},
        {1320, 420, 12 * HOUR, 0},
        /* to or from midnight */
        {1320, 0, 22 * HOUR, 2 * HOUR},
        {1320, 0, DAY - 1, 1},
        {1320, 0, 0, 0},
        {0, 420, 0, 7 * HOUR},
        {0, 420, DAY - 1, 0},
        /* all but a minute, and only a minute */
        {1, 0, 0, 0},
        {1, 0, 60000, DAY - 60000},
        {0, 1, 59999, 1},
        {1439, 0, DAY - 1, 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        CHECK_INT(cases[i].want, left(cases[i].from, cases[i].to, day + cases[i].at));
        CHECK_INT(cases[i].want, left(cases[i].from, cases[i].to, cases[i].at - 40 * DAY));
    }
}

/* --- quiet hours in zones --------------------------------------------------------------------- */

static struct tz *
load(const char *name)
{
    struct tz *z = NULL;
    CHECK_OK(tz_load(name, &z, e));
    CHECK(setenv("TZ", name, 1) == 0); /* the C library's view, for the comparison */
    tzset();
    return z;
}

/* By the C library: does a clock on the wall show a quiet hour? */
static bool
is_quiet(const struct quiet *q, int64_t ms)
{
    time_t s = (time_t)(ms / 1000);
    struct tm tm;
    CHECK(localtime_r(&s, &tm) != NULL);
    int minute = tm.tm_hour * 60 + tm.tm_min;
    return q->from_min < q->to_min ? minute >= q->from_min && minute < q->to_min
                                   : minute >= q->from_min || minute < q->to_min;
}

/* Right now, until the very end, and not a millisecond longer. */
static void
check_left(const struct quiet *q, const struct tz *z, int64_t now)
{
    int64_t ms = pace_quiet_left_ms(q, z, now);
    bool ok = ms >= 0 && (ms > 0) == is_quiet(q, now) && !is_quiet(q, now + ms);
    for (int64_t t = now; ok && t < now + ms; t += 60000) {
        ok = is_quiet(q, t);
    }
    ok = ok && (!ms || is_quiet(q, now + ms - 1));
    if (!ok) {
        t_fail(__FILE__, __LINE__, "%s %d to %d at %lld: %lld ms left", q->zone, q->from_min,
               q->to_min, (long long)now, (long long)ms);
    }
}

static const char *const zones[] = {
    "America/New_York", "Asia/Kuala_Lumpur", "Europe/Berlin",   "Australia/Lord_Howe",
    "Asia/Kathmandu",   "America/Havana",    "Pacific/Chatham", "UTC",
};

TEST(quiet_hours_agree_with_the_clock_on_the_wall)
{
    for (size_t i = 0; i < sizeof zones / sizeof *zones; i++) {
        struct tz *z = load(zones[i]);
        for (int k = 0; k < 1500; k++) {
            struct quiet q = {(int)(t_random() % 1440), (int)(t_random() % 1440), ""};
            (void)snprintf(q.zone, sizeof q.zone, "%s", zones[i]);
            if (q.from_min == q.to_min) {
                continue;
            }
            int64_t now = 1600000000000 + (int64_t)(t_random() % 300000000000);
            check_left(&q, z, now - now % (t_random() % 2 ? 60000 : 1));
        }
        tz_free(z);
    }
}

/* The day around each change of the clocks, with bounds in and around the hour that is left out or
 * doubled. */
TEST(quiet_hours_agree_with_the_clock_on_the_wall_when_it_is_changed)
{
    static const struct {
        const char *zone;
        int64_t change_s;
    } changes[] = {
        {"America/New_York", 1710054000},    /* 2024-03-10 02:00 -> 03:00 */
        {"America/New_York", 1730613600},    /* 2024-11-03 02:00 -> 01:00 */
        {"Europe/Berlin", 1711846800},       /* 2024-03-31 02:00 -> 03:00 */
        {"Australia/Lord_Howe", 1728142200}, /* 2024-10-06 02:00 -> 02:30 */
        {"Australia/Lord_Howe", 1712415600}, /* 2024-04-07 02:00 -> 01:30 */
        {"America/Havana", 1710046800},      /* 2024-03-10 00:00 -> 01:00 */
    };
    static const int bounds[] = {0,   1,   30,  59,  60,  61,   90,  119,
                                 120, 121, 150, 180, 420, 1320, 1439};
    enum { BOUNDS = sizeof bounds / sizeof *bounds };
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        struct tz *z = load(changes[i].zone);
        int64_t change = changes[i].change_s * 1000;
        CHECK(tz_offset_at(z, changes[i].change_s) != tz_offset_at(z, changes[i].change_s - 1));
        for (int a = 0; a < BOUNDS; a++) {
            for (int b = 0; b < BOUNDS; b++) {
                struct quiet q = {bounds[a], bounds[b], ""};
                (void)snprintf(q.zone, sizeof q.zone, "%s", changes[i].zone);
                if (a == b) {
                    continue;
                }
                check_left(&q, z, change);
                check_left(&q, z, change - 1);
                for (int k = 0; k < 12; k++) {
                    check_left(&q, z, change - 12 * HOUR + (int64_t)(t_random() % (uint64_t)DAY));
                }
            }
        }
        tz_free(z);
    }
}

TEST(a_night_is_as_long_as_the_clocks_make_it)
{
    static const struct {
        int64_t evening_s; /* 22:00 */
        int64_t want;
    } nights[] = {
        {1709953200, 9 * HOUR},  /* 2024-03-08, a plain night */
        {1710039600, 8 * HOUR},  /* 2024-03-09, put forward */
        {1730599200, 10 * HOUR}, /* 2024-11-02, put back */
    };
    const struct quiet q = {1320, 420, "America/New_York"};
    struct tz *z = load("America/New_York");
    for (size_t i = 0; i < sizeof nights / sizeof *nights; i++) {
        int64_t ms = nights[i].evening_s * 1000;
        CHECK_INT(0, pace_quiet_left_ms(&q, z, ms - 1));
        CHECK_INT(nights[i].want, pace_quiet_left_ms(&q, z, ms));
        CHECK_INT(1, pace_quiet_left_ms(&q, z, ms + nights[i].want - 1));
        CHECK_INT(0, pace_quiet_left_ms(&q, z, ms + nights[i].want));
    }
    tz_free(z);
}

/* --- verdicts --------------------------------------------------------------------------------- */

/* One line an outcome: what becomes of the row, what waits, how long at first, and how far the
 * whole account or endpoint goes with it. */
static const struct expected {
    enum outcome_class class;
    enum outcome_scope scope;
    const char *kind;
    enum hold_act act;
    int64_t hold_ms, wide_cap_ms;
} expected[] = {
    {OUTCOME_SENT, SCOPE_MESSAGE, "sent", HOLD_NOTHING, 0, 0},
    {OUTCOME_SENT, SCOPE_ENDPOINT, "sent", HOLD_NOTHING, 0, 0},
    {OUTCOME_REJECTED, SCOPE_MESSAGE, "failed", HOLD_NOTHING, 0, 0},
    {OUTCOME_REJECTED, SCOPE_RECIPIENT, "failed", HOLD_NOTHING, 0, 0},
    {OUTCOME_REJECTED, SCOPE_PAIR, "deferred", HOLD_PAIR, 1000, 0},
    {OUTCOME_REJECTED, SCOPE_DEVICE, "deferred", HOLD_DEVICE, 300000, 0},
    {OUTCOME_REJECTED, SCOPE_NEW_CONTACTS, "deferred", HOLD_NEW_CONTACTS, 1800000, 0},
    {OUTCOME_REJECTED, SCOPE_TEMPLATE, "deferred", HOLD_NOTHING, 60000, 0},
    {OUTCOME_REJECTED, SCOPE_ACCOUNT, "deferred", HOLD_DEVICE, 300000, 3600000},
    {OUTCOME_REJECTED, SCOPE_ENDPOINT, "deferred", HOLD_DEVICE, 30000, 300000},
    {OUTCOME_RETRY, SCOPE_MESSAGE, "retry", HOLD_NOTHING, 0, 0},
    {OUTCOME_RETRY, SCOPE_RECIPIENT, "retry", HOLD_NOTHING, 0, 0},
    {OUTCOME_RETRY, SCOPE_PAIR, "deferred", HOLD_PAIR, 1000, 0},
    {OUTCOME_RETRY, SCOPE_DEVICE, "deferred", HOLD_THROTTLE, 30000, 0},
    {OUTCOME_RETRY, SCOPE_NEW_CONTACTS, "deferred", HOLD_NEW_CONTACTS, 1800000, 0},
    {OUTCOME_RETRY, SCOPE_TEMPLATE, "deferred", HOLD_NOTHING, 60000, 0},
    {OUTCOME_RETRY, SCOPE_ACCOUNT, "deferred", HOLD_DEVICE, 60000, 3600000},
    {OUTCOME_RETRY, SCOPE_ENDPOINT, "deferred", HOLD_DEVICE, 5000, 300000},
    {OUTCOME_UNKNOWN, SCOPE_MESSAGE, "unknown", HOLD_NOTHING, 0, 0},
    {OUTCOME_UNKNOWN, SCOPE_RECIPIENT, "unknown", HOLD_NOTHING, 0, 0},
    {OUTCOME_UNKNOWN, SCOPE_DEVICE, "unknown", HOLD_DEVICE, 30000, 0},
    {OUTCOME_UNKNOWN, SCOPE_ENDPOINT, "unknown", HOLD_DEVICE, 5000, 0},
    {OUTCOME_NOT_SENT, SCOPE_MESSAGE, "deferred", HOLD_NOTHING, 0, 0},
    {OUTCOME_NOT_SENT, SCOPE_DEVICE, "deferred", HOLD_DEVICE, 30000, 0},
    {OUTCOME_NOT_SENT, SCOPE_ENDPOINT, "deferred", HOLD_DEVICE, 5000, 0},
};

TEST(each_outcome_holds_its_scope_and_nothing_wider)
{
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        const struct expected *x = &expected[i];
        struct outcome o = {.class = x->class, .scope = x->scope};
        struct verdict v = pace_verdict(&o, true);
        CHECK_STR(x->kind, v.kind);
        CHECK_INT(x->act, v.act);
        CHECK_INT(x->hold_ms, v.hold_ms);
        CHECK_INT(x->wide_cap_ms, v.wide_cap_ms);
        CHECK_INT(x->wide_cap_ms ? x->hold_ms : 0, v.wide_ms);
        CHECK(!v.told && v.stop == STOP_NOTHING);
    }
}

TEST(what_the_provider_asks_for_counts_up_to_a_day)
{
    static const int64_t asked[] = {1, 7000, DAY - 1, DAY, DAY + 1, INT64_MAX};
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        const struct expected *x = &expected[i];
        for (size_t k = 0; k < sizeof asked / sizeof *asked; k++) {
            struct outcome o = {.class = x->class, .scope = x->scope, .retry_after_ms = asked[k]};
            int64_t want = asked[k] < DAY ? asked[k] : DAY;
            struct verdict v = pace_verdict(&o, true);
            if (x->class == OUTCOME_SENT || (x->class == OUTCOME_UNKNOWN && !x->hold_ms)) {
                CHECK_INT(0, v.hold_ms);
                continue;
            }
            CHECK_INT(want, v.hold_ms);
            CHECK(x->class == OUTCOME_UNKNOWN || v.told);
            CHECK_INT(x->wide_cap_ms ? want : 0, v.wide_ms);
        }
        struct outcome nonsense = {.class = x->class, .scope = x->scope, .retry_after_ms = -1};
        CHECK_INT(x->hold_ms, pace_verdict(&nonsense, true).hold_ms);
    }
}

/* "Not before a day has passed" is about the recipient, from whichever device. */
TEST(a_recipient_rests_only_when_the_provider_says_so)
{
    struct outcome o = {.class = OUTCOME_REJECTED, .scope = SCOPE_RECIPIENT, .retry_after_ms = DAY};
    struct verdict v = pace_verdict(&o, true);
    CHECK_STR("failed", v.kind);
    CHECK_INT(HOLD_RECIPIENT, v.act);
    CHECK_INT(DAY, v.hold_ms);
}

TEST(what_would_refuse_all_of_a_source_stops_it_and_keeps_its_messages)
{
    struct outcome o = {.class = OUTCOME_REJECTED, .scope = SCOPE_TEMPLATE, .stop = true};
    struct verdict v = pace_verdict(&o, true);
    CHECK_STR("returned", v.kind);
    CHECK_INT(STOP_SOURCE, v.stop);
    CHECK_INT(0, v.hold_ms);
    v = pace_verdict(&o, false); /* a direct message: nobody could resume it */
    CHECK_STR("failed", v.kind);
    CHECK_INT(STOP_NOTHING, v.stop);
    o.class = OUTCOME_RETRY; /* it comes again, but not at once for ever */
    v = pace_verdict(&o, false);
    CHECK_STR("deferred", v.kind);
    CHECK_INT(60000, v.hold_ms);
    CHECK_INT(STOP_NOTHING, v.stop);
}

TEST(devices_and_accounts_stop_when_a_person_is_needed)
{
    struct outcome o = {.class = OUTCOME_REJECTED, .scope = SCOPE_DEVICE, .stop = true};
    CHECK_INT(STOP_DEVICE, pace_verdict(&o, true).stop);
    CHECK_STR("deferred", pace_verdict(&o, false).kind);
    o.scope = SCOPE_ACCOUNT;
    CHECK_INT(STOP_ACCOUNT, pace_verdict(&o, true).stop);
    o.scope = SCOPE_ENDPOINT;
    CHECK_INT(STOP_NOTHING, pace_verdict(&o, true).stop);
}

TEST(an_outcome_of_no_known_class_is_unknown)
{
    const struct outcome o = {.class = (enum outcome_class)99};
    CHECK_STR("unknown", pace_verdict(&o, true).kind);
}
