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

"""The configuration files of the lab's services, as plain mappings.

Pure: ``files`` answers what each file holds, ``cloud`` writes them. A file
is a mapping of section to option to value.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping

from lab import layout as lab_layout

Layout = lab_layout.Layout
Section = Mapping[str, object]
File = Mapping[str, Section]

#: Networks that the lab has; the addresses exist inside OVN only, except for
#: the gateway of the public one, which is the host's end of br-ex.
PUBLIC_CIDR = '172.24.4.0/24'
PUBLIC_GATEWAY = '172.24.4.1'
DNS_DOMAIN = 'lab.example'
PUBLIC_POOL = ('172.24.4.10', '172.24.4.250')
PRIVATE_CIDR = '10.20.0.0/24'
DEFAULT_POOL = '10.21.0.0/16'

#: Nova's own, and those that a server names others for.
FILTERS = ('ComputeFilter', 'ComputeCapabilitiesFilter',
           'ImagePropertiesFilter', 'ServerGroupAntiAffinityFilter',
           'ServerGroupAffinityFilter', 'SameHostFilter',
           'DifferentHostFilter')

#: Of images that servers of the lab may have without Glance.
REGISTRY = '127.0.0.1:15999'


def render(content: File) -> str:
    """The text of one configuration file."""
    lines = []
    for section, options in content.items():
        lines.append(f'[{section}]')
        lines += [f'{name} = {value}' for name, value in options.items()]
        lines.append('')
    return '\n'.join(lines)


def files(layout: Layout) -> dict[str, str]:
    """Every file below ``etc``: relative path to text."""
    contents = {
        'keystone/keystone.conf': _keystone(layout),
        'placement/placement.conf': _placement(layout),
        'glance/glance-api.conf': _glance(layout),
        'barbican/barbican.conf': _barbican(layout),
        'octavia/octavia.conf': _octavia(layout),
        'neutron/neutron.conf': _neutron(layout),
        'neutron/ml2_conf.ini': _ml2(layout),
        'nova/nova.conf': _nova(layout),
        'nova/nova-db.conf': _nova_databases(layout),
        'heat/heat.conf': _heat(layout),
    }
    contents['nova-vm/compute.conf'] = _virtual_machines(layout)
    for host in layout.hosts:
        contents[f'nova-{host.name}/compute.conf'] = _compute(layout, host)
        contents[f'neutron-{host.name}/metadata.ini'] = _metadata_agent(
            layout, host)
    return {path: render(content) for path, content in contents.items()}


def _account(layout: Layout, user: str) -> dict[str, object]:
    return {
        'auth_type': 'password',
        'auth_url': layout.url('keystone') + '/v3',
        'username': user,
        'password': lab_layout.PASSWORD,
        'user_domain_id': 'default',
        'project_name': 'service',
        'project_domain_id': 'default',
        'region_name': 'RegionOne',
    }


def _token(layout: Layout, user: str) -> dict[str, object]:
    return {
        **_account(layout, user),
        'www_authenticate_uri': layout.url('keystone') + '/v3',
        'service_token_roles_required': 'true',
    }


def _lock(layout: Layout, service: str) -> dict[str, object]:
    return {'lock_path': layout.run / 'lock' / service}


def _keystone(layout: Layout) -> File:
    keys = layout.state / 'keystone'
    return {
        'database': {'connection': layout.database('keystone')},
        'token': {'provider': 'fernet'},
        'fernet_tokens': {'key_repository': keys / 'fernet'},
        'fernet_receipts': {'key_repository': keys / 'receipts'},
        'credential': {'key_repository': keys / 'credential'},
        # Without a cache every request costs two hundred SQL statements.
        'cache': {'enabled': 'true', 'backend': 'dogpile.cache.memory'},
        'identity': {'password_hash_rounds': 4},
    }


def _placement(layout: Layout) -> File:
    return {
        # Its own default is ten, and it fails beyond that.
        'placement_database': {'connection': layout.database('placement'),
                               'max_overflow': 100},
        'api': {'auth_strategy': 'keystone'},
        'keystone_authtoken': _token(layout, 'placement'),
    }


def _glance(layout: Layout) -> File:
    store = layout.state / 'glance'
    return {
        'DEFAULT': {'enabled_backends': 'file:file'},
        'database': {'connection': layout.database('glance')},
        'glance_store': {'default_backend': 'file'},
        'file': {'filesystem_store_datadir': store / 'images'},
        'os_glance_tasks_store': {
            'filesystem_store_datadir': store / 'tasks'},
        'os_glance_staging_store': {
            'filesystem_store_datadir': store / 'staging'},
        'paste_deploy': {
            'flavor': 'keystone',
            'config_file': layout.venv / 'etc/glance/glance-api-paste.ini'},
        'oslo_concurrency': _lock(layout, 'glance'),
        'keystone_authtoken': _token(layout, 'glance'),
    }


def _barbican(layout: Layout) -> File:
    return {
        'DEFAULT': {
            'host_href': layout.url('barbican'),
            # As the administrator's commands make them.
            'db_auto_create': 'false',
        },
        'database': {'connection': layout.database('barbican')},
        'queue': {'enable': 'false'},
        'keystone_authtoken': _token(layout, 'barbican'),
        # Its own software keeps the key; a laboratory's is no secret.
        'simple_crypto_plugin': {
            'kek': base64.b64encode(b'nova-docker-lab-not-a-secret-key'
                                    ).decode()},
    }


def _octavia(layout: Layout) -> File:
    provider = 'ovn'
    return {
        'DEFAULT': {'transport_url': 'fake://'},
        'database': {'connection': layout.database('octavia')},
        'api_settings': {
            'enabled_provider_drivers': f'{provider}: Without amphorae',
            'default_provider_driver': provider},
        # Its sockets are where OVN's provider takes them for granted.
        'driver_agent': {'enabled_provider_agents': provider},
        'ovn': {'ovn_nb_connection': layout.ovn_db(),
                'ovn_sb_connection': layout.ovn_db()},
        'oslo_messaging': {'topic': 'octavia'},
        'keystone_authtoken': _token(layout, 'octavia'),
        'service_auth': _account(layout, 'octavia'),
        'neutron': {'endpoint_override': layout.url('neutron')},
    }


def _neutron(layout: Layout) -> File:
    return {
        'DEFAULT': {
            'core_plugin': 'ml2',
            # Segments: Nova takes a port without addresses by what they tell.
            'service_plugins': 'ovn-router,segments,port_forwarding',
            'auth_strategy': 'keystone',
            # OVN needs no agent, hence no message bus.
            'transport_url': 'fake://',
            'state_path': layout.state / 'neutron',
            'host': 'controller',
            'api_paste_config': layout.venv / 'etc/neutron/api-paste.ini',
            'rpc_workers': 0,
            'notify_nova_on_port_status_changes': 'true',
            'notify_nova_on_port_data_changes': 'true',
            'send_events_interval': 1,
            'dns_domain': f'{DNS_DOMAIN}.',
        },
        'quotas': {f'quota_{what}': -1 for what in (
            'port', 'network', 'subnet', 'router', 'floatingip',
            'security_group', 'security_group_rule')},
        'database': {'connection': layout.database('neutron')},
        'oslo_concurrency': _lock(layout, 'neutron'),
        'oslo_messaging_notifications': {'driver': 'noop'},
        'keystone_authtoken': _token(layout, 'neutron'),
        'nova': _account(layout, 'nova'),
        'placement': _account(layout, 'placement'),
    }


def _ml2(layout: Layout) -> File:
    return {
        'ml2': {
            'type_drivers': 'geneve,flat',
            'tenant_network_types': 'geneve',
            'mechanism_drivers': 'ovn',
            'extension_drivers': 'port_security,dns',
        },
        'ml2_type_geneve': {'vni_ranges': '1:1000', 'max_header_size': 38},
        'ml2_type_flat': {'flat_networks': 'public'},
        'ovn': {
            'ovn_nb_connection': layout.ovn_db(),
            'ovn_sb_connection': layout.ovn_db(),
            'ovn_metadata_enabled': 'true',
            # Release 3.1 of Open vSwitch can crash in its userspace
            # connection tracker when that translates addresses.
            'stateless_nat_enabled': 'true',
        },
    }


def _metadata_agent(layout: Layout, host: lab_layout.Host) -> File:
    return {
        'DEFAULT': {
            'state_path': layout.state / 'neutron',
            'nova_metadata_host': '127.0.0.1',
            'nova_metadata_port': layout.port('nova-metadata'),
            'metadata_proxy_shared_secret': lab_layout.PASSWORD,
            'metadata_workers': 0,
            'metadata_proxy_socket': host.run / 'metadata.sock',
            'debug': 'true',
        },
        # The lab runs as root and needs no sudo.
        'agent': {'root_helper': 'env'},
        'oslo_concurrency': _lock(layout, 'neutron'),
        'ovs': {'ovsdb_connection': host.ovsdb},
        'ovn': {'ovn_sb_connection': layout.ovn_db()},
    }


def _nova(layout: Layout) -> File:
    return {
        'DEFAULT': {
            'transport_url': layout.transport_url(),
            'host': 'controller',
            'my_ip': '127.0.0.1',
            'state_path': layout.state / 'nova',
            'report_interval': 5,
            'service_down_time': 15,
            'periodic_fuzzy_delay': 0,
            'graceful_shutdown_timeout': 3,
            'manager_shutdown_timeout': 1,
            'debug': 'true',
            'log_options': 'false',
        },
        'wsgi': {'api_paste_config': layout.venv / 'etc/nova/api-paste.ini'},
        'conductor': {'workers': 1},
        'scheduler': {'workers': 1,
                      'enable_isolated_aggregate_filtering': 'true'},
        'filter_scheduler': {'enabled_filters': ','.join(FILTERS)},
        'oslo_concurrency': _lock(layout, 'nova'),
        'quota': {'instances': -1, 'cores': -1, 'ram': -1},
        'glance': {'api_servers': layout.url('glance')},
        'keystone_authtoken': _token(layout, 'nova'),
        'service_user': {**_account(layout, 'nova'),
                         'send_service_user_token': 'true'},
        'placement': _account(layout, 'placement'),
        'neutron': {**_account(layout, 'neutron'),
                    'endpoint_override': layout.url('neutron'),
                    'service_metadata_proxy': 'true',
                    'metadata_proxy_shared_secret': lab_layout.PASSWORD},
        'vnc': {'enabled': 'false'},
        'serial_console': {
            'enabled': 'true',
            'base_url': f'ws://127.0.0.1:{layout.port("serialproxy")}/',
            'serialproxy_host': '127.0.0.1',
            'serialproxy_port': layout.port('serialproxy'),
            'proxyclient_address': '127.0.0.1',
        },
    }


def _nova_databases(layout: Layout) -> File:
    # Apart from nova.conf: nova-compute complains when it can see these.
    return {
        'database': {'connection': layout.database('nova_cell1')},
        'api_database': {'connection': layout.database('nova_api')},
    }


def _compute(layout: Layout, host: lab_layout.Host) -> File:
    config = f'--config-file {layout.etc}/nova/nova.conf'
    helper = {'helper_command': f'{layout.bin}/privsep-helper {config} '
              f'--config-file {layout.etc}/nova-{host.name}/compute.conf'}
    return {
        'DEFAULT': {
            'compute_driver': 'docker.DockerDriver',
            'host': host.nova_name,
            'state_path': host.state,
            'reserved_host_memory_mb': 512,
            # Room for hundreds of servers that wait most of the time.
            'cpu_allocation_ratio': 128.0,
            'initial_cpu_allocation_ratio': 128.0,
        },
        # Demonstrations and tests wait for health.
        'docker': {'endpoint': host.endpoint, 'health_min_interval': 1,
                   'dns_search': DNS_DOMAIN,
                   # Where tests start a registry.
                   'allowed_registries': REGISTRY},
        'oslo_concurrency': _lock(layout, host.name),
        'os_vif_ovs': {'ovsdb_connection': host.ovsdb},
        # The lab runs as root and needs no sudo.
        'vif_plug_ovs_privileged': helper,
        'nova_docker_driver_privileged': helper,
        'nova_sys_admin': helper,
        # The proxy cannot reach other hosts than the first.
        **({'serial_console': {'enabled': 'false'}} if host.number > 1
           else {}),
    }


def _virtual_machines(layout: Layout) -> File:
    """A host beside those of containers; its machines are Nova's doubles."""
    return {
        'DEFAULT': {
            # The one that keeps who it is, so that it can be restarted.
            'compute_driver': 'fake.FakeDriverWithoutFakeNodes',
            'host': layout.vm_host,
            'state_path': layout.state / 'vm',
        },
        'oslo_concurrency': _lock(layout, 'vm'),
    }


