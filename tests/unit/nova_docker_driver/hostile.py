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

"""What a tenant might write: strategies for Hypothesis."""

import os

from hypothesis import strategies

from nova_docker_driver import composekeys
from nova_docker_driver import userspec

#: 2,000 where every change is tested; ``tools/test full`` asks for more.
EXAMPLES = int(os.environ.get('NOVA_DOCKER_EXAMPLES', '2000'))

#: The keys of the Engine's HostConfig that may be there at all.
HARMLESS = frozenset((
    'NetworkMode', 'Memory', 'MemoryReservation', 'MemorySwap', 'NanoCpus',
    'CpuShares', 'CpuPeriod', 'CpuQuota', 'CpusetCpus', 'CpusetMems',
    'PidsLimit', 'OomScoreAdj', 'ShmSize', 'Ulimits', 'Privileged', 'CapDrop',
    'CapAdd', 'GroupAdd', 'SecurityOpt', 'ReadonlyRootfs', 'IpcMode',
    'CgroupnsMode', 'Sysctls', 'RestartPolicy', 'Init', 'Mounts', 'Tmpfs',
    'LogConfig'))

_TEXTS = strategies.one_of(
    strategies.text(max_size=40),
    strategies.sampled_from((
        'host', '/', '/var/run/docker.sock', '/:/host', '../../etc', 'ALL',
        'SYS_ADMIN', 'CAP_SYS_ADMIN', 'NET_RAW', 'unconfined', 'true', '0',
        'A=b\nB=c', 'a\0b', '${HOME}', '$(id)', 'container:x', '1g', '10s',
        'always', 'no', 'SIGKILL', 'org.openstack.nova-docker.role=server',
        'kernel.core_pattern=|/x', '/proc/self/fd/8', 'ro', 'é\u202e')))

_VALUES = strategies.recursive(
    strategies.one_of(strategies.none(), strategies.booleans(),
                      strategies.integers(-2, 2**70), _TEXTS),
    lambda inner: strategies.one_of(
        strategies.lists(inner, max_size=3),
        strategies.dictionaries(_TEXTS, inner, max_size=3)),
    max_leaves=6)

