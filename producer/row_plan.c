#include "producer/row_plan.h"

#include "shared/job.h"

void
sql_epoch(struct sql *q, int64_t utc_s)
{
    sql_text(q, "'1970-01-01' + INTERVAL ");
    sql_int(q, utc_s);
    sql_text(q, " SECOND");
}

void
row_plan_begin(struct sql *q)
{
    sql_clear(q);
    sql_text(q, "INSERT IGNORE INTO broadcast_messages (job_id, user_id, device_id, kind, "
                "campaign_id, sequence_id, sequence_stepid, rotation, recurring_id, occurrence_at, "
                "lead_id, recipient_phone, recipient_name, scheduled_at, expires_at, created_at, "
                "updated_at) VALUES ");
}

static void
add_id(struct sql *q, bool present, uint64_t id)
{
    if (present) {
        sql_uint(q, id);
    } else {
        sql_text(q, "NULL");
    }
    sql_text(q, ",");
}

static void
add_time(struct sql *q, const struct message_row *m, int64_t after_s)
{
    if (m->from) {
        sql_str(q, m->from);
    } else {
        sql_text(q, "UTC_TIMESTAMP(3)");
    }
    if (after_s) {
        sql_text(q, " + INTERVAL ");
        sql_int(q, after_s);
        sql_text(q, " SECOND");
    }
}

static const char *
job_id(const struct message_row *m, char out[JOB_ID_SIZE])
{
    switch (m->kind) {
    case SOURCE_SEQUENCE:
        return job_id_step(m->step, m->device, m->phone, m->rotation, out);
    case SOURCE_RECURRING:
        return job_id_occurrence(m->source, m->occurrence_s, m->phone, out);
    case SOURCE_CAMPAIGN:
    case SOURCE_DIRECT:
    case SOURCE_KINDS:
    default:
        return job_id_campaign(m->source, m->device, m->phone, m->rotation, out);
    }
}

void
row_plan_add(struct sql *q, const struct message_row *m, bool first)
{
    char id[JOB_ID_SIZE];
    sql_text(q, first ? "(" : ",(");
    sql_str(q, job_id(m, id));
    sql_text(q, ",");
    sql_uint(q, m->user);
    sql_text(q, ",");
    sql_uint(q, m->device);
    sql_text(q, ",");
    sql_str(q, sources[m->kind].kind);
    sql_text(q, ",");
    add_id(q, m->kind == SOURCE_CAMPAIGN, m->source);
    add_id(q, m->kind == SOURCE_SEQUENCE, m->source);
    add_id(q, m->kind == SOURCE_SEQUENCE, m->step);
    sql_uint(q, m->rotation);
    sql_text(q, ",");
    add_id(q, m->kind == SOURCE_RECURRING, m->source);
    if (m->kind == SOURCE_RECURRING) {
        sql_epoch(q, m->occurrence_s);
    } else {
        sql_text(q, "NULL");
    }
    sql_text(q, ",");
    add_id(q, m->lead != 0, m->lead);
    sql_str(q, m->phone);
    sql_text(q, ",");
    sql_str(q, m->name);
    sql_text(q, ",");
    add_time(q, m, m->after_s);
    sql_text(q, ",");
    if (m->max_lateness_s > 0) {
        add_time(q, m, m->after_s + m->max_lateness_s);
    } else {
        sql_text(q, "NULL");
    }
    sql_text(q, ",UTC_TIMESTAMP(3),UTC_TIMESTAMP(3))");
}
