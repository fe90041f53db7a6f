"""From what ``rtf.py`` measured to tables and a plot; files of several runs into one.

Results are a dict: ``runs`` (what each run was made on) and ``contenders``, a system
run in one way each, with lists of single measurements that name their run.
"""

import statistics

from common import significant
from lafufu_sb.evaluation.tables import markdown_table
from systems import PUBLISHED
from timing import seconds_of

CALLS = (60, 30, 8, 4, 1)
MANY = CALLS[0]  # of the published sampler, and of the headline
BASELINE = ("sgmse128", PUBLISHED)
WAYS = {PUBLISHED: "fp32, as published", "fp32": "fp32", "bf16": "bf16"}
MUST_AGREE = ("device", "threads", "torch", "lafufu_sb", "window_frames", "compile")


def merge(parts):
    """Join the results of several runs; repeated measurements add to each other.

    Arguments
    ---------
    parts : list of dict
        Results.

    Returns
    -------
    dict
        Results.

    Raises
    ------
    ValueError
        If the runs were not made under the same conditions.
    """
    merged = {"runs": [], "contenders": []}
    for part in parts:
        offset = len(merged["runs"])
        merged["runs"] += part["runs"]
        for contender in part["contenders"]:
            _add_contender(merged["contenders"], contender, offset)
    for name in MUST_AGREE:
        values = {str(run[name]) for run in merged["runs"]}
        if len(values) > 1:
            raise ValueError(
                f"runs differ in {name} ({', '.join(sorted(values))}): give each its "
                "own report"
            )
    return merged


def _add_contender(contenders, new, offset):
    def shifted(rows):
        return [row | {"run": row["run"] + offset} for row in rows]

    same = (c for c in contenders if identity(c) == identity(new))
    target = next(same, None)
    if target is None:
        target = empty_contender(new["system"], new["name"], new["way"])
        contenders.append(target)
    target["cost"] = target["cost"] or new["cost"]
    for section in ("latency", "throughput", "end_to_end", "memory"):
        target[section] += shifted(new[section])


def empty_contender(system, name, way):
    """A contender of which nothing was measured yet."""
    return {
        "system": system,
        "name": name,
        "way": way,
        "cost": None,
        "latency": [],  # parts of one window, a row a round
        "throughput": [],  # parts of ``batch`` windows
        "end_to_end": [],  # ``seconds`` with ``calls``
        "memory": [],  # ``bytes``
    }


def identity(contender):
    """(system, way)."""
    return contender["system"], contender["way"]


def seconds_per_window(rows, calls):
    """Seconds of a window with so many calls, computed from parts, a number a row."""
    return [seconds_of(row, calls) / row.get("batch", 1) for row in rows]


def write_tables(results):
    """All tables with a headline, as Markdown.

    Arguments
    ---------
    results : dict
        Of one run, or merged.

    Returns
    -------
    str
    """
    contenders = sorted_contenders(results)
    sections = [
        _conditions(results),
        _headline(results, contenders),
        _cost_table(results, contenders),
        _latency_table(results, contenders),
        _end_to_end_table(results, contenders),
        _throughput_table(results, contenders),
        _memory_table(contenders),
    ]
    return "\n\n".join(section for section in sections if section)


def sorted_contenders(results):
    """Contenders by system, in order of appearance, and by way."""
    systems = list(dict.fromkeys(c["system"] for c in results["contenders"]))
    ways = list(WAYS)
    return sorted(
        results["contenders"],
        key=lambda c: (systems.index(c["system"]), ways.index(c["way"])),
    )


def _conditions(results):
    run = results["runs"][0]
    peaks = peaks_of(results)
    reached = ", ".join(f"{p} {flops / 1e9:.0f}" for p, flops in peaks.items())
    commands = "\n".join(f"    {r['command']}" for r in results["runs"])
    compiled = ", compiled" if run["compile"] else ""
    return (
        f"{run['device']}, threads: {run['threads']}, torch {run['torch']}{compiled}. "
        f"Windows of {run['window_frames']} frames ({run['window_seconds']:.2f} s)."
        + (f" Measured peak, GFLOP/s: {reached}." if reached else "")
        + f"\n\n{commands}"
    )


