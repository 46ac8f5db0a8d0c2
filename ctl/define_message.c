#include "ctl/define_message.h"

#include "ctl/media_input.h"
#include "ctl/media_store.h"
#include "shared/approved.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void
define_message_done(struct define_message *m)
{
    buf_done(&m->media);
    buf_done(&m->template_json);
    *m = (struct define_message){0};
}

bool
define_message_has(const struct message_flags *f)
{
    return f->image || f->video || f->audio || f->document || f->template;
}

static bool
is_there(const struct doc *v)
{
    return v && doc_type(v) != DOC_NULL;
}

bool
define_message_in(const struct doc *object)
{
    return is_there(doc_get(object, "media")) || is_there(doc_get(object, "template"));
}

bool
define_message_content(const char *place, const char *text, size_t len, bool others, struct err *e)
{
    return (!len && others) || define_content(place, text, len, e);
}

/* --- what goes together --------------------------------------------------------------- */

static bool
check_together(const struct media_ref *m, const struct approved *a, bool has_text, struct err *e)
{
    if (a && has_text) {
        return err_set(e, ERR_INPUT,
                       "template: there is a text too, which would not be sent; leave it out");
    }
    if (m && m->kind == MEDIA_AUDIO && (a || has_text)) {
        return err_set(e, ERR_INPUT,
                       a ? "media: an audio is no template's header"
                         : "media: an audio has no caption; leave the text out");
    }
    return !(m && a && a->header) ||
           err_set(e, ERR_INPUT, "template.header: its header is the medium; leave one out");
}

static bool
set_filename(const char *name, struct media_ref *m, struct err *e)
{
    if (!media_filename_is_good(name)) {
        return err_set(e, ERR_INPUT,
                       "has to be a name of at most %d bytes in one line, without / and \\",
                       MEDIA_FILENAME_SIZE - 1);
    }
    memcpy(m->filename, name, strlen(name) + 1);
    return true;
}

static bool
take_media(const struct media_ref *m, struct define_message *ret)
{
    media_write(m, &ret->media);
    memcpy(ret->sha256, m->sha256, sizeof ret->sha256);
    return true;
}

/* --- from flags ----------------------------------------------------------------------- */

/* Which of the four flags there is; false: more than one. */
static bool
pick(const struct message_flags *f, enum media_kind *kind, const char **source, struct err *e)
{
    const char *const of[MEDIA_KINDS] = {[MEDIA_IMAGE] = f->image,
                                         [MEDIA_VIDEO] = f->video,
                                         [MEDIA_AUDIO] = f->audio,
                                         [MEDIA_DOCUMENT] = f->document};
    *source = NULL;
    for (int k = 0; k < MEDIA_KINDS; k++) {
        if (of[k] && *source) {
            return err_set(e, ERR_INPUT, "--%s: there is --%s already; a message has one medium",
                           media_kind_name((enum media_kind)k), media_kind_name(*kind));
        }
        if (of[k]) {
            *kind = (enum media_kind)k;
            *source = of[k];
        }
    }
    return *source || !f->filename || err_set(e, ERR_INPUT, "--filename: there is no medium");
}

static bool
add_named(const char *text, struct doc *body, struct err *e)
{
    const char *equals = strchr(text, '=');
    size_t n = equals ? (size_t)(equals - text) : 0;
    char *name = xstrndup(text, n);
    bool ok = n || err_set(e, ERR_INPUT, "write NAME=TEXT, like first_name={{name}}");
    ok = ok && (!doc_get(body, name) || err_set(e, ERR_INPUT, "'%.60s' has a value already", name));
    if (ok) {
        doc_put_str(body, name, equals + 1);
    }
    free(name);
    return ok;
}

static bool
add_button(const char *text, struct doc *buttons, struct err *e)
{
    const char *colon = strchr(text, ':'), *second = colon ? strchr(colon + 1, ':') : NULL;
    if (!second || !isdigit((unsigned char)*text) || colon != text + 1) {
        return err_set(e, ERR_INPUT, "write INDEX:url|quick_reply:TEXT, like 0:url:?code=7");
    }
    char *type = xstrndup(colon + 1, (size_t)(second - colon - 1));
    struct doc *b = doc_append(buttons);
    doc_put_int(b, "index", *text - '0');
    doc_put_str(b, "type", type);
    doc_put_str(b, "value", second + 1);
    free(type);
    return true;
}

