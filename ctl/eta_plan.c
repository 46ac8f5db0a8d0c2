#include "ctl/eta_plan.h"

#include "shared/tz.h"

#include <stdbool.h>
#include <string.h>

enum { MINUTE_MS = 60000, MINUTES_A_DAY = 1440, RING_MAX = 25 };

static bool
is_quiet(const struct eta_pace *p, int64_t ms)
{
    int64_t s = ms / 1000 + (p->tz ? tz_offset_at(p->tz, ms / 1000) : 0);
    int64_t minute = (s / 60 % MINUTES_A_DAY + MINUTES_A_DAY) % MINUTES_A_DAY;
    return p->quiet_from_min < p->quiet_to_min
               ? minute >= p->quiet_from_min && minute < p->quiet_to_min
               : minute >= p->quiet_from_min || minute < p->quiet_to_min;
}

int64_t
eta_awake_ms(const struct eta_pace *p, int64_t now_ms)
{
    if (p->quiet_from_min < 0 || p->quiet_to_min < 0 || p->quiet_from_min == p->quiet_to_min) {
        return now_ms;
    }
    int64_t t = now_ms;
    for (int i = 0; i < 3 * MINUTES_A_DAY && is_quiet(p, t); i++) {
        t = (t / MINUTE_MS + 1) * MINUTE_MS;
    }
    return t;
}

/* A sliding cap in buckets, as permit.lua keeps it: the oldest, partly elapsed one counts in full.
 */
struct ring {
    int64_t width_ms, n;
    int64_t bucket[RING_MAX], count[RING_MAX];
};

/* t, or when there is room again. */
static int64_t
ring_room(const struct ring *r, int64_t cap, int64_t t)
{
    int64_t now = t / r->width_ms, sum = 0, oldest = now;
    for (int64_t i = 0; cap > 0 && i < r->n; i++) {
        int64_t at = (now - i) % r->n;
        if (r->bucket[at] == now - i && r->count[at]) {
            sum += r->count[at];
            oldest = now - i;
        }
    }
    return cap > 0 && sum >= cap ? (oldest + r->n) * r->width_ms : t;
}

static void
ring_count(struct ring *r, int64_t t)
{
    int64_t now = t / r->width_ms, at = now % r->n;
    r->count[at] = r->bucket[at] == now ? r->count[at] + 1 : 1;
    r->bucket[at] = now;
}

/* The first moment from t on at which everything allows it. */
static int64_t
allowed(const struct eta_pace *p, const struct ring *hour, const struct ring *day, int64_t t)
{
    for (int64_t before = t - 1; before != t;) {
        before = t;
        t = ring_room(hour, p->hourly_cap, t);
        t = ring_room(day, p->daily_cap, t);
        t = eta_awake_ms(p, t);
    }
    return t;
}

int64_t
eta_plan(const struct eta_pace *p, int64_t start_ms, int64_t n)
{
    struct ring hour = {.width_ms = 5 * MINUTE_MS, .n = 13},
                day = {.width_ms = 60 * MINUTE_MS, .n = 25};
    int64_t max = p->gap_max_ms > p->gap_min_ms ? p->gap_max_ms : p->gap_min_ms;
    int64_t gap = (p->gap_min_ms + max) / 2, t = start_ms, next = start_ms, in_batch = 0;
    int64_t steps = n < ETA_STEPS ? n : ETA_STEPS;
    for (int64_t i = 0; i < steps; i++) {
        t = allowed(p, &hour, &day, next);
        ring_count(&hour, t);
        ring_count(&day, t);
        next = t + gap;
        if (p->batch_size > 0 && ++in_batch >= p->batch_size) {
            next += p->batch_pause_ms;
            in_batch = 0;
        }
    }
    return n > steps ? start_ms + (int64_t)((double)(t - start_ms) / (double)steps * (double)n) : t;
}
