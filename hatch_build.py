"""Builds libaec into the wheel, by the system's C compiler or zig's. If both fail, the wheel decodes with torch."""

from __future__ import annotations

import runpy
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class Hook(BuildHookInterface):  # type: ignore[type-arg]
    def dependencies(self) -> list[str]:
        return [] if self._builder()["compilers"]() else ["ziglang"]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if self.target_name != "wheel":
            return
        builder = self._builder()
        target: Path = builder["TARGET"]
        problem = None if builder["fresh"]() else builder["build"]()
        if problem:
            self.app.display_warning(f"libaec is left out, torch will decode: {problem}")
            return
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{sysconfig.get_platform().replace('-', '_').replace('.', '_')}"
        build_data["artifacts"].append(f"/aecodec/native/{target.name}")

    def _builder(self) -> dict[str, Any]:
        """The module aecodec.native.build, which can be run where nothing of aecodec can be imported yet."""
        return runpy.run_path(str(Path(self.root) / "aecodec" / "native" / "build.py"), run_name="build")
