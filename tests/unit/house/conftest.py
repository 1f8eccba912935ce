"""The functions of the app as the local host indexes them."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from local_host.host_json import read_host_json
from local_host.indexing import AppFunction, index, load_functions
from tests.unit.house.source_tree import ROOT


@pytest.fixture(scope="package")
def functions() -> Mapping[str, AppFunction]:
    """Every function by name."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("AzureWebJobsStorage", "UseDevelopmentStorage=true")
        indexed = index(load_functions(ROOT), read_host_json(ROOT / "host.json"))
    return {function.name: function for function in indexed}
