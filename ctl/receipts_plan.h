/* receipts_plan.h -- a provider's webhook -> events for the inbox.  Pure: bytes in, events out.
 *
 * `cloudapi` has a shape of its own (many events in one body); every other provider is a table of
 * JSON pointers, for each body tells of one event, or of one for several ids.  What is neither a
 * receipt of a message that we may have sent nor an answer that is a stop word is counted and left
 * out: the texts of conversations are not ours to keep. */
#ifndef CTL_RECEIPTS_PLAN_H
#define CTL_RECEIPTS_PLAN_H

#include "shared/err.h"
#include "shared/job.h"
#include "shared/phone.h"
#include "shared/receipt.h"
#include "shared/stop_words.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { RECEIPTS_BODY_MAX = 3 << 20, RECEIPT_ID_SIZE = 191 };

struct receipt_event {
    enum receipt_kind kind;
    char
        provider_id[RECEIPT_ID_SIZE]; /* of the message; of a preference made up, for it has none */
    char job_id[JOB_ID_SIZE];         /* what we gave along and got back, or "" */
    uint16_t attempt;
    char phone[PHONE_SIZE]; /* of the recipient, "" when it is not told (or is no phone) */
    char device_ref[RECEIPT_ID_SIZE];
    int64_t at_ms; /* when it happened by the provider's clock, 0 = it does not say */
    /* Of a failure its code; of stop and resume where they come from: "reply", "preference". */
    char code[32];
    char detail[256];
};

/* Pointers (RFC 6901) into a body; NULL: it has no such thing.  words: "DELIVERY_ACK=delivered
 * 3=read", separated by spaces; a status that is not named is left out. */
struct receipt_shape {
    const char *event, *receipt_event, *message_event; /* what tells bodies apart, and its values */
    const char *id, *status, *words, *callback, *phone, *device, *at, *code, *detail; /* receipts */
    const char *message_id, *from, *text, *mine, *message_at;                         /* answers */
};

/* The table of a type; NULL for a type that is not known.  `cloudapi` has an empty one, and so has
 * `json`, whose section names everything. */
const struct receipt_shape *receipt_shape_of(const char *type);
/* A pointer is "" or begins with "/". */
MUST_USE bool receipt_shape_check(const struct receipt_shape *s, struct err *e);

struct receipts_plan {
    struct receipt_event *events;
    size_t n, cap;
    size_t left_out; /* events that are not for the inbox */
};

/* ERR_INPUT: it is no JSON of this shape (with line:column).  The caller frees with
 * receipts_plan_done(), also after a failure. */
MUST_USE bool receipts_plan(const char *type, const struct receipt_shape *shape,
                            const struct stop_words *words, const char *bytes, size_t len,
                            struct receipts_plan *ret, struct err *e);
void receipts_plan_done(struct receipts_plan *p);

#endif
