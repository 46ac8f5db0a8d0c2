/* The log sender sends nothing: a line a message, and the message counts as sent. */
#include "shared/conf.h"
#include "shared/log.h"
#include "shared/mem.h"
#include "worker/outcome.h"

#include <stdlib.h>

struct log_settings {
    char *type;
};

static const struct conf_key keys[] = {
    {"type", CONF_STR, offsetof(struct log_settings, type), "log", NULL, 0, "The kind of sender."},
    {0},
};

static bool
log_open(struct ev_loop *loop, const struct conf_section *section, void **ret, struct err *e)
{
    struct log_settings s = {0};
    bool ok = !section || conf_section_apply(section, keys, &s, e);
    free(s.type);
    if (ok) {
        *ret = outcome_queue_new(loop, 0, NULL, NULL);
    }
    return ok;
}

static void
log_send(void *self, const struct message *m, sender_done *done, void *arg)
{
    char phone[64];
    log_info("message", "job", LOG_S(m->job_id), "attempt", LOG_I(m->attempt), "device",
             LOG_I(m->device_id), "recipient",
             LOG_S(log_mask_phone(m->recipient, phone, sizeof phone)), "bytes", LOG_I(m->text_len));
    struct outcome o = {.class = OUTCOME_SENT, .code = "logged"};
    outcome_queue_add(self, &o, done, arg);
}

/* What is left was logged, so it keeps its outcome. */
static void
log_close(void *self)
{
    outcome_queue_free(self, NULL);
}

static int64_t
log_limit_ms(const void *self)
{
    (void)self;
    return 1000; /* a turn of a busy loop */
}

static unsigned
log_can(const void *self)
{
    (void)self;
    return CAN_MEDIA_URL | CAN_MEDIA_BYTES | CAN_TEMPLATE;
}

const struct sender sender_log = {
    .type = "log",
    .open = log_open,
    .send = log_send,
    .close = log_close,
    .limit_ms = log_limit_ms,
    .can = log_can,
};
