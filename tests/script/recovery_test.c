/* begin, open, drop and swept: what happens when Redis restarts, forgets, or comes back from the
 * past. */
#include "shared/script.h"
#include "tests/harness/rig.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <ev.h>

static struct rig r;

static const char *
meta(const char *field)
{
    return redis_do(&r.server, "HGET pl:{p01}:meta %s", field);
}

/* The link has fallen and is up again; partitions are known but not opened. */
static void
wait_for_link(void)
{
    CHECK_OK(queue_wait_ready(r.q, 20000, e));
    queue_wait(r.q);
}

static bool
link_fell(void)
{
    (void)ev_run(r.loop, EVRUN_NOWAIT);
    return !queue_up(r.q);
}

static void
crash_and_restart(void)
{
    redis_server_kill(&r.server);
    T_WAIT(link_fell(), 5000);
    redis_server_restart(&r.server);
    wait_for_link();
}

/* --- begin and open ------------------------------------------------------------------------------
 */

TEST(a_new_server_begins_with_closed_partitions)
{
    redis_server_start(&r.server, NULL, NULL);
    rig_connect(&r, RIG_PARTITIONS);
    for (unsigned p = 0; p < RIG_PARTITIONS; p++) {
        CHECK_INT(PARTITION_CLOSED, queue_state(r.q, p));
    }
    CHECK_INT(RIG_PARTITIONS, r.incarnations_seen);
    CHECK_INT(1, r.links_up);
    CHECK_STR("closed", meta("state"));
    CHECK_STR(queue_incarnation(r.q, 1), meta("inc"));
    const char *run_id = strstr(redis_do(&r.server, "INFO server"), "run_id:");
    CHECK(run_id && strncmp(run_id + 7, queue_incarnation(r.q, 1), 40) == 0);
    struct queue_push x = rig_item(&r, 17, "j1", 1);
    CHECK_RUN(ERR_RETRY, &r, stage, 1, &x, 1, 10);
    CHECK(strncmp(r.error.text, "CLOSED", 6) == 0);
    rig_open_all(&r);
    CHECK_INT(PARTITION_OPEN, queue_state(r.q, 1));
    CHECK_INT(RIG_PARTITIONS, r.incarnations_seen); /* the same ones, open now */
    CHECK_INT(2 * RIG_PARTITIONS, r.partitions_seen);
    rig_push(&r, 17, "j1");
    rig_stop(&r);
}

TEST(whoever_comes_later_joins_the_incarnation_that_was_begun)
{
    struct rig other = {.q = NULL};
    rig_start(&r);
    other.server = r.server;
    rig_connect(&other, RIG_PARTITIONS);
    for (unsigned p = 0; p < RIG_PARTITIONS; p++) {
        CHECK_STR(queue_incarnation(r.q, p), queue_incarnation(other.q, p));
        CHECK_INT(PARTITION_OPEN, queue_state(other.q, p));
    }
    CHECK_STR("OK", redis_do(&r.server, "FLUSHALL"));
    queue_refresh(r.q, 1);
    queue_refresh(other.q, 1); /* both begin at once: one of them wins */
    queue_wait(r.q);
    queue_wait(other.q);
    CHECK_STR(queue_incarnation(r.q, 1), queue_incarnation(other.q, 1));
    CHECK_STR(queue_incarnation(r.q, 1), meta("inc"));
    queue_close(other.q);
    ev_loop_destroy(other.loop);
    rig_stop(&r);
}

TEST(two_who_begin_at_once_agree)
{
    const char *text = script_sources[script_index("begin")].text;
    char run_id[41];
    rig_start(&r);
    (void)snprintf(run_id, sizeof run_id, "%.40s", queue_incarnation(r.q, 1));
    CHECK_STR("OK", redis_do(&r.server, "FLUSHALL"));
    char *want = xasprintf("%s:1 closed", run_id);
    CHECK_STR(want, redis_do(&r.server, "EVAL %s 1 pl:{p01}:meta %s 1", text, run_id));
    CHECK_STR(want, redis_do(&r.server, "EVAL %s 1 pl:{p01}:meta %s 2", text, run_id));
    CHECK(strncmp("EPOCH another server",
                  redis_do(&r.server, "EVAL %s 1 pl:{p01}:meta %s 3", text, "abc"), 20) == 0);
    free(want);
    rig_stop(&r);
}

