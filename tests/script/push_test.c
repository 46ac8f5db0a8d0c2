/* stage, activate, hungry and probe: how jobs come into Redis, and what it tells of them. */
#include "tests/harness/rig.h"

#include <stdio.h>
#include <string.h>

#include <ev.h>

static struct rig r;

/* --- stage ---------------------------------------------------------------------------------------
 */

TEST(a_staged_job_is_known_and_cannot_be_delivered)
{
    struct queue_permit job;
    rig_start(&r);
    CHECK_INT('S', rig_stage(&r, 17, "j1", 3));
    CHECK_STR("S 3", rig_state(&r, 17, "j1"));
    CHECK_STR("17", redis_do(&r.server, "SMEMBERS pl:{p01}:devices"));
    CHECK_INT(0, rig_claim(&r, 17, 10, &job));
    CHECK_INT(0, redis_num(&r.server, "EXISTS pl:{p01}:d:17:jobs pl:{p01}:d:17 pl:{p01}:ready"));
    rig_stop(&r);
}

TEST(staging_twice_answers_the_same_and_changes_nothing)
{
    rig_start(&r);
    CHECK_INT('S', rig_stage(&r, 17, "j1", 1));
    const char *before = rig_dump(&r);
    CHECK_INT('S', rig_stage(&r, 17, "j1", 1));
    CHECK_STR(before, rig_dump(&r));
    CHECK_INT('S', rig_stage(&r, 17, "j1", 2)); /* claimed anew in MySQL */
    CHECK_STR("S 2", rig_state(&r, 17, "j1"));
    rig_stop(&r);
}

TEST(stage_answers_the_state_of_a_known_job_and_leaves_it)
{
    static const struct {
        const char *id;
        char letter;
    } known[] = {{"j1", 'W'}, {"j2", 'L'}, {"j3", 'P'}, {"j4", 'D'}, {"j5", 'U'}};
    struct queue_permit jobs[4];
    rig_start(&r);
    r.pace.max_in_flight = 4;
    for (int i = 2; i <= 5; i++) {
        rig_push(&r, 17, (const char *[]){"j2", "j3", "j4", "j5"}[i - 2]);
    }
    CHECK_INT(4, rig_claim(&r, 17, 4, jobs));
    for (int i = 1; i < 4; i++) {
        CHECK_INT(PERMIT_GO, rig_permit(&r, &jobs[i]));
    }
    CHECK_INT(FINISH_OK, rig_finish(&r, &jobs[2], "sent"));
    CHECK_INT(FINISH_OK, rig_finish(&r, &jobs[3], "unknown"));
    rig_push(&r, 17, "j1");
    const char *before = rig_dump(&r);
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        CHECK_INT(known[i].letter, rig_stage(&r, 17, known[i].id, 2));
    }
    CHECK_STR(before, rig_dump(&r));
    rig_stop(&r);
}

TEST(a_job_given_back_to_mysql_may_be_staged_again)
{
    static const char *const kinds[] = {"retry", "deferred"};
    rig_start(&r);
    for (size_t i = 0; i < 2; i++) {
        rig_push(&r, 17, "j1");
        struct queue_permit job = rig_send(&r, 17, "j1");
        CHECK_INT(FINISH_OK, rig_finish(&r, &job, kinds[i]));
        CHECK_INT('R', *rig_state(&r, 17, "j1"));
        CHECK_INT('S', rig_stage(&r, 17, "j1", 2));
        CHECK_STR("S 2", rig_state(&r, 17, "j1"));
        /* The result of the earlier generation is settled late: it must not take the id away. */
        struct queue_result x = rig_result(&r, 1, kinds[i], "j1");
        rig_forget(&r, 1, &x);
        CHECK_STR("S 2", rig_state(&r, 17, "j1"));
        CHECK_INT(1, rig_drop(&r, 17, "j1", false, true));
    }
    rig_stop(&r);
}

