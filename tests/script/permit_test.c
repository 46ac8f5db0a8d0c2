/* permit: the pace of a device, its caps, and the last look before the socket. */
#include "shared/script.h"
#include "tests/harness/rig.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { FIVE_MINUTES = 300000, HOUR = 3600000 };

static struct rig r;

static void
start(struct device_pace pace, int jobs)
{
    rig_start(&r);
    r.pace = pace;
    r.pace.version = 1;
    r.pace.max_in_flight = pace.max_in_flight ? pace.max_in_flight : 1;
    for (int i = 1; i <= jobs; i++) {
        char id[16];
        (void)snprintf(id, sizeof id, "j%d", i);
        rig_push(&r, 17, id);
    }
}

/* Sends the next job, whichever it is; when it was permitted at the latest, by Redis' clock. */
static int64_t
send_next(void)
{
    struct queue_permit job;
    T_WAIT(rig_claim(&r, 17, 1, &job) == 1, 10000);
    CHECK_INT(PERMIT_GO, rig_permit(&r, &job));
    int64_t now = redis_now_ms(&r.server);
    CHECK_INT(FINISH_OK, rig_finish(&r, &job, "sent"));
    return now;
}

TEST(a_permit_marks_the_job_and_moves_the_devices_slot)
{
    start((struct device_pace){.gap_min_ms = 50, .gap_max_ms = 50}, 2);
    struct queue_permit job = rig_take(&r, 17, "j1");
    CHECK_INT(0, redis_num(&r.server, "ZADD pl:{p01}:leases 1000 17/j1"));
    CHECK_INT(1, redis_num(&r.server, "HSET pl:{p01}:d:17 held capped"));
    job.gap_ms = 45; /* the caller draws it */
    int64_t t = redis_now_ms(&r.server);
    CHECK_INT(PERMIT_GO, rig_permit(&r, &job));
    int64_t next = rig_field_num(&r, 17, "next");
    CHECK(next >= t + 45 && next <= redis_now_ms(&r.server) + 45);
    CHECK_INT(next - 45 + RIG_LEASE_MS, redis_num(&r.server, "ZSCORE pl:{p01}:leases 17/j1"));
    CHECK_STR("", rig_field(&r, 17, "held"));
    CHECK_INT('P', *rig_state(&r, 17, "j1"));
    CHECK(strstr(rig_state(&r, 17, "j1"), " 1 w1"));
    rig_check_device(&r, 17);
    rig_stop(&r);
}

TEST(a_permit_twice_says_go_and_counts_once)
{
    start((struct device_pace){.gap_max_ms = 50, .batch_size = 5, .hourly_cap = 5, .daily_cap = 5},
          1);
    struct queue_permit job = rig_send(&r, 17, "j1");
    CHECK_INT(0, redis_num(&r.server, "ZADD pl:{p01}:leases 1000 17/j1"));
    const char *before = redis_dump(&r.server, "pl:{p01}:[^l]*");
    CHECK_INT(PERMIT_GO, rig_permit(&r, &job)); /* the reply was lost */
    CHECK_STR(before, redis_dump(&r.server, "pl:{p01}:[^l]*"));
    CHECK(redis_num(&r.server, "ZSCORE pl:{p01}:leases 17/j1") > redis_now_ms(&r.server));
    CHECK_STR("1", rig_field(&r, 17, "in_batch"));
    rig_stop(&r);
}

static void
check_stale(const struct queue_permit *job)
{
    struct queue_permit copy = *job;
    const char *before = rig_dump(&r);
    CHECK_INT(PERMIT_STALE, rig_permit(&r, &copy));
    CHECK_STR(before, rig_dump(&r));
}

TEST(a_token_that_does_not_hold_the_job_is_stale)
{
    start((struct device_pace){.gap_max_ms = 0}, 1);
    struct queue_permit job = rig_take(&r, 17, "j1"), other = job;
    other.lease.token++;
    check_stale(&other);
    other = job;
    other.lease.gen++;
    check_stale(&other);
    other = job;
    (void)snprintf(other.lease.id, sizeof other.lease.id, "j9");
    check_stale(&other);
    CHECK(rig_release(&r, &job, 0));
    check_stale(&job);
    struct queue_permit second = rig_take(&r, 17, "j1");
    check_stale(&job);
    CHECK_INT('a', rig_end_lease(&r, &second));
    check_stale(&second);
    second = rig_send(&r, 17, "j1");
    check_stale(&job);
    CHECK_INT('u', rig_end_lease(&r, &second));
    check_stale(&second);
    rig_stop(&r);
}

