#include "ctl/recurring_def.h"

#include "shared/tz.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define FLAG(name) offsetof(struct recurring_def, name)

const struct flag recurring_flags[] = {
    {"file", FLAG_TEXT, FLAG(file), "DEF.json", NULL,
     "The whole definition as JSON, - for the standard input; see docs/definitions.md.", false},
    {"content", FLAG_TEXT, FLAG(content), NULL, NULL,
     "The message: {{name|default}}, {name}, spintax {Hi|Hello}. This or --content-file; neither "
     "is "
     "needed beside a medium or a template.",
     false},
    {"content-file", FLAG_TEXT, FLAG(content_file), "FILE", NULL,
     "The message from a file, without its last line end.", false},
    DEFINE_MESSAGE_FLAGS(struct recurring_def),
    {"devices", FLAG_TEXT, FLAG(devices), "A,B,C|all", NULL,
     "Whose leads get it: names or ids, or all of the user's, later ones too. This or --contacts.",
     false},
    {"contacts", FLAG_TEXT, FLAG(contacts), "FILE.csv", NULL,
     "Who gets it instead: phones (or ids of groups) with names and devices.", false},
    {"device", FLAG_TEXT, FLAG(device), "NAME", NULL,
     "The device of all of --contacts; without it the file has a column for it.", false},
    {"device-column", FLAG_TEXT, FLAG(device_column), "COLUMN", NULL,
     "That column; one called `device` is found by itself.", false},
    {"map", FLAG_TEXT, FLAG(map), "phone=COLUMN,name=COLUMN", NULL,
     "Which column of --contacts is which, where its name does not tell.", false},
    {"country", FLAG_TEXT, FLAG(country), "60", NULL, "Calling code for phones that begin with 0.",
     false},
    {"niche", FLAG_TEXT, FLAG(niche), NULL, NULL, "Only leads of this niche.", false},
    {"target-status", FLAG_TEXT, FLAG(target_status), NULL, NULL, "Only leads with this status.",
     false},
    {"freq", FLAG_WORD, FLAG(freq), "daily|weekly|monthly|interval|cron", NULL,
     "What kind of rule it is.", false},
    {"every", FLAG_TEXT, FLAG(every), "NUMBER|DURATION", NULL,
     "Every so many days, weeks, months; of an interval its duration, like 90m. Default: 1.",
     false},
    {"weekdays", FLAG_TEXT, FLAG(weekdays), "mon,wed,..", NULL,
     "Weekly: on these days. Default: the start's day of the week.", false},
    {"month-days", FLAG_TEXT, FLAG(month_days), "1,15,-1", NULL,
     "Monthly: on these days, -1 is the last. Default: the start's day.", false},
    {"at", FLAG_TEXT, FLAG(at), "09:00,17:30", NULL,
     "Daily, weekly, monthly: at these times. Default: the start's time.", false},
    {"cron", FLAG_TEXT, FLAG(cron), "'0 9 * * mon-fri'", NULL, "Cron: five fields.", false},
    {"zone", FLAG_TEXT, FLAG(zone), "Asia/Kuala_Lumpur", NULL,
     "The rule's time zone. Default: the setting default_time_zone.", false},
    {"start", FLAG_TEXT, FLAG(start), "'2026-11-26 09:00'", NULL,
     "Nothing is due before it; a wall clock in the rule's zone. Default: now.", false},
    {"end-date", FLAG_TEXT, FLAG(end_date), "2026-12-31", NULL,
     "The last day, in the rule's zone. Default: none.", false},
    {"month-policy", FLAG_WORD, FLAG(month_policy), "clamp|skip", NULL,
     "A 31st in a shorter month is its last day, or is left out. Default: clamp.", false},
    {"gap-policy", FLAG_WORD, FLAG(gap_policy), "shift|skip", NULL,
     "A time that the clock leaves out comes later, or is left out. Default: shift.", false},
    {"catch-up", FLAG_WORD, FLAG(catch_up), "one|skip|all", NULL,
     "Of runs that were missed: the last, none, or all. Default: one.", false},
    {"catch-up-max", FLAG_INT, FLAG(catch_up_max), "1..1000", NULL,
     "With --catch-up=all: this many at most. Default: 10.", false},
    {"max-run-lateness", FLAG_MS, FLAG(max_run_lateness), "0s..3650d", NULL,
     "A run that is later than this is missed. Default: 1h.", false},
    {"run-overlap", FLAG_WORD, FLAG(run_overlap), "queue|skip", NULL,
     "When the run before is not through: this one follows, or is left out. Default: queue.",
     false},
    {"max-executions", FLAG_INT, FLAG(max_executions), "1..1000000000", NULL,
     "It ends after so many runs. Default: never.", false},
    {"delay", FLAG_WORD, FLAG(delay), "manual|auto|adaptive", NULL,
     "The pause between messages: --gap, the device's own, or that one, longer after failures. "
     "Default: manual with --gap, else auto.",
     false},
    {"randomise", FLAG_WORD, FLAG(randomise), "yes|no", NULL,
     "Pauses of random length within the gap. Default: yes.", false},
    DEFINE_PACE_FLAGS(struct recurring_def),
    {NULL, FLAG_BOOL, 0, NULL, NULL, NULL, false},
};

