/* finish, results and forget: an outcome's way to MySQL, once and never lost. */
#include "tests/harness/rig.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static struct rig r;

/* A job of device 17 in flight, and another one waiting. */
static struct queue_permit
start(void)
{
    rig_start(&r);
    rig_push(&r, 17, "j1");
    rig_push(&r, 17, "j2");
    return rig_send(&r, 17, "j1");
}

TEST(each_outcome_is_recorded_and_frees_the_device)
{
    static const char *const kinds[] = {"sent", "failed", "retry", "deferred", "unknown"};
    rig_start(&r);
    for (int i = 0; i < 5; i++) {
        char want[40], id[8];
        (void)snprintf(id, sizeof id, "j%d", i + 1);
        rig_push(&r, 17, id);
        struct queue_permit job = rig_send(&r, 17, id);
        CHECK_INT(FINISH_OK, rig_finish(&r, &job, kinds[i]));
        (void)snprintf(want, sizeof want, "%c 1 %d %s", "DDRRU"[i], i + 1, kinds[i]);
        CHECK_STR(want, rig_state(&r, 17, id));
        CHECK_INT(0, redis_num(&r.server, "XLEN pl:{p01}:d:17:jobs"));
        rig_check_device(&r, 17);
        struct queue_result x = rig_result(&r, 1, kinds[i], id);
        CHECK(x.device == 17 && x.row == (uint64_t)i + 1 && x.gen == 1);
        CHECK(x.token == (uint64_t)i + 1 && x.send_ms == 12 && !x.late);
        CHECK_STR("code", x.code);
        CHECK_STR("some text", x.text);
        CHECK_STR("pid-7", x.provider_id);
        CHECK_STR("w1", x.by);
        rig_forget(&r, 1, &x);
        CHECK_STR("", rig_state(&r, 17, id));
    }
    rig_stop(&r);
}

TEST(finishing_twice_is_a_dup_and_changes_nothing)
{
    static const char *const kinds[] = {"sent", "failed", "retry", "deferred", "unknown"};
    rig_start(&r);
    for (int i = 0; i < 5; i++) {
        char id[8];
        (void)snprintf(id, sizeof id, "j%d", i + 1);
        rig_push(&r, 17, id);
        struct queue_permit job = rig_send(&r, 17, id);
        CHECK_INT(FINISH_OK, rig_finish(&r, &job, kinds[i]));
        const char *before = rig_dump(&r);
        CHECK_INT(FINISH_DUP, rig_finish(&r, &job, kinds[i]));
        CHECK_STR(before, rig_dump(&r));
    }
    rig_stop(&r);
}

TEST(a_lease_may_be_finished_without_a_permit)
{
    rig_start(&r);
    rig_push(&r, 17, "j1");
    struct queue_permit job = rig_take(&r, 17, "j1"); /* its payload cannot be read, say */
    CHECK_INT(FINISH_OK, rig_finish(&r, &job, "failed"));
    (void)rig_result(&r, 1, "failed", "j1");
    rig_check_device(&r, 17);
    rig_stop(&r);
}

TEST(a_hold_makes_the_device_rest_and_never_shortens_its_pace)
{
    struct queue_permit job = start(), second;
    int64_t t = redis_now_ms(&r.server);
    CHECK_INT(FINISH_OK, rig_finish_hold(&r, &job, "deferred", 50));
    int64_t next = rig_field_num(&r, 17, "next");
    CHECK(next >= t + 50 && next <= redis_now_ms(&r.server) + 50);
    CHECK_INT(next, rig_ready(&r, 17));
    CHECK_STR("code", rig_field(&r, 17, "held"));
    second = rig_send(&r, 17, "j2");
    CHECK(r.claim.now_ms >= next);
    CHECK_STR("", rig_field(&r, 17, "held"));
    next = redis_now_ms(&r.server) + 3600000;
    (void)redis_do(&r.server, "HSET pl:{p01}:d:17 next %" PRId64, next);
    CHECK_INT(FINISH_OK, rig_finish_hold(&r, &second, "failed", 50));
    CHECK_INT(next, rig_field_num(&r, 17, "next"));
    CHECK_STR("", rig_field(&r, 17, "held"));
    rig_stop(&r);
}