TEST(no_job_of_a_device_is_leased_before_its_slot)
{
    enum { GAP = 40, JOBS = 6 };
    start((struct device_pace){.gap_min_ms = GAP, .gap_max_ms = GAP}, JOBS);
    int64_t last = 0;
    for (int i = 0; i < JOBS; i++) {
        struct queue_permit job;
        T_WAIT(rig_claim(&r, 17, 1, &job) == 1, 10000);
        CHECK(r.claim.now_ms >= last + GAP);
        CHECK_INT(PERMIT_GO, rig_permit(&r, &job));
        int64_t permitted = rig_field_num(&r, 17, "next") - GAP;
        CHECK(permitted >= last + GAP);
        last = permitted;
        CHECK_INT(FINISH_OK, rig_finish(&r, &job, i % 2 ? "failed" : "sent"));
        CHECK_INT(i + 1 < JOBS ? last + GAP : -1, rig_ready(&r, 17));
        CHECK_INT(0, rig_claim(&r, 17, 1, &job));
        CHECK_INT(i + 1 < JOBS ? last + GAP : -1, r.claim.next_due_ms);
    }
    rig_stop(&r);
}

TEST(two_leases_of_one_device_are_not_permitted_within_its_gap)
{
    start((struct device_pace){.max_in_flight = 2, .gap_min_ms = 60, .gap_max_ms = 60}, 3);
    struct queue_permit first = rig_take(&r, 17, "j1"), second = rig_take(&r, 17, "j2");
    CHECK_INT(PERMIT_GO, rig_permit(&r, &first));
    int64_t next = rig_field_num(&r, 17, "next");
    CHECK_INT(PERMIT_WAIT, rig_permit(&r, &second));
    CHECK_INT('W', *rig_state(&r, 17, "j2"));
    CHECK_INT(next, rig_ready(&r, 17));
    rig_check_device(&r, 17);
    check_stale(&second);            /* twice: it holds nothing any more */
    second = rig_take(&r, 17, "j2"); /* still at the head */
    CHECK(r.claim.now_ms >= next);
    CHECK_INT(PERMIT_GO, rig_permit(&r, &second));
    CHECK_INT(2, rig_field_num(&r, 17, "in_flight"));
    rig_stop(&r);
}

TEST(without_a_gap_a_devices_jobs_fly_together)
{
    struct queue_permit jobs[3];
    start((struct device_pace){.max_in_flight = 3}, 4);
    CHECK_INT(3, rig_claim(&r, 17, 10, jobs));
    CHECK_RUN(ERR_NONE, &r, permit, 1, RIG_LEASE_MS, jobs, 3);
    for (int i = 0; i < 3; i++) {
        CHECK_INT(PERMIT_GO, jobs[i].answer);
    }
    CHECK_INT(-1, rig_ready(&r, 17));
    rig_check_device(&r, 17);
    rig_stop(&r);
}

TEST(one_call_answers_each_delivery_for_itself)
{
    start((struct device_pace){.max_in_flight = 2, .gap_min_ms = 3600000, .gap_max_ms = 3600000},
          2);
    rig_push(&r, 21, "j3");
    r.source = "c2";
    rig_push(&r, 25, "j4");
    struct queue_permit jobs[5] = {rig_take(&r, 17, "j1"), rig_take(&r, 17, "j2"),
                                   rig_take(&r, 21, "j3"), rig_take(&r, 25, "j4")};
    jobs[4] = jobs[2];
    jobs[4].lease.token = 77;
    CHECK_RUN(ERR_NONE, &r, steer_source, "c2", "cancelled");
    CHECK_RUN(ERR_NONE, &r, permit, 1, RIG_LEASE_MS, jobs, 5);
    CHECK_INT(PERMIT_GO, jobs[0].answer);
    CHECK_INT(PERMIT_WAIT, jobs[1].answer);
    CHECK_INT(PERMIT_GO, jobs[2].answer);
    CHECK_INT(PERMIT_STOPPED, jobs[3].answer);
    CHECK_INT(PERMIT_STALE, jobs[4].answer);
    rig_check_device(&r, 17);
    rig_check_device(&r, 21);
    rig_check_device(&r, 25);
    rig_stop(&r);
}

