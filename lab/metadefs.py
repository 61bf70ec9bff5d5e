# Licensed under the Apache License, Version 2.0 (the "License"); you may
# not use this file except in compliance with the License. You may obtain
# a copy of the License at
#
#      http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software
# distributed under the License is distributed on an "AS IS" BASIS, WITHOUT
# WARRANTIES OR CONDITIONS OF ANY KIND, either express or implied. See the
# License for the specific language governing permissions and limitations
# under the License.

"""Writes Glance's metadata definitions of what the driver honours.

``python -m lab.metadefs`` makes them from the validators of the extra specs
and the schema of the specification, so that they cannot differ.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from nova_docker_driver import extra_specs
from nova_docker_driver import userspec

DIRECTORY = Path(__file__).parents[1] / 'etc/glance/metadefs'

_KINDS = {int: 'integer', bool: 'boolean'}


def namespaces() -> dict[str, dict[str, Any]]:
    """Each file's name and content, as ``glance-manage db_load_metadefs``
    and the Images API take it.
    """
    return {
        'docker-flavor.json': _namespace(
            'OS::NovaDocker::Flavor', 'Docker: what a flavor grants',
            'What servers of a flavor may have when they are containers.',
            'OS::Nova::Flavor', _flavor_properties()),
        'docker-image.json': _namespace(
            'OS::NovaDocker::Image', 'Docker: defaults of an image',
            'How a container of this image runs unless its own specification '
            'says otherwise.', 'OS::Glance::Image', _image_properties()),
    }


def _namespace(name: str, title: str, description: str, resource: str,
               properties: dict[str, Any]) -> dict[str, Any]:
    return {'namespace': name, 'display_name': title,
            'description': description, 'visibility': 'public',
            'protected': True,
            'resource_type_associations': [{'name': resource}],
            'properties': properties}


def _flavor_properties() -> dict[str, Any]:
    found = {}
    for validator in extra_specs.register():
        value = validator.value
        described = {'title': validator.name,
                     'description': validator.description,
                     'type': _KINDS.get(value['type'], 'string')}
        for theirs, ours in (('minimum', 'min'), ('maximum', 'max'),
                             ('enum', 'enum'), ('pattern', 'pattern')):
            if ours in value:
                described[theirs] = value[ours]
        if 'pattern' in described:
            # Python's word for the very end; others have none but this.
            described['pattern'] = described['pattern'].replace(r'\Z', '$')
        found[validator.name] = described
    return found


#: Where an image comes from.
_SOURCES = {
    'docker_image_ref':
        'A reference to an image in a registry, which runs instead of this '
        'image\'s data. The operator has to allow the registry.',
    'docker_registry_secret':
        'The id of a Barbican secret with the JSON mapping {"username": ..., '
        '"password": ...} that the registry of docker_image_ref wants.',
    'docker_image_format':
        'rootfs, if the data is the tar of a root file system and not an '
        'image archive.',
    'docker_base_image':
        'The image that a snapshot of new layers stands on; the driver '
        'sets it.'}


def _image_properties() -> dict[str, Any]:
    schema = userspec.schema()['properties']
    found = {
        f'{userspec.IMAGE_PREFIX}{key}': {
            'title': f'docker_{key}', 'type': 'string',
            'description': f'{schema[key]["description"]} A value that is '
                           'not a text is written as YAML.',
            'maxLength': userspec.CUT - 1}
        for key in sorted(set(schema) - userspec.NOT_OF_IMAGES)}
    for name, words in _SOURCES.items():
        found[name] = {'title': name, 'type': 'string', 'description': words}
    # Nova's own name, which other drivers know too.
    return {**found, 'os_command_line': {
        'title': 'os_command_line', 'type': 'string',
        'description': 'The command; docker_command goes before it.',
        'maxLength': userspec.CUT - 1}}


def write() -> None:
    """Writes the files anew."""
    DIRECTORY.mkdir(parents=True, exist_ok=True)
    for name, content in namespaces().items():
        (DIRECTORY / name).write_text(json.dumps(content, indent=4) + '\n')
