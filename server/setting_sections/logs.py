"""Settings of the logs."""

from pathlib import Path
from typing import Literal

from pydantic import ByteSize, Field

from server.setting_sections.section import Section


class LogSettings(Section):
    format: Literal["auto", "json", "text"] = Field("auto", description="auto: text on a terminal, else json")
    level: Literal["debug", "info", "warning", "error"] = Field("info", description="least level that is logged")
    audit_file: Path | None = Field(None, description="file for the audit lines; none: they go with the others")
    audit_max_bytes: ByteSize = Field(ByteSize(100 * 1024**2), gt=0, description="of that file, then a new one")
    audit_backups: int = Field(9, ge=1, description="older audit files that are kept")
