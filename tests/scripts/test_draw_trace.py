# SPDX-License-Identifier: Apache-2.0
"""scripts/draw_trace: what is in the picture of a trace, and what is said of one that cannot be drawn."""
import json
import os
import subprocess
import tempfile
import unittest
import xml.etree.ElementTree as ElementTree

LOCKSTEP = os.environ["LOCKSTEP"]
DATA = os.environ["TEST_DATA"]
SCRIPT = os.path.join(DATA, "../../scripts/draw_trace")


def meta(pid, tid, kind, name):
    return {"ph": "M", "pid": pid, "tid": tid, "name": kind, "ts": 0, "args": {"name": name}}


def span(pid, tid, name, ts, dur, step):
    return {"ph": "X", "pid": pid, "tid": tid, "name": name, "ts": ts, "dur": dur, "args": {"step": step, "bytes": 12}}


# Two ranks, three steps of a millisecond; a layer in each forward.
EVENTS = [meta(rank, tid, kind, name) for rank in (0, 1) for tid, kind, name in
          ((1, "process_name", f"rank {rank}"), (1, "thread_name", "compute"), (2, "thread_name", "comm"))]
for step in (1, 2, 3):
    for rank in (0, 1):
        at = 1000.0 * step
        EVENTS += [span(rank, 1, "layer 0 <Linear> forward", at + 10, 300, step), span(rank, 1, "forward", at, 400, step),
                   span(rank, 1, "backward", at + 400, 500, step), span(rank, 2, "bucket 0 all_reduce", at + 600, 350.5, step)]


