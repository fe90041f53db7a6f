"""Quality and cost of sampler schedules: one model in depth, or several side by side.

    python benchmarks/schedules.py --models my_model --clips EARS-WHAM/valid -o study
    python benchmarks/schedules.py --models a b c --calls 60 30 16 8 4 2 1 -o study

The first command goes through a grid of sampler, method, spacing, starting point and
number of steps (``--grid`` names another YAML file), the second through the settings
that make so many calls of the network. Each configuration is a file under ``runs``: an
interrupted study continues, and one with more models or settings measures only the new
ones. ``schedules.csv``, ``.md`` and ``.png`` hold everything that was asked for.
"""

import functools
import hashlib
import itertools
import json
import shlex
import sys
import time
from collections import namedtuple
from pathlib import Path

import torch
import yaml

from common import bench_parser, describe_run, with_sampler, write_text
from lafufu_sb.cli.evaluate import find_pairs
from lafufu_sb.corpora.mini_corpus import mini_corpus_folder
from lafufu_sb.diffusion.samplers import SAMPLERS, get_sampler
from lafufu_sb.errors import UsageError
from lafufu_sb.evaluation.clips import read_signal
from lafufu_sb.evaluation.metrics import available, check_metrics, evaluate, summarise
from lafufu_sb.inference.loading import ModelChoice
from lafufu_sb.inference.weights import fingerprint
from schedule_report import write_report
from timing import warm_up

GRIDS = Path(__file__).with_name("grids.yaml")
METRICS = ("si_sdr", "pesq", "estoi", "dnsmos")  # by default, those installed

Clip = namedtuple("Clip", ["name", "distorted", "clean"])  # (time,) tensors
Setting = namedtuple("Setting", ["sampler", "options", "calls"])


def read_grid(path=None, name="all"):
    """Entries of a grid: a list of mappings, or ``name`` of ``grids.yaml``."""
    grid = yaml.safe_load(Path(path or GRIDS).read_text())
    grid = grid if path else grid[name]
    if not isinstance(grid, list) or not all(isinstance(e, dict) for e in grid):
        raise UsageError(f"{path} is not a list of mappings: see {GRIDS}")
    return grid


def expand(grid):
    """Cross the lists of each entry of a grid.

    Example
    -------
    >>> for setting in expand([{"sampler": "a", "num_steps": [2, 1], "snr": 0.5}]):
    ...     print(setting)
    {'sampler': 'a', 'num_steps': 2, 'snr': 0.5}
    {'sampler': 'a', 'num_steps': 1, 'snr': 0.5}
    """
    for entry in grid:
        axes = [v if isinstance(v, list | tuple) else [v] for v in entry.values()]
        for values in itertools.product(*axes):
            yield dict(zip(entry, values, strict=True))


def settings_for(sde, grid, calls=None):
    """Settings of a grid that fit a process.

    Arguments
    ---------
    sde : OUVESDE or SchroedingerBridge
        The process.
    grid : list of dict
        See ``grids.yaml``.
    calls : list of int, optional
        Numbers of calls that replace the grid's ``num_steps``. A sampler that cannot
        make one of them (an odd number with a corrector) is left out there.

    Returns
    -------
    list of Setting

    Raises
    ------
    UsageError
        For an unknown sampler, or if nothing fits. Unknown options are refused too.
    """
    found = []
    for options in expand(grid):
        name = options.pop("sampler", None)
        if name not in SAMPLERS:
            known = ", ".join(SAMPLERS)
            raise UsageError(f"the grid has the sampler {name!r}: choose from {known}")
        if not isinstance(sde, SAMPLERS[name][1]):
            continue
        if calls is None:
            candidates = [options]
        else:
            candidates = [_with_calls(name, sde, options, wanted) for wanted in calls]
        for chosen in filter(None, candidates):
            setting = Setting(name, chosen, get_sampler(name, sde, **chosen).calls)
            found += [setting] if setting not in found else []
    if not found:
        raise UsageError(f"no entry of the grid fits a {type(sde).__name__}")
    return found


