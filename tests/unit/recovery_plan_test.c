#include "reaper/recovery_plan.h"
#include "tests/harness/t.h"

#include <stdio.h>
#include <string.h>

enum { NAMES = 6, GRACE = 15000 };

typedef char name[QUEUE_NAME_SIZE];

static void
fill(name *list, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        (void)snprintf(list[i], sizeof list[i], "worker/host-%zu.%zu.word/0.1.0", i, 100 + i);
    }
}

/* A pointer to arrays does not become one to constant arrays by itself. */
static enum recovery
plan_within(name *expected, size_t n_expected, name *told, size_t n_told, int64_t waited,
            int64_t grace)
{
    return recovery_plan((const char(*)[QUEUE_NAME_SIZE])expected, n_expected,
                         (const char(*)[QUEUE_NAME_SIZE])told, n_told, waited, grace);
}

static enum recovery
plan(name *expected, size_t n_expected, name *told, size_t n_told, int64_t waited)
{
    return plan_within(expected, n_expected, told, n_told, waited, GRACE);
}

TEST(without_workers_a_partition_opens_at_once)
{
    name told[1];
    fill(told, 1);
    CHECK_INT(RECOVERY_OPEN, plan(NULL, 0, NULL, 0, 0));
    CHECK_INT(RECOVERY_OPEN, plan(NULL, 0, told, 1, 0));
    CHECK_INT(RECOVERY_OPEN, plan(NULL, 0, NULL, 0, 10 * GRACE));
}

/* Every set of those that reported, in any order, before, at and after the end of the grace. */
TEST(all_must_report_or_the_grace_must_pass)
{
    static const int64_t waits[] = {0, 1, GRACE - 1, GRACE, GRACE + 1, 100 * GRACE};
    name all[NAMES], told[NAMES + 1];
    fill(all, NAMES);
    for (unsigned set = 0; set < 1u << NAMES; set++) {
        for (size_t n_expected = 0; n_expected <= NAMES; n_expected++) {
            size_t n_told = 0;
            for (size_t i = NAMES; i-- > 0;) {
                if (set >> i & 1) {
                    memcpy(told[n_told++], all[i], sizeof *told);
                }
            }
            bool complete = (set & ((1u << n_expected) - 1)) == (1u << n_expected) - 1;
            for (size_t w = 0; w < sizeof waits / sizeof *waits; w++) {
                enum recovery want = complete            ? RECOVERY_OPEN
                                     : waits[w] >= GRACE ? RECOVERY_OPEN_IN_DOUBT
                                                         : RECOVERY_WAIT;
                CHECK_INT(want, plan(all, n_expected, told, n_told, waits[w]));
            }
        }
    }
}

TEST(a_name_counts_only_as_a_whole)
{
    static const char *const others[] = {"", "worker/host-0", "worker/host-0.100.word/0.1.0x",
                                         "Worker/host-0.100.word/0.1.0",
                                         "worker/host-0.100.other/0.1.0"};
    name expected[1], told[1];
    fill(expected, 1);
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        (void)snprintf(told[0], sizeof told[0], "%s", others[i]);
        CHECK_INT(RECOVERY_WAIT, plan(expected, 1, told, 1, 0));
        CHECK_INT(RECOVERY_OPEN_IN_DOUBT, plan(expected, 1, told, 1, GRACE));
    }
    CHECK_INT(RECOVERY_OPEN, plan(expected, 1, expected, 1, 0));
}

TEST(names_of_full_length_are_told_apart)
{
    name expected[1], told[1];
    memset(expected[0], 'w', QUEUE_NAME_SIZE - 1);
    expected[0][QUEUE_NAME_SIZE - 1] = '\0';
    memcpy(told[0], expected[0], sizeof told[0]);
    CHECK_INT(RECOVERY_OPEN, plan(expected, 1, told, 1, 0));
    told[0][QUEUE_NAME_SIZE - 2] = 'x';
    CHECK_INT(RECOVERY_WAIT, plan(expected, 1, told, 1, 0));
}

TEST(one_report_does_not_count_for_two)
{
    name expected[2], told[2];
    fill(expected, 2);
    memcpy(told[0], expected[0], sizeof told[0]);
    memcpy(told[1], expected[0], sizeof told[1]);
    CHECK_INT(RECOVERY_WAIT, plan(expected, 2, told, 2, 0));
}

TEST(without_grace_nobody_is_waited_for)
{
    name expected[1];
    fill(expected, 1);
    CHECK_INT(RECOVERY_OPEN_IN_DOUBT, plan_within(expected, 1, NULL, 0, 0, 0));
}
