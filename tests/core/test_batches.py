import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxloop.core.batches import batch_index, permuted
from jaxloop.core.data import Data
from jaxloop.sweep.sizes import Size
from jaxloop.tasks import digits, mnist1d
from jaxloop.tasks.generated import remembered


@pytest.mark.slow
@given(st.integers(2, 3000), st.integers(0, 2**31))
@settings(max_examples=20)
def test_every_permutation_is_a_bijection(length, seed):
    out = permuted(jax.random.key(seed), jnp.arange(length, dtype=jnp.uint32), length)
    assert sorted(np.asarray(out)) == list(range(length))


@pytest.mark.slow
@given(st.integers(2, 60), st.integers(1, 60), st.integers(0, 99))
@settings(max_examples=10)
def test_every_example_comes_once_an_epoch_whatever_the_batch(length, batch, seed):
    batch = min(batch, length)
    index = jax.jit(lambda t: batch_index(jax.random.key(seed), t, Size(batch, batch), length))
    steps = 3 * length // batch + 1
    seen = np.concatenate([index(jnp.int32(t)) for t in range(steps)])
    for epoch in range(3):
        assert sorted(seen[epoch * length : (epoch + 1) * length]) == list(range(length))


@pytest.mark.slow
@given(st.integers(2, 60), st.integers(1, 60), st.integers(0, 99))
@settings(max_examples=10)
def test_a_padded_batch_of_a_traced_length_starts_with_the_same_examples(length, batch, seed):
    batch, key = min(batch, length), jax.random.key(seed)
    padded = jax.jit(lambda t, size, length: batch_index(key, t, Size(size, 64), length))
    for t in map(jnp.int32, range(5)):
        mine = batch_index(key, t, Size(batch, batch), length)
        theirs = padded(t, jnp.int32(batch), jnp.uint32(length))
        np.testing.assert_array_equal(mine, theirs[:batch])
        assert (theirs < length).all()


def test_positions_and_pairs_are_as_uniform_as_numpys():
    length, draws = 24, 6000
    keys = jax.vmap(jax.random.key)(jnp.arange(draws))
    ours = np.asarray(jax.vmap(permuted, (0, None, None))(keys, jnp.arange(length, dtype=jnp.uint32), length))
    numpys = np.random.default_rng(0).permuted(np.tile(np.arange(length), (draws, 1)), axis=1)

    def chi_square(table):
        counts = np.bincount(table, minlength=length * length).reshape(length, length)
        kept = counts[~np.eye(length, dtype=bool)] if (np.diag(counts) == 0).all() else counts
        return ((kept - kept.mean()) ** 2 / kept.mean()).sum() / kept.size

    place = np.tile(np.arange(length), draws)
    for statistic in (
        lambda p: place * length + p.ravel(),  # which place each index goes to
        lambda p: (p[:, :-1] * length + p[:, 1:]).ravel(),  # which two become neighbours
        lambda p: p[:, 0] * length + p[:, 7],  # a pair far apart
    ):
        assert 0.75 < chi_square(statistic(ours)) < 1.25
        assert 0.75 < chi_square(statistic(numpys)) < 1.25


def test_shapes_splits_and_fingerprints():
    data = mnist1d().data
    assert {k: v["x"].shape for k, v in data.splits().items()} == {
        "train": (3200, 40),
        "validation": (800, 40),
        "test": (1000, 40),
    }
    assert data.fingerprint() == mnist1d().data.fingerprint()
    assert data.fingerprint() != mnist1d(shuffle_seq=True).data.fingerprint()
    assert sum(len(s["y"]) for s in digits().data.splits().values()) == 1797


def test_label_noise_changes_its_share_of_training_labels_alone():
    clean, noisy = digits().data, digits(label_noise=0.25).data
    assert np.isclose((clean.splits()["train"]["y"] != noisy.splits()["train"]["y"]).mean(), 0.25, atol=0.001)
    assert (clean.validation["y"] == noisy.validation["y"]).all()


def test_ragged_data_is_refused():
    with pytest.raises(ValueError, match=r"data\.train"):
        Data(train={"x": np.zeros(3), "y": np.zeros(2)}, validation={"x": np.zeros(1)}, test={"x": np.zeros(1)})


def test_generated_data_are_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    made = []

    def generate():
        made.append(1)
        return {"x": np.arange(1000, dtype=np.float32)}

    for _ in range(2):
        np.testing.assert_array_equal(remembered("a", generate)["x"], np.arange(1000))
    assert len(made) == 1
    remembered("b", generate)
    assert len(made) == 2, "another recipe"


@pytest.mark.parametrize("place", [0, 40, 2000, -30])
def test_damaged_generated_data_are_made_again(tmp_path, monkeypatch, place):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    wanted = np.arange(1000, dtype=np.float32)
    remembered("a", lambda: {"x": wanted})
    (file,) = tmp_path.rglob("*.npz")
    damaged = bytearray(file.read_bytes())
    damaged[place] ^= 0x10
    file.write_bytes(damaged)
    for _ in range(2):
        np.testing.assert_array_equal(remembered("a", lambda: {"x": wanted})["x"], wanted)
