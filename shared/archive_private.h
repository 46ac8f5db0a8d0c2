/* archive_private.h -- what the two rooms of the archive share: archive.c finds, archive_move.c
 * moves. */
#ifndef SHARED_ARCHIVE_PRIVATE_H
#define SHARED_ARCHIVE_PRIVATE_H

#include "shared/archive.h"
#include "shared/mem.h"

struct archive {
    struct store *db;
    bool back; /* from the archive */
    struct archive_rules rules;
    struct archive_choice choice;
    struct buf messages, events; /* "`id`,`job_id`, ..." */
    /* where the walk stands: lane, device (when archiving), and the last row looked at */
    unsigned lane;
    bool in_device;
    uint64_t device, id;
    char at[32]; /* its scheduled_at */
    /* the batch */
    uint64_t fit[ARCHIVE_BATCH], twins[ARCHIVE_BATCH];
    enum archive_status status[ARCHIVE_BATCH]; /* of those that fit */
    size_t n_fit, n_twins;
};

/* What decides on the row m besides itself; each is found by a unique key. */
#define ARCHIVE_JOINS                                                                              \
    " LEFT JOIN campaigns c ON c.id = m.campaign_id LEFT JOIN recurring_message_logs l ON "        \
    "l.recurring_id = m.recurring_id AND l.occurrence_at = m.occurrence_at LEFT JOIN "             \
    "sequence_contacts k ON k.sequence_id = m.sequence_id AND k.device_id = m.device_id AND "      \
    "k.recipient_phone = m.recipient_phone AND k.rotation = m.rotation LEFT JOIN "                 \
    "broadcast_messages_restored x ON x.message_id = m.id "

/* That the row m may go, but for its scheduled_at; and that the other side has it already. */
void archive_add_ended(struct sql *q, const struct archive *a, enum archive_status s);
void archive_add_twin(struct sql *q, const struct archive *a);

enum archive_status archive_status_parse(const char *word);

/* Moves the batch in one transaction; afterwards it lists what was moved. */
MUST_USE bool archive_move(struct archive *a, struct err *e);

#endif
