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

"""What happens to a server: each action as a flat sequence of steps.

The only module that composes the others. There is one undo, ``destroy``: it
is idempotent and tolerates every half-made state.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
import contextlib
import dataclasses
import time
from typing import Any, TypeAlias

from nova.compute import task_states
from nova.compute import vm_states
from nova import context as nova_context
from nova import exception
from nova.network import model as network_model
from nova import objects
from nova import utils as nova_utils
from nova.virt import driver as virt_driver
from oslo_concurrency import lockutils
from oslo_log import log as logging
from oslo_utils import excutils

from nova_docker_driver import engine
from nova_docker_driver import errors
from nova_docker_driver import guestfiles
from nova_docker_driver import images
from nova_docker_driver import models
from nova_docker_driver import names
from nova_docker_driver import network
from nova_docker_driver import sandbox
from nova_docker_driver import snapshot
from nova_docker_driver import spec
from nova_docker_driver import states
from nova_docker_driver import userspec

LOG = logging.getLogger(__name__)

_HEALTH_INTERVAL = 0.25

#: Lines of a process that ended at once that its fault shows.
_FAULT_LINES, _FAULT_SIZE = 5, 200

Vifs: TypeAlias = Sequence[network_model.VIF]


class Lifecycle:
    """Acts on the servers of one host."""

    def __init__(self, engine_port: engine.Engine, image_store: images.Images,
                 sandboxes: sandbox.Sandboxes, networks: network.Network,
                 files: guestfiles.GuestFiles,
                 recent: snapshot.Snapshot) -> None:
        self._engine = engine_port
        self._snapshot = recent
        self._images = image_store
        self._sandboxes = sandboxes
        self._network = networks
        self._files = files

    # -- making and removing ------------------------------------------------

    def spawn(self, context: nova_context.RequestContext,
              instance: objects.Instance, image_meta: objects.ImageMeta,
              vifs: Vifs, block_devices: Any, policy: models.Policy) -> None:
        """The server's process runs afterwards, or nothing is left of it.

        With ``wait_for: healthy`` it is healthy.

        :raises NovaException: of the kind that aborts or reschedules a build
        """
        LOG.info('Spawning', instance=instance)
        with self._one_at_a_time(instance), _build_failures(instance):
            tenant = _tenant(instance)
            _refuse_storage(instance, block_devices)
            with self._undone_on_failure(instance, vifs):
                image = self._images.ensure(context, image_meta)
                # What cannot be is refused before anything is made.
                spec.build(_inputs(instance, image, tenant, policy))
                box, mounts = self._connect(instance, vifs, tenant, policy)
                container_id = self._make(_inputs(
                    instance, image, tenant, policy, box, mounts))
                self._run(container_id, tenant)
        LOG.info('Spawned', instance=instance)

    def destroy(self, instance: objects.Instance, vifs: Vifs) -> None:
        """Nothing of the server is on this host afterwards."""
        with self._one_at_a_time(instance):
            self._destroy(instance, vifs)
        LOG.info('Destroyed', instance=instance)

    def _destroy(self, instance: objects.Instance, vifs: Vifs) -> None:
        found = self._engine.containers(instance.uuid)
        # The process first, then what it stands on.
        for role in (names.ROLE_RESCUE, names.ROLE_SERVER,
                     names.ROLE_SANDBOX):
            for container in found:
                if container.labels[names.ROLE_LABEL] == role:
                    self._engine.remove(container.id)
        self._network.disconnect(instance, vifs)
        self._files.remove(instance.uuid)

    # -- power --------------------------------------------------------------

    def power_on(self, instance: objects.Instance, vifs: Vifs) -> None:
        """The process runs afterwards; does nothing if it does."""
        with self._one_at_a_time(instance):
            container = self._own(instance)
            self._reconnect(instance, vifs)
            self._start(container.id)

    def power_off(self, instance: objects.Instance, timeout: int) -> None:
        """The process has ended afterwards; it had ``timeout`` seconds."""
        with self._one_at_a_time(instance), _missing(instance):
            name = _name(instance)
            if timeout:
                self._engine.stop(name, _grace(instance, timeout))
            else:
                self._engine.kill(name)

    def reboot(self, context: nova_context.RequestContext,
               instance: objects.Instance, vifs: Vifs, hard: bool,
               timeout: int, policy: models.Policy) -> None:
        """The process is a new one afterwards; its files are the old ones.

        A hard reboot makes a lost container anew from its image.
        """
        with self._one_at_a_time(instance):
            try:
                container = self._own(instance)
            except exception.InstanceNotFound:
                if not hard:
                    raise
                self._recreate(context, instance, vifs, policy)
                return
            if hard:
                self._engine.kill(container.id)
            else:
                self._engine.stop(container.id, _grace(instance, timeout))
            self._reconnect(instance, vifs)
            self._start(container.id)

    def pause(self, instance: objects.Instance) -> None:
        """All processes of the server are frozen afterwards."""
        with self._one_at_a_time(instance), _missing(instance):
            self._engine.pause(_name(instance))

    def unpause(self, instance: objects.Instance) -> None:
        """All processes of the server go on afterwards."""
        with self._one_at_a_time(instance), _missing(instance):
            self._engine.unpause(_name(instance))

    def resume(self, instance: objects.Instance, vifs: Vifs) -> None:
        """A suspended server goes on; one that was lost is started."""
        with self._one_at_a_time(instance):
            container = self._own(instance)
            if container.status == 'paused':
                self._engine.unpause(container.id)
            else:
                self._reconnect(instance, vifs)
                self._start(container.id)

    def crash(self, instance: objects.Instance) -> None:
        """Sends the signal that makes the process tell what it does."""
        signal = _tenant(instance).crash_dump_signal
        with _missing(instance):
            self._engine.kill(_name(instance), signal)

    # -- rescue -------------------------------------------------------------

    def rescue(self, context: nova_context.RequestContext,
               instance: objects.Instance, vifs: Vifs,
               image_meta: objects.ImageMeta, policy: models.Policy) -> None:
        """Another container stands for the server and has its files.

        It has the server's limits, addresses and name, and a terminal. The
        server's own, which Nova has stopped, runs again if this fails.
        """
        with self._one_at_a_time(instance):
            own = self._own(instance)
            try:
                self._rescue(context, instance, vifs, image_meta, policy, own)
            except Exception:
                with excutils.save_and_reraise_exception():
                    self._end_rescue(instance)
                    self._reconnect(instance, vifs)
                    self._start(own.id)

    def _rescue(self, context: nova_context.RequestContext,
                instance: objects.Instance, vifs: Vifs,
                image_meta: objects.ImageMeta, policy: models.Policy,
                own: models.Container) -> None:
        if own.root is None:
            raise errors.Unsupported('the Engine does not tell where the '
                                     'root file system is')
        image = self._images.ensure(context, image_meta)
        tenant = _tenant(instance)
        box = self._reconnect(instance, vifs)
        mounts = self._files.prepare(
            instance.uuid, _hostname(instance), network.addresses(vifs),
            network.nameservers(vifs), tenant)
        root = self._files.mount_root(instance.uuid, own.root)
        # The image's command, and a terminal, or a bare shell would end.
        wanted = spec.build(dataclasses.replace(
            _inputs(instance, image, models.TenantSpec(
                tty=True, stdin_open=True), policy, box, (*mounts, root)),
            role=names.ROLE_RESCUE))
        container_id = self._create(wanted)
        self._start(container_id)
        self._check_alive(self._engine.inspect(container_id), 'running')

    def unrescue(self, instance: objects.Instance, vifs: Vifs) -> None:
        """The server's own container runs again; the other one is gone."""
        with self._one_at_a_time(instance):
            self._end_rescue(instance)
            self._reconnect(instance, vifs)
            with _missing(instance):
                self._start(names.container(instance.uuid))

    def _end_rescue(self, instance: objects.Instance) -> None:
        self._engine.remove(names.rescue(instance.uuid))
        self._files.unmount_root(instance.uuid)

    # -- network ------------------------------------------------------------

    def restore_network(self, instance: objects.Instance, vifs: Vifs) -> None:
        """Ports are wired if there is a namespace to wire them into."""
        box = self._sandboxes.find(instance.uuid) if vifs else None
        if box is not None and box.running:
            self._network.restore(instance, vifs, box.namespace)

    def disconnect(self, instance: objects.Instance, vifs: Vifs) -> None:
        """The ports have no devices afterwards."""
        self._network.disconnect(instance, vifs)

    # -- what is asked ------------------------------------------------------

    def power_state(self, instance: objects.Instance, host: str,
                    use_cache: bool) -> int:
        """The server's power state; at most one Engine call.

        :param use_cache: it may be two seconds old
        :raises InstanceNotFound: if there is no container
        """
        found = (self._snapshot.find(instance.uuid, host)
                 if use_cache else self._snapshot.find_now(instance.uuid))
        if found is None:
            raise exception.InstanceNotFound(instance_id=instance.uuid)
        return states.power(found, is_suspended(instance))

    def inspect(self, instance: objects.Instance) -> models.Container:
        """The server's container as it is now.

        :raises InstanceNotFound: if there is none
        """
        return self._own(instance)

    def console(self, instance: objects.Instance, lines: int, size: int
                ) -> bytes:
        """The end of what the server's process wrote."""
        return self._engine.logs(self._own(instance).id, lines, size)

    def instance_uuids(self, host: str) -> list[str]:
        """The servers that have a container here; one Engine call."""
        return [container.labels[names.INSTANCE_LABEL]
                for container in self._engine.containers(host=host)
                if container.labels[names.ROLE_LABEL] == names.ROLE_SERVER]

    # -- steps --------------------------------------------------------------

    def _own(self, instance: objects.Instance) -> models.Container:
        try:
            container = self._engine.inspect(_name(instance))
        except errors.NotFound as error:
            raise exception.InstanceNotFound(
                instance_id=instance.uuid) from error
        if names.owner(container.name, container.labels) != instance.uuid:
            raise exception.InstanceNotFound(instance_id=instance.uuid)
        return container

    def _connect(self, instance: objects.Instance, vifs: Vifs,
                 tenant: models.TenantSpec, policy: models.Policy
                 ) -> tuple[models.Sandbox | None, tuple[models.Mount, ...]]:
        """A wired namespace, if there are ports, and the server's files."""
        hostname, box = _hostname(instance), None
        if vifs:
            _, sysctls = spec.split_sysctls(tenant.sysctls)
            box = self._sandboxes.make(instance.uuid, hostname, policy,
                                       sysctls)
            self._network.connect(instance, vifs, box.namespace)
        return box, self._files.prepare(
            instance.uuid, hostname, network.addresses(vifs),
            network.nameservers(vifs), tenant)

    def _reconnect(self, instance: objects.Instance, vifs: Vifs
                   ) -> models.Sandbox | None:
        """The namespace is there and wired, as before the process starts."""
        if not vifs:
            return None
        box = self._sandboxes.find(instance.uuid)
        if box is None:
            raise errors.ProcessFailed(
                'The network namespace of the server is lost; rebuild it')
        if box.running:
            self._network.restore(instance, vifs, box.namespace)
        else:
            box = self._sandboxes.start(instance.uuid, box.container_id)
            self._network.connect(instance, vifs, box.namespace)
        return box

    def _recreate(self, context: nova_context.RequestContext,
                  instance: objects.Instance, vifs: Vifs,
                  policy: models.Policy) -> None:
        LOG.warning('The container is lost; making a new one from the image',
                    instance=instance)
        self._destroy(instance, vifs)
        tenant = _tenant(instance)
        image = self._images.ensure(context, instance.image_meta)
        box, mounts = self._connect(instance, vifs, tenant, policy)
        self._start(self._make(_inputs(
            instance, image, tenant, policy, box, mounts)))

    def _make(self, inputs: spec.Inputs) -> str:
        """The server's container, with GPUs that no other one has."""
        if not inputs.grants.gpus:
            return self._create(spec.build(inputs))
        # Chosen and taken at once: the container's label is the record.
        with lockutils.lock('nova-docker-gpus'):
            return self._create(spec.build(dataclasses.replace(
                inputs, gpus=self._free_gpus(inputs))))

    def _free_gpus(self, inputs: spec.Inputs) -> tuple[str, ...]:
        taken = {gpu for container in self._engine.containers()
                 for gpu in container.labels.get(
                     names.GPUS_LABEL, '').split(',')}
        free = [gpu for gpu in inputs.policy.gpus if gpu not in taken]
        wanted = inputs.grants.gpus
        if len(free) < wanted:
            raise errors.Unsupported(
                f'flavor: docker:gpus: {wanted} are wanted and this host has '
                f'{len(free)} that are free')
        return tuple(free[:wanted])

    def _create(self, wanted: models.ContainerSpec) -> str:
        try:
            return self._engine.create(wanted)
        except errors.NameConflict:
            # A lost answer leaves a container of ours; then it is replaced.
            container = self._engine.inspect(wanted.name)
            owner = names.owner(container.name, container.labels)
            if owner != wanted.labels[names.INSTANCE_LABEL]:
                raise errors.ForeignContainer(
                    f'The container {wanted.name} is not of this driver'
                ) from None
            self._engine.remove(container.id)
            return self._engine.create(wanted)

    def _start(self, container_id: str) -> None:
        """The process has been started.

        :raises ProcessFailed: in the Engine's words, if it cannot be
        """
        try:
            self._engine.start(container_id)
        except errors.EngineUnavailable:
            raise
        except errors.EngineError as error:
            container = self._engine.inspect(container_id)
            if container.error or container.oom_killed:
                raise errors.ProcessFailed(
                    f'The process cannot be started: '
                    f'{container.error or "out of memory"}') from error
            raise

    def _run(self, container_id: str, tenant: models.TenantSpec) -> None:
        """Starts the process and waits for what the tenant waits for."""
        self._start(container_id)
        deadline = time.monotonic() + tenant.wait_timeout
        while True:
            container = self._engine.inspect(container_id)
            self._check_alive(container, tenant.wait_for)
            if tenant.wait_for != 'healthy' or container.health == 'healthy':
                return
            if container.health == 'unhealthy':
                raise errors.ProcessFailed(
                    'The process is unhealthy' + self._last_words(container))
            if time.monotonic() > deadline:
                raise errors.ProcessFailed(
                    f'The process was not healthy within '
                    f'{tenant.wait_timeout} s' + self._last_words(container))
            time.sleep(_HEALTH_INTERVAL)

    def _check_alive(self, container: models.Container, wait_for: str) -> None:
        if container.status == 'running' or wait_for == 'none':
            return
        if wait_for == 'completed' and container.exit_code == 0:
            return
        killed = ', out of memory' if container.oom_killed else ''
        raise errors.ProcessFailed(
            f'The process ended with exit code {container.exit_code}{killed}'
            + self._last_words(container))

    def _last_words(self, container: models.Container) -> str:
        log = self._engine.logs(container.id, _FAULT_LINES, _FAULT_SIZE)
        words = log.decode(errors='replace').strip()
        return f'; its last lines: {words}' if words else ''

    @contextlib.contextmanager
    def _undone_on_failure(self, instance: objects.Instance, vifs: Vifs
                           ) -> Iterator[None]:
        try:
            yield
        except Exception:
            with excutils.save_and_reraise_exception():
                self._destroy(instance, vifs)

    @contextlib.contextmanager
    def _one_at_a_time(self, instance: objects.Instance) -> Iterator[None]:
        # Nova serialises some actions of a server, not all.
        with lockutils.lock(f'nova-docker-{instance.uuid}'):
            try:
                yield
            finally:
                self._snapshot.invalidate()


