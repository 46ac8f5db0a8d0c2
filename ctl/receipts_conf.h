/* receipts_conf.h -- the [receipts NAME] sections of the configuration file. */
#ifndef CTL_RECEIPTS_CONF_H
#define CTL_RECEIPTS_CONF_H

#include "ctl/receipts_plan.h"
#include "ctl/receipts_sign.h"
#include "shared/conf.h"

enum { RECEIPTS_HEADERS = 8 };

struct receipts_section {
    const char *name; /* the section's, and the path's last part */
    char *type, *user, *verify_token, *header;
    char *secret, *secret_2, *secret_3;
    int64_t signature, encoding;
    char *prefix;
    struct receipt_shape shape; /* its texts are the section's own, or a table's */
    struct receipt_shape given; /* what the section says; owned */
    struct receipts_key key;
    size_t header_at; /* in receipts_conf.headers */
    uint64_t user_id; /* for whoever has looked the user up */
    bool weak;        /* the provider gives nothing back by which a message could be told */
};

struct receipts_conf {
    struct receipts_section *sections;
    size_t n;
    const char *headers[RECEIPTS_HEADERS + 1]; /* NULL-ended: those that signatures are in */
};

/* ERR_INPUT with file:line.  The caller frees with receipts_conf_done(), also after a failure; what
 * is returned borrows from c. */
MUST_USE bool receipts_conf_read(const struct conf *c, struct receipts_conf *ret, struct err *e);
void receipts_conf_done(struct receipts_conf *r);

/* For --check-config. */
bool receipts_conf_check(struct conf *c, struct err *e);

#endif
