"""The commands, as a user types them."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from typer.testing import CliRunner

from pipeline.catalog.catalog import Catalog
from pipeline.cli.commands import app
from pipeline.config import Config, load_config
from pipeline.engine import Engine
from pipeline.index.builds import BuildStore
from pipeline.maintenance.audit import AuditLimits
from pipeline.report.text import counted
from pipeline.search.engine_searcher import open_engine
from tests.e2e.conftest import Command

COMMANDS = (
    *("ingest", "download", "train", "embed", "index", "build"),
    *(
        "query",
        "neighbors",
        "projector",
        "evaluate",
        "compare",
        "report",
        "info",
        "audit",
        "duplicates",
        "verify",
        "clean",
        "config",
    ),
)


@pytest.fixture
def run(settings_file: Path, command: Command) -> object:
    """Run one command on the catalog that is built; return its exit code, stdout and stderr."""

    def run(*arguments: object, config: Path | None = settings_file) -> tuple[int, str, str]:
        return command(*arguments, *(["--config", config] if config else []))

    return run


def one_line(text: str) -> str:
    lines = text.strip().splitlines()
    assert len(lines) == 1, text
    assert lines[0].startswith("imgsearch: ")
    return lines[0]


@pytest.fixture
def photo(built: Config) -> Path:
    """A photo of the catalog."""
    with Catalog(built.folder) as catalog:
        return next(catalog.photos()).path


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself_with_an_example(command: str) -> None:
    shown = CliRunner().invoke(app, [command, "--help"], terminal_width=200)
    assert shown.exit_code == 0
    assert f"imgsearch {command}" in shown.output.split("Example")[-1]
    assert "--config" in shown.output
    assert "--set" in shown.output


def imported(*arguments: str) -> set[str]:
    """The top-level modules that a command loads, seen from inside its process."""
    program = (
        "import sys\nfrom pipeline.cli import main\n"
        f"sys.argv = ['imgsearch', *{arguments!r}]\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code, end.code\n"
        "print('\\n' + ' '.join(sys.modules))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    return {name.partition(".")[0] for name in ran.stdout.splitlines()[-1].split()}


def test_help_loads_nothing_heavy() -> None:
    assert imported("--help").isdisjoint({"numpy", "PIL", "pydantic", "faiss", "tensorflow"})


def test_a_query_by_id_and_info_do_not_load_tensorflow(built: Config, settings_file: Path) -> None:
    for command in (("query", "--id", "1"), ("info",)):
        loaded = imported(*command, "--config", str(settings_file))
        assert loaded.isdisjoint({"tensorflow", "keras", "matplotlib"}), command


WITHOUT_TENSORFLOW = """
import sys
from pipeline.cli import main

class Refuse:
    def find_spec(self, name, *_):
        assert name.partition(".")[0] not in ("tensorflow", "keras"), f"{command} imports {name}"

sys.meta_path.insert(0, Refuse())
commands, *options = sys.argv[1:]
for command in commands.splitlines():
    sys.argv = ["imgsearch", *command.split(), *options]
    try:
        main()
    except SystemExit as end:
        assert not end.code, command
