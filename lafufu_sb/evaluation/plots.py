"""Quality against real-time factor, one panel a metric."""

from lafufu_sb.evaluation.tables import COLUMNS, UNPROCESSED

PANELS = ("si_sdr", "pesq", "estoi", "dnsmos")
FAMILIES = {"LAFUFU": ("#c1440e", "o"), "SGMSE+": ("#1f5fa8", "s")}
OTHER = ("#4d4d4d", "D")


def draw_quality_over_rtf(results):
    """Plot the systems of a corpus that were timed.

    Arguments
    ---------
    results : list of Result
        Of one task and corpus.

    Returns
    -------
    matplotlib.figure.Figure or None
        None where nothing was timed. Bars are the deviation over runs, the dashed line
        the unprocessed recordings, the dotted one real time.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    timed = [result for result in results if "rtf" in result.numbers]
    panels = [name for name in PANELS if any(name in r.numbers for r in timed)]
    if not timed or not panels:
        return None
    columns = min(2, len(panels))
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(4.6 * columns, 3.4 * rows + 0.6), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(rows, columns, squeeze=False).flatten()
    for axes in grid[len(panels) :]:
        axes.remove()
    for axes, name in zip(grid, panels, strict=False):
        _draw_panel(axes, name, timed)
    task, corpus = timed[0].place
    devices = sorted({result.facts.get("device", "unknown device") for result in timed})
    figure.suptitle(
        f"{task.capitalize()}, {corpus}; computed on {' and '.join(devices)}",
        fontsize=11,
    )
    handles = {}
    for axes in grid[: len(panels)]:
        entries = axes.get_legend_handles_labels()
        handles |= dict(zip(reversed(entries[1]), reversed(entries[0]), strict=True))
    figure.legend(
        handles.values(),
        handles.keys(),
        loc="outside lower center",
        ncols=len(handles),
        frameon=False,
    )
    return figure


def _draw_panel(axes, name, results):
    for family, members in _families(results, name).items():
        color, marker = FAMILIES.get(family, OTHER)
        places = []
        for rank, result in enumerate(members):
            quality, cost = result.numbers[name], result.numbers["rtf"]
            places.append((cost.mean, quality.mean))
            axes.errorbar(
                *places[-1],
                xerr=cost.spread,
                yerr=quality.spread,
                color=color,
                marker=marker,
                capsize=3,
                linestyle="none",
                label=family if rank == 0 else None,
            )
            axes.annotate(
                result.title.removeprefix(family).strip() or result.title,
                places[-1],
                xytext=(0, 8 if rank % 2 == 0 else -15),
                textcoords="offset points",
                ha="center",
                fontsize=8,
                color=color,
            )
        if family in FAMILIES:
            axes.plot(*zip(*places, strict=True), color=color, alpha=0.3, linewidth=1)
    before = next((r.before[name] for r in results if name in r.before), None)
    if before is not None:
        label = UNPROCESSED.get(results[0].facts["task"], "Unprocessed")
        axes.axhline(before.mean, linestyle="--", color="0.5", label=label)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.margins(x=0.25, y=0.25)
    left, right = axes.get_xlim()
    if left < 1 < right:
        axes.axvline(1, linestyle=":", color="0.5", linewidth=1)
    axes.set_xlabel("real-time factor")
    axes.set_ylabel(COLUMNS[name].head)
    axes.grid(alpha=0.3)


def _families(results, name):
    """{family: its results from cheap to costly}; other systems together."""
    families = {}
    for result in sorted(results, key=lambda r: r.numbers["rtf"].mean):
        if name in result.numbers:
            known = (f for f in FAMILIES if result.title.startswith(f))
            families.setdefault(next(known, "other"), []).append(result)
    return families
