/* sequence_verbs.h -- those of `paceline sequence` that have a file of their own. */
#ifndef CTL_SEQUENCE_VERBS_H
#define CTL_SEQUENCE_VERBS_H

#include "ctl/command.h"

#include <stdbool.h>

/* --- sequence_create.c; its flags are sequence_flags of sequence_def.h ----------------- */

int sequence_create(struct ctl *c, const struct args *a);

/* --- sequence_enrol.c ------------------------------------------------------------------ */

struct sequence_enrol_flags {
    const char *device, *niche, *target_status, *country;
    bool all, again, wait;
};
extern const struct flag sequence_enrol_flags[];
int sequence_enrol(struct ctl *c, const struct args *a);

/* --- sequence_leave.c ------------------------------------------------------------------ */

struct sequence_leave_flags {
    const char *reason, *country;
    bool all;
};
extern const struct flag sequence_leave_flags[];
int sequence_leave(struct ctl *c, const struct args *a);

/* All contacts of the sequence, found by its name, leave; what came of it is put into the document,
 * which is taken and printed.  The exit code. */
int sequence_leave_all(struct ctl *c, const char *name, const char *reason, struct doc *d);

#endif
