#include "shared/csv.h"
#include "shared/mem.h"
#include "shared/render.h"
#include "tests/harness/t.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

static int
file_of(const char *data, size_t len)
{
    int fd = memfd_create("csv", 0);
    CHECK(fd >= 0);
    CHECK_INT(len, pwrite(fd, data, len, 0));
    return fd;
}

/* What the reader makes of it: "line:[field][field]" for a record, "line!text" for a bad one. */
static const char *
read_all(int fd, const struct csv_options *options)
{
    static struct buf b;
    struct csv *c = NULL;
    struct csv_record r;
    struct err e = {0};
    buf_clear(&b);
    buf_adds(&b, "");
    if (!csv_open(fd, options, &c, &e)) {
        buf_adds(&b, e.text);
        return b.data;
    }
    enum csv_result result;
    while ((result = csv_next(c, &r, &e)) == CSV_RECORD || result == CSV_BAD) {
        buf_addf(&b, "%s%lld%s", b.len ? " " : "", (long long)r.line,
                 result == CSV_BAD ? "!" : ":");
        buf_adds(&b, result == CSV_BAD ? e.text : "");
        for (size_t i = 0; i < r.n; i++) {
            CHECK_INT(strlen(r.fields[i].data), r.fields[i].len);
            buf_addf(&b, "[%s]%s", r.fields[i].data, r.bad_utf8 == i + 1 ? "?" : "");
        }
    }
    CHECK_INT(CSV_END, result);
    CHECK_INT(CSV_END, csv_next(c, &r, &e));
    CHECK(!r.fields && !r.n);
    csv_close(c);
    return b.data;
}

static const char *
read_text(const char *text, const struct csv_options *options)
{
    int fd = file_of(text, strlen(text));
    const char *got = read_all(fd, options);
    (void)close(fd);
    return got;
}

TEST(records_are_read_as_rfc_4180_says)
{
    static const char *const table[][2] = {
        {"", ""},
        {"\n\r\n\r", ""},
        {"a", "1:[a]"},
        {"a,b\nc,d\n", "1:[a][b] 2:[c][d]"},
        {"a,b\r\nc,d\r\n", "1:[a][b] 2:[c][d]"},
        {"a,b\rc,d\r", "1:[a][b] 2:[c][d]"},
        {"a\n\n\r\n\nb", "1:[a] 5:[b]"},
        {",", "1:[][]"},
        {"a,\n,b", "1:[a][] 2:[][b]"},
        {"\"a,b\",c", "1:[a,b][c]"},
        {"\"a\nb\",c\nd", "1:[a\nb][c] 3:[d]"},
        {"\"a\r\nb\r\rc\n\"\r\nd", "1:[a\r\nb\r\rc\n] 6:[d]"},
        {"\"a\"\"b\",\"\"\"\",\"\"", "1:[a\"b][\"][]"},
        {"\"\"\"a\"\"\"", "1:[\"a\"]"},
        {"a\"b\"c,5\"", "1:[a\"b\"c][5\"]"},
        {"\"a\" ,\"b\"\t\n\"c\" ", "1:[a][b] 2:[c]"},
        {" a , b ", "1:[ a ][ b ]"},
        {"  \n", "1:[  ]"},
        {"\xef\xbb\xbf\"a\",b", "1:[a][b]"},
        {"a\n\xef\xbb\xbf"
         "b",
         "1:[a] 2:[\xef\xbb\xbf"
         "b]"},
        {"\"a\"b,c\nd",
         "1!line 1: text behind the closing quote of column 1; write a quote inside quotes twice "
         "2:[d]"},
        {"x,\"a\nb\"\"\" z\"\nd",
         "1!line 2: text behind the closing quote of column 2; write a quote inside quotes "
         "twice 3:[d]"},
        {"a\nb,\"c\nd\ne", "1:[a] 2!line 2: the quote opened here, in column 2, is never closed"},
        {"a,\"b\nc\",\"d\n", "1!line 2: the quote opened here, in column 3, is never closed"},
        {"\"", "1!line 1: the quote opened here, in column 1, is never closed"},
        {"\"\"\"", "1!line 1: the quote opened here, in column 1, is never closed"},
        {"a,\xff,b\xc3,\u00e9\nc", "1:[a][\xff]?[b\xc3][\u00e9] 2:[c]"},
        {"\"\xe2\x82\"\xac",
         "1!line 1: text behind the closing quote of column 1; write a quote inside quotes twice"},
        {"\xff\xfe"
         "a",
         "the file is UTF-16; save it as CSV UTF-8"},
        {"\xfe\xff", "the file is UTF-16; save it as CSV UTF-8"},
    };
    for (size_t buffer = 1; buffer < 40; buffer++) {
        for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
            struct csv_options options = {.buffer = buffer == 39 ? 0 : buffer, .delimiter = ','};
            CHECK_STR(table[i][1], read_text(table[i][0], &options));
        }
    }
}

