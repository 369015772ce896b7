"""Reading pickled plain data without running any code.

Some published data sets keep their expressions in a pickle file. The standard reader would import
and call whatever such a file names; this one refuses every name.
"""

from __future__ import annotations

import io
import pickle
import pickletools
from typing import Any, NoReturn

LARGEST_BYTES = 1 << 30
"""Far above the published files, which have less than 10 MB."""


class PlainPickleError(ValueError):
    """The file holds more than plain data, or is damaged."""


class _PlainUnpickler(pickle.Unpickler):
    def find_class(self, module_name: str, global_name: str, /) -> NoReturn:
        raise PlainPickleError(f"The file names {module_name}.{global_name}: it is no plain data.")

    def persistent_load(self, pid: object) -> NoReturn:
        raise PlainPickleError(f"The file refers to {pid!r}: it is no plain data.")


def read_plain_pickle(content: bytes) -> Any:
    """Rebuild the numbers, texts, lists, tuples and dictionaries of a pickle.

    Raises:
        PlainPickleError: The content is damaged, too large or holds anything but plain data.
    """
    if len(content) > LARGEST_BYTES:
        raise PlainPickleError(f"The file has more than {LARGEST_BYTES} bytes.")
    try:
        _check_sizes(content)
        # Files of Python 2 hold texts as bytes.
        return _PlainUnpickler(io.BytesIO(content), encoding="latin-1").load()
    except PlainPickleError:
        raise
    except Exception as error:  # Damaged pickles raise errors of many kinds.
        raise PlainPickleError("The file is damaged.") from error


def _check_sizes(content: bytes) -> None:
    """Refuse what asks for more memory than the file has bytes.

    Lengths of texts and numbers are checked as they are read here; places in the memo must not
    exceed the number of bytes that could fill them.
    """
    for instruction, argument, _ in pickletools.genops(content):
        if instruction.name in {"PUT", "LONG_BINPUT"} and int(argument or 0) > len(content):
            raise PlainPickleError("The file is damaged.")
