"""What the demonstration says of an evaluation."""

from types import SimpleNamespace

import pytest

from interp_plugins.methods.lens.demo import _result
from interp_plugins.methods.lens.evaluation.config import LensDemoConfig
from interp_registry.errors import ConfigError, InterpError


def swap(**values):
    return {name: [value, value, value] for name, value in values.items()}


def evaluated():
    own = swap(kl_over_mean=0.1, kl_over_other=0.05, fve=0.8, fve_nrm=0.7, top1_agreement=0.9)
    swaps = {
        "baselines": {"identity": swap(kl=0.0), "mean": swap(kl=5.0)},
        "consistency": {
            "reconstruction": own,
            "shuffled explanation": swap(kl_over_mean=0.6),
            "another explanation": swap(kl_over_mean=1.2),
        },
    }
    text = {
        "explanation_nll": [6.0, 5.9, 6.1],
        "base_nll": 2.0,
        "distinct": 0.5,
        "facts": swap(recall=0.2, bound_recall=0.6),
    }
    at = {"layer": 2, "swaps": swaps, "texts": {"consistency": text}}
    layers = [
        {"layer": 1, "readouts": {"tuned": swap(kl=0.4), "logit": swap(kl=0.8)}, "texts": {}, "swaps": {}},
        at | {"readouts": {"tuned": swap(kl=0.2), "logit": swap(kl=0.5)}},
    ]
    return {"layers": layers, "verdicts": ["private code"], "figures": [], "tables": [], "failures": []}


def test_the_object_holds_what_is_promised():
    found = _result(LensDemoConfig(), SimpleNamespace(result=evaluated(), path="run"))
    told = found.to_json()
    promised = {
        "kl_recon_over_mean": 0.1, "kl_recon_over_other": 0.05, "fve": 0.8, "top1_agreement": 0.9, "explanation_nll": 6.0,
        "base_nll": 2.0, "kl_shuffled_over_mean": 0.6, "tuned_kl": {"1": 0.4, "2": 0.2}, "logit_kl": {"1": 0.8, "2": 0.5},
    }  # fmt: skip
    assert {key: told[key] for key in promised} == promised
    assert told["facts_recall"] == 0.2
    assert told["verdicts"] == ["private code"]
    assert "6.0 nats per token" in told["lead"][1]


def test_a_demonstration_without_its_bottleneck_is_an_error():
    with pytest.raises(InterpError, match="not evaluated at layer 3"):
        _result(LensDemoConfig(layer=3), SimpleNamespace(result=evaluated(), path="run"))
    with pytest.raises(ConfigError, match="too few"):
        LensDemoConfig(steps=0)
