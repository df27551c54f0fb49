"""A device "mps" on machines without one: it computes on the CPU and refuses what Apple's MPS refuses.

A tensor "on" the device is a CPU tensor of the class `MpsTensor`. While the emulation lasts, a mode sees every function of torch: it
sends what is asked of the device to the CPU and gives the results the class. A second mode below it sees each kernel. Refused are

- float64 and complex128 on the device, also inside an operation, with the words of torch;
- kernels that ``native_functions.yaml`` of the installed torch has for the CPU and CUDA and not for MPS, and eigh, which MPS had not
  in the oldest torch that the tool runs on;
- operands on two devices, generators of another device, NumPy arrays from the device.

What it cannot show: other rounding than the CPU's, wrong kernels, speed, memory, types and sizes that single kernels of MPS refuse.
"""

import functools
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from unittest import mock

import torch
import yaml
from torch import Tensor
from torch.nn import Parameter
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter, tree_map

__all__ = ["DEVICE", "Emulation", "MpsTensor", "emulated_mps"]

DEVICE = torch.device("mps", 0)
_REFUSED = {torch.float64: "float64", torch.complex128: "complex128"}
_MESSAGE = (
    "Cannot convert a MPS Tensor to {0} dtype as the MPS framework doesn't support {0}. Please use float32 instead."
)
_NOT_IN_OLDER_TORCH = frozenset({"_linalg_eigh", "_linalg_eigh.eigenvalues"})
_TWO_DEVICES = frozenset({
    "copy_", "to", "type_as", "expand_as", "view_as", "reshape_as", "is_same_size", "__getitem__", "__setitem__", "__set__",
    "_has_compatible_shallow_copy_type",
})  # fmt: skip
"""Functions that take tensors of two devices."""


class Emulation:
    """The device while it is there.

    Attributes:
        n_kernels: How many kernels ran on it.
    """

    def __init__(self) -> None:
        self.n_kernels = 0


class MpsTensor(Tensor):
    """A CPU tensor that says it is on the device."""

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _call(func, args, kwargs or {})

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        if id(self) not in memo:
            copy = self.detach().clone().requires_grad_(self.requires_grad)
            copy.__class__ = type(self)
            copy.__dict__.update(self.__dict__)
            memo[id(self)] = copy
        return memo[id(self)]

    def __reduce_ex__(self, protocol: int) -> Any:
        with torch._C.DisableTorchFunctionSubclass():
            return self.detach().as_subclass(Tensor).__reduce_ex__(protocol)


class _MpsParameter(MpsTensor, Parameter):
    """A parameter that was moved to the device."""


class _Generator(torch.Generator):
    """A generator that says of what device it is."""

    def __new__(cls, device: Any = "cpu") -> "_Generator":
        made = super().__new__(cls, _on_cpu(device))
        made.asked = DEVICE if _is_ours(device) else torch.device("cpu")
        return made

    def __init__(self, device: Any = "cpu") -> None:
        """All is done."""

    @property
    def device(self) -> torch.device:
        """What was asked for."""
        return self.asked


class _Autocast(torch.autocast):
    """Automatic mixed precision of the CPU in the place of that of the device."""

    def __init__(self, device_type: str, *args: Any, **kwargs: Any) -> None:
        super().__init__("cpu" if device_type == "mps" else device_type, *args, **kwargs)


class _Kernels(TorchDispatchMode):
    """Refuses kernels that the device lacks, and numbers that it lacks inside of an operation."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Nothing is compiled here, and torch._dynamo takes seconds to import."""
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = str(func).removeprefix("aten.").removesuffix(".default")
        if name in _missing():
            raise NotImplementedError(f"The operator 'aten::{name}' is not currently implemented for the MPS device.")
        result = func(*args, **(kwargs or {}))
        for value in tree_iter(result):
            _require_known(value)
        if _present:
            _present[-1].n_kernels += 1
        return result


