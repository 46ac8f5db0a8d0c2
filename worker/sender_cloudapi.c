/* The cloudapi sender: WhatsApp's official Business Cloud API: texts, media, approved
 * templates.
 *
 *     [sender cloud]
 *     type = cloudapi
 *     token = env:CLOUD_TOKEN
 *
 * A device's sender_ref is its phone number id.  The API says what it thinks in the body's code,
 * not in the HTTP status, so most rules ask for no status.  Over 500 lines because its table of
 * answers is half of them. */
#include "shared/conf.h"
#include "shared/mem.h"
#include "worker/provider.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define AS(c, s) .class = OUTCOME_##c, .scope = SCOPE_##s

#define META  "Meta, Error codes"
#define KAPSO META "; kapso 0.3.0"
#define PYWA  META "; pywa errors.py"
#define OWN   "rule for unlisted answers"
#define DAY   86400000

/* clang-format off */
static const struct provider_rule rules[] = {
    {.from = 200, .to = 299, .when = WHEN_ID, AS(SENT, MESSAGE),
     .meaning = "accepted, with its id", .advice = "", .source = "facebook/openapi v23.0"},
    {.from = 200, .to = 299, .when = WHEN_CODE, AS(UNKNOWN, MESSAGE),
     .meaning = "accepted and refused in one answer", .advice = "look at the code", .source = OWN},
    {.from = 200, .to = 299, AS(SENT, MESSAGE),
     .meaning = "accepted, its id cannot be read", .advice = "never repeated", .source = OWN},
    {.from = 504, AS(UNKNOWN, DEVICE), .meaning = "a gateway's time limit",
     .advice = "a receipt settles it", .source = OWN},
    {.from = 408, AS(UNKNOWN, DEVICE), .meaning = "a time limit",
     .advice = "a receipt settles it", .source = OWN},

    {.code = "0", AS(REJECTED, ENDPOINT), .extent = "all of the same token",
     .meaning = "authentication failed", .advice = "renew the token", .source = KAPSO},
    {.code = "190", AS(REJECTED, ENDPOINT), .extent = "all of the same token",
     .meaning = "the token has expired", .advice = "renew the token", .source = KAPSO},
    {.code = "3", AS(REJECTED, DEVICE), .meaning = "capability or permission missing",
     .advice = "give the token its permissions", .source = META},
    {.code = "10", AS(REJECTED, DEVICE), .meaning = "permission not granted or removed",
     .advice = "give the token its permissions", .source = META},
    {.code = "200", .last = "299", AS(REJECTED, DEVICE), .meaning = "permission",
     .advice = "give the token its permissions", .source = META},
    {.code = "131005", AS(REJECTED, DEVICE), .meaning = "access denied",
     .advice = "give the token its permissions", .source = META},

    {.code = "1", AS(RETRY, MESSAGE), .meaning = "unknown error",
     .advice = "", .source = META},
    {.code = "131000", AS(RETRY, MESSAGE), .meaning = "unknown error",
     .advice = "", .source = META},
    {.code = "2", AS(RETRY, ENDPOINT), .meaning = "service down or overloaded",
     .advice = "", .source = META},
    {.code = "131016", AS(RETRY, ENDPOINT), .meaning = "service unavailable",
     .advice = "", .source = META},
    {.code = "133004", AS(RETRY, ENDPOINT), .meaning = "server unavailable",
     .advice = "", .source = META},

    {.code = "4", AS(RETRY, ACCOUNT), .extent = "app", .retry_ms = 300000,
     .meaning = "the app's call limit", .advice = "", .source = KAPSO},
    {.code = "17", AS(RETRY, ACCOUNT), .extent = "user", .retry_ms = 300000,
     .meaning = "the user's call limit", .advice = "", .source = META},
    {.code = "80007", AS(RETRY, ACCOUNT), .retry_ms = 300000,
     .meaning = "the business account's call limit", .advice = "", .source = KAPSO},
    {.code = "80008", AS(RETRY, ACCOUNT), .retry_ms = 300000,
     .meaning = "the business account's call limit", .advice = "",
     .source = "Meta, Graph API reference"},
    {.code = "130429", AS(RETRY, DEVICE), .retry_ms = 5000,
     .meaning = "the number's throughput", .advice = "a longer gap", .source = KAPSO},
    {.code = "131056", AS(RETRY, PAIR),
     .meaning = "too many messages to this recipient", .advice = "", .source = KAPSO},
    {.code = "131048", AS(REJECTED, DEVICE), .stop = true,
     .meaning = "spam limit: earlier messages were blocked or flagged",
     .advice = "look at its quality rating; resume the device", .source = META},
    {.code = "131064", AS(REJECTED, ACCOUNT), .stop = true,
     .meaning = "messaging limit cut for misclassified templates",
     .advice = "correct the templates' categories; resume the devices", .source = PYWA},
    {.code = "131049", AS(REJECTED, RECIPIENT), .retry_ms = DAY, .extent = "recipient, marketing",
     .meaning = "not delivered, to keep the recipient's engagement healthy",
     .advice = "not before a day has passed", .source = KAPSO},
    {.code = "131050", AS(REJECTED, RECIPIENT), .extent = "recipient of this number, marketing",
     .meaning = "the recipient stopped marketing messages", .advice = "opt the recipient out",
     .source = KAPSO},
    {.code = "130472", AS(REJECTED, RECIPIENT), .extent = "recipient, this message",
     .meaning = "the recipient is part of an experiment", .advice = "", .source = META},
    {.code = "131026", AS(REJECTED, RECIPIENT),
     .meaning = "undeliverable: not on WhatsApp, old client, or terms not accepted",
     .advice = "check the phone", .source = META},
    {.code = "131047", AS(REJECTED, RECIPIENT), .extent = "recipient's window",
     .meaning = "over 24 hours since the recipient wrote", .advice = "send a template",
     .source = KAPSO},
    {.code = "131021", AS(REJECTED, RECIPIENT), .meaning = "the sender is the recipient",
     .advice = "", .source = META},
    {.code = "131030", AS(REJECTED, RECIPIENT),
     .meaning = "not in the list of allowed test recipients", .advice = "add the phone there",
     .source = META},
    {.code = "137000", AS(REJECTED, RECIPIENT), .meaning = "identity key hash mismatch",
     .advice = "", .source = PYWA},
    {.code = "131062", AS(REJECTED, MESSAGE),
     .meaning = "a business-scoped user id is not supported here", .advice = "use a phone",
     .source = PYWA},
    {.code = "131063", AS(REJECTED, TEMPLATE), .stop = true,
     .meaning = "marketing templates are disabled on this API", .advice = "set marketing_messages = yes",
     .source = PYWA},
    {.code = "33", AS(REJECTED, DEVICE), .meaning = "the business phone was deleted",
     .advice = "correct the device's sender_ref", .source = META},
    {.code = "100", .text = "unsupported post request", AS(REJECTED, DEVICE),
     .meaning = "no such phone number id, or none of this token's",
     .advice = "correct the device's sender_ref", .source = "Meta, Graph API reference"},
    {.code = "100", AS(REJECTED, MESSAGE), .stop_after = 3, .meaning = "invalid parameter",
     .advice = "mend the message", .source = META},
    {.code = "131008", AS(REJECTED, MESSAGE), .stop_after = 3, .meaning = "a parameter is missing",
     .advice = "mend the message", .source = META},
    {.code = "131009", AS(REJECTED, MESSAGE), .stop_after = 3, .meaning = "a parameter's value is invalid",
     .advice = "mend the message", .source = META},
    {.code = "131051", AS(REJECTED, MESSAGE), .stop_after = 3, .meaning = "unsupported message type",
     .advice = "mend the message", .source = META},
    {.code = "135000", AS(REJECTED, MESSAGE), .stop_after = 3,
     .meaning = "unknown error with the request's parameters", .advice = "mend the message",
     .source = KAPSO},
    {.code = "131052", AS(REJECTED, TEMPLATE), .stop = true, .extent = "its medium", .meaning = "media download error",
     .advice = "mend the medium", .source = META},
    {.code = "131053", AS(REJECTED, TEMPLATE), .stop = true, .extent = "its medium", .meaning = "media upload error",
     .advice = "mend the medium", .source = META},
    {.code = "132000", AS(REJECTED, TEMPLATE), .stop = true,
     .meaning = "the template's parameters do not match in number",
     .advice = "mend the template or its parameters: all would fail", .source = META},
    {.code = "132001", AS(REJECTED, TEMPLATE), .stop = true,
     .meaning = "no such template in this language, or not approved",
     .advice = "mend the template or its parameters: all would fail", .source = META},
    {.code = "132005", AS(REJECTED, TEMPLATE), .stop = true, .meaning = "the filled-in text is too long",
     .advice = "mend the template or its parameters: all would fail", .source = META},
    {.code = "132007", AS(REJECTED, TEMPLATE), .stop = true, .meaning = "the template breaks a policy",
     .advice = "mend the template or its parameters: all would fail", .source = META},
    {.code = "132008", AS(REJECTED, TEMPLATE), .stop = true, .meaning = "a template parameter's policy",
     .advice = "mend the template or its parameters: all would fail", .source = PYWA},
    {.code = "132012", AS(REJECTED, TEMPLATE), .stop = true,
     .meaning = "a template parameter has the wrong format",
     .advice = "mend the template or its parameters: all would fail", .source = META},
    {.code = "132015", AS(REJECTED, TEMPLATE), .stop = true, .meaning = "template paused for low quality",
     .advice = "use another template, or wait until it is active again", .source = META},
    {.code = "132016", AS(REJECTED, TEMPLATE), .stop = true,
     .meaning = "template disabled for low quality", .advice = "use another template",
     .source = META},
    {.code = "132068", AS(REJECTED, TEMPLATE), .stop = true, .meaning = "its flow is blocked",
     .advice = "mend the flow", .source = META},
    {.code = "132069", AS(RETRY, DEVICE), .extent = "template", .meaning = "its flow is throttled",
     .advice = "", .source = META},
    {.code = "368", AS(REJECTED, ACCOUNT), .stop = true,
     .meaning = "blocked for policy violations", .advice = "appeal; resume the devices", .source = KAPSO},
    {.code = "131031", AS(REJECTED, ACCOUNT), .stop = true,
     .meaning = "account restricted or locked", .advice = "appeal; resume the devices", .source = KAPSO},
    {.code = "130497", AS(REJECTED, RECIPIENT), .extent = "device and country",
     .meaning = "barred from messaging this country", .advice = "leave that country out",
     .source = KAPSO},
    {.code = "131037", AS(REJECTED, DEVICE), .meaning = "the display name is not approved",
     .advice = "have it approved", .source = META},
    {.code = "131042", AS(REJECTED, ACCOUNT), .meaning = "a problem with the payment",
     .advice = "mend the payment method", .source = META},
    {.code = "134011", AS(REJECTED, ACCOUNT),
     .meaning = "the payment terms are not accepted", .advice = "accept them", .source = KAPSO},
    {.code = "131045", AS(REJECTED, DEVICE), .meaning = "the number is not registered",
     .advice = "register it", .source = META},
    {.code = "131057", AS(RETRY, DEVICE), .retry_ms = 90000,
     .meaning = "maintenance, about a minute during a throughput upgrade", .advice = "",
     .source = META},
    {.code = "133000", .last = "133016", AS(REJECTED, DEVICE),
     .meaning = "registration and two-step verification", .advice = "register the number again",
     .source = META},

    {.from = 300, .to = 399, AS(REJECTED, ENDPOINT),
     .meaning = "a redirection, which is not followed", .advice = "correct the url", .source = OWN},
    {.from = 429, AS(RETRY, DEVICE), .meaning = "too many requests", .advice = "",
     .source = OWN},
    {.from = 401, AS(REJECTED, ENDPOINT), .meaning = "unauthorized",
     .advice = "renew the token", .source = OWN},
    {.from = 403, AS(REJECTED, DEVICE), .meaning = "forbidden",
     .advice = "give the token its permissions", .source = OWN},
    {.from = 400, .to = 499, .when = WHEN_CODE, AS(REJECTED, MESSAGE),
     .meaning = "a code that is not listed", .advice = "look at the code", .source = OWN},
    {.from = 400, .to = 499, AS(REJECTED, ENDPOINT),
     .meaning = "not the API's words: a proxy, or a wrong url", .advice = "correct the url",
     .source = OWN},
    {.from = 500, .to = 599, .when = WHEN_CODE, AS(RETRY, MESSAGE),
     .meaning = "the API refused it, with a code that is not listed", .advice = "", .source = OWN},
    {.from = 503, .when = WHEN_TOLD, AS(RETRY, ENDPOINT),
     .meaning = "out of service, with Retry-After", .advice = "", .source = OWN},
    {AS(UNKNOWN, DEVICE), .meaning = "anything else", .advice = "a receipt settles it",
     .source = OWN},
};
/* clang-format on */

