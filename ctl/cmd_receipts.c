/* cmd_receipts.c -- `paceline receipts`: a server to which providers post what came of messages.
 *
 * Two threads, as in cmd_inlet.c.  This one takes all bodies that have come meanwhile, checks each
 * one's signature before anything of it is read, and writes their events in one transaction; each
 * gets its 200 only behind the commit.  What the events mean is the reaper's business. */
#include "ctl/command.h"
#include "ctl/ctl.h"
#include "ctl/receipts_write.h"
#include "shared/clock.h"
#include "shared/http_post.h"
#include "shared/http_server.h"
#include "shared/log.h"
#include "shared/metrics.h"
#include "shared/migrate.h"
#include "shared/program.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#define RECEIPTS_PATH "/receipts/"

enum {
    WAIT_MS = 100,
    BODY_MS = 10000,
    DRAIN_MS = 15000,
    AWAY_MS = 500, /* after trouble, MySQL is asked no more often */
    RETRY_AFTER_S = 5,
    CONNECT_MS = 2000,
    QUERY_MS = 3000,
    BODIES_MAX = 64, /* of one transaction */
    CHALLENGE_MAX = 256,
    ALL_MAX = 64 << 20, /* bytes of bodies at one time: nobody has proven anything yet */
    TELL_MS = 1000,     /* between two lines of the log about strangers */
};

struct receipts_flags {
    const char *listen;
};

static const struct flag receipts_flags[] = {
    {"listen", FLAG_TEXT, offsetof(struct receipts_flags, listen), "ADDRESS", "127.0.0.1:8471",
     "Where to listen: host:port or unix:/path; port 0 chooses one.", false},
    {NULL, FLAG_BOOL, 0, NULL, NULL, NULL, false},
};

#define EVENTS(word)                                                                               \
    {                                                                                              \
        .name = "paceline_receipts_events_total", .labels = "outcome=\"" word "\"",                \
        .help = "Events that providers posted, by what became of them.", .type = METRIC_COUNTER    \
    }
#define REFUSED(word)                                                                              \
    {                                                                                              \
        .name = "paceline_receipts_refused_total", .labels = "why=\"" word "\"",                   \
        .help = "Requests that were not answered with 200.", .type = METRIC_COUNTER                \
    }
static struct metric metrics[] = {
    EVENTS("new"),
    EVENTS("repeated"),
    EVENTS("left_out"),
    REFUSED("signature"),
    REFUSED("token"),
    REFUSED("shape"),
    REFUSED("path"),
    REFUSED("mysql"),
    {.name = "paceline_receipts_commits_total",
     .help = "Transactions that wrote events.",
     .type = METRIC_COUNTER},
    {.name = "paceline_mysql_up", .help = "1 while MySQL answers.", .type = METRIC_GAUGE},
};
enum {
    M_NEW,
    M_REPEATED,
    M_LEFT_OUT,
    M_SIGNATURE,
    M_TOKEN,
    M_SHAPE,
    M_PATH,
    M_MYSQL,
    M_COMMITS,
    M_MYSQL_UP
};

struct server {
    struct ctl *c;
    struct receipts_conf conf;
    struct stop_words *words;
    struct http_posts *posts;
    bool well;         /* MySQL answered last time */
    int64_t ask_again; /* when it did not: not before */
    struct body {
        struct receipts_batch batch;
        struct http_post *r;
    } bodies[BODIES_MAX];
    size_t n;
};

/* --- answers -------------------------------------------------------------------------- */

static void
answer(struct http_post *r, unsigned status, const char *key, const char *text)
{
    struct doc *d = doc_object();
    struct buf json = {0};
    doc_put_str(d, key, text);
    doc_write(d, &json);
    buf_adds(&json, "\n");
    doc_free(d);
    http_post_answer(r, status, &json, status == 503 ? RETRY_AFTER_S : 0);
}

