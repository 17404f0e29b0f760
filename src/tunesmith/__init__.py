# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""tunesmith: fine-tune, align, check, serve, evaluate and export open language models."""

__all__ = ["__version__"]

__version__ = "0.1.0"
