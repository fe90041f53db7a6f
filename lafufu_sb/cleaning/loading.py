"""From options to a cleaner: model, gate, and the check of the settings."""

import platform
from dataclasses import asdict
from pathlib import Path

import torch

from lafufu_sb import __version__
from lafufu_sb.cleaning.judges import choose_judges, folder_hash, load_gate
from lafufu_sb.cleaning.work import Cleaner
from lafufu_sb.lobes.fingerprint import fingerprint
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
    gate = load_gate(options.gate, str(model.device), options.model.model)
    state.agree(result_settings(options, model))
    return Cleaner(
        model,
        gate,
        sample_rate=options.sample_rate,
        subtype=options.subtype,
        pieces=options.gate.judge_pieces,
        threads=options.io_threads,
    )


def result_settings(options, model):
    """Everything but the recordings that the bytes of the results depend on.

    Returns
    -------
    dict of str to object
        The values have types of JSON.
    """
    restorer, settings = model.restorer, model.restorer.settings
    dtype = usable_dtype(settings.precision, restorer.device, restorer.fallback)
    networks = restorer.representation, restorer.pre_enhancer, restorer.score_model
    values = asdict(settings) | asdict(options.gate)
    judges = choose_judges(options.gate.gate, options.model.model)
    return values | {
        "input": str(Path(options.input).resolve()),
        "model": [None if n is None else fingerprint(n) for n in networks],
        "pre_enhancer": type(restorer.pre_enhancer).__name__,
        "judges": judges.names,
        "speech_only": judges.speech_only,
        "recogniser": folder_hash(options.gate.recogniser),
        "speaker_model": folder_hash(options.gate.speaker_model),
        "precision": str(dtype),
        "window": restorer.plan.window,  # samples
        "overlap": restorer.plan.window - restorer.plan.stride,
        "sample_rate": options.sample_rate,
        "format": options.format,
        "subtype": options.subtype,
        "device": restorer.device.type,
        "machine": platform.machine(),
        "threads": torch.get_num_threads(),  # sums are split among them
        "torch": torch.__version__,
        "lafufu_sb": __version__,
    }
