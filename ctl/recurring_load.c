/* recurring_load.c -- what the tables say of a recurring message: its definition and its rule. */
#include "ctl/recurring_def.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* start without its seconds when there are none, as people write it. */
#define RULE_COLUMNS                                                                               \
    "freq, every, weekdays, month_days, at_times, cron, time_zone, DATE_FORMAT(start_local, "      \
    "IF(SECOND(start_local) = 0, '%%Y-%%m-%%d %%H:%%i', '%%Y-%%m-%%d %%H:%%i:%%s')), "             \
    "end_date_local, month_policy, gap_policy"

bool
recurring_now(struct ctl *c, int64_t *ret_s, struct err *e)
{
    struct rows r;
    if (!store_queryf(c->store, &r, e, "SELECT UNIX_TIMESTAMP()")) {
        return false;
    }
    *ret_s = rows_next(&r) ? rows_int(&r, 0) : 0;
    rows_done(&r);
    return true;
}

static struct recur_text
rule_text(const struct rows *r, unsigned at)
{
    return (struct recur_text){.freq = rows_str(r, at),
                               .every = rows_int(r, at + 1),
                               .weekdays = rows_str(r, at + 2),
                               .month_days = rows_str(r, at + 3),
                               .at = rows_str(r, at + 4),
                               .cron = rows_str(r, at + 5),
                               .zone = rows_str(r, at + 6),
                               .start = rows_str(r, at + 7),
                               .end_date = rows_str(r, at + 8),
                               .month_policy = rows_str(r, at + 9),
                               .gap_policy = rows_str(r, at + 10)};
}

bool
recurring_rule(struct ctl *c, uint64_t id, struct recur **ret, char **zone, struct err *e)
{
    struct rows r;
    *ret = NULL;
    *zone = NULL;
    if (!store_queryf(c->store, &r, e,
                      "SELECT " RULE_COLUMNS " FROM recurring_messages WHERE id = %" PRIu64
                      " AND user_id = %" PRIu64,
                      id, c->user_id)) {
        return false;
    }
    bool ok = rows_next(&r) || err_set(e, ERR_GONE, "the recurring message is gone");
    if (ok) {
        struct recur_text t = rule_text(&r, 0);
        ok = recur_parse(&t, ret, e);
        *zone = xstrdup(t.zone);
    }
    rows_done(&r);
    return ok;
}

/* --- the definition ------------------------------------------------------------------- */

static void
put_list(struct doc *schedule, const char *key, const char *text, bool numbers)
{
    if (!*text) {
        return;
    }
    struct doc *list = doc_put_list(schedule, key);
    while (*text) {
        size_t n = strcspn(text, ",");
        char *one = xstrndup(text, n);
        if (numbers) {
            doc_append_int(list, strtoll(one, NULL, 10));
        } else {
            doc_append_str(list, one + strspn(one, " "));
        }
        free(one);
        text += n + (text[n] == ',');
    }
}

static void
put_every(struct doc *schedule, const struct recur_text *t)
{
    const struct flag as_ms = {.name = "every", .type = FLAG_MS};
    int64_t ms = 1000 * t->every;
    struct buf text = {0};
    if (strcmp(t->freq, "interval") == 0) {
        flag_write(&as_ms, &ms, &text);
        doc_put_strn(schedule, "every", text.data, text.len);
        buf_done(&text);
    } else if (strcmp(t->freq, "cron") != 0) {
        doc_put_int(schedule, "every", t->every);
    }
}

static void
put_if(struct doc *object, const char *key, const char *text)
{
    if (*text) {
        doc_put_str(object, key, text);
    }
}

