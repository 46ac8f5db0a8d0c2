/* The profiles of the form sender, as data: names of fields, and what answers mean.
 *
 * These gateways answer 200 and say in `status`, a boolean, whether they took the message.  A
 * refusal there is only held and sent again where its words say that nothing was sent; any other is
 * final, and an answer that says neither is unknown. */
#include "worker/form_profile.h"

#include <string.h>

#define AS(c, s) .class = OUTCOME_##c, .scope = SCOPE_##s
#define OWN      "rule for unlisted answers"

/* What they share behind the words of each. */
/* clang-format off */
#define ACCEPTED(src)                                                                              \
    {.from = 200, .to = 299, .when = WHEN_ACCEPTED, AS(SENT, MESSAGE),                             \
     .meaning = "`status` is true: accepted", .advice = "", .source = src}
#define REST(src)                                                                                  \
    {.from = 200, .to = 299, .when = WHEN_REFUSED, AS(REJECTED, MESSAGE), .stop_after = 3,         \
     .label = "refused", .meaning = "`status` is false, in words that are not listed",             \
     .advice = "look at the words", .source = src},                                                \
    {.from = 200, .to = 299, AS(UNKNOWN, DEVICE),                                                  \
     .meaning = "an answer without a `status`", .advice = "look at the provider's list",           \
     .source = OWN},                                                                               \
    {.from = 504, AS(UNKNOWN, DEVICE), .meaning = "a proxy's time limit",                          \
     .advice = "look at the provider's list", .source = OWN},                                      \
    {.from = 408, AS(UNKNOWN, DEVICE), .meaning = "a time limit",                                  \
     .advice = "look at the provider's list", .source = OWN},                                      \
    {.from = 300, .to = 399, AS(REJECTED, ENDPOINT),                                               \
     .meaning = "a redirection, which is not followed", .advice = "correct the url",               \
     .source = OWN},                                                                               \
    {.from = 401, AS(REJECTED, DEVICE), .meaning = "the credential is wrong",                      \
     .advice = "correct the device's secret", .source = OWN},                                      \
    {.from = 403, AS(REJECTED, DEVICE), .meaning = "the credential may not do this",               \
     .advice = "correct the device's secret", .source = OWN},                                      \
    {.from = 413, AS(REJECTED, TEMPLATE), .stop = true, .extent = "its medium",                    \
     .meaning = "the request is larger than the provider takes", .advice = "send a smaller one",   \
     .source = OWN},                                                                               \
    {.from = 429, AS(RETRY, DEVICE), .meaning = "too many requests", .advice = "", .source = OWN}, \
    {.from = 400, .to = 499, .when = WHEN_REFUSED, AS(REJECTED, MESSAGE), .stop_after = 3,         \
     .label = "refused", .meaning = "refused, in words that are not listed",                       \
     .advice = "look at the words", .source = OWN},                                                \
    {.from = 400, .to = 499, AS(REJECTED, ENDPOINT),                                               \
     .meaning = "not the provider's words: a proxy, or a wrong url", .advice = "correct the url",  \
     .source = OWN},                                                                               \
    {.from = 503, .when = WHEN_TOLD, AS(RETRY, ENDPOINT),                                          \
     .meaning = "out of service, with Retry-After", .advice = "", .source = OWN},                  \
    {AS(UNKNOWN, DEVICE), .meaning = "anything else", .advice = "look at the provider's list",     \
     .source = OWN}
#define WORDS(w) .to = 499, .from = 200, .text = w, .when = WHEN_REFUSED
/* clang-format on */

#define TABLE_OF(rules_of, states_of)                                                              \
    .verdict = "/status", .rules = (rules_of), .n_rules = sizeof(rules_of) / sizeof *(rules_of),   \
    .states = (states_of), .n_states = sizeof(states_of) / sizeof *(states_of)

/* --- Whacenter ------------------------------------------------------------------------------- */

#define WHACENTER "Whacenter's Postman collection and clients of it"

/* clang-format off */
static const struct provider_rule whacenter_rules[] = {
    ACCEPTED(WHACENTER),
    {WORDS("not valid"), AS(REJECTED, RECIPIENT), .label = "not-valid",
     .meaning = "the number is not valid", .advice = "check the phone", .source = WHACENTER},
    {WORDS("device not found"), AS(REJECTED, DEVICE), .label = "no-device",
     .meaning = "no such device", .advice = "correct the device's secret", .source = WHACENTER},
    {WORDS("not connect"), AS(REJECTED, DEVICE), .retry_ms = 60000, .label = "not-connected",
     .meaning = "the device is not connected", .advice = "connect or pair it again",
     .source = WHACENTER},
    {WORDS("disconnect"), AS(REJECTED, DEVICE), .retry_ms = 60000, .label = "not-connected",
     .meaning = "the device is disconnected", .advice = "connect or pair it again",
     .source = WHACENTER},
    REST(WHACENTER),
};
static const struct provider_state whacenter_states[] = {
    {.from = 200, .pointer = "/data/status", .value = "CONNECTED", .state = DEVICE_ONLINE,
     .meaning = "connected"},
    {.from = 200, .pointer = "/data/status", .state = DEVICE_OFFLINE, .meaning = "not connected"},
    {.from = 200, .pointer = "/status", .value = "false", .state = DEVICE_OFFLINE,
     .meaning = "not connected, or not known"},
};
/* clang-format on */

const struct provider_table whacenter_table = {
    .name = "whacenter",
    .texts = {"/message"},
    TABLE_OF(whacenter_rules, whacenter_states),
};

/* --- Fonnte ---------------------------------------------------------------------------------- */

