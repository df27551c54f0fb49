"""The baselines: nothing carried, and the best that a few numbers can carry."""

import pytest
import torch

from interp_plugins.methods.lens.baselines.config import LinearLensConfig, MeanLensConfig
from interp_plugins.methods.lens.baselines.linear import LinearLens
from interp_plugins.methods.lens.config import LensTrainConfig
from interp_plugins.methods.lens.contract import Fits, Lens, Reconstructs
from interp_plugins.methods.lens.dump import open_dump
from interp_plugins.methods.lens.dumped import DumpOutline
from interp_plugins.methods.lens.stored import load_lens
from interp_plugins.methods.lens.train import run
from interp_plugins.models.resolve import load_model
from interp_registry.errors import ConfigError, DataError
from interp_registry.testing import FakeContext


def trained(method, model_folder, corpus, folder):
    config = LensTrainConfig(method=method, model=str(model_folder), dataset=str(corpus), layers="1,4", dtype="fp32")
    ctx = FakeContext(folder)
    result = run(config, ctx)
    dump, _ = open_dump(config, config.model, ctx)
    return load_lens(ctx.run.path, load_model(str(model_folder))).lens, dump, result


def error(lens, dump, layer):
    values = dump.activations(dump.training_rows, layer)
    return float((values - lens.reconstruct(values, layer)).square().sum(1).mean())


def test_the_mean_lens_leaves_all_of_the_variance(model_folder, corpus, tmp_path):
    lens, dump, _ = trained(MeanLensConfig(), model_folder, corpus, tmp_path)
    assert isinstance(lens, Lens)
    assert isinstance(lens, Reconstructs)
    for layer in (1, 4):
        assert error(lens, dump, layer) == pytest.approx(dump.statistics(layer).variance, rel=1e-4)


@pytest.mark.parametrize("rank", [1, 5, 32])
def test_the_linear_lens_leaves_what_no_map_of_its_rank_can_carry(model_folder, corpus, tmp_path, rank):
    lens, dump, result = trained(LinearLensConfig(rank=rank), model_folder, corpus, tmp_path)
    assert isinstance(lens, Fits)
    for layer in (1, 4):
        values = dump.activations(dump.training_rows, layer).double()
        singular = torch.linalg.svdvals(values - values.mean(0))
        least = float(singular[rank:].square().sum()) / len(values)
        assert error(lens, dump, layer) == pytest.approx(least, rel=1e-3, abs=1e-6)
        basis = lens.bases[layer]
        assert torch.allclose(basis.T @ basis, torch.eye(rank), atol=1e-5)
        share = result.data["fitted"][f"variance/{layer}"]
        assert share == pytest.approx(1 - least / dump.statistics(layer).variance, rel=1e-4)


def test_a_rank_beyond_the_width_and_foreign_weights_are_refused(llama):
    outline = DumpOutline((1,), 32)
    with pytest.raises(ConfigError, match="rank 33"):
        LinearLens(LinearLensConfig(rank=33), llama, outline)
    with pytest.raises(ConfigError, match="too small"):
        LinearLensConfig(rank=0)
    with pytest.raises(DataError, match="do not fit"):
        LinearLens(LinearLensConfig(rank=2), llama, outline).load_weights({"1.basis": torch.zeros(32, 3)})
