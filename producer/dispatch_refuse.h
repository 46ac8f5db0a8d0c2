/* dispatch_refuse.h -- claimed rows that must not go out, looked at last before they enter the
 * queue: whatever happened since the row was made, and whoever made it. */
#ifndef PRODUCER_DISPATCH_REFUSE_H
#define PRODUCER_DISPATCH_REFUSE_H

#include "shared/err.h"

#include <stdbool.h>
#include <stdint.h>

enum refusal {
    REFUSE_NOT,
    REFUSE_OPTED_OUT,
    REFUSE_LEFT,      /* its contact has left the sequence */
    REFUSE_LEAD_GONE, /* a sequence's lead that was removed, or is another device's now */
    REFUSE_ISOLATION, /* its device or its source belongs to another user */
    REFUSE_ID,
    REFUSE_PHONE,
    REFUSE_TEXT,  /* there is none */
    REFUSE_PARTS, /* its medium or template is none */
    REFUSALS
};

struct refused {
    uint64_t row;
    enum refusal why;
    char *text; /* instead of the usual one, or NULL; owned */
};

/* What is known of a row when it has been claimed.  Pure. */
struct claimed_row {
    const char *job_id, *phone;
    uint64_t user, device_user, source_user;       /* source_user 0: no source */
    bool opted_out, sequence, lead_gone, has_text; /* or a medium, or a template */
    const char *contact;                           /* status of its sequence's contact, or NULL */
};
enum refusal refuse_plan(const struct claimed_row *row);

/* Ends x->refused: skipped or failed, with the reason; unknown where an attempt is open. */
struct pass;
MUST_USE bool refuse_rows(struct pass *x, struct err *e);

#endif
