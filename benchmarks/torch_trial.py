"""The four workloads in PyTorch, as a careful user writes them: eager mode, fused AdamW."""

import itertools
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn
from torch.nn import functional

CLASSES, FEATURES = 10, 40
EXAMPLES, WINDOWS = 3200, 2000
PIXELS, CHANNELS = 16, (16, 32)
SYMBOLS, CONTEXT, WIDTH, HEADS, DEPTH = 128, 64, 64, 4, 2
BATCH = {"mlp-tiny": 32, "mlp": 100, "cnn": 32, "gpt": 8}


def mlp(width: int, depth: int = 2) -> nn.Module:
    sizes = (FEATURES, *[width] * depth)
    hidden = [part for pair in itertools.pairwise(sizes) for part in (nn.Linear(*pair), nn.ReLU())]
    return nn.Sequential(*hidden, nn.Linear(width, CLASSES))


def cnn() -> nn.Module:
    first, second = CHANNELS
    return nn.Sequential(
        nn.Conv2d(1, first, 3, padding=1),
        nn.ReLU(),
        nn.AvgPool2d(2),
        nn.Conv2d(first, second, 3, padding=1),
        nn.ReLU(),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(second * (PIXELS // 4) ** 2, CLASSES),
    )


def rotated(x_BxHxTxD: torch.Tensor) -> torch.Tensor:
    """Rotary positions over neighbouring pairs."""
    length, width = x_BxHxTxD.shape[-2:]
    angle = torch.outer(torch.arange(length), 10_000.0 ** (-torch.arange(0, width, 2) / width))
    even, odd = x_BxHxTxD[..., ::2], x_BxHxTxD[..., 1::2]
    turned = (even * angle.cos() - odd * angle.sin(), even * angle.sin() + odd * angle.cos())
    return torch.stack(turned, -1).flatten(-2)


class Block(nn.Module):
    """Attention and a two-layer MLP, each behind an RMS norm."""

    def __init__(self) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.RMSNorm(WIDTH) for _ in range(2))
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH, bias=False)
        self.out = nn.Linear(WIDTH, WIDTH, bias=False)
        self.up = nn.Linear(WIDTH, 4 * WIDTH, bias=False)
        self.down = nn.Linear(4 * WIDTH, WIDTH, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, length, _ = x.shape
        heads = self.qkv(self.norms[0](x)).view(batch, length, 3, HEADS, -1).permute(2, 0, 3, 1, 4)
        query, key, value = heads.unbind(0)
        seen = functional.scaled_dot_product_attention(rotated(query), rotated(key), value, is_causal=True)
        x = x + self.out(seen.transpose(1, 2).reshape(batch, length, -1))
        return x + self.down(functional.gelu(self.up(self.norms[1](x)), approximate="tanh"))


class GPT(nn.Module):
    """A decoder with tied embeddings."""

    def __init__(self) -> None:
        super().__init__()
        self.symbols = nn.Embedding(SYMBOLS, WIDTH)
        self.blocks = nn.Sequential(*(Block() for _ in range(DEPTH)))
        self.norm = nn.RMSNorm(WIDTH)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(self.blocks(self.symbols(x))) @ self.symbols.weight.T


MODELS: dict[str, Callable[[], nn.Module]] = {
    "mlp-tiny": lambda: mlp(32),
    "mlp": lambda: mlp(100),
    "cnn": cnn,
    "gpt": GPT,
}


def examples(workload: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Random inputs and targets of the workload's shapes."""
    if workload == "gpt":
        windows = torch.randint(SYMBOLS, (WINDOWS, CONTEXT + 1))
        return windows[:, :-1], windows[:, 1:]
    shape = (1, PIXELS, PIXELS) if workload == "cnn" else (FEATURES,)
    return torch.randn(EXAMPLES, *shape), torch.randint(CLASSES, (EXAMPLES,))


def loss(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return functional.cross_entropy(outputs.flatten(0, -2), targets.flatten())


class Trial:
    """One member: model, fused AdamW and examples, ready to step.

    Args:
      model: if not the workload's own.
      factor: what a step's learning rate is multiplied by.
    """

    def __init__(
        self,
        workload: str,
        learning_rate: float = 1e-3,
        *,
        model: nn.Module | None = None,
        batch_size: int | None = None,
        weight_decay: float = 0.01,
        betas: tuple[float, float] = (0.9, 0.999),
        factor: Callable[[int], float] | None = None,
    ) -> None:
        self.model = model or MODELS[workload]()
        self.x, self.y = examples(workload)
        self.batches = self._batches(batch_size or BATCH[workload])
        params = self.model.parameters()
        self.optimizer = torch.optim.AdamW(
            params, lr=learning_rate, betas=betas, weight_decay=weight_decay, fused=True
        )
        self.schedule = torch.optim.lr_scheduler.LambdaLR(self.optimizer, factor) if factor else None

    def _batches(self, size: int) -> Iterator[torch.Tensor]:
        """The examples of one step after the other, in epochs of random order."""
        while True:
            yield from torch.randperm(len(self.x)).split(size)

    def train(self, steps: int) -> float:
        """The last loss after so many more steps."""
        last = torch.tensor(0.0)
        for index in itertools.islice(self.batches, steps):
            last = loss(self.model(self.x[index]), self.y[index])
            self.optimizer.zero_grad()
            last.backward()
            self.optimizer.step()
            if self.schedule:
                self.schedule.step()
        return float(last.detach())


class Stacked:
    """Many members as one: `torch.func.vmap` of the gradient over stacked parameters."""

    def __init__(self, workload: str, members: int) -> None:
        models = [MODELS[workload]() for _ in range(members)]
        params, _ = torch.func.stack_module_state(models)
        self.params = {name: nn.Parameter(leaf.detach()) for name, leaf in params.items()}
        self.x, self.y = examples(workload)
        self.members, self.batch, base = members, BATCH[workload], models[0]
        self.optimizer = torch.optim.AdamW(self.params.values(), lr=1e-3, fused=True)

        def member_loss(params: Any, x: Any, y: Any) -> Any:
            return loss(torch.func.functional_call(base, params, (x,)), y)

        self.gradients = torch.func.vmap(torch.func.grad(member_loss))

    def train(self, steps: int) -> None:
        for _ in range(steps):
            index = torch.randint(len(self.x), (self.members, self.batch))
            detached = {name: leaf.detach() for name, leaf in self.params.items()}
            for name, gradient in self.gradients(detached, self.x[index], self.y[index]).items():
                self.params[name].grad = gradient
            self.optimizer.step()


def one_process_rate(workload: str, seconds: float) -> float:
    """Steps a second of one member after another, in this process with one thread."""
    torch.set_num_threads(1)
    trial = Trial(workload)
    trial.train(20)
    steps, began = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - began) < seconds:
        trial.train(20)
        steps += 20
    return steps / elapsed
