"""What devices are found and what is used on them."""

import torch

from interp_registry import hardware


def test_the_cpu_is_always_there_and_last() -> None:
    devices = hardware.probe()
    assert devices[-1].name == "cpu"
    assert devices[-1].dtype == "float32"
    assert 0 < devices[-1].free <= devices[-1].memory


def test_gpus_come_first_with_bfloat16_where_the_hardware_has_it(monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda index: (30 << 30, 80 << 30))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: "Accelerator 9000")
    for supported, dtype in ((True, "bfloat16"), (False, "float16")):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation, s=supported: s)
        devices = hardware.probe()
        assert [device.name for device in devices] == ["cuda:0", "cuda:1", "cpu"]
        assert devices[0] == hardware.Device("cuda:0", "Accelerator 9000", 80 << 30, 30 << 30, dtype)


def test_a_system_that_does_not_tell_its_memory_is_no_error(monkeypatch) -> None:
    def unknown(name: str) -> int:
        raise ValueError(name)

    monkeypatch.setattr("os.sysconf", unknown)
    assert (hardware.probe()[-1].memory, hardware.probe()[-1].free) == (0, 0)