def is_being_shelved(instance: objects.Instance) -> bool:
    """Whether Nova has stopped the server to take a snapshot of it."""
    return instance.task_state in (
        task_states.SHELVING, task_states.SHELVING_IMAGE_PENDING_UPLOAD,
        task_states.SHELVING_IMAGE_UPLOADING)


@contextlib.contextmanager
def _build_failures(instance: objects.Instance) -> Iterator[None]:
    try:
        yield
    except errors.DockerDriverError as error:
        LOG.warning('Cannot spawn: %s', error, instance=instance)
        raise errors.to_build_failure(error, instance.uuid) from error


def _refuse_storage(instance: objects.Instance, block_devices: Any) -> None:
    if virt_driver.block_device_info_get_mapping(block_devices):
        raise errors.InvalidSpec('volumes cannot be attached to a container')
    if instance.flavor.ephemeral_gb:
        raise errors.InvalidSpec(
            'flavor: containers have no ephemeral disks')


def _hostname(instance: objects.Instance) -> str:
    return instance.hostname or f'server-{instance.uuid}'


def _name(instance: objects.Instance) -> str:
    """The container that stands for the server."""
    if instance.vm_state == vm_states.RESCUED:
        return names.rescue(instance.uuid)
    return names.container(instance.uuid)


def is_suspended(instance: objects.Instance) -> bool:
    """Whether a paused container is what Nova calls suspended."""
    return (instance.vm_state == vm_states.SUSPENDED
            or instance.task_state == task_states.SUSPENDING)


