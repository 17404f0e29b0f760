# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""The rows of embedding and head that new tokens get: where they start, and how they alone are trained.

The model's own matrices stay frozen. A small matrix beside each, of the new rows only, takes their place in what the
module gives; it computes in the module's number format, so that folding it into the weights changes nothing.
"""

import copy
import math
from collections.abc import Iterator
from typing import Any

import torch
from peft.tuners.trainable_tokens.layer import TrainableTokensLayer
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils import ModulesToSaveWrapper
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedConfig

from tunesmith.core.errors import refusal
from tunesmith.models.anatomy import base_model
from tunesmith.models.rope import check_rope
from tunesmith.models.token_manifest import TokenManifest
from tunesmith.models.variant_file import Variant

# Name of the small matrix inside the module it belongs to.
_NAME = "new_rows"
EMBEDDING, HEAD = "embedding", "head"


def as_stored(config: PreTrainedConfig, variant: Variant) -> PreTrainedConfig:
    """Give the configuration that the stored weights fit: with their own number of embeddings."""
    if variant.num_rows is None:
        return config
    stored = copy.deepcopy(config)
    text: Any = stored.get_text_config()
    text.vocab_size = variant.num_rows
    return stored


def make_variant(model: nn.Module, variant: Variant) -> None:
    """Give a loaded model the rows of its new tokens, and make sure that it computes with its scaled positions."""
    if variant.changes.rope is not None:
        check_rope(model, variant.changes.rope)
    if variant.changes.tokens is not None:
        assert variant.num_rows is not None, "read from the configuration that was loaded"
        give_rows(model, variant.changes.tokens, variant.num_rows)


@torch.no_grad()
def give_rows(model: Any, tokens: TokenManifest, num_rows: int) -> None:
    """Let a loaded model of `num_rows` embeddings have one for every new token, with the values they start from.

    An embedding that is large enough stays as it is; a larger one keeps the number format.
    """
    reason = _grow(model, tokens, num_rows) if tokens.end > num_rows else None
    ends = [end for end in (model.get_input_embeddings(), model.get_output_embeddings()) if end is not None]
    if reason is None and any(len(end.weight) < tokens.end for end in ends):
        reason = f"embedding and head have {', '.join(str(len(end.weight)) for end in ends)} rows"
    if reason is not None:
        raise refusal(
            "model.tokens_unsupported",
            f"Models of type {model.config.model_type} cannot be given {tokens.end} embeddings: {reason}.",
            "Use tokens that the vocabulary has, such as reserved ones.",
            key="add_tokens",
        )
    generator = torch.Generator().manual_seed(tokens.seed)
    seen: set[int] = set()
    for end in ends:
        if id(end.weight) not in seen:
            seen.add(id(end.weight))
            end.weight[tokens.first : tokens.end] = _start(end.weight, tokens, generator).to(end.weight)


def _grow(model: Any, tokens: TokenManifest, num_rows: int) -> str | None:
    """Let embedding and head have more rows, or say why they cannot: a model may have other tables by token."""
    tables = [name for name, table in model.named_buffers() if _is_table(table, num_rows)]
    if tables:
        return f"{tables[0]} is a table of all tokens, too"
    try:
        with torch.random.fork_rng(devices=[]):
            model.resize_token_embeddings(tokens.end, mean_resizing=False)
    except (AttributeError, ValueError, TypeError) as error:  # of types whose embeddings transformers cannot exchange
        return " ".join(str(error).split())[:200]
    return None


def _is_table(table: Tensor, num_rows: int) -> bool:
    return table.ndim > 0 and len(table) == num_rows and not table.is_floating_point()


def _start(weight_VD: Tensor, tokens: TokenManifest, generator: torch.Generator) -> Tensor:
    """Give the first values of new rows: the mean of the old rows, or of a description's, with or without noise."""
    width = weight_VD.shape[1]
    mean_D = weight_VD[: tokens.first].float().mean(dim=0).cpu()
    noise_ND = torch.randn(len(tokens.tokens), width, generator=generator) / math.sqrt(width)
    rows = []
    for token, noise_D in zip(tokens.tokens, noise_ND, strict=True):
        described = tokens.descriptions.get(token.content)
        if described is None or tokens.start == "noise_init":
            rows.append(mean_D + noise_D)
        else:
            center_D = weight_VD[list(described)].float().mean(dim=0).cpu()
            rows.append(center_D + noise_D if tokens.start == "desc_init_w_noise" else center_D)
    return torch.stack(rows)


