#include "producer/recurring_plan.h"

enum { COUNT_MAX = 200000, GAP_PERCENT_MAX = 400, BAD_PERCENT_MAX = 20 };

/* How many occurrences are due; more than COUNT_MAX are as good as that many. */
static int64_t
count_due(const struct recur *rule, int64_t due, int64_t now_s)
{
    int64_t n = 0;
    for (int64_t at = due; at <= now_s && n < COUNT_MAX; n++) {
        if (!recur_next(rule, at, &at)) {
            return n + 1;
        }
    }
    return n;
}

/* behind: how many newer ones are due as well. */
static bool
is_wanted(const struct recurring_policy *p, int64_t late_s, int64_t behind)
{
    int64_t limit = p->max_lateness_s;
    if (p->catch_up == CATCH_UP_ALL) {
        return behind < p->catch_up_max && late_s <= limit;
    }
    if (p->catch_up == CATCH_UP_SKIP && limit > RECURRING_ON_TIME_S) {
        limit = RECURRING_ON_TIME_S;
    }
    return behind == 0 && late_s <= limit;
}

void
recurring_plan(const struct recur *rule, const struct recurring_policy *policy, int64_t due,
               int64_t now_s, struct recurring_claim *ret)
{
    int64_t all = count_due(rule, due, now_s);
    bool running = policy->running;
    *ret =
        (struct recurring_claim){.executions = policy->executions, .next = due, .after = due - 1};
    for (int64_t i = 0; i < all && ret->n < RECURRING_CLAIM_MAX && !ret->over; i++) {
        struct occurrence *o = &ret->list[ret->n++];
        *o = (struct occurrence){ret->next, OCCURRENCE_MISSED};
        if (is_wanted(policy, now_s - o->at, all - 1 - i)) {
            o->fate = policy->skip_overlap && running ? OCCURRENCE_OVERLAPS : OCCURRENCE_RUNS;
        }
        if (o->fate == OCCURRENCE_RUNS) {
            running = true;
            ret->executions++;
        }
        ret->after = o->at;
        ret->over = (policy->max_executions && ret->executions >= policy->max_executions) ||
                    !recur_next(rule, o->at, &ret->next);
    }
    ret->more = !ret->over && ret->next <= now_s;
}

int64_t
recurring_gap_percent(int64_t total, int64_t bad)
{
    if (total <= 0) {
        return 100;
    }
    int64_t percent = bad * 100 / total;
    percent = percent > BAD_PERCENT_MAX ? BAD_PERCENT_MAX : percent;
    return 100 + percent * (GAP_PERCENT_MAX - 100) / BAD_PERCENT_MAX;
}
