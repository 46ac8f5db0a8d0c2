#include "producer/dispatch_caps.h"
#include "shared/fault.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { PHONE_BYTES = 33, LEFT_MAX = 5000 };

/* A row whose device's account has a limit. */
struct wish {
    uint64_t account;
    size_t at; /* its item */
    char phone[PHONE_BYTES];
    bool known; /* the account has written to the phone within 24 hours */
};

struct reserve {
    struct pass *x;
    struct cap *caps;
    struct wish *wishes; /* by account, then in the order of their items */
    size_t n;
};

static int
by_account(const void *a, const void *b)
{
    const struct wish *x = a, *y = b;
    if (x->account != y->account) {
        return x->account < y->account ? -1 : 1;
    }
    return x->at < y->at ? -1 : x->at > y->at;
}

/* Nothing for most: then no transaction is made. */
static bool
read_wishes(struct reserve *v, struct err *e)
{
    struct pass *x = v->x;
    struct sql q = {0};
    struct rows r;
    sql_text(&q, "SELECT m.id, a.id, m.recipient_phone FROM broadcast_messages m STRAIGHT_JOIN "
                 "devices d ON d.id = m.device_id AND d.account <> '' STRAIGHT_JOIN accounts a ON "
                 "a.user_id = d.user_id AND a.name = d.account AND a.daily_recipients > 0 WHERE "
                 "m.id IN (");
    sql_text(&q, x->ids.text.data);
    sql_addf(&q, ") AND m.status = 'processing' AND m.processing_worker_id = %s", x->token);
    bool ok = store_query(x->p->db, &q, &r, e);
    sql_done(&q);
    if (!ok) {
        return false;
    }
    struct item_row *order = items_by_row(x);
    v->wishes = xcalloc((size_t)r.count, sizeof *v->wishes);
    while (rows_next(&r)) {
        size_t at = item_of_row(x, order, rows_uint(&r, 0));
        if (at != SIZE_MAX && v->caps[at].fate == CAP_GO) {
            struct wish *w = &v->wishes[v->n++];
            *w = (struct wish){.account = rows_uint(&r, 1), .at = at};
            (void)snprintf(w->phone, sizeof w->phone, "%s", rows_str(&r, 2));
        }
    }
    rows_done(&r);
    free(order);
    qsort(v->wishes, v->n, sizeof *v->wishes, by_account);
    return true;
}

/* In the order of their ids, so that two producers cannot deadlock; a batch of one account waits
 * for another's, never for the devices of other accounts but for the length of a transaction. */
static bool
lock_account(struct store *db, uint64_t account, struct quota *ret, struct err *e)
{
    struct rows r;
    *ret = (struct quota){.limit = INT64_MAX};
    if (!store_queryf(db, &r, e,
                      "SELECT daily_recipients FROM accounts WHERE id = %" PRIu64 " FOR UPDATE",
                      account)) {
        return false;
    }
    if (rows_next(&r) && rows_int(&r, 0) > 0) {
        ret->limit = rows_int(&r, 0);
    }
    rows_done(&r);
    /* A statement of its own: it sees what the one before us in the lock has committed. */
    if (!store_queryf(db, &r, e,
                      "SELECT COUNT(*) FROM account_recipients WHERE account_id = %" PRIu64
                      " AND last_at > UTC_TIMESTAMP(3) - INTERVAL 24 HOUR",
                      account)) {
        return false;
    }
    ret->used = rows_next(&r) ? rows_int(&r, 0) : 0;
    rows_done(&r);
    return true;
}

static int
by_phone(const void *a, const void *b)
{
    const struct wish *const *x = a, *const *y = b;
    return strcmp((*x)->phone, (*y)->phone);
}

static void
add_phones(struct sql *q, struct wish *const *list, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        sql_text(q, i ? "," : "");
        sql_str(q, list[i]->phone);
    }
}

/* Marks wishes whose phone is among the account's recipients. */
static bool
mark_known(struct store *db, struct wish **sorted, size_t n, struct err *e)
{
    struct sql q = {0};
    struct rows r;
    sql_addf(&q,
             "SELECT phone FROM account_recipients WHERE account_id = %" PRIu64
             " AND last_at > UTC_TIMESTAMP(3) - INTERVAL 24 HOUR AND phone IN (",
             sorted[0]->account);
    add_phones(&q, sorted, n);
    sql_text(&q, ")");
    bool ok = store_query(db, &q, &r, e);
    sql_done(&q);
    for (size_t i = 0; i < n; i++) {
        sorted[i]->known = false; /* the body may be run again */
    }
    while (ok && rows_next(&r)) {
        for (size_t i = 0; i < n; i++) {
            sorted[i]->known = sorted[i]->known || strcmp(sorted[i]->phone, rows_str(&r, 0)) == 0;
        }
    }
    rows_done(&r);
    return ok;
}