TEST(a_new_incarnation_owes_nothing_to_the_old_one)
{
    struct queue_meta m;
    rig_start(&r);
    (void)redis_do(&r.server,
                   "HSET pl:{p01}:meta inc 0123:1 doubt doubt swept 0123:1 told:worker/a.1.b/1 5");
    queue_refresh(r.q, 1); /* came back with the data of another server process */
    queue_wait(r.q);
    CHECK_RUN(ERR_NONE, &r, read_meta, 1, &m);
    CHECK(m.state == PARTITION_CLOSED && m.n_told == 0 && !m.doubt && !m.swept[0]);
    CHECK_STR(queue_incarnation(r.q, 1), m.incarnation);
    rig_stop(&r);
}

TEST(only_the_incarnation_that_was_checked_can_be_opened)
{
    char old[80];
    rig_start(&r);
    (void)snprintf(old, sizeof old, "%s", queue_incarnation(r.q, 1));
    CHECK_STR("OK", redis_do(&r.server, "FLUSHALL"));
    const char *before;
    CHECK_RUN(ERR_GONE, &r, open_partition, 1, old, false); /* there is none at all */
    queue_wait(r.q);
    CHECK(strcmp(old, queue_incarnation(r.q, 1)) != 0);
    before = rig_dump(&r);
    CHECK_RUN(ERR_GONE, &r, open_partition, 1, old, false);
    CHECK_RUN(ERR_GONE, &r, mark_swept, 1, old);
    CHECK_STR(before, rig_dump(&r));
    CHECK_INT(PARTITION_CLOSED, queue_state(r.q, 1));
    CHECK_RUN(ERR_NONE, &r, open_partition, 1, queue_incarnation(r.q, 1), false);
    CHECK_STR("open", meta("state"));
    rig_stop(&r);
}

TEST(opening_twice_changes_nothing_and_a_doubt_stays_until_swept)
{
    struct queue_meta m;
    rig_start(&r);
    CHECK_STR("OK", redis_do(&r.server, "FLUSHALL"));
    queue_refresh(r.q, 1);
    queue_wait(r.q);
    char *inc = xstrdup(queue_incarnation(r.q, 1));
    CHECK_RUN(ERR_NONE, &r, open_partition, 1, inc, true);
    const char *before = rig_dump(&r);
    CHECK_RUN(ERR_NONE, &r, open_partition, 1, inc, true);
    CHECK_RUN(ERR_NONE, &r, open_partition, 1, inc, false);
    CHECK_STR(before, rig_dump(&r));
    CHECK_RUN(ERR_NONE, &r, read_meta, 1, &m);
    CHECK(m.doubt && m.state == PARTITION_OPEN && !m.swept[0] && m.n_told == 0);
    CHECK_STR(inc, m.incarnation);
    CHECK_RUN(ERR_NONE, &r, mark_swept, 1, inc);
    CHECK_RUN(ERR_NONE, &r, read_meta, 1, &m);
    CHECK(!m.doubt);
    CHECK_STR(inc, m.swept);
    before = rig_dump(&r);
    CHECK_RUN(ERR_NONE, &r, mark_swept, 1, inc);
    CHECK_STR(before, rig_dump(&r));
    free(inc);
    rig_stop(&r);
}

/* --- drop ----------------------------------------------------------------------------------------
 */

/* Device 17 with a job in each state: j1 S, j2 W, j3 L, j4 P, j5 D, j6 R, j7 U. */
static void
start_with_every_state(void)
{
    static const char *const kinds[] = {"failed", "retry", "unknown"};
    struct queue_permit jobs[5];
    rig_start(&r);
    r.pace.max_in_flight = 9;
    for (int i = 3; i <= 7; i++) {
        rig_push(&r, 17, (const char *[]){"j3", "j4", "j5", "j6", "j7"}[i - 3]);
    }
    CHECK_INT(5, rig_claim(&r, 17, 9, jobs));
    for (int i = 1; i < 5; i++) {
        CHECK_INT(PERMIT_GO, rig_permit(&r, &jobs[i]));
    }
    for (int i = 0; i < 3; i++) {
        CHECK_INT(FINISH_OK, rig_finish(&r, &jobs[i + 2], kinds[i]));
    }
    rig_push(&r, 17, "j2");
    CHECK_INT('S', rig_stage(&r, 17, "j1", 1));
    struct queue_result x[4];
    CHECK_INT(3, rig_results(&r, 1, x, 4));
}

