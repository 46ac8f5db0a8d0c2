#include "ctl/command.h"
#include "ctl/ctl.h"
#include "ctl/sequence_def.h"
#include "ctl/sequence_verbs.h"
#include "ctl/turn.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* --- list ----------------------------------------------------------------------------- */

#define COUNT_CONTACTS(status)                                                                     \
    "(SELECT COUNT(*) FROM sequence_contacts x WHERE x.sequence_id = s.id AND x.status = " status  \
    ")"
#define SEQUENCE_COLUMNS                                                                           \
    "s.id, s.name, s.status, s.`trigger`, (SELECT COUNT(*) FROM sequence_steps t WHERE "           \
    "t.sequence_id = s.id), n.name, " COUNT_CONTACTS("'active'") ", " COUNT_CONTACTS(              \
        "'finished'") ", " COUNT_CONTACTS("'left'") ", (SELECT COUNT(*) FROM sequence_requests q " \
                                                    "WHERE q.sequence_id = s.id), s.steered, "     \
                                                    "s.created_at, s.status_reason"
#define SEQUENCE_TABLES                                                                            \
    " FROM sequences s LEFT JOIN sequences n ON n.id = s.next_sequence_id AND n.user_id = "        \
    "s.user_id "

static const struct column columns[] = {
    {"id", "ID", SHOW_ID},           {"name", "SEQUENCE", SHOW_TEXT},
    {"status", "STATUS", SHOW_TEXT}, {"trigger", "TRIGGER", SHOW_TEXT},
    {"steps", "STEPS", SHOW_INT},    {"next", "THEN", SHOW_TEXT},
    {"active", "ACTIVE", SHOW_INT},  {"finished", "FINISHED", SHOW_INT},
    {"left", "LEFT", SHOW_INT},      {"asked", "ASKED", SHOW_INT},
    {"steered", NULL, SHOW_TEXT},    {"created_at", NULL, SHOW_TIME},
    {"reason", "REASON", SHOW_TEXT}, {NULL, NULL, SHOW_TEXT},
};

static int
list(struct ctl *c, const struct args *a)
{
    (void)a;
    struct err e = {0};
    struct rows r;
    if (!ctl_user(c, false, &e) || !store_queryf(c->store, &r, &e,
                                                 "SELECT " SEQUENCE_COLUMNS SEQUENCE_TABLES
                                                 "WHERE s.user_id = %" PRIu64 " ORDER BY s.id",
                                                 c->user_id)) {
        return ctl_fail(&e);
    }
    struct doc *sequences = output_rows(&r, columns);
    rows_done(&r);
    output_list(&c->out, columns, sequences);
    return CTL_OK;
}

/* --- show ----------------------------------------------------------------------------- */

struct show_flags {
    bool definition;
};
static const struct flag show_flags[] = {
    {"definition", FLAG_BOOL, offsetof(struct show_flags, definition), NULL, NULL,
     "Only the definition as JSON, as sequence create --file takes it.", false},
    {NULL, FLAG_BOOL, 0, NULL, NULL, NULL, false},
};

static const struct column step_columns[] = {
    {"sequence", "SEQUENCE", SHOW_TEXT}, {"step", "STEP", SHOW_INT},
    {"at_ms", "AFTER", SHOW_MS},         {"content", "CONTENT", SHOW_TEXT},
    {"beside", "BESIDE IT", SHOW_TEXT},  {NULL, NULL, SHOW_TEXT},
};
static const struct column message_columns[] = {
    {"status", "ROWS", SHOW_TEXT}, {"rows", "COUNT", SHOW_INT}, {NULL, NULL, SHOW_TEXT}};
static const struct column waiting_columns[] = {
    {"asked", NULL, SHOW_INT}, {"triggered", NULL, SHOW_INT}, {NULL, NULL, SHOW_TEXT}};
static const struct column device_columns[] = {{"id", "ID", SHOW_ID},
                                               {"name", "DEVICE", SHOW_TEXT},
                                               {"status", "STATUS", SHOW_TEXT},
                                               {NULL, NULL, SHOW_TEXT}};

/* Each step's time after enrolment, of this sequence and those linked behind it; *at_ms is where
 * the sequence starts, then where it ends. */
