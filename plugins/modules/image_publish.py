#!/usr/bin/python
# Copyright: The slipway authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
from __future__ import annotations

DOCUMENTATION = r"""
module: image_publish
version_added: "0.1.0"
short_description: Build container images and push those that the registry lacks
description:
  - Builds images with podman or docker and pushes them, all in one call.
  - An image carries the hash of everything that it was built from as the label C(org.slipway-mlops.content). The registry is asked for that label
    first; an image that is there with the same content is neither built nor pushed.
options:
  images:
    description: What to publish.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: C(registry/repository:tag).
        type: str
        required: true
      context:
        description: The folder with the C(Containerfile).
        type: path
        required: true
      build_args:
        description: Build arguments. They end up in the image's history and are no place for secrets.
        type: dict
        default: {}
      go_packages:
        description:
          - Import paths of Go programs, compiled by the C(go.mod) in the folder C(go) of O(images[].context) and put beside the C(Containerfile) for the build.
          - Needs C(go) where the module runs, only when the image is built.
        type: list
        elements: str
        default: []
      go_ldflags:
        description: Flags of the Go linker for these programs.
        type: str
        default: "-s -w"
      go_tags:
        description: Build tags of these programs.
        type: list
        elements: str
        default: []
  auth_file:
    description: Credentials of the registry, as C(podman login --authfile) writes them. For docker the file must be called C(config.json).
    type: path
    default: ""
  validate_certs:
    description: With V(false) the registry's certificate is not checked, and plain HTTP is tried where TLS is not spoken.
    type: bool
    default: true
  engine:
    description: What builds.
    type: str
    choices: [auto, podman, docker]
    default: auto
  build_options:
    description: More options for C(build), such as C(--network=host).
    type: list
    elements: str
    default: []
attributes:
  check_mode: {support: full, description: Says which images would be built and pushed.}
author:
  - The slipway authors (@slipway-mlops)
"""

EXAMPLES = r"""
- name: The image of Aim is in our registry
  slipway.mlops.image_publish:
    images:
      - name: registry.example.org/mlops/aim:3.29.1
        context: images/aim
        build_args: {BASE_IMAGE: "docker.io/library/python:3.11-slim-bookworm"}
    auth_file: ~/.config/slipway/registry-auth.json
"""

RETURN = r"""
actions:
  description: What was, or in check mode would be, built and pushed.
  returned: success
  type: list
  elements: str
  sample: ["build and push registry.example.org/mlops/aim:3.29.1"]
"""

import json
import os

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.slipway.mlops.plugins.module_utils import _image_publish as publishing
from ansible_collections.slipway.mlops.plugins.module_utils import _image_registry as registry


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "images": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "name": {"type": "str", "required": True},
                    "context": {"type": "path", "required": True},
                    "build_args": {"type": "dict", "default": {}},
                    "go_packages": {"type": "list", "elements": "str", "default": []},
                    "go_ldflags": {"type": "str", "default": "-s -w"},
                    "go_tags": {"type": "list", "elements": "str", "default": []},
                },
            },
            "auth_file": {"type": "path", "default": ""},
            "validate_certs": {"type": "bool", "default": True},
            "engine": {"type": "str", "choices": ["auto", "podman", "docker"], "default": "auto"},
            "build_options": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    params = module.params
    problems, auth = _problems(params)
    if problems:
        module.fail_json(msg="Nothing was built: " + "; ".join(problems))
    actions = []
    try:
        engine = publishing.engine_of(params["engine"])
        for wanted in params["images"]:
            arguments = {key: str(value) for key, value in wanted["build_args"].items()}
            image = publishing.Image(wanted["name"], wanted["context"], arguments, wanted["go_packages"], wanted["go_ldflags"], wanted["go_tags"])
            name, content = registry.ImageName.parse(image.name), image.content()
            there = registry.labels(name, registry.credentials_for(name.registry, auth), params["validate_certs"]) or {}
            if there.get(publishing.LABEL) == content:
                continue
            actions.append(f"build and push {image.name}")
            if not module.check_mode:
                publishing.publish(image, content, engine, params["auth_file"], params["validate_certs"], params["build_options"], publishing.run_logged)
    except (publishing.BuildFailed, registry.RegistryError) as error:
        module.fail_json(msg=str(error), actions=actions)
    module.exit_json(changed=bool(actions), actions=actions)


def _problems(params: dict) -> tuple[list[str], dict]:
    problems, auth = [], {}
    for image in params["images"]:
        try:
            registry.ImageName.parse(image["name"])
        except ValueError as error:
            problems.append(str(error))
        if not os.path.isfile(os.path.join(image["context"], "Containerfile")):
            problems.append(f"{image['context']} has no Containerfile")
        if image["go_packages"] and not os.path.isfile(os.path.join(image["context"], "go", "go.mod")):
            problems.append(f"{image['context']} has no go/go.mod to compile {', '.join(image['go_packages'])} by")
    if params["auth_file"]:
        try:
            with open(params["auth_file"], encoding="utf-8") as file:
                auth = json.load(file)
        except (OSError, ValueError) as error:
            problems.append(f"auth_file {params['auth_file']}: {error.__class__.__name__}")
    return problems, auth


if __name__ == "__main__":
    main()
