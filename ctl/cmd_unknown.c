/* cmd_unknown.c -- messages of which nobody knows whether they were sent: people look, and decide.
 * A decision is a compare-and-set on status = 'unknown' and writes its line of the message's
 * history. */
#include "ctl/command.h"
#include "ctl/ctl.h"
#include "ctl/source_names.h"
#include "shared/unknown_source.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { BATCH = 500, REFUSED_SHOWN = 50 };

/* --- list ----------------------------------------------------------------------------- */

struct list_flags {
    struct source_names names;
    int64_t limit;
};

static const struct flag list_flags[] = {
    {"campaign", FLAG_TEXT, offsetof(struct list_flags, names.of[SOURCE_CAMPAIGN]), "NAME", NULL,
     "Only of this campaign.", false},
    {"sequence", FLAG_TEXT, offsetof(struct list_flags, names.of[SOURCE_SEQUENCE]), "NAME", NULL,
     "Only of this sequence.", false},
    {"recurring", FLAG_TEXT, offsetof(struct list_flags, names.of[SOURCE_RECURRING]), "NAME", NULL,
     "Only of this recurring message.", false},
    {"limit", FLAG_INT, offsetof(struct list_flags, limit), "1..100000", "200", "How many at most.",
     false},
    {NULL, FLAG_BOOL, 0, NULL, NULL, NULL, false},
};

static const struct column columns[] = {
    {"id", "ID", SHOW_ID},
    {"kind", "KIND", SHOW_TEXT},
    {"source", "SOURCE", SHOW_TEXT},
    {"device", "DEVICE", SHOW_TEXT},
    {"phone", "PHONE", SHOW_TEXT},
    {"age_ms", "FOR", SHOW_MS},
    {"attempt", "ATTEMPTS", SHOW_INT},
    {"reason", "REASON", SHOW_TEXT},
    {"detail", "DETAIL", SHOW_TEXT},
    {"decide_at", "DECIDED AT", SHOW_TIME},
    {"job_id", NULL, SHOW_TEXT},
    {"unknowns", NULL, SHOW_INT},
    {NULL, NULL, SHOW_TEXT},
};

/* By the user's devices, because that is how unknown rows are found without reading others. */
static bool
query_list(struct ctl *c, enum source_kind kind, uint64_t source, int64_t limit, struct rows *r,
           struct err *e)
{
    struct sql q = {0};
    sql_addf(
        &q,
        "SELECT m.id, m.kind, CASE m.user_id WHEN c.user_id THEN c.name WHEN s.user_id THEN s.name "
        "WHEN r.user_id THEN r.name END, d.name, m.recipient_phone, 1000 * "
        "TIMESTAMPDIFF(SECOND, "
        "m.updated_at, "
        "UTC_TIMESTAMP(3)), m.attempt, m.error_class, m.error_message, m.decide_at, m.job_id, "
        "m.unknowns "
        "FROM devices d JOIN broadcast_messages m ON m.device_id = d.id AND m.status = 'unknown' "
        "LEFT JOIN campaigns c ON c.id = m.campaign_id LEFT JOIN sequences s ON s.id = "
        "m.sequence_id LEFT JOIN recurring_messages r ON r.id = m.recurring_id "
        "WHERE d.user_id = %" PRIu64 " AND m.user_id = %" PRIu64,
        c->user_id, c->user_id);
    if (source) {
        sql_text(&q, " AND m.");
        sql_text(&q, sources[kind].column);
        sql_addf(&q, " = %" PRIu64, source);
    }
    sql_addf(&q, " ORDER BY m.id LIMIT %" PRId64, limit + 1);
    bool ok = store_query(c->store, &q, r, e);
    sql_done(&q);
    return ok;
}

