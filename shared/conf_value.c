#include "shared/conf_private.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum {
    NAME_LIMIT = 64,          /* bytes of a key's name worth comparing */
    SECRET_LIMIT = 64 * 1024, /* bytes of a secret's file */
};

/* --- names
 * ---------------------------------------------------------------------------------------- */

struct conf_name
conf_spell(enum conf_place place, const char *name)
{
    struct conf_name n;
    const char *prefix = place == CONF_FROM_ENV ? "PACELINE_" : place == CONF_FROM_FLAG ? "--" : "";
    (void)snprintf(n.text, sizeof n.text, "%s%s", prefix, name);
    for (char *p = n.text + strlen(prefix); *p; p++) {
        if (place == CONF_FROM_ENV) {
            *p = (char)toupper((unsigned char)*p);
        } else if (place == CONF_FROM_FLAG && *p == '_') {
            *p = '-';
        }
    }
    return n;
}

bool
conf_is_pattern(const struct conf_key *k)
{
    size_t n = strlen(k->name);
    return n && k->name[n - 1] == '*';
}

bool
conf_has_commands(const struct conf_key *keys)
{
    for (; keys->name; keys++) {
        if (strcmp(keys->name, "*") == 0) {
            return true;
        }
    }
    return false;
}

const struct conf_key *
conf_find(const struct conf_key *keys, const char *name, bool *ret_by_file)
{
    *ret_by_file = false;
    const struct conf_key *secret = NULL;
    for (const struct conf_key *k = keys; k->name; k++) {
        size_t n = strlen(k->name);
        if (strcmp(name, k->name) == 0 && !conf_is_pattern(k)) {
            return k;
        }
        if ((k->flags & CONF_SECRET) && strncmp(name, k->name, n) == 0 &&
            strcmp(name + n, "_file") == 0) {
            secret = k;
        }
    }
    *ret_by_file = secret != NULL;
    return secret;
}

static size_t
least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* How many single-letter slips (one more, one less, another, two swapped) lie between two names. */
static size_t
distance(const char *a, const char *b)
{
    size_t rows[3][NAME_LIMIT + 1];
    size_t *before = rows[0], *last = rows[1], *now = rows[2];
    size_t n = strnlen(b, NAME_LIMIT);
    for (size_t j = 0; j <= n; j++) {
        last[j] = j;
        before[j] = j;
    }
    for (size_t i = 1; i <= NAME_LIMIT && a[i - 1]; i++) {
        now[0] = i;
        for (size_t j = 1; j <= n; j++) {
            size_t other = last[j - 1] + (a[i - 1] != b[j - 1]);
            now[j] = least(other, least(last[j], now[j - 1]) + 1);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1]) {
                now[j] = least(now[j], before[j - 2] + 1);
            }
        }
        size_t *spare = before;
        before = last;
        last = now;
        now = spare;
    }
    return last[n];
}

const char *
conf_nearest(const struct conf_key *keys, const char *name)
{
    const char *best = NULL;
    size_t slips = least(strlen(name) / 3, 3) + 1; /* as many slips are too many */
    for (const struct conf_key *k = keys; k->name; k++) {
        size_t d = conf_is_pattern(k) ? slips : distance(name, k->name);
        if (d < slips) {
            slips = d;
            best = k->name;
        }
    }
    return best;
}

bool
conf_unknown(const struct conf_key *keys, enum conf_place place, const char *name,
             const char *advice, struct err *e)
{
    const char *near = conf_nearest(keys, name);
    if (!near && place == CONF_FROM_FLAG) {
        near = conf_nearest(conf_builtin_keys, name);
    }
    const char *what = place == CONF_FROM_FLAG ? "flag" : "key";
    if (near) {
        return err_set(e, ERR_INPUT, "%s: unknown %s (did you mean %s?)",
                       conf_spell(place, name).text, what, conf_spell(place, near).text);
    }
    return err_set(e, ERR_INPUT, "%s: unknown %s%s", conf_spell(place, name).text, what, advice);
}

/* --- values
 * --------------------------------------------------------------------------------------- */

