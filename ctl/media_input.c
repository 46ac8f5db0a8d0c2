#include "ctl/media_input.h"

#include "ctl/media_fetch.h"
#include "ctl/media_store.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

int64_t
media_input_limit(const struct ctl *c, enum media_kind k)
{
    const int64_t limits[MEDIA_KINDS] = {[MEDIA_IMAGE] = c->media_image_max,
                                         [MEDIA_VIDEO] = c->media_video_max,
                                         [MEDIA_AUDIO] = c->media_audio_max,
                                         [MEDIA_DOCUMENT] = c->media_document_max};
    return limits[k] < c->media_max ? limits[k] : c->media_max;
}

static bool
begins(const char *text, const char *word)
{
    return strncasecmp(text, word, strlen(word)) == 0;
}

/* Stops behind the limit, so that an endless file does no harm. */
static bool
read_file(const char *path, int64_t max, struct buf *out, struct err *e)
{
    char block[65536];
    ssize_t n = -1;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    while (fd >= 0 && (int64_t)out->len <= max && (n = read(fd, block, sizeof block)) > 0) {
        buf_add(out, block, (size_t)n);
    }
    int code = errno;
    if (fd >= 0) {
        (void)close(fd);
    }
    if (fd < 0 || n < 0) {
        return err_set(e, ERR_INPUT, "%.200s: %s", path, strerror(code));
    }
    return (int64_t)out->len <= max ||
           err_set(e, ERR_INPUT, "%.200s: the file has more than %" PRId64 " bytes", path, max);
}

static void
name_by_path(const char *path, struct media_ref *m)
{
    const char *slash = strrchr(path, '/');
    const char *name = slash ? slash + 1 : path;
    if (!*m->filename && m->kind == MEDIA_DOCUMENT && media_filename_is_good(name)) {
        (void)snprintf(m->filename, sizeof m->filename, "%s", name);
    }
}

static bool
read_local(struct ctl *c, const char *path, struct media_ref *m, struct buf *out, struct err *e)
{
    if (!read_file(path, media_input_limit(c, m->kind), out, e)) {
        return false;
    }
    if (!out->len) {
        return err_set(e, ERR_INPUT, "%.200s: the file is empty", path);
    }
    name_by_path(path, m);
    return media_type(m->kind, "", path, out->data, out->len, m->mime, e) ||
           err_wrap(e, "%.200s", path);
}

static bool
read_data(struct ctl *c, const char *url, struct media_ref *m, struct buf *out, struct err *e)
{
    char said[MEDIA_MIME_SIZE];
    if (!media_data_url(url, strlen(url), (size_t)media_input_limit(c, m->kind), out, said, e)) {
        return false;
    }
    if (!out->len) {
        return err_set(e, ERR_INPUT, "data: URL: it is empty");
    }
    return media_type(m->kind, said, m->filename, out->data, out->len, m->mime, e) ||
           err_wrap(e, "data: URL");
}

static bool
read_source(struct ctl *c, const char *source, bool files, struct media_ref *m, struct buf *out,
            struct err *e)
{
    struct media_fetch fetch = {m->kind, media_input_limit(c, m->kind), c->media_timeout,
                                c->media_allow_private};
    if (begins(source, "data:")) {
        return read_data(c, source, m, out, e);
    }
    if (begins(source, "http://") || begins(source, "https://")) {
        return media_fetch(&fetch, source, out, m->mime, e);
    }
    if (!files || strstr(source, "://")) {
        return err_set(e, ERR_INPUT, "has to be an http(s) or a data: URL%s",
                       files ? ", or a file" : "");
    }
    return read_local(c, source, m, out, e);
}

static bool
take_link(const char *url, struct media_ref *m, struct err *e)
{
    if (!media_url_check(url, e)) {
        return false;
    }
    memcpy(m->url, url, strlen(url) + 1);
    return true;
}

static bool
take_stored(struct ctl *c, const char *sha256, struct media_ref *m, struct err *e)
{
    if (strlen(sha256) != MEDIA_SHA_SIZE - 1 ||
        strspn(sha256, "0123456789abcdef") != MEDIA_SHA_SIZE - 1) {
        return err_set(e, ERR_INPUT, "behind sha256: stand 64 hex digits in lower case");
    }
    memcpy(m->sha256, sha256, MEDIA_SHA_SIZE);
    return media_store_find(c, m, e);
}

bool
media_input(struct ctl *c, const char *source, bool files, struct media_ref *m, bool *ret_new,
            struct err *e)
{
    struct buf content = {0};
    bool fresh = false;
    bool ok = begins(source, "link:") ? take_link(source + 5, m, e)
              : begins(source, "sha256:")
                  ? take_stored(c, source + 7, m, e)
                  : read_source(c, source, files, m, &content, e) &&
                        media_store_add(c, content.data, content.len, m, &fresh, e);
    buf_done(&content);
    if (ret_new) {
        *ret_new = fresh;
    }
    return ok;
}
