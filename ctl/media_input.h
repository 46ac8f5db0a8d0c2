/* media_input.h -- what people name a medium by:
 *
 *     FILE               its content is stored
 *     https://..         downloaded now, and stored
 *     data:..            stored
 *     link:https://..    not stored: the provider fetches it, for every message
 *     sha256:<64 hex>    stored before
 */
#ifndef CTL_MEDIA_INPUT_H
#define CTL_MEDIA_INPUT_H

#include "ctl/ctl.h"
#include "shared/media.h"

/* Reads it, checks type and size, stores it for c->user_id, fills *m.  m->kind is wanted;
 * m->filename may be set, else a file's own name is taken for a document.  files: whether FILE is
 * allowed.  ret_new may be NULL. */
MUST_USE bool media_input(struct ctl *c, const char *source, bool files, struct media_ref *m,
                          bool *ret_new, struct err *e);

/* The bytes that a medium of the kind may have here. */
int64_t media_input_limit(const struct ctl *c, enum media_kind k);

#endif
