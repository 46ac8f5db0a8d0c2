/* deliver.c -- the I/O around deliver_plan: permits, requests and outcomes, gathered into one call
 * a partition and kind.  step() is the only writer of a delivery's state. */
#include "shared/clock.h"
#include "shared/fault.h"
#include "shared/log.h"
#include "worker/pace.h"
#include "worker/worker.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CALL_ITEMS = 50, REST_MS = 200 };

static void
list_add(struct delivery_list *l, struct delivery *d)
{
    d->prev = l->last;
    d->next = NULL;
    if (l->last) {
        l->last->next = d;
    } else {
        l->first = d;
    }
    l->last = d;
    l->n++;
}

static void
list_remove(struct delivery_list *l, struct delivery *d)
{
    if (d->prev) {
        d->prev->next = d->next;
    } else {
        l->first = d->next;
    }
    if (d->next) {
        d->next->prev = d->prev;
    } else {
        l->last = d->prev;
    }
    l->n--;
}

static void send_now(struct delivery *d);

static void
end(struct delivery *d)
{
    struct worker *w = d->part->w;
    w->n_live--;
    metric_set(&worker_metrics[M_IN_FLIGHT], (int64_t)w->n_live);
    if (d->has_record) {
        journal_recorded(w->journal, d->record);
    }
    parts_free(d->parts);
    buf_done(&d->text);
    free(d->memory);
    free(d);
}

/* The delivery is in list `from`; afterwards it is in the list of its next action, or gone. */
static void
step(struct delivery *d, struct delivery_list *from, enum delivery_event event)
{
    struct part *part = d->part;
    struct delivery_step s = deliver_plan(d->state, event);
    if (s.action == ACT_NOTHING) {
        return;
    }
    d->state = s.state;
    list_remove(from, d);
    switch (s.action) {
    case ACT_PERMIT:
        list_add(&part->permits, d);
        break;
    case ACT_FINISH:
        list_add(&part->finishes, d);
        break;
    case ACT_RELEASE:
        list_add(&part->releases, d);
        break;
    case ACT_SEND:
        list_add(&part->live, d);
        send_now(d);
        break;
    case ACT_END:
    case ACT_NOTHING:
        end(d);
        break;
    }
}

void
deliver_step(struct delivery *d, enum delivery_event event)
{
    step(d, &d->part->live, event);
}

void
deliver_add(struct delivery *d)
{
    struct worker *w = d->part->w;
    list_add(&d->part->live, d);
    w->n_live++;
    metric_set(&worker_metrics[M_IN_FLIGHT], (int64_t)w->n_live);
}

/* --- the request ----------------------------------------------------------------------------- */

void
deliver_count(const char *kind)
{
    static const char *const kinds[] = {"sent", "failed", "retry", "deferred", "unknown"};
    kind = strcmp(kind, "returned") == 0 ? "deferred" : kind;
    for (int i = 0; i < 5; i++) {
        if (strcmp(kind, kinds[i]) == 0) {
            metric_add(&worker_metrics[M_SENT + i], 1);
        }
    }
}

/* What an account or an endpoint answered holds for all of its devices.  A worker that dies here
 * has held its own device at most: another of them asks and is answered the same. */
static void
hold_wide(struct delivery *d)
{
    const struct verdict *v = &d->verdict;
    char field[sizeof d->account + 2];
    bool account = d->outcome.scope == SCOPE_ACCOUNT;
    if (v->wide_ms <= 0 || (account && !*d->account)) {
        return;
    }
    (void)snprintf(field, sizeof field, account ? "a:%s" : "e:%s",
                   account ? d->account : d->sender->name);
    log_warn("held", "what", LOG_S(field), "ms", LOG_I(v->wide_ms), "code", LOG_S(d->outcome.code),
             "text", LOG_S(d->outcome.text));
    queue_hold(d->part->w->q, field, d->lease.device, v->wide_ms, v->wide_cap_ms, v->told,
               d->outcome.code, NULL, NULL);
}

