/* cmd_audit.c -- questions with a yes or no: exit code 0 clean, 1 found something, 2 could not
 * look. None of them changes anything.  What moves while it is looked at is looked at again before
 * it counts. */
#include "ctl/audit.h"
#include "ctl/command.h"
#include "shared/archive.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { BATCH = 5000, STUCK_LIMIT = 1000, SETTLE_S = 10 };

static const struct column finding_columns[] = {{"kind", "FOUND", SHOW_TEXT},
                                                {"message", "MESSAGE", SHOW_ID},
                                                {"detail", "DETAIL", SHOW_TEXT},
                                                {NULL, NULL, SHOW_TEXT}};
static const struct column fact_columns[] = {
    {"what", "LOOKED AT", SHOW_TEXT}, {"count", "COUNT", SHOW_INT}, {NULL, NULL, SHOW_TEXT}};

void
audit_found(struct audit *a, const char *kind, uint64_t message, const char *fmt, ...)
{
    char detail[400];
    va_list ap;
    if (++a->n > AUDIT_SHOWN) {
        return;
    }
    va_start(ap, fmt);
    (void)vsnprintf(detail, sizeof detail, fmt, ap);
    va_end(ap);
    struct doc *d = doc_append(a->findings);
    doc_put_str(d, "kind", kind);
    if (message) {
        doc_put_id(d, "message", message);
    } else {
        doc_put_str(d, "message", NULL);
    }
    doc_put_str(d, "detail", detail);
}

void
audit_fact(struct audit *a, const char *what, int64_t count)
{
    struct doc *d = doc_append(a->facts);
    doc_put_str(d, "what", what);
    doc_put_int(d, "count", count);
}

bool
audit_rows(struct audit *a, const char *kind, const char *before, const char *behind, struct err *e)
{
    struct sql q = {0};
    struct rows r;
    sql_text(&q, before);
    sql_uint(&q, a->c->user_id);
    sql_text(&q, behind);
    sql_addf(&q, " LIMIT %d", STUCK_LIMIT);
    bool ok = store_query(a->c->store, &q, &r, e);
    sql_done(&q);
    while (ok && rows_next(&r)) {
        audit_found(a, kind, rows_uint(&r, 0), "%s %s", rows_str(&r, 1), rows_str(&r, 2));
    }
    rows_done(&r);
    return ok;
}

static int
report(struct audit *a)
{
    static const struct section sections[] = {
        {"facts", NULL, fact_columns}, {"findings", NULL, finding_columns}, {NULL, NULL, NULL}};
    struct doc *d = doc_object();
    doc_put_bool(d, "clean", a->n == 0);
    doc_put_id(d, "found", a->n);
    doc_put(d, "facts", a->facts);
    if (a->n || a->c->json) {
        doc_put(d, "findings", a->findings);
    } else {
        doc_free(a->findings);
    }
    output_report(&a->c->out, sections, d);
    if (!a->c->json) {
        printf(a->n ? "\n%" PRIu64 " found\n" : "\nclean\n", a->n);
    }
    if (a->n > AUDIT_SHOWN) {
        ctl_note("the first %d findings are shown", AUDIT_SHOWN);
    }
    return a->n ? CTL_FAILED : CTL_OK;
}

static int
run(struct ctl *c, bool (*look)(struct audit *, struct err *))
{
    struct err e = {0};
    struct audit a = {.c = c, .findings = doc_list(), .facts = doc_list()};
    if (ctl_user(c, false, &e) && look(&a, &e)) {
        return report(&a);
    }
    doc_free(a.findings);
    doc_free(a.facts);
    (void)ctl_fail(&e);
    return CTL_COULD_NOT;
}

/* --- duplicates ----------------------------------------------------------------------- */

/* The rows of one campaign in the order of (recipient, device). */
struct walk {
    struct audit *a;
    uint64_t campaign;
    const char *name;
    char phone[40]; /* of the last row */
    uint64_t device, message;
    int64_t sent;     /* rows of this phone */
    struct sql again; /* ids of rows that were tried more than once: "1, 2" */
    int64_t rows, resent;
};

static void
end_phone(struct walk *w)
{
    if (w->sent > 1) {
        audit_found(w->a, "recipient", w->message,
                    "campaign %.100s: one recipient was sent %" PRId64
                    " messages, by different devices",
                    w->name, w->sent);
    }
    w->sent = 0;
}

static void
take_row(struct walk *w, const struct rows *r)
{
    if (strcmp(rows_str(r, 0), w->phone) != 0) {
        end_phone(w);
        (void)snprintf(w->phone, sizeof w->phone, "%s", rows_str(r, 0));
    }
    w->device = rows_uint(r, 1);
    w->rows++;
    if (strcmp(rows_str(r, 3), "sent") != 0) {
        return;
    }
    w->message = rows_uint(r, 2);
    w->sent++;
    w->resent += rows_int(r, 4) > 0;
    if (rows_int(r, 4) > 0 || rows_int(r, 5) > 1) {
        sql_text(&w->again, w->again.text.len ? ", " : "");
        sql_uint(&w->again, w->message);
    }
}

