#include "tests/harness/t.h"
#include "worker/deliver_plan.h"

#include <string.h>

enum { STATES = DELIVERY_ENDED + 1, EVENTS = EVENT_RELEASED + 1 };

/* Every event in every state; what is not named here belongs nowhere and changes nothing. */
#define STAY(s)                                                                                    \
    {                                                                                              \
        DELIVERY_##s, ACT_NOTHING                                                                  \
    }
#define TO(s, a)                                                                                   \
    {                                                                                              \
        DELIVERY_##s, ACT_##a                                                                      \
    }
static const struct delivery_step expected[STATES][EVENTS] =
    {
        [DELIVERY_CLAIMED] =
            {
                [EVENT_READY] = TO(PERMITTING, PERMIT),
                [EVENT_UNSENDABLE] = TO(FINISHING, FINISH),
                [EVENT_HOLD] = TO(RELEASING, RELEASE),
                [EVENT_GO] = STAY(CLAIMED),
                [EVENT_REFUSED] = STAY(CLAIMED),
                [EVENT_PERMIT_LOST] = STAY(CLAIMED),
                [EVENT_TOO_OLD] = STAY(CLAIMED),
                [EVENT_OUTCOME] = STAY(CLAIMED),
                [EVENT_RECORDED] = STAY(CLAIMED),
                [EVENT_RECORD_LOST] = STAY(CLAIMED),
                [EVENT_RECORD_REFUSED] = STAY(CLAIMED),
                [EVENT_RELEASED] = STAY(CLAIMED),
            },
        [DELIVERY_PERMITTING] =
            {
                [EVENT_READY] = STAY(PERMITTING),
                [EVENT_UNSENDABLE] = STAY(PERMITTING),
                [EVENT_HOLD] = TO(RELEASING, RELEASE),
                [EVENT_GO] = TO(SENDING, SEND),
                [EVENT_REFUSED] = TO(ENDED, END),
                [EVENT_PERMIT_LOST] = TO(PERMITTING, PERMIT),
                [EVENT_TOO_OLD] = TO(PERMITTING, PERMIT),
                [EVENT_OUTCOME] = STAY(PERMITTING),
                [EVENT_RECORDED] = STAY(PERMITTING),
                [EVENT_RECORD_LOST] = STAY(PERMITTING),
                [EVENT_RECORD_REFUSED] = STAY(PERMITTING),
                [EVENT_RELEASED] = STAY(PERMITTING),
            },
        [DELIVERY_SENDING] =
            {
                [EVENT_READY] = STAY(SENDING),
                [EVENT_UNSENDABLE] = STAY(SENDING),
                [EVENT_HOLD] = STAY(SENDING),
                [EVENT_GO] = STAY(SENDING),
                [EVENT_REFUSED] = STAY(SENDING),
                [EVENT_PERMIT_LOST] = STAY(SENDING),
                [EVENT_TOO_OLD] = STAY(SENDING),
                [EVENT_OUTCOME] = TO(FINISHING, FINISH),
                [EVENT_RECORDED] = STAY(SENDING),
                [EVENT_RECORD_LOST] = STAY(SENDING),
                [EVENT_RECORD_REFUSED] = STAY(SENDING),
                [EVENT_RELEASED] = STAY(SENDING),
            },
        [DELIVERY_FINISHING] =
            {
                [EVENT_READY] = STAY(FINISHING),
                [EVENT_UNSENDABLE] = STAY(FINISHING),
                [EVENT_HOLD] = STAY(FINISHING),
                [EVENT_GO] = STAY(FINISHING),
                [EVENT_REFUSED] = STAY(FINISHING),
                [EVENT_PERMIT_LOST] = STAY(FINISHING),
                [EVENT_TOO_OLD] = STAY(FINISHING),
                [EVENT_OUTCOME] = STAY(FINISHING),
                [EVENT_RECORDED] = TO(ENDED, END),
                [EVENT_RECORD_LOST] = TO(FINISHING, FINISH),
                [EVENT_RECORD_REFUSED] = TO(ENDED, END),
                [EVENT_RELEASED] = STAY(FINISHING),
            },
        [DELIVERY_RELEASING] =
            {
                [EVENT_READY] = STAY(RELEASING),
                [EVENT_UNSENDABLE] = STAY(RELEASING),
                [EVENT_HOLD] = STAY(RELEASING),
                [EVENT_GO] = STAY(RELEASING),
                [EVENT_REFUSED] = STAY(RELEASING),
                [EVENT_PERMIT_LOST] = STAY(RELEASING),
                [EVENT_TOO_OLD] = STAY(RELEASING),
                [EVENT_OUTCOME] = STAY(RELEASING),
                [EVENT_RECORDED] = STAY(RELEASING),
                [EVENT_RECORD_LOST] = STAY(RELEASING),
                [EVENT_RECORD_REFUSED] = STAY(RELEASING),
                [EVENT_RELEASED] = TO(ENDED, END),
            },
        [DELIVERY_ENDED] =
            {
                [EVENT_READY] = STAY(ENDED),
                [EVENT_UNSENDABLE] = STAY(ENDED),
                [EVENT_HOLD] = STAY(ENDED),
                [EVENT_GO] = STAY(ENDED),
                [EVENT_REFUSED] = STAY(ENDED),
                [EVENT_PERMIT_LOST] = STAY(ENDED),
                [EVENT_TOO_OLD] = STAY(ENDED),
                [EVENT_OUTCOME] = STAY(ENDED),
                [EVENT_RECORDED] = STAY(ENDED),
                [EVENT_RECORD_LOST] = STAY(ENDED),
                [EVENT_RECORD_REFUSED] = STAY(ENDED),
                [EVENT_RELEASED] = STAY(ENDED),
            },
};

