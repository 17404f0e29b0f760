# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Code in a model's folder: refused with its files and hash, run by consent to that hash only, from those bytes."""

import json
import pickle
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from tunesmith.checks.context import Parts
from tunesmith.config.load import load_config
from tunesmith.core import folder_code
from tunesmith.core.errors import TunesmithError
from tunesmith.core.folder_code import PACKAGES, allowed_class, give_consent, imported_code, read_code
from tunesmith.jobs import export, train
from tunesmith.jobs.assembly import write_side_files
from tunesmith.jobs.fingerprints import folder_fingerprint
from tunesmith.models.load import load_model, load_model_config, load_skeleton
from tunesmith.models.saved_weights import save_whole_model
from tunesmith.models.variants import with_changes
from tunesmith.templates.tokenizer import load_tokenizer

CONFIGURATION = """
from transformers import LlamaConfig
from .parts.names import TYPE


class OwnConfig(LlamaConfig):
    model_type = TYPE
"""
MODEL = """
from pathlib import Path
from transformers import LlamaForCausalLM
from transformers.models.llama.modeling_llama import LlamaRMSNorm
from .configuration_own import OwnConfig

Path(__file__).with_name("canary").touch()


class DoubledNorm(LlamaRMSNorm):
    def forward(self, states):
        return 2 * super().forward(states)


class OwnModel(LlamaForCausalLM):
    config_class = OwnConfig

    def __init__(self, config):
        super().__init__(config)
        self.model.norm = DoubledNorm(config.hidden_size, eps=config.rms_norm_eps)
"""
TOKENIZER = """
from transformers import PreTrainedTokenizerFast


class OwnTokenizer(PreTrainedTokenizerFast):
    is_own = True
"""
AUTO_MAP = {"AutoConfig": "configuration_own.OwnConfig", "AutoModelForCausalLM": "modeling_own.OwnModel"}


def edit(path: Path, **changes: Any) -> None:
    content = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**content, **changes}), encoding="utf-8")


@pytest.fixture(autouse=True)
def no_consents(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folder_code, "_consents", set())


