#include "ctl/leads_columns.h"

#include "ctl/flag.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

enum { ATTRIBUTES_MAX = 60, VARIABLE_MAX = 64 };

/* The first name of each is the one that --map takes; the others are what columns are called. */
static const char *const aliases[LEAD_FIELDS][40] = {
    [LEAD_PHONE] = {"phone",
                    "phone number",
                    "phone no",
                    "mobile",
                    "mobile number",
                    "mobile no",
                    "mobile phone",
                    "number",
                    "no hp",
                    "nombor hp",
                    "no phone",
                    "no fon",
                    "hp",
                    "handphone",
                    "no handphone",
                    "telefon",
                    "no telefon",
                    "nombor telefon",
                    "telepon",
                    "no telepon",
                    "tel",
                    "no tel",
                    "telephone",
                    "whatsapp",
                    "whatsapp number",
                    "no whatsapp",
                    "wa",
                    "no wa",
                    "msisdn",
                    "contact number",
                    "recipient",
                    "recipient phone"},
    [LEAD_NAME] = {"name", "nama", "full name", "nama penuh", "nama lengkap", "customer name",
                   "nama pelanggan", "contact name", "recipient name", "lead name",
                   "prospect name"},
    [LEAD_NICHE] = {"niche", "segment", "category", "kategori", "industry", "industri"},
    [LEAD_STATUS] = {"target_status", "status", "lead status", "stage", "lead stage"},
    [LEAD_TRIGGER] = {"trigger", "sequence trigger"},
    [LEAD_DEVICE] = {"device", "device name", "peranti", "sender account"},
};

static const char *
field_name(enum lead_field f)
{
    return aliases[f][0];
}

static bool
no_column(const struct sheet *s, const char *what, const char *cure, struct err *e)
{
    struct buf list = {0};
    sheet_list(s, &list);
    bool ok = err_set(e, ERR_INPUT, "%.100s:1: %s; the columns are %.120s: %s", s->path, what,
                      list.data, cure);
    buf_done(&list);
    return ok;
}

/* --- --map ---------------------------------------------------------------------------- */

/* The next "field=column" of *p, the column perhaps in quotes, into two buffers; *p moves behind
 * it. */
static bool
next_pair(const char **p, struct buf *field, struct buf *column, struct err *e)
{
    const char *equals = strchr(*p, '=');
    if (!equals) {
        return err_set(
            e, ERR_INPUT,
            "--map: '%.60s' is no field=column; write --map phone=Mobile,name=\"Full name\"", *p);
    }
    buf_clear(field);
    buf_clear(column);
    buf_add(field, *p, (size_t)(equals - *p));
    const char *from = equals + 1, *end;
    if (*from == '"') {
        end = strchr(++from, '"');
        if (!end || (end[1] && end[1] != ',')) {
            return err_set(e, ERR_INPUT, "--map: the quote behind %.60s= is not closed",
                           field->data);
        }
        *p = end + 1;
    } else {
        end = from + strcspn(from, ",");
        *p = end;
    }
    buf_add(column, from, (size_t)(end - from));
    *p += **p == ',';
    return true;
}

static bool
set_column(const struct sheet *s, struct lead_columns *c, bool *given, const char *field,
           const char *column, struct err *e)
{
    for (int f = 0; f < LEAD_FIELDS; f++) {
        if (!sheet_same(field_name((enum lead_field)f), field) &&
            !(f == LEAD_STATUS && sheet_same("status", field))) {
            continue;
        }
        c->at[f] = *column ? sheet_find(s, column) : SHEET_NONE;
        given[f] = true;
        if (*column && c->at[f] == SHEET_NONE) {
            char what[160];
            (void)snprintf(what, sizeof what, "no column, or more than one, is called '%.60s'",
                           column);
            return no_column(s, what, "name one of them, or its number like #3", e);
        }
        return true;
    }
    return err_set(e, ERR_INPUT,
                   "--map: '%.40s' is none of phone, name, niche, target_status, trigger, device",
                   field);
}

static bool
read_map(const struct sheet *s, const char *map, struct lead_columns *c, bool *given, struct err *e)
{
    struct buf field = {0}, column = {0};
    bool ok = true;
    buf_adds(&field, "");
    buf_adds(&column, "");
    for (const char *p = map; ok && p && *p;) {
        ok = next_pair(&p, &field, &column, e) &&
             set_column(s, c, given, field.data, column.data, e);
    }
    buf_done(&field);
    buf_done(&column);
    return ok;
}

/* --- by name -------------------------------------------------------------------------- */

static bool
is_alias(enum lead_field f, const char *name)
{
    for (size_t i = 0; i < sizeof aliases[f] / sizeof *aliases[f] && aliases[f][i]; i++) {
        if (sheet_same(aliases[f][i], name)) {
            return true;
        }
    }
    return false;
}

