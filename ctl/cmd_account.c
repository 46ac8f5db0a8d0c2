/* cmd_account.c -- account groups: devices that a provider limits together, how many different
 * people they may write to within 24 hours, and how many of these are used. */
#include "ctl/command.h"
#include "ctl/ctl.h"
#include "ctl/steer.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { NAME_CHARS = 64 };

struct set_flags {
    int64_t daily;
    const char *devices;
};

#define FLAG(name) offsetof(struct set_flags, name)

static const struct flag set_flags[] = {
    {"daily-recipients", FLAG_INT, FLAG(daily), "0..4000000000", NULL,
     "Different people within 24 hours; 0: any number.", false},
    {"devices", FLAG_TEXT, FLAG(devices), "A,B,C|none", NULL,
     "The devices of the account; those that are not named leave it, and those that are leave "
     "others.",
     false},
    {NULL, FLAG_BOOL, 0, NULL, NULL, NULL, false},
};

/* --- what is shown -------------------------------------------------------------------- */

static const struct column columns[] = {
    {"name", "ACCOUNT", SHOW_TEXT}, {"devices", "DEVICES", SHOW_INT},
    {"limit", "A DAY", SHOW_INT},   {"used", "USED", SHOW_INT},
    {"free", "FREE", SHOW_INT},     {"free_at", "ROOM", SHOW_TIME},
    {NULL, NULL, SHOW_TEXT},
};
static const struct column device_columns[] = {{"id", "ID", SHOW_ID},
                                               {"name", "DEVICE", SHOW_TEXT},
                                               {"status", "STATUS", SHOW_TEXT},
                                               {NULL, NULL, SHOW_TEXT}};

struct account {
    uint64_t id; /* 0: devices name it, and nobody has set its limit */
    int64_t limit, devices, used;
};

/* When one recipient more has room: the entry that makes it too many falls out then. */
static bool
put_free_at(struct ctl *c, const struct account *a, struct doc *d, struct err *e)
{
    struct rows r;
    int64_t over = a->used - a->limit;
    if (!a->limit || over < 0) {
        doc_put_str(d, "free_at", NULL);
        return true;
    }
    if (!store_queryf(c->store, &r, e,
                      "SELECT TIMESTAMPDIFF(MICROSECOND, '1970-01-01', last_at + INTERVAL 24 HOUR) "
                      "DIV 1000 FROM account_recipients WHERE account_id = %" PRIu64
                      " AND last_at > UTC_TIMESTAMP(3) - INTERVAL 24 HOUR ORDER BY last_at LIMIT "
                      "%" PRId64 ", 1",
                      a->id, over)) {
        return false;
    }
    output_put_ms(d, "free_at", rows_next(&r) ? rows_int(&r, 0) : 0);
    rows_done(&r);
    return true;
}

static bool
put_account(struct ctl *c, const char *name, struct account *a, struct doc *d, struct err *e)
{
    struct rows r;
    if (!store_queryf(c->store, &r, e,
                      "SELECT COUNT(*) FROM account_recipients WHERE account_id = %" PRIu64
                      " AND last_at > UTC_TIMESTAMP(3) - INTERVAL 24 HOUR",
                      a->id)) {
        return false;
    }
    a->used = rows_next(&r) ? rows_int(&r, 0) : 0;
    rows_done(&r);
    doc_put_str(d, "name", name);
    doc_put_int(d, "devices", a->devices);
    if (a->limit) {
        doc_put_int(d, "limit", a->limit);
        doc_put_int(d, "used", a->used);
        doc_put_int(d, "free", a->limit > a->used ? a->limit - a->used : 0);
    } else {
        doc_put_str(d, "limit", NULL);
        doc_put_str(d, "used", NULL);
        doc_put_str(d, "free", NULL);
    }
    return put_free_at(c, a, d, e);
}

