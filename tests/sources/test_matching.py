"""sources/matching.py: which row describes which photo."""

from __future__ import annotations

import random
import unicodedata
from pathlib import Path

import pytest

from pipeline.sources.matching import match_rows, normalized

NFC, NFD = "caf\u00e9.jpg", "cafe\u0301.jpg"


@pytest.mark.parametrize(
    ("key", "photo"),
    [
        (NFC, NFD),
        (NFD, NFC),
        (unicodedata.normalize("NFC", "각.jpg"), unicodedata.normalize("NFD", "각.jpg")),
        ("IMG_1.JPG", "img_1.jpg"),
        ("caps\\a.jpg", "caps/a.jpg"),
        ("./caps/a.jpg", "caps/a.jpg"),
        ("/caps/a.jpg", "caps/a.jpg"),
        (".\\CAPS\\A.jpg", "caps/a.jpg"),
        ("A.JPG", "caps/a.jpg"),
        ("CAFE\u0301", f"p/{NFC}"),
        ("stra\u00dfe.jpg", "STRASSE.jpg"),
    ],
)
def test_names_that_mean_one_file_meet(key: str, photo: str) -> None:
    assert match_rows([key], [Path(photo)]) == {Path(photo): key}
    other = [Path("other.jpg"), Path(photo)]
    assert match_rows(["x.jpg", key], other) == {Path(photo): key}


@pytest.mark.parametrize(
    ("keys", "photos"),
    [
        (["A.JPG"], ["a.jpg", "A.jpg"]),  # which of them?
        (["a.JPG", "A.jpg"], ["a.jpg"]),
        ([NFC.upper()], [NFC, NFD]),
        (["b.jpg"], ["a.jpg"]),
        (["", " "], ["a.jpg"]),
    ],
)
def test_names_do_not_meet_where_that_is_ambiguous(keys: list[str], photos: list[str]) -> None:
    assert match_rows(keys, map(Path, photos)) == {}


def test_what_is_written_alike_goes_first() -> None:
    photos = [Path(NFD), Path(NFC), Path("A.jpg"), Path("p/a.jpg")]
    keys = [NFC, NFD, "a.jpg", "A.jpg"]
    assert match_rows(keys, photos) == {
        Path(NFC): NFC,
        Path(NFD): NFD,
        Path("A.jpg"): "A.jpg",
        Path("p/a.jpg"): "a.jpg",
    }
    # The photo that is left is the only one of its kind, whatever others are called.
    assert match_rows([NFC, NFD.upper()], [Path(NFC), Path(NFD)])[Path(NFD)] == NFD.upper()


@pytest.mark.parametrize("seed", range(20))
def test_every_match_is_right_and_none_is_missing(seed: int) -> None:
    rng = random.Random(seed)
    variants = ["a.jpg", "A.jpg", "p/a.jpg", "P\\a.JPG", "a", "A", NFC, NFD, NFC.upper(), "b/c.png"]
    keys = list(dict.fromkeys(rng.choices(variants, k=6)))
    photos = [Path(v) for v in dict.fromkeys(rng.choices(variants, k=6)) if "\\" not in v]
    matched = match_rows(keys, photos)
    assert len(set(matched.values())) == len(matched)
    for photo, key in matched.items():
        names = {normalized(name) for name in (photo.as_posix(), photo.name, photo.stem)}
        assert normalized(key) in names
    for photo in photos:  # an exact name is never left without the one that it names
        if photo.as_posix() in keys:
            assert matched[photo] == photo.as_posix()
