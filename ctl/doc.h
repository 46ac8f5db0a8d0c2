/* doc.h -- a JSON value under construction: what every command makes, and what output.h shows as a
 * table or as JSON.  The only user of jansson.  A child belongs to its parent; whoever made the
 * root frees it, or gives it to output.h.  Text that is not UTF-8 is kept with '?' for the bytes
 * that are not. */
#ifndef CTL_DOC_H
#define CTL_DOC_H

#include "shared/err.h"
#include "shared/mem.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct doc;

struct doc *doc_object(void);
struct doc *doc_list(void);
void doc_free(struct doc *d); /* NULL is allowed */

/* Reads JSON text.  ERR_INPUT says "line:column: what", of the first mistake; a member that occurs
 * twice is one.  *ret is then NULL. */
MUST_USE bool doc_parse(const char *text, size_t len, struct doc **ret, struct err *e);

/* Puts a value into an object, replacing another of this key; doc_put takes v.  text NULL is null.
 * An id beyond 2^53, which other readers of JSON would round, becomes a string. */
void doc_put(struct doc *object, const char *key, struct doc *v);
void doc_put_str(struct doc *object, const char *key, const char *text);
void doc_put_strn(struct doc *object, const char *key, const char *text, size_t len);
void doc_put_int(struct doc *object, const char *key, int64_t v);
void doc_put_id(struct doc *object, const char *key, uint64_t id);
void doc_put_bool(struct doc *object, const char *key, bool v);

/* A new object, or list, in the object; a new object, or text, at the list's end. */
struct doc *doc_put_object(struct doc *object, const char *key);
struct doc *doc_put_list(struct doc *object, const char *key);
struct doc *doc_append(struct doc *list);
void doc_append_str(struct doc *list, const char *text);
void doc_append_int(struct doc *list, int64_t v);
void doc_put_copy(struct doc *object, const char *key, const struct doc *v);
void doc_append_copy(struct doc *list, const struct doc *v);

enum doc_type { DOC_NULL, DOC_BOOL, DOC_INT, DOC_REAL, DOC_STR, DOC_LIST, DOC_OBJECT };
enum doc_type doc_type(const struct doc *d); /* DOC_NULL for NULL */
size_t doc_len(const struct doc *list); /* elements of a list or members of an object, else 0 */
const struct doc *doc_at(const struct doc *list, size_t i);
const struct doc *doc_get(const struct doc *object, const char *key); /* NULL when there is none */
const char *doc_key(const struct doc *object, size_t i); /* in the order of the text; or NULL */
const char *doc_str(const struct doc *d);                /* "" when it is no text */
int64_t doc_int(const struct doc *d); /* 0 when it is no number; a bool is 0 or 1 */

/* One line; or indented, with a line end. */
void doc_write(const struct doc *d, struct buf *out);
bool doc_print(const struct doc *d, FILE *f);

#endif
