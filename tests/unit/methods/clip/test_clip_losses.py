"""Loss surfaces and curves, and the scoped helpers for notebooks."""

import json

import pytest
import torch

from interp_plugins.datasets.image_text.config import WorldPairs
from interp_plugins.losses.api import loss
from interp_plugins.losses.spectral import cross_singular_values
from interp_plugins.methods.clip.api import clip, track
from interp_plugins.methods.clip.config import ClipLossesConfig
from interp_plugins.methods.clip.losses_run import show_losses
from interp_plugins.methods.clip.surfaces import (
    cka_against_noise,
    eigengap_curve,
    eigengap_surface,
    spectral_curve,
    spectral_surface,
)
from interp_registry.errors import ConfigError, DataError


@pytest.fixture
def pair():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(40, 8, generator=generator, dtype=torch.float64)
    return x, x + torch.randn(40, 8, generator=generator, dtype=torch.float64)


def test_surfaces_hold_the_losses_themselves(pair):
    alphas, betas = torch.tensor([0.1, 1.0, 2.0]).double(), torch.tensor([0.0, 0.5]).double()
    surface = spectral_surface(cross_singular_values(*pair), 3, alphas, betas)
    assert surface[1, 1].item() == pytest.approx(loss("svd", k=3, alpha=1.0, beta=0.5)(*pair).item(), abs=1e-12)
    values = torch.linspace(0, 1, 9).double() ** 2
    surface = eigengap_surface(values, 4, alphas, betas)
    assert surface[2, 1].item() == pytest.approx(loss("ncut", k=4, alpha=2.0, beta=0.5)(values).item(), abs=1e-12)


def test_curves_over_k_hold_the_losses_themselves(pair):
    curve = spectral_curve(cross_singular_values(*pair), 10)
    assert curve[6] == pytest.approx(loss("svd", k=7)(*pair).item(), abs=1e-12)
    assert len(curve) == 10
    values = torch.linspace(0, 1, 9)
    assert eigengap_curve(values, 8)[2] == pytest.approx(loss("ncut", k=3)(values).item(), abs=1e-7)
    with pytest.raises(DataError, match="needs 10"):
        eigengap_curve(values, 9)


def test_cka_falls_with_noise_from_one(pair):
    levels = torch.tensor([0.0, 0.5, 2.0])
    values = cka_against_noise(pair[0], levels, torch.Generator().manual_seed(7))
    assert values[0] == pytest.approx(1)
    assert values[0] > values[1] > values[2]


def test_the_stage_draws_surfaces_curves_and_spectra(untrained_context):
    config = ClipLossesConfig(model="clip-bow-init", dataset=WorldPairs(n=24), n_points=3, k_max=6)
    result = show_losses(config, untrained_context)
    assert [figure.kind for figure in result.figures] == ["heat_map"] * 2 + ["lines"] * 5
    assert json.dumps(result.to_json())
    with pytest.raises(ConfigError, match="below k_max"):
        ClipLossesConfig(k=6, k_max=6)


def test_a_model_lives_as_long_as_its_block():
    with clip("clip-bow-init", device="cpu") as model:
        assert model.embed_texts(["a red square"]).shape == (1, 64)
    assert next(iter(model.module.parameters())).device.type == "meta"


def test_the_facade_offers_losses_scores_cuts_and_contexts():
    import interp_cli as interp

    assert interp.loss("cka")(torch.eye(3), torch.eye(3)).item() == pytest.approx(-1)
    assert interp.bench_metrics.winoground(*[torch.zeros(2)] * 4)["group_score"] == 0
    assert interp.cuts.bipartite(torch.eye(3) + 0.01, n_clusters=3).n_clusters == 3
    assert interp.clip is clip
    assert interp.track is track


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::Warning")  # Aim's own, where nothing has imported it before
def test_a_tracked_run_can_be_read_back_from_its_repository(tmp_path):
    from aim import Repo

    with track(repo=tmp_path, experiment="x", lr=0.1) as run:
        for step in range(3):
            run.track(torch.tensor(float(step)), name="loss", step=step, context={"subset": "test"})
    found = Repo.from_path(str(tmp_path)).query_metrics("metric.name == 'loss'").iter_runs()
    values = [value for collection in found for metric in collection for value in metric.values.values_list()]
    assert values == [0.0, 1.0, 2.0]
    assert Repo.from_path(str(tmp_path)).get_run(run.hash)["lr"] == 0.1
