/* tz.h -- time zones by their IANA names, without the process-global TZ of the C library.
 *
 * Zones are TZif files of versions 1 to 3 (RFC 8536), the POSIX TZ footer included.  Seconds count
 * from 1970 without leap seconds; a local second is the same count of what a wall clock shows.
 * Whatever lies beyond 2^55 seconds is taken for that bound. */
#ifndef SHARED_TZ_H
#define SHARED_TZ_H

#include "shared/err.h"

#include <stddef.h>
#include <stdint.h>

struct tz;

/* Loads a zone such as "Asia/Kuala_Lumpur" from $PACELINE_TZDIR, else from /usr/share/zoneinfo;
 * "UTC" needs no file.  The caller frees it with tz_free().  ERR_INPUT when the name is none, no
 * such zone exists or its file is malformed; *ret is then NULL. */
MUST_USE bool tz_load(const char *name, struct tz **ret, struct err *e);

/* The same from a file's bytes. */
MUST_USE bool tz_parse(const unsigned char *data, size_t n, struct tz **ret, struct err *e);

void tz_free(struct tz *z);

/* Seconds east of Greenwich in force at a time. */
int32_t tz_offset_at(const struct tz *z, int64_t utc_s);

/* The same; *end is the first second at which another may be in force, INT64_MAX for never. */
int32_t tz_offset_until(const struct tz *z, int64_t utc_s, int64_t *end);

/* When a wall clock there shows local_s.  A time that a clock put forward leaves out is shifted by
 * as much as the clock was; of a time that occurs twice it is the first. */
int64_t tz_local_to_utc(const struct tz *z, int64_t local_s);

#endif
