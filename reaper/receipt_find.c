/* receipt_find.c -- which row is a receipt about: the job that the provider gave back, else the
 * provider's own id, else, for providers that give nothing back, the one unknown message that a
 * device has open to this phone. */
#include "reaper/receipts_private.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    WEAK_AGE_MS = 10000, /* until then the id may still come with the result of its own message */
    WEAK_A_BATCH = 20,
    WEAK_BEFORE_S = 900, /* a receipt belongs to what became unknown so long before it, */
    WEAK_BEHIND_S = 120  /* or so long behind: a gateway may give up when the message is out */
};

static bool
is_about_message(const struct receipt_line *l)
{
    return l->r.kind <= RECEIPT_READ;
}

/* " AND user_id IN (..)", so that nobody's receipt meets another's message. */
static void
add_users(struct sql *q, const struct receipt_batch *b)
{
    uint64_t last = 0;
    sql_text(q, " AND user_id IN (");
    for (size_t i = 0; i < b->n; i++) {
        if (b->lines[i].user != last) {
            sql_text(q, last ? "," : "");
            last = b->lines[i].user;
            sql_uint(q, last);
        }
    }
    sql_text(q, ")");
}

static const char *
key_of(const struct receipt_line *l, enum receipt_found how)
{
    return how == FOUND_BY_JOB ? l->job_id : l->provider_id;
}

/* A provider's id that several messages have (ids that a gateway counts from 1) is the latest one's
 * to the phone, else the latest's; rows come the latest first. */
static void
take_row(struct receipt_line *l, const struct rows *r, enum receipt_found how)
{
    bool mine = rows_uint(r, 1) == l->user && strcmp(rows_str(r, 2), key_of(l, how)) == 0;
    if (!mine || (l->how && l->how != how)) {
        return;
    }
    bool to_phone = strcmp(rows_str(r, 3), l->phone) == 0;
    if (!l->row || (to_phone && !l->to_phone)) {
        l->to_phone = to_phone;
        l->row = rows_uint(r, 0);
        l->how = how;
    }
}

/* Keys are compared here once more: the server's comparison may know no case. */
static bool
find_by(struct store *db, struct receipt_batch *b, enum receipt_found how, struct err *e)
{
    struct sql q = {0};
    struct rows r = {0};
    size_t n = 0;
    sql_text(&q, how == FOUND_BY_JOB
                     ? "SELECT id, user_id, job_id, recipient_phone FROM broadcast_messages FORCE "
                       "INDEX (messages_job) WHERE job_id IN ("
                     : "SELECT id, user_id, provider_message_id, recipient_phone FROM "
                       "broadcast_messages FORCE INDEX (messages_provider) WHERE "
                       "provider_message_id IN (");
    for (size_t i = 0; i < b->n; i++) {
        const struct receipt_line *l = &b->lines[i];
        if (is_about_message(l) && !l->row && *key_of(l, how)) {
            sql_text(&q, n++ ? "," : "");
            sql_str(&q, key_of(l, how));
        }
    }
    sql_text(&q, ")");
    add_users(&q, b);
    sql_text(&q, " ORDER BY id DESC");
    bool ok = !n || store_query(db, &q, &r, e);
    sql_done(&q);
    while (r.res && rows_next(&r)) {
        for (size_t i = 0; i < b->n; i++) {
            if (is_about_message(&b->lines[i])) {
                take_row(&b->lines[i], &r, how);
            }
        }
    }
    rows_done(&r);
    return ok;
}

