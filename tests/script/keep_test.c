/* reclaim and repair: what becomes of a dead worker's leases, and of keys that disagree. */
#include "tests/harness/rig.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static struct rig r;

/* --- reclaim -------------------------------------------------------------------------------------
 */

TEST(only_expired_leases_are_named)
{
    rig_start(&r);
    r.pace.max_in_flight = 2;
    rig_push(&r, 17, "j1");
    rig_push(&r, 17, "j2");
    struct queue_permit first = rig_take(&r, 17, "j1"), second = rig_take(&r, 17, "j2");
    struct queue_reclaim *x = rig_reclaim(&r, 1, NULL, 0);
    CHECK_INT(0, x->n_found);
    bool ok;
    CHECK_RUN(ERR_NONE, &r, renew, 1, 30, &second.lease, &ok, 1);
    T_WAIT((x = rig_reclaim(&r, 1, NULL, 0))->n_found > 0, 5000);
    CHECK_INT(1, x->n_found);
    CHECK_INT(17, x->found[0].device);
    CHECK_STR("j2", x->found[0].id);
    CHECK(strtoll(x->found[0].ends, NULL, 10) <= x->now_ms);
    CHECK_INT('L', *rig_state(&r, 17, "j2")); /* naming does nothing else */
    CHECK_INT('L', *rig_state(&r, 17, first.lease.id));
    rig_check_device(&r, 17);
    rig_stop(&r);
}

TEST(a_dead_workers_lease_is_waiting_again_or_unknown)
{
    rig_start(&r);
    rig_push(&r, 17, "j1");
    struct queue_permit job = rig_take(&r, 17, "j1");
    CHECK_INT('a', rig_end_lease(&r, &job));
    CHECK_INT('W', *rig_state(&r, 17, "j1"));
    rig_check_device(&r, 17);
    job = rig_send(&r, 17, "j1");
    CHECK_INT('u', rig_end_lease(&r, &job));
    CHECK_STR("U 1 2 unknown", rig_state(&r, 17, "j1"));
    rig_check_device(&r, 17);
    struct queue_result x = rig_result(&r, 1, "unknown", "j1");
    CHECK(x.row == 1 && x.token == 2 && x.gen == 1 && x.device == 17 && !x.late);
    CHECK_STR("w1", x.by);
    CHECK_STR("lease", x.code);
    rig_stop(&r);
}

TEST(a_lease_that_moved_since_it_was_named_is_left_alone)
{
    rig_start(&r);
    rig_push(&r, 17, "j1");
    struct queue_permit job = rig_send(&r, 17, "j1");
    (void)redis_do(&r.server, "ZADD pl:{p01}:leases 1000 17/j1");
    struct queue_expired named = rig_reclaim(&r, 1, NULL, 0)->found[0];
    CHECK_STR("1000", named.ends);
    CHECK(rig_renew(&r, &job));
    const char *before = rig_dump(&r);
    CHECK_INT('g', rig_reclaim(&r, 1, &named, 1)->items[0].answer);
    CHECK_STR(before, rig_dump(&r));
    (void)redis_do(&r.server, "ZADD pl:{p01}:leases 2000 17/j1"); /* expired, at another moment */
    CHECK_INT('g', rig_reclaim(&r, 1, &named, 1)->items[0].answer);
    (void)snprintf(named.ends, sizeof named.ends, "%lld",
                   (long long)redis_now_ms(&r.server) + 60000);
    (void)redis_do(&r.server, "ZADD pl:{p01}:leases %s 17/j1", named.ends);
    CHECK_INT('g', rig_reclaim(&r, 1, &named, 1)->items[0].answer); /* the right one, not expired */
    CHECK_INT('P', *rig_state(&r, 17, "j1"));
    rig_check_device(&r, 17);
    rig_stop(&r);
}

TEST(reclaiming_twice_ends_a_lease_once)
{
    rig_start(&r);
    rig_push(&r, 17, "j1");
    (void)rig_send(&r, 17, "j1");
    (void)redis_do(&r.server, "ZADD pl:{p01}:leases 1000 17/j1");
    struct queue_expired named[2];
    named[0] = named[1] = rig_reclaim(&r, 1, NULL, 0)->found[0];
    struct queue_reclaim *x = rig_reclaim(&r, 1, named, 2); /* even in one call */
    CHECK_INT('u', x->items[0].answer);
    CHECK_INT('g', x->items[1].answer);
    const char *before = rig_dump(&r);
    CHECK_INT('g', rig_reclaim(&r, 1, named, 1)->items[0].answer);
    CHECK_STR(before, rig_dump(&r));
    CHECK_INT(1, redis_num(&r.server, "XLEN pl:{p01}:results"));
    rig_stop(&r);
}