/* Two deliveries that each reported success.  After an unknown outcome that is the price of a
 * decision to send again, and counted as such; without one it must not be. */
static bool
check_again(struct walk *w, int64_t *proven, struct err *e)
{
    struct sql q = {0};
    struct rows r;
    if (!w->again.text.len) {
        return true;
    }
    sql_text(&q, "SELECT x.message_id, COUNT(*), COALESCE((SELECT unknowns FROM broadcast_messages "
                 "WHERE id = x.message_id), (SELECT unknowns FROM broadcast_messages_archive WHERE "
                 "id = x.message_id)) FROM (SELECT message_id, gen, token FROM message_events "
                 "WHERE event = 'sent' AND message_id IN (");
    buf_add(&q.text, w->again.text.data, w->again.text.len);
    sql_text(&q, ") UNION SELECT message_id, gen, token FROM message_events_archive WHERE event = "
                 "'sent' AND message_id IN (");
    buf_add(&q.text, w->again.text.data, w->again.text.len);
    sql_text(&q, ")) AS x GROUP BY x.message_id HAVING COUNT(*) > 1");
    bool ok = store_query(w->a->c->store, &q, &r, e);
    while (ok && rows_next(&r)) {
        if (rows_int(&r, 2) > 0) {
            ++*proven;
        } else {
            audit_found(w->a, "sent-twice", rows_uint(&r, 0),
                        "%" PRId64 " deliveries of it reported success", rows_int(&r, 1));
        }
    }
    rows_done(&r);
    sql_done(&q);
    sql_clear(&w->again);
    return ok;
}

/* The next rows of one table, in the order of the walk. */
static void
add_walk(struct sql *q, const struct walk *w, const char *head)
{
    sql_text(q, head);
    sql_addf(q,
             "campaign_id = %" PRIu64
             " AND (recipient_phone > %s OR (recipient_phone = %s AND device_id > %" PRIu64
             ")) ORDER BY recipient_phone, device_id LIMIT %d)",
             w->campaign, w->phone, w->phone, w->device, BATCH);
}

static bool
walk_campaign(struct walk *w, int64_t *proven, struct err *e)
{
    struct sql q = {0};
    struct rows r;
    for (uint64_t n = BATCH; n == BATCH;) {
        sql_clear(&q);
        add_walk(&q, w,
                 "(SELECT recipient_phone, device_id, id, status, unknowns, attempt FROM "
                 "broadcast_messages FORCE INDEX (messages_campaign_recipient) WHERE ");
        add_walk(&q, w,
                 " UNION ALL (SELECT recipient_phone, device_id, id, status, unknowns, "
                 "attempt FROM broadcast_messages_archive FORCE INDEX "
                 "(archive_campaign_recipient) WHERE ");
        sql_addf(&q, " ORDER BY 1, 2 LIMIT %d", BATCH);
        bool ok = store_query(w->a->c->store, &q, &r, e);
        sql_done(&q);
        if (!ok) {
            return false;
        }
        n = r.count;
        while (rows_next(&r)) {
            take_row(w, &r);
        }
        rows_done(&r);
        if (!check_again(w, proven, e)) {
            return false;
        }
    }
    end_phone(w);
    return true;
}

/* Two rows with one job id cannot be while the key is there. */
static bool
check_key(struct audit *a, struct err *e)
{
    struct rows r;
    if (!store_queryf(a->c->store, &r, e,
                      "SELECT COUNT(*) FROM information_schema.statistics WHERE table_schema = "
                      "DATABASE() AND "
                      "table_name = 'broadcast_messages' AND non_unique = 0 AND index_name IN "
                      "('messages_job', "
                      "'messages_campaign_recipient') AND seq_in_index = 1")) {
        return false;
    }
    if (!rows_next(&r) || rows_int(&r, 0) != 2) {
        audit_found(a, "key", 0,
                    "a unique key of broadcast_messages that keeps messages single is missing: "
                    "restore messages_job and messages_campaign_recipient");
    }
    rows_done(&r);
    return true;
}

