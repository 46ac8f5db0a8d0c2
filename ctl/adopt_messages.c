/* adopt_messages.c -- the ledger of the older system.
 *
 * Its unique keys were missing, or had NULL columns and so guarded nothing; and they compared
 * phones as they were typed.  Here the job id, made of the new ids and the phone in international
 * form, says which rows are one message.  One of them gets that id; the others are kept beside it
 * under an id of their own ("..#dup" and the old id) and belong to no source, so that they can
 * neither be sent nor counted twice. */
#include "ctl/adopt_messages.h"

#include "shared/job.h"
#include "shared/mem.h"
#include "shared/render.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <xxhash.h>

enum { NAME = 190, ERROR_CHARS = 255, BYTES = 4 * ERROR_CHARS };

/* --- whose message it is ----------------------------------------------------------------- */

static bool
is_named(const char *id)
{
    return *id && strcmp(id, "0") != 0;
}

/* Rows without a natural key are the same message when all that is sent, and when, is the same. */
static void
plain_id(const struct rows *r, struct message *m)
{
    static const unsigned parts[] = {MESSAGE_CAMPAIGN, MESSAGE_SEQUENCE, MESSAGE_STEP,
                                     MESSAGE_CONTENT,  MESSAGE_MEDIA,    MESSAGE_AT};
    struct buf b = {0};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        if (r->field[parts[i]]) {
            buf_add(&b, r->field[parts[i]], r->length[parts[i]]);
        }
        buf_add(&b, "", 1);
    }
    buf_adds(&b, m->key.phone);
    (void)snprintf(m->job, sizeof m->job, "old-d%" PRIu64 "-%016" PRIx64, m->key.device,
                   (uint64_t)XXH64(b.data, b.len, 0));
    buf_done(&b);
}

/* Returns why it could not be sent any more, or NULL. */
static const char *
find_source(struct adopt *ad, const struct rows *r, uint64_t user, struct message *m)
{
    const char *campaign = rows_str(r, MESSAGE_CAMPAIGN), *step = rows_str(r, MESSAGE_STEP);
    const struct adopt_mapped *c = adopt_map_find(&ad->maps[ADOPT_CAMPAIGNS], campaign);
    const struct adopt_mapped *s =
        adopt_map_find(&ad->maps[ADOPT_SEQUENCES], rows_str(r, MESSAGE_SEQUENCE));
    const struct adopt_mapped *p = adopt_map_find(&ad->maps[ADOPT_STEPS], step);
    m->kind = "direct";
    if (is_named(campaign)) {
        if (!c || c->user != user) {
            plain_id(r, m);
            return "no_campaign";
        }
        m->kind = "campaign";
        m->campaign = c->id;
        (void)job_id_campaign(c->id, m->key.device, m->key.phone, 0, m->job);
        return strcmp(c->status, "cancelled") == 0 ? "cancelled" : NULL;
    }
    if (!is_named(step) && !is_named(rows_str(r, MESSAGE_SEQUENCE))) {
        plain_id(r, m);
        return NULL;
    }
    bool foreign = (s && s->user != user) || (p && p->user != user);
    m->sequence = foreign ? 0 : p ? p->parent : s ? s->id : 0;
    m->kind = m->sequence ? "sequence" : "direct";
    if (!p || !m->sequence) {
        plain_id(r, m);
    } else {
        m->step = p->id;
        (void)job_id_step(p->id, m->key.device, m->key.phone, 0, m->job);
    }
    return !m->sequence                               ? "no_sequence"
           : s && strcmp(s->status, "cancelled") == 0 ? "cancelled"
                                                      : NULL;
}

static const char *
text_obstacle(const struct message *m)
{
    bool own =
        m->content.len || !(m->campaign || m->media.len); /* otherwise it is the campaign's */
    return m->no_media                                                ? "no_media"
           : m->content.bad                                           ? "bad_text"
           : m->content.cut                                           ? "too_long"
           : own && !m->content.len                                   ? "empty"
           : own && !render_check(m->content.s, m->content.len, NULL) ? "bad_template"
                                                                      : NULL;
}

