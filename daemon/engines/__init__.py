"""The engines that can be configured, by name. Reading this table loads none of them."""

from __future__ import annotations

from collections.abc import Mapping

from daemon.engines import indextts, kokoro, tone
from daemon.engines.base import EngineSpec

SPECS: Mapping[str, EngineSpec] = {spec.name: spec for spec in (kokoro.SPEC, *indextts.SPECS, tone.SPEC)}