TEST(past_the_window_new_jobs_are_refused_and_known_ones_are_not)
{
    rig_start(&r);
    r.window = 3;
    rig_push(&r, 17, "j1");
    CHECK_INT('S', rig_stage(&r, 17, "j2", 1));
    struct queue_push items[4] = {rig_item(&r, 17, "j1", 1), rig_item(&r, 17, "j2", 2),
                                  rig_item(&r, 17, "j3", 1), rig_item(&r, 17, "j4", 1)};
    CHECK_RUN(ERR_NONE, &r, stage, 1, items, 4, r.window);
    CHECK_INT('W', items[0].state);
    CHECK_INT('S', items[1].state);
    CHECK_INT('S', items[2].state); /* the third and last */
    CHECK_INT('F', items[3].state);
    CHECK_STR("", rig_state(&r, 17, "j4"));
    CHECK_INT('F', rig_stage(&r, 17, "j4", 1));
    struct queue_permit job = rig_send(&r, 17, "j1"); /* a job counts until it is forgotten */
    CHECK_INT(FINISH_OK, rig_finish(&r, &job, "retry"));
    CHECK_INT('F', rig_stage(&r, 17, "j4", 1));
    CHECK_INT('S', rig_stage(&r, 17, "j1", 2)); /* it has its place already */
    CHECK_INT('1', rig_activate(&r, 17, "j1", 2));
    rig_settle(&r, 1);
    job = rig_send(&r, 17, "j1");
    CHECK_INT(FINISH_OK, rig_finish(&r, &job, "sent"));
    CHECK_INT('F', rig_stage(&r, 17, "j4", 1));
    rig_settle(&r, 1);
    CHECK_INT('S', rig_stage(&r, 17, "j4", 1));
    CHECK_INT('F', rig_stage(&r, 17, "j5", 1));
    rig_stop(&r);
}

TEST(one_call_stages_and_activates_jobs_of_several_devices)
{
    rig_start(&r);
    struct queue_push items[6] = {rig_item(&r, 17, "j1", 1), rig_item(&r, 17, "j2", 1),
                                  rig_item(&r, 21, "j3", 1), rig_item(&r, 25, "j4", 1),
                                  rig_item(&r, 25, "j5", 1), rig_item(&r, 25, "j6", 1)};
    items[0].skip = true;
    items[2].skip = true; /* its device takes no part at all */
    items[4].skip = true;
    CHECK_RUN(ERR_NONE, &r, stage, 1, items, 6, 100);
    CHECK_RUN(ERR_NONE, &r, activate, 1, items, 6, 100);
    CHECK_STR("25 17", redis_do(&r.server, "SORT pl:{p01}:devices DESC"));
    for (size_t i = 0; i < 6; i++) {
        CHECK_INT(items[i].skip ? 0 : '1', items[i].state);
        CHECK_INT(items[i].skip ? 0 : 'W', *rig_state(&r, items[i].device, items[i].id));
    }
    for (size_t i = 0; i < 6; i++) {
        items[i].skip = true;
    }
    CHECK_RUN(ERR_NONE, &r, stage, 1, items, 6, 100);
    CHECK_RUN(ERR_NONE, &r, activate, 1, items, 6, 100);
    rig_check_device(&r, 17);
    rig_check_device(&r, 25);
    rig_stop(&r);
}

TEST(a_full_batch_passes)
{
    static struct queue_push items[QUEUE_BATCH_MAX];
    rig_start(&r);
    for (int i = 0; i < QUEUE_BATCH_MAX; i++) {
        char id[16];
        (void)snprintf(id, sizeof id, "j%d", i);
        items[i] = rig_item(&r, 1 + 4 * (uint64_t)i, id, 1); /* a device each */
    }
    CHECK_RUN(ERR_NONE, &r, stage, 1, items, QUEUE_BATCH_MAX, 10);
    CHECK_RUN(ERR_NONE, &r, activate, 1, items, QUEUE_BATCH_MAX, 10);
    struct queue_depths d;
    CHECK_RUN(ERR_NONE, &r, depths, 1, &d);
    CHECK_INT(QUEUE_BATCH_MAX, d.ready);
    CHECK_INT(QUEUE_BATCH_MAX, d.devices);
    CHECK_INT(0, d.leases + d.results);
    rig_stop(&r);
}

