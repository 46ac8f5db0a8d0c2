#include "ctl/define.h"

#include "shared/render.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FILE_MAX = 16 << 20, NAMES_MAX = 64 };

/* --- files ---------------------------------------------------------------------------- */

const char *
define_file_name(const char *path)
{
    return strcmp(path, "-") == 0 ? "stdin" : path;
}

bool
define_file(const char *path, size_t max, struct buf *out, struct err *e)
{
    char block[8192];
    ssize_t n = -1;
    bool is_stdin = strcmp(path, "-") == 0;
    int fd = is_stdin ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    while (fd >= 0 && out->len <= max && (n = read(fd, block, sizeof block)) > 0) {
        buf_add(out, block, (size_t)n);
    }
    int code = errno;
    if (fd >= 0 && !is_stdin) {
        (void)close(fd);
    }
    if (fd < 0 || n < 0) {
        return err_set(e, ERR_INPUT, "%.200s: %s", define_file_name(path), strerror(code));
    }
    return out->len <= max || err_set(e, ERR_INPUT, "%.200s: the file has more than %zu bytes",
                                      define_file_name(path), max);
}

bool
define_load(const char *path, struct doc **ret, struct err *e)
{
    struct buf text = {0};
    *ret = NULL;
    bool ok = define_file(path, FILE_MAX, &text, e);
    if (ok && !doc_parse(text.data ? text.data : "", text.len, ret, e)) {
        char why[sizeof e->text];
        (void)snprintf(why, sizeof why, "%s", e->text);
        ok = err_set(e, ERR_INPUT, "%.150s:%.150s", define_file_name(path), why);
    }
    buf_done(&text);
    if (ok && doc_type(*ret) != DOC_OBJECT) {
        doc_free(*ret);
        *ret = NULL;
        ok = err_set(e, ERR_INPUT, "%.200s:1:1: a definition is one object: {\"name\": ...}",
                     define_file_name(path));
    }
    return ok;
}

static bool
is_in(const char *const *list, const char *word)
{
    for (; *list; list++) {
        if (strcmp(*list, word) == 0) {
            return true;
        }
    }
    return false;
}

bool
define_alone(const struct flag *flags, const char *const *beside, const void *values, struct err *e)
{
    for (const struct flag *f = flags; f->name; f++) {
        if (!is_in(beside, f->name) && !flag_is_unset(f, values)) {
            return err_set(e, ERR_INPUT,
                           "--%s: with --file the whole definition stands in the file; write it "
                           "there",
                           f->name);
        }
    }
    return true;
}

/* --- members -------------------------------------------------------------------------- */

const char *
define_place(bool json, const char *member, char out[DEFINE_PLACE])
{
    const char *dot = strrchr(member, '.');
    (void)snprintf(out, DEFINE_PLACE, "%s%s", json ? "" : "--", json || !dot ? member : dot + 1);
    for (char *p = out; !json && *p; p++) {
        *p = *p == '_' ? '-' : *p;
    }
    return out;
}

static bool
at(const char *path, const char *key, struct err *e)
{
    return err_wrap(e, "%s%s%.40s", path, *path ? "." : "", key);
}

static bool
unknown(const char *key, const char *const *simple, const char *const *other, struct err *e)
{
    const char *names[NAMES_MAX + 1] = {0};
    struct buf all = {0};
    size_t n = 0;
    for (; *simple && n < NAMES_MAX; simple++) {
        names[n++] = *simple;
    }
    for (; *other && n < NAMES_MAX; other++) {
        names[n++] = *other;
    }
    for (size_t i = 0; i < n; i++) {
        buf_addf(&all, "%s%s", i ? ", " : "", names[i]);
    }
    const char *near = flag_nearest(key, names);
    (void)err_set(e, ERR_INPUT, "unknown member%s%.200s%s",
                  near ? " (did you mean " : "; there are ", near ? near : all.data,
                  near ? "?)" : "");
    buf_done(&all);
    return false;
}

static const char *
kind_wanted(const struct flag *f)
{
    switch (f->type) {
    case FLAG_INT:
        return "a whole number";
    case FLAG_MS:
        return "a duration in quotes, like \"250ms\", \"5s\", \"10m\", \"2h\", \"1d\"";
    case FLAG_GAP:
        return "text like \"5s..15s\"";
    case FLAG_BATCH:
        return "text like \"20/10m\"";
    case FLAG_BOOL:
    case FLAG_TEXT:
    case FLAG_WORD:
    case FLAG_TIME:
    case FLAG_QUIET:
    case FLAG_LIST:
        break;
    }
    return f->words && strcmp(f->words, "yes|no") == 0 ? "true or false" : "text in quotes";
}

static bool
member(const struct flag *f, const struct doc *v, void *values, struct err *e)
{
    char number[24];
    enum doc_type type = doc_type(v);
    bool is_yes = f->type == FLAG_WORD && strcmp(f->words, "yes|no") == 0;
    if (type == DOC_NULL) {
        return true; /* as good as missing */
    }
    if (type == DOC_BOOL && is_yes) {
        return flag_set(f, doc_int(v) ? "yes" : "no", values, e);
    }
    if (type == DOC_INT && f->type == FLAG_INT) {
        (void)snprintf(number, sizeof number, "%" PRId64, doc_int(v));
        return flag_set(f, number, values, e);
    }
    if (type == DOC_STR && f->type != FLAG_INT && !is_yes) {
        return flag_set(f, doc_str(v), values, e);
    }
    return err_set(e, ERR_INPUT, "has to be %s", kind_wanted(f));
}

