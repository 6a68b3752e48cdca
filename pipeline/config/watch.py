"""Settings of `watch`: how soon `imgsearch watch` builds what has changed."""

from __future__ import annotations

from pydantic import ConfigDict, Field

from pipeline.config.base import Settings

_MAX_SECONDS = 7 * 24 * 3600


class WatchSettings(Settings):
    """How soon `imgsearch watch` builds what has changed; all times are in seconds.

    A file counts when it is the same in two looks that are `quiet` seconds apart.
    """

    model_config = ConfigDict(allow_inf_nan=False)

    every: float = Field(15, ge=0.1, le=_MAX_SECONDS)
    """between two looks at a source where nothing changes. Looks never take more than a twentieth
    of the time: of a million files they are further apart"""
    quiet: float = Field(3, ge=0.1, le=_MAX_SECONDS)
    """without a further change before a build begins, so that it has all that came together"""
    at_most: float = Field(60, ge=0.1, le=_MAX_SECONDS)
    """that a change waits for others to end, and a photo that does not decode for its rest"""
    use_events: bool = True
    """true: the system's events tell to look at once, where there are any | false: looks come only
    every `every` seconds; what is found is the same"""
    retry_downloads: float | None = Field(86_400, ge=1, le=_MAX_SECONDS)
    """between two tries of the photos at URLs that failed; null: they are not tried again"""
