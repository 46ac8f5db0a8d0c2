/* dispatch.c -- due rows become jobs, in three steps that survive the death of the producer after
 * each: claimed rows are staged in Redis, called queued in MySQL by compare-and-set, and activated.
 * Many devices share a transaction and a round trip; at most one claim of `claim_batch` rows is in
 * hand. */
#include "producer/dispatch_internal.h"
#include "shared/clock.h"
#include "shared/device.h"
#include "shared/fault.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DEVICES_A_PASS = 100, FEED_MS = 15000, FULL_REST_MS = 2000, EMPTY_REST_MS = 1000 };

/* --- resting devices
 * ----------------------------------------------------------------------------------- */

static struct resting *
resting_slot(struct producer *p, uint64_t device)
{
    return &p->resting[device % (sizeof p->resting / sizeof *p->resting)];
}

static bool
rests(struct producer *p, uint64_t device)
{
    const struct resting *r = resting_slot(p, device);
    return r->device == device && r->until > clock_mono_ms();
}

void
dispatch_rest(struct producer *p, uint64_t device, int64_t ms)
{
    *resting_slot(p, device) = (struct resting){device, clock_mono_ms() + ms};
}

/* --- targets: devices, their pace and their room
 * -------------------------------------------------------- */

static void
targets_done(struct pass *x)
{
    for (size_t i = 0; i < x->n_fed; i++) {
        free(x->targets[i].sender);
        free(x->targets[i].sender_ref);
        free(x->targets[i].zone);
        free(x->targets[i].language);
    }
    free(x->targets);
}

static bool
read_targets(struct pass *x, const uint64_t *devices, size_t n, struct err *e)
{
    struct sql q = {0};
    struct rows r;
    sql_text(&q, "SELECT d.id, d.user_id, d.sender, d.sender_ref, d.time_zone, "
                 "d.language, " DEVICE_PACE_COLUMNS " FROM devices d WHERE d.id IN (");
    for (size_t i = 0; i < n; i++) {
        sql_text(&q, i ? "," : "");
        sql_uint(&q, devices[i]);
    }
    sql_text(&q, ") AND d.status = 'active' ORDER BY d.id");
    bool ok = store_query(x->p->db, &q, &r, e);
    sql_done(&q);
    if (!ok) {
        return false;
    }
    x->targets = xcalloc((size_t)r.count, sizeof *x->targets);
    while (rows_next(&r)) {
        struct target *t = &x->targets[x->n_fed++];
        t->device = rows_uint(&r, 0);
        t->user = rows_uint(&r, 1);
        t->sender = xstrdup(rows_str(&r, 2));
        t->sender_ref = xstrdup(rows_str(&r, 3));
        t->zone = xstrdup(rows_str(&r, 4));
        t->language = xstrdup(rows_str(&r, 5));
        device_pace_read(&r, 6, &t->pace);
    }
    rows_done(&r);
    return true;
}

struct probe_call {
    struct queue_probe_device devices[QUEUE_BATCH_MAX];
    size_t index[QUEUE_BATCH_MAX];
    size_t n;
    unsigned partition;
    bool failed;
};

static void
on_probe(void *arg, const struct err *e)
{
    struct probe_call *c = arg;
    c->failed = e != NULL;
}

/* One pipelined call a partition takes the feeder leases of all targets and reads their depth, or
 * (ms = 0) gives the leases back.  A producer that dies leaves them to end by themselves. */
static void
feed(struct pass *x, int64_t ms)
{
    struct queue *q = x->p->q;
    struct probe_call **open = xcalloc(queue_partitions(q), sizeof *open);
    struct probe_call **calls = xcalloc(x->n_fed, sizeof *calls);
    size_t n_calls = 0;
    for (size_t i = 0; i < x->n_fed; i++) {
        unsigned p = queue_partition(q, x->targets[i].device);
        if (!open[p] || open[p]->n == QUEUE_BATCH_MAX) {
            open[p] = xcalloc(1, sizeof **open);
            open[p]->partition = p;
            calls[n_calls++] = open[p];
        }
        open[p]->devices[open[p]->n].device = x->targets[i].device;
        open[p]->index[open[p]->n++] = i;
    }
    for (size_t k = 0; k < n_calls; k++) {
        queue_feed(q, calls[k]->partition, x->p->name, ms, calls[k]->devices, calls[k]->n, on_probe,
                   calls[k]);
    }
    queue_wait(q);
    for (size_t k = 0; k < n_calls; k++) {
        struct probe_call *c = calls[k];
        for (size_t i = 0; ms > 0 && i < c->n; i++) {
            struct target *t = &x->targets[c->index[i]];
            t->room =
                plan_room(x->p->s->window, c->devices[i].known, c->devices[i].paused, !c->failed);
            t->idle = c->devices[i].known == 0;
            t->full = c->devices[i].known >= x->p->s->window;
        }
        free(c);
    }
    free(calls);
    free(open);
}

/* Targets with room come first, in their order; the others rest. */
static void
order_by_room(struct pass *x)
{
    for (size_t i = 0; i < x->n_fed; i++) {
        if (x->targets[i].room > 0) {
            struct target t = x->targets[x->n_targets];
            x->targets[x->n_targets++] = x->targets[i];
            x->targets[i] = t;
        } else {
            /* Not full: another producer is at it just now, or its partition is closed. */
            dispatch_rest(x->p, x->targets[i].device,
                          x->targets[i].full ? FULL_REST_MS : x->p->s->poll_min);
        }
    }
}

/* --- the pass -------------------------------------------------------------------------------- */