/* Drops all seven in one call; then their letters must be these ("." = gone). */
static void
check_dropped(bool doubt, bool all, const char *letters, int64_t dropped, size_t unknowns)
{
    struct queue_drop x[7];
    start_with_every_state();
    for (int i = 0; i < 7; i++) {
        x[i] = (struct queue_drop){.device = 17, .row = 100 + (uint64_t)i, .gen = 1};
        (void)snprintf(x[i].id, sizeof x[i].id, "j%d", i + 1);
    }
    int64_t n = -1;
    CHECK_RUN(ERR_NONE, &r, drop, 1, doubt, all, x, 7, &n);
    CHECK_INT(dropped, n);
    for (int i = 0; i < 7; i++) {
        const char *state = rig_state(&r, 17, x[i].id);
        CHECK_INT(letters[i], *state ? *state : '.');
    }
    rig_check_device(&r, 17);
    const char *before = rig_dump(&r);
    CHECK_RUN(ERR_NONE, &r, drop, 1, doubt, all, x, 7, &n); /* twice */
    CHECK_INT(0, n);
    CHECK_STR(before, rig_dump(&r));
    struct queue_result results[8];
    CHECK_INT(unknowns, rig_results(&r, 1, results, 8));
    for (size_t i = 0; i < unknowns; i++) {
        CHECK_STR("unknown", results[i].kind);
        CHECK_STR("redis-lost", results[i].code);
        CHECK_INT(101 + i, results[i].row);
        CHECK_INT(0, results[i].token);
        rig_forget(&r, 1, &results[i]);
        CHECK_STR("", rig_state(&r, 17, results[i].id));
    }
    rig_stop(&r);
}

TEST(final_jobs_are_dropped_without_a_word)
{
    check_dropped(false, true, "....DRU", 4, 0);
}

TEST(what_may_have_left_stays_where_the_partition_is_at_work)
{
    check_dropped(false, false, "...PDRU", 3, 0);
}

TEST(jobs_in_doubt_are_unknown_unless_they_could_not_be_delivered)
{
    check_dropped(true, true, ".UUUDRU", 4, 3);
}

TEST(idle_jobs_in_doubt_are_unknown)
{
    check_dropped(true, false, ".ULPDRU", 2, 1);
}

/* A receipt may say that it was sent before, while a worker uploads its medium for minutes. */
TEST(a_leased_job_that_is_dropped_is_not_sent)
{
    int64_t n = -1;
    rig_start(&r);
    rig_push(&r, 17, "j1");
    struct queue_permit job = rig_take(&r, 17, "j1");
    struct queue_drop x = {.device = 17, .row = 1, .gen = 1, .id = "j1"};
    CHECK_RUN(ERR_NONE, &r, drop, 1, false, false, &x, 1, &n);
    CHECK_INT(1, n);
    CHECK_INT(PERMIT_STALE, rig_permit(&r, &job));
    CHECK_INT(0, rig_field_num(&r, 17, "in_flight"));
    rig_check_device(&r, 17);
    rig_stop(&r);
}

TEST(a_job_that_moved_on_is_not_dropped)
{
    int64_t n = -1;
    rig_start(&r);
    CHECK_INT('S', rig_stage(&r, 17, "j1", 2));
    struct queue_drop x = {.device = 17, .row = 1, .gen = 1, .id = "j1"};
    CHECK_RUN(ERR_NONE, &r, drop, 1, false, true, &x, 1, &n);
    CHECK_INT(0, n);
    CHECK_STR("S 2", rig_state(&r, 17, "j1"));
    rig_stop(&r);
}

/* --- stories -------------------------------------------------------------------------------------
 */

/* A restart with all its data: waiting and given-back jobs go on, flights are known to their
 * worker. */
TEST(after_a_restart_with_data_everything_goes_on)
{
    static const char *const options[] = {"--appendonly", "yes", "--appendfsync", "always", NULL};
    struct queue_permit flying, leased;
    redis_server_start(&r.server, options, NULL);
    rig_connect(&r, RIG_PARTITIONS);
    rig_open_all(&r);
    r.pace.max_in_flight = 2;
    rig_push(&r, 17, "j1");
    rig_push(&r, 17, "j2");
    rig_push(&r, 17, "j3");
    flying = rig_send(&r, 17, "j1");
    leased = rig_take(&r, 17, "j2");
    char *old = xstrdup(queue_incarnation(r.q, 1));
    crash_and_restart();
    CHECK_INT(1, r.links_down);
    CHECK_INT(2, r.links_up);
    CHECK_INT(PARTITION_CLOSED, queue_state(r.q, 1));
    CHECK(strcmp(old, queue_incarnation(r.q, 1)) != 0);
    free(old);
    struct queue_permit copy = leased;
    CHECK_RUN(ERR_RETRY, &r, permit, 1, RIG_LEASE_MS, &copy, 1); /* closed */
    rig_reassert(&r, &flying, REASSERT_FLYING);
    rig_open_all(&r);
    rig_check_device(&r, 17);
    CHECK_INT(FINISH_OK, rig_finish(&r, &flying, "sent"));
    CHECK_INT(PERMIT_GO, rig_permit(&r, &leased));
    CHECK_INT(FINISH_OK, rig_finish(&r, &leased, "sent"));
    (void)rig_send(&r, 17, "j3");
    rig_check_device(&r, 17);
    rig_stop(&r);
}