/* X-Business-Use-Case-Usage: {"ACCOUNT": [{"estimated_time_to_regain_access": MINUTES}]} */
static int64_t
regain_ms(const char *header)
{
    json_t *root = json_loads(header, 0, NULL), *entry;
    const char *account;
    int64_t minutes = 0;
    json_t *list;
    json_object_foreach(root, account, list)
    {
        size_t i;
        json_array_foreach(list, i, entry)
        {
            const json_t *left = json_object_get(entry, "estimated_time_to_regain_access");
            int64_t n = json_integer_value(left);
            minutes = n > minutes ? n : minutes;
        }
    }
    json_decref(root);
    return (minutes > 1440 ? 1440 : minutes) * 60000;
}

/* Phone numbers, reference of the fields `status` and `quality_rating`. */
static const struct provider_state states[] = {
    {.from = 200,
     .pointer = "/status",
     .value = "CONNECTED",
     .state = DEVICE_ONLINE,
     .meaning = "connected"},
    {.from = 200,
     .pointer = "/status",
     .value = "FLAGGED",
     .state = DEVICE_ONLINE,
     .meaning = "connected, its quality is low"},
    {.from = 200,
     .pointer = "/status",
     .value = "RATE_LIMITED",
     .state = DEVICE_ONLINE,
     .meaning = "connected, at its messaging limit"},
    {.from = 200,
     .pointer = "/status",
     .value = "UNKNOWN",
     .state = DEVICE_UNKNOWN,
     .meaning = "the API does not know"},
    {.from = 200, .pointer = "/status", .state = DEVICE_OFFLINE, .meaning = "not connected"},
    {.from = 400,
     .to = 499,
     .pointer = "/error/code",
     .value = "33",
     .state = DEVICE_OFFLINE,
     .meaning = "the business phone was deleted"},
    {.from = 400,
     .to = 499,
     .pointer = "/error/code",
     .value = "190",
     .state = DEVICE_UNKNOWN,
     .meaning = "the token has expired"},
};

