#include "shared/civil.h"
#include "shared/recur_private.h"

#include <stdlib.h>
#include <string.h>

/* --- what a rule names, by the wall clock
 * -------------------------------------------------------------------- */

/* The first k * every + anchor that is not below n. */
static int64_t
in_step(int64_t n, int64_t anchor, int64_t every)
{
    return n <= anchor ? anchor : anchor + (n - anchor + every - 1) / every * every;
}

static int64_t
monday_of(int64_t day)
{
    return day - (civil_weekday(day) + 6) % 7;
}

static int64_t
weekly_day(const struct recur *r, int64_t day)
{
    int64_t anchor = monday_of(civil_day_of(r->start_local));
    int64_t week = monday_of(day), next = in_step(week, anchor, 7 * r->every);
    if (next > week) {
        day = next;
    }
    for (; day < next + 7; day++) {
        if (r->weekdays & 1u << civil_weekday(day)) {
            return day;
        }
    }
    return weekly_day(r, next + 7); /* a Monday: not deeper than this */
}

static uint32_t
days_by_number(const struct recur *r, int length)
{
    uint32_t set = 0;
    for (int i = 1; i <= 31; i++) {
        bool there = i <= length;
        if (r->month_days & 1u << i && (there || r->clamp)) {
            set |= 1u << (there ? i : length);
        }
        if (r->back_days & 1u << i && (there || r->clamp)) {
            set |= 1u << (there ? length + 1 - i : 1);
        }
    }
    return set;
}

/* The days that a rule names in a month. */
static uint32_t
days_of_month(const struct recur *r, int64_t year, int month)
{
    int length = civil_month_length(year, month);
    uint32_t numbers = days_by_number(r, length);
    if (r->freq == RECUR_MONTHLY) {
        return numbers;
    }
    int first = civil_weekday(civil_days(year, month));
    uint32_t fit = 0;
    for (int i = 1; i <= length; i++) {
        fit |= (r->weekdays & 1u << (first + i - 1) % 7) ? 1u << i : 0;
    }
    return r->either ? numbers | fit : numbers & fit;
}

/* The next month that a rule names, from 0 = January of the year 0. */
static int64_t
next_month(const struct recur *r, int64_t month)
{
    if (r->freq == RECUR_MONTHLY) {
        struct civil start = civil_date(civil_day_of(r->start_local));
        return in_step(month, start.year * 12 + start.month - 1, r->every);
    }
    while (!(r->months & 1u << (month % 12 + 1))) {
        month++;
    }
    return month;
}

static int64_t
monthly_day(const struct recur *r, int64_t day)
{
    int64_t end = civil_day_of(r->end_local - 1);
    struct civil from = civil_date(day);
    int64_t month = from.year * 12 + from.month - 1, next = next_month(r, month);
    int first = next == month ? from.day : 1;
    for (;;) {
        int64_t start = civil_days(next / 12, (int)(next % 12) + 1);
        if (start > end) {
            return start;
        }
        uint32_t days = days_of_month(r, next / 12, (int)(next % 12) + 1) & ~0u << first;
        if (days) {
            return start + __builtin_ctz(days) - 1;
        }
        next = next_month(r, next + 1);
        first = 1;
    }
}

/* The first named day from day on; one behind the end when there is none. */
static int64_t
next_day(const struct recur *r, int64_t day)
{
    switch (r->freq) {
    case RECUR_DAILY:
        return in_step(day, civil_day_of(r->start_local), r->every);
    case RECUR_WEEKLY:
        return weekly_day(r, day);
    case RECUR_MONTHLY:
    case RECUR_CRON:
    case RECUR_INTERVAL:
        break;
    }
    return monthly_day(r, day);
}

/* How many times of the day lie before s. */
static size_t
times_before(const struct recur *r, int64_t s)
{
    size_t low = 0, high = r->n_times;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (r->times[middle] < s) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

bool
recur_nominal(const struct recur *r, int64_t local, int64_t *ret)
{
    if (local >= r->end_local) {
        return false;
    }
    int64_t today = civil_day_of(local), day = next_day(r, today);
    size_t i = day == today ? times_before(r, local - today * CIVIL_DAY) : 0;
    if (i == r->n_times) {
        day = next_day(r, today + 1);
        i = 0;
    }
    *ret = day * CIVIL_DAY + r->times[i];
    return *ret < r->end_local;
}

/* --- when that is
 * ---------------------------------------------------------------------------------------- */

/* The least and the greatest offset in force within [from, to]. */
static void
offsets_within(const struct tz *z, int64_t from, int64_t to, int64_t *least, int64_t *most)
{
    int64_t end;
    *least = *most = tz_offset_until(z, from, &end);
    while (end <= to) {
        int32_t offset = tz_offset_until(z, end, &end);
        *least = offset < *least ? offset : *least;
        *most = offset > *most ? offset : *most;
    }
}

/* Shifted times overtake others: with a gap of an hour at 02:00, 02:45 becomes 03:45 while 03:15
 * stays.  So the first named time that lies behind after_s is a candidate, and the ones that follow
 * it are tried for as long as any offset around could put them before the best. */
static bool
calendar_next(const struct recur *r, int64_t after_s, int64_t *ret)
{
    bool found = false;
    int64_t least, most;
    offsets_within(r->zone, after_s - RECUR_WINDOW, after_s + 1, &least, &most);
    int64_t local = after_s + 1 + least, bound = r->end_local;
    local = local > r->start_local ? local : r->start_local;
    for (; recur_nominal(r, local, &local) && local <= bound; local++) {
        int64_t utc = tz_local_to_utc(r->zone, local);
        bool shown = utc + tz_offset_at(r->zone, utc) == local;
        if (utc > after_s && (shown || r->shift) && (!found || utc < *ret)) {
            offsets_within(r->zone, utc - RECUR_WINDOW, utc, &least, &most);
            found = true;
            *ret = utc;
            bound = utc + most;
        }
    }
    return found;
}

/* Stretch by stretch of the same offset: what the clock shows in each. */
static bool
clock_next(const struct recur *r, int64_t after_s, int64_t *ret)
{
    int64_t end;
    for (int64_t at = after_s + 1; at < r->end_utc; at = end) {
        int32_t offset = tz_offset_until(r->zone, at, &end);
        int64_t local;
        if (recur_nominal(r, at + offset, &local) && local - offset < end) {
            *ret = local - offset;
            return *ret < r->end_utc;
        }
    }
    return false;
}

static bool
interval_next(const struct recur *r, int64_t after_s, int64_t *ret)
{
    *ret = in_step(after_s + 1, r->start_utc, r->every);
    return *ret < r->end_utc;
}

bool
recur_next(const struct recur *r, int64_t after_s, int64_t *ret_utc_s)
{
    if (after_s > r->end_utc + RECUR_WINDOW) {
        return false; /* a last time may be shifted to behind the end */
    }
    after_s = after_s >= r->begin_utc ? after_s : r->begin_utc - 1;
    int64_t found = 0;
    bool ok = r->freq == RECUR_INTERVAL ? interval_next(r, after_s, &found)
              : r->clock                ? clock_next(r, after_s, &found)
                                        : calendar_next(r, after_s, &found);
    if (ok) {
        *ret_utc_s = found;
    }
    return ok;
}

void
recur_free(struct recur *r)
{
    if (r) {
        tz_free(r->zone);
        free(r->zone_name);
        free(r->times);
        free(r);
    }
}
