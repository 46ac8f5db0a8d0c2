/* journal.h -- what this worker permitted and sent lately: told to Redis again if Redis loses data.
 *
 * A ring of fixed records in a shared mapping.  With a folder it is a file that survives the
 * process (not the host's power); without one it lives in memory.  A worker takes the first file of
 * the folder that nobody holds, together with its records: a dead worker's are so reported by
 * whoever starts in its place. Records hold no phone and no text. */
#ifndef WORKER_JOURNAL_H
#define WORKER_JOURNAL_H

#include "shared/err.h"
#include "shared/queue.h"

#include <stddef.h>
#include <stdint.h>

struct journal;

enum journal_state {
    JOURNAL_FREE,
    JOURNAL_PERMITTED, /* the request is under way, or its process died */
    JOURNAL_SENT,
    JOURNAL_UNKNOWN,
    JOURNAL_NOT_SENT, /* certainly not: never reported */
};

struct journal_record {
    uint64_t device, row, token;
    uint64_t incarnation; /* hash of the partition's incarnation when it was permitted */
    uint32_t gen;
    uint32_t state;
    uint32_t process;  /* which opening of the journal wrote it */
    uint32_t recorded; /* Redis has answered the finish */
    char id[JOB_ID_SIZE + 3];
};

/* dir NULL or "": memory only.  name is this worker's, at most 95 bytes.  ERR_RETRY: no space, or
 * no permission (the text says which file). */
MUST_USE bool journal_open(const char *dir, size_t records, const char *name, struct journal **ret,
                           struct err *e);
void journal_close(struct journal *j);

/* Notes a permit; returns the record's number for journal_outcome().  The oldest settled record is
 * overwritten. */
size_t journal_permit(struct journal *j, const struct queue_lease *l, uint64_t row,
                      const char *incarnation);
void journal_outcome(struct journal *j, size_t record, enum journal_state state);
/* Redis has the outcome: it is told again only if Redis loses data. */
void journal_recorded(struct journal *j, size_t record);

/* Record i of journal_size(); NULL when there is nothing to report in it for a partition whose
 * incarnation is `incarnation`: free, certainly not sent, or of this very incarnation and either
 * recorded there or still under way in this process.  *ret_state is what to report. */
size_t journal_size(const struct journal *j);
const struct journal_record *journal_report(const struct journal *j, size_t i,
                                            const char *incarnation,
                                            enum reassert_state *ret_state);

/* The names under which records of this journal were written, the present one last. */
size_t journal_names(const struct journal *j);
const char *journal_name(const struct journal *j, size_t i);

#endif
