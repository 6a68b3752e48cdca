"""The report's page, read back as a browser would read it."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import warnings
from dataclasses import replace
from datetime import date

import numpy as np
import pytest
from PIL import Image

from pipeline.config import AutoencoderSettings, TrainingSettings
from pipeline.evaluation.evaluate import EvaluationOptions
from pipeline.evaluation.pixels import Preprocessing
from pipeline.evaluation.reconstruction import Reconstruction, ReconstructionSample
from pipeline.images import ImageLimits
from pipeline.report import charts
from pipeline.report.data import ReportData, TrainingHistory, report_data
from pipeline.report.page import report_page
from tests.engines import Fair, Opener, Thing, fairs, open_fair
from tests.maintenance.test_audit_page import HOSTILE, Page
from tests.report.test_data import toys

__all__ = ["open_fair"]

QUICK = EvaluationOptions(cost=False, pca_preprocessing=Preprocessing((8, 8), "bilinear"))
SECTIONS = ["quality", "queries", "maps", "training", "distances", "catalog", "making"]


class Report(Page):
    """A page with scripts, whose text is no text of the page."""

    def __init__(self, html: str) -> None:
        self.scripts: list[str] = []
        super().__init__(html)

    def handle_data(self, data: str) -> None:
        if self.open[-1:] == ["script"]:
            self.scripts.append(data)
        else:
            super().handle_data(data)

    def classes(self, name: str) -> int:
        return sum(name in attributes.get("class", "").split() for _, attributes in self.elements)


def drawn(found: ReportData) -> Report:
    return Report(report_page(found, ImageLimits(), date(2026, 1, 2)))


def look(fair: Fair, options: EvaluationOptions = QUICK) -> Report:
    return drawn(report_data(fair.config, options))


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> ReportData:
    with fairs(tmp_path_factory.mktemp("fair")) as open_:
        fair = open_("color", "mixed")
        fair.build(toys(count=30))
        return report_data(fair.config)


def test_the_page_stands_alone_and_runs_one_script_of_its_own(found: ReportData) -> None:
    html = report_page(found, ImageLimits(), date(2026, 1, 2))
    page = Report(html)
    policy = next(m["content"] for m in page.all("meta") if "http-equiv" in m)
    data, script = page.scripts
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert policy == (
        "default-src 'none'; img-src data:; style-src 'unsafe-inline';"
        f" script-src 'sha256-{digest}'"
    )
    assert [one.get("type") for one in page.all("script")] == ["application/json", None]
    assert json.loads(data).keys() == {"tile", "columns", "texts"}
    assert not {"link", "iframe", "object", "form"} & {tag for tag, _ in page.elements}
    assert not any(name.startswith("on") for _, a in page.elements for name in a)
    assert not re.search(r"[\"'(]\s*https?:|@import|url\((?!data:|#)", html)
    sources = [image["src"] for image in page.all("img")]
    assert sources
    assert all(source.startswith("data:image/") for source in sources)


def test_every_section_is_there_and_linked_to(found: ReportData) -> None:
    page = drawn(found)
    assert [section["id"] for section in page.all("section")] == SECTIONS
    assert [a["href"] for a in page.all("a")] == [f"#{name}" for name in SECTIONS]
    assert "30 distinct photos; 2 engines; made on 2026-01-02." in page.words


def test_the_numbers_are_those_of_the_evaluation(found: ReportData) -> None:
    page = drawn(found)
    assert found.evaluation is not None
    for system in found.evaluation.systems:
        for e in system.scores.values():
            assert f"{e.mean:.3f} {e.low:.3f}–{e.high:.3f}" in page.words
    for cost in found.evaluation.costs:
        assert f"{cost.lookup_ms:.2f} ms {cost.query_ms:.1f} ms 1.0000" in page.words
    for engine in found.engines:
        assert f"{engine.fingerprint} {engine.build} flat 30 30" in page.words
    assert "available 30" in page.words


def test_example_queries_mark_what_is_right(found: ReportData) -> None:
    page = drawn(found)
    examples = found.example_queries
    answers = [one for example in examples for hits in example.hits.values() for one in hits]
    assert page.classes("right") == sum(one.is_right is True for one in answers)
    assert page.classes("wrong") == sum(one.is_right is False for one in answers)
    unsure = replace(found, example_queries=(replace(examples[0], no_match=("mixed",)),))
    assert "mixed: no good match" in drawn(unsure).words
    assert "color: no good match" not in drawn(unsure).words


def test_each_point_of_a_map_leads_to_its_photo(found: ReportData) -> None:
    html = report_page(found, ImageLimits(), date(2026, 1, 2))
    page = Report(html)
    data = json.loads(page.scripts[0])
    (uri,) = re.findall(r"background-image: url\(data:image/jpeg;base64,([^)]*)\)", html)
    sprite = Image.open(io.BytesIO(base64.b64decode(uri)))
    side, columns = data["tile"], data["columns"]
    assert sprite.size == (6 * side, 6 * side)
    points = found.maps.photos
    assert len(page.all("circle")) == 2 * len(points)
    circles = page.all("circle")[: len(points)]
    placed = found.maps.positions["color"] * 1000
    for at, (circle, point) in enumerate(zip(circles, points, strict=True)):
        assert circle["data-photo"] == str(at)
        assert [float(circle["cx"]), float(circle["cy"])] == pytest.approx(placed[at], abs=0.06)
        assert point.record is not None
        assert data["texts"][at] == [point.record.name, point.record.category]
        middle = (at % columns * side + side // 2, at // columns * side + side // 2)
        shown, real = sprite.getpixel(middle), Image.open(point.photo.path).getpixel((0, 0))
        assert np.abs(np.subtract(shown, real)).max() < 12  # JPEG


def test_names_from_a_shop_are_text_and_nothing_else(open_fair: Opener) -> None:
    fair = open_fair("color", "mixed")
    items = toys(count=24)
    label = f"</script>{HOSTILE}$x^2$"
    hostile = {f"{HOSTILE} {key}": Thing(one.colors, label) for key, one in items.items()}
    fair.build(
        {**hostile, **{f"b {key}": Thing([(1, 1, at)], "b") for at, key in enumerate("xyz")}}
    )
    page = look(fair)
    assert len(page.scripts) == 2
    assert not any(name.startswith("on") for _, a in page.elements for name in a)
    assert f"query: {' '.join(label.split())}" in page.words
    assert any(text[1] == label for text in json.loads(page.scripts[0])["texts"])


def test_random_weights_are_marked_wherever_an_engine_is_shown(found: ReportData) -> None:
    assert "RANDOM" not in drawn(found).words
    random = replace(found.engines[1], warning="mixed: RANDOM weights, which know nothing")
    page = drawn(replace(found, engines=(found.engines[0], random)))
    assert page.classes("warning") == 1
    assert "mixed: RANDOM weights, which know nothing" in page.words
    assert page.words.count("RANDOM weights") >= 3


def test_what_is_missing_is_said(open_fair: Opener) -> None:
    fair = open_fair("color")
    fair.build(toys(count=12, labels=""))
    page = look(fair)
    assert "Not measured: no available item of fair has a category" in page.words
    assert "1 engine;" in page.words
    assert "None of them does." in page.words
    assert page.classes("unknown") > 0
    assert page.classes("right") == page.classes("wrong") == 0
    alone = open_fair("color")
    alone.build({"only": Thing([(1, 2, 3)], "a")})
    page = look(alone)
    assert "Not measured: nothing to find" in page.words
    assert "There is no query to show." in page.words
    assert "There is no other item to find." in page.words
    assert len(page.all("circle")) == 1


def test_a_photo_that_is_gone_leaves_a_gap(open_fair: Opener) -> None:
    fair = open_fair("color")
    fair.build(toys(count=12))
    found = report_data(fair.config, QUICK)
    photo = found.example_queries[0].photo
    assert photo is not None
    photo.unlink()
    assert "photo cannot be read" in drawn(found).words


def test_training_is_shown_with_photos_rebuilt(found: ReportData) -> None:
    photos = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3), np.uint8)
    measured = Reconstruction("color", 40, 160, 16, 0.01234, 0.02345)
    trained = replace(
        found.engines[0], training=TrainingHistory([0.2, 0.1, 0.05], [0.3, 0.12, 0.15])
    )
    page = drawn(
        replace(
            found,
            engines=(trained, found.engines[1]),
            reconstructions=(ReconstructionSample(measured, photos, 255 - photos, photos // 2),),
        )
    )
    assert "on 40 held-out photos: 0.01234; PCA 0.02345." in page.words
    assert "epoch (best: 2)" in page.words
    shown = [i for i in page.all("img") if i["src"].startswith("data:image/png")]
    first = [
        np.asarray(Image.open(io.BytesIO(base64.b64decode(i["src"].partition(",")[2]))))
        for i in shown[:3]
    ]
    assert (np.stack(first) == np.stack([photos[0], 255 - photos[0], photos[0] // 2])).all()
    assert len(shown) == 9


def test_limits_of_categories_are_told_apart_from_that_of_all_distances(found: ReportData) -> None:
    page = drawn(found)
    every = [f"Limit by all distances: {engine.limit:.3g}." for engine in found.engines]
    assert all(line in page.words for line in every)
    assert page.words.count("No category has 50 measured photos, so all are judged by it.") == 2
    judged = replace(found.engines[0], category_limits={"": 1.5, "a <b>": 2.25})
    assert "category-limits" not in charts.distances(found.engines[0], "#040001")
    assert "category-limits" in charts.distances(judged, "#040001")
    page = drawn(replace(found, engines=(judged, replace(found.engines[1], limit=None))))
    assert f"{every[0]} By its own: no category 1.5, a <b> 2.25." in page.words
    assert "No distance is too far: search.no_match_percentile is 100." in page.words


def test_names_in_every_script_raise_no_warning(open_fair: Opener) -> None:
    fair = open_fair("color")
    fair.build({f"{n}": Thing([(n, n, n)], "कमीज" if n % 2 else "シャツ") for n in range(8)})
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        text = report_page(report_data(fair.config, QUICK), ImageLimits(), date(2026, 1, 2))
    assert re.search(r"<text[^>]*>कमीज", text)


def test_charts_take_their_colors_from_the_page(found: ReportData) -> None:
    assert found.evaluation is not None
    color = charts.colors([system.name for system in found.evaluation.systems])
    drawn = [
        charts.quality_and_cost(found.evaluation, color),
        charts.quality_by_label(found.evaluation, color),
        charts.distances(found.engines[0], color["color"]),
        charts.training_curve("ae", TrainingHistory([1.0], [2.0]), color["color"]),
    ]
    for svg in drawn:
        assert svg.startswith('<svg role="img" aria-label="')
        assert "xmlns" not in svg
        assert "var(--ink)" in svg or "var(--quiet)" in svg
        used = set(re.findall(r"#[0-9a-f]{6}\b", svg))
        assert not used, used
    assert all(f">{label}<" in drawn[1] for label in "abc")
    ids = [re.findall(r'id="(p[0-9a-f]+)"', svg) for svg in drawn]
    known = [one for own in ids for one in own]
    assert len(known) == len(set(known))


def test_settings_to_make_it_again_are_settings(found: ReportData) -> None:
    import html as markup

    import yaml

    from pipeline.config import Config

    text = report_page(found, ImageLimits(), date(2026, 1, 2))
    settings = re.search(r"<summary>settings.yaml</summary>\s*<pre>(.*?)</pre>", text, re.DOTALL)
    assert settings is not None
    again = Config.model_validate(yaml.safe_load(markup.unescape(settings[1])))
    assert again.model_dump(mode="json") == found.settings


def test_settings_of_an_autoencoder_survive_too() -> None:
    settings = AutoencoderSettings(type="autoencoder", training=TrainingSettings())
    again = AutoencoderSettings.model_validate(settings.model_dump(mode="json"))
    assert again == settings
