#include "ctl/receipts_sign.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <string.h>
#include <strings.h>

static int
hex_digit(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* The bytes that a text of exactly 2 n digits stands for. */
static bool
read_hex(const char *text, unsigned char *out, size_t n)
{
    if (strlen(text) != 2 * n) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        int high = hex_digit(text[2 * i]), low = hex_digit(text[2 * i + 1]);
        if (high < 0 || low < 0) {
            return false;
        }
        out[i] = (unsigned char)(high << 4 | low);
    }
    return true;
}

static bool
read_base64(const char *text, unsigned char *out, size_t n)
{
    unsigned char bytes[EVP_MAX_MD_SIZE + 4];
    size_t len = strlen(text);
    if (len != (n + 2) / 3 * 4 || len > sizeof bytes / 3 * 4) {
        return false;
    }
    /* The library counts what "=" stands for as zeros. */
    int got = EVP_DecodeBlock(bytes, (const unsigned char *)text, (int)len);
    if (got < (int)n) {
        return false;
    }
    memcpy(out, bytes, n);
    return true;
}

static bool
is_token(const struct receipts_key *k, const char *given)
{
    size_t n = strlen(given);
    unsigned same = 0;
    for (size_t i = 0; i < RECEIPTS_SECRETS; i++) {
        const char *secret = k->secrets[i];
        same |= secret && strlen(secret) == n && CRYPTO_memcmp(secret, given, n) == 0;
    }
    return same != 0;
}

bool
receipts_signed(const struct receipts_key *k, const char *given, const void *body, size_t len)
{
    size_t prefix = k->prefix ? strlen(k->prefix) : 0;
    if (k->signature == RECEIPTS_UNSIGNED) {
        return true;
    }
    if (!given || (prefix && strncasecmp(given, k->prefix, prefix) != 0)) {
        return false;
    }
    given += prefix;
    if (k->signature == RECEIPTS_TOKEN) {
        return is_token(k, given);
    }
    const EVP_MD *md = k->signature == RECEIPTS_SHA512 ? EVP_sha512() : EVP_sha256();
    size_t n = (size_t)EVP_MD_size(md);
    unsigned char want[EVP_MAX_MD_SIZE], have[EVP_MAX_MD_SIZE];
    unsigned same = 0;
    if (!(k->encoding == RECEIPTS_HEX ? read_hex(given, have, n) : read_base64(given, have, n))) {
        return false;
    }
    for (size_t i = 0; i < RECEIPTS_SECRETS; i++) {
        const char *secret = k->secrets[i];
        same |= secret && HMAC(md, secret, (int)strlen(secret), body, len, want, NULL) &&
                CRYPTO_memcmp(want, have, n) == 0;
    }
    return same != 0;
}