static void
put_schedule(const struct recur_text *t, struct doc *out)
{
    struct doc *schedule = doc_put_object(out, "schedule");
    doc_put_str(schedule, "freq", t->freq);
    put_every(schedule, t);
    put_list(schedule, "weekdays", t->weekdays, false);
    put_list(schedule, "month_days", t->month_days, true);
    put_list(schedule, "at", t->at, false);
    put_if(schedule, "cron", t->cron);
    doc_put_str(schedule, "zone", t->zone);
    doc_put_str(schedule, "start", t->start);
    put_if(schedule, "end_date", t->end_date);
    doc_put_str(schedule, "month_policy", t->month_policy);
    doc_put_str(schedule, "gap_policy", t->gap_policy);
}

static bool
put_contacts(struct ctl *c, uint64_t id, struct doc *out, struct err *e)
{
    struct rows r;
    struct doc *list = doc_put_list(out, "contacts");
    if (!store_queryf(c->store, &r, e,
                      "SELECT x.phone, x.name, d.name FROM recurring_contacts x JOIN devices d ON "
                      "d.id = x.device_id WHERE x.recurring_id = %" PRIu64 " AND d.user_id = "
                      "%" PRIu64 " ORDER BY x.id",
                      id, c->user_id)) {
        return false;
    }
    while (rows_next(&r)) {
        struct doc *one = doc_append(list);
        doc_put_str(one, "phone", rows_str(&r, 0));
        put_if(one, "name", rows_str(&r, 1));
        doc_put_str(one, "device", rows_str(&r, 2));
    }
    rows_done(&r);
    return true;
}

/* The columns from 11 on, behind those of the rule. */
static struct recurring_def
rest_of(const struct rows *r)
{
    struct recurring_def d = {
        .niche = *rows_str(r, 14) ? rows_str(r, 14) : NULL,
        .target_status = *rows_str(r, 15) ? rows_str(r, 15) : NULL,
        .catch_up = rows_str(r, 16),
        .catch_up_max = rows_int(r, 17),
        .max_run_lateness = rows_int(r, 18),
        .run_overlap = rows_str(r, 19),
        .max_executions = rows_int(r, 20) ? rows_int(r, 20) : FLAG_UNSET,
        .delay = rows_str(r, 21),
        .randomise = rows_int(r, 22) ? "yes" : "no",
    };
    define_pace_read(r, 23, &d.pace);
    return d;
}

bool
recurring_def_put(struct ctl *c, uint64_t id, struct doc *out, struct err *e)
{
    static const char *const filters[] = {"niche", "target_status", NULL},
                             *const runs[] = {"catch_up",         "catch_up_max",
                                              "max_run_lateness", "run_overlap",
                                              "max_executions",   "delay",
                                              "randomise",        NULL};
    struct rows r;
    if (!store_queryf(c->store, &r, e,
                      "SELECT " RULE_COLUMNS
                      ", name, content, IF(audience = 'contacts', 2, all_devices), niche, "
                      "target_status, catch_up, catch_up_max, 1000 * max_run_lateness_s, "
                      "run_overlap, max_executions, delay, randomise, " DEFINE_PACE_COLUMNS
                      ", media, template FROM recurring_messages WHERE id = %" PRIu64
                      " AND user_id = %" PRIu64,
                      id, c->user_id)) {
        return false;
    }
    if (!rows_next(&r)) {
        rows_done(&r);
        return err_set(e, ERR_GONE, "the recurring message is gone");
    }
    struct recur_text t = rule_text(&r, 0);
    struct recurring_def d = rest_of(&r);
    doc_put_str(out, "name", rows_str(&r, 11));
    if (r.length[12] || !(r.field[30] || r.field[31])) {
        doc_put_strn(out, "content", r.field[12], r.length[12]);
    }
    define_message_put(r.field[30], r.field[31], out);
    bool ok = rows_int(&r, 13) == 2
                  ? put_contacts(c, id, out, e)
                  : define_devices_put(c, SOURCE_RECURRING, id, rows_int(&r, 13) != 0, out, e);
    define_put(recurring_flags, filters, &d, out);
    put_schedule(&t, out);
    define_put(recurring_flags, runs, &d, out);
    define_put(recurring_flags, define_pace_members, &d, out);
    rows_done(&r);
    return ok;
}
