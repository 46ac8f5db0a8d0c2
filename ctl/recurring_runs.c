/* recurring_runs.c -- when a recurring message ran, and when it is going to. */
#include "ctl/recurring_def.h"
#include "ctl/recurring_verbs.h"
#include "shared/tz.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { NEXT = 5, NEXT_MAX = 10000 };

/* --- runs ----------------------------------------------------------------------------- */

const struct flag recurring_runs_flags[] = {
    {"limit", FLAG_INT, offsetof(struct recurring_runs_flags, limit), "1..100000", "50",
     "How many at most, the newest first.", false},
    {NULL, FLAG_BOOL, 0, NULL, NULL, NULL, false},
};

static const struct column run_columns[] = {
    {"occurrence_at", "RUN", SHOW_TIME},
    {"status", "STATUS", SHOW_TEXT},
    {"reason", "REASON", SHOW_TEXT},
    {"late_ms", "LATE", SHOW_MS},
    {"total", "TOTAL", SHOW_INT},
    {"open", "OPEN", SHOW_INT},
    {"sent", "SENT", SHOW_INT},
    {"failed", "FAILED", SHOW_INT},
    {"skipped", "SKIPPED", SHOW_INT},
    {"unknown", "UNKNOWN", SHOW_INT},
    {"started_at", NULL, SHOW_TIME},
    {"expanded_at", NULL, SHOW_TIME},
    {"finished_at", NULL, SHOW_TIME},
    {"counted_at", NULL, SHOW_TIME},
    {NULL, NULL, SHOW_TEXT},
};
static const struct column total_columns[] = {
    {"runs", NULL, SHOW_INT},    {"missed", NULL, SHOW_INT},  {"left_out", NULL, SHOW_INT},
    {"total", NULL, SHOW_INT},   {"sent", NULL, SHOW_INT},    {"failed", NULL, SHOW_INT},
    {"skipped", NULL, SHOW_INT}, {"unknown", NULL, SHOW_INT}, {"next_run_at", NULL, SHOW_TIME},
    {NULL, NULL, SHOW_TEXT},
};

static bool
put_runs(struct ctl *c, uint64_t id, int64_t limit, struct doc *d, struct err *e)
{
    struct rows r;
    if (!store_queryf(c->store, &r, e,
                      "SELECT occurrence_at, status, reason, late_ms, total, n_pending, n_sent, "
                      "n_failed, n_skipped, n_unknown, started_at, expanded_at, finished_at, "
                      "counted_at FROM recurring_message_logs WHERE recurring_id = %" PRIu64
                      " AND user_id = %" PRIu64 " ORDER BY occurrence_at DESC LIMIT %" PRId64,
                      id, c->user_id, limit)) {
        return false;
    }
    doc_put(d, "runs", output_rows(&r, run_columns));
    rows_done(&r);
    return true;
}

static bool
put_totals(struct ctl *c, uint64_t id, struct doc *d, struct err *e)
{
    struct rows r;
    if (!store_queryf(
            c->store, &r, e,
            "SELECT COALESCE(SUM(l.status IN ('expanding', 'running', 'finished')), 0), "
            "COALESCE(SUM(l.status = 'missed'), 0), COALESCE(SUM(l.status = 'skipped'), 0), "
            "COALESCE(SUM(l.total), 0), COALESCE(SUM(l.n_sent), 0), COALESCE(SUM(l.n_failed), 0), "
            "COALESCE(SUM(l.n_skipped), 0), COALESCE(SUM(l.n_unknown), 0), (SELECT next_run_at "
            "FROM recurring_messages WHERE id = %" PRIu64
            ") FROM recurring_message_logs l WHERE l.recurring_id = %" PRIu64
            " AND l.user_id = %" PRIu64,
            id, id, c->user_id)) {
        return false;
    }
    if (rows_next(&r)) {
        output_row(&r, 0, total_columns, doc_put_object(d, "totals"));
    }
    rows_done(&r);
    return true;
}

int
recurring_runs(struct ctl *c, const struct args *a)
{
    static const struct section sections[] = {{"runs", NULL, run_columns},
                                              {"totals", "All runs together:", total_columns},
                                              {NULL, NULL, NULL}};
    const struct recurring_runs_flags *f = a->flags;
    struct err e = {0};
    struct found rule;
    struct doc *d = doc_object();
    if (!ctl_user(c, false, &e) ||
        !ctl_find_source(c, SOURCE_RECURRING, a->operands[0], &rule, &e) ||
        !put_runs(c, rule.id, f->limit, d, &e) || !put_totals(c, rule.id, d, &e)) {
        doc_free(d);
        return ctl_fail(&e);
    }
    output_report(&c->out, sections, d);
    return CTL_OK;
}

/* --- next ----------------------------------------------------------------------------- */

