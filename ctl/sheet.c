#include "ctl/sheet.h"

#include "ctl/ctl.h"
#include "shared/clock.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <xxhash.h>

enum { SHOWN_MAX = 20, READ_SIZE = 1 << 20 };

static struct text
trim(const char *s, size_t len)
{
    while (len && isspace((unsigned char)s[len - 1])) {
        len--;
    }
    while (len && isspace((unsigned char)*s)) {
        s++;
        len--;
    }
    return (struct text){s, len};
}

/* --- opening -------------------------------------------------------------------------- */

static bool
read_header(struct sheet *s, struct err *e)
{
    enum csv_result r = csv_next(s->csv, &s->row, e);
    if (r == CSV_END) {
        return err_set(e, ERR_INPUT, "the file is empty; its first line has to name the columns");
    }
    if (r != CSV_RECORD) {
        return false;
    }
    if (s->row.bad_utf8) {
        return err_set(e, ERR_INPUT,
                       "line %" PRId64 ": the header is not UTF-8; save the file as CSV UTF-8",
                       s->row.line);
    }
    s->names = xcalloc(s->row.n, sizeof *s->names);
    s->n = s->row.n;
    for (size_t i = 0; i < s->n; i++) {
        struct text name = sheet_cell(s, i);
        s->names[i] = xstrndup(name.s, name.len);
    }
    s->body_offset = s->row.next_offset;
    s->body_line = s->row.next_line;
    return true;
}

bool
sheet_open(struct sheet *s, const char *path, struct err *e)
{
    struct stat st;
    *s = (struct sheet){.path = path, .fd = open(path, O_RDONLY | O_CLOEXEC)};
    if (s->fd < 0 || fstat(s->fd, &st) < 0) {
        return err_set(e, ERR_INPUT, "%.200s: %s", path, strerror(errno));
    }
    if (!S_ISREG(st.st_mode)) {
        return err_set(
            e, ERR_INPUT,
            "%.200s: is no regular file; an import that was cut off goes on where it was, "
            "so it has to be one",
            path);
    }
    s->size = (int64_t)st.st_size;
    if (!csv_open(s->fd, &(struct csv_options){0}, &s->csv, e) || !read_header(s, e)) {
        return err_wrap(e, "%.200s", path);
    }
    progress_start(&s->progress, path, "rows", s->size, s->body_offset);
    return true;
}

void
sheet_close(struct sheet *s)
{
    for (size_t i = 0; i < s->n; i++) {
        free(s->names[i]);
    }
    free(s->names);
    csv_close(s->csv);
    if (s->errors) {
        (void)fclose(s->errors);
    }
    if (s->fd >= 0) {
        (void)close(s->fd);
    }
}

bool
sheet_errors_to(struct sheet *s, const char *path, bool append, struct err *e)
{
    s->errors = fopen(path, append ? "ae" : "we");
    return s->errors || err_set(e, ERR_INPUT, "--errors %.200s: %s", path, strerror(errno));
}

bool
sheet_go_on(struct sheet *s, int64_t offset, int64_t line, struct err *e)
{
    struct csv_options options = {
        .delimiter = csv_delimiter(s->csv), .offset = offset, .line = line};
    csv_close(s->csv);
    s->csv = NULL;
    progress_start(&s->progress, s->path, "rows", s->size, offset);
    return csv_open(s->fd, &options, &s->csv, e) || err_wrap(e, "%.200s", s->path);
}

bool
sheet_fingerprint(const struct sheet *s, const char *beside, char ret[SHEET_FINGERPRINT],
                  struct err *e)
{
    XXH3_state_t *state = XXH3_createState();
    char *block = xmalloc(READ_SIZE);
    ssize_t n = -1;
    if (state && XXH3_128bits_reset(state) == XXH_OK) {
        (void)XXH3_128bits_update(state, beside, strlen(beside) + 1);
        for (off_t at = 0; (n = pread(s->fd, block, READ_SIZE, at)) > 0; at += n) {
            (void)XXH3_128bits_update(state, block, (size_t)n);
        }
        XXH128_hash_t h = XXH3_128bits_digest(state);
        (void)snprintf(ret, SHEET_FINGERPRINT, "%016" PRIx64 "%016" PRIx64, (uint64_t)h.high64,
                       (uint64_t)h.low64);
    }
    (void)XXH3_freeState(state);
    free(block);
    return n == 0 || err_set(e, ERR_RETRY, "%.200s: reading failed: %s", s->path, strerror(errno));
}

/* --- rows ----------------------------------------------------------------------------- */

static void
report(struct sheet *s, int64_t line, const char *text)
{
    s->refused++;
    if (s->errors) {
        (void)fprintf(s->errors, "%s:%" PRId64 ": %s\n", s->path, line, text);
    } else if (s->refused <= SHOWN_MAX) {
        progress_clear(&s->progress);
        (void)fprintf(stderr, "%s:%" PRId64 ": %s\n", s->path, line, text);
    }
}

void
sheet_refuse(struct sheet *s, const char *fmt, ...)
{
    char text[512];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    s->rows--;
    report(s, s->row.line, text);
}

