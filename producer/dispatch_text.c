#include "producer/dispatch_internal.h"

#include <stdlib.h>
#include <string.h>

/* What a template is read from: (id, user, content, gaps, batch, percent of the gaps, fixed gap,
 * media, template).
 */
static const char *const selects[SOURCE_TABLES] = {
    [SOURCE_CAMPAIGN] = "SELECT id, user_id, content, min_gap_ms, max_gap_ms, batch_size, "
                        "batch_pause_ms, 100, 0, media, template FROM campaigns WHERE id IN (",
    [SOURCE_SEQUENCE] =
        "SELECT t.id, s.user_id, t.content, s.min_gap_ms, s.max_gap_ms, s.batch_size, "
        "s.batch_pause_ms, 100, 0, t.media, t.template FROM sequence_steps t JOIN sequences s ON "
        "s.id = t.sequence_id "
        "WHERE t.id IN (",
    [SOURCE_RECURRING] =
        "SELECT id, user_id, content, IF(delay = 'manual', min_gap_ms, NULL), IF(delay = 'manual', "
        "max_gap_ms, NULL), batch_size, batch_pause_ms, IF(delay = 'adaptive', gap_percent, 100), "
        "NOT randomise, media, template FROM recurring_messages WHERE id IN (",
};

const struct template *
find_template(const struct pass *x, enum source_kind kind, uint64_t id)
{
    for (size_t i = 0; i < x->n_templates; i++) {
        if (x->templates[i].kind == kind && x->templates[i].id == id) {
            return &x->templates[i];
        }
    }
    return NULL;
}

static int64_t
int_or_none(const struct rows *r, unsigned column)
{
    return r->field[column] ? rows_int(r, column) : -1;
}

static bool
read_kind(struct pass *x, enum source_kind kind, const char *ids, struct err *e)
{
    struct sql q = {0};
    struct rows r;
    sql_text(&q, selects[kind]);
    sql_text(&q, ids);
    sql_text(&q, ")");
    bool ok = store_query(x->p->db, &q, &r, e);
    sql_done(&q);
    while (ok && rows_next(&r)) {
        VEC_GROW(x->templates, x->n_templates, x->cap_templates);
        x->templates[x->n_templates++] = (struct template){
            .kind = kind,
            .id = rows_uint(&r, 0),
            .user = rows_uint(&r, 1),
            .content = xstrdup(rows_str(&r, 2)),
            .gap_min = int_or_none(&r, 3),
            .gap_max = int_or_none(&r, 4),
            .batch_size = int_or_none(&r, 5),
            .batch_pause = int_or_none(&r, 6),
            .gap_percent = rows_int(&r, 7),
            .fixed_gap = rows_int(&r, 8) != 0,
            .media = r.field[9] ? xstrdup(r.field[9]) : NULL,
            .template_json = r.field[10] ? xstrdup(r.field[10]) : NULL,
        };
        media_note(x, rows_uint(&r, 1), r.field[9]);
    }
    rows_done(&r);
    return ok;
}

/* Whether "1,22,3" has the number; list NULL: it is empty. */
static bool
is_listed(const char *list, const char *number)
{
    size_t n = strlen(number);
    while (list && *list) {
        size_t len = strcspn(list, ",");
        if (len == n && memcmp(list, number, n) == 0) {
            return true;
        }
        list += len + (list[len] == ',');
    }
    return false;
}

bool
templates_read(struct pass *x, struct err *e)
{
    struct sql q = {0}, ids[SOURCE_TABLES] = {{{0}}};
    struct rows r;
    sql_text(&q,
             "SELECT kind, COALESCE(campaign_id, sequence_stepid, recurring_id), user_id, media "
             "FROM broadcast_messages WHERE id IN (");
    sql_text(&q, x->ids.text.data);
    sql_text(&q, ") AND (kind <> 'direct' OR media IS NOT NULL)");
    bool ok = store_query(x->p->db, &q, &r, e);
    sql_done(&q);
    while (ok && rows_next(&r)) {
        enum source_kind kind = source_kind_parse(rows_str(&r, 0));
        media_note(x, rows_uint(&r, 2), r.field[3]);
        if (kind != SOURCE_DIRECT && !is_listed(ids[kind].text.data, rows_str(&r, 1)) &&
            !find_template(x, kind, rows_uint(&r, 1))) {
            sql_text(&ids[kind], ids[kind].text.len ? "," : "");
            sql_uint(&ids[kind], rows_uint(&r, 1));
        }
    }
    rows_done(&r);
    for (int k = 0; k < SOURCE_TABLES; k++) {
        ok = ok && (!ids[k].text.len || read_kind(x, (enum source_kind)k, ids[k].text.data, e));
        sql_done(&ids[k]);
    }
    ok = ok && media_look_up(x, e);
    for (; ok && x->n_parts < x->n_templates; x->n_parts++) {
        struct template *t = &x->templates[x->n_parts];
        parts_read(x, t->user, t->media, t->template_json, &t->parts);
    }
    return ok;
}

void
templates_done(struct pass *x)
{
    for (size_t i = 0; i < x->n_templates; i++) {
        free(x->templates[i].content);
        free(x->templates[i].media);
        free(x->templates[i].template_json);
        parts_done(&x->templates[i].parts);
    }
    free(x->templates);
}
