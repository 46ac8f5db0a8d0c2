/* cmd_message.c -- everything that is known of one message. */
#include "ctl/command.h"
#include "ctl/ctl.h"
#include "shared/phone.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { LIST_MAX = 50 };

struct trace_flags {
    const char *by, *country;
};

static const struct flag trace_flags[] = {
    {"by", FLAG_WORD, offsetof(struct trace_flags, by), "id|job|phone", NULL,
     "What the argument is; by itself: an id if there is such a message, else a phone.", false},
    {"country", FLAG_TEXT, offsetof(struct trace_flags, country), "60", NULL,
     "Calling code for a phone that begins with 0.", false},
    {NULL, FLAG_BOOL, 0, NULL, NULL, NULL, false},
};

#define MESSAGE_COLUMNS                                                                            \
    "m.id, m.job_id, m.status, m.recipient_phone, m.recipient_name, COALESCE(c.name, s.name, "     \
    "r.name), d.name, m.device_id, "                                                               \
    "m.kind, NULLIF(" SOURCE_ID_SQL ", 0), m.rotation, m.occurrence_at, m.scheduled_at, "          \
    "m.expires_at, m.gen, m.attempt, m.deferrals, m.unknowns, "                                    \
    "m.decide_at, "                                                                                \
    "m.provider_message_id, m.error_class, m.error_message, m.created_at, "                        \
    "m.processing_started_at, "                                                                    \
    "m.processing_worker_id, m.queued_at, m.sent_at, m.receipt, m.receipt_at, m.receipt_code, "    \
    "m.updated_at, "
#define MESSAGE_JOINS                                                                              \
    " m LEFT JOIN campaigns c ON c.id = m.campaign_id AND c.user_id = m.user_id "                  \
    "LEFT JOIN sequences s ON s.id = m.sequence_id AND s.user_id = m.user_id "                     \
    "LEFT JOIN recurring_messages r ON r.id = m.recurring_id AND r.user_id = m.user_id "           \
    "LEFT JOIN devices d ON d.id = m.device_id AND d.user_id = m.user_id "

static const struct column columns[] = {
    {"id", "ID", SHOW_ID},
    {"job_id", "JOB", SHOW_TEXT},
    {"status", "STATUS", SHOW_TEXT},
    {"phone", "PHONE", SHOW_TEXT},
    {"name", "NAME", SHOW_TEXT},
    {"source", "SOURCE", SHOW_TEXT},
    {"device", "DEVICE", SHOW_TEXT},
    {"device_id", NULL, SHOW_ID},
    {"kind", "KIND", SHOW_TEXT},
    {"source_id", NULL, SHOW_ID},
    {"rotation", NULL, SHOW_INT},
    {"occurrence_at", NULL, SHOW_TIME},
    {"scheduled_at", "SCHEDULED", SHOW_TIME},
    {"expires_at", NULL, SHOW_TIME},
    {"gen", NULL, SHOW_INT},
    {"attempt", NULL, SHOW_INT},
    {"deferrals", NULL, SHOW_INT},
    {"unknowns", NULL, SHOW_INT},
    {"decide_at", NULL, SHOW_TIME},
    {"provider_id", NULL, SHOW_TEXT},
    {"error_class", NULL, SHOW_TEXT},
    {"error", NULL, SHOW_TEXT},
    {"created_at", NULL, SHOW_TIME},
    {"claimed_at", NULL, SHOW_TIME},
    {"claimed_by", NULL, SHOW_TEXT},
    {"queued_at", NULL, SHOW_TIME},
    {"sent_at", NULL, SHOW_TIME},
    {"receipt", "RECEIPT", SHOW_TEXT},
    {"receipt_at", NULL, SHOW_TIME},
    {"receipt_code", NULL, SHOW_TEXT},
    {"updated_at", NULL, SHOW_TIME},
    {"archived_at", "ARCHIVED", SHOW_TIME},
    {NULL, NULL, SHOW_TEXT},
};

static const struct column hop_columns[] = {
    {"at", "TIME", SHOW_TIME},       {"event", "WHAT", SHOW_TEXT}, {"actor", "WHO", SHOW_TEXT},
    {"gen", "GEN", SHOW_INT},        {"token", "TOKEN", SHOW_ID},  {"code", "CODE", SHOW_TEXT},
    {"detail", "DETAIL", SHOW_TEXT}, {"send_ms", "TOOK", SHOW_MS}, {NULL, NULL, SHOW_TEXT},
};

static const struct column receipt_columns[] = {
    {"at", "TIME", SHOW_TIME},       {"kind", "WHAT", SHOW_TEXT},   {"section", "WHO", SHOW_TEXT},
    {"received", "CAME", SHOW_TIME}, {"state", "STATE", SHOW_TEXT}, {"code", "CODE", SHOW_TEXT},
    {"detail", "DETAIL", SHOW_TEXT}, {NULL, NULL, SHOW_TEXT},
};

static const struct column redis_columns[] = {
    {"state", NULL, SHOW_TEXT}, {"gen", NULL, SHOW_INT},    {"entry", NULL, SHOW_TEXT},
    {"token", NULL, SHOW_INT},  {"owner", NULL, SHOW_TEXT}, {"result", NULL, SHOW_TEXT},
    {NULL, NULL, SHOW_TEXT},
};

