/* cmd_optout.c -- who does not want to be written to: adding takes effect at once, also on what
 * Redis holds; removing lets later messages through and brings none back. */
#include "ctl/command.h"
#include "ctl/ctl.h"
#include "ctl/optout_verbs.h"
#include "shared/optout.h"
#include "shared/phone.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

struct phone_flags {
    const char *country, *source;
    int64_t limit;
};

#define FLAG(name) offsetof(struct phone_flags, name)
#define COUNTRY                                                                                    \
    {                                                                                              \
        "country", FLAG_TEXT, FLAG(country), "60", NULL,                                           \
            "Calling code for phones that begin with 0.", false                                    \
    }
#define END                                                                                        \
    {                                                                                              \
        NULL, FLAG_BOOL, 0, NULL, NULL, NULL, false                                                \
    }

static const struct flag add_flags[] = {
    {"source", FLAG_TEXT, FLAG(source), "WORDS", "by hand", "Where the wish came from; kept.",
     false},
    COUNTRY,
    END,
};
static const struct flag remove_flags[] = {COUNTRY, END};
static const struct flag list_flags[] = {
    {"source", FLAG_TEXT, FLAG(source), "WORDS", NULL, "Only those from there.", false},
    {"limit", FLAG_INT, FLAG(limit), "1..1000000", "200", "How many at most, the latest first.",
     false},
    COUNTRY,
    END,
};

/* --- phones --------------------------------------------------------------------------- */

struct phones {
    char (*at)[PHONE_SIZE];
    size_t n; /* each once */
};

static bool
is_there(const struct phones *p, const char *phone)
{
    for (size_t i = 0; i < p->n; i++) {
        if (strcmp(p->at[i], phone) == 0) {
            return true;
        }
    }
    return false;
}

/* All are read before anything is done with one. */
static bool
read_phones(const struct args *a, const char *country, struct phones *ret, struct err *e)
{
    *ret = (struct phones){.at = xcalloc((size_t)a->n + 1, sizeof *ret->at)};
    for (int i = 0; i < a->n; i++) {
        char phone[PHONE_SIZE];
        if (!phone_normalise(a->operands[i], strlen(a->operands[i]), country, phone, e)) {
            return err_wrap(e, "phone %d ('%.40s')", i + 1, a->operands[i]);
        }
        if (!is_there(ret, phone)) {
            memcpy(ret->at[ret->n++], phone, PHONE_SIZE);
        }
    }
    return true;
}

static void
add_phones(struct sql *q, const struct phones *p)
{
    sql_text(q, " AND phone IN (");
    for (size_t i = 0; i < p->n; i++) {
        sql_text(q, i ? ", " : "");
        sql_str(q, p->at[i]);
    }
    sql_text(q, ")");
}

/* --- add ------------------------------------------------------------------------------ */

bool
optout_source_fits(const char *source, struct err *e)
{
    size_t n = 0;
    for (const char *p = source; *p; p++) {
        n += ((unsigned char)*p & 0xc0) != 0x80;
    }
    return (n >= 1 && n <= OPTOUT_SOURCE_CHARS) ||
           err_set(e, ERR_INPUT, "--source: has 1 to %d characters", OPTOUT_SOURCE_CHARS);
}

static bool
insert(struct ctl *c, const struct phones *p, const char *source, uint64_t *added, struct err *e)
{
    struct sql q = {0};
    sql_text(&q, "INSERT INTO opt_outs (user_id, phone, source, created_at) VALUES ");
    for (size_t i = 0; i < p->n; i++) {
        sql_addf(&q,
                 i ? ", (%" PRIu64 ", %s, %s, UTC_TIMESTAMP(3))"
                   : "(%" PRIu64 ", %s, %s, UTC_TIMESTAMP(3))",
                 c->user_id, p->at[i], source);
    }
    sql_text(&q, " ON DUPLICATE KEY UPDATE id = id"); /* who said it first, and when, stays */
    bool ok = store_exec(c->store, &q, added, NULL, e);
    sql_done(&q);
    return ok;
}

/* Those for which nobody has acted in full yet; the producers go on where this ends. */
static bool
act(struct ctl *c, const struct phones *p, struct withdrawn *ret, struct err *e)
{
    struct sql q = {0};
    struct rows r;
    uint64_t ids[OPTOUT_MAX];
    size_t n = 0;
    sql_addf(&q, "SELECT id FROM opt_outs WHERE user_id = %" PRIu64 " AND steered = 0", c->user_id);
    add_phones(&q, p);
    bool ok = store_query(c->store, &q, &r, e);
    sql_done(&q);
    if (!ok) {
        return false;
    }
    while (ok && rows_next(&r)) {
        ids[n++] = rows_uint(&r, 0);
        if (n == OPTOUT_MAX) {
            ok = optout_apply(c->store, c->queue, ids, n, ret, e);
            n = 0;
        }
    }
    rows_done(&r);
    return ok && optout_apply(c->store, c->queue, ids, n, ret, e);
}

static int
report_added(struct ctl *c, const struct phones *p, uint64_t added, const struct withdrawn *w,
             bool told)
{
    struct doc *d = doc_object();
    uint64_t stopped = w->taken + w->skipped;
    doc_put_int(d, "added", (int64_t)added);
    doc_put_int(d, "known", (int64_t)(p->n - added));
    doc_put_int(d, "stopped", (int64_t)stopped);
    doc_put_int(d, "may_have_left", (int64_t)w->gone);
    doc_put_str(d, "redis", told ? "told" : "later");
    if (w->gone) {
        ctl_note("%" PRIu64 " message%s being sent just now", w->gone,
                 w->gone == 1 ? " is" : "s are");
    }
    output_said(&c->out, d,
                "%" PRIu64 " opted out, %zu had before; %" PRIu64
                " messages on their way were stopped",
                added, p->n - (size_t)added, stopped);
    return CTL_OK;
}

