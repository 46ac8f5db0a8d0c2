/* ctl.h -- what the commands of `paceline` share: settings, connections that are opened when first
 * needed, the user to whom every query is bound, and how a command ends. */
#ifndef CTL_CTL_H
#define CTL_CTL_H

#include "ctl/output.h"
#include "shared/compose.h"
#include "shared/conf.h"
#include "shared/queue.h"
#include "shared/source.h"
#include "shared/store.h"

#include <stdbool.h>
#include <stdint.h>

enum ctl_exit {
    CTL_OK,
    CTL_FAILED,    /* refused, or an audit found something; part of the work may be done */
    CTL_COULD_NOT, /* wrong usage or bad input, or Redis or MySQL is away: nothing was decided */
};

struct ctl {
    /* settings */
    struct compose_settings compose;
    char *redis_url, *redis_password, *mysql_url, *mysql_password, *prefix, *user,
        *default_time_zone, *inlet_user, *inlet_password, *stop_words;
    int64_t partitions, log_level, log_format;
    int64_t media_max, media_image_max, media_video_max, media_audio_max, media_document_max;
    int64_t media_timeout;
    bool media_allow_private;
    bool json, utc;
    /* state */
    const struct conf *conf; /* for sections */
    struct output out;
    struct store *store;
    struct ev_loop *loop;
    struct queue *queue;
    struct err redis_error; /* why there is no queue, once that is known */
    uint64_t user_id;
};

extern const struct conf_key ctl_keys[];

void ctl_start(struct ctl *c);
void ctl_stop(struct ctl *c);

/* Connects, and checks that the schema is there.  ctl_connect does not check. */
MUST_USE bool ctl_connect(struct ctl *c, struct err *e);
MUST_USE bool ctl_store(struct ctl *c, struct err *e);

/* The same, and c->user_id becomes that of --user.  create: makes the user if it is new.  Otherwise
 * the user "default" may be missing (id 0, to which nothing belongs), and any other is ERR_GONE. */
MUST_USE bool ctl_user(struct ctl *c, bool create, struct err *e);

/* Opens the queue and waits for Redis, once: after a failure each call gives the same error. */
MUST_USE bool ctl_queue(struct ctl *c, struct err *e);
/* Forgets the queue, or why there is none. */
void ctl_queue_drop(struct ctl *c);

/* For queue verbs of which only the first failure counts: arg is a struct err, zero at first. */
void ctl_asked(void *arg, const struct err *e);

/* What people name: by name or, if there is no such name, by id; the user's own only. */
struct found {
    uint64_t id;
    char name[768];
};
MUST_USE bool ctl_find_device(struct ctl *c, const char *text, struct found *ret, struct err *e);
MUST_USE bool ctl_find_source(struct ctl *c, enum source_kind kind, const char *text,
                              struct found *ret, struct err *e);
/* What people call it: "campaign", "recurring message". */
const char *ctl_source_noun(enum source_kind kind);

/* A whole number without sign. */
MUST_USE bool ctl_parse_id(const char *text, uint64_t *ret);

/* Prints the error to stderr; CTL_FAILED for ERR_GONE, CTL_COULD_NOT for every other kind. */
int ctl_fail(const struct err *e);
/* Prints why the command does not do it; CTL_FAILED. */
int ctl_refuse(const char *fmt, ...) PRINTF_LIKE(1, 2);
/* One line to stderr that changes nothing. */
void ctl_note(const char *fmt, ...) PRINTF_LIKE(1, 2);

#endif
