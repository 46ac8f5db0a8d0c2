#include "worker/media_plan.h"

#include <stdio.h>
#include <string.h>

enum media_way
media_plan_way(const struct media_ref *m, unsigned can, char why[200])
{
    *why = '\0';
    if (*m->url) {
        if (can & CAN_MEDIA_URL) {
            return WAY_URL;
        }
        (void)snprintf(why, 200, "takes no %s as a link%s", media_kind_name(m->kind),
                       can & (CAN_UPLOAD | CAN_MEDIA_BYTES)
                           ? "; store it: give the definition the URL without link:"
                           : ", and none at all");
        return WAY_NONE;
    }
    if (can & CAN_UPLOAD) {
        return WAY_UPLOAD;
    }
    if (can & CAN_MEDIA_BYTES) {
        return WAY_BYTES;
    }
    (void)snprintf(why, 200, "takes no %s that is stored here%s", media_kind_name(m->kind),
                   can & CAN_MEDIA_URL ? "; give the definition a link: link:https://.."
                                       : ", and none at all");
    return WAY_NONE;
}

/* Cloud API: 131052 and 131053 say that a medium could not be had, 100 that a parameter is wrong,
 * which is also its answer to an id that it does not know. */
bool
media_plan_id_refused(const struct outcome *o)
{
    static const char *const codes[] = {"131052", "131053", "100"};
    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
        if (strcmp(o->code, codes[i]) == 0) {
            return (o->class == OUTCOME_REJECTED || o->class == OUTCOME_RETRY) &&
                   (o->scope == SCOPE_MESSAGE || o->scope == SCOPE_TEMPLATE);
        }
    }
    return false;
}

void
media_plan_retry(struct outcome *o)
{
    o->class = OUTCOME_RETRY;
    o->scope = SCOPE_MESSAGE;
    o->retry_after_ms = 0;
    o->stop = false;
    o->stop_after = 0;
}

void
media_plan_upload_failed(struct outcome *o)
{
    bool held = o->scope == SCOPE_PAIR || o->scope == SCOPE_DEVICE || o->scope == SCOPE_ACCOUNT ||
                o->scope == SCOPE_ENDPOINT;
    bool charged = o->class == OUTCOME_RETRY && !held;
    o->provider_id[0] = '\0';
    if (charged || o->class == OUTCOME_UNKNOWN || o->class == OUTCOME_SENT) {
        o->class = OUTCOME_NOT_SENT;
    }
}