# Of each key a form that is meant well, so that the whole is often accepted.
_SENSIBLE = {
    'command': strategies.lists(_TEXTS, min_size=1, max_size=3),
    'environment': strategies.dictionaries(
        strategies.text('ABC_', min_size=1, max_size=5), _TEXTS, max_size=3),
    'user': strategies.sampled_from(('0', 'root', '1000', 'web:staff')),
    'cap_add': strategies.lists(strategies.sampled_from(
        ('CHOWN', 'NET_RAW', 'SYS_ADMIN', 'ALL')), max_size=2),
    'cap_drop': strategies.lists(strategies.sampled_from(
        ('ALL', 'CHOWN', 'KILL')), max_size=2),
    'ulimits': strategies.dictionaries(
        strategies.sampled_from(('nofile', 'nproc', 'core')),
        strategies.integers(-1, 2000), max_size=2),
    'labels': strategies.dictionaries(_TEXTS, _TEXTS, max_size=2),
    'tmpfs': strategies.sampled_from(('/tmp', '/', '/proc', '/a:size=1m')),
    'read_only': strategies.booleans(), 'tty': strategies.booleans(),
    'restart': strategies.sampled_from(('no', 'always', 'on-failure:2')),
    'oom_score_adj': strategies.integers(-10, 1000),
    'volumes': strategies.lists(strategies.sampled_from(
        ('/data', '/etc:/x', 'name:/x', '/dev')), max_size=2),
    'shm_size': strategies.sampled_from(('1m', '64m', '65m', '1t')),
    'entrypoint': strategies.lists(_TEXTS, min_size=1, max_size=2),
    'working_dir': strategies.sampled_from(('/srv', '//proc/1', 'x', '/')),
    'stop_signal': strategies.sampled_from(('TERM', 'SIGQUIT', 'x', 9)),
    'stop_grace_period': strategies.sampled_from(('1s', '9999h', 'x')),
    'healthcheck': strategies.fixed_dictionaries(
        {'test': _TEXTS}, optional={
            'interval': strategies.sampled_from(('1ms', '1h', 'x')),
            'retries': strategies.integers(0, 3)}),
    'sysctls': strategies.dictionaries(strategies.sampled_from((
        'net.ipv4.tcp_syncookies', 'kernel.shm_rmid_forced',
        'kernel.core_pattern')), strategies.sampled_from(('1', '|/x')),
        max_size=2),
    'configs': strategies.lists(strategies.fixed_dictionaries({
        'target': strategies.sampled_from((
            '/a', 'b', '/etc/hosts', '/proc/x', '../c', '/a\n')),
        'content': _TEXTS}), max_size=2),
    'secrets': strategies.lists(strategies.fixed_dictionaries({
        'target': strategies.sampled_from(('key', '/a')),
        'content': _TEXTS}, optional={
            'mode': strategies.sampled_from(('0400', '04755', 256))}),
        max_size=2),
    'dns': strategies.sampled_from(('192.0.2.1', '::1', 'x', '1.2.3.4\n')),
    'dns_search': strategies.sampled_from(('a.b', 'a b', '-')),
    'extra_hosts': strategies.dictionaries(
        strategies.sampled_from(('db', 'a\nb')),
        strategies.sampled_from(('192.0.2.1', 'x')), max_size=2),
    'logging': strategies.fixed_dictionaries({
        'options': strategies.fixed_dictionaries({}, optional={
            'max-size': strategies.sampled_from(('1k', '9g')),
            'max-file': strategies.integers(1, 9)})}),
    'mem_reservation': strategies.sampled_from(('16m', '65m', '1')),
    'x-nova': strategies.fixed_dictionaries({}, optional={
        'wait_for': strategies.sampled_from((
            'running', 'healthy', 'completed', 'none')),
        'environment_secrets': strategies.dictionaries(
            strategies.sampled_from(('A', 'PATH', 'LD_PRELOAD')),
            strategies.uuids().map(str), max_size=2),
        'wait_timeout': strategies.integers(1, 400)}),
    'group_add': strategies.lists(strategies.sampled_from(
        ('0', 'docker', 'a b')), max_size=2),
}


@strategies.composite
def documents(draw):
    """A specification: sensible keys, and now and then anything."""
    document = {key: draw(_SENSIBLE[key]) for key in draw(
        strategies.lists(strategies.sampled_from(sorted(_SENSIBLE)),
                         max_size=4, unique=True))}
    if draw(strategies.integers(0, 3)) == 0:
        keys = strategies.one_of(_TEXTS, strategies.sampled_from(sorted(
            {*userspec.schema()['properties'], *composekeys.OPERATORS,
             *composekeys.ELSEWHERE})))
        document.update(draw(strategies.dictionaries(keys, _VALUES,
                                                     max_size=2)))
    return document


def properties():
    """The properties of an image."""
    return strategies.dictionaries(
        strategies.sampled_from((
            'docker_command', 'docker_user', 'docker_environment',
            'docker_read_only', 'docker_cap_add', 'os_command_line',
            'docker_privileged', 'hw_disk_bus')), _TEXTS, max_size=2)


def flavors():
    """Extra specs of an operator who grants little, and now and then more."""
    modest = {
        'docker:cap_add': strategies.just('NET_RAW'),
        'docker:pids_limit': strategies.integers(1, 999).map(str),
        'docker:log_max_size': strategies.integers(1, 9).map(str),
        'docker:ulimits': strategies.just('nofile=10:2000')}
    return strategies.one_of(
        *[strategies.fixed_dictionaries({}, optional=modest)] * 4,
        strategies.fixed_dictionaries({}, optional={
            **modest,
            'docker:profile': strategies.just('restricted'),
            # Granted, but not on this host.
            'docker:devices': strategies.just('fuse'),
            'docker:privileged': strategies.sampled_from(
                ('true', 'false'))}))
