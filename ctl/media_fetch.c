#include "ctl/media_fetch.h"

#include "ctl/progress.h"
#include "shared/http_address.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <curl/curl.h>

enum { CONNECT_MS = 10000, REDIRECTS = 5, SLOW_BYTES = 1024, SLOW_S = 30 };

struct download {
    const struct media_fetch *f;
    const char *url;
    CURL *curl;
    struct buf *out;
    size_t begun;
    struct progress progress;
    bool refused, too_large, typed;
    char mime[MEDIA_MIME_SIZE];
    struct err why; /* of the type */
};

static curl_socket_t
open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *a)
{
    struct download *d = arg;
    (void)purpose;
    if (!d->f->allow_private && http_address_private(&a->addr)) {
        d->refused = true;
        return CURL_SOCKET_BAD;
    }
    return socket(a->family, a->socktype | SOCK_CLOEXEC, a->protocol);
}

static const char *
said(const struct download *d)
{
    char *type = NULL;
    (void)curl_easy_getinfo(d->curl, CURLINFO_CONTENT_TYPE, &type);
    return type ? type : "";
}

/* The URL's path may have an ending where the server says application/octet-stream. */
static bool
check_type(struct download *d)
{
    d->typed = true;
    return media_type(d->f->kind, said(d), d->url, d->out->data + d->begun, d->out->len - d->begun,
                      d->mime, &d->why);
}

static size_t
take(char *p, size_t size, size_t n, void *arg)
{
    struct download *d = arg;
    curl_off_t announced = -1;
    long status = 0;
    n *= size;
    (void)curl_easy_getinfo(d->curl, CURLINFO_RESPONSE_CODE, &status);
    if (status != 200) {
        return n; /* of an error or a redirect */
    }
    (void)curl_easy_getinfo(d->curl, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &announced);
    size_t have = d->out->len - d->begun, max = (size_t)d->f->max;
    if (announced > d->f->max || n > max - have) {
        d->too_large = true;
        return 0;
    }
    d->progress.total = announced > 0 ? announced : d->f->max;
    buf_add(d->out, p, n);
    if (!d->typed && have + n >= MEDIA_SNIFF && !check_type(d)) {
        return 0;
    }
    progress_at(&d->progress, (int64_t)(have + n), (int64_t)(have + n));
    return n;
}

static CURLcode
configure(struct download *d, char text[CURL_ERROR_SIZE])
{
    CURL *c = d->curl;
    CURLcode rc = CURLE_OK;
    bool tls = strncasecmp(d->url, "https:", 6) == 0;
#define SET(option, value) (rc = rc ? rc : curl_easy_setopt(c, option, value))
    SET(CURLOPT_URL, d->url);
    SET(CURLOPT_ERRORBUFFER, text);
    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_PROXY, ""); /* it would hide the address */
    SET(CURLOPT_PROTOCOLS_STR, "http,https");
    SET(CURLOPT_REDIR_PROTOCOLS_STR, tls ? "https" : "http,https");
    SET(CURLOPT_FOLLOWLOCATION, 1L);
    SET(CURLOPT_MAXREDIRS, (long)REDIRECTS);
    SET(CURLOPT_USERAGENT, "paceline/" PACELINE_VERSION);
    SET(CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_MS);
    SET(CURLOPT_TIMEOUT_MS, (long)d->f->timeout_ms);
    SET(CURLOPT_LOW_SPEED_LIMIT, (long)SLOW_BYTES);
    SET(CURLOPT_LOW_SPEED_TIME, (long)SLOW_S);
    SET(CURLOPT_OPENSOCKETFUNCTION, open_socket);
    SET(CURLOPT_OPENSOCKETDATA, d);
    SET(CURLOPT_WRITEFUNCTION, take);
    SET(CURLOPT_WRITEDATA, d);
#undef SET
    return rc;
}

static bool
too_large(const struct media_fetch *f, struct err *e)
{
    return err_set(e, ERR_INPUT, "it is larger than %" PRId64 " bytes, the limit for %s", f->max,
                   media_kind_noun(f->kind));
}

static bool
conclude(struct download *d, CURLcode rc, const char *text, struct err *e)
{
    long status = 0;
    (void)curl_easy_getinfo(d->curl, CURLINFO_RESPONSE_CODE, &status);
    if (d->too_large) {
        return too_large(d->f, e);
    }
    if (d->why.kind) {
        return err_set(e, d->why.kind, "%s", d->why.text);
    }
    if (rc && d->refused) {
        return err_set(e, ERR_INPUT,
                       "its host has a private address, from which nothing is fetched; give the "
                       "file itself");
    }
    if (rc == CURLE_TOO_MANY_REDIRECTS || rc == CURLE_UNSUPPORTED_PROTOCOL) {
        return err_set(e, ERR_INPUT, "%s",
                       rc == CURLE_TOO_MANY_REDIRECTS
                           ? "it is redirected more than 5 times"
                           : "it is redirected to what is neither https nor, from http, http");
    }
    if (rc) {
        return err_set(e, ERR_RETRY, "cannot be downloaded: %.150s",
                       *text ? text : curl_easy_strerror(rc));
    }
    if (status != 200) {
        return err_set(e, ERR_INPUT, "the server answers %ld", status);
    }
    if (d->out->len == d->begun) {
        return err_set(e, ERR_INPUT, "it is empty");
    }
    return d->typed || check_type(d) || err_set(e, d->why.kind, "%s", d->why.text);
}

bool
media_fetch(const struct media_fetch *f, const char *url, struct buf *out,
            char ret_mime[MEDIA_MIME_SIZE], struct err *e)
{
    struct download d = {.f = f, .url = url, .out = out, .begun = out->len};
    char text[CURL_ERROR_SIZE] = "";
    d.curl = curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK ? curl_easy_init() : NULL;
    if (!d.curl) {
        return err_set(e, ERR_RETRY, "libcurl cannot be initialised");
    }
    progress_start(&d.progress, "download", "bytes", f->max, 0);
    CURLcode rc = configure(&d, text);
    rc = rc ? rc : curl_easy_perform(d.curl);
    progress_clear(&d.progress);
    bool ok = conclude(&d, rc, text, e);
    curl_easy_cleanup(d.curl);
    curl_global_cleanup();
    if (!ok) {
        out->len = d.begun;
        return err_wrap(e, "%.*s", (int)(strcspn(url, "?#") < 120 ? strcspn(url, "?#") : 120), url);
    }
    memcpy(ret_mime, d.mime, sizeof d.mime);
    return true;
}
