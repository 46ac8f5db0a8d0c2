/* The webhook sender: any HTTP API that takes one message a request.
 *
 *     [sender gateway]
 *     type = webhook
 *     url = https://gateway.example/devices/{device_ref}/messages
 *     header_Authorization = env:GATEWAY_TOKEN
 *     body = {"to": "{recipient}", "text": "{text}"}
 *     success = 2xx and /status = "accepted"
 *     id_pointer = /message/id
 *     error_pointer = /error/code
 *     error_1 = code:131056 -> retry/pair retry=10s
 *     error_2 = text:not registered -> rejected/recipient
 *
 * What templates may say and what answers mean is in webhook.h and webhook_answer.c. */
#include "shared/conf.h"
#include "shared/mem.h"
#include "worker/http.h"
#include "worker/outcome.h"
#include "worker/webhook.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct webhook_settings {
    char *type, *url, *unix_socket, *content_type, *body, *success;
    char *id_pointer, *error_pointer, *text_pointer;
    int64_t method, connect_ms, total_ms, max_body, max_text, max_connections;
    bool recipient_header, allow_private, insecure, http2;
};

#define METHODS "POST|PUT|PATCH|GET|DELETE"
static const char *const methods[] = {"POST", "PUT", "PATCH", "GET", "DELETE"};
enum { METHOD_GET = 3 };

#define DEFAULT_BODY                                                                               \
    "{\"job_id\":\"{job_id}\",\"attempt\":{attempt},\"device\":{device},"                          \
    "\"device_ref\":\"{device_ref}\",\"recipient\":\"{recipient}\",\"name\":\"{name}\","           \
    "\"text\":\"{text}\"}"

#define AT(field) offsetof(struct webhook_settings, field)
static const struct conf_key keys[] = {
    {"type", CONF_STR, AT(type), "webhook", NULL, 0, "The kind of sender."},
    {"url", CONF_STR, AT(url), NULL, NULL, CONF_SECRET,
     "Where to; {variables} after the host are percent-encoded."},
    {"unix_socket", CONF_STR, AT(unix_socket), NULL, NULL, 0,
     "Path of a unix socket to connect to instead of the URL's host."},
    {"method", CONF_WORD, AT(method), "POST", METHODS, 0, "The HTTP method."},
    {"content_type", CONF_STR, AT(content_type), "application/json", NULL, 0,
     "JSON, application/x-www-form-urlencoded or text/plain; decides how variables are escaped."},
    {"body", CONF_STR, AT(body), NULL, NULL, 0,
     "The request's body with {variables}; for JSON there is a default with all of them."},
    {"recipient_header", CONF_BOOL, AT(recipient_header), "yes", NULL, 0,
     "Whether the header X-Recipient is sent."},
    {"header_*", CONF_STR, 0, NULL, NULL, 0,
     "A header of that name; {variables}, or all of it as env:NAME or file:PATH."},
    {"success", CONF_STR, AT(success), "2xx", NULL, 0,
     "What acceptance looks like: statuses, then conditions such as: and /status = \"accepted\"."},
    {"id_pointer", CONF_STR, AT(id_pointer), "/id", NULL, 0,
     "JSON pointer to the provider's message id; empty when there is none."},
    {"error_pointer", CONF_STR, AT(error_pointer), "", NULL, 0, "JSON pointer to an error's code."},
    {"text_pointer", CONF_STR, AT(text_pointer), "/message", NULL, 0,
     "JSON pointer to an error's sentence."},
    {"error_*", CONF_STR, 0, NULL, NULL, 0,
     "error_1, error_2 ...: STATUS, code:CODE or text:TEXT -> class[/scope] [retry=30s] [stop] "
     "[alike=3]."},
    {"connect_timeout", CONF_MS, AT(connect_ms), "5s", "1..600s", 0,
     "Time for name look-up, TCP and TLS."},
    {"timeout", CONF_MS, AT(total_ms), "60s", "1..600s", 0,
     "Time for a whole send; longer than the gateway's own, shorter than a lease."},
    {"max_body", CONF_INT, AT(max_body), "65536", "1024..16777216", 0,
     "Bytes of an answer's body that are read."},
    {"max_text", CONF_INT, AT(max_text), "0", "0..65536", 0, "Characters a text may have; 0: any."},
    {"max_connections", CONF_INT, AT(max_connections), "128", "1..10000", 0, "Requests at once."},
    {"allow_private", CONF_BOOL, AT(allow_private), "no", NULL, 0,
     "Whether the host may have a private, loopback or link-local address."},
    {"http2", CONF_BOOL, AT(http2), "no", NULL, 0, "HTTP/2 where TLS offers it; see http.h first."},
    {"insecure", CONF_BOOL, AT(insecure), "no", NULL, 0,
     "Leaves TLS certificates unverified; for tests."},
    {0},
};