/* A message that was made again while the first one is in the archive. */
static bool
find_twins(struct audit *a, struct err *e)
{
    struct archive_choice all = {.user_id = a->c->user_id};
    struct archive *archive = NULL;
    struct archive_seen seen = {0};
    int64_t looked = 0;
    bool ok = archive_open_restore(a->c->store, &all, &archive, e);
    while (ok && !seen.done) {
        ok = archive_step(archive, true, &seen, e);
        looked += (int64_t)seen.looked;
        for (size_t i = 0; ok && i < seen.n_twins; i++) {
            audit_found(a, "made-again", seen.twins[i],
                        "it is in the archive, and a message of the same job id is in "
                        "broadcast_messages; see: paceline message trace");
        }
    }
    archive_close(archive);
    if (looked) {
        audit_fact(a, "archived messages", looked);
    }
    return ok;
}

/* What other sources sent more than once: recipients and job ids are one there, so it is enough to
 * look at those that were tried again. */
static bool
walk_devices(struct walk *w, int64_t *proven, struct err *e)
{
    struct rows devices, r;
    bool ok = store_queryf(w->a->c->store, &devices, e,
                           "SELECT id FROM devices WHERE user_id = %" PRIu64, w->a->c->user_id);
    while (ok && rows_next(&devices)) {
        ok = store_queryf(w->a->c->store, &r, e,
                          "SELECT id, unknowns > 0, attempt > 1 FROM broadcast_messages WHERE "
                          "status = 'sent' AND device_id = %" PRIu64 " AND campaign_id IS NULL",
                          rows_uint(&devices, 0));
        while (ok && rows_next(&r)) {
            w->rows++;
            w->resent += rows_int(&r, 1);
            if (rows_int(&r, 1) || rows_int(&r, 2)) {
                sql_text(&w->again, w->again.text.len ? ", " : "");
                sql_uint(&w->again, rows_uint(&r, 0));
            }
        }
        rows_done(&r);
        ok = ok && check_again(w, proven, e);
    }
    rows_done(&devices);
    sql_done(&w->again);
    return ok;
}

static bool
duplicates(struct audit *a, struct err *e)
{
    struct rows r;
    int64_t rows = 0, resent = 0, proven = 0;
    if (!check_key(a, e) || !find_twins(a, e) ||
        !store_queryf(a->c->store, &r, e,
                      "SELECT id, name FROM campaigns WHERE user_id = %" PRIu64 " ORDER BY id",
                      a->c->user_id)) {
        return false;
    }
    bool ok = true;
    while (ok && rows_next(&r)) {
        struct walk w = {.a = a, .campaign = rows_uint(&r, 0), .name = rows_str(&r, 1)};
        ok = walk_campaign(&w, &proven, e);
        rows += w.rows;
        resent += w.resent;
        sql_done(&w.again);
    }
    struct walk others = {.a = a};
    ok = ok && walk_devices(&others, &proven, e);
    resent += others.resent;
    audit_fact(a, "campaigns", (int64_t)r.count);
    audit_fact(a, "messages", rows);
    audit_fact(a, "sent by other sources", others.rows);
    audit_fact(a, "sent again after an unknown outcome", resent);
    audit_fact(a, "of these delivered twice for certain", proven);
    rows_done(&r);
    return ok;
}

static int
audit_duplicates(struct ctl *c, const struct args *a)
{
    (void)a;
    return run(c, duplicates);
}

/* --- stuck ---------------------------------------------------------------------------- */

/* The campaigns that a reaper should have ended; its round may just be under way. */
static bool
find_unended(struct audit *a, struct err *e)
{
    static const char before[] = "SELECT 0, c.name, 'has only final messages and is not marked as "
                                 "finished: is a reaper running?' "
                                 "FROM campaigns c WHERE c.user_id = ";
    static const char behind[] =
        " AND ((c.status = 'running' AND c.expanded_at IS NOT NULL) OR (c.status = 'cancelled' AND "
        "c.finished_at IS NULL)) AND NOT EXISTS (SELECT 1 FROM broadcast_messages m WHERE "
        "m.campaign_id = c.id AND "
        "m.status IN ('pending', 'processing', 'queued')) AND NOT EXISTS (SELECT 1 FROM "
        "broadcast_messages m WHERE "
        "m.campaign_id = c.id AND m.status = 'unknown' AND m.decide_at IS NOT NULL)";
    for (int i = 0; i < SETTLE_S; i++) {
        struct audit look = {.c = a->c, .findings = doc_list()};
        bool ok = audit_rows(&look, "unended", before, behind, e);
        doc_free(look.findings);
        if (!ok || !look.n) {
            return ok;
        }
        (void)nanosleep(&(struct timespec){1, 0}, NULL);
    }
    return audit_rows(a, "unended", before, behind, e);
}

