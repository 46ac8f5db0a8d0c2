#include "shared/device.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* Copies what fits, without half a character at the end. */
static void
copy_utf8(char *to, size_t size, const char *from)
{
    size_t n = strlen(from);
    if (n >= size) {
        for (n = size - 1; n && ((unsigned char)from[n] & 0xc0) == 0x80; n--) {
        }
    }
    memcpy(to, from, n);
    to[n] = '\0';
}

void
device_pace_read(const struct rows *r, unsigned first_column, struct device_pace *ret)
{
    unsigned c = first_column;
    *ret = (struct device_pace){
        .version = rows_uint(r, c),
        .max_in_flight = (unsigned)rows_uint(r, c + 1),
        .gap_min_ms = rows_int(r, c + 2),
        .gap_max_ms = rows_int(r, c + 3),
        .batch_size = rows_int(r, c + 4),
        .batch_pause_ms = rows_int(r, c + 5),
        .hourly_cap = rows_int(r, c + 6),
        .daily_cap = rows_int(r, c + 7),
    };
    int64_t from = rows_int(r, c + 8), to = rows_int(r, c + 9);
    if (from >= 0 && to >= 0) {
        (void)snprintf(ret->quiet, sizeof ret->quiet, "%d %d %s", (int)from, (int)to,
                       rows_str(r, c + 10));
    }
    copy_utf8(ret->sender, sizeof ret->sender, rows_str(r, c + 13));
    copy_utf8(ret->ref, sizeof ret->ref, rows_str(r, c + 16));
    if (*rows_str(r, c + 15)) {
        (void)snprintf(ret->account, sizeof ret->account, "%" PRIu64 "/%s", rows_uint(r, c + 14),
                       rows_str(r, c + 15));
    }
    const char *status = rows_str(r, c + 11), *reason = rows_str(r, c + 12);
    if (strcmp(status, "active") != 0) {
        copy_utf8(ret->paused, sizeof ret->paused, *reason ? reason : status);
    }
}
