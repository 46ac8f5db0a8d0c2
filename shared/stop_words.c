#include "shared/stop_words.h"

#include "shared/mem.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { FOLD_BYTES_MAX = 2 * STOP_WORD_BYTES_MAX };

struct language {
    char *name;
    char **words[STOP_WORD_RESUME + 1];
    size_t n[STOP_WORD_RESUME + 1];
};

struct stop_words {
    struct language *languages;
    size_t n;
};

/* --- one text ------------------------------------------------------------------------- */

/* The code point at *s, and behind it; a byte that belongs to none stands for itself. */
static uint32_t
next_point(const char **s)
{
    const unsigned char *p = (const unsigned char *)*s;
    size_t more = *p >= 0xf0 ? 3 : *p >= 0xe0 ? 2 : *p >= 0xc0 ? 1 : 0;
    uint32_t c = more ? *p & (0x3fU >> more) : *p;
    for (size_t i = 1; i <= more; i++) {
        if ((p[i] & 0xc0) != 0x80) {
            *s += 1;
            return *p;
        }
        c = c << 6 | (p[i] & 0x3fU);
    }
    *s += more + 1;
    return c;
}

static void
add_point(struct buf *out, uint32_t c)
{
    char s[4];
    if (c < 0x80) {
        s[0] = (char)c;
        buf_add(out, s, 1);
    } else if (c < 0x800) {
        s[0] = (char)(0xc0 | c >> 6), s[1] = (char)(0x80 | (c & 0x3f));
        buf_add(out, s, 2);
    } else if (c < 0x10000) {
        s[0] = (char)(0xe0 | c >> 12), s[1] = (char)(0x80 | (c >> 6 & 0x3f));
        s[2] = (char)(0x80 | (c & 0x3f));
        buf_add(out, s, 3);
    } else {
        s[0] = (char)(0xf0 | c >> 18), s[1] = (char)(0x80 | (c >> 12 & 0x3f));
        s[2] = (char)(0x80 | (c >> 6 & 0x3f)), s[3] = (char)(0x80 | (c & 0x3f));
        buf_add(out, s, 4);
    }
}

static bool
is_space(uint32_t c)
{
    return c == ' ' || (c >= '\t' && c <= '\r') || c == 0xa0 || (c >= 0x2000 && c <= 0x200f) ||
           c == 0x202f || c == 0x3000 || c == 0xfe0f || c == 0xfeff;
}

static bool
is_mark(uint32_t c)
{
    return c && c < 0x80 && strchr(".!,;:\"'*_~`()[]", (int)c) != NULL;
}

/* Lower case without regard to the program's locale: Latin, Greek and Cyrillic, which have pairs at
 * fixed distances. */
static uint32_t
lower(uint32_t c)
{
    if ((c >= 'A' && c <= 'Z') || (c >= 0xc0 && c <= 0xde && c != 0xd7) ||
        (c >= 0x391 && c <= 0x3ab && c != 0x3a2) || (c >= 0x410 && c <= 0x42f)) {
        return c + 32;
    }
    if (c >= 0x400 && c <= 0x40f) {
        return c + 80;
    }
    bool odd_first = (c >= 0x139 && c <= 0x148) || (c >= 0x179 && c <= 0x17e);
    bool pairs =
        (c >= 0x100 && c <= 0x177 && c != 0x130 && c != 0x131 && c != 0x138 && c != 0x149) ||
        odd_first || (c >= 0x1e00 && c <= 0x1eff && (c < 0x1e96 || c > 0x1e9f));
    return pairs && (c & 1) == odd_first ? c + 1 : c;
}

/* As words are compared: lower case, single spaces, nothing around. */
static void
fold(const char *text, size_t len, struct buf *out)
{
    bool gap = false;
    size_t end = 0; /* behind the last character that is no mark */
    const char *p = text;
    while (p < text + len && *p && out->len <= FOLD_BYTES_MAX) {
        uint32_t c = next_point(&p);
        if (is_space(c)) {
            gap = out->len > 0;
        } else if (!is_mark(c) || out->len) {
            if (gap) {
                buf_adds(out, " ");
            }
            gap = false;
            add_point(out, lower(c));
            end = is_mark(c) ? end : out->len;
        }
    }
    if (out->len &&
        out->len <= FOLD_BYTES_MAX) { /* a longer text is no word, whatever it ends with */
        out->len = end;
        out->data[end] = '\0';
    }
}

/* --- reading -------------------------------------------------------------------------- */

