#include "ctl/adopt.h"
#include "ctl/command.h"
#include "ctl/ctl.h"
#include "shared/tz.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The server takes a moment to see that the run before this one was killed. */
enum { LOCK_WAIT_S = 10 };

/* A large table is counted for minutes; the commands' own connection gives up after 30 s. */
enum { COUNT_MS = 3600 * 1000 };

#define FLAG(name) offsetof(struct adopt_flags, name)

static const struct flag adopt_flags[] = {
    {"from", FLAG_TEXT, FLAG(from), "DATABASE", NULL,
     "The older system's database, on the same server; it is only read.", true},
    {"zone", FLAG_TEXT, FLAG(zone), "ZONE", "Asia/Kuala_Lumpur",
     "Whose clock its DATETIME columns show (a TIMESTAMP is an instant and needs none).", false},
    {"times", FLAG_TEXT, FLAG(times), "TABLE.COLUMN=utc|local,..", NULL,
     "Columns of which that is not so.", false},
    {"duplicates", FLAG_WORD, FLAG(duplicates), "keep-sent|keep-first|refuse", "keep-sent",
     "Of several rows for one message: keep the one that got furthest, keep the first, or do "
     "nothing at all.",
     false},
    {"stuck", FLAG_WORD, FLAG(stuck), "unknown|pending|failed", "unknown",
     "What a row is that was under way (processing, queued) when the old system stopped: nobody "
     "knows whether it went out.",
     false},
    {"max-lateness", FLAG_MS, FLAG(max_lateness), "0s..3650d", "1d",
     "A pending message that is later than this is skipped.", false},
    {"country", FLAG_TEXT, FLAG(country), "60", NULL, "Calling code for phones that begin with 0.",
     false},
    {"sender", FLAG_TEXT, FLAG(sender), "NAME", NULL,
     "The sender of all its devices; otherwise their provider's name in lower case.", false},
    {"status", FLAG_TEXT, FLAG(status), "WORD=OURS,campaigns.WORD=OURS,..", NULL,
     "Words for a status that are not understood.", false},
    {"map", FLAG_TEXT, FLAG(map), "TABLE=THEIRS,TABLE.COLUMN=THEIRS,..", NULL,
     "Tables and columns that have another name there; \"TABLE.COLUMN=\" alone: none.", false},
    {"batch", FLAG_INT, FLAG(batch), "1..5000", "1000", "Rows in a transaction.", false},
    {"dry-run", FLAG_BOOL, FLAG(dry_run), NULL, NULL,
     "Read everything, say what would become of it, change nothing.", false},
    {NULL, FLAG_BOOL, 0, NULL, NULL, NULL, false},
};

static const struct column table_columns[] = {
    {"table", "TABLE", SHOW_TEXT},        {"theirs", "THERE", SHOW_TEXT},
    {"before", "BEFORE", SHOW_INT},       {"adopted", "ADOPTED", SHOW_INT},
    {"duplicate", "DUPLICATE", SHOW_INT}, {"left_out", "LEFT OUT", SHOW_INT},
    {"not_yet", "NOT YET", SHOW_INT},     {NULL, NULL, SHOW_TEXT},
};
static const struct column row_columns[] = {
    {"table", "TABLE", SHOW_TEXT}, {"from", "BEFORE", SHOW_TEXT}, {"to", "AFTER", SHOW_TEXT},
    {"why", "WHY", SHOW_TEXT},     {"rows", "ROWS", SHOW_INT},    {"ids", "THEIR IDS", SHOW_TEXT},
    {NULL, NULL, SHOW_TEXT},
};
static const struct column status_columns[] = {
    {"status", "MESSAGES AFTER", SHOW_TEXT}, {"rows", "ROWS", SHOW_INT}, {NULL, NULL, SHOW_TEXT}};
static const struct column column_columns[] = {{"column", "COLUMN", SHOW_TEXT},
                                               {"theirs", "THERE", SHOW_TEXT},
                                               {"clock", "CLOCK", SHOW_TEXT},
                                               {NULL, NULL, SHOW_TEXT}};
static const struct column note_columns[] = {
    {"what", "ALSO", SHOW_TEXT}, {"count", "COUNT", SHOW_INT}, {NULL, NULL, SHOW_TEXT}};

