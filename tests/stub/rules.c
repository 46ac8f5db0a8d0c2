#include "tests/stub/rules.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { RULES_MAX = 256, CONDITIONS_MAX = 8, RULE_TEXT_MAX = 4096, NUMBER_MAX = 1000000000 };

enum condition_kind {
    COND_ALL,
    COND_KEPT,
    COND_P,
    COND_NTH,
    COND_FIRST,
    COND_JOB,
    COND_ATTEMPT,
    COND_DEVICE,
    COND_RECIPIENT,
};

static const struct {
    const char *name;
    enum condition_kind kind;
    enum { TAKES_NOTHING, TAKES_COUNT, TAKES_CHANCE, TAKES_WORD } takes;
} conditions[] = {
    {"all", COND_ALL, TAKES_NOTHING},
    {"kept", COND_KEPT, TAKES_NOTHING},
    {"p", COND_P, TAKES_CHANCE},
    {"nth", COND_NTH, TAKES_COUNT},
    {"first", COND_FIRST, TAKES_COUNT},
    {"job", COND_JOB, TAKES_WORD},
    {"attempt", COND_ATTEMPT, TAKES_WORD},
    {"device", COND_DEVICE, TAKES_WORD},
    {"recipient", COND_RECIPIENT, TAKES_WORD},
};

static const struct {
    const char *name;
    enum action_kind kind;
    enum { ARG_NONE, ARG_NUMBER, ARG_OPTIONAL, ARG_STATUS } arg;
    int number; /* the smallest, and what an optional one is when it is missing */
    bool holds;
    const char *verdict; /* NULL: by the status */
} actions[] = {
    {"ok", ACTION_OK, ARG_NONE, 0, false, "ok"},
    {"status", ACTION_STATUS, ARG_STATUS, 0, false, NULL},
    {"throttle", ACTION_THROTTLE, ARG_NUMBER, 0, false, NULL},
    {"late", ACTION_LATE, ARG_NUMBER, 0, true, "ok:late"},
    {"never", ACTION_NEVER, ARG_NONE, 0, true, "drop:never"},
    {"garbage", ACTION_GARBAGE, ARG_NONE, 0, false, "odd:garbage"},
    {"wrong-type", ACTION_WRONG_TYPE, ARG_NONE, 0, false, "odd:wrong-type"},
    {"truncated", ACTION_TRUNCATED, ARG_NONE, 0, true, "odd:truncated"},
    {"huge", ACTION_HUGE, ARG_NONE, 0, true, "odd:huge"},
    {"dribble", ACTION_DRIBBLE, ARG_NUMBER, 1, true, "ok:dribble"},
    {"slow-headers", ACTION_SLOW_HEADERS, ARG_OPTIONAL, 20, true, "ok:slow-headers"},
    {"reset-after", ACTION_RESET_AFTER, ARG_NONE, 0, true, "drop:reset-after"},
    {"reset-before", ACTION_RESET_BEFORE, ARG_NONE, 0, true, "unread:reset-before"},
    {"close-after-read", ACTION_CLOSE_AFTER_READ, ARG_NONE, 0, true, "drop:close-after-read"},
};

#define LENGTH(array) (sizeof(array) / sizeof *(array))

struct condition {
    enum condition_kind kind;
    uint64_t count, seen; /* of nth */
    double chance;
    char *word;
};

struct rule {
    struct condition conditions[CONDITIONS_MAX];
    size_t condition_count;
    struct action action;
    uint64_t limit, matched; /* no limit: UINT64_MAX */
    char *text;
};

struct rules {
    struct rule *items;
    size_t count, cap;
};

struct action
action_copy(const struct action *a)
{
    struct action copy = *a;
    copy.body = a->body ? xstrdup(a->body) : NULL;
    return copy;
}

void
action_done(struct action *a)
{
    free(a->body);
    a->body = NULL;
}

/* A status as the ledger names it. */
static void
name_status(struct action *a)
{
    bool retry = a->status == 408 || a->status == 425 || a->status == 429 || a->status >= 500;
    const char *class = retry ? "retry" : a->status >= 400 ? "reject" : "status";
    (void)snprintf(a->verdict, sizeof a->verdict, "%s:%d", class, a->status);
}

struct action
action_status(int status, char *body)
{
    struct action a = {.kind = ACTION_STATUS, .status = status, .body = body};
    name_status(&a);
    return a;
}

