import numpy as np
import pytest

from interp_plugins.methods.align.config import AlignConfig
from interp_plugins.methods.align.downstream import read_scores
from interp_plugins.methods.align.run import align
from interp_registry.errors import DataError, UsageError


def test_scores_of_a_table_become_a_trend(tmp_path, ctx, make_layers):
    paths = []
    for seed in range(4):
        paths.append(str(tmp_path / f"m{seed}.npy"))
        np.save(paths[-1], make_layers(1, seed=seed)[0].numpy())
    table = tmp_path / "scores.csv"
    table.write_text("model,hellaswag\nm0,0.3\nm1,0.4\nm2,0.55\n")
    result = align(AlignConfig(models=paths[:3], against=paths[3:], permutations="off", table=str(table)), ctx)
    trend = next(figure for figure in result.figures if figure.kind == "scatter")
    assert trend.x == (0.3, 0.4, 0.55)
    assert trend.regression
    table.write_text("model,hellaswag\nother,1\n")
    with pytest.raises(UsageError, match="no row for any of"):
        align(AlignConfig(models=paths[:2], permutations="off", table=str(table)), ctx)


def test_wrong_tables_are_explained(tmp_path):
    with pytest.raises(UsageError, match="cannot be read"):
        read_scores(tmp_path / "none.csv")
    (tmp_path / "a.csv").write_text("name,score\nx,1\n")
    with pytest.raises(UsageError, match=r"no column 'model' \(columns: name, score\)"):
        read_scores(tmp_path / "a.csv")
    (tmp_path / "b.csv").write_text("model,score\nx,high\n")
    with pytest.raises(DataError, match="'high' in column 'score'"):
        read_scores(tmp_path / "b.csv")
