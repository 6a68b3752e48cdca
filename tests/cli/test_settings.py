"""The commands about settings, and the program's own options, run as a user runs them."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline import sources
from pipeline.catalog.catalog import Catalog
from pipeline.catalog.ingest import ingest
from pipeline.cli import main
from pipeline.config import Config, FolderSettings, load_config
from pipeline.images import ImageLimits
from pipeline.sources.base import SourceItem
from tests.conftest import png

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run one command in an empty folder; return its exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["imgsearch", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return run


def write_photos(folder: Path, *names: str) -> None:
    for n, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(png((n, 0, 0), (20, 20)))


def write_csv(file: Path, *rows: Mapping[str, str], delimiter: str = ",") -> None:
    with file.open("w", newline="") as opened:
        writer = csv.DictWriter(opened, list(rows[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)


def ingested(config: Config) -> list[SourceItem]:
    """The items that the settings lead to, which `ingest` accepts too."""
    source = sources.create(config.source)
    with Catalog(config.folder, create=True) as catalog:
        ingest(source, catalog, ImageLimits(**config.images.model_dump()))
    return [item for item in source.items() if isinstance(item, SourceItem)]


# -- The program -----------------------------------------------------------------------------------


def test_it_says_its_version(run: Run) -> None:
    assert run("--version") == (0, f"imgsearch {version('imgsearch')}\n", "")


def test_it_can_be_run_as_a_module(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pipeline", "--version"]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    assert ran.stdout.startswith("imgsearch ")


def test_it_completes_its_commands_in_a_shell() -> None:
    typed = {
        "COMP_WORDS": "imgsearch ver",
        "COMP_CWORD": "1",
        "_IMGSEARCH_COMPLETE": "complete_bash",
    }
    program = "import sys; from pipeline.cli.commands import app; app(prog_name='imgsearch')"
    ran = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": ":".join(sys.path), **typed},
        check=False,
    )
    assert ran.stdout.split() == ["verify"]


def test_an_error_names_the_settings_that_were_used(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "my shop.yaml"
    file.write_text("source: {type: sample}")
    code, _, err = run("info", "--config", file)
    assert code == 1
    assert f"run `imgsearch build --config '{file}'`" in err
    assert "run `imgsearch build`" in run("info")[2]
    (tmp_path / "imgsearch.yaml").write_text("indeks: 1")
    assert run("info")[2].startswith("imgsearch: imgsearch.yaml: indeks: unknown key")


# -- config ----------------------------------------------------------------------------------------


def test_config_prints_settings_that_load_again(run: Run, tmp_path: Path) -> None:
    overrides = ["--set", "source.type=folder source.path=/my photos", "--set", "name='007'"]
    code, out, _ = run("config", *overrides)
    assert code == 0
    (tmp_path / "printed.yaml").write_text(out)
    printed = load_config(tmp_path / "printed.yaml")
    assert printed == load_config(
        overrides=["source={type: folder, path: /my photos}", "name='007'"]
    )
    assert "  min_side: 16  # pixels of the shorter side" in out.splitlines()
    _, out, _ = run("config", "--json", *overrides)
    assert json.loads(out) == printed.model_dump(mode="json")


def test_config_says_which_file_it_read(run: Run, tmp_path: Path) -> None:
    assert run("config")[1].startswith("# Every setting of the built-in settings.\n")
    (tmp_path / "imgsearch.yaml").write_text("name: mine")
    out = run("config", "--set", "embedding.decoders=3")[1]
    assert out.startswith("# Every setting of imgsearch.yaml with embedding.decoders=3.\n")
    assert "\nname: mine\n" in out


# -- init ------------------------------------------------------------------------------------------


def test_a_folder_of_photos(run: Run, tmp_path: Path) -> None:
    write_photos(tmp_path / "my photos", "hats/a.png", "hats/b.png", "shoes/c.png")
    code, out, err = run("init", "my photos")
    assert (code, out) == (0, "")
    assert "my photos: 3 photos" in err
    assert "imgsearch build\n" in err
    config = load_config()
    assert [(i.key, i.category) for i in ingested(config)] == [
        ("hats/a.png", "hats"),
        ("hats/b.png", "hats"),
        ("shoes/c.png", "shoes"),
    ]
    assert config.folder == Path("indexes/my-photos")
    assert config.engines == load_config(Path(__file__).parents[2] / "config/catalog.yaml").engines


@pytest.mark.parametrize("naming", ["a/{n}.png", "{n}.png", "{n}"])
def test_a_table_in_the_folder_describes_its_photos(run: Run, tmp_path: Path, naming: str) -> None:
    write_photos(tmp_path / "photos", *(f"a/{n}.png" for n in range(3)))
    (tmp_path / "photos/broken.csv").write_bytes(b'\xff"\n\0')
    write_csv(tmp_path / "photos/other.csv", {"who": "nobody", "name": "x"})
    rows = [
        {
            "brand": "B",
            "File": naming.format(n=n),
            "itemName": f"Hat {n}",
            "masterCategory": "Hats >> X",
        }
        for n in range(4)
    ]
    write_csv(tmp_path / "photos/list.csv", *rows)
    _, _, err = run("init", "photos")
    assert "list.csv describes them" in err
    items = ingested(load_config())
    assert [(i.name, i.category) for i in items[:3]] == [(f"Hat {n}", "Hats") for n in range(3)]
    assert items[0].metadata["brand"] == "B"
    assert not items[3].photos


def test_photos_in_the_current_folder_are_indexed_beside_it(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_photos(tmp_path / "shop", "a.png", "b.png")
    monkeypatch.chdir(tmp_path / "shop")
    assert run("init")[0] == 0
    assert load_config().folder == tmp_path / "shop-indexes/shop"
    assert len(ingested(load_config())) == 2


def test_a_table_beside_the_photos_that_cannot_be_read_is_a_note(run: Run, tmp_path: Path) -> None:
    write_photos(tmp_path / "photos", "a.png", "b.png")
    (tmp_path / "photos/prices.csv").write_bytes(b"PK\x03\x04 xl/workbook.xml")
    write_csv(tmp_path / "photos/products.csv", {"file": "a", "name": "Cap"})
    code, _, err = run("init", "photos")
    assert code == 0
    assert (
        "prices.csv: a workbook (of Excel or the like), not a CSV file; save its table as CSV"
        in err
    )
    source = load_config().source
    assert isinstance(source, FolderSettings)
    assert source.metadata is not None
    assert source.metadata.file == Path("products.csv")


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_a_table_with_urls(run: Run, tmp_path: Path, delimiter: str) -> None:
    rows = [
        {
            "product_url": f"http://shop.example/{n}",
            "brand": f"Brand {n % 3}",
            "price": f"{n % 7}.5",
            "uniq_id": f"id{n}",
            "image": f'["http://img.example/{n}.jpg", "http://img.example/{n}-2.jpg"]',
            "product_name": f"Hat {n}",
            "product_category_tree": f'["Hats >> Kind {n % 2}"]',
            "specifications": '{"a"=>"b"}',
        }
        for n in range(40)
    ]
    write_csv(tmp_path / "table.csv", *rows, delimiter=delimiter)
    assert run("init", "table.csv")[0] == 0
    items = ingested(load_config())
    assert [i.key for i in items] == [f"id{n}" for n in range(40)]
    assert (items[0].name, items[0].category) == ("Hat 0", "Hats")
    assert items[0].photos[0].uri == "http://img.example/0.jpg"
    assert items[0].metadata["specifications"] == {"a": "b"}


def test_a_table_is_found_in_its_folder(run: Run, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    columns = {"sku": [7, 8], "photos": [["http://x/1"], ["http://x/2"]], "title": ["A", "B"]}
    pq.write_table(pa.table(columns), tmp_path / "data/items.parquet")
    assert run("init", "data")[0] == 0
    items = ingested(load_config())
    assert [(i.key, i.name, i.photos[0].uri) for i in items] == [
        ("7", "A", "http://x/1"),
        ("8", "B", "http://x/2"),
    ]


def test_a_list_of_urls_is_a_table(run: Run, tmp_path: Path) -> None:
    write_csv(tmp_path / "urls.csv", *({"where": f"https://x/{n}"} for n in range(3)))
    assert run("init", "urls.csv")[0] == 0
    assert [i.photos[0].uri for i in ingested(load_config())] == [
        f"https://x/{n}" for n in range(3)
    ]


def test_settings_for_another_folder_name_the_whole_path(run: Run, tmp_path: Path) -> None:
    write_photos(tmp_path / "photos", "a.png")
    (tmp_path / "else where").mkdir()
    err = run("init", "photos", "--out", "else where/shop.yaml")[2]
    assert "imgsearch build --config 'else where/shop.yaml'" in err
    source = load_config("else where/shop.yaml").model_dump(mode="json")["source"]
    assert source["path"] == str(tmp_path / "photos")


def test_an_existing_file_is_kept(run: Run, tmp_path: Path) -> None:
    write_photos(tmp_path / "photos", "a.png")
    (tmp_path / "imgsearch.yaml").write_text("mine")
    code, _, err = run("init", "photos")
    assert (code, err.count("\n")) == (1, 1)
    assert "imgsearch.yaml: it exists; --force" in err
    assert (tmp_path / "imgsearch.yaml").read_text() == "mine"
    assert run("init", "photos", "--force")[0] == 0
    assert load_config().catalog == "photos"


@pytest.mark.parametrize(
    ("argument", "says"),
    [
        ("nowhere", "nowhere: no such folder or file"),
        ("empty", "empty: no photos below it, and no table"),
        ("two", "several tables (a.csv, b.csv); name one"),
        ("photo.png", "photo.png: a picture, not a CSV file; name the CSV file instead"),
        ("text.txt", "text.txt: no heading; the first row must name the columns"),
        ("two/a.csv", "two/a.csv: no column of it holds URLs"),
        ("blank.csv", "blank.csv: no heading; the first row must name the columns"),
        ("bad.parquet", "bad.parquet: not a Parquet file"),
        ("indexes/shop", "must be apart"),
    ],
)
def test_what_is_not_usable_is_said_in_one_line(
    run: Run, tmp_path: Path, argument: str, says: str
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "two").mkdir()
    for name in ("a", "b"):
        write_csv(tmp_path / f"two/{name}.csv", {"id": "1", "name": "x"})
    for name in ("text.txt", "blank.csv", "bad.parquet"):
        (tmp_path / name).write_text("")
    write_photos(tmp_path, "photo.png", "indexes/shop/a.png")
    code, out, err = run("init", argument)
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert says in err
    assert not (tmp_path / "imgsearch.yaml").exists()


@pytest.mark.parametrize(
    "command",
    [
        ("query", "--id", 1, "--grid"),
        ("evaluate", "--out"),
        ("report", "--out"),
        ("audit", "--html"),
    ],
)
def test_a_folder_is_refused_as_a_file_to_write_before_the_work(
    run: Run, tmp_path: Path, command: tuple[object, ...]
) -> None:
    suffix = {"query": ".png", "evaluate": ".json"}.get(str(command[0]), ".html")
    (tmp_path / f"taken{suffix}").mkdir()
    code, _, err = run(*command, f"taken{suffix}")
    assert (code, err.strip()) == (
        1,
        f"imgsearch: {command[-1]} taken{suffix}: a folder; give the name of a file",
    )


@pytest.mark.parametrize("command", ["report", "evaluate", "compare"])
def test_a_seed_that_libraries_do_not_take_is_refused(run: Run, command: str) -> None:
    code, out, err = run(command, "--seed", 2**32)
    assert (code, out) == (2, "")
    assert "Invalid value for '--seed'" in " ".join(err.split())


@pytest.mark.parametrize("command", [("query",), ("compare",), ("evaluate", "--query-set")])
@pytest.mark.parametrize(
    ("given", "said"), [("", "it is empty; give a path"), ("https://shop/a.jpg", "is a URL")]
)
def test_an_unset_variable_or_a_url_is_no_photo(
    run: Run, command: tuple[str, ...], given: str, said: str
) -> None:
    code, out, err = run(*command, given)
    assert (code, out) == (2, "")
    assert said in " ".join(err.split())
