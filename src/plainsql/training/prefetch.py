"""Batches built by one background process, a few ahead of the training step."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from multiprocessing import get_context
from multiprocessing.connection import Connection
from queue import Queue
from threading import Thread

from plainsql.training.batching import Batch, Sampler

NICENESS = 5  # the trainer's barrier waits for whichever of its threads is pushed aside


class WorkerDied(RuntimeError):
    """The process that builds batches ended; its traceback is on stderr."""


class Prefetcher:
    """Iterates over `make_sampler().batches(start)`, computed in another process.

    `make_sampler` runs in that process and must be importable there (a module-level
    function or a `functools.partial` of one). The process ends with its reader, also
    when that is killed: its pipe breaks.
    """

    def __init__(self, make_sampler: Callable[[], Sampler], start: int, ahead: int = 24) -> None:
        context = get_context("spawn")
        receiver, sender = context.Pipe(duplex=False)
        self._process = context.Process(
            target=_produce, args=(make_sampler, start, sender), daemon=True
        )
        self._process.start()
        sender.close()
        self._queue: Queue[Batch | None] = Queue(maxsize=ahead)
        Thread(target=_receive, args=(receiver, self._queue), daemon=True).start()

    def __iter__(self) -> Iterator[Batch]:
        return self

    def __next__(self) -> Batch:
        """The next batch. Raises `WorkerDied` when none can come."""
        batch = self._queue.get()
        if batch is None:
            raise WorkerDied("the process that builds batches has ended")
        return batch

    def close(self) -> None:
        """End the process."""
        self._process.terminate()
        self._process.join()


def _produce(make_sampler: Callable[[], Sampler], start: int, sender: Connection) -> None:
    os.nice(NICENESS)
    if hasattr(os, "sched_setaffinity"):  # the trainer's threads are bound to one core each
        os.sched_setaffinity(0, range(os.cpu_count() or 1))
    try:
        for batch in make_sampler().batches(start):
            sender.send(batch)
    except (BrokenPipeError, KeyboardInterrupt):
        return  # the reader has gone


def _receive(receiver: Connection, queue: Queue[Batch | None]) -> None:
    try:
        while True:
            queue.put(receiver.recv())
    except (EOFError, OSError):
        queue.put(None)