/* What an outcome means, for the message and for whatever else it is about. */
static void
take_outcome(struct delivery *d, const struct outcome *o)
{
    struct verdict v = pace_verdict(o, d->source[0] != 'd');
    d->outcome = *o;
    if (!v.told && o->scope == SCOPE_DEVICE) {
        v.hold_ms = v.hold_ms * d->part->w->s->device_rest / PACE_DEVICE_REST_MS;
    }
    d->verdict = v;
    d->kind = v.kind;
    deliver_count(v.kind);
    if (o->class != OUTCOME_SENT) {
        log_info("not_sent", "job", LOG_S(d->lease.id), "attempt", LOG_I(d->job.attempt), "kind",
                 LOG_S(v.kind), "code", LOG_S(o->code), "text", LOG_S(o->text), "hold_ms",
                 LOG_I(v.hold_ms));
    }
    hold_wide(d);
    if (o->class == OUTCOME_REJECTED && o->scope == SCOPE_DEVICE) {
        check_refused(d);
    }
}

void
deliver_unsent(struct delivery *d, const struct outcome *o)
{
    take_outcome(d, o);
    deliver_step(d, EVENT_UNSENDABLE);
}

static void
on_outcome(void *arg, const struct outcome *reported)
{
    struct delivery *d = arg;
    struct worker *w = d->part->w;
    struct outcome amended = *reported, *o = &amended;
    FAULT("worker.answered");
    media_amend(d, o);
    d->busy_ms = d->gap_ms > 0 ? clock_mono_ms() - d->asked_ms : 0;
    journal_outcome(w->journal, d->record,
                    o->class == OUTCOME_SENT      ? JOURNAL_SENT
                    : o->class == OUTCOME_UNKNOWN ? JOURNAL_UNKNOWN
                                                  : JOURNAL_NOT_SENT);
    metric_observe_us(&worker_metrics[M_SEND], o->send_ms * 1000);
    take_outcome(d, o);
    step(d, &d->part->live, EVENT_OUTCOME);
}

static void
send_now(struct delivery *d)
{
    struct worker *w = d->part->w;
    FAULT("worker.permitted");
    d->record = journal_permit(w->journal, &d->lease, d->row, queue_incarnation(w->q, d->part->p));
    d->has_record = true;
    d->message.not_after_mono_ms = d->asked_ms + w->s->lease;
    metric_observe_us(&worker_metrics[M_CLAIM_TO_SEND], clock_mono_us() - d->claimed_us);
    d->sender->type->send(d->sender->self, &d->message, on_outcome, d);
    FAULT("worker.sending");
}

/* --- calls ----------------------------------------------------------------------------------- */

/* Up to CALL_ITEMS deliveries, moved from their list to part->live while their call is under way.
 */
struct batch {
    struct part *part;
    size_t n;
    struct delivery *d[CALL_ITEMS];
    union {
        struct queue_permit permit[CALL_ITEMS];
        struct queue_finish finish[CALL_ITEMS];
        struct queue_release release[CALL_ITEMS];
    } items;
};

static struct batch *
take_batch(struct part *part, struct delivery_list *from)
{
    struct batch *b = xcalloc(1, sizeof *b);
    b->part = part;
    while (from->first && b->n < CALL_ITEMS) {
        struct delivery *d = from->first;
        list_remove(from, d);
        list_add(&part->live, d);
        b->d[b->n++] = d;
    }
    part->calls++;
    return b;
}

/* After a refusal (out of memory, read-only, ...) the partition's calls rest a little: no hot loop.
 */
static void
batch_end(struct batch *b, const struct err *e)
{
    struct part *part = b->part;
    part->calls--;
    free(b);
    if (e) {
        part->rest_until_ms = clock_mono_ms() + REST_MS;
        part->w->resting = true;
    }
    claim_room(part->w);
}