TEST(one_call_finishes_deliveries_of_several_devices)
{
    struct queue_permit jobs[4];
    rig_start(&r);
    r.pace.max_in_flight = 3;
    rig_push(&r, 17, "j1");
    rig_push(&r, 17, "j2");
    rig_push(&r, 17, "j3");
    rig_push(&r, 21, "j4");
    CHECK_INT(3, rig_claim(&r, 17, 3, jobs));
    CHECK_INT(1, rig_claim(&r, 21, 3, jobs + 3));
    CHECK_RUN(ERR_NONE, &r, permit, 1, RIG_LEASE_MS, jobs, 4);
    struct queue_finish x[4];
    for (int i = 0; i < 4; i++) {
        x[i] = (struct queue_finish){.lease = jobs[i].lease,
                                     .row = jobs[i].row,
                                     .kind = i % 2 ? "failed" : "sent",
                                     .code = "",
                                     .text = "",
                                     .provider_id = "",
                                     .worker = "w1"};
    }
    x[1].lease.token = 50;
    CHECK_RUN(ERR_NONE, &r, finish, 1, x, 4);
    CHECK_INT(FINISH_OK, x[0].answer);
    CHECK_INT(FINISH_STALE, x[1].answer);
    CHECK_INT(FINISH_OK, x[2].answer);
    CHECK_INT(FINISH_OK, x[3].answer);
    CHECK_INT('P', *rig_state(&r, 17, "j2"));
    rig_check_device(&r, 17);
    rig_check_device(&r, 21);
    struct queue_result results[8];
    CHECK_INT(3, rig_results(&r, 1, results, 8));
    rig_stop(&r);
}

/* --- late and stale
 * -------------------------------------------------------------------------------- */

TEST(an_outcome_after_unknown_is_its_resolution)
{
    static const char *const kinds[] = {"sent", "failed", "retry"};
    for (int i = 0; i < 3; i++) {
        struct queue_permit job = start();
        CHECK_INT('u', rig_end_lease(&r, &job));
        struct queue_result unknown = rig_result(&r, 1, "unknown", "j1"), x;
        CHECK(unknown.row == 1 && unknown.token == 1 && unknown.gen == 1);
        CHECK_STR("lease", unknown.code);
        CHECK_STR("w1", unknown.by);
        CHECK_INT(FINISH_LATE, rig_finish(&r, &job, kinds[i]));
        CHECK_INT("DDR"[i], *rig_state(&r, 17, "j1"));
        const char *before = rig_dump(&r);
        CHECK_INT(FINISH_DUP, rig_finish(&r, &job, kinds[i]));
        CHECK_STR(before, rig_dump(&r));
        x = rig_result(&r, 1, kinds[i], "j1");
        CHECK(x.late && x.token == 1);
        /* The unknown is committed and forgotten first: the resolution is not yet in MySQL. */
        rig_forget(&r, 1, &unknown);
        CHECK_INT("DDR"[i], *rig_state(&r, 17, "j1"));
        rig_forget(&r, 1, &x);
        CHECK_STR("", rig_state(&r, 17, "j1"));
        rig_check_device(&r, 17);
        rig_stop(&r);
    }
}

TEST(unknown_after_unknown_is_a_dup)
{
    struct queue_permit job = start();
    CHECK_INT('u', rig_end_lease(&r, &job));
    const char *before = rig_dump(&r);
    CHECK_INT(FINISH_DUP, rig_finish(&r, &job, "unknown"));
    CHECK_STR(before, rig_dump(&r));
    rig_stop(&r);
}

