#include "reaper/reaper.h"
#include "shared/clock.h"
#include "shared/fault.h"
#include "shared/log.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { POLICY_ROWS = 500, MEMBER_ALIVE_MS = 5000, MEMBER_GONE_MS = 30000 };

/* --- unknown rows whose campaign has a policy
 * ---------------------------------------------------------- */

struct decided {
    uint64_t ids[POLICY_ROWS];
    size_t n;
    uint64_t changed;
    const char *policy, *event, *set;
};

static bool
decide_body(struct store *db, void *arg, struct err *e)
{
    struct decided *d = arg;
    struct sql q = {0};
    sql_text(&q, "INSERT IGNORE INTO message_events (message_id, gen, token, event, actor, "
                 "happened_at, detail) SELECT id, gen, "
                 "attempt, ");
    sql_addf(&q, "%s, 'policy', UTC_TIMESTAMP(3), %s FROM broadcast_messages WHERE id IN (",
             d->event, d->policy);
    sql_ids(&q, d->ids, d->n);
    sql_text(&q, ") AND status = 'unknown' AND decide_at <= UTC_TIMESTAMP(3)");
    bool ok = store_exec(db, &q, NULL, NULL, e);
    sql_clear(&q);
    sql_text(&q, "UPDATE broadcast_messages SET ");
    sql_text(&q, d->set);
    sql_text(&q, ", decide_at = NULL, updated_at = UTC_TIMESTAMP(3) WHERE id IN (");
    sql_ids(&q, d->ids, d->n);
    sql_text(&q, ") AND status = 'unknown' AND decide_at <= UTC_TIMESTAMP(3)");
    ok = ok && store_exec(db, &q, &d->changed, NULL, e);
    sql_done(&q);
    return ok;
}

static bool
decide(struct reaper *r, struct decided *d, enum reaper_metric m, struct err *e)
{
    if (!d->n) {
        return true;
    }
    if (!store_transact(r->db, decide_body, d, e)) {
        return false;
    }
    FAULT("policy.applied");
    metric_add(&reaper_metrics[m], (int64_t)d->changed);
    log_info("unknown_decided", "policy", LOG_S(d->policy), "rows", LOG_I(d->changed));
    return true;
}

bool
policy_pass(struct reaper *r, struct err *e)
{
    struct decided resend = {.policy = "resend",
                             .event = "resend",
                             .set = "status = 'pending', scheduled_at = UTC_TIMESTAMP(3)"};
    struct decided assume = {
        .policy = "assume_sent",
        .event = "assume",
        .set = "status = 'sent', sent_at = UTC_TIMESTAMP(3), error_class = 'assumed'"};
    struct decided hold = {.policy = "hold", .event = "hold", .set = "error_class = error_class"};
    struct rows rows;
    if (!store_queryf(r->db, &rows, e,
                      "SELECT m.id, COALESCE(c.on_unknown, 'hold'), m.attempt >= "
                      "COALESCE(c.max_attempts, 5) FROM "
                      "broadcast_messages m LEFT JOIN campaigns c ON c.id = m.campaign_id WHERE "
                      "m.status = 'unknown' AND "
                      "m.decide_at <= UTC_TIMESTAMP(3) ORDER BY m.decide_at, m.id LIMIT %d",
                      POLICY_ROWS)) {
        return false;
    }
    while (rows_next(&rows)) {
        enum unknown_policy policy = unknown_policy_parse(rows_str(&rows, 1));
        /* Attempts are bounded: after the last one a person decides. */
        struct decided *d = policy == POLICY_ASSUME_SENT                     ? &assume
                            : policy == POLICY_RESEND && !rows_int(&rows, 2) ? &resend
                                                                             : &hold;
        d->ids[d->n++] = rows_uint(&rows, 0);
    }
    rows_done(&rows);
    return decide(r, &resend, M_RESENT, e) && decide(r, &assume, M_ASSUMED, e) &&
           decide(r, &hold, M_UNCHANGED, e);
}

/* --- campaigns' progress and end
 * ----------------------------------------------------------------------- */

struct progress {
    uint64_t id;
    uint64_t count[7]; /* by enum row_status */
    bool deciding;     /* an unknown row still has its policy to come */
    bool whole;        /* before the count: the audience was complete, or will not grow any more */
};

static bool
count_rows(struct reaper *r, struct progress *p, struct err *e)
{
    struct rows rows;
    if (!store_queryf(r->db, &rows, e,
                      "SELECT status, COUNT(*) FROM broadcast_messages WHERE campaign_id = %" PRIu64
                      " GROUP BY status",
                      p->id)) {
        return false;
    }
    while (rows_next(&rows)) {
        enum row_status s;
        if (row_status_parse(rows_str(&rows, 0), &s)) {
            p->count[s] = rows_uint(&rows, 1);
        }
    }
    rows_done(&rows);
    if (!p->count[ROW_UNKNOWN]) {
        return true;
    }
    if (!store_queryf(r->db, &rows, e,
                      "SELECT 1 FROM broadcast_messages WHERE campaign_id = %" PRIu64
                      " AND status = 'unknown' AND decide_at IS NOT NULL LIMIT 1",
                      p->id)) {
        return false;
    }
    p->deciding = rows.count > 0;
    rows_done(&rows);
    return true;
}

