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

"""Which keys of a service are read, and why the others are refused."""

from __future__ import annotations

from heat_plugins.compose import models

GRANTED = 'only an operator grants this, by the flavor'
NEVER = 'would weaken the isolation of the host, and is never granted'

#: Of the document itself.
TOP = ('name', 'version', 'services', 'networks', 'volumes', 'configs',
       'secrets')

#: Keys of a service and why they are refused.
REFUSED = {
    'annotations': 'use labels',
    'blkio_config': GRANTED, 'cgroup': NEVER, 'cgroup_parent': NEVER,
    'cpu_count': 'use cpus or a flavor', 'cpu_percent': GRANTED,
    'cpu_period': GRANTED, 'cpu_quota': GRANTED, 'cpu_rt_period': NEVER,
    'cpu_rt_runtime': NEVER, 'cpu_shares': GRANTED, 'cpuset': GRANTED,
    'credential_spec': 'is for Windows',
    'device_cgroup_rules': GRANTED, 'devices': GRANTED,
    'dns_opt': 'set them in the image',
    'domainname': 'set the dns_domain of the network in Neutron',
    'driver_opts': 'choose Neutron networks',
    'env_file': models.NORMALISE, 'extends': models.NORMALISE,
    'label_file': models.NORMALISE,
    'external_links': 'use a network that both stacks are on',
    'gpus': GRANTED, 'ipc': NEVER, 'isolation': 'is for Windows',
    'mac_address': 'make the port beforehand and use a template',
    'mem_swappiness': 'the flavor decides on swap',
    'memswap_limit': 'the flavor decides on swap',
    'models': 'run the model as a service',
    'oom_kill_disable': NEVER, 'pid': NEVER, 'pids_limit': GRANTED,
    'post_start': 'start it from the entry point',
    'pre_stop': 'handle the stop signal in the process',
    'privileged': GRANTED, 'provider': 'use a resource of Heat',
    'runtime': GRANTED, 'storage_opt': 'the flavor decides on the disk',
    'use_api_socket': NEVER, 'userns_mode': GRANTED, 'uts': NEVER,
    'volumes_from': 'give both services their volumes',
}

#: Of a service, the same as of a container.
SAME = ('working_dir', 'init', 'tty', 'stdin_open', 'read_only', 'cap_add',
        'cap_drop', 'sysctls', 'labels', 'stop_signal', 'oom_score_adj',
        'stop_grace_period')
LISTS = ('group_add', 'dns', 'dns_search', 'expose')
#: Of x-nova, the same as of a container.
OURS = ('wait_for', 'wait_timeout', 'environment_secrets',
        'crash_dump_signal')

#: Read further below, or without a meaning here.
READ = ('attach', 'build', 'command', 'configs', 'container_name', 'cpus',
        'depends_on', 'deploy', 'develop', 'entrypoint', 'environment',
        'extra_hosts', 'healthcheck', 'hostname', 'image', 'links',
        'logging', 'mem_limit', 'mem_reservation', 'network_mode',
        'networks', 'platform', 'ports', 'profiles', 'pull_policy',
        'restart', 'scale', 'secrets', 'security_opt', 'shm_size', 'tmpfs',
        'ulimits', 'user', 'volumes', 'x-nova')


#: What is read of the mappings below a service.
BELOW = {
    'deploy': ('mode', 'endpoint_mode', 'replicas', 'placement', 'resources',
               'restart_policy', 'update_config', 'labels'),
    'deploy.placement': ('constraints', 'preferences',
                         'max_replicas_per_node'),
    'deploy.resources': ('limits', 'reservations'),
    'deploy.resources.limits': ('cpus', 'memory'),
    'deploy.resources.reservations': ('devices',),
    'deploy.restart_policy': ('condition', 'max_attempts'),
    'deploy.update_config': ('parallelism', 'delay', 'order'),
    'logging': ('driver', 'options'),
}
