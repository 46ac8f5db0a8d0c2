/* adopt_messages.c -- the ledger of the older system.
 *
 * Its unique keys were missing, or had NULL columns and so guarded nothing; and they compared
 * phones as they were typed.  Here the job id, made of the new ids and the phone in international
 * form, says which rows are one message.  One of them gets that id; the others are kept beside it
 * under an id of their own ("..#dup" and the old id) and belong to no source, so that they can
 * neither be sent nor counted twice. */
#include "ctl/adopt.h"
#include "shared/job.h"
#include "shared/mem.h"
#include "shared/render.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <xxhash.h>

enum { NAME = 190, ERROR_CHARS = 255, BYTES = 4 * ERROR_CHARS, STATUS_SIZE = 16 };

struct message {
    struct adopt_key key;
    char job[JOB_ID_SIZE];
    size_t line;
    const char *kind;
    uint64_t campaign, sequence, step;
    struct adopt_text name, content, error;
    int64_t at, sent, created;
    bool loser;
};

/* A row of ours. */
struct there {
    char job[JOB_ID_SIZE], status[STATUS_SIZE];
    uint64_t id;
};

struct messages {
    struct message *items;
    size_t n;
    struct there *there;
    size_t n_there;
};

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
text_obstacle(const struct message *m, const struct rows *r)
{
    bool own = m->content.len || !m->campaign; /* otherwise it is the campaign's */
    return *rows_str(r, MESSAGE_MEDIA)                                ? "no_media"
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
    ad->media += *rows_str(r, MESSAGE_MEDIA) != '\0';
    facts.obstacle = obstacle ? obstacle : text_obstacle(m, r);
    facts.scheduled_ms = m->at;
    struct adopt_verdict v = adopt_decide(&ad->rules, &facts);
    const char *text = m->content.bad ? "bad_text" : m->content.cut ? "too_long" : "";
    line->new_status = v.status;
    line->reason = *v.reason ? v.reason : text;
    return true;
}

/* --- duplicates -------------------------------------------------------------------------- */

static void
duplicate_id(char job[JOB_ID_SIZE], const char *old_id)
{
    char id[2 * JOB_ID_SIZE + 8];
    (void)snprintf(id, sizeof id, "%s#dup%s", job, old_id);
    if (!job_id_is_good(id)) { /* too long, or of other letters */
        (void)snprintf(id, sizeof id, "%.44s#dup%016" PRIx64, job,
                       (uint64_t)XXH64(old_id, strlen(old_id), 0));
    }
    (void)snprintf(job, JOB_ID_SIZE, "%.64s", id);
}

static void
lose(struct adopt *ad, struct message *m, const char *status)
{
    struct adopt_line *line = &ad->lines[m->line];
    line->new_status = status;
    line->reason = "duplicate";
    m->loser = true;
    m->campaign = m->sequence = m->step = 0;
    duplicate_id(m->job, line->old_id);
}

/* In a dry run the slot of a job id knows only the flow of the row that has it so far. */
static void
foresee(struct adopt *ad, struct messages *b)
{
    for (size_t i = 0; i < b->n; i++) {
        struct message *m = &b->items[i];
        struct adopt_line *line = &ad->lines[m->line];
        uint64_t hash = XXH64(m->job, strlen(m->job), 1), *slot = adopt_slot(ad, hash);
        if (!slot) {
            slot = adopt_slot(ad, hash);
            *slot |= adopt_count(ad, ADOPT_MESSAGES, line, 1) & 0xff;
            continue;
        }
        struct adopt_flow *f = &ad->flows[*slot & 0xff];
        struct adopt_resolution d =
            adopt_resolve(ad->rules.keep_first, f->new_status, line->new_status);
        struct adopt_line first = {.new_status = d.later_wins ? d.loser : d.winner,
                                   .reason = "duplicate"};
        (void)snprintf(first.old_status, sizeof first.old_status, "%s", f->old_status);
        if (!d.later_wins && strcmp(first.new_status, f->new_status) == 0) {
            first.reason = f->reason;
        }
        char reason[32], status[STATUS_SIZE];
        (void)snprintf(reason, sizeof reason, "%s", first.reason);
        (void)snprintf(status, sizeof status, "%s", first.new_status);
        first.reason = reason;
        first.new_status = status;
        f->n--;
        size_t at = adopt_count(ad, ADOPT_MESSAGES, &first, 1);
        if (!d.later_wins) {
            line->new_status = d.loser;
            line->reason = "duplicate";
        }
        size_t own = adopt_count(ad, ADOPT_MESSAGES, line, 1);
        *slot = (*slot & ~(uint64_t)0xff) | ((d.later_wins ? own : at) & 0xff);
    }
}

static int
compare(const void *a, const void *b)
{
    const struct there *x = a, *y = b;
    return strcmp(x->job, y->job);
}

static struct there *
there_find(const struct messages *b, const char *job)
{
    struct there key;
    (void)snprintf(key.job, sizeof key.job, "%s", job);
    return b->n_there ? bsearch(&key, b->there, b->n_there, sizeof key, compare) : NULL;
}