const struct provider_table cloudapi_table = {
    .name = "cloudapi",
    .ids = {"/messages/0/id"},
    .code = "/error/code",
    .texts = {"/error/error_data/details", "/error/error_data", "/error/message"},
    .note = "/messages/0/message_status",
    .upload_id = "/id",
    .regain_ms = regain_ms,
    .rules = rules,
    .n_rules = sizeof rules / sizeof *rules,
    .states = states,
    .n_states = sizeof states / sizeof *states,
};

/* --- the sender ------------------------------------------------------------------------------ */

enum { CAN = CAN_MEDIA_URL | CAN_UPLOAD | CAN_TEMPLATE };

/* An uploaded medium is kept for 30 days (Meta, Media); a job that names it may wait for two. */
static const int64_t KEEP_MS = (int64_t)28 * 86400000;

struct cloudapi_settings {
    struct provider_settings common;
    char *version, *token;
    bool preview_url, callback_data, marketing_messages;
};

struct cloudapi {
    struct provider provider; /* first, so that it is the sender's own state, too */
    char *version;
    bool preview_url, callback_data, marketing_messages;
};

#define AT(field) offsetof(struct cloudapi_settings, field)
static const struct conf_key keys[] = {
    PROVIDER_KEYS("cloudapi", struct cloudapi_settings, "https://graph.facebook.com"),
    {"version", CONF_STR, AT(version), "v23.0", NULL, 0, "The API's version."},
    {"token", CONF_STR, AT(token), NULL, NULL, CONF_SECRET,
     "The access token, best as env:NAME or file:PATH."},
    {"preview_url", CONF_BOOL, AT(preview_url), "no", NULL, 0,
     "Whether the first link of a text gets a preview."},
    {"callback_data", CONF_BOOL, AT(callback_data), "no", NULL, 0,
     "Whether biz_opaque_callback_data = job id:attempt is sent with everything; the published "
     "description has it for templates only, which have it always."},
    {"marketing_messages", CONF_BOOL, AT(marketing_messages), "no", NULL, 0,
     "Whether templates go to /marketing_messages instead of /messages."},
    {0},
};

