#include "shared/source.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

const struct source_info sources[SOURCE_KINDS] = {
    [SOURCE_CAMPAIGN] = {"campaign", "campaigns", "campaign_id", "campaign_devices", "running",
                         "'draft', 'scheduled', 'running', 'finished'", 'c'},
    [SOURCE_SEQUENCE] = {"sequence", "sequences", "sequence_id", "sequence_devices", "active",
                         "'active'", 's'},
    [SOURCE_RECURRING] = {"recurring", "recurring_messages", "recurring_id", "recurring_devices",
                          "active", "'active', 'finished'", 'r'},
    [SOURCE_DIRECT] = {.kind = "direct", .letter = 'd'},
};

enum source_kind
source_kind_parse(const char *word)
{
    for (int i = 0; i < SOURCE_DIRECT; i++) {
        if (strcmp(word, sources[i].kind) == 0) {
            return (enum source_kind)i;
        }
    }
    return SOURCE_DIRECT;
}

char *
source_word(enum source_kind kind, uint64_t id, char out[SOURCE_WORD_SIZE])
{
    (void)snprintf(out, SOURCE_WORD_SIZE, "%c%" PRIu64, sources[kind].letter, id);
    return out;
}
