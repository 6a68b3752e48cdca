"""Near-duplicates: how many edited copies are found, what is taken for one, and what it costs.

Every fourth photo gets copies, one by each edit; all are photos of one catalog. Pairs of an
original with its copies should be found, and no pair of other photos. Then a catalog of many rows
that look like those photos is extended by ten. Needs the folder of the reference data, except for
the drawn sample.
"""

from __future__ import annotations

import hashlib
import io
import itertools
import random
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from pipeline.duplicates.finding import find_links
from pipeline.duplicates.links import groups
from pipeline.duplicates.signature import Signatures, sign, window_codes
from pipeline.duplicates.similarity import MIN_SIMILARITY, similarity
from pipeline.duplicates.store import DuplicateStore, none_known
from pipeline.sources.sample.source import SampleSource

Picture = Image.Image
Edit = Callable[[Picture, random.Random], Picture]
DRAWN, SECOND_PHOTOS = 240, 40
ROWS, NEW = 200_000, 10


def recompressed(picture: Picture, rng: random.Random) -> Picture:
    """JPEG of a quality between 30 and 75."""
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=rng.choice([30, 50, 75]))
    return Image.open(file).convert("RGB")


def cropped(picture: Picture, rng: random.Random) -> Picture:
    """Without 1 to 10 % at each side."""
    left, right, top, bottom = (rng.uniform(0.01, 0.1) for _ in range(4))
    width, height = picture.size
    box = (left * width, top * height, (1 - right) * width, (1 - bottom) * height)
    return picture.crop(tuple(map(round, box)))  # type: ignore[arg-type]


