/* accounts.c -- the rolling 24 hours of accounts.  A recipient is reserved when a message is
 * dispatched and may get it much later; so an entry that is about to fall out is looked at: it
 * moves on to the last message that went there, and stays while one is on its way.  What fell out
 * long ago is deleted, some of it at a time. */
#include "reaper/reaper.h"

#include <inttypes.h>

enum { EVERY_MS = 5000, ACCOUNTS_A_PASS = 64, ENTRIES = 1000 };

/* The last hour before an entry falls out is looked at again and again: what is sent within it
 * counts. */
static bool
move_on(struct store *db, uint64_t account, struct err *e)
{
    struct sql q = {0};
    struct rows r;
    if (!store_queryf(
            db, &r, e,
            "SELECT r.phone, MAX(IF(m.status IN ('queued', 'processing'), UTC_TIMESTAMP(3), "
            "COALESCE(m.sent_at, m.updated_at))) AS at FROM accounts a STRAIGHT_JOIN "
            "account_recipients r ON r.account_id = a.id AND r.last_at > UTC_TIMESTAMP(3) - "
            "INTERVAL 24 HOUR AND r.last_at < UTC_TIMESTAMP(3) - INTERVAL 23 HOUR STRAIGHT_JOIN "
            "broadcast_messages m FORCE INDEX (messages_recipient) ON m.user_id = a.user_id AND "
            "m.recipient_phone = r.phone AND "
            "m.status IN ('sent', 'unknown', 'queued', 'processing') STRAIGHT_JOIN devices d ON "
            "d.id = m.device_id AND d.user_id = a.user_id AND d.account = a.name WHERE a.id = "
            "%" PRIu64 " GROUP BY r.phone, r.last_at HAVING at > r.last_at LIMIT %d",
            account, ENTRIES)) {
        return false;
    }
    sql_text(&q, "INSERT INTO account_recipients (account_id, phone, last_at) VALUES ");
    for (bool first = true; rows_next(&r); first = false) {
        sql_addf(&q, first ? "(%" PRIu64 ", %s, %s)" : ",(%" PRIu64 ", %s, %s)", account,
                 rows_str(&r, 0), rows_str(&r, 1));
    }
    sql_text(&q, " ON DUPLICATE KEY UPDATE last_at = GREATEST(last_at, VALUES(last_at))");
    bool ok = !r.count || store_exec(db, &q, NULL, NULL, e);
    rows_done(&r);
    sql_done(&q);
    return ok;
}

static bool
forget(struct store *db, uint64_t account, struct err *e)
{
    return store_execf(db, NULL, e,
                       "DELETE FROM account_recipients WHERE account_id = %" PRIu64
                       " AND last_at < UTC_TIMESTAMP(3) - INTERVAL 48 HOUR LIMIT %d",
                       account, ENTRIES);
}

bool
accounts_pass(struct reaper *r, struct err *e)
{
    struct rows rows;
    if (!program_due(&r->next_accounts, EVERY_MS)) {
        return true;
    }
    if (!store_queryf(r->db, &rows, e,
                      "SELECT id FROM accounts WHERE id > %" PRIu64 " ORDER BY id LIMIT %d",
                      r->turn_account, ACCOUNTS_A_PASS)) {
        return false;
    }
    bool ok = true;
    uint64_t last = 0;
    while (ok && rows_next(&rows)) {
        last = rows_uint(&rows, 0);
        ok = move_on(r->db, last, e) && forget(r->db, last, e);
    }
    r->turn_account = rows.count == ACCOUNTS_A_PASS ? last : 0;
    rows_done(&rows);
    return ok;
}
