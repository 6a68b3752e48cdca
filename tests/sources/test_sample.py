from __future__ import annotations

import hashlib
import io
import math
import re
import subprocess
import sys
import time
from collections import Counter
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageColor

from pipeline.errors import ConfigError
from pipeline.sources.base import Source, SourceItem
from pipeline.sources.sample.paint import PRODUCT_COLORS
from pipeline.sources.sample.source import CATEGORIES, SampleSource

SIZE = 96
SMALL = SampleSource(photos=50, near_duplicates=12, size=SIZE)
# Of a watch, sunglasses or headphones the strap or frame has the color of the name: the smaller
# part. So it is on a court shoe seen into.
OF_ONE_COLOR = frozenset(c.name for c in CATEGORIES) - {
    "watches",
    "sunglasses",
    "headphones",
    "shoes",
}


def data(item: SourceItem) -> bytes:
    (photo,) = item.photos
    assert photo.data is not None
    return photo.data


def pixels(item: SourceItem) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data(item))), np.float64)


def digest(items: list[SourceItem]) -> str:
    return hashlib.sha256(b"".join(hashlib.sha256(data(i)).digest() for i in items)).hexdigest()


@pytest.fixture(scope="module")
def items() -> list[SourceItem]:
    return list(SMALL.items())


@pytest.fixture(scope="module")
def originals(items: list[SourceItem]) -> list[SourceItem]:
    return items[: SMALL.photos]


@pytest.fixture(scope="module")
def seconds(items: list[SourceItem]) -> list[SourceItem]:
    return items[SMALL.photos :]


def test_it_is_a_source() -> None:
    source: Source = SampleSource()
    assert (SampleSource().photos, SampleSource().near_duplicates) == (240, 8)
    assert source.version


def test_counts_and_keys(items: list[SourceItem]) -> None:
    assert len(items) == SMALL.total == 62
    assert len({item.key for item in items}) == 62
    assert len({item.photos[0].uri for item in items}) == 62
    assert len({data(item) for item in items}) == 62


def test_every_prefix_is_balanced(originals: list[SourceItem]) -> None:
    categories = {item.category for item in originals}
    assert len(categories) >= 8
    for n in range(len(originals) + 1):
        counts = Counter(item.category for item in originals[:n])
        assert max(counts.values(), default=0) - min(counts[c] for c in categories) <= 1, n


def test_a_category_shows_every_color_and_pattern_before_it_repeats_one() -> None:
    source = SampleSource(photos=len(CATEGORIES) * len(PRODUCT_COLORS), near_duplicates=0, size=16)
    items = list(source.items())
    for n, category in enumerate(CATEGORIES):
        shown = items[n :: len(CATEGORIES)]
        assert {item.metadata["color"] for item in shown} == set(PRODUCT_COLORS)
        patterns = [str(item.metadata["pattern"]) for item in shown]
        assert sorted(patterns[: len(category.patterns)]) == sorted(category.patterns)


def test_photos_are_rgb_jpeg_of_the_requested_size(items: list[SourceItem]) -> None:
    for item in items:
        image = Image.open(io.BytesIO(data(item)))
        assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (SIZE, SIZE)), item.key
        assert item.photos[0].path is None
    (item,) = SampleSource(photos=1, near_duplicates=0, size=101).items()
    assert Image.open(io.BytesIO(data(item))).size == (101, 101)


def test_no_photo_is_blank_or_cut_off(originals: list[SourceItem]) -> None:
    """Standing out from its border, and with nothing of the product on the outermost pixels."""
    for item in originals:
        image = pixels(item)
        border = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
        color = np.array(PRODUCT_COLORS[str(item.metadata["color"])], float)
        assert np.square(image - np.median(border, axis=0)).mean() > 150, item.key
        assert np.abs(border - color).max(axis=1).min() > 12, item.key


def test_metadata_and_names_are_complete(items: list[SourceItem]) -> None:
    words = {
        "plain": "",
        "stripes": "striped",
        "checks": "checked",
        "dots": "dotted",
        "zigzag": "zigzag",
        "gradient": "ombre",
    }
    singular = {category.name: category.singular for category in CATEGORIES}
    for item in items:
        assert set(item.metadata) == {"color", "pattern", "near_duplicate_of"}
        color, pattern = str(item.metadata["color"]), str(item.metadata["pattern"])
        assert color in PRODUCT_COLORS
        name = " ".join(filter(None, (color, words[pattern], singular[item.category])))
        assert item.name.removesuffix(" (second photo)") == name[0].upper() + name[1:]
        assert item.photos[0].uri == item.key.replace("-", "/", 1) + ".jpg"
        assert item.key.startswith(f"{item.category}-")
    assert {item.metadata["pattern"] for item in items} == set(words)


def test_another_process_draws_the_same_bytes(items: list[SourceItem]) -> None:
    program = (
        "import hashlib; from pipeline.sources.sample.source import SampleSource\n"
        f"source = SampleSource(photos={SMALL.photos}, near_duplicates=12, size={SIZE})\n"
        "one = (hashlib.sha256(i.photos[0].data).digest() for i in source.items())\n"
        "print(hashlib.sha256(b''.join(one)).hexdigest(), source.version)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONHASHSEED": "1", "PYTHONPATH": ":".join(sys.path)},
    )
    assert done.stdout.split() == [digest(items), SMALL.version]


@pytest.mark.parametrize("photos", [1, 13, 29])
def test_a_larger_catalog_begins_with_a_smaller_one(
    originals: list[SourceItem], photos: int
) -> None:
    smaller = list(SampleSource(photos=photos, near_duplicates=0, size=SIZE).items())
    assert smaller == originals[:photos]


