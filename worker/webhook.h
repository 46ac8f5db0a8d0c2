/* webhook.h -- the parts of the webhook sender that do no I/O: what a request says, what an answer
 * means. */
#ifndef WORKER_WEBHOOK_H
#define WORKER_WEBHOOK_H

#include "worker/http.h"
#include "worker/sender.h"

struct buf;

/* --- templates (webhook_template.c) ----------------------------------------------------------
 *
 * Text with {job_id} {attempt} {device} {device_ref} {recipient} {name} {text} and, of a message's
 * medium, {media_url} {media_type} {filename}, which are empty without one.  "{{" is a brace; a
 * brace that begins no lower-case word in braces stands for itself. */

enum webhook_escape {
    ESCAPE_NONE,   /* values as they are: text/plain */
    ESCAPE_JSON,   /* within a JSON string; outside of one only {attempt} and {device} may stand */
    ESCAPE_FORM,   /* application/x-www-form-urlencoded */
    ESCAPE_URL,    /* percent-encoded, for a path or a query */
    ESCAPE_HEADER, /* what is not printable ASCII is percent-encoded */
};

struct webhook_template;

/* ERR_INPUT with the place of the mistake, counted in characters from 1.  Checked are the
 * variables' names, with ESCAPE_JSON that every filled-in text will be JSON, with ESCAPE_URL that
 * no value can change the scheme, the host or the port. */
MUST_USE bool webhook_template_parse(const char *text, enum webhook_escape escape,
                                     struct webhook_template **ret, struct err *e);

/* Appends the text for m.  ERR_INPUT, with out as it was, when a value has no place in such a text:
 * a JSON string that is no UTF-8, a part "." or ".." of a URL's path. */
MUST_USE bool webhook_template_expand(const struct webhook_template *t, const struct message *m,
                                      struct buf *out, struct err *e);
/* Whether {media_url} stands in it; t may be NULL. */
bool webhook_template_has_media_url(const struct webhook_template *t);
void webhook_template_free(struct webhook_template *t);

/* --- answers (webhook_answer.c) -------------------------------------------------------------- */

/* What an answer means; one table for all messages of a sender. */
struct webhook_rules;

enum webhook_pointer {
    POINTER_ID,    /* the provider's message id */
    POINTER_ERROR, /* an error's code */
    POINTER_TEXT,  /* an error's sentence */
    N_POINTERS
};

/* Success is any 2xx, and there are no pointers and no errors, until they are set. */
struct webhook_rules *webhook_rules_new(void);
void webhook_rules_free(struct webhook_rules *r);

/* "2xx", "200,201", `2xx and /status = "accepted" and /n = 1`.  ERR_INPUT with the character's
 * place. */
MUST_USE bool webhook_rules_success(struct webhook_rules *r, const char *text, struct err *e);

/* A JSON pointer (RFC 6901); "" sets none. */
MUST_USE bool webhook_rules_pointer(struct webhook_rules *r, enum webhook_pointer p,
                                    const char *text, struct err *e);

/* Line number n of the error map, tried in order of n: "429 -> retry/device retry=30s",
 * "code:131056 -> retry/pair", "text:not registered -> rejected/recipient", "code:132001 ->
 * rejected/template stop", "code:100 -> rejected/message alike=3" (see struct outcome). */
MUST_USE bool webhook_rules_error(struct webhook_rules *r, int n, const char *text, struct err *e);

/* The outcome of a request; the table is in webhook_answer.c. */
void webhook_classify(const struct webhook_rules *rules, const struct http_result *r,
                      struct outcome *ret);

#endif
