/* phone.h -- phone numbers as people and spreadsheets write them -> the digits a provider takes.
 *
 * Pure.  Error texts say what is wrong and what to do, and never repeat the number: they may reach
 * a log. */
#ifndef SHARED_PHONE_H
#define SHARED_PHONE_H

#include "shared/err.h"

#include <stddef.h>

/* E.164: 15 digits at most; 7 is the shortest in use.  A group's id may have 31 characters. */
enum { PHONE_SIZE = 32, PHONE_DIGITS_MIN = 7, PHONE_DIGITS_MAX = 15 };

/* Writes the number in international form, digits only, without "+", NUL-terminated.
 *
 *   +60 12-345 6789, 0060 12.345.6789, +60 (0)12/3456789      60123456789
 *   012-345 6789 with default_country "60"                     60123456789
 *   60123456789                                                60123456789 (taken as international)
 *   120363041234567890@g.us                                    the same: a group chat's id
 *
 * Digits may be full-width, Arabic-Indic or Persian; spaces of any kind, - . ( ) / and invisible
 * direction marks are dropped.  default_country is a calling code such as "60" or "+60"; NULL or ""
 * is none, and a number with a leading 0 is then refused.  Refused as well: letters, a "+" inside,
 * fewer or more digits than E.164 allows, and what a spreadsheet damaged (6.01E+10, 60123456789.0).
 * ERR_INPUT; out is then "". */
MUST_USE bool phone_normalise(const char *text, size_t len, const char *default_country,
                              char out[PHONE_SIZE], struct err *e);

/* What the character at s means in a phone number: '0' to '9', '+', ' ' for anything that is
 * dropped, 0 for anything else.  *ret_bytes is its length, 0 when len is 0. */
char phone_char(const char *s, size_t len, size_t *ret_bytes);

#endif
