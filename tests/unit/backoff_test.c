#include "shared/backoff.h"
#include "tests/harness/t.h"

static int64_t
least(unsigned attempt, int64_t base, int64_t cap)
{
    return backoff_ms(attempt, base, cap, 0);
}

/* The random part is taken modulo its size: the most that any random number gives. */
static int64_t
most(unsigned attempt, int64_t base, int64_t cap)
{
    int64_t low = least(attempt, base, cap), best = low;
    for (uint64_t r = 0; r < 4 * (uint64_t)low + 8; r++) {
        int64_t v = backoff_ms(attempt, base, cap, r);
        best = v > best ? v : best;
    }
    return best;
}

TEST(delays_double_up_to_the_cap)
{
    static const int64_t whole[] = {100, 200, 400, 800, 1000, 1000, 1000};
    for (unsigned i = 0; i < 7; i++) {
        CHECK_INT(whole[i] / 2, least(i, 100, 1000));
        CHECK_INT(whole[i], most(i, 100, 1000));
    }
    CHECK_INT(500, least(4000000000U, 100, 1000));
}

TEST(a_base_above_the_cap_is_the_cap)
{
    CHECK_INT(500, least(0, 5000, 1000));
    CHECK_INT(1000, most(0, 5000, 1000));
}

TEST(odd_and_tiny_delays_keep_their_bounds)
{
    CHECK_INT(0, least(0, 0, 1000));
    CHECK_INT(0, most(3, 0, 1000));
    CHECK_INT(0, least(0, 1, 1000));
    CHECK_INT(1, most(0, 1, 1000));
    CHECK_INT(3, least(0, 7, 1000));
    CHECK_INT(7, most(0, 7, 1000));
}

TEST(every_delay_is_between_a_half_and_the_whole)
{
    for (int i = 0; i < 200000; i++) {
        int64_t base = 1 + (int64_t)(t_random() % 10000),
                cap = base + (int64_t)(t_random() % 4000000);
        unsigned attempt = (unsigned)(t_random() % 40);
        int64_t whole = base, v = backoff_ms(attempt, base, cap, t_random());
        for (unsigned k = 0; k < attempt && whole < cap; k++) {
            whole *= 2;
        }
        whole = whole > cap ? cap : whole;
        CHECK(v >= whole / 2 && v <= whole);
    }
}

TEST(delays_are_spread_evenly)
{
    enum { PARTS = 10, DRAWS = 100000 };
    int counts[PARTS] = {0};
    for (int i = 0; i < DRAWS; i++) {
        counts[(backoff_ms(10, 100, 20000, t_random()) - 10000) * PARTS / 10001]++;
    }
    for (int i = 0; i < PARTS; i++) {
        CHECK(counts[i] > DRAWS / PARTS * 9 / 10 && counts[i] < DRAWS / PARTS * 11 / 10);
    }
}

TEST(the_widest_numbers_do_not_overflow)
{
    static const int64_t widest = INT64_C(1) << 61;
    CHECK_INT(widest / 2, least(UINT32_MAX, 1, widest));
    CHECK(backoff_ms(100, widest, widest, UINT64_MAX) >= widest / 2);
}

TEST(random_numbers_differ)
{
    uint64_t seen = 0, all = UINT64_MAX;
    for (int i = 0; i < 1000; i++) {
        uint64_t v = random_u64();
        CHECK(v != random_u64());
        seen |= v;
        all &= v;
    }
    CHECK(seen == UINT64_MAX && all == 0); /* every bit is used */
}
