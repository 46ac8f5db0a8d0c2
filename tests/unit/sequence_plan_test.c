#include "producer/sequence_plan.h"
#include "tests/harness/t.h"

#include <stdlib.h>

/* COLD 3 -> WARM 2 -> HOT 1. */
static struct chain
cold_warm_hot(void)
{
    struct chain c = {.user = 1};
    static const struct chain_link links[] = {
        {.sequence = 10, .start_after_s = 300, .next_after_s = 100, .first = 0, .n = 3},
        {.sequence = 20, .start_after_s = 999, .next_after_s = 50, .first = 3, .n = 2},
        {.sequence = 30, .start_after_s = 999, .next_after_s = 7, .first = 5, .n = 1},
    };
    static const struct chain_step steps[] = {{1, 0, false, 0},   {2, 1000, false, 0},
                                              {3, 1500, true, 0}, {4, 0, false, 0},
                                              {5, 60, true, 0},   {6, 5, false, 0}};
    for (size_t i = 0; i < 3; i++) {
        c.links[c.n_links++] = links[i];
    }
    for (size_t i = 0; i < 6; i++) {
        c.steps[c.n_steps++] = steps[i];
    }
    return c;
}

TEST(times_follow_from_step_to_step_and_from_sequence_to_sequence)
{
    static const int64_t want[] = {300, 1300, 1800, 1900, 1960, 2015};
    struct chain c = cold_warm_hot();
    sequence_plan_times(&c);
    for (size_t i = 0; i < 6; i++) {
        CHECK_INT(want[i], c.steps[i].at_s);
    }
    CHECK(chain_has(&c, 20) && !chain_has(&c, 21));
}

TEST(a_batch_makes_no_more_rows_than_one_statement_should)
{
    struct chain c = cold_warm_hot();
    CHECK_INT(50, sequence_plan_batch(&c, 50));
    CHECK_INT(166, sequence_plan_batch(&c, 500));
    c.n_steps = 500;
    CHECK_INT(2, sequence_plan_batch(&c, 50));
    c.n_steps = 0;
    CHECK_INT(50, sequence_plan_batch(&c, 50));
}

TEST(nobody_gets_a_step_twice_unless_that_is_wanted)
{
    static const struct {
        struct known_contact known[3];
        bool again;
        const char *links; /* which are made */
        unsigned rotation;
    } cases[] = {
        {{{0}}, false, "+++", 0},
        {{{0}}, true, "+++", 0},
        {{{true, true, 0}, {true, true, 0}, {true, true, 0}}, false, "---", 0},
        {{{true, true, 0}, {true, true, 0}, {true, true, 0}}, true, "---", 0},
        {{{true, false, 0}, {true, true, 0}, {true, true, 0}}, true, "---", 0},
        {{{true, false, 0}, {true, false, 0}, {true, false, 0}}, false, "---", 0},
        {{{true, false, 0}, {true, false, 0}, {true, false, 0}}, true, "+++", 1},
        {{{true, false, 0}, {true, false, 4}, {true, false, 2}}, true, "+++", 5},
        /* It was in WARM by that sequence's own trigger. */
        {{{false, false, 0}, {true, false, 0}, {true, true, 0}}, false, "+--", 0},
        {{{false, false, 0}, {true, false, 0}, {false, false, 0}}, true, "+-+", 0},
    };
    struct chain c = cold_warm_hot();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        bool links[CHAIN_LINKS_MAX];
        unsigned rotation = 99;
        char got[4] = "---";
        sequence_plan_lead(&c, cases[i].known, cases[i].again, links, &rotation);
        for (size_t k = 0; k < 3; k++) {
            got[k] = links[k] ? '+' : '-';
        }
        CHECK_STR(cases[i].links, got);
        if (links[0]) {
            CHECK_INT(cases[i].rotation, rotation);
        }
    }
}

TEST(enrolment_yields_to_what_is_due)
{
    double rate = 1000;
    CHECK(sequence_plan_rate(rate, -1, 500, 20000) == 1250);
    CHECK(sequence_plan_rate(rate, 500, 500, 20000) == 1250);
    CHECK(sequence_plan_rate(rate, 501, 500, 20000) == 800);
    rate = sequence_plan_rate(sequence_plan_rate(rate, 501, 500, 20000), 0, 500, 20000);
    CHECK(rate > 999.9 && rate < 1000.1); /* one late pass costs nothing */
    CHECK(sequence_plan_rate(19000, 0, 500, 20000) == 20000);
    for (int i = 0; i < 100; i++) {
        rate = sequence_plan_rate(rate, 100000, 500, 20000);
    }
    CHECK(rate == 100); /* it never stands still */
}
