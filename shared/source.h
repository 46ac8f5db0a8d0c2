/* source.h -- where messages come from: campaigns, sequences, recurring messages, and applications
 * (direct).  What their tables and job ids have in common, so that whatever stops, paces or counts
 * messages is written once.  Pure. */
#ifndef SHARED_SOURCE_H
#define SHARED_SOURCE_H

#include <stdint.h>

enum source_kind {
    SOURCE_CAMPAIGN,
    SOURCE_SEQUENCE,
    SOURCE_RECURRING,
    SOURCE_DIRECT,
    SOURCE_KINDS
};
/* Those with a table of their own come first. */
enum { SOURCE_TABLES = SOURCE_DIRECT, SOURCE_WORD_SIZE = 24 };

struct source_info {
    const char *kind;    /* broadcast_messages.kind, and what people call it */
    const char *table;   /* "campaigns", or NULL */
    const char *column;  /* of broadcast_messages: "campaign_id", or NULL */
    const char *devices; /* "campaign_devices": (column, device_id), or NULL */
    const char *running; /* the status under which its messages go out */
    const char *others;  /* for IN (..): all statuses but paused and cancelled */
    char letter;         /* of its word in Redis */
};
extern const struct source_info sources[SOURCE_KINDS];

/* The kind of a row's kind column; SOURCE_DIRECT for a word that is none. */
enum source_kind source_kind_parse(const char *word);

/* The source word of its jobs, "c42", "s7", "r3"; of direct messages "d" and the user's id, since
 * they have no row of their own.  Returns out. */
char *source_word(enum source_kind kind, uint64_t id, char out[SOURCE_WORD_SIZE]);

/* The id of the source of a row of broadcast_messages aliased m, 0 for direct ones. */
#define SOURCE_ID_SQL "COALESCE(m.campaign_id, m.sequence_id, m.recurring_id, 0)"

#endif
