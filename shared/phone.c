#include "shared/phone.h"

#include <string.h>

enum { COUNTRY_DIGITS_MAX = 3 };

static bool
is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool
is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static char
ascii_char(char c)
{
    if (is_digit(c) || c == '+') {
        return c;
    }
    return is_blank(c) || (c && strchr("-.()/", c)) ? ' ' : 0;
}

static char
two_bytes(const unsigned char *u)
{
    if (u[0] == 0xd9 && u[1] >= 0xa0 && u[1] <= 0xa9) { /* Arabic-Indic */
        return (char)('0' + (u[1] - 0xa0));
    }
    if (u[0] == 0xdb && u[1] >= 0xb0 && u[1] <= 0xb9) { /* Persian */
        return (char)('0' + (u[1] - 0xb0));
    }
    return u[0] == 0xc2 && (u[1] == 0xa0 || u[1] == 0xad) ? ' '
                                                          : 0; /* no-break space, soft hyphen */
}

static char
three_bytes(const unsigned char *u)
{
    unsigned code = (u[0] & 0x0fu) << 12 | (u[1] & 0x3fu) << 6 | (u[2] & 0x3fu);
    if ((u[0] & 0xf0) != 0xe0 || (u[1] & 0xc0) != 0x80 || (u[2] & 0xc0) != 0x80) {
        return 0;
    }
    if (code >= 0xff01 && code <= 0xff5e) { /* full-width forms of ASCII */
        return ascii_char((char)(code - 0xfee0));
    }
    bool spaces_marks_dashes = code >= 0x2000 && code <= 0x2015;
    bool marks = (code >= 0x2028 && code <= 0x202f) || (code >= 0x205f && code <= 0x206f);
    bool others =
        code == 0x2212 || code == 0x3000 || code == 0xfeff; /* minus, ideographic space, BOM */
    return spaces_marks_dashes || marks || others ? ' ' : 0;
}

char
phone_char(const char *s, size_t len, size_t *ret_bytes)
{
    const unsigned char *u = (const unsigned char *)s;
    *ret_bytes = len ? 1 : 0;
    if (!len || u[0] < 0x80) {
        return len ? ascii_char(s[0]) : 0;
    }
    size_t n = u[0] >= 0xf0 ? 4 : u[0] >= 0xe0 ? 3 : u[0] >= 0xc0 ? 2 : 1;
    if (n > len) {
        return 0;
    }
    *ret_bytes = n;
    return n == 2 ? two_bytes(u) : n == 3 ? three_bytes(u) : 0;
}

/* [0-9-]+@g.us */
static bool
is_group(const char *text, size_t len)
{
    static const char suffix[] = "@g.us";
    size_t n = sizeof suffix - 1;
    if (len <= n || memcmp(text + len - n, suffix, n) != 0) {
        return false;
    }
    for (size_t i = 0; i < len - n; i++) {
        if (!is_digit(text[i]) && text[i] != '-') {
            return false;
        }
    }
    return true;
}

/* 6.01E+10: a digit, e, perhaps a sign, a digit. */
static bool
is_scientific(const char *text, size_t len)
{
    for (size_t i = 1; i + 1 < len; i++) {
        if ((text[i] == 'E' || text[i] == 'e') && is_digit(text[i - 1])) {
            size_t next = i + (text[i + 1] == '+' || text[i + 1] == '-' ? 2 : 1);
            if (next < len && is_digit(text[next])) {
                return true;
            }
        }
    }
    return false;
}

/* 60123456789.0: digits that went through a floating point column; the 0 is no part of the number.
 */
static bool
is_float(const char *text, size_t len)
{
    if (len < 3 || memcmp(text + len - 2, ".0", 2) != 0) {
        return false;
    }
    for (size_t i = *text == '+' ? 1 : 0; i < len - 2; i++) {
        if (!is_digit(text[i])) {
            return false;
        }
    }
    return true;
}

static bool
check_country(const char **country, struct err *e)
{
    const char *c = *country ? *country : "";
    c += *c == '+';
    size_t n = strspn(c, "0123456789");
    if (c[n] || n > COUNTRY_DIGITS_MAX || c[0] == '0' || (!n && *country && **country)) {
        return err_set(e, ERR_INPUT,
                       "the default country is not a calling code of 1 to 3 digits such as 60");
    }
    *country = c;
    return true;
}

