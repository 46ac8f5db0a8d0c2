#include "ctl/command.h"
#include "ctl/ctl.h"
#include "ctl/leads_batch.h"
#include "ctl/leads_columns.h"
#include "ctl/seen.h"
#include "shared/phone.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { NAME_CHARS = 190, WORD_CHARS = 64, ATTRIBUTES_BYTES = 60000 };

struct leads_flags {
    const char *device, *device_column, *map, *country, *errors;
    bool dry_run, update, again;
};

#define FLAG(name) offsetof(struct leads_flags, name)

static const struct flag import_flags[] = {
    {"device", FLAG_TEXT, FLAG(device), "NAME", NULL,
     "The device that all leads of the file belong to.", false},
    {"device-column", FLAG_TEXT, FLAG(device_column), "COLUMN", NULL,
     "The column that names each lead's device; one called `device` is found by itself.", false},
    {"map", FLAG_TEXT, FLAG(map), "phone=COLUMN,name=COLUMN,niche=..,target_status=..,trigger=..",
     NULL,
     "Which column is which, where its name does not tell; \"name=\" alone: none. Columns that are "
     "left become "
     "attributes, which templates name like {{City|your city}}.",
     false},
    {"country", FLAG_TEXT, FLAG(country), "60", NULL, "Calling code for phones that begin with 0.",
     false},
    {"update", FLAG_BOOL, FLAG(update), NULL, NULL,
     "Leads that are there already take the file's values.", false},
    {"again", FLAG_BOOL, FLAG(again), NULL, NULL,
     "From the first line, even if the file was imported before.", false},
    {"dry-run", FLAG_BOOL, FLAG(dry_run), NULL, NULL, "Check everything, change nothing.", false},
    {"errors", FLAG_TEXT, FLAG(errors), "FILE", NULL, "Write every refused row to this file.",
     false},
    {NULL, FLAG_BOOL, 0, NULL, NULL, NULL, false},
};

struct device_name {
    uint64_t id;
    char *name;
};

struct import {
    struct ctl *c;
    const struct leads_flags *flags;
    struct sheet sheet;
    struct lead_columns columns;
    uint64_t device;             /* of all rows, or 0 */
    struct device_name *devices; /* of the user, sorted by name */
    size_t n_devices;
    struct lead_cursor cursor;
    int64_t refused_before; /* in this run, when the last batch was written */
    struct lead_batch batch;
    struct buf attributes;
    struct seen seen; /* of a dry run */
    struct sheet_counts counts;
};

/* --- devices -------------------------------------------------------------------------- */

static int
compare_names(const void *a, const void *b)
{
    const struct device_name *x = a, *y = b;
    return strcasecmp(x->name, y->name);
}

static bool
load_devices(struct import *im, struct err *e)
{
    struct rows r;
    struct found one;
    if (im->flags->device) {
        bool ok = ctl_find_device(im->c, im->flags->device, &one, e);
        im->device = ok ? one.id : 0;
        return ok;
    }
    if (!store_queryf(im->c->store, &r, e, "SELECT id, name FROM devices WHERE user_id = %" PRIu64,
                      im->c->user_id)) {
        return false;
    }
    im->devices = xcalloc(r.count + 1, sizeof *im->devices);
    while (rows_next(&r)) {
        im->devices[im->n_devices++] =
            (struct device_name){rows_uint(&r, 0), xstrdup(rows_str(&r, 1))};
    }
    rows_done(&r);
    qsort(im->devices, im->n_devices, sizeof *im->devices, compare_names);
    return true;
}

/* 0, and the row is refused, when it names no device of this user. */
static uint64_t
row_device(struct import *im)
{
    char name[800];
    struct text cell = sheet_cell(&im->sheet, im->columns.at[LEAD_DEVICE]);
    if (im->device) {
        return im->device;
    }
    (void)snprintf(name, sizeof name, "%.*s",
                   (int)(cell.len < sizeof name ? cell.len : sizeof name - 1), cell.s);
    struct device_name key = {0, name};
    const struct device_name *d =
        bsearch(&key, im->devices, im->n_devices, sizeof key, compare_names);
    if (!d) {
        sheet_refuse(&im->sheet,
                     cell.len ? "no device is called '%.60s': add it with paceline device add"
                              : "the device is missing%s: fill the column in, or give --device",
                     cell.len ? name : "");
    }
    return d ? d->id : 0;
}

/* --- rows ----------------------------------------------------------------------------- */

static bool
fits(struct import *im, const char *what, struct text cell, size_t max)
{
    size_t n = 0;
    for (size_t i = 0; i < cell.len; i++) {
        n += ((unsigned char)cell.s[i] & 0xc0) != 0x80;
    }
    if (n > max) {
        sheet_refuse(&im->sheet, "the %s has %zu characters: shorten it to %zu", what, n, max);
    }
    return n <= max;
}

