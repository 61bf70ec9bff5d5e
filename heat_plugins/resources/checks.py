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

"""What is wrong with the properties of a container, before it is made."""

from __future__ import annotations

from typing import Any

from heat.common import exception
from heat.common.i18n import _
from heat.engine import constraints
from heat.engine import function
from keystoneauth1 import exceptions as ks_exceptions

from heat_plugins import translate


def check(resource: Any) -> None:
    """It can be made with its properties, as far as is known.

    :raises StackValidationFailed: names the property and the reason
    """
    props = resource.properties
    for name, reason in translate.problems(props):
        raise _invalid(name, reason)
    _check_secrets(resource)
    if not (props['image'] or props['image_ref']):
        raise _invalid('image', _('either this or image_ref is needed'))
    if not props['image_ref'] and props['pull_policy']:
        raise _invalid('pull_policy', _('it is for image_ref'))
    size = len(translate.specification(props).encode())
    if size > translate.MAXIMUM_SIZE:
        raise _invalid('files', _(
            'with command, environment and the like it takes %(size)d bytes; '
            'Nova accepts %(most)d') % {
                'size': size, 'most': translate.MAXIMUM_SIZE})


def _invalid(name: str, reason: str) -> exception.StackValidationFailed:
    return exception.StackValidationFailed(
        message=f'Property {name}: {reason}')


def _check_secrets(resource: Any) -> None:
    if not resource.stack.strict_validate:
        # In a nested stack that is not made yet, names stand for ids.
        return
    given = resource.properties.data.get('environment_secrets')
    if any(needed.action == needed.INIT
           for needed in function.dependencies(given)):
        # They will be there when the container is made.
        return
    readable = constraints.CustomConstraint('barbican.secret')
    for name, secret in translate.secrets(resource.properties).items():
        try:
            if not translate.is_secret(secret):
                raise ValueError(_('it is not the id of a secret'))
            readable.validate(secret, context=resource.context)
        except (ValueError, ks_exceptions.EndpointNotFound) as error:
            raise _invalid('environment_secrets',
                           f'{name}: {error}') from error
