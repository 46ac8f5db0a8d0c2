/* cmd_status.c -- how things stand: what sends, devices, messages, queues, programs.  What cannot
 * be reached is named, and the rest is shown all the same. */
#include "ctl/command.h"
#include "ctl/ctl.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { WATCH_S = 1, ALIVE_MS = 10000 };

struct status_flags {
    bool watch;
};

static const struct flag status_flags[] = {
    {"watch", FLAG_BOOL, offsetof(struct status_flags, watch), NULL, NULL,
     "Again every second, until Ctrl-C.", false},
    {NULL, FLAG_BOOL, 0, NULL, NULL, NULL, false},
};

static const struct column campaign_columns[] = {
    {"id", "ID", SHOW_ID},
    {"name", "CAMPAIGN", SHOW_TEXT},
    {"status", "STATUS", SHOW_TEXT},
    {"total", "TOTAL", SHOW_INT},
    {"open", "OPEN", SHOW_INT},
    {"sent", "SENT", SHOW_INT},
    {"failed", "FAILED", SHOW_INT},
    {"skipped", "SKIPPED", SHOW_INT},
    {"unknown", "UNKNOWN", SHOW_INT},
    {"progress", "DONE", SHOW_PERCENT},
    {"scheduled_at", NULL, SHOW_TIME},
    {NULL, NULL, SHOW_TEXT},
};
static const struct column sequence_columns[] = {
    {"id", "ID", SHOW_ID},
    {"name", "SEQUENCE", SHOW_TEXT},
    {"status", "STATUS", SHOW_TEXT},
    {"active", "ACTIVE", SHOW_INT},
    {"finished", "FINISHED", SHOW_INT},
    {"left", "LEFT", SHOW_INT},
    {"asked", "ASKED", SHOW_INT},
    {NULL, NULL, SHOW_TEXT},
};
static const struct column recurring_columns[] = {
    {"id", "ID", SHOW_ID},
    {"name", "RECURRING", SHOW_TEXT},
    {"status", "STATUS", SHOW_TEXT},
    {"next_run_at", "NEXT RUN", SHOW_TIME},
    {"runs", "RUNS", SHOW_INT},
    {"total", "TOTAL", SHOW_INT},
    {"open", "OPEN", SHOW_INT},
    {"sent", "SENT", SHOW_INT},
    {"failed", "FAILED", SHOW_INT},
    {"skipped", "SKIPPED", SHOW_INT},
    {"unknown", "UNKNOWN", SHOW_INT},
    {NULL, NULL, SHOW_TEXT},
};
static const struct column device_columns[] = {
    {"status", "DEVICES", SHOW_TEXT}, {"devices", "COUNT", SHOW_INT}, {NULL, NULL, SHOW_TEXT}};
static const struct column message_columns[] = {
    {"status", "MESSAGES", SHOW_TEXT}, {"rows", "COUNT", SHOW_INT}, {NULL, NULL, SHOW_TEXT}};
static const struct column queue_columns[] = {
    {"devices_ready", NULL, SHOW_INT},         {"jobs_with_workers", NULL, SHOW_INT},
    {"results_waiting", NULL, SHOW_INT},       {"devices_known", NULL, SHOW_INT},
    {"partitions_recovering", NULL, SHOW_INT}, {NULL, NULL, SHOW_TEXT},
};
static const struct column fleet_columns[] = {
    {"role", "PROGRAM", SHOW_TEXT}, {"alive", "ALIVE", SHOW_INT}, {"silent", "SILENT", SHOW_INT},
    {"members", NULL, SHOW_TEXT},   {NULL, NULL, SHOW_TEXT},
};
static const struct column problem_columns[] = {
    {"what", "AWAY", SHOW_TEXT}, {"why", "WHY", SHOW_TEXT}, {NULL, NULL, SHOW_TEXT}};

/* --- MySQL ---------------------------------------------------------------------------- */

/* Runs a query of this user's and puts its rows under a key. */
static bool
put_rows(struct ctl *c, const char *before, const char *behind, const struct column *columns,
         const char *key, struct doc *d, struct err *e)
{
    struct sql q = {0};
    struct rows r;
    sql_text(&q, before);
    sql_uint(&q, c->user_id);
    sql_text(&q, behind);
    bool ok = store_query(c->store, &q, &r, e);
    sql_done(&q);
    if (ok) {
        doc_put(d, key, output_rows(&r, columns));
    }
    rows_done(&r);
    return ok;
}

static bool
put_campaigns(struct ctl *c, struct doc *d, struct err *e)
{
    return put_rows(
        c,
        "SELECT id, name, status, total, n_pending, n_sent, n_failed, n_skipped, n_unknown, "
        "IF(total = 0, NULL, FLOOR(100 * (n_sent + n_failed + n_skipped + n_unknown) / total)), "
        "scheduled_at FROM campaigns WHERE user_id = ",
        " AND (status IN ('scheduled', 'running', 'paused') OR finished_at > UTC_TIMESTAMP(3) - "
        "INTERVAL 1 DAY) ORDER BY id DESC LIMIT 20",
        campaign_columns, "campaigns", d, e);
}

