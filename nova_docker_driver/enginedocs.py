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

"""The Engine's documents: ours to it, and its answers to values. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
import dataclasses
from typing import Any

from nova_docker_driver import hostmodels
from nova_docker_driver import models
from nova_docker_driver import names


def container_config(spec: models.ContainerSpec) -> dict[str, Any]:
    """The Engine's document for a container. Pure."""
    return {
        'Image': spec.image,
        'Labels': dict(spec.labels),
        'Hostname': spec.hostname or '',
        'Entrypoint': _words(spec.entrypoint),
        'Cmd': None if spec.command is None else list(spec.command),
        'Env': list(spec.environment),
        'WorkingDir': spec.working_dir or '',
        'User': spec.user or '',
        'Tty': spec.tty,
        'OpenStdin': spec.stdin_open,
        'StopSignal': spec.stop_signal or '',
        'StopTimeout': spec.stop_timeout,
        'Healthcheck': _healthcheck(spec.healthcheck),
        'Volumes': {path: {} for path in spec.volumes},
        'HostConfig': _host_config(spec),
    }


def _host_config(spec: models.ContainerSpec) -> dict[str, Any]:
    return {
        **_bounds(spec),
        'NetworkMode': spec.network_mode,
        'Privileged': spec.privileged,
        'CapDrop': list(spec.cap_drop),
        'CapAdd': list(spec.cap_add),
        'GroupAdd': list(spec.group_add),
        'SecurityOpt': list(spec.security_opt),
        'ReadonlyRootfs': spec.read_only,
        'IpcMode': 'private',
        'CgroupnsMode': 'private',
        'Sysctls': dict(spec.sysctls),
        'RestartPolicy': {'Name': spec.restart.name,
                          'MaximumRetryCount': spec.restart.attempts},
        'Init': spec.init,
        'Mounts': [{'Type': 'bind', 'Source': mount.source,
                    'Target': mount.target, 'ReadOnly': mount.read_only}
                   for mount in spec.mounts],
        'Tmpfs': dict(spec.tmpfs),
        'LogConfig': {'Type': 'json-file', 'Config': {
            'max-size': str(spec.log_max_size),
            'max-file': str(spec.log_max_files)}},
        **_granted(spec),
    }


def _bounds(spec: models.ContainerSpec) -> dict[str, Any]:
    return {
        'Memory': spec.memory,
        'MemoryReservation': spec.mem_reservation,
        'MemorySwap': spec.memory + spec.swap,
        'NanoCpus': spec.nano_cpus,
        'CpuShares': spec.cpu_shares,
        'CpuPeriod': spec.cpu_period,
        'CpuQuota': spec.cpu_quota,
        'CpusetCpus': spec.cpuset_cpus,
        'CpusetMems': spec.cpuset_mems,
        'PidsLimit': spec.pids_limit,
        'OomScoreAdj': spec.oom_score_adj,
        'ShmSize': spec.shm_size,
        'Ulimits': [{'Name': limit.name, 'Soft': limit.soft,
                     'Hard': limit.hard} for limit in spec.ulimits],
    }


def _granted(spec: models.ContainerSpec) -> dict[str, Any]:
    """What few servers have, and what an Engine may not know."""
    found: dict[str, Any] = {}
    if spec.devices:
        found['Devices'] = [{'PathOnHost': path, 'PathInContainer': path,
                             'CgroupPermissions': 'rw'}
                            for path in spec.devices]
    if spec.userns_mode:
        found['UsernsMode'] = spec.userns_mode
    if spec.runtime:
        found['Runtime'] = spec.runtime
    if spec.disk:
        found['StorageOpt'] = {'size': str(spec.disk)}
    if spec.gpus:
        found['DeviceRequests'] = [{'Driver': 'nvidia',
                                    'DeviceIDs': list(spec.gpus),
                                    'Capabilities': [['gpu']]}]
    if spec.block_limits is not None:
        found.update(_block_limits(spec.block_limits))
    return found


def _block_limits(limits: models.BlockLimits) -> dict[str, Any]:
    return {key: [{'Path': limits.device, 'Rate': rate}] for key, rate in (
        ('BlkioDeviceReadBps', limits.read_bytes),
        ('BlkioDeviceWriteBps', limits.write_bytes),
        ('BlkioDeviceReadIOps', limits.read_operations),
        ('BlkioDeviceWriteIOps', limits.write_operations)) if rate}


def _words(entrypoint: tuple[str, ...] | None) -> list[str] | None:
    if entrypoint is None:
        return None
    # The Engine takes an empty list for "the image's own".
    return list(entrypoint) or ['']


def _healthcheck(check: models.Healthcheck | None) -> dict[str, Any]:
    if check is None:
        # An image's own check costs the host, outside of any limit.
        return {'Test': ['NONE']}
    return {'Test': list(check.test), 'Interval': check.interval,
            'Timeout': check.timeout, 'StartPeriod': check.start_period,
            'Retries': check.retries}


def facts(info: Mapping[str, Any]) -> hostmodels.EngineFacts:
    """What the Engine says about itself and its host."""
    status = dict(entry for entry in info.get('DriverStatus') or ()
                  if len(entry) == 2)
    options = [dict(part.partition('=')[::2] for part in option.split(','))
               for option in info.get('SecurityOptions') or ()]
    return hostmodels.EngineFacts(
        version=info['ServerVersion'], root_dir=info['DockerRootDir'],
        architecture=info['Architecture'], cpus=info['NCPU'],
        memory=info['MemTotal'], storage_driver=info.get('Driver', ''),
        disk_quota=_has_disk_quota(info.get('Driver', ''), status),
        runtimes=tuple(sorted(info.get('Runtimes') or ())),
        security_options=tuple(option['name'] for option in options
                               if 'name' in option),
        live_restore=bool(info.get('LiveRestoreEnabled')),
        cgroup_version=str(info.get('CgroupVersion') or '1'),
        warnings=tuple(info.get('Warnings') or ()))


