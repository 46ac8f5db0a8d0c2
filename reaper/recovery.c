/* recovery.c -- a partition that lost data is opened again: after every worker that was alive has
 * reported what it permitted and sent, and after jobs that MySQL knows as final were dropped, for
 * this very incarnation. */
#include "reaper/reaper.h"
#include "shared/clock.h"
#include "shared/device.h"
#include "shared/fault.h"
#include "shared/log.h"
#include "shared/source.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { EXPECTED_MAX = 1024, ALIVE_MS = 15000 };

struct expected {
    char names[EXPECTED_MAX][QUEUE_NAME_SIZE];
    size_t n;
};

static void
expect(struct expected *x, const char *name)
{
    for (size_t i = 0; i < x->n; i++) {
        if (strcmp(x->names[i], name) == 0) {
            return;
        }
    }
    if (x->n < EXPECTED_MAX) {
        (void)snprintf(x->names[x->n++], QUEUE_NAME_SIZE, "%s", name);
    }
}

/* Workers that were alive when the data was lost, waited_ms ago: by Redis' own list, and by the one
 * in MySQL in case Redis' was lost with the rest. */
static bool
read_expected(struct reaper *r, int64_t waited_ms, struct expected *x, struct err *e)
{
    struct rows rows;
    for (size_t i = 0; i < r->fleet.n; i++) {
        const struct queue_member *m = &r->fleet.members[i];
        if (strncmp(m->name, "worker/", 7) == 0 && m->silent_ms < ALIVE_MS + waited_ms) {
            expect(x, m->name);
        }
    }
    if (!store_queryf(
            r->db, &rows, e,
            "SELECT name FROM fleet_members WHERE seen_at > UTC_TIMESTAMP(3) - INTERVAL %" PRId64
            " MICROSECOND LIMIT %d",
            (ALIVE_MS + waited_ms) * 1000, EXPECTED_MAX)) {
        return false;
    }
    while (rows_next(&rows)) {
        expect(x, rows_str(&rows, 0));
    }
    rows_done(&rows);
    return true;
}

static bool
steer_sources_again(struct reaper *r, unsigned p, enum source_kind kind, struct err *e)
{
    const struct source_info *s = &sources[kind];
    struct sql q = {0};
    struct rows rows;
    sql_text(&q, "SELECT id, status FROM ");
    sql_text(&q, s->table);
    sql_text(&q, " WHERE status = 'paused' UNION ALL SELECT id, status FROM ");
    sql_text(&q, s->table);
    sql_text(&q, " WHERE status = 'cancelled' AND finished_at IS NULL");
    bool ok = store_query(r->db, &q, &rows, e);
    while (ok && rows_next(&rows)) {
        char word[SOURCE_WORD_SIZE];
        queue_steer_source_in(r->q, p, source_word(kind, rows_uint(&rows, 0), word),
                              rows_str(&rows, 1), NULL, NULL);
    }
    rows_done(&rows);
    /* One that is resumed just now may be told before this: the producers tell all of them once
     * more.
     */
    sql_clear(&q);
    sql_text(&q, "UPDATE ");
    sql_text(&q, s->table);
    sql_addf(&q,
             " SET steered = 'paused' WHERE status = %s AND steered = 'none' AND updated_at > "
             "UTC_TIMESTAMP(3) - INTERVAL 60 SECOND",
             s->running);
    ok = ok && store_exec(r->db, &q, NULL, NULL, e);
    sql_done(&q);
    return ok;
}

/* What the partition must know before anything is permitted in it: stopped sources and devices. */
static bool
steer_again(struct reaper *r, unsigned p, struct err *e)
{
    struct rows rows;
    for (int k = 0; k < SOURCE_TABLES; k++) {
        if (!steer_sources_again(r, p, (enum source_kind)k, e)) {
            return false;
        }
    }
    if (!store_queryf(r->db, &rows, e,
                      "SELECT d.id, " DEVICE_PACE_COLUMNS
                      " FROM devices d WHERE d.status IN ('paused', 'offline', 'removed') "
                      "AND d.id %% %u = %u",
                      r->n_parts, p)) {
        return false;
    }
    while (rows_next(&rows)) {
        struct device_pace pace;
        device_pace_read(&rows, 1, &pace);
        queue_steer_device(r->q, rows_uint(&rows, 0), &pace, NULL, NULL);
    }
    rows_done(&rows);
    queue_wait(r->q);
    return true;
}