static bool
is_taken(const struct lead_columns *c, size_t column)
{
    for (int f = 0; f < LEAD_FIELDS; f++) {
        if (c->at[f] == column) {
            return true;
        }
    }
    return false;
}

static bool
guess(const struct sheet *s, enum lead_field f, struct lead_columns *c, struct err *e)
{
    for (size_t i = 0; i < s->n; i++) {
        if (is_taken(c, i) || !is_alias(f, s->names[i])) {
            continue;
        }
        if (c->at[f] != SHEET_NONE) {
            return err_set(e, ERR_INPUT,
                           "%.100s:1: columns '%.60s' and '%.60s' both look like the %s; say "
                           "which: --map %s=COLUMN",
                           s->path, s->names[c->at[f]], s->names[i], field_name(f), field_name(f));
        }
        c->at[f] = i;
    }
    return true;
}

/* --- attributes ----------------------------------------------------------------------- */

/* "Nama Syarikat" -> "Nama_Syarikat": what a template can name; "column_3" when nothing is left. */
static char *
variable(const char *name, size_t column)
{
    char out[VARIABLE_MAX + 1];
    size_t n = 0;
    bool letters = false;
    for (; *name && n < VARIABLE_MAX; name++) {
        bool good = isalnum((unsigned char)*name) != 0;
        if (!good && (n == 0 || out[n - 1] == '_')) {
            continue;
        }
        if (n == 0 && isdigit((unsigned char)*name)) {
            out[n++] = '_';
        }
        if (n < VARIABLE_MAX) {
            out[n++] = good ? *name : '_';
            letters = letters || good;
        }
    }
    while (n && out[n - 1] == '_') {
        n--;
    }
    return letters ? xstrndup(out, n) : xasprintf("column_%zu", column + 1);
}

static bool
is_used(const struct lead_columns *c, size_t before, const char *name)
{
    for (size_t i = 0; i < before; i++) {
        if (c->attribute[i] && strcmp(c->attribute[i], name) == 0) {
            return true;
        }
    }
    return strcmp(name, "name") == 0 || strcmp(name, "phone") == 0 ||
           strcmp(name, "recipient_name") == 0;
}

static bool
name_attributes(const struct sheet *s, struct lead_columns *c, struct err *e)
{
    for (size_t i = 0; i < s->n; i++) {
        if (is_taken(c, i) || !*s->names[i]) {
            continue;
        }
        c->attribute[i] = variable(s->names[i], i);
        if (is_used(c, i, c->attribute[i])) {
            free(c->attribute[i]);
            c->attribute[i] = xasprintf("column_%zu", i + 1);
        }
        c->n_attributes++;
    }
    return c->n_attributes <= ATTRIBUTES_MAX ||
           err_set(e, ERR_INPUT,
                   "%.200s:1: %zu columns beside the known ones; a lead takes %d: remove some",
                   s->path, c->n_attributes, ATTRIBUTES_MAX);
}

/* --- all together --------------------------------------------------------------------- */

bool
lead_columns_find(const struct sheet *s, const char *map, const char *device_column,
                  bool wants_device, struct lead_columns *ret, struct err *e)
{
    bool given[LEAD_FIELDS] = {false};
    *ret = (struct lead_columns){.n = s->n, .attribute = xcalloc(s->n, sizeof *ret->attribute)};
    for (int f = 0; f < LEAD_FIELDS; f++) {
        ret->at[f] = SHEET_NONE;
    }
    given[LEAD_DEVICE] = !wants_device;
    if (!read_map(s, map, ret, given, e) ||
        (device_column && !set_column(s, ret, given, "device", device_column, e))) {
        return false;
    }
    for (int f = 0; f < LEAD_FIELDS; f++) {
        if (!given[f] && !guess(s, (enum lead_field)f, ret, e)) {
            return false;
        }
    }
    if (ret->at[LEAD_PHONE] == SHEET_NONE) {
        return no_column(s, "no column looks like the phone",
                         "say which one it is: --map phone=COLUMN", e);
    }
    if (wants_device && ret->at[LEAD_DEVICE] == SHEET_NONE) {
        return no_column(s, "no column looks like the device",
                         "give --device NAME for all rows, or --device-column COLUMN", e);
    }
    return name_attributes(s, ret, e);
}

void
lead_columns_done(struct lead_columns *c)
{
    for (size_t i = 0; c->attribute && i < c->n; i++) {
        free(c->attribute[i]);
    }
    free(c->attribute);
    *c = (struct lead_columns){0};
}

void
lead_columns_describe(const struct lead_columns *c, struct buf *out)
{
    for (int f = 0; f < LEAD_FIELDS; f++) {
        buf_addf(out, "%s=%zu,", field_name((enum lead_field)f), c->at[f]);
    }
}
