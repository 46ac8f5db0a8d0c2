/* unknown_source.h -- what unknown messages belong to: a decision lets the campaign, run or contact
 * be counted anew, which must not happen while a part of it is in the archive. */
#ifndef SHARED_UNKNOWN_SOURCE_H
#define SHARED_UNKNOWN_SOURCE_H

#include "shared/err.h"

#include <stddef.h>
#include <stdint.h>

struct store;

/* Inside the transaction that has locked the messages: locks what they belong to, so that no reaper
 * archives more of it before the end, and puts those in question into away[n]. */
MUST_USE bool unknown_parts_away(struct store *s, const uint64_t *ids, size_t n, uint64_t *away,
                                 size_t *ret_n, struct err *e);

/* Campaigns, contacts of sequences and runs that had ended are counted, and ended, anew. */
MUST_USE bool unknown_reopen(struct store *s, const uint64_t *ids, size_t n, struct err *e);

#endif
