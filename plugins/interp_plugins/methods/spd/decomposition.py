"""A target model with its matrices written as components: parameters and forward passes.

Axis letters: ``r`` optional leading run dimensions, ``n`` rows (or batch and position), ``i`` inputs, ``o`` outputs,
``c`` components of all modules side by side, ``l`` modules.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from interp_plugins.methods.spd.components import inner_activations
from interp_plugins.methods.spd.factored import FactoredRows, Products, Rows, choose_rows, written_out
from interp_plugins.methods.spd.importance import ImportanceFunction
from interp_plugins.methods.spd.masks import Masks, Parts
from interp_plugins.methods.spd.sites import AtSite, Site, Target
from interp_registry.errors import UsageError

__all__ = ["Decomposition", "TargetPass"]


@dataclass(frozen=True)
class TargetPass:
    """What the undecomposed model does on a batch; made once per step and used by every pass.

    Attributes:
        batch: The prepared batch.
        inputs: Input of each site's module.
        outputs: Output of each site (its module's, bias included; an identity's input).
        module_outputs: Output of each module that has a site.
        output: The model's output.
    """

    batch: Any
    inputs: dict[str, Rows]
    outputs: dict[str, Rows]
    module_outputs: dict[str, Rows]
    output: Tensor


class Decomposition(nn.Module):
    """Components ``V``, ``U`` of every chosen matrix and the function that gives their causal importances.

    Args:
        target: The frozen model.
        sites: The matrices to decompose, in the order of the forward pass.
        factors: Site name -> (V, U), the initial values.
        importance: Gives unbounded importances.
        ties: Pairs (source, follower) of sites whose factors share storage, transposed: ``V_follower = U_source^T``.
            Each of the two keeps gradients and optimiser moments of its own, as in the published code.
    """

    def __init__(
        self,
        target: Target,
        sites: tuple[Site, ...],
        factors: Mapping[str, tuple[Tensor, Tensor]],
        importance: ImportanceFunction,
        ties: tuple[tuple[str, str], ...] = (),
    ) -> None:
        super().__init__()
        if not sites:
            raise UsageError("no module was chosen to decompose", "give at least one module pattern")
        self.target, self.sites, self.importance = target, sites, importance
        self.run_dims = target.run_dims
        self.index = {site.name: i for i, site in enumerate(sites)}
        self.widths = tuple(site.n_components for site in sites)
        starts = [sum(self.widths[:i]) for i in range(len(sites))]
        self.spans = {s.name: slice(a, a + s.n_components) for s, a in zip(sites, starts, strict=True)}
        sources = {follower: source for source, follower in ties}
        self.transposed = frozenset(sources)
        shared = {name: nn.Parameter(value) for s in sites if s.name not in sources
                  for name, value in _named(s.name, factors[s.name])}  # fmt: skip
        for follower, source in sources.items():
            shared[f"{follower}.V"] = nn.Parameter(shared[f"{source}.U"].data)
            shared[f"{follower}.U"] = nn.Parameter(shared[f"{source}.V"].data)
        ordered = {f"{s.name}.{kind}": shared[f"{s.name}.{kind}"] for s in sites for kind in "VU"}
        self._factors = nn.ParameterDict({name.replace(".", "-"): value for name, value in ordered.items()})

    def v(self, name: str) -> Float[Tensor, "*r i c"]:
        """Input directions of a site."""
        return self._factor(name, "V")

    def u(self, name: str) -> Float[Tensor, "*r c o"]:
        """Output directions of a site."""
        return self._factor(name, "U")

    def _factor(self, name: str, kind: str) -> Tensor:
        stored = self._factors[f"{name}.{kind}".replace(".", "-")]
        return stored.mT if name in self.transposed else stored

    def component_parameters(self) -> list[nn.Parameter]:
        """V and U of every site, in order; factors that share storage appear once for each of their sites."""
        return list(self._factors.values())

    def weight(self, name: str) -> Float[Tensor, "*r i o"]:
        """The target's matrix at a site; the identity for an identity."""
        site = self.sites[self.index[name]]
        matrix = self.target.weight(site.module)
        if not site.is_identity:
            return matrix
        eye = torch.eye(matrix.shape[-2], dtype=matrix.dtype, device=matrix.device)
        return eye.expand(*matrix.shape[:-2], -1, -1)

    def delta(self, name: str) -> Float[Tensor, "*r i o"]:
        """What the components leave of a matrix, ``W - V U``, in full precision: a small difference of large numbers."""
        weight = self.weight(name)
        with torch.autocast(weight.device.type, enabled=False):
            return weight - self.v(name) @ self.u(name)

    def target_pass(self, batch: Any) -> TargetPass:
        """Run the undecomposed model and keep every site's input and output; no gradient."""
        inputs: dict[str, Rows] = {}
        outputs: dict[str, Rows] = {}
        module_outputs: dict[str, Rows] = {}

        def remember(name: str, x: Rows, original: Any) -> Rows:
            y = original(x)
            for site in self.sites:
                if site.module == name:
                    inputs[site.name] = x
                    outputs[site.name] = x if site.is_identity else y
                    module_outputs[name] = y
            return y

        with torch.no_grad():
            prepared = self.target.prepare(batch)
            output = self.target.forward(prepared, remember)
        return TargetPass(prepared, inputs, outputs, module_outputs, output)

    def inner(self, known: TargetPass) -> Parts:
        """Inner activations ``x V`` of every site on the target's activations."""
        return tuple(inner_activations(known.inputs[s.name], self.v(s.name)) for s in self.sites)

    def unbounded_importances(self, known: TargetPass, inner: Parts) -> Float[Tensor, "*r n c"]:
        """Pre-squashing causal importances on the target's activations, all sites side by side.

        The gradient flows into V through the inner activations.
        """
        if self.importance.reads_sequences:
            unbounded: Tensor = self.importance(inner, [known.inputs[s.name] for s in self.sites])
            return unbounded
        lead, run_dims = inner[0].shape[:-1], self.run_dims
        rows = [h.flatten(run_dims, -2) for h in inner]
        inputs = [_flat(known.inputs[s.name], run_dims) for s in self.sites]
        return self.importance(rows, inputs).reshape(*lead, -1)

    def masked_output(
        self,
        known: TargetPass,
        inner: Parts,
        masks: Masks,
        only: str | None = None,
        seen: dict[str, Rows] | None = None,
    ) -> Tensor:
        """Return the model's output with components under masks in place of matrices.

        Args:
            known: The target's pass over the same batch; its activations are reused where they still hold.
            inner: Inner activations on the target's activations.
            masks: Masks of all sites.
            only: Replace this site alone (a layerwise pass); None replaces all.
            seen: If given, receives each site's input in this pass.
        """
        first = self.sites[0].name if only is None else only
        at_module = self._at_module(known, inner, masks, (first, only), seen)
        return self.target.forward(known.batch, at_module)

    def site_output(self, site: Site, inner: Float[Tensor, "*r n c"], masks: Masks, known_output: Rows) -> Rows:
        """Return one site's output under masks for the input that the target gives it.

        Args:
            site: The site.
            inner: Its inner activations.
            masks: Masks of all sites.
            known_output: Its output in the target.
        """
        return self._components(site, inner, masks, known_output, lambda: known_output)

    def _at_module(
        self,
        known: TargetPass,
        inner: Parts,
        masks: Masks,
        which: tuple[str, str | None],
        seen: dict[str, Rows] | None,
    ) -> AtSite:
        first, only = which
        by_module: dict[str, list[Site]] = {}
        for site in self.sites:
            by_module.setdefault(site.module, []).append(site)

        def replace(site: Site, x: Rows, original: Any) -> Rows:
            if seen is not None:
                seen[site.name] = x
            if only is not None and site.name != only:
                return original(x)
            if site.name == first:  # nothing before it has changed: its input is the target's
                h, known_output = inner[self.index[site.name]], known.outputs[site.name]
            else:
                h, known_output = inner_activations(x, self.v(site.name)), None
            return self._components(site, h, masks, known_output, lambda: original(x))

        def at_module(name: str, x: Rows, original: Any) -> Rows:
            sites = by_module.get(name, [])
            if sites and self.index[sites[-1].name] < self.index[first]:
                return known.module_outputs[name]
            for site in sites:
                x = replace(site, x, _unchanged if site.is_identity else original)
            return x if sites and not sites[-1].is_identity else original(x)

        return at_module

    def _components(
        self, site: Site, h: Float[Tensor, "*r n c"], masks: Masks, known_output: Rows | None, original: Any
    ) -> Rows:
        """Return a site's output under masks.

        ``(h * mask) U + m (x delta)`` is written ``(h * (mask - m)) U + m y + (1 - m) b`` with the target's own output
        y = x W + b: no delta matrix, and masks of one give y exactly.
        """
        i = self.index[site.name]
        share = None if masks.deltas is None else masks.deltas[..., i]
        route = None if masks.routing is None else masks.routing[..., i]
        if known_output is None and (share is not None or route is not None):
            known_output = original()
        out = self._write(site, masks.apply(i, h), share, known_output)
        return out if route is None or known_output is None else choose_rows(route, out, known_output)

    def _write(self, site: Site, kept: Tensor, share: Tensor | None, known_output: Rows | None) -> Rows:
        bias = None if site.is_identity else self.target.bias(site.module)
        if site.lazy_output:
            products = known_output.products if isinstance(known_output, FactoredRows) else Products()
            out = FactoredRows(((kept, self.u(site.name)),), products)
            return (
                out if share is None or not isinstance(known_output, FactoredRows) else out + known_output.scaled(share)
            )
        dense = kept @ self.u(site.name)
        if share is not None and known_output is not None:
            dense = dense + share.unsqueeze(-1) * written_out(known_output)
        if bias is None:
            return dense
        offset = _over_rows(bias, dense, self.run_dims)
        return dense + (offset if share is None else (1 - share.unsqueeze(-1)) * offset)


def _unchanged(x: Rows) -> Rows:
    return x


def _named(name: str, factors: tuple[Tensor, Tensor]) -> list[tuple[str, Tensor]]:
    return [(f"{name}.V", factors[0].detach().clone()), (f"{name}.U", factors[1].detach().clone())]


def _flat(x: Rows, run_dims: int) -> Rows:
    """Flatten batch and position into rows."""
    if isinstance(x, FactoredRows) or not x.is_floating_point() or x.dim() <= run_dims + 2:
        return x
    return x.flatten(run_dims, -2)


def _over_rows(bias: Tensor, rows: Tensor, run_dims: int) -> Tensor:
    """Give a bias the dimensions of the rows it is added to."""
    missing = rows.dim() - bias.dim()
    return bias.reshape(*bias.shape[:run_dims], *([1] * missing), *bias.shape[run_dims:])