/* Only if there is exactly one. */
static bool
find_weakly(struct store *db, struct receipt_line *l, struct err *e)
{
    struct rows r;
    char digits[33];
    (void)snprintf(digits, sizeof digits, "%.*s", (int)strcspn(l->device_ref, ":@"), l->device_ref);
    if (!store_queryf(
            db, &r, e,
            "SELECT m.id FROM broadcast_messages m FORCE INDEX (messages_phone) JOIN devices d ON "
            "d.id = m.device_id AND d.user_id = m.user_id WHERE m.recipient_phone = %s AND "
            "m.user_id = %" PRIu64 " AND m.status = 'unknown' AND m.provider_message_id IS NULL "
            "AND (d.sender_ref = %s OR d.phone = %s) AND m.updated_at BETWEEN %s - INTERVAL %d "
            "SECOND AND %s + INTERVAL %d SECOND LIMIT 2",
            l->phone, l->user, l->device_ref, digits, l->happened_at, WEAK_BEFORE_S, l->happened_at,
            WEAK_BEHIND_S)) {
        return false;
    }
    if (r.count == 1 && rows_next(&r)) {
        l->row = rows_uint(&r, 0);
        l->how = FOUND_WEAKLY;
    }
    rows_done(&r);
    return true;
}

bool
receipt_find_rows(struct store *db, struct receipt_batch *b, struct err *e)
{
    if (!find_by(db, b, FOUND_BY_JOB, e) || !find_by(db, b, FOUND_BY_ID, e)) {
        return false;
    }
    size_t weak = 0;
    for (size_t i = 0; i < b->n && weak < WEAK_A_BATCH; i++) {
        struct receipt_line *l = &b->lines[i];
        if (l->weak && !l->row && is_about_message(l) && l->r.kind != RECEIPT_FAILED && *l->phone &&
            *l->device_ref && l->r.age_ms >= WEAK_AGE_MS) {
            weak++;
            if (!find_weakly(db, l, e)) {
                return false;
            }
        }
    }
    return true;
}

static int
by_id(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;
    return *x < *y ? -1 : *x > *y;
}

static void
take_target(struct receipt_batch *b, const struct rows *r)
{
    struct receipt_target *t = &b->targets[b->n_targets];
    enum row_status status;
    if (!row_status_parse(rows_str(r, 1), &status)) {
        return;
    }
    *t = (struct receipt_target){
        .id = rows_uint(r, 0),
        .device = rows_uint(r, 6),
        .gen = (uint32_t)rows_uint(r, 2),
        .row = {status, (uint32_t)rows_uint(r, 3), (uint32_t)rows_uint(r, 4),
                receipt_kind_parse(rows_str(r, 5)), strcmp(rows_str(r, 9), "assumed") == 0}};
    t->ended = status != ROW_PENDING && status != ROW_PROCESSING && status != ROW_QUEUED;
    (void)snprintf(t->job_id, sizeof t->job_id, "%s", rows_str(r, 7));
    (void)snprintf(t->provider_id, sizeof t->provider_id, "%s", rows_str(r, 8));
    b->n_targets++;
}

bool
receipt_lock_rows(struct store *db, struct receipt_batch *b, struct err *e)
{
    uint64_t ids[RECEIPTS_BATCH];
    size_t n = 0;
    struct sql q = {0};
    struct rows r;
    b->n_targets = 0;
    for (size_t i = 0; i < b->n; i++) {
        if (b->lines[i].row) {
            ids[n++] = b->lines[i].row;
        }
    }
    if (!n) {
        return true;
    }
    qsort(ids, n, sizeof *ids, by_id);
    sql_text(&q, "SELECT id, status, gen, attempt, unknowns, receipt, device_id, job_id, "
                 "provider_message_id, error_class FROM broadcast_messages WHERE id IN (");
    sql_ids(&q, ids, n);
    sql_text(&q, ") ORDER BY id FOR UPDATE");
    bool ok = store_query(db, &q, &r, e);
    sql_done(&q);
    while (ok && rows_next(&r)) {
        take_target(b, &r);
    }
    rows_done(&r);
    for (size_t i = 0; ok && i < b->n; i++) {
        for (size_t k = 0; b->lines[i].row && k < b->n_targets; k++) {
            if (b->targets[k].id == b->lines[i].row) {
                b->lines[i].target = &b->targets[k];
            }
        }
    }
    return ok;
}
