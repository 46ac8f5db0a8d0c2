#include "shared/csv.h"

#include "shared/mem.h"
#include "shared/render.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BUFFER_FIRST = 256 * 1024, BUFFER_MIN = 16, DETECT_MAX = 65536 };

/* A field while its record is being read: relative to the record, because reading on may move the
 * record. */
struct span {
    size_t from, len;
    bool doubled; /* holds "" */
};

struct csv {
    int fd;
    char delimiter;
    char *data;
    size_t cap, end;
    size_t start, pos;  /* the record; the next byte to look at */
    int64_t base;       /* of data in the file */
    int64_t line;       /* of pos */
    bool eof, skipping; /* skipping: the record is too long, its beginning is no longer in data */
    int read_errno;
    struct err bad; /* the first thing wrong with the record */
    bool ends_plain[256], ends_quoted[256];
    struct span spans[CSV_COLUMNS_MAX];
    struct csv_field fields[CSV_COLUMNS_MAX];
};

/* Reads on, keeping the record.  False at the end, which it finds with room left in data (for the
 * NUL behind the last field), and after an error. */
static bool
more(struct csv *c)
{
    if (c->eof || c->read_errno) {
        return false;
    }
    if (c->pos - c->start > CSV_RECORD_MAX + 2) { /* with its CR LF */
        c->skipping = true;
        c->start = c->pos;
    }
    if (c->start) {
        memmove(c->data, c->data + c->start, c->end - c->start);
        c->base += (int64_t)c->start;
        c->pos -= c->start;
        c->end -= c->start;
        c->start = 0;
    }
    if (c->end == c->cap) {
        c->cap *= 2;
        c->data = xrealloc(c->data, c->cap);
    }
    ssize_t n;
    do {
        n = read(c->fd, c->data + c->end, c->cap - c->end);
    } while (n < 0 && errno == EINTR);
    c->eof = n == 0;
    c->read_errno = n < 0 ? errno : 0;
    c->end += n > 0 ? (size_t)n : 0;
    return n > 0;
}

/* The next byte, -1 at the end. */
static int
peek(struct csv *c)
{
    return c->pos < c->end || more(c) ? (unsigned char)c->data[c->pos] : -1;
}

/* Moves pos to the next byte that `ends` holds, or to the end. */
static void
skip_to(struct csv *c, const bool *ends)
{
    do {
        const char *p = c->data + c->pos, *end = c->data + c->end;
        while (p < end && !ends[(unsigned char)*p]) {
            p++;
        }
        c->pos = (size_t)(p - c->data);
    } while (c->pos == c->end && more(c));
}

static void
skip_line_end(struct csv *c)
{
    bool cr = c->data[c->pos++] == '\r';
    if (cr && peek(c) == '\n') {
        c->pos++;
    }
    c->line++;
}

/* The field in quotes at pos, up to the delimiter or line end behind it. */
static void
read_quoted(struct csv *c, struct span *span, size_t column)
{
    int64_t line = c->line;
    c->pos++;
    span->from = c->pos - c->start;
    for (;;) {
        skip_to(c, c->ends_quoted);
        int byte = peek(c);
        if (byte < 0) {
            if (!c->bad.kind) {
                (void)err_set(&c->bad, ERR_INPUT,
                              "line %lld: the quote opened here, in column %zu, is never closed",
                              (long long)line, column);
            }
            span->len = c->pos - c->start - span->from;
            return;
        }
        if (byte != '"') {
            skip_line_end(c);
            continue;
        }
        c->pos++;
        if (peek(c) != '"') {
            break;
        }
        c->pos++;
        span->doubled = true;
    }
    span->len = c->pos - c->start - span->from - 1;
    int byte = peek(c);
    while ((byte == ' ' || byte == '\t') && byte != c->delimiter) {
        c->pos++;
        byte = peek(c);
    }
    if (byte >= 0 && !c->ends_plain[byte]) {
        if (!c->bad.kind) {
            (void)err_set(&c->bad, ERR_INPUT,
                          "line %lld: text behind the closing quote of column %zu; write a quote "
                          "inside quotes twice",
                          (long long)c->line, column);
        }
        skip_to(c, c->ends_plain);
    }
}

