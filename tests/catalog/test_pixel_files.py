"""store/pixels.py: decoded photos are found again by their content, or not at all."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from pipeline.catalog.catalog import Photo
from pipeline.catalog.photos import MISSING, Prepared, prepare_all
from pipeline.catalog.pixel_files import PixelFile, PixelFolder
from pipeline.embeddings.embed import EmbedReport
from pipeline.errors import RejectedImage
from tests.conftest import ColorModel, Shop, embed_by, tree

SIZE = (2, 3)
PIXELS = np.random.default_rng(1).integers(0, 256, (7, *SIZE, 3), np.uint8)


def photo(number: int) -> Photo:
    return Photo(number, hashlib.sha256(bytes([number])).digest(), Path(f"{number}.png"))


def prepared(numbers: Sequence[int], bad: Sequence[int] = ()) -> Iterator[Prepared]:
    for n in numbers:
        yield photo(n), RejectedImage(MISSING, "") if n in bad else PIXELS[n]


def hashes(numbers: Sequence[int]) -> npt.NDArray[np.uint8]:
    joined = b"".join(photo(n).sha256 for n in numbers)
    return np.frombuffer(joined, np.uint8).reshape(-1, 32)


def work(folder: Path, **parts: Sequence[int]) -> Path:
    """A folder as training leaves it: pixel files, and folders of its own."""
    for part, numbers in parts.items():
        PixelFile(folder, part, SIZE).fill(prepared(numbers))
    (folder / "checkpoints").mkdir()
    (folder / "checkpoints" / "last").write_bytes(b"weights")
    return folder


# -- One file --------------------------------------------------------------------------------------


def test_pixels_are_read_back_in_order_with_their_photos(tmp_path: Path) -> None:
    file = PixelFile(tmp_path / "new", "training", SIZE)
    assert not file.is_complete()
    assert file.fill(prepared([4, 0, 6])) == []
    again = PixelFile(tmp_path / "new", "training", SIZE)
    assert again.is_complete()
    np.testing.assert_array_equal(again.pixels, PIXELS[[4, 0, 6]])
    np.testing.assert_array_equal(again.photos, hashes([4, 0, 6]))
    assert sorted(tree(tmp_path / "new")) == ["training.json", "training.pixels"]


def test_the_rows_can_be_read_without_this_program(tmp_path: Path) -> None:
    PixelFile(tmp_path, "training", SIZE).fill(prepared([2, 3]))
    assert (tmp_path / "training.pixels").read_bytes() == PIXELS[2:4].tobytes()


def test_photos_without_pixels_are_returned_and_have_no_row(tmp_path: Path) -> None:
    file = PixelFile(tmp_path, "training", SIZE)
    bad = file.fill(prepared(range(7), bad=[0, 3, 6]))
    assert [(p, rejected.reason) for p, rejected in bad] == [(photo(n), MISSING) for n in (0, 3, 6)]
    np.testing.assert_array_equal(file.pixels, PIXELS[[1, 2, 4, 5]])
    np.testing.assert_array_equal(file.photos, hashes([1, 2, 4, 5]))


@pytest.mark.parametrize("numbers", [[], [1, 2]])
def test_a_file_may_have_no_rows(tmp_path: Path, numbers: list[int]) -> None:
    file = PixelFile(tmp_path, "validation", SIZE)
    assert len(file.fill(prepared(numbers, bad=numbers))) == len(numbers)
    assert file.is_complete()
    assert file.pixels.shape == (0, *SIZE, 3)
    assert file.photos.shape == (0, 32)


def test_a_file_whose_writing_was_killed_does_not_exist(tmp_path: Path) -> None:
    def dying() -> Iterator[Prepared]:
        yield from prepared([5, 6])
        raise KeyboardInterrupt

    file = PixelFile(tmp_path, "training", SIZE)
    with pytest.raises(KeyboardInterrupt):
        file.fill(dying())
    assert not file.is_complete()
    assert len(PixelFolder(tmp_path, SIZE, "lanczos")) == 0
    file.fill(prepared([0, 1]))
    np.testing.assert_array_equal(file.pixels, PIXELS[:2])


def test_every_flipped_bit_is_noticed(tmp_path: Path) -> None:
    file = PixelFile(tmp_path, "training", SIZE)
    file.fill(prepared([2, 3]))
    assert file.is_intact()
    for path in (file.rows_file, file.photos_file):
        data = path.read_bytes()
        for bit in range(0, 8 * len(data), 3):
            flipped = bytearray(data)
            flipped[bit // 8] ^= 1 << bit % 8
            path.write_bytes(flipped)
            assert not file.is_intact()
        path.write_bytes(data)


# -- A folder of them ------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> PixelFolder:
    """What a training left: two parts, six photos."""
    made = PixelFolder(tmp_path / "model", SIZE, "lanczos")
    made.adopt(work(tmp_path / "model" / ".0123.training", training=[4, 0, 6], validation=[1, 3]))
    return made


def test_pixels_are_found_by_their_photo_whatever_part_they_are_in(
    folder: PixelFolder, tmp_path: Path
) -> None:
    again = PixelFolder(tmp_path / "model", SIZE, "lanczos")
    assert len(again) == 5
    assert set(again) == {photo(n).sha256 for n in (0, 1, 3, 4, 6)}
    for n in (0, 1, 3, 4, 6):
        np.testing.assert_array_equal(again[photo(n).sha256], PIXELS[n])
    assert photo(2).sha256 not in again
    assert again.get(photo(5).sha256) is None


def test_altered_pixels_are_not_found(folder: PixelFolder, tmp_path: Path) -> None:
    file = folder.folder / "training.pixels"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    again = PixelFolder(tmp_path / "model", SIZE, "lanczos")
    assert again.get(photo(6).sha256) is None
    np.testing.assert_array_equal(again[photo(4).sha256], PIXELS[4])


def test_only_pixels_are_kept_of_what_training_left(folder: PixelFolder, tmp_path: Path) -> None:
    assert list((tmp_path / "model").iterdir()) == [folder.folder]
    assert sorted(tree(folder.folder)) == [
        "training.json",
        "training.pixels",
        "validation.json",
        "validation.pixels",
    ]


def test_the_pixels_of_a_later_training_replace_earlier_ones(
    folder: PixelFolder, tmp_path: Path
) -> None:
    later = PixelFolder(tmp_path / "model", SIZE, "lanczos")
    later.adopt(work(tmp_path / "model" / ".4567.training", training=[2]))
    assert list(later) == [photo(2).sha256]


@pytest.mark.parametrize(("size", "resize"), [((3, 2), "lanczos"), (SIZE, "bilinear")])
def test_pixels_prepared_in_another_way_are_not_found(
    folder: PixelFolder, tmp_path: Path, size: tuple[int, int], resize: str
) -> None:
    assert len(PixelFolder(tmp_path / "model", size, resize)) == 0


def test_pixels_by_another_pillow_are_not_found(
    folder: PixelFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "pipeline.catalog.pixel_files.library_versions", lambda *_: {"pillow": "1.0"}
    )
    assert len(PixelFolder(tmp_path / "model", SIZE, "lanczos")) == 0


def test_removed_pixels_are_gone_and_may_be_removed_again(
    folder: PixelFolder, tmp_path: Path
) -> None:
    folder.remove()
    folder.remove()
    assert list((tmp_path / "model").iterdir()) == []
    assert len(PixelFolder(tmp_path / "model", SIZE, "lanczos")) == 0


def test_embedding_reads_them_instead_of_the_photos(shop: Shop, tmp_path: Path) -> None:
    shop.offer({str(n): [(n, 2 * n, 0)] for n in range(7)})
    photos, model = list(shop.catalog.photos()), ColorModel()
    left = tmp_path / "model" / ".0123.training"
    for part, members in (("training", photos[2:]), ("validation", photos[:1])):
        file = PixelFile(left, part, model.input_size)
        file.fill(prepare_all(members, model.prepare, shop.limits, decoders=2, ahead=4))
    decoded = PixelFolder(tmp_path / "model", model.input_size, "nearest")
    decoded.adopt(left)
    for one in photos[2:] + photos[:1]:
        one.path.unlink()
    store = shop.engine.embeddings("any")
    report = embed_by(model, shop.catalog, store, decoded=decoded)
    assert report == EmbedReport(already=0, embedded=7, failed=0)
    (shard,) = store.shards()
    np.testing.assert_array_equal(shard.vectors(), [(n, 2 * n, 0) for n in range(7)])
