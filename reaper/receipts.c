/* receipts.c -- the inbox that `paceline receipts` fills is applied: batch after batch, a
 * transaction each, by one reaper at a time.
 *
 * A receipt may overtake the commit of the result that brings its id: what is about no message that
 * we know waits, and is an orphan when it has waited for orphan_after.  Where a receipt proves that
 * a message went out whose job waits to go out again, the job is taken out of Redis before the row
 * says so: whoever dies in between leaves a row that reconcile puts back and this pass meets again.
 */
#include "reaper/opt_out.h"
#include "reaper/receipts_private.h"
#include "shared/clock.h"
#include "shared/fault.h"
#include "shared/log.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SLICE_MS = 250, LOOK_MS = 100, CLEAN_MS = 10000, CLEAN_ROWS = 2000 };

/* --- reading -------------------------------------------------------------------------- */

static void
take_line(struct receipt_line *l, const struct rows *r)
{
    *l = (struct receipt_line){.id = rows_uint(r, 0),
                               .user = rows_uint(r, 1),
                               .r = {.kind = receipt_kind_parse(rows_str(r, 3)),
                                     .attempt = (uint32_t)rows_uint(r, 6),
                                     .age_ms = rows_int(r, 13)},
                               .weak = rows_int(r, 7)};
    (void)snprintf(l->section, sizeof l->section, "%s", rows_str(r, 2));
    (void)snprintf(l->provider_id, sizeof l->provider_id, "%s", rows_str(r, 4));
    (void)snprintf(l->job_id, sizeof l->job_id, "%s", rows_str(r, 5));
    (void)snprintf(l->device_ref, sizeof l->device_ref, "%s", rows_str(r, 8));
    (void)snprintf(l->phone, sizeof l->phone, "%s", rows_str(r, 9));
    (void)snprintf(l->code, sizeof l->code, "%s", rows_str(r, 10));
    (void)snprintf(l->detail, sizeof l->detail, "%s", rows_str(r, 11));
    (void)snprintf(l->happened_at, sizeof l->happened_at, "%s", rows_str(r, 12));
}

static bool
read_lines(struct store *db, struct receipt_batch *b, struct err *e)
{
    struct rows r;
    if (!store_queryf(db, &r, e,
                      "SELECT id, user_id, section, kind, provider_message_id, job_id, attempt, "
                      "weak, device_ref, phone, code, detail, happened_at, TIMESTAMPDIFF("
                      "MICROSECOND, received_at, UTC_TIMESTAMP(3)) DIV 1000 FROM receipts WHERE "
                      "state = 'new' AND due_at <= UTC_TIMESTAMP(3) ORDER BY due_at, id LIMIT %d "
                      "FOR UPDATE",
                      RECEIPTS_BATCH)) {
        return false;
    }
    for (b->n = 0; rows_next(&r); b->n++) {
        take_line(&b->lines[b->n], &r);
    }
    rows_done(&r);
    return true;
}

/* --- what they mean ------------------------------------------------------------------- */

static enum receipt_end
end_unmet(const struct receipt_batch *b, const struct receipt_line *l)
{
    return l->r.age_ms >= b->reaper->s->orphan_after ? RECEIPT_ORPHAN : RECEIPT_LATER;
}

/* The rows are in memory what the lines before have made of them. */
static void
decide(struct receipt_batch *b, struct receipt_line *l)
{
    struct receipt_target *t = l->target;
    if (!t || t->held_up) {
        l->end = t ? RECEIPT_LATER : end_unmet(b, l);
        return;
    }
    l->r.other_id = *t->provider_id && strcmp(t->provider_id, l->provider_id) != 0;
    if (l->how != FOUND_BY_JOB) {
        l->r.attempt = 0;
    }
    struct receipt_action a = receipt_plan(&t->row, &l->r);
    l->end = a.wait ? end_unmet(b, l) : RECEIPT_APPLIED;
    if (a.wait) {
        return;
    }
    t->raise = a.raise ? l : t->raise;
    t->row.receipt = a.raise ? l->r.kind : t->row.receipt;
    if (a.evidence) {
        t->proof = l;
        t->row.status = a.status;
        t->row.attempt = a.attempt;
        t->row.unknowns = a.unknowns;
        t->row.assumed = t->row.assumed && l->r.kind == RECEIPT_FAILED && a.unknowns > 0;
        b->resolved++;
    }
}

struct call {
    struct queue_drop drop;
    int64_t dropped;
    bool failed;
};

