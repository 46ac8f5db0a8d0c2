/* Recipients whom the provider wants left alone for a while, whichever device would write to them
 * (reaper/hold.c notes it).  What an application sends is its own affair. */
#include "producer/dispatch_caps.h"

#include <inttypes.h>
#include <stdlib.h>

bool
caps_rests(struct pass *x, struct cap *caps, struct err *e)
{
    struct sql q = {0};
    struct rows r;
    sql_text(&q, "SELECT c.id, TIMESTAMPDIFF(MICROSECOND, UTC_TIMESTAMP(3), r.until_at) DIV 1000 "
                 "FROM broadcast_messages c STRAIGHT_JOIN recipient_rests r ON r.user_id = "
                 "c.user_id AND r.phone = c.recipient_phone AND r.until_at > UTC_TIMESTAMP(3) "
                 "WHERE c.id IN (");
    sql_text(&q, x->ids.text.data);
    sql_addf(&q,
             ") AND c.kind <> 'direct' AND c.status = 'processing' AND c.processing_worker_id = %s",
             x->token);
    bool ok = store_query(x->p->db, &q, &r, e);
    sql_done(&q);
    struct item_row *order = ok && r.count ? items_by_row(x) : NULL;
    while (ok && rows_next(&r)) {
        size_t at = item_of_row(x, order, rows_uint(&r, 0));
        if (at < x->n_items && caps[at].fate == CAP_GO) {
            int64_t wait_ms = rows_int(&r, 1);
            caps[at] = (struct cap){CAP_LATER, CAP_REST, wait_ms > 1000 ? wait_ms : 1000};
        }
    }
    free(order);
    rows_done(&r);
    return ok;
}
