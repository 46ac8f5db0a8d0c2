/* What ends a hold, and what does not: an account's or an endpoint's is over when the device that
 * probes was answered; a refusal of new contacts when a new one was reached behind it. */
#include "tests/harness/rig.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static struct rig r;

/* Devices 17 and 21 of one endpoint, with so many jobs each: a1, a2 .. and b1, b2 .. */
static void
start(unsigned max_in_flight, int jobs)
{
    rig_start(&r);
    r.pace.max_in_flight = max_in_flight;
    (void)snprintf(r.pace.sender, sizeof r.pace.sender, "gate");
    for (int i = 1; i <= jobs; i++) {
        char id[16];
        (void)snprintf(id, sizeof id, "a%d", i);
        rig_push(&r, 17, id);
        (void)snprintf(id, sizeof id, "b%d", i);
        rig_push(&r, 21, id);
    }
}

static void
let_pass(uint64_t device)
{
    (void)redis_do(&r.server, "HSET pl:{p01}:d:%" PRIu64 " next 0", device);
    (void)redis_do(&r.server, "ZADD pl:{p01}:ready 0 %" PRIu64, device);
}

static struct queue_permit
take(uint64_t device)
{
    struct queue_permit job;
    let_pass(device);
    CHECK_INT(1, rig_claim(&r, device, 1, &job));
    (void)queue_who("60111", 5, job.who);
    return job;
}

static struct queue_permit
send_one(uint64_t device)
{
    struct queue_permit job = take(device);
    CHECK_INT(PERMIT_GO, rig_permit(&r, &job));
    return job;
}

static void
hold(void)
{
    CHECK_RUN(ERR_NONE, &r, hold, "e:gate", 99, 3600000, 3600000, true, "503");
}

/* The hold is over, so that the next device probes. */
static void
hold_until_now(void)
{
    (void)redis_do(&r.server, "HSET pl:{p01}:holds e:gate %s", "1000 1 503");
}

static bool
is_held(void)
{
    return redis_num(&r.server, "HEXISTS pl:{p01}:holds e:gate") == 1;
}

static bool
gives_a_job(uint64_t device)
{
    struct queue_permit job;
    let_pass(device);
    return rig_claim(&r, device, 1, &job) == 1;
}

TEST(an_answer_to_what_was_sent_before_the_hold_does_not_end_it)
{
    start(1, 2);
    struct queue_permit early = send_one(21);
    hold();
    CHECK_INT(FINISH_OK, rig_finish(&r, &early, "sent"));
    CHECK(is_held());
    CHECK(!gives_a_job(17) && !gives_a_job(21));
    (void)redis_do(&r.server, "DEL pl:{p01}:holds");
    early = send_one(21);
    hold_until_now();
    CHECK_INT(FINISH_OK, rig_finish(&r, &early, "sent")); /* nor one that is over */
    CHECK(is_held());
    struct queue_permit probe = send_one(17);
    CHECK(!gives_a_job(21));
    CHECK_INT(FINISH_OK, rig_finish(&r, &probe, "sent"));
    CHECK(!is_held());
    rig_check_device(&r, 21);
    rig_stop(&r);
}

TEST(a_message_that_cannot_be_sent_asks_nobody_and_ends_no_hold)
{
    start(1, 2);
    hold_until_now();
    struct queue_permit unsendable = take(17);
    CHECK(!gives_a_job(21));
    CHECK_INT(FINISH_OK, rig_finish(&r, &unsendable, "failed"));
    CHECK(is_held());
    CHECK(gives_a_job(21)); /* it probes instead, without a minute's wait */
    CHECK(!gives_a_job(17));
    rig_stop(&r);
}

TEST(a_device_with_room_for_many_probes_with_one)
{
    start(8, 8);
    struct queue_permit probe;
    hold_until_now();
    let_pass(17);
    CHECK_INT(1, rig_claim(&r, 17, 8, &probe));
    CHECK_INT(-1, rig_ready(&r, 17)); /* no hot loop */
    CHECK(!gives_a_job(17));
    CHECK_INT(PERMIT_GO, rig_permit(&r, &probe));
    CHECK(!gives_a_job(17));
    CHECK_INT(-1, rig_ready(&r, 17));
    CHECK_INT(FINISH_OK, rig_finish(&r, &probe, "sent"));
    struct queue_permit jobs[8];
    let_pass(17);
    CHECK_INT(7, rig_claim(&r, 17, 8, jobs));
    rig_check_device(&r, 17);
    rig_stop(&r);
}