def with_logo(picture: Picture, rng: random.Random) -> Picture:
    """A bar of letters in one of the corners, of 1 to 4 % of the photo."""
    copy, (width, height) = picture.copy(), picture.size
    across, down = int(width * rng.uniform(0.15, 0.3)), int(height * rng.uniform(0.06, 0.14))
    left = rng.choice([width // 50, width - across - width // 50])
    top = rng.choice([height // 50, height - down - height // 50])
    color = (rng.randrange(256), rng.randrange(256), rng.randrange(256))
    draw = ImageDraw.Draw(copy)
    draw.rectangle((left, top, left + across, top + down), fill=color)
    draw.text((left + across // 8, top + down // 4), "SHOP.com", fill="white")
    return copy


def resized(picture: Picture, rng: random.Random) -> Picture:
    """Of 0.4 to 1.5 times the size."""
    factor = rng.uniform(0.4, 1.5)
    return picture.resize((round(picture.width * factor), round(picture.height * factor)))


def mirrored(picture: Picture, _: random.Random) -> Picture:
    """Left and right exchanged."""
    return picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT)


EDITS: dict[str, Edit] = {
    "crop": cropped,
    "recompression": recompressed,
    "resize": resized,
    "logo": with_logo,
    "mirror": mirrored,
}


def measure(data: Path | None) -> list[dict[str, object]]:
    """Plant, find, and count; then time."""
    rows = [{"photos": "drawn sample", **_quality(_drawn(), second_photos=SECOND_PHOTOS)}]
    if data is None or not (data / "flipkart-700").is_dir():
        return [*rows, {"skipped": "needs the reference data: make bench DATA=its folder"}]
    photos = [
        Image.open(file).convert("RGB") for file in sorted((data / "flipkart-700/images").iterdir())
    ]
    signatures = _signed(photos)
    return [*rows, {"photos": "flipkart-700", **_quality(photos)}, _time(signatures)]


def _drawn() -> list[Picture]:
    items = SampleSource(photos=DRAWN, near_duplicates=SECOND_PHOTOS, size=250).items()
    return [Image.open(io.BytesIO(item.photos[0].data or b"")).convert("RGB") for item in items]


def _signed(pictures: Sequence[Picture]) -> Signatures:
    numbered = enumerate(pictures)
    return Signatures.join([sign(hashlib.sha256(b"%d" % n).digest(), p) for n, p in numbered])


def _quality(pictures: Sequence[Picture], second_photos: int = 0) -> dict[str, object]:
    """Precision over all pairs that are found; recall of each edit's."""
    rng = random.Random(7)
    originals = list(range(0, len(pictures) - second_photos, 4))
    planted = [(name, n) for name in EDITS for n in originals]
    copies = [EDITS[name](pictures[n], rng) for name, n in planted]
    signatures = _signed([*pictures, *copies])
    source = np.array([*_products(len(pictures), second_photos), *(n for _, n in planted)])
    known = none_known().with_new(signatures)
    find_links(known, 0, lambda _: None)
    pairs = np.array([p for rows in groups(known.label) for p in itertools.combinations(rows, 2)])
    near = similarity(*(signatures.take(rows) for rows in pairs.T)) >= MIN_SIMILARITY
    found = pairs[near]
    is_same = (source[found[:, 0]] == source[found[:, 1]]) | _is_identical(signatures, found)
    linked = {tuple(pair) for pair in found.tolist()}
    hits: dict[str, list[bool]] = {}
    for row, (name, original) in enumerate(planted, len(pictures)):
        hits.setdefault(name, []).append((original, row) in linked)
    for row in range(len(pictures) - second_photos, len(pictures)):
        hits.setdefault("second photo", []).append((int(source[row]), row) in linked)
    of_all = [hit for of_edit in hits.values() for hit in of_edit]
    return {
        "pairs found": len(found),
        "precision": float(is_same.mean()),
        "recall": float(np.mean(of_all)),
        **{f"recall of {name}": float(np.mean(of_edit)) for name, of_edit in hits.items()},
    }


def _products(count: int, second_photos: int) -> list[int]:
    """The number of each photo's product: the sample's second photos show some once more."""
    if not second_photos:
        return list(range(count))
    source = SampleSource(photos=DRAWN, near_duplicates=SECOND_PHOTOS)
    keys = [(item.metadata["near_duplicate_of"] or item.key, item.key) for item in source.items()]
    number = {key: n for n, (_, key) in enumerate(keys)}
    return [number[str(product)] for product, _ in keys]


def _is_identical(signatures: Signatures, pairs: np.ndarray) -> np.ndarray:
    """Copies that the photos came with: their thumbnails are the same but for compression."""
    a, b = (signatures.thumbnails[rows].astype(np.int16) for rows in pairs.T)
    identical: np.ndarray = np.abs(a - b).mean(axis=1) < 2
    return identical


def _time(photos: Signatures) -> dict[str, object]:
    """Seconds to add ten photos to many, once these are known."""
    with tempfile.TemporaryDirectory() as folder:
        store = DuplicateStore(Path(folder, "duplicates"))
        known = none_known()
        for block in _like(photos, ROWS):
            store.seal(len(store.extend(known, block).label), np.empty((0, 2), np.int64), 1)
            known = store.read() or known
        start = time.perf_counter()
        known = store.read() or known
        read = time.perf_counter()
        new = photos.take(slice(0, NEW))
        find_links(store.extend(known, new), ROWS, lambda _: None)
        store.seal(ROWS + NEW, np.empty((0, 2), np.int64), 2)
        return {
            "rows": ROWS,
            "bytes a photo": sum(f.stat().st_size for f in store.folder.iterdir()) / ROWS,
            "seconds to read what is known": read - start,
            f"seconds to add {NEW}": time.perf_counter() - read,
        }


def _like(photos: Signatures, rows: int, block: int = 20_000) -> Iterator[Signatures]:
    """Signatures of that many pictures, each a blend of two photos: as alike as products are."""
    rng = np.random.default_rng(7)
    for start in range(0, rows, block):
        count = min(block, rows - start)
        a, b = (photos.thumbnails[rng.integers(0, len(photos.codes), count)] for _ in "ab")
        share = rng.uniform(0, 0.5, (count, 1)).astype(np.float32)
        thumbnails = (a * (1 - share) + b * share).astype(np.uint8)
        hashes = rng.integers(0, 256, (count, 48), np.uint8)
        blended = Signatures(
            hashes[:, :32],
            hashes[:, 32:],
            np.ones(count, np.float32),
            np.empty((count, 0), np.uint64),
            thumbnails,
        )
        yield blended._replace(codes=window_codes(blended.luma))
