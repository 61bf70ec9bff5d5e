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

"""The facade: what Nova may ask of the driver, each in a line or two.

Builds every object once and hands it its collaborators; what happens is in
``lifecycle.py``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
import contextlib
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from nova.compute import task_states
from nova import conf as nova_conf
from nova.console import type as console_type
from nova import context as nova_context
from nova import exception
from nova.image import glance
from nova.network import model as network_model
from nova import objects
from nova.objects import diagnostics as nova_diagnostics
from nova.virt import driver as virt_driver
from nova.virt import hardware
from nova.virt import virtapi as nova_virtapi
from oslo_concurrency import processutils
from oslo_log import log as logging
import tenacity

from nova_docker_driver import availability
from nova_docker_driver import conf
from nova_docker_driver import consoles
from nova_docker_driver import devices
from nova_docker_driver import disk
from nova_docker_driver import engine
from nova_docker_driver import errors
from nova_docker_driver import events
from nova_docker_driver import guest
from nova_docker_driver import guestfiles
from nova_docker_driver import hardening
from nova_docker_driver import health
from nova_docker_driver import hostinfo
from nova_docker_driver import hostmodels
from nova_docker_driver import imagecache
from nova_docker_driver import imageconf
from nova_docker_driver import imagemodels
from nova_docker_driver import images
from nova_docker_driver import inventory
from nova_docker_driver import keymanager
from nova_docker_driver import leftovers
from nova_docker_driver import lifecycle
from nova_docker_driver import models
from nova_docker_driver import network
from nova_docker_driver import registry
from nova_docker_driver import sandbox
from nova_docker_driver import snapshot
from nova_docker_driver import snapshots

CONF = nova_conf.CONF
LOG = logging.getLogger(__name__)

conf.register_opts(CONF)

Context: TypeAlias = nova_context.RequestContext
Instance: TypeAlias = objects.Instance
NetworkInfo: TypeAlias = network_model.NetworkInfo

_CONSOLE_LINES = 10_000


class _Service(Protocol):
    def start(self) -> None:
        ...

    def stop(self) -> None:
        ...


@errors.at_the_edge
class DockerDriver(virt_driver.ComputeDriver):
    """Servers are containers of the Docker Engine of this host."""

    capabilities = {
        **virt_driver.ComputeDriver.capabilities,
        # An image in the format docker is stored with the disk format raw.
        'supports_image_type_raw': True,
        'supports_pcpus': True,
        'supports_trusted_certs': True,
        'supports_attach_interface': True,
        'supports_device_tagging': True,
        'has_imagecache': True,
    }

    def __init__(self, virtapi: nova_virtapi.VirtAPI) -> None:
        super().__init__(virtapi)
        self._host = CONF.host
        options = CONF.docker
        self._engine = engine.Engine(
            options.endpoint, options.request_timeout,
            options.image_load_timeout, options.max_concurrent_starts)
        self._hostinfo = hostinfo.HostInfo(self._engine)
        self._snapshot = snapshot.Snapshot(self._engine)
        self._images = images.Images(
            self._engine, glance.API(), imageconf.terms(CONF),
            options.image_stall_timeout, registry.Registry(
                self._engine, imageconf.terms(CONF),
                imageconf.registry_rules(CONF), keymanager.secret))
        self._image_cache = imagecache.ImageCache(self._engine, self._images)
        files = guestfiles.GuestFiles(Path(options.files_path),
                                      options.dns_search)
        self._leftovers = leftovers.Leftovers(self._engine, files)
        self._lifecycle = lifecycle.Lifecycle(
            self._engine, self._images,
            sandbox.Sandboxes(self._engine, options.sandbox_image),
            network.Network(network.wait_for_events(virtapi)),
            files, self._snapshot,
            snapshots.Snapshots(self._engine, glance.API(),
                                options.snapshot_layers == 'new'),
            keymanager.secret)
        self._guest = guest.Guest(self._engine, options.console_shell)
        #: What runs while the service does, each with start and stop.
        self._services: list[_Service] = []
        self._consoles = consoles.Consoles(
            CONF.serial_console.proxyclient_address, options.console_port,
            CONF.consoleauth.token_ttl, self._guest.terminal)

    # -- the service --------------------------------------------------------

    def init_host(self, host: str) -> None:
        """Connects to the Engine; nova-compute ends if there is none."""
        self._host = host
        facts = self._await_engine(host)
        LOG.info('Docker Engine %s at %s', facts.engine_version,
                 CONF.docker.endpoint)
        self._report(host)
        self._leftovers.remove({
            instance.uuid for instance in objects.InstanceList.get_by_host(
                nova_context.get_admin_context(), host, expected_attrs=[])},
            _is_anywhere)
        self._services = list(self._build_services(host))
        for service in self._services:
            service.start()

    def _build_services(self, host: str) -> Iterator[_Service]:
        record = availability.Service(host, self.virtapi)
        yield availability.Watchdog(self._engine, record.set_enabled,
                                    CONF.docker.health_interval)
        yield events.Listener(
            self._engine, self._snapshot, host, self.emit_event,
            health.Reporter(self._engine), self._revive)
        if CONF.docker.disk_enforcement == conf.WATCH:
            # Also where the Engine has quotas: they leave volumes out.
            yield disk.Watcher(self._engine, host,
                               CONF.docker.disk_poll_interval)
        if CONF.serial_console.enabled:
            yield self._consoles

    def _await_engine(self, host: str) -> hostmodels.HostFacts:
        attempts = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(errors.EngineUnavailable)
            & tenacity.retry_if_not_exception_type(errors.EngineTooOld),
            stop=tenacity.stop_after_delay(CONF.docker.start_timeout),
            wait=tenacity.wait_fixed(1), reraise=True,
            before_sleep=lambda state: LOG.warning(
                'Waiting for the Docker Engine: %s',
                state.outcome and state.outcome.exception()))
        return attempts(self._hostinfo.read, host)

    def cleanup_host(self, host: str) -> None:
        for service in reversed(self._services):
            service.stop()
        self._services = []

    # -- what there is ------------------------------------------------------

    def get_info(self, instance: Instance, use_cache: bool = True
                 ) -> hardware.InstanceInfo:
        return hardware.InstanceInfo(state=self._lifecycle.power_state(
            instance, self._host, use_cache))

    def list_instances(self) -> list[str]:
        return list(self._instances().values())

    def list_instance_uuids(self) -> list[str]:
        return list(self._instances())

    def _instances(self) -> dict[str, str]:
        try:
            return self._lifecycle.instances(self._host)
        except errors.EngineUnavailable as error:
            raise exception.VirtDriverNotReady() from error

    def instance_exists(self, instance: Instance) -> bool:
        try:
            self._lifecycle.inspect(instance)
        except exception.InstanceNotFound:
            return False
        return True

    def get_num_instances(self) -> int:
        return len(self.list_instance_uuids())

    def get_available_nodes(self, refresh: bool = False) -> list[str]:
        return [self._host]

    def get_available_resource(self, nodename: str) -> dict[str, Any]:
        return inventory.resources(self._hostinfo.read(nodename))

    def update_provider_tree(self, provider_tree: Any, nodename: str,
                             allocations: Any = None) -> None:
        current = provider_tree.data(nodename).inventory
        facts = self._hostinfo.read(nodename)
        provider_tree.update_inventory(nodename, inventory.inventory(
            facts, self._get_allocation_ratios(current),
            CONF.reserved_host_cpus, CONF.reserved_host_memory_mb,
            self._get_reserved_host_disk_gb_from_config(),
            self._image_cache.size_gib()))
        wanted = inventory.traits(facts, self._hostinfo.engine_facts())
        # Traits of others' making, such as an operator's, stay.
        ours = {trait for trait in provider_tree.data(nodename).traits
                if inventory.is_ours(trait)}
        provider_tree.remove_traits(nodename, *(ours - wanted))
        provider_tree.add_traits(nodename, *wanted)

    def manage_image_cache(self, context: Context,
                           all_instances: Sequence[Instance]) -> None:
        options = CONF.image_cache
        if options.remove_unused_base_images:
            self._image_cache.prune(
                {instance.image_ref for instance in all_instances},
                options.remove_unused_original_minimum_age_seconds)

    def cache_image(self, context: Context, image_id: str) -> bool:
        request = imagemodels.Request(context, image_id)
        if self._images.has(request):
            return False
        with self._images.held(request):
            return True

    def get_host_uptime(self) -> str:
        # The words of this program are what Nova's API takes apart.
        return str(processutils.execute('env', 'LANG=C', 'uptime')[0])

    def get_host_ip_addr(self) -> str:
        return str(CONF.my_ip)

    def get_console_output(self, context: Context, instance: Instance
                           ) -> str:
        log = self._lifecycle.console(
            instance, _CONSOLE_LINES, CONF.docker.console_log_size * 1024)
        return log.decode(errors='replace')

    # -- making and removing ------------------------------------------------

    def spawn(self, context: Context, instance: Instance,
              image_meta: objects.ImageMeta, injected_files: Any,
              admin_password: str | None, allocations: Any,
              network_info: NetworkInfo | None = None,
              block_device_info: Any = None, power_on: bool = True,
              accel_info: Any = None) -> None:
        vifs = _vifs(network_info)
        self._lifecycle.spawn(context, instance, image_meta, vifs,
                              block_device_info, self._policy())
        if vifs:
            # Nova saves it.
            devices.remember(context, instance)

    def rebuild(self, context: Context, instance: Instance,
                image_meta: objects.ImageMeta, injected_files: Any,
                admin_password: str | None, allocations: Any, bdms: Any,
                detach_block_devices: Any, attach_block_devices: Any,
                network_info: NetworkInfo | None = None,
                evacuate: bool = False, block_device_info: Any = None,
                preserve_ephemeral: bool = False, accel_uuids: Any = None,
                reimage_boot_volume: bool = False) -> None:
        if evacuate:
            # Nova's own way: there is nothing here to build upon.
            raise NotImplementedError
        if preserve_ephemeral:
            raise exception.PreserveEphemeralNotSupported()
        instance.task_state = task_states.REBUILD_SPAWNING
        instance.save(expected_task_state=[task_states.REBUILDING])
        self._lifecycle.rebuild(context, instance, image_meta,
                                _vifs(network_info), block_device_info,
                                self._policy())

    def destroy(self, context: Context, instance: Instance,
                network_info: NetworkInfo | None,
                block_device_info: Any = None, destroy_disks: bool = True,
                destroy_secrets: bool = True) -> None:
        self._lifecycle.destroy(instance, _vifs(network_info))

    def cleanup(self, context: Context, instance: Instance,
                network_info: NetworkInfo | None,
                block_device_info: Any = None, destroy_disks: bool = True,
                migrate_data: Any = None, destroy_vifs: bool = True,
                destroy_secrets: bool = True) -> None:
        self._lifecycle.destroy(instance, _vifs(network_info))

    # -- power --------------------------------------------------------------

    def power_on(self, context: Context, instance: Instance,
                 network_info: NetworkInfo | None,
                 block_device_info: Any = None, accel_info: Any = None,
                 share_info: Any = None) -> None:
        self._lifecycle.power_on(instance, _vifs(network_info))

    def power_off(self, instance: Instance, timeout: int = 0,
                  retry_interval: int = 0) -> None:
        self._lifecycle.power_off(instance, timeout, _own_vifs(instance))

    def reboot(self, context: Context, instance: Instance,
               network_info: NetworkInfo | None, reboot_type: str,
               block_device_info: Any = None, bad_volumes_callback: Any = None,
               accel_info: Any = None, share_info: Any = None) -> None:
        self._lifecycle.reboot(
            context, instance, _vifs(network_info), reboot_type == 'HARD',
            CONF.shutdown_timeout, self._policy())

    def pause(self, instance: Instance) -> None:
        self._lifecycle.pause(instance, _own_vifs(instance))

    def unpause(self, instance: Instance) -> None:
        self._lifecycle.unpause(instance, _own_vifs(instance))

    def resume_state_on_host_boot(self, context: Context, instance: Instance,
                                  network_info: NetworkInfo | None,
                                  share_info: Any,
                                  block_device_info: Any = None) -> None:
        self._lifecycle.power_on(instance, _vifs(network_info))

    def suspend(self, context: Context, instance: Instance) -> None:
        # Its memory stays on this host: the kernel freezes the processes.
        self._lifecycle.pause(instance, _own_vifs(instance))

    def resume(self, context: Context, instance: Instance,
               network_info: NetworkInfo | None,
               block_device_info: Any = None, share_info: Any = None) -> None:
        self._lifecycle.resume(instance, _vifs(network_info))

    def rescue(self, context: Context, instance: Instance,
               network_info: NetworkInfo | None,
               image_meta: objects.ImageMeta, rescue_password: str | None,
               block_device_info: Any, share_info: Any) -> None:
        self._lifecycle.rescue(context, instance, _vifs(network_info),
                               image_meta, self._policy())

    def unrescue(self, context: Context, instance: Instance) -> None:
        self._lifecycle.unrescue(
            instance, _vifs(instance.get_network_info()))

    # -- images -------------------------------------------------------------

    def snapshot(self, context: Context, instance: Instance, image_id: str,
                 update_task_state: Any) -> None:
        self._lifecycle.take_snapshot(
            context, instance, _vifs(instance.get_network_info()), image_id,
            update_task_state)

    # -- inside of the container --------------------------------------------

    def set_admin_password(self, instance: Instance, new_pass: str) -> None:
        self._guest.set_password(
            instance, self._lifecycle.inspect(instance).id,
            instance.image_meta.properties.get('os_admin_user'), new_pass)

    def trigger_crash_dump(self, instance: Instance) -> None:
        self._lifecycle.crash(instance)

    def get_diagnostics(self, instance: Instance) -> dict[str, Any]:
        return self._guest.plain_diagnostics(
            self._lifecycle.inspect(instance))

    def get_instance_diagnostics(self, instance: Instance
                                 ) -> nova_diagnostics.Diagnostics:
        return self._guest.diagnostics(
            instance, self._lifecycle.inspect(instance),
            _vifs(instance.get_network_info()))

    def get_serial_console(self, context: Context, instance: Instance
                           ) -> console_type.ConsoleSerial:
        container = self._lifecycle.inspect(instance)
        if not self._guest.has_terminal(container):
            raise exception.ConsoleTypeUnavailable(console_type='serial')
        if container.status != 'running':
            raise exception.InstanceNotReady(instance_id=instance.uuid)
        offer = self._consoles.offer(instance.uuid)
        return console_type.ConsoleSerial(
            offer.host, offer.port, internal_access_path=offer.path)

    # -- network ------------------------------------------------------------

    def attach_interface(self, context: Context, instance: Instance,
                         image_meta: objects.ImageMeta,
                         vif: network_model.VIF) -> None:
        with _port_failures(instance, vif, exception.InterfaceAttachFailed):
            self._lifecycle.attach_port(instance, vif, _others(instance, vif))

    def detach_interface(self, context: Context, instance: Instance,
                         vif: network_model.VIF) -> None:
        with _port_failures(instance, vif, exception.InterfaceDetachFailed):
            self._lifecycle.detach_port(instance, vif, _others(instance, vif))
        # A tag goes with its port.
        devices.remember(context, instance)
        instance.save()

    def plug_vifs(self, instance: Instance, network_info: NetworkInfo
                  ) -> None:
        self._lifecycle.restore_network(instance, _vifs(network_info))

    def unplug_vifs(self, instance: Instance, network_info: NetworkInfo
                    ) -> None:
        self._lifecycle.disconnect(instance, _vifs(network_info))

    # -- honest refusals: NotImplementedError would do damage here ----------

    def check_can_live_migrate_destination(
            self, context: Context, instance: Instance, src_compute_info: Any,
            dst_compute_info: Any, block_migration: bool = False,
            disk_over_commit: bool = False) -> Any:
        raise exception.MigrationPreCheckError(
            reason='containers cannot be migrated live')

    def get_vnc_console(self, context: Context, instance: Instance
                        ) -> console_type.ConsoleVNC:
        raise exception.ConsoleTypeUnavailable(console_type='novnc')

    def get_spice_console(self, context: Context, instance: Instance
                          ) -> console_type.ConsoleSpice:
        raise exception.ConsoleTypeUnavailable(console_type='spice-html5')

    def _revive(self, instance_uuid: str) -> bool:
        try:
            instance = Instance.get_by_uuid(
                nova_context.get_admin_context(), instance_uuid)
            return self._lifecycle.revive(
                instance, _vifs(instance.get_network_info()))
        except (exception.NovaException, errors.DockerDriverError) as error:
            LOG.warning('Server %s is not started again: %s', instance_uuid,
                        error)
            return False

    # -- helpers ------------------------------------------------------------

    def _report(self, host: str) -> None:
        """One line for each thing that this host has weakened or lacks."""
        for finding in hardening.findings(
                self._policy(), self._hostinfo.engine_facts()):
            LOG.warning('%s', finding)

    def _policy(self) -> models.Policy:
        return conf.policy(CONF, self._host, self._hostinfo.engine_facts(),
                           hostinfo.gpus(), hostinfo.shared_cpus(),
                           {device.address: device.files for device
                            in self._hostinfo.pci_devices})


def _is_anywhere(instance_uuid: str) -> bool:
    """Whether Nova has a server at all, on whatever host."""
    try:
        Instance.get_by_uuid(nova_context.get_admin_context(), instance_uuid)
    except exception.InstanceNotFound:
        return False
    return True


def _others(instance: Instance, vif: network_model.VIF
            ) -> Sequence[network_model.VIF]:
    """The other ports of a server."""
    return [other for other in _vifs(instance.get_network_info())
            if other['id'] != vif['id']]


@contextlib.contextmanager
def _port_failures(instance: Instance, vif: network_model.VIF,
                   kind: type[exception.NovaException]) -> Iterator[None]:
    """Nova tells a tenant that it failed, and only the log why."""
    try:
        yield
    except errors.DockerDriverError as error:
        LOG.warning('Port %s: %s', vif['id'], error, instance=instance)
        raise kind(instance_uuid=instance.uuid) from error


def _own_vifs(instance: Instance) -> Sequence[network_model.VIF]:
    """Those that Nova has cached, for calls that tell of none."""
    return _vifs(instance.get_network_info())


def _vifs(network_info: NetworkInfo | None) -> Sequence[network_model.VIF]:
    # Nova hands out a promise here; iterating it waits and may raise.
    return list(network_info or ())
