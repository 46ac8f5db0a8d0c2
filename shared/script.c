#include "shared/script.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int
script_count(void)
{
    int n = 0;
    while (script_sources[n].name) {
        n++;
    }
    assert(n <= SCRIPTS_MAX);
    return n;
}

int
script_index(const char *name)
{
    for (int i = 0; script_sources[i].name; i++) {
        if (strcmp(script_sources[i].name, name) == 0) {
            return i;
        }
    }
    (void)fprintf(stderr, "no verb named %s\n", name);
    abort();
}
