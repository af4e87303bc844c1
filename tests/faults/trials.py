#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""trials.py [COUNT] [--kind KIND] [--seed SEED] - faults that strike training jobs at random moments, COUNT of each kind
(LOCKSTEP_FAULT_TRIALS, 20).

Every job has a timeout of 2 seconds. Whatever strikes it, it must end within 2 seconds more, with the cause named and a
code that is not 0; no process of it may be left, stopped ones included; and last.pt must be whole and no older than the last
save that was over. Time counts from just before the fault (which the job notes, or the signal's sender) until every process
is gone and the launcher has ended. Open MPI's launcher sleeps a second before it kills, and often another one: it has a
second more for itself in half of its trials, and is told to kill at once (odls_base_sigkill_timeout) in the others.

Jobs are fault_train (train_job.c), which is struck from within at a place that its seed says, and the program, which is
struck by a signal from outside, or by a disk that fails or hangs in the middle of a save. Each is tried as threads of one
process and as processes under Open MPI and MPICH, whichever are there; with FAULT_THREADS_ONLY set, fault_train alone
as threads. FAULT_TRAIN, FAULT_CALLS, LOCKSTEP, LIBDIR and TEST_DATA say where things are. A trial is a kind and a seed,
which says the rest: repeat one with COUNT 1.
"""
import argparse
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor

TIMEOUT, BOUND = 2.0, 4.0
LAUNCHER_SECONDS = 1.0  # Open MPI's sleeps a second when it kills, and may do so twice, unless told to kill at once
GIVE_UP = 20.0  # a trial that lasts longer is ended here
FAULT_TRAIN, FAULT_CALLS, LOCKSTEP = (os.environ[name] for name in ("FAULT_TRAIN", "FAULT_CALLS", "LOCKSTEP"))
IRIS = os.path.join(os.environ["TEST_DATA"], "iris.csv")
OPTIONS = {"openmpi": ["--allow-run-as-root", "--oversubscribe", "--bind-to", "none"], "mpich": []}


def available(mpi):
    library = os.path.join(os.environ["LIBDIR"], f"liblockstep_mpi_{mpi}.so")
    return os.path.exists(library) and shutil.which(f"mpirun.{mpi}") is not None


THREADS_ONLY = bool(os.environ.get("FAULT_THREADS_ONLY"))
MPIS = [mpi for mpi in OPTIONS if available(mpi) and not THREADS_ONLY]
THREADS = [(None, 1, 3)]  # launcher, processes, threads of each
BAD_DISKS = [] if THREADS_ONLY else THREADS + [(mpi, 2, 1) for mpi in MPIS]
PROCESSES = [(mpi, 2, threads) for threads in (1, 2) for mpi in MPIS]


def is_rank(environment):
    return b"OMPI_COMM_WORLD_RANK" in environment or b"PMI_RANK" in environment


class Trial:
    """One job, from its start to the last of its processes."""

    def __init__(self, kind, seed):
        scenarios = KINDS[kind]()
        self.kind, self.seed = kind, seed
        self.run, (self.mpi, self.processes, self.threads) = scenarios[seed % len(scenarios)]
        self.random = random.Random(seed)
        self.at_once = self.mpi == "openmpi" and self.random.random() < 0.5
        self.name = (f"{kind} {seed}: {self.run.__name__}, {self.mpi or 'threads'} {self.processes} x {self.threads}"
                     f"{' at once' if self.at_once else ''}")
        self.mark = f"{os.getpid()}-{kind}-{seed}"
        self.place, self.struck, self.causes, self.complaints = "", None, [], []

    @property
    def ranks(self):
        return self.processes * self.threads

    def path(self, name):
        return os.path.join(self.folder, name)

    def read(self, name):
        try:
            with open(self.path(name), errors="replace") as file:
                return file.read()
        except FileNotFoundError:
            return ""

    def start(self, *command):
        launcher = [f"mpirun.{self.mpi}", *OPTIONS[self.mpi], "-np", str(self.processes)] if self.mpi else []
        launcher[1:1] = ["--mca", "odls_base_sigkill_timeout", "0"] if self.at_once else []
        with open(self.path("out"), "w") as out:
            self.job = subprocess.Popen([*launcher, *map(str, command)], stdout=out, stderr=subprocess.STDOUT,
                                        stdin=subprocess.DEVNULL, env={**os.environ, "LOCKSTEP_TRIAL": self.mark})
        self.give_up = time.monotonic() + GIVE_UP

    def members(self):
        """Processes of the job that are not dead, as pairs of number and environment."""
        for number in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{number}/environ", "rb") as file:
                    environment = file.read().split(b"\0")
            except OSError:
                continue
            if f"LOCKSTEP_TRIAL={self.mark}".encode() in environment:
                yield int(number), dict(entry.split(b"=", 1) for entry in environment if b"=" in entry)

    def wait_for_end(self):
        """Until the launcher has ended and no process is left; notes when the last of the ranks' processes was gone."""
        self.gone = None
        while self.job.poll() is None or any(self.members()):
            if self.mpi and not any(is_rank(environment) for _, environment in self.members()):
                self.gone = self.gone or time.monotonic()
            else:
                self.gone = None
            if time.monotonic() > self.give_up:
                left = [number for number, _ in self.members()]
                self.complain("it does not end" if self.job.poll() is None else f"processes are left: {left}")
                for number in left:
                    os.kill(number, signal.SIGKILL)
                self.job.wait()
                break
            time.sleep(0.02)
        self.ended = time.monotonic()
        self.gone = self.gone or self.ended

    def complain(self, text):
        self.complaints.append(text)

    def check_end(self):
        if self.struck is None:
            return self.complain("no fault struck")
        if self.job.returncode == 0:
            self.complain("it ended with 0")
        patient = self.mpi == "openmpi" and not self.at_once
        if self.seconds > BOUND or self.launcher_seconds > BOUND + (LAUNCHER_SECONDS if patient else 0):
            self.complain(f"it took {self.seconds:.2f} s, with its launcher {self.launcher_seconds:.2f} s")
        said = self.read("out")
        if re.search("Sanitizer|runtime error:", said):
            self.complain("a sanitizer reported")
        for cause in self.causes:
            if not re.search(cause, said):
                self.complain(f"nobody said '{cause}'")

    @property
    def seconds(self):
        return self.gone - self.struck

    @property
    def launcher_seconds(self):
        return self.ended - self.struck

    def check_saved(self, saved, step_of):
        """The step of the last save that was over; a function that looks at a file and returns its step."""
        if not os.path.exists(self.path("last.pt")):
            if saved:
                self.complain(f"step {saved} was saved and is gone")
            return
        verified = subprocess.run([LOCKSTEP, "verify", self.path("last.pt")], capture_output=True, text=True)
        if verified.returncode != 0:
            return self.complain(f"last.pt is damaged: {verified.stderr}")
        step = step_of(self.path("last.pt"))
        if step is not None and step < saved:
            self.complain(f"last.pt is of step {step}, and step {saved} had been saved")

    def __call__(self):
        self.folder = tempfile.mkdtemp(prefix="lockstep-trial-")
        try:
            self.run(self)
            if self.complaints:
                said = [line for line in self.read("out").splitlines() if not line.startswith("{")]
                self.complaints.append("it said:\n" + "\n".join(said[-30:]))
        finally:
            shutil.rmtree(self.folder)
        return self


# --- causes: what must be said ---------------------------------------------------------------------

KILLED = {"openmpi": r"noticed that process rank \d+ .* exited on signal 9", "mpich": r"KILLED BY SIGNAL: 9|EXIT CODE: 9"}
LATE = r"(collective \d+, [a-z_ ]+.*|gradients of step \d+, bucket \d+): rank [\d, ]*\b(%s)\b[\d, ]* did not come within 2 s"
FAILED = r"rank %d: .*(a planned failure|Input/output error)"
OTHER_COUNT = r"collective \d+: rank \d+ called \w+ of \d+ float32.*, rank \d+ called \w+ of \d+ float32"
STRAY = r"(collective \d+, .*|gradients of step \d+, bucket \d+): rank [\d, ]+ did not come within 2 s"


def cause_of(trial, victim):
    if trial.kind == "count":
        return STRAY if "backward" in trial.place else OTHER_COUNT
    if trial.kind == "kill":
        return KILLED[trial.mpi]
    if trial.kind == "fail":
        return FAILED % victim
    first = victim - victim % trial.threads  # all ranks of a stopped process are late, and any of them may be named
    late = range(first, first + trial.threads) if trial.kind == "stop" else [victim]
    return LATE % "|".join(map(str, late))


# --- jobs --------------------------------------------------------------------------------------------

def own_model(trial):
    """fault_train, which strikes itself."""
    trial.start(FAULT_TRAIN, trial.threads, trial.kind, trial.seed, trial.folder, TIMEOUT)
    trial.wait_for_end()
    note = trial.read("fault").split(maxsplit=2)
    if note:
        trial.struck, trial.place = float(note[0]), note[2].strip()
        trial.causes.append(cause_of(trial, int(note[1])))
    trial.check_end()
    saves = trial.read("saves").split()

    def step_of(path):
        looked = subprocess.run([FAULT_TRAIN, "check", path, str(trial.ranks)], capture_output=True, text=True)
        if looked.returncode != 0:
            return trial.complain(f"last.pt is wrong: {looked.stderr}")
        return int(looked.stdout)
    trial.check_saved(int(saves[-1]) if saves else 0, step_of)


def train_flags(trial, *more):
    return ["train", "--model", "mlp:4,64,64,3", "--data", IRIS, "--epochs", 1000000, "--devices", f"host:{trial.threads}",
            "--timeout", TIMEOUT, "--save", trial.folder, "--save-every-steps", 7, "--json", *more]


def check_program(trial):
    trial.check_end()
    saved = 0
    for line in trial.read("out").splitlines():
        match = re.match(r'{"event": "save".*"global_step": (\d+).*/last.pt', line)
        saved = int(match.group(1)) if match else saved

    def step_of(path):
        looked = subprocess.run([LOCKSTEP, "inspect", "--json", "--key", "lockstep.rng.step", path],
                                capture_output=True, text=True)
        return json.loads(looked.stdout)["values"][0]["value"]
    trial.check_saved(saved, step_of)


def signalled_program(trial):
    """The program, hit by a signal from outside."""
    trial.start(LOCKSTEP, *train_flags(trial))
    begun = trial.read
    while "last.pt" not in begun("out") and trial.job.poll() is None and time.monotonic() < trial.give_up:
        time.sleep(0.01)
    time.sleep(trial.random.uniform(0, 0.5))
    rank_names = (b"OMPI_COMM_WORLD_RANK", b"PMI_RANK")
    processes = {int(env[name]): number for number, env in trial.members() for name in rank_names if name in env}
    victim = trial.random.randrange(trial.processes)
    if victim in processes:
        trial.struck = time.monotonic()
        os.kill(processes[victim], signal.SIGKILL if trial.kind == "kill" else signal.SIGSTOP)
        trial.causes.append(cause_of(trial, victim * trial.threads))
    trial.wait_for_end()
    check_program(trial)


def program_with_bad_disk(trial):
    """The program, whose disk fails or hangs in the middle of a save."""
    how = "5" if trial.kind == "fail" else "stall"  # 5: EIO
    faults = [f"LD_PRELOAD={FAULT_CALLS}", "FAULT_FIRST=1", f"FAULT_AT={trial.random.randrange(1, 200)}",
              f"FAULT_KIND={how}", f"FAULT_STAMP={trial.path('fault')}"]
    asynchronous = "--async-save" if trial.kind == "fail" and trial.random.random() < 0.5 else "--no-async-save"
    trial.start("env", *faults, LOCKSTEP, *train_flags(trial, asynchronous))
    trial.wait_for_end()
    note = trial.read("fault").split()
    if note:
        trial.struck = float(note[0])
        trial.causes.append(cause_of(trial, 0))
    check_program(trial)


def scenarios(*jobs):
    return [(job, layout) for job, layouts in jobs for layout in layouts]


KINDS = {
    "fail": lambda: scenarios((own_model, THREADS + PROCESSES), (program_with_bad_disk, BAD_DISKS)),
    "stall": lambda: scenarios((own_model, THREADS + PROCESSES), (program_with_bad_disk, BAD_DISKS)),
    "count": lambda: scenarios((own_model, THREADS + PROCESSES)),
    "kill": lambda: scenarios((own_model, PROCESSES), (signalled_program, PROCESSES)),
    "stop": lambda: scenarios((own_model, PROCESSES), (signalled_program, PROCESSES)),
}


def report(trials):
    """A line for each kind. Returns how many trials failed."""
    for trial in trials:
        if trial.complaints:
            print(f"FAILED: {trial.name} {trial.place}\n    " + "\n    ".join(trial.complaints))
    for kind in KINDS:
        mine = [trial for trial in trials if trial.kind == kind]
        times = sorted(trial.seconds for trial in mine if trial.struck is not None)
        if times:
            bad = sum(bool(trial.complaints) for trial in mine)
            ends = {sleeps: max((trial.launcher_seconds for trial in mine if trial.struck is not None
                                 and (trial.mpi == "openmpi" and not trial.at_once) == sleeps), default=0.0)
                    for sleeps in (False, True)}
            print(f"{kind}: {len(mine)} trials, {bad} failed; from the fault until all processes were gone "
                  f"{times[len(times) // 2]:.2f} s (median), {times[-1]:.2f} s (most); with the launcher {ends[False]:.2f} s, "
                  f"{ends[True]:.2f} s where it sleeps")
    return sum(bool(trial.complaints) for trial in trials)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("count", nargs="?", type=int, default=int(os.environ.get("LOCKSTEP_FAULT_TRIALS", 20)))
    parser.add_argument("--kind", choices=KINDS)
    parser.add_argument("--seed", type=int, default=random.randrange(1000000))
    parser.add_argument("--jobs", type=int, default=8, help="trials at a time")
    parser.add_argument("--verbose", action="store_true")
    args = parser.parse_args()
    for mpi in OPTIONS:
        if mpi not in MPIS:
            print(f"not tried: {mpi}, which this build, machine or test does without")
    print(f"seeds from {args.seed}")
    trials = [Trial(kind, args.seed + i) for i in range(args.count) for kind in KINDS
              if args.kind in (None, kind) and KINDS[kind]()]
    with ThreadPoolExecutor(args.jobs) as pool:
        for trial in pool.map(lambda trial: trial(), trials):
            if args.verbose:
                seconds = f"{trial.seconds:.2f}" if trial.struck is not None else "-"
                print(f"{seconds:>6} {trial.name} {trial.place}", flush=True)
    sys.exit(1 if report(trials) else 0)


if __name__ == "__main__":
    main()