class NewRows(nn.Module):
    """The trained rows of one module; `hook` puts them into what it gives."""

    def __init__(self, weight: nn.Parameter, first: int) -> None:
        super().__init__()
        self.weight = weight
        self.first = first
        self.handle: Any = None

    @property
    def end(self) -> int:
        """Id behind the last row."""
        return self.first + len(self.weight)


def mount_rows(model: nn.Module, tokens: TokenManifest, *, pure_bf16: bool) -> None:
    """Make the new rows trainable in every embedding and head that is frozen; those trained whole hold them already."""
    shared: dict[int, nn.Parameter] = {}
    for name, module in _ends(model):
        if _is_trained_whole(module, tokens):
            continue
        _refuse_adapted(module, name)
        frozen = module.weight
        if id(frozen) not in shared:
            start = frozen[tokens.first : tokens.end].detach().clone()
            shared[id(frozen)] = nn.Parameter(start if pure_bf16 else start.float())
        rows = NewRows(shared[id(frozen)], tokens.first)
        if name == EMBEDDING:
            _check_scale(module, tokens)
            rows.handle = module.register_forward_hook(_into_embedding, with_kwargs=True)
        else:
            rows.handle = module.register_forward_hook(_into_head)
        module.add_module(_NAME, rows)


def rows_of(module: nn.Module) -> NewRows | None:
    """Give the trained rows of an embedding or head; None where it has none."""
    found = dict(module.named_children()).get(_NAME)
    assert found is None or isinstance(found, NewRows)
    return found


@torch.no_grad()
def write_rows(module: Any) -> None:
    """Write the trained rows into the module's own matrix, where nothing else reads them."""
    rows = rows_of(module)
    if rows is not None:
        module.weight[rows.first : rows.end] = rows.weight.to(module.weight)


def row_tensors(model: nn.Module) -> dict[str, Tensor]:
    """Give the trained rows by where they belong; a tied head has none of its own. They share memory with the model."""
    found: dict[str, Tensor] = {}
    for name, module in _ends(model):
        rows = rows_of(module)
        if rows is not None and all(rows.weight is not other for other in found.values()):
            found[name] = rows.weight
    return {name: weight.detach() for name, weight in found.items()}


def row_parameters(model: nn.Module) -> list[nn.Parameter]:
    """List the trained rows, each once."""
    found = {id(rows.weight): rows.weight for _, module in _ends(model) if (rows := rows_of(module)) is not None}
    return list(found.values())


@torch.no_grad()
def fill_rows(model: nn.Module, values: dict[str, Tensor], first: int) -> None:
    """Write stored rows into a model: into those mounted, else into the weights."""
    for name, module in _ends(model):
        rows = rows_of(module)
        if name not in values:  # a tied head, or a module that was trained whole
            continue
        if rows is not None:
            rows.weight.copy_(values[name])
        else:
            module.weight[first : first + len(values[name])] = values[name].to(module.weight)


def fold_rows(model: nn.Module) -> None:
    """Write the trained rows into the model's own matrices and take them off."""
    for _, module, rows in list(_mounted(model)):
        write_rows(module)
        rows.handle.remove()
        delattr(module, _NAME)


