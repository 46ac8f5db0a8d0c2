/* job.h -- what a worker needs to know of a message: the payload of a stream entry, in msgpack; and
 * the deterministic job id.  Pure; the only user of msgpack.
 *
 * The payload is a flat array [version, ...]; version 1 has the fields below in their order (those
 * behind vars came later, and may be missing from the end).  A
 * decoder skips trailing elements that it does not know, so fields may be added behind; any other
 * change takes a new version, which older workers refuse (the job fails with "payload version"). */
#ifndef SHARED_JOB_H
#define SHARED_JOB_H

#include "shared/err.h"
#include "shared/mem.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { JOB_VERSION = 1, JOB_BYTES_MAX = 196608, JOB_VARS_MAX = 64, JOB_ID_SIZE = 65 };

struct job_text {
    const char *s; /* not NUL-terminated */
    size_t len;
};

/* Whether the device has sent to the recipient before; somebody looks only where it may matter. */
enum job_contact { CONTACT_NOT_LOOKED, CONTACT_KNOWN, CONTACT_NEW };

struct job {
    uint64_t row;     /* broadcast_messages.id */
    uint32_t attempt; /* the number of this attempt, from 1 */
    uint64_t user;
    uint64_t device;
    struct job_text sender, device_ref;
    struct job_text recipient, name;
    struct job_text content;                /* the template */
    int64_t gap_min_ms, gap_max_ms;         /* the campaign's own pace, or -1: the device's */
    int64_t batch_size, batch_pause_ms;     /* likewise */
    struct job_text vars[2 * JOB_VARS_MAX]; /* name, value, name, value, ... */
    size_t n_vars;                          /* pairs */
    struct job_text zone, language;         /* the device's; empty in an older program's payload */
    enum job_contact contact;
    struct job_text media;         /* JSON (media.h), never the content; empty: none */
    struct job_text template_json; /* JSON (approved.h); empty: none */
};

/* Appends the payload to out. */
void job_encode(const struct job *j, struct buf *out);

/* Reads a payload; the texts of *ret that are not empty
 * point into p.  ERR_INPUT says what is wrong: too long,
 * truncated, another version, a field of another type.  Allocates nothing, however hostile the
 * bytes. */
MUST_USE bool job_decode(const void *p, size_t n, struct job *ret, struct err *e);

/* "c42-d17-3f9a...-r0": the natural key as text, the same whoever makes it.  The phone is hashed,
 * because ids appear in keys and logs.  Returns out. */
char *job_id_campaign(uint64_t campaign, uint64_t device, const char *phone, unsigned rotation,
                      char out[JOB_ID_SIZE]);

/* "s7-d17-3f9a...-r0" by the step's id; "r3-t1763805600-3f9a..." by the nominal instant in seconds
 * of UTC: a recurring message goes to a recipient once an occurrence, whichever device has it. */
char *job_id_step(uint64_t step, uint64_t device, const char *phone, unsigned rotation,
                  char out[JOB_ID_SIZE]);
char *job_id_occurrence(uint64_t rule, int64_t occurrence_s, const char *phone,
                        char out[JOB_ID_SIZE]);

/* Whether an id from outside (a direct message's) may be used in keys and lines: 1 to 64 of
 * [A-Za-z0-9._:#-]. */
bool job_id_is_good(const char *id);

#endif
