"""Where items come from. A new source is a module here and a line in `SOURCES`."""

from __future__ import annotations

from importlib import import_module

from pipeline.config.sources import SourceSettings
from pipeline.sources.base import Source

SOURCES = {
    "sample": "pipeline.sources.sample.source:SampleSource",
    "folder": "pipeline.sources.folder:FolderSource",
    "table": "pipeline.sources.table:TableSource",
    "flipkart": "pipeline.sources.table:TableSource",
}
"""`type` in the settings → module and class, imported when it is needed, and opened by `of`."""


def create(settings: SourceSettings) -> Source:
    """Open the source that a configuration names.

        items = create(load_config(Path("config.yaml")).source).items()

    Raises:
        SourceError: it does not exist.
    """
    module, name = SOURCES[settings.type].split(":")
    source: Source = getattr(import_module(module), name).of(settings)
    return source