/* A header's value is a template, or fixed when it is a secret. */
struct header {
    char *name, *fixed;
    struct webhook_template *value;
};

struct webhook {
    struct webhook_settings set;
    struct http *http;
    struct outcome_queue *refusals; /* messages that fit in no request */
    struct webhook_rules *rules;
    struct webhook_template *url, *body;
    struct header *headers;
    size_t n_headers, cap_headers;
};

struct send {
    const struct webhook *webhook;
    sender_done *done;
    void *arg;
};

/* --- opening --------------------------------------------------------------------------------- */

static bool
printable(const char *s)
{
    for (; *s; s++) {
        if (iscntrl((unsigned char)*s)) {
            return false;
        }
    }
    return true;
}

static bool
escape_for(const char *content_type, enum webhook_escape *ret, struct err *e)
{
    size_t len = strcspn(content_type, "; \t");
    bool json = (len >= 5 && strncasecmp(content_type + len - 5, "/json", 5) == 0) ||
                (len >= 5 && strncasecmp(content_type + len - 5, "+json", 5) == 0);
    if (!printable(content_type)) {
        return err_set(e, ERR_INPUT, "a control character");
    }
    if (json) {
        *ret = ESCAPE_JSON;
    } else if (strncasecmp(content_type, "application/x-www-form-urlencoded", len) == 0 &&
               len == 33) {
        *ret = ESCAPE_FORM;
    } else if (strncasecmp(content_type, "text/plain", len) == 0 && len == 10) {
        *ret = ESCAPE_NONE;
    } else {
        return err_set(e, ERR_INPUT,
                       "neither JSON nor application/x-www-form-urlencoded nor "
                       "text/plain: how to escape variables in it is unknown");
    }
    return true;
}

static bool
open_body(struct webhook *w, const struct conf_section *s, struct err *e)
{
    const char *body = w->set.body;
    enum webhook_escape escape = ESCAPE_JSON;
    if (!escape_for(w->set.content_type, &escape, e)) {
        return sender_at_key(s, "content_type", e);
    }
    if (w->set.method == METHOD_GET) {
        return !body || (err_set(e, ERR_INPUT, "GET has no body"), sender_at_key(s, "body", e));
    }
    if (!body && escape != ESCAPE_JSON) {
        (void)err_set(e, ERR_INPUT, "needed for this content_type");
        return sender_at_key(s, "body", e);
    }
    return webhook_template_parse(body ? body : DEFAULT_BODY, escape, &w->body, e) ||
           sender_at_key(s, "body", e);
}

static bool
open_url(struct webhook *w, const struct conf_section *s, struct err *e)
{
    static const struct message sample = {.job_id = "x",
                                          .device_ref = "x",
                                          .recipient = "x",
                                          .name = "x",
                                          .text = "x",
                                          .text_len = 1};
    struct buf b = {0};
    bool ok = w->set.url != NULL || err_set(e, ERR_INPUT, "missing");
    /* Over a unix socket the URL's host is only a name for the server. */
    bool any_host = w->set.allow_private || w->set.unix_socket;
    ok = ok && webhook_template_parse(w->set.url, ESCAPE_URL, &w->url, e) &&
         webhook_template_expand(w->url, &sample, &b, e) && http_url_check(b.data, any_host, e);
    buf_done(&b);
    return ok || sender_at_key(s, "url", e);
}

