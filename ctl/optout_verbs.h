/* optout_verbs.h -- what the files of `paceline optout` share. */
#ifndef CTL_OPTOUT_VERBS_H
#define CTL_OPTOUT_VERBS_H

#include "ctl/command.h"
#include "shared/err.h"

enum { OPTOUT_SOURCE_CHARS = 64 };

/* False when a source has no or too many characters; it is an ERR_INPUT of --source. */
MUST_USE bool optout_source_fits(const char *source, struct err *e);

/* --- optout_import.c ------------------------------------------------------------------- */

struct optout_import_flags {
    const char *map, *country, *source, *errors;
    bool again, dry_run;
};
extern const struct flag optout_import_flags[];
int optout_import(struct ctl *c, const struct args *a);

#endif
