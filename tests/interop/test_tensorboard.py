# SPDX-License-Identifier: Apache-2.0
"""TensorBoard's own readers find in an event file what `train --json` said: the raw records with their checksums, the
reader of scalars, and what the scalars plugin is served."""
import glob
import math
import time
import unittest

import numpy
from tensorboard import version
from tensorboard.backend.event_processing import plugin_event_accumulator
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.tensorflow_stub import errors
from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import PyRecordReader_New

from program import IRIS, FolderCase, lockstep, train

JOB = ["--model", "mlp:4,8,3", "--data", IRIS, "--batch-size", 32, "--optimizer", "adam", "--scheduler", "step:2,0.5",
       "--devices", "host:2"]
ALL = {"scalars": 0, "tensors": 0}  # keep every value, not a sample of them
STEP = {"train/" + name for name in ("loss", "accuracy", "lr", "samples_per_second", "grad_norm")}
EPOCH = {"epoch/" + name for name in ("loss", "accuracy", "lr", "samples_per_second", "comm_hidden")}
VALIDATION = {"val/loss", "val/accuracy"}


def records(path):
    """What the records of a file hold; the reader compares both checksums of each."""
    reader = PyRecordReader_New(path)
    while True:
        try:
            reader.GetNext()
        except errors.OutOfRangeError:
            return
        yield reader.record()


class Curves(FolderCase):
    def train(self, *args):
        return train(*JOB, *args, "--tensorboard", self.path("tb"))

    def files(self):
        return sorted(glob.glob(self.path("tb/events.out.tfevents.*")))

    def read(self, *, reader=EventAccumulator, **settings):
        accumulator = reader(self.path("tb"), size_guidance=ALL, **settings)
        accumulator.Reload()
        return accumulator

    def scalars(self, **settings):
        """tag -> [(step, value)] as the reader of scalars has them."""
        accumulator = self.read(**settings)
        return {tag: [(scalar.step, scalar.value) for scalar in accumulator.Scalars(tag)]
                for tag in accumulator.Tags()["scalars"]}

    def assert_said(self, found, events, kind, tags):
        """The curves of `tags` are the fields of the events, step by step, rounded to float32."""
        said = [event for event in events if event["event"] == kind]
        self.assertTrue(said)
        for tag, field in tags.items():
            self.assertEqual(found[tag], [(event["global_step"], float(numpy.float32(event[field]))) for event in said], tag)

    def test_values_are_those_of_the_events(self):
        begin = time.time()
        events = self.train("--epochs", 5, "--val-fraction", 0.2)
        found = self.scalars()
        self.assertEqual(set(found), STEP | EPOCH | VALIDATION)
        self.assertEqual(len(found["train/loss"]), 20)
        self.assert_said(found, events, "step", {"train/loss": "loss", "train/lr": "lr"})
        self.assert_said(found, events, "epoch", {"epoch/loss": "loss", "epoch/accuracy": "accuracy", "epoch/lr": "lr",
                                                  "epoch/samples_per_second": "samples_per_second", "val/loss": "val_loss",
                                                  "val/accuracy": "val_accuracy"})
        for tag in ("train/accuracy", "train/samples_per_second"):
            self.assertEqual([step for step, _ in found[tag]], list(range(1, 21)))
        self.assertTrue(all(0 <= value <= 100 for _, value in found["train/accuracy"]))
        self.assertTrue(all(value > 0 for _, value in found["train/samples_per_second"]))
        times = [scalar.wall_time for scalar in self.read().Scalars("train/loss")]
        self.assertEqual(times, sorted(times))
        self.assertTrue(begin <= times[0] and times[-1] <= time.time())

    def test_accuracies_of_steps_make_that_of_the_epoch(self):
        events = self.train("--epochs", 1)
        found = self.scalars()
        sizes = [32, 32, 32, 32, 22]
        correct = sum(value * size / 100 for (_, value), size in zip(found["train/accuracy"], sizes))
        epoch = next(event for event in events if event["event"] == "epoch")
        self.assertAlmostEqual(correct, epoch["accuracy"] * 1.5, places=3)

    def test_records_are_whole_and_begin_with_the_version(self):
        self.train("--epochs", 2)
        (path,) = self.files()
        events = [Event.FromString(record) for record in records(path)]
        self.assertEqual(events[0].file_version, "brain.Event:2")
        self.assertEqual([event.step for event in events[1:]], [1, 2, 3, 4, 5, 5, 6, 7, 8, 9, 10, 10])

    def test_the_reader_of_records_looks_at_checksums(self):
        self.train("--epochs", 1)
        (path,) = self.files()
        with open(path, "r+b") as file:
            file.seek(60)
            byte = file.read(1)[0]
            file.seek(60)
            file.write(bytes([byte ^ 1]))
        with self.assertRaises(errors.DataLossError):
            list(records(path))

    def test_the_scalars_plugin_is_served(self):
        self.train("--epochs", 2)
        scalars = self.scalars()
        accumulator = self.read(reader=plugin_event_accumulator.EventAccumulator)
        self.assertEqual(set(accumulator.PluginTagToContent("scalars")), STEP | EPOCH)
        for tag, wanted in scalars.items():
            self.assertEqual(accumulator.SummaryMetadata(tag).plugin_data.plugin_name, "scalars")
            found = [(event.step, event.tensor_proto.float_val[0]) for event in accumulator.Tensors(tag)]
            self.assertEqual(found, wanted)

    def test_steps_that_a_resumed_job_does_again_count_once(self):
        first = self.train("--epochs", 0, "--max-steps", 13, "--save", self.path("run"), "--save-every-steps", 5)
        second = train("--resume", self.path("run/step-00000005.pt"), "--devices", "host:2", "--epochs", 0, "--max-steps", 16,
                       "--tensorboard", self.path("tb"))
        self.assertEqual(len(self.files()), 2)
        found = self.scalars()
        steps = [event for event in first if event["event"] == "step"][:5]
        self.assert_said(found, steps + second, "step", {"train/loss": "loss", "train/lr": "lr"})
        self.assertEqual([step for step, _ in found["train/loss"]], list(range(1, 17)))

    def test_without_logged_steps_epochs_are_there(self):
        lockstep("train", *JOB, "--epochs", 3, "--tensorboard", self.path("tb"))
        found = self.scalars()
        self.assertEqual(set(found), EPOCH)
        self.assertEqual([step for step, _ in found["epoch/loss"]], [5, 10, 15])

    def test_a_regression_has_no_accuracy(self):
        with open(self.path("line.csv"), "w") as file:
            file.write("x,y\n" + "".join(f"{i},{i / 2}\n" for i in range(40)))
        lockstep("train", "--model", "mlp:1,1", "--data", self.path("line.csv"), "--regression", "--devices", "host",
                 "--epochs", 2, "--val-fraction", 0.25, "--log-every", 1, "--tensorboard", self.path("tb"))
        self.assertEqual(set(self.scalars()), (STEP | EPOCH | VALIDATION) - {"train/accuracy", "epoch/accuracy", "val/accuracy",
                                                                             "epoch/comm_hidden"})  # one device

    def test_a_job_that_diverges_says_so(self):
        self.train("--epochs", 2, "--optimizer", "sgd", "--lr", 1e30)
        self.assertFalse(math.isfinite(self.scalars()["train/loss"][-1][1]))


if __name__ == "__main__":
    print(f"TensorBoard {version.VERSION}")
    unittest.main(verbosity=2)
