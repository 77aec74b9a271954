"""The trials of `mlp-tiny` in PyTorch under Optuna or Ray Tune, two at a time: run by `peers.py`, timed whole.

python benchmarks/tune_trials.py optuna|ray TRIALS STEPS
"""

import multiprocessing
import os
import sys
import tempfile

import torch
from torch_trial import Trial

WORKERS = 2
RATES = (1e-4, 1e-2)


def trained(learning_rate: float, steps: int) -> float:
    torch.set_num_threads(1)
    return Trial("mlp-tiny", learning_rate).train(steps)


def _optuna_worker(folder: str, trials: int, steps: int) -> None:
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    optuna.logging.disable_default_handler()
    study = optuna.load_study(study_name="mlp-tiny", storage=JournalStorage(JournalFileBackend(f"{folder}/log")))
    study.optimize(
        lambda trial: trained(trial.suggest_float("learning_rate", *RATES, log=True), steps), n_trials=trials
    )


def with_optuna(trials: int, steps: int) -> None:
    """Random search by processes that share a study, as Optuna's documentation advises on one machine."""
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    with tempfile.TemporaryDirectory() as folder:
        storage = JournalStorage(JournalFileBackend(f"{folder}/log"))
        study = optuna.create_study(
            study_name="mlp-tiny", storage=storage, sampler=optuna.samplers.RandomSampler()
        )
        spawned = multiprocessing.get_context("spawn")
        shares = [trials // WORKERS + (worker < trials % WORKERS) for worker in range(WORKERS)]
        workers = [spawned.Process(target=_optuna_worker, args=(folder, share, steps)) for share in shares]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        assert len(study.trials) == trials, len(study.trials)


def with_ray(trials: int, steps: int) -> None:
    """A random search of Ray Tune, a core a trial, workers kept from trial to trial."""
    import ray
    from ray import tune

    ray.init(num_cpus=WORKERS, include_dashboard=False, log_to_driver=False)
    with tempfile.TemporaryDirectory() as folder:
        tuner = tune.Tuner(
            tune.with_resources(_RayTrial, {"cpu": 1}),
            param_space={"learning_rate": tune.loguniform(*RATES), "steps": steps},
            tune_config=tune.TuneConfig(num_samples=trials, max_concurrent_trials=WORKERS, reuse_actors=True),
            run_config=tune.RunConfig(storage_path=folder, verbose=0, stop={"training_iteration": 1}),
        )
        results = tuner.fit()
        assert len(results) == trials, len(results)
        assert results.num_errors == 0
    ray.shutdown()


if len(sys.argv) > 1 and sys.argv[1] == "ray":
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    from ray.tune import Trainable

    class _RayTrial(Trainable):
        def setup(self, config):
            self.settings = config

        def step(self):
            return {"loss": trained(self.settings["learning_rate"], self.settings["steps"])}

        def reset_config(self, new_config):
            self.settings = new_config
            return True

        def save_checkpoint(self, checkpoint_dir):
            return {}

        def load_checkpoint(self, checkpoint):
            return None


if __name__ == "__main__":
    {"optuna": with_optuna, "ray": with_ray}[sys.argv[1]](int(sys.argv[2]), int(sys.argv[3]))
