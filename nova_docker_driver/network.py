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

"""A server's network: ports of Neutron become devices in its namespace.

os-vif does the switch's part. The pair of devices, and what Neutron says
about addresses and routes, are ours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
import contextlib
import dataclasses
import itertools
from pathlib import Path
from typing import Any, TypeAlias

from nova import exception
from nova.network import model as network_model
from nova.network import os_vif_util
from nova import objects
from nova.virt import virtapi
import os_vif
from os_vif import exception as os_vif_exception
from os_vif import objects as os_vif_objects
from oslo_config import cfg
from oslo_log import log as logging

from nova_docker_driver import models
from nova_docker_driver import netns
from nova_docker_driver import switch

CONF = cfg.CONF
LOG = logging.getLogger(__name__)

_PCI_DEVICES = Path('/sys/bus/pci/devices')

_PLUGGED = 'network-vif-plugged'
_DEFAULT_MTU = 1500
_METADATA = '169.254.169.254/32'
_DEFAULT_ROUTE = {4: '0.0.0.0/0', 6: '::/0'}

Vif: TypeAlias = network_model.VIF
WaitForEvents = Callable[..., contextlib.AbstractContextManager[None]]


# -- meaning: pure ----------------------------------------------------------

def nics(vifs: Sequence[Vif]) -> tuple[models.Nic, ...]:
    """What Neutron's ports mean inside: eth0, eth1 ... in Nova's order.

    Only the first port with a gateway gives the default route, for each IP
    version.
    """
    answer = []
    versions_with_default: set[int] = set()
    for index, vif in enumerate(vifs):
        network = vif['network']
        details = vif.get('details') or {}
        answer.append(models.Nic(
            port_id=vif['id'], host_end=vif['devname'], name=f'eth{index}',
            mac=vif['address'],
            mtu=network['meta'].get('mtu') or _DEFAULT_MTU,
            addresses=_addresses(network),
            routes=(*_routes(network, versions_with_default),
                    *(_metadata_route(vif) if not index else ())),
            checksum_offload=details.get('datapath_type') != 'netdev'))
    return tuple(answer)


def _addresses(network: network_model.Network) -> tuple[str, ...]:
    return tuple(
        f'{ip["address"]}/{str(subnet["cidr"]).split("/")[1]}'
        for subnet in network['subnets'] for ip in subnet['ips'])


def _routes(network: network_model.Network, taken: set[int]
            ) -> tuple[tuple[str, str], ...]:
    routes = []
    for subnet in network['subnets']:
        if not subnet['ips']:
            continue
        version = subnet['version']
        gateway = (subnet['gateway'] or {}).get('address')
        for route in subnet['routes']:
            hop = (route['gateway'] or {}).get('address') or ''
            routes.append((str(route['cidr']), hop))
        if gateway and version not in taken:
            taken.add(version)
            routes.append((_DEFAULT_ROUTE[version], gateway))
    return tuple(routes)


def _metadata_route(vif: Vif) -> tuple[tuple[str, str], ...]:
    """The way to the metadata service, which OVN tells by DHCP alone.

    Its agent answers on each network itself; other ways go by the router.
    """
    drivers = ((vif.get('details') or {}).get('bound_drivers') or {}).values()
    subnets = [subnet for subnet in vif['network']['subnets']
               if subnet['version'] == 4 and subnet['ips']]
    if 'ovn' not in drivers or not subnets or any(
            str(route['cidr']) == _METADATA
            for subnet in subnets for route in subnet['routes']):
        return ()
    return ((_METADATA, ''),)


def nameservers(vifs: Sequence[Vif]) -> tuple[str, ...]:
    """The resolvers of all subnets, each once, in order.

    Without any, the address that would answer a DHCP client: Neutron resolves
    the names of ports there. OVN answers at any address beyond its switch.
    """
    subnets = [subnet for vif in vifs
               for subnet in vif['network']['subnets'] if subnet['ips']]
    found = [server['address'] for subnet in subnets
             for server in subnet['dns']]
    if not found:
        found = [answering for subnet in subnets
                 if (answering := subnet['meta'].get('dhcp_server')
                     or (subnet['gateway'] or {}).get('address'))]
    return tuple(dict.fromkeys(found))


def addresses(vifs: Sequence[Vif]) -> tuple[str, ...]:
    """All fixed addresses, without prefix lengths."""
    return tuple(address.split('/')[0] for vif in vifs
                 for address in _addresses(vif['network']))


def _named(nic: models.Nic, namespace: str) -> models.Nic:
    """With a name that is free: others may have gone and left theirs."""
    taken = set(netns.devices(namespace))
    names = (f'eth{number}' for number in itertools.count())
    return dataclasses.replace(
        nic, name=next(name for name in names if name not in taken))


# -- acts -------------------------------------------------------------------

class Network:
    """Plugs and unplugs the ports of servers on this host."""

    def __init__(self, wait_for_events: WaitForEvents) -> None:
        """:param wait_for_events: virtapi's ``wait_for_instance_event``"""
        self._wait_for_events = wait_for_events

    def connect(self, instance: objects.Instance, vifs: Sequence[Vif],
                namespace: str) -> None:
        """Every port is wired into a new namespace and Neutron said so.

        :raises VirtualInterfacePlugException: a port cannot be plugged
        :raises VirtualInterfaceCreateException: Neutron did not confirm
        """
        with self._plugging_awaited(instance, vifs):
            for vif, nic in zip(vifs, nics(vifs), strict=True):
                # What is left of an earlier namespace has to go first, and
                # in a step of its own: a userspace switch keeps a dead
                # device under the port's name otherwise.
                self._unplug(instance, vif)
                self._plug(instance, vif, nic, namespace)

    def restore(self, instance: objects.Instance, vifs: Sequence[Vif],
                namespace: str, links_up: bool = True) -> None:
        """Every port is wired; those that are stay as they are.

        :param links_up: also those whose links were down answer again
        """
        for vif, nic in zip(vifs, nics(vifs), strict=True):
            # A function of a PCI device comes with the namespace alone.
            if vif['type'] == network_model.VIF_TYPE_HW_VEB:
                continue
            if netns.exists(nic.host_end):
                if links_up:
                    self.set_links([vif], True)
            else:
                self._unplug(instance, vif)
                self._plug(instance, vif, _named(nic, namespace), namespace)

    def set_links(self, vifs: Sequence[Vif], up: bool) -> None:
        """Whether packets pass at these ports from now on.

        The namespace of a server that is off, or frozen, is still there, and
        the kernel would answer pings and refuse connections for it.
        """
        for vif in vifs:
            with _plug_errors(vif):
                netns.set_link(vif['devname'], up)

    def attach(self, instance: objects.Instance, vif: Vif,
               others: Sequence[Vif], namespace: str) -> None:
        """One more port is wired into a namespace that may be in use.

        :param others: the ports that the server has already
        """
        nic = nics([*others, vif])[-1]
        self._unplug(instance, vif)
        self._plug(instance, vif, _named(nic, namespace), namespace)

    def disconnect(self, instance: objects.Instance, vifs: Sequence[Vif]
                   ) -> None:
        """No port of these has a device or a switch port afterwards."""
        for vif in vifs:
            self._unplug(instance, vif)

    def detach(self, instance: objects.Instance, vif: Vif,
               namespace: str) -> None:
        """A port of a namespace that lives on is not in it any more."""
        if vif['type'] == network_model.VIF_TYPE_HW_VEB:
            with _plug_errors(vif):
                netns.move_back(namespace, vif['address'],
                                f'vf{vif["id"][:11]}')
        self._unplug(instance, vif)

    def forget(self, instance_uuid: str) -> None:
        """The switch has no port of a server whose ports nobody knows.

        What a switch that does not answer keeps is found again when the
        service starts the next time.
        """
        if not switch.is_there():
            return
        try:
            for device, server in switch.ports().items():
                if server == instance_uuid:
                    switch.remove(device)
                    netns.delete(device)
        except Exception as error:
            LOG.warning('Ports of server %s may be left in the switch: %s',
                        instance_uuid, error)

    def _plug(self, instance: objects.Instance, vif: Vif, nic: models.Nic,
              namespace: str) -> None:
        LOG.debug('Plugging port %s as %s', nic.port_id, nic.name,
                  instance=instance)
        with _plug_errors(vif):
            if vif['type'] == network_model.VIF_TYPE_HW_VEB:
                netns.move(_virtual_function(vif), nic.name, nic.mac, nic.mtu,
                           namespace)
            else:
                self._plug_pair(instance, vif, nic, namespace)
            netns.configure(namespace, nic.name, nic.addresses, nic.routes,
                            nic.checksum_offload)

    def _plug_pair(self, instance: objects.Instance, vif: Vif,
                   nic: models.Nic, namespace: str) -> None:
        vif_object = _os_vif(vif)
        # An offloaded port has a VIF object too, but needs wiring that is
        # not ours: its server would run without a network.
        if not isinstance(vif_object, (os_vif_objects.vif.VIFOpenVSwitch,
                                       os_vif_objects.vif.VIFBridge)):
            raise exception.VirtualInterfacePlugException(
                f'Port {vif["id"]} has the VIF type {vif["type"]} '
                f'({type(vif_object).__name__}), which cannot be plugged '
                'here')
        netns.create_veth(nic.host_end, nic.name, nic.mac, nic.mtu, namespace)
        os_vif.plug(vif_object, _instance_info(instance))
        if isinstance(vif_object, os_vif_objects.vif.VIFBridge):
            # os-vif makes a bridge on which Neutron filters, and its way to
            # the switch.
            netns.add_to_bridge(nic.host_end, vif_object.bridge_name)

    def _unplug(self, instance: objects.Instance, vif: Vif) -> None:
        with _plug_errors(vif):
            # First: it may be vanishing with its namespace, and os-vif does
            # not take it well when a device goes while it deletes it.
            netns.delete(vif['devname'])
        try:
            vif_object = _os_vif(vif)
            with _plug_errors(vif):
                if vif_object is not None:
                    os_vif.unplug(vif_object, _instance_info(instance))
        except exception.VirtualInterfacePlugException as error:
            if not _never_plugged(error):
                raise
            LOG.debug('Port %s was never plugged here: %s', vif['id'], error,
                      instance=instance)

    @contextlib.contextmanager
    def _plugging_awaited(self, instance: objects.Instance,
                          vifs: Sequence[Vif]) -> Iterator[None]:
        """What is done inside must make Neutron report each port."""
        timeout = CONF.vif_plugging_timeout
        expected = [(_PLUGGED, vif['id']) for vif in vifs
                    if vif.get('active', True) is False]
        if not timeout or not expected:
            yield
            return
        try:
            with self._wait_for_events(instance, expected, timeout=timeout,
                                       error_callback=_plugging_failed):
                yield
        except exception.InstanceEventTimeout as error:
            LOG.warning('Neutron did not report all ports as plugged within '
                        '%s s', timeout, instance=instance)
            if CONF.vif_plugging_is_fatal:
                raise exception.VirtualInterfaceCreateException() from error


