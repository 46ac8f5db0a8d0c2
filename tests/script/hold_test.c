/* What an outcome says of others: breakers and growing gaps of devices, recipients that wait,
 * sources and devices that stop, accounts and endpoints that are held for all of their devices. */
#include "tests/harness/rig.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static struct rig r;

static void
start(int jobs)
{
    rig_start(&r);
    (void)snprintf(r.pace.sender, sizeof r.pace.sender, "gate");
    for (int i = 1; i <= jobs; i++) {
        char id[16];
        (void)snprintf(id, sizeof id, "j%d", i);
        rig_push(&r, 17, id);
    }
}

/* Nothing holds the device any more: the test does not wait for it. */
static void
let_pass(uint64_t device)
{
    (void)redis_do(&r.server, "HSET pl:{p01}:d:%" PRIu64 " next 0", device);
    (void)redis_do(&r.server, "ZADD pl:{p01}:ready 0 %" PRIu64, device);
}

static struct queue_permit
next_job(uint64_t device)
{
    struct queue_permit job;
    let_pass(device);
    CHECK_INT(1, rig_claim(&r, device, 1, &job));
    (void)queue_who("60111", 5, job.who);
    return job;
}

static struct queue_permit
send_next(uint64_t device)
{
    struct queue_permit job = next_job(device);
    CHECK_INT(PERMIT_GO, rig_permit(&r, &job));
    return job;
}

static int64_t
rests_for(uint64_t device)
{
    return rig_field_num(&r, device, "next") - redis_now_ms(&r.server);
}

static bool
about(int64_t want_ms, int64_t got_ms)
{
    return got_ms <= want_ms && got_ms > want_ms - 5000;
}

static void
fail(uint64_t device, enum hold_act act, const char *kind, int64_t hold_ms)
{
    struct queue_permit job = send_next(device);
    struct queue_finish x = {.kind = kind, .act = act, .hold_ms = hold_ms, .code = "503"};
    CHECK_INT(FINISH_OK, rig_finish_as(&r, &job, x));
}

static void
succeed(uint64_t device)
{
    struct queue_permit job = send_next(device);
    CHECK_INT(FINISH_OK, rig_finish(&r, &job, "sent"));
}

/* --- devices --------------------------------------------------------------------------------- */

TEST(a_device_that_keeps_failing_rests_longer_each_time_until_one_goes_well)
{
    start(6);
    fail(17, HOLD_DEVICE, "deferred", 30000);
    CHECK(about(30000, rests_for(17)));
    fail(17, HOLD_DEVICE, "deferred", 30000);
    CHECK(about(60000, rests_for(17)));
    fail(17, HOLD_DEVICE, "deferred", 30000);
    CHECK(about(120000, rests_for(17)));
    CHECK_INT(3, rig_field_num(&r, 17, "fails"));
    succeed(17);
    CHECK_STR("", rig_field(&r, 17, "fails"));
    fail(17, HOLD_DEVICE, "deferred", 30000);
    CHECK(about(30000, rests_for(17)));
    rig_check_device(&r, 17);
    rig_stop(&r);
}

TEST(the_rest_grows_up_to_an_hour_and_what_was_told_counts_as_told)
{
    start(3);
    (void)redis_do(&r.server, "HSET pl:{p01}:d:17 fails 40");
    fail(17, HOLD_DEVICE, "deferred", 30000);
    CHECK(about(3600000, rests_for(17)));
    struct queue_permit job = send_next(17);
    struct queue_finish x = {
        .kind = "deferred", .act = HOLD_DEVICE, .hold_ms = 86400000, .told = true};
    CHECK_INT(FINISH_OK, rig_finish_as(&r, &job, x));
    CHECK(about(86400000, rests_for(17)));
    rig_stop(&r);
}

