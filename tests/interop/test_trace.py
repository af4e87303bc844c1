# SPDX-License-Identifier: Apache-2.0
"""What `train --profile` writes is a trace of Chrome's format, with every span where it belongs. Needs Python alone."""
import collections
import json
import os
import shutil
import subprocess
import unittest

from program import IRIS, LOCKSTEP, FolderCase, lockstep

JOB = ["--model", "mlp:4,16,3", "--data", IRIS, "--batch-size", 30, "--val-fraction", 0.2, "--optimizer", "adam"]
STREAMS = {1: "compute", 2: "comm", 3: "loader", 4: "save"}
LAYERS = {f"{layer} {way}" for layer in ("1 Linear", "3 Linear") for way in ("forward", "backward")}
SPANS = {"compute": {"forward", "loss", "backward", "validate"} | LAYERS,
         "comm": {"bucket 0 reduce", "wait", "finish", "all_reduce loss"},
         "loader": {"loader"}, "save": {"save"}}


def nanoseconds(microseconds):
    return round(microseconds * 1000)


class TraceCase(FolderCase):
    def read(self):
        with open(self.path("trace.json")) as file:
            trace = json.load(file)
        self.assertEqual(trace["displayTimeUnit"], "ms")
        return trace["traceEvents"]

    def rows(self, events):
        """(pid, tid) -> the spans of that row, (start, end, name, args), by start and the longest first."""
        rows = collections.defaultdict(list)
        for event in events:
            if event["ph"] == "X":
                start = nanoseconds(event["ts"])
                span = (start, start + nanoseconds(event["dur"]), event["name"], event["args"])
                rows[event["pid"], event["tid"]].append(span)
        for spans in rows.values():
            spans.sort(key=lambda span: (span[0], -span[1]))
        return rows


class Trace(TraceCase):
    def profile(self, *args):
        lockstep("train", *JOB, *args, "--profile", self.path("trace.json"))
        return self.read()

    def test_every_event_has_what_the_format_asks_for(self):
        for event in self.profile("--devices", "host:2", "--epochs", 2, "--save", self.path("run")):
            self.assertIn(event["ph"], ("X", "M"))
            self.assertIsInstance(event["name"], str)
            self.assertIsInstance(event["pid"], int)
            self.assertIn(event["tid"], STREAMS)
            self.assertIsInstance(event["ts"], float)
            if event["ph"] == "X":
                self.assertGreaterEqual(event["ts"], 0)
                self.assertGreaterEqual(event["dur"], 0)
                self.assertGreaterEqual(event["args"]["step"], 1)

    def test_rows_are_named(self):
        events = self.profile("--devices", "host:3", "--epochs", 1, "--save", self.path("run"))
        labels = collections.defaultdict(set)
        for event in events:
            if event["ph"] == "M":
                labels[event["name"]].add((event["pid"], event["tid"], *event["args"].values()))
        self.assertEqual({(pid, name) for pid, _, name in labels["process_name"]},
                         {(rank, f"rank {rank}") for rank in range(3)})
        wanted = {(rank, tid, STREAMS[tid]) for rank in range(3) for tid in STREAMS if tid < 4 or rank == 0}
        self.assertEqual(labels["thread_name"], wanted)
        self.assertEqual(set(self.rows(events)), {(pid, tid) for pid, tid, _ in wanted})

    def test_spans_of_a_row_nest_or_do_not_overlap(self):
        events = self.profile("--devices", "host:2", "--epochs", 5, "--save", self.path("run"), "--async-save",
                              "--save-every-steps", 2)
        for row, spans in self.rows(events).items():
            around = []  # ends of the spans that the next one may lie in
            for start, end, name, _ in spans:
                while around and around[-1] <= start:
                    around.pop()
                self.assertTrue(not around or end <= around[-1], f"{name} at {start} in row {row}")
                around.append(end)

    def test_every_step_of_every_rank_is_there(self):
        events = self.profile("--devices", "host:2", "--epochs", 3, "--save", self.path("run"), "--save-every", 1)
        for (rank, tid), spans in self.rows(events).items():
            stream = STREAMS[tid]
            self.assertEqual({name for _, _, name, _ in spans}, SPANS[stream])
            for name in SPANS[stream] - {"validate", "save", "wait"}:
                steps = [args["step"] for _, _, found, args in spans if found == name]
                if name in LAYERS:  # validation runs them, too
                    steps = sorted(set(steps))
                self.assertEqual(steps, list(range(1, 13)), f"{name} of rank {rank}")
            if stream == "save":
                self.assertEqual([args["step"] for *_, args in spans], [4, 8, 12])

    def test_a_step_goes_its_way(self):
        events = self.profile("--devices", "host", "--epochs", 0, "--max-steps", 3)
        order = sorted((start, name) for spans in self.rows(events).values() for start, _, name, args in spans
                       if args["step"] == 2)
        self.assertEqual([name for _, name in order if name != "wait"],
                         ["loader", "forward", "1 Linear forward", "3 Linear forward", "loss", "backward",
                          "3 Linear backward", "1 Linear backward", "finish", "bucket 0 reduce", "all_reduce loss"])

    def test_a_job_that_fails_leaves_its_trace(self):
        os.makedirs(self.path("run/epoch-0002.pt"))  # a folder in the way of the second save
        lockstep("train", *JOB, "--devices", "host:2", "--epochs", 3, "--save", self.path("run"), "--save-every", 1,
                 "--profile", self.path("trace.json"), code=1)
        self.assertEqual(max(args["step"] for *_, args in self.rows(self.read())[0, 1]), 8)