static bool
is_flag(const struct flag_item *item, const char *name)
{
    return strcmp(item->flag, name) == 0;
}

static bool
add_values(const struct message_flags *f, struct doc *d, struct err *e)
{
    struct doc *list = NULL, *named = NULL, *buttons = NULL;
    for (size_t i = 0; i < f->template_values.n; i++) {
        const struct flag_item *item = &f->template_values.items[i];
        bool ok = true;
        if (is_flag(item, "template-param")) {
            list = list ? list : doc_put_list(d, "body");
            doc_append_str(list, item->text);
        } else if (is_flag(item, "template-named")) {
            named = named ? named : doc_put_object(d, "body");
            ok = add_named(item->text, named, e);
        } else {
            buttons = buttons ? buttons : doc_put_list(d, "buttons");
            ok = add_button(item->text, buttons, e);
        }
        if (ok && list && named) {
            ok =
                err_set(e, ERR_INPUT, "a template has either --template-param or --template-named");
        }
        if (!ok) {
            return err_wrap(e, "--%s", item->flag);
        }
    }
    return true;
}

/* Either NAME and its flags, or the whole as JSON. */
static bool
build_template(const struct message_flags *f, struct buf *out, struct err *e)
{
    bool others = f->template_language || f->template_header || f->template_values.n;
    if (!f->template) {
        return !others || err_set(e, ERR_INPUT, "--template: is missing; name the template");
    }
    if (*f->template == '{') {
        buf_adds(out, f->template);
        return !others ||
               err_set(e, ERR_INPUT, "--template: the JSON holds all of it; write the rest there");
    }
    if (!f->template_language) {
        return err_set(e, ERR_INPUT,
                       "--template-language: is missing; a template is approved for one");
    }
    struct doc *d = doc_object();
    doc_put_str(d, "name", f->template);
    doc_put_str(d, "language", f->template_language);
    if (f->template_header) {
        doc_put_str(d, "header", f->template_header);
    }
    bool ok = add_values(f, d, e);
    doc_write(d, out);
    doc_free(d);
    return ok;
}

/* "template.body[1]: .." -> with "--" in front: the flags have no better place for it. */
static bool
check_template(struct define_message *m, struct approved *a, struct err *e)
{
    return !m->template_json.len ||
           approved_parse(m->template_json.data, m->template_json.len, true, a, e);
}

bool
define_message_flags(struct ctl *c, const struct message_flags *f, bool has_text,
                     struct define_message *ret, struct err *e)
{
    struct media_ref m = {0};
    struct approved a = {0};
    const char *source;
    if (!pick(f, &m.kind, &source, e)) {
        return false;
    }
    if (f->filename && !set_filename(f->filename, &m, e)) {
        return err_wrap(e, "--filename");
    }
    bool ok = build_template(f, &ret->template_json, e) && check_template(ret, &a, e) &&
              check_together(source ? &m : NULL, a.name ? &a : NULL, has_text, e);
    if (ok && source) {
        ok = (media_input(c, source, true, &m, NULL, e) && take_media(&m, ret)) ||
             err_wrap(e, "--%s", media_kind_name(m.kind));
    }
    approved_done(&a);
    return ok;
}

/* --- from JSON ------------------------------------------------------------------------ */

/* {"type": "image", "fetch": "https://..", "filename": ".."} */
static bool
fetch(struct ctl *c, const struct doc *v, struct media_ref *m, struct err *e)
{
    const char *key;
    for (size_t i = 0; (key = doc_key(v, i)); i++) {
        if (strcmp(key, "type") != 0 && strcmp(key, "fetch") != 0 && strcmp(key, "filename") != 0) {
            return err_set(e, ERR_INPUT,
                           "media.%.40s: beside fetch there are only type and filename", key);
        }
        if (doc_type(doc_get(v, key)) != DOC_STR) {
            return err_set(e, ERR_INPUT, "media.%.40s: has to be text in quotes", key);
        }
    }
    if (!media_kind_parse(doc_str(doc_get(v, "type")), &m->kind)) {
        return err_set(e, ERR_INPUT, "media.type: has to be image, video, audio or document");
    }
    if (doc_get(v, "filename") && !set_filename(doc_str(doc_get(v, "filename")), m, e)) {
        return err_wrap(e, "media.filename");
    }
    return media_input(c, doc_str(doc_get(v, "fetch")), false, m, NULL, e) ||
           err_wrap(e, "media.fetch");
}

