/* recurring.c -- occurrences of recurring messages.  One is claimed by moving next_run_at from its
 * nominal instant to the next one, in the transaction that writes its log line; whoever else sees
 * it due finds another next_run_at.  All times are the database's, so no host's clock matters.
 * What a run's audience becomes is the work of any producer, behind the cursor in the log line. */
#include "producer/audience.h"
#include "producer/recurring_plan.h"
#include "shared/clock.h"
#include "shared/fault.h"
#include "shared/log.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { REASON_SIZE = 190, SLICE_MS = 200, CLAIM_MS = 1000, CLAIM_RULES = 32 };
/* A host without this zone, or with old zone files, leaves a rule to others for so long. */
enum { ZONE_PATIENCE_S = 60 };

/* --- rules ------------------------------------------------------------------------------------ */

#define RULE_COLUMNS                                                                               \
    "freq, every, weekdays, month_days, at_times, cron, time_zone, start_local, "                  \
    "COALESCE(end_date_local, ''), month_policy, gap_policy, COALESCE(" EPOCH_OF(                  \
        "next_run_at") ", 0), next_run_at IS NOT NULL, " EPOCH_OF("planned_after")
enum { RULE_NEXT = 11, RULE_PLANNED, RULE_AFTER, RULE_N };

static bool
read_rule(const struct rows *r, struct recur **ret, struct err *e)
{
    const struct recur_text t = {
        .freq = rows_str(r, 0),
        .every = rows_int(r, 1),
        .weekdays = rows_str(r, 2),
        .month_days = rows_str(r, 3),
        .at = rows_str(r, 4),
        .cron = rows_str(r, 5),
        .zone = rows_str(r, 6),
        .start = rows_str(r, 7),
        .end_date = rows_str(r, 8),
        .month_policy = rows_str(r, 9),
        .gap_policy = rows_str(r, 10),
    };
    return recur_parse(&t, ret, e);
}

/* A rule that an application wrote and that cannot be read is paused, with the reason in sight. */
static bool
pause_rule(struct store *db, uint64_t rule, const struct err *why, struct err *e)
{
    char reason[REASON_SIZE + 1];
    (void)snprintf(reason, sizeof reason, "%.190s", why->text);
    log_error("recurring_refused", "recurring", LOG_I(rule), "why", LOG_S(why->text));
    return store_execf(db, NULL, e,
                       "UPDATE recurring_messages SET status = 'paused', status_reason = %s, "
                       "updated_at = UTC_TIMESTAMP(3) WHERE id = %" PRIu64,
                       reason, rule);
}

static bool
set_next(struct store *db, uint64_t rule, bool over, int64_t next, int64_t after,
         int64_t executions, struct err *e)
{
    struct sql q = {0};
    sql_text(&q, "UPDATE recurring_messages SET next_run_at = ");
    if (over) {
        sql_text(&q, "NULL, status = 'finished'"); /* finished_at: when its last message is final */
    } else {
        sql_epoch(&q, next);
    }
    sql_text(&q, ", planned_after = ");
    sql_epoch(&q, after);
    sql_addf(&q,
             ", executions = %" PRId64 ", updated_at = UTC_TIMESTAMP(3) WHERE id = %" PRIu64
             " AND status = 'active'",
             executions, rule);
    bool ok = store_exec(db, &q, NULL, NULL, e);
    sql_done(&q);
    return ok;
}

/* --- claiming --------------------------------------------------------------------------------- */

struct claim_run {
    uint64_t rule, user;
    struct recurring_policy policy;
    struct recurring_claim claim;
    int64_t now_s, due, after;
    bool present, planned, adaptive;
    struct recur *recur;
    struct err refused; /* why the rule cannot be read */
    bool patient;       /* that may be this host's fault, and others may do better */
    int64_t gap_percent;
};

