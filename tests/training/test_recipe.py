"""Recipe files: variants over a base, overrides, run folders."""

from collections import Counter, OrderedDict
from io import StringIO
from pathlib import Path

import pytest
import torch
from hyperpyyaml import load_hyperpyyaml
from ruamel.yaml import YAML

from lafufu_sb.errors import UsageError
from lafufu_sb.lobes.ncsnpp import NCSNpp
from lafufu_sb.training.cost import step_cost
from lafufu_sb.training.recipe import load_recipe, read_recipe
from lafufu_sb.training.stages import Stage

HPARAMS = Path(__file__).parents[2] / "recipes/EARS/enhance/LAFUFU/hparams"

BASE = """
seed: 7
output_folder: !ref results/base/<seed>
width: 4
double: !ref <width> * 2
plain:
    kept: 1
    changed: 2
    deeper: {kept: 3, changed: 4}
list: [1, 2, 3]
thing: !new:collections.OrderedDict
    a: !ref <width>
    b: 2
"""
COPY = "copy: !ref <thing>\n"

VARIANT = """
base: base.yaml
width: 5
added: new
plain:
    changed: 20
    deeper: {changed: 40}
list: [9]
thing:
    b: 3
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "base.yaml").write_text(BASE)
    (tmp_path / "variant.yaml").write_text(VARIANT)
    return tmp_path


def load(path, *arguments, **options):
    return load_recipe(path, *arguments, **options)[0]


def test_a_base_is_read_as_it_is(folder):
    hparams = load(folder / "base.yaml")
    assert hparams["output_folder"] == "results/base/7"
    assert hparams["double"] == 8
    assert hparams["thing"] == {"a": 4, "b": 2}


def test_a_variant_is_merged_over_its_base(folder):
    hparams = load(folder / "variant.yaml")
    assert "base" not in hparams
    assert (hparams["seed"], hparams["width"], hparams["added"]) == (7, 5, "new")
    assert hparams["plain"] == {
        "kept": 1,
        "changed": 20,
        "deeper": {"kept": 3, "changed": 40},
    }
    assert hparams["list"] == [9]


def test_references_of_the_base_see_the_variant(folder):
    (folder / "base.yaml").write_text(BASE + COPY)
    hparams = load(folder / "variant.yaml")
    assert hparams["double"] == 10
    assert type(hparams["thing"]) is OrderedDict
    assert hparams["thing"] == {"a": 5, "b": 3}
    assert hparams["copy"] is hparams["thing"]


def test_a_tagged_mapping_replaces_the_object(folder):
    (folder / "base.yaml").write_text(BASE + COPY)
    (folder / "other.yaml").write_text(
        "base: base.yaml\nthing: !new:collections.Counter\n    b: 1\n"
    )
    hparams = load(folder / "other.yaml")
    assert type(hparams["thing"]) is Counter
    assert hparams["thing"] == {"b": 1}
    assert hparams["copy"] is hparams["thing"]


def test_a_reference_or_null_replaces_the_object(folder):
    (folder / "other.yaml").write_text(
        "base: base.yaml\nthing: null\nplain: !ref <list>\n"
    )
    hparams = load(folder / "other.yaml")
    assert hparams["thing"] is None
    assert hparams["plain"] == [1, 2, 3]


def test_a_variant_can_have_a_variant(folder):
    (folder / "third.yaml").write_text("base: variant.yaml\nwidth: 6\nthing: {b: 8}\n")
    hparams = load(folder / "third.yaml")
    assert hparams["thing"] == {"a": 6, "b": 8}
    assert hparams["added"] == "new"


def test_a_link_finds_the_base_beside_the_real_file(folder, tmp_path_factory):
    link = tmp_path_factory.mktemp("index") / "variant.yaml"
    link.symlink_to(folder / "variant.yaml")
    assert load(link)["width"] == 5


def test_reading_does_not_resolve(folder):
    recipe = read_recipe(folder / "variant.yaml")
    assert recipe["width"] == 5
    assert recipe["double"].value == "<width> * 2"


def test_overrides_reach_what_refers_to_them(folder):
    hparams = load(folder / "variant.yaml", "width: 10\nseed: 8\n")
    assert hparams["width"] == 10
    assert hparams["double"] == 20
    assert hparams["thing"] == {"a": 10, "b": 3}
    assert hparams["output_folder"] == "results/base/8"


def test_overrides_reach_inside_objects(folder):
    hparams = load(folder / "variant.yaml", "thing: {b: 30}\nplain: {kept: 100}\n")
    assert hparams["thing"] == {"a": 5, "b": 30}
    assert hparams["plain"]["kept"] == 100
    assert hparams["plain"]["changed"] == 20


def test_overrides_can_replace_null_with_a_mapping(folder):
    (folder / "base.yaml").write_text(BASE + "options: null\n")
    hparams = load(folder / "variant.yaml", "options: {steps: 9}\n")
    assert hparams["options"] == {"steps": 9}


def test_unknown_override_is_refused(folder):
    with pytest.raises(UsageError, match="variant.yaml has no key widht, zzz"):
        load(folder / "variant.yaml", "zzz: 1\nwidht: 10\nseed: 3\n")


@pytest.mark.parametrize("overrides", ["", "seed: 9\n", "output_folder: elsewhere\n"])
def test_debug_runs_have_a_folder_of_their_own(folder, overrides):
    usual = load(folder / "variant.yaml", overrides)["output_folder"]
    hparams, text = load_recipe(folder / "variant.yaml", overrides, debug=True)
    assert hparams["output_folder"] == f"{usual}/debug"
    assert load_hyperpyyaml(text)["output_folder"] == f"{usual}/debug"


def test_debug_runs_of_recipes_that_refer_to_objects(folder):
    (folder / "base.yaml").write_text(BASE + COPY)
    hparams = load(folder / "variant.yaml", debug=True)
    assert hparams["output_folder"] == "results/base/7/debug"
    assert hparams["copy"] is hparams["thing"]


def test_the_text_gives_the_same_values_again(folder):
    hparams, text = load_recipe(folder / "variant.yaml", "width: 10\n")
    again = load_hyperpyyaml(text)
    assert again == hparams
    assert again["double"] == 20
    assert "base:" not in text


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        ("score_model: {wings: 2}", "NCSNpp.*unexpected keyword argument 'wings'"),
        ("latent_channels: eight", "latent_channels must be a whole number"),
        ("process: !new:nosuch.Thing", "no such class as nosuch.Thing"),
        ("score_lr: !ref <nothing>", 'reference "nothing" is not valid'),
    ],
)
def test_a_value_that_builds_nothing_is_named(overrides, reason):
    path = HPARAMS / "lafufu_mini_wham.yaml"
    with pytest.raises(UsageError, match=rf"lafufu_mini_wham\.yaml: .*{reason}"):
        load_recipe(path, overrides)


def test_a_missing_recipe_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="absent.yaml does not exist"):
        read_recipe(tmp_path / "absent.yaml")


def test_a_missing_base_is_named(folder):
    (folder / "orphan.yaml").write_text("base: gone.yaml\nwidth: 1\n")
    with pytest.raises(FileNotFoundError, match="gone.yaml does not exist"):
        load_recipe(folder / "orphan.yaml")


def small(name, folder):
    """Overrides that narrow a recipe's networks; SGMSE+ has only one."""
    overrides = {"score_model": {"base_channels": 8}, "output_folder": str(folder)}
    narrow = {} if name.startswith("sgmse") else {"representation": {"channels": 2}}
    return overrides | narrow


