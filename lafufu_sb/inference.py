"""``EnhanceLatent``: restore speech with a model folder or a model of the Hub."""

import os
from pathlib import Path

import torch
from speechbrain.inference.interfaces import Pretrained
from speechbrain.utils.fetching import fetch

from .audio import read_recording, write_recording
from .checkpoints import fingerprint
from .devices import to_device, usable_device
from .resampling import resample


class EnhanceLatent(Pretrained):
    """Restores 48-kHz speech: SpeechBrain's Pretrained interface around ``Restorer``.

    Made with ``EnhanceLatent.from_hparams(source=...)``, where ``source`` is a model
    folder (``lafufu export`` writes one; ``shipped_model("wham")`` finds those that
    come with the package) or an id of the Hugging Face Hub.

    Attributes
    ----------
    sample_rate : int
        Hz of everything that ``enhance_batch`` takes and gives.
    restorer : Restorer
        The way of the data.

    Example
    -------
    >>> from lafufu_sb import EnhanceLatent, shipped_model
    >>> model = EnhanceLatent.from_hparams(source=shipped_model("wham"))
    >>> model.enhance_batch(torch.randn(1, 4800)).shape
    torch.Size([1, 4800])
    """

    HPARAMS_NEEDED = ["sample_rate", "modules", "autoencoder_fingerprint"]
    MODULES_NEEDED = ["restorer"]

    @classmethod
    def from_hparams(
        cls,
        source,
        *args,
        run_opts=None,
        preset=None,
        sampler=None,
        num_steps=None,
        backend="torch",
        backend_options=None,
        precision=None,
        compile=None,
        fallback=None,
        **kwargs,
    ):
        """Load a model; see ``Pretrained.from_hparams`` for all arguments.

        Arguments
        ---------
        source : str or Path
            Folder, or id of the Hub.
        *args, **kwargs
            For SpeechBrain, such as ``savedir`` and ``fetch_config``.
        run_opts : dict, optional
            ``{"device": "cuda"}`` (a ``torch.device`` will do too).
        preset : str, optional
            Sampler settings by name, see ``set_preset``; by default the model's own.
        sampler : str, optional
            Another sampler than that of the settings, with its own defaults.
        num_steps : int, optional
            Another number of steps.
        backend : str
            What runs the networks: "torch", or "onnx" for the graphs that ``lafufu
            export --format onnx`` writes, with ONNX Runtime on the CPU.
        backend_options : dict, optional
            For "onnx": ``threads`` and ``optimization``, see ``use_graphs``.
        precision : str, optional
            "fp32", "bf16" or "fp16": the networks' arithmetic; by default the model's
            own.
        compile : bool, optional
            Whether to compile the networks at the first restoration, which then takes
            minutes; by default as the model says, which mostly is no.
        fallback : bool, optional
            Whether a device, a precision or compilation that this machine cannot offer
            gives way to the CPU, to fp32 or to none, with one warning; by default yes.

        Returns
        -------
        EnhanceLatent

        Raises
        ------
        FileNotFoundError
            If ``source`` looks like a path and does not exist: nothing is asked of
            the Hub then.
            Or the folder has no graphs for backend "onnx".
        ImportError
            If the package for the backend is missing.
        ValueError
            If weights, graphs and YAML do not fit each other, or the model does not
            have the preset or the sampler; without ``fallback`` also if the machine
            lacks the device. What else it lacks shows at the first restoration.
        """
        if backend not in ("torch", "onnx"):
            raise ValueError(f"backend must be 'torch' or 'onnx', got {backend!r}")
        if backend == "onnx":
            run_opts = _on_cpu(run_opts)
        elif backend_options:
            raise ValueError("backend_options are for backend 'onnx'")
        _refuse_missing_folder(source, kwargs.get("hparams_file", "hyperparams.yaml"))
        if isinstance(run_opts, dict) and "device" in run_opts:
            device = usable_device(run_opts["device"], fallback is not False)
            run_opts = run_opts | {"device": device}
        model = super().from_hparams(str(source), *args, run_opts=run_opts, **kwargs)
        if model is None:  # downloaded only
            return None
        if preset is not None:
            model.set_preset(preset)
        if sampler is not None or num_steps is not None:
            steps = {} if num_steps is None else {"num_steps": num_steps}
            model.restorer.change_sampler(sampler, **steps)
        if backend == "onnx":
            model._use_onnx(str(source), kwargs, backend_options or {})
        model.restorer.set_computation(precision, compile, fallback)
        return model

    def _use_onnx(self, source, fetch_options, options):
        from .onnx_backend import use_graphs

        names = ("savedir", "local_strategy", "fetch_config")
        given = {name: fetch_options[name] for name in names if name in fetch_options}
        networks = self.restorer.autoencoder, self.restorer.score_model
        use_graphs(self.restorer, lambda name: fetch(name, source, **given), **options)
        for network in networks:
            if network not in self.restorer.children():
                network.to("meta")  # self.hparams has it still: let the weights go

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        missing = [name for name in self.MODULES_NEEDED if name not in self.mods]
        if missing:
            raise ValueError(f"hyperparams.yaml has no module {', '.join(missing)}")
        self.restorer = self.mods.restorer
        self.sample_rate = self.restorer.sample_rate
        if self.hparams.sample_rate != self.sample_rate:
            raise ValueError(
                f"hyperparams.yaml says sample_rate {self.hparams.sample_rate}, its "
                f"restorer {self.sample_rate}: they must agree"
            )
        mark = fingerprint(self.restorer.autoencoder)
        if self.hparams.autoencoder_fingerprint != mark:
            raise ValueError(
                "the autoencoder's weights are not those that the score model was "
                f"trained with (fingerprint {mark}, expected "
                f"{self.hparams.autoencoder_fingerprint}): export the run again"
            )

    def set_preset(self, preset, **changes):
        """Choose sampler settings by name, such as "fast", "balanced" or "paper".

        Arguments
        ---------
        preset : str
            One of ``restorer.presets``, which come with the model.
        **changes
            Options that differ from the preset's, such as ``num_steps``.

        Raises
        ------
        ValueError
            For a preset or an option that there is not; names those there are.
        """
        self.restorer.set_preset(preset, **changes)

    def enhance_batch(self, noisy, lengths=None, *, seed=0):
        """Restore a batch.

        An item's result does not depend on the other items, their order or padding.

        Arguments
        ---------
        noisy : torch.Tensor or array
            (batch, time) at ``sample_rate``.
        lengths : torch.Tensor, optional
            (batch,) relative lengths.
        seed : int
            Of the sampler's noise.

        Returns
        -------
        torch.Tensor
            (batch, time), on the model's device.
        """
        noisy = to_device(torch.as_tensor(noisy), self.device)
        return self.restorer.restore(noisy, lengths, seed=seed)

    def forward(self, noisy, lengths=None):
        """See ``enhance_batch``."""
        return self.enhance_batch(noisy, lengths)

    def enhance_file(
        self, filename, output_filename=None, *, keep_sample_rate=False, seed=0
    ):
        """Restore a recording, each of its channels by itself.

        Arguments
        ---------
        filename : str or Path
            Any rate and number of channels.
        output_filename : str or Path, optional
            Where to write the result, 24 bits or float. An existing file is replaced
            once the result is there.
        keep_sample_rate : bool
            Give the result at the recording's rate instead of the model's.
        seed : int
            Of the sampler's noise.

        Returns
        -------
        torch.Tensor
            (time,) for one channel, (channels, time) for several, on the CPU.

        Raises
        ------
        FileNotFoundError, IsADirectoryError, ValueError
            See ``read_recording`` and ``write_recording``.
        """
        wavs, rate = read_recording(filename)
        restored = self.restorer.restore(
            to_device(resample(wavs, rate, self.sample_rate), self.device), seed=seed
        ).cpu()
        if keep_sample_rate:
            restored = resample(restored, self.sample_rate, rate)[:, : wavs.shape[1]]
        if output_filename is not None:
            out_rate = rate if keep_sample_rate else self.sample_rate
            write_recording(output_filename, restored, out_rate)
        return restored[0] if len(restored) == 1 else restored


