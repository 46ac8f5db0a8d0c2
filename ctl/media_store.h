/* media_store.h -- contents of media in the database: once a user and content, named by hash. */
#ifndef CTL_MEDIA_STORE_H
#define CTL_MEDIA_STORE_H

#include "ctl/ctl.h"
#include "shared/media.h"

/* Stores a content for c->user_id unless it is there, and fills in m's sha256, mime and size.  What
 * is stored and never named by a definition is listed by `paceline media list`. */
MUST_USE bool media_store_add(struct ctl *c, const void *p, size_t n, struct media_ref *m,
                              bool *ret_new, struct err *e);

/* Fills in mime and size of the user's content m->sha256.  ERR_GONE when there is none. */
MUST_USE bool media_store_find(struct ctl *c, struct media_ref *m, struct err *e);

/* In a transaction: nobody removes the content before its end.  ERR_GONE as above. */
MUST_USE bool media_store_hold(struct store *s, uint64_t user, const char *sha256, struct err *e);

#endif
