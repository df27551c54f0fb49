"""`--compile`: torch.compile changes how importance functions are computed, not what comes out."""

import logging
from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from interp_plugins.methods.spd import importance
from interp_plugins.methods.spd.config import ScalarMlpConfig, SharedMlpConfig
from interp_plugins.methods.spd.decompose import decompose
from interp_plugins.methods.spd.training import export_weights

needs_compiler = pytest.mark.skipif(importance.compiler_for("cpu") is None, reason="no C++ compiler here")


@pytest.mark.slow
@needs_compiler
@pytest.mark.parametrize("function", [ScalarMlpConfig(hidden=[4]), SharedMlpConfig(hidden=[4])])
@pytest.mark.filterwarnings("ignore::UserWarning:torch", "ignore::DeprecationWarning:torch")
def test_a_compiled_training_ends_where_an_ordinary_one_does(tiny, function):
    config, problem = tiny
    config.steps, config.importance = 4, function
    plain = decompose(config, problem, 0).model
    torch.compiler.reset()
    fused = decompose(replace(config, compile=True), problem, 0).model
    assert fused.importance._compiled_call_impl is not None
    for name, value in export_weights(plain).items():
        assert_close(export_weights(fused)[name], value, rtol=1e-4, atol=1e-5)


def test_without_a_compiler_the_training_goes_on_as_it_is(tiny, monkeypatch, caplog):
    config, problem = tiny
    config.steps = 1
    monkeypatch.setattr(importance.shutil, "which", lambda name: None)
    assert importance.compiler_for("cpu") is None
    with caplog.at_level(logging.WARNING):
        model = decompose(replace(config, compile=True), problem, 0).model
    assert "no compiler for cpu is installed" in caplog.text
    assert model.importance._compiled_call_impl is None
    assert model.importance.kernel == "auto"