def _plugging_failed(event_name: str, instance: objects.Instance) -> None:
    LOG.error('Neutron reported a failure of %s', event_name,
              instance=instance)
    if CONF.vif_plugging_is_fatal:
        raise exception.VirtualInterfaceCreateException()


def _os_vif(vif: Vif) -> os_vif_objects.vif.VIFBase | None:
    """os-vif's object of a port; None for one that it has no plug-in for."""
    try:
        vif_object = os_vif_util.nova_to_osvif_vif(vif)
    except exception.NovaException as error:
        raise exception.VirtualInterfacePlugException(
            f'Port {vif["id"]}: {error}') from error
    profile = getattr(vif_object, 'port_profile', None)
    if profile is not None and 'create_tap' in profile.fields:
        # Or os-vif would make a tap device under our device's name.
        profile.create_tap = False
    return vif_object


def _virtual_function(vif: Vif) -> str:
    """The host's device of a port's PCI function.

    :raises VirtualInterfacePlugException: if it has none
    """
    address = (vif.get('profile') or {}).get('pci_slot', '')
    found = sorted(_PCI_DEVICES.glob(f'{address}/net/*')) if address else []
    if not found:
        raise exception.VirtualInterfacePlugException(
            f'Port {vif["id"]}: the PCI device {address or "of it"} has no '
            'network device here')
    return found[0].name


def _instance_info(instance: objects.Instance) -> Any:
    return os_vif_util.nova_to_osvif_instance(instance)


@contextlib.contextmanager
def _plug_errors(vif: Vif) -> Iterator[None]:
    try:
        yield
    except (os_vif_exception.ExceptionBase, *netns.ERRORS) as error:
        raise exception.VirtualInterfacePlugException(
            f'Port {vif["id"]}: {error}') from error


def _never_plugged(error: exception.VirtualInterfacePlugException) -> bool:
    """Whether os-vif has nothing that could have plugged it at all."""
    return isinstance(error.__cause__, (
        os_vif_exception.NoMatchingPlugin,
        os_vif_exception.NoSupportedPortProfileVersion,
        os_vif_exception.NoMatchingPortProfileClass,
        os_vif_exception.NoMatchingVIFClass, exception.NovaException))


def wait_for_events(api: virtapi.VirtAPI) -> WaitForEvents:
    """The part of Nova's virtapi that this module needs."""
    wait: WaitForEvents = api.wait_for_instance_event
    return wait
