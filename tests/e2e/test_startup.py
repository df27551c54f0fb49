"""Start-up is a feature: help never loads the heavy libraries, and costs little beyond typer and rich."""

import os
import resource
import subprocess
import sys

import pytest

HEAVY = {
    "torch",
    "transformers",
    "timm",
    "accelerate",
    "aim",
    "numpy",
    "matplotlib",
    "plotly",
    "scipy",
    "datasets",
    "pandas",
}


def cpu_seconds(*command, runs=5, **environment):
    """Least user plus system time of a process over some runs, which the load of the machine disturbs least."""
    spent = []
    for _ in range(runs):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, check=True, capture_output=True, env={**os.environ, **environment})
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(spent)


def imported_by(*words, shown=""):
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "interp_cli", *words], capture_output=True, text=True, check=True
    )
    assert shown in done.stdout
    return {
        line.rsplit("|", 1)[1].strip().split(".")[0]
        for line in done.stderr.splitlines()
        if line.startswith("import time")
    }


def test_help_of_the_root_and_of_a_stage_loads_no_heavy_library():
    for words in (["--help"], ["plugins", "--help"], ["spd", "--help"]):
        loaded = imported_by(*words, shown="usage")
        assert "typer" in loaded
        assert loaded & {*HEAVY, "pydantic"} == set(), words


def test_help_costs_at_most_twice_the_cpu_time_of_importing_typer_and_rich():
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    floor = cpu_seconds(sys.executable, "-c", "import typer, rich.console")
    ours = cpu_seconds(sys.executable, "-m", "interp_cli", "--help")
    assert ours <= 2.0 * floor, f"{ours / floor:.2f} times the CPU time of importing typer and rich"


def test_help_of_a_method_with_stages_costs_at_most_three_times_the_cpu_time_of_importing_typer_and_rich():
    floor = cpu_seconds(sys.executable, "-c", "import typer, rich.console")
    ours = cpu_seconds(sys.executable, "-m", "interp_cli", "spd", "--help")
    assert ours <= 3.0 * floor, f"{ours / floor:.2f} times the CPU time of importing typer and rich"


def test_help_of_the_root_imports_no_configuration_of_a_first_party_plugin():
    code = "import sys; from interp_cli.__main__ import run; run(['--help']); print('|'.join(sys.modules), file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = done.stderr.strip().split("|")
    assert "interp_plugins.methods.align.plugin" in loaded
    assert [name for name in loaded if name == "draccus" or name.endswith(".config")] == []
    assert set(loaded) & HEAVY == set()


def test_a_tab_costs_at_most_four_times_the_cpu_time_of_importing_typer_and_rich_and_loads_no_heavy_library():
    tab = {"_INTERP_COMPLETE": "complete_bash", "COMP_WORDS": "interp align lm-", "COMP_CWORD": "2"}
    words = [sys.executable, "-X", "importtime", "-m", "interp_cli"]
    done = subprocess.run(words, capture_output=True, text=True, env={**os.environ, **tab})
    assert done.stdout.split() == ["lm-d32", "lm-d64", "lm-d96", "lm-d128"]
    assert {line.rsplit("|", 1)[-1].strip().split(".")[0] for line in done.stderr.splitlines()} & HEAVY == set()
    floor = cpu_seconds(sys.executable, "-c", "import typer, rich.console")
    ours = cpu_seconds(sys.executable, "-m", "interp_cli", **tab)
    assert ours <= 4.0 * floor, f"{ours / floor:.2f} times the CPU time of importing typer and rich"


@pytest.mark.slow
def test_a_command_on_a_model_costs_little_beyond_importing_what_loads_models():
    floor = cpu_seconds(sys.executable, "-c", "from transformers.modeling_utils import PreTrainedModel", runs=2)
    ours = cpu_seconds(sys.executable, "-m", "interp_cli", "extract", "lm-d32", "--limit", "4", runs=1)
    assert ours <= 1.35 * floor, f"{ours / floor:.2f} times the CPU time of importing transformers' models"


@pytest.mark.slow
def test_a_benchmark_without_linear_probes_loads_no_library_for_them():
    loaded = imported_by("bench", "clip-bow", "--datasets", "world_twins", "--limit", "10")
    assert "torch" in loaded
    assert loaded & {"sklearn", "pandas", "datasets", "timm", "matplotlib", "aim"} == set()
