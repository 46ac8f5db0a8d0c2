/* cmd_archive.c -- final messages that are put away: how many there are, moving them by hand, and
 * bringing them back.  The rows are chosen and moved by shared/archive.c, as the reaper does it. */
#include "ctl/archive_counts.h"
#include "ctl/command.h"
#include "ctl/ctl.h"
#include "ctl/progress.h"
#include "shared/archive.h"
#include "shared/clock.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { TWINS_SHOWN = 20 };

/* --- status --------------------------------------------------------------------------- */

struct status_flags {
    int64_t older_than;
};

static const struct flag status_flags[] = {
    {"older-than", FLAG_MS, offsetof(struct status_flags, older_than), "0..1000000000000", NULL,
     "Also count what `archive run` would move at this age.", false},
    {NULL, FLAG_BOOL, 0, NULL, NULL, NULL, false},
};

static const struct column movable_columns[] = {
    {"status", "STATUS", SHOW_TEXT}, {"rows", "COUNT", SHOW_INT}, {NULL, NULL, SHOW_TEXT}};

/* --- steps until there are none ------------------------------------------------------- */

struct work {
    struct ctl *c;
    struct archive *a;
    bool dry_run;
    const char *why_twin; /* behind "message N " */
    int64_t looked, done[ARCHIVE_STATUSES], all, twins;
};

static bool
run_steps(struct work *w, const char *what, int64_t total, struct err *e)
{
    struct progress p;
    struct archive_seen seen = {0};
    progress_start(&p, what, "messages", total, 0);
    while (!seen.done) {
        int64_t began = clock_mono_ms();
        if (!archive_step(w->a, w->dry_run, &seen, e)) {
            progress_clear(&p);
            return false;
        }
        w->looked += (int64_t)seen.looked;
        int64_t moved = w->all;
        for (int s = 0; s < ARCHIVE_STATUSES; s++) {
            w->done[s] += (int64_t)seen.moved[s];
            w->all += (int64_t)seen.moved[s];
        }
        for (size_t i = 0; i < seen.n_twins; i++) {
            if (w->twins++ < TWINS_SHOWN) {
                progress_clear(&p);
                ctl_note("message %" PRIu64 " %s", seen.twins[i], w->why_twin);
            }
        }
        progress_at(&p, w->looked, w->all);
        if (w->all > moved && !w->dry_run) { /* the fleet has at least half of the time */
            int64_t ms = clock_mono_ms() - began;
            (void)nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000}, NULL);
        }
    }
    progress_clear(&p);
    if (w->twins > TWINS_SHOWN) {
        ctl_note("%" PRId64 " more stay for the same reason", w->twins - TWINS_SHOWN);
    }
    return true;
}

static struct doc *
report(const struct work *w, const char *key)
{
    struct doc *d = doc_object();
    doc_put_bool(d, "dry_run", w->dry_run);
    doc_put_int(d, key, w->all);
    struct doc *by = doc_put_object(d, "by_status");
    for (int s = 0; s < ARCHIVE_STATUSES; s++) {
        doc_put_int(by, archive_statuses[s], w->done[s]);
    }
    doc_put_int(d, "twins", w->twins);
    return d;
}

/* --- run ------------------------------------------------------------------------------ */

struct run_flags {
    int64_t older_than;
    const char *status;
    bool direct, dry_run;
};

static const struct flag run_flags[] = {
    {"older-than", FLAG_MS, offsetof(struct run_flags, older_than), "0..1000000000000", "90d",
     "Messages whose time and last change are longer ago.", false},
    {"status", FLAG_TEXT, offsetof(struct run_flags, status), "sent,failed,skipped,unknown",
     "sent,failed,skipped", "Which ones.", false},
    {"direct", FLAG_BOOL, offsetof(struct run_flags, direct), NULL, NULL,
     "Also messages that an application inserted: if it inserts one again, that is sent again.",
     false},
    {"dry-run", FLAG_BOOL, offsetof(struct run_flags, dry_run), NULL, NULL,
     "Count what would be moved, change nothing.", false},
    {NULL, FLAG_BOOL, 0, NULL, NULL, NULL, false},
};

/* "sent,failed" */
static bool
parse_statuses(const char *text, int64_t seconds, int64_t after[ARCHIVE_STATUSES], struct err *e)
{
    for (int s = 0; s < ARCHIVE_STATUSES; s++) {
        after[s] = ARCHIVE_NEVER;
    }
    for (const char *p = text;; p++) {
        size_t n = strcspn(p, ",");
        int s = 0;
        while (s < ARCHIVE_STATUSES &&
               (strlen(archive_statuses[s]) != n || memcmp(archive_statuses[s], p, n) != 0)) {
            s++;
        }
        if (s == ARCHIVE_STATUSES) {
            return err_set(e, ERR_INPUT,
                           "--status: '%.*s' is no final status; want a list of sent, failed, "
                           "skipped, unknown, separated by commas",
                           (int)(n < 40 ? n : 40), p);
        }
        after[s] = seconds;
        p += n;
        if (!*p) {
            return true;
        }
    }
}

