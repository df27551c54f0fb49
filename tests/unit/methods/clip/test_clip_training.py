"""`interp clip train`: groups, sampling, collapse alarm, resume, files."""

import json

import pytest
import torch

from interp_plugins.datasets.image_text.config import WorldPairs, WorldTwins
from interp_plugins.datasets.memory import ListDataset
from interp_plugins.losses.config import CkaLoss, InfoNceLoss, SvdLoss
from interp_plugins.methods.clip.collapse import CollapseAlarm, effective_rank, mean_cosine_of_others
from interp_plugins.methods.clip.config import ClipTrainConfig
from interp_plugins.methods.clip.optimisers import optimisers_of, parameter_groups
from interp_plugins.methods.clip.pairs import PairSampler, captions_of, split_validation
from interp_plugins.methods.clip.run import train_clip
from interp_plugins.methods.clip.training import ClipTraining, retrieval_values
from interp_plugins.models.image_text.loading import load_image_text
from interp_registry.errors import ConfigError, DataError, InterpError, UsageError
from interp_registry.events import MemorySink, Message
from interp_registry.stores.checkpoint import CheckpointStore
from interp_registry.training.config import TrainingConfig
from interp_registry.training.loop import Tools, train


def small_config(**options) -> ClipTrainConfig:
    settings = {
        "dataset": WorldPairs(split="train", n=60, n_captions=2),
        "test": WorldPairs(n=20),
        "batch_size": 8,
        "n_validation": 20,
        "lr": 1e-3,
        "training": TrainingConfig(
            steps=4, evaluate_every=2, checkpoint_every=2, monitor="recall@1", monitor_mode="max"
        ),
    }
    return ClipTrainConfig(**{**settings, **options})


def training_of(config: ClipTrainConfig, seed: int = 0, **options) -> ClipTraining:
    return ClipTraining(load_image_text("clip-bow-init"), config.dataset.build(), config, seed, **options)


def test_matrices_decay_and_vectors_norms_and_the_scale_do_not():
    module = load_image_text("clip-bow-init").module
    decayed, plain = parameter_groups(module, 0.1)
    assert (decayed["weight_decay"], plain["weight_decay"]) == (0.1, 0.0)
    names = {id(parameter): name for name, parameter in module.named_parameters()}
    assert all("norm" not in names[id(p)] and p.ndim >= 2 for p in decayed["params"])
    assert {"logit_scale", "vision_model.embeddings.class_embedding"} <= {names[id(p)] for p in plain["params"]}
    assert len(decayed["params"]) + len(plain["params"]) == len(names)


def test_muon_moves_the_matrices_that_multiply_adamw_the_rest_and_each_weight_has_one_optimiser():
    module = load_image_text("clip-bow-init").module
    names = {id(parameter): name for name, parameter in module.named_parameters()}
    made = optimisers_of(module, ClipTrainConfig(lr=1e-3))
    held = {kind: [names[id(p)] for g in one.param_groups for p in g["params"]] for kind, one in made.items()}
    assert sorted(held["muon"] + held["adamw"]) == sorted(names.values())
    assert {"visual_projection.weight", "text_model.encoder.layers.0.mlp.fc1.weight"} <= set(held["muon"])
    assert not any("embedding" in name or "norm" in name or "bias" in name for name in held["muon"])
    assert made["muon"].param_groups[0]["lr"] == pytest.approx(3e-3)
    plain = optimisers_of(module, ClipTrainConfig(optimiser="adamw"))
    assert sorted(names[id(p)] for g in plain["adamw"].param_groups for p in g["params"]) == sorted(names.values())
    for name, parameter in module.named_parameters():
        parameter.requires_grad_(name == "logit_scale")
    assert list(optimisers_of(module, ClipTrainConfig())) == ["adamw"]


def test_a_step_of_muon_moves_every_direction_of_a_matrix_about_equally_far():
    module = load_image_text("clip-bow-init").module.float()
    weight = module.visual_projection.weight
    before = weight.detach().clone()
    weight.grad = torch.diag(torch.logspace(0, -2, 96))[:64]
    config = ClipTrainConfig(lr=1e-3, weight_decay=0.0)
    optimisers_of(module, config)["muon"].step()
    lengths = torch.linalg.svdvals(before - weight.detach()) / (3e-3 * 0.2 * 96**0.5)
    assert lengths.max() < 1.3
    assert lengths.min() > 0.3


