/* sequence.c -- leads are enrolled in sequences: all messages of all steps, of the linked sequences
 * too, become rows at once, with their times.
 *
 * Who is to be enrolled stands in the database: leads whose trigger has changed to a sequence's
 * word, and sequence_requests.  A batch's contacts and rows are written in the transaction that
 * takes its leads off, so a producer that dies anywhere is continued by any other without gap or
 * repeat.  How many rows a second may be written follows the lateness of due messages
 * (sequence_plan_rate). */
#include "producer/producer.h"
#include "producer/row_plan.h"
#include "producer/sequence_plan.h"
#include "shared/clock.h"
#include "shared/fault.h"
#include "shared/log.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { SLICE_MS = 100, CHECK_AFTER_S = 60 };

/* --- the chain -------------------------------------------------------------------------------- */

/* One link; *ret_next is what follows it, 0 for nothing. */
static bool
read_link(struct store *db, struct chain *c, uint64_t sequence, uint64_t *ret_next, struct err *e)
{
    struct rows r;
    *ret_next = 0;
    if (!store_queryf(db, &r, e,
                      "SELECT user_id, max_lateness_s, start_after_s, next_after_s, "
                      "next_sequence_id FROM sequences WHERE id = %" PRIu64
                      " AND status <> 'cancelled'",
                      sequence)) {
        return false;
    }
    /* Who writes rows without the paceline command may link in a circle. */
    bool usable =
        rows_next(&r) && (!c->n_links || rows_uint(&r, 0) == c->user) && !chain_has(c, sequence);
    if (usable) {
        c->user = rows_uint(&r, 0);
        c->links[c->n_links] = (struct chain_link){
            .sequence = sequence,
            .max_lateness_s = rows_int(&r, 1),
            .start_after_s = rows_int(&r, 2),
            .next_after_s = rows_int(&r, 3),
            .first = c->n_steps,
        };
        *ret_next = rows_uint(&r, 4);
    }
    rows_done(&r);
    if (!usable) {
        return true;
    }
    if (!store_queryf(db, &r, e,
                      "SELECT id, delay_s, delay_from = 'enrolment' FROM sequence_steps WHERE "
                      "sequence_id = %" PRIu64 " ORDER BY position LIMIT %d",
                      sequence, CHAIN_STEPS_MAX)) {
        return false;
    }
    struct chain_link *l = &c->links[c->n_links];
    while (rows_next(&r) && c->n_steps < CHAIN_STEPS_MAX) {
        c->steps[c->n_steps++] = (struct chain_step){
            .id = rows_uint(&r, 0), .delay_s = rows_int(&r, 1), .from_start = rows_int(&r, 2) != 0};
        l->n++;
    }
    rows_done(&r);
    c->n_links++;
    return true;
}

static bool
read_chain(struct store *db, uint64_t sequence, struct chain *c, struct err *e)
{
    *c = (struct chain){0};
    for (uint64_t next = sequence; next && c->n_links < CHAIN_LINKS_MAX;) {
        uint64_t at = next;
        if (!read_link(db, c, at, &next, e)) {
            return false;
        }
    }
    sequence_plan_times(c);
    return true;
}

/* --- one batch -------------------------------------------------------------------------------- */

struct candidate {
    uint64_t lead, device;
    char phone[32 + 1];
    char *name;
    bool again, opted_out, eligible;
    struct known_contact known[CHAIN_LINKS_MAX];
};

struct enrolment {
    struct producer *p;
    uint64_t sequence;
    bool requests; /* of sequence_requests; otherwise by the trigger */
    const struct chain *chain;
    char trigger[64 * 4 + 1];
    bool all_devices, active;
    char now[32]; /* the instant of enrolment, for all of the batch */
    struct candidate *list;
    size_t n, wanted;
    uint64_t inserted;
    size_t contacts;
};

static void
candidates_done(struct enrolment *x)
{
    for (size_t i = 0; i < x->n; i++) {
        free(x->list[i].name);
    }
    x->n = 0;
}

/* The sequences of the chain are locked in their order: enrolments that share one follow one
 * another, so that what is known of a contact stays true until the commit. */
