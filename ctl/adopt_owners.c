/* adopt_owners.c -- users, devices, campaigns, sequences and their steps: few rows, of which each
 * is written by itself, for its new id is needed. */
#include "ctl/adopt.h"
#include "shared/mem.h"
#include "shared/render.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <xxhash.h>

enum { NAME = 190, WORD = 64, BYTES = 4 * NAME };

/* Runs an INSERT, or makes an id up. */
static bool
insert(struct adopt *ad, const struct sql *q, uint64_t *ret_id, struct err *e)
{
    if (ad->flags->dry_run) {
        *ret_id = ++ad->made_up;
        return true;
    }
    return store_exec(ad->store, q, NULL, ret_id, e);
}

/* The id of the row that has these values already, or 0. */
static bool
find(struct adopt *ad, const struct sql *q, uint64_t *ret, struct err *e)
{
    struct rows r;
    if (!store_query(ad->store, q, &r, e)) {
        return false;
    }
    *ret = rows_next(&r) ? rows_uint(&r, 0) : 0;
    rows_done(&r);
    return true;
}

/* In a dry run, whether a row before this one has taken the name (of this seed) already. */
static bool
foresee_taken(struct adopt *ad, uint64_t seed, const char *name)
{
    char lower[BYTES + 1];
    size_t n = 0;
    for (; name[n] && n < BYTES; n++) {
        lower[n] = (char)tolower((unsigned char)name[n]);
    }
    return ad->flags->dry_run && adopt_slot(ad, XXH64(lower, n, seed)) != NULL;
}

/* A name that is free in `table` for this user: the text itself, or with the old id behind it. */
static bool
free_name(struct adopt *ad, const char *table, uint64_t user, struct adopt_line *line,
          struct adopt_text *name, struct err *e)
{
    struct sql q = {0};
    uint64_t taken = 1;
    char *plain = name->len ? xstrdup(name->s) : xasprintf("%s %s", table, line->old_id);
    bool ok = true;
    for (int i = 0; ok && taken && i < 3; i++) {
        free(name->s);
        name->s = i == 0 ? xstrdup(plain)
                         : xasprintf("%.*s (%s%.20s)", 120, plain, i == 1 ? "" : ad->flags->from,
                                     line->old_id);
        name->s[render_bad_utf8(name->s, strlen(name->s))] = '\0';
        line->reason = i ? "renamed" : line->reason;
        sql_clear(&q);
        sql_text(&q, "SELECT id FROM ");
        sql_text(&q, table);
        sql_addf(&q, " WHERE user_id = %" PRIu64 " AND name = %s", user, name->s);
        ok = find(ad, &q, &taken, e);
        taken = taken || foresee_taken(ad, 31 * user + strlen(table), name->s);
    }
    name->len = strlen(name->s);
    free(plain);
    sql_done(&q);
    return ok;
}

/* 0 when the row names nobody who was adopted. */
static uint64_t
owner(struct adopt *ad, const struct rows *r, unsigned column)
{
    bool has_users = *ad->found[ADOPT_USERS].name;
    const struct adopt_mapped *m =
        adopt_map_find(&ad->maps[ADOPT_USERS], has_users ? rows_str(r, column) : "");
    return m ? m->id : 0;
}

static bool
number(const struct rows *r, unsigned column, double *ret)
{
    char *end;
    const char *text = rows_str(r, column);
    *ret = strtod(text, &end);
    return end != text && *ret >= 0 && *ret < 1e8;
}

/* ", min_gap_ms = .., max_gap_ms = .." when the row says so; with nothing between two messages it
 * says nothing, for that is no pace. */
static void
add_gap(struct sql *q, const struct rows *r, unsigned column)
{
    double min, max;
    if (!number(r, column, &min) || !number(r, column + 1, &max) || max > 86400 || min > 86400 ||
        (min <= 0 && max <= 0)) {
        return;
    }
    sql_addf(q, ", min_gap_ms = %" PRId64 ", max_gap_ms = %" PRId64,
             (int64_t)(1000 * (min < max ? min : max)), (int64_t)(1000 * (min < max ? max : min)));
}

/* --- users and devices ------------------------------------------------------------------- */

static bool
one_user(struct adopt *ad, const char *name, struct adopt_line *line, struct err *e)
{
    struct sql q = {0};
    sql_addf(&q, "SELECT id FROM users WHERE name = %s", name);
    bool ok = find(ad, &q, &line->new_id, e);
    line->reason = line->new_id ? "same_name" : line->reason;
    if (ok && !line->new_id) {
        sql_clear(&q);
        sql_addf(&q, "INSERT INTO users (name, created_at) VALUES (%s, UTC_TIMESTAMP(3))", name);
        ok = insert(ad, &q, &line->new_id, e);
    }
    sql_done(&q);
    line->user = line->new_id;
    line->new_status = "adopted";
    return ok;
}

