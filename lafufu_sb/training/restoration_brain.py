"""The parts that all training stages share, as a SpeechBrain Brain.

Everything random in a step (times, noise, swaps) is drawn from a generator seeded by
(seed, epoch, step, rank), and crops by (seed, epoch, item): a run that was killed and
resumed ends with the weights of one that was not.
"""

import math
from contextlib import ExitStack

import numpy
import speechbrain as sb
import torch
from speechbrain.utils.distributed import if_main_process
from speechbrain.utils.logger import get_logger
from speechbrain.utils.train_logger import TensorboardLogger

from lafufu_sb.corpora.pairs import Crops, fit, level
from lafufu_sb.errors import UsageError
from lafufu_sb.evaluation import ClipReport
from lafufu_sb.lobes.pre_enhancer import SignalPreEnhancer
from lafufu_sb.training.means import RunningMeans

logger = get_logger(__name__)


class RestorationBrain(sb.Brain):
    """Base of all stages: EMA, validation on whole clips, logs, checkpoints.

    Arguments
    ---------
    restorer : Restorer
        The unwrapped networks and the settings of validation.
    ema : ExponentialMovingAverage
        Of the trained network; registered here, before training resumes, because a
        recoverable that comes later is not restored.
    epoch_counter : EpochCounter
        Tells the epoch to the random draws.
    train_logger : TrainLogger, optional
        Log file. TensorBoard gets the same, with pictures and sounds, when it is
        installed.
    crop_frames : int
        Frames of a training crop.
    seed : int
        Of all random draws.
    valid_clips : int
        Clips that are restored whole and measured at each validation, spread over the
        ``valid_items`` of the set, which speaker or language may have sorted.
    valid_items : int, optional
        By default the first clips are measured.
    metrics : sequence of str
        Names for ``lafufu_sb.evaluation.metrics.evaluate``.
    best_key : str
        Metric whose best checkpoint is kept and tested; one of ``metrics``.
    lr : float
        The learning rate, which ``lr_schedule`` scales.
    lr_schedule : callable, optional
        Factor of the learning rate at a progress from 0 to 1.
    items : int
        Of the training set.
    batch_size : int
        Items that a process takes at once. With ``items`` and the counter's limit it
        tells the schedule how long the training is.
    report_folder : str, optional
        Where validation pictures and TensorBoard's files go.
    **kwargs
        For ``speechbrain.Brain``.
    """

    def __init__(
        self,
        *,
        restorer,
        ema,
        epoch_counter,
        train_logger=None,
        crop_frames=256,
        seed=0,
        valid_clips=8,
        valid_items=None,
        metrics=("si_sdr", "pesq", "estoi"),
        best_key="si_sdr",
        lr=None,
        lr_schedule=None,
        items=1,
        batch_size=1,
        report_folder=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if best_key not in metrics:
            raise UsageError(
                f"best_key must be one of the metrics ({', '.join(metrics)}), got "
                f"{best_key!r}"
            )
        self.restorer = restorer.to(self.device)
        if self.restorer.device.type == "cuda":
            # Tensor cores want this layout. On a CPU the gradients of this network are
            # faster in the default one.
            self.restorer.score_model.to(memory_format=torch.channels_last)
        self.ema = ema.to(self.device)
        self.means = RunningMeans()
        if self.checkpointer is not None:
            self.checkpointer.add_recoverables({"ema": ema, "counter": epoch_counter})
            self.checkpointer.add_recoverable("means", self.means, optional_load=True)
        self.epoch_counter = epoch_counter
        self.train_logger = train_logger
        self.crop_samples = restorer.representation.samples(crop_frames)
        self.seed = seed
        if valid_clips < 1:
            raise UsageError(f"valid_clips must be at least 1, got {valid_clips}")
        self.measured = spread(valid_clips, valid_items or valid_clips)
        self.metrics = tuple(metrics)
        self.best_key = best_key
        self.lr, self.lr_schedule = lr, lr_schedule
        steps = steps_per_epoch(
            items, batch_size, _world_size(), self.grad_accumulation_factor
        )
        self.total_steps = steps * epoch_counter.limit
        self.report_folder = report_folder
        self.tensorboard = _tensorboard(report_folder)

    def crops(self, batch, stage):
        """Levelled (batch, time) crops as ``Crops``; central after training."""
        signals = [batch.noisy_sig, batch.clean_sig]
        if isinstance(self.restorer.pre_enhancer, SignalPreEnhancer):
            signals.append(batch.enhanced_sig)
        crops = [signal.data for signal in signals]
        if stage != sb.Stage.TRAIN:
            crops = [fit(crop, self.crop_samples) for crop in crops]
        return Crops(*level(*(crop.to(self.device) for crop in crops)))

    def features(self, *wavs):
        """Features of each (batch, time) of waveforms, in the fastest layout."""
        return [laid_out(self.restorer.representation.features(w)) for w in wavs]

    @torch.no_grad()
    def inputs(self, crops, features):
        """Features of the inputs that the recipe names.

        Arguments
        ---------
        crops : Crops
            Of a batch.
        features : torch.Tensor
            Those of the distorted side.

        Returns
        -------
        dict of str to torch.Tensor
            "distorted", "enhanced" or both, see ``Conditioning``.
        """
        restorer, named = self.restorer, {"distorted": features}
        if crops.enhanced is not None:
            named["enhanced"], *_ = self.features(crops.enhanced)
        elif restorer.pre_enhancer is not None:
            # In float32, as in the restorer.
            with torch.autocast(features.device.type, enabled=False):
                named["enhanced"] = restorer.pre_enhancer(features)
        return {name: named[name] for name in restorer.conditioning.needed}

    def generator(self, stage):
        """Generator of this step's random draws."""
        training = stage == sb.Stage.TRAIN
        epoch = self.epoch_counter.current if training else 0
        rank = torch.distributed.get_rank() if _world_size() > 1 else 0
        key = ((self.seed * 100_003 + epoch) * 1_000_003 + self.step) * 1_003 + rank
        return torch.Generator(self.device).manual_seed(key % 2**63)

    def on_fit_batch_start(self, batch, should_step):
        """Set the learning rate of the coming optimiser step."""
        super().on_fit_batch_start(batch, should_step)
        if self.lr_schedule is not None:
            progress = min(1.0, (self.optimizer_step + 1) / self.total_steps)
            for group in self.optimizer.param_groups:
                group["lr"] = self.lr * self.lr_schedule(progress)

    def on_fit_batch_end(self, batch, outputs, loss, should_step):
        """Update the average."""
        super().on_fit_batch_end(batch, outputs, loss, should_step)
        if should_step:
            self.ema.update()

    def _should_save_intra_epoch_ckpt(self, last_ckpt_time, steps_since_ckpt):
        # Gradients that are still being accumulated would be lost by a resume.
        whole_step = self.step % self.grad_accumulation_factor == 0
        return whole_step and super()._should_save_intra_epoch_ckpt(
            last_ckpt_time, steps_since_ckpt
        )

    def on_evaluate_start(self, max_key=None, min_key=None):
        """Load the best checkpoint; UsageError where no epoch was validated yet."""
        found = self.checkpointer.recover_if_possible(max_key=max_key, min_key=min_key)
        if found is None:
            raise UsageError(
                f"{self.checkpointer.checkpoints_dir} has no checkpoint of a validated "
                f"epoch with {max_key or min_key}: train this stage first"
            )

    def keep_best(self):
        """Fill the trained networks with the averaged weights of the best epoch."""
        self.on_evaluate_start(max_key=self.best_key)
        self.ema.copy_to_module()

    def on_stage_start(self, stage, epoch=None):
        """Validation uses the averaged weights."""
        self.report = ClipReport(self.metrics, self.restorer.sample_rate)
        self.seen = 0  # validation batches
        self._average = ExitStack()
        if stage != sb.Stage.TRAIN:
            self._average.enter_context(self.ema.averaged())
            self.restorer.prepare()

    def measure(self, batch):
        """Restore the batch's whole clips and measure them, if it is their turn."""
        place, self.seen = self.seen, self.seen + 1
        if place not in self.measured:
            return
        lengths = batch.noisy_sig.lengths.to(self.device)
        distorted = batch.noisy_sig.data.to(self.device)
        clean = batch.clean_sig.data.to(self.device)
        restored = self.restore(distorted, clean, lengths)
        for item in range(len(batch.id)):
            samples = round(float(lengths[item]) * distorted.shape[1])
            self.report.add(
                batch.id[item],
                *(s[item, :samples].cpu() for s in (distorted, restored, clean)),
            )

    def restore(self, distorted, clean, lengths):
        """The signal that validation measures, (batch, time)."""
        return self.restorer.restore(distorted, lengths)

    def stage_stats(self, stage, stage_loss):
        """Numbers of a finished stage, plain floats as checkpoints demand."""
        return {"loss": float(stage_loss)} | self.means.take()

    def on_stage_end(self, stage, stage_loss, epoch=None):
        """Log, and in validation keep the best and the newest checkpoint."""
        self._average.close()
        stats = self.stage_stats(stage, stage_loss)
        if stage == sb.Stage.TRAIN:
            self.train_stats = stats
            return
        stats |= self.report.means()
        self._log(
            {"epoch": epoch, "lr": self.optimizer.param_groups[0]["lr"]},
            train_stats=self.train_stats,
            valid_stats=stats,
        )
        if if_main_process() and self.report_folder is not None:
            self._show(epoch)
        best = stats[self.best_key]
        if not math.isfinite(best):
            best = -math.inf  # NaN would be sorted first, as the best
        self.checkpointer.save_and_keep_only(
            meta={self.best_key: best, "epoch": epoch},
            max_keys=[self.best_key],
        )

    def _log(self, meta, **stats):
        if self.train_logger is not None:
            stage = {"stage": type(self).__name__}
            self.train_logger.log_stats(stage | meta, **stats)
        if self.tensorboard is not None:
            self.tensorboard.log_stats(meta, **stats)

    def _show(self, epoch):
        """Picture and sound of the first validation clip."""
        name, signals = self.report.first
        if not all(numpy.isfinite(signal).all() for signal in signals.values()):
            logger.warning("validation of %s is not finite: no picture", name)
            return
        self.report.save_first(self.report_folder, f"valid_epoch{epoch}.png")
        if self.tensorboard is None:
            return
        writer = self.tensorboard.writer
        writer.add_figure(f"spectrogram/{name}", self.report.first_figure(), epoch)
        for side, signal in signals.items():
            rate = self.restorer.sample_rate
            writer.add_audio(f"{name}/{side}", signal[None], epoch, sample_rate=rate)


def laid_out(features):
    """Features in the memory layout that convolutions are fastest in."""
    if features.dim() != 4:
        return features
    return features.contiguous(memory_format=torch.channels_last)


def steps_per_epoch(items, batch_size, processes=1, accumulation=1):
    """Optimiser steps that each process makes in an epoch.

    SpeechBrain deals the items out to the processes, repeating a few so that all have
    as many, and drops the batches that are left over from accumulation.

    Raises
    ------
    UsageError
        If there is none.

    Example
    -------
    >>> steps_per_epoch(5, 2), steps_per_epoch(5, 2, processes=2)
    (3, 2)
    """
    batches = -(-items // processes)
    batches = -(-batches // batch_size)
    if batches < accumulation:
        raise UsageError(
            f"an epoch has {batches} batches in each of {processes} processes, too few "
            f"for one step with gradient accumulation over {accumulation}: lower that "
            "or the batch size"
        )
    return batches // accumulation


def spread(count, items):
    """Indices of ``count`` items that are spread evenly, or of all if there are fewer.

    Example
    -------
    >>> sorted(spread(3, 7)), sorted(spread(3, 2))
    ([0, 3, 5], [0, 1])
    """
    count = min(count, items)
    return {-(-number * items // count) for number in range(count)}


def _tensorboard(folder):
    """A logger, or None without folder or without TensorBoard."""
    if folder is None:
        return None
    try:
        return TensorboardLogger(f"{folder}/tensorboard")
    except ImportError:
        return None


def _world_size():
    initialized = torch.distributed.is_initialized()
    return torch.distributed.get_world_size() if initialized else 1
