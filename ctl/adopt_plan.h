/* adopt_plan.h -- what becomes of a row of an older system: its columns, its status, its times, and
 * which of several rows for one message counts.  Pure. */
#ifndef CTL_ADOPT_PLAN_H
#define CTL_ADOPT_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct tz;

/* In the order in which they are adopted: each refers only to those before it. */
enum adopt_table {
    ADOPT_USERS,
    ADOPT_DEVICES,
    ADOPT_LEADS,
    ADOPT_CAMPAIGNS,
    ADOPT_SEQUENCES,
    ADOPT_STEPS,
    ADOPT_MESSAGES,
    ADOPT_TABLES
};

/* Places of the columns in their tables; ADOPT_ID is the first of each. */
enum { ADOPT_ID, ADOPT_COLUMNS_MAX = 20 };
enum { USER_NAME = 1 };
enum {
    DEVICE_USER = 1,
    DEVICE_NAME,
    DEVICE_PHONE,
    DEVICE_SENDER,
    DEVICE_REF,
    DEVICE_MIN,
    DEVICE_MAX
};
enum { LEAD_USER = 1, LEAD_DEVICE, LEAD_PHONE, LEAD_NAME, LEAD_NICHE, LEAD_STATUS, LEAD_TRIGGER };
enum {
    CAMPAIGN_USER = 1,
    CAMPAIGN_DEVICE,
    CAMPAIGN_NAME,
    CAMPAIGN_NICHE,
    CAMPAIGN_TARGET,
    CAMPAIGN_CONTENT,
    CAMPAIGN_MEDIA,
    CAMPAIGN_AT,
    CAMPAIGN_TIME,
    CAMPAIGN_STATUS,
    CAMPAIGN_MIN,
    CAMPAIGN_MAX
};
enum {
    SEQUENCE_USER = 1,
    SEQUENCE_DEVICE,
    SEQUENCE_NAME,
    SEQUENCE_TRIGGER,
    SEQUENCE_STATUS,
    SEQUENCE_MIN,
    SEQUENCE_MAX
};
enum { STEP_SEQUENCE = 1, STEP_DAY, STEP_HOURS, STEP_CONTENT, STEP_MEDIA };
enum {
    MESSAGE_USER = 1,
    MESSAGE_DEVICE,
    MESSAGE_CAMPAIGN,
    MESSAGE_SEQUENCE,
    MESSAGE_STEP,
    MESSAGE_PHONE,
    MESSAGE_NAME,
    MESSAGE_CONTENT,
    MESSAGE_MEDIA,
    MESSAGE_STATUS,
    MESSAGE_ERROR,
    MESSAGE_AT,
    MESSAGE_SENT,
    MESSAGE_CREATED
};

/* theirs: the names it may have there, the likeliest first. */
struct adopt_column {
    const char *name, *theirs;
    bool required, time;
};
struct adopt_shape {
    const char *name, *theirs;
    bool required;
    const struct adopt_column *columns; /* ends with a NULL name */
};
extern const struct adopt_shape adopt_shapes[ADOPT_TABLES];

/* The value of a key, in any case of letters, in "key=value,key=value"; false when it is not there,
 * or longer than size - 1.  list may be NULL. */
bool adopt_listed(const char *list, const char *key, char *out, size_t size);
/* The next "|"-separated word of *list; false at the end. */
bool adopt_word(const char **list, char *out, size_t size);

/* What a word of theirs says, --status having been asked first. */
enum adopt_state {
    STATE_PENDING,
    STATE_STUCK, /* somebody had begun, and nobody knows how far he came */
    STATE_SENT,
    STATE_FAILED,
    STATE_SKIPPED,
    STATE_UNKNOWN
};
bool adopt_state_parse(const char *word, const char *overrides, enum adopt_state *ret);
/* Of campaigns and sequences: ours, or NULL for a word that is not understood. */
const char *adopt_source_status(enum adopt_table t, const char *word, const char *overrides);

/* "2026-11-22 18:00:00.5" on a wall clock of the zone (NULL: UTC) -> milliseconds since 1970; false
 * when it is no time between 1970 and 9999.  *ret_left_out: a clock change left that time out, and
 * it was moved forward. */
bool adopt_time(const char *text, const struct tz *zone, int64_t *ret_ms, bool *ret_left_out);
enum { ADOPT_TIME_SIZE = 32 };
char *adopt_time_text(int64_t ms, char out[ADOPT_TIME_SIZE]);

struct adopt_rules {
    enum adopt_state stuck; /* what a row that was under way becomes: pending, failed or unknown */
    bool keep_first;        /* of duplicates; otherwise the one that got furthest */
    int64_t now_ms, max_lateness_ms;
};
struct adopt_facts {
    enum adopt_state state;
    bool has_sent_at;
    int64_t scheduled_ms;
    const char *obstacle; /* why it could not be sent any more, or NULL */
};
/* reason "" when there is nothing to say.  Both are constants. */
struct adopt_verdict {
    const char *status, *reason;
};
struct adopt_verdict adopt_decide(const struct adopt_rules *rules, const struct adopt_facts *f);

/* Two rows for one message.  Whatever the rule, none is pending afterwards where one of them went
 * out, or may have. */
struct adopt_resolution {
    bool later_wins;
    const char *winner, *loser; /* their statuses from now on */
};
struct adopt_resolution adopt_resolve(bool keep_first, const char *first, const char *later);

#endif