const struct flag recurring_next_flags[] = {
    {"file", FLAG_TEXT, offsetof(struct recurring_next_flags, file), "DEF.json", NULL,
     "Of a definition that is not saved, - for the standard input.", false},
    {NULL, FLAG_BOOL, 0, NULL, NULL, NULL, false},
};

static const struct column next_columns[] = {
    {"local", "THERE", SHOW_TEXT}, {"zone", "ZONE", SHOW_TEXT}, {"utc", "UTC", SHOW_TEXT},
    {"at", NULL, SHOW_TIME},       {NULL, NULL, SHOW_TEXT},
};

static void
put_clock(struct doc *d, const char *key, int64_t s)
{
    char text[40];
    struct tm tm;
    time_t t = (time_t)s;
    (void)gmtime_r(&t, &tm);
    (void)strftime(text, sizeof text, "%a %Y-%m-%d %H:%M:%S", &tm);
    doc_put_str(d, key, text);
}

static bool
put_times(const struct recur *rule, const char *zone, int64_t after_s, int64_t n, struct doc *list,
          struct err *e)
{
    struct tz *z;
    if (!tz_load(zone, &z, e)) {
        return false;
    }
    for (; n > 0 && recur_next(rule, after_s, &after_s); n--) {
        struct doc *one = doc_append(list);
        int32_t east = tz_offset_at(z, after_s);
        char name[96];
        (void)snprintf(name, sizeof name, "%s (%c%02d:%02d)", zone, east < 0 ? '-' : '+',
                       abs(east) / 3600, abs(east) / 60 % 60);
        put_clock(one, "local", after_s + east);
        doc_put_str(one, "zone", name);
        put_clock(one, "utc", after_s);
        output_put_ms(one, "at", 1000 * after_s);
    }
    tz_free(z);
    return true;
}

static bool
next_of_file(struct ctl *c, const char *file, int64_t now_s, int64_t n, struct doc *list,
             struct err *e)
{
    struct recurring_def d;
    flag_defaults(recurring_flags, memset(&d, 0, sizeof d));
    d.file = file;
    bool ok =
        recurring_def_read(c, NULL, now_s, &d, e) && put_times(d.rule, d.zone, now_s, n, list, e);
    recurring_def_done(&d);
    return ok;
}

/* A rule that has ended, or has run as often as it may, has no next times. */
static bool
next_of_rule(struct ctl *c, const char *name, int64_t now_s, int64_t n, struct doc *list,
             struct err *e)
{
    struct found found;
    struct rows r;
    if (!ctl_find_source(c, SOURCE_RECURRING, name, &found, e) ||
        !store_queryf(c->store, &r, e,
                      "SELECT status, max_executions, executions FROM recurring_messages WHERE id "
                      "= %" PRIu64,
                      found.id)) {
        return false;
    }
    if (rows_next(&r)) {
        int64_t left = rows_int(&r, 2) < rows_int(&r, 1) ? rows_int(&r, 1) - rows_int(&r, 2) : 0;
        n = rows_int(&r, 1) && left < n ? left : n;
        if (strcmp(rows_str(&r, 0), "active") != 0) {
            ctl_note("recurring message %s is %s%s", found.name, rows_str(&r, 0),
                     strcmp(rows_str(&r, 0), "paused") == 0
                         ? ": these are its times once it goes on"
                         : ": it does not run any more");
            n = strcmp(rows_str(&r, 0), "paused") == 0 ? n : 0;
        }
    }
    rows_done(&r);
    struct recur *rule;
    char *zone;
    bool ok =
        recurring_rule(c, found.id, &rule, &zone, e) && put_times(rule, zone, now_s, n, list, e);
    recur_free(rule);
    free(zone);
    return ok;
}

int
recurring_next(struct ctl *c, const struct args *a)
{
    const struct recurring_next_flags *f = a->flags;
    struct err e = {0};
    int64_t now_s;
    uint64_t n = NEXT;
    int last = f->file ? 0 : 1;
    if (a->n < last || a->n > last + 1 ||
        (a->n > last && (!ctl_parse_id(a->operands[last], &n) || n < 1 || n > NEXT_MAX))) {
        ctl_note("write: recurring next NAME [N], or next --file DEF.json [N]; N is 1 to %d",
                 NEXT_MAX);
        return CTL_COULD_NOT;
    }
    struct doc *list = doc_list();
    if (!ctl_user(c, false, &e) || !recurring_now(c, &now_s, &e) ||
        !(f->file ? next_of_file(c, f->file, now_s, (int64_t)n, list, &e)
                  : next_of_rule(c, a->operands[0], now_s, (int64_t)n, list, &e))) {
        doc_free(list);
        return ctl_fail(&e);
    }
    output_list(&c->out, next_columns, list);
    return CTL_OK;
}
