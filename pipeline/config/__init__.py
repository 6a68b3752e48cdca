"""YAML → validated, frozen settings."""

from pipeline.config.base import Settings, expand
from pipeline.config.download import DownloadSettings
from pipeline.config.engines import (
    AugmentSettings,
    AutoencoderSettings,
    DistillationSettings,
    OnnxSettings,
    PretrainedSettings,
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
from pipeline.config.watch import WatchSettings

__all__ = [
    "BUILT_IN",
    "AugmentSettings",
    "AutoencoderSettings",
    "ColumnSettings",
    "Config",
    "CsvSettings",
    "DistillationSettings",
    "DownloadSettings",
    "EmbeddingSettings",
    "FlipkartSettings",
    "FolderSettings",
    "IndexSettings",
    "MetadataSettings",
    "MilvusSettings",
    "OnnxSettings",
    "PretrainedSettings",
    "SampleSettings",
    "SearchSettings",
    "ServeSettings",
    "Settings",
    "TableSettings",
    "TrainingSettings",
    "WatchSettings",
    "expand",
    "find_config",
    "load_config",
    "split_overrides",
]