/* --- activate ------------------------------------------------------------------------------------
 */

TEST(an_activated_job_is_in_its_stream_and_its_device_is_ready)
{
    rig_start(&r);
    r.pace = (struct device_pace){.version = 5,
                                  .max_in_flight = 2,
                                  .gap_min_ms = 3,
                                  .gap_max_ms = 4,
                                  .batch_size = 6,
                                  .batch_pause_ms = 7,
                                  .hourly_cap = 8,
                                  .daily_cap = 9,
                                  .quiet = "1320 420 UTC"};
    r.more = true;
    CHECK_INT('S', rig_stage(&r, 17, "j1", 2));
    int64_t t = redis_now_ms(&r.server);
    CHECK_INT('1', rig_activate(&r, 17, "j1", 2));
    char letter, entry[40];
    CHECK_INT(2, sscanf(rig_state(&r, 17, "j1"), "%c 2 %39s", &letter, entry));
    CHECK_INT('W', letter);
    char *want = xasprintf("[%s [id j1 gen 2 row 1 src c1 exp 0 v 1 job p\\0q]]", entry);
    CHECK_STR(want, redis_do(&r.server, "XRANGE pl:{p01}:d:17:jobs - +"));
    free(want);
    CHECK(rig_ready(&r, 17) >= t && rig_ready(&r, 17) <= redis_now_ms(&r.server));
    static const char *const fields[][2] = {
        {"config", "5"}, {"max_in_flight", "2"}, {"gap_min", "3"},  {"gap_max", "4"},
        {"batch", "6"},  {"batch_pause", "7"},   {"hour_cap", "8"}, {"day_cap", "9"},
        {"more", "1"},   {"window", "1000"},     {"paused", ""},    {"quiet", "1320 420 UTC"}};
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        CHECK_STR(fields[i][1], rig_field(&r, 17, fields[i][0]));
    }
    rig_check_device(&r, 17);
    rig_stop(&r);
}

TEST(activating_twice_answers_the_same_and_changes_nothing)
{
    rig_start(&r);
    rig_push(&r, 17, "j1");
    const char *before = rig_dump(&r);
    CHECK_INT('1', rig_activate(&r, 17, "j1", 1));
    CHECK_STR(before, rig_dump(&r));
    struct queue_permit job = rig_send(&r, 17, "j1"); /* also when a worker has it already .. */
    before = rig_dump(&r);
    CHECK_INT('1', rig_activate(&r, 17, "j1", 1));
    CHECK_STR(before, rig_dump(&r));
    CHECK_INT(FINISH_OK, rig_finish(&r, &job, "sent")); /* .. and is done with it */
    before = rig_dump(&r);
    CHECK_INT('1', rig_activate(&r, 17, "j1", 1));
    CHECK_STR(before, rig_dump(&r));
    rig_stop(&r);
}

TEST(a_job_that_is_not_staged_with_this_generation_is_not_activated)
{
    rig_start(&r);
    const char *before = rig_dump(&r);
    CHECK_INT('0', rig_activate(&r, 17, "j1", 1)); /* unstaged by reconcile meanwhile */
    CHECK_STR(before, rig_dump(&r));
    CHECK_INT('S', rig_stage(&r, 17, "j1", 2));
    before = rig_dump(&r);
    CHECK_INT('0',
              rig_activate(&r, 17, "j1", 1)); /* somebody else has claimed and staged it anew */
    CHECK_INT('0', rig_activate(&r, 17, "j1", 3));
    CHECK_STR(before, rig_dump(&r));
    CHECK_INT('1', rig_activate(&r, 17, "j1", 2));
    before = rig_dump(&r);
    CHECK_INT('0', rig_activate(&r, 17, "j1", 1));
    CHECK_STR(before, rig_dump(&r));
    rig_stop(&r);
}

