/* SPDX-License-Identifier: Apache-2.0 */
/* race.c - two threads count in one variable without a lock: ThreadSanitizer must turn this test red. */
#include <criterion/criterion.h>
#include <pthread.h>

static int counter;

static void *count(void *arg)
{
    (void)arg;
    for (int i = 0; i < 1000; i++) {
        counter++;
    }
    return NULL;
}

Test(planted, race)
{
    pthread_t thread;
    cr_assert(pthread_create(&thread, NULL, count, NULL) == 0);
    (void)count(NULL);
    cr_assert(pthread_join(thread, NULL) == 0);
    cr_assert(counter > 0);
}
