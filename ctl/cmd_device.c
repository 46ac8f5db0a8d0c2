#include "ctl/command.h"
#include "ctl/ctl.h"
#include "ctl/device_fields.h"
#include "ctl/device_import.h"
#include "ctl/steer.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { DUPLICATE = 1062 };

#define DEVICE_COLUMNS                                                                             \
    "d.id, d.name, d.status, d.status_reason, d.phone, d.sender, d.sender_ref, d.account, "        \
    "d.min_gap_ms, d.max_gap_ms, d.batch_size, d.batch_pause_ms, d.hourly_cap, d.daily_cap, "      \
    "IF(d.quiet_from < 0, NULL, CONCAT(TIME_FORMAT(SEC_TO_TIME(d.quiet_from * 60), '%%H:%%i'), "   \
    "'-', "                                                                                        \
    "TIME_FORMAT(SEC_TO_TIME(d.quiet_to * 60), '%%H:%%i'))), d.time_zone, d.language, "            \
    "d.max_in_flight, "                                                                            \
    "d.when_offline, d.config_version, d.steered_version, d.checked_at, "                          \
    "IF(d.new_contacts_until > UTC_TIMESTAMP(3), d.new_contacts_until, NULL), d.created_at"

static const struct column columns[] = {
    {"id", "ID", SHOW_ID},
    {"name", "DEVICE", SHOW_TEXT},
    {"status", "STATUS", SHOW_TEXT},
    {"reason", "REASON", SHOW_TEXT},
    {"phone", "PHONE", SHOW_TEXT},
    {"sender", "SENDER", SHOW_TEXT},
    {"sender_ref", NULL, SHOW_TEXT},
    {"account", "ACCOUNT", SHOW_TEXT},
    {"gap_min_ms", "GAP FROM", SHOW_MS},
    {"gap_max_ms", "TO", SHOW_MS},
    {"batch_size", "BATCH", SHOW_INT},
    {"batch_pause_ms", "PAUSE", SHOW_MS},
    {"hourly_cap", "HOURLY CAP", SHOW_INT},
    {"daily_cap", "DAILY CAP", SHOW_INT},
    {"quiet", "QUIET", SHOW_TEXT},
    {"zone", "ZONE", SHOW_TEXT},
    {"language", NULL, SHOW_TEXT},
    {"max_in_flight", NULL, SHOW_INT},
    {"when_offline", NULL, SHOW_TEXT},
    {"config_version", NULL, SHOW_INT},
    {"steered_version", NULL, SHOW_INT},
    {"checked_at", NULL, SHOW_TIME},
    {"new_contacts_from", NULL, SHOW_TIME},
    {"created_at", NULL, SHOW_TIME},
    {NULL, NULL, SHOW_TEXT},
};

static const struct column redis_columns[] = {
    {"state", NULL, SHOW_TEXT},     {"partition", NULL, SHOW_INT}, {"jobs", NULL, SHOW_INT},
    {"in_flight", NULL, SHOW_INT},  {"paused", NULL, SHOW_TEXT},   {"held", NULL, SHOW_TEXT},
    {"next_slot", NULL, SHOW_TIME}, {"failures", NULL, SHOW_INT},  {"gap_percent", NULL, SHOW_INT},
    {"config", NULL, SHOW_TEXT},    {NULL, NULL, SHOW_TEXT},
};

/* The document of commands that change a device's state. */
static struct doc *
changed(const struct found *device, const char *status, const char *redis)
{
    struct doc *d = doc_object();
    doc_put_id(d, "id", device->id);
    doc_put_str(d, "name", device->name);
    if (status) {
        doc_put_str(d, "status", status);
    }
    if (redis) {
        doc_put_str(d, "redis", redis);
    }
    return d;
}

static int
refuse_state(struct ctl *c, const struct found *device)
{
    struct err e = {0};
    struct rows r;
    if (!store_queryf(c->store, &r, &e,
                      "SELECT status, status_reason FROM devices WHERE id = %" PRIu64,
                      device->id)) {
        return ctl_fail(&e);
    }
    bool found = rows_next(&r);
    const char *reason = found ? rows_str(&r, 1) : "";
    int code = ctl_refuse("device %s is %s%s%s%s: nothing was changed", device->name,
                          found ? rows_str(&r, 0) : "gone", *reason ? " (" : "", reason,
                          *reason ? ")" : "");
    rows_done(&r);
    return code;
}

