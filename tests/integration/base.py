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

"""Tests against the lab: real services, a real Engine, real packets."""

from __future__ import annotations

import base64
import contextlib
import functools
import io
import time
import unittest
import uuid

from lab import cloud
from lab import container_images
from lab import demo
from lab import layout as lab_layout
from lab import seed
from tests import conservation

_PATIENCE = 90

#: A first process that ends when it is asked to; a bare sleep would not.
LASTING = 'command: [sh, -c, "trap exit TERM; sleep 600 & wait"]'


@functools.cache
def lab() -> lab_layout.Layout:
    """The running lab; starts it if need be, fails if it cannot."""
    layout = lab_layout.Layout.from_environment()
    cloud.Cloud(layout).up()
    return layout


class LabCase(unittest.TestCase):
    """A tenant in the lab; nothing may be left after each test."""

    def setUp(self):
        super().setUp()
        self.layout = lab()
        self.files = self.layout.hosts[0].state / 'docker'
        self.engine = conservation.engine()
        self.addCleanup(self.engine.close)
        balance = conservation.Balance()
        self.addCleanup(lambda: self.assertEqual([], balance.end()))
        watch = conservation.Watch(self.files,
                                   self.layout.hosts[0].nova_name)
        self.addCleanup(lambda: self.assertEqual([], watch.end()))
        self.tenant = seed.connect(self.layout, 'demo')
        self.admin = seed.connect(self.layout, 'admin')
        self.addCleanup(self.tenant.close)
        self.addCleanup(self.admin.close)
        self.addCleanup(self.check_nothing_is_left)
        # What servers use goes after them.
        self.made = contextlib.ExitStack()
        self.addCleanup(self.made.close)
        self.addCleanup(self.delete_all)

    # -- fixtures -----------------------------------------------------------

    def image(self, name='busybox', content=None):
        content = content or getattr(container_images, name)()
        return demo.upload_image(self.tenant, name, content)

    def raw_image(self, name, content, container_format='docker'):
        image = self.tenant.image.create_image(
            name=name, container_format=container_format, disk_format='raw',
            data=io.BytesIO(content), validate_checksum=False,
            allow_duplicates=True)
        self.addCleanup(self.tenant.image.delete_image, image.id)
        return image.id

    def network(self, name='private'):
        return self.tenant.network.find_network(name)

    def make_network(self, *subnets):
        """A network of the test's own; a subnet is its arguments."""
        made = self.tenant.network.create_network(
            name=f'test-{uuid.uuid4().hex[:8]}')
        self.made.callback(self.tenant.network.delete_network, made.id)
        for subnet in subnets:
            self.tenant.network.create_subnet(network_id=made.id, **subnet)
        return made

    def make_group(self, *rules):
        """A security group that lets in what the rules say."""
        made = self.tenant.network.create_security_group(
            name=f'test-{uuid.uuid4().hex[:8]}')
        self.made.callback(
            self.tenant.network.delete_security_group, made.id)
        for rule in rules:
            self.tenant.network.create_security_group_rule(
                security_group_id=made.id, direction='ingress', **rule)
        return made

    def create(self, spec=LASTING, flavor='c1.tiny',
               image=None, networks='auto', **more):
        if networks == 'auto':
            networks = [{'uuid': self.network().id}]
        user_data = f'#docker-config\n{spec}\n'.encode()
        return self.tenant.compute.create_server(
            name=f'test-{uuid.uuid4().hex[:8]}',
            image_id=image or self.image(),
            flavor_id=self.tenant.compute.find_flavor(flavor).id,
            networks=networks,
            user_data=base64.b64encode(user_data).decode(), **more)

    def boot(self, *args, **kwargs):
        return self.wait(self.create(*args, **kwargs), 'ACTIVE')

    def booted(self, *servers):
        """Servers that were asked for one after the other."""
        return [self.wait(server, 'ACTIVE') for server in servers]

    # -- waiting ------------------------------------------------------------

    def wait(self, server, *statuses):
        def reached():
            found = self.tenant.compute.get_server(server.id)
            if found.status == 'ERROR' and 'ERROR' not in statuses:
                self.fail(f'server in ERROR: {found.fault}')
            return found if found.status in statuses else None
        return self.until(reached, f'server is {" or ".join(statuses)}')

    def until(self, check, what, patience=_PATIENCE):
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            answer = check()
            if answer:
                return answer
            time.sleep(0.2)
        self.fail(f'not within {patience} s: {what}\n{self.evidence()}')

    def evidence(self):
        """What a failure would be explained by, where no log is kept."""
        servers = [f'{server.id} {server.status} {server.task_state}'
                   for server in self.admin.compute.servers(
                       all_projects=True)]
        logs = []
        for host in self.layout.hosts:
            log = self.layout.logs / f'nova-compute-{host.name}.log'
            lines = log.read_text(errors='replace').splitlines()
            logs += [line[:200] for line in lines[-2000:]
                     if ' DEBUG ' not in line][-8:]
        return '\n'.join((*servers, *logs))

    def await_compute(self):
        """The scheduler takes the host for one that lives.

        A sign of life that comes from now on: an old one may be too old in
        the next moment.
        """
        hosts = {host.nova_name for host in self.layout.hosts}

        def services():
            return [service for service in self.admin.compute.services(
                binary='nova-compute') if service.host in hosts]

        def signs():
            return {service.id: service.updated_at for service in services()
                    if service.state == 'up' and service.status == 'enabled'}
        before = {service.id: service.updated_at for service in services()}
        self.until(lambda: set(signs()) == set(before) and all(
            sign != before[name] for name, sign in signs().items()),
            'nova-compute is up')

    # -- looking ------------------------------------------------------------

    def container(self, server, role=''):
        return self.engine.inspect_container(f'nova-{server.id}{role}')

    def inside(self, server, *command):
        handle = self.engine.exec_create(f'nova-{server.id}', list(command))
        output = self.engine.exec_start(handle['Id']).decode()
        code = self.engine.exec_inspect(handle['Id'])['ExitCode']
        return code, output

    def reach(self, server, address, port):
        """Whether a TCP connection comes about."""
        code, _ = self.inside(server, 'nc', '-w', '2', address, str(port),
                              '-e', 'true')
        return code == 0

    def port(self, server):
        return next(self.tenant.network.ports(device_id=server.id))

    def address(self, server):
        return self.port(server).fixed_ips[0]['ip_address']

    def check_nothing_is_left(self):
        left = conservation.leftovers(self.engine, files=self.files)
        self.assertEqual([], left)
        placement = self.admin.session.get(
            self.layout.url('placement') + '/resource_providers').json()
        for provider in placement['resource_providers']:
            used = self.admin.session.get(
                self.layout.url('placement') + '/resource_providers/'
                + provider['uuid'] + '/allocations').json()
            self.assertEqual({}, used['allocations'])

    def delete_all(self):
        for stack in [stack.id for stack
                      in self.tenant.orchestration.stacks()]:
            self.tenant.orchestration.delete_stack(stack)
        self.until(lambda: not list(self.tenant.orchestration.stacks()),
                   'stacks are gone')
        for server in list(self.tenant.compute.servers(details=False)):
            self.tenant.compute.delete_server(server.id)
        self.until(lambda: not list(
            self.tenant.compute.servers(details=False)), 'servers are gone')


class StackCase(LabCase):
    """Stacks of a tenant; the image busybox is there."""

    #: Seconds; a stack can have many servers, one after the other.
    stack_patience = 180

    def setUp(self):
        super().setUp()
        self.image()

    def finish(self, stack_id, action, outcome='COMPLETE'):
        def ended():
            stack = self.tenant.orchestration.get_stack(stack_id)
            if stack.status.startswith(action) and not stack.status.endswith(
                    'IN_PROGRESS'):
                return stack
            return None
        stack = self.until(ended, f'the stack is {action}_{outcome}',
                           self.stack_patience)
        self.assertEqual(f'{action}_{outcome}', stack.status,
                         stack.status_reason)
        return stack, {output['output_key']: output['output_value']
                       for output in stack.outputs or ()}

    def create_stack(self, template, **parameters):
        return self.tenant.orchestration.create_stack(
            name='test', template=template, parameters=parameters).id

    def update_stack(self, stack_id, template, **parameters):
        self.tenant.orchestration.update_stack(
            stack_id, template=template, parameters=parameters)
        return self.finish(stack_id, 'UPDATE')
