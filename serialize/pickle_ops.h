/* SPDX-License-Identifier: Apache-2.0 */
/* pickle_ops.h - the opcodes of pickle, protocols 0 to 5.
 * A pickle is a program for a stack machine. X(NAME, byte, handler, argument): the handler in pickle_read.c
 * or pickle_scalars.c carries the opcode out, `argument` tells those that share one handler apart (it is
 * mostly the width of a length or number that follows). The stack effect stands behind each.
 * The reference: CPython's Lib/pickletools.py. */
#ifndef LOCKSTEP_SERIALIZE_PICKLE_OPS_H
#define LOCKSTEP_SERIALIZE_PICKLE_OPS_H

#define LKS_PICKLE_OP_LIST(X)                                                                      \
    /* the machine itself */                                                                       \
    X(PROTO, 0x80, proto, 0)      /* ( -- ) */                                                     \
    X(FRAME, 0x95, frame, 0)      /* ( -- ) */                                                     \
    X(STOP, '.', stop, 0)         /* (value -- ) */                                                \
    X(MARK, '(', mark, 0)         /* ( -- mark) */                                                 \
    X(POP, '0', pop, 0)           /* (value or mark -- ) */                                        \
    X(POP_MARK, '1', pop_mark, 0) /* (mark values -- ) */                                          \
    X(DUP, '2', dup, 0)           /* (value -- value value) */                                     \
    /* the memo */                                                                                 \
    X(PUT, 'p', put_text, 0) /* (value -- value) */                                                \
    X(BINPUT, 'q', put, 1)                                                                         \
    X(LONG_BINPUT, 'r', put, 4)                                                                    \
    X(MEMOIZE, 0x94, memoize, 0)                                                                   \
    X(GET, 'g', get_text, 0) /* ( -- value) */                                                     \
    X(BINGET, 'h', get, 1)                                                                         \
    X(LONG_BINGET, 'j', get, 4)                                                                    \
    /* scalars: ( -- value) */                                                                     \
    X(NONE, 'N', none, 0)                                                                          \
    X(NEWTRUE, 0x88, boolean, 1)                                                                   \
    X(NEWFALSE, 0x89, boolean, 0)                                                                  \
    X(INT, 'I', int_text, 0)                                                                       \
    X(LONG, 'L', int_text, 1)                                                                      \
    X(BININT, 'J', binint, 0)                                                                      \
    X(BININT1, 'K', binuint, 1)                                                                    \
    X(BININT2, 'M', binuint, 2)                                                                    \
    X(LONG1, 0x8a, binlong, 1)                                                                     \
    X(LONG4, 0x8b, binlong, 4)                                                                     \
    X(FLOAT, 'F', float_text, 0)                                                                   \
    X(BINFLOAT, 'G', binfloat, 0)                                                                  \
    X(STRING, 'S', string_text, 0)                                                                 \
    X(SHORT_BINSTRING, 'U', binstring, 1)                                                          \
    X(BINSTRING, 'T', binstring, 4)                                                                \
    X(UNICODE, 'V', unicode_text, 0)                                                               \
    X(SHORT_BINUNICODE, 0x8c, binunicode, 1)                                                       \
    X(BINUNICODE, 'X', binunicode, 4)                                                              \
    X(BINUNICODE8, 0x8d, binunicode, 8)                                                            \
    X(SHORT_BINBYTES, 'C', binbytes, 1)                                                            \
    X(BINBYTES, 'B', binbytes, 4)                                                                  \
    X(BINBYTES8, 0x8e, binbytes, 8)                                                                \
    X(BYTEARRAY8, 0x96, bytearray, 8)                                                              \
    X(NEXT_BUFFER, 0x97, out_of_band, 0)                                                           \
    X(READONLY_BUFFER, 0x98, out_of_band, 0)                                                       \
    /* containers */                                                                               \
    X(EMPTY_TUPLE, ')', small_tuple, 0) /* ( -- tuple) */                                          \
    X(TUPLE1, 0x85, small_tuple, 1)     /* (a -- tuple) */                                         \
    X(TUPLE2, 0x86, small_tuple, 2)     /* (a b -- tuple) */                                       \
    X(TUPLE3, 0x87, small_tuple, 3)     /* (a b c -- tuple) */                                     \
    X(TUPLE, 't', tuple, 0)             /* (mark items -- tuple) */                                \
    X(EMPTY_LIST, ']', list, 0)         /* ( -- list) */                                           \
    X(LIST, 'l', list, 1)               /* (mark items -- list) */                                 \
    X(APPEND, 'a', append, 0)           /* (list item -- list) */                                  \
    X(APPENDS, 'e', append, 1)          /* (list mark items -- list) */                            \
    X(EMPTY_DICT, '}', dict, 0)         /* ( -- dict) */                                           \
    X(DICT, 'd', dict, 1)               /* (mark keys-and-values -- dict) */                       \
    X(SETITEM, 's', setitem, 0)         /* (dict key value -- dict) */                             \
    X(SETITEMS, 'u', setitem, 1)        /* (dict mark keys-and-values -- dict) */                  \
    X(EMPTY_SET, 0x8f, set, 0)          /* ( -- set) */                                            \
    X(FROZENSET, 0x91, set, 1)          /* (mark items -- frozenset) */                            \
    X(ADDITEMS, 0x90, append, 1)        /* (set mark items -- set) */                              \
    /* names, calls and instances */                                                               \
    X(GLOBAL, 'c', global, 0)              /* ( -- global) */                                      \
    X(STACK_GLOBAL, 0x93, stack_global, 0) /* (module name -- global) */                           \
    X(EXT1, 0x82, extension, 0)            /* ( -- global) */                                      \
    X(EXT2, 0x83, extension, 0)                                                                    \
    X(EXT4, 0x84, extension, 0)                                                                    \
    X(REDUCE, 'R', reduce, 0)        /* (callable tuple -- value) */                               \
    X(INST, 'i', inst, 0)            /* (mark arguments -- object) */                              \
    X(OBJ, 'o', obj, 0)              /* (mark class arguments -- object) */                        \
    X(NEWOBJ, 0x81, newobj, 0)       /* (class tuple -- object) */                                 \
    X(NEWOBJ_EX, 0x92, newobj_ex, 0) /* (class tuple dict -- object) */                            \
    X(BUILD, 'b', build, 0)          /* (object state -- object) */                                \
    X(PERSID, 'P', persid_text, 0)   /* ( -- value) */                                             \
    X(BINPERSID, 'Q', persid, 0)     /* (id -- value) */

#define LKS_PICKLE_OP_ENUM(name, byte, handler, argument) LKS_OP_##name = (byte),
enum { LKS_PICKLE_OP_LIST(LKS_PICKLE_OP_ENUM) };
#undef LKS_PICKLE_OP_ENUM

#endif
