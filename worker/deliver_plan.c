#include "worker/deliver_plan.h"

#include <stddef.h>

static const struct transition {
    enum delivery_state from;
    enum delivery_event event;
    struct delivery_step to;
} transitions[] = {
    {DELIVERY_CLAIMED, EVENT_READY, {DELIVERY_PERMITTING, ACT_PERMIT}},
    {DELIVERY_CLAIMED, EVENT_UNSENDABLE, {DELIVERY_FINISHING, ACT_FINISH}},
    {DELIVERY_CLAIMED, EVENT_HOLD, {DELIVERY_RELEASING, ACT_RELEASE}},
    {DELIVERY_PERMITTING, EVENT_HOLD, {DELIVERY_RELEASING, ACT_RELEASE}},
    {DELIVERY_PERMITTING, EVENT_GO, {DELIVERY_SENDING, ACT_SEND}},
    {DELIVERY_PERMITTING, EVENT_REFUSED, {DELIVERY_ENDED, ACT_END}},
    {DELIVERY_PERMITTING, EVENT_PERMIT_LOST, {DELIVERY_PERMITTING, ACT_PERMIT}},
    {DELIVERY_PERMITTING, EVENT_TOO_OLD, {DELIVERY_PERMITTING, ACT_PERMIT}},
    {DELIVERY_SENDING, EVENT_OUTCOME, {DELIVERY_FINISHING, ACT_FINISH}},
    {DELIVERY_FINISHING, EVENT_RECORDED, {DELIVERY_ENDED, ACT_END}},
    {DELIVERY_FINISHING, EVENT_RECORD_LOST, {DELIVERY_FINISHING, ACT_FINISH}},
    {DELIVERY_FINISHING, EVENT_RECORD_REFUSED, {DELIVERY_ENDED, ACT_END}},
    {DELIVERY_RELEASING, EVENT_RELEASED, {DELIVERY_ENDED, ACT_END}},
};

struct delivery_step
deliver_plan(enum delivery_state state, enum delivery_event event)
{
    for (size_t i = 0; i < sizeof transitions / sizeof *transitions; i++) {
        if (transitions[i].from == state && transitions[i].event == event) {
            return transitions[i].to;
        }
    }
    return (struct delivery_step){state, ACT_NOTHING};
}

const char *
delivery_state_name(enum delivery_state s)
{
    switch (s) {
    case DELIVERY_CLAIMED:
        return "claimed";
    case DELIVERY_PERMITTING:
        return "permitting";
    case DELIVERY_SENDING:
        return "sending";
    case DELIVERY_FINISHING:
        return "finishing";
    case DELIVERY_RELEASING:
        return "releasing";
    case DELIVERY_ENDED:
        return "ended";
    }
    return "?";
}
