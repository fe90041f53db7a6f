"""Tables and plot of ``rtf.py``; results of several runs merged.

Results are a dict: ``runs`` (the conditions of each run) and ``contenders``, a system
run in one way each, with lists of single measurements that name their run.
"""

import statistics

from common import significant
from lafufu_sb.errors import UsageError
from lafufu_sb.evaluation.figures import new_figure
from lafufu_sb.evaluation.tables import markdown_table
from systems import PUBLISHED
from timing import seconds_of

CALLS = (60, 30, 8, 4, 1)
MANY = CALLS[0]  # of the published sampler
BASELINE = "sgmse128"
WAYS = {PUBLISHED: "fp32, as published", "fp32": "fp32", "bf16": "bf16"}
MUST_AGREE = ("device", "threads", "torch", "lafufu_sb", "window_frames", "compile")
SECTIONS = ("latency", "throughput", "end_to_end", "memory")


def empty_contender(system, name, way):
    """A contender without measurements.

    ``latency`` gets parts of one window, a row per round; ``throughput`` parts of
    ``batch`` windows; ``end_to_end`` ``seconds`` with ``calls``; ``memory`` ``bytes``.
    """
    own = {"system": system, "name": name, "way": way, "cost": None}
    return own | {section: [] for section in SECTIONS}


def merge(parts):
    """Join the results of several runs; UsageError if their conditions differ."""
    merged, found = {"runs": [], "contenders": []}, {}
    for part in parts:
        offset = len(merged["runs"])
        merged["runs"] += part["runs"]
        for new in part["contenders"]:
            key = new["system"], new["way"]
            target = found.setdefault(
                key, empty_contender(new["system"], new["name"], new["way"])
            )
            target["cost"] = target["cost"] or new["cost"]
            for section in SECTIONS:
                target[section] += [
                    row | {"run": row["run"] + offset} for row in new[section]
                ]
    merged["contenders"] = list(found.values())
    for name in MUST_AGREE:
        values = {str(run[name]) for run in merged["runs"]}
        if len(values) > 1:
            raise UsageError(
                f"runs differ in {name} ({', '.join(sorted(values))}): give each its "
                "own report"
            )
    return merged


def seconds_per_window(rows, calls):
    """Seconds of a window with so many calls, computed from parts, for each row."""
    return [seconds_of(row, calls) / row.get("batch", 1) for row in rows]


def precision_of(way):
    """Precision of the arithmetic in one of the ways."""
    return "fp32" if way == PUBLISHED else way


