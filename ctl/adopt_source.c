#include "ctl/adopt.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* Backticks cannot be in a name that passed is_identifier(). */
static bool
is_identifier(const char *name)
{
    size_t n = strcspn(name, "`\\/.");
    return n > 0 && n < ADOPT_NAME_SIZE && !name[n];
}

static void
add_name(struct sql *q, const char *name)
{
    sql_text(q, "`");
    sql_text(q, name);
    sql_text(q, "`");
}

/* A name, if there is one, between two constant texts. */
static void
add_in(struct sql *q, const char *before, const char *name, const char *behind)
{
    sql_text(q, before);
    if (*name) {
        add_name(q, name);
    }
    sql_text(q, behind);
}

void
adopt_table_name(const struct adopt *ad, enum adopt_table t, struct sql *q)
{
    add_name(q, ad->flags->from);
    sql_text(q, ".");
    add_name(q, ad->found[t].name);
}

/* --- tables and columns ------------------------------------------------------------------ */

/* name becomes what it is called there, where upper case may matter. */
static bool
has_table(struct adopt *ad, char name[ADOPT_NAME_SIZE], bool *ret, struct err *e)
{
    struct rows r;
    if (!store_queryf(ad->store, &r, e,
                      "SELECT table_name FROM information_schema.tables WHERE table_schema = %s "
                      "AND LOWER(table_name) = LOWER(%s)",
                      ad->flags->from, name)) {
        return false;
    }
    *ret = rows_next(&r);
    if (*ret) {
        (void)snprintf(name, ADOPT_NAME_SIZE, "%s", rows_str(&r, 0));
    }
    rows_done(&r);
    return true;
}

static bool
find_table(struct adopt *ad, enum adopt_table t, struct err *e)
{
    const struct adopt_shape *shape = &adopt_shapes[t];
    struct adopt_found *f = &ad->found[t];
    char name[ADOPT_NAME_SIZE];
    bool there = false, mapped = adopt_listed(ad->flags->map, shape->name, name, sizeof name);
    const char *names = mapped ? "" : shape->theirs;
    while (!there && (mapped || adopt_word(&names, name, sizeof name))) {
        if (!has_table(ad, name, &there, e)) {
            return false;
        }
        if (mapped && !there) {
            return err_set(e, ERR_INPUT, "--map: the database %s has no table '%s'",
                           ad->flags->from, name);
        }
    }
    if (there && !is_identifier(name)) {
        return err_set(e, ERR_INPUT, "the table '%s' has a name that cannot be used", name);
    }
    if (!there && shape->required) {
        return err_set(e, ERR_INPUT,
                       "the database %s has no table like '%s' (looked for %s): say which with "
                       "--map %s=TABLE; is it the right database, and may this user read it?",
                       ad->flags->from, shape->name, shape->theirs, shape->name);
    }
    (void)snprintf(f->name, sizeof f->name, "%s", there ? name : "");
    return true;
}

/* The columns of one table of theirs. */
struct theirs {
    struct {
        char name[ADOPT_NAME_SIZE];
        bool is_instant, used;
    } * items;
    size_t n;
};

/* A TIMESTAMP is an instant, whatever clock it was shown on; a DATETIME is what a clock on the wall
 * showed. */
static bool
take_column(struct adopt_found *f, size_t i, struct theirs *there, const char *name)
{
    for (size_t k = 0; k < there->n; k++) {
        if (!there->items[k].used && is_identifier(name) &&
            strcasecmp(there->items[k].name, name) == 0) {
            there->items[k].used = true;
            (void)snprintf(f->column[i], ADOPT_NAME_SIZE, "%s", there->items[k].name);
            f->local[i] = !there->items[k].is_instant;
            return true;
        }
    }
    return false;
}

static bool
choose_zone(struct adopt *ad, const char *key, const struct adopt_column *c, bool *ret_local,
            struct err *e)
{
    char how[16];
    if (!adopt_listed(ad->flags->times, key, how, sizeof how)) {
        return true;
    }
    *ret_local = strcasecmp(how, "local") == 0;
    return (c->time && (*ret_local || strcasecmp(how, "utc") == 0)) ||
           err_set(e, ERR_INPUT, "--times %s=%s: name a column of times, =utc or =local", key, how);
}

