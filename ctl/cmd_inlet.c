/* cmd_inlet.c -- `paceline inlet`: a server to which listmonk posts messages as to any messenger.
 *
 * Two threads: the HTTP server's reads requests and serves the health pages; this one owns the
 * connection to MySQL and answers one request after another, 200 only behind the commit.  While
 * MySQL is away it answers 503 at once; what was asked for may be asked again without harm. */
#include "ctl/command.h"
#include "ctl/ctl.h"
#include "ctl/inlet_plan.h"
#include "ctl/inlet_write.h"
#include "shared/clock.h"
#include "shared/http_post.h"
#include "shared/http_server.h"
#include "shared/log.h"
#include "shared/metrics.h"
#include "shared/program.h"

#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#define INLET_PATH "/listmonk"

enum {
    WAIT_MS = 100,
    BODY_MS = 5000,
    DRAIN_MS = 15000,
    AWAY_MS = 500, /* after trouble, MySQL is asked no more often */
    RETRY_AFTER_S = 5,
    CONNECT_MS = 2000,
    QUERY_MS = 3000, /* with the second try, less than what makes healthz give up */
};

struct inlet_flags {
    const char *listen, *phone_attribute, *country, *devices;
};

static const struct flag inlet_flags[] = {
    {"listen", FLAG_TEXT, offsetof(struct inlet_flags, listen), "ADDRESS", "127.0.0.1:8470",
     "Where to listen: host:port or unix:/path; port 0 chooses one.", false},
    {"phone-attribute", FLAG_TEXT, offsetof(struct inlet_flags, phone_attribute), "NAME", "phone",
     "The subscriber's attribute that holds the phone.", false},
    {"country", FLAG_TEXT, offsetof(struct inlet_flags, country), "60", NULL,
     "Calling code for phones that begin with 0.", false},
    {"devices", FLAG_TEXT, offsetof(struct inlet_flags, devices), "A,B,C|all", NULL,
     "For recipients who are no device's lead and name none in attribs.device: names or ids, or "
     "all "
     "of the user's; each phone keeps its device.",
     false},
    {NULL, FLAG_BOOL, 0, NULL, NULL, NULL, false},
};

static struct metric metrics[] = {
    {.name = "paceline_inlet_messages_total",
     .help = "Recipients of posted messages, by what became of them.",
     .labels = "outcome=\"accepted\"",
     .type = METRIC_COUNTER},
    {.name = "paceline_inlet_messages_total",
     .labels = "outcome=\"duplicate\"",
     .help = "Recipients of posted messages, by what became of them.",
     .type = METRIC_COUNTER},
    {.name = "paceline_inlet_messages_total",
     .labels = "outcome=\"skipped\"",
     .help = "Recipients of posted messages, by what became of them.",
     .type = METRIC_COUNTER},
    {.name = "paceline_inlet_refused_total",
     .help = "Requests that were not answered with 200.",
     .type = METRIC_COUNTER},
    {.name = "paceline_mysql_up", .help = "1 while MySQL answers.", .type = METRIC_GAUGE},
};
enum { M_ACCEPTED, M_DUPLICATE, M_SKIPPED, M_REFUSED, M_MYSQL_UP };

struct inlet {
    struct ctl *c;
    struct inlet_settings settings;
    uint64_t *devices;
    size_t n_devices;
    bool all_devices;
    struct http_posts *posts;
    bool well;         /* MySQL answered last time */
    int64_t ask_again; /* when it did not: not before */
};

/* --- answers -------------------------------------------------------------------------- */

static void
answer(struct http_post *r, unsigned status, struct doc *d, int retry_after_s)
{
    struct buf json = {0};
    doc_write(d, &json);
    buf_adds(&json, "\n");
    doc_free(d);
    if (status != 200) {
        metric_add(&metrics[M_REFUSED], 1);
    }
    http_post_answer(r, status, &json, retry_after_s);
}

static void
answer_error(struct http_post *r, unsigned status, const char *why)
{
    struct doc *d = doc_object();
    doc_put_str(d, "error", why);
    log_info("inlet_refused", "status", LOG_I(status), "why", LOG_S(why));
    answer(r, status, d, status == 503 ? RETRY_AFTER_S : 0);
}

static unsigned
status_of(enum err_kind kind)
{
    return kind == ERR_INPUT ? 400 : kind == ERR_FULL ? 413 : kind == ERR_REFUSED ? 422 : 500;
}