static bool
stuck(struct audit *a, struct err *e)
{
    return audit_rows(a, "processing",
                      "SELECT m.id, 'claimed since', m.processing_started_at FROM "
                      "broadcast_messages m WHERE "
                      "m.status = 'processing' AND m.processing_started_at < UTC_TIMESTAMP(3) - "
                      "INTERVAL 5 MINUTE AND "
                      "m.user_id = ",
                      " ORDER BY m.processing_started_at, m.id", e) &&
           audit_devices(a, false, e) && find_unended(a, e) &&
           audit_rows(
               a, "ended-early",
               "SELECT 0, c.name, 'is marked as ended and has messages that are not' FROM "
               "campaigns c WHERE c.user_id = ",
               /* LIMIT: an EXISTS may be turned into a walk through all rows. */
               " AND c.finished_at IS NOT NULL AND (SELECT m.id FROM broadcast_messages m WHERE "
               "m.campaign_id = c.id AND m.status IN ('pending', 'processing', 'queued') LIMIT 1) "
               "IS NOT NULL",
               e) &&
           audit_rows(
               a, "unsteered",
               "SELECT 0, c.name, CONCAT('is ', c.status, ', but Redis was told ', "
               "c.steered) FROM campaigns c "
               "WHERE c.user_id = ",
               " AND c.updated_at < UTC_TIMESTAMP(3) - INTERVAL 10 SECOND AND c.steered <> "
               "CASE WHEN c.status = "
               "'paused' THEN 'paused' WHEN c.status = 'cancelled' AND c.finished_at IS NULL "
               "THEN 'cancelled' "
               "ELSE 'none' END",
               e) &&
           audit_rows(a, "unsteered",
                      "SELECT 0, d.name, 'was changed and Redis was not told: is a producer "
                      "running?' FROM devices d "
                      "WHERE d.unsteered = 1 AND d.user_id = ",
                      " AND d.updated_at < UTC_TIMESTAMP(3) - INTERVAL 10 SECOND", e) &&
           audit_sources(a, e);
}

static int
audit_stuck(struct ctl *c, const struct args *a)
{
    (void)a;
    return run(c, stuck);
}

/* --- conservation --------------------------------------------------------------------- */

static bool
conservation(struct audit *a, struct err *e)
{
    return audit_counts(a, e) && audit_devices(a, true, e) && audit_leases(a, e);
}

static int
audit_conservation(struct ctl *c, const struct args *a)
{
    (void)a;
    return run(c, conservation);
}

/* --- receipts ------------------------------------------------------------------------- */

/* A receipt that names a job of ours which is not there is a riddle; one that names none may be of
 * a message that somebody else has sent from the same account. */
static bool
receipts(struct audit *a, struct err *e)
{
    struct rows r;
    int64_t waiting = 0, orphans = 0;
    if (!store_queryf(a->c->store, &r, e,
                      "SELECT state, COUNT(*) FROM receipts WHERE state IN ('new', 'orphan') AND "
                      "user_id = %" PRIu64 " GROUP BY state",
                      a->c->user_id)) {
        return false;
    }
    while (rows_next(&r)) {
        *(strcmp(rows_str(&r, 0), "new") == 0 ? &waiting : &orphans) = rows_int(&r, 1);
    }
    rows_done(&r);
    audit_fact(a, "receipts that wait for their message", waiting);
    audit_fact(a, "orphans, of no message that is known", orphans);
    return audit_rows(a, "orphan",
                      "SELECT 0, CONCAT(section, ': ', kind, ' of job ', job_id, ':', attempt, "
                      "', which is not there, received'), received_at FROM receipts WHERE state = "
                      "'orphan' AND job_id IS NOT NULL AND user_id = ",
                      "", e) &&
           audit_rows(a, "stop",
                      "SELECT 0, CONCAT(section, ': somebody whose phone is not told said ', "
                      "detail), received_at FROM receipts WHERE state = 'orphan' AND consent_phone "
                      "= '' AND user_id = ",
                      "", e) &&
           audit_rows(a, "unapplied",
                      "SELECT 0, CONCAT(section, ': ', kind, ' should have been looked at: is a "
                      "reaper running? received'), received_at FROM receipts WHERE state = 'new' "
                      "AND due_at < UTC_TIMESTAMP(3) - INTERVAL 1 MINUTE AND user_id = ",
                      " ORDER BY due_at, id", e);
}

static int
audit_receipts(struct ctl *c, const struct args *a)
{
    (void)a;
    return run(c, receipts);
}

const struct command audit_commands[] = {
    {"audit", "duplicates", "", 0, 0, NULL, 0, audit_duplicates,
     "Was anybody sent a message twice?"},
    {"audit", "stuck", "", 0, 0, NULL, 0, audit_stuck,
     "Does anything stand still that should move?"},
    {"audit", "conservation", "", 0, 0, NULL, 0, audit_conservation,
     "Is every message in exactly one place, in MySQL and in Redis?"},
    {"audit", "receipts", "", 0, 0, NULL, 0, audit_receipts,
     "Has every receipt of a provider met its message?"},
    {NULL, NULL, NULL, 0, 0, NULL, 0, NULL, NULL},
};
