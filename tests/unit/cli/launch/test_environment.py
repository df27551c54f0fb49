"""Which variables a launch hands on and writes down."""

import pytest

from interp_cli.launch.environment import is_secret, recorded, refuse_secrets, secret_values, submit_environment
from interp_registry.errors import UsageError

CANARY = "canary-5f3c0ffee"


@pytest.mark.parametrize(
    "name",
    [
        "HF_TOKEN",
        "WANDB_API_KEY",
        "HUGGING_FACE_HUB_TOKEN",
        "AWS_SECRET_ACCESS_KEY",
        "OPENAI_API_KEY",
        "DB_PASSWORD",
        "MY_CREDENTIALS",
        "KEY",
        "INTERP_AUTH",
    ],
)
def test_secrets_are_known_by_their_names(name: str) -> None:
    assert is_secret(name, "x")
    assert recorded({name: CANARY}) == {}
    assert name not in submit_environment({name: CANARY, "PATH": "/bin"})


@pytest.mark.parametrize(
    "name", ["HF_HOME", "TOKENIZERS_PARALLELISM", "OMP_NUM_THREADS", "CUDA_HOME", "HF_HUB_OFFLINE", "INTERP_HOME"]
)
def test_settings_of_libraries_are_recorded(name: str) -> None:
    assert recorded({name: "1"}) == {name: "1"}


def test_an_address_with_a_password_is_a_secret_whatever_its_name() -> None:
    assert recorded({"HF_ENDPOINT": "https://me:pw@hub.example"}) == {}
    assert recorded({"HF_ENDPOINT": "https://hub.example"}) == {"HF_ENDPOINT": "https://hub.example"}


def test_what_is_not_on_the_list_is_not_handed_on_unless_named() -> None:
    environment = {"PATH": "/bin", "HOME": "/h", "MY_VARIABLE": "1", "HF_TOKEN": CANARY}
    assert submit_environment(environment) == {"PATH": "/bin", "HOME": "/h"}
    assert submit_environment(environment, ["HF_TOKEN"])["HF_TOKEN"] == CANARY
    with pytest.raises(UsageError, match="--pass-env NOTHING"):
        submit_environment(environment, ["NOTHING"])


def test_a_command_that_holds_a_secret_is_refused_without_saying_it() -> None:
    with pytest.raises(UsageError, match="the value of HF_TOKEN") as caught:
        refuse_secrets(["--token", f"x{CANARY}"], {"HF_TOKEN": CANARY})
    assert CANARY not in str(caught.value)
    refuse_secrets(["--token", "other"], {"HF_TOKEN": CANARY, "SHORT_KEY": "to"})


def test_secret_values_are_those_long_enough_to_search_for() -> None:
    assert secret_values({"HF_TOKEN": CANARY, "A_KEY": "abc", "HOME": "/home/somebody"}) == [CANARY]
