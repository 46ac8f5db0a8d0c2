#include "producer/dispatch_caps.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* What a claimed row's phone has had and is about to get, besides this row. */
struct history {
    uint64_t row;
    struct frequency_rule rule;
    int64_t expires_in_ms, age_ms;
    int64_t *ages_ms; /* the latest first */
    size_t n, cap;
    uint64_t *siblings; /* rows of the same claim */
    size_t n_siblings, cap_siblings;
    size_t claimed; /* of the ages: in another producer's hands, which may give them back */
};

enum column {
    ROW,
    OTHER,
    STATE,
    OURS,
    AGE_MS,
    DAILY,
    WEEKLY,
    WAIT_S,
    EXPIRES_MS,
    MADE_MS,
};

/* One dive into an index for each claimed row of users who have caps.  What was asked for by its
 * recipient or an application, a sequence's or a direct message, is counted and not held back. */
static void
select_histories(const struct pass *x, struct sql *q)
{
    sql_text(q, "SELECT c.id, h.id, h.status, COALESCE(h.processing_worker_id, '') = ");
    sql_str(q, x->token);
    sql_text(
        q,
        ", GREATEST(0, TIMESTAMPDIFF(MICROSECOND, COALESCE(h.sent_at, h.updated_at), "
        "UTC_TIMESTAMP(3)) DIV 1000), u.recipient_daily, u.recipient_weekly, u.recipient_wait_s, "
        "IF(c.expires_at IS NULL, 0, GREATEST(1, TIMESTAMPDIFF(MICROSECOND, UTC_TIMESTAMP(3), "
        "c.expires_at) DIV 1000)), TIMESTAMPDIFF(MICROSECOND, c.created_at, UTC_TIMESTAMP(3)) DIV "
        "1000 FROM broadcast_messages c STRAIGHT_JOIN users u ON u.id = c.user_id AND "
        "(u.recipient_daily > 0 OR u.recipient_weekly > 0) STRAIGHT_JOIN broadcast_messages h "
        "FORCE INDEX (messages_recipient) ON "
        "h.user_id = c.user_id AND h.recipient_phone = c.recipient_phone AND h.status IN ('sent', "
        "'unknown', 'queued', 'processing') AND h.id <> c.id AND (h.status IN ('queued', "
        "'processing') OR COALESCE(h.sent_at, h.updated_at) > UTC_TIMESTAMP(3) - INTERVAL 7 DAY) "
        "WHERE c.id IN (");
    sql_text(q, x->ids.text.data);
    sql_addf(q,
             ") AND c.kind IN ('campaign', 'recurring') AND c.status = 'processing' AND "
             "c.processing_worker_id = %s ORDER BY c.id",
             x->token);
}

static void
add_line(struct history *h, const struct rows *r)
{
    const char *state = rows_str(r, STATE);
    bool processing = strcmp(state, "processing") == 0;
    bool on_its_way = processing || strcmp(state, "queued") == 0;
    if (processing && rows_int(r, OURS)) {
        VEC_GROW(h->siblings, h->n_siblings, h->cap_siblings);
        h->siblings[h->n_siblings++] = rows_uint(r, OTHER);
        return;
    }
    h->claimed += processing;
    VEC_GROW(h->ages_ms, h->n, h->cap);
    h->ages_ms[h->n++] = on_its_way ? 0 : rows_int(r, AGE_MS);
}

/* The caller frees the list with histories_done(). */
static bool
read_histories(struct pass *x, struct history **ret, size_t *ret_n, struct err *e)
{
    struct sql q = {0};
    struct rows r;
    select_histories(x, &q);
    bool ok = store_query(x->p->db, &q, &r, e);
    sql_done(&q);
    *ret_n = 0;
    *ret = NULL;
    size_t cap = 0;
    while (ok && rows_next(&r)) {
        uint64_t row = rows_uint(&r, ROW);
        if (!*ret_n || (*ret)[*ret_n - 1].row != row) {
            VEC_GROW(*ret, *ret_n, cap);
            (*ret)[(*ret_n)++] = (struct history){
                .row = row,
                .rule = {rows_int(&r, DAILY), rows_int(&r, WEEKLY), rows_int(&r, WAIT_S) * 1000},
                .expires_in_ms = rows_int(&r, EXPIRES_MS),
                .age_ms = rows_int(&r, MADE_MS)};
        }
        add_line(&(*ret)[*ret_n - 1], &r);
    }
    rows_done(&r);
    return ok;
}

static void
histories_done(struct history *list, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        free(list[i].ages_ms);
        free(list[i].siblings);
    }
    free(list);
}

static int
by_age(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

static int
by_history_row(const void *a, const void *b)
{
    const struct history *x = a, *y = b;
    return x->row < y->row ? -1 : x->row > y->row;
}

/* Rows of this claim that go before this one, are on their way too. */
static void
add_siblings(const struct pass *x, const struct item_row *order, const struct cap *caps, size_t at,
             struct history *h)
{
    for (size_t i = 0; i < h->n_siblings; i++) {
        size_t other = item_of_row(x, order, h->siblings[i]);
        if (other < at && caps[other].fate == CAP_GO) {
            VEC_GROW(h->ages_ms, h->n, h->cap);
            h->ages_ms[h->n++] = 0;
        }
    }
    qsort(h->ages_ms, h->n, sizeof *h->ages_ms, by_age);
}

/* What stands in the way only as long as another producer holds it is looked at again soon: of two
 * that see each other, both give way, and one goes then. */
static struct cap
decide(const struct history *h)
{
    int64_t wait = frequency_wait_ms(&h->rule, h->ages_ms, h->n);
    if (wait && h->claimed &&
        !frequency_wait_ms(&h->rule, h->ages_ms + h->claimed, h->n - h->claimed)) {
        return (struct cap){CAP_LATER, CAP_FREQUENCY, CAPS_AGAIN_MS};
    }
    return (struct cap){frequency_fate(&h->rule, wait, h->expires_in_ms, h->age_ms), CAP_FREQUENCY,
                        wait};
}

bool
caps_frequency(struct pass *x, struct cap *caps, struct err *e)
{
    struct history *list;
    size_t n;
    if (!read_histories(x, &list, &n, e)) {
        return false;
    }
    struct item_row *order = items_by_row(x);
    for (size_t i = 0; i < x->n_items; i++) {
        struct history key = {.row = x->items[i].row};
        struct history *h = n ? bsearch(&key, list, n, sizeof key, by_history_row) : NULL;
        if (h) {
            add_siblings(x, order, caps, i, h);
            caps[i] = decide(h);
        }
    }
    free(order);
    histories_done(list, n);
    return true;
}