TEST(a_stale_outcome_other_than_sent_is_not_recorded)
{
    static const char *const kinds[] = {"failed", "retry", "deferred", "unknown"};
    struct queue_permit job = start(), second;
    CHECK_INT(FINISH_OK, rig_finish(&r, &job, "failed"));
    second = rig_take(&r, 17, "j2");
    CHECK_INT('a', rig_end_lease(&r, &second));
    struct queue_permit stale[4] = {second, job, job, rig_take(&r, 17, "j2")};
    stale[1].lease.token = 7; /* done by another */
    stale[2].lease.gen = 2;   /* another generation than the one that is done .. */
    stale[3].lease.gen = 2;   /* .. or in flight */
    const char *before = rig_dump(&r);
    for (int i = 0; i < 4; i++) {
        for (int k = 0; k < 4; k++) {
            CHECK_INT(FINISH_STALE, rig_finish(&r, &stale[i], kinds[k]));
        }
    }
    CHECK_STR(before, rig_dump(&r));
    rig_stop(&r);
}

/* A stale "sent" of j2 by its first token; what is left must be D with that token, and one result.
 */
static void
check_evidence(const struct queue_permit *job)
{
    char want[40];
    CHECK_INT(FINISH_STALE, rig_finish(&r, job, "sent"));
    (void)snprintf(want, sizeof want, "D %u %" PRIu64 " sent", job->lease.gen, job->lease.token);
    CHECK_STR(want, rig_state(&r, 17, job->lease.id));
    rig_check_device(&r, 17);
    const char *before = rig_dump(&r);
    CHECK_INT(FINISH_DUP, rig_finish(&r, job, "sent"));
    CHECK_STR(before, rig_dump(&r));
    struct queue_result x = rig_result(&r, 1, "sent", job->lease.id);
    CHECK(x.late && x.token == job->lease.token && x.gen == job->lease.gen);
    rig_forget(&r, 1, &x);
    CHECK_STR("", rig_state(&r, 17, job->lease.id));
}

TEST(a_stale_sent_takes_a_waiting_job_out)
{
    struct queue_permit job;
    rig_start(&r);
    rig_push(&r, 17, "j1");
    rig_push(&r, 17, "j2");
    job = rig_take(&r, 17, "j1");
    CHECK_INT('a', rig_end_lease(&r, &job));
    check_evidence(&job);
    struct queue_permit next = rig_send(&r, 17, "j2");
    CHECK_INT(FINISH_OK, rig_finish(&r, &next, "sent"));
    rig_stop(&r);
}

TEST(a_stale_sent_takes_a_job_out_that_waits_in_a_later_generation)
{
    struct queue_permit job = start();
    CHECK_INT(FINISH_OK, rig_finish(&r, &job, "unknown"));
    rig_settle(&r, 1); /* policy: resend */
    CHECK_INT('S', rig_stage(&r, 17, "j1", 2));
    CHECK_INT('1', rig_activate(&r, 17, "j1", 2));
    check_evidence(&job);
    rig_stop(&r);
}

TEST(a_stale_sent_takes_a_leased_job_out)
{
    struct queue_permit job, second;
    rig_start(&r);
    rig_push(&r, 17, "j1");
    job = rig_take(&r, 17, "j1");
    CHECK_INT('a', rig_end_lease(&r, &job));
    second = rig_take(&r, 17, "j1");
    check_evidence(&job);
    CHECK_INT(PERMIT_STALE, rig_permit(&r, &second)); /* nobody starts it again */
    rig_stop(&r);
}

