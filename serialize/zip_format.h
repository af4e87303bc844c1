/* SPDX-License-Identifier: Apache-2.0 */
/* zip_format.h - the numbers of the zip format that its reader and its writer share. */
#ifndef LOCKSTEP_SERIALIZE_ZIP_FORMAT_H
#define LOCKSTEP_SERIALIZE_ZIP_FORMAT_H

#define ZIP_LOCAL_SIGNATURE 0x04034b50u
#define ZIP_CENTRAL_SIGNATURE 0x02014b50u
#define ZIP_END_SIGNATURE 0x06054b50u
#define ZIP64_END_SIGNATURE 0x06064b50u
#define ZIP64_LOCATOR_SIGNATURE 0x07064b50u

#define ZIP_LOCAL_SIZE 30 /* without name and extra fields */
#define ZIP_CENTRAL_SIZE 46
#define ZIP_END_SIZE 22
#define ZIP64_END_SIZE 56
#define ZIP64_LOCATOR_SIZE 20

#define ZIP_ALIGNMENT 64                         /* of payloads, in archives of torch and ours */
#define ZIP_LOCAL_EXTRA_MAX (ZIP_ALIGNMENT + 28) /* their fillers, and zip64's */

#define ZIP_MAGIC "PK\x03\x04" /* the first local header */
/* The end records, where there is no other. */
#define ZIP_EMPTY_MAGIC "PK\x05\x06"
#define ZIP64_EMPTY_MAGIC "PK\x06\x06"

#define ZIP_STORED 0
#define ZIP_DEFLATED 8

#define ZIP_FLAG_ENCRYPTED 0x0001
#define ZIP_FLAG_DESCRIPTOR 0x0008 /* CRC and sizes follow the payload */
#define ZIP_FLAG_STRONG_ENCRYPTION 0x0040
#define ZIP_FLAG_UTF8 0x0800
#define ZIP_FLAG_MASKED 0x2000 /* the directory is encrypted */

#define ZIP_EXTRA_ZIP64 0x0001
#define ZIP_EXTRA_PADDING 0x4246 /* "FB": torch's filler that aligns payloads */

/* A field of 16 or 32 bits with all bits set: the value is in the zip64 part. */
#define ZIP_SATURATED_16 0xffffu
#define ZIP_SATURATED_32 0xffffffffu

#endif
