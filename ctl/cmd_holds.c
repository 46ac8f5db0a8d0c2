/* cmd_holds.c -- what waits now, why and until when: devices, their new contacts, accounts and
 * endpoints, as Redis has it; recipients, and sources that a refusal has paused, as MySQL has it.
 * This host's clock tells what is over: an end that has just passed may still be shown. */
#include "ctl/command.h"
#include "ctl/ctl.h"
#include "shared/clock.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static const struct column columns[] = {
    {"scope", "HELD", SHOW_TEXT},        {"name", "NAME", SHOW_TEXT},
    {"reason", "REASON", SHOW_TEXT},     {"until", "UNTIL", SHOW_TIME},
    {"failures", "FAILURES", SHOW_INT},  {"breaker", "BREAKER", SHOW_TEXT},
    {"gap_percent", "GAPS %", SHOW_INT}, {NULL, NULL, SHOW_TEXT},
};

/* From so many failures in a row on a breaker is called open. */
enum { BREAKER_FAILURES = 3, DEVICES_A_ROUND = 500, PAST_MS = 600000 };

struct device_state {
    char paused[200], held[200], new_code[64];
    int64_t next, fails, slow, new_until;
};

struct device {
    char name[768], sender[64], ref[768];
    struct buf info;
};

static void
read_state(char *info, struct device_state *ret)
{
    const struct {
        const char *name;
        char *text;
        size_t size;
        int64_t *number;
    } fields[] = {
        {"paused", ret->paused, sizeof ret->paused, NULL},
        {"held", ret->held, sizeof ret->held, NULL},
        {"new_code", ret->new_code, sizeof ret->new_code, NULL},
        {"next", NULL, 0, &ret->next},
        {"fails", NULL, 0, &ret->fails},
        {"slow", NULL, 0, &ret->slow},
        {"new_until", NULL, 0, &ret->new_until},
    };
    *ret = (struct device_state){.next = 0};
    char *rest = NULL;
    for (char *line = info ? strtok_r(info, "\n", &rest) : NULL; line;
         line = strtok_r(NULL, "\n", &rest)) {
        char *value = strchr(line, ' ');
        if (!value) {
            continue;
        }
        *value++ = '\0';
        for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
            if (strcmp(line, fields[i].name) == 0 && fields[i].number) {
                *fields[i].number = strtoll(value, NULL, 10);
            } else if (strcmp(line, fields[i].name) == 0) {
                (void)snprintf(fields[i].text, fields[i].size, "%s", value);
            }
        }
    }
}

static struct doc *
add(struct doc *list, const char *scope, const char *name, const char *reason, int64_t until_ms)
{
    struct doc *d = doc_append(list);
    doc_put_str(d, "scope", scope);
    doc_put_str(d, "name", name);
    doc_put_str(d, "reason", reason);
    output_put_ms(d, "until", until_ms);
    doc_put_str(d, "failures", NULL);
    doc_put_str(d, "breaker", NULL);
    doc_put_str(d, "gap_percent", NULL);
    return d;
}

/* What workers say of a device's settings is no provider's code: it gets the setting beside it. */
static void
say_reason(const struct device *device, const struct device_state *s, char *out, size_t size)
{
    const char *held = *s->paused ? s->paused : s->held;
    if (strcmp(held, "no-sender") == 0) {
        (void)snprintf(out, size, "no-sender: no worker has [sender %s]", device->sender);
    } else if (strcmp(held, "bad-device") == 0) {
        (void)snprintf(out, size, "bad-device: sender %s cannot use the sender_ref '%s'",
                       device->sender, device->ref);
    } else {
        (void)snprintf(out, size, "%s", *held ? held : s->fails ? "failing" : "throttled");
    }
}

