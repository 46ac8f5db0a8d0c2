#include "shared/optout.h"

#include <inttypes.h>

enum { ROWS_A_WRITE = 2000 };

static void
add_ids(struct sql *q, const char *before, const uint64_t *ids, size_t n)
{
    sql_text(q, before);
    sql_text(q, " IN (");
    for (size_t i = 0; i < n; i++) {
        sql_text(q, i ? "," : "");
        sql_uint(q, ids[i]);
    }
    sql_text(q, ")");
}

/* FROM these opt-outs and the rows of their phones, one dive into the index each; forced, for fresh
 * tables have statistics that make a server scan them instead. */
static void
from_rows(struct sql *q, const uint64_t *ids, size_t n)
{
    sql_text(q, " FROM opt_outs o STRAIGHT_JOIN broadcast_messages m FORCE INDEX "
                "(messages_recipient) ON m.user_id = o.user_id AND "
                "m.recipient_phone = o.phone WHERE ");
    add_ids(q, "o.id", ids, n);
}

static bool
withdraw(struct store *db, struct queue *queue, const uint64_t *ids, size_t n,
         struct withdrawn *ret, struct err *e)
{
    struct sql q = {0};
    sql_text(&q, "SELECT " WITHDRAW_COLUMNS ", 'opted-out'");
    from_rows(&q, ids, n);
    sql_text(&q, " AND m.status IN ('processing', 'queued')");
    bool ok = withdraw_rows(db, queue, &q, ret, e);
    sql_done(&q);
    return ok;
}

/* Looks first and writes by id, in the order of ids, so that no claim in the range is waited for;
 * until nothing is found.  update ends behind its WHERE. */
static bool
write_found(struct store *db, const struct sql *select, const char *update, const char *and,
            struct err *e)
{
    struct sql q = {0};
    struct rows r = {.count = ROWS_A_WRITE};
    bool ok = true;
    while (ok && r.count == ROWS_A_WRITE) {
        ok = store_query(db, select, &r, e);
        if (ok && r.count) {
            sql_clear(&q);
            sql_text(&q, update);
            sql_text(&q, " id IN (");
            for (bool first = true; rows_next(&r); first = false) {
                sql_text(&q, first ? "" : ",");
                sql_uint(&q, rows_uint(&r, 0));
            }
            sql_text(&q, ") AND ");
            sql_text(&q, and);
            ok = store_exec(db, &q, NULL, NULL, e);
        }
        uint64_t count = ok ? r.count : 0;
        rows_done(&r);
        r.count = count;
    }
    sql_done(&q);
    return ok;
}

static bool
end_contacts(struct store *db, const uint64_t *ids, size_t n, struct err *e)
{
    struct sql q = {0};
    sql_text(&q, "SELECT c.id FROM opt_outs o STRAIGHT_JOIN sequence_contacts c ON c.user_id = "
                 "o.user_id AND c.recipient_phone = o.phone AND c.status = 'active' WHERE ");
    add_ids(&q, "o.id", ids, n);
    sql_addf(&q, " LIMIT %d", ROWS_A_WRITE);
    bool ok = write_found(db, &q,
                          "UPDATE sequence_contacts SET status = 'left', reason = 'opted-out', "
                          "ended_at = UTC_TIMESTAMP(3), check_at = UTC_TIMESTAMP(3) WHERE",
                          "status = 'active'", e);
    sql_done(&q);
    return ok;
}

static bool
skip_pending(struct store *db, const uint64_t *ids, size_t n, struct err *e)
{
    struct sql q = {0};
    sql_text(&q, "SELECT m.id");
    from_rows(&q, ids, n);
    sql_addf(&q, " AND m.status = 'pending' LIMIT %d", ROWS_A_WRITE);
    bool ok = write_found(db, &q,
                          "UPDATE broadcast_messages SET status = " SKIPPED_SQL
                          ", error_class = 'opted-out', updated_at = UTC_TIMESTAMP(3) WHERE",
                          "status = 'pending'", e);
    sql_done(&q);
    return ok;
}

/* What a claim that is not seen here took, its last look will refuse: it comes behind this one. */
static bool
mark_steered(struct store *db, const uint64_t *ids, size_t n, struct err *e)
{
    struct sql q = {0};
    sql_text(&q, "SELECT o.id FROM opt_outs o WHERE ");
    add_ids(&q, "o.id", ids, n);
    sql_addf(&q,
             " AND NOT EXISTS (SELECT 1 FROM broadcast_messages m FORCE INDEX (messages_recipient) "
             "WHERE m.user_id = o.user_id AND "
             "m.recipient_phone = o.phone AND m.status IN ('processing', 'queued')) AND o.steered "
             "= 0 LIMIT %d",
             ROWS_A_WRITE);
    bool ok = write_found(db, &q, "UPDATE opt_outs SET steered = 1 WHERE", "steered = 0", e);
    sql_done(&q);
    return ok;
}

bool
optout_apply(struct store *db, struct queue *q, const uint64_t *ids, size_t n,
             struct withdrawn *ret, struct err *e)
{
    return n == 0 || (withdraw(db, q, ids, n, ret, e) && end_contacts(db, ids, n, e) &&
                      skip_pending(db, ids, n, e) && mark_steered(db, ids, n, e));
}
