#include "ctl/adopt.h"
#include "shared/fault.h"
#include "shared/mem.h"
#include "shared/render.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static adopt_convert *const converters[ADOPT_TABLES] = {
    [ADOPT_USERS] = adopt_users,         [ADOPT_DEVICES] = adopt_devices,
    [ADOPT_LEADS] = adopt_leads,         [ADOPT_CAMPAIGNS] = adopt_campaigns,
    [ADOPT_SEQUENCES] = adopt_sequences, [ADOPT_STEPS] = adopt_steps,
    [ADOPT_MESSAGES] = adopt_messages,
};

/* --- values ------------------------------------------------------------------------------ */

/* The bytes of the whole characters that fit. */
static size_t
fitting(const char *s, size_t len, size_t chars, size_t bytes)
{
    size_t end = 0;
    for (size_t i = 0, n = 0; i <= len && i <= bytes && n <= chars; i++) {
        if (i == len || ((unsigned char)s[i] & 0xc0) != 0x80) {
            end = i;
            n++;
        }
    }
    return end;
}

struct adopt_text
adopt_text_of(struct adopt *ad, const struct rows *r, unsigned column, size_t chars, size_t bytes)
{
    struct adopt_text t = {.len = r->field[column] ? r->length[column] : 0};
    t.s = xmalloc(t.len + 1);
    memcpy(t.s, rows_str(r, column), t.len);
    t.s[t.len] = '\0';
    for (size_t at = 0; (at += render_bad_utf8(t.s + at, t.len - at)) < t.len;) {
        t.s[at] = '?';
        t.bad = true;
    }
    for (char *nul; (nul = memchr(t.s, '\0', t.len)) != NULL;) { /* no text of ours has one */
        *nul = '?';
        t.bad = true;
    }
    size_t end = fitting(t.s, t.len, chars, bytes);
    t.cut = end < t.len;
    t.len = end;
    t.s[t.len] = '\0';
    ad->mended += t.bad;
    ad->shortened += t.cut;
    return t;
}

int64_t
adopt_time_of(struct adopt *ad, enum adopt_table t, const struct rows *r, unsigned column)
{
    int64_t ms;
    bool moved;
    const char *text = rows_str(r, column);
    if (!*text) {
        return 0;
    }
    if (!adopt_time(text, ad->found[t].local[column] ? ad->zone : NULL, &ms, &moved)) {
        ad->bad_times++;
        return 0;
    }
    ad->moved_times += moved;
    return ms;
}

struct adopt_line *
adopt_line_add(struct adopt *ad, const struct rows *r)
{
    VEC_GROW(ad->lines, ad->n_lines, ad->lines_cap);
    struct adopt_line *line = &ad->lines[ad->n_lines++];
    *line = (struct adopt_line){.new_status = "", .reason = ""};
    (void)snprintf(line->old_id, sizeof line->old_id, "%s", rows_str(r, ADOPT_ID));
    return line;
}

bool
adopt_leave_out(struct adopt_line *line, const char *reason)
{
    line->new_id = 0;
    line->new_status = "";
    line->reason = reason;
    return true;
}

/* --- one batch --------------------------------------------------------------------------- */

struct batch {
    struct adopt *ad;
    enum adopt_table t;
    char last[ADOPT_ID_SIZE];
    bool begun; /* there is a last id */
    size_t n;
    int64_t counted[5]; /* what the counters were, for a body that is repeated */
};

static bool
read_cursor(struct batch *b, struct err *e)
{
    struct rows r;
    if (b->ad->flags->dry_run) {
        return true; /* kept in b->last */
    }
    if (!store_queryf(b->ad->store, &r, e,
                      "SELECT last_id, n FROM adoption_cursors WHERE source = %s AND table_name = "
                      "%s FOR UPDATE",
                      b->ad->flags->from, adopt_shapes[b->t].name)) {
        return false;
    }
    bool there = rows_next(&r);
    if (there) {
        (void)snprintf(b->last, sizeof b->last, "%s", rows_str(&r, 0));
        b->begun = rows_int(&r, 1) > 0;
    }
    rows_done(&r);
    return there || err_set(e, ERR_GONE, "the adoption's cursor is gone: run it again");
}

static bool
read_rows(struct batch *b, struct rows *ret, struct err *e)
{
    struct sql q = {0};
    adopt_select(b->ad, b->t, &q);
    if (b->begun) {
        sql_text(&q, " WHERE x.`");
        sql_text(&q, b->ad->found[b->t].column[ADOPT_ID]);
        sql_addf(&q, "` > %s", b->last);
    }
    sql_text(&q, " ORDER BY x.`");
    sql_text(&q, b->ad->found[b->t].column[ADOPT_ID]);
    sql_addf(&q, "` LIMIT %" PRId64, b->ad->flags->batch);
    bool ok = store_query(b->ad->store, &q, ret, e);
    sql_done(&q);
    return ok;
}

