#include "ctl/archive_counts.h"

#include "shared/source.h"

#include <inttypes.h>
#include <string.h>

enum { STATUSES = 7 };

static const char *const statuses[STATUSES] = {"pending", "processing", "queued", "sent",
                                               "failed",  "skipped",    "unknown"};

const struct column archive_count_columns[] = {
    {"status", "STATUS", SHOW_TEXT},         {"campaign", "CAMPAIGNS", SHOW_INT},
    {"sequence", "SEQUENCES", SHOW_INT},     {"recurring", "RECURRING", SHOW_INT},
    {"direct", "DIRECT", SHOW_INT},          {"total", "TOTAL", SHOW_INT},
    {"oldest", "SCHEDULED FROM", SHOW_TIME}, {NULL, NULL, SHOW_TEXT},
};
/* Of one of the two tables, by status and kind; total counts all kinds. */
struct counts {
    int64_t rows[STATUSES][SOURCE_KINDS], total[STATUSES];
    char oldest[STATUSES][32];
};

static int
status_of(const char *word)
{
    int s = 0;
    while (s < STATUSES - 1 && strcmp(word, statuses[s]) != 0) {
        s++;
    }
    return s;
}

/* One part for each status of each source and for each status of all devices: every one is counted
 * in an index, and together they see one moment. */
static void
add_counts(struct sql *q, uint64_t user)
{
    static const char *const keys[SOURCE_TABLES] = {"messages_campaign_status", "messages_sequence",
                                                    "messages_recurring"};
    for (int s = 0; s < STATUSES; s++) {
        for (int k = 0; k <= SOURCE_TABLES; k++) {
            bool is_source = k < SOURCE_TABLES;
            sql_text(q, s + k ? " UNION ALL SELECT " : "SELECT ");
            sql_addf(q, "%d, %d, COUNT(*), ", s, k);
            sql_text(q, is_source ? "NULL FROM " : "MIN(m.scheduled_at) FROM ");
            sql_text(q, is_source ? sources[k].table : "devices");
            sql_text(q, " s JOIN broadcast_messages m FORCE INDEX (");
            sql_text(q, is_source ? keys[k] : "messages_claim");
            sql_text(q, ") ON m.");
            sql_text(q, is_source ? sources[k].column : "device_id");
            sql_addf(q, " = s.id AND m.status = %s WHERE s.user_id = %" PRIu64, statuses[s], user);
        }
    }
}

static bool
count_now(struct ctl *c, struct counts *n, struct err *e)
{
    struct sql q = {0};
    struct rows r;
    add_counts(&q, c->user_id);
    bool ok = store_query(c->store, &q, &r, e);
    sql_done(&q);
    while (ok && rows_next(&r)) {
        int64_t s = rows_int(&r, 0), k = rows_int(&r, 1);
        if (k < SOURCE_TABLES) {
            n->rows[s][k] = rows_int(&r, 2);
        } else {
            n->total[s] = rows_int(&r, 2);
            (void)snprintf(n->oldest[s], sizeof n->oldest[s], "%s", rows_str(&r, 3));
        }
    }
    for (int s = 0; ok && s < STATUSES; s++) {
        int64_t others = 0;
        for (int k = 0; k < SOURCE_TABLES; k++) {
            others += n->rows[s][k];
        }
        n->rows[s][SOURCE_DIRECT] = n->total[s] > others ? n->total[s] - others : 0;
    }
    rows_done(&r);
    return ok;
}

static bool
count_archive(struct ctl *c, struct counts *n, struct err *e)
{
    struct rows r;
    if (!store_queryf(
            c->store, &r, e,
            "SELECT t.status, t.kind, t.n, (SELECT a.scheduled_at FROM "
            "broadcast_messages_archive a WHERE a.id = t.lowest) FROM (SELECT status, "
            "kind, COUNT(*) AS n, MIN(id) AS lowest FROM broadcast_messages_archive FORCE "
            "INDEX (archive_user) WHERE user_id = %" PRIu64 " GROUP BY status, kind) AS t",
            c->user_id)) {
        return false;
    }
    while (rows_next(&r)) {
        int s = status_of(rows_str(&r, 0));
        n->rows[s][source_kind_parse(rows_str(&r, 1))] = rows_int(&r, 2);
        n->total[s] += rows_int(&r, 2);
        if (!*n->oldest[s] || strcmp(rows_str(&r, 3), n->oldest[s]) < 0) {
            (void)snprintf(n->oldest[s], sizeof n->oldest[s], "%s", rows_str(&r, 3));
        }
    }
    rows_done(&r);
    return true;
}

/* "2026-11-22 10:00:00.000" as a SHOW_TIME value. */
static void
put_time(struct doc *d, const char *sql)
{
    char iso[40];
    (void)snprintf(iso, sizeof iso, "%.10sT%sZ", sql, strlen(sql) > 11 ? sql + 11 : "");
    doc_put_str(d, "oldest", *sql ? iso : NULL);
}

static void
put_table(struct doc *d, const char *key, const struct counts *n)
{
    struct doc *list = doc_put_list(d, key);
    for (int s = 0; s < STATUSES; s++) {
        if (!n->total[s]) {
            continue;
        }
        struct doc *one = doc_append(list);
        doc_put_str(one, "status", statuses[s]);
        for (int k = 0; k < SOURCE_KINDS; k++) {
            doc_put_int(one, sources[k].kind, n->rows[s][k]);
        }
        doc_put_int(one, "total", n->total[s]);
        put_time(one, n->oldest[s]);
    }
}

bool
archive_put_counts(struct ctl *c, struct doc *object, struct err *e)
{
    struct counts now = {0}, away = {0};
    if (!count_now(c, &now, e) || !count_archive(c, &away, e)) {
        return false;
    }
    put_table(object, "messages", &now);
    put_table(object, "archive", &away);
    return true;
}
