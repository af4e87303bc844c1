/* SPDX-License-Identifier: Apache-2.0 */
/* number.h - numbers as text, with a point in every locale. */
#ifndef LOCKSTEP_CORE_NUMBER_H
#define LOCKSTEP_CORE_NUMBER_H

/** strtod of the C locale, whatever setlocale was told. */
double lks_strtod(const char *text, char **end);

/** strtof likewise: rounded to float32 once. */
float lks_strtof(const char *text, char **end);

#endif
