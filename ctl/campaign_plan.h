/* campaign_plan.h -- `campaign plan`: a row of cmd_campaign.c's command list with files of its own.
 *
 * campaign_plan.c      the command: what is read of the campaign, what is shown
 * campaign_audience.c  goes through the leads, as the producer will, and counts */
#ifndef CTL_CAMPAIGN_PLAN_H
#define CTL_CAMPAIGN_PLAN_H

#include "ctl/command.h"
#include "ctl/ctl.h"
#include "ctl/eta_plan.h"
#include "ctl/seen.h"

struct campaign_plan_flags {
    int64_t samples, at;
};
extern const struct flag campaign_plan_flags[];
int campaign_plan(struct ctl *c, const struct args *a);

struct plan_counts {
    int64_t leads;      /* of this niche and status */
    int64_t opted_out;  /* get nothing */
    int64_t messages;   /* the others get one each; of these */
    int64_t duplicates; /* go to a phone that gets one from another device of the campaign too */
    int64_t capped;     /* wait, because the phone has had its messages of the day or the week */
};

struct plan_account {
    uint64_t id; /* 0: no limit is known, and nothing is counted */
    char *name;
    int64_t limit, used;
    int64_t wanted; /* phones of the audience that it has not written to in the last 24 hours */
};

struct plan_device {
    uint64_t id;
    char *name, *status, *zone;
    struct eta_pace pace;
    size_t account;  /* in accounts, or PLAN_NO_ACCOUNT */
    int64_t waiting; /* messages of others that are due first */
    struct plan_counts n;
    int64_t ends_ms; /* 0: it sends nothing, or is not active */
};
#define PLAN_NO_ACCOUNT SIZE_MAX

struct plan {
    struct ctl *c;
    uint64_t campaign;
    char *name, *status, *niche, *target_status;
    int64_t start_ms;
    int64_t daily, weekly; /* the user's frequency caps, 0: none */
    struct plan_device *devices;
    size_t n_devices;
    struct plan_account *accounts;
    size_t n_accounts;
    struct plan_counts sum;
    struct seen phones, recipients; /* of the campaign; of each account */
};

/* Fills the counts of devices and accounts, in batches, with a bar on a terminal. */
MUST_USE bool plan_audience(struct plan *p, struct err *e);

#endif
