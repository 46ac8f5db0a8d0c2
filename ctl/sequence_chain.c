/* sequence_chain.c -- what sequences have to do with one another, and what their tables say of one.
 */
#include "ctl/sequence_def.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- links ---------------------------------------------------------------------------- */

struct link {
    uint64_t id, next;
    int64_t steps;
    char *name;
    bool cancelled;
};
struct chain {
    struct link *links;
    size_t n, cap;
};

static void
chain_done(struct chain *x)
{
    for (size_t i = 0; i < x->n; i++) {
        free(x->links[i].name);
    }
    free(x->links);
}

/* Adds the sequence; nothing when there is none any more.  lock: it stays as it is until the
 * transaction ends. */
static bool
add_link(struct ctl *c, uint64_t id, bool lock, struct chain *x, struct err *e)
{
    struct sql q = {0};
    struct rows r;
    sql_addf(&q,
             "SELECT s.name, s.next_sequence_id, s.status = 'cancelled', (SELECT COUNT(*) FROM "
             "sequence_steps t WHERE t.sequence_id = s.id) FROM sequences s WHERE s.id = %" PRIu64
             " AND s.user_id = %" PRIu64,
             id, c->user_id);
    sql_text(&q, lock ? " LOCK IN SHARE MODE" : "");
    bool ok = store_query(c->store, &q, &r, e);
    sql_done(&q);
    if (ok && rows_next(&r)) {
        VEC_GROW(x->links, x->n, x->cap);
        x->links[x->n++] = (struct link){id, rows_uint(&r, 1), rows_int(&r, 3),
                                         xstrdup(rows_str(&r, 0)), rows_int(&r, 2) != 0};
    }
    rows_done(&r);
    return ok;
}

/* "COLD -> WARM -> COLD" from its first link on. */
static bool
cycle(const struct chain *x, size_t from, struct err *e)
{
    struct buf names = {0};
    for (size_t i = from; i < x->n; i++) {
        buf_addf(&names, "%.60s -> ", x->links[i].name);
    }
    (void)err_set(e, ERR_INPUT, "%.200s%.60s: the sequences follow one another in a circle",
                  names.data, x->links[from].name);
    buf_done(&names);
    return false;
}

static bool
walk(struct ctl *c, uint64_t id, bool lock, struct chain *x, struct err *e)
{
    while (id) {
        for (size_t i = 0; i < x->n; i++) {
            if (x->links[i].id == id) {
                return cycle(x, i, e);
            }
        }
        size_t before = x->n;
        if (!add_link(c, id, lock, x, e)) {
            return false;
        }
        id = x->n > before ? x->links[before].next : 0;
    }
    return true;
}

bool
sequence_chain(struct ctl *c, uint64_t id, uint64_t **ret, size_t *ret_n, struct err *e)
{
    struct chain x = {0};
    *ret = NULL;
    *ret_n = 0;
    bool ok = walk(c, id, false, &x, e);
    if (ok) {
        *ret = xcalloc(x.n + 1, sizeof **ret);
        *ret_n = x.n;
        for (size_t i = 0; i < x.n; i++) {
            (*ret)[i] = x.links[i].id;
        }
    }
    chain_done(&x);
    return ok;
}

/* Each message of the chain is made when a contact is enrolled. */
static bool
check_chain(const struct sequence_def *d, const struct chain *x, const char *place, struct err *e)
{
    int64_t total = (int64_t)d->n;
    for (size_t i = 0; i < x->n; i++) {
        total += x->links[i].steps;
    }
    if (x->n && x->links[0].cancelled) {
        return err_set(e, ERR_INPUT, "%s: sequence '%.100s' is cancelled; link to another", place,
                       x->links[0].name);
    }
    return total <= SEQUENCE_MESSAGES_MAX ||
           err_set(e, ERR_INPUT,
                   "%s: with the sequences behind it a contact would get %" PRId64
                   " messages; %d are the most",
                   place, total, SEQUENCE_MESSAGES_MAX);
}

