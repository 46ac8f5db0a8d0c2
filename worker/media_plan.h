/* media_plan.h -- how a message's medium reaches the provider, and what an outcome says of it.
 * Pure. */
#ifndef WORKER_MEDIA_PLAN_H
#define WORKER_MEDIA_PLAN_H

#include "shared/media.h"
#include "worker/sender.h"

enum media_way {
    WAY_URL,    /* the provider fetches the link */
    WAY_UPLOAD, /* uploaded ahead, then named by its id */
    WAY_BYTES,  /* with the message */
    WAY_NONE,   /* this sender cannot */
};

/* By the CAN_ flags.  A link is never fetched here, and so only goes to who fetches links; a stored
 * content goes by id rather than by bytes, for it is then sent once.  WAY_NONE: why says so. */
enum media_way media_plan_way(const struct media_ref *m, unsigned can, char why[200]);

/* Whether the provider refused the medium's id: it is unknown there, or has ended. */
bool media_plan_id_refused(const struct outcome *o);

/* Makes of that outcome one of a message that is to be tried again, and of nothing else. */
void media_plan_retry(struct outcome *o);

/* Makes an upload's outcome the outcome of a message that needs it: no attempt was made, so none is
 * charged. */
void media_plan_upload_failed(struct outcome *o);

#endif
