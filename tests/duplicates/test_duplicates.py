"""duplicates/: edited copies are found, other products are not; and in steps as all at once."""

from __future__ import annotations

import hashlib
import io
import itertools
import random
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from pipeline.catalog.catalog import Catalog
from pipeline.catalog.ingest import ingest
from pipeline.config import Config
from pipeline.duplicates.near_duplicates import NearDuplicates
from pipeline.duplicates.signature import Signatures, sign
from pipeline.duplicates.similarity import MIN_SIMILARITY, similarity
from pipeline.duplicates.store import DuplicateStore
from pipeline.duplicates.update import update_duplicates
from pipeline.errors import DamagedArtifactError
from pipeline.images import ImageLimits
from pipeline.maintenance.duplicates import duplicate_groups
from pipeline.sources.base import SourceItem, SourcePhoto
from pipeline.sources.sample.source import SampleSource
from tests.conftest import ListSource

Picture = Image.Image
PRODUCTS = 36


@cache
def products() -> list[Picture]:
    items = SampleSource(photos=PRODUCTS, near_duplicates=0, size=160).items()
    return [Image.open(io.BytesIO(item.photos[0].data or b"")).convert("RGB") for item in items]


def recompressed(picture: Picture) -> Picture:
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=40)
    return Image.open(file).convert("RGB")


