"""The only place where ``torch.load`` is called, and only as ``weights_only=True``: no file can run code."""

from pathlib import Path
from typing import Any

import torch

from interp_registry.errors import DataError

__all__ = ["read_pt"]


def read_pt(path: Path) -> Any:
    """Read tensors and plain values from a ``.pt`` or ``.pth`` file; tensors come to the CPU.

    Raises:
        DataError: The file is damaged, or holds Python objects, which would have to be executed.
        FileNotFoundError: There is no such file.
    """
    with path.open("rb") as file:
        try:
            return torch.load(file, map_location="cpu", weights_only=True)  # noqa: TID251 - the one seam
        except Exception as err:
            reason = str(err).splitlines()[0] if str(err) else type(err).__name__
            raise DataError(
                f"{path} cannot be read without executing what is in it: {reason[:200]}",
                "only tensors and plain values are read; save them as safetensors",
            ) from err