static void
on_permit(void *arg, const struct err *e)
{
    struct batch *b = arg;
    struct worker *w = b->part->w;
    int64_t now = clock_mono_ms();
    for (size_t i = 0; i < b->n; i++) {
        struct delivery *d = b->d[i];
        enum delivery_event event;
        if (e) {
            event = EVENT_PERMIT_LOST;
        } else if (b->items.permit[i].answer != PERMIT_GO) {
            event = EVENT_REFUSED;
            metric_add(&worker_metrics[M_STALE], b->items.permit[i].answer == PERMIT_STALE);
            if (b->items.permit[i].answer == PERMIT_STOPPED) {
                claim_device(b->part, d->lease.device); /* the next one may go at once */
            }
        } else {
            event = now - d->asked_ms > w->s->lease / 2 ? EVENT_TOO_OLD : EVENT_GO;
            if (d->gap_ms > 0) {
                claim_soon(
                    b->part,
                    d->gap_ms); /* a device with room for more is served before this one ends */
            }
        }
        step(d, &b->part->live, event);
    }
    batch_end(b, e);
}

static void
flush_permits(struct part *part)
{
    struct worker *w = part->w;
    struct batch *b = take_batch(part, &part->permits);
    int64_t now = clock_mono_ms();
    for (size_t i = 0; i < b->n; i++) {
        struct delivery *d = b->d[i];
        struct queue_permit *item = &b->items.permit[i];
        item->lease = d->lease;
        item->row = d->row;
        (void)snprintf(item->source, sizeof item->source, "%s", d->source);
        item->gap_ms = d->gap_ms;
        item->batch_size = d->batch_size;
        item->batch_pause_ms = d->batch_pause_ms;
        item->contact = d->job.contact;
        memcpy(item->who, d->who, sizeof item->who);
        d->asked_ms = now;
        d->leased_ms = now;
    }
    queue_permit(w->q, part->p, w->s->lease, b->items.permit, b->n, on_permit, b);
}

static void
on_finish(void *arg, const struct err *e)
{
    struct batch *b = arg;
    int64_t now = clock_mono_ms();
    if (!e) {
        FAULT("worker.finished");
    } else if (e->kind == ERR_REFUSED) {
        log_error("finish_refused", "partition", LOG_I(b->part->p), "why", LOG_S(e->text));
    }
    for (size_t i = 0; i < b->n; i++) {
        struct delivery *d = b->d[i];
        if (!e) {
            /* The device's slot was moved at the permit: it is asked for again when that has come.
             */
            int64_t left = d->gap_ms + d->busy_ms - (now - d->asked_ms);
            int64_t hold_ms = d->verdict.act == HOLD_DEVICE ? d->verdict.hold_ms : 0;
            if (hold_ms <= 0 && left <= 0) {
                claim_device(b->part, d->lease.device);
            } else {
                claim_soon(b->part, left > hold_ms ? left : hold_ms);
            }
            metric_add(&worker_metrics[M_LATE], b->items.finish[i].answer == FINISH_LATE);
            metric_add(&worker_metrics[M_STALE], b->items.finish[i].answer == FINISH_STALE);
        }
        step(d, &b->part->live, e ? EVENT_RECORD_LOST : EVENT_RECORDED);
    }
    batch_end(b, e);
}

static void
flush_finishes(struct part *part)
{
    struct worker *w = part->w;
    struct batch *b = take_batch(part, &part->finishes);
    for (size_t i = 0; i < b->n; i++) {
        struct delivery *d = b->d[i];
        struct queue_finish *item = &b->items.finish[i];
        *item = (struct queue_finish){
            .lease = d->lease,
            .row = d->row,
            .kind = d->kind,
            .act = d->verdict.act,
            .hold_ms = d->verdict.hold_ms,
            .told = d->verdict.told,
            .stop = d->verdict.stop,
            .stop_after = d->outcome.stop_after,
            .contact = d->job.contact,
            .code = d->outcome.code,
            .text = d->outcome.text,
            .provider_id = d->outcome.provider_id,
            .worker = w->name,
            .send_ms = d->outcome.send_ms,
            .busy_ms = d->busy_ms,
        };
        (void)snprintf(item->source, sizeof item->source, "%s", d->source);
        memcpy(item->who, d->who, sizeof item->who);
    }
    queue_finish(w->q, part->p, b->items.finish, b->n, on_finish, b);
}