/* Whoever posts learns no more than that it is refused, and cannot fill the log. */
static void
refuse(struct http_post *r, const struct receipts_section *s, unsigned status, int metric,
       const char *why)
{
    static int64_t tell_at, untold;
    bool stranger = metric == M_SIGNATURE || metric == M_TOKEN || metric == M_PATH;
    metric_add(&metrics[metric], 1);
    if (!stranger || clock_mono_ms() >= tell_at) {
        log_warn("receipts_refused", "section", LOG_S(s ? s->name : ""), "status", LOG_I(status),
                 "why", LOG_S(why), "untold", LOG_I(untold));
        tell_at = stranger ? clock_mono_ms() + TELL_MS : tell_at;
        untold = 0;
    } else {
        untold++;
    }
    answer(r, status, "error", why);
}

/* --- MySQL ---------------------------------------------------------------------------- */

static void
note_mysql(struct server *s, bool well, const struct err *e)
{
    if (well && !s->well) {
        log_info("mysql_well");
    } else if (!well && s->well) {
        log_warn("mysql_trouble", "why", LOG_S(e->text));
    }
    s->well = well;
    s->ask_again = clock_mono_ms() + AWAY_MS;
    health_ready(well, "MySQL does not answer");
    metric_set(&metrics[M_MYSQL_UP], well);
}

static void
look_after_mysql(struct server *s)
{
    struct err e = {0};
    if (!s->well && clock_mono_ms() >= s->ask_again) {
        bool well = store_ping(s->c->store, &e);
        note_mysql(s, well, &e);
    }
}

/* --- handshake ------------------------------------------------------------------------ */

static bool
is_same(const char *given, const char *wanted)
{
    struct receipts_key k = {.signature = RECEIPTS_TOKEN, .secrets = {wanted}};
    return given && wanted && *wanted && receipts_signed(&k, given, "", 0);
}

/* Meta asks once, when the webhook is set up: the challenge comes back to whoever knows the token.
 */
static void
shake_hands(struct http_post *r, const struct receipts_section *s)
{
    const char *mode = http_post_query(r, "hub.mode"),
               *challenge = http_post_query(r, "hub.challenge");
    if (!s->verify_token) {
        refuse(r, s, 405, M_TOKEN, "only POST: the section has no verify_token");
    } else if (!mode || strcmp(mode, "subscribe") != 0 || !challenge ||
               strlen(challenge) > CHALLENGE_MAX) {
        refuse(r, s, 400, M_TOKEN, "hub.mode=subscribe and hub.challenge are wanted");
    } else if (!is_same(http_post_query(r, "hub.verify_token"), s->verify_token)) {
        refuse(r, s, 403, M_TOKEN, "hub.verify_token is not the section's");
    } else {
        struct buf text = {0};
        buf_adds(&text, challenge);
        log_info("receipts_handshake", "section", LOG_S(s->name));
        http_post_answer_text(r, 200, &text);
    }
}

/* --- bodies --------------------------------------------------------------------------- */

static const struct receipts_section *
section_of(const struct server *s, const struct http_post *r)
{
    const char *name = http_post_path(r) + strlen(RECEIPTS_PATH);
    for (size_t i = 0; i < s->conf.n; i++) {
        if (strcmp(s->conf.sections[i].name, name) == 0) {
            return &s->conf.sections[i];
        }
    }
    return NULL;
}

/* What can be answered at once is; the rest waits in s->bodies for the commit. */
static void
take(struct server *s, struct http_post *r)
{
    const struct receipts_section *section = section_of(s, r);
    struct body *b = &s->bodies[s->n];
    struct err e = {0};
    size_t len;
    const char *bytes = http_post_body(r, &len);
    if (!section) {
        refuse(r, NULL, 404, M_PATH, "no [receipts NAME] section has this path");
    } else if (http_post_is_get(r)) {
        shake_hands(r, section);
    } else if (!receipts_signed(&section->key, http_post_header(r, section->header_at), bytes,
                                len)) {
        refuse(r, section, 401, M_SIGNATURE, "the signature is not by a secret of the section");
    } else if (!s->well) {
        refuse(r, section, 503, M_MYSQL, "MySQL is away: nothing was written; post it again later");
    } else {
        *b = (struct body){.batch = {.section = section}, .r = r};
        if (receipts_plan(section->type, &section->shape, s->words, bytes, len, &b->batch.plan,
                          &e)) {
            s->n++;
            return;
        }
        receipts_plan_done(&b->batch.plan);
        refuse(r, section, 400, M_SHAPE, e.text);
    }
}

