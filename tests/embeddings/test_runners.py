"""runners/: what is lost with a worker is done again, and errors are one line. Without Ray.

`FakeRay` has actors that live in this process and die as a test says.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from pipeline.catalog.photos import CHANGED, MISSING
from pipeline.config.runner import LocalRunnerSettings, RayRunnerSettings
from pipeline.embeddings.runners import check_runner, open_runner
from pipeline.embeddings.runners.local import LocalRunner
from pipeline.embeddings.runners.pool import Pool, SharedTasks
from pipeline.embeddings.runners.ray import RayRunner, SameRuntime
from pipeline.embeddings.shards import UnreadablePhoto
from pipeline.errors import ConfigError, RunnerError, WeightsError
from pipeline.progress import ignored
from tests.conftest import Shop


class ActorDied(Exception):
    pass


class TaskFailed(Exception):
    def __init__(self, cause: Exception) -> None:
        self.cause = cause


EXCEPTIONS = SimpleNamespace(
    RayActorError=ActorDied,
    ObjectLostError=ActorDied,
    WorkerCrashedError=ActorDied,
    RayTaskError=TaskFailed,
)


@dataclass
class FakeRay:
    """What the pool uses of the module `ray`; calls are made when they are waited for."""

    last_first: bool = False
    exceptions: Any = field(default_factory=lambda: EXCEPTIONS)

    def wait(self, calls: list[Any], **_: object) -> tuple[list[Any], list[Any]]:
        return [calls[-1 if self.last_first else 0]], []

    def get(self, call: Callable[[], Any]) -> Any:
        return call()


@dataclass
class FakeActor:
    """Doubles numbers; it dies with all that it has when `dies` says so, and starts again."""

    dies: Callable[[int], bool] = lambda number: False
    done: list[int] = field(default_factory=list)
    lives: int = 0

    @property
    def start(self) -> Any:
        def start() -> int:
            self.lives += 1
            return self.lives

        return SimpleNamespace(options=lambda **_: SimpleNamespace(remote=lambda _: start))

    @property
    def do(self) -> Any:
        def remote(number: int) -> Callable[[], int]:
            life = self.lives

            def call() -> int:
                if self.lives != life or self.dies(number):
                    self.lives = life + 1 if self.lives == life else self.lives
                    raise ActorDied("The actor died.\nIts log is long.")
                self.done.append(number)
                return 2 * number

            return call

        return SimpleNamespace(remote=remote)


def pool(actors: Sequence[FakeActor], ray: FakeRay, slots: int = 2) -> Pool[int]:
    return Pool(ray, [*actors], slots, 1, lambda _: None)


@pytest.mark.parametrize("last_first", [False, True])
@pytest.mark.parametrize("slots", [1, 2, 5])
@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("fatal", [[], [0], [7, 13], [18, 19]])
def test_every_task_is_done_once_and_again_only_if_it_was_lost(
    last_first: bool, slots: int, count: int, fatal: list[int]
) -> None:
    left = Counter(fatal)  # each ends one worker, and then is harmless

    def dies(number: int) -> bool:
        left[number] -= 1
        return left[number] >= 0

    actors = [FakeActor(dies) for _ in range(count)]
    results = [*pool(actors, FakeRay(last_first), slots).run(SharedTasks(range(20)))]
    assert sorted(results) == [2 * number for number in range(20)]
    assert Counter(n for actor in actors for n in actor.done) == Counter(range(20))


def test_a_task_that_ends_each_worker_ends_the_run() -> None:
    actors = [FakeActor(lambda number: number == 3) for _ in range(2)]
    with pytest.raises(RunnerError, match="the same work has ended 5 workers: The actor died") as e:
        list(pool(actors, FakeRay()).run(SharedTasks(range(9))))
    assert "\n" not in str(e.value)


def test_our_own_errors_are_raised_as_they_are() -> None:
    def fail(number: int) -> bool:
        raise TaskFailed(WeightsError("no good", where="vgg16"))

    with pytest.raises(WeightsError, match="vgg16: no good"):
        list(pool([FakeActor(fail)], FakeRay()).run(SharedTasks([1])))


def test_tasks_are_read_as_far_as_needed() -> None:
    read: list[int] = []
    tasks = (read.append(number) or number for number in range(100))  # type: ignore[func-returns-value]
    results = pool([FakeActor()], FakeRay(), 3).run(SharedTasks(tasks))
    next(results)
    assert len(read) <= 5
    results.close()


def test_machines_that_compute_by_other_versions_are_named() -> None:
    same = SameRuntime()
    same(("a", "onnxruntime 1"))
    same(("b", "onnxruntime 1"))
    with pytest.raises(RunnerError, match="onnxruntime 1 on a, onnxruntime 2 on c"):
        same(("c", "onnxruntime 2"))


@pytest.mark.parametrize("reason", [MISSING, CHANGED])
def test_a_photo_that_only_other_machines_cannot_read_is_not_blamed(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, reason: str
) -> None:
    from pipeline.embeddings.runners import ray as runner

    shop.offer({"a": [(1, 2, 3)]})
    (photo,) = shop.catalog.photos()
    with pytest.raises(RunnerError, match="on a machine of the cluster, but not here"):
        runner._check_unreadable_here(UnreadablePhoto(photo, reason))
    runner._check_unreadable_here(UnreadablePhoto(photo, "truncated"))
    photo.path.unlink()
    runner._check_unreadable_here(UnreadablePhoto(photo, reason))


def test_the_settings_choose_and_ray_is_needed_only_for_ray(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert isinstance(open_runner(LocalRunnerSettings()), LocalRunner)
    runner = open_runner(RayRunnerSettings())
    assert isinstance(runner, RayRunner)
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigError, match=r"pip install 'imgsearch\[ray\]'"):
        next(runner.embed(lambda: None, [], ignored))  # type: ignore[arg-type, return-value]
    with pytest.raises(ConfigError, match=r"pip install 'imgsearch\[ray\]'"):
        check_runner(RayRunnerSettings())
    check_runner(LocalRunnerSettings())


def test_a_cluster_that_does_not_answer_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = SimpleNamespace(is_initialized=lambda: False)
    monkeypatch.setitem(sys.modules, "ray", fake)
    runner = RayRunner(RayRunnerSettings(address="127.0.0.1:1"))
    with pytest.raises(
        RunnerError, match=r"127\.0\.0\.1:1: the Ray cluster cannot be reached"
    ) as e:
        next(runner.embed(lambda: None, [], ignored))  # type: ignore[arg-type, return-value]
    assert "\n" not in str(e.value)
