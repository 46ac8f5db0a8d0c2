/* answer.h -- what the classifiers of answers share.  Pure. */
#ifndef WORKER_ANSWER_H
#define WORKER_ANSWER_H

#include "worker/http.h"
#include "worker/sender.h"

#include <jansson.h>

/* What a JSON pointer names, borrowed from root; NULL when there is no such thing. */
json_t *answer_find(json_t *root, const char *pointer);

/* A string or a number as text; false when it is neither, is empty, does not fit or holds a control
 * character. */
MUST_USE bool answer_scalar(const json_t *v, char *ret, size_t size);

/* Keeps a sentence fit for logs and tables: no control characters, no half UTF-8 character at its
 * end, and of a number that may be a phone's the first two and the last three digits. */
void answer_tidy(char *text);

/* Retry-After (RFC 9110, 10.2.3), seconds or a date, as milliseconds from now, at most a day.  A
 * date is compared with the answer's own Date, so that this host's clock does not matter, or with
 * now_ms when there is none.  False when it is neither. */
MUST_USE bool answer_retry_after(const char *value, const char *date, int64_t now_ms,
                                 int64_t *ret_ms);

/* The outcome of a request without an answer: NOT_SENT where no byte has left, else UNKNOWN. */
void answer_missing(const struct http_result *r, struct outcome *ret);

#endif
