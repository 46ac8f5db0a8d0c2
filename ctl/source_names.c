#include "ctl/source_names.h"

bool
source_names_find(struct ctl *c, const struct source_names *names, enum source_kind *kind,
                  struct found *ret, struct err *e)
{
    *kind = SOURCE_DIRECT;
    *ret = (struct found){0};
    for (int i = 0; i < SOURCE_TABLES; i++) {
        if (!names->of[i]) {
            continue;
        }
        if (*kind != SOURCE_DIRECT) {
            return err_set(e, ERR_INPUT, "--%s and --%s exclude each other", sources[*kind].kind,
                           sources[i].kind);
        }
        *kind = (enum source_kind)i;
        if (!ctl_find_source(c, *kind, names->of[i], ret, e)) {
            return false;
        }
    }
    return true;
}
