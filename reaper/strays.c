#include "reaper/reaper.h"
#include "shared/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DROP_ITEMS = 50 };

struct stray {
    struct queue_drop drop;
    char letter;
    bool keep;
};

static bool
compare_with_rows(struct reaper *r, struct stray *list, size_t n, struct err *e)
{
    struct sql q = {0};
    struct rows rows;
    sql_text(&q, "SELECT job_id, status, gen, id FROM broadcast_messages WHERE job_id IN (");
    for (size_t i = 0; i < n; i++) {
        sql_text(&q, i ? "," : "");
        sql_str(&q, list[i].drop.id);
        list[i].keep = reconcile_keeps(false, ROW_SENT, 0, list[i].letter, list[i].drop.gen);
    }
    sql_text(&q, ")");
    bool ok = store_query(r->db, &q, &rows, e);
    sql_done(&q);
    if (!ok) {
        return false;
    }
    while (rows_next(&rows)) {
        enum row_status status;
        for (size_t i = 0; i < n; i++) {
            if (strcmp(list[i].drop.id, rows_str(&rows, 0)) == 0 &&
                row_status_parse(rows_str(&rows, 1), &status)) {
                list[i].drop.row = rows_uint(&rows, 3);
                list[i].keep = reconcile_keeps(true, status, (uint32_t)rows_uint(&rows, 2),
                                               list[i].letter, list[i].drop.gen);
            }
        }
    }
    rows_done(&rows);
    return true;
}

static int64_t
drop(struct reaper *r, const struct stray *list, size_t n, uint64_t device, bool keep, bool doubt,
     bool all)
{
    struct queue_drop some[DROP_ITEMS];
    int64_t dropped = 0;
    size_t k = 0;
    for (size_t i = 0; i < n; i++) {
        /* A permitted job that is kept belongs to a worker that has reported it, or its lease will
         * end. */
        if (list[i].keep == keep &&
            !(keep && (list[i].letter == 'P' || strchr("DRU", list[i].letter)))) {
            some[k++] = list[i].drop;
        }
        if (k == DROP_ITEMS || (k && i + 1 == n)) {
            int64_t count = 0;
            queue_drop(r->q, queue_partition(r->q, device), doubt, all, some, k, &count, NULL,
                       NULL);
            queue_wait(r->q);
            dropped += count;
            k = 0;
        }
    }
    return dropped;
}

bool
drop_strays(struct reaper *r, uint64_t device, const struct queue_ids *ids, bool recovery,
            struct err *e)
{
    if (!ids->n) {
        return true;
    }
    struct stray *list = xcalloc(ids->n, sizeof *list);
    for (size_t i = 0; i < ids->n; i++) {
        const struct queue_id *id = &ids->ids[i];
        list[i].letter = id->state[0];
        list[i].drop.device = device;
        list[i].drop.gen = (uint32_t)strtoul(id->state + (id->state[0] ? 1 : 0), NULL, 10);
        (void)snprintf(list[i].drop.id, sizeof list[i].drop.id, "%s", id->id);
    }
    bool ok = compare_with_rows(r, list, ids->n, e);
    if (ok) {
        int64_t dropped = drop(r, list, ids->n, device, false, false, recovery);
        int64_t doubted = 0;
        if (recovery && r->parts[queue_partition(r->q, device)].doubt) {
            doubted = drop(r, list, ids->n, device, true, true, true);
        }
        metric_add(&reaper_metrics[M_DROPPED], dropped + doubted);
        if (dropped || doubted) {
            log_info("dropped", "device", LOG_I(device), "jobs", LOG_I(dropped), "in_doubt",
                     LOG_I(doubted));
        }
    }
    free(list);
    return ok;
}
