/* reassert: what a worker knows against what Redis still holds, every state with every report. */
#include "tests/harness/rig.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static struct rig r;
static struct queue_permit last; /* of the job that prior() has taken */

/* Puts j1 of device 17 into a state: a letter in generation gen; D with a kind. */
static void
prior(char letter, uint32_t gen, const char *kind)
{
    last = (struct queue_permit){.lease = {.device = 17, .id = "j1", .gen = gen}, .row = 1};
    if (letter == '.') {
        return;
    }
    CHECK_INT('S', rig_stage(&r, 17, "j1", gen));
    if (letter == 'S') {
        return;
    }
    CHECK_INT('1', rig_activate(&r, 17, "j1", gen));
    if (letter == 'W') {
        return;
    }
    last = rig_take(&r, 17, "j1");
    if (letter == 'L') {
        return;
    }
    CHECK_INT(PERMIT_GO, rig_permit(&r, &last));
    if (letter != 'P') {
        CHECK_INT(FINISH_OK, rig_finish(&r, &last, kind));
    }
}

struct row {
    char letter;
    uint32_t gen;
    const char *kind;
    char want;      /* letter afterwards */
    bool untouched; /* the state word stays as it was */
    int results;    /* that are added */
};

/* The report is of generation 3 with token 40. */
static void
check_row(const struct row *x, enum reassert_state state)
{
    rig_start(&r);
    rig_push(&r, 17, "j0"); /* the device's token has been handed out before */
    struct queue_permit job = rig_send(&r, 17, "j0");
    CHECK_INT(FINISH_OK, rig_finish(&r, &job, "sent"));
    rig_settle(&r, 1);
    prior(x->letter, x->gen, x->kind);
    struct queue_result results[4];
    (void)rig_results(&r, 1, results, 4);
    char *before = xstrdup(rig_state(&r, 17, "j1"));
    job = last;
    job.lease.gen = 3;
    job.lease.token = 40;
    rig_reassert(&r, &job, state);
    const char *after = rig_state(&r, 17, "j1");
    CHECK_INT(x->want, *after);
    CHECK_INT(x->untouched, strcmp(before, after) == 0);
    if (!x->untouched) {
        CHECK(strstr(after, " 40 "));
        CHECK(after[2] == '3');
    }
    CHECK_INT(40, rig_field_num(&r, 17, "token"));
    rig_check_device(&r, 17);
    CHECK_INT(x->results, rig_results(&r, 1, results, 4));
    if (x->results) {
        CHECK(results[0].late && results[0].gen == 3 && results[0].token == 40 &&
              results[0].row == 1);
        CHECK_STR(state == REASSERT_SENT ? "sent" : "unknown", results[0].kind);
        CHECK_STR("reassert", results[0].code);
        CHECK_STR("w1", results[0].by);
    }
    char *dump = xstrdup(redis_dump(&r.server, "pl:{p01}:[^l]*"));
    rig_reassert(&r, &job, state); /* twice: only a lease moves */
    CHECK_STR(dump, redis_dump(&r.server, "pl:{p01}:[^l]*"));
    free(dump);
    free(before);
    rig_stop(&r);
}

