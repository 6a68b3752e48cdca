"""Plans are compared with what is then built, and choices with what was asked for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest

from pipeline.config import Config, load_config
from pipeline.engine import Engine
from pipeline.errors import DamagedArtifactError, NotBuiltError
from pipeline.index import write_index
from pipeline.maintenance.plan import measure_engines, speeds, times
from pipeline.maintenance.plan.catalog_facts import CatalogFacts
from pipeline.maintenance.plan.choose import Machine, Option, Request, choose
from pipeline.maintenance.plan.measure import photo_like
from pipeline.maintenance.plan.networks import network
from pipeline.maintenance.plan.plan import Plan, make_plan
from pipeline.maintenance.plan.speeds import (
    SHIPPED,
    EngineSpeed,
    Speeds,
    read_speeds,
    write_speeds,
)

ENGINES = """
engines:
  vgg: {type: pretrained}
  mobile: {type: pretrained, network: MobileNetV2, include_top: false, layer: null, pooling: avg}
  small: {type: reduced, of: vgg, dim: 16}
  labels: {type: head, of: mobile, label: category}
  own: {type: autoencoder, latent_dim: 24}
  other: {type: onnx, file: other.onnx}
"""


@pytest.fixture
def config(tmp_path: Path) -> Config:
    file = tmp_path / "settings.yaml"
    file.write_text(f"root: {tmp_path}\n{ENGINES}")
    return load_config(file)


def planned(config: Config, request: Request, known: Speeds = SHIPPED, **facts: float) -> Plan:
    networks = [network(name, config) for name in config.engines]
    return make_plan(config, networks, CatalogFacts(**facts), known, request)  # type: ignore[arg-type]


def option(name: str, **changes: object) -> Option:
    values: Mapping[str, object] = {
        "is_exact": True, "disk": 0, "building_disk": 0, "memory": 0, "build_seconds": 0.0,
        "query_seconds": 0.0, "p95": 0.05, "machines": 1,
    }  # fmt: skip
    return Option(name, **{**values, **changes})  # type: ignore[arg-type]


def test_dimensions_are_those_of_the_settings(config: Config) -> None:
    dims = {engine.name: engine.dim for engine in planned(config, Request(1000)).engines}

    assert dims == {
        "vgg": 4096, "mobile": 1280, "small": 16, "labels": 512, "own": 24, "other": 1024,
    }  # fmt: skip


def test_dimensions_are_those_of_a_model_that_is_there(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    def model(engine: Engine) -> Mock:
        if engine.name == "other":
            return Mock(dim=300)
        raise NotBuiltError("none", where="", hint="")

    monkeypatch.setattr(Engine, "model", property(model))
    dims = {engine.name: engine.dim for engine in planned(config, Request(1000)).engines}

    assert dims["other"] == 300
    assert dims["vgg"] == 4096


def test_what_is_guessed_or_measured_says_so(config: Config) -> None:
    known = replace(SHIPPED, cores=4, engines={"other": EngineSpeed(300, 0.1, 0.2)})

    before = {one.name: one for one in planned(config, Request(1000)).engines}
    after = {one.name: one for one in planned(config, Request(1000), known).engines}

    assert (before["other"].basis, before["vgg"].basis) == ("guessed", "shipped")
    assert (after["other"].basis, after["other"].dim) == ("measured", 300)
    seconds = 1000 * (0.1 + SHIPPED.decode_seconds) / 4
    assert after["other"].embedding_seconds == pytest.approx(seconds)


def test_bytes_are_those_of_all_photos_by_all_engines(config: Config) -> None:
    plan = planned(config, Request(1_000_000), photos_per_item=2.0)

    dims = sum(engine.dim for engine in plan.engines)
    flat, pruned, *_ = plan.options
    assert plan.photos == 2_000_000
    assert flat.disk == pytest.approx(4 * 2_000_000 * dims, rel=0.05)
    assert flat.building_disk - flat.disk == 4 * 2_000_000 * 4096
    assert pruned.memory < 0.1 * flat.memory
    assert not flat.fits or flat.memory <= 0.8 * plan.machine.memory
    json.dumps(plan.to_dict(), allow_nan=False)


def test_the_first_exact_one_that_meets_the_request_is_chosen() -> None:
    options = [option("flat", p95=0.3), option("pruned"), option("quick", is_exact=False)]

    choice = choose(options, Request(10, p95=0.1))

    assert (choice.chosen.name, choice.exact.name) == ("pruned", "pruned")
    assert choose(options, Request(10, p95=0.5)).chosen.name == "flat"


def test_an_exact_one_may_take_twice_the_machines_but_not_more() -> None:
    quick = option("quick", is_exact=False, machines=5)

    assert choose([option("exact", machines=10), quick], Request(10)).chosen.name == "exact"
    choice = choose([option("exact", machines=11), quick], Request(10))
    assert choice.chosen.name == "quick"
    assert choice.exact.machines == 11
    assert "11 machines, it takes 5" in choice.why


def test_what_does_not_fit_or_is_too_slow_is_not_chosen() -> None:
    large, quick = option("large", fits=False), option("quick", is_exact=False)
    slow = option("slow", p95=3.0)

    assert choose([large, quick], Request(10)).why == "a machine's memory holds no exact index"
    assert "take 3e+03 ms" in choose([slow, quick], Request(10)).why
    nearest = choose([slow, option("less", p95=2.0)], Request(10))
    assert nearest.chosen.name == "less"
    assert nearest.why.startswith("none meets")


def test_machines_are_counted_by_what_is_busy_and_by_what_is_shared() -> None:
    machine = Machine(cores=2, memory=100)

    assert machine.count(0.03, qps=1) == 1
    assert machine.count(0.03, qps=50) == 2  # 1.5 cores are busy, of 1.2 that may be
    assert machine.count(0.03, qps=1, shared_bytes=801) == 11
    assert (machine.holds(80), machine.holds(81)) == (True, False)


def test_more_photos_take_longer_and_a_promise_less_time_to_be_asked() -> None:
    small, large = (times.sized("pruned", rows, 1280, None, None) for rows in (10**5, 10**6))

    for known in (SHIPPED, replace(SHIPPED, code_bytes=1e8)):
        assert times.exact_query(small, known) < times.exact_query(large, known)
        assert times.index_seconds(small, None, known) < times.index_seconds(large, None, known)
        assert times.promised_query(large, known) < times.exact_query(large, known)
    assert times.index_seconds(large, 0.99, SHIPPED) > times.index_seconds(large, None, SHIPPED)


def test_code_lengths_are_those_that_an_index_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vectors = photo_like(2100, 128)
    monkeypatch.setattr(measure_engines, "ROWS", (len(vectors),))

    (length,) = measure_engines.code_lengths(vectors).values()

    write_index("pruned", tmp_path, 2100, 128, [(np.arange(2100), vectors)])
    bounds = json.loads((tmp_path / "bounds.json").read_bytes())
    assert length == len(bounds["offset"])
    known = EngineSpeed(128, code_lengths={2100: length})
    codes = [(tmp_path / name).stat().st_size for name in ("codes.faiss", "basis.npy")]
    assert times.sized("pruned", 2100, 128, None, known).codes == pytest.approx(
        sum(codes), rel=0.01
    )


def test_vectors_that_codes_cannot_tell_apart_are_planned_as_flat() -> None:
    known = EngineSpeed(1280, code_lengths={10**5: 0, 10**6: 256})

    assert times.sized("pruned", 2 * 10**5, 1280, None, known).codes == 0
    assert times.sized("pruned", 10**6, 1280, None, known).code_length == 256


def test_speeds_are_kept_for_this_machine_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert read_speeds(tmp_path) is None
    measured = replace(
        SHIPPED, engines={"e": EngineSpeed(3, 0.1, None, {1000: 32})}, is_measured=True
    )
    write_speeds(tmp_path, measured)

    assert read_speeds(tmp_path) == measured
    monkeypatch.setattr(speeds, "machine", lambda: "another one")
    assert read_speeds(tmp_path) is None


def test_damaged_speeds_say_how_to_measure_again(tmp_path: Path) -> None:
    write_speeds(tmp_path, SHIPPED)
    file = tmp_path / "speeds.json"
    file.write_bytes(file.read_bytes().replace(b"0.0", b"0.1"))

    with pytest.raises(DamagedArtifactError, match="--measure"):
        read_speeds(tmp_path)