def _heat(layout: Layout) -> File:
    return {
        'DEFAULT': {
            'transport_url': layout.transport_url(),
            'num_engine_workers': 1,
            # A stack of many groups keeps its one worker busy for long.
            'rpc_response_timeout': 600,
            'plugin_dirs': layout.source / 'heat_plugins' / 'loader',
            'environment_dir': layout.venv / 'etc/heat/environment.d',
            'template_dir': layout.venv / 'etc/heat/templates',
            'stack_domain_admin': 'heat_domain_admin',
            'stack_domain_admin_password': lab_layout.PASSWORD,
            'stack_user_domain_name': 'heat',
            'heat_metadata_server_url': layout.url('heat'),
            'auth_encryption_key': 'nova-docker-lab-not-a-secret-key',
            'region_name_for_services': 'RegionOne',
            'graceful_shutdown_timeout': 3,
            # Tests hand stacks over.
            'enable_stack_abandon': 'true',
            'enable_stack_adopt': 'true',
            'debug': 'true',
            'log_options': 'false',
        },
        'database': {'connection': layout.database('heat')},
        'oslo_concurrency': _lock(layout, 'heat'),
        'docker_container': {'enabled': 'true', 'endpoints': 'local'},
        'docker_endpoint_local': {'url': layout.hosts[0].endpoint},
        'paste_deploy': {
            'api_paste_config': layout.venv / 'etc/heat/api-paste.ini'},
        'keystone_authtoken': _token(layout, 'heat'),
        'clients_keystone': {'auth_uri': layout.url('keystone')},
        'trustee': {
            'auth_type': 'password',
            'auth_url': layout.url('keystone') + '/v3',
            'username': 'heat',
            'password': lab_layout.PASSWORD,
            'user_domain_id': 'default',
        },
    }
