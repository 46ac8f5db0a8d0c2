/* sheet.h -- a CSV file with a header line, as the import commands read it: rows that cannot be
 * used are reported as FILE:LINE: what: cure, and cost only themselves. */
#ifndef CTL_SHEET_H
#define CTL_SHEET_H

#include "ctl/output.h"
#include "ctl/progress.h"
#include "shared/csv.h"

#include <stdio.h>

enum { SHEET_NONE = CSV_COLUMNS_MAX, SHEET_FINGERPRINT = 33 };

/* A piece of text that is not NUL-terminated. */
struct text {
    const char *s;
    size_t len;
};

struct sheet {
    const char *path; /* kept */
    int fd;
    int64_t size;
    char **names; /* the header, trimmed */
    size_t n;
    int64_t body_offset, body_line; /* where the first row begins */
    struct csv *csv;
    struct csv_record row;
    int64_t rows, refused; /* seen so far; rows without the refused ones */
    FILE *errors;          /* takes all errors, or NULL: stderr takes the first ones */
    struct progress progress;
};

/* Reads the header.  ERR_INPUT: no such file, no regular file, no header.  The caller closes it,
 * also after a failure. */
MUST_USE bool sheet_open(struct sheet *s, const char *path, struct err *e);
void sheet_close(struct sheet *s);
/* All errors go to this file; append: behind what an earlier run wrote. */
MUST_USE bool sheet_errors_to(struct sheet *s, const char *path, bool append, struct err *e);
/* Goes on behind a row that was read in an earlier run. */
MUST_USE bool sheet_go_on(struct sheet *s, int64_t offset, int64_t line, struct err *e);
/* A hash of the whole content and of the text beside it. */
MUST_USE bool sheet_fingerprint(const struct sheet *s, const char *beside,
                                char ret[SHEET_FINGERPRINT], struct err *e);

/* The next row that can be read and is not empty; CSV_RECORD, CSV_END or CSV_FAILED. */
enum csv_result sheet_next(struct sheet *s, struct err *e);
/* A cell of the row without blanks around it; empty behind the row's end and for SHEET_NONE. */
struct text sheet_cell(const struct sheet *s, size_t column);
/* Reports the row. */
void sheet_refuse(struct sheet *s, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* The column with this name, or else the only one whose letters and digits are the same; "#3" is
 * the third; SHEET_NONE. */
size_t sheet_find(const struct sheet *s, const char *name);
/* True when letters and digits are the same, whatever their case and what stands between. */
bool sheet_same(const char *a, const char *b);
/* "'Mobile', 'Nama'": for errors. */
void sheet_list(const struct sheet *s, struct buf *out);

struct sheet_counts {
    int64_t inserted, updated, duplicates, resumed_at; /* resumed_at: a line, or 0 */
    bool dry_run;
};
/* Prints what came of an import; the exit code. */
int sheet_report(struct sheet *s, const struct output *o, const struct sheet_counts *n);

#endif
