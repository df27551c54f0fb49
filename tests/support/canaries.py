"""Secrets in the environment that nothing may write or say."""

from pathlib import Path

CANARY = "canary-7f3a91bd55e0"
ENVIRONMENT = {
    **dict.fromkeys(
        ("HF_TOKEN", "WANDB_API_KEY", "TRACKIO_TOKEN", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "MYSQL_PWD"),
        CANARY,
    ),
    "HF_ENDPOINT": f"http://me:{CANARY}@127.0.0.1:9",
    "HTTPS_PROXY": f"http://me:{CANARY}@127.0.0.1:9",
}


def files_with_canary(folder: Path) -> list[str]:
    """The files below a folder that have a secret in them or in their names."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert files
    return [str(path) for path in files if CANARY in path.name or CANARY.encode() in path.read_bytes()]