/* --- add and set ---------------------------------------------------------------------- */

/* Removed devices keep their names, because their messages do. */
static int
refuse_name(struct ctl *c, const char *name)
{
    struct err e = {0};
    struct rows r;
    if (!store_queryf(c->store, &r, &e,
                      "SELECT d.status = 'removed' FROM devices d WHERE d.user_id = %" PRIu64
                      " AND d.name = %s",
                      c->user_id, name)) {
        return ctl_fail(&e);
    }
    bool removed = rows_next(&r) && rows_int(&r, 0);
    rows_done(&r);
    return ctl_refuse(removed ? "device '%s' was removed, and its history keeps the name; choose "
                                "another one"
                              : "there is a device '%s' already; to change it: paceline device set",
                      name);
}

static int
add(struct ctl *c, const struct args *a)
{
    struct device_fields *fields = a->flags;
    struct err e = {0};
    struct found device = {0};
    struct sql q = {0};
    const char *name = a->operands[0];
    if (!device_name_check(name, &e) || !device_fields_check(fields, &e) ||
        !ctl_user(c, true, &e)) {
        return ctl_fail(&e);
    }
    device_insert_sql(fields, c->user_id, name, &q);
    bool ok = store_exec(c->store, &q, NULL, &device.id, &e);
    sql_done(&q);
    if (!ok && store_code(c->store) == DUPLICATE) {
        return refuse_name(c, name);
    }
    if (!ok) {
        return ctl_fail(&e);
    }
    (void)snprintf(device.name, sizeof device.name, "%s", name);
    output_said(&c->out, changed(&device, "active", NULL), "device %s added with id %" PRIu64, name,
                device.id);
    return CTL_OK;
}

static int
set(struct ctl *c, const struct args *a)
{
    struct device_fields *fields = a->flags;
    struct err e = {0};
    struct found device;
    struct sql q = {0};
    uint64_t n = 0;
    if (!device_fields_check(fields, &e) || !ctl_user(c, false, &e) ||
        !ctl_find_device(c, a->operands[0], &device, &e)) {
        return ctl_fail(&e);
    }
    sql_text(
        &q,
        "UPDATE devices SET config_version = config_version + 1, updated_at = UTC_TIMESTAMP(3)");
    size_t empty = q.text.len;
    device_fields_sql(fields, &q);
    if (q.text.len == empty) {
        sql_done(&q);
        ctl_note("say what to change; see: paceline device set --help");
        return CTL_COULD_NOT;
    }
    sql_addf(&q, " WHERE id = %" PRIu64 " AND status <> 'removed'", device.id);
    bool ok = store_exec(c->store, &q, &n, NULL, &e);
    sql_done(&q);
    if (!ok) {
        return ctl_fail(&e);
    }
    if (!n) {
        return refuse_state(c, &device);
    }
    output_said(&c->out, changed(&device, NULL, steer_device(c, device.id)), "device %s changed",
                device.name);
    return CTL_OK;
}

/* --- list and show -------------------------------------------------------------------- */

static int
list(struct ctl *c, const struct args *a)
{
    (void)a;
    struct err e = {0};
    struct rows r;
    if (!ctl_user(c, false, &e) ||
        !store_queryf(c->store, &r, &e,
                      "SELECT " DEVICE_COLUMNS " FROM devices d WHERE d.user_id = %" PRIu64
                      " ORDER BY d.name",
                      c->user_id)) {
        return ctl_fail(&e);
    }
    struct doc *devices = output_rows(&r, columns);
    rows_done(&r);
    output_list(&c->out, columns, devices);
    return CTL_OK;
}