def _headline(results, contenders):
    rows = []
    for contender in contenders:
        if contender["system"] == "lafufu128" and contender["latency"]:
            published, same = _speed_ups(contenders, contender)
            if published:
                text = f"{significant(published)} times as fast as SGMSE+ 128 as "
                text += f"published, {significant(same)} times" if same else "published"
                text += f" SGMSE+ 128 in {contender['way']}" if same else ""
                rows.append(f"LAFUFU 128 in {contender['way']} is {text}")
    if not rows:
        return ""
    return f"**At {MANY} calls, one window: {'; '.join(rows)}** (computed from parts)."


def _speed_ups(contenders, contender):
    """How much faster than SGMSE+ 128 as published, and than it in the same way."""
    own = contender["latency"]
    ratios = []
    for way in (PUBLISHED, contender["way"]):
        base = [c for c in contenders if identity(c) == (BASELINE[0], way)]
        rows = base[0]["latency"] if base else []
        ratios.append(_median(rows, MANY) / _median(own, MANY) if rows else None)
    return ratios


def _median(rows, calls):
    return statistics.median(seconds_per_window(rows, calls))


def _cost_table(results, contenders):
    seconds = results["runs"][0]["window_seconds"]
    costs = {c["name"]: c["cost"] for c in contenders if c["cost"]}
    if not costs:
        return ""
    rows = []
    for name, cost in costs.items():
        outside = cost["encoder_macs"] + cost["decoder_macs"]
        macs = [cost["encoder_macs"], cost["call_macs"], cost["decoder_macs"]]
        parameters = [cost["autoencoder_parameters"], cost["score_parameters"]]
        per_second = [(outside + n * cost["call_macs"]) / seconds for n in (MANY, 1)]
        row = [f"{p / 1e6:.2f}" for p in parameters] + [f"{m / 1e9:.1f}" for m in macs]
        rows.append([name, *row, *(f"{m / 1e9:.0f}" for m in per_second)])
    header = ["", "autoencoder, M", "score network, M", "encoder, GMAC"]
    header += ["call, GMAC", "decoder, GMAC"]
    header += [f"GMAC a second, {n} call{'s' * (n > 1)}" for n in (MANY, 1)]
    return f"Parameters and cost of a window\n\n{markdown_table(header, rows)}"


def _latency_table(results, contenders):
    seconds = results["runs"][0]["window_seconds"]
    rows = []
    for contender in contenders:
        timed = contender["latency"]
        if not timed:
            continue
        parts = ("encoder", "call", "decoder")
        row = [contender["name"], WAYS[contender["way"]]]
        row += [_milliseconds(timed, part) for part in parts]
        factors = [v / seconds for v in seconds_per_window(timed, MANY)]
        row += [f"{significant(statistics.median(factors))} ({_range(factors)})"]
        row += [significant(_median(timed, n) / seconds) for n in CALLS[1:]]
        row += [significant(r) if r else "–" for r in _speed_ups(contenders, contender)]
        rows.append([*row, _share_of_peak(results, contender)])
    if not rows:
        return ""
    header = ["", "arithmetic", "encoder, ms", "call, ms", "decoder, ms"]
    header += [f"RTF, {MANY} calls (range)"]
    header += [f"{n} call{'s' * (n > 1)}" for n in CALLS[1:]]
    header += ["× SGMSE+ 128 as published", "× in the same way", "share of peak"]
    counts = sorted({len(c["latency"]) for c in contenders if c["latency"]})
    return (
        "Time of a window, batch 1: parts measured inside `restore` (medians over "
        f"{'–'.join(str(n) for n in dict.fromkeys((counts[0], counts[-1])))} rounds); "
        "real-time factors and ratios **computed** from "
        f"all parts\n\n{markdown_table(header, rows)}"
    )


def _milliseconds(rows, part):
    taken = 1e3 * statistics.median(row[part] for row in rows)
    return significant(taken) if taken >= 1 else "< 1"


def _range(values):
    return f"{significant(min(values))}–{significant(max(values))}"


def _share_of_peak(results, contender):
    peak = peaks_of(results).get(precision_of(contender["way"]))
    if not contender["cost"] or not peak:
        return "–"
    call = statistics.median(row["call"] for row in contender["latency"])
    return f"{100 * 2 * contender['cost']['call_macs'] / call / peak:.0f} %"


def peaks_of(results):
    """{precision: FLOP per second}, the largest of all runs."""
    peaks = {}
    for precision, flops in (p for r in results["runs"] for p in r["peak"].items()):
        peaks[precision] = max(flops, peaks.get(precision, 0.0))
    return peaks


