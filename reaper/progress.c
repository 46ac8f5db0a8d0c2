/* progress.c -- what has come of campaigns, of runs of recurring messages and of contacts in
 * sequences, counted from the rows, and their end.  Each ends only when its final rows add up to
 * the whole: whether rows may still be added is read before the count, and open rows are looked for
 * once more in the very statement that ends it. */
#include "reaper/reaper.h"
#include "shared/clock.h"
#include "shared/log.h"
#include "shared/source.h"

#include <inttypes.h>
#include <stdlib.h>

enum { CONTACTS_A_PASS = 500, CONTACTS_MS = 250, CONTACT_AGAIN_S = 600, LEFT_AGAIN_S = 60 };

/* Rows of one campaign, or of one run. */
struct progress {
    enum source_kind kind;
    uint64_t id;         /* of what is counted: the campaign, or the run's log line */
    uint64_t rule;       /* of a run */
    char occurrence[32]; /* of a run */
    uint64_t count[7];   /* by enum row_status */
    bool deciding;       /* an unknown row still has its policy to come */
    bool whole;          /* no rows will be added */
};

/* " WHERE .." of its rows. */
static void
add_where(struct sql *q, const struct progress *p)
{
    if (p->kind == SOURCE_CAMPAIGN) {
        sql_addf(q, " WHERE campaign_id = %" PRIu64, p->id);
    } else {
        sql_addf(q, " WHERE recurring_id = %" PRIu64 " AND occurrence_at = %s", p->rule,
                 p->occurrence);
    }
}

static bool
count_rows(struct reaper *r, struct progress *p, struct err *e)
{
    struct sql q = {0};
    struct rows rows;
    sql_text(&q, "SELECT status, COUNT(*) FROM broadcast_messages");
    add_where(&q, p);
    /* All of them by name: so the index of (rule, status, occurrence) is dived into. */
    sql_text(&q, " AND status IN ('pending', 'processing', 'queued', 'sent', 'failed', 'skipped', "
                 "'unknown') GROUP BY status");
    bool ok = store_query(r->db, &q, &rows, e);
    while (ok && rows_next(&rows)) {
        enum row_status s;
        if (row_status_parse(rows_str(&rows, 0), &s)) {
            p->count[s] = rows_uint(&rows, 1);
        }
    }
    rows_done(&rows);
    if (ok && p->count[ROW_UNKNOWN]) {
        sql_clear(&q);
        sql_text(&q, "SELECT 1 FROM broadcast_messages");
        add_where(&q, p);
        sql_text(&q, " AND status = 'unknown' AND decide_at IS NOT NULL LIMIT 1");
        ok = store_query(r->db, &q, &rows, e);
        p->deciding = ok && rows.count > 0;
        rows_done(&rows);
    }
    sql_done(&q);
    return ok;
}

static uint64_t
open_rows(const struct progress *p)
{
    return p->count[ROW_PENDING] + p->count[ROW_PROCESSING] + p->count[ROW_QUEUED];
}

static bool
write_counts(struct reaper *r, const struct progress *p, struct err *e)
{
    struct sql q = {0};
    uint64_t open = open_rows(p), final = p->count[ROW_SENT] + p->count[ROW_FAILED] +
                                          p->count[ROW_SKIPPED] + p->count[ROW_UNKNOWN];
    sql_text(&q, p->kind == SOURCE_CAMPAIGN ? "UPDATE campaigns" : "UPDATE recurring_message_logs");
    sql_addf(&q,
             " SET total = %" PRIu64 ", n_pending = %" PRIu64 ", n_sent = %" PRIu64
             ", n_failed = %" PRIu64 ", n_skipped = %" PRIu64 ", n_unknown = %" PRIu64
             ", counted_at = UTC_TIMESTAMP(3) WHERE id = %" PRIu64,
             open + final, open, p->count[ROW_SENT], p->count[ROW_FAILED], p->count[ROW_SKIPPED],
             p->count[ROW_UNKNOWN], p->id);
    bool ok = store_exec(r->db, &q, NULL, NULL, e);
    sql_done(&q);
    return ok;
}

static bool
end_it(struct reaper *r, const struct progress *p, struct err *e)
{
    struct sql q = {0};
    uint64_t ended = 0;
    sql_text(&q, p->kind == SOURCE_CAMPAIGN
                     ? "UPDATE campaigns SET status = IF(status = 'running', 'finished', status), "
                       "updated_at = UTC_TIMESTAMP(3), "
                     : "UPDATE recurring_message_logs SET status = 'finished', ");
    sql_addf(&q,
             "finished_at = UTC_TIMESTAMP(3) WHERE id = %" PRIu64 " AND finished_at IS NULL AND ",
             p->id);
    sql_text(&q, p->kind == SOURCE_CAMPAIGN
                     ? "((status = 'running' AND expanded_at IS NOT NULL) OR status = 'cancelled')"
                     : "status = 'running'");
    sql_text(&q, " AND NOT EXISTS (SELECT 1 FROM broadcast_messages");
    add_where(&q, p);
    sql_text(&q, " AND status IN ('pending', 'processing', 'queued'))");
    bool ok = store_exec(r->db, &q, &ended, NULL, e);
    sql_done(&q);
    if (ended) {
        log_info(p->kind == SOURCE_CAMPAIGN ? "campaign_ended" : "run_ended", sources[p->kind].kind,
                 LOG_I(p->kind == SOURCE_CAMPAIGN ? p->id : p->rule), "sent",
                 LOG_I(p->count[ROW_SENT]), "failed", LOG_I(p->count[ROW_FAILED]), "skipped",
                 LOG_I(p->count[ROW_SKIPPED]), "unknown", LOG_I(p->count[ROW_UNKNOWN]));
    }
    return ok;
}

