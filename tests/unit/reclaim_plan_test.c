#include "reaper/reclaim_plan.h"
#include "tests/harness/t.h"

#include <stdio.h>
#include <string.h>

enum { CONFIRM = 2000, MANY = 250 };

static struct queue_expired
lease(uint64_t device, const char *id, const char *ends)
{
    struct queue_expired x = {.device = device};
    (void)snprintf(x.id, sizeof x.id, "%s", id);
    (void)snprintf(x.ends, sizeof x.ends, "%s", ends);
    return x;
}

static bool
same(const struct queue_expired *a, const struct queue_expired *b)
{
    return a->device == b->device && strcmp(a->id, b->id) == 0 && strcmp(a->ends, b->ends) == 0;
}

/* One lease is looked at; how many are ended? */
static size_t
look(struct reclaim_watch **w, const struct queue_expired *x, int64_t now)
{
    struct queue_expired end[1];
    size_t n = reclaim_plan(w, x, 1, now, CONFIRM, end);
    CHECK(n == 0 || (n == 1 && same(x, &end[0])));
    return n;
}

TEST(a_lease_is_ended_when_it_was_seen_expired_for_the_time_to_confirm)
{
    struct reclaim_watch *w = NULL;
    struct queue_expired x = lease(7, "c1-d7-a-r0", "1700000000000");
    CHECK_INT(0, look(&w, &x, 1000));
    CHECK_INT(0, look(&w, &x, 1500));
    CHECK_INT(0, look(&w, &x, 1000 + CONFIRM - 1));
    CHECK_INT(1, look(&w, &x, 1000 + CONFIRM));
    reclaim_watch_free(w);
}

TEST(a_lease_is_never_ended_at_first_sight)
{
    struct reclaim_watch *w = NULL;
    struct queue_expired x = lease(7, "a", "1"), y = lease(8, "b", "1"), end[2];
    /* A long pause of the reaper itself confirms nothing about what it has not seen before. */
    CHECK_INT(0, look(&w, &x, 1000));
    struct queue_expired both[] = {x, y};
    CHECK_INT(1, reclaim_plan(&w, both, 2, 1000000, CONFIRM, end));
    CHECK(same(&x, &end[0]));
    reclaim_watch_free(w);
}

TEST(a_renewed_lease_is_watched_from_the_start)
{
    struct reclaim_watch *w = NULL;
    struct queue_expired x = lease(7, "a", "1700000000000"), y = lease(7, "a", "1700000000001");
    CHECK_INT(0, look(&w, &x, 0));
    CHECK_INT(0, look(&w, &y, CONFIRM));
    CHECK_INT(0, look(&w, &y, 2 * CONFIRM - 1));
    CHECK_INT(1, look(&w, &y, 2 * CONFIRM));
    reclaim_watch_free(w);
}

TEST(leases_of_other_devices_and_jobs_are_other_leases)
{
    static const char ends[] = "1700000000000";
    const struct queue_expired first = lease(7, "a", ends);
    const struct queue_expired others[] = {lease(8, "a", ends), lease(7, "b", ends),
                                           lease(7, "", ends), lease(7, "aa", ends)};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        struct reclaim_watch *w = NULL;
        CHECK_INT(0, look(&w, &first, 0));
        CHECK_INT(0, look(&w, &others[i], CONFIRM));
        reclaim_watch_free(w);
    }
}

TEST(a_lease_that_was_not_found_again_is_forgotten)
{
    struct reclaim_watch *w = NULL;
    struct queue_expired x = lease(7, "a", "1"), y = lease(8, "b", "1");
    CHECK_INT(0, look(&w, &x, 0));
    CHECK_INT(0, look(&w, &y, CONFIRM / 2)); /* x is not there any more */
    CHECK_INT(0, look(&w, &x, CONFIRM));
    CHECK_INT(0, look(&w, &x, 2 * CONFIRM - 1));
    CHECK_INT(1, look(&w, &x, 2 * CONFIRM));
    reclaim_watch_free(w);
}

