"""The example notebook in a real kernel: results show themselves, figures are interactive, long calls show how far they are. Slow tier."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parents[2] / "examples" / "notebook.ipynb"

IMPATIENT = (
    "import interp_registry.notebook\ninterp_registry.notebook._FIRST_SECONDS = interp_registry.notebook._SECONDS = 0.0"
)
"""A fast machine is done before a bar would be drawn."""

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::Warning")]


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    notebook.cells.insert(0, nbformat.v4.new_code_cell(IMPATIENT))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("INTERP_HOME", str(tmp_path_factory.mktemp("home")))
        patch.setenv("HF_HUB_OFFLINE", "1")
        patch.setenv("OMP_NUM_THREADS", "1")
        NotebookClient(notebook, timeout=300, kernel_name="python3").execute(cwd=str(tmp_path_factory.mktemp("work")))
    return {cell.source: cell.outputs for cell in notebook.cells if cell.cell_type == "code"}


def shown(executed, last_line):
    """The data that the cell ending with a line showed, by kind."""
    (outputs,) = [outputs for source, outputs in executed.items() if source.splitlines()[-1] == last_line]
    return {kind: text for output in outputs if "data" in output for kind, text in output.data.items()}


def test_results_show_themselves(executed):
    assert "<caption>features</caption>" in shown(executed, "texts")["text/html"]
    assert "data:image/png;base64," in shown(executed, "found")["text/html"]
    last = next(outputs for source, outputs in executed.items() if source.startswith("from interp_registry.figures"))
    assert "data:image/png;base64," in last[-1].data["text/html"]


def test_numbers_are_data_frames_and_plots_are_interactive(executed):
    assert 'class="dataframe"' in shown(executed, "found.to_pandas().round(3)")["text/html"]
    plotted = shown(executed, "found.plot()")
    assert plotted["application/vnd.plotly.v1+json"]["data"][0]["type"] == "heatmap"


def test_a_long_call_showed_a_bar_that_is_gone_at_the_end(executed):
    (outputs,) = [outputs for source, outputs in executed.items() if source.startswith("texts =")]
    bars = [output for output in outputs if output.output_type == "display_data"]
    assert [bar.data["text/html"] for bar in bars] == [""]