static bool
claim_and_push(struct pass *x, struct target *targets, size_t n, const char *paused, struct err *e)
{
    struct producer *p = x->p;
    (void)snprintf(x->token, sizeof x->token, "%.40s-%" PRIu64, strchr(p->name, '/') + 1,
                   ++p->claims);
    uint64_t rows = 0;
    if (!claim_rows(x, targets, n, paused, &rows, e)) {
        return false;
    }
    FAULT("dispatch.claimed");
    if (rows == 0) {
        return true;
    }
    bool ok = jobs_read(x, e) && push_jobs(x, e);
    jobs_done(x);
    return ok;
}

static bool
claim_all(struct pass *x, struct err *e)
{
    struct buf paused = {0};
    int64_t *rooms = xcalloc(x->n_targets, sizeof *rooms);
    bool ok =
        claim_read_paused(x->p, &paused, e) && store_has_skip_locked(x->p->db, &x->skip_locked, e);
    for (size_t i = 0; i < x->n_targets; i++) {
        rooms[i] = x->targets[i].room;
    }
    for (size_t at = 0; ok && at < x->n_targets && !program_stopping;) {
        struct target *t = x->targets + at;
        size_t n = plan_claim(rooms, x->n_targets, at, x->p->s->claim_batch);
        for (size_t i = 0; i < n; i++) {
            t[i].room = rooms[at + i];
        }
        ok = opt_out_tick(x->p, e) && claim_and_push(x, t, n, paused.data ? paused.data : "", e);
        for (size_t i = 0; ok && i < n; i++) {
            /* Due rows that cannot be claimed, of a paused campaign, would be found again at once.
             */
            if (x->swept && t[i].claimed == 0) {
                dispatch_rest(x->p, t[i].device, EMPTY_REST_MS);
            }
        }
        at += n;
    }
    free(rooms);
    buf_done(&paused);
    return ok;
}

static int
by_size(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

/* The median: one device that was resumed, or whose messages came late into the world, says nothing
 * of how busy the producers are. */
static void
note_lag(struct pass *x)
{
    struct enrol_pace *w = &x->p->enrol;
    qsort(x->lags_ms, x->n_lags, sizeof *x->lags_ms, by_size);
    for (size_t i = 0; i < x->n_lags; i++) {
        metric_observe_us(&producer_metrics[M_LAG], x->lags_ms[i] * 1000);
    }
    if (x->n_lags && x->lags_ms[x->n_lags / 2] > w->lag_ms) {
        w->lag_ms = x->lags_ms[x->n_lags / 2];
    }
    free(x->lags_ms);
}

static bool
dispatch(struct producer *p, const uint64_t *devices, size_t n, bool swept, uint64_t *ret_jobs,
         struct err *e)
{
    struct pass x = {.p = p, .swept = swept};
    if (n == 0) {
        return true;
    }
    bool ok = read_targets(&x, devices, n, e);
    if (ok) {
        x.lags_ms = xcalloc(x.n_fed, sizeof *x.lags_ms);
        feed(&x, FEED_MS);
        order_by_room(&x);
        ok = claim_all(&x, e);
        feed(&x, 0);
        note_lag(&x);
    }
    *ret_jobs += x.jobs + x.ended;
    metric_add(&producer_metrics[M_JOBS], (int64_t)x.jobs);
    templates_done(&x);
    media_done(&x);
    sql_done(&x.ids);
    targets_done(&x);
    return ok;
}

static bool
dispatch_list(struct producer *p, const uint64_t *devices, size_t n, bool swept, uint64_t *ret_jobs,
              struct err *e)
{
    for (size_t at = 0; at < n && !program_stopping; at += DEVICES_A_PASS) {
        if (!dispatch(p, devices + at, n - at < DEVICES_A_PASS ? n - at : DEVICES_A_PASS, swept,
                      ret_jobs, e)) {
            return false;
        }
    }
    return true;
}

bool
dispatch_hungry(struct producer *p, uint64_t *ret_jobs, struct err *e)
{
    unsigned n_partitions = queue_partitions(p->q);
    struct queue_hungry *h = xcalloc(n_partitions, sizeof *h);
    uint64_t *devices = xcalloc((size_t)n_partitions * QUEUE_BATCH_MAX, sizeof *devices);
    size_t n = 0;
    for (unsigned i = 0; i < n_partitions; i++) {
        if (p->prefers[i]) {
            queue_hungry(p->q, i, &h[i], NULL, NULL);
        }
    }
    queue_wait(p->q);
    for (unsigned i = 0; i < n_partitions; i++) {
        memcpy(devices + n, h[i].devices, h[i].n * sizeof *devices);
        n += h[i].n;
    }
    bool ok = dispatch_list(p, devices, n, false, ret_jobs, e);
    free(devices);
    free(h);
    return ok;
}

bool
dispatch_sweep(struct producer *p, bool all, uint64_t *ret_jobs, struct err *e)
{
    struct rows r;
    /* One dive into the index a device; as EXISTS it would be made a join over the whole backlog.
     */
    if (!store_queryf(p->db, &r, e,
                      "SELECT d.id FROM devices d WHERE d.status = 'active' AND (SELECT 1 FROM "
                      "broadcast_messages m WHERE m.status = 'pending' AND m.device_id = d.id AND "
                      "m.scheduled_at <= UTC_TIMESTAMP(3) LIMIT 1) = 1 ORDER BY d.id")) {
        return false;
    }
    uint64_t *devices = xcalloc((size_t)r.count, sizeof *devices);
    size_t n = 0;
    metric_set(&producer_metrics[M_BACKLOG], (int64_t)r.count);
    while (rows_next(&r)) {
        uint64_t device = rows_uint(&r, 0);
        if (!rests(p, device) && (all || p->prefers[queue_partition(p->q, device)])) {
            devices[n++] = device;
        }
    }
    rows_done(&r);
    bool ok = dispatch_list(p, devices, n, true, ret_jobs, e);
    free(devices);
    return ok;
}