TEST(a_lease_without_a_delivery_is_removed)
{
    static const char *const members[] = {"17/j9", "17/j1", "33/j1"};
    rig_start(&r);
    rig_push(&r, 17, "j1"); /* waiting: it has no lease */
    for (int i = 0; i < 3; i++) {
        (void)redis_do(&r.server, "ZADD pl:{p01}:leases 1000 %s", members[i]);
        struct queue_expired named = rig_reclaim(&r, 1, NULL, 0)->found[0];
        CHECK_INT('g', rig_reclaim(&r, 1, &named, 1)->items[0].answer);
        CHECK_INT(0, redis_num(&r.server, "ZCARD pl:{p01}:leases"));
        rig_check_device(&r, 17);
    }
    rig_stop(&r);
}

TEST(many_expired_leases_are_named_in_portions)
{
    rig_start(&r);
    (void)redis_do(&r.server, "ZADD pl:{p01}:leases 1 garbage 2 17/");
    for (int i = 0; i < 150; i++) {
        (void)redis_do(&r.server, "ZADD pl:{p01}:leases %d 17/j%d", 1000 + i, i);
    }
    struct queue_reclaim *x = rig_reclaim(&r, 1, NULL, 0);
    CHECK(x->n_found >= QUEUE_BATCH_MAX - 2);
    for (int rounds = 0; x->n_found > 1; rounds++) {
        static struct queue_expired named[QUEUE_BATCH_MAX];
        size_t n = x->n_found;
        CHECK(rounds < 5);
        memcpy(named, x->found, n * sizeof *named);
        x = rig_reclaim(&r, 1, named, n);
        for (size_t i = 0; i < n; i++) {
            CHECK_INT('g', x->items[i].answer);
        }
    }
    rig_stop(&r);
}

/* --- repair --------------------------------------------------------------------------------------
 */

/* Device 17 with a job in each state: j1 P, j2 L, j3 W (given back), j4 W, j5 S, j6 D. */
static struct queue_permit
start(void)
{
    struct queue_permit jobs[4];
    rig_start(&r);
    r.pace.max_in_flight = 4;
    rig_push(&r, 17, "j6");
    rig_push(&r, 17, "j1");
    rig_push(&r, 17, "j2");
    rig_push(&r, 17, "j3");
    CHECK_INT(4, rig_claim(&r, 17, 4, jobs));
    CHECK_INT(FINISH_OK, rig_finish(&r, &jobs[0], "failed"));
    CHECK_INT(PERMIT_GO, rig_permit(&r, &jobs[1]));
    CHECK(rig_release(&r, &jobs[3], 0));
    rig_push(&r, 17, "j4");
    CHECK_INT('S', rig_stage(&r, 17, "j5", 1));
    rig_check_device(&r, 17);
    return jobs[2];
}

/* One injury; the device must be whole after one repair, and a second one finds nothing. */
static void
check_repaired(int64_t least, int64_t most)
{
    int64_t fixed = rig_repair(&r, 17);
    CHECK(fixed >= least && fixed <= most);
    rig_check_device(&r, 17);
    const char *before = rig_dump(&r);
    CHECK_INT(0, rig_repair(&r, 17));
    CHECK_STR(before, rig_dump(&r));
}

TEST(repair_finds_nothing_on_a_sound_device)
{
    (void)start();
    const char *before = rig_dump(&r);
    CHECK_INT(0, rig_repair(&r, 17));
    CHECK_INT(0, rig_repair(&r, 21)); /* holds nothing */
    CHECK_STR(before, rig_dump(&r));
    rig_stop(&r);
}

TEST(repair_gives_a_delivery_its_lease_back)
{
    (void)start();
    CHECK_INT(1, redis_num(&r.server, "DEL pl:{p01}:leases"));
    check_repaired(2, 2);
    CHECK(redis_num(&r.server, "ZSCORE pl:{p01}:leases 17/j1") > redis_now_ms(&r.server) + 1000);
    rig_stop(&r);
}

TEST(repair_takes_a_lease_from_what_is_not_delivered)
{
    (void)start();
    (void)redis_do(&r.server, "ZADD pl:{p01}:leases 1 17/j3 1 17/j4 1 17/j5 1 17/j6");
    check_repaired(4, 4);
    rig_stop(&r);
}

/* The stream entry of a job. */
static const char *
entry_of(const char *id)
{
    static char entry[40];
    CHECK_INT(1, sscanf(rig_state(&r, 17, id), "%*c %*u %39s", entry));
    return entry;
}

TEST(repair_forgets_a_waiting_job_whose_entry_is_lost)
{
    (void)start();
    CHECK_INT(1, redis_num(&r.server, "XDEL pl:{p01}:d:17:jobs %s", entry_of("j4")));
    CHECK_INT(1, redis_num(&r.server, "XDEL pl:{p01}:d:17:jobs %s", entry_of("j3")));
    check_repaired(2, 3);
    CHECK_STR("", rig_state(&r, 17, "j3"));
    CHECK_STR("", rig_state(&r, 17, "j4"));
    CHECK_INT('S', rig_stage(&r, 17, "j4", 2)); /* reconcile has made its row pending */
    CHECK_INT('1', rig_activate(&r, 17, "j4", 2));
    CHECK_STR("j4", rig_take(&r, 17, "j4").lease.id); /* past the dead entry of j3 */
    rig_check_device(&r, 17);
    rig_stop(&r);
}

