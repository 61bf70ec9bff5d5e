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
import functools
from typing import Any, TypeAlias

from nova.compute import task_states
from nova.compute import utils as compute_utils
from nova import context as nova_context
from nova import exception
from nova.network import model as network_model
from nova import objects
from oslo_concurrency import lockutils
from oslo_log import log as logging
from oslo_utils import excutils

from nova_docker_driver import containers
from nova_docker_driver import engine
from nova_docker_driver import errors
from nova_docker_driver import guestfiles
from nova_docker_driver import images
from nova_docker_driver import keymanager
from nova_docker_driver import models
from nova_docker_driver import names
from nova_docker_driver import network
from nova_docker_driver import sandbox
from nova_docker_driver import servers
from nova_docker_driver import snapshot
from nova_docker_driver import snapshots
from nova_docker_driver import spec
from nova_docker_driver import states

LOG = logging.getLogger(__name__)

Vifs: TypeAlias = Sequence[network_model.VIF]


class Lifecycle:
    """Acts on the servers of one host."""

    def __init__(self, engine_port: engine.Engine, image_store: images.Images,
                 sandboxes: sandbox.Sandboxes, networks: network.Network,
                 files: guestfiles.GuestFiles,
                 recent: snapshot.Snapshot,
                 store: snapshots.Snapshots,
                 secrets: keymanager.SecretStore) -> None:
        self._engine = engine_port
        self._containers = containers.Containers(engine_port)
        self._snapshot = recent
        self._snapshots = store
        self._secrets = secrets
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
            tenant = self._wanted(context, instance)
            servers.refuse_drives(instance, block_devices)
            with self._undone_on_failure(instance, vifs):
                with self._image(context, instance, image_meta,
                                 tenant) as image:
                    # What cannot be is refused before anything is made.
                    spec.build(servers.inputs(instance, image, tenant,
                                              policy))
                    box, mounts = self._connect(instance, vifs, tenant,
                                                policy)
                    container_id = self._containers.make(servers.inputs(
                        instance, image, tenant, policy, box, mounts))
                self._containers.run(container_id, tenant,
                                     lambda: _check_wanted(instance))
        LOG.info('Spawned', instance=instance)

    def rebuild(self, context: nova_context.RequestContext,
                instance: objects.Instance, image_meta: objects.ImageMeta,
                vifs: Vifs, block_devices: Any, policy: models.Policy
                ) -> None:
        """As ``spawn``, in the place and on the network of what there is.

        What cannot be rebuilt is refused while the old process still is
        there. A new process that fails leaves the server without one; the
        network stays, for another rebuild.
        """
        LOG.info('Rebuilding', instance=instance)
        with self._one_at_a_time(instance), _build_failures(instance):
            tenant = self._wanted(context, instance)
            servers.refuse_drives(instance, block_devices)
            with self._image(context, instance, image_meta,
                             tenant) as image:
                spec.build(servers.inputs(instance, image, tenant, policy))
                self._end_rescue(instance)
                self._engine.remove(names.container(instance.uuid))
                box, mounts = self._connect(instance, vifs, tenant, policy,
                                            keep=True)
                try:
                    container_id = self._containers.make(servers.inputs(
                        instance, image, tenant, policy, box, mounts))
                    # One that is stopped stays so: Nova would stop it again
                    # at once, in the middle of whatever it had begun.
                    if not servers.is_stopped(instance):
                        self._containers.run(container_id, tenant,
                                             lambda: _check_wanted(instance))
                except Exception:
                    with excutils.save_and_reraise_exception():
                        self._engine.remove(names.container(instance.uuid))
        LOG.info('Rebuilt', instance=instance)

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
        had_ports = any(container.labels[names.ROLE_LABEL]
                        == names.ROLE_SANDBOX for container in found)
        try:
            self._network.disconnect(instance, vifs)
            if had_ports and not vifs:
                # Deleted while this service was away: Nova does not know any
                # more which ports it had. The switch does.
                self._network.forget(instance.uuid)
        finally:
            self._files.remove(instance.uuid)

    # -- power --------------------------------------------------------------

    def power_on(self, instance: objects.Instance, vifs: Vifs) -> None:
        """The process runs afterwards; does nothing if it does."""
        with self._one_at_a_time(instance):
            container = self._containers.own(instance)
            self._reconnect(instance, vifs)
            containers.start(self._engine, container.id)

    def revive(self, instance: objects.Instance, vifs: Vifs) -> bool:
        """Starts a server again that went with its namespace, if it wants to.

        An Engine that comes back restarts processes by their policies, but
        none in a namespace that is lost.

        :returns: whether it did
        """
        with self._one_at_a_time(instance):
            box = self._sandboxes.find(instance.uuid)
            if box is None or box.running:
                return False
            own = self._containers.own(instance)
            if own.status == 'running' or not servers.is_restarted(
                    instance, own.exit_code):
                return False
            LOG.info('Starting again, as its restart policy says',
                     instance=instance)
            self._reconnect(instance, vifs)
            containers.start(self._engine, own.id)
            return True

    def power_off(self, instance: objects.Instance, timeout: int,
                  vifs: Vifs = ()) -> None:
        """The process has ended afterwards; it had ``timeout`` seconds.

        :param vifs: nothing answers at these until the server is started
        """
        with self._one_at_a_time(instance), _missing(instance):
            name = servers.container_name(instance)
            if timeout:
                self._engine.stop(name, servers.grace(instance, timeout))
            else:
                self._engine.kill(name)
            self._network.set_links(vifs, False)

    def reboot(self, context: nova_context.RequestContext,
               instance: objects.Instance, vifs: Vifs, hard: bool,
               timeout: int, policy: models.Policy) -> None:
        """The process is a new one afterwards; its files are the old ones.

        A hard reboot makes a lost container anew from its image.
        """
        with self._one_at_a_time(instance):
            try:
                container = self._containers.own(instance)
            except exception.InstanceNotFound:
                if not hard:
                    raise
                self._recreate(context, instance, vifs, policy)
                return
            if hard:
                self._engine.kill(container.id)
            else:
                self._engine.stop(container.id,
                                  servers.grace(instance, timeout))
            self._reconnect(instance, vifs)
            containers.start(self._engine, container.id)

    def pause(self, instance: objects.Instance, vifs: Vifs = ()) -> None:
        """All processes of the server are frozen, and nothing answers."""
        with self._one_at_a_time(instance):
            with self._unless_it_is('paused', instance):
                self._engine.pause(servers.container_name(instance))
            self._network.set_links(vifs, False)

    def unpause(self, instance: objects.Instance, vifs: Vifs = ()) -> None:
        """All processes of the server go on afterwards."""
        with self._one_at_a_time(instance):
            self._network.set_links(vifs, True)
            with self._unless_it_is('running', instance):
                self._engine.unpause(servers.container_name(instance))

    @contextlib.contextmanager
    def _unless_it_is(self, status: str, instance: objects.Instance
                      ) -> Iterator[None]:
        """An Engine's refusal to make something what it is already is none."""
        try:
            yield
        except errors.EngineUnavailable:
            raise
        except errors.EngineError:
            if self._containers.own(instance).status != status:
                raise

    def resume(self, instance: objects.Instance, vifs: Vifs) -> None:
        """A suspended server goes on; one that was lost is started."""
        with self._one_at_a_time(instance):
            container = self._containers.own(instance)
            if container.status == 'paused':
                self._network.set_links(vifs, True)
                self._engine.unpause(container.id)
            else:
                self._reconnect(instance, vifs)
                containers.start(self._engine, container.id)

    def crash(self, instance: objects.Instance) -> None:
        """Sends the signal that makes the process tell what it does."""
        signal = servers.crash_dump_signal(instance)
        with _missing(instance):
            self._engine.kill(servers.container_name(instance), signal)

    # -- rescue -------------------------------------------------------------

    def rescue(self, context: nova_context.RequestContext,
               instance: objects.Instance, vifs: Vifs,
               image_meta: objects.ImageMeta, policy: models.Policy) -> None:
        """Another container stands for the server and has its files.

        It has the server's limits, addresses and name, and a terminal. The
        server's own, which Nova has stopped, runs again if this fails.
        """
        with self._one_at_a_time(instance):
            own = self._containers.own(instance)
            try:
                self._rescue(context, instance, vifs, image_meta, policy, own)
            except Exception:
                with excutils.save_and_reraise_exception():
                    self._end_rescue(instance)
                    self._reconnect(instance, vifs)
                    containers.start(self._engine, own.id)

    def _rescue(self, context: nova_context.RequestContext,
                instance: objects.Instance, vifs: Vifs,
                image_meta: objects.ImageMeta, policy: models.Policy,
                own: models.Container) -> None:
        if own.root is None:
            raise errors.Unsupported('the Engine does not tell where the '
                                     'root file system is')
        tenant = servers.tenant_spec(instance)
        box = self._reconnect(instance, vifs)
        mounts = self._files.prepare(
            instance.uuid, servers.hostname(instance),
            network.addresses(vifs),
            network.nameservers(vifs), tenant)
        root = self._files.mount_root(instance.uuid, own.root)
        with self._image(context, instance, image_meta,
                         models.TenantSpec()) as image:
            # The image's command, and a terminal, or a bare shell would end.
            wanted = spec.build(dataclasses.replace(
                servers.inputs(instance, image, models.TenantSpec(
                    tty=True, stdin_open=True,
                    user=servers.rescuer(instance, tenant)),
                    policy, box, (*mounts, root)),
                role=names.ROLE_RESCUE))
            container_id = self._containers.create(wanted)
        containers.start(self._engine, container_id)
        self._containers.check_alive(
            self._engine.inspect(container_id), 'running')

    def unrescue(self, instance: objects.Instance, vifs: Vifs) -> None:
        """The server's own container runs again; the other one is gone."""
        with self._one_at_a_time(instance):
            self._end_rescue(instance)
            self._reconnect(instance, vifs)
            with _missing(instance):
                containers.start(self._engine, names.container(instance.uuid))

    def _end_rescue(self, instance: objects.Instance) -> None:
        self._engine.remove(names.rescue(instance.uuid))
        self._files.unmount_root(instance.uuid)

    # -- images -------------------------------------------------------------

    def take_snapshot(self, context: nova_context.RequestContext,
                      instance: objects.Instance, vifs: Vifs, image_id: str,
                      update_task_state: snapshots.UpdateTaskState) -> None:
        """Glance has an image of what the server's process wrote.

        :raises InstanceNotRunning: if there is no container
        """
        update_task_state(task_state=task_states.IMAGE_PENDING_UPLOAD)
        try:
            with contextlib.ExitStack() as until_uploaded:
                with self._one_at_a_time(instance):
                    own = self._server_itself(instance)
                    committed = until_uploaded.enter_context(
                        self._snapshots.committed(own))
                self._snapshots.upload(context, instance, own, committed,
                                       image_id, update_task_state)
        except Exception:
            with excutils.save_and_reraise_exception():
                if servers.is_being_shelved(instance):
                    # Nova has stopped it, and will not start it again.
                    self.power_on(instance, vifs)

    def _server_itself(self, instance: objects.Instance) -> models.Container:
        """The server's own container, also while another one rescues it."""
        try:
            found = self._engine.inspect(names.container(instance.uuid))
        except errors.NotFound as error:
            raise exception.InstanceNotRunning(
                instance_id=instance.uuid) from error
        if names.owner(found.name, found.labels) != instance.uuid:
            raise exception.InstanceNotRunning(instance_id=instance.uuid)
        return found

    # -- network ------------------------------------------------------------

    def restore_network(self, instance: objects.Instance, vifs: Vifs) -> None:
        """Ports are wired if there is a namespace to wire them into."""
        try:
            box = self._sandboxes.find(instance.uuid) if vifs else None
            if box is not None and box.running:
                self._network.restore(instance, vifs, box.namespace,
                                      links_up=False)
        except errors.DockerDriverError as error:
            # Anything else would keep nova-compute from starting.
            raise exception.VirtualInterfacePlugException(
                str(error)) from error

    def attach_port(self, instance: objects.Instance,
                    vif: network_model.VIF, others: Vifs) -> None:
        """The server has one more port, and its process if it runs.

        :param others: the ports that it has already
        :raises Unsupported: if it was built without any
        """
        with self._one_at_a_time(instance):
            box = self._sandboxes.find(instance.uuid)
            if box is None:
                raise errors.Unsupported(
                    'the server was built without ports and has no network '
                    'to attach one to; make it anew with one')
            if box.running:
                self._network.attach(instance, vif, others, box.namespace)
            self._name(instance, [*others, vif])

    def detach_port(self, instance: objects.Instance,
                    vif: network_model.VIF, others: Vifs) -> None:
        """The server has the other ports only."""
        with self._one_at_a_time(instance):
            box = self._sandboxes.find(instance.uuid)
            if box is not None and box.running:
                self._network.detach(instance, vif, box.namespace)
            else:
                self._network.disconnect(instance, [vif])
            if box is not None:
                self._name(instance, others)

    def _name(self, instance: objects.Instance, vifs: Vifs) -> None:
        self._files.name(
            instance.uuid, servers.hostname(instance),
            network.addresses(vifs), network.nameservers(vifs),
            servers.tenant_spec(instance))

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
        return states.power(found, servers.is_suspended(instance))

    def inspect(self, instance: objects.Instance) -> models.Container:
        """The server's container as it is now.

        :raises InstanceNotFound: if there is none
        """
        return self._containers.own(instance)

    def console(self, instance: objects.Instance, lines: int, size: int
                ) -> bytes:
        """The end of what the server's process wrote."""
        return self._engine.logs(self._containers.own(instance).id, lines,
                                 size)

    def instances(self, host: str) -> dict[str, str]:
        """Nova's names of the servers that have a container here, by uuid.

        One Engine call.
        """
        return {container.labels[names.INSTANCE_LABEL]:
                container.labels.get(names.NAME_LABEL, '')
                for container in self._engine.containers(host=host)
                if container.labels[names.ROLE_LABEL] == names.ROLE_SERVER}

    # -- steps --------------------------------------------------------------

    def _wanted(self, context: nova_context.RequestContext,
                instance: objects.Instance) -> models.TenantSpec:
        """What the tenant asks for, whole, to make a container of."""
        return keymanager.with_secrets(
            servers.tenant_spec(instance), servers.project(instance), context,
            self._secrets)

    def _image(self, context: nova_context.RequestContext,
               instance: objects.Instance, image_meta: objects.ImageMeta,
               tenant: models.TenantSpec
               ) -> contextlib.AbstractContextManager[models.EngineImage]:
        """The Engine has the image until a container is made of it."""
        return self._images.held(images.wanted(
            context, image_meta, disk=instance.flavor.root_gb * models.GIB,
            trusted_certs=servers.trusted_certs(instance),
            reference=tenant.image, pull_policy=tenant.pull_policy,
            project=servers.project(instance),
            pinned=servers.pinned(instance),
            pin=functools.partial(servers.pin, instance),
            check_wanted=lambda: _check_wanted(instance),
            event=lambda name: compute_utils.EventReporter(
                context, name, instance.host, instance.uuid,
                graceful_exit=True)))

    def _connect(self, instance: objects.Instance, vifs: Vifs,
                 tenant: models.TenantSpec, policy: models.Policy,
                 keep: bool = False
                 ) -> tuple[models.Sandbox | None, tuple[models.Mount, ...]]:
        """A wired namespace, if there are ports, and the server's files.

        :param keep: one that the server has already may stay
        """
        hostname, box = servers.hostname(instance), None
        if vifs:
            _, sysctls = spec.split_sysctls(tenant.sysctls)
            if keep:
                box = self._sandboxes.reusable(instance.uuid, hostname,
                                               policy, sysctls)
            if box is not None:
                self._network.restore(instance, vifs, box.namespace)
            else:
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
        tenant = self._wanted(context, instance)
        self._destroy(instance, vifs)
        with self._image(context, instance, instance.image_meta,
                         tenant) as image:
            box, mounts = self._connect(instance, vifs, tenant, policy)
            container_id = self._containers.make(servers.inputs(
                instance, image, tenant, policy, box, mounts))
        containers.start(self._engine, container_id)

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


def _check_wanted(instance: objects.Instance) -> None:
    """:raises UnexpectedDeletingTaskStateError: if it is being deleted"""
    now = objects.Instance.get_by_uuid(
        nova_context.get_admin_context(), instance.uuid)
    if now.task_state == task_states.DELETING:
        raise exception.UnexpectedDeletingTaskStateError(
            instance_uuid=instance.uuid,
            expected={'task_state': [instance.task_state]},
            actual={'task_state': [now.task_state]})


@contextlib.contextmanager
def _build_failures(instance: objects.Instance) -> Iterator[None]:
    try:
        yield
    except errors.DockerDriverError as error:
        LOG.warning('Cannot spawn: %s', error, instance=instance)
        raise errors.to_build_failure(error, instance.uuid) from error


@contextlib.contextmanager
def _missing(instance: objects.Instance) -> Iterator[None]:
    """A container that is not there is, to Nova, a server that is not."""
    try:
        yield
    except errors.NotFound as error:
        raise exception.InstanceNotFound(instance_id=instance.uuid) from error
