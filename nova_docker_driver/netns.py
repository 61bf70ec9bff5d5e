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

"""Network devices and namespaces: the privileged verbs, and nothing else.

Each function below the line runs in a helper process that has three
capabilities and no more: CAP_NET_ADMIN for devices, CAP_SYS_ADMIN to enter a
namespace through the Engine's path for it, and CAP_KILL for ``signals.py``.
"""

from __future__ import annotations

import array
from collections.abc import Sequence
import ctypes
import errno
import fcntl
import ipaddress
import os
import socket
import struct

from oslo_privsep import capabilities
from oslo_privsep import priv_context
import pyroute2
from pyroute2.netlink import exceptions as netlink_exceptions

context = priv_context.PrivContext(
    'nova_docker_driver',
    cfg_section='nova_docker_driver_privileged',
    pypath=f'{__name__}.context',
    capabilities=[capabilities.CAP_NET_ADMIN, capabilities.CAP_SYS_ADMIN,
                  capabilities.CAP_KILL],
)

#: What the verbs below raise.
ERRORS: tuple[type[Exception], ...] = (
    OSError, netlink_exceptions.NetlinkError)

_SIOCETHTOOL = 0x8946
_ETHTOOL_STXCSUM = 0x17
_CLONE_NEWNET = 0x40000000
_LIBC = ctypes.CDLL(None, use_errno=True)


def exists(device: str) -> bool:
    """Whether the host has a network device of this name."""
    return os.path.exists(f'/sys/class/net/{device}')


# ---------------------------------------------------------------------------

@context.entrypoint
def create_veth(host_end: str, container_end: str, mac: str, mtu: int,
                namespace: str) -> None:
    """A pair of devices: one here, one in the namespace, both down inside.

    A pair that a lost attempt left under the same name is replaced.

    :param namespace: path of the namespace, as the Engine tells it
    """
    _delete(host_end)
    handle = os.open(namespace, os.O_RDONLY)
    try:
        with pyroute2.IPRoute() as ip:
            ip.link('add', ifname=host_end, kind='veth', mtu=mtu,
                    peer={'ifname': container_end, 'address': mac,
                          'mtu': mtu, 'net_ns_fd': handle})
            ip.link('set', index=ip.link_lookup(ifname=host_end)[0],
                    state='up')
    finally:
        os.close(handle)


@context.entrypoint
def devices(namespace: str) -> list[str]:
    """The names of what is in a namespace."""
    with pyroute2.NetNS(namespace) as ip:
        return [str(link.get_attr('IFLA_IFNAME')) for link in ip.get_links()]


@context.entrypoint
def set_link(device: str, up: bool) -> None:
    """A device of the host passes packets, or none, from now on.

    Its other end keeps its addresses and routes. Does nothing if there is no
    such device.
    """
    with pyroute2.IPRoute() as ip:
        for index in ip.link_lookup(ifname=device):
            ip.link('set', index=index, state='up' if up else 'down')


@context.entrypoint
def add_to_bridge(device: str, bridge: str) -> None:
    """A device of the host is a port of a bridge afterwards."""
    with pyroute2.IPRoute() as ip:
        ip.link('set', index=_index(ip, ifname=device),
                master=_index(ip, ifname=bridge))


@context.entrypoint
def move(device: str, container_end: str, mac: str, mtu: int,
         namespace: str) -> None:
    """A device of the host is in the namespace afterwards, under a new name.

    It comes back when the namespace ends.
    """
    handle = os.open(namespace, os.O_RDONLY)
    try:
        with pyroute2.IPRoute() as ip:
            index = _index(ip, ifname=device)
            ip.link('set', index=index, state='down')
            ip.link('set', index=index, address=mac, mtu=mtu,
                    ifname=container_end, net_ns_fd=handle)
    finally:
        os.close(handle)


@context.entrypoint
def move_back(namespace: str, mac: str, host_name: str) -> None:
    """The host has a device afterwards that was moved into a namespace.

    Does nothing if there is none with this address.
    """
    handle = os.open('/proc/self/ns/net', os.O_RDONLY)
    try:
        with pyroute2.NetNS(namespace) as ip:
            for index in ip.link_lookup(address=mac):
                ip.link('set', index=index, state='down')
                ip.link('set', index=index, ifname=host_name,
                        net_ns_fd=handle)
    finally:
        os.close(handle)


