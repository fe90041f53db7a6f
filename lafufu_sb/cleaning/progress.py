"""The progress line of a cleaning."""

import sys
import threading
import time

from lafufu_sb.cleaning.report import count


class Progress:
    """Counts finished files and prints a line.

    On a terminal the line is updated in place; elsewhere one is printed every 30 s.

    Arguments
    ---------
    files : sequence of PlannedFile
        All files, including those that earlier runs have finished.
    rows : sequence of dict
        Journal rows of the finished files.
    stream : text file, optional
        Where to print, by default standard error.
    decisions : sequence of str
        Those that the line counts.
    """

    def __init__(self, files, rows=(), stream=None, decisions=("kept", "failed")):
        self.rows, self._decisions = list(rows), decisions
        self._costs = {file.source: file.cost for file in files}
        self._total = sum(self._costs.values())
        self._before = self._done = sum(self._costs[row["source"]] for row in rows)
        self._stream = stream or sys.stderr
        self._terminal = self._stream.isatty()
        self._start = self._shown = time.perf_counter()
        self._lock = threading.Lock()

    def __call__(self, row):
        """Count a finished file by its journal row."""
        with self._lock:
            self.rows.append(row)
            self._done += self._costs[row["source"]]
            if row["decision"] == "failed":
                self._write(f"lafufu: error: {row['reason']}\n")
            now = time.perf_counter()
            if now - self._shown > (0.5 if self._terminal else 30.0):
                self._shown = now
                self.show()

    @property
    def speed(self):
        """Seconds of audio, times channels, per second since the start."""
        seconds = time.perf_counter() - self._start
        return (self._done - self._before) / max(seconds, 1e-9)

    def show(self):
        """Print the line."""
        self._write(self.line() + ("" if self._terminal else "\n"))

    def close(self):
        """Print the final line."""
        self._write(self.line() + "\n")

    def line(self):
        """Files and audio done, speed, and the time that is left at that speed."""
        decisions = count(self.rows, self._decisions)
        left = (self._total - self._done) / self.speed if self.speed > 0 else 0.0
        return (
            f"{len(self.rows)} of {len(self._costs)} files, "
            f"{_duration(self._done)} of {_duration(self._total)}, "
            f"{self.speed:.1f} x real time, {_duration(left)} left, "
            + ", ".join(f"{number} {name}" for name, number in decisions.items())
        )

    def _write(self, text):
        start = "\r\033[K" if self._terminal else ""
        print(start + text, end="", file=self._stream, flush=True)


def _duration(seconds):
    hours, minutes = int(seconds // 3600), int(seconds % 3600 // 60)
    return (
        f"{hours} h {minutes:02} min"
        if hours
        else f"{minutes} min {seconds % 60:.0f} s"
    )
