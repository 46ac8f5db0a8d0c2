/* receipts_private.h -- one batch of the inbox, between receipts.c and the files that find and
 * write its rows. */
#ifndef REAPER_RECEIPTS_PRIVATE_H
#define REAPER_RECEIPTS_PRIVATE_H

#include "reaper/reaper.h"
#include "reaper/receipt_plan.h"

enum { RECEIPTS_BATCH = 500 };

enum receipt_end { RECEIPT_LATER, RECEIPT_APPLIED, RECEIPT_ORPHAN };
enum receipt_found { FOUND_NOT, FOUND_BY_JOB, FOUND_BY_ID, FOUND_WEAKLY };

/* A row that receipts of the batch are about. */
struct receipt_target {
    uint64_t id, device;
    char job_id[JOB_ID_SIZE], provider_id[192];
    uint32_t gen;
    struct receipt_row row;           /* as it is after the receipts before */
    const struct receipt_line *raise; /* the one that raised it last, NULL = none */
    const struct receipt_line *proof; /* the one that changed its status or counts, NULL = none */
    bool ended;     /* it was at its end, or unknown, before: what it belongs to is counted anew */
    bool take_back; /* its job may be in Redis */
    bool held_up;   /* Redis does not answer: not now */
};

struct receipt_line {
    uint64_t id, user;
    struct receipt r;
    char provider_id[192], job_id[JOB_ID_SIZE], phone[32], device_ref[192], section[65];
    char code[32], detail[256], happened_at[32];
    bool weak;
    enum receipt_found how;
    uint64_t row;  /* 0 = none was found */
    bool to_phone; /* the row goes to the receipt's phone */
    struct receipt_target *target;
    enum receipt_end end;
};

struct receipt_batch {
    struct reaper *reaper;
    struct receipt_line lines[RECEIPTS_BATCH];
    size_t n;
    struct receipt_target targets[RECEIPTS_BATCH]; /* by id */
    size_t n_targets;
    int64_t resolved;
};

/* Sets row and how of each line that is about a message. */
MUST_USE bool receipt_find_rows(struct store *db, struct receipt_batch *b, struct err *e);
/* Locks them in the order of their ids, and sets each line's target. */
MUST_USE bool receipt_lock_rows(struct store *db, struct receipt_batch *b, struct err *e);
/* Rows, history, and what is counted anew. */
MUST_USE bool receipt_write_rows(struct store *db, const struct receipt_batch *b, struct err *e);
/* The inbox. */
MUST_USE bool receipt_write_lines(struct store *db, const struct receipt_batch *b, struct err *e);

#endif
