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

"""What a host has, counted and told to placement."""

import json
from pathlib import Path
import tempfile
import unittest

from nova import objects

from nova_docker_driver import enginedocs
from nova_docker_driver import errors
from nova_docker_driver import hardening
from nova_docker_driver import hostinfo
from nova_docker_driver import hostmodels
from nova_docker_driver import inventory
from nova_docker_driver import models
from nova_docker_driver import names
from nova_docker_driver import pcidevices
from nova_docker_driver import servers
from nova_docker_driver import spec
from tests.unit.nova_docker_driver import fakes
from tests.unit.nova_docker_driver import test_lifecycle

REQUEST = '1b6e9f2c-0000-4000-8000-0000000000aa'

GPUS = tuple(f'GPU-{number}' for number in range(3))

#: As NVIDIA's driver writes it.
INFORMATION = """Model: \t\t NVIDIA A100-PCIE-40GB
IRQ:   \t\t 194
GPU UUID: \t {}
Video BIOS: \t 92.00.25.00.08
Bus Type: \t PCIe
Bus Location: \t 0000:3b:00.0
"""


def host(**changes):
    values = dict(hostname='c1', architecture='x86_64', cpus=4, cpu_model='',
                  memory_mib=4096, memory_used_mib=0, disk_gib=10,
                  disk_used_gib=0, engine_version='26.1.0')
    return hostmodels.HostFacts(**{**values, **changes})


def engine(**changes):
    values = dict(version='26.1.0', root_dir='/var/lib/docker',
                  architecture='x86_64', cpus=4, memory=4 * models.GIB)
    return hostmodels.EngineFacts(**{**values, **changes})


class TestInventory(unittest.TestCase):

    RATIOS = {'VCPU': 4.0, 'PCPU': 1.0, 'MEMORY_MB': 1.0, 'DISK_GB': 1.0}

    def found(self, **changes):
        return inventory.inventory(host(**changes), self.RATIOS, 1, 512, 2,
                                   0)

    def test_shared_cpus_are_all_unless_said_otherwise(self):
        found = self.found()
        self.assertEqual((4, 1), (found['VCPU']['total'],
                                  found['VCPU']['reserved']))
        self.assertEqual({'VCPU', 'MEMORY_MB', 'DISK_GB'}, set(found))

    def test_dedicated_cpus(self):
        found = self.found(dedicated_cpus=frozenset({2, 3}),
                           shared_cpus=frozenset({0, 1}))
        self.assertEqual((2, 2, 0), (
            found['VCPU']['total'], found['PCPU']['total'],
            found['PCPU']['reserved']))
        found = self.found(dedicated_cpus=frozenset({2, 3}))
        self.assertNotIn('VCPU', found)
        self.assertEqual(1, found['PCPU']['reserved'])

    def test_gpus(self):
        found = self.found(gpus=GPUS)['PGPU']
        self.assertEqual((3, 1.0, 0), (
            found['total'], found['allocation_ratio'], found['reserved']))

    def test_the_topology_parts_shared_and_dedicated(self):
        nodes = (hostmodels.NumaNode(0, frozenset({0, 1}), 2048),
                 hostmodels.NumaNode(1, frozenset({2, 3}), 2048))
        first, second = inventory.numa_topology(host(
            nodes=nodes, dedicated_cpus=frozenset({1, 2, 3}),
            shared_cpus=frozenset({0}))).cells
        self.assertEqual(({0}, {1}), (first.cpuset, first.pcpuset))
        self.assertEqual((set(), {2, 3}), (second.cpuset, second.pcpuset))
        first, second = inventory.numa_topology(host(nodes=nodes)).cells
        self.assertEqual(({0, 1}, set()), (first.cpuset, first.pcpuset))

    def test_traits(self):
        found = inventory.traits(
            host(cpu_flags=frozenset({'avx2', 'sha_ni', 'unheard_of'})),
            engine(disk_quota=True, security_options=('userns', 'seccomp'),
                   live_restore=True, cgroup_version='2',
                   runtimes=('runc', 'io.kata.v2')))
        self.assertEqual({
            'HW_CPU_X86_AVX2', 'HW_CPU_X86_SHA', 'HW_ARCH_X86_64',
            'CUSTOM_DOCKER_HOST', 'CUSTOM_DOCKER_DISK_QUOTA',
            'CUSTOM_DOCKER_USERNS',
            'CUSTOM_DOCKER_LIVE_RESTORE', 'CUSTOM_DOCKER_CGROUP_V2',
            'CUSTOM_DOCKER_RUNTIME_RUNC',
            'CUSTOM_DOCKER_RUNTIME_IO_KATA_V2'}, found)
        self.assertTrue(all(map(inventory.is_ours, found)))
        self.assertFalse(inventory.is_ours('CUSTOM_RACK_1'))
        self.assertEqual({
            'HW_ARCH_AARCH64', 'CUSTOM_DOCKER_HOST'}, inventory.traits(
            host(architecture='aarch64'), engine()))


