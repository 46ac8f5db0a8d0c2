#include "producer/dispatch_internal.h"
#include "shared/source.h"

#include <inttypes.h>
#include <stdlib.h>

struct claim {
    struct pass *x;
    struct target *targets;
    size_t n_targets;
    const char *paused; /* " AND (..)" keeping rows of paused campaigns out, or "" */
    uint64_t rows;
};

/* Due rows of each target in their order, up to its room; nothing is locked yet. */
static void
add_candidates(const struct claim *c, struct sql *q)
{
    for (size_t i = 0; i < c->n_targets; i++) {
        sql_text(q, i ? " UNION ALL (" : "(");
        sql_addf(q,
                 "SELECT device_id, id FROM broadcast_messages FORCE INDEX (messages_claim) WHERE "
                 "status = 'pending' AND device_id = %" PRIu64
                 " AND scheduled_at <= UTC_TIMESTAMP(3)",
                 c->targets[i].device);
        sql_text(q, c->paused);
        sql_addf(q, " ORDER BY scheduled_at, id LIMIT %" PRId64 ")", c->targets[i].room);
    }
}

int
by_row_id(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static void
put_ids(struct sql *ids, const struct plan_row *rows, size_t n)
{
    uint64_t *list = xcalloc(n, sizeof *list);
    for (size_t i = 0; i < n; i++) {
        list[i] = rows[i].id;
    }
    qsort(list, n, sizeof *list, by_row_id);
    sql_clear(ids);
    for (size_t i = 0; i < n; i++) {
        sql_text(ids, i ? "," : "");
        sql_uint(ids, list[i]);
    }
    free(list);
}

/* Locks the candidates by primary key, past those that somebody else holds, and gives up those
 * behind a held one of their device: its order is kept.  (Locking inside the range scan would also
 * skip a device's first row whenever its neighbour's last one is being claimed.) */
static bool
lock_candidates(struct store *db, struct claim *c, struct plan_row *rows, size_t *n, struct err *e)
{
    struct sql q = {0};
    struct rows r;
    sql_text(&q, "SELECT id FROM broadcast_messages WHERE id IN (");
    sql_text(&q, c->x->ids.text.data);
    sql_text(&q, ") AND status = 'pending' ORDER BY id FOR UPDATE SKIP LOCKED");
    bool ok = store_query(db, &q, &r, e);
    sql_done(&q);
    if (!ok) {
        return false;
    }
    uint64_t *locked = xcalloc((size_t)r.count, sizeof *locked);
    size_t n_locked = 0;
    while (rows_next(&r)) {
        locked[n_locked++] = rows_uint(&r, 0);
    }
    rows_done(&r);
    *n = plan_in_order(rows, *n, locked, n_locked);
    put_ids(&c->x->ids, rows, *n);
    free(locked);
    return true;
}

/* The compare-and-set by id, in id order, so that two claims cannot deadlock with one another. */
static bool
take(struct store *db, struct claim *c, struct err *e)
{
    struct sql q = {0};
    sql_text(&q, "UPDATE broadcast_messages SET status = 'processing', gen = gen + 1, "
                 "processing_worker_id = ");
    sql_str(&q, c->x->token);
    sql_text(
        &q,
        ", processing_started_at = UTC_TIMESTAMP(3), updated_at = UTC_TIMESTAMP(3) WHERE id IN (");
    sql_text(&q, c->x->ids.text.data);
    sql_text(&q, ") AND status = 'pending'");
    bool ok = store_exec(db, &q, &c->rows, NULL, e);
    sql_done(&q);
    return ok;
}

/* Both dialects find candidates and end in the same compare-and-set.  Without SKIP LOCKED the
 * update waits for rows that somebody else is about to change, and leaves out those that were
 * changed. */
static bool
claim_body(struct store *db, void *arg, struct err *e)
{
    struct claim *c = arg;
    struct sql q = {0};
    struct rows r;
    c->rows = 0;
    add_candidates(c, &q);
    bool ok = store_query(db, &q, &r, e);
    sql_done(&q);
    if (!ok) {
        return false;
    }
    struct plan_row *rows = xcalloc((size_t)r.count, sizeof *rows);
    size_t n = 0;
    while (rows_next(&r)) {
        rows[n++] = (struct plan_row){rows_uint(&r, 0), rows_uint(&r, 1)};
    }
    rows_done(&r);
    put_ids(&c->x->ids, rows, n);
    ok = n == 0 || !c->x->skip_locked || lock_candidates(db, c, rows, &n, e);
    ok = ok && (n == 0 || take(db, c, e));
    free(rows);
    return ok;
}

bool
claim_read_paused(struct producer *p, struct buf *ret, struct err *e)
{
    struct buf ids[SOURCE_TABLES] = {{0}};
    struct sql q = {0};
    struct rows r;
    sources_stopped(&q, true);
    bool ok = store_query(p->db, &q, &r, e);
    sql_done(&q);
    while (ok && rows_next(&r)) {
        struct buf *b = &ids[rows_int(&r, 0)];
        buf_addf(b, "%s%" PRIu64, b->len ? "," : "", rows_uint(&r, 1));
    }
    rows_done(&r);
    for (int k = 0; k < SOURCE_TABLES; k++) {
        if (ids[k].len) {
            buf_addf(ret, " AND (%s IS NULL OR %s NOT IN (%s))", sources[k].column,
                     sources[k].column, ids[k].data);
        }
        buf_done(&ids[k]);
    }
    return ok;
}

bool
claim_rows(struct pass *x, struct target *targets, size_t n, const char *paused, uint64_t *ret_rows,
           struct err *e)
{
    struct claim c = {.x = x, .targets = targets, .n_targets = n, .paused = paused};
    bool ok = store_transact(x->p->db, claim_body, &c, e);
    *ret_rows = c.rows;
    return ok || err_wrap(e, "claim");
}
