#include "ctl/device_import.h"

#include "ctl/ctl.h"
#include "ctl/device_fields.h"
#include "ctl/sheet.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { BATCH = 500 };

#define FLAG(name) offsetof(struct device_import_flags, name)

const struct flag device_import_flags[] = {
    {"update", FLAG_BOOL, FLAG(update), NULL, NULL,
     "Change devices that exist already; producers tell Redis within seconds.", false},
    {"dry-run", FLAG_BOOL, FLAG(dry_run), NULL, NULL, "Check everything, change nothing.", false},
    {"country", FLAG_TEXT, FLAG(country), "60", NULL, "Calling code for phones that begin with 0.",
     false},
    {"errors", FLAG_TEXT, FLAG(errors), "FILE", NULL, "Write every refused row to this file.",
     false},
    {NULL, FLAG_BOOL, 0, NULL, NULL, NULL, false},
};

struct import {
    struct ctl *c;
    const struct device_import_flags *flags;
    struct sheet sheet;
    size_t name;               /* column */
    const struct flag **field; /* of each column, or NULL */
    char **cells;              /* of the row at hand */
    struct sql batch[BATCH];   /* one statement a device */
    size_t n;
    uint64_t affected[3]; /* devices by what their statement reported: 0 same, 1 new, 2 changed */
    struct sheet_counts counts;
};

static bool
read_columns(struct import *im, struct err *e)
{
    struct sheet *s = &im->sheet;
    im->field = xcalloc(s->n, sizeof(struct flag *));
    im->cells = xcalloc(s->n, sizeof *im->cells);
    im->name = sheet_find(s, "name");
    im->name = im->name == SHEET_NONE ? sheet_find(s, "device") : im->name;
    if (im->name == SHEET_NONE) {
        return err_set(e, ERR_INPUT, "%.200s:1: no column is called name; it names the devices",
                       s->path);
    }
    for (size_t i = 0; i < s->n; i++) {
        im->field[i] = flag_find(device_flags, s->names[i]);
        if (!im->field[i] && i != im->name && *s->names[i]) {
            const char *known[32] = {0};
            for (size_t k = 0; k < 31 && device_flags[k].name; k++) {
                known[k] = device_flags[k].name;
            }
            const char *near = flag_nearest(s->names[i], known);
            return err_set(
                e, ERR_INPUT, "%.200s:1: column '%.60s' is unknown%s%s%s", s->path, s->names[i],
                near ? " (did you mean " : "; columns are called like the flags of device add",
                near ? near : "", near ? "?)" : "");
        }
    }
    return true;
}

static bool
count_body(struct store *s, void *arg, struct err *e)
{
    struct import *im = arg;
    memset(im->affected, 0, sizeof im->affected);
    for (size_t i = 0; i < im->n; i++) {
        uint64_t n = 0;
        if (!store_exec(s, &im->batch[i], &n, NULL, e)) {
            return false;
        }
        im->affected[n < 2 ? n : 2]++;
    }
    return true;
}

static bool
flush(struct import *im, struct err *e)
{
    if (!im->n) {
        return true;
    }
    if (!store_transact(im->c->store, count_body, im, e)) {
        return false;
    }
    im->counts.duplicates += (int64_t)im->affected[0];
    im->counts.inserted += (int64_t)im->affected[1];
    im->counts.updated += (int64_t)im->affected[2];
    im->n = 0;
    return true;
}

/* The row's cells as fields; empty ones are as good as missing. */
static bool
read_fields(struct import *im, struct device_fields *d, struct err *e)
{
    flag_defaults(device_flags, d);
    d->country = im->flags->country;
    for (size_t i = 0; i < im->sheet.n; i++) {
        struct text cell = sheet_cell(&im->sheet, i);
        free(im->cells[i]);
        im->cells[i] = xstrndup(cell.s, cell.len);
        if (im->field[i] && cell.len && !flag_set(im->field[i], im->cells[i], d, e)) {
            return err_wrap(e, "%s", im->field[i]->name);
        }
    }
    return device_name_check(im->cells[im->name], e) && device_fields_check(d, e);
}

/* In a dry run: is there such a device? */
static bool
foresee(struct import *im, const char *name, struct err *e)
{
    struct rows r;
    if (!store_queryf(im->c->store, &r, e,
                      "SELECT 1 FROM devices WHERE user_id = %" PRIu64 " AND name = %s",
                      im->c->user_id, name)) {
        return false;
    }
    int64_t *count = !r.count            ? &im->counts.inserted
                     : im->flags->update ? &im->counts.updated
                                         : &im->counts.duplicates;
    ++*count;
    rows_done(&r);
    return true;
}

static bool
take_row(struct import *im, struct err *e)
{
    struct device_fields d = {0};
    struct err why = {0};
    if (!read_fields(im, &d, &why)) {
        sheet_refuse(&im->sheet, "%s", why.text);
        return true;
    }
    if (im->flags->dry_run) {
        return foresee(im, im->cells[im->name], e);
    }
    struct sql *q = &im->batch[im->n++];
    sql_clear(q);
    device_insert_sql(&d, im->c->user_id, im->cells[im->name], q);
    sql_text(q, " ON DUPLICATE KEY UPDATE id = id");
    if (im->flags->update) {
        sql_text(q, ", config_version = config_version + 1, updated_at = UTC_TIMESTAMP(3)");
        device_fields_sql(&d, q);
    }
    return im->n < BATCH || flush(im, e);
}

static bool
import(struct import *im, const char *path, struct err *e)
{
    const struct device_import_flags *f = im->flags;
    if (!sheet_open(&im->sheet, path, e) || !read_columns(im, e) ||
        (f->errors && !sheet_errors_to(&im->sheet, f->errors, false, e)) ||
        !ctl_user(im->c, !f->dry_run, e)) {
        return false;
    }
    enum csv_result r;
    while ((r = sheet_next(&im->sheet, e)) == CSV_RECORD) {
        if (!take_row(im, e)) {
            return false;
        }
    }
    return r == CSV_END && flush(im, e);
}

int
device_import(struct ctl *c, const struct args *a)
{
    struct import *im = xcalloc(1, sizeof *im);
    struct err e = {0};
    im->c = c;
    im->flags = a->flags;
    im->counts.dry_run = im->flags->dry_run;
    bool ok = import(im, a->operands[0], &e);
    progress_clear(&im->sheet.progress);
    int code = ok ? sheet_report(&im->sheet, &c->out, &im->counts) : ctl_fail(&e);
    for (size_t i = 0; im->cells && i < im->sheet.n; i++) {
        free(im->cells[i]);
    }
    for (size_t i = 0; i < BATCH; i++) {
        sql_done(&im->batch[i]);
    }
    free(im->cells);
    free(im->field);
    sheet_close(&im->sheet);
    free(im);
    return code;
}
