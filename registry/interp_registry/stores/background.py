"""Write while the caller computes the next part."""

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Any

__all__ = ["BackgroundWriter"]


class BackgroundWriter:
    """Runs writing jobs one after the other in a thread; used as a context manager.

    Hashing, copying to disk and syncing release the interpreter, so they overlap with a forward pass. At most ``pending`` jobs wait, which
    bounds the memory that they hold. An error of a job is raised by the next :meth:`submit` or at the end of the block.

    Args:
        pending: How many jobs may wait or run at once.
    """

    def __init__(self, pending: int = 2) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="writer")
        self._slots = threading.BoundedSemaphore(pending)
        self._jobs: list[Future[Any]] = []

    def __enter__(self) -> "BackgroundWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, err: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(wait=True, cancel_futures=err is not None)
        if err is None:
            self._check(self._jobs)

    def submit(self, job: Callable[..., Any], *arguments: Any) -> None:
        """Hand over a job; waits while too many are under way.

        Raises:
            Exception: Whatever an earlier job raised.
        """
        self._slots.acquire()
        finished = [future for future in self._jobs if future.done()]
        self._jobs = [future for future in self._jobs if not future.done()]
        try:
            self._check(finished)
        except BaseException:
            self._slots.release()
            raise
        future = self._pool.submit(job, *arguments)
        future.add_done_callback(lambda _: self._slots.release())
        self._jobs.append(future)

    def drain(self) -> None:
        """Wait for all jobs.

        Raises:
            Exception: Whatever one of them raised.
        """
        jobs, self._jobs = self._jobs, []
        self._check(jobs)

    @staticmethod
    def _check(jobs: list[Future[Any]]) -> None:
        for job in jobs:
            job.result()
