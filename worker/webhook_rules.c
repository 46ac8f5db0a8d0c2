/* Reads the settings that say what an answer means: success, pointers, error map. */
#include "worker/webhook_rules.h"

#include "shared/conf.h"
#include "shared/mem.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

static const char *
skip_blanks(const char *p)
{
    while (*p == ' ' || *p == '\t') {
        p++;
    }
    return p;
}

/* "2xx", "429", "200, 201".  Returns the place behind, NULL when there is no status. */
static const char *
parse_statuses(const char *p, struct status_set *ret)
{
    ret->n = 0;
    for (;;) {
        p = skip_blanks(p);
        if (*p < '1' || *p > '5' || ret->n == MAX_STATUS_RANGES) {
            return NULL;
        }
        int hundreds = (*p - '0') * 100, rest = 0;
        bool all = p[1] == 'x' && p[2] == 'x';
        if (!all) {
            if (!isdigit((unsigned char)p[1]) || !isdigit((unsigned char)p[2])) {
                return NULL;
            }
            rest = (p[1] - '0') * 10 + (p[2] - '0');
        }
        if (isalnum((unsigned char)p[3])) {
            return NULL;
        }
        ret->range[ret->n].from = hundreds + rest;
        ret->range[ret->n++].to = all ? hundreds + 99 : hundreds + rest;
        p = skip_blanks(p + 3);
        if (*p != ',') {
            return p;
        }
        p++;
    }
}

static bool
check_pointer(const char *p, struct err *e)
{
    if (*p && *p != '/') {
        return err_set(e, ERR_INPUT, "a JSON pointer begins with \"/\"");
    }
    for (; *p; p++) {
        if (*p == '~' && p[1] != '0' && p[1] != '1') {
            return err_set(e, ERR_INPUT, "in a JSON pointer \"~\" is written \"~0\"");
        }
    }
    return true;
}

/* `/status = "accepted"`.  Returns the place behind, NULL on a mistake, with *ret_at where it is.
 */
static const char *
parse_test(const char *p, struct test *ret, const char **ret_at, struct err *e)
{
    size_t len = strcspn(p, " \t=");
    *ret_at = p;
    ret->pointer = xstrndup(p, len);
    if (len == 0) {
        (void)err_set(e, ERR_INPUT, "a JSON pointer is missing");
        return NULL;
    }
    if (!check_pointer(ret->pointer, e)) {
        return NULL;
    }
    p = skip_blanks(p + len);
    *ret_at = p;
    if (*p != '=') {
        (void)err_set(e, ERR_INPUT, "\"=\" is missing");
        return NULL;
    }
    p = skip_blanks(p + 1);
    *ret_at = p;
    json_error_t why;
    ret->want = json_loads(p, JSON_DECODE_ANY | JSON_DISABLE_EOF_CHECK, &why);
    if (!ret->want) {
        (void)err_set(e, ERR_INPUT, "a JSON value is missing (text stands between quotes)");
        return NULL;
    }
    return skip_blanks(p + why.position);
}

bool
webhook_rules_success(struct webhook_rules *r, const char *text, struct err *e)
{
    const char *at = text, *p = parse_statuses(text, &r->success);
    bool ok = p != NULL;
    if (!ok) {
        (void)err_set(e, ERR_INPUT, "a status is missing, such as 2xx or 200,201");
    }
    while (ok && *p) {
        at = p;
        if (strncmp(p, "and", 3) != 0 || (p[3] != ' ' && p[3] != '\t')) {
            ok = err_set(e, ERR_INPUT, "neither the end nor \"and\"");
        } else if (r->n_tests == MAX_TESTS) {
            ok = err_set(e, ERR_INPUT, "more than %d conditions", MAX_TESTS);
        } else {
            p = parse_test(skip_blanks(p + 3), &r->tests[r->n_tests++], &at, e);
            ok = p != NULL;
        }
    }
    return ok || err_wrap(e, "character %d", (int)(at - text) + 1);
}

bool
webhook_rules_pointer(struct webhook_rules *r, enum webhook_pointer p, const char *text,
                      struct err *e)
{
    if (!check_pointer(text, e)) {
        return false;
    }
    free(r->pointers[p]);
    r->pointers[p] = *text ? xstrdup(text) : NULL;
    return true;
}

