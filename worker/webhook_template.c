#include "shared/mem.h"
#include "worker/provider.h"
#include "worker/webhook.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

enum var {
    NO_VAR,
    JOB_ID,
    ATTEMPT,
    DEVICE,
    DEVICE_REF,
    RECIPIENT,
    NAME,
    TEXT,
    MEDIA_URL,
    MEDIA_TYPE,
    FILENAME
};

static const char *const var_names[] = {"",           "job_id",     "attempt", "device",
                                        "device_ref", "recipient",  "name",    "text",
                                        "media_url",  "media_type", "filename"};

/* A run of literal text, or a variable. */
struct piece {
    enum var var;
    const char *at; /* in template.text */
    size_t len;
};

struct webhook_template {
    char *text;
    enum webhook_escape escape;
    struct piece *pieces;
    size_t n, cap;
};

static size_t
place(const struct webhook_template *t, const char *at)
{
    return (size_t)(at - t->text) + 1;
}

static void
add_piece(struct webhook_template *t, enum var var, const char *at, size_t len)
{
    if (var == NO_VAR && len == 0) {
        return;
    }
    VEC_GROW(t->pieces, t->n, t->cap);
    t->pieces[t->n++] = (struct piece){var, at, len};
}

/* The length of a "{word}" at p, 0 when there is none. */
static size_t
braced(const char *p)
{
    size_t n = 1;
    while (islower((unsigned char)p[n]) || p[n] == '_') {
        n++;
    }
    return n > 1 && p[n] == '}' ? n + 1 : 0;
}

static enum var
var_of(const char *word, size_t len)
{
    for (size_t i = 1; i < sizeof var_names / sizeof *var_names; i++) {
        if (strlen(var_names[i]) == len && memcmp(var_names[i], word, len) == 0) {
            return (enum var)i;
        }
    }
    return NO_VAR;
}

/* Where literal JSON text ends. */
enum json_place { OUTSIDE, IN_STRING, IN_ESCAPE };

static enum json_place
follow_json(enum json_place at, const char *p, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (at == IN_ESCAPE) {
            at = IN_STRING;
        } else if (at == IN_STRING && p[i] == '\\') {
            at = IN_ESCAPE;
        } else if (p[i] == '"') {
            at = at == IN_STRING ? OUTSIDE : IN_STRING;
        }
    }
    return at;
}

static bool
check_place(const struct webhook_template *t, enum json_place at, enum var var, const char *p,
            struct err *e)
{
    if (at == IN_ESCAPE) {
        return err_set(e, ERR_INPUT, "character %zu: a backslash before {%s}", place(t, p),
                       var_names[var]);
    }
    return at == IN_STRING || var == ATTEMPT || var == DEVICE ||
           err_set(e, ERR_INPUT, "character %zu: {%s} must stand between quotes", place(t, p),
                   var_names[var]);
}

/* One step of split(): the brace at p.  Returns how long what it begins is, 0 on a mistake. */
static size_t
take_brace(struct webhook_template *t, const char *p, enum var *ret, struct err *e)
{
    size_t len = braced(p), inner = p[1] == '{' ? braced(p + 1) : 0;
    *ret = NO_VAR;
    if (inner && p[1 + inner] == '}') { /* the spelling of message templates */
        (void)err_set(e, ERR_INPUT, "character %zu: write %.*s", place(t, p), (int)inner, p + 1);
        return 0;
    }
    if (p[1] == '{') {
        return 2;
    }
    if (len == 0) {
        return 1;
    }
    *ret = var_of(p + 1, len - 2);
    if (*ret == NO_VAR) {
        (void)err_set(e, ERR_INPUT, "character %zu: no variable is called %.*s", place(t, p),
                      (int)(len < 40 ? len : 40), p);
        return 0;
    }
    return len;
}

static bool
split(struct webhook_template *t, struct err *e)
{
    const char *from = t->text;
    enum json_place at = OUTSIDE;
    for (const char *p = from; *p;) {
        enum var var = NO_VAR;
        size_t len = *p == '{' ? take_brace(t, p, &var, e) : 1;
        if (len == 0) {
            return false;
        }
        if (var != NO_VAR || len == 2) {
            size_t literal = (size_t)(p - from) + (var == NO_VAR); /* one of "{{" */
            at = follow_json(at, from, literal);
            if (var != NO_VAR && t->escape == ESCAPE_JSON && !check_place(t, at, var, p, e)) {
                return false;
            }
            add_piece(t, NO_VAR, from, literal);
            if (var != NO_VAR) {
                add_piece(t, var, p, len);
            }
            from = p + len;
        }
        p += len;
    }
    add_piece(t, NO_VAR, from, strlen(from));
    return true;
}

/* Where an offset into the sample text lies in the template. */
static size_t
place_of_sample(const struct webhook_template *t, size_t offset)
{
    for (size_t i = 0; i < t->n; i++) {
        /* The sample has no medium, and one character of everything else. */
        size_t len = t->pieces[i].var == NO_VAR ? t->pieces[i].len : t->pieces[i].var < MEDIA_URL;
        if (offset < len) {
            return place(t, t->pieces[i].at) + offset;
        }
        offset -= len;
    }
    return strlen(t->text) + 1;
}

/* Values of one character show whether the rest is JSON; inside a string no value can change that.
 */
