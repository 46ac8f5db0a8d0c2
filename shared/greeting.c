#include "shared/greeting.h"

#include "shared/mem.h"
#include "shared/render.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { TAG_BYTES = 32, TAGS_MAX = 16, WORDS_MAX = 64 };

struct language {
    struct greeting_language l;
    char *tags[TAGS_MAX];
    char *not_names[WORDS_MAX + 1];
    int line;
    bool has_fallback, has_neutral, has_words;
};

struct greetings {
    struct language **languages; /* the latest last */
    size_t n, cap;
};

struct reader {
    const char *place;
    int line;
    struct greetings fresh;
    struct err *e;
};

static void
language_free(struct language *x)
{
    for (size_t i = 0; i < TAGS_MAX; i++) {
        free(x->tags[i]);
    }
    for (size_t i = 0; i < WORDS_MAX; i++) {
        free(x->not_names[i]);
    }
    for (size_t i = 0; i < x->l.n_times; i++) {
        free((void *)(uintptr_t)x->l.times[i].text);
    }
    if (x->has_fallback) {
        free((void *)(uintptr_t)x->l.fallback);
    }
    if (x->has_neutral) {
        free((void *)(uintptr_t)x->l.neutral);
    }
    free(x);
}

static bool
fail(const struct reader *r, const char *what, const char *word)
{
    return err_set(r->e, ERR_INPUT, "%s:%d: %.60s%s%s", r->place, r->line, word ? word : "",
                   word ? ": " : "", what);
}

/* --- one line ------------------------------------------------------------------------------ */

static char *
trim(char *s)
{
    s += strspn(s, " \t\r");
    size_t n = strlen(s);
    while (n && strchr(" \t\r", s[n - 1])) {
        s[--n] = '\0';
    }
    return s;
}

static struct language *
find_tag(const struct greetings *g, const char *tag)
{
    for (size_t i = g ? g->n : 0; i-- > 0;) {
        struct language *x = g->languages[i];
        for (size_t k = 0; k < TAGS_MAX && x->tags[k]; k++) {
            if (strcasecmp(x->tags[k], tag) == 0) {
                return x;
            }
        }
    }
    return NULL;
}

/* A language is complete when the next begins, or the file ends. */
static bool
check_last(struct reader *r)
{
    const struct greetings *g = &r->fresh;
    const struct language *x = g->n ? g->languages[g->n - 1] : NULL;
    if (x && !x->l.n_times) {
        r->line = x->line;
        return fail(r, "the language has no greeting; write one like 05:00 = Selamat pagi",
                    x->tags[0]);
    }
    return true;
}

static bool
read_head(struct reader *r, char *s)
{
    char *end = strchr(s, ']');
    size_t n = 0;
    int line = r->line;
    if (!check_last(r)) {
        return false;
    }
    r->line = line;
    if (!end || end[1]) {
        return fail(r, "a language begins with a line like [ms malay]", NULL);
    }
    *end = '\0';
    struct language *x = xcalloc(1, sizeof *x);
    x->line = r->line;
    VEC_GROW(r->fresh.languages, r->fresh.n, r->fresh.cap);
    char *rest = s + 1;
    for (char *tag; (tag = strsep(&rest, " \t")) != NULL;) {
        static const char allowed[] = "abcdefghijklmnopqrstuvwxyz0123456789-";
        bool good = strlen(tag) < TAG_BYTES && !tag[strspn(tag, allowed)] && n < TAGS_MAX;
        const struct language *other = good && *tag ? find_tag(&r->fresh, tag) : NULL;
        if (!good || other) {
            language_free(x);
            return fail(r,
                        other ? "this language is in the file already"
                              : "a language's name has up to 31 letters a-z, digits and '-', and "
                                "there are up to 16 of them",
                        tag);
        }
        if (*tag) {
            x->tags[n++] = xstrdup(tag);
        }
    }
    r->fresh.languages[r->fresh.n++] = x;
    x->l.name = x->tags[0];
    x->l.fallback = x->l.neutral = "";
    x->l.not_names = (const char *const *)x->not_names;
    return n || fail(r, "the language has no name; write one like [ms]", NULL);
}

static bool
read_words(struct reader *r, struct language *x, char *value)
{
    size_t n = 0;
    if (x->has_words) {
        return fail(r, "is there twice", "not_names");
    }
    x->has_words = true;
    for (char *word; (word = strsep(&value, ",")) != NULL;) {
        word = trim(word);
        if (*word && n == WORDS_MAX) {
            return fail(r, "has more than 64 words", "not_names");
        }
        if (*word) {
            x->not_names[n++] = xstrdup(word);
        }
    }
    return true;
}

static bool
read_fallback(struct reader *r, const char *key, const char **field, bool *has, const char *value)
{
    if (*has) {
        return fail(r, "is there twice", key);
    }
    *has = true;
    *field = xstrdup(value);
    return true;
}

static bool
is_time(const char *s, int *ret_minute)
{
    static const char form[] = "dd:dd";
    for (size_t i = 0; i < sizeof form; i++) {
        if (form[i] == 'd' ? !isdigit((unsigned char)s[i]) : s[i] != form[i]) {
            return false;
        }
    }
    int hour = (s[0] - '0') * 10 + s[1] - '0', minute = (s[3] - '0') * 10 + s[4] - '0';
    *ret_minute = hour * 60 + minute;
    return hour < 24 && minute < 60;
}

/* A greeting that greets would have no end. */
static bool
check_greeting(struct reader *r, const char *key, const char *text)
{
    struct render_facts f;
    struct err why = {0};
    bool ok = render_facts(text, strlen(text), NULL, 0, &f, &why);
    bool greets = false;
    for (size_t i = 0; i < f.n_variables; i++) {
        greets =
            greets || (f.variables[i].len == 8 && memcmp(f.variables[i].name, "greeting", 8) == 0);
    }
    render_facts_done(&f);
    return ok ? !greets || fail(r, "a greeting cannot contain {{greeting}}", key)
              : fail(r, why.text, key);
}

