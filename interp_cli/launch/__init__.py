"""Launching: any command of the tool as tasks of a launch, here, on SLURM or elsewhere; and sweeps over parameters.

The modules that a task itself runs (`run_task`, `agent`, `supervise`, `task_process`) import nothing heavy.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from interp_cli.options import StageOptions
    from interp_registry.contracts.method import Method, Stage

__all__ = ["from_stage"]


def from_stage(method: "Method", stage: "Stage[Any]", options: "StageOptions", words: Sequence[str]) -> int:
    """Carry out ``--sweep`` of a stage.

    Args:
        method: The method.
        stage: Its stage.
        options: The shell's own options, as resolved.
        words: The words after the stage's name.

    Returns:
        The exit code: 0, or 3 when points failed.
    """
    from interp_cli.launch.stage_sweep import run_stage_sweep

    return run_stage_sweep(method, stage, options, words)
