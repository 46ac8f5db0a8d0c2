/* The waha sender: WAHA (WhatsApp HTTP API), an unofficial gateway with several engines.
 *
 *     [sender waha]
 *     type = waha
 *     url = http://waha.internal:3000
 *     api_key = env:WAHA_KEY
 *     allow_private = yes
 *
 * A device's sender_ref is the session's name; empty is the session "default".
 *
 * A session that is not WORKING is told as 422, WhatsApp's own refusals as 500 with a sentence; the
 * engines write after some waiting of their own, so any other 500 may have been sent. */
#include "shared/conf.h"
#include "worker/provider.h"

#include <stdlib.h>
#include <string.h>

#define AS(c, s) .class = OUTCOME_##c, .scope = SCOPE_##s

#define SOURCE "github.com/devlikeapro/waha, its source"
#define ISSUES "devlikeapro/waha issues"
#define OWN    "rule for unlisted answers"

/* clang-format off */
static const struct provider_rule rules[] = {
    {.from = 200, .to = 299, .when = WHEN_ID, AS(SENT, MESSAGE),
     .meaning = "accepted, with its id", .advice = "", .source = SOURCE},
    {.from = 200, .to = 299, AS(SENT, MESSAGE),
     .meaning = "accepted, its id cannot be read", .advice = "never repeated", .source = OWN},
    {.from = 504, AS(UNKNOWN, DEVICE), .meaning = "a proxy's time limit",
     .advice = "a receipt settles it", .source = OWN},
    {.from = 408, AS(UNKNOWN, DEVICE), .meaning = "a time limit",
     .advice = "a receipt settles it", .source = OWN},
    {.from = 422, .code = "STARTING", AS(RETRY, DEVICE), .retry_ms = 15000,
     .meaning = "the session is starting", .advice = "", .source = ISSUES " 1329, 2073"},
    {.from = 422, .code = "STOPPED", AS(REJECTED, DEVICE), .retry_ms = 60000,
     .meaning = "the session is stopped", .advice = "start it", .source = ISSUES " 1225"},
    {.from = 422, .code = "SCAN_QR_CODE", AS(REJECTED, DEVICE), .retry_ms = 60000,
     .meaning = "the session waits to be paired", .advice = "scan its code", .source = SOURCE},
    {.from = 422, .code = "FAILED", AS(REJECTED, DEVICE), .retry_ms = 60000,
     .meaning = "the session has failed", .advice = "restart or pair it again", .source = SOURCE},
    {.from = 422, .text = "session", AS(REJECTED, DEVICE), .retry_ms = 60000,
     .meaning = "the session is not what it should be", .advice = "look at the session",
     .source = SOURCE},
    {.from = 422, .text = "not implemented", AS(REJECTED, TEMPLATE), .stop = true,
     .meaning = "the engine cannot send this kind", .advice = "another engine, or no medium",
     .source = SOURCE},
    {.from = 422, .text = "plus", AS(REJECTED, TEMPLATE), .stop = true,
     .meaning = "this kind is for the Plus version", .advice = "no medium, or that version",
     .source = SOURCE},
    {.from = 422, AS(REJECTED, MESSAGE), .stop_after = 3, .meaning = "cannot be processed",
     .advice = "mend the message", .source = SOURCE},
    {.from = 400, .when = WHEN_TEXT, AS(REJECTED, MESSAGE), .stop_after = 3,
     .meaning = "the request does not pass validation", .advice = "mend the message",
     .source = SOURCE},
    {.from = 401, AS(REJECTED, ENDPOINT), .meaning = "the key is wrong or missing",
     .advice = "correct api_key", .source = SOURCE},
    {.from = 403, AS(REJECTED, ENDPOINT), .meaning = "the key may not do this",
     .advice = "give the key its rights", .source = OWN},
    {.from = 404, .text = "session", AS(REJECTED, DEVICE), .meaning = "no such session",
     .advice = "correct the device's sender_ref", .source = SOURCE},
    {.from = 413, AS(REJECTED, TEMPLATE), .stop = true, .extent = "its medium",
     .meaning = "the medium is larger than the gateway takes", .advice = "send a smaller one",
     .source = OWN},
    {.from = 500, .text = "error 463", AS(RETRY, NEW_CONTACTS), .retry_ms = 1800000,
     .label = "463", .meaning = "server error 463: this account may not begin conversations now",
     .advice = "let the number rest; conversations first", .source = ISSUES " 1992, 2050, 2219"},
    {.from = 500, .text = "server returned error", AS(RETRY, MESSAGE),
     .meaning = "WhatsApp's server refused the message", .advice = "restart the session if it is for all",
     .source = ISSUES " 2084, 2110"},
    {.from = 500, AS(UNKNOWN, DEVICE), .meaning = "anything, before or after sending",
     .advice = "look at the gateway's log", .source = ISSUES " 1225"},
    {.from = 300, .to = 399, AS(REJECTED, ENDPOINT),
     .meaning = "a redirection, which is not followed", .advice = "correct the url", .source = OWN},
    {.from = 429, AS(RETRY, DEVICE), .meaning = "too many requests", .advice = "", .source = OWN},
    {.from = 400, .to = 499, AS(REJECTED, ENDPOINT),
     .meaning = "not the gateway's words: a proxy, or a wrong url", .advice = "correct the url",
     .source = OWN},
    {.from = 503, .when = WHEN_TOLD, AS(RETRY, ENDPOINT),
     .meaning = "out of service, with Retry-After", .advice = "", .source = OWN},
    {AS(UNKNOWN, DEVICE), .meaning = "anything else", .advice = "look at the gateway's log",
     .source = OWN},
};
/* clang-format on */

