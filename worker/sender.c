#include "worker/sender.h"

#include "shared/conf.h"

#include <string.h>

const struct sender *
sender_by_type(const char *type)
{
    static const struct sender *const all[] = {&sender_log,      &sender_null, &sender_webhook,
                                               &sender_cloudapi, &sender_gowa, NULL};
    const struct sender *const *s = all;
    while (*s && strcmp((*s)->type, type) != 0) {
        s++;
    }
    return *s;
}

bool
sender_at_key(const struct conf_section *s, const char *key, struct err *e)
{
    int line = s->line;
    for (size_t i = 0; i < s->n_pairs; i++) {
        if (strcmp(s->pairs[i].key, key) == 0) {
            line = s->pairs[i].line;
        }
    }
    return err_wrap(e, "%s:%d: %s", s->file, line, key);
}