/* Reads the spans of the record at pos, up to and with its line end.  Returns how many fields it
 * has, which may be more than there are spans; *end is where the last one ends. */
static size_t
read_spans(struct csv *c, size_t *end)
{
    struct span beyond;
    for (size_t n = 0;;) {
        struct span *span = n < CSV_COLUMNS_MAX ? &c->spans[n] : &beyond;
        *span = (struct span){.from = c->pos - c->start};
        n++;
        if (peek(c) == '"') {
            read_quoted(c, span, n);
        } else {
            skip_to(c, c->ends_plain);
            span->len = c->pos - c->start - span->from;
        }
        int byte = peek(c);
        if (byte == c->delimiter) {
            c->pos++;
            continue;
        }
        *end = c->pos - c->start;
        if (byte >= 0) {
            skip_line_end(c);
        }
        return n;
    }
}

/* "" -> " in place; returns the new length. */
static size_t
undouble(char *s, size_t len)
{
    size_t to = 0;
    for (size_t i = 0; i < len; i++) {
        s[to++] = s[i];
        i += s[i] == '"';
    }
    return to;
}

static bool
finish_fields(struct csv *c, struct csv_record *r, size_t n, size_t end)
{
    char *record = c->data + c->start;
    bool utf8 = render_bad_utf8(record, end) == end;
    for (size_t i = 0; i < n; i++) {
        char *data = record + c->spans[i].from;
        size_t len = c->spans[i].doubled ? undouble(data, c->spans[i].len) : c->spans[i].len;
        if (len > CSV_FIELD_MAX) {
            return err_set(&c->bad, ERR_INPUT,
                           "line %lld: column %zu has %zu bytes, more than the %d allowed",
                           (long long)r->line, i + 1, len, CSV_FIELD_MAX);
        }
        data[len] = '\0';
        c->fields[i] = (struct csv_field){data, len};
        if (!utf8 && !r->bad_utf8 && render_bad_utf8(data, len) < len) {
            r->bad_utf8 = i + 1;
        }
    }
    r->fields = c->fields;
    r->n = n;
    return true;
}

static bool
finish(struct csv *c, struct csv_record *r, size_t n, size_t end)
{
    long long line = r->line;
    if (c->bad.kind) {
        return false;
    }
    if (c->skipping || end > CSV_RECORD_MAX) {
        return err_set(&c->bad, ERR_INPUT, "line %lld: the record has more than %d bytes%s", line,
                       CSV_RECORD_MAX,
                       r->next_line > r->line + 1 ? "; is a quote not closed?" : "");
    }
    if (n > CSV_COLUMNS_MAX) {
        return err_set(&c->bad, ERR_INPUT, "line %lld: %zu columns, more than the %d allowed", line,
                       n, CSV_COLUMNS_MAX);
    }
    if (memchr(c->data + c->start, 0, end)) {
        return err_set(&c->bad, ERR_INPUT,
                       "line %lld: a NUL byte, which is no text; save the file as CSV UTF-8", line);
    }
    return finish_fields(c, r, n, end);
}

enum csv_result
csv_next(struct csv *c, struct csv_record *ret, struct err *e)
{
    c->bad.kind = ERR_NONE;
    c->skipping = false;
    c->start = c->pos;
    int byte;
    while ((byte = peek(c)) == '\n' || byte == '\r') {
        skip_line_end(c);
        c->start = c->pos;
    }
    *ret = (struct csv_record){.line = c->line};
    size_t end = 0;
    size_t n = byte < 0 ? 0 : read_spans(c, &end);
    ret->next_offset = c->base + (int64_t)c->pos;
    ret->next_line = c->line;
    if (c->read_errno) {
        (void)err_set(e, ERR_RETRY, "line %lld: reading failed: %s", (long long)c->line,
                      strerror(c->read_errno));
        return CSV_FAILED;
    }
    if (byte < 0) {
        return CSV_END;
    }
    if (finish(c, ret, n, end)) {
        return CSV_RECORD;
    }
    (void)err_set(e, c->bad.kind, "%s", c->bad.text);
    return CSV_BAD;
}

