#include "ctl/template_leads.h"

#include "ctl/flag.h"
#include "shared/approved.h"
#include "shared/job.h"
#include "shared/phone.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum lead_column { LEAD, PHONE, NAME, ATTRIBUTES, DEVICE, DEVICE_NAME, ZONE, LANGUAGE };

struct lead_vars {
    struct render_var vars[JOB_VARS_MAX + 3];
    size_t n;
    struct doc *attributes;
    struct buf numbers[JOB_VARS_MAX];
};

struct samples {
    const struct template_flags *f;
    const struct template_texts *texts;
    struct composer *composer;
    struct doc *list;
    int64_t now_ms;
    size_t bad;
};

/* As the producer and the worker do: texts, numbers and booleans, the first JOB_VARS_MAX. */
static void
read_vars(struct lead_vars *v, const struct rows *r)
{
    const char *attributes = r->field[ATTRIBUTES];
    *v = (struct lead_vars){0};
    v->vars[v->n++] = (struct render_var){"name", rows_str(r, NAME)};
    v->vars[v->n++] = (struct render_var){"recipient_name", rows_str(r, NAME)};
    v->vars[v->n++] = (struct render_var){"phone", rows_str(r, PHONE)};
    if (!attributes || !doc_parse(attributes, strlen(attributes), &v->attributes, NULL)) {
        return;
    }
    const char *key;
    size_t n = 0;
    for (size_t i = 0; (key = doc_key(v->attributes, i)) && n < JOB_VARS_MAX; i++) {
        const struct doc *value = doc_get(v->attributes, key);
        enum doc_type type = doc_type(value);
        if (type == DOC_BOOL || type == DOC_INT || type == DOC_REAL) {
            doc_write(value, &v->numbers[n]);
        } else if (type != DOC_STR) {
            continue;
        }
        v->vars[v->n++] =
            (struct render_var){key, type == DOC_STR ? doc_str(value) : v->numbers[n].data};
        n++;
    }
}

static void
vars_done(struct lead_vars *v)
{
    for (size_t i = 0; i < JOB_VARS_MAX; i++) {
        buf_done(&v->numbers[i]);
    }
    doc_free(v->attributes);
}

/* The id that the first message of this text to this lead has, or had. */
static void
job_id_of(const struct template_text *t, const struct rows *r, char out[JOB_ID_SIZE])
{
    const char *phone = rows_str(r, PHONE);
    if (!t->id) {
        (void)snprintf(out, JOB_ID_SIZE, "sample-%" PRIu64, rows_uint(r, LEAD));
    } else if (t->kind == SOURCE_CAMPAIGN) {
        (void)job_id_campaign(t->id, rows_uint(r, DEVICE), phone, 0, out);
    } else {
        (void)job_id_step(t->id, rows_uint(r, DEVICE), phone, 0, out);
    }
}

static void
render_one(struct samples *s, const struct template_text *t, const struct rows *r,
           const struct lead_vars *v)
{
    char id[JOB_ID_SIZE];
    struct buf out = {0};
    struct err e = {0};
    struct compose_choice choice;
    job_id_of(t, r, id);
    struct compose_message m = {
        .template_text = t->content.data,
        .template_len = t->content.len,
        .job_id = id,
        .vars = v->vars,
        .n_vars = v->n,
        .zone = rows_str(r, ZONE),
        .language = rows_str(r, LANGUAGE),
        .now_ms = s->now_ms,
    };
    bool ok = compose(s->composer, &m, &out, &choice, &e);
    size_t n = ok ? render_chars(out.data, out.len) : 0;
    int64_t limit = template_text_limit(t, s->f->limit);
    if (ok && limit && n > (size_t)limit) {
        ok = err_set(&e, ERR_INPUT, "%zu characters are more than %" PRId64, n, limit);
    }
    if (ok && t->parameter && n == 0) {
        ok = err_set(&e, ERR_INPUT, "is empty; give its variable a default");
    }
    ok = ok && (!t->parameter || approved_value_check(out.data, out.len, &e));
    struct doc *d = doc_append(s->list);
    doc_put_str(d, "template", t->label);
    doc_put_str(d, "job", t->id ? id : NULL);
    doc_put_str(d, "phone", rows_str(r, PHONE));
    doc_put_str(d, "name", rows_str(r, NAME));
    doc_put_str(d, "device", rows_str(r, DEVICE_NAME));
    doc_put_str(d, "language", choice.language);
    doc_put_str(d, "zone", choice.zone);
    doc_put_int(d, "characters", (int64_t)n);
    doc_put_str(d, "error", ok ? NULL : e.text);
    if (t->beside) {
        doc_put_str(d, "beside", t->beside);
    }
    doc_put_strn(d, "text", out.data ? out.data : "", out.len);
    s->bad += !ok;
    buf_done(&out);
}

