"""Record which pairs of a subset are written, so that a run can be resumed."""

import csv
from pathlib import Path

from lafufu_sb.audio.recordings import read_header
from lafufu_sb.corpora.ears import render
from lafufu_sb.corpora.ears.benchmark import COLUMNS, SAMPLE_RATE
from lafufu_sb.errors import UsageError
from lafufu_sb.files import written_whole


class Journal:
    """The csv rows of a subset; the csv gets its final name when it is complete."""

    def __init__(self, request, subset):
        self.task, self.settings = request.task, request.settings(subset)
        self.final = request.folder / f"{subset}.csv"
        self.growing = request.folder / f".{subset}.csv.part"
        self.rows = {}

    def read(self):
        """Read the rows of an earlier run; its last line may be incomplete."""
        for path in (self.final, self.growing):
            if path.exists():
                with open(path, newline="") as file:
                    for row in csv.reader(file):
                        if len(row) == len(COLUMNS[self.task]) and row[0] != "id":
                            self.rows[row[0]] = tuple(row)
        if self.growing.exists():  # rewrite it without the incomplete line
            with written_whole(self.growing) as temporary:
                with open(temporary, "w", newline="") as file:
                    csv.writer(file, lineterminator="\n").writerows(self.rows.values())

    def has(self, job):
        """Tell whether all files of a job exist and are complete.

        Raises
        ------
        UsageError
            If the recorded rows are those of other draws.
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
                    f"{job.draw.path}): remove the folder or choose another --output"
                )
            frames = -(-piece.frames * self.settings.sample_rate // SAMPLE_RATE)
            label = render.label_of(self.task, row)
            for path in render.pair_paths(self.settings, row, label):
                whole = whole and _has_frames(path, frames)
        return whole

    def add(self, rows):
        """Record the rows of a job whose files are written."""
        self.rows |= {row[0]: row for row in rows}
        with open(self.growing, "a", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows(rows)

    def finish(self, jobs):
        """Write the subset's csv; return the number of rows."""
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
        return read_header(path).frames == frames
    except (OSError, UsageError):
        return False
