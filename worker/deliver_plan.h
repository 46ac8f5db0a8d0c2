/* deliver_plan.h -- one delivery as a machine: (state, event) -> (state, action).  Pure. */
#ifndef WORKER_DELIVER_PLAN_H
#define WORKER_DELIVER_PLAN_H

#include "shared/queue.h"

#include <stdbool.h>

enum delivery_state {
    DELIVERY_CLAIMED,    /* leased: provably unsent */
    DELIVERY_PERMITTING, /* permit asked */
    DELIVERY_SENDING,    /* the request may leave or has left */
    DELIVERY_FINISHING,  /* the outcome is known and is being recorded */
    DELIVERY_RELEASING,  /* being given back unsent */
    DELIVERY_ENDED,
};

enum delivery_event {
    EVENT_READY,      /* text rendered, sender found */
    EVENT_UNSENDABLE, /* the payload or the template is broken: outcome "failed" without a permit */
    EVENT_HOLD,       /* quiet hours, or the worker drains: give it back */
    EVENT_GO,         /* permit said go */
    EVENT_REFUSED,    /* permit said stale, stopped, paused, wait or capped: Redis has settled it */
    EVENT_PERMIT_LOST, /* no answer to permit: ask again */
    EVENT_TOO_OLD, /* the permit's answer is too old to start on (the host was frozen): ask again */
    EVENT_OUTCOME, /* the sender reported */
    EVENT_RECORDED,       /* finish was answered, whatever it said */
    EVENT_RECORD_LOST,    /* no answer to finish: the same call again */
    EVENT_RECORD_REFUSED, /* another incarnation: the journal reports it */
    EVENT_RELEASED, /* release was answered, or its answer was lost (reclaim gives it back then) */
};

enum delivery_action { ACT_NOTHING, ACT_PERMIT, ACT_SEND, ACT_FINISH, ACT_RELEASE, ACT_END };

struct delivery_step {
    enum delivery_state state;
    enum delivery_action action;
};

/* An event that does not belong to the state changes nothing (ACT_NOTHING, same state). */
struct delivery_step deliver_plan(enum delivery_state state, enum delivery_event event);

const char *delivery_state_name(enum delivery_state s);

#endif
