/* archive.c -- which rows may go, or come back, found by index.
 *
 * A row in broadcast_messages is also the guard against a second row of its job id.  Once it is
 * away, the unique key there would let the same message be made, and sent, again; so a row may go
 * only when nothing can make it again:
 *
 *   campaign   finished or cancelled, with finished_at: its audience is expanded once, behind a
 *              cursor, and neither status leads back to an expansion.
 *   recurring  the run's line in recurring_message_logs is finished: its unique key refuses the
 *              same occurrence for ever, and the lines stay.
 *   sequence   the contact's way has ended (sequence_contacts): its unique key refuses the same
 *              rotation, and the lines stay.  A new rotation has job ids of its own.
 *   direct     nothing but the row itself guards: an application that repeats an INSERT behind the
 *              retention would send again.  Hence a time of their own, which is never unless
 *              somebody sets it to longer than their application repeats anything.
 *
 * Sums must not shrink: whoever counts rows of something that goes on would miss those that are
 * away.  An unknown row is what opens an ended thing again (a person decides, and the campaign is
 * counted anew), so nothing of a campaign, run or contact goes while it has one that is not going
 * itself; `paceline unknown` refuses to decide on rows of something of which a part is away.
 * Source and rows are locked together, so that neither decision overtakes the other.
 *
 * The row of the highest id stays: MySQL 5.7 counts ids on from the highest it finds after a
 * restart, and an id that is in the archive must not be given away again.
 *
 * A restored row is exactly as it was; what keeps it from leaving at once is its line in
 * broadcast_messages_restored. */
#include "shared/archive.h"

#include "shared/archive_private.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const archive_statuses[ARCHIVE_STATUSES] = {"sent", "failed", "skipped", "unknown"};

/* --- the same columns ----------------------------------------------------------------- */

static void
add_column(struct buf *list, const char *name)
{
    buf_adds(list, list->len ? ",`" : "`");
    for (; *name; name++) {
        buf_add(list, name, 1);
        buf_adds(list, *name == '`' ? "`" : "");
    }
    buf_adds(list, "`");
}

/* Lists the table's columns.  A column of one side only, or of another type, is ERR_REFUSED. */
static bool
read_columns(struct store *db, const char *table, struct buf *list, struct err *e)
{
    struct rows r;
    char archive[64];
    (void)snprintf(archive, sizeof archive, "%s_archive", table);
    if (!store_queryf(db, &r, e,
                      "SELECT column_name, MAX(IF(table_name = %s, column_type, NULL)), "
                      "MAX(IF(table_name = %s, column_type, NULL)), COUNT(DISTINCT is_nullable), "
                      "MIN(IF(table_name = %s, ordinal_position, NULL)) AS place FROM "
                      "information_schema.columns WHERE table_schema = DATABASE() AND table_name "
                      "IN (%s, %s) AND column_name <> 'archived_at' GROUP BY column_name ORDER BY "
                      "place",
                      table, archive, table, table, archive)) {
        return false;
    }
    bool ok = true;
    while (ok && rows_next(&r)) {
        if (strcmp(rows_str(&r, 1), rows_str(&r, 2)) != 0 || rows_int(&r, 3) != 1) {
            ok = err_set(e, ERR_REFUSED,
                         "the column %.64s is '%.40s' in %s and '%.40s' in %s: make them equal "
                         "with ALTER TABLE; nothing is moved before",
                         rows_str(&r, 0), rows_str(&r, 1), table, rows_str(&r, 2), archive);
        } else {
            add_column(list, rows_str(&r, 0));
        }
    }
    rows_done(&r);
    return ok && (list->len ||
                  err_set(e, ERR_REFUSED, "there is no table %s: run 'paceline migrate'", table));
}

static bool
open_any(struct store *db, struct archive **ret, struct err *e)
{
    struct archive *a = xcalloc(1, sizeof *a);
    a->db = db;
    archive_rewind(a);
    if (!read_columns(db, "broadcast_messages", &a->messages, e) ||
        !read_columns(db, "message_events", &a->events, e)) {
        archive_close(a);
        return false;
    }
    *ret = a;
    return true;
}

bool
archive_open(struct store *db, const struct archive_rules *rules, struct archive **ret,
             struct err *e)
{
    if (!open_any(db, ret, e)) {
        return false;
    }
    (*ret)->rules = *rules;
    return true;
}

bool
archive_open_restore(struct store *db, const struct archive_choice *choice, struct archive **ret,
                     struct err *e)
{
    if (!open_any(db, ret, e)) {
        return false;
    }
    (*ret)->back = true;
    (*ret)->choice = *choice;
    return true;
}

void
archive_close(struct archive *a)
{
    if (a) {
        buf_done(&a->messages);
        buf_done(&a->events);
        free(a);
    }
}

static void
restart_lane(struct archive *a)
{
    a->id = 0;
    (void)snprintf(a->at, sizeof a->at, "1000-01-01 00:00:00.000");
}

