/* steer and beat: what operators say to sources and devices, and who is alive; and what status
 * shows. */
#include "tests/harness/rig.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static struct rig r;

TEST(a_source_is_steered_in_every_partition)
{
    rig_start(&r);
    CHECK_RUN(ERR_NONE, &r, steer_source, "c1", "paused");
    CHECK_RUN(ERR_NONE, &r, steer_source, "c2", "cancelled");
    for (unsigned p = 0; p < RIG_PARTITIONS; p++) {
        CHECK_STR("paused", redis_do(&r.server, "HGET pl:{p%02u}:stopped c1", p));
        CHECK_STR("cancelled", redis_do(&r.server, "HGET pl:{p%02u}:stopped c2", p));
    }
    const char *before = rig_dump(&r);
    CHECK_RUN(ERR_NONE, &r, steer_source, "c1", "paused"); /* twice */
    CHECK_STR(before, rig_dump(&r));
    CHECK_RUN(ERR_NONE, &r, steer_source, "c1", "cancelled");
    CHECK_STR("cancelled", redis_do(&r.server, "HGET pl:{p03}:stopped c1"));
    CHECK_RUN(ERR_NONE, &r, steer_source, "c1", "none");
    CHECK_RUN(ERR_NONE, &r, steer_source, "c2", "none");
    CHECK_RUN(ERR_NONE, &r, steer_source, "c2", "none");
    CHECK_INT(0, redis_num(&r.server, "EXISTS pl:{p00}:stopped pl:{p03}:stopped"));
    rig_stop(&r);
}

TEST(steering_a_source_reports_the_partition_that_failed)
{
    char other[80];
    rig_start(&r);
    (void)snprintf(other, sizeof other, "%.40s:other", queue_incarnation(r.q, 2));
    (void)redis_do(&r.server, "HSET pl:{p02}:meta inc %s", other);
    CHECK_RUN(ERR_GONE, &r, steer_source, "c1", "paused"); /* one answer for all */
    CHECK_STR("paused", redis_do(&r.server, "HGET pl:{p03}:stopped c1"));
    CHECK_STR("(nil)", redis_do(&r.server, "HGET pl:{p02}:stopped c1"));
    queue_wait(r.q);
    CHECK_RUN(ERR_NONE, &r, steer_source, "c1", "paused");
    CHECK_STR("paused", redis_do(&r.server, "HGET pl:{p02}:stopped c1"));
    rig_stop(&r);
}

TEST(an_idle_device_is_configured_when_it_gets_a_job)
{
    rig_start(&r);
    const char *before = rig_dump(&r);
    struct device_pace pace = {.version = 3, .max_in_flight = 2};
    CHECK_RUN(ERR_NONE, &r, steer_device, 17, &pace);
    CHECK_STR(before, rig_dump(&r));
    rig_stop(&r);
}

TEST(a_known_device_takes_its_new_configuration_at_once)
{
    rig_start(&r);
    rig_push(&r, 17, "j1");
    rig_push(&r, 17, "j2");
    (void)rig_send(&r, 17, "j1");
    CHECK_INT(-1, rig_ready(&r, 17));
    struct device_pace pace = {.version = 3,
                               .max_in_flight = 2,
                               .gap_min_ms = 3,
                               .gap_max_ms = 4,
                               .batch_size = 6,
                               .batch_pause_ms = 7,
                               .hourly_cap = 8,
                               .daily_cap = 9,
                               .quiet = "0 60 UTC"};
    CHECK_RUN(ERR_NONE, &r, steer_device, 17, &pace);
    static const char *const fields[][2] = {
        {"config", "3"},       {"max_in_flight", "2"}, {"gap_min", "3"},     {"gap_max", "4"},
        {"batch", "6"},        {"hour_cap", "8"},      {"batch_pause", "7"}, {"day_cap", "9"},
        {"quiet", "0 60 UTC"}, {"paused", ""}};
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        CHECK_STR(fields[i][1], rig_field(&r, 17, fields[i][0]));
    }
    CHECK(rig_ready(&r, 17) > 0); /* there is room for a second one now */
    rig_check_device(&r, 17);
    const char *before = rig_dump(&r);
    CHECK_RUN(ERR_NONE, &r, steer_device, 17, &pace);
    CHECK_STR(before, rig_dump(&r));
    pace.max_in_flight = 1;
    CHECK_RUN(ERR_NONE, &r, steer_device, 17, &pace);
    rig_check_device(&r, 17);
    CHECK_INT(-1, rig_ready(&r, 17));
    struct buf info = {0};
    CHECK_RUN(ERR_NONE, &r, device_info, 17, &info);
    CHECK(strstr(info.data, "quiet 0 60 UTC\n") && strstr(info.data, "in_flight 1\n"));
    buf_done(&info);
    rig_stop(&r);
}