TEST(a_nul_byte_spoils_its_record_only)
{
    int fd = file_of("\0\nd", 3);
    CHECK_STR("1!line 1: a NUL byte, which is no text; save the file as CSV UTF-8 2:[d]",
              read_all(fd, &(struct csv_options){0}));
    fd = file_of("a,b\0c\nd\n", 8);
    CHECK_STR("1!line 1: a NUL byte, which is no text; save the file as CSV UTF-8 2:[d]",
              read_all(fd, &(struct csv_options){0}));
}

TEST(the_delimiter_is_found_in_the_first_line)
{
    static const struct {
        const char *text;
        char found;
    } table[] = {
        {"", ','},
        {"name\nali;1\n", ','},
        {"name,phone\n", ','},
        {"name;phone;city,state\n", ';'},
        {"name\tphone\n", '\t'},
        {"name|phone|x,y", '|'},
        {"\"a,b,c\";\"d\"\n", ';'},
        {"\"a\"\",,\n,,\";d\n,,,,", ';'},
        {"5\" pipe;b\n,,", ';'},
        {"\r\n\n a;b\n,,,", ';'},
        {"\xef\xbb\xbfname;phone", ';'},
        {"a,b;c", ','},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        for (size_t buffer = 0; buffer < 20; buffer++) {
            struct csv *c = NULL;
            int fd = file_of(table[i].text, strlen(table[i].text));
            CHECK_OK(csv_open(fd, &(struct csv_options){.buffer = buffer}, &c, e));
            if (csv_delimiter(c) != table[i].found) {
                t_fail(__FILE__, __LINE__, "%s: '%c'", table[i].text, csv_delimiter(c));
            }
            csv_close(c);
            (void)close(fd);
        }
    }
    CHECK_STR("1:[a,b][c]", read_text("a,b|c", &(struct csv_options){.delimiter = '|'}));
    CHECK_STR("1:[a][b] 2:[c ][]",
              read_text("\"a\"\tb\nc \t", &(struct csv_options){.delimiter = '\t'}));
    static const char bad[] = {'"', '\n', '\r', '\xa7'};
    for (size_t i = 0; i < sizeof bad; i++) {
        CHECK_STR("the delimiter must be one ASCII character, no quote and no line end",
                  read_text("a", &(struct csv_options){.delimiter = bad[i]}));
    }
}

/* A table, and a file of it written in a random but legal way. */
struct table {
    struct buf file;
    size_t records, columns[64], line[64], next_offset[64], next_line[64];
    char *fields[64][8];
};

static void
write_line_end(struct table *t, size_t *line)
{
    static const char *const ends[] = {"\n", "\r\n", "\r"};
    const char *end = ends[t_random() % 3];
    /* CR, LF would be one line end */
    bool joins = t->file.len && t->file.data[t->file.len - 1] == '\r' && *end == '\n';
    buf_adds(&t->file, joins ? "\r" : end);
    ++*line;
}

