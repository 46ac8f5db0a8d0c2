/* campaign_plan.c -- `campaign plan`: what would come of a campaign that has not begun.  Changes
 * nothing, and knows only what is known now: opt-outs, receipts and other campaigns go on. */
#include "ctl/campaign_plan.h"

#include "ctl/template_leads.h"
#include "shared/tz.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { DAY_MS = 86400000 };

#define FLAG(name) offsetof(struct campaign_plan_flags, name)

const struct flag campaign_plan_flags[] = {
    {"samples", FLAG_INT, FLAG(samples), "0..1000", "3", "How many messages are shown.", false},
    {"at", FLAG_TIME, FLAG(at), NULL, NULL,
     "As if it started then, in UTC; else when it is scheduled, or now.", false},
    {NULL, FLAG_BOOL, 0, NULL, NULL, NULL, false},
};

/* --- what is read --------------------------------------------------------------------- */

/* One that has begun has its messages already. */
static bool
read_campaign(struct plan *p, const char *text, const struct campaign_plan_flags *f, struct err *e)
{
    struct found found;
    struct rows r;
    if (!ctl_user(p->c, false, e) || !ctl_find_source(p->c, SOURCE_CAMPAIGN, text, &found, e) ||
        !store_queryf(
            p->c->store, &r, e,
            "SELECT c.status, c.niche, c.target_status, c.audience_max_lead IS NOT NULL OR "
            "c.expanded_at IS NOT NULL OR c.status IN ('finished', 'cancelled'), TIMESTAMPDIFF("
            "MICROSECOND, '1970-01-01', GREATEST(UTC_TIMESTAMP(3), COALESCE(c.scheduled_at, "
            "UTC_TIMESTAMP(3)))) DIV 1000, u.recipient_daily, u.recipient_weekly FROM campaigns c "
            "JOIN users u ON u.id = c.user_id WHERE c.id = %" PRIu64,
            found.id)) {
        return false;
    }
    bool ok = rows_next(&r), begun = ok && rows_int(&r, 3);
    if (ok) {
        p->campaign = found.id;
        p->name = xstrdup(found.name);
        p->status = xstrdup(rows_str(&r, 0));
        p->niche = xstrdup(rows_str(&r, 1));
        p->target_status = xstrdup(rows_str(&r, 2));
        p->start_ms = f->at == FLAG_UNSET || f->at == FLAG_NOW ? rows_int(&r, 4) : f->at * 1000;
        p->daily = rows_int(&r, 5);
        p->weekly = rows_int(&r, 6);
    }
    rows_done(&r);
    if (begun) {
        return err_set(e, ERR_GONE,
                       "campaign %.100s is %s: its messages are made; see: paceline campaign show",
                       p->name, p->status);
    }
    return ok || err_set(e, ERR_GONE, "the campaign is gone");
}

enum device_column {
    ID,
    NAME,
    STATUS,
    ZONE,
    GAP_MIN,
    GAP_MAX,
    BATCH,
    BATCH_PAUSE,
    HOUR_CAP,
    DAY_CAP,
    QUIET_FROM,
    QUIET_TO,
    ACCOUNT,
    ACCOUNT_NAME,
    ACCOUNT_LIMIT,
};
static const char device_columns_sql[] =
    "SELECT d.id, d.name, d.status, d.time_zone, COALESCE(c.min_gap_ms, d.min_gap_ms), "
    "COALESCE(c.max_gap_ms, d.max_gap_ms), COALESCE(c.batch_size, d.batch_size), "
    "COALESCE(c.batch_pause_ms, d.batch_pause_ms), d.hourly_cap, d.daily_cap, d.quiet_from, "
    "d.quiet_to, a.id, a.name, a.daily_recipients FROM campaigns c JOIN campaign_devices x ON "
    "x.campaign_id = c.id JOIN devices d ON d.id = x.device_id AND d.user_id = c.user_id AND "
    "d.status <> 'removed' LEFT JOIN accounts a ON a.user_id = d.user_id AND a.name = d.account "
    "AND a.daily_recipients > 0 WHERE c.id = ";

