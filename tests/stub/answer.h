/* answer.h -- the bytes of an answer. */
#ifndef TESTS_STUB_ANSWER_H
#define TESTS_STUB_ANSWER_H

#include "shared/mem.h"
#include "tests/stub/rules.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { ANSWER_HUGE = 50 * 1024 * 1024 }; /* body of a huge answer */

struct answer {
    size_t head;   /* bytes of the status line and headers */
    size_t filler; /* spaces to send behind the bytes */
    bool close;    /* the connection ends with this answer */
};

/* Appends the answer that the action gives to the request with that serial.  keep: the client may
 * go on using the connection. */
struct answer answer_add(struct buf *out, const struct action *a, uint64_t serial, bool keep);

/* Appends an interim answer: send the body. */
void answer_continue(struct buf *out);

/* Appends a JSON string, quoted. */
void answer_json_string(struct buf *out, const char *s);

#endif