static int
list(struct ctl *c, const struct args *a)
{
    const struct list_flags *f = a->flags;
    struct err e = {0};
    struct found source;
    enum source_kind kind;
    struct rows r;
    if (!ctl_user(c, false, &e) || !source_names_find(c, &f->names, &kind, &source, &e) ||
        !query_list(c, kind, source.id, f->limit, &r, &e)) {
        return ctl_fail(&e);
    }
    struct doc *messages = doc_list();
    for (int64_t i = 0; i < f->limit && rows_next(&r); i++) {
        output_row(&r, 0, columns, doc_append(messages));
    }
    if ((int64_t)r.count > f->limit) {
        ctl_note("there are more than %" PRId64 "; --limit shows them", f->limit);
    }
    rows_done(&r);
    output_list(&c->out, columns, messages);
    return CTL_OK;
}

/* --- decisions ------------------------------------------------------------------------ */

static const struct decision {
    const char *event, *done, *set;
} resend_decision = {"resend", "will be sent again",
                     "status = 'pending', scheduled_at = UTC_TIMESTAMP(3)"},
  confirm_decision =
      {"confirm", "count as sent",
       "status = 'sent', error_class = 'confirmed', sent_at = COALESCE(sent_at, UTC_TIMESTAMP(3))"},
  drop_decision = {"drop", "count as failed", "status = 'failed', error_class = 'dropped'"};

struct decide_flags {
    struct source_names names;
    bool all, dry_run;
};

static const struct flag decide_flags[] = {
    {"campaign", FLAG_TEXT, offsetof(struct decide_flags, names.of[SOURCE_CAMPAIGN]), "NAME", NULL,
     "With --all: whose messages.", false},
    {"sequence", FLAG_TEXT, offsetof(struct decide_flags, names.of[SOURCE_SEQUENCE]), "NAME", NULL,
     "With --all: whose messages.", false},
    {"recurring", FLAG_TEXT, offsetof(struct decide_flags, names.of[SOURCE_RECURRING]), "NAME",
     NULL, "With --all: whose messages.", false},
    {"all", FLAG_BOOL, offsetof(struct decide_flags, all), NULL, NULL,
     "All unknown ones of the campaign, sequence or recurring message.", false},
    {"dry-run", FLAG_BOOL, offsetof(struct decide_flags, dry_run), NULL, NULL,
     "Say what would be done, change nothing.", false},
    {NULL, FLAG_BOOL, 0, NULL, NULL, NULL, false},
};

struct batch {
    struct ctl *c;
    const struct decision *what;
    bool dry_run;
    uint64_t ids[BATCH]; /* asked for */
    size_t n;
    struct row {
        uint64_t id;
        int64_t gen, attempt;
    } rows[BATCH]; /* decided */
    size_t n_rows;
    struct refusal {
        uint64_t id;
        char why[96];
    } refused[BATCH]; /* left alone */
    size_t n_refused;
};

static void
add_ids(struct sql *q, const uint64_t *ids, size_t n)
{
    sql_text(q, " IN (");
    for (size_t i = 0; i < n; i++) {
        sql_text(q, i ? ", " : "");
        sql_uint(q, ids[i]);
    }
    sql_text(q, ")");
}

/* Why a row must not be sent again, or NULL. */
static const char *
obstacle(const struct batch *b, bool too_late, bool cancelled, bool left)
{
    if (b->what != &resend_decision) {
        return NULL;
    }
    return cancelled  ? "cancelled"
           : left     ? "its contact has left the sequence: confirm or drop it"
           : too_late ? "it is too late for it: confirm or drop it"
                      : NULL;
}

/* What is asked of each row; the sources' own rows stay unlocked. */
static void
lock_sql(const struct batch *b, struct sql *q)
{
    sql_text(q, "SELECT m.id, m.gen, m.status, COALESCE(m.expires_at < UTC_TIMESTAMP(3), 0), "
                "COALESCE((SELECT c.status FROM campaigns c WHERE c.id = m.campaign_id AND "
                "c.user_id = m.user_id), (SELECT s.status FROM sequences s WHERE s.id = "
                "m.sequence_id AND s.user_id = m.user_id), (SELECT r.status FROM "
                "recurring_messages r WHERE r.id = m.recurring_id AND r.user_id = m.user_id), '') "
                "= 'cancelled', EXISTS (SELECT 1 FROM sequence_contacts x WHERE x.sequence_id = "
                "m.sequence_id AND x.user_id = m.user_id AND "
                "x.device_id = m.device_id AND x.recipient_phone = m.recipient_phone AND "
                "x.rotation = m.rotation AND x.status = 'left'), m.attempt, m.kind FROM "
                "broadcast_messages m WHERE m.id");
    add_ids(q, b->ids, b->n);
    sql_addf(q, " AND m.user_id = %" PRIu64 " ORDER BY m.id FOR UPDATE", b->c->user_id);
}