MPIRUN = {"openmpi": ["mpirun.openmpi", "--allow-run-as-root", "--oversubscribe", "--bind-to", "none"],
          "mpich": ["mpirun.mpich"]}


def mpirun():
    """The start of a command, for an MPI that this build and this machine have; None without one."""
    for mpi, command in MPIRUN.items():
        leaf = os.path.join(os.environ.get("LOCKSTEP_LIBDIR", ""), f"liblockstep_mpi_{mpi}.so")
        if os.path.exists(leaf) and shutil.which(command[0]):
            return command
    return None


# Its process's clock shows an hour more: a time namespace, which root makes. MPICH's rank, or Open MPI's.
AN_HOUR_AHEAD = """[ "${OMPI_COMM_WORLD_RANK-${PMI_RANK-}}" = 1 ] || exec "$@"
exec unshare --time --monotonic 3600 --fork "$@"
"""


@unittest.skipUnless(mpirun(), "needs a build with MPI, and its mpirun")
class TraceOfProcesses(TraceCase):
    def profile(self, *args, wrapper=(), code=0):
        done = subprocess.run([*mpirun(), "-np", "2", *wrapper, LOCKSTEP, "train", *map(str, JOB), "--devices", "host:2",
                               "--timeout", "20", "--profile", self.path("trace.json"), *map(str, args)],
                              capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60)
        self.assertEqual(done.returncode == 0, code == 0, done.stderr)
        return self.read()

    def check_meetings(self, events, tolerance):
        """An all-reduce ends nowhere before it has begun everywhere."""
        meetings = collections.defaultdict(list)
        for (rank, _), spans in self.rows(events).items():
            for start, end, name, args in spans:
                if name == "all_reduce loss":
                    meetings[args["step"]].append((start, end))
        self.assertEqual(sorted(meetings), list(range(1, 13)))
        for step, spans in meetings.items():
            self.assertEqual(len(spans), 4)
            self.assertLessEqual(max(start for start, _ in spans), min(end for _, end in spans) + tolerance, f"step {step}")

    def test_the_file_has_every_rank_of_every_process(self):
        events = self.profile("--epochs", 3, "--save", self.path("run"))
        rows = self.rows(events)
        self.assertEqual(set(rows), {(rank, tid) for rank in range(4) for tid in STREAMS if tid < 4 or rank == 0})
        for (rank, tid), spans in rows.items():
            self.assertEqual({name for _, _, name, _ in spans}, SPANS[STREAMS[tid]], f"rank {rank}")
        labels = {event["pid"]: event["args"]["labels"] for event in events if event["name"] == "process_labels"}
        self.assertEqual(labels[0], labels[1])
        self.assertEqual(labels[2], labels[3])
        self.assertNotEqual(labels[0], labels[2])

    def test_processes_of_one_machine_have_one_clock(self):
        self.check_meetings(self.profile("--epochs", 3), 0)

    def test_clocks_of_two_machines_are_aligned(self):
        if subprocess.run(["unshare", "--time", "--monotonic", "1", "--fork", "true"], capture_output=True).returncode != 0:
            self.skipTest("needs time namespaces, and root")
        self.check_meetings(self.profile("--epochs", 3, wrapper=("sh", "-c", AN_HOUR_AHEAD, "sh")), 20_000_000)

    def test_of_a_job_that_fails_rank_0s_process_is_left(self):
        os.makedirs(self.path("run/epoch-0002.pt"))
        events = self.profile("--epochs", 3, "--save", self.path("run"), "--save-every", 1, code=1)
        self.assertEqual({rank for rank, _ in self.rows(events)}, {0, 1})


if __name__ == "__main__":
    unittest.main(verbosity=2)
