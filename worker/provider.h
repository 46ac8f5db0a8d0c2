/* provider.h -- what the senders of known providers share: settings, requests, and a table that
 * says what each answer means.
 *
 * A table is data for three readers: the classifier, the tests, which send every row through a real
 * connection, and docs/providers.md, which is printed from it. */
#ifndef WORKER_PROVIDER_H
#define WORKER_PROVIDER_H

#include "worker/http.h"
#include "worker/sender.h"

#include <jansson.h>

struct outcome_queue;

enum provider_when {
    WHEN_ANY,
    WHEN_ID,      /* the answer has a message id */
    WHEN_CODE,    /* the answer has a code */
    WHEN_NO_CODE, /* it has none, or none that can be read */
    WHEN_TOLD,    /* it says when to come again: Retry-After */
};

/* All conditions must hold; the first rule that fits decides. */
struct provider_rule {
    int from, to;            /* HTTP statuses; from 0 = any, to 0 = from alone */
    const char *code, *last; /* the body's code, with `last` a range of numbers; NULL = whatever */
    const char *text;        /* stands in one of the answer's sentences, in any case */
    enum provider_when when;
    enum outcome_class class;
    enum outcome_scope scope; /* what the fleet acts upon */
    const char *extent;       /* what the provider means by it, which may be finer */
    int64_t retry_ms;         /* at least so long; 0 = as worker/pace.c has it */
    int strikes;              /* RETRY in place of `class` before this attempt */
    const char *meaning, *advice, *source;
};

struct provider_table {
    const char *name;
    /* JSON pointers; texts are tried in order, `note` is a remark on an accepted message. */
    const char *id, *code, *texts[3], *note;
    /* What the extra header asks for, ms, 0 = nothing; may be NULL.  Looked at when an account or a
     * device is throttled. */
    int64_t (*regain_ms)(const char *header);
    int64_t own_limit_ms;              /* the provider's own limit of a request, 0 = not known */
    const struct provider_rule *rules; /* the last one fits every answer */
    size_t n_rules;
};

extern const struct provider_table cloudapi_table, gowa_table;

/* The rule for an answer (HTTP_ANSWERED). */
const struct provider_rule *provider_rule_of(const struct provider_table *t,
                                             const struct http_result *r);

/* The outcome of a request.  attempt is the message's; `secret` (may be NULL) never gets into the
 * outcome's text, whatever the provider repeats. */
void provider_classify(const struct provider_table *t, const struct http_result *r, int attempt,
                       const char *secret, struct outcome *ret);

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
    struct outcome_queue *refusals; /* messages that make no request */
    char *base;                     /* the URL, without a slash at its end */
    char *authorization;            /* NULL = no such header */
    char *secret;
    int64_t limit_ms;
};

/* authorization and secret (NULL allowed) become p's, also when it fails; provider_close() frees
 * what there is in any case.  extra_header: see http.h. */
MUST_USE bool provider_open(struct provider *p, struct ev_loop *loop,
                            const struct conf_section *section, const struct provider_settings *s,
                            char *authorization, char *secret, const char *extra_header,
                            struct err *e);
void provider_close(struct provider *p);

/* "Basic ..." of RFC 7617; the caller frees it. */
char *provider_basic(const char *user, const char *password);

/* False with ERR_INPUT when a value does not fit into a header. */
MUST_USE bool provider_printable(const char *value, struct err *e);

/* What WhatsApp takes, by whichever way: for struct sender's max_chars. */
size_t provider_max_chars(const void *self, bool caption);

/* 1 to 15 digits, as E.164 has them. */
bool provider_is_number(const char *text);

/* Posts a JSON body, which it takes over, to a path below the base.  extra may be NULL. */
void provider_post(struct provider *p, const struct message *m, const char *path, json_t *body,
                   const struct http_header *extra, sender_done *done, void *arg);

/* Reports what needs no request, on a later turn of the loop. */
void provider_refuse(struct provider *p, enum outcome_scope scope, const char *code,
                     const char *text, sender_done *done, void *arg);

#endif