TEST(failures_that_were_under_way_together_are_one)
{
    struct queue_permit jobs[4];
    r.pace.max_in_flight = 4;
    rig_start(&r);
    r.pace.max_in_flight = 4;
    for (int i = 1; i <= 5; i++) {
        char id[16];
        (void)snprintf(id, sizeof id, "j%d", i);
        rig_push(&r, 17, id);
    }
    CHECK_INT(4, rig_claim(&r, 17, 4, jobs));
    CHECK_RUN(ERR_NONE, &r, permit, 1, RIG_LEASE_MS, jobs, 4);
    for (int i = 0; i < 4; i++) {
        struct queue_finish x = {.kind = "deferred", .act = HOLD_DEVICE, .hold_ms = 30000};
        CHECK_INT(FINISH_OK, rig_finish_as(&r, &jobs[i], x));
    }
    CHECK_INT(1, rig_field_num(&r, 17, "fails"));
    CHECK(about(30000, rests_for(17)));
    rig_stop(&r);
}

TEST(behind_a_failure_a_device_sends_one_at_a_time)
{
    struct queue_permit jobs[4];
    rig_start(&r);
    r.pace.max_in_flight = 4;
    for (int i = 1; i <= 6; i++) {
        char id[16];
        (void)snprintf(id, sizeof id, "j%d", i);
        rig_push(&r, 17, id);
    }
    fail(17, HOLD_DEVICE, "deferred", 30000);
    let_pass(17);
    CHECK_INT(1, rig_claim(&r, 17, 4, jobs));
    CHECK_INT(-1, rig_ready(&r, 17));
    CHECK_INT(PERMIT_GO, rig_permit(&r, &jobs[0]));
    CHECK_INT(FINISH_OK, rig_finish(&r, &jobs[0], "sent"));
    CHECK_INT(4, rig_claim(&r, 17, 4, jobs));
    rig_check_device(&r, 17);
    rig_stop(&r);
}

TEST(unknown_outcomes_hold_a_device_from_the_third_on)
{
    start(5);
    fail(17, HOLD_DEVICE, "unknown", 30000);
    fail(17, HOLD_DEVICE, "unknown", 30000);
    CHECK(rests_for(17) < 1000);
    fail(17, HOLD_DEVICE, "unknown", 30000);
    CHECK(about(30000, rests_for(17)));
    fail(17, HOLD_DEVICE, "unknown", 30000);
    CHECK(about(60000, rests_for(17)));
    rig_stop(&r);
}

TEST(a_throttled_device_keeps_longer_gaps_which_shrink_as_it_goes_well)
{
    start(60);
    fail(17, HOLD_THROTTLE, "deferred", 1000);
    CHECK_INT(200, rig_field_num(&r, 17, "slow"));
    fail(17, HOLD_THROTTLE, "deferred", 1000);
    CHECK_INT(400, rig_field_num(&r, 17, "slow"));
    struct queue_permit job = next_job(17);
    job.gap_ms = 10000;
    int64_t t = redis_now_ms(&r.server);
    CHECK_INT(PERMIT_GO, rig_permit(&r, &job));
    CHECK(rig_field_num(&r, 17, "next") >= t + 40000);
    CHECK_INT(FINISH_OK, rig_finish(&r, &job, "sent"));
    CHECK_INT(385, rig_field_num(&r, 17, "slow"));
    for (int i = 0; i < 50 && *rig_field(&r, 17, "slow"); i++) {
        int64_t before = rig_field_num(&r, 17, "slow");
        succeed(17);
        CHECK(rig_field_num(&r, 17, "slow") < before);
    }
    (void)redis_do(&r.server, "HSET pl:{p01}:d:17 slow 1600");
    fail(17, HOLD_THROTTLE, "deferred", 1000);
    CHECK_INT(1600, rig_field_num(&r, 17, "slow"));
    rig_stop(&r);
}