def with_logo(picture: Picture) -> Picture:
    copy = picture.copy()
    box = (4, 4, picture.width // 4, picture.height // 9)
    ImageDraw.Draw(copy).rectangle(box, fill=(200, 30, 40))
    return copy


def cropped(picture: Picture) -> Picture:
    width, height = picture.size
    return picture.crop(
        (int(0.07 * width), int(0.03 * height), int(0.95 * width), int(0.9 * height))
    )


def tinted(picture: Picture) -> Picture:
    scale = np.array([0.98, 1, 0.95])
    return Image.fromarray((np.asarray(picture) * scale).astype(np.uint8))


EDITS: dict[str, Callable[[Picture], Picture]] = {
    "crop": cropped,
    "recompression": recompressed,
    "resize": lambda picture: picture.resize((97, 97)),
    "squeeze": lambda picture: picture.resize((160, 120)),
    "logo": with_logo,
    "tint": tinted,
    "mirror": lambda picture: picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
}


def signed(pictures: Sequence[Picture]) -> Signatures:
    return Signatures.join([sign(hashlib.sha256(p.tobytes()).digest(), p) for p in pictures])


def data(picture: Picture) -> bytes:
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize("edit", EDITS)
def test_an_edited_copy_is_a_near_duplicate(edit: str) -> None:
    originals, copies = signed(products()), signed([EDITS[edit](p) for p in products()])
    scores = similarity(originals, copies)
    assert np.count_nonzero(scores >= MIN_SIMILARITY) >= 0.95 * PRODUCTS
    assert (scores == similarity(copies, originals)).all()


def test_other_products_of_one_category_are_none() -> None:
    originals = signed(products())
    a, b = np.array([(a, b) for a, b in itertools.combinations(range(PRODUCTS), 2)
                     if a % 12 == b % 12]).T  # fmt: skip
    assert len(a) == 36
    assert (similarity(originals.take(a), originals.take(b)) < MIN_SIMILARITY).all()


def dark_belt(pieces: Sequence[bool]) -> Picture:
    """Small and dark on a white ground, of pieces that are black or charcoal."""
    picture = Image.new("RGB", (160, 160), "white")
    draw = ImageDraw.Draw(picture)
    draw.ellipse((24, 60, 136, 100), fill=(30, 30, 30))
    for number, is_bright in enumerate(pieces):
        left = 28 + 17 * number
        draw.rectangle((left, 68, left + 16, 92), fill=(60, 60, 60) if is_bright else (15, 15, 15))
    return picture


def test_other_dark_products_are_none_though_the_ground_is_the_same() -> None:
    patterns = [p for p in itertools.product([False, True], repeat=6) if sum(p) == 3]
    pairs = [
        (one, other)
        for one, other in itertools.combinations(patterns, 2)
        if all(np.not_equal(one, side).sum() >= 4 for side in (other, other[::-1]))
    ]
    assert len(pairs) > 20
    ones, others = (signed([dark_belt(p) for p in side]) for side in zip(*pairs, strict=True))
    assert (similarity(ones, others) < MIN_SIMILARITY).all()
    copies = signed([recompressed(dark_belt(one)) for one, _ in pairs])
    assert (similarity(ones, copies) >= MIN_SIMILARITY).all()


class Photos:
    """A catalog of photos, and what is known of its near-duplicates."""

    def __init__(self, root: Path) -> None:
        settings = {"name": "shop", "root": str(root), "source": {"type": "sample"}}
        self.config = Config.model_validate(settings)
        self.catalog = Catalog(self.config.folder, create=True)
        self.store = DuplicateStore(self.config.folder / "duplicates")

    def offer(self, pictures: dict[str, bytes]) -> None:
        offers = [
            SourceItem(key, key, "", (SourcePhoto(f"{key}.png", data=photo),))
            for key, photo in pictures.items()
        ]
        ingest(ListSource(offers), self.catalog, ImageLimits())

    def update(self) -> None:
        update_duplicates(self.catalog, self.store, ImageLimits(), 2)

    def groups(self) -> set[frozenset[str]]:
        found = duplicate_groups(self.config).groups
        return {frozenset(member.key for member in group.members) for group in found}


@pytest.fixture
def photos(tmp_path: Path) -> Iterator[Photos]:
    made = Photos(tmp_path)
    yield made
    made.catalog.close()


def planted(rng: random.Random) -> tuple[dict[str, bytes], set[frozenset[str]]]:
    """Products, some with edited copies, in any order; and the groups."""
    offers, groups = {}, set()
    for number, picture in enumerate(products()[:12]):
        names = rng.sample(sorted(EDITS), rng.choice([0, 1, 1]))
        keys = {f"{number}": picture, **{f"{number} {n}": EDITS[n](picture) for n in names}}
        offers |= {key: data(picture) for key, picture in keys.items()}
        if len(keys) > 1:
            groups.add(frozenset(keys))
    order = rng.sample(sorted(offers), len(offers))
    return {key: offers[key] for key in order}, groups


def test_steps_find_what_looking_at_once_finds(photos: Photos) -> None:
    offers, groups = planted(random.Random(4))
    keys = list(offers)
    for end in (1, 9, 9, len(keys)):
        photos.offer({key: offers[key] for key in keys[:end]})
        photos.update()
    known = photos.store.read()
    assert known is not None
    pairs = np.array(list(itertools.combinations(range(len(known.label)), 2)))
    scores = similarity(*(known.take(rows) for rows in pairs.T))
    linked = {tuple(pair) for pair in pairs[scores >= MIN_SIMILARITY].tolist()}
    assert linked
    assert all(known.label[a] == known.label[b] for a, b in linked)
    assert photos.groups() == groups
    near = NearDuplicates(known)
    hashes = [photo.tobytes() for photo in known.signatures.photos]
    for a, b in pairs.tolist():
        assert (near.first_like(hashes[b], [hashes[a]]) == 0) == ((a, b) in linked)


def test_the_listing_needs_no_build_and_says_what_is_shared(photos: Photos) -> None:
    picture = products()[0]
    other_file = io.BytesIO()
    picture.save(other_file, "PNG", compress_level=1)
    same = {"a": data(picture), "b": data(picture), "c": other_file.getvalue()}
    photos.offer({**same, "d": data(with_logo(picture)), "e": data(products()[1])})
    (group,) = duplicate_groups(photos.config).groups
    assert {m.key: m.shared for m in group.members} == {
        "a": "first",
        "b": "bytes",
        "c": "pixels",
        "d": "near",
    }
    assert group.counts == {"bytes": 1, "pixels": 1, "near": 1}
    assert not photos.store.folder.exists()


def test_what_a_killed_run_appended_does_not_count(photos: Photos) -> None:
    offers, groups = planted(random.Random(5))
    photos.offer(dict(list(offers.items())[:8]))
    photos.update()
    for file in photos.store.folder.glob("*.bin"):
        file.write_bytes(file.read_bytes() + b"left behind")
    photos.offer(offers)
    photos.update()
    assert photos.groups() == groups


@pytest.mark.parametrize("name", ["photos.bin", "links.bin", "thumbnails.bin", "signatures.json"])
def test_a_damaged_file_answers_nothing(photos: Photos, name: str) -> None:
    picture = products()[0]
    photos.offer({"a": data(picture), "b": data(with_logo(picture))})
    photos.update()
    file = photos.store.folder / name
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)

    def answer() -> None:
        known = photos.store.read()
        assert known is not None
        a, b = (photo.tobytes() for photo in known.signatures.photos)
        NearDuplicates(known).first_like(a, [b])

    with pytest.raises(DamagedArtifactError):
        answer()