/* "retry=30s", "stop", "alike=3", in any order. */
static bool
parse_option(const char *word, struct error_rule *ret, struct err *e)
{
    char *end;
    if (strcmp(word, "stop") == 0) {
        bool can = ret->scope == SCOPE_TEMPLATE || ret->scope == SCOPE_DEVICE ||
                   ret->scope == SCOPE_ACCOUNT;
        ret->stop = true;
        return can || err_set(e, ERR_INPUT,
                              "only a template's source, a device or an account can stop: write "
                              "rejected/template stop");
    }
    if (strncmp(word, "alike=", 6) == 0) {
        long n = strtol(word + 6, &end, 10);
        ret->stop_after = (int)n;
        return (n >= 1 && n <= 1000 && *end == '\0') ||
               err_set(e, ERR_INPUT, "\"%.40s\": a number of messages from 1 to 1000", word);
    }
    if (strncmp(word, "retry=", 6) != 0 || !conf_parse_ms(word + 6, &ret->retry_ms) ||
        ret->retry_ms < 0) {
        return err_set(e, ERR_INPUT, "\"%.40s\" is none of retry=30s, stop and alike=3", word);
    }
    return true;
}

/* "retry/device retry=30s" */
static bool
parse_action(const char *text, struct error_rule *ret, struct err *e)
{
    size_t len = strcspn(text, " \t/");
    bool known = false;
    for (int c = OUTCOME_SENT; c <= OUTCOME_NOT_SENT && !known; c++) {
        const char *name = outcome_class_name((enum outcome_class)c);
        known = strlen(name) == len && memcmp(name, text, len) == 0;
        ret->class = (enum outcome_class)c;
    }
    if (!known) {
        return err_set(e, ERR_INPUT, "\"%.*s\" is none of sent, rejected, retry, unknown, not_sent",
                       (int)(len < 40 ? len : 40), text);
    }
    text += len;
    ret->scope = SCOPE_MESSAGE;
    if (*text == '/') {
        len = strcspn(++text, " \t");
        known = false;
        for (int s = SCOPE_MESSAGE; s <= SCOPE_ENDPOINT && !known; s++) {
            const char *name = outcome_scope_name((enum outcome_scope)s);
            known = strlen(name) == len && memcmp(name, text, len) == 0;
            ret->scope = (enum outcome_scope)s;
        }
        if (!known) {
            return err_set(e, ERR_INPUT, "\"%.*s\" is no scope", (int)(len < 40 ? len : 40), text);
        }
        text += len;
    }
    char *options = xstrdup(text), *rest = NULL;
    bool ok = true;
    for (char *word = strtok_r(options, " \t", &rest); word && ok;
         word = strtok_r(NULL, " \t", &rest)) {
        ok = parse_option(word, ret, e);
    }
    free(options);
    return ok;
}

static bool
parse_match(const char *text, struct error_rule *ret, struct err *e)
{
    if (strncmp(text, "code:", 5) == 0 || strncmp(text, "text:", 5) == 0) {
        ret->by = text[0] == 'c' ? BY_CODE : BY_TEXT;
        ret->word = xstrdup(skip_blanks(text + 5));
        return *ret->word || err_set(e, ERR_INPUT, "nothing stands behind \"%.5s\"", text);
    }
    const char *end = parse_statuses(text, &ret->statuses);
    ret->by = BY_STATUS;
    return (end && *end == '\0') ||
           err_set(e, ERR_INPUT, "\"%.60s\" is neither statuses nor code: nor text:", text);
}

bool
webhook_rules_error(struct webhook_rules *r, int n, const char *text, struct err *e)
{
    const char *arrow = NULL; /* the last: a text looked for may hold one */
    for (const char *p = text; (p = strstr(p, "->")) != NULL; p += 2) {
        arrow = p;
    }
    if (!arrow) {
        return err_set(e, ERR_INPUT, "\"->\" is missing, as in 429 -> retry/device");
    }
    struct error_rule rule = {.n = n};
    const char *from = skip_blanks(text);
    size_t len = arrow > from ? (size_t)(arrow - from) : 0;
    while (len && (from[len - 1] == ' ' || from[len - 1] == '\t')) {
        len--;
    }
    char *match = xstrndup(from, len);
    bool ok = parse_match(match, &rule, e) && parse_action(skip_blanks(arrow + 2), &rule, e);
    free(match);
    if (!ok) {
        free(rule.word);
        return false;
    }
    VEC_GROW(r->errors, r->n_errors, r->cap_errors);
    size_t i = r->n_errors++;
    for (; i > 0 && r->errors[i - 1].n > n; i--) {
        r->errors[i] = r->errors[i - 1];
    }
    r->errors[i] = rule;
    return true;
}

struct webhook_rules *
webhook_rules_new(void)
{
    struct webhook_rules *r = xcalloc(1, sizeof *r);
    (void)parse_statuses("2xx", &r->success);
    return r;
}

void
webhook_rules_free(struct webhook_rules *r)
{
    if (!r) {
        return;
    }
    for (size_t i = 0; i < r->n_tests; i++) {
        free(r->tests[i].pointer);
        json_decref(r->tests[i].want);
    }
    for (size_t i = 0; i < N_POINTERS; i++) {
        free(r->pointers[i]);
    }
    for (size_t i = 0; i < r->n_errors; i++) {
        free(r->errors[i].word);
    }
    free(r->errors);
    free(r);
}
