/* source_names.h -- the flags --campaign, --sequence and --recurring, by which one source is meant.
 */
#ifndef CTL_SOURCE_NAMES_H
#define CTL_SOURCE_NAMES_H

#include "ctl/ctl.h"

/* At most one is given. */
struct source_names {
    const char *of[SOURCE_TABLES];
};

/* *kind is SOURCE_DIRECT and ret->id 0 when none is given. */
MUST_USE bool source_names_find(struct ctl *c, const struct source_names *names,
                                enum source_kind *kind, struct found *ret, struct err *e);

#endif
