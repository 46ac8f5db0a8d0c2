/* The bodies of requests, made in memory: JSON, and fields of a form in either encoding.  A part's
 * content is written as it is; names come from the code and are plain ASCII. */
#include "worker/provider.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define FORM_TYPE "application/x-www-form-urlencoded"

void
provider_body_json(struct provider_body *b, json_t *taken)
{
    char *text = json_dumps(taken, JSON_COMPACT);
    (void)snprintf(b->type, sizeof b->type, "application/json");
    buf_adds(&b->bytes, text ? text : "null");
    free(text);
    json_decref(taken);
}

/* 128 random bits: no content has them by chance, and nobody can write them into one on purpose. */
void
provider_body_multipart(struct provider_body *b)
{
    uint64_t random[2];
    if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random) {
        abort(); /* getrandom(2): up to 256 bytes come whole once the system has started */
    }
    (void)snprintf(b->boundary, sizeof b->boundary, "%016" PRIx64 "%016" PRIx64, random[0],
                   random[1]);
    (void)snprintf(b->type, sizeof b->type, "multipart/form-data; boundary=%s", b->boundary);
}

/* Percent-encodes what application/x-www-form-urlencoded does not have as it is. */
static void
add_encoded(struct buf *out, const char *p, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)p[i];
        if (c && isascii(c) && (isalnum(c) || strchr("-._~", c))) {
            buf_add(out, p + i, 1);
        } else if (c == ' ') {
            buf_add(out, "+", 1);
        } else {
            buf_addf(out, "%%%02X", c);
        }
    }
}

void
provider_body_field(struct provider_body *b, const char *name, const char *value, size_t len)
{
    if (b->boundary[0]) {
        buf_addf(&b->bytes, "--%s\r\nContent-Disposition: form-data; name=\"%s\"\r\n\r\n",
                 b->boundary, name);
        buf_add(&b->bytes, value, len);
        buf_adds(&b->bytes, "\r\n");
        return;
    }
    (void)snprintf(b->type, sizeof b->type, FORM_TYPE);
    buf_addf(&b->bytes, "%s%s=", b->bytes.len ? "&" : "", name);
    add_encoded(&b->bytes, value, len);
}

/* As browsers write it (WHATWG HTML, multipart/form-data): a quote or a line's end would end it. */
static void
add_filename(struct buf *out, const char *name)
{
    for (; *name; name++) {
        if (*name == '"' || iscntrl((unsigned char)*name)) {
            buf_addf(out, "%%%02X", (unsigned)(unsigned char)*name);
        } else {
            buf_add(out, name, 1);
        }
    }
}

void
provider_body_file(struct provider_body *b, const char *name, const struct media *m)
{
    buf_reserve(&b->bytes, m->len + 512);
    buf_addf(&b->bytes, "--%s\r\nContent-Disposition: form-data; name=\"%s\"; filename=\"",
             b->boundary, name);
    add_filename(&b->bytes, provider_media_name(m));
    buf_addf(&b->bytes, "\"\r\nContent-Type: %s\r\n\r\n",
             m->mime ? m->mime : "application/octet-stream");
    buf_add(&b->bytes, m->bytes, m->len);
    buf_adds(&b->bytes, "\r\n");
}

void
provider_body_end(struct provider_body *b)
{
    if (b->boundary[0]) {
        buf_addf(&b->bytes, "--%s--\r\n", b->boundary);
    }
}

void
provider_body_done(struct provider_body *b)
{
    buf_done(&b->bytes);
}
