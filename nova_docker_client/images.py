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

"""The commands ``docker image save`` and ``docker image import``."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
import os
from pathlib import Path
import sys
from typing import Any, Protocol

from cliff import columns
from osc_lib.cli import parseractions
from osc_lib.command import command
from osc_lib import exceptions

from nova_docker_client import sources
from nova_docker_driver import archive
from nova_docker_driver import errors
from nova_docker_driver import imageconfig
from nova_docker_driver import imagemodels
from nova_docker_driver import references
from nova_docker_driver import streams

_COLUMNS = ('id', 'name', 'status', 'size', 'container_format')

#: What a placeholder has for data: Glance wants some.
_NOTHING = b'\n'


class Source(Protocol):
    """An image that can be read more than once."""

    name: str

    def read(self) -> Iterator[bytes]:
        ...


class _Upload(command.ShowOne):
    """What both commands do once they know the image."""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument(
            '--name', metavar='<name>',
            help='Name in Glance (default: that of the reference or file)')
        parser.add_argument(
            '--property', dest='properties', metavar='<key=value>',
            action=parseractions.KeyValueAction, default={},
            help='Set a property (repeat for several)')
        parser.add_argument(
            '--architecture', metavar='<architecture>',
            default=imageconfig.architecture(os.uname().machine),
            help='Of the hosts that are to run it, as images name it '
                 '(default: %(default)s)')
        visibility = parser.add_mutually_exclusive_group()
        for name in ('private', 'shared', 'community', 'public'):
            visibility.add_argument(
                f'--{name}', dest='visibility', action='store_const',
                const=name, help=f'The image is {name}')
        parser.add_argument(
            '--quiet', action='store_true', help='Show no progress')
        return parser

    def _checked(self, source: Source, arguments: argparse.Namespace,
                 rootfs: bool) -> tuple[int, dict[str, str]]:
        """How many bytes the image has, and the properties it gets.

        :raises CommandError: if a compute host would refuse it
        """
        terms = imagemodels.Terms('checked', arguments.architecture)
        verdict, progress = imagemodels.Verdict(), _Progress(
            'Checking', arguments.quiet)
        try:
            if rootfs:
                size = sum(map(len, source.read()))
                checked = archive.rewrite_rootfs(
                    progress.of(source.read()), size, terms, verdict)
            else:
                checked = archive.rewrite(progress.of(source.read()), terms,
                                          verdict)
            for _ in checked:
                pass
        except errors.InvalidImage as error:
            raise exceptions.CommandError(
                f'A compute host would refuse the image: {error}') from error
        properties = {'hypervisor_type': 'docker'}
        if verdict.architecture:
            properties['hw_architecture'] = imageconfig.machine(
                verdict.architecture)
        if rootfs:
            properties['docker_image_format'] = 'rootfs'
        return progress.size, properties

    def _uploaded(self, source: Source, arguments: argparse.Namespace,
                  rootfs: bool = False) -> Any:
        try:
            size, properties = self._checked(source, arguments, rootfs)
            progress = _Progress('Uploading', arguments.quiet, size)
            return self._create(arguments, source.name, streams.Stream(
                progress.of(source.read())), properties)
        except sources.SourceError as error:
            raise exceptions.CommandError(str(error)) from error

    def _create(self, arguments: argparse.Namespace, name: str, data: Any,
                properties: dict[str, str]) -> Any:
        values: dict[str, Any] = {**properties, **arguments.properties}
        if arguments.visibility:
            values['visibility'] = arguments.visibility
        # Made by the plugin for Glance that comes with the client.
        manager: Any = self.app.client_manager
        made = manager.image.create_image(
            name=arguments.name or name, container_format='docker',
            disk_format='raw', data=data, allow_duplicates=True,
            use_import=False, **values)
        # What it answered was from before the upload.
        shown = manager.image.get_image(made.id).to_dict()
        return (*_COLUMNS, 'properties'), (
            *(shown.get(column) for column in _COLUMNS),
            # Its answer has some of them among its own attributes.
            _Properties({**properties, **arguments.properties}))


class SaveImage(_Upload):
    """Upload an image of the local Docker Engine to Glance"""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument(
            'reference', metavar='<reference>',
            help='Name, name:tag or id of the image')
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Any:
        return self._uploaded(_local(parsed_args.reference), parsed_args)


class ImportImage(_Upload):
    """Upload an archive, or an image of a registry, to Glance"""

    def get_parser(self, prog_name: str) -> argparse.ArgumentParser:
        parser = super().get_parser(prog_name)
        parser.add_argument(
            'source', metavar='<file|reference>',
            help='An archive of "docker save", an OCI layout, or a reference '
                 'that the local Docker Engine pulls')
        kind = parser.add_mutually_exclusive_group()
        kind.add_argument(
            '--rootfs', action='store_true',
            help='The file is the tar of a root file system')
        kind.add_argument(
            '--reference', action='store_true',
            help='Upload nothing but the reference; the compute host pulls '
                 'it, if the operator allows the registry')
        return parser

    def take_action(self, parsed_args: argparse.Namespace) -> Any:
        if parsed_args.reference:
            return self._placeholder(parsed_args)
        path = Path(parsed_args.source)
        if path.is_file():
            return self._uploaded(sources.File(path), parsed_args,
                                  parsed_args.rootfs)
        if parsed_args.rootfs:
            raise exceptions.CommandError(f'{path} is no file')
        local = _local(parsed_args.source)
        try:
            local.pull()
        except sources.SourceError as error:
            raise exceptions.CommandError(str(error)) from error
        return self._uploaded(local, parsed_args)

    def _placeholder(self, arguments: argparse.Namespace) -> Any:
        try:
            reference = references.parse(arguments.source)
        except ValueError as error:
            raise exceptions.CommandError(
                f'{arguments.source}: {error}') from None
        return self._create(
            arguments, reference.path.rpartition('/')[2],
            streams.Stream(iter((_NOTHING,))), {
                'hypervisor_type': 'docker',
                'docker_image_ref': str(reference)})


def _local(reference: str) -> sources.LocalEngine:
    try:
        return sources.LocalEngine(reference)
    except sources.SourceError as error:
        raise exceptions.CommandError(str(error)) from error


class _Properties(columns.FormattableColumn[Any]):
    """A mapping as text, and as itself for machines."""

    def human_readable(self) -> str:
        return ', '.join(f"{key}='{value}'" for key, value
                         in sorted(self._value.items()))


class _Progress:
    """Counts what passes, and shows it where a person looks."""

    _WIDTH = 40

    def __init__(self, what: str, quiet: bool, total: int = 0) -> None:
        """Shows nothing yet.

        :param total: bytes that there will be; 0 if that is not known
        """
        self._what = what
        self._total = total
        self._shown = not quiet and sys.stderr.isatty()
        self.size = 0

    def of(self, pieces: Iterator[bytes] | Sequence[bytes]
           ) -> Iterator[bytes]:
        """The pieces, as they are."""
        for piece in pieces:
            self.size += len(piece)
            self._show()
            yield piece
        if self._shown:
            sys.stderr.write('\n')

    def _show(self) -> None:
        if not self._shown:
            return
        line = f'{self._what} {self.size / 1e6:8.1f} MB'
        if self._total:
            done = self._WIDTH * self.size // self._total
            line += (f' [{"=" * done}{" " * (self._WIDTH - done)}] '
                     f'{100 * self.size // self._total:3} %')
        sys.stderr.write(f'\r{line}')
        sys.stderr.flush()
