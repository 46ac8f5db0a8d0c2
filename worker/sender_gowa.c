/* The gowa sender: go-whatsapp-web-multidevice (GOWA), an unofficial gateway to WhatsApp Web.
 *
 *     [sender gowa]
 *     type = gowa
 *     url = http://gowa.internal:3000
 *     user = paceline
 *     password = env:GOWA_PASSWORD
 *     allow_private = yes
 *
 * A device's sender_ref is GOWA's id of it (header X-Device-Id); empty where GOWA has one device.
 *
 * GOWA gives a request 45 s, but whatsmeow has written the message before it waits for the server's
 * word: what ran into that limit may have been sent. */
#include "shared/conf.h"
#include "shared/mem.h"
#include "worker/provider.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define AS(c, s) .class = OUTCOME_##c, .scope = SCOPE_##s

/* Of the gateway's repository. */
#define WHATSAPP_ERROR   "src/pkg/error/whatsapp_error.go"
#define APP_ERROR        "src/pkg/error/app_error.go"
#define GENERIC_ERROR    "src/pkg/error/generic_error.go"
#define VALIDATION_ERROR "src/pkg/error/validation_error.go"
#define DEVICE           "src/ui/rest/middleware/device.go"
#define RECOVERY         "src/ui/rest/middleware/recovery.go"
#define BASIC_AUTH       "src/ui/rest/middleware/basicauth.go"
#define SEND             "src/usecase/send.go"
#define OWN              "rule for unlisted answers"

/* clang-format off */
static const struct provider_rule rules[] = {
    {.from = 200, .to = 299, .when = WHEN_ID, AS(SENT, MESSAGE),
     .meaning = "accepted, with its id", .advice = "", .source = "docs/openapi.yaml"},
    {.from = 200, .to = 299, .code = "SUCCESS", AS(SENT, MESSAGE),
     .meaning = "accepted, its id cannot be read", .advice = "never repeated", .source = OWN},
    {.from = 200, .to = 299, .when = WHEN_CODE, AS(UNKNOWN, MESSAGE),
     .meaning = "accepted and refused in one answer", .advice = "look at the gateway", .source = OWN},
    {.from = 200, .to = 299, AS(SENT, MESSAGE),
     .meaning = "accepted, in an answer that cannot be read", .advice = "never repeated", .source = OWN},
    {.from = 504, AS(UNKNOWN, DEVICE),
     .meaning = "GATEWAY_TIMEOUT: the gateway's 45 s ended after the message may have been written",
     .advice = "a receipt settles it", .source = RECOVERY},
    {.from = 408, AS(UNKNOWN, DEVICE),
     .meaning = "CONTEXT_ERROR or a proxy's time limit", .advice = "a receipt settles it",
     .source = GENERIC_ERROR},
    {.from = 400, .code = "VALIDATION_ERROR", AS(REJECTED, MESSAGE), .stop_after = 3,
     .meaning = "the request does not pass validation", .advice = "mend the message",
     .source = VALIDATION_ERROR},
    {.from = 400, .code = "INVALID_REQUEST", AS(REJECTED, MESSAGE), .stop_after = 3,
     .meaning = "the request cannot be read", .advice = "mend the message", .source = VALIDATION_ERROR},
    {.from = 400, .code = "INVALID_JID", AS(REJECTED, RECIPIENT), .strikes = 2,
     .meaning = "the phone is not on WhatsApp, or is no phone",
     .advice = "one more attempt, because the look-up can be wrong", .source = WHATSAPP_ERROR},
    {.from = 400, .code = "DEVICE_ID_REQUIRED", AS(REJECTED, DEVICE),
     .meaning = "the gateway has several devices and was told none",
     .advice = "set the device's sender_ref", .source = DEVICE},
    {.from = 404, .code = "DEVICE_NOT_FOUND", AS(REJECTED, DEVICE),
     .meaning = "the gateway does not know the device", .advice = "correct the device's sender_ref",
     .source = DEVICE},
    {.from = 401, .code = "AUTHENTICATION_ERROR", AS(REJECTED, DEVICE), .retry_ms = 60000,
     .meaning = "the device is offline: not connected or not logged in",
     .advice = "connect or pair it again", .source = APP_ERROR},
    {.from = 401, AS(REJECTED, ENDPOINT),
     .meaning = "the gateway's own answer: user or password are wrong",
     .advice = "correct user and password", .source = BASIC_AUTH},
    {.from = 429, .code = "WA_REACHOUT_TIMELOCK", AS(RETRY, NEW_CONTACTS),
     .retry_ms = 1800000, .meaning = "server error 463: this account may not begin conversations now",
     .advice = "let the number rest; conversations first", .source = WHATSAPP_ERROR},
    {.from = 500, .code = "UPLOAD_MEDIA_ERROR", AS(RETRY, MESSAGE),
     .meaning = "the media was not uploaded, so nothing was sent", .advice = "", .source = WHATSAPP_ERROR},
    {.from = 500, .code = "INVALID_WA_CLI", AS(REJECTED, DEVICE), .retry_ms = 60000,
     .meaning = "the device's client is not initialised", .advice = "connect or pair it again",
     .source = WHATSAPP_ERROR},
    {.from = 500, .code = "INTERNAL_SERVER_ERROR", .text = "server returned error 463",
     AS(RETRY, NEW_CONTACTS), .retry_ms = 1800000,
     .meaning = "error 463 of a gateway that has no word for it yet",
     .advice = "let the number rest; conversations first", .source = SEND},
    {.from = 500, .code = "INTERNAL_SERVER_ERROR", .text = "server returned error",
     AS(RETRY, MESSAGE), .meaning = "WhatsApp's server refused the message",
     .advice = "", .source = SEND},
    {.from = 500, .code = "INTERNAL_SERVER_ERROR", .text = "timed out", AS(UNKNOWN, DEVICE),
     .meaning = "written, and no word came back", .advice = "a receipt settles it", .source = RECOVERY},
    {.from = 500, .code = "INTERNAL_SERVER_ERROR", AS(UNKNOWN, DEVICE),
     .meaning = "anything, before or after sending", .advice = "look at the gateway's log",
     .source = GENERIC_ERROR},
    {.from = 503, .code = "DEVICE_MANAGER_UNAVAILABLE", AS(RETRY, ENDPOINT),
     .meaning = "the gateway is starting", .advice = "", .source = DEVICE},
    {.from = 300, .to = 399, AS(REJECTED, ENDPOINT),
     .meaning = "a redirection, which is not followed", .advice = "correct the url", .source = OWN},
    {.from = 429, AS(RETRY, DEVICE), .meaning = "too many requests", .advice = "", .source = OWN},
    {.from = 413, AS(REJECTED, TEMPLATE), .stop = true, .extent = "its medium",
     .meaning = "the medium is larger than the gateway takes", .advice = "send a smaller one", .source = OWN},
    {.from = 403, AS(REJECTED, DEVICE), .meaning = "forbidden",
     .advice = "look at user and device", .source = OWN},
    {.from = 400, .to = 499, .when = WHEN_CODE, AS(REJECTED, MESSAGE),
     .meaning = "a code that is not listed", .advice = "look at the code", .source = OWN},
    {.from = 400, .to = 499, AS(REJECTED, ENDPOINT),
     .meaning = "not the gateway's words: a proxy, or a wrong url", .advice = "correct the url",
     .source = OWN},
    {.from = 503, .when = WHEN_TOLD, AS(RETRY, ENDPOINT),
     .meaning = "out of service, with Retry-After", .advice = "", .source = OWN},
    {AS(UNKNOWN, DEVICE), .meaning = "anything else",
     .advice = "look at the gateway's log", .source = OWN},
};
/* clang-format on */

