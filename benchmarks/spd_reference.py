"""Steps of the published code, for ``spd_steps.py``: a child process that imports a checkout and nothing of ours.

    python benchmarks/spd_reference.py EXPERIMENT WEIGHTS.safetensors     (working directory and PYTHONPATH: the checkout)

For each line on standard input, a number of steps, it makes so many updates of the checkout's own training and prints their
processor time in seconds. It is timed between two batches that the training asks for, so nothing of it is changed. Written
for the code of September 2025 (commit adb5f849), which needs Python 3.12 or later and its own requirements.
"""

import sys
import time
from pathlib import Path

import torch
import transformers.modeling_utils
import transformers.pytorch_utils
import yaml
from safetensors.torch import load_file

if not hasattr(transformers.modeling_utils, "Conv1D"):  # moved in later versions
    transformers.modeling_utils.Conv1D = transformers.pytorch_utils.Conv1D

from spd.configs import Config
from spd.experiments.resid_mlp import configs as resid_configs
from spd.experiments.resid_mlp.models import ResidMLP
from spd.experiments.tms import configs as tms_configs
from spd.experiments.tms.models import TMSModel
from spd.run_spd import optimize
from spd.utils.data_utils import SparseFeatureDataset

NEVER = 10**9


def target_model(name, weights):
    """The target of the experiment with these weights, and the range of its inputs."""
    if name.startswith("tms"):
        n_features, n_hidden = weights["linear2.weight"].shape
        shape = {"n_features": n_features, "n_hidden": n_hidden, "tied_weights": True, "init_bias_to_zero": False,
                 "n_hidden_layers": sum(key.startswith("hidden") for key in weights), "device": "cpu"}  # fmt: skip
        model = TMSModel(tms_configs.TMSModelConfig(**shape))
        model.load_state_dict(weights)
        model.tie_weights_()
        return model, (0.0, 1.0)
    n_features, d_embed = weights["W_E"].shape
    layers = sum(key.endswith("mlp_in.weight") for key in weights)
    shape = {"n_features": n_features, "d_embed": d_embed, "d_mlp": weights["layers.0.mlp_in.weight"].shape[0],
             "n_layers": layers, "act_fn_name": "relu", "in_bias": False, "out_bias": False}  # fmt: skip
    model = ResidMLP(resid_configs.ResidMLPModelConfig(**shape))
    model.load_state_dict(weights)
    return model, (-1.0, 1.0)


class Paced:
    """Batches; after every so many the time that the steps between took is told."""

    def __init__(self, dataset, batch_size):
        self.dataset, self.batch_size = dataset, batch_size

    def __iter__(self):
        while True:
            asked = sys.stdin.readline()
            if not asked.strip():
                sys.exit(0)
            start = time.process_time()
            for _ in range(int(asked)):
                yield self.dataset.generate_batch(self.batch_size)
            answer.write(f"{time.process_time() - start}\n")
            answer.flush()


def main():
    """Train until nobody asks any more."""
    name, path = sys.argv[1:]
    folder = "tms" if name.startswith("tms") else "resid_mlp"
    content = yaml.safe_load((Path("spd/experiments") / folder / f"{name}_config.yaml").read_text())
    content |= {"wandb_project": None, "steps": NEVER, "train_log_freq": NEVER, "eval_freq": NEVER,
                "slow_eval_freq": NEVER, "eval_metrics": []}  # fmt: skip
    config = Config(**content)
    model, value_range = target_model(name, load_file(path))
    task = config.task_config
    dataset = SparseFeatureDataset(
        n_features=model.config.n_features, feature_probability=task.feature_probability, device="cpu",
        data_generation_type=task.data_generation_type, value_range=value_range, synced_inputs=None,
    )  # fmt: skip
    ties = [("linear1", "linear2")] if folder == "tms" else None
    batches = Paced(dataset, config.batch_size)
    model.eval()
    optimize(model, config, "cpu", batches, batches, 0, None, ties)


if __name__ == "__main__":
    torch.set_num_threads(1)
    answer, sys.stdout = sys.stdout, sys.stderr  # the training prints; answers go the old way
    main()
