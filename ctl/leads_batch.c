#include "ctl/leads_batch.h"

#include "ctl/ctl.h"

#include <inttypes.h>
#include <time.h>

enum { BATCH_BYTES = 1 << 20, PATIENCE_S = 30 };

/* --- the cursor ----------------------------------------------------------------------- */

#define CURSOR_COLUMNS                                                                             \
    "id, byte_offset, line_number, inserted, updated, refused, finished_at IS NOT NULL"

static bool
read_cursor(struct store *s, const struct sql *q, struct lead_cursor *ret, bool *found,
            struct err *e)
{
    struct rows r;
    if (!store_query(s, q, &r, e)) {
        return false;
    }
    *found = rows_next(&r);
    if (*found) {
        *ret = (struct lead_cursor){rows_uint(&r, 0),    rows_int(&r, 1), rows_int(&r, 2),
                                    rows_int(&r, 3),     rows_int(&r, 4), rows_int(&r, 5),
                                    rows_int(&r, 6) != 0};
    }
    rows_done(&r);
    return true;
}

bool
lead_cursor_open(struct store *s, uint64_t user, const char *fingerprint, struct lead_cursor *ret,
                 struct err *e)
{
    struct sql q = {0};
    bool found = false;
    sql_addf(&q,
             "SELECT " CURSOR_COLUMNS " FROM lead_imports WHERE user_id = %" PRIu64
             " AND fingerprint = %s",
             user, fingerprint);
    bool ok =
        store_execf(s, NULL, e,
                    "INSERT INTO lead_imports (user_id, fingerprint, updated_at) VALUES (%" PRIu64
                    ", %s, UTC_TIMESTAMP(3)) ON DUPLICATE KEY UPDATE id = id",
                    user, fingerprint) &&
        read_cursor(s, &q, ret, &found, e);
    sql_done(&q);
    return ok && (found || err_set(e, ERR_RETRY, "the row of this import is gone"));
}

bool
lead_cursor_reset(struct store *s, struct lead_cursor *c, struct err *e)
{
    *c = (struct lead_cursor){.id = c->id};
    return store_execf(
        s, NULL, e,
        "UPDATE lead_imports SET byte_offset = 0, line_number = 0, inserted = 0, updated = 0, "
        "refused = 0, finished_at = NULL, updated_at = UTC_TIMESTAMP(3) WHERE id = %" PRIu64,
        c->id);
}

bool
lead_cursor_finish(struct store *s, struct lead_cursor *c, struct err *e)
{
    c->finished = true;
    return store_execf(
        s, NULL, e,
        "UPDATE lead_imports SET finished_at = UTC_TIMESTAMP(3), updated_at = UTC_TIMESTAMP(3) "
        "WHERE id = %" PRIu64,
        c->id);
}

/* --- the batch ------------------------------------------------------------------------ */

void
lead_batch_add(struct lead_batch *b, const struct lead *lead)
{
    struct sql *q = &b->rows;
    sql_text(q, b->n++ ? ", (" : "(");
    sql_uint(q, lead->user);
    sql_text(q, ", ");
    sql_uint(q, lead->device);
    sql_text(q, ", ");
    sql_str(q, lead->phone);
    sql_text(q, ", ");
    sql_bytes(q, lead->name, lead->name_len);
    sql_text(q, ", ");
    sql_bytes(q, lead->niche, lead->niche_len);
    sql_text(q, ", ");
    sql_bytes(q, lead->target_status, lead->target_status_len);
    sql_text(q, ", ");
    sql_bytes(q, lead->trigger, lead->trigger_len);
    sql_text(q, ", ");
    if (lead->attributes) {
        sql_bytes(q, lead->attributes, lead->attributes_len);
    } else {
        sql_text(q, "NULL");
    }
    sql_text(q, ", UTC_TIMESTAMP(3), UTC_TIMESTAMP(3))");
}

bool
lead_batch_is_full(const struct lead_batch *b)
{
    return b->n >= LEAD_BATCH_ROWS || b->rows.text.len >= BATCH_BYTES;
}

void
lead_batch_done(struct lead_batch *b)
{
    sql_done(&b->rows);
}

struct commit {
    const struct lead_batch *b;
    const struct lead_cursor *from;
    struct lead_cursor to;
};

/* Adds INSERT ... up to ON DUPLICATE KEY UPDATE id = id, which changes nothing and, other than
 * IGNORE, hides no error. */
static void
insert_sql(const struct lead_batch *b, struct sql *q)
{
    sql_text(q, b->into ? b->into
                        : "INSERT INTO leads (user_id, device_id, phone, name, niche, "
                          "target_status, `trigger`, attributes, created_at, updated_at) VALUES ");
    buf_add(&q->text, b->rows.text.data, b->rows.text.len);
    sql_text(q, " ON DUPLICATE KEY UPDATE id = id");
}

