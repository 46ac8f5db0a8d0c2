#include "worker/journal.h"

#include "shared/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <xxhash.h>

enum { FILES_MAX = 256, NAMES_MAX = 8 };
static const char magic[8] = "PLJRNL2";

struct header {
    char magic[8];
    uint64_t records;
    uint64_t next;    /* the oldest record */
    uint32_t process; /* raised at each opening */
    uint32_t n_names;
    char names[NAMES_MAX][QUEUE_NAME_SIZE];
};

struct journal {
    int fd;
    size_t bytes;
    struct header *head;
    struct journal_record *records;
    size_t n;
};

static uint64_t
hash(const char *s)
{
    return XXH64(s, strlen(s), 0);
}

static bool
map(struct journal *j, size_t records, const char *path, struct err *e)
{
    struct stat st = {0};
    struct header old = {0};
    if (j->fd >= 0 && fstat(j->fd, &st) == 0 && st.st_size >= (off_t)sizeof old &&
        pread(j->fd, &old, sizeof old, 0) == (ssize_t)sizeof old &&
        memcmp(old.magic, magic, sizeof magic) == 0 && old.records > 0 &&
        old.records <= ((uint64_t)st.st_size - sizeof old) / sizeof(struct journal_record)) {
        records =
            (size_t)old.records; /* an older journal keeps its size: its records must be told */
    }
    j->n = records;
    j->bytes = sizeof(struct header) + records * sizeof(struct journal_record);
    if (j->fd >= 0) {
        /* Space is taken now: a write into a hole of a mapping on a full disk would be a SIGBUS. */
        int rc = posix_fallocate(j->fd, 0, (off_t)j->bytes);
        if (rc) {
            return err_set(e, ERR_RETRY,
                           "%s: %s (%zu bytes): free some space or set journal_records lower", path,
                           strerror(rc), j->bytes);
        }
    }
    void *p = mmap(NULL, j->bytes, PROT_READ | PROT_WRITE,
                   j->fd >= 0 ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS, j->fd, 0);
    if (p == MAP_FAILED) {
        return err_set(e, ERR_RETRY, "%s: cannot map %zu bytes: %s", path, j->bytes,
                       strerror(errno));
    }
    j->head = p;
    j->records = (struct journal_record *)(void *)((char *)p + sizeof(struct header));
    return true;
}

static void
greet(struct journal *j, const char *name)
{
    struct header *h = j->head;
    if (memcmp(h->magic, magic, sizeof magic) != 0) {
        memset(h, 0, j->bytes);
        memcpy(h->magic, magic, sizeof magic);
    }
    h->records = j->n;
    if (h->next >= j->n) {
        h->next = 0;
    }
    h->process++;
    if (h->n_names >= NAMES_MAX) {
        memmove(h->names[0], h->names[1], sizeof h->names - sizeof h->names[0]);
        h->n_names = NAMES_MAX - 1;
    }
    (void)snprintf(h->names[h->n_names], sizeof h->names[0], "%s", name);
    h->n_names++;
}

/* The first file of the folder that nobody holds. */
static bool
take_file(struct journal *j, const char *dir, char *path, size_t size, struct err *e)
{
    for (int i = 0; i < FILES_MAX; i++) {
        (void)snprintf(path, size, "%s/worker-%d.journal", dir, i);
        j->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        if (j->fd < 0) {
            return err_set(e, ERR_RETRY,
                           "%s: %s: does journal_dir exist, and may this user write to it?", path,
                           strerror(errno));
        }
        if (flock(j->fd, LOCK_EX | LOCK_NB) == 0) {
            return true;
        }
        (void)close(j->fd);
        j->fd = -1;
    }
    return err_set(e, ERR_FULL, "%s: all %d journals are held by live workers", dir, FILES_MAX);
}

bool
journal_open(const char *dir, size_t records, const char *name, struct journal **ret, struct err *e)
{
    struct journal *j = xcalloc(1, sizeof *j);
    char path[512] = "journal";
    j->fd = -1;
    if ((dir && *dir && !take_file(j, dir, path, sizeof path, e)) || !map(j, records, path, e)) {
        journal_close(j);
        return false;
    }
    greet(j, name);
    *ret = j;
    return true;
}

void
journal_close(struct journal *j)
{
    if (!j) {
        return;
    }
    if (j->head) {
        (void)munmap(j->head, j->bytes);
    }
    if (j->fd >= 0) {
        (void)close(j->fd);
    }
    free(j);
}

size_t
journal_permit(struct journal *j, const struct queue_lease *l, uint64_t row,
               const char *incarnation)
{
    size_t i = (size_t)j->head->next;
    for (size_t looked = 0; looked < j->n; looked++, i = (i + 1) % j->n) {
        const struct journal_record *r = &j->records[i];
        if (r->state != JOURNAL_PERMITTED || r->process != j->head->process) {
            break;
        }
    }
    struct journal_record *r = &j->records[i];
    /* Never half a record with a state: the fence keeps the compiler's order. */
    __atomic_store_n(&r->state, (uint32_t)JOURNAL_FREE, __ATOMIC_RELAXED);
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    r->device = l->device;
    r->row = row;
    r->token = l->token;
    r->gen = l->gen;
    r->incarnation = hash(incarnation);
    r->process = j->head->process;
    r->recorded = 0;
    (void)snprintf(r->id, sizeof r->id, "%s", l->id);
    __atomic_store_n(&r->state, (uint32_t)JOURNAL_PERMITTED, __ATOMIC_RELEASE);
    j->head->next = (i + 1) % j->n;
    return i;
}

void
journal_outcome(struct journal *j, size_t record, enum journal_state state)
{
    __atomic_store_n(&j->records[record].state, (uint32_t)state, __ATOMIC_RELEASE);
}

void
journal_recorded(struct journal *j, size_t record)
{
    j->records[record].recorded = 1;
}

size_t
journal_size(const struct journal *j)
{
    return j->n;
}

const struct journal_record *
journal_report(const struct journal *j, size_t i, const char *incarnation,
               enum reassert_state *ret_state)
{
    const struct journal_record *r = &j->records[i];
    bool ours = r->process == j->head->process;
    bool same = r->incarnation == hash(incarnation);
    switch ((enum journal_state)r->state) {
    case JOURNAL_PERMITTED:
        *ret_state = ours ? REASSERT_FLYING : REASSERT_UNKNOWN;
        return ours && same ? NULL : r;
    case JOURNAL_SENT:
        *ret_state = REASSERT_SENT;
        return same && (ours || r->recorded) ? NULL : r;
    case JOURNAL_UNKNOWN:
        *ret_state = REASSERT_UNKNOWN;
        return same && (ours || r->recorded) ? NULL : r;
    case JOURNAL_FREE:
    case JOURNAL_NOT_SENT:
        break;
    }
    return NULL;
}

size_t
journal_names(const struct journal *j)
{
    return j->head->n_names;
}

const char *
journal_name(const struct journal *j, size_t i)
{
    return j->head->names[i];
}