bool
action_holds(const struct action *a)
{
    for (size_t i = 0; i < LENGTH(actions); i++) {
        if (actions[i].kind == a->kind) {
            return actions[i].holds;
        }
    }
    return true;
}

/* A whole number from least to NUMBER_MAX, which ends where the text ends. */
static bool
read_number(const char *text, int least, int *ret)
{
    int value = 0;
    if (!*text) {
        return false;
    }
    for (; *text; text++) {
        if (*text < '0' || *text > '9' || value > NUMBER_MAX / 10 - 1) {
            return false;
        }
        value = value * 10 + (*text - '0');
    }
    *ret = value;
    return value >= least;
}

/* Cuts the text at the first separator: returns what is behind it, or NULL. */
static char *
cut(char *text, char separator)
{
    char *at = strchr(text, separator);
    if (at) {
        *at++ = '\0';
    }
    return at;
}

static bool
add_condition(struct rule *r, char *text, struct err *e)
{
    char *value = cut(text, ':');
    size_t i = 0;
    while (i < LENGTH(conditions) && strcmp(conditions[i].name, text) != 0) {
        i++;
    }
    if (i == LENGTH(conditions)) {
        return err_set(e, ERR_INPUT, "unknown condition \"%s\"", text);
    }
    struct condition c = {.kind = conditions[i].kind};
    int count = 0;
    char *end = NULL;
    switch (conditions[i].takes) {
    case TAKES_NOTHING:
        if (value) {
            return err_set(e, ERR_INPUT, "the condition %s takes no value", text);
        }
        break;
    case TAKES_COUNT:
        if (!value || !read_number(value, 1, &count)) {
            return err_set(e, ERR_INPUT, "the condition %s takes a number from 1", text);
        }
        c.count = (uint64_t)count;
        break;
    case TAKES_CHANCE:
        c.chance = value ? strtod(value, &end) : -1;
        if (!value || end == value || *end || !(c.chance >= 0 && c.chance <= 1)) {
            return err_set(e, ERR_INPUT, "the condition p takes a number from 0 to 1");
        }
        break;
    case TAKES_WORD:
        if (!value || !*value) {
            return err_set(e, ERR_INPUT, "the condition %s takes a value", text);
        }
        break;
    }
    if (c.kind == COND_FIRST) {
        r->limit = c.count;
        return true;
    }
    if (r->condition_count == CONDITIONS_MAX) {
        return err_set(e, ERR_INPUT, "more than %d conditions", CONDITIONS_MAX);
    }
    c.word = conditions[i].takes == TAKES_WORD ? xstrdup(value) : NULL;
    r->conditions[r->condition_count++] = c;
    return true;
}

static bool
set_status(struct action *a, char *arg, struct err *e)
{
    char *body = arg ? cut(arg, ':') : NULL;
    if (!arg || !read_number(arg, 200, &a->status) || a->status > 599) {
        return err_set(e, ERR_INPUT, "status takes a code from 200 to 599");
    }
    a->body = body && *body ? xstrdup(body) : NULL;
    return true;
}

static bool
set_action(struct action *a, char *text, struct err *e)
{
    char *arg = cut(text, ':');
    size_t i = 0;
    while (i < LENGTH(actions) && strcmp(actions[i].name, text) != 0) {
        i++;
    }
    if (i == LENGTH(actions)) {
        return err_set(e, ERR_INPUT, "unknown action \"%s\"", text);
    }
    a->kind = actions[i].kind;
    a->status = a->kind == ACTION_THROTTLE ? 429 : 200;
    a->number = actions[i].number;
    switch (actions[i].arg) {
    case ARG_NONE:
        if (arg) {
            return err_set(e, ERR_INPUT, "the action %s takes no argument", text);
        }
        break;
    case ARG_NUMBER:
    case ARG_OPTIONAL:
        if (!arg && actions[i].arg == ARG_OPTIONAL) {
            break;
        }
        if (!arg || !read_number(arg, actions[i].arg == ARG_OPTIONAL ? 1 : a->number, &a->number)) {
            return err_set(e, ERR_INPUT, "the action %s takes a whole number", text);
        }
        break;
    case ARG_STATUS:
        if (!set_status(a, arg, e)) {
            return false;
        }
        break;
    }
    if (actions[i].verdict) {
        (void)snprintf(a->verdict, sizeof a->verdict, "%s", actions[i].verdict);
    } else {
        name_status(a);
    }
    return true;
}

