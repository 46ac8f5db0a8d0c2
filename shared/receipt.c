#include "shared/receipt.h"

#include <string.h>

static const char *const names[] = {"none", "sent", "failed", "delivered",
                                    "read", "stop", "resume"};

const char *
receipt_kind_name(enum receipt_kind k)
{
    return names[k];
}

enum receipt_kind
receipt_kind_parse(const char *word)
{
    for (int k = RECEIPT_SENT; k <= RECEIPT_RESUME; k++) {
        if (strcmp(names[k], word) == 0) {
            return (enum receipt_kind)k;
        }
    }
    return RECEIPT_NONE;
}

bool
receipt_code_is_opt_out(const char *code)
{
    return strcmp(code, "131050") == 0;
}
