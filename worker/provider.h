/* provider.h -- what the senders of known providers share: settings, requests, and a table that
 * says what each answer means.
 *
 * A table is data for three readers: the classifier, the tests, which send every row through a real
 * connection, and docs/providers.md, which is printed from it. */
#ifndef WORKER_PROVIDER_H
#define WORKER_PROVIDER_H

#include "shared/mem.h"
#include "worker/http.h"
#include "worker/sender.h"

#include <jansson.h>

struct outcome_queue;

enum provider_when {
    WHEN_ANY,
    WHEN_ID,       /* the answer has a message id */
    WHEN_CODE,     /* the answer has a code */
    WHEN_NO_CODE,  /* it has none, or none that can be read */
    WHEN_TEXT,     /* it has a sentence where the provider puts them */
    WHEN_ACCEPTED, /* its `verdict` is true */
    WHEN_REFUSED,  /* its `verdict` is false */
    WHEN_TOLD,     /* it says when to come again: Retry-After */
};

/* All conditions must hold; the first rule that fits decides. */
struct provider_rule {
    int from, to;            /* HTTP statuses; from 0 = any, to 0 = from alone */
    const char *code, *last; /* the body's code, with `last` a range of numbers; NULL = whatever */
    const char *text;        /* stands in one of the answer's sentences, in any case */
    enum provider_when when;
    enum outcome_class class;
    enum outcome_scope scope;
    const char *extent; /* what the provider means where that is finer than the scope, or NULL */
    int64_t retry_ms;   /* at least so long; 0 = as worker/pace.c has it */
    bool stop;          /* as in struct outcome */
    int stop_after;     /* likewise */
    int strikes;        /* RETRY in place of `class` before this attempt */
    const char *label;  /* the outcome's code where the provider gives none; NULL = the status */
    const char *meaning, *advice, *source;
};

/* What the answer to a look at a device says: the first row that fits decides, and without one the
 * state is unknown. */
struct provider_state {
    int from, to;        /* as in provider_rule */
    const char *pointer; /* JSON pointer */
    const char *value;   /* the text, number or boolean there; NULL = any of them */
    enum device_state state;
    const char *meaning;
};

struct provider_table {
    const char *name;
    /* JSON pointers; ids and texts are tried in order, `note` is a remark on an accepted message. A
     * provider without ids has none. */
    const char *ids[3], *code, *texts[5], *note;
    /* Of a boolean by which the provider refuses with a status of success; NULL = it does not. */
    const char *verdict;
    const char *upload_id; /* of a medium that was taken */
    /* What the extra header asks for, ms, 0 = nothing; may be NULL.  Looked at when an account or a
     * device is throttled. */
    int64_t (*regain_ms)(const char *header);
    int64_t own_limit_ms;              /* the provider's own limit of a request, 0 = not known */
    const struct provider_rule *rules; /* the last one fits every answer */
    size_t n_rules;
    const struct provider_state *states;
    size_t n_states;
};

extern const struct provider_table cloudapi_table, gowa_table, waha_table, evolution_table;
/* Profiles of the form sender. */
extern const struct provider_table whacenter_table, fonnte_table, wablas_table;

/* All of them, NULL at the end. */
extern const struct provider_table *const provider_tables[];

/* The rule for an answer (HTTP_ANSWERED). */
const struct provider_rule *provider_rule_of(const struct provider_table *t,
                                             const struct http_result *r);

/* The outcome of a request.  attempt is the message's; `secret` (may be NULL) never gets into the
 * outcome's text, whatever the provider repeats. */
void provider_classify(const struct provider_table *t, const struct http_result *r, int attempt,
                       const char *secret, struct outcome *ret);

/* The same for an upload, which may be repeated: SENT has the medium's id, UNKNOWN becomes RETRY,
 * and a medium that is refused stops the source that sends it. */
void provider_classify_upload(const struct provider_table *t, const struct http_result *r,
                              const char *secret, struct outcome *ret);

/* What a look at a device found; text gets a sentence. */
enum device_state provider_state_of(const struct provider_table *t, const struct http_result *r,
                                    const char *secret, char *text, size_t size);

/* --- settings and requests (provider.c) ------------------------------------------------------ */

struct provider_settings {
    char *type, *url;
    int64_t connect_ms, total_ms, max_connections;
    bool allow_private, insecure;
};

/* The keys that all of them have, for a settings struct with a `common`. */
/* clang-format off */
#define PROVIDER_KEYS(name, S, api)                                                                \
    {"type", CONF_STR, offsetof(S, common.type), name, NULL, 0, "The kind of sender."},            \
    {"url", CONF_STR, offsetof(S, common.url), api, NULL, 0,                                       \
     "Where the API is, without the path of a call."},                                             \
    {"connect_timeout", CONF_MS, offsetof(S, common.connect_ms), "5s", "1..600s", 0,               \
     "Time for name look-up, TCP and TLS."},                                                       \
    {"timeout", CONF_MS, offsetof(S, common.total_ms), "60s", "1..600s", 0,                        \
     "Time for a whole send; longer than the provider's own, shorter than a lease."},              \
    {"max_connections", CONF_INT, offsetof(S, common.max_connections), "128", "1..10000", 0,       \
     "Requests at once."},                                                                         \
    {"allow_private", CONF_BOOL, offsetof(S, common.allow_private), "no", NULL, 0,                 \
     "Whether the host may have a private, loopback or link-local address."},                      \
    {"insecure", CONF_BOOL, offsetof(S, common.insecure), "no", NULL, 0,                           \
     "Leaves TLS certificates unverified; for tests."}
