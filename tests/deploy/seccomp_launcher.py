"""Become a command under a list of system calls, as systemd's SystemCallFilter= does; others are answered EPERM.

python seccomp_launcher.py FILE-OF-NAMES COMMAND...
"""

from __future__ import annotations

import ctypes
import errno
import os
import sys
from pathlib import Path

ALLOW, DENY = 0x7FFF0000, 0x00050000 | errno.EPERM  # <seccomp.h>: SCMP_ACT_ALLOW, SCMP_ACT_ERRNO
UNKNOWN = -1


def restrict(names: list[str]) -> int:
    """Allow this process nothing else; how many of the names this machine knows."""
    library = ctypes.CDLL("libseccomp.so.2", use_errno=True)
    library.seccomp_init.restype = ctypes.c_void_p
    library.seccomp_rule_add.argtypes = [ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int, ctypes.c_uint]
    library.seccomp_load.argtypes = [ctypes.c_void_p]
    context = library.seccomp_init(ctypes.c_uint32(DENY))
    known = [n for n in (library.seccomp_syscall_resolve_name(name.encode()) for name in names) if n != UNKNOWN]
    for number in known:
        assert library.seccomp_rule_add(context, ALLOW, number, 0) == 0
    assert library.seccomp_load(context) == 0
    return len(known)


if __name__ == "__main__":
    restrict(Path(sys.argv[1]).read_text().split())
    os.execv(sys.argv[2], sys.argv[2:])
