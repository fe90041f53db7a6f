"""Speed of SGMSE+, LAFUFU and the shipped models, side by side in one run.

    python benchmarks/rtf.py                                # everything: long on a CPU
    python benchmarks/rtf.py --quick                        # a look
    python benchmarks/rtf.py --device cuda --end-to-end 60 1
    python benchmarks/rtf.py --systems sgmse128 lafufu128 --measure latency -o a
    python benchmarks/rtf.py --merge a.json b.json -o both  # slices into one report

All systems are timed in turn, round after round, so that whatever else the machine
does falls on all of them alike. Writes JSON (everything), Markdown and a plot. What is
computed from measured parts, and not measured as a whole, the tables call computed.
"""

import argparse
import json
import sys
import time
from pathlib import Path

import torch

from common import (
    add_output_arguments,
    describe_run,
    publish,
    run_alone,
    write_json,
)
from report import (
    MANY,
    WAYS,
    draw,
    empty_contender,
    merge,
    precision_of,
    seconds_per_window,
    write_tables,
)
from systems import PUBLISHED, find_system, known_systems
from timing import (
    count_cost,
    measure_memory,
    measure_peak,
    time_parts,
    time_whole,
    warm_up,
)

MEASURES = ("cost", "peak", "latency", "throughput", "memory")
QUICK = ("sgmse64", "lafufu128", "lafufu_mini_wham")


class Contender:
    """A system run in one way: its restorer, built once, and its results."""

    def __init__(self, system, way, options):
        self.system, self.way = system, way
        self.results = empty_contender(system.key, system.name, way)
        self._options = options
        self._restorer = None

    def __str__(self):
        return f"{self.system.key} {self.way}"

    @property
    def restorer(self):
        """On its device; built when it is first asked for."""
        if self._restorer is None:
            self._restorer = self.build(self._options.device, self._options.compile)
        return self._restorer

    def build(self, device, compiled=False):
        """Build the restorer anew."""
        frames = self._options.window_frames
        return self.system.build(self.way, frames, device, compiled)

    def add(self, section, **row):
        """Keep one measurement."""
        self.results[section].append(row | {"run": 0})


class Benchmark:
    """One run: contenders, what is measured of them, and the file that keeps it.

    Arguments
    ---------
    options : argparse.Namespace
        See ``parse_arguments``.
    systems : list of System, optional
        By default those that the options name.
    """

    def __init__(self, options, systems=None):
        self.options = options
        self.device = torch.device(options.device)
        systems = systems or [find_system(name) for name in options.systems]
        self.contenders = [
            Contender(system, way, options)
            for system in systems
            for way in options.precision
            if system.full_band or way != PUBLISHED
        ]
        if not self.contenders:
            raise ValueError("only SGMSE+ can be measured as published")
        self.run = describe_run(self.device) | {
            "window_frames": options.window_frames,
            "window_seconds": seconds_of_window(systems, options.window_frames),
            "compile": options.compile,
            "peak": {},
        }

    @property
    def results(self):
        """As ``report`` takes them."""
        return {
            "runs": [self.run],
            "contenders": [contender.results for contender in self.contenders],
        }

    def measure(self):
        """Measure all that was asked for; what there is stays if a run is stopped."""
        for name in self.options.measure:
            getattr(self, f"measure_{name}")()
            self._keep()
        return self.results

    def _keep(self):
        write_json(self.options.output, self.results)

    def measure_cost(self):
        """Parameters and multiply-accumulates: the same whatever way a system runs."""
        counted = {}
        for contender in self.contenders:
            key = contender.system.key
            if key not in counted:
                counted[key] = count_cost(contender.build("cpu"))
            contender.results["cost"] = counted[key]

    def measure_peak(self):
        """Largest arithmetic rate in the precisions of the contenders."""
        precisions = {precision_of(contender.way) for contender in self.contenders}
        for precision in sorted(precisions):
            say("peak", precision)
            self.run["peak"][precision] = measure_peak(self.device, precision)

    def measure_latency(self):
        """Parts of one window, and the whole of ``restore`` beside them, in turn."""
        for contender in self.contenders if self.options.warm_up else ():
            say("warming up", contender)
            warm_up(contender.restorer)
        for number in range(self.options.rounds):
            began = time.monotonic()
            for contender in self.contenders:
                say("round", number + 1, contender)
                self._measure_once(contender)
                self._keep()
            if 2 * time.monotonic() - began > self.options.deadline:
                break  # another round like this one would not be over in time

    def _measure_once(self, contender):
        contender.add("latency", **time_parts(contender.restorer))
        for calls in self.options.end_to_end:
            seconds = time_whole(contender.restorer, calls)
            contender.add("end_to_end", calls=calls, seconds=seconds)

    def measure_throughput(self):
        """Batches of 1, 2, 4, ... windows until one is no faster or does not fit."""
        for contender in self.contenders:
            best, batch = float("inf"), 1
            while batch <= self.options.max_batch:
                say("batch", batch, contender)
                try:
                    rows = self._time_batch(contender.restorer, batch)
                except torch.OutOfMemoryError:
                    break
                for row in rows:
                    contender.add("throughput", **row)
                fastest = min(seconds_per_window(rows, MANY))
                if fastest >= best:
                    break
                best, batch = fastest, 2 * batch
            self._keep()

    def _time_batch(self, restorer, batch):
        warm_up(restorer, batch)
        rounds = range(self.options.rounds)
        return [time_parts(restorer, batch) | {"batch": batch} for _ in rounds]

    def measure_memory(self):
        """Peak memory of one window; on a CPU each in a process of its own."""
        for contender in self.contenders:
            say("memory", contender)
            if self.device.type == "cpu":
                contender.add("memory", **self._memory_alone(contender))
            else:
                contender.add("memory", bytes=measure_memory(contender.restorer))

    def _memory_alone(self, contender):
        return run_alone(
            Path(__file__).with_name("peak.py"),
            *(contender.system.key, contender.way),
            *("--threads", torch.get_num_threads()),
            *("--window-frames", self.options.window_frames),
        )


