/* form_profile.h -- what the form sender needs to know of one provider: names, and a table. */
#ifndef WORKER_FORM_PROFILE_H
#define WORKER_FORM_PROFILE_H

#include "worker/provider.h"

/* Names of fields; NULL = the provider has none such. */
struct form_profile {
    const char *name;
    const char *url;            /* NULL = each account has a server of its own */
    const char *text_path;      /* of a text */
    const char *media_paths[4]; /* by enum media_kind */
    /* The device's credential: a field of the request, or a header. */
    const char *secret_field, *secret_header;
    const char *number, *message;
    const char *caption; /* of a text beside a medium */
    const char *media[4];
    const char *filename;
    const char *fixed[3][2]; /* further fields, name and value */
    const char *check_method, *check_path;
    const char *check_field; /* with the credential, in the query; NULL = in the header */
    const struct provider_table *table;
};

/* The profiles' names, in order; the value of a CONF_WORD setting is the place of one. */
#define FORM_PROFILES "whacenter|fonnte|wablas"

/* NULL behind the last one. */
const struct form_profile *form_profile_at(size_t i);

#endif
