import json
import subprocess
import sys

import pytest
from interp_bag_of_words import BagConfig, LargeBagConfig, ProverbsConfig, SmallBagConfig
from interp_registry.testing import check_dataset, check_model


@pytest.mark.parametrize("config", [SmallBagConfig(), BagConfig(), LargeBagConfig(depth=1)])
def test_the_models_keep_the_contract(config):
    check_model(config.build(), ["many hands make light work", "haste", "a bird in the hand is worth two"])


def test_the_data_set_keeps_the_contract():
    check_dataset(ProverbsConfig().build())


def test_the_models_are_extracted_and_aligned_by_the_tools_own_commands(tmp_path):
    words = ["align", "bag-16", "bag-256", "--dataset", "proverbs", "--topk", "5", "--null", "20", "--json", "--out", str(tmp_path)]
    done = subprocess.run([sys.executable, "-m", "interp_cli", *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout.splitlines()[-1])
    assert 0.3 < answer["scalars"]["score"] <= 1.0  # both see spelling, so they agree far above 5/29
    assert answer["scalars"]["n"] == 30
