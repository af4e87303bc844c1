/* SPDX-License-Identifier: Apache-2.0 */
/* A stranger's C program: the same through pkg-config, with an error on the way. */
#include <lockstep/tensor.h>
#include <lockstep/version.h>
#include <stdio.h>

int main(void)
{
    const int64_t shape[] = {2, -3};
    lks_tensor_t tensor;
    lks_status_t status = lks_tensor_create(lks_device_host(), LKS_DTYPE_F32, 2, shape, &tensor);
    printf("lockstep %s, %s\n", lks_version(), lks_status_name(status));
    return status == LKS_ERR_INVALID_ARG ? 0 : 1;
}
