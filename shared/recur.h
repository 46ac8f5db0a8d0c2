/* recur.h -- when a recurring message is due: daily, weekly, monthly, interval and 5-field cron
 * rules in an IANA zone.
 *
 * Pure but for the zone's file.  A rule is read from texts as the columns of `recurring_messages`
 * hold them.  Calendar rules (all but interval) speak of a wall clock: of a time that occurs twice
 * the first counts; a time that the clock leaves out is shifted forward by as much as the clock was
 * (gap_policy shift) or does not occur (skip); two that fall on one instant are one occurrence.  A
 * cron rule of all 24 hours follows the clock instead: it runs through both passes of a repeated
 * hour and has nothing to do in a missing one.  Intervals are elapsed time from the start, which is
 * their first occurrence.
 *
 * Days, weeks (from Monday) and months are counted from the start's.  Cron is that of cron(8):
 * where day of month and day of week are both restricted, which is to say begin with no star,
 * either decides. */
#ifndef SHARED_RECUR_H
#define SHARED_RECUR_H

#include "shared/err.h"
#include "shared/mem.h"

#include <stdbool.h>
#include <stdint.h>

struct recur;

/* Unset members are NULL or "". */
struct recur_text {
    const char *freq;     /* daily | weekly | monthly | interval | cron */
    int64_t every;        /* each so many days, weeks, months; seconds of an interval; 1 for cron */
    const char *weekdays; /* weekly: mon,wed; unset: the start's weekday */
    const char *month_days; /* monthly: 1,15,-1 (the last day); unset: the start's day */
    const char *at;         /* daily, weekly, monthly: 09:00[:30],17:00; unset: the start's time */
    const char *cron;       /* "0 9 * * mon-fri" */
    const char *zone;       /* Asia/Kuala_Lumpur */
    const char *start;      /* wall clock: 2026-11-26[ 09:00[:00]]; nothing is due before it */
    const char *end_date;   /* wall clock: 2026-12-31, inclusive; or unset */
    const char *month_policy; /* clamp (default): a shorter month's 31st is its last day; skip */
    const char *gap_policy;   /* shift (default) | skip */
};

/* Reads and checks a rule; the caller frees it with recur_free(), keeps nothing of t.  ERR_INPUT
 * begins with the member's name and says what to write instead: an unknown zone, a cron of six
 * fields, an end before the start, a member of another kind of rule, a rule that never fires
 * (nothing due within 100 years of its start, its end included). *ret is then NULL. */
MUST_USE bool recur_parse(const struct recur_text *t, struct recur **ret, struct err *e);
void recur_free(struct recur *r); /* NULL is allowed */

/* The first occurrence after after_s (seconds of UTC since 1970, exclusive).  False when there is
 * none any more. */
bool recur_next(const struct recur *r, int64_t after_s, int64_t *ret_utc_s);

/* Appends what a person should know of a rule that is allowed but surprises, a sentence each with a
 * line end: a 31st that most months do not have, a time that a clock change leaves out or repeats
 * within the next two years after after_s. */
void recur_notes(const struct recur *r, int64_t after_s, struct buf *out);

#endif