/* The JSON of the tables. */
static bool
read_media(struct ctl *c, const struct doc *v, struct media_ref *m, struct err *e)
{
    struct buf text = {0};
    if (doc_get(v, "fetch")) {
        return true; /* later */
    }
    doc_write(v, &text);
    bool ok = media_parse(text.data, text.len, true, m, e) &&
              (!*m->sha256 || media_store_find(c, m, e) || err_wrap(e, "media.sha256"));
    buf_done(&text);
    return ok;
}

static bool
read_doc(struct ctl *c, const struct doc *object, bool has_text, struct define_message *ret,
         struct approved *a, struct err *e)
{
    const struct doc *media = doc_get(object, "media"), *template = doc_get(object, "template");
    struct media_ref m = {0};
    if (is_there(template)) {
        doc_write(template, &ret->template_json);
    }
    if (!check_template(ret, a, e) || (is_there(media) && !read_media(c, media, &m, e))) {
        return false;
    }
    bool later = is_there(media) && doc_get(media, "fetch");
    if (later && !media_kind_parse(doc_str(doc_get(media, "type")), &m.kind)) {
        return err_set(e, ERR_INPUT, "media.type: has to be image, video, audio or document");
    }
    return check_together(is_there(media) ? &m : NULL, a->name ? a : NULL, has_text, e) &&
           (!later || fetch(c, media, &m, e)) && (!is_there(media) || take_media(&m, ret));
}

bool
define_message_doc(struct ctl *c, const struct doc *object, const char *path, bool has_text,
                   struct define_message *ret, struct err *e)
{
    struct approved a = {0};
    bool ok = read_doc(c, object, has_text, ret, &a, e);
    approved_done(&a);
    if (!ok && *path) {
        char why[sizeof e->text];
        (void)snprintf(why, sizeof why, "%s", e->text);
        return err_set(e, e->kind, "%.40s.%.270s", path, why);
    }
    return ok;
}

/* --- the tables ----------------------------------------------------------------------- */

bool
define_message_hold(struct store *s, uint64_t user, const struct define_message *m, struct err *e)
{
    return !*m->sha256 || media_store_hold(s, user, m->sha256, e);
}

void
define_message_sql(const struct define_message *m, struct sql *q)
{
    sql_text(q, ", media = ");
    sql_str(q, m->media.len ? m->media.data : NULL);
    sql_text(q, ", template = ");
    sql_str(q, m->template_json.len ? m->template_json.data : NULL);
}

static void
put(struct doc *object, const char *key, const char *json)
{
    struct doc *v = NULL;
    if (json && doc_parse(json, strlen(json), &v, NULL)) {
        doc_put(object, key, v);
    } else if (json) {
        doc_put_str(object, key, json); /* somebody else wrote it; shown as it is */
    }
}

void
define_message_put(const char *media, const char *template_json, struct doc *object)
{
    put(object, "media", media);
    put(object, "template", template_json);
}

void
define_message_text(struct doc *object)
{
    static const char *const keys[] = {"media", "template"};
    for (size_t i = 0; i < 2; i++) {
        const struct doc *v = doc_get(object, keys[i]);
        struct buf text = {0};
        if (doc_type(v) == DOC_OBJECT) {
            doc_write(v, &text);
            doc_put_str(object, keys[i], text.data);
        }
        buf_done(&text);
    }
}

static void
brief_media(const char *json, struct buf *out)
{
    struct media_ref m;
    if (!media_parse(json, strlen(json), false, &m, NULL)) {
        buf_adds(out, "a medium that cannot be read");
        return;
    }
    buf_addf(out, "%s%s%s", media_kind_name(m.kind), *m.filename ? " " : "", m.filename);
    if (*m.url) {
        buf_adds(out, ", a link");
    } else if (m.size) {
        buf_addf(out, ", %lld bytes", (long long)m.size);
    }
}

void
define_message_brief(const char *media, const char *template_json, struct buf *out)
{
    struct approved a = {0};
    if (media) {
        brief_media(media, out);
    }
    if (!template_json) {
        return;
    }
    buf_adds(out, media ? "; " : "");
    if (approved_parse(template_json, strlen(template_json), false, &a, NULL)) {
        buf_addf(out, "template %s (%s)", a.name, a.language);
    } else {
        buf_adds(out, "a template that cannot be read");
    }
    approved_done(&a);
}