static void
cloudapi_close(void *self)
{
    struct cloudapi *c = self;
    provider_close(&c->provider);
    free(c->version);
    free(c);
}

static bool
check_version(const char *v, struct err *e)
{
    size_t major = *v == 'v' ? strspn(v + 1, "0123456789") : 0;
    bool ok = major && v[1 + major] == '.';
    size_t minor = ok ? strspn(v + 2 + major, "0123456789") : 0;
    return (ok && minor && !v[2 + major + minor]) ||
           err_set(e, ERR_INPUT, "a version looks like v23.0");
}

static bool
check_token(const char *token, struct err *e)
{
    return token && *token ? provider_printable(token, e)
                           : err_set(e, ERR_INPUT, "missing; token = env:NAME or file:PATH");
}

static bool
open_settings(struct cloudapi *c, struct ev_loop *loop, const struct conf_section *section,
              struct cloudapi_settings *s, struct err *e)
{
    if (!check_version(s->version, e)) {
        return sender_at_key(section, "version", e);
    }
    if (!check_token(s->token, e)) {
        return sender_at_key(section, "token", e);
    }
    c->provider.table = &cloudapi_table;
    c->version = s->version;
    s->version = NULL;
    c->preview_url = s->preview_url;
    c->callback_data = s->callback_data;
    c->marketing_messages = s->marketing_messages;
    char *token = s->token;
    s->token = NULL;
    return provider_open(&c->provider, loop, section, &s->common, "Authorization",
                         xasprintf("Bearer %s", token), token, "X-Business-Use-Case-Usage:", e);
}

