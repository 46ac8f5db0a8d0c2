/* provider_calls.h -- what the tests of known providers share: their senders, and peers that answer
 * one message. */
#ifndef TESTS_UNIT_PROVIDER_CALLS_H
#define TESTS_UNIT_PROVIDER_CALLS_H

#include "tests/unit/sender_calls.h"
#include "worker/provider.h"

struct kind {
    const struct sender *sender;
    const struct provider_table *table;
};

static const struct kind kinds[] = {{&sender_cloudapi, &cloudapi_table},
                                    {&sender_gowa, &gowa_table}};

/* NULL-ended keys of a section that works, by the peer's URL. */
static inline void *
open_kind(const struct kind *k, const struct peer *p, const char *timeout)
{
    CHECK(setenv("TEST_SECRET", "s3cret-Token", 1) == 0);
    struct conf_section s =
        k->sender == &sender_gowa
            ? section_of("type", "gowa", "url", peer_url(p), "allow_private", "yes", "user",
                         "Aladdin", "password", "env:TEST_SECRET", "timeout", timeout, NULL)
            : section_of("type", "cloudapi", "url", peer_url(p), "allow_private", "yes", "token",
                         "env:TEST_SECRET", "timeout", timeout, NULL);
    return open_sender(k->sender, &s);
}

static inline struct outcome
deliver_at(const struct sender *type, void *self, int attempt)
{
    struct report r;
    struct message m = message_of("Hi");
    m.device_ref = "106540352242922";
    m.attempt = attempt;
    start(type, self, &m, &r);
    turn_until(&r.times, 1);
    CHECK_INT(1, r.times);
    return r.o;
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

#endif
