"""Writing in the background."""

import threading
import time

import pytest

from interp_registry.stores.background import BackgroundWriter


def test_jobs_run_in_order_and_all_of_them():
    done: list[int] = []
    with BackgroundWriter() as writer:
        for number in range(20):
            writer.submit(done.append, number)
    assert done == list(range(20))


def test_the_caller_goes_on_while_a_job_runs():
    release = threading.Event()
    with BackgroundWriter() as writer:
        writer.submit(release.wait, 10)
        release.set()


def test_no_more_jobs_wait_than_allowed():
    running, most = 0, 0
    lock = threading.Lock()

    def enter() -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)

    def job() -> None:
        nonlocal running
        time.sleep(0.002)
        with lock:
            running -= 1

    with BackgroundWriter(pending=2) as writer:
        for _ in range(10):
            writer.submit(job)
            enter()
    assert most <= 3


def fail() -> None:
    raise ValueError("disk")


def test_an_error_reaches_the_caller_at_the_end():
    with pytest.raises(ValueError, match="disk"), BackgroundWriter() as writer:
        writer.submit(fail)


def test_an_error_reaches_the_caller_at_the_next_job():
    reached = False

    def submit_two() -> None:
        nonlocal reached
        with BackgroundWriter(pending=1) as writer:
            writer.submit(fail)
            writer.submit(time.sleep, 0)
            reached = True

    with pytest.raises(ValueError, match="disk"):
        submit_two()
    assert not reached


def test_draining_waits_and_raises():
    done: list[int] = []
    with BackgroundWriter() as writer:
        writer.submit(time.sleep, 0.01)
        writer.submit(done.append, 1)
        writer.drain()
        assert done == [1]


def test_an_error_of_the_caller_is_not_hidden():
    def fail_meanwhile() -> None:
        with BackgroundWriter() as writer:
            writer.submit(fail)
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        fail_meanwhile()
