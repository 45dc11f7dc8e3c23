"""A GGUF file's fields parsed once, though transformers asks for them three times.

Config, tokenizer and weights each make a ``gguf.GGUFReader`` of the same file, which walks over
every token of the vocabulary in Python, and the table of tensor names is made anew for every
module of the model. Neither depends on who asks.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np

# The replaced names belong to a module that every opening shares.
_ONE_OPENING = threading.RLock()


@contextlib.contextmanager
def parsed_once() -> Iterator[None]:
    """Inside the ``with`` block a GGUF file is parsed when it is first asked for, and kept.

    What is kept goes with the block. One block at a time in a process: a second thread waits.
    """
    import gguf

    library: Any = gguf
    reader, names = library.GGUFReader, library.get_tensor_name_map

    class Plain(reader):  # type: ignore[misc, valid-type]
        def _build_fields(self, offs: int, count: int) -> Any:
            # A view of numpy's own class: each slice of a memmap costs a call in Python.
            self.data: Any = np.asarray(self.data)
            return super()._build_fields(offs, count)

    with _ONE_OPENING:
        library.GGUFReader = lru_cache(maxsize=1)(Plain)
        library.get_tensor_name_map = lru_cache(maxsize=None)(names)
        try:
            yield
        finally:
            library.GGUFReader, library.get_tensor_name_map = reader, names
