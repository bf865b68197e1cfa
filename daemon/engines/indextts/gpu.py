"""Which device and precision to compute with, and how the GPU is."""

from __future__ import annotations

import gc
import logging
import re

import torch

from daemon.engines.packages import install
from daemon.errors import EngineUnavailable

log = logging.getLogger("indexttsd.gpu")


def choose_device(wanted: str) -> str:
    """`cpu` or `cuda:N` for what `engine.device` asks for.

    Raises:
        EngineUnavailable: a GPU was asked for that cannot be had; says why.
    """
    if wanted == "cpu":
        return "cpu"
    if wanted == "auto":
        return "cuda:0" if torch.cuda.is_available() else _slowly()
    if not (asked := re.fullmatch(r"cuda(?::(\d+))?", wanted)):
        raise EngineUnavailable(f"engine.device is {wanted!r}; IndexTTS knows auto, cpu, cuda and cuda:N")
    index = int(asked[1] or 0)
    if fault := why_not(index):
        raise EngineUnavailable(f"engine.device is {wanted!r}, but {fault}")
    return f"cuda:{index}"


def _slowly() -> str:
    log.warning("no usable GPU was found: IndexTTS speaks on the CPU, many times slower than real time")
    return "cpu"


def why_not(index: int) -> str | None:
    """Why that GPU cannot be used, in plain words."""
    if torch.version.cuda is None:
        return f"the installed PyTorch {torch.__version__} was built without CUDA; {install()}"
    if not torch.cuda.is_available():
        return (
            f"PyTorch {torch.__version__} finds no GPU: the NVIDIA driver is missing, older than CUDA "
            f"{torch.version.cuda}, or hidden from this process; nvidia-smi, run as the same user, tells more"
        )
    if index >= (count := torch.cuda.device_count()):
        return f"this machine has {count} GPU{'s' * (count != 1)}, counted from cuda:0"
    return None


def choose_precision(wanted: str, device: str, auto: str) -> str:
    """`fp32`, `fp16` or `bf16` for what `engine.options.precision` asks for.

    Args:
        auto: what `auto` means on a GPU.

    Raises:
        EngineUnavailable: the device does not compute in it.
    """
    if wanted == "auto":
        wanted = auto if device.startswith("cuda") else "fp32"
    if wanted != "fp32" and device == "cpu":
        raise EngineUnavailable(f"engine.options.precision is {wanted}, but a CPU speaks in fp32; leave it at auto")
    if wanted == "bf16" and not torch.cuda.is_bf16_supported(including_emulation=False):
        raise EngineUnavailable("engine.options.precision is bf16, which this GPU cannot compute in; set it to fp32")
    return wanted


def gpu_bytes(device: str) -> int:
    """Bytes of GPU memory that this process's PyTorch holds; 0 on a CPU."""
    return int(torch.cuda.memory_reserved(device)) if device.startswith("cuda") else 0


def recover(device: str) -> bool:
    """Give unused memory back. False if the GPU's context is broken: nothing in this process can use it again."""
    gc.collect()  # an exception's frames hold tensors in cycles
    if not device.startswith("cuda"):
        return True
    try:
        torch.cuda.synchronize(device)
        torch.cuda.empty_cache()
    except RuntimeError as error:  # a device-side assert, an illegal access: raised again by every later call
        log.error("the GPU cannot be used by this process any more: %s", str(error).partition("\n")[0])
        return False
    return True
