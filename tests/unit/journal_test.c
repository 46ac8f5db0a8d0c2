#include "tests/harness/t.h"
#include "worker/journal.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* Two incarnations of one partition. */
static const char one[] = "3f2a9c:77", two[] = "3f2a9c:78";

static struct journal *
open_in(const char *dir, size_t records, const char *name)
{
    struct journal *j = NULL;
    CHECK_OK(journal_open(dir, records, name, &j, e));
    return j;
}

static struct queue_lease
lease(uint64_t n)
{
    struct queue_lease l = {.device = n, .gen = (uint32_t)(n % 1000 + 1), .token = 3 * n + 1};
    (void)snprintf(l.id, sizeof l.id, "c%llu-d%llu-%016llx-r0", (unsigned long long)n,
                   (unsigned long long)n, (unsigned long long)(n * 0x9e3779b97f4a7c15u));
    return l;
}

static size_t
permit(struct journal *j, uint64_t n, const char *incarnation)
{
    struct queue_lease l = lease(n);
    return journal_permit(j, &l, n + 1000000, incarnation);
}

static void
check_record(const struct journal_record *r, uint64_t n)
{
    struct queue_lease l = lease(n);
    CHECK_INT(n, r->device);
    CHECK_INT(n + 1000000, r->row);
    CHECK_INT(l.token, r->token);
    CHECK_INT(l.gen, r->gen);
    CHECK_STR(l.id, r->id);
}

/* What is reported of job n: 'F'lying, 'S'ent, 'U'nknown, or '-': nothing. */
static char
report(const struct journal *j, uint64_t n, const char *incarnation)
{
    char found = '-';
    for (size_t i = 0; i < journal_size(j); i++) {
        enum reassert_state state;
        const struct journal_record *r = journal_report(j, i, incarnation, &state);
        if (r && r->device == n) {
            CHECK(found == '-');
            check_record(r, n);
            found = state == REASSERT_FLYING ? 'F' : state == REASSERT_SENT ? 'S' : 'U';
        }
    }
    return found;
}

static size_t
n_reports(const struct journal *j, const char *incarnation)
{
    size_t n = 0;
    for (size_t i = 0; i < journal_size(j); i++) {
        enum reassert_state state;
        n += journal_report(j, i, incarnation, &state) != NULL;
    }
    return n;
}

/* --- what is reported ------------------------------------------------------------------------- */

enum { UNDER_WAY, NOW_SENT, NOW_UNKNOWN, NOW_NOT_SENT };

static const struct life {
    int outcome;
    bool recorded;
    /* In the process that wrote it and in a later one; to the incarnation it was permitted in and
     * to another. */
    char ours_same, ours_other, dead_same, dead_other;
} lives[] = {
    {UNDER_WAY, false, '-', 'F', 'U', 'U'},
    {NOW_SENT, false, '-', 'S', 'S', 'S'}, /* its finish is under way in this process */
    {NOW_SENT, true, '-', 'S', '-', 'S'},
    {NOW_UNKNOWN, false, '-', 'U', 'U', 'U'},
    {NOW_UNKNOWN, true, '-', 'U', '-', 'U'},
    {NOW_NOT_SENT, false, '-', '-', '-', '-'},
    {NOW_NOT_SENT, true, '-', '-', '-', '-'},
};
enum { LIVES = sizeof lives / sizeof *lives };

static void
live(struct journal *j)
{
    static const enum journal_state outcomes[] = {JOURNAL_FREE, JOURNAL_SENT, JOURNAL_UNKNOWN,
                                                  JOURNAL_NOT_SENT};
    for (size_t i = 0; i < LIVES; i++) {
        size_t record = permit(j, i + 1, one);
        if (lives[i].outcome != UNDER_WAY) {
            journal_outcome(j, record, outcomes[lives[i].outcome]);
        }
        if (lives[i].recorded) {
            journal_recorded(j, record);
        }
    }
}

static void
check_lives(const struct journal *j, bool ours)
{
    for (size_t i = 0; i < LIVES; i++) {
        const struct life *l = &lives[i];
        CHECK_INT(ours ? l->ours_same : l->dead_same, report(j, i + 1, one));
        CHECK_INT(ours ? l->ours_other : l->dead_other, report(j, i + 1, two));
        CHECK_INT(ours ? l->ours_other : l->dead_other, report(j, i + 1, ""));
    }
}

