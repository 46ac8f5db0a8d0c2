#include "shared/fault.h"

#ifdef PACELINE_FAULTS

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { FAULTS_MAX = 16 };

static struct fault {
    char point[48];
    char action[16];
    long nth, arg, seen;
    bool repeat;
} faults[FAULTS_MAX];
static int n_faults = -1;

static void
load(void)
{
    n_faults = 0;
    const char *env = getenv("PACELINE_FAULT");
    while (env && *env && n_faults < FAULTS_MAX) {
        struct fault *f = &faults[n_faults];
        char nth[24] = "";
        f->arg = 1000;
        if (sscanf(env, "%47[^:]:%23[^:]:%15[^=,]=%ld", f->point, nth, f->action, &f->arg) < 3) {
            (void)fprintf(stderr, "PACELINE_FAULT: cannot read \"%s\"\n", env);
            exit(2);
        }
        char *end;
        f->nth = strtol(nth, &end, 10);
        f->repeat = *end == '+';
        n_faults++;
        env = strchr(env, ',');
        env = env ? env + 1 : NULL;
    }
}

enum fault_action
fault_hit(const char *point)
{
    if (n_faults < 0) {
        load();
    }
    for (int i = 0; i < n_faults; i++) {
        struct fault *f = &faults[i];
        if (strcmp(f->point, point) != 0) {
            continue;
        }
        f->seen++;
        if (f->seen != f->nth && !(f->repeat && f->seen > f->nth)) {
            continue;
        }
        if (strcmp(f->action, "kill") == 0) {
            (void)raise(SIGKILL);
        } else if (strcmp(f->action, "stop") == 0) {
            (void)raise(SIGSTOP);
        } else if (strcmp(f->action, "delay") == 0) {
            struct timespec ts = {f->arg / 1000, f->arg % 1000 * 1000000};
            (void)nanosleep(&ts, NULL);
        } else if (strcmp(f->action, "error") == 0) {
            return FAULT_DO_ERROR;
        } else if (strcmp(f->action, "lost-reply") == 0) {
            return FAULT_DO_LOST;
        }
    }
    return FAULT_NOTHING;
}

#else
typedef int fault_nothing_to_compile;
#endif
