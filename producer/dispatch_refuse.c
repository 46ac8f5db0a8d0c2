#include "producer/dispatch_refuse.h"

#include "producer/dispatch_internal.h"
#include "shared/job.h"
#include "shared/log.h"
#include "shared/phone.h"

#include <inttypes.h>
#include <string.h>

static const struct {
    const char *status, *class, *text;
} endings[REFUSALS] = {
    [REFUSE_OPTED_OUT] = {"skipped", "opted-out", "the recipient has opted out"},
    [REFUSE_LEFT] = {"skipped", "left", "the contact has left the sequence"},
    [REFUSE_LEAD_GONE] = {"skipped", "lead-removed", "the lead is not on this device any more"},
    [REFUSE_ISOLATION] = {"failed", "isolation", "its device or its source is another user's"},
    [REFUSE_ID] = {"failed", "input", "job_id: use 1 to 64 of A-Z a-z 0-9 . _ : # -"},
    [REFUSE_PHONE] = {"failed", "input", "recipient_phone: digits in international form"},
    [REFUSE_TEXT] = {"failed", "input", "content: there is no text"},
    [REFUSE_PARTS] = {"failed", "input", "media or template: not understood"},
};

static bool
is_phone(const char *text)
{
    char out[PHONE_SIZE];
    struct err ignored = {0};
    return phone_normalise(text, strlen(text), NULL, out, &ignored) && strcmp(out, text) == 0;
}

enum refusal
refuse_plan(const struct claimed_row *row)
{
    if (row->user != row->device_user || (row->source_user && row->source_user != row->user)) {
        return REFUSE_ISOLATION;
    }
    if (!job_id_is_good(row->job_id)) {
        return REFUSE_ID;
    }
    if (!is_phone(row->phone)) {
        return REFUSE_PHONE;
    }
    if (!row->has_text) {
        return REFUSE_TEXT;
    }
    if (row->opted_out) {
        return REFUSE_OPTED_OUT;
    }
    if (row->sequence && row->contact && strcmp(row->contact, "left") == 0) {
        return REFUSE_LEFT;
    }
    return row->sequence && row->lead_gone ? REFUSE_LEAD_GONE : REFUSE_NOT;
}

/* The error's text: one for all, or a row's own. */
static void
add_texts(const struct pass *x, enum refusal why, struct sql *q)
{
    sql_text(q, "CASE id");
    for (size_t i = 0; i < x->n_refused; i++) {
        if (x->refused[i].why == why && x->refused[i].text) {
            sql_addf(q, " WHEN %" PRIu64 " THEN %s", x->refused[i].row, x->refused[i].text);
        }
    }
    sql_addf(q, " WHEN 0 THEN '' ELSE %s END", endings[why].text);
}

static bool
end_rows(struct pass *x, enum refusal why, struct err *e)
{
    struct sql q = {0};
    uint64_t n = 0;
    bool any = false, ok = true;
    sql_addf(&q,
             "UPDATE broadcast_messages SET status = IF(unknowns > 0, 'unknown', %s), error_class "
             "= %s, error_message = ",
             endings[why].status, endings[why].class);
    if (why == REFUSE_PARTS) {
        add_texts(x, why, &q);
    } else {
        sql_str(&q, endings[why].text);
    }
    sql_text(&q, ", updated_at = UTC_TIMESTAMP(3) WHERE id IN (");
    for (size_t i = 0; i < x->n_refused; i++) {
        if (x->refused[i].why == why) {
            sql_text(&q, any ? "," : "");
            sql_uint(&q, x->refused[i].row);
            any = true;
        }
    }
    if (any) {
        sql_addf(&q, ") AND status = 'processing' AND processing_worker_id = %s", x->token);
        ok = store_exec(x->p->db, &q, &n, NULL, e);
    }
    sql_done(&q);
    x->ended += n;
    if (n) {
        metric_add(&producer_metrics[M_REFUSED], (int64_t)n);
        log_info("rows_refused", "why", LOG_S(endings[why].class), "rows", LOG_I(n));
    }
    return ok;
}

bool
refuse_rows(struct pass *x, struct err *e)
{
    if (!x->n_refused) {
        return true;
    }
    for (int why = REFUSE_NOT + 1; why < REFUSALS; why++) {
        if (!end_rows(x, (enum refusal)why, e)) {
            return false;
        }
    }
    return true;
}