/* --- which message -------------------------------------------------------------------- */

/* Messages of this user, in the ledger and in the archive; where is a condition, up to the value.
 */
static bool
query(struct ctl *c, const char *where, const char *text, uint64_t id, struct rows *r,
      struct err *e)
{
    struct sql q = {0};
    for (int archive = 0; archive < 2; archive++) {
        sql_text(&q, archive ? ") UNION ALL (SELECT " MESSAGE_COLUMNS
                               "m.archived_at FROM broadcast_messages_archive" MESSAGE_JOINS
                             : "(SELECT " MESSAGE_COLUMNS
                               "NULL FROM broadcast_messages" MESSAGE_JOINS);
        sql_text(&q, "WHERE ");
        sql_text(&q, where);
        if (text) {
            sql_str(&q, text);
        } else {
            sql_uint(&q, id);
        }
        sql_addf(&q, " AND m.user_id = %" PRIu64 " ORDER BY m.id DESC LIMIT %d", c->user_id,
                 LIST_MAX);
    }
    sql_addf(&q, ") ORDER BY 1 DESC LIMIT %d", LIST_MAX);
    bool ok = store_query(c->store, &q, r, e);
    sql_done(&q);
    return ok;
}

static bool
is_way(const char *by, const char *way)
{
    return !by || strcmp(by, way) == 0;
}

/* Tries the ways in turn until one finds something. */
static bool
find(struct ctl *c, const struct trace_flags *f, const char *text, struct rows *r, struct err *e)
{
    uint64_t id;
    char phone[PHONE_SIZE];
    *r = (struct rows){0};
    if (is_way(f->by, "id") && ctl_parse_id(text, &id) && !query(c, "m.id = ", NULL, id, r, e)) {
        return false;
    }
    if (!r->count && is_way(f->by, "job")) {
        rows_done(r);
        if (!query(c, "m.job_id = ", text, 0, r, e)) {
            return false;
        }
    }
    struct err why = {0};
    if (!r->count && is_way(f->by, "phone") &&
        phone_normalise(text, strlen(text), f->country, phone, &why)) {
        rows_done(r);
        if (!query(c, "m.recipient_phone = ", phone, 0, r, e)) {
            return false;
        }
    }
    return r->count ||
           err_set(e, ERR_GONE, "user '%.60s' has no message with the %s '%.80s'%s%s", c->user,
                   f->by ? f->by : "id, job id or phone", text, why.kind ? "; " : "", why.text);
}

/* --- what happened -------------------------------------------------------------------- */

static void
put_hop(struct doc *hops, const struct doc *message, const char *at, const char *event,
        const char *actor)
{
    const char *time = doc_str(doc_get(message, at));
    if (*time) {
        struct doc *h = doc_append(hops);
        doc_put_str(h, "at", time);
        doc_put_str(h, "event", event);
        doc_put_str(h, "actor", *actor ? actor : NULL);
    }
}

static int
by_time(const void *a, const void *b)
{
    return strcmp(doc_str(doc_get(*(const struct doc *const *)a, "at")),
                  doc_str(doc_get(*(const struct doc *const *)b, "at")));
}

/* The row's own times and the history, in order of time. */
static struct doc *
sorted(const struct doc *hops)
{
    size_t n = doc_len(hops);
    const struct doc **list = xcalloc(n + 1, sizeof(struct doc *));
    struct doc *out = doc_list();
    for (size_t i = 0; i < n; i++) {
        list[i] = doc_at(hops, i);
    }
    qsort(list, n, sizeof(struct doc *), by_time);
    for (size_t i = 0; i < n; i++) {
        doc_append_copy(out, list[i]);
    }
    free(list);
    return out;
}

/* A producer that skips a message writes only the row. */
static void
put_skipped(struct doc *hops, const struct doc *message)
{
    bool told = strcmp(doc_str(doc_get(message, "status")), "skipped") != 0;
    for (size_t i = 0; i < doc_len(hops); i++) {
        told = told || strcmp(doc_str(doc_get(doc_at(hops, i), "event")), "skipped") == 0;
    }
    if (!told) {
        put_hop(hops, message, "updated_at", "skipped", "producer");
    }
}

static bool
put_hops(struct ctl *c, uint64_t id, struct doc *message, struct err *e)
{
    struct rows r;
    /* UNION leaves out a line that a repeated result has left on both sides. */
    if (!store_queryf(c->store, &r, e,
                      "SELECT happened_at, event, actor, gen, token, code, detail, send_ms FROM "
                      "message_events WHERE message_id = %" PRIu64
                      " UNION SELECT happened_at, event, actor, gen, token, code, detail, send_ms "
                      "FROM message_events_archive WHERE message_id = %" PRIu64
                      " ORDER BY gen, token",
                      id, id)) {
        return false;
    }
    struct doc *hops = output_rows(&r, hop_columns);
    rows_done(&r);
    put_hop(hops, message, "created_at", "created", "producer");
    put_hop(hops, message, "claimed_at", "claimed", doc_str(doc_get(message, "claimed_by")));
    put_hop(hops, message, "queued_at", "queued", doc_str(doc_get(message, "claimed_by")));
    put_skipped(hops, message);
    put_hop(hops, message, "archived_at", "archived", "");
    doc_put(message, "hops", sorted(hops));
    doc_free(hops);
    return true;
}