/* How many rows the walk will look at; counted in messages_claim. */
static bool
count_walk(struct ctl *c, const struct archive_rules *rules, int64_t *ret, struct err *e)
{
    *ret = 0;
    for (int s = 0; s < ARCHIVE_STATUSES; s++) {
        struct rows r;
        if (rules->after_s[s] == ARCHIVE_NEVER) {
            continue;
        }
        if (!store_queryf(c->store, &r, e,
                          "SELECT COUNT(*) FROM devices d JOIN broadcast_messages m FORCE INDEX "
                          "(messages_claim) ON m.device_id = d.id AND m.status = %s AND "
                          "m.scheduled_at < UTC_TIMESTAMP(3) - INTERVAL %lld SECOND WHERE "
                          "d.user_id = %" PRIu64,
                          archive_statuses[s], (long long)rules->after_s[s], c->user_id)) {
            return false;
        }
        *ret += rows_next(&r) ? rows_int(&r, 0) : 0;
        rows_done(&r);
    }
    return true;
}

/* The user must be there: rules without one would be everybody's. */
static bool
walk(struct work *w, const struct archive_rules *rules, struct err *e)
{
    int64_t total;
    w->why_twin = "stays: its job id is in the archive already; see: paceline audit duplicates";
    return !w->c->user_id ||
           (archive_open(w->c->store, rules, &w->a, e) && count_walk(w->c, rules, &total, e) &&
            run_steps(w, "archive", total, e));
}

static int
archive_run(struct ctl *c, const struct args *args)
{
    const struct run_flags *f = args->flags;
    struct err e = {0};
    struct work w = {.c = c, .dry_run = f->dry_run};
    struct archive_rules rules = {0};
    int64_t seconds = (f->older_than + 999) / 1000;
    bool ok = parse_statuses(f->status, seconds, rules.after_s, &e) && ctl_user(c, false, &e);
    rules.direct_s = f->direct ? seconds : ARCHIVE_NEVER;
    rules.user_id = c->user_id;
    ok = ok && walk(&w, &rules, &e);
    archive_close(w.a);
    if (!ok) {
        return ctl_fail(&e);
    }
    output_said(&c->out, report(&w, "archived"), "%" PRId64 " messages %s", w.all,
                f->dry_run ? "would be moved to the archive: nothing was changed"
                           : "moved to the archive");
    return w.twins ? CTL_FAILED : CTL_OK;
}

static bool
put_movable(struct ctl *c, int64_t older_than, struct doc *d, struct err *e)
{
    struct work w = {.c = c, .dry_run = true};
    int64_t s = (older_than + 999) / 1000;
    struct archive_rules rules = {{s, s, s, ARCHIVE_NEVER}, ARCHIVE_NEVER, c->user_id};
    bool ok = walk(&w, &rules, e);
    archive_close(w.a);
    struct doc *list = ok ? doc_put_list(d, "movable") : NULL;
    for (int i = 0; ok && i < ARCHIVE_UNKNOWN; i++) {
        struct doc *one = doc_append(list);
        doc_put_str(one, "status", archive_statuses[i]);
        doc_put_int(one, "rows", w.done[i]);
    }
    return ok;
}

static int
archive_status(struct ctl *c, const struct args *args)
{
    static const struct section sections[] = {
        {"messages", "In broadcast_messages:", archive_count_columns},
        {"archive", "In the archive:", archive_count_columns},
        {"movable", "Would be moved by archive run:", movable_columns},
        {NULL, NULL, NULL}};
    const struct status_flags *f = args->flags;
    struct err e = {0};
    struct doc *d = doc_object();
    if (!ctl_user(c, false, &e) || !archive_put_counts(c, d, &e) ||
        (f->older_than != FLAG_UNSET && !put_movable(c, f->older_than, d, &e))) {
        doc_free(d);
        return ctl_fail(&e);
    }
    output_report(&c->out, sections, d);
    return CTL_OK;
}

/* --- restore -------------------------------------------------------------------------- */

struct restore_flags {
    const char *source[SOURCE_TABLES];
    int64_t message;
    bool all, dry_run;
};

