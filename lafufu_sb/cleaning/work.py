"""Restoring the files of a shard.

Reader threads decode files ahead; one thread computes, in batches of windows that may
span several files; finisher threads judge, write results and append to the journal. A
result depends on its file and the settings alone.
"""

import contextlib
import math
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial

import torch

from lafufu_sb.audio.files import write_blocks
from lafufu_sb.audio.recordings import Recording
from lafufu_sb.audio.resampling import resample
from lafufu_sb.cleaning.gate import Verdict
from lafufu_sb.cleaning.originals import change_of, memory_errors, one_line, opened
from lafufu_sb.cleaning.partial import PartialResult
from lafufu_sb.cleaning.pipeline import Meter, WriteBehind, read_ahead
from lafufu_sb.cleaning.results import convert, save, transfer
from lafufu_sb.cleaning.sound import FileSound, MemorySound, estimate_snr
from lafufu_sb.errors import NotFiniteError, UsageError
from lafufu_sb.restoration.streaming import TensorSignal

IN_MEMORY = 600.0  # seconds x channels; longer files are restored from disk to disk
# Largest number of files that are read ahead, and that wait for each finisher. Either
# group has at most IN_MEMORY seconds of audio in all.
_AHEAD, _BEHIND = 64, 8


@dataclass
class _Job:
    """A file from reading to its journal row."""

    file: object  # PlannedFile
    problem: str = ""  # why it cannot be read, or empty
    note: str = ""  # what was wrong with its header, or empty
    long: bool = False  # longer than planned, too long for the memory
    before: object = None  # sound
    signals: tuple = ()  # at the model's rate
    blocks: list = field(default_factory=list)  # of each channel
    missing: int = 0  # samples of all channels
    seconds: float = 0.0  # of computing