static bool
write_lines(struct batch *b, struct err *e)
{
    struct sql q = {0};
    struct adopt *ad = b->ad;
    sql_text(&q, "INSERT INTO adoptions (source, table_name, old_id, new_id, old_status, "
                 "new_status, reason) VALUES ");
    for (size_t i = 0; i < ad->n_lines; i++) {
        const struct adopt_line *l = &ad->lines[i];
        sql_addf(&q, i ? ", (%s, %s, %s, " : "(%s, %s, %s, ", ad->flags->from,
                 adopt_shapes[b->t].name, l->old_id);
        if (l->new_id) {
            sql_uint(&q, l->new_id);
        } else {
            sql_text(&q, "NULL");
        }
        sql_addf(&q, ", %s, %s, %s)", l->old_status, l->new_status, l->reason);
    }
    bool ok = store_exec(ad->store, &q, NULL, NULL, e);
    sql_done(&q);
    FAULT("adopt.copied");
    return ok && store_execf(ad->store, NULL, e,
                             "UPDATE adoption_cursors SET last_id = %s, n = n + %lu WHERE source = "
                             "%s AND table_name = %s",
                             ad->lines[ad->n_lines - 1].old_id, (unsigned long)ad->n_lines,
                             ad->flags->from, adopt_shapes[b->t].name);
}

static void
keep_counters(struct adopt *ad, int64_t *kept, bool back)
{
    int64_t *now[] = {&ad->shortened, &ad->mended, &ad->moved_times,
                      &ad->bad_times, &ad->media,  &ad->links};
    for (size_t i = 0; i < sizeof now / sizeof *now; i++) {
        *(back ? now[i] : &kept[i]) = back ? kept[i] : *now[i];
    }
}

static bool
batch_body(struct store *s, void *arg, struct err *e)
{
    struct batch *b = arg;
    struct adopt *ad = b->ad;
    struct rows r;
    (void)s;
    ad->n_lines = 0;
    keep_counters(ad, b->counted, true);
    if (!read_cursor(b, e) || !read_rows(b, &r, e)) {
        return false;
    }
    bool ok = r.count == 0 || converters[b->t](ad, &r, e);
    rows_done(&r);
    b->n = ad->n_lines;
    return ok && (b->n == 0 || ad->flags->dry_run || write_lines(b, e));
}

bool
adopt_copy(struct adopt *ad, enum adopt_table t, struct err *e)
{
    struct batch b = {.ad = ad, .t = t};
    if (!*ad->found[t].name) {
        return true;
    }
    if (!ad->flags->dry_run && !adopt_map_load(ad, t, e)) {
        return false;
    }
    do {
        keep_counters(ad, b.counted, false);
        bool ok = ad->flags->dry_run ? batch_body(ad->store, &b, e)
                                     : store_transact(ad->store, batch_body, &b, e);
        if (!ok) {
            return err_wrap(e, "%s.%s", ad->flags->from, ad->found[t].name);
        }
        FAULT("adopt.committed");
        for (size_t i = 0; i < b.n; i++) {
            if (t != ADOPT_LEADS && t != ADOPT_MESSAGES && ad->lines[i].new_id) {
                adopt_map_put(&ad->maps[t], &ad->lines[i]);
            }
            if (t != ADOPT_MESSAGES || !ad->flags->dry_run) { /* those have counted themselves */
                (void)adopt_count(ad, t, &ad->lines[i], 1);
            }
        }
        if (b.n) {
            (void)snprintf(b.last, sizeof b.last, "%s", ad->lines[b.n - 1].old_id);
            b.begun = true;
            ad->done += (int64_t)b.n;
            progress_at(&ad->progress, ad->done, ad->done - ad->progress.from);
        }
    } while ((int64_t)b.n == ad->flags->batch);
    return true;
}

/* --- the beginning and the end ----------------------------------------------------------- */

static void
describe(const struct adopt *ad, struct buf *out)
{
    const struct adopt_flags *f = ad->flags;
    buf_addf(out,
             "--zone %s --times '%s' --duplicates %s --stuck %s --status '%s' --map '%s' --country "
             "'%s' --sender '%s' --max-lateness %" PRId64 "ms",
             f->zone, f->times ? f->times : "", f->duplicates, f->stuck, f->status ? f->status : "",
             f->map ? f->map : "", f->country ? f->country : "", f->sender ? f->sender : "",
             f->max_lateness);
    if (!*ad->found[ADOPT_USERS].name) {
        buf_addf(out, " --user '%s'", ad->user);
    }
}