/* Fields of the device's hash in Redis that are shown: "field value" lines. */
static void
put_info(struct doc *d, char *info)
{
    doc_put_int(d, "in_flight", 0);
    doc_put_str(d, "paused", NULL);
    doc_put_str(d, "held", NULL);
    doc_put_str(d, "next_slot", NULL);
    doc_put_int(d, "failures", 0);
    doc_put_int(d, "gap_percent", 100);
    doc_put_str(d, "config", NULL);
    char *rest = NULL;
    for (char *line = info ? strtok_r(info, "\n", &rest) : NULL; line;
         line = strtok_r(NULL, "\n", &rest)) {
        char *value = strchr(line, ' ');
        if (!value) {
            continue;
        }
        *value++ = '\0';
        if (strcmp(line, "in_flight") == 0) {
            doc_put_int(d, line, strtoll(value, NULL, 10));
        } else if (strcmp(line, "fails") == 0) {
            doc_put_int(d, "failures", strtoll(value, NULL, 10));
        } else if (strcmp(line, "slow") == 0) {
            doc_put_int(d, "gap_percent", strtoll(value, NULL, 10));
        } else if (strcmp(line, "next") == 0) {
            output_put_ms(d, "next_slot", strtoll(value, NULL, 10));
        } else if (strcmp(line, "paused") == 0 || strcmp(line, "held") == 0 ||
                   strcmp(line, "config") == 0) {
            doc_put_str(d, line, value);
        }
    }
}

static void
put_redis(struct ctl *c, uint64_t device, struct doc *d)
{
    struct err e = {0};
    struct buf info = {0};
    struct queue_ids ids = {0};
    if (ctl_queue(c, &e)) {
        queue_device_info(c->queue, device, &info, ctl_asked, &e);
        queue_ids(c->queue, device, &ids, ctl_asked, &e);
        queue_wait(c->queue);
    }
    if (e.kind) {
        doc_put_str(d, "state", e.text);
    } else {
        unsigned p = queue_partition(c->queue, device);
        bool open = queue_state(c->queue, p) == PARTITION_OPEN;
        doc_put_str(d, "state",
                    !open      ? "recovering"
                    : info.len ? "known"
                               : "idle: Redis holds nothing for it");
        doc_put_int(d, "partition", p);
        doc_put_int(d, "jobs", (int64_t)ids.n);
        put_info(d, info.data);
    }
    free(ids.ids);
    buf_done(&info);
}

static int
show(struct ctl *c, const struct args *a)
{
    static const struct section sections[] = {
        {"", NULL, columns}, {"redis", "In Redis now:", redis_columns}, {NULL, NULL, NULL}};
    struct err e = {0};
    struct found device;
    struct rows r;
    if (!ctl_user(c, false, &e) || !ctl_find_device(c, a->operands[0], &device, &e) ||
        !store_queryf(c->store, &r, &e,
                      "SELECT " DEVICE_COLUMNS " FROM devices d WHERE d.id = %" PRIu64,
                      device.id)) {
        return ctl_fail(&e);
    }
    struct doc *d = doc_object();
    if (rows_next(&r)) {
        output_row(&r, 0, columns, d);
    }
    rows_done(&r);
    put_redis(c, device.id, doc_put_object(d, "redis"));
    output_report(&c->out, sections, d);
    return CTL_OK;
}

/* --- pause and resume ----------------------------------------------------------------- */

struct pause_flags {
    const char *reason;
};
static const struct flag pause_flags[] = {
    {"reason", FLAG_TEXT, offsetof(struct pause_flags, reason), NULL, NULL,
     "Who or why, for those who look later.", false},
    {NULL, FLAG_BOOL, 0, NULL, NULL, NULL, false},
};

/* One winner: the row changes only from a state in which that makes sense. */
static int
turn(struct ctl *c, const char *text, bool pause, const char *reason)
{
    struct err e = {0};
    struct found device;
    uint64_t n = 0;
    if (!ctl_user(c, false, &e) || !ctl_find_device(c, text, &device, &e) ||
        !store_execf(c->store, &n, &e,
                     "UPDATE devices SET status = %s, status_reason = LEFT(%s, 190), "
                     "config_version = config_version + 1, updated_at = UTC_TIMESTAMP(3) "
                     "WHERE id = %" PRIu64 " AND status IN (%s, 'offline')",
                     pause ? "paused" : "active", pause && reason ? reason : "", device.id,
                     pause ? "active" : "paused")) {
        return ctl_fail(&e);
    }
    if (!n) {
        return refuse_state(c, &device);
    }
    const char *status = pause ? "paused" : "active";
    output_said(&c->out, changed(&device, status, steer_device(c, device.id)), "device %s is %s",
                device.name, status);
    return CTL_OK;
}