TEST(a_new_journal_has_nothing_to_report)
{
    struct journal *j = open_in(t_dir(), 64, "worker/a");
    CHECK_INT(64, journal_size(j));
    CHECK_INT(0, n_reports(j, one));
    CHECK_INT(0, n_reports(j, ""));
    journal_close(j);
    journal_close(NULL);
}

TEST(records_are_reported_by_incarnation_and_outcome)
{
    static const char *const dirs[] = {NULL, "", "folder"};
    for (size_t i = 0; i < 3; i++) {
        const char *dir = dirs[i] && *dirs[i] ? t_dir() : dirs[i];
        struct journal *j = open_in(dir, 64, "worker/a");
        live(j);
        check_lives(j, true);
        journal_close(j);
    }
}

TEST(records_of_a_dead_process_are_reported_by_the_next)
{
    struct journal *j = open_in(t_dir(), 64, "worker/a");
    live(j);
    journal_close(j);
    for (int again = 0; again < 3; again++) {
        j = open_in(t_dir(), 64, "worker/b");
        check_lives(j, false);
        journal_close(j);
    }
}

TEST(records_of_both_processes_are_told_apart)
{
    struct journal *j = open_in(t_dir(), 64, "worker/a");
    (void)permit(j, 1, one);
    journal_close(j);
    j = open_in(t_dir(), 64, "worker/b");
    (void)permit(j, 2, one);
    CHECK_INT('U', report(j, 1, one));
    CHECK_INT('-', report(j, 2, one));
    CHECK_INT('U', report(j, 1, two));
    CHECK_INT('F', report(j, 2, two));
    journal_close(j);
}

TEST(a_journal_in_memory_ends_with_its_process)
{
    struct journal *j = open_in(NULL, 64, "worker/a");
    live(j);
    journal_close(j);
    j = open_in(NULL, 64, "worker/b");
    CHECK_INT(0, n_reports(j, two));
    CHECK_INT(1, journal_names(j));
    journal_close(j);
}

TEST(the_longest_job_id_fits)
{
    struct journal *j = open_in(t_dir(), 64, "worker/a");
    struct queue_lease l = {.device = 1, .gen = 1, .token = 1};
    memset(l.id, 'x', JOB_ID_SIZE - 1);
    (void)journal_permit(j, &l, 1, one);
    enum reassert_state state;
    const struct journal_record *r = journal_report(j, 0, two, &state);
    CHECK(r != NULL);
    CHECK_STR(l.id, r->id);
    journal_close(j);
}

/* --- the ring --------------------------------------------------------------------------------- */

TEST(the_oldest_settled_record_is_overwritten)
{
    enum { N = 16 };
    struct journal *j = open_in(t_dir(), N, "worker/a");
    for (uint64_t n = 1; n <= 3 * N + 5; n++) {
        journal_outcome(j, permit(j, n, one), JOURNAL_SENT);
        uint64_t oldest = n > N ? n - N + 1 : 1;
        CHECK_INT(n - oldest + 1, n_reports(j, two));
        CHECK_INT('S', report(j, oldest, two));
        CHECK_INT('S', report(j, n, two));
        CHECK_INT('-', report(j, oldest - 1, two));
    }
    journal_close(j);
}

TEST(the_oldest_record_is_known_after_the_process_too)
{
    enum { N = 16 };
    for (uint64_t before = 1; before < 2 * N + 3; before++) {
        char dir[256];
        (void)snprintf(dir, sizeof dir, "%s/%d", t_dir(), (int)before);
        CHECK(mkdir(dir, 0700) == 0);
        struct journal *j = open_in(dir, N, "worker/a");
        for (uint64_t n = 1; n <= before; n++) {
            journal_outcome(j, permit(j, n, one), JOURNAL_SENT);
        }
        journal_close(j);
        j = open_in(dir, N, "worker/b");
        for (uint64_t n = before + 1; n <= before + N / 2; n++) {
            journal_outcome(j, permit(j, n, one), JOURNAL_SENT);
            uint64_t oldest = n > N ? n - N + 1 : 1;
            CHECK_INT(n - oldest + 1, n_reports(j, two));
            CHECK_INT('S', report(j, oldest, two));
        }
        journal_close(j);
    }
}

