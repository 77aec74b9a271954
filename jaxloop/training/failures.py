"""Memory that ran out or a disk that failed as a run was trained: one error, with what is safe and what helps."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jaxloop.errors import TOLD, JaxloopError, ResourceError, is_out_of_memory, is_out_of_resources, is_unwritable


@contextmanager
def failures_told(run: Path) -> Iterator[None]:
    """Turn exhausted memory and failed disks into one error that names what is safe and what to do.

    Raises:
      ResourceError: for what libraries raise in types of their own.
    """
    try:
        yield
    except JaxloopError:
        raise
    except Exception as error:
        failed = isinstance(error, OSError) and is_unwritable(error) and _lies_in(run, error.filename)
        if not failed and not is_out_of_resources(error):
            raise
        resume = f"jaxloop resume {run}"
        if is_out_of_memory(error):
            what, cure = "out of memory", f"`{resume} --set population.capacity=N` goes on with fewer slots"
        else:
            what, cure = "cannot be written", f"once there is room, `{resume}` goes on from it"
        raise ResourceError(f"{run}: {what}: {str(error)[:TOLD]}\nwhat was saved is whole: {cure}") from error


def _lies_in(folder: Path, name: str) -> bool:
    return Path(name).absolute().is_relative_to(folder.absolute())
