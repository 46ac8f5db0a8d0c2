#include "producer/dispatch_internal.h"

#include <inttypes.h>
#include <stdlib.h>

struct claim {
    struct pass *x;
    struct target *targets;
    size_t n_targets;
    const char *paused; /* " AND (..)" keeping rows of paused campaigns out, or "" */
    uint64_t rows;
};

static void
add_candidates(const struct claim *c, struct sql *q)
{
    for (size_t i = 0; i < c->n_targets; i++) {
        sql_text(q, i ? " UNION ALL (" : "(");
        sql_addf(q,
                 "SELECT id FROM broadcast_messages FORCE INDEX (messages_claim) WHERE status = "
                 "'pending' AND "
                 "device_id = %" PRIu64 " AND scheduled_at <= UTC_TIMESTAMP(3)",
                 c->targets[i].device);
        sql_text(q, c->paused);
        sql_addf(q, " ORDER BY scheduled_at, id LIMIT %" PRId64, c->targets[i].room);
        sql_text(q, c->x->skip_locked ? " FOR UPDATE SKIP LOCKED)" : ")");
    }
}

int
by_row_id(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

/* Both dialects: find ids, then the compare-and-set by id, in id order so that claims cannot
 * deadlock with one another.  With SKIP LOCKED other producers' rows are not even looked at. */
static bool
claim_body(struct store *db, void *arg, struct err *e)
{
    struct claim *c = arg;
    struct sql q = {0}, *ids = &c->x->ids;
    struct rows r;
    c->rows = 0;
    sql_clear(ids);
    add_candidates(c, &q);
    bool ok = store_query(db, &q, &r, e);
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
    for (size_t i = 0; i < n; i++) {
        sql_text(ids, i ? "," : "");
        sql_uint(ids, list[i]);
    }
    free(list);
    if (n) {
        sql_text(&q, "UPDATE broadcast_messages SET status = 'processing', gen = gen + 1, "
                     "processing_worker_id = ");
        sql_str(&q, c->x->token);
        sql_text(&q, ", processing_started_at = UTC_TIMESTAMP(3), updated_at = UTC_TIMESTAMP(3) "
                     "WHERE id IN (");
        sql_text(&q, ids->text.data);
        sql_text(&q, ") AND status = 'pending'");
        ok = store_exec(db, &q, &c->rows, NULL, e);
        sql_done(&q);
    }
    return ok;
}

/* Campaigns that are paused or cancelled keep their rows. */
bool
claim_read_paused(struct producer *p, struct buf *ret, struct err *e)
{
    struct rows r;
    if (!store_queryf(p->db, &r, e,
                      "SELECT id FROM campaigns WHERE status = 'paused' UNION ALL SELECT id FROM "
                      "campaigns WHERE "
                      "status = 'cancelled' AND finished_at IS NULL")) {
        return false;
    }
    if (r.count) {
        buf_adds(ret, " AND (campaign_id IS NULL OR campaign_id NOT IN (");
        for (bool first = true; rows_next(&r); first = false) {
            buf_addf(ret, "%s%" PRIu64, first ? "" : ",", rows_uint(&r, 0));
        }
        buf_adds(ret, "))");
    }
    rows_done(&r);
    return true;
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