static const struct provider_state states[] = {
    {.from = 200,
     .pointer = "/results/is_connected",
     .value = "false",
     .state = DEVICE_OFFLINE,
     .meaning = "not connected"},
    {.from = 200,
     .pointer = "/results/is_logged_in",
     .value = "false",
     .state = DEVICE_OFFLINE,
     .meaning = "not logged in"},
    {.from = 200,
     .pointer = "/results/is_logged_in",
     .value = "true",
     .state = DEVICE_ONLINE,
     .meaning = "connected and logged in"},
    {.from = 404,
     .pointer = "/code",
     .value = "DEVICE_NOT_FOUND",
     .state = DEVICE_OFFLINE,
     .meaning = "the gateway does not know the device"},
    {.from = 404,
     .pointer = "/code",
     .value = "NOT_FOUND",
     .state = DEVICE_OFFLINE,
     .meaning = "the gateway does not know the device"},
};

const struct provider_table gowa_table = {
    .name = "gowa",
    .ids = {"/results/message_id"},
    .code = "/code",
    .texts = {"/message"},
    .own_limit_ms = 45000,
    .rules = rules,
    .n_rules = sizeof rules / sizeof *rules,
    .states = states,
    .n_states = sizeof states / sizeof *states,
};

/* --- the sender ------------------------------------------------------------------------------ */

enum { CAN = CAN_MEDIA_URL | CAN_MEDIA_BYTES };

struct gowa_settings {
    struct provider_settings common;
    char *user, *password;
};

static const struct conf_key keys[] = {
    PROVIDER_KEYS("gowa", struct gowa_settings, NULL),
    {"user", CONF_STR, offsetof(struct gowa_settings, user), NULL, NULL, 0,
     "Name for the gateway's basic authentication; without it there is none."},
    {"password", CONF_STR, offsetof(struct gowa_settings, password), NULL, NULL, CONF_SECRET,
     "Its password, best as env:NAME or file:PATH."},
    {0},
};