static void
add_device(struct doc *list, const struct device *device, const struct device_state *s,
           int64_t now_ms)
{
    bool rests = *s->held && s->next > now_ms;
    const char *name = device->name;
    if (rests || s->fails || s->slow > 100 || *s->paused) {
        char reason[1024];
        say_reason(device, s, reason, sizeof reason);
        struct doc *d = add(list, "device", name, reason, !*s->paused && rests ? s->next : 0);
        if (s->fails) {
            doc_put_int(d, "failures", s->fails);
            doc_put_str(d, "breaker",
                        s->fails < BREAKER_FAILURES ? "closed"
                        : rests                     ? "open"
                                                    : "half-open");
        }
        if (s->slow > 100) {
            doc_put_int(d, "gap_percent", s->slow);
        }
    }
    if (s->new_until > now_ms) {
        (void)add(list, "new contacts", name, s->new_code, s->new_until);
    }
}

static bool
put_round(struct ctl *c, struct rows *r, struct doc *list, struct err *e)
{
    struct device *d = xcalloc(DEVICES_A_ROUND, sizeof *d);
    size_t n = 0;
    while (n < DEVICES_A_ROUND && rows_next(r)) {
        (void)snprintf(d[n].name, sizeof d[n].name, "%s", rows_str(r, 1));
        (void)snprintf(d[n].sender, sizeof d[n].sender, "%s", rows_str(r, 2));
        (void)snprintf(d[n].ref, sizeof d[n].ref, "%s", rows_str(r, 3));
        queue_device_info(c->queue, rows_uint(r, 0), &d[n].info, ctl_asked, e);
        n++;
    }
    queue_wait(c->queue);
    for (size_t i = 0; i < n; i++) {
        struct device_state s;
        read_state(d[i].info.data, &s);
        add_device(list, &d[i], &s, clock_wall_ms());
        buf_done(&d[i].info);
    }
    free(d);
    return !e->kind && n == DEVICES_A_ROUND;
}

static bool
put_devices(struct ctl *c, struct doc *list, struct err *e)
{
    struct rows r;
    if (!store_queryf(
            c->store, &r, e,
            "SELECT d.id, d.name, d.sender, d.sender_ref FROM devices d WHERE d.user_id = %" PRIu64
            " AND d.status <> 'removed' ORDER BY d.name",
            c->user_id)) {
        return false;
    }
    while (put_round(c, &r, list, e)) {
    }
    rows_done(&r);
    return !e->kind;
}

static const int64_t EARLIEST_MS = 1000000000000; /* 2001 */

struct wide {
    char field[128], code[64];
    int64_t until, count;
    bool probing;
};

/* "field until count code [device]"; an account's name may have blanks, so the first word that can
 * be a time in ms ends the field. */
static bool
read_wide(const char *line, struct wide *ret)
{
    for (const char *at = strchr(line, ' '); at; at = strchr(at + 1, ' ')) {
        struct wide w = {.until = 0};
        char probe[32] = "";
        if (sscanf(at, "%" SCNd64 " %" SCNd64 " %63s %31s", &w.until, &w.count, w.code, probe) >=
                3 &&
            w.until >= EARLIEST_MS) {
            (void)snprintf(w.field, sizeof w.field, "%.*s", (int)(at - line), line);
            w.probing = *probe != '\0';
            *ret = w;
            return true;
        }
    }
    return false;
}

/* Each partition has its own copy; the one that lasts longest is shown. */
static void
note_wide(struct wide **all, size_t *n, const char *line)
{
    struct wide w;
    if (!read_wide(line, &w)) {
        return;
    }
    for (size_t i = 0; i < *n; i++) {
        if (strcmp((*all)[i].field, w.field) == 0) {
            if ((*all)[i].until < w.until) {
                (*all)[i] = w;
            }
            return;
        }
    }
    *all = xrealloc(*all, (*n + 1) * sizeof **all);
    (*all)[(*n)++] = w;
}