static size_t
find_account(struct plan *p, const struct rows *r)
{
    uint64_t id = rows_uint(r, ACCOUNT);
    for (size_t i = 0; i < p->n_accounts; i++) {
        if (p->accounts[i].id == id) {
            return i;
        }
    }
    if (!id) {
        return PLAN_NO_ACCOUNT;
    }
    p->accounts[p->n_accounts] = (struct plan_account){
        .id = id, .name = xstrdup(rows_str(r, ACCOUNT_NAME)), .limit = rows_int(r, ACCOUNT_LIMIT)};
    return p->n_accounts++;
}

static bool
read_devices(struct plan *p, struct err *e)
{
    struct sql q = {0};
    struct rows r;
    sql_text(&q, device_columns_sql);
    sql_addf(&q, "%" PRIu64 " ORDER BY d.id", p->campaign);
    bool ok = store_query(p->c->store, &q, &r, e);
    sql_done(&q);
    if (!ok) {
        return false;
    }
    p->devices = xcalloc((size_t)r.count + 1, sizeof *p->devices);
    p->accounts = xcalloc((size_t)r.count + 1, sizeof *p->accounts);
    while (rows_next(&r)) {
        struct plan_device *d = &p->devices[p->n_devices++];
        d->id = rows_uint(&r, ID);
        d->name = xstrdup(rows_str(&r, NAME));
        d->status = xstrdup(rows_str(&r, STATUS));
        d->zone = xstrdup(rows_str(&r, ZONE));
        d->account = find_account(p, &r);
        d->pace = (struct eta_pace){
            .gap_min_ms = rows_int(&r, GAP_MIN),
            .gap_max_ms = rows_int(&r, GAP_MAX),
            .batch_size = rows_int(&r, BATCH),
            .batch_pause_ms = rows_int(&r, BATCH_PAUSE),
            .hourly_cap = rows_int(&r, HOUR_CAP),
            .daily_cap = rows_int(&r, DAY_CAP),
            .quiet_from_min = (int)rows_int(&r, QUIET_FROM),
            .quiet_to_min = (int)rows_int(&r, QUIET_TO),
        };
    }
    rows_done(&r);
    return p->n_devices || err_set(e, ERR_GONE, "campaign %.100s has no device any more", p->name);
}

static bool
read_used(struct plan *p, struct err *e)
{
    for (size_t i = 0; i < p->n_accounts; i++) {
        struct rows r;
        if (!store_queryf(p->c->store, &r, e,
                          "SELECT COUNT(*) FROM account_recipients WHERE account_id = %" PRIu64
                          " AND last_at > UTC_TIMESTAMP(3) - INTERVAL 24 HOUR",
                          p->accounts[i].id)) {
            return false;
        }
        p->accounts[i].used = rows_next(&r) ? rows_int(&r, 0) : 0;
        rows_done(&r);
    }
    return true;
}

/* What is due before this campaign's messages, whoever made it. */
static bool
read_waiting(struct plan *p, struct plan_device *d, struct err *e)
{
    struct rows r;
    if (!store_queryf(p->c->store, &r, e,
                      "SELECT COUNT(*) FROM broadcast_messages m WHERE m.status IN ('pending', "
                      "'queued') AND m.device_id = %" PRIu64
                      " AND m.scheduled_at <= FROM_UNIXTIME(%" PRId64 ") AND m.user_id = %" PRIu64,
                      d->id, p->start_ms / 1000, p->c->user_id)) {
        return false;
    }
    d->waiting = rows_next(&r) ? rows_int(&r, 0) : 0;
    rows_done(&r);
    return true;
}

/* --- what comes of it ----------------------------------------------------------------- */

/* Each device's end.  A zone that this host does not know counts as UTC, with a note. */
static bool
foresee(struct plan *p, struct err *e)
{
    for (size_t i = 0; i < p->n_devices; i++) {
        struct plan_device *d = &p->devices[i];
        struct err why = {0};
        struct tz *tz = NULL;
        if (!d->n.messages || strcmp(d->status, "active") != 0) {
            continue;
        }
        if (d->pace.quiet_from_min >= 0 && !tz_load(d->zone, &tz, &why)) {
            ctl_note("device %s: %s; its quiet hours are taken as UTC", d->name, why.text);
        }
        d->pace.tz = tz;
        bool ok = read_waiting(p, d, e);
        d->ends_ms = ok ? eta_plan(&d->pace, p->start_ms, d->waiting + d->n.messages) : 0;
        d->pace.tz = NULL;
        tz_free(tz);
        if (!ok) {
            return false;
        }
    }
    return true;
}

