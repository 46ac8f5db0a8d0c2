#include "reaper/reaper.h"
#include "shared/clock.h"
#include "shared/fault.h"
#include "shared/log.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { POLICY_ROWS = 500, MEMBER_ALIVE_MS = 5000, MEMBER_GONE_MS = 30000 };

/* --- unknown rows whose source has a policy
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
                      "SELECT m.id, COALESCE(c.on_unknown, s.on_unknown, r.on_unknown, 'hold'), "
                      "m.attempt >= COALESCE(c.max_attempts, s.max_attempts, r.max_attempts, 5) "
                      "FROM broadcast_messages m LEFT JOIN campaigns c ON c.id = m.campaign_id "
                      "LEFT JOIN sequences s ON s.id = m.sequence_id LEFT JOIN recurring_messages "
                      "r ON r.id = m.recurring_id WHERE m.status = 'unknown' AND "
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
members_alive(struct reaper *r, struct err *e)
{
    return write_members(r, true, "INSERT INTO fleet_members (name, seen_at) VALUES ",
                         " ON DUPLICATE KEY UPDATE seen_at = UTC_TIMESTAMP(3)", e);
}

bool
members_gone(struct reaper *r, struct err *e)
{
    return write_members(r, false, "DELETE FROM fleet_members WHERE name IN (", ")", e);
}
