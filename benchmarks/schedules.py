"""Quality and cost of sampler schedules: one model in depth, or several side by side.

    python benchmarks/schedules.py --models my_model --clips EARS-WHAM/valid -o study
    python benchmarks/schedules.py --models a b c --calls 60 30 16 8 4 2 1 -o study

The first command goes through a grid of sampler, method, spacing, starting point and
number of steps (``--grid`` names another YAML file), the second through the settings
that make so many calls of the network. Each setting has a result folder under ``runs``:
an interrupted study continues, and one with more models or settings measures only the
new ones. ``schedules.md`` holds everything that was asked for.
"""

import itertools
import json
import shlex
import sys
from pathlib import Path
from typing import NamedTuple

import torch
import yaml

from common import bench_parser, describe_run, with_sampler, write_text
from lafufu_sb.cli.evaluate import find_pairs
from lafufu_sb.corpora.mini_corpus import mini_corpus_folder
from lafufu_sb.diffusion.registry import SAMPLERS
from lafufu_sb.diffusion.samplers import get_sampler
from lafufu_sb.errors import UsageError
from lafufu_sb.evaluation.clips import BEFORE, read_rows, summarise_rows
from lafufu_sb.evaluation.metrics import available, check_metrics
from lafufu_sb.evaluation.runs import (
    RESULT,
    ModelSystem,
    describe_pairs,
    run_system,
    write_result,
)
from lafufu_sb.evaluation.tables import COLUMNS, markdown_table
from lafufu_sb.inference.loading import ModelChoice
from lafufu_sb.inference.weights import fingerprint

GRIDS = Path(__file__).with_name("grids.yaml")
METRICS = ("si_sdr", "pesq", "estoi", "dnsmos")  # by default, those installed
STEPS = "num_steps"


class Setting(NamedTuple):
    """A sampler with options, and the network calls that it makes."""

    sampler: str
    options: dict
    calls: int

    def __str__(self):
        """Sampler and options except the number of steps."""
        shown = [f"{k}={v}" for k, v in self.options.items() if k != STEPS]
        return " ".join([self.sampler, *shown])


def read_grid(path=None, name="all"):
    """Entries of a grid: a file with a list of mappings, or a list of grids.yaml."""
    grid = yaml.safe_load(Path(path or GRIDS).read_text())
    grid = grid if path else grid[name]
    if not isinstance(grid, list) or not all(isinstance(e, dict) for e in grid):
        raise UsageError(f"{path} is not a list of mappings: see {GRIDS}")
    return grid


def expand(grid):
    """Cross the lists of each entry of a grid.

    Example
    -------
    >>> list(expand([{"sampler": "a", "num_steps": [2, 1]}]))
    [{'sampler': 'a', 'num_steps': 2}, {'sampler': 'a', 'num_steps': 1}]
    """
    for entry in grid:
        axes = [v if isinstance(v, list) else [v] for v in entry.values()]
        for values in itertools.product(*axes):
            yield dict(zip(entry, values, strict=True))


def settings_for(process, grid, calls=None):
    """Settings of a grid (see ``grids.yaml``) that fit a process.

    ``calls`` replaces the grid's ``num_steps`` by those that make so many calls. A
    sampler that cannot (an odd number with a corrector) is left out there. UsageError
    for an unknown sampler or option, or if nothing fits.
    """
    found = []
    for options in expand(grid):
        name = options.pop("sampler", None)
        if name not in SAMPLERS:
            known = ", ".join(SAMPLERS)
            raise UsageError(f"the grid has the sampler {name!r}: choose from {known}")
        if not isinstance(process, SAMPLERS[name].processes):
            continue
        candidates = [options]
        if calls is not None:
            candidates = [
                _with_calls(name, process, options, wanted) for wanted in calls
            ]
        for chosen in filter(None, candidates):
            setting = Setting(name, chosen, get_sampler(name, process, **chosen).calls)
            found += [setting] if setting not in found else []
    if not found:
        raise UsageError(f"no entry of the grid fits a {type(process).__name__}")
    return found


