/* adopt.h -- taking over the database of an older system: what its rooms share.
 *
 * The old database is only read.  Its rows are copied a batch at a time: the rows, their lines in
 * `adoptions` and the cursor are one transaction, so that an adoption that is cut off anywhere goes
 * on behind its last batch.  A dry run goes the same way with ids that it makes up, and writes
 * nothing. */
#ifndef CTL_ADOPT_H
#define CTL_ADOPT_H

#include "ctl/adopt_plan.h"
#include "ctl/doc.h"
#include "ctl/progress.h"
#include "shared/phone.h"
#include "shared/store.h"

enum { ADOPT_ID_SIZE = 65, ADOPT_NAME_SIZE = 65, ADOPT_CONTENT_MAX = 65535 };

/* Ids of a dry run begin here, where no row has one. */
#define ADOPT_MADE_UP ((uint64_t)1 << 62)

struct adopt_flags {
    const char *from, *zone, *times, *duplicates, *stuck, *status, *map, *country, *sender;
    int64_t max_lateness, batch;
    bool dry_run;
};

/* A table of theirs as it was found.  name "": there is none. */
struct adopt_found {
    char name[ADOPT_NAME_SIZE];
    char column[ADOPT_COLUMNS_MAX][ADOPT_NAME_SIZE]; /* "": there is none */
    bool local[ADOPT_COLUMNS_MAX];                   /* a time on the clock of --zone */
    struct buf left_out;                             /* their other columns */
    uint64_t before;                                 /* its rows */
};

/* Old id -> new id, and what other tables need to know of it. */
struct adopt_mapped {
    char old[ADOPT_ID_SIZE];
    uint64_t id, user, parent;
    char status[16];
};
struct adopt_map {
    struct adopt_mapped *items;
    size_t n, cap, sorted;
};

/* What became of one row; lines of one kind are counted together. */
struct adopt_line {
    char old_id[ADOPT_ID_SIZE], old_status[64];
    const char *new_status, *reason;
    uint64_t new_id, user, parent;
};
struct adopt_flow {
    enum adopt_table table;
    char old_status[64], new_status[16], reason[32];
    int64_t n;
    struct buf examples;
    int shown;
};

struct adopt {
    struct store *store;
    const struct adopt_flags *flags;
    const char *user; /* whose everything is where the old database has no users */
    struct tz *zone;
    struct adopt_rules rules;
    struct adopt_found found[ADOPT_TABLES];
    struct buf other_tables;             /* of theirs, which are not taken over */
    struct adopt_map maps[ADOPT_TABLES]; /* not of leads and messages */
    struct adopt_flow *flows;
    size_t n_flows, flows_cap;
    struct adopt_line *lines; /* of the batch */
    size_t n_lines, lines_cap;
    uint64_t made_up; /* ids of a dry run */
    uint64_t *slots;  /* of a dry run: job ids that came before, and the flow of each */
    size_t n_slots, slots_cap;
    int64_t shortened, mended, moved_times, bad_times, media, links;
    struct progress progress;
    int64_t done;
};

/* --- adopt_source.c: what the old database has ------------------------------------------ */

/* Finds the tables and columns; refuses what is missing or not understood. */
MUST_USE bool adopt_find(struct adopt *ad, struct err *e);
/* SELECT .. FROM .. of all columns in the order of the plan, up to WHERE. */
void adopt_select(const struct adopt *ad, enum adopt_table t, struct sql *q);
/* `database`.`table` */
void adopt_table_name(const struct adopt *ad, enum adopt_table t, struct sql *q);
/* Every word of their statuses is understood. */
MUST_USE bool adopt_check_statuses(struct adopt *ad, struct err *e);

/* --- adopt_map.c ----------------------------------------------------------------------- */

const struct adopt_mapped *adopt_map_find(struct adopt_map *m, const char *old);
void adopt_map_put(struct adopt_map *m, const struct adopt_line *line);
MUST_USE bool adopt_map_load(struct adopt *ad, enum adopt_table t, struct err *e);
void adopt_map_done(struct adopt_map *m);
/* Its number. */
size_t adopt_count(struct adopt *ad, enum adopt_table t, const struct adopt_line *line, int64_t n);
/* The flow under which this hash was noted before, or NULL, and then it is noted now. */
uint64_t *adopt_slot(struct adopt *ad, uint64_t hash);

/* --- adopt_batch.c --------------------------------------------------------------------- */

MUST_USE bool adopt_begin(struct adopt *ad, struct err *e);
MUST_USE bool adopt_copy(struct adopt *ad, enum adopt_table t, struct err *e);
MUST_USE bool adopt_finish(struct adopt *ad, struct err *e);
struct adopt_line *adopt_line_add(struct adopt *ad, const struct rows *r);
/* Leaves the row out; returns true, for that is no error. */
bool adopt_leave_out(struct adopt_line *line, const char *reason);

/* Values as our columns take them: at most `chars` characters of UTF-8; what is cut off or mended
 * is counted.  *ret_bad: it had to be mended. */
struct adopt_text {
    char *s;
    size_t len;
    bool bad, cut;
};
struct adopt_text adopt_text_of(struct adopt *ad, const struct rows *r, unsigned column,
                                size_t chars, size_t bytes);
/* Appends our JSON of their picture or file when it is a link that can be passed on.  False: there
 * is one, and it is none.  Both are counted. */
bool adopt_media(struct adopt *ad, const char *theirs, struct buf *ret);
/* A time of the row; 0 when it has none.  Bad ones are counted. */
int64_t adopt_time_of(struct adopt *ad, enum adopt_table t, const struct rows *r, unsigned column);

/* The user to whom everything belongs where the old database has none. */
MUST_USE bool adopt_only_user(struct adopt *ad, struct err *e);

/* A recipient of a device; lead: its row of ours, or 0. */
struct adopt_key {
    uint64_t device, lead;
    char phone[PHONE_SIZE];
};
MUST_USE bool adopt_find_leads(struct adopt *ad, struct adopt_key *const *keys, size_t n,
                               struct err *e);
/* The device and phone of a row; false, and the row is left out, when they are no good, or when the
 * device is another user's than the row. */
bool adopt_recipient(struct adopt *ad, const struct rows *r, unsigned user, unsigned device,
                     unsigned phone, struct adopt_line *line, struct adopt_key *ret);

/* --- one table each: the rows of a batch into lines and statements ----------------------- */

typedef bool adopt_convert(struct adopt *ad, struct rows *r, struct err *e);
adopt_convert adopt_users, adopt_devices, adopt_campaigns, adopt_sequences, adopt_steps;
adopt_convert adopt_leads, adopt_messages;

#endif