static bool
lock_chain(struct store *db, struct enrolment *x, struct err *e)
{
    struct sql q = {0};
    struct rows r;
    sql_text(&q, "SELECT id, status = 'active', COALESCE(`trigger`, ''), all_devices, "
                 "UTC_TIMESTAMP(3), status = 'cancelled' FROM sequences WHERE id IN (");
    for (size_t i = 0; i < x->chain->n_links; i++) {
        sql_text(&q, i ? "," : "");
        sql_uint(&q, x->chain->links[i].sequence);
    }
    sql_text(&q, ") ORDER BY id FOR UPDATE");
    bool ok = store_query(db, &q, &r, e);
    sql_done(&q);
    x->active = false;
    bool whole = true; /* no link was cancelled since the chain was read */
    while (ok && rows_next(&r)) {
        whole = whole && !rows_int(&r, 5);
        if (rows_uint(&r, 0) == x->sequence) {
            x->active = rows_int(&r, 1) != 0;
            (void)snprintf(x->trigger, sizeof x->trigger, "%s", rows_str(&r, 2));
            x->all_devices = rows_int(&r, 3) != 0;
            (void)snprintf(x->now, sizeof x->now, "%s", rows_str(&r, 4));
        }
    }
    x->active = x->active && whole;
    rows_done(&r);
    return ok;
}

/* By the trigger: pending leads on the sequence's devices; those on others wait for a sequence of
 * theirs.
 */
static void
select_triggered(const struct enrolment *x, struct sql *q)
{
    sql_text(q, "SELECT l.id, l.device_id, l.phone, l.name, o.id, 0, 1 FROM devices d");
    if (!x->all_devices) {
        sql_addf(q, " JOIN sequence_devices v ON v.device_id = d.id AND v.sequence_id = %" PRIu64,
                 x->sequence);
    }
    sql_addf(q,
             " JOIN leads l FORCE INDEX (leads_triggered) ON l.device_id = d.id AND "
             "l.trigger_pending = 1 AND l.user_id = "
             "d.user_id AND l.`trigger` = %s LEFT JOIN opt_outs o ON o.user_id = l.user_id AND "
             "o.phone = l.phone WHERE d.user_id = %" PRIu64 " AND d.status <> 'removed' LIMIT %lu",
             x->trigger, x->chain->user, (unsigned long)x->wanted);
}

/* Requests are taken off whatever comes of them: of a lead that is gone, another user's, or on a
 * device that the sequence does not have, nothing does. */
static void
select_requested(const struct enrolment *x, struct sql *q)
{
    sql_addf(q,
             "SELECT s.lead_id, l.device_id, l.phone, l.name, o.id, s.again, d.id IS NOT NULL AND "
             "(%d OR v.device_id IS NOT NULL) FROM sequence_requests s LEFT JOIN leads l ON l.id = "
             "s.lead_id AND l.user_id = %" PRIu64
             " LEFT JOIN devices d ON d.id = l.device_id AND d.user_id = l.user_id AND d.status <> "
             "'removed' LEFT JOIN sequence_devices v ON v.sequence_id = s.sequence_id AND "
             "v.device_id = l.device_id LEFT JOIN opt_outs o ON o.user_id = l.user_id AND o.phone "
             "= l.phone WHERE s.sequence_id = %" PRIu64 " ORDER BY s.lead_id LIMIT %lu",
             x->all_devices ? 1 : 0, x->chain->user, x->sequence, (unsigned long)x->wanted);
}

static bool
read_candidates(struct store *db, struct enrolment *x, struct err *e)
{
    struct sql q = {0};
    struct rows r;
    (x->requests ? select_requested : select_triggered)(x, &q);
    bool ok = store_query(db, &q, &r, e);
    sql_done(&q);
    candidates_done(x);
    while (ok && rows_next(&r)) {
        struct candidate *c = &x->list[x->n++];
        *c = (struct candidate){
            .lead = rows_uint(&r, 0),
            .device = rows_uint(&r, 1),
            .name = xstrdup(rows_str(&r, 3)),
            .opted_out = r.field[4] != NULL,
            .again = rows_int(&r, 5) != 0,
            .eligible = rows_int(&r, 6) != 0,
        };
        (void)snprintf(c->phone, sizeof c->phone, "%s", rows_str(&r, 2));
    }
    rows_done(&r);
    return ok;
}

