#include "worker/outcome.h"

#include "shared/clock.h"
#include "shared/mem.h"

#include <assert.h>
#include <stdlib.h>

#include <ev.h>

const char *
outcome_class_name(enum outcome_class c)
{
    switch (c) {
    case OUTCOME_SENT:
        return "sent";
    case OUTCOME_REJECTED:
        return "rejected";
    case OUTCOME_RETRY:
        return "retry";
    case OUTCOME_UNKNOWN:
        return "unknown";
    case OUTCOME_NOT_SENT:
        return "not_sent";
    }
    return "?";
}

const char *
outcome_scope_name(enum outcome_scope s)
{
    switch (s) {
    case SCOPE_MESSAGE:
        return "message";
    case SCOPE_RECIPIENT:
        return "recipient";
    case SCOPE_PAIR:
        return "pair";
    case SCOPE_DEVICE:
        return "device";
    case SCOPE_NEW_CONTACTS:
        return "new_contacts";
    case SCOPE_TEMPLATE:
        return "template";
    case SCOPE_ACCOUNT:
        return "account";
    case SCOPE_ENDPOINT:
        return "endpoint";
    }
    return "?";
}

struct entry {
    struct entry *next;
    int64_t due_us;
    sender_done *done;
    void *arg;
    struct outcome outcome;
};

struct outcome_queue {
    struct ev_loop *loop;
    ev_timer timer;
    int64_t delay_us;
    outcome_before *before;
    void *before_arg;
    struct entry *head, **tail;
    bool reporting;
};

/* Reports a chain that is no longer in the queue, so that what its callbacks add waits its turn. */
static void
report(struct outcome_queue *q, struct entry *chain, const struct outcome *instead)
{
    assert(!q->reporting);
    q->reporting = true;
    const struct outcome *other = q->before ? q->before(q->before_arg) : NULL;
    if (other) {
        instead = other;
    }
    while (chain) {
        struct entry *en = chain;
        chain = en->next;
        en->done(en->arg, instead ? instead : &en->outcome);
        free(en);
    }
    q->reporting = false;
}

static void
arm(struct outcome_queue *q)
{
    if (!q->head || ev_is_active(&q->timer)) {
        return;
    }
    int64_t wait_us = q->head->due_us - clock_mono_us();
    ev_now_update(q->loop);
    ev_timer_set(&q->timer, wait_us > 0 ? (double)wait_us / 1e6 : 0., 0.);
    ev_timer_start(q->loop, &q->timer);
}

static void
on_timer(struct ev_loop *loop, ev_timer *w, int events)
{
    (void)loop, (void)events;
    struct outcome_queue *q = w->data;
    int64_t now_us = clock_mono_us();
    struct entry *chain = q->head, **end = &q->head;
    while (*end && (*end)->due_us <= now_us) {
        end = &(*end)->next;
    }
    if (end != &q->head) {
        struct entry *rest = *end;
        *end = NULL;
        q->head = rest;
        q->tail = rest ? q->tail : &q->head;
        report(q, chain, NULL);
    }
    arm(q);
}

struct outcome_queue *
outcome_queue_new(struct ev_loop *loop, int64_t delay_ms, outcome_before *before, void *arg)
{
    struct outcome_queue *q = xcalloc(1, sizeof *q);
    q->loop = loop;
    q->delay_us = delay_ms * 1000;
    q->before = before;
    q->before_arg = arg;
    q->tail = &q->head;
    ev_init(&q->timer, on_timer);
    q->timer.data = q;
    return q;
}

void
outcome_queue_add(struct outcome_queue *q, const struct outcome *o, sender_done *done, void *arg)
{
    struct entry *en = xmalloc(sizeof *en);
    *en = (struct entry){
        .due_us = clock_mono_us() + q->delay_us, .done = done, .arg = arg, .outcome = *o};
    *q->tail = en;
    q->tail = &en->next;
    arm(q);
}

void
outcome_queue_free(struct outcome_queue *q, const struct outcome *instead)
{
    if (!q) {
        return;
    }
    while (q->head) {
        struct entry *chain = q->head;
        q->head = NULL;
        q->tail = &q->head;
        report(q, chain, instead);
    }
    ev_timer_stop(q->loop, &q->timer);
    free(q);
}
