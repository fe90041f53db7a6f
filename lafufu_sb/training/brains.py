"""The training stages as SpeechBrain Brains."""

import speechbrain as sb
import torch

from lafufu_sb.diffusion.objectives import FewStepCorrection
from lafufu_sb.training.restoration_brain import RestorationBrain

QUARTERS = 4  # of the diffusion time, for the logged losses


class PredictorBrain(RestorationBrain):
    """Before stage one: trains the ``predictor`` of ``modules``.

    Its full gains are trained; the floor under them is for those who come after.

    Arguments
    ---------
    loss : SpectrogramLoss or PerceptualLoss
        Of the estimate.
    **kwargs
        See ``RestorationBrain``.
    """

    def __init__(self, *, loss, **kwargs):
        super().__init__(**kwargs)
        self.loss = loss.to(self.device)

    def compute_forward(self, batch, stage):
        """Estimate and target, compressed spectrograms."""
        distorted, clean = map(self.restorer.spectrogram, self.crops(batch, stage))
        return self.modules.predictor(distorted, floor=0.0), clean

    def compute_objectives(self, predictions, batch, stage):
        """Mean of the items' losses, a scalar."""
        if stage != sb.Stage.TRAIN:
            self.measure(batch)
        return self.loss(*predictions)

    def restore(self, distorted, clean, lengths):
        """What the predictor hands on, floor and all."""
        return self.restorer.predict(distorted, lengths)


class AutoencoderBrain(RestorationBrain):
    """Stage one: trains the ``autoencoder`` of ``modules``.

    Validation measures the autoencoder bound, ``decode(clean latent, distorted
    skips)``, and how far the two latents lie apart.

    Arguments
    ---------
    loss : AutoencoderLoss
        All terms.
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
        """Both reconstructions, with all that the loss compares them to."""
        distorted, clean = self.crops(batch, stage)
        if stage == sb.Stage.TRAIN and self.swap:
            generator = self.generator(stage)
            draw = torch.rand((), generator=generator, device=self.device)
            if draw < self.swap:
                distorted, clean = clean, distorted
        y, x = self.spectrograms(distorted, clean)
        predicted = self.predicted(y)
        if predicted is not y:
            y = predicted
            distorted = self.restorer.spectrogram.inverse(y, distorted.shape[-1])
        return self.modules.autoencoder(y, x), y, x, distorted, clean

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
        """Standard deviation of the clean and distorted latents over a training set.

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
            y, x = self.spectrograms(*self.crops(batch, sb.Stage.TRAIN))
            for spectrogram in (self.predicted(y), x):
                latent = self.restorer.autoencoder.encode(spectrogram).latent
                squares += float(latent.double().square().sum())
                count += latent.numel()
        return (squares / count) ** 0.5


class ScoreBrain(RestorationBrain):
    """Stage two: trains the ``score_model`` of ``modules`` on a frozen autoencoder.

    With a ``decoder`` (``LatentDecoder``) among ``modules`` that half of the
    autoencoder learns too what to make of estimated latents, if there is a decoded
    loss. The encoder, and with it the latent, stays as it is.

    Arguments
    ---------
    sde : OUVESDE or SchroedingerBridge
        The process.
    objective : ScoreMatching, DataPrediction or FewStepCorrection
        What is compared with what.
    decoded_loss : SpectrogramLoss or PerceptualLoss, optional
        Of the decoded estimate, as a sum over an item's elements like the latent's
        loss; for objectives that compare data.
    latent_weight : float
        Of the latent's loss in the sum of the two.
    **kwargs
        See ``RestorationBrain``.
    """

    def __init__(
        self, *, sde, objective, decoded_loss=None, latent_weight=1.0, **kwargs
    ):
        super().__init__(**kwargs)
        self.sde = sde
        self.objective = objective
        self.decoded_loss = decoded_loss and decoded_loss.to(self.device)
        self.latent_weight = latent_weight

    def compute_forward(self, batch, stage):
        """Loss of each item, and the decoded loss of the batch or None."""
        autoencoder = self.restorer.autoencoder
        distorted, clean = self.spectrograms(*self.crops(batch, stage))
        with torch.no_grad():
            y, skips, size = autoencoder.encode(self.predicted(distorted))
            x = autoencoder.encode(clean).latent
        network, generator = self.modules.score_model, self.generator(stage)
        loss = self.objective(network, self.sde, x.float(), y.float(), generator)
        if self.decoded_loss is None:
            return loss, None
        latent = loss.estimate.contiguous(memory_format=torch.channels_last)
        trained = "decoder" in self.modules
        decode = self.modules.decoder if trained else autoencoder.decode
        decoded = decode(latent, skips, size)
        return loss, self.decoded_loss(decoded.float(), clean)

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
        span = (predictions.t - self.sde.t_eps) / (self.sde.t_max - self.sde.t_eps)
        quarters = (span * QUARTERS).long().clamp(max=QUARTERS - 1)
        for quarter in range(QUARTERS):
            losses, of_it = predictions.per_item, quarters == quarter
            self.means.add(f"loss_t{quarter + 1}", losses, of_it)


class FewStepBrain(ScoreBrain):
    """Stage three: fits a trained score model to the few steps of its sampler.

    Arguments
    ---------
    restorer : Restorer
        Its sampler is the one that is trained through.
    objective : ScoreMatching or DataPrediction
        What the score model was trained on.
    **kwargs
        See ``ScoreBrain``.
    """

    def __init__(self, *, restorer, objective, **kwargs):
        correction = FewStepCorrection(objective, restorer.sampler)
        super().__init__(restorer=restorer, objective=correction, **kwargs)