static bool
parse_int(const char *text, int64_t *ret)
{
    size_t sign = *text == '-';
    if (!text[sign] || text[sign + strspn(text + sign, "0123456789")]) {
        return false;
    }
    errno = 0;
    *ret = strtoll(text, NULL, 10);
    return errno == 0;
}

bool
conf_parse_ms(const char *text, int64_t *ret)
{
    static const struct {
        const char *unit;
        int64_t ms;
    } units[] = {{"", 1}, {"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000}};
    char digits[20];
    size_t n = strspn(text, "0123456789");
    if (n == 0 || n >= sizeof digits) {
        return false;
    }
    memcpy(digits, text, n);
    digits[n] = '\0';
    int64_t count;
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        if (strcmp(text + n, units[i].unit) == 0) {
            return parse_int(digits, &count) && !__builtin_mul_overflow(count, units[i].ms, ret);
        }
    }
    return false;
}

static bool
parse_bool(const char *text, bool *ret)
{
    static const char *const words[] = {"no", "yes", "false", "true", "off", "on", "0", "1"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (strcasecmp(text, words[i]) == 0) {
            *ret = i % 2;
            return true;
        }
    }
    return false;
}

/* The index of a word in "one|two|three". */
static bool
parse_word(const char *text, const char *words, int64_t *ret)
{
    size_t n = strlen(text);
    *ret = 0;
    for (const char *w = words; *w; ++*ret) {
        size_t length = strcspn(w, "|");
        if (length == n && memcmp(w, text, n) == 0) {
            return true;
        }
        w += length + (w[length] == '|');
    }
    return false;
}

static bool
is_within(const char *range, int64_t v, bool parse(const char *, int64_t *))
{
    int64_t min, max;
    const char *dots = range ? strstr(range, "..") : NULL;
    if (!range) {
        return true;
    }
    char first[32];
    (void)snprintf(first, sizeof first, "%.*s", dots ? (int)(dots - range) : 0, range);
    return dots && parse(first, &min) && parse(dots + 2, &max) && min <= v && v <= max;
}

/* What was written, short and fit for a terminal. */
static const char *
show(const struct conf_key *k, const char *text, char *buf, size_t size)
{
    (void)snprintf(buf, size, "%s", (k->flags & CONF_SECRET) ? "the secret" : text);
    for (char *p = buf; *p; p++) {
        *p = iscntrl((unsigned char)*p) ? '?' : *p;
    }
    return *buf ? buf : "an empty value";
}

/* Sets a CONF_INT or CONF_MS. */
static bool
set_number(const struct conf_key *k, const char *text, int64_t *field, struct err *e)
{
    char shown[80];
    bool (*parse)(const char *, int64_t *) = k->type == CONF_MS ? conf_parse_ms : parse_int;
    int64_t v;
    if (!parse(text, &v)) {
        return err_set(e, ERR_INPUT, "%s is no %s", show(k, text, shown, sizeof shown),
                       k->type == CONF_MS ? "duration (write 250ms, 5s, 10m, 2h or 1d)"
                                          : "whole number");
    }
    if (!is_within(k->words, v, parse)) {
        return err_set(e, ERR_INPUT, "%s is not within %s", show(k, text, shown, sizeof shown),
                       k->words);
    }
    *field = v;
    return true;
}

static bool
set_text(const struct conf_key *k, const char *text, void *settings, struct err *e)
{
    void *field = (char *)settings + k->offset;
    char shown[80];
    char **string = field;
    int64_t index;
    switch (k->type) {
    case CONF_STR:
        free(*string);
        *string = xstrdup(text);
        return true;
    case CONF_INT:
    case CONF_MS:
        return set_number(k, text, field, e);
    case CONF_BOOL:
        return parse_bool(text, field) || err_set(e, ERR_INPUT, "%s is neither yes nor no",
                                                  show(k, text, shown, sizeof shown));
    case CONF_WORD:
        if (!parse_word(text, k->words, &index)) {
            return err_set(e, ERR_INPUT, "%s is none of %s", show(k, text, shown, sizeof shown),
                           k->words);
        }
        *(int64_t *)field = index;
        return true;
    }
    return false;
}

bool
conf_set(const struct conf_key *k, bool by_file, const char *text, void *settings, struct err *e)
{
    if (!by_file) {
        return set_text(k, text, settings, e);
    }
    struct buf secret = {0};
    bool ok = conf_read_text(text, SECRET_LIMIT, &secret, e);
    if (ok) {
        if (secret.len && secret.data[secret.len - 1] == '\n') {
            secret.data[secret.len - 1] = '\0';
        }
        ok = set_text(k, secret.data, settings, e);
    }
    buf_done(&secret);
    return ok;
}

/* A secret in a file may stand elsewhere: env:NAME or file:PATH. */
static bool
set_from_line(const struct conf_key *k, bool by_file, const char *text, void *settings,
              struct err *e)
{
    if (!by_file && (k->flags & CONF_SECRET)) {
        if (strncmp(text, "file:", 5) == 0) {
            return conf_set(k, true, text + 5, settings, e);
        }
        if (strncmp(text, "env:", 4) == 0) {
            const char *value = getenv(text + 4);
            return value ? set_text(k, value, settings, e)
                         : err_set(e, ERR_INPUT, "%s is not in the environment", text + 4);
        }
    }
    return conf_set(k, by_file, text, settings, e);
}

bool
conf_set_pair(const struct conf_section *s, const struct conf_pair *p, const struct conf_key *keys,
              void *settings, const struct conf_key **ret, struct err *e)
{
    bool by_file;
    const struct conf_key *k = *ret = conf_find(keys, p->key, &by_file);
    bool ok;
    if (k) {
        ok = set_from_line(k, by_file, p->value, settings, e) || err_wrap(e, "%s", p->key);
    } else {
        ok = conf_unknown(keys, CONF_FROM_FILE, p->key,
                          *s->kind ? ""
                                   : " (what only some programs know belongs in a section that "
                                     "names them, such as [producer reaper])",
                          e);
    }
    return ok || err_wrap(e, "%s:%d", s->file, p->line);
}

bool
conf_set_defaults(const struct conf_key *keys, void *settings, struct err *e)
{
    for (const struct conf_key *k = keys; k->name; k++) {
        void *field = (char *)settings + k->offset;
        if (!conf_is_pattern(k)) {
            memset(field, 0,
                   k->type == CONF_STR    ? sizeof(char *)
                   : k->type == CONF_BOOL ? sizeof(bool)
                                          : sizeof(int64_t));
        }
    }
    for (const struct conf_key *k = keys; k->name; k++) {
        if (!conf_is_pattern(k) && k->value && !conf_set(k, false, k->value, settings, e)) {
            return err_wrap(e, "the default of %s", k->name);
        }
    }
    return true;
}

void
conf_free_strings(const struct conf_key *keys, void *settings)
{
    for (const struct conf_key *k = keys; k->name; k++) {
        if (k->type == CONF_STR && !conf_is_pattern(k)) {
            void *field = (char *)settings + k->offset;
            char **string = field;
            free(*string);
            *string = NULL;
        }
    }
}

static bool
is_owners(const struct conf_key *keys, const char *name)
{
    for (const struct conf_key *k = keys; k->name; k++) {
        if (conf_is_pattern(k) && strncmp(name, k->name, strlen(k->name) - 1) == 0) {
            return true;
        }
    }
    return false;
}

bool
conf_section_apply(const struct conf_section *s, const struct conf_key *keys, void *settings,
                   struct err *e)
{
    bool ok = conf_set_defaults(keys, settings, e), by_file;
    const struct conf_key *k;
    for (size_t i = 0; ok && i < s->n_pairs; i++) {
        const char *name = s->pairs[i].key;
        if (conf_find(keys, name, &by_file) || !is_owners(keys, name)) {
            ok = conf_set_pair(s, &s->pairs[i], keys, settings, &k, e);
        }
    }
    if (!ok) {
        conf_free_strings(keys, settings);
    }
    return ok;
}
