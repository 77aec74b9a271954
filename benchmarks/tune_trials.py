"""Trials in PyTorch under Optuna or Ray Tune, some at a time: run by `peers.py`, timed whole.

python benchmarks/tune_trials.py optuna|ray|loop TRIALS STEPS WORKERS

`optuna` and `ray` search the learning rate of `mlp-tiny`, `loop` is Optuna in the space of
sweeps/loop_mnist1d.toml.
"""

import math
import multiprocessing
import os
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch_trial import Trial, mlp

STUDY, RATES = "mlp-tiny", (1e-4, 1e-2)


def trained(learning_rate: float, steps: int) -> float:
    torch.set_num_threads(1)
    return Trial("mlp-tiny", learning_rate).train(steps)


def storage(folder: str) -> Any:
    """Where the processes of a study meet, as Optuna's documentation advises on one machine."""
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    return JournalStorage(JournalFileBackend(f"{folder}/log"))


def of_rate(trial: Any, steps: int) -> float:
    """The loss at a learning rate."""
    return trained(trial.suggest_float("learning_rate", *RATES, log=True), steps)


def of_loop(trial: Any, steps: int) -> float:
    """The loss of a config of the loop's space."""
    torch.set_num_threads(1)
    shapes = {
        "constant": lambda done: 1.0,
        "linear": lambda done: 1.0 - done,
        "cosine": lambda done: 0.5 + 0.5 * math.cos(math.pi * done),
    }
    shape = shapes[trial.suggest_categorical("schedule", list(shapes))]
    warmup = trial.suggest_int("warmup_steps", 0, 400, step=100)

    def factor(step: int) -> float:
        """Of the peak rate."""
        return step / warmup if step < warmup else shape(min(1.0, (step - warmup) / max(1, steps - warmup)))

    return Trial(
        "mlp-tiny",
        trial.suggest_float("learning_rate", 1e-4, 1e-1, log=True),
        model=mlp(trial.suggest_int("width", 16, 64, log=True), trial.suggest_int("depth", 1, 3)),
        batch_size=64,
        weight_decay=trial.suggest_float("weight_decay", 1e-6, 1.0, log=True),
        betas=(
            trial.suggest_categorical("b1", [0.8, 0.9, 0.95]),
            trial.suggest_categorical("b2", [0.95, 0.99, 0.999]),
        ),
        factor=factor,
    ).train(steps)


def optuna_worker(objective: Callable[[Any, int], float], folder: str, trials: int, steps: int) -> None:
    import optuna

    study = optuna.load_study(study_name=STUDY, storage=storage(folder))
    study.optimize(lambda trial: objective(trial, steps), n_trials=trials)


def with_optuna(objective: Callable[[Any, int], float], trials: int, steps: int, workers: int) -> int:
    """A random search; how many trials finished."""
    import optuna

    with tempfile.TemporaryDirectory() as folder:
        sampler = optuna.samplers.RandomSampler()
        study = optuna.create_study(study_name=STUDY, storage=storage(folder), sampler=sampler)
        spawned = multiprocessing.get_context("spawn")
        shares = [trials // workers + (worker < trials % workers) for worker in range(workers)]
        processes = [
            spawned.Process(target=optuna_worker, args=(objective, folder, share, steps)) for share in shares
        ]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
        return len(study.get_trials(states=(optuna.trial.TrialState.COMPLETE,)))


def with_ray(trials: int, steps: int, workers: int) -> int:
    """A random search, a core a trial, workers kept from trial to trial; how many trials finished."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    import ray
    from ray import tune

    class Searched(tune.Trainable):
        def setup(self, config: dict[str, Any]) -> None:
            self.settings = config

        def step(self) -> Any:
            return {"loss": trained(self.settings["learning_rate"], steps), "done": True}

        def reset_config(self, new_config: Any) -> Any:
            self.settings = new_config
            return True

        def save_checkpoint(self, checkpoint_dir: Any) -> Any:
            return {}

        def load_checkpoint(self, checkpoint: Any) -> Any:
            return None

    ray.init(num_cpus=workers, include_dashboard=False, log_to_driver=False)
    with tempfile.TemporaryDirectory() as folder:
        results = tune.Tuner(
            tune.with_resources(Searched, {"cpu": 1}),
            param_space={"learning_rate": tune.loguniform(*RATES)},
            tune_config=tune.TuneConfig(num_samples=trials, max_concurrent_trials=workers, reuse_actors=True),
            run_config=tune.RunConfig(storage_path=folder, verbose=0),
        ).fit()
        return len(results) - results.num_errors


def main() -> None:
    searches = {"optuna": partial(with_optuna, of_rate), "ray": with_ray, "loop": partial(with_optuna, of_loop)}
    search = searches[sys.argv[1]]
    trials, steps, workers = map(int, sys.argv[2:])
    if (finished := search(trials, steps, workers)) != trials:
        raise RuntimeError(f"{finished} of {trials} trials finished")


if __name__ == "__main__":
    main()