static const char *const simple_members[] = {
    "content",     "niche",          "target_status", "catch_up",     "catch_up_max",
    "run_overlap", "max_executions", "delay",         "randomise",    "max_run_lateness",
    "gap",         "batch",          "max_lateness",  "max_attempts", "on_unknown",
    NULL};
static const char *const other_members[] = {"name",  "devices",  "contacts", "schedule",
                                            "media", "template", NULL};
static const char *const schedule_members[] = {"freq",     "cron",         "zone",       "start",
                                               "end_date", "month_policy", "gap_policy", NULL};
static const char *const schedule_lists[] = {"every", "weekdays", "month_days", "at", NULL};

/* --- the schedule --------------------------------------------------------------------- */

/* ["mon", "wed"] or [1, -1] -> "mon,wed": as recur.h and the column have it. */
static bool
join(const struct doc *v, const char *name, struct buf *text, const char **ret, struct err *e)
{
    if (!v || doc_type(v) == DOC_NULL) {
        return true;
    }
    if (doc_type(v) != DOC_LIST || !doc_len(v)) {
        return err_set(e, ERR_INPUT, "schedule.%s: has to be a list, like %s", name,
                       strcmp(name, "at") == 0         ? "[\"09:00\"]"
                       : strcmp(name, "weekdays") == 0 ? "[\"mon\", \"thu\"]"
                                                       : "[1, 15, -1]");
    }
    bool numbers = strcmp(name, "month_days") == 0;
    for (size_t i = 0; i < doc_len(v); i++) {
        const struct doc *one = doc_at(v, i);
        if (doc_type(one) != (numbers ? DOC_INT : DOC_STR)) {
            return err_set(e, ERR_INPUT, "schedule.%s[%zu]: has to be %s", name, i,
                           numbers ? "a whole number" : "text in quotes");
        }
        buf_adds(text, i ? "," : "");
        if (numbers) {
            buf_addi(text, doc_int(one));
        } else if (strchr(doc_str(one), ',')) {
            return err_set(e, ERR_INPUT, "schedule.%s[%zu]: one value in each pair of quotes", name,
                           i);
        } else {
            buf_adds(text, doc_str(one));
        }
    }
    *ret = text->data;
    return true;
}

