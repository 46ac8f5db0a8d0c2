#include "ctl/campaign_create.h"
#include "ctl/campaign_plan.h"
#include "ctl/command.h"
#include "ctl/ctl.h"
#include "ctl/turn.h"

#include <inttypes.h>
#include <string.h>

#define CAMPAIGN_COLUMNS                                                                           \
    "c.id, c.name, c.status, c.scheduled_at, c.total, c.n_pending, c.n_sent, c.n_failed, "         \
    "c.n_skipped, c.n_unknown, IF(c.total = 0, NULL, FLOOR(100 * (c.n_sent + c.n_failed + "        \
    "c.n_skipped + c.n_unknown) / c.total)), c.started_at, c.finished_at, c.niche, "               \
    "c.target_status, c.min_gap_ms, c.max_gap_ms, c.batch_size, c.batch_pause_ms, "                \
    "1000 * c.max_lateness_s, c.max_attempts, c.on_unknown, c.steered, c.expanded_at, "            \
    "c.counted_at, c.created_at, c.status_reason"

static const struct column columns[] = {
    {"id", "ID", SHOW_ID},
    {"name", "CAMPAIGN", SHOW_TEXT},
    {"status", "STATUS", SHOW_TEXT},
    {"scheduled_at", "SCHEDULED", SHOW_TIME},
    {"total", "TOTAL", SHOW_INT},
    {"open", "OPEN", SHOW_INT},
    {"sent", "SENT", SHOW_INT},
    {"failed", "FAILED", SHOW_INT},
    {"skipped", "SKIPPED", SHOW_INT},
    {"unknown", "UNKNOWN", SHOW_INT},
    {"progress", "DONE", SHOW_PERCENT},
    {"started_at", NULL, SHOW_TIME},
    {"finished_at", NULL, SHOW_TIME},
    {"niche", NULL, SHOW_TEXT},
    {"target_status", NULL, SHOW_TEXT},
    {"gap_min_ms", NULL, SHOW_MS},
    {"gap_max_ms", NULL, SHOW_MS},
    {"batch_size", NULL, SHOW_INT},
    {"batch_pause_ms", NULL, SHOW_MS},
    {"max_lateness_ms", NULL, SHOW_MS},
    {"max_attempts", NULL, SHOW_INT},
    {"on_unknown", NULL, SHOW_TEXT},
    {"steered", NULL, SHOW_TEXT},
    {"expanded_at", NULL, SHOW_TIME},
    {"counted_at", NULL, SHOW_TIME},
    {"created_at", NULL, SHOW_TIME},
    {"reason", "REASON", SHOW_TEXT},
    {NULL, NULL, SHOW_TEXT},
};

/* --- list and show -------------------------------------------------------------------- */

static int
list(struct ctl *c, const struct args *a)
{
    (void)a;
    struct err e = {0};
    struct rows r;
    if (!ctl_user(c, false, &e) ||
        !store_queryf(c->store, &r, &e,
                      "SELECT " CAMPAIGN_COLUMNS " FROM campaigns c WHERE c.user_id = %" PRIu64
                      " ORDER BY c.id",
                      c->user_id)) {
        return ctl_fail(&e);
    }
    struct doc *campaigns = output_rows(&r, columns);
    rows_done(&r);
    output_list(&c->out, columns, campaigns);
    return CTL_OK;
}

static const struct column row_columns[] = {{"status", "ROWS", SHOW_TEXT},
                                            {"rows", "COUNT", SHOW_INT},
                                            {"archived", "OF THESE ARCHIVED", SHOW_INT},
                                            {NULL, NULL, SHOW_TEXT}};
static const struct column receipt_columns[] = {
    {"receipt", "RECEIPTS", SHOW_TEXT}, {"rows", "COUNT", SHOW_INT}, {NULL, NULL, SHOW_TEXT}};
static const struct column device_columns[] = {{"id", "ID", SHOW_ID},
                                               {"name", "DEVICE", SHOW_TEXT},
                                               {"status", "STATUS", SHOW_TEXT},
                                               {NULL, NULL, SHOW_TEXT}};

/* Puts the rows of a query that takes the campaign's id under a key. */
static bool
put_rows(struct ctl *c, const char *query, uint64_t id, const struct column *what, const char *key,
         struct doc *d, struct err *e)
{
    struct sql q = {0};
    struct rows r;
    sql_text(&q, query);
    sql_uint(&q, id);
    if (what == row_columns) {
        sql_addf(&q,
                 " GROUP BY status UNION ALL SELECT status, COUNT(*), COUNT(*) FROM "
                 "broadcast_messages_archive WHERE campaign_id = %" PRIu64
                 " GROUP BY status) AS t GROUP BY status ORDER BY status",
                 id);
    } else {
        sql_text(&q, " ORDER BY d.name");
    }
    bool ok = store_query(c->store, &q, &r, e);
    sql_done(&q);
    if (ok) {
        doc_put(d, key, output_rows(&r, what));
    }
    rows_done(&r);
    return ok;
}