class RowsAside:
    """A context in which the model is as without mounted rows, whose values its own matrices hold meanwhile."""

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._taken: list[tuple[nn.Module, NewRows]] = []

    def __enter__(self) -> None:
        for _, module, rows in list(_mounted(self._model)):
            write_rows(module)
            delattr(module, _NAME)
            self._taken.append((module, rows))

    def __exit__(self, *_: object) -> None:
        for module, rows in self._taken:
            module.add_module(_NAME, rows)


def _ends(model: nn.Module) -> Iterator[tuple[str, Any]]:
    base: Any = base_model(model)
    yield EMBEDDING, base.get_input_embeddings()
    head = base.get_output_embeddings()
    if head is not None:
        yield HEAD, head


def _mounted(model: nn.Module) -> Iterator[tuple[str, Any, NewRows]]:
    for name, module in _ends(model):
        rows = rows_of(module)
        if rows is not None:
            yield name, module, rows


def _is_trained_whole(module: Any, tokens: TokenManifest) -> bool:
    if isinstance(module, TrainableTokensLayer):
        ids = {index for indices in module.token_indices.values() for index in indices}
        return ids >= set(range(tokens.first, tokens.end))
    return isinstance(module, ModulesToSaveWrapper) or bool(module.weight.requires_grad)


def _refuse_adapted(module: nn.Module, name: str) -> None:
    if isinstance(module, BaseTunerLayer) or type(module).__name__ == "ParametrizedLinear":
        raise refusal(
            "model.tokens_unsupported",
            f"The {name} has new tokens and an adapter of its own ({type(module).__name__}), which would both decide "
            "about their rows.",
            "Leave it out of the adapter's targets, or train it whole: additional_target: embed_tokens,lm_head; with "
            "trainable_token_ids, list the new ids too.",
            key="add_tokens",
        )
    weight: Any = vars(module)["_parameters"].get("weight")
    if weight is None or not weight.is_floating_point() or weight.ndim != 2:
        raise refusal(
            "model.tokens_unsupported",
            f"The {name} of this model is a {type(module).__name__}, whose weights are quantised or no matrix of "
            "plain numbers; new rows have no place in it.",
            "Use the unquantised model, or a way of quantising that leaves embedding and head as they are.",
            key="add_tokens",
        )


def _check_scale(module: Any, tokens: TokenManifest) -> None:
    """Refuse an embedding that does more than look up and scale."""
    if module.weight.is_meta:
        return
    ids = torch.arange(tokens.first, tokens.end, device=module.weight.device)
    with torch.no_grad():
        own, ours = module(ids), _looked_up(module, module.weight[tokens.first : tokens.end], ids - tokens.first)
    if not torch.equal(own, ours):
        raise refusal(
            "model.tokens_unsupported",
            f"The embedding of this model is a {type(module).__name__}, which computes in a way that new rows do not "
            "follow.",
            "Train the embedding whole: additional_target: embed_tokens.",
            key="add_tokens",
        )


def _looked_up(module: Any, weight_ND: Tensor, ids: Tensor) -> Tensor:
    found = functional.embedding(ids, weight_ND.to(module.weight.dtype))
    scale = getattr(module, "embed_scale", None)  # of transformers' scaled embeddings
    return found if scale is None else found * torch.as_tensor(scale, device=found.device).to(found.dtype)


def _into_embedding(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any], output: Tensor) -> Tensor:
    rows = rows_of(module)
    if rows is None:  # set aside
        return output
    ids: Tensor = args[0] if args else kwargs["input"]
    is_new = (ids >= rows.first) & (ids < rows.end)
    found = _looked_up(module, rows.weight, (ids - rows.first).clamp(0, len(rows.weight) - 1))
    return torch.where(is_new[..., None], found.to(output.dtype), output)


def _into_head(module: Any, args: tuple[Any, ...], output: Tensor) -> Tensor:
    rows = rows_of(module)
    if rows is None:
        return output
    bias = None if module.bias is None else module.bias[rows.first : rows.end]
    output[..., rows.first : rows.end] = functional.linear(args[0], rows.weight.to(module.weight.dtype), bias)
    return output
