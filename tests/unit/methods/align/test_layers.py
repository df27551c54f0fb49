import pytest

from interp_plugins.methods.align.config import LayersConfig
from interp_plugins.methods.align.layers import layers
from interp_registry.errors import UsageError


def test_every_layer_has_a_row_and_every_statistic_a_curve(ctx, make_layers, store_features):
    store_features("lm-a", make_layers(3))
    store_features("vit-a", make_layers(2, seed=5))
    result = layers(LayersConfig(models=["lm-a", "vit-a"], extract=False), ctx)
    assert [len(table.rows) for table in result.tables] == [3, 2]
    assert result.tables[0].columns[:2] == ("layer", "effective rank")
    assert all(1 <= s["effective_rank"] <= 12 for s in result.data["models"][0]["statistics"])
    assert {figure.kind for figure in result.figures} == {"lines"}
    assert [series.name for series in result.figures[0].series] == ["lm-a", "vit-a"]


def test_no_model_is_wrong_use(ctx):
    with pytest.raises(UsageError, match="no model was named"):
        layers(LayersConfig(), ctx)
