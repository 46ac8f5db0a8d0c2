/* audience.h -- who gets the messages of a campaign, or of one run of a recurring message: the
 * leads of its devices that match, or an explicit list of contacts; batch by batch behind a cursor
 * that the caller saves in the transaction that writes the rows. */
#ifndef PRODUCER_AUDIENCE_H
#define PRODUCER_AUDIENCE_H

#include "producer/producer.h"
#include "producer/row_plan.h"

struct audience {
    /* who: set by the caller */
    struct message_row row; /* kind, source, user and what all rows have in common */
    bool all_devices;       /* of the user; otherwise those in the source's table of devices */
    bool contacts;          /* the rule's recurring_contacts instead of leads */
    char niche[64 * 4 + 1], target_status[64 * 4 + 1]; /* "" = any */
    uint64_t max; /* the snapshot: who came later does not belong to it; see audience_snapshot() */
    size_t limit; /* rows of a batch */
    /* where: the cursor, moved by audience_gather() */
    uint64_t cursor_device, cursor_lead;
    /* what came of it */
    struct sql insert; /* the caller frees it */
    size_t rows;
    bool complete; /* nothing is left behind the cursor */
};

/* Sets a->max to the newest of those who could belong to the audience now. */
MUST_USE bool audience_snapshot(struct store *db, struct audience *a, struct err *e);

/* Puts the next batch into a->insert and moves the cursor.  Devices of another user are no part of
 * an audience whatever the table says, nor are removed ones; who has opted out gets no row. */
MUST_USE bool audience_gather(struct store *db, struct audience *a, struct err *e);

#endif