static void
rule_done(struct rule *r)
{
    for (size_t i = 0; i < r->condition_count; i++) {
        free(r->conditions[i].word);
    }
    action_done(&r->action);
    free(r->text);
}

/* Reads the rule out of text, which is cut to pieces. */
static bool
read_rule(struct rule *r, char *text, struct err *e)
{
    char *action = cut(text, '=');
    if (!action) {
        return err_set(e, ERR_INPUT, "a rule is CONDITION[,CONDITION]=ACTION");
    }
    for (char *next; text; text = next) {
        next = cut(text, ',');
        if (!add_condition(r, text, e)) {
            return false;
        }
    }
    return set_action(&r->action, action, e);
}

bool
rules_add(struct rules *r, const char *text, size_t n, struct err *e)
{
    if (r->count == RULES_MAX || n > RULE_TEXT_MAX) {
        return err_set(e, ERR_INPUT, "more than %d rules, or one longer than %d bytes", RULES_MAX,
                       RULE_TEXT_MAX);
    }
    struct rule rule = {.limit = UINT64_MAX, .text = xstrndup(text, n)};
    char *pieces = xstrndup(text, n);
    bool ok = read_rule(&rule, pieces, e);
    free(pieces);
    if (!ok) {
        rule_done(&rule);
        return false;
    }
    VEC_GROW(r->items, r->count, r->cap);
    r->items[r->count++] = rule;
    return true;
}

bool
rules_add_lines(struct rules *r, const char *text, size_t n, struct err *e)
{
    const char *end = text + n;
    for (int number = 1; text < end; number++) {
        const char *stop = memchr(text, '\n', (size_t)(end - text));
        const char *next = stop ? stop + 1 : end;
        size_t length = (size_t)((stop ? stop : end) - text);
        if (length && text[length - 1] == '\r') {
            length--;
        }
        if (length && *text != '#' && !rules_add(r, text, length, e)) {
            return err_wrap(e, "line %d", number);
        }
        text = next;
    }
    return true;
}

struct rules *
rules_new(void)
{
    return xcalloc(1, sizeof(struct rules));
}

void
rules_free(struct rules *r)
{
    if (r) {
        for (size_t i = 0; i < r->count; i++) {
            rule_done(&r->items[i]);
        }
        free(r->items);
        free(r);
    }
}

/* splitmix64 (Steele, Lea, Flood 2014): one word of state, any seed is a good one. */
static double
draw(uint64_t *random)
{
    uint64_t z = (*random += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    z ^= z >> 31;
    return (double)(z >> 11) * 0x1p-53;
}

static bool
has_suffix(const char *text, const char *suffix)
{
    size_t n = strlen(text), m = strlen(suffix);
    return n >= m && memcmp(text + n - m, suffix, m) == 0;
}

static bool
condition_holds(struct condition *c, const struct facts *facts, uint64_t *random)
{
    switch (c->kind) {
    case COND_ALL:
    case COND_FIRST:
        return true;
    case COND_KEPT:
        return facts->kept;
    case COND_P:
        return draw(random) < c->chance;
    case COND_NTH:
        return ++c->seen % c->count == 0;
    case COND_JOB:
        return strcmp(facts->job, c->word) == 0;
    case COND_ATTEMPT:
        return strcmp(facts->attempt, c->word) == 0;
    case COND_DEVICE:
        return strcmp(facts->device, c->word) == 0;
    case COND_RECIPIENT:
        return has_suffix(facts->recipient, c->word);
    }
    return false;
}

static bool
rule_holds(struct rule *r, const struct facts *facts, uint64_t *random)
{
    if (r->matched >= r->limit) {
        return false;
    }
    for (size_t i = 0; i < r->condition_count; i++) {
        if (!condition_holds(&r->conditions[i], facts, random)) {
            return false;
        }
    }
    r->matched++;
    return true;
}

const struct action *
rules_choose(struct rules *r, const struct facts *facts, uint64_t *random)
{
    static const struct action ok = {.kind = ACTION_OK, .status = 200, .verdict = "ok"};
    for (size_t i = 0; i < r->count; i++) {
        if (rule_holds(&r->items[i], facts, random)) {
            return &r->items[i].action;
        }
    }
    return &ok;
}

size_t
rules_count(const struct rules *r)
{
    return r->count;
}

const char *
rules_text(const struct rules *r, size_t i, uint64_t *matched)
{
    *matched = r->items[i].matched;
    return r->items[i].text;
}
