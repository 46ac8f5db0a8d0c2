#include "producer/dispatch_plan.h"
#include "tests/harness/t.h"

#include <string.h>

enum { DEVICES_MAX = 40 };

/* --- room ------------------------------------------------------------------------------------- */

TEST(a_device_has_room_for_its_window_less_what_redis_knows)
{
    static const struct {
        int64_t window, known;
        bool paused, open;
        int64_t want;
    } cases[] = {
        {100, 0, false, true, 100}, {100, 1, false, true, 99},  {100, 99, false, true, 1},
        {100, 100, false, true, 0}, {100, 101, false, true, 0}, {100, 100000, false, true, 0},
        {1, 0, false, true, 1},     {0, 0, false, true, 0},     {0, 5, false, true, 0},
        {100, 0, true, true, 0},    {100, 50, true, true, 0},   {100, 0, false, false, 0},
        {100, 0, true, false, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        CHECK_INT(cases[i].want,
                  plan_room(cases[i].window, cases[i].known, cases[i].paused, cases[i].open));
    }
}

TEST(room_and_what_is_known_never_exceed_the_window)
{
    for (int i = 0; i < 100000; i++) {
        int64_t window = (int64_t)(t_random() % 300), known = (int64_t)(t_random() % 600);
        bool paused = t_random() % 4 == 0, open = t_random() % 4 != 0;
        int64_t room = plan_room(window, known, paused, open);
        CHECK(room >= 0);
        CHECK(room == 0 || known + room == window);
        CHECK(room == 0 || (!paused && open));
    }
}

/* --- what becomes of a row -------------------------------------------------------------------- */

TEST(only_a_staged_row_is_called_queued)
{
    for (int c = 0; c < 256; c++) {
        enum row_fate want = c == 'S' ? FATE_QUEUE : c == 'F' || c == 0 ? FATE_RETURN : FATE_LATER;
        CHECK_INT(want, plan_fate((char)c));
    }
}

/* --- the wait between sweeps ------------------------------------------------------------------ */

TEST(the_wait_doubles_while_nothing_is_found)
{
    int64_t wait = plan_interval(true, 777, 50, 1000);
    static const int64_t want[] = {50, 100, 200, 400, 800, 1000, 1000, 1000};
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        CHECK_INT(want[i], wait);
        wait = plan_interval(false, wait, 50, 1000);
    }
    CHECK_INT(50, plan_interval(true, wait, 50, 1000));
}

TEST(the_wait_stays_between_its_bounds)
{
    for (int i = 0; i < 100000; i++) {
        int64_t min = 1 + (int64_t)(t_random() % 500), max = min + (int64_t)(t_random() % 5000);
        int64_t last = (int64_t)(t_random() % 10000);
        bool found = t_random() % 2;
        int64_t next = plan_interval(found, last, min, max);
        CHECK(next >= min && next <= max);
        CHECK(!found || next == min);
        CHECK(found || next == max || next >= 2 * last);
    }
}

TEST(the_first_wait_of_all_is_not_nothing)
{
    CHECK_INT(50, plan_interval(false, 0, 50, 1000));
}

/* --- which devices one claim is for ----------------------------------------------------------- */

TEST(rooms_are_added_up_to_the_batch)
{
    static const struct {
        int64_t rooms[5];
        size_t n, at;
        int64_t batch;
        size_t want;
    } cases[] = {
        {{10, 10, 10, 10, 10}, 5, 0, 50, 5}, {{10, 10, 10, 10, 10}, 5, 0, 49, 4},
        {{10, 10, 10, 10, 10}, 5, 0, 10, 1}, {{10, 10, 10, 10, 10}, 5, 0, 19, 1},
        {{10, 10, 10, 10, 10}, 5, 3, 50, 2}, {{10, 10, 10, 10, 10}, 5, 5, 50, 0},
        {{10, 10, 10, 10, 10}, 5, 9, 50, 0}, {{99, 1, 1, 1, 1}, 5, 0, 50, 1},
        {{1, 99, 1, 1, 1}, 5, 0, 50, 1},     {{1, 49, 1, 1, 1}, 5, 0, 50, 2},
        {{0, 0, 0, 0, 7}, 5, 0, 5, 5},       {{0, 0, 1, 0, 7}, 5, 0, 5, 4},
        {{1, 1, 1, 1, 1}, 0, 0, 50, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int64_t rooms[5];
        memcpy(rooms, cases[i].rooms, sizeof rooms);
        CHECK_INT(cases[i].want, plan_claim(rooms, cases[i].n, cases[i].at, cases[i].batch));
    }
}

TEST(a_room_larger_than_the_batch_is_cut)
{
    int64_t rooms[] = {200, 201, 3};
    CHECK_INT(1, plan_claim(rooms, 3, 0, 200));
    CHECK_INT(200, rooms[0]);
    CHECK_INT(1, plan_claim(rooms, 3, 1, 200));
    CHECK_INT(200, rooms[1]);
    CHECK_INT(1, plan_claim(rooms, 3, 2, 200));
    CHECK_INT(3, rooms[2]);
}

static int64_t
sum(const int64_t *rooms, size_t n)
{
    int64_t s = 0;
    for (size_t i = 0; i < n; i++) {
        s += rooms[i];
    }
    return s;
}

TEST(every_device_is_in_exactly_one_claim_and_no_claim_is_too_large)
{
    for (int i = 0; i < 20000; i++) {
        int64_t rooms[DEVICES_MAX], before[DEVICES_MAX];
        size_t n = t_random() % (DEVICES_MAX + 1);
        int64_t batch = 1 + (int64_t)(t_random() % 200);
        for (size_t k = 0; k < n; k++) {
            before[k] = rooms[k] = (int64_t)(t_random() % (t_random() % 8 ? 60 : 500));
        }
        size_t at = 0;
        while (at < n) {
            size_t taken = plan_claim(rooms, n, at, batch);
            CHECK(taken >= 1 && taken <= n - at);
            int64_t s = sum(rooms + at, taken);
            CHECK(s <= batch);
            /* As many as fit. */
            CHECK(at + taken == n || s + before[at + taken] > batch);
            at += taken;
        }
        CHECK_INT(0, plan_claim(rooms, n, at, batch));
        for (size_t k = 0; k < n; k++) {
            CHECK_INT(before[k] < batch ? before[k] : batch, rooms[k]);
        }
    }
}
