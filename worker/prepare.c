/* prepare.c -- a claimed job becomes a message: payload decoded, sender found, text rendered, pace
 * drawn.  What cannot be sent fails with its reason; what may not be sent now is given back. */
#include "shared/clock.h"
#include "shared/log.h"
#include "shared/tz.h"
#include "worker/pace.h"
#include "worker/worker.h"

#include <stdio.h>
#include <string.h>

/* A template or a medium that this sender cannot use may be the same in all of the source. */
enum { NO_SENDER_MS = 30000, ALIKE = 3 };

const struct sender_instance *
worker_sender(const struct worker *w, const char *name, size_t len)
{
    for (size_t i = 0; i < w->n_senders; i++) {
        if (strlen(w->senders[i].name) == len && memcmp(w->senders[i].name, name, len) == 0) {
            return &w->senders[i];
        }
    }
    return NULL;
}

/* Copies a text behind *at with a NUL and moves *at. */
static const char *
keep_text(char **at, struct job_text t)
{
    char *s = *at;
    memcpy(s, t.s, t.len);
    s[t.len] = '\0';
    *at += t.len + 1;
    return s;
}

static bool
render_text(struct delivery *d, char *at, int64_t now_ms, struct err *e)
{
    const struct job *j = &d->job;
    struct render_var vars[JOB_VARS_MAX + 3];
    size_t n = 0;
    const char *name = keep_text(&at, j->name);
    d->message.recipient = keep_text(&at, j->recipient);
    d->message.device_ref = keep_text(&at, j->device_ref);
    d->message.name = name;
    vars[n++] = (struct render_var){"name", name};
    vars[n++] = (struct render_var){"recipient_name", name};
    vars[n++] = (struct render_var){"phone", d->message.recipient};
    for (size_t i = 0; i < j->n_vars; i++) {
        const char *key = keep_text(&at, j->vars[2 * i]);
        vars[n++] = (struct render_var){key, keep_text(&at, j->vars[2 * i + 1])};
    }
    struct compose_choice choice;
    struct compose_message m = {
        .template_text = j->content.s,
        .template_len = j->content.len,
        .job_id = d->lease.id,
        .vars = vars,
        .n_vars = n,
        .now_ms = now_ms,
    };
    m.zone = keep_text(&at, j->zone);
    m.language = keep_text(&at, j->language);
    bool ok = compose(d->part->w->composer, &m, &d->text, &choice, e);
    ok = ok && (!d->parts || parts_render(d->parts, d->part->w->composer, &m, e));
    if (ok && choice.bad_zone) {
        log_warn("zone_unknown", "job", LOG_S(d->lease.id), "zone", LOG_S(choice.bad_zone), "why",
                 LOG_S(choice.bad_zone_error.text), "used", LOG_S(choice.zone));
    }
    return ok;
}

/* Characters, since that is what providers count. */
static bool
check_length(const struct delivery *d, struct err *e)
{
    const struct sender_instance *s = d->sender;
    bool caption = d->parts && d->parts->has_media;
    bool unused = d->parts && d->parts->has_template;
    size_t max = s->type->max_chars && !unused ? s->type->max_chars(s->self, caption) : 0;
    size_t n = max ? render_chars(d->text.data, d->text.len) : 0;
    return n <= max ||
           err_set(e, ERR_INPUT,
                   "the %s has %zu characters, more than the %zu that sender %s takes; shorten "
                   "the template or the values",
                   caption ? "caption" : "text", n, max, s->name);
}

/* What this sender cannot.  An audio's caption would be lost. */
static bool
check_parts(const struct delivery *d, struct err *e)
{
    const struct sender_instance *s = d->sender;
    if (d->parts && d->parts->has_media && d->parts->ref.kind == MEDIA_AUDIO &&
        d->job.content.len && !d->parts->has_template) {
        return err_set(e, ERR_INPUT, "an audio has no caption; send the text by itself");
    }
    return !d->parts || parts_fit(d->parts, s->type->can ? s->type->can(s->self) : 0, e) ||
           err_wrap(e, "sender %s", s->name);
}

void
prepare_cannot_send(struct delivery *d, const char *code, const char *why)
{
    d->outcome =
        (struct outcome){.class = OUTCOME_REJECTED, .scope = SCOPE_MESSAGE, .stop_after = ALIKE};
    (void)snprintf(d->outcome.code, sizeof d->outcome.code, "%s", code);
    (void)snprintf(d->outcome.text, sizeof d->outcome.text, "%s", why);
    d->kind = "failed";
    deliver_count(d->kind);
    log_warn("unsendable", "job", LOG_S(d->lease.id), "code", LOG_S(code), "why", LOG_S(why));
    deliver_step(d, EVENT_UNSENDABLE);
}

/* Unsent, to be served again after hold_ms, by whichever worker. */
void
prepare_give_back(struct delivery *d, int64_t hold_ms, const char *why)
{
    d->hold_ms = hold_ms;
    d->hold_why = why;
    deliver_step(d, EVENT_HOLD);
}

