/* Three bytes of settings, then a file: the records are the same whatever the buffer and whichever
 * record reading goes on from; places only grow; the last record ends where the file does.
 *
 *   clang -D_GNU_SOURCE -I. -g -O1 -fsanitize=fuzzer,address,undefined tests/fuzz/fuzz_csv.c \
 *       shared/csv.c shared/render.c shared/phone.c shared/mem.c shared/err.c -lxxhash */
#include "shared/csv.h"
#include "shared/mem.h"
#include "shared/render.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
expect(bool ok)
{
    if (!ok) {
        abort();
    }
}

/* One result, so that two of them can be compared as bytes. */
static void
dump(struct buf *b, enum csv_result result, const struct csv_record *r, const struct err *e)
{
    buf_addf(b, "%d %lld %lld %lld %zu ", result, (long long)r->line, (long long)r->next_offset,
             (long long)r->next_line, r->bad_utf8);
    buf_adds(b, result == CSV_BAD ? e->text : "");
    for (size_t i = 0; i < r->n; i++) {
        expect(strlen(r->fields[i].data) == r->fields[i].len);
        expect(r->bad_utf8 != i + 1 ||
               render_bad_utf8(r->fields[i].data, r->fields[i].len) < r->fields[i].len);
        buf_addf(b, "[%s]", r->fields[i].data);
    }
    buf_adds(b, "\n");
}

/* Reads everything from `options` on.  place[0..1]: offset and line behind record `nth`, and *skip:
 * where in the dump the one after it begins. */
static void
read_all(int fd, size_t size, const struct csv_options *options, struct buf *b, size_t nth,
         struct csv_options *place, size_t *skip)
{
    struct csv *c = NULL;
    struct csv_record r;
    struct err e = {0};
    if (!csv_open(fd, options, &c, &e)) {
        expect(e.kind == ERR_INPUT && !options->offset);
        buf_adds(b, e.text);
        return;
    }
    int64_t offset = options->offset, line = options->offset ? options->line : 1;
    for (size_t i = 0;; i++) {
        e.text[0] = '\0';
        enum csv_result result = csv_next(c, &r, &e);
        expect(result != CSV_FAILED && r.line >= line && r.next_line >= r.line);
        expect(r.next_offset > offset || result == CSV_END);
        expect((r.n > 0) == (result == CSV_RECORD) && r.n <= CSV_COLUMNS_MAX);
        offset = r.next_offset;
        line = r.next_line;
        dump(b, result, &r, &e);
        if (i == nth) {
            *place = (struct csv_options){csv_delimiter(c), offset, line, 0};
            *skip = b->len;
        }
        if (result == CSV_END) {
            expect(offset == (int64_t)size);
            break;
        }
    }
    csv_close(c);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static int fd = -1;
    if (fd < 0) {
        fd = memfd_create("fuzz", 0);
    }
    if (size < 3) {
        return 0;
    }
    struct csv_options options = {.buffer = 1 + data[0] % 64,
                                  .delimiter = ",;\t| \0\0"[data[1] % 7]};
    size_t nth = data[2] % 8;
    data += 3;
    size -= 3;
    expect(ftruncate(fd, 0) == 0 && pwrite(fd, data, size, 0) == (ssize_t)size);

    struct buf small = {0}, large = {0}, rest = {0};
    struct csv_options place = {0}, ignored;
    size_t skip = 0, none = 0;
    read_all(fd, size, &options, &small, nth, &place, &skip);
    options.buffer = 4096;
    read_all(fd, size, &options, &large, nth, &ignored, &none);
    expect(small.len == large.len && memcmp(small.data, large.data, small.len) == 0);
    if (place.offset && small.len > skip) {
        place.delimiter = options.delimiter ? place.delimiter : 0;
        read_all(fd, size, &place, &rest, SIZE_MAX, &ignored, &none);
        expect(rest.len == small.len - skip && memcmp(rest.data, small.data + skip, rest.len) == 0);
    }
    buf_done(&small);
    buf_done(&large);
    buf_done(&rest);
    return 0;
}