static void
write_field(struct table *t, char delimiter, char **ret, size_t *line)
{
    static const char *const bits[] = {"a",  "b c",  "\"", ",",      ";", "\t", "|",
                                       "\n", "\r\n", "\r", "\u00e9", " ", ""};
    struct buf b = {0};
    buf_adds(&b, "");
    for (uint64_t n = t_random() % 5; n; n--) {
        buf_adds(&b, bits[t_random() % (sizeof bits / sizeof *bits)]);
    }
    char special[] = {delimiter, '\n', '\r', '\0'};
    bool quoted = strpbrk(b.data, special) || b.data[0] == '"' || t_random() % 3 == 0;
    buf_adds(&t->file, quoted ? "\"" : "");
    for (const char *s = b.data; *s; s++) {
        buf_adds(&t->file, quoted && *s == '"' ? "\"" : "");
        buf_add(&t->file, s, 1);
        *line += *s == '\r' || (*s == '\n' && (s == b.data || s[-1] != '\r'));
    }
    buf_adds(&t->file, quoted ? "\"" : "");
    buf_adds(&t->file, quoted && delimiter != ' ' && t_random() % 4 == 0 ? " " : "");
    *ret = b.data;
}

static void
write_table(struct table *t, char delimiter)
{
    size_t line = 1;
    *t = (struct table){.records = t_random() % 64};
    buf_adds(&t->file, t_random() % 2 ? "\xef\xbb\xbf" : "");
    for (size_t i = 0; i < t->records; i++) {
        while (t_random() % 8 == 0) {
            write_line_end(t, &line);
        }
        t->line[i] = line;
        t->columns[i] = 1 + t_random() % 8;
        size_t before = t->file.len;
        for (size_t k = 0; k < t->columns[i]; k++) {
            buf_add(&t->file, &delimiter, k ? 1 : 0);
            write_field(t, delimiter, &t->fields[i][k], &line);
        }
        if (t->file.len == before) {
            buf_adds(&t->file, "\"\""); /* an empty line would be no record */
        }
        if (i + 1 < t->records || t_random() % 2) {
            write_line_end(t, &line);
        }
        t->next_offset[i] = t->file.len;
        t->next_line[i] = line;
    }
}

static void
free_table(struct table *t)
{
    for (size_t i = 0; i < t->records; i++) {
        for (size_t k = 0; k < t->columns[i]; k++) {
            free(t->fields[i][k]);
        }
    }
    buf_done(&t->file);
}

/* Reads the table from its record `from` on. */
static void
check_table(const struct table *t, int fd, const struct csv_options *options, size_t from)
{
    struct csv *c = NULL;
    struct csv_record r;
    CHECK_OK(csv_open(fd, options, &c, e));
    for (size_t i = from; i < t->records; i++) {
        struct err e = {0};
        if (csv_next(c, &r, &e) != CSV_RECORD) {
            t_fail(__FILE__, __LINE__, "record %zu: %s in\n%s", i, e.text, t->file.data);
        }
        CHECK_INT(t->columns[i], r.n);
        for (size_t k = 0; k < r.n; k++) {
            CHECK_STR(t->fields[i][k], r.fields[k].data);
        }
        CHECK_INT(t->line[i], r.line);
        CHECK_INT(t->next_offset[i], r.next_offset);
        CHECK_INT(t->next_line[i], r.next_line);
        CHECK_INT(0, r.bad_utf8);
    }
    CHECK_INT(CSV_END, csv_next(c, &r, NULL));
    csv_close(c);
}

TEST(random_tables_are_read_as_written_and_from_any_record_on)
{
    for (int round = 0; round < 5000; round++) {
        static struct table t;
        char delimiter = ",;\t|"[t_random() % 4];
        write_table(&t, delimiter);
        int fd = file_of(t.file.data, t.file.len);
        struct csv_options options = {.delimiter = delimiter, .buffer = t_random() % 200};
        check_table(&t, fd, &options, 0);
        size_t from = t.records ? 1 + t_random() % t.records : 0;
        if (from) {
            options.offset = (int64_t)t.next_offset[from - 1];
            options.line = (int64_t)t.next_line[from - 1];
            check_table(&t, fd, &options, from);
        }
        (void)close(fd);
        free_table(&t);
    }
}

