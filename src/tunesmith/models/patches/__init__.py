# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
