# SPDX-License-Identifier: Apache-2.0
"""liblockstep from Python: what the comparisons with DistributedDataParallel call of it, and a torch module as a replica.

The structures, enumerators and prototypes below are those of include/lockstep, written down a second time. check_headers
has the compiler compare them, so that a header that changed is a clear message and not a wrong answer.

A rank is a thread (ctypes lets go of the interpreter's lock in every call), its communicator one of run_ranks."""
import ctypes
import os
import re
import subprocess
import sys
import threading

import torch

# --- what stands in the headers ---------------------------------------------------------------------------------------

ENUMERATORS = {
    "LKS_OK": 0, "LKS_ERR_INVALID_ARG": 1, "LKS_ERR_MISMATCH": 8, "LKS_ERR_ABORTED": 11,
    "LKS_DTYPE_F64": 0, "LKS_DTYPE_F32": 1, "LKS_DTYPE_F16": 2, "LKS_DTYPE_BF16": 3, "LKS_DTYPE_I64": 4,
    "LKS_REDUCE_SUM": 0, "LKS_REDUCE_AVG": 4,
    "LKS_PARAM_WEIGHT": 0, "LKS_PARAM_BUFFER": 1,
    "LKS_BUFFERS_BROADCAST": 0, "LKS_BUFFERS_AVERAGE": 1, "LKS_BUFFERS_LEAVE": 2,
    "LKS_OPTIM_SGD": 0, "LKS_OPTIM_ADAM": 1, "LKS_OPTIM_ADAMW": 2,
    "LKS_COMM_HOOK_FP16": 1, "LKS_COMM_HOOK_BF16": 2, "LKS_COMM_HOOK_POWER_SGD": 3, "LKS_COMM_HOOK_OWN": 4,
}
globals().update(ENUMERATORS)


class lks_error_t(ctypes.Structure):
    _fields_ = [("status", ctypes.c_int), ("message", ctypes.c_char * 1024)]


class lks_comm_config_t(ctypes.Structure):
    _fields_ = [("timeout", ctypes.c_double), ("cores", ctypes.c_size_t)]


class lks_optim_config_t(ctypes.Structure):
    _fields_ = [("kind", ctypes.c_int), ("lr", ctypes.c_double), ("momentum", ctypes.c_double), ("dampening", ctypes.c_double),
                ("nesterov", ctypes.c_bool), ("weight_decay", ctypes.c_double), ("beta1", ctypes.c_double),
                ("beta2", ctypes.c_double), ("eps", ctypes.c_double), ("amsgrad", ctypes.c_bool), ("maximize", ctypes.c_bool)]


class lks_replica_param_t(ctypes.Structure):
    _fields_ = [("name", ctypes.c_char_p), ("kind", ctypes.c_int), ("dtype", ctypes.c_int), ("ndim", ctypes.c_int),
                ("shape", ctypes.POINTER(ctypes.c_int64)), ("value", ctypes.c_void_p)]


class lks_grad_bucket_param_t(ctypes.Structure):
    _fields_ = [("param", ctypes.c_size_t), ("first", ctypes.c_size_t), ("count", ctypes.c_size_t), ("ndim", ctypes.c_int),
                ("shape", ctypes.POINTER(ctypes.c_int64))]


class lks_grad_bucket_t(ctypes.Structure):
    _fields_ = [("index", ctypes.c_size_t), ("is_last", ctypes.c_bool), ("dtype", ctypes.c_int), ("count", ctypes.c_size_t),
                ("data", ctypes.c_void_p), ("divisor", ctypes.c_int), ("param_count", ctypes.c_size_t),
                ("params", ctypes.POINTER(lks_grad_bucket_param_t))]


lks_comm_hook_fn_t = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.POINTER(lks_grad_bucket_t))
draw_fn_t = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_size_t, ctypes.c_size_t, ctypes.c_size_t,
                             ctypes.POINTER(ctypes.c_float))


class lks_power_sgd_config_t(ctypes.Structure):
    _fields_ = [("matrix_approximation_rank", ctypes.c_int), ("start_iter", ctypes.c_int64),
                ("min_compression_rate", ctypes.c_double), ("use_error_feedback", ctypes.c_bool), ("warm_start", ctypes.c_bool),
                ("orthogonalization_epsilon", ctypes.c_double), ("seed", ctypes.c_uint64), ("draw", draw_fn_t),
                ("context", ctypes.c_void_p)]


class lks_comm_hook_t(ctypes.Structure):
    _fields_ = [("kind", ctypes.c_int), ("power_sgd", ctypes.POINTER(lks_power_sgd_config_t)), ("run", lks_comm_hook_fn_t),
                ("context", ctypes.c_void_p)]