static void
read_times(struct adopt *ad, const struct rows *r, struct message *m)
{
    m->created = adopt_time_of(ad, ADOPT_MESSAGES, r, MESSAGE_CREATED);
    m->at = adopt_time_of(ad, ADOPT_MESSAGES, r, MESSAGE_AT);
    m->sent = adopt_time_of(ad, ADOPT_MESSAGES, r, MESSAGE_SENT);
    m->created = m->created ? m->created : ad->rules.now_ms;
    m->at = m->at ? m->at : m->created;
}

static bool
read_message(struct adopt *ad, const struct rows *r, struct message *m, struct err *e)
{
    struct adopt_line *line = &ad->lines[m->line];
    struct adopt_facts facts = {.has_sent_at = *rows_str(r, MESSAGE_SENT)};
    (void)snprintf(line->old_status, sizeof line->old_status, "%.60s", rows_str(r, MESSAGE_STATUS));
    if (!adopt_state_parse(rows_str(r, MESSAGE_STATUS), ad->flags->status, &facts.state)) {
        return err_set(e, ERR_RETRY,
                       "the row %s has changed meanwhile: stop the old system, and run this again",
                       line->old_id);
    }
    const char *obstacle = find_source(ad, r, line->user, m);
    m->name = adopt_text_of(ad, r, MESSAGE_NAME, NAME, BYTES);
    m->content = adopt_text_of(ad, r, MESSAGE_CONTENT, ADOPT_CONTENT_MAX, ADOPT_CONTENT_MAX);
    m->error = adopt_text_of(ad, r, MESSAGE_ERROR, ERROR_CHARS, BYTES);
    read_times(ad, r, m);
    m->no_media = !adopt_media(ad, rows_str(r, MESSAGE_MEDIA), &m->media);
    facts.obstacle = obstacle ? obstacle : text_obstacle(m);
    facts.scheduled_ms = m->at;
    struct adopt_verdict v = adopt_decide(&ad->rules, &facts);
    const char *text = m->content.bad ? "bad_text" : m->content.cut ? "too_long" : "";
    line->new_status = v.status;
    line->reason = *v.reason ? v.reason : text;
    return true;
}

/* --- writing ----------------------------------------------------------------------------- */

static void
add_id(struct sql *q, uint64_t id)
{
    sql_text(q, ", ");
    if (id) {
        sql_uint(q, id);
    } else {
        sql_text(q, "NULL");
    }
}

static void
message_sql(const struct adopt *ad, const struct message *m, struct sql *q)
{
    const struct adopt_line *line = &ad->lines[m->line];
    char at[ADOPT_TIME_SIZE], sent[ADOPT_TIME_SIZE], created[ADOPT_TIME_SIZE];
    bool is_sent = strcmp(line->new_status, "sent") == 0;
    (void)adopt_time_text(m->sent ? m->sent : m->at, sent);
    sql_addf(q, "(%s, %" PRIu64 ", %" PRIu64 ", %s", m->job, line->user, m->key.device, m->kind);
    add_id(q, m->campaign);
    add_id(q, m->sequence);
    add_id(q, m->step);
    add_id(q, m->key.lead);
    sql_addf(q, ", %s, %s, ", m->key.phone, m->name.s);
    if (m->content.len) {
        sql_bytes(q, m->content.s, m->content.len);
    } else {
        sql_text(q, "NULL");
    }
    sql_text(q, ", ");
    sql_str(q, m->media.data);
    sql_addf(q, ", %s, %s, %s, %s, %s, %s, UTC_TIMESTAMP(3))", adopt_time_text(m->at, at),
             line->new_status, m->sent || is_sent ? sent : NULL,
             *line->reason ? line->reason : NULL, m->error.len ? m->error.s : NULL,
             adopt_time_text(m->created, created));
}