TEST(no_expired_leases_empty_the_watch)
{
    struct reclaim_watch *w = NULL;
    struct queue_expired x = lease(7, "a", "1"), end[1];
    CHECK_INT(0, look(&w, &x, 0));
    CHECK_INT(0, reclaim_plan(&w, NULL, 0, 1, CONFIRM, end));
    CHECK(w == NULL);
    CHECK_INT(0, look(&w, &x, CONFIRM));
    reclaim_watch_free(w);
    reclaim_watch_free(NULL);
}

/* Ending one may fail, or its answer may be lost. */
TEST(a_lease_that_is_still_there_is_ended_again)
{
    struct reclaim_watch *w = NULL;
    struct queue_expired x = lease(7, "a", "1");
    CHECK_INT(0, look(&w, &x, 0));
    for (int64_t now = CONFIRM; now < 3 * CONFIRM; now += 500) {
        CHECK_INT(1, look(&w, &x, now));
    }
    reclaim_watch_free(w);
}

TEST(without_confirmation_leases_end_at_once)
{
    struct reclaim_watch *w = NULL;
    struct queue_expired x = lease(7, "a", "1"), end[1];
    CHECK_INT(1, reclaim_plan(&w, &x, 1, 5, 0, end));
    reclaim_watch_free(w);
}

TEST(any_number_of_leases_is_watched)
{
    struct reclaim_watch *w = NULL;
    struct queue_expired *found = calloc(MANY, sizeof *found), *end = calloc(MANY, sizeof *end);
    CHECK(found && end);
    for (size_t i = 0; i < MANY; i++) {
        char id[32];
        (void)snprintf(id, sizeof id, "job-%zu", i);
        found[i] = lease(i % 5, id, "1700000000000");
    }
    CHECK_INT(0, reclaim_plan(&w, found, MANY, 0, CONFIRM, end));
    CHECK_INT(MANY, reclaim_plan(&w, found, MANY, CONFIRM, CONFIRM, end));
    for (size_t i = 0; i < MANY; i++) {
        CHECK(same(&found[i], &end[i]));
    }
    CHECK_INT(MANY - 1, reclaim_plan(&w, found + 1, MANY - 1, CONFIRM, CONFIRM, end));
    reclaim_watch_free(w);
    free(found);
    free(end);
}

/* A model: since when has each lease been seen, with this end, without a gap? */
TEST(watching_agrees_with_a_model)
{
    enum { LEASES = 12, STEPS = 20000 };
    struct {
        bool seen;
        unsigned ends;
        int64_t since;
    } model[LEASES] = {0};
    struct reclaim_watch *w = NULL;
    unsigned ends[LEASES] = {0};
    int64_t now = 0;
    for (int step = 0; step < STEPS; step++) {
        struct queue_expired found[LEASES], end[LEASES], want[LEASES];
        size_t n = 0, n_want = 0;
        now += (int64_t)(t_random() % 700);
        for (size_t i = 0; i < LEASES; i++) {
            ends[i] += t_random() % 8 == 0;
            bool there = t_random() % 16 != 0;
            if (there) {
                char id[16], text[16];
                (void)snprintf(id, sizeof id, "job-%zu", i / 2);
                (void)snprintf(text, sizeof text, "%u", ends[i]);
                found[n] = lease(i % 2, id, text);
                if (!model[i].seen || model[i].ends != ends[i]) {
                    model[i].since = now;
                }
                model[i].ends = ends[i];
                if (now - model[i].since >= CONFIRM) {
                    want[n_want++] = found[n];
                }
                n++;
            }
            model[i].seen = there;
        }
        CHECK_INT(n_want, reclaim_plan(&w, found, n, now, CONFIRM, end));
        for (size_t i = 0; i < n_want; i++) {
            CHECK(same(&want[i], &end[i]));
        }
    }
    reclaim_watch_free(w);
}
