"""Quality and cost of sampler schedules: one model in depth, or several side by side.

    python benchmarks/schedules.py --models my_model --clips EARS-WHAM/valid -o study
    python benchmarks/schedules.py --models a b c --calls 60 30 16 8 4 2 1 -o study

The first goes through a grid of sampler, method, spacing, starting point and number of
steps (``--grid`` names a YAML file with another one), the second through the settings
that make so many calls of the network. Every configuration is a file of its own under
``runs``: a study that was interrupted goes on, one with more models or settings
measures what is new. ``schedules.csv``, ``.md`` and ``.png`` are made of all that was
asked for.
"""

import argparse
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
from ruamel.yaml import YAML

from lafufu_sb import EnhanceLatent
from lafufu_sb.cli.demo import warm_up
from lafufu_sb.corpora.manifests import pair_recordings
from lafufu_sb.corpora.mini_corpus import mini_corpus_folder
from lafufu_sb.corpora.pairs import read_wav
from lafufu_sb.diffusion.samplers import SAMPLERS, get_sampler
from lafufu_sb.diffusion.steps import SPACINGS
from lafufu_sb.evaluation.metrics import available, check_metrics, evaluate, summarise
from lafufu_sb.files import written_whole
from lafufu_sb.inference.shipped import model_folder
from lafufu_sb.inference.weights import fingerprint
from lafufu_sb.restoration.devices import device_name
from schedule_report import write_report

# Each entry is crossed; entries for the process of another model are passed over.
GRID = [
    {
        "sampler": "predictor_corrector",
        "corrector": ["ald", "none"],
        "spacing": list(SPACINGS),
        "t_start": [1.0, 0.5],
        "num_steps": [30, 15, 8, 4, 2, 1],
    },
    {
        "sampler": "probability_flow",
        "method": ["euler", "heun", "exponential", "multistep"],
        "spacing": list(SPACINGS),
        "t_start": [1.0, 0.5],
        "num_steps": [30, 15, 8, 4, 2, 1],
    },
    {
        "sampler": "bridge_ode",
        "method": ["exponential", "multistep"],
        "spacing": list(SPACINGS),
        "network_time": ["previous", "new"],
        "num_steps": [16, 8, 4, 2, 1],
    },
    {
        "sampler": "bridge_sde",
        "spacing": list(SPACINGS),
        "network_time": ["previous", "new"],
        "num_steps": [30, 16, 8, 4, 2],
    },
]
# What --calls goes through unless a grid is given: the published ways, and the best
# that few calls have without training.
FAMILIES = [
    {"sampler": "predictor_corrector", "corrector": ["ald", "none"]},
    {"sampler": "probability_flow", "method": "multistep", "spacing": "log_sigma"},
    {"sampler": "bridge_ode"},
    {"sampler": "bridge_sde"},
]

