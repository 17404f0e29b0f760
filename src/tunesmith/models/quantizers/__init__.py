# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Ways in which the weights of a base model can be quantised; one file each, found by its registry."""
