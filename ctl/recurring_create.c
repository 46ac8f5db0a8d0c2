#include "ctl/recurring_def.h"
#include "ctl/recurring_verbs.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { DUPLICATE = 1062 };

struct create {
    struct ctl *c;
    struct recurring_def *d;
    uint64_t id;
};

/* Nothing is planned here: a producer looks for rules that have no next_run_at. */
static void
rule_sql(const struct recurring_def *d, struct sql *q)
{
    sql_addf(q,
             ", freq = %s, every = %" PRId64 ", weekdays = %s, month_days = %s, at_times = %s, "
             "cron = %s, time_zone = %s, start_local = %s, end_date_local = %s, month_policy = %s, "
             "gap_policy = %s, next_run_at = NULL, planned_after = UTC_TIMESTAMP(3)",
             d->freq, d->every_n, d->weekdays ? d->weekdays : "",
             d->month_days ? d->month_days : "", d->at ? d->at : "", d->cron ? d->cron : "",
             d->zone, d->start, d->end_date && *d->end_date ? d->end_date : NULL, d->month_policy,
             d->gap_policy);
}

static bool
insert_rule(struct store *s, struct create *k, struct err *e)
{
    const struct recurring_def *d = k->d;
    struct sql q = {0};
    sql_addf(&q,
             "INSERT INTO recurring_messages SET user_id = %" PRIu64
             ", created_at = UTC_TIMESTAMP(3), updated_at = UTC_TIMESTAMP(3), name = %s, audience "
             "= %s, all_devices = %d, niche = %s, target_status = %s, catch_up = %s, "
             "catch_up_max = %" PRId64 ", max_run_lateness_s = %" PRId64
             ", run_overlap = %s, max_executions = %" PRId64
             ", delay = %s, randomise = %d, content = ",
             k->c->user_id, d->name, d->n_people ? "contacts" : "leads", d->on.all,
             d->niche ? d->niche : "", d->target_status ? d->target_status : "", d->catch_up,
             d->catch_up_max, d->max_run_lateness / 1000, d->run_overlap, d->max_executions,
             d->delay, strcmp(d->randomise, "yes") == 0);
    sql_bytes(&q, d->text.data ? d->text.data : "", d->text.len);
    define_message_sql(&d->message, &q);
    rule_sql(d, &q);
    define_pace_sql(&d->pace, &q);
    bool ok = store_exec(s, &q, NULL, &k->id, e);
    sql_done(&q);
    return ok;
}

static bool
create_body(struct store *s, void *arg, struct err *e)
{
    struct create *k = arg;
    return define_message_hold(s, k->c->user_id, &k->d->message, e) && insert_rule(s, k, e) &&
           define_devices_insert(s, SOURCE_RECURRING, k->id, &k->d->on, e) &&
           recurring_contacts_insert(s, k->id, k->d, e);
}

static void
note_surprises(const struct recurring_def *d, int64_t now_s)
{
    struct buf notes = {0};
    recur_notes(d->rule, now_s, &notes);
    for (char *rest = NULL, *line = notes.data ? strtok_r(notes.data, "\n", &rest) : NULL; line;
         line = strtok_r(NULL, "\n", &rest)) {
        ctl_note("%s", line);
    }
    buf_done(&notes);
}

static int
create(struct create *k, const char *name)
{
    struct err e = {0};
    struct ctl *c = k->c;
    int64_t now_s, first_s;
    if (!ctl_user(c, false, &e) || !recurring_now(c, &now_s, &e) ||
        !recurring_def_read(c, name, now_s, k->d, &e)) {
        return ctl_fail(&e);
    }
    if (!store_transact(c->store, create_body, k, &e)) {
        return store_code(c->store) == DUPLICATE
                   ? ctl_refuse("there is a recurring message '%s' already", k->d->name)
                   : ctl_fail(&e);
    }
    note_surprises(k->d, now_s);
    struct doc *d = doc_object();
    doc_put_id(d, "id", k->id);
    doc_put_str(d, "name", k->d->name);
    doc_put_str(d, "status", "active");
    bool any = recur_next(k->d->rule, now_s, &first_s);
    output_put_ms(d, "first_at", any ? 1000 * first_s : 0);
    output_said(&c->out, d,
                "recurring message %s created with id %" PRIu64 "; see when it runs: paceline "
                "recurring next %s",
                k->d->name, k->id, k->d->name);
    return CTL_OK;
}

int
recurring_create(struct ctl *c, const struct args *a)
{
    struct create k = {.c = c, .d = a->flags};
    int code = create(&k, a->n ? a->operands[0] : NULL);
    recurring_def_done(k.d);
    return code;
}