/* Names that are ours or the protocol's. */
static bool
check_header_name(const char *name, struct err *e)
{
    static const char *const taken[] = {
        "Content-Type",    "Content-Length", "Transfer-Encoding", "Connection",  "Expect",
        "Idempotency-Key", "X-Attempt",      "X-Device",          "X-Recipient", "User-Agent"};
    static const char token[] = "!#$%&'*+-.^_`|~0123456789"
                                "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    if (!*name || name[strspn(name, token)]) {
        return err_set(e, ERR_INPUT, "no name of a header");
    }
    for (size_t i = 0; i < sizeof taken / sizeof *taken; i++) {
        if (strcasecmp(name, taken[i]) == 0) {
            return err_set(e, ERR_INPUT, "this header is set by the sender itself");
        }
    }
    return true;
}

static bool
open_header(struct webhook *w, const struct conf_section *s, const struct conf_pair *p,
            struct err *e)
{
    const char *name = p->key + strlen("header_");
    bool secret = strncmp(p->value, "env:", 4) == 0 || strncmp(p->value, "file:", 5) == 0;
    struct header h = {0};
    if (!check_header_name(name, e)) {
        return sender_at_key(s, p->key, e);
    }
    if (secret) { /* read by the rules of secret settings */
        const struct conf_key one[] = {{p->key, CONF_STR, 0, NULL, NULL, CONF_SECRET, ""}, {0}};
        struct conf_section alone = *s;
        alone.pairs = &(struct conf_pair){p->key, p->value, p->line};
        alone.n_pairs = 1;
        if (!conf_section_apply(&alone, one, &h.fixed, e)) {
            return false;
        }
    }
    if (!printable(secret ? h.fixed : p->value)) {
        free(h.fixed);
        (void)err_set(e, ERR_INPUT, "a control character");
        return sender_at_key(s, p->key, e);
    }
    if (!secret && !webhook_template_parse(p->value, ESCAPE_HEADER, &h.value, e)) {
        return sender_at_key(s, p->key, e);
    }
    h.name = xstrdup(name);
    VEC_GROW(w->headers, w->n_headers, w->cap_headers);
    w->headers[w->n_headers++] = h;
    return true;
}

static bool
open_error(struct webhook *w, const struct conf_section *s, const struct conf_pair *p,
           struct err *e)
{
    const char *number = p->key + strlen("error_");
    size_t digits = strspn(number, "0123456789");
    bool ok = (digits && digits < 7 && !number[digits]) ||
              err_set(e, ERR_INPUT, "unknown key (the error map's lines are error_1, error_2 ...)");
    ok = ok && webhook_rules_error(w->rules, atoi(number), p->value, e);
    return ok || sender_at_key(s, p->key, e);
}

static bool
open_rules(struct webhook *w, const struct conf_section *s, struct err *e)
{
    const struct {
        const char *key, *value;
        enum webhook_pointer pointer;
    } pointers[] = {{"id_pointer", w->set.id_pointer, POINTER_ID},
                    {"error_pointer", w->set.error_pointer, POINTER_ERROR},
                    {"text_pointer", w->set.text_pointer, POINTER_TEXT}};
    w->rules = webhook_rules_new();
    if (!webhook_rules_success(w->rules, w->set.success, e)) {
        return sender_at_key(s, "success", e);
    }
    for (size_t i = 0; i < sizeof pointers / sizeof *pointers; i++) {
        if (!webhook_rules_pointer(w->rules, pointers[i].pointer, pointers[i].value, e)) {
            return sender_at_key(s, pointers[i].key, e);
        }
    }
    for (size_t i = 0; i < s->n_pairs; i++) {
        const struct conf_pair *p = &s->pairs[i];
        if (strncmp(p->key, "header_", 7) == 0 && !open_header(w, s, p, e)) {
            return false;
        }
        if (strncmp(p->key, "error_", 6) == 0 && strcmp(p->key, "error_pointer") != 0 &&
            !open_error(w, s, p, e)) {
            return false;
        }
    }
    return true;
}