class TestGpus(test_lifecycle.LifecycleCase):

    def test_the_driver_is_asked_for_them(self):
        with tempfile.TemporaryDirectory() as name:
            for number, gpu in enumerate(('GPU-5fd4a0c1', 'GPU-77e0b2d3')):
                path = Path(name) / f'0000:3{number}:00.0'
                path.mkdir()
                (path / 'information').write_text(INFORMATION.format(gpu))
            self.assertEqual(('GPU-5fd4a0c1', 'GPU-77e0b2d3'),
                             hostinfo.gpus(Path(name)))
        self.assertEqual((), hostinfo.gpus(Path('/nowhere')))

    def spawn_with(self, gpus, counted=None, uuid=fakes.UUID):
        instance = fakes.instance(uuid=uuid)
        instance.flavor.extra_specs = {
            'docker:gpus': str(gpus),
            'resources:PGPU': str(gpus if counted is None else counted)}
        self.lifecycle.spawn(None, instance, fakes.image_meta(), [], None,
                             fakes.policy(gpus=GPUS))
        return self.spec_of(uuid)

    def spec_of(self, uuid):
        return next(spec for spec in self.engine.specs.values()
                    if spec.name == names.container(uuid))

    def test_two_servers_never_share_one(self):
        second = fakes.UUID[:-1] + 'f'
        first = self.spawn_with(2)
        self.assertEqual(GPUS[:2], first.gpus)
        self.assertEqual(
            [{'Driver': 'nvidia', 'DeviceIDs': ['GPU-0', 'GPU-1'],
              'Capabilities': [['gpu']]}],
            enginedocs.container_config(first)['HostConfig'][
                'DeviceRequests'])
        self.assertEqual(GPUS[2:], self.spawn_with(1, uuid=second).gpus)
        with self.assertRaisesRegex(
                Exception, '1 are wanted and this host has 0'):
            self.spawn_with(1, uuid=fakes.UUID[:-1] + 'e')
        # What a server had is free once the server is gone.
        self.lifecycle.destroy(fakes.instance(uuid=second), [])
        self.assertEqual(GPUS[2:], self.spawn_with(1, uuid=second).gpus)

    def test_the_scheduler_must_have_counted_them(self):
        for wanted, counted in ((2, 1), (0, 1)):
            with self.assertRaisesRegex(Exception, 'resources:PGPU'):
                self.spawn_with(wanted, counted)
        self.assert_nothing_left()