@pytest.mark.parametrize("name", sorted(p.name for p in HPARAMS.glob("*.yaml")))
def test_recipes_of_the_package_load(name, tmp_path):
    """With narrow networks: the test is about the wiring."""
    hparams = load(HPARAMS / name, small(name, tmp_path))
    restorer = hparams["restorer"]
    for part in ("representation", "score_model", "process", "objective"):
        assert getattr(restorer, part) is hparams[part]
    # Few-step weights are fitted to one sampler: no other is offered.
    presets = {"fast"} if "crp" in name else {"fast", "balanced", "paper"}
    if "regression" in name:  # has no other numbers of calls
        presets.remove("paper")
    assert presets == set(restorer.presets)
    assert hparams["representation"].latent_channels == hparams["latent_channels"]
    assert hparams["task"] == ("EARS-Reverb" if "reverb" in name else "EARS-WHAM")
    stage = Stage("autoencoder", hparams)
    assert stage.modules == {"representation": hparams["representation"]}
    names = {"score_model"}
    if hparams["train_decoder"]:
        names.add("decoder")
    for stage in (Stage(stage, hparams) for stage in ("score", "few_step")):
        assert stage.modules.keys() == stage.checkpointer.recoverables.keys() == names
        followed = dict(stage.ema.named_buffers())
        parameters = [p for m in stage.modules.values() for p in m.parameters()]
        learnt = sum(p.requires_grad for p in parameters)
        assert len(followed) == 1 + learnt  # and the count of updates


@pytest.mark.parametrize("name", sorted(p.name for p in HPARAMS.glob("*.yaml")))
def test_recipes_of_the_package_have_folders_of_their_own(name):
    folder = str(read_recipe(HPARAMS / name)["output_folder"].value)
    assert folder == f"results/{name.removesuffix('.yaml')}/<seed>"


@pytest.mark.parametrize("name", ["lafufu_wham.yaml", "sgmse_wham.yaml"])
def test_paper_preset_of_ouve_is_the_published_sampler(name, tmp_path):
    hparams = load(HPARAMS / name, small(name, tmp_path))
    restorer = hparams["restorer"]
    assert restorer.preset == "paper" and restorer.sampler.calls == 60
    options = {"num_steps": 30, "corrector": "ald", "snr": 0.5}
    assert restorer.settings.sampler == "predictor_corrector"
    assert restorer.settings.sampler_options() == options


