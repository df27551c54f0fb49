import pytest
import torch
from interp_neighbours import methods
from interp_neighbours.config import IndexConfig, ShowConfig
from interp_neighbours.stages import index, nearest, show
from interp_registry.errors import DataError
from interp_registry.stores.features import FeaturePlan, FeatureRequest, feature_name
from interp_registry.testing import FakeContext, check_method


@pytest.fixture
def ctx(tmp_path):
    ctx = FakeContext(tmp_path)
    entry = ctx.features.open(FeatureRequest("toy", "points", "0" * 64), FeaturePlan(6, 6, {"1": 2}))
    angles = torch.tensor([0.0, 0.1, 0.3, 3.0, 3.1, 1.5])
    entry.write_shard(0, {feature_name("avg", 1): torch.stack([angles.cos(), angles.sin()], 1)}, list("abcdef"))
    entry.finish({})
    return ctx


def test_the_method_keeps_the_contract():
    check_method(methods()[0])


def test_an_index_of_stored_features_shows_the_nearest_samples(ctx):
    made = index(IndexConfig("toy", topk=2), ctx)
    assert made.scalars["samples"] == 6
    shown = show(ShowConfig(str(ctx.run.path), sample=0), ctx)
    assert [row[0] for row in shown.tables[0].rows] == ["b", "c"]


def test_wrong_use_is_explained(ctx, tmp_path):
    with pytest.raises(DataError, match="choose a smaller"):
        nearest(torch.randn(3, 2), 3)
    with pytest.raises(DataError, match="holds no index"):
        show(ShowConfig(str(tmp_path / "nowhere")), ctx)
    index(IndexConfig("toy"), ctx)
    with pytest.raises(DataError, match="no sample 9"):
        show(ShowConfig(str(ctx.run.path), sample=9), ctx)