static bool
progress_of(struct reaper *r, struct progress *p, struct err *e)
{
    if (!p->whole) {
        return true;
    }
    return count_rows(r, p, e) && write_counts(r, p, e) &&
           (open_rows(p) || p->deciding || end_it(r, p, e));
}

static bool
count_campaigns(struct reaper *r, struct err *e)
{
    struct rows rows;
    bool ok = true;
    if (!store_queryf(r->db, &rows, e,
                      "SELECT id, expanded_at IS NOT NULL FROM campaigns WHERE status IN "
                      "('running', 'paused') UNION ALL SELECT id, 1 FROM campaigns WHERE status = "
                      "'cancelled' AND finished_at IS NULL")) {
        return false;
    }
    while (ok && rows_next(&rows) && !program_stopping) {
        struct progress p = {
            .kind = SOURCE_CAMPAIGN, .id = rows_uint(&rows, 0), .whole = rows_int(&rows, 1)};
        ok = progress_of(r, &p, e);
    }
    rows_done(&rows);
    return ok;
}

static bool
count_runs(struct reaper *r, struct err *e)
{
    struct rows rows;
    bool ok = true;
    if (!store_queryf(r->db, &rows, e,
                      "SELECT id, recurring_id, occurrence_at FROM recurring_message_logs WHERE "
                      "status = 'running'")) {
        return false;
    }
    while (ok && rows_next(&rows) && !program_stopping) {
        struct progress p = {.kind = SOURCE_RECURRING,
                             .id = rows_uint(&rows, 0),
                             .rule = rows_uint(&rows, 1),
                             .whole = true};
        (void)snprintf(p.occurrence, sizeof p.occurrence, "%s", rows_str(&rows, 2));
        ok = progress_of(r, &p, e);
    }
    rows_done(&rows);
    return ok;
}

/* --- sequences and rules that are over ---------------------------------------------------------
 */

/* finished_at: the last row is final, and none will be added.  From then on Redis may forget the
 * word, and nothing can be paused or cancelled any more.  open: what may still add rows, by the
 * source's id. */
static bool
end_one(struct reaper *r, enum source_kind kind, uint64_t id, const char *open, struct err *e)
{
    const struct source_info *s = &sources[kind];
    struct sql q = {0};
    sql_text(&q, "UPDATE ");
    sql_text(&q, s->table);
    sql_addf(&q,
             " SET finished_at = UTC_TIMESTAMP(3) WHERE id = %" PRIu64
             " AND status IN ('cancelled', 'finished') AND finished_at IS NULL AND NOT EXISTS "
             "(SELECT 1 FROM broadcast_messages WHERE ",
             id);
    sql_text(&q, s->column);
    sql_addf(&q,
             " = %" PRIu64 " AND (status IN ('pending', 'processing', 'queued') OR (status = "
             "'unknown' AND decide_at IS NOT NULL))) AND NOT EXISTS (SELECT 1 FROM ",
             id);
    sql_text(&q, open);
    sql_addf(&q, " = %" PRIu64 ")", id);
    bool ok = store_exec(r->db, &q, NULL, NULL, e);
    sql_done(&q);
    return ok;
}

static bool
end_over(struct reaper *r, enum source_kind kind, const char *open, struct err *e)
{
    struct sql q = {0};
    struct rows rows;
    sql_text(&q, "SELECT id FROM ");
    sql_text(&q, sources[kind].table);
    sql_text(&q, " WHERE status IN ('cancelled', 'finished') AND finished_at IS NULL");
    bool ok = store_query(r->db, &q, &rows, e);
    sql_done(&q);
    while (ok && rows_next(&rows) && !program_stopping) {
        ok = end_one(r, kind, rows_uint(&rows, 0), open, e);
    }
    rows_done(&rows);
    return ok;
}

/* --- contacts in sequences ----------------------------------------------------------------------
 */

enum {
    C_ID,
    C_ACTIVE,
    C_ROWS,
    C_OPEN,
    C_SENT,
    C_FAILED,
    C_SKIPPED,
    C_UNKNOWN,
    C_DECIDING,
    C_LEAD_GONE,
};

