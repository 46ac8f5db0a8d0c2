#include "shared/media.h"
#include "shared/render.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

/* What a kind takes (Meta, Cloud API > Media, "Supported media types"; image/webp and text/csv are
 * taken by others and converted or passed on).  ending: of file names, the likeliest first. */
static const struct type {
    enum media_kind kind;
    const char *mime, *endings;
} types[] = {
    {MEDIA_IMAGE, "image/jpeg", "jpg|jpeg"},
    {MEDIA_IMAGE, "image/png", "png"},
    {MEDIA_IMAGE, "image/webp", "webp"},
    {MEDIA_VIDEO, "video/mp4", "mp4"},
    {MEDIA_VIDEO, "video/3gpp", "3gp|3gpp"},
    {MEDIA_AUDIO, "audio/mpeg", "mp3"},
    {MEDIA_AUDIO, "audio/ogg", "ogg|opus"},
    {MEDIA_AUDIO, "audio/mp4", "m4a"},
    {MEDIA_AUDIO, "audio/aac", "aac"},
    {MEDIA_AUDIO, "audio/amr", "amr"},
    {MEDIA_DOCUMENT, "application/pdf", "pdf"},
    {MEDIA_DOCUMENT, "application/msword", "doc"},
    {MEDIA_DOCUMENT, "application/vnd.ms-excel", "xls"},
    {MEDIA_DOCUMENT, "application/vnd.ms-powerpoint", "ppt"},
    {MEDIA_DOCUMENT, "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
     "docx"},
    {MEDIA_DOCUMENT, "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet", "xlsx"},
    {MEDIA_DOCUMENT, "application/vnd.openxmlformats-officedocument.presentationml.presentation",
     "pptx"},
    {MEDIA_DOCUMENT, "text/plain", "txt"},
    {MEDIA_DOCUMENT, "text/csv", "csv"},
};
enum { TYPES = sizeof types / sizeof *types };

#define ZIP "application/zip"
#define OLE "application/x-ole-storage"

int64_t
media_limit(enum media_kind k)
{
    static const int64_t megabytes[MEDIA_KINDS] = {
        [MEDIA_IMAGE] = 5, [MEDIA_VIDEO] = 16, [MEDIA_AUDIO] = 16, [MEDIA_DOCUMENT] = 100};
    return megabytes[k] * 1024 * 1024;
}

bool
media_kind_takes(enum media_kind k, const char *mime)
{
    for (size_t i = 0; i < TYPES; i++) {
        if (types[i].kind == k && strcmp(types[i].mime, mime) == 0) {
            return true;
        }
    }
    return false;
}

/* --- by their bytes ------------------------------------------------------------------- */

static bool
begins(const unsigned char *p, size_t n, size_t at, const char *magic, size_t len)
{
    return n >= at + len && memcmp(p + at, magic, len) == 0;
}

/* ISO base media: the brand tells sound from film, as far as writers keep to it. */
static const char *
sniff_brand(const unsigned char *p, size_t n)
{
    if (begins(p, n, 8, "3g", 2)) {
        return "video/3gpp";
    }
    if (begins(p, n, 8, "M4A", 3) || begins(p, n, 8, "M4B", 3)) {
        return "audio/mp4";
    }
    return begins(p, n, 8, "heic", 4) || begins(p, n, 8, "mif1", 4) ? "image/heic"
           : begins(p, n, 8, "avif", 4)                             ? "image/avif"
           : begins(p, n, 8, "qt  ", 4)                             ? "video/quicktime"
                                                                    : "video/mp4";
}

static const char *
sniff_sound(const unsigned char *p, size_t n)
{
    if (n >= 2 && p[0] == 0xff && (p[1] & 0xf6) == 0xf0) { /* ADTS: layer 0 */
        return "audio/aac";
    }
    return n >= 3 && p[0] == 0xff && (p[1] & 0xe0) == 0xe0 && (p[1] & 0x18) != 0x08 &&
                   (p[1] & 0x06) != 0 && (p[2] & 0xf0) != 0xf0 && (p[2] & 0x0c) != 0x0c
               ? "audio/mpeg"
               : NULL;
}

static bool
is_html(const unsigned char *p, size_t n)
{
    size_t i = 0;
    while (i < n && (p[i] <= ' ' || p[i] == 0xef || p[i] == 0xbb || p[i] == 0xbf)) {
        i++;
    }
    const char *text = (const char *)p + i;
    return (n - i >= 9 && strncasecmp(text, "<!doctype", 9) == 0) ||
           (n - i >= 5 && strncasecmp(text, "<html", 5) == 0);
}