class _Tables:
    """The tables of some results."""

    def __init__(self, results):
        self.runs = results["runs"]
        self.run = self.runs[0]
        self.seconds = self.run["window_seconds"]
        systems = list(dict.fromkeys(c["system"] for c in results["contenders"]))
        self.contenders = sorted(
            results["contenders"],
            key=lambda c: (systems.index(c["system"]), list(WAYS).index(c["way"])),
        )
        self.peaks = {}  # precision: the largest FLOP per second of all runs
        for precision, flops in (p for run in self.runs for p in run["peak"].items()):
            self.peaks[precision] = max(flops, self.peaks.get(precision, 0.0))

    def measured(self, section):
        """Contenders with such measurements, and the first cells of their rows."""
        for contender in self.contenders:
            if contender[section]:
                yield contender, [contender["name"], WAYS[contender["way"]]]

    def baseline(self, way):
        """SGMSE+ 128 in one of the ways, or None."""
        same = (
            c for c in self.contenders if (c["system"], c["way"]) == (BASELINE, way)
        )
        return next(same, None)

    def speed_ups(self, contender):
        """Ratios to SGMSE+ 128 as published, and to it in the same way."""
        bases = (self.baseline(way) for way in (PUBLISHED, contender["way"]))
        own = _median(contender["latency"], MANY)
        return [
            _median(base["latency"], MANY) / own if base and base["latency"] else None
            for base in bases
        ]

    def conditions(self):
        run = self.run
        reached = ", ".join(f"{p} {v / 1e9:.0f}" for p, v in self.peaks.items())
        commands = "\n".join(f"    {r['command']}" for r in self.runs)
        compiled = ", compiled" if run["compile"] else ""
        peak = f" Measured peak, GFLOP/s: {reached}." if reached else ""
        return (
            f"{run['device']}, threads: {run['threads']}, torch {run['torch']}"
            f"{compiled}. Windows of {run['window_frames']} frames "
            f"({run['window_seconds']:.2f} s).{peak}\n\n{commands}"
        )

    def cost(self):
        costs = {c["name"]: c["cost"] for c in self.contenders if c["cost"]}
        rows = []
        for name, cost in costs.items():
            sizes = [cost["autoencoder_parameters"], cost["score_parameters"]]
            macs = [cost[f"{part}_macs"] for part in ("encoder", "call", "decoder")]
            outside = macs[0] + macs[2]
            totals = [(outside + n * macs[1]) / self.seconds for n in (MANY, 1)]
            row = [f"{p / 1e6:.2f}" for p in sizes] + [f"{m / 1e9:.1f}" for m in macs]
            rows.append([name, *row, *(f"{m / 1e9:.0f}" for m in totals)])
        heads = ["autoencoder, M", "score network, M", "encoder, GMAC", "call, GMAC"]
        heads += ["decoder, GMAC"]
        heads += [f"GMAC a second, {_calls(n)}" for n in (MANY, 1)]
        return _section("Parameters and cost of a window", ["", *heads], rows)

    def latency(self):
        rows, rounds = [], set()
        for contender, row in self.measured("latency"):
            timed = contender["latency"]
            rounds.add(len(timed))
            row += [_milliseconds(timed, p) for p in ("encoder", "call", "decoder")]
            factors = [v / self.seconds for v in seconds_per_window(timed, MANY)]
            row += [f"{significant(statistics.median(factors))} ({_range(factors)})"]
            row += [significant(_median(timed, n) / self.seconds) for n in CALLS[1:]]
            ratios = self.speed_ups(contender)
            row += [significant(r) if r else "–" for r in ratios]
            rows.append([*row, self.share_of_peak(contender)])
        heads = ["arithmetic", "encoder, ms", "call, ms", "decoder, ms"]
        heads += [f"RTF, {MANY} calls (range)", *(_calls(n) for n in CALLS[1:])]
        heads += ["× SGMSE+ 128 as published", "× in the same way", "share of peak"]
        counts = "–".join(str(n) for n in sorted(rounds)[:: max(1, len(rounds) - 1)])
        title = (
            "Time of a window, batch 1: parts measured inside `restore` (medians over "
            f"{counts} rounds); real-time factors and ratios **computed** from all "
            "parts"
        )
        return _section(title, ["", *heads], rows)

    def share_of_peak(self, contender):
        peak = self.peaks.get(precision_of(contender["way"]))
        if not contender["cost"] or not peak:
            return "–"
        call = statistics.median(row["call"] for row in contender["latency"])
        return f"{100 * 2 * contender['cost']['call_macs'] / call / peak:.0f} %"

    def end_to_end(self):
        rows, base = [], _by_calls(self.baseline(PUBLISHED))
        for contender, start in self.measured("end_to_end"):
            for calls, taken in _by_calls(contender).items():
                measured = statistics.median(taken)
                computed = _median(contender["latency"], calls)
                row = [str(calls), f"{significant(measured)} ({_range(taken)})"]
                row += [significant(computed), f"{measured / computed:.2f}"]
                row += [significant(measured / self.seconds)]
                theirs = base.get(calls)
                ratio = statistics.median(theirs) / measured if theirs else None
                rows.append([*start, *row, significant(ratio) if ratio else "–"])
        heads = ["arithmetic", "calls", "measured, s (range)", "computed, s"]
        heads += ["measured / computed", "RTF", "× SGMSE+ 128 as published"]
        title = (
            "The whole of `restore` on one window, **measured**, beside the computation"
        )
        return _section(title, ["", *heads], rows)

    def throughput(self):
        rows = []
        for contender, row in self.measured("throughput"):
            batches = {}
            for timed in contender["throughput"]:
                batches.setdefault(timed["batch"], []).append(timed)
            for calls in (MANY, 1):
                taken = {
                    batch: _median(rows_, calls) for batch, rows_ in batches.items()
                }
                best = min(taken, key=taken.get)
                row += [str(best), significant(self.seconds / taken[best])]
                row += [f"{taken[1] / taken[best]:.2f}"]
            rows.append([*row, ", ".join(str(batch) for batch in batches)])
        heads = ["arithmetic"]
        for calls in (MANY, 1):
            heads += ["best batch", f"seconds a second, {_calls(calls)}", "× batch 1"]
        title = (
            "Throughput: seconds of audio restored in a second with the best batch of "
            "windows, computed from parts"
        )
        return _section(title, ["", *heads, "batches tried"], rows)

    def memory(self):
        rows = [
            [*row, f"{statistics.median(m['bytes'] for m in c['memory']) / 1e6:.0f}"]
            for c, row in self.measured("memory")
        ]
        title = (
            "Peak memory of restoring one window: the process on a CPU, the allocator "
            "on an accelerator"
        )
        return _section(title, ["", "arithmetic", "peak memory, MB"], rows)


def write_tables(results):
    """All tables of one run, or of merged ones, as Markdown."""
    tables = _Tables(results)
    sections = [tables.conditions(), tables.cost()]
    sections += [tables.latency(), tables.end_to_end(), tables.throughput()]
    return "\n\n".join(filter(None, [*sections, tables.memory()]))


def _section(title, heads, rows):
    return f"{title}\n\n{markdown_table(heads, rows)}" if rows else ""


def _median(rows, calls):
    return statistics.median(seconds_per_window(rows, calls))


def _calls(number):
    return f"{number} call{'s' * (number > 1)}"


def _milliseconds(rows, part):
    taken = 1e3 * statistics.median(row[part] for row in rows)
    return significant(taken) if taken >= 1 else "< 1"


def _range(values):
    return f"{significant(min(values))}–{significant(max(values))}"


def _by_calls(contender):
    """{calls: [measured seconds]}, many calls first."""
    taken = {}
    for row in contender["end_to_end"] if contender else ():
        taken.setdefault(row["calls"], []).append(row["seconds"])
    return dict(sorted(taken.items(), reverse=True))


def draw(results):
    """Real-time factors of all contenders, a row each, on a logarithmic scale."""
    tables = _Tables(results)
    shown = [contender for contender, _ in tables.measured("latency")][::-1]
    figure = new_figure(8, 1.5 + 0.35 * len(shown))
    axes = figure.subplots()
    for calls, marker in zip(CALLS, "osD^v", strict=True):
        factors = [_median(c["latency"], calls) / tables.seconds for c in shown]
        axes.plot(factors, range(len(shown)), marker, label=_calls(calls))
    labels = [f"{c['name'].strip('`')}, {WAYS[c['way']]}" for c in shown]
    axes.set_yticks(range(len(shown)), labels)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.axvline(1.0, color="grey", linewidth=1)
    axes.set_xlabel("real-time factor (left of the line: faster than real time)")
    axes.set_title(tables.run["device"], fontsize="medium")
    axes.grid(axis="x", alpha=0.4)
    figure.legend(loc="outside right upper", fontsize="small")
    return figure