def _with_calls(name, sde, options, wanted):
    for steps in (wanted, wanted // 2, (wanted + 1) // 2):  # plain, corrector, Heun
        changed = options | {"num_steps": steps}
        if steps and get_sampler(name, sde, **changed).calls == wanted:
            return changed
    return None


class Study:
    """Measures settings on clips, each once.

    Arguments
    ---------
    folder : Path
        Where the results are kept.
    clips : list of Clip
        What is restored.
    metrics : list of str
        Names for ``lafufu_sb.evaluation.metrics.evaluate``.
    sample_rate : int
        Hz.
    seed : int
        Of the samplers' noise.
    """

    def __init__(self, folder, clips, metrics, sample_rate, seed=0):
        self.folder = folder / "runs"
        self.clips = clips
        self.metrics = list(metrics)
        self.sample_rate = sample_rate
        self.seed = seed
        digest = hashlib.sha256()
        for clip in clips:
            digest.update(clip.name.encode())
            digest.update(clip.distorted.numpy().tobytes())
            digest.update(clip.clean.numpy().tobytes())
        self.key = {"clips": digest.hexdigest()[:16], "metrics": self.metrics}

    def inputs(self):
        """Metrics of the distorted clips, as ``summarise`` returns them."""

        def measure():
            return {"summary": self._summary(clip.distorted for clip in self.clips)}

        return self._once(self.folder / "input.json", {}, measure)["summary"]

    def run(self, label, model, settings):
        """Rows of a model's settings; those of an earlier run are read.

        Arguments
        ---------
        label : str
            Of the model, in paths and tables.
        model : EnhanceLatent
            The model.
        settings : list of Setting
            What to measure.

        Yields
        ------
        dict
            ``model``, ``sampler``, ``options``, ``calls``, ``rtf``, ``summary``.
        """
        restorer = model.restorer
        key = {
            "weights": fingerprint(restorer),
            "process": {k: v for k, v in vars(restorer.sde).items() if k[0] != "_"},
            "windows": [restorer.plan.window, restorer.plan.stride],
            "precision": restorer.precision,
            "seed": self.seed,
            "device": model.device,
            "threads": torch.get_num_threads(),
        }
        folder = self.folder / label.replace("/", "_")
        warm = functools.cache(functools.partial(warm_up, restorer))
        for setting in settings:
            described = "-".join(f"{k}={v}" for k, v in sorted(setting.options.items()))
            path = folder / f"{setting.sampler}-{described}.json"
            changed = with_sampler(restorer, setting.sampler, **setting.options)

            def measure(changed=changed):
                warm()
                return self._measure(changed)

            row = {"model": label} | setting._asdict()
            yield row | self._once(path, key | setting._asdict(), measure)

    def _measure(self, restorer):
        device = restorer.spectrogram.window.device
        start = time.perf_counter()
        restored = [
            restorer.restore(clip.distorted[None].to(device), seed=self.seed)[0].cpu()
            for clip in self.clips
        ]
        took = time.perf_counter() - start
        seconds = sum(len(c.clean) for c in self.clips) / self.sample_rate
        return {"rtf": took / seconds, "summary": self._summary(restored)}

    def _summary(self, estimates):
        rows = []
        for estimate, clip in zip(estimates, self.clips, strict=True):
            found = evaluate(estimate, clip.clean, self.sample_rate, self.metrics)
            rows.append({name: measured.value for name, measured in found.items()})
        return summarise(rows)

    def _once(self, path, key, measure):
        key = json.loads(json.dumps(self.key | key))
        if path.is_file():
            kept = json.loads(path.read_text())
            if kept["key"] == key:
                return kept["result"]
        result = measure()
        write_text(path, json.dumps({"key": key, "result": result}, indent=1))
        return result


def labels_of(sources):
    """Labels of models: the folder's name, or the whole path where names repeat."""
    names = [Path(source).name for source in sources]
    return [
        name if names.count(name) == 1 else source
        for name, source in zip(names, sources, strict=True)
    ]


def describe(options, clips, sample_rate):
    """Heading of the tables: clips, machine and command."""
    seconds = sum(len(clip.clean) for clip in clips) / sample_rate
    run = describe_run(options.device)
    return (
        "# Sampler schedules\n\n"
        f"{len(clips)} clips, {seconds:.0f} s; means. Real-time factors: "
        f"{run['device']}, {run['threads']} threads, torch {run['torch']}, one clip at "
        "a time, affected by any other load on the machine. By\n\n"
        f"    python benchmarks/schedules.py {shlex.join(options.arguments)}"
    )


def run(options):
    """Measure and write; returns the rows."""
    metrics = options.metrics or [m for m in METRICS if m in available()]
    check_metrics(metrics)
    grid = read_grid(options.grid, "few_calls" if options.calls else "all")
    pairs = find_pairs(options.clips, options.max_clips)
    study, rows = None, []
    for label, source in zip(labels_of(options.models), options.models, strict=True):
        model = ModelChoice(source, device=options.device).load()
        rate = model.sample_rate
        if study is None:
            clips = [
                Clip(name, *(read_signal(path, rate) for path in paths))
                for name, *paths in pairs
            ]
            study = Study(options.output, clips, metrics, rate, options.seed)
        elif rate != study.sample_rate:
            raise UsageError(
                f"{label} is for {rate} Hz, {options.models[0]} for "
                f"{study.sample_rate}: compare models of one rate"
            )
        settings = settings_for(model.restorer.sde, grid, options.calls)
        for row in study.run(label, model, settings):
            rows.append(row)
            means = [f"{m} {row['summary'][m]['mean']:.2f}" for m in metrics]
            named = f"{label} {row['sampler']} {row['options']}"
            print(f"{named}: {row['calls']} calls, {', '.join(means)}", flush=True)
    about = describe(options, study.clips, study.sample_rate)
    print(write_report(options.output, rows, study.inputs(), metrics, about))
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
        run(options)
    except (OSError, UsageError) as error:
        sys.exit(f"schedules.py: error: {error}")


if __name__ == "__main__":
    main()
