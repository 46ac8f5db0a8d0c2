/* settle.h -- a batch of results and their rows: what settle.c and hold.c share.  Not for others.
 */
#ifndef REAPER_SETTLE_H
#define REAPER_SETTLE_H

#include "reaper/reaper.h"
#include "shared/source.h"

struct settle_entry {
    struct queue_result r;
    struct ledger_row row;
    bool found;
    bool fresh; /* the result says something that was not written yet */
    struct settle_action a;
    const struct queue_result *from; /* the result that made the action */
    enum source_kind kind;
    uint64_t source;
};

struct settle_batch {
    struct reaper *reaper;
    struct settle_entry *e;
    size_t n;
};

/* The result is about a device, and has no row. */
bool settle_is_check(const struct queue_result *r);

/* Writes what fresh results say of more than their rows, in their transaction: sources, devices and
 * accounts stop until a person resumes them; devices and recipients rest. */
MUST_USE bool settle_holds(struct store *db, const struct settle_batch *b, struct err *e);

#endif
