#include "ctl/flag.h"

#include "shared/conf.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { WORD_MAX = 64, DAY_MINUTES = 1440 };

static void *
at(const struct flag *f, void *values)
{
    return (char *)values + f->offset;
}

static void
set_text(const struct flag *f, void *values, const char *v)
{
    memcpy(at(f, values), &v, sizeof v);
}

static void
set_int(const struct flag *f, void *values, int64_t v)
{
    memcpy(at(f, values), &v, sizeof v);
}

static void
set_pair(const struct flag *f, void *values, int64_t a, int64_t b)
{
    struct flag_pair v = {a, b};
    memcpy(at(f, values), &v, sizeof v);
}

void
flag_defaults(const struct flag *flags, void *values)
{
    for (const struct flag *f = flags; f && f->name; f++) {
        switch (f->type) {
        case FLAG_BOOL:
            *(bool *)at(f, values) = false;
            break;
        case FLAG_TEXT:
        case FLAG_WORD:
            set_text(f, values, NULL);
            break;
        case FLAG_INT:
        case FLAG_MS:
        case FLAG_TIME:
            set_int(f, values, FLAG_UNSET);
            break;
        case FLAG_GAP:
        case FLAG_BATCH:
        case FLAG_QUIET:
            set_pair(f, values, FLAG_UNSET, FLAG_UNSET);
            break;
        case FLAG_LIST:
            *(struct flag_list *)at(f, values) = (struct flag_list){0};
            break;
        }
        if (f->value) {
            bool ok = flag_set(f, f->value, values, NULL);
            (void)ok; /* our own table */
        }
    }
}

void
flag_done(const struct flag *flags, void *values)
{
    for (const struct flag *f = flags; f && f->name; f++) {
        if (f->type == FLAG_LIST) {
            struct flag_list *list = at(f, values);
            free(list->items);
            *list = (struct flag_list){0};
        }
    }
}

bool
flag_is_unset(const struct flag *f, const void *values)
{
    const void *p = (const char *)values + f->offset;
    switch (f->type) {
    case FLAG_BOOL:
        return !*(const bool *)p;
    case FLAG_TEXT:
    case FLAG_WORD:
        return !*(const char *const *)p;
    case FLAG_LIST:
        return !((const struct flag_list *)p)->n;
    case FLAG_INT:
    case FLAG_MS:
    case FLAG_TIME:
    case FLAG_GAP:
    case FLAG_BATCH:
    case FLAG_QUIET:
        break;
    }
    return *(const int64_t *)p == FLAG_UNSET;
}

/* --- values --------------------------------------------------------------------------- */

static bool
parse_int(const char *text, int64_t *ret)
{
    if (!isdigit((unsigned char)*text) || text[strspn(text, "0123456789")]) {
        return false;
    }
    errno = 0;
    *ret = strtoll(text, NULL, 10);
    return errno == 0;
}

/* "min..max" holds v. */
static bool
is_within(const char *range, bool durations, int64_t v)
{
    const char *dots = range ? strstr(range, "..") : NULL;
    char low[32];
    int64_t min, max;
    if (!dots) {
        return true;
    }
    (void)snprintf(low, sizeof low, "%.*s", (int)(dots - range), range);
    if (durations) {
        return conf_parse_ms(low, &min) && conf_parse_ms(dots + 2, &max) && v >= min && v <= max;
    }
    return parse_int(low, &min) && parse_int(dots + 2, &max) && v >= min && v <= max;
}

static bool
has_word(const char *words, const char *text)
{
    size_t n = strlen(text);
    for (const char *w = words; n && w; w = strchr(w, '|') ? strchr(w, '|') + 1 : NULL) {
        if (strcspn(w, "|") == n && memcmp(w, text, n) == 0) {
            return true;
        }
    }
    return false;
}

/* A duration in which a unit is not forgotten: "5" would be 5 ms. */
static bool
parse_duration(const char *text, size_t n, int64_t *ret)
{
    char copy[32];
    if (n >= sizeof copy) {
        return false;
    }
    memcpy(copy, text, n);
    copy[n] = '\0';
    bool bare = n == strspn(copy, "0123456789");
    return conf_parse_ms(copy, ret) && (!bare || *ret == 0);
}

static bool
set_gap(const struct flag *f, const char *text, void *values, struct err *e)
{
    const char *dots = strstr(text, "..");
    const char *second = dots ? dots + 2 : text;
    int64_t a, b;
    if (!parse_duration(text, dots ? (size_t)(dots - text) : strlen(text), &a) ||
        !parse_duration(second, strlen(second), &b)) {
        return err_set(e, ERR_INPUT, "'%.40s' is no gap; write it like 5s..15s or 500ms", text);
    }
    if (a > b || b > 86400000) {
        return err_set(e, ERR_INPUT,
                       "'%.40s': a gap goes from the shorter to the longer, one day at most", text);
    }
    set_pair(f, values, a, b);
    return true;
}