TEST(a_device_that_must_be_resumed_stays_paused_until_then)
{
    start(3);
    struct queue_permit job = send_next(17);
    struct queue_finish x = {.kind = "deferred",
                             .act = HOLD_DEVICE,
                             .hold_ms = 86400000,
                             .stop = STOP_DEVICE,
                             .code = "131048"};
    CHECK_INT(FINISH_OK, rig_finish_as(&r, &job, x));
    CHECK_STR("131048", rig_field(&r, 17, "paused"));
    CHECK_INT(-1, rig_ready(&r, 17));
    struct queue_result result = rig_result(&r, 1, "deferred", "j1");
    CHECK_INT(STOP_DEVICE, result.stop);
    rig_push(&r, 17, "j4"); /* an older configuration does not resume it */
    CHECK_STR("131048", rig_field(&r, 17, "paused"));
    r.pace.version++;
    (void)snprintf(r.pace.paused, sizeof r.pace.paused, "131048: spam");
    CHECK_RUN(ERR_NONE, &r, steer_device, 17, &r.pace);
    CHECK(rests_for(17) > 80000000);
    r.pace.version++;
    r.pace.paused[0] = '\0';
    CHECK_RUN(ERR_NONE, &r, steer_device, 17, &r.pace);
    CHECK_STR("", rig_field(&r, 17, "paused"));
    CHECK_STR("", rig_field(&r, 17, "fails"));
    CHECK_INT(1, rig_claim(&r, 17, 1, &job)); /* at once, not behind the day */
    rig_stop(&r);
}

/* --- recipients ------------------------------------------------------------------------------ */

TEST(a_pair_limit_delays_that_recipient_alone_four_times_as_long_each_time)
{
    start(5);
    fail(17, HOLD_PAIR, "deferred", 1000);
    struct queue_result result = rig_result(&r, 1, "deferred", "j1");
    CHECK_INT(1000, result.wait_ms);
    CHECK(rests_for(17) < 1000);
    struct queue_permit same = next_job(17);
    CHECK_INT(PERMIT_STOPPED, rig_permit(&r, &same));
    result = rig_result(&r, 1, "returned", "j2");
    CHECK_STR("pair", result.code);
    CHECK(result.wait_ms > 0 && result.wait_ms <= 1000);
    struct queue_permit other = next_job(17);
    (void)queue_who("60222", 5, other.who);
    CHECK_INT(PERMIT_GO, rig_permit(&r, &other));
    CHECK_INT(FINISH_OK, rig_finish(&r, &other, "sent"));
    T_WAIT(strtoll(redis_do(&r.server, "HGET pl:{p01}:d:17:pairs %s", same.who), NULL, 10) <
               redis_now_ms(&r.server),
           10000);
    fail(17, HOLD_PAIR, "deferred", 1000);
    char first[40];
    (void)snprintf(first, sizeof first, "%s",
                   redis_do(&r.server, "HGET pl:{p01}:d:17:pairs %s", same.who));
    CHECK(strstr(first, " 2"));
    CHECK(about(4000, strtoll(first, NULL, 10) - redis_now_ms(&r.server)));
    CHECK(redis_num(&r.server, "PTTL pl:{p01}:d:17:pairs") > 500000);
    rig_check_device(&r, 17);
    rig_stop(&r);
}

TEST(a_device_that_may_not_begin_conversations_goes_on_with_those_it_has)
{
    start(9);
    fail(17, HOLD_NEW_CONTACTS, "deferred", 1800000);
    struct queue_result result = rig_result(&r, 1, "deferred", "j1");
    CHECK(about(1800000, result.new_ms) && about(1800000, result.wait_ms));
    struct queue_permit stranger = next_job(17), friend;
    CHECK_INT(PERMIT_STOPPED, rig_permit(&r, &stranger)); /* nobody has looked: back, to be asked */
    result = rig_result(&r, 1, "returned", "j2");
    CHECK_STR("new-contacts", result.code);
    CHECK_INT(0, result.wait_ms);
    stranger = next_job(17);
    stranger.contact = CONTACT_NEW;
    CHECK_INT(PERMIT_STOPPED, rig_permit(&r, &stranger));
    result = rig_result(&r, 1, "returned", "j3");
    CHECK_STR("new-contacts", result.code);
    CHECK(about(1800000, result.wait_ms));
    friend = next_job(17);
    friend.contact = CONTACT_KNOWN;
    CHECK_INT(PERMIT_GO, rig_permit(&r, &friend));
    CHECK_INT(FINISH_OK, rig_finish(&r, &friend, "sent"));
    CHECK(*rig_field(&r, 17, "new_until")); /* that it answers friends proves nothing */
    (void)redis_do(&r.server, "HSET pl:{p01}:d:17 new_until 1000");
    fail(17, HOLD_NEW_CONTACTS, "deferred", 1800000);
    CHECK(about(3600000, rig_field_num(&r, 17, "new_until") - redis_now_ms(&r.server)));
    (void)redis_do(&r.server, "HSET pl:{p01}:d:17 new_until 1000");
    succeed(17);
    CHECK_STR("1000", rig_field(&r, 17, "new_until"));
    stranger = next_job(17);
    stranger.contact = CONTACT_NEW;
    CHECK_INT(PERMIT_GO, rig_permit(&r, &stranger));
    CHECK_INT(FINISH_OK, rig_finish(&r, &stranger, "sent"));
    CHECK_STR("", rig_field(&r, 17, "new_until"));
    rig_stop(&r);
}

