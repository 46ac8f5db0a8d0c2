/* receipts_value.h -- what stands in webhooks, as the inbox takes it.  Pure. */
#ifndef CTL_RECEIPTS_VALUE_H
#define CTL_RECEIPTS_VALUE_H

#include "ctl/receipts_plan.h"

/* The first characters that fit, of a valid UTF-8 text. */
void receipt_copy(char *out, size_t size, const char *text);

/* Seconds or milliseconds since 1970, or a date of RFC 3339; 0 when it is no time between 2001 and
 * 2100, which no event has. */
int64_t receipt_time_ms(const char *text);

/* "60123@s.whatsapp.net", "60123:7@s.whatsapp.net", "+60123" -> digits; a group's id as it is.  A
 * name that stands for no phone ("1234@lid") gives "". */
void receipt_phone(const char *text, char out[PHONE_SIZE]);

/* "JOB:ATTEMPT", as the sender wrote it; anything else leaves the event without. */
void receipt_callback(const char *text, struct receipt_event *ev);

#endif
