"""The parts of a method and the settings that it restores with."""

from __future__ import annotations

import copy

import torch
from torch import nn

from lafufu_sb.diffusion.registry import check_objective
from lafufu_sb.diffusion.samplers import get_sampler
from lafufu_sb.errors import UsageError, whole_number
from lafufu_sb.lobes.pre_enhancer import SignalPreEnhancer
from lafufu_sb.restoration.conditioning import Conditioning
from lafufu_sb.restoration.settings import RestoreSettings
from lafufu_sb.restoration.timing import NoTimer
from lafufu_sb.restoration.windows import WindowChoice

INDEPENDENT = ("precision", "compile", "windows_per_batch", "seed", "dry")  # of presets


class Method(nn.Module):
    """The five parts of a method, its presets and its settings. See ``Restorer``.

    Settings never change: ``with_settings`` returns another object that shares the
    networks.

    Arguments
    ---------
    representation : Representation
        What the diffusion works on.
    score_model : ScoreNetwork
        ``score_model(x_t, condition, t)``.
    process : Process
        Diffusion process in the representation.
    objective : Objective
        What the score model was trained to estimate.
    pre_enhancer : PreEnhancer or SignalPreEnhancer, optional
        Gives the "enhanced" input.
    condition, mean, skips : sequence of str, str, str
        See ``Conditioning``.
    sampler : str, optional
        Name of a sampler that fits; without it, that of ``preset``.
    sampler_options : dict, optional
        Its keyword arguments, ``num_steps`` among them; or changes of the preset.
    presets : dict of str to dict, optional
        Settings by name, see ``RestoreSettings.from_preset``.
    preset : str, optional
        The default one.
    sample_rate : int
        Hz of everything that goes in and comes out.
    window_frames : int
        Feature frames of a window, by default the training crop of 256 (2.04 s at 48
        kHz). Must suit the grid of the networks.
    overlap_frames : int
        Frames that neighbouring windows share; divides ``window_frames``.
    windows_per_batch, precision, compile
        See ``RestoreSettings``.
    fallback : bool
        Whether a precision that the device lacks, or a failing compilation, is
        replaced with a warning instead of an error.

    Attributes
    ----------
    settings : RestoreSettings
    preset : str or None
        Name of the preset, as long as nothing of it was changed.
    presets : dict of str to RestoreSettings
    sampler : callable
        See ``get_sampler``.
    plan : WindowPlan
        Windows in samples.

    Raises
    ------
    UsageError
        For parts that do not go together, and settings that do not fit.
    """

    def __init__(
        self,
        *,
        representation,
        score_model,
        process,
        objective,
        pre_enhancer=None,
        condition=("distorted",),
        mean="distorted",
        skips="distorted",
        sampler=None,
        sampler_options=None,
        presets=None,
        preset=None,
        sample_rate=48000,
        window_frames=256,
        overlap_frames=128,
        windows_per_batch=4,
        precision="fp32",
        compile=False,
        fallback=True,
    ):
        super().__init__()
        check_objective(process, objective)
        self.representation, self.score_model = representation, score_model
        self.pre_enhancer = pre_enhancer
        self.process, self.objective = process, objective
        pre_enhances, joined = pre_enhancer is not None, representation.joined_inputs
        self.conditioning = Conditioning(condition, mean, skips, pre_enhances, joined)
        self.sample_rate = whole_number("sample_rate", sample_rate, 100, 10**6)
        self.fallback = fallback
        self.frames = window_frames, overlap_frames
        base = RestoreSettings(
            sampler=sampler or "",
            precision=precision,
            compile=compile,
            windows_per_batch=windows_per_batch,
        )
        self._preset_fields = {n: set(values) for n, values in (presets or {}).items()}
        self.presets = {
            name: RestoreSettings.from_preset(values, base)
            for name, values in (presets or {}).items()
        }
        for name, settings in self.presets.items():  # refuse a wrong one at once
            try:
                self._use(settings)
            except UsageError as error:
                raise UsageError(f"preset {name!r}: {error}") from error
        self._copies = {}
        self.timer = NoTimer()
        if preset is None and sampler is None:
            raise UsageError("a restorer needs a sampler or a preset")
        chosen = base if sampler is not None else self._preset(preset)
        self._use(chosen.changed(**(sampler_options or {})))
        # Convolutions of the representation train faster so; those of the score
        # network do not, on a CPU. Inference copies always have this layout.
        self.representation.to(memory_format=torch.channels_last)

    def with_settings(self, *, preset=None, **changes) -> Method:
        """The same networks with other settings.

        Arguments
        ---------
        preset : str, optional
            Settings to start from; by default the present ones. Precision, compilation,
            batch size, seed and dry stay, unless the preset names them.
        **changes
            Fields of ``RestoreSettings`` or options of the sampler. None leaves a
            field unchanged.

        Returns
        -------
        Method
            Of the same class.

        Raises
        ------
        UsageError
            For a preset, field or value that does not exist or fit.
        """
        settings = self.settings
        if preset is not None:
            wanted, own = self._preset(preset), self._preset_fields[preset]
            kept = {n: getattr(settings, n) for n in INDEPENDENT if n not in own}
            settings = wanted.changed(**kept)
        other = copy.copy(self)
        other._copies, other.timer = self._copies, self.timer
        other._use(settings.changed(**changes))
        return other

    def with_pre_enhancer(self, pre_enhancer) -> Method:
        """The same networks behind another pre-enhancer of whole signals.

        Arguments
        ---------
        pre_enhancer : SignalPreEnhancer
            Takes the place of the one that the networks were trained with.

        Raises
        ------
        UsageError
            If the networks were trained without one.
        """
        if not isinstance(self.pre_enhancer, SignalPreEnhancer):
            raise UsageError(
                "the networks of this model were not trained behind a pre-enhancer of "
                "whole signals, so that it takes none: use a model such as denoise"
            )
        other = self.with_settings()
        other._modules = self._modules | {"pre_enhancer": pre_enhancer}
        return other

    def _preset(self, name):
        if name not in self.presets:
            names = ", ".join(self.presets)
            raise UsageError(
                f"no preset {name!r}: this model has "
                + (names or "none, choose a sampler and its num_steps instead")
            )
        return self.presets[name]

    def _use(self, settings):
        """Check settings against the parts and adopt them."""
        fixed = self.score_model.fixed_precision
        if fixed is not None:
            self._check_graphs(settings, fixed)
        turns = self.representation.phase_turns
        if settings.phase_averages > turns:
            raise UsageError(
                f"phase_averages must be at most {turns} for this representation, got "
                f"{settings.phase_averages}"
            )
        self.sampler = get_sampler(
            settings.sampler,
            self.process,
            estimates=self.objective.estimates,
            **settings.sampler_options(),
        )
        windows = WindowChoice(
            self.representation, self.score_model.grid, self.sample_rate, *self.frames
        )
        self.window_frames, self.overlap_frames = windows.fit(
            settings.window, settings.overlap
        )
        self.plan = windows.plan(self.window_frames, self.overlap_frames)
        self.settings = settings

    def _check_graphs(self, settings, precision):
        asked = {
            "window": settings.window is not None,
            "compile": settings.compile,
            f"precision {settings.precision!r}": settings.precision != precision,
        }
        for name, refused in asked.items():
            if refused:
                raise UsageError(
                    f"{name} does not go with ONNX graphs, which have one window and "
                    f"compute in {precision}: leave it out, or use backend 'torch'"
                )

    @property
    def preset(self):
        """Name of the preset of these settings, or None if something was changed."""
        same = {name: getattr(self.settings, name) for name in INDEPENDENT}
        for name, settings in self.presets.items():
            if settings.changed(**same) == self.settings:
                return name
        return None

    @property
    def device(self) -> torch.device:
        """Where the networks are."""
        return self.representation.latent_scale.device

    def describe(self) -> str:
        """One line: preset or sampler, the network's calls per window, averages."""
        calls, averages = self.sampler.calls, self.settings.phase_averages
        chosen = f"preset {self.preset}" if self.preset else self.settings.sampler
        averaged = f", {averages} phase averages" if averages > 1 else ""
        return f"{chosen}, {calls} call{'s' if calls > 1 else ''}{averaged}"

    def __getstate__(self):
        # Copies are large and tied to a device: whoever reads the pickle makes its own.
        return self.__dict__ | {"_copies": {}, "sampler": None, "timer": NoTimer()}

    def __setstate__(self, state):
        super().__setstate__(state)
        self._use(self.settings)
