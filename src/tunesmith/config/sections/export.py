# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Where and how the merged model is written."""

from typing import ClassVar, Literal

from pydantic import Field

from tunesmith.config.section import Section


class ExportSection(Section):
    """Target of `tunesmith export`."""

    section: ClassVar[str] = "export"

    export_dir: str | None = Field(None, description="Folder for the exported model.")
    export_size: int = Field(5, ge=1, description="Largest file of the exported model in GB.")
    export_device: Literal["cpu", "auto"] = Field("cpu", description="Device that merges.")
