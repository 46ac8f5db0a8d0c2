/* template_text.h -- the texts that `paceline template` looks at: a file, --content, or what a
 * campaign or a sequence sends. */
#ifndef CTL_TEMPLATE_TEXT_H
#define CTL_TEMPLATE_TEXT_H

#include "ctl/ctl.h"
#include "shared/mem.h"

struct template_flags {
    const char *content, *campaign, *sequence; /* where from, unless a FILE is given */
    const char *lead, *device;
    int64_t samples, at, limit;
};

struct template_text {
    char *label; /* "greeting.txt", "campaign Raya", "step 2" */
    struct buf content;
    char *beside;          /* what is sent beside it, for people, or NULL */
    bool caption;          /* of a medium */
    bool parameter;        /* of an approved template */
    enum source_kind kind; /* SOURCE_CAMPAIGN or SOURCE_SEQUENCE, where there is an id */
    uint64_t id;           /* of the campaign or the step, or 0 */
};
struct template_texts {
    struct template_text *items;
    size_t n, cap;
    uint64_t campaign; /* or 0 */
    uint64_t sequence;
};

/* file: the operand, or NULL.  ERR_INPUT unless exactly one source is named; campaigns and
 * sequences are the user's own.  The caller frees, whatever is returned. */
MUST_USE bool template_texts_read(struct ctl *c, const struct template_flags *f, const char *file,
                                  struct template_texts *ret, struct err *e);
void template_texts_done(struct template_texts *t);

/* limit: as --limit says; a caption has WhatsApp's at most. */
int64_t template_text_limit(const struct template_text *t, int64_t limit);

#endif