static void
add_lead_ids(const struct enrolment *x, struct sql *q)
{
    for (size_t i = 0; i < x->n; i++) {
        sql_text(q, i ? "," : "");
        sql_uint(q, x->list[i].lead);
    }
}

static bool
read_known(struct store *db, struct enrolment *x, struct err *e)
{
    struct sql q = {0};
    struct rows r;
    /* Through sequences, so that the first column of the contacts' key is a value, not a list. */
    sql_text(&q, "SELECT l.id, n.sequence_id, MAX(n.rotation), MAX(n.status = 'active') FROM leads "
                 "l JOIN sequences q JOIN sequence_contacts n FORCE INDEX (sequence_contacts_once) "
                 "ON n.sequence_id = q.id AND n.device_id = l.device_id AND n.recipient_phone = "
                 "l.phone WHERE q.id IN (");
    for (size_t i = 0; i < x->chain->n_links; i++) {
        sql_text(&q, i ? "," : "");
        sql_uint(&q, x->chain->links[i].sequence);
    }
    sql_text(&q, ") AND l.id IN (");
    add_lead_ids(x, &q);
    sql_text(&q, ") GROUP BY l.id, n.sequence_id");
    bool ok = store_query(db, &q, &r, e);
    sql_done(&q);
    while (ok && rows_next(&r)) {
        for (size_t i = 0; i < x->n; i++) {
            for (size_t k = 0; k < x->chain->n_links && x->list[i].lead == rows_uint(&r, 0); k++) {
                if (x->chain->links[k].sequence == rows_uint(&r, 1)) {
                    x->list[i].known[k] = (struct known_contact){true, rows_int(&r, 3) != 0,
                                                                 (unsigned)rows_uint(&r, 2)};
                }
            }
        }
    }
    rows_done(&r);
    return ok;
}

static void
add_contact(struct sql *q, const struct enrolment *x, const struct candidate *c,
            const struct chain_link *l, unsigned rotation, bool first)
{
    const struct chain_step *steps = x->chain->steps + l->first;
    sql_addf(q,
             first ? "(%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%s,%u,%" PRIu64 ",%s"
                   : ",(%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%s,%u,%" PRIu64 ",%s",
             l->sequence, x->chain->user, c->device, c->lead, c->phone, rotation, x->sequence,
             x->now);
    if (c->opted_out) {
        sql_addf(q, ",'left','opted-out',%s,NULL,NULL,NULL,0)", x->now);
        return;
    }
    if (l->n == 0) { /* nothing to send, and so through at the next look */
        sql_addf(q, ",'active','',NULL,NULL,NULL,%s,0)", x->now);
        return;
    }
    sql_addf(q,
             ",'active','',NULL,%s + INTERVAL %" PRId64 " SECOND,%s + INTERVAL %" PRId64
             " SECOND,%s + INTERVAL %" PRId64 " SECOND,%lu)",
             x->now, steps[0].at_s, x->now, steps[l->n - 1].at_s, x->now,
             steps[l->n - 1].at_s + CHECK_AFTER_S, (unsigned long)l->n);
}

static void
add_messages(struct sql *q, const struct enrolment *x, const struct candidate *c,
             const struct chain_link *l, unsigned rotation, size_t *n)
{
    for (size_t k = l->first; k < l->first + l->n; k++) {
        const struct message_row m = {
            .kind = SOURCE_SEQUENCE,
            .source = l->sequence,
            .step = x->chain->steps[k].id,
            .rotation = rotation,
            .user = x->chain->user,
            .device = c->device,
            .lead = c->lead,
            .phone = c->phone,
            .name = c->name,
            .from = x->now,
            .after_s = x->chain->steps[k].at_s,
            .max_lateness_s = l->max_lateness_s,
        };
        row_plan_add(q, &m, *n == 0);
        ++*n;
    }
}