/* Locks the rows and sorts them into those to be decided and those to be left alone. */
static bool
lock_rows(struct store *s, struct batch *b, struct err *e)
{
    struct sql q = {0};
    struct rows r;
    lock_sql(b, &q);
    bool ok = store_query(s, &q, &r, e);
    sql_done(&q);
    size_t found = ok ? (size_t)r.count : 0;
    while (ok && rows_next(&r)) {
        bool unknown = strcmp(rows_str(&r, 2), "unknown") == 0;
        const char *why =
            unknown ? obstacle(b, rows_int(&r, 3) != 0, rows_int(&r, 4) != 0, rows_int(&r, 5) != 0)
                    : rows_str(&r, 2);
        if (!why) {
            b->rows[b->n_rows++] = (struct row){rows_uint(&r, 0), rows_int(&r, 1), rows_int(&r, 6)};
            continue;
        }
        struct refusal *x = &b->refused[b->n_refused++];
        x->id = rows_uint(&r, 0);
        if (unknown && strcmp(why, "cancelled") == 0) {
            (void)snprintf(x->why, sizeof x->why, "its %s is cancelled: confirm or drop it",
                           rows_str(&r, 7));
        } else {
            (void)snprintf(x->why, sizeof x->why, unknown ? "%s" : "it is %s, not unknown", why);
        }
    }
    rows_done(&r);
    return ok &&
           (found == b->n ||
            err_set(e, ERR_GONE, "of %zu messages only %zu are there; see: paceline unknown list",
                    b->n, found));
}

static bool
leave_archived(struct store *s, struct batch *b, const uint64_t *ids, struct err *e)
{
    uint64_t away[BATCH];
    size_t n;
    if (!unknown_parts_away(s, ids, b->n_rows, away, &n, e)) {
        return false;
    }
    for (size_t i = 0, k; i < n; i++) {
        for (k = 0; b->rows[k].id != away[i]; k++) {
        }
        b->rows[k] = b->rows[--b->n_rows];
        struct refusal *x = &b->refused[b->n_refused++];
        x->id = away[i];
        (void)snprintf(x->why, sizeof x->why,
                       "a part of what it belongs to is archived: paceline archive restore");
    }
    return true;
}

static bool
write_rows(struct store *s, const struct batch *b, const uint64_t *ids, struct err *e)
{
    struct sql q = {0};
    sql_text(&q, "UPDATE broadcast_messages SET ");
    sql_text(&q, b->what->set);
    sql_text(&q,
             ", decide_at = NULL, updated_at = UTC_TIMESTAMP(3) WHERE status = 'unknown' AND id");
    add_ids(&q, ids, b->n_rows);
    bool ok = store_exec(s, &q, NULL, NULL, e);
    sql_clear(&q);
    /* As the reapers' policy does: one decision an attempt. */
    sql_text(&q, "INSERT IGNORE INTO message_events (message_id, gen, token, event, actor, "
                 "happened_at) VALUES ");
    for (size_t i = 0; i < b->n_rows; i++) {
        sql_text(&q, i ? ", (" : "(");
        sql_addf(&q, "%" PRIu64 ", %" PRId64 ", %" PRId64 ", %s, 'cli', UTC_TIMESTAMP(3))",
                 b->rows[i].id, b->rows[i].gen, b->rows[i].attempt, b->what->event);
    }
    ok = ok && store_exec(s, &q, NULL, NULL, e);
    sql_done(&q);
    return ok;
}

