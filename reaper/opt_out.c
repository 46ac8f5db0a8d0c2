#include "reaper/opt_out.h"

#include "reaper/reaper.h"

#include <inttypes.h>
#include <string.h>

bool
opt_out_phone(struct store *db, uint64_t user, const char *phone, const char *source, struct err *e)
{
    uint64_t n = 0;
    bool ok = store_execf(db, &n, e,
                          "INSERT INTO opt_outs (user_id, phone, source, created_at) VALUES "
                          "(%" PRIu64 ", %s, %s, UTC_TIMESTAMP(3)) ON DUPLICATE KEY UPDATE id = id",
                          user, phone, source);
    metric_add(&reaper_metrics[M_OPTED_OUT], (int64_t)n);
    return ok;
}

bool
opt_out_rows(struct store *db, const uint64_t *ids, size_t n, struct err *e)
{
    struct sql q = {0};
    uint64_t fresh = 0;
    if (!n) {
        return true;
    }
    sql_text(&q, "INSERT INTO opt_outs (user_id, phone, source, created_at) SELECT m.user_id, "
                 "m.recipient_phone, '" OPT_OUT_PROVIDER
                 "', UTC_TIMESTAMP(3) FROM broadcast_messages m FORCE INDEX (PRIMARY) WHERE m.id "
                 "IN (");
    sql_ids(&q, ids, n);
    sql_text(&q, ") ON DUPLICATE KEY UPDATE opt_outs.id = opt_outs.id");
    bool ok = store_exec(db, &q, &fresh, NULL, e);
    sql_done(&q);
    metric_add(&reaper_metrics[M_OPTED_OUT], (int64_t)fresh);
    return ok;
}

bool
opt_out_lift(struct store *db, uint64_t user, const char *phone, const char *source, struct err *e)
{
    const char *also = strcmp(source, OPT_OUT_PREFERENCE) == 0 ? OPT_OUT_PROVIDER : source;
    uint64_t n = 0;
    bool ok = store_execf(db, &n, e,
                          "DELETE FROM opt_outs WHERE user_id = %" PRIu64
                          " AND phone = %s AND source IN (%s, %s)",
                          user, phone, source, also);
    metric_add(&reaper_metrics[M_OPTED_IN], (int64_t)n);
    return ok;
}