static void
answer_written(struct body *b, size_t n, uint64_t fresh)
{
    uint64_t events = 0;
    for (size_t i = 0; i < n; i++) {
        events += b[i].batch.plan.n;
        metric_add(&metrics[M_LEFT_OUT], (int64_t)b[i].batch.plan.left_out);
        answer(b[i].r, 200, "status", "taken");
    }
    metric_add(&metrics[M_NEW], (int64_t)fresh);
    metric_add(&metrics[M_REPEATED], (int64_t)(events - fresh));
    metric_add(&metrics[M_COMMITS], events > 0);
}

static bool
write_some(struct server *s, struct body *b, size_t n, struct err *e)
{
    struct receipts_batch *list[BODIES_MAX] = {0};
    uint64_t fresh;
    for (size_t i = 0; i < n; i++) {
        list[i] = &b[i].batch;
    }
    if (!receipts_write(s->c->store, list, n, &fresh, e)) {
        return false;
    }
    answer_written(b, n, fresh);
    return true;
}

/* A body to which the database objects holds up no other. */
static void
write_all(struct server *s)
{
    struct err e = {0};
    size_t done = write_some(s, s->bodies, s->n, &e) ? s->n : 0;
    for (; done < s->n; done++) {
        struct body *b = &s->bodies[done];
        if (e.kind != ERR_REFUSED) {
            break;
        }
        struct err one = {0};
        if (write_some(s, b, 1, &one)) {
            continue;
        }
        if (one.kind != ERR_REFUSED) {
            e = one;
            break;
        }
        log_error("receipts_write_refused", "section", LOG_S(b->batch.section->name), "why",
                  LOG_S(one.text));
        refuse(b->r, b->batch.section, 500, M_MYSQL,
               "the database refuses it; the server's log says why");
    }
    if (done < s->n) {
        note_mysql(s, false, &e);
    }
    for (; done < s->n; done++) {
        refuse(s->bodies[done].r, s->bodies[done].batch.section, 503, M_MYSQL,
               "MySQL is away: post it again later, nothing will be written twice");
    }
    for (size_t i = 0; i < s->n; i++) {
        receipts_plan_done(&s->bodies[i].batch.plan);
    }
    s->n = 0;
}

static void
step(struct server *s)
{
    health_tick();
    look_after_mysql(s);
    for (int wait = WAIT_MS; s->n < BODIES_MAX; wait = 0) {
        struct http_post *r = http_posts_next(s->posts, wait);
        if (!r) {
            break;
        }
        take(s, r);
    }
    if (s->n) {
        write_all(s);
    }
}

/* --- start and end -------------------------------------------------------------------- */

static bool
find_users(struct server *s, struct err *e)
{
    char *mine = s->c->user;
    bool ok = true;
    for (size_t i = 0; ok && i < s->conf.n; i++) {
        struct receipts_section *r = &s->conf.sections[i];
        s->c->user = r->user ? r->user : mine;
        ok = ctl_user(s->c, false, e) || err_wrap(e, "[receipts %s]", r->name);
        r->user_id = s->c->user_id;
        if (ok && !r->user_id) {
            ok = err_set(e, ERR_GONE,
                         "[receipts %s]: user '%.60s' has no device yet; see: paceline device add",
                         r->name, s->c->user);
        }
    }
    s->c->user = mine;
    return ok;
}

static bool
read_file(const char *path, struct buf *out, struct err *e)
{
    char block[4096];
    FILE *f = fopen(path, "r");
    if (!f) {
        return err_set(e, ERR_INPUT, "stop_words: %.200s: %s", path, strerror(errno));
    }
    for (size_t n;
         out->len <= STOP_WORDS_BYTES_MAX && (n = fread(block, 1, sizeof block, f)) > 0;) {
        buf_add(out, block, n);
    }
    bool ok = !ferror(f) || err_set(e, ERR_INPUT, "stop_words: %.200s: %s", path, strerror(errno));
    (void)fclose(f);
    return ok;
}

static bool
read_words(struct server *s, struct err *e)
{
    const char *path = s->c->stop_words;
    struct buf text = {0};
    bool ok = stop_words_read(&s->words, "deploy/stop_words.conf", stop_words_builtin,
                              strlen(stop_words_builtin), e);
    if (ok && path && *path) {
        ok = read_file(path, &text, e) &&
             stop_words_read(&s->words, path, text.data ? text.data : "", text.len, e);
    }
    buf_done(&text);
    return ok;
}

