"""The package as a program uses it: public names, results and errors, and what importing does."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

import pipeline
from pipeline.errors import PipelineError, QueryError, RejectedImage
from pipeline.models.base import EmbeddingModel
from tests.conftest import ENGINE, ColorModel, Shop, png


def test_every_public_name_can_be_used() -> None:
    for name in pipeline.__all__:
        assert getattr(pipeline, name) is getattr(pipeline, name)
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = pipeline.nothing


def test_a_result_is_a_mapping_of_engines_and_json(shop: Shop) -> None:
    shop.build({"a": [(1, 0, 0)], "b": [(5, 0, 0)]})
    with pipeline.open(shop.config) as searcher:
        result = searcher.search(png((1, 0, 0)), k=2, fuse=True)
    assert list(result) == [ENGINE]
    assert [hit.item.key for hit in result[ENGINE].hits] == ["a", "b"]
    assert result[ENGINE].build == shop.engine.current_build().path.name
    assert not result.no_match
    assert [hit.item.key for hit in result.fused or ()] == ["a", "b"]
    content = json.loads(json.dumps(result.to_dict()))
    assert content["engines"][ENGINE]["hits"][0]["item"]["key"] == "a"
    assert content["engines"][ENGINE]["fingerprint"] == shop.model.fingerprint
    assert [hit["rank"] for hit in content["fused"]] == [1, 2]


def test_a_search_is_cut_to_k_though_fusing_looks_deeper(shop: Shop) -> None:
    shop.build({f"{n}": [(n, 0, 0)] for n in range(9)})
    with pipeline.open(shop.config) as searcher:
        plain = searcher.search(pipeline.Item(1), k=3)
        fused = searcher.search(pipeline.Item(1), k=3, fuse=True)
        assert fused.engines == plain.engines
        assert (plain.fused, len(fused.fused or ())) == (None, 3)
        with pytest.raises(QueryError, match="fusing groups"):
            searcher.search(pipeline.Item(1), group_by="category", fuse=True)


def test_a_condition_says_what_it_could_not_judge_and_what_is_nearest(shop: Shop) -> None:
    shop.build({"a": [(1, 0, 0)], "b": [(5, 0, 0)]})
    with shop.catalog.transaction():
        for key, category, price in (("a", "Watches", "₹999"), ("b", "Caps", 20)):
            record = shop.catalog.item_by_key(key)
            assert record is not None
            images = shop.catalog.images(record.id)
            shop.catalog.put(key, key, category, {"price": price}, images)
    shop.index()
    with pipeline.open(shop.config) as searcher:
        cheap = searcher.search(png((1, 0, 0)), where="price < 2000")
        none = searcher.search(png((1, 0, 0)), where="category = 'watch'", fuse=True)
        every = searcher.search(png((1, 0, 0)), where="category = 'Caps' or category = 'watch'")
    assert [hit.item.key for hit in cheap[ENGINE].hits] == ["b"]
    assert "price is a text in 1 of the 2 items" in cheap.notes[0]
    assert none.to_dict()["notes"] == ["no item has category = 'watch'; category has Watches"]
    assert (len(every[ENGINE].hits), every.notes) == (1, ())


@pytest.mark.parametrize("item", [True, 1.0, "1", None])
def test_an_item_is_a_whole_number(item: object) -> None:
    with pytest.raises(QueryError, match="an item's id is a whole number"):
        pipeline.Item(item)  # type: ignore[arg-type]


@pytest.mark.parametrize("query", [True, 1, np.int64(1)])
def test_a_bare_number_is_no_query(shop: Shop, query: object) -> None:
    shop.build({"a": [(1, 0, 0)], "b": [(5, 0, 0)]})
    with pipeline.open(shop.config) as searcher, pytest.raises(QueryError, match=r"as Item\("):
        searcher.search(query)  # type: ignore[arg-type]


def test_one_fault_is_one_error_with_fields(shop: Shop, tmp_path: Path) -> None:
    shop.build({"a": [(1, 0, 0)]})
    file = tmp_path / "bad.png"
    file.write_bytes(b"bad")
    with pipeline.open(shop.config) as searcher:
        for query, where in ((file, str(file)), (b"bad", "")):
            with pytest.raises(RejectedImage) as caught:
                searcher.search(query)
            assert (caught.value.code, caught.value.where) == ("rejected_image", where)
            assert caught.value.reason == "not an image"
    with pytest.raises(pipeline.NotBuiltError) as unbuilt:
        pipeline.open(shop.config.model_copy(update={"name": "other"}))
    assert unbuilt.value.code == "not_built"


def test_an_error_is_one_line_of_where_what_and_hint() -> None:
    error = PipelineError("it is broken", where="here", hint="mend it")
    assert str(error) == "here: it is broken; mend it"
    assert (error.where, error.hint) == ("here", "mend it")
    assert str(PipelineError("broken")) == "broken"


def test_closing_lets_go_of_the_files(shop: Shop) -> None:
    shop.build({"a": [(1, 0, 0)]})
    index = str(shop.engine.current_build().segments[0].file)

    def is_open() -> bool:
        links = Path("/proc/self/fd").iterdir()
        return any(os.path.realpath(link) == index for link in links)

    def is_mapped() -> bool:
        return index in Path("/proc/self/maps").read_text()

    with pipeline.open(shop.config) as searcher:
        assert searcher.search(png((1, 0, 0)))[ENGINE].hits
        assert is_open()
        assert is_mapped()
    assert not is_open()
    assert not is_mapped()


def test_threads_load_the_model_once(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.build({"a": [(1, 0, 0)]})
    loads: list[str] = []
    gate = threading.Barrier(4)

    def load(name: str, folder: object, **_: object) -> EmbeddingModel:
        loads.append(name)
        return ColorModel(name)

    monkeypatch.setattr("pipeline.models.load", load)
    with pipeline.open(shop.config) as searcher:

        def ask() -> None:
            gate.wait()
            _ = searcher.engines[ENGINE].model

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert loads == [ENGINE]


def test_notes_go_to_the_logger(caplog: pytest.LogCaptureFixture) -> None:
    from pipeline.progress import SILENT

    with caplog.at_level(logging.INFO, "pipeline"):
        SILENT.note("a note")
    assert [(record.name, record.message) for record in caplog.records] == [("pipeline", "a note")]


def test_importing_changes_nothing_and_loads_nothing_heavy() -> None:
    code = """
import csv, logging, os, sys, warnings
before = dict(os.environ), csv.field_size_limit(), list(logging.root.handlers), warnings.filters[:]
import pipeline
assert not {"numpy", "faiss", "tensorflow", "PIL", "pydantic"} & set(sys.modules)
pipeline.load_config, pipeline.build, pipeline.open, pipeline.__version__
assert not {"tensorflow", "keras", "matplotlib"} & set(sys.modules)
assert before[:3] == (dict(os.environ), csv.field_size_limit(), list(logging.root.handlers))
"""
    subprocess.run([sys.executable, "-c", code], check=True)
