"""Where items come from. A new source is a module here and a line in `create`."""

from __future__ import annotations

from pipeline.config import FolderSettings, SampleSettings, TableSettings
from pipeline.sources.base import Source


def create(settings: SampleSettings | FolderSettings | TableSettings) -> Source:
    """Open the source that a configuration names.

        items = create(load_config(Path("config.yaml")).source).items()

    Raises:
        SourceError: it does not exist.
    """
    if isinstance(settings, FolderSettings):
        from pipeline.sources.folder import FolderSource

        return FolderSource.of(settings)
    if isinstance(settings, TableSettings):
        from pipeline.sources.table import TableSource

        return TableSource.of(settings)
    from pipeline.sources.sample.source import SampleSource

    return SampleSource(
        photos=settings.photos,
        near_duplicates=settings.near_duplicates,
        size=settings.size,
        seed=settings.seed,
    )
