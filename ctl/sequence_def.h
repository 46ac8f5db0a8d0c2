/* sequence_def.h -- the definition of a sequence: from flags or JSON into one struct, checked, and
 * back from the tables into the same JSON.  docs/definitions.md describes the format. */
#ifndef CTL_SEQUENCE_DEF_H
#define CTL_SEQUENCE_DEF_H

#include "ctl/define_message.h"

enum { SEQUENCE_MESSAGES_MAX = 500 }; /* of a whole chain, for one contact */

struct step_def {
    const char *content;
    int64_t delay;                /* ms */
    const char *from;             /* previous | enrolment */
    const struct flag_item *item; /* from flags: its --step */
    struct message_flags parts;   /* likewise: those behind it */
    const struct doc *doc;        /* from JSON */
    struct define_message message;
};

/* Also what the flags of `sequence create` fill; zero-initialise. */
struct sequence_def {
    const char *file, *devices, *trigger, *next;
    int64_t start_after, next_after;
    struct define_pace pace;
    struct flag_list step_texts;
    /* by sequence_def_read() */
    bool json;
    const char *name;
    struct doc *doc;
    struct buf *texts; /* of --step-file, one a step */
    struct step_def *steps;
    size_t n;
    struct define_devices on;
    /* by sequence_def_link() */
    uint64_t next_id;
};
extern const struct flag sequence_flags[];

/* Reads d->file, or the flags that are in d; name: the operand, which goes before the file's, or
 * NULL. Checks all that one definition shows by itself, and finds its devices. */
MUST_USE bool sequence_def_read(struct ctl *c, const char *name, struct sequence_def *d,
                                struct err *e);
void sequence_def_done(struct sequence_def *d);

/* "trigger" or "--trigger": for errors. */
const char *sequence_def_place(const struct sequence_def *d, const char *member,
                               char out[DEFINE_PLACE]);

/* In a transaction: finds the sequence behind this one and keeps it from being changed meanwhile;
 * refuses a cycle, one that is cancelled, and chains that are too long. */
MUST_USE bool sequence_def_link(struct ctl *c, struct sequence_def *d, struct err *e);

/* The ids of the sequence and of those linked behind it, in their order; ERR_INPUT names a cycle.
 * The caller frees *ret. */
MUST_USE bool sequence_chain(struct ctl *c, uint64_t id, uint64_t **ret, size_t *ret_n,
                             struct err *e);

/* The definition of the user's sequence, from the tables. */
MUST_USE bool sequence_def_put(struct ctl *c, uint64_t id, struct doc *out, struct err *e);

#endif
