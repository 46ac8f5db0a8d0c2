/* sequence_enrol.c -- `sequence enrol`: asks for enrolment, a row a lead; a producer takes the rows
 * off and makes the messages.  Asking twice for the same is asking once, so a command that was cut
 * off is typed again. */
#include "ctl/ctl.h"
#include "ctl/progress.h"
#include "ctl/sequence_verbs.h"
#include "shared/clock.h"
#include "shared/phone.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { BATCH = 1000, POLL_MS = 200, STALLED_MS = 15000 };

#define FLAG(name) offsetof(struct sequence_enrol_flags, name)

const struct flag sequence_enrol_flags[] = {
    {"all", FLAG_BOOL, FLAG(all), NULL, NULL, "All leads of the sequence's devices.", false},
    {"device", FLAG_TEXT, FLAG(device), "NAME", NULL, "Only leads of this device.", false},
    {"niche", FLAG_TEXT, FLAG(niche), NULL, NULL, "Only leads of this niche.", false},
    {"target-status", FLAG_TEXT, FLAG(target_status), NULL, NULL, "Only leads with this status.",
     false},
    {"again", FLAG_BOOL, FLAG(again), NULL, NULL,
     "Also those who have been through it: they get everything once more.", false},
    {"wait", FLAG_BOOL, FLAG(wait), NULL, NULL, "Until the producers have enrolled everybody.",
     false},
    {"country", FLAG_TEXT, FLAG(country), "60", NULL, "Calling code for phones that begin with 0.",
     false},
    {NULL, FLAG_BOOL, 0, NULL, NULL, NULL, false},
};

struct enrol {
    struct ctl *c;
    const struct sequence_enrol_flags *flags;
    struct found sequence;
    uint64_t *devices;
    size_t n_devices;
    uint64_t ids[BATCH]; /* of leads */
    size_t n;
    int64_t leads, asked; /* found; of them newly asked for */
    struct doc *unknown;  /* phones that are no leads, as they were typed */
    struct progress progress;
};

/* --- who ------------------------------------------------------------------------------ */

static bool
find_sequence(struct enrol *x, const char *name, bool *all_devices, struct err *e)
{
    struct rows r;
    if (!ctl_find_source(x->c, SOURCE_SEQUENCE, name, &x->sequence, e) ||
        !store_queryf(x->c->store, &r, e,
                      "SELECT all_devices, status FROM sequences WHERE id = %" PRIu64,
                      x->sequence.id)) {
        return false;
    }
    bool there = rows_next(&r);
    *all_devices = there && rows_int(&r, 0) != 0;
    bool cancelled = there && strcmp(rows_str(&r, 1), "cancelled") == 0;
    if (there && strcmp(rows_str(&r, 1), "paused") == 0) {
        ctl_note("sequence %s is paused: nothing is sent before it is resumed", x->sequence.name);
    }
    rows_done(&r);
    return !cancelled ||
           err_set(e, ERR_GONE, "sequence %.100s is cancelled: nobody can be enrolled",
                   x->sequence.name);
}

static bool
find_devices(struct enrol *x, bool all_devices, struct err *e)
{
    struct sql q = {0};
    struct rows r;
    struct found one = {0};
    if (x->flags->device && !ctl_find_device(x->c, x->flags->device, &one, e)) {
        return false;
    }
    sql_addf(&q, "SELECT id FROM devices WHERE user_id = %" PRIu64 " AND status <> 'removed'",
             x->c->user_id);
    if (!all_devices) {
        sql_addf(&q,
                 " AND id IN (SELECT device_id FROM sequence_devices WHERE sequence_id = %" PRIu64
                 ")",
                 x->sequence.id);
    }
    if (one.id) {
        sql_addf(&q, " AND id = %" PRIu64, one.id);
    }
    sql_text(&q, " ORDER BY id");
    bool ok = store_query(x->c->store, &q, &r, e);
    sql_done(&q);
    x->devices = xcalloc(r.count + 1, sizeof *x->devices);
    while (ok && rows_next(&r)) {
        x->devices[x->n_devices++] = rows_uint(&r, 0);
    }
    rows_done(&r);
    if (ok && !x->n_devices) {
        return one.id ? err_set(e, ERR_GONE, "device %.100s is none of those of sequence %.100s",
                                one.name, x->sequence.name)
                      : err_set(e, ERR_GONE, "sequence %.100s has no devices", x->sequence.name);
    }
    return ok;
}

