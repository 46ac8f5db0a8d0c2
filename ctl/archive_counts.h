/* archive_counts.h -- the user's messages by status and source, in the ledger and in the archive.
 */
#ifndef CTL_ARCHIVE_COUNTS_H
#define CTL_ARCHIVE_COUNTS_H

#include "ctl/ctl.h"

extern const struct column archive_count_columns[];

/* Puts the two lists "messages" and "archive" into the object. */
MUST_USE bool archive_put_counts(struct ctl *c, struct doc *object, struct err *e);

#endif