TEST(a_record_under_way_is_never_overwritten)
{
    enum { N = 16, STEPS = 20000 };
    struct journal *j = open_in(NULL, N, "worker/a");
    uint64_t flying[N] = {0};
    size_t n_flying = 0;
    for (uint64_t n = 1; n <= STEPS; n++) {
        size_t record = permit(j, n, one);
        CHECK(record < N && flying[record] == 0);
        flying[record] = n;
        n_flying++;
        /* Some end at once, some stay through many rounds of the ring; one record is always free.
         */
        for (size_t i = 0; i < N; i++) {
            bool must = n_flying == N;
            if (flying[i] && (must || t_random() % 16 == 0)) {
                CHECK_INT('F', report(j, flying[i], two));
                journal_outcome(j, i, t_random() % 2 ? JOURNAL_SENT : JOURNAL_NOT_SENT);
                flying[i] = 0;
                n_flying--;
            }
        }
    }
    journal_close(j);
}

TEST(a_dead_process_record_does_not_hold_its_place_for_ever)
{
    enum { N = 16 };
    struct journal *j = open_in(t_dir(), N, "worker/a");
    for (uint64_t n = 1; n <= N; n++) {
        (void)permit(j, n, one);
    }
    journal_close(j);
    j = open_in(t_dir(), N, "worker/b");
    CHECK_INT(N, n_reports(j, one));
    for (uint64_t n = N + 1; n <= 2 * N; n++) {
        journal_outcome(j, permit(j, n, one), JOURNAL_SENT);
        CHECK_INT('-', report(j, n - N, one));
        CHECK_INT(2 * N - n, n_reports(j, one));
    }
    journal_close(j);
}

/* What was recorded of a job says nothing of the next one in its place. */
TEST(a_record_starts_unrecorded)
{
    enum { N = 16 };
    struct journal *j = open_in(t_dir(), N, "worker/a");
    for (uint64_t n = 1; n <= 2 * N; n++) {
        size_t record = permit(j, n, one);
        journal_outcome(j, record, JOURNAL_SENT);
        if (n <= N) {
            journal_recorded(j, record);
        }
    }
    journal_close(j);
    j = open_in(t_dir(), N, "worker/b");
    CHECK_INT(N, n_reports(j, one));
    journal_close(j);
}

/* --- files ------------------------------------------------------------------------------------ */

static size_t
n_files(void)
{
    size_t n = 0;
    DIR *d = opendir(t_dir());
    CHECK(d != NULL);
    for (struct dirent *x; (x = readdir(d)) != NULL;) {
        n += strstr(x->d_name, ".journal") != NULL;
    }
    (void)closedir(d);
    return n;
}

TEST(two_workers_take_two_files)
{
    struct journal *a = open_in(t_dir(), 64, "worker/a"), *b = open_in(t_dir(), 64, "worker/b");
    CHECK_INT(2, n_files());
    (void)permit(a, 1, one);
    (void)permit(b, 2, one);
    CHECK_INT(1, n_reports(a, two));
    CHECK_INT('F', report(b, 2, two));
    CHECK_STR("worker/a", journal_name(a, 0));
    CHECK_STR("worker/b", journal_name(b, 0));
    journal_close(a);
    /* The file that was given back is taken, with its record, and no third one. */
    a = open_in(t_dir(), 64, "worker/c");
    CHECK_INT(2, n_files());
    CHECK_INT('U', report(a, 1, two));
    CHECK_INT('-', report(a, 2, two));
    journal_close(a);
    journal_close(b);
}

TEST(a_later_size_never_loses_records)
{
    static const size_t sizes[] = {64, 8, 200};
    struct journal *j = open_in(t_dir(), 64, "worker/a");
    for (uint64_t n = 1; n <= 64; n++) {
        journal_outcome(j, permit(j, n, one), JOURNAL_SENT);
    }
    journal_close(j);
    for (size_t i = 0; i < 3; i++) {
        j = open_in(t_dir(), sizes[i], "worker/b");
        CHECK(journal_size(j) >= 64);
        CHECK_INT(64, n_reports(j, two));
        for (uint64_t n = 1; n <= 64; n++) {
            CHECK_INT('S', report(j, n, two));
        }
        journal_close(j);
    }
}

TEST(names_are_kept_with_the_records)
{
    char name[32];
    for (int i = 0; i < 20; i++) {
        (void)snprintf(name, sizeof name, "worker/host.%d.x/1", i);
        struct journal *j = open_in(t_dir(), 64, name);
        size_t n = journal_names(j);
        CHECK(n >= 1 && n <= (size_t)i + 1);
        CHECK(i >= 4 || n == (size_t)i + 1);
        CHECK(i < 4 || n >= 4);
        for (size_t k = 0; k < n; k++) {
            (void)snprintf(name, sizeof name, "worker/host.%d.x/1", i + 1 - (int)(n - k));
            CHECK_STR(name, journal_name(j, k));
        }
        journal_close(j);
    }
}