def _on_cpu(run_opts):
    if run_opts is not None and not isinstance(run_opts, dict):  # RunOptions
        run_opts = {name: run_opts[name] for name in run_opts.overridden_args}
    device = (run_opts or {}).get("device") or "cpu"
    if torch.device(device).type != "cpu":
        raise ValueError(
            f"backend 'onnx' computes on the CPU, not on {device}: leave the device "
            "out, or use backend 'torch'"
        )
    return (run_opts or {}) | {"device": "cpu"}


def _refuse_missing_folder(source, hparams_file):
    text = str(source)
    if text.startswith(("http://", "https://")):
        return
    if (Path(source) / "recipe.yaml").exists():
        raise FileNotFoundError(
            f"{text} is a training run, not a model folder: `lafufu export` it first"
        )
    if Path(source).is_dir():
        if not (Path(source) / hparams_file).is_file():
            raise FileNotFoundError(
                f"{text} is no model folder: it has no {hparams_file}. `lafufu export` "
                "writes one from a training run"
            )
        return
    pathlike = (
        isinstance(source, os.PathLike)
        or text.startswith((".", "~", os.sep))
        or text.count("/") != 1  # ids of the Hub are user/name
        or Path(text).parent.is_dir()
    )
    if pathlike:
        raise FileNotFoundError(
            f"model folder {text} does not exist: give the path of a folder with "
            "hyperparams.yaml, or a Hub id such as user/name"
        )