static void
forget_words(struct language *l)
{
    for (int k = 0; k <= STOP_WORD_RESUME; k++) {
        for (size_t i = 0; i < l->n[k]; i++) {
            free(l->words[k][i]);
        }
        free(l->words[k]);
        l->words[k] = NULL;
        l->n[k] = 0;
    }
}

static struct language *
take_language(struct stop_words *w, const char *line)
{
    size_t n = strcspn(line, " \t]");
    for (size_t i = 0; i < w->n; i++) {
        if (strlen(w->languages[i].name) == n && memcmp(w->languages[i].name, line, n) == 0) {
            forget_words(&w->languages[i]);
            return &w->languages[i];
        }
    }
    w->languages = xrealloc(w->languages, (w->n + 1) * sizeof *w->languages);
    w->languages[w->n] = (struct language){.name = xstrndup(line, n)};
    return &w->languages[w->n++];
}

static bool
take_words(struct language *l, enum stop_word kind, const char *list, const char *place, int line,
           struct err *e)
{
    while (*list) {
        size_t n = strcspn(list, ",");
        struct buf word = {0};
        fold(list, n, &word);
        if (word.len > STOP_WORD_BYTES_MAX) {
            buf_done(&word);
            return err_set(e, ERR_INPUT, "%s:%d: a word has at most %d bytes", place, line,
                           STOP_WORD_BYTES_MAX);
        }
        if (word.len) {
            l->words[kind] = xrealloc(l->words[kind], (l->n[kind] + 1) * sizeof(char *));
            l->words[kind][l->n[kind]++] = xstrdup(word.data);
        }
        buf_done(&word);
        list += n + (list[n] == ',');
    }
    return true;
}

static bool
take_line(struct stop_words *w, struct language **l, char *line, const char *place, int number,
          struct err *e)
{
    line += strspn(line, " \t\r");
    if (!*line || *line == '#') {
        return true;
    }
    if (*line == '[') {
        if (strcspn(line + 1, " \t]") == 0 || !strchr(line, ']')) {
            return err_set(e, ERR_INPUT, "%s:%d: a language begins with [NAME OTHER-NAME ..]",
                           place, number);
        }
        *l = take_language(w, line + 1);
        return true;
    }
    char *value = strchr(line, '=');
    size_t n = value ? (size_t)(value - line) : 0;
    while (n && (line[n - 1] == ' ' || line[n - 1] == '\t')) {
        n--;
    }
    enum stop_word kind = n == 4 && memcmp(line, "stop", n) == 0     ? STOP_WORD_STOP
                          : n == 6 && memcmp(line, "resume", n) == 0 ? STOP_WORD_RESUME
                                                                     : STOP_WORD_NONE;
    if (!kind || !*l) {
        return err_set(e, ERR_INPUT,
                       "%s:%d: write [LANGUAGE], and below it stop = WORD, .. or resume = WORD, ..",
                       place, number);
    }
    return take_words(*l, kind, value + 1, place, number, e);
}

bool
stop_words_read(struct stop_words **w, const char *place, const char *text, size_t len,
                struct err *e)
{
    *w = *w ? *w : xcalloc(1, sizeof **w);
    if (len > STOP_WORDS_BYTES_MAX) {
        return err_set(e, ERR_INPUT, "%s: at most %d bytes", place, STOP_WORDS_BYTES_MAX);
    }
    struct language *l = NULL;
    char *copy = xstrndup(text, len), *line = copy;
    bool ok = true;
    for (int number = 1; ok && line; number++) {
        char *end = strchr(line, '\n');
        if (end) {
            *end = '\0';
        }
        ok = take_line(*w, &l, line, place, number, e);
        line = end ? end + 1 : NULL;
    }
    free(copy);
    return ok;
}

void
stop_words_free(struct stop_words *w)
{
    for (size_t i = 0; w && i < w->n; i++) {
        forget_words(&w->languages[i]);
        free(w->languages[i].name);
    }
    if (w) {
        free(w->languages);
    }
    free(w);
}

enum stop_word
stop_words_find(const struct stop_words *w, const char *text)
{
    struct buf word = {0};
    enum stop_word found = STOP_WORD_NONE;
    fold(text, strlen(text), &word);
    for (size_t i = 0; w && word.len && !found && i < w->n; i++) {
        for (int k = STOP_WORD_STOP; !found && k <= STOP_WORD_RESUME; k++) {
            for (size_t j = 0; !found && j < w->languages[i].n[k]; j++) {
                found = strcmp(w->languages[i].words[k][j], word.data) == 0 ? (enum stop_word)k
                                                                            : STOP_WORD_NONE;
            }
        }
    }
    buf_done(&word);
    return found;
}