TEST(a_stale_sent_leaves_a_flight_alone_and_is_recorded)
{
    struct queue_permit job, second;
    rig_start(&r);
    rig_push(&r, 17, "j1");
    job = rig_take(&r, 17, "j1");
    CHECK_INT('a', rig_end_lease(&r, &job));
    second = rig_send(&r, 17, "j1");
    CHECK_INT(FINISH_STALE, rig_finish(&r, &job, "sent"));
    CHECK_INT('P', *rig_state(&r, 17, "j1"));
    rig_check_device(&r, 17);
    struct queue_result x = rig_result(&r, 1, "sent", "j1");
    CHECK(x.late && x.token == 1);
    rig_forget(&r, 1, &x);
    CHECK_INT('P', *rig_state(&r, 17, "j1"));
    CHECK_INT(FINISH_OK, rig_finish(&r, &second, "sent"));
    x = rig_result(&r, 1, "sent", "j1");
    CHECK(!x.late && x.token == 2);
    rig_stop(&r);
}

TEST(a_stale_sent_replaces_what_is_staged_given_back_or_failed)
{
    struct queue_permit job = start();
    CHECK_INT(FINISH_OK, rig_finish(&r, &job, "unknown"));
    rig_settle(&r, 1);
    CHECK_INT('S', rig_stage(&r, 17, "j1", 2));
    check_evidence(&job);
    CHECK_INT('0', rig_activate(&r, 17, "j1", 2));
    rig_push(&r, 17, "j3");
    for (int i = 0; i < 2; i++) {
        job = rig_take(&r, 17, i ? "j3" : "j2");
        CHECK_INT(FINISH_OK, rig_finish(&r, &job, i ? "failed" : "retry"));
        struct queue_result x = rig_result(&r, 1, i ? "failed" : "retry", job.lease.id);
        job.lease.token = 90;
        check_evidence(&job);
        rig_forget(&r, 1, &x); /* of a token that is no more: nothing to drop */
        CHECK_STR("", rig_state(&r, 17, job.lease.id));
    }
    rig_stop(&r);
}

TEST(an_outcome_of_a_job_that_is_not_known_any_more_is_recorded)
{
    static const char *const kinds[] = {"sent", "failed", "retry", "deferred", "unknown"};
    for (int i = 0; i < 5; i++) {
        char want[40];
        struct queue_permit job = start();
        CHECK_INT('u', rig_end_lease(&r, &job));
        rig_settle(&r, 1); /* unknown, committed and forgotten */
        CHECK_STR("", rig_state(&r, 17, "j1"));
        CHECK_INT(FINISH_STALE, rig_finish(&r, &job, kinds[i]));
        (void)snprintf(want, sizeof want, "%c 1 1 %s", "DDRRU"[i], kinds[i]);
        CHECK_STR(want, rig_state(&r, 17, "j1"));
        const char *before = rig_dump(&r);
        CHECK_INT(FINISH_DUP, rig_finish(&r, &job, kinds[i]));
        CHECK_STR(before, rig_dump(&r));
        struct queue_result x = rig_result(&r, 1, kinds[i], "j1");
        CHECK(x.late && x.token == 1 && x.gen == 1 && x.row == 1);
        rig_forget(&r, 1, &x);
        CHECK_STR("", rig_state(&r, 17, "j1"));
        rig_stop(&r);
    }
}

/* --- results -------------------------------------------------------------------------------------
 */

TEST(results_are_read_once_and_again_when_their_reader_died)
{
    struct queue_permit job = start();
    struct queue_result x[4];
    size_t n;
    CHECK_INT(FINISH_OK, rig_finish(&r, &job, "sent"));
    CHECK_INT(1, rig_results(&r, 1, x, 4));
    CHECK_INT(0, rig_results(&r, 1, x, 4));
    CHECK_RUN(ERR_NONE, &r, results, 1, true, 3600000, x, 4, &n);
    CHECK_INT(0, n); /* its reader may still be at work */
    CHECK_RUN(ERR_NONE, &r, results, 1, true, 0, x, 4, &n);
    CHECK_INT(1, n);
    CHECK_STR("j1", x[0].id);
    rig_forget(&r, 1, &x[0]);
    CHECK_RUN(ERR_NONE, &r, results, 1, true, 0, x, 4, &n);
    CHECK_INT(0, n);
    CHECK_INT(0, redis_num(&r.server, "XLEN pl:{p01}:results"));
    rig_stop(&r);
}

