/* caps_plan: how much one recipient gets, and how many recipients an account writes to. */
#include "producer/caps_plan.h"
#include "tests/harness/t.h"

enum { HOUR = 3600000, DAY = 24 * HOUR };

static const struct frequency_rule two_a_day = {.daily = 2, .wait_ms = 3 * (int64_t)DAY};

TEST(a_recipient_with_room_waits_for_nothing)
{
    const int64_t ages[] = {0, 5 * HOUR, 30 * HOUR};
    struct frequency_rule none = {0};
    CHECK_INT(0, frequency_wait_ms(&two_a_day, ages, 0));
    CHECK_INT(0, frequency_wait_ms(&two_a_day, ages, 1));
    CHECK_INT(0, frequency_wait_ms(&none, ages, 3));
}

TEST(the_one_that_makes_it_too_many_has_to_fall_out)
{
    const int64_t ages[] = {1 * HOUR, 5 * HOUR, 9 * HOUR, 30 * HOUR};
    CHECK_INT(19 * HOUR, frequency_wait_ms(&two_a_day, ages, 2));
    CHECK_INT(19 * HOUR, frequency_wait_ms(&two_a_day, ages, 4)); /* the others are out by then */
    const int64_t edge[] = {0, DAY};
    CHECK_INT(0, frequency_wait_ms(&two_a_day, edge, 2));
    const int64_t before[] = {0, DAY - 1};
    CHECK_INT(1, frequency_wait_ms(&two_a_day, before, 2));
    const int64_t on_their_way[] = {0, 0};
    CHECK_INT(DAY, frequency_wait_ms(&two_a_day, on_their_way, 2));
}

TEST(the_week_counts_beside_the_day)
{
    struct frequency_rule r = {.daily = 2, .weekly = 3, .wait_ms = 30 * (int64_t)DAY};
    const int64_t ages[] = {2 * (int64_t)DAY, 3 * (int64_t)DAY, 5 * (int64_t)DAY};
    CHECK_INT(2 * (int64_t)DAY, frequency_wait_ms(&r, ages, 3));
    const int64_t both[] = {HOUR, 2 * HOUR, 5 * (int64_t)DAY};
    CHECK_INT(2 * (int64_t)DAY, frequency_wait_ms(&r, both, 3)); /* the longer of both */
    r.daily = 0;
    CHECK_INT(0, frequency_wait_ms(&r, both, 2));
}

TEST(waiting_ends_with_the_message_or_with_patience)
{
    CHECK_INT(CAP_GO, frequency_fate(&two_a_day, 0, 1, 0));
    CHECK_INT(CAP_LATER, frequency_fate(&two_a_day, HOUR, 0, 0));
    CHECK_INT(CAP_LATER, frequency_fate(&two_a_day, HOUR, HOUR + 1, 0));
    CHECK_INT(CAP_NEVER, frequency_fate(&two_a_day, HOUR, HOUR, 0));
    CHECK_INT(CAP_LATER, frequency_fate(&two_a_day, DAY, 0, 2 * (int64_t)DAY));
    CHECK_INT(CAP_NEVER, frequency_fate(&two_a_day, DAY, 0, 2 * (int64_t)DAY + 1));
    struct frequency_rule hasty = {.daily = 1, .wait_ms = 0};
    CHECK_INT(CAP_NEVER, frequency_fate(&hasty, 1, 0, 0));
}

/* Whatever is sent when the plan says so, no 24 hours have more than the cap. */
TEST(no_true_window_has_more_than_the_cap)
{
    struct frequency_rule r = {.daily = 3, .weekly = 8, .wait_ms = INT64_MAX / 2};
    int64_t sent[200], now = 0;
    size_t n = 0;
    while (n < 200) {
        int64_t ages[200];
        for (size_t i = 0; i < n; i++) {
            ages[i] = now - sent[n - 1 - i];
        }
        int64_t wait = frequency_wait_ms(&r, ages, n);
        if (wait) {
            now += wait;
            continue;
        }
        sent[n++] = now;
        CHECK(n <= 3 || now - sent[n - 4] >= CAPS_DAY_MS);
        CHECK(n <= 8 || now - sent[n - 9] >= CAPS_WEEK_MS);
        now += (int64_t)(t_random() % (10 * HOUR));
    }
}

TEST(an_account_gives_what_it_has_and_then_names_times)
{
    const int64_t left[] = {HOUR, 2 * HOUR, 20 * HOUR};
    struct quota q = {.limit = 10, .used = 8, .left_ms = left, .n_left = 3};
    CHECK_INT(0, quota_wants(&q, 2));
    CHECK_INT(3, quota_wants(&q, 5));
    CHECK_INT(0, quota_take(&q));
    CHECK_INT(0, quota_take(&q));
    CHECK_INT(HOUR, quota_take(&q));
    CHECK_INT(2 * HOUR, quota_take(&q)); /* each waits for another entry */
    CHECK_INT(20 * HOUR, quota_take(&q));
    CHECK_INT(20 * HOUR, quota_take(&q)); /* as far as is known */
    CHECK_INT(10, q.used);
}

TEST(a_limit_that_was_lowered_waits_for_more_to_fall_out)
{
    const int64_t left[] = {HOUR, 2 * HOUR, 3 * HOUR, 4 * HOUR};
    struct quota q = {.limit = 10, .used = 12, .left_ms = left, .n_left = 4};
    CHECK_INT(4, quota_wants(&q, 2));
    CHECK_INT(3 * HOUR, quota_take(&q)); /* three have to go before there is room for one */
    CHECK_INT(4 * HOUR, quota_take(&q));
}

TEST(times_are_never_in_a_blink)
{
    const int64_t left[] = {0, -5};
    struct quota q = {.limit = 1, .used = 1, .left_ms = left, .n_left = 2};
    CHECK_INT(CAPS_AGAIN_MS, quota_take(&q));
    CHECK_INT(CAPS_AGAIN_MS, quota_take(&q));
    struct quota empty = {.limit = 0, .used = 0};
    CHECK_INT(CAPS_DAY_MS, quota_take(&empty));
}
