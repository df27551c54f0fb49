"""Two processes that share a batch give the losses and updates of one."""

import json
import os
import warnings
from datetime import timedelta

import pytest
import torch
from torch.testing import assert_close

from interp_plugins.methods.spd import loss_config as losses
from interp_plugins.methods.spd.building import build_decomposition
from interp_plugins.methods.spd.decompose import decompose
from interp_plugins.methods.spd.processes import Share
from interp_plugins.methods.spd.run import result_of
from interp_plugins.methods.spd.training import DecompositionTraining, export_weights
from interp_registry.discovery import discover
from interp_registry.errors import UsageError
from interp_registry.testing import FakeContext


def _train(config, problem, share, steps=4):
    model = build_decomposition(config, problem.target, torch.Generator().manual_seed(0))
    training = DecompositionTraining(model, config, problem.batches, 0, share=share)
    trace = []
    for i in range(steps):
        training.optimiser.zero_grad(set_to_none=True)
        found = training.step(i)
        found["loss"].backward()
        training.before_update(i)
        training.optimiser.step()
        trace.append({name: float(value.detach()) for name, value in found.items()})
    return trace, export_weights(model)


def _in_two_processes(config, problem, folder):
    children = []
    for rank in range(2):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            pid = os.fork()
        if pid == 0:
            code = 1
            try:
                store = f"file://{folder}/store"
                torch.distributed.init_process_group(
                    "gloo", init_method=store, rank=rank, world_size=2, timeout=timedelta(seconds=120)
                )
                trace, weights = _train(config, problem, Share(rank, 2))
                (folder / f"{rank}.json").write_text(json.dumps([trace, {k: v.tolist() for k, v in weights.items()}]))
                code = 0
            finally:
                os._exit(code)
        children.append(pid)
    assert [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children] == [0, 0]
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(2)]


@pytest.mark.parametrize("skip", [True, False])
def test_two_processes_give_the_trace_and_weights_of_one(tiny, tmp_path, skip):
    torch.set_num_threads(1)  # a forked child must not wait for threads that it does not have
    config, problem = tiny
    config.skip_zero_rows, config.delta = skip, True
    config.losses |= {
        "minimality_with_frequency": losses.ImportanceMinimalityConfig(coeff=0.01, p=0.9, beta=0.5),
        "frequency": losses.FrequencyMinimalityConfig(coeff=0.01),
        "subset": losses.StochasticReconConfig(over="subset"),
        "adversary": losses.PgdReconConfig(n_steps=2, start="random"),
        "own_adversary": losses.PgdReconConfig(n_steps=2, scope="per_row"),
        "persistent": losses.PersistentReconConfig(coeff=0.1),
        "hidden": losses.HiddenActivationsConfig(coeff=0.1),
        "schatten": losses.SchattenConfig(coeff=0.01),
    }
    want, weights = _train(config, problem, None)
    for trace, got in _in_two_processes(config, problem, tmp_path):
        for a, b in zip(trace, want, strict=True):
            assert a == pytest.approx(b, rel=2e-4)
        for name, value in weights.items():
            assert_close(torch.tensor(got[name]), value, rtol=2e-3, atol=2e-4)


def test_every_row_belongs_to_one_process():
    parts = [Share(rank, 3).rows(10) for rank in range(3)]
    assert [start for start, _ in parts] == [0, 3, 6]
    assert sum(size for _, size in parts) == 10


def test_sources_kept_per_row_cannot_be_shared(tiny):
    config, problem = tiny
    config.losses["adversary"] = losses.PersistentReconConfig(scope="per_row")
    with pytest.raises(UsageError, match="several processes"):
        _train(config, problem, Share(0, 2))


@pytest.mark.parametrize("is_main", [True, False])
def test_the_main_process_alone_writes_the_decomposition_and_all_have_its_result(tiny, tmp_path, is_main):
    discover()  # the configuration is written, too
    config, problem = tiny
    config.steps, config.n_eval_batches = 2, 1
    ctx = FakeContext(tmp_path)
    ctx.is_main = is_main
    (folder,) = result_of(decompose(config, problem, 0), config, "tiny", ctx, 0.0).artifacts
    assert folder == ctx.run.path / "decomposition"
    assert (folder / "components.safetensors").exists() == is_main
