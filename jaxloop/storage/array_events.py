"""Measured arrays as TensorBoard shows them: one axis as a histogram's bars, two or three as an image."""

# pyright: reportAttributeAccessIssue=false
# (generated protobuf modules carry no types)

from collections.abc import Mapping

import numpy as np

from jaxloop.storage.absent import absent

with absent("torch"):  # which tensorboardX loads where it is installed: a second of every start
    from tensorboardX import summary
    from tensorboardX.proto.summary_pb2 import Summary

CHANNELS = (1, 3)  # of an image's last axis


def shown(arrays: Mapping[str, np.ndarray]) -> Summary | None:
    """Return arrays of one member and step as a summary; None where TensorBoard has no form for any of them.

    Args:
      arrays: by metric. (N,) are bars at 0 to N - 1, such as counts or values of classes; (H, W) and (H, W, C), C
        one of `CHANNELS`, are images from the smallest value, black, to the largest. Others are only in the store.
    """
    parts = [_one(name, _finite(np.asarray(array, np.float64))) for name, array in arrays.items()]
    values = [value for part in parts if part for value in part.value]
    return Summary(value=values) if values else None


def _finite(array: np.ndarray) -> np.ndarray:
    """Return an array with zero for NaN, and the smallest and largest finite values for infinities."""
    finite = array[np.isfinite(array)]
    low, high = (finite.min(), finite.max()) if finite.size else (0.0, 0.0)
    return np.nan_to_num(array, posinf=high, neginf=low)


def _one(name: str, array: np.ndarray) -> Summary | None:
    if array.ndim == 1:
        places = np.arange(len(array))
        return summary.histogram_raw(
            name,
            min=-0.5,
            max=len(array) - 0.5,
            num=array.sum(),
            sum=array @ places,
            sum_squares=array @ places**2,
            bucket_limits=(places + 0.5).tolist(),
            bucket_counts=array.tolist(),
        )
    if array.ndim == 2 or (array.ndim == 3 and array.shape[-1] in CHANNELS):
        low, high = array.min(), array.max()
        pixels = (array - low) / (high - low or 1.0) * 255
        return summary.image(name, pixels.astype(np.uint8), dataformats="HW" if array.ndim == 2 else "HWC")
    return None
