#include "shared/media.h"

#include "shared/http_address.h"
#include "shared/render.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include <jansson.h>

static const struct {
    const char *name, *noun;
} kinds[MEDIA_KINDS] = {
    [MEDIA_IMAGE] = {"image", "an image"},
    [MEDIA_VIDEO] = {"video", "a video"},
    [MEDIA_AUDIO] = {"audio", "an audio"},
    [MEDIA_DOCUMENT] = {"document", "a document"},
};

const char *
media_kind_name(enum media_kind k)
{
    return kinds[k].name;
}

const char *
media_kind_noun(enum media_kind k)
{
    return kinds[k].noun;
}

bool
media_kind_parse(const char *word, enum media_kind *ret)
{
    for (int k = 0; k < MEDIA_KINDS; k++) {
        if (strcmp(word, kinds[k].name) == 0) {
            *ret = (enum media_kind)k;
            return true;
        }
    }
    return false;
}

/* --- links ---------------------------------------------------------------------------- */

/* As resolvers read it: 127.1, 0x7f000001 and 017700000001 are addresses too. */
static bool
is_private(const char *host)
{
    struct sockaddr_in in = {.sin_family = AF_INET};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6};
    size_t n = strlen(host);
    char bare[64];
    if (inet_aton(host, &in.sin_addr)) {
        return http_address_private((const struct sockaddr *)&in);
    }
    if (host[0] == '[' && n > 2 && n - 2 < sizeof bare) {
        (void)snprintf(bare, sizeof bare, "%.*s", (int)(n - 2), host + 1);
        return inet_pton(AF_INET6, bare, &in6.sin6_addr) != 1 ||
               http_address_private((const struct sockaddr *)&in6);
    }
    return strcasecmp(host, "localhost") == 0 || strcasecmp(host, "localhost.") == 0 ||
           (n > 10 && strcasecmp(host + n - 10, ".localhost") == 0);
}

/* Letters of any script pass: the resolver of whoever fetches it decides. */
static bool
read_host(const char *from, size_t n, char host[256], struct err *e)
{
    size_t len = *from == '[' ? strcspn(from, "]") + 1 : strcspn(from, ":/?#");
    if (memchr(from, '@', n)) {
        return err_set(e, ERR_INPUT,
                       "a link with a user name or password in it would show them to the provider");
    }
    if (len > n || len == 0 || len > 255) {
        return err_set(e, ERR_INPUT, "there is no host in it");
    }
    size_t port = n - len;
    if (port && (from[len] != ':' || strspn(from + len + 1, "0123456789") != port - 1)) {
        return err_set(e, ERR_INPUT, "what stands behind the host is no port");
    }
    (void)snprintf(host, 256, "%.*s", (int)len, from);
    return true;
}

bool
media_url_check(const char *url, struct err *e)
{
    char host[256];
    size_t n = strlen(url), scheme = strncasecmp(url, "https://", 8) == 0  ? 8
                                     : strncasecmp(url, "http://", 7) == 0 ? 7
                                                                           : 0;
    if (!scheme) {
        return err_set(e, ERR_INPUT, "a link begins with http:// or https://");
    }
    if (n > MEDIA_URL_MAX) {
        return err_set(e, ERR_INPUT, "the link has %zu bytes; %d are the most", n, MEDIA_URL_MAX);
    }
    for (size_t i = 0; i < n; i++) {
        if ((unsigned char)url[i] <= ' ' || url[i] == 0x7f || strchr("\"<>\\^`{|}", url[i])) {
            return err_set(e, ERR_INPUT,
                           "character %zu has no place in a link; percent-encode it (a blank is "
                           "%%20)",
                           i + 1);
        }
    }
    if (render_bad_utf8(url, n) < n) {
        return err_set(e, ERR_INPUT, "the link is not UTF-8");
    }
    if (!read_host(url + scheme, strcspn(url + scheme, "/?#"), host, e)) {
        return false;
    }
    return !is_private(host) ||
           err_set(e, ERR_INPUT, "%.100s is a private address, where no provider can fetch it",
                   host);
}

bool
media_filename_is_good(const char *name)
{
    size_t n = strlen(name);
    for (size_t i = 0; i < n; i++) {
        if ((unsigned char)name[i] < ' ' || name[i] == 0x7f || name[i] == '/' || name[i] == '\\') {
            return false;
        }
    }
    return n && n < MEDIA_FILENAME_SIZE && render_bad_utf8(name, n) == n;
}

/* --- JSON ----------------------------------------------------------------------------- */

