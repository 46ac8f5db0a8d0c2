/* optout_import.c -- `optout import`: a CSV of phones that have opted out.  Batches and the place
 * where the next one begins are one transaction, as with leads; the producers act for them. */
#include "ctl/ctl.h"
#include "ctl/leads_batch.h"
#include "ctl/leads_columns.h"
#include "ctl/optout_verbs.h"
#include "ctl/seen.h"
#include "shared/phone.h"

#include <inttypes.h>

#define FLAG(name) offsetof(struct optout_import_flags, name)

const struct flag optout_import_flags[] = {
    {"source", FLAG_TEXT, FLAG(source), "WORDS", "import", "Where the wishes came from; kept.",
     false},
    {"map", FLAG_TEXT, FLAG(map), "phone=COLUMN", NULL,
     "Which column has the phones, where its name does not tell.", false},
    {"country", FLAG_TEXT, FLAG(country), "60", NULL, "Calling code for phones that begin with 0.",
     false},
    {"again", FLAG_BOOL, FLAG(again), NULL, NULL,
     "From the first line, even if the file was imported before.", false},
    {"dry-run", FLAG_BOOL, FLAG(dry_run), NULL, NULL, "Check everything, change nothing.", false},
    {"errors", FLAG_TEXT, FLAG(errors), "FILE", NULL, "Write every refused row to this file.",
     false},
    {NULL, FLAG_BOOL, 0, NULL, NULL, NULL, false},
};

struct import {
    struct ctl *c;
    const struct optout_import_flags *flags;
    struct sheet sheet;
    struct lead_columns columns;
    struct lead_cursor cursor;
    struct lead_batch batch;
    int64_t refused_before; /* in this run, when the last batch was written */
    struct seen seen;       /* of a dry run */
    struct sheet_counts counts;
};

/* In a dry run the batch holds phones that came for the first time. */
static bool
foresee_batch(struct import *im, struct err *e)
{
    struct sql q = {0};
    struct rows r;
    int64_t there = 0;
    if (!im->batch.n) {
        return true;
    }
    sql_addf(&q, "SELECT COUNT(*) FROM opt_outs WHERE user_id = %" PRIu64 " AND phone IN (",
             im->c->user_id);
    buf_add(&q.text, im->batch.rows.text.data, im->batch.rows.text.len);
    sql_text(&q, ")");
    bool ok = store_query(im->c->store, &q, &r, e);
    if (ok && rows_next(&r)) {
        there = rows_int(&r, 0);
    }
    rows_done(&r);
    sql_done(&q);
    im->counts.inserted += (int64_t)im->batch.n - there;
    im->counts.duplicates += there;
    sql_clear(&im->batch.rows);
    im->batch.n = 0;
    return ok;
}

static bool
flush(struct import *im, int64_t next_offset, int64_t next_line, struct err *e)
{
    if (im->flags->dry_run) {
        return foresee_batch(im, e);
    }
    int64_t before = im->cursor.inserted, rows = (int64_t)im->batch.n;
    if (!lead_batch_commit(im->c->store, &im->batch, &im->cursor, next_offset, next_line,
                           im->sheet.refused - im->refused_before, e)) {
        return false;
    }
    im->refused_before = im->sheet.refused;
    im->counts.inserted += im->cursor.inserted - before;
    im->counts.duplicates += rows - (im->cursor.inserted - before);
    return true;
}

static void
add_phone(struct import *im, const char *phone)
{
    struct sql *q = &im->batch.rows;
    if (!im->flags->dry_run) {
        sql_addf(q,
                 im->batch.n++ ? ", (%" PRIu64 ", %s, %s, UTC_TIMESTAMP(3))"
                               : "(%" PRIu64 ", %s, %s, UTC_TIMESTAMP(3))",
                 im->c->user_id, phone, im->flags->source);
    } else if (seen_add(&im->seen, 0, phone)) {
        sql_text(q, im->batch.n++ ? ", " : "");
        sql_str(q, phone);
    } else {
        im->counts.duplicates++;
    }
}

