"""Workers in other processes, each doing a few tasks at a time; what is lost is done again."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

from pipeline.errors import PipelineError, RunnerError

T = TypeVar("T")

_MAX_TRIES = 5


class Tasks(Protocol[T]):
    """What is to be done."""

    def take(self, worker: int) -> T | None:
        """Return a task for this worker; None if there is none for it now."""

    def give_back(self, worker: int, task: T) -> None:
        """Take back a task that was lost with its worker."""

    def is_over(self) -> bool:
        """Whether every task has been taken."""


class SharedTasks(Generic[T]):
    """Tasks that any worker may do: `SharedTasks(shards)`; they are read one ahead."""

    def __init__(self, tasks: Iterable[T]) -> None:
        self._tasks = iter(tasks)
        self._ready = deque[T]()

    def take(self, worker: int) -> T | None:
        """Like `Tasks.take`."""
        return None if self.is_over() else self._ready.popleft()

    def give_back(self, worker: int, task: T) -> None:
        """Like `Tasks.give_back`: it is the next to be taken."""
        self._ready.appendleft(task)

    def is_over(self) -> bool:
        """Like `Tasks.is_over`."""
        if not self._ready and (task := next(self._tasks, None)) is not None:
            self._ready.append(task)
        return not self._ready


@dataclass
class _Worker:
    """An actor with the methods `start` and `do`."""

    actor: Any
    is_ready: bool = False
    is_starting: bool = False
    busy: int = 0  # tasks that it has


@dataclass
class Pool(Generic[T]):
    """Actors of a Ray cluster, whose `do(task)` is called once `start(actors)` has been.

    A worker that dies is started again by Ray, on another machine if need be.
    """

    ray: Any
    actors: list[Any]
    slots: int
    """Tasks that a worker has at a time."""
    start_timeout: float
    """Seconds without any worker, after which it is given up."""
    started: Callable[[Any], None]
    """Gets what each `start` returns; it may raise."""
    _calls: dict[Any, tuple[int, T | None]] = field(default_factory=dict)
    """What is under way: worker and task; None where it is starting."""
    _tries: Counter[int] = field(default_factory=Counter)
    _workers: list[_Worker] = field(init=False)

    def __post_init__(self) -> None:
        self._workers = [_Worker(actor) for actor in self.actors]

    def run(self, tasks: Tasks[T]) -> Generator[Any, None, None]:
        """Yield what `do` returns for each task, in any order.

        Raises:
            RunnerError: no worker can be had, or a task ends each worker that gets it.
            PipelineError: as `do` and `start` raise it.
        """
        for number in range(len(self._workers)):
            self._start(number)
        while True:
            self._hand_out(tasks)
            if tasks.is_over() and not any(worker.busy for worker in self._workers):
                return
            call = self._wait()
            number, task = self._calls.pop(call)
            worker = self._workers[number]
            try:
                result = self._get(call)
            except _LostError as lost:
                self._lose(number, task, tasks, lost)
                continue
            if task is None:
                worker.is_starting, worker.is_ready = False, True
                self.started(result)
            else:
                worker.busy -= 1
                self._tries.pop(id(task), None)
                yield result

    def _hand_out(self, tasks: Tasks[T]) -> None:
        """One task to each worker in turn, so that the last ones are done side by side."""
        for busy in range(self.slots):
            for number, worker in enumerate(self._workers):
                if worker.is_ready and worker.busy == busy:
                    if (task := tasks.take(number)) is None:
                        continue
                    worker.busy += 1
                    self._calls[worker.actor.do.remote(task)] = number, task

    def _start(self, number: int) -> None:
        worker = self._workers[number]
        worker.is_ready, worker.is_starting = False, True
        # Repeated by Ray until the actor is there again, however often it is started anew.
        call = worker.actor.start.options(max_task_retries=-1).remote(self.actors)
        self._calls[call] = number, None

    def _wait(self) -> Any:
        has_worker = any(worker.is_ready for worker in self._workers)
        timeout = None if has_worker else self.start_timeout
        ready, _ = self.ray.wait(list(self._calls), num_returns=1, timeout=timeout)
        if not ready:
            raise RunnerError(
                f"no worker has started for {self.start_timeout:g} seconds",
                where="runner",
                hint="see `ray status` for what the cluster has room for, runner.cores and"
                " runner.memory for what a worker takes",
            )
        return ready[0]

    def _get(self, call: Any) -> Any:
        """What a call returned; an error of ours as itself.

        Raises:
            _LostError: the worker died.
        """
        errors = self.ray.exceptions
        try:
            return self.ray.get(call)
        except (errors.RayActorError, errors.ObjectLostError, errors.WorkerCrashedError) as error:
            raise _LostError(_first_line(error)) from error
        except errors.RayTaskError as error:
            if isinstance(error.cause, PipelineError | OSError):
                raise error.cause from None
            raise

    def _lose(self, number: int, task: T | None, tasks: Tasks[T], lost: _LostError) -> None:
        worker = self._workers[number]
        if task is None:
            raise RunnerError(f"a worker cannot start: {lost}", where="runner", hint=_SAME)
        worker.busy -= 1
        self._tries[id(task)] += 1
        if self._tries[id(task)] == _MAX_TRIES:
            raise RunnerError(
                f"the same work has ended {_MAX_TRIES} workers: {lost}",
                where="runner",
                hint="see the logs of Ray; a machine may be short of memory",
            )
        tasks.give_back(number, task)
        if not worker.is_starting:
            self._start(number)


_SAME = "all machines need the same versions of Python, Ray and imgsearch[ray]"


class _LostError(Exception):
    """A worker died with what it was doing."""


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), repr(error))
