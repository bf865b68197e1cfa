"""What upstream's packages need around them: an environment, a guarded door to the weights.

Importing this imports nothing heavy. The order is: `prepare`, then `module` for whatever is upstream's or needs torch.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import importlib.metadata
import logging
import os
import pickle
import re
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from daemon.engines.packages import install
from daemon.engines.weights import Weights
from daemon.errors import EngineUnavailable

log = logging.getLogger("indexttsd.upstream")

INSTALL = f"{install()} (either with TORCH=cpu on a machine without a GPU)"
_OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TRANSFORMERS_VERBOSITY": "error",
    "TOKENIZERS_PARALLELISM": "false",
    "TORCH_FORCE_WEIGHTS_ONLY_LOAD": "1",  # torch.load runs no code out of a checkpoint, whatever it is asked for
}
_CACHES = {
    "HF_HOME": "huggingface",
    "HF_HUB_CACHE": "huggingface/hub",
    "HF_MODULES_CACHE": "huggingface/modules",
    "MODELSCOPE_CACHE": "modelscope",
    "MPLCONFIGDIR": "matplotlib",
    "NUMBA_CACHE_DIR": "numba",
    "TIKTOKEN_CACHE_DIR": "tiktoken",
    "TORCH_EXTENSIONS_DIR": "torch_extensions",
    "TORCH_HOME": "torch",
    "TORCHINDUCTOR_CACHE_DIR": "inductor",
    "TRITON_CACHE_DIR": "triton",
    "CUDA_CACHE_PATH": "cuda",
    "XDG_CACHE_HOME": "xdg",
}


def prepare(cache_dir: Path) -> None:
    """Make this process one in which upstream writes below `cache_dir` only, stays off the network and runs no pickles.

    Has to come before the first import of torch: libraries read their environment once.
    """
    os.environ.update(_OFFLINE)
    for key, folder in _CACHES.items():
        (cache_dir / folder).mkdir(parents=True, exist_ok=True)
        os.environ[key] = str(cache_dir / folder)
    sys.modules["deepspeed"] = None  # type: ignore[assignment]  # 1.5 in fp16 uses it unasked; it changes the codes
    for chatty in ("indextts", "indextts25"):
        logging.getLogger(chatty).setLevel(logging.ERROR)
    # Before upstream's modules point HF_HUB_CACHE at the working directory; the library reads it here and never again.
    module("huggingface_hub.constants")


def module(name: str) -> Any:
    """Import a module of upstream's, or one of ours that needs torch.

    Raises:
        EngineUnavailable: it, or something it needs, is not installed or does not fit this machine.
    """
    kept = dict(os.environ)
    try:
        with quiet():
            return importlib.import_module(name)
    except EngineUnavailable:
        raise
    except Exception as error:  # a torch that does not fit the machine raises OSError, RuntimeError, AttributeError ...
        log.debug("importing %s failed", name, exc_info=True)
        raise EngineUnavailable(
            f"the Python packages of IndexTTS are not (all) installed here: {in_a_line(error)}; {INSTALL}"
        ) from error
    finally:
        os.environ.update(kept)


def read_texts_with_wetext(front: Any, method: str = "load") -> None:
    """Let upstream's TextNormalizer use wetext, which brings its grammars.

    The other one compiles them into site-packages at its first use, where a service's user cannot write.

    Args:
        front: upstream's module `utils.front`.
        method: the method that builds both normalizers.
    """
    logging.getLogger("wetext").setLevel(logging.WARNING)
    wetext = module("wetext")

    def load(normalizer: Any) -> None:
        normalizer.zh_normalizer = wetext.Normalizer(remove_erhua=False, lang="zh", operator="tn")
        normalizer.en_normalizer = wetext.Normalizer(lang="en", operator="tn")

    setattr(front.TextNormalizer, method, load)


@contextlib.contextmanager
def loading(weights: Weights, model_dir: Path) -> Iterator[None]:
    """Whatever goes wrong within, while upstream reads its weights, is the weights' fault and is said so.

    Raises:
        EngineUnavailable: names the file, or the folder if no file is to blame, and what is wrong.
    """
    torch = module("torch")
    load = torch.load
    read = [model_dir]

    def guarded(file: Any, *args: Any, **options: Any) -> Any:
        if isinstance(file, str | os.PathLike):
            read.append(Path(file))
        return load(file, *args, **options)

    torch.load = guarded
    try:
        with quiet():
            yield
    except EngineUnavailable:
        raise
    except torch.OutOfMemoryError as error:
        raise EngineUnavailable(
            f"the GPU has too little free memory for {weights.title} ({in_a_line(error)}); nvidia-smi shows who uses it"
        ) from error
    except Exception as error:
        log.debug("loading %s failed", read[-1], exc_info=True)
        raise EngineUnavailable(
            f"{read[-1]} {_fault(error)}; fetch it again if it differs from the hub's: {weights.command} --verify"
        ) from error
    finally:
        torch.load = load


def _fault(error: Exception) -> str:
    """What the weights are that they must not be, told by what their loading raised."""
    if asked := re.search(r"Unsupported (?:global|operand).*?GLOBAL (\S+)", str(error), re.DOTALL):
        # The library's own sentence goes on with how to open it all the same.
        return f"holds more than weights, it asks for {asked[1]}, and was not opened"
    if isinstance(error, pickle.UnpicklingError):
        return "is no checkpoint, or a damaged one, and was not opened"
    if "loading state_dict" in str(error) or isinstance(error, KeyError | TypeError | AttributeError):
        return f"does not fit this engine, as if it were of another version: {in_a_line(error)}"
    return f"cannot be read, as if it were damaged: {in_a_line(error)}"


def fingerprint(weights: Weights, model_dir: Path) -> str:
    """Changes when a file of the weights is replaced; cheap, because names, sizes and times are looked at only."""
    digest = hashlib.sha256()
    for file in weights.files:
        if (path := model_dir / file.path).is_file():
            found = path.stat()
            digest.update(f"{file.path} {found.st_size} {found.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:16]


def identity(distribution: str, weights: Weights, model_dir: Path, computing: str) -> str:
    """Names all that shapes an engine's sound: the model, its code, how it computes, its weights."""
    return f"{weights.engine}, {release(distribution)}, {computing}, {fingerprint(weights, model_dir)}"


def release(distribution: str) -> str:
    """The installed distribution with its version."""
    return f"{distribution} {importlib.metadata.version(distribution)}"


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Upstream's warnings are printed, which the log gets, and the filters that it sets for itself end with this."""
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        yield


def in_a_line(error: Exception, most: int = 240) -> str:
    """An error in one line of at most so many characters."""
    line = " ".join(str(error).split()) or type(error).__name__
    return line if len(line) <= most else f"{line[:most]}..."
