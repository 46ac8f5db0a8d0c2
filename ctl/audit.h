/* audit.h -- what the audits share: findings, and the facts that are printed beside them. */
#ifndef CTL_AUDIT_H
#define CTL_AUDIT_H

#include "ctl/ctl.h"

struct audit {
    struct ctl *c;
    struct doc *findings; /* the first AUDIT_SHOWN */
    struct doc *facts;    /* {what, count} */
    uint64_t n;
    int64_t counts[7], archived, contacts; /* of audit_counts() */
};
enum { AUDIT_SHOWN = 200 };

/* kind is one word, message 0 for none; the rest says what was found. */
void audit_found(struct audit *a, const char *kind, uint64_t message, const char *fmt, ...)
    PRINTF_LIKE(4, 5);
void audit_fact(struct audit *a, const char *what, int64_t count);
/* Rows {message or 0, text, text} of a query with the user's id between its two halves become
 * findings. */
MUST_USE bool audit_rows(struct audit *a, const char *kind, const char *before, const char *behind,
                         struct err *e);

/* --- audit_sources.c: what the sources say of their messages, and whether they move ------------
 */

/* Rows by status; campaigns, contacts and runs have as many rows as they count. */
MUST_USE bool audit_counts(struct audit *a, struct err *e);
/* Sequences and recurring messages that stand still. */
MUST_USE bool audit_sources(struct audit *a, struct err *e);

/* --- audit_redis.c: MySQL and Redis compared ------------------------------------------ */

/* Every queued row is known to Redis under its generation.  lists: also every job in Redis belongs
 * to a row that is not final, and the devices' counts agree. */
MUST_USE bool audit_devices(struct audit *a, bool lists, struct err *e);
/* As many leases as jobs that workers hold, in every partition. */
MUST_USE bool audit_leases(struct audit *a, struct err *e);

#endif
