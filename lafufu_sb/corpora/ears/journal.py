"""What is written of a generated subset, so that an interrupted run goes on."""

import csv
from pathlib import Path

import soundfile

from lafufu_sb.corpora.ears import render
from lafufu_sb.corpora.ears.benchmark import COLUMNS, SAMPLE_RATE
from lafufu_sb.errors import UsageError
from lafufu_sb.files import written_whole


class Journal:
    """The rows of a subset: beside the files while it grows, a csv when it is whole."""

    def __init__(self, request, subset):
        self.task, self.settings = request.task, request.settings(subset)
        self.final = request.folder / f"{subset}.csv"
        self.growing = request.folder / f".{subset}.csv.part"
        self.rows = {}

    def read(self):
        """Read what an earlier run noted; the last line may be torn."""
        for path in (self.final, self.growing):
            if path.exists():
                with open(path, newline="") as file:
                    for row in csv.reader(file):
                        if len(row) == len(COLUMNS[self.task]) and row[0] != "id":
                            self.rows[row[0]] = tuple(row)
        if self.growing.exists():  # without the torn line
            with written_whole(self.growing) as temporary:
                with open(temporary, "w", newline="") as file:
                    csv.writer(file, lineterminator="\n").writerows(self.rows.values())

    def has(self, job):
        """Whether all files of a job are there and whole.

        Raises
        ------
        UsageError
            The rows noted are those of other draws.
        """
        whole = True
        pieces = job.stretch.pieces
        for number, piece in zip(job.numbers, pieces, strict=True):
            row = self.rows.get(f"{number:05}")
            if row is None:
                return False
            start, source = str(piece.start), Path(job.draw.path)
            fits = row[2:4] == (job.stretch.speech.stem, start)
            if not fits or Path(row[5]).name not in (source.name, source.stem):
                raise UsageError(
                    f"{self.settings.folder} holds {','.join(row)}, made of other "
                    f"sources or settings than now ({job.stretch.speech.path}, "
                    f"{job.draw.path}): remove the folder or give another --output"
                )
            frames = -(-piece.frames * self.settings.sample_rate // SAMPLE_RATE)
            label = render.label_of(self.task, row)
            for path in render.pair_paths(self.settings, row, label):
                whole = whole and _has_frames(path, frames)
        return whole

    def add(self, rows):
        """Note the rows of a job that is written."""
        self.rows |= {row[0]: row for row in rows}
        with open(self.growing, "a", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows(rows)

    def finish(self, jobs):
        """Write the subset's csv; returns the number of rows."""
        numbers = [f"{number:05}" for job in jobs for number in job.numbers]
        with written_whole(self.final) as temporary:
            with open(temporary, "w", newline="") as file:
                writer = csv.writer(file, lineterminator="\n")
                writer.writerow(COLUMNS[self.task])
                writer.writerows(self.rows[number] for number in numbers)
        self.growing.unlink(missing_ok=True)
        return len(numbers)


def _has_frames(path, frames):
    try:
        return soundfile.info(path).frames == frames
    except (OSError, soundfile.LibsndfileError):
        return False
