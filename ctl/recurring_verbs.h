/* recurring_verbs.h -- those of `paceline recurring` that have a file of their own. */
#ifndef CTL_RECURRING_VERBS_H
#define CTL_RECURRING_VERBS_H

#include "ctl/command.h"

/* --- recurring_create.c; its flags are recurring_flags of recurring_def.h --------------- */

int recurring_create(struct ctl *c, const struct args *a);

/* --- recurring_runs.c ------------------------------------------------------------------ */

struct recurring_runs_flags {
    int64_t limit;
};
extern const struct flag recurring_runs_flags[];
int recurring_runs(struct ctl *c, const struct args *a);

struct recurring_next_flags {
    const char *file;
};
extern const struct flag recurring_next_flags[];
int recurring_next(struct ctl *c, const struct args *a);

#endif