static bool
read_source(struct adopt *ad, const char *options, struct err *e)
{
    struct rows r;
    if (!store_queryf(ad->store, &r, e,
                      "SELECT options, CAST(1000 * UNIX_TIMESTAMP(begun_at) AS SIGNED) FROM "
                      "adoption_sources WHERE source = %s",
                      ad->flags->from)) {
        return false;
    }
    bool ok = rows_next(&r) || err_set(e, ERR_RETRY, "the adoption's row is gone");
    if (ok && strcmp(rows_str(&r, 0), options) != 0) {
        ok = err_set(e, ERR_REFUSED,
                     "the adoption of %s was begun with other rules; go on with the same: %.230s",
                     ad->flags->from, rows_str(&r, 0));
    }
    ad->rules.now_ms = ok ? rows_int(&r, 1) : 0;
    rows_done(&r);
    return ok;
}

static bool
read_done(struct adopt *ad, struct err *e)
{
    struct rows r;
    if (!store_queryf(ad->store, &r, e, "SELECT SUM(n) FROM adoption_cursors WHERE source = %s",
                      ad->flags->from)) {
        return false;
    }
    ad->done = rows_next(&r) ? rows_int(&r, 0) : 0;
    rows_done(&r);
    return true;
}

bool
adopt_begin(struct adopt *ad, struct err *e)
{
    struct buf options = {0};
    describe(ad, &options);
    bool ok = store_execf(ad->store, NULL, e,
                          "INSERT INTO adoption_sources (source, options, begun_at) VALUES (%s, "
                          "%s, UTC_TIMESTAMP(3)) ON DUPLICATE KEY UPDATE source = source",
                          ad->flags->from, options.data) &&
              read_source(ad, options.data, e);
    for (enum adopt_table t = 0; ok && t < ADOPT_TABLES; t++) {
        ok = store_execf(ad->store, NULL, e,
                         "INSERT INTO adoption_cursors (source, table_name, last_id) VALUES (%s, "
                         "%s, '') ON DUPLICATE KEY UPDATE last_id = last_id",
                         ad->flags->from, adopt_shapes[t].name);
    }
    buf_done(&options);
    return ok && read_done(ad, e);
}

/* Campaigns whose rows are there have had their audience; one that was over, but has rows that
 * still wait, is not over.  Repeating it changes nothing, nor does it touch one that runs by now.
 */
static bool
finish_campaign(struct adopt *ad, uint64_t id, struct err *e)
{
    struct rows r;
    uint64_t n[6] = {0}, total = 0;
    static const char *const words[] = {"pending", "sent", "failed", "skipped", "unknown"};
    if (!store_queryf(ad->store, &r, e,
                      "SELECT status, COUNT(*) FROM broadcast_messages WHERE campaign_id = %" PRIu64
                      " GROUP BY status",
                      id)) {
        return false;
    }
    while (rows_next(&r)) {
        size_t i = 0; /* what is under way waits, too */
        for (size_t k = 0; k < 5; k++) {
            i = strcmp(words[k], rows_str(&r, 0)) == 0 ? k : i;
        }
        n[i] += rows_uint(&r, 1);
        total += rows_uint(&r, 1);
    }
    rows_done(&r);
    return store_execf(
        ad->store, NULL, e,
        "UPDATE campaigns SET total = %" PRIu64 ", n_pending = %" PRIu64 ", n_sent = %" PRIu64
        ", n_failed = %" PRIu64 ", n_skipped = %" PRIu64 ", n_unknown = %" PRIu64
        ", counted_at = UTC_TIMESTAMP(3), finished_at = IF(status = 'finished' AND %" PRIu64
        " > 0, NULL, finished_at), expanded_at = IF(%" PRIu64
        " > 0, COALESCE(expanded_at, UTC_TIMESTAMP(3)), expanded_at), status = IF(status = "
        "'finished' AND %" PRIu64 " > 0, 'paused', status) WHERE id = %" PRIu64
        " AND status IN ('paused', 'finished', 'cancelled') AND audience_max_lead IS NULL",
        total, n[0], n[1], n[2], n[3], n[4], n[0], total, n[0], id);
}

bool
adopt_finish(struct adopt *ad, struct err *e)
{
    struct adopt_map *m = &ad->maps[ADOPT_CAMPAIGNS];
    for (size_t i = 0; i < m->n; i++) {
        if (!finish_campaign(ad, m->items[i].id, e)) {
            return false;
        }
    }
    return store_execf(ad->store, NULL, e,
                       "UPDATE adoption_sources SET finished_at = COALESCE(finished_at, "
                       "UTC_TIMESTAMP(3)) WHERE source = %s",
                       ad->flags->from);
}