void
archive_rewind(struct archive *a)
{
    a->lane = 0;
    a->device = 0;
    a->in_device = false;
    restart_lane(a);
}

/* --- which rows may go ---------------------------------------------------------------- */

/* Another row of the same thing that is unknown, up to what the thing is. */
#define UNDECIDED                                                                                  \
    "(m.status = 'unknown' OR NOT EXISTS (SELECT 1 FROM broadcast_messages u WHERE u.status = "    \
    "'unknown' AND "

#define ARCHIVE_ENDED                                                                              \
    " AND (m.campaign_id IS NULL OR (c.status IN ('finished', 'cancelled') AND c.finished_at IS "  \
    "NOT NULL AND " UNDECIDED "u.campaign_id = m.campaign_id))))"                                  \
    " AND (m.recurring_id IS NULL OR (l.status = 'finished' AND l.finished_at IS NOT NULL "        \
    "AND " UNDECIDED "u.recurring_id = m.recurring_id AND u.occurrence_at = m.occurrence_at))))"   \
    " AND (m.sequence_id IS NULL OR (k.status IN ('finished', 'left') AND k.ended_at IS NOT NULL " \
    "AND k.check_at IS NULL AND " UNDECIDED "u.sequence_id = m.sequence_id AND u.device_id = "     \
    "m.device_id AND u.recipient_phone = m.recipient_phone AND u.rotation = m.rotation))))"

static void
add_before(struct sql *q, const char *what, int64_t seconds)
{
    sql_text(q, what);
    sql_addf(q, " < UTC_TIMESTAMP(3) - INTERVAL %lld SECOND", (long long)seconds);
}

void
archive_add_ended(struct sql *q, const struct archive *a, enum archive_status s)
{
    int64_t direct = a->rules.direct_s;
    add_before(q, "(m.updated_at", a->rules.after_s[s]);
    add_before(q, " AND (x.restored_at IS NULL OR x.restored_at", a->rules.after_s[s]);
    sql_text(q, ") AND m.id < (SELECT MAX(id) FROM broadcast_messages)");
    sql_text(q, s == ARCHIVE_UNKNOWN ? " AND m.decide_at IS NULL" : "");
    sql_text(q, ARCHIVE_ENDED " AND (COALESCE(m.campaign_id, m.sequence_id, m.recurring_id) IS "
                              "NOT NULL");
    if (direct != ARCHIVE_NEVER) {
        add_before(q, " OR (m.scheduled_at", direct);
        add_before(q, " AND m.updated_at", direct);
        add_before(q, " AND COALESCE(x.restored_at, m.updated_at)", direct);
        sql_text(q, ")");
    }
    sql_text(q, "))");
}

void
archive_add_twin(struct sql *q, const struct archive *a)
{
    const char *other = a->back ? "broadcast_messages" : "broadcast_messages_archive";
    for (int i = 0; i < 2; i++) {
        sql_text(q, i ? " OR EXISTS (SELECT 1 FROM " : "(EXISTS (SELECT 1 FROM ");
        sql_text(q, other);
        sql_text(q, i ? " o WHERE o.id = m.id))" : " o WHERE o.job_id = m.job_id)");
    }
}

/* --- the walk ------------------------------------------------------------------------- */

/* The next device that may have rows of the lane's status; 0 when there is none. */
static bool
next_device(struct archive *a, uint64_t *ret, struct err *e)
{
    struct rows r;
    bool ok = a->rules.user_id
                  ? store_queryf(a->db, &r, e,
                                 "SELECT id FROM devices FORCE INDEX (PRIMARY) WHERE id > %" PRIu64
                                 " AND user_id = %" PRIu64 " ORDER BY id LIMIT 1",
                                 a->device, a->rules.user_id)
                  : store_queryf(
                        a->db, &r, e,
                        "SELECT device_id FROM broadcast_messages FORCE INDEX (messages_claim) "
                        "WHERE status = %s AND device_id > %" PRIu64 " ORDER BY device_id LIMIT 1",
                        archive_statuses[a->lane], a->device);
    if (!ok) {
        return false;
    }
    *ret = rows_next(&r) ? rows_uint(&r, 0) : 0;
    rows_done(&r);
    return true;
}

/* One lane a status, and in it device by device in the order of messages_claim. */
static bool
find_out(struct archive *a, bool *ret_found, struct err *e)
{
    while (!a->in_device && a->lane < ARCHIVE_STATUSES) {
        uint64_t device = 0;
        if (a->rules.after_s[a->lane] != ARCHIVE_NEVER && !next_device(a, &device, e)) {
            return false;
        }
        a->in_device = device != 0;
        a->device = device;
        a->lane += device == 0;
    }
    *ret_found = a->in_device;
    return true;
}

