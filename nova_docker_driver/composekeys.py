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

"""Every key of a Compose service that is not honoured, and why. Pure.

The keys that are honoured are the properties of
``container_spec.schema.json``. A key of the Compose specification is in
exactly one of the three; a test holds that.
"""

from __future__ import annotations

_NOBODY = ''

#: Keys that only an operator grants, and what grants them; empty where
#: nothing does: it would weaken the isolation of the host.
OPERATORS = {
    'blkio_config': 'quota:disk_* of the flavor',
    'cgroup': _NOBODY,
    'cgroup_parent': _NOBODY,
    'cpu_percent': 'the flavor\'s vCPUs',
    'cpu_period': 'quota:cpu_period of the flavor',
    'cpu_quota': 'quota:cpu_quota of the flavor',
    'cpu_rt_period': _NOBODY,
    'cpu_rt_runtime': _NOBODY,
    'cpu_shares': 'quota:cpu_shares of the flavor',
    'cpuset': 'hw:cpu_policy of the flavor',
    'credential_spec': _NOBODY,
    'device_cgroup_rules': 'docker:devices of the flavor',
    'devices': 'docker:devices of the flavor',
    'gpus': 'docker:gpus of the flavor',
    'ipc': _NOBODY,
    'isolation': _NOBODY,
    'mem_swappiness': 'the flavor\'s swap',
    'memswap_limit': 'the flavor\'s swap',
    'oom_kill_disable': _NOBODY,
    'pid': _NOBODY,
    'pids_limit': 'docker:pids_limit of the flavor',
    'privileged': 'docker:privileged of the flavor',
    'runtime': 'docker:runtime of the flavor',
    'security_opt': 'docker:seccomp_profile or docker:apparmor_profile of '
                    'the flavor',
    'storage_opt': 'the flavor\'s root disk',
    'use_api_socket': _NOBODY,
    'userns_mode': 'docker:userns of the flavor',
    'uts': _NOBODY,
}

_SEVERAL = 'let Heat make several servers'
_ADDRESSES = 'use the addresses of Neutron ports'
_UPLOAD = 'build the image beforehand and upload it to Glance'
_INLINE = 'write the content itself; Nova has no files beside it'

#: Keys for which Nova has another way, and which.
ELSEWHERE = {
    'annotations': 'use labels, or metadata of the server',
    'attach': 'read the console log',
    'build': _UPLOAD,
    'container_name': 'set the name of the server',
    'cpu_count': 'choose a flavor',
    'cpus': 'choose a flavor',
    'depends_on': 'let Heat order the servers (depends_on of the template)',
    'deploy': f'choose a flavor, or {_SEVERAL}',
    'develop': _UPLOAD,
    'dns_opt': 'set them in the image\'s own resolver configuration',
    'domainname': 'set the dns_domain of the network',
    'driver_opts': 'choose Neutron networks or ports',
    'env_file': _INLINE,
    'extends': _INLINE,
    'external_links': _ADDRESSES,
    'hostname': 'set the hostname of the server',
    'label_file': _INLINE,
    'links': _ADDRESSES,
    'mac_address': 'set it on the Neutron port',
    'mem_limit': 'choose a flavor',
    'models': 'run the model as a server of its own',
    'network_mode': 'choose Neutron networks or ports',
    'networks': 'choose Neutron networks or ports',
    'platform': 'set hw_architecture on the image',
    'ports': 'use a floating IP and security groups',
    'post_start': 'start it from the entry point',
    'pre_stop': 'handle stop_signal in the process',
    'profiles': _SEVERAL,
    'provider': _SEVERAL,
    'scale': _SEVERAL,
    'volumes_from': 'tmpfs, for what ends with the container; it has no '
                    'volumes yet',
}


def refusal(key: str) -> str:
    """Why a key of ``OPERATORS`` is refused."""
    if OPERATORS[key]:
        return f'only an operator can grant this, by {OPERATORS[key]}'
    return ('is never granted: it would weaken the isolation of this host '
            'and its servers')
