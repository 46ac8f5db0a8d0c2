/* main.c -- the `paceline` command: settings, the list of command groups, and the exit code. */
#include "ctl/command.h"
#include "ctl/ctl.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static const struct command *const groups[] = {
    migrate_commands,  device_commands,   leads_commands,     template_commands,
    campaign_commands, sequence_commands, recurring_commands, status_commands,
    message_commands,  unknown_commands,  audit_commands,     archive_commands,
    adopt_commands,    inlet_commands,    media_commands,     NULL,
};

static int
run(struct ctl *c, const struct conf *conf)
{
    ctl_start(c);
    int code = command_run(groups, c, conf->n_rest, conf->rest);
    ctl_stop(c);
    /* What nobody could read was not done. */
    if (fflush(stdout) != 0 || ferror(stdout)) {
        ctl_note("standard output cannot be written: %s", strerror(errno));
        code = CTL_COULD_NOT;
    }
    return code;
}

int
main(int argc, char **argv)
{
    struct ctl c = {0};
    struct conf conf;
    struct buf about = {0};
    int code = CTL_OK;
    command_about(groups, &about);
    switch (conf_load(&conf, ctl_keys, &c, "paceline", about.data, NULL, NULL, argc, argv)) {
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
