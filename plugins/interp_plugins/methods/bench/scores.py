"""What a benchmark reports: scores with their chance level and interval, tables, and JSON that CLIP_benchmark's readers take."""

import csv
import io
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from interp_registry.figures import Table

__all__ = ["DatasetScores", "Score", "csv_text", "score_table"]


@dataclass(frozen=True)
class Score:
    """One number with what chance would give and its 95 % interval.

    Attributes:
        value: The score.
        chance: Expected score of random embeddings.
        low: Lower end of the interval.
        high: Upper end.
    """

    value: float
    chance: float
    low: float
    high: float


@dataclass
class DatasetScores:
    """All scores of one model on one data set.

    Attributes:
        model: Name of the model.
        dataset: Name of the data set.
        task: CLIP_benchmark's name of the task.
        n: Number of samples.
        scores: By CLIP_benchmark's metric name.
        tables: Further tables, e.g. by kind.
        facts: What else to record.
    """

    model: str
    dataset: str
    task: str
    n: int
    scores: dict[str, Score]
    tables: list[Table] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """CLIP_benchmark's keys (dataset, model, pretrained, task, metrics, language), and chance, interval and n."""
        return {
            "dataset": self.dataset,
            "model": self.model,
            "pretrained": self.model,
            "task": self.task,
            "metrics": {name: _number(score.value) for name, score in self.scores.items()},
            "language": "en",
            "n": self.n,
            "chance": {name: _number(score.chance) for name, score in self.scores.items()},
            "interval": {name: [_number(score.low), _number(score.high)] for name, score in self.scores.items()},
            "tables": [table.to_json() for table in self.tables],
            **self.facts,
        }


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def score_table(results: Iterable[DatasetScores], published: Mapping[str, Mapping[str, float]] | None = None) -> Table:
    """One row per model, data set and metric; with published values beside ours where they are known."""
    rows = []
    for result in results:
        for name, score in result.scores.items():
            row: dict[str, Any] = {
                "model": result.model,
                "dataset": result.dataset,
                "metric": name,
                "score": _number(score.value),
                "chance": _number(score.chance),
                "low": _number(score.low),
                "high": _number(score.high),
                "n": result.n,
            }
            if published is not None:
                known = published.get(result.dataset, {}).get(name)
                row |= {"published": known, "difference": None if known is None else score.value - known}
            rows.append(row)
    notes = ("low and high: 95 % interval; chance: random embeddings; ties count as wrong",)
    return Table.of_records(rows, title="Image-text benchmarks", name="scores", notes=notes)


def csv_text(results: Iterable[DatasetScores]) -> str:
    """CSV with one row per model, data set and metric."""
    table = score_table(results)
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(table.columns)
    writer.writerows(table.rows)
    return buffer.getvalue()