/* Who has opted out gets a contact that has left, so that it can be seen, and no message. */
static bool
write_batch(struct store *db, struct enrolment *x, struct err *e)
{
    struct sql contacts = {0}, messages = {0};
    size_t n = 0;
    x->contacts = 0;
    sql_text(&contacts,
             "INSERT INTO sequence_contacts (sequence_id, user_id, device_id, lead_id, "
             "recipient_phone, rotation, entry_sequence_id, enrolled_at, status, reason, ended_at, "
             "first_at, last_at, check_at, total) VALUES ");
    row_plan_begin(&messages);
    for (size_t i = 0; i < x->n; i++) {
        const struct candidate *c = &x->list[i];
        bool links[CHAIN_LINKS_MAX] = {false};
        unsigned rotation;
        if (!c->eligible) {
            continue;
        }
        sequence_plan_lead(x->chain, c->known, c->again, links, &rotation);
        for (size_t k = 0; k < x->chain->n_links; k++) {
            if (!links[k] || (c->opted_out && k > 0)) {
                continue;
            }
            add_contact(&contacts, x, c, &x->chain->links[k], rotation, x->contacts++ == 0);
            if (!c->opted_out) {
                add_messages(&messages, x, c, &x->chain->links[k], rotation, &n);
            }
        }
    }
    bool ok = (!x->contacts || store_exec(db, &contacts, NULL, NULL, e)) &&
              (!n || store_exec(db, &messages, &x->inserted, NULL, e));
    sql_done(&contacts);
    sql_done(&messages);
    return ok;
}

static bool
take_off(struct store *db, struct enrolment *x, struct err *e)
{
    struct sql q = {0};
    if (x->requests) {
        sql_addf(&q,
                 "DELETE FROM sequence_requests WHERE sequence_id = %" PRIu64 " AND lead_id IN (",
                 x->sequence);
        add_lead_ids(x, &q);
        sql_text(&q, ")");
    } else {
        sql_text(&q, "UPDATE leads SET trigger_seen = `trigger` WHERE id IN (");
        add_lead_ids(x, &q);
        sql_addf(&q, ") AND `trigger` = %s", x->trigger);
    }
    bool ok = store_exec(db, &q, NULL, NULL, e);
    sql_done(&q);
    return ok;
}

static bool
enrol_body(struct store *db, void *arg, struct err *e)
{
    struct enrolment *x = arg;
    x->inserted = 0;
    x->contacts = 0;
    candidates_done(x);
    if (!lock_chain(db, x, e)) {
        return false;
    }
    if (!x->active || (!x->requests && !*x->trigger)) {
        return true;
    }
    if (!read_candidates(db, x, e)) {
        return false;
    }
    if (!x->n) {
        return true;
    }
    if (!read_known(db, x, e) || !write_batch(db, x, e) || !take_off(db, x, e)) {
        return false;
    }
    FAULT("enrol.inserted");
    return true;
}

/* *ret_more: the batch was full. */
static bool
enrol_batch(struct producer *p, struct enrolment *x, uint64_t *ret_rows, bool *ret_more,
            struct err *e)
{
    bool ok = store_transact(p->db, enrol_body, x, e);
    if (ok && x->n) {
        FAULT("enrol.committed");
        *ret_rows += x->inserted;
        p->enrol.credit -= (double)(x->inserted + x->n);
        metric_add(&producer_metrics[M_ROWS], (int64_t)x->inserted);
        metric_add(&producer_metrics[M_ENROLLED], (int64_t)x->contacts);
    }
    *ret_more = ok && x->n == x->wanted;
    candidates_done(x);
    return ok || err_wrap(e, "sequence %" PRIu64, x->sequence);
}

/* --- the pace --------------------------------------------------------------------------------- */

