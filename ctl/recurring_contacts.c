/* recurring_contacts.c -- the explicit audience of a recurring message. */
#include "ctl/leads_columns.h"
#include "ctl/recurring_def.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { SHOWN = 20, NAME_CHARS = 190 };

struct device_name {
    uint64_t id;
    char *name;
};

struct reading {
    struct ctl *c;
    struct recurring_def *d;
    struct device_name *devices; /* of the user, sorted by name */
    size_t n_devices;
    int64_t bad;
};

/* --- devices -------------------------------------------------------------------------- */

static int
by_name(const void *a, const void *b)
{
    const struct device_name *x = a, *y = b;
    return strcasecmp(x->name, y->name);
}

static bool
load_devices(struct reading *x, struct err *e)
{
    struct rows r;
    if (!store_queryf(x->c->store, &r, e,
                      "SELECT id, name FROM devices WHERE user_id = %" PRIu64
                      " AND status <> 'removed'",
                      x->c->user_id)) {
        return false;
    }
    x->devices = xcalloc(r.count + 1, sizeof *x->devices);
    while (rows_next(&r)) {
        x->devices[x->n_devices++] =
            (struct device_name){rows_uint(&r, 0), xstrdup(rows_str(&r, 1))};
    }
    rows_done(&r);
    qsort(x->devices, x->n_devices, sizeof *x->devices, by_name);
    return true;
}

static uint64_t
device_of(const struct reading *x, const char *name)
{
    char *copy = xstrdup(name);
    struct device_name key = {0, copy};
    const struct device_name *d = bsearch(&key, x->devices, x->n_devices, sizeof key, by_name);
    free(copy);
    return d ? d->id : 0;
}

/* --- one contact ---------------------------------------------------------------------- */

/* "def.json: contacts[3].phone: what", or "people.csv:5: what". */
static void PRINTF_LIKE(4, 5)
    refuse(struct reading *x, int64_t place, const char *member, const char *fmt, ...)
{
    char why[256];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(why, sizeof why, fmt, ap);
    va_end(ap);
    if (x->bad++ >= SHOWN) {
        return;
    }
    if (x->d->json) {
        (void)fprintf(stderr, "%s: contacts[%" PRId64 "]%s%s: %s\n", define_file_name(x->d->file),
                      place, *member ? "." : "", member, why);
    } else {
        (void)fprintf(stderr, "%s:%" PRId64 ": %s\n", x->d->contacts, place, why);
    }
}

static size_t
characters(const char *text)
{
    size_t n = 0;
    for (; *text; text++) {
        n += ((unsigned char)*text & 0xc0) != 0x80;
    }
    return n;
}

/* device: its name, or NULL for the one of --device.  Takes name. */
static void
add(struct reading *x, int64_t place, const char *phone, char *name, const char *device,
    uint64_t device_id)
{
    struct recurring_def *d = x->d;
    struct err why = {0};
    struct contact_def one = {
        .name = name, .device = device ? device_of(x, device) : device_id, .place = place};
    if (!phone_normalise(phone, strlen(phone), d->country, one.phone, &why)) {
        refuse(x, place, "phone", "%s", why.text);
    } else if (!one.device) {
        refuse(x, place, "device",
               *device ? "no device is called '%.60s'" : "the device is missing%s", device);
    } else if (characters(name) > NAME_CHARS) {
        refuse(x, place, "name", "the name has more than %d characters", NAME_CHARS);
    } else {
        VEC_GROW(d->people, d->n_people, d->cap_people);
        d->people[d->n_people++] = one;
        return;
    }
    free(name);
}

/* --- from JSON ------------------------------------------------------------------------ */

struct contact_text {
    const char *phone, *name, *device;
};
static const struct flag contact_flags[] = {
    {"phone", FLAG_TEXT, offsetof(struct contact_text, phone), NULL, NULL, NULL, false},
    {"name", FLAG_TEXT, offsetof(struct contact_text, name), NULL, NULL, NULL, false},
    {"device", FLAG_TEXT, offsetof(struct contact_text, device), NULL, NULL, NULL, false},
    {NULL, FLAG_BOOL, 0, NULL, NULL, NULL, false},
};
static const char *const contact_members[] = {"phone", "name", "device", NULL};
static const char *const none[] = {NULL};

static bool
read_doc(struct reading *x, struct err *e)
{
    const struct doc *list = doc_get(x->d->doc, "contacts");
    if (doc_type(list) != DOC_LIST || !doc_len(list)) {
        return err_set(e, ERR_INPUT,
                       "contacts: has to be a list of {\"phone\": .., \"name\": .., \"device\": "
                       "..}, at least one");
    }
    for (size_t i = 0; i < doc_len(list); i++) {
        char path[DEFINE_PLACE];
        struct contact_text t = {0};
        (void)snprintf(path, sizeof path, "contacts[%zu]", i);
        if (!define_members(doc_at(list, i), path, contact_flags, contact_members, none, &t, e)) {
            return false;
        }
        add(x, (int64_t)i, t.phone ? t.phone : "", xstrdup(t.name ? t.name : ""),
            t.device ? t.device : "", 0);
    }
    return true;
}