static bool
read_schedule(struct recurring_def *d, struct err *e)
{
    const struct doc *v = doc_get(d->doc, "schedule"), *every = doc_get(v, "every");
    if (!v) {
        return err_set(e, ERR_INPUT, "schedule: is missing; write {\"freq\": \"daily\", ...}");
    }
    if (!define_members(v, "schedule", recurring_flags, schedule_members, schedule_lists, d, e) ||
        !join(doc_get(v, "weekdays"), "weekdays", &d->lists[0], &d->weekdays, e) ||
        !join(doc_get(v, "month_days"), "month_days", &d->lists[1], &d->month_days, e) ||
        !join(doc_get(v, "at"), "at", &d->lists[2], &d->at, e)) {
        return false;
    }
    if (doc_type(every) == DOC_INT) {
        (void)snprintf(d->every_text, sizeof d->every_text, "%" PRId64, doc_int(every));
        d->every = d->every_text;
    } else if (doc_type(every) == DOC_STR) {
        d->every = doc_str(every);
    } else if (every && doc_type(every) != DOC_NULL) {
        return err_set(e, ERR_INPUT, "schedule.every: has to be a whole number, or a duration");
    }
    return true;
}

static const char *
schedule_place(const struct recurring_def *d, const char *member, char out[DEFINE_PLACE])
{
    char path[DEFINE_PLACE];
    (void)snprintf(path, sizeof path, "schedule.%.40s", member);
    return define_place(d->json, path, out);
}

/* Days, weeks, months; of an interval seconds. */
static bool
read_every(struct recurring_def *d, struct err *e)
{
    static const struct flag count = {.name = "every", .type = FLAG_INT, .words = "1..1000000"},
                             span = {.name = "every", .type = FLAG_MS, .words = "1s..36500d"};
    char place[DEFINE_PLACE];
    bool interval = strcmp(d->freq, "interval") == 0;
    (void)schedule_place(d, "every", place);
    d->every_n = 1;
    if (!d->every) {
        return !interval || err_set(e, ERR_INPUT,
                                    "%s: is missing; an interval is a duration like "
                                    "90m",
                                    place);
    }
    if (!flag_set(interval ? &span : &count, d->every, &d->every_n, e)) {
        return err_wrap(e, "%s", place);
    }
    if (interval && !define_seconds(place, d->every_n, e)) {
        return false;
    }
    d->every_n /= interval ? 1000 : 1;
    return true;
}

/* The start that was not given is now, as a clock in the rule's zone shows it. */
static bool
default_start(struct recurring_def *d, int64_t now_s, struct err *e)
{
    struct tz *zone;
    struct tm tm;
    char place[DEFINE_PLACE];
    if (d->start) {
        return true;
    }
    if (!tz_load(d->zone, &zone, e)) {
        return err_wrap(e, "%s", schedule_place(d, "zone", place));
    }
    time_t local = (time_t)(now_s + tz_offset_at(zone, now_s));
    tz_free(zone);
    (void)gmtime_r(&local, &tm);
    (void)strftime(d->start_now, sizeof d->start_now, "%Y-%m-%d %H:%M:%S", &tm);
    d->start = d->start_now;
    return true;
}

/* Columns have their sizes; recur.h does not know them. */
static bool
fits(const struct recurring_def *d, const char *member, const char *text, size_t max, struct err *e)
{
    char place[DEFINE_PLACE];
    return !text || strlen(text) <= max ||
           err_set(e, ERR_INPUT, "%s: has %zu bytes; %zu are the most",
                   schedule_place(d, member, place), strlen(text), max);
}

/* That of the setting is somebody else's mistake. */
static bool
default_zone(const struct ctl *c, struct recurring_def *d, struct err *e)
{
    struct tz *zone = NULL;
    if (d->zone) {
        return true;
    }
    d->zone = c->default_time_zone;
    bool ok = tz_load(d->zone, &zone, e) || err_wrap(e, "the setting default_time_zone");
    tz_free(zone);
    return ok;
}