TEST(expiry_is_counted_on_redis_time)
{
    rig_start(&r);
    r.expires_in_ms = 5000;
    int64_t t = redis_now_ms(&r.server);
    rig_push(&r, 17, "j1");
    long long expires = 0;
    const char *at = strstr(redis_do(&r.server, "XRANGE pl:{p01}:d:17:jobs - +"), " exp ");
    CHECK(at && sscanf(at, " exp %lld", &expires) == 1);
    CHECK(expires >= t + 5000 && expires <= redis_now_ms(&r.server) + 5000);
    rig_stop(&r);
}

TEST(a_newer_configuration_is_taken_over_and_an_older_one_is_not)
{
    rig_start(&r);
    r.pace = (struct device_pace){.version = 10, .max_in_flight = 1, .gap_max_ms = 40};
    rig_push(&r, 17, "j1");
    r.pace =
        (struct device_pace){.version = 11, .max_in_flight = 1, .gap_max_ms = 60, .paused = "ops"};
    CHECK_RUN(ERR_NONE, &r, steer_device, 17, &r.pace);
    /* A producer that read the device's row before the pause: */
    r.pace = (struct device_pace){.version = 9, .max_in_flight = 3, .gap_max_ms = 20};
    rig_push(&r, 17, "j2");
    CHECK_STR("ops", rig_field(&r, 17, "paused"));
    CHECK_STR("60", rig_field(&r, 17, "gap_max"));
    CHECK_STR("11", rig_field(&r, 17, "config"));
    CHECK_INT(-1, rig_ready(&r, 17));
    r.pace = (struct device_pace){.version = 12, .max_in_flight = 3, .gap_max_ms = 20};
    rig_push(&r, 17, "j3");
    CHECK_STR("", rig_field(&r, 17, "paused"));
    CHECK_STR("20", rig_field(&r, 17, "gap_max"));
    rig_check_device(&r, 17);
    r.pace = (struct device_pace){.version = 13, .max_in_flight = 3, .paused = "quality"};
    rig_push(&r, 17, "j4");
    CHECK_STR("quality", rig_field(&r, 17, "paused"));
    rig_check_device(&r, 17);
    rig_stop(&r);
}

static int wakes[RIG_PARTITIONS];

static void
on_wake(void *arg, const char *payload)
{
    (void)arg;
    unsigned p = (unsigned)strtoul(payload, NULL, 10);
    CHECK(p < RIG_PARTITIONS);
    wakes[p]++;
}

static bool
woken(unsigned p, int times)
{
    (void)ev_run(r.loop, EVRUN_NOWAIT);
    return wakes[p] >= times;
}

TEST(a_device_that_becomes_ready_wakes_the_workers_once)
{
    struct redis_link *ear = NULL;
    struct redis_config c = {.name = "ear", .deadline_ms = 5000, .window = 10};
    rig_start(&r);
    c.url = r.server.url;
    CHECK_OK(redis_link_new(r.loop, &c, NULL, NULL, &ear, e));
    redis_link_subscribe(ear, queue_wake_channel(r.q), on_wake);
    CHECK_OK(redis_link_wait_up(ear, 5000, e));
    rig_push(&r, 17, "j1");
    T_WAIT(woken(1, 1), 5000);
    rig_push(&r, 17, "j2"); /* it is ready already */
    CHECK_INT('1', rig_activate(&r, 17, "j2", 1));
    rig_push(&r, 18, "j3");
    T_WAIT(woken(2, 1), 5000);
    CHECK_INT(1, wakes[1]);
    r.pace.version++;
    (void)snprintf(r.pace.paused, sizeof r.pace.paused, "ops");
    CHECK_RUN(ERR_NONE, &r, steer_device, 17, &r.pace);
    CHECK_INT(1, wakes[1]);
    r.pace.version++;
    r.pace.paused[0] = '\0';
    CHECK_RUN(ERR_NONE, &r, steer_device, 17, &r.pace);      /* resumed */
    CHECK_INT(1, redis_num(&r.server, "PUBLISH pl:wake 3")); /* behind all others */
    T_WAIT(woken(3, 1), 5000);
    CHECK_INT(2, wakes[1]);
    CHECK_INT(1, wakes[2]);
    redis_link_free(ear);
    rig_stop(&r);
}

