"""A Ray cluster: connected to for the length of a block, and the workers that it starts."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pipeline.cache_dirs import environment
from pipeline.concurrency import cores
from pipeline.config.runner import RayRunnerSettings
from pipeline.errors import ConfigError, RunnerError

_CONNECT_SECONDS = 10.0


@contextmanager
def cluster(settings: RayRunnerSettings) -> Iterator[Any]:
    """Connect to a cluster, or start one here, for the block; yields the module `ray`.

    A host process that is connected already stays so.

    Raises:
        ConfigError: Ray is not installed.
        RunnerError: the cluster cannot be reached.
    """
    ray = import_ray()
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
        _check_reachable(settings.address)
        with environment({"RAY_USAGE_STATS_ENABLED": "0"}):
            ray.init(**options, log_to_driver=False, logging_level="CRITICAL")
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


def _check_reachable(address: str | None) -> None:
    """Try to connect, as Ray would go on trying for minutes; raises an OSError if it cannot be."""
    host, mark, port = (address or "").rpartition(":")
    if mark and port.isdigit() and "/" not in host:
        socket.create_connection((host.strip("[]"), int(port)), _CONNECT_SECONDS).close()


@contextmanager
def workers(
    ray: Any, settings: RayRunnerSettings, worker: type, *arguments: object
) -> Iterator[list[Any]]:
    """Have the cluster start workers, an actor of this class for each, and end them with the block.

    `worker` is called with the number of each, and the arguments.
    """
    count = settings.workers or _room(ray, settings.cores)
    actor = ray.remote(
        num_cpus=settings.cores,
        memory=settings.memory or None,
        max_restarts=-1,
        scheduling_strategy="SPREAD",
    )(worker)
    actors = [actor.remote(number, *arguments) for number in range(count)]
    try:
        yield actors
    finally:
        for one in actors:
            ray.kill(one)


def _room(ray: Any, cores_each: int) -> int:
    """How many workers the machines of the cluster have room for; at least 1."""
    machines = (node["Resources"].get("CPU", 0) for node in ray.nodes() if node["Alive"])
    return max(1, sum(int(count // cores_each) for count in machines))


def import_ray() -> Any:
    """Return the module `ray`.

    Raises:
        ConfigError: Ray is not installed.
    """
    try:
        import ray
    except ImportError as error:
        hint = "pip install 'imgsearch[ray]'"
        raise ConfigError("runner.type: ray needs Ray", hint=hint) from error
    return ray