class TestPci(unittest.TestCase):
    """Recorded from kernels; a machine without such devices runs it too."""

    def setUp(self):
        super().setUp()
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.root = Path(directory.name) / 'bus'
        self.devices = Path(directory.name) / 'devices'
        self.root.mkdir()

    def make(self, address, files=(), **attributes):
        place = self.devices / address
        place.mkdir(parents=True)
        for name, text in {'vendor': '0x10de', 'device': '0x20f1',
                           'numa_node': '-1', **attributes}.items():
            (place / name).write_text(text + '\n')
        for path, name in files:
            (place / path).mkdir(parents=True)
            (place / path / 'dev').write_text('226:0\n')
            (place / path / 'uevent').write_text(
                f'MAJOR=226\nDEVNAME={name}\n')
        (self.root / address).symlink_to(place)
        return place

    def test_what_the_kernel_lists(self):
        card = self.make('0000:3b:00.0', (
            ('drm/card0', 'dri/card0'), ('drm/renderD128', 'dri/renderD128')),
            numa_node='1', sriov_totalvfs='4')
        function = self.make('0000:3b:00.1')
        (function / 'physfn').symlink_to(card)
        self.make('0000:00:1f.0')
        plain, physical, virtual = pcidevices.found(self.root)
        self.assertEqual(
            ('type-PF', 1, ('/dev/dri/card0', '/dev/dri/renderD128')),
            (physical.kind, physical.numa_node, physical.files))
        self.assertEqual(('type-VF', '0000:3b:00.0', ()),
                         (virtual.kind, virtual.parent, virtual.files))
        self.assertEqual(('type-PCI', '10de', '20f1', None), (
            plain.kind, plain.vendor_id, plain.product_id, plain.numa_node))

    def test_a_bridge_has_not_what_is_below_it(self):
        bridge = self.make('0000:00:01.0')
        below = bridge / '0000:01:00.0'
        (below / 'nvme/nvme0').mkdir(parents=True)
        (below / 'vendor').write_text('0x144d')
        (below / 'nvme/nvme0/dev').write_text('1:1')
        (below / 'nvme/nvme0/uevent').write_text('DEVNAME=nvme0')
        (self.root / '0000:01:00.0').symlink_to(below)
        bridge, drive = pcidevices.found(self.root)
        self.assertEqual(((), ('/dev/nvme0',)), (bridge.files, drive.files))

    def test_novas_tracker_takes_them(self):
        self.make('0000:3b:00.0', numa_node='1')
        function = self.make('0000:3b:00.1')
        (function / 'physfn').symlink_to(self.devices / '0000:3b:00.0')
        told = json.loads(inventory.resources(host(
            pci_devices=pcidevices.found(self.root)))[
                'pci_passthrough_devices'])
        for device in told:
            made = objects.PciDevice.create(None, device)
            self.assertEqual(device['address'], made.address)
        self.assertEqual('0000:3b:00.0', told[1]['parent_addr'])

    def test_a_server_gets_the_files(self):
        policy = fakes.policy(pci_files={'0000:3b:00.0': ('/dev/dri/card0',),
                                         '0000:3b:00.1': ()})

        def devices(*addresses):
            return spec.build(spec.Inputs(
                fakes.UUID, 'web', 64, 0, 1, {},
                models.EngineImage('sha256:1', command=('sh',)),
                models.TenantSpec(), policy,
                pci_addresses=addresses)).devices
        self.assertEqual((), devices())
        self.assertEqual(('/dev/dri/card0',), devices('0000:3b:00.0'))
        for address in ('0000:3b:00.1', '0000:00:00.0'):
            with self.assertRaisesRegex(errors.Unsupported, address):
                devices(address)

    def test_which_devices_are_the_servers(self):
        instance = fakes.instance(
            pci_requests=objects.InstancePCIRequests(requests=[
                objects.InstancePCIRequest(
                    request_id=REQUEST, alias_name='card', count=1,
                    spec=[])]),
            pci_devices=objects.PciDeviceList(objects=[
                objects.PciDevice(address='0000:3b:00.0',
                                  request_id=REQUEST)]))
        self.assertEqual(('0000:3b:00.0',),
                         servers._pci_addresses(instance))
        self.assertEqual((), servers._pci_addresses(fakes.instance()))


