#include "shared/withdraw.h"

#include "shared/fault.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CALL_ITEMS = 50, ANSWER_NONE = '-' };

struct item {
    struct queue_withdraw job;
    bool queued; /* as its row was read; else processing */
};

struct list {
    struct item *items;
    size_t n;
};

static bool
read_items(struct store *db, const struct sql *select, struct list *ret, struct err *e)
{
    struct rows r;
    if (!store_query(db, select, &r, e)) {
        return false;
    }
    ret->items = xcalloc((size_t)r.count, sizeof *ret->items);
    while (rows_next(&r)) {
        struct item *x = &ret->items[ret->n++];
        x->job.row = rows_uint(&r, 0);
        (void)snprintf(x->job.id, sizeof x->job.id, "%s", rows_str(&r, 1));
        x->job.device = rows_uint(&r, 2);
        x->job.gen = (uint32_t)rows_uint(&r, 3);
        x->queued = strcmp(rows_str(&r, 4), "queued") == 0;
        (void)snprintf(x->job.code, sizeof x->job.code, "%s", rows_str(&r, 5));
        x->job.answer = ANSWER_NONE;
    }
    rows_done(&r);
    return true;
}

static int
by_partition(const void *a, const void *b, void *arg)
{
    const struct item *x = a, *y = b;
    unsigned p = queue_partition(arg, x->job.device), q = queue_partition(arg, y->job.device);
    if (p != q) {
        return p < q ? -1 : 1;
    }
    return x->job.row < y->job.row ? -1 : x->job.row > y->job.row;
}

struct verb_call {
    struct queue_withdraw jobs[CALL_ITEMS];
    size_t n;
    struct item *items; /* where its answers belong */
    bool failed;
};

static void
on_withdrawn(void *arg, const struct err *e)
{
    struct verb_call *c = arg;
    c->failed = e != NULL;
}

/* All calls in one round trip; items of a call that failed keep ANSWER_NONE. */
static void
ask_redis(struct queue *q, struct list *l)
{
    struct verb_call *calls = xcalloc(l->n, sizeof *calls);
    size_t n_calls = 0;
    qsort_r(l->items, l->n, sizeof *l->items, by_partition, q);
    for (size_t i = 0; i < l->n;) {
        struct verb_call *c = &calls[n_calls++];
        unsigned p = queue_partition(q, l->items[i].job.device);
        c->items = &l->items[i];
        while (i < l->n && c->n < CALL_ITEMS && queue_partition(q, l->items[i].job.device) == p) {
            c->jobs[c->n++] = l->items[i++].job;
        }
        queue_withdraw(q, p, c->jobs, c->n, on_withdrawn, c);
    }
    queue_wait(q);
    for (size_t k = 0; k < n_calls; k++) {
        for (size_t i = 0; i < calls[k].n && !calls[k].failed; i++) {
            calls[k].items[i].job.answer = calls[k].jobs[i].answer;
        }
    }
    free(calls);
}

static bool
is_one_of(char answer, const char *letters)
{
    return answer && strchr(letters, answer);
}

/* Whether the row may be ended here.  A processing row cannot be delivered before it is called
 * queued by a compare-and-set that will then fail, unless Redis still holds an earlier life of it
 * whose outcome is open; a queued one only when its own staged job was taken from under activate.
 */
static bool
ends_here(const struct item *x)
{
    char a = x->job.answer;
    return x->queued ? a == 'S' : a == 0 || is_one_of(a, "ST");
}

static void
count(const struct list *l, struct withdrawn *ret)
{
    ret->rows += l->n;
    for (size_t i = 0; i < l->n; i++) {
        const struct item *x = &l->items[i];
        if (ends_here(x)) {
            continue; /* counted when it is written */
        }
        ret->taken += x->job.answer == 'T';
        ret->gone += x->job.answer == 'P';
        ret->left += !is_one_of(x->job.answer, "TPDRU");
    }
}

/* One statement for the rows of a status and a code; they are in order of partition and id, and
 * written in the order of their ids by the server. */
static bool
end_rows(struct store *db, const struct list *l, bool queued, const char *code, uint64_t *n,
         struct err *e)
{
    struct sql q = {0}, pairs = {0};
    bool any = false, ok = true;
    sql_addf(&q,
             "UPDATE broadcast_messages SET status = " SKIPPED_SQL
             ", error_class = %s, decide_at = NULL, updated_at = UTC_TIMESTAMP(3) WHERE id IN (",
             code);
    for (size_t i = 0; i < l->n; i++) {
        const struct item *x = &l->items[i];
        if (x->queued == queued && strcmp(x->job.code, code) == 0 && ends_here(x)) {
            sql_text(&q, any ? "," : "");
            sql_uint(&q, x->job.row);
            sql_addf(&pairs, any ? ",(%" PRIu64 ",%u)" : "(%" PRIu64 ",%u)", x->job.row,
                     x->job.gen);
            any = true;
        }
    }
    if (any) {
        sql_addf(&q, ") AND status = %s AND (id, gen) IN (", queued ? "queued" : "processing");
        sql_text(&q, pairs.text.data);
        sql_text(&q, ")");
        ok = store_exec(db, &q, n, NULL, e);
    }
    sql_done(&q);
    sql_done(&pairs);
    return ok;
}

static bool
code_was_before(const struct list *l, size_t i)
{
    for (size_t k = 0; k < i; k++) {
        if (strcmp(l->items[k].job.code, l->items[i].job.code) == 0) {
            return true;
        }
    }
    return false;
}

static bool
write_rows(struct store *db, const struct list *l, struct withdrawn *ret, struct err *e)
{
    for (size_t i = 0; i < l->n; i++) {
        for (int queued = 0; queued < 2 && !code_was_before(l, i); queued++) {
            uint64_t n = 0;
            if (!end_rows(db, l, queued, l->items[i].job.code, &n, e)) {
                return false;
            }
            ret->skipped += n;
        }
    }
    return true;
}

bool
withdraw_rows(struct store *db, struct queue *q, const struct sql *select, struct withdrawn *ret,
              struct err *e)
{
    struct list l = {0};
    bool ok = read_items(db, select, &l, e);
    if (ok && l.n) {
        ask_redis(q, &l);
        FAULT("withdraw.taken");
        count(&l, ret);
        ok = write_rows(db, &l, ret, e);
        if (ok) {
            FAULT("withdraw.written");
        }
    }
    free(l.items);
    return ok;
}