TEST(a_batch_ends_with_a_pause)
{
    start((struct device_pace){.gap_max_ms = 20, .batch_size = 3, .batch_pause_ms = 60}, 7);
    for (int i = 1; i <= 7; i++) {
        struct queue_permit job;
        T_WAIT(rig_claim(&r, 17, 1, &job) == 1, 10000);
        int64_t t = redis_now_ms(&r.server);
        CHECK_INT(PERMIT_GO, rig_permit(&r, &job));
        int64_t gap = i % 3 == 0 ? 80 : 20, next = rig_field_num(&r, 17, "next");
        CHECK(next >= t + gap && next <= redis_now_ms(&r.server) + gap);
        CHECK_INT(i % 3, rig_field_num(&r, 17, "in_batch"));
        CHECK_INT(FINISH_OK, rig_finish(&r, &job, "sent"));
    }
    rig_stop(&r);
}

/* --- caps ----------------------------------------------------------------------------------------
 */

/* Keeps a test of a ring clear of the moment at which its newest bucket changes. */
static int64_t
steady_bucket(int64_t width)
{
    T_WAIT(redis_now_ms(&r.server) % width < width - 5000, 10000);
    return redis_now_ms(&r.server) / width;
}

/* Writes the ring of the hourly cap as if so many had been permitted in that bucket. */
static void
put_bucket(int64_t bucket, int count)
{
    char value[40];
    (void)snprintf(value, sizeof value, "%" PRId64 " %d", bucket, count);
    (void)redis_do(&r.server, "HSET pl:{p01}:d:17 h%d %s", (int)(bucket % 13), value);
}

/* Takes a job and asks; the device must be capped until the moment that is returned. */
static int64_t
check_capped(void)
{
    struct queue_permit job;
    (void)redis_do(&r.server, "HSET pl:{p01}:d:17 next 0");
    CHECK_INT(1, rig_claim(&r, 17, 1, &job));
    CHECK_INT(PERMIT_CAPPED, rig_permit(&r, &job));
    CHECK_INT('W', *rig_state(&r, 17, job.lease.id));
    CHECK_STR("capped", rig_field(&r, 17, "held"));
    rig_check_device(&r, 17);
    CHECK_INT(0, rig_claim(&r, 17, 1, &job));
    return rig_field_num(&r, 17, "next");
}

TEST(the_hourly_cap_counts_a_sliding_hour_conservatively)
{
    start((struct device_pace){.hourly_cap = 3}, 8);
    int64_t bucket = steady_bucket(FIVE_MINUTES);
    put_bucket(bucket - 13, 7); /* what the ring's field held a lap ago */
    for (int i = 0; i < 3; i++) {
        (void)send_next();
    }
    char field[8], want[40];
    (void)snprintf(field, sizeof field, "h%d", (int)(bucket % 13));
    (void)snprintf(want, sizeof want, "%" PRId64 " 3", bucket);
    CHECK_STR(want, rig_field(&r, 17, field));
    CHECK_INT((bucket + 13) * FIVE_MINUTES, check_capped());
    /* The same three an hour and a piece ago: their bucket still reaches into the hour. */
    (void)redis_do(&r.server, "HDEL pl:{p01}:d:17 %s", field);
    put_bucket(bucket - 12, 3);
    CHECK_INT((bucket + 1) * FIVE_MINUTES, check_capped());
    put_bucket(bucket - 25, 3); /* in the same field, out of the hour */
    (void)redis_do(&r.server, "HSET pl:{p01}:d:17 next 0");
    (void)send_next();
    rig_stop(&r);
}

TEST(the_oldest_bucket_decides_when_there_is_room_again)
{
    start((struct device_pace){.hourly_cap = 5, .daily_cap = 100}, 2);
    int64_t bucket = steady_bucket(FIVE_MINUTES);
    put_bucket(bucket - 3, 1);
    put_bucket(bucket - 7, 4);
    CHECK_INT((bucket - 7 + 13) * FIVE_MINUTES, check_capped());
    rig_stop(&r);
}

TEST(the_daily_cap_counts_a_sliding_day)
{
    start((struct device_pace){.hourly_cap = 100, .daily_cap = 2}, 5);
    int64_t bucket = steady_bucket(HOUR);
    (void)send_next();
    (void)send_next();
    CHECK_INT((bucket + 25) * HOUR, check_capped());
    /* Both caps reached: the later moment counts. */
    r.pace.version++;
    r.pace.hourly_cap = 2;
    CHECK_RUN(ERR_NONE, &r, steer_device, 17, &r.pace);
    CHECK_INT((bucket + 25) * HOUR, check_capped());
    r.pace.version++;
    r.pace.hourly_cap = r.pace.daily_cap = 0; /* none */
    CHECK_RUN(ERR_NONE, &r, steer_device, 17, &r.pace);
    (void)redis_do(&r.server, "HSET pl:{p01}:d:17 next 0");
    (void)send_next();
    rig_stop(&r);
}