#define CONTACTS(status)                                                                           \
    "(SELECT COUNT(*) FROM sequence_contacts x WHERE x.sequence_id = s.id AND x.status = " status  \
    ")"

static bool
put_sequences(struct ctl *c, struct doc *d, struct err *e)
{
    return put_rows(
        c,
        "SELECT s.id, s.name, s.status, " CONTACTS("'active'") ", " CONTACTS(
            "'finished'") ", " CONTACTS("'left'") ", (SELECT COUNT(*) FROM sequence_requests q "
                                                  "WHERE q.sequence_id = "
                                                  "s.id) FROM sequences s WHERE s.user_id = ",
        " AND (s.status IN ('active', 'paused') OR s.finished_at > UTC_TIMESTAMP(3) - "
        "INTERVAL 1 DAY) ORDER BY s.id DESC LIMIT 20",
        sequence_columns, "sequences", d, e);
}

static bool
put_recurring(struct ctl *c, struct doc *d, struct err *e)
{
    return put_rows(
        c,
        "SELECT m.id, m.name, m.status, m.next_run_at, m.executions, COALESCE(SUM(l.total), 0), "
        "COALESCE(SUM(l.n_pending), 0), COALESCE(SUM(l.n_sent), 0), COALESCE(SUM(l.n_failed), 0), "
        "COALESCE(SUM(l.n_skipped), 0), COALESCE(SUM(l.n_unknown), 0) FROM recurring_messages m "
        "LEFT JOIN recurring_message_logs l ON l.recurring_id = m.id WHERE m.user_id = ",
        " AND (m.status IN ('active', 'paused') OR m.finished_at > UTC_TIMESTAMP(3) - INTERVAL 1 "
        "DAY) GROUP BY m.id, m.name, m.status, m.next_run_at, m.executions ORDER BY m.id DESC "
        "LIMIT 20",
        recurring_columns, "recurring", d, e);
}

static const char *const statuses[] = {"pending", "processing", "queued", "sent",
                                       "failed",  "skipped",    "unknown"};
enum { STATUSES = sizeof statuses / sizeof *statuses };

/* Of campaigns the rows of those that go on; sequences and recurring messages do not end. */
static bool
count_open(struct ctl *c, enum source_kind kind, int64_t counts[STATUSES], struct err *e)
{
    struct sql q = {0};
    struct rows r;
    sql_text(&q, "SELECT m.status, COUNT(*) FROM ");
    sql_text(&q, sources[kind].table);
    sql_text(&q, " c JOIN broadcast_messages m ON m.");
    sql_text(&q, sources[kind].column);
    sql_addf(&q, " = c.id WHERE c.user_id = %" PRIu64, c->user_id);
    sql_text(&q, kind == SOURCE_CAMPAIGN ? " AND c.finished_at IS NULL GROUP BY m.status"
                                         : " GROUP BY m.status");
    bool ok = store_query(c->store, &q, &r, e);
    sql_done(&q);
    while (ok && rows_next(&r)) {
        for (size_t i = 0; i < STATUSES; i++) {
            counts[i] += strcmp(statuses[i], rows_str(&r, 0)) == 0 ? rows_int(&r, 1) : 0;
        }
    }
    rows_done(&r);
    return ok;
}

static bool
count_ended(struct ctl *c, int64_t counts[STATUSES], struct err *e)
{
    struct rows r;
    if (!store_queryf(c->store, &r, e,
                      "SELECT SUM(n_pending), 0, 0, SUM(n_sent), SUM(n_failed), SUM(n_skipped), "
                      "SUM(n_unknown) FROM campaigns WHERE user_id = %" PRIu64
                      " AND finished_at IS NOT NULL",
                      c->user_id)) {
        return false;
    }
    bool any = rows_next(&r);
    for (unsigned i = 0; any && i < STATUSES; i++) {
        counts[i] += rows_int(&r, i);
    }
    rows_done(&r);
    return true;
}

/* What has ended is known from its campaign; the rest is counted from its rows. */
static bool
put_messages(struct ctl *c, struct doc *d, struct err *e)
{
    int64_t counts[STATUSES] = {0};
    for (int i = 0; i < SOURCE_TABLES; i++) {
        if (!count_open(c, (enum source_kind)i, counts, e)) {
            return false;
        }
    }
    if (!count_ended(c, counts, e)) {
        return false;
    }
    struct doc *list = doc_put_list(d, "messages");
    for (size_t i = 0; i < STATUSES; i++) {
        if (counts[i]) {
            struct doc *one = doc_append(list);
            doc_put_str(one, "status", statuses[i]);
            doc_put_int(one, "rows", counts[i]);
        }
    }
    return true;
}

static bool
put_mysql(struct ctl *c, struct doc *d, struct err *e)
{
    return ctl_user(c, false, e) && put_campaigns(c, d, e) && put_sequences(c, d, e) &&
           put_recurring(c, d, e) &&
           put_rows(c, "SELECT status, COUNT(*) FROM devices WHERE user_id = ", " GROUP BY status",
                    device_columns, "devices", d, e) &&
           put_messages(c, d, e);
}

