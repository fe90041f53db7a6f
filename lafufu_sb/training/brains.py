"""The training stages as SpeechBrain Brains."""

import speechbrain as sb
import torch
from torch import nn

from lafufu_sb.diffusion.objectives import FewStepCorrection
from lafufu_sb.training.restoration_brain import RestorationBrain, laid_out

QUARTERS = 4  # of the diffusion time, for the logged losses


class PreEnhancerBrain(RestorationBrain):
    """Before stage one: trains the ``pre_enhancer`` of ``modules``.

    Arguments
    ---------
    loss : SpectrogramLoss or PerceptualLoss
        Compares features.
    options : dict
        Arguments of the pre-enhancer's ``forward`` in training.
    **kwargs
        See ``RestorationBrain``.
    """

    def __init__(self, *, loss, options, **kwargs):
        super().__init__(**kwargs)
        self.loss = loss.to(self.device)
        self.options = dict(options)

    def compute_forward(self, batch, stage):
        """Estimated and clean features."""
        representation = self.restorer.representation
        crops = self.crops(batch, stage)
        distorted, clean = map(representation.features, crops[:2])
        return self.modules.pre_enhancer(distorted, **self.options), clean

    def compute_objectives(self, predictions, batch, stage):
        """Mean of the items' losses, a scalar."""
        if stage != sb.Stage.TRAIN:
            self.measure(batch)
        return self.loss(*predictions)

    def restore(self, distorted, clean, lengths):
        """Result of the pre-enhancer alone."""
        return self.restorer.pre_enhance(distorted, lengths)


class AutoencoderBrain(RestorationBrain):
    """Stage one: trains the ``representation`` of ``modules``.

    Validation measures the autoencoder bound, ``decode(clean latent, distorted
    skips)``, and how far the two latents lie apart. The distorted side is the input
    whose skips the decoder gets in restoration.

    Arguments
    ---------
    loss : AutoencoderLoss
        ``loss(reconstructions, distorted, clean, distorted_wavs, clean_wavs)``.
    swap : float
        Probability of exchanging distorted and clean for a batch, as in Refusion.
    **kwargs
        See ``RestorationBrain``.
    """

    def __init__(self, *, loss, swap=0.0, **kwargs):
        super().__init__(**kwargs)
        self.loss = loss.to(self.device)
        self.swap = swap

    def compute_forward(self, batch, stage):
        """Both reconstructions, and the features and waveforms to compare."""
        crops = self.crops(batch, stage)
        distorted, clean = crops.distorted, crops.clean
        if stage == sb.Stage.TRAIN and self.swap:
            generator = self.generator(stage)
            draw = torch.rand((), generator=generator, device=self.device)
            if draw < self.swap:
                distorted, clean = clean, distorted
        y, x = self.features(distorted, clean)
        source, *_ = self.restorer.conditioning.skips
        if source != "distorted":
            y = self.inputs(crops, y)[source]
            distorted = self.restorer.representation.waveforms(y, distorted.shape[-1])
        return self.modules.representation(y, x), y, x, distorted, clean

    def compute_objectives(self, predictions, batch, stage):
        """Autoencoder loss, a scalar."""
        if stage != sb.Stage.TRAIN:
            r = predictions[0]
            distance = (r.clean_latent - r.distorted_latent).float().std()
            self.means.add("latent_ratio", distance / r.clean_latent.float().std())
            self.measure(batch)
        return self.loss(*predictions)

    def restore(self, distorted, clean, lengths):
        """The autoencoder bound."""
        return self.restorer.autoencoder_bound(distorted, clean, lengths)

    @torch.no_grad()
    def latent_std(self, dataset, batches=50, **loader_options):
        """Standard deviation of the latents of a training set, inputs and clean.

        Arguments
        ---------
        dataset : DynamicItemDataset
            Of crops.
        batches : int
            How many to measure.
        **loader_options
            For the data loader.

        Returns
        -------
        float
        """
        order = torch.randperm(
            len(dataset), generator=torch.Generator().manual_seed(self.seed)
        )
        loader = self.make_dataloader(
            dataset, sb.Stage.VALID, sampler=order.tolist(), **loader_options
        )
        squares, count = 0.0, 0
        for _, batch in zip(range(batches), loader, strict=False):
            crops = self.crops(batch, sb.Stage.TRAIN)
            y, x = self.features(*crops[:2])
            for features in (*self.inputs(crops, y).values(), x):
                latent = self.restorer.representation.encode(features).latent
                squares += float(latent.double().square().sum())
                count += latent.numel()
        return (squares / count) ** 0.5