static bool
choose_column(struct adopt *ad, enum adopt_table t, size_t i, struct theirs *there, struct err *e)
{
    const struct adopt_column *c = &adopt_shapes[t].columns[i];
    struct adopt_found *f = &ad->found[t];
    char key[80], name[ADOPT_NAME_SIZE];
    bool found = false;
    (void)snprintf(key, sizeof key, "%s.%s", adopt_shapes[t].name, c->name);
    if (adopt_listed(ad->flags->map, key, name, sizeof name)) {
        found = take_column(f, i, there, name);
        if (!found && *name) {
            return err_set(e, ERR_INPUT, "--map %s: the table %s has no column '%s' that is free",
                           key, f->name, name);
        }
    } else {
        for (const char *names = c->theirs; !found && adopt_word(&names, name, sizeof name);) {
            found = take_column(f, i, there, name);
        }
    }
    if (!found && c->required) {
        return err_set(e, ERR_INPUT,
                       "the table %s.%s has no column for %s (looked for %s): say which with "
                       "--map %s=COLUMN",
                       ad->flags->from, f->name, c->name, c->theirs, key);
    }
    return choose_zone(ad, key, c, &f->local[i], e);
}

static bool
find_columns(struct adopt *ad, enum adopt_table t, struct err *e)
{
    struct rows r;
    struct theirs there = {0};
    struct adopt_found *f = &ad->found[t];
    if (!*f->name) {
        return true;
    }
    if (!store_queryf(ad->store, &r, e,
                      "SELECT column_name, data_type FROM information_schema.columns WHERE "
                      "table_schema = %s AND table_name = %s ORDER BY ordinal_position",
                      ad->flags->from, f->name)) {
        return false;
    }
    there.items = xcalloc(r.count + 1, sizeof *there.items);
    for (; rows_next(&r); there.n++) {
        (void)snprintf(there.items[there.n].name, ADOPT_NAME_SIZE, "%s", rows_str(&r, 0));
        there.items[there.n].is_instant = strcasecmp(rows_str(&r, 1), "timestamp") == 0;
    }
    rows_done(&r);
    bool ok = true;
    for (size_t i = 0; ok && adopt_shapes[t].columns[i].name; i++) {
        ok = choose_column(ad, t, i, &there, e);
    }
    for (size_t k = 0; k < there.n; k++) {
        if (!there.items[k].used) {
            buf_addf(&f->left_out, "%s%s", f->left_out.len ? ", " : "", there.items[k].name);
        }
    }
    free(there.items);
    return ok;
}

/* The cursor rests on it: a batch ends at an id and the next begins behind it. */
static bool
check_ids(struct adopt *ad, enum adopt_table t, struct err *e)
{
    struct sql q = {0};
    struct rows r;
    struct adopt_found *f = &ad->found[t];
    if (!*f->name) {
        return true;
    }
    sql_text(&q, "SELECT COUNT(*), COUNT(DISTINCT ");
    add_name(&q, f->column[ADOPT_ID]);
    sql_text(&q, "), MAX(CHAR_LENGTH(");
    add_name(&q, f->column[ADOPT_ID]);
    sql_text(&q, ")) FROM ");
    adopt_table_name(ad, t, &q);
    bool ok = store_query(ad->store, &q, &r, e);
    sql_done(&q);
    if (!ok || !rows_next(&r)) {
        return ok;
    }
    f->before = rows_uint(&r, 0);
    if (rows_uint(&r, 1) != f->before || rows_uint(&r, 2) >= ADOPT_ID_SIZE) {
        ok = err_set(e, ERR_INPUT,
                     "%s.%s: %" PRIu64 " rows have %" PRIu64 " different values of %s (at most 64 "
                     "characters each are understood): name a column that tells each row from "
                     "the others with --map %s.id=COLUMN",
                     ad->flags->from, f->name, f->before, rows_uint(&r, 1), f->column[ADOPT_ID],
                     adopt_shapes[t].name);
    }
    rows_done(&r);
    return ok;
}

static bool
find_others(struct adopt *ad, struct err *e)
{
    struct rows r;
    if (!store_queryf(ad->store, &r, e,
                      "SELECT table_name FROM information_schema.tables WHERE table_schema = %s "
                      "ORDER BY 1",
                      ad->flags->from)) {
        return false;
    }
    while (rows_next(&r)) {
        bool known = false;
        for (enum adopt_table t = 0; t < ADOPT_TABLES; t++) {
            known = known || strcasecmp(ad->found[t].name, rows_str(&r, 0)) == 0;
        }
        if (!known) {
            buf_addf(&ad->other_tables, "%s%s", ad->other_tables.len ? ", " : "", rows_str(&r, 0));
        }
    }
    rows_done(&r);
    return true;
}

bool
adopt_find(struct adopt *ad, struct err *e)
{
    struct rows r;
    const char *from = ad->flags->from;
    if (!is_identifier(from)) {
        return err_set(e, ERR_INPUT, "--from %.64s: that is no name of a database", from);
    }
    if (!store_queryf(ad->store, &r, e, "SELECT DATABASE() = %s", from)) {
        return false;
    }
    bool own = rows_next(&r) && rows_int(&r, 0);
    rows_done(&r);
    if (own) {
        return err_set(e, ERR_INPUT,
                       "--from %s is Paceline's own database: name the older system's", from);
    }
    for (enum adopt_table t = 0; t < ADOPT_TABLES; t++) {
        if (!find_table(ad, t, e) || !find_columns(ad, t, e) || !check_ids(ad, t, e)) {
            return false;
        }
    }
    return find_others(ad, e);
}

