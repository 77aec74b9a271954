"""Runs `jaxloop` commands in forks of one process that has loaded everything and started nothing.

Reads a JSON line for each command: `words`; `folder`, `n` and `error` of faults.c, where it is preloaded. Answers
with a JSON line: `code` (negative: the signal that killed it), `said` and the `count` of writes.
"""

import ctypes
import importlib
import json
import os
import sys
import tempfile

from jaxloop import cli

for name in (
    "api.planning",
    "api.results",
    "api.runs",
    "api.tries",
    "readers.terminal.panel",
    "training.plan",
    "training.replay",
    "tasks",
    "readers.verify",
):
    importlib.import_module(f"jaxloop.{name}")

FAULTS = ctypes.CDLL(os.environ["LD_PRELOAD"]) if "LD_PRELOAD" in os.environ else None


def forked(words: list[str], folder: str = "", n: int = 0, error: int = 0) -> dict:
    with tempfile.TemporaryFile("w+") as said, tempfile.TemporaryFile("w+") as counted:
        if not (child := os.fork()):
            os.dup2(said.fileno(), 1)
            os.dup2(said.fileno(), 2)
            if FAULTS and folder:
                FAULTS.faults_arm(folder.encode(), n, error)
            sys.argv = ["jaxloop", *words]
            code = 0
            try:
                cli.main()
            except SystemExit as stop:
                code = int(stop.code or 0)
            except BaseException:
                import traceback

                traceback.print_exc()
                code = 1
            finally:
                print(FAULTS.faults_count() if FAULTS else 0, file=counted, flush=True)
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)
        status = os.waitpid(child, 0)[1]
        said.seek(0)
        counted.seek(0)
        code = os.waitstatus_to_exitcode(status)
        return {"code": code, "said": said.read(), "count": int(counted.read() or 0)}


if __name__ == "__main__":
    for line in sys.stdin:
        print(json.dumps(forked(**json.loads(line))), flush=True)