/* Sets out to the text of a member, "" when it is missing or null. */
static bool
text_of(const json_t *root, const char *key, char *out, size_t size, struct err *e)
{
    const json_t *v = json_object_get(root, key);
    *out = '\0';
    if (!v || json_is_null(v)) {
        return true;
    }
    if (!json_is_string(v) || strlen(json_string_value(v)) != json_string_length(v)) {
        return err_set(e, ERR_INPUT, "media.%s: has to be text in quotes", key);
    }
    if (json_string_length(v) >= size) {
        return err_set(e, ERR_INPUT, "media.%s: has %zu bytes; %zu are the most", key,
                       json_string_length(v), size - 1);
    }
    memcpy(out, json_string_value(v), json_string_length(v) + 1);
    return true;
}

static bool
check_names(json_t *root, struct err *e)
{
    static const char *const known[] = {"type", "url", "sha256", "mime", "size", "filename"};
    const char *key;
    json_t *v;
    json_object_foreach(root, key, v)
    {
        size_t i = 0;
        while (i < sizeof known / sizeof *known && strcmp(key, known[i]) != 0) {
            i++;
        }
        if (i == sizeof known / sizeof *known) {
            return err_set(e, ERR_INPUT,
                           "media.%.40s: unknown member; there are type, url, sha256, mime, size, "
                           "filename",
                           key);
        }
    }
    return true;
}

static bool
check_source(const struct media_ref *m, struct err *e)
{
    if (!*m->url == !*m->sha256) {
        return err_set(e, ERR_INPUT, "media: has to have either url or sha256");
    }
    if (*m->url && !media_url_check(m->url, e)) {
        return err_wrap(e, "media.url");
    }
    if (*m->sha256 && (strlen(m->sha256) != MEDIA_SHA_SIZE - 1 ||
                       strspn(m->sha256, "0123456789abcdef") != MEDIA_SHA_SIZE - 1)) {
        return err_set(e, ERR_INPUT, "media.sha256: has to be 64 hex digits in lower case");
    }
    if (*m->filename && !media_filename_is_good(m->filename)) {
        return err_set(e, ERR_INPUT,
                       "media.filename: has to be a name in one line, without / and \\");
    }
    return true;
}

static bool
read_members(const json_t *root, struct media_ref *m, struct err *e)
{
    char type[16];
    const json_t *size = json_object_get(root, "size");
    if (!text_of(root, "type", type, sizeof type, e) ||
        !text_of(root, "url", m->url, sizeof m->url, e) ||
        !text_of(root, "sha256", m->sha256, sizeof m->sha256, e) ||
        !text_of(root, "mime", m->mime, sizeof m->mime, e) ||
        !text_of(root, "filename", m->filename, sizeof m->filename, e)) {
        return false;
    }
    if (!media_kind_parse(type, &m->kind)) {
        return err_set(e, ERR_INPUT, "media.type: has to be image, video, audio or document");
    }
    if (size && !json_is_null(size) && (!json_is_integer(size) || json_integer_value(size) < 0)) {
        return err_set(e, ERR_INPUT, "media.size: has to be a whole number of bytes");
    }
    m->size = json_integer_value(size);
    return check_source(m, e);
}

bool
media_parse(const char *json, size_t len, bool strict, struct media_ref *ret, struct err *e)
{
    json_error_t where;
    *ret = (struct media_ref){0};
    if (len > MEDIA_JSON_MAX) {
        return err_set(e, ERR_INPUT, "media: has %zu bytes; %d are the most", len, MEDIA_JSON_MAX);
    }
    json_t *root = json_loadb(json, len, JSON_REJECT_DUPLICATES, &where);
    if (!root) {
        return err_set(e, ERR_INPUT, "media: no JSON, %d:%d: %.150s", where.line, where.column,
                       where.text);
    }
    bool ok = json_is_object(root) ||
              err_set(e, ERR_INPUT, "media: has to be an object: {\"type\": \"image\", ...}");
    ok = ok && (!strict || check_names(root, e)) && read_members(root, ret, e);
    json_decref(root);
    return ok;
}

static void
put(json_t *root, const char *key, const char *text)
{
    if (*text) {
        (void)json_object_set_new(root, key, json_string(text));
    }
}

void
media_write(const struct media_ref *m, struct buf *out)
{
    json_t *root = json_object();
    put(root, "type", kinds[m->kind].name);
    put(root, "url", m->url);
    put(root, "sha256", m->sha256);
    put(root, "mime", m->mime);
    if (m->size) {
        (void)json_object_set_new(root, "size", json_integer(m->size));
    }
    put(root, "filename", m->filename);
    char *text = json_dumps(root, JSON_COMPACT);
    buf_adds(out, text ? text : "");
    free(text);
    json_decref(root);
}
