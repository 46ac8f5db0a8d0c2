/* sequence_leave.c -- `sequence leave`: contacts leave a sequence and those linked behind it.
 *
 * Each batch is one transaction: its contacts are locked in the order of their ids, then their rows
 * that wait in MySQL are looked for by their job ids, locked in the order of theirs, and skipped.
 * Behind the commit what is on its way already is withdrawn; what may have left is counted and left
 * alone, and what comes back to MySQL meets a contact that has left.  A command that was cut off is
 * typed again. */
#include "ctl/ctl.h"
#include "ctl/progress.h"
#include "ctl/sequence_def.h"
#include "ctl/sequence_verbs.h"
#include "shared/job.h"
#include "shared/phone.h"
#include "shared/withdraw.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { CONTACTS = 100, JOBS = 2000, REASON_BYTES = 32, ASKED = 1000 };

#define FLAG(name) offsetof(struct sequence_leave_flags, name)

const struct flag sequence_leave_flags[] = {
    {"all", FLAG_BOOL, FLAG(all), NULL, NULL, "All its contacts.", false},
    {"reason", FLAG_TEXT, FLAG(reason), "WORD", "asked", "Kept with the contact.", false},
    {"country", FLAG_TEXT, FLAG(country), "60", NULL, "Calling code for phones that begin with 0.",
     false},
    {NULL, FLAG_BOOL, 0, NULL, NULL, NULL, false},
};

struct leave {
    struct ctl *c;
    const char *reason;
    struct found sequence;
    uint64_t *chain;
    size_t n_chain;
    /* the sequence at hand, one of the chain */
    uint64_t at, *steps;
    size_t n_steps;
    uint64_t ids[CONTACTS]; /* of contacts that may have to leave */
    size_t n;
    struct sql
        on_their_way; /* "1, 2": rows that the batch has met in a producer's or Redis' hands */
    struct counts {
        int64_t contacts, skipped, unknown, on_their_way, asked;
    } batch, sum;
    struct progress progress;
};

/* --- one batch ------------------------------------------------------------------------ */

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

/* Locks those that are still active; their jobs' ids go to `jobs`. */
static bool
lock_contacts(struct store *s, struct leave *x, struct sql *jobs, struct err *e)
{
    struct sql q = {0};
    struct rows r;
    char job[JOB_ID_SIZE];
    sql_text(&q, "SELECT id, device_id, recipient_phone, rotation FROM sequence_contacts WHERE id");
    add_ids(&q, x->ids, x->n);
    sql_text(&q, " AND status = 'active' ORDER BY id FOR UPDATE");
    bool ok = store_query(s, &q, &r, e);
    sql_done(&q);
    x->n = ok ? 0 : x->n; /* the body may be run again */
    while (ok && rows_next(&r)) {
        x->ids[x->n++] = rows_uint(&r, 0);
        for (size_t i = 0; i < x->n_steps; i++) {
            sql_text(jobs, jobs->text.len ? ", " : "");
            sql_str(jobs, job_id_step(x->steps[i], rows_uint(&r, 1), rows_str(&r, 2),
                                      (unsigned)rows_int(&r, 3), job));
        }
    }
    rows_done(&r);
    return ok;
}

/* Candidates without locks, then locks by primary key: as everybody does who writes these rows. */
static bool
find_rows(struct store *s, const struct leave *x, const struct sql *jobs, struct sql *ids,
          struct err *e)
{
    struct sql q = {0};
    struct rows r;
    sql_text(&q, "SELECT id FROM broadcast_messages WHERE job_id IN (");
    buf_add(&q.text, jobs->text.data, jobs->text.len);
    sql_addf(&q, ") AND user_id = %" PRIu64 " AND status IN ('pending', 'processing', 'queued')",
             x->c->user_id);
    bool ok = store_query(s, &q, &r, e);
    sql_done(&q);
    while (ok && rows_next(&r)) {
        sql_text(ids, ids->text.len ? ", " : "");
        sql_uint(ids, rows_uint(&r, 0));
    }
    rows_done(&r);
    return ok;
}

