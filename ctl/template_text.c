#include "ctl/template_text.h"

#include "ctl/define_message.h"
#include "shared/approved.h"
#include "shared/media.h"
#include "shared/render.h"

#include <inttypes.h>
#include <stdio.h>
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

static void
add_parameter(struct template_texts *t, const struct template_text *of, const char *what,
              const char *text)
{
    struct template_text *x = add_text(t, xasprintf("%s, %s", of->label, what), of->kind, of->id);
    x->parameter = true;
    buf_adds(&x->content, text);
}

/* Each value of the template is a text of its own. */
static void
add_parameters(struct template_texts *t, const char *json)
{
    struct template_text of = t->items[t->n - 1];
    struct approved a;
    char what[96];
    if (!approved_parse(json, strlen(json), false, &a, NULL)) {
        return;
    }
    if (a.header) {
        add_parameter(t, &of, "header", a.header);
    }
    for (size_t i = 0; i < a.n_body; i++) {
        if (a.body[i].name) {
            (void)snprintf(what, sizeof what, "body %.70s", a.body[i].name);
        } else {
            (void)snprintf(what, sizeof what, "body %zu", i + 1);
        }
        add_parameter(t, &of, what, a.body[i].text);
    }
    for (size_t i = 0; i < a.n_buttons; i++) {
        (void)snprintf(what, sizeof what, "button %d", a.buttons[i].index);
        add_parameter(t, &of, what, a.buttons[i].value);
    }
    approved_done(&a);
}

/* media and template_json: of the text that was added last; NULL: none. */
static void
add_beside(struct template_texts *t, const char *media, const char *template_json)
{
    struct template_text *x = &t->items[t->n - 1];
    struct buf beside = {0};
    define_message_brief(media, template_json, &beside);
    x->beside = beside.data;
    x->caption = media && !template_json;
    if (template_json) {
        add_parameters(t, template_json);
    }
}

static bool
read_campaign(struct ctl *c, const char *name, struct template_texts *t, struct err *e)
{
    struct found found;
    struct rows r;
    if (!ctl_user(c, false, e) || !ctl_find_source(c, SOURCE_CAMPAIGN, name, &found, e) ||
        !store_queryf(c->store, &r, e,
                      "SELECT content, media, template FROM campaigns WHERE id = %" PRIu64,
                      found.id)) {
        return false;
    }
    t->campaign = found.id;
    while (rows_next(&r)) {
        struct template_text *x =
            add_text(t, xasprintf("campaign %s", found.name), SOURCE_CAMPAIGN, found.id);
        buf_add(&x->content, rows_str(&r, 0), strlen(rows_str(&r, 0)));
        add_beside(t, r.field[1], r.field[2]);
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
        !store_queryf(
            c->store, &r, e,
            "SELECT id, position, content, media, template FROM sequence_steps WHERE sequence_id = "
            "%" PRIu64 " ORDER BY position",
            found.id)) {
        return false;
    }
    t->sequence = found.id;
    while (rows_next(&r)) {
        struct template_text *x = add_text(t, xasprintf("step %" PRIu64, rows_uint(&r, 1)),
                                           SOURCE_SEQUENCE, rows_uint(&r, 0));
        buf_add(&x->content, rows_str(&r, 2), strlen(rows_str(&r, 2)));
        add_beside(t, r.field[3], r.field[4]);
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
        free(t->items[i].beside);
        buf_done(&t->items[i].content);
    }
    free(t->items);
    *t = (struct template_texts){0};
}

int64_t
template_text_limit(const struct template_text *t, int64_t limit)
{
    enum { CAPTION_MAX = 1024 };
    return t->caption && limit > CAPTION_MAX ? CAPTION_MAX : limit;
}
