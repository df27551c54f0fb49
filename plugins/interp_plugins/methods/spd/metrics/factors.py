"""Metrics and figures of the components' weights.

Axis letters: ``i`` inputs, ``o`` outputs, ``c`` components, ``f`` features, ``m`` neurons.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from interp_plugins.methods.spd.evaluation import Evaluation, Measured
from interp_plugins.methods.spd.metric_config import RecoveryConfig, UvPlotsConfig
from interp_plugins.methods.spd.metrics.importances import column_order
from interp_plugins.methods.spd.recovery import recover
from interp_plugins.methods.spd.targets.toys import ResidualMlp
from interp_registry.errors import UsageError
from interp_registry.figures import HeatMap, Scatter

__all__ = ["FactorPlots", "NeuronContributions", "WeightRecovery", "neuron_contributions"]


class FactorPlots:
    """V and U as heat maps."""

    def __init__(self, config: UvPlotsConfig) -> None:
        self.config = config

    def __call__(self, evaluation: Evaluation) -> Measured:
        """Return two heat maps per module that is narrow enough."""
        measured = Measured()
        for site in evaluation.model.sites:
            v, u = evaluation.model.v(site.name).detach(), evaluation.model.u(site.name).detach()
            if max(v.shape[0], u.shape[1]) > self.config.max_width:
                continue
            order = torch.arange(v.shape[1])
            if site.name in evaluation.one_hot:
                order = column_order(evaluation.one_hot[site.name], site.name, self.config.dense)
            order = order[: self.config.n_components]
            names = tuple(str(int(i)) for i in order)
            measured.figures += [
                HeatMap(v[:, order].tolist(), columns=names, row_title="input", column_title="component",
                        title=f"V of {site.name}", units="weight", center=0.0),
                HeatMap(u[order].tolist(), rows=names, row_title="component", column_title="output",
                        title=f"U of {site.name}", units="weight", center=0.0),
            ]  # fmt: skip
        return measured


class WeightRecovery:
    """MMCS and ML2R."""

    def __init__(self, config: RecoveryConfig) -> None:
        self.config = config

    def __call__(self, evaluation: Evaluation) -> Measured:
        """Return both in the paper's definition and among live components, and the worst feature's cosine.

        Raises:
            UsageError: If the module is not decomposed.
        """
        name = self.config.module
        if name not in evaluation.model.index:
            known = ", ".join(evaluation.model.index)
            raise UsageError(f"recovery of {name!r} was asked for, which is not decomposed", f"decomposed: {known}")
        model = evaluation.model
        factors = (model.weight(name), model.v(name).detach(), model.u(name).detach())
        every, live = recover(*factors), recover(*factors, live_only=True)
        return Measured(
            {
                "mmcs_mean": float(every.mmcs),
                "ml2r_mean": float(every.ml2r),
                "mmcs_min": float(every.cosine.min()),
                "ml2r_std": float(every.length_ratio.std()),
                "mmcs_live_mean": float(live.mmcs),
                "ml2r_live_mean": float(live.ml2r),
            }
        )


def neuron_contributions(
    target: ResidualMlp, layer: int, v: Float[Tensor, "i c"], u: Float[Tensor, "c m"]
) -> tuple[Float[Tensor, "f m"], Float[Tensor, "f m"]]:
    """Return what each neuron contributes from each feature to itself: target's, and the strongest component's.

    ``NC(i) = (W_U[:, i] W_out) * (W_E[i] W_in)``; for components W_in is replaced by one ``V_c U_c``, and the largest over
    components is taken.
    """
    w_in = target.weight(f"layers.{layer}.mlp_in")
    w_out = target.weight(f"layers.{layer}.mlp_out")
    reads_out = (w_out @ target.unembedding).T  # f m
    whole = reads_out * (target.embedding @ w_in)
    parts = torch.einsum("fc,cm,fm->fcm", target.embedding @ v, u, reads_out)
    return whole, parts.max(1).values


class NeuronContributions:
    """Scatter of neuron contributions, target against components."""

    def __init__(self, config: object) -> None:
        self.config = config

    def __call__(self, evaluation: Evaluation) -> Measured:
        """Return the correlation over the largest contribution of each feature, per layer, and scatters."""
        target, model = evaluation.model.target, evaluation.model
        if not isinstance(target, ResidualMlp):
            raise UsageError("neuron contributions are defined for residual MLPs only", "leave that metric out")
        measured = Measured()
        for name in model.index:
            if not name.endswith("mlp_in"):
                continue
            layer = int(name.split(".")[1])
            whole, best = neuron_contributions(target, layer, model.v(name).detach(), model.u(name).detach())
            measured.scalars[f"neuron_contribution_correlation/{name}"] = float(
                torch.corrcoef(torch.stack([whole.flatten(), best.flatten()]))[0, 1]
            )
            top = whole.abs().argmax(1, keepdim=True)
            measured.figures.append(
                Scatter(
                    tuple(whole.gather(1, top).flatten().tolist()),
                    tuple(best.gather(1, top).flatten().tolist()),
                    x_title="target",
                    y_title="strongest component",
                    regression=True,
                    equal_axes=True,
                    title=f"neuron contributions of {name}",
                    caption="One point per feature: its largest neuron contribution in the target and the component's.",
                )
            )
        return measured
