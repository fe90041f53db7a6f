"""One line that says how far a cleaning is."""

import sys
import threading
import time

from lafufu_sb.cleaning.report import count


class Progress:
    """Counts finished files and shows a line.

    On a terminal the line is renewed in place; elsewhere one is written now and then.

    Arguments
    ---------
    files : sequence of PlannedFile
        All that are to be done, those of earlier runs too.
    rows : sequence of dict
        Of files that are done already.
    stream : text file, optional
        By default standard error.
    """

    def __init__(self, files, rows=(), stream=None):
        self.rows = list(rows)
        self._costs = {file.source: file.cost for file in files}
        self._total = sum(self._costs.values())
        self._before = self._done = sum(self._costs[row["source"]] for row in rows)
        self._stream = stream or sys.stderr
        self._terminal = self._stream.isatty()
        self._begun = self._shown = time.perf_counter()
        self._lock = threading.Lock()

    def __call__(self, row):
        """Count a finished file."""
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
        """Seconds of audio, of all channels, per second since the beginning."""
        seconds = time.perf_counter() - self._begun
        return (self._done - self._before) / max(seconds, 1e-9)

    def show(self):
        """Write the line."""
        self._write(self.line() + ("" if self._terminal else "\n"))

    def close(self):
        """Write the last line and leave it."""
        self._write(self.line() + "\n")

    def line(self):
        """How much is done, how fast, and how long the rest takes at that speed."""
        decisions = count(self.rows)
        left = (self._total - self._done) / self.speed if self.speed > 0 else 0.0
        return (
            f"{len(self.rows)} of {len(self._costs)} files, "
            f"{_duration(self._done)} of {_duration(self._total)}, "
            f"{self.speed:.1f} x real time, {_duration(left)} left, "
            f"{decisions['kept']} kept, {decisions['failed']} failed"
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