static bool
add_lead(struct sql *q, const char *phone, struct err *e)
{
    char digits[PHONE_SIZE];
    if (!phone_normalise(phone, strlen(phone), NULL, digits, e)) {
        return err_wrap(e, "--lead");
    }
    sql_addf(q, " AND l.phone = %s", digits);
    return true;
}

/* A campaign's own audience; a sequence's is whoever is enrolled, so any of its devices' leads. */
static bool
select_leads(struct ctl *c, const struct template_flags *f, const struct template_texts *t,
             struct sql *q, struct err *e)
{
    struct found device;
    sql_addf(q, "SELECT l.id, l.phone, l.name, l.attributes, d.id, d.name, d.time_zone, d.language "
                "FROM leads l JOIN devices d ON d.id = l.device_id AND d.user_id = l.user_id ");
    if (t->campaign) {
        sql_addf(q,
                 "JOIN campaign_devices x ON x.device_id = l.device_id JOIN campaigns g ON g.id = "
                 "x.campaign_id AND g.id = %" PRIu64 " ",
                 t->campaign);
    }
    sql_addf(q, "WHERE l.user_id = %" PRIu64, c->user_id);
    if (t->campaign && !f->lead) {
        sql_text(q, " AND (g.niche = '' OR l.niche = g.niche) AND (g.target_status = '' OR "
                    "l.target_status = g.target_status)");
    }
    if (f->device) {
        if (!ctl_find_device(c, f->device, &device, e)) {
            return false;
        }
        sql_addf(q, " AND l.device_id = %" PRIu64, device.id);
    }
    if (f->lead && !add_lead(q, f->lead, e)) {
        return false;
    }
    sql_addf(q, " ORDER BY l.id LIMIT %llu",
             (unsigned long long)(f->samples == FLAG_UNSET ? 100 : f->samples));
    return true;
}

static bool
read_clock(struct ctl *c, int64_t at_s, int64_t *ret_ms, struct err *e)
{
    struct rows r;
    if (at_s != FLAG_UNSET && at_s != FLAG_NOW) {
        *ret_ms = at_s * 1000;
        return true;
    }
    if (!store_queryf(c->store, &r, e,
                      "SELECT TIMESTAMPDIFF(SECOND, '1970-01-01', UTC_TIMESTAMP())")) {
        return false;
    }
    *ret_ms = rows_next(&r) ? rows_int(&r, 0) * 1000 : 0;
    rows_done(&r);
    return true;
}

static bool
no_lead(const struct ctl *c, const struct template_flags *f, const struct template_texts *t,
        struct err *e)
{
    const char *where = t->campaign ? " on the campaign's devices" : "";
    return f->lead
               ? err_set(e, ERR_GONE, "user '%.60s' has no lead %.40s%s", c->user, f->lead, where)
               : err_set(e, ERR_GONE,
                         "user '%.60s' has no leads%s to render for; see: paceline leads import",
                         c->user, where);
}

bool
template_leads_render(struct ctl *c, const struct template_flags *f,
                      const struct template_texts *texts, struct composer *composer,
                      struct doc *list, size_t *ret_bad, struct err *e)
{
    struct samples s = {.f = f, .texts = texts, .composer = composer, .list = list};
    struct sql q = {0};
    struct rows r;
    bool any = false;
    bool ok = ctl_user(c, false, e) && read_clock(c, f->at, &s.now_ms, e) &&
              select_leads(c, f, texts, &q, e) && store_query(c->store, &q, &r, e);
    sql_done(&q);
    if (!ok) {
        return false;
    }
    while (rows_next(&r)) {
        struct lead_vars v;
        any = true;
        read_vars(&v, &r);
        for (size_t i = 0; i < texts->n; i++) {
            render_one(&s, &texts->items[i], &r, &v);
        }
        vars_done(&v);
    }
    rows_done(&r);
    *ret_bad = s.bad;
    return any || no_lead(c, f, texts, e);
}