bool
sequence_def_link(struct ctl *c, struct sequence_def *d, struct err *e)
{
    char place[DEFINE_PLACE];
    struct found next;
    struct chain x = {0};
    if (!d->next) {
        return true;
    }
    (void)sequence_def_place(d, d->json ? "next.sequence" : "next", place);
    bool ok =
        ctl_find_source(c, SOURCE_SEQUENCE, d->next, &next, e) && walk(c, next.id, true, &x, e);
    ok = ok ? check_chain(d, &x, place, e) : err_wrap(e, "%s", place);
    chain_done(&x);
    d->next_id = ok ? next.id : 0;
    return ok || (d->json && err_wrap(e, "%.100s", define_file_name(d->file)));
}

/* --- back into a definition ------------------------------------------------------------ */

static bool
put_steps(struct ctl *c, uint64_t id, struct doc *out, struct err *e)
{
    struct rows r;
    struct doc *steps = doc_put_list(out, "steps");
    struct buf delay = {0};
    int64_t ms;
    const struct flag as_ms = {.name = "delay", .type = FLAG_MS};
    if (!store_queryf(
            c->store, &r, e,
            "SELECT content, 1000 * delay_s, delay_from, media, template FROM sequence_steps WHERE "
            "sequence_id = %" PRIu64 " ORDER BY position",
            id)) {
        return false;
    }
    while (rows_next(&r)) {
        struct doc *step = doc_append(steps);
        ms = rows_int(&r, 1);
        buf_clear(&delay);
        flag_write(&as_ms, &ms, &delay);
        doc_put_strn(step, "delay", delay.data, delay.len);
        doc_put_str(step, "from", rows_str(&r, 2));
        if (r.length[0] || !(r.field[3] || r.field[4])) {
            doc_put_strn(step, "content", r.field[0], r.length[0]);
        }
        define_message_put(r.field[3], r.field[4], step);
    }
    rows_done(&r);
    buf_done(&delay);
    return true;
}

static void
put_next(const struct rows *r, struct doc *out)
{
    struct buf after = {0};
    int64_t ms = rows_int(r, 5);
    const struct flag as_ms = {.name = "after", .type = FLAG_MS};
    if (r->field[4]) {
        struct doc *next = doc_put_object(out, "next");
        flag_write(&as_ms, &ms, &after);
        doc_put_str(next, "sequence", rows_str(r, 4));
        doc_put_strn(next, "after", after.data, after.len);
        buf_done(&after);
    }
}

bool
sequence_def_put(struct ctl *c, uint64_t id, struct doc *out, struct err *e)
{
    static const char *const first[] = {"trigger", "start_after", NULL};
    struct rows r;
    if (!store_queryf(c->store, &r, e,
                      "SELECT s.name, s.`trigger`, s.all_devices, 1000 * s.start_after_s, n.name, "
                      "1000 * s.next_after_s, s.min_gap_ms, s.max_gap_ms, s.batch_size, "
                      "s.batch_pause_ms, 1000 * s.max_lateness_s, s.max_attempts, s.on_unknown "
                      "FROM sequences s LEFT JOIN sequences n ON n.id = s.next_sequence_id AND "
                      "n.user_id = s.user_id WHERE "
                      "s.id = %" PRIu64 " AND s.user_id = %" PRIu64,
                      id, c->user_id)) {
        return false;
    }
    bool ok = rows_next(&r);
    if (!ok) {
        rows_done(&r);
        return err_set(e, ERR_GONE, "the sequence is gone");
    }
    struct sequence_def d = {.trigger = r.field[1], .start_after = rows_int(&r, 3)};
    define_pace_read(&r, 6, &d.pace);
    doc_put_str(out, "name", rows_str(&r, 0));
    ok = define_devices_put(c, SOURCE_SEQUENCE, id, rows_int(&r, 2) != 0, out, e);
    define_put(sequence_flags, first, &d, out);
    ok = ok && put_steps(c, id, out, e);
    put_next(&r, out);
    define_put(sequence_flags, define_pace_members, &d, out);
    rows_done(&r);
    return ok;
}
