#include "ctl/command.h"
#include "ctl/ctl.h"
#include "ctl/recurring_def.h"
#include "ctl/recurring_verbs.h"
#include "ctl/turn.h"

#include <inttypes.h>
#include <string.h>

/* --- list and show -------------------------------------------------------------------- */

#define RECURRING_COLUMNS                                                                          \
    "m.id, m.name, m.status, m.status_reason, m.freq, m.time_zone, m.next_run_at, m.executions, "  \
    "m.max_executions, m.audience, m.delay, m.gap_percent, m.steered, m.created_at, m.finished_at"

static const struct column columns[] = {
    {"id", "ID", SHOW_ID},
    {"name", "RECURRING", SHOW_TEXT},
    {"status", "STATUS", SHOW_TEXT},
    {"status_reason", NULL, SHOW_TEXT},
    {"freq", "FREQ", SHOW_TEXT},
    {"zone", "ZONE", SHOW_TEXT},
    {"next_run_at", "NEXT RUN", SHOW_TIME},
    {"executions", "RUNS", SHOW_INT},
    {"max_executions", NULL, SHOW_INT},
    {"audience", "TO", SHOW_TEXT},
    {"delay", NULL, SHOW_TEXT},
    {"gap_percent", NULL, SHOW_PERCENT},
    {"steered", NULL, SHOW_TEXT},
    {"created_at", NULL, SHOW_TIME},
    {"finished_at", NULL, SHOW_TIME},
    {NULL, NULL, SHOW_TEXT},
};

static int
list(struct ctl *c, const struct args *a)
{
    (void)a;
    struct err e = {0};
    struct rows r;
    if (!ctl_user(c, false, &e) ||
        !store_queryf(c->store, &r, &e,
                      "SELECT " RECURRING_COLUMNS
                      " FROM recurring_messages m WHERE m.user_id = %" PRIu64 " ORDER BY m.id",
                      c->user_id)) {
        return ctl_fail(&e);
    }
    struct doc *rules = output_rows(&r, columns);
    rows_done(&r);
    output_list(&c->out, columns, rules);
    return CTL_OK;
}

struct show_flags {
    bool definition;
};
static const struct flag show_flags[] = {
    {"definition", FLAG_BOOL, offsetof(struct show_flags, definition), NULL, NULL,
     "Only the definition as JSON, as recurring create --file takes it.", false},
    {NULL, FLAG_BOOL, 0, NULL, NULL, NULL, false},
};
static const struct column message_columns[] = {
    {"status", "ROWS", SHOW_TEXT}, {"rows", "COUNT", SHOW_INT}, {NULL, NULL, SHOW_TEXT}};

static bool
describe(struct ctl *c, uint64_t id, struct doc *d, struct err *e)
{
    struct rows r;
    if (!store_queryf(
            c->store, &r, e,
            "SELECT " RECURRING_COLUMNS " FROM recurring_messages m WHERE m.id = %" PRIu64, id)) {
        return false;
    }
    if (rows_next(&r)) {
        output_row(&r, 0, columns, d);
    }
    rows_done(&r);
    if (!store_queryf(c->store, &r, e,
                      "SELECT status, COUNT(*) FROM broadcast_messages WHERE recurring_id = "
                      "%" PRIu64 " GROUP BY status",
                      id)) {
        return false;
    }
    doc_put(d, "messages", output_rows(&r, message_columns));
    rows_done(&r);
    return recurring_def_put(c, id, doc_put_object(d, "definition"), e);
}

/* For people: one line a member. */
static void
put_text(struct doc *d)
{
    struct buf text = {0};
    const struct doc *schedule = doc_get(doc_get(d, "definition"), "schedule");
    const char *key;
    for (size_t i = 0; (key = doc_key(schedule, i)); i++) {
        const struct doc *v = doc_get(schedule, key);
        buf_addf(&text, "%s%s: ", i ? "\n" : "", key);
        if (doc_type(v) == DOC_STR) {
            buf_adds(&text, doc_str(v));
        } else {
            doc_write(v, &text);
        }
    }
    doc_put_str(d, "schedule", text.data);
    static const char *const copied[] = {"content", "media", "template"};
    for (size_t i = 0; i < sizeof copied / sizeof *copied; i++) {
        const struct doc *v = doc_get(doc_get(d, "definition"), copied[i]);
        if (v) {
            doc_put_copy(d, copied[i], v);
        }
    }
    define_message_text(d);
    buf_done(&text);
}

