"""The other side: the same training step in PyTorch, as its users write it, with the fused Adam."""

from collections.abc import Callable
from time import perf_counter

import torch
import transformers
from torch import nn
from torch.nn import functional

from experiments.speed.shapes import Shape


class PerHead(nn.Module):
    """ReLU attention with a linear map a head for query, key and value, summed over heads (Liu et al. 2025)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()

        def maps() -> nn.ModuleList:
            return nn.ModuleList(nn.Linear(width, width, bias=False) for _ in range(heads))

        self.query, self.key, self.value = maps(), maps(), maps()

    def forward(self, z: torch.Tensor, reach: torch.Tensor) -> torch.Tensor:
        """z (B, N, D), reach (N, N): 1 / position below the diagonal, 0 above."""
        out = torch.zeros_like(z)
        for query, key, value in zip(self.query, self.key, self.value, strict=True):
            weights = functional.relu(query(z) @ key(z).transpose(1, 2)) * reach
            out = out + weights @ value(z)
        return out


class AllHeads(nn.Module):
    """The same with one linear map for all heads' queries, keys and values."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.maps = nn.Linear(width, 3 * heads * width, bias=False)

    def forward(self, z: torch.Tensor, reach: torch.Tensor) -> torch.Tensor:
        """As `PerHead.forward`."""
        batch, size, width = z.shape
        query, key, value = self.maps(z).view(batch, size, 3, self.heads, width).permute(2, 0, 3, 1, 4)
        weights = functional.relu(query @ key.transpose(-1, -2)) * reach
        return (weights @ value).sum(dim=1)


class Layer(nn.Module):
    """Attention and MLP with post-norm."""

    def __init__(self, shape: Shape, attention: type[nn.Module]) -> None:
        super().__init__()
        width = shape.width
        self.attention = attention(width, shape.heads)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)

    def forward(self, z: torch.Tensor, reach: torch.Tensor) -> torch.Tensor:
        """z (B, N, D) -> (B, N, D)."""
        z = self.first(z + self.attention(z, reach))
        return self.second(z + self.down(functional.relu(self.up(z))))


class SmallTransformer(nn.Module):
    """The ReLU decoder of Liu et al. 2025: tokens [x, 0], [x, y], ..., [x, 0]; answers at the x-only tokens."""

    def __init__(self, shape: Shape, attention: type[nn.Module]) -> None:
        super().__init__()
        self.read_in, self.read_out = nn.Linear(shape.d + 1, shape.width), nn.Linear(shape.width, 1)
        self.layers = nn.ModuleList(Layer(shape, attention) for _ in range(shape.depth))
        size = 2 * shape.n + 1
        self.register_buffer("reach", torch.tril(torch.ones(size, size)) / torch.arange(1, size + 1)[:, None])

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """x (B, n+1, d), y (B, n+1) -> the answers for all prefixes (B, n+1)."""
        asking = functional.pad(x, (0, 1))
        telling = torch.cat([x, y[..., None]], dim=-1)
        z = self.read_in(torch.stack([asking, telling], dim=2).flatten(1, 2)[:, :-1])
        for layer in self.layers:
            z = layer(z, self.reach)
        return self.read_out(z[:, ::2])[..., 0]


class Gpt2(nn.Module):
    """Hugging Face's GPT2Model as Garg et al. 2022 use it: tokens x, [y, 0...], ..., x; answers at the x tokens."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        config = transformers.GPT2Config(
            n_positions=shape.positions,
            n_embd=shape.width,
            n_layer=shape.depth,
            n_head=shape.heads,
            resid_pdrop=0.0,
            embd_pdrop=0.0,
            attn_pdrop=0.0,
            use_cache=False,
        )
        self.read_in, self.read_out = nn.Linear(shape.d, shape.width), nn.Linear(shape.width, 1)
        self.backbone = transformers.GPT2Model(config)

    def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """As `SmallTransformer.forward`."""
        labels = functional.pad(y[..., None], (0, x.shape[-1] - 1))
        z = torch.stack([x, labels], dim=2).flatten(1, 2)[:, :-1]
        hidden = self.backbone(inputs_embeds=self.read_in(z)).last_hidden_state
        return self.read_out(hidden[:, ::2])[..., 0]


MODELS: dict[str, Callable[[Shape], nn.Module]] = {
    "small-tf per head": lambda shape: SmallTransformer(shape, PerHead),
    "small-tf all heads": lambda shape: SmallTransformer(shape, AllHeads),
    "gpt2 Hugging Face": Gpt2,
}


def sample(shape: Shape) -> tuple[torch.Tensor, torch.Tensor]:
    """A batch of sparse recovery: x (B, n+1, d) and y (B, n+1)."""
    x, beta = torch.randn(shape.batch, shape.n + 1, shape.d), torch.randn(shape.batch, shape.d)
    support = torch.rand(shape.batch, shape.d).argsort(dim=1)[:, : shape.sparsity]
    beta = beta * torch.zeros_like(beta).scatter_(1, support, 1.0)
    return x, (x @ beta[..., None])[..., 0]


def run(shape: Shape, model: str, compiled: bool, threads: int, turn: Callable[[list[float]], None]) -> None:
    """Train without end; `turn` is given the seconds of every step."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    module = MODELS[model](shape)
    answer = torch.compile(module) if compiled else module
    optimizer = torch.optim.Adam(module.parameters(), lr=shape.rate, fused=True)
    while True:
        began = perf_counter()
        x, y = sample(shape)
        loss = ((answer(x, y) - y) ** 2).mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        loss.item()
        turn([perf_counter() - began])