static bool
cloudapi_open(struct ev_loop *loop, const struct conf_section *section, void **ret, struct err *e)
{
    struct cloudapi_settings s = {0};
    if (!section) {
        return err_set(e, ERR_INPUT, "cloudapi needs a section: [sender NAME] with its token");
    }
    if (!conf_section_apply(section, keys, &s, e)) {
        return false;
    }
    struct cloudapi *c = xcalloc(1, sizeof *c);
    bool ok = open_settings(c, loop, section, &s, e);
    free(s.common.type);
    free(s.common.url);
    free(s.version);
    free(s.token);
    if (!ok) {
        cloudapi_close(c);
        return false;
    }
    *ret = c;
    return true;
}

static bool
is_number_id(const char *ref)
{
    return ref && *ref && !ref[strspn(ref, "0123456789")];
}

#define NO_NUMBER_ID "the device's sender_ref is no phone number id (digits only)"

/* --- requests -------------------------------------------------------------------------------- */

static json_t *
named_text(const char *type, const char *name, const char *text)
{
    json_t *parameter = json_object();
    (void)json_object_set_new(parameter, "type", json_string(type));
    if (name) {
        (void)json_object_set_new(parameter, "parameter_name", json_string(name));
    }
    (void)json_object_set_new(parameter, strcmp(type, "payload") == 0 ? "payload" : "text",
                              json_string(text));
    return parameter;
}

