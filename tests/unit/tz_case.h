/* tz_case.h -- what the tests of time zones share: the comparison with the C library. */
#ifndef TESTS_TZ_CASE_H
#define TESTS_TZ_CASE_H

#include "shared/tz.h"
#include "tests/harness/t.h"

#include <stdio.h>
#include <time.h>

static const int64_t hour = 3600, day = 86400;

static struct tz *
load(const char *name)
{
    struct tz *z = NULL;
    CHECK_OK(tz_load(name, &z, e));
    return z;
}

/* Seconds of a date, UTC or local alike: "2024-03-10 02:30". */
static int64_t
at(const char *text)
{
    struct tm tm = {0};
    CHECK(sscanf(text, "%d-%d-%d %d:%d", &tm.tm_year, &tm.tm_mon, &tm.tm_mday, &tm.tm_hour,
                 &tm.tm_min) == 5);
    tm.tm_year -= 1900;
    tm.tm_mon -= 1;
    return timegm(&tm);
}

static int32_t
libc_offset(int64_t s)
{
    time_t t = s;
    struct tm tm;
    CHECK(localtime_r(&t, &tm) != NULL);
    return (int32_t)tm.tm_gmtoff;
}

static void
check_offset(const char *zone, const struct tz *z, int64_t s)
{
    if (tz_offset_at(z, s) != libc_offset(s)) {
        t_fail(__FILE__, __LINE__, "%s at %lld: %d, and %d by the C library", zone, (long long)s,
               tz_offset_at(z, s), libc_offset(s));
    }
}

/* Local times on both sides of the change at s; the change before and after must be farther away.
 */
static void
check_local_times(const char *zone, const struct tz *z, int64_t s, int64_t step)
{
    int64_t before = libc_offset(s - 1), after = libc_offset(s);
    int64_t low = before < after ? before : after, high = before + after - low;
    for (int64_t local = s + low - 7200; local <= s + high + 7200; local += step) {
        int64_t want = local - before;
        if (want >= s && local - after >= s) {
            want = local - after;
        }
        int64_t got = tz_local_to_utc(z, local);
        if (got != want) {
            t_fail(__FILE__, __LINE__, "%s, local %lld: %lld, not %lld", zone, (long long)local,
                   (long long)got, (long long)want);
        }
    }
}

/* Compares 1970..2060 by steps, and to the second where the offset changes; returns how often it
 * does. */
static int
compare(const char *zone, const struct tz *z, const char *tz_variable, int64_t step)
{
    CHECK(setenv("TZ", tz_variable, 1) == 0);
    tzset();
    int changes = 0;
    int64_t end = at("2061-01-01 00:00");
    for (int64_t s = 0; s < end; s += step) {
        check_offset(zone, z, s);
        int64_t low = s, high = s + step; /* the first second of the next offset */
        while (libc_offset(s) != libc_offset(high) && high - low > 1) {
            int64_t middle = low + (high - low) / 2;
            if (libc_offset(middle) == libc_offset(s)) {
                low = middle;
            } else {
                high = middle;
            }
        }
        if (high - low == 1) {
            changes++;
            check_offset(zone, z, low);
            check_offset(zone, z, high);
            check_local_times(zone, z, high, 299);
        }
    }
    return changes;
}

#endif