def test_batches_depend_on_seed_step_and_process_alone_and_hold_no_image_twice():
    dataset = WorldPairs(split="train", n=200, n_captions=3).build()
    sampler = PairSampler(dataset, range(200), 16, seed=0)
    images, texts = sampler.batch(3)
    assert texts == PairSampler(dataset, range(200), 16, seed=0).batch(3)[1]
    assert texts != sampler.batch(4)[1]
    shares = [PairSampler(dataset, range(200), 8, seed=0, rank=rank, n_processes=2).batch(3)[1] for rank in (0, 1)]
    assert shares[0] + shares[1] == texts
    with pytest.raises(DataError, match="1 pairs for 2 processes"):
        PairSampler(dataset, range(1), 8, seed=0, n_processes=2).batch(0)
    assert len({image.tobytes() for image in images}) == 16
    used = {
        dataset.captions_of(row).index(text) for text in texts for row in range(200) if text in dataset.captions_of(row)
    }
    assert used == {0, 1, 2}


def test_a_data_set_that_gives_samples_alone_is_drawn_from_like_one_that_knows_its_captions():
    knowing = WorldPairs(n=12, n_captions=2).build()
    plain = ListDataset(list(knowing), knowing.name, knowing.modalities)
    assert (
        PairSampler(plain, range(12), 4, seed=0).batch(1)[1] == PairSampler(knowing, range(12), 4, seed=0).batch(1)[1]
    )
    assert captions_of(plain, range(12)) == captions_of(knowing, range(12))


def test_validation_is_kept_from_training():
    dataset = WorldPairs(n=30).build()
    rows, kept = split_validation(dataset, 10, seed=1)
    assert sorted(rows + kept) == list(range(30))
    assert len(kept) == 10
    with pytest.raises(DataError, match="30 pairs, 30"):
        split_validation(dataset, 30, seed=1)
    with pytest.raises(UsageError, match="QuadSample"):
        split_validation(WorldTwins(n=4).build(), 2, seed=1)


def test_effective_rank_counts_directions():
    generator = torch.Generator().manual_seed(0)
    wide = torch.randn(4000, 16, generator=generator)
    assert effective_rank(wide) == pytest.approx(16, abs=0.2)
    assert effective_rank(wide[:, :3] @ torch.randn(3, 16, generator=generator)) <= 3
    assert effective_rank(torch.ones(10, 4)) == 1


def test_mean_cosine_of_others_leaves_the_pairs_out():
    x = torch.eye(4)
    assert mean_cosine_of_others(x, x) == 0
    assert mean_cosine_of_others(torch.ones(4, 1), torch.ones(4, 1)) == 1


def test_the_alarm_is_raised_by_few_directions_and_by_falling_retrieval_and_remembered():
    alarm = CollapseAlarm(width=64, chance=0.001)
    assert alarm.look(10, rank=12.0, recall=0.001, margin=0.0) is None
    assert "3.0 directions" in alarm.look(20, rank=3.0, recall=0.001, margin=0.3)
    assert alarm.look(30, rank=12.0, recall=0.2, margin=0.3) is None
    assert "fell from 20.0% to 5.0%" in alarm.look(40, rank=12.0, recall=0.05, margin=0.3)
    assert "no more alike than others" in alarm.look(50, rank=12.0, recall=0.2, margin=0.0)
    again = CollapseAlarm(64, 0.001)
    again.load(alarm.state())
    assert again.reasons == alarm.reasons
    assert again.best == 0.2


def test_a_step_gives_each_loss_and_their_weighted_sum():
    config = small_config(losses=[InfoNceLoss(), SvdLoss(k=2), SvdLoss(k=3)], weights=[1.0, 0.5, 0.0])
    losses = training_of(config).step(0)
    assert set(losses) == {"infonce", "svd_1", "svd_2", "loss", "logit_scale"}
    expected = losses["infonce"] + 0.5 * losses["svd_1"]
    torch.testing.assert_close(losses["loss"], expected)
    losses["loss"].backward()


def test_a_frozen_tower_keeps_its_weights_and_the_other_moves():
    config = small_config(freeze="vision", training=TrainingConfig(steps=2, checkpoint_every=None))
    training = training_of(config)
    before = {name: value.clone() for name, value in training.module.state_dict().items()}
    train(training, config.training, 0)
    moved = {name for name, value in training.module.state_dict().items() if not torch.equal(value, before[name])}
    assert moved
    assert not any(name.startswith(("vision_model", "visual_projection")) for name in moved)


@pytest.mark.parametrize("mixed_precision", ["no", pytest.param("bf16", marks=pytest.mark.slow)])
def test_interrupted_and_resumed_training_ends_with_the_same_weights(tmp_path, mixed_precision):
    config = small_config(losses=[InfoNceLoss(), CkaLoss()], weights=[1.0, 0.3], mixed_precision=mixed_precision)
    whole = training_of(config)
    train(whole, config.training, 0, Tools(checkpoints=CheckpointStore(tmp_path / "whole")))
    calls = iter([False, False, True])
    tools = Tools(checkpoints=CheckpointStore(tmp_path / "parts"), stop=lambda: next(calls, False))
    with pytest.raises(InterpError, match="stopped after 3 of 4"):
        train(training_of(config), config.training, 0, tools)
    resumed = training_of(config)
    train(resumed, config.training, 0, Tools(checkpoints=CheckpointStore(tmp_path / "parts")))
    for name, value in whole.module.state_dict().items():
        assert torch.equal(value, resumed.module.state_dict()[name]), name
    assert resumed.history == whole.history
    assert resumed.alarm.state() == whole.alarm.state()


