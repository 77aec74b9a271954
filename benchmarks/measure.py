"""What every benchmark shares: the machine it ran on, and its options."""

import argparse
import importlib.metadata
import json
import os
import platform
from pathlib import Path
from typing import Any

import jax


def options(description: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--quick", action="store_true", help="under 30 seconds: to see it work, not to measure")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here as well")
    return parser.parse_args()


def hardware() -> dict[str, Any]:
    """The machine and the versions that a figure belongs to."""
    return {
        "devices": [device.device_kind for device in jax.devices()],
        "processor": _processor(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "jax": jax.__version__,
        "jaxlib": importlib.metadata.version("jaxlib"),
    }


def _processor() -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    return next(
        (line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor()
    )


def publish(figures: dict[str, Any], file: Path | None) -> None:
    """Prints the figures, a line each, and writes them where asked to."""
    figures = {**figures, "hardware": hardware()}
    for name, value in figures.items():
        print(f"{name:28} {value:,.3f}" if isinstance(value, float) else f"{name:28} {value}")
    if file:
        file.write_text(json.dumps(figures, indent=1))
