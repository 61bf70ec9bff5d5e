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

"""``nova-docker-compose``: a Compose file as a stack of Heat.

The commands have the names and habits of ``docker compose``. The cloud is
named as for the ``openstack`` command: by OS_CLOUD, or the variables OS_*.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
import sys
import time
from typing import Any

from heatclient import client as heat
from heatclient import exc as heat_errors
from novaclient import client as nova
from novaclient import exceptions as nova_errors
import openstack
from openstack import connection
import openstack.exceptions
import yaml

from heat_plugins.compose import documents
from heat_plugins.compose import models
from heat_plugins.compose import plans
from heat_plugins.compose import templates
from nova_docker_client import composefiles
from nova_docker_client import sources

_DIGEST_PROPERTY = 'built_image_digest'
_POLL = 1.0


class CommandError(Exception):
    """What went wrong, in words for who gave the command."""


# -- the commands -----------------------------------------------------------

class Commands:
    """One method for each command; all answer an exit code."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self._arguments = arguments
        self._connected: connection.Connection | None = None

    def convert(self) -> int:
        document = self._load()
        read, template = self._template(document, self._images())
        yaml.safe_dump(template, sys.stdout, sort_keys=False)
        if read.secrets:
            _say('Parameters that the template needs: '
                 + ', '.join(read.secrets))
        return 0

    def up(self) -> int:
        document = self._load()
        project = self._project(document)
        images = self._images()
        for service, description in composefiles.builds(document).items():
            if self._arguments.build and service not in images:
                images[service] = self._built(project, service, description)
        read, template = self._template(document, images)
        stack = self._find(project)
        values = {'stack_name': project, 'template': template,
                  'parameters': dict(read.secrets)}
        if stack is None:
            _say(f'Stack {project}: creating')
            made = self._heat.stacks.create(
                timeout_mins=self._arguments.timeout, **values)
            identity, action = made['stack']['id'], 'CREATE'
        else:
            _say(f'Stack {project}: updating')
            self._heat.stacks.update(
                stack.id, timeout_mins=self._arguments.timeout, **values)
            identity, action = stack.id, 'UPDATE'
        self._follow(identity, action)
        for service, address in (self._outputs(identity).get('published')
                                 or {}).items():
            _say(f'{service} is published at {address}')
        return 0

    def ps(self) -> int:
        stack = self._stack()
        rows = [('SERVICE', 'NAME', 'STATUS', 'HEALTH', 'ADDRESS')]
        for service, server in self._servers(stack):
            addresses = [address['addr'] for network
                         in server.addresses.values() for address in network]
            rows.append((
                service, server.name, self._status(server),
                server.metadata.get('docker:health', '-'),
                ','.join(addresses) or '-'))
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        for row in rows:
            print('  '.join(cell.ljust(width) for cell, width
                            in zip(row, widths, strict=True)).rstrip())
        return 0

    def logs(self) -> int:
        chosen = set(self._arguments.services)
        found = [(service, server) for service, server
                 in self._servers(self._stack())
                 if not chosen or service in chosen]
        if chosen - {service for service, _ in found}:
            raise CommandError('no such service: ' + ', '.join(sorted(
                chosen - {service for service, _ in found})))
        width = max((len(server.name) for _, server in found), default=0)
        for _, server in found:
            for line in server.get_console_output(
                    length=self._arguments.tail).splitlines():
                print(f'{server.name.ljust(width)} | {line}')
        return 0

    def down(self) -> int:
        stack = self._stack()
        _say(f'Stack {stack.stack_name}: deleting')
        self._heat.stacks.delete(stack.id)
        self._follow(stack.id, 'DELETE')
        return 0

    # -- what they do -------------------------------------------------------

    def _load(self) -> dict[str, Any]:
        arguments = self._arguments
        return composefiles.load(composefiles.Source(
            arguments.file, arguments.project_name, arguments.profile,
            arguments.env_file, arguments.project_directory))

    def _project(self, document: dict[str, Any] | None = None) -> str:
        if self._arguments.project_name:
            return str(self._arguments.project_name)
        return str((document or self._load())['name'])

    def _images(self) -> dict[str, str]:
        return self._pairs('image', self._arguments.image)

    def _pairs(self, option: str, entries: Sequence[str]) -> dict[str, str]:
        found = {}
        for entry in entries:
            name, _, value = entry.partition('=')
            if not (name and value):
                raise CommandError(f'--{option} {entry}: not NAME=VALUE')
            found[name] = value
        return found

    def _template(self, document: dict[str, Any], images: dict[str, str]
                  ) -> tuple[models.Document, dict[str, Any]]:
        arguments = self._arguments
        read = documents.read(document, ignore=arguments.ignore_unsupported)
        for problem in read.warnings:
            _say(f'Left out: {problem}')
        networks = self._pairs('network', arguments.network)
        return read, templates.make(read, plans.Choices(
            flavors=self._flavors(), flavor=arguments.flavor,
            images=images, networks=networks,
            public_network=arguments.public_network,
            publish=arguments.publish.replace('-', '_'),
            lb_provider=arguments.lb_provider,
            lb_algorithm=arguments.lb_algorithm,
            volumes=arguments.volumes, resolution=arguments.name_resolution))

    def _flavors(self) -> tuple[plans.Flavor, ...]:
        """Those of the cloud; none are needed if one is named for all."""
        if self._arguments.command == 'convert' and self._arguments.flavor:
            return ()
        return tuple(plans.Flavor(one.name, one.vcpus, one.ram)
                     for one in self._nova.flavors.list())

    def _built(self, project: str, service: str, description: dict[str, Any]
               ) -> str:
        """The id of a built image in Glance, where it is once."""
        name = f'{project}-{service}'
        _say(f'Image {name}: building')
        digest = composefiles.build(service, description, name)
        image = self._cloud.image
        for found in image.images(name=name, status='active'):
            if found.properties.get(_DIGEST_PROPERTY) == digest:
                _say(f'Image {name}: is in Glance')
                return str(found.id)
        _say(f'Image {name}: uploading')
        made = image.create_image(
            name=name, container_format='docker', disk_format='raw',
            data=_Reader(sources.LocalEngine(name).read()),
            allow_duplicates=True, use_import=False, validate_checksum=False,
            hypervisor_type='docker', **{_DIGEST_PROPERTY: digest})
        return str(made.id)

    def _follow(self, identity: str, action: str) -> None:
        """Shows what happens until the stack is done.

        :raises CommandError: if it fails, with Heat's reason
        """
        began, states = time.monotonic(), dict[str, str]()
        while True:
            stack = self._get(identity)
            for line in self._changes(identity, states):
                _say(f'{time.monotonic() - began:6.1f} s  {line}')
            if stack is None or stack.stack_status == f'{action}_COMPLETE':
                return
            if stack.stack_status.endswith('_FAILED'):
                raise CommandError(stack.stack_status_reason)
            time.sleep(_POLL)

    def _changes(self, identity: str, states: dict[str, str]
                 ) -> Iterator[str]:
        try:
            resources = self._heat.resources.list(identity)
        except heat_errors.HTTPNotFound:
            return
        for one in resources:
            before = states.get(one.resource_name)
            states[one.resource_name] = one.resource_status
            if (before != one.resource_status and ':' not in one.resource_name
                    and one.resource_status != 'INIT_COMPLETE'):
                yield f'{one.resource_name}: {one.resource_status}'

    def _servers(self, stack: Any) -> Iterator[tuple[str, Any]]:
        services = self._outputs(stack.id).get('services') or {}
        for service, found in sorted(services.items()):
            for identity in found['ids'] or ():
                if identity:
                    yield service, self._nova.servers.get(identity)

    def _status(self, server: Any) -> str:
        code = server.metadata.get('docker:exit_code')
        if server.status == 'SHUTOFF' and code is not None:
            return f'exited ({code})'
        return {'ACTIVE': 'running', 'SHUTOFF': 'stopped'}.get(
            server.status, server.status.lower())

    # -- the cloud ----------------------------------------------------------

    @property
    def _cloud(self) -> connection.Connection:
        if self._connected is None:
            try:
                self._connected = openstack.connect()
                self._connected.authorize()
            except Exception as error:
                # Many libraries have a say in it, each with its own errors.
                raise CommandError(f'the cloud: {error}') from error
        return self._connected

    @property
    def _heat(self) -> Any:
        return heat.Client('1', session=self._cloud.session,
                           region_name=self._cloud.config.region_name)

    @property
    def _nova(self) -> Any:
        return nova.Client('2.90', session=self._cloud.session,
                           region_name=self._cloud.config.region_name)

    def _get(self, identity: str) -> Any:
        try:
            stack = self._heat.stacks.get(identity)
        except heat_errors.HTTPNotFound:
            return None
        return None if stack.stack_status == 'DELETE_COMPLETE' else stack

    _find = _get

    def _stack(self) -> Any:
        project = self._project()
        stack = self._find(project)
        if stack is None:
            raise CommandError(f'there is no stack {project}')
        return stack

    def _outputs(self, identity: str) -> dict[str, Any]:
        return {output['output_key']: output.get('output_value')
                for output in self._heat.stacks.get(identity).outputs}


