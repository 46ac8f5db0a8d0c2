/* csv.h -- reads a CSV file of any size record by record, in one pass and in bounded memory.
 *
 * RFC 4180: a field in quotes may hold delimiters, line ends and "" for a quote; a quote inside an
 * unquoted field is an ordinary character.  Beyond the RFC: LF, CRLF and CR end a record, blanks
 * may follow a closing quote, empty lines are skipped, a byte order mark at the start too, records
 * may differ in length.
 *
 * A record that cannot be read costs that record only: the caller reports it and goes on.  Each
 * record says where the next one begins: there an import that was interrupted can go on. */
#ifndef SHARED_CSV_H
#define SHARED_CSV_H

#include "shared/err.h"

#include <stddef.h>
#include <stdint.h>

enum { CSV_FIELD_MAX = 65536, CSV_RECORD_MAX = 1048576, CSV_COLUMNS_MAX = 256 };

struct csv_field {
    const char *data; /* without its quotes; NUL-terminated, and without any other NUL */
    size_t len;
};

struct csv_record {
    const struct csv_field *fields; /* borrowed until the next call; NULL in a bad record */
    size_t n;
    int64_t line;        /* of the file, from 1, on which the record begins */
    int64_t next_offset; /* where the record after it begins, for struct csv_options */
    int64_t next_line;
    size_t bad_utf8; /* the first column, from 1, that is not valid UTF-8; 0 for none */
};

/* Zero-initialise for a file from its beginning. */
struct csv_options {
    char delimiter; /* 0: whichever of , ; tab | the first line holds most of; "," if none */
    int64_t offset; /* where to go on: next_offset of the last record done */
    int64_t line;   /* and its next_line */
    size_t buffer;  /* bytes to begin with; 0: 256 KB */
};

enum csv_result {
    CSV_RECORD,
    CSV_BAD,    /* ERR_INPUT; its line and next_ fields are set; the next call goes on behind it */
    CSV_END,    /* the next_ fields are set; also on each further call */
    CSV_FAILED, /* ERR_RETRY: reading failed; also on each further call */
};

struct csv;

/* Borrows fd until csv_close().  Going on at an offset needs a file, not a pipe.  ERR_INPUT: a
 * bad delimiter, a file shorter than the offset, UTF-16.  ERR_RETRY: reading failed. */
MUST_USE bool csv_open(int fd, const struct csv_options *options, struct csv **ret, struct err *e);
void csv_close(struct csv *c); /* NULL is allowed */

/* The delimiter given or found. */
char csv_delimiter(const struct csv *c);

/* Bad is a record with a field over CSV_FIELD_MAX bytes, over CSV_RECORD_MAX bytes or
 * CSV_COLUMNS_MAX fields in all, a NUL byte, text behind a closing quote, or a quote that is still
 * open at the end of the file; e names the line. */
enum csv_result csv_next(struct csv *c, struct csv_record *ret, struct err *e);

#endif
