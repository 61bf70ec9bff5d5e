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

"""Secrets that tenants keep in Barbican, read with their own rights."""

from __future__ import annotations

from collections.abc import Callable
import dataclasses
from typing import Any, TypeAlias

from castellan.key_manager import barbican_key_manager
from nova import conf as nova_conf
from nova import context as nova_context

from nova_docker_driver import errors
from nova_docker_driver import models
from nova_docker_driver import specvalues

CONF = nova_conf.CONF

#: What a requester has under an id; raises SecretUnavailable.
SecretStore: TypeAlias = Callable[[Any, str], bytes]


def secret(context: nova_context.RequestContext, secret_id: str) -> bytes:
    """What Barbican has under an id, for the one who asks.

    :raises SecretUnavailable: if it gives them nothing
    """
    # Whatever Nova's own keys are in: tenants have Barbican alone.
    barbican = barbican_key_manager.BarbicanKeyManager(CONF)
    try:
        found = barbican.get(context, secret_id).get_encoded()
    except Exception as error:
        # Errors of four libraries arrive here, and a tenant can cause some.
        raise errors.SecretUnavailable(
            'the key manager does not give it: '
            f'{type(error).__name__}') from error
    if found is None:
        raise errors.SecretUnavailable('it has no payload')
    return found if isinstance(found, bytes) else str(found).encode()


def with_secrets(tenant: models.TenantSpec, project: str,
                 context: nova_context.RequestContext, secrets: SecretStore
                 ) -> models.TenantSpec:
    """What a tenant asks for, with the values of the secrets it names.

    They are read for each container that is made, and kept by the Engine
    only.

    :param project: whose server it is
    :raises InvalidSpec: if one is not to be had, or cannot be a variable
    """
    if not tenant.environment_secrets:
        return tenant
    found = dict(tenant.environment)
    for name, secret_id in tenant.environment_secrets.items():
        if context.project_id != project:
            # The ids are the tenant's. An administrator who moves the server
            # must not fetch for them what they may not read.
            raise specvalues.refused_secret(
                name, 'is read only for members of the server\'s project')
        try:
            value = secrets(context, secret_id)
        except errors.SecretUnavailable as error:
            # Another host would not get it either.
            raise specvalues.refused_secret(name, str(error)) from error
        found[name] = specvalues.secret_variable(name, value)
    return dataclasses.replace(tenant, environment=found)
