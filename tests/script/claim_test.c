/* claim, release and renew: who gets which job, when, and in which order. */
#include "tests/harness/rig.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static struct rig r;

static void
push_many(uint64_t device, int from, int to)
{
    for (int i = from; i <= to; i++) {
        char id[16];
        (void)snprintf(id, sizeof id, "j%d", i);
        rig_push(&r, device, id);
    }
}

TEST(a_claim_gives_the_job_as_it_was_pushed_and_leases_it)
{
    rig_start(&r);
    r.pace = (struct device_pace){.version = 1,
                                  .max_in_flight = 1,
                                  .gap_min_ms = 3,
                                  .gap_max_ms = 4,
                                  .batch_size = 6,
                                  .batch_pause_ms = 7,
                                  .quiet = "1320 420 Asia/Kuala_Lumpur"};
    rig_push(&r, 17, "j12");
    int64_t t = redis_now_ms(&r.server);
    CHECK_INT(ERR_NONE, rig_claim_for(&r, (const uint64_t[]){17}, 1, 10));
    CHECK_INT(1, r.claim.n_jobs);
    const struct queue_claimed *j = r.claim.jobs;
    CHECK_INT(17, j->lease.device);
    CHECK_STR("j12", j->lease.id);
    CHECK_INT(1, j->lease.gen);
    CHECK_INT(1, j->lease.token);
    CHECK_INT(12, j->row);
    CHECK_STR("c1", j->source);
    CHECK(j->gap_min_ms == 3 && j->gap_max_ms == 4 && j->batch_size == 6 && j->batch_pause_ms == 7);
    CHECK_STR("1320 420 Asia/Kuala_Lumpur", j->quiet);
    CHECK_INT(JOB_VERSION, j->version);
    CHECK(j->payload_len == 3 && memcmp(j->payload, "p\0q", 3) == 0);
    CHECK(r.claim.now_ms >= t && r.claim.now_ms <= redis_now_ms(&r.server));
    CHECK_INT(-1, r.claim.next_due_ms);
    CHECK_INT(0, r.claim.n_due);
    CHECK_INT(r.claim.now_ms + RIG_LEASE_MS, redis_num(&r.server, "ZSCORE pl:{p01}:leases 17/j12"));
    CHECK(strstr(rig_state(&r, 17, "j12"), " 1 w1"));
    rig_check_device(&r, 17);
    rig_stop(&r);
}

TEST(a_claim_twice_gives_nothing_twice)
{
    struct queue_permit jobs[4];
    rig_start(&r);
    push_many(17, 1, 2);
    CHECK_INT(1, rig_claim(&r, 17, 10, jobs));
    const char *before = rig_dump(&r);
    CHECK_INT(0, rig_claim(&r, 17, 10, jobs)); /* one is in flight */
    CHECK_STR(before, rig_dump(&r));
    rig_stop(&r);
}

TEST(a_claim_names_the_devices_that_are_due_and_when_the_next_is)
{
    rig_start(&r);
    rig_push(&r, 17, "j1");
    rig_push(&r, 21, "j2");
    rig_push(&r, 25, "j3");
    int64_t later = redis_now_ms(&r.server) + 3600000;
    CHECK_INT(0, redis_num(&r.server, "HSET pl:{p01}:d:25 next %" PRId64, later));
    CHECK_INT(0, rig_repair(&r, 25)); /* the index follows the device's own slot */
    CHECK_INT(later, rig_ready(&r, 25));
    CHECK_INT(ERR_NONE, rig_claim_for(&r, (const uint64_t[]){29}, 1, 10));
    CHECK_INT(2, r.claim.n_due);
    CHECK_INT(17 + 21, r.claim.due[0] + r.claim.due[1]);
    CHECK(r.claim.next_due_ms <= r.claim.now_ms);
    CHECK_INT(ERR_NONE, rig_claim_for(&r, (const uint64_t[]){17, 21, 25}, 3, 10));
    CHECK_INT(2, r.claim.n_jobs); /* 25 is not due */
    CHECK_INT(0, r.claim.n_due);
    CHECK_INT(later, r.claim.next_due_ms);
    rig_stop(&r);
}