/* --- reading ----------------------------------------------------------------------------- */

/* A step's place among those of its sequence, and the day of the one before it. */
static void
add_step_order(const struct adopt *ad, struct sql *q)
{
    const struct adopt_found *f = &ad->found[ADOPT_STEPS];
    const char *day = f->column[STEP_DAY], *id = f->column[ADOPT_ID];
    for (int i = 0; i < 2; i++) {
        if (i == 1 && !*day) {
            sql_text(q, ", NULL");
            return;
        }
        sql_text(q, i == 0 ? ", (SELECT COUNT(*" : ", (SELECT MAX(");
        add_in(q, i == 0 ? "" : "y.", i == 0 ? "" : day, i == 0 ? "" : " + 0");
        sql_text(q, ") FROM ");
        adopt_table_name(ad, ADOPT_STEPS, q);
        add_in(q, " y WHERE y.", f->column[STEP_SEQUENCE], "");
        add_in(q, " = x.", f->column[STEP_SEQUENCE], " AND (");
        if (*day) {
            add_in(q, "y.", day, " + 0");
            add_in(q, " < x.", day, " + 0");
            add_in(q, " OR y.", day, " + 0");
            add_in(q, " = x.", day, " + 0 AND ");
        }
        add_in(q, "y.", id, "");
        add_in(q, " < x.", id, "))");
    }
}

void
adopt_select(const struct adopt *ad, enum adopt_table t, struct sql *q)
{
    const struct adopt_found *f = &ad->found[t];
    sql_text(q, "SELECT ");
    for (size_t i = 0; adopt_shapes[t].columns[i].name; i++) {
        sql_text(q, i ? ", " : "");
        if (*f->column[i]) {
            sql_text(q, "x.");
            add_name(q, f->column[i]);
        } else {
            sql_text(q, "NULL");
        }
    }
    if (t == ADOPT_STEPS) {
        add_step_order(ad, q);
    }
    sql_text(q, " FROM ");
    adopt_table_name(ad, t, q);
    sql_text(q, " x");
}

/* --- statuses ---------------------------------------------------------------------------- */

static unsigned
status_column(enum adopt_table t)
{
    return t == ADOPT_CAMPAIGNS   ? CAMPAIGN_STATUS
           : t == ADOPT_SEQUENCES ? SEQUENCE_STATUS
           : t == ADOPT_MESSAGES  ? MESSAGE_STATUS
                                  : 0;
}

static bool
is_understood(const struct adopt *ad, enum adopt_table t, const char *word)
{
    enum adopt_state state;
    return t == ADOPT_MESSAGES ? adopt_state_parse(word, ad->flags->status, &state)
                               : adopt_source_status(t, word, ad->flags->status) != NULL;
}

static bool
check_words(struct adopt *ad, enum adopt_table t, struct rows *r, struct err *e)
{
    while (rows_next(r)) {
        const char *word = rows_str(r, 0);
        if (!is_understood(ad, t, word)) {
            bool message = t == ADOPT_MESSAGES;
            return err_set(e, ERR_INPUT,
                           "%s.%s: %" PRIu64
                           " rows have the status '%.40s', which is not understood: say "
                           "what it means with --status '%s%s%.40s=%s'",
                           ad->flags->from, ad->found[t].name, rows_uint(r, 1), word,
                           message ? "" : adopt_shapes[t].name, message ? "" : ".", word,
                           message ? "pending|processing|sent|failed|skipped|unknown"
                                   : "paused|finished|cancelled");
        }
    }
    return true;
}

bool
adopt_check_statuses(struct adopt *ad, struct err *e)
{
    bool ok = true;
    for (enum adopt_table t = 0; ok && t < ADOPT_TABLES; t++) {
        unsigned c = status_column(t);
        struct sql q = {0};
        struct rows r;
        if (!c || !*ad->found[t].column[c]) {
            continue;
        }
        sql_text(&q, "SELECT COALESCE(");
        add_name(&q, ad->found[t].column[c]);
        sql_text(&q, ", ''), COUNT(*) FROM ");
        adopt_table_name(ad, t, &q);
        sql_text(&q, " GROUP BY 1");
        ok = store_query(ad->store, &q, &r, e);
        ok = ok && check_words(ad, t, &r, e);
        rows_done(&r);
        sql_done(&q);
    }
    return ok;
}
