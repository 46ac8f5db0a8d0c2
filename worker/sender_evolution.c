/* The evolution sender: Evolution API, an unofficial gateway.
 *
 *     [sender evolution]
 *     type = evolution
 *     url = http://evolution.internal:8080
 *     api_key = env:EVOLUTION_KEY
 *     allow_private = yes
 *
 * A device's sender_ref is the instance's name.  `delay` is always 0: the gateway would hold the
 * request open for as long, and this fleet paces by itself. */
#include "shared/conf.h"
#include "worker/provider.h"

#include <stdlib.h>
#include <string.h>

#define AS(c, s) .class = OUTCOME_##c, .scope = SCOPE_##s

#define SOURCE "github.com/EvolutionAPI/evolution-api 2.3.6, its source"
#define ISSUES "evolution-api issues"
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
    {.from = 400, .code = "false", AS(REJECTED, RECIPIENT), .strikes = 2, .label = "not-on-whatsapp",
     .meaning = "`exists` is false: the phone is not on WhatsApp",
     .advice = "one more attempt, because the look-up can be wrong", .source = SOURCE},
    {.from = 400, .text = "connection closed", AS(REJECTED, DEVICE), .retry_ms = 60000,
     .label = "connection-closed", .meaning = "the instance's connection is closed, before a message is written",
     .advice = "connect or pair it again", .source = ISSUES " 2229, 2265; Baileys"},
    {.from = 500, .text = "connection closed", AS(REJECTED, DEVICE), .retry_ms = 60000,
     .label = "connection-closed", .meaning = "the instance's connection is closed, before a message is written",
     .advice = "connect or pair it again", .source = ISSUES " 1286, 1772; Baileys"},
    {.from = 400, .text = "requires property", AS(REJECTED, MESSAGE), .stop_after = 3,
     .meaning = "the request does not pass validation", .advice = "mend the message",
     .source = ISSUES " 2570"},
    {.from = 401, AS(REJECTED, ENDPOINT), .meaning = "the key is wrong",
     .advice = "correct api_key", .source = SOURCE},
    {.from = 403, AS(REJECTED, ENDPOINT), .meaning = "the key may not do this",
     .advice = "give the key its rights", .source = SOURCE},
    {.from = 404, .text = "instance", AS(REJECTED, DEVICE), .meaning = "no such instance",
     .advice = "correct the device's sender_ref", .source = SOURCE},
    {.from = 413, AS(REJECTED, TEMPLATE), .stop = true, .extent = "its medium",
     .meaning = "the medium is larger than the gateway takes", .advice = "send a smaller one",
     .source = OWN},
    {.from = 429, AS(RETRY, DEVICE), .meaning = "too many requests", .advice = "", .source = SOURCE},
    {.from = 300, .to = 399, AS(REJECTED, ENDPOINT),
     .meaning = "a redirection, which is not followed", .advice = "correct the url", .source = OWN},
    {.from = 400, .to = 499, .when = WHEN_TEXT, AS(REJECTED, MESSAGE), .stop_after = 3,
     .meaning = "refused, in words that are not listed", .advice = "look at the words",
     .source = OWN},
    {.from = 400, .to = 499, AS(REJECTED, ENDPOINT),
     .meaning = "not the gateway's words: a proxy, or a wrong url", .advice = "correct the url",
     .source = OWN},
    {.from = 503, .when = WHEN_TOLD, AS(RETRY, ENDPOINT),
     .meaning = "out of service, with Retry-After", .advice = "", .source = OWN},
    {AS(UNKNOWN, DEVICE), .meaning = "anything else, before or after sending",
     .advice = "look at the gateway's log", .source = OWN},
};
/* clang-format on */

static const struct provider_state states[] = {
    {.from = 200,
     .pointer = "/instance/state",
     .value = "open",
     .state = DEVICE_ONLINE,
     .meaning = "connected"},
    {.from = 200,
     .pointer = "/instance/state",
     .value = "connecting",
     .state = DEVICE_UNKNOWN,
     .meaning = "connecting"},
    {.from = 200,
     .pointer = "/instance/state",
     .state = DEVICE_OFFLINE,
     .meaning = "not connected"},
    {.from = 404,
     .pointer = "/status",
     .value = "404",
     .state = DEVICE_OFFLINE,
     .meaning = "the gateway does not know the instance"},
};

const struct provider_table evolution_table = {
    .name = "evolution",
    .ids = {"/key/id"},
    .code = "/response/message/0/exists",
    .texts = {"/response/message/0/0", "/response/message/0", "/response/message", "/message",
              "/error"},
    .rules = rules,
    .n_rules = sizeof rules / sizeof *rules,
    .states = states,
    .n_states = sizeof states / sizeof *states,
};

/* --- the sender ------------------------------------------------------------------------------ */

enum { CAN = CAN_MEDIA_URL | CAN_MEDIA_BYTES };

static bool
evolution_open(struct ev_loop *loop, const struct conf_section *section, void **ret, struct err *e)
{
    return provider_open_key(&evolution_table, "apikey", true, loop, section, ret, e);
}

static void
add_media(json_t *body, const struct message *m)
{
    const struct media *media = m->media;
    char *data = media->url ? NULL : provider_base64(media->bytes, media->len);
    (void)json_object_set_new(body, "mediatype", json_string(provider_media_word(media->kind)));
    if (media->mime) {
        (void)json_object_set_new(body, "mimetype", json_string(media->mime));
    }
    if (m->text_len) {
        (void)json_object_set_new(body, "caption", json_stringn(m->text, m->text_len));
    }
    (void)json_object_set_new(body, "fileName", json_string(provider_media_name(media)));
    (void)json_object_set_new(body, "media", json_string(data ? data : media->url));
    free(data);
}

#define NO_INSTANCE "the device's sender_ref is no instance's name"

static void
evolution_send(void *self, const struct message *m, sender_done *done, void *arg)
{
    struct provider *p = self;
    if (!provider_is_name(m->device_ref)) {
        provider_refuse(p, SCOPE_DEVICE, "bad-device", NO_INSTANCE, done, arg);
        return;
    }
    if (!provider_accept(p, CAN, m, done, arg)) {
        return;
    }
    struct provider_call call = {
        .path = provider_path(m->media ? "/message/sendMedia/" : "/message/sendText/",
                              m->device_ref, "")};
    json_t *body = json_object();
    (void)json_object_set_new(body, "number", json_string(m->recipient));
    if (m->media) {
        add_media(body, m);
    } else {
        (void)json_object_set_new(body, "text", json_stringn(m->text, m->text_len));
    }
    (void)json_object_set_new(body, "delay", json_integer(0));
    provider_body_json(&call.body, body);
    provider_send(p, &call, m, done, arg);
}

static void
evolution_check(void *self, const char *device_ref, sender_checked *done, void *arg)
{
    struct provider *p = self;
    if (!provider_is_name(device_ref)) {
        provider_refuse_check(p, NO_INSTANCE, done, arg);
        return;
    }
    struct provider_call call = {
        .method = "GET", .path = provider_path("/instance/connectionState/", device_ref, "")};
    provider_check(p, &call, done, arg);
}

static unsigned
evolution_can(const void *self)
{
    (void)self;
    return CAN;
}

const struct sender sender_evolution = {
    .type = "evolution",
    .open = evolution_open,
    .send = evolution_send,
    .close = provider_end,
    .limit_ms = provider_limit_ms,
    .max_chars = provider_max_chars,
    .can = evolution_can,
    .check = evolution_check,
};
