/* stop_words.h -- which answers mean "no more messages", and which "messages again".  Pure.
 *
 *     [ms malay]                 a language and its other names
 *     stop = berhenti, batal     whole answers, in any case
 *     resume = mula
 *
 * A # begins a comment line. */
#ifndef SHARED_STOP_WORDS_H
#define SHARED_STOP_WORDS_H

#include "shared/err.h"

#include <stdbool.h>
#include <stddef.h>

enum { STOP_WORDS_BYTES_MAX = 65536, STOP_WORD_BYTES_MAX = 120 };
enum stop_word { STOP_WORD_NONE, STOP_WORD_STOP, STOP_WORD_RESUME };

struct stop_words;

/* deploy/stop_words.conf */
extern const char stop_words_builtin[];

/* Reads languages; one that is named again replaces what was read of it before.  ERR_INPUT with
 * place:line.  *w is NULL before the first call; the caller frees it, after a failure too. */
MUST_USE bool stop_words_read(struct stop_words **w, const char *place, const char *text,
                              size_t len, struct err *e);
void stop_words_free(struct stop_words *w);

/* What an answer means.  Case does not count, nor do spaces around and between words, nor marks
 * such as . or ! around it; anything else in it makes it an ordinary message. */
enum stop_word stop_words_find(const struct stop_words *w, const char *text);

#endif
