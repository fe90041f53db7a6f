"""Reading ahead and writing behind: order, bounds, errors."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from lafufu_sb.cleaning.pipeline import Meter, WriteBehind, read_ahead


@pytest.fixture
def pool():
    with ThreadPoolExecutor(2) as pool:
        yield pool


def test_results_come_in_order_and_only_so_many_ahead(pool):
    begun = []
    results = read_ahead(pool, lambda i: begun.append(i) or i, range(10), most=3)
    assert next(results) == 0
    pool.submit(int).result()
    assert max(begun) <= 2
    assert list(results) == list(range(1, 10))


def test_expensive_items_are_read_one_at_a_time(pool):
    begun = []
    results = read_ahead(
        pool, begun.append, [5, 5, 5], most=3, cost=lambda item: item, budget=4
    )
    next(results)
    assert begun == [5]
    assert len(list(results)) == 2


def test_errors_of_reading_reach_the_reader(pool):
    with pytest.raises(ZeroDivisionError):
        list(read_ahead(pool, lambda i: 1 / i, [1, 0], most=2))


def test_errors_of_writing_reach_the_next_call(pool):
    behind = WriteBehind(pool, most=1)
    behind.submit(lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        behind.submit(int)


def test_the_next_call_waits_for_room(pool):
    gate, done = threading.Event(), []
    behind = WriteBehind(pool, most=1)
    behind.submit(lambda: gate.wait() and done.append("first"))
    threading.Timer(0.05, gate.set).start()
    behind.submit(done.append, "second")
    behind.finish()
    assert done == ["first", "second"]


def test_the_next_call_waits_while_open_ones_cost_too_much(pool):
    gate, done = threading.Event(), []
    behind = WriteBehind(pool, most=9, budget=5.0)
    behind.submit(lambda: gate.wait() and done.append("dear"), cost=4.0)
    threading.Timer(0.05, gate.set).start()
    behind.submit(done.append, "cheap", cost=1.0)  # fits beside it
    behind.submit(done.append, "more", cost=1.0)
    behind.finish()
    assert done == ["cheap", "dear", "more"]


def test_computing_is_shared_by_windows(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr("time.perf_counter", lambda: clock[0])
    meter = Meter()
    clock[0] = 6.0
    with meter.waiting("reading"):
        clock[0] = 8.0
    assert (meter.computing, meter.waited["reading"]) == (6.0, 2.0)
    assert meter.share(2) == 6.0  # 3 s a window
    clock[0] = 14.0
    assert meter.share(4) == 8.0  # 12 s for 6 windows