def _with_calls(name, process, options, wanted):
    for steps in (wanted, wanted // 2, (wanted + 1) // 2):  # plain, corrector, Heun
        changed = options | {STEPS: steps}
        if steps and get_sampler(name, process, **changed).calls == wanted:
            return changed
    return None


def measure(model, settings, pairs, folder, metrics, seed=0):
    """Measure settings of a model on clips; yields each Setting with its summary.

    Each setting has a result folder in ``folder``. One that was made with the same
    weights, windows, clips, metrics, seed and machine is read instead. The model keeps
    the last setting.
    """
    restorer, known = model.restorer, ()
    facts = describe_pairs(pairs) | {
        "names": [name for name, *_ in pairs],
        "weights": fingerprint(restorer),
        "windows": [restorer.plan.window, restorer.plan.stride],
        "precision": restorer.settings.precision,
        "metrics": list(metrics),
        "seed": seed,
        "device": model.device,
        "threads": torch.get_num_threads(),
    }
    system = None
    for setting in settings:
        own = facts | setting._asdict()
        described = "-".join(f"{k}={v}" for k, v in sorted(setting.options.items()))
        place = folder / f"{setting.sampler}-{described}"
        if not _is_measured(place, own):
            system = system or ModelSystem(model, seed)
            model.restorer = with_sampler(restorer, setting.sampler, **setting.options)
            options = {"sample_rate": model.sample_rate, "metrics": metrics}
            run_system(system, pairs, place, known=known, **options)
            write_result(place, str(setting), [{"folder": "."}], **own)
        known = read_rows(place)
        yield setting, summarise_rows(known)


def _is_measured(folder, facts):
    if not (folder / RESULT).is_file():
        return False
    content = json.loads((folder / RESULT).read_text())
    return all(content.get(key) == value for key, value in facts.items())


def tables(rows, metrics):
    """Markdown: for each metric a table of model and sampler by number of calls."""
    calls = sorted({setting.calls for _, setting, _ in rows}, reverse=True)
    lines = {}
    for model, setting, summary in rows:
        lines.setdefault((model, str(setting)), {})[setting.calls] = summary
    for metric in [*metrics, "rtf"]:
        before = rows[0][2].get(BEFORE + metric)
        title = COLUMNS[metric].head if metric in COLUMNS else metric
        title += f" (input {before['mean']:.2f})" if before else ""
        yield f"\n## {title}\n"
        cells = [
            [model, f"`{name}`"]
            + [f"{line[c][metric]['mean']:.2f}" if c in line else "" for c in calls]
            for (model, name), line in lines.items()
        ]
        yield markdown_table(["model", "sampler", *map(str, calls)], cells)


def run(options):
    """Measure and write; returns (model, Setting, summary) of each setting."""
    metrics = options.metrics or [m for m in METRICS if m in available()]
    check_metrics(metrics)
    grid = read_grid(options.grid, "few_calls" if options.calls else "all")
    pairs = find_pairs(options.clips, options.max_clips)
    rows = []
    for source in options.models:
        model = ModelChoice(source, device=options.device).load()
        settings = settings_for(model.restorer.process, grid, options.calls)
        folder = options.output / "runs" / source.replace("/", "_")
        measured = measure(model, settings, pairs, folder, metrics, options.seed)
        for setting, summary in measured:
            rows.append((source, setting, summary))
            means = ", ".join(f"{m} {summary[m]['mean']:.2f}" for m in metrics)
            print(f"{source} {setting}: {setting.calls} calls, {means}", flush=True)
    facts = describe_run(options.device)
    about = (
        f"# Sampler schedules\n\n{len(pairs)} clips; means. Real-time factors: "
        f"{facts['device']}, {facts['threads']} threads, torch {facts['torch']}, one "
        "clip at a time, affected by any other load on the machine. By\n\n"
        f"    python benchmarks/schedules.py {shlex.join(options.arguments)}"
    )
    text = "\n".join([about, *tables(rows, metrics)])
    write_text(options.output / "schedules.md", f"{text}\n")
    print(text)
    return rows


def main(arguments=None):
    """Command line."""
    parser = bench_parser(__doc__)
    parser.add_argument("--models", nargs="+", default=["denoise"])
    parser.add_argument(
        "--clips",
        default=str(mini_corpus_folder("EARS-WHAM") / "test"),
        help="folder of pairs, or JSON manifest; by default embedded noisy clips",
    )
    parser.add_argument("--max-clips", type=int, help="number, spread over all")
    parser.add_argument("--grid", help=f"YAML list of entries as in {GRIDS.name}")
    parser.add_argument(
        "--calls", type=int, nargs="+", help="instead of the grid's numbers of steps"
    )
    parser.add_argument("--metrics", nargs="+", help="by default those installed")
    parser.add_argument("--seed", type=int, default=0, help="of the samplers' noise")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("-o", "--output", type=Path, default=Path("schedules"))
    arguments = sys.argv[1:] if arguments is None else arguments
    options = parser.parse_args(arguments)
    options.arguments = arguments
    torch.set_num_threads(options.threads)
    try:
        return run(options)
    except (OSError, UsageError) as error:
        sys.exit(f"schedules.py: error: {error}")


if __name__ == "__main__":
    main()
