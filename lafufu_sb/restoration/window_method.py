"""One batch of windows through the parts of a method."""

import torch


class WindowMethod:
    """Features, pre-enhancement, encoding, sampling, decoding, waveforms.

    All of it is repeated for each turn of the phase and averaged.

    Arguments
    ---------
    networks : InferenceNetworks
        Inference copies.
    conditioning : Conditioning
        Roles of the inputs.
    process : Process
        The diffusion process.
    objective : Objective
        Turns the score network into an estimate.
    sampler : callable
        See ``get_sampler``.
    settings : RestoreSettings
        Gives ``phase_averages`` and ``dry``.
    timer : PartTimer or NoTimer
        Measures the parts.
    """

    def __init__(
        self, networks, conditioning, process, objective, sampler, settings, timer
    ):
        self.networks = networks
        self.conditioning = conditioning
        self.process = process
        self.objective = objective
        self.sampler = sampler
        self.settings = settings
        self.timer = timer

    def restore(self, windows, noise):
        """Restore windows.

        Arguments
        ---------
        windows : torch.Tensor
            (windows, samples), or (windows, 2, samples) with the result of a
            ``SignalPreEnhancer``; levelled.
        noise : AnchoredNoise
            Of the sampler.

        Returns
        -------
        torch.Tensor
            (windows, samples).
        """
        networks, inputs = self.networks, _stacked(windows)

        def restore(named, _):
            with self.timer.part("encoder"):
                encoded = {name: networks.encode(f) for name, f in named.items()}
            mean, condition, sources = self.conditioning.roles(encoded)
            network = networks.bind(condition, mean)

            def estimate(x_t, t):
                return self.objective.estimate(network, self.process, x_t, mean, t)

            with self.timer.part("sampler"):
                latent = self.sampler(estimate, mean, generator=noise)
            with self.timer.part("decoder"):
                source = networks.representation.join(sources)
                return networks.decode(latent, source.skips, source.size)

        restored, dry = self._average(restore, inputs), self.settings.dry
        return torch.lerp(restored, inputs[:, 0], dry) if dry else restored

    def bound(self, windows, _):
        """Decode clean latents with the skips of the distorted input.

        ``windows`` are (windows, 2 or 3, samples), the clean signal last.
        """

        def reconstruct(named, clean):
            encoded = {
                n: self.networks.encode(named[n]) for n in self.conditioning.skips
            }
            sources = self.conditioning.sources(encoded)
            source = self.networks.representation.join(sources)
            latent = self.networks.encode(clean).latent
            return self.networks.decode(latent, source.skips, source.size)

        return self._average(reconstruct, windows[:, :-1], windows[:, -1])

    @torch.inference_mode()
    def pre_enhance(self, windows, _):
        """Waveforms of the pre-enhancer alone, (windows, samples)."""
        if windows.dim() == 3:
            return windows[:, 1]
        representation = self.networks.representation
        enhanced = self.networks.pre_enhance(representation.features(windows))
        return representation.waveforms(enhanced, windows.shape[-1])

    @torch.inference_mode()
    def _average(self, function, inputs, clean=None):
        """Mean over turns of the phase of what a function makes of features.

        Arguments
        ---------
        function : callable
            ``function({name: features}, features of clean)`` to features.
        inputs : torch.Tensor
            (windows, 1 or 2, samples): distorted, and enhanced by a
            ``SignalPreEnhancer``.
        clean : torch.Tensor, optional
            (windows, samples)

        Returns
        -------
        torch.Tensor
            (windows, samples)
        """
        representation = self.networks.representation
        features = [representation.features(wavs) for wavs in inputs.unbind(1)]
        if clean is not None:
            clean = representation.features(clean)
        total = 0.0
        for quarters in range(self.settings.phase_averages):
            turned = [representation.turn(f, quarters) for f in features]
            if self.networks.pre_enhancer is not None:
                with self.timer.part("pre_enhancer"):
                    turned.append(self.networks.pre_enhance(turned[0]))
            named = dict(zip(("distorted", "enhanced"), turned, strict=False))
            needed = {name: named[name] for name in self.conditioning.needed}
            target = None if clean is None else representation.turn(clean, quarters)
            result = representation.turn(function(needed, target), -quarters)
            total = total + representation.waveforms(result, inputs.shape[-1])
        return total / self.settings.phase_averages


def _stacked(windows):
    """(windows, samples) as (windows, 1, samples)."""
    return windows[:, None] if windows.dim() == 2 else windows