TEST(room_bounds_what_a_claim_takes)
{
    struct queue_permit jobs[20];
    rig_start(&r);
    r.pace.max_in_flight = 5;
    push_many(17, 1, 6);
    push_many(21, 7, 9);
    CHECK_INT(0, rig_claim(&r, 17, 0, jobs));
    CHECK_INT(ERR_NONE, rig_claim_for(&r, (const uint64_t[]){17, 21}, 2, 2));
    CHECK_INT(2, r.claim.n_jobs);
    CHECK_STR("j2", r.claim.jobs[1].lease.id);
    CHECK_INT(2, r.claim.n_due); /* both have more */
    CHECK_INT(ERR_NONE, rig_claim_for(&r, (const uint64_t[]){17, 21}, 2, 4));
    CHECK_INT(4, r.claim.n_jobs);
    CHECK_INT(17, r.claim.jobs[2].lease.device);
    CHECK_INT(21, r.claim.jobs[3].lease.device);
    rig_check_device(&r, 17);
    rig_check_device(&r, 21);
    rig_stop(&r);
}

TEST(no_more_than_max_in_flight_are_leased)
{
    struct queue_permit jobs[20];
    rig_start(&r);
    r.pace.max_in_flight = 3;
    push_many(17, 1, 5);
    CHECK_INT(3, rig_claim(&r, 17, 20, jobs));
    for (int i = 0; i < 3; i++) {
        CHECK_INT(i + 1, jobs[i].row); /* in order, each with its own token */
        CHECK_INT(i + 1, jobs[i].lease.token);
    }
    CHECK_INT(-1, rig_ready(&r, 17));
    CHECK_INT(0, rig_claim(&r, 17, 20, jobs + 3));
    CHECK_INT(PERMIT_GO, rig_permit(&r, &jobs[1]));
    CHECK_INT(0, rig_claim(&r, 17, 20, jobs + 3));
    CHECK_INT(FINISH_OK, rig_finish(&r, &jobs[1], "sent"));
    CHECK_INT(1, rig_claim(&r, 17, 20, jobs + 3));
    CHECK_INT(4, jobs[3].row);
    CHECK_INT(4, jobs[3].lease.token);
    rig_check_device(&r, 17);
    rig_stop(&r);
}

TEST(with_a_gap_one_job_a_claim_is_leased)
{
    struct queue_permit jobs[4];
    rig_start(&r);
    r.pace.max_in_flight = 3;
    r.pace.gap_min_ms = r.pace.gap_max_ms = 40;
    push_many(17, 1, 3);
    CHECK_INT(1, rig_claim(&r, 17, 10, jobs));
    CHECK_INT(PERMIT_GO, rig_permit(&r, &jobs[0]));
    int64_t next = rig_field_num(&r, 17, "next");
    CHECK_INT(next, rig_ready(&r, 17)); /* it has room, at its next slot */
    jobs[1] = rig_take(&r, 17, "j2");   /* while the first is in flight */
    CHECK(r.claim.now_ms >= next);
    CHECK_INT(2, rig_field_num(&r, 17, "in_flight"));
    rig_check_device(&r, 17);
    rig_stop(&r);
}

/* --- order ---------------------------------------------------------------------------------------
 */

TEST(released_jobs_stay_at_the_head_in_their_order)
{
    struct queue_permit jobs[8];
    rig_start(&r);
    r.pace.max_in_flight = 4;
    push_many(17, 1, 6);
    CHECK_INT(3, rig_claim(&r, 17, 3, jobs));
    CHECK(rig_release(&r, &jobs[2], 0));
    CHECK(rig_release(&r, &jobs[0], 0));
    rig_check_device(&r, 17);
    CHECK_INT(3, rig_claim(&r, 17, 8, jobs + 3)); /* j2 is still out */
    CHECK_INT(1, jobs[3].row);
    CHECK_INT(3, jobs[4].row);
    CHECK_INT(4, jobs[5].row);
    CHECK_INT(4, jobs[3].lease.token);
    rig_check_device(&r, 17);
    CHECK_INT(FINISH_OK, rig_finish(&r, &jobs[1], "sent"));
    CHECK(rig_release(&r, &jobs[5], 0));
    CHECK_INT(1, rig_claim(&r, 17, 1, jobs));
    CHECK_INT(4, jobs[0].row);
    CHECK(rig_release(&r, &jobs[4], 0));
    CHECK_INT(1, rig_claim(&r, 17, 1, jobs));
    CHECK_INT(3, jobs[0].row);
    CHECK_INT(1, rig_claim(&r, 17, 8, jobs));
    CHECK_INT(5, jobs[0].row);
    CHECK_INT(0, rig_claim(&r, 17, 8, jobs)); /* four are out */
    rig_check_device(&r, 17);
    rig_stop(&r);
}

