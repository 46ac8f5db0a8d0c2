/* dispatch_internal.h -- one pass of dispatch: which devices, which rows, which jobs.  Not for
 * others.
 *
 * dispatch.c        devices and their room; the pass
 * dispatch_claim.c  due rows -> rows of ours, in one transaction
 * dispatch_text.c   the texts and paces that rows of one source share
 * dispatch_media.c  what rows and sources send besides text
 * dispatch_jobs.c   rows -> jobs with their payloads
 * dispatch_refuse.c rows that must not go out
 * dispatch_caps.c   rows that would be too much now (dispatch_frequency.c, dispatch_quota.c)
 * dispatch_push.c   stage, queued, activate */
#ifndef PRODUCER_DISPATCH_INTERNAL_H
#define PRODUCER_DISPATCH_INTERNAL_H

#include "producer/dispatch_media.h"
#include "producer/dispatch_refuse.h"
#include "producer/producer.h"
#include "shared/source.h"

struct target {
    uint64_t device, user;
    int64_t room;
    bool full; /* of jobs */
    bool idle; /* Redis knew nothing of it: what is due goes out as soon as it is dispatched */
    struct device_pace pace;
    char *sender, *sender_ref, *zone, *language;
    size_t claimed;
};

/* The text and the pace of a campaign, a sequence's step, or a recurring message. */
struct template
{
    enum source_kind kind;
    uint64_t id; /* of the campaign, the step or the rule */
    uint64_t user;
    char *content;
    char *media, *template_json; /* as the table has them; NULL: none */
    struct parts parts;
    int64_t gap_min, gap_max, batch_size, batch_pause; /* -1: the device's */
    int64_t gap_percent;                               /* of these gaps, or of the device's */
    bool fixed_gap;                                    /* their mean, not drawn */
};

struct pass {
    struct producer *p;
    struct target *targets;
    size_t n_targets; /* that have room */
    size_t n_fed;     /* all whose feeder lease was asked for: those with room come first */
    struct template *templates;
    size_t n_templates, cap_templates;
    size_t n_parts; /* of the templates: whose parts have been read */
    struct queue_push *items;
    struct buf *payloads;
    size_t n_items;
    struct stored *stored; /* contents that rows and sources name */
    size_t n_stored, cap_stored;
    size_t *item_stored;     /* by queue_push.order: its number + 1, or 0 */
    struct refused *refused; /* claimed rows that must not go out */
    size_t n_refused;
    char token[64];
    bool skip_locked;
    bool swept;     /* found by their due rows, not by what Redis lacks */
    struct sql ids; /* "1,2,3" of the claim in hand */
    int64_t
        *lags_ms; /* of the first message of each device that was idle: how late it was claimed */
    size_t n_lags;
    uint64_t jobs, ended; /* activated; refused */
};

/* Claims up to each target's room of due rows under x->token, and puts their ids into x->ids.
 * paused: " AND (..)", which keeps rows of stopped campaigns out, or "".  *ret_rows counts them. */
MUST_USE bool claim_rows(struct pass *x, struct target *targets, size_t n, const char *paused,
                         uint64_t *ret_rows, struct err *e);
/* Appends the clause for claim_rows(). */
MUST_USE bool claim_read_paused(struct producer *p, struct buf *ret, struct err *e);

/* Fills x->items from the rows that x->token holds, and ends those that must not go out (see
 * dispatch_refuse.h); jobs_done() empties them. */
MUST_USE bool jobs_read(struct pass *x, struct err *e);
void jobs_done(struct pass *x);

/* Reads what is not known yet of the sources of the rows in x->ids. */
MUST_USE bool templates_read(struct pass *x, struct err *e);
const struct template *find_template(const struct pass *x, enum source_kind kind, uint64_t id);
void templates_done(struct pass *x);
struct target *find_target(const struct pass *x, uint64_t device);

/* Stages x->items, calls the staged ones queued, activates those that are; gives the others back.
 */
MUST_USE bool push_jobs(struct pass *x, struct err *e);

/* The device is not looked at again for ms. */
void dispatch_rest(struct producer *p, uint64_t device, int64_t ms);

/* For qsort and bsearch over row ids. */
int by_row_id(const void *a, const void *b);

#endif
