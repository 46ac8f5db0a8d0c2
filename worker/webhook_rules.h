/* webhook_rules.h -- the rules as webhook_rules.c reads them and webhook_answer.c applies them.
 * Nobody else includes it. */
#ifndef WORKER_WEBHOOK_RULES_H
#define WORKER_WEBHOOK_RULES_H

#include "worker/webhook.h"

#include <jansson.h>

enum { MAX_STATUS_RANGES = 16, MAX_TESTS = 4 };

struct status_set {
    struct {
        int from, to;
    } range[MAX_STATUS_RANGES];
    size_t n;
};

struct test {
    char *pointer;
    json_t *want;
};

enum match { BY_STATUS, BY_CODE, BY_TEXT };

struct error_rule {
    int n;
    enum match by;
    struct status_set statuses;
    char *word; /* the code, or the text looked for */
    enum outcome_class class;
    enum outcome_scope scope;
    int64_t retry_ms;
    bool stop;
    int stop_after;
};

struct webhook_rules {
    struct status_set success;
    struct test tests[MAX_TESTS];
    size_t n_tests;
    char *pointers[N_POINTERS];
    struct error_rule *errors; /* by n */
    size_t n_errors, cap_errors;
};

#endif
