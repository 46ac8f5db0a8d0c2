/* mem.h -- memory that is there, and a growing byte buffer.
 *
 * Out of memory ends the program with a line on stderr: a queue worker that half works is worse
 * than one that is restarted, and the protocol is made for deaths.  Sizes that come from outside
 * are bounded by the caller before they reach these functions. */
#ifndef SHARED_MEM_H
#define SHARED_MEM_H

#include "shared/err.h"

#include <stddef.h>
#include <stdint.h>

void *xmalloc(size_t n);
void *xcalloc(size_t n, size_t size);
void *xrealloc(void *p, size_t n);
char *xstrdup(const char *s);
char *xstrndup(const char *s, size_t n);
char *xasprintf(const char *fmt, ...) PRINTF_LIKE(1, 2);

/* A growing byte buffer, always NUL-terminated behind len when data is not NULL.  Zero-initialise
 * it; buf_done() frees it and leaves it usable. */
struct buf {
    char *data;
    size_t len, cap;
};
void buf_reserve(struct buf *b, size_t more);
void buf_add(struct buf *b, const void *p, size_t n);
void buf_adds(struct buf *b, const char *s);
void buf_addf(struct buf *b, const char *fmt, ...) PRINTF_LIKE(2, 3);
void buf_addi(struct buf *b, int64_t v);
void buf_clear(struct buf *b);
void buf_done(struct buf *b);

/* Doubles an array when it is full: `VEC_GROW(items, count, cap)` then `items[count++] = x`. */
#define VEC_GROW(items, count, cap)                                                                \
    do {                                                                                           \
        if ((count) == (cap)) {                                                                    \
            (cap) = (cap) ? 2 * (cap) : 16;                                                        \
            (items) = xrealloc((items), (cap) * sizeof *(items));                                  \
        }                                                                                          \
    } while (0)

#endif
