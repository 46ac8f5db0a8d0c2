#include "shared/log.h"
#include "tests/stub/answer.h"
#include "tests/stub/server.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void
count_verdict(struct stats *stats, const char *verdict)
{
    size_t i = 0;
    while (i < stats->verdict_count && strcmp(stats->verdicts[i].verdict, verdict) != 0) {
        i++;
    }
    if (i == stats->verdict_count) {
        VEC_GROW(stats->verdicts, stats->verdict_count, stats->verdict_cap);
        struct verdict_count *v = &stats->verdicts[stats->verdict_count++];
        *v = (struct verdict_count){.count = 0};
        (void)snprintf(v->verdict, sizeof v->verdict, "%s", verdict);
    }
    stats->verdicts[i].count++;
}

static void
add_pending(struct conn *c, struct pending p)
{
    struct server *s = c->server;
    p.conn = c;
    c->pending++;
    VEC_GROW(s->pending, s->pending_count, s->pending_cap);
    s->pending[s->pending_count++] = p;
}

static bool
is_own_path(const struct conn *c)
{
    return strncmp(c->req.path, "/_", 2) == 0;
}

void
turn_head(struct conn *c)
{
    struct server *s = c->server;
    const struct http_req *r = &c->req;
    if (!is_own_path(c)) {
        struct facts facts = {r->job, r->attempt, r->device, r->recipient, c->requests > 0};
        const struct action *a = rules_choose(s->rules, &facts, &s->random);
        if (a->kind == ACTION_RESET_BEFORE) {
            s->stats.unread++;
            count_verdict(&s->stats, a->verdict);
            add_pending(c, (struct pending){.kind = PENDING_OWN, .action = action_copy(a)});
            conn_hold(c);
            return;
        }
        action_done(&c->action);
        c->action = action_copy(a);
    }
    if (r->expect_continue && !r->http_1_0 && (r->chunked || r->length)) {
        add_pending(c, (struct pending){.kind = PENDING_CONTINUE});
    }
}

/* POST replaces the rules, all or none; GET shows them. */
static struct action
control(struct server *s, const struct http_req *r)
{
    if (strcmp(r->method, "GET") == 0) {
        struct buf text = {0};
        for (size_t i = 0; i < rules_count(s->rules); i++) {
            uint64_t matched;
            buf_addf(&text, "%s\n", rules_text(s->rules, i, &matched));
        }
        return action_status(200, text.data ? text.data : xstrdup(""));
    }
    if (strcmp(r->method, "POST") != 0) {
        return action_status(405, NULL);
    }
    struct err e = {0};
    struct rules *rules = rules_new();
    struct buf text = {0};
    if (!rules_add_lines(rules, r->body, r->body_len, &e)) {
        rules_free(rules);
        buf_adds(&text, "{\"error\":");
        answer_json_string(&text, e.text);
        buf_adds(&text, "}");
        return action_status(400, text.data);
    }
    rules_free(s->rules);
    s->rules = rules;
    buf_addf(&text, "{\"rules\":%zu}", rules_count(rules));
    return action_status(200, text.data);
}

static void
own_request(struct conn *c)
{
    const struct http_req *r = &c->req;
    struct pending p = {.kind = PENDING_OWN, .keep = r->keep_alive};
    if (strcmp(r->path, "/_stats") == 0) {
        p.kind = PENDING_STATS;
        p.action = action_status(200, NULL);
    } else if (strcmp(r->path, "/_control") == 0) {
        p.action = control(c->server, r);
    } else {
        p.action = action_status(404, NULL);
    }
    add_pending(c, p);
}

static void
message(struct conn *c)
{
    struct server *s = c->server;
    const struct http_req *r = &c->req;
    struct ledger_line line = {.serial = ++s->serial,
                               .job = r->job,
                               .attempt = r->attempt,
                               .device = r->device,
                               .recipient = r->recipient,
                               .verdict = c->action.verdict};
    ledger_text(r->body, r->body_len, r->json, &line.text, &line.text_len);
    add_pending(c, (struct pending){.kind = PENDING_MESSAGE,
                                    .action = c->action,
                                    .serial = line.serial,
                                    .ledger_end = ledger_add(s->ledger, &line),
                                    .keep = r->keep_alive});
    if (action_holds(&c->action)) {
        conn_hold(c);
    }
    c->action = (struct action){.body = NULL};
}

void
turn_request(struct conn *c)
{
    if (is_own_path(c)) {
        own_request(c);
    } else {
        message(c);
    }
    c->requests++;
    if (!c->req.keep_alive && c->state == CONN_OPEN) {
        conn_hold(c);
    }
}

void
turn_bad(struct conn *c)
{
    struct buf text = {0};
    c->server->stats.bad++;
    buf_adds(&text, "{\"error\":");
    answer_json_string(&text, c->req.why);
    buf_adds(&text, "}");
    add_pending(c, (struct pending){.kind = PENDING_OWN,
                                    .action = action_status(c->req.status, text.data)});
    conn_hold(c);
}

/* The ledger has this message, or the provider does not have it either. */
static void
account(struct server *s, struct pending *p, size_t recorded)
{
    if (p->ledger_end <= recorded) {
        s->stats.received++;
        count_verdict(&s->stats, p->action.verdict);
        return;
    }
    s->stats.lost++;
    action_done(&p->action);
    p->action =
        action_status(503, xstrdup("{\"error\":{\"code\":503,\"message\":\"not recorded\"}}"));
    p->kind = PENDING_OWN;
}

static void
release(struct server *s, struct pending *p, size_t recorded)
{
    struct conn *c = p->conn;
    c->pending--;
    if (p->kind == PENDING_MESSAGE) {
        account(s, p, recorded);
    } else if (p->kind == PENDING_STATS) {
        struct buf text = {0};
        server_stats(s, &text);
        p->action.body = text.data;
    }
    if (c->state != CONN_CLOSED) {
        conn_answer(c, p);
        server_touch(s, c);
    }
    action_done(&p->action);
}

static void
flush(struct server *s)
{
    struct err e = {0};
    size_t recorded = 0;
    bool ok = ledger_flush(s->ledger, &recorded, &e);
    if (!ok && !s->ledger_failing) {
        log_error("ledger failed", "why", LOG_S(e.text));
    }
    s->ledger_failing = !ok;
    for (size_t i = 0; i < s->pending_count; i++) {
        release(s, &s->pending[i], recorded);
    }
    s->pending_count = 0;
}

void
turn_end(struct server *s)
{
    while (s->pending_count || s->todo) {
        if (s->pending_count) {
            flush(s);
        }
        struct conn *todo = s->todo;
        s->todo = NULL;
        while (todo) {
            struct conn *c = todo;
            todo = c->todo_next;
            c->in_todo = false;
            conn_step(c);
        }
    }
    while (s->dead) {
        struct conn *c = s->dead;
        s->dead = c->next;
        conn_free(c);
    }
}