TEST(of_two_tellers_the_newer_configuration_stays)
{
    rig_start(&r);
    r.pace.version = 10; /* nine is less than ten */
    (void)snprintf(r.pace.paused, sizeof r.pace.paused, "ops");
    CHECK_RUN(ERR_NONE, &r, steer_device, 17, &r.pace);
    struct device_pace older = {.version = 9, .max_in_flight = 5};
    const char *before = rig_dump(&r);
    CHECK_RUN(ERR_NONE, &r, steer_device, 17, &older);
    CHECK_STR(before, rig_dump(&r));
    older.version = 11;
    CHECK_RUN(ERR_NONE, &r, steer_device, 17, &older);
    CHECK_STR("", rig_field(&r, 17, "paused"));
    rig_stop(&r);
}

TEST(new_quiet_hours_end_the_wait_for_the_old_ones)
{
    rig_start(&r);
    rig_push(&r, 17, "j1");
    struct queue_permit job = rig_take(&r, 17, "j1");
    CHECK(rig_release(&r, &job, 28800000)); /* why: "quiet" */
    CHECK_INT(0, rig_claim(&r, 17, 1, &job));
    r.pace.version = 2;
    CHECK_RUN(ERR_NONE, &r, steer_device, 17, &r.pace);
    CHECK(rig_ready(&r, 17) <= redis_now_ms(&r.server));
    const char *before = rig_dump(&r);
    CHECK_RUN(ERR_NONE, &r, steer_device, 17, &r.pace);
    CHECK_STR(before, rig_dump(&r));
    job = rig_take(&r, 17, "j1"); /* the worker looks at the hours anew */
    CHECK_INT(FINISH_OK, rig_finish_hold(&r, &job, "deferred", 3600000));
    rig_push(&r, 17, "j2");
    r.pace.version = 3;
    CHECK_RUN(ERR_NONE, &r, steer_device, 17, &r.pace);
    CHECK_INT(0, rig_claim(&r, 17, 1, &job)); /* a hold for another reason stays */
    rig_stop(&r);
}

TEST(devices_and_their_ids_are_listed)
{
    struct queue_devices d;
    struct queue_ids ids;
    rig_start(&r);
    CHECK_RUN(ERR_NONE, &r, devices, 1, &d);
    CHECK_INT(0, d.n);
    free(d.devices);
    rig_push(&r, 17, "j1");
    rig_push(&r, 21, "j2");
    CHECK_RUN(ERR_NONE, &r, devices, 1, &d);
    CHECK_INT(2, d.n);
    CHECK_INT(17 + 21, d.devices[0] + d.devices[1]);
    free(d.devices);
    CHECK_RUN(ERR_NONE, &r, ids, 17, &ids);
    CHECK_INT(1, ids.n);
    CHECK_STR("j1", ids.ids[0].id);
    CHECK_STR(rig_state(&r, 17, "j1"), ids.ids[0].state);
    free(ids.ids);
    rig_stop(&r);
}

TEST(the_largest_device_number_works)
{
    static const uint64_t device = INT64_MAX;
    rig_start(&r);
    rig_push(&r, device, "j1");
    struct queue_permit job = rig_send(&r, device, "j1");
    CHECK(job.lease.device == device);
    CHECK_INT(FINISH_OK, rig_finish(&r, &job, "sent"));
    struct queue_result x = rig_result(&r, queue_partition(r.q, device), "sent", "j1");
    CHECK(x.device == device);
    rig_forget(&r, queue_partition(r.q, device), &x);
    CHECK_STR("", rig_state(&r, device, "j1"));
    rig_stop(&r);
}

/* --- the fleet
 * ------------------------------------------------------------------------------------- */

static int64_t
silence(const struct queue_fleet *f, const char *name)
{
    for (size_t i = 0; i < f->n; i++) {
        if (strcmp(f->members[i].name, name) == 0) {
            return f->members[i].silent_ms;
        }
    }
    return -1;
}