const char *
media_sniff(const void *bytes, size_t n)
{
    static const struct {
        size_t at, len;
        const char *magic, *mime;
    } magics[] = {
        {0, 3, "\xff\xd8\xff", "image/jpeg"},
        {0, 8, "\x89PNG\r\n\x1a\n", "image/png"},
        {8, 4, "WEBP", "image/webp"},
        {0, 4, "GIF8", "image/gif"},
        {0, 4, "OggS", "audio/ogg"},
        {0, 3, "ID3", "audio/mpeg"},
        {0, 5, "#!AMR", "audio/amr"},
        {8, 4, "WAVE", "audio/wav"},
        {0, 5, "%PDF-", "application/pdf"},
        {0, 4, "PK\3\4", ZIP},
        {0, 8, "\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", OLE},
        {0, 4, "\x1a\x45\xdf\xa3", "video/webm"},
    };
    const unsigned char *p = bytes;
    if (begins(p, n, 4, "ftyp", 4)) {
        return sniff_brand(p, n);
    }
    for (size_t i = 0; i < sizeof magics / sizeof *magics; i++) {
        if (begins(p, n, magics[i].at, magics[i].magic, magics[i].len) &&
            (magics[i].at == 0 || begins(p, n, 0, "RIFF", 4))) {
            return magics[i].mime;
        }
    }
    return is_html(p, n) ? "text/html" : sniff_sound(p, n);
}

/* --- by what is said ------------------------------------------------------------------ */

static bool
has_ending(const char *endings, const char *ending, size_t len)
{
    for (const char *w = endings; w; w = strchr(w, '|') ? strchr(w, '|') + 1 : NULL) {
        if (len && strcspn(w, "|") == len && strncasecmp(w, ending, len) == 0) {
            return true;
        }
    }
    return false;
}

/* Of a name, or of a URL's path. */
static const struct type *
type_by_name(const char *name)
{
    size_t end = strcspn(name, "?#"), dot = end;
    while (dot && name[dot - 1] != '.' && name[dot - 1] != '/') {
        dot--;
    }
    for (size_t i = 0; dot && name[dot - 1] == '.' && i < TYPES; i++) {
        if (has_ending(types[i].endings, name + dot, end - dot)) {
            return &types[i];
        }
    }
    return NULL;
}

bool
media_kind_by_name(const char *name, enum media_kind *ret)
{
    const struct type *t = type_by_name(name);
    if (t) {
        *ret = t->kind;
    }
    return t != NULL;
}

/* "Text/CSV; charset=utf-8" -> its row; NULL when it is none of ours. */
static const struct type *
type_by_mime(const char *said)
{
    size_t n = strcspn(said, "; \t");
    for (size_t i = 0; i < TYPES; i++) {
        if (strlen(types[i].mime) == n && strncasecmp(types[i].mime, said, n) == 0) {
            return &types[i];
        }
    }
    return NULL;
}

/* Text, though it may end within a character. */
static bool
is_text(const char *p, size_t n)
{
    size_t bad = render_bad_utf8(p, n);
    for (size_t i = 0; i < n; i++) {
        if ((unsigned char)p[i] < ' ' && !strchr("\t\n\r\f", p[i])) {
            return false;
        }
        if (!p[i]) {
            return false;
        }
    }
    return n && (bad == n || n - bad < 4);
}

static const char *
open_type(const char *sniffed, const char *said, const char *filename, bool text)
{
    const struct type *t = type_by_mime(said);
    t = t && t->kind == MEDIA_DOCUMENT ? t : type_by_name(filename);
    const char *mime = t && t->kind == MEDIA_DOCUMENT ? t->mime : "";
    if (sniffed && strcmp(sniffed, ZIP) == 0) {
        return strstr(mime, "openxml") ? mime : sniffed;
    }
    if (sniffed && strcmp(sniffed, OLE) == 0) {
        return strstr(mime, "/vnd.ms-") || strstr(mime, "msword") ? mime : sniffed;
    }
    return sniffed ? sniffed : !text ? NULL : strcmp(mime, "text/csv") == 0 ? mime : "text/plain";
}

static bool
refuse(enum media_kind k, const char *mime, struct err *e)
{
    struct buf list = {0};
    for (size_t i = 0; i < TYPES; i++) {
        const char *end = types[i].endings;
        if (types[i].kind == k) {
            buf_addf(&list, "%s%.*s", list.len ? ", " : "", (int)strcspn(end, "|"), end);
        }
    }
    (void)err_set(e, ERR_INPUT, "its content is %s, and %s has to be one of %s",
                  mime ? mime : "nothing that is known", media_kind_noun(k), list.data);
    buf_done(&list);
    return false;
}

bool
media_type(enum media_kind k, const char *said, const char *filename, const void *p, size_t n,
           char ret[MEDIA_MIME_SIZE], struct err *e)
{
    size_t look = n < MEDIA_SNIFF ? n : MEDIA_SNIFF;
    const char *sniffed = media_sniff(p, look);
    const char *mime = open_type(sniffed, said, filename, !sniffed && is_text(p, look));
    if (mime && k == MEDIA_AUDIO && strcmp(mime, "video/mp4") == 0) {
        const struct type *t = type_by_mime(said);
        t = t ? t : type_by_name(filename);
        mime = t && t->kind == MEDIA_AUDIO ? "audio/mp4" : mime;
    }
    if (!mime || !media_kind_takes(k, mime)) {
        return refuse(k, mime, e);
    }
    (void)snprintf(ret, MEDIA_MIME_SIZE, "%s", mime);
    return true;
}
