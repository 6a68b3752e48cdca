"""What a look sees: every file by its state, and nothing that is not written to its end."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pipeline.config import FolderSettings, MetadataSettings, SampleSettings, TableSettings
from pipeline.config.sources import ColumnSettings
from pipeline.errors import ConfigError
from pipeline.watch.look import ROOT, Look, source_files


def look_at(folder: Path) -> Look:
    return source_files(FolderSettings(path=folder)).look()


def names(folder: Path) -> set[str]:
    return set(look_at(folder)) - {ROOT}


def test_a_look_has_every_file_but_temporary_and_hidden_ones(tmp_path: Path) -> None:
    (tmp_path / "caps").mkdir()
    kept = ["a.jpg", "caps/b.PNG", "no-suffix", "rows.csv", "a.part.jpg"]
    ignored = ["a.jpg.part", "caps/c.CRDOWNLOAD", "d.tmp", "e.partial", "f.filepart", ".g.jpg"]
    for name in kept + ignored:
        (tmp_path / name).write_bytes(b"x")
    assert names(tmp_path) == set(kept)


def test_a_look_tells_a_changed_a_replaced_and_a_touched_file(tmp_path: Path) -> None:
    file = tmp_path / "a.jpg"
    file.write_bytes(b"1")
    os.utime(file, ns=(1, 1))
    looks = [look_at(tmp_path)]
    assert look_at(tmp_path) == looks[0]
    file.write_bytes(b"22")
    os.utime(file, ns=(1, 1))  # its size
    looks.append(look_at(tmp_path))
    os.utime(file, ns=(2, 2))
    looks.append(look_at(tmp_path))
    (tmp_path / "b").write_bytes(b"33")
    os.utime(tmp_path / "b", ns=(2, 2))
    (tmp_path / "b").replace(file)  # its inode
    looks.append(look_at(tmp_path))
    file.unlink()
    looks.append(look_at(tmp_path))
    assert len({str(look) for look in looks}) == len(looks)


def test_links_to_photos_are_seen_with_what_they_lead_to(tmp_path: Path) -> None:
    folder, target = tmp_path / "photos", tmp_path / "target.jpg"
    folder.mkdir()
    (folder / "link.jpg").symlink_to(target)
    dangling = look_at(folder)
    assert set(dangling) == {ROOT, "link.jpg"}
    target.write_bytes(b"x")
    assert look_at(folder)["link.jpg"] != dangling["link.jpg"]


def test_a_folder_that_is_replaced_or_gone_looks_different(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    first = look_at(folder)
    folder.rename(tmp_path / "old")
    gone = look_at(folder)
    folder.mkdir()
    assert list(gone) == [ROOT]
    assert len({str(look) for look in (first, gone, look_at(folder))}) == 3


def test_metadata_and_tables_are_looked_at_wherever_they_are(tmp_path: Path) -> None:
    folder, rows = tmp_path / "photos", tmp_path / "rows.csv"
    folder.mkdir()
    columns = ColumnSettings(key="id", image="url")
    metadata = MetadataSettings(file=Path("../rows.csv"), key="id")
    for source in (
        FolderSettings(path=folder, metadata=metadata),
        TableSettings(path=rows, columns=columns),
    ):
        rows.unlink(missing_ok=True)
        files = source_files(source)
        assert len(files.essential) == 2
        missing = files.look()
        rows.write_text("id,url\n")
        assert files.look() != missing


def test_a_source_that_never_changes_is_refused() -> None:
    with pytest.raises(ConfigError, match="sample never changes; set `source`"):
        source_files(SampleSettings())