def say(*words):
    """Progress, beside the tables."""
    print(*words, file=sys.stderr, flush=True)


def seconds_of_window(systems, window_frames):
    """Seconds of a window, which all systems must share."""
    seconds = {system.window_seconds(window_frames) for system in systems}
    if len(seconds) > 1:
        raise ValueError(f"windows differ ({sorted(seconds)} s): nothing to compare")
    return seconds.pop()


def parse_arguments(arguments=None):
    """Command line, with the defaults that depend on the device."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = list(known_systems())
    parser.add_argument(
        "--systems",
        nargs="+",
        default=names,
        metavar="NAME",
        help="of " + "%(default)s, or model folders",
    )
    parser.add_argument(
        "--precision",
        nargs="+",
        choices=list(WAYS),
        default=list(WAYS),
        help="published: SGMSE+ in float32 and the default memory format",
    )
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--no-warm-up",
        dest="warm_up",
        action="store_false",
        help="with latency: for systems whose first call is as slow as the others",
    )
    parser.add_argument(
        "--time-limit",
        type=float,
        default=float("inf"),
        metavar="SECONDS",
        help="start no round of latency that would not be over by then",
    )
    parser.add_argument("--window-frames", type=int, default=256)
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--measure", nargs="*", choices=MEASURES, default=MEASURES)
    parser.add_argument("--max-batch", type=int, help="by default 8 on a CPU, else 64")
    parser.add_argument(
        "--end-to-end",
        nargs="+",
        type=int,
        default=(),
        metavar="CALLS",
        help="with latency: really restore with so many calls, beside the computation",
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help=f"one round of {', '.join(QUICK)}; no throughput, no memory",
    )
    parser.add_argument(
        "--merge", nargs="+", type=Path, metavar="JSON", help="measure nothing, join"
    )
    add_output_arguments(parser, "rtf")
    options = parser.parse_args(arguments)
    if options.quick:
        options.rounds, options.measure = 1, MEASURES[:3]
        if options.systems == names:
            options.systems = list(QUICK)
    options.deadline = time.monotonic() + options.time_limit
    if options.max_batch is None:
        options.max_batch = 8 if options.device == "cpu" else 64
    return options


def main():
    """Measure or merge, then write."""
    options = parse_arguments()
    torch.set_num_threads(options.threads)
    if options.merge:
        results = merge([json.loads(path.read_text()) for path in options.merge])
    else:
        results = Benchmark(options).measure()
    publish(options, results, write_tables(results), draw(results))


if __name__ == "__main__":
    main()