/* The other columns as a JSON object in im->attributes, which is left empty when they hold nothing.
 */
static bool
write_attributes(struct import *im)
{
    buf_clear(&im->attributes);
    if (!im->columns.n_attributes) {
        return true;
    }
    struct doc *d = doc_object();
    for (size_t i = 0; i < im->columns.n; i++) {
        struct text cell = sheet_cell(&im->sheet, i);
        if (im->columns.attribute[i] && cell.len) {
            doc_put_strn(d, im->columns.attribute[i], cell.s, cell.len);
        }
    }
    if (doc_len(d)) {
        doc_write(d, &im->attributes);
    }
    doc_free(d);
    if (im->attributes.len > ATTRIBUTES_BYTES) {
        sheet_refuse(&im->sheet, "the attributes have %zu bytes together: shorten them to %d",
                     im->attributes.len, ATTRIBUTES_BYTES);
        return false;
    }
    return true;
}

/* False, and refused, when the row cannot become a lead.  phone holds the lead's digits. */
static bool
read_lead(struct import *im, char phone[PHONE_SIZE], struct lead *lead)
{
    const size_t *at = im->columns.at;
    struct err why = {0};
    struct text digits = sheet_cell(&im->sheet, at[LEAD_PHONE]),
                name = sheet_cell(&im->sheet, at[LEAD_NAME]),
                niche = sheet_cell(&im->sheet, at[LEAD_NICHE]),
                status = sheet_cell(&im->sheet, at[LEAD_STATUS]),
                trigger = sheet_cell(&im->sheet, at[LEAD_TRIGGER]);
    if (!phone_normalise(digits.s, digits.len, im->flags->country, phone, &why)) {
        sheet_refuse(&im->sheet, "%s", why.text);
        return false;
    }
    uint64_t device = row_device(im);
    if (!device || !fits(im, "name", name, NAME_CHARS) || !fits(im, "niche", niche, WORD_CHARS) ||
        !fits(im, "target_status", status, WORD_CHARS) ||
        !fits(im, "trigger", trigger, WORD_CHARS) || !write_attributes(im)) {
        return false;
    }
    *lead = (struct lead){.user = im->c->user_id,
                          .device = device,
                          .phone = phone,
                          .name = name.s,
                          .name_len = name.len,
                          .niche = niche.s,
                          .niche_len = niche.len,
                          .target_status = status.s,
                          .target_status_len = status.len,
                          .trigger = trigger.s,
                          .trigger_len = trigger.len,
                          .attributes = im->attributes.len ? im->attributes.data : NULL,
                          .attributes_len = im->attributes.len};
    return true;
}

/* --- writing, or counting what would be written --------------------------------------- */

/* In a dry run the batch holds (device, phone) pairs that came for the first time. */
static void
foresee_row(struct import *im, const struct lead *lead)
{
    if (!seen_add(&im->seen, lead->device, lead->phone)) {
        im->counts.duplicates++;
        return;
    }
    sql_addf(&im->batch.rows, im->batch.n++ ? ", (%" PRIu64 ", %s)" : "(%" PRIu64 ", %s)",
             lead->device, lead->phone);
}

static bool
foresee_batch(struct import *im, struct err *e)
{
    struct sql q = {0};
    struct rows r;
    int64_t there = 0;
    if (!im->batch.n) {
        return true;
    }
    sql_text(&q, "SELECT COUNT(*) FROM leads WHERE (device_id, phone) IN (");
    buf_add(&q.text, im->batch.rows.text.data, im->batch.rows.text.len);
    sql_text(&q, ")");
    bool ok = store_query(im->c->store, &q, &r, e);
    if (ok && rows_next(&r)) {
        there = rows_int(&r, 0);
    }
    rows_done(&r);
    sql_done(&q);
    im->counts.inserted += (int64_t)im->batch.n - there;
    *(im->flags->update ? &im->counts.updated : &im->counts.duplicates) += there;
    sql_clear(&im->batch.rows);
    im->batch.n = 0;
    return ok;
}

/* next_: where the rows that are not in the batch begin. */
static bool
flush(struct import *im, int64_t next_offset, int64_t next_line, struct err *e)
{
    if (im->flags->dry_run) {
        return foresee_batch(im, e);
    }
    struct lead_cursor before = im->cursor;
    int64_t rows = (int64_t)im->batch.n, refused = im->sheet.refused - im->refused_before;
    if (!lead_batch_commit(im->c->store, &im->batch, &im->cursor, next_offset, next_line, refused,
                           e)) {
        return false;
    }
    im->refused_before = im->sheet.refused;
    int64_t inserted = im->cursor.inserted - before.inserted,
            updated = im->cursor.updated - before.updated;
    im->counts.inserted += inserted;
    im->counts.updated += updated;
    im->counts.duplicates += rows - inserted - updated;
    return true;
}

