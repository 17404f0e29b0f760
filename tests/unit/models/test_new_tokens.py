# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Which tokens a run adds, what their files look like, and every contradiction that is refused."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from tests.unit.models.tiny_models import tiny_model
from tunesmith.config.load import load_config
from tunesmith.core.errors import TunesmithError
from tunesmith.core.report import collected_warnings
from tunesmith.models.load import load_model_config, load_skeleton, resolve_model
from tunesmith.models.rope import RopeScaling
from tunesmith.models.token_manifest import TokenManifest
from tunesmith.models.variant_file import Changes, missing_changes, read_variant, write_manifest
from tunesmith.models.variants import copy_manifest, with_changes
from tunesmith.templates.tokenizer import load_tokenizer, tokenizer_fingerprint, tokens_of_the_run

WORDS = 90


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNESMITH_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """Save a tiny Llama of 96 embeddings with a tokenizer of 90 words."""
    return save_base(tmp_path / "base", WORDS)


def save_base(folder: Path, num_words: int) -> Path:
    tiny_model("llama", attention="sdpa").save_pretrained(folder)
    pipeline = Tokenizer(models.WordLevel({f"w{number}": number for number in range(num_words)}, unk_token="w0"))
    pipeline.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=pipeline, eos_token="w2", unk_token="w0").save_pretrained(folder)
    return folder


def changed(base: Path, command: Any = "chat", **keys: Any) -> Path:
    config = load_config({"model_name_or_path": str(base), **keys}, command=command)
    return with_changes(config, base)


def manifest_of(folder: Path) -> TokenManifest:
    variant = read_variant(folder)
    assert variant is not None and variant.changes.tokens is not None
    return variant.changes.tokens


def code_of(base: Path, **keys: Any) -> str:
    with pytest.raises(TunesmithError) as refused:
        changed(base, **keys)
    return refused.value.problems[0].code


def warned() -> set[str]:
    return {problem.code for problem in collected_warnings()}


def test_nothing_is_changed_without_a_key(base: Path) -> None:
    assert changed(base) == base and changed(base, resize_vocab=True) == base


def test_tokens_follow_the_vocabulary_and_fill_the_room_that_the_embedding_has(base: Path) -> None:
    folder = changed(base, add_tokens="foo, bar", add_special_tokens=["<sp>"])
    assert changed(base, add_tokens=["foo", "bar"], add_special_tokens="<sp>") == folder
    assert manifest_of(folder).ids == {"foo": 90, "bar": 91, "<sp>": 92}
    assert load_model_config(folder).get_text_config().vocab_size == 96
    tokenizer = load_tokenizer(folder)
    ids = tokenizer("w5 foo <sp>bar w3")["input_ids"]
    assert ids == [5, 90, 92, 91, 3] and tokens_of_the_run(tokenizer) == {"<sp>"}
    assert str(tokenizer.decode(ids, skip_special_tokens=True)).split() == ["w5", "foo", "bar", "w3"]
    assert tokenizer_fingerprint(tokenizer) != tokenizer_fingerprint(load_tokenizer(base))
    for name in ("tokenizer.json", "config.json"):  # of the base nothing is touched
        assert "foo" not in (base / name).read_text(encoding="utf-8")
    grown = changed(base, add_tokens=[f"new{number}" for number in range(10)])
    assert load_skeleton(grown).get_output_embeddings().weight.shape[0] == 100


def test_a_tokenizer_beyond_the_embedding_is_met_by_resize_vocab(tmp_path: Path) -> None:
    base = save_base(tmp_path / "large", 99)
    folder = changed(base, resize_vocab=True)
    assert manifest_of(folder).ids == {"w96": 96, "w97": 97, "w98": 98}
    more = manifest_of(changed(base, add_tokens="foo"))
    assert more.ids["foo"] == 99 and more.first == 96  # those that lacked an embedding get theirs too
    assert manifest_of(changed(base, adapter_name_or_path=str(adapter_of(folder, tmp_path)))).first == 96


def test_files_name_tokens_and_descriptions(base: Path, tmp_path: Path) -> None:
    (tmp_path / "tokens.txt").write_text("left right\nup\n", encoding="utf-8")
    assert manifest_of(changed(base, add_tokens=str(tmp_path / "tokens.txt"))).ids.keys() == {"left", "right", "up"}
    described = tmp_path / "described.yaml"
    described.write_text('"<a>": w5 w7\n"<b>": w9\n', encoding="utf-8")
    keys = {"new_special_tokens_config": str(described), "init_special_tokens": "desc_init"}
    manifest = manifest_of(changed(base, **keys, add_special_tokens="<c>"))
    assert manifest.descriptions == {"<a>": (5, 7), "<b>": (9,)} and manifest.start == "desc_init"
    assert all(token.special for token in manifest.tokens) and "model.tokens_overridden" in warned()
    assert TokenManifest.from_json(json.loads(json.dumps(manifest.to_json()))) == manifest
    described.write_text("- a\n", encoding="utf-8")
    assert code_of(base, **keys) == "model.tokens_malformed"
    assert code_of(base, add_tokens=str(tmp_path / "none.txt")) == "model.tokens_malformed"
    (tmp_path / "latin.txt").write_bytes("süden".encode("latin-1"))
    assert code_of(base, add_tokens=str(tmp_path / "latin.txt")) == "model.tokens_malformed"