/* Issue 2073: STARTING is told for moments of sessions that work, so it says nothing for certain.
 */
static const struct provider_state states[] = {
    {.from = 200,
     .pointer = "/status",
     .value = "WORKING",
     .state = DEVICE_ONLINE,
     .meaning = "the session works"},
    {.from = 200,
     .pointer = "/status",
     .value = "STARTING",
     .state = DEVICE_UNKNOWN,
     .meaning = "the session is starting"},
    {.from = 200,
     .pointer = "/status",
     .state = DEVICE_OFFLINE,
     .meaning = "the session does not work"},
    {.from = 404,
     .pointer = "/message",
     .state = DEVICE_OFFLINE,
     .meaning = "the gateway does not know the session"},
};

const struct provider_table waha_table = {
    .name = "waha",
    .ids = {"/id", "/id/_serialized", "/key/id"},
    .code = "/status",
    .texts = {"/exception/message", "/message", "/message/0", "/error"},
    .rules = rules,
    .n_rules = sizeof rules / sizeof *rules,
    .states = states,
    .n_states = sizeof states / sizeof *states,
};

/* --- the sender ------------------------------------------------------------------------------ */

enum { CAN = CAN_MEDIA_URL | CAN_MEDIA_BYTES };

static bool
waha_open(struct ev_loop *loop, const struct conf_section *section, void **ret, struct err *e)
{
    return provider_open_key(&waha_table, "X-Api-Key", false, loop, section, ret, e);
}

/* {"mimetype", "filename", "url" or "data"} */
static json_t *
file_object(const struct media *m)
{
    json_t *file = json_object();
    if (m->mime) {
        (void)json_object_set_new(file, "mimetype", json_string(m->mime));
    }
    (void)json_object_set_new(file, "filename", json_string(provider_media_name(m)));
    if (m->url) {
        (void)json_object_set_new(file, "url", json_string(m->url));
    } else {
        char *data = provider_base64(m->bytes, m->len);
        (void)json_object_set_new(file, "data", json_string(data));
        free(data);
    }
    return file;
}

static const char *
session_of(const char *device_ref)
{
    return device_ref && *device_ref ? device_ref : "default";
}

static void
waha_send(void *self, const struct message *m, sender_done *done, void *arg)
{
    static const char *const paths[] = {[MEDIA_IMAGE] = "/api/sendImage",
                                        [MEDIA_VIDEO] = "/api/sendVideo",
                                        [MEDIA_AUDIO] = "/api/sendVoice",
                                        [MEDIA_DOCUMENT] = "/api/sendFile"};
    struct provider *p = self;
    if (!provider_accept(p, CAN, m, done, arg)) {
        return;
    }
    struct provider_call call = {.path =
                                     xstrdup(m->media ? paths[m->media->kind] : "/api/sendText")};
    char *chat = xasprintf("%s@c.us", m->recipient);
    json_t *body = json_object();
    (void)json_object_set_new(body, "session", json_string(session_of(m->device_ref)));
    (void)json_object_set_new(body, "chatId", json_string(chat));
    if (m->media) {
        (void)json_object_set_new(body, "file", file_object(m->media));
    }
    if (m->text_len) {
        (void)json_object_set_new(body, m->media ? "caption" : "text",
                                  json_stringn(m->text, m->text_len));
    }
    provider_body_json(&call.body, body);
    provider_send(p, &call, m, done, arg);
    free(chat);
}

static void
waha_check(void *self, const char *device_ref, sender_checked *done, void *arg)
{
    struct provider *p = self;
    const char *session = session_of(device_ref);
    if (!provider_is_name(session)) {
        provider_refuse_check(p, "the device's sender_ref is no session's name", done, arg);
        return;
    }
    struct provider_call call = {.method = "GET",
                                 .path = provider_path("/api/sessions/", session, "")};
    provider_check(p, &call, done, arg);
}

static unsigned
waha_can(const void *self)
{
    (void)self;
    return CAN;
}

const struct sender sender_waha = {
    .type = "waha",
    .open = waha_open,
    .send = waha_send,
    .close = provider_end,
    .limit_ms = provider_limit_ms,
    .max_chars = provider_max_chars,
    .can = waha_can,
    .check = waha_check,
};