static bool
read_claim(struct store *db, struct claim_run *c, struct err *e)
{
    struct rows r;
    if (!store_queryf(
            db, &r, e,
            "SELECT " RULE_COLUMNS ", delay = 'adaptive', user_id, catch_up, catch_up_max, "
            "max_run_lateness_s, max_executions, "
            "executions, run_overlap = 'skip', " EPOCH_OF(
                "UTC_TIMESTAMP()") ", TIMESTAMPDIFF(SECOND, GREATEST(COALESCE("
                                   "next_run_at, updated_at), updated_at), "
                                   "UTC_TIMESTAMP()) FROM recurring_messages WHERE id = %" PRIu64
                                   " AND status = 'active' FOR UPDATE",
            c->rule)) {
        return false;
    }
    c->present = rows_next(&r);
    if (c->present) {
        const char *catch_up = rows_str(&r, RULE_N + 2);
        c->adaptive = rows_int(&r, RULE_N) != 0;
        c->user = rows_uint(&r, RULE_N + 1);
        c->due = rows_int(&r, RULE_NEXT);
        c->planned = rows_int(&r, RULE_PLANNED) != 0;
        c->after = rows_int(&r, RULE_AFTER);
        c->policy = (struct recurring_policy){
            .catch_up = strcmp(catch_up, "all") == 0    ? CATCH_UP_ALL
                        : strcmp(catch_up, "skip") == 0 ? CATCH_UP_SKIP
                                                        : CATCH_UP_ONE,
            .catch_up_max = rows_int(&r, RULE_N + 3),
            .max_lateness_s = rows_int(&r, RULE_N + 4),
            .max_executions = rows_int(&r, RULE_N + 5),
            .executions = rows_int(&r, RULE_N + 6),
            .skip_overlap = rows_int(&r, RULE_N + 7) != 0,
        };
        c->now_s = rows_int(&r, RULE_N + 8);
        if (!read_rule(&r, &c->recur, &c->refused)) {
            c->recur = NULL;
            c->patient = strncmp(c->refused.text, "zone", 4) == 0 &&
                         rows_int(&r, RULE_N + 9) < ZONE_PATIENCE_S;
        }
    }
    rows_done(&r);
    return true;
}

/* Whether an earlier run is not through yet, where that matters. */
static bool
read_running(struct store *db, struct claim_run *c, struct err *e)
{
    struct rows r;
    if (!c->policy.skip_overlap) {
        return true;
    }
    if (!store_queryf(db, &r, e,
                      "SELECT 1 FROM recurring_message_logs FORCE INDEX (recurring_logs_open) "
                      "WHERE recurring_id = %" PRIu64
                      " AND status IN ('expanding', 'running') LIMIT 1",
                      c->rule)) {
        return false;
    }
    c->policy.running = r.count > 0;
    rows_done(&r);
    return true;
}

/* An adaptive rule goes on by what came of the run before. */
static bool
read_last_run(struct store *db, struct claim_run *c, struct err *e)
{
    struct rows r;
    c->gap_percent = 100;
    if (!c->adaptive) {
        return true;
    }
    if (!store_queryf(db, &r, e,
                      "SELECT total, n_failed + n_unknown FROM recurring_message_logs FORCE INDEX "
                      "(recurring_logs_once) WHERE recurring_id = %" PRIu64
                      " AND status = 'finished' ORDER BY occurrence_at DESC LIMIT 1",
                      c->rule)) {
        return false;
    }
    if (rows_next(&r)) {
        c->gap_percent = recurring_gap_percent(rows_int(&r, 0), rows_int(&r, 1));
    }
    rows_done(&r);
    return true;
}

static void
add_log(struct sql *q, const struct claim_run *c, const struct occurrence *o, bool first)
{
    static const char *const fates[] = {
        [OCCURRENCE_RUNS] = "'expanding','',NULL",
        [OCCURRENCE_MISSED] = "'missed','late',UTC_TIMESTAMP(3)",
        [OCCURRENCE_OVERLAPS] = "'skipped','overlap',UTC_TIMESTAMP(3)",
    };
    sql_text(q, first ? "(" : ",(");
    sql_addf(q, "%" PRIu64 ",%" PRIu64 ",", c->rule, c->user);
    sql_epoch(q, o->at);
    sql_text(q, ",");
    sql_text(q, fates[o->fate]);
    sql_addf(q, ",%" PRId64 ",UTC_TIMESTAMP(3))", (c->now_s - o->at) * 1000);
}

