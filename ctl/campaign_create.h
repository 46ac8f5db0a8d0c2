/* campaign_create.h -- `campaign create`: a row of cmd_campaign.c's command list with a file of its
 * own. */
#ifndef CTL_CAMPAIGN_CREATE_H
#define CTL_CAMPAIGN_CREATE_H

#include "ctl/command.h"
#include "ctl/define_message.h"

struct campaign_create_flags {
    const char *content, *content_file, *devices, *niche, *target_status, *on_unknown;
    int64_t start, max_lateness, max_attempts;
    struct flag_pair gap, batch;
    struct message_flags parts;
};
extern const struct flag campaign_create_flags[];
int campaign_create(struct ctl *c, const struct args *a);

#endif
