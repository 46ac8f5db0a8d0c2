/* sender.h -- one provider behind one struct of functions, and what came of a send.
 *
 * `send` reports exactly one outcome through its callback, never before `send` has returned. */
#ifndef WORKER_SENDER_H
#define WORKER_SENDER_H

#include "shared/err.h"
#include "shared/media.h"

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

/* What an outcome is about, and so what waits because of it: nothing wider. */
enum outcome_scope {
    SCOPE_MESSAGE,
    SCOPE_RECIPIENT, /* whichever device it would come from */
    SCOPE_PAIR,      /* this recipient from this device */
    SCOPE_DEVICE,
    SCOPE_NEW_CONTACTS, /* recipients to whom the device has not sent yet */
    SCOPE_TEMPLATE,     /* whatever the message's source sends: its template, parameters, medium */
    SCOPE_ACCOUNT,      /* the devices of the same account (devices.account) */
    SCOPE_ENDPOINT      /* whatever goes through the same [sender] section */
};

struct outcome {
    enum outcome_class class;
    enum outcome_scope scope;
    int64_t retry_after_ms; /* what the provider asked for, 0 = nothing */
    /* Until a person resumes it: the source of a TEMPLATE outcome, the device or the account of a
     * DEVICE or ACCOUNT one. */
    bool stop;
    /* The source stops when so many of its messages have been refused alike, 0 = never: a
     * parameter that is wrong for one recipient may be wrong for all. */
    int stop_after;
    int64_t send_ms;       /* how long the request took */
    char provider_id[128]; /* "" when there is none */
    char code[32];         /* short and stable: "200", "curl-28", "131056" */
    char text[200];        /* for people; never a secret, never a whole body */
};

const char *outcome_class_name(enum outcome_class c);
const char *outcome_scope_name(enum outcome_scope s);

/* A medium: by exactly one of url, id and bytes. */
struct media {
    enum media_kind kind;
    const char *url;   /* http or https; the provider fetches it */
    const char *id;    /* what `upload` reported for this device or its account */
    const void *bytes; /* the content itself */
    size_t len;
    const char *mime;     /* "image/jpeg"; NULL where only the provider will see it */
    const char *filename; /* NULL = none was given */
};

struct template_value {
    const char *name; /* of a named parameter, NULL = by its position */
    const char *text; /* rendered */
};
struct template_button {
    int index;
    bool url;          /* else a quick reply */
    const char *value; /* the payload, or what is added to the URL; rendered */
};
/* A template that the provider has approved; a header that is a medium is the message's media. */
struct message_template {
    const char *name, *language;
    const char *header; /* a header's text parameter, NULL = none */
    const struct template_value *body;
    size_t n_body;
    const struct template_button *buttons;
    size_t n_buttons;
};

/* What a sender may know of a message.  Borrowed until the outcome is reported. */
struct message {
    const char *job_id;
    int attempt; /* 1 for the first */
    uint64_t device_id;
    const char *device_ref; /* devices.sender_ref: an instance, a number's id; never a secret */
    const char *recipient;  /* phone, digits */
    const char *name;
    const char *text; /* rendered; the caption where there is a medium; may be empty then, and with
                         a template */
    size_t text_len;
    const struct media *media;               /* NULL = none */
    const struct message_template *template; /* NULL = none */
    /* The leave to send ends at this clock_mono_ms(), 0 = never: a sender that finds it passed just
     * before the first byte reports NOT_SENT with code "stale". */
    int64_t not_after_mono_ms;
};

typedef void sender_done(void *arg, const struct outcome *o);

/* What a sender can do with a message besides text. */
enum {
    CAN_MEDIA_URL = 1,   /* the provider fetches links */
    CAN_MEDIA_BYTES = 2, /* takes the content with the message */
    CAN_UPLOAD = 4,      /* takes it ahead of the message: `upload` */
    CAN_TEMPLATE = 8,
};

/* o->class SENT: o->provider_id is the medium's id, good for keep_ms.  Anything else: as of a send
 * that has certainly not left; UNKNOWN is not used, for an upload may be repeated. */
typedef void sender_uploaded(void *arg, const struct outcome *o, int64_t keep_ms);

enum device_state { DEVICE_UNKNOWN, DEVICE_ONLINE, DEVICE_OFFLINE };
/* text says why, for people; "" allowed. */
typedef void sender_checked(void *arg, enum device_state state, const char *text);

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
    /* CAN_ flags; NULL: text alone.  A message that asks for more fails before it is sent. */
    unsigned (*can)(const void *self);
    /* Takes m->bytes ahead of the messages that name it; exactly one report, as with send.  The
     * medium is borrowed until then.  NULL without CAN_UPLOAD. */
    void (*upload)(void *self, const char *device_ref, const struct media *m, sender_uploaded *done,
                   void *arg);
    /* Asks the provider how the device is; exactly one report, as with send.  DEVICE_UNKNOWN when
     * no answer says so: a failed look is never an offline device.  NULL: it cannot be asked. */
    void (*check)(void *self, const char *device_ref, sender_checked *done, void *arg);
};

extern const struct sender sender_log, sender_null, sender_webhook, sender_cloudapi, sender_gowa,
    sender_waha, sender_evolution, sender_form;

/* By type name; NULL when there is none. */
const struct sender *sender_by_type(const char *type);

/* What of m is beyond those CAN_ flags, as a sentence; NULL: nothing. */
const char *sender_cannot(unsigned can, const struct message *m);

/* Puts the place of a key, or of the section that lacks it, before an error.  Returns false. */
bool sender_at_key(const struct conf_section *s, const char *key, struct err *e);

#endif
