"""config.py: what the files say is what there is, and nothing wrong gets past it."""

from __future__ import annotations

import tempfile
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
    MilvusSettings,
    PretrainedSettings,
    Settings,
    TableSettings,
    find_config,
    load_config,
    split_overrides,
)
from pipeline.config.base import union_members
from pipeline.config.dump import to_scalar, to_yaml
from pipeline.config.parse import parse_yaml
from pipeline.config.starter import starter_config
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


ARTICLE = {
    "name": "flipkart",
    "root": "indexes",
    "source": {
        "type": "flipkart",
        "path": "data/flipkart_com-ecommerce_sample.csv",
        "images": "first",
        "delimiter": None,
        "encoding": None,
        "escape": None,
        "columns": {
            "key": "uniq_id",
            "image": "image",
            "name": "product_name",
            "category": "product_category_tree",
            "category_separator": ">>",
            "structured": ["product_specifications"],
        },
    },
    "images": {"max_bytes": 20_000_000, "max_pixels": 50_000_000, "min_side": 1},
    "download": {
        "resize": 250,
        "quality": 75,
        "concurrency": 64,
        "per_host": 8,
        "requests_per_second": None,
        "attempts": 4,
        "backoff": 0.5,
        "connect_timeout": 10,
        "read_timeout": 20,
        "total_timeout": 120,
        "redirects": 5,
        "give_up_after": 100,
        "robots": "obey",
        "user_agent": "imgsearch/0.1 (downloads the photos of a product list)",
        "allow_addresses": [],
    },
    "engines": {
        "autoencoder": {
            "type": "autoencoder",
            "architecture": "article",
            "stem_layer": None,
            "input_size": 256,
            "latent_dim": 16,
            "standardize": False,
            "resize": "nearest",
            "normalize": False,
            "training": {
                "batch_size": 16,
                "epochs": 100,
                "learning_rate": 0.001,
                "schedule": "constant",
                "weight_decay": 0,
                "augment": {
                    "flip": False,
                    "shift": 0,
                    "zoom": 0,
                    "noise": 0,
                    "descriptor_noise": 0,
                    "clean_target": False,
                },
                "distillation": None,
                "patience": None,
                "validation_split": 0.2,
                "split": "first",
                "seed": 7,
                "mixed_precision": False,
                "retrain_share": 0.5,
            },
        },
        "vgg16": {
            "type": "pretrained",
            "network": "VGG16",
            "weights": "imagenet",
            "sha256": None,
            "when_unavailable": "fail",
            "include_top": True,
            "layer": "fc1",
            "pooling": "none",
            "input_size": 224,
            "resize": "bicubic",
            "normalize": True,
            "seed": 7,
        },
    },
    "embedding": {"batch_size": 32, "shard_size": 1024, "decoders": 2},
    "runner": {"type": "local"},
    "index": {
        "type": "flat",
        "milvus": MilvusSettings().model_dump(mode="json"),
        "recall": None,
        "keep_publications": 2,
    },
    "search": {
        "fusion": "reciprocal_rank",
        "refine": "off",
        "label": "category",
        "no_match_percentile": 99,
        "out_of_distribution": False,
        "collapse": False,
    },
    "duplicates": False,
    "watch": {
        "every": 15,
        "quiet": 3,
        "at_most": 60,
        "use_events": True,
        "retry_downloads": 86_400,
    },
    "serve": {
        "token_hashes": [],
        "queue": 32,
        "max_k": 1000,
        "requests_per_second": 10,
        "burst": 60,
        "body_timeout": 30,
        "grace": 20,
        "fetch_urls": True,
        "allow_addresses": [],
        "trusted_proxies": [],
        "cors_origins": [],
        "keep_uploads": 0,
        "show_paths": True,
        "access_log": "lines",
    },
    "query_set": {"delimiter": None, "encoding": None, "escape": None},
}


def test_every_setting_of_the_flipkart_file_is_the_articles() -> None:
    assert load_config(REPOSITORY / "config/flipkart.yaml").model_dump(mode="json") == ARTICLE


