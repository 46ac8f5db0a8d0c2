/* receipt_write.c -- what receipts change, in the transaction that has locked the rows. */
#include "reaper/receipts_private.h"
#include "shared/unknown_source.h"

#include <inttypes.h>
#include <string.h>

static const char *const hows[] = {
    [FOUND_BY_JOB] = "told by job and attempt",
    [FOUND_BY_ID] = "told by the provider's id",
    [FOUND_WEAKLY] = "guessed: the only unknown message of this device to this phone at that time"};

/* --- rows ----------------------------------------------------------------------------- */

/* The provider's clock may be wrong, but nothing happens later than now. */
static void
add_time(struct sql *q, const struct receipt_line *l)
{
    sql_addf(q, "LEAST(%s, UTC_TIMESTAMP(3))", l->happened_at);
}

static void
value_receipt(struct sql *q, const struct receipt_target *t)
{
    sql_str(q, receipt_kind_name(t->raise->r.kind));
}

static void
value_time(struct sql *q, const struct receipt_target *t)
{
    add_time(q, t->raise);
}

static void
value_code(struct sql *q, const struct receipt_target *t)
{
    sql_str(q, t->raise->code);
}

static void
value_id(struct sql *q, const struct receipt_target *t)
{
    sql_str(q, t->raise->provider_id);
}

static void
add_case(struct sql *q, const struct receipt_batch *b,
         void (*value)(struct sql *, const struct receipt_target *))
{
    sql_text(q, "CASE id");
    for (size_t i = 0; i < b->n_targets; i++) {
        if (b->targets[i].raise) {
            sql_addf(q, " WHEN %" PRIu64 " THEN ", b->targets[i].id);
            value(q, &b->targets[i]);
        }
    }
    sql_text(q, " END");
}

/* updated_at stays: it is the message's own, and says since when it is at its end. */
static bool
raise_rows(struct store *db, const struct receipt_batch *b, struct err *e)
{
    uint64_t ids[RECEIPTS_BATCH];
    size_t n = 0;
    struct sql q = {0};
    for (size_t i = 0; i < b->n_targets; i++) {
        if (b->targets[i].raise) {
            ids[n++] = b->targets[i].id;
        }
    }
    if (!n) {
        return true;
    }
    sql_text(&q, "UPDATE broadcast_messages SET receipt = ");
    add_case(&q, b, value_receipt);
    sql_text(&q, ", receipt_at = ");
    add_case(&q, b, value_time);
    sql_text(&q, ", receipt_code = ");
    add_case(&q, b, value_code);
    sql_text(&q, ", provider_message_id = COALESCE(provider_message_id, ");
    add_case(&q, b, value_id);
    sql_text(&q, ")");
    sql_text(&q, " WHERE id IN (");
    sql_ids(&q, ids, n);
    sql_text(&q, ")");
    bool ok = store_exec(db, &q, NULL, NULL, e);
    sql_done(&q);
    return ok;
}

static bool
prove_row(struct store *db, const struct receipt_target *t, struct err *e)
{
    const struct receipt_line *l = t->proof;
    struct sql q = {0};
    sql_addf(&q,
             "UPDATE broadcast_messages SET status = %s, attempt = %u, unknowns = %u, updated_at = "
             "UTC_TIMESTAMP(3)",
             row_status_name(t->row.status), t->row.attempt, t->row.unknowns);
    if (t->row.status == ROW_SENT && l->r.kind != RECEIPT_FAILED) {
        sql_addf(&q,
                 ", error_class = NULL, error_message = NULL, decide_at = NULL, "
                 "provider_message_id = %s, sent_at = ",
                 l->provider_id);
        add_time(&q, l);
    } else if (t->row.status == ROW_FAILED) {
        sql_addf(&q, ", error_class = %s, error_message = %s, decide_at = NULL",
                 *l->code ? l->code : "failed", *l->detail ? l->detail : NULL);
    }
    sql_addf(&q, " WHERE id = %" PRIu64, t->id);
    bool ok = store_exec(db, &q, NULL, NULL, e);
    sql_done(&q);
    return ok;
}

