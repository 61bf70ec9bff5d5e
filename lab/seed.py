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

"""What a new cloud holds: schemas, accounts, endpoints, networks, flavors."""

from __future__ import annotations

from collections.abc import Callable
import subprocess

from keystoneauth1.identity import v3
from keystoneauth1 import session as ks_session
import openstack
from openstack import connection

from lab import configuration
from lab import kernel
from lab import layout as lab_layout

Layout = lab_layout.Layout
Run = Callable[[list[str]], None]
RunAll = Callable[[list[list[str]]], None]

DATABASES = ('keystone', 'placement', 'glance', 'neutron', 'nova_api',
             'nova_cell0', 'nova_cell1', 'heat', 'barbican', 'octavia')

#: Numbers of hosts that may join later, mapped beforehand.
_HOSTS = (1, 2, 3)

_ENDPOINTS = (
    ('placement', 'placement', ''),
    ('image', 'glance', ''),
    ('compute', 'nova', '/v2.1'),
    ('orchestration', 'heat', '/v1/%(tenant_id)s'),
    ('network', 'neutron', ''),
    ('key-manager', 'barbican', ''),
    ('load-balancer', 'octavia', ''),
)

#: name, MiB, vCPUs, GiB of disk. A flavor without disk would be refused to
#: ordinary tenants.
_FLAVORS = (('c1.tiny', 64, 1, 1), ('c1.small', 256, 1, 2),
            ('c1.medium', 512, 2, 4))


def create_stores(layout: Layout, run: Run) -> None:
    """Empty databases on disk, before any server runs."""
    state = layout.state
    run(['mariadb-install-db', '--no-defaults', f'--datadir={state}/mysql',
         '--user=root', '--auth-root-authentication-method=normal',
         '--skip-test-db'])
    for name, schema in (('ovnnb', 'nb'), ('ovnsb', 'sb')):
        run(['ovsdb-tool', 'create', f'{state}/ovn/{name}.db',
             f'/usr/share/ovn/ovn-{schema}.ovsschema'])
    for host in layout.hosts:
        create_switch(host, run)


def create_switch(host: lab_layout.Host, run: Run) -> None:
    """The empty database of a host's switch, unless there is one."""
    database = host.state / 'conf.db'
    if not database.exists():
        run(['ovsdb-tool', 'create', str(database),
             '/usr/share/openvswitch/vswitch.ovsschema'])


def configure_switch(host: lab_layout.Host, run: Run, alone: bool) -> None:
    """Tells a host's switch who it is and where OVN's databases are.

    :param alone: there is no other host that packets would come from
    """
    lab_run = host.run.parent
    identity = {
        'system-id': f'lab-{host.name}',
        # Must equal CONF.host, or OVN lets go of the host's ports.
        'hostname': host.nova_name,
        'ovn-remote': f'unix:{lab_run}/ovn.sock',
        'ovn-encap-type': 'geneve',
        'ovn-encap-ip': '127.0.0.1' if alone else host.tunnel_address,
        'ovn-bridge-datapath-type': kernel.datapath(),
        'ovn-cms-options': 'enable-chassis-as-gw',
        'ovn-bridge-mappings': 'public:br-ex',
    }
    if host.number > 1:
        # One way out is enough.
        del identity['ovn-cms-options'], identity['ovn-bridge-mappings']
    run(['ovs-vsctl', f'--db={host.ovsdb}', '--no-wait', 'init',
         *(('--', '--if-exists', 'del-br', 'br-phys') if alone else ()),
         '--', 'set', 'Open_vSwitch', '.',
         *(f'external_ids:{name}={value}'
           for name, value in identity.items())])


def create_schemas(layout: Layout, run_all: RunAll) -> None:
    """All tables of all services."""
    statements = ''.join(
        f'CREATE DATABASE {name} CHARACTER SET utf8mb3;'
        for name in DATABASES)
    subprocess.run(['mariadb', '--no-defaults', '--user=root',
                    f'--socket={layout.run}/mysql.sock', '-e', statements],
                   check=True)
    for directory in ('fernet', 'receipts', 'credential'):
        (layout.state / 'keystone' / directory).mkdir(
            parents=True, exist_ok=True, mode=0o700)
    for side_by_side in _schema_commands(layout):
        run_all(side_by_side)


