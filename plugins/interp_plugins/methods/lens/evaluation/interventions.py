"""What is put in an activation's place: baselines that need no lens, and what lenses make of it, by what they can do.

Axes: n rows, d width, t tokens, k samples.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from interp_plugins.methods.lens.contract import Explains, Explanation, Lens, ReadsOut, ReadsText, Reconstructs
from interp_plugins.methods.lens.dumped import Rows
from interp_plugins.methods.lens.evaluation.linear import LinearBottleneck, Ridge, comparable_rank, token_features
from interp_plugins.methods.lens.evaluation.measures import squared_errors
from interp_plugins.models.language import CausalLanguageModel
from interp_registry.errors import DataError
from interp_registry.tensors.seeding import generator

__all__ = [
    "CONTEXT",
    "IDENTITY",
    "LINEAR",
    "MEAN",
    "OTHER",
    "OTHER_EXPLANATION",
    "RECONSTRUCTION",
    "SHUFFLED",
    "TOKEN_SET",
    "ZERO",
    "BestOf",
    "Case",
    "Spoken",
    "baselines",
    "best_of",
    "expected_best",
    "lens_interventions",
    "partners",
    "spoken",
]

IDENTITY, ZERO, MEAN, OTHER, LINEAR = "identity", "zero", "mean", "another activation", "linear bottleneck"
RECONSTRUCTION, TOKEN_SET, CONTEXT = "reconstruction", "token set", "context tokens"
SHUFFLED, OTHER_EXPLANATION = "shuffled explanation", "another explanation"
_TOKEN_SET_PENALTY = 1e-3


@dataclass(frozen=True)
class Case:
    """One layer's rows to evaluate, and what baselines are fitted on."""

    model: CausalLanguageModel
    layer: int
    rows: Rows
    """Rows to evaluate."""
    activations: Float[Tensor, "n d"]
    """Their activations in the model as it runs now, float32."""
    training: Float[Tensor, "m d"]
    """Activations of training rows."""
    mean: Float[Tensor, "d"]
    """Mean of the training rows."""
    partner: Int[Tensor, "n"]
    """Another row, of another document, for each row."""
    seed: int


@dataclass(frozen=True)
class Spoken:
    """What a lens says about the rows of a case."""

    explanations: list[Explanation]
    """One greedy explanation per row."""

    @property
    def n_tokens(self) -> int:
        """Tokens of the longest explanation, at least 1."""
        return max([1, *(len(one.token_ids) for one in self.explanations)])


@dataclass(frozen=True)
class BestOf:
    """What sampling several explanations and keeping the best gains."""

    expected_errors: Float[Tensor, "n k"]
    """Expected squared error of the best of 1 .. k samples."""
    best: Float[Tensor, "n d"]
    """Reconstruction of smallest error among all k samples."""


def partners(documents: Int[Tensor, "n"], seed: int) -> Int[Tensor, "n"]:
    """For every row the number of a row of another document, each row taken once.

    Rows are put in a random order of their documents and shifted by the size of the largest document.

    Raises:
        DataError: One document has more than half of the rows.
    """
    names, owner, counts = documents.unique(return_inverse=True, return_counts=True)
    shift = int(counts.max())
    if 2 * shift > len(documents):
        raise DataError(
            f"{len(documents)} rows of {len(names)} texts cannot be paired across texts", "evaluate more texts"
        )
    place = torch.randperm(len(names), generator=generator(seed, "partners"))
    order = place[owner].argsort(stable=True)
    result = torch.empty_like(order)
    result[order] = order.roll(-shift)
    return result


def baselines(case: Case, n_tokens: int) -> dict[str, Float[Tensor, "n d"]]:
    """Replacements that need no lens.

    Args:
        case: The rows.
        n_tokens: The linear bottleneck holds as many bits as this many tokens.
    """
    vocabulary = case.model.unembedding.shape[0]
    bottleneck = LinearBottleneck.fit(case.training, comparable_rank(n_tokens, vocabulary))
    return {
        IDENTITY: case.activations,
        ZERO: torch.zeros_like(case.activations),
        MEAN: case.mean.float().expand_as(case.activations),
        OTHER: case.activations[case.partner],
        LINEAR: bottleneck(case.activations),
    }


def spoken(lens: Lens, case: Case) -> Spoken | None:
    """The lens's greedy explanations; None when it does not explain."""
    if not isinstance(lens, Explains):
        return None
    return Spoken([of_row[0] for of_row in lens.explain(case.activations, case.layer, seed=case.seed)])


