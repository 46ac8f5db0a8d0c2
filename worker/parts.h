/* parts.h -- what a job's message is besides its text: a medium, an approved template. */
#ifndef WORKER_PARTS_H
#define WORKER_PARTS_H

#include "shared/approved.h"
#include "shared/compose.h"
#include "shared/job.h"
#include "worker/media_plan.h"
#include "worker/media_upload.h"
#include "worker/sender.h"

struct parts {
    bool has_media, has_template;
    struct media_ref ref;
    enum media_way way;
    struct media media;
    char id[QUEUE_MEDIA_ID_SIZE];
    struct content *content; /* in hand until parts_free() */
    struct approved approved;
    struct message_template template;
    struct template_value body[APPROVED_BODY_MAX];
    struct template_button buttons[APPROVED_BUTTONS_MAX];
    struct buf texts; /* rendered, each with a NUL */
};

/* *ret is NULL for a message of text alone.  False: not understood. */
MUST_USE bool parts_read(const struct job *j, struct parts **ret, struct err *e);
void parts_free(struct parts *p); /* NULL is allowed */

/* Renders the template's values as m's text is rendered (but for m's template_text), and checks
 * them.  ERR_INPUT begins with the member. */
MUST_USE bool parts_render(struct parts *p, struct composer *c, const struct compose_message *m,
                           struct err *e);

/* Chooses how the medium is handed over, and fills p->media where it is a link.  ERR_INPUT: this
 * sender cannot; the text begins with what it cannot. */
MUST_USE bool parts_fit(struct parts *p, unsigned can, struct err *e);

#endif
