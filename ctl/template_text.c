#include "ctl/template_text.h"

#include "ctl/define.h"
#include "shared/render.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static struct template_text *
add_text(struct template_texts *t, char *label, enum source_kind kind, uint64_t id)
{
    VEC_GROW(t->items, t->n, t->cap);
    struct template_text *x = &t->items[t->n++];
    *x = (struct template_text){.label = label, .kind = kind, .id = id};
    buf_adds(&x->content, "");
    return x;
}

/* One newline at a file's end is an editor's, as in campaign create. */
static bool
read_file(const char *path, struct template_texts *t, struct err *e)
{
    struct template_text *x = add_text(t, xstrdup(define_file_name(path)), SOURCE_DIRECT, 0);
    if (!define_file(path, RENDER_TEMPLATE_MAX, &x->content, e)) {
        return false;
    }
    if (x->content.len && x->content.data[x->content.len - 1] == '\n') {
        x->content.data[--x->content.len] = '\0';
    }
    return true;
}

static bool
read_campaign(struct ctl *c, const char *name, struct template_texts *t, struct err *e)
{
    struct found found;
    struct rows r;
    if (!ctl_user(c, false, e) || !ctl_find_source(c, SOURCE_CAMPAIGN, name, &found, e) ||
        !store_queryf(c->store, &r, e, "SELECT content FROM campaigns WHERE id = %" PRIu64,
                      found.id)) {
        return false;
    }
    t->campaign = found.id;
    while (rows_next(&r)) {
        struct template_text *x =
            add_text(t, xasprintf("campaign %s", found.name), SOURCE_CAMPAIGN, found.id);
        buf_add(&x->content, rows_str(&r, 0), strlen(rows_str(&r, 0)));
    }
    rows_done(&r);
    return true;
}

static bool
read_sequence(struct ctl *c, const char *name, struct template_texts *t, struct err *e)
{
    struct found found;
    struct rows r;
    if (!ctl_user(c, false, e) || !ctl_find_source(c, SOURCE_SEQUENCE, name, &found, e) ||
        !store_queryf(c->store, &r, e,
                      "SELECT id, position, content FROM sequence_steps WHERE sequence_id = "
                      "%" PRIu64 " ORDER BY position",
                      found.id)) {
        return false;
    }
    t->sequence = found.id;
    while (rows_next(&r)) {
        struct template_text *x = add_text(t, xasprintf("step %" PRIu64, rows_uint(&r, 1)),
                                           SOURCE_SEQUENCE, rows_uint(&r, 0));
        buf_add(&x->content, rows_str(&r, 2), strlen(rows_str(&r, 2)));
    }
    rows_done(&r);
    return true;
}

bool
template_texts_read(struct ctl *c, const struct template_flags *f, const char *file,
                    struct template_texts *ret, struct err *e)
{
    *ret = (struct template_texts){0};
    if (!file + !f->content + !f->campaign + !f->sequence != 3) {
        return err_set(e, ERR_INPUT,
                       "name one text: a FILE (- is the standard input), --content, --campaign or "
                       "--sequence");
    }
    if (file) {
        return read_file(file, ret, e);
    }
    if (f->campaign) {
        return read_campaign(c, f->campaign, ret, e);
    }
    if (f->sequence) {
        return read_sequence(c, f->sequence, ret, e);
    }
    buf_adds(&add_text(ret, xstrdup("--content"), SOURCE_DIRECT, 0)->content, f->content);
    return true;
}

void
template_texts_done(struct template_texts *t)
{
    for (size_t i = 0; i < t->n; i++) {
        free(t->items[i].label);
        buf_done(&t->items[i].content);
    }
    free(t->items);
    *t = (struct template_texts){0};
}
