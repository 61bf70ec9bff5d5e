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

"""What the lab runs: one entry a process, with its order and its check.

``services(layout)`` reads from top to bottom like the cloud itself: data
stores, the network, the APIs, the workers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
import dataclasses
import glob
import os
from pathlib import Path
import socket
import urllib.error
import urllib.request

from keystoneauth1.identity import v3
from keystoneauth1 import session as ks_session

from lab import layout as lab_layout

Layout = lab_layout.Layout
Ready = Callable[[], bool]


@dataclasses.dataclass(frozen=True)
class Service:
    """One process of the lab."""

    name: str
    command: Sequence[object]
    #: True once others may rely on it; may raise OSError while it is not.
    ready: Ready
    after: tuple[str, ...] = ()
    environment: Mapping[str, str] = dataclasses.field(default_factory=dict)
    #: Seconds after which a service that is not ready counts as broken.
    patience: float = 90

    def argv(self) -> list[str]:
        return [str(part) for part in self.command]


def services(layout: Layout) -> list[Service]:
    """All services of the lab, in the order in which to start them."""
    return [
        _mariadb(layout), _rabbitmq(layout), _ovn_db(layout),
        *(_ovsdb(layout, host) for host in layout.hosts),
        _keystone(layout),
        *(_vswitchd(layout, host) for host in layout.hosts),
        _ovn_northd(layout),
        _neutron(layout), _conductor(layout), _placement(layout),
        *(_ovn_controller(layout, host) for host in layout.hosts),
        _glance(layout), _nova_api(layout), _heat_engine(layout),
        _scheduler(layout),
        *(_compute(layout, host) for host in layout.hosts),
        _heat_api(layout), _serialproxy(layout),
        *(service(layout, host) for host in layout.hosts[1:]
          for service in (_forwarder, _engine)),
    ]


def metadata(layout: Layout) -> list[Service]:
    """What answers at 169.254.169.254; not of those that always run."""
    return [_nova_metadata(layout),
            *(_metadata_agent(layout, host) for host in layout.hosts)]


def key_manager(layout: Layout) -> list[Service]:
    """What keeps secrets; not of those that always run."""
    return [_barbican(layout)]


def load_balancers(layout: Layout) -> list[Service]:
    """What balances load; not of those that always run."""
    return [_driver_agent(layout), _octavia(layout)]


def virtual_machines(layout: Layout) -> list[Service]:
    """A host for virtual machines; not of those that always run."""
    return [_worker(
        layout, 'nova-compute-vm', _nova_command(
            layout, 'nova-compute', 'nova/nova.conf', 'nova-vm/compute.conf'),
        ('nova-conductor', 'placement', 'keystone', 'neutron-api'),
        'Join ServiceGroup membership')]


def _python_environment(layout: Layout) -> dict[str, str]:
    etc = layout.etc
    nova_files = (layout.venv / 'etc/nova/api-paste.ini',
                  'nova.conf', 'nova-db.conf')
    return {
        'PATH': f'{layout.bin}:{os.environ.get("PATH", os.defpath)}',
        'PYTHONWARNINGS': 'ignore',
        'PYTHONUNBUFFERED': '1',
        'OS_KEYSTONE_CONFIG_DIR': f'{etc}/keystone',
        'OS_PLACEMENT_CONFIG_DIR': f'{etc}/placement',
        'OS_GLANCE_CONFIG_DIR': f'{etc}/glance',
        'OS_NOVA_CONFIG_DIR': f'{etc}/nova',
        'OS_NOVA_CONFIG_FILES': ';'.join(str(part) for part in nova_files),
        'OS_NEUTRON_CONFIG_DIR': f'{etc}/neutron',
        'OS_NEUTRON_CONFIG_FILES': 'neutron.conf;ml2_conf.ini',
    }


def python_environment(layout: Layout) -> dict[str, str]:
    """The environment in which commands of the services run."""
    return _python_environment(layout)


# -- checks -----------------------------------------------------------------

def _listens(path: Path | str) -> Ready:
    def check() -> bool:
        with socket.socket(socket.AF_UNIX) as probe:
            probe.connect(str(path))
        return True
    return check


def _port_open(port: int) -> Ready:
    def check() -> bool:
        with socket.create_connection(('127.0.0.1', port), timeout=1):
            return True
    return check


def _answers(url: str) -> Ready:
    def check() -> bool:
        try:
            urllib.request.urlopen(url, timeout=5).close()
        except urllib.error.HTTPError:
            pass    # 300 and 401 are answers too
        return True
    return check


def _logged(path: Path, text: str) -> Ready:
    return lambda: text in path.read_text(errors='replace')


def _keystone_warm(layout: Layout) -> Ready:
    # Two first requests at once would race for its policy rules; so the
    # first ones are ours, before anybody else is told that it is there.
    def check() -> bool:
        _port_open(layout.port('keystone'))()
        auth = v3.Password(
            auth_url=layout.url('keystone') + '/v3', username='admin',
            password=lab_layout.PASSWORD, project_name='admin',
            user_domain_id='default', project_domain_id='default')
        session = ks_session.Session(auth=auth)
        headers = {'X-Subject-Token': session.get_token() or ''}
        session.get(layout.url('keystone') + '/v3/auth/tokens',
                    headers=headers)
        return True
    return check


# -- data stores ------------------------------------------------------------

def _mariadb(layout: Layout) -> Service:
    sock = layout.run / 'mysql.sock'
    return Service('mariadb', (
        'mariadbd', '--no-defaults', f'--datadir={layout.state}/mysql',
        f'--socket={sock}', '--user=root', '--skip-networking',
        f'--pid-file={layout.run}/mysql.pid', '--skip-log-bin',
        # A laboratory's data need not survive a power cut.
        '--innodb-flush-log-at-trx-commit=0', '--innodb-flush-method=nosync',
        '--innodb-doublewrite=0', '--innodb-buffer-pool-size=64M',
        '--innodb-log-file-size=16M', '--performance-schema=0',
        '--max-connections=500'), _listens(sock))


def _rabbitmq(layout: Layout) -> Service:
    home = layout.run / 'rabbitmq'
    script = sorted(glob.glob(
        '/usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin/rabbitmq-server'))
    port = layout.port('rabbitmq')
    environment = {
        'HOME': str(home),
        'RABBITMQ_NODENAME': f'lab{layout.base_port}@localhost',
        'RABBITMQ_NODE_IP_ADDRESS': '127.0.0.1',
        'RABBITMQ_NODE_PORT': str(port),
        'RABBITMQ_DIST_PORT': str(layout.port('rabbitmq_dist')),
        'RABBITMQ_MNESIA_BASE': f'{home}/mnesia',
        'RABBITMQ_LOG_BASE': f'{home}/log',
        'RABBITMQ_PID_FILE': f'{home}/pid',
        'RABBITMQ_ENABLED_PLUGINS_FILE': f'{home}/plugins',
        'RABBITMQ_CONFIG_FILE': f'{home}/rabbitmq',
        'RABBITMQ_CONF_ENV_FILE': '/dev/null',
        'ERL_EPMD_ADDRESS': '127.0.0.1',
        'RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS':
            '-kernel inet_dist_use_interface {127,0,0,1} +S 1:1 +sbwt none',
    }
    return Service('rabbitmq', (script[-1] if script else 'rabbitmq-server',),
                   _port_open(port), environment=environment)


# -- the network ------------------------------------------------------------

def _ovn_db(layout: Layout) -> Service:
    state = layout.state / 'ovn'
    return Service('ovn-db', (
        'ovsdb-server', state / 'ovnnb.db', state / 'ovnsb.db',
        f'--remote=punix:{layout.run}/ovn.sock',
        f'--unixctl={layout.run}/ovn-db.ctl'),
        _listens(layout.run / 'ovn.sock'))


def _ovn_northd(layout: Layout) -> Service:
    control = layout.run / 'ovn-northd.ctl'
    return Service('ovn-northd', (
        'ovn-northd', f'--ovnnb-db={layout.ovn_db()}',
        f'--ovnsb-db={layout.ovn_db()}', f'--unixctl={control}'),
        _listens(control), after=('ovn-db',))


def _switch_environment(host: lab_layout.Host) -> dict[str, str]:
    return {name: str(host.run) for name in (
        'OVS_RUNDIR', 'OVS_LOGDIR', 'OVN_RUNDIR', 'OVN_LOGDIR')}


def _ovsdb(layout: Layout, host: lab_layout.Host) -> Service:
    return Service(f'ovsdb-{host.name}', (
        'ovsdb-server', host.state / 'conf.db',
        f'--remote=punix:{host.run}/db.sock',
        f'--unixctl={host.run}/ovsdb.ctl'),
        _listens(host.run / 'db.sock'),
        environment=_switch_environment(host))


def _vswitchd(layout: Layout, host: lab_layout.Host) -> Service:
    control = host.run / 'vswitchd.ctl'
    return Service(f'vswitchd-{host.name}', (
        *host.inside,
        # Monitored: release 3.1 has an assertion in its userspace
        # connection tracker that a floating IP can run into.
        'ovs-vswitchd', '--monitor', host.ovsdb, f'--unixctl={control}',
        f'--pidfile={host.run}/ovs-vswitchd.pid'),
        _listens(control), after=(f'ovsdb-{host.name}',),
        environment=_switch_environment(host))


def _ovn_controller(layout: Layout, host: lab_layout.Host) -> Service:
    return Service(f'ovn-controller-{host.name}', (
        *host.inside, 'ovn-controller', host.ovsdb, '--pidfile'),
        # Its bridge, not its socket, is what os-vif will look for.
        _listens(host.run / 'br-int.mgmt'),
        after=(f'vswitchd-{host.name}', 'ovn-db'),
        environment=_switch_environment(host))


# -- APIs -------------------------------------------------------------------

def _wsgi(layout: Layout, name: str, application: str,
          *arguments: object, after: tuple[str, ...] = ('keystone',),
          environment: Mapping[str, str] | None = None,
          ready: Ready | None = None) -> Service:
    port = layout.port(name)
    return Service(
        name if name in ('keystone', 'placement') else f'{name}-api',
        (layout.bin / 'python', layout.source / 'lab/serve.py', port,
         application, *arguments),
        ready or _answers(layout.url(name)), after=after,
        environment={**_python_environment(layout), **(environment or {})})


def _keystone(layout: Layout) -> Service:
    return _wsgi(layout, 'keystone', 'keystone.wsgi.api:application',
                 after=('mariadb',), ready=_keystone_warm(layout))


def _placement(layout: Layout) -> Service:
    return _wsgi(layout, 'placement', 'placement.wsgi.api:application')


def _glance(layout: Layout) -> Service:
    return _wsgi(layout, 'glance', 'glance.wsgi.api:application')


def _barbican(layout: Layout) -> Service:
    return _wsgi(layout, 'barbican', 'serve_barbican:application',
                 environment={'HOME': str(layout.etc / 'barbican')})


def _octavia(layout: Layout) -> Service:
    return _wsgi(layout, 'octavia', 'octavia.wsgi.api:application', '--',
                 '--config-file', layout.etc / 'octavia/octavia.conf',
                 after=('octavia-driver-agent',))


def _neutron(layout: Layout) -> Service:
    # ASGI_WORKERS: without it Neutron counts no workers and leaves every
    # port DOWN. TMPDIR: its election of a first worker trusts files there.
    return _wsgi(
        layout, 'neutron', 'neutron.wsgi.api:application',
        after=('mariadb', 'ovn-db', 'ovn-northd'),
        environment={'ASGI_WORKERS': '1',
                     'TMPDIR': str(layout.run / 'neutron-tmp')})


def _nova_api(layout: Layout) -> Service:
    return _wsgi(layout, 'nova', 'nova.wsgi.osapi_compute:application',
                 after=('mariadb', 'keystone', 'rabbitmq'))


def _nova_metadata(layout: Layout) -> Service:
    return _wsgi(layout, 'nova-metadata', 'nova.wsgi.metadata:application',
                 after=('mariadb', 'rabbitmq', 'placement'))


def _heat_api(layout: Layout) -> Service:
    return _wsgi(layout, 'heat', 'heat.wsgi.api:application', '--',
                 '--config-file', layout.etc / 'heat/heat.conf',
                 after=('keystone', 'rabbitmq'))


# -- workers ----------------------------------------------------------------

def _nova_command(layout: Layout, name: str, *files: str
                  ) -> tuple[object, ...]:
    arguments: list[object] = [layout.bin / name]
    for file in files:
        arguments += ['--config-file', layout.etc / file]
    return tuple(arguments)


def _worker(layout: Layout, name: str, command: Sequence[object],
            after: tuple[str, ...], text: str) -> Service:
    return Service(name, command, _logged(layout.logs / f'{name}.log', text),
                   after=after, environment=_python_environment(layout))


def _conductor(layout: Layout) -> Service:
    return _worker(
        layout, 'nova-conductor',
        _nova_command(layout, 'nova-conductor', 'nova/nova.conf',
                      'nova/nova-db.conf'),
        # Both workers end at once if placement does not answer.
        ('mariadb', 'rabbitmq', 'placement'), 'Join ServiceGroup membership')


def _scheduler(layout: Layout) -> Service:
    return _worker(
        layout, 'nova-scheduler',
        _nova_command(layout, 'nova-scheduler', 'nova/nova.conf',
                      'nova/nova-db.conf'),
        ('mariadb', 'rabbitmq', 'placement'), 'Join ServiceGroup membership')


def _compute(layout: Layout, host: lab_layout.Host) -> Service:
    # Before the conductor listens, a first call would cost ten seconds.
    return _worker(
        layout, f'nova-compute-{host.name}', (
            *host.inside, *_nova_command(
                layout, 'nova-compute', 'nova/nova.conf',
                f'nova-{host.name}/compute.conf')),
        ('nova-conductor', 'placement', 'keystone', 'neutron-api',
         f'ovn-controller-{host.name}',
         *((f'forward-{host.name}', f'dockerd-{host.name}')
           if host.namespace else ())), 'Join ServiceGroup membership')


def _forwarder(layout: Layout, host: lab_layout.Host) -> Service:
    """The way from another host to the controller."""
    return _worker(
        layout, f'forward-{host.name}', (
            layout.bin / 'python', layout.source / 'lab/forward.py',
            f'/var/run/netns/{host.namespace}', *layout.forwarded),
        (), 'forwarding')


def _engine(layout: Layout, host: lab_layout.Host) -> Service:
    """An Engine of the host's own, which leaves the machine's alone."""
    directory = host.state / 'engine'
    return Service(f'dockerd-{host.name}', (
        *host.inside, 'dockerd', f'--host={host.endpoint}',
        f'--data-root={directory}', f'--exec-root={host.run}/engine',
        f'--pidfile={host.run}/dockerd.pid', '--bridge=none',
        '--iptables=false', '--ip6tables=false'),
        _listens(host.run / 'docker.sock'), patience=60)


def _metadata_agent(layout: Layout, host: lab_layout.Host) -> Service:
    name = f'metadata-agent-{host.name}'
    return Service(
        name, (layout.bin / 'neutron-ovn-metadata-agent', '--config-file',
               layout.etc / f'neutron-{host.name}/metadata.ini',
               '--log-file', layout.logs / f'{name}.log'),
        _listens(host.run / 'metadata.sock'),
        after=('nova-metadata-api', f'ovn-controller-{host.name}'),
        environment=_python_environment(layout))


def _driver_agent(layout: Layout) -> Service:
    """What tells Octavia of what comes about in OVN."""
    return _worker(
        layout, 'octavia-driver-agent', (
            layout.bin / 'octavia-driver-agent',
            '--config-file', layout.etc / 'octavia/octavia.conf'),
        ('mariadb', 'ovn-db'), 'OVN provider agent has started')


def _serialproxy(layout: Layout) -> Service:
    return Service(
        'nova-serialproxy',
        _nova_command(layout, 'nova-serialproxy', 'nova/nova.conf',
                      'nova/nova-db.conf'),
        _port_open(layout.port('serialproxy')), after=('mariadb', 'rabbitmq'),
        environment=_python_environment(layout))


def _heat_engine(layout: Layout) -> Service:
    return _worker(
        layout, 'heat-engine',
        _nova_command(layout, 'heat-engine', 'heat/heat.conf'),
        ('mariadb', 'rabbitmq', 'keystone'), 'Starting listener for engine')