@pytest.fixture
def own(tiny_llama_folder: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """Give a model of a type that transformers does not know, with its code in three files."""
    folder = Path(shutil.copytree(tiny_llama_folder, tmp_path / "own"))
    name = re.sub(r"\W", "_", request.node.name)
    edit(folder / "config.json", model_type=f"own_{name}", architectures=["OwnModel"], auto_map=AUTO_MAP)
    (folder / "parts").mkdir()
    (folder / "parts" / "names.py").write_text(f'TYPE = "own_{name}"\n', encoding="utf-8")
    (folder / "configuration_own.py").write_text(CONFIGURATION, encoding="utf-8")
    (folder / "modeling_own.py").write_text(MODEL, encoding="utf-8")
    return folder


def load(folder: Path) -> Any:
    return load_model(folder, dtype=torch.float32, device=torch.device("cpu"))


def refused(folder: Path) -> Any:
    with pytest.raises(TunesmithError) as caught:
        load(folder)
    (problem,) = caught.value.problems
    assert problem.code == "security.remote_code_refused" and caught.value.exit_code == 7
    assert not (folder / "canary").exists()
    return problem


@pytest.mark.parametrize("value", [False, True, "sha256:" + "0" * 64])
def test_without_consent_the_refusal_shows_files_and_hash(own: Path, value: bool | str) -> None:
    give_consent(value)
    problem = refused(own)
    digest = read_code(own).digest
    assert f"trust_remote_code: {digest}" in problem.remedy and problem.where.key == "trust_remote_code"
    for name in ("modeling_own.py", "configuration_own.py", "parts/names.py"):
        assert f"{name} ({(own / name).stat().st_size:,} bytes)" in problem.message
    assert ("names is another one" in problem.message) == isinstance(value, str)
    assert allowed_class(own, "AutoConfig") is None


def test_with_consent_the_code_runs(own: Path, tiny_llama_folder: Path) -> None:
    give_consent(read_code(own).digest)
    model: Any = load(own)
    ids: Any = torch.arange(3, 20)[None]
    with torch.no_grad():
        assert torch.allclose(model(input_ids=ids).logits, 2 * load(tiny_llama_folder)(input_ids=ids).logits)
    assert model.generate(ids, max_new_tokens=2, do_sample=False).shape == (1, 19)
    assert (own / "canary").exists() and type(model).__name__ == "OwnModel"
    assert type(model).__module__.startswith(PACKAGES) and type(load_model_config(own)) is type(model.config)
    assert type(load_skeleton(own)) is type(model)


@pytest.mark.parametrize("change", ["edit", "add", "nested", "rename"])
def test_any_change_of_a_file_is_refused(own: Path, change: str) -> None:
    """Also after the first bytes ran in this very process."""
    give_consent(read_code(own).digest)
    load(own)
    (own / "canary").unlink()
    if change == "edit":
        (own / "modeling_own.py").write_text(MODEL + "# \n", encoding="utf-8")
    elif change == "add":
        (own / "further.py").write_text("", encoding="utf-8")
    elif change == "nested":
        (own / "parts" / "names.py").write_text((own / "parts" / "names.py").read_text(encoding="utf-8") + "\n")
    else:
        (own / "modeling_own.py").rename(own / "modeling_other.py")
    assert "names is another one" in refused(own).message


def test_what_runs_are_the_bytes_that_were_hashed(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is exchanged between the look at it and the import is not read again."""
    give_consent(read_code(own).digest)
    honest = read_code(own)

    def read_then_exchange(folder: Path) -> Any:
        (own / "modeling_own.py").write_text("raise SystemExit('ran')", encoding="utf-8")
        return honest

    monkeypatch.setattr(folder_code, "read_code", read_then_exchange)
    assert allowed_class(own, "AutoModelForCausalLM").__name__ == "OwnModel"


def test_only_modules_of_the_folder_are_found_in_it(own: Path) -> None:
    (own / "modeling_own.py").write_text("from . import missing\n", encoding="utf-8")
    give_consent(read_code(own).digest)
    with pytest.raises(TunesmithError) as caught:
        load(own)
    assert caught.value.problems[0].code == "model.code_broken" and "missing" in caught.value.problems[0].message


def test_a_class_for_a_type_of_transformers_is_refused(own: Path) -> None:
    edit(own / "config.json", model_type="llama", auto_map={"AutoModelForCausalLM": "modeling_own.OwnModel"})
    give_consent(read_code(own).digest)
    with pytest.raises(TunesmithError) as caught:
        load(own)
    assert caught.value.problems[0].code == "model.code_broken"


def test_code_of_another_repository_has_no_hash(own: Path) -> None:
    edit(own / "config.json", auto_map={**AUTO_MAP, "AutoModel": "owner/other--modeling.Model"})
    give_consent(read_code(own).digest)
    assert "another repository" in refused(own).message


def test_saved_models_take_their_code_along(own: Path, tmp_path: Path) -> None:
    digest = read_code(own).digest
    give_consent(digest)
    model = load(own)
    saved = tmp_path / "saved"
    save_whole_model(model, saved)
    assert read_code(saved).digest == digest
    assert torch.equal(load(saved).state_dict()["lm_head.weight"], model.state_dict()["lm_head.weight"])
    save_whole_model(model, saved / "checkpoint-10")  # as beside the last weights of a run
    assert read_code(saved).digest == read_code(saved / "checkpoint-10").digest == digest


def test_no_other_module_takes_the_name_of_what_was_hashed(
    own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = read_code(own)
    other = tmp_path / "path" / code.package
    other.mkdir(parents=True)
    for name in ("configuration_own.py", "modeling_own.py"):
        (other / name).write_text("raise SystemExit('ran')", encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path / "path"))
    give_consent(code.digest)
    assert type(load(own)).__name__ == "OwnModel"


def test_the_tokenizers_code_is_asked_for_too_and_goes_along(
    own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    edit(own / "tokenizer_config.json", auto_map={"AutoTokenizer": [None, "tokenization_own.OwnTokenizer"]})
    (own / "tokenization_own.py").write_text(TOKENIZER, encoding="utf-8")
    assert "is_own" not in vars(type(load_tokenizer(own)))
    assert "tokenization_own" in refused(own).message
    give_consent(read_code(own).digest)
    assert vars(type(load_tokenizer(own)))["is_own"]
    monkeypatch.setenv("TUNESMITH_CACHE", str(tmp_path / "cache"))
    config = load_config({"model_name_or_path": str(own), "add_tokens": "<north>"}, command="chat")
    changed = with_changes(config, own)
    beside = tmp_path / "adapter"
    beside.mkdir()
    write_side_files(Parts(folder=changed), beside)
    for folder in (changed, beside):  # a run reads its rows from the first, an export from the second
        assert vars(type(load_tokenizer(folder)))["is_own"], folder


def test_a_worker_process_takes_in_the_tokenizers_code(own: Path, tmp_path: Path) -> None:
    """As workers that are started anew do on Windows and macOS; without the code first they would end at once."""
    edit(own / "tokenizer_config.json", auto_map={"AutoTokenizer": [None, "tokenization_own.OwnTokenizer"]})
    (own / "tokenization_own.py").write_text(TOKENIZER, encoding="utf-8")
    give_consent(read_code(own).digest)
    tokenizer = load_tokenizer(own)  # its code is imported only now
    (tmp_path / "sent").write_bytes(pickle.dumps((imported_code(), tokenizer)))
    program = (
        "import pathlib, pickle, sys; tokenizer = pickle.loads(pathlib.Path(sys.argv[1]).read_bytes())[1];"
        "sys.exit(0 if vars(type(tokenizer))['is_own'] and tokenizer('here')['input_ids'] else 1)"
    )
    done = subprocess.run([sys.executable, "-c", program, str(tmp_path / "sent")], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("value", ["yes please", "sha256:12", "", "sha256:" + "g" * 64])
def test_what_is_no_hash_is_refused(value: str) -> None:
    with pytest.raises(TunesmithError) as caught:
        give_consent(value)
    assert caught.value.problems[0].code == "config.value_invalid"


def test_a_run_takes_the_consent_from_its_key(own: Path, tiny_dataset: Path, tmp_path: Path) -> None:
    keys = {
        "model_name_or_path": str(own),
        "dataset": "tiny",
        "dataset_dir": str(tiny_dataset),
        "output_dir": str(tmp_path / "run"),
        "use_cpu": True,
        "max_steps": 1,
    }
    before = folder_fingerprint(own)
    with pytest.raises(TunesmithError) as caught:
        train.run(load_config({**keys, "trust_remote_code": True}, command="train"))
    assert [problem.code for problem in caught.value.problems] == ["security.remote_code_refused"]
    allowed = {"trust_remote_code": read_code(own).digest}
    assert train.run(load_config({**keys, **allowed}, command="train"))["steps"] == 1
    target = tmp_path / "merged"
    shared = {"model_name_or_path": str(own), "adapter_name_or_path": keys["output_dir"], "export_dir": str(target)}
    assert export.run(load_config({**shared, **allowed}, command="export"))["merge_max_abs_diff"] < 1e-4
    assert read_code(target).digest == allowed["trust_remote_code"]
    (own / "modeling_own.py").write_text(MODEL + "\n", encoding="utf-8")
    assert folder_fingerprint(own) != before
