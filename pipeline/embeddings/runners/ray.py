"""Work is done by processes on the machines of a Ray cluster, by Ray's actors.

Nothing large goes through Ray: photos are read from, and shards written to, a storage that all
machines share. A shard is named by its photos, so one that is embedded twice, because a machine was
lost or because it came back, is the same file.
"""

from __future__ import annotations

import hashlib
import os
import platform
from collections.abc import Generator, Iterable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from pipeline.catalog.photos import CHANGED, MISSING, UNREADABLE
from pipeline.config.runner import RayRunnerSettings
from pipeline.download.fetcher import ForwardedRequest, ForwardedResponse
from pipeline.download.outcomes import Failure, Reason
from pipeline.download.owners import HostOwner, OwnedUrls, Urls
from pipeline.download.storing import Downloaded, DownloadJob, End
from pipeline.embeddings.runners.base import OpenEmbedder
from pipeline.embeddings.runners.cluster import cluster, workers
from pipeline.embeddings.runners.pool import Pool, SharedTasks
from pipeline.embeddings.shards import Embedder, ShardPhotos, ShardResult, UnreadablePhoto
from pipeline.errors import PipelineError, RunnerError
from pipeline.progress import Advance

_SHARDS_AHEAD = 2  # one that a worker embeds, and one that it will
_BATCHES_AHEAD = 64  # so that hosts which are slow leave room for others


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
        settings = self.settings
        with (
            cluster(settings) as ray,
            workers(ray, settings, EmbedWorker, Path.cwd(), open_embedder) as actors,
        ):
            same = SameRuntime()
            pool = Pool[ShardPhotos](ray, actors, _SHARDS_AHEAD, settings.start_timeout, same)
            for result in pool.run(SharedTasks(shards)):
                for one in result.unreadable:
                    _check_unreadable_here(one)
                advance(result.embedded)
                yield result

    def fetch(self, urls: Iterable[str], job: DownloadJob, end: End) -> None:
        """Like `Runner.fetch`: each host is asked by one worker, its owner.

        Raises:
            RunnerError: the cluster cannot be reached, or its machines lack files.
        """
        job = replace(job, folder=job.folder.absolute())
        with (
            cluster(self.settings) as ray,
            workers(ray, self.settings, FetchWorker, job) as actors,
        ):
            pool = Pool[Urls](ray, actors, _BATCHES_AHEAD, self.settings.start_timeout, _ignore)
            for downloaded in pool.run(OwnedUrls(urls, len(actors))):
                for one in downloaded:
                    end(one)


class EmbedWorker:
    """The process that embeds; it loads the model once."""

    def __init__(self, number: int, folder: Path, open_embedder: OpenEmbedder) -> None:
        with suppress(OSError):  # only relative paths depend on it
            os.chdir(folder)
        self._open, self._opened = open_embedder, ExitStack()
        self._embedder: Embedder | None = None

    def start(self, workers: Sequence[Any]) -> tuple[str, str]:
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


class FetchWorker:
    """The process that fetches the photos of some hosts, each of which is its own."""

    def __init__(self, number: int, job: DownloadJob) -> None:
        self._folder, self._owner = job.folder, HostOwner(number, job)

    async def start(self, workers: Sequence[Any]) -> None:
        """Get to know the other workers."""
        if not self._folder.is_dir():
            raise _cannot_start(RunnerError("it is not there", where=self._folder))
        self._owner.meet([partial(_forward, worker) for worker in workers])

    async def do(self, urls: Urls) -> list[Downloaded]:
        """Fetch photos; `start` comes first."""
        return await self._owner.fetch(urls)

    async def answer(self, request: ForwardedRequest) -> ForwardedResponse:
        """Like `HostOwner.answer`."""
        return await self._owner.answer(request)


async def _forward(worker: Any, request: ForwardedRequest) -> ForwardedResponse:
    import ray

    try:
        answer: ForwardedResponse = await worker.answer.remote(request)
    except ray.exceptions.RayError:  # it is lost; another attempt finds it again
        return ForwardedResponse(Failure(Reason.CONNECTION_LOST), False, request.cookies)
    return answer


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


def _ignore(_: object) -> None:
    """Workers that fetch say nothing when they have started."""


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
