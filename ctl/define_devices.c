/* define_devices.c -- whose leads a definition is for. */
#include "ctl/define.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool
check_kept(struct ctl *c, const struct found *device, struct err *e)
{
    struct rows r;
    if (!store_queryf(c->store, &r, e,
                      "SELECT 1 FROM devices WHERE id = %" PRIu64 " AND status <> 'removed'",
                      device->id)) {
        return false;
    }
    bool there = rows_next(&r);
    rows_done(&r);
    return there || err_set(e, ERR_GONE, "device '%.100s' was removed", device->name);
}

/* One that is named twice counts once. */
static bool
add(struct ctl *c, const char *name, struct define_devices *d, struct err *e)
{
    struct found device;
    if (!ctl_find_device(c, name, &device, e) || !check_kept(c, &device, e)) {
        return false;
    }
    for (size_t i = 0; i < d->n; i++) {
        if (d->ids[i] == device.id) {
            return true;
        }
    }
    VEC_GROW(d->ids, d->n, d->cap);
    d->ids[d->n++] = device.id;
    return true;
}

static bool
from_text(struct ctl *c, const char *text, struct define_devices *d, struct err *e)
{
    for (const char *p = text; *p;) {
        size_t n = strcspn(p, ",");
        const char *from = p, *end = p + n;
        p = end + (*end == ',');
        while (from < end && isspace((unsigned char)*from)) {
            from++;
        }
        while (end > from && isspace((unsigned char)end[-1])) {
            end--;
        }
        if (from == end) {
            continue;
        }
        char *name = xstrndup(from, (size_t)(end - from));
        bool ok = add(c, name, d, e);
        free(name);
        if (!ok) {
            return err_wrap(e, "--devices");
        }
    }
    return d->n || err_set(e, ERR_INPUT, "--devices: names no device; write A,B,C or all");
}

static bool
from_doc(struct ctl *c, const struct doc *v, struct define_devices *d, struct err *e)
{
    if (doc_type(v) != DOC_LIST) {
        return err_set(e, ERR_INPUT,
                       "devices: has to be a list of names, [\"A\", \"B\"], or \"all\"");
    }
    for (size_t i = 0; i < doc_len(v); i++) {
        if (doc_type(doc_at(v, i)) != DOC_STR) {
            return err_set(e, ERR_INPUT, "devices[%zu]: has to be a device's name in quotes", i);
        }
        if (!add(c, doc_str(doc_at(v, i)), d, e)) {
            return err_wrap(e, "devices[%zu]", i);
        }
    }
    return d->n || err_set(e, ERR_INPUT, "devices: the list is empty; name some, or write \"all\"");
}

bool
define_devices(struct ctl *c, const char *text, const struct doc *v, struct define_devices *ret,
               struct err *e)
{
    struct rows r;
    *ret = (struct define_devices){.all = strcmp(text ? text : doc_str(v), "all") == 0};
    if (!ret->all) {
        return text ? from_text(c, text, ret, e) : from_doc(c, v, ret, e);
    }
    if (!store_queryf(c->store, &r, e,
                      "SELECT 1 FROM devices WHERE user_id = %" PRIu64
                      " AND status <> 'removed' LIMIT 1",
                      c->user_id)) {
        return false;
    }
    bool any = rows_next(&r);
    rows_done(&r);
    return any ||
           err_set(e, ERR_GONE, "%s: the user has no devices: add some with paceline device add",
                   text ? "--devices" : "devices");
}

void
define_devices_done(struct define_devices *d)
{
    free(d->ids);
    *d = (struct define_devices){0};
}

static void
open_insert(struct sql *q, enum source_kind kind)
{
    sql_clear(q);
    sql_text(q, "INSERT INTO ");
    sql_text(q, sources[kind].devices);
    sql_text(q, " (");
    sql_text(q, sources[kind].column);
    sql_text(q, ", device_id) VALUES ");
}

bool
define_devices_insert(struct store *s, enum source_kind kind, uint64_t id,
                      const struct define_devices *d, struct err *e)
{
    struct sql q = {0};
    bool ok = true;
    for (size_t i = 0; ok && i < d->n; i++) {
        if (i % DEFINE_INSERT == 0) {
            open_insert(&q, kind);
        }
        sql_text(&q, i % DEFINE_INSERT ? ", (" : "(");
        sql_addf(&q, "%" PRIu64 ", %" PRIu64 ")", id, d->ids[i]);
        if (i + 1 == d->n || (i + 1) % DEFINE_INSERT == 0) {
            ok = store_exec(s, &q, NULL, NULL, e);
        }
    }
    sql_done(&q);
    return ok;
}

bool
define_devices_put(struct ctl *c, enum source_kind kind, uint64_t id, bool all, struct doc *object,
                   struct err *e)
{
    struct sql q = {0};
    struct rows r;
    if (all) {
        doc_put_str(object, "devices", "all");
        return true;
    }
    struct doc *names = doc_put_list(object, "devices");
    sql_text(&q, "SELECT d.name FROM ");
    sql_text(&q, sources[kind].devices);
    sql_text(&q, " x JOIN devices d ON d.id = x.device_id WHERE x.");
    sql_text(&q, sources[kind].column);
    sql_addf(&q, " = %" PRIu64 " AND d.user_id = %" PRIu64 " ORDER BY d.id", id, c->user_id);
    bool ok = store_query(c->store, &q, &r, e);
    sql_done(&q);
    while (ok && rows_next(&r)) {
        doc_append_str(names, rows_str(&r, 0));
    }
    rows_done(&r);
    return ok;
}
