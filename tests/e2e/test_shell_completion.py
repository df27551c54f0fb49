"""Completion in real interactive shells: install it, press TAB, and look at what the shell shows. Slow tier."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from real_shell import PROMPT, RealShell

pytestmark = pytest.mark.slow

SHELLS = ("bash", "zsh", "fish")
PROMPTS = {
    "bash": (".bashrc", f"PS1='{PROMPT} '\nbind 'set show-all-if-ambiguous on'\nbind 'set bell-style none'\n"),
    "zsh": (".zshrc", f"PS1='{PROMPT} '\nunsetopt BEEP\n"),
    "fish": (".config/fish/config.fish", f"function fish_prompt; echo '{PROMPT} '; end\nset -g fish_greeting\n"),
}


@pytest.fixture(scope="module", params=SHELLS)
def shell(request, tmp_path_factory):
    """A shell in which ``interp --install-completion`` was given, started anew as a user would."""
    kind = request.param
    if shutil.which(kind) is None:
        pytest.skip(f"{kind} is not installed")
    home = tmp_path_factory.mktemp(kind)
    run = home / "interp/runs/20260102T030405678Z-abcdef"
    run.mkdir(parents=True)
    (run / "record.json").write_text("{}")
    file, text = PROMPTS[kind]
    (home / file).parent.mkdir(parents=True, exist_ok=True)
    (home / file).write_text(text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("INTERP_HOME", str(home / "interp"))
        patch.setenv("INTERP_CONFIG", str(home / "config.yaml"))
        patch.setenv("HF_HUB_OFFLINE", "1")
        install(kind, home)
        opened = RealShell(kind, home)
        try:
            opened.wait_for(PROMPT)
            opened.read(0.5)
            yield opened
        finally:
            opened.close()


def install(kind, home):
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    words = [shutil.which(kind), "-c", "interp --install-completion; true"]
    done = subprocess.run(words, env={**os.environ, "HOME": str(home), "PATH": path}, capture_output=True, text=True)
    assert f"{kind} completion installed" in done.stdout, done.stderr


@pytest.mark.parametrize(
    ("typed", "shown"),
    [
        ("interp al", ["interp align "]),
        ("interp align --me", ["interp align --metric"]),
        ("interp align lm-d32 --me", ["--metric"]),
        ("interp align --metric unb", ["unbiased_cka"]),
        ("interp align lm-d", ["lm-d128", "lm-d32", "lm-d64", "lm-d96"]),
        ("interp extract --model.tok", ["--model.tokenizer"]),
        ("interp extract --dataset shapes-", ["shapes-twins"]),
        ("interp plugins show imag", ["image_text_datasets"]),
        ("interp runs show 2026", ["20260102T030405678Z-abcdef"]),
        ("interp spd run tms_5-2.", ["tms_5-2.tuned"]),
        ("interp ", ["align", "doctor", "watch"]),
    ],
)
def test_tab_completes(shell, typed, shown):
    try:
        shell.type(typed)
        shell.type("\t", forget=False)
        assert "Traceback" not in shell.wait_for(*shown)
    finally:
        shell.type("\x15\x0c")  # kill the line, clear the screen


def test_a_word_that_means_nothing_shows_no_message(shell):
    shell.type("interp nonsense \t")
    answer = shell.read(1.0)
    assert "error" not in answer
    assert "nonsense" in answer
    shell.type("\x15\x0c")
