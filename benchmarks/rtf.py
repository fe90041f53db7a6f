"""Speed of SGMSE+, LAFUFU and the shipped models, side by side in one run.

    python benchmarks/rtf.py                                # everything: long on a CPU
    python benchmarks/rtf.py --quick                        # a first look
    python benchmarks/rtf.py --device cuda --end-to-end 60 1
    python benchmarks/rtf.py --systems sgmse128 lafufu128 --measure latency -o a
    python benchmarks/rtf.py --merge a.json b.json -o both  # slices into one report

All systems are timed in turn, round after round, so that other load on the machine
affects them alike. Writes JSON (everything), Markdown and a plot. Numbers that are
computed from measured parts are called computed in the tables.
"""

import json
import sys
import time
from pathlib import Path

import torch

import rtf_tables as tables
import timing
from common import bench_parser, describe_run, publish, run_alone, write_json
from lafufu_sb.errors import UsageError
from lafufu_sb.restoration.devices import peak_rss
from systems import PUBLISHED, find_system, known_systems

MEASURES = ("cost", "peak", "latency", "throughput", "memory")
QUICK = ("sgmse64", "lafufu128", "denoise_small")


class Contender:
    """A system run in one way: its restorer, built once, and its results."""

    def __init__(self, system, way, options):
        self.system, self.way, self.options = system, way, options
        self.results = tables.empty_contender(system.key, system.name, way)
        self._restorer = None

    @property
    def restorer(self):
        """Built on first use, on the device of the run."""
        if self._restorer is None:
            options = self.options
            self._restorer = self.system.build(
                self.way, options.window_frames, options.device, options.compile
            )
        return self._restorer

    def add(self, section, **row):
        """Keep one measurement."""
        self.results[section].append(row | {"run": 0})


class Benchmark:
    """One run: contenders, their measurements, and the file that keeps them."""

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
            raise UsageError("only SGMSE+ can be measured as published")
        seconds = {s.window_seconds(options.window_frames) for s in systems}
        if len(seconds) > 1:
            raise UsageError(f"windows differ ({sorted(seconds)} s): not comparable")
        self.run = describe_run(self.device) | {
            "window_frames": options.window_frames,
            "window_seconds": seconds.pop(),
            "compile": options.compile,
            "peak": {},
        }

    @property
    def results(self):
        """As ``rtf_tables`` takes them."""
        contenders = [contender.results for contender in self.contenders]
        return {"runs": [self.run], "contenders": contenders}

    def measure(self):
        """Measure what the options ask for; an interrupted run leaves its results."""
        for name in self.options.measure:
            for progress in getattr(self, f"measure_{name}")():
                print(name, *progress, file=sys.stderr, flush=True)
                write_json(self.options.output, self.results)
        return self.results

    def measure_cost(self):
        """Parameters and multiply-accumulates, the same for all ways of a system."""
        counted = {}
        for contender in self.contenders:
            key = contender.system.key
            if key not in counted:
                frames = self.options.window_frames
                counted[key] = timing.count_cost(contender.system.build("fp32", frames))
            contender.results["cost"] = counted[key]
            yield key, contender.way

    def measure_peak(self):
        """Largest arithmetic rate in the precisions of the contenders."""
        for precision in sorted({tables.precision_of(c.way) for c in self.contenders}):
            self.run["peak"][precision] = timing.measure_peak(self.device, precision)
            yield (precision,)

    def measure_latency(self):
        """Parts of one window, and the whole of ``restore`` where asked, in turn."""
        for contender in self.contenders if self.options.warm_up else ():
            timing.warm_up(contender.restorer)
        for number in range(self.options.rounds):
            start = time.monotonic()
            for contender in self.contenders:
                contender.add("latency", **timing.time_parts(contender.restorer))
                for calls in self.options.end_to_end:
                    seconds = timing.time_whole(contender.restorer, calls)
                    contender.add("end_to_end", calls=calls, seconds=seconds)
                yield "round", number + 1, contender.system.key, contender.way
            if 2 * time.monotonic() - start > self.options.deadline:
                break  # another round would end too late

    def measure_throughput(self):
        """Batches of 1, 2, 4, ... windows until one is no faster or does not fit."""
        for contender in self.contenders:
            best, batch = float("inf"), 1
            while batch <= self.options.max_batch:
                try:
                    timing.warm_up(contender.restorer, batch)
                    rows = [
                        timing.time_parts(contender.restorer, batch) | {"batch": batch}
                        for _ in range(self.options.rounds)
                    ]
                except torch.OutOfMemoryError:
                    break
                for row in rows:
                    contender.add("throughput", **row)
                yield contender.system.key, contender.way, "batch", batch
                fastest = min(tables.seconds_per_window(rows, tables.MANY))
                if fastest >= best:
                    break
                best, batch = fastest, 2 * batch

    def measure_memory(self):
        """Peak memory of one window; on a CPU each in a process of its own."""
        for contender in self.contenders:
            key, way, options = contender.system.key, contender.way, self.options
            if self.device.type == "cpu":
                alone = ["--alone", key, way, "--threads", torch.get_num_threads()]
                alone += ["--window-frames", options.window_frames]
                contender.add("memory", **run_alone(Path(__file__), *alone))
            else:
                contender.add("memory", bytes=timing.measure_memory(contender.restorer))
            yield key, way


def parse_arguments(arguments=None):
    """Command line, with the defaults that depend on the device."""
    parser = bench_parser(__doc__, "rtf")
    names = list(known_systems())
    ways, add = list(tables.WAYS), parser.add_argument
    add("--systems", nargs="+", default=names, help=f"{', '.join(names)}, or folders")
    add("--precision", nargs="+", choices=ways, default=ways)
    add("--device", default="cpu")
    add("--rounds", type=int, default=5)
    add("--no-warm-up", dest="warm_up", action="store_false")
    add("--time-limit", type=float, default=float("inf"), help="seconds of latency")
    add("--window-frames", type=int, default=256)
    add("--compile", action="store_true")
    add("--measure", nargs="*", choices=MEASURES, default=MEASURES)
    add("--max-batch", type=int, help="by default 8 on a CPU, else 64")
    add("--end-to-end", nargs="+", type=int, default=(), help="calls, with latency")
    add("--quick", action="store_true", help=f"one round of {', '.join(QUICK)}")
    add("--merge", nargs="+", type=Path, help="join these JSON files")
    add("--alone", nargs=2, help="print the peak memory of a system and way")
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
    if options.alone:
        empty, (key, way) = peak_rss(), options.alone
        peak = timing.measure_memory(find_system(key).build(way, options.window_frames))
        print(json.dumps({"bytes": peak, "empty_process": empty}))
        return
    if options.merge:
        results = tables.merge([json.loads(path.read_text()) for path in options.merge])
    else:
        results = Benchmark(options).measure()
    publish(options, results, tables.write_tables(results), tables.draw(results))


if __name__ == "__main__":
    main()
