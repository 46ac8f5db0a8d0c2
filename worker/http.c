#include "shared/clock.h"
#include "worker/http_internal.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

static void
list_add(struct exchange_list *l, struct exchange *x)
{
    x->next = NULL;
    *l->tail = x;
    l->tail = &x->next;
}

static struct exchange *
list_take(struct exchange_list *l)
{
    struct exchange *x = l->head;
    if (x) {
        l->head = x->next;
        l->tail = l->head ? l->tail : &l->head;
    }
    return x;
}

static int
set_timer(CURLM *multi, long timeout_ms, void *arg)
{
    (void)multi;
    struct http *h = arg;
    ev_timer_stop(h->loop, &h->curl_timer);
    if (timeout_ms >= 0) {
        ev_now_update(h->loop);
        ev_timer_set(&h->curl_timer, (double)timeout_ms / 1000.0, 0.);
        ev_timer_start(h->loop, &h->curl_timer);
    }
    return 0;
}

static void on_socket(struct ev_loop *loop, ev_io *w, int events);

static int
watch_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *known)
{
    (void)easy;
    struct http *h = arg;
    struct watch *w = known;
    if (what == CURL_POLL_REMOVE) {
        if (w) {
            ev_io_stop(h->loop, &w->io);
            (void)curl_multi_assign(h->multi, fd, NULL);
            w->next = h->spare;
            h->spare = w;
        }
        return 0;
    }
    if (!w) {
        w = h->spare;
        if (w) {
            h->spare = w->next;
        } else {
            w = xcalloc(1, sizeof *w);
        }
        ev_init(&w->io, on_socket);
        w->io.data = h;
        (void)curl_multi_assign(h->multi, fd, w);
    }
    int events = (what & CURL_POLL_IN ? EV_READ : 0) | (what & CURL_POLL_OUT ? EV_WRITE : 0);
    ev_io_stop(h->loop, &w->io);
    ev_io_set(&w->io, fd, events);
    ev_io_start(h->loop, &w->io);
    return 0;
}

/* Takes a running exchange out of libcurl; its easy handle can be used again. */
static void
detach(struct exchange *x)
{
    struct http *h = x->http;
    (void)curl_multi_remove_handle(h->multi, x->easy);
    h->idle[h->n_idle++] = x->easy;
    x->easy = NULL;
    struct exchange *last = h->running[--h->n_running];
    h->running[x->slot] = last;
    last->slot = x->slot;
}

static void
finish(struct exchange *x)
{
    x->result.ms = x->began_ms ? clock_mono_ms() - x->began_ms : 0;
    list_add(&x->http->finished, x);
}

static void
finish_as(struct exchange *x, enum http_end end)
{
    x->result.end = end;
    exchange_conclude(x, CURLE_ABORTED_BY_CALLBACK);
    finish(x);
}

static void
begin(struct exchange *x, int64_t now_ms)
{
    struct http *h = x->http;
    CURL *c = h->n_idle ? h->idle[--h->n_idle] : curl_easy_init();
    CURLcode rc = c ? CURLE_OK : CURLE_OUT_OF_MEMORY;
    x->began_ms = now_ms;
    if (c) {
        curl_easy_reset(c);
        rc = exchange_configure(x, c, x->deadline_ms - now_ms);
        if (!rc && curl_multi_add_handle(h->multi, c) != CURLM_OK) {
            rc = CURLE_FAILED_INIT;
        }
    }
    if (rc) {
        if (c) {
            h->idle[h->n_idle++] = c;
        }
        exchange_conclude(x, rc);
        finish(x);
        return;
    }
    x->easy = c;
    x->slot = h->n_running;
    h->running[h->n_running++] = x;
}

/* --- the turns of the loop ------------------------------------------------------------------- */

static void
collect(struct http *h)
{
    int left;
    for (CURLMsg *m; (m = curl_multi_info_read(h->multi, &left)) != NULL;) {
        if (m->msg != CURLMSG_DONE) {
            continue;
        }
        CURLcode rc = m->data.result; /* m is gone with the handle */
        char *x_of = NULL;
        (void)curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &x_of);
        struct exchange *x = (struct exchange *)(void *)x_of;
        exchange_conclude(x, rc);
        detach(x);
        finish(x);
    }
}

static void
report(struct http *h)
{
    assert(!h->reporting);
    h->reporting = true;
    for (struct exchange *x; (x = list_take(&h->finished)) != NULL;) {
        x->done(x->arg, &x->result);
        exchange_free(x);
    }
    h->reporting = false;
}

/* Begins what there is room for, and ends what waited too long.  That libcurl never has more
 * requests than connections also keeps them out of its own queue, in which no time limit runs. */
static void
pump(struct http *h)
{
    int64_t now_ms = clock_mono_ms();
    for (struct exchange *x; (x = h->waiting.head) != NULL;) {
        bool stale = x->not_after_ms && now_ms > x->not_after_ms;
        bool late = now_ms >= x->deadline_ms;
        if (!stale && !late && h->n_running == (size_t)h->options.max_connections) {
            break;
        }
        (void)list_take(&h->waiting);
        if (stale || late) {
            finish_as(x, stale ? HTTP_STALE : HTTP_QUEUE_TIMEOUT);
        } else {
            begin(x, now_ms);
        }
    }
}

