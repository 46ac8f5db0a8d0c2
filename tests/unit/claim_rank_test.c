#include "tests/harness/t.h"
#include "worker/worker.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { WORKERS_MAX = 24 };

struct fleet {
    char text[WORKERS_MAX][QUEUE_NAME_SIZE];
    const char *names[WORKERS_MAX];
    size_t n;
};

/* Names as workers have them: alike but for a number and a word. */
static void
gather(struct fleet *f, size_t n)
{
    f->n = n;
    for (size_t i = 0; i < n; i++) {
        (void)snprintf(f->text[i], sizeof f->text[i], "worker/node-%d.%d.%04x/0.1.0",
                       (int)(t_random() % 4), (int)(1000 + i), (unsigned)(t_random() & 0xffff));
        f->names[i] = f->text[i];
    }
}

static const char *
choice(const struct fleet *f, unsigned p)
{
    size_t i = claim_rank(f->names, f->n, p);
    CHECK(i < f->n);
    return f->names[i];
}

TEST(a_lone_worker_prefers_everything)
{
    struct fleet f;
    gather(&f, 1);
    for (unsigned p = 0; p < QUEUE_PARTITIONS_MAX; p++) {
        CHECK_INT(0, claim_rank(f.names, f.n, p));
    }
}

/* Each worker makes its own list, in its own order: all must come to the same choice. */
TEST(the_order_of_the_list_does_not_matter)
{
    for (int round = 0; round < 200; round++) {
        struct fleet f, g;
        gather(&f, 2 + t_random() % (WORKERS_MAX - 1));
        g = f;
        for (size_t i = g.n; i-- > 1;) {
            size_t k = t_random() % (i + 1);
            const char *x = f.names[i];
            f.names[i] = f.names[k];
            f.names[k] = x;
        }
        for (size_t i = 0; i < g.n; i++) {
            g.names[i] = g.text[i];
        }
        for (unsigned p = 0; p < 64; p++) {
            CHECK_STR(choice(&g, p), choice(&f, p));
        }
    }
}

/* A binomial count lies within five standard deviations of its mean but once in 10^6; workers of
 * few partitions are allowed a little more, for their skewed tails. */
static void
check_share(size_t got, double partitions, double workers)
{
    double mean = partitions / workers;
    double deviation = sqrt(mean * (1 - 1 / workers));
    if (fabs((double)got - mean) > 6 * deviation + 4) {
        t_fail(__FILE__, __LINE__, "a worker of %.0f has %zu of %.0f partitions", workers, got,
               partitions);
    }
}

TEST(each_worker_gets_about_its_share)
{
    static const unsigned partitions[] = {64, 1024};
    for (size_t k = 0; k < 2; k++) {
        for (size_t n = 1; n <= WORKERS_MAX; n++) {
            struct fleet f;
            size_t got[WORKERS_MAX] = {0};
            gather(&f, n);
            for (unsigned p = 0; p < partitions[k]; p++) {
                got[claim_rank(f.names, n, p)]++;
            }
            for (size_t i = 0; i < n; i++) {
                check_share(got[i], partitions[k], (double)n);
            }
        }
    }
}

TEST(no_partition_and_no_place_in_the_list_is_favoured)
{
    enum { ROUNDS = 3000, N = 4 };
    size_t by_place[N] = {0}, repeated = 0;
    for (int round = 0; round < ROUNDS; round++) {
        struct fleet f;
        gather(&f, N);
        by_place[claim_rank(f.names, N, 17)]++;
        repeated += claim_rank(f.names, N, 17) == claim_rank(f.names, N, 18);
    }
    for (size_t i = 0; i < N; i++) {
        check_share(by_place[i], ROUNDS, N);
    }
    check_share(repeated, ROUNDS, N); /* neighbours are drawn independently */
}

TEST(when_a_worker_leaves_only_its_partitions_move)
{
    for (int round = 0; round < 50; round++) {
        struct fleet f, rest = {0};
        gather(&f, 2 + t_random() % (WORKERS_MAX - 1));
        size_t gone = t_random() % f.n;
        for (size_t i = 0; i < f.n; i++) {
            if (i != gone) {
                rest.names[rest.n++] = f.names[i];
            }
        }
        for (unsigned p = 0; p < 256; p++) {
            const char *before = choice(&f, p), *after = choice(&rest, p);
            CHECK(strcmp(before, after) == 0 || strcmp(before, f.names[gone]) == 0);
        }
    }
}

TEST(when_a_worker_comes_partitions_move_only_to_it)
{
    for (int round = 0; round < 50; round++) {
        struct fleet f;
        gather(&f, 2 + t_random() % (WORKERS_MAX - 1));
        for (unsigned p = 0; p < 256; p++) {
            const char *after = choice(&f, p);
            struct fleet before = f;
            before.n--;
            CHECK(strcmp(after, f.names[f.n - 1]) == 0 || strcmp(after, choice(&before, p)) == 0);
        }
    }
}

TEST(an_empty_fleet_is_not_read)
{
    CHECK_INT(0, claim_rank(NULL, 0, 5));
}
