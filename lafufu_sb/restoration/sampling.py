"""Which sampler a restorer uses: by name, with options, by presets."""

import torch

from lafufu_sb.diffusion.samplers import ESTIMATES, SAMPLERS, get_sampler

QUARTERS = 4  # of a turn: phase_averages by these only exchange channels and signs


class SamplerSettings:
    """The part of a ``Restorer`` that chooses its sampler.

    Needs the attributes ``sde`` and ``objective``, and a method ``_share_frames`` that
    takes the overlap of a preset, or None where it has none of its own.

    Attributes
    ----------
    sampler : callable
        The one in use, with its options; ``calls`` is how often it asks the network.
    sampler_name, sampler_options : str, dict
        What was chosen.
    presets : dict of str to dict
        Settings to choose from by name.
    preset : str or None
        The one in use, as long as nothing of it was changed.
    phase_averages : int
        Over how many phase_averages of the input's phase the result is averaged.
    """

    def _begin_sampling(self, presets, sampler, options, preset):
        self._usual_phase_averages = 1  # where a preset has none of its own
        self.presets = {name: dict(preset) for name, preset in presets.items()}
        for name in self.presets:  # a wrong one shows now, not when it is asked for
            self.set_preset(name)
        self._share_frames(None)  # not that of the last one
        if sampler is not None:
            self.set_sampler(sampler, **options)
        elif preset is not None:
            self.set_preset(preset, **options)
        else:
            raise ValueError("neither a sampler nor a preset: one of them is needed")

    def set_preset(self, preset, **changes):
        """Choose sampler and options by the name of a preset.

        Arguments
        ---------
        preset : str
            One of ``presets``.
        **changes
            Options that differ from the preset's.

        Raises
        ------
        ValueError
            For a preset or an option that there is not; names those there are.
        """
        if preset not in self.presets:
            names = ", ".join(self.presets)
            raise ValueError(
                f"no preset {preset!r}: this model has "
                + (names or "none, choose a sampler and its num_steps instead")
            )
        options = dict(self.presets[preset])
        if "sampler" not in options:
            raise ValueError(f"preset {preset!r} names no sampler")
        overlap = options.pop("overlap_frames", None)
        phase_averages = options.pop("phase_averages", self._usual_phase_averages)
        check_phase_averages(phase_averages)
        self.set_sampler(options.pop("sampler"), **options | changes)
        self._share_frames(overlap)
        self.phase_averages = phase_averages
        if not changes:
            self.preset = preset

    def change_sampler(self, sampler=None, **options):
        """Choose another sampler, or other options for the one there is.

        Arguments
        ---------
        sampler : str, optional
            By default the present one. Another one has the usual overlap and phase_averages
            again, not those of a preset.
        **options
            Those not given stay, unless the sampler becomes another.

        Raises
        ------
        ValueError
            See ``set_sampler``.
        """
        sampler = sampler or self.sampler_name
        same, phase_averages = sampler == self.sampler_name, self.phase_averages
        self.set_sampler(sampler, **(self.sampler_options if same else {}) | options)
        if same:
            self.phase_averages = phase_averages
        else:
            self._share_frames(None)

    def set_phase_averages(self, phase_averages):
        """Choose over how many phase_averages of the phase to average.

        A rotation of the phase changes neither what is heard nor what is wanted, but
        what a network makes of it: their mean errs less, for as many times the work.

        Arguments
        ---------
        phase_averages : int
            1 (none) to 4, by a quarter of a turn each.

        Raises
        ------
        ValueError
            For another number.
        """
        check_phase_averages(phase_averages)
        if phase_averages != self.phase_averages:
            self.preset = None
        self.phase_averages = self._usual_phase_averages = phase_averages

    def set_sampler(self, sampler, **options):
        """Choose sampler and options; ValueError for what does not exist or fit.

        With the usual phase_averages, not those of a preset.
        """
        self.sampler = get_sampler(sampler, self.sde, **options)
        needed = ESTIMATES[SAMPLERS[sampler][1]]
        if self.objective.estimates != needed:
            raise ValueError(
                f"sampler {sampler!r} needs a network that estimates the {needed}, "
                f"{type(self.objective).__name__} trains for the "
                f"{self.objective.estimates}: change the objective or the process"
            )
        self.sampler_name, self.sampler_options = sampler, dict(options)
        self.preset = None  # set_preset knows better
        self.phase_averages = self._usual_phase_averages

    def describe_sampling(self):
        """One line: preset or sampler, the network's calls per window, phase_averages."""
        calls = self.sampler.calls
        chosen = f"preset {self.preset}" if self.preset else self.sampler_name
        phase_averages = (
            f", {self.phase_averages} phase_averages" if self.phase_averages > 1 else ""
        )
        return f"{chosen}, {calls} call{'s' if calls > 1 else ''}{phase_averages}"


def check_phase_averages(phase_averages):
    """ValueError unless it is a number of quarter turns, 1 to 4."""
    if not isinstance(phase_averages, int) or not 1 <= phase_averages <= QUARTERS:
        raise ValueError(
            f"phase_averages must be a whole number from 1 to {QUARTERS}, got {phase_averages!r}"
        )


def rotate(spectrograms, quarters):
    """Add quarters of a turn to the phase.

    Arguments
    ---------
    spectrograms : torch.Tensor
        (batch, 2, ...), real and imaginary parts.
    quarters : int
        Of a turn.

    Returns
    -------
    torch.Tensor
        Of the same shape.

    Example
    -------
    >>> rotate(torch.tensor([[1.0, 2.0]]), 1)
    tensor([[-2.,  1.]])
    """
    for _ in range(quarters % QUARTERS):
        real, imaginary = spectrograms.unbind(1)
        spectrograms = torch.stack([-imaginary, real], dim=1)
    return spectrograms