/* The next moment at which pump() has something to do without libcurl's help. */
static void
arm(struct http *h)
{
    ev_timer_stop(h->loop, &h->kick);
    const struct exchange *first = h->waiting.head;
    if (!first) {
        return;
    }
    double after = 0.;
    if (h->n_running == (size_t)h->options.max_connections) {
        int64_t until = first->deadline_ms;
        if (first->not_after_ms && first->not_after_ms + 1 < until) {
            until = first->not_after_ms + 1;
        }
        int64_t wait = until - clock_mono_ms();
        after = wait > 0 ? (double)wait / 1000.0 : 0.;
    }
    ev_now_update(h->loop);
    ev_timer_set(&h->kick, after, 0.);
    ev_timer_start(h->loop, &h->kick);
}

static void
turn(struct http *h)
{
    collect(h);
    report(h);
    pump(h);
    report(h); /* what pump() could not begin */
    arm(h);
}

static void
on_socket(struct ev_loop *loop, ev_io *w, int events)
{
    (void)loop;
    struct http *h = w->data;
    assert(!(events & EV_ERROR));
    int left, what = (events & EV_READ ? CURL_CSELECT_IN : 0) |
                     (events & EV_WRITE ? CURL_CSELECT_OUT : 0);
    (void)curl_multi_socket_action(h->multi, w->fd, what, &left);
    turn(h);
}

static void
on_curl_timer(struct ev_loop *loop, ev_timer *w, int events)
{
    (void)loop, (void)events;
    struct http *h = w->data;
    int left;
    (void)curl_multi_socket_action(h->multi, CURL_SOCKET_TIMEOUT, 0, &left);
    turn(h);
}

static void
on_kick(struct ev_loop *loop, ev_timer *w, int events)
{
    (void)loop, (void)events;
    turn(w->data);
}

/* --- public ---------------------------------------------------------------------------------- */

bool
http_open(struct ev_loop *loop, const struct http_options *o, struct http **ret, struct err *e)
{
    assert(o->max_connections > 0 && o->connect_ms > 0 && o->total_ms > 0);
    if (o->unix_socket && strlen(o->unix_socket) >= sizeof((struct sockaddr_un *)0)->sun_path) {
        return err_set(e, ERR_INPUT, "the path of the unix socket is too long");
    }
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        return err_set(e, ERR_RETRY, "libcurl cannot be initialised");
    }
    struct http *h = xcalloc(1, sizeof *h);
    h->loop = loop;
    h->options = *o;
    h->unix_socket = o->unix_socket ? xstrdup(o->unix_socket) : NULL;
    h->running = xcalloc((size_t)o->max_connections, sizeof(struct exchange *));
    h->idle = xcalloc((size_t)o->max_connections, sizeof(CURL *));
    h->waiting.tail = &h->waiting.head;
    h->finished.tail = &h->finished.head;
    ev_init(&h->curl_timer, on_curl_timer);
    ev_init(&h->kick, on_kick);
    h->curl_timer.data = h;
    h->kick.data = h;
    h->multi = curl_multi_init();
    if (!h->multi || curl_multi_setopt(h->multi, CURLMOPT_SOCKETFUNCTION, watch_socket) ||
        curl_multi_setopt(h->multi, CURLMOPT_SOCKETDATA, h) ||
        curl_multi_setopt(h->multi, CURLMOPT_TIMERFUNCTION, set_timer) ||
        curl_multi_setopt(h->multi, CURLMOPT_TIMERDATA, h) ||
        curl_multi_setopt(h->multi, CURLMOPT_PIPELINING, CURLPIPE_NOTHING) ||
        curl_multi_setopt(h->multi, CURLMOPT_MAXCONNECTS, (long)o->max_connections)) {
        http_close(h);
        return err_set(e, ERR_RETRY, "libcurl cannot be set up");
    }
    *ret = h;
    return true;
}

void
http_send(struct http *h, const struct http_request *r, http_done *done, void *arg)
{
    list_add(&h->waiting, exchange_new(h, r, done, arg));
    arm(h);
}

void
http_close(struct http *h)
{
    if (!h) {
        return;
    }
    int left;
    h->closing = true;
    if (h->n_running) {
        (void)curl_multi_perform(h->multi, &left);
        collect(h);
    }
    while (h->n_running) {
        struct exchange *x = h->running[0];
        detach(x);
        finish_as(x, HTTP_CLOSED);
    }
    do {
        for (struct exchange *x; (x = list_take(&h->waiting)) != NULL;) {
            finish_as(x, HTTP_CLOSED);
        }
        report(h);
    } while (h->waiting.head);
    while (h->n_idle) {
        curl_easy_cleanup(h->idle[--h->n_idle]);
    }
    (void)curl_multi_cleanup(h->multi);
    ev_timer_stop(h->loop, &h->curl_timer);
    ev_timer_stop(h->loop, &h->kick);
    for (struct watch *w; (w = h->spare) != NULL;) {
        h->spare = w->next;
        free(w);
    }
    free(h->running);
    free(h->idle);
    free(h->unix_socket);
    free(h);
    curl_global_cleanup();
}
