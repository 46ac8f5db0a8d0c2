/* The plumbing of a provider's sender: its connection pool, its headers, its refusals. */
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

struct send {
    const struct provider *provider;
    int attempt;
    sender_done *done;
    void *arg;
};

char *
provider_basic(const char *user, const char *password)
{
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    struct buf b = {0};
    char *plain = xasprintf("%s:%s", user, password);
    size_t len = strlen(plain);
    buf_adds(&b, "Basic ");
    for (size_t i = 0; i < len; i += 3) {
        unsigned v = (unsigned char)plain[i] * 65536u;
        v += i + 1 < len ? (unsigned char)plain[i + 1] * 256u : 0;
        v += i + 2 < len ? (unsigned char)plain[i + 2] : 0;
        char four[4] = {letters[v >> 18], letters[v >> 12 & 63],
                        i + 1 < len ? letters[v >> 6 & 63] : '=',
                        i + 2 < len ? letters[v & 63] : '='};
        buf_add(&b, four, sizeof four);
    }
    free(plain);
    return b.data;
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
              const struct provider_settings *s, char *authorization, char *secret,
              const char *extra_header, struct err *e)
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
    p->authorization = authorization;
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
    free(p->authorization);
    free(p->secret);
}

static void
on_result(void *arg, const struct http_result *r)
{
    struct send *s = arg;
    struct outcome o;
    provider_classify(s->provider->table, r, s->attempt, s->provider->secret, &o);
    s->done(s->arg, &o);
    free(s);
}

void
provider_post(struct provider *p, const struct message *m, const char *path, json_t *body,
              const struct http_header *extra, sender_done *done, void *arg)
{
    struct http_header headers[4] = {{"User-Agent", "paceline/" PACELINE_VERSION},
                                     {"Content-Type", "application/json"}};
    size_t n = 2;
    if (p->authorization) {
        headers[n++] = (struct http_header){"Authorization", p->authorization};
    }
    if (extra) {
        headers[n++] = *extra;
    }
    char *url = xasprintf("%s%s", p->base, path);
    char *text = json_dumps(body, JSON_COMPACT);
    json_decref(body);
    if (text) {
        const struct http_request r = {
            .method = "POST",
            .url = url,
            .headers = headers,
            .n_headers = n,
            .body = text,
            .body_len = strlen(text),
            .not_after_mono_ms = m->not_after_mono_ms,
        };
        struct send *s = xmalloc(sizeof *s);
        *s = (struct send){p, m->attempt, done, arg};
        http_send(p->http, &r, on_result, s);
    } else {
        provider_refuse(p, SCOPE_MESSAGE, "bad-value", "the message fits in no JSON", done, arg);
    }
    free(text);
    free(url);
}

void
provider_refuse(struct provider *p, enum outcome_scope scope, const char *code, const char *text,
                sender_done *done, void *arg)
{
    struct outcome o = {.class = OUTCOME_REJECTED, .scope = scope};
    (void)snprintf(o.code, sizeof o.code, "%s", code);
    (void)snprintf(o.text, sizeof o.text, "%s", text);
    outcome_queue_add(p->refusals, &o, done, arg);
}

size_t
provider_max_chars(const void *self, bool caption)
{
    (void)self;
    return caption ? WHATSAPP_CAPTION_MAX : WHATSAPP_TEXT_MAX;
}
