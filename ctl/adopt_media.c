/* adopt_media.c -- the older system's pictures and files: it named them by URL. */
#include "ctl/adopt.h"
#include "shared/media.h"

#include <stdio.h>
#include <string.h>

bool
adopt_media(struct adopt *ad, const char *theirs, struct buf *ret)
{
    struct media_ref m = {.kind = MEDIA_IMAGE}; /* what most columns are named for */
    if (!*theirs) {
        return true;
    }
    ad->media++;
    if (!media_url_check(theirs, NULL)) {
        return false;
    }
    (void)media_kind_by_name(theirs, &m.kind);
    (void)snprintf(m.url, sizeof m.url, "%s", theirs);
    media_write(&m, ret);
    ad->media--;
    ad->links++;
    return true;
}