/* Redis is empty.  The rows are queued in MySQL still; nothing that was sent may go out again. */
static void
check_rebuilt(struct queue_permit *flying, const struct queue_permit *sent)
{
    rig_reassert(&r, flying, REASSERT_FLYING);
    rig_reassert(&r, sent, REASSERT_SENT);
    rig_open_all(&r);
    rig_check_device(&r, 17);
    /* The sweep finds rows that Redis does not know, makes them pending, and producers claim them
     * anew. */
    CHECK_INT('P', rig_stage(&r, 17, "j1", 2));
    CHECK_INT('D', rig_stage(&r, 17, "j2", 2));
    CHECK_INT('S', rig_stage(&r, 17, "j3", 2));
    CHECK_INT('1', rig_activate(&r, 17, "j3", 2));
    CHECK_INT('0', rig_activate(&r, 17, "j1", 2));
    struct queue_permit job;
    CHECK_INT(0, rig_claim(&r, 17, 9, &job)); /* one is in flight, without an entry */
    CHECK_INT(PERMIT_GO, rig_permit(&r, flying));
    CHECK_INT(FINISH_OK, rig_finish(&r, flying, "sent"));
    job = rig_send(&r, 17, "j3");
    CHECK(job.lease.token > sent->lease.token && job.lease.token > flying->lease.token);
    CHECK_INT(FINISH_OK, rig_finish(&r, &job, "sent"));
    struct queue_result x[4];
    CHECK_INT(3, rig_results(&r, 1, x, 4));
    CHECK(strcmp(x[0].id, "j2") == 0 && strcmp(x[1].id, "j1") == 0 && strcmp(x[2].id, "j3") == 0);
    CHECK_RUN(ERR_NONE, &r, forget, 1, x, 3);
    CHECK_INT(0,
              redis_num(&r.server, "EXISTS pl:{p01}:d:17:ids pl:{p01}:d:17:jobs pl:{p01}:devices"));
}

static void
lose_everything(bool restart)
{
    struct queue_permit sent, flying;
    rig_start(&r);
    rig_push(&r, 17, "j2");
    rig_push(&r, 17, "j1");
    rig_push(&r, 17, "j3");
    sent = rig_send(&r, 17, "j2");
    CHECK_INT(FINISH_OK, rig_finish(&r, &sent, "sent"));
    flying = rig_send(&r, 17, "j1");
    if (restart) {
        crash_and_restart();
    } else {
        CHECK_STR("OK", redis_do(&r.server, "FLUSHALL"));
        struct queue_permit copy = flying;
        CHECK_RUN(ERR_GONE, &r, permit, 1, RIG_LEASE_MS, &copy, 1);
        queue_wait(r.q);
        for (unsigned p = 0; p < RIG_PARTITIONS; p++) {
            queue_refresh(r.q, p); /* as a program does every now and then */
        }
        queue_wait(r.q);
    }
    CHECK_INT(PARTITION_CLOSED, queue_state(r.q, 1));
    CHECK_INT(RIG_PARTITIONS, redis_num(&r.server, "HGET pl:meta partitions"));
    check_rebuilt(&flying, &sent);
    rig_stop(&r);
}

TEST(a_server_that_came_back_empty_is_rebuilt)
{
    lose_everything(true);
}

TEST(a_flushed_server_is_rebuilt)
{
    lose_everything(false);
}

