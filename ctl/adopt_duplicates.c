#include "ctl/adopt_messages.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <xxhash.h>

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
void
adopt_foresee(struct adopt *ad, struct messages *b)
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

struct there *
adopt_there(const struct messages *b, const char *job)
{
    struct there key;
    (void)snprintf(key.job, sizeof key.job, "%s", job);
    return b->n_there ? bsearch(&key, b->there, b->n_there, sizeof key, compare) : NULL;
}

/* The rows of ours with the job ids of the batch. */
bool
adopt_look(struct adopt *ad, struct messages *b, struct err *e)
{
    struct sql q = {0};
    struct rows r;
    sql_addf(&q,
             "SELECT m.job_id, m.status, m.id, a.old_id FROM broadcast_messages m LEFT JOIN "
             "adoptions a ON a.source = %s AND a.table_name = 'broadcast_messages' AND a.new_id = "
             "m.id WHERE m.job_id IN (",
             ad->flags->from);
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
        (void)snprintf(x->old_id, sizeof x->old_id, "%s", rows_str(&r, 3));
        x->id = rows_uint(&r, 2);
    }
    rows_done(&r);
    qsort(b->there, b->n_there, sizeof *b->there, compare);
    return ok;
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
    struct there first = *x; /* what it was: d may point to its status */
    struct adopt_resolution d =
        adopt_resolve(ad->rules.keep_first, first.status, ad->lines[m->line].new_status);
    if (!*first.old_id) { /* a producer's: it keeps its id */
        d = adopt_resolve(true, first.status, ad->lines[m->line].new_status);
    }
    if (d.later_wins) {
        *x->status = '\0'; /* its place is taken by m, which is in the batch */
        return change_first(ad, &first, d.loser, first.old_id, e);
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

bool
adopt_settle(struct adopt *ad, struct messages *b, struct err *e)
{
    bool ok = adopt_look(ad, b, e);
    for (size_t i = 0; ok && i < b->n; i++) {
        struct message *m = &b->items[i], *first = NULL;
        for (size_t k = 0; !first && k < i; k++) {
            if (!b->items[k].loser && strcmp(b->items[k].job, m->job) == 0) {
                first = &b->items[k];
            }
        }
        struct there *x = first ? NULL : adopt_there(b, m->job);
        if (first) {
            resolve_batch(ad, first, m);
        } else if (x && *x->status) {
            ok = resolve_there(ad, m, x, e);
        }
    }
    return ok;
}
