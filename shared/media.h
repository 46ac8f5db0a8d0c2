/* media.h -- pictures, films, sounds and documents: what kinds there are, which types and sizes a
 * kind takes, what a medium is in a definition or a job, and data: URLs.  Pure.
 *
 * A medium in tables and jobs is JSON of one of two shapes:
 *     {"type":"image","url":"https://shop.example/a.jpg"}          the provider fetches it
 *     {"type":"document","sha256":"<64 hex digits>","mime":"application/pdf","size":1234,
 *      "filename":"a.pdf"}                                         its content is in table `media`
 */
#ifndef SHARED_MEDIA_H
#define SHARED_MEDIA_H

#include "shared/err.h"
#include "shared/mem.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum media_kind { MEDIA_IMAGE, MEDIA_VIDEO, MEDIA_AUDIO, MEDIA_DOCUMENT };
enum { MEDIA_KINDS = MEDIA_DOCUMENT + 1 };

enum {
    MEDIA_JSON_MAX = 8192, /* bytes of the JSON */
    MEDIA_URL_MAX = 2048,
    MEDIA_SHA_SIZE = 65,
    MEDIA_MIME_SIZE = 80,
    MEDIA_FILENAME_SIZE = 241, /* what WhatsApp shows, in bytes */
    MEDIA_SNIFF = 512          /* bytes that tell a type at most */
};

/* "image"; for messages "an image". */
const char *media_kind_name(enum media_kind k);
const char *media_kind_noun(enum media_kind k);
bool media_kind_parse(const char *word, enum media_kind *ret);

struct media_ref {
    enum media_kind kind;
    char url[MEDIA_URL_MAX + 1]; /* "": it is stored */
    char sha256[MEDIA_SHA_SIZE]; /* lower-case hex, "": it is a link */
    char mime[MEDIA_MIME_SIZE];  /* "" when it is not known */
    char filename[MEDIA_FILENAME_SIZE];
    int64_t size; /* bytes; 0 when it is not known */
};

/* Reads such JSON.  strict: members that nobody knows are refused; otherwise they are skipped, for
 * a job may come from a newer producer.  ERR_INPUT begins with the member: "media.url: ...". */
MUST_USE bool media_parse(const char *json, size_t len, bool strict, struct media_ref *ret,
                          struct err *e);
/* Appends the JSON, which media_parse() reads. */
void media_write(const struct media_ref *m, struct buf *out);

/* A link that may be handed to a provider: http or https, a host, no credentials, no blanks or
 * control characters, at most MEDIA_URL_MAX bytes; a host that is written as an address, however
 * oddly (0x7f.1), is a public one.  ERR_INPUT says what is wrong, without the URL. */
MUST_USE bool media_url_check(const char *url, struct err *e);

/* A file's name as recipients see it: one line of UTF-8 without "/" and "\". */
bool media_filename_is_good(const char *name);

/* --- types (media_type.c) -------------------------------------------------------------- */

/* Bytes that WhatsApp takes of a kind: image 5 MB, video and audio 16 MB, document 100 MB (Meta,
 * Cloud API > Media, "Supported media types"). */
int64_t media_limit(enum media_kind k);

/* The MIME type by the first bytes; NULL when they do not tell.  Containers whose content only a
 * name tells are "application/zip" and "application/x-ole-storage". */
const char *media_sniff(const void *p, size_t n);

/* Decides the type of a content: by its bytes, and where these leave it open by what a server said
 * (a Content-Type, or "") and the file's name (or "").  p, n: all of it, or its first MEDIA_SNIFF
 * bytes.  ERR_INPUT: the kind does not take it; the text names what it takes. */
MUST_USE bool media_type(enum media_kind k, const char *said, const char *filename, const void *p,
                         size_t n, char ret[MEDIA_MIME_SIZE], struct err *e);
/* Whether the kind takes the type. */
bool media_kind_takes(enum media_kind k, const char *mime);
/* The kind that a file of this name or URL has by its ending; false when it tells none. */
bool media_kind_by_name(const char *name, enum media_kind *ret);

/* --- data: URLs (media_data.c) --------------------------------------------------------- */

/* Reads a data: URL (RFC 2397), base64 (RFC 4648, padded; nothing but its alphabet, of which + / =
 * may be percent-encoded) or percent-encoded, and appends the content to out, at most max bytes.
 * ret_mime: the media type without its parameters, "text/plain" when there is none.  ERR_INPUT says
 * "data: URL, character N: what"; out is then as before. */
MUST_USE bool media_data_url(const char *text, size_t len, size_t max, struct buf *out,
                             char ret_mime[MEDIA_MIME_SIZE], struct err *e);

#endif