static bool
set_batch(const struct flag *f, const char *text, void *values, struct err *e)
{
    const char *slash = strchr(text, '/');
    char size[16];
    int64_t n, pause;
    if (strcmp(text, "none") == 0) {
        set_pair(f, values, 0, 0);
        return true;
    }
    (void)snprintf(size, sizeof size, "%.*s", slash ? (int)(slash - text) : 0, text);
    if (!slash || !parse_int(size, &n) || n < 1 || n > 1000000 ||
        !parse_duration(slash + 1, strlen(slash + 1), &pause) || pause > 7 * INT64_C(86400000)) {
        return err_set(e, ERR_INPUT,
                       "'%.40s' is no batch; write messages/pause like 20/10m, or none", text);
    }
    set_pair(f, values, n, pause);
    return true;
}

/* "22:00" at the start of text -> 1320; *end is behind it. */
static bool
parse_clock(const char *text, const char **end, int64_t *ret)
{
    unsigned h, m;
    int n = 0;
    if (sscanf(text, "%2u:%2u%n", &h, &m, &n) != 2 || h > 23 || m > 59 ||
        !isdigit((unsigned char)*text)) {
        return false;
    }
    *end = text + n;
    *ret = h * 60 + m;
    return true;
}

static bool
set_quiet(const struct flag *f, const char *text, void *values, struct err *e)
{
    int64_t from, to;
    const char *p;
    if (strcmp(text, "none") == 0) {
        set_pair(f, values, -1, -1);
        return true;
    }
    if (!parse_clock(text, &p, &from) || *p != '-' || !parse_clock(p + 1, &p, &to) || *p ||
        from == to) {
        return err_set(e, ERR_INPUT,
                       "'%.40s' are no quiet hours; write them like 22:00-07:00, or none", text);
    }
    set_pair(f, values, from, to);
    return true;
}

/* "", "Z" or "+08:00" -> seconds east of Greenwich. */
static bool
parse_zone(const char *text, int64_t *ret)
{
    const char *end;
    *ret = 0;
    if (!*text || strcmp(text, "Z") == 0) {
        return true;
    }
    if ((*text != '+' && *text != '-') || !parse_clock(text + 1, &end, ret) || *end) {
        return false;
    }
    *ret *= *text == '-' ? -60 : 60;
    return true;
}

static bool
set_time(const struct flag *f, const char *text, void *values, struct err *e)
{
    static const char *const forms[] = {"%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M",
                                        "%Y-%m-%dT%H:%M"};
    if (strcmp(text, "now") == 0) {
        set_int(f, values, FLAG_NOW);
        return true;
    }
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        struct tm tm = {0};
        int64_t east;
        const char *rest = strptime(text, forms[i], &tm);
        if (rest && parse_zone(rest, &east)) {
            struct tm asked = tm;
            int64_t t = (int64_t)timegm(&tm);
            if (tm.tm_mday != asked.tm_mday || tm.tm_year < 100) {
                break; /* no 30th of February, no other century */
            }
            set_int(f, values, t - east);
            return true;
        }
    }
    return err_set(
        e, ERR_INPUT,
        "'%.40s' is no time; write now, or UTC like 2026-11-22 10:00, or 2026-11-22 10:00+08:00",
        text);
}

static bool
set_number(const struct flag *f, const char *text, void *values, struct err *e)
{
    int64_t v;
    bool is_ms = f->type == FLAG_MS;
    if (is_ms ? !parse_duration(text, strlen(text), &v) : !parse_int(text, &v)) {
        return err_set(e, ERR_INPUT, "'%.40s' is no %s", text,
                       is_ms ? "duration; write it like 250ms, 5s, 10m, 2h, 1d" : "whole number");
    }
    if (!is_within(f->words, is_ms, v)) {
        return err_set(e, ERR_INPUT, "%.40s is not within %s", text, f->words);
    }
    set_int(f, values, v);
    return true;
}

static void
add_item(const struct flag *f, const char *text, void *values)
{
    struct flag_list *list = at(f, values);
    VEC_GROW(list->items, list->n, list->cap);
    list->items[list->n++] = (struct flag_item){f->name, text};
}

bool
flag_set(const struct flag *f, const char *text, void *values, struct err *e)
{
    switch (f->type) {
    case FLAG_BOOL:
        *(bool *)at(f, values) = true;
        return true;
    case FLAG_WORD:
        if (!has_word(f->words, text)) {
            return err_set(e, ERR_INPUT, "'%.40s' is none of %s", text, f->words);
        }
        set_text(f, values, text);
        return true;
    case FLAG_TEXT:
        set_text(f, values, text);
        return true;
    case FLAG_INT:
    case FLAG_MS:
        return set_number(f, text, values, e);
    case FLAG_TIME:
        return set_time(f, text, values, e);
    case FLAG_GAP:
        return set_gap(f, text, values, e);
    case FLAG_BATCH:
        return set_batch(f, text, values, e);
    case FLAG_QUIET:
        return set_quiet(f, text, values, e);
    case FLAG_LIST:
        add_item(f, text, values);
        return true;
    }
    return false;
}

