/* adopt_messages.h -- the older system's messages: which rows are one message, and which of them
 * counts.
 *
 * Its unique keys were missing, or had NULL columns and so guarded nothing; and they compared
 * phones as they were typed.  Here the job id, made of the new ids and the phone in international
 * form, says which rows are one message.  One of them gets that id; the others are kept beside it
 * under an id of their own ("..#dup" and the old id) and belong to no source, so that they can
 * neither be sent nor counted twice. */
#ifndef CTL_ADOPT_MESSAGES_H
#define CTL_ADOPT_MESSAGES_H

#include "ctl/adopt.h"
#include "shared/job.h"

enum { STATUS_SIZE = 16 };

struct message {
    struct adopt_key key;
    char job[JOB_ID_SIZE];
    size_t line;
    const char *kind;
    uint64_t campaign, sequence, step;
    struct adopt_text name, content, error;
    struct buf media; /* JSON, or nothing */
    bool no_media;    /* there is one that cannot be taken over */
    int64_t at, sent, created;
    bool loser;
};

/* A row of ours; old_id "": this adoption did not make it. */
struct there {
    char job[JOB_ID_SIZE], status[STATUS_SIZE], old_id[ADOPT_ID_SIZE];
    uint64_t id;
};

struct messages {
    struct message *items;
    size_t n;
    struct there *there;
    size_t n_there;
};

/* Decides about every row of the batch that has the job id of another one: in the batch, or of
 * ours. Rows of ours are changed at once; those of the batch are to be written as they are then. */
MUST_USE bool adopt_settle(struct adopt *ad, struct messages *b, struct err *e);
/* The same in a dry run, and counts the batch. */
void adopt_foresee(struct adopt *ad, struct messages *b);

/* Reads the rows of ours with the job ids of the batch, and finds one of them. */
MUST_USE bool adopt_look(struct adopt *ad, struct messages *b, struct err *e);
struct there *adopt_there(const struct messages *b, const char *job);

#endif