/* When the oldest entries fall out of the 24 hours. */
static bool
read_left(struct store *db, uint64_t account, int64_t wanted, struct quota *q, int64_t **ret,
          struct err *e)
{
    struct rows r;
    *ret = NULL;
    if (wanted <= 0) {
        return true;
    }
    if (!store_queryf(db, &r, e,
                      "SELECT TIMESTAMPDIFF(MICROSECOND, UTC_TIMESTAMP(3), last_at + INTERVAL 24 "
                      "HOUR) DIV 1000 FROM account_recipients WHERE account_id = %" PRIu64
                      " AND last_at > UTC_TIMESTAMP(3) - INTERVAL 24 HOUR ORDER BY last_at LIMIT "
                      "%" PRId64,
                      account, wanted < LEFT_MAX ? wanted : LEFT_MAX)) {
        return false;
    }
    *ret = xcalloc((size_t)r.count + 1, sizeof **ret);
    while (rows_next(&r)) {
        (*ret)[q->n_left++] = rows_int(&r, 0);
    }
    q->left_ms = *ret;
    rows_done(&r);
    return true;
}

/* The wish is granted when its phone is known by now, or there is room. */
static void
grant(struct reserve *v, struct wish *list, size_t n, struct quota *q)
{
    for (size_t i = 0; i < n; i++) {
        bool known = list[i].known;
        for (size_t k = 0; k < i && !known; k++) {
            known = strcmp(list[k].phone, list[i].phone) == 0 && v->caps[list[k].at].fate == CAP_GO;
        }
        int64_t wait = known ? 0 : quota_take(q);
        v->caps[list[i].at] = (struct cap){wait ? CAP_LATER : CAP_GO, CAP_ACCOUNT, wait};
    }
}

static bool
write_recipients(struct store *db, const struct reserve *v, const struct wish *list, size_t n,
                 struct err *e)
{
    struct sql q = {0};
    bool any = false;
    sql_text(&q, "INSERT INTO account_recipients (account_id, phone, last_at) VALUES ");
    for (size_t i = 0; i < n; i++) {
        if (v->caps[list[i].at].fate == CAP_GO) {
            sql_addf(&q,
                     any ? ",(%" PRIu64 ", %s, UTC_TIMESTAMP(3))"
                         : "(%" PRIu64 ", %s, UTC_TIMESTAMP(3))",
                     list[i].account, list[i].phone);
            any = true;
        }
    }
    sql_text(&q, " ON DUPLICATE KEY UPDATE last_at = VALUES(last_at)");
    bool ok = !any || store_exec(db, &q, NULL, NULL, e);
    sql_done(&q);
    return ok;
}

static bool
reserve_account(struct store *db, struct reserve *v, struct wish *list, size_t n, struct err *e)
{
    struct quota q;
    int64_t *left = NULL;
    struct wish **sorted = xcalloc(n, sizeof *sorted);
    for (size_t i = 0; i < n; i++) {
        sorted[i] = &list[i];
    }
    qsort(sorted, n, sizeof *sorted, by_phone);
    bool ok = lock_account(db, list[0].account, &q, e) && mark_known(db, sorted, n, e) &&
              read_left(db, list[0].account, quota_wants(&q, (int64_t)n), &q, &left, e);
    if (ok) {
        grant(v, list, n, &q);
        ok = write_recipients(db, v, list, n, e);
    }
    free(sorted);
    free(left);
    return ok;
}

static bool
reserve_body(struct store *db, void *arg, struct err *e)
{
    struct reserve *v = arg;
    for (size_t i = 0, n; i < v->n; i += n) {
        for (n = 1; i + n < v->n && v->wishes[i + n].account == v->wishes[i].account; n++) {
        }
        if (!reserve_account(db, v, &v->wishes[i], n, e)) {
            return false;
        }
    }
    return true;
}

bool
caps_quota(struct pass *x, struct cap *caps, struct err *e)
{
    struct reserve v = {.x = x, .caps = caps};
    bool ok = read_wishes(&v, e);
    if (ok && v.n) {
        ok = store_transact(x->p->db, reserve_body, &v, e);
        FAULT("dispatch.reserved");
    }
    free(v.wishes);
    return ok || err_wrap(e, "accounts");
}
