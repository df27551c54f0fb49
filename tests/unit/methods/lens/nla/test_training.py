"""Warm start and GRPO on the embedded models: exact resume over both phases, stored lenses, released form."""

import pytest
import torch

from interp_plugins.methods.lens.config import ExportConfig, ImportConfig, LensTrainConfig
from interp_plugins.methods.lens.contract import Explains, Explanation, Lens, ReadsText, Reconstructs, Trains
from interp_plugins.methods.lens.dumped import Dump, Rows
from interp_plugins.methods.lens.exchange import run_export, run_import
from interp_plugins.methods.lens.foreign.config import NlaExport, NlaImport
from interp_plugins.methods.lens.nla.building import prompting_tokenizer
from interp_plugins.methods.lens.nla.config import NlaConfig
from interp_plugins.methods.lens.nla.reconstructor import Reconstructor
from interp_plugins.methods.lens.nla.training import labels_of
from interp_plugins.methods.lens.nla.verbaliser import Verbaliser
from interp_plugins.methods.lens.stored import load_lens
from interp_plugins.methods.lens.train import run
from interp_plugins.models.resolve import load_model
from interp_registry.discovery import discover
from interp_registry.errors import ConfigError, DataError, UsageError
from interp_registry.testing import FakeContext
from interp_registry.training.config import TrainingConfig


def config(**changes):
    """A training of a few seconds: three steps of warm start, three of GRPO."""
    method = {
        "layer": 1, "sft_steps": 3, "batch_size": 4, "prompts": 2, "group": 3, "max_tokens": 5, "label_tokens": 4,
        "eval_rows": 4,
    }  # fmt: skip
    return LensTrainConfig(
        method=NlaConfig(**method | changes),
        model="lm-d32",
        dataset="shapes:split=train,limit=60",
        layers="1,2",
        positions="random:2,min:4",
        training=TrainingConfig(steps=6, log_every=1, checkpoint_every=None, clip_norm=1.0),
    )


def trace(ctx):
    return {(event.step, event.name): event.value for event in ctx.events.events if getattr(event, "step", None)}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """An uninterrupted training."""
    discover()
    ctx = FakeContext(tmp_path_factory.mktemp("nla"))
    return ctx, run(config(), ctx)


def test_labels_are_the_text_up_to_the_activations_own_token():
    ids = torch.tensor([[1, 7, 8, 9, 2, 0], [1, 7, 8, 9, 10, 2]])
    rows = Rows(torch.zeros(2, 3), ids, torch.tensor([5, 6]), torch.tensor([0, 4]), torch.tensor([0, 1]))
    assert labels_of(rows, 3, frozenset({0, 1, 2})) == [[], [8, 9, 10]]


def test_both_phases_report_what_they_are_judged_by(trained):
    ctx, result = trained
    seen = trace(ctx)
    assert {name for step, name in seen if step == 3} >= {"train/cross_entropy", "train/error"}
    assert {name for step, name in seen if step == 4} >= {"train/reward", "train/divergence", "train/parsed"}
    assert abs(seen[4, "train/divergence"]) < 1e-6, "the first draws are the reference's own"
    assert seen[3, "lr/verbaliser"] == 1e-3
    assert seen[4, "lr/verbaliser"] == pytest.approx(1e-4)
    assert seen[4, "lr/reconstructor"] == pytest.approx(5e-4)
    scalars = result.scalars
    assert scalars["reward_gain_low"] <= scalars["reward_gain"] <= scalars["reward_gain_high"]
    assert -4 <= scalars["reward_shuffled"] <= 0


@pytest.mark.parametrize("stop", [2, 3, 5])
def test_a_training_goes_on_in_either_phase_to_the_same_losses(trained, tmp_path, stop):
    whole, _ = trained
    ctx = FakeContext(tmp_path)
    ctx.activations = whole.activations
    cut = config()
    cut.training.steps = stop
    run(cut, ctx)
    run(config(), ctx)
    expected = trace(whole)
    again = {key: value for key, value in trace(ctx).items() if not key[1].startswith("eval/") or key[0] == 6}
    assert again == expected


def test_a_stored_lens_says_the_same_and_has_all_abilities(trained):
    ctx, result = trained
    model = load_model("lm-d32")
    lens = load_lens(ctx.run.path, model).lens
    for ability in (Lens, Explains, Reconstructs, ReadsText, Trains):
        assert isinstance(lens, ability)
    rows = Dump.open(ctx.activations, result.scalars["dump"]).rows(torch.arange(3), 1)
    explained = [one for one, *_ in lens.explain(rows.activations, 1)]
    again = load_lens(ctx.run.path, model).lens
    assert [one for one, *_ in again.explain(rows.activations, 1)] == explained
    back = lens.reconstruct(rows.activations, 1)
    assert torch.equal(back, lens.read_text(explained, 1))
    ids = torch.full((3, 5), model.tokenizer.eos_token_id)
    for row, one in enumerate(explained):
        ids[row, : len(one.token_ids)] = torch.tensor(one.token_ids)
    assert torch.allclose(back, lens.read_tokens(ids, 1), atol=1e-5)
    assert back.norm(dim=1) == pytest.approx([lens.length] * 3, rel=1e-4)
    with pytest.raises(UsageError, match="is for layer 1, not for layer 2"):
        lens.explain(rows.activations, 2)