"""


def test_only_training_and_fetching_load_tensorflow(
    built: Config, settings_file: Path, photo: Path, tmp_path: Path
) -> None:
    """In one process, because starting one for each takes long."""
    shutil.copytree(built.root, tmp_path / "indexes")
    for segments in tmp_path.glob("indexes/*/*/segments"):
        shutil.rmtree(segments)
    commands = [
        *("ingest", "embed", "index", f"query {photo}", f"query {photo} --fuse", "query --id 1"),
        *("evaluate --cost", "compare", f"compare {photo}"),
        *("report", "neighbors mobilenet graph.npy", "projector projector", "audit", "info"),
        *("verify", "clean --yes"),
    ]
    options = ["--config", str(settings_file), "--set", f"root={tmp_path / 'indexes'}"]
    ran = subprocess.run(
        [sys.executable, "-c", WITHOUT_TENSORFLOW, "\n".join(commands), *options],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert ran.returncode == 0, ran.stderr


def test_a_photo_is_answered_by_every_engine(built: Config, photo: Path, run) -> None:  # type: ignore[no-untyped-def]
    code, out, _ = run("query", photo, "--json", "-k", 4)
    answer = json.loads(out)
    assert code == 0
    assert answer["query"] == str(photo)
    assert list(answer["engines"]) == ["autoencoder", "mobilenet"]
    for engine, found in answer["engines"].items():
        expected = open_engine(built, engine).search(photo, 4).hits
        assert [n["item"]["id"] for n in found["hits"]] == [n.item.id for n in expected]
        assert found == open_engine(built, engine).search(photo, 4).to_dict()
        nearest = found["hits"][0]
        assert (nearest["rank"], nearest["photo"]) == (1, str(photo))
        assert nearest["distance"] < 1e-3
        assert set(nearest["item"]["metadata"]) == {"color", "pattern", "near_duplicate_of"}
    assert answer["engines"]["autoencoder"]["warning"] is None
    assert "RANDOM weights" in answer["engines"]["mobilenet"]["warning"]


def test_the_table_has_rank_distance_id_name_category_and_path(
    built: Config,
    photo: Path,
    run,  # type: ignore[no-untyped-def]
) -> None:
    code, out, _ = run("query", photo, "--engine", "mobilenet")
    assert code == 0
    nearest = open_engine(built, "mobilenet").search(photo, 3).hits
    rows = [line for line in out.splitlines() if "│ mobilenet" in line]
    assert len(rows) == 3
    for row, n in zip(rows, nearest, strict=True):
        cells = [cell.strip() for cell in row.strip("│").split("│")]
        assert cells == [
            "mobilenet", str(n.rank), f"{n.distance:.4g}", f"{n.percentile:.1f} %", str(n.item.id),
            n.item.name, n.item.category, str(n.photo),
        ]  # fmt: skip
    warning = open_engine(built, "mobilenet").warning
    assert warning is not None
    assert warning in " ".join(out.split())
    assert "RANDOM" not in run("query", photo, "--engine", "autoencoder")[1]


def test_an_item_is_found_by_id_or_key_and_leaves_itself_out(built: Config, run) -> None:  # type: ignore[no-untyped-def]
    code, out, _ = run("query", "--id", 3, "--json", "-k", 25)
    assert code == 0
    ids = [hit["item"]["id"] for hit in json.loads(out)["engines"]["mobilenet"]["hits"]]
    assert sorted(ids) == [i for i in range(1, 27) if i != 3]
    with Catalog(built.folder) as catalog:
        item = catalog.item(3)
    assert item is not None
    assert json.loads(run("query", "--key", item.key, "--json", "-k", 25)[1]) == json.loads(out)


def test_only_items_that_are_wanted_are_found(built: Config, photo: Path, run) -> None:  # type: ignore[no-untyped-def]
    with Catalog(built.folder) as catalog:
        items = [catalog.item(number) for number in range(1, 27)]
    color = next(item.metadata["color"] for item in items if item)
    of_color = {item.id for item in items if item and item.metadata["color"] == color}
    assert 0 < len(of_color) < 26
    words = ["query", photo, "--json", "-k", 26]
    found = json.loads(run(*words, "--where", f"color = '{color}'")[1])["engines"]
    assert all({n["item"]["id"] for n in one["hits"]} == of_color for one in found.values())
    found = json.loads(run(*words, "--group-by", "category")[1])["engines"]["mobilenet"]["hits"]
    assert {n["item"]["category"] for n in found} == {item.category for item in items if item}
    assert len({n["item"]["category"] for n in found}) == len(found)
    (everything,) = json.loads(run(*words, "-e", "mobilenet")[1])["engines"].values()
    least, most = everything["hits"][3]["distance"], everything["hits"][9]["distance"]
    limits = ["--min-distance", least, "--max-distance", most]
    (found,) = json.loads(run(*words, "-e", "mobilenet", *limits)[1])["engines"].values()
    assert found["hits"] == [{**n, "rank": n["rank"] - 3} for n in everything["hits"][3:10]]


def test_the_graph_of_a_catalog_is_a_table(built: Config, tmp_path: Path, run) -> None:  # type: ignore[no-untyped-def]
    file = tmp_path / "graph.parquet"
    code, out, err = run("neighbors", "mobilenet", file, "-k", 3)
    assert (code, out) == (0, "")
    assert f"wrote {file}: 78 rows" in err
    assert pq.read_table(file).num_rows == 78
    code, out, _ = run("neighbors", "mobilenet", file, "-k", 2, "--json")
    assert json.loads(out) == {"file": str(file), "rows": 52}


def test_engines_are_measured_and_compared(
    built: Config,
    photo: Path,
    tmp_path: Path,
    run,  # type: ignore[no-untyped-def]
) -> None:
    file = tmp_path / "evaluation.json"
    code, out, _ = run("evaluate", "--label", "color", "--no-cost", "--out", file)
    assert code == 0
    for name in ("autoencoder", "mobilenet", "fused", "random"):
        assert name in out
    again = json.loads(run("evaluate", "--label", "color", "--no-cost", "--json")[1])
    assert again == json.loads(file.read_text())
    code, out, _ = run("compare", photo, "--json")
    assert code == 0
    (answers,) = json.loads(out)["answers"]
    assert set(answers["lists"]) == {"autoencoder", "mobilenet"}
    code, out, _ = run("query", photo, "--fuse", "--json")
    fused = json.loads(out)["fused"]
    assert [n["rank"] for n in fused] == [1, 2, 3]
    assert fused[0]["photo"] == str(photo)


def test_a_report_is_one_page(built: Config, tmp_path: Path, settings_file: Path, run) -> None:  # type: ignore[no-untyped-def]
    page = tmp_path / "report.html"
    code, out, err = run("report", "--out", page)
    assert (code, out) == (0, "")
    assert err.splitlines()[-1] == f"wrote {page}"
    html = page.read_text()
    assert "RANDOM weights" in html
    assert 'aria-label="Training of autoencoder"' in html
    model = Engine("autoencoder", built).models.current()
    assert model is not None
    assert html.count("data:image/png") == 3 * len(model.photos("validation"))
    assert not (built.folder / "report.html").exists()
    code, out, _ = run("report", "--no-cost", "--queries", 5, "--engine", "mobilenet", "--json")
    assert (code, json.loads(out)) == (0, {"file": str(built.folder / "report.html")})
    html = (built.folder / "report.html").read_text()
    assert "5 queries asked" in html
    assert "1 engine;" in html
    (built.folder / "report.html").unlink()
    for wrong in (tmp_path / "report.txt", tmp_path / "no" / "report.html", tmp_path):
        code, out, err = run("report", "--out", wrong)
        assert (code, out) == (1, "")
        assert "--out" in one_line(err)
    code, _, err = run("report", "--label", "shoe_size")
    assert code == 1
    assert "shoe_size" in one_line(err)


def test_an_audit_is_a_table_json_and_a_page(
    built: Config,
    tmp_path: Path,
    run,  # type: ignore[no-untyped-def]
) -> None:
    page = tmp_path / "audit.html"
    code, out, err = run("audit", "--html", page)
    assert code == 0
    assert "Near-identical photos" in out
    assert f"wrote {page}" in err
    assert page.read_text().startswith("<!doctype html>")
    facts = json.loads(run("audit", "--json", "--side", 97)[1])
    assert facts["findings"]["small"]["count"] == facts["photos"] == 26
    help_text = CliRunner().invoke(app, ["audit", "--help"], terminal_width=200).output
    limits = AuditLimits()
    for name in ("distance", "sharpness", "side", "items", "examples"):
        assert f"({getattr(limits, name):g})" in help_text


def test_near_duplicates_are_a_table_json_parquet_and_a_page(
    built: Config,
    tmp_path: Path,
    run,  # type: ignore[no-untyped-def]
) -> None:
    page, rows = tmp_path / "groups.html", tmp_path / "groups.parquet"
    code, out, err = run("duplicates", "--html", page, "--parquet", rows)
    assert code == 0
    groups = json.loads(run("duplicates", "--json")[1])["groups"]
    members = [member for group in groups for member in group["members"]]
    assert members
    assert f"{counted(len(groups), 'group')} of near-duplicates" in err
    assert all(str(member["id"]) in out for member in members)
    assert pq.read_table(rows).column("sha256").to_pylist() == [m["sha256"] for m in members]
    assert page.read_text().count("<li>") == len(members)
    code, _, err = run("query", "--id", 1, "--collapse")
    assert code == 1
    assert "set `duplicates: true` and run `imgsearch build" in one_line(err)


def test_a_folder_streams_a_line_a_photo_and_bad_ones_are_said(
    built: Config,
    photo: Path,
    tmp_path: Path,
    run,  # type: ignore[no-untyped-def]
) -> None:
    shutil.copy(photo, tmp_path / "2.jpg")
    shutil.copy(photo, tmp_path / "10.jpg")
    (tmp_path / "3.jpg").write_bytes(b"no photo")
    code, out, err = run("query", tmp_path, "--json", "--engine", "mobilenet")
    lines = [json.loads(line) for line in out.splitlines()]
    assert code == 1
    assert [Path(line["query"]).name for line in lines] == ["2.jpg", "3.jpg", "10.jpg"]
    assert "error" in lines[1]
    assert "3.jpg: not an acceptable photo" in one_line(err)


def test_a_sheet_shows_the_query_and_its_neighbors(
    built: Config,
    photo: Path,
    tmp_path: Path,
    run,  # type: ignore[no-untyped-def]
) -> None:
    file = tmp_path / "sheet.png"
    assert run("query", photo, "--grid", file)[0] == 0
    with Image.open(file) as sheet, Image.open(photo) as query:
        pixels = np.asarray(sheet.convert("RGB")).astype(int)
        wanted = np.asarray(query.convert("RGB").resize((180, 180), Image.Resampling.LANCZOS))
    # The query and, as the photo is in the catalog, its nearest neighbor: in both engines' rows.
    inner = wanted[20:160, 20:160].astype(int)
    places = [
        (top, left)
        for top in range(0, pixels.shape[0] - 180)
        for left in (20, 220)
        if abs(pixels[top + 20 : top + 160, left + 20 : left + 160] - inner).mean() < 3
    ]
    assert {left for _, left in places} == {20, 220}
    assert len({top for top, _ in places if (top, 20) in places and (top, 220) in places}) == 2


def test_info_counts_the_catalog_and_its_artifacts(built: Config, run) -> None:  # type: ignore[no-untyped-def]
    code, out, _ = run("info", "--json")
    facts = json.loads(out)
    assert code == 0
    assert facts["states"] == {"available": {"": 26}}
    assert facts["items"] == facts["photos"] == 26
    engine = facts["engines"]["mobilenet"]
    assert engine["vectors"] == engine["build"]["rows"] == 26
    assert engine["build"]["dim"] == engine["model"]["dim"] == 64
    assert engine["build"]["fingerprint"] == engine["model"]["fingerprint"]
    assert engine["model"]["weights"] == "random"
    warning = engine["model"]["warning"]
    assert "RANDOM weights" in warning
    assert facts["engines"]["autoencoder"]["model"]["warning"] is None
    assert warning in run("info")[1]
    assert "26 items offered = 26 available; 26 distinct photos" in run("info")[1]


def test_verify_is_clean_and_finds_a_changed_byte(
    built: Config,
    settings_file: Path,
    tmp_path: Path,
    run,  # type: ignore[no-untyped-def]
) -> None:
    code, out, err = run("verify")
    assert (code, out) == (0, "")
    assert "no problems" in err

    shutil.copytree(built.root, tmp_path / "indexes")
    copied = tmp_path / "settings.yaml"
    copied.write_text(settings_file.read_text().replace(str(built.root), f"{tmp_path}/indexes"))
    build = BuildStore(tmp_path / "indexes" / "sample" / "mobilenet").current()
    assert build is not None
    file = build.segments[0].file
    content = bytearray(file.read_bytes())
    content[-3] ^= 1
    file.write_bytes(content)
    code, out, _ = run("verify", config=copied)
    assert code == 1
    assert f"{file}: damaged: its content has changed" in out

    file.write_bytes(content[:-1])
    code, _, err = run("query", "--id", 1, config=copied)
    assert code == 1
    assert f"{file}: damaged" in one_line(err)


def test_a_second_build_does_nothing(built: Config, settings_file: Path, run) -> None:  # type: ignore[no-untyped-def]
    before = {path: path.stat().st_mtime_ns for path in built.folder.rglob("*.npy")}
    code, out, _ = run("build", "--json")
    report = json.loads(out)
    assert code == 0
    assert report["ingest"]["unchanged"] is True
    for name, engine in report["engines"].items():
        assert engine["new_model"] is False
        assert engine["random_weights"] is (name == "mobilenet")
        assert engine["vectors"] == {"already": 26, "embedded": 0, "failed": 0}
    assert {path: path.stat().st_mtime_ns for path in built.folder.rglob("*.npy")} == before


def test_a_build_with_random_weights_says_so(built: Config, run) -> None:  # type: ignore[no-untyped-def]
    code, out, err = run("build")
    assert code == 0
    others = ("catalog", "publication")
    trained, drawn = (line for line in out.splitlines() if not line.startswith(others))
    assert "of RANDOM weights" not in trained
    assert "of RANDOM weights" in drawn
    assert "mobilenet: RANDOM weights" in err
    assert "autoencoder: RANDOM weights" not in err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["query", "nowhere.jpg"], "nowhere.jpg: cannot read the photo: No such file"),
        (["query", __file__], "not an acceptable photo: not an image"),
        (["query", "--id", "999"], "no item has the id 999"),
        (["query", "--key", "shoe"], "no item has the key 'shoe'"),
        (["query", "--id", "1", "-k", "0"], "k is 0; ask for at least 1"),
        (["query", "--id", "1", "--engine", "vgg61"], "unknown engine 'vgg61'"),
        (["query", "--id", "1", "--region", "0,0,1,1"], "and item 1 is none; search with a photo"),
        (["query", "--id", "1", "--region", "0,0,2,1"], "not within 0 to 1; give x,y,w,h"),
        (["query"], "nothing to search with"),
        (["query", "--id", "1", "--where", "colr = 'red'"], "did you mean color?"),
        (["query", "--id", "1", "--where", "color ="], "is not a condition; write it as"),
        (["query", "--id", "1", "--group-by", "brand"], "no item has a column 'brand'"),
        (["query", "--id", "1", "--min-distance", "-1"], "give a smallest one of 0 or more"),
        (["neighbors", "mobilenet", "graph.csv"], "graph.csv: give a name that ends in"),
        (["neighbors", "vgg61", "graph.npy"], "unknown engine 'vgg61'"),
        (["audit", "--html", "no/audit.html"], "in a folder that exists"),
        (["audit", "--set", "name=other"], "no catalog here yet; run"),
        (["download", "--set", "name=other"], "no catalog here yet; run"),
        (["build", "--set", "source={type: flipkart, path: no.csv}"], "no.csv: No such file"),
        (["query", "--id", "1", "--grid", "sheet.jpg"], "give a name that ends in .png"),
        (["query", "--id", "1", "--grid", "no/sheet.png"], "in a folder that exists"),
        (["query", "--id", "1", "--set", "name=other"], "no catalog here yet; run"),
        (["query", "--id", "1", "--set", "engines.mobilenet.layr=x"], "nearest valid one is"),
        (["info", "--set", "name=other"], "no catalog here yet; run"),
        (["verify", "--set", "name=other"], "no catalog here yet; run"),
        (["embed", "--set", "name=other2"], "no catalog here yet; run"),
        (["embed", "--set", "engines.mobilenet.resize=box"], "made with other settings than"),
        (["index", "--set", "engines.mobilenet.seed=8"], "made with other settings than"),
        (["build", "--set", "source={type: folder, path: nowhere}"], "nowhere: no such folder"),
    ],
)
def test_what_a_user_can_get_wrong_is_one_line(
    arguments: list[str],
    says: str,
    built: Config,
    run,  # type: ignore[no-untyped-def]
) -> None:
    code, out, err = run(*arguments)
    assert code != 0
    assert out == ""
    finished, mark, error = err.rpartition("imgsearch: ")
    assert says in one_line(mark + error)
    # Before it stands only what an engine before that one has finished.
    assert all(line.startswith("autoencoder ") for line in finished.splitlines())


def test_a_query_by_other_settings_is_answered_and_says_so(
    built: Config,
    photo: Path,
    run,  # type: ignore[no-untyped-def]
) -> None:
    for asked in ((photo,), ("--id", 1)):
        code, out, _ = run("query", *asked, "--set", "engines.mobilenet.resize=box")
        assert code == 0
        assert "mobilenet: publication 1 answers by the model that it was published with" in out


def test_an_empty_catalog_is_said(tmp_path: Path, run) -> None:  # type: ignore[no-untyped-def]
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "broken.jpg").write_bytes(b"\xff\xd8 no more")
    source = f"source={{type: folder, path: {photos}}}"
    code, _, err = run("build", "--set", source, "--set", f"root={tmp_path / 'indexes'}")
    assert code == 1
    assert "0 readable photos are too few" in err.splitlines()[-1]


def test_two_writers_do_not_meet(settings_file: Path, built: Config, run) -> None:  # type: ignore[no-untyped-def]
    from pipeline.locks import lock

    with lock(built.folder):
        code, _, err = run("build")
    assert code == 1
    assert "another imgsearch is writing here" in one_line(err)


def test_clean_keeps_what_is_in_use(tmp_path: Path, built: Config, run) -> None:  # type: ignore[no-untyped-def]
    shutil.copytree(built.root, tmp_path / "indexes")
    here = ("--set", f"root={tmp_path / 'indexes'}")
    assert run("build", *here, "--set", "engines.mobilenet.resize=box")[0] == 0
    assert run("build", *here)[0] == 0
    code, out, _ = run("clean", "--json", *here, "--set", "index.keep_publications=1")
    assert code == 0
    assert len(json.loads(out)) == 4  # a publication; its model, with the vectors and the index
    assert run("verify", *here)[0] == 0
    assert run("clean", "--all", "--yes", *here)[0] == 0
    assert not load_config(built_settings(built), [here[1]]).folder.exists()


def built_settings(config: Config) -> Path:
    return config.root.parent / "settings.yaml"
