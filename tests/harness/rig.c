#include "tests/harness/rig.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <ev.h>

/* --- a queue -----------------------------------------------------------------------------------
 */

static void
on_link(void *arg, bool up, const char *why)
{
    struct rig *r = arg;
    if (up) {
        r->links_up++;
    } else {
        r->links_down++;
        (void)snprintf(r->why, sizeof r->why, "%s", why);
    }
}

static void
on_partition(void *arg, unsigned p, enum partition_state state, bool new_incarnation)
{
    struct rig *r = arg;
    CHECK(p < queue_partitions(r->q) && state != PARTITION_UNKNOWN);
    r->partitions_seen++;
    r->incarnations_seen += new_incarnation ? 1 : 0;
}

void
rig_connect(struct rig *r, int64_t partitions)
{
    struct queue_events events = {.on_link = on_link, .on_partition = on_partition, .arg = r};
    struct queue_config c = {
        .redis = {.url = r->server.url,
                  .password = r->server.password,
                  .name = "test",
                  .deadline_ms = 20000,
                  .window = 1000},
        .prefix = "pl",
        .partitions = partitions,
    };
    r->loop = ev_loop_new(EVFLAG_AUTO);
    r->pace = (struct device_pace){.version = 1, .max_in_flight = 1};
    r->source = "c1";
    r->window = 1000;
    CHECK_OK(queue_open(r->loop, &c, &events, &r->q, e));
    CHECK_OK(queue_wait_ready(r->q, 20000, e));
}

void
rig_open_all(struct rig *r)
{
    for (unsigned p = 0; p < queue_partitions(r->q); p++) {
        CHECK_RUN(ERR_NONE, r, open_partition, p, queue_incarnation(r->q, p), false);
        queue_refresh(r->q, p);
    }
    queue_wait(r->q);
}

void
rig_start(struct rig *r)
{
    *r = (struct rig){.q = NULL};
    redis_server_start(&r->server, NULL, NULL);
    rig_connect(r, RIG_PARTITIONS);
    rig_open_all(r);
    for (unsigned p = 0; p < RIG_PARTITIONS; p++) { /* so that tokens begin at 1 */
        CHECK_INT(1, redis_num(&r->server, "HDEL pl:{p%02u}:meta since", p));
    }
}

void
rig_recover(struct rig *r)
{
    CHECK_OK(queue_wait_ready(r->q, 20000, e));
    for (unsigned p = 0; p < queue_partitions(r->q); p++) {
        queue_refresh(r->q, p);
    }
    queue_wait(r->q);
    rig_open_all(r);
}

static void
drop_claim(struct rig *r)
{
    for (size_t i = 0; i < r->n_copies; i++) {
        free(r->copies[i]);
    }
    free(r->copies);
    r->copies = NULL;
    r->n_copies = r->cap_copies = 0;
    r->claim = (struct queue_claim_reply){0};
}

void
rig_stop(struct rig *r)
{
    drop_claim(r);
    queue_close(r->q);
    ev_loop_destroy(r->loop);
    if (r->server.pid) {
        redis_server_kill(&r->server);
    }
}

/* --- calls --------------------------------------------------------------------------------------
 */

void
rig_begin(struct rig *r)
{
    r->answers = 0;
    r->error = (struct err){0};
}

void
rig_answered(void *rig, const struct err *e)
{
    struct rig *r = rig;
    r->answers++;
    if (e) {
        r->error = *e;
    }
}

enum err_kind
rig_end(struct rig *r, const char *file, int line, const char *verb)
{
    if (r->answers) {
        t_fail(file, line, "%s answered before it returned", verb);
    }
    queue_wait(r->q);
    if (r->answers != 1) {
        t_fail(file, line, "%s was answered %d times", verb, r->answers);
    }
    return r->error.kind;
}

void
rig_check(struct rig *r, const char *file, int line, const char *verb, enum err_kind want,
          enum err_kind got)
{
    if (want != got) {
        t_fail(file, line, "%s: %s (%s), not %s", verb, err_kind_name(got), r->error.text,
               err_kind_name(want));
    }
}

/* --- producer -----------------------------------------------------------------------------------
 */

struct queue_push
rig_item(const struct rig *r, uint64_t device, const char *id, uint32_t gen)
{
    struct queue_push x = {.device = device,
                           .gen = gen,
                           .expires_in_ms = r->expires_in_ms,
                           .payload = "p\0q",
                           .payload_len = 3,
                           .pace = &r->pace,
                           .more = r->more};
    size_t digits = strcspn(id, "0123456789");
    (void)snprintf(x.id, sizeof x.id, "%s", id);
    (void)snprintf(x.source, sizeof x.source, "%s", r->source);
    x.row = strtoull(id + digits, NULL, 10);
    return x;
}

char
rig_stage(struct rig *r, uint64_t device, const char *id, uint32_t gen)
{
    struct queue_push x = rig_item(r, device, id, gen);
    CHECK_RUN(ERR_NONE, r, stage, queue_partition(r->q, device), &x, 1, r->window);
    return x.state;
}

