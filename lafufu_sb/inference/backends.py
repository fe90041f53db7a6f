"""Backends that run a model's networks: PyTorch and ONNX Runtime."""

from pathlib import Path

from lafufu_sb.errors import UsageError
from lafufu_sb.inference.pretrained import fetch
from lafufu_sb.inference.sources import checked_file, local_folder
from lafufu_sb.restoration.devices import usable_device

BACKENDS = ("torch", "onnx")


def usable_run_opts(backend, options, run_opts, fallback):
    """Check a backend and its options, and give run options that fit it.

    Arguments
    ---------
    backend : str
        One of ``BACKENDS``.
    options : dict or None
        Of "onnx" alone, see ``use_graphs``.
    run_opts : dict or None
        See ``Pretrained.from_hparams``.
    fallback : bool or None
        Whether the CPU takes the place of a missing device; None means yes.

    Returns
    -------
    dict or None

    Raises
    ------
    UsageError
        For another backend, options without "onnx", "onnx" on another device than the
        CPU, or a missing device without ``fallback``.
    """
    if backend not in BACKENDS:
        raise UsageError(f"backend must be 'torch' or 'onnx', got {backend!r}")
    if backend == "onnx":
        from lafufu_sb.restoration.onnx_runtime import cpu_options

        return cpu_options(run_opts)
    if options:
        raise UsageError("backend_options are for backend 'onnx'")
    if isinstance(run_opts, dict) and "device" in run_opts:
        device = usable_device(run_opts["device"], fallback is not False)
        run_opts = run_opts | {"device": device}
    return run_opts


def use_onnx(restorer, source, fetched_with, options, trust=False):
    """Replace a restorer's networks by the graphs of its model folder.

    Arguments
    ---------
    restorer : Restorer
        Changed in place; see ``use_graphs``.
    source : str or FetchSource
        Model folder or Hub id.
    fetched_with : dict
        ``savedir``, ``local_strategy`` and ``fetch_config`` of the model.
    options : dict
        See ``use_graphs``.
    trust : bool
        Whether links may lead out of the folder.
    """
    from lafufu_sb.restoration.onnx_runtime import use_graphs

    folder = None if trust else local_folder(source)

    def find(name):
        path = fetch(name, source, **fetched_with)
        return checked_file(path, folder) if Path(path).exists() else path

    score_model = restorer.score_model
    use_graphs(restorer, find, **options)
    score_model.to("meta")  # the model's hparams still hold it: free the weights