/* --- Redis ---------------------------------------------------------------------------- */

static void
put_depths(const struct ctl *c, const struct queue_depths *depths, unsigned n, struct doc *d)
{
    struct queue_depths sum = {0};
    int64_t recovering = 0;
    for (unsigned p = 0; p < n; p++) {
        sum.ready += depths[p].ready;
        sum.leases += depths[p].leases;
        sum.results += depths[p].results;
        sum.devices += depths[p].devices;
        recovering += queue_state(c->queue, p) != PARTITION_OPEN;
    }
    struct doc *q = doc_put_object(d, "queue");
    doc_put_int(q, "devices_ready", sum.ready);
    doc_put_int(q, "jobs_with_workers", sum.leases);
    doc_put_int(q, "results_waiting", sum.results);
    doc_put_int(q, "devices_known", sum.devices);
    doc_put_int(q, "partitions_recovering", recovering);
}

/* Names are role/host.pid.word/version. */
static void
put_fleet(const struct queue_fleet *fleet, struct doc *d)
{
    static const char *const roles[] = {"producer", "worker", "reaper"};
    struct doc *list = doc_put_list(d, "fleet");
    for (size_t i = 0; i < sizeof roles / sizeof *roles; i++) {
        struct doc *one = doc_append(list), *members = doc_list();
        size_t len = strlen(roles[i]);
        int64_t alive = 0, silent = 0;
        for (size_t k = 0; k < fleet->n; k++) {
            const struct queue_member *m = &fleet->members[k];
            if (strncmp(m->name, roles[i], len) == 0 && m->name[len] == '/') {
                *(m->silent_ms < ALIVE_MS ? &alive : &silent) += 1;
                doc_append_str(members, m->name);
            }
        }
        doc_put_str(one, "role", roles[i]);
        doc_put_int(one, "alive", alive);
        doc_put_int(one, "silent", silent);
        doc_put(one, "members", members);
    }
}

static bool
put_redis(struct ctl *c, struct doc *d, struct err *e)
{
    if (!ctl_queue(c, e)) {
        return false;
    }
    unsigned n = queue_partitions(c->queue);
    struct queue_depths *depths = xcalloc(n, sizeof *depths);
    struct queue_fleet *fleet = xcalloc(1, sizeof *fleet);
    struct err why = {0};
    for (unsigned p = 0; p < n; p++) {
        queue_refresh(c->queue, p);
        queue_depths(c->queue, p, &depths[p], ctl_asked, &why);
    }
    queue_beat(c->queue, NULL, BEAT_ALIVE, fleet, ctl_asked, &why);
    queue_wait(c->queue);
    if (!why.kind) {
        put_depths(c, depths, n, d);
        put_fleet(fleet, d);
    }
    free(depths);
    free(fleet);
    *e = why;
    return !why.kind;
}

/* --- all together --------------------------------------------------------------------- */

static void
put_problem(struct doc *d, const char *what, const struct err *e)
{
    struct doc *problem = doc_append(d);
    doc_put_str(problem, "what", what);
    doc_put_str(problem, "why", e->text);
}

static int
show(struct ctl *c)
{
    static const struct section sections[] = {
        {"problems", NULL, problem_columns},
        {"campaigns", NULL, campaign_columns},
        {"sequences", NULL, sequence_columns},
        {"recurring", NULL, recurring_columns},
        {"messages", NULL, message_columns},
        {"devices", NULL, device_columns},
        {"queue", NULL, queue_columns},
        {"fleet", NULL, fleet_columns},
        {NULL, NULL, NULL},
    };
    struct err e = {0};
    struct doc *d = doc_object(), *problems = doc_list();
    if (!put_mysql(c, d, &e)) {
        put_problem(problems, "MySQL", &e);
    }
    e = (struct err){0};
    if (!put_redis(c, d, &e)) {
        put_problem(problems, "Redis", &e);
        ctl_queue_drop(c); /* --watch looks again */
    }
    int code = doc_len(problems) ? CTL_COULD_NOT : CTL_OK;
    if (doc_len(problems)) {
        doc_put(d, "problems", problems);
    } else {
        doc_free(problems);
    }
    output_report(&c->out, sections, d);
    return code;
}

static int
status(struct ctl *c, const struct args *a)
{
    const struct status_flags *f = a->flags;
    bool clear = f->watch && !c->json && isatty(STDOUT_FILENO) == 1;
    for (;;) {
        if (clear) {
            (void)fputs("\x1b[H\x1b[2J", stdout);
        }
        int code = show(c);
        if (!f->watch || fflush(stdout) != 0) {
            return code;
        }
        (void)nanosleep(&(struct timespec){WATCH_S, 0}, NULL);
        if (!clear && !c->json) {
            puts("");
        }
    }
}

const struct command status_commands[] = {
    {"status", NULL, "", 0, 0, status_flags, sizeof(struct status_flags), status,
     "How things stand: campaigns, sequences, recurring messages, messages, devices, queues, "
     "programs."},
    {NULL, NULL, NULL, 0, 0, NULL, 0, NULL, NULL},
};