def precision_of(way):
    """Precision of the arithmetic in one of the ways."""
    return "fp32" if way == PUBLISHED else way


def _end_to_end_table(results, contenders):
    seconds = results["runs"][0]["window_seconds"]
    rows = []
    for contender in contenders:
        for calls, taken in end_to_end(contender).items():
            measured = statistics.median(taken)
            computed = _median(contender["latency"], calls)
            row = [contender["name"], WAYS[contender["way"]], str(calls)]
            row += [f"{significant(measured)} ({_range(taken)})"]
            row += [significant(computed), f"{measured / computed:.2f}"]
            base = [c for c in contenders if identity(c) == BASELINE]
            base = end_to_end(base[0]).get(calls) if base else None
            ratio = significant(statistics.median(base) / measured) if base else "–"
            rows.append([*row, significant(measured / seconds), ratio])
    if not rows:
        return ""
    header = ["", "arithmetic", "calls", "measured, s (range)", "computed, s"]
    header += ["measured / computed", "RTF", "× SGMSE+ 128 as published"]
    return (
        "The whole of `restore` on one window, **measured**, beside the computation\n\n"
        + markdown_table(header, rows)
    )


def end_to_end(contender):
    """{calls: [measured seconds]}, many calls first."""
    taken = {}
    for row in contender["end_to_end"]:
        taken.setdefault(row["calls"], []).append(row["seconds"])
    return dict(sorted(taken.items(), reverse=True))


def _throughput_table(results, contenders):
    seconds = results["runs"][0]["window_seconds"]
    rows = []
    for contender in contenders:
        batches = {}
        for row in contender["throughput"]:
            batches.setdefault(row["batch"], []).append(row)
        if not batches:
            continue
        row = [contender["name"], WAYS[contender["way"]]]
        for calls in (MANY, 1):
            taken = {batch: _median(timed, calls) for batch, timed in batches.items()}
            best = min(taken, key=taken.get)
            row += [str(best), significant(seconds / taken[best])]
            row += [f"{taken[1] / taken[best]:.2f}"]
        rows.append([*row, ", ".join(str(batch) for batch in batches)])
    if not rows:
        return ""
    header = ["", "arithmetic"]
    for calls in (MANY, 1):
        plural = "s" * (calls > 1)
        header += ["best batch", f"seconds a second, {calls} call{plural}", "× batch 1"]
    return (
        "Throughput: seconds of audio restored in a second with the best batch of "
        "windows, computed from parts\n\n"
        + markdown_table([*header, "batches tried"], rows)
    )


def _memory_table(contenders):
    rows = []
    for contender in contenders:
        if contender["memory"]:
            taken = [row["bytes"] for row in contender["memory"]]
            row = [contender["name"], WAYS[contender["way"]]]
            rows.append([*row, f"{statistics.median(taken) / 1e6:.0f}"])
    if not rows:
        return ""
    return (
        "Peak memory of restoring one window: the process on a CPU, the allocator on "
        "an accelerator\n\n"
        + markdown_table(["", "arithmetic", "peak memory, MB"], rows)
    )


def draw(results):
    """Real-time factors of all contenders, one row each, on a logarithmic scale.

    Returns
    -------
    matplotlib.figure.Figure
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    seconds = results["runs"][0]["window_seconds"]
    shown = [c for c in sorted_contenders(results) if c["latency"]][::-1]
    figure = Figure(figsize=(8, 1.5 + 0.35 * len(shown)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for calls, marker in zip(CALLS, "osD^v", strict=True):
        factors = [_median(c["latency"], calls) / seconds for c in shown]
        label = f"{calls} call{'s' * (calls > 1)}"
        axes.plot(factors, range(len(shown)), marker, label=label)
    labels = [f"{c['name'].strip('`')}, {WAYS[c['way']]}" for c in shown]
    axes.set_yticks(range(len(shown)), labels)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.axvline(1.0, color="grey", linewidth=1)
    axes.set_xlabel("real-time factor (left of the line: faster than real time)")
    axes.set_title(results["runs"][0]["device"], fontsize="medium")
    axes.grid(axis="x", alpha=0.4)
    figure.legend(loc="outside right upper", fontsize="small")
    return figure