def test_a_start_without_descriptions_and_known_tokens_are_told(base: Path) -> None:
    manifest = manifest_of(changed(base, add_tokens="w7,foo", init_special_tokens="desc_init"))
    assert manifest.start == "noise_init" and manifest.ids == {"foo": 90}
    assert {"model.tokens_undescribed", "model.tokens_known"} <= warned()
    assert changed(base, add_tokens="w7") == base


def test_contradictions_are_refused(base: Path, tmp_path: Path) -> None:
    assert code_of(base, add_tokens="foo", add_special_tokens="foo") == "model.tokens_conflict"
    (tmp_path / "bare").mkdir()
    (tmp_path / "bare" / "config.json").write_text((base / "config.json").read_text(encoding="utf-8"), encoding="utf-8")
    assert code_of(tmp_path / "bare", add_tokens="foo") == "model.tokens_unsupported"


def adapter_of(folder: Path, tmp_path: Path, name: str = "adapter") -> Path:
    adapter = tmp_path / name
    adapter.mkdir()
    copy_manifest(folder, adapter)
    return adapter


def test_an_adapter_brings_its_tokens(base: Path, tmp_path: Path) -> None:
    folder = changed(base, add_tokens="foo,bar", seed=7)
    adapter = adapter_of(folder, tmp_path)
    assert changed(base, adapter_name_or_path=str(adapter)) == folder
    assert changed(base, adapter_name_or_path=str(adapter), add_tokens="bar") == folder
    named = {"adapter_name_or_path": str(adapter)}
    assert code_of(base, **named, add_tokens="other") == "model.tokens_conflict"
    assert code_of(base, **named, add_special_tokens="foo") == "model.tokens_conflict"
    assert code_of(save_base(tmp_path / "other", 80), **named) == "model.tokens_conflict"
    extended = tmp_path / "extended"  # the same tokens, added and saved by hand
    load_tokenizer(folder).save_pretrained(extended)
    tiny_model("llama", attention="sdpa").save_pretrained(extended)
    assert manifest_of(changed(extended, **named)) == manifest_of(folder)
    second = adapter_of(changed(base, add_tokens="bar,foo"), tmp_path, "second")
    assert code_of(base, adapter_name_or_path=f"{adapter},{second}") == "model.tokens_conflict"
    whole = manifest_of(folder).to_json()
    for broken in ({}, {**whole, "descriptions": []}):
        text = json.dumps({"tokens": broken, "rope": None})
        (adapter / "tunesmith_model.json").write_text(text, encoding="utf-8")
        assert code_of(base, **named) == "tuner.adapter_unsupported"


def test_a_changed_folder_is_no_model_to_name(base: Path) -> None:
    """Its weights are elsewhere, wherever the file says: one that came with a download could name any place."""
    folder = changed(base, add_tokens="foo")
    with pytest.raises(TunesmithError) as refused:
        resolve_model(str(folder))
    assert refused.value.problems[0].code == "model.folder_invalid"


def test_what_an_adapter_was_trained_with_and_a_model_lacks_is_named(base: Path) -> None:
    tokens = manifest_of(changed(base, add_tokens="foo,bar"))
    other = manifest_of(changed(base, add_tokens="foo"))
    yarn, linear = (RopeScaling(parameters={"rope_type": name, "factor": 2.0}) for name in ("yarn", "linear"))
    trained = Changes(tokens=tokens, rope=yarn)
    assert missing_changes(Changes(), trained) == [] == missing_changes(trained, trained)
    assert missing_changes(trained, Changes(tokens=replace(tokens, seed=1), rope=yarn)) == []
    assert missing_changes(trained, Changes()) == ["2 new tokens", "yarn positions"]
    assert missing_changes(trained, Changes(tokens=other, rope=linear)) == ["2 new tokens", "yarn positions"]


def test_a_manifest_with_gaps_is_refused(base: Path, tmp_path: Path) -> None:
    manifest = manifest_of(changed(base, add_tokens="foo,bar,baz"))
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    write_manifest(Changes(tokens=manifest), adapter)
    content = json.loads((adapter / "tunesmith_model.json").read_text(encoding="utf-8"))
    del content["tokens"]["tokens"][1]
    (adapter / "tunesmith_model.json").write_text(json.dumps(content), encoding="utf-8")
    assert code_of(base, adapter_name_or_path=str(adapter)) == "tuner.adapter_unsupported"
