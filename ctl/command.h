/* command.h -- `paceline GROUP VERB [ARGUMENT ...] [--FLAG ...]`: finding the command, its flags,
 * its help. */
#ifndef CTL_COMMAND_H
#define CTL_COMMAND_H

#include "ctl/flag.h"
#include "shared/mem.h"

struct ctl;

/* What stood behind the command's name: operands and the values of its flags, both borrowed. */
struct args {
    void *flags;
    char **operands;
    int n;
};

/* Each group's file has one list; it ends with a NULL group.  verb NULL: the group is the command.
 */
struct command {
    const char *group, *verb;
    const char *operands; /* as shown in help: "NAME", "ID ..." */
    int min, max;         /* how many; max -1: any number */
    const struct flag *flags;
    size_t flags_size; /* of the struct that they fill */
    int (*run)(struct ctl *c, const struct args *a);
    const char *help; /* one sentence */
};

extern const struct command migrate_commands[], device_commands[], leads_commands[],
    campaign_commands[], status_commands[], message_commands[], unknown_commands[],
    audit_commands[], sequence_commands[], recurring_commands[], archive_commands[],
    adopt_commands[], inlet_commands[], holds_commands[], template_commands[], receipts_commands[],
    optout_commands[], account_commands[], user_commands[], media_commands[];

/* The overview of all commands, one line a group. */
void command_about(const struct command *const *groups, struct buf *out);

/* Runs what argv[0..n) says; returns the exit code. */
int command_run(const struct command *const *groups, struct ctl *c, int n, char **argv);

#endif