/* --- hungry --------------------------------------------------------------------------------------
 */

TEST(a_device_below_half_its_window_turns_hungry_once)
{
    struct queue_hungry h;
    rig_start(&r);
    r.window = 4;
    r.more = true;
    for (int i = 1; i <= 4; i++) {
        rig_push(&r, 17, (const char *[]){"j1", "j2", "j3", "j4"}[i - 1]);
    }
    for (int i = 1; i <= 4; i++) {
        CHECK_RUN(ERR_NONE, &r, hungry, 1, &h);
        CHECK_INT(i == 4 ? 1 : 0, h.n); /* 3, 2, 1 left: the third is below half of 4 */
        struct queue_permit job = rig_send(&r, 17, (const char *[]){"j1", "j2", "j3", "j4"}[i - 1]);
        CHECK_INT(FINISH_OK, rig_finish(&r, &job, "sent"));
    }
    CHECK_INT(17, h.devices[0]);
    CHECK_RUN(ERR_NONE, &r, hungry, 1, &h); /* told once, until somebody says that there is more */
    CHECK_INT(0, h.n);
    rig_settle(&r, 1);
    r.more = false;
    rig_push(&r, 17, "j5");
    struct queue_permit job = rig_send(&r, 17, "j5");
    CHECK_INT(FINISH_OK, rig_finish(&r, &job, "sent"));
    CHECK_RUN(ERR_NONE, &r, hungry, 1, &h);
    CHECK_INT(0, h.n);
    rig_stop(&r);
}

/* --- probe ---------------------------------------------------------------------------------------
 */

TEST(probe_looks_without_changing_anything)
{
    struct queue_probe_device devices[3] = {{.device = 17}, {.device = 21}, {.device = 25}};
    struct queue_probe_job jobs[4] = {{.device = 17, .id = "j1", .gen = 1},
                                      {.device = 17, .id = "j2", .gen = 1},
                                      {.device = 17, .id = "j9", .gen = 1},
                                      {.device = 25, .id = "j3", .gen = 1}};
    rig_start(&r);
    rig_push(&r, 17, "j1");
    CHECK_INT('S', rig_stage(&r, 17, "j2", 1));
    (void)snprintf(r.pace.paused, sizeof r.pace.paused, "ops");
    rig_push(&r, 25, "j3");
    const char *before = rig_dump(&r);
    CHECK_RUN(ERR_NONE, &r, probe, 1, false, devices, 3, jobs, 4);
    CHECK_STR(before, rig_dump(&r));
    CHECK_INT('W', jobs[0].state);
    CHECK_INT('S', jobs[1].state);
    CHECK_INT(0, jobs[2].state);
    CHECK_INT('W', jobs[3].state);
    CHECK(devices[0].known == 2 && devices[0].waiting == 1 && !devices[0].paused);
    CHECK(devices[1].known == 0 && devices[1].waiting == 0 && !devices[1].paused);
    CHECK(devices[2].known == 1 && devices[2].waiting == 1 && devices[2].paused);
    devices[0].known = devices[0].waiting = -1;
    CHECK_RUN(ERR_NONE, &r, probe, 1, false, devices, 1, NULL, 0); /* depth only */
    CHECK(devices[0].known == 2 && devices[0].waiting == 1);
    rig_stop(&r);
}

/* The state that the probe answers for job j1 of this generation. */
static char
probe(bool unstage, uint32_t gen)
{
    struct queue_probe_device device = {.device = 17};
    struct queue_probe_job job = {.device = 17, .id = "j1", .gen = gen, .state = '?'};
    CHECK_RUN(ERR_NONE, &r, probe, 1, unstage, &device, 1, &job, 1);
    CHECK_INT(redis_num(&r.server, "HLEN pl:{p01}:d:17:ids"), device.known);
    return job.state;
}

