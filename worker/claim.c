#include "shared/backoff.h"
#include "shared/clock.h"
#include "shared/fault.h"
#include "shared/rank.h"
#include "worker/worker.h"

#include <stdlib.h>
#include <string.h>

enum { OVERDUE_MS = 1000, BARREN_MS = 50, SILENT_MS = 3000 };

/* Never longer than poll_max; others' partitions are only looked after, once in poll_max for the
 * whole fleet. */
static int64_t
patience(const struct part *part, int64_t ms)
{
    if (ms > part->w->s->poll_max) {
        ms = part->w->s->poll_max;
    }
    int64_t others = part->w->s->poll_max * (int64_t)part->w->n_workers;
    return !part->preferred && ms < others ? others : ms;
}

static void
ask_again_in(struct part *part, int64_t ms)
{
    ms = patience(part, ms);
    ev_timer_stop(part->w->loop, &part->timer);
    ev_now_update(part->w->loop);
    ev_timer_set(&part->timer, (double)(ms > 0 ? ms : 0) / 1000.0, 0.);
    ev_timer_start(part->w->loop, &part->timer);
}

void
claim_soon(struct part *part, int64_t ms)
{
    double wait = (double)(ms > 0 ? ms : 0) / 1000.0;
    if (part->claiming) {
        part->again = part->again || ms <= 0;
    }
    ev_now_update(part->w->loop);
    if (!ev_is_active(&part->timer) || ev_timer_remaining(part->w->loop, &part->timer) > wait) {
        ev_timer_stop(part->w->loop, &part->timer);
        ev_timer_set(&part->timer, wait, 0.);
        ev_timer_start(part->w->loop, &part->timer);
    }
}

void
claim_device(struct part *part, uint64_t device)
{
    if (!part->claiming && part->n_due < CLAIM_DEVICES) {
        part->due[part->n_due++] = device;
    }
    claim_soon(part, 0);
}

static bool
may_claim(const struct part *part)
{
    return !part->claiming && part->told && !part->w->draining && queue_up(part->w->q) &&
           queue_state(part->w->q, part->p) == PARTITION_OPEN;
}

static void
on_claim(void *arg, const struct queue_claim_reply *r, const struct err *e)
{
    struct part *part = arg;
    struct worker *w = part->w;
    part->claiming = false;
    w->n_asked -= part->asked;
    if (e) {
        part->n_due = 0;
        ask_again_in(part, w->s->poll_max);
        claim_room(w);
        return;
    }
    if (r->n_jobs) {
        FAULT("worker.claimed");
    }
    bool asked = part->n_due > 0;
    for (size_t i = 0; i < r->n_jobs; i++) {
        prepare_delivery(part, &r->jobs[i], r->now_ms);
    }
    part->n_due = 0;
    claim_room(w);
    bool overdue = r->next_due_ms >= 0 && r->now_ms - r->next_due_ms > OVERDUE_MS;
    if (r->n_due && (part->preferred || overdue || asked)) {
        part->n_due = r->n_due < CLAIM_DEVICES ? r->n_due : CLAIM_DEVICES;
        memcpy(part->due, r->due, part->n_due * sizeof *part->due);
        if (asked && r->n_jobs == 0) {
            /* Named devices that brought nothing, and are named again: somebody else serves them.
             */
            ask_again_in(part, BARREN_MS);
        } else {
            claim_kick(part);
        }
        return;
    }
    if (part->again) {
        claim_kick(part);
        return;
    }
    claim_soon(part,
               patience(part, r->next_due_ms < 0 ? w->s->poll_max : r->next_due_ms - r->now_ms));
}

void
claim_kick(struct part *part)
{
    struct worker *w = part->w;
    if (!may_claim(part)) {
        if (!part->claiming) {
            ask_again_in(part, w->s->poll_max);
        }
        return;
    }
    /* A claim that names no device only looks; one that does may bring jobs. */
    size_t room = (size_t)w->s->concurrency, taken = w->n_live + w->n_asked;
    room = part->n_due == 0 || room < taken ? 0 : room - taken;
    if (part->n_due && room == 0) {
        part->starved = true;
        return;
    }
    ev_timer_stop(w->loop, &part->timer);
    part->claiming = true;
    part->again = false;
    metric_add(&worker_metrics[M_CLAIMS], 1);
    part->asked = room < CLAIM_DEVICES ? room : CLAIM_DEVICES;
    w->n_asked += part->asked;
    queue_claim(w->q, part->p, w->name, w->s->lease, part->asked, part->due, part->n_due, on_claim,
                part);
}

void
claim_room(struct worker *w)
{
    for (unsigned p = 0; p < w->n_parts && w->n_live + w->n_asked < (size_t)w->s->concurrency;
         p++) {
        if (w->parts[p].starved) {
            w->parts[p].starved = false;
            claim_kick(&w->parts[p]);
        }
    }
}

void
claim_prefer(struct worker *w)
{
    bool *prefers = xcalloc(w->n_parts, sizeof *prefers);
    w->n_workers = (unsigned)rank_partitions(&w->fleet, w->name, SILENT_MS, w->n_parts, prefers);
    for (unsigned p = 0; p < w->n_parts; p++) {
        bool gained = prefers[p] && !w->parts[p].preferred;
        w->parts[p].preferred = prefers[p];
        if (gained) {
            claim_kick(&w->parts[p]);
        }
    }
    free(prefers);
}

static void
on_timer(struct ev_loop *loop, ev_timer *t, int revents)
{
    (void)loop, (void)revents;
    claim_kick(t->data);
}

void
claim_init(struct worker *w)
{
    for (unsigned p = 0; p < w->n_parts; p++) {
        struct part *part = &w->parts[p];
        part->w = w;
        part->p = p;
        ev_timer_init(&part->timer, on_timer, 0., 0.);
        part->timer.data = part;
        ask_again_in(part, 0);
    }
}

void
claim_done(struct worker *w)
{
    for (unsigned p = 0; p < w->n_parts; p++) {
        ev_timer_stop(w->loop, &w->parts[p].timer);
    }
}
