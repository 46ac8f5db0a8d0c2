#include "ctl/inlet_write.h"

#include "ctl/ctl.h"
#include "shared/fault.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <xxhash.h>

enum { INSERT_BYTES = 1 << 20 }; /* of one statement; well within max_allowed_packet */

/* Adds " IN ('phone', ...)" of the rows that are to be written and have no device yet, or of all of
 * them.  False when there is none. */
static bool
add_phones(const struct inlet_plan *p, bool without_device, struct sql *q)
{
    size_t n = 0;
    for (size_t i = 0; i < p->n; i++) {
        const struct inlet_row *row = &p->rows[i];
        if (row->fate == INLET_WRITE && (!without_device || !row->device_id)) {
            sql_text(q, n++ ? ", " : " IN (");
            sql_str(q, row->phone);
        }
    }
    sql_text(q, ")");
    return n > 0;
}

static bool
skip_opted_out(struct store *s, struct inlet_write *w, struct err *e)
{
    struct sql q = {0};
    struct rows r = {0};
    sql_addf(&q, "SELECT phone FROM opt_outs WHERE user_id = %" PRIu64 " AND phone", w->user);
    bool ok = !add_phones(w->plan, false, &q) || store_query(s, &q, &r, e);
    while (r.res && rows_next(&r)) {
        for (size_t i = 0; i < w->plan->n; i++) {
            struct inlet_row *row = &w->plan->rows[i];
            if (row->fate == INLET_WRITE && strcmp(row->phone, rows_str(&r, 0)) == 0) {
                inlet_row_refuse(row, INLET_SKIPPED, "opted out");
            }
        }
    }
    rows_done(&r);
    sql_done(&q);
    return ok;
}

/* --- which device --------------------------------------------------------------------- */

/* The user's device of this name or, if there is none, of this id; 0 when it has none such. */
static bool
find_device(struct store *s, uint64_t user, const char *text, uint64_t *ret, struct err *e)
{
    uint64_t id = 0;
    for (int by_id = 0; by_id < 2; by_id++) {
        struct sql q = {0};
        struct rows r;
        *ret = 0;
        if (by_id && !ctl_parse_id(text, &id)) {
            return true;
        }
        sql_addf(&q,
                 "SELECT id FROM devices WHERE user_id = %" PRIu64 " AND status <> 'removed' AND ",
                 user);
        if (by_id) {
            sql_addf(&q, "id = %" PRIu64, id);
        } else {
            sql_addf(&q, "name = %s", text);
        }
        bool ok = store_query(s, &q, &r, e);
        sql_done(&q);
        *ret = ok && rows_next(&r) ? rows_uint(&r, 0) : 0;
        rows_done(&r);
        if (!ok || *ret) {
            return ok;
        }
    }
    return true;
}

static bool
take_named(struct store *s, struct inlet_write *w, struct err *e)
{
    const char *last = NULL; /* most requests name one device for all */
    uint64_t id = 0;
    for (size_t i = 0; i < w->plan->n; i++) {
        struct inlet_row *row = &w->plan->rows[i];
        if (row->fate != INLET_WRITE || !row->device) {
            continue;
        }
        if ((!last || strcmp(last, row->device) != 0) &&
            !find_device(s, w->user, row->device, &id, e)) {
            return false;
        }
        last = row->device;
        row->device_id = id;
        if (!id) {
            inlet_row_refuse(row, INLET_BAD, "attribs.device: there is no device '%.60s'",
                             row->device);
        }
    }
    return true;
}

/* The device that has the phone as a lead; of several the first that got it. */
static bool
take_leads(struct store *s, struct inlet_write *w, struct err *e)
{
    struct sql q = {0};
    struct rows r = {0};
    sql_addf(&q,
             "SELECT l.phone, l.device_id FROM leads l JOIN devices d ON d.id = l.device_id "
             "AND d.user_id = l.user_id AND d.status <> 'removed' WHERE l.user_id = %" PRIu64
             " AND l.phone",
             w->user);
    bool some = add_phones(w->plan, true, &q);
    sql_text(&q, " ORDER BY l.id DESC");
    bool ok = !some || store_query(s, &q, &r, e);
    while (r.res && rows_next(&r)) {
        for (size_t i = 0; i < w->plan->n; i++) {
            struct inlet_row *row = &w->plan->rows[i];
            if (row->fate == INLET_WRITE && !row->device &&
                strcmp(row->phone, rows_str(&r, 0)) == 0) {
                row->device_id = rows_uint(&r, 1);
            }
        }
    }
    rows_done(&r);
    sql_done(&q);
    return ok;
}

/* By the highest hash of (phone, device): a phone keeps its device when others come and go. */
static void
prefer(struct inlet_row *row, uint64_t device, uint64_t *best)
{
    uint64_t rank = XXH3_64bits_withSeed(row->phone, strlen(row->phone), device);
    if (!row->device_id || rank > *best) {
        row->device_id = device;
        *best = rank;
    }
}