TEST(every_event_in_every_state)
{
    for (int s = 0; s < STATES; s++) {
        for (int ev = 0; ev < EVENTS; ev++) {
            struct delivery_step got =
                deliver_plan((enum delivery_state)s, (enum delivery_event)ev);
            const struct delivery_step *want = &expected[s][ev];
            if (got.state != want->state || got.action != want->action) {
                t_fail(__FILE__, __LINE__, "%s, event %d: %s with action %d, not %s with %d",
                       delivery_state_name((enum delivery_state)s), ev,
                       delivery_state_name(got.state), got.action, delivery_state_name(want->state),
                       want->action);
            }
        }
    }
}

/* What has happened to one delivery. */
struct past {
    int go, outcome, unsendable, sends, ends, releases;
    bool hold;
};

static void
note_event(struct past *past, enum delivery_state s, enum delivery_event ev)
{
    past->go += s == DELIVERY_PERMITTING && ev == EVENT_GO;
    past->outcome += s == DELIVERY_SENDING && ev == EVENT_OUTCOME;
    past->unsendable += s == DELIVERY_CLAIMED && ev == EVENT_UNSENDABLE;
    past->hold |= ev == EVENT_HOLD;
}

static void
check_action(struct past *past, enum delivery_action a)
{
    past->sends += a == ACT_SEND;
    past->ends += a == ACT_END;
    past->releases += a == ACT_RELEASE;
    if (a == ACT_SEND) {
        CHECK_INT(1, past->go);
        CHECK_INT(0, past->releases);
    }
    if (a == ACT_FINISH) {
        CHECK_INT(1, past->outcome + past->unsendable);
        CHECK_INT(0, past->releases);
    }
    if (a == ACT_RELEASE) {
        CHECK(past->hold);
        CHECK_INT(0, past->sends + past->unsendable);
    }
    if (a == ACT_PERMIT) {
        CHECK_INT(0, past->sends + past->releases + past->unsendable);
    }
    CHECK(past->sends <= 1 && past->ends <= 1 && past->releases <= 1);
    CHECK(past->outcome <= past->sends);
}

/* Whatever happens, in whatever order: nothing is sent without leave, nothing recorded without an
 * outcome, nothing given back that may have left, and the end comes once. */
TEST(a_delivery_keeps_its_promises_whatever_happens)
{
    int ended = 0;
    for (int walk = 0; walk < 50000; walk++) {
        enum delivery_state s = DELIVERY_CLAIMED;
        struct past past = {0};
        for (int i = 0; i < 60; i++) {
            enum delivery_event ev = (enum delivery_event)(t_random() % EVENTS);
            note_event(&past, s, ev);
            struct delivery_step step = deliver_plan(s, ev);
            CHECK(step.state == s || step.action != ACT_NOTHING);
            CHECK((step.action == ACT_END) ==
                  (step.state == DELIVERY_ENDED && s != DELIVERY_ENDED));
            check_action(&past, step.action);
            s = step.state;
        }
        ended += s == DELIVERY_ENDED;
    }
    CHECK(ended > 25000);
}

/* Each state's own way on; none is a dead end, and answers that get lost only cost another call. */
TEST(every_state_leads_to_the_end)
{
    for (int s = 0; s < DELIVERY_ENDED; s++) {
        bool reached[STATES] = {false};
        reached[s] = true;
        for (int round = 0; round < STATES; round++) {
            for (int from = 0; from < STATES; from++) {
                for (int ev = 0; reached[from] && ev < EVENTS; ev++) {
                    enum delivery_event event = (enum delivery_event)ev;
                    reached[deliver_plan((enum delivery_state)from, event).state] = true;
                }
            }
        }
        CHECK(reached[DELIVERY_ENDED]);
        /* And none leads back to where the job had not been looked at. */
        CHECK(s == DELIVERY_CLAIMED || !reached[DELIVERY_CLAIMED]);
        CHECK(s <= DELIVERY_SENDING || !reached[DELIVERY_SENDING]);
    }
}

TEST(every_state_has_a_name_of_its_own)
{
    static const char *const names[] = {"claimed",   "permitting", "sending",
                                        "finishing", "releasing",  "ended"};
    for (int s = 0; s < STATES; s++) {
        CHECK_STR(names[s], delivery_state_name((enum delivery_state)s));
    }
    CHECK_STR("?", delivery_state_name((enum delivery_state)99));
}