static bool
drop_final(struct reaper *r, unsigned p, struct err *e)
{
    struct queue_devices list;
    bool ok = true;
    queue_devices(r->q, p, &list, NULL, NULL);
    queue_wait(r->q);
    for (size_t i = 0; ok && i < list.n; i++) {
        struct queue_ids ids;
        queue_ids(r->q, list.devices[i], &ids, NULL, NULL);
        queue_wait(r->q);
        ok = drop_strays(r, list.devices[i], &ids, true, e);
        free(ids.ids);
    }
    free(list.devices);
    return ok;
}

static bool
recover(struct reaper *r, unsigned p, const char *incarnation, struct err *e)
{
    struct part *part = &r->parts[p];
    if (!steer_again(r, p, e) || !drop_final(r, p, e)) {
        return false;
    }
    FAULT("recovery.dropped");
    /* Opens nothing if the partition has yet another incarnation by now: that one has not been
     * checked. */
    queue_open_partition(r->q, p, incarnation, part->doubt, NULL, NULL);
    queue_wait(r->q);
    queue_refresh(r->q, p);
    queue_wait(r->q);
    FAULT("recovery.opened");
    if (queue_state(r->q, p) == PARTITION_OPEN) {
        part->closed_since = 0;
        metric_add(&reaper_metrics[M_RECOVERIES], 1);
        metric_add(&reaper_metrics[M_DOUBTS], part->doubt);
    }
    return true;
}

/* Reads the meta of partitions that are closed, or open but not known to be swept. */
static struct queue_meta *
read_metas(struct reaper *r, bool *any)
{
    struct queue_meta *metas = NULL;
    *any = false;
    for (unsigned p = 0; p < r->n_parts; p++) {
        const char *now = queue_incarnation(r->q, p);
        if (queue_state(r->q, p) == PARTITION_OPEN && strcmp(now, r->parts[p].swept) == 0) {
            continue;
        }
        if (!metas) {
            metas = xcalloc(r->n_parts, sizeof *metas);
        }
        if (*now) {
            *any = true;
            queue_read_meta(r->q, p, &metas[p], NULL, NULL);
        }
    }
    queue_wait(r->q);
    return metas;
}

static bool
look_at(struct reaper *r, unsigned p, const struct queue_meta *m, const struct expected *x,
        size_t *opened, struct err *e)
{
    struct part *part = &r->parts[p];
    int64_t now = clock_mono_ms();
    if (!m->incarnation[0] || strcmp(m->incarnation, queue_incarnation(r->q, p)) != 0) {
        queue_refresh(r->q, p);
        return true;
    }
    if (m->state == PARTITION_OPEN) {
        part->closed_since = 0;
        part->doubt = m->doubt;
        (void)snprintf(part->seen, sizeof part->seen, "%s", m->incarnation);
        if (strcmp(m->swept, m->incarnation) == 0) {
            (void)snprintf(part->swept, sizeof part->swept, "%s", m->swept);
        }
        return true;
    }
    enum recovery what = recovery_plan(x->names, x->n, m->told, m->n_told, now - part->closed_since,
                                       r->s->recovery_grace);
    if (what == RECOVERY_WAIT) {
        return true;
    }
    part->doubt = what == RECOVERY_OPEN_IN_DOUBT;
    (*opened)++;
    return recover(r, p, m->incarnation, e);
}

bool
recovery_pass(struct reaper *r, struct err *e)
{
    bool any, ok = true;
    int64_t now = clock_mono_ms(), waited = 0;
    for (unsigned p = 0; p < r->n_parts; p++) {
        if (queue_state(r->q, p) == PARTITION_CLOSED) {
            struct part *part = &r->parts[p];
            if (!part->closed_since || strcmp(part->closed_as, queue_incarnation(r->q, p)) != 0) {
                part->closed_since = now;
                (void)snprintf(part->closed_as, sizeof part->closed_as, "%s",
                               queue_incarnation(r->q, p));
                FAULT("recovery.begun");
            }
            waited = now - part->closed_since > waited ? now - part->closed_since : waited;
        }
    }
    struct queue_meta *metas = read_metas(r, &any);
    struct expected *x = xcalloc(1, sizeof *x);
    size_t opened = 0;
    ok = !any || read_expected(r, waited, x, e);
    for (unsigned p = 0; ok && metas && p < r->n_parts && !program_stopping; p++) {
        ok = look_at(r, p, &metas[p], x, &opened, e);
    }
    if (opened) {
        log_info("recovered", "partitions", LOG_I(opened), "workers_expected", LOG_I(x->n));
    }
    free(metas);
    free(x);
    return ok;
}
