#include "ctl/steer.h"

#include "ctl/ctl.h"
#include "shared/device.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { REPEATS = 5, STATUS_SIZE = 16 };

static const char *
later(const struct err *e)
{
    ctl_note("Redis has not been told yet (%s); the producers do so within seconds", e->text);
    return "later";
}

static bool
read_pace(struct ctl *c, uint64_t device, struct device_pace *ret, struct err *e)
{
    struct rows r;
    if (!store_queryf(c->store, &r, e,
                      "SELECT " DEVICE_PACE_COLUMNS " FROM devices d WHERE d.id = %" PRIu64,
                      device)) {
        return false;
    }
    bool found = rows_next(&r);
    if (found) {
        device_pace_read(&r, 0, ret);
    }
    rows_done(&r);
    return found || err_set(e, ERR_GONE, "the device is gone");
}

/* Tells Redis what the row says now.  *ret_again: the row has changed meanwhile, so that ours may
 * have been the older word and have come last. */
static bool
tell_device(struct ctl *c, uint64_t device, bool *ret_again, struct err *e)
{
    struct device_pace pace, now = {0};
    uint64_t changed = 0;
    if (!read_pace(c, device, &pace, e)) {
        return false;
    }
    queue_steer_device(c->queue, device, &pace, ctl_asked, e);
    queue_wait(c->queue);
    if (e->kind ||
        !store_execf(c->store, &changed, e,
                     "UPDATE devices SET steered_version = %" PRIu64 " WHERE id = %" PRIu64
                     " AND config_version = %" PRIu64,
                     pace.version, device, pace.version) ||
        (!changed && !read_pace(c, device, &now, e))) {
        return false;
    }
    *ret_again = !changed && now.version != pace.version;
    return true;
}

const char *
steer_device(struct ctl *c, uint64_t device)
{
    struct err e = {0};
    bool again = true;
    bool ok = ctl_queue(c, &e);
    for (int i = 0; ok && again && i < REPEATS; i++) {
        ok = tell_device(c, device, &again, &e);
    }
    return ok ? "told" : later(&e);
}

const char *
steer_word(const char *status)
{
    return strcmp(status, "paused") == 0 || strcmp(status, "cancelled") == 0 ? status : "none";
}

static bool
read_status(struct ctl *c, enum source_kind kind, uint64_t id, char status[STATUS_SIZE],
            struct err *e)
{
    struct sql q = {0};
    struct rows r;
    sql_text(&q, "SELECT status FROM ");
    sql_text(&q, sources[kind].table);
    sql_addf(&q, " WHERE id = %" PRIu64, id);
    bool ok = store_query(c->store, &q, &r, e);
    sql_done(&q);
    bool found = ok && rows_next(&r);
    (void)snprintf(status, STATUS_SIZE, "%s", found ? rows_str(&r, 0) : "");
    rows_done(&r);
    return ok && (found || err_set(e, ERR_GONE, "the %s is gone", sources[kind].kind));
}

static bool
note_told(struct ctl *c, enum source_kind kind, uint64_t id, const char *status, uint64_t *changed,
          struct err *e)
{
    struct sql q = {0};
    sql_text(&q, "UPDATE ");
    sql_text(&q, sources[kind].table);
    sql_addf(&q, " SET steered = %s WHERE id = %" PRIu64 " AND status = %s", steer_word(status), id,
             status);
    bool ok = store_exec(c->store, &q, changed, NULL, e);
    sql_done(&q);
    return ok;
}

static bool
tell_source(struct ctl *c, enum source_kind kind, uint64_t id, bool *ret_again, struct err *e)
{
    char word[SOURCE_WORD_SIZE], status[STATUS_SIZE], now[STATUS_SIZE];
    uint64_t changed = 0;
    if (!read_status(c, kind, id, status, e)) {
        return false;
    }
    queue_steer_source(c->queue, source_word(kind, id, word), steer_word(status), ctl_asked, e);
    queue_wait(c->queue);
    if (e->kind || !note_told(c, kind, id, status, &changed, e) ||
        (!changed && !read_status(c, kind, id, now, e))) {
        return false;
    }
    *ret_again = !changed && strcmp(now, status) != 0;
    return true;
}

const char *
steer_source(struct ctl *c, enum source_kind kind, uint64_t id)
{
    struct err e = {0};
    bool again = true;
    bool ok = ctl_queue(c, &e);
    for (int i = 0; ok && again && i < REPEATS; i++) {
        ok = tell_source(c, kind, id, &again, &e);
    }
    return ok ? "told" : later(&e);
}
