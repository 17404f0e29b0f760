# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Which tokens a run adds: those that its keys name, those of the adapters it loads, or embeddings that are lacking.

Only tokenizer files are read here; `new_rows` gives the tokens their weights.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml
from tokenizers import Tokenizer

from tunesmith.config.run import RunConfig
from tunesmith.config.sections.vocabulary import Start, VocabularySection
from tunesmith.core.errors import TunesmithError, refusal, warning
from tunesmith.core.report import emit_warning
from tunesmith.models.token_manifest import NewToken, TokenManifest, vocabulary_digest
from tunesmith.models.tokenizer_files import assign_ids, read_tokenizer

Wanted = dict[str, bool]  # name → whether it is special


def tokens_of_run(
    config: RunConfig, folder: Path, saved: Sequence[tuple[Path, TokenManifest]], *, num_rows: int | None
) -> TokenManifest | None:
    """Give the tokens that a run adds to the model of a folder; `saved` are the manifests of its adapters.

    `num_rows` is the number of embeddings that the model has, where that is known.
    """
    section = config.part(VocabularySection)
    wanted, descriptions = _wanted(section)
    if saved:
        return _as_saved(folder, saved, wanted)
    if not wanted and not section.resize_vocab:
        return None
    tokenizer = read_tokenizer(folder)
    vocabulary = tokenizer.get_vocab(with_added_tokens=True)
    new = _unknown(wanted, vocabulary)
    listed = _without_rows(tokenizer, vocabulary, num_rows) if new or section.resize_vocab else ()
    known = {name: number for name, number in vocabulary.items() if name not in {token.content for token in listed}}
    start = section.init_special_tokens if descriptions else _plain_start(section)
    described = {name: _encode(tokenizer, name, text) for name, text in descriptions.items() if name in new}
    tokens = (*listed, *assign_ids(tokenizer, list(new.items())))
    if not tokens:
        return None
    return TokenManifest(
        tokens=tokens,
        base_size=len(known),
        base_digest=vocabulary_digest(known),
        start=start,
        seed=config.run.seed,
        descriptions=described,
    )


def _wanted(section: VocabularySection) -> tuple[Wanted, dict[str, str]]:
    """Give the names that the keys ask for, in order, and the descriptions of those that have one."""
    normal, special = _names(section.add_tokens, "add_tokens"), _names(section.add_special_tokens, "add_special_tokens")
    descriptions: dict[str, str] = {}
    if section.new_special_tokens_config is not None:
        descriptions = _read_descriptions(Path(section.new_special_tokens_config).expanduser())
        if special:
            emit_warning(
                warning(
                    "model.tokens_overridden",
                    "new_special_tokens_config names the special tokens, so add_special_tokens "
                    f"({', '.join(special)}) is not read.",
                    "Write all special tokens into the file.",
                    key="add_special_tokens",
                )
            )
        special = list(descriptions)
    both = sorted({*normal} & {*special})
    if both:
        raise refusal(
            "model.tokens_conflict",
            f"{', '.join(both)} would be both normal and special.",
            "Name each token in one of the keys.",
            key="add_special_tokens",
        )
    return {**dict.fromkeys(normal, False), **dict.fromkeys(special, True)}, descriptions


def _names(values: Sequence[str] | None, key: str) -> list[str]:
    """Give the names of a key once each; a .txt file stands for the words in it."""
    found: dict[str, None] = {}
    for value in values or ():
        if not value.endswith(".txt"):
            found[value] = None
            continue
        path = Path(value).expanduser()
        try:
            found.update(dict.fromkeys(path.read_text(encoding="utf-8").split()))
        except (OSError, ValueError) as error:
            raise _malformed(path, " ".join(str(error).split())[:200], key) from error
    if "" in found:
        raise refusal("model.tokens_malformed", f"{key} holds an empty token.", "Leave it out.", key=key)
    return list(found)


def _read_descriptions(path: Path) -> dict[str, str]:
    key = "new_special_tokens_config"
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise _malformed(path, " ".join(str(error).split())[:200], key) from error
    if not isinstance(content, dict) or not content:
        raise _malformed(path, "it is no mapping of tokens to descriptions", key)
    wrong = [name for name, text in content.items() if not (isinstance(name, str) and name and isinstance(text, str))]
    if wrong:
        raise _malformed(path, f"{wrong[0]!r} and its description are not both texts", key)
    return content


def _malformed(path: Path, reason: str, key: str) -> TunesmithError:
    return refusal(
        "model.tokens_malformed",
        f"The new tokens cannot be read from {path}: {reason}.",
        "Write one `token: description` a line into a YAML file, or tokens between blanks into a .txt file.",
        key=key,
        file=str(path),
    )


