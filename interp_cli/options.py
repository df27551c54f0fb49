"""Options that every stage has; they are read by the same schema-driven reader as a stage's own."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from interp_registry.choices import TrackerConfig

__all__ = ["StageOptions"]


@dataclass
class StageOptions:
    """What the shell itself takes from a stage's command line."""

    config: list[Path] = field(default_factory=list, metadata={"flags": ("-c",)})
    """YAML file with settings; may be given several times, later ones win"""
    set: list[str] = field(default_factory=list)
    """KEY=VALUE, the same as --KEY=VALUE, for scripts"""
    seed: int = 0
    """seed of everything random"""
    device: str | None = None
    """cpu, cuda, cuda:1, mps; the best one present when left out"""
    offline: bool = False
    """never use the network"""
    out: Path | None = None
    """folder for runs, features and caches instead of INTERP_HOME"""
    num_processes: int = 1
    """processes on this machine that share the work"""
    tracker: list[TrackerConfig] = field(default_factory=list)
    """experiment trackers, e.g. aim,tensorboard; events.jsonl is always written"""
    report: bool = True
    """write an HTML report into the run's folder (--no-report leaves it out)"""
    sweep: str | None = field(default=None, metadata={"bare": "default"})
    """run the points of this sweep file; without a file, those of the sweep shipped for the stage"""
    batched: int = field(default=0, metadata={"bare": "16"})
    """sweep points that can share a process (in spd run) run side by side in one, at most so many"""
    n_agents: int | None = None
    """sweep points that run at the same time (default: one here, as many as fit elsewhere)"""
    launcher: str = "local"
    """where sweep points run: local, slurm, ... with settings as in slurm:partition=gpu"""
    job_suffix: str = field(default="", metadata={"hidden": True})
    """name of a sweep for people: in the queue and in lists"""
    dry_run: bool = False
    """say what would be done, and the time, disk, memory and downloads to expect"""
    explain_config: bool = False
    """show every setting and where its value comes from, then stop"""
    json: bool = False
    """print one JSON object as the last line of stdout, everything else on stderr"""
    quiet: bool = field(default=False, metadata={"flags": ("-q",)})
    """print nothing but errors and results"""
    progress: Literal["auto", "rich", "plain", "none"] = "auto"
    """live dashboard, plain lines, or nothing; auto looks at the terminal"""
    debug: bool = False
    """show tracebacks"""
    resume: str | None = field(default=None, metadata={"hidden": True})
    """run to go on with; `interp runs resume RUN` sets it"""
