"""The lens ``nla``: activation -> explanation -> activation through two language models.

Axes: n rows, t tokens, d width.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from interp_plugins.methods.lens.contract import Explanation
from interp_plugins.methods.lens.nla.building import new_reconstructor, new_verbaliser
from interp_plugins.methods.lens.nla.config import NlaConfig
from interp_plugins.methods.lens.nla.reconstructor import Reconstructor
from interp_plugins.methods.lens.nla.verbaliser import Verbaliser
from interp_plugins.models.language import CausalLanguageModel
from interp_registry.errors import DataError, UsageError
from interp_registry.stores.artifact import make_folder, whole_folder

if TYPE_CHECKING:
    from interp_plugins.methods.lens.dumped import Dump, Source
    from interp_registry.training.config import TrainingConfig
    from interp_registry.training.loop import Trainable

__all__ = ["NlaLens", "build"]


def build(config: NlaConfig, model: CausalLanguageModel, dump: "Source") -> "NlaLens":
    """The lens for a model and the activations that it learns from.

    Raises:
        UsageError: The layer was not dumped, or is the embeddings.
        DataError: A released checkpoint does not fit the model or itself.
    """
    network: Any = model.module
    reading = Reconstructor.load(Path(config.reconstructor), dtype=network.dtype) if config.reconstructor else None
    layer = _layer(config, dump, reading)
    statistics = dump.statistics(layer)
    if config.verbaliser:
        writing = Verbaliser.load(Path(config.verbaliser), scale=config.injection_scale, dtype=network.dtype)
    else:
        writing = new_verbaliser(network, model.tokenizer, config, layer, statistics.mean_norm)
    reading = reading or new_reconstructor(network, model.tokenizer, config, layer)
    lens = NlaLens(config, writing, reading, layer, statistics.mean_norm)
    lens.to(model.device)
    return lens


def _layer(config: NlaConfig, dump: "Source", reading: Reconstructor | None) -> int:
    """The layer of the checkpoint, the one that was asked for, or the middle one."""
    stated = reading.layer if reading is not None else None
    if stated is not None and config.layer not in (None, stated):
        raise UsageError(
            f"layer {config.layer} was asked for, the reconstructor {config.reconstructor} is for layer {stated}",
            f"its layer index K = {stated - 1} is the output of block K, which is layer K + 1 here",
        )
    above = [layer for layer in dump.layers if layer > 0]
    if not above:
        raise UsageError("only the embeddings were dumped", "dump a layer of 1 or more")
    layer = stated or (config.layer if config.layer is not None else above[(len(above) - 1) // 2])
    if layer < 1:
        raise UsageError(f"layer {layer} has no block before it", "choose a layer of 1 or more")
    if layer not in dump.layers:
        raise UsageError(f"layer {layer} was not dumped", f"dumped are {', '.join(map(str, dump.layers))}")
    return layer


class NlaLens:
    """Explains activations of one layer, and reads explanations back; see `interp_plugins.methods.lens.contract`.

    Only the direction of a reconstruction is learned. :meth:`reconstruct` and :meth:`read_text` give it the mean length of the layer's
    activations.

    Args:
        config: Length of explanations, training.
        verbaliser: Activation -> text.
        reconstructor: Text -> activation.
        layer: Layer of the activations.
        length: Length that reconstructions get.

    Raises:
        DataError: The halves are for different layers or widths.
    """

    def __init__(
        self, config: NlaConfig, verbaliser: Verbaliser, reconstructor: Reconstructor, layer: int, length: float
    ) -> None:
        stated = verbaliser.sidecar.layer
        if stated is not None and stated != reconstructor.layer:
            raise DataError(
                f"{verbaliser.sidecar.path}: the verbaliser is for layer {stated}, the reconstructor for layer "
                f"{reconstructor.layer}",
                "take two halves of the same release",
            )
        if verbaliser.sidecar.d_model != reconstructor.sidecar.d_model:
            raise DataError(
                f"the verbaliser reads vectors of width {verbaliser.sidecar.d_model}, the reconstructor gives "
                f"{reconstructor.sidecar.d_model}"
            )
        self.config, self.verbaliser, self.reconstructor = config, verbaliser, reconstructor
        self.layer, self.length = layer, length
        self._own = not (config.verbaliser and config.reconstructor)
        for network in (verbaliser.network, reconstructor.reader):
            network.requires_grad_(requires_grad=False)
            network.eval()

    @property
    def layers(self) -> tuple[int, ...]:
        """The one layer that it was made for."""
        return (self.layer,)

    def to(self, device: torch.device) -> None:
        """Move both networks."""
        for network in self.modules().values():
            network.to(device)

    def modules(self) -> dict[str, nn.Module]:
        """Both networks by name."""
        return {"verbaliser": self.verbaliser.network, "reconstructor": self.reconstructor.reader}

    def weights(self) -> Mapping[str, Tensor]:
        """All weights of both networks; none for released checkpoints that were not trained further."""
        if not self._own:
            return {}
        return {
            f"{name}.{key}": value
            for name, network in self.modules().items()
            for key, value in network.state_dict().items()
        }

    def load_weights(self, weights: Mapping[str, Tensor]) -> None:
        """Take over what :meth:`weights` returned.

        Raises:
            DataError: Names or shapes are not those of this lens.
        """
        if not weights and not self._own:
            return
        self._own = True
        for name, network in self.modules().items():
            part = {key.removeprefix(f"{name}."): v for key, v in weights.items() if key.startswith(f"{name}.")}
            try:
                network.load_state_dict(part)
            except RuntimeError as err:
                raise DataError(
                    f"the weights are not those of this {name}: {str(err).splitlines()[-1].strip()}"
                ) from err

    def describe(self) -> Mapping[str, Any]:
        """Method, layer, prompts and sizes."""
        writing, reading = self.verbaliser.sidecar, self.reconstructor.sidecar
        sizes = {name: sum(p.numel() for p in network.parameters()) for name, network in self.modules().items()}
        return {
            "method": "nla",
            "layers": list(self.layers),
            "parameters": sum(sizes.values()),
            "sizes": sizes,
            "prompt": writing.prompt,
            "marker": writing.tokens.char if writing.tokens else None,
            "reading": reading.reading,
            "injection_scale": writing.injection_scale,
            "explanations": "plain" if writing.plain else "in <explanation> tags",
        }

    def explain(
        self,
        activations: Float[Tensor, "n d"],
        layer: int,
        *,
        samples: int = 1,
        temperature: float = 0.0,
        seed: int = 0,
    ) -> list[list[Explanation]]:
        """``samples`` explanations of each row; greedy at temperature 0.

        Raises:
            UsageError: The lens is for another layer.
        """
        self._check(layer)
        return self.verbaliser.explain(
            activations, self.config.max_tokens, samples=samples, temperature=temperature, seed=seed
        )

    @torch.no_grad()
    def read_text(self, explanations: Sequence[Explanation], layer: int) -> Float[Tensor, "n d"]:
        """The activation that each explanation stands for."""
        self._check(layer)
        return self._scaled(self.reconstructor.read([explanation.text for explanation in explanations]))

    @torch.no_grad()
    def read_tokens(self, token_ids: Int[Tensor, "n t"], layer: int) -> Float[Tensor, "n d"]:
        """The same from tokens of the verbaliser; special ones are left out."""
        self._check(layer)
        texts = self.verbaliser.tokenizer.batch_decode(token_ids.tolist(), skip_special_tokens=True)
        return self._scaled(self.reconstructor.read([str(text) for text in texts]))

    def reconstruct(self, activations: Float[Tensor, "n d"], layer: int) -> Float[Tensor, "n d"]:
        """The activations after a detour through their greedy explanations."""
        explained = self.explain(activations, layer)
        return self.read_text([first for first, *_ in explained], layer)

    def trainable(self, dump: "Dump", training: "TrainingConfig", seed: int) -> "Trainable":
        """What trains both networks: warm start, then GRPO."""
        from interp_plugins.methods.lens.nla.training import NlaTraining

        self._own = True
        return NlaTraining(self, dump, training, seed)

    def save(self, folder: Path) -> list[Path]:
        """Write both halves as released checkpoints have them; see `Verbaliser.load` and `Reconstructor.load`.

        Raises:
            UsageError: Folders of these names are there with files that are no part of a checkpoint.
        """
        make_folder(folder)
        halves = {folder / "av": self.verbaliser, folder / "ar": self.reconstructor}
        for final, half in halves.items():
            with whole_folder(final) as fresh:
                half.save(fresh)
                _keep_others(final, fresh)
        return list(halves)

    def _scaled(self, vectors: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        return vectors * (self.length / vectors.norm(dim=-1, keepdim=True).clamp_min(torch.finfo(vectors.dtype).tiny))

    def _check(self, layer: int) -> None:
        if layer != self.layer:
            raise UsageError(f"the lens is for layer {self.layer}, not for layer {layer}")


def _keep_others(final: Path, fresh: Path) -> None:
    if not final.is_dir():
        return
    others = sorted({path.name for path in final.iterdir()} - {path.name for path in fresh.iterdir()})
    if others:
        raise UsageError(f"{final} holds {others[0]!r}, which would be lost", "choose another folder, or remove it")
