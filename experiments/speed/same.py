"""Whether both sides compute one function: PyTorch's models are given our parameters, and answer our prompts."""

from typing import Any

import jax
import numpy as np
import torch

from experiments.speed import ours, theirs
from experiments.speed.shapes import Shape
from jaxl2o.training.loop import task_keys
from jaxl2o.types import Predict

Arrays = dict[str, Any]


def gap(shape: Shape, model: str) -> float:
    """The largest difference of an answer, and of the loss's gradient by the read-in, relative to the largest of each."""
    recipe, state = ours.prepare(shape, ours.Settings(devices=1))
    prompts = jax.vmap(lambda key: recipe.task_at(state.step).sample(key).prompt)(task_keys(recipe, state.step, state.key))
    module = theirs.MODELS[model](shape)
    with torch.no_grad():
        fill(module, shape, jax.tree.map(np.asarray, state.params))

    def loss(params: Any) -> tuple[jax.Array, jax.Array]:
        assert isinstance(recipe.predict, Predict)
        answers = recipe.predict.many(params, prompts)[:, -1]
        return (answers**2).mean(), answers

    (_, answers), gradient = jax.jit(jax.value_and_grad(loss, has_aux=True))(state.params)
    x = np.concatenate([np.asarray(prompts.x), np.asarray(prompts.x_query)], axis=1)
    found = module(torch.tensor(x), torch.tensor(np.pad(np.asarray(prompts.y), ((0, 0), (0, 1)))))
    (found**2).mean().backward()
    pairs = [
        (np.asarray(answers), found.detach().numpy()),
        (np.asarray(gradient["read_in"]), module.read_in.weight.grad.numpy().T),
    ]
    return max(float(np.abs(our - their).max() / np.abs(our).max()) for our, their in pairs)


def fill(module: Any, shape: Shape, params: Arrays) -> None:
    """Our parameters into PyTorch's places; its linear maps stand transposed, Hugging Face's do not."""
    put(module.read_in, params["read_in"].T, params["read_in_bias"])
    put(module.read_out, params["read_out"]["vector"][None], params["read_out"]["bias"][None])
    if shape.model == "gpt2":
        module.backbone.wpe.weight.copy_(torch.tensor(params["positions"]))
        put(module.backbone.ln_f, params["read_out"]["norm"]["scale"], params["read_out"]["norm"]["bias"])
    blocks = module.backbone.h if shape.model == "gpt2" else module.layers
    for i, block in enumerate(blocks):
        own = jax.tree.map(lambda leaf, i=i: leaf[i], params["layers"])
        (fill_gpt2 if shape.model == "gpt2" else fill_small)(block, own)


def fill_small(block: Any, own: Arrays) -> None:
    """A layer of `SmallTransformer`, of either attention."""
    attention = own["attention"]
    maps = np.stack(
        [attention["query"].transpose(1, 2, 0), attention["key"].transpose(1, 2, 0), attention["write"].transpose(0, 2, 1)]
    )
    if isinstance(block.attention, theirs.AllHeads):
        block.attention.maps.weight.copy_(torch.tensor(maps.reshape(-1, maps.shape[-1])))
    else:
        for heads, weights in zip((block.attention.query, block.attention.key, block.attention.value), maps, strict=True):
            for head, weight in zip(heads, weights, strict=True):
                head.weight.copy_(torch.tensor(weight))
    put(block.first, own["attention_norm"]["scale"], own["attention_norm"]["bias"])
    put(block.second, own["mlp_norm"]["scale"], own["mlp_norm"]["bias"])
    put(block.up, own["mlp"]["up"].T, own["mlp"]["up_bias"])
    put(block.down, own["mlp"]["down"].T, own["mlp"]["down_bias"])


def fill_gpt2(block: Any, own: Arrays) -> None:
    """A layer of Hugging Face's GPT-2."""
    attention, width = own["attention"], own["attention"]["output_bias"].shape[0]
    names = ("query", "key", "value")
    weight = np.concatenate([attention[name].reshape(width, -1) for name in names], axis=1)
    put(block.attn.c_attn, weight, np.concatenate([attention[f"{name}_bias"].reshape(-1) for name in names]))
    put(block.attn.c_proj, attention["output"].reshape(-1, width), attention["output_bias"])
    put(block.ln_1, own["attention_norm"]["scale"], own["attention_norm"]["bias"])
    put(block.ln_2, own["mlp_norm"]["scale"], own["mlp_norm"]["bias"])
    put(block.mlp.c_fc, own["mlp"]["up"], own["mlp"]["up_bias"])
    put(block.mlp.c_proj, own["mlp"]["down"], own["mlp"]["down_bias"])


def put(place: Any, weight: np.ndarray, bias: np.ndarray) -> None:
    """A weight and a bias."""
    place.weight.copy_(torch.tensor(weight))
    place.bias.copy_(torch.tensor(bias))
