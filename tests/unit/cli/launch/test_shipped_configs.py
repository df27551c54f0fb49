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


def _launched(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the variables that ``accelerate launch`` would set for a shipped file."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from accelerate.commands.launch import _validate_launch_command, launch_command_parser
        from accelerate.utils import prepare_multi_gpu_env

        file = configs_dir() / "accelerate" / name
        words = ["--config_file", str(file), "-m", "interp_cli"]
        args, _, _ = _validate_launch_command(launch_command_parser().parse_args(words))
        for key, value in prepare_multi_gpu_env(args).items():
            monkeypatch.setenv(key, value)


def test_the_shipped_file_builds_an_fsdp2_plugin(monkeypatch: pytest.MonkeyPatch) -> None:
    _launched("fsdp2.yaml", monkeypatch)
    from accelerate.utils import FullyShardedDataParallelPlugin

    plugin = FullyShardedDataParallelPlugin()
    assert plugin.fsdp_version == 2
    assert plugin.reshard_after_forward is True
    assert plugin.cpu_ram_efficient_loading is True
    assert str(plugin.state_dict_type).endswith("SHARDED_STATE_DICT")
    assert plugin.auto_wrap_policy is not None


def test_the_shipped_file_builds_a_zero2_plugin(monkeypatch: pytest.MonkeyPatch) -> None:
    file = configs_dir() / "accelerate" / "deepspeed-zero2.yaml"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from accelerate.commands.config.config_args import load_config_from_file
    config = load_config_from_file(str(file))
    for key, value in config.deepspeed_config.items():
        monkeypatch.setenv(f"ACCELERATE_DEEPSPEED_{key.upper()}", str(value).lower())
    from accelerate.utils import DeepSpeedPlugin

    plugin = DeepSpeedPlugin()
    assert plugin.zero_stage == 2
    settings = plugin.deepspeed_config
    assert settings["zero_optimization"]["stage"] == 2
    assert settings["zero_optimization"]["offload_optimizer"]["device"] == "none"
