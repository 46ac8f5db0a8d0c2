/* inlet_write.h -- a plan becomes rows, in one transaction.  Repeating it is harmless: a row is
 * known by its job_id. */
#ifndef CTL_INLET_WRITE_H
#define CTL_INLET_WRITE_H

#include "ctl/inlet_plan.h"
#include "shared/store.h"

struct inlet_write {
    uint64_t user;
    const uint64_t *devices; /* --devices: for recipients who are nobody's lead */
    size_t n_devices;
    bool all_devices;        /* instead: the user's, as they are now */
    struct inlet_plan *plan; /* fates are completed: opted out, no device */
    uint64_t accepted, duplicates;
};

/* True only after the commit.  ERR_RETRY also when nobody knows whether that came through. */
MUST_USE bool inlet_write(struct store *s, struct inlet_write *w, struct err *e);

#endif
