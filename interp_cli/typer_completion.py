"""What typer's own shell completion gets wrong, mended from outside; all names touched here are private to typer."""

import typer._completion_classes as classes
import typer._completion_shared as shared

__all__ = ["mend"]

_FIRST_CALL = """
if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
  %(complete_func)s "$@"
fi
"""


def mend() -> None:
    """Make zsh complete at the first TAB of a session, and keep help texts on one line in zsh and fish.

    zsh loads the installed file at the first TAB; typer's only defines the function then. typer renders the help of each
    word that it offers with rich, which folds it at the terminal's width: fish takes each line for a word of its own, and
    loading rich's Markdown costs a quarter of the time of a TAB.
    """
    scripts = getattr(shared, "_completion_scripts", {})
    if "zsh" in scripts and "loadautofunc" not in scripts["zsh"]:
        scripts["zsh"] = scripts["zsh"].rstrip() + "\n" + _FIRST_CALL
    if hasattr(classes, "_sanitize_help_text"):
        setattr(classes, "_sanitize_help_text", str)  # noqa: B010 - private to typer
