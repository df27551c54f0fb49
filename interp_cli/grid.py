"""Columns of text that fit a terminal: words, names and numbers stay whole as long as there is room for them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions
from rich.table import Table
from rich.text import Text

__all__ = ["Grid"]

_GAP = 2
_SHORT = 12


@dataclass(frozen=True)
class Grid:
    """A table that is as wide as the console at most.

    Text is folded between words. Where that is not enough, the columns of numbers that do not fit follow in further blocks, each
    with the first columns of text in front; a table without numbers folds its widest columns within words.
    """

    columns: Sequence[str]
    """Headers."""
    rows: Sequence[Sequence[Text]]
    """Cells, as many in each row as there are headers."""
    numeric: Sequence[bool] = ()
    """Which columns stand to the right and are never folded; none when left out."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Table | Text]:
        """One table, or several with an empty line between them."""
        for i, block in enumerate(self.blocks(options.max_width)):
            if i:
                yield Text("")
            yield self._table(block)

    def blocks(self, width: int) -> list[dict[int, int]]:
        """Which columns stand in each block, with their widths in characters."""
        chosen = range(len(self.columns))
        natural = [max(self._lengths(i)) for i in chosen]
        least = [self._least(i, width) for i in chosen]
        keys = self._keys(least, width)
        blocks: list[list[int]] = [[]]
        for i in chosen:
            if blocks[-1] and self._is_numeric(i) and _total([least[j] for j in [*blocks[-1], i]]) > width:
                blocks.append(list(keys))
            blocks[-1].append(i)
        return [
            dict(zip(b, _shrunk([natural[i] for i in b], [least[i] for i in b], width), strict=True)) for b in blocks
        ]

    def _is_numeric(self, i: int) -> bool:
        return bool(self.numeric) and self.numeric[i]

    def _lengths(self, i: int) -> list[int]:
        return [_longest(self.columns[i].split("\n")), *(_longest(row[i].plain.split("\n")) for row in self.rows)]

    def _least(self, i: int, width: int) -> int:
        header = _longest(self.columns[i].split())
        if self._is_numeric(i):
            return max(header, *self._lengths(i)[1:], 1)
        words = max((_longest(row[i].plain.split()) for row in self.rows), default=0)
        short = min(max(self._lengths(i)), _SHORT)
        return max(header, short, min(words, width // 2), 1)

    def _keys(self, least: Sequence[int], width: int) -> list[int]:
        """The columns that say what a row is: up to the end of the first texts, as many as leave room for any column of numbers."""
        chosen = range(len(self.columns))
        text = next((i for i in chosen if not self._is_numeric(i)), 0)
        end = next((i for i in chosen if i > text and self._is_numeric(i)), len(self.columns))
        widest = max((least[i] for i in chosen if i >= end), default=0)
        keys: list[int] = []
        for i in range(end):
            if _total([*(least[j] for j in [*keys, i]), widest]) > width:
                break
            keys.append(i)
        return keys

    def _table(self, widths: dict[int, int]) -> Table:
        table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, _GAP, 0, 0))
        for i, width in widths.items():
            justify = "right" if self._is_numeric(i) else "left"
            table.add_column(Text(self.columns[i]), justify=justify, overflow="fold", width=width)
        for row in self.rows:
            table.add_row(*(row[i] for i in widths))
        return table


def _longest(texts: Sequence[str]) -> int:
    return max(map(cell_len, texts), default=0)


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + _GAP * (len(widths) - 1)


def _shrunk(natural: Sequence[int], least: Sequence[int], width: int) -> list[int]:
    """Widths that fill ``width`` at most: the widest columns give way first, down to ``least``, and beyond if they must.

    The first column says what a row is; it is copied from, and the last to be folded.
    """
    widths = list(natural)
    while _total(widths) > width and max(widths) > 1:
        spare = [i for i, value in enumerate(widths) if value > least[i]]
        spare = spare or [i for i, value in enumerate(widths) if i and value > _SHORT] or range(len(widths))
        widths[max(spare, key=lambda i: widths[i])] -= 1
    return widths
