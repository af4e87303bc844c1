/* SPDX-License-Identifier: Apache-2.0 */
/* checkpoint_floor.h - what the system takes for the bytes of a checkpoint alone: no archive, no names, no
 * checks that are not the row's own. Blocks of 8 MiB, shared out to plain threads. Each returns seconds, files
 * closed and memory given back outside of them. */
#ifndef LOCKSTEP_BENCHES_CHECKPOINT_FLOOR_H
#define LOCKSTEP_BENCHES_CHECKPOINT_FLOOR_H

#include <stdbool.h>
#include <stddef.h>

/** fallocate, then pwrite; with `sync`, fsync. The file must not exist. */
double floor_write(const char *path, const void *data, size_t nbytes, int threads, bool sync);

/** read() of the whole file into fresh huge pages. */
double floor_read(const char *path, int threads);

/** CRC-32 of the whole file through a fresh map. */
double floor_map_crc(const char *path, int threads);

/** CRC-32 of memory. */
double floor_crc(const void *data, size_t nbytes, int threads);

#endif