static bool
write_claim(struct store *db, const struct claim_run *c, struct err *e)
{
    struct sql q = {0};
    bool ok = true;
    sql_text(&q, "INSERT INTO recurring_message_logs (recurring_id, user_id, occurrence_at, "
                 "status, reason, finished_at, late_ms, started_at) VALUES ");
    for (size_t i = 0; i < c->claim.n; i++) {
        add_log(&q, c, &c->claim.list[i], i == 0);
    }
    if (c->claim.n) {
        /* The key refuses an occurrence that has been claimed before, by whatever way. */
        sql_text(&q, " ON DUPLICATE KEY UPDATE late_ms = late_ms");
        ok = store_exec(db, &q, NULL, NULL, e) &&
             store_execf(db, NULL, e,
                         "UPDATE recurring_messages SET gap_percent = %" PRId64
                         " WHERE id = %" PRIu64,
                         c->gap_percent, c->rule);
    }
    sql_done(&q);
    return ok && set_next(db, c->rule, c->claim.over, c->claim.next, c->claim.after,
                          c->claim.executions, e);
}

static bool
claim_body(struct store *db, void *arg, struct err *e)
{
    struct claim_run *c = arg;
    recur_free(c->recur);
    c->recur = NULL;
    c->claim = (struct recurring_claim){0};
    if (!read_claim(db, c, e)) {
        return false;
    }
    if (!c->present) {
        return true;
    }
    if (!c->recur) {
        return c->patient || pause_rule(db, c->rule, &c->refused, e);
    }
    if (!c->planned) {
        int64_t next = 0;
        bool over = !recur_next(c->recur, c->after, &next);
        return set_next(db, c->rule, over, next, c->after, c->policy.executions, e);
    }
    if (c->due > c->now_s) {
        return true; /* somebody else was quicker */
    }
    if (!read_running(db, c, e) || !read_last_run(db, c, e)) {
        return false;
    }
    recurring_plan(c->recur, &c->policy, c->due, c->now_s, &c->claim);
    if (!write_claim(db, c, e)) {
        return false;
    }
    FAULT("recurring.claimed");
    return true;
}

static void
report(const struct claim_run *c)
{
    static const char *const words[] = {"recurring_run", "recurring_missed", "recurring_overlap"};
    for (size_t i = 0; i < c->claim.n; i++) {
        const struct occurrence *o = &c->claim.list[i];
        metric_add(&producer_metrics[o->fate == OCCURRENCE_RUNS ? M_RUNS : M_MISSED], 1);
        log_info(words[o->fate], "recurring", LOG_I(c->rule), "occurrence", LOG_I(o->at), "late_s",
                 LOG_I(c->now_s - o->at));
    }
}

static bool
claim_one(struct producer *p, uint64_t rule, struct err *e)
{
    struct claim_run *c = xcalloc(1, sizeof *c);
    c->rule = rule;
    bool ok = store_transact(p->db, claim_body, c, e);
    recur_free(c->recur);
    if (ok) {
        FAULT("recurring.committed");
        report(c);
        p->next_recurring = c->claim.more ? 0 : p->next_recurring;
        if (c->patient && program_due(&p->next_warning, 10000)) {
            log_warn("recurring_left_to_others", "recurring", LOG_I(rule), "why",
                     LOG_S(c->refused.text));
        }
    }
    free(c);
    return ok || err_wrap(e, "recurring %" PRIu64, rule);
}

/* All that is due is claimed before any of it is written: claims are quick, and one that waits for
 * another's audience would come too late. */