TEST(a_recipient_that_rests_is_told_to_the_ledger)
{
    start(1);
    fail(17, HOLD_RECIPIENT, "failed", 86400000);
    CHECK_INT(86400000, rig_result(&r, 1, "failed", "j1").rest_ms);
    CHECK(rests_for(17) < 1000);
    rig_stop(&r);
}

/* --- sources --------------------------------------------------------------------------------- */

TEST(a_source_that_would_be_refused_stops_at_the_first_hit)
{
    start(3);
    struct queue_permit job = send_next(17);
    struct queue_finish x = {.kind = "returned", .stop = STOP_SOURCE, .code = "132001"};
    CHECK_INT(FINISH_OK, rig_finish_as(&r, &job, x));
    struct queue_result result = rig_result(&r, 1, "returned", "j1");
    CHECK_INT(STOP_SOURCE, result.stop);
    CHECK_STR("132001", result.code);
    CHECK_STR("paused", redis_do(&r.server, "HGET pl:{p01}:stopped c1"));
    let_pass(17);
    CHECK_INT(0, rig_claim(&r, 17, 1, &job)); /* the others go back to MySQL */
    struct queue_result rest[4];
    CHECK_INT(2, rig_results(&r, 1, rest, 4));
    rig_stop(&r);
}

TEST(refusals_that_may_be_alike_are_told_to_the_ledger)
{
    start(1);
    struct queue_permit job = send_next(17);
    struct queue_finish x = {.kind = "failed", .stop_after = 3, .code = "100"};
    CHECK_INT(FINISH_OK, rig_finish_as(&r, &job, x));
    CHECK_INT(3, rig_result(&r, 1, "failed", "j1").stop_after);
    CHECK_INT(0, redis_num(&r.server, "EXISTS pl:{p01}:stopped"));
    rig_stop(&r);
}

/* --- accounts and endpoints ------------------------------------------------------------------ */

static void
hold(const char *field, uint64_t device, int64_t ms)
{
    CHECK_RUN(ERR_NONE, &r, hold, field, device, ms, 300000, false, "503");
}

static int64_t
held_for(unsigned p, const char *field)
{
    return strtoll(redis_do(&r.server, "HGET pl:{p%02u}:holds %s", p, field), NULL, 10) -
           redis_now_ms(&r.server);
}

static void
let_hold_end(const char *field)
{
    (void)redis_do(&r.server, "HSET pl:{p01}:holds %s %s", field, "1000 1 503");
    let_pass(17);
    let_pass(21);
}

TEST(what_an_endpoint_says_holds_its_devices_in_every_partition_and_no_others)
{
    struct queue_permit job;
    start(1);
    rig_push(&r, 18, "j2");
    (void)snprintf(r.pace.sender, sizeof r.pace.sender, "other");
    rig_push(&r, 21, "j3");
    hold("e:gate", 17, 30000);
    for (unsigned p = 0; p < RIG_PARTITIONS; p++) {
        CHECK(about(30000, held_for(p, "e:gate")));
    }
    CHECK_INT(0, rig_claim(&r, 17, 1, &job));
    CHECK_INT(0, rig_claim(&r, 18, 1, &job));
    CHECK_STR("503", rig_field(&r, 17, "held"));
    CHECK(about(30000, rests_for(17)));
    CHECK_INT(rig_field_num(&r, 17, "next"), rig_ready(&r, 17));
    CHECK_INT(1, rig_claim(&r, 21, 1, &job));
    CHECK_INT(PERMIT_GO, rig_permit(&r, &job));
    rig_stop(&r);
}