/* A row with an open attempt may have arrived: it becomes unknown, not skipped. */
static bool
skip_rows(struct store *s, struct leave *x, const struct sql *ids, struct err *e)
{
    struct sql q = {0};
    struct rows r;
    sql_text(&q, "SELECT status, unknowns, id FROM broadcast_messages WHERE id IN (");
    buf_add(&q.text, ids->text.data, ids->text.len);
    sql_text(&q, ") ORDER BY id FOR UPDATE");
    bool ok = store_query(s, &q, &r, e);
    while (ok && rows_next(&r)) {
        bool pending = strcmp(rows_str(&r, 0), "pending") == 0;
        bool waits = pending || strcmp(rows_str(&r, 0), "processing") == 0 ||
                     strcmp(rows_str(&r, 0), "queued") == 0;
        x->batch.skipped += pending && !rows_int(&r, 1);
        x->batch.unknown += pending && rows_int(&r, 1);
        if (waits && !pending) {
            x->batch.on_their_way++;
            sql_text(&x->on_their_way, x->on_their_way.text.len ? ", " : "");
            sql_uint(&x->on_their_way, rows_uint(&r, 2));
        }
    }
    rows_done(&r);
    sql_clear(&q);
    sql_text(&q, "UPDATE broadcast_messages SET status = IF(unknowns > 0, 'unknown', 'skipped'), "
                 "error_class = 'left', decide_at = NULL, updated_at = UTC_TIMESTAMP(3) WHERE "
                 "status = 'pending' AND id IN (");
    buf_add(&q.text, ids->text.data, ids->text.len);
    sql_text(&q, ")");
    ok = ok && store_exec(s, &q, NULL, NULL, e);
    sql_done(&q);
    return ok;
}

/* check_at: the counts are taken once more, now that rows have ended. */
static bool
end_contacts(struct store *s, const struct leave *x, struct err *e)
{
    struct sql q = {0};
    sql_addf(&q,
             "UPDATE sequence_contacts SET status = 'left', reason = %s, ended_at = "
             "UTC_TIMESTAMP(3), check_at = UTC_TIMESTAMP(3) WHERE id",
             x->reason);
    add_ids(&q, x->ids, x->n);
    bool ok = store_exec(s, &q, NULL, NULL, e);
    sql_done(&q);
    return ok;
}

static bool
batch_body(struct store *s, void *arg, struct err *e)
{
    struct leave *x = arg;
    struct sql jobs = {0}, ids = {0};
    x->batch = (struct counts){0};
    sql_clear(&x->on_their_way);
    bool ok = lock_contacts(s, x, &jobs, e);
    x->batch.contacts = (int64_t)x->n;
    if (ok && x->n) {
        ok = (!jobs.text.len || find_rows(s, x, &jobs, &ids, e)) &&
             (!ids.text.len || skip_rows(s, x, &ids, e)) && end_contacts(s, x, e);
    }
    sql_done(&jobs);
    sql_done(&ids);
    return ok;
}

/* Without Redis they may still be sent, as long as they are in a device's stream. */
static bool
withdraw_batch(struct leave *x, struct err *e)
{
    struct sql q = {0};
    struct withdrawn w = {0};
    struct err away = {0};
    if (!x->batch.on_their_way || !ctl_queue(x->c, &away)) {
        return true;
    }
    sql_text(&q, "SELECT " WITHDRAW_COLUMNS ", 'left' FROM broadcast_messages m WHERE m.id IN (");
    buf_add(&q.text, x->on_their_way.text.data, x->on_their_way.text.len);
    sql_addf(&q, ") AND m.user_id = %" PRIu64 " AND m.status IN ('processing', 'queued')",
             x->c->user_id);
    bool ok = withdraw_rows(x->c->store, x->c->queue, &q, &w, e);
    sql_done(&q);
    x->batch.skipped += (int64_t)(w.taken + w.skipped);
    x->batch.on_their_way = (int64_t)(w.gone + w.left);
    return ok;
}