/* Their way through the sequence, from which the reaper counts. */
static bool
write_contacts(struct adopt *ad, struct messages *b, struct err *e)
{
    struct sql q = {0};
    char at[ADOPT_TIME_SIZE], created[ADOPT_TIME_SIZE];
    size_t n = 0;
    sql_text(&q, "INSERT INTO sequence_contacts (sequence_id, user_id, device_id, lead_id, "
                 "recipient_phone, entry_sequence_id, enrolled_at, first_at, last_at, check_at, "
                 "total) VALUES ");
    for (size_t i = 0; i < b->n; i++) {
        const struct message *m = &b->items[i];
        if (m->sequence) {
            (void)adopt_time_text(m->at, at);
            sql_text(&q, n++ ? ", (" : "(");
            sql_addf(&q,
                     "%" PRIu64 ", %" PRIu64 ", %" PRIu64 ", %" PRIu64 ", %s, %" PRIu64
                     ", %s, %s, %s, UTC_TIMESTAMP(3), 1)",
                     m->sequence, ad->lines[m->line].user, m->key.device, m->key.lead, m->key.phone,
                     m->sequence, adopt_time_text(m->created, created), at, at);
        }
    }
    sql_text(&q, " ON DUPLICATE KEY UPDATE first_at = LEAST(first_at, VALUES(first_at)), last_at = "
                 "GREATEST(last_at, VALUES(last_at)), enrolled_at = LEAST(enrolled_at, "
                 "VALUES(enrolled_at)), status = 'active', ended_at = NULL, check_at = "
                 "VALUES(check_at), total = total + 1");
    bool ok = !n || store_exec(ad->store, &q, NULL, NULL, e);
    sql_done(&q);
    return ok;
}

/* In statements that fit into any server's packet. */
static bool
insert_messages(struct adopt *ad, const struct messages *b, struct err *e)
{
    enum { STATEMENT_BYTES = 1 << 20 };
    struct sql q = {0};
    bool ok = true;
    for (size_t i = 0; ok && i < b->n; i++) {
        sql_text(&q, q.text.len ? ", "
                                : "INSERT INTO broadcast_messages (job_id, user_id, device_id, "
                                  "kind, campaign_id, sequence_id, sequence_stepid, lead_id, "
                                  "recipient_phone, recipient_name, content, media, scheduled_at, "
                                  "status, "
                                  "sent_at, error_class, error_message, created_at, updated_at) "
                                  "VALUES ");
        message_sql(ad, &b->items[i], &q);
        if (q.text.len > STATEMENT_BYTES || i + 1 == b->n) {
            ok = store_exec(ad->store, &q, NULL, NULL, e);
            sql_clear(&q);
        }
    }
    sql_done(&q);
    return ok;
}

static bool
write_messages(struct adopt *ad, struct messages *b, struct err *e)
{
    struct adopt_key **keys = xcalloc(b->n + 1, sizeof(struct adopt_key *));
    for (size_t i = 0; i < b->n; i++) {
        keys[i] = &b->items[i].key;
    }
    bool ok = adopt_settle(ad, b, e) && adopt_find_leads(ad, keys, b->n, e) &&
              insert_messages(ad, b, e) && write_contacts(ad, b, e) && adopt_look(ad, b, e);
    for (size_t i = 0; ok && i < b->n; i++) {
        const struct there *x = adopt_there(b, b->items[i].job);
        ad->lines[b->items[i].line].new_id = x ? x->id : 0;
        ok = x || err_set(e, ERR_RETRY, "a row just written is gone: run this again");
    }
    free(keys);
    return ok;
}

bool
adopt_messages(struct adopt *ad, struct rows *r, struct err *e)
{
    bool ok = true;
    struct messages b = {.items = xcalloc(r->count, sizeof *b.items)};
    while (ok && rows_next(r)) {
        struct message *m = &b.items[b.n];
        struct adopt_line *line = adopt_line_add(ad, r);
        m->line = ad->n_lines - 1;
        (void)snprintf(line->old_status, sizeof line->old_status, "%.60s",
                       rows_str(r, MESSAGE_STATUS));
        if (adopt_recipient(ad, r, MESSAGE_USER, MESSAGE_DEVICE, MESSAGE_PHONE, line, &m->key)) {
            ok = read_message(ad, r, m, e);
            b.n++;
        } else if (ad->flags->dry_run) {
            (void)adopt_count(ad, ADOPT_MESSAGES, line, 1);
        }
    }
    if (ok && ad->flags->dry_run) {
        adopt_foresee(ad, &b);
    } else {
        ok = ok && (!b.n || write_messages(ad, &b, e));
    }
    for (size_t i = 0; i < b.n; i++) {
        free(b.items[i].name.s);
        free(b.items[i].content.s);
        buf_done(&b.items[i].media);
        free(b.items[i].error.s);
    }
    free(b.items);
    free(b.there);
    return ok;
}
