/* SPDX-License-Identifier: Apache-2.0 */
/* rewrite FORMAT IN OUT - reads a checkpoint and writes its tree in that format. */
#include <lockstep/checkpoint.h>

#include <stdio.h>

static lks_status_t rewrite(const char *format, const char *in, const char *out)
{
    lks_save_options_t options = lks_save_options_default();
    lks_checkpoint_t *checkpoint;
    options.format = format;
    LKS_TRY(lks_checkpoint_open(in, NULL, &checkpoint));
    lks_status_t status = lks_checkpoint_save(out, lks_checkpoint_tree(checkpoint), &options);
    lks_checkpoint_close(checkpoint);
    return status;
}

int main(int argc, char **argv)
{
    if (argc != 4 || rewrite(argv[1], argv[2], argv[3]) != LKS_OK) {
        (void)fprintf(stderr, "rewrite: %s\n",
                      argc == 4 ? lks_last_error()->message : "FORMAT IN OUT");
        return 1;
    }
    return 0;
}
