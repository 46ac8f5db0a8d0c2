#include "shared/program.h"

#include "shared/backoff.h"
#include "shared/http_server.h"
#include "shared/log.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

bool
program_name(const char *role, const char *name, char out[QUEUE_NAME_SIZE], struct err *e)
{
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    char made[96] = "host";
    if (!name || !*name) {
        (void)gethostname(made, 40);
        made[40] = '\0';
        for (char *p = made; *p; p++) {
            *p = strchr(allowed, *p) ? *p : '-';
        }
        size_t n = strlen(made);
        (void)snprintf(made + n, sizeof made - n, ".%ld", (long)getpid());
        name = made;
    } else if (strlen(name) > 40 || strspn(name, allowed) != strlen(name)) {
        return err_set(e, ERR_INPUT,
                       "name: \"%.60s\": use at most 40 letters, digits, '.', '_' or '-'", name);
    }
    (void)snprintf(out, QUEUE_NAME_SIZE, "%s/%s.%04x/%s", role, name,
                   (unsigned)(random_u64() & 0xffff), PACELINE_VERSION);
    return true;
}

bool
program_start(const char *program, const struct program_settings *s, struct http_server **ret,
              struct err *e)
{
    log_init(program, (enum log_level)s->log_level, s->log_format == 1);
    (void)signal(SIGPIPE, SIG_IGN);
    return http_server_start(s->listen, ret, e);
}

struct queue_config
program_queue(const struct program_settings *s, const char *name)
{
    return (struct queue_config){
        .redis = {.url = s->redis_url,
                  .password = s->redis_password,
                  .name = name,
                  .deadline_ms = s->redis_deadline,
                  .window = 20000},
        .prefix = s->prefix,
        .partitions = s->partitions,
    };
}

void
program_on_trouble(void *arg, const char *why)
{
    (void)arg;
    log_warn("redis_refuses", "why", LOG_S(why), "means",
             LOG_S("what is in hand waits; it goes on by itself"));
}
