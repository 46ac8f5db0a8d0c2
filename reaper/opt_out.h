/* opt_out.h -- recipients who want no more messages, as they or the provider say.  The producer
 * acts on what is written (leave.c).
 *
 * A source that lifts: START lifts what STOP has written ("reply"); resume in WhatsApp's settings
 * lifts what they have ("preference"), and what the provider's refusal has told ("provider").
 * Nothing lifts what a person has written. */
#ifndef REAPER_OPT_OUT_H
#define REAPER_OPT_OUT_H

#include "shared/err.h"

#include <stddef.h>
#include <stdint.h>

struct store;

#define OPT_OUT_REPLY      "reply"
#define OPT_OUT_PREFERENCE "preference"
#define OPT_OUT_PROVIDER   "provider"

/* Inside the caller's transaction.  Who has opted out before stays as he is: the first source
 * counts. */
MUST_USE bool opt_out_phone(struct store *db, uint64_t user, const char *phone, const char *source,
                            struct err *e);
/* The recipients of these messages, by OPT_OUT_PROVIDER. */
MUST_USE bool opt_out_rows(struct store *db, const uint64_t *ids, size_t n, struct err *e);
/* source: of the resume. */
MUST_USE bool opt_out_lift(struct store *db, uint64_t user, const char *phone, const char *source,
                           struct err *e);

#endif
