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

"""Names, labels and tags: the one place where identity is spelled.

A container is ours only if its name and its labels agree. Neither can be set
by a tenant, by an image or by a snapshot.
"""

from __future__ import annotations

from collections.abc import Mapping
import hashlib
import re

LABEL_PREFIX = 'org.openstack.nova-docker.'

#: The uuid of the server that the container belongs to.
INSTANCE_LABEL = LABEL_PREFIX + 'instance'
#: What the container is for the server: one of the ROLE_* values.
ROLE_LABEL = LABEL_PREFIX + 'role'
#: ``CONF.host`` of the nova-compute that made it.
HOST_LABEL = LABEL_PREFIX + 'host'
#: Nova's own name of the server, such as ``instance-0000000a``.
NAME_LABEL = LABEL_PREFIX + 'name'
#: The version of this labelling, for drivers to come.
FORMAT_LABEL = LABEL_PREFIX + 'format'
#: The digest of the ContainerSpec: whether a rebuild would change anything.
SPEC_LABEL = LABEL_PREFIX + 'spec'
#: The bytes that the server may have on its disk; 0 is without bound.
DISK_LABEL = LABEL_PREFIX + 'disk'
#: The GPUs that are the server's alone, separated by commas.
GPUS_LABEL = LABEL_PREFIX + 'gpus'

FORMAT = '1'

ROLE_SERVER = 'server'
ROLE_SANDBOX = 'sandbox'
#: Runs in place of the server's own, which it can see the files of.
ROLE_RESCUE = 'rescue'

IMAGE_NAMESPACE = 'nova-docker'

_NAME = re.compile(
    r'/?nova-(?P<uuid>[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})'
    r'(?:-(?P<role>sandbox|rescue))?')

_IMAGE_TAG = re.compile(
    IMAGE_NAMESPACE + r'/(?P<image>[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-'
    r'[0-9a-f]{12}):[0-9a-z]+')
_REFERENCE = f'{IMAGE_NAMESPACE}/reference'


def container(instance_uuid: str) -> str:
    """The name of the container that runs a server's process."""
    return f'nova-{instance_uuid}'


def sandbox(instance_uuid: str) -> str:
    """The name of the container that holds a server's network namespace."""
    return f'nova-{instance_uuid}-sandbox'


def rescue(instance_uuid: str) -> str:
    """The name of the container that rescues a server."""
    return f'nova-{instance_uuid}-rescue'


def image_tag(image_id: str, checksum: str = '') -> str:
    """The tag under which the Engine has a Glance image.

    :param checksum: hex digest of the image's data, where Glance has one
    """
    return f'{IMAGE_NAMESPACE}/{image_id}:{checksum[:32] or "latest"}'


def reference_tag(reference: str) -> str:
    """The tag under which the Engine has an image of a registry.

    :param reference: with the image's digest
    """
    digest = hashlib.sha256(reference.encode()).hexdigest()
    return f'{_REFERENCE}:{digest[:32]}'


def is_cached(tag: str) -> bool:
    """Whether what a tag of ours names can be brought again."""
    return bool(_IMAGE_TAG.fullmatch(tag)) or tag.startswith(
        f'{_REFERENCE}:')


def image_of_tag(tag: str) -> str | None:
    """The Glance image that a tag of ours is of; None for others."""
    match = _IMAGE_TAG.fullmatch(tag)
    return match['image'] if match else None


def labels(instance_uuid: str, role: str, host: str) -> dict[str, str]:
    """The labels that make a container ours."""
    return {INSTANCE_LABEL: instance_uuid, ROLE_LABEL: role,
            HOST_LABEL: host, FORMAT_LABEL: FORMAT}


def owner(name: str, container_labels: Mapping[str, str]) -> str | None:
    """The server that a container belongs to; None if it is not ours.

    :param name: the container's name, with or without Docker's slash
    """
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    role = match['role'] or ROLE_SERVER
    if (container_labels.get(INSTANCE_LABEL) != match['uuid']
            or container_labels.get(ROLE_LABEL) != role):
        return None
    return match['uuid']


def is_reserved_label(label: str) -> bool:
    """Whether only the driver may set this label."""
    return label.startswith(LABEL_PREFIX)
