"""audit: every finding against photos made to be found, and the search against brute force."""

from __future__ import annotations

import errno
import io
import json
from collections.abc import Iterable, Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import imagehash
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter
from scipy import ndimage

from pipeline import images
from pipeline.catalog.catalog import ImageRecord, State
from pipeline.catalog.ingest import ingest
from pipeline.cli import main
from pipeline.duplicates.hamming import near_pairs
from pipeline.errors import NotBuiltError
from pipeline.maintenance.audit import Audit, AuditLimits, Finding, audit
from pipeline.maintenance.audit.measures import MEASURES, measure, plainness, sharpness
from pipeline.maintenance.audit.near import clusters
from pipeline.report.text import counted
from pipeline.sources.base import SourceItem, SourcePhoto
from tests.conftest import ListSource, Shop, tree


def drawing(seed: int, size: int = 240) -> Image.Image:
    """A picture of sharp shapes, unlike those of other seeds."""
    rng = np.random.default_rng(seed)
    image = Image.new("RGB", (size, size), "white")
    draw = ImageDraw.Draw(image)
    for _ in range(12):
        x, y = rng.integers(0, size, 2)
        w, h = rng.integers(size // 10, size // 2, 2)
        draw.ellipse((x, y, x + w, y + h), tuple(rng.integers(0, 256, 3).tolist()))
    return image


def encode(image: Image.Image, form: str = "PNG", **options: int) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def copies(image: Image.Image) -> list[bytes]:
    """Other files of the same look."""
    half = image.resize((image.width // 2, image.height // 2), Image.Resampling.BICUBIC)
    return [
        encode(image, "JPEG", quality=80),
        encode(half),
        encode(ImageEnhance.Brightness(image).enhance(0.95)),
    ]


def blur(image: Image.Image) -> Image.Image:
    return image.filter(ImageFilter.GaussianBlur(0.015 * max(image.size)))


def item(key: str, category: str, *photos: bytes) -> SourceItem:
    return SourceItem(
        key,
        key.title(),
        category,
        tuple(SourcePhoto(f"{key}-{n}", data=p) for n, p in enumerate(photos)),
    )


def offer(shop: Shop, *items: SourceItem) -> None:
    ingest(ListSource(items), shop.catalog, shop.limits)


def look(shop: Shop, **limits: float) -> Audit:
    return audit(shop.config, limits=AuditLimits(**limits))  # type: ignore[arg-type]


def keys(finding: Finding) -> list[list[str]]:
    """The keys of the examples, group by group."""
    return [[example.key for example in group.examples] for group in finding.groups]


# --- near pairs and clusters ---------------------------------------------------------------------


def brute_force(hashes: np.ndarray, distance: int) -> set[tuple[int, int]]:
    bits = np.unpackbits(hashes.view(np.uint8), axis=1).astype(int)
    apart = (bits[:, None] != bits[None]).sum(axis=2)
    return {(a, b) for a, b in combinations(range(len(bits)), 2) if apart[a, b] <= distance}


def found(hashes: np.ndarray, distance: int, **sizes: int) -> set[tuple[int, int]]:
    blocks = [*near_pairs(hashes, distance, **sizes)]  # type: ignore[arg-type]
    pairs = [pair for a, b in blocks for pair in zip(a.tolist(), b.tolist(), strict=True)]
    assert len(pairs) == len(set(pairs))
    return set(pairs)


def families(seed: int, count: int, words: int, bits: int) -> np.ndarray:
    """Hashes of which many are a few bits from each other, or equal."""
    rng = np.random.default_rng(seed)
    origin = rng.integers(0, 2, (max(1, count // 4), words * 64), dtype=np.uint8)
    many = origin[rng.integers(0, len(origin), count)]
    for row in many:
        row[rng.choice(words * 64, rng.integers(0, bits + 1), replace=False)] ^= 1
    return np.packbits(many, axis=1).view(np.uint64)


@given(
    seed=st.integers(0, 2**32),
    count=st.integers(1, 60),
    words=st.sampled_from([1, 4]),
    distance=st.integers(0, 20),
)
@settings(max_examples=100, deadline=None)
def test_all_pairs_are_found_and_no_others(
    seed: int, count: int, words: int, distance: int
) -> None:
    hashes = families(seed, count, words, distance)
    assert found(hashes, distance) == brute_force(hashes, distance)


def test_pairs_come_in_their_order_and_in_blocks() -> None:
    hashes = families(1, 150, 4, 6)
    assert found(hashes, 12, max_pairs=7) == brute_force(hashes, 12) != set()
    assert all((a < b).all() and len(a) <= 7 for a, b in near_pairs(hashes, 12, max_pairs=7))


def test_two_photos_that_differ_in_every_band_but_one_are_a_pair() -> None:
    hashes = np.zeros((13, 4), np.uint64)
    for spared in range(13):
        bits = np.zeros(256, np.uint8)
        bits[[band for band in range(13) if band != spared]] = 1
        hashes[spared] = np.packbits(bits).view(np.uint64)
    both = np.vstack((hashes, np.zeros((1, 4), np.uint64)))
    assert {(n, 13) for n in range(13)} <= found(both, 12)


def components(count: int, pairs: Iterable[tuple[int, int]]) -> list[list[int]]:
    """The same by flooding, largest first."""
    near: dict[int, set[int]] = {n: set() for n in range(count)}
    for a, b in pairs:
        near[a].add(b)
        near[b].add(a)
    parts, seen = [], set[int]()
    for start in range(count):
        part, todo = set[int](), [start]
        while todo:
            if (one := todo.pop()) not in seen:
                seen.add(one)
                part.add(one)
                todo += near[one]
        parts.append(sorted(part))
    return sorted((p for p in parts if len(p) > 1), key=lambda p: (-len(p), p[0]))


@given(seed=st.integers(0, 2**32), count=st.integers(0, 60), color=st.integers(0, 12))
@settings(max_examples=40, deadline=None)
def test_clusters_are_the_connected_parts_of_what_is_near_in_shape_and_color(
    seed: int, count: int, color: int
) -> None:
    rng = np.random.default_rng(seed)
    measures = np.zeros(count, MEASURES)
    if count:
        measures["hash"] = families(seed, count, 4, 5)
    measures["color"] = rng.choice([0, 8, 20, 255], (count, 1)) + rng.integers(0, 3, (count, 108))
    levels = measures["color"].astype(int)
    pairs = [
        (a, b)
        for a, b in brute_force(measures["hash"], 8)
        if abs(levels[a] - levels[b]).max() <= color
    ]
    expected = components(count, pairs)
    assert [rows.tolist() for rows in clusters(measures, 8, color)] == expected


def chain(seed: int, count: int, step: int) -> np.ndarray:
    """Hashes each `step` bits from the next, and so the further the more there are between."""
    flipped = np.random.default_rng(seed).permutation(256)[: (count - 1) * step]
    bits = np.zeros((count, 256), np.uint8)
    for n in range(count):
        bits[n, flipped[: n * step]] = 1
    return np.packbits(bits, axis=1).view(np.uint64)


@given(
    seed=st.integers(0, 2**32),
    block=st.sampled_from([1, 3, 16, 1 << 16]),
    steps=st.lists(st.integers(6, 9), min_size=1, max_size=3),
)
@settings(max_examples=60, deadline=None)
def test_chains_are_found_whole_whatever_the_blocks(
    seed: int, block: int, steps: list[int]
) -> None:
    rng = np.random.default_rng(seed)
    parts = [chain(int(rng.integers(1 << 32)), 25, step) for step in steps]
    hashes = np.vstack([*parts, families(seed, 30, 4, 8)])
    hashes = hashes[rng.permutation(len(hashes))]
    measures = np.zeros(len(hashes), MEASURES)
    measures["hash"] = hashes
    measures["color"][rng.random(len(hashes)) < 0.1] = 99
    alike = measures["color"][:, 0]
    pairs = [(a, b) for a, b in brute_force(hashes, 8) if alike[a] == alike[b]]
    found = [rows.tolist() for rows in clusters(measures, 8, 8, max_pairs=block)]
    assert found == components(len(hashes), pairs)


def test_photos_that_are_already_linked_are_not_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    compared = 0

    def counted_pairs(*args: Any) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        nonlocal compared
        for a, b in near_pairs(*args):
            compared += len(a)
            yield a, b

    monkeypatch.setattr("pipeline.maintenance.audit.near.near_pairs", counted_pairs)
    bits = np.zeros((4_000, 256), np.uint8)
    bits[np.arange(4_000), np.arange(4_000) % 256] = 1
    bits[np.arange(4_000), np.arange(4_000) // 256] ^= 1
    measures = np.zeros(4_000, MEASURES)
    measures["hash"] = np.packbits(bits, axis=1).view(np.uint64)
    (rows,) = clusters(measures, 12, 8)
    assert len(rows) == 4_000
    assert compared < 100 * 4_000  # of 8 million pairs


def test_a_hundred_thousand_equal_photos_are_one_cluster_at_once() -> None:
    (rows,) = clusters(np.zeros(100_000, MEASURES), 12, 8)
    assert rows.tolist() == list(range(100_000))


# --- what is measured of one photo ---------------------------------------------------------------


def test_the_hash_is_that_of_imagehash() -> None:
    one, other = drawing(1), drawing(2)
    expected = imagehash.phash(one, 16) - imagehash.phash(other, 16)
    a, b = measure(1, one)["hash"], measure(2, other)["hash"]
    assert int(np.bitwise_count(a ^ b).sum()) == expected > 50


@pytest.mark.parametrize("shape", [(7, 9), (1, 1), (1, 40), (120, 90)])
def test_sharpness_is_the_strongest_laplacian_for_the_contrast(shape: tuple[int, int]) -> None:
    luma = np.random.default_rng(3).integers(0, 256, shape).astype(np.float32)
    strongest = np.percentile(np.abs(ndimage.laplace(luma, mode="nearest")), 99.5)
    low, high = np.percentile(luma, [0.5, 99.5])
    assert sharpness(luma) == pytest.approx(strongest / (high - low + 8), rel=1e-4)


def test_a_pale_photo_is_as_sharp_as_a_strong_one() -> None:
    luma = np.asarray(drawing(4).convert("L"), np.float32)
    assert sharpness(200 + luma / 5) > 0.8 * sharpness(luma)


@pytest.mark.parametrize("color", [(255, 255, 255), (0, 0, 0), (12, 200, 90)])
def test_plainness_is_the_share_of_one_color(color: tuple[int, int, int]) -> None:
    pixels = np.full((40, 50, 3), color, np.uint8)
    assert plainness(pixels) == 1
    pixels[:10, :, 1] ^= 0x40
    assert plainness(pixels) == 0.75


def test_size_plays_no_part() -> None:
    small, large = drawing(5, 256), drawing(5, 256).resize((1024, 1024), Image.Resampling.NEAREST)
    assert measure(1, small).tobytes() == measure(1, large).tobytes()
    assert measure(1, small).nbytes == 156


@pytest.mark.parametrize("size", [(1, 1), (1, 3000), (3000, 1), (2, 2)])
def test_any_size_can_be_measured(size: tuple[int, int]) -> None:
    assert np.isfinite(measure(1, Image.new("RGB", size, "red"))["sharpness"]).all()


# --- the command --------------------------------------------------------------------------------


def test_where_a_page_cannot_be_written_is_said_before_the_audit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        "pipeline.maintenance.audit.audit", lambda *_: pytest.fail("it was audited")
    )
    folder = tmp_path / "page.html"
    folder.mkdir()
    for target in (folder, tmp_path / "no" / "page.html", tmp_path / "page.txt"):
        monkeypatch.setattr("sys.argv", ["imgsearch", "audit", "--html", str(target)])
        with pytest.raises(SystemExit, match="1"):
            main()
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(f"imgsearch: --html {target}: ")


# --- findings ------------------------------------------------------------------------------------


@pytest.fixture
def mixed(shop: Shop) -> Shop:
    """One of every finding, and four sound items in each of three categories."""
    sound = [item(f"sound {n}", f"kind {n % 3}", encode(drawing(n))) for n in range(12)]
    small, large, jpeg = copies(drawing(100))[1], encode(drawing(100)), copies(drawing(100))[0]
    hidden = encode(drawing(200))
    offer(
        shop,
        *sound,
        *(item(f"near {n}", "kind 0", p) for n, p in enumerate((large, small, jpeg))),
        *(item(f"shared {n}", f"kind {n % 2}", hidden) for n in range(5)),
        *(item(f"none {n}", f"kind {n % 3}", encode(drawing(300))) for n in range(3)),
        item("blurred", "kind 1", encode(blur(drawing(400)))),
        item("blank", "kind 1", encode(Image.new("RGB", (200, 200), (250, 250, 250)))),
        item("tiny", "kind 2", encode(drawing(500, 64))),
        item("rare", "seldom", encode(drawing(600))),
        item("loose", "", encode(drawing(700))),
        item("no photo", "kind 2"),
        item("broken", "kind 2", b"this is no photo"),
    )
    return shop


def test_each_finding_finds_what_was_made_for_it(mixed: Shop) -> None:
    found = look(mixed)
    assert (found.catalog, found.items, found.photos) == ("shop", 30, 22)
    assert {name: finding.count for name, finding in found.findings.items()} == {
        "without_photo": 2,
        "shared_photos": 2,
        "near_identical": 3,
        "plain": 1,
        "across_categories": 1,
        "small": 1,
        "blurred": 1,
        "unreadable": 0,
        "small_categories": 1,
        "without_category": 1,
    }
    assert keys(found.without_photo) == [["no photo"], ["broken"]]
    labels = [group.label for group in found.without_photo.groups]
    assert labels == ["failed: no photo", "rejected: not an image"]
    assert keys(found.shared_photos) == [
        [f"shared {n}" for n in range(5)],
        ["none 0", "none 1", "none 2"],
    ]
    assert [group.count for group in found.shared_photos.groups] == [5, 3]
    assert [group.label for group in found.shared_photos.groups] == [
        "5 names, 2 categories",
        "3 names, 3 categories",
    ]
    assert keys(found.near_identical) == [["near 0", "near 1", "near 2"]]
    assert found.near_identical.groups[0].label == "on 3 items, 3 names, 1 category"
    assert keys(found.plain) == [["blank"]]
    assert keys(found.across_categories) == [["none 0", "none 1", "none 2"]]
    assert keys(found.small) == [["tiny"]]
    assert found.small.groups[0].examples[0].measure == 64
    assert keys(found.blurred) == [["blurred"]]
    assert keys(found.small_categories) == [["rare"]]
    assert found.small_categories.groups[0].label == "seldom"
    assert keys(found.without_category) == [["loose"]]


def test_an_example_can_be_looked_up(mixed: Shop) -> None:
    for finding in look(mixed).findings.values():
        for example in (e for group in finding.groups for e in group.examples):
            record = mixed.catalog.item(example.item)
            assert record is not None
            assert (example.key, example.name, example.category) == (
                record.key,
                record.name,
                record.category,
            )
            paths = [str(mixed.folder / i.path) for i in mixed.catalog.images(record.id) if i.path]
            assert example.photo in paths or (example.photo is None and not paths)


def test_the_facts_are_json_and_nothing_is_changed(mixed: Shop) -> None:
    before = {k: v for k, v in tree(mixed.folder).items() if "sqlite" not in k}
    facts = look(mixed).to_dict()
    assert json.loads(json.dumps(facts))["findings"]["small"]["count"] == 1
    assert facts["limits"]["distance"] == AuditLimits().distance
    assert {k: v for k, v in tree(mixed.folder).items() if "sqlite" not in k} == before


def test_counts_are_whole_where_examples_are_few(mixed: Shop) -> None:
    few, many = look(mixed, examples=1, members=2), look(mixed)
    assert {n: f.count for n, f in few.findings.items()} == {
        n: f.count for n, f in many.findings.items()
    }
    assert {n: f.group_count for n, f in few.findings.items()} == {
        n: f.group_count for n, f in many.findings.items()
    }
    assert keys(few.shared_photos) == [["shared 0", "shared 1"]]
    assert few.shared_photos.groups[0].count == 5
    assert keys(few.near_identical) == [["near 0", "near 1"]]
    assert few.near_identical.groups[0].count == 3


def test_limits_decide_what_is_found(mixed: Shop) -> None:
    assert look(mixed, side=65).small.count == 1
    assert look(mixed, side=64).small.count == 0
    assert look(mixed, items=1).small_categories.count == 0
    assert look(mixed, items=100).small_categories.count == 4
    assert look(mixed, categories=2).across_categories.count == 2
    assert look(mixed, sharpness=0.0).blurred.count == 0
    assert look(mixed, plain=0.0).plain.count == 22
    assert look(mixed, color=255, distance=255).near_identical.count == 22


@pytest.mark.parametrize("seed", range(5))
def test_copies_are_near_identical_and_other_colors_are_not(shop: Shop, seed: int) -> None:
    image = drawing(seed)
    red, green, blue = image.split()
    recolored = Image.merge("RGB", (blue, red, green))
    other = [encode(recolored), encode(drawing(seed + 50))]
    same = [encode(image), *copies(image)]
    offer(shop, *(item(str(n), "", photo) for n, photo in enumerate([*same, *other])))
    assert keys(look(shop).near_identical) == [["0", "1", "2", "3"]]


def shirt(color: tuple[int, ...]) -> bytes:
    """A shirt of one color, laid out as all others."""
    image = Image.new("RGB", (120, 150), "white")
    ImageDraw.Draw(image).polygon(
        [(10, 40), (45, 10), (75, 10), (110, 40), (90, 60), (90, 140), (30, 140), (30, 60)], color
    )
    return encode(image)


def test_variants_in_black_gray_and_silver_are_not_near_identical(shop: Shop) -> None:
    colors = {"black": 15, "charcoal": 60, "gray": 110, "silver": 185, "white": 250}
    shirts = {name: shirt((level,) * 3) for name, level in colors.items()}
    shirts |= {"red": shirt((190, 20, 30)), "green": shirt((20, 130, 50))}
    plain = {
        f"plain {name}": encode(Image.new("RGB", (80, 90), (level,) * 3))
        for name, level in colors.items()
    }
    offer(shop, *(item(name, "", photo) for name, photo in (shirts | plain).items()))
    assert look(shop).near_identical.count == 0


def test_a_placeholder_of_many_files_stands_across_categories(shop: Shop) -> None:
    made = [encode(drawing(1), "JPEG", quality=q) for q in (70, 80, 90)]
    offer(shop, *(item(f"{n}", f"kind {n}", photo) for n, photo in enumerate(made)))
    found = look(shop)
    assert found.shared_photos.count == 0
    assert keys(found.across_categories) == [["0", "1", "2"]]
    assert found.across_categories.groups[0].label == "3 names, 3 categories"


def test_a_placeholder_is_told_once_with_an_item_of_each_category(shop: Shop) -> None:
    made = [encode(drawing(1), "JPEG", quality=q) for q in (70, 90)]
    kinds = ("a", "b", "c")
    offer(shop, *(item(f"{k}{n}", k, photo) for k in kinds for n, photo in enumerate(made)))
    found = look(shop)
    assert (found.shared_photos.count, found.across_categories.count) == (2, 1)
    assert keys(found.across_categories) == [["a0", "b0", "c0"]]
    assert found.across_categories.groups[0].count == 6


def test_no_category_is_no_category_more(shop: Shop) -> None:
    photos = [encode(drawing(1)), *copies(drawing(1))[:2]]
    kinds = ("", "a", "b")
    same = [item(f"{n}", kind, photos[0]) for n, kind in enumerate(kinds)]
    near = [
        item(f"near {n}", kind, photo)
        for n, (kind, photo) in enumerate(zip(kinds, photos, strict=True))
    ]
    for items in (same, near):
        offer(shop, *items)
        found = look(shop)
        assert found.across_categories.count == 0
        (group,) = found.shared_photos.groups or found.near_identical.groups
        assert group.label.endswith("3 names, 2 categories")


def test_an_item_that_shows_a_photo_twice_does_not_share_it(shop: Shop) -> None:
    photo = encode(drawing(1))
    offer(shop, item("a", "", photo, photo))
    assert look(shop).shared_photos.count == 0


def test_the_worst_come_first(shop: Shop) -> None:
    image = drawing(1)
    sigmas = (3, 2, 4)
    photos = [encode(image.filter(ImageFilter.GaussianBlur(sigma))) for sigma in sigmas]
    offer(shop, *(item(str(s), "", photo) for s, photo in zip(sigmas, photos, strict=True)))
    found = look(shop)
    assert keys(found.blurred) == [["4", "3", "2"]]
    measured = [example.measure for example in found.blurred.groups[0].examples]
    assert measured == sorted(m for m in measured if m is not None)


def test_what_is_removed_is_not_told_and_what_is_pending_is(shop: Shop) -> None:
    photo = encode(drawing(1))
    kept = [item("kept", "a", photo), item("also", "a", photo)]
    offer(shop, item("gone", "a", photo), item("bad", "a", b"no photo"), *kept)
    offer(shop, *kept)
    for n in range(3):
        url = ImageRecord(f"https://shop.example/{n}.jpg", State.PENDING)
        shop.catalog.put(f"later {n}", "Later", "a", {}, [url])
    found = look(shop)
    assert (found.items, found.photos) == (5, 1)
    assert found.without_photo.count == 3
    assert keys(found.without_photo) == [["later 0", "later 1", "later 2"]]
    assert found.without_photo.groups[0].label == "pending"
    assert keys(found.shared_photos) == [["kept", "also"]]


def test_a_photo_that_is_gone_or_changed_is_a_finding(shop: Shop) -> None:
    offer(shop, *(item(f"{n}", "", encode(drawing(n))) for n in range(4)))
    files = [photo.path for photo in shop.catalog.photos()]
    files[1].unlink()
    files[2].write_bytes(encode(drawing(9)))
    files[3].unlink()
    found = look(shop)
    assert found.unreadable.count == 3
    assert [(group.label, group.count) for group in found.unreadable.groups] == [
        ("photo missing", 2),
        ("photo changed since it was ingested", 1),
    ]
    assert keys(found.unreadable) == [["1", "3"], ["2"]]
    assert found.unreadable.meaning.endswith("`imgsearch build` looks again.")


def test_a_bad_disk_stops_it(mixed: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> bytes:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(images, "read_bytes", fail)
    with pytest.raises(OSError, match="Input/output error"):
        look(mixed)


def test_an_empty_catalog_has_nothing_to_find(shop: Shop) -> None:
    found = look(shop)
    assert (found.items, found.photos) == (0, 0)
    assert all((f.count, f.groups, f.group_count) == (0, (), 0) for f in found.findings.values())


def test_one_item_is_only_alone_in_its_category(shop: Shop) -> None:
    offer(shop, item("a", "kind", encode(drawing(1))))
    counts = {name: f.count for name, f in look(shop).findings.items() if f.count}
    assert counts == {"small_categories": 1}


def test_all_photos_may_be_one(shop: Shop) -> None:
    offer(shop, *(item(f"{n}", "kind", encode(drawing(1))) for n in range(20)))
    found = look(shop)
    assert (found.items, found.photos, found.near_identical.count) == (20, 1, 0)
    assert found.shared_photos.groups[0].count == 20
    assert len(found.shared_photos.groups[0].examples) == 20
    assert len(look(shop, members=2).shared_photos.groups[0].examples) == 2


def test_there_is_nothing_to_audit_before_it_is_built(shop: Shop) -> None:
    config = shop.config.model_copy(update={"name": "another"})
    with pytest.raises(NotBuiltError):
        audit(config)


@pytest.mark.parametrize(
    ("number", "unit", "text"),
    [(1, "category", "1 category"), (0, "item", "0 items"), (1200, "category", "1,200 categories")],
)
def test_numbers_are_told_with_their_unit(number: int, unit: str, text: str) -> None:
    assert counted(number, unit) == text