def lens_interventions(lens: Lens, case: Case, said: Spoken | None, n_tokens: int) -> dict[str, Float[Tensor, "n d"]]:
    """What the lens makes of each row, by what it can do.

    Args:
        lens: A lens that works at the case's layer.
        case: The rows.
        said: Its explanations, where it explains.
        n_tokens: Tokens of a readout's token set.
    """
    found: dict[str, Tensor] = {}
    if isinstance(lens, Reconstructs):
        found[RECONSTRUCTION] = lens.reconstruct(case.activations, case.layer)
    if isinstance(lens, ReadsOut):
        found[TOKEN_SET] = _token_set(lens, case, n_tokens)
    if isinstance(lens, ReadsText):
        found[CONTEXT] = _context(lens, case, n_tokens if said is None else said.n_tokens)
        if said is not None:
            shuffled = [_shuffled(one, case, row) for row, one in enumerate(said.explanations)]
            found[SHUFFLED] = lens.read_text(shuffled, case.layer)
            others = [said.explanations[row] for row in case.partner.tolist()]
            found[OTHER_EXPLANATION] = lens.read_text(others, case.layer)
            if RECONSTRUCTION not in found:
                found[RECONSTRUCTION] = lens.read_text(said.explanations, case.layer)
    return {name: values.detach().float().cpu() for name, values in found.items()}


def best_of(lens: Lens, case: Case, n_samples: int, temperature: float = 1.0) -> BestOf | None:
    """Sample explanations and reconstruct from each; None when the lens does not both explain and read."""
    if not (isinstance(lens, Explains) and isinstance(lens, ReadsText)) or n_samples < 2:
        return None
    samples = lens.explain(case.activations, case.layer, samples=n_samples, temperature=temperature, seed=case.seed)
    read: Callable[[Sequence[Explanation], int], Tensor] = lens.read_text
    made = torch.stack(
        [read([of_row[k] for of_row in samples], case.layer).detach().float().cpu() for k in range(n_samples)], 1
    )
    errors = torch.stack([squared_errors(case.activations, made[:, k]) for k in range(n_samples)], 1)
    best = made[torch.arange(len(made)), errors.argmin(1)]
    return BestOf(expected_best(errors), best)


def expected_best(errors: Float[Tensor, "n k"]) -> Float[Tensor, "n k"]:
    """Expected smallest error of j of the k samples drawn without replacement, for j = 1 .. k; exact.

    With errors in rising order ``sum_i C(k - i, j - 1) / C(k, j) e_i``. Column 0 is the mean, the last one the minimum.
    """
    k = errors.shape[1]
    weights = torch.tensor(
        [[math.comb(k - 1 - i, j - 1) / math.comb(k, j) for j in range(1, k + 1)] for i in range(k)],
        dtype=torch.float64,
    )
    return errors.double().sort(1).values @ weights


def _token_set(lens: ReadsOut, case: Case, n_tokens: int) -> Float[Tensor, "n d"]:
    """Ridge regression from the readout's most likely tokens, fitted on training rows."""
    unembedding = case.model.unembedding.detach()

    def features(activations: Tensor) -> Tensor:
        parts = [lens.readout(part, case.layer).detach() for part in activations.split(512)]
        return torch.cat([token_features(part, unembedding, n_tokens).cpu() for part in parts])

    ridge = Ridge.fit(features(case.training), case.training, _TOKEN_SET_PENALTY)
    return ridge(features(case.activations))


def _context(lens: ReadsText, case: Case, n_tokens: int) -> Float[Tensor, "n d"]:
    """The last tokens of the text up to the row's own as if they were the explanation; fewer at the beginning of a text."""
    found = torch.empty_like(case.activations)
    lengths = (case.rows.positions + 1).clamp_max(n_tokens)
    for length in lengths.unique().tolist():
        here = (lengths == length).nonzero()[:, 0]
        columns = case.rows.positions[here][:, None] + torch.arange(1 - length, 1)
        tokens = case.rows.token_ids[here].gather(1, columns)
        found[here] = lens.read_tokens(tokens, case.layer).detach().float().cpu()
    return found


def _shuffled(one: Explanation, case: Case, row: int) -> Explanation:
    """The explanation with its tokens in a random order."""
    order = torch.randperm(len(one.token_ids), generator=generator(case.seed, "shuffled explanation", row))
    tokens = tuple(one.token_ids[i] for i in order.tolist())
    return Explanation(str(case.model.tokenizer.decode(list(tokens))), tokens, parsed=one.parsed)
