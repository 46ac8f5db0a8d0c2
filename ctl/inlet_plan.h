/* inlet_plan.h -- what listmonk posts to a messenger -> the messages to be written.  Pure: bytes
 * in, rows out.
 *
 * The shape is that of listmonk's internal/messenger/postback: {"subject", "body", "content_type",
 * "recipients": [{"uuid", "email", "name", "attribs": {..}, "status"}], "campaign": {"uuid", ..} or
 * null, "attachments"}; members that are not named here are not looked at.  The body has been
 * rendered by listmonk, so its braces are escaped: it is sent as it came.
 *
 * job_id is "lm-" and a hash of user, campaign and recipient: a repeated request has the same.
 * Without a campaign (a transactional message) it is a hash of user, recipient and text; a
 * recipient without a uuid counts by its phone. */
#ifndef CTL_INLET_PLAN_H
#define CTL_INLET_PLAN_H

#include "shared/err.h"
#include "shared/job.h"
#include "shared/mem.h"
#include "shared/phone.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { INLET_RECIPIENTS_MAX = 500, INLET_BODY_MAX = 1 << 20, INLET_CONTENT_MAX = 65535 };

struct inlet_settings {
    uint64_t user;
    const char *country;         /* calling code for phones that begin with 0 */
    const char *phone_attribute; /* the subscriber's attribute that holds the phone */
};

enum inlet_fate {
    INLET_WRITE,   /* to be written */
    INLET_SKIPPED, /* rightly not sent: opted out, blocklisted */
    INLET_BAD,     /* cannot be sent: no phone, no device */
};

struct inlet_row {
    char job_id[JOB_ID_SIZE], phone[PHONE_SIZE];
    char *label;  /* how the answer names the recipient: uuid, email or #2 */
    char *name;   /* at most 190 characters */
    char *device; /* attribs.device, or NULL */
    uint64_t device_id;
    bool archived; /* it was written long ago */
    bool planned;  /* was to be written when the plan was made */
    enum inlet_fate fate;
    char why[128]; /* when it is not written */
};

struct inlet_plan {
    struct buf content;
    struct inlet_row *rows;
    size_t n;
};

/* ERR_INPUT: it is no JSON of this shape (with line:column); ERR_REFUSED: it is understood, and
 * cannot be sent (HTML, attachments, too long); ERR_FULL: too many recipients.  The caller frees
 * with inlet_plan_done(), also after a failure. */
MUST_USE bool inlet_plan(const struct inlet_settings *s, const char *bytes, size_t len,
                         struct inlet_plan *ret, struct err *e);
void inlet_plan_done(struct inlet_plan *p);

/* Why a row is not written. */
void inlet_row_refuse(struct inlet_row *row, enum inlet_fate fate, const char *fmt, ...)
    PRINTF_LIKE(3, 4);

#endif
