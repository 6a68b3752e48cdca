"""Settings of `runner`: where photos are embedded and downloaded."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from pipeline.config.base import MAX_COUNT, Settings, Text


class LocalRunnerSettings(Settings):
    """On this machine, in this process."""

    type: Literal["local"] = "local"


class RayRunnerSettings(Settings):
    """On the machines of a Ray cluster, by processes that each have a model of their own.

    All machines see the catalog's folder and the photos at the same paths. What trains, indexes and
    publishes stays on the machine where the command runs, which alone writes the ledger.
    """

    type: Literal["ray"] = "ray"
    address: Text | None = "auto"
    """host:port of the cluster's head | auto: the cluster that this machine belongs to | null: Ray
    is started on this machine, for this run"""
    workers: int | None = Field(None, ge=1, le=MAX_COUNT)
    """processes over all machines; null: as many as the cluster has room for when the run begins"""
    cores: int = Field(1, ge=1, le=1024, description="reserved for a worker")
    memory: int = Field(0, ge=0, le=2**50)
    """bytes reserved for a worker, so that a machine is not given more of them than it holds; 0:
    none are"""
    object_store_memory: int = Field(100_000_000, ge=80_000_000, le=2**50)
    """bytes of shared memory where address is null; photos and vectors do not go through it. Of a
    cluster it is an option of `ray start`"""
    start_timeout: float = Field(300, gt=0)
    """seconds that a run waits for its first worker, or for one when all are lost"""


RunnerSettings = Annotated[LocalRunnerSettings | RayRunnerSettings, Field(discriminator="type")]
