/* leads_batch.h -- writes leads a batch at a time.  Each batch and the place where the next one
 * begins are one transaction, so an import that is cut off at any moment goes on behind the last
 * batch that is there. */
#ifndef CTL_LEADS_BATCH_H
#define CTL_LEADS_BATCH_H

#include "shared/store.h"

#include <stdint.h>

/* The row of lead_imports; totals of all runs. */
struct lead_cursor {
    uint64_t id;
    int64_t offset, line;
    int64_t inserted, updated, refused;
    bool finished;
};

/* Finds or makes the row of this file's import. */
MUST_USE bool lead_cursor_open(struct store *s, uint64_t user, const char *fingerprint,
                               struct lead_cursor *ret, struct err *e);
/* From the beginning again. */
MUST_USE bool lead_cursor_reset(struct store *s, struct lead_cursor *c, struct err *e);
MUST_USE bool lead_cursor_finish(struct store *s, struct lead_cursor *c, struct err *e);

struct lead {
    uint64_t user, device;
    const char *phone;
    const char *name, *niche, *target_status, *trigger, *attributes; /* attributes NULL: none */
    size_t name_len, niche_len, target_status_len, trigger_len, attributes_len;
};

struct lead_batch {
    const char
        *into; /* INSERT INTO .. VALUES of other rows than leads, whose key guards them; or NULL */
    bool update; /* leads that are there take the new values */
    /* which values those are */
    bool has_name, has_niche, has_target_status, has_trigger, has_attributes;
    struct sql rows;
    size_t n;
};
enum { LEAD_BATCH_ROWS = 1000 };

void lead_batch_add(struct lead_batch *b, const struct lead *lead);
bool lead_batch_is_full(const struct lead_batch *b);
void lead_batch_done(struct lead_batch *b);

/* Writes the batch and moves the cursor to offset and line, with so many refused rows more; empties
 * the batch.  Waits half a minute for a database that is away.  ERR_GONE: somebody else is
 * importing the same file. */
MUST_USE bool lead_batch_commit(struct store *s, struct lead_batch *b, struct lead_cursor *c,
                                int64_t offset, int64_t line, int64_t refused, struct err *e);

#endif
