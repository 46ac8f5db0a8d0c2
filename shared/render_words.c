#include "shared/phone.h"
#include "shared/render.h"

#include <ctype.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>

size_t
render_bad_utf8(const char *text, size_t len)
{
    const unsigned char *s = (const unsigned char *)text;
    for (size_t i = 0, more; i < len; i += more + 1) {
        uint64_t eight = UINT64_MAX;
        if (len - i >= sizeof eight) {
            memcpy(&eight, s + i, sizeof eight);
        }
        if (!(eight & 0x8080808080808080u)) {
            more = sizeof eight - 1;
            continue;
        }
        unsigned char c = s[i];
        more = c < 0x80 ? 0 : c < 0xe0 ? 1 : c < 0xf0 ? 2 : 3;
        if ((more && c < 0xc2) || c > 0xf4 || len - i <= more) {
            return i;
        }
        /* RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF. */
        unsigned char low = c == 0xe0 ? 0xa0 : c == 0xf0 ? 0x90 : 0x80;
        unsigned char high = c == 0xed ? 0x9f : c == 0xf4 ? 0x8f : 0xbf;
        for (size_t k = 1; k <= more; k++, low = 0x80, high = 0xbf) {
            if (s[i + k] < low || s[i + k] > high) {
                return i;
            }
        }
    }
    return len;
}

/* Behind leading digits, punctuation and spaces. */
static const char *
skip_no_letters(const char *s)
{
    for (size_t n;; s += n) {
        const unsigned char *u = (const unsigned char *)s;
        bool none = phone_char(s, strnlen(s, 4), &n) || (n && u[0] < 0x80 && !isalpha(u[0]));
        bool latin = n == 2 && u[0] == 0xc2 && u[1] != 0xaa && u[1] != 0xb5 && u[1] != 0xba;
        bool general = n == 3 && u[0] == 0xe2 && (u[1] | 1) == 0x81; /* U+2000..U+207F */
        if (!none && !latin && !general) {
            return s;
        }
    }
}

/* What gateways call a number: 60123456789@s.whatsapp.net, 60123456789:12@c.us. */
static bool
is_address(const char *s)
{
    s += strspn(s, " +");
    size_t n = strspn(s, "0123456789:-");
    return n >= 6 && s[n] == '@';
}

size_t
render_chars(const char *text, size_t len)
{
    size_t n = 0;
    for (size_t i = 0; i < len; i++) {
        n += ((unsigned char)text[i] & 0xc0) != 0x80;
    }
    return n;
}

bool
render_is_no_name(const char *name)
{
    const char *s = name && !is_address(name) ? skip_no_letters(name) : "";
    if (strncasecmp(s, "null", 4) == 0) {
        s = skip_no_letters(s + 4);
    } else if (strncasecmp(s, "undefined", 9) == 0) {
        s = skip_no_letters(s + 9);
    }
    return !*s;
}
