"""The two ways in which a text bottleneck fails while one of its numbers looks good, and signs of repetition."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from interp_plugins.methods.lens.contract import Explanation

__all__ = ["EMPTY_FVE", "EMPTY_NLL", "PRIVATE_FVE", "PRIVATE_NLL", "Variety", "variety", "verdicts"]

PRIVATE_FVE, PRIVATE_NLL = 0.2, 1.0
"""A private code: at least this FVE, and text more than this many nats per token above the base model's own."""
EMPTY_FVE, EMPTY_NLL = 0.05, 0.2
"""Fluent but empty: an FVE below this, and text less than this many nats per token above the base model's own."""
_FEW_DISTINCT, _ONE_TOKEN = 0.02, 0.5


@dataclass(frozen=True)
class Variety:
    """How much explanations differ from each other."""

    distinct: float
    """Different explanations over all explanations, in (0, 1]."""
    most_common_token: float
    """Share of the most common token among all tokens, in (0, 1]."""
    token_entropy: float
    """Entropy of the tokens' frequencies, nats."""


def variety(explanations: Sequence[Explanation]) -> Variety:
    """How much explanations differ from each other; NaN without tokens."""
    texts = {(one.text, one.token_ids) for one in explanations}
    counts = Counter(token for one in explanations for token in one.token_ids)
    total = counts.total()
    if not total:
        return Variety(len(texts) / len(explanations) if explanations else math.nan, math.nan, math.nan)
    shares = [count / total for count in counts.values()]
    return Variety(len(texts) / len(explanations), max(shares), -math.fsum(p * math.log(p) for p in shares))


def verdicts(
    *, fve: float, nll: float, base_nll: float, facts_above_chance: bool | None = None, said: Variety | None = None
) -> list[str]:
    """What is wrong with a text bottleneck, in words; empty when nothing is.

    Args:
        fve: Fraction of variance explained.
        nll: Nats per token of the explanations under the base model.
        base_nll: Nats per token of the base model's own texts of that length. The loss on a corpus is no substitute: it is far lower, and
            emptiness would never be noticed.
        facts_above_chance: Whether explanations name more of their own scene's facts than those of another row; None when not known.
        said: How much the explanations differ.
    """
    found: list[str] = []
    if fve >= PRIVATE_FVE and nll > base_nll + PRIVATE_NLL:
        found.append(
            f"private code: FVE {fve:.2f}, but the text costs the base model {nll - base_nll:.1f} nats per token more"
        )
    if fve >= PRIVATE_FVE and facts_above_chance is False:
        found.append(f"private code: FVE {fve:.2f}, but the words name no more facts than those of another row")
    if fve < EMPTY_FVE and nll < base_nll + EMPTY_NLL:
        found.append(f"fluent but empty: text as likely as the base model's own, FVE {fve:.2f}")
    if said is not None and (said.distinct < _FEW_DISTINCT or said.most_common_token > _ONE_TOKEN):
        found.append(
            f"repetition: {said.distinct:.1%} of the explanations differ, one token makes up {said.most_common_token:.0%}"
        )
    return found