/* Adds ", column = VALUES(column)" for what the file holds; a lead of another user's, on this
 * device by a mistake, stays as it is.  updated_at comes first: assignments are made from left to
 * right, and it has to see the old values. */
static void
update_sql(const struct lead_batch *b, struct sql *q)
{
    const struct {
        bool has;
        const char *same, *assign;
    } columns[] = {
#define COLUMN(has, name)                                                                          \
    {(has), " AND " name " <=> VALUES(" name ")",                                                  \
     ", " name " = IF(user_id = VALUES(user_id), VALUES(" name "), " name ")"}
        COLUMN(b->has_name, "name"),
        COLUMN(b->has_niche, "niche"),
        COLUMN(b->has_target_status, "target_status"),
        COLUMN(b->has_trigger, "`trigger`"),
        COLUMN(b->has_attributes, "attributes"),
#undef COLUMN
    };
    size_t n = sizeof columns / sizeof *columns;
    sql_text(q, ", updated_at = IF(user_id <> VALUES(user_id) OR (1");
    for (size_t i = 0; i < n; i++) {
        sql_text(q, columns[i].has ? columns[i].same : "");
    }
    sql_text(q, "), updated_at, VALUES(updated_at))");
    for (size_t i = 0; i < n; i++) {
        sql_text(q, columns[i].has ? columns[i].assign : "");
    }
}

static bool
write_leads(struct store *s, const struct lead_batch *b, uint64_t *inserted, uint64_t *updated,
            struct err *e)
{
    struct sql q = {0};
    *inserted = *updated = 0;
    if (!b->n) {
        return true;
    }
    insert_sql(b, &q);
    bool ok = store_exec(s, &q, inserted, NULL, e);
    if (ok && b->update && *inserted < b->n) {
        update_sql(
            b,
            &q); /* the rows just inserted are the same and do not count; a changed one counts 2 */
        ok = store_exec(s, &q, updated, NULL, e);
        *updated /= 2;
    }
    sql_done(&q);
    return ok;
}

static bool
commit_body(struct store *s, void *arg, struct err *e)
{
    struct commit *k = arg;
    uint64_t inserted, updated, moved = 0;
    if (!write_leads(s, k->b, &inserted, &updated, e)) {
        return false;
    }
    k->to.inserted = k->from->inserted + (int64_t)inserted;
    k->to.updated = k->from->updated + (int64_t)updated;
    if (!store_execf(s, &moved, e,
                     "UPDATE lead_imports SET byte_offset = %" PRId64 ", line_number = %" PRId64
                     ", inserted = %" PRId64 ", updated = %" PRId64 ", refused = %" PRId64
                     ", updated_at = UTC_TIMESTAMP(3) WHERE id = %" PRIu64
                     " AND byte_offset = %" PRId64,
                     k->to.offset, k->to.line, k->to.inserted, k->to.updated, k->to.refused,
                     k->to.id, k->from->offset)) {
        return false;
    }
    return moved ||
           err_set(e, ERR_GONE,
                   "somebody else is importing this file: let that end, then run this again");
}

/* After a failure of which nobody knows whether it came before the commit or behind it. */
static bool
is_committed(struct store *s, struct commit *k)
{
    struct sql q = {0};
    struct lead_cursor now = {0};
    bool found = false;
    sql_addf(&q, "SELECT " CURSOR_COLUMNS " FROM lead_imports WHERE id = %" PRIu64, k->from->id);
    bool ok = read_cursor(s, &q, &now, &found, NULL) && found && now.offset == k->to.offset;
    sql_done(&q);
    if (ok) {
        k->to = now;
    }
    return ok;
}

bool
lead_batch_commit(struct store *s, struct lead_batch *b, struct lead_cursor *c, int64_t offset,
                  int64_t line, int64_t refused, struct err *e)
{
    struct commit k = {.b = b, .from = c, .to = *c};
    k.to.offset = offset;
    k.to.line = line;
    k.to.refused += refused;
    bool ok = offset == c->offset || store_transact(s, commit_body, &k, e);
    for (int i = 0; !ok && e->kind == ERR_RETRY && i < PATIENCE_S; i++) {
        if (i == 0) {
            ctl_note("waiting for the database: %s", e->text);
        }
        (void)nanosleep(&(struct timespec){1, 0}, NULL);
        ok = is_committed(s, &k) || store_transact(s, commit_body, &k, e);
    }
    if (ok) {
        *c = k.to;
        sql_clear(&b->rows);
        b->n = 0;
    }
    return ok;
}