class lks_grad_scaler_t(ctypes.Structure):
    _fields_ = [("scale", ctypes.c_float), ("growth_factor", ctypes.c_double), ("backoff_factor", ctypes.c_double),
                ("growth_interval", ctypes.c_int64), ("growth_tracker", ctypes.c_int64)]


class lks_join_options_t(ctypes.Structure):
    _fields_ = [("divide_by_initial_world_size", ctypes.c_bool), ("throw_on_early_termination", ctypes.c_bool)]


class lks_replica_options_t(ctypes.Structure):
    _fields_ = [("bucket_bytes", ctypes.c_size_t), ("first_bucket_bytes", ctypes.c_size_t), ("reduce", ctypes.c_int),
                ("buffers", ctypes.c_int), ("find_unused", ctypes.c_bool), ("static_graph", ctypes.c_bool),
                ("clip_norm", ctypes.c_double), ("clip_value", ctypes.c_double), ("measure_norm", ctypes.c_bool),
                ("optim", ctypes.POINTER(lks_optim_config_t)), ("grad_scaler", ctypes.POINTER(lks_grad_scaler_t)),
                ("hook", lks_comm_hook_t)]


STRUCTURES = [lks_error_t, lks_comm_config_t, lks_optim_config_t, lks_replica_param_t, lks_grad_bucket_param_t, lks_grad_bucket_t,
              lks_power_sgd_config_t, lks_comm_hook_t, lks_grad_scaler_t, lks_join_options_t, lks_replica_options_t]

PROTOTYPES = """
const lks_error_t *lks_last_error(void)
lks_comm_config_t lks_comm_config_default(void)
lks_status_t lks_comm_create_local(int, const lks_comm_config_t *, lks_comm_t **)
int lks_comm_rank(const lks_comm_t *)
void lks_comm_destroy(lks_comm_t *)
void lks_comm_abort(lks_comm_t *, const char *)
lks_status_t lks_comm_all_reduce(lks_comm_t *, const void *, void *, size_t, lks_dtype_t, lks_reduce_op_t, lks_stream_t *)
lks_status_t lks_comm_moments(lks_comm_t *, size_t, int64_t *, float *, float *)
lks_status_t lks_comm_moments_backward(lks_comm_t *, size_t, float *, float *)
lks_optim_config_t lks_optim_config_default(lks_optim_kind_t)
lks_power_sgd_config_t lks_power_sgd_config_default(void)
lks_grad_scaler_t lks_grad_scaler_default(void)
lks_join_options_t lks_join_options_default(void)
lks_replica_options_t lks_replica_options_default(void)
lks_status_t lks_replica_create(lks_comm_t *, const lks_replica_param_t *, size_t, const lks_replica_options_t *, lks_replica_t **)
void lks_replica_destroy(lks_replica_t *)
lks_status_t lks_replica_begin(lks_replica_t *)
void *lks_replica_grad(lks_replica_t *, size_t)
lks_status_t lks_replica_grad_ready(lks_replica_t *, size_t)
bool lks_replica_used(const lks_replica_t *, size_t)
void lks_replica_set_sync(lks_replica_t *, bool)
lks_status_t lks_replica_finish(lks_replica_t *)
lks_status_t lks_replica_step(lks_replica_t *)
lks_status_t lks_replica_clip_norm(lks_replica_t *, double, double *)
double lks_replica_grad_norm(const lks_replica_t *)
double lks_replica_loss_scale(const lks_replica_t *)
lks_grad_scaler_t *lks_replica_grad_scaler(const lks_replica_t *)
int64_t lks_replica_skipped_steps(const lks_replica_t *)
lks_status_t lks_replica_join_begin(lks_replica_t *, const lks_join_options_t *)
lks_status_t lks_replica_join_end(lks_replica_t *)
"""

VALUES = {"void": None, "int": ctypes.c_int, "bool": ctypes.c_bool, "size_t": ctypes.c_size_t, "int64_t": ctypes.c_int64,
          "double": ctypes.c_double, "const char *": ctypes.c_char_p, "const lks_error_t *": ctypes.POINTER(lks_error_t),
          "lks_grad_scaler_t *": ctypes.POINTER(lks_grad_scaler_t), **{s.__name__: s for s in STRUCTURES},
          **{f"lks_{e}_t": ctypes.c_int for e in ("status", "dtype", "reduce_op", "optim_kind")}}


def _ctype(text):
    return VALUES[text] if text in VALUES or not text.endswith("*") else ctypes.c_void_p


def _prototypes():
    """Result, name and arguments of every line."""
    for line in PROTOTYPES.strip().splitlines():
        result, name, arguments = re.fullmatch(r"(.*?)(lks_\w+)\((.*)\)", line).groups()
        yield result.strip(), name, [a for a in arguments.split(", ") if a != "void"]


