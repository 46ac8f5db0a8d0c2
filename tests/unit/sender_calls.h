/* sender_calls.h -- what the tests of whole senders share: sections, messages, outcomes. */
#ifndef TESTS_UNIT_SENDER_CALLS_H
#define TESTS_UNIT_SENDER_CALLS_H

#include "shared/conf.h"
#include "tests/unit/http_calls.h"
#include "worker/sender.h"

#include <stdarg.h>

static struct conf_pair pairs[32];

/* Key, value ... NULL; lines are counted from 11. */
static inline struct conf_section
section_of(const char *key, ...)
{
    static char kind[] = "sender", name[] = "test";
    struct conf_section s = {
        .kind = kind, .name = name, .line = 10, .pairs = pairs, .file = "f.conf"};
    va_list ap;
    va_start(ap, key);
    for (; key; key = va_arg(ap, const char *)) {
        struct conf_pair *p = &pairs[s.n_pairs];
        free(p->key);
        free(p->value);
        p->key = xstrdup(key);
        p->value = xstrdup(va_arg(ap, const char *));
        p->line = 11 + (int)s.n_pairs++;
    }
    va_end(ap);
    return s;
}

static inline void *
open_sender(const struct sender *type, const struct conf_section *s)
{
    void *self = NULL;
    start_loop();
    CHECK_OK(type->open(loop, s, &self, e));
    return self;
}

static inline void
end_sender(const struct sender *type, void *self, struct peer *p)
{
    type->close(self);
    finish(NULL, p);
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        free(pairs[i].key);
        free(pairs[i].value);
        pairs[i] = (struct conf_pair){0};
    }
}

struct report {
    int times;
    struct outcome o;
};

static inline void
on_report(void *arg, const struct outcome *o)
{
    struct report *r = arg;
    r->times++;
    r->o = *o;
}

static inline struct message
message_of(const char *text)
{
    return (struct message){.job_id = "c:7:1",
                            .attempt = 1,
                            .device_id = 42,
                            .device_ref = "inst-42",
                            .recipient = "60123456789",
                            .name = "Siti",
                            .text = text,
                            .text_len = strlen(text)};
}

static inline void
start(const struct sender *type, void *self, const struct message *m, struct report *r)
{
    *r = (struct report){0};
    type->send(self, m, on_report, r);
    CHECK_INT(0, r->times); /* never before send has returned */
}

static inline struct outcome
deliver(const struct sender *type, void *self, const char *text)
{
    struct report r;
    struct message m = message_of(text);
    start(type, self, &m, &r);
    turn_until(&r.times, 1);
    CHECK_INT(1, r.times);
    return r.o;
}

static inline void
check_outcome(const struct outcome *o, enum outcome_class class, enum outcome_scope scope,
              const char *code)
{
    if (o->class != class || o->scope != scope || strcmp(o->code, code) != 0) {
        t_fail(__FILE__, __LINE__, "%s/%s %s \"%s\", not %s/%s %s", outcome_class_name(o->class),
               outcome_scope_name(o->scope), o->code, o->text, outcome_class_name(class),
               outcome_scope_name(scope), code);
    }
}

#endif
