# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Does a merged or saved model compute what base and adapter computed? Judged by logits on fixed probe texts.

The merge is compared in float64 where memory allows: in float32 the two orders of summation alone differ by more than
1e-4 on logits of 40. The saved folder is compared in float32, so that only the stored weights differ. Agreement of the
most likely tokens forgives near ties: a token whose choice changed counts as agreement when the reference's best logit
leads the one chosen instead by no more than four times the error (root mean square over the vocabulary) that running
the merged model in the saved number format makes on that token; nobody who uses the folder can tell such candidates
apart. Every other change counts; on 400 probe tokens 99.9 % therefore means all of them, and the limit on the mean KL
divergence holds without exceptions.
"""

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib import resources

import psutil
import torch
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from tunesmith.core.errors import TunesmithError, refusal

# Design section 10; for a merge that can only be compared in float32, its rounding is allowed for.
MAX_MERGE_DIFFERENCE = {torch.float64: 1e-4, torch.float32: 1e-3}
MIN_TOP1_AGREEMENT = 0.999
MIN_TOP1_AGREEMENT_DEQUANTISED = 0.99
MAX_MEAN_KL = 1e-3
_TIE_ERRORS = 4.0


@dataclass(frozen=True, kw_only=True)
class LogitComparison:
    """How the logits of a candidate differ from a reference's, over all probe tokens."""

    top1_agreement: float
    mean_kl: float
    num_tokens: int
    num_ties: int


def probe_texts() -> tuple[str, ...]:
    """Give the fixed texts: prose, code, JSON, arithmetic, German, Chinese, a letter, a formula."""
    text = resources.files("tunesmith.models").joinpath("probes.txt").read_text(encoding="utf-8")
    return tuple(part.strip("\n") for part in text.split("\n---\n"))


def probe_ids(tokenizer: PreTrainedTokenizerBase) -> list[Tensor]:
    """Tokenise the probe texts, [1, T] each."""
    return [torch.tensor([tokenizer(text)["input_ids"]]) for text in probe_texts()]


def comparison_dtype(model: nn.Module) -> torch.dtype:
    """Choose float64 where a second copy of this float32 model, twice as large, finds room; else float32."""
    weight = next(model.parameters())
    if weight.device.type == "mps":
        return torch.float32
    needed = 1.2 * sum(parameter.numel() for parameter in model.parameters()) * 8
    is_cuda = weight.device.type == "cuda"
    free = torch.cuda.mem_get_info(weight.device)[0] if is_cuda else psutil.virtual_memory().available
    return torch.float64 if needed < free else torch.float32


@torch.no_grad()
def probe_logits(model: nn.Module, probes: Sequence[Tensor], *, dtype: torch.dtype) -> list[Tensor]:
    """Compute the logits of each probe alone in `dtype`, given on the CPU; the model is left as it was."""
    device = next(model.parameters()).device
    with computing_in(model, dtype):
        return [model(input_ids=ids.to(device), use_cache=False).logits[0].to(dtype).cpu() for ids in probes]


@contextlib.contextmanager
def computing_in(model: nn.Module, dtype: torch.dtype) -> Iterator[None]:
    """Let a model compute in another number format without dropout, and put it back."""
    was_training, own = model.training, next(model.parameters()).dtype
    model.eval().to(dtype)
    try:
        yield
    finally:
        model.to(own).train(was_training)


def tie_gaps(reference: Iterable[Tensor], rounded: Iterable[Tensor]) -> list[Tensor]:
    """Give the lead below which two candidates of a token are a tie, from a run in the saved number format."""
    gaps = []
    for expected_TV, rounded_TV in zip(reference, rounded, strict=True):
        error_TV = rounded_TV.float() - expected_TV.float()
        error_TV -= error_TV.mean(-1, keepdim=True)  # a shift of all logits changes nothing
        gaps.append(_TIE_ERRORS * error_TV.square().mean(-1).sqrt())
    return gaps


def compare_logits(
    reference: Sequence[Tensor], candidate: Sequence[Tensor], gaps: Sequence[Tensor] | None = None
) -> LogitComparison:
    """Compare logits token by token; `gaps` are those of `tie_gaps`, absent ones forgive nothing."""
    total_kl = 0.0
    num_tokens = num_agreeing = num_ties = 0
    for number, (expected_TV, found_TV) in enumerate(zip(reference, candidate, strict=True)):
        expected_logps, found_logps = expected_TV.log_softmax(-1), found_TV.log_softmax(-1)
        total_kl += float((expected_logps.exp() * (expected_logps - found_logps)).sum())
        lead_T = expected_TV.amax(-1) - expected_TV.gather(-1, found_TV.argmax(-1, keepdim=True))[:, 0]
        gap_T = torch.zeros_like(lead_T) if gaps is None else gaps[number]
        num_agreeing += int((lead_T <= gap_T).sum())
        num_ties += int(((lead_T > 0) & (lead_T <= gap_T)).sum())
        num_tokens += len(expected_TV)
    return LogitComparison(
        top1_agreement=num_agreeing / num_tokens,
        mean_kl=total_kl / num_tokens,
        num_tokens=num_tokens,
        num_ties=num_ties,
    )


def largest_difference(reference: Sequence[Tensor], candidate: Sequence[Tensor]) -> float:
    """Give the largest absolute difference of any logit; infinite where one is no number."""
    pairs = zip(reference, candidate, strict=True)
    largest = max(float((expected_TV - found_TV).abs().max()) for expected_TV, found_TV in pairs)
    return largest if largest == largest else float("inf")


def check_merge(difference: float, *, dtype: torch.dtype) -> None:
    """Refuse a merge whose logits, computed in `dtype`, leave those of base and adapter."""
    allowed = MAX_MERGE_DIFFERENCE[dtype]
    if not difference <= allowed:
        raise _refused(f"the merged weights change the logits by up to {difference:.2e} (allowed {allowed:.0e})")


def check_saved(comparison: LogitComparison, *, is_dequantised: bool = False) -> None:
    """Refuse a saved folder that answers differently from the model it was saved from."""
    needed = MIN_TOP1_AGREEMENT_DEQUANTISED if is_dequantised else MIN_TOP1_AGREEMENT
    if not comparison.top1_agreement >= needed:
        raise _refused(
            f"on {comparison.num_tokens} probe tokens the saved folder gives the same most likely token "
            f"{comparison.top1_agreement:.2%} of the time (needed {needed:.1%})"
        )
    if not comparison.mean_kl <= MAX_MEAN_KL:
        raise _refused(
            f"the saved folder's distribution is {comparison.mean_kl:.2e} nats away in the mean "
            f"(allowed {MAX_MEAN_KL:.0e})"
        )


def _refused(reason: str) -> TunesmithError:
    return refusal(
        "export.merge_differs",
        f"The verification failed: {reason}. Nothing was exported.",
        "Try infer_dtype: float32, or look whether the adapter belongs to this base model; please report it otherwise.",
    )
