"""The only place where ``torch.load`` is called, and only as ``weights_only=True``: no file can run code."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from interp_registry.errors import DataError

__all__ = ["read_pt"]


def read_pt(path: Path) -> Any:
    """Read tensors and plain values from a ``.pt`` or ``.pth`` file; tensors come to the CPU.

    Raises:
        DataError: The file is damaged, or holds Python objects, which would have to be executed, or a tensor of more values than
            the file has.
        FileNotFoundError: There is no such file.
    """
    with path.open("rb") as file:
        try:
            content = torch.load(file, map_location="cpu", weights_only=True)  # noqa: TID251 - the one seam
        except Exception as err:
            raise DataError(
                f"{path} cannot be read without executing what is in it: {_reason(err)}",
                "only tensors and plain values are read; save them as safetensors",
            ) from err
    _check(content, path)
    return content


def _reason(err: Exception) -> str:
    """What a file asks for, where the error says it; torch's own first line is advice to execute it."""
    asked = re.search(r"GLOBAL (\S+)", str(err))
    if asked is not None:
        return f"it asks for {asked[1]}"
    return str(err).splitlines()[0][:200] if str(err) else type(err).__name__


def _check(content: Any, path: Path) -> None:
    """Refuse tensors that have no values of their own: a file of some bytes can state terabytes."""
    if isinstance(content, torch.Tensor):
        whole = content.layout is torch.strided and content.device.type == "cpu"
        if not whole or content.nbytes > content.untyped_storage().nbytes():
            stated = f"{tuple(content.shape)} ({content.layout}, {content.device})"
            raise DataError(f"{path} holds a tensor of shape {stated} without its values", "save a dense copy of it")
    elif isinstance(content, Mapping):
        for value in content.values():
            _check(value, path)
    elif isinstance(content, list | tuple):
        for value in content:
            _check(value, path)
