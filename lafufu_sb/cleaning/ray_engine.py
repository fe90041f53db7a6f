"""The same plan on Ray Data: actors that hold a model each take shard after shard.

All machines see the recordings and the output folder under the same paths. What is
done stands in the journals there, so a run goes on wherever it was begun: here, as a
job array, or on Ray.
"""

import dataclasses
import json
import logging
import os

import numpy

from lafufu_sb.cleaning.plan import PlannedFile, split
from lafufu_sb.cleaning.progress import Progress
from lafufu_sb.cleaning.state import State
from lafufu_sb.errors import UsageError

_SHARDS = 8  # per worker at least: the last ones to end wait for an eighth at most
_LARGEST = 3600.0  # seconds of audio in a shard: what is seen of progress


def run(options, files, state):
    """Clean files on Ray.

    Arguments
    ---------
    options : dict
        Of ``lafufu clean``.
    files : sequence of PlannedFile
        The plan.
    state : State
        Of the output folder, open.

    Returns
    -------
    list of dict
        Rows of all files.

    Raises
    ------
    ImportError
        If Ray Data is missing.
    UsageError
        If a single shard is asked for: Ray deals out all.
    RuntimeError
        If a worker met an error that ends the run; the message is the worker's.
    """
    from lafufu_sb.cleaning.job import pending

    if options["shard"] != (1, 1):
        raise UsageError(
            "--shard is not for --engine ray, which deals out all shards itself"
        )
    ray = _ray()
    left, done = pending(state, files)
    progress = Progress(files, done)
    if left:
        _start(ray, options)
        try:
            for row in _rows(ray, options, left):
                progress(row)
        finally:
            progress.close()
            ray.shutdown()
    return progress.rows


def _ray():
    try:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        import ray
        import ray.data
    except ImportError as error:
        raise ImportError(
            f'--engine ray needs Ray Data ({error}): pip install "lafufu_sb[ray]"'
        ) from error
    return ray


def _start(ray, options):
    logging.getLogger("ray.data").setLevel(logging.WARNING)
    ray.init(
        address=options["ray_address"],
        logging_level=logging.WARNING,
        log_to_driver=False,
    )
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False


def _rows(ray, options, files):
    """Rows of finished files, shard by shard as they end."""
    gpus = int(ray.cluster_resources().get("GPU", 0))
    on_gpu = (options["device"] or "cpu").startswith("cuda")
    workers = options["workers"] or (gpus if on_gpu and gpus else 2)
    cores = int(ray.cluster_resources().get("CPU", 1))
    threads = options["threads"] or max(1, cores // workers)
    seconds = sum(file.cost for file in files)
    count = max(_SHARDS * workers, int(seconds / _LARGEST))
    shards = [
        {"number": number, "files": json.dumps([dataclasses.asdict(f) for f in shard])}
        for number, shard in enumerate(split(files, min(count, len(files))))
    ]
    dataset = ray.data.from_items(shards, override_num_blocks=len(shards))
    results = dataset.map_batches(
        Worker,
        fn_constructor_args=(options | {"threads": threads},),
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(size=workers),
        num_cpus=threads,
        num_gpus=1 if on_gpu else 0,
    )
    for result in results.iter_rows():
        if result["error"]:
            raise RuntimeError(result["error"])
        yield from json.loads(result["rows"])


class Worker:
    """An actor: a model and a gate, for one shard after the other.

    Arguments
    ---------
    options : dict
        Of ``lafufu clean``.
    """

    def __init__(self, options):
        from lafufu_sb.cleaning.job import load_cleaner

        self.state, self.cleaner, self.problem = State(options["output"]), None, ""
        try:
            self.cleaner = load_cleaner(options, self.state)
        except (OSError, ValueError, RuntimeError, ImportError) as error:
            self.problem = str(error)  # for who asked, instead of a stack of traces

    def __call__(self, batch):
        """Clean a shard.

        Arguments
        ---------
        batch : dict of str to array
            ``number`` and ``files`` (JSON) of one shard.

        Returns
        -------
        dict of str to array
            ``rows`` (JSON) and ``error``, empty if there was none.
        """
        from lafufu_sb.cleaning.job import pending

        rows, name = [], f"ray-{batch['number'][0]}"
        if not self.problem:
            files = [PlannedFile(**file) for file in json.loads(batch["files"][0])]
            try:
                with self.state.shard(name) as shard:
                    # An actor may have been lost in the middle of this very shard.
                    files, rows = pending(self.state, files, name)
                    self.cleaner.run(files, shard, rows.append)
            except (OSError, ValueError, RuntimeError) as error:
                self.problem = str(error)
        return {
            "rows": numpy.array([json.dumps(rows)]),
            "error": numpy.array([self.problem]),
        }
