"""What image-text data sets share: rows that are decoded when asked for, tags, groups and a check of the captions."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from interp_plugins.datasets.paths import readable
from interp_registry.contracts.data import Dataset, Subset
from interp_registry.errors import DataError

__all__ = ["RowDataset", "RowSubset", "check_captions"]

MIN_MEAN_WORDS = 2.0
MIN_UNIQUE = 0.05


def check_captions(name: str, captions: Sequence[Any]) -> None:
    """Check that captions are texts, that they have words, and that they differ.

    A column read wrongly (first letters in place of captions, one caption for all) gives scores at chance that look like results.

    Raises:
        DataError: A caption is no text or empty or holds half a character, the
            mean number of words is below 2, or fewer than one in twenty differ.
    """
    if not captions:
        raise DataError(f"{name} has no captions")
    wrong = [caption for caption in captions if not isinstance(caption, str) or not caption.strip()]
    if wrong:
        raise DataError(
            f"{name}: {str(wrong[0])[:60]!r} is no caption", "every caption must be a text that is not empty"
        )
    for caption in captions:
        readable(caption, name)
    mean = sum(len(caption.split()) for caption in captions) / len(captions)
    if mean < MIN_MEAN_WORDS:
        raise DataError(
            f"{name}: captions have {mean:.2f} words on average, e.g. {captions[0][:60]!r}; expected at least 2",
            "the caption column is read wrongly, or these are class names: use a classification data set",
        )
    unique = len(set(captions)) / len(captions)
    if len(captions) >= 20 and unique < MIN_UNIQUE:
        raise DataError(
            f"{name}: {unique:.1%} of the captions differ, e.g. {captions[0][:60]!r}; expected at least {MIN_UNIQUE:.0%}",
            "retrieval among captions that are all the same means nothing",
        )


class RowDataset(Dataset):
    """Rows that are turned into samples when asked for.

    Args:
        name: Short name.
        rows: What is known of each sample without decoding its image.
        decode: Row number and row to sample.
        fingerprint: Digest; default: over all samples.
        captions: One list of captions per row where they are known; checked, and used for texts without decoding images.

    Attributes:
        tags: Categories that results are broken down by: name -> one value per sample.
        groups: Samples that count only together: name -> one key per sample, empty for none.
        answers: Class or right option of every sample, where they are known without decoding images; else empty.
    """

    modalities = frozenset({"language", "vision"})

    def __init__(
        self,
        name: str,
        rows: Sequence[Any],
        decode: Callable[[int, Any], Any],
        *,
        fingerprint: str | None = None,
        captions: Sequence[Sequence[str]] | None = None,
    ) -> None:
        if not len(rows):
            raise DataError(f"{name} has no samples", "look at its folder, split and limit")
        self.name, self._rows, self._decode, self._digest = name, rows, decode, fingerprint
        self.tags: dict[str, list[str]] = {}
        self.groups: dict[str, list[str]] = {}
        self.answers: Sequence[int] = ()
        self._captions = captions
        if captions is not None:
            check_captions(name, [caption for of_row in captions for caption in of_row])

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> Any:
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        return self._decode(index % len(self), self._rows[index])

    @property
    def fingerprint(self) -> str:
        """Digest that changes when any sample does."""
        if self._digest is None:
            self._digest = super().fingerprint
        return self._digest

    def captions_of(self, index: int) -> tuple[str, ...]:
        """All captions of a sample, without decoding its image where they are known."""
        return super().captions_of(index) if self._captions is None else tuple(self._captions[index])

    def select(self, n: int | None = None, seed: int | None = None) -> Dataset:
        """The first ``n`` samples, shuffled with ``seed``; tags and groups go with them."""
        chosen = super().select(n, seed)
        return RowSubset(self, chosen.rows) if isinstance(chosen, Subset) else chosen


class RowSubset(Subset):
    """Some samples of a `RowDataset` with their tags; groups that are no longer complete are emptied."""

    def __init__(self, parent: RowDataset, rows: Sequence[int]) -> None:
        super().__init__(parent, rows)
        self.tags = {name: [values[row] for row in self.rows] for name, values in parent.tags.items()}
        self.groups = {name: self._complete(keys) for name, keys in parent.groups.items()}
        self.templates = getattr(parent, "templates", ())
        self.answers = [parent.answers[row] for row in self.rows] if parent.answers else ()

    def _complete(self, keys: Sequence[str]) -> list[str]:
        before, kept = Counter(keys), [keys[row] for row in self.rows]
        after = Counter(kept)
        return [key if after[key] == before[key] else "" for key in kept]