static void
copy_ids(const struct batch *b, uint64_t ids[BATCH])
{
    for (size_t i = 0; i < b->n_rows; i++) {
        ids[i] = b->rows[i].id;
    }
}

static bool
decide_body(struct store *s, void *arg, struct err *e)
{
    struct batch *b = arg;
    uint64_t ids[BATCH];
    b->n_rows = b->n_refused = 0;
    if (!lock_rows(s, b, e)) {
        return false;
    }
    copy_ids(b, ids);
    if (b->n_rows && !leave_archived(s, b, ids, e)) {
        return false;
    }
    copy_ids(b, ids);
    return b->dry_run || !b->n_rows ||
           (write_rows(s, b, ids, e) && unknown_reopen(s, ids, b->n_rows, e));
}

struct decide {
    struct batch b;
    struct doc *refused; /* the first ones */
    size_t n_refused, done;
};

static bool
run_batch(struct decide *d, struct err *e)
{
    struct batch *b = &d->b;
    if (b->n && !store_transact(b->c->store, decide_body, b, e)) {
        return false;
    }
    for (size_t i = 0; b->n && i < b->n_refused; i++) {
        if (d->n_refused++ < REFUSED_SHOWN) {
            struct doc *one = doc_append(d->refused);
            doc_put_id(one, "id", b->refused[i].id);
            doc_put_str(one, "why", b->refused[i].why);
        }
    }
    d->done += b->n ? b->n_rows : 0;
    b->n = 0;
    return true;
}

/* An id, or a job's id. */
static bool
find_id(struct ctl *c, const char *text, uint64_t *ret, struct err *e)
{
    struct rows r;
    if (ctl_parse_id(text, ret)) {
        return true;
    }
    if (!store_queryf(c->store, &r, e,
                      "SELECT id FROM broadcast_messages WHERE job_id = %s AND user_id = %" PRIu64,
                      text, c->user_id)) {
        return false;
    }
    *ret = rows_next(&r) ? rows_uint(&r, 0) : 0;
    rows_done(&r);
    return *ret ||
           err_set(e, ERR_GONE, "there is no message '%.80s'; see: paceline unknown list", text);
}

static bool
decide_named(struct decide *d, char **names, int n, struct err *e)
{
    struct batch *b = &d->b;
    for (int i = 0; i < n; i++) {
        uint64_t id;
        bool twice = false;
        if (!find_id(b->c, names[i], &id, e)) {
            return false;
        }
        for (size_t k = 0; k < b->n; k++) {
            twice = twice || b->ids[k] == id;
        }
        if (!twice) {
            b->ids[b->n++] = id;
        }
        if (b->n == BATCH && !run_batch(d, e)) {
            return false;
        }
    }
    return run_batch(d, e);
}

/* The next batch in the order of the source's index, behind (at, id). */
static bool
next_of_source(struct decide *d, enum source_kind kind, uint64_t source, char at[32], uint64_t *id,
               struct err *e)
{
    const char *by = kind == SOURCE_RECURRING ? "occurrence_at" : "device_id";
    struct sql q = {0};
    struct rows r;
    sql_text(&q, "SELECT ");
    sql_text(&q, by);
    sql_text(&q, ", id FROM broadcast_messages WHERE status = 'unknown' AND ");
    sql_text(&q, sources[kind].column);
    sql_addf(&q, " = %" PRIu64 " AND (", source);
    sql_text(&q, by);
    sql_addf(&q, " > %s OR (", at);
    sql_text(&q, by);
    sql_addf(&q, " = %s AND id > %" PRIu64 ")) ORDER BY ", at, *id);
    sql_text(&q, by);
    sql_addf(&q, ", id LIMIT %d", BATCH);
    bool ok = store_query(d->b.c->store, &q, &r, e);
    sql_done(&q);
    while (ok && rows_next(&r)) {
        (void)snprintf(at, 32, "%s", rows_str(&r, 0));
        *id = rows_uint(&r, 1);
        d->b.ids[d->b.n++] = *id;
    }
    rows_done(&r);
    return ok;
}