/* --- asking --------------------------------------------------------------------------- */

static bool
flush_body(struct store *s, void *arg, struct err *e)
{
    struct enrol *x = arg;
    struct sql q = {0};
    uint64_t fresh = 0;
    sql_text(&q, "INSERT INTO sequence_requests (sequence_id, lead_id, again, created_at) VALUES ");
    for (size_t i = 0; i < x->n; i++) {
        sql_text(&q, i ? ", (" : "(");
        sql_addf(&q, "%" PRIu64 ", %" PRIu64 ", %d, UTC_TIMESTAMP(3))", x->sequence.id, x->ids[i],
                 x->flags->again);
    }
    sql_text(&q, " ON DUPLICATE KEY UPDATE lead_id = lead_id");
    bool ok = store_exec(s, &q, &fresh, NULL, e);
    sql_clear(&q);
    sql_addf(&q,
             "UPDATE sequence_requests SET again = 1 WHERE sequence_id = %" PRIu64
             " AND again = 0 AND lead_id IN (",
             x->sequence.id);
    for (size_t i = 0; i < x->n; i++) {
        sql_text(&q, i ? ", " : "");
        sql_uint(&q, x->ids[i]);
    }
    sql_text(&q, ")");
    ok = ok && (!x->flags->again || store_exec(s, &q, NULL, NULL, e));
    sql_done(&q);
    x->asked += ok ? (int64_t)fresh : 0;
    return ok;
}

static bool
flush(struct enrol *x, struct err *e)
{
    int64_t before = x->asked;
    if (x->n && !store_transact(x->c->store, flush_body, x, e)) {
        x->asked = before;
        return false;
    }
    x->leads += (int64_t)x->n;
    x->n = 0;
    return true;
}

static void
add_filter(const struct enrol *x, struct sql *q)
{
    const struct sequence_enrol_flags *f = x->flags;
    sql_addf(q, " AND user_id = %" PRIu64, x->c->user_id);
    if (f->niche) {
        sql_addf(q, " AND niche = %s", f->niche);
    }
    if (f->target_status) {
        sql_addf(q, " AND target_status = %s", f->target_status);
    }
}

/* The next leads of a device behind this one, up to a batch; *last is the last of them. */
static bool
read_batch(struct enrol *x, uint64_t device, uint64_t *last, struct err *e)
{
    struct sql q = {0};
    struct rows r;
    sql_addf(&q, "SELECT id FROM leads WHERE device_id = %" PRIu64 " AND id > %" PRIu64, device,
             *last);
    add_filter(x, &q);
    sql_addf(&q, " ORDER BY id LIMIT %d", BATCH);
    bool ok = store_query(x->c->store, &q, &r, e);
    sql_done(&q);
    while (ok && rows_next(&r)) {
        *last = x->ids[x->n++] = rows_uint(&r, 0);
    }
    rows_done(&r);
    return ok;
}

static bool
enrol_devices(struct enrol *x, struct err *e)
{
    progress_start(&x->progress, x->sequence.name, "leads", (int64_t)x->n_devices, 0);
    for (size_t i = 0; i < x->n_devices; i++) {
        uint64_t last = 0;
        for (bool more = true; more;) {
            if (!read_batch(x, x->devices[i], &last, e)) {
                return false;
            }
            more = x->n == BATCH;
            if (!flush(x, e)) {
                return false;
            }
            progress_at(&x->progress, (int64_t)i, x->leads);
        }
    }
    return true;
}

static bool
add_phone(struct enrol *x, const char *phone, bool *found, struct err *e)
{
    struct sql q = {0};
    struct rows r;
    sql_addf(&q, "SELECT id FROM leads WHERE phone = %s", phone);
    add_filter(x, &q);
    sql_text(&q, " AND device_id IN (");
    for (size_t i = 0; i < x->n_devices; i++) {
        sql_text(&q, i ? ", " : "");
        sql_uint(&q, x->devices[i]);
    }
    sql_text(&q, ")");
    bool ok = store_query(x->c->store, &q, &r, e);
    sql_done(&q);
    *found = ok && r.count > 0;
    while (ok && rows_next(&r)) {
        x->ids[x->n++] = rows_uint(&r, 0);
        ok = x->n < BATCH || flush(x, e);
    }
    rows_done(&r);
    return ok;
}

