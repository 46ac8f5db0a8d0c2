#include "shared/job.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <msgpack.h>
#include <xxhash.h>

/* In a payload: those of the first programs, and all. */
enum { FIELDS_AT_FIRST = 15, FIELDS = 20 };

static void
pack_text(msgpack_packer *pk, struct job_text t)
{
    (void)msgpack_pack_str(pk, t.len);
    (void)msgpack_pack_str_body(pk, t.s, t.len);
}

static int
write_buf(void *data, const char *p, size_t n)
{
    buf_add(data, p, n);
    return 0;
}

void
job_encode(const struct job *j, struct buf *out)
{
    msgpack_packer pk;
    msgpack_packer_init(&pk, out, write_buf);
    (void)msgpack_pack_array(&pk, FIELDS);
    (void)msgpack_pack_uint64(&pk, JOB_VERSION);
    (void)msgpack_pack_uint64(&pk, j->row);
    (void)msgpack_pack_uint64(&pk, j->attempt);
    (void)msgpack_pack_uint64(&pk, j->user);
    (void)msgpack_pack_uint64(&pk, j->device);
    pack_text(&pk, j->sender);
    pack_text(&pk, j->device_ref);
    pack_text(&pk, j->recipient);
    pack_text(&pk, j->name);
    pack_text(&pk, j->content);
    (void)msgpack_pack_int64(&pk, j->gap_min_ms);
    (void)msgpack_pack_int64(&pk, j->gap_max_ms);
    (void)msgpack_pack_int64(&pk, j->batch_size);
    (void)msgpack_pack_int64(&pk, j->batch_pause_ms);
    (void)msgpack_pack_array(&pk, 2 * j->n_vars);
    for (size_t i = 0; i < 2 * j->n_vars; i++) {
        pack_text(&pk, j->vars[i]);
    }
    pack_text(&pk, j->zone);
    pack_text(&pk, j->language);
    (void)msgpack_pack_uint64(&pk, j->contact);
    pack_text(&pk, j->media);
    pack_text(&pk, j->template_json);
}

/* The decoder walks the bytes itself: msgpack-c allocates what a header declares (4 GB for five
 * hostile bytes), and a flat array of known fields needs no tree. */
struct walk {
    const unsigned char *p;
    size_t left;
};

static bool
take(struct walk *w, size_t n, const unsigned char **ret)
{
    if (w->left < n) {
        return false;
    }
    *ret = w->p;
    w->p += n;
    w->left -= n;
    return true;
}

static bool
take_be(struct walk *w, size_t n, uint64_t *ret)
{
    const unsigned char *b;
    if (!take(w, n, &b)) {
        return false;
    }
    *ret = 0;
    for (size_t i = 0; i < n; i++) {
        *ret = *ret << 8 | b[i];
    }
    return true;
}

static bool
walk_int(struct walk *w, int64_t *ret)
{
    const unsigned char *b;
    uint64_t u;
    if (!take(w, 1, &b)) {
        return false;
    }
    if (*b < 0x80) {
        *ret = *b;
        return true;
    }
    if (*b >= 0xe0) {
        *ret = (int64_t)*b - 256;
        return true;
    }
    if (*b >= 0xcc && *b <= 0xcf) {
        if (!take_be(w, (size_t)1 << (*b - 0xcc), &u) || u > INT64_MAX) {
            return false;
        }
        *ret = (int64_t)u;
        return true;
    }
    if (*b >= 0xd0 && *b <= 0xd3) {
        size_t n = (size_t)1 << (*b - 0xd0);
        if (!take_be(w, n, &u)) {
            return false;
        }
        if (n < 8 && u >> (8 * n - 1)) {
            u |= ~(uint64_t)0 << (8 * n);
        }
        *ret = (int64_t)u;
        return true;
    }
    return false;
}

static bool
walk_uint(struct walk *w, uint64_t *ret)
{
    int64_t v;
    if (!walk_int(w, &v) || v < 0) {
        return false;
    }
    *ret = (uint64_t)v;
    return true;
}

/* The length of a string (0xa0, 0xd9..) or of an array (0x90, 0xdc..), by its header. */
static bool
walk_head(struct walk *w, unsigned char fix, unsigned char fix_mask, unsigned char first,
          size_t first_bytes, uint64_t *ret)
{
    const unsigned char *b;
    if (!take(w, 1, &b)) {
        return false;
    }
    if ((*b & ~fix_mask) == fix) {
        *ret = *b & fix_mask;
        return true;
    }
    for (unsigned char k = first; first_bytes <= 4; k++, first_bytes *= 2) {
        if (*b == k) {
            return take_be(w, first_bytes, ret);
        }
    }
    return false;
}

static bool
walk_text(struct walk *w, struct job_text *ret)
{
    uint64_t n;
    const unsigned char *b;
    if (!walk_head(w, 0xa0, 0x1f, 0xd9, 1, &n) || n > w->left || !take(w, (size_t)n, &b)) {
        return false;
    }
    ret->s = (const char *)b;
    ret->len = (size_t)n;
    return true;
}

