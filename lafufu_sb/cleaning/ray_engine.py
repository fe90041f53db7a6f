"""The same plan on Ray Data: actors that hold one model each clean shard after shard.

All machines must see the recordings and the output folder under the same paths. The
journals there hold the state, so a cleaning can be resumed by any engine.
"""

import json
import logging
import os
from dataclasses import asdict, replace

import numpy

from lafufu_sb.cleaning.loading import load_cleaner
from lafufu_sb.cleaning.plan import PlannedFile, split
from lafufu_sb.cleaning.progress import Progress
from lafufu_sb.cleaning.state import State
from lafufu_sb.errors import MissingPackageError, UsageError

_SHARDS = 8  # per worker at least: at the end, workers wait for an eighth at most
_LARGEST = 3600.0  # seconds of audio in a shard; progress is reported per shard


def run(options, files, state):
    """Clean files on Ray.

    Arguments
    ---------
    options : CleaningOptions
        Of the cleaning.
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
    MissingPackageError
        If Ray Data is missing.
    UsageError
        If a single shard is asked for, or if a worker met an error that ends the run;
        the message is the worker's.
    """
    if options.shard != (1, 1):
        raise UsageError(
            "--shard does not go with --engine ray, which distributes all shards: "
            "leave one of them out"
        )
    ray = _ray()
    with state.shard("ray"):  # held until the last worker has ended
        left, done = state.pending(files)
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
        raise MissingPackageError(
            f'--engine ray needs Ray Data ({error}): pip install "lafufu_sb[ray]"'
        ) from error
    return ray


def _start(ray, options):
    logging.getLogger("ray.data").setLevel(logging.WARNING)
    ray.init(
        address=options.ray_address,
        logging_level=logging.WARNING,
        log_to_driver=False,
    )
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False


def _rows(ray, options, files):
    """Rows of finished files, shard by shard in the order in which they end."""
    model = options.model
    gpus = int(ray.cluster_resources().get("GPU", 0))
    on_gpu = (model.device or "cpu").startswith("cuda")
    workers = options.workers or (gpus if on_gpu and gpus else 2)
    cores = int(ray.cluster_resources().get("CPU", 1))
    threads = model.threads or max(1, cores // workers)
    seconds = sum(file.cost for file in files)
    count = max(_SHARDS * workers, int(seconds / _LARGEST))
    shards = [
        {"number": number, "files": json.dumps([asdict(file) for file in shard])}
        for number, shard in enumerate(split(files, min(count, len(files))))
    ]
    dataset = ray.data.from_items(shards, override_num_blocks=len(shards))
    results = dataset.map_batches(
        Worker,
        fn_constructor_args=(replace(options, model=replace(model, threads=threads)),),
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(size=workers),
        num_cpus=threads,
        num_gpus=1 if on_gpu else 0,
    )
    for result in results.iter_rows():
        if result["error"]:
            raise UsageError(result["error"])
        yield from json.loads(result["rows"])


class Worker:
    """A Ray actor: loads model and gate once, then cleans shards.

    Arguments
    ---------
    options : CleaningOptions
        Of the cleaning.
    """

    def __init__(self, options):
        self.state, self.cleaner, self.problem = State(options.output), None, ""
        try:
            self.cleaner = load_cleaner(options, self.state)
        except (OSError, UsageError) as error:
            self.problem = str(error)  # reported in one line, without a traceback

    def __call__(self, batch):
        """Clean a shard.

        Arguments
        ---------
        batch : dict of str to array
            ``number`` and ``files`` (JSON) of one shard.

        Returns
        -------
        dict of str to array
            ``rows`` (JSON) and ``error``, which is empty if all went well.
        """
        rows, name = [], f"ray-{batch['number'][0]}"
        if not self.problem:
            files = [PlannedFile(**file) for file in json.loads(batch["files"][0])]
            try:
                with self.state.shard(name) as shard:
                    # Ray repeats a shard whose actor was lost; finish what is left.
                    files, rows = self.state.pending(files, name)
                    self.cleaner.run(files, shard, rows.append)
            except (OSError, UsageError) as error:
                self.problem = str(error)
        return {
            "rows": numpy.array([json.dumps(rows)]),
            "error": numpy.array([self.problem]),
        }