/* Endpoints are everybody's; of accounts the user's own. */
static void
add_wide(struct ctl *c, struct doc *list, const struct wide *w)
{
    char mine[32];
    bool account = w->field[0] == 'a';
    size_t len = (size_t)snprintf(mine, sizeof mine, "a:%" PRIu64 "/", c->user_id);
    bool past = !w->probing && w->until + PAST_MS < clock_wall_ms(); /* nothing of theirs waits */
    if (past || (account && strncmp(w->field, mine, len) != 0)) {
        return;
    }
    struct doc *d = add(list, account ? "account" : "endpoint", w->field + (account ? len : 2),
                        w->code, w->until);
    doc_put_int(d, "failures", w->count);
    doc_put_str(d, "breaker", w->until > clock_wall_ms() && !w->probing ? "open" : "half-open");
}

static bool
put_wide(struct ctl *c, struct doc *list, struct err *e)
{
    unsigned n = queue_partitions(c->queue);
    struct buf *holds = xcalloc(n, sizeof *holds);
    struct wide *all = NULL;
    size_t n_all = 0;
    for (unsigned p = 0; p < n; p++) {
        queue_holds(c->queue, p, &holds[p], ctl_asked, e);
    }
    queue_wait(c->queue);
    for (unsigned p = 0; p < n; p++) {
        char *rest = NULL;
        for (char *line = holds[p].data ? strtok_r(holds[p].data, "\n", &rest) : NULL; line;
             line = strtok_r(NULL, "\n", &rest)) {
            note_wide(&all, &n_all, line);
        }
        buf_done(&holds[p]);
    }
    for (size_t i = 0; i < n_all; i++) {
        add_wide(c, list, &all[i]);
    }
    free(all);
    free(holds);
    return !e->kind;
}

static bool
put_recipients(struct ctl *c, struct doc *list, struct err *e)
{
    struct rows r;
    if (!store_queryf(c->store, &r, e,
                      "SELECT 'recipient', phone, code, until_at, NULL, NULL, NULL FROM "
                      "recipient_rests WHERE user_id "
                      "= %" PRIu64 " AND until_at > UTC_TIMESTAMP(3) ORDER BY phone LIMIT 100",
                      c->user_id)) {
        return false;
    }
    while (rows_next(&r)) {
        output_row(&r, 0, columns, doc_append(list));
    }
    rows_done(&r);
    return true;
}

/* Those that a refusal has paused; whom a person has paused knows why. */
static bool
put_sources(struct ctl *c, struct doc *list, struct err *e)
{
    static const char *const kinds[][2] = {
        {"campaign", "campaigns"}, {"sequence", "sequences"}, {"recurring", "recurring_messages"}};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        struct sql q = {0};
        struct rows r;
        sql_addf(&q, "SELECT %s, name, status_reason, NULL, NULL, NULL, NULL FROM ", kinds[i][0]);
        sql_text(&q, kinds[i][1]);
        sql_addf(&q,
                 " WHERE user_id = %" PRIu64
                 " AND status = 'paused' AND status_reason <> '' ORDER BY id LIMIT 100",
                 c->user_id);
        bool ok = store_query(c->store, &q, &r, e);
        sql_done(&q);
        if (!ok) {
            return false;
        }
        while (rows_next(&r)) {
            output_row(&r, 0, columns, doc_append(list));
        }
        rows_done(&r);
    }
    return true;
}

static int
show(struct ctl *c, const struct args *a)
{
    (void)a;
    struct err e = {0};
    struct doc *list = doc_list();
    if (!ctl_user(c, false, &e) || !ctl_queue(c, &e) || !put_wide(c, list, &e) ||
        !put_devices(c, list, &e) || !put_sources(c, list, &e) || !put_recipients(c, list, &e)) {
        doc_free(list);
        return ctl_fail(&e);
    }
    output_list(&c->out, columns, list);
    return CTL_OK;
}

const struct command holds_commands[] = {
    {"holds", NULL, "", 0, 0, NULL, 0, show, "What waits now, why and until when, at each scope."},
    {NULL, NULL, NULL, 0, 0, NULL, 0, NULL, NULL},
};