static void
add_walk_out(struct sql *q, const struct archive *a)
{
    enum archive_status s = (enum archive_status)a->lane;
    sql_text(q, "SELECT m.id, m.status, ");
    archive_add_twin(q, a);
    sql_text(q, ", ");
    archive_add_ended(q, a, s);
    sql_text(q, ", m.scheduled_at FROM broadcast_messages m FORCE INDEX "
                "(messages_claim)" ARCHIVE_JOINS);
    sql_addf(q,
             "WHERE m.status = %s AND m.device_id = %" PRIu64
             " AND m.scheduled_at >= %s AND (m.scheduled_at > %s OR m.id > %" PRIu64 ")",
             archive_statuses[s], a->device, a->at, a->at, a->id);
    add_before(q, " AND m.scheduled_at", a->rules.after_s[s]);
    if (a->rules.user_id) {
        sql_addf(q, " AND m.user_id = %" PRIu64, a->rules.user_id);
    }
    sql_addf(q, " ORDER BY m.scheduled_at, m.id LIMIT %d", ARCHIVE_BATCH);
}

/* The lanes of the way back: those of the index that finds the rows, for each by id. */
static unsigned
lanes_back(const struct archive *a)
{
    return a->choice.message_id  ? 1
           : a->choice.source_id ? ARCHIVE_STATUSES
                                 : ARCHIVE_STATUSES * SOURCE_KINDS;
}

static void
add_walk_back(struct sql *q, const struct archive *a)
{
    const struct archive_choice *c = &a->choice;
    sql_text(q, "SELECT m.id, m.status, ");
    archive_add_twin(q, a);
    sql_text(q, ", 1, '' FROM broadcast_messages_archive m ");
    if (c->message_id) {
        sql_addf(q, "WHERE m.id = %" PRIu64, c->message_id);
    } else if (c->source_id) {
        sql_text(q, "FORCE INDEX (archive_");
        sql_text(q, sources[c->source].kind);
        sql_text(q, ") WHERE m.");
        sql_text(q, sources[c->source].column);
        sql_addf(q, " = %" PRIu64 " AND m.status = %s", c->source_id, archive_statuses[a->lane]);
    } else {
        sql_addf(q,
                 "FORCE INDEX (archive_user) WHERE m.user_id = %" PRIu64
                 " AND m.status = %s AND m.kind = %s",
                 c->user_id, archive_statuses[a->lane / SOURCE_KINDS],
                 sources[a->lane % SOURCE_KINDS].kind);
    }
    sql_addf(q, " AND m.id > %" PRIu64 " AND m.user_id = %" PRIu64 " ORDER BY m.id LIMIT %d", a->id,
             c->user_id, ARCHIVE_BATCH);
}

enum archive_status
archive_status_parse(const char *word)
{
    int s = 0;
    while (s < ARCHIVE_UNKNOWN && strcmp(word, archive_statuses[s]) != 0) {
        s++;
    }
    return (enum archive_status)s;
}

/* Sorts the next rows into those that fit, those with a twin, and the rest. */
static bool
look(struct archive *a, size_t *ret_looked, uint64_t *ret_id, char *ret_at, struct err *e)
{
    struct sql q = {0};
    struct rows r;
    a->n_fit = a->n_twins = 0;
    if (a->back) {
        add_walk_back(&q, a);
    } else {
        add_walk_out(&q, a);
    }
    bool ok = store_query(a->db, &q, &r, e);
    sql_done(&q);
    if (!ok) {
        return false;
    }
    *ret_looked = (size_t)r.count;
    while (rows_next(&r)) {
        *ret_id = rows_uint(&r, 0);
        (void)snprintf(ret_at, sizeof a->at, "%s", rows_str(&r, 4));
        if (!rows_int(&r, 3)) {
            continue;
        }
        if (rows_int(&r, 2)) {
            a->twins[a->n_twins++] = *ret_id;
        } else {
            a->status[a->n_fit] = archive_status_parse(rows_str(&r, 1));
            a->fit[a->n_fit++] = *ret_id;
        }
    }
    rows_done(&r);
    return true;
}

bool
archive_step(struct archive *a, bool dry_run, struct archive_seen *ret, struct err *e)
{
    *ret = (struct archive_seen){.twins = a->twins};
    uint64_t id = a->id;
    char at[sizeof a->at];
    bool found = a->lane < lanes_back(a);
    if (!a->back && !find_out(a, &found, e)) {
        return false;
    }
    if (!found) {
        ret->done = true;
        return true;
    }
    (void)snprintf(at, sizeof at, "%s", a->at);
    if (!look(a, &ret->looked, &id, at, e) || (a->n_fit && !dry_run && !archive_move(a, e))) {
        return false;
    }
    for (size_t i = 0; i < a->n_fit; i++) {
        ret->moved[a->status[i]]++;
    }
    ret->n_twins = a->n_twins;
    a->id = id;
    (void)snprintf(a->at, sizeof a->at, "%s", at);
    if (ret->looked < ARCHIVE_BATCH) { /* the end of this device, or lane */
        restart_lane(a);
        a->in_device = false;
        a->lane += a->back;
    }
    return true;
}
