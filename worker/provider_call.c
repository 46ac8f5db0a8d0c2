/* The requests of a provider's sender and their reports: a message, an upload, a look at a device.
 * What makes no request is reported through the same queue as every refusal. */
#include "shared/render.h"
#include "worker/outcome.h"
#include "worker/provider.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Who waits for the report of one request. */
struct waiting {
    const struct provider *provider;
    const char *secret;
    int attempt;
    sender_done *done;
    sender_uploaded *uploaded;
    int64_t keep_ms;
    sender_checked *checked;
    void *arg;
};

static struct waiting *
waiting_new(const struct provider *p, const struct provider_call *c, void *arg)
{
    struct waiting *w = xcalloc(1, sizeof *w);
    w->provider = p;
    w->secret = c && c->secret ? c->secret : p->secret;
    w->arg = arg;
    return w;
}

/* Takes the call's path and body over. */
static void
ask(struct provider *p, struct provider_call *c, int64_t not_after_mono_ms, http_done *done,
    struct waiting *w)
{
    struct http_header headers[5] = {{"User-Agent", "paceline/" PACELINE_VERSION}};
    size_t n = 1;
    provider_body_end(&c->body);
    if (c->body.type[0]) {
        headers[n++] = (struct http_header){"Content-Type", c->body.type};
    }
    if (p->credential_name && p->credential) {
        headers[n++] = (struct http_header){p->credential_name, p->credential};
    }
    for (size_t i = 0; i < sizeof c->headers / sizeof *c->headers; i++) {
        if (c->headers[i].name) {
            headers[n++] = c->headers[i];
        }
    }
    char *url = xasprintf("%s%s", p->base, c->path);
    const struct http_request r = {
        .method = c->method ? c->method : "POST",
        .url = url,
        .headers = headers,
        .n_headers = n,
        .body = c->body.bytes.data,
        .body_len = c->body.bytes.len,
        .not_after_mono_ms = not_after_mono_ms,
    };
    http_send(p->http, &r, done, w);
    provider_body_done(&c->body);
    free(c->path);
    free(url);
}

static void
on_sent(void *arg, const struct http_result *r)
{
    struct waiting *w = arg;
    struct outcome o;
    provider_classify(w->provider->table, r, w->attempt, w->secret, &o);
    w->done(w->arg, &o);
    free(w);
}

void
provider_send(struct provider *p, struct provider_call *c, const struct message *m,
              sender_done *done, void *arg)
{
    struct waiting *w = waiting_new(p, c, arg);
    w->attempt = m->attempt;
    w->done = done;
    ask(p, c, m->not_after_mono_ms, on_sent, w);
}

static void
on_uploaded(void *arg, const struct http_result *r)
{
    struct waiting *w = arg;
    struct outcome o;
    provider_classify_upload(w->provider->table, r, w->secret, &o);
    w->uploaded(w->arg, &o, o.class == OUTCOME_SENT ? w->keep_ms : 0);
    free(w);
}

void
provider_upload(struct provider *p, struct provider_call *c, int64_t keep_ms, sender_uploaded *done,
                void *arg)
{
    struct waiting *w = waiting_new(p, c, arg);
    w->uploaded = done;
    w->keep_ms = keep_ms;
    ask(p, c, 0, on_uploaded, w);
}

static void
on_checked(void *arg, const struct http_result *r)
{
    struct waiting *w = arg;
    char text[200];
    enum device_state state =
        provider_state_of(w->provider->table, r, w->secret, text, sizeof text);
    w->checked(w->arg, state, text);
    free(w);
}

void
provider_check(struct provider *p, struct provider_call *c, sender_checked *done, void *arg)
{
    struct waiting *w = waiting_new(p, c, arg);
    w->checked = done;
    ask(p, c, 0, on_checked, w);
}

/* --- refusals -------------------------------------------------------------------------------- */

static struct outcome
refusal(enum outcome_scope scope, const char *code, const char *text)
{
    struct outcome o = {.class = OUTCOME_REJECTED, .scope = scope, .stop = scope == SCOPE_TEMPLATE};
    (void)snprintf(o.code, sizeof o.code, "%s", code);
    (void)snprintf(o.text, sizeof o.text, "%s", text);
    return o;
}

void
provider_refuse(struct provider *p, enum outcome_scope scope, const char *code, const char *text,
                sender_done *done, void *arg)
{
    struct outcome o = refusal(scope, code, text);
    outcome_queue_add(p->refusals, &o, done, arg);
}

static void
on_upload_refused(void *arg, const struct outcome *o)
{
    struct waiting *w = arg;
    w->uploaded(w->arg, o, 0);
    free(w);
}

void
provider_refuse_upload(struct provider *p, enum outcome_scope scope, const char *code,
                       const char *text, sender_uploaded *done, void *arg)
{
    struct waiting *w = waiting_new(p, NULL, arg);
    struct outcome o = refusal(scope, code, text);
    w->uploaded = done;
    outcome_queue_add(p->refusals, &o, on_upload_refused, w);
}

static void
on_check_refused(void *arg, const struct outcome *o)
{
    struct waiting *w = arg;
    w->checked(w->arg, DEVICE_UNKNOWN, o->text);
    free(w);
}

void
provider_refuse_check(struct provider *p, const char *text, sender_checked *done, void *arg)
{
    struct waiting *w = waiting_new(p, NULL, arg);
    struct outcome o = refusal(SCOPE_DEVICE, "bad-device", text);
    w->checked = done;
    outcome_queue_add(p->refusals, &o, on_check_refused, w);
}

/* --- what can be asked for ------------------------------------------------------------------- */

static bool
is_utf8(const char *text)
{
    size_t len = text ? strlen(text) : 0;
    return render_bad_utf8(text, len) == len;
}

static bool
template_is_utf8(const struct message_template *t)
{
    bool ok = is_utf8(t->name) && is_utf8(t->language) && is_utf8(t->header);
    for (size_t i = 0; i < t->n_body && ok; i++) {
        ok = is_utf8(t->body[i].name) && is_utf8(t->body[i].text);
    }
    for (size_t i = 0; i < t->n_buttons && ok; i++) {
        ok = is_utf8(t->buttons[i].value);
    }
    return ok;
}

static bool
message_is_utf8(const struct message *m)
{
    return render_bad_utf8(m->text, m->text_len) == m->text_len &&
           (!m->media ||
            (is_utf8(m->media->filename) && is_utf8(m->media->url) && is_utf8(m->media->id))) &&
           (!m->template || template_is_utf8(m->template));
}

bool
provider_accept(struct provider *p, unsigned can, const struct message *m, sender_done *done,
                void *arg)
{
    const char *beyond = sender_cannot(can, m);
    if (beyond) {
        provider_refuse(p, SCOPE_TEMPLATE, "unsupported", beyond, done, arg);
    } else if (!provider_is_number(m->recipient)) {
        provider_refuse(p, SCOPE_RECIPIENT, "bad-recipient",
                        "the recipient is no phone of 1 to 15 digits", done, arg);
    } else if (m->text_len == 0 && !m->media && !m->template) {
        provider_refuse(p, SCOPE_MESSAGE, "bad-value", "the text is empty", done, arg);
    } else if (!message_is_utf8(m)) {
        provider_refuse(p, SCOPE_MESSAGE, "bad-value", "the text is not valid UTF-8", done, arg);
    } else {
        return true;
    }
    return false;
}