char
rig_activate(struct rig *r, uint64_t device, const char *id, uint32_t gen)
{
    struct queue_push x = rig_item(r, device, id, gen);
    CHECK_RUN(ERR_NONE, r, activate, queue_partition(r->q, device), &x, 1, r->window);
    return x.state;
}

void
rig_push(struct rig *r, uint64_t device, const char *id)
{
    CHECK_INT('S', rig_stage(r, device, id, 1));
    CHECK_INT('1', rig_activate(r, device, id, 1));
}

/* --- worker -------------------------------------------------------------------------------------
 */

/* What a claim was answered is good for the length of the callback only. */
static void *
copy(struct rig *r, const void *p, size_t n)
{
    void *own = xmalloc(n);
    if (n) {
        memcpy(own, p, n);
    }
    VEC_GROW(r->copies, r->n_copies, r->cap_copies);
    r->copies[r->n_copies++] = own;
    return own;
}

static void
on_claim(void *arg, const struct queue_claim_reply *reply, const struct err *e)
{
    struct rig *r = arg;
    CHECK(!reply == !!e);
    rig_answered(r, e);
    if (!reply) {
        return;
    }
    struct queue_claimed *jobs = copy(r, reply->jobs, reply->n_jobs * sizeof *jobs);
    for (size_t i = 0; i < reply->n_jobs; i++) {
        jobs[i].source = copy(r, jobs[i].source, strlen(jobs[i].source) + 1);
        jobs[i].quiet = copy(r, jobs[i].quiet, strlen(jobs[i].quiet) + 1);
        jobs[i].payload = copy(r, jobs[i].payload, jobs[i].payload_len);
    }
    r->claim = *reply;
    r->claim.due = copy(r, reply->due, reply->n_due * sizeof *reply->due);
    r->claim.jobs = jobs;
}

enum err_kind
rig_claim_for(struct rig *r, const uint64_t *devices, size_t n, size_t room)
{
    unsigned p = n ? queue_partition(r->q, devices[0]) : 0;
    drop_claim(r);
    rig_begin(r);
    queue_claim(r->q, p, "w1", RIG_LEASE_MS, room, devices, n, on_claim, r);
    return rig_end(r, __FILE__, __LINE__, "claim");
}

size_t
rig_claim(struct rig *r, uint64_t device, size_t room, struct queue_permit *ret)
{
    rig_check(r, __FILE__, __LINE__, "claim", ERR_NONE, rig_claim_for(r, &device, 1, room));
    for (size_t i = 0; i < r->claim.n_jobs; i++) {
        const struct queue_claimed *j = &r->claim.jobs[i];
        ret[i] = (struct queue_permit){.lease = j->lease,
                                       .row = j->row,
                                       .gap_ms = j->gap_max_ms,
                                       .batch_size = j->batch_size,
                                       .batch_pause_ms = j->batch_pause_ms};
        (void)snprintf(ret[i].source, sizeof ret[i].source, "%s", j->source);
    }
    return r->claim.n_jobs;
}

struct queue_permit
rig_take(struct rig *r, uint64_t device, const char *id)
{
    struct queue_permit job = {.row = 0};
    T_WAIT(rig_claim(r, device, 1, &job) == 1, 10000);
    CHECK_STR(id, job.lease.id);
    return job;
}

enum permit_answer
rig_permit(struct rig *r, struct queue_permit *job)
{
    unsigned p = queue_partition(r->q, job->lease.device);
    CHECK_RUN(ERR_NONE, r, permit, p, RIG_LEASE_MS, job, 1);
    return job->answer;
}

struct queue_permit
rig_send(struct rig *r, uint64_t device, const char *id)
{
    struct queue_permit job = rig_take(r, device, id);
    CHECK_INT(PERMIT_GO, rig_permit(r, &job));
    return job;
}

enum finish_answer
rig_finish_as(struct rig *r, const struct queue_permit *job, struct queue_finish x)
{
    x.lease = job->lease;
    x.row = job->row;
    x.code = x.code ? x.code : "code";
    x.text = "some text";
    x.provider_id = "pid-7";
    x.worker = "w1";
    x.send_ms = 12;
    x.contact = job->contact;
    memcpy(x.who, job->who, sizeof x.who);
    memcpy(x.source, job->source, sizeof x.source);
    CHECK_RUN(ERR_NONE, r, finish, queue_partition(r->q, job->lease.device), &x, 1);
    return x.answer;
}

enum finish_answer
rig_finish_hold(struct rig *r, const struct queue_permit *job, const char *kind, int64_t hold_ms)
{
    return rig_finish_as(r, job,
                         (struct queue_finish){.kind = kind,
                                               .act = hold_ms ? HOLD_DEVICE : HOLD_NOTHING,
                                               .hold_ms = hold_ms,
                                               .told = true});
}

enum finish_answer
rig_finish(struct rig *r, const struct queue_permit *job, const char *kind)
{
    return rig_finish_hold(r, job, kind, 0);
}