static bool
claim_due(struct producer *p, struct err *e)
{
    struct source_ids due = {.n = CLAIM_RULES};
    int64_t until = clock_mono_ms() + CLAIM_MS;
    while (due.n >= CLAIM_RULES && clock_mono_ms() < until && !program_stopping) {
        if (!source_read_ids(
                p->db,
                "(SELECT id, user_id FROM recurring_messages WHERE status = 'active' AND "
                "next_run_at IS NULL LIMIT 32) UNION ALL (SELECT id, user_id FROM "
                "recurring_messages WHERE status = 'active' AND next_run_at <= UTC_TIMESTAMP(3) "
                "ORDER BY next_run_at LIMIT 32)",
                &due, e)) {
            return false;
        }
        for (size_t i = 0; i < due.n && !program_stopping; i++) {
            if (!claim_one(p, due.id[i], e) && !source_refused(SOURCE_RECURRING, due.id[i], e)) {
                return false;
            }
        }
    }
    return true;
}

/* --- runs ------------------------------------------------------------------------------------- */

struct run {
    struct audience a;
    uint64_t log;
    char from[32]; /* the run's begin: what its messages are due from */
    bool present;
    uint64_t inserted;
};

static bool
read_run(struct store *db, struct run *x, struct err *e)
{
    struct audience *a = &x->a;
    struct rows r;
    if (!store_queryf(db, &r, e,
                      "SELECT g.recurring_id, g.user_id, " EPOCH_OF(
                          "g.occurrence_at") ", g.started_at, m.max_lateness_s, m.niche, "
                                             "m.target_status, m.all_devices, m.audience = "
                                             "'contacts', g.audience_max, g.cursor_device, "
                                             "g.cursor_lead, g.audience_max IS NULL FROM "
                                             "recurring_message_logs g JOIN recurring_messages m "
                                             "ON m.id = g.recurring_id WHERE g.id = %" PRIu64
                                             " AND g.status = 'expanding' AND m.status <> "
                                             "'cancelled' FOR UPDATE",
                      x->log)) {
        return false;
    }
    x->present = rows_next(&r);
    bool fresh = false;
    if (x->present) {
        (void)snprintf(x->from, sizeof x->from, "%s", rows_str(&r, 3));
        a->row = (struct message_row){
            .kind = SOURCE_RECURRING,
            .source = rows_uint(&r, 0),
            .user = rows_uint(&r, 1),
            .occurrence_s = rows_int(&r, 2),
            .from = x->from,
            .max_lateness_s = rows_int(&r, 4),
        };
        (void)snprintf(a->niche, sizeof a->niche, "%s", rows_str(&r, 5));
        (void)snprintf(a->target_status, sizeof a->target_status, "%s", rows_str(&r, 6));
        a->all_devices = rows_int(&r, 7) != 0;
        a->contacts = rows_int(&r, 8) != 0;
        a->max = rows_uint(&r, 9);
        a->cursor_device = rows_uint(&r, 10);
        a->cursor_lead = rows_uint(&r, 11);
        fresh = rows_int(&r, 12) != 0;
    }
    rows_done(&r);
    return !fresh || audience_snapshot(db, a, e);
}

static bool
run_body(struct store *db, void *arg, struct err *e)
{
    struct run *x = arg;
    struct audience *a = &x->a;
    x->inserted = 0;
    if (!read_run(db, x, e) || (x->present && !audience_gather(db, a, e))) {
        return false;
    }
    if (!x->present) {
        /* Of a cancelled rule no more rows are made. */
        return store_execf(db, NULL, e,
                           "UPDATE recurring_message_logs SET status = 'running', reason = "
                           "'cancelled', expanded_at = UTC_TIMESTAMP(3) WHERE id = %" PRIu64
                           " AND status = 'expanding'",
                           x->log);
    }
    if (a->rows && !store_exec(db, &a->insert, &x->inserted, NULL, e)) {
        return false;
    }
    FAULT("run.inserted");
    return store_execf(db, NULL, e,
                       "UPDATE recurring_message_logs SET audience_max = %" PRIu64
                       ", cursor_device = %" PRIu64 ", cursor_lead = %" PRIu64
                       ", total = total + %" PRIu64
                       ", status = IF(%d, 'running', status), expanded_at = IF(%d, "
                       "UTC_TIMESTAMP(3), NULL) WHERE id = %" PRIu64,
                       a->max, a->cursor_device, a->cursor_lead, x->inserted, a->complete ? 1 : 0,
                       a->complete ? 1 : 0, x->log);
}