/* Accounts with a limit, and those that devices only name; of this name, or all. */
static bool
query_accounts(struct ctl *c, const char *name, struct rows *r, struct err *e)
{
    struct sql q = {0};
    sql_addf(&q,
             "SELECT n.name, a.id, a.daily_recipients, (SELECT COUNT(*) FROM devices d WHERE "
             "d.user_id = %" PRIu64
             " AND d.account = n.name AND d.status <> 'removed') FROM (SELECT name FROM accounts "
             "WHERE user_id = %" PRIu64
             " UNION SELECT account FROM devices WHERE user_id = %" PRIu64
             " AND account <> '' AND status <> 'removed') n LEFT JOIN accounts a ON a.user_id = "
             "%" PRIu64 " AND a.name = n.name",
             c->user_id, c->user_id, c->user_id, c->user_id);
    if (name) {
        sql_addf(&q, " WHERE n.name = %s", name);
    }
    sql_text(&q, " ORDER BY n.name");
    bool ok = store_query(c->store, &q, r, e);
    sql_done(&q);
    return ok;
}

static bool
put_accounts(struct ctl *c, struct rows *r, struct doc *list, struct err *e)
{
    while (rows_next(r)) {
        struct account a = {rows_uint(r, 1), rows_int(r, 2), rows_int(r, 3), 0};
        if (!put_account(c, rows_str(r, 0), &a, doc_append(list), e)) {
            return false;
        }
    }
    return true;
}

static int
list(struct ctl *c, const struct args *a)
{
    (void)a;
    struct err e = {0};
    struct rows r = {0};
    struct doc *all = doc_list();
    bool ok =
        ctl_user(c, false, &e) && query_accounts(c, NULL, &r, &e) && put_accounts(c, &r, all, &e);
    rows_done(&r);
    if (!ok) {
        doc_free(all);
        return ctl_fail(&e);
    }
    output_list(&c->out, columns, all);
    return CTL_OK;
}

static bool
describe(struct ctl *c, const char *name, struct doc *d, struct err *e)
{
    struct rows r;
    struct account a;
    if (!query_accounts(c, name, &r, e)) {
        return false;
    }
    bool ok =
        rows_next(&r) ||
        err_set(e, ERR_GONE, "user '%.60s' has no account '%.64s'; see: paceline account list",
                c->user, name);
    if (ok) {
        a = (struct account){rows_uint(&r, 1), rows_int(&r, 2), rows_int(&r, 3), 0};
        ok = put_account(c, rows_str(&r, 0), &a, d, e);
    }
    rows_done(&r);
    if (!ok || !store_queryf(c->store, &r, e,
                             "SELECT id, name, status FROM devices WHERE user_id = %" PRIu64
                             " AND account = %s AND status <> 'removed' ORDER BY name",
                             c->user_id, name)) {
        return false;
    }
    doc_put(d, "members", output_rows(&r, device_columns));
    rows_done(&r);
    return true;
}

static int
show(struct ctl *c, const struct args *a)
{
    static const struct section sections[] = {
        {"", NULL, columns}, {"members", "Devices:", device_columns}, {NULL, NULL, NULL}};
    struct err e = {0};
    struct doc *d = doc_object();
    if (!ctl_user(c, false, &e) || !describe(c, a->operands[0], d, &e)) {
        doc_free(d);
        return ctl_fail(&e);
    }
    output_report(&c->out, sections, d);
    return CTL_OK;
}

/* --- set ------------------------------------------------------------------------------ */

struct members {
    uint64_t *ids;
    size_t n, cap;
};

static bool
read_members(struct ctl *c, const char *text, struct members *m, struct err *e)
{
    struct found device;
    if (strcmp(text, "none") == 0) {
        return true;
    }
    for (const char *p = text; *p;) {
        size_t n = strcspn(p, ",");
        char *name = xstrndup(p, n);
        bool ok = !n || ctl_find_device(c, name, &device, e);
        free(name);
        if (!ok) {
            return false;
        }
        if (n) {
            VEC_GROW(m->ids, m->n, m->cap);
            m->ids[m->n++] = device.id;
        }
        p += n + (p[n] == ',');
    }
    return m->n || err_set(e, ERR_INPUT, "--devices names no device; write A,B,C or none");
}