static bool
open_http(struct webhook *w, struct ev_loop *loop, const struct conf_section *s, struct err *e)
{
    const char *path = w->set.unix_socket;
    if (path && strncmp(path, "unix:", 5) == 0) {
        path += 5;
    }
    if (path && *path != '/') {
        (void)err_set(e, ERR_INPUT, "a path begins with \"/\"");
        return sender_at_key(s, "unix_socket", e);
    }
    const struct http_options o = {
        .unix_socket = path,
        .connect_ms = w->set.connect_ms,
        .total_ms = w->set.total_ms,
        .max_body = (size_t)w->set.max_body,
        .max_connections = (int)w->set.max_connections,
        .allow_private = w->set.allow_private,
        .insecure = w->set.insecure,
        .http2 = w->set.http2,
    };
    return http_open(loop, &o, &w->http, e) || sender_at_key(s, path ? "unix_socket" : "url", e);
}

static void
webhook_close(void *self)
{
    struct webhook *w = self;
    http_close(w->http);
    outcome_queue_free(w->refusals, NULL);
    webhook_rules_free(w->rules);
    webhook_template_free(w->url);
    webhook_template_free(w->body);
    for (size_t i = 0; i < w->n_headers; i++) {
        webhook_template_free(w->headers[i].value);
        free(w->headers[i].fixed);
        free(w->headers[i].name);
    }
    free(w->headers);
    for (const struct conf_key *k = keys; k->name; k++) {
        if (k->type == CONF_STR && !strchr(k->name, '*')) {
            void *field = (char *)&w->set + k->offset;
            free(*(char **)field);
        }
    }
    free(w);
}

static bool
webhook_open(struct ev_loop *loop, const struct conf_section *section, void **ret, struct err *e)
{
    if (!section) {
        return err_set(e, ERR_INPUT, "a webhook needs a section: [sender NAME] with its url");
    }
    struct webhook *w = xcalloc(1, sizeof *w);
    bool ok = conf_section_apply(section, keys, &w->set, e) && open_url(w, section, e) &&
              open_body(w, section, e) && open_rules(w, section, e) &&
              open_http(w, loop, section, e);
    if (!ok) {
        webhook_close(w);
        return false;
    }
    w->refusals = outcome_queue_new(loop, 0, NULL, NULL);
    *ret = w;
    return true;
}

/* --- sending --------------------------------------------------------------------------------- */

static void
on_result(void *arg, const struct http_result *r)
{
    struct send *s = arg;
    struct outcome o;
    webhook_classify(s->webhook->rules, r, &o);
    s->done(s->arg, &o);
    free(s);
}

/* Where the parts of one request lie in its buffer, which may move while it grows. */
struct draft {
    struct buf text;
    struct http_header *headers;
    size_t *values; /* offset of each header's value */
    size_t n;
};

static void
end_part(struct draft *d)
{
    buf_add(&d->text, "", 1);
}

static void
add_plain(struct draft *d, const char *name, const char *value)
{
    d->headers[d->n].name = name;
    d->values[d->n++] = d->text.len;
    for (const char *p = value ? value : ""; *p;
         p++) { /* ids and phones; a line end must not pass */
        buf_add(&d->text, iscntrl((unsigned char)*p) ? "?" : p, 1);
    }
    end_part(d);
}

static void
add_number(struct draft *d, const char *name, uint64_t value)
{
    char text[24];
    (void)snprintf(text, sizeof text, "%" PRIu64, value);
    add_plain(d, name, text);
}