static bool
check_json(const struct webhook_template *t, struct err *e)
{
    static const struct message sample = {.job_id = "x",
                                          .attempt = 1,
                                          .device_id = 1,
                                          .device_ref = "x",
                                          .recipient = "x",
                                          .name = "x",
                                          .text = "x",
                                          .text_len = 1};
    struct buf b = {0};
    json_error_t why;
    bool ok = webhook_template_expand(t, &sample, &b, e);
    if (ok) {
        json_t *root = json_loadb(b.data ? b.data : "", b.len, JSON_DECODE_ANY, &why);
        if (!root) {
            size_t at = why.position > 0 ? (size_t)why.position - 1 : 0;
            ok = err_set(e, ERR_INPUT, "character %zu: not JSON: %.100s", place_of_sample(t, at),
                         why.text);
        }
        json_decref(root);
    }
    buf_done(&b);
    return ok;
}

/* scheme://host:port must be literal: what they come from is outside the operator's hands. */
static bool
check_url(const struct webhook_template *t, struct err *e)
{
    const char *p = strstr(t->text, "://");
    size_t fixed = p ? (size_t)(p + 3 - t->text) + strcspn(p + 3, "/?#") : strlen(t->text);
    for (size_t i = 0; i < t->n; i++) {
        if (t->pieces[i].var != NO_VAR && (size_t)(t->pieces[i].at - t->text) < fixed) {
            return err_set(e, ERR_INPUT, "character %zu: {%s} must come after the host's \"/\"",
                           place(t, t->pieces[i].at), var_names[t->pieces[i].var]);
        }
    }
    return true;
}

bool
webhook_template_parse(const char *text, enum webhook_escape escape, struct webhook_template **ret,
                       struct err *e)
{
    struct webhook_template *t = xcalloc(1, sizeof *t);
    t->text = xstrdup(text);
    t->escape = escape;
    if (!split(t, e) || (escape == ESCAPE_JSON && !check_json(t, e)) ||
        (escape == ESCAPE_URL && !check_url(t, e))) {
        webhook_template_free(t);
        return false;
    }
    *ret = t;
    return true;
}

void
webhook_template_free(struct webhook_template *t)
{
    if (t) {
        free(t->pieces);
        free(t->text);
        free(t);
    }
}

bool
webhook_template_has_media_url(const struct webhook_template *t)
{
    bool has = false;
    for (size_t i = 0; t && i < t->n && !has; i++) {
        has = t->pieces[i].var == MEDIA_URL;
    }
    return has;
}

static bool
add_json(struct buf *out, const char *p, size_t len)
{
    json_t *s = json_stringn(p, len);
    char *quoted = s ? json_dumps(s, JSON_ENCODE_ANY) : NULL;
    if (quoted) {
        buf_add(out, quoted + 1, strlen(quoted) - 2);
    }
    free(quoted);
    json_decref(s);
    return quoted != NULL;
}

/* Percent-encodes all but the unreserved characters of RFC 3986; a form writes a space as "+". */
static void
add_encoded(struct buf *out, const char *p, size_t len, bool form)
{
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)p[i];
        if (isascii(c) && (isalnum(c) || strchr("-._~", c)) && c) {
            buf_add(out, p + i, 1);
        } else if (form && c == ' ') {
            buf_add(out, "+", 1);
        } else {
            buf_addf(out, "%%%02X", c);
        }
    }
}

static void
add_header(struct buf *out, const char *p, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)p[i];
        if (c >= ' ' && c < 0x7f) {
            buf_add(out, p + i, 1);
        } else {
            buf_addf(out, "%%%02X", c);
        }
    }
}

static bool
add_value(const struct webhook_template *t, enum var var, const char *p, size_t len,
          struct buf *out, struct err *e)
{
    switch (t->escape) {
    case ESCAPE_NONE:
        buf_add(out, p, len);
        return true;
    case ESCAPE_JSON:
        return add_json(out, p, len) ||
               err_set(e, ERR_INPUT, "{%s} is not valid UTF-8", var_names[var]);
    case ESCAPE_FORM:
        add_encoded(out, p, len, true);
        return true;
    case ESCAPE_URL:
        if ((len == 1 && p[0] == '.') || (len == 2 && p[0] == '.' && p[1] == '.')) {
            return err_set(e, ERR_INPUT, "{%s} would change the URL's path", var_names[var]);
        }
        add_encoded(out, p, len, false);
        return true;
    case ESCAPE_HEADER:
        add_header(out, p, len);
        return true;
    }
    return true;
}

static bool
add_var(const struct webhook_template *t, enum var var, const struct message *m, struct buf *out,
        struct err *e)
{
    const char *s = "";
    switch (var) {
    case NO_VAR:
        break;
    case JOB_ID:
        s = m->job_id;
        break;
    case ATTEMPT:
        buf_addi(out, m->attempt);
        return true;
    case DEVICE:
        buf_addf(out, "%" PRIu64, m->device_id);
        return true;
    case DEVICE_REF:
        s = m->device_ref;
        break;
    case RECIPIENT:
        s = m->recipient;
        break;
    case NAME:
        s = m->name;
        break;
    case TEXT:
        return add_value(t, var, m->text, m->text_len, out, e);
    case MEDIA_URL:
        s = m->media ? m->media->url : NULL;
        break;
    case MEDIA_TYPE:
        s = m->media ? provider_media_word(m->media->kind) : NULL;
        break;
    case FILENAME:
        s = m->media ? m->media->filename : NULL;
        break;
    }
    s = s ? s : "";
    return add_value(t, var, s, strlen(s), out, e);
}

bool
webhook_template_expand(const struct webhook_template *t, const struct message *m, struct buf *out,
                        struct err *e)
{
    size_t before = out->len;
    for (size_t i = 0; i < t->n; i++) {
        const struct piece *p = &t->pieces[i];
        if (p->var == NO_VAR) {
            buf_add(out, p->at, p->len);
        } else if (!add_var(t, p->var, m, out, e)) {
            out->len = before;
            if (out->data) {
                out->data[before] = '\0';
            }
            return false;
        }
    }
    return true;
}
