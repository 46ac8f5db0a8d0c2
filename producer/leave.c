/* leave.c -- contacts leave their sequences: who has opted out since, and whose sequence was
 * cancelled. Others leave by the paceline command, or because dispatch finds their lead gone.
 * Whoever has opted out is not written to any more at all, also from what Redis holds. */
#include "producer/producer.h"
#include "shared/log.h"
#include "shared/optout.h"

#include <inttypes.h>

enum { LEAVE_ROWS = 500, OPT_OUT_MS = 200 };

/* Acts for up to OPTOUT_MAX opt-outs below *last, newest first, and moves *last to the oldest. */
static bool
act_for_opt_outs(struct producer *p, uint64_t *last, size_t *n, struct err *e)
{
    uint64_t ids[OPTOUT_MAX];
    struct withdrawn w = {0};
    struct rows r;
    *n = 0;
    if (!store_queryf(p->db, &r, e,
                      "SELECT id FROM opt_outs WHERE steered = 0 AND id < %" PRIu64
                      " ORDER BY id DESC LIMIT %d",
                      *last, OPTOUT_MAX)) {
        return false;
    }
    while (rows_next(&r)) {
        ids[(*n)++] = *last = rows_uint(&r, 0);
    }
    rows_done(&r);
    if (!optout_apply(p->db, p->q, ids, *n, &w, e)) {
        return false;
    }
    metric_add(&producer_metrics[M_WITHDRAWN], (int64_t)(w.taken + w.skipped));
    if (w.rows) {
        log_info("withdrawn", "rows", LOG_I(w.rows), "taken", LOG_I(w.taken), "skipped",
                 LOG_I(w.skipped), "gone", LOG_I(w.gone), "left", LOG_I(w.left));
    }
    return true;
}

/* The newest at each look, for who has just said stop does not wait for a long list that was
 * imported; and of a long list one batch after another. */
bool
opt_out_tick(struct producer *p, struct err *e)
{
    uint64_t last = INT64_MAX;
    size_t n;
    if (!program_due(&p->next_opt_out, OPT_OUT_MS)) {
        return true;
    }
    bool ok = act_for_opt_outs(p, &last, &n, e);
    if (ok && n == OPTOUT_MAX) {
        last = p->turn_opt_out && p->turn_opt_out < last ? p->turn_opt_out : last;
        ok = act_for_opt_outs(p, &last, &n, e);
        p->turn_opt_out = n == OPTOUT_MAX ? last : 0;
        p->next_opt_out = 0;
    }
    return ok || err_wrap(e, "opt-outs");
}

static bool
leave_sequence(struct producer *p, uint64_t sequence, struct err *e)
{
    uint64_t asked = 0, left = 0;
    if (!store_execf(p->db, &asked, e,
                     "DELETE FROM sequence_requests WHERE sequence_id = %" PRIu64 " LIMIT %d",
                     sequence, LEAVE_ROWS) ||
        !store_execf(p->db, &left, e,
                     "UPDATE sequence_contacts SET status = 'left', reason = 'cancelled', "
                     "ended_at = UTC_TIMESTAMP(3), check_at = UTC_TIMESTAMP(3) WHERE sequence_id = "
                     "%" PRIu64 " AND status = 'active' LIMIT %d",
                     sequence, LEAVE_ROWS)) {
        return false;
    }
    if (asked == LEAVE_ROWS || left == LEAVE_ROWS) {
        p->next_leave = 0;
    }
    return true;
}

static bool
leave_cancelled(struct producer *p, struct err *e)
{
    struct source_ids over;
    struct sql q = {0};
    sql_addf(&q,
             "SELECT id, user_id FROM sequences WHERE status = 'cancelled' AND finished_at IS NULL "
             "AND id > %" PRIu64 " ORDER BY id LIMIT %d",
             p->turn_leave, SOURCES_A_TICK);
    bool ok = source_read_ids(p->db, q.text.data, &over, e);
    sql_done(&q);
    for (size_t i = 0; ok && i < over.n; i++) {
        ok = leave_sequence(p, over.id[i], e);
    }
    p->turn_leave = ok && over.n == SOURCES_A_TICK ? over.id[over.n - 1] : 0;
    return ok;
}

bool
leave_tick(struct producer *p, struct err *e)
{
    return leave_cancelled(p, e);
}
