#include "reaper/recovery_plan.h"

#include <stdbool.h>
#include <string.h>

static bool
has(const char (*list)[QUEUE_NAME_SIZE], size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++) {
        if (strcmp(list[i], name) == 0) {
            return true;
        }
    }
    return false;
}

enum recovery
recovery_plan(const char (*expected)[QUEUE_NAME_SIZE], size_t n_expected,
              const char (*told)[QUEUE_NAME_SIZE], size_t n_told, int64_t waited_ms,
              int64_t grace_ms)
{
    for (size_t i = 0; i < n_expected; i++) {
        if (!has(told, n_told, expected[i])) {
            return waited_ms >= grace_ms ? RECOVERY_OPEN_IN_DOUBT : RECOVERY_WAIT;
        }
    }
    return RECOVERY_OPEN;
}
