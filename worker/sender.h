/* sender.h -- one provider behind one struct of functions, and what came of a send.
 *
 * `send` reports exactly one outcome through its callback, never before `send` has returned. */
#ifndef WORKER_SENDER_H
#define WORKER_SENDER_H

#include "shared/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* WhatsApp's, in characters. */
enum { WHATSAPP_TEXT_MAX = 4096, WHATSAPP_CAPTION_MAX = 1024 };

struct ev_loop;
struct conf_section;

enum outcome_class {
    OUTCOME_SENT,     /* the provider accepted it */
    OUTCOME_REJECTED, /* the provider refused it for good */
    OUTCOME_RETRY,    /* the provider refused it for now: an attempt is charged */
    OUTCOME_UNKNOWN,  /* the request may have arrived; nobody knows what came of it */
    OUTCOME_NOT_SENT, /* certainly never left (DNS, connect, TLS, local): no attempt is charged */
};

enum outcome_scope {
    SCOPE_MESSAGE,
    SCOPE_RECIPIENT,
    SCOPE_PAIR,
    SCOPE_DEVICE,
    SCOPE_ACCOUNT,
    SCOPE_ENDPOINT
};

struct outcome {
    enum outcome_class class;
    enum outcome_scope scope;
    int64_t retry_after_ms; /* what the provider asked for, 0 = nothing */
    int64_t send_ms;        /* how long the request took */
    char provider_id[128];  /* "" when there is none */
    char code[32];          /* short and stable: "200", "curl-28", "131056" */
    char text[200];         /* for people; never a secret, never a whole body */
};

const char *outcome_class_name(enum outcome_class c);
const char *outcome_scope_name(enum outcome_scope s);

/* What a sender may know of a message.  Borrowed until the outcome is reported. */
struct message {
    const char *job_id;
    int attempt; /* 1 for the first */
    uint64_t device_id;
    const char *device_ref; /* devices.sender_ref: an instance, a number's id; never a secret */
    const char *recipient;  /* phone, digits */
    const char *name;
    const char *text; /* rendered */
    size_t text_len;
    /* The leave to send ends at this clock_mono_ms(), 0 = never: a sender that finds it passed just
     * before the first byte reports NOT_SENT with code "stale". */
    int64_t not_after_mono_ms;
};

typedef void sender_done(void *arg, const struct outcome *o);

struct sender {
    const char *type; /* the `type` key of a [sender NAME] section */
    /* Validates the section (ERR_INPUT with file:line); *ret is the sender's own state, NULL
     * allowed. section is NULL for the built-in instances "log" and "null". */
    bool (*open)(struct ev_loop *loop, const struct conf_section *section, void **ret,
                 struct err *e);
    void (*send)(void *self, const struct message *m, sender_done *done, void *arg);
    /* Requests in flight are reported as UNKNOWN (or NOT_SENT where that is certain) first. */
    void (*close)(void *self);
    /* The longest that one send may take, ms: drains and leases are measured by it. */
    int64_t (*limit_ms)(const void *self);
    /* Characters that a rendered text, or the caption of a medium, may have; 0: any number.  A job
     * that has more fails before it is sent.  NULL: the sender names none. */
    size_t (*max_chars)(const void *self, bool caption);
};

extern const struct sender sender_log, sender_null, sender_webhook, sender_cloudapi, sender_gowa;

/* By type name; NULL when there is none. */
const struct sender *sender_by_type(const char *type);

/* Puts the place of a key, or of the section that lacks it, before an error.  Returns false. */
bool sender_at_key(const struct conf_section *s, const char *key, struct err *e);

#endif