TEST(what_came_of_a_permit_does_not_change_its_count)
{
    static const char *const kinds[] = {"failed", "unknown", "retry"};
    start((struct device_pace){.hourly_cap = 3}, 5);
    (void)steady_bucket(FIVE_MINUTES);
    for (int i = 0; i < 3; i++) {
        struct queue_permit job;
        CHECK_INT(1, rig_claim(&r, 17, 1, &job));
        CHECK_INT(PERMIT_GO, rig_permit(&r, &job));
        CHECK_INT(FINISH_OK, rig_finish(&r, &job, kinds[i]));
    }
    (void)check_capped();
    rig_stop(&r);
}

/* --- stopped
 * --------------------------------------------------------------------------------------- */

TEST(a_device_paused_after_the_lease_is_not_permitted)
{
    start((struct device_pace){.gap_max_ms = 0}, 2);
    struct queue_permit job = rig_take(&r, 17, "j1");
    r.pace.version++;
    (void)snprintf(r.pace.paused, sizeof r.pace.paused, "ops");
    CHECK_RUN(ERR_NONE, &r, steer_device, 17, &r.pace);
    CHECK_INT(PERMIT_PAUSED, rig_permit(&r, &job));
    CHECK_INT('W', *rig_state(&r, 17, "j1"));
    CHECK_INT(-1, rig_ready(&r, 17));
    rig_check_device(&r, 17);
    check_stale(&job);
    r.pace.version++;
    r.pace.paused[0] = '\0';
    CHECK_RUN(ERR_NONE, &r, steer_device, 17, &r.pace);
    (void)rig_send(&r, 17, "j1");
    rig_stop(&r);
}

TEST(a_source_stopped_after_the_lease_is_settled_by_the_permit)
{
    start((struct device_pace){.gap_max_ms = 0}, 3);
    struct queue_permit job = rig_take(&r, 17, "j1");
    CHECK_RUN(ERR_NONE, &r, steer_source, "c1", "paused");
    CHECK_INT(PERMIT_STOPPED, rig_permit(&r, &job));
    CHECK_STR("R 1 1 returned", rig_state(&r, 17, "j1"));
    rig_check_device(&r, 17);
    check_stale(&job);
    struct queue_result x = rig_result(&r, 1, "returned", "j1");
    CHECK_STR("paused", x.code);
    CHECK(x.token == 1 && x.gen == 1 && x.row == 1 && x.device == 17);
    rig_forget(&r, 1, &x);
    CHECK_STR("", rig_state(&r, 17, "j1"));

    CHECK_RUN(ERR_NONE, &r, steer_source, "c1", "none");
    job = rig_take(&r, 17, "j2");
    CHECK_RUN(ERR_NONE, &r, steer_source, "c1", "cancelled");
    CHECK_INT(PERMIT_STOPPED, rig_permit(&r, &job));
    CHECK_STR("D 1 2 skipped", rig_state(&r, 17, "j2"));
    x = rig_result(&r, 1, "skipped", "j2");
    CHECK_STR("cancelled", x.code);
    rig_forget(&r, 1, &x);

    CHECK_RUN(ERR_NONE, &r, steer_source, "c1", "none");
    job = rig_send(&r, 17, "j3");
    CHECK_RUN(ERR_NONE, &r, steer_source, "c1", "cancelled");
    CHECK_INT(PERMIT_GO, rig_permit(&r, &job)); /* too late: it may have left */
    rig_stop(&r);
}

/* --- identity
 * -------------------------------------------------------------------------------------- */

TEST(a_permit_asks_the_server_itself_who_it_is)
{
    start((struct device_pace){.gap_max_ms = 0}, 1);
    /* A rolled-back meta that another process wrote, reached behind a proxy: the stored incarnation
     * is the caller's own, the server is another. */
    const char *text = script_sources[script_index("permit")].text;
    (void)redis_do(&r.server, "HSET pl:{p01}:meta inc 0123456789abcdef0123456789abcdef01234567:1");
    const char *before = rig_dump(&r);
    const char *got = redis_do(&r.server,
                               "EVAL %s 5 pl:{p01}:meta pl:{p01}:ready pl:{p01}:leases "
                               "pl:{p01}:results pl:{p01}:stopped %s 1000",
                               text, "0123456789abcdef0123456789abcdef01234567:1");
    CHECK_STR("EPOCH another server answered", got);
    CHECK_STR(before, rig_dump(&r));
    rig_stop(&r);
}