/* --- the report -------------------------------------------------------------------------- */

/* What all runs together have done; of this one we know examples. */
static bool
read_flows(struct adopt *ad, struct err *e)
{
    struct rows r;
    for (size_t i = 0; i < ad->n_flows; i++) {
        ad->flows[i].n = 0;
    }
    if (!store_queryf(ad->store, &r, e,
                      "SELECT table_name, old_status, new_status, reason, COUNT(*), MIN(old_id) "
                      "FROM adoptions WHERE source = %s GROUP BY table_name, old_status, "
                      "new_status, reason",
                      ad->flags->from)) {
        return false;
    }
    while (rows_next(&r)) {
        enum adopt_table t = 0;
        while (t < ADOPT_TABLES - 1 && strcmp(adopt_shapes[t].name, rows_str(&r, 0)) != 0) {
            t++;
        }
        struct adopt_line line = {.new_status = rows_str(&r, 2), .reason = rows_str(&r, 3)};
        (void)snprintf(line.old_status, sizeof line.old_status, "%s", rows_str(&r, 1));
        size_t i = adopt_count(ad, t, &line, rows_int(&r, 4)); /* moves the flows */
        struct adopt_flow *f = &ad->flows[i];
        if (!f->examples.len && *f->reason) {
            buf_addf(&f->examples, "%s ..", rows_str(&r, 5));
        }
    }
    rows_done(&r);
    return true;
}

static void
report_tables(const struct adopt *ad, struct doc *d)
{
    struct doc *list = doc_put_list(d, "tables");
    for (enum adopt_table t = 0; t < ADOPT_TABLES; t++) {
        int64_t kept = 0, doubled = 0, out = 0, before = (int64_t)ad->found[t].before;
        for (size_t i = 0; i < ad->n_flows; i++) {
            const struct adopt_flow *f = &ad->flows[i];
            bool is_double = strcmp(f->reason, "duplicate") == 0;
            *(!*f->new_status ? &out : is_double ? &doubled : &kept) += f->table == t ? f->n : 0;
        }
        struct doc *row = doc_append(list);
        doc_put_str(row, "table", adopt_shapes[t].name);
        doc_put_str(row, "theirs", *ad->found[t].name ? ad->found[t].name : NULL);
        doc_put_int(row, "before", before);
        doc_put_int(row, "adopted", kept);
        doc_put_int(row, "duplicate", doubled);
        doc_put_int(row, "left_out", out);
        doc_put_int(row, "not_yet", before - kept - doubled - out);
    }
}

static void
report_rows(const struct adopt *ad, struct doc *d)
{
    static const char *const words[] = {"pending", "unknown", "sent", "failed", "skipped"};
    int64_t after[5] = {0};
    struct doc *list = doc_put_list(d, "rows");
    for (enum adopt_table t = 0; t < ADOPT_TABLES; t++) {
        for (size_t i = 0; i < ad->n_flows; i++) {
            const struct adopt_flow *f = &ad->flows[i];
            if (f->table != t || !f->n) {
                continue;
            }
            struct doc *row = doc_append(list);
            doc_put_str(row, "table", adopt_shapes[t].name);
            doc_put_str(row, "from", f->old_status);
            doc_put_str(row, "to", *f->new_status ? f->new_status : "left out");
            doc_put_str(row, "why", f->reason);
            doc_put_int(row, "rows", f->n);
            doc_put_str(row, "ids", f->examples.len ? f->examples.data : "");
            for (size_t k = 0; k < 5; k++) {
                after[k] += t == ADOPT_MESSAGES && !strcmp(words[k], f->new_status) ? f->n : 0;
            }
        }
    }
    list = doc_put_list(d, "messages_after");
    for (size_t k = 0; k < 5; k++) {
        struct doc *row = doc_append(list);
        doc_put_str(row, "status", words[k]);
        doc_put_int(row, "rows", after[k]);
    }
}

static void
put_column(struct doc *list, const char *table, const char *column, const char *theirs,
           const char *clock)
{
    char name[80];
    struct doc *row = doc_append(list);
    (void)snprintf(name, sizeof name, "%s%s", table, column);
    doc_put_str(row, "column", name);
    doc_put_str(row, "theirs", *theirs ? theirs : NULL);
    doc_put_str(row, "clock", clock);
}

