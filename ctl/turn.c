#include "ctl/turn.h"

#include "ctl/steer.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { STATUS_SIZE = 16 };

static bool
read_status(struct ctl *c, const struct turn *t, uint64_t id, char status[STATUS_SIZE],
            struct err *e)
{
    struct sql q = {0};
    struct rows r;
    sql_text(&q, "SELECT status FROM ");
    sql_text(&q, sources[t->kind].table);
    sql_addf(&q, " WHERE id = %" PRIu64, id);
    bool ok = store_query(c->store, &q, &r, e);
    sql_done(&q);
    (void)snprintf(status, STATUS_SIZE, "%s", ok && rows_next(&r) ? rows_str(&r, 0) : "gone");
    rows_done(&r);
    return ok;
}

static bool
update(struct ctl *c, const struct turn *t, uint64_t id, uint64_t *changed, struct err *e)
{
    struct sql q = {0};
    sql_text(&q, "UPDATE ");
    sql_text(&q, sources[t->kind].table);
    sql_text(&q, " SET updated_at = UTC_TIMESTAMP(3), status_reason = '', status = ");
    sql_text(&q, t->set);
    sql_addf(&q, " WHERE id = %" PRIu64 " AND status IN ", id);
    sql_text(&q, t->from);
    bool ok = store_exec(c->store, &q, changed, NULL, e);
    sql_done(&q);
    return ok;
}

int
turn_quietly(struct ctl *c, const char *text, const struct turn *t, struct doc **ret)
{
    struct err e = {0};
    struct found source;
    char status[STATUS_SIZE];
    uint64_t changed = 0;
    if (!ctl_user(c, false, &e) || !ctl_find_source(c, t->kind, text, &source, &e) ||
        !update(c, t, source.id, &changed, &e) || !read_status(c, t, source.id, status, &e)) {
        return ctl_fail(&e);
    }
    if (!changed) {
        return ctl_refuse("%s %s is %s: %s; nothing was changed", ctl_source_noun(t->kind),
                          source.name, status, t->cure);
    }
    struct doc *d = doc_object();
    doc_put_id(d, "id", source.id);
    doc_put_str(d, "name", source.name);
    doc_put_str(d, "status", status);
    if (!t->untold) {
        doc_put_str(d, "redis", steer_source(c, t->kind, source.id));
    }
    *ret = d;
    return CTL_OK;
}

int
turn_source(struct ctl *c, const char *text, const struct turn *t)
{
    struct doc *d;
    int code = turn_quietly(c, text, t, &d);
    if (code == CTL_OK) {
        char *name = xstrdup(doc_str(doc_get(d, "name")));
        output_said(&c->out, d, "%s %s %s", ctl_source_noun(t->kind), name, t->done);
        free(name);
    }
    return code;
}