def test_no_file_the_sample_file_and_a_source_alone_have_the_same_defaults(
    minimal: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    minimal.write_text("source: {type: sample}")
    default = load_config(REPOSITORY / "config/default.yaml")
    assert load_config(minimal) == default
    monkeypatch.chdir(tmp_path)
    assert load_config() == Config() == default
    trained, pretrained = default.engines.values()
    assert isinstance(trained, AutoencoderSettings)
    assert isinstance(pretrained, PretrainedSettings)
    assert list(default.engines) == ["autoencoder", "vgg16"]
    assert (trained.architecture, trained.input_size, trained.resize) == ("strided", 64, "bilinear")
    training = trained.training
    assert (training.batch_size, training.epochs, training.learning_rate) == (8, 150, 0.002)
    assert (training.schedule, training.patience, training.split) == ("cosine", 30, "hash")
    assert training.augment.model_dump() == {
        **{"flip": True, "shift": 0.05, "zoom": 0.1, "noise": 0.1},
        **{"descriptor_noise": 0, "clean_target": False},
    }
    assert pretrained.when_unavailable == "random"
    assert default.images.min_side == 16


def test_an_autoencoder_of_which_nothing_is_said_is_the_strided_one(minimal: Path) -> None:
    assert load_config(minimal).engines["small"] == Config().engines["autoencoder"]
    minimal.write_text("engines: {a: {type: autoencoder, training: {augment: {noise: 0}}}}")
    settings = load_config(minimal).engines["a"]
    assert isinstance(settings, AutoencoderSettings)
    assert settings.training.augment.shift == 0.05
    assert settings.training.epochs == 150


def test_the_catalog_file_is_what_init_writes() -> None:
    file = REPOSITORY / "config/catalog.yaml"
    assert file.read_text() == starter_config({"type": "folder", "path": "photos"})
    trained = load_config(file).engines["autoencoder"]
    assert isinstance(trained, AutoencoderSettings)
    assert (trained.architecture, trained.teacher) == ("stem", "vgg16")


def test_settings_are_looked_for_in_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_config() is None
    with pytest.raises(ConfigError, match="the built-in settings: indeks: unknown key"):
        load_config(overrides=["indeks=1"])
    (tmp_path / "config").mkdir()
    (tmp_path / "config/default.yaml").write_text("name: shipped")
    assert load_config().name == "shipped"
    (tmp_path / "imgsearch.yaml").write_text("name: mine")
    assert load_config().name == "mine"
    with pytest.raises(ConfigError, match=r"imgsearch\.yaml: indeks: unknown key"):
        load_config(overrides=["indeks=1"])


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
        ("index.keep_publications=0", "index.keep_publications: "),
        ("index.recall=0", "index.recall: "),
        ("index.recall=1", "index.recall: "),
        ("index.recall=0.9", "set index.type to pruned"),
        ("name=no", "name: it is False: YAML reads yes, no, on and off as true or false; to"),
        ("name=[5]", "name: "),
        ("root=on", "root: it is True: YAML reads"),
        (
            'source={type: folder, path: "a\\0b"}',
            "source.path: 'a\\x00b': a path cannot hold a NUL",
        ),
        (
            "source={type: table, path: a, columns: {key: no, image: b}}",
            "source.columns.key: it is F",
        ),
        ("source.photos=010", "source.photos: Input should be a valid integer (it is '010')"),
        ("source.photos=1:30", "source.photos: Input should be a valid integer (it is '1:30')"),
        (
            "source.type=magic",
            "source: 'magic' is no type; set source.type to one of sample, folder",
        ),
        (
            "engines.new.layer=fc2",
            "engines.new: it has no type; set engines.new.type to one of auto",
        ),
        ("engines.random={type: pretrained}", "engines: 'random' is what evaluations call"),
        ("engines.fused={type: pretrained}", "engines: 'fused' is what evaluations call"),
        ("engines.pca-16={type: pretrained}", "engines: 'pca-16' is what evaluations call"),
        (
            "source={type: folder, path: ~nobody-of-this-name/x}",
            "~nobody-of-this-name/x: Could not",
        ),
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
        ("download.allow_addresses=[5]", "download.allow_addresses: [5]: give a list of networks"),
        ("download.allow_addresses=[10.0.0.5/8]", "'10.0.0.5/8': give 10.0.0.0/8 for that network"),
        ("download.allow_addresses=['fd00::1/8']", "'fd00::1/8': give fd00::/8 for that network"),
        ("download.requests_per_second=1e-320", "greater than or equal to 0.001"),
        ("download.resize=0250", "'0250': give the pixels of a side (250)"),
        ("download.resize=fit 0512", "'fit 0512': give the pixels of a side (250)"),
        ("download.allow_addresses=[home]", "download.allow_addresses: 'home': give a network"),
        ("download.allow_addresses=home", "download.allow_addresses: 'home': give a network"),
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


def test_a_side_in_quotes_is_the_same_side(minimal: Path) -> None:
    assert load_config(minimal, ["download.resize='250'"]).download.resize == 250


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
        "keep_publications",
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


ON_STEM = {
    **{"type": "autoencoder", "architecture": "stem", "stem_layer": "block4_pool"},
    "training": {
        "distillation": {"teacher": "vgg16"},
        "augment": {"shift": 0, "zoom": 0, "noise": 0, "clean_target": True},
    },
}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"stem_layer": None}, "give it training.distillation.teacher and stem_layer"),
        ({"training": {}}, "give it training.distillation.teacher and stem_layer"),
        ({"training": {"distillation": {"teacher": "vgg16"}}}, "set shift, zoom and noise to 0"),
        ({"architecture": "strided"}, "the architecture strided has no stem"),
    ],
)
def test_a_stem_needs_a_teacher_and_a_layer(change: dict[str, object], message: str) -> None:
    assert AutoencoderSettings.model_validate(ON_STEM).stem_layer == "block4_pool"
    with pytest.raises(ValueError, match=message):
        AutoencoderSettings.model_validate(ON_STEM | change)


