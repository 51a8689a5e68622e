"""`python -I -S launcher.py RESULT TIMEOUT COMMAND…`: run a command and write its id, then what it cost, as JSON.

A process of its own, and a small one: the kernel counts the memory of whoever starts a program to its peak.
"""

import json
import os
import signal
import sys
import time

result, timeout, *command = sys.argv[1:]
began = time.perf_counter()
process = os.posix_spawn(command[0], command, os.environ)
with open(f"{result}.pid", "w", encoding="ascii") as file:  # noqa: PTH123 - pathlib would cost memory
    print(process, file=file)
signal.signal(signal.SIGALRM, lambda *_: os.kill(process, signal.SIGKILL))
signal.alarm(int(timeout))
_, status, used = os.wait4(process, 0)
with open(result, "w", encoding="ascii") as file:  # noqa: PTH123 - pathlib would cost memory
    json.dump(
        {
            "wall": time.perf_counter() - began,
            "user": used.ru_utime,
            "system": used.ru_stime,
            "peak_kib": used.ru_maxrss,
            "code": os.waitstatus_to_exitcode(status),
        },
        file,
    )
