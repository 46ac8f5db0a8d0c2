/* approved.h -- a template that a provider has approved, as definitions and jobs have it: its name,
 * its language, and the values of its parameters, which are texts like any message's.  Pure.
 *
 *     {"name":"promo","language":"ms","header":"For {{name}}",
 *      "body":["{{name}}","20%"] or {"first_name":"{{name|Cik}}"},
 *      "buttons":[{"index":0,"type":"url","value":"?c={{code}}"},
 *                 {"index":1,"type":"quick_reply","value":"stop"}]} */
#ifndef SHARED_APPROVED_H
#define SHARED_APPROVED_H

#include "shared/err.h"
#include "shared/mem.h"

#include <stdbool.h>
#include <stddef.h>

enum { APPROVED_JSON_MAX = 16384, APPROVED_BODY_MAX = 64, APPROVED_BUTTONS_MAX = 10 };

struct approved {
    void *document; /* owns the texts */
    const char *name, *language;
    const char *header; /* NULL = none */
    struct approved_value {
        const char *name; /* of a named parameter, NULL = by its position */
        const char *text;
    } body[APPROVED_BODY_MAX];
    size_t n_body;
    struct approved_button {
        int index;
        bool url; /* else a quick reply */
        const char *value;
    } buttons[APPROVED_BUTTONS_MAX];
    size_t n_buttons;
};

/* Reads such JSON.  strict: members that nobody knows are refused, and every value is checked as a
 * text and by approved_value_check().  ERR_INPUT begins with the member: "template.body[1]: ...";
 * *ret is then empty.  The caller frees with approved_done(). */
MUST_USE bool approved_parse(const char *json, size_t len, bool strict, struct approved *ret,
                             struct err *e);
void approved_done(struct approved *a);

/* What the Cloud API refuses in a parameter (error 132018, and the older 132012): line ends, tabs,
 * more than four blanks in a row.  For texts before and after rendering. */
MUST_USE bool approved_value_check(const char *text, size_t len, struct err *e);

#endif