/* The delimiter that the first line that is not empty holds most of. */
static char
detect(struct csv *c)
{
    static const char candidates[] = ",;\t|";
    size_t counts[4] = {0}, best = 0;
    bool quoted = false, any = false;
    int byte, before = ',';
    for (; (byte = peek(c)) >= 0 && c->pos - c->start < DETECT_MAX; before = byte, c->pos++) {
        if (!quoted && (byte == '\n' || byte == '\r')) {
            if (any) {
                break;
            }
            byte = ',';
            continue;
        }
        any = true;
        const char *found = byte ? strchr(candidates, byte) : NULL;
        if (byte == '"') {
            quoted = !quoted && (before == '"' || strchr(candidates, before));
        } else if (found && !quoted) {
            counts[found - candidates]++;
        }
    }
    c->pos = c->start;
    for (size_t i = 1; i < 4; i++) {
        best = counts[i] > counts[best] ? i : best;
    }
    return candidates[best];
}

/* Skips the byte order mark and finds the delimiter. */
static bool
read_head(struct csv *c, struct err *e)
{
    while (c->end < 3 && more(c)) {
    }
    if (c->end >= 2 &&
        (memcmp(c->data, "\xff\xfe", 2) == 0 || memcmp(c->data, "\xfe\xff", 2) == 0)) {
        return err_set(e, ERR_INPUT, "the file is UTF-16; save it as CSV UTF-8");
    }
    if (c->end >= 3 && memcmp(c->data, "\xef\xbb\xbf", 3) == 0) {
        c->start = c->pos = 3;
    }
    if (!c->delimiter) {
        c->delimiter = detect(c);
    }
    return !c->read_errno || err_set(e, c->read_errno == EISDIR ? ERR_INPUT : ERR_RETRY,
                                     "reading failed: %s", strerror(c->read_errno));
}

static bool
go_on_at(struct csv *c, int64_t offset, int64_t line, struct err *e)
{
    struct stat st;
    if (offset < 0 || fstat(c->fd, &st) < 0 || !S_ISREG(st.st_mode)) {
        return err_set(e, ERR_INPUT, "going on at byte %lld needs a file", (long long)offset);
    }
    if (st.st_size < offset) {
        return err_set(
            e, ERR_INPUT,
            "the file has %lld bytes and was already read up to byte %lld; it is not the same file",
            (long long)st.st_size, (long long)offset);
    }
    if (lseek(c->fd, offset, SEEK_SET) < 0) {
        return err_set(e, ERR_RETRY, "seeking failed: %s", strerror(errno));
    }
    c->start = c->pos = c->end = 0;
    c->base = offset;
    c->line = line > 0 ? line : 1;
    c->eof = false;
    return true;
}

bool
csv_open(int fd, const struct csv_options *options, struct csv **ret, struct err *e)
{
    char delimiter = options->delimiter;
    if (delimiter == '"' || delimiter == '\r' || delimiter == '\n' ||
        (unsigned char)delimiter > 0x7f) {
        return err_set(e, ERR_INPUT,
                       "the delimiter must be one ASCII character, no quote and no line end");
    }
    struct csv *c = xcalloc(1, sizeof *c);
    c->fd = fd;
    c->delimiter = delimiter;
    c->line = 1;
    c->cap = options->buffer ? options->buffer : BUFFER_FIRST;
    c->cap = c->cap < BUFFER_MIN ? BUFFER_MIN : c->cap;
    c->data = xmalloc(c->cap);
    (void)lseek(fd, 0, SEEK_SET); /* fails on a pipe, which is at its beginning */
    if (!read_head(c, e) || (options->offset && !go_on_at(c, options->offset, options->line, e))) {
        csv_close(c);
        return false;
    }
    c->ends_plain['\n'] = c->ends_plain['\r'] = c->ends_plain[(unsigned char)c->delimiter] = true;
    c->ends_quoted['\n'] = c->ends_quoted['\r'] = c->ends_quoted['"'] = true;
    *ret = c;
    return true;
}

void
csv_close(struct csv *c)
{
    if (c) {
        free(c->data);
        free(c);
    }
}

char
csv_delimiter(const struct csv *c)
{
    return c->delimiter;
}
