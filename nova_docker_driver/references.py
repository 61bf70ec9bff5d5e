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

"""References to images in registries, as Docker writes them. Pure."""

from __future__ import annotations

from collections.abc import Iterable
import dataclasses
import fnmatch
import re

_DOCKER_HUB = 'docker.io'

_COMPONENT = r'[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*'
_DOMAIN = re.compile(
    r'(?:[a-zA-Z0-9](?:[a-zA-Z0-9.-]*[a-zA-Z0-9])?|\[[0-9a-f:]+\])'
    r'(?::[0-9]{1,5})?')
_REST = re.compile(
    rf'(?P<path>{_COMPONENT}(?:/{_COMPONENT})*)'
    r'(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}))?'
    r'(?:@(?P<digest>sha256:[0-9a-f]{64}))?')

#: Of what Nova keeps with a server.
_LONGEST = 255


@dataclasses.dataclass(frozen=True)
class Reference:
    """Where an image is, in full."""

    #: With its port, as in ``registry.example.org:5000``.
    domain: str
    path: str
    tag: str
    #: ``sha256:...``, or empty.
    digest: str = ''

    @property
    def name(self) -> str:
        """Registry and repository."""
        return f'{self.domain}/{self.path}'

    def __str__(self) -> str:
        tag = f':{self.tag}' if self.tag else ''
        return f'{self.name}{tag}' + (f'@{self.digest}' if self.digest
                                      else '')

    def pinned(self, digest: str) -> str:
        """What names the same bytes for ever."""
        return f'{self.name}@{digest}'


def parse(text: str) -> Reference:
    """A reference as a user writes it, in full.

    :raises ValueError: if it is none
    """
    # As Docker reads it: a dot or a port tells a registry from a user.
    first, slash, rest = text.partition('/')
    has_domain = bool(slash) and (
        '.' in first or ':' in first or first == 'localhost')
    domain, rest = (first, rest) if has_domain else (_DOCKER_HUB, text)
    match = _REST.fullmatch(rest)
    if match is None or len(text) > _LONGEST or not _DOMAIN.fullmatch(domain):
        raise ValueError(
            'not an image reference such as registry.example.org/team/web:1')
    path = match['path']
    if domain == 'index.docker.io':
        domain = _DOCKER_HUB
    if domain == _DOCKER_HUB and '/' not in path:
        path = f'library/{path}'
    digest = match['digest'] or ''
    return Reference(domain, path,
                     match['tag'] or ('' if digest else 'latest'), digest)


def is_admitted(reference: Reference, patterns: Iterable[str]) -> bool:
    """Whether one of the patterns covers a reference.

    :param patterns: a registry for all that is in it, or repositories of
        it, in which ``*`` stands for anything
    """
    return any(fnmatch.fnmatchcase(
        reference.name, pattern if '/' in pattern else f'{pattern}/*')
        for pattern in patterns)
