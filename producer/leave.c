/* leave.c -- contacts leave their sequences: who has opted out since, and whose sequence was
 * cancelled. Others leave by the paceline command, or because dispatch finds their lead gone. */
#include "producer/producer.h"

#include <inttypes.h>

enum { LEAVE_ROWS = 500, OPT_OUTS_A_TICK = 100 };

struct leave {
    uint64_t id, user;
    char phone[32 + 1];
};

static bool
opt_out_body(struct store *db, void *arg, struct err *e)
{
    const struct leave *l = arg;
    return store_execf(db, NULL, e,
                       "UPDATE sequence_contacts SET status = 'left', reason = 'opted-out', "
                       "ended_at = UTC_TIMESTAMP(3), check_at = UTC_TIMESTAMP(3) WHERE user_id = "
                       "%" PRIu64 " AND recipient_phone = %s AND status = 'active'",
                       l->user, l->phone) &&
           store_execf(db, NULL, e,
                       "UPDATE broadcast_messages SET status = " SKIPPED_SQL
                       ", error_class = 'opted-out', updated_at = UTC_TIMESTAMP(3) WHERE "
                       "recipient_phone = %s AND user_id = %" PRIu64 " AND status = 'pending'",
                       l->phone, l->user) &&
           store_execf(db, NULL, e, "UPDATE opt_outs SET steered = 1 WHERE id = %" PRIu64, l->id);
}

static bool
leave_opted_out(struct producer *p, struct err *e)
{
    struct rows r;
    if (!store_queryf(p->db, &r, e,
                      "SELECT id, user_id, phone FROM opt_outs WHERE steered = 0 ORDER BY id LIMIT "
                      "%d",
                      OPT_OUTS_A_TICK)) {
        return false;
    }
    bool ok = true;
    while (ok && rows_next(&r)) {
        struct leave l = {.id = rows_uint(&r, 0), .user = rows_uint(&r, 1)};
        (void)snprintf(l.phone, sizeof l.phone, "%s", rows_str(&r, 2));
        ok = store_transact(p->db, opt_out_body, &l, e);
    }
    if (r.count == OPT_OUTS_A_TICK) {
        p->next_leave = 0;
    }
    rows_done(&r);
    return ok;
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
    return leave_opted_out(p, e) && leave_cancelled(p, e);
}