TEST(probe_unstages_what_is_not_newer_and_nothing_else)
{
    rig_start(&r);
    CHECK_INT('S', rig_stage(&r, 17, "j1", 9));
    CHECK_INT('S', probe(true, 8)); /* staged by a later claim than the one we ask about */
    CHECK_STR("S 9", rig_state(&r, 17, "j1"));
    CHECK_INT('S', probe(false, 9));
    CHECK_INT(0, probe(true, 9));
    CHECK_STR("", rig_state(&r, 17, "j1"));
    CHECK_INT(0, probe(true, 9)); /* twice */
    CHECK_INT('0', rig_activate(&r, 17, "j1", 9));
    CHECK_INT('S', rig_stage(&r, 17, "j1", 9));
    CHECK_INT(0, probe(true, 10)); /* an older one: nine is less than ten */
    rig_push(&r, 17, "j1");
    CHECK_INT('W', probe(true, 1));
    struct queue_permit job = rig_take(&r, 17, "j1");
    CHECK_INT('L', probe(true, 1));
    CHECK_INT(PERMIT_GO, rig_permit(&r, &job));
    CHECK_INT('P', probe(true, 1));
    CHECK_INT(FINISH_OK, rig_finish(&r, &job, "failed"));
    CHECK_INT('D', probe(true, 1));
    CHECK_STR("D 1 1 failed", rig_state(&r, 17, "j1"));
    rig_stop(&r);
}

/* --- feed ----------------------------------------------------------------------------------------
 */

/* Whether this producer may feed device 17 (ms > 0), or its lease is given back (0). */
static bool
feed(const char *producer, int64_t ms)
{
    struct queue_probe_device device = {.device = 17, .known = -1, .waiting = -1};
    CHECK_RUN(ERR_NONE, &r, feed, 1, producer, ms, &device, 1);
    CHECK_INT(redis_num(&r.server, "HLEN pl:{p01}:d:17:ids"), device.known);
    CHECK_INT(redis_num(&r.server, "XLEN pl:{p01}:d:17:jobs"), device.waiting);
    return !device.paused;
}

TEST(one_producer_at_a_time_feeds_a_device)
{
    rig_start(&r);
    rig_push(&r, 17, "j1");
    CHECK_INT('S', rig_stage(&r, 17, "j2", 1));
    CHECK(feed("producer/a.1.b/1", 60000));
    CHECK(feed("producer/a.1.b/1", 60000)); /* twice */
    const char *before = rig_dump(&r);
    CHECK(!feed("producer/c.2.d/1", 60000));
    CHECK(!feed("producer/c.2.d/1", 0)); /* nor can it give away what is not its own */
    CHECK_STR(before, rig_dump(&r));
    CHECK(feed("producer/a.1.b/1", 0));
    CHECK(feed("producer/a.1.b/1", 0));
    CHECK(feed("producer/c.2.d/1", 60000));
    CHECK(!feed("producer/a.1.b/1", 60000));
    struct queue_probe_device device = {.device = 17};
    CHECK_RUN(ERR_NONE, &r, probe, 1, false, &device, 1, NULL, 0); /* looking is not feeding */
    CHECK(!device.paused);
    rig_stop(&r);
}

TEST(a_dead_producers_feeder_lease_ends)
{
    rig_start(&r);
    CHECK(feed("producer/a.1.b/1", 40));
    CHECK(!feed("producer/c.2.d/1", 60000));
    T_WAIT(feed("producer/c.2.d/1", 40), 5000);
    T_WAIT(!strstr(rig_dump(&r), "d:17"), 5000); /* nothing stays behind */
    rig_stop(&r);
}

TEST(a_paused_device_is_not_fed)
{
    rig_start(&r);
    (void)snprintf(r.pace.paused, sizeof r.pace.paused, "ops");
    CHECK_RUN(ERR_NONE, &r, steer_device, 17, &r.pace);
    CHECK(!feed("producer/a.1.b/1", 60000));
    rig_stop(&r);
}
