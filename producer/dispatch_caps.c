#include "producer/dispatch_caps.h"

#include "shared/log.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *class, *later, *never;
} words[] = {
    [CAP_FREQUENCY] = {"frequency-cap", "the recipient has had enough for now",
                       "the recipient has had enough until it would be too late"},
    [CAP_REST] = {"recipient-rests", "the provider wants the recipient left alone for now", ""},
    [CAP_ACCOUNT] = {"account-limit", "the account has written to as many people as it may", ""},
};

static int
by_row(const void *a, const void *b)
{
    const struct item_row *x = a, *y = b;
    return x->row < y->row ? -1 : x->row > y->row;
}

struct item_row *
items_by_row(const struct pass *x)
{
    struct item_row *order = xcalloc(x->n_items, sizeof *order);
    for (size_t i = 0; i < x->n_items; i++) {
        order[i] = (struct item_row){x->items[i].row, i};
    }
    qsort(order, x->n_items, sizeof *order, by_row);
    return order;
}

size_t
item_of_row(const struct pass *x, const struct item_row *order, uint64_t row)
{
    struct item_row key = {row, 0};
    const struct item_row *found = bsearch(&key, order, x->n_items, sizeof key, by_row);
    return found ? found->at : SIZE_MAX;
}

static bool
is_of(const struct cap *c, enum cap_fate fate, enum cap_why why)
{
    return c->fate == fate && c->why == why;
}

/* The rows of this fate and reason; their place in the device's order is given up. */
static bool
write_rows(struct pass *x, const struct cap *caps, enum cap_fate fate, enum cap_why why,
           struct err *e)
{
    struct sql q = {0}, ids = {0};
    uint64_t n = 0;
    sql_text(&q, "UPDATE broadcast_messages SET ");
    if (fate == CAP_NEVER) {
        sql_text(&q, "status = " SKIPPED_SQL);
    } else {
        sql_text(&q, "status = 'pending', scheduled_at = UTC_TIMESTAMP(3) + INTERVAL CASE id");
    }
    for (size_t i = 0; i < x->n_items; i++) {
        if (!is_of(&caps[i], fate, why)) {
            continue;
        }
        if (fate == CAP_LATER) {
            sql_addf(&q, " WHEN %" PRIu64 " THEN %" PRId64, x->items[i].row,
                     caps[i].wait_ms * 1000);
        }
        sql_addf(&ids, ids.text.len ? ",%" PRIu64 : "%" PRIu64, x->items[i].row);
    }
    bool any = ids.text.len > 0, ok = true;
    if (any) {
        sql_text(&q, fate == CAP_LATER ? " END MICROSECOND" : "");
        sql_addf(&q,
                 ", error_class = %s, error_message = %s, updated_at = UTC_TIMESTAMP(3) WHERE id "
                 "IN (",
                 words[why].class, fate == CAP_LATER ? words[why].later : words[why].never);
        sql_text(&q, ids.text.data);
        sql_addf(&q, ") AND status = 'processing' AND processing_worker_id = %s", x->token);
        ok = store_exec(x->p->db, &q, &n, NULL, e);
    }
    sql_done(&q);
    sql_done(&ids);
    if (n) {
        metric_add(&producer_metrics[fate == CAP_LATER ? M_CAPPED : M_REFUSED], (int64_t)n);
        x->ended += fate == CAP_NEVER ? n : 0;
        log_info("rows_capped", "why", LOG_S(words[why].class), "rows", LOG_I(n), "skipped",
                 LOG_I(fate == CAP_NEVER));
    }
    return ok;
}

/* Items that go move to the front, in their order. */
static void
keep_going(struct pass *x, const struct cap *caps)
{
    size_t kept = 0;
    for (size_t i = 0; i < x->n_items; i++) {
        if (caps[i].fate == CAP_GO) {
            x->items[kept] = x->items[i];
            x->payloads[kept] = x->payloads[i];
            x->item_stored[kept] = x->item_stored[i];
            x->items[kept].order = kept;
            kept++;
        } else {
            buf_done(&x->payloads[i]);
        }
    }
    x->n_items = kept;
}

bool
caps_apply(struct pass *x, struct err *e)
{
    if (!x->n_items) {
        return true;
    }
    struct cap *caps = xcalloc(x->n_items, sizeof *caps);
    bool ok = caps_frequency(x, caps, e) && caps_rests(x, caps, e) && caps_quota(x, caps, e) &&
              write_rows(x, caps, CAP_NEVER, CAP_FREQUENCY, e) &&
              write_rows(x, caps, CAP_LATER, CAP_FREQUENCY, e) &&
              write_rows(x, caps, CAP_LATER, CAP_REST, e) &&
              write_rows(x, caps, CAP_LATER, CAP_ACCOUNT, e);
    if (ok) {
        keep_going(x, caps);
    }
    free(caps);
    return ok;
}