/* The last zone asked for is kept: devices of one fleet rarely live in more than a few. */
static const struct tz *
zone(const char *name)
{
    static char last[64];
    static struct tz *tz;
    struct err e = {0};
    if (strcmp(last, name) != 0) {
        tz_free(tz);
        tz = NULL;
        (void)snprintf(last, sizeof last, "%s", name);
        if (!tz_load(name, &tz, &e)) {
            tz = NULL;
            log_warn("zone_unknown", "zone", LOG_S(name), "why", LOG_S(e.text), "used",
                     LOG_S("UTC"));
        }
    }
    return tz;
}

static int64_t
quiet_left(const char *text, int64_t now_ms)
{
    struct quiet quiet;
    if (!pace_quiet_parse(text, &quiet)) {
        return 0;
    }
    return pace_quiet_left_ms(&quiet, quiet.zone[0] ? zone(quiet.zone) : NULL, now_ms);
}

static void
set_pace(struct delivery *d, const struct queue_claimed *c)
{
    const struct job *j = &d->job;
    d->gap_ms = pace_gap_ms(d->lease.id, j->gap_min_ms >= 0 ? j->gap_min_ms : c->gap_min_ms,
                            j->gap_max_ms >= 0 ? j->gap_max_ms : c->gap_max_ms);
    d->batch_size = j->batch_size >= 0 ? j->batch_size : c->batch_size;
    d->batch_pause_ms = j->batch_pause_ms >= 0 ? j->batch_pause_ms : c->batch_pause_ms;
}

void
prepare_ready(struct delivery *d)
{
    if (d->part->w->draining) {
        prepare_give_back(d, 0, "drain");
        return;
    }
    d->message.media = d->parts && d->parts->has_media ? &d->parts->media : NULL;
    d->message.template = d->parts && d->parts->has_template ? &d->parts->template : NULL;
    deliver_step(d, EVENT_READY);
}

/* A device's sender and reference may have been mended since the job was made. */
static void
take_settings(struct delivery *d, const struct queue_claimed *c, char *at)
{
    size_t sender = strlen(c->sender), ref = strlen(c->ref);
    memcpy(at, c->sender, sender);
    memcpy(at + sender, c->ref, ref);
    d->job.sender = (struct job_text){at, sender};
    d->job.device_ref = (struct job_text){at + sender, ref};
}

void
prepare_delivery(struct part *part, const struct queue_claimed *c, int64_t now_ms)
{
    struct worker *w = part->w;
    struct delivery *d = xcalloc(1, sizeof *d);
    struct err e = {0};
    d->part = part;
    d->state = DELIVERY_CLAIMED;
    d->lease = c->lease;
    d->row = c->row;
    d->claimed_us = clock_mono_us();
    d->leased_ms = d->claimed_us / 1000;
    (void)snprintf(d->source, sizeof d->source, "%s", c->source);
    (void)snprintf(d->account, sizeof d->account, "%s", c->account);
    deliver_add(d);
    /* The payload and the device's settings, and behind them every text again with a NUL: at most
     * as many bytes, plus one for each. */
    size_t payload = c->payload_len <= JOB_BYTES_MAX ? c->payload_len : 0;
    size_t size = payload + strlen(c->sender) + strlen(c->ref);
    d->memory = xmalloc(2 * size + 2 * JOB_VARS_MAX + 16);
    memcpy(d->memory, c->payload, payload);
    if (!job_decode(d->memory, c->payload_len, &d->job, &e)) {
        prepare_cannot_send(d, "bad-payload", e.text);
        return;
    }
    if (d->job.device != c->lease.device || d->job.row != c->row) {
        prepare_cannot_send(d, "bad-payload", "the payload belongs to another device or row");
        return;
    }
    if (*c->sender) {
        take_settings(d, c, d->memory + payload);
    }
    d->sender = worker_sender(w, d->job.sender.s, d->job.sender.len);
    if (!d->sender) {
        char name[65];
        (void)snprintf(name, sizeof name, "%.*s",
                       (int)(d->job.sender.len < 64 ? d->job.sender.len : 64), d->job.sender.s);
        log_warn("no_sender", "job", LOG_S(d->lease.id), "sender", LOG_S(name), "cure",
                 LOG_S("add a [sender NAME] section to this worker's configuration"));
        prepare_give_back(d, NO_SENDER_MS, "no-sender");
        return;
    }
    if (!parts_read(&d->job, &d->parts, &e)) {
        prepare_cannot_send(d, "bad-payload", e.text);
        return;
    }
    if (!check_parts(d, &e)) {
        prepare_cannot_send(d, "unsupported", e.text);
        return;
    }
    if (!render_text(d, d->memory + size, now_ms, &e)) {
        prepare_cannot_send(d, "bad-template", e.text);
        return;
    }
    if (!check_length(d, &e)) {
        prepare_cannot_send(d, "too-long", e.text);
        return;
    }
    set_pace(d, c);
    (void)queue_who(d->job.recipient.s, d->job.recipient.len, d->who);
    d->message.job_id = d->lease.id;
    d->message.attempt = (int)d->job.attempt;
    d->message.device_id = d->lease.device;
    d->message.text = d->text.data ? d->text.data : "";
    d->message.text_len = d->text.len;
    int64_t quiet_ms = quiet_left(c->quiet, now_ms);
    if (quiet_ms || w->draining) {
        prepare_give_back(d, quiet_ms, "quiet");
        return;
    }
    media_begin(d);
}
