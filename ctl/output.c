#include "ctl/output.h"

#include "shared/store.h"

#include <inttypes.h>
#include <locale.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <wchar.h>

enum { GAP = 2, COLUMNS_MAX = 32 };

void
output_init(void)
{
    /* Only the character set: numbers and messages stay as they are. */
    if (!setlocale(LC_CTYPE, "C.UTF-8")) {
        (void)setlocale(LC_CTYPE, "");
    }
    tzset();
}

/* --- from SQL ------------------------------------------------------------------------- */

/* "2026-11-22 10:00:00.000" -> "2026-11-22T10:00:00.000Z" */
static void
put_time(struct doc *object, const char *key, const char *sql)
{
    char iso[40];
    (void)snprintf(iso, sizeof iso, "%.30sZ", sql);
    char *blank = strchr(iso, ' ');
    if (blank) {
        *blank = 'T';
    }
    doc_put_str(object, key, iso);
}

void
output_put_ms(struct doc *object, const char *key, int64_t unix_ms)
{
    time_t s = (time_t)(unix_ms / 1000);
    struct tm tm;
    char text[32], iso[40];
    if (unix_ms <= 0 || !gmtime_r(&s, &tm)) {
        doc_put_str(object, key, NULL);
        return;
    }
    (void)strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &tm);
    (void)snprintf(iso, sizeof iso, "%s.%03dZ", text, (int)(unix_ms % 1000));
    doc_put_str(object, key, iso);
}

void
output_row(const struct rows *r, unsigned first, const struct column *columns, struct doc *object)
{
    for (unsigned i = 0; columns[i].key; i++) {
        const char *key = columns[i].key;
        if (!r->field[first + i]) {
            doc_put_str(object, key, NULL);
            continue;
        }
        switch (columns[i].show) {
        case SHOW_TEXT:
            doc_put_strn(object, key, r->field[first + i], r->length[first + i]);
            break;
        case SHOW_ID:
            doc_put_id(object, key, rows_uint(r, first + i));
            break;
        case SHOW_TIME:
            put_time(object, key, rows_str(r, first + i));
            break;
        case SHOW_YES:
            doc_put_bool(object, key, rows_int(r, first + i) != 0);
            break;
        case SHOW_INT:
        case SHOW_MS:
        case SHOW_PERCENT:
            doc_put_int(object, key, rows_int(r, first + i));
            break;
        }
    }
}

struct doc *
output_rows(struct rows *r, const struct column *columns)
{
    struct doc *list = doc_list();
    while (rows_next(r)) {
        output_row(r, 0, columns, doc_append(list));
    }
    return list;
}

/* --- one value as text ---------------------------------------------------------------- */

/* What somebody has set is whole in one unit, and shown so: 90s.  What was measured or foreseen is
 * not: 6h28m5s. */
static void
add_ms(int64_t ms, struct buf *out)
{
    static const struct {
        const char *unit;
        int64_t ms;
    } units[] = {{"d", 86400000}, {"h", 3600000}, {"m", 60000}, {"s", 1000}};
    enum { UNITS = sizeof units / sizeof *units, ROUNDED_FROM_MS = 10000, ONE_UNIT_MAX = 999 };
    ms = ms >= ROUNDED_FROM_MS ? (ms + 500) / 1000 * 1000 : ms;
    if (!ms || ms % 1000) {
        buf_addf(out, ms ? "%" PRId64 "ms" : "%" PRId64, ms);
        return;
    }
    size_t whole = 0;
    while (ms % units[whole].ms) {
        whole++;
    }
    bool one = whole == 0 || ms / units[whole].ms <= ONE_UNIT_MAX;
    for (size_t i = one ? whole : 0; ms && i < UNITS; ms %= units[i++].ms) {
        if (ms >= units[i].ms) {
            buf_addf(out, "%" PRId64 "%s", ms / units[i].ms, units[i].unit);
        }
    }
}

