/* SPDX-License-Identifier: Apache-2.0 */
/* fuzz_checkpoint.c - a file in the format FUZZ_FORMAT: opened, every byte of it looked at, closed. */
#include "fuzz.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size)
{
    const lks_checkpoint_limits_t limits = fuzz_limits();
    lks_checkpoint_t *checkpoint;
    lks_status_t status = lks_checkpoint_open_memory(data, size, "input", &limits, &checkpoint);
    if (status != LKS_OK) {
        fuzz_require_sentence(status);
        return 0;
    }
    if (strcmp(lks_checkpoint_format(checkpoint), FUZZ_FORMAT) == 0) {
        fuzz_look_at(checkpoint);
    }
    lks_checkpoint_close(checkpoint);
    return 0;
}