TEST(a_probe_that_is_given_back_lets_another_device_probe)
{
    start(1, 2);
    hold_until_now();
    struct queue_permit probe = take(17);
    CHECK(!gives_a_job(21));
    CHECK(rig_release(&r, &probe, 3600000)); /* quiet hours */
    probe = take(21);
    (void)redis_do(&r.server, "HSET pl:{p01}:d:21:pairs %s %s", probe.who, "9999999999999 1");
    CHECK_INT(PERMIT_STOPPED, rig_permit(&r, &probe));
    probe = take(17);
    (void)redis_do(&r.server, "HSET pl:{p01}:d:17 paused 1");
    CHECK_INT(PERMIT_PAUSED, rig_permit(&r, &probe));
    CHECK(gives_a_job(21));
    rig_stop(&r);
}

TEST(a_probe_that_is_refused_for_its_own_sake_lets_another_device_probe)
{
    start(1, 2);
    hold_until_now();
    struct queue_permit probe = send_one(17);
    struct queue_finish x = {
        .kind = "deferred", .act = HOLD_DEVICE, .hold_ms = 30000, .code = "not-connected"};
    CHECK_INT(FINISH_OK, rig_finish_as(&r, &probe, x));
    CHECK(is_held());
    CHECK(gives_a_job(21));
    CHECK(!gives_a_job(17));
    rig_stop(&r);
}

/* An endpoint may ask for a day; who has mended it need not wait so long. */
TEST(a_long_hold_is_looked_at_every_minute_and_a_resumed_device_probes)
{
    start(1, 2);
    struct queue_permit probe;
    hold();
    CHECK(!gives_a_job(21));
    int64_t rests = rig_field_num(&r, 21, "next") - redis_now_ms(&r.server);
    CHECK(rests > 50000 && rests <= 60000);
    for (int i = 0; i < 2; i++) {
        r.pace.version++;
        (void)snprintf(r.pace.paused, sizeof r.pace.paused, "%s", i ? "" : "ops");
        CHECK_RUN(ERR_NONE, &r, steer_device, 17, &r.pace);
    }
    CHECK_INT(1, rig_claim(&r, 17, 1, &probe));
    CHECK_INT(PERMIT_GO, rig_permit(&r, &probe));
    CHECK(!gives_a_job(21));
    CHECK_INT(FINISH_OK, rig_finish(&r, &probe, "sent"));
    CHECK(gives_a_job(21));
    rig_stop(&r);
}

TEST(a_new_contact_reached_before_the_refusal_does_not_end_it)
{
    struct queue_permit jobs[2];
    start(2, 2);
    CHECK_INT(2, rig_claim(&r, 17, 2, jobs));
    CHECK_RUN(ERR_NONE, &r, permit, 1, RIG_LEASE_MS, jobs, 2);
    struct queue_finish x = {
        .kind = "deferred", .act = HOLD_NEW_CONTACTS, .hold_ms = 1800000, .code = "463"};
    CHECK_INT(FINISH_OK, rig_finish_as(&r, &jobs[0], x));
    jobs[1].contact = CONTACT_NEW;
    CHECK_INT(FINISH_OK, rig_finish(&r, &jobs[1], "sent"));
    CHECK(rig_field_num(&r, 17, "new_until") > redis_now_ms(&r.server));
    rig_stop(&r);
}

/* Its messages wait in MySQL meanwhile, so Redis has nothing of it but this. */
TEST(a_device_without_jobs_is_remembered_for_as_long_as_it_may_not_write_to_new_contacts)
{
    start(1, 1);
    struct queue_permit job = send_one(17);
    struct queue_finish x = {
        .kind = "deferred", .act = HOLD_NEW_CONTACTS, .hold_ms = 1800000, .code = "463"};
    CHECK_INT(FINISH_OK, rig_finish_as(&r, &job, x));
    rig_settle(&r, 1);
    CHECK_INT(0, redis_num(&r.server, "SISMEMBER pl:{p01}:devices 17"));
    CHECK(redis_num(&r.server, "PTTL pl:{p01}:d:17") > 1800000 + 3600000);
    rig_stop(&r);
}

TEST(a_contact_of_whom_nobody_has_looked_tells_the_ledger_that_it_must)
{
    start(1, 1);
    struct queue_permit job = take(17);
    (void)redis_do(&r.server, "HSET pl:{p01}:d:17 new_until %" PRId64,
                   redis_now_ms(&r.server) + 60000);
    CHECK_INT(PERMIT_STOPPED, rig_permit(&r, &job));
    struct queue_result x = rig_result(&r, 1, "returned", "a1");
    CHECK(x.new_ms > 0 && x.new_ms <= 60000);
    rig_stop(&r);
}

TEST(a_cancelled_source_stays_cancelled_whatever_is_refused_behind_it)
{
    start(1, 1);
    struct queue_permit job = send_one(17);
    CHECK_RUN(ERR_NONE, &r, steer_source, "c1", "cancelled");
    struct queue_finish x = {.kind = "returned", .stop = STOP_SOURCE, .code = "132001"};
    CHECK_INT(FINISH_OK, rig_finish_as(&r, &job, x));
    CHECK_STR("cancelled", redis_do(&r.server, "HGET pl:{p01}:stopped c1"));
    rig_stop(&r);
}
