#include "shared/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

bool
err_set(struct err *e, enum err_kind kind, const char *fmt, ...)
{
    if (e) {
        va_list ap;
        va_start(ap, fmt);
        e->kind = kind;
        (void)vsnprintf(e->text, sizeof e->text, fmt, ap);
        va_end(ap);
    }
    return false;
}

bool
err_wrap(struct err *e, const char *fmt, ...)
{
    if (e) {
        char old[sizeof e->text];
        memcpy(old, e->text, sizeof old);
        va_list ap;
        va_start(ap, fmt);
        int n = vsnprintf(e->text, sizeof e->text, fmt, ap);
        va_end(ap);
        if (n >= 0 && (size_t)n < sizeof e->text) {
            (void)snprintf(e->text + n, sizeof e->text - (size_t)n, ": %s", old);
        }
    }
    return false;
}

const char *
err_kind_name(enum err_kind kind)
{
    switch (kind) {
    case ERR_NONE:
        return "none";
    case ERR_RETRY:
        return "retry";
    case ERR_REFUSED:
        return "refused";
    case ERR_INPUT:
        return "input";
    case ERR_GONE:
        return "gone";
    case ERR_FULL:
        return "full";
    }
    return "?";
}
