/* sql.c -- statements as text: what store.h says of struct sql.  Knows no client library. */
#include "shared/store.h"

#include <assert.h>
#include <stdarg.h>
#include <string.h>

void
sql_text(struct sql *q, const char *text)
{
    buf_adds(&q->text, text);
}

void
sql_str(struct sql *q, const char *value)
{
    if (value) {
        sql_bytes(q, value, strlen(value));
    } else {
        sql_text(q, "NULL");
    }
}

/* Escaping without a connection is safe because every connection speaks utf8mb4, in which no byte
 * of a longer character is below 0x80, and because greet() refuses a session with
 * NO_BACKSLASH_ESCAPES. */
void
sql_bytes(struct sql *q, const void *value, size_t n)
{
    static const char plain[7] = "\0\n\r\\'\"\x1a", escaped[7] = "0nr\\'\"Z";
    const char *p = value;
    buf_reserve(&q->text, n + 2);
    buf_add(&q->text, "'", 1);
    for (size_t i = 0; i < n; i++) {
        const char *special = memchr(plain, p[i], sizeof plain);
        if (special) {
            buf_add(&q->text, "\\", 1);
        }
        buf_add(&q->text, special ? &escaped[special - plain] : &p[i], 1);
    }
    buf_add(&q->text, "'", 1);
}

void
sql_int(struct sql *q, int64_t value)
{
    buf_addi(&q->text, value);
}

void
sql_uint(struct sql *q, uint64_t value)
{
    buf_addf(&q->text, "%llu", (unsigned long long)value);
}

void
sql_addv(struct sql *q, const char *fmt, va_list ap)
{
    for (const char *p = fmt; *p; p++) {
        size_t n = strcspn(p, "%");
        buf_add(&q->text, p, n);
        p += n;
        if (!*p) {
            return;
        }
        int longs = 0;
        while (*++p == 'l') {
            longs++;
        }
        assert(*p && strchr(longs ? "du" : "sdu%", *p) && longs <= 2 && "see store.h");
        if (*p == 's') {
            sql_str(q, va_arg(ap, const char *));
        } else if (*p == '%') {
            sql_text(q, "%");
        } else if (*p == 'd') {
            sql_int(q, longs == 0   ? va_arg(ap, int)
                       : longs == 1 ? va_arg(ap, long)
                                    : va_arg(ap, long long));
        } else {
            sql_uint(q, longs == 0   ? va_arg(ap, unsigned)
                        : longs == 1 ? va_arg(ap, unsigned long)
                                     : va_arg(ap, unsigned long long));
        }
    }
}

void
sql_addf(struct sql *q, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    sql_addv(q, fmt, ap);
    va_end(ap);
}

void
sql_clear(struct sql *q)
{
    buf_clear(&q->text);
}

void
sql_done(struct sql *q)
{
    buf_done(&q->text);
}
