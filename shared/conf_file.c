#include "shared/conf_private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
    FILE_LIMIT = 1 << 20, /* bytes of a config file */
    SECTION_LIMIT = 1000, /* sections of a file */
    PAIR_LIMIT = 1000,    /* keys of a section */
};

static const char *const blanks = " \t\r";

bool
conf_read_text(const char *path, size_t limit, struct buf *out, struct err *e)
{
    FILE *f = fopen(path, "re");
    if (!f) {
        return err_set(e, ERR_INPUT, "%s: %s", path, strerror(errno));
    }
    buf_clear(out);
    buf_reserve(out, limit + 1);
    errno = 0;
    out->len = fread(out->data, 1, limit + 1, f);
    out->data[out->len] = '\0';
    int error = ferror(f) ? errno : 0;
    (void)fclose(f);
    if (error) {
        return err_set(e, ERR_INPUT, "%s: %s", path, strerror(error));
    }
    if (out->len > limit) {
        return err_set(e, ERR_INPUT, "%s: longer than %zu bytes", path, limit);
    }
    if (strlen(out->data) != out->len) {
        return err_set(e, ERR_INPUT, "%s: holds a NUL byte, so it is no text", path);
    }
    return true;
}

struct reader {
    const char *path;
    int line;
    struct conf_section *sections;
    size_t n, cap;
    size_t pair_cap; /* of the last section */
    struct err *e;
};

static bool
refuse(struct reader *r, const char *why)
{
    return err_set(r->e, ERR_INPUT, "%s:%d: %s", r->path, r->line, why);
}

static void
add_section(struct reader *r, char *kind, char *name)
{
    VEC_GROW(r->sections, r->n, r->cap);
    r->sections[r->n++] =
        (struct conf_section){.kind = kind, .name = name, .line = r->line, .file = r->path};
    r->pair_cap = 0;
}

static char *
skip_blanks(char *s)
{
    return s + strspn(s, blanks);
}

/* The length of a run of letters, digits and _ - . */
static size_t
word_length(const char *s)
{
    return strspn(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-.");
}

static bool
is_end(const char *s)
{
    return !*s || *s == '#' || *s == ';';
}

/* "[kind NAME]", or several names; s stands behind the bracket. */
static bool
read_header(struct reader *r, char *s)
{
    struct buf words = {0};
    size_t kind_len = 0;
    bool ok = true;
    for (s = skip_blanks(s); ok && *s != ']'; s = skip_blanks(s)) {
        size_t n = word_length(s);
        ok = n > 0;
        if (ok && words.len) {
            buf_adds(&words, " ");
        }
        buf_add(&words, s, n);
        kind_len = kind_len ? kind_len : n;
        s += n;
    }
    ok = ok && kind_len && is_end(skip_blanks(s + 1));
    if (!ok) {
        refuse(r, "malformed section header (write [kind NAME])");
    } else if (r->n > SECTION_LIMIT) {
        ok = refuse(r, "too many sections");
    } else {
        add_section(r, xstrndup(words.data, kind_len),
                    xstrdup(words.data + kind_len + strspn(words.data + kind_len, " ")));
    }
    buf_done(&words);
    return ok;
}

/* A quoted value, unescaped in place; s stands behind the opening quote. */
static bool
read_quoted(struct reader *r, char *s, char **ret)
{
    char *to = *ret = s;
    for (; *s && *s != '"'; s++) {
        char c = *s;
        if (c == '\\') {
            static const char codes[] = "nt\"\\", meant[] = "\n\t\"\\";
            const char *code = *++s ? strchr(codes, *s) : NULL;
            if (!code) {
                return refuse(r, "unknown escape in a quoted value (known: \\n \\t \\\" \\\\)");
            }
            c = meant[code - codes];
        }
        *to++ = c;
    }
    if (!*s) {
        return refuse(r, "the closing quote is missing");
    }
    if (!is_end(skip_blanks(s + 1))) {
        return refuse(r, "text behind the closing quote");
    }
    *to = '\0';
    return true;
}

/* An unquoted value ends with the line or with a comment, which a blank must precede. */
static char *
read_plain(char *s)
{
    char *end = s;
    for (char *p = s; *p; p++) {
        bool blank = strchr(blanks, *p) != NULL;
        if (is_end(p) && (p == s || strchr(blanks, p[-1]))) {
            break;
        }
        end = blank ? end : p + 1;
    }
    *end = '\0';
    return s;
}

static bool
read_pair(struct reader *r, char *s)
{
    struct conf_section *in = &r->sections[r->n - 1];
    size_t n = word_length(s);
    char *equals = skip_blanks(s + n);
    if (!n || *equals != '=') {
        return refuse(r, "neither a comment nor a [section] nor `key = value`");
    }
    for (size_t i = 0; i < in->n_pairs; i++) {
        if (strncmp(in->pairs[i].key, s, n) == 0 && !in->pairs[i].key[n]) {
            return err_set(r->e, ERR_INPUT, "%s:%d: %s: already set in line %d", r->path, r->line,
                           in->pairs[i].key, in->pairs[i].line);
        }
    }
    if (in->n_pairs == PAIR_LIMIT) {
        return refuse(r, "too many keys in this section");
    }
    char *value = skip_blanks(equals + 1);
    if (*value != '"') {
        value = read_plain(value);
    } else if (!read_quoted(r, value + 1, &value)) {
        return false;
    }
    VEC_GROW(in->pairs, in->n_pairs, r->pair_cap);
    in->pairs[in->n_pairs++] = (struct conf_pair){xstrndup(s, n), xstrdup(value), r->line};
    return true;
}

static bool
read_lines(struct reader *r, char *text)
{
    static const char mark[] = "\xef\xbb\xbf"; /* the UTF-8 byte order mark of some editors */
    text += text && strncmp(text, mark, sizeof mark - 1) == 0 ? sizeof mark - 1 : 0;
    for (char *next; text; text = next) {
        next = strchr(text, '\n');
        if (next) {
            *next++ = '\0';
        }
        r->line++;
        char *s = skip_blanks(text);
        if (!is_end(s) && !(*s == '[' ? read_header(r, s + 1) : read_pair(r, s))) {
            return false;
        }
    }
    return true;
}

bool
conf_read_sections(const char *path, struct conf_section **ret, size_t *ret_n, struct err *e)
{
    struct buf text = {0};
    struct reader r = {.path = path, .e = e};
    add_section(&r, xstrdup(""), xstrdup(""));
    bool ok = conf_read_text(path, FILE_LIMIT, &text, e) && read_lines(&r, text.data);
    buf_done(&text);
    if (!ok) {
        for (size_t i = 0; i < r.n; i++) {
            conf_section_done(&r.sections[i]);
        }
        free(r.sections);
        return false;
    }
    *ret = r.sections;
    *ret_n = r.n;
    return true;
}

void
conf_section_done(struct conf_section *s)
{
    for (size_t i = 0; i < s->n_pairs; i++) {
        free(s->pairs[i].key);
        free(s->pairs[i].value);
    }
    free(s->pairs);
    free(s->kind);
    free(s->name);
}
