"""config.py: what the files say is what there is, and nothing wrong gets past it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from pipeline.config import (
    AutoencoderSettings,
    Config,
    DistillationSettings,
    FolderSettings,
    PretrainedSettings,
    load_config,
)
from pipeline.errors import ConfigError

REPOSITORY = Path(__file__).parents[2]
MINIMAL = """
source: {type: sample}
engines:
  small: {type: autoencoder}
  large: {type: pretrained}
"""


@pytest.fixture
def minimal(tmp_path: Path) -> Path:
    file = tmp_path / "minimal.yaml"
    file.write_text(MINIMAL)
    return file


def fails(path: Path, *overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load_config(path, overrides)
    message = str(caught.value)
    assert "\n" not in message
    return message


def written(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(path.read_text())
    return content


def missing_keys(model: BaseModel, keys: dict[str, Any], where: str = "") -> Iterator[str]:
    """The settings that a file leaves to their defaults."""
    for name in type(model).model_fields:
        value = getattr(model, name)
        if name not in keys:
            yield where + name
        elif isinstance(value, BaseModel):
            yield from missing_keys(value, keys[name], f"{where}{name}.")
        elif isinstance(value, dict):
            for key, one in value.items():
                yield from missing_keys(one, keys[name][key], f"{where}{name}.{key}.")


@pytest.mark.parametrize("name", ["default.yaml", "flipkart.yaml"])
def test_the_shipped_files_write_every_setting_out(name: str) -> None:
    path = REPOSITORY / "config" / name
    assert list(missing_keys(load_config(path), written(path))) == []


def test_the_flipkart_file_has_the_articles_values() -> None:
    config = load_config(REPOSITORY / "config" / "flipkart.yaml")
    trained, pretrained = config.engines.values()
    assert isinstance(trained, AutoencoderSettings)
    assert (trained.architecture, trained.input_size, trained.latent_dim) == ("article", 256, 16)
    assert (trained.training.batch_size, trained.training.epochs) == (16, 100)
    assert trained.training.split == "first"
    assert trained.training.validation_split == 0.2
    assert isinstance(pretrained, PretrainedSettings)
    assert (pretrained.network, pretrained.layer, pretrained.input_size) == ("VGG16", "fc1", 224)
    assert pretrained.normalize
    assert pretrained.weights == "imagenet"


def test_what_is_left_out_has_the_default(minimal: Path) -> None:
    config = load_config(minimal)
    assert list(config.engines) == ["small", "large"]
    assert config.root == Path("indexes")
    assert config.index.type == "flat"


def test_settings_cannot_be_changed(minimal: Path) -> None:
    config = load_config(minimal)
    with pytest.raises(ValidationError, match="frozen"):
        config.embedding.batch_size = 1  # type: ignore[misc]


def test_overrides_are_yaml_and_the_last_one_wins(minimal: Path) -> None:
    config = load_config(
        minimal,
        [
            "embedding.batch_size=7",
            "embedding.batch_size=8",
            "name=two-words",
            "engines.small.training.patience=null",
            "engines.third={type: pretrained, network: ResNet50, layer: null}",
            "source={type: folder, path: a=b}",
        ],
    )
    assert config.embedding.batch_size == 8
    assert config.name == "two-words"
    assert list(config.engines) == ["small", "large", "third"]
    assert isinstance(config.source, FolderSettings)
    assert config.source.path == Path("a=b")


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("embeding.batch_size=1", "embeding: unknown key; the nearest valid one is 'embedding'"),
        (
            "embedding.batch=1",
            "embedding.batch: unknown key; the nearest valid one is 'batch_size'",
        ),
        ("source.photoes=1", "source.photoes: unknown key; the nearest valid one is 'photos'"),
        (
            "engines.small.training.epoch=1",
            "engines.small.training.epoch: unknown key; the nearest valid one is 'epochs'",
        ),
        (
            "engines.large.imput_size=1",
            "engines.large.imput_size: unknown key; the nearest valid one is 'input_size'",
        ),
    ],
)
def test_an_unknown_key_is_named_with_the_nearest_valid_one(
    minimal: Path, override: str, expected: str
) -> None:
    assert fails(minimal, override) == f"{minimal}: {expected}"


@pytest.mark.parametrize(
    ("override", "where"),
    [
        ("embedding.batch_size=0", "embedding.batch_size: "),
        ("embedding.batch_size=many", "embedding.batch_size: "),
        ("embedding.batch_size=1.5", "embedding.batch_size: "),
        ("embedding.batch_size=true", "embedding.batch_size: "),
        ("embedding=3", "embedding: "),
        ("embedding=null", "embedding: "),
        ("engines={}", "engines: "),
        ("engines=null", "engines: "),
        ("engines.small=null", "engines.small: "),
        ("engines.small.type=magic", "engines.small: "),
        ("engines.small.input_size=31", "engines.small.input_size: "),
        ("engines.small.resize=nicest", "engines.small.resize: "),
        ("engines.small.training.validation_split=1", "engines.small.training.validation_split: "),
        ("engines.small.training.learning_rate=.nan", "engines.small.training.learning_rate: "),
        ("engines.small.training.split=1", "engines.small.training.split: "),
        ("source={}", "source: "),
        ("source={type: folder}", "source.path: "),
        ("source={type: folder, path: a, metadata: {file: b}}", "source.metadata.key: "),
        ("index.type=ivf", "index.type: "),
        ("index.keep_builds=0", "index.keep_builds: "),
        ("name=5", "name: "),
        ("name=a/b", "'a/b' cannot be a name"),
        ("name=..", "'..' cannot be a name"),
        ("name=''", "'' cannot be a name"),
        ("engines.images={type: pretrained}", "'images' is taken in a catalog's folder"),
        ("engines={catalog.sqlite-wal: {type: pretrained}}", "is taken in a catalog's folder"),
        ("engines={.hidden: {type: pretrained}}", "'.hidden' cannot be a name"),
        ("engines.small.latent_dim=4097", "engines.small.latent_dim: "),
        ("engines.small.training.seed=4294967296", "engines.small.training.seed: "),
        ("engines.small.training.seed=-1", "engines.small.training.seed: "),
        ("engines.large.seed=4294967296", "engines.large.seed: "),
        ("engines.large.sha256=abc", "engines.large.sha256: "),
        (f"engines.large.sha256={'A' * 64}", "engines.large.sha256: "),
        ("engines.large.when_unavailable=ignore", "engines.large.when_unavailable: "),
        ("engines={../x: {type: pretrained}}", "'../x' cannot be a name"),
        ('download.user_agent="a\\nX-Header: b"', "download.user_agent: 'a\\nX-Header: b': give"),
        ('download.user_agent="a\\x7f"', "download.user_agent: 'a\\x7f': give printable ASCII"),
        ("download.user_agent=Käufer", "download.user_agent: 'Käufer': give printable ASCII"),
        ("download.user_agent=' a'", "download.user_agent: ' a': give printable ASCII"),
        ("download.user_agent=''", "download.user_agent: '': give printable ASCII"),
        *(
            (f"download.{name}={value}", f"download.{name}: Input should be a finite number")
            for name in (
                *("connect_timeout", "read_timeout", "total_timeout"),
                *("requests_per_second", "backoff"),
            )
            for value in (".nan", ".inf")
        ),
        ("download.allow_addresses=5", "download.allow_addresses: 5: give a list of networks"),
        ("download.allow_addresses=[home]", "download.allow_addresses.0: "),
        ("download.allow_addresses=home", "download.allow_addresses.0: "),
    ],
)
def test_an_impossible_value_is_named_with_its_place(
    minimal: Path, override: str, where: str
) -> None:
    message = fails(minimal, override)
    assert message.startswith(f"{minimal}: ")
    assert where in message


@pytest.mark.parametrize(
    "override",
    ["", "x", "=1", ".=1", "a..b=1", "source.type.kind=1", "name=[", "embedding={a: 1, a: 2}"],
)
def test_a_bad_override_is_named(minimal: Path, override: str) -> None:
    assert fails(minimal, override).startswith(f"--set {override}: ")


def test_further_mistakes_are_counted(minimal: Path) -> None:
    assert fails(minimal, "embedding.a=1", "embedding.b=1", "index.c=1").endswith("(and 2 more)")


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "expected a mapping"),
        (b"- a\n", "expected a mapping"),
        (b"a: [\n", "not valid YAML"),
        (b"a: &x [*y]\n", "not valid YAML"),
        (b"a: !!python/name:os.system\n", "not valid YAML"),
        (b"name: \xff\n", "cannot read"),
        (b"name: a\nname: b\n", "'name' is given twice"),
        (b"source: {type: sample, type: folder}\n", "'type' is given twice"),
    ],
)
def test_a_bad_file_is_named(tmp_path: Path, content: bytes, what: str) -> None:
    file = tmp_path / "bad.yaml"
    file.write_bytes(content)
    message = fails(file)
    assert str(file) in message
    assert what in message


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    assert str(tmp_path / "no.yaml") in fails(tmp_path / "no.yaml")


@pytest.mark.parametrize(
    ("override", "name"),
    [
        ("name=given", "given"),
        ("source={type: sample}", "sample"),
        ("source={type: folder, path: /some/Summer photos (2)}", "Summer-photos-2"),
        ("source={type: folder, path: /some/where/}", "where"),
        ("source={type: folder, path: /some/(!)}", "photos"),
        ("source={type: folder, path: /some/Fotos für Überall}", "Fotos-für-Überall"),
        ("name=商品", "商品"),
    ],
)
def test_a_catalog_is_named_as_told_or_after_its_source(
    minimal: Path, override: str, name: str
) -> None:
    config = load_config(minimal, ["root=/data", override])
    assert config.catalog == name
    assert config.folder == Path("/data", name)


@pytest.mark.parametrize("number", [0, 2**32 - 1])
def test_every_seed_that_the_libraries_take_may_be_given(minimal: Path, number: int) -> None:
    config = load_config(
        minimal, [f"engines.small.training.seed={number}", f"engines.large.seed={number}"]
    )
    small, large = config.engines.values()
    assert isinstance(small, AutoencoderSettings)
    assert isinstance(large, PretrainedSettings)
    assert small.training.seed == large.seed == number


@pytest.mark.parametrize("text", ["127.0.0.1/32", "[127.0.0.1/32]", "127.0.0.1"])
def test_one_network_needs_no_list(minimal: Path, text: str) -> None:
    (network,) = load_config(minimal, [f"download.allow_addresses={text}"]).download.allow_addresses
    assert str(network) == "127.0.0.1/32"


def test_engines_may_have_names_of_any_script(minimal: Path) -> None:
    assert "модель" in load_config(minimal, ["engines.модель={type: pretrained}"]).engines


@pytest.mark.parametrize(
    ("photos", "root", "name", "apart"),
    [
        ("photos", "indexes", "shop", True),
        ("photos", "photos-indexes", "shop", True),
        ("photos", ".", "photo", True),
        ("indexes/photos", "indexes", "shop", True),
        ("photos", "photos", "shop", False),
        ("photos", "photos/deep/in", "shop", False),
        ("photos", ".", "photos", False),
        ("shop/images", ".", "shop", False),
        ("shop/deep/in", ".", "shop", False),
        ("link", "photos", "shop", False),
        ("photos", "link", "shop", False),
        ("photos/../photos", "indexes/../photos", "shop", False),
    ],
)
def test_what_is_written_is_apart_from_the_photos(
    minimal: Path, tmp_path: Path, photos: str, root: str, name: str, apart: bool
) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "photos")
    overrides = [
        f"source={{type: folder, path: {tmp_path / photos}}}",
        f"root={tmp_path / root}",
        f"name={name}",
    ]
    if apart:
        assert load_config(minimal, overrides).folder == tmp_path / root / name
    else:
        assert "must be apart; set root or name" in fails(minimal, *overrides)


def test_relative_paths_are_apart_or_not_from_where_we_are(
    minimal: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_config(minimal, ["source={type: folder, path: photos}"]).catalog == "photos"
    assert "must be apart" in fails(minimal, "source={type: folder, path: .}")


def test_the_home_folder_is_understood(minimal: Path) -> None:
    assert load_config(minimal, ["root=~/built"]).folder == Path.home() / "built" / "sample"
    home = ["root=/data", "source={type: folder, path: '~'}"]
    assert load_config(minimal, home).catalog == Path.home().name


@pytest.mark.parametrize("text", ["1e-4", "1E-4", "1.0e-4", "+1e-4", "0.0001"])
def test_a_number_may_be_written_with_an_exponent(minimal: Path, text: str) -> None:
    config = load_config(minimal, [f"engines.small.training.learning_rate={text}"])
    settings = config.engines["small"]
    assert isinstance(settings, AutoencoderSettings)
    assert settings.training.learning_rate == 0.0001


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=4,
)
KEYS = st.sampled_from(
    [
        *Config.model_fields,
        "small",
        "large",
        "type",
        "path",
        "metadata",
        "key",
        "training",
        "epochs",
        "layer",
        "batch_size",
        "keep_builds",
        "nonsense",
    ]
)


@settings(deadline=None, derandomize=True, max_examples=150)
@given(st.lists(KEYS, min_size=1, max_size=4), VALUES)
def test_whatever_is_written_it_loads_or_is_one_line(keys: list[str], value: Any) -> None:
    content = yaml.safe_load(MINIMAL)
    node = content
    for key in keys[:-1]:
        node = node.setdefault(key, {})
        if not isinstance(node, dict):
            return
    node[keys[-1]] = value
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "any.yaml")
        file.write_text(yaml.safe_dump(content))
        try:
            outcome = repr(load_config(file))
        except ConfigError as error:
            outcome = str(error)
        assert outcome.startswith(("Config(", f"{file}: "))
        assert "\n" not in outcome


GUIDED = {
    "type": "autoencoder",
    "input_size": 64,
    "training": {"distillation": {"teacher": "vgg16"}},
}


def test_a_teacher_is_a_pretrained_engine_of_the_same_file(tmp_path: Path) -> None:
    def with_engines(**engines: object) -> Config:
        return Config.model_validate({"source": {"type": "sample"}, "engines": engines})

    vgg16 = {"type": "pretrained"}
    taught = with_engines(ae=GUIDED, vgg16=vgg16).engines["ae"]
    assert isinstance(taught, AutoencoderSettings)
    assert taught.teacher == "vgg16"
    with pytest.raises(ValueError, match=r"engines.ae.*'vgg16' is no pretrained engine; give one"):
        with_engines(ae=GUIDED, vgg=vgg16)
    with pytest.raises(ValueError, match="'vgg16' is no pretrained engine; there is none"):
        with_engines(ae=GUIDED, vgg16={"type": "autoencoder"})


@pytest.mark.parametrize(
    "change", [{"architecture": "descriptor"}, {"training": {"distillation": {}}}]
)
def test_descriptors_need_a_multiple_of_16(change: dict[str, object]) -> None:
    fitting = {"type": "autoencoder", "input_size": 96, **change}
    assert AutoencoderSettings.model_validate(fitting).input_size == 96
    with pytest.raises(ValueError, match="100 is no multiple of 16"):
        AutoencoderSettings.model_validate({**fitting, "input_size": 100})
    AutoencoderSettings.model_validate({"type": "autoencoder", "input_size": 100})


def test_a_guide_is_guided_by_something() -> None:
    none = {"hog": 0, "foreground_mask": 0, "lab_histogram": 0, "pixels": 0}
    for weights in (none, {**none, "teacher": "vgg16", "teacher_weight": 0}):
        with pytest.raises(ValueError, match="all weights are 0"):
            DistillationSettings.model_validate(weights)
    for weights in ({**none, "pixels": 1}, {**none, "teacher": "vgg16"}, {}):
        DistillationSettings.model_validate(weights)
