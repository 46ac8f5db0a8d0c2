#include "producer/campaign_plan.h"
#include "producer/dispatch_internal.h"
#include "shared/job.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

static const struct template *
find_template(const struct pass *x, uint64_t campaign)
{
    for (size_t i = 0; i < x->n_templates; i++) {
        if (x->templates[i].campaign == campaign) {
            return &x->templates[i];
        }
    }
    return NULL;
}

static int64_t
int_or(const struct rows *r, unsigned column)
{
    return r->field[column] ? rows_int(r, column) : -1;
}

/* "1,2": the campaigns of the claimed rows; "0" when there are none. */
static bool
read_campaigns(struct pass *x, struct sql *ret, struct err *e)
{
    struct sql q = {0};
    struct rows r;
    sql_text(&q, "SELECT DISTINCT campaign_id FROM broadcast_messages WHERE id IN (");
    sql_text(&q, x->ids.text.data);
    sql_text(&q, ") AND campaign_id IS NOT NULL");
    bool ok = store_query(x->p->db, &q, &r, e);
    sql_done(&q);
    sql_text(ret, "0");
    while (ok && rows_next(&r)) {
        sql_text(ret, ",");
        sql_uint(ret, rows_uint(&r, 0));
    }
    rows_done(&r);
    return ok;
}

static bool
read_templates(struct pass *x, struct err *e)
{
    struct sql q = {0}, ids = {0};
    struct rows r = {0};
    bool ok = read_campaigns(x, &ids, e);
    if (ok) {
        sql_text(&q, "SELECT id, content, min_gap_ms, max_gap_ms, batch_size, batch_pause_ms FROM "
                     "campaigns WHERE id IN (");
        sql_text(&q, ids.text.data);
        sql_text(&q, ")");
        ok = store_query(x->p->db, &q, &r, e);
    }
    sql_done(&q);
    sql_done(&ids);
    if (!ok) {
        return false;
    }
    while (rows_next(&r)) {
        if (find_template(x, rows_uint(&r, 0))) {
            continue;
        }
        VEC_GROW(x->templates, x->n_templates, x->cap_templates);
        x->templates[x->n_templates++] = (struct template){
            rows_uint(&r, 0), xstrdup(rows_str(&r, 1)), int_or(&r, 2), int_or(&r, 3), int_or(&r, 4),
            int_or(&r, 5),
        };
    }
    rows_done(&r);
    return true;
}

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

static void
build_item(struct pass *x, const struct rows *r, size_t k)
{
    struct queue_push *item = &x->items[k];
    struct target *t = find_target(x, rows_uint(r, 2));
    const struct template *c = find_template(x, rows_uint(r, 4));
    *item = (struct queue_push){.row = rows_uint(r, 0),
                                .device = rows_uint(r, 2),
                                .gen = (uint32_t)rows_uint(r, 3),
                                .order = k};
    (void)snprintf(item->id, sizeof item->id, "%s", rows_str(r, 1));
    (void)campaign_source(rows_uint(r, 4), item->source);
    item->expires_in_ms = rows_int(r, 8);
    struct job j = {
        .row = item->row,
        .attempt = (uint32_t)rows_uint(r, 5) + 1,
        .user = rows_uint(r, 9),
        .device = item->device,
        .sender = text(t ? t->sender : ""),
        .device_ref = text(t ? t->sender_ref : ""),
        .recipient = text(rows_str(r, 6)),
        .name = text(rows_str(r, 7)),
        .content = text(r->field[10] ? rows_str(r, 10)
                        : c          ? c->content
                                     : ""),
        .gap_min_ms = c ? c->gap_min : -1,
        .gap_max_ms = c ? c->gap_max : -1,
        .batch_size = c ? c->batch_size : -1,
        .batch_pause_ms = c ? c->batch_pause : -1,
    };
    json_t *attributes = add_attributes(&j, r->field[11]);
    job_encode(&j, &x->payloads[k]);
    json_decref(attributes);
    item->payload = x->payloads[k].data;
    item->payload_len = x->payloads[k].len;
    item->pace = t ? &t->pace : NULL;
    if (t) {
        t->claimed++;
    }
}

static bool
read_rows(struct pass *x, struct err *e)
{
    struct sql q = {0};
    struct rows r;
    sql_text(
        &q,
        "SELECT m.id, m.job_id, m.device_id, m.gen, m.campaign_id, m.attempt, m.recipient_phone, "
        "m.recipient_name, IF(m.expires_at IS NULL, 0, GREATEST(1, TIMESTAMPDIFF(MICROSECOND, "
        "UTC_TIMESTAMP(3), m.expires_at) DIV 1000)), m.user_id, m.content, l.attributes FROM "
        "broadcast_messages m "
        "LEFT JOIN leads l ON l.id = m.lead_id WHERE m.id IN (");
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
    while (rows_next(&r)) {
        build_item(x, &r, x->n_items);
        x->n_items++;
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
    free(x->payloads);
    free(x->items);
    x->payloads = NULL;
    x->items = NULL;
    x->n_items = 0;
}

void
templates_done(struct pass *x)
{
    for (size_t i = 0; i < x->n_templates; i++) {
        free(x->templates[i].content);
    }
    free(x->templates);
}

bool
jobs_read(struct pass *x, struct err *e)
{
    return read_templates(x, e) && read_rows(x, e);
}
