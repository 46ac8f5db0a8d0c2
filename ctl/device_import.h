/* device_import.h -- `device import`: a row of cmd_device.c's command list with a file of its own.
 */
#ifndef CTL_DEVICE_IMPORT_H
#define CTL_DEVICE_IMPORT_H

#include "ctl/command.h"

#include <stdbool.h>

struct device_import_flags {
    bool dry_run, update;
    const char *country, *errors;
};
extern const struct flag device_import_flags[];
int device_import(struct ctl *c, const struct args *a);

#endif