static bool
read_rows(struct import *im, struct err *e)
{
    enum csv_result r;
    char phone[PHONE_SIZE];
    struct lead lead;
    while ((r = sheet_next(&im->sheet, e)) == CSV_RECORD) {
        if (!read_lead(im, phone, &lead)) {
            continue;
        }
        if (im->flags->dry_run) {
            foresee_row(im, &lead);
        } else {
            lead_batch_add(&im->batch, &lead);
        }
        if (lead_batch_is_full(&im->batch) &&
            !flush(im, im->sheet.row.next_offset, im->sheet.row.next_line, e)) {
            return false;
        }
    }
    return r == CSV_END && flush(im, im->sheet.size, im->sheet.row.next_line, e) &&
           (im->flags->dry_run || lead_cursor_finish(im->c->store, &im->cursor, e));
}

/* --- resuming ------------------------------------------------------------------------- */

static bool
open_cursor(struct import *im, struct err *e)
{
    char fingerprint[SHEET_FINGERPRINT];
    struct buf beside = {0};
    buf_addf(&beside, "device=%" PRIu64 ",country=%s,update=%d,", im->device,
             im->flags->country ? im->flags->country : "", im->flags->update);
    lead_columns_describe(&im->columns, &beside);
    bool ok = sheet_fingerprint(&im->sheet, beside.data, fingerprint, e) &&
              lead_cursor_open(im->c->store, im->c->user_id, fingerprint, &im->cursor, e);
    buf_done(&beside);
    return ok && (!im->flags->again || lead_cursor_reset(im->c->store, &im->cursor, e));
}

static bool
resume(struct import *im, struct err *e)
{
    if (!im->cursor.offset) {
        return true;
    }
    im->counts.resumed_at = im->cursor.line;
    ctl_note("%s: resuming at line %" PRId64 "; before it %" PRId64 " were inserted, %" PRId64
             " updated, %" PRId64 " refused",
             im->sheet.path, im->cursor.line, im->cursor.inserted, im->cursor.updated,
             im->cursor.refused);
    return sheet_go_on(&im->sheet, im->cursor.offset, im->cursor.line, e);
}

static bool
prepare(struct import *im, const char *path, struct err *e)
{
    const struct leads_flags *f = im->flags;
    if (f->device && f->device_column) {
        return err_set(e, ERR_INPUT, "--device and --device-column exclude each other");
    }
    if (!sheet_open(&im->sheet, path, e) ||
        !lead_columns_find(&im->sheet, f->map, f->device_column, !f->device, &im->columns, e) ||
        !ctl_user(im->c, !f->dry_run, e) || !load_devices(im, e)) {
        return false;
    }
    im->batch.update = f->update;
    im->batch.has_name = im->columns.at[LEAD_NAME] != SHEET_NONE;
    im->batch.has_niche = im->columns.at[LEAD_NICHE] != SHEET_NONE;
    im->batch.has_target_status = im->columns.at[LEAD_STATUS] != SHEET_NONE;
    im->batch.has_trigger = im->columns.at[LEAD_TRIGGER] != SHEET_NONE;
    im->batch.has_attributes = im->columns.n_attributes > 0;
    im->counts.dry_run = f->dry_run;
    return f->dry_run || open_cursor(im, e);
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
                    " updated, %" PRId64 " refused then; --again imports it again)",
                    path, im->cursor.inserted, im->cursor.updated, im->cursor.refused);
        return CTL_OK;
    }
    if ((errors && !sheet_errors_to(&im->sheet, errors, im->cursor.offset > 0, &e)) ||
        !resume(im, &e) || !read_rows(im, &e)) {
        progress_clear(&im->sheet.progress);
        return ctl_fail(&e);
    }
    return sheet_report(&im->sheet, &im->c->out, &im->counts);
}

static int
leads_import(struct ctl *c, const struct args *a)
{
    struct import im = {.c = c, .flags = a->flags, .sheet.fd = -1};
    int code = import(&im, a->operands[0]);
    for (size_t i = 0; i < im.n_devices; i++) {
        free(im.devices[i].name);
    }
    free(im.devices);
    lead_columns_done(&im.columns);
    lead_batch_done(&im.batch);
    buf_done(&im.attributes);
    seen_done(&im.seen);
    sheet_close(&im.sheet);
    return code;
}

const struct command leads_commands[] = {
    {"leads", "import", "FILE.csv", 1, 1, import_flags, sizeof(struct leads_flags), leads_import,
     "Imports the people of a CSV with a header line; an import that was cut off goes on where it "
     "was."},
    {NULL, NULL, NULL, 0, 0, NULL, 0, NULL, NULL},
};