static bool
add_headers(const struct webhook *w, const struct message *m, struct draft *d, struct err *e)
{
    size_t room = w->n_headers + 8;
    d->headers = xcalloc(room, sizeof *d->headers);
    d->values = xcalloc(room, sizeof *d->values);
    add_plain(d, "User-Agent", "paceline/" PACELINE_VERSION);
    if (w->body) {
        add_plain(d, "Content-Type", w->set.content_type);
    }
    add_plain(d, "Idempotency-Key", m->job_id);
    add_number(d, "X-Attempt", (uint64_t)m->attempt);
    add_number(d, "X-Device", m->device_id);
    if (w->set.recipient_header) {
        add_plain(d, "X-Recipient", m->recipient);
    }
    for (size_t i = 0; i < w->n_headers; i++) {
        const struct header *h = &w->headers[i];
        if (h->fixed) {
            add_plain(d, h->name, h->fixed);
            continue;
        }
        d->headers[d->n].name = h->name;
        d->values[d->n++] = d->text.len;
        if (!webhook_template_expand(h->value, m, &d->text, e)) {
            return false;
        }
        end_part(d);
    }
    return true;
}

static unsigned
webhook_can(const void *self)
{
    const struct webhook *w = self;
    return webhook_template_has_media_url(w->body) || webhook_template_has_media_url(w->url)
               ? CAN_MEDIA_URL
               : 0;
}

static void
refuse_beyond(struct webhook *w, const char *beyond, sender_done *done, void *arg)
{
    struct outcome o = {
        .class = OUTCOME_REJECTED, .scope = SCOPE_TEMPLATE, .stop = true, .code = "unsupported"};
    (void)snprintf(o.text, sizeof o.text, "%s", beyond);
    outcome_queue_add(w->refusals, &o, done, arg);
}

static void
refuse(struct webhook *w, const struct err *why, sender_done *done, void *arg)
{
    struct outcome o = {.class = OUTCOME_REJECTED, .scope = SCOPE_MESSAGE, .code = "bad-value"};
    (void)snprintf(o.text, sizeof o.text, "%.190s", why->text);
    outcome_queue_add(w->refusals, &o, done, arg);
}

static void
webhook_send(void *self, const struct message *m, sender_done *done, void *arg)
{
    struct webhook *w = self;
    struct draft d = {0};
    struct err e;
    const char *beyond = sender_cannot(webhook_can(w), m);
    if (beyond) {
        refuse_beyond(w, beyond, done, arg);
        return;
    }
    bool ok = webhook_template_expand(w->url, m, &d.text, &e);
    if (ok) {
        end_part(&d);
    }
    ok = ok && add_headers(w, m, &d, &e);
    size_t body = d.text.len;
    ok = ok && (!w->body || webhook_template_expand(w->body, m, &d.text, &e));
    if (ok) {
        for (size_t i = 0; i < d.n; i++) {
            d.headers[i].value = d.text.data + d.values[i];
        }
        const struct http_request r = {
            .method = methods[w->set.method],
            .url = d.text.data,
            .headers = d.headers,
            .n_headers = d.n,
            .body = d.text.data + body,
            .body_len = d.text.len - body,
            .not_after_mono_ms = m->not_after_mono_ms,
        };
        struct send *s = xmalloc(sizeof *s);
        *s = (struct send){w, done, arg};
        http_send(w->http, &r, on_result, s);
    } else {
        refuse(w, &e, done, arg);
    }
    free(d.headers);
    free(d.values);
    buf_done(&d.text);
}

static int64_t
webhook_limit_ms(const void *self)
{
    return ((const struct webhook *)self)->set.total_ms;
}

static size_t
webhook_max_chars(const void *self, bool caption)
{
    return caption ? 0 : (size_t)((const struct webhook *)self)->set.max_text;
}

const struct sender sender_webhook = {
    .type = "webhook",
    .open = webhook_open,
    .send = webhook_send,
    .close = webhook_close,
    .limit_ms = webhook_limit_ms,
    .max_chars = webhook_max_chars,
    .can = webhook_can,
};