/* clang-format on */

struct provider {
    const struct provider_table *table;
    struct http *http;
    struct outcome_queue *refusals; /* what makes no request */
    char *base;                     /* the URL, without a slash at its end */
    const char *credential_name;    /* of a header; NULL = there is none */
    char *credential;               /* its value */
    char *secret;
    int64_t limit_ms;
};

/* credential and secret (NULL allowed) become p's, also when it fails; provider_close() frees what
 * there is in any case.  credential_name and extra_header (see http.h) last as long as p. */
MUST_USE bool provider_open(struct provider *p, struct ev_loop *loop,
                            const struct conf_section *section, const struct provider_settings *s,
                            const char *credential_name, char *credential, char *secret,
                            const char *extra_header, struct err *e);
void provider_close(struct provider *p);

/* The whole `open` of a gateway whose credential is a key `api_key` in the header of that name:
 * *ret is a struct provider, for provider_end(). */
MUST_USE bool provider_open_key(const struct provider_table *t, const char *header, bool needed,
                                struct ev_loop *loop, const struct conf_section *section,
                                void **ret, struct err *e);

/* For struct sender, where the state begins with a struct provider: `close` of a state that is
 * nothing else, `limit_ms`, and `max_chars` as WhatsApp has it, by whichever way. */
void provider_end(void *self);
int64_t provider_limit_ms(const void *self);
size_t provider_max_chars(const void *self, bool caption);

/* "Basic ..." of RFC 7617; the caller frees it. */
char *provider_basic(const char *user, const char *password);
/* The caller frees it. */
char *provider_base64(const void *bytes, size_t len);

/* False with ERR_INPUT when a value does not fit into a header. */
MUST_USE bool provider_printable(const char *value, struct err *e);

/* 1 to 15 digits, as E.164 has them. */
bool provider_is_number(const char *text);
/* Fit to be a part of a URL's path, once encoded: not empty, not "." or "..". */
bool provider_is_name(const char *text);
/* head, the name percent-encoded, tail; the caller frees it. */
char *provider_path(const char *head, const char *name, const char *tail);

/* "image", "video", "audio", "document". */
const char *provider_media_word(enum media_kind kind);
/* What the medium is called: its own name, else one that its kind and type suggest. */
const char *provider_media_name(const struct media *m);

/* --- bodies (provider_body.c) ---------------------------------------------------------------- */

/* A request's body in memory; zero-initialise it.  Without a type there is none. */
struct provider_body {
    char type[96]; /* Content-Type */
    char boundary[40];
    struct buf bytes;
};

void provider_body_json(struct provider_body *b, json_t *taken);
/* Fields of application/x-www-form-urlencoded, or parts of multipart/form-data (RFC 7578) once
 * provider_body_multipart() was called. */
void provider_body_multipart(struct provider_body *b);
void provider_body_field(struct provider_body *b, const char *name, const char *value, size_t len);
/* multipart only. */
void provider_body_file(struct provider_body *b, const char *name, const struct media *m);
void provider_body_end(struct provider_body *b);
void provider_body_done(struct provider_body *b);

/* --- calls ----------------------------------------------------------------------------------- */

/* path and body are taken over, the rest is borrowed for the call, but the secret until it is
 * answered. */
struct provider_call {
    const char *method; /* NULL = POST */
    char *path;         /* below the base, encoded */
    struct provider_body body;
    struct http_header headers[2]; /* name NULL = none */
    const char *secret;            /* kept out of texts; NULL = the provider's */
};

/* For struct sender's send, upload and check. */
void provider_send(struct provider *p, struct provider_call *c, const struct message *m,
                   sender_done *done, void *arg);
void provider_upload(struct provider *p, struct provider_call *c, int64_t keep_ms,
                     sender_uploaded *done, void *arg);
void provider_check(struct provider *p, struct provider_call *c, sender_checked *done, void *arg);

/* True when m can be asked for at all: a recipient, something to say in UTF-8, and nothing beyond
 * `can` (CAN_ flags); else reports why not on a later turn of the loop. */
MUST_USE bool provider_accept(struct provider *p, unsigned can, const struct message *m,
                              sender_done *done, void *arg);

/* Report what needs no request, on a later turn of the loop.  A TEMPLATE scope stops the source. */
void provider_refuse(struct provider *p, enum outcome_scope scope, const char *code,
                     const char *text, sender_done *done, void *arg);
void provider_refuse_upload(struct provider *p, enum outcome_scope scope, const char *code,
                            const char *text, sender_uploaded *done, void *arg);
void provider_refuse_check(struct provider *p, const char *text, sender_checked *done, void *arg);

#endif