/* Devices that enter or leave, in *ret, and only those are changed. */
static bool
change_members(struct ctl *c, const char *name, const struct members *m, struct members *ret,
               struct err *e)
{
    struct sql q = {0}, in = {0};
    struct rows r;
    sql_text(&in, "(0");
    for (size_t i = 0; i < m->n; i++) {
        sql_addf(&in, ", %" PRIu64, m->ids[i]);
    }
    sql_text(&in, ")");
    sql_addf(&q,
             "SELECT id FROM devices WHERE user_id = %" PRIu64 " AND ((account = %s AND id NOT IN ",
             c->user_id, name);
    sql_text(&q, in.text.data);
    sql_addf(&q, ") OR (account <> %s AND id IN ", name);
    sql_text(&q, in.text.data);
    sql_text(&q, "))");
    bool ok = store_query(c->store, &q, &r, e);
    while (ok && rows_next(&r)) {
        VEC_GROW(ret->ids, ret->n, ret->cap);
        ret->ids[ret->n++] = rows_uint(&r, 0);
    }
    rows_done(&r);
    for (size_t i = 0; ok && i < ret->n; i++) {
        sql_clear(&q);
        sql_text(&q, "UPDATE devices SET account = IF(id IN ");
        sql_text(&q, in.text.data);
        sql_addf(&q,
                 ", %s, ''), config_version = config_version + 1, updated_at = UTC_TIMESTAMP(3) "
                 "WHERE id = %" PRIu64 " AND user_id = %" PRIu64,
                 name, ret->ids[i], c->user_id);
        ok = store_exec(c->store, &q, NULL, NULL, e);
    }
    sql_done(&q);
    sql_done(&in);
    return ok;
}

static bool
check_name(const char *name, struct err *e)
{
    size_t n = 0;
    bool control = false;
    for (const char *p = name; *p; p++) {
        n += ((unsigned char)*p & 0xc0) != 0x80;
        control = control || iscntrl((unsigned char)*p);
    }
    return (n && n <= NAME_CHARS && !control) ||
           err_set(e, ERR_INPUT, "an account's name has 1 to %d characters", NAME_CHARS);
}

static bool
set_account(struct ctl *c, const char *name, const struct set_flags *f, struct members *changed,
            struct err *e)
{
    struct members m = {0};
    bool ok = check_name(name, e) && ctl_user(c, true, e) &&
              (!f->devices || read_members(c, f->devices, &m, e));
    if (ok && f->daily != FLAG_UNSET) {
        ok = store_execf(c->store, NULL, e,
                         "INSERT INTO accounts (user_id, name, daily_recipients, created_at, "
                         "updated_at) VALUES (%" PRIu64 ", %s, %" PRId64
                         ", UTC_TIMESTAMP(3), UTC_TIMESTAMP(3)) ON DUPLICATE KEY UPDATE "
                         "daily_recipients = VALUES(daily_recipients), updated_at = "
                         "VALUES(updated_at)",
                         c->user_id, name, f->daily);
    }
    ok = ok && (!f->devices || change_members(c, name, &m, changed, e));
    free(m.ids);
    return ok;
}

static int
set(struct ctl *c, const struct args *a)
{
    const struct set_flags *f = a->flags;
    struct err e = {0};
    struct members changed = {0};
    if (f->daily == FLAG_UNSET && !f->devices) {
        ctl_note("say what to change: --daily-recipients, --devices");
        return CTL_COULD_NOT;
    }
    if (!set_account(c, a->operands[0], f, &changed, &e)) {
        free(changed.ids);
        return ctl_fail(&e);
    }
    const char *redis = "told";
    for (size_t i = 0; i < changed.n; i++) {
        const char *one = steer_device(c, changed.ids[i]);
        redis = strcmp(one, "told") == 0 ? redis : one;
    }
    struct doc *d = doc_object();
    doc_put_str(d, "name", a->operands[0]);
    doc_put_int(d, "devices_changed", (int64_t)changed.n);
    doc_put_str(d, "redis", redis);
    output_said(&c->out, d, "account %s is set; %zu devices joined or left it", a->operands[0],
                changed.n);
    free(changed.ids);
    return CTL_OK;
}

const struct command account_commands[] = {
    {"account", "set", "NAME", 1, 1, set_flags, sizeof(struct set_flags), set,
     "Says which devices a provider limits together, and how many people they may write to a day."},
    {"account", "list", "", 0, 0, NULL, 0, list, "All accounts: limit, used, free."},
    {"account", "show", "NAME", 1, 1, NULL, 0, show, "One account and its devices."},
    {NULL, NULL, NULL, 0, 0, NULL, 0, NULL, NULL},
};
