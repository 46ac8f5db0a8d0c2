#include "shared/unknown_source.h"

#include "shared/store.h"

static void
add_ids(struct sql *q, const uint64_t *ids, size_t n)
{
    sql_text(q, " m.id IN (");
    for (size_t i = 0; i < n; i++) {
        sql_text(q, i ? ", " : "");
        sql_uint(q, ids[i]);
    }
    sql_text(q, ")");
}

/* The same rows that archive_move.c locks. */
static bool
lock_sources(struct store *s, const uint64_t *ids, size_t n, struct err *e)
{
    struct sql q = {0};
    struct rows r;
    sql_text(&q,
             "SELECT m.id FROM broadcast_messages m FORCE INDEX (PRIMARY) LEFT JOIN campaigns c "
             "ON c.id = m.campaign_id LEFT JOIN recurring_message_logs l ON l.recurring_id = "
             "m.recurring_id AND l.occurrence_at = m.occurrence_at LEFT JOIN sequence_contacts "
             "k ON k.sequence_id = m.sequence_id AND k.device_id = m.device_id AND "
             "k.recipient_phone = m.recipient_phone AND k.rotation = m.rotation WHERE");
    add_ids(&q, ids, n);
    sql_text(&q, " ORDER BY m.id FOR UPDATE");
    bool ok = store_query(s, &q, &r, e);
    sql_done(&q);
    rows_done(&r);
    return ok;
}

bool
unknown_parts_away(struct store *s, const uint64_t *ids, size_t n, uint64_t *away, size_t *ret_n,
                   struct err *e)
{
    struct sql q = {0};
    struct rows r;
    *ret_n = 0;
    if (!lock_sources(s, ids, n, e)) {
        return false;
    }
    sql_text(&q, "SELECT m.id FROM broadcast_messages m WHERE");
    add_ids(&q, ids, n);
    sql_text(&q, " AND (EXISTS (SELECT 1 FROM broadcast_messages_archive a WHERE a.campaign_id = "
                 "m.campaign_id) OR EXISTS (SELECT 1 FROM broadcast_messages_archive a WHERE "
                 "a.recurring_id = m.recurring_id AND a.occurrence_at = m.occurrence_at) OR EXISTS "
                 "(SELECT 1 FROM broadcast_messages_archive a WHERE a.recipient_phone = "
                 "m.recipient_phone AND a.sequence_id = m.sequence_id AND a.device_id = "
                 "m.device_id AND a.rotation = m.rotation))");
    bool ok = store_query(s, &q, &r, e);
    sql_done(&q);
    while (ok && rows_next(&r)) {
        away[(*ret_n)++] = rows_uint(&r, 0);
    }
    rows_done(&r);
    return ok;
}

bool
unknown_reopen(struct store *s, const uint64_t *ids, size_t n, struct err *e)
{
    /* The rows come first, whatever the server thinks of it: their ids are few. */
    static const char *const updates[] = {
        "UPDATE broadcast_messages m STRAIGHT_JOIN campaigns c ON m.campaign_id = c.id AND "
        "m.user_id = c.user_id SET c.status = "
        "IF(c.status = 'finished', 'running', c.status), c.finished_at = NULL, c.updated_at = "
        "UTC_TIMESTAMP(3) WHERE c.finished_at IS NOT NULL AND",
        "UPDATE broadcast_messages m STRAIGHT_JOIN sequence_contacts x ON m.sequence_id = "
        "x.sequence_id AND "
        "m.user_id = x.user_id AND m.device_id = x.device_id AND m.recipient_phone = "
        "x.recipient_phone AND m.rotation = "
        "x.rotation SET x.ended_at = IF(x.status = 'left', x.ended_at, NULL), x.status = "
        "IF(x.status = 'finished', 'active', x.status), x.check_at = UTC_TIMESTAMP(3) WHERE",
        "UPDATE broadcast_messages m STRAIGHT_JOIN recurring_message_logs l ON m.recurring_id = "
        "l.recurring_id AND m.user_id = l.user_id AND m.occurrence_at = l.occurrence_at SET "
        "l.status = 'running', "
        "l.finished_at = NULL WHERE l.status = 'finished' AND"};
    struct sql q = {0};
    bool ok = true;
    for (size_t i = 0; ok && i < sizeof updates / sizeof *updates; i++) {
        sql_clear(&q);
        sql_text(&q, updates[i]);
        add_ids(&q, ids, n);
        ok = store_exec(s, &q, NULL, NULL, e);
    }
    sql_done(&q);
    return ok;
}
