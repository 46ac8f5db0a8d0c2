#include "producer/dispatch_caps.h"
#include "producer/dispatch_internal.h"
#include "shared/job.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

struct target *
find_target(const struct pass *x, uint64_t device)
{
    size_t lo = 0, hi = x->n_targets;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (x->targets[mid].device < device) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    return lo < x->n_targets && x->targets[lo].device == device ? &x->targets[lo] : NULL;
}

static struct job_text
text(const char *s)
{
    return (struct job_text){s, strlen(s)};
}

/* A lead's attributes are a JSON object of strings, numbers and booleans; anything else in it is
 * left out. */
static json_t *
add_attributes(struct job *j, const char *attributes)
{
    json_t *object = attributes ? json_loads(attributes, 0, NULL) : NULL;
    const char *key;
    json_t *v;
    json_object_foreach(object, key, v)
    {
        if (j->n_vars == JOB_VARS_MAX) {
            break;
        }
        if (!json_is_string(v)) {
            char *s =
                json_is_number(v) || json_is_boolean(v) ? json_dumps(v, JSON_ENCODE_ANY) : NULL;
            if (!s || json_object_set_new(object, key, json_string(s)) != 0) {
                free(s);
                continue;
            }
            free(s);
            v = json_object_get(object, key);
        }
        j->vars[2 * j->n_vars] = text(key);
        j->vars[2 * j->n_vars + 1] = (struct job_text){json_string_value(v), json_string_length(v)};
        j->n_vars++;
    }
    return object;
}

/* The gaps of a job, or -1: the device's own. */
static void
set_pace(struct job *j, const struct template *c, const struct target *t)
{
    j->gap_min_ms = j->gap_max_ms = j->batch_size = j->batch_pause_ms = -1;
    if (!c) {
        return;
    }
    j->gap_min_ms = c->gap_min;
    j->gap_max_ms = c->gap_max;
    j->batch_size = c->batch_size;
    j->batch_pause_ms = c->batch_pause;
    if (c->gap_percent == 100 && !c->fixed_gap) {
        return;
    }
    if (j->gap_min_ms < 0) {
        j->gap_min_ms = t->pace.gap_min_ms;
    }
    if (j->gap_max_ms < j->gap_min_ms) {
        j->gap_max_ms = t->pace.gap_max_ms > j->gap_min_ms ? t->pace.gap_max_ms : j->gap_min_ms;
    }
    j->gap_min_ms = j->gap_min_ms * c->gap_percent / 100;
    j->gap_max_ms = j->gap_max_ms * c->gap_percent / 100;
    if (c->fixed_gap) {
        j->gap_min_ms = j->gap_max_ms = (j->gap_min_ms + j->gap_max_ms) / 2;
    }
}

enum column {
    ROW,
    JOB_ID,
    DEVICE,
    GEN,
    KIND,
    TEXT_ID, /* of the campaign, the step or the rule */
    SOURCE_ID,
    ATTEMPT,
    PHONE,
    NAME,
    EXPIRES_MS,
    USER,
    CONTENT,
    ATTRIBUTES,
    OPT_OUT,
    LEAD_GONE,
    CONTACT,
    LATE_MS,
    LOOKED,
    MEDIA,
    TEMPLATE,
};
static const char row_columns[] =
    "SELECT m.id, m.job_id, m.device_id, m.gen, m.kind, COALESCE(m.campaign_id, "
    "m.sequence_stepid, m.recurring_id), " SOURCE_ID_SQL ", m.attempt, m.recipient_phone, "
    "m.recipient_name, IF(m.expires_at IS NULL, 0, GREATEST(1, TIMESTAMPDIFF(MICROSECOND, "
    "UTC_TIMESTAMP(3), m.expires_at) DIV 1000)), m.user_id, m.content, l.attributes, o.id, "
    "m.lead_id IS NOT NULL AND l.id IS NULL, n.status, TIMESTAMPDIFF(MICROSECOND, "
    "GREATEST(m.scheduled_at, m.created_at), UTC_TIMESTAMP(3)) DIV 1000, "
    /* Asked only of devices that were refused new contacts once: a row or two by their phone. */
    "IF(d.new_contacts_until IS NULL, 0, COALESCE((SELECT 1 FROM broadcast_messages s WHERE "
    "s.recipient_phone = m.recipient_phone AND s.device_id = m.device_id AND s.user_id = "
    "m.user_id AND s.status = 'sent' LIMIT 1), 2)), m.media, m.template FROM broadcast_messages m "
    "LEFT JOIN devices d ON d.id = m.device_id "
    "LEFT JOIN leads l ON l.id = m.lead_id AND l.device_id = m.device_id AND l.user_id = m.user_id "
    "LEFT JOIN opt_outs o ON o.user_id = m.user_id AND o.phone = m.recipient_phone "
    "LEFT JOIN sequence_contacts n ON n.sequence_id = m.sequence_id AND n.device_id = m.device_id "
    "AND n.recipient_phone = m.recipient_phone AND n.rotation = m.rotation WHERE m.id IN (";