static int
pause_device(struct ctl *c, const struct args *a)
{
    const struct pause_flags *flags = a->flags;
    return turn(c, a->operands[0], true, flags->reason);
}

static int
resume_device(struct ctl *c, const struct args *a)
{
    return turn(c, a->operands[0], false, NULL);
}

/* --- remove --------------------------------------------------------------------------- */

struct remove_flags {
    bool yes;
};
static const struct flag remove_flags[] = {
    {"yes", FLAG_BOOL, offsetof(struct remove_flags, yes), NULL, NULL,
     "Do it, although messages wait for the device.", false},
    {NULL, FLAG_BOOL, 0, NULL, NULL, NULL, false},
};

static bool
count_waiting(struct ctl *c, uint64_t device, uint64_t *ret, struct err *e)
{
    struct rows r;
    if (!store_queryf(c->store, &r, e,
                      "SELECT COUNT(*) FROM broadcast_messages WHERE device_id = %" PRIu64
                      " AND status IN ('pending', 'processing', 'queued')",
                      device)) {
        return false;
    }
    *ret = rows_next(&r) ? rows_uint(&r, 0) : 0;
    rows_done(&r);
    return true;
}

static int
remove_device(struct ctl *c, const struct args *a)
{
    const struct remove_flags *flags = a->flags;
    struct err e = {0};
    struct found device;
    uint64_t waiting, n = 0;
    if (!ctl_user(c, false, &e) || !ctl_find_device(c, a->operands[0], &device, &e) ||
        !count_waiting(c, device.id, &waiting, &e)) {
        return ctl_fail(&e);
    }
    if (waiting && !flags->yes) {
        return ctl_refuse("%" PRIu64 " messages wait for device %s and would be skipped; to do it "
                          "all the same: paceline device remove %s --yes",
                          waiting, device.name, a->operands[0]);
    }
    if (!store_execf(c->store, &n, &e,
                     "UPDATE devices SET status = 'removed', status_reason = '', config_version = "
                     "config_version + 1, updated_at = UTC_TIMESTAMP(3) WHERE id = %" PRIu64
                     " AND status <> 'removed'",
                     device.id)) {
        return ctl_fail(&e);
    }
    if (!n) {
        return refuse_state(c, &device);
    }
    struct doc *d = changed(&device, "removed", steer_device(c, device.id));
    doc_put_int(d, "waiting", (int64_t)waiting);
    output_said(&c->out, d,
                waiting ? "device %s is removed; its messages are skipped" : "device %s is removed",
                device.name);
    return CTL_OK;
}

const struct command device_commands[] = {
    {"device", "add", "NAME", 1, 1, device_flags, sizeof(struct device_fields), add,
     "Adds a sender account."},
    {"device", "list", "", 0, 0, NULL, 0, list, "All devices of the user."},
    {"device", "show", "NAME|ID", 1, 1, NULL, 0, show,
     "One device, and what Redis knows of it now."},
    {"device", "set", "NAME|ID", 1, 1, device_flags, sizeof(struct device_fields), set,
     "Changes a device; what is not named stays."},
    {"device", "pause", "NAME|ID", 1, 1, pause_flags, sizeof(struct pause_flags), pause_device,
     "Stops a device within a second; its messages wait."},
    {"device", "resume", "NAME|ID", 1, 1, NULL, 0, resume_device,
     "Lets a paused or offline device go on."},
    {"device", "remove", "NAME|ID", 1, 1, remove_flags, sizeof(struct remove_flags), remove_device,
     "Takes a device out of service for good; what waits for it is skipped, its history stays."},
    {"device", "import", "FILE.csv", 1, 1, device_import_flags, sizeof(struct device_import_flags),
     device_import,
     "Adds the devices of a CSV: a column `name`, and columns named like the flags of `device "
     "add`."},
    {NULL, NULL, NULL, 0, 0, NULL, 0, NULL, NULL},
};