class _Decode(nn.Module):
    """``decode`` of a representation, as a module with the decoder's weights alone.

    Distributed training synchronises the gradients of modules that it calls.
    """

    def __init__(self, representation):
        super().__init__()
        self.decoder = representation.decoder
        self.decode = representation.decode  # a method: its owner is no child

    def forward(self, latent, skips, size):
        return self.decode(latent, skips, size)


class ScoreBrain(RestorationBrain):
    """Stage two: trains the ``score_model`` of ``modules`` on a frozen representation.

    With a ``decoder`` among ``modules`` the decoder learns to decode estimated latents,
    from the decoded loss. The encoder, and with it the latent, stays the same.

    Arguments
    ---------
    process : Process
        The diffusion process.
    objective : Objective
        What is compared with what.
    decoded_loss : SpectrogramLoss or PerceptualLoss, optional
        Of the decoded estimate, as a sum over an item's elements like the latent's
        loss; for objectives that compare data.
    latent_weight : float
        Of the latent's loss in the sum of the two.
    mask_bandwidth : bool
        Whether the decoded loss ignores what lies above the bandwidth of the clean
        recording, where nobody knows what clean speech is. Items then tell their
        ``bandwidth``. The latent's loss has no frequencies to mask.
    **kwargs
        See ``RestorationBrain``.
    """

    def __init__(
        self,
        *,
        modules,
        restorer,
        process,
        objective,
        decoded_loss=None,
        latent_weight=1.0,
        mask_bandwidth=False,
        **kwargs,
    ):
        if "decoder" in modules:
            modules = modules | {"decoder": _Decode(restorer.representation)}
        super().__init__(modules=modules, restorer=restorer, **kwargs)
        self.process = process
        self.objective = objective
        self.decoded_loss = decoded_loss and decoded_loss.to(self.device)
        self.latent_weight = latent_weight
        self.mask_bandwidth = mask_bandwidth

    def compute_forward(self, batch, stage):
        """Loss of each item, and the decoded loss of the batch or None."""
        representation = self.restorer.representation
        crops = self.crops(batch, stage)
        y, clean = self.features(*crops[:2])
        with torch.no_grad():
            inputs = self.inputs(crops, y).items()
            encoded = {name: representation.encode(part) for name, part in inputs}
            mean, condition, sources = self.restorer.conditioning.roles(encoded)
            source = representation.join(sources)
            condition = None if condition is None else condition.float()
            x = representation.encode(clean).latent

        def network(x_t, t):
            return self.modules.score_model(x_t, condition, t)

        generator = self.generator(stage)
        loss = self.objective(network, self.process, x.float(), mean.float(), generator)
        if self.decoded_loss is None:
            return loss, None
        trained = "decoder" in self.modules
        decode = self.modules.decoder if trained else representation.decode
        decoded = decode(laid_out(loss.estimate), source.skips, source.size).float()
        if self.mask_bandwidth:
            decoded = torch.where(self._known(batch, clean), decoded, clean)
        return loss, self.decoded_loss(decoded, clean)

    def _known(self, batch, features):
        """Bins below the bandwidth of each item, (batch, 1, bins, 1)."""
        bins = features.shape[-2]
        hertz = torch.linspace(0.0, self.restorer.sample_rate / 2, bins)
        limits = batch.bandwidth.to(features.device)
        return (hertz.to(limits) <= limits[:, None])[:, None, :, None]

    def compute_objectives(self, predictions, batch, stage):
        """Mean of the items' losses, a scalar."""
        predictions, decoded = predictions
        if predictions.t is not None:
            self._sort_by_time(predictions)
        if stage != sb.Stage.TRAIN:
            self.measure(batch)
        latent = predictions.per_item.mean()
        if decoded is None:
            return latent
        self.means.add("decoded_loss", decoded)
        return self.latent_weight * latent + decoded

    def _sort_by_time(self, predictions):
        """Log the losses by quarter of the diffusion time, unless it is fixed."""
        start, end = self.process.t_eps, self.process.t_max
        if start == end:
            return
        share = (predictions.t - start) / (end - start)
        quarters = (share * QUARTERS).long().clamp(max=QUARTERS - 1)
        for quarter in range(QUARTERS):
            inside = quarters == quarter
            self.means.add(f"loss_t{quarter + 1}", predictions.per_item, inside)


class FewStepBrain(ScoreBrain):
    """Stage three: fits a trained score model to the few steps of its sampler.

    Arguments
    ---------
    restorer : Restorer
        The stage trains through its sampler.
    objective : Objective
        What the score model was trained with.
    **kwargs
        See ``ScoreBrain``.
    """

    def __init__(self, *, restorer, objective, **kwargs):
        correction = FewStepCorrection(objective, restorer.sampler)
        super().__init__(restorer=restorer, objective=correction, **kwargs)
