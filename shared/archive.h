/* archive.h -- final messages move, with their history, from broadcast_messages and message_events
 * to the tables of the same name with _archive, and back.  Why a message that is away cannot be
 * sent a second time is said at the head of archive.c. */
#ifndef SHARED_ARCHIVE_H
#define SHARED_ARCHIVE_H

#include "shared/err.h"
#include "shared/source.h"
#include "shared/store.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum archive_status {
    ARCHIVE_SENT,
    ARCHIVE_FAILED,
    ARCHIVE_SKIPPED,
    ARCHIVE_UNKNOWN,
    ARCHIVE_STATUSES
};
extern const char *const archive_statuses[ARCHIVE_STATUSES];

enum { ARCHIVE_NEVER = -1, ARCHIVE_BATCH = 500 };

/* Seconds behind a row's scheduled_at, its last change and its last restoring, or ARCHIVE_NEVER.
 * Direct messages wait for both their status' time and direct_s. */
struct archive_rules {
    int64_t after_s[ARCHIVE_STATUSES];
    int64_t direct_s;
    uint64_t user_id; /* whose messages; 0: everybody's */
};

/* Which archived messages come back: of the user and, unless zero, this message, or those of this
 * source. */
struct archive_choice {
    uint64_t user_id, message_id, source_id;
    enum source_kind source; /* one of SOURCE_TABLES */
};

/* What one step did.  twins: messages that cannot move, because the other side has one of the same
 * job id or id; borrowed until the next step. */
struct archive_seen {
    size_t looked; /* rows examined */
    size_t moved[ARCHIVE_STATUSES];
    const uint64_t *twins;
    size_t n_twins;
    bool done; /* nothing is left to be looked at */
};

struct archive;

/* Both check that the archive has the columns of its originals: ERR_REFUSED says which differ. The
 * store is borrowed; the caller frees *ret with archive_close(). */
MUST_USE bool archive_open(struct store *db, const struct archive_rules *rules,
                           struct archive **ret, struct err *e);
MUST_USE bool archive_open_restore(struct store *db, const struct archive_choice *choice,
                                   struct archive **ret, struct err *e);
void archive_close(struct archive *a); /* NULL is allowed */

/* Looks at the next ARCHIVE_BATCH rows at most, all found by index, and moves those that fit in one
 * transaction.  dry_run: counts them only.  After a failure the same step may be tried again. */
MUST_USE bool archive_step(struct archive *a, bool dry_run, struct archive_seen *ret,
                           struct err *e);

/* The next step begins at the beginning. */
void archive_rewind(struct archive *a);

#endif
