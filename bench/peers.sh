#!/usr/bin/env bash
# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
# Makes the environments of the peers that the benches measure against: LLaMA-Factory 0.9.5, ms-swift 4.6.0, TRL 1.16.
#
#   bench/peers.sh [FOLDER] [llamafactory|ms-swift|trl ...]     FOLDER: default bench/environments
#
# Each has an environment of its own with torch 2.13.0 installed first, or a CUDA stack of several GB is pulled.
# A finished environment (it holds the file "done") is left as it is; remove its folder to make it anew.
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
folder="${1:-$here/environments}"
shift || true
peers=("$@")
[ ${#peers[@]} -gt 0 ] || peers=(llamafactory ms-swift trl)
python="${PYTHON:-python3.11}"
torch="torch==2.13.0"

install() { # environment, packages…
  "$folder/$1/bin/python" -m pip install --quiet --disable-pip-version-check --constraint <(echo "$torch") "${@:2}"
}

make_llamafactory() {
  # Its own requirements replace the CPU build of torch, and torchvision's and torchaudio's wheels break imports on CPU
  # machines: so its pins by hand, the package without dependencies, and an empty module called torchaudio.
  install llamafactory "transformers==5.6.0" "accelerate==1.11.0" "peft==0.18.1" "trl==0.24.0" "datasets==4.0.0" \
    "tyro<0.9" "torchdata==0.11.0" einops fire hf-transfer matplotlib modelscope omegaconf pandas protobuf pydantic \
    pyyaml safetensors scipy sentencepiece tiktoken fastapi uvicorn sse-starlette "av<=16.0.0"
  install llamafactory --no-deps "llamafactory==0.9.5"
  local packages
  packages="$("$folder/llamafactory/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')"
  mkdir -p "$packages/torchaudio"
  : > "$packages/torchaudio/__init__.py"
}

make_ms-swift() {
  install ms-swift "ms-swift==4.6.0"
}

make_trl() {
  # transformers as tunesmith's constraints pin it, so that both measure the same library.
  install trl "trl==1.16.0" "peft==0.21.2" "transformers==$(sed -n 's/^transformers==//p' "$here/../constraints.txt")"
}

mkdir -p "$folder"
for peer in "${peers[@]}"; do
  if [ -e "$folder/$peer/done" ]; then
    echo "$peer: already there"
    continue
  fi
  echo "$peer: installing"
  "$python" -m venv --clear "$folder/$peer"
  install "$peer" "$torch"
  "make_$peer"
  "$folder/$peer/bin/python" -m pip freeze --disable-pip-version-check > "$folder/$peer/done"
  echo "$peer: done"
done
