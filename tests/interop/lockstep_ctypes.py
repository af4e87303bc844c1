# SPDX-License-Identifier: Apache-2.0
"""liblockstep from Python: what the comparisons with DistributedDataParallel call of it, and a torch module as a replica.

The structures, enumerators and prototypes below are those of include/lockstep, written down a second time. check_headers
has the compiler compare them, so that a header that changed is a clear message and not a wrong answer.

A rank is a thread (ctypes lets go of the interpreter's lock in every call), its communicator one of run_ranks."""
import ctypes
import os
import re
import subprocess
import threading

import torch

# --- what stands in the headers ---------------------------------------------------------------------------------------

ENUMERATORS = {
    "LKS_OK": 0, "LKS_ERR_INVALID_ARG": 1, "LKS_ERR_ABORTED": 11,
    "LKS_DTYPE_F64": 0, "LKS_DTYPE_F32": 1, "LKS_DTYPE_F16": 2, "LKS_DTYPE_BF16": 3, "LKS_DTYPE_I64": 4,
    "LKS_REDUCE_SUM": 0, "LKS_REDUCE_AVG": 4,
    "LKS_PARAM_WEIGHT": 0, "LKS_PARAM_BUFFER": 1,
    "LKS_BUFFERS_BROADCAST": 0, "LKS_BUFFERS_AVERAGE": 1, "LKS_BUFFERS_LEAVE": 2,
    "LKS_OPTIM_SGD": 0, "LKS_OPTIM_ADAM": 1, "LKS_OPTIM_ADAMW": 2,
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


class lks_comm_hook_t(ctypes.Structure):
    _fields_ = [("kind", ctypes.c_int), ("power_sgd", ctypes.c_void_p), ("run", ctypes.c_void_p), ("context", ctypes.c_void_p)]


class lks_replica_options_t(ctypes.Structure):
    _fields_ = [("bucket_bytes", ctypes.c_size_t), ("first_bucket_bytes", ctypes.c_size_t), ("reduce", ctypes.c_int),
                ("buffers", ctypes.c_int), ("find_unused", ctypes.c_bool), ("static_graph", ctypes.c_bool),
                ("clip_norm", ctypes.c_double), ("clip_value", ctypes.c_double), ("measure_norm", ctypes.c_bool),
                ("optim", ctypes.c_void_p), ("grad_scaler", ctypes.c_void_p), ("hook", lks_comm_hook_t)]


STRUCTURES = [lks_error_t, lks_comm_config_t, lks_optim_config_t, lks_replica_param_t, lks_comm_hook_t, lks_replica_options_t]

PROTOTYPES = """
const lks_error_t *lks_last_error(void)
lks_comm_config_t lks_comm_config_default(void)
lks_status_t lks_comm_create_local(int, const lks_comm_config_t *, lks_comm_t **)
void lks_comm_destroy(lks_comm_t *)
void lks_comm_abort(lks_comm_t *, const char *)
lks_optim_config_t lks_optim_config_default(lks_optim_kind_t)
lks_replica_options_t lks_replica_options_default(void)
lks_status_t lks_replica_create(lks_comm_t *, const lks_replica_param_t *, size_t, const lks_replica_options_t *, lks_replica_t **)
void lks_replica_destroy(lks_replica_t *)
lks_status_t lks_replica_begin(lks_replica_t *)
void *lks_replica_grad(lks_replica_t *, size_t)
lks_status_t lks_replica_grad_ready(lks_replica_t *, size_t)
void lks_replica_set_sync(lks_replica_t *, bool)
lks_status_t lks_replica_finish(lks_replica_t *)
lks_status_t lks_replica_step(lks_replica_t *)
lks_status_t lks_replica_clip_norm(lks_replica_t *, double, double *)
double lks_replica_grad_norm(const lks_replica_t *)
"""

VALUES = {"void": None, "int": ctypes.c_int, "bool": ctypes.c_bool, "size_t": ctypes.c_size_t, "double": ctypes.c_double,
          "lks_status_t": ctypes.c_int, "lks_optim_kind_t": ctypes.c_int, "const char *": ctypes.c_char_p,
          "const lks_error_t *": ctypes.POINTER(lks_error_t), **{s.__name__: s for s in STRUCTURES}}


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
            self.options.optim = ctypes.addressof(optim)
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
        memory = (ctypes.c_char * (p.numel() * p.element_size())).from_address(self.grad_address(i))
        return torch.frombuffer(memory, dtype=p.dtype).view(p.shape)

    def begin(self):
        lks.lks_replica_begin(self._handle)

    def set_sync(self, sync):
        lks.lks_replica_set_sync(self._handle, sync)

    def finish(self):
        lks.lks_replica_finish(self._handle)

    def step(self):
        lks.lks_replica_step(self._handle)

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