class Draws(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="lockstep-draw-")
        self.addCleanup(folder.cleanup)
        self.trace, self.out = os.path.join(folder.name, "trace.json"), os.path.join(folder.name, "trace.svg")
        self.write({"displayTimeUnit": "ms", "traceEvents": EVENTS})

    def write(self, value):
        with open(self.trace, "w") as file:
            json.dump(value, file)

    def run_script(self, *args):
        return subprocess.run([SCRIPT, self.trace, self.out, *args], capture_output=True, text=True)

    def draw(self, *args):
        """The elements of the picture, by tag."""
        done = self.run_script(*args)
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "", ""))
        root = ElementTree.parse(self.out).getroot()
        return {tag: [element for element in root if element.tag.endswith("}" + tag)] for tag in ("rect", "text", "line")}

    def boxes(self, picture):
        """title -> (x, y, width) of each."""
        return [(rect[0].text, float(rect.get("x")), float(rect.get("y")), float(rect.get("width")))
                for rect in picture["rect"] if rect.get("class") in ("span", "thin")]

    def texts(self, picture):
        return [text.text for text in picture["text"]]

    def refuses(self, sentence, *args, code=1):
        done = self.run_script(*args)
        self.assertEqual((done.returncode, done.stdout), (code, ""))
        self.assertIn(sentence, done.stderr)
        self.assertNotIn("Traceback", done.stderr)
        self.assertFalse(os.path.exists(self.out))

    def test_every_span_is_a_box(self):
        picture = self.draw()
        boxes = self.boxes(picture)
        self.assertEqual(len(boxes), 24)
        self.assertEqual(boxes.count(boxes[0]), 1)
        self.assertIn("bucket 0 all_reduce: 350 µs, step 3, bytes 12", [title for title, *_ in boxes])
        for wanted in ("rank 0", "rank 1", "compute", "comm", "step 1", "step 3", "forward", "backward", "all_reduce: sums over all ranks",
                       "time, ms"):
            self.assertIn(wanted, self.texts(picture))
        self.assertNotIn("optimizer", self.texts(picture))

    def test_what_lies_in_another_span_is_below_it(self):
        boxes = self.boxes(self.draw())
        forward = next(box for box in boxes if box[0].startswith("forward"))
        layer = next(box for box in boxes if box[0].startswith("layer 0"))
        backward = next(box for box in boxes if box[0].startswith("backward"))
        self.assertGreater(layer[2], forward[2])
        self.assertEqual(backward[2], forward[2])
        self.assertTrue(forward[1] < layer[1] and layer[1] + layer[3] < forward[1] + forward[3])
        self.assertAlmostEqual(layer[3] / forward[3], 300 / 400, places=2)

    def test_steps_choose_a_window(self):
        picture = self.draw("--steps", "2")
        self.assertEqual(len(self.boxes(picture)), 8)
        self.assertIn("step 2", self.texts(picture))
        self.assertNotIn("step 1", self.texts(picture))
        self.assertEqual(len(self.boxes(self.draw("--steps", "2-3"))), 16)

    def test_times_choose_a_window_and_cut_spans(self):
        boxes = self.boxes(self.draw("--from", "2.2", "--to", "2.5", "--width", "800"))
        self.assertEqual(sorted({title.split(":")[0] for title, *_ in boxes}),
                         ["backward", "forward", "layer 0 <Linear> forward"])
        self.assertTrue(all(x >= 120 and x + width <= 784.01 for _, x, _, width in boxes))

    def test_a_label_has_what_the_colour_does_not_say(self):
        texts = self.texts(self.draw("--steps", "2"))
        self.assertIn("layer 0 <Linear>", texts)  # a "layer 0 <Linear> forward", below a "forward"
        self.assertNotIn("layer 0 <Linear> forward", texts)

    def test_a_label_that_is_too_long_is_its_number_or_beside_the_box(self):
        def label(length, following):
            self.write({"traceEvents": [span(0, 2, "bucket 3 reduce", 0, length, 1), span(0, 2, "wait", following, 1000 - following, 1)]})
            picture = self.draw()
            box = next(box for box in self.boxes(picture) if box[0].startswith("bucket"))
            texts = [text for text in picture["text"] if text.text in ("bucket 3", "3")]
            return [(text.text, box[1] < float(text.get("x")) < box[1] + box[3]) for text in texts]
        self.assertEqual(label(500, 500), [("bucket 3", True)])
        self.assertEqual(label(20, 500), [("bucket 3", False)])
        self.assertEqual(label(20, 20), [("3", True)])
        self.assertEqual(label(1, 500), [])

    def test_spans_of_other_steps_are_left_out(self):
        self.write({"traceEvents": [*EVENTS, span(1, 2, "late", 1990, 20, 1)]})  # reaches into step 2
        self.assertNotIn("late", [title.split(":")[0] for title, *_ in self.boxes(self.draw("--steps", "2"))])

    def test_a_title_stands_above(self):
        above = {text.text: float(text.get("y")) for text in self.draw("--title", "two <replicas>")["text"]}
        self.assertLess(above["two <replicas>"], above["step 1"])

    def test_spans_too_narrow_to_see_melt_together(self):
        self.write({"traceEvents": [span(0, 1, "forward", i, 0.5, i) for i in range(20000)]})
        self.assertLess(len(self.boxes(self.draw())), 4000)

    def test_it_says_what_was_not_recorded(self):
        lost = {"ph": "i", "pid": 0, "tid": 1, "name": "dropped", "ts": 4000, "s": "t", "args": {"spans": 77}}
        self.write({"traceEvents": [*EVENTS, lost]})
        self.assertIn("77 later spans were not recorded", self.texts(self.draw()))

    def test_it_draws_what_a_job_writes(self):
        job = ["--model", "mlp:4,8,3", "--data", os.path.join(DATA, "iris.csv"), "--devices", "host:2", "--epochs", "2"]
        subprocess.run([LOCKSTEP, "train", *job, "--profile", self.trace], check=True, capture_output=True)
        names = {title.split(":")[0] for title, *_ in self.boxes(self.draw("--steps", "6-7"))}
        self.assertLessEqual({"loader", "3 Linear forward", "backward", "bucket 0 reduce", "finish"}, names)

    def test_refusals(self):
        self.refuses("has no spans of steps 7 to 9", "--steps", "7-9")
        self.refuses("there are no spans between 90 and 95 ms", "--from", "90", "--to", "95")
        self.refuses("there is no time between 3 and 2 ms", "--from", "3", "--to", "2")
        self.refuses("wants a step or steps", "--steps", "some", code=2)
        self.write({"traceEvents": []})
        self.refuses("has no spans")
        for wrong in ([1, 2], {"traceEvents": 3}, {"traceEvents": [{"name": "no phase"}]},
                      {"traceEvents": [{"ph": "X", "pid": 0, "tid": 1, "name": "no time"}]}):
            self.write(wrong)
            self.refuses("is not a trace")
        os.remove(self.trace)
        self.refuses("trace.json': No such file or directory")


if __name__ == "__main__":
    unittest.main(verbosity=2)