bool
adopt_users(struct adopt *ad, struct rows *r, struct err *e)
{
    bool ok = true;
    while (ok && rows_next(r)) {
        struct adopt_line *line = adopt_line_add(ad, r);
        struct adopt_text name = adopt_text_of(ad, r, USER_NAME, NAME, NAME);
        char *text = name.len ? xstrdup(name.s) : xasprintf("user %s", line->old_id);
        ok = one_user(ad, text, line, e);
        free(text);
        free(name.s);
    }
    return ok;
}

bool
adopt_only_user(struct adopt *ad, struct err *e)
{
    struct adopt_line line = {.new_status = "", .reason = ""};
    if (*ad->found[ADOPT_USERS].name) {
        return true;
    }
    bool ok = one_user(ad, ad->user, &line, e);
    if (ok) {
        adopt_map_put(&ad->maps[ADOPT_USERS], &line);
    }
    return ok;
}

/* What the device is sent through: --sender, else their word for it, made a name of ours. */
static void
sender_name(const struct adopt *ad, const struct rows *r, char out[WORD])
{
    size_t n = 0;
    const char *from = ad->flags->sender ? ad->flags->sender : rows_str(r, DEVICE_SENDER);
    for (; *from && n < WORD - 1; from++) {
        if (isalnum((unsigned char)*from) || strchr("_-", *from)) {
            out[n++] = (char)tolower((unsigned char)*from);
        }
    }
    out[n] = '\0';
    if (!n) {
        (void)snprintf(out, WORD,
                       "adopted"); /* no such sender: its jobs are held until it is set */
    }
}

static bool
one_device(struct adopt *ad, const struct rows *r, struct adopt_line *line, struct err *e)
{
    char phone[PHONE_SIZE], sender[WORD];
    struct sql q = {0};
    struct adopt_text name = adopt_text_of(ad, r, DEVICE_NAME, NAME, BYTES);
    struct adopt_text ref = adopt_text_of(ad, r, DEVICE_REF, NAME, BYTES);
    const char *number_text = rows_str(r, DEVICE_PHONE);
    bool ok = free_name(ad, "devices", line->user, line, &name, e);
    if (*number_text &&
        !phone_normalise(number_text, strlen(number_text), ad->flags->country, phone, NULL)) {
        line->reason = "bad_phone";
    }
    sender_name(ad, r, sender);
    sql_addf(&q,
             "INSERT INTO devices SET user_id = %" PRIu64
             ", name = %s, phone = %s, sender = %s, sender_ref = %s, status = 'paused', "
             "status_reason = 'adopted', time_zone = %s, created_at = UTC_TIMESTAMP(3), updated_at "
             "= UTC_TIMESTAMP(3)",
             line->user, name.s, *number_text ? phone : "", sender, ref.s, ad->flags->zone);
    add_gap(&q, r, DEVICE_MIN);
    ok = ok && insert(ad, &q, &line->new_id, e);
    line->new_status = "paused";
    sql_done(&q);
    free(name.s);
    free(ref.s);
    return ok;
}

bool
adopt_devices(struct adopt *ad, struct rows *r, struct err *e)
{
    bool ok = true;
    while (ok && rows_next(r)) {
        struct adopt_line *line = adopt_line_add(ad, r);
        line->user = owner(ad, r, DEVICE_USER);
        ok = line->user ? one_device(ad, r, line, e) : adopt_leave_out(line, "no_user");
    }
    return ok;
}

/* --- campaigns and sequences ------------------------------------------------------------- */

/* Into (column, device_id): the one that the row names, or all of the user. */
static bool
write_devices(struct adopt *ad, const char *head, const char *device, struct adopt_line *line,
              struct err *e)
{
    struct sql q = {0};
    struct adopt_map *m = &ad->maps[ADOPT_DEVICES];
    const struct adopt_mapped *one = *device ? adopt_map_find(m, device) : NULL;
    size_t n = 0;
    sql_text(&q, head);
    for (size_t i = 0; i < m->n; i++) {
        if (m->items[i].user == line->user && (!*device || one == &m->items[i])) {
            sql_addf(&q, n++ ? ", (%" PRIu64 ", %" PRIu64 ")" : "(%" PRIu64 ", %" PRIu64 ")",
                     line->new_id, m->items[i].id);
        }
    }
    line->reason = n ? line->reason : "no_device";
    bool ok = !n || ad->flags->dry_run || store_exec(ad->store, &q, NULL, NULL, e);
    sql_done(&q);
    return ok;
}

/* What can be said against a text that is to be sent later. */
static const char *
text_reason(const struct adopt_text *t)
{
    return t->bad                              ? "bad_text"
           : t->cut                            ? "too_long"
           : !t->len                           ? "empty"
           : !render_check(t->s, t->len, NULL) ? "bad_template"
                                               : "";
}

