/* The null sender answers SENT on the next turn of the loop: the fleet without a provider.
 *
 * For tests it is its own witness: with `ledger` every send becomes a line of a file before its
 * outcome is reported, so that what was sent can be compared with what was recorded. Tab-separated:
 *
 *     arrival_us (CLOCK_REALTIME)  arrival_mono_us  serial  job_id  attempt  device  recipient
 *     text_xxh64 (16 hex digits)  text_len  ok (1)
 *
 * Each batch is one write to a file opened with O_APPEND, so several processes can share it.  The
 * built-in instance, which has no section, reads PACELINE_NULL_LEDGER and PACELINE_NULL_DELAY. */
#include "shared/clock.h"
#include "shared/conf.h"
#include "shared/log.h"
#include "shared/mem.h"
#include "worker/outcome.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <ev.h>
#include <xxhash.h>

struct null_settings {
    char *type, *ledger;
    int64_t delay_ms;
};

struct null_sender {
    struct ev_loop *loop;
    struct outcome_queue *queue;
    int64_t delay_ms;
    int ledger; /* -1 = none */
    uint64_t serial;
    struct buf lines; /* not written yet */
    ev_timer flush;
    bool broken; /* the ledger cannot be written: nothing counts as sent any more */
};

static const struct conf_key keys[] = {
    {"type", CONF_STR, offsetof(struct null_settings, type), "null", NULL, 0,
     "The kind of sender."},
    {"ledger", CONF_STR, offsetof(struct null_settings, ledger), NULL, NULL, 0,
     "File that gets a line for every send; for tests."},
    {"delay", CONF_MS, offsetof(struct null_settings, delay_ms), "0", "0..3600000", 0,
     "How long a send takes."},
    {0},
};

static void
write_ledger(struct null_sender *n)
{
    if (n->lines.len == 0 || n->broken) {
        return;
    }
    ssize_t w = write(n->ledger, n->lines.data, n->lines.len);
    if (w != (ssize_t)n->lines.len) {
        n->broken = true;
        log_error("null sender's ledger cannot be written", "why",
                  LOG_S(w < 0 ? strerror(errno) : "short write"));
    }
    buf_clear(&n->lines);
}

static const struct outcome *
before_report(void *arg)
{
    static const struct outcome lost = {
        .class = OUTCOME_UNKNOWN, .code = "ledger", .text = "the ledger cannot be written"};
    struct null_sender *n = arg;
    write_ledger(n);
    return n->broken ? &lost : NULL;
}

static void
on_flush(struct ev_loop *loop, ev_timer *w, int events)
{
    (void)loop, (void)events;
    write_ledger(w->data);
}

static bool
read_environment(struct null_settings *s, struct err *e)
{
    const char *ledger = getenv("PACELINE_NULL_LEDGER"), *delay = getenv("PACELINE_NULL_DELAY");
    if (ledger && *ledger) {
        s->ledger = xstrdup(ledger);
    }
    if (delay && *delay && (!conf_parse_ms(delay, &s->delay_ms) || s->delay_ms < 0)) {
        return err_set(e, ERR_INPUT, "PACELINE_NULL_DELAY: \"%s\" is no duration", delay);
    }
    return true;
}

static bool
null_open(struct ev_loop *loop, const struct conf_section *section, void **ret, struct err *e)
{
    struct null_settings s = {0};
    int fd = -1;
    bool ok = section ? conf_section_apply(section, keys, &s, e) : read_environment(&s, e);
    if (ok && s.ledger) {
        fd = open(s.ledger, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
        ok = fd >= 0 || err_set(e, ERR_INPUT, "ledger %s: %s", s.ledger, strerror(errno));
    }
    if (ok) {
        struct null_sender *n = xcalloc(1, sizeof *n);
        n->loop = loop;
        n->delay_ms = s.delay_ms;
        n->ledger = fd;
        n->queue = outcome_queue_new(loop, s.delay_ms, before_report, n);
        ev_timer_init(&n->flush, on_flush, 0., 0.);
        n->flush.data = n;
        *ret = n;
    }
    free(s.type);
    free(s.ledger);
    return ok;
}

/* Ids and numbers come from tables; a tab or a line end in one must not forge a column. */
static void
add_column(struct buf *b, const char *s)
{
    size_t from = b->len;
    buf_adds(b, s);
    for (; from < b->len; from++) {
        if ((unsigned char)b->data[from] < ' ') {
            b->data[from] = '?';
        }
    }
    buf_add(b, "\t", 1);
}

static void
add_line(struct null_sender *n, const struct message *m)
{
    struct timespec ts;
    (void)clock_gettime(CLOCK_REALTIME, &ts);
    struct buf *b = &n->lines;
    buf_addf(b, "%" PRId64 "\t%" PRId64 "\t%" PRIu64 "\t",
             (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000, clock_mono_us(), ++n->serial);
    add_column(b, m->job_id);
    buf_addf(b, "%d\t%" PRIu64 "\t", m->attempt, m->device_id);
    add_column(b, m->recipient);
    buf_addf(b, "%016" PRIx64 "\t%zu\t1\n", (uint64_t)XXH64(m->text, m->text_len, 0), m->text_len);
    if (!ev_is_active(&n->flush)) {
        ev_timer_set(&n->flush, 0., 0.);
        ev_timer_start(n->loop, &n->flush);
    }
}

static void
null_send(void *self, const struct message *m, sender_done *done, void *arg)
{
    struct null_sender *n = self;
    struct outcome o = {.class = OUTCOME_SENT, .code = "null", .send_ms = n->delay_ms};
    if (n->ledger >= 0) {
        add_line(n, m);
    }
    outcome_queue_add(n->queue, &o, done, arg);
}

static void
null_close(void *self)
{
    static const struct outcome closed = {
        .class = OUTCOME_UNKNOWN, .code = "closed", .text = "closed before the answer"};
    struct null_sender *n = self;
    outcome_queue_free(n->queue, &closed);
    ev_timer_stop(n->loop, &n->flush);
    if (n->ledger >= 0) {
        (void)close(n->ledger);
    }
    buf_done(&n->lines);
    free(n);
}

static int64_t
null_limit_ms(const void *self)
{
    return ((const struct null_sender *)self)->delay_ms + 1000;
}

static unsigned
null_can(const void *self)
{
    (void)self;
    return CAN_MEDIA_URL | CAN_MEDIA_BYTES | CAN_TEMPLATE;
}

const struct sender sender_null = {
    .type = "null",
    .open = null_open,
    .send = null_send,
    .close = null_close,
    .limit_ms = null_limit_ms,
    .can = null_can,
};