class _Functions(TorchFunctionMode):
    """Sends what is asked of the device to the CPU."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _call(func, args, kwargs or {})


_present: list[Emulation] = []


@contextmanager
def emulated_mps() -> Iterator[Emulation]:
    """The device is there, for this thread and those that start meanwhile; it is what commands choose by default."""
    run, default = threading.Thread.run, torch.default_generator

    def run_with(thread: threading.Thread) -> None:
        with _Functions():
            run(thread)

    present = functools.wraps(torch.backends.mps.is_available)(lambda: True)
    replaced = [
        (torch.backends.mps, "is_available", present),
        (torch.backends.mps, "is_built", lambda: True),
        (torch.mps, "recommended_max_memory", lambda: 8 << 30),
        (torch.mps, "current_allocated_memory", lambda: 0),
        (torch.mps, "get_rng_state", lambda *_: default.get_state()),
        (torch.mps, "set_rng_state", lambda state, *_: default.set_state(state)),
        (torch.mps, "manual_seed", lambda seed: default.manual_seed(seed)),  # noqa: PLW0108 - torch._dynamo knows the method
        (torch, "Generator", _Generator),
        (torch, "autocast", _Autocast),
        (threading.Thread, "run", run_with),
    ]
    with ExitStack() as stack:
        for owner, name, value in replaced:
            stack.enter_context(mock.patch.object(owner, name, value))
        _present.append(Emulation())
        stack.callback(_present.pop)
        stack.enter_context(_Functions())
        yield _present[-1]


@functools.cache
def _missing() -> frozenset[str]:
    """Operations with kernels for the CPU and CUDA and none for MPS; those by which the CPU convolves are left out."""
    package = Path(next(iter(find_spec("torchgen").submodule_search_locations)))
    text = (package / "packaged/ATen/native/native_functions.yaml").read_text()
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    tables = {entry["func"].partition("(")[0]: entry for entry in yaml.load(text, Loader=loader)}  # noqa: S506 - safe
    devices = {name: _devices(tables, name) for name in tables}
    found = {
        name
        for name, of in devices.items()
        if {"CPU", "CUDA"} <= of and "MPS" not in of and not any(one.startswith("Composite") for one in of)
    }
    return frozenset(name for name in found if not name.startswith("slow_conv")) | _NOT_IN_OLDER_TORCH


def _devices(tables: Mapping[str, Any], name: str) -> set[str]:
    entry = tables[tables[name].get("structured_delegate", name)]
    return {device.strip() for devices in entry.get("dispatch", {}) for device in devices.split(",")}


def _is_ours(device: Any) -> bool:
    if isinstance(device, torch.device):
        return device.type == "mps"
    return isinstance(device, str) and device.partition(":")[0] == "mps"


def _on_cpu(value: Any) -> Any:
    """The same, or the CPU if it names the device; other texts (of einsum, of modes) do not."""
    return torch.device("cpu") if _is_ours(value) else value


def _require_known(value: Any) -> None:
    if isinstance(value, Tensor) and value.dtype in _REFUSED:
        raise TypeError(_MESSAGE.format(_REFUSED[value.dtype]))


def _placed(value: Any) -> Any:
    """A tensor on the device; anything else as it is."""
    if not isinstance(value, Tensor) or isinstance(value, MpsTensor) or value.is_meta:
        return value
    _require_known(value)
    if value.is_leaf and value.requires_grad:
        return value.detach().as_subclass(MpsTensor).requires_grad_()
    return value.as_subclass(MpsTensor)


def _call(func: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """Run a function of torch, which may take tensors of the device or be asked for results there."""
    name = getattr(func, "__name__", "")
    values = list(tree_iter((args, kwargs)))
    ours = any(isinstance(value, MpsTensor) for value in values)
    asked = _is_ours(kwargs.get("device")) or (name == "to" and any(_is_ours(value) for value in args[1:]))
    with torch._C.DisableTorchFunctionSubclass():
        if name == "__set__" and func.__self__ is Tensor.data:
            return _set_data(*args)
        _check_generators(values, ours or asked)
        if not ours and not asked:
            return func(*args, **kwargs)
        if name == "__get__":
            return _attribute(func, args)
        return _run(func, name, args, kwargs, values)


def _run(func: Any, name: str, args: Any, kwargs: Any, values: list[Any]) -> Any:
    if name in ("numpy", "__array__"):
        raise TypeError(
            "can't convert mps:0 device type tensor to numpy. Use Tensor.cpu() to copy the tensor to host memory first."
        )
    _check_devices(name, values)
    given, named = tree_map(_on_cpu, (tuple(args), dict(kwargs)))
    if _leaves(name, args, kwargs):
        return _as_plain(func(*given, **named))
    with ExitStack() as stack:
        if any(isinstance(value, MpsTensor) for value in values):
            stack.enter_context(_Kernels())
        result = func(*given, **named)
    stays = name == "__setitem__" or (name == "copy_" and not isinstance(args[0], MpsTensor))
    return result if stays else tree_map(_placed, result)


def _as_plain(value: Tensor) -> Tensor:
    return value.as_subclass(Tensor) if isinstance(value, MpsTensor) else value


def _leaves(name: str, args: Any, kwargs: Any) -> bool:
    """Whether the result is on the CPU."""
    if name == "cpu":
        return True
    if name == "type_as":
        return not isinstance(args[1], MpsTensor)
    target = kwargs.get("device")
    if name == "to":
        first = next((value for value in (*args[1:2], kwargs.get("other")) if value is not None), None)
        if isinstance(first, Tensor):
            return not isinstance(first, MpsTensor)
        target = first if isinstance(first, torch.device | str) else target
    return target is not None and not _is_ours(target)


def _check_devices(name: str, values: list[Any]) -> None:
    strange = [
        v for v in values if isinstance(v, Tensor) and not isinstance(v, MpsTensor) and v.dim() and not v.is_meta
    ]
    if name == "__getitem__" and strange and strange[0] is values[0]:
        raise RuntimeError("indices should be either on cpu or on the same device as the indexed tensor (cpu)")
    if strange and name not in _TWO_DEVICES and any(isinstance(value, MpsTensor) for value in values):
        raise RuntimeError(
            f"Expected all tensors to be on the same device, but found at least two devices, cpu and mps:0! ({name})"
        )


def _check_generators(values: list[Any], ours: bool) -> None:
    wanted = "mps" if ours else "cpu"
    for value in values:
        if isinstance(value, torch.Generator) and value.device.type != wanted:
            raise RuntimeError(f"Expected a '{wanted}' device type for generator but found '{value.device.type}'")


def _attribute(func: Any, args: Any) -> Any:
    """An attribute of a tensor on the device."""
    known = {"device": DEVICE, "is_mps": True, "is_cpu": False}
    name = getattr(func.__self__, "__name__", "")
    return known[name] if name in known else _placed(func(*args))


def _set_data(tensor: Tensor, value: Tensor) -> None:
    """``tensor.data = value``, by which modules move: the object stays the same and is on another device now."""
    Tensor.data.__set__(tensor, value)
    if isinstance(value, MpsTensor) != isinstance(tensor, MpsTensor):
        kinds = (_MpsParameter, MpsTensor) if isinstance(value, MpsTensor) else (Parameter, Tensor)
        tensor.__class__ = kinds[0] if isinstance(tensor, Parameter) else kinds[1]