TEST(reclaimed_jobs_stay_at_the_head)
{
    rig_start(&r);
    push_many(17, 1, 3);
    struct queue_permit first = rig_take(&r, 17, "j1");
    CHECK_INT('a', rig_end_lease(&r, &first));
    struct queue_permit again = rig_send(&r, 17, "j1");
    CHECK_INT(2, again.lease.token);
    CHECK_INT(FINISH_OK, rig_finish(&r, &again, "sent"));
    (void)rig_send(&r, 17, "j2");
    rig_check_device(&r, 17);
    rig_stop(&r);
}

TEST(release_takes_back_only_what_the_token_holds)
{
    rig_start(&r);
    rig_push(&r, 17, "j1");
    struct queue_permit job = rig_take(&r, 17, "j1"), other = job;
    const char *before = rig_dump(&r);
    other.lease.token = 9;
    CHECK(!rig_release(&r, &other, 0));
    other = job;
    other.lease.gen = 2;
    CHECK(!rig_release(&r, &other, 0));
    (void)snprintf(other.lease.id, sizeof other.lease.id, "j9");
    CHECK(!rig_release(&r, &other, 0));
    CHECK_STR(before, rig_dump(&r));
    int64_t next = rig_field_num(&r, 17, "next");
    CHECK(rig_release(&r, &job, 0));
    CHECK_INT(next, rig_field_num(&r, 17, "next"));
    CHECK_STR("", rig_field(&r, 17, "held"));
    before = rig_dump(&r);
    CHECK(!rig_release(&r, &job, 0)); /* twice: it is nobody's now */
    CHECK_STR(before, rig_dump(&r));
    job = rig_send(&r, 17, "j1");
    CHECK(rig_release(&r, &job, 0)); /* permitted, the request was never started */
    CHECK_INT('W', *rig_state(&r, 17, "j1"));
    rig_check_device(&r, 17);
    job = rig_send(&r, 17, "j1");
    CHECK_INT(FINISH_OK, rig_finish(&r, &job, "sent"));
    CHECK(!rig_release(&r, &job, 0));
    CHECK_INT('D', *rig_state(&r, 17, "j1"));
    rig_stop(&r);
}

TEST(a_release_may_hold_the_device_and_never_shortens_its_pace)
{
    rig_start(&r);
    rig_push(&r, 17, "j1");
    struct queue_permit job = rig_take(&r, 17, "j1");
    int64_t t = redis_now_ms(&r.server);
    CHECK(rig_release(&r, &job, 40));
    int64_t next = rig_field_num(&r, 17, "next");
    CHECK(next >= t + 40 && next <= redis_now_ms(&r.server) + 40);
    CHECK_STR("quiet", rig_field(&r, 17, "held"));
    CHECK_INT(next, rig_ready(&r, 17));
    job = rig_take(&r, 17, "j1");
    CHECK(r.claim.now_ms >= next);
    CHECK(rig_release(&r, &job, 3600000));
    next = rig_field_num(&r, 17, "next");
    CHECK_INT(0, redis_num(&r.server, "HSET pl:{p01}:d:17 next 0"));
    job = rig_take(&r, 17, "j1");
    CHECK_INT(0, redis_num(&r.server, "HSET pl:{p01}:d:17 next %" PRId64, next));
    CHECK(rig_release(&r, &job, 1000));
    CHECK_INT(next, rig_field_num(&r, 17, "next"));
    rig_check_device(&r, 17);
    rig_stop(&r);
}

