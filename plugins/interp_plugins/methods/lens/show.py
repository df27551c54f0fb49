"""The stage ``lens show``: one text through a lens."""

import re
from collections.abc import Sequence
from typing import Any

from interp_plugins.methods.lens.choices import LensConfig
from interp_plugins.methods.lens.config import ShowConfig
from interp_plugins.methods.lens.contract import Explains, Explanation, Lens, ReadsOut
from interp_plugins.methods.lens.dump import choose_layers
from interp_plugins.methods.lens.dumped import DumpOutline
from interp_plugins.methods.lens.loading import load_frozen
from interp_plugins.methods.lens.parts import Parts
from interp_plugins.methods.lens.patchscope import patchscope
from interp_plugins.methods.lens.positions import Positions
from interp_plugins.methods.lens.stored import load_lens
from interp_plugins.methods.lens.trajectory import MEASURES, Text, read_text, trajectory
from interp_registry.choices import choice_names
from interp_registry.contracts.method import Result, RunContext
from interp_registry.errors import UnknownNameError, UsageError
from interp_registry.figures import Figure, Table

__all__ = ["chosen_positions", "open_lens", "run"]


def run(config: ShowConfig, ctx: RunContext) -> Result:
    """Show what a lens reads in a text.

    Predictions at every layer and token for lenses that read out, explanations of chosen tokens for those that explain, and, when asked
    for, what the model says of the activations in another prompt.

    Raises:
        UsageError: There is no such lens, layer or token.
    """
    model = load_frozen(config.model, config.loading, config.kind, ctx.device)
    parts = Parts(model)
    lens, name = open_lens(config.lens, parts, ctx)
    layers = _layers(config.layers, lens, parts)
    text = read_text(parts, config.text, layers)
    positions = chosen_positions(config.positions, len(text.tokens))
    result = Result(scalars={"lens": name, "model": config.model, "tokens": len(text.tokens)})
    if isinstance(lens, ReadsOut):
        _add_predictions(result, lens, parts, text, layers, config.top)
    if isinstance(lens, Explains):
        result.tables.append(_explanations(lens, text, layers, positions, config, ctx.seed))
    if config.patchscope:
        result.tables.append(_patchscopes(parts, text, layers, positions, config))
    if not result.tables and not result.figures:
        raise UsageError(f"a {name} lens neither predicts nor explains", "look at it with --patchscope")
    return result


def open_lens(name: str, parts: Parts, ctx: RunContext | None = None) -> tuple[Lens, str]:
    """A stored lens, or a method that needs no training; with the name of its method.

    Raises:
        UsageError: Nothing of that name is there.
        UnknownNameError: The same, and the word looks like a method's name.
    """
    from interp_plugins.methods.lens.stored import find_lens

    if name in choice_names(LensConfig):
        config: Any = LensConfig.get_choice_class(name)()
        outline = DumpOutline(tuple(range(parts.n_layers + 1)), parts.width)
        lens: Lens = config.build(parts.model, outline)
        if lens.weights() or not isinstance(lens, ReadsOut):
            raise UsageError(f"a {name} lens has to be trained first", f"interp lens train {name}, then give that run")
        return lens, name
    try:
        find_lens(name, ctx)
    except UsageError:
        if re.fullmatch(r"[a-z_-]+", name):
            raise UnknownNameError("lens", name, choice_names(LensConfig)) from None
        raise
    stored = load_lens(name, parts.model, ctx)
    return stored.lens, stored.method


def chosen_positions(spec: str, n_tokens: int) -> list[int]:
    """Token positions of one text: ``all``, ``last``, ``every:N``, or numbers that may count from the end: ``3,-1``.

    Raises:
        UsageError: There is no such token.
    """
    if not re.fullmatch(r"-?\d+(,-?\d+)*", spec):
        return Positions.parse(spec).of(n_tokens, seed=0, document=0)
    numbers = [int(number) for number in spec.split(",")]
    for number in numbers:
        if not -n_tokens <= number < n_tokens:
            raise UsageError(f"there is no token {number}", f"the text has {n_tokens}, counted from 0")
    return [number % n_tokens for number in numbers]


def _layers(choice: str, lens: Lens, parts: Parts) -> tuple[int, ...]:
    """The chosen layers that the lens takes."""
    if choice == "all":
        return tuple(lens.layers)
    chosen = choose_layers(choice, parts.n_layers)
    missing = [layer for layer in chosen if layer not in lens.layers]
    if missing:
        raise UsageError(f"the lens has no layer {missing[0]}", f"it has {', '.join(map(str, lens.layers))}")
    return chosen


def _add_predictions(result: Result, lens: Lens, parts: Parts, text: Text, layers: Sequence[int], top: int) -> None:
    found = trajectory(lens, parts, text, layers, top)
    figures: list[Figure] = [found.figure(measure) for measure in MEASURES]
    result.figures += figures
    result.data["layers"], result.data["text_tokens"] = list(layers), list(text.tokens)
    result.data["predictions"] = [
        [[{"token": token, "probability": value} for token, value in cell] for cell in row] for row in found.candidates
    ]
    result.data["measures"] = {name: values.tolist() for name, values in found.measures.items()}


def _explanations(
    lens: Explains, text: Text, layers: Sequence[int], positions: Sequence[int], config: ShowConfig, seed: int
) -> Table:
    records: list[dict[str, Any]] = []
    for layer in layers:
        activations = text.activations[layer][list(positions)].float()
        greedy = lens.explain(activations, layer)
        more: list[list[Explanation]] = (
            lens.explain(activations, layer, samples=config.samples - 1, temperature=1.0, seed=seed)
            if config.samples > 1
            else []
        )
        for row, position in enumerate(positions):
            for place, one in enumerate(greedy[row] + (more[row] if more else [])):
                records.append({
                    "layer": layer, "position": position, "token": text.tokens[position],
                    "sample": "greedy" if place == 0 else str(place), "explanation": one.text,
                })  # fmt: skip
    return Table.of_records(records, title="Explanations", name="explanations")


def _patchscopes(
    parts: Parts, text: Text, layers: Sequence[int], positions: Sequence[int], config: ShowConfig
) -> Table:
    targets = choose_layers(config.patch.layers, parts.n_layers) if config.patch.layers else ()
    records: list[dict[str, Any]] = []
    for position in positions:
        for source in layers:
            for target in targets or (source,):
                activation = text.activations[source][position]
                said = patchscope(parts, activation, target, config.patch.prompt, config.patch.tokens)
                records.append({
                    "position": position, "token": text.tokens[position], "from layer": source, "into layer": target,
                    "continuation": said,
                })  # fmt: skip
    title = f"Activations in place of the last token of {config.patch.prompt!r}"
    return Table.of_records(records, title=title, name="patchscope")