/* {"link": ..} or {"id": ..}, with what else WhatsApp shows of this kind. */
static json_t *
media_object(const struct media *m, const char *caption, size_t len)
{
    json_t *o = json_object();
    (void)json_object_set_new(o, m->id ? "id" : "link", json_string(m->id ? m->id : m->url));
    if (len) {
        (void)json_object_set_new(o, "caption", json_stringn(caption, len));
    }
    if (m->kind == MEDIA_DOCUMENT && m->filename) {
        (void)json_object_set_new(o, "filename", json_string(m->filename));
    }
    return o;
}

static void
add_component(json_t *components, const char *type, json_t *parameters)
{
    if (json_array_size(parameters)) {
        json_t *c = json_object();
        (void)json_object_set_new(c, "type", json_string(type));
        (void)json_object_set_new(c, "parameters", parameters);
        (void)json_array_append_new(components, c);
    } else {
        json_decref(parameters);
    }
}

static void
add_button(json_t *components, const struct template_button *b)
{
    char index[16];
    json_t *c = json_object(), *parameters = json_array();
    (void)snprintf(index, sizeof index, "%d", b->index);
    (void)json_array_append_new(parameters,
                                named_text(b->url ? "text" : "payload", NULL, b->value));
    (void)json_object_set_new(c, "type", json_string("button"));
    (void)json_object_set_new(c, "sub_type", json_string(b->url ? "url" : "quick_reply"));
    (void)json_object_set_new(c, "index", json_string(index));
    (void)json_object_set_new(c, "parameters", parameters);
    (void)json_array_append_new(components, c);
}

static json_t *
header_parameters(const struct message *m)
{
    json_t *parameters = json_array();
    if (m->media) {
        const char *kind = provider_media_word(m->media->kind);
        json_t *header = json_object();
        (void)json_object_set_new(header, "type", json_string(kind));
        (void)json_object_set_new(header, kind, media_object(m->media, NULL, 0));
        (void)json_array_append_new(parameters, header);
    } else if (m->template->header) {
        (void)json_array_append_new(parameters, named_text("text", NULL, m->template->header));
    }
    return parameters;
}

static json_t *
template_object(const struct message *m)
{
    const struct message_template *t = m->template;
    json_t *o = json_object(), *language = json_object(), *components = json_array(),
           *body = json_array();
    (void)json_object_set_new(language, "policy", json_string("deterministic"));
    (void)json_object_set_new(language, "code", json_string(t->language));
    (void)json_object_set_new(o, "name", json_string(t->name));
    (void)json_object_set_new(o, "language", language);
    add_component(components, "header", header_parameters(m));
    for (size_t i = 0; i < t->n_body; i++) {
        (void)json_array_append_new(body, named_text("text", t->body[i].name, t->body[i].text));
    }
    add_component(components, "body", body);
    for (size_t i = 0; i < t->n_buttons; i++) {
        add_button(components, &t->buttons[i]);
    }
    if (json_array_size(components)) {
        (void)json_object_set(o, "components", components);
    }
    json_decref(components);
    return o;
}

static json_t *
text_object(const struct cloudapi *c, const struct message *m)
{
    json_t *o = json_object();
    (void)json_object_set_new(o, "body", json_stringn(m->text, m->text_len));
    (void)json_object_set_new(o, "preview_url", json_boolean(c->preview_url));
    return o;
}