/* The rows of ours with the job ids of the batch. */
static bool
look(struct adopt *ad, struct messages *b, struct err *e)
{
    struct sql q = {0};
    struct rows r;
    sql_text(&q, "SELECT job_id, status, id FROM broadcast_messages WHERE job_id IN (");
    for (size_t i = 0; i < b->n; i++) {
        sql_addf(&q, i ? ", %s" : "%s", b->items[i].job);
    }
    sql_text(&q, ") FOR UPDATE");
    bool ok = store_query(ad->store, &q, &r, e);
    sql_done(&q);
    free(b->there);
    b->there = xcalloc(r.count + 1, sizeof *b->there);
    b->n_there = 0;
    while (ok && rows_next(&r)) {
        struct there *x = &b->there[b->n_there++];
        (void)snprintf(x->job, sizeof x->job, "%s", rows_str(&r, 0));
        (void)snprintf(x->status, sizeof x->status, "%s", rows_str(&r, 1));
        x->id = rows_uint(&r, 2);
    }
    rows_done(&r);
    qsort(b->there, b->n_there, sizeof *b->there, compare);
    return ok;
}

/* The old id of a row that this adoption made, "" of any other. */
static bool
old_id_of(struct adopt *ad, uint64_t id, char out[ADOPT_ID_SIZE], struct err *e)
{
    struct rows r;
    if (!store_queryf(ad->store, &r, e,
                      "SELECT old_id FROM adoptions WHERE source = %s AND table_name = "
                      "'broadcast_messages' AND new_id = %" PRIu64,
                      ad->flags->from, id)) {
        return false;
    }
    (void)snprintf(out, ADOPT_ID_SIZE, "%s", rows_next(&r) ? rows_str(&r, 0) : "");
    rows_done(&r);
    return true;
}

/* The row of an earlier batch has another status from now on and, with old_id, another id. */
static bool
change_first(struct adopt *ad, const struct there *x, const char *status, const char *old_id,
             struct err *e)
{
    struct sql q = {0};
    char job[JOB_ID_SIZE];
    (void)snprintf(job, sizeof job, "%s", x->job);
    sql_addf(&q, "UPDATE broadcast_messages SET status = %s, error_class = 'duplicate'", status);
    if (old_id) {
        duplicate_id(job, old_id);
        sql_addf(&q,
                 ", job_id = %s, campaign_id = NULL, sequence_id = NULL, sequence_stepid = NULL",
                 job);
    }
    sql_addf(&q, ", updated_at = UTC_TIMESTAMP(3) WHERE id = %" PRIu64, x->id);
    bool ok = store_exec(ad->store, &q, NULL, NULL, e) &&
              store_execf(ad->store, NULL, e,
                          "UPDATE adoptions SET new_status = %s, reason = 'duplicate' WHERE source "
                          "= %s AND table_name = 'broadcast_messages' AND new_id = %" PRIu64,
                          status, ad->flags->from, x->id);
    sql_done(&q);
    return ok;
}

static bool
resolve_there(struct adopt *ad, struct message *m, struct there *x, struct err *e)
{
    char old_id[ADOPT_ID_SIZE];
    struct there first = *x; /* what it was: d may point to its status */
    struct adopt_resolution d =
        adopt_resolve(ad->rules.keep_first, first.status, ad->lines[m->line].new_status);
    if (!old_id_of(ad, x->id, old_id, e)) {
        return false;
    }
    if (!*old_id) { /* a producer's: it keeps its id */
        d = adopt_resolve(true, first.status, ad->lines[m->line].new_status);
    }
    if (d.later_wins) {
        *x->status = '\0'; /* its place is taken by m, which is in the batch */
        return change_first(ad, &first, d.loser, old_id, e);
    }
    bool changes = strcmp(d.winner, x->status) != 0;
    if (changes && !change_first(ad, x, d.winner, NULL, e)) {
        return false;
    }
    if (changes) {
        (void)snprintf(x->status, sizeof x->status, "%s", d.winner);
    }
    lose(ad, m, d.loser);
    return true;
}

static void
resolve_batch(struct adopt *ad, struct message *first, struct message *later)
{
    struct adopt_line *a = &ad->lines[first->line], *b = &ad->lines[later->line];
    struct adopt_resolution d = adopt_resolve(ad->rules.keep_first, a->new_status, b->new_status);
    if (d.later_wins) {
        lose(ad, first, d.loser);
        return;
    }
    if (strcmp(a->new_status, d.winner) != 0) {
        a->new_status = d.winner;
        a->reason = "duplicate";
    }
    lose(ad, later, d.loser);
}

static bool
resolve(struct adopt *ad, struct messages *b, struct err *e)
{
    bool ok = look(ad, b, e);
    for (size_t i = 0; ok && i < b->n; i++) {
        struct message *m = &b->items[i], *first = NULL;
        for (size_t k = 0; !first && k < i; k++) {
            if (!b->items[k].loser && strcmp(b->items[k].job, m->job) == 0) {
                first = &b->items[k];
            }
        }
        struct there *x = first ? NULL : there_find(b, m->job);
        if (first) {
            resolve_batch(ad, first, m);
        } else if (x && *x->status) {
            ok = resolve_there(ad, m, x, e);
        }
    }
    return ok;
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
                                  "recipient_phone, recipient_name, content, scheduled_at, status, "
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
    bool ok = resolve(ad, b, e) && adopt_find_leads(ad, keys, b->n, e) &&
              insert_messages(ad, b, e) && write_contacts(ad, b, e) && look(ad, b, e);
    for (size_t i = 0; ok && i < b->n; i++) {
        const struct there *x = there_find(b, b->items[i].job);
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
        foresee(ad, &b);
    } else {
        ok = ok && (!b.n || write_messages(ad, &b, e));
    }
    for (size_t i = 0; i < b.n; i++) {
        free(b.items[i].name.s);
        free(b.items[i].content.s);
        free(b.items[i].error.s);
    }
    free(b.items);
    free(b.there);
    return ok;
}
