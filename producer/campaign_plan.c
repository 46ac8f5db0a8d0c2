#include "producer/campaign_plan.h"

#include "shared/job.h"

#include <inttypes.h>
#include <stdio.h>

void
campaign_plan_begin(struct sql *q)
{
    sql_clear(q);
    sql_text(q, "INSERT IGNORE INTO broadcast_messages (job_id, user_id, device_id, kind, "
                "campaign_id, lead_id, "
                "recipient_phone, recipient_name, scheduled_at, expires_at, created_at, "
                "updated_at) VALUES ");
}

void
campaign_plan_row(struct sql *q, const struct campaign *c, const struct audience_lead *l,
                  bool first)
{
    char id[JOB_ID_SIZE];
    sql_text(q, first ? "(" : ",(");
    sql_str(q, job_id_campaign(c->id, l->device, l->phone, 0, id));
    sql_text(q, ",");
    sql_uint(q, c->user);
    sql_text(q, ",");
    sql_uint(q, l->device);
    sql_text(q, ",'campaign',");
    sql_uint(q, c->id);
    sql_text(q, ",");
    sql_uint(q, l->id);
    sql_text(q, ",");
    sql_str(q, l->phone);
    sql_text(q, ",");
    sql_str(q, l->name);
    sql_text(q, ",UTC_TIMESTAMP(3),");
    if (c->max_lateness_s > 0) {
        sql_text(q, "UTC_TIMESTAMP(3) + INTERVAL ");
        sql_int(q, c->max_lateness_s);
        sql_text(q, " SECOND");
    } else {
        sql_text(q, "NULL");
    }
    sql_text(q, ",UTC_TIMESTAMP(3),UTC_TIMESTAMP(3))");
}

char *
campaign_source(uint64_t campaign, char out[24])
{
    (void)snprintf(out, 24, "c%" PRIu64, campaign);
    return out;
}