static void
refill(struct producer *p)
{
    struct enrol_pace *w = &p->enrol;
    int64_t now = clock_mono_us();
    double max = (double)p->s->enrol_rate;
    if (!w->at_us || w->rate <= 0) {
        *w = (struct enrol_pace){.rate = max, .credit = max / 10, .at_us = now, .lag_ms = -1};
    }
    if (now - w->at_us >= 100000) {
        w->rate = sequence_plan_rate(w->rate, w->lag_ms, p->s->dispatch_lag, max);
        w->lag_ms = -1;
        w->credit += w->rate * (double)(now - w->at_us) / 1e6;
        w->credit = w->credit > w->rate ? w->rate : w->credit;
        w->at_us = now;
        metric_set(&producer_metrics[M_ENROL_RATE], (int64_t)w->rate);
    }
}

/* Enrols of one sequence until nobody is left, the credit is spent or the slice is over. */
static bool
enrol_some(struct producer *p, uint64_t sequence, bool requests, int64_t until, uint64_t *ret_rows,
           bool *ret_more, struct err *e)
{
    struct chain *chain = xcalloc(1, sizeof *chain);
    bool ok = read_chain(p->db, sequence, chain, e), more = chain->n_links > 0;
    struct enrolment x = {.p = p, .sequence = sequence, .requests = requests, .chain = chain};
    x.wanted = sequence_plan_batch(chain, (size_t)p->s->enrol_batch);
    x.list = xcalloc(x.wanted, sizeof *x.list);
    while (ok && more && p->enrol.credit > 0 && clock_mono_ms() < until && !program_stopping) {
        ok = enrol_batch(p, &x, ret_rows, &more, e);
    }
    *ret_more = *ret_more || more;
    free(x.list);
    free(chain);
    return ok;
}

/* One dive into an index a sequence; as EXISTS it would be made a join over all that wait. */
static const char *const waiting[] = {
    "(SELECT 1 FROM leads l WHERE l.trigger_pending = 1 AND l.user_id = s.user_id AND "
    "l.`trigger` = s.`trigger` LIMIT 1) = 1",
    "(SELECT 1 FROM sequence_requests r WHERE r.sequence_id = s.id LIMIT 1) = 1",
};

/* Sequences take turns: who has many to enrol does not hold up the others. */
static bool
enrol_all(struct producer *p, bool requests, uint64_t *ret_rows, bool *ret_more, struct err *e)
{
    struct source_ids open;
    struct sql q = {0};
    uint64_t *turn = &p->enrol.turn[requests];
    int64_t until = clock_mono_ms() + SLICE_MS;
    sql_text(&q, "SELECT s.id, s.user_id FROM sequences s WHERE s.status = 'active' AND ");
    sql_text(&q, waiting[requests]);
    sql_addf(&q, " AND s.id > %" PRIu64 " ORDER BY s.id LIMIT %d", *turn, SOURCES_A_TICK);
    bool ok = source_read_ids(p->db, q.text.data, &open, e);
    sql_done(&q);
    bool wrapped = *turn != 0; /* there are others before it */
    *turn = 0;
    for (size_t i = 0; ok && i < open.n && clock_mono_ms() < until && !program_stopping; i++) {
        bool mine = false;
        ok = source_try_lock(p, SOURCE_SEQUENCE, open.id[i], &mine, e);
        if (ok && mine) {
            ok = enrol_some(p, open.id[i], requests, until, ret_rows, ret_more, e);
            ok = source_unlock(p, SOURCE_SEQUENCE, open.id[i], ok, e) ||
                 source_refused(SOURCE_SEQUENCE, open.id[i], e);
        }
        *turn = i + 1 < open.n || open.n == SOURCES_A_TICK ? open.id[i] : 0;
    }
    *ret_more = *ret_more || (ok && (wrapped || *turn));
    return ok;
}

bool
sequence_tick(struct producer *p, uint64_t *ret_rows, struct err *e)
{
    bool more = false;
    refill(p);
    if (p->enrol.credit <= 0 || !program_due(&p->next_enrol, p->s->enrol_interval)) {
        return true;
    }
    bool ok = enrol_all(p, false, ret_rows, &more, e) && enrol_all(p, true, ret_rows, &more, e);
    if (more) {
        p->next_enrol = 0;
    }
    return ok;
}
