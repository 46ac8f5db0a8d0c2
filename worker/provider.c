/* What providers' senders have in common before a request: settings, names, their pool. */
#include "worker/provider.h"

#include "shared/conf.h"
#include "shared/log.h"
#include "shared/mem.h"
#include "worker/outcome.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Bytes of an answer that are read: the longest known is a tenth of it. */
enum { MAX_BODY = 65536 };

char *
provider_base64(const void *bytes, size_t len)
{
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const unsigned char *p = bytes;
    char *text = xmalloc((len + 2) / 3 * 4 + 1), *to = text;
    for (size_t i = 0; i < len; i += 3) {
        unsigned v = p[i] * 65536u;
        v += i + 1 < len ? p[i + 1] * 256u : 0;
        v += i + 2 < len ? p[i + 2] : 0;
        *to++ = letters[v >> 18];
        *to++ = letters[v >> 12 & 63];
        *to++ = i + 1 < len ? letters[v >> 6 & 63] : '=';
        *to++ = i + 2 < len ? letters[v & 63] : '=';
    }
    *to = '\0';
    return text;
}

char *
provider_basic(const char *user, const char *password)
{
    char *plain = xasprintf("%s:%s", user, password);
    char *encoded = provider_base64(plain, strlen(plain));
    char *value = xasprintf("Basic %s", encoded);
    free(plain);
    free(encoded);
    return value;
}

bool
provider_printable(const char *value, struct err *e)
{
    for (; *value; value++) {
        if (iscntrl((unsigned char)*value)) {
            return err_set(e, ERR_INPUT, "a control character");
        }
    }
    return true;
}

bool
provider_is_number(const char *text)
{
    size_t digits = strspn(text, "0123456789");
    return digits >= 1 && digits <= 15 && !text[digits];
}

bool
provider_is_name(const char *text)
{
    return text && *text && strcmp(text, ".") != 0 && strcmp(text, "..") != 0;
}

char *
provider_path(const char *head, const char *name, const char *tail)
{
    struct buf b = {0};
    buf_adds(&b, head);
    for (; *name; name++) {
        unsigned char c = (unsigned char)*name;
        if (isascii(c) && (isalnum(c) || strchr("-._~", c))) {
            buf_add(&b, name, 1);
        } else {
            buf_addf(&b, "%%%02X", c);
        }
    }
    buf_adds(&b, tail);
    return b.data;
}

const char *
provider_media_word(enum media_kind kind)
{
    static const char *const words[] = {[MEDIA_IMAGE] = "image",
                                        [MEDIA_VIDEO] = "video",
                                        [MEDIA_AUDIO] = "audio",
                                        [MEDIA_DOCUMENT] = "document"};
    return words[kind];
}

const char *
provider_media_name(const struct media *m)
{
    static const struct {
        const char *mime, *name;
    } known[] = {{"image/jpeg", "image.jpg"},         {"image/png", "image.png"},
                 {"image/webp", "image.webp"},        {"video/mp4", "video.mp4"},
                 {"video/3gpp", "video.3gp"},         {"audio/mpeg", "audio.mp3"},
                 {"audio/ogg", "audio.ogg"},          {"audio/aac", "audio.aac"},
                 {"audio/mp4", "audio.m4a"},          {"audio/amr", "audio.amr"},
                 {"application/pdf", "document.pdf"}, {"text/plain", "document.txt"}};
    if (m->filename && *m->filename) {
        return m->filename;
    }
    for (size_t i = 0; m->mime && i < sizeof known / sizeof *known; i++) {
        if (strcmp(known[i].mime, m->mime) == 0) {
            return known[i].name;
        }
    }
    return provider_media_word(m->kind);
}

/* --- opening --------------------------------------------------------------------------------- */

static bool
check_url(const struct provider_settings *s, struct err *e)
{
    if (!s->url || !*s->url) {
        return err_set(e, ERR_INPUT, "missing");
    }
    if (strpbrk(s->url, "?#@ ")) {
        return err_set(e, ERR_INPUT,
                       "scheme, host and perhaps a path only, such as https://gateway.example");
    }
    return http_url_check(s->url, s->allow_private, e);
}

bool
provider_open(struct provider *p, struct ev_loop *loop, const struct conf_section *section,
              const struct provider_settings *s, const char *credential_name, char *credential,
              char *secret, const char *extra_header, struct err *e)
{
    const struct http_options o = {
        .connect_ms = s->connect_ms,
        .total_ms = s->total_ms,
        .max_body = MAX_BODY,
        .max_connections = (int)s->max_connections,
        .allow_private = s->allow_private,
        .insecure = s->insecure,
        .extra_header = extra_header,
    };
    p->credential_name = credential_name;
    p->credential = credential;
    p->secret = secret;
    p->limit_ms = s->total_ms;
    if (!check_url(s, e) || !http_open(loop, &o, &p->http, e)) {
        return sender_at_key(section, "url", e);
    }
    if (s->total_ms <= p->table->own_limit_ms) {
        log_warn("short_timeout", "sender", LOG_S(section->name), "timeout_ms", LOG_I(s->total_ms),
                 "cure",
                 LOG_S("give it more time than the provider takes, or slow sends end unknown"));
    }
    size_t len = strlen(s->url);
    while (len && s->url[len - 1] == '/') {
        len--;
    }
    p->base = xstrndup(s->url, len);
    p->refusals = outcome_queue_new(loop, 0, NULL, NULL);
    return true;
}

void
provider_close(struct provider *p)
{
    http_close(p->http);
    outcome_queue_free(p->refusals, NULL);
    free(p->base);
    free(p->credential);
    free(p->secret);
}

void
provider_end(void *self)
{
    provider_close(self);
    free(self);
}

int64_t
provider_limit_ms(const void *self)
{
    return ((const struct provider *)self)->limit_ms;
}

size_t
provider_max_chars(const void *self, bool caption)
{
    (void)self;
    return caption ? WHATSAPP_CAPTION_MAX : WHATSAPP_TEXT_MAX;
}

struct key_settings {
    struct provider_settings common;
    char *api_key;
};

static bool
check_key(const char *key, bool needed, struct err *e)
{
    return key && *key
               ? provider_printable(key, e)
               : !needed || err_set(e, ERR_INPUT, "missing; api_key = env:NAME or file:PATH");
}

bool
provider_open_key(const struct provider_table *t, const char *header, bool needed,
                  struct ev_loop *loop, const struct conf_section *section, void **ret,
                  struct err *e)
{
    const struct conf_key keys[] = {
        PROVIDER_KEYS(t->name, struct key_settings, NULL),
        {"api_key", CONF_STR, offsetof(struct key_settings, api_key), NULL, NULL, CONF_SECRET,
         "The gateway's key, best as env:NAME or file:PATH."},
        {0},
    };
    struct key_settings s = {0};
    if (!section) {
        return err_set(e, ERR_INPUT, "%s needs a section: [sender NAME] with its url", t->name);
    }
    if (!conf_section_apply(section, keys, &s, e)) {
        return false;
    }
    struct provider *p = xcalloc(1, sizeof *p);
    p->table = t;
    bool ok = check_key(s.api_key, needed, e) || sender_at_key(section, "api_key", e);
    if (ok) {
        char *key = s.api_key && *s.api_key ? xstrdup(s.api_key) : NULL;
        ok = provider_open(p, loop, section, &s.common, header, key, s.api_key, NULL, e);
        s.api_key = NULL;
    }
    free(s.common.type);
    free(s.common.url);
    free(s.api_key);
    if (!ok) {
        provider_end(p);
        return false;
    }
    *ret = p;
    return true;
}
