# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Tool formats: how models write tool calls, one file a family."""