static bool
put_times(struct ctl *c, uint64_t id, int64_t *at_ms, struct doc *steps, struct err *e)
{
    struct rows r;
    int64_t start = *at_ms, after = 0;
    if (!store_queryf(c->store, &r, e,
                      "SELECT s.name, t.position, 1000 * t.delay_s, t.delay_from = 'enrolment', "
                      "t.content, 1000 * s.next_after_s, 1000 * s.start_after_s, t.media, "
                      "t.template FROM sequences s "
                      "JOIN sequence_steps t ON t.sequence_id = s.id WHERE s.id = %" PRIu64
                      " AND s.user_id = %" PRIu64 " ORDER BY t.position",
                      id, c->user_id)) {
        return false;
    }
    while (rows_next(&r)) {
        start = start < 0 ? rows_int(&r, 6) : start;
        *at_ms = *at_ms < 0 ? start : *at_ms;
        *at_ms = (rows_int(&r, 3) ? start : *at_ms) + rows_int(&r, 2);
        after = rows_int(&r, 5);
        struct doc *step = doc_append(steps);
        doc_put_str(step, "sequence", rows_str(&r, 0));
        doc_put_int(step, "step", rows_int(&r, 1));
        doc_put_int(step, "at_ms", *at_ms);
        doc_put_strn(step, "content", r.field[4], r.length[4]);
        struct buf beside = {0};
        define_message_brief(r.field[7], r.field[8], &beside);
        if (beside.len) {
            doc_put_str(step, "beside", beside.data);
        }
        buf_done(&beside);
    }
    rows_done(&r);
    *at_ms += after;
    return true;
}

static bool
put_chain(struct ctl *c, uint64_t id, struct doc *d, struct err *e)
{
    uint64_t *chain;
    size_t n;
    int64_t at_ms = -1; /* the first one starts after its start_after */
    struct doc *steps = doc_put_list(d, "times");
    bool ok = sequence_chain(c, id, &chain, &n, e);
    for (size_t i = 0; ok && i < n; i++) {
        ok = put_times(c, chain[i], &at_ms, steps, e);
    }
    free(chain);
    return ok;
}

static bool
put_rows(struct ctl *c, const char *before, uint64_t id, const char *behind,
         const struct column *what, const char *key, struct doc *d, struct err *e)
{
    struct sql q = {0};
    struct rows r;
    sql_text(&q, before);
    sql_uint(&q, id);
    sql_text(&q, behind);
    bool ok = store_query(c->store, &q, &r, e);
    sql_done(&q);
    if (ok) {
        doc_put(d, key, output_rows(&r, what));
    }
    rows_done(&r);
    return ok;
}

/* Whom a producer is going to enrol. */
static bool
put_waiting(struct ctl *c, uint64_t id, struct doc *d, struct err *e)
{
    struct rows r;
    if (!store_queryf(c->store, &r, e,
                      "SELECT (SELECT COUNT(*) FROM sequence_requests q WHERE q.sequence_id = "
                      "s.id), (SELECT COUNT(*) FROM leads l WHERE l.trigger_pending = 1 AND "
                      "l.user_id = s.user_id AND l.`trigger` = s.`trigger`) FROM sequences s WHERE "
                      "s.id = %" PRIu64,
                      id)) {
        return false;
    }
    if (rows_next(&r)) {
        output_row(&r, 0, waiting_columns, doc_put_object(d, "waiting"));
    }
    rows_done(&r);
    return true;
}

static bool
describe(struct ctl *c, uint64_t id, struct doc *d, struct err *e)
{
    struct rows r;
    if (!store_queryf(c->store, &r, e,
                      "SELECT " SEQUENCE_COLUMNS SEQUENCE_TABLES "WHERE s.id = %" PRIu64, id)) {
        return false;
    }
    if (rows_next(&r)) {
        output_row(&r, 0, columns, d);
    }
    rows_done(&r);
    return put_chain(c, id, d, e) &&
           put_rows(c, "SELECT status, COUNT(*) FROM broadcast_messages WHERE sequence_id = ", id,
                    " GROUP BY status", message_columns, "messages", d, e) &&
           put_waiting(c, id, d, e) &&
           put_rows(c,
                    "SELECT d.id, d.name, d.status FROM sequence_devices x JOIN sequences s ON "
                    "s.id = x.sequence_id JOIN devices d ON d.id = x.device_id AND d.user_id = "
                    "s.user_id WHERE x.sequence_id = ",
                    id, " ORDER BY d.name", device_columns, "devices", d, e) &&
           sequence_def_put(c, id, doc_put_object(d, "definition"), e);
}