/* The reader's "line 7: what" names the line where the trouble is. */
static void
report_bad(struct sheet *s, const struct err *e)
{
    long long line;
    int n = 0;
    bool named = sscanf(e->text, "line %lld: %n", &line, &n) == 1 && n > 0;
    report(s, named ? line : s->row.line, e->text + (named ? n : 0));
}

static bool
is_empty(const struct sheet *s)
{
    for (size_t i = 0; i < s->row.n; i++) {
        if (trim(s->row.fields[i].data, s->row.fields[i].len).len) {
            return false;
        }
    }
    return true;
}

/* False, and reported, when the row does not fit under the header. */
static bool
check_row(struct sheet *s)
{
    s->rows++;
    if (s->row.bad_utf8) {
        size_t i = s->row.bad_utf8;
        sheet_refuse(s, "column %zu (%.60s) is not UTF-8: save the file as CSV UTF-8", i,
                     i <= s->n ? s->names[i - 1] : "without a name");
        return false;
    }
    for (size_t i = s->n; i < s->row.n; i++) {
        if (sheet_cell(s, i).len) {
            sheet_refuse(
                s,
                "the row has %zu columns, the header %zu: put a value that holds the separator "
                "'%c' in double quotes",
                s->row.n, s->n, csv_delimiter(s->csv));
            return false;
        }
    }
    return true;
}

enum csv_result
sheet_next(struct sheet *s, struct err *e)
{
    for (;;) {
        progress_at(&s->progress, s->row.next_offset, s->rows);
        enum csv_result r = csv_next(s->csv, &s->row, e);
        if (r == CSV_BAD) {
            report_bad(s, e);
        } else if (r == CSV_FAILED) {
            (void)err_wrap(e, "%.200s", s->path);
            return r;
        } else if (r == CSV_END || (!is_empty(s) && check_row(s))) {
            return r;
        }
    }
}

struct text
sheet_cell(const struct sheet *s, size_t column)
{
    if (column >= s->row.n) {
        return (struct text){"", 0};
    }
    return trim(s->row.fields[column].data, s->row.fields[column].len);
}

/* --- names ---------------------------------------------------------------------------- */

/* The next letter, digit or byte of a longer character, in lower case; 0 at the end. */
static int
next_letter(const char **p)
{
    for (; **p; ++*p) {
        unsigned char c = (unsigned char)**p;
        if (c >= 0x80 || isalnum(c)) {
            ++*p;
            return tolower(c);
        }
    }
    return 0;
}

bool
sheet_same(const char *a, const char *b)
{
    int x, y;
    do {
        x = next_letter(&a);
        y = next_letter(&b);
    } while (x == y && x);
    return x == y;
}

size_t
sheet_find(const struct sheet *s, const char *name)
{
    size_t found = SHEET_NONE, count = 0;
    uint64_t number;
    if (*name == '#' && ctl_parse_id(name + 1, &number) && number >= 1 && number <= s->n) {
        return (size_t)number - 1;
    }
    for (size_t i = 0; i < s->n; i++) {
        if (strcmp(s->names[i], name) == 0) {
            return i;
        }
        if (sheet_same(s->names[i], name)) {
            found = i;
            count++;
        }
    }
    return count == 1 ? found : SHEET_NONE;
}

void
sheet_list(const struct sheet *s, struct buf *out)
{
    for (size_t i = 0; i < s->n; i++) {
        buf_addf(out, "%s'%.60s'", i ? ", " : "", s->names[i]);
    }
    buf_adds(out, "");
}

/* --- the end -------------------------------------------------------------------------- */

static const struct column report_columns[] = {
    {"inserted", "INSERTED", SHOW_INT},
    {"updated", "UPDATED", SHOW_INT},
    {"duplicates", "DUPLICATES", SHOW_INT},
    {"refused", "REFUSED", SHOW_INT},
    {"rows", "ROWS", SHOW_INT},
    {"took_ms", "TOOK", SHOW_MS},
    {NULL, NULL, SHOW_TEXT},
};

int
sheet_report(struct sheet *s, const struct output *o, const struct sheet_counts *n)
{
    progress_clear(&s->progress);
    if (s->errors) {
        if (s->refused) {
            ctl_note("%" PRId64 " rows were refused; each is in the file given with --errors",
                     s->refused);
        }
    } else if (s->refused > SHOWN_MAX) {
        ctl_note("%s: %" PRId64 " more rows were refused; --errors FILE keeps them all", s->path,
                 s->refused - SHOWN_MAX);
    }
    struct doc *d = doc_object();
    doc_put_str(d, "file", s->path);
    doc_put_bool(d, "dry_run", n->dry_run);
    if (n->resumed_at) {
        doc_put_int(d, "resumed_at_line", n->resumed_at);
    }
    doc_put_int(d, "inserted", n->inserted);
    doc_put_int(d, "updated", n->updated);
    doc_put_int(d, "duplicates", n->duplicates);
    doc_put_int(d, "refused", s->refused);
    doc_put_int(d, "rows", s->rows + s->refused);
    doc_put_int(d, "took_ms", clock_mono_ms() - s->progress.started_ms);
    if (n->dry_run && !o->json) {
        puts("A dry run: nothing was changed. It would be:");
    }
    output_one(o, report_columns, d);
    return s->refused ? CTL_FAILED : CTL_OK;
}