PUBLISHED_NETWORKS = {  # millions of parameters of the score network
    "lafufu_wham": 64.75,
    "lafufu_192_reverb": 145.6,
    "lafufu_256_wham": 258.8,
    "sgmse_reverb": 64.74,
    "sgmse_96_wham": 36.44,
    "sgmse_64_reverb": 16.21,
}


@pytest.mark.parametrize("name", PUBLISHED_NETWORKS)
def test_score_networks_have_the_published_sizes(name):
    recipe = read_recipe(HPARAMS / f"{name}.yaml")
    settings = recipe["score_model"] | {"data_channels": recipe["latent_channels"]}
    with torch.device("meta"):
        model = NCSNpp(**settings)
    parameters = sum(p.numel() for p in model.parameters()) / 1e6
    assert parameters == pytest.approx(PUBLISHED_NETWORKS[name], rel=1e-3)


def test_sgmse_diffuses_the_spectrogram_as_it_is():
    recipe = read_recipe(HPARAMS / "sgmse_wham.yaml")
    assert recipe["latent_std"] is None
    assert "SpectrogramRepresentation" in recipe["representation"].tag.value
    assert recipe["latent_channels"] == 2 and recipe["score_model"]["output_layer"]


def test_ablations_differ_in_one_setting():
    for base, family in (("lafufu_reverb", "reverb"), ("lafufu_mini_wham", "wham")):
        start = base.removesuffix(f"_{family}")
        full = read_recipe(HPARAMS / f"{base}.yaml")
        bare = read_recipe(HPARAMS / f"{start}_noskip_{family}.yaml")
        assert differing(full, bare) == {"output_folder", "representation"}
        assert bare["representation"]["skip_connections"] is False
        free = read_recipe(HPARAMS / f"{start}_noreg_{family}.yaml")
        assert differing(full, free) == {"output_folder", "ae_loss"}
        assert free["ae_loss"]["reg_weight"] == 0
        assert full["ae_loss"]["reg_weight"] > 0


def differing(one, other):
    """Top-level keys whose text differs."""
    assert one.keys() == other.keys()

    def dump(value):
        stream = StringIO()
        YAML().dump({"value": value}, stream)
        return stream.getvalue()

    return {key for key in one if dump(one[key]) != dump(other[key])}


def test_mini_sgmse_costs_a_call_what_mini_lafufu_does(tmp_path):
    """And has the same process, objective and training."""
    names = ("lafufu_mini_wham", "sgmse_mini_wham")
    costs = []
    for name in names:
        changes = {"score_decoded_loss": None, "output_folder": str(tmp_path)}
        hparams = load(HPARAMS / f"{name}.yaml", changes)
        representation = hparams["representation"]
        wavs = torch.zeros(1, representation.samples(256))
        with torch.no_grad():
            latent = representation.encode(representation.features(wavs)).latent
        shapes = (latent.shape, latent.shape, (1,))
        costs.append(step_cost(hparams["score_model"], *shapes)[0])
    assert costs[1] == pytest.approx(costs[0], rel=0.03)
    recipes = [read_recipe(HPARAMS / f"{name}.yaml") for name in names]
    networks = {"latent_channels", "representation", "score_model", "train_decoder"}
    assert differing(*recipes) == networks | {"output_folder"}


TUNED = """
init_from: null
init_parts: null
fine_tuning:
    net: {width: 40}
    other: {seed: 70}
"""


@pytest.fixture
def tuned(folder):
    """A recipe that says what fine-tuning changes."""
    (folder / "base.yaml").write_text(BASE + TUNED)
    return folder / "base.yaml"


def seed_and_width(*arguments):
    hparams = load(*arguments)
    return hparams["seed"], hparams["width"]


def test_a_model_to_start_from_puts_the_values_of_fine_tuning_in_place(tuned):
    assert seed_and_width(tuned) == (7, 4)
    assert seed_and_width(tuned, {"init_from": "model"}) == (70, 40)
    assert load(tuned, {"init_from": "model"})["double"] == 80


def test_options_win_over_the_values_of_fine_tuning(tuned):
    assert seed_and_width(tuned, {"init_from": "model", "width": 5}) == (70, 5)
    own = {"init_from": "model", "fine_tuning": {"net": {"width": 6}}}
    assert seed_and_width(tuned, own) == (70, 6)


def test_only_the_values_of_the_parts_that_are_taken_change(tuned):
    assert seed_and_width(tuned, {"init_from": "m", "init_parts": ["net"]}) == (7, 40)


def test_a_variant_that_names_a_model_wins_too(tuned):
    variant = tuned.with_name("variant.yaml")
    variant.write_text("base: base.yaml\ninit_from: model\nwidth: 5\n")
    assert seed_and_width(variant) == (70, 5)
    assert seed_and_width(variant, {"init_from": "another"}) == (70, 5)


def test_the_kept_recipe_gives_the_same_values_again(tuned):
    _, text = load_recipe(tuned, {"init_from": "model", "width": 5})
    kept = tuned.with_name("recipe.yaml")
    kept.write_text(text)
    assert seed_and_width(kept) == (70, 5)