static bool
check_user(const struct conf_section *section, const struct gowa_settings *s, struct err *e)
{
    if (!s->user != !s->password) {
        (void)err_set(e, ERR_INPUT, "user and password go together");
        return sender_at_key(section, s->user ? "user" : "password", e);
    }
    if (s->user && strchr(s->user, ':')) {
        (void)err_set(e, ERR_INPUT, "a name for basic authentication has no \":\"");
        return sender_at_key(section, "user", e);
    }
    return true;
}

static bool
gowa_open(struct ev_loop *loop, const struct conf_section *section, void **ret, struct err *e)
{
    struct gowa_settings s = {0};
    if (!section) {
        return err_set(e, ERR_INPUT, "gowa needs a section: [sender NAME] with its url");
    }
    if (!conf_section_apply(section, keys, &s, e)) {
        return false;
    }
    struct provider *p = xcalloc(1, sizeof *p);
    p->table = &gowa_table;
    bool ok = check_user(section, &s, e);
    if (ok) {
        char *credential = s.user ? provider_basic(s.user, s.password) : NULL;
        ok = provider_open(p, loop, section, &s.common, "Authorization", credential, s.password,
                           NULL, e);
        s.password = NULL;
    }
    free(s.common.type);
    free(s.common.url);
    free(s.user);
    free(s.password);
    if (!ok) {
        provider_end(p);
        return false;
    }
    *ret = p;
    return true;
}

/* GOWA reads the header as a part of a query: what could mean something there is encoded. */
static char *
device_header(const char *ref)
{
    static const char plain[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~:@";
    struct buf b = {0};
    for (; *ref; ref++) {
        if (strchr(plain, *ref)) {
            buf_add(&b, ref, 1);
        } else {
            buf_addf(&b, "%%%02X", (unsigned)(unsigned char)*ref);
        }
    }
    buf_adds(&b, "");
    return b.data;
}

static void
make_text(struct provider_call *c, const char *phone, const struct message *m)
{
    json_t *body = json_object();
    (void)json_object_set_new(body, "phone", json_string(phone));
    (void)json_object_set_new(body, "message", json_stringn(m->text, m->text_len));
    c->path = xstrdup("/send/message");
    provider_body_json(&c->body, body);
}

static void
make_media(struct provider_call *c, const char *phone, const struct message *m)
{
    static const char *const words[] = {[MEDIA_IMAGE] = "image",
                                        [MEDIA_VIDEO] = "video",
                                        [MEDIA_AUDIO] = "audio",
                                        [MEDIA_DOCUMENT] = "file"};
    const char *word = words[m->media->kind];
    c->path = xasprintf("/send/%s", word);
    provider_body_multipart(&c->body);
    provider_body_field(&c->body, "phone", phone, strlen(phone));
    if (m->text_len) {
        provider_body_field(&c->body, "caption", m->text, m->text_len);
    }
    if (m->media->url) {
        char *name = xasprintf("%s_url", word);
        provider_body_field(&c->body, name, m->media->url, strlen(m->media->url));
        free(name);
    } else {
        provider_body_file(&c->body, word, m->media);
    }
}

static void
gowa_send(void *self, const struct message *m, sender_done *done, void *arg)
{
    struct provider *p = self;
    if (!provider_accept(p, CAN, m, done, arg)) {
        return;
    }
    char *phone = xasprintf("%s@s.whatsapp.net", m->recipient);
    char *device = device_header(m->device_ref ? m->device_ref : "");
    struct provider_call call = {0};
    if (*device) {
        call.headers[0] = (struct http_header){"X-Device-Id", device};
    }
    if (m->media) {
        make_media(&call, phone, m);
    } else {
        make_text(&call, phone, m);
    }
    provider_send(p, &call, m, done, arg);
    free(phone);
    free(device);
}

static void
gowa_check(void *self, const char *device_ref, sender_checked *done, void *arg)
{
    struct provider *p = self;
    struct provider_call call = {.method = "GET"};
    if (!device_ref || !*device_ref) {
        call.path = xstrdup("/app/status");
    } else if (provider_is_name(device_ref)) {
        call.path = provider_path("/devices/", device_ref, "/status");
    } else {
        provider_refuse_check(p, "the device's sender_ref has no place in a path", done, arg);
        return;
    }
    provider_check(p, &call, done, arg);
}

static unsigned
gowa_can(const void *self)
{
    (void)self;
    return CAN;
}

const struct sender sender_gowa = {
    .type = "gowa",
    .open = gowa_open,
    .send = gowa_send,
    .close = provider_end,
    .limit_ms = provider_limit_ms,
    .max_chars = provider_max_chars,
    .can = gowa_can,
    .check = gowa_check,
};