static int
add(struct ctl *c, const struct args *a)
{
    const struct phone_flags *f = a->flags;
    struct err e = {0}, away = {0};
    struct phones p;
    struct withdrawn w = {0};
    uint64_t added = 0;
    bool ok = read_phones(a, f->country, &p, &e) && optout_source_fits(f->source, &e) &&
              ctl_user(c, true, &e) && insert(c, &p, f->source, &added, &e);
    bool told = ok && ctl_queue(c, &away);
    if (ok && !told) {
        ctl_note("what Redis holds for them is stopped later (%s); the producers do so", away.text);
    }
    ok = ok && (!told || act(c, &p, &w, &e));
    int code = ok ? report_added(c, &p, added, &w, told) : ctl_fail(&e);
    free(p.at);
    return code;
}

/* --- remove --------------------------------------------------------------------------- */

static bool
is_opted_out(struct ctl *c, const char *phone, bool *ret, struct err *e)
{
    struct rows r;
    if (!store_queryf(c->store, &r, e,
                      "SELECT id FROM opt_outs WHERE user_id = %" PRIu64 " AND phone = %s",
                      c->user_id, phone)) {
        return false;
    }
    *ret = r.count > 0;
    rows_done(&r);
    return true;
}

static bool delete (struct ctl *c, const struct phones *p, uint64_t *removed, struct err *e)
{
    struct sql q = {0};
    sql_addf(&q, "DELETE FROM opt_outs WHERE user_id = %" PRIu64, c->user_id);
    add_phones(&q, p);
    bool ok = store_exec(c->store, &q, removed, NULL, e);
    sql_done(&q);
    return ok;
}

static int
remove_phones(struct ctl *c, const struct args *a)
{
    const struct phone_flags *f = a->flags;
    struct err e = {0};
    struct phones p;
    uint64_t removed = 0;
    struct doc *d = doc_object(), *unknown = doc_list();
    bool ok = read_phones(a, f->country, &p, &e) && ctl_user(c, false, &e);
    for (size_t i = 0; ok && i < p.n; i++) {
        bool there = false;
        ok = is_opted_out(c, p.at[i], &there, &e);
        if (ok && !there) {
            ctl_note("%s has not opted out", p.at[i]);
            doc_append_str(unknown, p.at[i]);
        }
    }
    ok = ok && delete (c, &p, &removed, &e);
    free(p.at);
    if (!ok) {
        doc_free(d);
        doc_free(unknown);
        return ctl_fail(&e);
    }
    int code = doc_len(unknown) ? CTL_FAILED : CTL_OK;
    doc_put_int(d, "removed", (int64_t)removed);
    doc_put(d, "not_opted_out", unknown);
    output_said(&c->out, d,
                "%" PRIu64 " removed: messages that are made from now on go out; those that were "
                "skipped stay skipped",
                removed);
    return code;
}

/* --- list ----------------------------------------------------------------------------- */

static const struct column columns[] = {
    {"phone", "PHONE", SHOW_TEXT},
    {"source", "SOURCE", SHOW_TEXT},
    {"created_at", "SINCE", SHOW_TIME},
    {"in_force", "IN FORCE", SHOW_YES},
    {NULL, NULL, SHOW_TEXT},
};

static bool
query(struct ctl *c, const struct phone_flags *f, const struct phones *p, struct rows *r,
      struct err *e)
{
    struct sql q = {0};
    sql_addf(&q, "SELECT phone, source, created_at, steered FROM opt_outs WHERE user_id = %" PRIu64,
             c->user_id);
    if (p->n) {
        add_phones(&q, p);
    }
    if (f->source) {
        sql_addf(&q, " AND source = %s", f->source);
    }
    sql_addf(&q, " ORDER BY id DESC LIMIT %" PRId64, f->limit + 1);
    bool ok = store_query(c->store, &q, r, e);
    sql_done(&q);
    return ok;
}

static int
list(struct ctl *c, const struct args *a)
{
    const struct phone_flags *f = a->flags;
    struct err e = {0};
    struct phones p;
    struct rows r;
    bool ok =
        read_phones(a, f->country, &p, &e) && ctl_user(c, false, &e) && query(c, f, &p, &r, &e);
    free(p.at);
    if (!ok) {
        return ctl_fail(&e);
    }
    struct doc *all = doc_list();
    for (int64_t i = 0; i < f->limit && rows_next(&r); i++) {
        output_row(&r, 0, columns, doc_append(all));
    }
    if ((int64_t)r.count > f->limit) {
        ctl_note("there are more than %" PRId64 "; --limit shows them", f->limit);
    }
    rows_done(&r);
    output_list(&c->out, columns, all);
    return CTL_OK;
}

const struct command optout_commands[] = {
    {"optout", "add", "PHONE ...", 1, -1, add_flags, sizeof(struct phone_flags), add,
     "They get nothing more from this user; what is on its way to them is stopped."},
    {"optout", "remove", "PHONE ...", 1, -1, remove_flags, sizeof(struct phone_flags),
     remove_phones, "They may be written to again."},
    {"optout", "list", "[PHONE ...]", 0, -1, list_flags, sizeof(struct phone_flags), list,
     "Shows who has opted out, where the wish came from and since when."},
    {"optout", "import", "FILE.csv", 1, 1, optout_import_flags, sizeof(struct optout_import_flags),
     optout_import,
     "Opts out the phones of a CSV with a header line; an import that was cut off goes on where it "
     "was."},
    {NULL, NULL, NULL, 0, 0, NULL, 0, NULL, NULL},
};
