"""What `jaxloop doctor` finds."""

import json

import jax


def test_doctor_tells_what_this_machine_gives(jaxloop_command, tmp_path):
    done = jaxloop_command("doctor", "--json", cwd=tmp_path)
    found = json.loads(done.stdout)
    assert done.returncode == 0
    assert found["versions"]["jax"] == jax.__version__
    assert found["cores"] >= len(found["devices"]) >= 1
    assert found["usable_bytes_per_device"] > 1 << 28
    assert found["disk"]["free_bytes"] > 0
    assert found["disk"]["writable"]
    assert abs(found["clock"]["disk_differs_by_seconds"]) < 2
    assert found["problems"] == []
    assert "problem    none found" in jaxloop_command("doctor", cwd=tmp_path).stdout
    assert list(tmp_path.iterdir()) == []