static const struct flag restore_flags[] = {
    {"campaign", FLAG_TEXT, offsetof(struct restore_flags, source[SOURCE_CAMPAIGN]), "NAME", NULL,
     "The messages of this campaign.", false},
    {"sequence", FLAG_TEXT, offsetof(struct restore_flags, source[SOURCE_SEQUENCE]), "NAME", NULL,
     "The messages of this sequence.", false},
    {"recurring", FLAG_TEXT, offsetof(struct restore_flags, source[SOURCE_RECURRING]), "NAME", NULL,
     "The messages of this recurring message.", false},
    {"message", FLAG_INT, offsetof(struct restore_flags, message), "1..9223372036854775807", NULL,
     "One message, by its id.", false},
    {"all", FLAG_BOOL, offsetof(struct restore_flags, all), NULL, NULL, "Everything.", false},
    {"dry-run", FLAG_BOOL, offsetof(struct restore_flags, dry_run), NULL, NULL,
     "Count what would come back, change nothing.", false},
    {NULL, FLAG_BOOL, 0, NULL, NULL, NULL, false},
};

static bool
choose(struct ctl *c, const struct restore_flags *f, struct archive_choice *ret, struct err *e)
{
    int given = f->all + (f->message != FLAG_UNSET);
    for (int k = 0; k < SOURCE_TABLES; k++) {
        given += f->source[k] != NULL;
    }
    if (given != 1) {
        return err_set(e, ERR_INPUT,
                       "say what comes back: one of --campaign NAME, --sequence NAME, "
                       "--recurring NAME, --message ID and --all");
    }
    if (!ctl_user(c, false, e)) {
        return false;
    }
    ret->user_id = c->user_id;
    ret->message_id = f->message != FLAG_UNSET ? (uint64_t)f->message : 0;
    for (int k = 0; k < SOURCE_TABLES; k++) {
        if (f->source[k]) {
            ret->source = (enum source_kind)k;
            struct found found = {0};
            bool ok = ctl_find_source(c, ret->source, f->source[k], &found, e);
            ret->source_id = found.id;
            return ok;
        }
    }
    return true;
}

static bool
count_choice(struct ctl *c, const struct archive_choice *x, int64_t *ret, struct err *e)
{
    struct sql q = {0};
    struct rows r;
    sql_text(&q, "SELECT COUNT(*) FROM broadcast_messages_archive FORCE INDEX (");
    if (x->message_id) {
        sql_addf(&q, "PRIMARY) WHERE id = %" PRIu64, x->message_id);
    } else if (x->source_id) {
        sql_text(&q, "archive_");
        sql_text(&q, sources[x->source].kind);
        sql_text(&q, ") WHERE ");
        sql_text(&q, sources[x->source].column);
        sql_addf(&q, " = %" PRIu64, x->source_id);
    } else {
        sql_text(&q, "archive_user) WHERE 1 = 1");
    }
    sql_addf(&q, " AND user_id = %" PRIu64, x->user_id);
    bool ok = store_query(c->store, &q, &r, e);
    sql_done(&q);
    *ret = ok && rows_next(&r) ? rows_int(&r, 0) : 0;
    rows_done(&r);
    return ok;
}

static int
archive_restore(struct ctl *c, const struct args *args)
{
    const struct restore_flags *f = args->flags;
    struct err e = {0};
    struct work w = {.c = c,
                     .dry_run = f->dry_run,
                     .why_twin = "stays in the archive: its job id is in broadcast_messages again"};
    struct archive_choice choice = {0};
    int64_t total;
    bool ok = choose(c, f, &choice, &e) && count_choice(c, &choice, &total, &e) &&
              (total || !choice.message_id ||
               err_set(&e, ERR_GONE, "user '%.60s' has no message %" PRIu64 " in the archive",
                       c->user, choice.message_id)) &&
              archive_open_restore(c->store, &choice, &w.a, &e) &&
              run_steps(&w, "restore", total, &e);
    archive_close(w.a);
    if (!ok) {
        return ctl_fail(&e);
    }
    output_said(&c->out, report(&w, "restored"), "%" PRId64 " messages %s", w.all,
                f->dry_run ? "would come back from the archive: nothing was changed"
                           : "are back from the archive");
    return w.twins ? CTL_FAILED : CTL_OK;
}

const struct command archive_commands[] = {
    {"archive", "status", "", 0, 0, status_flags, sizeof(struct status_flags), archive_status,
     "How many messages there are, in the ledger and in the archive."},
    {"archive", "run", "", 0, 0, run_flags, sizeof(struct run_flags), archive_run,
     "Moves final messages of what has ended to the archive, now."},
    {"archive", "restore", "", 0, 0, restore_flags, sizeof(struct restore_flags), archive_restore,
     "Brings archived messages back, as they were."},
    {NULL, NULL, NULL, 0, 0, NULL, 0, NULL, NULL},
};
