"""Concurrency: read ahead, write behind, and measure what computing waits for."""

import collections
import contextlib
import time


def read_ahead(pool, function, items, most, cost=None, budget=0.0):
    """Map a function in threads, a few items ahead, in order.

    Arguments
    ---------
    pool : concurrent.futures.Executor
        Its threads.
    function : callable
        ``function(item)``.
    items : iterable
        Its arguments.
    most : int
        Largest number of items ahead.
    cost : callable, optional
        ``cost(item)``, a number. No item is started while those ahead cost more than
        ``budget``.
    budget : float
        See ``cost``.

    Yields
    ------
    object
        Results, in the order of ``items``.

    Example
    -------
    >>> from concurrent.futures import ThreadPoolExecutor
    >>> with ThreadPoolExecutor(2) as pool:
    ...     list(read_ahead(pool, abs, [-1, -2, -3], most=2))
    [1, 2, 3]
    """
    ahead = collections.deque()
    items = iter(items)
    spent, more = 0.0, True
    while True:
        while more and (not ahead or (len(ahead) < most and spent <= budget)):
            try:
                item = next(items)
            except StopIteration:
                more = False
                break
            price = cost(item) if cost else 0.0
            spent += price
            ahead.append((pool.submit(function, item), price))
        if not ahead:
            return
        future, price = ahead.popleft()
        spent -= price
        yield future.result()


class WriteBehind:
    """Calls in threads, with a limit on those that are unfinished.

    Arguments
    ---------
    pool : concurrent.futures.Executor
        Its threads.
    most : int
        Largest number of unfinished calls; the next one waits for the oldest.
    budget : float
        Largest cost of all unfinished calls; beyond it the next one waits, too.
    """

    def __init__(self, pool, most, budget=float("inf")):
        self._pool, self._most, self._budget = pool, most, budget
        self._open, self._spent = collections.deque(), 0.0

    def submit(self, function, *arguments, cost=0.0):
        """Start a call; raises the exception of an earlier one."""
        while self._open and (
            self._open[0][0].done()
            or len(self._open) >= self._most
            or self._spent + cost > self._budget
        ):
            self._wait()
        self._open.append((self._pool.submit(function, *arguments), cost))
        self._spent += cost

    def finish(self):
        """Wait for all calls; raises the exception of one of them."""
        while self._open:
            self._wait()

    def cancel(self):
        """Drop the calls that have not started."""
        for future, _ in self._open:
            future.cancel()

    def _wait(self):
        future, cost = self._open.popleft()
        self._spent -= cost
        future.result()


class Meter:
    """Time that the computing thread computes and waits.

    Attributes
    ----------
    waited : dict of str to float
        Seconds of waiting, by reason.
    """

    def __init__(self):
        self._start = time.perf_counter()
        self.waited = collections.Counter()
        self._windows = 0
        self._marks = collections.deque([(0.0, 0)], maxlen=32)

    @contextlib.contextmanager
    def waiting(self, what):
        """Context whose time counts as waiting."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.waited[what] += time.perf_counter() - start

    @property
    def seconds(self):
        """Seconds since the start."""
        return time.perf_counter() - self._start

    @property
    def computing(self):
        """Seconds that were not spent waiting."""
        return self.seconds - sum(self.waited.values())

    def share(self, windows):
        """Seconds of computing that count for a finished file.

        Windows of several files are computed together, so each counts with the mean
        time of a window over the last files.

        Arguments
        ---------
        windows : int
            Of the file.

        Returns
        -------
        float
        """
        self._windows += windows
        self._marks.append((self.computing, self._windows))
        seconds, before = self._marks[0]
        return windows * (self._marks[-1][0] - seconds) / (self._windows - before)

    def summary(self):
        """One line: total time, and the shares of computing and waiting."""
        seconds = max(self.seconds, 1e-9)
        parts = [f"computing {100 * self.computing / seconds:.0f} %"]
        parts += [
            f"waiting for {what} {100 * waited / seconds:.0f} %"
            for what, waited in self.waited.items()
        ]
        return f"{seconds:.1f} s: " + ", ".join(parts)
