#include "shared/approved.h"

#include "shared/render.h"

#include <stdio.h>
#include <string.h>

#include <jansson.h>

enum { NAME_MAX_BYTES = 512, LANGUAGE_MAX_BYTES = 15, BLANKS_MAX = 4, INDEX_MAX = 9 };

bool
approved_value_check(const char *text, size_t len, struct err *e)
{
    size_t blanks = 0;
    for (size_t i = 0; i < len; i++) {
        if (text[i] == '\n' || text[i] == '\r' || text[i] == '\t') {
            return err_set(e, ERR_INPUT,
                           "byte %zu is %s, which no parameter of a template may have", i + 1,
                           text[i] == '\t' ? "a tab" : "a line end");
        }
        blanks = text[i] == ' ' ? blanks + 1 : 0;
        if (blanks > BLANKS_MAX) {
            return err_set(e, ERR_INPUT,
                           "byte %zu is the fifth blank in a row; four are the most in a parameter "
                           "of a template",
                           i + 1);
        }
    }
    return true;
}

struct reading {
    bool strict;
    struct err *e;
};

static bool
check_names(const struct reading *r, json_t *object, const char *const *known, const char *place)
{
    const char *key;
    json_t *v;
    if (!r->strict) {
        return true;
    }
    json_object_foreach(object, key, v)
    {
        const char *const *k = known;
        while (*k && strcmp(*k, key) != 0) {
            k++;
        }
        if (!*k) {
            return err_set(r->e, ERR_INPUT, "%s.%.40s: unknown member", place, key);
        }
    }
    return true;
}

/* NULL for what is no text without NUL. */
static const char *
text_of(const json_t *v)
{
    return json_is_string(v) && strlen(json_string_value(v)) == json_string_length(v)
               ? json_string_value(v)
               : NULL;
}

static bool
read_value(const struct reading *r, const json_t *v, const char *place, const char **ret)
{
    *ret = text_of(v);
    if (!*ret) {
        return err_set(r->e, ERR_INPUT, "%s: has to be text in quotes", place);
    }
    size_t n = strlen(*ret);
    if (!r->strict) {
        return true;
    }
    if (n == 0) {
        return err_set(r->e, ERR_INPUT, "%s: is empty; no parameter of a template may be", place);
    }
    return (render_check(*ret, n, r->e) && approved_value_check(*ret, n, r->e)) ||
           err_wrap(r->e, "%s", place);
}

static bool
is_made_of(const char *text, size_t max, const char *set)
{
    size_t n = text ? strlen(text) : 0;
    return n && n <= max && strspn(text, set) == n;
}

#define SMALL "abcdefghijklmnopqrstuvwxyz"
#define LARGE "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

static bool
read_names(const struct reading *r, const json_t *root, struct approved *a)
{
    a->name = text_of(json_object_get(root, "name"));
    a->language = text_of(json_object_get(root, "language"));
    if (!is_made_of(a->name, NAME_MAX_BYTES, SMALL "0123456789_")) {
        return err_set(r->e, ERR_INPUT,
                       "template.name: has to be the approved template's name, of a-z, 0-9 and _");
    }
    return is_made_of(a->language, LANGUAGE_MAX_BYTES, SMALL LARGE "_") ||
           err_set(r->e, ERR_INPUT,
                   "template.language: has to be the code it was approved for, like ms, id or "
                   "en_US");
}

static bool
too_many(const struct reading *r, const char *place, int max)
{
    return err_set(r->e, ERR_INPUT, "%s: more than %d", place, max);
}

static bool
read_list(const struct reading *r, const json_t *body, struct approved *a)
{
    char place[96];
    if (json_array_size(body) > APPROVED_BODY_MAX) {
        return too_many(r, "template.body", APPROVED_BODY_MAX);
    }
    for (size_t i = 0; i < json_array_size(body); i++) {
        (void)snprintf(place, sizeof place, "template.body[%zu]", i);
        if (!read_value(r, json_array_get(body, i), place, &a->body[i].text)) {
            return false;
        }
        a->n_body++;
    }
    return true;
}