/* The inbox's line is the event's token, so writing it twice is harmless. */
static bool
write_event(struct store *db, const struct receipt_target *t, struct err *e)
{
    const struct receipt_line *l = t->proof;
    char detail[256], actor[96];
    (void)snprintf(detail, sizeof detail, "%s, %s%s%.100s", receipt_kind_name(l->r.kind),
                   hows[l->how], *l->detail ? ": " : "", l->detail);
    (void)snprintf(actor, sizeof actor, "receipts/%s", l->section);
    for (size_t n = strlen(detail); n && ((unsigned char)detail[n - 1] & 0x80);) {
        detail[--n] = '\0'; /* perhaps half a character */
    }
    return store_execf(db, NULL, e,
                       "INSERT IGNORE INTO message_events (message_id, gen, token, event, actor, "
                       "happened_at, code, detail) VALUES (%" PRIu64 ", %u, %" PRIu64
                       ", 'receipt', %s, UTC_TIMESTAMP(3), %s, %s)",
                       t->id, t->gen, l->id, actor, l->code, detail);
}

/* What had ended without them is counted anew, unless a part of it is in the archive. */
static bool
count_anew(struct store *db, const struct receipt_batch *b, struct err *e)
{
    uint64_t ids[RECEIPTS_BATCH], away[RECEIPTS_BATCH];
    size_t n = 0, n_away = 0, kept = 0;
    for (size_t i = 0; i < b->n_targets; i++) {
        if (b->targets[i].proof && b->targets[i].ended) {
            ids[n++] = b->targets[i].id;
        }
    }
    if (!n || !unknown_parts_away(db, ids, n, away, &n_away, e)) {
        return !n;
    }
    for (size_t i = 0; i < n; i++) {
        bool gone = false;
        for (size_t k = 0; k < n_away; k++) {
            gone = gone || away[k] == ids[i];
        }
        if (!gone) {
            ids[kept++] = ids[i];
        }
    }
    return !kept || unknown_reopen(db, ids, kept, e);
}

bool
receipt_write_rows(struct store *db, const struct receipt_batch *b, struct err *e)
{
    if (!raise_rows(db, b, e)) {
        return false;
    }
    for (size_t i = 0; i < b->n_targets; i++) {
        const struct receipt_target *t = &b->targets[i];
        if (t->proof && (!prove_row(db, t, e) || !write_event(db, t, e))) {
            return false;
        }
    }
    return count_anew(db, b, e);
}

/* --- the inbox ------------------------------------------------------------------------ */

static bool
write_end(struct store *db, const struct receipt_batch *b, enum receipt_end end, struct err *e)
{
    /* Later each time: as long again as half of what it has waited. */
    static const char *const sets[] = {
        [RECEIPT_LATER] = "due_at = UTC_TIMESTAMP(3) + INTERVAL LEAST(600000000, GREATEST(200000, "
                          "TIMESTAMPDIFF(MICROSECOND, received_at, UTC_TIMESTAMP(3)) DIV 2)) "
                          "MICROSECOND",
        [RECEIPT_APPLIED] = "state = 'applied', due_at = UTC_TIMESTAMP(3)",
        [RECEIPT_ORPHAN] = "state = 'orphan', due_at = UTC_TIMESTAMP(3)"};
    struct sql q = {0};
    uint64_t ids[RECEIPTS_BATCH];
    size_t n = 0;
    bool any = false;
    sql_text(&q, "UPDATE receipts SET ");
    sql_text(&q, sets[end]);
    for (size_t i = 0; i < b->n; i++) {
        const struct receipt_line *l = &b->lines[i];
        if (l->end == end) {
            ids[n++] = l->id;
        }
        if (l->end == end && l->row) {
            sql_text(&q, any ? "" : ", message_id = CASE id");
            sql_addf(&q, " WHEN %" PRIu64 " THEN %" PRIu64, l->id, l->row);
            any = true;
        }
    }
    sql_text(&q, any ? " END WHERE id IN (" : " WHERE id IN (");
    sql_ids(&q, ids, n);
    sql_text(&q, ")");
    bool ok = !n || store_exec(db, &q, NULL, NULL, e);
    sql_done(&q);
    return ok;
}

bool
receipt_write_lines(struct store *db, const struct receipt_batch *b, struct err *e)
{
    return write_end(db, b, RECEIPT_LATER, e) && write_end(db, b, RECEIPT_APPLIED, e) &&
           write_end(db, b, RECEIPT_ORPHAN, e);
}