def check_headers():
    """The compiler says whether everything above is what the headers say."""
    lines = ["#include <lockstep/lockstep.h>"]

    def equal(expression, value):
        lines.append(f'_Static_assert({expression} == {value}, "{expression} is not {value} in include/lockstep");')

    for name, value in ENUMERATORS.items():
        equal(name, value)
    for structure in STRUCTURES:
        name = structure.__name__
        equal(f"sizeof({name})", ctypes.sizeof(structure))
        for field, _ in structure._fields_:
            equal(f"offsetof({name}, {field})", getattr(structure, field).offset)
            equal(f"sizeof((({name} *)0)->{field})", getattr(structure, field).size)
    lines += [line + ";" for line in PROTOTYPES.strip().splitlines()]
    includes = [f"-I{folder}" for folder in os.environ["LOCKSTEP_INCLUDES"].split(":")]
    done = subprocess.run([os.environ["LOCKSTEP_CC"], "-std=c17", "-fsyntax-only", *includes, "-xc", "-"], text=True,
                          input="\n".join(lines) + "\n", capture_output=True)
    if done.returncode != 0:
        raise AssertionError("tests/interop/lockstep_ctypes.py and include/lockstep are not the same any more: write what "
                             f"changed in the headers down there, too\n{done.stderr}")


# --- calls ------------------------------------------------------------------------------------------------------------

class LockstepError(Exception):
    def __init__(self, status, message):
        super().__init__(message)
        self.status = status


def _open():
    library = ctypes.CDLL(os.environ["LOCKSTEP_LIBRARY"])
    for result, name, arguments in _prototypes():
        function = getattr(library, name)
        function.restype = _ctype(result)
        function.argtypes = [_ctype(a) for a in arguments]
        if result == "lks_status_t":
            function.errcheck = _raise
    return library


def _raise(status, function, arguments):
    if status != LKS_OK:  # noqa: F821
        raise LockstepError(status, lks.lks_last_error().contents.message.decode())


check_headers()
lks = _open()

DTYPES = {torch.float64: "LKS_DTYPE_F64", torch.float32: "LKS_DTYPE_F32", torch.float16: "LKS_DTYPE_F16",
          torch.bfloat16: "LKS_DTYPE_BF16", torch.int64: "LKS_DTYPE_I64"}