/* --- from a CSV ----------------------------------------------------------------------- */

static char *
cell(const struct sheet *s, size_t column)
{
    struct text t = sheet_cell(s, column);
    return xstrndup(t.s, t.len);
}

static bool
read_rows(struct reading *x, struct sheet *s, uint64_t device, struct err *e)
{
    struct lead_columns columns;
    enum csv_result r = CSV_FAILED;
    bool ok = lead_columns_find(s, x->d->map, x->d->device_column, !device, &columns, e);
    while (ok && (r = sheet_next(s, e)) == CSV_RECORD) {
        char *phone = cell(s, columns.at[LEAD_PHONE]), *name = cell(s, columns.at[LEAD_NAME]);
        char *of = device ? NULL : cell(s, columns.at[LEAD_DEVICE]);
        add(x, s->row.line, phone, name, of, device);
        free(phone);
        free(of);
    }
    lead_columns_done(&columns);
    x->bad += s->refused;
    return ok && r == CSV_END;
}

static bool
read_csv(struct reading *x, struct err *e)
{
    struct found device = {0};
    struct sheet s;
    if (x->d->device && !ctl_find_device(x->c, x->d->device, &device, e)) {
        return err_wrap(e, "--device");
    }
    bool ok = sheet_open(&s, x->d->contacts, e) && read_rows(x, &s, device.id, e);
    progress_clear(&s.progress);
    sheet_close(&s);
    return ok;
}

/* --- all together --------------------------------------------------------------------- */

static int
by_phone(const void *a, const void *b)
{
    const struct contact_def *x = a, *y = b;
    int order = strcmp(x->phone, y->phone);
    return order ? order : x->place < y->place ? -1 : x->place > y->place;
}

static int
by_place(const void *a, const void *b)
{
    const struct contact_def *x = a, *y = b;
    return x->place < y->place ? -1 : x->place > y->place;
}

/* A phone gets one message an occurrence, so it is in the list once. */
static void
refuse_twins(struct reading *x)
{
    struct recurring_def *d = x->d;
    qsort(d->people, d->n_people, sizeof *d->people, by_phone);
    for (size_t i = 1, first = 0; i < d->n_people; i++) {
        if (strcmp(d->people[first].phone, d->people[i].phone) != 0) {
            first = i;
            continue;
        }
        char where[64];
        (void)snprintf(where, sizeof where, d->json ? "contacts[%" PRId64 "]" : "line %" PRId64,
                       d->people[first].place);
        refuse(x, d->people[i].place, "phone", "the same phone as in %s; leave one of them out",
               where);
    }
    qsort(d->people, d->n_people, sizeof *d->people, by_place);
}

bool
recurring_contacts_read(struct ctl *c, struct recurring_def *d, struct err *e)
{
    struct reading x = {.c = c, .d = d};
    bool ok = load_devices(&x, e) && (d->json ? read_doc(&x, e) : read_csv(&x, e));
    if (ok && d->n_people) {
        refuse_twins(&x);
    }
    for (size_t i = 0; i < x.n_devices; i++) {
        free(x.devices[i].name);
    }
    free(x.devices);
    const char *place = d->json ? "contacts" : d->contacts;
    if (ok && x.bad) {
        return err_set(e, ERR_INPUT, "%.150s: %" PRId64 " of them cannot be used; nothing was made",
                       place, x.bad);
    }
    return ok && (d->n_people || err_set(e, ERR_INPUT, "%.150s: there is nobody in it", place));
}

bool
recurring_contacts_insert(struct store *s, uint64_t id, const struct recurring_def *d,
                          struct err *e)
{
    struct sql q = {0};
    bool ok = true;
    for (size_t i = 0; ok && i < d->n_people; i++) {
        if (i % DEFINE_INSERT == 0) {
            sql_clear(&q);
            sql_text(&q, "INSERT INTO recurring_contacts (recurring_id, device_id, phone, name) "
                         "VALUES ");
        }
        sql_text(&q, i % DEFINE_INSERT ? ", (" : "(");
        sql_addf(&q, "%" PRIu64 ", %" PRIu64 ", %s, %s)", id, d->people[i].device,
                 d->people[i].phone, d->people[i].name);
        if (i + 1 == d->n_people || (i + 1) % DEFINE_INSERT == 0) {
            ok = store_exec(s, &q, NULL, NULL, e);
        }
    }
    sql_done(&q);
    return ok;
}