static bool
changed_meanwhile(const struct adopt_line *line, struct err *e)
{
    return err_set(e, ERR_RETRY,
                   "the row %s has changed meanwhile: stop the old system, and run this again",
                   line->old_id);
}

static int64_t
campaign_time(struct adopt *ad, const struct rows *r)
{
    char text[64];
    int64_t ms;
    bool moved;
    if (!*rows_str(r, CAMPAIGN_TIME)) {
        return adopt_time_of(ad, ADOPT_CAMPAIGNS, r, CAMPAIGN_AT);
    }
    (void)snprintf(text, sizeof text, "%.10s %.40s", rows_str(r, CAMPAIGN_AT),
                   rows_str(r, CAMPAIGN_TIME));
    if (!adopt_time(text, ad->zone, &ms, &moved)) {
        ad->bad_times++;
        return 0;
    }
    ad->moved_times += moved;
    return ms;
}

static void
campaign_sql(struct adopt *ad, const struct rows *r, struct adopt_line *line, struct sql *q)
{
    char at[ADOPT_TIME_SIZE];
    struct adopt_text niche = adopt_text_of(ad, r, CAMPAIGN_NICHE, WORD, BYTES);
    struct adopt_text target = adopt_text_of(ad, r, CAMPAIGN_TARGET, WORD, BYTES);
    struct adopt_text content =
        adopt_text_of(ad, r, CAMPAIGN_CONTENT, ADOPT_CONTENT_MAX, ADOPT_CONTENT_MAX);
    int64_t ms = campaign_time(ad, r);
    const char *said = text_reason(&content);
    line->reason = *said ? said : line->reason;
    struct buf media = {0};
    if (!adopt_media(ad, rows_str(r, CAMPAIGN_MEDIA), &media)) {
        line->reason = "no_media";
    }
    sql_addf(q,
             ", status = %s, niche = %s, target_status = %s, scheduled_at = %s, finished_at = "
             "IF(%d, UTC_TIMESTAMP(3), NULL), created_at = UTC_TIMESTAMP(3), updated_at = "
             "UTC_TIMESTAMP(3), content = ",
             line->new_status, niche.s, target.s, adopt_time_text(ms ? ms : ad->rules.now_ms, at),
             strcmp(line->new_status, "paused") != 0);
    sql_bytes(q, content.s, content.len);
    sql_text(q, ", media = ");
    sql_str(q, media.data);
    add_gap(q, r, CAMPAIGN_MIN);
    buf_done(&media);
    free(niche.s);
    free(target.s);
    free(content.s);
}

static bool
one_campaign(struct adopt *ad, const struct rows *r, struct adopt_line *line, struct err *e)
{
    struct sql q = {0};
    struct adopt_text name = adopt_text_of(ad, r, CAMPAIGN_NAME, NAME, BYTES);
    line->new_status =
        adopt_source_status(ADOPT_CAMPAIGNS, rows_str(r, CAMPAIGN_STATUS), ad->flags->status);
    if (!line->new_status) {
        free(name.s);
        return changed_meanwhile(line, e);
    }
    (void)snprintf(line->old_status, sizeof line->old_status, "%.60s",
                   rows_str(r, CAMPAIGN_STATUS));
    bool ok = free_name(ad, "campaigns", line->user, line, &name, e);
    sql_addf(&q, "INSERT INTO campaigns SET user_id = %" PRIu64 ", name = %s", line->user, name.s);
    campaign_sql(ad, r, line, &q);
    ok = ok && insert(ad, &q, &line->new_id, e) &&
         write_devices(ad, "INSERT INTO campaign_devices (campaign_id, device_id) VALUES ",
                       rows_str(r, CAMPAIGN_DEVICE), line, e);
    sql_done(&q);
    free(name.s);
    return ok;
}

bool
adopt_campaigns(struct adopt *ad, struct rows *r, struct err *e)
{
    bool ok = true;
    while (ok && rows_next(r)) {
        struct adopt_line *line = adopt_line_add(ad, r);
        line->user = owner(ad, r, CAMPAIGN_USER);
        ok = line->user ? one_campaign(ad, r, line, e) : adopt_leave_out(line, "no_user");
    }
    return ok;
}

/* A word enrols in one sequence: the first that has it. */
static bool
free_trigger(struct adopt *ad, struct adopt_line *line, struct adopt_text *trigger, struct err *e)
{
    struct sql q = {0};
    uint64_t taken = 0;
    sql_addf(&q, "SELECT id FROM sequences WHERE user_id = %" PRIu64 " AND `trigger` = %s",
             line->user, trigger->s);
    bool ok = !trigger->len || find(ad, &q, &taken, e);
    taken = taken || (trigger->len && foresee_taken(ad, 31 * line->user, trigger->s));
    sql_done(&q);
    if (taken) {
        line->reason = "trigger_taken";
        trigger->len = 0;
    }
    return ok;
}