static bool
read_rows(struct import *im, struct err *e)
{
    enum csv_result r;
    char phone[PHONE_SIZE];
    while ((r = sheet_next(&im->sheet, e)) == CSV_RECORD) {
        struct err why = {0};
        struct text digits = sheet_cell(&im->sheet, im->columns.at[LEAD_PHONE]);
        if (!phone_normalise(digits.s, digits.len, im->flags->country, phone, &why)) {
            sheet_refuse(&im->sheet, "%s", why.text);
            continue;
        }
        add_phone(im, phone);
        if (lead_batch_is_full(&im->batch) &&
            !flush(im, im->sheet.row.next_offset, im->sheet.row.next_line, e)) {
            return false;
        }
    }
    return r == CSV_END && flush(im, im->sheet.size, im->sheet.row.next_line, e) &&
           (im->flags->dry_run || lead_cursor_finish(im->c->store, &im->cursor, e));
}

static bool
open_cursor(struct import *im, struct err *e)
{
    char fingerprint[SHEET_FINGERPRINT];
    struct buf beside = {0};
    buf_addf(&beside, "optout,country=%s,source=%s,", im->flags->country ? im->flags->country : "",
             im->flags->source);
    lead_columns_describe(&im->columns, &beside);
    bool ok = sheet_fingerprint(&im->sheet, beside.data, fingerprint, e) &&
              lead_cursor_open(im->c->store, im->c->user_id, fingerprint, &im->cursor, e);
    buf_done(&beside);
    return ok && (!im->flags->again || lead_cursor_reset(im->c->store, &im->cursor, e));
}

static bool
prepare(struct import *im, const char *path, struct err *e)
{
    const struct optout_import_flags *f = im->flags;
    im->batch.into = "INSERT INTO opt_outs (user_id, phone, source, created_at) VALUES ";
    im->counts.dry_run = f->dry_run;
    return optout_source_fits(f->source, e) && sheet_open(&im->sheet, path, e) &&
           lead_columns_find(&im->sheet, f->map, NULL, false, &im->columns, e) &&
           ctl_user(im->c, !f->dry_run, e) && (f->dry_run || open_cursor(im, e));
}

static bool
resume(struct import *im, struct err *e)
{
    if (!im->cursor.offset) {
        return true;
    }
    im->counts.resumed_at = im->cursor.line;
    ctl_note("%s: resuming at line %" PRId64 "; before it %" PRId64 " were inserted, %" PRId64
             " refused",
             im->sheet.path, im->cursor.line, im->cursor.inserted, im->cursor.refused);
    return sheet_go_on(&im->sheet, im->cursor.offset, im->cursor.line, e);
}

static int
import(struct import *im, const char *path)
{
    struct err e = {0};
    const char *errors = im->flags->errors;
    if (!prepare(im, path, &e)) {
        return ctl_fail(&e);
    }
    if (im->cursor.finished) {
        struct doc *d = doc_object();
        doc_put_str(d, "file", path);
        doc_put_bool(d, "finished_before", true);
        output_said(&im->c->out, d,
                    "%s was imported before: nothing to do (%" PRId64 " inserted, %" PRId64
                    " refused then; --again imports it again)",
                    path, im->cursor.inserted, im->cursor.refused);
        return CTL_OK;
    }
    if ((errors && !sheet_errors_to(&im->sheet, errors, im->cursor.offset > 0, &e)) ||
        !resume(im, &e) || !read_rows(im, &e)) {
        progress_clear(&im->sheet.progress);
        return ctl_fail(&e);
    }
    return sheet_report(&im->sheet, &im->c->out, &im->counts);
}

int
optout_import(struct ctl *c, const struct args *a)
{
    struct import im = {.c = c, .flags = a->flags, .sheet.fd = -1};
    int code = import(&im, a->operands[0]);
    lead_columns_done(&im.columns);
    lead_batch_done(&im.batch);
    seen_done(&im.seen);
    sheet_close(&im.sheet);
    return code;
}
