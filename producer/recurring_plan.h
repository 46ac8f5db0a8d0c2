/* recurring_plan.h -- which occurrences of a rule run now, which were missed, and when the next one
 * is.  Pure. */
#ifndef PRODUCER_RECURRING_PLAN_H
#define PRODUCER_RECURRING_PLAN_H

#include "shared/recur.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { RECURRING_CLAIM_MAX = 500, RECURRING_ON_TIME_S = 60 };

struct recurring_policy {
    enum catch_up { CATCH_UP_ONE, CATCH_UP_SKIP, CATCH_UP_ALL } catch_up;
    int64_t catch_up_max;               /* all: the newest so many */
    int64_t max_lateness_s;             /* a run that is later than this is missed */
    int64_t max_executions, executions; /* max 0: any number */
    bool skip_overlap, running;         /* running: an earlier run is not finished */
};

struct recurring_claim {
    struct occurrence {
        int64_t at; /* nominal instant, seconds of UTC */
        enum occurrence_fate { OCCURRENCE_RUNS, OCCURRENCE_MISSED, OCCURRENCE_OVERLAPS } fate;
    } list[RECURRING_CLAIM_MAX];
    size_t n;
    int64_t executions; /* as they are afterwards */
    bool over;          /* the rule has no further occurrence */
    int64_t next;       /* otherwise its next nominal instant, perhaps due already: see more */
    int64_t after;      /* next is the first occurrence behind this instant */
    bool more;          /* the list was full: claim again at once */
};

/* Occurrences due at now_s, from `due` on (the rule's next_run_at), oldest first.
 *   one   the newest runs, if it is not later than max_lateness_s; those before it were missed
 *   skip  the same, but it has RECURRING_ON_TIME_S at most
 *   all   the newest catch_up_max run, each if it is not later than max_lateness_s
 * After max_executions runs the rule is over. */
void recurring_plan(const struct recur *rule, const struct recurring_policy *policy, int64_t due,
                    int64_t now_s, struct recurring_claim *ret);

/* What an adaptive rule makes of the outcomes of the run before: 100 per cent of the device's gaps
 * where all went well, up to 400 where a fifth or more failed or stayed unknown. */
int64_t recurring_gap_percent(int64_t total, int64_t bad);

#endif
