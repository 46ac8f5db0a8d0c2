/* provider_calls.h -- what the tests of known providers share: their senders, and peers that answer
 * one message. */
#ifndef TESTS_UNIT_PROVIDER_CALLS_H
#define TESTS_UNIT_PROVIDER_CALLS_H

#include "tests/unit/sender_calls.h"
#include "worker/provider.h"

struct kind {
    const struct sender *sender;
    const struct provider_table *table;
    const char *profile; /* of the form sender */
};

/* In the order of provider_tables[]. */
enum { CLOUDAPI, GOWA, WAHA, EVOLUTION, WHACENTER, FONNTE, WABLAS, N_KINDS };
static const struct kind kinds[N_KINDS] = {
    [CLOUDAPI] = {&sender_cloudapi, &cloudapi_table, NULL},
    [GOWA] = {&sender_gowa, &gowa_table, NULL},
    [WAHA] = {&sender_waha, &waha_table, NULL},
    [EVOLUTION] = {&sender_evolution, &evolution_table, NULL},
    [WHACENTER] = {&sender_form, &whacenter_table, "whacenter"},
    [FONNTE] = {&sender_form, &fonnte_table, "fonnte"},
    [WABLAS] = {&sender_form, &wablas_table, "wablas"},
};

/* A section that works, by the peer's URL. */
static inline void *
open_kind(const struct kind *k, const struct peer *p, const char *timeout)
{
#define COMMON                                                                                     \
    "type", k->sender->type, "url", peer_url(p), "allow_private", "yes", "timeout", timeout
    CHECK(setenv("TEST_SECRET", "s3cret-Token", 1) == 0);
    struct conf_section s;
    if (k->sender == &sender_gowa) {
        s = section_of(COMMON, "user", "Aladdin", "password", "env:TEST_SECRET", NULL);
    } else if (k->sender == &sender_cloudapi) {
        s = section_of(COMMON, "token", "env:TEST_SECRET", NULL);
    } else if (k->sender == &sender_form) {
        s = section_of(COMMON, "profile", k->profile, "secret", "env:TEST_SECRET", NULL);
    } else {
        s = section_of(COMMON, "api_key", "env:TEST_SECRET", NULL);
    }
#undef COMMON
    return open_sender(k->sender, &s);
}

static inline struct outcome
deliver_message(const struct sender *type, void *self, const struct message *m)
{
    struct report r;
    start(type, self, m, &r);
    turn_until(&r.times, 1);
    CHECK_INT(1, r.times);
    return r.o;
}

static inline struct outcome
deliver_at(const struct sender *type, void *self, int attempt)
{
    struct message m = message_of("Hi");
    m.device_ref = "106540352242922";
    m.attempt = attempt;
    return deliver_message(type, self, &m);
}

/* Sends one message to a peer that says `reply`. */
static inline struct outcome
ask_kind(const struct kind *k, const struct peer_reply *reply, const char *timeout)
{
    struct peer *p =
        peer_start(&(struct peer_options){.script = say, .arg = (void *)(uintptr_t)reply});
    void *self = open_kind(k, p, timeout);
    struct outcome o = deliver_at(k->sender, self, 1);
    CHECK_INT(1, peer_requests(p));
    end_sender(k->sender, self, p);
    return o;
}

static inline struct outcome
ask_body(const struct kind *k, int status, const char *headers, const char *body)
{
    struct peer_reply reply = {0};
    peer_answer_with(&reply, status, headers, body);
    struct outcome o = ask_kind(k, &reply, "10s");
    buf_done(&reply.bytes);
    return o;
}

/* --- uploads and looks ----------------------------------------------------------------------- */

struct upload_report {
    int times;
    struct outcome o;
    int64_t keep_ms;
};

static inline void
on_upload(void *arg, const struct outcome *o, int64_t keep_ms)
{
    struct upload_report *r = arg;
    r->times++;
    r->o = *o;
    r->keep_ms = keep_ms;
}

static inline struct upload_report
upload(const struct sender *type, void *self, const char *ref, const struct media *m)
{
    struct upload_report r = {0};
    type->upload(self, ref, m, on_upload, &r);
    CHECK_INT(0, r.times);
    turn_until(&r.times, 1);
    CHECK_INT(1, r.times);
    return r;
}

struct check_report {
    int times;
    enum device_state state;
    char text[200];
};

static inline void
on_check(void *arg, enum device_state state, const char *text)
{
    struct check_report *r = arg;
    r->times++;
    r->state = state;
    (void)snprintf(r->text, sizeof r->text, "%s", text);
}

static inline struct check_report
look(const struct sender *type, void *self, const char *ref)
{
    struct check_report r = {0};
    type->check(self, ref, on_check, &r);
    CHECK_INT(0, r.times);
    turn_until(&r.times, 1);
    CHECK_INT(1, r.times);
    return r;
}

/* --- answers by pointer ---------------------------------------------------------------------- */

/* The value at a JSON pointer of root, made where it is missing: a number names an array's element.
 */
static inline void
put(json_t *root, const char *pointer, json_t *v)
{
    const char *rest = strchr(pointer + 1, '/');
    size_t len = rest ? (size_t)(rest - pointer - 1) : strlen(pointer + 1);
    char *word = xstrndup(pointer + 1, len);
    json_t *next = rest ? (json_is_array(root) ? json_array_get(root, (size_t)atoi(word))
                                               : json_object_get(root, word))
                        : v;
    if (rest && !next) {
        next = rest[1] >= '0' && rest[1] <= '9' ? json_array() : json_object();
    } else if (rest) {
        json_incref(next);
    }
    if (rest) {
        put(next, rest, v);
    }
    if (json_is_array(root)) {
        (void)(json_array_size(root) ? json_array_set_new(root, (size_t)atoi(word), next)
                                     : json_array_append_new(root, next));
    } else {
        (void)json_object_set_new(root, word, next);
    }
    free(word);
}

/* A boolean, a number or a text, as JSON would have it. */
static inline json_t *
word_value(const char *word)
{
    if (strcmp(word, "true") == 0 || strcmp(word, "false") == 0) {
        return json_boolean(word[0] == 't');
    }
    return *word && !word[strspn(word, "0123456789")] ? json_integer(atoll(word))
                                                      : json_string(word);
}

#endif