static bool
walk_array(struct walk *w, uint64_t *ret)
{
    return walk_head(w, 0x90, 0x0f, 0xdc, 2, ret) &&
           *ret <= w->left; /* an element takes a byte at least */
}

static bool
walk_fields(struct walk *w, struct job *j)
{
    uint64_t attempt, n;
    if (!walk_uint(w, &j->row) || !walk_uint(w, &attempt) || !walk_uint(w, &j->user) ||
        !walk_uint(w, &j->device) || !walk_text(w, &j->sender) || !walk_text(w, &j->device_ref) ||
        !walk_text(w, &j->recipient) || !walk_text(w, &j->name) || !walk_text(w, &j->content) ||
        !walk_int(w, &j->gap_min_ms) || !walk_int(w, &j->gap_max_ms) ||
        !walk_int(w, &j->batch_size) || !walk_int(w, &j->batch_pause_ms) || !walk_array(w, &n) ||
        n % 2 || n > (uint64_t)2 * JOB_VARS_MAX || attempt > UINT32_MAX) {
        return false;
    }
    j->attempt = (uint32_t)attempt;
    j->n_vars = (size_t)n / 2;
    for (size_t i = 0; i < n; i++) {
        if (!walk_text(w, &j->vars[i])) {
            return false;
        }
    }
    return true;
}

/* What older programs did not know of. */
static bool
walk_contact(struct walk *w, enum job_contact *ret)
{
    uint64_t u;
    bool ok = walk_uint(w, &u) && u <= CONTACT_NEW;
    *ret = ok ? (enum job_contact)u : CONTACT_NOT_LOOKED;
    return ok;
}

static bool
walk_later(struct walk *w, uint64_t fields, struct job *j)
{
    return (fields < FIELDS_AT_FIRST + 1 || walk_text(w, &j->zone)) &&
           (fields < FIELDS_AT_FIRST + 2 || walk_text(w, &j->language)) &&
           (fields < FIELDS_AT_FIRST + 3 || walk_contact(w, &j->contact)) &&
           (fields < FIELDS_AT_FIRST + 4 || walk_text(w, &j->media)) &&
           (fields < FIELDS_AT_FIRST + 5 || walk_text(w, &j->template_json));
}

bool
job_decode(const void *p, size_t n, struct job *ret, struct err *e)
{
    struct walk w = {p, n};
    uint64_t fields, version;
    if (n > JOB_BYTES_MAX) {
        return err_set(e, ERR_INPUT, "the payload has %zu bytes, more than %d", n, JOB_BYTES_MAX);
    }
    if (!walk_array(&w, &fields) || fields < 1 || !walk_uint(&w, &version)) {
        return err_set(e, ERR_INPUT, "the payload is no msgpack array that starts with a version");
    }
    if (version != JOB_VERSION) {
        return err_set(e, ERR_INPUT, "payload version %" PRIu64 ": this program reads version %d",
                       version, JOB_VERSION);
    }
    struct job j = {
        .zone = {"", 0}, .language = {"", 0}, .media = {"", 0}, .template_json = {"", 0}};
    if (fields < FIELDS_AT_FIRST || !walk_fields(&w, &j) || !walk_later(&w, fields, &j)) {
        return err_set(e, ERR_INPUT,
                       "the payload breaks off or has a field of another type at byte %zu",
                       n - w.left);
    }
    if (fields <= FIELDS && w.left) {
        return err_set(e, ERR_INPUT, "the payload has %zu bytes behind its end", w.left);
    }
    *ret = j;
    return true;
}

static char *
natural_id(char letter, uint64_t source, uint64_t device, const char *phone, unsigned rotation,
           char out[JOB_ID_SIZE])
{
    (void)snprintf(out, JOB_ID_SIZE, "%c%" PRIu64 "-d%" PRIu64 "-%016" PRIx64 "-r%u", letter,
                   source, device, (uint64_t)XXH64(phone, strlen(phone), source), rotation);
    return out;
}

char *
job_id_campaign(uint64_t campaign, uint64_t device, const char *phone, unsigned rotation,
                char out[JOB_ID_SIZE])
{
    return natural_id('c', campaign, device, phone, rotation, out);
}

char *
job_id_step(uint64_t step, uint64_t device, const char *phone, unsigned rotation,
            char out[JOB_ID_SIZE])
{
    return natural_id('s', step, device, phone, rotation, out);
}

char *
job_id_occurrence(uint64_t rule, int64_t occurrence_s, const char *phone, char out[JOB_ID_SIZE])
{
    (void)snprintf(out, JOB_ID_SIZE, "r%" PRIu64 "-t%" PRId64 "-%016" PRIx64, rule, occurrence_s,
                   (uint64_t)XXH64(phone, strlen(phone), rule));
    return out;
}

bool
job_id_is_good(const char *id)
{
    size_t n = strspn(id, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._:#-");
    return n > 0 && n < JOB_ID_SIZE && !id[n];
}