def _schema_commands(layout: Layout) -> list[list[list[str]]]:
    """Commands in order; those of one list may run side by side."""
    etc, binaries = layout.etc, layout.bin

    def tool(name: str, *arguments: object) -> list[str]:
        return [f'{binaries}/{name}', *map(str, arguments)]

    nova = ('--config-file', f'{etc}/nova/nova.conf',
            '--config-file', f'{etc}/nova/nova-db.conf')
    keystone = ('--config-file', f'{etc}/keystone/keystone.conf')
    return [[
        tool('neutron-db-manage', '--config-file',
             f'{etc}/neutron/neutron.conf', '--config-file',
             f'{etc}/neutron/ml2_conf.ini', 'upgrade', 'heads'),
        tool('keystone-manage', *keystone, 'db_sync')], [
        tool('nova-manage', *nova, 'api_db', 'sync'),
        tool('keystone-manage', *keystone, 'fernet_setup',
             '--keystone-user', 'root', '--keystone-group', 'root')], [
        tool('nova-manage', *nova, 'cell_v2', 'map_cell0',
             '--database_connection', layout.database('nova_cell0')),
        tool('keystone-manage', *keystone, 'credential_setup',
             '--keystone-user', 'root', '--keystone-group', 'root')], [
        tool('nova-manage', *nova, 'db', 'sync'),
        tool('keystone-manage', *keystone, 'bootstrap',
             '--bootstrap-password', lab_layout.PASSWORD,
             '--bootstrap-region-id', 'RegionOne',
             *(part for kind in ('public', 'internal', 'admin')
               for part in (f'--bootstrap-{kind}-url',
                            layout.url('keystone') + '/v3')))], [
        tool('nova-manage', *nova, 'cell_v2', 'create_cell', '--name',
             'cell1', '--transport-url', layout.transport_url(),
             '--database_connection', layout.database('nova_cell1')),
        tool('placement-manage', '--config-file',
             f'{etc}/placement/placement.conf', 'db', 'sync')], [
        tool('glance-manage', '--config-file',
             f'{etc}/glance/glance-api.conf', 'db_sync'),
        tool('heat-manage', '--config-file', f'{etc}/heat/heat.conf',
             'db_sync'),
        tool('barbican-db-manage', '--dburl',
             layout.database('barbican'), 'upgrade'),
        tool('octavia-db-manage', '--config-file',
             f'{etc}/octavia/octavia.conf', 'upgrade', 'head')], [
        tool('python', layout.source / 'lab/seed_nova.py',
             f'{etc}/nova/nova.conf,{etc}/nova/nova-db.conf',
             *map(layout.nova_name, _HOSTS), layout.vm_host)]]


def connect(layout: Layout, user: str = 'admin') -> connection.Connection:
    """A connection to the lab as one of its users, in the user's project."""
    auth = v3.Password(
        auth_url=layout.url('keystone') + '/v3', username=user,
        password=lab_layout.PASSWORD, project_name=user,
        user_domain_id='default', project_domain_id='default')
    return openstack.connection.Connection(
        session=ks_session.Session(auth=auth), region_name='RegionOne',
        compute_api_version='2', identity_api_version='3')


def seed(layout: Layout) -> None:
    """Fills the running services of a cloud that has only its schemas."""
    _accounts(layout, connect(layout))
    # A new connection, for a token whose catalogue has the new endpoints.
    cloud = connect(layout)
    _flavors(cloud)
    _networks(cloud, connect(layout, 'demo'))


def _accounts(layout: Layout, cloud: connection.Connection) -> None:
    identity = cloud.identity
    roles = {role.name: role for role in identity.roles()}
    for name in ('service', 'heat_stack_owner', 'heat_stack_user', 'creator',
                 'load-balancer_member'):
        if name not in roles:
            roles[name] = identity.create_role(name=name)
    service = identity.create_project(name='service', domain_id='default')
    for name in ('placement', 'glance', 'nova', 'heat', 'neutron',
                 'barbican', 'octavia'):
        user = identity.create_user(
            name=name, password=lab_layout.PASSWORD, domain_id='default')
        for role in ('admin', 'service'):
            identity.assign_project_role_to_user(service, user, roles[role])
    admin = identity.find_user('admin', domain_id='default')
    identity.assign_project_role_to_user(
        identity.find_project('admin', domain_id='default'), admin,
        roles['heat_stack_owner'])
    demo_project = identity.create_project(name='demo', domain_id='default')
    demo = identity.create_user(
        name='demo', password=lab_layout.PASSWORD, domain_id='default')
    for role in ('member', 'heat_stack_owner', 'creator',
                 'load-balancer_member'):
        identity.assign_project_role_to_user(demo_project, demo, roles[role])
    domain = identity.create_domain(name='heat')
    heat_admin = identity.create_user(
        name='heat_domain_admin', password=lab_layout.PASSWORD,
        domain_id=domain.id)
    identity.assign_domain_role_to_user(domain, heat_admin, roles['admin'])
    for kind, name, path in _ENDPOINTS:
        entry = identity.create_service(name=name, type=kind)
        for interface in ('public', 'internal'):
            identity.create_endpoint(
                service_id=entry.id, interface=interface,
                region_id='RegionOne', url=layout.url(name) + path)


def _flavors(cloud: connection.Connection) -> None:
    for name, memory, cpus, disk in _FLAVORS:
        cloud.compute.create_flavor(
            name=name, ram=memory, vcpus=cpus, disk=disk)


def _networks(cloud: connection.Connection,
              demo: connection.Connection) -> None:
    public = cloud.network.create_network(
        name='public', is_default=True, **{
            'router:external': True, 'provider:network_type': 'flat',
            'provider:physical_network': 'public'})
    # Of networks that Neutron makes by itself for who has none.
    cloud.network.create_subnet_pool(
        name='default', is_default=True, is_shared=True,
        default_prefix_length=26, prefixes=[configuration.DEFAULT_POOL])
    first, last = configuration.PUBLIC_POOL
    cloud.network.create_subnet(
        name='public-subnet', network_id=public.id, ip_version=4,
        cidr=configuration.PUBLIC_CIDR, enable_dhcp=False,
        gateway_ip=configuration.PUBLIC_GATEWAY,
        allocation_pools=[{'start': first, 'end': last}])
    private = demo.network.create_network(name='private')
    subnet = demo.network.create_subnet(
        name='private-subnet', network_id=private.id, ip_version=4,
        cidr=configuration.PRIVATE_CIDR)
    router = demo.network.create_router(
        name='router', external_gateway_info={'network_id': public.id})
    demo.network.add_interface_to_router(router, subnet_id=subnet.id)