@contextlib.contextmanager
def _missing(instance: objects.Instance) -> Iterator[None]:
    """A container that is not there is, to Nova, a server that is not."""
    try:
        yield
    except errors.NotFound as error:
        raise exception.InstanceNotFound(instance_id=instance.uuid) from error


def _grace(instance: objects.Instance, timeout: int) -> int:
    """Seconds for the process's end: its own wish, within Nova's bound."""
    wish = _tenant(instance).stop_grace_period
    return timeout if wish is None else min(wish, timeout)


def _tenant(instance: objects.Instance) -> models.TenantSpec:
    """What the tenant asks for, over the defaults of the image."""
    prefix = nova_utils.SM_IMAGE_PROP_PREFIX
    return userspec.parse(instance.user_data, {
        name.removeprefix(prefix): value
        for name, value in instance.system_metadata.items()
        if name.startswith(prefix) and value is not None})


def _inputs(instance: objects.Instance, image: models.EngineImage,
            tenant: models.TenantSpec, policy: models.Policy,
            box: models.Sandbox | None = None,
            mounts: tuple[models.Mount, ...] = ()) -> spec.Inputs:
    flavor = instance.flavor
    cells = instance.numa_topology.cells if instance.numa_topology else ()
    return spec.Inputs(
        instance_uuid=instance.uuid, hostname=_hostname(instance),
        memory_mib=flavor.memory_mb, swap_mib=flavor.swap,
        vcpus=flavor.vcpus, extra_specs=dict(flavor.extra_specs or {}),
        image=image, tenant=tenant, policy=policy, sandbox=box,
        mounts=mounts, disk_gib=flavor.root_gb,
        pinned_cpus=frozenset(
            cpu for cell in cells
            for cpu in (cell.cpu_pinning or {}).values()),
        memory_nodes=frozenset(
            cell.id for cell in cells if cell.cpu_pinning))
