/* receipts_sign.h -- is a body from whom it says: HMAC over its raw bytes, or a shared token.  The
 * only user of libcrypto. */
#ifndef CTL_RECEIPTS_SIGN_H
#define CTL_RECEIPTS_SIGN_H

#include <stdbool.h>
#include <stddef.h>

enum receipts_signature {
    RECEIPTS_SHA256, /* HMAC */
    RECEIPTS_SHA512,
    RECEIPTS_TOKEN, /* the header is the secret itself */
    RECEIPTS_UNSIGNED,
};
enum receipts_encoding { RECEIPTS_HEX, RECEIPTS_BASE64 };

enum { RECEIPTS_SECRETS = 3 };

struct receipts_key {
    enum receipts_signature signature;
    enum receipts_encoding encoding;
    const char *prefix;                    /* what the header's value begins with, NULL = nothing */
    const char *secrets[RECEIPTS_SECRETS]; /* any of them; NULL = none.  More than one for the time
                                              in which the provider changes from one to the next */
};

/* given: the header's value, NULL when there is none.  Takes as long whichever secret it is, and
 * wherever the signature differs. */
bool receipts_signed(const struct receipts_key *k, const char *given, const void *body, size_t len);

#endif