static int64_t
account_free(const struct plan_account *a)
{
    return a->limit > a->used ? a->limit - a->used : 0;
}

/* Days until the last new recipient of the account has room. */
static int64_t
account_days(const struct plan_account *a)
{
    int64_t over = a->wanted - account_free(a);
    return over > 0 ? (over + a->limit - 1) / a->limit : 0;
}

/* The latest end of a device, or 0 when one has messages and no end. */
static int64_t
plan_end(const struct plan *p)
{
    int64_t end = p->start_ms;
    for (size_t i = 0; i < p->n_devices; i++) {
        const struct plan_device *d = &p->devices[i];
        if (d->n.messages && !d->ends_ms) {
            return 0;
        }
        int64_t days = d->account == PLAN_NO_ACCOUNT ? 0 : account_days(&p->accounts[d->account]);
        int64_t least = p->start_ms + days * DAY_MS;
        end = d->ends_ms > end ? d->ends_ms : end;
        end = d->n.messages && least > end ? least : end;
    }
    return end;
}

static const struct column columns[] = {
    {"id", NULL, SHOW_ID},
    {"name", "CAMPAIGN", SHOW_TEXT},
    {"status", "STATUS", SHOW_TEXT},
    {"leads", "LEADS", SHOW_INT},
    {"opted_out", "OPTED OUT", SHOW_INT},
    {"messages", "MESSAGES", SHOW_INT},
    {"duplicates", "TO A PHONE TWICE", SHOW_INT},
    {"capped", "CAPPED", SHOW_INT},
    {"over_quota", "OVER QUOTA", SHOW_INT},
    {"starts_at", "STARTS", SHOW_TIME},
    {"ends_at", "ENDS", SHOW_TIME},
    {"takes_ms", "TAKES", SHOW_MS},
    {NULL, NULL, SHOW_TEXT},
};
static const struct column device_columns[] = {
    {"id", NULL, SHOW_ID},
    {"device", "DEVICE", SHOW_TEXT},
    {"status", "STATUS", SHOW_TEXT},
    {"leads", "LEADS", SHOW_INT},
    {"opted_out", "OPTED OUT", SHOW_INT},
    {"messages", "MESSAGES", SHOW_INT},
    {"duplicates", "TWICE", SHOW_INT},
    {"capped", "CAPPED", SHOW_INT},
    {"waiting", "AHEAD", SHOW_INT},
    {"ends_at", "ENDS", SHOW_TIME},
    {"takes_ms", "TAKES", SHOW_MS},
    {NULL, NULL, SHOW_TEXT},
};
static const struct column account_columns[] = {
    {"account", "ACCOUNT", SHOW_TEXT},
    {"limit", "A DAY", SHOW_INT},
    {"used", "USED", SHOW_INT},
    {"wanted", "NEW RECIPIENTS", SHOW_INT},
    {"shortfall", "TOO MANY", SHOW_INT},
    {"days", "DAYS", SHOW_INT},
    {NULL, NULL, SHOW_TEXT},
};
static const struct column sample_columns[] = {
    {"template", "TEMPLATE", SHOW_TEXT}, {"phone", "PHONE", SHOW_TEXT},
    {"name", "NAME", SHOW_TEXT},         {"device", "DEVICE", SHOW_TEXT},
    {"error", "ERROR", SHOW_TEXT},       {"beside", "BESIDE IT", SHOW_TEXT},
    {"text", "TEXT", SHOW_TEXT},         {NULL, NULL, SHOW_TEXT},
};

static void
put_counts(struct doc *d, const struct plan_counts *n)
{
    doc_put_int(d, "leads", n->leads);
    doc_put_int(d, "opted_out", n->opted_out);
    doc_put_int(d, "messages", n->messages);
    doc_put_int(d, "duplicates", n->duplicates);
    doc_put_int(d, "capped", n->capped);
}

static void
put_end(const struct plan *p, struct doc *d, int64_t ends_ms)
{
    output_put_ms(d, "ends_at", ends_ms);
    if (ends_ms) {
        doc_put_int(d, "takes_ms", ends_ms - p->start_ms);
    } else {
        doc_put_str(d, "takes_ms", NULL);
    }
}

