/* define.h -- what the definitions of sequences and recurring messages have in common.  A
 * definition comes from flags or from a JSON file; both fill the same struct through the same table
 * of flags, so that one check serves both, and both are written back in one way.
 *
 * Every error begins with the place: "--gap: ..." or "steps[2].content: line 1:7: ...".  Texts are
 * borrowed from the command line or from the document. */
#ifndef CTL_DEFINE_H
#define CTL_DEFINE_H

#include "ctl/ctl.h"
#include "ctl/flag.h"

enum {
    DEFINE_NAME = 190,
    DEFINE_WORD = 64,
    DEFINE_CONTENT = 65535,
    DEFINE_PLACE = 96,
    DEFINE_INSERT = 1000, /* rows of one INSERT */
};

/* --- files ---------------------------------------------------------------------------- */

/* Appends a file of at most max bytes; "-" is the standard input.  ERR_INPUT begins with the path.
 */
MUST_USE bool define_file(const char *path, size_t max, struct buf *out, struct err *e);
/* Reads a JSON file that holds one object.  ERR_INPUT: FILE:line:column: what.  The caller frees
 * it. */
MUST_USE bool define_load(const char *path, struct doc **ret, struct err *e);
/* What errors call the file. */
const char *define_file_name(const char *path);
/* A file holds the whole definition: no flag beside it may, but for those that are listed. */
MUST_USE bool define_alone(const struct flag *flags, const char *const *beside, const void *values,
                           struct err *e);

/* --- members -------------------------------------------------------------------------- */

/* Reads the members that are `simple`, by the flag of their name, into values; those of `other` are
 * the caller's; any more are refused.  path: of the object, "" for the document.  Lists end with
 * NULL. */
MUST_USE bool define_members(const struct doc *object, const char *path, const struct flag *flags,
                             const char *const *simple, const char *const *other, void *values,
                             struct err *e);
/* Puts those of the simple members that are set, in their order. */
void define_put(const struct flag *flags, const char *const *simple, const void *values,
                struct doc *object);

/* "niche" -> "--niche" of a flag, or the member itself; of "schedule.end_date" the flag is
 * "--end-date".  Returns out. */
const char *define_place(bool json, const char *member, char out[DEFINE_PLACE]);

/* Each wraps its error with the place. */
MUST_USE bool define_name(const char *place, const char *name, const char *what, struct err *e);
MUST_USE bool define_word(const char *place, const char *word, struct err *e); /* or NULL */
MUST_USE bool define_content(const char *place, const char *text, size_t len, struct err *e);
MUST_USE bool define_seconds(const char *place, int64_t ms, struct err *e);

/* --- devices -------------------------------------------------------------------------- */

struct define_devices {
    bool all;
    uint64_t *ids;
    size_t n, cap;
};
/* text: "A, B" or "all", of --devices, or NULL; else v: a list of names, or "all", of the member
 * "devices".  ERR_GONE: the user has no such device, or no devices at all. */
MUST_USE bool define_devices(struct ctl *c, const char *text, const struct doc *v,
                             struct define_devices *ret, struct err *e);
void define_devices_done(struct define_devices *d);
/* Inserts their rows of sequence_devices or recurring_devices. */
MUST_USE bool define_devices_insert(struct store *s, enum source_kind kind, uint64_t id,
                                    const struct define_devices *d, struct err *e);
/* Puts "devices" as a definition has them. */
MUST_USE bool define_devices_put(struct ctl *c, enum source_kind kind, uint64_t id, bool all,
                                 struct doc *object, struct err *e);

/* --- pace ----------------------------------------------------------------------------- */

struct define_pace {
    struct flag_pair gap, batch;
    int64_t max_lateness, max_attempts;
    const char *on_unknown;
};
extern const char *const define_pace_members[];

/* Rows of a table of flags for a struct with a member `pace`. */
#define DEFINE_PACE_FLAGS(type)                                                                    \
    {"gap", FLAG_GAP, offsetof(type, pace.gap),                                                    \
     NULL,  NULL,     "Pause between two messages of a device, instead of the device's own.",      \
     false},                                                                                       \
        {"batch", FLAG_BATCH, offsetof(type, pace.batch),                                          \
         NULL,    NULL,       "A longer pause after so many, instead of the device's own.",        \
         false},                                                                                   \
        {"max-lateness",                                                                           \
         FLAG_MS,                                                                                  \
         offsetof(type, pace.max_lateness),                                                        \
         "1s..3650d",                                                                              \
         NULL,                                                                                     \
         "A message that is later than this is skipped; without it none is too late.",             \
         false},                                                                                   \
        {"max-attempts", FLAG_INT, offsetof(type, pace.max_attempts),                              \
         "1..1000",      NULL,     "How often a message is tried. Default: 5.",                    \
         false},                                                                                   \
    {                                                                                              \
        "on-unknown", FLAG_WORD, offsetof(type, pace.on_unknown), "hold|resend|assume_sent", NULL, \
            "When nobody can know whether a message was sent: wait for a decision, risk a second " \
            "one, or count it as sent. Default: hold.",                                            \
            false                                                                                  \
    }

/* Fills in the defaults, and checks what one value alone does not show. */
MUST_USE bool define_pace_check(bool json, struct define_pace *p, struct err *e);
/* Adds ", min_gap_ms = ..." and so on. */
void define_pace_sql(const struct define_pace *p, struct sql *q);
#define DEFINE_PACE_COLUMNS                                                                        \
    "min_gap_ms, max_gap_ms, batch_size, batch_pause_ms, 1000 * max_lateness_s, max_attempts, "    \
    "on_unknown"
/* Of the current row, from column `at` on; on_unknown is borrowed from it. */
void define_pace_read(const struct rows *r, unsigned at, struct define_pace *ret);

#endif