static bool
enrol_phones(struct enrol *x, char **phones, int n, struct err *e)
{
    char phone[PHONE_SIZE];
    for (int i = 0; i < n; i++) { /* all are read before anybody is enrolled */
        if (!phone_normalise(phones[i], strlen(phones[i]), x->flags->country, phone, e)) {
            return err_wrap(e, "phone %d ('%.40s')", i + 1, phones[i]);
        }
    }
    for (int i = 0; i < n; i++) {
        bool found;
        if (!phone_normalise(phones[i], strlen(phones[i]), x->flags->country, phone, e) ||
            !add_phone(x, phone, &found, e)) {
            return false;
        }
        if (!found) {
            ctl_note("%s is no lead of the sequence's devices: import it first", phones[i]);
            doc_append_str(x->unknown, phones[i]);
        }
    }
    return flush(x, e);
}

/* --- waiting -------------------------------------------------------------------------- */

static bool
count_asked(struct enrol *x, int64_t *ret, struct err *e)
{
    struct rows r;
    if (!store_queryf(x->c->store, &r, e,
                      "SELECT COUNT(*) FROM sequence_requests WHERE sequence_id = %" PRIu64,
                      x->sequence.id)) {
        return false;
    }
    *ret = rows_next(&r) ? rows_int(&r, 0) : 0;
    rows_done(&r);
    return true;
}

static bool
wait_for_producers(struct enrol *x, struct err *e)
{
    int64_t total, left, moved_ms = clock_mono_ms();
    if (!count_asked(x, &total, e)) {
        return false;
    }
    progress_start(&x->progress, x->sequence.name, "enrolled", total, 0);
    for (int64_t last = left = total; left > 0; last = left) {
        (void)nanosleep(&(struct timespec){0, POLL_MS * 1000000L}, NULL);
        if (!count_asked(x, &left, e)) {
            return false;
        }
        progress_at(&x->progress, total - left, total - left);
        moved_ms = left < last ? clock_mono_ms() : moved_ms;
        if (clock_mono_ms() - moved_ms > STALLED_MS) {
            progress_clear(&x->progress);
            ctl_note("no producer has enrolled anybody for a while; see: paceline status");
            moved_ms = clock_mono_ms();
        }
    }
    progress_clear(&x->progress);
    return true;
}

/* --- the command ---------------------------------------------------------------------- */

static int
report(struct enrol *x)
{
    bool any_unknown = doc_len(x->unknown) > 0;
    struct doc *d = doc_object();
    doc_put_id(d, "id", x->sequence.id);
    doc_put_str(d, "name", x->sequence.name);
    doc_put_int(d, "leads", x->leads);
    doc_put_int(d, "asked", x->asked);
    doc_put_bool(d, "again", x->flags->again);
    doc_put_copy(d, "unknown", x->unknown);
    output_said(&x->c->out, d, "%" PRId64 " leads %s sequence %s%s", x->asked,
                x->flags->wait ? "were enrolled in" : "are going to be enrolled in",
                x->sequence.name,
                x->asked < x->leads ? "; the others had been asked for already" : "");
    return any_unknown ? CTL_FAILED : CTL_OK;
}

static int
enrol(struct enrol *x, const struct args *a)
{
    const struct sequence_enrol_flags *f = x->flags;
    struct err e = {0};
    bool all_devices, phones = a->n > 1;
    if (phones ? f->all : !f->all && !f->device && !f->niche && !f->target_status) {
        ctl_note(phones ? "name phones, or --all, not both"
                        : "say who: PHONE ..., --device, --niche, --target-status, or --all");
        return CTL_COULD_NOT;
    }
    bool ok = ctl_user(x->c, false, &e) && find_sequence(x, a->operands[0], &all_devices, &e) &&
              find_devices(x, all_devices, &e) &&
              (phones ? enrol_phones(x, a->operands + 1, a->n - 1, &e) : enrol_devices(x, &e)) &&
              (!f->wait || wait_for_producers(x, &e));
    progress_clear(&x->progress);
    return ok ? report(x) : ctl_fail(&e);
}

int
sequence_enrol(struct ctl *c, const struct args *a)
{
    struct enrol *x = xcalloc(1, sizeof *x);
    x->c = c;
    x->flags = a->flags;
    x->unknown = doc_list();
    int code = enrol(x, a);
    doc_free(x->unknown);
    free(x->devices);
    free(x);
    return code;
}