class TestHardening(unittest.TestCase):

    def test_a_host_that_has_all_of_it(self):
        self.assertEqual([], hardening.findings(fakes.policy(), engine(
            security_options=('seccomp', 'apparmor', 'userns'),
            disk_quota=True, live_restore=True, cgroup_version='2')))

    def test_what_is_weakened_and_what_is_lacking(self):
        found = [str(finding) for finding in hardening.findings(
            fakes.policy(allowed_caps=('CHOWN', 'SYS_ADMIN'),
                         allow_privileged=True, devices={'kvm': '/dev/kvm'}),
            engine(storage_driver='overlay2', warnings=('No swap limit',)))]
        for number, words in enumerate((
                'CAP_SYS_ADMIN', 'allow_privileged', '/dev/kvm', 'seccomp',
                'AppArmor', 'userns-remap', 'overlay2', 'live-restore',
                'version 1', 'No swap limit')):
            self.assertIn(words, found[number])
        self.assertEqual(10, len(found))
        found = [str(finding) for finding in hardening.findings(
            fakes.policy(allowed_runtimes=('runsc',),
                         seccomp_profiles={'audit': '{}'},
                         apparmor_profiles=('mine',),
                         max_ulimits={'nofile': -1}, disks_watched=False),
            engine())]
        for words in ('runsc', 'audit', 'mine', 'max_ulimits',
                      'disk_enforcement'):
            self.assertIn(words, ' '.join(found[:5]))


class TestBenchmark(unittest.TestCase):
    """Each row of the check can fail."""

    def container(self, **changes):
        host = enginedocs.container_config(spec.build(spec.Inputs(
            fakes.UUID, 'web', 64, 0, 1, {},
            models.EngineImage('sha256:1', command=('sh',)),
            models.TenantSpec(read_only=True), fakes.policy(
                allowed_caps=spec.BASELINE_CAPS))))['HostConfig']
        host.update(Binds=None, PortBindings={}, PidMode='', UTSMode='',
                    CgroupParent='', Devices=[], UsernsMode='')
        host.update({key: value for key, value in changes.items()
                     if key not in ('AppArmorProfile', 'Config')})
        return {'HostConfig': host, 'AppArmorProfile': changes.get(
            'AppArmorProfile', 'docker-default'), 'Config': changes.get(
                'Config', {'Healthcheck': {'Test': ['CMD', 'x']}})}

    def numbers(self, **changes):
        return {line.split()[0] for line in hardening.warnings_of(
            self.container(**changes))} - {'5.2'}

    def test_a_container_of_ours_where_the_host_has_all(self):
        self.assertEqual(set(), self.numbers())

    def test_every_row(self):
        bind = {'Source': '/x', 'ReadOnly': True}
        for number, changes in (
                ('5.1', {'AppArmorProfile': ''}),
                ('5.1', {'AppArmorProfile': 'unconfined'}),
                ('5.3', {'CapAdd': ['SYS_ADMIN']}), ('5.3', {'CapDrop': []}),
                ('5.4', {'Privileged': True}), ('5.5', {'Binds': ['/:/x']}),
                ('5.5', {'Mounts': [{**bind, 'ReadOnly': False}]}),
                ('5.9', {'NetworkMode': 'host'}), ('5.10', {'Memory': 0}),
                ('5.11', {'NanoCpus': 0, 'CpuShares': 0}),
                ('5.12', {'ReadonlyRootfs': False}),
                ('5.13', {'PortBindings': {'1/tcp': []}}),
                ('5.14', {'RestartPolicy': {'Name': 'always'}}),
                ('5.15', {'PidMode': 'host'}), ('5.16', {'IpcMode': 'host'}),
                ('5.17', {'Devices': ['x']}), ('5.18', {'Ulimits': []}),
                ('5.19', {'Mounts': [{**bind, 'BindOptions': {
                    'Propagation': 'rshared'}}]}),
                ('5.20', {'UTSMode': 'host'}),
                ('5.21', {'SecurityOpt': ['no-new-privileges:true',
                                          'seccomp=unconfined']}),
                ('5.24', {'CgroupParent': '/x'}),
                ('5.25', {'SecurityOpt': []}),
                ('5.26', {'Config': {}}), ('5.28', {'PidsLimit': 0}),
                ('5.29', {'NetworkMode': 'bridge'}),
                ('5.30', {'UsernsMode': 'host'}),
                ('5.31', {'Mounts': [{**bind,
                                      'Source': '/run/docker.sock'}]})):
            self.assertEqual({number}, self.numbers(**changes), changes)


class TestErrors(unittest.TestCase):

    def test_another_host_may_have_what_this_one_lacks(self):
        self.assertEqual('ComputeResourcesUnavailable', type(
            errors.to_build_failure(errors.Unsupported('x'), fakes.UUID)
        ).__name__)
