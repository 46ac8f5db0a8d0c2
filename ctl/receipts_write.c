#include "ctl/receipts_write.h"

#include "shared/fault.h"

#include <inttypes.h>
#include <stdlib.h>

enum { INSERT_BYTES = 1 << 20 }; /* of one statement; well within max_allowed_packet */

struct write {
    struct receipts_batch *const *bodies;
    size_t n;
    uint64_t fresh;
};

static void
add_event(struct sql *q, const struct receipts_section *s, const struct receipt_event *ev)
{
    bool consent = ev->kind == RECEIPT_STOP || ev->kind == RECEIPT_RESUME;
    sql_addf(q, "(%" PRIu64 ", %s, %s, %s, %s, %d, %d, %s, %s, %s, %s, %s, ", s->user_id, s->name,
             receipt_kind_name(ev->kind), ev->provider_id, *ev->job_id ? ev->job_id : NULL,
             (int)ev->attempt, s->weak, ev->device_ref, ev->phone, consent ? ev->phone : NULL,
             ev->code, ev->detail);
    if (ev->at_ms) {
        /* The server's from_unixtime() ends in 2038 on some, and depends on the session's zone. */
        sql_addf(q, "'1970-01-01' + INTERVAL %" PRId64 " MICROSECOND", ev->at_ms * 1000);
    } else {
        sql_text(q, "UTC_TIMESTAMP(3)");
    }
    sql_text(q, ", UTC_TIMESTAMP(3), UTC_TIMESTAMP(3))");
}

static bool
flush(struct store *s, struct sql *q, struct write *w, struct err *e)
{
    uint64_t fresh = 0;
    if (!q->text.len) {
        return true;
    }
    /* Changes nothing and, other than IGNORE, hides no error. */
    sql_text(q, " ON DUPLICATE KEY UPDATE id = id");
    bool ok = store_exec(s, q, &fresh, NULL, e);
    w->fresh += fresh;
    sql_clear(q);
    return ok;
}

static bool
write_body(struct store *s, void *arg, struct err *e)
{
    struct write *w = arg;
    struct sql q = {0};
    bool ok = true;
    w->fresh = 0;
    for (size_t i = 0; ok && i < w->n; i++) {
        const struct receipts_batch *b = w->bodies[i];
        for (size_t k = 0; ok && k < b->plan.n; k++) {
            sql_text(&q, q.text.len ? ", "
                                    : "INSERT INTO receipts (user_id, section, kind, "
                                      "provider_message_id, job_id, attempt, weak, device_ref, "
                                      "phone, consent_phone, code, detail, happened_at, "
                                      "received_at, due_at) VALUES ");
            add_event(&q, b->section, &b->plan.events[k]);
            ok = q.text.len < INSERT_BYTES || flush(s, &q, w, e);
        }
    }
    ok = ok && flush(s, &q, w, e);
    sql_done(&q);
    if (ok) {
        FAULT("receipts.inserted");
    }
    return ok;
}

/* A connection that the server has closed meanwhile shows at its next use only: one more try is
 * made at once. */
bool
receipts_write(struct store *s, struct receipts_batch *const *bodies, size_t n, uint64_t *ret_new,
               struct err *e)
{
    struct write w = {.bodies = bodies, .n = n};
    size_t events = 0;
    for (size_t i = 0; i < n; i++) {
        events += bodies[i]->plan.n;
    }
    bool ok = !events || store_transact(s, write_body, &w, e) ||
              (e->kind == ERR_RETRY && store_transact(s, write_body, &w, e));
    *ret_new = w.fresh;
    if (ok && events) {
        FAULT("receipts.committed");
    }
    return ok;
}
