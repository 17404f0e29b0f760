# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""The general sections: keys that belong to every run. Parts keep their own sections next to their code."""