/* The inbox's lines with the provider's id; older ones have been deleted. */
static bool
put_receipts(struct ctl *c, struct doc *message, struct err *e)
{
    struct rows r;
    const char *id = doc_str(doc_get(message, "provider_id"));
    if (!*id) {
        return true;
    }
    if (!store_queryf(c->store, &r, e,
                      "SELECT happened_at, kind, section, received_at, state, code, detail FROM "
                      "receipts WHERE user_id = %" PRIu64 " AND provider_message_id = %s ORDER BY "
                      "happened_at, id LIMIT %d",
                      c->user_id, id, LIST_MAX)) {
        return false;
    }
    doc_put(message, "receipts", output_rows(&r, receipt_columns));
    rows_done(&r);
    return true;
}

/* --- where it is ---------------------------------------------------------------------- */

/* "L 3 1763-0 17 worker": see prologue.lua. */
static void
put_state(struct doc *d, char *state)
{
    static const struct {
        char letter;
        const char *text;
    } states[] = {
        {'S', "staged: not deliverable yet"},         {'W', "waiting in the device's stream"},
        {'L', "leased to a worker, not sent"},        {'P', "permitted: the request may have left"},
        {'D', "finished, on its way to MySQL"},       {'R', "given back, on its way to MySQL"},
        {'U', "outcome unknown, on its way to MySQL"}};
    static const char *const held[] = {"gen", "entry", "token", "owner"}, *const settled[] = {
                                                                              "gen", "token",
                                                                              "result"};
    char letter = *state, *rest = NULL;
    for (size_t i = 0; i < sizeof states / sizeof *states; i++) {
        if (states[i].letter == letter) {
            doc_put_str(d, "state", states[i].text);
        }
    }
    bool is_settled = letter == 'D' || letter == 'R' || letter == 'U';
    size_t n = is_settled ? 3 : 4;
    (void)strtok_r(state, " ", &rest);
    for (size_t i = 0; i < n; i++) {
        const char *key = is_settled ? settled[i] : held[i], *word = strtok_r(NULL, " ", &rest);
        if (!word) {
            return;
        }
        if (strcmp(key, "gen") == 0 || strcmp(key, "token") == 0) {
            doc_put_int(d, key, strtoll(word, NULL, 10));
        } else {
            doc_put_str(d, key, word);
        }
    }
}

static void
put_redis(struct ctl *c, uint64_t device, const char *job, struct doc *d)
{
    struct err e = {0};
    struct queue_ids ids = {0};
    if (ctl_queue(c, &e)) {
        queue_ids(c->queue, device, &ids, ctl_asked, &e);
        queue_wait(c->queue);
    }
    doc_put_str(d, "state", e.kind ? e.text : "Redis does not know it");
    for (size_t i = 0; i < ids.n; i++) {
        if (strcmp(ids.ids[i].id, job) == 0) {
            put_state(d, ids.ids[i].state);
        }
    }
    free(ids.ids);
}

static int
trace(struct ctl *c, const struct args *a)
{
    static const struct section sections[] = {
        {"", NULL, columns},
        {"hops", "What happened:", hop_columns},
        {"receipts", "What the provider told:", receipt_columns},
        {"redis", "In Redis now:", redis_columns},
        {NULL, NULL, NULL}};
    struct err e = {0};
    struct rows r = {0};
    if (!ctl_user(c, false, &e) || !find(c, a->flags, a->operands[0], &r, &e)) {
        rows_done(&r);
        return ctl_fail(&e);
    }
    if (r.count > 1) {
        struct doc *messages = output_rows(&r, columns);
        rows_done(&r);
        output_list(&c->out, columns, messages);
        ctl_note("several messages, at most %d and the newest first; trace one by its id",
                 LIST_MAX);
        return CTL_OK;
    }
    struct doc *message = doc_object();
    uint64_t id = 0, device = 0;
    if (rows_next(&r)) {
        output_row(&r, 0, columns, message);
        id = rows_uint(&r, 0);
        device = rows_uint(&r, 7);
    }
    rows_done(&r);
    if (!put_hops(c, id, message, &e) || !put_receipts(c, message, &e)) {
        doc_free(message);
        return ctl_fail(&e);
    }
    struct doc *redis = doc_put_object(message, "redis");
    put_redis(c, device, doc_str(doc_get(message, "job_id")), redis);
    output_report(&c->out, sections, message);
    return CTL_OK;
}

const struct command message_commands[] = {
    {"message", "trace", "ID|JOB-ID|PHONE", 1, 1, trace_flags, sizeof(struct trace_flags), trace,
     "One message, everything that happened to it, and where it is now."},
    {NULL, NULL, NULL, 0, 0, NULL, 0, NULL, NULL},
};