static int
show(struct ctl *c, const struct args *a)
{
    static const struct section sections[] = {{"", NULL, columns},
                                              {"schedule", "Schedule:", NULL},
                                              {"content", "Content:", NULL},
                                              {"media", "Medium:", NULL},
                                              {"template", "Template:", NULL},
                                              {"messages", "Messages now:", message_columns},
                                              {NULL, NULL, NULL}};
    const struct show_flags *f = a->flags;
    struct err e = {0};
    struct found rule;
    struct doc *d = doc_object();
    struct output json = {.json = true};
    if (!ctl_user(c, false, &e) ||
        !ctl_find_source(c, SOURCE_RECURRING, a->operands[0], &rule, &e) ||
        !(f->definition ? recurring_def_put(c, rule.id, d, &e) : describe(c, rule.id, d, &e))) {
        doc_free(d);
        return ctl_fail(&e);
    }
    if (!f->definition && !c->json) {
        put_text(d);
    }
    output_report(f->definition ? &json : &c->out, sections, d);
    return CTL_OK;
}

/* --- pause, resume, cancel ------------------------------------------------------------- */

/* What fell into the pause is not caught up: the next time is looked for from now on. */
/* The last run of a rule that is over can still be stopped, as long as its messages go out. */
static const struct turn pause_turn = {SOURCE_RECURRING,
                                       "is paused",
                                       "'paused'",
                                       "('active', 'finished') AND finished_at IS NULL",
                                       "only an active one can be paused",
                                       false},
                         resume_turn = {SOURCE_RECURRING,
                                        "goes on; what fell into the pause is not caught up",
                                        "'active', next_run_at = NULL, planned_after = "
                                        "UTC_TIMESTAMP(3)",
                                        "('paused')",
                                        "only a paused one can be resumed",
                                        false},
                         cancel_turn = {SOURCE_RECURRING,
                                        "is cancelled; what was not sent yet is skipped",
                                        "'cancelled', next_run_at = NULL",
                                        "('active', 'paused', 'finished') AND finished_at IS NULL",
                                        "it cannot be cancelled any more",
                                        false};

static int
pause_rule(struct ctl *c, const struct args *a)
{
    return turn_source(c, a->operands[0], &pause_turn);
}

static int
resume(struct ctl *c, const struct args *a)
{
    return turn_source(c, a->operands[0], &resume_turn);
}

static int
cancel(struct ctl *c, const struct args *a)
{
    return turn_source(c, a->operands[0], &cancel_turn);
}

const struct command recurring_commands[] = {
    {"recurring", "create", "[NAME]", 0, 1, recurring_flags, sizeof(struct recurring_def),
     recurring_create,
     "Makes a message that is sent again and again. From flags, or from a JSON file."},
    {"recurring", "list", "", 0, 0, NULL, 0, list,
     "All recurring messages of the user, and when each runs next."},
    {"recurring", "show", "NAME|ID", 1, 1, show_flags, sizeof(struct show_flags), show,
     "One recurring message: its rule, messages, its definition."},
    {"recurring", "runs", "NAME|ID", 1, 1, recurring_runs_flags,
     sizeof(struct recurring_runs_flags), recurring_runs, "What came of its runs."},
    {"recurring", "next", "NAME|ID [N]", 0, 2, recurring_next_flags,
     sizeof(struct recurring_next_flags), recurring_next,
     "Its next N times (5), on the clock of its zone and in UTC."},
    {"recurring", "pause", "NAME|ID", 1, 1, NULL, 0, pause_rule,
     "Stops it within a second; what was not sent yet waits."},
    {"recurring", "resume", "NAME|ID", 1, 1, NULL, 0, resume,
     "Lets a paused one go on from now; runs that fell into the pause are not caught up."},
    {"recurring", "cancel", "NAME|ID", 1, 1, NULL, 0, cancel,
     "Ends it for good; what was not sent yet is skipped."},
    {NULL, NULL, NULL, 0, 0, NULL, 0, NULL, NULL},
};
