"""Scores of explanations as text: fluency, facts, variety, and what they say together about the bottleneck.

Axes: n rows, m training rows, f facts.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from interp_plugins.methods.lens.contract import Explanation
from interp_plugins.methods.lens.evaluation.collapse import Variety, variety, verdicts
from interp_plugins.methods.lens.evaluation.facts import KnowsFacts, Naming, named_facts, naming, top_facts
from interp_plugins.methods.lens.evaluation.fluency import TextLoss, own_texts, text_loss
from interp_plugins.methods.lens.evaluation.interventions import Case, Spoken
from interp_plugins.methods.lens.evaluation.linear import Ridge
from interp_plugins.methods.lens.evaluation.resampling import Estimate, mean_estimate, ratio_estimate

__all__ = ["Example", "Facts", "TextScores", "base_texts", "text_scores"]

_BASE_TEXTS = 512
_EXAMPLES = 8
_CONTEXT = 12


@dataclass(frozen=True)
class Facts:
    """What a data set knows of the rows, and a linear probe for it."""

    dataset: KnowsFacts
    true: Bool[Tensor, "n f"]
    """Facts that hold of the rows."""
    probe: Ridge
    """Fitted on training rows: activation to an estimate for every fact."""


@dataclass(frozen=True)
class Example:
    """One explanation beside what it is about."""

    context: str
    """The last tokens of the text up to the row's own."""
    next_token: str
    """The text's next token."""
    explanation: str
    right: tuple[str, ...] = ()
    """Facts that it names and that hold."""
    wrong: tuple[str, ...] = ()
    """Facts that it names and that do not hold."""


@dataclass(frozen=True)
class TextScores:
    """How explanations fare as text."""

    nll: Estimate
    """Nats per token under the base model after BOS."""
    base_nll: float
    """The same of the base model's own texts of as many tokens."""
    said: Variety
    facts: Mapping[str, Estimate]
    """Shares of facts; empty where the data set knows none."""
    verdicts: list[str]
    examples: list[Example] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Numbers with their intervals, verdicts and examples."""
        return {
            "explanation_nll": self.nll.to_json(),
            "base_nll": self.base_nll,
            **asdict(self.said),
            "facts": {name: value.to_json() for name, value in self.facts.items()},
            "verdicts": self.verdicts,
            "examples": [asdict(example) for example in self.examples],
        }


def base_texts(case: Case, n_tokens: int) -> TextLoss:
    """Surprisal of texts of ``n_tokens`` tokens that the base model writes itself."""
    return text_loss(case.model, own_texts(case.model, _BASE_TEXTS, n_tokens, case.seed))


def text_scores(case: Case, said: Spoken, fve: float, facts: Facts | None, n_resamples: int = 1000) -> TextScores:
    """Score a lens's explanations of a case's rows.

    Args:
        case: The rows.
        said: One explanation per row.
        fve: What the explanations explain, for the verdicts.
        facts: What the data set knows; None where it knows nothing.
        n_resamples: Resamples of the intervals.
    """
    documents = case.rows.documents
    losses = text_loss(case.model, [one.token_ids for one in said.explanations])
    nll = ratio_estimate(losses.nats, losses.n_tokens, documents, n_resamples=n_resamples, seed=case.seed)
    base_nll = base_texts(case, said.n_tokens).per_token
    shares = {} if facts is None else _fact_shares(case, said, facts, n_resamples)
    gain = shares.get("gain")
    above = None if gain is None else gain.low > 0
    much = variety(said.explanations)
    wrong = verdicts(fve=fve, nll=nll.value, base_nll=base_nll, facts_above_chance=above, said=much)
    return TextScores(nll, base_nll, much, shares, wrong, _examples(case, said, facts))


def _fact_shares(case: Case, said: Spoken, facts: Facts, n_resamples: int) -> dict[str, Estimate]:
    """Recall and precision of explanations, of those of other rows, and of the probe."""
    named = named_facts(facts.dataset, [one.text for one in said.explanations])
    own, other = naming(named, facts.true), naming(named[case.partner], facts.true)
    scores = facts.probe(case.activations)
    budget = torch.full((len(named),), min(said.n_tokens, named.shape[1]))
    equal, bound = (naming(top_facts(scores, counts), facts.true) for counts in (named.sum(1), budget))
    documents = case.rows.documents

    def share(top: Float[Tensor, "n"], bottom: Float[Tensor, "n"]) -> Estimate:
        return ratio_estimate(top, bottom, documents, n_resamples=n_resamples, seed=case.seed)

    def both(name: str, counts: Naming) -> dict[str, Estimate]:
        return {
            f"{name}recall": share(counts.right, counts.holding),
            f"{name}precision": share(counts.right, counts.named),
        }

    return {
        "named": mean_estimate(own.named, documents, n_resamples=n_resamples, seed=case.seed),
        **both("", own),
        **both("other_", other),
        **both("probe_", equal),
        **both("bound_", bound),
        "gain": share(own.right - other.right, own.holding),
    }


def _examples(case: Case, said: Spoken, facts: Facts | None) -> list[Example]:
    rows = range(min(_EXAMPLES, len(said.explanations)))
    return [_example(case, row, said.explanations[row], facts) for row in rows]


def _example(case: Case, row: int, one: Explanation, facts: Facts | None) -> Example:
    ids: list[int] = case.rows.token_ids[row, : int(case.rows.lengths[row])].tolist()
    here = int(case.rows.positions[row])
    decode = case.model.tokenizer.decode
    context = str(decode(ids[max(0, here + 1 - _CONTEXT) : here + 1]))
    following = str(decode(ids[here + 1 : here + 2]))
    if facts is None:
        return Example(context, following, one.text)
    names = list(facts.dataset.fact_words)
    said = named_facts(facts.dataset, [one.text])[0].nonzero()[:, 0]
    holds = facts.true[row, said].tolist()
    named = [names[i] for i in said.tolist()]
    right = tuple(name for name, true in zip(named, holds, strict=True) if true)
    wrong = tuple(name for name, true in zip(named, holds, strict=True) if not true)
    return Example(context, following, one.text, right, wrong)