def _has_disk_quota(driver: str, status: Mapping[str, str]) -> bool:
    """Whether StorageOpt size works; the Engine would refuse it otherwise."""
    if driver in ('btrfs', 'zfs'):
        return True
    # XFS alone does not tell whether it is mounted with pquota; hostinfo
    # looks at the mount and has the last word.
    return driver == 'overlay2' and status.get('Backing Filesystem') == 'xfs'


def listed(entry: Mapping[str, Any]) -> models.Container:
    """A container as a list has it: less is known than by inspection."""
    # Of several names one is its own; the others are links of neighbours.
    own = [name for name in entry.get('Names') or ()
           if name.count('/') == 1]
    return models.Container(
        id=entry['Id'], name=own[0].lstrip('/') if own else '',
        labels=entry.get('Labels') or {}, status=entry['State'],
        image=entry.get('ImageID', ''))


def disk_usage(host: str, answer: Mapping[str, Any]
               ) -> list[models.DiskUsage]:
    """What the servers of one host have, of the Engine's whole account.

    What rescues a server writes into the server's files and its own; both
    count as the server's.
    """
    volumes = {entry['Name']: _volume_size(entry)
               for entry in answer.get('Volumes') or ()}
    found: dict[str, models.DiskUsage] = {}
    for entry in answer.get('Containers') or ():
        container = listed(entry)
        uuid = names.owner(container.name, container.labels)
        if (uuid is None or container.labels.get(names.HOST_LABEL) != host
                or container.labels[names.ROLE_LABEL] == names.ROLE_SANDBOX):
            continue
        usage = _usage(uuid, entry, volumes)
        found[uuid] = _together(found[uuid], usage) if uuid in found else usage
    return list(found.values())


def _usage(instance_uuid: str, entry: Mapping[str, Any],
           volumes: Mapping[str, int]) -> models.DiskUsage:
    own = [volumes.get(mount['Name'], 0) for mount in entry['Mounts']
           if mount['Type'] == 'volume']
    return models.DiskUsage(
        instance_uuid=instance_uuid, container_id=entry['Id'],
        running=entry['State'] in ('running', 'paused', 'restarting'),
        # Left out where it is 0.
        size=entry.get('SizeRw', 0) + sum(own),
        limit=int(entry['Labels'].get(names.DISK_LABEL, 0)))


def _together(one: models.DiskUsage, other: models.DiskUsage
              ) -> models.DiskUsage:
    running = one if one.running else other
    return dataclasses.replace(running, size=one.size + other.size)


def _volume_size(entry: Mapping[str, Any]) -> int:
    # -1 stands for a volume whose size the Engine cannot tell.
    return max(0, (entry.get('UsageData') or {}).get('Size', 0))


def inspected(entry: Mapping[str, Any]) -> models.Container:
    """A container as its inspection has it."""
    state = entry['State']
    return models.Container(
        id=entry['Id'], name=entry['Name'].lstrip('/'),
        labels=entry['Config'].get('Labels') or {}, status=state['Status'],
        exit_code=state.get('ExitCode', 0),
        oom_killed=state.get('OOMKilled', False),
        error=state.get('Error', ''),
        health=(state.get('Health') or {}).get('Status', ''),
        finished_at=state.get('FinishedAt', ''),
        namespace=entry['NetworkSettings'].get('SandboxKey', ''),
        image=entry['Image'],
        pid=state.get('Pid', 0), started_at=state.get('StartedAt', ''),
        restarts=entry.get('RestartCount', 0),
        tty=entry['Config'].get('Tty', False), root=_root(entry))


def _root(entry: Mapping[str, Any]) -> models.RootFs | None:
    graph = entry.get('GraphDriver')
    if not graph:
        return None
    return models.RootFs(graph['Name'], graph.get('Data') or {})


def image(entry: Mapping[str, Any]) -> models.EngineImage:
    """An image as its inspection has it."""
    config = entry.get('Config') or {}
    return models.EngineImage(
        id=entry['Id'], entrypoint=tuple(config.get('Entrypoint') or ()),
        command=tuple(config.get('Cmd') or ()), size=entry.get('Size', 0),
        layers=tuple((entry.get('RootFS') or {}).get('Layers') or ()))


def stored_images(entries: Iterable[Mapping[str, Any]]
                  ) -> list[models.StoredImage]:
    """Our tags in a list of images."""
    return [models.StoredImage(tag, entry['Id'], entry['Size'])
            for entry in entries for tag in entry.get('RepoTags') or ()
            if tag.startswith(names.IMAGE_NAMESPACE + '/')]


def event(entry: Mapping[str, Any]) -> models.Event | None:
    """What happened; None if it is of no container of ours."""
    attributes = entry['Actor']['Attributes']
    uuid = names.owner(attributes.get('name', ''), attributes)
    if uuid is None:
        return None
    code = attributes.get('exitCode')
    return models.Event(
        instance_uuid=uuid, role=attributes[names.ROLE_LABEL],
        container_id=entry['Actor']['ID'],
        # "health_status: healthy", "exec_die: true" ...
        action=entry['Action'].partition(':')[0], time=entry['timeNano'],
        exit_code=int(code) if code is not None else None)
