#include "producer/producer.h"
#include "shared/log.h"

#include <inttypes.h>
#include <stdio.h>

void
sources_stopped(struct sql *q, bool paused)
{
    for (int k = 0; k < SOURCE_TABLES; k++) {
        sql_addf(q, k ? " UNION ALL SELECT %d, id FROM " : "SELECT %d, id FROM ", k);
        sql_text(q, sources[k].table);
        sql_text(q, " WHERE status = 'cancelled' AND (finished_at IS NULL OR finished_at > "
                    "UTC_TIMESTAMP(3) - INTERVAL 1 DAY)");
        if (paused) {
            sql_addf(q, " UNION ALL SELECT %d, id FROM ", k);
            sql_text(q, sources[k].table);
            sql_text(q, " WHERE status = 'paused'");
        }
    }
}

bool
source_read_ids(struct store *db, const char *statement, struct source_ids *ret, struct err *e)
{
    struct sql q = {0};
    struct rows r;
    ret->n = 0;
    sql_text(&q, statement);
    bool ok = store_query(db, &q, &r, e);
    while (ok && rows_next(&r) && ret->n < SOURCES_A_TICK) {
        ret->owner[ret->n] = rows_uint(&r, 1);
        ret->id[ret->n++] = rows_uint(&r, 0);
    }
    rows_done(&r);
    sql_done(&q);
    return ok;
}

static char *
lock_name(enum source_kind kind, uint64_t id, char out[64])
{
    (void)snprintf(out, 64, "paceline-%s-%" PRIu64, sources[kind].kind, id);
    return out;
}

bool
source_try_lock(struct producer *p, enum source_kind kind, uint64_t id, bool *ret_mine,
                struct err *e)
{
    char name[64];
    return store_try_lock(p->db, lock_name(kind, id, name), 0, ret_mine, e);
}

bool
source_unlock(struct producer *p, enum source_kind kind, uint64_t id, bool ok, struct err *e)
{
    char name[64];
    struct err ignored = {0}; /* after a failure the lock may have gone with the connection */
    bool unlocked = store_unlock(p->db, lock_name(kind, id, name), ok ? e : &ignored);
    return (ok && unlocked) || err_wrap(e, "%s %" PRIu64, sources[kind].kind, id);
}

bool
source_refused(enum source_kind kind, uint64_t id, struct err *e)
{
    if (e->kind != ERR_REFUSED) {
        return false;
    }
    log_error("source_refused", sources[kind].kind, LOG_I(id), "why", LOG_S(e->text));
    *e = (struct err){0};
    return true;
}