static bool
one_sequence(struct adopt *ad, const struct rows *r, struct adopt_line *line, struct err *e)
{
    struct sql q = {0};
    struct adopt_text name = adopt_text_of(ad, r, SEQUENCE_NAME, NAME, BYTES);
    struct adopt_text trigger = adopt_text_of(ad, r, SEQUENCE_TRIGGER, WORD, BYTES);
    const char *word = rows_str(r, SEQUENCE_STATUS), *device = rows_str(r, SEQUENCE_DEVICE);
    const char *status =
        *word ? adopt_source_status(ADOPT_SEQUENCES, word, ad->flags->status) : "paused";
    if (!status) {
        free(name.s);
        free(trigger.s);
        return changed_meanwhile(line, e);
    }
    line->new_status = status;
    (void)snprintf(line->old_status, sizeof line->old_status, "%.60s", word);
    bool ok = free_name(ad, "sequences", line->user, line, &name, e) &&
              free_trigger(ad, line, &trigger, e);
    sql_addf(&q,
             "INSERT INTO sequences SET user_id = %" PRIu64
             ", name = %s, status = %s, all_devices = %d, finished_at = IF(%d, UTC_TIMESTAMP(3), "
             "NULL), created_at = UTC_TIMESTAMP(3), updated_at = UTC_TIMESTAMP(3), `trigger` = ",
             line->user, name.s, line->new_status, !*device,
             strcmp(line->new_status, "paused") != 0);
    sql_str(&q, trigger.len ? trigger.s : NULL);
    add_gap(&q, r, SEQUENCE_MIN);
    ok = ok && insert(ad, &q, &line->new_id, e) &&
         (!*device ||
          write_devices(ad, "INSERT INTO sequence_devices (sequence_id, device_id) VALUES ", device,
                        line, e));
    sql_done(&q);
    free(name.s);
    free(trigger.s);
    return ok;
}

bool
adopt_sequences(struct adopt *ad, struct rows *r, struct err *e)
{
    bool ok = true;
    while (ok && rows_next(r)) {
        struct adopt_line *line = adopt_line_add(ad, r);
        line->user = owner(ad, r, SEQUENCE_USER);
        ok = line->user ? one_sequence(ad, r, line, e) : adopt_leave_out(line, "no_user");
    }
    return ok;
}

/* From the step before: their hours, or the days between the two. */
static int64_t
step_delay_s(const struct rows *r)
{
    enum { BEFORE = STEP_MEDIA + 1, PREVIOUS_DAY };
    double hours, day, previous;
    if (number(r, STEP_HOURS, &hours) && hours < 87600) {
        return (int64_t)(3600 * hours);
    }
    if (!rows_int(r, BEFORE)) {
        return 0;
    }
    bool known = number(r, STEP_DAY, &day) && number(r, PREVIOUS_DAY, &previous) &&
                 day >= previous && day - previous < 3650;
    return known ? (int64_t)(86400 * (day - previous)) : 86400;
}

static bool
one_step(struct adopt *ad, const struct rows *r, struct adopt_line *line, struct err *e)
{
    struct sql q = {0};
    struct adopt_text content =
        adopt_text_of(ad, r, STEP_CONTENT, ADOPT_CONTENT_MAX, ADOPT_CONTENT_MAX);
    line->reason = text_reason(&content);
    struct buf media = {0};
    if (!adopt_media(ad, rows_str(r, STEP_MEDIA), &media)) {
        line->reason = "no_media";
    }
    sql_addf(&q,
             "INSERT INTO sequence_steps SET sequence_id = %" PRIu64 ", position = %" PRId64
             ", delay_s = %" PRId64 ", content = ",
             line->parent, rows_int(r, STEP_MEDIA + 1) + 1, step_delay_s(r));
    sql_bytes(&q, content.s, content.len);
    sql_text(&q, ", media = ");
    sql_str(&q, media.data);
    buf_done(&media);
    bool ok = insert(ad, &q, &line->new_id, e);
    line->new_status = "adopted";
    sql_done(&q);
    free(content.s);
    return ok;
}

bool
adopt_steps(struct adopt *ad, struct rows *r, struct err *e)
{
    bool ok = true;
    while (ok && rows_next(r)) {
        struct adopt_line *line = adopt_line_add(ad, r);
        const struct adopt_mapped *m =
            adopt_map_find(&ad->maps[ADOPT_SEQUENCES], rows_str(r, STEP_SEQUENCE));
        line->parent = m ? m->id : 0;
        line->user = m ? m->user : 0;
        ok = m ? one_step(ad, r, line, e) : adopt_leave_out(line, "no_sequence");
    }
    return ok;
}