static bool
write_contact(struct store *db, const struct rows *c, struct err *e)
{
    struct sql q = {0};
    bool open = rows_int(c, C_OPEN) || rows_int(c, C_DECIDING);
    sql_addf(&q,
             "UPDATE sequence_contacts SET n_sent = %" PRId64 ", n_failed = %" PRId64
             ", n_skipped = %" PRId64 ", n_unknown = %" PRId64 ", check_at = ",
             rows_int(c, C_SENT), rows_int(c, C_FAILED), rows_int(c, C_SKIPPED),
             rows_int(c, C_UNKNOWN));
    if (open && rows_int(c, C_ACTIVE)) {
        /* Who waits long, behind a paused sequence or a slow device, is looked at seldom. */
        sql_addf(&q,
                 "UTC_TIMESTAMP(3) + INTERVAL GREATEST(%d, TIMESTAMPDIFF(SECOND, "
                 "COALESCE(last_at, enrolled_at), UTC_TIMESTAMP(3)) DIV 2) SECOND",
                 CONTACT_AGAIN_S);
    } else if (open) {
        sql_addf(&q, "UTC_TIMESTAMP(3) + INTERVAL %d SECOND", LEFT_AGAIN_S);
    } else {
        sql_text(&q, "NULL");
        if (rows_int(c, C_ACTIVE)) {
            sql_text(&q, rows_int(c, C_LEAD_GONE) ? ", status = 'left', reason = 'lead-removed'"
                                                  : ", status = 'finished'");
            sql_text(&q, ", ended_at = UTC_TIMESTAMP(3)");
        }
    }
    sql_addf(&q, " WHERE id = %" PRIu64 " AND status = IF(%d, 'active', 'left')",
             rows_uint(c, C_ID), rows_int(c, C_ACTIVE) ? 1 : 0);
    bool ok = store_exec(db, &q, NULL, NULL, e);
    sql_done(&q);
    return ok;
}

/* Those whose last message is due by now, and those that have left: their rows are found by the
 * phone. */
static bool
contacts_body(struct store *db, void *arg, struct err *e)
{
    struct sql q = {0};
    struct rows ids, rows;
    uint64_t *n = arg;
    if (!store_queryf(db, &ids, e,
                      "SELECT id FROM sequence_contacts WHERE check_at <= UTC_TIMESTAMP(3) ORDER "
                      "BY check_at, id LIMIT %d",
                      CONTACTS_A_PASS)) {
        return false;
    }
    sql_text(
        &q,
        "SELECT n.id, n.status = 'active', COUNT(m.id), COALESCE(SUM(m.status IN "
        "('pending', 'processing', 'queued')), 0), COALESCE(SUM(m.status = 'sent'), 0), "
        "COALESCE(SUM(m.status = 'failed'), 0), COALESCE(SUM(m.status = 'skipped'), 0), "
        "COALESCE(SUM(m.status = 'unknown'), 0), COALESCE(SUM(m.status = 'unknown' AND "
        "m.decide_at IS NOT NULL), 0), COALESCE(SUM(m.error_class = 'lead-removed'), 0) "
        "FROM sequence_contacts n LEFT JOIN broadcast_messages m FORCE INDEX (messages_phone) ON "
        "m.recipient_phone = "
        "n.recipient_phone AND m.sequence_id = n.sequence_id AND m.device_id = "
        "n.device_id AND m.rotation = n.rotation WHERE n.id IN (");
    for (bool first = true; rows_next(&ids); first = false) {
        sql_text(&q, first ? "" : ",");
        sql_uint(&q, rows_uint(&ids, 0));
    }
    sql_text(&q, ") GROUP BY n.id, n.status");
    *n = ids.count;
    bool ok = ids.count == 0 || store_query(db, &q, &rows, e);
    if (ok && ids.count) {
        while (ok && rows_next(&rows)) {
            ok = write_contact(db, &rows, e);
        }
        rows_done(&rows);
    }
    rows_done(&ids);
    sql_done(&q);
    return ok;
}

/* Batch after batch, a transaction each, for a slice of time. */
bool
contacts_pass(struct reaper *r, struct err *e)
{
    int64_t until = clock_mono_ms() + CONTACTS_MS;
    for (uint64_t n = CONTACTS_A_PASS; n == CONTACTS_A_PASS && clock_mono_ms() < until;) {
        if (program_stopping) {
            break;
        }
        if (!store_transact(r->db, contacts_body, &n, e)) {
            return false;
        }
    }
    return true;
}

bool
progress_pass(struct reaper *r, struct err *e)
{
    struct rows rows;
    if (!count_campaigns(r, e) || !count_runs(r, e) ||
        !end_over(r, SOURCE_SEQUENCE, "sequence_contacts WHERE status = 'active' AND sequence_id",
                  e) ||
        !end_over(r, SOURCE_RECURRING,
                  "recurring_message_logs WHERE status = 'expanding' AND recurring_id", e) ||
        !store_queryf(r->db, &rows, e,
                      "SELECT COUNT(*) FROM broadcast_messages WHERE status = 'unknown'")) {
        return false;
    }
    if (rows_next(&rows)) {
        metric_set(&reaper_metrics[M_UNKNOWN_OPEN], rows_int(&rows, 0));
    }
    rows_done(&rows);
    return true;
}
