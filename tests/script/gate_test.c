/* Every verb under the same troubles: another incarnation, a closed partition, a flushed script
 * cache, full memory, a cluster. */
#include "tests/harness/rig.h"

#include <stdio.h>
#include <string.h>

#include <ev.h>

static struct rig r;
static struct queue_permit leased, flying; /* j3 and j4 */
static struct queue_result result;         /* of j5 */

/* Device 17: j1 S, j2 W, j3 L, j4 P with an expired lease, j5 D, and an entry without an id. */
static void
prepare(void)
{
    struct queue_permit jobs[3];
    r.pace = (struct device_pace){.version = 1, .max_in_flight = 5};
    rig_push(&r, 17, "j3");
    rig_push(&r, 17, "j4");
    rig_push(&r, 17, "j5");
    CHECK_INT(3, rig_claim(&r, 17, 3, jobs));
    leased = jobs[0];
    flying = jobs[1];
    CHECK_INT(PERMIT_GO, rig_permit(&r, &flying));
    CHECK_INT(FINISH_OK, rig_finish(&r, &jobs[2], "failed"));
    result = rig_result(&r, 1, "failed", "j5");
    rig_push(&r, 17, "j2");
    CHECK_INT('S', rig_stage(&r, 17, "j1", 1));
    (void)redis_do(&r.server, "ZADD pl:{p01}:leases 1000 17/j4");
    (void)redis_do(&r.server, "XADD pl:{p01}:d:17:jobs * id j7 gen 1 row 7 src c1 exp 0 v 1 job p");
}

/* --- the verbs, one call each that does something in that state
 * ------------------------------------- */

static enum err_kind
stage(void)
{
    struct queue_push x = rig_item(&r, 17, "j9", 1);
    return RUN(&r, stage, 1, &x, 1, 100);
}

static enum err_kind
activate(void)
{
    struct queue_push x = rig_item(&r, 17, "j1", 1);
    return RUN(&r, activate, 1, &x, 1, 100);
}

static enum err_kind
claim(void)
{
    return rig_claim_for(&r, (const uint64_t[]){17}, 1, 1);
}

static enum err_kind
permit(void)
{
    struct queue_permit x = leased;
    return RUN(&r, permit, 1, RIG_LEASE_MS, &x, 1);
}

static enum err_kind
finish(void)
{
    struct queue_finish x = {.lease = flying.lease,
                             .row = 4,
                             .kind = "sent",
                             .code = "",
                             .text = "",
                             .provider_id = "",
                             .worker = "w1"};
    return RUN(&r, finish, 1, &x, 1);
}

static enum err_kind
release(void)
{
    struct queue_release x = {.lease = leased.lease};
    return RUN(&r, release, 1, &x, 1);
}

static enum err_kind
renew(void)
{
    bool ok;
    return RUN(&r, renew, 1, INT64_C(2) * RIG_LEASE_MS, &leased.lease, &ok, 1);
}

static enum err_kind
reclaim(void)
{
    static struct queue_reclaim x;
    static struct queue_expired item = {.device = 17, .id = "j4", .ends = "1000"};
    x = (struct queue_reclaim){.items = &item, .n = 1};
    return RUN(&r, reclaim, 1, &x);
}

static enum err_kind
forget(void)
{
    return RUN(&r, forget, 1, &result, 1);
}

static enum err_kind
probe(void)
{
    struct queue_probe_device device = {.device = 17};
    struct queue_probe_job job = {.device = 17, .id = "j1", .gen = 1};
    return RUN(&r, probe, 1, true, &device, 1, &job, 1);
}

static enum err_kind
feed(void)
{
    struct queue_probe_device device = {.device = 17};
    return RUN(&r, feed, 1, "producer/a.1.b/1", 60000, &device, 1);
}

static enum err_kind
repair(void)
{
    int64_t fixed;
    return RUN(&r, repair, 1, 17, RIG_LEASE_MS, &fixed);
}

static enum err_kind
reassert(void)
{
    struct queue_reassert x = {.lease = {.device = 17, .id = "j8", .gen = 1, .token = 9},
                               .row = 8,
                               .state = REASSERT_SENT};
    return RUN(&r, reassert, 1, RIG_LEASE_MS, NULL, "w1", &x, 1);
}

static enum err_kind
drop(void)
{
    struct queue_drop x = {.device = 17, .row = 2, .gen = 1, .id = "j2"};
    int64_t n;
    return RUN(&r, drop, 1, false, true, &x, 1, &n);
}

