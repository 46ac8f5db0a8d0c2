/* sequence_plan.h -- a lead that enters a sequence -> the contacts and messages of its whole chain
 * of sequences, each with its time; and how fast leads may be enrolled.  Pure. */
#ifndef PRODUCER_SEQUENCE_PLAN_H
#define PRODUCER_SEQUENCE_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { CHAIN_LINKS_MAX = 32, CHAIN_STEPS_MAX = 500, ENROL_ROWS_MAX = 1000 };

struct chain_step {
    uint64_t id;
    int64_t delay_s;
    bool from_start; /* the delay counts from the sequence's start, not from the step before */
    int64_t at_s;    /* set by sequence_plan_times(): seconds after enrolment */
};

struct chain_link {
    uint64_t sequence;
    int64_t max_lateness_s;
    int64_t start_after_s; /* of the first link: from enrolment to its start */
    int64_t next_after_s;  /* from its last step to the next link's start */
    size_t first, n;       /* its steps in chain.steps */
};

/* The entry sequence and those linked behind it, each with at least one step. */
struct chain {
    uint64_t user;
    struct chain_link links[CHAIN_LINKS_MAX];
    size_t n_links;
    struct chain_step steps[CHAIN_STEPS_MAX];
    size_t n_steps;
};

/* Whether a sequence is in the chain already: a link back would never end. */
bool chain_has(const struct chain *c, uint64_t sequence);

void sequence_plan_times(struct chain *c);

/* How many leads a batch has, so that it makes at most ENROL_ROWS_MAX rows; at least 1. */
size_t sequence_plan_batch(const struct chain *c, size_t wanted);

/* A contact of this lead that is known in a link of the chain. */
struct known_contact {
    bool any; /* in this link there is one, of whatever rotation */
    bool active;
    unsigned rotation; /* the highest */
};

/* What becomes of a lead.  links[i] tells whether contact and messages of that link are made, under
 * *ret_rotation.  A lead that has been in the entry sequence is enrolled only `again`, and only if
 * it is not active anywhere in the chain: one rotation higher than any before.  Otherwise a link in
 * which it has been is left out: nobody gets the same step twice. */
void sequence_plan_lead(const struct chain *c, const struct known_contact *known, bool again,
                        bool *links, unsigned *ret_rotation);

/* Rows a second that may be enrolled from now on: a quarter more while due messages leave in time,
 * a fifth less when they were later than target_ms.  One inverts the other, so that a single late
 * pass is forgotten and the rate settles where half of the passes are late.  lag_ms -1: nothing was
 * due. */
double sequence_plan_rate(double rate, int64_t lag_ms, int64_t target_ms, double max);

#endif