static bool
decide_all(struct decide *d, enum source_kind kind, uint64_t source, struct err *e)
{
    char at[32];
    uint64_t id = 0;
    (void)snprintf(at, sizeof at, "%s", kind == SOURCE_RECURRING ? "1970-01-01" : "0");
    for (bool full = true; full;) {
        if (!next_of_source(d, kind, source, at, &id, e)) {
            return false;
        }
        full = d->b.n == BATCH;
        if (!run_batch(d, e)) {
            return false;
        }
    }
    return true;
}

static int
report(struct decide *d)
{
    struct output *o = &d->b.c->out;
    for (size_t i = 0; !o->json && i < doc_len(d->refused); i++) {
        const struct doc *one = doc_at(d->refused, i);
        ctl_note("message %" PRId64 " is left alone: %s", doc_int(doc_get(one, "id")),
                 doc_str(doc_get(one, "why")));
    }
    if (d->n_refused > doc_len(d->refused)) {
        ctl_note("%zu more are left alone", d->n_refused - doc_len(d->refused));
    }
    struct doc *all = doc_object();
    doc_put_str(all, "decision", d->b.what->event);
    doc_put_bool(all, "dry_run", d->b.dry_run);
    doc_put_int(all, "messages", (int64_t)d->done);
    doc_put_int(all, "refused", (int64_t)d->n_refused);
    doc_put(all, "refusals", d->refused);
    output_said(o, all, "%zu messages %s%s", d->done, d->b.what->done,
                d->b.dry_run ? " if this is not a dry run: nothing was changed" : "");
    return d->n_refused ? CTL_FAILED : CTL_OK;
}

static int
decide(struct ctl *c, const struct args *a, const struct decision *what)
{
    const struct decide_flags *f = a->flags;
    struct err e = {0};
    struct found source;
    enum source_kind kind;
    bool named = false;
    for (int i = 0; i < SOURCE_TABLES; i++) {
        named = named || f->names.of[i];
    }
    if (f->all != named || f->all == (a->n > 0)) {
        ctl_note("name the messages by their ids, or a whole source with --campaign NAME --all, "
                 "--sequence NAME --all or --recurring NAME --all");
        return CTL_COULD_NOT;
    }
    if (!ctl_user(c, false, &e) || !source_names_find(c, &f->names, &kind, &source, &e)) {
        return ctl_fail(&e);
    }
    struct decide *d = xcalloc(1, sizeof *d);
    d->b.c = c;
    d->b.what = what;
    d->b.dry_run = f->dry_run;
    d->refused = doc_list();
    bool ok = f->all ? decide_all(d, kind, source.id, &e) : decide_named(d, a->operands, a->n, &e);
    int code = ok ? report(d) : ctl_fail(&e);
    if (!ok) {
        doc_free(d->refused);
    }
    free(d);
    return code;
}

static int
resend(struct ctl *c, const struct args *a)
{
    return decide(c, a, &resend_decision);
}

static int
confirm(struct ctl *c, const struct args *a)
{
    return decide(c, a, &confirm_decision);
}

static int
drop(struct ctl *c, const struct args *a)
{
    return decide(c, a, &drop_decision);
}

const struct command unknown_commands[] = {
    {"unknown", "list", "", 0, 0, list_flags, sizeof(struct list_flags), list,
     "Messages of which nobody knows whether they were sent."},
    {"unknown", "resend", "ID ...", 0, -1, decide_flags, sizeof(struct decide_flags), resend,
     "Sends them again: some recipients may get them twice."},
    {"unknown", "confirm", "ID ...", 0, -1, decide_flags, sizeof(struct decide_flags), confirm,
     "They were sent."},
    {"unknown", "drop", "ID ...", 0, -1, decide_flags, sizeof(struct decide_flags), drop,
     "They were not sent, and will not be."},
    {NULL, NULL, NULL, 0, 0, NULL, 0, NULL, NULL},
};