/* The server comes back with an earlier state: what has been sent since is waiting in it again. */
TEST(a_job_that_came_back_from_the_dead_is_not_sent_again)
{
    struct queue_permit sent, open_end;
    rig_start(&r);
    rig_push(&r, 17, "j1");
    rig_push(&r, 17, "j2");
    rig_push(&r, 17, "j3");
    CHECK_STR("OK", redis_do(&r.server, "SAVE"));
    sent = rig_send(&r, 17, "j1");
    CHECK_INT(FINISH_OK, rig_finish(&r, &sent, "sent"));
    rig_settle(&r, 1); /* MySQL has it, Redis has forgotten it */
    open_end = rig_send(&r, 17, "j2");
    crash_and_restart();
    CHECK_INT('W', *rig_state(&r, 17, "j1"));
    CHECK_INT('W', *rig_state(&r, 17, "j2"));
    CHECK_STR("", rig_field(&r, 17, "token"));
    rig_reassert(&r, &sent, REASSERT_SENT);
    rig_reassert(&r, &open_end, REASSERT_UNKNOWN);
    rig_open_all(&r);
    rig_check_device(&r, 17);
    struct queue_result x[4];
    CHECK_INT(2, rig_results(&r, 1, x, 4));
    CHECK(strcmp(x[0].kind, "sent") == 0 && x[0].late && x[0].row == 1 && x[0].token == 1);
    CHECK(strcmp(x[1].kind, "unknown") == 0 && x[1].late && x[1].row == 2 && x[1].token == 2);
    struct queue_permit job = rig_send(&r, 17, "j3");
    CHECK(job.lease.token > 2); /* past those handed out before */
    CHECK_INT(FINISH_LATE, rig_finish(&r, &open_end, "sent"));
    rig_stop(&r);
}

/* Neither worker has been permitted, so nobody tells of these leases. */
TEST(a_lease_of_a_forgotten_time_is_nobodys)
{
    rig_start(&r);
    rig_push(&r, 17, "j1");
    CHECK_STR("OK", redis_do(&r.server, "SAVE"));
    struct queue_permit before = rig_take(&r, 17, "j1");
    crash_and_restart();
    CHECK_INT('W', *rig_state(&r, 17, "j1"));
    rig_open_all(&r);
    struct queue_permit job = rig_take(&r, 17, "j1");
    CHECK(job.lease.token != before.lease.token);
    CHECK_INT(PERMIT_GO, rig_permit(&r, &job));
    CHECK_INT(PERMIT_STALE, rig_permit(&r, &before));
    CHECK(!rig_release(&r, &before, 0));
    CHECK_INT(FINISH_OK, rig_finish(&r, &job, "sent"));
    rig_stop(&r);
}

TEST(a_second_rollback_before_the_partition_is_open_is_seen)
{
    struct queue_permit sent;
    char first[80];
    rig_start(&r);
    rig_push(&r, 17, "j1");
    CHECK_STR("OK", redis_do(&r.server, "SAVE"));
    sent = rig_send(&r, 17, "j1");
    crash_and_restart();
    (void)snprintf(first, sizeof first, "%s", queue_incarnation(r.q, 1));
    rig_reassert(&r, &sent, REASSERT_SENT);
    CHECK_STR("D 1 1 sent", rig_state(&r, 17, "j1"));
    crash_and_restart(); /* and that is lost again */
    CHECK_INT('W', *rig_state(&r, 17, "j1"));
    CHECK_RUN(ERR_GONE, &r, open_partition, 1, first,
              false); /* by whoever had checked the first one */
    CHECK_INT(PARTITION_CLOSED, queue_state(r.q, 1));
    rig_reassert(&r, &sent, REASSERT_SENT);
    rig_open_all(&r);
    struct queue_permit job;
    CHECK_INT(0, rig_claim(&r, 17, 9, &job));
    rig_stop(&r);
}

TEST(a_dead_workers_jobs_are_in_doubt)
{
    rig_start(&r);
    rig_push(&r, 17, "j1");
    CHECK_INT('S', rig_stage(&r, 17, "j2", 1));
    CHECK_STR("OK", redis_do(&r.server, "SAVE"));
    struct queue_permit lost = rig_send(&r, 17, "j1"); /* its worker dies with its journal */
    crash_and_restart();
    CHECK_INT(1, rig_drop(&r, 17, "j1", true, true));
    CHECK_INT(1, rig_drop(&r, 17, "j2", true, true));
    CHECK_RUN(ERR_NONE, &r, open_partition, 1, queue_incarnation(r.q, 1), true);
    rig_check_device(&r, 17);
    CHECK_STR("doubt", meta("doubt"));
    struct queue_result x = rig_result(&r, 1, "unknown", "j1");
    CHECK_INT(1, x.row);
    /* .. and reports after all: */
    CHECK_INT(FINISH_STALE, rig_finish(&r, &lost, "sent"));
    (void)rig_result(&r, 1, "sent", "j1");
    rig_stop(&r);
}
