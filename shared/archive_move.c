/* archive_move.c -- one batch: lock in the order of ids, copy, delete, commit. */
#include "shared/archive_private.h"
#include "shared/fault.h"

#include <inttypes.h>
#include <string.h>

static void
add_ids(struct sql *q, const struct archive *a)
{
    sql_text(q, " IN (");
    for (size_t i = 0; i < a->n_fit; i++) {
        sql_text(q, i ? "," : "");
        sql_uint(q, a->fit[i]);
    }
    sql_text(q, ")");
}

/* Keeps of the batch what still fits, in the order of ids, locked together with what decides on it.
 */
static bool
lock_rows(struct store *db, struct archive *a, struct err *e)
{
    struct sql q = {0};
    struct rows r;
    sql_text(&q, "SELECT m.id, m.status FROM ");
    if (a->back) {
        sql_text(&q, "broadcast_messages_archive m FORCE INDEX (PRIMARY) WHERE m.id");
        add_ids(&q, a);
    } else {
        sql_text(&q, "broadcast_messages m FORCE INDEX (PRIMARY)" ARCHIVE_JOINS "WHERE m.id");
        add_ids(&q, a);
        sql_addf(&q, " AND m.status = %s AND ", archive_statuses[a->lane]);
        archive_add_ended(&q, a, (enum archive_status)a->lane);
    }
    sql_text(&q, " AND NOT ");
    archive_add_twin(&q, a);
    sql_text(&q, " ORDER BY m.id FOR UPDATE");
    bool ok = store_query(db, &q, &r, e);
    sql_done(&q);
    if (!ok) {
        return false;
    }
    for (a->n_fit = 0; rows_next(&r); a->n_fit++) {
        a->fit[a->n_fit] = rows_uint(&r, 0);
        a->status[a->n_fit] = archive_status_parse(rows_str(&r, 1));
    }
    rows_done(&r);
    return true;
}

/* INSERT INTO to (columns) SELECT columns FROM from WHERE key IN (the batch). */
static bool
copy(struct store *db, const struct archive *a, const char *table, const struct buf *columns,
     const char *key, uint64_t *ret_n, struct err *e)
{
    struct sql q = {0};
    bool once = columns == &a->events;
    sql_text(&q, "INSERT INTO ");
    sql_text(&q, table);
    sql_text(&q, a->back ? " (" : "_archive (");
    buf_add(&q.text, columns->data, columns->len);
    sql_text(&q, a->back ? ") SELECT " : ",archived_at) SELECT ");
    buf_add(&q.text, columns->data, columns->len);
    sql_text(&q, a->back ? " FROM " : ",UTC_TIMESTAMP(3) FROM ");
    sql_text(&q, table);
    sql_text(&q, a->back ? "_archive f WHERE f." : " f WHERE f.");
    sql_text(&q, key);
    add_ids(&q, a);
    /* A result that is settled twice may have left its line on both sides.  Not IGNORE, which would
     * let shortened values pass. */
    sql_text(&q, !once     ? ""
                 : a->back ? " ON DUPLICATE KEY UPDATE message_events.gen = message_events.gen"
                           : " ON DUPLICATE KEY UPDATE message_events_archive.gen = "
                             "message_events_archive.gen");
    bool ok = store_exec(db, &q, ret_n, NULL, e);
    sql_done(&q);
    return ok;
}

/* Of the history only lines that the other side has are taken away. */
static bool
delete_events(struct store *db, const struct archive *a, struct err *e)
{
    struct sql q = {0};
    sql_text(&q, a->back ? "DELETE f FROM message_events_archive f JOIN message_events o"
                         : "DELETE f FROM message_events f JOIN message_events_archive o");
    sql_text(&q, " ON o.message_id = f.message_id AND o.gen = f.gen AND o.token = f.token AND "
                 "o.event = f.event WHERE f.message_id");
    add_ids(&q, a);
    bool ok = store_exec(db, &q, NULL, NULL, e);
    sql_done(&q);
    return ok;
}

static bool
delete_messages(struct store *db, const struct archive *a, uint64_t *ret_n, struct err *e)
{
    struct sql q = {0};
    sql_text(&q, a->back ? "DELETE FROM broadcast_messages_archive WHERE id"
                         : "DELETE FROM broadcast_messages WHERE id");
    add_ids(&q, a);
    bool ok = store_exec(db, &q, ret_n, NULL, e);
    sql_done(&q);
    return ok;
}

/* Rows that come back are marked with the time, those that leave lose the mark. */
static bool
write_marks(struct store *db, const struct archive *a, struct err *e)
{
    struct sql q = {0};
    if (a->back) {
        sql_text(&q, "INSERT INTO broadcast_messages_restored (message_id, restored_at) VALUES ");
        for (size_t i = 0; i < a->n_fit; i++) {
            sql_addf(&q, i ? ", (%llu, UTC_TIMESTAMP(3))" : "(%llu, UTC_TIMESTAMP(3))",
                     (unsigned long long)a->fit[i]);
        }
        sql_text(&q, " ON DUPLICATE KEY UPDATE restored_at = UTC_TIMESTAMP(3)");
    } else {
        sql_text(&q, "DELETE FROM broadcast_messages_restored WHERE message_id");
        add_ids(&q, a);
    }
    bool ok = store_exec(db, &q, NULL, NULL, e);
    sql_done(&q);
    return ok;
}

struct move {
    struct archive *a;
    uint64_t asked[ARCHIVE_BATCH];
    size_t n_asked;
};

/* Repeatable: it begins from what was asked for. */
static bool
move_body(struct store *db, void *arg, struct err *e)
{
    struct move *m = arg;
    struct archive *a = m->a;
    uint64_t copied = 0, deleted = 0;
    memcpy(a->fit, m->asked, sizeof a->fit);
    a->n_fit = m->n_asked;
    if (!lock_rows(db, a, e)) {
        return false;
    }
    if (!a->n_fit) {
        return true;
    }
    if (!copy(db, a, "broadcast_messages", &a->messages, "id", &copied, e) ||
        !copy(db, a, "message_events", &a->events, "message_id", NULL, e) ||
        !delete_events(db, a, e) || !write_marks(db, a, e) ||
        !delete_messages(db, a, &deleted, e)) {
        return false;
    }
    FAULT("archive.copied");
    return (copied == a->n_fit && deleted == copied) ||
           err_set(e, ERR_REFUSED,
                   "of %zu messages %" PRIu64 " were copied and %" PRIu64
                   " deleted: nothing is moved",
                   a->n_fit, copied, deleted);
}

bool
archive_move(struct archive *a, struct err *e)
{
    struct move m = {.a = a, .n_asked = a->n_fit};
    memcpy(m.asked, a->fit, sizeof m.asked);
    if (!store_transact(a->db, move_body, &m, e)) {
        return false;
    }
    FAULT("archive.committed");
    return true;
}
