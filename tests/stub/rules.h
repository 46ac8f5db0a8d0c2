/* rules.h -- which request gets which answer: the grammar of --rule and of POST /_control.
 *
 *     rule     = condition {"," condition} "=" action
 *
 * The first rule whose conditions all hold decides; without one the answer is `ok`.  The whole
 * grammar is in README.md. */
#ifndef TESTS_STUB_RULES_H
#define TESTS_STUB_RULES_H

#include "shared/mem.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum action_kind {
    ACTION_OK,
    ACTION_STATUS,
    ACTION_THROTTLE,
    ACTION_LATE,
    ACTION_NEVER,
    ACTION_GARBAGE,
    ACTION_WRONG_TYPE,
    ACTION_TRUNCATED,
    ACTION_HUGE,
    ACTION_DRIBBLE,
    ACTION_SLOW_HEADERS,
    ACTION_RESET_AFTER,
    ACTION_RESET_BEFORE,
    ACTION_CLOSE_AFTER_READ,
};

struct action {
    enum action_kind kind;
    int status;
    int number;       /* milliseconds, or seconds of a throttle */
    char *body;       /* of a status; NULL for the usual one */
    char verdict[24]; /* what the ledger says */
};

/* A copy with a body of its own, to be given to action_done(). */
struct action action_copy(const struct action *a);
void action_done(struct action *a);
/* An answer of the stub itself: a status; takes body. */
struct action action_status(int status, char *body);
/* Whether nothing behind this request is read until its answer is over. */
bool action_holds(const struct action *a);

/* What the conditions look at. */
struct facts {
    const char *job, *attempt, *device, *recipient;
    bool kept; /* the connection has carried a request before */
};

struct rules;
struct rules *rules_new(void);
void rules_free(struct rules *r);

/* Adds one rule, the n bytes at text.  ERR_INPUT says what is wrong with it. */
MUST_USE bool rules_add(struct rules *r, const char *text, size_t n, struct err *e);
/* Adds a rule a line; empty lines and lines that begin with # are skipped. */
MUST_USE bool rules_add_lines(struct rules *r, const char *text, size_t n, struct err *e);

/* The action for one request; counts and draws.  Borrowed from r.  *random is the state of the
 * generator, which outlives the rules. */
const struct action *rules_choose(struct rules *r, const struct facts *facts, uint64_t *random);

size_t rules_count(const struct rules *r);
/* The text of a rule and how often it decided. */
const char *rules_text(const struct rules *r, size_t i, uint64_t *matched);

#endif
