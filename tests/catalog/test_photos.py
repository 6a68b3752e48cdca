"""store/photos.py: the ledger's photos become pixels, in order, or the reason why not."""

from __future__ import annotations

import errno
import hashlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline import images
from pipeline.catalog.catalog import Photo
from pipeline.catalog.photos import CHANGED, MISSING, UNREADABLE, prepare_all, read
from pipeline.errors import RejectedImage
from pipeline.images import ImageLimits, U8Image
from tests.conftest import Color, png

LIMITS = ImageLimits()
COLORS: list[Color] = [(n, 255 - n, 7) for n in range(12)]


@pytest.fixture
def photos(tmp_path: Path) -> list[Photo]:
    """Files of one color each, as the ledger describes them."""
    made = []
    for number, color in enumerate(COLORS):
        path = tmp_path / f"{number}.png"
        path.write_bytes(png(color))
        made.append(Photo(number + 1, hashlib.sha256(png(color)).digest(), path))
    return made


def prepare(image: Image.Image) -> U8Image:
    return images.resize(image, (2, 3), "nearest")


def reason(photo: Photo, limits: ImageLimits = LIMITS) -> str:
    with pytest.raises(RejectedImage) as caught:
        read(photo, limits)
    return caught.value.reason


# -- One photo -------------------------------------------------------------------------------------


def test_a_photo_is_read_as_it_is(photos: list[Photo]) -> None:
    image = read(photos[3], LIMITS)
    assert (image.mode, image.size) == ("RGB", (4, 4))
    assert image.getcolors() == [(16, COLORS[3])]


def test_a_changed_or_missing_photo_has_a_reason(
    photos: list[Photo],
) -> None:
    gone, changed, cut, loop, folder, same, *_ = photos
    gone.path.unlink()
    changed.path.write_bytes(png((1, 2, 3)))
    cut.path.write_bytes(cut.path.read_bytes()[:-5])
    loop.path.unlink()
    loop.path.symlink_to(loop.path.name)
    folder.path.unlink()
    folder.path.mkdir()
    assert reason(gone) == MISSING
    assert reason(changed) == reason(cut) == CHANGED
    assert reason(loop) == UNREADABLE
    assert reason(folder) == "not an image"
    # It was accepted when it came; how it is kept is not judged again.
    assert read(same, ImageLimits(max_bytes=10, max_pixels=15, min_side=5)).size == (4, 4)


def test_an_error_of_the_disk_is_raised_as_it_is(
    photos: list[Photo], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: Path, _: ImageLimits) -> bytes:
        raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))

    monkeypatch.setattr(images, "read_bytes", fail)
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        read(photos[0], LIMITS)
    with pytest.raises(OSError, match=os.strerror(errno.EIO)):
        list(prepare_all(photos, prepare, LIMITS, decoders=2, ahead=3))


def test_ingested_bytes_that_are_no_photo_are_rejected(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"no photo")
    photo = Photo(1, hashlib.sha256(b"no photo").digest(), tmp_path / "a.png")
    assert reason(photo) == "not an image"


# -- Many photos -----------------------------------------------------------------------------------


@pytest.mark.parametrize("decoders", [1, 2, 5])
@pytest.mark.parametrize("ahead", [0, 1, 4, 100])
@pytest.mark.parametrize("chunk", [1, 5, 8, 12])
def test_photos_are_yielded_in_order_with_their_pixels(
    photos: list[Photo], decoders: int, ahead: int, chunk: int
) -> None:
    prepared = list(prepare_all(photos, prepare, LIMITS, decoders, ahead, chunk_size=chunk))
    assert [photo for photo, _ in prepared] == photos
    for color, (_, pixels) in zip(COLORS, prepared, strict=True):
        assert isinstance(pixels, np.ndarray)
        assert pixels.shape == (2, 3, 3)
        assert (pixels == color).all()


def test_a_bad_photo_is_yielded_in_its_place_with_its_reason(photos: list[Photo]) -> None:
    photos[1].path.unlink()
    photos[4].path.write_bytes(b"")
    prepared = list(prepare_all(photos, prepare, LIMITS, decoders=2, ahead=3))
    bad = {n: p.reason for n, (_, p) in enumerate(prepared) if isinstance(p, RejectedImage)}
    assert bad == {1: MISSING, 4: CHANGED}
    assert len(prepared) == len(photos)


def test_photos_whose_pixels_are_ready_are_not_read(photos: list[Photo]) -> None:
    ready = {photos[n].sha256: np.full((2, 3, 3), n, np.uint8) for n in (0, 5)}
    photos[0].path.unlink()
    photos[5].path.unlink()
    photos[6].path.unlink()
    pixels = [p for _, p in prepare_all(photos, prepare, LIMITS, 2, ahead=3, ready=ready)]
    assert pixels[0] is ready[photos[0].sha256]
    assert pixels[5] is ready[photos[5].sha256]
    assert isinstance(pixels[6], RejectedImage)
    assert (np.asarray(pixels[1]) == COLORS[1]).all()


@pytest.mark.parametrize(("chunk", "read"), [(1, 4), (2, 4), (3, 6)])
def test_no_more_is_read_than_the_photos_ahead_and_the_present_chunk(
    photos: list[Photo], chunk: int, read: int
) -> None:
    requested = []

    def noted() -> Iterator[Photo]:
        for photo in photos:
            requested.append(photo)
            yield photo

    prepared = prepare_all(noted(), prepare, LIMITS, decoders=2, ahead=3, chunk_size=chunk)
    next(prepared)
    assert len(requested) == read


def test_photos_are_prepared_at_the_same_time(photos: list[Photo]) -> None:
    both = threading.Barrier(2)

    def together(image: Image.Image) -> U8Image:
        both.wait(10)  # passed only if a second thread comes while this one is here
        return prepare(image)

    prepared = prepare_all(photos, together, LIMITS, decoders=2, ahead=4, chunk_size=1)
    assert len(list(prepared)) == 12


def test_an_error_in_prepare_is_raised(photos: list[Photo]) -> None:
    def wrong(_: Image.Image) -> U8Image:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        list(prepare_all(photos, wrong, LIMITS, decoders=2, ahead=3))