/* "2026-11-22T10:00:00.000Z" -> "2026-11-22 18:00:00 +08" */
static void
add_time(const struct output *o, const char *iso, struct buf *out)
{
    struct tm tm = {0}, local;
    char text[64];
    time_t t;
    if (!strptime(iso, "%Y-%m-%dT%H:%M:%S", &tm) || (t = timegm(&tm)) == (time_t)-1) {
        buf_adds(out, iso);
        return;
    }
    struct tm *shown = o->utc ? gmtime_r(&t, &local) : localtime_r(&t, &local);
    (void)strftime(text, sizeof text, o->utc ? "%Y-%m-%d %H:%M:%S UTC" : "%Y-%m-%d %H:%M:%S %Z",
                   shown);
    buf_adds(out, text);
}

static void
add_value(const struct output *o, enum show show, const struct doc *v, struct buf *out)
{
    switch (doc_type(v)) {
    case DOC_NULL:
        buf_adds(out, "-");
        break;
    case DOC_BOOL:
        buf_adds(out, doc_int(v) ? "yes" : "no");
        break;
    case DOC_INT:
        if (show == SHOW_MS) {
            add_ms(doc_int(v), out);
        } else {
            buf_addf(out, show == SHOW_PERCENT ? "%" PRId64 "%%" : "%" PRId64, doc_int(v));
        }
        break;
    case DOC_STR:
        if (show == SHOW_TIME) {
            add_time(o, doc_str(v), out);
        } else {
            buf_adds(out, doc_str(v));
        }
        break;
    case DOC_LIST:
        for (size_t i = 0; i < doc_len(v); i++) {
            buf_adds(out, i ? ", " : "");
            add_value(o, show, doc_at(v, i), out);
        }
        break;
    case DOC_REAL:
    case DOC_OBJECT:
        doc_write(v, out);
        break;
    }
}

/* Prints text and returns how wide it is; indent < 0: a line end becomes a blank, otherwise it is
 * kept and the next line indented.  f NULL: measures only. */
static int
put_text(FILE *f, const char *text, int indent)
{
    mbstate_t state = {0};
    int width = 0;
    for (size_t left = strlen(text); left;) {
        wchar_t wc;
        size_t n = mbrtowc(&wc, text, left, &state);
        bool broken = n == 0 || n > left;
        int w = broken ? -1 : wcwidth(wc);
        n = broken ? 1 : n;
        if (*text == '\n' && indent >= 0) {
            if (f) {
                (void)fprintf(f, "\n%*s", indent, "");
            }
        } else if (w < 0) {
            if (f) {
                (void)fputc(*text == '\n' || *text == '\t' ? ' ' : '?', f);
            }
            width++;
        } else {
            if (f) {
                (void)fwrite(text, 1, n, f);
            }
            width += w;
        }
        if (broken) {
            state = (mbstate_t){0};
        }
        text += n;
        left -= n;
    }
    return width;
}

/* --- tables and lines ----------------------------------------------------------------- */

static bool
is_right(enum show show)
{
    return show == SHOW_INT || show == SHOW_ID || show == SHOW_MS || show == SHOW_PERCENT;
}

/* One cell, padded to its width; the last one of a line only on its left. */
static void
put_cell(const char *text, int width, bool right, bool last)
{
    int pad = width - put_text(NULL, text, -1);
    if (right) {
        printf("%*s", pad, "");
    }
    (void)put_text(stdout, text, -1);
    if (!right && !last) {
        printf("%*s", pad, "");
    }
    (void)fputs(last ? "\n" : "  ", stdout);
}

static void
put_table(const struct output *o, const struct column *columns, const struct doc *list)
{
    const struct column *shown[COLUMNS_MAX] = {0};
    int widths[COLUMNS_MAX];
    size_t n = 0, rows = doc_len(list);
    for (; columns->key && n < COLUMNS_MAX; columns++) {
        if (columns->title) {
            widths[n] = put_text(NULL, columns->title, -1);
            shown[n++] = columns;
        }
    }
    struct buf *cells = xcalloc(rows * n + 1, sizeof *cells);
    for (size_t i = 0; i < rows * n; i++) {
        const struct column *c = shown[i % n];
        add_value(o, c->show, doc_get(doc_at(list, i / n), c->key), &cells[i]);
        buf_adds(&cells[i], "");
        int w = put_text(NULL, cells[i].data, -1);
        widths[i % n] = w > widths[i % n] ? w : widths[i % n];
    }
    for (size_t i = 0; rows && i < n; i++) {
        put_cell(shown[i]->title, widths[i], is_right(shown[i]->show), i + 1 == n);
    }
    for (size_t i = 0; i < rows * n; i++) {
        put_cell(cells[i].data, widths[i % n], is_right(shown[i % n]->show), i % n + 1 == n);
        buf_done(&cells[i]);
    }
    free(cells);
}

