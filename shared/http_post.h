/* http_post.h -- requests with a body for a program's own thread: a bounded body is read by the
 * HTTP server's thread, checked for its credentials, and waits, suspended, until the program has
 * answered it.  So the program may block (on MySQL, say) while health pages are served and other
 * bodies come in, and what it owns stays in one thread.
 *
 * Refused without the program: another method (405), wrong credentials (401), a body beyond the
 * limit (413) or too many at once (503); a body that takes longer than allowed is cut off.  A
 * refused body is read to its end first, so that the answer is not lost in a reset connection.
 * Every answer ends its connection, but a webhook's: a kept one that the server closes just then
 * costs the client a request that it does not repeat. */
#ifndef SHARED_HTTP_POST_H
#define SHARED_HTTP_POST_H

#include "shared/mem.h"

#include <stdbool.h>
#include <stddef.h>

struct http_posts; /* the path, and who waits there */
struct http_post;  /* one request */

struct http_posts_config {
    const char *path; /* kept; one that ends with "/" stands for all that begin with it */
    const char *user, *password; /* of HTTP Basic authentication; user NULL: anybody may post */
    size_t body_max;
    int body_ms;    /* the longest that a body may take from its first byte to its last */
    size_t all_max; /* bytes of all bodies at one time, 0: no bound; who comes too much gets 503 */
    /* For clients that repeat what failed, as webhooks do: GET is handed over as well, connections
     * are kept, and more of them are taken. */
    bool webhook;
    const char *const *headers; /* NULL-ended, kept: what http_post_header() gives; or NULL */
};
struct http_posts *http_posts_open(const struct http_posts_config *c);
/* After the server has stopped. */
void http_posts_close(struct http_posts *p);

/* The next request whose body is complete, waiting for one up to wait_ms; NULL when there is none.
 * Each must be answered; the body is NUL-terminated and lives until then. */
struct http_post *http_posts_next(struct http_posts *p, int wait_ms);
const char *http_post_body(const struct http_post *r, size_t *ret_len);
/* The path as asked for. */
const char *http_post_path(const struct http_post *r);
bool http_post_is_get(const struct http_post *r);
/* The value of the config's i-th header, NULL when there is none. */
const char *http_post_header(const struct http_post *r, size_t i);
/* A parameter of the URL, decoded; NULL when there is none.  Only before the answer. */
const char *http_post_query(const struct http_post *r, const char *name);
/* A JSON text, whose buffer is taken.  retry_after_s 0: no such header. */
void http_post_answer(struct http_post *r, unsigned status, struct buf *json, int retry_after_s);
/* The same with a plain text. */
void http_post_answer_text(struct http_post *r, unsigned status, struct buf *text);

/* Requests that have begun and have not got their answer yet. */
size_t http_posts_active(struct http_posts *p);

/* --- for http_server.c, which knows the library's types ---------------------------------- */

bool http_posts_has(const struct http_posts *p, const char *path);
/* How many at once. */
unsigned http_posts_connections(const struct http_posts *p);
struct MHD_Connection;
int http_posts_request(struct http_posts *p, struct MHD_Connection *conn, const char *path,
                       const char *method, const char *upload, size_t *upload_size, void **state);
void http_posts_completed(struct http_post *r); /* NULL is allowed */

#endif
