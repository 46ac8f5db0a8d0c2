#include "producer/dispatch_internal.h"
#include "shared/fault.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { CALL_ITEMS = 50, LATER_MS = 2000, REFUSED_REST_MS = 2000 };

struct verb_call {
    struct producer *p;
    struct queue_push *items;
    size_t n;
};

static void
on_stage(void *arg, const struct err *e)
{
    struct verb_call *c = arg;
    for (size_t i = 0; e && i < c->n; i++) {
        c->items[i].state = 0; /* nobody knows: the row goes back, the next claim stages anew */
        dispatch_rest(c->p, c->items[i].device, REFUSED_REST_MS);
    }
}

/* Items are in order of device; those of one partition are brought together, then sent CALL_ITEMS a
 * call. */
static int
by_partition(const void *a, const void *b, void *arg)
{
    const struct queue_push *x = a, *y = b;
    unsigned px = queue_partition(arg, x->device), py = queue_partition(arg, y->device);
    if (px != py) {
        return px < py ? -1 : 1;
    }
    if (x->device != y->device) {
        return x->device < y->device ? -1 : 1;
    }
    return x->order < y->order ? -1 : x->order > y->order;
}

static void
each_call(struct pass *x, bool activate)
{
    struct queue *q = x->p->q;
    struct verb_call *calls = xcalloc(x->n_items, sizeof *calls);
    size_t n_calls = 0;
    for (size_t i = 0; i < x->n_items;) {
        size_t n = 1;
        unsigned p = queue_partition(q, x->items[i].device);
        while (i + n < x->n_items && n < CALL_ITEMS &&
               queue_partition(q, x->items[i + n].device) == p) {
            n++;
        }
        struct verb_call *c = &calls[n_calls++];
        *c = (struct verb_call){x->p, &x->items[i], n};
        bool any = false;
        for (size_t k = 0; k < n; k++) {
            any = any || !c->items[k].skip;
        }
        if (any && activate) {
            queue_activate(q, p, c->items, n, x->p->s->window, NULL, NULL);
        } else if (any) {
            queue_stage(q, p, c->items, n, x->p->s->window, on_stage, c);
        }
        i += n;
    }
    queue_wait(q);
    free(calls);
}

/* Appends the ids of items with skip == skip; false when there are none. */
static bool
add_item_ids(const struct pass *x, struct sql *q, bool (*wanted)(const struct queue_push *))
{
    bool any = false;
    for (size_t i = 0; i < x->n_items; i++) {
        if (wanted(&x->items[i])) {
            sql_text(q, any ? "," : "");
            sql_uint(q, x->items[i].row);
            any = true;
        }
    }
    return any;
}

static bool
is_staged(const struct queue_push *item)
{
    return plan_fate(item->state) == FATE_QUEUE;
}

static bool
is_returned(const struct queue_push *item)
{
    return plan_fate(item->state) == FATE_RETURN;
}

static bool
is_later(const struct queue_push *item)
{
    return plan_fate(item->state) == FATE_LATER;
}

static bool
give_back(struct pass *x, bool (*wanted)(const struct queue_push *), int64_t later_ms,
          struct err *e)
{
    struct sql q = {0};
    uint64_t n = 0;
    bool ok = true;
    sql_addf(
        &q,
        "UPDATE broadcast_messages SET status = 'pending', scheduled_at = scheduled_at + INTERVAL "
        "IF(%" PRId64
        " > 0, GREATEST(0, TIMESTAMPDIFF(MICROSECOND, scheduled_at, UTC_TIMESTAMP(3)) + %" PRId64
        " * 1000), 0) MICROSECOND, updated_at = UTC_TIMESTAMP(3) WHERE id IN (",
        later_ms, later_ms);
    if (add_item_ids(x, &q, wanted)) {
        sql_addf(&q, ") AND status = 'processing' AND processing_worker_id = %s", x->token);
        ok = store_exec(x->p->db, &q, &n, NULL, e);
    }
    sql_done(&q);
    metric_add(&producer_metrics[M_RETURNED], (int64_t)n);
    return ok;
}

/* Those that are queued by this very token afterwards take part in activate; all others are
 * skipped. */
static bool
read_queued(struct pass *x, struct err *e)
{
    struct sql q = {0};
    struct rows r;
    sql_text(&q, "SELECT id FROM broadcast_messages WHERE id IN (");
    sql_text(&q, x->ids.text.data);
    sql_addf(&q, ") AND status = 'queued' AND processing_worker_id = %s", x->token);
    bool ok = store_query(x->p->db, &q, &r, e);
    sql_done(&q);
    if (!ok) {
        return false;
    }
    uint64_t *list = xcalloc((size_t)r.count, sizeof *list);
    size_t n = 0;
    while (rows_next(&r)) {
        list[n++] = rows_uint(&r, 0);
    }
    rows_done(&r);
    qsort(list, n, sizeof *list, by_row_id);
    for (size_t i = 0; i < x->n_items; i++) {
        x->items[i].skip = !bsearch(&x->items[i].row, list, n, sizeof *list, by_row_id);
    }
    free(list);
    return true;
}

static bool
mark_queued(struct pass *x, struct err *e)
{
    struct sql q = {0};
    uint64_t n = 0, staged = 0;
    bool ok = true;
    for (size_t i = 0; i < x->n_items; i++) {
        x->items[i].skip = !is_staged(&x->items[i]);
        staged += x->items[i].skip ? 0 : 1;
    }
    sql_text(&q, "UPDATE broadcast_messages SET status = 'queued', queued_at = UTC_TIMESTAMP(3), "
                 "updated_at = UTC_TIMESTAMP(3) WHERE id IN (");
    if (add_item_ids(x, &q, is_staged)) {
        sql_addf(&q, ") AND status = 'processing' AND processing_worker_id = %s", x->token);
        ok = store_exec(x->p->db, &q, &n, NULL, e);
    }
    sql_done(&q);
    return ok && (n == staged || read_queued(x, e));
}

bool
push_jobs(struct pass *x, struct err *e)
{
    qsort_r(x->items, x->n_items, sizeof *x->items, by_partition, x->p->q);
    each_call(x, false);
    FAULT("dispatch.staged");
    if (!mark_queued(x, e)) {
        return false;
    }
    FAULT("dispatch.queued");
    for (size_t i = 0; i < x->n_items; i++) {
        struct target *t = find_target(x, x->items[i].device);
        x->items[i].more = t && t->claimed >= (size_t)t->room;
    }
    char *before = xcalloc(1, x->n_items + 1);
    for (size_t i = 0; i < x->n_items; i++) {
        before[i] = x->items[i].state;
    }
    each_call(x, true);
    FAULT("dispatch.activated");
    for (size_t i = 0; i < x->n_items; i++) {
        x->jobs += !x->items[i].skip && x->items[i].state == '1';
        x->items[i].state = before[i];
    }
    free(before);
    return give_back(x, is_returned, 0, e) && give_back(x, is_later, LATER_MS, e);
}
