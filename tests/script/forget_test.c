/* forget: what is left in Redis when everything has been said. */
#include "tests/harness/rig.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static struct rig r;

/* One job of device 17 from stage to its outcome. */
static struct queue_permit
deliver(const char *id, const char *kind)
{
    rig_push(&r, 17, id);
    struct queue_permit job = rig_send(&r, 17, id);
    CHECK_INT(FINISH_OK, rig_finish(&r, &job, kind));
    return job;
}

TEST(forgetting_drops_the_id_and_the_result)
{
    rig_start(&r);
    (void)deliver("j1", "sent");
    rig_push(&r, 17, "j2"); /* the device holds something still */
    struct queue_result x = rig_result(&r, 1, "sent", "j1");
    rig_forget(&r, 1, &x);
    CHECK_STR("", rig_state(&r, 17, "j1"));
    CHECK_INT(0, redis_num(&r.server, "XLEN pl:{p01}:results"));
    CHECK_STR("0 (nil) (nil) (nil)", redis_do(&r.server, "XPENDING pl:{p01}:results ledger"));
    CHECK_INT(-1, redis_num(&r.server, "PTTL pl:{p01}:d:17"));
    CHECK_STR("17", redis_do(&r.server, "SMEMBERS pl:{p01}:devices"));
    const char *before = rig_dump(&r);
    rig_forget(&r, 1, &x); /* twice */
    CHECK_STR(before, rig_dump(&r));
    rig_check_device(&r, 17);
    rig_stop(&r);
}

TEST(an_id_that_has_moved_on_is_not_dropped)
{
    rig_start(&r);
    (void)deliver("j1", "failed");
    struct queue_result x = rig_result(&r, 1, "failed", "j1");
    struct queue_result others[3] = {x, x, x};
    others[0].gen = 2;
    others[1].token = 2;
    (void)snprintf(others[2].kind, sizeof others[2].kind, "unknown");
    for (int i = 0; i < 3; i++) {
        rig_forget(&r, 1, &others[i]);
        CHECK_STR("D 1 1 failed", rig_state(&r, 17, "j1"));
    }
    CHECK_INT(0, redis_num(&r.server, "XLEN pl:{p01}:results")); /* that one was acknowledged */
    rig_forget(&r, 1, &x);
    CHECK_STR("", rig_state(&r, 17, "j1"));
    rig_stop(&r);
}

TEST(a_job_on_its_way_again_is_not_dropped)
{
    static const char letters[] = "SWLP";
    rig_start(&r);
    for (int i = 0; i < 4; i++) {
        (void)deliver("j1", "retry");
        struct queue_result x = rig_result(&r, 1, "retry", "j1");
        struct queue_permit job = {.row = 0};
        CHECK_INT('S', rig_stage(&r, 17, "j1", 2));
        if (i > 0) {
            CHECK_INT('1', rig_activate(&r, 17, "j1", 2));
        }
        if (i > 1) {
            job = rig_take(&r, 17, "j1");
        }
        if (i > 2) {
            CHECK_INT(PERMIT_GO, rig_permit(&r, &job));
        }
        rig_forget(&r, 1, &x);
        CHECK_INT(letters[i], *rig_state(&r, 17, "j1"));
        rig_check_device(&r, 17);
        CHECK_INT(1, rig_drop(&r, 17, "j1", false, true));
    }
    rig_stop(&r);
}

/* The keys that are always there, however much has passed through. */
static void
check_nothing_left(void)
{
    CHECK_INT(4,
              redis_num(&r.server, "DEL pl:{p00}:meta pl:{p01}:meta pl:{p02}:meta pl:{p03}:meta"));
    CHECK_INT(4,
              redis_num(&r.server,
                        "DEL pl:{p00}:results pl:{p01}:results pl:{p02}:results pl:{p03}:results"));
    CHECK_INT(1, redis_num(&r.server, "DEL pl:meta"));
    CHECK_STR("", rig_dump(&r));
}

TEST(after_a_full_life_nothing_is_left_but_a_pace_that_expires)
{
    static const char *const kinds[] = {"sent", "failed", "retry", "deferred", "unknown"};
    rig_start(&r);
    r.pace.hourly_cap = 100;
    r.pace.gap_max_ms = 1;
    for (int i = 0; i < 5; i++) {
        (void)deliver((const char *[]){"j1", "j2", "j3", "j4", "j5"}[i], kinds[i]);
    }
    rig_push(&r, 17, "j6");
    struct queue_permit job = rig_take(&r, 17, "j6");
    CHECK_INT('a', rig_end_lease(&r, &job));
    job = rig_send(&r, 17, "j6");
    CHECK_INT('u', rig_end_lease(&r, &job));
    CHECK_INT(FINISH_LATE, rig_finish(&r, &job, "sent"));
    rig_push(&r, 17, "j7");
    CHECK_RUN(ERR_NONE, &r, steer_source, "c1", "cancelled");
    struct queue_permit none;
    T_WAIT(rig_claim(&r, 17, 1, &none) == 0 && redis_num(&r.server, "XLEN pl:{p01}:d:17:jobs") == 0,
           5000);
    CHECK_RUN(ERR_NONE, &r, steer_source, "c1", "none");
    CHECK_INT(8, redis_num(&r.server, "XLEN pl:{p01}:results"));
    rig_settle(&r, 1);
    CHECK(strstr(rig_dump(&r), "pl:{p01}:d:17 (hash, expires): "));
    CHECK_INT(0, redis_num(&r.server,
                           "EXISTS pl:{p01}:d:17:jobs pl:{p01}:d:17:ids pl:{p01}:devices "
                           "pl:{p01}:ready pl:{p01}:leases pl:{p01}:stopped pl:{p01}:hungry"));
    CHECK_INT(1, redis_num(&r.server, "DEL pl:{p01}:d:17"));
    check_nothing_left();
    rig_stop(&r);
}