def _unknown(wanted: Wanted, vocabulary: Mapping[str, int]) -> Wanted:
    """Leave out tokens that exist already, and say so: they are trained like any other."""
    known = [name for name in wanted if name in vocabulary]
    if known:
        emit_warning(
            warning(
                "model.tokens_known",
                f"{len(known)} of the tokens to add are in the vocabulary already ({', '.join(known[:5])}); they keep "
                "their embeddings, which an adapter leaves as they are.",
                "Leave them out; additional_target: embed_tokens,lm_head trains all embeddings.",
                key="add_tokens",
            )
        )
    return {name: special for name, special in wanted.items() if name not in vocabulary}


def _without_rows(tokenizer: Tokenizer, vocabulary: Mapping[str, int], num_rows: int | None) -> tuple[NewToken, ...]:
    """List the tokens of the tokenizer that are beyond the model's embeddings."""
    added = tokenizer.get_added_tokens_decoder()
    beyond = sorted(
        (number, name) for name, number in vocabulary.items() if num_rows is not None and number >= num_rows
    )
    if beyond and [number for number, _ in beyond] != list(range(num_rows or 0, beyond[-1][0] + 1)):
        raise refusal(
            "model.tokens_unsupported",
            f"The tokenizer has {len(beyond)} tokens beyond the model's {num_rows} embeddings, whose ids do not follow "
            f"one another (the last is {beyond[-1][0]}).",
            "Use the tokenizer that belongs to the model.",
            key="resize_vocab",
        )
    special = {number for number, token in added.items() if token.special}
    return tuple(NewToken(content=name, id=number, special=number in special) for number, name in beyond)


def _plain_start(section: VocabularySection) -> Start:
    if section.init_special_tokens != "noise_init":
        emit_warning(
            warning(
                "model.tokens_undescribed",
                f"init_special_tokens is {section.init_special_tokens}, but no new token has a description; their "
                "embeddings start from the mean with noise.",
                "Name a file of tokens and descriptions in new_special_tokens_config.",
                key="init_special_tokens",
            )
        )
    return "noise_init"


def _encode(tokenizer: Tokenizer, name: str, text: str) -> tuple[int, ...]:
    ids = tuple(tokenizer.encode(text, add_special_tokens=False).ids)
    if not ids:
        raise refusal(
            "model.tokens_malformed",
            f"The description of {name} has no tokens.",
            "Describe it in a few words.",
            key="new_special_tokens_config",
        )
    return ids


def _as_saved(folder: Path, saved: Sequence[tuple[Path, TokenManifest]], wanted: Wanted) -> TokenManifest:
    """Add what the adapters were trained with, or refuse what contradicts it."""
    adapter, manifest = saved[-1]
    for other, earlier in saved[:-1]:
        if not manifest.is_same_vocabulary(earlier):
            raise _conflict(adapter, f"{other} was trained with other new tokens")
    special = {token.content: token.special for token in manifest.tokens}
    tokenizer = read_tokenizer(folder)
    vocabulary = tokenizer.get_vocab(with_added_tokens=True)
    strange = [name for name in wanted if name not in special and name not in vocabulary]
    strange += [name for name, is_special in wanted.items() if special.get(name, is_special) != is_special]
    if strange:
        raise _conflict(adapter, f"it does not know {', '.join(strange[:3])} as the keys ask for")
    _refuse_other_base(adapter, manifest, folder, vocabulary)
    absent = [(token.content, token.special) for token in manifest.tokens if token.content not in vocabulary]
    assign_ids(tokenizer, absent)
    moved = [token.content for token in manifest.tokens if tokenizer.token_to_id(token.content) != token.id]
    if moved:
        raise _conflict(adapter, f"{', '.join(moved[:3])} would get other ids in {folder}")
    return manifest


def _refuse_other_base(adapter: Path, manifest: TokenManifest, folder: Path, vocabulary: Mapping[str, int]) -> None:
    base = {name: number for name, number in vocabulary.items() if name not in manifest.ids}
    if vocabulary_digest(base) != manifest.base_digest:
        raise _conflict(
            adapter,
            f"they were added to a vocabulary of {manifest.base_size} tokens, and that of {folder} has other tokens "
            f"or ids ({len(base)} without them)",
        )


def _conflict(adapter: Path, reason: str) -> TunesmithError:
    return refusal(
        "model.tokens_conflict",
        f"The new tokens of {adapter} do not fit: {reason}.",
        "Use the adapter with its base model and its own tokens; to add further ones, merge it with `tunesmith export` "
        "first.",
        key="adapter_name_or_path",
        file=str(adapter),
    )