/* --- values as text ------------------------------------------------------------------- */

static void
write_ms(int64_t ms, struct buf *out)
{
    static const struct {
        const char *unit;
        int64_t ms;
    } units[] = {{"d", 86400000}, {"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1}};
    size_t i = ms ? 0 : 3;
    while (ms % units[i].ms) {
        i++;
    }
    buf_addf(out, "%" PRId64 "%s", ms / units[i].ms, units[i].unit);
}

static void
write_pair(const struct flag *f, struct flag_pair v, struct buf *out)
{
    if (f->type == FLAG_QUIET) {
        buf_addf(out, v.a < 0 ? "none" : "%02d:%02d-%02d:%02d", (int)v.a / 60, (int)v.a % 60,
                 (int)v.b / 60, (int)v.b % 60);
    } else if (f->type == FLAG_GAP) {
        write_ms(v.a, out);
        if (v.a != v.b) {
            buf_adds(out, "..");
            write_ms(v.b, out);
        }
    } else if (v.a == 0) {
        buf_adds(out, "none");
    } else {
        buf_addf(out, "%" PRId64 "/", v.a);
        write_ms(v.b, out);
    }
}

void
flag_write(const struct flag *f, const void *values, struct buf *out)
{
    const void *p = (const char *)values + f->offset;
    if (flag_is_unset(f, values)) {
        return;
    }
    switch (f->type) {
    case FLAG_BOOL:
        buf_adds(out, "true");
        break;
    case FLAG_TEXT:
    case FLAG_WORD:
        buf_adds(out, *(const char *const *)p);
        break;
    case FLAG_INT:
        buf_addi(out, *(const int64_t *)p);
        break;
    case FLAG_MS:
        write_ms(*(const int64_t *)p, out);
        break;
    case FLAG_GAP:
    case FLAG_BATCH:
    case FLAG_QUIET:
        write_pair(f, *(const struct flag_pair *)p, out);
        break;
    case FLAG_TIME:
    case FLAG_LIST:
        break;
    }
}

/* --- names ---------------------------------------------------------------------------- */

static bool
same_name(const char *name, const char *text)
{
    for (; *name && *text; name++, text++) {
        char c = (char)tolower((unsigned char)*text);
        if (*name != (c == '_' || c == ' ' ? '-' : c)) {
            return false;
        }
    }
    return !*name && !*text;
}

const struct flag *
flag_find(const struct flag *flags, const char *name)
{
    for (const struct flag *f = flags; f && f->name; f++) {
        if (same_name(f->name, name)) {
            return f;
        }
    }
    return NULL;
}

const char *
flag_sample(const struct flag *f)
{
    switch (f->type) {
    case FLAG_BOOL:
        return "";
    case FLAG_TEXT:
    case FLAG_LIST:
        return f->words ? f->words : "TEXT";
    case FLAG_WORD:
        return f->words;
    case FLAG_INT:
        return "NUMBER";
    case FLAG_MS:
        return "DURATION";
    case FLAG_TIME:
        return "now|'2026-11-22 10:00'";
    case FLAG_GAP:
        return "5s..15s";
    case FLAG_BATCH:
        return "20/10m|none";
    case FLAG_QUIET:
        return "22:00-07:00|none";
    }
    return "";
}

/* How many letters differ (Levenshtein). */
static size_t
distance(const char *a, const char *b)
{
    size_t row[WORD_MAX + 1], n = strlen(b);
    if (n > WORD_MAX) {
        return WORD_MAX;
    }
    for (size_t j = 0; j <= n; j++) {
        row[j] = j;
    }
    for (size_t i = 1; a[i - 1]; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= n; j++) {
            size_t swap = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            row[j] = row[j] + 1 < swap ? row[j] + 1 : swap;
            row[j] = row[j - 1] + 1 < row[j] ? row[j - 1] + 1 : row[j];
        }
    }
    return row[n];
}

const char *
flag_nearest(const char *word, const char *const *list)
{
    const char *best = NULL;
    size_t fewest = strlen(word) / 3 + 1;
    fewest = fewest < 3 ? fewest : 3;
    for (; *list; list++) {
        size_t d = distance(word, *list);
        bool begins = strlen(word) >= 3 && strncmp(word, *list, strlen(word)) == 0;
        if (begins || d <= fewest) {
            fewest = begins ? 0 : d - (d > 0);
            best = *list;
        }
    }
    return best;
}
