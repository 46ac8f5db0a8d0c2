/* device_fields.h -- what can be said of a device, once: the flags of `device add` and `device
 * set`, and the columns of `device import`. */
#ifndef CTL_DEVICE_FIELDS_H
#define CTL_DEVICE_FIELDS_H

#include "ctl/flag.h"
#include "shared/phone.h"
#include "shared/store.h"

struct device_fields {
    const char *phone, *country, *sender, *sender_ref, *account, *zone, *language, *when_offline;
    struct flag_pair gap, batch, quiet;
    int64_t hourly_cap, daily_cap, max_in_flight;
    char digits[PHONE_SIZE]; /* of phone, by device_fields_check() */
};

/* Ends with a NULL name; fills a struct device_fields at its start. */
extern const struct flag device_flags[];

/* What one value alone does not show; normalises the phone.  ERR_INPUT names the flag. */
MUST_USE bool device_fields_check(struct device_fields *d, struct err *e);
/* A name is 1 to 190 characters of UTF-8 without commas and control characters. */
MUST_USE bool device_name_check(const char *name, struct err *e);

/* Adds ", column = value" for each field that is set. */
void device_fields_sql(const struct device_fields *d, struct sql *q);
/* Adds INSERT INTO devices SET ... with everything that is set; the caller may add ON DUPLICATE
 * KEY. */
void device_insert_sql(const struct device_fields *d, uint64_t user, const char *name,
                       struct sql *q);

#endif