static bool
run_batch(struct leave *x, struct err *e)
{
    if (x->n && (!store_transact(x->c->store, batch_body, x, e) || !withdraw_batch(x, e))) {
        return false;
    }
    x->sum.contacts += x->batch.contacts;
    x->sum.skipped += x->batch.skipped;
    x->sum.unknown += x->batch.unknown;
    x->sum.on_their_way += x->batch.on_their_way;
    x->batch = (struct counts){0};
    return true;
}

/* --- who leaves ----------------------------------------------------------------------- */

static bool
read_steps(struct leave *x, struct err *e)
{
    struct rows r;
    free(x->steps);
    x->steps = NULL;
    x->n_steps = 0;
    if (!store_queryf(x->c->store, &r, e,
                      "SELECT id FROM sequence_steps WHERE sequence_id = %" PRIu64, x->at)) {
        return false;
    }
    x->steps = xcalloc(r.count + 1, sizeof *x->steps);
    while (rows_next(&r)) {
        x->steps[x->n_steps++] = rows_uint(&r, 0);
    }
    rows_done(&r);
    return true;
}

/* Active contacts of the sequence at hand behind *last, of this phone or, if NULL, of all.  In a
 * linked sequence those count who came through the one that is left, on the same way. */
static bool
read_contacts(struct leave *x, const char *phone, uint64_t *last, size_t max, struct err *e)
{
    struct sql q = {0};
    struct rows r;
    sql_addf(&q,
             "SELECT y.id FROM sequence_contacts y WHERE y.sequence_id = %" PRIu64
             " AND y.status = 'active' AND y.user_id = %" PRIu64 " AND y.id > %" PRIu64,
             x->at, x->c->user_id, *last);
    if (phone) {
        sql_addf(&q, " AND y.recipient_phone = %s", phone);
    }
    if (x->at != x->sequence.id) {
        sql_addf(&q,
                 " AND EXISTS (SELECT 1 FROM sequence_contacts z WHERE z.sequence_id = %" PRIu64
                 " AND z.device_id = y.device_id AND z.recipient_phone = y.recipient_phone AND "
                 "z.rotation = y.rotation AND z.entry_sequence_id = y.entry_sequence_id)",
                 x->sequence.id);
    }
    sql_addf(&q, " ORDER BY y.id LIMIT %d", (int)max);
    bool ok = store_query(x->c->store, &q, &r, e);
    sql_done(&q);
    x->n = 0;
    while (ok && rows_next(&r)) {
        *last = x->ids[x->n++] = rows_uint(&r, 0);
    }
    rows_done(&r);
    return ok;
}

static bool
leave_one_sequence(struct leave *x, const char *phone, struct err *e)
{
    uint64_t last = 0;
    if (!read_steps(x, e)) {
        return false;
    }
    size_t max = x->n_steps ? JOBS / x->n_steps : CONTACTS;
    max = max < 1 ? 1 : max > CONTACTS ? CONTACTS : max;
    for (size_t got = max; got == max;) {
        if (!read_contacts(x, phone, &last, max, e)) {
            return false;
        }
        got = x->n;
        if (!run_batch(x, e)) {
            return false;
        }
        progress_at(&x->progress, x->sum.contacts, x->sum.contacts);
    }
    return true;
}

/* The leads with this phone as "1, 2"; nothing when there are none. */
static bool
leads_of(struct leave *x, const char *phone, struct sql *ids, struct err *e)
{
    struct rows r;
    if (!store_queryf(x->c->store, &r, e,
                      "SELECT id FROM leads WHERE user_id = %" PRIu64 " AND phone = %s",
                      x->c->user_id, phone)) {
        return false;
    }
    while (rows_next(&r)) {
        sql_text(ids, ids->text.len ? ", " : "");
        sql_uint(ids, rows_uint(&r, 0));
    }
    rows_done(&r);
    return true;
}