/* Counted when somebody looks: it reads every row of the campaign, which progress does not. */
static bool
put_receipts(struct ctl *c, uint64_t id, struct doc *d, struct err *e)
{
    struct rows r;
    if (!store_queryf(c->store, &r, e,
                      "SELECT receipt, SUM(n) FROM (SELECT receipt, COUNT(*) AS n FROM "
                      "broadcast_messages WHERE campaign_id = %" PRIu64
                      " AND receipt <> 'none' GROUP BY receipt UNION ALL SELECT receipt, COUNT(*) "
                      "FROM broadcast_messages_archive WHERE campaign_id = %" PRIu64
                      " AND receipt <> 'none' GROUP BY receipt) AS t GROUP BY receipt ORDER BY "
                      "receipt",
                      id, id)) {
        return false;
    }
    if (r.count || c->out.json) {
        doc_put(d, "receipts", output_rows(&r, receipt_columns));
    }
    rows_done(&r);
    return true;
}

static bool
describe(struct ctl *c, uint64_t id, struct doc *d, struct err *e)
{
    struct rows r;
    if (!store_queryf(c->store, &r, e,
                      "SELECT c.content, c.media, c.template, " CAMPAIGN_COLUMNS
                      " FROM campaigns c WHERE c.id = %" PRIu64,
                      id)) {
        return false;
    }
    if (rows_next(&r)) {
        output_row(&r, 3, columns, d);
        doc_put_str(d, "content", rows_str(&r, 0));
        define_message_put(r.field[1], r.field[2], d);
    }
    rows_done(&r);
    return put_rows(c,
                    "SELECT status, SUM(n), SUM(archived) FROM (SELECT status, COUNT(*) AS n, 0 AS "
                    "archived FROM broadcast_messages WHERE campaign_id = ",
                    id, row_columns, "messages", d, e) &&
           put_receipts(c, id, d, e) &&
           put_rows(c,
                    "SELECT d.id, d.name, d.status FROM campaign_devices x JOIN campaigns c ON "
                    "c.id = x.campaign_id JOIN devices d ON d.id = x.device_id AND d.user_id = "
                    "c.user_id WHERE x.campaign_id = ",
                    id, device_columns, "devices", d, e);
}

static int
show(struct ctl *c, const struct args *a)
{
    static const struct section sections[] = {
        {"", NULL, columns},
        {"content", "Content:", NULL},
        {"media", "Medium:", NULL},
        {"template", "Template:", NULL},
        {"messages", "Messages now:", row_columns},
        {"receipts", "Of these the provider told:", receipt_columns},
        {"devices", "Devices:", device_columns},
        {NULL, NULL, NULL}};
    struct err e = {0};
    struct found campaign;
    struct doc *d = doc_object();
    if (!ctl_user(c, false, &e) ||
        !ctl_find_source(c, SOURCE_CAMPAIGN, a->operands[0], &campaign, &e) ||
        !describe(c, campaign.id, d, &e)) {
        doc_free(d);
        return ctl_fail(&e);
    }
    if (!c->json) {
        define_message_text(d);
    }
    output_report(&c->out, sections, d);
    return CTL_OK;
}

/* --- start, pause, resume, cancel ----------------------------------------------------- */

/* A campaign that was paused before it had started is scheduled again, so that a producer starts
 * it.
 */
static const struct turn
    start_turn = {SOURCE_CAMPAIGN,
                  "starts now: a producer takes it up within seconds",
                  "'scheduled', scheduled_at = UTC_TIMESTAMP(3)",
                  "('draft')",
                  "only a draft can be started",
                  .untold = true},
    pause_turn = {SOURCE_CAMPAIGN,
                  "is paused",
                  "'paused'",
                  "('scheduled', 'running')",
                  "only a scheduled or running one can be paused",
                  .untold = false},
    resume_turn = {SOURCE_CAMPAIGN,
                   "goes on",
                   "IF(audience_max_lead IS NULL AND expanded_at IS NULL, 'scheduled', 'running')",
                   "('paused')",
                   "only a paused one can be resumed",
                   .untold = false},
    cancel_turn = {SOURCE_CAMPAIGN,
                   "is cancelled; what was not sent yet is skipped",
                   "'cancelled'",
                   "('draft', 'scheduled', 'running', 'paused')",
                   "it cannot be cancelled any more",
                   .untold = false};

static int
start(struct ctl *c, const struct args *a)
{
    return turn_source(c, a->operands[0], &start_turn);
}

static int
pause_campaign(struct ctl *c, const struct args *a)
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

const struct command campaign_commands[] = {
    {"campaign", "create", "NAME", 1, 1, campaign_create_flags,
     sizeof(struct campaign_create_flags), campaign_create,
     "Makes a campaign: a message to the leads of its devices."},
    {"campaign", "list", "", 0, 0, NULL, 0, list, "All campaigns of the user, as last counted."},
    {"campaign", "show", "NAME|ID", 1, 1, NULL, 0, show, "One campaign, counted now."},
    {"campaign", "plan", "NAME|ID", 1, 1, campaign_plan_flags, sizeof(struct campaign_plan_flags),
     campaign_plan,
     "What would come of one that has not begun: its audience, when each device ends, samples."},
    {"campaign", "start", "NAME|ID", 1, 1, NULL, 0, start, "Starts a draft now."},
    {"campaign", "pause", "NAME|ID", 1, 1, NULL, 0, pause_campaign,
     "Stops it within a second; what was not sent yet waits."},
    {"campaign", "resume", "NAME|ID", 1, 1, NULL, 0, resume, "Lets a paused campaign go on."},
    {"campaign", "cancel", "NAME|ID", 1, 1, NULL, 0, cancel,
     "Ends it within a second; what was not sent yet is skipped."},
    {NULL, NULL, NULL, 0, 0, NULL, 0, NULL, NULL},
};