static bool
has_key(const struct column *columns, const char *key, size_t n)
{
    for (const struct column *c = columns; c->key; c++) {
        if (strlen(c->key) == n && memcmp(c->key, key, n) == 0) {
            return true;
        }
    }
    return false;
}

/* "gap_min_ms" -> "gap min"; "free_at" -> "free at" beside a "free". */
static int
label(const struct column *columns, const struct column *c, char *out, size_t size)
{
    size_t n = strlen(c->key);
    const char *unit = c->show == SHOW_MS ? "_ms" : c->show == SHOW_TIME ? "_at" : "";
    size_t less = strlen(unit);
    if (less && n > less && strcmp(c->key + n - less, unit) == 0 &&
        !has_key(columns, c->key, n - less)) {
        n -= less;
    }
    (void)snprintf(out, size, "%.*s", (int)n, c->key);
    for (char *p = out; *p; p++) {
        *p = *p == '_' ? ' ' : *p;
    }
    return (int)strlen(out);
}

static void
put_lines(const struct output *o, const struct column *columns, const struct doc *object)
{
    char name[48];
    int width = 0;
    for (const struct column *c = columns; c->key; c++) {
        int w = doc_get(object, c->key) ? label(columns, c, name, sizeof name) : 0;
        width = w > width ? w : width;
    }
    for (const struct column *c = columns; c->key; c++) {
        const struct doc *v = doc_get(object, c->key);
        if (!v) {
            continue;
        }
        struct buf text = {0};
        add_value(o, c->show, v, &text);
        int w = label(columns, c, name, sizeof name);
        printf("%s%*s", name, width - w + GAP, "");
        (void)put_text(stdout, text.data ? text.data : "", width + GAP);
        puts("");
        buf_done(&text);
    }
}

static void
put_section(const struct output *o, const struct section *s, const struct doc *part)
{
    if (doc_type(part) == DOC_LIST && doc_len(part) == 0) {
        printf("no %s\n", s->key);
    } else if (doc_type(part) == DOC_LIST) {
        put_table(o, s->columns, part);
    } else if (doc_type(part) == DOC_OBJECT) {
        put_lines(o, s->columns, part);
    } else {
        struct buf text = {0};
        add_value(o, SHOW_TEXT, part, &text);
        (void)put_text(stdout, text.data ? text.data : "", 0);
        puts("");
        buf_done(&text);
    }
}

/* A document that cannot be written is noticed when the program ends: see main(). */
static void
finish_json(struct doc *d)
{
    (void)doc_print(d, stdout);
    doc_free(d);
}

void
output_list(const struct output *o, const struct column *columns, struct doc *list)
{
    if (o->json) {
        finish_json(list);
        return;
    }
    if (doc_len(list)) {
        put_table(o, columns, list);
    } else {
        puts("(none)");
    }
    doc_free(list);
}

void
output_one(const struct output *o, const struct column *columns, struct doc *object)
{
    if (o->json) {
        finish_json(object);
        return;
    }
    struct doc *list = doc_list();
    doc_append_copy(list, object);
    put_table(o, columns, list);
    doc_free(list);
    doc_free(object);
}

void
output_report(const struct output *o, const struct section *sections, struct doc *object)
{
    if (o->json) {
        finish_json(object);
        return;
    }
    bool first = true;
    for (const struct section *s = sections; s->key; s++) {
        const struct doc *part = *s->key ? doc_get(object, s->key) : object;
        if (!part) {
            continue;
        }
        if (!first) {
            puts("");
        }
        if (s->title) {
            puts(s->title);
        }
        put_section(o, s, part);
        first = false;
    }
    doc_free(object);
}

void
output_said(const struct output *o, struct doc *object, const char *fmt, ...)
{
    if (o->json) {
        finish_json(object);
        return;
    }
    char text[4096]; /* a sentence */
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    (void)put_text(stdout, text, 0);
    puts("");
    doc_free(object);
}
