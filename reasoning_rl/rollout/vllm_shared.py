"""Weights for vLLM's processes, where one engine has several: they lie in the machine's memory once, and each process reads its part."""

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from torch import Tensor

from reasoning_rl.errors import EngineError

_MEMORY = Path("/dev/shm")
"""Files there are memory, on Linux."""
_KEY = "tensor"
"""One file, one tensor: tied ones could not lie in the same, and the rest would be copied twice."""


class SharedTensors(Mapping[str, Tensor]):
    """Tensors in files, one each, read when asked for. It travels to other processes of the machine as names alone."""

    def __init__(self, folder: Path, tensors: Mapping[str, Tensor]) -> None:
        """Writes them."""
        from safetensors.torch import save_file

        self._files = {name: folder / f"{index}.safetensors" for index, name in enumerate(tensors)}
        for name, file in self._files.items():
            save_file({_KEY: tensors[name].contiguous()}, file)

    def __getitem__(self, name: str) -> Tensor:
        from safetensors.torch import load_file

        tensor: Tensor = load_file(self._files[name])[_KEY]
        return tensor

    def __contains__(self, name: object) -> bool:
        return name in self._files

    def __iter__(self) -> Iterator[str]:
        return iter(self._files)

    def __len__(self) -> int:
        return len(self._files)


@contextmanager
def within_reach(tensors: Mapping[str, Tensor], processes: int) -> Iterator[Mapping[str, Tensor]]:
    """The tensors as so many processes can read them, for a while. EngineError where there is no room for them to lie."""
    if processes == 1:
        yield tensors
        return
    from safetensors import SafetensorError

    with tempfile.TemporaryDirectory(prefix="weights-", dir=_roomy(sum(tensor.nbytes for tensor in tensors.values()))) as folder:
        try:
            shared = SharedTensors(Path(folder), tensors)
        except (OSError, SafetensorError) as failure:  # the second, where the disk is full
            raise EngineError(f"weights for the processes of one vLLM can't be laid down in {folder}: {failure}") from failure
        yield shared


def _roomy(size: int) -> Path | None:
    """Memory where it is free for so many bytes and as many again, else the usual folder for what is temporary."""
    return _MEMORY if _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free > 2 * size else None
