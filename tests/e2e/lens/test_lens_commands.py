"""``interp lens`` from the command line, on the embedded language model."""

import json
from pathlib import Path

import pytest

TEXT = "the red circle is left of the blue square"


@pytest.mark.slow
def test_a_tuned_lens_is_nearer_to_the_last_layer_than_the_logit_lens_at_every_layer(cli, tmp_path):
    def interp(*arguments):
        answer = cli(*arguments, "--json", "--device", "cpu")
        assert answer.code == 0, answer.err
        return json.loads(answer.out.splitlines()[-1])

    trained = interp("lens", "train", "tuned", "lm-d128", "--limit", "1500", "--steps", "60", "--no-report")
    found = trained["validation"]
    for layer in range(4):
        assert found[f"kl/{layer}"] < 0.5 * found[f"logit_kl/{layer}"]
    folder = Path(trained["folder"])
    shown = interp("lens", "show", str(folder), "lm-d128", "--text", TEXT)
    assert shown["layers"] == [0, 1, 2, 3, 4]
    page = next(Path(shown["folder"]).rglob("index.html")).read_text()
    assert "Most probable token" in page
    assert shown["predictions"][4][1][0]["token"] in page
    interp("lens", "export", "tuned", str(folder), "--to", str(tmp_path / "theirs"), "--no-report")
    again = interp("lens", "import", "tuned", str(tmp_path / "theirs"), "--no-report")
    back = interp("lens", "show", again["folder"], "lm-d128", "--text", TEXT)
    assert back["predictions"] == shown["predictions"]
