/* main.c -- the `paceline` command: settings, the list of command groups, and the exit code. */
#include "ctl/command.h"
#include "ctl/ctl.h"
#include "ctl/receipts_conf.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static const struct command *const groups[] = {
    migrate_commands,   user_commands,     account_commands,
    device_commands,    leads_commands,    optout_commands,
    template_commands,  campaign_commands, sequence_commands,
    recurring_commands, status_commands,   holds_commands,
    message_commands,   unknown_commands,  audit_commands,
    archive_commands,   adopt_commands,    inlet_commands,
    receipts_commands,  media_commands,    NULL,
};

static int
run(struct ctl *c, const struct conf *conf)
{
    c->conf = conf;
    ctl_start(c);
    int code = command_run(groups, c, conf->n_rest, conf->rest);
    ctl_stop(c);
    /* What nobody could read was not done; who ends a pipe like `| head` knows. */
    if (fflush(stdout) != 0 || ferror(stdout)) {
        if (errno != EPIPE) {
            ctl_note("standard output cannot be written: %s", strerror(errno));
        }
        code = CTL_COULD_NOT;
    }
    return code;
}

/* Their secrets are there for the server alone: other commands do not look at the sections. */
static bool
is_check(int argc, char **argv)
{
    bool found = false;
    for (int i = 1; i < argc; i++) {
        found = found || strcmp(argv[i], "--check-config") == 0;
    }
    return found;
}

int
main(int argc, char **argv)
{
    static const char *const kinds[] = {"receipts", NULL};
    struct ctl c = {0};
    struct conf conf;
    struct buf about = {0};
    int code = CTL_OK;
    command_about(groups, &about);
    switch (conf_load(&conf, ctl_keys, &c, "paceline", about.data, kinds,
                      is_check(argc, argv) ? receipts_conf_check : NULL, argc, argv)) {
    case CONF_RUN:
        code = run(&c, &conf);
        conf_done(&conf);
        break;
    case CONF_EXIT_OK:
        break;
    case CONF_EXIT_USAGE:
        code = CTL_COULD_NOT;
        break;
    }
    buf_done(&about);
    return code;
}
