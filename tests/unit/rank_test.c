#include "shared/rank.h"
#include "tests/harness/t.h"

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
    size_t i = rank_best(f->names, f->n, p);
    CHECK(i < f->n);
    return f->names[i];
}

TEST(a_lone_worker_prefers_everything)
{
    struct fleet f;
    gather(&f, 1);
    for (unsigned p = 0; p < QUEUE_PARTITIONS_MAX; p++) {
        CHECK_INT(0, rank_best(f.names, f.n, p));
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
                got[rank_best(f.names, n, p)]++;
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
        by_place[rank_best(f.names, N, 17)]++;
        repeated += rank_best(f.names, N, 17) == rank_best(f.names, N, 18);
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

/* --- who is counted ----------------------------------------------------------------------------
 */

enum { SILENT = 3000, PARTITIONS = 64 };

static void
join(struct queue_fleet *f, const char *name, int64_t silent_ms)
{
    struct queue_member *m = &f->members[f->n++];
    (void)snprintf(m->name, sizeof m->name, "%s", name);
    m->silent_ms = silent_ms;
}

static size_t
prefer(const struct queue_fleet *f, const char *self, bool prefers[PARTITIONS])
{
    memset(prefers, 0x55, PARTITIONS);
    return rank_partitions(f, self, SILENT, PARTITIONS, prefers);
}

/* With the same view of the fleet each partition is preferred by exactly one member of a role. */
TEST(members_of_a_role_share_the_partitions_without_rest)
{
    for (int round = 0; round < 100; round++) {
        struct fleet f;
        struct queue_fleet seen = {.n = 0};
        unsigned takers[PARTITIONS] = {0};
        gather(&f, 1 + t_random() % WORKERS_MAX);
        for (size_t i = 0; i < f.n; i++) {
            join(&seen, f.names[i], (int64_t)(t_random() % SILENT));
            join(&seen, i % 2 ? "producer/a.1.x/1" : "workers/a.1.x/1", 0);
        }
        for (size_t i = 0; i < f.n; i++) {
            bool prefers[PARTITIONS];
            CHECK_INT(f.n, prefer(&seen, f.names[i], prefers));
            for (unsigned p = 0; p < PARTITIONS; p++) {
                takers[p] += prefers[p];
                CHECK_INT(rank_best(f.names, f.n, p) == i, prefers[p]);
            }
        }
        for (unsigned p = 0; p < PARTITIONS; p++) {
            CHECK_INT(1, takers[p]);
        }
    }
}

TEST(silent_members_and_other_roles_are_not_counted)
{
    struct queue_fleet f = {.n = 0};
    bool prefers[PARTITIONS];
    join(&f, "worker/a.1.x/1", SILENT);
    join(&f, "worker/b.1.x/1", 100 * SILENT);
    join(&f, "producer/a.1.x/1", 0);
    join(&f, "reaper/a.1.x/1", 0);
    CHECK_INT(1, prefer(&f, "worker/self.1.x/1", prefers));
    for (unsigned p = 0; p < PARTITIONS; p++) {
        CHECK(prefers[p]);
    }
    join(&f, "worker/c.1.x/1", SILENT - 1);
    CHECK_INT(2, prefer(&f, "worker/self.1.x/1", prefers));
    CHECK_INT(2, prefer(&f, "producer/self.1.x/1", prefers));
}

/* Its own beat may be late or not to be seen yet; it does not matter to itself. */
TEST(one_counts_oneself_once)
{
    const char *self = "worker/self.1.x/1", *names[] = {"worker/a.1.x/1", self};
    for (int how = 0; how < 3; how++) {
        struct queue_fleet f = {.n = 0};
        bool prefers[PARTITIONS];
        join(&f, names[0], 0);
        if (how) {
            join(&f, self, how == 1 ? 0 : 100 * SILENT);
        }
        CHECK_INT(2, prefer(&f, self, prefers));
        for (unsigned p = 0; p < PARTITIONS; p++) {
            CHECK_INT(rank_best(names, 2, p) == 1, prefers[p]);
        }
    }
}

TEST(a_full_fleet_fits)
{
    struct queue_fleet f = {.n = 0};
    bool prefers[PARTITIONS];
    enum { FULL = sizeof f.members / sizeof *f.members };
    while (f.n < FULL) {
        char name[32];
        (void)snprintf(name, sizeof name, "worker/a.%zu.x/1", f.n);
        join(&f, name, 0);
    }
    CHECK_INT(FULL, prefer(&f, "worker/a.7.x/1", prefers));
    CHECK_INT(FULL, prefer(&f, "worker/a.255.x/1", prefers));
    CHECK_INT(FULL, prefer(&f, "worker/new.1.x/1", prefers));
}