static bool
read_body(const struct reading *r, json_t *body, struct approved *a)
{
    char place[96];
    const char *key;
    json_t *v;
    if (!body || json_is_null(body)) {
        return true;
    }
    if (json_is_array(body)) {
        return read_list(r, body, a);
    }
    if (!json_is_object(body)) {
        return err_set(r->e, ERR_INPUT,
                       "template.body: has to be a list, [\"..\"], or of named parameters an "
                       "object, {\"first_name\": \"..\"}");
    }
    if (json_object_size(body) > APPROVED_BODY_MAX) {
        return too_many(r, "template.body", APPROVED_BODY_MAX);
    }
    json_object_foreach(body, key, v)
    {
        (void)snprintf(place, sizeof place, "template.body.%.60s", key);
        if (!is_made_of(key, 64, SMALL "0123456789_")) {
            return err_set(r->e, ERR_INPUT, "%s: a parameter's name is of a-z, 0-9 and _", place);
        }
        a->body[a->n_body].name = key;
        if (!read_value(r, v, place, &a->body[a->n_body++].text)) {
            return false;
        }
    }
    return true;
}

static bool
read_button(const struct reading *r, json_t *v, const char *place, struct approved_button *b)
{
    static const char *const known[] = {"index", "type", "value", NULL};
    char member[112];
    const json_t *index = json_object_get(v, "index");
    const char *type = text_of(json_object_get(v, "type"));
    if (!json_is_object(v)) {
        return err_set(r->e, ERR_INPUT, "%s: has to be an object", place);
    }
    if (!check_names(r, v, known, place)) {
        return false;
    }
    if (!json_is_integer(index) || json_integer_value(index) < 0 ||
        json_integer_value(index) > INDEX_MAX) {
        return err_set(r->e, ERR_INPUT, "%s.index: has to be a number from 0 to %d", place,
                       INDEX_MAX);
    }
    b->index = (int)json_integer_value(index);
    b->url = type && strcmp(type, "url") == 0;
    if (!type || (!b->url && strcmp(type, "quick_reply") != 0)) {
        return err_set(r->e, ERR_INPUT, "%s.type: has to be url or quick_reply", place);
    }
    (void)snprintf(member, sizeof member, "%s.value", place);
    return read_value(r, json_object_get(v, "value"), member, &b->value);
}

static bool
read_buttons(const struct reading *r, const json_t *list, struct approved *a)
{
    char place[96];
    if (!list || json_is_null(list)) {
        return true;
    }
    if (!json_is_array(list)) {
        return err_set(r->e, ERR_INPUT, "template.buttons: has to be a list");
    }
    if (json_array_size(list) > APPROVED_BUTTONS_MAX) {
        return too_many(r, "template.buttons", APPROVED_BUTTONS_MAX);
    }
    for (size_t i = 0; i < json_array_size(list); i++) {
        struct approved_button *b = &a->buttons[i];
        (void)snprintf(place, sizeof place, "template.buttons[%zu]", i);
        if (!read_button(r, json_array_get(list, i), place, b)) {
            return false;
        }
        for (size_t k = 0; k < i; k++) {
            if (a->buttons[k].index == b->index) {
                return err_set(r->e, ERR_INPUT, "%s.index: %d has a value already", place,
                               b->index);
            }
        }
        a->n_buttons++;
    }
    return true;
}

static bool
read_all(const struct reading *r, json_t *root, struct approved *a)
{
    static const char *const known[] = {"name", "language", "header", "body", "buttons", NULL};
    const json_t *header = json_object_get(root, "header");
    return check_names(r, root, known, "template") && read_names(r, root, a) &&
           (!header || json_is_null(header) ||
            read_value(r, header, "template.header", &a->header)) &&
           read_body(r, json_object_get(root, "body"), a) &&
           read_buttons(r, json_object_get(root, "buttons"), a);
}

bool
approved_parse(const char *json, size_t len, bool strict, struct approved *ret, struct err *e)
{
    struct reading r = {strict, e};
    json_error_t where;
    *ret = (struct approved){0};
    if (len > APPROVED_JSON_MAX) {
        return err_set(e, ERR_INPUT, "template: has %zu bytes; %d are the most", len,
                       APPROVED_JSON_MAX);
    }
    json_t *root = json_loadb(json, len, JSON_REJECT_DUPLICATES, &where);
    if (!root) {
        return err_set(e, ERR_INPUT, "template: no JSON, %d:%d: %.150s", where.line, where.column,
                       where.text);
    }
    ret->document = root;
    bool ok =
        json_is_object(root) ||
        err_set(e, ERR_INPUT, "template: has to be an object: {\"name\": .., \"language\": ..}");
    ok = ok && read_all(&r, root, ret);
    if (!ok) {
        approved_done(ret);
    }
    return ok;
}

void
approved_done(struct approved *a)
{
    json_decref(a->document);
    *a = (struct approved){0};
}
