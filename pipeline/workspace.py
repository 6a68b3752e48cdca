"""Where one engine's models, vectors and builds live."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pipeline.embeddings.store import EmbeddingStore
from pipeline.index.builds import BuildStore
from pipeline.models.store import ModelStore


@dataclass(frozen=True)
class EngineFolder:
    """`<catalog>/<engine>/`."""

    path: Path

    @property
    def models(self) -> ModelStore:
        """Its models."""
        return ModelStore(self.path / "model")

    @property
    def builds(self) -> BuildStore:
        """Its indexes."""
        return BuildStore(self.path)

    def embeddings(self, fingerprint: str) -> EmbeddingStore:
        """Return its vectors by the model with this fingerprint."""
        return EmbeddingStore(self.path / "embeddings" / fingerprint)