/* The digits of text, at most PHONE_SIZE - 1 of them; *n counts all.  *plus: with a leading +. */
static bool
collect(const char *text, size_t len, char *digits, size_t *n, bool *plus, struct err *e)
{
    for (size_t i = 0, bytes; i < len; i += bytes) {
        char c = phone_char(text + i, len - i, &bytes);
        if (c == '+' && (*plus || *n)) {
            return err_set(e, ERR_INPUT, "a + inside the phone number; write one number a field");
        }
        bool abroad = *plus || (*n > 2 && memcmp(digits, "00", 2) == 0);
        if (c == '+') {
            *plus = true;
        } else if (text[i] == '(' && *n && abroad && len - i >= 3 &&
                   memcmp(text + i, "(0)", 3) == 0) {
            bytes = 3; /* +60 (0)12: the 0 is for calls within the country */
        } else if (c >= '0') {
            if (*n < PHONE_SIZE - 1) {
                digits[*n] = c;
            }
            ++*n;
        } else if (!c && text[i] > ' ' && text[i] < 0x7f) {
            return err_set(e, ERR_INPUT,
                           "'%c' at position %zu is no part of a phone number; write digits only",
                           text[i], i + 1);
        } else if (!c) {
            return err_set(
                e, ERR_INPUT,
                "the character at byte %zu is no part of a phone number; write digits only", i + 1);
        }
    }
    return true;
}

/* n digits as written -> international form. */
static bool
complete(const char *digits, size_t n, bool plus, const char *country, char *out, struct err *e)
{
    if (!n) {
        return err_set(e, ERR_INPUT, "the phone number is empty: no digit in it");
    }
    size_t drop = 0;
    size_t len = 0; /* of the country code put in front */
    if (!plus && n > 2 && digits[0] == '0' && digits[1] == '0') {
        drop = 2;
        plus = true;
    } else if (!plus && digits[0] == '0') {
        drop = 1;
        len = strlen(country);
        if (!len) {
            return err_set(e, ERR_INPUT,
                           "the phone number begins with 0 and no country is known; write it with "
                           "its country (+60...) or give --country 60");
        }
    }
    size_t total = len + n - drop;
    if (plus && digits[drop] == '0') {
        return err_set(
            e, ERR_INPUT,
            "0 follows the + or 00 of the phone number, but no country code begins with 0");
    }
    if (total < PHONE_DIGITS_MIN) {
        return err_set(e, ERR_INPUT,
                       "the phone number has %zu digits with its country; the shortest has %d",
                       total, PHONE_DIGITS_MIN);
    }
    if (total > PHONE_DIGITS_MAX) {
        return err_set(e, ERR_INPUT,
                       "the phone number has %zu digits with its country; the longest has %d "
                       "(write one number a field)",
                       total, PHONE_DIGITS_MAX);
    }
    memcpy(out, country, len);
    memcpy(out + len, digits + drop, n - drop);
    out[total] = '\0';
    return true;
}

bool
phone_normalise(const char *text, size_t len, const char *default_country, char out[PHONE_SIZE],
                struct err *e)
{
    out[0] = '\0';
    const char *word = text; /* without spaces around it */
    size_t n = len;
    while (n && is_blank(word[n - 1])) {
        n--;
    }
    while (n && is_blank(*word)) {
        word++;
        n--;
    }
    if (!check_country(&default_country, e)) {
        return false;
    }
    if (is_group(word, n)) {
        if (n >= PHONE_SIZE) {
            return err_set(e, ERR_INPUT, "the group id has %zu characters; the longest has %d", n,
                           PHONE_SIZE - 1);
        }
        memcpy(out, word, n);
        out[n] = '\0';
        return true;
    }
    if (is_scientific(word, n)) {
        return err_set(
            e, ERR_INPUT,
            "the phone number was shortened by a spreadsheet to the form 6.01E+10 and its "
            "last digits are lost; format the column as text there and export the file again");
    }
    if (is_float(word, n)) {
        return err_set(
            e, ERR_INPUT,
            "the phone number ends in \".0\": the column was exported as decimal numbers; "
            "format it as text there and export the file again");
    }
    char digits[PHONE_SIZE];
    size_t count = 0;
    bool plus = false;
    return collect(text, len, digits, &count, &plus, e) &&
           complete(digits, count, plus, default_country, out, e);
}