bool
rig_release(struct rig *r, const struct queue_permit *job, int64_t later_ms)
{
    struct queue_release x = {.lease = job->lease, .not_before_ms = later_ms, .why = "quiet"};
    CHECK_RUN(ERR_NONE, r, release, queue_partition(r->q, job->lease.device), &x, 1);
    return x.ok;
}

bool
rig_renew(struct rig *r, const struct queue_permit *job)
{
    bool ok = false;
    CHECK_RUN(ERR_NONE, r, renew, queue_partition(r->q, job->lease.device), RIG_LEASE_MS,
              &job->lease, &ok, 1);
    return ok;
}

void
rig_reassert(struct rig *r, const struct queue_permit *job, enum reassert_state state)
{
    struct queue_reassert x = {.lease = job->lease, .row = job->row, .state = state};
    CHECK_RUN(ERR_NONE, r, reassert, queue_partition(r->q, job->lease.device), RIG_LEASE_MS, NULL,
              "w1", &x, 1);
}

/* --- reaper -------------------------------------------------------------------------------------
 */

struct queue_reclaim *
rig_reclaim(struct rig *r, unsigned p, const struct queue_expired *end, size_t n)
{
    static struct queue_reclaim x;
    static struct queue_expired items[QUEUE_BATCH_MAX];
    CHECK(n <= QUEUE_BATCH_MAX);
    for (size_t i = 0; i < n; i++) {
        items[i] = end[i];
    }
    x = (struct queue_reclaim){.items = items, .n = n};
    CHECK_RUN(ERR_NONE, r, reclaim, p, &x);
    return &x;
}

char
rig_end_lease(struct rig *r, const struct queue_permit *job)
{
    unsigned p = queue_partition(r->q, job->lease.device);
    (void)redis_do(&r->server, "ZADD pl:{p%02u}:leases XX 1000 %" PRIu64 "/%s", p,
                   job->lease.device, job->lease.id);
    struct queue_reclaim *x = rig_reclaim(r, p, NULL, 0);
    CHECK_INT(1, x->n_found);
    CHECK_STR(job->lease.id, x->found[0].id);
    struct queue_expired found = x->found[0];
    x = rig_reclaim(r, p, &found, 1);
    CHECK_INT(0, x->n_found);
    return x->items[0].answer;
}

int64_t
rig_repair(struct rig *r, uint64_t device)
{
    int64_t fixed = -1;
    CHECK_RUN(ERR_NONE, r, repair, queue_partition(r->q, device), device, RIG_LEASE_MS, &fixed);
    return fixed;
}

int64_t
rig_drop(struct rig *r, uint64_t device, const char *id, bool doubt, bool all)
{
    struct queue_push item = rig_item(r, device, id, 0);
    struct queue_drop x = {.device = device, .row = item.row};
    int64_t dropped = -1;
    const char *state = rig_state(r, device, id);
    x.gen = *state ? (uint32_t)strtoul(state + 2, NULL, 10) : 0;
    (void)snprintf(x.id, sizeof x.id, "%s", id);
    CHECK_RUN(ERR_NONE, r, drop, queue_partition(r->q, device), doubt, all, &x, 1, &dropped);
    return dropped;
}

char
rig_withdraw(struct rig *r, uint64_t device, const char *id, uint32_t gen)
{
    struct queue_push item = rig_item(r, device, id, gen);
    struct queue_withdraw x = {.device = device, .row = item.row, .gen = gen, .code = "left"};
    (void)snprintf(x.id, sizeof x.id, "%s", id);
    x.answer = '?';
    CHECK_RUN(ERR_NONE, r, withdraw, queue_partition(r->q, device), &x, 1);
    return x.answer;
}

size_t
rig_results(struct rig *r, unsigned p, struct queue_result *ret, size_t max)
{
    size_t n = 0;
    CHECK_RUN(ERR_NONE, r, results, p, false, 0, ret, max, &n);
    return n;
}

struct queue_result
rig_result(struct rig *r, unsigned p, const char *kind, const char *id)
{
    struct queue_result x[2] = {{.row = 0}};
    size_t n = rig_results(r, p, x, 2);
    if (n == 2) {
        t_fail(__FILE__, __LINE__, "a second result: %s of %s", x[1].kind, x[1].id);
    }
    CHECK_INT(1, n);
    CHECK_STR(kind, x[0].kind);
    CHECK_STR(id, x[0].id);
    return x[0];
}

void
rig_forget(struct rig *r, unsigned p, const struct queue_result *x)
{
    CHECK_RUN(ERR_NONE, r, forget, p, x, 1);
}

void
rig_settle(struct rig *r, unsigned p)
{
    struct queue_result x[QUEUE_BATCH_MAX];
    size_t n;
    while ((n = rig_results(r, p, x, QUEUE_BATCH_MAX)) > 0) {
        CHECK_RUN(ERR_NONE, r, forget, p, x, n);
    }
}