static enum err_kind
withdraw(void)
{
    struct queue_withdraw x = {.device = 17, .row = 2, .gen = 1, .id = "j2", .code = "left"};
    return RUN(&r, withdraw, 1, &x, 1);
}

static enum err_kind
open_again(void)
{
    return RUN(&r, open_partition, 1, queue_incarnation(r.q, 1), false);
}

static enum err_kind
swept(void)
{
    return RUN(&r, mark_swept, 1, queue_incarnation(r.q, 1));
}

static enum err_kind
steer_source(void)
{
    return RUN(&r, steer_source_in, 1, "c9", "paused");
}

static enum err_kind
steer_device(void)
{
    struct device_pace pace = {.version = 2, .max_in_flight = 5, .paused = "ops"};
    return RUN(&r, steer_device, 17, &pace);
}

static const struct verb {
    const char *name;
    enum err_kind (*run)(void);
    bool while_closed, past_memory, idle; /* idle: it changes nothing in that state */
} verbs[] = {
    {"stage", stage, false, false, false},
    {"activate", activate, false, false, false},
    {"claim", claim, false, false, false},
    {"permit", permit, false, false, false},
    {"finish", finish, false, true, false},
    {"release", release, false, true, false},
    {"renew", renew, false, true, false},
    {"reclaim", reclaim, false, true, false},
    {"forget", forget, false, true, false},
    {"probe", probe, false, true, false},
    {"feed", feed, false, true, false},
    {"repair", repair, false, true, false},
    {"reassert", reassert, true, true, false},
    {"drop", drop, true, true, false},
    {"withdraw", withdraw, false, true, false},
    {"open", open_again, true, true, true},
    {"swept", swept, true, true, false},
    {"steer source", steer_source, true, true, false},
    {"steer device", steer_device, true, true, false},
};
enum { VERBS = sizeof verbs / sizeof *verbs };

/* Runs one verb: refused with this kind and text and nothing changed, or done. */
static void
check_verb(const struct verb *v, enum err_kind want, const char *text)
{
    const char *before = rig_dump(&r);
    enum err_kind got = v->run();
    bool same = strcmp(before, rig_dump(&r)) == 0;
    if (got != want || same != (want != ERR_NONE || v->idle) ||
        strncmp(r.error.text, text, strlen(text)) != 0) {
        t_fail(__FILE__, __LINE__, "%s: %s (%s), %s", v->name, err_kind_name(got), r.error.text,
               same ? "nothing changed" : "something changed");
    }
}

TEST(another_incarnation_changes_nothing_and_is_looked_up)
{
    for (int i = 0; i < VERBS; i++) {
        char other[80];
        rig_start(&r);
        prepare();
        (void)snprintf(other, sizeof other, "%.40s:other", queue_incarnation(r.q, 1));
        (void)redis_do(&r.server, "HSET pl:{p01}:meta inc %s", other);
        int seen = r.incarnations_seen;
        check_verb(&verbs[i], ERR_GONE, "EPOCH");
        queue_wait(r.q);
        CHECK_STR(other, queue_incarnation(r.q, 1));
        CHECK_INT(seen + 1, r.incarnations_seen);
        check_verb(&verbs[i], ERR_NONE, ""); /* the new one is used from now on */
        rig_stop(&r);
    }
}

TEST(a_closed_partition_changes_nothing_and_is_looked_up)
{
    for (int i = 0; i < VERBS; i++) {
        rig_start(&r);
        prepare();
        (void)redis_do(&r.server, "HSET pl:{p01}:meta state closed");
        if (verbs[i].run == open_again) {
            CHECK_INT(ERR_NONE, verbs[i].run());
            CHECK_STR("open", redis_do(&r.server, "HGET pl:{p01}:meta state"));
        } else if (verbs[i].while_closed) {
            check_verb(&verbs[i], ERR_NONE, "");
        } else {
            check_verb(&verbs[i], ERR_RETRY, "CLOSED");
            queue_wait(r.q);
            CHECK_INT(PARTITION_CLOSED, queue_state(r.q, 1));
        }
        rig_stop(&r);
    }
}

TEST(a_flushed_partition_changes_nothing_and_is_begun_anew)
{
    for (int i = 0; i < VERBS; i++) {
        rig_start(&r);
        prepare();
        (void)redis_do(&r.server, "DEL pl:{p01}:meta");
        const char *before = redis_dump(&r.server, "pl:{p01}:[^m]*");
        CHECK_INT(ERR_GONE, verbs[i].run());
        queue_wait(r.q);
        CHECK_STR(before, redis_dump(&r.server, "pl:{p01}:[^m]*"));
        CHECK_INT(PARTITION_CLOSED, queue_state(r.q, 1));
        CHECK_STR(queue_incarnation(r.q, 1), redis_do(&r.server, "HGET pl:{p01}:meta inc"));
        rig_stop(&r);
    }
}

