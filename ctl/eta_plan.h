/* eta_plan.h -- how long a device takes for n messages, from what it may do: gap, batch pauses,
 * hourly and daily caps, quiet hours.  As permit.lua and the worker pace it, with the mean gap
 * instead of the drawn one and no time for the provider's answers.  Pure. */
#ifndef CTL_ETA_PLAN_H
#define CTL_ETA_PLAN_H

#include <stdint.h>

struct tz;

struct eta_pace {
    int64_t gap_min_ms, gap_max_ms;
    int64_t batch_size, batch_pause_ms; /* 0: none */
    int64_t hourly_cap, daily_cap;      /* 0: none */
    int quiet_from_min, quiet_to_min;   /* minutes of the local day; -1: none */
    const struct tz *tz;                /* NULL: UTC */
};

/* When the n-th message leaves a device that may begin at start_ms (since 1970), with nothing sent
 * before; start_ms for n = 0.  Work and result are bounded: after ETA_STEPS messages the rest is
 * taken to go at the rate so far. */
enum { ETA_STEPS = 500000 };
int64_t eta_plan(const struct eta_pace *p, int64_t start_ms, int64_t n);

/* The first moment from now_ms on that is not within the quiet hours, to the minute; now_ms itself
 * when it is not, or when there are none. */
int64_t eta_awake_ms(const struct eta_pace *p, int64_t now_ms);

#endif