static void
on_release(void *arg, const struct err *e)
{
    struct batch *b = arg;
    if (!e) {
        FAULT("worker.released");
        metric_add(&worker_metrics[M_RELEASED], (int64_t)b->n);
    }
    for (size_t i = 0; i < b->n; i++) {
        step(b->d[i], &b->part->live, EVENT_RELEASED);
    }
    batch_end(b, e);
}

static void
flush_releases(struct part *part)
{
    struct batch *b = take_batch(part, &part->releases);
    for (size_t i = 0; i < b->n; i++) {
        struct delivery *d = b->d[i];
        b->items.release[i] = (struct queue_release){
            .lease = d->lease, .not_before_ms = d->hold_ms, .why = d->hold_why};
    }
    queue_release(part->w->q, part->p, b->items.release, b->n, on_release, b);
}

/* After an outage: quiet hours may have begun and deadlines passed, which only a new claim looks
 * at. */
static void
release_stale(struct part *part)
{
    int64_t oldest_us = clock_mono_us() - part->w->s->lease * 1000;
    for (struct delivery *d = part->permits.first, *next; d; d = next) {
        next = d->next;
        if (d->claimed_us < oldest_us) {
            d->hold_ms = 0;
            step(d, &part->permits, EVENT_HOLD);
        }
    }
}

void
deliver_flush(struct part *part)
{
    if (!part->permits.n && !part->finishes.n && !part->releases.n) {
        return;
    }
    /* Without Redis, or while the partition recovers, what has gathered waits in its list. */
    if (!queue_up(part->w->q) || !part->told ||
        queue_state(part->w->q, part->p) != PARTITION_OPEN) {
        return;
    }
    if (part->rest_until_ms > clock_mono_ms()) {
        part->w->resting = true;
        return;
    }
    release_stale(part);
    while (part->permits.n) {
        flush_permits(part);
    }
    while (part->finishes.n) {
        flush_finishes(part);
    }
    while (part->releases.n) {
        flush_releases(part);
    }
}

/* --- renewing and giving back ---------------------------------------------------------------- */

struct renewal {
    size_t n;
    struct queue_lease leases[CALL_ITEMS];
    bool ok[CALL_ITEMS];
};

static void
on_renew(void *arg, const struct err *e)
{
    (void)e; /* a lease that is lost shows itself at permit or finish */
    free(arg);
}

static void
renew_list(struct part *part, const struct delivery_list *l, int64_t now)
{
    struct worker *w = part->w;
    struct renewal *r = NULL;
    for (struct delivery *d = l->first; d; d = d->next) {
        if (now - d->leased_ms < w->s->renew) {
            continue;
        }
        if (!r) {
            r = xcalloc(1, sizeof *r);
        }
        d->leased_ms = now;
        r->leases[r->n++] = d->lease;
        if (r->n == CALL_ITEMS || !d->next) {
            queue_renew(w->q, part->p, w->s->lease, r->leases, r->ok, r->n, on_renew, r);
            r = NULL;
        }
    }
    if (r) {
        queue_renew(w->q, part->p, w->s->lease, r->leases, r->ok, r->n, on_renew, r);
    }
}

void
deliver_renew(struct worker *w)
{
    int64_t now = clock_mono_ms();
    for (unsigned p = 0; p < w->n_parts; p++) {
        struct part *part = &w->parts[p];
        if (queue_up(w->q) && part->told) {
            renew_list(part, &part->live, now);
            renew_list(part, &part->permits, now);
            renew_list(part, &part->finishes, now);
        }
    }
}

void
deliver_release_all(struct worker *w)
{
    /* A permit that has not been asked for yet is not asked for any more. */
    for (unsigned p = 0; p < w->n_parts; p++) {
        struct part *part = &w->parts[p];
        while (part->permits.first) {
            part->permits.first->hold_ms = 0;
            step(part->permits.first, &part->permits, EVENT_HOLD);
        }
    }
}
