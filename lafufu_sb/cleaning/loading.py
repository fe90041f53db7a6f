"""From options to a cleaner: model, gate, and the check of the settings."""

import platform
from dataclasses import asdict
from pathlib import Path

import torch

from lafufu_sb import __version__
from lafufu_sb.cleaning.judges import folder_hash, load_gate
from lafufu_sb.cleaning.work import Cleaner
from lafufu_sb.inference.weights import fingerprint
from lafufu_sb.restoration.devices import usable_dtype


def load_cleaner(options, state):
    """Load model and gate, and agree on the settings with the output folder.

    Arguments
    ---------
    options : CleaningOptions
        Of the cleaning.
    state : State
        Of the output folder.

    Returns
    -------
    Cleaner

    Raises
    ------
    UsageError
        If something cannot be loaded, or if results in the output folder were made
        with other settings.
    """
    model = options.model.load()
    if options.windows_per_batch is not None:
        model.restorer.windows_per_batch = options.windows_per_batch
    gate = load_gate(options.gate, str(model.device))
    state.agree(result_settings(options, model))
    return Cleaner(
        model,
        gate,
        sample_rate=options.sample_rate,
        pieces=options.gate.judge_pieces,
        threads=options.io_threads,
    )


def result_settings(options, model):
    """Everything but the recordings that the bytes of the results depend on.

    Returns
    -------
    dict of str to object
        Types of JSON.
    """
    restorer, device = model.restorer, torch.device(model.device)
    dtype = usable_dtype(restorer.precision, device, restorer.fallback)
    gate = asdict(options.gate) | {
        "recogniser": folder_hash(options.gate.recogniser),
        "speaker_model": folder_hash(options.gate.speaker_model),
    }
    return gate | {
        "input": str(Path(options.input).resolve()),
        "model": [fingerprint(restorer.autoencoder), fingerprint(restorer.score_model)],
        "sampler": [restorer.sampler_name, restorer.sampler_options],
        "phase_averages": restorer.phase_averages,
        "seed": model.seed,
        "dry": model.dry,
        "precision": str(dtype),
        "compile": restorer.compiled,
        "windows": [restorer.plan.window, restorer.plan.stride],
        "windows_per_batch": restorer.windows_per_batch,
        "sample_rate": options.sample_rate,
        "format": options.format,
        "device": device.type,
        "machine": platform.machine(),
        "threads": torch.get_num_threads(),  # sums are split among them
        "torch": torch.__version__,
        "lafufu_sb": __version__,
    }
