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

"""The cloud as a whole: prepare once, start, stop, tell.

A *template* is the state of a cloud that was seeded and never used. Making
it costs about a minute, once; a fresh cloud is then a copy of it. Markers
are written last, so that whatever a kill leaves half-done is made anew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
import hashlib
import os
from pathlib import Path
import shutil
import subprocess
import sys
import time

import psutil

from lab import bridges
from lab import configuration
from lab import engine
from lab import layout as lab_layout
from lab import octavia_sockets
from lab import processes
from lab import seed
from lab import services

Say = Callable[[str], None]

#: A file that says whose the switch's devices are.
_DEVICES_MARK = 'made-devices'
_DEVICES = ('br-int', 'br-ex', 'br-phys', 'ovs-netdev')


class LabError(Exception):
    """The lab cannot do what was asked; the text says why and where."""


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


class Cloud:
    """One lab on this machine."""

    def __init__(self, layout: lab_layout.Layout, say: Say = _say) -> None:
        self.layout = layout
        self.processes = processes.Processes(layout.root, layout.logs)
        self._say = say

    # -- the verbs ----------------------------------------------------------

    def up(self, fresh: bool = False, metadata: bool = False,
           virtual_machines: bool = False, key_manager: bool = False,
           load_balancers: bool = False) -> None:
        """Every service runs and answers afterwards. Idempotent.

        :param metadata: also those that answer at 169.254.169.254
        :param virtual_machines: also a host of Nova's driver for tests
        :param key_manager: also Barbican
        :param load_balancers: also Octavia, with OVN as its provider
        """
        self._stop_another_checkouts()
        if fresh:
            self.down()
        self._write_configuration()
        if not self._template_is_current():
            self.down()
            self._make_template()
        if fresh or not (self.layout.state / 'complete').exists():
            self._restore_template()
            self._start([service for service in self._services()
                         if service.name == 'dockerd'])
            engine.remove_containers([host.nova_name for host
                                      in self.layout.hosts])
        self._start(self._services())
        self._finish()
        if metadata:
            self.start_metadata()
        if virtual_machines:
            self.start_virtual_machines()
        if key_manager:
            self.start_key_manager()
        if load_balancers:
            self.start_load_balancers()

    def start_metadata(self) -> None:
        """Servers are told about themselves at 169.254.169.254."""
        self._start(services.metadata(self.layout))

    def stop_metadata(self) -> None:
        """As before ``start_metadata``."""
        self._stop(services.metadata(self.layout))
        self._remove_namespaces()

    def start_key_manager(self) -> None:
        """Tenants can keep secrets."""
        self._start(services.key_manager(self.layout))

    def stop_key_manager(self) -> None:
        """As before ``start_key_manager``."""
        self._stop(services.key_manager(self.layout))

    def start_load_balancers(self) -> None:
        """Tenants can have their load balanced."""
        if ('octavia-driver-agent' not in self.processes.running()
                and not octavia_sockets.claim(self.layout.run)):
            raise LabError(
                f'this machine has {octavia_sockets.PLACE} already, and not '
                'from this lab; it will not touch another Octavia')
        self._start(services.load_balancers(self.layout))

    def stop_load_balancers(self) -> None:
        """As before ``start_load_balancers``."""
        self._stop(services.load_balancers(self.layout))
        octavia_sockets.remove(self.layout.run)

    def start_virtual_machines(self) -> None:
        """There is a host beside those of containers."""
        (self.layout.state / 'vm' / 'instances').mkdir(parents=True,
                                                       exist_ok=True)
        self._start(services.virtual_machines(self.layout))
        self._allow_virtual_machines(True)

    def _allow_virtual_machines(self, allowed: bool) -> None:
        """Nova takes a host for alive that has ended a moment ago."""
        admin = seed.connect(self.layout)
        for service in admin.compute.services(binary='nova-compute'):
            if service.host == self.layout.vm_host:
                (admin.compute.enable_service if allowed
                 else admin.compute.disable_service)(service)
        admin.close()

    def stop_virtual_machines(self) -> None:
        """As before ``start_virtual_machines``."""
        self._allow_virtual_machines(False)
        self._stop(services.virtual_machines(self.layout))

    def down(self) -> list[str]:
        """Ends the lab's own processes; answers their services' names."""
        stopped = self.processes.stop(self._ordered_names(last=False))
        stopped += self.processes.stop(self._ordered_names(last=True))
        stopped += self.processes.stop()
        octavia_sockets.remove(self.layout.run)
        for host in self.layout.hosts:
            self._remove_devices(host)
        self._remove_namespaces()
        for namespace in _other_hosts():
            subprocess.run(['ip', 'netns', 'delete', namespace],
                           capture_output=True, check=False)
        return stopped

    def _remove_namespaces(self) -> None:
        """What the agents for metadata have made."""
        for path in (self.layout.state / 'neutron').glob(
                'ovn-metadata-proxy/*.conf'):
            subprocess.run(['ip', 'netns', 'delete', f'ovnmeta-{path.stem}'],
                           capture_output=True, check=False)

    def purge(self) -> None:
        """Ends everything and removes all that the lab made."""
        if engine.answers():
            # It may be another one's Engine, which stays.
            engine.remove_containers([host.nova_name for host
                                      in self.layout.hosts])
        self.down()
        shutil.rmtree(self.layout.root, ignore_errors=True)

    def restart(self, names: Iterable[str]) -> None:
        """Restarts single services, to run changed code."""
        chosen = [service for service in self._services()
                  if service.name in set(names)]
        self._stop(chosen)
        self._start(chosen)

    def status(self) -> dict[str, bool]:
        """Service name to whether it answers right now."""
        running = self.processes.running()
        answer = {}
        for service in self._services():
            answer[service.name] = (
                service.name in running and self._is_ready(service))
        if 'dockerd' not in answer:
            answer['dockerd (not ours)'] = engine.answers()
        return answer

    # -- state --------------------------------------------------------------

    def _template_is_current(self) -> bool:
        marker = self.layout.template / 'complete'
        return marker.exists() and marker.read_text() == self._fingerprint()

    def _fingerprint(self) -> str:
        """Changes with whatever the seeded state depends on."""
        here = self.layout.source / 'lab'
        parts = [(here / name).read_text() for name in (
            'constraints.txt', 'cloud.py', 'seed.py', 'seed_nova.py')]
        parts += [str(self.layout.root), str(self.layout.base_port)]
        return hashlib.sha256('\0'.join(parts).encode()).hexdigest()

    def _make_template(self) -> None:
        self._say('preparing the databases and the first accounts (once)')
        shutil.rmtree(self.layout.template, ignore_errors=True)
        self._clear(self.layout.state)
        self._create_directories()
        seed.create_stores(self.layout, self._command)
        self._start(self._named('mariadb'))
        seed.create_schemas(self.layout, self._commands)
        # A chassis has to be there, or the router gets no gateway.
        switches = [f'{name}-{host.name}' for host in self.layout.hosts
                    for name in ('ovsdb', 'vswitchd', 'ovn-controller')]
        self._start(self._named('ovn-db', 'ovn-northd', *switches))
        self._start(self._named('keystone', 'neutron-api', 'placement',
                                'rabbitmq', 'nova-api'))
        self._say('  creating accounts, networks and flavors')
        seed.seed(self.layout)
        self.down()
        shutil.copytree(self.layout.state, self.layout.template)
        (self.layout.template / 'complete').write_text(self._fingerprint())

    def _restore_template(self) -> None:
        self._clear(self.layout.state)
        shutil.copytree(self.layout.template, self.layout.state,
                        dirs_exist_ok=True)
        self._create_directories()

    def _clear(self, directory: os.PathLike[str]) -> None:
        # What a killed Engine of another host has left mounted.
        for mount in psutil.disk_partitions(all=True):
            if Path(directory) in Path(mount.mountpoint).parents:
                subprocess.run(['umount', '--lazy', mount.mountpoint],
                               capture_output=True, check=False)
        shutil.rmtree(directory, ignore_errors=True)
        os.makedirs(directory)

    def _create_directories(self) -> None:
        state, run = self.layout.state, self.layout.run
        for path in (
                state / 'glance/images', state / 'glance/tasks',
                state / 'glance/staging', state / 'nova/instances',
                state / 'neutron', state / 'ovn', run / 'lock',
                *(host.state / 'instances' for host in self.layout.hosts),
                *(host.run for host in self.layout.hosts)):
            path.mkdir(parents=True, exist_ok=True)

    def _write_configuration(self) -> None:
        for path, text in configuration.files(self.layout).items():
            file = self.layout.etc / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        (self.layout.root / 'source').write_text(str(self.layout.source))

    def _stop_another_checkouts(self) -> None:
        """Services that run another checkout's code have to go."""
        record = self.layout.root / 'source'
        if record.exists() and record.read_text() != str(self.layout.source):
            self.down()

    # -- processes ----------------------------------------------------------

    def _services(self) -> list[services.Service]:
        chosen = services.services(self.layout)
        if not engine.answers() or 'dockerd' in self.processes.running():
            chosen.insert(0, engine.service(self.layout))
        return chosen

    def _named(self, *names: str) -> list[services.Service]:
        return [service for service in services.services(self.layout)
                if service.name in names]

    def _ordered_names(self, last: bool) -> list[str]:
        """Workers and APIs end first, what they rely on last."""
        base = ('mariadb', 'rabbitmq', 'ovn-db', 'ovn-northd', 'ovsdb-',
                'vswitchd-', 'ovn-controller-', 'dockerd', 'keystone')
        return [name for name in self.processes.running()
                if name.startswith(base) == last]

    def _start(self, chosen: list[services.Service]) -> None:
        """Starts services as soon as those they wait for are ready."""
        began = time.monotonic()
        running = self.processes.running()
        names = {service.name for service in chosen}
        self._clear_leftovers(running, names)
        waiting, starting = list(chosen), dict[str, float]()
        pids: dict[str, int] = {}
        while waiting or starting:
            for service in list(waiting):
                pending = {s.name for s in waiting} | set(starting)
                if pending & set(service.after) & names:
                    continue
                waiting.remove(service)
                starting[service.name] = time.monotonic()
                if service.name not in running:
                    pids[service.name] = self.processes.start(
                        service.name, service.argv(), service.environment)
            for service in chosen:
                if service.name in starting and self._is_ready(service):
                    took = time.monotonic() - starting.pop(service.name)
                    if service.name in pids:
                        self._say(f'  {time.monotonic() - began:5.1f} s  '
                                  f'{service.name} (took {took:.1f} s)')
                    self._after_start(service)
                elif service.name in starting:
                    self._check_patience(service, starting[service.name],
                                         pids.get(service.name))
            time.sleep(0.05)

    def _stop(self, chosen: Iterable[services.Service]) -> None:
        self.processes.stop([service.name for service in chosen])

    def _is_ready(self, service: services.Service) -> bool:
        try:
            return service.ready()
        except Exception:
            # Any answer but "ready" means: not yet. Patience has an end.
            return False

    def _check_patience(self, service: services.Service, since: float,
                        pid: int | None) -> None:
        if pid is not None and _has_ended(pid):
            raise LabError(f'{service.name} has ended before it was ready; '
                           f'see {self.processes.log(service.name)}')
        if time.monotonic() - since > service.patience:
            raise LabError(
                f'{service.name} was not ready within '
                f'{service.patience:.0f} s; see '
                f'{self.processes.log(service.name)}')

    def _after_start(self, service: services.Service) -> None:
        first, *others = self.layout.hosts
        for host in self.layout.hosts:
            if service.name == f'ovsdb-{host.name}':
                seed.configure_switch(host, self._command,
                                      alone=not others)
        if service.name == f'vswitchd-{first.name}':
            for command in bridges.public_bridge(first):
                self._command(command)
        for host in others:
            if service.name == f'vswitchd-{host.name}':
                for command in bridges.tunnels(first, host):
                    self._command(command)

    def _clear_leftovers(self, running: Iterable[str],
                         starting: Iterable[str]) -> None:
        """Removes what a kill leaves and the next start would trip over."""
        run = self.layout.run
        run.mkdir(parents=True, exist_ok=True)
        if 'dockerd' not in running and not engine.answers():
            engine.clear_leftovers()
        if 'neutron-api' not in running:
            self._clear(run / 'neutron-tmp')
        if 'rabbitmq' not in running:
            home = run / 'rabbitmq'
            self._clear(home)
            (home / 'plugins').write_text('[].\n')
            (home / 'rabbitmq.conf').write_text('')
        first, *others = self.layout.hosts
        first.run.mkdir(parents=True, exist_ok=True)
        if f'vswitchd-{first.name}' not in running:
            self._remove_devices(first)
            if f'vswitchd-{first.name}' in starting:
                self._claim_devices(first)
        for host in others:
            self._prepare(host, running)

    def _prepare(self, host: lab_layout.Host, running: Iterable[str]) -> None:
        """Another host has its network and its directories."""
        for path in (host.run, host.state / 'instances'):
            path.mkdir(parents=True, exist_ok=True)
        seed.create_switch(host, self._command)
        if f'dockerd-{host.name}' not in running:
            for name in ('dockerd.pid', 'engine/containerd/containerd.pid',
                         'docker.sock'):
                (host.run / name).unlink(missing_ok=True)
        if not Path('/var/run/netns', host.namespace).exists():
            for command in bridges.underlay(host):
                self._command(command)

    def _remove_devices(self, host: lab_layout.Host) -> None:
        """A killed switch leaves its tap devices; another one's stay."""
        mark = host.run / _DEVICES_MARK
        if (f'vswitchd-{host.name}' in self.processes.running()
                or not mark.exists()):
            return
        for device in (*_present_devices(), *_other_hosts()):
            subprocess.run(['ip', 'link', 'delete', device],
                           capture_output=True, check=False)
        mark.unlink()

    def _claim_devices(self, host: lab_layout.Host) -> None:
        """The lab is about to make devices under these names."""
        taken = _present_devices()
        if taken:
            raise LabError(
                f'this machine has {" and ".join(taken)} already, and not '
                'from this lab; it will not touch another Open vSwitch')
        (host.run / _DEVICES_MARK).touch()

    def _finish(self) -> None:
        (self.layout.state / 'complete').write_text(self._fingerprint())

    def _command(self, command: list[str]) -> None:
        self._commands([command])

    def _commands(self, commands: list[list[str]]) -> None:
        """Runs commands side by side; the first failure is an error."""
        environment = {**os.environ,
                       **services.python_environment(self.layout)}
        started = []
        self.layout.logs.mkdir(parents=True, exist_ok=True)
        for command in commands:
            log = self.layout.logs / f'command-{os.path.basename(command[0])}'
            output = log.with_suffix('.log').open('ab')
            started.append((command, output, subprocess.Popen(
                command, env=environment, stdout=output, stderr=output,
                stdin=subprocess.DEVNULL, cwd='/')))
        for command, output, process in started:
            with output:
                if process.wait():
                    raise LabError(f'"{" ".join(command)}" failed; '
                                   f'see {output.name}')


def _other_hosts() -> list[str]:
    """The namespaces of hosts that only this lab has, and their links."""
    return sorted({path.name for place in ('/var/run/netns', '/sys/class/net')
                   for path in Path(place).glob('ndl-c[0-9]')})


def _present_devices() -> list[str]:
    return [device for device in _DEVICES
            if os.path.exists(f'/sys/class/net/{device}')]


def _has_ended(pid: int) -> bool:
    """True if our child has ended; collects it, so that none is a zombie."""
    try:
        return os.waitpid(pid, os.WNOHANG) != (0, 0)
    except ChildProcessError:
        return not os.path.exists(f'/proc/{pid}')