static bool
read_greeting(struct reader *r, struct language *x, const char *key, int minute, const char *value)
{
    struct greeting_language *l = &x->l;
    size_t at = 0;
    while (at < l->n_times && l->times[at].minute < minute) {
        at++;
    }
    if (at < l->n_times && l->times[at].minute == minute) {
        return fail(r, "is there twice", key);
    }
    if (l->n_times == GREETING_TIMES_MAX) {
        return fail(r, "a language has 24 greetings at most", key);
    }
    if (!*value || strlen(value) > GREETING_BYTES_MAX) {
        return fail(r, "a greeting has 1 to 1024 bytes", key);
    }
    if (!check_greeting(r, key, value)) {
        return false;
    }
    memmove(l->times + at + 1, l->times + at, (l->n_times - at) * sizeof *l->times);
    l->times[at] = (struct greeting_time){minute, xstrdup(value)};
    l->n_times++;
    return true;
}

static bool
read_pair(struct reader *r, char *s)
{
    char *equals = strchr(s, '=');
    struct language *x = r->fresh.n ? r->fresh.languages[r->fresh.n - 1] : NULL;
    int minute = 0;
    if (!x) {
        return fail(r, "a language comes first, in a line like [ms]", NULL);
    }
    if (!equals) {
        return fail(r, "write NAME = TEXT, such as 05:00 = Selamat pagi", s);
    }
    *equals = '\0';
    const char *key = trim(s);
    char *value = trim(equals + 1);
    if (strcmp(key, "name") == 0) {
        return read_fallback(r, key, &x->l.fallback, &x->has_fallback, value);
    }
    if (strcmp(key, "neutral") == 0) {
        return read_fallback(r, key, &x->l.neutral, &x->has_neutral, value);
    }
    if (strcmp(key, "not_names") == 0) {
        return read_words(r, x, value);
    }
    return is_time(key, &minute)
               ? read_greeting(r, x, key, minute, value)
               : fail(r, "is no time of the day from 00:00 to 23:59, nor name, neutral, not_names",
                      key);
}

/* --- a file -------------------------------------------------------------------------------- */

static bool
read_lines(struct reader *r, char *text)
{
    for (char *line; (line = strsep(&text, "\n")) != NULL;) {
        r->line++;
        size_t n = strlen(line);
        if (render_bad_utf8(line, n) < n) {
            return fail(r, "not valid UTF-8; save the file as UTF-8", NULL);
        }
        line = trim(line);
        if (*line == '[' ? !read_head(r, line) : *line && *line != '#' && !read_pair(r, line)) {
            return false;
        }
    }
    return check_last(r);
}

bool
greetings_read(struct greetings **g, const char *place, const char *text, size_t len, struct err *e)
{
    struct reader r = {.place = place, .e = e};
    if (len > GREETINGS_BYTES_MAX) {
        return err_set(e, ERR_INPUT, "%s: has more than %d bytes", place, GREETINGS_BYTES_MAX);
    }
    if (len && memchr(text, 0, len)) {
        return err_set(e, ERR_INPUT, "%s: is no text: it has a NUL byte", place);
    }
    char *copy = xstrndup(text, len);
    bool ok = read_lines(&r, copy);
    free(copy);
    for (size_t i = 0; i < r.fresh.n && !ok; i++) {
        language_free(r.fresh.languages[i]);
    }
    if (ok) {
        *g = *g ? *g : xcalloc(1, sizeof **g);
        for (size_t i = 0; i < r.fresh.n; i++) {
            struct language *x = r.fresh.languages[i];
            x->l.neutral = x->has_neutral ? x->l.neutral : x->l.fallback;
            VEC_GROW((*g)->languages, (*g)->n, (*g)->cap);
            (*g)->languages[(*g)->n++] = x;
        }
    }
    free(r.fresh.languages);
    return ok;
}

void
greetings_free(struct greetings *g)
{
    for (size_t i = 0; g && i < g->n; i++) {
        language_free(g->languages[i]);
    }
    free(g ? g->languages : NULL);
    free(g);
}

/* --- questions ----------------------------------------------------------------------------- */

const struct greeting_language *
greetings_find(const struct greetings *g, const char *tag)
{
    char word[TAG_BYTES];
    const char *s = tag ? tag + strspn(tag, " ") : "";
    size_t n = strcspn(s, ". "); /* ms_MY.UTF-8 */
    if (!n || n >= sizeof word) {
        return NULL;
    }
    for (size_t i = 0; i < n; i++) {
        word[i] = s[i] == '_' ? '-' : s[i];
    }
    word[n] = '\0';
    const struct language *x = find_tag(g, word);
    word[strcspn(word, "-")] = '\0';
    x = x || !*word ? x : find_tag(g, word);
    return x ? &x->l : NULL;
}

const char *
greetings_names(const struct greetings *g, char *out, size_t size)
{
    size_t n = 0;
    *out = '\0';
    for (size_t i = 0; i < g->n && n < size; i++) {
        const struct language *x = g->languages[i];
        if (find_tag(g, x->tags[0]) == x) {
            int more = snprintf(out + n, size - n, "%s%s", n ? ", " : "", x->tags[0]);
            n += more > 0 ? (size_t)more : 0;
        }
    }
    return out;
}

const char *
greeting_at(const struct greeting_language *l, int minute)
{
    size_t at = l->n_times;
    while (at > 0 && l->times[at - 1].minute > minute) {
        at--;
    }
    return l->times[at ? at - 1 : l->n_times - 1].text;
}
