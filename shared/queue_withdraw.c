/* queue_withdraw.c -- the verb that takes jobs back before they are sent. */
#include "shared/queue_private.h"

static bool
parse_withdraw(struct call *c, const struct redis_value *v)
{
    struct queue_withdraw *items = c->items;
    if (redis_len(v) != c->n) {
        return false;
    }
    for (size_t i = 0; i < c->n; i++) {
        items[i].answer = *redis_str(redis_at(v, i));
    }
    return true;
}

void
queue_withdraw(struct queue *q, unsigned p, struct queue_withdraw *items, size_t n,
               queue_done *done, void *arg)
{
    struct redis_cmd c = {.script = -1};
    verb_begin(q, &c, "withdraw", p);
    key_partition(q, &c, p, "ready");
    key_partition(q, &c, p, "leases");
    key_partition(q, &c, p, "results");
    for (size_t i = 0; i < n; i++) {
        key_device(q, &c, items[i].device, KEY_JOBS);
        key_device(q, &c, items[i].device, KEY_DEVICE);
        key_device(q, &c, items[i].device, KEY_IDS);
    }
    verb_args(q, &c, p);
    for (size_t i = 0; i < n; i++) {
        redis_cmd_int(&c, (int64_t)items[i].device);
        redis_cmd_str(&c, items[i].id);
        redis_cmd_int(&c, (int64_t)items[i].row);
        redis_cmd_int(&c, items[i].gen);
        redis_cmd_str(&c, items[i].code);
    }
    struct call call = call_make(q, p, items, n, parse_withdraw, done, arg);
    call_send(&call, &c, true);
}