def test_a_stem_is_cut_from_a_pretrained_network() -> None:
    other = {"type": "onnx", "file": "encoder.onnx"}
    with pytest.raises(ValueError, match="only from an engine of type pretrained"):
        Config.model_validate({"engines": {"ae": ON_STEM, "vgg16": other}})


@pytest.mark.parametrize(
    "change", [{"architecture": "descriptor"}, {"training": {"distillation": {}}}]
)
def test_descriptors_need_a_multiple_of_16(change: dict[str, object]) -> None:
    fitting = {"type": "autoencoder", "input_size": 96, **change}
    assert AutoencoderSettings.model_validate(fitting).input_size == 96
    with pytest.raises(ValueError, match="100 is no multiple of 16"):
        AutoencoderSettings.model_validate({**fitting, "input_size": 100})
    AutoencoderSettings.model_validate({"type": "autoencoder", "input_size": 100})


# -- Kinds, and parts of what a file leaves out ----------------------------------------------------


def test_a_part_of_what_the_file_leaves_out_can_be_changed(minimal: Path) -> None:
    minimal.write_text("name: x")
    config = load_config(minimal, ["source.photos=9", "engines.vgg16.weights=random"])
    assert config.source == Config().source.model_copy(update={"photos": 9})
    assert list(config.engines) == ["autoencoder", "vgg16"]
    assert config.engines["autoencoder"] == Config().engines["autoencoder"]
    taught = "engines.autoencoder.training.distillation.teacher=vgg16"
    minimal.write_text(
        "engines: {autoencoder: {type: autoencoder, training: {distillation: }},"
        " vgg16: {type: pretrained}}"
    )
    trained = load_config(minimal, [taught]).engines["autoencoder"]
    assert isinstance(trained, AutoencoderSettings)
    assert trained.teacher == "vgg16"


