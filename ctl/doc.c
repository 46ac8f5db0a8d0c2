#include "ctl/doc.h"

#include "shared/render.h"

#include <stdlib.h>
#include <string.h>

#include <jansson.h>

enum { EXACT_BITS = 53 };

/* struct doc is json_t under a name that headers may use. */
static json_t *
value_of(struct doc *d)
{
    return (json_t *)(void *)d;
}

static const json_t *
reading(const struct doc *d)
{
    return (const json_t *)(const void *)d;
}

static struct doc *
doc_of(json_t *v)
{
    if (!v) {
        (void)fputs("paceline: out of memory\n", stderr);
        abort();
    }
    return (struct doc *)(void *)v;
}

struct doc *
doc_object(void)
{
    return doc_of(json_object());
}

struct doc *
doc_list(void)
{
    return doc_of(json_array());
}

void
doc_free(struct doc *d)
{
    json_decref(value_of(d));
}

bool
doc_parse(const char *text, size_t len, struct doc **ret, struct err *e)
{
    json_error_t why;
    if (!text[strspn(text, " \t\r\n")]) {
        *ret = NULL;
        return err_set(e, ERR_INPUT, "1:1: there is nothing in it");
    }
    json_t *v = json_loadb(text, len, JSON_REJECT_DUPLICATES, &why);
    *ret = (struct doc *)(void *)v;
    return v || err_set(e, ERR_INPUT, "%d:%d: %s", why.line, why.column, why.text);
}

void
doc_put(struct doc *object, const char *key, struct doc *v)
{
    int failed = json_object_set_new_nocheck(value_of(object), key, value_of(v));
    (void)failed; /* only without memory, or for what is no object: a mistake of ours */
}

static struct doc *
text_value(const char *text, size_t len)
{
    if (!text) {
        return doc_of(json_null());
    }
    if (render_bad_utf8(text, len) == len) {
        return doc_of(json_stringn_nocheck(text, len));
    }
    char *copy = xstrndup(text, len);
    for (size_t bad; (bad = render_bad_utf8(copy, len)) < len;) {
        copy[bad] = '?';
    }
    struct doc *v = doc_of(json_stringn_nocheck(copy, len));
    free(copy);
    return v;
}

void
doc_put_strn(struct doc *object, const char *key, const char *text, size_t len)
{
    doc_put(object, key, text_value(text, len));
}

void
doc_put_str(struct doc *object, const char *key, const char *text)
{
    doc_put_strn(object, key, text, text ? strlen(text) : 0);
}

void
doc_put_int(struct doc *object, const char *key, int64_t v)
{
    doc_put(object, key, doc_of(json_integer(v)));
}

void
doc_put_id(struct doc *object, const char *key, uint64_t id)
{
    if (id >> EXACT_BITS) {
        char text[24];
        (void)snprintf(text, sizeof text, "%llu", (unsigned long long)id);
        doc_put_str(object, key, text);
    } else {
        doc_put_int(object, key, (int64_t)id);
    }
}

void
doc_put_bool(struct doc *object, const char *key, bool v)
{
    doc_put(object, key, doc_of(json_boolean(v)));
}

struct doc *
doc_put_object(struct doc *object, const char *key)
{
    struct doc *child = doc_object();
    doc_put(object, key, child);
    return child;
}

struct doc *
doc_put_list(struct doc *object, const char *key)
{
    struct doc *child = doc_list();
    doc_put(object, key, child);
    return child;
}

static struct doc *
append(struct doc *list, struct doc *child)
{
    int failed = json_array_append_new(value_of(list), value_of(child));
    (void)failed;
    return child;
}

struct doc *
doc_append(struct doc *list)
{
    return append(list, doc_object());
}

void
doc_append_str(struct doc *list, const char *text)
{
    (void)append(list, text_value(text, strlen(text)));
}

void
doc_append_int(struct doc *list, int64_t v)
{
    (void)append(list, doc_of(json_integer(v)));
}

void
doc_put_copy(struct doc *object, const char *key, const struct doc *v)
{
    doc_put(object, key, doc_of(json_deep_copy(reading(v))));
}

void
doc_append_copy(struct doc *list, const struct doc *v)
{
    (void)append(list, doc_of(json_deep_copy(reading(v))));
}

enum doc_type
doc_type(const struct doc *d)
{
    const json_t *v = reading(d);
    return json_is_object(v)    ? DOC_OBJECT
           : json_is_array(v)   ? DOC_LIST
           : json_is_string(v)  ? DOC_STR
           : json_is_integer(v) ? DOC_INT
           : json_is_real(v)    ? DOC_REAL
           : json_is_boolean(v) ? DOC_BOOL
                                : DOC_NULL;
}

size_t
doc_len(const struct doc *list)
{
    const json_t *v = reading(list);
    return json_is_object(v) ? json_object_size(v) : json_array_size(v);
}

const struct doc *
doc_at(const struct doc *list, size_t i)
{
    return (const struct doc *)(void *)json_array_get(reading(list), i);
}

const struct doc *
doc_get(const struct doc *object, const char *key)
{
    return (const struct doc *)(void *)json_object_get(reading(object), key);
}

const char *
doc_key(const struct doc *object, size_t i)
{
    const char *key;
    json_t *all = value_of((struct doc *)(uintptr_t)object), *v;
    json_object_foreach(all, key, v)
    {
        if (i-- == 0) {
            return key;
        }
    }
    return NULL;
}

const char *
doc_str(const struct doc *d)
{
    const char *text = json_string_value(reading(d));
    return text ? text : "";
}

int64_t
doc_int(const struct doc *d)
{
    return json_is_true(reading(d)) ? 1 : json_integer_value(reading(d));
}

static int
add_text(const char *text, size_t n, void *arg)
{
    buf_add(arg, text, n);
    return 0;
}

void
doc_write(const struct doc *d, struct buf *out)
{
    int failed = json_dump_callback(reading(d), add_text, out, JSON_COMPACT | JSON_ENCODE_ANY);
    (void)failed;
}

bool
doc_print(const struct doc *d, FILE *f)
{
    return json_dumpf(reading(d), f, JSON_INDENT(2)) == 0 && fputc('\n', f) != EOF;
}
