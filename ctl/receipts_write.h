/* receipts_write.h -- events into the inbox, those of many bodies in one transaction. */
#ifndef CTL_RECEIPTS_WRITE_H
#define CTL_RECEIPTS_WRITE_H

#include "ctl/receipts_conf.h"
#include "shared/store.h"

/* One body. */
struct receipts_batch {
    const struct receipts_section *section;
    struct receipts_plan plan;
};

/* All of them or none.  *ret_new counts events that were not there before; the others are repeats
 * and change nothing.  ERR_RETRY: MySQL is away, and whether it was written is not known; it may be
 * written again.  ERR_REFUSED: the database objects to one of them. */
MUST_USE bool receipts_write(struct store *s, struct receipts_batch *const *bodies, size_t n,
                             uint64_t *ret_new, struct err *e);

#endif
