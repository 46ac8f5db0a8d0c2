#include "worker/parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool
parts_read(const struct job *j, struct parts **ret, struct err *e)
{
    *ret = NULL;
    if (!j->media.len && !j->template_json.len) {
        return true;
    }
    struct parts *p = xcalloc(1, sizeof *p);
    p->has_media = j->media.len > 0;
    p->has_template = j->template_json.len > 0;
    if ((p->has_media && !media_parse(j->media.s, j->media.len, false, &p->ref, e)) ||
        (p->has_template &&
         !approved_parse(j->template_json.s, j->template_json.len, false, &p->approved, e))) {
        parts_free(p);
        return false;
    }
    *ret = p;
    return true;
}

void
parts_free(struct parts *p)
{
    if (p && p->content) {
        content_release(p->content);
    }
    if (p) {
        approved_done(&p->approved);
        buf_done(&p->texts);
    }
    free(p);
}

/* --- the template's values ------------------------------------------------------------ */

struct rendering {
    struct parts *p;
    struct composer *composer;
    struct compose_message message;
    size_t at[APPROVED_BODY_MAX + APPROVED_BUTTONS_MAX + 1]; /* in p->texts, which moves */
    size_t n;
    struct err *e;
};

static bool
render_one(struct rendering *r, const char *text)
{
    struct buf *out = &r->p->texts;
    size_t from = out->len;
    r->message.template_text = text;
    r->message.template_len = strlen(text);
    r->at[r->n++] = from;
    if (!compose(r->composer, &r->message, out, NULL, r->e)) {
        return false;
    }
    if (out->len == from) {
        return err_set(r->e, ERR_INPUT, "is empty for this recipient; give its variable a default");
    }
    if (!approved_value_check(out->data + from, out->len - from, r->e)) {
        return false;
    }
    buf_add(out, "", 1);
    return true;
}

static bool
render_values(struct rendering *r)
{
    const struct approved *a = &r->p->approved;
    if (a->header && !render_one(r, a->header)) {
        return err_wrap(r->e, "template.header");
    }
    for (size_t i = 0; i < a->n_body; i++) {
        if (!render_one(r, a->body[i].text)) {
            return err_wrap(r->e, "template.body[%zu]", i);
        }
    }
    for (size_t i = 0; i < a->n_buttons; i++) {
        if (!render_one(r, a->buttons[i].value)) {
            return err_wrap(r->e, "template.buttons[%zu].value", i);
        }
    }
    return true;
}

static void
point(struct rendering *r)
{
    struct parts *p = r->p;
    const struct approved *a = &p->approved;
    size_t n = 0;
    p->template = (struct message_template){.name = a->name,
                                            .language = a->language,
                                            .body = p->body,
                                            .n_body = a->n_body,
                                            .buttons = p->buttons,
                                            .n_buttons = a->n_buttons};
    if (a->header) {
        p->template.header = p->texts.data + r->at[n++];
    }
    for (size_t i = 0; i < a->n_body; i++) {
        p->body[i] = (struct template_value){a->body[i].name, p->texts.data + r->at[n++]};
    }
    for (size_t i = 0; i < a->n_buttons; i++) {
        const struct approved_button *b = &a->buttons[i];
        p->buttons[i] = (struct template_button){b->index, b->url, p->texts.data + r->at[n++]};
    }
}

bool
parts_render(struct parts *p, struct composer *c, const struct compose_message *m, struct err *e)
{
    struct rendering r = {.p = p, .composer = c, .message = *m, .e = e};
    if (!p->has_template) {
        return true;
    }
    if (!render_values(&r)) {
        return false;
    }
    point(&r);
    return true;
}

/* --- the sender ----------------------------------------------------------------------- */

bool
parts_fit(struct parts *p, unsigned can, struct err *e)
{
    char why[200];
    if (p->has_template && !(can & CAN_TEMPLATE)) {
        return err_set(e, ERR_INPUT, "sends no approved templates");
    }
    if (!p->has_media) {
        return true;
    }
    p->way = media_plan_way(&p->ref, can, why);
    if (p->way == WAY_NONE) {
        return err_set(e, ERR_INPUT, "%s", why);
    }
    p->media = (struct media){.kind = p->ref.kind,
                              .url = p->way == WAY_URL ? p->ref.url : NULL,
                              .mime = *p->ref.mime ? p->ref.mime : NULL,
                              .filename = *p->ref.filename ? p->ref.filename : NULL};
    return true;
}
