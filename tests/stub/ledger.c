#include "tests/stub/ledger.h"

#include "shared/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <xxhash.h>

struct ledger {
    int fd;       /* -1: keeps nothing */
    bool regular; /* can be truncated */
    bool broken;  /* a part of a line could not be taken back: nothing more is written */
    off_t size;
    struct buf batch;
};

/* Finds the serial of the last whole line and takes a torn one behind it off the file.  What does
 * not look like a ledger is left alone. */
static bool
find_end(struct ledger *l, uint64_t *last_serial, struct err *e)
{
    char tail[8192];
    off_t from = l->size > (off_t)sizeof tail - 1 ? l->size - (off_t)sizeof tail + 1 : 0;
    ssize_t n = pread(l->fd, tail, sizeof tail - 1, from);
    if (n < 0) {
        return err_set(e, ERR_RETRY, "cannot read the ledger: %s", strerror(errno));
    }
    if (n == 0) {
        return true;
    }
    bool torn_only = from == 0 && !memchr(tail, '\n', (size_t)n) && *tail >= '0' && *tail <= '9';
    while (n > 0 && tail[n - 1] != '\n') {
        n--;
    }
    tail[n ? n - 1 : 0] = '\0';
    const char *line = strrchr(tail, '\n');
    if (!torn_only &&
        sscanf(line ? line + 1 : tail, "%*[0-9]\t%*[0-9]\t%" SCNu64 "\t", last_serial) != 1) {
        return err_set(e, ERR_RETRY, "the file is no ledger");
    }
    if (from + n != l->size && ftruncate(l->fd, from + n) != 0) {
        return err_set(e, ERR_RETRY, "cannot take back a torn line: %s", strerror(errno));
    }
    l->size = from + n;
    return true;
}

static bool
open_file(struct ledger *l, const char *path, uint64_t *last_serial, struct err *e)
{
    struct stat st;
    l->fd = open(path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
    if (l->fd < 0 || fstat(l->fd, &st) != 0) {
        return err_set(e, ERR_RETRY, "cannot open %s: %s", path, strerror(errno));
    }
    if (flock(l->fd, LOCK_EX | LOCK_NB) != 0) {
        return err_set(e, ERR_REFUSED, "another process writes %s", path);
    }
    l->regular = S_ISREG(st.st_mode);
    l->size = st.st_size;
    return !l->regular || find_end(l, last_serial, e);
}

bool
ledger_open(const char *path, struct ledger **ret, uint64_t *last_serial, struct err *e)
{
    struct ledger *l = xcalloc(1, sizeof *l);
    l->fd = -1;
    *last_serial = 0;
    if (path && !open_file(l, path, last_serial, e)) {
        ledger_close(l);
        return false;
    }
    *ret = l;
    return true;
}

void
ledger_close(struct ledger *l)
{
    if (l) {
        if (l->fd >= 0) {
            (void)close(l->fd);
        }
        buf_done(&l->batch);
        free(l);
    }
}

static const char *
or_dash(const char *s)
{
    return *s ? s : "-";
}

size_t
ledger_add(struct ledger *l, const struct ledger_line *line)
{
    struct timespec ts;
    (void)clock_gettime(CLOCK_REALTIME, &ts);
    buf_addf(&l->batch,
             "%" PRId64 "\t%" PRId64 "\t%" PRIu64 "\t%s\t%s\t%s\t%s\t%016" PRIx64 "\t%zu\t%s\n",
             (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000, clock_mono_us(), line->serial,
             or_dash(line->job), or_dash(line->attempt), or_dash(line->device),
             or_dash(line->recipient), (uint64_t)XXH64(line->text, line->text_len, 0),
             line->text_len, line->verdict);
    return l->batch.len;
}

/* After a failed write: only whole lines stay in the file.  Returns how many bytes of the batch do.
 */
static size_t
take_back(struct ledger *l, size_t written)
{
    const char *last = written ? memrchr(l->batch.data, '\n', written) : NULL;
    size_t whole = last ? (size_t)(last - l->batch.data) + 1 : 0;
    if (whole != written) {
        l->size -= (off_t)(written - whole);
        l->broken = !l->regular || ftruncate(l->fd, l->size) != 0;
    }
    return whole;
}

bool
ledger_flush(struct ledger *l, size_t *recorded, struct err *e)
{
    size_t all = l->batch.len, written = 0;
    bool ok = true;
    if (l->broken) {
        ok = err_set(e, ERR_RETRY, "a part of a line stands in the ledger");
    }
    while (ok && l->fd >= 0 && written < all) {
        ssize_t n = write(l->fd, l->batch.data + written, all - written);
        if (n > 0) {
            written += (size_t)n;
            l->size += n;
        } else if (n == 0 || errno != EINTR) {
            ok = err_set(e, ERR_RETRY, "cannot write the ledger: %s", strerror(errno));
        }
    }
    *recorded = ok ? all : take_back(l, written);
    buf_clear(&l->batch);
    return ok;
}

/* Just enough JSON to find a member: it walks over values without checking them, and any end of the
 * bytes ends it. */
struct scan {
    const char *p, *end;
};

static void
skip_space(struct scan *s)
{
    while (s->p < s->end && (*s->p == ' ' || *s->p == '\t' || *s->p == '\n' || *s->p == '\r')) {
        s->p++;
    }
}

/* Reads the string at s, and gives what is between its quotes. */
static bool
scan_string(struct scan *s, struct scan *ret)
{
    if (s->p == s->end || *s->p != '"') {
        return false;
    }
    const char *start = ++s->p;
    for (; s->p < s->end; s->p++) {
        if (*s->p == '"') {
            *ret = (struct scan){start, s->p++};
            return true;
        }
        if (*s->p == '\\' && s->p + 1 < s->end) {
            s->p++;
        }
    }
    return false;
}

/* Walks over one value: to the comma or the bracket that ends it. */
static bool
skip_value(struct scan *s)
{
    struct scan ignored;
    size_t depth = 0;
    while (s->p < s->end) {
        char c = *s->p;
        if (c == '"') {
            if (!scan_string(s, &ignored)) {
                return false;
            }
            continue;
        }
        if (depth == 0 && (c == ',' || c == '}' || c == ']')) {
            return true;
        }
        depth += c == '{' || c == '[';
        depth -= c == '}' || c == ']';
        s->p++;
    }
    return false;
}

/* Moves s from the start of an object to the value of one of its members. */
static bool
find_member(struct scan *s, const char *name)
{
    skip_space(s);
    if (s->p == s->end || *s->p != '{') {
        return false;
    }
    do {
        struct scan key;
        s->p++;
        skip_space(s);
        if (!scan_string(s, &key)) {
            return false;
        }
        skip_space(s);
        if (s->p == s->end || *s->p++ != ':') {
            return false;
        }
        skip_space(s);
        size_t n = (size_t)(key.end - key.p);
        if (n == strlen(name) && memcmp(key.p, name, n) == 0) {
            return true;
        }
    } while (skip_value(s) && *s->p == ',');
    return false;
}

void
ledger_text(const char *body, size_t n, bool json, const char **text, size_t *text_len)
{
    struct scan s = {body, body + n}, found;
    *text = body;
    *text_len = n;
    if (!json || !find_member(&s, "text")) {
        return;
    }
    if (s.p < s.end && *s.p == '{' && !find_member(&s, "body")) {
        return;
    }
    if (scan_string(&s, &found)) {
        *text = found.p;
        *text_len = (size_t)(found.end - found.p);
    }
}