TEST(a_pipe_that_gives_a_few_bytes_at_a_time_is_read_the_same)
{
    for (int round = 0; round < 50; round++) {
        static struct table t;
        write_table(&t, ',');
        int fds[2];
        CHECK_INT(0, pipe(fds));
        if (fork() == 0) {
            for (size_t i = 0, n; i < t.file.len; i += n) {
                n = 1 + t_random() % 7;
                n = n > t.file.len - i ? t.file.len - i : n;
                CHECK_INT(n, write(fds[1], t.file.data + i, n));
            }
            _exit(0);
        }
        (void)close(fds[1]);
        check_table(&t, fds[0], &(struct csv_options){.delimiter = ',', .buffer = t_random() % 100},
                    0);
        (void)close(fds[0]);
        free_table(&t);
    }
}

/* A record of one field of n bytes between two good ones. */
static const char *
read_long(size_t n, const char *before, const char *unit, const char *after)
{
    struct buf b = {0};
    buf_adds(&b, "a\n");
    buf_adds(&b, before);
    while (n) {
        size_t part = n < strlen(unit) ? n : strlen(unit);
        buf_add(&b, unit, part);
        n -= part;
    }
    buf_adds(&b, after);
    buf_adds(&b, "\nz");
    int fd = file_of(b.data, b.len);
    buf_done(&b);
    static char head[200]; /* the long field is not compared */
    const char *got = read_all(fd, &(struct csv_options){.delimiter = ','});
    size_t len = strlen(got);
    (void)snprintf(head, sizeof head, "%.100s...%s", got, got + (len > 40 ? len - 7 : len));
    (void)close(fd);
    return len > 150 ? head : got;
}

TEST(what_is_too_long_costs_its_record_only)
{
    char text[256];
    (void)snprintf(text, sizeof text, "1:[a] 2:[%091d...] 3:[z]", 0);
    CHECK_STR(text, read_long(CSV_FIELD_MAX, "", "0", ""));
    CHECK_STR(text, read_long(CSV_FIELD_MAX, "\"", "0", "\""));
    CHECK_STR("1:[a] 2!line 2: column 1 has 65537 bytes, more than the 65536 allowed 3:[z]",
              read_long(CSV_FIELD_MAX + 1, "", "0", ""));
    CHECK_STR("1:[a] 2!line 2: column 2 has 65537 bytes, more than the 65536 allowed 3:[z]",
              read_long((size_t)2 * (CSV_FIELD_MAX + 1), "x,\"", "\"\"", "\",y"));
    CHECK_STR("1:[a] 2!line 2: 257 columns, more than the 256 allowed 3:[z]",
              read_long(256, "", ",", ""));
    CHECK_STR("1:[a] 2!line 2: 100001 columns, more than the 256 allowed 3:[z]",
              read_long(100000, "", ",", ""));
    CHECK(strstr(read_long(255, "", ",", ""), "[][]] 3:[z]") == NULL);
    const char *over = "1:[a] 2!line 2: the record has more than 1048576 bytes 3:[z]";
    const char *cells = "0123456789012345678901234567890123456789012345678901234567890123,";
    CHECK_STR("1:[a] 2!line 2: 16132 columns, more than the 256 allowed 3:[z]",
              read_long(CSV_RECORD_MAX, "", cells, ""));
    CHECK_STR("1:[a] 2!line 2: 16132 columns, more than the 256 allowed 3:[z]",
              read_long(CSV_RECORD_MAX, "", cells, "\r"));
    CHECK_STR(over, read_long(CSV_RECORD_MAX + 1, "", cells, ""));
    CHECK_STR(over, read_long(3000000, "", cells, ""));
    CHECK_STR(over, read_long(5000000, "\"", "0", "\""));
    CHECK_STR(
        "1:[a] 2!line 2: the record has more than 1048576 bytes; is a quote not closed? 300003:[z]",
        read_long(3000000, "\"", "12345678\r\n", "\""));
    CHECK_STR("1:[a] 2!line 2: the quote opened here, in column 2, is never closed",
              read_long(3000000, "b,\"", "0123456789\"\"\r\n", ""));
}

