/* leads_columns.h -- which column of a CSV holds what of a lead: by --map, or by the names that
 * people give such columns.  Other columns become the lead's attributes, which templates use as
 * variables. */
#ifndef CTL_LEADS_COLUMNS_H
#define CTL_LEADS_COLUMNS_H

#include "ctl/sheet.h"

enum lead_field {
    LEAD_PHONE,
    LEAD_NAME,
    LEAD_NICHE,
    LEAD_STATUS,
    LEAD_TRIGGER,
    LEAD_DEVICE,
    LEAD_FIELDS
};

struct lead_columns {
    size_t at[LEAD_FIELDS]; /* column, or SHEET_NONE */
    char **attribute;       /* of each column its variable's name, or NULL */
    size_t n, n_attributes;
};

/* map is --map's text or NULL.  device_column: NULL, or --device-column.  wants_device: every row
 * has to name its device.  ERR_INPUT says which columns there are.  The caller frees with
 * lead_columns_done(), also after a failure. */
MUST_USE bool lead_columns_find(const struct sheet *s, const char *map, const char *device_column,
                                bool wants_device, struct lead_columns *ret, struct err *e);
void lead_columns_done(struct lead_columns *c);

/* The mapping as text: the same import of the same file has the same. */
void lead_columns_describe(const struct lead_columns *c, struct buf *out);

#endif