def run_ranks(world, run, timeout=60):
    """[run(comm, rank) of every rank], a thread each. The first error that is not an echo of another rank's is raised."""
    config = lks.lks_comm_config_default()
    config.timeout = timeout
    comms = (ctypes.c_void_p * world)()
    lks.lks_comm_create_local(world, ctypes.byref(config), comms)
    results, errors = [None] * world, []

    def work(rank):
        try:
            results[rank] = run(comms[rank], rank)
        except BaseException as error:  # noqa: B902 - carried to the caller
            errors.append(error)
            lks.lks_comm_abort(comms[rank], str(error).encode())

    threads = [threading.Thread(target=work, args=(rank,)) for rank in range(world)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for comm in comms:
        lks.lks_comm_destroy(comm)
    if errors:
        raise min(errors, key=lambda e: getattr(e, "status", 0) == LKS_ERR_ABORTED)  # noqa: F821
    return results


def optim_config(kind, **settings):
    """By PyTorch's names: optim_config("Adam", lr=0.1, betas=(0.8, 0.9))."""
    config = lks.lks_optim_config_default(ENUMERATORS[f"LKS_OPTIM_{kind.upper()}"])
    if "betas" in settings:
        settings["beta1"], settings["beta2"] = settings.pop("betas")
    _set(config, settings)
    return config


def power_sgd_config(**settings):
    """`draw`: a function of step, parameter, rank, columns that gives Q transposed, a tensor (rank, columns)."""
    config = lks.lks_power_sgd_config_default()
    if "draw" in settings:
        settings["draw"] = draw_fn_t(_filling(settings["draw"]))
    _set(config, settings)
    return config


def _filling(draw):
    def fill(_, step, param, rank, columns, q):
        memory_as_tensor(ctypes.addressof(q.contents), rank * columns, torch.float32).copy_(
            draw(step, param, rank, columns).flatten())
    return fill


def hook_of_ones_own(run):
    """`run` is a function of a communicator and a Bucket."""
    def call(_, comm, bucket):
        try:
            run(comm, Bucket(bucket.contents))
            return LKS_OK  # noqa: F821
        except LockstepError as error:
            return error.status
        except Exception as error:
            print(f"a hook failed: {error!r}", file=sys.stderr)
            return LKS_ERR_INVALID_ARG  # noqa: F821
    return lks_comm_hook_t(kind=ENUMERATORS["LKS_COMM_HOOK_OWN"], run=lks_comm_hook_fn_t(call))


class Bucket:
    """lks_grad_bucket_t with tensors in its memory."""

    def __init__(self, bucket):
        self.is_last, self.divisor = bucket.is_last, bucket.divisor
        dtype = next(d for d, name in DTYPES.items() if ENUMERATORS[name] == bucket.dtype)
        self.buffer = memory_as_tensor(bucket.data, bucket.count, dtype)
        self.gradients = {p.param: self.buffer[p.first:p.first + p.count].view(p.shape[:p.ndim])
                          for p in bucket.params[:bucket.param_count]}


def all_reduce(comm, tensor, op="LKS_REDUCE_SUM"):
    """In place."""
    lks.lks_comm_all_reduce(comm, tensor.data_ptr(), tensor.data_ptr(), tensor.numel(), ENUMERATORS[DTYPES[tensor.dtype]],
                            ENUMERATORS[op], None)


def memory_as_tensor(address, count, dtype):
    size = torch.empty(0, dtype=dtype).element_size()
    return torch.frombuffer((ctypes.c_char * (count * size)).from_address(address), dtype=dtype)


def _set(structure, settings):
    names = [name for name, _ in structure._fields_]
    for name, value in settings.items():
        if name not in names:
            raise AttributeError(f"{type(structure).__name__} has no '{name}'")
        setattr(structure, name, value)


class Replica:
    """A torch module whose parameters and buffers are registered where they are. Its backward reports every gradient."""

    def __init__(self, comm, module, optim=None, **options):
        self.module = module
        trained = [(name, p) for name, p in module.named_parameters() if p.requires_grad]
        fixed = [(name, p) for name, p in module.named_parameters() if not p.requires_grad] + list(module.named_buffers())
        self.parameters = [p for _, p in trained]
        self._optim = optim
        self.options = lks.lks_replica_options_default()
        _set(self.options, options)
        if optim is not None:
            self.options.optim = ctypes.pointer(optim)
        described = (lks_replica_param_t * (len(trained) + len(fixed)))()
        for i, (name, tensor) in enumerate(trained + fixed):
            assert tensor.is_contiguous(), name
            kind = "LKS_PARAM_WEIGHT" if i < len(trained) else "LKS_PARAM_BUFFER"
            described[i] = lks_replica_param_t(name.encode(), ENUMERATORS[kind], ENUMERATORS[DTYPES[tensor.dtype]], tensor.dim(),
                                               (ctypes.c_int64 * max(tensor.dim(), 1))(*tensor.shape), tensor.data_ptr())
        self._handle = ctypes.c_void_p()
        lks.lks_replica_create(comm, described, len(described), ctypes.byref(self.options), ctypes.byref(self._handle))
        self._hooks = [p.register_hook(lambda grad, i=i: self._ready(i, grad)) for i, p in enumerate(self.parameters)]

    def _ready(self, i, grad):
        grad = grad.contiguous()
        ctypes.memmove(self.grad_address(i), grad.data_ptr(), grad.numel() * grad.element_size())
        lks.lks_replica_grad_ready(self._handle, i)

    def grad_address(self, i):
        return lks.lks_replica_grad(self._handle, i)

    def grad(self, i):
        """The gradient in lockstep's memory, as a tensor."""
        p = self.parameters[i]
        return memory_as_tensor(self.grad_address(i), p.numel(), p.dtype).view(p.shape)

    def used(self, i):
        return lks.lks_replica_used(self._handle, i)

    def begin(self):
        lks.lks_replica_begin(self._handle)

    def set_sync(self, sync):
        lks.lks_replica_set_sync(self._handle, sync)

    def finish(self):
        lks.lks_replica_finish(self._handle)

    def step(self):
        lks.lks_replica_step(self._handle)

    def join_begin(self, **options):
        chosen = lks.lks_join_options_default()
        _set(chosen, options)
        lks.lks_replica_join_begin(self._handle, ctypes.byref(chosen))

    def join_end(self):
        lks.lks_replica_join_end(self._handle)

    def loss_scale(self):
        return lks.lks_replica_loss_scale(self._handle)

    def grad_scaler(self):
        return lks.lks_replica_grad_scaler(self._handle).contents

    def skipped_steps(self):
        return lks.lks_replica_skipped_steps(self._handle)

    def clip_norm(self, most):
        norm = ctypes.c_double()
        lks.lks_replica_clip_norm(self._handle, most, ctypes.byref(norm))
        return norm.value

    def grad_norm(self):
        return lks.lks_replica_grad_norm(self._handle)

    def close(self):
        for hook in self._hooks:
            hook.remove()
        lks.lks_replica_destroy(self._handle)
        self._handle = None
