/* err.h -- the one error type: a kind, which says what to do, and a sentence, which says what
 * happened.
 *
 * A function that can fail returns bool, takes the error last, and is MUST_USE.  Library code
 * returns errors and never logs them; the programs log. */
#ifndef SHARED_ERR_H
#define SHARED_ERR_H

#include <stdbool.h>

#define MUST_USE          __attribute__((warn_unused_result))
#define PRINTF_LIKE(f, a) __attribute__((format(printf, f, a)))

enum err_kind {
    ERR_NONE,
    ERR_RETRY,   /* the world is in the way: the same call may work later */
    ERR_REFUSED, /* the peer understood and said no: do not repeat */
    ERR_INPUT,   /* bytes, settings or arguments are malformed */
    ERR_GONE,    /* what was named no longer exists, or somebody else owns it */
    ERR_FULL,    /* our own limit: slow down */
};

struct err {
    enum err_kind kind;
    char text[320];
};

/* Fills e (which may be NULL) and always returns false, so that callers can `return err_set(...)`.
 */
bool err_set(struct err *e, enum err_kind kind, const char *fmt, ...) PRINTF_LIKE(3, 4);

/* Puts "prefix: " before the text, keeps the kind, returns false. */
bool err_wrap(struct err *e, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* "retry", "refused", ... for logs. */
const char *err_kind_name(enum err_kind kind);

#endif
