/* SPDX-License-Identifier: Apache-2.0 */
/* number.c - the C locale is made once; without memory for it the program's own locale has to do. */
#include "core/number.h"

#include <locale.h>
#include <pthread.h>
#include <stdlib.h>

static locale_t c_locale;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void make_locale(void)
{
    c_locale = newlocale(LC_ALL_MASK, "C", (locale_t)0);
}

double lks_strtod(const char *text, char **end)
{
    (void)pthread_once(&once, make_locale);
    return c_locale ? strtod_l(text, end, c_locale) : strtod(text, end);
}

float lks_strtof(const char *text, char **end)
{
    (void)pthread_once(&once, make_locale);
    return c_locale ? strtof_l(text, end, c_locale) : strtof(text, end);
}
