/* http_internal.h -- what http.c (the loop's side) and http_exchange.c (libcurl's side) share.
 * Nobody else includes it, or curl/curl.h. */
#ifndef WORKER_HTTP_INTERNAL_H
#define WORKER_HTTP_INTERNAL_H

#include "shared/mem.h"
#include "worker/http.h"

#include <curl/curl.h>
#include <ev.h>

/* One request: waiting -> running -> finished, and freed after its callback. */
struct exchange {
    struct http *http;
    struct exchange *next; /* in the waiting or the finished list */
    size_t slot;           /* in http->running */
    CURL *easy;
    http_done *done;
    void *arg;
    char *method, *url, *body;
    size_t body_len, body_read;
    struct curl_slist *headers;
    int64_t not_after_ms, deadline_ms, began_ms;
    int writings;    /* how often libcurl was about to write the request */
    bool refused;    /* an address was private */
    size_t head_len; /* bytes of the answer's head so far */
    struct buf answer;
    struct http_result result;
    char curl_text[CURL_ERROR_SIZE];
};

/* libcurl's interest in one socket. */
struct watch {
    ev_io io;
    struct watch *next; /* in the spare list */
};

struct exchange_list {
    struct exchange *head, **tail;
};

struct http {
    struct ev_loop *loop;
    struct http_options options;
    char *unix_socket;
    CURLM *multi;
    ev_timer curl_timer; /* libcurl's own deadline */
    ev_timer kick;       /* starts waiting requests, or ends the first one's wait */
    struct exchange_list waiting, finished;
    struct exchange **running; /* options.max_connections slots */
    size_t n_running;
    CURL **idle; /* easy handles to use again, as many slots */
    size_t n_idle;
    struct watch *spare; /* a watch is not freed: it may be the one whose callback is running */
    bool closing, reporting;
};

struct exchange *exchange_new(struct http *h, const struct http_request *r, http_done *done,
                              void *arg);
void exchange_free(struct exchange *x);

/* Makes an easy handle that was reset into this request, to be over after left_ms. */
CURLcode exchange_configure(struct exchange *x, CURL *c, int64_t left_ms);

/* Fills x->result with what came of it, from libcurl's code and what its callbacks noted. */
void exchange_conclude(struct exchange *x, CURLcode rc);

#endif
