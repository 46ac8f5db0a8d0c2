/* output.h -- what every command prints: tables and lines for people, one JSON document with
 * --json.
 *
 * Tables are aligned by the width that a terminal gives each character; control characters in
 * values are not passed on.  Times are kept in UTC ("2026-11-22T10:00:00.000Z" in JSON) and shown
 * in the zone of the terminal's user, or in UTC on request. */
#ifndef CTL_OUTPUT_H
#define CTL_OUTPUT_H

#include "ctl/doc.h"
#include "shared/err.h"

#include <stdbool.h>

struct rows;

struct output {
    bool json, utc;
};

/* Chooses the character set; once, before anything is shown. */
void output_init(void);

enum show {
    SHOW_TEXT,
    SHOW_INT,
    SHOW_ID,
    SHOW_TIME,    /* in SQL a DATETIME in UTC */
    SHOW_MS,      /* a duration */
    SHOW_YES,     /* in SQL 0 or 1 */
    SHOW_PERCENT, /* a whole number */
};

/* title: over the column of a table; NULL: not in tables, but in JSON, and in lines, which are
 * named by the key.  The list ends with a NULL key. */
struct column {
    const char *key, *title;
    enum show show;
};

/* Puts the current row's fields, one a column from `first` on, into the object; NULL becomes null.
 */
void output_row(const struct rows *r, unsigned first, const struct column *columns,
                struct doc *object);
/* All rows that are left, as a list of objects. */
struct doc *output_rows(struct rows *r, const struct column *columns);
/* 1763805600000 -> a SHOW_TIME value; 0 -> null. */
void output_put_ms(struct doc *object, const char *key, int64_t unix_ms);

/* A part of a document: a list (shown as a table), an object (one line a column), or a plain value.
 * key "" is the document itself; columns are those of the list or object; title NULL: no heading.
 * A part that is missing is not shown.  The list ends with a NULL key. */
struct section {
    const char *key, *title;
    const struct column *columns;
};

/* Each takes the document. */
void output_list(const struct output *o, const struct column *columns, struct doc *list);
/* An object, shown as a table of one row. */
void output_one(const struct output *o, const struct column *columns, struct doc *object);
void output_report(const struct output *o, const struct section *sections, struct doc *object);
/* One sentence for people, or the document. */
void output_said(const struct output *o, struct doc *object, const char *fmt, ...)
    PRINTF_LIKE(3, 4);

#endif
