"""GPUs by NVIDIA's management library, where the machine has it: five of its calls, without a package of Python's."""

import ctypes
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

LIBRARY: Final = "libnvidia-ml.so.1"


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuUsage:
    #: Share of the time, 0 to 1; None: this GPU does not tell.
    utilization: float | None
    memory_bytes: int | None


class _Utilization(ctypes.Structure):
    _fields_ = (("gpu", ctypes.c_uint), ("memory", ctypes.c_uint))


class _Memory(ctypes.Structure):
    _fields_ = (("total", ctypes.c_ulonglong), ("free", ctypes.c_ulonglong), ("used", ctypes.c_ulonglong))


class Gpus:
    """The GPUs that this container may use."""

    def __init__(self, library: Any) -> None:
        self._library = library
        self._handles = tuple(_handles(library))

    def usage(self) -> tuple[GpuUsage, ...]:
        """In the library's order."""
        return tuple(self._one(handle) for handle in self._handles)

    def _one(self, handle: ctypes.c_void_p) -> GpuUsage:
        share, memory = _Utilization(), _Memory()
        told = self._library.nvmlDeviceGetUtilizationRates(handle, ctypes.byref(share)) == 0
        held = self._library.nvmlDeviceGetMemoryInfo(handle, ctypes.byref(memory)) == 0
        return GpuUsage(utilization=share.gpu / 100 if told else None, memory_bytes=memory.used if held else None)


def own_gpus(library: str = LIBRARY) -> Gpus | None:
    """None without the library, as on every machine without NVIDIA's driver."""
    try:
        return Gpus(ctypes.CDLL(library))
    except OSError:
        return None


def _handles(library: Any) -> Iterator[ctypes.c_void_p]:
    count = ctypes.c_uint()
    if library.nvmlInit_v2() or library.nvmlDeviceGetCount_v2(ctypes.byref(count)):
        return
    for index in range(count.value):
        handle = ctypes.c_void_p()
        if library.nvmlDeviceGetHandleByIndex_v2(ctypes.c_uint(index), ctypes.byref(handle)) == 0:
            yield handle
