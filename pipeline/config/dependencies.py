"""Which engine is made of the vectors of which other one."""

from __future__ import annotations

from collections.abc import Mapping

from pipeline.config.engines import (
    AutoencoderSettings,
    EngineSettings,
    HeadSettings,
    OnnxSettings,
    PretrainedSettings,
    ReducedSettings,
)

Engines = Mapping[str, EngineSettings]


def source_of(settings: EngineSettings) -> str | None:
    """Return the engine whose vectors this one is made of, or taught by; None if there is none."""
    if isinstance(settings, ReducedSettings | HeadSettings):
        return settings.of
    return settings.teacher if isinstance(settings, AutoencoderSettings) else None


def sources_first(engines: Engines) -> list[str]:
    """Return the names of all engines, each behind the one that it is made of, else as given.

    sources_first({"small": ReducedSettings(of="vgg16"), "vgg16": PretrainedSettings()})
    """
    return list(dict.fromkeys(name for each in engines for name in reversed(_chain(each, engines))))


def check_sources(engines: Engines) -> None:
    """Check that every engine has what it is made of.

    Raises:
        ValueError: there is no such engine, or none that can be, or two are made of each other.
    """
    for name, engine in engines.items():
        source = source_of(engine)
        if source is not None and source not in engines and not _is_taught(engine):
            others = ", ".join(other for other in engines if other != name) or "there is none"
            raise ValueError(f"engines.{name}.of: {source!r} is no engine here; others: {others}")
    for name, engine in engines.items():
        _check_teacher(name, engine, engines)
        _check_stem(name, engine, engines)
        chain = _chain(name, engines)
        end = source_of(engines[chain[-1]])
        if end is not None and end in chain:
            circle = " → ".join([*chain[chain.index(end) :], end])
            raise ValueError(
                f"engines.{end}.of: {circle} is a circle; an engine that sees photos is needed"
            )


def _check_teacher(name: str, engine: EngineSettings, engines: Engines) -> None:
    if not _is_taught(engine) or _may_teach(source_of(engine), engines):
        return
    able = ", ".join(other for other in engines if _may_teach(other, engines))
    raise ValueError(
        f"engines.{name}.training.distillation.teacher: {source_of(engine)!r} is no pretrained"
        f" engine; {f'give one of {able}' if able else 'there is none'}"
    )


def _check_stem(name: str, engine: EngineSettings, engines: Engines) -> None:
    if not isinstance(engine, AutoencoderSettings) or engine.stem_layer is None:
        return
    if not isinstance(engines[str(engine.teacher)], PretrainedSettings):
        raise ValueError(
            f"engines.{name}.stem_layer: only from an engine of type pretrained can the first"
            f" layers be taken, and {engine.teacher!r} is another"
        )


def _is_taught(engine: EngineSettings) -> bool:
    return isinstance(engine, AutoencoderSettings) and engine.teacher is not None


def _may_teach(name: str | None, engines: Engines) -> bool:
    """Whether its vectors know of no photo or label of this catalog more than of any other."""
    if name is None or name not in engines:
        return False
    *derived, network = (engines[each] for each in _chain(name, engines))
    return isinstance(network, PretrainedSettings | OnnxSettings) and all(
        isinstance(engine, ReducedSettings) for engine in derived
    )


def _chain(name: str, engines: Engines) -> list[str]:
    """An engine, what it is made of, what that is made of, …, up to where it ends or goes round."""
    chain = [name]
    while (source := source_of(engines[chain[-1]])) in engines and source not in chain:
        chain.append(str(source))
    return chain