TEST(renew_extends_the_callers_own_leases_only)
{
    rig_start(&r);
    r.pace.max_in_flight = 3;
    push_many(17, 1, 3);
    struct queue_permit jobs[3], other;
    CHECK_INT(3, rig_claim(&r, 17, 3, jobs));
    CHECK_INT(PERMIT_GO, rig_permit(&r, &jobs[1]));
    CHECK_INT(FINISH_OK, rig_finish(&r, &jobs[2], "failed"));
    other = jobs[0];
    other.lease.token = 99;
    struct queue_lease leases[4] = {jobs[0].lease, other.lease, jobs[1].lease, jobs[2].lease};
    bool ok[4] = {false, true, false, true};
    CHECK_RUN(ERR_NONE, &r, renew, 1, 100000, leases, ok, 4);
    CHECK(ok[0] && !ok[1] && ok[2] && !ok[3]);
    int64_t least = redis_now_ms(&r.server) + RIG_LEASE_MS + 1000;
    CHECK(redis_num(&r.server, "ZSCORE pl:{p01}:leases 17/j1") > least);
    CHECK(redis_num(&r.server, "ZSCORE pl:{p01}:leases 17/j2") > least);
    CHECK(rig_renew(&r, &jobs[0])); /* twice */
    rig_check_device(&r, 17);
    rig_stop(&r);
}

/* --- what must not go out
 * -------------------------------------------------------------------------- */

TEST(jobs_of_a_paused_source_go_back_to_mysql)
{
    rig_start(&r);
    push_many(17, 1, 2);
    r.source = "c2";
    push_many(17, 3, 3);
    CHECK_RUN(ERR_NONE, &r, steer_source, "c1", "paused");
    struct queue_permit job;
    CHECK_INT(0, rig_claim(&r, 17, 0, &job)); /* without room nothing is looked at */
    CHECK_INT(3, redis_num(&r.server, "XLEN pl:{p01}:d:17:jobs"));
    job = rig_take(&r, 17, "j3"); /* never head of line */
    struct queue_result x[4];
    CHECK_INT(2, rig_results(&r, 1, x, 4));
    for (int i = 0; i < 2; i++) {
        CHECK_STR("returned", x[i].kind);
        CHECK_STR("paused", x[i].code);
        CHECK_INT(i + 1, x[i].row);
        CHECK(x[i].device == 17 && x[i].gen == 1 && x[i].token == 0);
    }
    CHECK_STR("R 1 0 returned", rig_state(&r, 17, "j1"));
    rig_check_device(&r, 17);
    CHECK_RUN(ERR_NONE, &r, forget, 1, x, 2);
    CHECK_STR("", rig_state(&r, 17, "j1"));
    CHECK_RUN(ERR_NONE, &r, steer_source, "c1", "none");
    CHECK_INT(FINISH_OK, rig_finish(&r, &job, "sent"));
    r.source = "c1";
    rig_push(&r, 17, "j1"); /* a new claim in MySQL */
    (void)rig_send(&r, 17, "j1");
    rig_stop(&r);
}

TEST(jobs_of_a_cancelled_source_and_late_ones_are_skipped)
{
    rig_start(&r);
    rig_push(&r, 17, "j1");
    r.source = "c2";
    r.expires_in_ms = 30;
    rig_push(&r, 17, "j2");
    r.expires_in_ms = 3600000;
    rig_push(&r, 17, "j3");
    CHECK_RUN(ERR_NONE, &r, steer_source, "c1", "cancelled");
    int64_t late = redis_now_ms(&r.server) + 31;
    T_WAIT(redis_now_ms(&r.server) > late, 5000);
    (void)rig_send(&r, 17, "j3");
    struct queue_result x[4];
    CHECK_INT(2, rig_results(&r, 1, x, 4));
    CHECK_STR("skipped", x[0].kind);
    CHECK_STR("cancelled", x[0].code);
    CHECK_STR("skipped", x[1].kind);
    CHECK_STR("expired", x[1].code);
    CHECK_STR("D 1 0 skipped", rig_state(&r, 17, "j1"));
    CHECK_STR("D 1 0 skipped", rig_state(&r, 17, "j2"));
    rig_check_device(&r, 17);
    rig_stop(&r);
}