class Cleaner:
    """Restores files with one model and one gate.

    Arguments
    ---------
    model : EnhanceLatent
        Restores with its own settings.
    gate : callable
        ``gate(before, after)`` to ``Verdict``.
    sample_rate : str
        "keep" writes at each file's rate, "model" at the model's.
    subtype : str, optional
        Sample format of the results, see ``recording_writer``.
    pieces : int
        Pieces of 30 s for the estimated SNR, 0 for the whole file.
    threads : int
        Number of readers, and of finishers.
    """

    def __init__(
        self, model, gate, *, sample_rate="keep", subtype=None, pieces=3, threads=2
    ):
        self.model, self.gate, self.subtype = model, gate, subtype
        self.pieces, self.threads = pieces, threads
        self.keep_rate = sample_rate == "keep"
        self.meter = Meter()

    def run(self, files, shard, on_row=lambda row: None):
        """Clean files and append a row for each to the journal.

        Arguments
        ---------
        files : sequence of PlannedFile
            The files.
        shard : Shard
            Takes rows and temporary files.
        on_row : callable
            ``on_row(row)`` is called for each finished file, from any thread.

        Raises
        ------
        OSError
            If results cannot be written, for example on a full disk. A file that
            cannot be read, or changes or vanishes meanwhile, gets a row with the
            decision "failed" instead.
        """
        self.meter = Meter()
        short = [file for file in files if file.cost <= IN_MEMORY]
        long = [file for file in files if file.cost > IN_MEMORY]

        def finish(function, job):
            row = _row_of(function, job, shard)
            shard.note(row)
            on_row(row)

        with contextlib.ExitStack() as stack:
            readers, finishers = (
                stack.enter_context(ThreadPoolExecutor(self.threads)) for _ in range(2)
            )
            behind = WriteBehind(finishers, _BEHIND * self.threads, IN_MEMORY)
            stack.callback(behind.cancel)
            for job in self._restored(short, readers, long):
                with self.meter.waiting("judging and writing"):
                    behind.submit(finish, self._finished, job, cost=job.file.cost)
            with self.meter.waiting("judging and writing"):
                behind.finish()
            for file in long:
                finish(self._restored_long, _Job(file))

    def _restored(self, files, readers, long):
        """Jobs that are restored or cannot be read; others are added to ``long``."""
        problems = []
        jobs = read_ahead(
            readers, self._read, files, _AHEAD, lambda file: file.cost, IN_MEMORY
        )
        restorer = self.model.restorer
        stream = restorer.stream(self._signals(jobs, problems, long), fill=True)
        for signal, block in stream:
            job, channel = signal.key
            job.blocks[channel].append(block)
            job.missing -= len(block)
            if job.missing == 0:
                windows = len(restorer.plan.starts(signal.samples)) * len(job.blocks)
                job.seconds = self.meter.share(windows)
                yield job
            while problems:
                yield problems.pop()
        yield from problems

    def _signals(self, jobs, problems, long):
        while True:
            with self.meter.waiting("reading"):
                job = next(jobs, None)
            if job is None:
                return
            if job.problem:
                problems.append(job)
            elif job.long:
                long.append(job.file)
            else:
                signals, job.signals = job.signals, ()  # only the stream keeps them
                yield signals

    @torch.no_grad()
    def _read(self, file):
        job = _Job(file)
        try:
            with memory_errors(file), opened(file) as recording:
                rate, job.note = recording.sample_rate, recording.note
                cost = recording.samples / rate * recording.channels
                job.long = cost > max(file.cost, IN_MEMORY)
                if job.long:  # the header was wrong
                    return job
                before = torch.cat(list(recording.blocks()), dim=1)
                wavs = resample(before, rate, self.model.sample_rate)
        except (OSError, UsageError, MemoryError) as error:
            job.problem = one_line(error)
            return job
        job.before = MemorySound(before, rate)
        job.signals = tuple(
            TensorSignal(wav, key=(job, channel)) for channel, wav in enumerate(wavs)
        )
        job.blocks = [[] for _ in wavs]
        job.missing = wavs.numel()
        return job

    @torch.no_grad()
    def _finished(self, job, shard):
        """Judge and write a file that was restored in memory; returns its row."""
        if job.problem:
            return _row(job, "failed", job.problem)
        restored = torch.stack([torch.cat(blocks) for blocks in job.blocks])
        if self.keep_rate:
            rate = job.before.rate
            restored = resample(restored, self.model.sample_rate, rate)
            restored = restored[:, : job.before.samples]
        after = MemorySound(restored, self._rate(job))
        if restored.isfinite().all():
            verdict = self.gate(job.before, after)
        else:
            verdict = Verdict({}, "the restoration has samples that are not finite")
        put = partial(save, wavs=restored, source=job.file.source)
        return self._place(job, after, verdict, put, shard)

    @torch.no_grad()
    def _restored_long(self, job, shard):
        """Restore, judge and write a file from disk to disk; returns its row."""
        file, start = job.file, self.meter.computing
        try:
            recording = opened(file, self.model.sample_rate)
        except (OSError, UsageError) as error:
            return _row(job, "failed", one_line(error))
        job.before, job.note = FileSound(recording), recording.note
        lengths = self.model.restorer.plan.blocks(recording.samples)
        result = PartialResult(shard.partial(file), recording.channels, lengths)
        make = partial(self.model.restored_blocks, recording, fill=True)
        restored = shard.temporary(f"{file.index}.restored.wav")
        try:
            with recording:
                blocks = result.blocks(make)
                write_blocks(recording, blocks, restored, self.keep_rate, "FLOAT")
            job.seconds = (self.meter.computing - start) / result.share_made
            after = FileSound(Recording(restored))
            with self.meter.waiting("judging and writing"):
                verdict = self.gate(job.before, after)
                put = partial(convert, recording=restored, source=file.source)
                row = self._place(job, after, verdict, put, shard)
        except NotFiniteError as error:
            verdict = Verdict({}, one_line(error))
            row = self._place(job, None, verdict, None, shard)
        except UsageError:  # the file was damaged or changed meanwhile
            result.remove()
            raise
        finally:
            restored.unlink(missing_ok=True)
        result.remove()
        return row

    def _rate(self, job):
        return job.before.rate if self.keep_rate else self.model.sample_rate

    def _place(self, job, after, verdict, put, shard):
        """Write the restoration, or the original on objection; returns the row."""
        file, before, rate = job.file, job.before, self._rate(job)
        with shard.whole(file.target, file.index) as temporary:
            if verdict.objection:
                copy = not job.note  # else the header is wrong
                gain = transfer(
                    temporary, file.source, before.rate, rate, self.subtype, copy
                )
                if problem := change_of(file):
                    raise UsageError(problem)
            else:
                gain = put(temporary, rate=rate, subtype=self.subtype)
            size = temporary.stat().st_size
        measures = {
            "seconds": before.seconds,
            "channels": before.channels,
            "sample_rate": rate,
            "samples": math.ceil(before.samples * rate / before.rate),
            "rtf": job.seconds / before.seconds,
            "bytes": size,
        }
        if after is not None:
            measures["snr"] = estimate_snr(before, after, self.pieces)
        decision = "kept" if verdict.objection else "restored"
        more = measures | verdict.measures | gain
        reason = "; ".join(filter(None, [verdict.objection, job.note]))
        return _row(job, decision, reason, **more)


def _row(job, decision, reason, **measures):
    """Journal row of a file. NaN becomes None, since JSON has none."""
    file = job.file
    row = {
        "source": file.source,
        "target": file.target,
        "decision": decision,
        "reason": reason,
        "size": file.size,
        "mtime_ns": file.mtime_ns,
        "finished": time.time(),
        "bytes": None,
        "seconds": file.seconds,
        "channels": file.channels,
    }
    return row | {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in measures.items()
    }


def _row_of(function, job, shard):
    """Row of a job; what is wrong with the recording itself makes it a failed one."""
    try:
        with memory_errors(job.file):
            return function(job, shard)
    except (UsageError, MemoryError) as error:
        return _row(job, "failed", one_line(error))
    except OSError:
        problem = change_of(job.file)
        if not problem:
            raise
        return _row(job, "failed", problem)
