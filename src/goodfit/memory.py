"""What this process does with memory that was freed."""

import ctypes

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of glibc's mallopt
_LARGEST = 1 << 30  # bytes of a block that is kept; larger ones go back to the system


def keep_freed_memory() -> bool:
    """Have the C library keep freed memory for the next batch; whether it can.

    glibc returns every block of 32 MB or more to the system when it is freed, and the next batch
    pays for each page of it again: filling fresh memory can take ten times as long as filling used
    memory. The process keeps what it once needed until it ends, so this is for programs that
    train, not for libraries within others. Only glibc listens.
    """
    try:
        library = ctypes.CDLL(None)
        return bool(library.mallopt(_MMAP_THRESHOLD, _LARGEST)) and bool(
            library.mallopt(_TRIM_THRESHOLD, 2 * _LARGEST - 1)
        )
    except (AttributeError, OSError, TypeError):  # macOS, musl; Windows
        return False


def release_freed_memory() -> bool:
    """Give what is kept back to the system, after work that needed more than what follows."""
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (AttributeError, OSError, TypeError):
        return False
    return True
