/* withdraw: jobs are taken back before they are sent, whether they wait or are leased; what may
 * have left is left alone. */
#include "tests/harness/rig.h"

#include <stdio.h>
#include <string.h>

static struct rig r;

static void
check_skipped(const char *id, uint32_t gen)
{
    struct queue_result x = rig_result(&r, 1, "skipped", id);
    CHECK_STR("left", x.code);
    CHECK_INT(gen, x.gen);
    CHECK_INT(0, x.token);
    CHECK_INT(17, x.device);
    CHECK_INT(strtoll(id + 1, NULL, 10), x.row);
    rig_forget(&r, 1, &x);
    CHECK_STR("", rig_state(&r, 17, id));
}

TEST(a_waiting_job_is_taken_out_and_its_row_will_be_skipped)
{
    rig_start(&r);
    rig_push(&r, 17, "j1");
    rig_push(&r, 17, "j2");
    CHECK_INT('T', rig_withdraw(&r, 17, "j1", 1));
    CHECK_STR("D 1 0 skipped", rig_state(&r, 17, "j1"));
    rig_check_device(&r, 17);
    CHECK_INT('1', rig_activate(&r, 17, "j1", 1)); /* it has been: nothing comes back */
    rig_check_device(&r, 17);
    check_skipped("j1", 1);
    (void)rig_send(&r, 17, "j2"); /* who stood behind it is next */
    rig_stop(&r);
}

TEST(the_last_job_takes_its_device_out_of_the_ready_index)
{
    rig_start(&r);
    rig_push(&r, 17, "j1");
    CHECK(rig_ready(&r, 17) > 0);
    CHECK_INT('T', rig_withdraw(&r, 17, "j1", 1));
    CHECK_INT(-1, rig_ready(&r, 17));
    rig_check_device(&r, 17);
    check_skipped("j1", 1);
    CHECK_INT(0, redis_num(&r.server, "EXISTS pl:{p01}:d:17:ids pl:{p01}:d:17:jobs"));
    rig_stop(&r);
}

TEST(a_leased_job_is_taken_from_its_worker_before_the_permit)
{
    rig_start(&r);
    rig_push(&r, 17, "j1");
    rig_push(&r, 17, "j2");
    struct queue_permit job = rig_take(&r, 17, "j1");
    CHECK_INT(-1, rig_ready(&r, 17)); /* one at a time */
    CHECK_INT('T', rig_withdraw(&r, 17, "j1", 1));
    rig_check_device(&r, 17);
    CHECK(rig_ready(&r, 17) > 0); /* the device has room again */
    const char *before = rig_dump(&r);
    CHECK_INT(PERMIT_STALE, rig_permit(&r, &job));
    CHECK(!rig_renew(&r, &job));
    CHECK(!rig_release(&r, &job, 0));
    CHECK_STR(before, rig_dump(&r));
    check_skipped("j1", 1);
    CHECK_INT(PERMIT_STALE, rig_permit(&r, &job));
    (void)rig_send(&r, 17, "j2");
    rig_stop(&r);
}

TEST(a_permitted_job_may_have_left_and_stays)
{
    rig_start(&r);
    rig_push(&r, 17, "j1");
    struct queue_permit job = rig_send(&r, 17, "j1");
    const char *before = rig_dump(&r);
    CHECK_INT('P', rig_withdraw(&r, 17, "j1", 1));
    CHECK_STR(before, rig_dump(&r));
    CHECK_INT(FINISH_OK, rig_finish(&r, &job, "sent"));
    (void)rig_result(&r, 1, "sent", "j1");
    rig_stop(&r);
}

TEST(a_permit_that_was_given_back_is_taken_at_the_next_look)
{
    rig_start(&r);
    rig_push(&r, 17, "j1");
    struct queue_permit job = rig_send(&r, 17, "j1");
    CHECK_INT('P', rig_withdraw(&r, 17, "j1", 1));
    CHECK(rig_release(&r, &job, 0));
    CHECK_INT('T', rig_withdraw(&r, 17, "j1", 1));
    rig_check_device(&r, 17);
    rig_stop(&r);
}

TEST(a_staged_job_is_forgotten_and_activate_finds_nothing)
{
    rig_start(&r);
    CHECK_INT('S', rig_stage(&r, 17, "j1", 3));
    CHECK_INT('S', rig_withdraw(&r, 17, "j1", 3));
    CHECK_STR("", rig_state(&r, 17, "j1"));
    CHECK_INT('0', rig_activate(&r, 17, "j1", 3));
    CHECK_INT(0, redis_num(&r.server, "XLEN pl:{p01}:results"));
    CHECK_INT(0, rig_withdraw(&r, 17, "j1", 3));
    rig_stop(&r);
}

