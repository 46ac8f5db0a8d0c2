#include "worker/provider.h"

const struct provider_table *const provider_tables[] = {
    &cloudapi_table,  &gowa_table,   &waha_table,   &evolution_table,
    &whacenter_table, &fonnte_table, &wablas_table, NULL};
