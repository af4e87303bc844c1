// SPDX-License-Identifier: Apache-2.0
// A stranger's C++ program: makes a tensor through the installed library.
#include <cstdint>
#include <cstdio>
#include <lockstep/tensor.h>
#include <lockstep/version.h>

int main()
{
    const std::int64_t shape[] = {2, 3};
    lks_tensor_t tensor;
    if (lks_tensor_create(lks_device_host(), LKS_DTYPE_F32, 2, shape, &tensor) != LKS_OK) {
        std::fprintf(stderr, "%s\n", lks_last_error()->message);
        return 1;
    }
    std::printf("lockstep %s, %zu bytes\n", lks_version(), lks_tensor_nbytes(&tensor));
    lks_tensor_release(&tensor);
    return 0;
}