@context.entrypoint
def configure(namespace: str, device: str, addresses: Sequence[str],
              routes: Sequence[tuple[str, str]], checksums: bool) -> None:
    """Brings a device up with all that Neutron says about it. Idempotent.

    :param addresses: each with its prefix length
    :param routes: destination and next hop; an empty hop is on the link
    :param checksums: False where the switch needs complete packets
    """
    if not checksums:
        _disable_tx_checksums(namespace, device)
    with pyroute2.NetNS(namespace) as ip:
        index = _index(ip, ifname=device)
        ip.link('set', index=index, state='up')
        for address in addresses:
            ip.addr('replace', index=index, address=address.split('/')[0],
                    prefixlen=int(address.split('/')[1]))
        for destination, hop in routes:
            _add_route(ip, index, destination, hop)


def _index(ip: pyroute2.IPRoute, ifname: str) -> int:
    """:raises OSError: if there is no such device"""
    for index in ip.link_lookup(ifname=ifname):
        return int(index)
    raise OSError(errno.ENODEV, f'there is no device {ifname}')


def _add_route(ip: pyroute2.IPRoute, index: int, destination: str,
               hop: str) -> None:
    # A next hop outside of every subnet has to be made reachable first.
    if hop:
        version = ipaddress.ip_address(hop).version
        if not _on_link(ip, index, hop):
            host = f'{hop}/{32 if version == 4 else 128}'
            _add_link_route(ip, index, host, version)
        ip.route('replace', dst=destination, gateway=hop, oif=index,
                 family=_family(version))
        return
    version = ipaddress.ip_network(destination).version
    _add_link_route(ip, index, destination, version)


def _add_link_route(ip: pyroute2.IPRoute, index: int, destination: str,
                    version: int) -> None:
    # IPv4 takes a next hop only from a route whose scope is the link.
    scope = {'scope': 'link'} if version == 4 else {}
    ip.route('replace', dst=destination, oif=index,
             family=_family(version), **scope)


def _on_link(ip: pyroute2.IPRoute, index: int, hop: str) -> bool:
    target = ipaddress.ip_address(hop)
    return any(
        target in ipaddress.ip_interface(
            f'{entry.get_attr("IFA_ADDRESS")}/{entry["prefixlen"]}').network
        for entry in ip.get_addr(index=index)) or target.is_link_local


def _family(version: int) -> int:
    return int(socket.AF_INET if version == 4 else socket.AF_INET6)


@context.entrypoint
def delete(device: str) -> None:
    """The host has no such device afterwards."""
    _delete(device)


def _delete(device: str) -> None:
    with pyroute2.IPRoute() as ip:
        for index in ip.link_lookup(ifname=device):
            try:
                ip.link('del', index=index)
            except netlink_exceptions.NetlinkError as error:
                # Gone meanwhile, with its other end.
                if error.code != errno.ENODEV:
                    raise


def _disable_tx_checksums(namespace: str, device: str) -> None:
    """Makes the kernel complete the checksums of what the device sends.

    A userspace switch sees packets before any hardware would do it, and
    drops them silently: TCP and UDP fail while ping works.
    """
    with _socket_inside(namespace) as control:
        value = array.array('B', struct.pack('II', _ETHTOOL_STXCSUM, 0))
        request = struct.pack('16sP', device.encode(),
                              value.buffer_info()[0])
        fcntl.ioctl(control.fileno(), _SIOCETHTOOL, request)


def _socket_inside(namespace: str) -> socket.socket:
    # pyroute2 offers this from 0.9 on, which OpenStack's constraints do not
    # have. Only the thread that asks goes there, and it comes back.
    home = os.open('/proc/thread-self/ns/net', os.O_RDONLY)
    try:
        there = os.open(namespace, os.O_RDONLY)
        try:
            _enter(there)
        finally:
            os.close(there)
        try:
            return socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        finally:
            _enter(home)
    finally:
        os.close(home)


def _enter(handle: int) -> None:
    if _LIBC.setns(handle, _CLONE_NEWNET):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
