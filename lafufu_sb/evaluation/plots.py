"""Quality against real-time factor, one panel a metric."""

from lafufu_sb.evaluation.figures import new_figure, plain_title
from lafufu_sb.evaluation.tables import COLUMNS, UNPROCESSED

PANELS = ("si_sdr", "pesq", "estoi", "dnsmos")
OTHER = {"color": "#4d4d4d", "marker": "D"}


def draw_quality_over_rtf(results, families):
    """Plot the timed systems of a corpus; None if there are none.

    Bars are the deviation over runs, the dashed line the unprocessed recordings, the
    dotted one real time. ``families`` are those of ``systems.Naming``.
    """
    timed = [result for result in results if "rtf" in result.numbers]
    panels = [name for name in PANELS if any(name in r.numbers for r in timed)]
    if not timed or not panels:
        return None
    columns = min(2, len(panels))
    rows = -(-len(panels) // columns)
    figure = new_figure(4.6 * columns, 3.4 * rows + 0.6)
    grid = figure.subplots(rows, columns, squeeze=False).flatten()
    for axes in grid[len(panels) :]:
        axes.remove()
    for axes, name in zip(grid, panels, strict=False):
        _draw_panel(axes, name, timed, families)
    task, corpus = timed[0].place
    machines = set().union(*(result.machines for result in timed))
    devices = sorted({device or "unknown device" for device, _ in machines})
    title = (
        f"{task.capitalize()}, {corpus}; computed on {' and '.join(sorted(devices))}"
    )
    figure.suptitle(plain_title(title), fontsize=11)
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


def _draw_panel(axes, name, results, families):
    for family, members in _members(results, name, families).items():
        style = families.get(family, OTHER)
        places = []
        for rank, result in enumerate(members):
            quality, cost = result.numbers[name], result.numbers["rtf"]
            places.append((cost.mean, quality.mean))
            axes.errorbar(
                *places[-1],
                xerr=cost.spread,
                yerr=quality.spread,
                capsize=3,
                linestyle="none",
                label=plain_title(family) if rank == 0 else None,
                **style,
            )
            axes.annotate(
                plain_title(result.title.removeprefix(family).strip() or result.title),
                places[-1],
                xytext=(0, 8 if rank % 2 == 0 else -15),
                textcoords="offset points",
                ha="center",
                fontsize=8,
                color=style["color"],
            )
        if family in families:
            line = {"color": style["color"], "alpha": 0.3, "linewidth": 1}
            axes.plot(*zip(*places, strict=True), **line)
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


def _members(results, name, families):
    """{family: its results from cheap to costly}; systems of no family together."""
    members = {}
    for result in sorted(results, key=lambda r: r.numbers["rtf"].mean):
        if name in result.numbers:
            family = result.family if result.family in families else "other"
            members.setdefault(family, []).append(result)
    return members