TEST(programs_hear_of_each_other)
{
    static struct queue_fleet f;
    rig_start(&r);
    CHECK_RUN(ERR_NONE, &r, beat, NULL, BEAT_ALIVE, &f);
    CHECK_INT(0, f.n);
    CHECK_RUN(ERR_NONE, &r, beat, "worker/a.1.b/1", BEAT_ALIVE, &f);
    CHECK_RUN(ERR_NONE, &r, beat, "reaper/a.2.c/1", BEAT_ALIVE, &f);
    CHECK_INT(2, f.n);
    CHECK_RUN(ERR_NONE, &r, beat, NULL, BEAT_ALIVE, &f); /* looking is no beat */
    CHECK_INT(2, f.n);
    CHECK(silence(&f, "worker/a.1.b/1") >= 0 && silence(&f, "worker/a.1.b/1") < 5000);
    CHECK_RUN(ERR_NONE, &r, beat, "worker/a.1.b/1", BEAT_DRAIN, &f); /* alive, not counted on */
    CHECK(silence(&f, "worker/a.1.b/1") >= 4000 && silence(&f, "worker/a.1.b/1") < 9000);
    CHECK_RUN(ERR_NONE, &r, beat, "worker/a.1.b/1", BEAT_LEAVE, &f); /* gone, and seen to be gone */
    CHECK(silence(&f, "worker/a.1.b/1") >= 300000);
    CHECK(silence(&f, "reaper/a.2.c/1") < 5000);
    CHECK_RUN(ERR_NONE, &r, beat, "worker/a.1.b/1", BEAT_ALIVE, &f); /* back again */
    CHECK(silence(&f, "worker/a.1.b/1") < 5000);
    (void)redis_do(&r.server, "ZADD pl:fleet %" PRId64 " ctl/a.3.d/1",
                   redis_now_ms(&r.server) - 599000);
    CHECK_RUN(ERR_NONE, &r, beat, NULL, BEAT_ALIVE, &f);
    CHECK(silence(&f, "ctl/a.3.d/1") >= 599000);
    (void)redis_do(&r.server, "ZADD pl:fleet %" PRId64 " ctl/a.3.d/1",
                   redis_now_ms(&r.server) - 600001);
    CHECK_RUN(ERR_NONE, &r, beat, NULL, BEAT_ALIVE, NULL);
    CHECK_INT(2, redis_num(&r.server, "ZCARD pl:fleet"));
    CHECK_STR("OK", redis_do(&r.server, "CONFIG SET maxmemory 1"));
    CHECK_RUN(ERR_NONE, &r, beat, "worker/a.1.b/1", BEAT_ALIVE, &f); /* past maxmemory */
    rig_stop(&r);
}

TEST(a_large_fleet_is_cut_not_overrun)
{
    static struct queue_fleet f;
    rig_start(&r);
    for (int i = 0; i < 1100; i++) {
        (void)redis_do(&r.server, "ZADD pl:fleet %" PRId64 " worker/host-%d.1.a/1",
                       redis_now_ms(&r.server), i);
    }
    CHECK_RUN(ERR_NONE, &r, beat, NULL, BEAT_ALIVE, &f);
    CHECK_INT(sizeof f.members / sizeof *f.members, f.n);
    (void)redis_do(&r.server, "ZADD pl:fleet 99999999999999 worker/the.latest.a/1");
    CHECK_RUN(ERR_NONE, &r, beat, NULL, BEAT_ALIVE, &f);
    CHECK_STR("worker/the.latest.a/1", f.members[0].name); /* the oldest are cut */
    rig_stop(&r);
}

TEST(a_results_age_is_told_by_redis_clock)
{
    static struct queue_fleet f;
    rig_start(&r);
    rig_push(&r, 17, "j1");
    struct queue_permit job = rig_send(&r, 17, "j1");
    CHECK_INT(FINISH_OK, rig_finish(&r, &job, "sent"));
    CHECK_RUN(ERR_NONE, &r, beat, NULL, BEAT_ALIVE, &f); /* tells the clock */
    int64_t t = t_now_ms();
    T_WAIT(t_now_ms() > t + 50, 5000);
    struct queue_result x = rig_result(&r, 1, "sent", "j1");
    CHECK(x.age_ms >= 45 && x.age_ms < 10000);
    rig_stop(&r);
}