static bool
prepare(struct server *s, const struct receipts_flags *f, struct err *e)
{
    struct ctl *c = s->c;
    struct store_config config = {.url = c->mysql_url,
                                  .password = c->mysql_password,
                                  .connect_timeout_ms = CONNECT_MS,
                                  .query_timeout_ms = QUERY_MS};
    if (!*f->listen) {
        return err_set(e, ERR_INPUT, "--listen: write host:port or unix:/path");
    }
    if (!receipts_conf_read(c->conf, &s->conf, e)) {
        return false;
    }
    if (!s->conf.n) {
        return err_set(e, ERR_INPUT,
                       "there is no [receipts NAME] section in the configuration file: it says "
                       "which provider posts, and what it signs with; see docs/receipts.md");
    }
    return read_words(s, e) && store_open(&config, &c->store, e) && ctl_connect(c, e) &&
           migrate_check(c->store, e) && find_users(s, e);
}

/* Until SIGTERM; then nobody new is let in, and whoever is in gets an answer. */
static void
turn(struct server *s, struct http_server *server)
{
    while (!program_stopping) {
        step(s);
    }
    health_notify_stopping();
    http_server_refuse(server);
    int64_t end = clock_mono_ms() + DRAIN_MS;
    while (http_posts_active(s->posts) && clock_mono_ms() < end) {
        step(s);
    }
    for (struct http_post *r; (r = http_posts_next(s->posts, 0));) {
        refuse(r, NULL, 503, M_MYSQL, "the server is being stopped: post it again");
    }
}

static void
announce(struct server *s, const struct http_server *server)
{
    char address[300];
    struct doc *d = doc_object();
    http_server_name(server, address, sizeof address);
    doc_put_str(d, "listen", address);
    struct doc *list = doc_put_list(d, "paths");
    struct buf paths = {0};
    for (size_t i = 0; i < s->conf.n; i++) {
        buf_addf(&paths, "%s" RECEIPTS_PATH "%s", i ? ", " : "", s->conf.sections[i].name);
        char path[sizeof RECEIPTS_PATH + 64];
        (void)snprintf(path, sizeof path, RECEIPTS_PATH "%s", s->conf.sections[i].name);
        doc_put_str(doc_append(list), "path", path);
    }
    output_said(&s->c->out, d, "listening on %s, paths %s", address, paths.data);
    buf_done(&paths);
    (void)fflush(stdout);
    health_notify_started();
}

static int
run(struct ctl *c, const struct args *a)
{
    const struct receipts_flags *f = a->flags;
    struct server *s = xcalloc(1, sizeof *s);
    struct err e = {0};
    struct http_server *server = NULL;
    int code = CTL_OK;
    s->c = c;
    s->well = true;
    (void)signal(SIGPIPE, SIG_IGN);
    program_catch_signals();
    if (prepare(s, f, &e)) {
        struct http_posts_config config = {.path = RECEIPTS_PATH,
                                           .body_max = RECEIPTS_BODY_MAX,
                                           .body_ms = BODY_MS,
                                           .all_max = ALL_MAX,
                                           .webhook = true,
                                           .headers = s->conf.headers};
        s->posts = http_posts_open(&config);
        for (size_t i = 0; i < sizeof metrics / sizeof *metrics; i++) {
            metric_register(&metrics[i]);
        }
        note_mysql(s, true, &e);
        health_tick();
        if (!http_server_start_posts(f->listen, s->posts, &server, &e)) {
            (void)err_wrap(&e, "--listen");
        }
    }
    if (server) {
        announce(s, server);
        turn(s, server);
        http_server_stop(server);
    } else {
        code = ctl_fail(&e);
    }
    http_posts_close(s->posts);
    receipts_conf_done(&s->conf);
    stop_words_free(s->words);
    free(s);
    return code;
}

const struct command receipts_commands[] = {
    {"receipts", NULL, "", 0, 0, receipts_flags, sizeof(struct receipts_flags), run,
     "Serves providers' webhooks, by which they tell what came of messages."},
    {NULL, NULL, NULL, 0, 0, NULL, 0, NULL, NULL},
};