TEST(a_delivery_whose_entry_is_lost_ends_like_any_other)
{
    struct queue_permit leased = start();
    CHECK_INT(1, redis_num(&r.server, "XDEL pl:{p01}:d:17:jobs %s", entry_of("j2")));
    CHECK_INT('a', rig_end_lease(&r, &leased));
    check_repaired(1, 2);
    CHECK_STR("", rig_state(&r, 17, "j2"));
    rig_stop(&r);
}

TEST(repair_removes_entries_that_no_id_points_to)
{
    (void)start();
    CHECK_INT(1, redis_num(&r.server, "HDEL pl:{p01}:d:17:ids j4"));
    (void)redis_do(&r.server, "XADD pl:{p01}:d:17:jobs * id j9 gen 1 row 9 src c1 exp 0 v 1 job p");
    (void)redis_do(&r.server, "XADD pl:{p01}:d:17:jobs * id j1 gen 1 row 1 src c1 exp 0 v 1 job p");
    check_repaired(3, 3);
    CHECK_INT(3, redis_num(&r.server, "XLEN pl:{p01}:d:17:jobs"));
    rig_stop(&r);
}

TEST(repair_counts_what_is_in_flight)
{
    static const char *const wrong[] = {"0", "1", "7", "-3"};
    (void)start();
    for (int i = 0; i < 4; i++) {
        (void)redis_do(&r.server, "HSET pl:{p01}:d:17 in_flight %s", wrong[i]);
        check_repaired(1, 2);
        CHECK_STR("2", rig_field(&r, 17, "in_flight"));
    }
    CHECK_INT(1, redis_num(&r.server, "HDEL pl:{p01}:d:17 in_flight"));
    check_repaired(1, 1);
    rig_stop(&r);
}

TEST(repair_puts_a_device_into_the_ready_index_or_takes_it_out)
{
    (void)start();
    CHECK_INT(1, redis_num(&r.server, "ZREM pl:{p01}:ready 17"));
    check_repaired(1, 1);
    (void)redis_do(&r.server, "HSET pl:{p01}:d:17 max_in_flight 2");
    check_repaired(1, 1);
    CHECK_INT(-1, rig_ready(&r, 17));
    rig_stop(&r);
}

static void
injure(void)
{
    int i = (int)(t_random() % 6) + 1;
    switch (t_random() % 8) {
    case 0:
        (void)redis_do(&r.server, "HDEL pl:{p01}:d:17:ids j%d", i);
        break;
    case 1:
        (void)redis_do(&r.server, "ZREM pl:{p01}:leases 17/j%d", i);
        break;
    case 2:
        (void)redis_do(&r.server, "ZADD pl:{p01}:leases 5 17/j%d", i);
        break;
    case 3:
        (void)redis_do(&r.server, "HINCRBY pl:{p01}:d:17 in_flight %d", i - 3);
        break;
    case 4:
        (void)redis_do(&r.server, "ZREM pl:{p01}:ready 17");
        break;
    case 5:
        (void)redis_do(&r.server, "ZADD pl:{p01}:ready 9 17");
        break;
    case 6:
        (void)redis_do(&r.server,
                       "XADD pl:{p01}:d:17:jobs * id j%d gen 1 row 1 src c1 exp 0 v 1 job p", i);
        break;
    default:
        if (*rig_state(&r, 17, "j4") == 'W') {
            (void)redis_do(&r.server, "XDEL pl:{p01}:d:17:jobs %s", entry_of("j4"));
        }
        break;
    }
}

/* A lease whose id is not there at all ends by reclaim. */
static void
end_orphans(void)
{
    for (int i = 1; i <= 6; i++) {
        char id[8];
        (void)snprintf(id, sizeof id, "j%d", i);
        if (!*rig_state(&r, 17, id)) {
            (void)redis_do(&r.server, "ZADD pl:{p01}:leases XX 1000 17/%s", id);
        }
    }
    struct queue_expired named[8];
    struct queue_reclaim *x = rig_reclaim(&r, 1, NULL, 0);
    size_t n = 0;
    for (size_t i = 0; i < x->n_found; i++) {
        if (strcmp(x->found[i].ends, "1000") == 0) {
            named[n++] = x->found[i];
        }
    }
    x = rig_reclaim(&r, 1, named, n);
    for (size_t i = 0; i < n; i++) {
        CHECK_INT('g', x->items[i].answer);
    }
}

TEST(repair_makes_any_injured_device_whole)
{
    (void)start();
    for (int round = 0; round < 150; round++) {
        for (uint64_t n = 1 + t_random() % 5; n > 0; n--) {
            injure();
        }
        (void)rig_repair(&r, 17);
        end_orphans();
        rig_check_device(&r, 17);
        CHECK_INT(0, rig_repair(&r, 17));
    }
    rig_stop(&r);
}