static void
on_dropped(void *arg, const struct err *e)
{
    struct call *c = arg;
    c->failed = e != NULL;
}

/* Takes the jobs of rows that are going out again out of Redis, in the order of the batch's
 * targets.  What has been permitted goes on: its outcome is written as any other's. */
static void
take_back(struct receipt_batch *b)
{
    struct call *calls = xcalloc(b->n_targets + 1, sizeof *calls);
    struct queue *q = b->reaper->q;
    for (size_t i = 0; i < b->n_targets; i++) {
        struct receipt_target *t = &b->targets[i];
        if (t->take_back) {
            struct queue_drop *d = &calls[i].drop;
            *d = (struct queue_drop){.device = t->device, .row = t->id, .gen = t->gen};
            (void)snprintf(d->id, sizeof d->id, "%s", t->job_id);
            queue_drop(q, queue_partition(q, t->device), false, false, d, 1, &calls[i].dropped,
                       on_dropped, &calls[i]);
        }
    }
    queue_wait(q);
    for (size_t i = 0; i < b->n_targets; i++) {
        b->targets[i].held_up = b->targets[i].take_back && calls[i].failed;
    }
    free(calls);
}

/* Which rows would have to be taken back is known when all lines have been looked at. */
static bool
mark_take_back(struct receipt_batch *b)
{
    bool any = false;
    for (size_t i = 0; i < b->n; i++) {
        struct receipt_line *l = &b->lines[i];
        if (l->target) {
            struct receipt r = l->r;
            r.attempt = l->how == FOUND_BY_JOB ? r.attempt : 0;
            struct receipt_action a = receipt_plan(&l->target->row, &r);
            l->target->take_back = l->target->take_back || a.take_back;
            any = any || a.take_back;
        }
    }
    return any;
}

/* --- opting out, and in again ----------------------------------------------------------- */

/* Answers may come in another order than they were given: the latest one of a source holds, and of
 * two at one time the one that asks for silence. */
static bool
is_latest(struct store *db, const struct receipt_line *l, bool *ret, struct err *e)
{
    struct rows r;
    if (!store_queryf(db, &r, e,
                      "SELECT id FROM receipts WHERE consent_phone = %s AND user_id = %" PRIu64
                      " AND code = %s AND (happened_at > %s OR (happened_at = %s AND kind = 'stop' "
                      "AND %s = 'resume')) AND kind <> %s LIMIT 1",
                      l->phone, l->user, l->code, l->happened_at, l->happened_at,
                      receipt_kind_name(l->r.kind), receipt_kind_name(l->r.kind))) {
        return false;
    }
    *ret = r.count == 0;
    rows_done(&r);
    return true;
}

static bool
take_consent(struct store *db, struct receipt_line *l, struct err *e)
{
    bool latest = false;
    if (!*l->phone) { /* from whom it is cannot be told: a person may look at it */
        l->end = RECEIPT_ORPHAN;
        return true;
    }
    l->end = RECEIPT_APPLIED;
    if (!is_latest(db, l, &latest, e)) {
        return false;
    }
    if (!latest) {
        return true;
    }
    return l->r.kind == RECEIPT_STOP ? opt_out_phone(db, l->user, l->phone, l->code, e)
                                     : opt_out_lift(db, l->user, l->phone, l->code, e);
}

/* A refusal because of the recipient's wish is one more way to say it. */
static bool
take_refusals(struct store *db, struct receipt_batch *b, struct err *e)
{
    uint64_t ids[RECEIPTS_BATCH];
    size_t n = 0;
    for (size_t i = 0; i < b->n; i++) {
        const struct receipt_line *l = &b->lines[i];
        if (l->r.kind != RECEIPT_FAILED || !receipt_code_is_opt_out(l->code)) {
            continue;
        }
        if (l->target) {
            ids[n++] = l->target->id;
        } else if (*l->phone && !opt_out_phone(db, l->user, l->phone, OPT_OUT_PROVIDER, e)) {
            return false;
        }
    }
    return opt_out_rows(db, ids, n, e);
}

/* --- one transaction ------------------------------------------------------------------ */