static void
report_columns(const struct adopt *ad, struct doc *d)
{
    static const char left_out[] = " not taken over";
    struct doc *list = doc_put_list(d, "columns");
    for (enum adopt_table t = 0; t < ADOPT_TABLES; t++) {
        const struct adopt_found *f = &ad->found[t];
        char table[40];
        (void)snprintf(table, sizeof table, "%s.", adopt_shapes[t].name);
        for (size_t i = 0; *f->name && adopt_shapes[t].columns[i].name; i++) {
            const struct adopt_column *c = &adopt_shapes[t].columns[i];
            bool timed = c->time && *f->column[i];
            put_column(list, table, c->name, f->column[i],
                       !timed        ? ""
                       : f->local[i] ? ad->flags->zone
                                     : "UTC");
        }
        if (f->left_out.len) {
            put_column(list, adopt_shapes[t].name, left_out, f->left_out.data, "");
        }
    }
    if (ad->other_tables.len) {
        put_column(list, "tables", left_out, ad->other_tables.data, "");
    }
}

static void
report_notes(const struct adopt *ad, struct doc *d)
{
    const struct {
        const char *what;
        int64_t n;
    } notes[] = {
        {"texts that were no UTF-8, mended with '?'", ad->mended},
        {"texts that were too long, shortened", ad->shortened},
        {"times that are none, left empty", ad->bad_times},
        {"times that a clock change left out, moved forward", ad->moved_times},
        {"rows with a picture or file, passed on as a link", ad->links},
        {"rows with a picture or file that is no link, which is not taken over", ad->media},
    };
    struct doc *list = NULL;
    for (size_t i = 0; i < sizeof notes / sizeof *notes; i++) {
        if (notes[i].n) {
            list = list ? list : doc_put_list(d, "notes");
            struct doc *row = doc_append(list);
            doc_put_str(row, "what", notes[i].what);
            doc_put_int(row, "count", notes[i].n);
        }
    }
}

static int
report(struct adopt *ad, const struct output *out)
{
    static const struct section sections[] = {
        {"columns", "columns", column_columns}, {"tables", "tables", table_columns},
        {"rows", "rows", row_columns},          {"messages_after", "messages", status_columns},
        {"notes", "notes", note_columns},       {NULL, NULL, NULL}};
    struct doc *d = doc_object();
    doc_put_str(d, "source", ad->flags->from);
    doc_put_bool(d, "dry_run", ad->flags->dry_run);
    if (ad->flags->dry_run) {
        report_columns(ad, d);
    }
    report_tables(ad, d);
    report_rows(ad, d);
    report_notes(ad, d);
    output_report(out, sections, d);
    if (!out->json) {
        puts(ad->flags->dry_run
                 ? "\nNothing was changed. Without --dry-run this is done."
                 : "\nNothing is sent yet: its devices, campaigns and sequences are paused. For "
                   "each device\n  paceline --user USER device set NAME --sender=..  and  device "
                   "resume NAME\nthen, for what is to go on:  campaign resume NAME, sequence "
                   "resume NAME.");
    }
    return CTL_OK;
}

/* --- the work ---------------------------------------------------------------------------- */

static void
done(struct adopt *ad)
{
    for (enum adopt_table t = 0; t < ADOPT_TABLES; t++) {
        adopt_map_done(&ad->maps[t]);
        buf_done(&ad->found[t].left_out);
    }
    for (size_t i = 0; i < ad->n_flows; i++) {
        buf_done(&ad->flows[i].examples);
    }
    buf_done(&ad->other_tables);
    free(ad->flows);
    free(ad->lines);
    free(ad->slots);
    tz_free(ad->zone);
}

static bool
open_adopt(struct adopt *ad, struct err *e)
{
    const struct adopt_flags *f = ad->flags;
    struct rows r;
    if (strlen(f->zone) > 64 || !tz_load(f->zone, &ad->zone, e)) {
        return err_wrap(e, "--zone");
    }
    ad->made_up = ADOPT_MADE_UP;
    ad->rules = (struct adopt_rules){.stuck = strcmp(f->stuck, "pending") == 0  ? STATE_PENDING
                                              : strcmp(f->stuck, "failed") == 0 ? STATE_FAILED
                                                                                : STATE_UNKNOWN,
                                     .keep_first = strcmp(f->duplicates, "keep-first") == 0,
                                     .max_lateness_ms = f->max_lateness};
    if (!store_queryf(ad->store, &r, e,
                      "SELECT CAST(1000 * UNIX_TIMESTAMP(UTC_TIMESTAMP(3)) AS SIGNED)")) {
        return false;
    }
    ad->rules.now_ms = rows_next(&r) ? rows_int(&r, 0) : 0;
    rows_done(&r);
    return adopt_find(ad, e) && adopt_check_statuses(ad, e);
}

