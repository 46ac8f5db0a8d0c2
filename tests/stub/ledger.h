/* ledger.h -- the file that says what the provider received.
 *
 * One line a request, fields separated by tabs, only ever appended, one writer a file.  Lines are
 * collected while a turn of the loop runs and written together before any of their answers.  The
 * file never keeps a part of a line: what a full disk cut off is taken back. */
#ifndef TESTS_STUB_LEDGER_H
#define TESTS_STUB_LEDGER_H

#include "shared/mem.h"

#include <stddef.h>
#include <stdint.h>

struct ledger_line {
    uint64_t serial;
    const char *job, *attempt, *device, *recipient; /* empty ones are written as "-" */
    const char *text;
    size_t text_len;
    const char *verdict;
};

struct ledger;

/* Opens or creates the file.  *last_serial is the serial of its last line, or 0: a provider that
 * comes back goes on counting.  A path of NULL gives a ledger that keeps nothing.  ERR_REFUSED:
 * another process writes it; ERR_RETRY: the file cannot be used. */
MUST_USE bool ledger_open(const char *path, struct ledger **ret, uint64_t *last_serial,
                          struct err *e);
/* Does not flush. */
void ledger_close(struct ledger *l);

/* Adds a line with the present time to the batch; returns where it ends in the batch. */
size_t ledger_add(struct ledger *l, const struct ledger_line *line);

/* Writes the batch and begins a new one.  *recorded: lines that end at or before it are in the
 * file. Returns false when that is not all of them; the lines behind it are not in the file. */
MUST_USE bool ledger_flush(struct ledger *l, size_t *recorded, struct err *e);

/* Where the message is in a body: in JSON the bytes of the string "text" as they stand there (its
 * escapes are not undone), or of "text"."body"; otherwise, and for anything but JSON, the whole
 * body. */
void ledger_text(const char *body, size_t n, bool json, const char **text, size_t *text_len);

#endif