TEST(results_come_in_order_and_no_more_than_asked_for)
{
    struct queue_permit jobs[5];
    struct queue_result x[5];
    rig_start(&r);
    r.pace.max_in_flight = 5;
    for (int i = 0; i < 5; i++) {
        rig_push(&r, 17, (const char *[]){"j1", "j2", "j3", "j4", "j5"}[i]);
    }
    CHECK_INT(5, rig_claim(&r, 17, 5, jobs));
    for (int i = 4; i >= 0; i--) {
        CHECK_INT(FINISH_OK, rig_finish(&r, &jobs[i], "failed"));
    }
    CHECK_INT(2, rig_results(&r, 1, x, 2));
    CHECK_INT(3, rig_results(&r, 1, x + 2, 3));
    for (int i = 0; i < 5; i++) {
        CHECK_INT(5 - i, x[i].row);
    }
    size_t n;
    CHECK_RUN(ERR_NONE, &r, results, 1, true, 0, x, 3, &n);
    CHECK_INT(3, n);
    CHECK_INT(5, x[0].row);
    rig_stop(&r);
}

TEST(without_a_group_there_are_no_results)
{
    struct queue_result x[2];
    size_t n = 9;
    rig_start(&r);
    CHECK_INT(1, redis_num(&r.server, "DEL pl:{p01}:results"));
    CHECK_RUN(ERR_NONE, &r, results, 1, false, 0, x, 2, &n);
    CHECK_INT(0, n);
    CHECK_RUN(ERR_NONE, &r, results, 1, true, 0, x, 2, &n);
    CHECK_INT(0, n);
    rig_stop(&r);
}

TEST(long_texts_and_odd_bytes_arrive_cut_but_whole)
{
    static char text[2000];
    struct queue_permit job = start();
    memset(text, 'x', sizeof text - 1);
    struct queue_finish f = {.lease = job.lease,
                             .row = UINT32_MAX,
                             .kind = "failed",
                             .code = "a-code-of-forty-characters-and-even-some",
                             .text = text,
                             .provider_id = "wamid.HBgL%s=\r\n\"",
                             .worker = "reaper/host.1.ab/0.1.0"};
    CHECK_RUN(ERR_NONE, &r, finish, 1, &f, 1);
    struct queue_result x = rig_result(&r, 1, "failed", "j1");
    CHECK_INT(sizeof x.text - 1, strlen(x.text));
    CHECK_INT(sizeof x.code - 1, strlen(x.code));
    CHECK_STR("wamid.HBgL%s=\r\n\"", x.provider_id);
    CHECK_INT(UINT32_MAX, x.row);
    rig_stop(&r);
}

TEST(bytes_that_are_no_utf8_do_not_reach_the_database)
{
    static char text[300];
    struct queue_permit job = start();
    for (size_t i = 0; i + 2 < sizeof text - 1; i += 2) {
        memcpy(text + 1 + i, "\xc3\xa9",
               2); /* behind one byte, so that the cut goes through a letter */
    }
    text[0] = 'x';
    struct queue_finish f = {.lease = job.lease,
                             .row = 1,
                             .kind = "failed",
                             .code = "caf\xc3\xa9\n",
                             .text = text,
                             .provider_id = "id\xff\xc3",
                             .worker = "w1"};
    CHECK_RUN(ERR_NONE, &r, finish, 1, &f, 1);
    struct queue_result x = rig_result(&r, 1, "failed", "j1");
    CHECK_STR("caf???", x.code);
    CHECK_STR("id??", x.provider_id);
    CHECK_INT(sizeof x.text - 1, strlen(x.text));
    CHECK(memcmp(x.text, text, sizeof x.text - 1) == 0 || x.text[sizeof x.text - 2] == '?');
    rig_stop(&r);
}
