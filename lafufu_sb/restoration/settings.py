"""How a restorer restores: one frozen set of settings."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from typing import Any

from lafufu_sb.errors import UsageError, real_number, whole_number

PRECISIONS = ("fp32", "bf16", "fp16")


@dataclass(frozen=True)
class RestoreSettings:
    """Settings of a restoration. Presets of a model are instances.

    The options of the command line and the keyword arguments of
    ``EnhanceLatent.from_hparams`` are made from these fields.

    Arguments
    ---------
    sampler : str
        Name of a sampler that fits the model.
    num_steps : int, optional
        Steps of the sampler, 1 to 10,000; by default the sampler's own number.
    options : dict
        Further keyword arguments of the sampler.
    phase_averages : int
        1 to 4. The result is the mean over so many quarter turns of the input's phase.
        The error falls, and the work rises by the same factor.
    window, overlap : float, optional
        Seconds of the windows that a recording is cut into (at most 600), and of what
        neighbours share (at most half a window). The nearest lengths that the networks
        can use are taken; by default those of the model.
    precision : str
        "fp32", "bf16" or "fp16": arithmetic of the networks.
    compile : bool
        Whether the networks are compiled at the first restoration, which takes
        minutes. Batches then have exactly ``windows_per_batch`` windows.
    windows_per_batch : int
        Windows that are computed together, 1 to 4096. Bounds the memory.
    seed : int
        Seed of the sampler's noise.
    dry : float
        Share of the input in the result, 0 to 1: ``dry * input + (1 - dry) *
        restored``.

    Raises
    ------
    UsageError
        For a value outside its range.

    Example
    -------
    >>> settings = RestoreSettings("bridge_ode", phase_averages=2)
    >>> settings.changed(num_steps=4).num_steps
    4
    >>> settings.changed(dry=2)
    Traceback (most recent call last):
    ...
    lafufu_sb.errors.UsageError: dry must lie between 0 (restored) and 1 (input), got 2
    """

    sampler: str = field(metadata={"help": "sampler that fits the model"})
    num_steps: int | None = field(
        default=None, metadata={"help": "steps of the sampler"}
    )
    options: dict[str, Any] = field(default_factory=dict)
    phase_averages: int = field(
        default=1,
        metadata={
            "help": "1 to 4: average over so many quarter turns of the phase; lowers "
            "the error, multiplies the time"
        },
    )
    window: float | None = field(
        default=None, metadata={"help": "seconds that the networks see at once"}
    )
    overlap: float | None = field(
        default=None, metadata={"help": "seconds that neighbouring windows share"}
    )
    precision: str = field(
        default="fp32",
        metadata={"help": "arithmetic of the networks", "choices": PRECISIONS},
    )
    compile: bool = field(
        default=False,
        metadata={"help": "compile the networks first (minutes); meant for CUDA"},
    )
    windows_per_batch: int = field(
        default=4, metadata={"help": "windows computed together; bounds the memory"}
    )
    seed: int = field(default=0, metadata={"help": "seed of the sampler's noise"})
    dry: float = field(
        default=0.0, metadata={"help": "share of the input in the result, 0 to 1"}
    )

    def __post_init__(self):
        whole_number("phase_averages", self.phase_averages, 1, 4)
        whole_number("windows_per_batch", self.windows_per_batch, 1, 4096)
        whole_number("seed", self.seed, -(2**63), 2**63 - 1)
        if self.num_steps is not None:
            whole_number("num_steps", self.num_steps, 1, 10_000)
        for name in ("window", "overlap"):
            if getattr(self, name) is not None:
                real_number(name, getattr(self, name), 0, 600)
        if self.precision not in PRECISIONS:
            raise UsageError(
                f"precision must be one of {', '.join(PRECISIONS)}, got "
                f"{self.precision!r}"
            )
        if not 0 <= self.dry <= 1:
            raise UsageError(
                f"dry must lie between 0 (restored) and 1 (input), got {self.dry}"
            )

    @classmethod
    def from_preset(cls, preset: dict, base: RestoreSettings | None = None):
        """Settings from a preset of a YAML: keys that are no fields become options.

        Arguments
        ---------
        preset : dict
            With ``sampler``.
        base : RestoreSettings, optional
            Gives the fields that the preset does not have, but for sampler, steps and
            options.

        Returns
        -------
        RestoreSettings
        """
        if "sampler" not in preset:
            raise UsageError(f"preset {dict(preset)} names no sampler")
        own = {k: v for k, v in preset.items() if k in FIELDS}
        options = {k: v for k, v in preset.items() if k not in FIELDS}
        own["options"] = dict(own.get("options", {})) | options
        if base is None:
            return cls(**own)
        return replace(base, **{"num_steps": None} | own)

    def changed(self, **changes) -> RestoreSettings:
        """A copy with changes. Another sampler drops the old one's options and steps.

        None leaves a field unchanged. Names that are no fields become options of the
        sampler.
        """
        changes = {name: value for name, value in changes.items() if value is not None}
        own = {k: v for k, v in changes.items() if k in FIELDS}
        options = {k: v for k, v in changes.items() if k not in FIELDS}
        keeps = own.get("sampler", self.sampler) == self.sampler
        if not keeps:
            own = {"num_steps": None, "options": {}} | own
        if options:
            kept = own.get("options", self.options if keeps else {})
            own["options"] = dict(kept) | options
        return replace(self, **own)

    def sampler_options(self) -> dict:
        """Keyword arguments of the sampler, ``num_steps`` among them."""
        steps = {} if self.num_steps is None else {"num_steps": self.num_steps}
        return dict(self.options) | steps


FIELDS = tuple(f.name for f in fields(RestoreSettings))
