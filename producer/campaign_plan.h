/* campaign_plan.h -- one lead of a campaign's audience -> one row of the ledger.  Pure: writes SQL
 * text, runs none. */
#ifndef PRODUCER_CAMPAIGN_PLAN_H
#define PRODUCER_CAMPAIGN_PLAN_H

#include "shared/store.h"

#include <stdint.h>

struct campaign {
    uint64_t id, user;
    int64_t max_lateness_s;
};

struct audience_lead {
    uint64_t id, device;
    const char *phone, *name;
};

/* Starts the INSERT IGNORE of a batch, adds one row, in that order.  The unique keys on job_id and
 * on (campaign, recipient, device) refuse a second row whoever writes it. */
void campaign_plan_begin(struct sql *q);
void campaign_plan_row(struct sql *q, const struct campaign *c, const struct audience_lead *l,
                       bool first);

/* The source word of a campaign's jobs, "c42"; out has 24 bytes. */
char *campaign_source(uint64_t campaign, char out[24]);

#endif