static int
show(struct ctl *c, const struct args *a)
{
    static const struct section sections[] = {
        {"", NULL, columns},
        {"times", "Messages of a contact, after enrolment:", step_columns},
        {"messages", "Messages now:", message_columns},
        {"waiting", "Waiting to be enrolled:", waiting_columns},
        {"devices", "Devices:", device_columns},
        {NULL, NULL, NULL}};
    const struct show_flags *f = a->flags;
    struct err e = {0};
    struct found sequence;
    struct doc *d = doc_object();
    struct output json = {.json = true};
    if (!ctl_user(c, false, &e) ||
        !ctl_find_source(c, SOURCE_SEQUENCE, a->operands[0], &sequence, &e) ||
        !(f->definition ? sequence_def_put(c, sequence.id, d, &e)
                        : describe(c, sequence.id, d, &e))) {
        doc_free(d);
        return ctl_fail(&e);
    }
    if (!doc_len(doc_get(d, "devices")) && !f->definition) {
        doc_put_str(d, "devices", "all of the user's");
    }
    output_report(f->definition ? &json : &c->out, sections, d);
    return CTL_OK;
}

/* --- pause, resume, cancel ------------------------------------------------------------- */

static const struct turn
    pause_turn = {SOURCE_SEQUENCE,
                  "is paused",
                  "'paused'",
                  "('active')",
                  "only an active one can be paused",
                  false},
    resume_turn = {SOURCE_SEQUENCE,
                   "goes on",
                   "'active'",
                   "('paused')",
                   "only a paused one can be resumed",
                   false},
    cancel_turn = {SOURCE_SEQUENCE,
                   "is cancelled; its contacts leave, and what was not sent yet is skipped",
                   "'cancelled'",
                   "('active', 'paused')",
                   "it cannot be cancelled any more",
                   false};

struct pause_flags {
    bool leave;
};
static const struct flag pause_flags[] = {
    {"leave", FLAG_BOOL, offsetof(struct pause_flags, leave), NULL, NULL,
     "All its contacts leave as well: after resume nobody gets what was planned before.", false},
    {NULL, FLAG_BOOL, 0, NULL, NULL, NULL, false},
};

static int
pause_sequence(struct ctl *c, const struct args *a)
{
    const struct pause_flags *f = a->flags;
    struct doc *d;
    if (!f->leave) {
        return turn_source(c, a->operands[0], &pause_turn);
    }
    int code = turn_quietly(c, a->operands[0], &pause_turn, &d);
    return code == CTL_OK ? sequence_leave_all(c, a->operands[0], "paused", d) : code;
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

const struct command sequence_commands[] = {
    {"sequence", "create", "[NAME]", 0, 1, sequence_flags, sizeof(struct sequence_def),
     sequence_create,
     "Makes a sequence: messages to a contact over time. From flags, or from a JSON file."},
    {"sequence", "list", "", 0, 0, NULL, 0, list,
     "All sequences of the user, with their contacts."},
    {"sequence", "show", "NAME|ID", 1, 1, show_flags, sizeof(struct show_flags), show,
     "One sequence: its steps, what comes after it, contacts, messages, its definition."},
    {"sequence", "enrol", "NAME|ID [PHONE ...]", 1, -1, sequence_enrol_flags,
     sizeof(struct sequence_enrol_flags), sequence_enrol,
     "Enrols leads by their phones, or by device, niche, status, or all; a producer makes their "
     "messages."},
    {"sequence", "leave", "NAME|ID [PHONE ...]", 1, -1, sequence_leave_flags,
     sizeof(struct sequence_leave_flags), sequence_leave,
     "Contacts leave it and what is linked behind it: what was not sent yet is skipped."},
    {"sequence", "pause", "NAME|ID", 1, 1, pause_flags, sizeof(struct pause_flags), pause_sequence,
     "Stops it within a second; what was not sent yet waits."},
    {"sequence", "resume", "NAME|ID", 1, 1, NULL, 0, resume, "Lets a paused sequence go on."},
    {"sequence", "cancel", "NAME|ID", 1, 1, NULL, 0, cancel,
     "Ends it for good; what was not sent yet is skipped."},
    {NULL, NULL, NULL, 0, 0, NULL, 0, NULL, NULL},
};