TEST(an_older_life_goes_and_a_later_one_stays)
{
    rig_start(&r);
    rig_push(&r, 17, "j1"); /* generation 1 */
    CHECK_INT('N', rig_withdraw(&r, 17, "j1", 0));
    CHECK_INT('W', *rig_state(&r, 17, "j1"));
    CHECK_INT('T', rig_withdraw(&r, 17, "j1", 2)); /* its row was claimed again */
    check_skipped("j1", 1);
    CHECK_INT('S', rig_stage(&r, 17, "j2", 1));
    CHECK_INT(0, rig_withdraw(&r, 17, "j2", 2)); /* forgotten, but not what the row calls queued */
    CHECK_STR("", rig_state(&r, 17, "j2"));
    CHECK_INT('S', rig_stage(&r, 17, "j3", 10)); /* nine is less than ten */
    CHECK_INT('N', rig_withdraw(&r, 17, "j3", 9));
    CHECK_INT('1', rig_activate(&r, 17, "j3", 10));
    rig_check_device(&r, 17);
    rig_stop(&r);
}

TEST(what_has_an_outcome_keeps_it)
{
    static const char *const kinds[] = {"sent", "retry", "unknown"};
    rig_start(&r);
    for (size_t i = 0; i < 3; i++) {
        char id[8];
        (void)snprintf(id, sizeof id, "j%zu", i + 1);
        rig_push(&r, 17, id);
        struct queue_permit job = rig_send(&r, 17, id);
        CHECK_INT(FINISH_OK, rig_finish(&r, &job, kinds[i]));
        const char *before = rig_dump(&r);
        CHECK_INT("DRU"[i], rig_withdraw(&r, 17, id, 1));
        CHECK_STR(before, rig_dump(&r));
    }
    CHECK_INT(0, rig_withdraw(&r, 17, "j9", 1));
    rig_stop(&r);
}

TEST(the_same_call_again_changes_nothing)
{
    rig_start(&r);
    r.pace.max_in_flight = 3;
    rig_push(&r, 17, "j1");
    rig_push(&r, 17, "j2");
    (void)rig_take(&r, 17, "j1");
    CHECK_INT('T', rig_withdraw(&r, 17, "j1", 1));
    CHECK_INT('T', rig_withdraw(&r, 17, "j2", 1));
    const char *before = rig_dump(&r);
    CHECK_INT('D', rig_withdraw(&r, 17, "j1", 1));
    CHECK_INT('D', rig_withdraw(&r, 17, "j2", 1));
    CHECK_STR(before, rig_dump(&r));
    rig_stop(&r);
}

TEST(many_jobs_of_many_devices_go_in_one_call)
{
    struct queue_withdraw x[QUEUE_BATCH_MAX] = {{0}};
    rig_start(&r);
    for (size_t i = 0; i < QUEUE_BATCH_MAX; i++) {
        x[i] = (struct queue_withdraw){.device = 1 + 4 * (i / 10), .row = i, .gen = 1};
        (void)snprintf(x[i].id, sizeof x[i].id, "j%zu", i);
        (void)snprintf(x[i].code, sizeof x[i].code, "opted-out");
        if (i % 2) {
            rig_push(&r, x[i].device, x[i].id);
        }
    }
    CHECK_RUN(ERR_NONE, &r, withdraw, 1, x, QUEUE_BATCH_MAX);
    for (size_t i = 0; i < QUEUE_BATCH_MAX; i++) {
        CHECK_INT(i % 2 ? 'T' : 0, x[i].answer);
    }
    for (uint64_t device = 1; device < 40; device += 4) {
        rig_check_device(&r, device);
    }
    CHECK_INT(QUEUE_BATCH_MAX / 2, redis_num(&r.server, "XLEN pl:{p01}:results"));
    rig_stop(&r);
}

TEST(a_paused_device_gives_its_jobs_too)
{
    rig_start(&r);
    rig_push(&r, 17, "j1");
    struct device_pace pace = {.version = 2, .max_in_flight = 1, .paused = "ops"};
    CHECK_RUN(ERR_NONE, &r, steer_device, 17, &pace);
    CHECK_INT('T', rig_withdraw(&r, 17, "j1", 1));
    rig_check_device(&r, 17);
    CHECK_STR("ops", rig_field(&r, 17, "paused"));
    rig_stop(&r);
}
