/* media_fetch.h -- a medium from a URL: downloaded once, when its definition is saved.  The
 * command's only user of libcurl.
 *
 * What it does not do: connect to a private address (looked at when it connects, whatever name or
 * redirect led there), follow more than 5 redirects or one from https to http, ask a proxy,
 * or keep more than the limit in memory, however much comes. */
#ifndef CTL_MEDIA_FETCH_H
#define CTL_MEDIA_FETCH_H

#include "shared/media.h"

struct media_fetch {
    enum media_kind kind;
    int64_t max;        /* bytes */
    int64_t timeout_ms; /* for all of it */
    bool allow_private;
};

/* Appends the content, whose type is already known to be one of the kind's: ret_mime.  ERR_INPUT
 * with what is wrong (size, type, address, status), ERR_RETRY for the network; the text begins with
 * the URL without its query, which may be a secret. */
MUST_USE bool media_fetch(const struct media_fetch *f, const char *url, struct buf *out,
                          char ret_mime[MEDIA_MIME_SIZE], struct err *e);

#endif