def test_an_exported_lens_is_read_back_as_released_checkpoints_are(trained, tmp_path):
    ctx, result = trained
    run_export(ExportConfig(format=NlaExport(), lens=str(ctx.run.path), to=tmp_path), FakeContext(tmp_path / "export"))
    lens = load_lens(ctx.run.path, load_model("lm-d32")).lens
    verbaliser, reconstructor = Verbaliser.load(tmp_path / "av"), Reconstructor.load(tmp_path / "ar")
    rows = Dump.open(ctx.activations, result.scalars["dump"]).rows(torch.arange(4), 1)
    explained = verbaliser.explain(rows.activations, 5)
    assert explained == lens.explain(rows.activations, 1)
    read = reconstructor.read([one.text for one, *_ in explained])
    scaled = torch.nn.functional.normalize(read) * lens.length
    assert torch.allclose(scaled, lens.reconstruct(rows.activations, 1), rtol=1e-5)
    discover()
    brought = FakeContext(tmp_path / "import")
    brought.activations = ctx.activations
    choice = NlaImport(dump=result.scalars["dump"], max_tokens=5)
    run_import(ImportConfig(format=choice, path=tmp_path / "av", model="lm-d32"), brought)
    released = load_lens(brought.run.path, load_model("lm-d32")).lens
    assert released.layers == (1,)
    assert released.explain(rows.activations, 1) == explained
    assert dict(released.weights()) == {}, "released weights stay in their folders"


def test_an_export_replaces_an_earlier_one_and_never_files_of_others(trained, tmp_path):
    ctx, _ = trained
    export = ExportConfig(format=NlaExport(), lens=str(ctx.run.path), to=tmp_path / "release")
    for number in range(2):
        run_export(export, FakeContext(tmp_path / str(number)))
    (tmp_path / "release" / "av" / "README.md").write_text("mine")
    with pytest.raises(UsageError, match=r"av holds 'README.md', which would be lost"):
        run_export(export, FakeContext(tmp_path / "refused"))
    assert (tmp_path / "release" / "av" / "README.md").read_text() == "mine"
    assert [path.name for path in (tmp_path / "release").glob(".*")] == []


def test_the_prompt_of_a_model_without_a_chat_template_is_a_plain_text(trained):
    ctx, _ = trained
    model = load_model("lm-d32")
    lens = load_lens(ctx.run.path, model).lens
    prompt = lens.verbaliser.injector.prompt
    words = model.tokenizer.convert_ids_to_tokens(list(prompt.ids))
    assert words[0] == "<bos>"
    assert words[prompt.position] == "<eot>", "the special token that texts never have"
    assert words.count("<bos>") == 1
    assert words[-1] == "Ġ:"
    own = prompting_tokenizer(model.tokenizer)
    assert own("a red moon")["input_ids"] == model.tokenizer("a red moon")["input_ids"][:-1]
    assert model.tokenizer.chat_template is None, "the model's own tokenizer stays as it was"


def test_training_changes_the_lens_and_not_the_model(trained):
    ctx, _ = trained
    fresh = load_model("lm-d32")
    before = {name: value.clone() for name, value in fresh.module.state_dict().items()}
    lens = load_lens(ctx.run.path, fresh).lens
    weights = lens.verbaliser.network.state_dict()
    assert all(torch.equal(before[name], value) for name, value in fresh.module.state_dict().items())
    assert any(not torch.equal(before[name], weights[name]) for name in before)


def test_weights_of_another_lens_are_refused(trained):
    ctx, _ = trained
    lens = load_lens(ctx.run.path, load_model("lm-d32")).lens
    weights = dict(lens.weights())
    weights.pop("reconstructor.value_head.weight")
    with pytest.raises(DataError, match="not those of this reconstructor"):
        lens.load_weights(weights)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"layer": 0}, "layer 0 has no block before it"),
        ({"layer": 4}, "layer 4 was not dumped"),
        ({"marker": "two words"}, "is not a single token"),
        ({"prompt": "nothing here"}, "the marker 0 times"),
        ({"reading": "{explanation}"}, "at least 2"),
    ],
)
def test_settings_that_cannot_work_are_refused(trained, changes, reason):
    ctx, result = trained
    dump = Dump.open(ctx.activations, result.scalars["dump"])
    with pytest.raises((UsageError, DataError), match=reason):
        NlaConfig(**{"layer": 1} | changes).build(load_model("lm-d32"), dump)


@pytest.mark.parametrize(
    ("name", "value"),
    [("group", 1), ("sft_steps", -1), ("temperature", 0.0), ("max_tokens", 0), ("injection_scale", -1.0)],
)
def test_wrong_values_are_refused_by_name(name, value):
    with pytest.raises(ConfigError, match=name):
        NlaConfig(**{name: value})


def test_anybodys_words_can_be_read(trained):
    ctx, _ = trained
    lens = load_lens(ctx.run.path, load_model("lm-d32")).lens
    red, blue = lens.read_text([Explanation("a red moon", ()), Explanation("a blue ring", ())], 1)
    assert not torch.allclose(red, blue)