#define FONNTE "docs.fonnte.com"

/* clang-format off */
static const struct provider_rule fonnte_rules[] = {
    ACCEPTED(FONNTE),
    {WORDS("target invalid"), AS(REJECTED, RECIPIENT), .label = "target-invalid",
     .meaning = "the number is not valid", .advice = "check the phone", .source = FONNTE},
    {WORDS("disconnected device"), AS(REJECTED, DEVICE), .retry_ms = 60000,
     .label = "disconnected", .meaning = "the device is not connected",
     .advice = "connect or pair it again", .source = FONNTE},
    {WORDS("token invalid"), AS(REJECTED, DEVICE), .label = "token-invalid",
     .meaning = "the token is wrong", .advice = "correct the device's secret", .source = FONNTE},
    {WORDS("invalid token"), AS(REJECTED, DEVICE), .label = "token-invalid",
     .meaning = "the token is wrong", .advice = "correct the device's secret", .source = FONNTE},
    {WORDS("unknown user"), AS(REJECTED, DEVICE), .label = "token-invalid",
     .meaning = "the token is wrong", .advice = "correct the device's secret", .source = FONNTE},
    {WORDS("insufficient quota"), AS(REJECTED, DEVICE), .retry_ms = 3600000,
     .label = "quota", .meaning = "the device's quota is used up", .advice = "buy quota",
     .source = FONNTE},
    {WORDS("url"), AS(REJECTED, TEMPLATE), .stop = true, .extent = "its medium", .label = "url",
     .meaning = "the medium's URL cannot be used", .advice = "mend the medium", .source = FONNTE},
    REST(FONNTE),
};
static const struct provider_state fonnte_states[] = {
    {.from = 200, .pointer = "/device_status", .value = "connect", .state = DEVICE_ONLINE,
     .meaning = "connected"},
    {.from = 200, .pointer = "/device_status", .state = DEVICE_OFFLINE, .meaning = "not connected"},
    {.from = 200, .pointer = "/reason", .value = "token invalid", .state = DEVICE_UNKNOWN,
     .meaning = "the token is wrong"},
};
/* clang-format on */

const struct provider_table fonnte_table = {
    .name = "fonnte",
    .ids = {"/id/0"},
    .texts = {"/reason", "/detail"},
    TABLE_OF(fonnte_rules, fonnte_states),
};

/* --- Wablas ---------------------------------------------------------------------------------- */

#define WABLAS "wablas.com/documentation"

/* clang-format off */
static const struct provider_rule wablas_rules[] = {
    ACCEPTED(WABLAS),
    {WORDS("token"), AS(REJECTED, DEVICE), .label = "token",
     .meaning = "the token is wrong or has expired", .advice = "correct the device's secret",
     .source = WABLAS},
    {WORDS("disconnect"), AS(REJECTED, DEVICE), .retry_ms = 60000, .label = "disconnected",
     .meaning = "the device is not connected", .advice = "connect or pair it again",
     .source = WABLAS},
    {WORDS("quota"), AS(REJECTED, DEVICE), .retry_ms = 3600000, .label = "quota",
     .meaning = "the device's quota is used up", .advice = "buy quota", .source = WABLAS},
    {WORDS("expired"), AS(REJECTED, DEVICE), .retry_ms = 3600000, .label = "expired",
     .meaning = "the device's plan has ended", .advice = "renew it", .source = WABLAS},
    REST(WABLAS),
};
static const struct provider_state wablas_states[] = {
    {.from = 200, .pointer = "/data/status", .value = "connected", .state = DEVICE_ONLINE,
     .meaning = "connected"},
    {.from = 200, .pointer = "/data/status", .state = DEVICE_OFFLINE, .meaning = "not connected"},
};
/* clang-format on */

const struct provider_table wablas_table = {
    .name = "wablas",
    .ids = {"/data/messages/0/id"},
    .texts = {"/message"},
    TABLE_OF(wablas_rules, wablas_states),
};

/* --- the profiles ---------------------------------------------------------------------------- */

static const struct form_profile profiles[] = {
    {.name = "whacenter",
     .url = "https://app.whacenter.com",
     .text_path = "/api/send",
     .media_paths = {"/api/send", "/api/send", "/api/send", "/api/send"},
     .secret_field = "device_id",
     .number = "number",
     .message = "message",
     .caption = "message",
     .media = {"file", "file", "file", "file"},
     .check_path = "/api/statusDevice",
     .check_field = "device_id",
     .table = &whacenter_table},
    {.name = "fonnte",
     .url = "https://api.fonnte.com",
     .text_path = "/send",
     .media_paths = {"/send", "/send", "/send", "/send"},
     .secret_header = "Authorization",
     .number = "target",
     .message = "message",
     .caption = "message",
     .media = {"url", "url", "url", "url"},
     .filename = "filename",
     /* Else it puts a country's code for a leading zero, and queues what it cannot send now. */
     .fixed = {{"countryCode", "0"}, {"connectOnly", "true"}},
     .check_method = "POST",
     .check_path = "/device",
     .table = &fonnte_table},
    {.name = "wablas",
     .text_path = "/api/send-message",
     .media_paths = {"/api/send-image", "/api/send-video", "/api/send-audio", "/api/send-document"},
     .secret_header = "Authorization",
     .number = "phone",
     .message = "message",
     .caption = "caption",
     .media = {"image", "video", "audio", "document"},
     .check_path = "/api/device/info",
     .check_field = "token",
     .table = &wablas_table},
};

const struct form_profile *
form_profile_at(size_t i)
{
    return i < sizeof profiles / sizeof *profiles ? &profiles[i] : NULL;
}