@pytest.mark.parametrize("turned", [False, True])
def test_another_kind_of_source_or_engine_drops_what_only_the_old_one_has(
    minimal: Path, turned: bool
) -> None:
    minimal.write_text(
        "source: {type: sample, photos: 3, seed: 5}\n"
        "engines:\n  net: {type: autoencoder, latent_dim: 4, input_size: 96, training: {epochs: 3}}"
    )
    overrides = ["source.type=folder", "source.path=/x", "engines.net.type=pretrained"]
    config = load_config(minimal, overrides[:: -1 if turned else 1])
    assert config.source == FolderSettings(path=Path("/x"))
    assert config.engines["net"] == PretrainedSettings(input_size=96)
    for wrong in ("source.photos=4", "engines.net.latent_dim=3"):
        assert "unknown key" in fails(minimal, *overrides, wrong)
    minimal.write_text("source: {type: sample, fotos: 3}")
    assert "source.fotos: unknown key" in fails(minimal, *overrides[:2])


def test_an_override_changes_one_of_the_engines_that_share_settings(minimal: Path) -> None:
    minimal.write_text(
        "engines:\n  a: &a {type: autoencoder, training: {epochs: 3}}\n"
        "  b: *a\n  c: {<<: *a, latent_dim: 4}\n"
    )
    config = load_config(minimal, ["engines.a.training.epochs=5"])
    epochs = [
        e.training.epochs for e in config.engines.values() if isinstance(e, AutoencoderSettings)
    ]
    assert epochs == [5, 3, 3]


@pytest.mark.parametrize(
    ("text", "settings"),
    [
        ("", []),
        ("a=1", ["a=1"]),
        ("name=a index.type=flat", ["name=a", "index.type=flat"]),
        ("name=a\n  index.type=flat\n", ["name=a", "index.type=flat\n"]),
        ("source={type: folder, path: /p}", ["source={type: folder, path: /p}"]),
        (
            "source={type: folder, path: /my photos, metadata: {file: a, key: name=x}} name=b",
            ["source={type: folder, path: /my photos, metadata: {file: a, key: name=x}}", "name=b"],
        ),
        ("source.path=/my photos/a b root=/x", ["source.path=/my photos/a b", "root=/x"]),
        ("source.path=/a=b c=d", ["source.path=/a=b c=d"]),
        ("source.path='/my root=x'", ["source.path='/my root=x'"]),
        ('source.path="/a \\" root=x" name=b', ['source.path="/a \\" root=x"', "name=b"]),
        ("source.path=/Tom's name=b", ["source.path=/Tom's", "name=b"]),
    ],
)
def test_several_settings_in_one_text(text: str, settings: list[str]) -> None:
    assert split_overrides(text) == settings


# -- Texts that YAML takes for something else ------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    ["2024", "007", "2024.10", "1_000", "0x1F", "1e3", "2024-01-31", "12.5", "1.10", "010"],
)
def test_a_number_or_a_date_is_a_text_where_a_text_is_wanted(minimal: Path, text: str) -> None:
    table = f"source={{type: table, path: {text}, columns: {{key: {text}, image: b}}}}"
    minimal.write_text(f"name: {text}\nengines: {{{text}: {{type: pretrained, layer: {text}}}}}")
    config = load_config(minimal, [f"root={text}", table])
    assert (config.name, config.root) == (text, Path(text))
    assert isinstance(config.source, TableSettings)
    assert (config.source.path, config.source.columns.key) == (Path(text), text)
    assert config.engines == {text: PretrainedSettings(layer=text)}


def test_keys_are_texts(minimal: Path) -> None:
    minimal.write_text("engines: {no: {type: pretrained}, null: {type: autoencoder}}")
    assert list(load_config(minimal).engines) == ["no", "null"]


def test_numbers_become_numbers(minimal: Path) -> None:
    config = load_config(minimal, ["images.max_bytes=20_000_000", "download.backoff=.5"])
    assert (config.images.max_bytes, config.download.backoff) == (20_000_000, 0.5)
    assert (type(config.images.max_bytes), type(config.download.backoff)) == (int, float)
    assert type(load_config(minimal, ["download.resize=300"]).download.resize) is int


