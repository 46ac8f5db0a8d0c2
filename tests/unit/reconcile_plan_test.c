#include "reaper/reconcile_plan.h"
#include "tests/harness/t.h"

#include <string.h>

static const char letters[] = {0, 'S', 'W', 'L', 'P', 'D', 'R', 'U'};
enum { LETTERS = sizeof letters };

/* A row that has stood still, what Redis says of its job, and the repair without and with a doubt.
 */
static const struct expected {
    enum row_status status;
    char letter;
    enum repair sure, doubt;
} expected[] = {
    /* Claimed, and its producer is gone. */
    {ROW_PROCESSING, 0, REPAIR_PENDING, REPAIR_PENDING}, /* it was never activated */
    {ROW_PROCESSING, 'S', REPAIR_NOTHING, REPAIR_NOTHING},
    {ROW_PROCESSING, 'W', REPAIR_QUEUED, REPAIR_QUEUED},
    {ROW_PROCESSING, 'L', REPAIR_QUEUED, REPAIR_QUEUED},
    {ROW_PROCESSING, 'P', REPAIR_QUEUED, REPAIR_QUEUED},
    {ROW_PROCESSING, 'D', REPAIR_NOTHING, REPAIR_NOTHING},
    {ROW_PROCESSING, 'R', REPAIR_NOTHING, REPAIR_NOTHING},
    {ROW_PROCESSING, 'U', REPAIR_NOTHING, REPAIR_NOTHING},
    /* Queued: what Redis does not know is lost, or, in doubt, perhaps sent. */
    {ROW_QUEUED, 0, REPAIR_PENDING, REPAIR_UNKNOWN},
    {ROW_QUEUED, 'S', REPAIR_NOTHING, REPAIR_NOTHING},
    {ROW_QUEUED, 'W', REPAIR_NOTHING, REPAIR_NOTHING},
    {ROW_QUEUED, 'L', REPAIR_NOTHING, REPAIR_NOTHING},
    {ROW_QUEUED, 'P', REPAIR_NOTHING, REPAIR_NOTHING},
    {ROW_QUEUED, 'D', REPAIR_NOTHING, REPAIR_NOTHING},
    {ROW_QUEUED, 'R', REPAIR_NOTHING, REPAIR_NOTHING},
    {ROW_QUEUED, 'U', REPAIR_NOTHING, REPAIR_NOTHING},
};

TEST(a_row_that_stood_still_is_repaired_by_what_redis_knows)
{
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++) {
        const struct expected *x = &expected[i];
        CHECK_INT(x->sure, reconcile_plan(x->status, x->letter, false));
        CHECK_INT(x->doubt, reconcile_plan(x->status, x->letter, true));
    }
}

TEST(a_row_that_waits_for_nothing_is_left_alone)
{
    for (int status = ROW_PENDING; status <= ROW_UNKNOWN; status++) {
        if (status == ROW_PROCESSING || status == ROW_QUEUED) {
            continue;
        }
        for (size_t i = 0; i < LETTERS; i++) {
            CHECK_INT(REPAIR_NOTHING, reconcile_plan((enum row_status)status, letters[i], false));
            CHECK_INT(REPAIR_NOTHING, reconcile_plan((enum row_status)status, letters[i], true));
        }
    }
}

/* A row goes back to pending only when no job can be delivered for it. */
TEST(no_row_is_pending_while_redis_knows_its_job)
{
    for (int status = ROW_PENDING; status <= ROW_UNKNOWN; status++) {
        for (size_t i = 1; i < LETTERS; i++) {
            for (int doubt = 0; doubt < 2; doubt++) {
                enum repair r = reconcile_plan((enum row_status)status, letters[i], doubt);
                CHECK(r == REPAIR_NOTHING || r == REPAIR_QUEUED);
            }
        }
    }
}

TEST(a_letter_that_nobody_knows_repairs_nothing)
{
    for (int c = 1; c < 256; c++) {
        if (!strchr("SWLPDRU", c)) {
            CHECK_INT(REPAIR_NOTHING, reconcile_plan(ROW_QUEUED, (char)c, true));
            CHECK_INT(REPAIR_NOTHING, reconcile_plan(ROW_PROCESSING, (char)c, true));
        }
    }
}

TEST(a_job_stays_while_its_row_waits_for_it_or_its_result_is_on_its_way)
{
    static const uint32_t gens[] = {1, 2, 3};
    for (int present = 0; present < 2; present++) {
        for (int status = ROW_PENDING; status <= ROW_UNKNOWN; status++) {
            for (size_t g = 0; g < 3; g++) {
                for (size_t i = 1; i < LETTERS; i++) {
                    bool result = strchr("DRU", letters[i]) != NULL;
                    bool waits = present && gens[g] == 2 &&
                                 (status == ROW_PROCESSING || status == ROW_QUEUED);
                    CHECK_INT(result || waits, reconcile_keeps(present, (enum row_status)status,
                                                               gens[g], letters[i], 2));
                }
            }
        }
    }
}