static void
put_devices(const struct plan *p, struct doc *list)
{
    for (size_t i = 0; i < p->n_devices; i++) {
        const struct plan_device *x = &p->devices[i];
        struct doc *d = doc_append(list);
        doc_put_id(d, "id", x->id);
        doc_put_str(d, "device", x->name);
        doc_put_str(d, "status", x->status);
        put_counts(d, &x->n);
        doc_put_int(d, "waiting", x->waiting);
        put_end(p, d, x->ends_ms);
    }
}

/* The sum of what is too much for today. */
static int64_t
put_accounts(const struct plan *p, struct doc *list)
{
    int64_t sum = 0;
    for (size_t i = 0; i < p->n_accounts; i++) {
        const struct plan_account *a = &p->accounts[i];
        int64_t over = a->wanted - account_free(a);
        struct doc *d = doc_append(list);
        doc_put_str(d, "account", a->name);
        doc_put_int(d, "limit", a->limit);
        doc_put_int(d, "used", a->used);
        doc_put_int(d, "wanted", a->wanted);
        doc_put_int(d, "shortfall", over > 0 ? over : 0);
        doc_put_int(d, "days", account_days(a));
        sum += over > 0 ? over : 0;
    }
    return sum;
}

static bool
put_samples(struct plan *p, const struct campaign_plan_flags *f, struct doc *list, struct err *e)
{
    struct template_flags t = {
        .campaign = p->name, .samples = f->samples, .at = p->start_ms / 1000};
    struct template_texts texts = {0};
    struct composer *composer = NULL;
    size_t bad = 0;
    bool ok = f->samples == 0 || p->sum.leads == 0 ||
              (template_texts_read(p->c, &t, NULL, &texts, e) &&
               composer_new(&p->c->compose, &composer, e) &&
               template_leads_render(p->c, &t, &texts, composer, list, &bad, e));
    composer_free(composer);
    template_texts_done(&texts);
    if (ok && bad) {
        ctl_note("%zu of the samples would fail before they are sent", bad);
    }
    return ok;
}

/* --- the command ---------------------------------------------------------------------- */

static void
plan_done(struct plan *p)
{
    for (size_t i = 0; i < p->n_devices; i++) {
        free(p->devices[i].name);
        free(p->devices[i].status);
        free(p->devices[i].zone);
    }
    for (size_t i = 0; i < p->n_accounts; i++) {
        free(p->accounts[i].name);
    }
    free(p->devices);
    free(p->accounts);
    free(p->name);
    free(p->status);
    free(p->niche);
    free(p->target_status);
    seen_done(&p->phones);
    seen_done(&p->recipients);
}

static bool
describe(struct plan *p, const struct campaign_plan_flags *f, struct doc *d, struct err *e)
{
    doc_put_id(d, "id", p->campaign);
    doc_put_str(d, "name", p->name);
    doc_put_str(d, "status", p->status);
    put_counts(d, &p->sum);
    put_devices(p, doc_put_list(d, "devices"));
    doc_put_int(d, "over_quota", put_accounts(p, doc_put_list(d, "accounts")));
    output_put_ms(d, "starts_at", p->start_ms);
    put_end(p, d, plan_end(p));
    return put_samples(p, f, doc_put_list(d, "samples"), e);
}

int
campaign_plan(struct ctl *c, const struct args *a)
{
    static const struct section sections[] = {{"", NULL, columns},
                                              {"devices", "Devices:", device_columns},
                                              {"accounts", "Accounts:", account_columns},
                                              {"samples", "Samples:", sample_columns},
                                              {NULL, NULL, NULL}};
    struct err e = {0};
    struct plan p = {.c = c};
    struct doc *d = doc_object();
    bool ok = read_campaign(&p, a->operands[0], a->flags, &e) && read_devices(&p, &e) &&
              read_used(&p, &e) && plan_audience(&p, &e) && foresee(&p, &e) &&
              describe(&p, a->flags, d, &e);
    plan_done(&p);
    if (!ok) {
        doc_free(d);
        return ctl_fail(&e);
    }
    output_report(&c->out, sections, d);
    return CTL_OK;
}
