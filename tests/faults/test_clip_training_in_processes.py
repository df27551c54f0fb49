"""Training of image-text models in several processes: the same numbers as in one."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from child_processes import fork, wait_all

from interp_plugins.datasets.image_text.config import WorldPairs
from interp_plugins.losses.config import InfoNceLoss, SvdLoss
from interp_plugins.methods.clip.config import ClipTrainConfig
from interp_plugins.methods.clip.training import ClipTraining
from interp_plugins.models.image_text.loading import load_image_text
from interp_registry.training.config import TrainingConfig

pytestmark = pytest.mark.slow


def config_of(steps: int, batch_size: int) -> ClipTrainConfig:
    return ClipTrainConfig(
        dataset=WorldPairs(split="train", n=120, n_captions=2),
        losses=[InfoNceLoss(), SvdLoss(k=2)],
        weights=[1.0, 0.2],
        batch_size=batch_size,
        n_validation=20,
        training=TrainingConfig(steps=steps, checkpoint_every=1, keep_last=3, clip_norm=1.0),
    )


def training_of(config: ClipTrainConfig, accelerator: Any = None) -> ClipTraining:
    return ClipTraining(load_image_text("clip-bow-init"), config.dataset.build(), config, 0, accelerator)


class Two:
    """What a training needs of accelerate, for one of two processes that meet in a file."""

    num_processes = 2

    def __init__(self, rank: int, meeting: Path) -> None:
        torch.distributed.init_process_group("gloo", f"file://{meeting}", rank=rank, world_size=2)
        self.process_index = rank

    def reduce(self, tensor: torch.Tensor, reduction: str) -> torch.Tensor:
        assert reduction == "mean"
        torch.distributed.all_reduce(tensor)
        return tensor / 2


def losses_of(training: ClipTraining, n_steps: int) -> list[float]:
    """Plain descent, whose weights are proportional to the gradients: Adam would hide a wrong factor."""
    descent = torch.optim.SGD(training.module.parameters(), lr=0.05)
    found = []
    for step in range(n_steps):
        descent.zero_grad()
        losses = training.step(step)
        losses["loss"].backward()
        training.before_update(step)
        descent.step()
        found.append(losses["loss"].item())
    return found


def share(rank: int, folder: Path) -> None:
    torch.set_num_threads(1)
    accelerator = Two(rank, folder / "meeting")
    found = losses_of(training_of(config_of(4, 12), accelerator), 4)
    (folder / f"{rank}.json").write_text(json.dumps(found))


def test_two_processes_have_the_losses_of_one_with_the_whole_batch(tmp_path: Path):
    assert wait_all([fork(partial(share, rank, tmp_path)) for rank in (0, 1)]) == [0, 0]
    first, second = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1))
    whole = losses_of(training_of(config_of(4, 24)), 4)
    assert first == pytest.approx(second, rel=1e-6)
    assert first == pytest.approx(whole, rel=2e-5)
    assert abs(whole[3] - whole[0]) > 0.01