/* 422 when nobody could be served and somebody for a reason that has to be mended. */
static void
answer_written(struct http_post *r, const struct inlet_write *w)
{
    struct doc *d = doc_object();
    size_t skipped = 0, bad = 0;
    doc_put_int(d, "accepted", (int64_t)w->accepted);
    doc_put_int(d, "duplicates", (int64_t)w->duplicates);
    struct doc *list = doc_put_list(d, "skipped");
    for (size_t i = 0; i < w->plan->n; i++) {
        const struct inlet_row *row = &w->plan->rows[i];
        if (row->fate != INLET_WRITE) {
            struct doc *one = doc_append(list);
            doc_put_str(one, "recipient", row->label);
            doc_put_str(one, "why", row->why);
            skipped++;
            bad += row->fate == INLET_BAD;
        }
    }
    metric_add(&metrics[M_ACCEPTED], (int64_t)w->accepted);
    metric_add(&metrics[M_DUPLICATE], (int64_t)w->duplicates);
    metric_add(&metrics[M_SKIPPED], (int64_t)skipped);
    bool none = bad && !w->accepted && !w->duplicates;
    if (none) {
        doc_put_str(d, "error", "no recipient can be sent to; see skipped");
    }
    log_info("inlet_wrote", "accepted", LOG_I(w->accepted), "duplicates", LOG_I(w->duplicates),
             "skipped", LOG_I(skipped), "bad", LOG_I(bad));
    answer(r, none ? 422 : 200, d, 0);
}

/* --- MySQL ---------------------------------------------------------------------------- */

static void
note_mysql(struct inlet *in, bool well, const struct err *e)
{
    if (well && !in->well) {
        log_info("mysql_well");
    } else if (!well && in->well) {
        log_warn("mysql_trouble", "why", LOG_S(e->text));
    }
    in->well = well;
    in->ask_again = clock_mono_ms() + AWAY_MS;
    health_ready(well, "MySQL does not answer");
    metric_set(&metrics[M_MYSQL_UP], well);
}

static void
look_after_mysql(struct inlet *in)
{
    struct err e = {0};
    if (!in->well && clock_mono_ms() >= in->ask_again) {
        bool well = store_ping(in->c->store, &e);
        note_mysql(in, well, &e);
    }
}

static void
serve(struct inlet *in, struct http_post *r)
{
    struct err e = {0};
    struct inlet_plan plan;
    size_t len;
    const char *body = http_post_body(r, &len);
    if (!inlet_plan(&in->settings, body, len, &plan, &e)) {
        answer_error(r, status_of(e.kind), e.text);
        inlet_plan_done(&plan);
        return;
    }
    struct inlet_write w = {.user = in->settings.user,
                            .devices = in->devices,
                            .n_devices = in->n_devices,
                            .all_devices = in->all_devices,
                            .plan = &plan};
    if (!in->well) {
        answer_error(r, 503, "MySQL is away: nothing was written; post it again later");
    } else if (inlet_write(in->c->store, &w, &e)) {
        answer_written(r, &w);
    } else if (e.kind == ERR_RETRY) {
        note_mysql(in, false, &e);
        answer_error(r, 503, "MySQL is away: post it again later, nothing will be written twice");
    } else {
        log_error("inlet_write_refused", "why", LOG_S(e.text));
        answer_error(r, 500, "the database refuses it; the inlet's log says why");
    }
    inlet_plan_done(&plan);
}

/* --- start and end -------------------------------------------------------------------- */

static bool
take_devices(struct inlet *in, const char *names, struct err *e)
{
    char *copy = xstrdup(names), *rest = NULL;
    bool ok = true;
    in->all_devices = strcmp(names, "all") == 0;
    in->devices = xcalloc(strlen(names) + 1, sizeof *in->devices);
    for (char *name = strtok_r(copy, ",", &rest); ok && !in->all_devices && name;
         name = strtok_r(NULL, ",", &rest)) {
        struct found one;
        name += strspn(name, " ");
        ok = ctl_find_device(in->c, name, &one, e) || err_wrap(e, "--devices");
        in->devices[in->n_devices++] = one.id;
    }
    free(copy);
    return ok && (in->n_devices || in->all_devices ||
                  err_set(e, ERR_INPUT, "--devices: it names no device"));
}

