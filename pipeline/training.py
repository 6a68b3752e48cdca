"""Get a model for each engine: fetched, trained, or fitted to another engine's vectors."""

from __future__ import annotations

from pipeline import models
from pipeline.catalog.catalog import Catalog
from pipeline.config import (
    AutoencoderSettings,
    DerivedSettings,
    HeadSettings,
    OnnxSettings,
    PretrainedSettings,
)
from pipeline.engine import Engine, image_limits
from pipeline.models.store import ModelFolder
from pipeline.progress import SILENT, Progress


def fetch_weights(engine: Engine, progress: Progress = SILENT) -> tuple[ModelFolder, bool]:
    """Get a pretrained network, unless it is here; return it, and whether it is new.

    Raises what `models.fetch` does.
    """
    settings = engine.settings
    assert isinstance(settings, PretrainedSettings | OnnxSettings)  # noqa: S101  see `is_trained`
    for model in engine.models.with_recipe(engine.recipe(), remove_damaged=True):
        return engine.models.use(model), False
    return models.fetch(engine.name, settings, engine.models, progress), True


def check_trainable(engine: Engine, catalog: Catalog) -> None:
    """Check what an engine that has no model yet needs, before anything takes its time.

    Raises:
        TrainingError: there are no labels that it could learn.
        ConfigError: its teacher's network cannot be cut where its settings say.
    """
    settings = engine.settings
    if engine.models.current() is not None:
        return
    if isinstance(settings, HeadSettings):
        from pipeline.derived.labeled import read_labels

        read_labels(engine.name, catalog, settings.label)
    if isinstance(settings, AutoencoderSettings) and engine.source:
        models.check_stem(engine.name, settings, engine.source.settings)


def train_if_stale(
    engine: Engine, catalog: Catalog, progress: Progress = SILENT
) -> tuple[ModelFolder, bool]:
    """Train a model on the catalog, unless one by the engine's settings knows enough of it.

    Its source or teacher has embedded the photos before. Returns the model, and whether it is new.

        model, is_new = train_if_stale(engine, catalog)

    Raises:
        TrainingError: there are too few photos or labels, or training diverged.
    """
    settings = engine.settings
    if isinstance(settings, AutoencoderSettings):
        return _train_autoencoder(engine, settings, catalog, progress)
    from pipeline.derived.training import fit_if_stale

    assert isinstance(settings, DerivedSettings)  # noqa: S101  see `is_trained`
    return fit_if_stale(
        engine.name,
        settings,
        catalog,
        engine.models,
        engine.source_model,
        engine.source_vectors,
        recipe=engine.recipe(),
        progress=progress,
    )


def _train_autoencoder(
    engine: Engine, settings: AutoencoderSettings, catalog: Catalog, progress: Progress
) -> tuple[ModelFolder, bool]:
    from pipeline.models.autoencoder.training import covers, remove_unfinished, train

    recipe = engine.recipe()
    for model in engine.models.with_recipe(recipe):
        if covers(model, catalog, settings.training.retrain_share):
            remove_unfinished(recipe, engine.models)
            return engine.models.use(model), False
    if engine.source and engine.source_model.has_random_weights:
        name = engine.source.name
        progress.note(f"{engine.name}: its teacher {name} has RANDOM weights: it teaches little")
    model = train(
        engine.name,
        settings,
        catalog,
        engine.models,
        image_limits(engine.config),
        engine.config.embedding.decoders,
        progress,
        recipe=recipe,
        teacher=engine.source_vectors.gather if engine.source else None,
        stem=models.stem(settings, engine.source_model) if engine.source else None,
    )
    return model, True
