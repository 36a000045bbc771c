"""Meltano takes the definition of the tap that is meant for its hub."""

from __future__ import annotations

import json
from pathlib import Path

import meltano.core
import yaml
from jsonschema.validators import validator_for
from meltano.core.plugin import PluginType
from meltano.core.plugin.base import PluginDefinition

HUB = yaml.safe_load((Path(__file__).parents[3] / "docs" / "meltano-hub.yml").read_text())


def test_meltano_takes_the_definition_for_the_hub() -> None:
    definition = PluginDefinition(PluginType.EXTRACTORS, **HUB)
    assert definition.find_variant().name == "linq-connectors"
    schema = json.loads((Path(meltano.core.__file__ or "").parents[1] / "schemas" / "meltano.schema.json").read_text())
    of_setting = {**schema["$defs"]["base_setting"], "$defs": schema["$defs"]}
    validator = validator_for(of_setting)(of_setting)
    validator.check_schema(of_setting)
    for setting in HUB["settings"]:
        validator.validate(setting)