static bool
check_credentials(const struct ctl *c, struct err *e)
{
    if (!c->inlet_user || !*c->inlet_user || strchr(c->inlet_user, ':')) {
        return err_set(e, ERR_INPUT,
                       "inlet_user: set the user name that listmonk gives, without a colon, in the "
                       "configuration file or PACELINE_INLET_USER");
    }
    if (!c->inlet_password || !*c->inlet_password) {
        return err_set(e, ERR_INPUT,
                       "inlet_password: there is none; set it in the configuration file, "
                       "PACELINE_INLET_PASSWORD or PACELINE_INLET_PASSWORD_FILE");
    }
    return true;
}

static bool
prepare(struct inlet *in, const struct inlet_flags *f, struct err *e)
{
    struct ctl *c = in->c;
    struct store_config config = {.url = c->mysql_url,
                                  .password = c->mysql_password,
                                  .connect_timeout_ms = CONNECT_MS,
                                  .query_timeout_ms = QUERY_MS};
    char phone[PHONE_SIZE];
    if (f->country && !phone_normalise("0123456789", 10, f->country, phone, e)) {
        return err_wrap(e, "--country");
    }
    if (!*f->listen) {
        return err_set(e, ERR_INPUT, "--listen: write host:port or unix:/path");
    }
    if (!check_credentials(c, e) || !store_open(&config, &c->store, e) || !ctl_user(c, false, e)) {
        return false;
    }
    in->settings = (struct inlet_settings){c->user_id, f->country, f->phone_attribute};
    if (!c->user_id) {
        return err_set(e, ERR_GONE, "user '%.60s' has no device yet; see: paceline device add",
                       c->user);
    }
    return !f->devices || take_devices(in, f->devices, e);
}

static void
step(struct inlet *in)
{
    health_tick();
    look_after_mysql(in);
    struct http_post *r = http_posts_next(in->posts, WAIT_MS);
    if (r) {
        serve(in, r);
    }
}

/* Until SIGTERM; then nobody new is let in, and whoever is in gets an answer. */
static void
turn(struct inlet *in, struct http_server *server)
{
    while (!program_stopping) {
        step(in);
    }
    health_notify_stopping();
    http_server_refuse(server);
    int64_t end = clock_mono_ms() + DRAIN_MS;
    while (http_posts_active(in->posts) && clock_mono_ms() < end) {
        step(in);
    }
    for (struct http_post *r; (r = http_posts_next(in->posts, 0));) {
        answer_error(r, 503, "the inlet is being stopped: nothing was written; post it again");
    }
}

static int
run(struct ctl *c, const struct args *a)
{
    const struct inlet_flags *f = a->flags;
    struct inlet in = {.c = c, .well = true};
    struct err e = {0};
    struct http_server *server = NULL;
    char address[300];
    int code = CTL_OK;
    (void)signal(SIGPIPE, SIG_IGN);
    program_catch_signals();
    if (prepare(&in, f, &e)) {
        struct http_posts_config config = {.path = INLET_PATH,
                                           .user = c->inlet_user,
                                           .password = c->inlet_password,
                                           .body_max = INLET_BODY_MAX,
                                           .body_ms = BODY_MS};
        in.posts = http_posts_open(&config);
        for (size_t i = 0; i < sizeof metrics / sizeof *metrics; i++) {
            metric_register(&metrics[i]);
        }
        note_mysql(&in, true, &e);
        health_tick();
        if (!http_server_start_posts(f->listen, in.posts, &server, &e)) {
            (void)err_wrap(&e, "--listen");
        }
    }
    if (server) {
        struct doc *d = doc_object();
        http_server_name(server, address, sizeof address);
        doc_put_str(d, "listen", address);
        doc_put_str(d, "path", INLET_PATH);
        output_said(&c->out, d, "listening on %s, path " INLET_PATH, address);
        (void)fflush(stdout);
        health_notify_started();
        turn(&in, server);
        http_server_stop(server);
    } else {
        code = ctl_fail(&e);
    }
    http_posts_close(in.posts);
    free(in.devices);
    return code;
}

const struct command inlet_commands[] = {
    {"inlet", NULL, "", 0, 0, inlet_flags, sizeof(struct inlet_flags), run,
     "Serves listmonk as a messenger: what it posts becomes messages."},
    {NULL, NULL, NULL, 0, 0, NULL, 0, NULL, NULL},
};