static json_t *
message_object(const struct cloudapi *c, const struct message *m)
{
    bool marketing = m->template && c->marketing_messages;
    const char *type = m->template ? "template"
                       : m->media  ? provider_media_word(m->media->kind)
                                   : "text";
    json_t *o = json_object();
    (void)json_object_set_new(o, "messaging_product", json_string("whatsapp"));
    (void)json_object_set_new(o, "recipient_type", json_string("individual"));
    (void)json_object_set_new(o, "to", json_string(m->recipient));
    (void)json_object_set_new(o, "type", json_string(type));
    (void)json_object_set_new(o, type,
                              m->template ? template_object(m)
                              : m->media  ? media_object(m->media, m->text, m->text_len)
                                          : text_object(c, m));
    if (c->callback_data || (m->template && !marketing)) {
        char *data = xasprintf("%s:%d", m->job_id, m->attempt);
        (void)json_object_set_new(o, "biz_opaque_callback_data", json_string(data));
        free(data);
    }
    return o;
}

static void
cloudapi_send(void *self, const struct message *m, sender_done *done, void *arg)
{
    struct cloudapi *c = self;
    if (!is_number_id(m->device_ref)) {
        provider_refuse(&c->provider, SCOPE_DEVICE, "bad-device", NO_NUMBER_ID, done, arg);
        return;
    }
    if (m->template && m->template->header && m->media) {
        provider_refuse(&c->provider, SCOPE_TEMPLATE, "bad-value",
                        "a template's header is a text or a medium, not both", done, arg);
        return;
    }
    if (!provider_accept(&c->provider, CAN, m, done, arg)) {
        return;
    }
    bool marketing = m->template && c->marketing_messages;
    struct provider_call call = {.path = xasprintf("/%s/%s/%s", c->version, m->device_ref,
                                                   marketing ? "marketing_messages" : "messages")};
    provider_body_json(&call.body, message_object(c, m));
    provider_send(&c->provider, &call, m, done, arg);
}

static void
cloudapi_upload(void *self, const char *device_ref, const struct media *m, sender_uploaded *done,
                void *arg)
{
    struct cloudapi *c = self;
    if (!is_number_id(device_ref)) {
        provider_refuse_upload(&c->provider, SCOPE_DEVICE, "bad-device", NO_NUMBER_ID, done, arg);
        return;
    }
    struct provider_call call = {.path = xasprintf("/%s/%s/media", c->version, device_ref)};
    const char *mime = m->mime ? m->mime : "application/octet-stream";
    provider_body_multipart(&call.body);
    provider_body_field(&call.body, "messaging_product", "whatsapp", strlen("whatsapp"));
    provider_body_field(&call.body, "type", mime, strlen(mime));
    provider_body_file(&call.body, "file", m);
    provider_upload(&c->provider, &call, KEEP_MS, done, arg);
}

static void
cloudapi_check(void *self, const char *device_ref, sender_checked *done, void *arg)
{
    struct cloudapi *c = self;
    if (!is_number_id(device_ref)) {
        provider_refuse_check(&c->provider, NO_NUMBER_ID, done, arg);
        return;
    }
    struct provider_call call = {
        .method = "GET",
        .path = xasprintf("/%s/%s?fields=status,quality_rating", c->version, device_ref)};
    provider_check(&c->provider, &call, done, arg);
}

static unsigned
cloudapi_can(const void *self)
{
    (void)self;
    return CAN;
}

const struct sender sender_cloudapi = {
    .type = "cloudapi",
    .open = cloudapi_open,
    .send = cloudapi_send,
    .close = cloudapi_close,
    .limit_ms = provider_limit_ms,
    .max_chars = provider_max_chars,
    .can = cloudapi_can,
    .upload = cloudapi_upload,
    .check = cloudapi_check,
};
