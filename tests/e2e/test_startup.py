"""Start-up is a feature: help never loads the heavy libraries, and costs little beyond typer and rich."""

import math
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


TYPER_AND_RICH = ("-c", "import typer, rich.console")


def cpu_seconds(*words, **environment):
    """User plus system time of Python with these words; what it imports is compiled before, unless this is the first time."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    subprocess.run([sys.executable, *words], check=True, capture_output=True, env={**kept, **environment})
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def check_ratio(limit, floor, *words, turns=20, **environment):
    """The least CPU time, which the load of the machine disturbs least, is so many times that of the floor at most."""
    least = least_floor = math.inf
    for _ in range(turns):  # by turns, because the load changes
        least_floor = min(least_floor, cpu_seconds(*floor))
        least = min(least, cpu_seconds("-m", "interp_cli", *words, **environment))
        if least <= limit * least_floor:
            return
    raise AssertionError(f"{least / least_floor:.2f} times the CPU time of {floor[-1]!r}")


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
    check_ratio(2.0, TYPER_AND_RICH, "--help")


def test_help_of_a_method_with_stages_costs_at_most_three_times_the_cpu_time_of_importing_typer_and_rich():
    check_ratio(3.0, TYPER_AND_RICH, "spd", "--help")


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
    check_ratio(4.0, TYPER_AND_RICH, **tab)


@pytest.mark.slow
def test_a_command_on_a_model_costs_little_beyond_importing_what_loads_models():
    floor = ("-c", "from transformers.modeling_utils import PreTrainedModel")
    check_ratio(1.35, floor, "extract", "lm-d32", "--limit", "4", turns=4)


@pytest.mark.slow
def test_a_benchmark_without_linear_probes_loads_no_library_for_them():
    loaded = imported_by("bench", "clip-bow", "--datasets", "world_twins", "--limit", "10")
    assert "torch" in loaded
    assert loaded & {"sklearn", "pandas", "datasets", "timm", "matplotlib", "aim"} == set()
