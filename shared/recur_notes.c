#include "shared/civil.h"
#include "shared/recur_private.h"

#include <inttypes.h>
#include <stdio.h>

static const uint32_t every_month_day = ~1u, every_weekday = 127;
enum { AHEAD = 2 * 366 * CIVIL_DAY, CLOCK_SIZE = 16, MOMENT_SIZE = 48 };

static char *
clock_text(int64_t local, char out[CLOCK_SIZE])
{
    int64_t s = local - civil_day_of(local) * CIVIL_DAY;
    int n = snprintf(out, CLOCK_SIZE, "%02d:%02d", (int)(s / 3600), (int)(s / 60 % 60));
    if (s % 60) {
        (void)snprintf(out + n, CLOCK_SIZE - (size_t)n, ":%02d", (int)(s % 60));
    }
    return out;
}

static char *
moment_text(int64_t local, char out[MOMENT_SIZE])
{
    struct civil d = civil_date(civil_day_of(local));
    char clock[CLOCK_SIZE];
    (void)snprintf(out, MOMENT_SIZE, "%" PRId64 "-%02d-%02d %s", d.year, d.month, d.day,
                   clock_text(local, clock));
    return out;
}

static void
note_days(const struct recur *r, struct buf *out)
{
    int day = 31;
    while (day > 28 && !(r->month_days & 1u << day)) {
        day--;
    }
    bool month_long = r->freq == RECUR_MONTHLY || (r->freq == RECUR_CRON && !r->either);
    if (day <= 28 || !month_long || r->month_days == every_month_day) {
        return;
    }
    if (r->clamp) {
        buf_addf(out, "A month without day %d: its last day counts instead (month_policy clamp).\n",
                 day);
    } else {
        buf_addf(out, "A month without day %d is left out%s.\n", day,
                 r->freq == RECUR_MONTHLY
                     ? " (month_policy skip)"
                     : "; for its last day use a monthly rule with month_days -1");
    }
}

/* The clock leaves out [from, to) at utc. */
static void
note_gap(const struct recur *r, int64_t from, int64_t to, struct buf *out)
{
    int64_t local;
    char a[MOMENT_SIZE], b[MOMENT_SIZE];
    if (!recur_nominal(r, from > r->start_local ? from : r->start_local, &local) || local >= to) {
        return;
    }
    buf_addf(out, "The clock of %s leaves out %s: ", r->zone_name, moment_text(local, a));
    if (r->clock) {
        buf_addf(out, "nothing is due until %s.\n", moment_text(to, b));
    } else if (r->shift) {
        buf_addf(out, "due at %s instead (gap_policy shift).\n", moment_text(local + to - from, b));
    } else {
        buf_adds(out, "nothing is due then (gap_policy skip).\n");
    }
}

static void
note_overlap(const struct recur *r, int64_t from, int64_t to, struct buf *out)
{
    int64_t local;
    char a[MOMENT_SIZE];
    if (recur_nominal(r, from > r->start_local ? from : r->start_local, &local) && local < to) {
        buf_addf(out, "The clock of %s shows %s twice: %s.\n", r->zone_name, moment_text(local, a),
                 r->clock ? "due both times" : "due the first time only");
    }
}

void
recur_notes(const struct recur *r, int64_t after_s, struct buf *out)
{
    if (r->freq == RECUR_INTERVAL || after_s >= r->end_utc) {
        return;
    }
    note_days(r, out);
    if (r->freq == RECUR_CRON && r->month_days != every_month_day && r->weekdays != every_weekday) {
        buf_adds(out, r->either
                          ? "Due when the day of the month or the day of the week fits; both need "
                            "not.\n"
                          : "Due when the day of the month and the day of the week fit, both: one "
                            "begins with *.\n");
    }
    after_s = after_s > r->begin_utc ? after_s : r->begin_utc;
    int64_t end;
    int32_t before = tz_offset_until(r->zone, after_s, &end);
    for (int64_t at = end; at < r->end_utc && at - after_s <= AHEAD; at = end) {
        int32_t offset = tz_offset_until(r->zone, at, &end);
        if (offset > before) {
            note_gap(r, at + before, at + offset, out);
        } else if (offset < before) {
            note_overlap(r, at + offset, at + before, out);
        }
        before = offset;
    }
}
