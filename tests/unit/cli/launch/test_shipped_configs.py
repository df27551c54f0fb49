"""The sweeps and accelerate files that ship with the tool."""

import warnings
from pathlib import Path

import pytest

from interp_cli.launch.stage_sweep import sweep_command
from interp_cli.launch.sweep_check import check_points, check_sweep
from interp_cli.launch.sweep_file import read_sweep
from interp_cli.launch.sweep_points import experiments_of, points_of
from interp_cli.paths import catalog, configs_dir
from interp_registry.contracts.method import Method, Stage
from interp_registry.discovery import discover

SWEEPS = sorted((configs_dir() / "sweeps").glob("*.yaml"))
ACCELERATE = sorted((configs_dir() / "accelerate").glob("*.yaml"))


def _stages() -> dict[str, tuple[Method, Stage]]:
    methods = discover().methods.values()
    return {m.name if len(m.stages) == 1 else f"{m.name}-{s.name}": (m, s) for m in methods for s in m.stages}


@pytest.mark.parametrize("file", SWEEPS, ids=lambda file: file.stem)
def test_a_shipped_sweep_fits_the_stage_that_it_is_named_for(file: Path) -> None:
    stages = _stages()
    assert file.stem in stages, f"no stage is called {file.stem}"
    method, stage = stages[file.stem]
    sweep = read_sweep(file)
    check_sweep(sweep, stage, experiments_of(sweep, None))
    command, experiments = sweep_command(method, stage, [], sweep)
    points = points_of(sweep, experiments)
    assert 1 < len(points) <= 100
    check_points(sweep, command, points)


def test_the_experiments_of_the_decomposition_sweep_are_in_the_catalog() -> None:
    names = {name.removeprefix("spd/") for name in catalog(discover()).names("experiments")}
    assert set(read_sweep(configs_dir() / "sweeps" / "spd-run.yaml").experiments) <= names


@pytest.mark.parametrize("file", ACCELERATE, ids=lambda file: file.stem)
def test_accelerate_reads_the_shipped_files(file: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from accelerate.commands.config.config_args import load_config_from_file
    config = load_config_from_file(str(file))
    assert config.num_processes == 2
    assert config.mixed_precision == "bf16"
    assert f"configs/accelerate/{file.name}" in file.read_text()
