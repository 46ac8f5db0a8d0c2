#include "worker/sender.h"

#include "shared/conf.h"

#include <string.h>

const struct sender *
sender_by_type(const char *type)
{
    static const struct sender *const all[] = {&sender_log,       &sender_null, &sender_webhook,
                                               &sender_cloudapi,  &sender_gowa, &sender_waha,
                                               &sender_evolution, &sender_form, NULL};
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

const char *
sender_cannot(unsigned can, const struct message *m)
{
    if (m->template && !(can & CAN_TEMPLATE)) {
        return "this sender has no templates";
    }
    if (!m->media) {
        return NULL;
    }
    if (!(can & (CAN_MEDIA_URL | CAN_MEDIA_BYTES | CAN_UPLOAD))) {
        return "this sender sends texts only";
    }
    if ((m->media->url && !(can & CAN_MEDIA_URL)) ||
        (m->media->bytes && !(can & CAN_MEDIA_BYTES)) || (m->media->id && !(can & CAN_UPLOAD))) {
        return m->media->url     ? "this sender takes no links to media"
               : m->media->bytes ? "this sender takes no media with the message"
                                 : "this sender takes no uploaded media";
    }
    return m->media->kind == MEDIA_AUDIO && m->text_len && !m->template ? "an audio has no caption"
                                                                        : NULL;
}