/* Pushes this many jobs of one device in full batches. */
static void
push_crowd(uint64_t device, int n)
{
    static struct queue_push items[QUEUE_BATCH_MAX];
    for (int i = 0, k = 0; i < n; i++) {
        char id[16];
        (void)snprintf(id, sizeof id, "x%d", i);
        items[k++] = rig_item(&r, device, id, 1);
        if (k == QUEUE_BATCH_MAX || i + 1 == n) {
            CHECK_RUN(ERR_NONE, &r, stage, 1, items, (size_t)k, 10000);
            CHECK_RUN(ERR_NONE, &r, activate, 1, items, (size_t)k, 10000);
            k = 0;
        }
    }
}

TEST(a_claim_sets_aside_a_bounded_number_of_jobs)
{
    struct queue_permit job;
    rig_start(&r);
    r.pace.max_in_flight = 7;
    push_crowd(17, 120);
    CHECK_RUN(ERR_NONE, &r, steer_source, "c1", "cancelled");
    int64_t left = 120;
    for (int calls = 0; left > 0; calls++) {
        CHECK(calls < 10);
        CHECK_INT(0, rig_claim(&r, 17, 10, &job));
        int64_t now = redis_num(&r.server, "XLEN pl:{p01}:d:17:jobs");
        CHECK(now < left && left - now <= 50);
        CHECK_INT(now ? 1 : 0, r.claim.n_due); /* it is named again at once */
        rig_check_device(&r, 17);
        left = now;
    }
    CHECK_INT(120, redis_num(&r.server, "XLEN pl:{p01}:results"));
    rig_stop(&r);
}

TEST(a_paused_device_gives_nothing_until_it_is_resumed)
{
    struct queue_permit job;
    rig_start(&r);
    rig_push(&r, 17, "j1");
    r.pace.version = 2;
    (void)snprintf(r.pace.paused, sizeof r.pace.paused, "ops: number blocked");
    CHECK_RUN(ERR_NONE, &r, steer_device, 17, &r.pace);
    CHECK_INT(-1, rig_ready(&r, 17));
    CHECK_INT(0, rig_claim(&r, 17, 10, &job));
    rig_check_device(&r, 17);
    r.pace.version = 3;
    r.pace.paused[0] = '\0';
    CHECK_RUN(ERR_NONE, &r, steer_device, 17, &r.pace);
    (void)rig_send(&r, 17, "j1");
    rig_stop(&r);
}

TEST(a_claim_heals_what_it_meets)
{
    struct queue_permit job;
    rig_start(&r);
    r.pace.max_in_flight = 2;
    push_many(17, 1, 3);
    /* A stray entry in front, one that nobody acknowledged, and a device whose index entry is
     * wrong. */
    (void)rig_take(&r, 17, "j1");
    CHECK_INT(1, redis_num(&r.server, "HDEL pl:{p01}:d:17:ids j2"));
    (void)redis_do(&r.server, "XADD pl:{p01}:d:17:jobs * id j8 gen 1 row 8 src c1 exp 0 v 1 job p");
    (void)redis_do(&r.server, "XADD pl:{p01}:d:17:jobs * id j1 gen 1 row 1 src c1 exp 0 v 1 job p");
    CHECK_INT(1, rig_claim(&r, 17, 1, &job));
    CHECK_STR("j3", job.lease.id);
    CHECK_INT(4, redis_num(&r.server, "XLEN pl:{p01}:d:17:jobs")); /* j8 was not reached */
    CHECK_INT(FINISH_OK, rig_finish(&r, &job, "failed"));
    CHECK_INT(0, rig_claim(&r, 17, 1, &job));
    CHECK_INT(1, redis_num(&r.server, "XLEN pl:{p01}:d:17:jobs"));
    rig_check_device(&r, 17);
    CHECK_INT(1, redis_num(&r.server, "ZADD pl:{p01}:ready 0 29")); /* holds nothing at all */
    CHECK_INT(0, rig_claim(&r, 29, 1, &job));
    CHECK_INT(-1, rig_ready(&r, 29));
    rig_stop(&r);
}
