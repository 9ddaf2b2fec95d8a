# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Names and addresses follow from three settings, and wrong settings are all named."""

from __future__ import annotations

import ipaddress
from pathlib import Path

import pytest
import yaml
from slipway_lab.errors import LabError
from slipway_lab.layout import from_environment

ROOT = Path(__file__).resolve().parents[3]


def test_the_default_lab_is_the_one_of_the_inventory() -> None:
    lab = from_environment(ROOT, {"HOME": "/home/me"})
    inventory = yaml.safe_load((ROOT / "inventories" / "lab" / "hosts.yml").read_text())["all"]["children"]
    cluster = inventory["k8s_cluster"]["children"]
    hosts = {**cluster["kube_control_plane"]["hosts"], **cluster["kube_node"]["hosts"]}
    assert {name: values["ansible_host"] for name, values in hosts.items()} == {n.name: n.address for n in lab.nodes}
    shared = yaml.safe_load((ROOT / "inventories" / "lab" / "group_vars" / "all" / "lab.yml").read_text())
    assert shared["slipway_kubeconfig"].endswith(str(lab.kubeconfig.relative_to(lab.clone)))
    assert lab.state == ROOT / ".lab"
    assert str(lab.cache) == "/home/me/.cache/slipway-lab"


def test_no_two_machines_share_an_address() -> None:
    lab = from_environment(ROOT, {"LAB_WORKERS": "32"})
    addresses = [n.address for n in [*lab.nodes, *lab.hosts(100)]] + [lab.gateway]
    assert len(set(addresses)) == len(addresses)
    subnet = ipaddress.ip_network(lab.subnet)
    assert all(ipaddress.ip_address(a) in subnet for a in addresses)
    assert len({n.pod_cidr for n in lab.nodes}) == len(lab.nodes)


def test_two_labs_of_one_clone_share_no_file() -> None:
    first, second = from_environment(ROOT, {}), from_environment(ROOT, {"LAB_NAME": "other"})
    assert first.state != second.state
    assert first.runtime != second.runtime


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"LAB_NAME": "Upper"}, ["LAB_NAME"]),
        ({"LAB_NAME": "-x"}, ["LAB_NAME"]),
        ({"LAB_NAME": "a/../b"}, ["LAB_NAME"]),
        ({"LAB_SUBNET": "10.89.77.0/23"}, ["LAB_SUBNET"]),
        ({"LAB_SUBNET": "8.8.8.0/24"}, ["LAB_SUBNET"]),
        ({"LAB_SUBNET": "10.89.77.1/24"}, ["LAB_SUBNET"]),
        ({"LAB_SUBNET": "10.244.9.0/24"}, ["LAB_SUBNET"]),
        ({"LAB_SUBNET": "10.100.0.0/24"}, ["LAB_SUBNET"]),
        ({"LAB_WORKERS": "0"}, ["LAB_WORKERS"]),
        ({"LAB_WORKERS": "33"}, ["LAB_WORKERS"]),
        ({"LAB_IMAGES": "aim,nosuch"}, ["LAB_IMAGES", "nosuch"]),
        ({"LAB_NAME": "", "LAB_WORKERS": "x", "LAB_SUBNET": "y"}, ["LAB_WORKERS", "LAB_SUBNET"]),
    ],
)
def test_wrong_settings_are_all_named(settings: dict[str, str], named: list[str]) -> None:
    with pytest.raises(LabError) as e:
        from_environment(ROOT, settings)
    for name in named:
        assert name in str(e.value)


@pytest.mark.parametrize(("text", "images"), [("none", ()), ("", ()), ("aim, mlflow", ("aim", "mlflow")), ("client", ("client",))])
def test_images_can_be_chosen(text: str, images: tuple[str, ...]) -> None:
    assert from_environment(ROOT, {"LAB_IMAGES": text}).images == images