def test_another_seed_draws_other_photos(originals: list[SourceItem]) -> None:
    other = list(SampleSource(photos=24, near_duplicates=0, size=SIZE, seed=8).items())
    assert [i.key for i in other] == [i.key for i in originals[:24]]
    for ours, theirs in zip(originals, other, strict=False):
        assert np.square(pixels(ours) - pixels(theirs)).mean() > 100, ours.key


def test_the_version_identifies_the_photos() -> None:
    versions = {
        SampleSource(*arguments).version
        for arguments in ((), (12,), (240, 9), (240, 8, 64), (240, 8, 250, 8))
    }
    assert len(versions) == 5
    assert SampleSource().version == SampleSource().version


def test_the_version_depends_on_all_the_code_that_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    hashed: list[Path] = []
    read = Path.read_bytes

    def noted(path: Path) -> bytes:
        hashed.append(path)
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", noted)
    assert SampleSource().version
    drawing = re.compile(r"pipeline\.sources\.sample(\..+)?")
    files = [Path(str(m.__file__)) for name, m in sys.modules.items() if drawing.fullmatch(name)]
    assert len(files) > 5
    assert hashed == sorted(files)


def test_a_second_photo_is_nearest_to_its_original(
    originals: list[SourceItem], seconds: list[SourceItem]
) -> None:
    shown = np.stack([pixels(item) for item in originals])
    by_key = {item.key: item for item in originals}
    for second in seconds:
        original = by_key[str(second.metadata["near_duplicate_of"])]
        error = np.square(shown - pixels(second)).mean(axis=(1, 2, 3))
        nearest, runner_up = np.argsort(error)[:2]
        assert originals[nearest] is original, second.key
        assert error[nearest] < 0.7 * error[runner_up], second.key
        # It is another photograph, not the same one saved twice.
        assert error[nearest] > 5, second.key
        assert data(second) != data(original)
        assert second.category == original.category
        assert second.name == f"{original.name} (second photo)"
    assert len({second.metadata["near_duplicate_of"] for second in seconds}) == len(seconds)
    assert all(item.metadata["near_duplicate_of"] is None for item in originals)


def test_more_second_photos_than_products_give_third_photos() -> None:
    items = list(SampleSource(photos=2, near_duplicates=5, size=32).items())
    assert len({item.key for item in items}) == len({data(item) for item in items}) == 7
    counts = Counter(item.metadata["near_duplicate_of"] for item in items[2:])
    assert sorted(counts.values()) == [2, 3]
    assert items[4].name.endswith(" (photo 3)")


def test_the_name_contains_the_color() -> None:
    """Of a plain product most pixels are nearer to its color than to any other of the names.

    The background is taken to be whatever also occurs on the border of the photo.
    """
    names, palette = list(PRODUCT_COLORS), np.array(list(PRODUCT_COLORS.values()), float)
    checked = Counter[str]()
    for item in SampleSource(photos=96, near_duplicates=0, size=SIZE, seed=11).items():
        if item.metadata["pattern"] != "plain" or item.category not in OF_ONE_COLOR:
            continue
        image = pixels(item)
        border = np.concatenate([image[:2], image[-2:]]).reshape(-1, 3)[::4]
        border = np.concatenate([border, image[:, :2].reshape(-1, 3)[::4], image[:, -1]])
        inner = image[::2, ::2].reshape(-1, 3)
        gaps = np.square(inner[:, None] - border[None]).sum(-1).min(axis=1)
        product = inner[gaps > 30**2]
        nearest = np.square(product[:, None] - palette[None]).sum(-1).argmin(axis=1)
        counts = np.bincount(nearest, minlength=len(names))
        assert names[int(counts.argmax())] == item.metadata["color"], item.key
        checked[item.category] += 1
    assert set(checked) == OF_ONE_COLOR


def test_the_colors_agree_with_their_css_names() -> None:
    """Each is nearest to the CSS color of its name, or to the one that CSS has in its place."""
    css = {name: name.replace(" ", "") for name in PRODUCT_COLORS}
    css |= {"mustard": "goldenrod", "brown": "saddlebrown", "charcoal": "darkslategray"}
    css |= {"cream": "antiquewhite", "red": "crimson", "orange": "darkorange"}
    css |= {"navy": "midnightblue"}
    reference = {name: ImageColor.getrgb(css[name])[:3] for name in PRODUCT_COLORS}
    for name, color in PRODUCT_COLORS.items():
        assert min(reference, key=lambda other: math.dist(color, reference[other])) == name
    assert len(PRODUCT_COLORS) >= 12
    gaps = [math.dist(a, b) for a, b in combinations(PRODUCT_COLORS.values(), 2)]
    assert min(gaps) > 40


@pytest.mark.parametrize(
    "arguments", [{"photos": 0}, {"near_duplicates": -1}, {"size": 15}], ids=lambda a: next(iter(a))
)
def test_impossible_settings_are_refused(arguments: dict[str, int]) -> None:
    (name,) = arguments
    with pytest.raises(ConfigError, match=f"{name} is {arguments[name]}"):
        SampleSource(**arguments)


def test_drawing_is_quick() -> None:
    start = time.process_time()
    drawn = len(list(SampleSource(photos=12, near_duplicates=0).items()))
    # 248 photos of 250 by 250 in 15 s; twice that, as a shared machine is no stopwatch.
    assert (time.process_time() - start) / drawn < 2 * 15 / 248