static bool
expand_run(struct producer *p, uint64_t log, uint64_t rule, uint64_t *ret_rows, struct err *e)
{
    struct run x = {.log = log, .a = {.limit = (size_t)p->s->expand_batch}};
    bool mine = false;
    if (!source_try_lock(p, SOURCE_RECURRING, rule, &mine, e)) {
        return false;
    }
    if (!mine) {
        return true;
    }
    bool ok = store_transact(p->db, run_body, &x, e);
    sql_done(&x.a.insert);
    if (ok) {
        FAULT("run.committed");
        *ret_rows += x.inserted;
        metric_add(&producer_metrics[M_ROWS], (int64_t)x.inserted);
    }
    return source_unlock(p, SOURCE_RECURRING, rule, ok, e);
}

/* Runs take turns, a batch each, until the slice is over: what is due is dispatched in between. */
static bool
expand_runs(struct producer *p, uint64_t *ret_rows, struct err *e)
{
    struct source_ids open;
    struct sql q = {0};
    int64_t until = clock_mono_ms() + SLICE_MS;
    sql_addf(&q,
             "SELECT id, recurring_id FROM recurring_message_logs WHERE status = 'expanding' AND "
             "id > %" PRIu64 " ORDER BY id LIMIT %d",
             p->turn_run, SOURCES_A_TICK);
    bool ok = source_read_ids(p->db, q.text.data, &open, e);
    sql_done(&q);
    p->turn_run = 0;
    for (size_t i = 0; ok && i < open.n && clock_mono_ms() < until && !program_stopping; i++) {
        ok = expand_run(p, open.id[i], open.owner[i], ret_rows, e) ||
             source_refused(SOURCE_RECURRING, open.owner[i], e);
        p->turn_run = i + 1 < open.n || open.n == SOURCES_A_TICK ? open.id[i] : 0;
    }
    p->next_recurring = p->turn_run ? 0 : p->next_recurring;
    return ok;
}

/* --- after a new edition of the zones --------------------------------------------------------- */

/* What was planned by older zone files is planned anew, at start and every hour. */
static bool
refresh_rules(struct producer *p, struct err *e)
{
    uint64_t last = 0;
    for (uint64_t n = SOURCES_A_TICK; n == SOURCES_A_TICK && !program_stopping;) {
        struct rows r;
        if (!store_queryf(p->db, &r, e,
                          "SELECT " RULE_COLUMNS
                          ", id FROM recurring_messages WHERE status = 'active' AND next_run_at > "
                          "UTC_TIMESTAMP(3) AND id > %" PRIu64 " ORDER BY id LIMIT %d",
                          last, SOURCES_A_TICK)) {
            return false;
        }
        n = r.count;
        bool ok = true;
        while (ok && rows_next(&r)) {
            struct recur *rule = NULL;
            struct err ignored = {0}; /* its claim will say so */
            int64_t next = 0, planned = rows_int(&r, RULE_NEXT);
            last = rows_uint(&r, RULE_N);
            if (read_rule(&r, &rule, &ignored) &&
                recur_next(rule, rows_int(&r, RULE_AFTER), &next) && next != planned) {
                struct sql q = {0};
                sql_text(&q, "UPDATE recurring_messages SET next_run_at = ");
                sql_epoch(&q, next);
                sql_addf(&q,
                         " WHERE id = %" PRIu64 " AND status = 'active' AND next_run_at = ", last);
                sql_epoch(&q, planned);
                ok = store_exec(p->db, &q, NULL, NULL, e);
                sql_done(&q);
                log_info("recurring_replanned", "recurring", LOG_I(last), "from", LOG_I(planned),
                         "to", LOG_I(next));
            }
            recur_free(rule);
        }
        rows_done(&r);
        if (!ok) {
            return false;
        }
    }
    return true;
}

bool
recurring_tick(struct producer *p, uint64_t *ret_rows, struct err *e)
{
    return (!program_due(&p->next_refresh, 3600 * 1000) || refresh_rules(p, e)) &&
           claim_due(p, e) && expand_runs(p, ret_rows, e);
}
