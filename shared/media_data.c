#include "shared/media.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

struct reader {
    const char *text;
    size_t at, len, max, begun;
    struct buf *out;
    struct err *e;
};

static bool
mistake(const struct reader *r, const char *what)
{
    return err_set(r->e, ERR_INPUT, "data: URL, character %zu: %s", r->at + 1, what);
}

static bool
put(struct reader *r, unsigned char c)
{
    if (r->out->len - r->begun >= r->max) {
        return err_set(r->e, ERR_INPUT, "data: URL: its content has more than %zu bytes", r->max);
    }
    buf_add(r->out, &c, 1);
    return true;
}

static int
hex(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* The next character of the data, its percent-encoding taken off; *ret_len says how long it was. */
static bool
next(const struct reader *r, unsigned char *ret, size_t *ret_len)
{
    char c = r->text[r->at];
    if (c == '%') {
        int high = r->at + 2 < r->len ? hex(r->text[r->at + 1]) : -1;
        int low = high >= 0 ? hex(r->text[r->at + 2]) : -1;
        *ret = (unsigned char)(high * 16 + low);
        *ret_len = 3;
        return low >= 0 || mistake(r, "% has to be followed by two hex digits");
    }
    *ret = (unsigned char)c;
    *ret_len = 1;
    return ((unsigned char)c > ' ' && (unsigned char)c < 0x7f && !strchr("\"<>\\^`{|}#", c)) ||
           mistake(r, "it has to be percent-encoded");
}

static bool
read_percent(struct reader *r)
{
    unsigned char c;
    size_t len;
    for (; r->at < r->len; r->at += len) {
        if (!next(r, &c, &len) || !put(r, c)) {
            return false;
        }
    }
    return true;
}

static int
sextet(unsigned char c)
{
    return c >= 'A' && c <= 'Z'   ? c - 'A'
           : c >= 'a' && c <= 'z' ? c - 'a' + 26
           : c >= '0' && c <= '9' ? c - '0' + 52
           : c == '+'             ? 62
           : c == '/'             ? 63
                                  : -1;
}

static bool
read_base64(struct reader *r)
{
    unsigned bits = 0, n = 0, pad = 0;
    unsigned char c;
    size_t len;
    for (; r->at < r->len; r->at += len) {
        if (!next(r, &c, &len)) {
            return false;
        }
        if (c == '=' && n % 4 >= 2 && pad + n % 4 < 4) {
            pad++;
            continue;
        }
        int six = sextet(c);
        if (six < 0 || pad) {
            return mistake(r, pad        ? "nothing may follow the padding"
                              : c == '=' ? "there is no group for this padding to fill"
                              : c == '-' || c == '_'
                                  ? "this is base64url; base64 has + and / instead"
                                  : "it is not in the alphabet of base64");
        }
        bits = bits << 6 | (unsigned)six;
        n++;
        if (n % 4 != 1 && !put(r, (unsigned char)(bits >> (6 - 2 * ((n - 1) % 4))))) {
            return false;
        }
    }
    if (n % 4 && pad + n % 4 != 4) {
        return mistake(r, "the last group of base64 is not full; pad it with =");
    }
    return !(n % 4 == 2 && bits & 0xf) && !(n % 4 == 3 && bits & 0x3)
               ? true
               : mistake(r, "the last group of base64 has bits that belong to no byte");
}

static bool
is_token(const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (!p[i] || (!isalnum((unsigned char)p[i]) && !strchr("!#$&^_.+-", p[i]))) {
            return false;
        }
    }
    return n > 0;
}

/* "image/png", or nothing. */
static bool
read_type(struct reader *r, size_t n, char mime[MEDIA_MIME_SIZE])
{
    const char *p = r->text + r->at, *slash = memchr(p, '/', n);
    if (n == 0) {
        (void)snprintf(mime, MEDIA_MIME_SIZE, "text/plain");
        return true;
    }
    if (!slash || !is_token(p, (size_t)(slash - p)) ||
        !is_token(slash + 1, n - (size_t)(slash - p) - 1) || n >= MEDIA_MIME_SIZE) {
        return mistake(r, "a media type like image/png is wanted, or none");
    }
    (void)snprintf(mime, MEDIA_MIME_SIZE, "%.*s", (int)n, p);
    for (char *c = mime; *c; c++) {
        *c = (char)tolower((unsigned char)*c);
    }
    r->at += n;
    return true;
}

/* ";charset=utf-8;base64": only the last may be without a value. */
static bool
read_parameters(struct reader *r, size_t comma, bool *base64)
{
    *base64 = false;
    while (r->at < comma) {
        const char *p = r->text + ++r->at; /* behind the semicolon */
        const char *end = memchr(p, ';', comma - r->at);
        size_t n = end ? (size_t)(end - p) : comma - r->at;
        const char *equals = memchr(p, '=', n);
        if (!end && n == 6 && strncasecmp(p, "base64", 6) == 0) {
            *base64 = true;
        } else if (!equals || !is_token(p, (size_t)(equals - p))) {
            return mistake(r, "a parameter like charset=utf-8 is wanted, or base64 as the last");
        }
        r->at += n;
    }
    return true;
}

bool
media_data_url(const char *text, size_t len, size_t max, struct buf *out,
               char ret_mime[MEDIA_MIME_SIZE], struct err *e)
{
    struct reader r = {text, 0, len, max, out->len, out, e};
    bool base64;
    if (len < 5 || strncasecmp(text, "data:", 5) != 0) {
        return mistake(&r, "it has to begin with data:");
    }
    r.at = 5;
    const char *comma = memchr(text, ',', len);
    if (!comma) {
        r.at = len;
        return mistake(&r, "there is no comma, behind which the data would stand");
    }
    size_t head = (size_t)(comma - text);
    const char *semicolon = memchr(text + 5, ';', head - 5);
    if (!read_type(&r, semicolon ? (size_t)(semicolon - text) - 5 : head - 5, ret_mime) ||
        !read_parameters(&r, head, &base64)) {
        return false;
    }
    r.at = head + 1;
    if (base64 ? read_base64(&r) : read_percent(&r)) {
        return true;
    }
    out->len = r.begun;
    if (out->data) {
        out->data[out->len] = '\0';
    }
    return false;
}