/* Finished only when the terminal states add up to the whole audience.  Whether the audience is
 * whole was read before the count, and open rows are looked for once more in the very statement
 * that ends the campaign. */
static bool
write_progress(struct reaper *r, const struct progress *p, struct err *e)
{
    uint64_t open = p->count[ROW_PENDING] + p->count[ROW_PROCESSING] + p->count[ROW_QUEUED],
             ended = 0;
    uint64_t final =
        p->count[ROW_SENT] + p->count[ROW_FAILED] + p->count[ROW_SKIPPED] + p->count[ROW_UNKNOWN];
    if (!p->whole) {
        return true;
    }
    if (!store_execf(r->db, NULL, e,
                     "UPDATE campaigns SET total = %" PRIu64 ", n_pending = %" PRIu64
                     ", n_sent = %" PRIu64 ", n_failed = %" PRIu64 ", n_skipped = %" PRIu64
                     ", n_unknown = %" PRIu64 ", counted_at = UTC_TIMESTAMP(3) WHERE id = %" PRIu64,
                     open + final, open, p->count[ROW_SENT], p->count[ROW_FAILED],
                     p->count[ROW_SKIPPED], p->count[ROW_UNKNOWN], p->id)) {
        return false;
    }
    if (open || p->deciding) {
        return true;
    }
    if (!store_execf(
            r->db, &ended, e,
            "UPDATE campaigns SET status = IF(status = 'running', 'finished', status), "
            "finished_at = UTC_TIMESTAMP(3), updated_at = UTC_TIMESTAMP(3) WHERE id = %" PRIu64
            " AND finished_at IS NULL AND ((status = 'running' AND expanded_at IS NOT NULL) OR "
            "status = "
            "'cancelled') AND NOT EXISTS (SELECT 1 FROM broadcast_messages m WHERE m.campaign_id = "
            "%" PRIu64 " AND m.status IN ('pending', 'processing', 'queued'))",
            p->id, p->id)) {
        return false;
    }
    if (ended) {
        log_info("campaign_ended", "campaign", LOG_I(p->id), "sent", LOG_I(p->count[ROW_SENT]),
                 "failed", LOG_I(p->count[ROW_FAILED]), "skipped", LOG_I(p->count[ROW_SKIPPED]),
                 "unknown", LOG_I(p->count[ROW_UNKNOWN]));
    }
    return true;
}

bool
progress_pass(struct reaper *r, struct err *e)
{
    struct rows rows;
    bool ok = true;
    if (!store_queryf(r->db, &rows, e,
                      "SELECT id, expanded_at IS NOT NULL FROM campaigns WHERE status IN "
                      "('running', 'paused') "
                      "UNION ALL SELECT id, 1 FROM campaigns WHERE status = 'cancelled' AND "
                      "finished_at IS NULL")) {
        return false;
    }
    while (ok && rows_next(&rows) && !program_stopping) {
        struct progress p = {.id = rows_uint(&rows, 0), .whole = rows_int(&rows, 1)};
        ok = count_rows(r, &p, e) && write_progress(r, &p, e);
    }
    rows_done(&rows);
    if (!ok || !store_queryf(r->db, &rows, e,
                             "SELECT COUNT(*) FROM broadcast_messages WHERE status = 'unknown'")) {
        return false;
    }
    if (rows_next(&rows)) {
        metric_set(&reaper_metrics[M_UNKNOWN_OPEN], rows_int(&rows, 0));
    }
    rows_done(&rows);
    return true;
}

/* --- the list of workers that survives Redis
 * ----------------------------------------------------------- */

static bool
write_members(struct reaper *r, bool alive, const char *head, const char *tail, struct err *e)
{
    struct sql q = {0};
    bool any = false;
    sql_text(&q, head);
    for (size_t i = 0; i < r->fleet.n; i++) {
        const struct queue_member *m = &r->fleet.members[i];
        bool is_wanted = alive ? m->silent_ms < MEMBER_ALIVE_MS : m->silent_ms > MEMBER_GONE_MS;
        if (strncmp(m->name, "worker/", 7) != 0 || !is_wanted) {
            continue;
        }
        sql_text(&q, any ? "," : "");
        any = true;
        sql_addf(&q, alive ? "(%s, UTC_TIMESTAMP(3))" : "%s", m->name);
    }
    sql_text(&q, tail);
    bool ok = !any || store_exec(r->db, &q, NULL, NULL, e);
    sql_done(&q);
    return ok;
}

bool
members_pass(struct reaper *r, struct err *e)
{
    return write_members(r, true, "INSERT INTO fleet_members (name, seen_at) VALUES ",
                         " ON DUPLICATE KEY UPDATE seen_at = UTC_TIMESTAMP(3)", e) &&
           write_members(r, false, "DELETE FROM fleet_members WHERE name IN (", ")", e);
}