TEST(a_flight_under_way_is_permitted_again_unless_it_has_an_end)
{
    static const struct row rows[] = {
        {'.', 3, "", 'P', false, 0},     {'S', 3, "", 'P', false, 0},
        {'S', 2, "", 'P', false, 0},     {'W', 3, "", 'P', false, 0},
        {'W', 2, "", 'P', false, 0},     {'L', 3, "", 'P', false, 0},
        {'P', 3, "", 'P', false, 0},     {'P', 2, "", 'P', false, 0},
        {'D', 3, "sent", 'D', true, 0},  {'D', 3, "failed", 'D', true, 0},
        {'R', 3, "retry", 'R', true, 0}, {'U', 3, "unknown", 'U', true, 0},
        {'S', 10, "", 'S', true, 0},     {'W', 10, "", 'W', true, 0},
        {'L', 4, "", 'L', true, 0},      {'P', 4, "", 'P', true, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        check_row(&rows[i], REASSERT_FLYING);
    }
}

TEST(sent_beats_everything)
{
    static const struct row rows[] = {
        {'.', 3, "", 'D', false, 1},        {'S', 3, "", 'D', false, 1},
        {'W', 3, "", 'D', false, 1},        {'L', 3, "", 'D', false, 1},
        {'P', 3, "", 'D', false, 1},        {'D', 3, "sent", 'D', true, 0},
        {'D', 3, "failed", 'D', false, 1},  {'R', 3, "retry", 'D', false, 1},
        {'U', 3, "unknown", 'D', false, 1}, {'S', 10, "", 'D', false, 1},
        {'W', 10, "", 'D', false, 1},       {'L', 4, "", 'D', false, 1},
        {'P', 4, "", 'D', false, 1},        {'D', 4, "failed", 'D', false, 1},
        {'D', 4, "sent", 'D', true, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        check_row(&rows[i], REASSERT_SENT);
    }
}

TEST(unknown_stops_a_job_unless_more_is_known)
{
    static const struct row rows[] = {
        {'.', 3, "", 'U', false, 1},       {'S', 3, "", 'U', false, 1},
        {'S', 2, "", 'U', false, 1},       {'W', 3, "", 'U', false, 1},
        {'W', 2, "", 'U', false, 1},       {'L', 3, "", 'U', false, 1},
        {'P', 3, "", 'U', false, 1},       {'D', 3, "sent", 'D', true, 0},
        {'D', 2, "failed", 'D', true, 0},  {'R', 3, "retry", 'R', true, 0},
        {'U', 3, "unknown", 'U', true, 0}, {'S', 10, "", 'S', true, 0},
        {'W', 4, "", 'W', true, 0},        {'L', 4, "", 'L', true, 0},
        {'P', 4, "", 'P', true, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        check_row(&rows[i], REASSERT_UNKNOWN);
    }
}

TEST(tokens_are_raised_and_never_lowered)
{
    rig_start(&r);
    struct queue_permit job = {.lease = {.device = 17, .id = "j9", .gen = 1, .token = 500},
                               .row = 9};
    rig_reassert(&r, &job, REASSERT_SENT);
    job.lease.token = 20;
    rig_reassert(&r, &job, REASSERT_SENT);
    CHECK_INT(500, rig_field_num(&r, 17, "token"));
    rig_push(&r, 17, "j1");
    CHECK_INT(501, rig_take(&r, 17, "j1").lease.token);
    rig_stop(&r);
}

/* --- a flight whose entry is lost
 * ------------------------------------------------------------------- */

static struct queue_permit
fly_without_entry(void)
{
    struct queue_permit job = {.lease = {.device = 17, .id = "j1", .gen = 3, .token = 40},
                               .row = 1};
    rig_start(&r);
    rig_reassert(&r, &job, REASSERT_FLYING);
    CHECK_INT(1, rig_field_num(&r, 17, "in_flight"));
    rig_check_device(&r, 17);
    return job;
}

TEST(a_flight_without_an_entry_keeps_the_device_busy_until_it_ends)
{
    struct queue_permit job = fly_without_entry();
    rig_push(&r, 17, "j2");
    CHECK_INT(-1, rig_ready(&r, 17));
    CHECK(rig_renew(&r, &job));
    CHECK_INT(PERMIT_GO, rig_permit(&r, &job));
    CHECK_INT(0, rig_repair(&r, 17));
    CHECK_INT(FINISH_OK, rig_finish(&r, &job, "sent"));
    rig_check_device(&r, 17);
    (void)rig_send(&r, 17, "j2");
    rig_stop(&r);
}

TEST(a_flight_without_an_entry_whose_worker_dies_is_unknown_with_its_row)
{
    struct queue_permit job = fly_without_entry();
    CHECK_INT('u', rig_end_lease(&r, &job));
    struct queue_result x = rig_result(&r, 1, "unknown", "j1");
    CHECK(x.row == 1 && x.token == 40 && x.gen == 3 && x.device == 17);
    CHECK_STR("w1", x.by);
    rig_check_device(&r, 17);
    rig_stop(&r);
}

TEST(a_flight_without_an_entry_that_is_given_back_is_forgotten)
{
    struct queue_permit job = fly_without_entry();
    CHECK(rig_release(&r, &job, 0));
    CHECK_STR("", rig_state(&r, 17, "j1")); /* reconcile makes its row pending */
    rig_check_device(&r, 17);
    CHECK_INT('S', rig_stage(&r, 17, "j1", 4));
    rig_stop(&r);
}

TEST(an_evidence_of_a_flight_without_an_entry_ends_it)
{
    struct queue_permit job = fly_without_entry();
    rig_reassert(&r, &job, REASSERT_SENT);
    CHECK_STR("D 3 40 sent", rig_state(&r, 17, "j1"));
    rig_check_device(&r, 17);
    rig_settle(&r, 1);
    CHECK_INT(0,
              redis_num(&r.server, "EXISTS pl:{p01}:d:17:ids pl:{p01}:d:17:jobs pl:{p01}:devices"));
    rig_stop(&r);
}

/* --- who has told --------------------------------------------------------------------------------
 */

TEST(a_worker_is_noted_with_its_last_records_while_the_partition_is_closed)
{
    struct queue_meta m;
    struct queue_permit jobs[2] = {
        {.lease = {.device = 17, .id = "j1", .gen = 1, .token = 1}, .row = 1},
        {.lease = {.device = 21, .id = "j2", .gen = 1, .token = 1}, .row = 2}};
    rig_start(&r);
    CHECK_STR("OK", redis_do(&r.server, "FLUSHALL"));
    queue_refresh(r.q, 1);
    queue_wait(r.q);
    struct queue_reassert x[2];
    for (int i = 0; i < 2; i++) {
        x[i] = (struct queue_reassert){
            .lease = jobs[i].lease, .row = jobs[i].row, .state = REASSERT_SENT};
    }
    CHECK_RUN(ERR_NONE, &r, reassert, 1, RIG_LEASE_MS, NULL, "worker/a.1.b/1", x, 2);
    CHECK_RUN(ERR_NONE, &r, read_meta, 1, &m);
    CHECK_INT(0, m.n_told);
    CHECK_RUN(ERR_NONE, &r, reassert, 1, RIG_LEASE_MS, "worker/a.1.b/1", "worker/a.1.b/1", x, 0);
    CHECK_RUN(ERR_NONE, &r, read_meta, 1, &m);
    CHECK_INT(1, m.n_told);
    CHECK_STR("worker/a.1.b/1", m.told[0]);
    CHECK_INT(PARTITION_CLOSED, m.state);
    CHECK_RUN(ERR_NONE, &r, open_partition, 1, queue_incarnation(r.q, 1), false);
    CHECK_RUN(ERR_NONE, &r, reassert, 1, RIG_LEASE_MS, "worker/c.2.d/1", "worker/c.2.d/1", x, 0);
    CHECK_RUN(ERR_NONE, &r, read_meta, 1, &m);
    CHECK_INT(1, m.n_told); /* open: nobody waits for it */
    rig_check_device(&r, 17);
    rig_check_device(&r, 21);
    rig_stop(&r);
}