/* 100 MB in one pair of quotes: the memory stays that of a record. */
TEST(memory_is_bounded)
{
    int fds[2];
    CHECK_INT(0, pipe(fds));
    if (fork() == 0) {
        static char block[1 << 20];
        memset(block, 'x', sizeof block);
        block[0] = '"';
        for (int i = 0; i < 100; i++) {
            for (size_t at = 0; at < sizeof block;) {
                ssize_t n = write(fds[1], block + at, sizeof block - at);
                at += n > 0 ? (size_t)n : 0;
            }
            block[0] = 'x';
        }
        _exit(write(fds[1], "\"\nb\n", 4) != 4);
    }
    (void)close(fds[1]);
    struct rusage before, after;
    (void)getrusage(RUSAGE_SELF, &before);
    CHECK_STR("1!line 1: the record has more than 1048576 bytes 2:[b]",
              read_all(fds[0], &(struct csv_options){0}));
    (void)getrusage(RUSAGE_SELF, &after);
    CHECK(after.ru_maxrss - before.ru_maxrss < 16384L); /* KB */
}

TEST(going_on_needs_the_same_file)
{
    struct csv_options on = {.offset = 9, .line = 4};
    CHECK_STR("the file has 4 bytes and was already read up to byte 9; it is not the same file",
              read_text("a;b\n", &on));
    CHECK_STR("4:[e][f]",
              read_text("a;b\nc,,d\ne;f", &on)); /* by the delimiter of the first line */
    CHECK_STR("", read_text("a;b\n12345", &on));
    int fds[2];
    CHECK_INT(0, pipe(fds));
    CHECK_INT(4, write(fds[1], "a;b\n", 4));
    (void)close(fds[1]);
    CHECK_STR("going on at byte 9 needs a file", read_all(fds[0], &on));
}

TEST(a_file_that_cannot_be_read_says_why)
{
    struct csv *c = NULL;
    struct err e = {0};
    CHECK(!csv_open(-1, &(struct csv_options){0}, &c, &e));
    CHECK_INT(ERR_RETRY, e.kind);
    CHECK_STR("reading failed: Bad file descriptor", e.text);
    int fd = open(t_dir(), O_RDONLY | O_DIRECTORY);
    CHECK(!csv_open(fd, &(struct csv_options){0}, &c, &e));
    CHECK_INT(ERR_INPUT, e.kind);
    CHECK_STR("reading failed: Is a directory", e.text);
    fd = file_of("a,b\nc,d\ne,f\ng,h\ni,j\n", 20); /* fails on the way */
    CHECK(csv_open(fd, &(struct csv_options){.buffer = 16, .delimiter = ','}, &c, &e));
    (void)close(fd);
    struct csv_record r;
    for (int i = 0; i < 4; i++) {
        CHECK_INT(CSV_RECORD, csv_next(c, &r, &e));
    }
    for (int i = 0; i < 2; i++) {
        CHECK_INT(CSV_FAILED, csv_next(c, &r, &e));
        CHECK_STR("line 5: reading failed: Bad file descriptor", e.text);
    }
    csv_close(c);
}

TEST(two_hundred_thousand_lines_take_less_than_a_second)
{
    enum { LINES = 200000 };
    struct buf b = {0};
    for (int i = 0; i < LINES; i++) {
        buf_addf(&b, "6012%07d,\"Siti \"\"Nur\"\" %d\",Kuala Lumpur,2024-01-31,\"gold, silver\"\n",
                 i, i);
    }
    int fd = file_of(b.data, b.len);
    buf_done(&b);
    struct csv *c = NULL;
    struct csv_record r;
    clock_t start = clock();
    CHECK_OK(csv_open(fd, &(struct csv_options){0}, &c, e));
    int n = 0;
    while (csv_next(c, &r, NULL) == CSV_RECORD) {
        n += r.n == 5;
    }
    CHECK_INT(LINES, n);
    CHECK(clock() - start < CLOCKS_PER_SEC);
    csv_close(c);
}
