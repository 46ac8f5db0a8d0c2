#include "producer/recurring_plan.h"
#include "tests/harness/t.h"

static const int64_t start = 1763805600; /* 2025-11-22 10:00:00 UTC */

static struct recur *
every(int64_t seconds)
{
    struct recur *r = NULL;
    const struct recur_text t = {
        .freq = "interval", .every = seconds, .zone = "UTC", .start = "2025-11-22 10:00:00"};
    CHECK_OK(recur_parse(&t, &r, e));
    return r;
}

/* Fates as letters: r runs, m missed, o overlaps. */
static const char *
fates(const struct recurring_claim *c)
{
    static char out[RECURRING_CLAIM_MAX + 1];
    size_t n = 0;
    for (; n < c->n; n++) {
        out[n] = "rmo"[c->list[n].fate];
        CHECK(n == 0 || c->list[n].at > c->list[n - 1].at);
    }
    out[n] = '\0';
    return out;
}

static const struct recurring_policy plain = {.catch_up = CATCH_UP_ONE, .max_lateness_s = 3600};

static struct recurring_claim
plan(const struct recur *r, const struct recurring_policy *p, int64_t now)
{
    static struct recurring_claim c;
    recurring_plan(r, p, start, now, &c);
    return c;
}

TEST(one_that_is_due_runs_and_the_next_follows)
{
    struct recur *r = every(600);
    struct recurring_claim c = plan(r, &plain, start + 5);
    CHECK_STR("r", fates(&c));
    CHECK_INT(start, c.list[0].at);
    CHECK_INT(start + 600, c.next);
    CHECK_INT(start, c.after);
    CHECK_INT(1, c.executions);
    CHECK(!c.over && !c.more);
    recur_free(r);
}

TEST(missed_ones_follow_the_policy)
{
    static const struct {
        enum catch_up catch_up;
        int64_t max, lateness, now;
        const char *want;
    } cases[] = {
        {CATCH_UP_ONE, 0, 3600, 1805, "mmmr"},
        {CATCH_UP_ONE, 0, 3600, 1800, "mmmr"}, /* to the second */
        {CATCH_UP_ONE, 0, 4, 1805, "mmmm"},
        {CATCH_UP_ONE, 0, 5, 1805, "mmmr"},
        {CATCH_UP_SKIP, 0, 3600, 1805, "mmmr"},
        {CATCH_UP_SKIP, 0, 3600, 1861, "mmmm"}, /* later than on time */
        {CATCH_UP_SKIP, 0, 30, 1835, "mmmm"},
        {CATCH_UP_ALL, 10, 3600, 1805, "rrrr"},
        {CATCH_UP_ALL, 2, 3600, 1805, "mmrr"},
        {CATCH_UP_ALL, 10, 1000, 1805, "mmrr"},
        {CATCH_UP_ALL, 0, 3600, 1805, "mmmm"},
    };
    struct recur *r = every(600);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct recurring_policy p = plain;
        p.catch_up = cases[i].catch_up;
        p.catch_up_max = cases[i].max;
        p.max_lateness_s = cases[i].lateness;
        struct recurring_claim c = plan(r, &p, start + cases[i].now);
        CHECK_STR(cases[i].want, fates(&c));
        CHECK_INT(start + 2400, c.next);
        CHECK_INT(start + 1800, c.after);
    }
    recur_free(r);
}

TEST(executions_end_a_rule_and_missed_ones_do_not_count)
{
    struct recur *r = every(600);
    struct recurring_policy p = {.catch_up = CATCH_UP_ALL,
                                 .catch_up_max = 3,
                                 .max_lateness_s = 3600,
                                 .max_executions = 7,
                                 .executions = 5};
    struct recurring_claim c = plan(r, &p, start + 1800);
    CHECK_STR("mrr", fates(&c));
    CHECK(c.over && !c.more);
    CHECK_INT(7, c.executions);
    recur_free(r);
}

TEST(overlaps_are_skipped_only_where_that_is_wanted)
{
    struct recur *r = every(600);
    struct recurring_policy p = {
        .catch_up = CATCH_UP_ALL, .catch_up_max = 9, .max_lateness_s = 3600, .running = true};
    struct recurring_claim c = plan(r, &p, start + 600);
    CHECK_STR("rr", fates(&c));
    p.skip_overlap = true;
    c = plan(r, &p, start + 600);
    CHECK_STR("oo", fates(&c));
    CHECK_INT(0, c.executions);
    p.running = false;
    c = plan(r, &p, start + 600);
    CHECK_STR("ro", fates(&c));
    recur_free(r);
}

/* Weeks of a rule that was due each minute are gone through in several claims, none left out. */
TEST(many_missed_ones_are_claimed_in_turn)
{
    struct recur *r = every(60);
    struct recurring_policy p = plain;
    int64_t due = start, now = start + 60 * 1700, at = start - 60, runs = 0;
    struct recurring_claim c;
    do {
        recurring_plan(r, &p, due, now, &c);
        for (size_t i = 0; i < c.n; i++) {
            CHECK_INT(at + 60, c.list[i].at);
            at = c.list[i].at;
            runs += c.list[i].fate == OCCURRENCE_RUNS;
        }
        CHECK(c.n > 0);
        CHECK(c.more == (c.next <= now));
        due = c.next;
    } while (c.more);
    CHECK_INT(now, at);
    CHECK_INT(1, runs);
    recur_free(r);
}

TEST(a_rule_with_an_end_is_over)
{
    struct recur *r = NULL;
    const struct recur_text t = {.freq = "daily",
                                 .every = 1,
                                 .zone = "UTC",
                                 .start = "2025-11-22 10:00:00",
                                 .end_date = "2025-11-23"};
    CHECK_OK(recur_parse(&t, &r, e));
    struct recurring_claim c = plan(r, &plain, start + 86400);
    CHECK_STR("mr", fates(&c));
    CHECK(c.over && !c.more);
    recur_free(r);
}

TEST(an_adaptive_gap_grows_with_what_went_wrong)
{
    CHECK_INT(100, recurring_gap_percent(0, 0));
    CHECK_INT(100, recurring_gap_percent(1000, 0));
    CHECK_INT(100, recurring_gap_percent(1000, 9));
    CHECK_INT(250, recurring_gap_percent(100, 10));
    CHECK_INT(400, recurring_gap_percent(100, 20));
    CHECK_INT(400, recurring_gap_percent(100, 100));
}
