/* turn.h -- pausing, resuming, cancelling a source: one conditional UPDATE is the whole decision,
 * so that of several people, or a person and a producer, one wins; then Redis is told. */
#ifndef CTL_TURN_H
#define CTL_TURN_H

#include "ctl/ctl.h"

struct turn {
    enum source_kind kind;
    const char *done; /* "is paused" */
    const char *set;  /* the new status as SQL, and what else is set with it */
    const char *from; /* the statuses as SQL in which it can be done, and conditions */
    const char *cure; /* why it cannot be done in others */
    bool untold;      /* Redis has heard nothing of it yet */
};

/* Of the source that text names.  Prints what came of it; the exit code. */
int turn_source(struct ctl *c, const char *text, const struct turn *t);
/* The same without printing; *ret is the document when the code is CTL_OK. */
int turn_quietly(struct ctl *c, const char *text, const struct turn *t, struct doc **ret);

#endif
