"""The papers' models as points of the one config. Parameter counts are tested."""

from dataclasses import replace

from jaxl2o.models.attention import Attention
from jaxl2o.models.config import Memory, TransformerConfig


def small_tf(d: int = 20, depth: int = 12) -> TransformerConfig:
    """Small TF of Liu et al. 2025 (arXiv:2410.13981): ReLU attention, four full-width heads, D = 2d + 2, post-norm.

    35,658 parameters a layer at d = 20: no output projection and no bias in the attention. Encoding: `interleaved(d)`.
    """
    width = 2 * d + 2
    return TransformerConfig(
        depth=depth,
        heads=4,
        width=width,
        head_dim=width,
        mlp_dim=4 * width,
        attention="relu",
        score="factored",
        write="merged",
        norm="post",
        bias="mlp",
        read_in=d + 1,
        read_out="linear",
        unroll=True,
    )


def gpt2(d: int = 20, depth: int = 12, heads: int = 8, width: int = 256, positions: int = 202) -> TransformerConfig:
    """GPT-2 of Garg et al. 2022 (arXiv:2208.01066): softmax attention, pre-norm, GELU; 9.5 million parameters.

    `positions` is the longest prompt in tokens, 2n + 1; theirs is 2 * 101. Encoding: `alternating(d)`.
    """
    return TransformerConfig(
        depth=depth,
        heads=heads,
        width=width,
        head_dim=width // heads,
        mlp_dim=4 * width,
        attention="softmax",
        score="factored",
        write="factored",
        activation="gelu",
        norm="pre",
        bias="all",
        read_in=d,
        read_out="linear",
        positions=positions,
        unroll=True,
    )


def linear_attention(d: int, depth: int, heads: int = 1) -> TransformerConfig:
    """The linear Transformer of Ahn et al. 2023 (arXiv:2306.00297): merged heads, no MLP, no norm; 2 (d+1)^2 a head.

    Encoding: `stacked(d)`, where answers are minus the label slot.
    """
    return TransformerConfig(depth=depth, heads=heads, width=d + 1, init_scale=0.02)


def memformer(d: int, depth: int, memory: Memory, heads: int = 1, n: int = 0) -> TransformerConfig:
    """The memory-augmented linear Transformer of Dutta and Sra 2024 (arXiv:2410.07263): `linear_attention` that remembers.

    n: examples of every prompt of one query, which a Hadamard memory must know: it has a number for each of n + 1 tokens.
    """
    tokens = n + 1 if memory.startswith("hadamard") else 0
    return replace(linear_attention(d, depth, heads), memory=memory, tokens=tokens)


# PyTorch's linear maps start uniform in +-1 / sqrt(fan in), which has this deviation in units of 1 / sqrt(fan in)
PYTORCH_SCALE = 3.0**-0.5


def linear_self_attention(d: int = 10, depth: int = 4, width: int = 64, heads: int = 4) -> TransformerConfig:
    """LSA of Giannou et al. 2024 (arXiv:2403.03183): linear attention without norm or MLP, kept within [-10, 10].

    Their stabilisers: weights of the layers start at a deviation of 2e-4, and the stream is clipped; prompts grow in length and
    dimension (`shift.at_length`, `shift.in_dimensions`). Encoding: `mutual(d, scale)`, scale = sqrt(heads / width) for their
    scores over sqrt(K). Theirs pads tokens with d zeros, which only add rows to the read-in.
    """
    return TransformerConfig(
        depth=depth,
        heads=heads,
        width=width,
        head_dim=width // heads,
        score="factored",
        write="factored",
        bias="all",
        init_scale=2e-4 * width**0.5,
        ends_scale=PYTORCH_SCALE,
        clip=10.0,
        read_in=d + 1,
        read_out="linear",
    )


def linear_self_attention_with_norm(d: int = 10, depth: int = 4, width: int = 64, heads: int = 4) -> TransformerConfig:
    """The same with layer norm before every attention and before the read-out; then it starts at 0.02 and needs no clip."""
    plain = linear_self_attention(d, depth, width, heads)
    return replace(plain, norm="pre", init_scale=0.02 * width**0.5, clip=None)


def newton_softmax(d: int = 5, depth: int = 12, n: int = 26, width: int = 32, heads: int = 4) -> TransformerConfig:
    """The softmax encoder of Giannou et al. 2024 (arXiv:2403.03183) that outputs w: `gpt2` with ReLU units, not causal.

    n: the most examples of a prompt; its positions are n + 1. Encoding: `summary(d)`.
    """
    return replace(
        gpt2(d, depth, heads, width, positions=n + 1),
        activation="relu",
        init_scale=0.02 * width**0.5,
        ends_scale=PYTORCH_SCALE,
        read_in=d + 1,
        outputs=d,
        unroll=False,
    )


def mixture_encoder(
    d: int = 8, depth: int = 4, width: int = 64, heads: int = 4, attention: Attention = "relu"
) -> TransformerConfig:
    """After Jin, Balasubramanian and Lai 2024 (arXiv:2410.14183): ReLU attention and ReLU MLPs, without norms; d outputs.

    The paper's details were not at hand: widths 32, 64 and 128 are theirs as recalled; heads, hidden units and the start at 0.3
    are ours. Encoding: `marked_summary(d)`, which averages over tokens.
    """
    return TransformerConfig(
        depth=depth,
        heads=heads,
        width=width,
        head_dim=width // heads,
        mlp_dim=2 * width,
        attention=attention,
        score="factored",
        write="factored",
        bias="mlp",
        init_scale=0.3,
        ends_scale=1.0,
        read_in=d + 2,
        read_out="linear",
        outputs=d,
        unroll=True,
    )