class _Reader:
    """Pieces as a file that is read."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces, self._rest = pieces, b''

    def read(self, size: int = -1) -> bytes:
        while size < 0 or len(self._rest) < size:
            piece = next(self._pieces, None)
            if piece is None:
                break
            self._rest += piece
        if size < 0:
            size = len(self._rest)
        found, self._rest = self._rest[:size], self._rest[size:]
        return found


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


# -- the command line -------------------------------------------------------

def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='nova-docker-compose', description='Run a Compose file as a '
        'stack of OpenStack Heat.')
    several: dict[str, Any] = {'action': 'append', 'default': []}
    parser.add_argument('-f', '--file', metavar='FILE', **several,
                        help='Compose file (repeat for several)')
    parser.add_argument('-p', '--project-name', metavar='NAME', default='',
                        help='Name of the stack')
    parser.add_argument('--project-directory', metavar='DIR', default='')
    parser.add_argument('--profile', metavar='NAME', **several)
    parser.add_argument('--env-file', metavar='FILE', **several)
    commands = parser.add_subparsers(dest='command', required=True)
    convert = commands.add_parser(
        'convert', help='print the template, and do nothing')
    up = commands.add_parser('up', help='create the stack, or change it')
    for one in (convert, up):
        _add_choices(one)
    up.add_argument('-d', '--detach', action='store_true',
                    help='as always: nothing is attached to')
    up.add_argument('--build', action='store_true',
                    help='build images with the local Docker and upload '
                         'them')
    up.add_argument('--timeout', type=int, default=60, metavar='MINUTES')
    commands.add_parser('ps', help='list the containers')
    logs = commands.add_parser('logs', help='print what they wrote')
    logs.add_argument('services', nargs='*', metavar='SERVICE')
    logs.add_argument('-n', '--tail', type=int, default=100, metavar='LINES')
    commands.add_parser('down', help='delete the stack')
    return parser


def _add_choices(parser: argparse.ArgumentParser) -> None:
    several: dict[str, Any] = {'action': 'append', 'default': []}
    parser.add_argument('--image', metavar='SERVICE=IMAGE', **several,
                        help='an image in Glance for a service')
    parser.add_argument('--flavor', default='', metavar='FLAVOR',
                        help='of services that ask for no resources')
    parser.add_argument('--network', metavar='NAME=NETWORK', **several,
                        help='a network of Neutron for one of the file; the '
                             'name of one that it does not name is default')
    parser.add_argument('--public-network', default='', metavar='NETWORK',
                        help='where published ports are published')
    parser.add_argument('--publish', default='floating-ip', choices=[
        name.replace('_', '-') for name in plans.PUBLISH])
    parser.add_argument('--lb-provider', default='', metavar='PROVIDER',
                        help='of load balancers, if not the cloud\'s choice')
    parser.add_argument('--lb-algorithm', default=plans.ALGORITHMS[0],
                        choices=plans.ALGORITHMS,
                        help='the provider ovn takes SOURCE_IP_PORT alone')
    parser.add_argument('--volumes', default=plans.REFUSE,
                        choices=plans.VOLUMES,
                        help='what a named volume is')
    parser.add_argument('--name-resolution', default=plans.DNS,
                        choices=plans.RESOLUTION)
    parser.add_argument('--ignore-unsupported', action='store_true',
                        help='leave out what cannot be honoured')


def main(argv: Sequence[str] | None = None) -> int:
    arguments = _parser().parse_args(argv)
    try:
        return int(getattr(Commands(arguments), arguments.command)())
    except models.Refused as error:
        for problem in error.problems:
            _say(str(problem))
        return 1
    except (CommandError, composefiles.ComposeError, sources.SourceError,
            heat_errors.HTTPException, nova_errors.ClientException,
            openstack.exceptions.SDKException) as error:
        _say(f'nova-docker-compose: {error}')
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == '__main__':
    sys.exit(main())
