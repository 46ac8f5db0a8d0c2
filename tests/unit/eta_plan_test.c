/* eta_plan: how long a device takes, against what permit.lua and the worker's pace do. */
#include "ctl/eta_plan.h"
#include "shared/tz.h"
#include "tests/harness/t.h"
#include "worker/pace.h"

#include <stdio.h>
#include <string.h>

enum { SECOND = 1000, MINUTE = 60000, HOUR = 3600000, DAY = 86400000 };

static const struct eta_pace plain = {
    .gap_min_ms = 5000, .gap_max_ms = 15000, .quiet_from_min = -1, .quiet_to_min = -1};

TEST(a_gap_lies_between_two_messages)
{
    CHECK_INT(1000, eta_plan(&plain, 1000, 0));
    CHECK_INT(1000, eta_plan(&plain, 1000, 1)); /* the first goes at once */
    CHECK_INT(1000 + 10 * SECOND, eta_plan(&plain, 1000, 2));
    CHECK_INT(1000 + 990 * SECOND, eta_plan(&plain, 1000, 100));
    struct eta_pace odd = plain;
    odd.gap_max_ms = 0; /* is read as the smaller one, as the worker does */
    CHECK_INT(5 * SECOND, eta_plan(&odd, 0, 2));
}

TEST(the_mean_is_what_workers_draw_in_the_long_run)
{
    int64_t sum = 0;
    for (int i = 0; i < 9999; i++) {
        char id[32];
        (void)snprintf(id, sizeof id, "c1-d2-%d-r0", i);
        sum += pace_gap_ms(id, plain.gap_min_ms, plain.gap_max_ms);
    }
    int64_t eta = eta_plan(&plain, 0, 10000);
    CHECK(eta > sum * 99 / 100 && eta < sum * 101 / 100);
}

TEST(batch_pauses_are_added_to_the_gap_behind_each_batch)
{
    struct eta_pace p = plain;
    p.batch_size = 20;
    p.batch_pause_ms = 10 * MINUTE;
    CHECK_INT(19 * 10 * SECOND, eta_plan(&p, 0, 20)); /* none behind the last one */
    CHECK_INT(20 * 10 * SECOND + 10 * MINUTE, eta_plan(&p, 0, 21));
    CHECK_INT(40 * 10 * SECOND + 20 * MINUTE, eta_plan(&p, 0, 41));
    p.batch_size = 0;
    CHECK_INT(40 * 10 * SECOND, eta_plan(&p, 0, 41));
}

TEST(caps_slide_in_buckets)
{
    struct eta_pace p = plain;
    p.hourly_cap = 30;
    CHECK_INT(29 * 10 * SECOND, eta_plan(&p, 0, 30));
    CHECK_INT(65 * MINUTE, eta_plan(&p, 0, 31)); /* 13 buckets of five minutes, the first in full */
    CHECK_INT(65 * MINUTE + 29 * 10 * SECOND, eta_plan(&p, 0, 60));
    CHECK_INT(130 * MINUTE, eta_plan(&p, 0, 61));
    p.hourly_cap = 0;
    p.daily_cap = 100;
    CHECK_INT(99 * 10 * SECOND, eta_plan(&p, 0, 100));
    CHECK_INT(25 * HOUR, eta_plan(&p, 0, 101));
    p.hourly_cap = 10; /* both at once: ten every 65 minutes, a hundred every 25 hours */
    int64_t t = eta_plan(&p, 0, 101);
    CHECK(t >= 25 * HOUR && t <= 26 * HOUR);
}

/* However the times lie, no true hour and no true day has more than the cap. */
TEST(a_true_window_never_exceeds_a_cap)
{
    struct eta_pace p = {.gap_min_ms = 1000,
                         .gap_max_ms = 70000,
                         .hourly_cap = 17,
                         .daily_cap = 120,
                         .quiet_from_min = -1,
                         .quiet_to_min = -1};
    int64_t at[400];
    for (int64_t n = 1; n <= 400; n++) {
        at[n - 1] = eta_plan(&p, 1234567, n);
        CHECK(n <= 17 || at[n - 1] - at[n - 1 - 17] >= HOUR);
        CHECK(n <= 120 || at[n - 1] - at[n - 1 - 120] >= DAY);
    }
    CHECK(at[399] < 5 * (int64_t)DAY);
}

TEST(nothing_goes_out_in_quiet_hours)
{
    struct eta_pace p = plain;
    p.quiet_from_min = 22 * 60;
    p.quiet_to_min = 7 * 60;
    CHECK_INT(7 * HOUR, eta_plan(&p, 0, 1)); /* midnight, UTC */
    CHECK_INT(7 * HOUR + 10 * SECOND, eta_plan(&p, 0, 2));
    int64_t n = 15 * 360; /* fifteen hours of six a minute */
    CHECK_INT(22 * HOUR - 10 * SECOND, eta_plan(&p, 0, n));
    CHECK_INT(31 * HOUR, eta_plan(&p, 0, n + 1));
    CHECK_INT(12 * HOUR, eta_plan(&p, 12 * HOUR, 1));
}

/* The worker's own arithmetic, in zones with and without changes of the clock. */
TEST(quiet_hours_are_those_of_the_worker)
{
    static const char *const zones[] = {"Asia/Kuala_Lumpur", "Europe/Berlin", "America/New_York",
                                        "Australia/Lord_Howe"};
    for (size_t z = 0; z < 4; z++) {
        struct tz *tz;
        CHECK_OK(tz_load(zones[z], &tz, e));
        for (int i = 0; i < 20000; i++) {
            struct quiet q = {.from_min = (int)(t_random() % 1440),
                              .to_min = (int)(t_random() % 1440)};
            struct eta_pace p = plain;
            p.quiet_from_min = q.from_min;
            p.quiet_to_min = q.to_min;
            p.tz = tz;
            int64_t now = 1700000000000 + (int64_t)(t_random() % 63072000) * 1000;
            int64_t left = q.from_min == q.to_min ? 0 : pace_quiet_left_ms(&q, tz, now);
            /* Where the clock jumps out of the quiet hours and into them again, the worker looks
             * once more when it wakes up. */
            int64_t again =
                left && q.from_min != q.to_min ? pace_quiet_left_ms(&q, tz, now + left) : 0;
            CHECK_INT(now + left + again, eta_awake_ms(&p, now));
        }
        tz_free(tz);
    }
}

TEST(a_huge_audience_costs_bounded_work)
{
    struct eta_pace p = plain;
    p.daily_cap = 1000;
    int64_t t = eta_plan(&p, 0, 1000000000);
    CHECK(t > 900000 * (int64_t)DAY && t < 1200000 * (int64_t)DAY);
}