static bool
read_rule(const struct ctl *c, int64_t now_s, struct recurring_def *d, struct err *e)
{
    char place[DEFINE_PLACE], member[DEFINE_PLACE];
    int64_t first;
    if (!default_zone(c, d, e)) {
        return false;
    }
    if (!d->freq) {
        return err_set(e, ERR_INPUT,
                       "%s: is missing; write one of daily|weekly|monthly|interval|"
                       "cron",
                       schedule_place(d, "freq", place));
    }
    if (!fits(d, "weekdays", d->weekdays, 32, e) || !fits(d, "month_days", d->month_days, 128, e) ||
        !fits(d, "at", d->at, 190, e) || !fits(d, "cron", d->cron, 190, e) ||
        !fits(d, "zone", d->zone, 64, e) || !read_every(d, e) || !default_start(d, now_s, e)) {
        return false;
    }
    struct recur_text t = {d->freq, d->every_n, d->weekdays, d->month_days,   d->at,        d->cron,
                           d->zone, d->start,   d->end_date, d->month_policy, d->gap_policy};
    if (!recur_parse(&t, &d->rule, e)) { /* the text begins with the member's name */
        struct err why = *e;
        size_t n = strcspn(why.text, ":");
        (void)snprintf(member, sizeof member, "%.*s", (int)(n < 40 ? n : 40), why.text);
        return err_set(e, why.kind, "%s%.250s", schedule_place(d, member, place), why.text + n);
    }
    return recur_next(d->rule, now_s, &first) ||
           err_set(e, ERR_INPUT, "%s: the last time is over; nothing would ever be due",
                   schedule_place(d, d->end_date ? "end_date" : "start", place));
}

/* --- the two forms -------------------------------------------------------------------- */

static bool
read_text(struct recurring_def *d, struct err *e)
{
    struct buf *text = &d->text;
    if (!d->content == !d->content_file && (d->content || !define_message_has(&d->parts))) {
        return err_set(e, ERR_INPUT,
                       "give the message with either --content or --content-file, or a medium or "
                       "--template instead");
    }
    if (d->content_file) {
        if (!define_file(d->content_file, DEFINE_CONTENT + 1, text, e)) {
            return err_wrap(e, "--content-file");
        }
        text->len -= text->len && text->data[text->len - 1] == '\n';
    } else {
        buf_adds(text, d->content ? d->content : "");
    }
    return true;
}

static bool
read_flags(struct recurring_def *d, struct err *e)
{
    if (!d->devices == !d->contacts) {
        return err_set(e, ERR_INPUT,
                       "say who gets it with either --devices or --contacts; or give "
                       "the whole definition with --file");
    }
    if (!d->contacts && (d->device || d->device_column || d->map)) {
        return err_set(e, ERR_INPUT, "--%s: is for --contacts",
                       d->device          ? "device"
                       : d->device_column ? "device-column"
                                          : "map");
    }
    if (d->device && d->device_column) {
        return err_set(e, ERR_INPUT, "--device and --device-column exclude each other");
    }
    return read_text(d, e);
}

static bool
read_doc(struct recurring_def *d, struct err *e)
{
    const struct doc *name = doc_get(d->doc, "name");
    if (!define_members(d->doc, "", recurring_flags, simple_members, other_members, d, e)) {
        return false;
    }
    if (!d->name && doc_type(name) != DOC_STR) {
        return err_set(e, ERR_INPUT, "name: %s", name ? "has to be text in quotes" : "is missing");
    }
    d->name = d->name ? d->name : doc_str(name);
    if (!doc_get(d->doc, "devices") == !doc_get(d->doc, "contacts")) {
        return err_set(e, ERR_INPUT, "devices: say who gets it: either devices or contacts");
    }
    if (!d->content && !define_message_in(d->doc)) {
        return err_set(e, ERR_INPUT, "content: is missing");
    }
    buf_adds(&d->text, d->content ? d->content : "");
    return read_schedule(d, e);
}

/* --- checks that both share ----------------------------------------------------------- */

static bool
check_delay(struct recurring_def *d, struct err *e)
{
    char place[DEFINE_PLACE];
    bool gap = d->pace.gap.a != FLAG_UNSET;
    d->delay = d->delay ? d->delay : gap ? "manual" : "auto";
    if (strcmp(d->delay, "manual") == 0) {
        return gap || err_set(e, ERR_INPUT, "%s: manual needs a gap, like 5s..15s",
                              define_place(d->json, "delay", place));
    }
    return !gap || err_set(e, ERR_INPUT,
                           "%s: with delay %s the device's own counts; write delay manual, or no "
                           "gap",
                           define_place(d->json, "gap", place), d->delay);
}