Clip = namedtuple("Clip", ["name", "distorted", "clean"])  # (time,) tensors
Setting = namedtuple("Setting", ["sampler", "options", "calls"])


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
        See ``GRID``.
    calls : list of int, optional
        In place of the grid's ``num_steps``, those that make so many calls; a sampler
        that cannot (an odd number with a corrector) is left out there.

    Returns
    -------
    list of Setting

    Raises
    ------
    ValueError
        For a sampler or an option that does not exist, or if nothing fits.
    """
    found = []
    for options in expand(grid):
        name = options.pop("sampler", None)
        if name not in SAMPLERS:
            known = ", ".join(SAMPLERS)
            raise ValueError(f"the grid has the sampler {name!r}: choose from {known}")
        if not isinstance(sde, SAMPLERS[name][1]):
            continue
        if calls is None:
            candidates = [options]
        else:
            candidates = [_with_calls(name, sde, options, wanted) for wanted in calls]
        for chosen in candidates:
            if chosen is not None:
                made = get_sampler(name, sde, **chosen).calls
                setting = Setting(name, chosen, made)
                found += [setting] if setting not in found else []
    if not found:
        raise ValueError(f"no entry of the grid fits a {type(sde).__name__}")
    return found


def _with_calls(name, sde, options, wanted):
    for steps in (wanted, wanted // 2, (wanted + 1) // 2):  # plain, corrector, Heun
        changed = options | {"num_steps": steps}
        if steps and get_sampler(name, sde, **changed).calls == wanted:
            return changed
    return None


def read_clips(source, sample_rate, limit=None):
    """Pairs of a folder (as ``pair_recordings`` has it) or of a JSON manifest.

    Arguments
    ---------
    source : str or Path
        Folder with a clean and a distorted side, or a manifest of ``ears_prepare``.
    sample_rate : int
        Hz.
    limit : int, optional
        Take so many, spread evenly over all.

    Returns
    -------
    list of Clip
    """
    source = Path(source)
    if source.suffix == ".json":
        entries = json.loads(source.read_text()).items()
        pairs = [(key, e["noisy_wav"], e["clean_wav"]) for key, e in entries]
    else:
        pairs = pair_recordings(source)
    count = min(limit or len(pairs), len(pairs))
    chosen = [pairs[i * len(pairs) // count] for i in range(count)]
    return [
        Clip(name, *(read_wav(path, sample_rate) for path in paths))
        for name, *paths in chosen
    ]


class Study:
    """Measures settings on clips, each once.

    Arguments
    ---------
    folder : str or Path
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
        self.folder = Path(folder) / "runs"
        self.clips = clips
        self.metrics = list(metrics)
        self.sample_rate = sample_rate
        self.seed = seed
        self._warm = None
        digest = hashlib.sha256()
        for clip in clips:
            digest.update(clip.name.encode())
            digest.update(clip.distorted.numpy().tobytes())
            digest.update(clip.clean.numpy().tobytes())
        self.key = {"clips": digest.hexdigest()[:16], "metrics": self.metrics}

    def inputs(self):
        """Measures of the distorted clips, as ``summarise`` gives them."""

        def measure():
            rows = [self._evaluate(c.distorted, c.clean) for c in self.clips]
            return {"summary": summarise(rows)}

        return self._once(self.folder / "input.json", {}, measure)["summary"]

    def run(self, label, model, settings):
        """Rows of a model's settings; those of an earlier run are taken from it.

        Arguments
        ---------
        label : str
            Of the model, in paths and tables.
        model : EnhanceLatent
            The model; its sampler is changed.
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
        for setting in settings:
            restorer.set_sampler(setting.sampler, **setting.options)
            described = "-".join(f"{k}={v}" for k, v in sorted(setting.options.items()))
            path = folder / f"{setting.sampler}-{described}.json"
            measure = functools.partial(self._measure, model)
            row = {"model": label} | setting._asdict()
            yield row | self._once(path, key | setting._asdict(), measure)

    def _measure(self, model):
        if self._warm is not model:
            warm_up(model)
            self._warm = model
        rows, took = [], 0.0
        for clip in self.clips:
            start = time.perf_counter()
            restored = model.enhance_batch(clip.distorted[None], seed=self.seed)[0]
            restored = restored.cpu()  # waits for the device
            took += time.perf_counter() - start
            rows.append(self._evaluate(restored, clip.clean))
        seconds = sum(len(c.clean) for c in self.clips) / self.sample_rate
        return {"rtf": took / seconds, "summary": summarise(rows)}

    def _evaluate(self, estimate, clean):
        return evaluate(estimate, clean, self.sample_rate, self.metrics)

    def _once(self, path, key, measure):
        key = json.loads(json.dumps(self.key | key))
        if path.is_file():
            kept = json.loads(path.read_text())
            if kept["key"] == key:
                return kept["result"]
        result = measure()
        path.parent.mkdir(parents=True, exist_ok=True)
        with written_whole(path) as temporary:
            temporary.write_text(json.dumps({"key": key, "result": result}, indent=1))
        return result


def load_models(sources, device):
    """Models by label: the folder's name, or all of the path where names repeat."""
    names = [Path(source).name for source in sources]
    labels = [
        name if names.count(name) == 1 else source
        for name, source in zip(names, sources, strict=True)
    ]
    for label, source in zip(labels, sources, strict=True):
        yield (
            label,
            EnhanceLatent.from_hparams(
                source=model_folder(source), run_opts={"device": device}
            ),
        )


def describe(options, clips, sample_rate):
    """Heading of the tables: what was run, on what."""
    seconds = sum(len(clip.clean) for clip in clips) / sample_rate
    device = device_name(torch.device(options.device))
    return (
        "# Sampler schedules\n\n"
        f"{len(clips)} clips, {seconds:.0f} s; means. Real-time factors: {device}, "
        f"{torch.get_num_threads()} threads, torch {torch.__version__}, one clip at a "
        "time, as fast as the machine was then. By\n\n"
        f"    python benchmarks/schedules.py {shlex.join(options.arguments)}"
    )


def run(options):
    """Measure and write; gives the rows."""
    metrics = options.metrics or [
        m for m in ("si_sdr", "pesq", "estoi", "dnsmos") if m in available()
    ]
    check_metrics(metrics)
    grid = FAMILIES if options.calls else GRID
    if options.grid:
        grid = YAML(typ="safe").load(Path(options.grid).read_text())
        if not isinstance(grid, list) or not all(isinstance(e, dict) for e in grid):
            raise ValueError(f"{options.grid} is no list of mappings: see GRID")
    study, rows = None, []
    for label, model in load_models(options.models, options.device):
        if study is None:
            clips = read_clips(options.clips, model.sample_rate, options.max_clips)
            rate = model.sample_rate
            study = Study(options.output, clips, metrics, rate, options.seed)
        elif model.sample_rate != study.sample_rate:
            raise ValueError(
                f"{label} is for {model.sample_rate} Hz, {options.models[0]} for "
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
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--models",
        nargs="+",
        default=["wham"],
        help="model folders; wham and reverb are the shipped ones",
    )
    parser.add_argument(
        "--clips",
        default=str(mini_corpus_folder("EARS-WHAM") / "test"),
        help="folder of pairs, or JSON manifest; by default embedded noisy clips",
    )
    parser.add_argument("--max-clips", type=int, help="so many, spread over all")
    parser.add_argument("--grid", help="YAML list of entries as GRID in this file")
    parser.add_argument(
        "--calls", type=int, nargs="+", help="instead of the grid's numbers of steps"
    )
    parser.add_argument("--metrics", nargs="+", help="by default those installed")
    parser.add_argument("--seed", type=int, default=0, help="of the samplers' noise")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("-o", "--output", default="schedules", help="folder to write")
    arguments = sys.argv[1:] if arguments is None else arguments
    options = parser.parse_args(arguments)
    options.arguments = arguments
    try:
        run(options)
    except (OSError, ValueError, ImportError) as error:
        sys.exit(f"schedules.py: error: {error}")


if __name__ == "__main__":
    main()
