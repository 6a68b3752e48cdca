"""What is compared: every engine of a catalog, and the baselines; what they know, and rebuild."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

from pipeline.config import AutoencoderSettings, Config
from pipeline.evaluation.baselines import pca_retriever, random_retriever
from pipeline.evaluation.gallery import Gallery
from pipeline.evaluation.options import EvaluationOptions
from pipeline.evaluation.pixels import Pixels, Preprocessing, decode
from pipeline.evaluation.reconstruction import ReconstructionSample, reconstruction
from pipeline.evaluation.refined_ranker import refined_retriever
from pipeline.evaluation.retriever import PhotoEncoder, Retriever, VectorSet
from pipeline.evaluation.trained import Trained, trained_on
from pipeline.progress import Progress
from pipeline.search.engine_searcher import EngineSearcher


class Systems:
    """The engines that are open, and what they are compared with."""

    def __init__(
        self,
        config: Config,
        options: EvaluationOptions,
        searchers: Sequence[EngineSearcher],
        progress: Progress,
    ) -> None:
        self._config, self._options, self._progress = config, options, progress
        self.searchers = {searcher.name: searcher for searcher in searchers}
        self._model_folders = {
            searcher.name: searcher.engine.models.get(searcher.build.manifest["model"])
            for searcher in searchers
        }
        settings = {searcher.name: searcher.engine.settings for searcher in searchers}
        trained = {n: s for n, s in settings.items() if isinstance(s, AutoencoderSettings)}
        self._preprocessing = {
            name: Preprocessing((one.input_size, one.input_size), one.resize)
            for name, one in trained.items()
        }
        # PCA of as many components sees photos as the first autoencoder of that latent does.
        self._baselines = {
            one.latent_dim: self._preprocessing[name] for name, one in reversed(trained.items())
        } or {options.pca_dim: options.pca_preprocessing}

    @cached_property
    def pixels(self) -> dict[Preprocessing, Pixels]:
        """The catalog's photos, decoded once for each preprocessing that is used."""
        first = next(iter(self.searchers.values()))
        photos = list(first.catalog.photos())
        decoders, folder = self._config.embedding.decoders, self._config.folder
        return {
            used: decode(photos, used, first.limits, decoders, folder, self._progress)
            for used in dict.fromkeys([*self._baselines.values(), *self._preprocessing.values()])
        }

    def retrievers(self, gallery: Gallery) -> list[Retriever]:
        """Return every engine, then the baselines."""
        seed = self._options.seed
        return [
            *(engine_retriever(searcher, gallery) for searcher in self.searchers.values()),
            *(
                pca_retriever(gallery, self.pixels[preprocessing], preprocessing, dim, seed)
                for dim, preprocessing in self._baselines.items()
            ),
            random_retriever(gallery, next(iter(self.pixels.values())), seed),
        ]

    def as_searched(self, retriever: Retriever, gallery: Gallery) -> Retriever:
        """Return the same, refined as searches by this engine are."""
        searcher = self.searchers.get(retriever.name)
        if searcher is None:
            return retriever
        return refined_retriever(searcher, retriever, gallery, searcher.chosen())

    def trained(self) -> dict[str, Trained]:
        """Return what each engine knows of the catalog."""
        return {name: trained_on(searcher) for name, searcher in self.searchers.items()}

    def reconstructions(self) -> list[ReconstructionSample]:
        """Measure how well each autoencoder reconstructs what it was not trained on."""
        seed, progress = self._options.seed, self._progress
        samples = [
            reconstruction(name, folder, self.pixels[preprocessing], seed, progress)
            for name, preprocessing in self._preprocessing.items()
            if (folder := self._model_folders[name])
        ]
        return [sample for sample in samples if sample]


def engine_retriever(searcher: EngineSearcher, gallery: Gallery) -> Retriever:
    """Return what ranks a gallery by an engine's distances."""

    def load_encoder() -> PhotoEncoder:
        return PhotoEncoder(searcher.model.prepare, searcher.model.encode)

    vectors = VectorSet.of_items(searcher.index.vectors, searcher.build.ids, gallery.items)
    return Retriever(searcher.name, "engine", vectors, load_encoder, searcher.warning)
