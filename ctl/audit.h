/* audit.h -- what the audits share: findings, and the facts that are printed beside them. */
#ifndef CTL_AUDIT_H
#define CTL_AUDIT_H

#include "ctl/ctl.h"

struct audit {
    struct ctl *c;
    struct doc *findings; /* the first AUDIT_SHOWN */
    struct doc *facts;    /* {what, count} */
    uint64_t n;
};
enum { AUDIT_SHOWN = 200 };

/* kind is one word, message 0 for none; the rest says what was found. */
void audit_found(struct audit *a, const char *kind, uint64_t message, const char *fmt, ...)
    PRINTF_LIKE(4, 5);
void audit_fact(struct audit *a, const char *what, int64_t count);

/* --- audit_redis.c: MySQL and Redis compared ------------------------------------------ */

/* Every queued row is known to Redis under its generation.  lists: also every job in Redis belongs
 * to a row that is not final, and the devices' counts agree. */
MUST_USE bool audit_devices(struct audit *a, bool lists, struct err *e);
/* As many leases as jobs that workers hold, in every partition. */
MUST_USE bool audit_leases(struct audit *a, struct err *e);

#endif