/* Those of --devices that are there still; the caller frees *ret. */
static bool
read_devices(struct store *s, const struct inlet_write *w, uint64_t **ret, size_t *ret_n,
             struct err *e)
{
    struct sql q = {0};
    struct rows r = {0};
    sql_addf(&q, "SELECT id FROM devices WHERE user_id = %" PRIu64 " AND status <> 'removed'",
             w->user);
    for (size_t i = 0; !w->all_devices && i < w->n_devices; i++) {
        sql_text(&q, i ? ", " : " AND id IN (");
        sql_uint(&q, w->devices[i]);
    }
    sql_text(&q, w->all_devices ? "" : ")");
    bool ok = !(w->n_devices || w->all_devices) || store_query(s, &q, &r, e);
    *ret = xcalloc(r.count + 1, sizeof **ret);
    for (*ret_n = 0; r.res && rows_next(&r); ++*ret_n) {
        (*ret)[*ret_n] = rows_uint(&r, 0);
    }
    rows_done(&r);
    sql_done(&q);
    return ok;
}

static bool
take_hashed(struct store *s, struct inlet_write *w, struct err *e)
{
    uint64_t *ids = NULL;
    size_t n = 0;
    bool ok = true;
    for (size_t i = 0; ok && i < w->plan->n; i++) {
        struct inlet_row *row = &w->plan->rows[i];
        uint64_t best = 0;
        if (row->fate != INLET_WRITE || row->device_id) {
            continue;
        }
        ok = ids || read_devices(s, w, &ids, &n, e);
        for (size_t k = 0; ok && k < n; k++) {
            prefer(row, ids[k], &best);
        }
        if (ok && !row->device_id) {
            inlet_row_refuse(row, INLET_BAD,
                             "no device: it is nobody's lead and has no attribs.device; start the "
                             "inlet with --devices");
        }
    }
    free(ids);
    return ok;
}

/* --- rows ----------------------------------------------------------------------------- */

static bool
flush(struct store *s, struct sql *q, size_t *n, struct inlet_write *w, struct err *e)
{
    uint64_t inserted = 0;
    if (!*n) {
        return true;
    }
    /* Changes nothing and, other than IGNORE, hides no error. */
    sql_text(q, " ON DUPLICATE KEY UPDATE id = id");
    bool ok = store_exec(s, q, &inserted, NULL, e);
    w->accepted += inserted;
    w->duplicates += *n - inserted;
    *n = 0;
    return ok;
}

/* Those that are in the archive are duplicates as well. */
static bool
find_archived(struct store *s, struct inlet_write *w, struct err *e)
{
    struct sql q = {0};
    struct rows r = {0};
    size_t n = 0;
    for (size_t i = 0; i < w->plan->n; i++) {
        if (w->plan->rows[i].fate == INLET_WRITE) {
            sql_text(&q, n++ ? ", "
                             : "SELECT job_id FROM broadcast_messages_archive WHERE job_id IN (");
            sql_str(&q, w->plan->rows[i].job_id);
        }
    }
    sql_text(&q, ")");
    bool ok = !n || store_query(s, &q, &r, e);
    while (r.res && rows_next(&r)) {
        for (size_t i = 0; i < w->plan->n; i++) {
            struct inlet_row *row = &w->plan->rows[i];
            if (row->fate == INLET_WRITE && strcmp(row->job_id, rows_str(&r, 0)) == 0) {
                row->archived = true;
                w->duplicates++;
            }
        }
    }
    rows_done(&r);
    sql_done(&q);
    return ok;
}

static bool
insert(struct store *s, struct inlet_write *w, struct err *e)
{
    struct sql q = {0};
    size_t n = 0;
    bool ok = true;
    for (size_t i = 0; ok && i < w->plan->n; i++) {
        const struct inlet_row *row = &w->plan->rows[i];
        if (row->fate != INLET_WRITE || row->archived) {
            continue;
        }
        if (n == 0) {
            sql_clear(&q);
            sql_text(&q, "INSERT INTO broadcast_messages (job_id, user_id, device_id, kind, "
                         "recipient_phone, recipient_name, content, status, scheduled_at, "
                         "created_at, updated_at) VALUES ");
        }
        sql_text(&q, n++ ? ", (" : "(");
        sql_addf(&q, "%s, %" PRIu64 ", %" PRIu64 ", 'direct', %s, %s, ", row->job_id, w->user,
                 row->device_id, row->phone, row->name);
        sql_bytes(&q, w->plan->content.data, w->plan->content.len);
        sql_text(&q, ", 'pending', UTC_TIMESTAMP(3), UTC_TIMESTAMP(3), UTC_TIMESTAMP(3))");
        ok = q.text.len < INSERT_BYTES || flush(s, &q, &n, w, e);
    }
    ok = ok && flush(s, &q, &n, w, e);
    sql_done(&q);
    return ok;
}

static bool
write_body(struct store *s, void *arg, struct err *e)
{
    struct inlet_write *w = arg;
    w->accepted = w->duplicates = 0;
    for (size_t i = 0; i < w->plan->n; i++) {
        struct inlet_row *row = &w->plan->rows[i];
        row->device_id = 0;
        row->archived = false;
        row->fate = row->planned ? INLET_WRITE : row->fate;
    }
    if (!skip_opted_out(s, w, e) || !take_named(s, w, e) || !take_leads(s, w, e) ||
        !take_hashed(s, w, e) || !find_archived(s, w, e) || !insert(s, w, e)) {
        return false;
    }
    FAULT("inlet.inserted");
    return true;
}

/* A connection that the server has closed meanwhile shows at its next use only, and whoever posts
 * does not repeat: one more try is made at once. */
bool
inlet_write(struct store *s, struct inlet_write *w, struct err *e)
{
    bool ok = store_transact(s, write_body, w, e) ||
              (e->kind == ERR_RETRY && store_transact(s, write_body, w, e));
    if (ok) {
        FAULT("inlet.committed");
    }
    return ok;
}
