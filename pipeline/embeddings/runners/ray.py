"""Work is done by processes on the machines of a Ray cluster, by Ray's actors.

Nothing large goes through Ray: photos are read from, and shards written to, a storage that all
machines share. A shard is named by its photos, so one that is embedded twice, because a machine was
lost or because it came back, is the same file.
"""

from __future__ import annotations

import hashlib
import os
import platform
from collections.abc import Generator, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.cache_dirs import environment
from pipeline.catalog.photos import CHANGED, MISSING, UNREADABLE
from pipeline.concurrency import cores
from pipeline.config.runner import RayRunnerSettings
from pipeline.embeddings.runners.base import OpenEmbedder
from pipeline.embeddings.runners.pool import Pool, SharedTasks
from pipeline.embeddings.shards import Embedder, ShardPhotos, ShardResult, UnreadablePhoto
from pipeline.errors import ConfigError, PipelineError, RunnerError
from pipeline.progress import Advance

_SHARDS_AHEAD = 2  # one that a worker embeds, and one that it will


@dataclass(frozen=True)
class RayRunner:
    """Has the work done on the machines of a cluster.

    runner = RayRunner(RayRunnerSettings(address="10.0.0.1:6379", workers=16))
    """

    settings: RayRunnerSettings

    def embed(
        self, open_embedder: OpenEmbedder, shards: Iterable[ShardPhotos], advance: Advance
    ) -> Generator[ShardResult, None, None]:
        """Like `Runner.embed`.

        Raises:
            RunnerError: the cluster cannot be reached, or its machines differ or lack files.
        """
        with cluster(self.settings) as ray:
            actors = spawn(ray, self.settings, EmbedWorker, Path.cwd(), open_embedder)
            pool = Pool[ShardPhotos](
                ray, actors, _SHARDS_AHEAD, self.settings.start_timeout, SameRuntime()
            )
            try:
                for result in pool.run(SharedTasks(shards)):
                    for one in result.unreadable:
                        _check_unreadable_here(one)
                    advance(result.embedded)
                    yield result
            finally:
                for actor in actors:
                    ray.kill(actor)


class EmbedWorker:
    """The process that embeds; it loads the model once."""

    def __init__(self, folder: Path, open_embedder: OpenEmbedder) -> None:
        with suppress(OSError):  # only relative paths depend on it
            os.chdir(folder)
        self._open, self._opened = open_embedder, ExitStack()
        self._embedder: Embedder | None = None

    def start(self) -> tuple[str, str]:
        """Load the model; return the name of this machine, and what computes vectors on it."""
        try:
            embedder = self._embedder or self._opened.enter_context(self._open())
        except PipelineError as error:
            raise _cannot_start(error) from None
        self._embedder = embedder
        return platform.node(), embedder.model.runtime

    def do(self, shard: ShardPhotos) -> ShardResult:
        """Embed a shard; `start` comes first."""
        assert self._embedder is not None  # noqa: S101
        return self._embedder.embed_shard(shard)


@dataclass
class SameRuntime:
    """Makes sure that all workers compute with the same library, so that vectors are the same."""

    known: dict[str, str] = field(default_factory=dict)
    """Runtime → a machine that has it."""

    def __call__(self, started: tuple[str, str]) -> None:
        """Note a machine and its runtime.

        Raises:
            RunnerError: another machine has another.
        """
        machine, runtime = started
        self.known.setdefault(runtime, machine)
        if len(self.known) > 1:
            differing = ", ".join(f"{name} on {where}" for name, where in self.known.items())
            raise RunnerError(
                f"machines would compute different vectors: {differing}",
                where="runner",
                hint="install the same versions everywhere",
            )


def _cannot_start(error: PipelineError) -> RunnerError:
    return RunnerError(
        f"the worker on {platform.node()} cannot start: {error.message}",
        where=error.where,
        hint="all machines must see the catalog's folder and the photos at the same paths",
    )


def _check_unreadable_here(unreadable: UnreadablePhoto) -> None:
    """Make sure that it is the photo's fault, and not that of a machine that does not see it.

    Raises:
        RunnerError: the photo can be read here.
    """
    photo, reason = unreadable.photo, unreadable.reason
    if reason not in (MISSING, CHANGED, UNREADABLE):
        return
    try:
        data = photo.path.read_bytes()
    except OSError:
        return
    if hashlib.sha256(data).digest() == photo.sha256:
        raise RunnerError(
            f"{reason} on a machine of the cluster, but not here",
            where=photo.path,
            hint="all machines must see the photos at the same paths",
        )


# -- The cluster -----------------------------------------------------------------------------------


@contextmanager
def cluster(settings: RayRunnerSettings) -> Iterator[Any]:
    """Connect to a cluster, or start one here, for the block; yields the module `ray`.

    A host process that is connected already stays so.

    Raises:
        ConfigError: Ray is not installed.
        RunnerError: the cluster cannot be reached.
    """
    ray = _import_ray()
    if ray.is_initialized():
        yield ray
        return
    options: dict[str, Any] = {"address": settings.address}
    if settings.address is None:
        options = {
            "address": "local",
            "num_cpus": max(cores(), (settings.workers or 1) * settings.cores),
            "object_store_memory": settings.object_store_memory,
            "include_dashboard": False,
        }
    try:
        with environment({"RAY_USAGE_STATS_ENABLED": "0"}):
            ray.init(**options, log_to_driver=False, logging_level="ERROR")
    except (OSError, RuntimeError, ValueError) as error:
        raise RunnerError(
            f"the Ray cluster cannot be reached ({' '.join(str(error).split())})",
            where=settings.address or "runner",
            hint="start it with `ray start --head`, and set runner.address",
        ) from error
    try:
        yield ray
    finally:
        ray.shutdown()


def spawn(
    ray: Any, settings: RayRunnerSettings, worker: type, *arguments: object, threads: int = 1
) -> list[Any]:
    """Have the cluster start workers: an actor of this class for each."""
    count = settings.workers or _room(ray, settings.cores)
    actor = ray.remote(
        num_cpus=settings.cores,
        memory=settings.memory or None,
        max_restarts=-1,
        max_concurrency=threads,
        scheduling_strategy="SPREAD",
    )(worker)
    return [actor.remote(*arguments) for _ in range(count)]


def _room(ray: Any, cores_each: int) -> int:
    """How many workers the machines of the cluster have room for; at least 1."""
    machines = (node["Resources"].get("CPU", 0) for node in ray.nodes() if node["Alive"])
    return max(1, sum(int(count // cores_each) for count in machines))


def _import_ray() -> Any:
    try:
        import ray
    except ImportError as error:
        hint = "pip install 'imgsearch[ray]'"
        raise ConfigError("runner.type: ray needs Ray", hint=hint) from error
    return ray