def test_a_collapse_warns_or_stops():
    events = MemorySink()
    training = training_of(small_config(), events=events)
    with torch.no_grad():
        training.module.visual_projection.weight[2:] = 0
    values = training.evaluate(0)
    assert values["collapse"] == 1
    assert values["effective_rank_images"] <= 2
    assert any(isinstance(event, Message) and "collapse alarm" in event.text for event in events.events)
    training.config.on_collapse = "stop"
    with pytest.raises(InterpError, match="add infonce"):
        training.evaluate(1)


def test_retrieval_values_of_a_perfect_and_a_constant_model():
    perfect = retrieval_values(torch.eye(12), torch.eye(12))
    assert perfect["recall@1"] == 1
    assert perfect["effective_rank_images"] > 10
    constant = retrieval_values(torch.ones(12, 4) / 2, torch.ones(12, 4) / 2)
    assert constant["recall@1"] == 0
    assert constant["cosine_others"] == pytest.approx(1)


def test_training_stops_early_when_retrieval_no_longer_improves():
    config = small_config(lr=1e-12, training=TrainingConfig(steps=9, checkpoint_every=None, evaluate_every=1))
    config.training.monitor, config.training.monitor_mode, config.training.patience = "recall@1", "max", 2
    summary = train(training_of(config), config.training, 0)
    assert (summary.steps, summary.best_step, summary.stopped_early) == (3, 1, True)


class Recorder:
    """A tracker that remembers."""

    def __init__(self) -> None:
        self.values, self.images = {}, {}

    def log(self, values, step):
        self.values |= {(name, step): value for name, value in values.items()}

    def image(self, name, png, step):
        self.images[name, step] = png


def test_a_run_tests_once_and_stores_a_folder_that_loads_again(untrained_context):
    untrained_context.accelerator = None
    untrained_context.tracker = tracker = Recorder()
    result = train_clip(small_config(), untrained_context)
    assert result.failures == []
    assert {"test_recall@1", "collapse_alarms", "best_step"} <= set(result.scalars)
    assert {("train/loss", 4), ("eval/recall@1", 2), ("test/recall@1", 4)} <= set(tracker.values)
    assert tracker.images["similarity", 4].startswith(b"\x89PNG")
    model = load_image_text(str(result.artifacts[0]))
    stored = CheckpointStore(untrained_context.run.checkpoints, larger_is_better=True).best()
    best = stored.weights()
    for name, value in model.module.state_dict().items():
        assert torch.equal(value, best[name]), name
    assert [row["step"] for row in json.loads(result.artifacts[1].read_text())] == [2, 4]
    assert [figure.kind for figure in result.figures] == ["lines", "lines", "heat_map"]
    assert json.dumps(result.to_json())


def test_settings_that_make_no_sense_are_refused():
    with pytest.raises(ConfigError, match="2 weights for 1 losses"):
        ClipTrainConfig(weights=[1.0, 2.0])
    with pytest.raises(ConfigError, match="no negatives"):
        ClipTrainConfig(batch_size=1)
    with pytest.raises(ConfigError, match="no loss"):
        ClipTrainConfig(losses=[])


@pytest.mark.slow
def test_a_hundred_steps_on_the_world_find_ten_times_as_many_of_a_thousand_as_chance(untrained_context):
    untrained_context.accelerator = None
    config = ClipTrainConfig(batch_size=96)
    config.training.steps, config.training.evaluate_every, config.training.checkpoint_every = 100, None, None
    scalars = train_clip(config, untrained_context).scalars
    assert scalars["test_chance_recall@1"] == pytest.approx(0.001)
    assert scalars["test_recall@1"] >= 0.01
    assert scalars["test_recall@5"] >= 0.05
    assert scalars["test_median_rank"] <= 60
    assert scalars["collapse_alarms"] == 0


@pytest.mark.slow
def test_the_spectral_loss_alone_raises_the_collapse_alarm(untrained_context):
    untrained_context.accelerator = None
    training = TrainingConfig(steps=20, evaluate_every=10, checkpoint_every=None)
    config = ClipTrainConfig(
        losses=[SvdLoss(k=3)],
        dataset=WorldPairs(split="train", n=700, n_captions=2),
        test=WorldPairs(n=200),
        n_validation=200,
        batch_size=32,
        training=training,
    )
    result = train_clip(config, untrained_context)
    assert result.scalars["collapse_alarms"] >= 1
    assert result.scalars["test_recall@1"] <= 0.03
    assert any("no loss has negatives" in getattr(event, "text", "") for event in untrained_context.events.events)