TEST(a_devices_pace_stays_until_its_next_slot_has_passed)
{
    static const struct {
        int64_t gap_ms, hourly_cap, daily_cap, least_ms;
    } cases[] = {{0, 0, 0, 0},
                 {7200000, 0, 0, 7200000},
                 {0, 5, 0, INT64_C(25) * 3600000},
                 {0, 0, 5, INT64_C(25) * 3600000}};
    rig_start(&r);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        r.pace = (struct device_pace){.version = i + 1,
                                      .max_in_flight = 1,
                                      .gap_max_ms = cases[i].gap_ms,
                                      .hourly_cap = cases[i].hourly_cap,
                                      .daily_cap = cases[i].daily_cap};
        (void)redis_do(&r.server, "DEL pl:{p01}:d:17");
        (void)deliver("j1", "sent");
        rig_settle(&r, 1);
        int64_t left = redis_num(&r.server, "PTTL pl:{p01}:d:17");
        CHECK(left > cases[i].least_ms && left <= cases[i].least_ms + 60000);
    }
    /* A new job finds the pace and keeps it from going. */
    r.pace.version++;
    rig_push(&r, 17, "j2");
    CHECK_INT(-1, redis_num(&r.server, "PTTL pl:{p01}:d:17"));
    CHECK_STR("1", rig_field(&r, 17, "token"));
    rig_stop(&r);
}

TEST(a_paused_device_is_remembered_until_it_is_resumed)
{
    rig_start(&r);
    (void)snprintf(r.pace.paused, sizeof r.pace.paused, "ops");
    CHECK_RUN(ERR_NONE, &r, steer_device, 17, &r.pace); /* idle and not known: noted all the same */
    CHECK_STR("ops", rig_field(&r, 17, "paused"));
    CHECK_INT(-1, redis_num(&r.server, "PTTL pl:{p01}:d:17"));
    r.pace.paused[0] = '\0';
    CHECK_RUN(ERR_NONE, &r, steer_device, 17, &r.pace);
    CHECK(redis_num(&r.server, "PTTL pl:{p01}:d:17") > 0); /* idle: it goes */
    (void)deliver("j1", "sent");
    (void)snprintf(r.pace.paused, sizeof r.pace.paused, "ops");
    CHECK_RUN(ERR_NONE, &r, steer_device, 17, &r.pace);
    rig_settle(&r, 1);
    CHECK_INT(-1, redis_num(&r.server, "PTTL pl:{p01}:d:17"));
    CHECK_STR("", redis_do(&r.server, "SMEMBERS pl:{p01}:devices"));
    r.pace.paused[0] = '\0';
    CHECK_RUN(ERR_NONE, &r, steer_device, 17, &r.pace);
    CHECK(redis_num(&r.server, "PTTL pl:{p01}:d:17") > 0);
    (void)snprintf(r.pace.paused, sizeof r.pace.paused, "ops");
    CHECK_RUN(ERR_NONE, &r, steer_device, 17, &r.pace); /* it was on its way out */
    CHECK_INT(-1, redis_num(&r.server, "PTTL pl:{p01}:d:17"));
    rig_stop(&r);
}

TEST(what_unstage_and_drop_leave_is_collected_by_repair)
{
    rig_start(&r);
    struct queue_probe_device device = {.device = 17};
    struct queue_probe_job job = {.device = 17, .id = "j1", .gen = 1};
    CHECK_INT('S', rig_stage(&r, 17, "j1", 1));
    CHECK_RUN(ERR_NONE, &r, probe, 1, true, &device, 1, &job, 1);
    rig_push(&r, 21, "j2");
    CHECK_INT(1, rig_drop(&r, 21, "j2", false, false));
    struct queue_devices d;
    CHECK_RUN(ERR_NONE, &r, devices, 1, &d);
    CHECK_INT(2, d.n);
    for (size_t i = 0; i < d.n; i++) {
        CHECK_INT(0, rig_repair(&r, d.devices[i]));
    }
    free(d.devices);
    CHECK(redis_num(&r.server, "PTTL pl:{p01}:d:21") > 0);
    CHECK_INT(1, redis_num(&r.server, "DEL pl:{p01}:d:21"));
    check_nothing_left();
    rig_stop(&r);
}

TEST(one_call_forgets_a_full_batch)
{
    static struct queue_result x[QUEUE_BATCH_MAX];
    rig_start(&r);
    r.pace.max_in_flight = 2;
    for (int i = 0; i < QUEUE_BATCH_MAX; i++) {
        char id[16];
        struct queue_permit job;
        uint64_t device = 1 + 4 * (uint64_t)(i % 7);
        (void)snprintf(id, sizeof id, "j%d", i);
        rig_push(&r, device, id);
        CHECK_INT(1, rig_claim(&r, device, 1, &job));
        CHECK_INT(FINISH_OK, rig_finish(&r, &job, "failed"));
    }
    CHECK_INT(QUEUE_BATCH_MAX, rig_results(&r, 1, x, QUEUE_BATCH_MAX));
    CHECK_RUN(ERR_NONE, &r, forget, 1, x, QUEUE_BATCH_MAX);
    for (int i = 0; i < 7; i++) {
        CHECK_INT(1, redis_num(&r.server, "DEL pl:{p01}:d:%d", 1 + 4 * i));
    }
    check_nothing_left();
    rig_stop(&r);
}