static enum refusal
refusal_of(const struct rows *r, const struct target *t, const struct template *c)
{
    bool sequence = source_kind_parse(rows_str(r, KIND)) == SOURCE_SEQUENCE;
    return refuse_plan(&(struct claimed_row){
        .job_id = rows_str(r, JOB_ID),
        .phone = rows_str(r, PHONE),
        .user = rows_uint(r, USER),
        .device_user = t->user,
        .source_user = c ? c->user : 0,
        .opted_out = r->field[OPT_OUT] != NULL,
        .sequence = sequence,
        .lead_gone = rows_int(r, LEAD_GONE) != 0,
        .contact = r->field[CONTACT],
        .has_text = r->field[CONTENT] || r->field[MEDIA] || r->field[TEMPLATE] || c,
    });
}

static void
build_item(struct pass *x, const struct rows *r, struct target *t, const struct template *c,
           const struct parts *parts)
{
    size_t k = x->n_items++;
    struct queue_push *item = &x->items[k];
    enum source_kind kind = source_kind_parse(rows_str(r, KIND));
    *item = (struct queue_push){
        .row = rows_uint(r, ROW),
        .device = t->device,
        .gen = (uint32_t)rows_uint(r, GEN),
        .order = k,
        .expires_in_ms = rows_int(r, EXPIRES_MS),
        .pace = &t->pace,
    };
    (void)snprintf(item->id, sizeof item->id, "%s", rows_str(r, JOB_ID));
    (void)source_word(kind, rows_uint(r, kind == SOURCE_DIRECT ? USER : SOURCE_ID), item->source);
    struct job j = {
        .row = item->row,
        .attempt = (uint32_t)rows_uint(r, ATTEMPT) + 1,
        .user = rows_uint(r, USER),
        .device = t->device,
        .sender = text(t->sender),
        .device_ref = text(t->sender_ref),
        .recipient = text(rows_str(r, PHONE)),
        .name = text(rows_str(r, NAME)),
        .content = text(r->field[CONTENT] || !c ? rows_str(r, CONTENT) : c->content),
        .zone = text(t->zone),
        .language = text(t->language),
        .contact = (enum job_contact)rows_int(r, LOOKED),
        .media = {parts->media.len ? parts->media.data : "", parts->media.len},
        .template_json = {parts->template_json.len ? parts->template_json.data : "",
                          parts->template_json.len},
    };
    x->item_stored[k] = parts->stored;
    set_pace(&j, c, t);
    json_t *attributes = add_attributes(&j, r->field[ATTRIBUTES]);
    job_encode(&j, &x->payloads[k]);
    json_decref(attributes);
    item->payload = x->payloads[k].data;
    item->payload_len = x->payloads[k].len;
}

static void
take_row(struct pass *x, const struct rows *r)
{
    struct target *t = find_target(x, rows_uint(r, DEVICE));
    const struct template *c =
        find_template(x, source_kind_parse(rows_str(r, KIND)), rows_uint(r, TEXT_ID));
    enum refusal why = refusal_of(r, t, c);
    if (t->idle && t->claimed == 0) {
        x->lags_ms[x->n_lags++] = rows_int(r, LATE_MS);
    }
    t->claimed++;
    struct parts own = {0};
    const struct parts *parts = c ? &c->parts : &own;
    if (r->field[MEDIA] || r->field[TEMPLATE]) {
        const char *media = r->field[MEDIA], *approved = r->field[TEMPLATE];
        parts_read(x, rows_uint(r, USER), media || !c ? media : c->media,
                   approved || !c ? approved : c->template_json, &own);
        parts = &own;
    }
    why = why == REFUSE_NOT ? parts->why : why;
    if (why == REFUSE_NOT) {
        build_item(x, r, t, c, parts);
    } else {
        x->refused[x->n_refused++] = (struct refused){
            rows_uint(r, ROW), why, why == REFUSE_PARTS ? xstrdup(parts->text) : NULL};
    }
    parts_done(&own);
}

static bool
read_rows(struct pass *x, struct err *e)
{
    struct sql q = {0};
    struct rows r;
    sql_text(&q, row_columns);
    sql_text(&q, x->ids.text.data);
    sql_text(&q, ") AND m.status = 'processing' AND m.processing_worker_id = ");
    sql_str(&q, x->token);
    sql_text(&q, " ORDER BY m.device_id, m.scheduled_at, m.id");
    bool ok = store_query(x->p->db, &q, &r, e);
    sql_done(&q);
    if (!ok) {
        return false;
    }
    x->items = xcalloc((size_t)r.count, sizeof *x->items);
    x->payloads = xcalloc((size_t)r.count, sizeof *x->payloads);
    x->refused = xcalloc((size_t)r.count, sizeof *x->refused);
    x->item_stored = xcalloc((size_t)r.count, sizeof *x->item_stored);
    while (rows_next(&r)) {
        take_row(x, &r);
    }
    rows_done(&r);
    return true;
}

void
jobs_done(struct pass *x)
{
    for (size_t i = 0; i < x->n_items; i++) {
        buf_done(&x->payloads[i]);
    }
    for (size_t i = 0; i < x->n_refused; i++) {
        free(x->refused[i].text);
    }
    free(x->item_stored);
    free(x->payloads);
    free(x->items);
    free(x->refused);
    x->payloads = NULL;
    x->items = NULL;
    x->refused = NULL;
    x->item_stored = NULL;
    x->n_items = x->n_refused = 0;
}

bool
jobs_read(struct pass *x, struct err *e)
{
    return templates_read(x, e) && read_rows(x, e) && refuse_rows(x, e) && caps_apply(x, e) &&
           media_ensure(x, e);
}
