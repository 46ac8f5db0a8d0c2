/* dispatch_media.h -- what a message is besides its text: a medium, an approved template.  A row's
 * or a source's JSON is checked, for an application may have written it, and completed from the
 * table `media`; the content itself is put into Redis, by its hash, before a job that needs it is
 * activated. */
#ifndef PRODUCER_DISPATCH_MEDIA_H
#define PRODUCER_DISPATCH_MEDIA_H

#include "producer/dispatch_refuse.h"
#include "shared/err.h"
#include "shared/media.h"
#include "shared/mem.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pass;
struct producer;

/* As it goes into jobs. */
struct parts {
    struct buf media, template_json; /* JSON; empty: none */
    size_t stored;                   /* of the medium: number + 1 in pass.stored, or 0 */
    enum refusal why;
    char text[160]; /* what is wrong */
};
void parts_done(struct parts *p);

/* A content that is named: user and hash. */
struct stored {
    uint64_t user, id; /* id of its row; 0: not looked up yet, or there is none */
    char sha256[MEDIA_SHA_SIZE], mime[MEDIA_MIME_SIZE];
    int64_t size;
    bool looked, needed, ready, bad;
};

/* Notes the content that a medium's JSON names, if it names one; NULL is allowed. */
void media_note(struct pass *x, uint64_t user, const char *json);
/* Looks up what has been noted since. */
MUST_USE bool media_look_up(struct pass *x, struct err *e);
/* Fills *ret; media and template_json may be NULL. */
void parts_read(struct pass *x, uint64_t user, const char *media, const char *template_json,
                struct parts *ret);

/* Makes sure that Redis has what x->items need, one round trip for what is there already.  Items
 * whose content it does not take are skipped, and so given back.  False: the database fails. */
MUST_USE bool media_ensure(struct pass *x, struct err *e);
void media_done(struct pass *x);

/* Puts back what workers have missed. */
MUST_USE bool media_restore(struct producer *p, struct err *e);

#endif