static bool
check(struct recurring_def *d, struct err *e)
{
    char place[DEFINE_PLACE];
    const char *where =
        d->json || !d->content_file ? define_place(d->json, "content", place) : d->content_file;
    bool filter = (d->niche && *d->niche) || (d->target_status && *d->target_status);
    d->catch_up = d->catch_up ? d->catch_up : "one";
    d->catch_up_max = d->catch_up_max == FLAG_UNSET ? 10 : d->catch_up_max;
    d->max_run_lateness = d->max_run_lateness == FLAG_UNSET ? 3600000 : d->max_run_lateness;
    d->run_overlap = d->run_overlap ? d->run_overlap : "queue";
    d->max_executions = d->max_executions == FLAG_UNSET ? 0 : d->max_executions;
    d->randomise = d->randomise ? d->randomise : "yes";
    d->month_policy = d->month_policy ? d->month_policy : "clamp";
    d->gap_policy = d->gap_policy ? d->gap_policy : "shift";
    if (!define_name(d->json ? "name" : "NAME", d->name, "recurring message", e) ||
        !define_message_content(where, d->text.data ? d->text.data : "", d->text.len,
                                define_message_has(&d->parts) || define_message_in(d->doc), e) ||
        !define_word(define_place(d->json, "niche", place), d->niche, e) ||
        !define_word(define_place(d->json, "target_status", place), d->target_status, e)) {
        return false;
    }
    if (filter && (d->contacts || doc_get(d->doc, "contacts"))) {
        return err_set(e, ERR_INPUT, "%s: contacts have none; leave it out",
                       define_place(d->json, d->niche ? "niche" : "target_status", place));
    }
    return check_delay(d, e) &&
           define_seconds(define_place(d->json, "max_run_lateness", place), d->max_run_lateness,
                          e) &&
           define_pace_check(d->json, &d->pace, e);
}

static bool
read_audience(struct ctl *c, struct recurring_def *d, struct err *e)
{
    return d->contacts || doc_get(d->doc, "contacts")
               ? recurring_contacts_read(c, d, e)
               : define_devices(c, d->devices, doc_get(d->doc, "devices"), &d->on, e);
}

static bool
read_parts(struct ctl *c, struct recurring_def *d, struct err *e)
{
    return d->json ? define_message_doc(c, d->doc, "", d->text.len > 0, &d->message, e)
                   : define_message_flags(c, &d->parts, d->text.len > 0, &d->message, e);
}

bool
recurring_def_read(struct ctl *c, const char *name, int64_t now_s, struct recurring_def *d,
                   struct err *e)
{
    static const char *const beside[] = {"file", "country", NULL};
    d->name = name;
    d->json = d->file != NULL;
    if (!d->json && !name) {
        return err_set(e, ERR_INPUT, "give the message a name: recurring create NAME ...");
    }
    if (d->json &&
        (!define_alone(recurring_flags, beside, d, e) || !define_load(d->file, &d->doc, e))) {
        return false;
    }
    return ((d->json ? read_doc(d, e) : read_flags(d, e)) && check(d, e) &&
            read_rule(c, now_s, d, e) && read_audience(c, d, e) && read_parts(c, d, e)) ||
           (d->json && err_wrap(e, "%.100s", define_file_name(d->file)));
}

void
recurring_def_done(struct recurring_def *d)
{
    for (size_t i = 0; i < d->n_people; i++) {
        free(d->people[i].name);
    }
    for (size_t i = 0; i < RECURRING_LISTS; i++) {
        buf_done(&d->lists[i]);
    }
    free(d->people);
    define_message_done(&d->message);
    buf_done(&d->text);
    define_devices_done(&d->on);
    recur_free(d->rule);
    doc_free(d->doc);
}