static bool
apply_body(struct store *db, void *arg, struct err *e)
{
    struct receipt_batch *b = arg;
    b->resolved = 0;
    if (!read_lines(db, b, e) || !b->n) {
        return !b->n;
    }
    if (!receipt_find_rows(db, b, e) || !receipt_lock_rows(db, b, e)) {
        return false;
    }
    if (mark_take_back(b)) {
        take_back(b);
    }
    for (size_t i = 0; i < b->n; i++) {
        struct receipt_line *l = &b->lines[i];
        if (l->r.kind > RECEIPT_READ) {
            if (!take_consent(db, l, e)) {
                return false;
            }
        } else {
            decide(b, l);
        }
    }
    if (!take_refusals(db, b, e) || !receipt_write_rows(db, b, e) ||
        !receipt_write_lines(db, b, e)) {
        return false;
    }
    FAULT("receipts.applied");
    return true;
}

static void
count(const struct receipt_batch *b)
{
    int64_t ends[RECEIPT_ORPHAN + 1] = {0};
    uint64_t orphan = 0;
    for (size_t i = 0; i < b->n; i++) {
        ends[b->lines[i].end]++;
        orphan = b->lines[i].end == RECEIPT_ORPHAN ? b->lines[i].id : orphan;
    }
    if (orphan) {
        log_info("receipts_orphaned", "receipts", LOG_I(ends[RECEIPT_ORPHAN]), "one",
                 LOG_I(orphan));
    }
    metric_add(&reaper_metrics[M_RECEIPTS_APPLIED], ends[RECEIPT_APPLIED]);
    metric_add(&reaper_metrics[M_RECEIPTS_ORPHANED], ends[RECEIPT_ORPHAN]);
    metric_add(&reaper_metrics[M_RECEIPTS_RESOLVED], b->resolved);
}

/* *ret_n: how many were due. */
static bool
apply_some(struct reaper *r, size_t *ret_n, struct err *e)
{
    struct receipt_batch *b = xcalloc(1, sizeof *b);
    b->reaper = r;
    bool ok = store_transact(r->db, apply_body, b, e);
    if (ok && b->n) {
        FAULT("receipts.settled");
        count(b);
    }
    *ret_n = b->n;
    free(b);
    return ok;
}

/* --- the pass ------------------------------------------------------------------------- */

static bool
is_any_due(struct reaper *r, bool *ret, struct err *e)
{
    struct rows rows;
    if (!store_queryf(r->db, &rows, e,
                      "SELECT id FROM receipts WHERE state = 'new' AND due_at <= UTC_TIMESTAMP(3) "
                      "ORDER BY due_at, id LIMIT 1")) {
        return false;
    }
    *ret = rows.count > 0;
    rows_done(&rows);
    return true;
}

/* Lines that are done stay as long as the provider may repeat them. */
static bool
clean(struct reaper *r, struct err *e)
{
    static const char *const states[] = {"applied", "orphan"};
    if (!r->s->receipts_retention) {
        return true;
    }
    for (size_t i = 0; i < sizeof states / sizeof *states; i++) {
        if (!store_execf(r->db, NULL, e,
                         "DELETE FROM receipts WHERE state = %s AND due_at < UTC_TIMESTAMP(3) - "
                         "INTERVAL %" PRId64 " MICROSECOND ORDER BY due_at LIMIT %d",
                         states[i], r->s->receipts_retention * 1000, CLEAN_ROWS)) {
            return false;
        }
    }
    return true;
}

static bool
apply_slice(struct reaper *r, struct err *e)
{
    int64_t until = clock_mono_ms() + SLICE_MS;
    for (size_t n = RECEIPTS_BATCH; n == RECEIPTS_BATCH && clock_mono_ms() < until;) {
        if (!apply_some(r, &n, e)) {
            return false;
        }
        r->next_receipts = n == RECEIPTS_BATCH ? 0 : r->next_receipts;
    }
    return !program_due(&r->next_clean, CLEAN_MS) || clean(r, e);
}

bool
receipts_pass(struct reaper *r, struct err *e)
{
    bool any = false, mine = false;
    if (!program_due(&r->next_receipts, LOOK_MS)) {
        return true;
    }
    if (!is_any_due(r, &any, e)) {
        return false;
    }
    if (!any && clock_mono_ms() < r->next_clean) {
        return true;
    }
    if (!store_try_lock(r->db, "paceline-receipts", 0, &mine, e)) {
        return false;
    }
    if (!mine) {
        return true;
    }
    bool ok = apply_slice(r, e);
    struct err ignored = {0}; /* after a failure the lock may have gone with the connection */
    bool unlocked = store_unlock(r->db, "paceline-receipts", ok ? e : &ignored);
    return ok && unlocked;
}
