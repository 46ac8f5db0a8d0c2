/* The cloudapi sender: WhatsApp's official Business Cloud API, free-form text.
 *
 *     [sender cloud]
 *     type = cloudapi
 *     token = env:CLOUD_TOKEN
 *
 * A device's sender_ref is its phone number id.  The API says what it thinks in the body's code,
 * not in the HTTP status, so most rules ask for no status. */
#include "shared/conf.h"
#include "shared/mem.h"
#include "worker/provider.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Characters of a text, as the API's reference has it. */

#define AS(c, s, e) .class = OUTCOME_##c, .scope = SCOPE_##s, .extent = e

#define META  "Meta, Error codes"
#define KAPSO META "; kapso 0.3.0"
#define PYWA  META "; pywa errors.py"
#define OWN   "rule for unlisted answers"
#define DAY   86400000

/* clang-format off */
static const struct provider_rule rules[] = {
    {.from = 200, .to = 299, .when = WHEN_ID, AS(SENT, MESSAGE, "message"),
     .meaning = "accepted, with its id", .advice = "", .source = "facebook/openapi v23.0"},
    {.from = 200, .to = 299, .when = WHEN_CODE, AS(UNKNOWN, MESSAGE, "message"),
     .meaning = "accepted and refused in one answer", .advice = "look at the code", .source = OWN},
    {.from = 200, .to = 299, AS(SENT, MESSAGE, "message"),
     .meaning = "accepted, its id cannot be read", .advice = "never repeated", .source = OWN},
    {.from = 504, AS(UNKNOWN, DEVICE, "message"), .meaning = "a gateway's time limit",
     .advice = "a receipt settles it", .source = OWN},
    {.from = 408, AS(UNKNOWN, DEVICE, "message"), .meaning = "a time limit",
     .advice = "a receipt settles it", .source = OWN},

    {.code = "0", AS(REJECTED, DEVICE, "device and all of the same token"),
     .meaning = "authentication failed", .advice = "renew the token", .source = KAPSO},
    {.code = "190", AS(REJECTED, DEVICE, "device and all of the same token"),
     .meaning = "the token has expired", .advice = "renew the token", .source = KAPSO},
    {.code = "3", AS(REJECTED, DEVICE, "device"), .meaning = "capability or permission missing",
     .advice = "give the token its permissions", .source = META},
    {.code = "10", AS(REJECTED, DEVICE, "device"), .meaning = "permission not granted or removed",
     .advice = "give the token its permissions", .source = META},
    {.code = "200", .last = "299", AS(REJECTED, DEVICE, "device"), .meaning = "permission",
     .advice = "give the token its permissions", .source = META},
    {.code = "131005", AS(REJECTED, DEVICE, "device"), .meaning = "access denied",
     .advice = "give the token its permissions", .source = META},

    {.code = "1", AS(RETRY, MESSAGE, "message, then endpoint"), .meaning = "unknown error",
     .advice = "", .source = META},
    {.code = "131000", AS(RETRY, MESSAGE, "message, then endpoint"), .meaning = "unknown error",
     .advice = "", .source = META},
    {.code = "2", AS(RETRY, ENDPOINT, "endpoint"), .meaning = "service down or overloaded",
     .advice = "", .source = META},
    {.code = "131016", AS(RETRY, ENDPOINT, "endpoint"), .meaning = "service unavailable",
     .advice = "", .source = META},
    {.code = "133004", AS(RETRY, ENDPOINT, "endpoint"), .meaning = "server unavailable",
     .advice = "", .source = META},

    {.code = "4", AS(RETRY, ACCOUNT, "app"), .retry_ms = 300000,
     .meaning = "the app's call limit", .advice = "", .source = KAPSO},
    {.code = "17", AS(RETRY, ACCOUNT, "user"), .retry_ms = 300000,
     .meaning = "the user's call limit", .advice = "", .source = META},
    {.code = "80007", AS(RETRY, ACCOUNT, "account"), .retry_ms = 300000,
     .meaning = "the business account's call limit", .advice = "", .source = KAPSO},
    {.code = "80008", AS(RETRY, ACCOUNT, "account"), .retry_ms = 300000,
     .meaning = "the business account's call limit", .advice = "",
     .source = "Meta, Graph API reference"},
    {.code = "130429", AS(RETRY, DEVICE, "device"), .retry_ms = 5000,
     .meaning = "the number's throughput", .advice = "a longer gap", .source = KAPSO},
    {.code = "131056", AS(RETRY, PAIR, "pair"),
     .meaning = "too many messages to this recipient", .advice = "", .source = KAPSO},
    {.code = "131048", AS(REJECTED, DEVICE, "device"), .retry_ms = DAY,
     .meaning = "spam limit: earlier messages were blocked or flagged",
     .advice = "pause the device; look at its quality rating", .source = META},
    {.code = "131064", AS(REJECTED, ACCOUNT, "account"), .retry_ms = DAY,
     .meaning = "messaging limit cut for misclassified templates",
     .advice = "pause the account's devices", .source = PYWA},
    {.code = "131049", AS(REJECTED, RECIPIENT, "recipient, marketing"),
     .meaning = "not delivered, to keep the recipient's engagement healthy",
     .advice = "not before a day has passed", .source = KAPSO},
    {.code = "131050", AS(REJECTED, RECIPIENT, "recipient of this number, marketing"),
     .meaning = "the recipient stopped marketing messages", .advice = "opt the recipient out",
     .source = KAPSO},
    {.code = "130472", AS(REJECTED, RECIPIENT, "recipient, this message"),
     .meaning = "the recipient is part of an experiment", .advice = "", .source = META},
    {.code = "131026", AS(REJECTED, RECIPIENT, "recipient"),
     .meaning = "undeliverable: not on WhatsApp, old client, or terms not accepted",
     .advice = "check the phone", .source = META},
    {.code = "131047", AS(REJECTED, RECIPIENT, "recipient's window"),
     .meaning = "over 24 hours since the recipient wrote", .advice = "only templates go through",
     .source = KAPSO},
    {.code = "131021", AS(REJECTED, RECIPIENT, "recipient"), .meaning = "the sender is the recipient",
     .advice = "", .source = META},
    {.code = "131030", AS(REJECTED, RECIPIENT, "recipient"),
     .meaning = "not in the list of allowed test recipients", .advice = "add the phone there",
     .source = META},
    {.code = "137000", AS(REJECTED, RECIPIENT, "recipient"), .meaning = "identity key hash mismatch",
     .advice = "", .source = PYWA},
    {.code = "131062", AS(REJECTED, MESSAGE, "message"),
     .meaning = "a business-scoped user id is not supported here", .advice = "use a phone",
     .source = PYWA},
    {.code = "131063", AS(REJECTED, DEVICE, "device"),
     .meaning = "marketing templates are disabled on this API", .advice = "enable them",
     .source = PYWA},
    {.code = "33", AS(REJECTED, DEVICE, "device"), .meaning = "the business phone was deleted",
     .advice = "correct the device's sender_ref", .source = META},
    {.code = "100", .text = "unsupported post request", AS(REJECTED, DEVICE, "device"),
     .meaning = "no such phone number id, or none of this token's",
     .advice = "correct the device's sender_ref", .source = "Meta, Graph API reference"},
    {.code = "100", AS(REJECTED, MESSAGE, "message"), .meaning = "invalid parameter",
     .advice = "mend the message", .source = META},
    {.code = "131008", AS(REJECTED, MESSAGE, "message"), .meaning = "a parameter is missing",
     .advice = "mend the message", .source = META},
    {.code = "131009", AS(REJECTED, MESSAGE, "message"), .meaning = "a parameter's value is invalid",
     .advice = "mend the message", .source = META},
    {.code = "131051", AS(REJECTED, MESSAGE, "message"), .meaning = "unsupported message type",
     .advice = "mend the message", .source = META},
    {.code = "135000", AS(REJECTED, MESSAGE, "message"),
     .meaning = "unknown error with the request's parameters", .advice = "mend the message",
     .source = KAPSO},
    {.code = "131052", AS(REJECTED, DEVICE, "campaign's media"), .meaning = "media download error",
     .advice = "pause the campaign; mend its media", .source = META},
    {.code = "131053", AS(REJECTED, DEVICE, "campaign's media"), .meaning = "media upload error",
     .advice = "pause the campaign; mend its media", .source = META},
    {.code = "132000", AS(REJECTED, DEVICE, "campaign"),
     .meaning = "the template's parameters do not match in number",
     .advice = "pause the campaign: all would fail", .source = META},
    {.code = "132001", AS(REJECTED, DEVICE, "campaign"),
     .meaning = "no such template in this language, or not approved",
     .advice = "pause the campaign: all would fail", .source = META},
    {.code = "132005", AS(REJECTED, DEVICE, "campaign"), .meaning = "the filled-in text is too long",
     .advice = "pause the campaign: all would fail", .source = META},
    {.code = "132007", AS(REJECTED, DEVICE, "campaign"), .meaning = "the template breaks a policy",
     .advice = "pause the campaign: all would fail", .source = META},
    {.code = "132008", AS(REJECTED, DEVICE, "campaign"), .meaning = "a template parameter's policy",
     .advice = "pause the campaign: all would fail", .source = PYWA},
    {.code = "132012", AS(REJECTED, DEVICE, "campaign"),
     .meaning = "a template parameter has the wrong format",
     .advice = "pause the campaign: all would fail", .source = META},
    {.code = "132015", AS(REJECTED, DEVICE, "template"), .meaning = "template paused for low quality",
     .advice = "pause the campaigns that use it", .source = META},
    {.code = "132016", AS(REJECTED, DEVICE, "template"),
     .meaning = "template disabled for low quality", .advice = "end the campaigns that use it",
     .source = META},
    {.code = "132068", AS(REJECTED, DEVICE, "template"), .meaning = "its flow is blocked",
     .advice = "pause the campaigns that use it", .source = META},
    {.code = "132069", AS(RETRY, DEVICE, "template"), .meaning = "its flow is throttled",
     .advice = "pause the campaigns that use it", .source = META},
    {.code = "368", AS(REJECTED, ACCOUNT, "account"), .retry_ms = DAY,
     .meaning = "blocked for policy violations", .advice = "stop everything; appeal", .source = KAPSO},
    {.code = "131031", AS(REJECTED, ACCOUNT, "account"), .retry_ms = DAY,
     .meaning = "account restricted or locked", .advice = "stop everything; appeal", .source = KAPSO},
    {.code = "130497", AS(REJECTED, RECIPIENT, "device and country"),
     .meaning = "barred from messaging this country", .advice = "leave that country out",
     .source = KAPSO},
    {.code = "131037", AS(REJECTED, DEVICE, "device"), .meaning = "the display name is not approved",
     .advice = "have it approved", .source = META},
    {.code = "131042", AS(REJECTED, ACCOUNT, "account"), .meaning = "a problem with the payment",
     .advice = "mend the payment method", .source = META},
    {.code = "134011", AS(REJECTED, ACCOUNT, "account"),
     .meaning = "the payment terms are not accepted", .advice = "accept them", .source = KAPSO},
    {.code = "131045", AS(REJECTED, DEVICE, "device"), .meaning = "the number is not registered",
     .advice = "register it", .source = META},
    {.code = "131057", AS(RETRY, DEVICE, "device"), .retry_ms = 90000,
     .meaning = "maintenance, about a minute during a throughput upgrade", .advice = "",
     .source = META},
    {.code = "133000", .last = "133016", AS(REJECTED, DEVICE, "device"),
     .meaning = "registration and two-step verification", .advice = "register the number again",
     .source = META},

    {.from = 300, .to = 399, AS(REJECTED, ENDPOINT, "endpoint"),
     .meaning = "a redirection, which is not followed", .advice = "correct the url", .source = OWN},
    {.from = 429, AS(RETRY, DEVICE, "device"), .meaning = "too many requests", .advice = "",
     .source = OWN},
    {.from = 401, AS(REJECTED, DEVICE, "device"), .meaning = "unauthorized",
     .advice = "renew the token", .source = OWN},
    {.from = 403, AS(REJECTED, DEVICE, "device"), .meaning = "forbidden",
     .advice = "give the token its permissions", .source = OWN},
    {.from = 400, .to = 499, .when = WHEN_CODE, AS(REJECTED, MESSAGE, "message"),
     .meaning = "a code that is not listed", .advice = "look at the code", .source = OWN},
    {.from = 400, .to = 499, AS(REJECTED, ENDPOINT, "endpoint"),
     .meaning = "not the API's words: a proxy, or a wrong url", .advice = "correct the url",
     .source = OWN},
    {.from = 500, .to = 599, .when = WHEN_CODE, AS(RETRY, MESSAGE, "message"),
     .meaning = "the API refused it, with a code that is not listed", .advice = "", .source = OWN},
    {.from = 503, .when = WHEN_TOLD, AS(RETRY, ENDPOINT, "endpoint"),
     .meaning = "out of service, with Retry-After", .advice = "", .source = OWN},
    {AS(UNKNOWN, DEVICE, "message"), .meaning = "anything else", .advice = "a receipt settles it",
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

const struct provider_table cloudapi_table = {
    .name = "cloudapi",
    .id = "/messages/0/id",
    .code = "/error/code",
    .texts = {"/error/error_data/details", "/error/error_data", "/error/message"},
    .note = "/messages/0/message_status",
    .regain_ms = regain_ms,
    .rules = rules,
    .n_rules = sizeof rules / sizeof *rules,
};

/* --- the sender ------------------------------------------------------------------------------ */

struct cloudapi_settings {
    struct provider_settings common;
    char *version, *token;
    bool preview_url, callback_data;
};

struct cloudapi {
    struct provider provider; /* first, so that it is the sender's own state, too */
    char *version;
    bool preview_url, callback_data;
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
     "Whether biz_opaque_callback_data = job id:attempt is sent; the published description has it "
     "for templates only."},
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
    char *token = s->token;
    s->token = NULL;
    return provider_open(&c->provider, loop, section, &s->common, xasprintf("Bearer %s", token),
                         token, "X-Business-Use-Case-Usage:", e);
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

/* NULL when the message can be sent; else why not, with the scope of it. */
static const char *
why_not(const struct message *m, enum outcome_scope *ret_scope, const char **ret_code)
{
    *ret_scope = SCOPE_DEVICE;
    *ret_code = "bad-device";
    const char *ref = m->device_ref ? m->device_ref : "";
    if (!*ref || ref[strspn(ref, "0123456789")]) {
        return "the device's sender_ref is no phone number id (digits only)";
    }
    *ret_scope = SCOPE_RECIPIENT;
    *ret_code = "bad-recipient";
    if (!provider_is_number(m->recipient)) {
        return "the recipient is no phone of 1 to 15 digits";
    }
    *ret_scope = SCOPE_MESSAGE;
    *ret_code = "bad-value";
    if (m->text_len == 0) {
        return "the text is empty";
    }
    return NULL;
}

/* NULL when the text is no UTF-8. */
static json_t *
make_body(const struct cloudapi *c, const struct message *m)
{
    json_t *text = json_stringn(m->text, m->text_len);
    if (!text) {
        return NULL;
    }
    json_t *inner = json_object(), *body = json_object();
    (void)json_object_set_new(inner, "body", text);
    (void)json_object_set_new(inner, "preview_url", json_boolean(c->preview_url));
    (void)json_object_set_new(body, "messaging_product", json_string("whatsapp"));
    (void)json_object_set_new(body, "recipient_type", json_string("individual"));
    (void)json_object_set_new(body, "to", json_string(m->recipient));
    (void)json_object_set_new(body, "type", json_string("text"));
    (void)json_object_set_new(body, "text", inner);
    if (c->callback_data) {
        char *data = xasprintf("%s:%d", m->job_id, m->attempt);
        (void)json_object_set_new(body, "biz_opaque_callback_data", json_string(data));
        free(data);
    }
    return body;
}

static void
cloudapi_send(void *self, const struct message *m, sender_done *done, void *arg)
{
    struct cloudapi *c = self;
    enum outcome_scope scope;
    const char *code, *why = why_not(m, &scope, &code);
    json_t *body = why ? NULL : make_body(c, m);
    if (!body) {
        provider_refuse(&c->provider, scope, code, why ? why : "the text is not valid UTF-8", done,
                        arg);
        return;
    }
    char *path = xasprintf("/%s/%s/messages", c->version, m->device_ref);
    provider_post(&c->provider, m, path, body, NULL, done, arg);
    free(path);
}

static int64_t
cloudapi_limit_ms(const void *self)
{
    return ((const struct cloudapi *)self)->provider.limit_ms;
}

const struct sender sender_cloudapi = {
    .type = "cloudapi",
    .open = cloudapi_open,
    .send = cloudapi_send,
    .close = cloudapi_close,
    .limit_ms = cloudapi_limit_ms,
    .max_chars = provider_max_chars,
};
