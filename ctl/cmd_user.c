/* cmd_user.c -- what is set for a whole user: how much one recipient gets. */
#include "ctl/command.h"
#include "ctl/ctl.h"

#include <inttypes.h>

struct user_flags {
    int64_t daily, weekly, wait;
};

#define FLAG(name) offsetof(struct user_flags, name)

static const struct flag set_flags[] = {
    {"recipient-daily", FLAG_INT, FLAG(daily), "0..65535", NULL,
     "Messages that one recipient gets within 24 hours, whatever the campaign; 0: any number.",
     false},
    {"recipient-weekly", FLAG_INT, FLAG(weekly), "0..65535", NULL, "The same within 7 days.",
     false},
    {"recipient-wait", FLAG_MS, FLAG(wait), "0s..365d", NULL,
     "How long a message waits for room, from when it was made; then it is skipped.", false},
    {NULL, FLAG_BOOL, 0, NULL, NULL, NULL, false},
};

static const struct column columns[] = {
    {"name", "USER", SHOW_TEXT},
    {"recipient_daily", "A RECIPIENT GETS A DAY", SHOW_INT},
    {"recipient_weekly", "A WEEK", SHOW_INT},
    {"recipient_wait_ms", "AND WAITS", SHOW_MS},
    {NULL, NULL, SHOW_TEXT},
};

static bool
describe(struct ctl *c, struct doc *d, struct err *e)
{
    struct rows r;
    if (!store_queryf(c->store, &r, e,
                      "SELECT name, recipient_daily, recipient_weekly, 1000 * recipient_wait_s "
                      "FROM users WHERE id = %" PRIu64,
                      c->user_id)) {
        return false;
    }
    bool found = rows_next(&r);
    if (found) {
        output_row(&r, 0, columns, d);
    }
    rows_done(&r);
    return found || err_set(e, ERR_GONE, "there is no user '%.190s' yet", c->user);
}

static int
print(struct ctl *c)
{
    struct err e = {0};
    struct doc *d = doc_object();
    if (!describe(c, d, &e)) {
        doc_free(d);
        return ctl_fail(&e);
    }
    output_one(&c->out, columns, d);
    return CTL_OK;
}

static int
show(struct ctl *c, const struct args *a)
{
    (void)a;
    struct err e = {0};
    return ctl_user(c, false, &e) ? print(c) : ctl_fail(&e);
}

static void
put_value(struct sql *q, const char *assign, int64_t v)
{
    if (v != FLAG_UNSET) {
        sql_text(q, assign);
        sql_int(q, v);
    }
}

static int
set(struct ctl *c, const struct args *a)
{
    const struct user_flags *f = a->flags;
    struct err e = {0};
    struct sql q = {0};
    if (f->daily == FLAG_UNSET && f->weekly == FLAG_UNSET && f->wait == FLAG_UNSET) {
        ctl_note("say what to change; see: paceline user set --help");
        return CTL_COULD_NOT;
    }
    sql_text(&q, "UPDATE users SET name = name");
    put_value(&q, ", recipient_daily = ", f->daily);
    put_value(&q, ", recipient_weekly = ", f->weekly);
    put_value(&q, ", recipient_wait_s = ", f->wait == FLAG_UNSET ? FLAG_UNSET : f->wait / 1000);
    bool ok = ctl_user(c, true, &e);
    sql_addf(&q, " WHERE id = %" PRIu64, c->user_id);
    ok = ok && store_exec(c->store, &q, NULL, NULL, &e);
    sql_done(&q);
    return ok ? print(c) : ctl_fail(&e);
}

const struct command user_commands[] = {
    {"user", "show", "", 0, 0, NULL, 0, show, "What is set for the user of --user."},
    {"user", "set", "", 0, 0, set_flags, sizeof(struct user_flags), set,
     "Limits how much one recipient gets from all campaigns and recurring messages of the user."},
    {NULL, NULL, NULL, 0, 0, NULL, 0, NULL, NULL},
};