struct forget {
    struct leave *x;
    const char *leads; /* "1, 2", or NULL: all */
    uint64_t asked, triggered;
};

static void
add_leads(struct sql *q, const struct forget *g, const char *column)
{
    if (g->leads) {
        sql_text(q, column);
        sql_text(q, g->leads);
        sql_text(q, ")");
    }
    sql_addf(q, " LIMIT %d", ASKED);
}

/* The sequence is locked as an enrolment locks it: one under way commits first, and its contacts
 * are found afterwards. */
static bool
forget_body(struct store *s, void *arg, struct err *e)
{
    struct forget *g = arg;
    struct sql q = {0};
    struct rows r;
    if (!store_queryf(s, &r, e, "SELECT `trigger` FROM sequences WHERE id = %" PRIu64 " FOR UPDATE",
                      g->x->sequence.id)) {
        return false;
    }
    char *word = rows_next(&r) && r.field[0] ? xstrdup(rows_str(&r, 0)) : NULL;
    rows_done(&r);
    sql_addf(&q, "DELETE FROM sequence_requests WHERE sequence_id = %" PRIu64, g->x->sequence.id);
    add_leads(&q, g, " AND lead_id IN (");
    bool ok = store_exec(s, &q, &g->asked, NULL, e);
    if (ok && word) {
        sql_clear(&q);
        sql_addf(&q,
                 "UPDATE leads SET trigger_seen = `trigger` WHERE trigger_pending = 1 AND user_id "
                 "= %" PRIu64 " AND `trigger` = %s",
                 g->x->c->user_id, word);
        add_leads(&q, g, " AND id IN (");
        ok = store_exec(s, &q, &g->triggered, NULL, e);
    }
    sql_done(&q);
    free(word);
    return ok;
}

/* Who was to be enrolled, asked for or by the trigger, is not any more. */
static bool
forget_asked(struct leave *x, const char *phone, struct err *e)
{
    struct sql ids = {0};
    bool ok = !phone || leads_of(x, phone, &ids, e), more = !phone || ids.text.len;
    while (ok && more) {
        struct forget g = {.x = x, .leads = phone ? ids.text.data : NULL};
        ok = store_transact(x->c->store, forget_body, &g, e);
        x->sum.asked += ok ? (int64_t)(g.asked + g.triggered) : 0;
        more = g.asked == ASKED || g.triggered == ASKED;
    }
    sql_done(&ids);
    return ok;
}

static bool
leave_chain(struct leave *x, const char *phone, struct err *e)
{
    bool ok = forget_asked(x, phone, e);
    for (size_t i = 0; ok && i < x->n_chain; i++) {
        x->at = x->chain[i];
        ok = leave_one_sequence(x, phone, e);
    }
    return ok;
}

/* --- the command ---------------------------------------------------------------------- */

static bool
begin(struct leave *x, const char *name, struct err *e)
{
    struct rows r;
    if (!ctl_user(x->c, false, e) ||
        !ctl_find_source(x->c, SOURCE_SEQUENCE, name, &x->sequence, e) ||
        !sequence_chain(x->c, x->sequence.id, &x->chain, &x->n_chain, e) ||
        !store_queryf(x->c->store, &r, e,
                      "SELECT COUNT(*) FROM sequence_contacts WHERE sequence_id = %" PRIu64
                      " AND status = 'active'",
                      x->sequence.id)) {
        return false;
    }
    progress_start(&x->progress, x->sequence.name, "contacts", rows_next(&r) ? rows_int(&r, 0) : 0,
                   0);
    rows_done(&r);
    return true;
}