TEST(a_flushed_script_cache_heals_itself)
{
    for (int i = 0; i < VERBS; i++) {
        rig_start(&r);
        prepare();
        CHECK_STR("OK", redis_do(&r.server, "SCRIPT FLUSH"));
        check_verb(&verbs[i], ERR_NONE, "");
        rig_stop(&r);
    }
}

TEST(a_script_cache_flushed_under_a_pile_of_calls_heals_itself)
{
    enum { CALLS = 50 };
    static struct queue_push items[CALLS];
    rig_start(&r);
    for (int round = 0; round < 5; round++) {
        rig_begin(&r);
        CHECK_STR("OK", redis_do(&r.server, "SCRIPT FLUSH"));
        for (int i = 0; i < CALLS; i++) {
            char id[16];
            (void)snprintf(id, sizeof id, "j%d", 100 * round + i);
            items[i] = rig_item(&r, 17, id, 1);
            queue_stage(r.q, 1, &items[i], 1, 1000, rig_answered, &r);
            queue_activate(r.q, 1, &items[i], 1, 1000, NULL, NULL);
        }
        queue_wait(r.q);
        CHECK_INT(CALLS, r.answers);
        CHECK_INT(ERR_NONE, r.error.kind);
        for (int i = 0; i < CALLS; i++) {
            CHECK('1' == items[i].state || '0' == items[i].state);
        }
    }
    rig_check_device(&r, 17);
    rig_stop(&r);
}

TEST(full_memory_stops_what_brings_more_and_nothing_that_ends_it)
{
    for (int i = 0; i < VERBS; i++) {
        rig_start(&r);
        prepare();
        CHECK_STR("OK", redis_do(&r.server, "CONFIG SET maxmemory 1"));
        check_verb(&verbs[i], verbs[i].past_memory ? ERR_NONE : ERR_RETRY,
                   verbs[i].past_memory ? "" : "OOM");
        CHECK_STR("OK", redis_do(&r.server, "CONFIG SET maxmemory 0"));
        if (!verbs[i].past_memory) {
            check_verb(&verbs[i], ERR_NONE, "");
        }
        rig_stop(&r);
    }
}

TEST(a_server_that_restarts_with_full_memory_can_recover)
{
    static const char *const options[] = {"--appendonly", "yes", "--appendfsync", "always", NULL};
    redis_server_start(&r.server, options, NULL);
    rig_connect(&r, RIG_PARTITIONS);
    rig_open_all(&r);
    prepare();
    redis_server_kill(&r.server);
    r.server.options[4] = "--maxmemory";
    r.server.options[5] = "1";
    redis_server_restart(&r.server);
    T_WAIT((ev_run(r.loop, EVRUN_NOWAIT), !queue_up(r.q)), 5000);
    CHECK_OK(queue_wait_ready(r.q, 10000, e));
    queue_wait(r.q);
    CHECK_INT(PARTITION_CLOSED, queue_state(r.q, 1));
    CHECK_INT(ERR_NONE, reassert());
    rig_open_all(&r);
    CHECK_INT(ERR_NONE, finish());
    CHECK_INT(ERR_NONE, forget());
    CHECK_INT(ERR_RETRY, claim());
    rig_stop(&r);
}

TEST(a_cluster_runs_every_verb)
{
    r = (struct rig){.q = NULL};
    redis_server_start_cluster(&r.server);
    rig_connect(&r, RIG_PARTITIONS);
    const char *two_slots =
        redis_do(&r.server, "EVAL %s 2 pl:{p01}:meta pl:{p02}:meta", "return 1");
    CHECK(strncmp(two_slots, "CROSSSLOT", 9) == 0); /* it would be told */
    for (int i = 0; i < VERBS; i++) {
        struct queue_fleet fleet;
        rig_recover(&r);
        prepare();
        check_verb(&verbs[i], ERR_NONE, "");
        CHECK_RUN(ERR_NONE, &r, beat, "worker/a.1.b/1", BEAT_ALIVE, &fleet);
        CHECK_STR("OK", redis_do(&r.server, "FLUSHALL"));
        queue_wait(r.q);
    }
    rig_stop(&r);
}