TEST(a_name_of_full_length_is_kept)
{
    char name[QUEUE_NAME_SIZE];
    memset(name, 'w', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    journal_close(open_in(t_dir(), 64, name));
    struct journal *j = open_in(t_dir(), 64, "worker/b");
    CHECK_STR(name, journal_name(j, 0));
    CHECK_STR("worker/b", journal_name(j, 1));
    journal_close(j);
}

/* --- what is in the way ----------------------------------------------------------------------- */

static void
check_refusal(const char *dir, size_t records, const char *names_this, const char *says_this)
{
    struct journal *j = NULL;
    struct err e = {0};
    CHECK(!journal_open(dir, records, "worker/a", &j, &e));
    CHECK(j == NULL);
    CHECK_INT(ERR_RETRY, e.kind);
    if (!strstr(e.text, names_this) || !strstr(e.text, says_this)) {
        t_fail(__FILE__, __LINE__, "\"%s\" does not name %s or say %s", e.text, names_this,
               says_this);
    }
}

TEST(a_missing_folder_is_named)
{
    char dir[256];
    (void)snprintf(dir, sizeof dir, "%s/none", t_dir());
    check_refusal(dir, 64, dir, "No such file");
    check_refusal(dir, 64, dir, "journal_dir");
}

TEST(a_folder_that_is_none_is_named)
{
    char path[256];
    (void)snprintf(path, sizeof path, "%s/file", t_dir());
    int fd = open(path, O_CREAT | O_WRONLY, 0600);
    CHECK(fd >= 0);
    (void)close(fd);
    check_refusal(path, 64, path, "Not a directory");
}

TEST(a_folder_without_permission_is_named)
{
    CHECK(chmod(t_dir(), 0500) == 0);
    if (geteuid() != 0) { /* root may write anywhere */
        check_refusal(t_dir(), 64, t_dir(), "Permission denied");
    }
    CHECK(chmod(t_dir(), 0700) == 0);
}

/* A limit of the file's size stands for a full disk: the space is refused in the same call. */
TEST(without_space_the_file_is_named_and_nothing_is_mapped)
{
    struct rlimit old, small = {4096, 4096};
    CHECK(getrlimit(RLIMIT_FSIZE, &old) == 0);
    small.rlim_max = old.rlim_max;
    CHECK(signal(SIGXFSZ, SIG_IGN) != SIG_ERR);
    CHECK(setrlimit(RLIMIT_FSIZE, &small) == 0);
    check_refusal(t_dir(), 65536, ".journal", "too large");
    check_refusal(t_dir(), 65536, t_dir(), "journal_records");
    CHECK(setrlimit(RLIMIT_FSIZE, &old) == 0);
    CHECK_INT(1, n_files()); /* the lock was given back with the file */
    struct journal *j = open_in(t_dir(), 65536, "worker/a");
    CHECK_INT(65536, journal_size(j));
    CHECK_INT(1, n_files());
    journal_close(j);
}

/* --- files that somebody else has written ------------------------------------------------------
 */

static void
path_of_journal(char out[300])
{
    DIR *d = opendir(t_dir());
    CHECK(d != NULL);
    out[0] = '\0';
    for (struct dirent *x; (x = readdir(d)) != NULL;) {
        if (strstr(x->d_name, ".journal")) {
            (void)snprintf(out, 300, "%s/%s", t_dir(), x->d_name);
        }
    }
    (void)closedir(d);
    CHECK(out[0] != '\0');
}

static void
look_through(const struct journal *j)
{
    for (size_t i = 0; i < journal_size(j); i++) {
        enum reassert_state state = REASSERT_SENT;
        const struct journal_record *r = journal_report(j, i, one, &state);
        CHECK(!r || state == REASSERT_FLYING || state == REASSERT_SENT ||
              state == REASSERT_UNKNOWN);
    }
    CHECK(journal_names(j) >= 1);
    CHECK_STR("worker/b", journal_name(j, journal_names(j) - 1));
}

TEST(another_file_is_written_anew)
{
    char path[300];
    journal_close(open_in(t_dir(), 64, "worker/a"));
    path_of_journal(path);
    static const size_t sizes[] = {0, 1, 7, 8, 100, 1000, 100000};
    for (size_t i = 0; i < 2 * (sizeof sizes / sizeof *sizes); i++) {
        FILE *f = fopen(path, "w");
        CHECK(f != NULL);
        for (size_t k = 0; k < sizes[i / 2]; k++) {
            /* Anything, or words that look like outcomes. */
            (void)fputc(i % 2 ? (int)(t_random() & 0xff) : k % 4 == 0 ? JOURNAL_SENT : 0, f);
        }
        CHECK(fclose(f) == 0);
        struct journal *j = open_in(t_dir(), 64, "worker/b");
        CHECK_INT(64, journal_size(j));
        CHECK_INT(0, n_reports(j, two));
        CHECK_INT(1, journal_names(j));
        (void)permit(j, 1, one);
        CHECK_INT('F', report(j, 1, two));
        journal_close(j);
    }
}

/* A file that was cut off, or in which bits have turned, is never a reason to crash. */
TEST(a_damaged_file_is_opened)
{
    char path[300];
    for (int round = 0; round < 400; round++) {
        struct journal *j = open_in(t_dir(), 64, "worker/a");
        live(j);
        journal_close(j);
        path_of_journal(path);
        struct stat st;
        CHECK(stat(path, &st) == 0);
        if (round % 4 == 0) {
            CHECK(truncate(path, (off_t)(t_random() % (uint64_t)st.st_size)) == 0);
        } else {
            int fd = open(path, O_WRONLY);
            CHECK(fd >= 0);
            for (int k = 0; k < 20; k++) {
                /* Half of them into the first bytes, where the sizes are; never into the mark at
                 * the start. */
                uint64_t at = 8 + t_random() % (t_random() % 2 ? 48 : (uint64_t)st.st_size - 8);
                unsigned char byte = (unsigned char)t_random();
                CHECK(pwrite(fd, &byte, 1, (off_t)at) == 1);
            }
            (void)close(fd);
        }
        j = open_in(t_dir(), 64, "worker/b");
        CHECK(journal_size(j) > 0);
        look_through(j);
        for (uint64_t n = 100; n < 400; n++) {
            journal_outcome(j, permit(j, n, one), JOURNAL_SENT);
        }
        journal_close(j);
        CHECK(unlink(path) == 0);
    }
}

/* --- death ------------------------------------------------------------------------------------ */

/* What job n comes to, in the writer and to whoever reads after it. */
static void
write_one(struct journal *j, uint64_t n)
{
    size_t record = permit(j, n, one);
    journal_outcome(j, record,
                    n % 3 == 0   ? JOURNAL_SENT
                    : n % 3 == 1 ? JOURNAL_UNKNOWN
                                 : JOURNAL_NOT_SENT);
    if (n % 2) {
        journal_recorded(j, record);
    }
}

static _Noreturn void
write_until_killed(int ready)
{
    struct journal *j = open_in(t_dir(), 8, "worker/a");
    for (uint64_t n = 1;; n++) {
        write_one(j, n);
        if (n == 100 && write(ready, "x", 1) != 1) {
            _exit(1);
        }
    }
}

/* Every record but one is whole and settled; that one may be free, or under way, but never half
 * another's. */
static void
check_remains(const struct journal *j)
{
    size_t under_way = 0;
    for (size_t i = 0; i < journal_size(j); i++) {
        enum reassert_state state;
        const struct journal_record *r = journal_report(j, i, two, &state);
        if (!r) {
            continue;
        }
        check_record(r, r->device);
        bool settled = r->device % 3 == 0   ? state == REASSERT_SENT
                       : r->device % 3 == 1 ? state == REASSERT_UNKNOWN
                                            : false;
        under_way += !settled || r->state == JOURNAL_PERMITTED;
        CHECK(settled || state == REASSERT_UNKNOWN);
    }
    CHECK(under_way <= 1);
}

TEST(a_worker_killed_while_it_writes_leaves_whole_records)
{
    for (int round = 0; round < 300; round++) {
        int fds[2];
        char c;
        CHECK(pipe(fds) == 0);
        pid_t pid = fork();
        CHECK(pid >= 0);
        if (pid == 0) {
            write_until_killed(fds[1]);
        }
        (void)close(fds[1]);
        CHECK(read(fds[0], &c, 1) == 1);
        (void)close(fds[0]);
        for (uint64_t spin = t_random() % 20000; spin; spin--) {
            __asm__ volatile("");
        }
        CHECK(kill(pid, SIGKILL) == 0);
        CHECK(waitpid(pid, NULL, 0) == pid);
        struct journal *j = open_in(t_dir(), 8, "worker/b");
        CHECK_INT(1, n_files());
        check_remains(j);
        CHECK(journal_names(j) >= 2);
        CHECK_STR("worker/a", journal_name(j, journal_names(j) - 2));
        journal_close(j);
    }
}