static int
report(struct leave *x, struct doc *unknown, struct doc *d)
{
    const struct counts *n = &x->sum;
    bool any_unknown = doc_len(unknown) > 0;
    progress_clear(&x->progress);
    if (n->on_their_way) {
        ctl_note("%" PRId64 " message%s in the device's queue already and may still be sent",
                 n->on_their_way, n->on_their_way == 1 ? " is" : "s are");
    }
    doc_put_id(d, "id", x->sequence.id);
    doc_put_str(d, "name", x->sequence.name);
    doc_put_int(d, "contacts", n->contacts);
    doc_put_int(d, "skipped", n->skipped);
    doc_put_int(d, "unknown", n->unknown);
    doc_put_int(d, "on_their_way", n->on_their_way);
    doc_put_int(d, "not_enrolled", n->asked);
    doc_put(d, "no_contact", unknown);
    bool paused = doc_get(d, "status") != NULL;
    output_said(&x->c->out, d,
                "%s%" PRId64 " contacts left sequence %s and what is linked behind it; %" PRId64
                " messages are skipped",
                paused ? "the sequence is paused; " : "", n->contacts, x->sequence.name,
                n->skipped);
    return any_unknown ? CTL_FAILED : CTL_OK;
}

static bool
leave_phones(struct leave *x, const char *country, char **phones, int n, struct doc *unknown,
             struct err *e)
{
    char phone[PHONE_SIZE];
    for (int i = 0; i < n; i++) { /* all are read before anybody leaves */
        if (!phone_normalise(phones[i], strlen(phones[i]), country, phone, e)) {
            return err_wrap(e, "phone %d ('%.40s')", i + 1, phones[i]);
        }
    }
    for (int i = 0; i < n; i++) {
        int64_t before = x->sum.contacts + x->sum.asked;
        if (!phone_normalise(phones[i], strlen(phones[i]), country, phone, e) ||
            !leave_chain(x, phone, e)) {
            return false;
        }
        if (x->sum.contacts + x->sum.asked == before) {
            ctl_note("%s is no active contact of sequence %s", phones[i], x->sequence.name);
            doc_append_str(unknown, phones[i]);
        }
    }
    return true;
}

/* phones NULL: all.  Takes the document that is printed. */
static int
leave(struct ctl *c, const char *name, const char *reason, const char *country, char **phones,
      int n, struct doc *d)
{
    struct err e = {0};
    struct leave *x = xcalloc(1, sizeof *x);
    struct doc *unknown = doc_list();
    x->c = c;
    x->reason = reason;
    bool ok = begin(x, name, &e) && (phones ? leave_phones(x, country, phones, n, unknown, &e)
                                            : leave_chain(x, NULL, &e));
    progress_clear(&x->progress);
    int code = ok ? report(x, unknown, d) : ctl_fail(&e);
    if (!ok) {
        doc_free(d);
        doc_free(unknown);
    }
    sql_done(&x->on_their_way);
    free(x->chain);
    free(x->steps);
    free(x);
    return code;
}

int
sequence_leave(struct ctl *c, const struct args *a)
{
    const struct sequence_leave_flags *f = a->flags;
    size_t n = strlen(f->reason);
    if (f->all == (a->n > 1)) {
        ctl_note("name the phones that leave, or --all");
        return CTL_COULD_NOT;
    }
    for (const char *p = f->reason; *p; p++) {
        n = (unsigned char)*p < 0x20 || (unsigned char)*p > 0x7e ? 0 : n;
    }
    if (!n || n > REASON_BYTES) {
        ctl_note("--reason: has 1 to %d letters of ASCII", REASON_BYTES);
        return CTL_COULD_NOT;
    }
    return leave(c, a->operands[0], f->reason, f->country, f->all ? NULL : a->operands + 1,
                 a->n - 1, doc_object());
}

int
sequence_leave_all(struct ctl *c, const char *name, const char *reason, struct doc *d)
{
    return leave(c, name, reason, NULL, NULL, 0, d);
}
