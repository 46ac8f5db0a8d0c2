#include "ctl/command.h"
#include "ctl/ctl.h"
#include "shared/migrate.h"

static void
on_applied(void *arg, const struct migration *m)
{
    doc_append_str(arg, m->name);
}

static int
migrate(struct ctl *c, const struct args *a)
{
    (void)a;
    struct err e = {0};
    struct doc *d = doc_object(), *names = doc_put_list(d, "applied");
    int n = 0;
    bool ok = ctl_connect(c, &e) && migrate_run(c->store, on_applied, names, &n, &e);
    if (!c->json) {
        for (size_t i = 0; i < doc_len(names); i++) {
            printf("applied %s\n", doc_str(doc_at(names, i)));
        }
    }
    if (!ok) {
        doc_free(d);
        return ctl_fail(&e);
    }
    output_said(&c->out, d,
                n ? "the database is up to date: %d applied"
                  : "nothing to do: the database is up to date",
                n);
    return CTL_OK;
}

const struct command migrate_commands[] = {
    {"migrate", NULL, "", 0, 0, NULL, 0, migrate,
     "Brings the database's schema up to date; twice changes nothing."},
    {NULL, NULL, NULL, 0, 0, NULL, 0, NULL, NULL},
};
