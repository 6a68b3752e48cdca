"""YAML → validated, frozen settings."""

from pipeline.config.base import Settings, expand
from pipeline.config.dependencies import source_of, sources_first
from pipeline.config.download import DownloadSettings
from pipeline.config.engines import (
    AugmentSettings,
    AutoencoderSettings,
    DerivedSettings,
    DistillationSettings,
    HeadSettings,
    OnnxSettings,
    PretrainedSettings,
    ReducedSettings,
    TrainingSettings,
)
from pipeline.config.load import BUILT_IN, find_config, load_config, split_overrides
from pipeline.config.milvus import MilvusSettings
from pipeline.config.schema import (
    Config,
    EmbeddingSettings,
    IndexSettings,
    SearchSettings,
)
from pipeline.config.serve import ServeSettings
from pipeline.config.sources import (
    ColumnSettings,
    CsvSettings,
    FlipkartSettings,
    FolderSettings,
    MetadataSettings,
    SampleSettings,
    TableSettings,
)
from pipeline.config.text_tower import TextTowerSettings
from pipeline.config.watch import WatchSettings

__all__ = [
    "BUILT_IN",
    "AugmentSettings",
    "AutoencoderSettings",
    "ColumnSettings",
    "Config",
    "CsvSettings",
    "DerivedSettings",
    "DistillationSettings",
    "DownloadSettings",
    "EmbeddingSettings",
    "FlipkartSettings",
    "FolderSettings",
    "HeadSettings",
    "IndexSettings",
    "MetadataSettings",
    "MilvusSettings",
    "OnnxSettings",
    "PretrainedSettings",
    "ReducedSettings",
    "SampleSettings",
    "SearchSettings",
    "ServeSettings",
    "Settings",
    "TableSettings",
    "TextTowerSettings",
    "TrainingSettings",
    "WatchSettings",
    "expand",
    "find_config",
    "load_config",
    "source_of",
    "sources_first",
    "split_overrides",
]