@pytest.mark.parametrize(
    "value",
    [
        "[" * 1000 + "]" * 1000,
        "{a: " * 2000 + "}" * 2000,
        "!!int x",
        "!!int ''",
        "!!float x",
        "!!bool x",
        "!!timestamp x",
        "9" * 5000,
        "9" * 400,
        "{? [a] : 1}",
        "{? {a: b} : 1}",
        "&a [*a]",
        "&a {b: *a}",
        "!!set {a, b}",
        "!!binary x",
        "!!omap [1]",
        "!!python/name:os.system",
    ],
)
@pytest.mark.parametrize("key", ["name", "embedding.batch_size", "images", "download.backoff"])
def test_yaml_of_any_kind_loads_or_is_one_line(minimal: Path, key: str, value: str) -> None:
    *parents, last = key.split(".")
    text = "".join(f"{p}: {{" for p in parents) + f"{last}: {value}" + "}" * len(parents)
    file = minimal.with_name("any.yaml")
    file.write_text(text)
    for path, overrides in ((minimal, [f"{key}={value}"]), (file, [])):
        try:
            load_config(path, overrides)
            said = ""
        except ConfigError as error:
            said = str(error)
        if value != "9" * 400:  # which is a long name, or a large number
            assert said.startswith((f"{path}: ", f"--set {key}="))
        assert "\n" not in said


# -- Every setting, written out --------------------------------------------------------------------


@pytest.mark.parametrize(
    "overrides",
    [
        [],
        ["source={type: folder, path: ~/p, metadata: {file: a.csv, key: 'no', name: '1e5'}}"],
        [
            "source={type: table, path: 'a: b #',"
            " columns: {key: '', image: i, structured: [a, 'b,c']}}"
        ],
        ["engines={'2024': {type: pretrained, layer: null}}", "name='007'"],
        [
            "engines.large.weights='a\\n\\u202e\\x7f \\\\ \"é'",
            "engines.small.training.distillation={teacher: large}",
            "engines.small.training.learning_rate=1e-9",
            "download.allow_addresses=[10.0.0.0/8, '::1']",
            "download.resize=fit 512",
        ],
        ["download.resize='none'", "download.requests_per_second=0.5", "root=' a '"],
    ],
)
def test_what_is_written_out_loads_to_the_same_settings(
    minimal: Path, overrides: list[str]
) -> None:
    config = load_config(minimal, overrides)
    text = to_yaml(config)
    minimal.write_text(text)
    assert load_config(minimal) == config
    assert max(map(len, text.splitlines())) <= 120


SECTIONS = Settings.__subclasses__()


def test_what_is_written_out_holds_every_setting_with_a_comment() -> None:
    text = to_yaml(Config())
    written = parse_yaml(text)
    assert Config.model_validate(written).model_dump(mode="json") == Config().model_dump(
        mode="json"
    )

    def check(written: dict[str, Any], model: BaseModel, where: str) -> None:
        assert list(written) == list(type(model).model_fields), where
        for name, field in type(model).model_fields.items():
            inner = getattr(model, name)
            sections = [m.__doc__ for m in union_members(field.annotation) if m in SECTIONS]
            described = type(model).meaning(name) or any(sections) or name == "type"
            assert described, f"{where}{name}"
            if isinstance(inner, BaseModel):
                check(written[name], inner, f"{where}{name}.")
            elif isinstance(inner, dict):
                for key, one in inner.items():
                    check(written[name][key], one, f"{where}{name}.{key}.")

    check(written, Config(), "")
    for kind in ("folder", "table", "flipkart"):  # the other kinds, in comments
        assert f"  # type: {kind}\n" in text


@settings(deadline=None, derandomize=True, max_examples=300)
@given(st.text(max_size=12))
def test_every_text_survives_being_written(text: str) -> None:
    value = parse_yaml(to_scalar(text))
    assert (value, type(value)) == (text, str)
    assert parse_yaml(f"a: [{to_scalar(text)}, {to_scalar(text)}] # c") == {"a": [text, text]}


def test_a_guide_is_guided_by_something() -> None:
    none = {"hog": 0, "foreground_mask": 0, "lab_histogram": 0, "pixels": 0}
    for weights in (none, {**none, "teacher": "vgg16", "teacher_weight": 0}):
        with pytest.raises(ValueError, match="all weights are 0"):
            DistillationSettings.model_validate(weights)
    for weights in ({**none, "pixels": 1}, {**none, "teacher": "vgg16"}, {}):
        DistillationSettings.model_validate(weights)