static bool
copy_all(struct adopt *ad, struct err *e)
{
    int64_t total = 0;
    for (enum adopt_table t = 0; t < ADOPT_TABLES; t++) {
        total += (int64_t)ad->found[t].before;
    }
    progress_start(&ad->progress, ad->flags->from, "rows", total, ad->done);
    bool ok = adopt_only_user(ad, e);
    for (enum adopt_table t = 0; ok && t < ADOPT_TABLES; t++) {
        ok = adopt_copy(ad, t, e);
    }
    progress_clear(&ad->progress);
    return ok;
}

/* --duplicates refuse: a dry run comes first. */
static bool
refuse_duplicates(struct store *store, const char *user, const struct adopt_flags *flags,
                  struct err *e)
{
    struct adopt_flags dry = *flags;
    struct adopt ad = {.store = store, .flags = &dry, .user = user};
    int64_t n = 0;
    const char *ids = "";
    dry.dry_run = true;
    bool ok = open_adopt(&ad, e) && copy_all(&ad, e);
    for (size_t i = 0; i < ad.n_flows; i++) {
        if (strcmp(ad.flows[i].reason, "duplicate") == 0 && ad.flows[i].n) {
            n += ad.flows[i].n;
            ids = ad.flows[i].examples.len ? ad.flows[i].examples.data : ids;
        }
    }
    if (ok && n) {
        ok = err_set(e, ERR_GONE,
                     "%" PRId64 " rows are duplicates (such as %.80s), and --duplicates=refuse: "
                     "nothing was changed; choose keep-sent or keep-first, after --dry-run has "
                     "shown what they do",
                     n, ids);
    }
    done(&ad);
    return ok;
}

static bool
adopt_all(struct adopt *ad, struct err *e)
{
    bool mine = false, ok = open_adopt(ad, e);
    if (!ok || ad->flags->dry_run) {
        return ok && copy_all(ad, e);
    }
    if (!store_try_lock(ad->store, "paceline-adopt", LOCK_WAIT_S, &mine, e)) {
        return false;
    }
    if (!mine) {
        return err_set(e, ERR_GONE, "another adoption is at work: let it end, then run this again");
    }
    ok = adopt_begin(ad, e);
    if (ok && ad->done) {
        ctl_note("going on behind %" PRId64 " rows that are adopted already", ad->done);
    }
    return ok && copy_all(ad, e) && adopt_finish(ad, e) && read_flows(ad, e);
}

static int
adopt(struct ctl *c, const struct args *a)
{
    const struct adopt_flags *flags = a->flags;
    struct err e = {0};
    struct adopt ad = {.flags = flags, .user = c->user};
    struct store_config config = {
        .url = c->mysql_url, .password = c->mysql_password, .query_timeout_ms = COUNT_MS};
    bool refuses = strcmp(flags->duplicates, "refuse") == 0 && !flags->dry_run;
    bool ok = ctl_store(c, &e) && store_open(&config, &ad.store, &e) &&
              (!refuses || refuse_duplicates(ad.store, c->user, flags, &e)) && adopt_all(&ad, &e);
    int code = ok ? report(&ad, &c->out) : ctl_fail(&e);
    if (!ok && ad.done && !flags->dry_run) {
        ctl_note("%" PRId64 " rows are adopted; the same command goes on behind them", ad.done);
    }
    done(&ad);
    store_close(ad.store);
    return code;
}

const struct command adopt_commands[] = {
    {"adopt", NULL, "", 0, 0, adopt_flags, sizeof(struct adopt_flags), adopt,
     "Takes over the database of an older system, which is left as it is; an adoption that was cut "
     "off goes on where it was."},
    {NULL, NULL, NULL, 0, 0, NULL, 0, NULL, NULL},
};
