/* receipt.h -- what a provider may tell of a message behind its answer, and of its recipient. Pure.
 */
#ifndef SHARED_RECEIPT_H
#define SHARED_RECEIPT_H

#include <stdbool.h>

/* In the order in which a message's receipt rises: a failure is known until somebody reports a
 * delivery.  The last two are about the recipient. */
enum receipt_kind {
    RECEIPT_NONE,
    RECEIPT_SENT,
    RECEIPT_FAILED,
    RECEIPT_DELIVERED,
    RECEIPT_READ,
    RECEIPT_STOP,
    RECEIPT_RESUME
};

/* As the columns receipts.kind and broadcast_messages.receipt have it. */
const char *receipt_kind_name(enum receipt_kind k);
/* RECEIPT_NONE for a word that is none. */
enum receipt_kind receipt_kind_parse(const char *word);

/* Error 131050 of the Cloud API: the recipient wants no marketing messages from this number. */
bool receipt_code_is_opt_out(const char *code);

#endif
