"""Work beside work: read ahead, write behind, and know which of them one waits for."""

import collections
import contextlib
import time


def read_ahead(pool, function, items, most, cost=None, budget=0.0):
    """Map in threads, a few items ahead, in order.

    Arguments
    ---------
    pool : concurrent.futures.Executor
        That maps.
    function : callable
        Of one item.
    items : iterable
        To map.
    most : int
        Items ahead.
    cost : callable, optional
        Of an item; no more are begun while those ahead cost more than ``budget``.
    budget : float
        See above.

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
    """Calls that run in threads, of which only so many may wait.

    Arguments
    ---------
    pool : concurrent.futures.Executor
        That runs them.
    most : int
        Calls that may be open; the next one waits for the oldest.
    budget : float
        What open calls may cost together; beyond it, the next one waits too.
    """

    def __init__(self, pool, most, budget=float("inf")):
        self._pool, self._most, self._budget = pool, most, budget
        self._open, self._spent = collections.deque(), 0.0

    def submit(self, function, *arguments, cost=0.0):
        """Run a call; raises what an earlier one raised."""
        while self._open and (
            self._open[0][0].done()
            or len(self._open) >= self._most
            or self._spent + cost > self._budget
        ):
            self._wait()
        self._open.append((self._pool.submit(function, *arguments), cost))
        self._spent += cost

    def finish(self):
        """Wait for all; raises what one raised."""
        while self._open:
            self._wait()

    def cancel(self):
        """Drop the calls that have not begun."""
        for future, _ in self._open:
            future.cancel()

    def _wait(self):
        future, cost = self._open.popleft()
        self._spent -= cost
        future.result()


class Meter:
    """Seconds that the computing thread computes, and seconds that it waits.

    Attributes
    ----------
    waited : dict of str to float
        Seconds by what was waited for.
    """

    def __init__(self):
        self.begun = time.perf_counter()
        self.waited = collections.Counter()
        self._windows = 0
        self._marks = collections.deque([(0.0, 0)], maxlen=32)

    @contextlib.contextmanager
    def waiting(self, what):
        """Count the time of the block as waiting."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.waited[what] += time.perf_counter() - start

    @property
    def seconds(self):
        """Since the beginning."""
        return time.perf_counter() - self.begun

    @property
    def computing(self):
        """Seconds that were not spent waiting."""
        return self.seconds - sum(self.waited.values())

    def share(self, windows):
        """Seconds of computing that the windows of a finished file took.

        Windows of several files are computed together, so a file has its share by
        their number, at the mean time of a window over the last files.
        """
        self._windows += windows
        self._marks.append((self.computing, self._windows))
        seconds, before = self._marks[0]
        return windows * (self._marks[-1][0] - seconds) / (self._windows - before)
