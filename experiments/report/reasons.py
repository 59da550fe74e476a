"""Why a claim does not hold, as far as it is known: id -> a few sentences, from reasons.toml."""

import tomllib
from pathlib import Path

TABLE = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))["reason"]
REASONS: dict[str, str] = {name: reason["why"] for reason in TABLE for name in reason["claims"]}
