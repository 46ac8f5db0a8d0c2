/* queue_check.c -- the verbs about devices themselves: who is to be asked about, and what the
 * providers said. */
#include "shared/queue_private.h"

#include <stdlib.h>
#include <string.h>

void
queue_ask(struct queue *q, unsigned p, const struct queue_check *items, size_t n, int64_t ms,
          queue_done *done, void *arg)
{
    struct redis_cmd c = {.script = -1};
    verb_begin(q, &c, "ask", p);
    key_partition(q, &c, p, "checks");
    verb_args(q, &c, p);
    redis_cmd_str(&c, q->wake_channel);
    redis_cmd_int(&c, p);
    redis_cmd_int(&c, ms);
    for (size_t i = 0; i < n; i++) {
        redis_cmd_int(&c, (int64_t)items[i].device);
        redis_cmd_str(&c, items[i].sender);
        redis_cmd_str(&c, items[i].ref);
    }
    struct call call = call_make(q, p, NULL, n, parse_nothing, done, arg);
    call_send(&call, &c, true);
}

static bool
parse_take(struct call *c, const struct redis_value *v)
{
    struct queue_checks *checks = c->items;
    for (size_t i = 0; i + 1 < redis_len(v) && checks->n < QUEUE_CHECKS_MAX; i += 2) {
        struct queue_check *item = &checks->items[checks->n++];
        const char *value = redis_str(redis_at(v, i + 1)), *blank = strchr(value, ' ');
        size_t len = blank ? (size_t)(blank - value) : strlen(value);
        item->device = str_u64(redis_str(redis_at(v, i)));
        len = len < sizeof item->sender ? len : sizeof item->sender - 1;
        memcpy(item->sender, value, len);
        item->sender[len] = '\0';
        copy_text(item->ref, sizeof item->ref, blank ? blank + 1 : "");
    }
    return redis_type(v) == REDIS_LIST;
}

void
queue_take(struct queue *q, unsigned p, size_t n, struct queue_checks *ret, queue_done *done,
           void *arg)
{
    struct redis_cmd c = {.script = -1};
    verb_begin(q, &c, "take", p);
    key_partition(q, &c, p, "checks");
    verb_args(q, &c, p);
    redis_cmd_int(&c, (int64_t)(n < QUEUE_CHECKS_MAX ? n : QUEUE_CHECKS_MAX));
    ret->n = 0;
    struct call call = call_make(q, p, ret, 0, parse_take, done, arg);
    call_send(&call, &c, true);
}

void
queue_checked(struct queue *q, uint64_t device, bool online, const char *text, const char *worker,
              queue_done *done, void *arg)
{
    struct redis_cmd c = {.script = -1};
    unsigned p = queue_partition(q, device);
    verb_begin(q, &c, "checked", p);
    key_partition(q, &c, p, "results");
    verb_args(q, &c, p);
    redis_cmd_int(&c, (int64_t)device);
    redis_cmd_str(&c, online ? "online" : "offline");
    redis_cmd_str(&c, text);
    redis_cmd_str(&c, worker);
    struct call call = call_make(q, p, NULL, 0, parse_nothing, done, arg);
    call_send(&call, &c, true);
}
