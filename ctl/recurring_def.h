/* recurring_def.h -- the definition of a recurring message: from flags or JSON into one struct,
 * checked, and back from the tables into the same JSON.  docs/definitions.md describes the format.
 */
#ifndef CTL_RECURRING_DEF_H
#define CTL_RECURRING_DEF_H

#include "ctl/define_message.h"
#include "shared/phone.h"
#include "shared/recur.h"

enum { RECURRING_LISTS = 3, RECURRING_START = 24 };

struct contact_def {
    char phone[PHONE_SIZE];
    char *name; /* owned */
    uint64_t device;
    int64_t place; /* the index in JSON, the line in a file */
};

/* Also what the flags of `recurring create` fill; zero-initialise. */
struct recurring_def {
    const char *file, *content, *content_file, *devices, *contacts, *device, *country;
    const char *device_column, *map;
    const char *niche, *target_status;
    const char *freq, *every, *weekdays, *month_days, *at, *cron, *zone, *start, *end_date;
    const char *month_policy, *gap_policy, *catch_up, *run_overlap, *delay, *randomise;
    int64_t catch_up_max, max_run_lateness, max_executions;
    struct define_pace pace;
    struct message_flags parts;
    /* by recurring_def_read() */
    bool json;
    const char *name;
    struct doc *doc;
    struct define_message message;
    struct buf text, lists[RECURRING_LISTS];
    char every_text[24], start_now[RECURRING_START];
    int64_t every_n; /* days, weeks, months; seconds of an interval */
    struct recur *rule;
    struct define_devices on;
    struct contact_def *people;
    size_t n_people, cap_people;
};
extern const struct flag recurring_flags[];

/* Reads d->file, or the flags that are in d; name: the operand, which goes before the file's, or
 * NULL. now_s: for a start that is not given.  Checks everything, and finds devices and contacts.
 */
MUST_USE bool recurring_def_read(struct ctl *c, const char *name, int64_t now_s,
                                 struct recurring_def *d, struct err *e);
void recurring_def_done(struct recurring_def *d);

/* --- recurring_contacts.c -------------------------------------------------------------- */

/* Reads d->contacts, a CSV, or the member "contacts" into d->people.  Each bad one is reported on
 * stderr with its place, at most 20; ERR_INPUT says how many there are. */
MUST_USE bool recurring_contacts_read(struct ctl *c, struct recurring_def *d, struct err *e);
MUST_USE bool recurring_contacts_insert(struct store *s, uint64_t id, const struct recurring_def *d,
                                        struct err *e);

/* --- recurring_load.c ------------------------------------------------------------------ */

/* The database's clock. */
MUST_USE bool recurring_now(struct ctl *c, int64_t *ret_s, struct err *e);
/* The definition of the user's rule, from the tables. */
MUST_USE bool recurring_def_put(struct ctl *c, uint64_t id, struct doc *out, struct err *e);
/* Its rule, to be freed with recur_free(); zone: its name, to be freed. */
MUST_USE bool recurring_rule(struct ctl *c, uint64_t id, struct recur **ret, char **zone,
                             struct err *e);

#endif
