# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

from pathlib import Path
from typing import Any

import jinja2.nativetypes
import pytest
import yaml

DEFAULTS = Path(__file__).resolve().parents[3] / "roles" / "host_io_scheduler" / "defaults" / "main.yml"
DISKS = [{"device": "sda"}, {"device": "sdb", "state": "absent"}, {"device": "sdc", "state": "unmounted"}]


@pytest.mark.parametrize(
    ("variables", "devices"),
    [
        ({}, []),
        ({"ais_datafs_disks": DISKS}, ["sda", "sdc"]),
        ({"ais_datafs_disks": DISKS, "ais_datafs_state": "absent"}, ["sdc"]),
    ],
)
def test_a_disk_that_was_taken_out_of_use_is_not_asked_for(variables: dict[str, Any], devices: list[str]) -> None:
    """A retired disk stays in the inventory as absent, so that its mount goes; it may have been pulled already."""
    environment = jinja2.nativetypes.NativeEnvironment(undefined=jinja2.StrictUndefined)
    environment.filters["zip"] = zip  # Ansible's own
    assert environment.from_string(yaml.safe_load(DEFAULTS.read_text())["host_io_scheduler_devices"]).render(variables) == devices