bool
define_members(const struct doc *object, const char *path, const struct flag *flags,
               const char *const *simple, const char *const *other, void *values, struct err *e)
{
    const char *key;
    if (doc_type(object) != DOC_OBJECT) {
        return err_set(e, ERR_INPUT, "%s: has to be an object {...}", path);
    }
    for (size_t i = 0; (key = doc_key(object, i)); i++) {
        if (is_in(other, key)) {
            continue;
        }
        const struct flag *f = is_in(simple, key) ? flag_find(flags, key) : NULL;
        if (!(f ? member(f, doc_get(object, key), values, e) : unknown(key, simple, other, e))) {
            return at(path, key, e);
        }
    }
    return true;
}

void
define_put(const struct flag *flags, const char *const *simple, const void *values,
           struct doc *object)
{
    struct buf text = {0};
    for (; *simple; simple++) {
        const struct flag *f = flag_find(flags, *simple);
        buf_clear(&text);
        if (!f || flag_is_unset(f, values)) {
            continue;
        }
        flag_write(f, values, &text);
        if (f->type == FLAG_INT) {
            doc_put_int(object, *simple, strtoll(text.data, NULL, 10));
        } else if (f->type == FLAG_WORD && strcmp(f->words, "yes|no") == 0) {
            doc_put_bool(object, *simple, strcmp(text.data, "yes") == 0);
        } else {
            doc_put_strn(object, *simple, text.data ? text.data : "", text.len);
        }
    }
    buf_done(&text);
}

/* --- what values have to be ----------------------------------------------------------- */

/* UTF-8 without control characters. */
static bool
is_line(const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f) {
            return false;
        }
    }
    return render_bad_utf8(text, n) == n;
}

bool
define_name(const char *place, const char *name, const char *what, struct err *e)
{
    size_t n = strlen(name);
    return (n && n <= DEFINE_NAME && is_line(name, n)) ||
           err_set(e, ERR_INPUT, "%s: a %s's name has 1 to %d bytes of UTF-8 in one line", place,
                   what, DEFINE_NAME);
}

bool
define_word(const char *place, const char *word, struct err *e)
{
    size_t n = word ? strlen(word) : 0;
    return (n <= DEFINE_WORD && (!n || is_line(word, n))) ||
           err_set(e, ERR_INPUT, "%s: has at most %d bytes of UTF-8 in one line", place,
                   DEFINE_WORD);
}

bool
define_content(const char *place, const char *text, size_t len, struct err *e)
{
    if (!len) {
        return err_set(e, ERR_INPUT, "%s: the message is empty", place);
    }
    if (!render_check(text, len, e)) {
        return err_wrap(e, "%s", place);
    }
    return len <= DEFINE_CONTENT ||
           err_set(e, ERR_INPUT, "%s: the message has more than %d bytes", place, DEFINE_CONTENT);
}

bool
define_seconds(const char *place, int64_t ms, struct err *e)
{
    return ms == FLAG_UNSET || ms % 1000 == 0 ||
           err_set(e, ERR_INPUT, "%s: %" PRId64 "ms are no whole seconds; write it like 5s, 10m",
                   place, ms);
}

/* --- pace ----------------------------------------------------------------------------- */

const char *const define_pace_members[] = {"gap",          "batch",      "max_lateness",
                                           "max_attempts", "on_unknown", NULL};

bool
define_pace_check(bool json, struct define_pace *p, struct err *e)
{
    char place[DEFINE_PLACE];
    p->max_attempts = p->max_attempts == FLAG_UNSET ? 5 : p->max_attempts;
    p->on_unknown = p->on_unknown ? p->on_unknown : "hold";
    return define_seconds(define_place(json, "max_lateness", place), p->max_lateness, e);
}

static void
put_value(struct sql *q, const char *assign, int64_t v)
{
    if (v != FLAG_UNSET) {
        sql_text(q, assign);
        sql_int(q, v);
    }
}

void
define_pace_sql(const struct define_pace *p, struct sql *q)
{
    put_value(q, ", min_gap_ms = ", p->gap.a);
    put_value(q, ", max_gap_ms = ", p->gap.b);
    put_value(q, ", batch_size = ", p->batch.a);
    put_value(q, ", batch_pause_ms = ", p->batch.b);
    if (p->max_lateness != FLAG_UNSET) {
        put_value(q, ", max_lateness_s = ", p->max_lateness / 1000);
    }
    sql_addf(q, ", max_attempts = %" PRId64 ", on_unknown = %s", p->max_attempts, p->on_unknown);
}

static int64_t
value_or_unset(const struct rows *r, unsigned column)
{
    return r->field[column] ? rows_int(r, column) : FLAG_UNSET;
}

void
define_pace_read(const struct rows *r, unsigned at_column, struct define_pace *ret)
{
    int64_t lateness = rows_int(r, at_column + 4);
    *ret = (struct define_pace){
        .gap = {value_or_unset(r, at_column), value_or_unset(r, at_column + 1)},
        .batch = {value_or_unset(r, at_column + 2), value_or_unset(r, at_column + 3)},
        .max_lateness = lateness ? lateness : FLAG_UNSET,
        .max_attempts = rows_int(r, at_column + 5),
        .on_unknown = rows_str(r, at_column + 6),
    };
}