TEST(an_account_holds_its_devices_alone)
{
    struct queue_permit job;
    start(0);
    (void)snprintf(r.pace.account, sizeof r.pace.account, "1/shop");
    rig_push(&r, 17, "j1");
    (void)snprintf(r.pace.account, sizeof r.pace.account, "1/other");
    rig_push(&r, 21, "j2");
    hold("a:1/shop", 17, 60000);
    CHECK_INT(0, rig_claim(&r, 17, 1, &job));
    CHECK_INT(1, rig_claim(&r, 21, 1, &job));
    rig_stop(&r);
}

TEST(a_job_that_was_leased_before_the_hold_is_given_back_at_the_permit)
{
    start(1);
    struct queue_permit job = next_job(17);
    hold("e:gate", 21, 30000);
    CHECK_INT(PERMIT_WAIT, rig_permit(&r, &job));
    CHECK_INT('W', *rig_state(&r, 17, "j1"));
    CHECK(about(30000, rests_for(17)));
    rig_check_device(&r, 17);
    rig_stop(&r);
}

TEST(behind_the_hold_one_job_probes_and_its_success_ends_it_for_all)
{
    struct queue_permit probe, job;
    start(2);
    rig_push(&r, 21, "j3");
    hold("e:gate", 17, 30000);
    let_hold_end("e:gate");
    CHECK_INT(1, rig_claim(&r, 17, 5, &probe));
    CHECK_INT(0, rig_claim(&r, 21, 1, &job));
    CHECK(rests_for(21) <= 1000); /* it looks again soon */
    CHECK_INT(PERMIT_GO, rig_permit(&r, &probe));
    CHECK_INT(FINISH_OK, rig_finish(&r, &probe, "sent"));
    CHECK_STR("(nil)", redis_do(&r.server, "HGET pl:{p01}:holds e:gate"));
    T_WAIT(rig_claim(&r, 21, 1, &job) == 1, 10000);
    rig_stop(&r);
}

TEST(a_probe_that_fails_holds_twice_as_long)
{
    start(3);
    rig_push(&r, 21, "j4");
    hold("e:gate", 17, 30000);
    hold("e:gate", 21, 30000); /* what was under way with it says nothing new */
    CHECK(about(30000, held_for(1, "e:gate")));
    let_hold_end("e:gate");
    struct queue_permit probe;
    CHECK_INT(1, rig_claim(&r, 17, 5, &probe));
    CHECK_INT(PERMIT_GO, rig_permit(&r, &probe));
    CHECK_INT(FINISH_OK, rig_finish_hold(&r, &probe, "deferred", 30000));
    hold("e:gate", 21, 30000); /* not the probe: it was sent before */
    CHECK(held_for(1, "e:gate") > 30000);
    hold("e:gate", 17, 30000);
    CHECK(about(60000, held_for(1, "e:gate")));
    rig_stop(&r);
}

TEST(a_probe_that_never_ends_does_not_hold_for_ever)
{
    struct queue_permit job;
    start(1);
    rig_push(&r, 21, "j2");
    hold("e:gate", 17, 30000);
    let_hold_end("e:gate");
    CHECK_INT(1, rig_claim(&r, 17, 1, &job)); /* its worker dies */
    CHECK(held_for(1, "e:gate") <= 60000);
    let_hold_end("e:gate");
    CHECK_INT(1, rig_claim(&r, 21, 1, &job));
    CHECK(redis_num(&r.server, "PTTL pl:{p01}:holds") > 80000000);
    rig_stop(&r);
}

TEST(a_code_of_several_words_is_one)
{
    start(1);
    CHECK_RUN(ERR_NONE, &r, hold, "e:gate", 17, 30000, 60000, true, "too many requests");
    struct queue_permit job;
    CHECK_INT(0, rig_claim(&r, 17, 1, &job));
    CHECK_STR("too_many_requests", rig_field(&r, 17, "held"));
    struct buf holds = {0};
    CHECK_RUN(ERR_NONE, &r, holds, 1, &holds);
    CHECK(strncmp(holds.data, "e:gate ", 7) == 0 && strstr(holds.data, " 1 too_many_requests\n"));
    buf_done(&holds);
    rig_stop(&r);
}
