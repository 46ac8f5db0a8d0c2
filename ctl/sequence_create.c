#include "ctl/sequence_def.h"
#include "ctl/sequence_verbs.h"

#include <inttypes.h>
#include <string.h>

enum { DUPLICATE = 1062 };

struct create {
    struct ctl *c;
    struct sequence_def *d;
    uint64_t id;
};

/* --- the rows ------------------------------------------------------------------------- */

/* Another sequence may have the trigger; one that is cancelled gives it up. */
static bool
take_trigger(struct store *s, const struct create *k, struct err *e)
{
    char place[DEFINE_PLACE];
    struct rows r;
    if (!k->d->trigger) {
        return true;
    }
    if (!store_execf(s, NULL, e,
                     "UPDATE sequences SET `trigger` = NULL WHERE user_id = %" PRIu64
                     " AND `trigger` = %s AND status = 'cancelled'",
                     k->c->user_id, k->d->trigger) ||
        !store_queryf(s, &r, e,
                      "SELECT name FROM sequences WHERE user_id = %" PRIu64
                      " AND `trigger` = %s FOR UPDATE",
                      k->c->user_id, k->d->trigger)) {
        return false;
    }
    bool taken = rows_next(&r);
    if (taken) {
        (void)err_set(e, ERR_GONE, "%s: '%s' is the trigger of sequence '%.100s' already",
                      sequence_def_place(k->d, "trigger", place), k->d->trigger, rows_str(&r, 0));
        (void)(k->d->json && err_wrap(e, "%.100s", define_file_name(k->d->file)));
    }
    rows_done(&r);
    return !taken;
}

static bool
insert_sequence(struct store *s, struct create *k, struct err *e)
{
    const struct sequence_def *d = k->d;
    struct sql q = {0};
    sql_addf(
        &q,
        "INSERT INTO sequences SET user_id = %" PRIu64
        ", created_at = UTC_TIMESTAMP(3), updated_at = UTC_TIMESTAMP(3), name = %s, "
        "`trigger` = %s, all_devices = %d, start_after_s = %" PRId64 ", next_after_s = %" PRId64,
        k->c->user_id, d->name, d->trigger, d->on.all, d->start_after / 1000, d->next_after / 1000);
    if (d->next_id) {
        sql_addf(&q, ", next_sequence_id = %" PRIu64, d->next_id);
    }
    define_pace_sql(&d->pace, &q);
    bool ok = store_exec(s, &q, NULL, &k->id, e);
    sql_done(&q);
    return ok;
}

static bool
insert_steps(struct store *s, const struct create *k, struct err *e)
{
    struct sql q = {0};
    bool ok = true;
    for (size_t i = 0; ok && i < k->d->n; i++) {
        const struct step_def *step = &k->d->steps[i];
        sql_clear(&q);
        sql_addf(&q,
                 "INSERT INTO sequence_steps SET sequence_id = %" PRIu64
                 ", position = %d, delay_s = %" PRId64 ", delay_from = %s, content = %s",
                 k->id, (int)i + 1, step->delay / 1000, step->from, step->content);
        define_message_sql(&step->message, &q);
        ok = define_message_hold(s, k->c->user_id, &step->message, e) &&
             store_exec(s, &q, NULL, NULL, e);
    }
    sql_done(&q);
    return ok;
}

static bool
create_body(struct store *s, void *arg, struct err *e)
{
    struct create *k = arg;
    return sequence_def_link(k->c, k->d, e) && take_trigger(s, k, e) && insert_sequence(s, k, e) &&
           insert_steps(s, k, e) && define_devices_insert(s, SOURCE_SEQUENCE, k->id, &k->d->on, e);
}

/* --- the command ---------------------------------------------------------------------- */

static bool
note_trigger(const struct create *k, struct err *e)
{
    struct rows r;
    if (!k->d->trigger) {
        return true;
    }
    if (!store_queryf(k->c->store, &r, e,
                      "SELECT 1 FROM leads WHERE trigger_pending IN (0, 1) AND user_id = %" PRIu64
                      " AND `trigger` = %s LIMIT 1",
                      k->c->user_id, k->d->trigger)) {
        return false;
    }
    if (!rows_next(&r)) {
        ctl_note("no lead has the trigger '%s' yet; nobody is enrolled before one has",
                 k->d->trigger);
    }
    rows_done(&r);
    return true;
}

static int
create(struct create *k, const char *name)
{
    struct err e = {0};
    struct ctl *c = k->c;
    if (!ctl_user(c, false, &e) || !sequence_def_read(c, name, k->d, &e)) {
        return ctl_fail(&e);
    }
    if (!store_transact(c->store, create_body, k, &e)) {
        return store_code(c->store) == DUPLICATE
                   ? ctl_refuse("there is a sequence '%s' already", k->d->name)
                   : ctl_fail(&e);
    }
    if (!note_trigger(k, &e)) {
        ctl_note("%s", e.text); /* it is there all the same */
    }
    struct doc *d = doc_object();
    doc_put_id(d, "id", k->id);
    doc_put_str(d, "name", k->d->name);
    doc_put_str(d, "status", "active");
    doc_put_int(d, "steps", (int64_t)k->d->n);
    output_said(&c->out, d, "sequence %s created with id %" PRIu64 " and %zu steps%s%s", k->d->name,
                k->id, k->d->n, k->d->next ? "; then follows " : "", k->d->next ? k->d->next : "");
    return CTL_OK;
}

int
sequence_create(struct ctl *c, const struct args *a)
{
    struct create k = {.c = c, .d = a->flags};
    int code = create(&k, a->n ? a->operands[0] : NULL);
    sequence_def_done(k.d);
    return code;
}
