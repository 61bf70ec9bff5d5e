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

"""Images from registries, for those whom the operator lets have them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
import contextlib
import dataclasses
import json
from typing import Any

from oslo_log import log as logging

from nova_docker_driver import credentials
from nova_docker_driver import engine
from nova_docker_driver import errors
from nova_docker_driver import flights
from nova_docker_driver import imageconfig
from nova_docker_driver import imagemodels
from nova_docker_driver import keymanager
from nova_docker_driver import models
from nova_docker_driver import names
from nova_docker_driver import references

LOG = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Pinned:
    """A reference that has become one image for ever."""

    #: With its digest.
    reference: str
    #: The tag of ours.
    tag: str
    #: What the registry wants to see; never logged.
    authorization: Mapping[str, Any] = dataclasses.field(
        default_factory=dict, repr=False)


class Registry:
    """Registries, through the Engine."""

    def __init__(self, engine_port: engine.Engine,
                 terms: imagemodels.Terms,
                 rules: imagemodels.RegistryRules,
                 secrets: keymanager.SecretStore) -> None:
        """Asks nobody yet.

        :param secrets: answers a secret of the requester's in Barbican
        """
        self._engine = engine_port
        self._terms = terms
        self._rules = rules
        self._secrets = secrets

    def resolve(self, request: imagemodels.Request, secret: str = ''
                ) -> Pinned:
        """The image that a reference names now, or named for this server.

        The registry is asked each time: that the image is here already gives
        nobody a right to it.

        :param secret: id of the requester's own credentials in Barbican
        :raises InvalidImage: if the requester may not have it
        """
        try:
            reference = references.parse(request.reference)
        except ValueError as error:
            raise errors.InvalidImage(
                f'{request.reference[:80]!r}: {error}') from None
        if not references.is_admitted(reference, self._rules.allowed):
            raise errors.InvalidImage(
                f'{reference.name} is not among the registries that the '
                'operator allows')
        authorization = self._authorization(reference, request,
                                            secret)
        known = reference.digest
        if not known and request.pull_policy != 'always':
            known = request.pinned.get(str(reference), '')
        asked = reference.pinned(known) if known else str(reference)
        with _answers(asked):
            digest, architectures = self._engine.distribution(
                asked, authorization)
        if self._terms.architecture and architectures and (
                self._terms.architecture not in architectures):
            raise errors.InvalidImage(
                f'{reference} is for {", ".join(sorted(architectures))}; '
                f'this host is {self._terms.architecture}')
        request.pin(str(reference), digest)
        pinned = reference.pinned(digest)
        return Pinned(pinned, names.reference_tag(pinned), authorization)

    def _authorization(self, reference: references.Reference,
                       request: imagemodels.Request, secret: str
                       ) -> Mapping[str, Any]:
        """The requester's own credentials, or those meant for them."""
        if secret:
            try:
                return _parsed(self._secrets(request.context, secret))
            except errors.SecretUnavailable as error:
                # Another host would not get it either.
                raise errors.InvalidImage(
                    f'the registry\'s secret: {error}') from error
        for credential in self._rules.credentials:
            if references.is_admitted(reference, credential.references) and (
                    {'*', request.project} & set(credential.projects)):
                if credential.config_file:
                    return credentials.read(credential.config_file,
                                            reference.domain)
                return {'username': credential.username,
                        'password': credential.password}
        return {}

    def pull(self, pinned: Pinned,
             flight: flights.Flight[models.EngineImage]
             ) -> models.EngineImage:
        """The Engine has the image under our tag afterwards, and no other.

        :raises InvalidImage: if it is not to be run
        :raises TransferFailed: if it does not come
        """
        LOG.info('Pulling %s', pinned.reference)
        foreign = self._known(pinned.reference)
        try:
            self._pull(pinned, flight)
            self._judge(pinned.reference)
            self._engine.tag(pinned.reference, pinned.tag)
        finally:
            if foreign is None:
                self._engine.remove_image(pinned.reference)
        return self._engine.image(pinned.tag)

    def _known(self, reference: str) -> models.EngineImage | None:
        with contextlib.suppress(errors.NotFound):
            return self._engine.image(reference)
        return None

    def _pull(self, pinned: Pinned,
              flight: flights.Flight[models.EngineImage]) -> None:
        bound, sizes = self._terms.bounds.size, {}
        with _answers(pinned.reference):
            for layer, size in self._engine.pull(
                    pinned.reference, pinned.authorization,
                    self._rules.pull_timeout, self._rules.stall_timeout):
                flight.check()
                sizes[layer] = size
                if sum(sizes.values()) > bound:
                    raise errors.InvalidImage(
                        f'it is larger than {bound} bytes')

    def _judge(self, reference: str) -> None:
        """:raises InvalidImage: if the image is not to be run

        The Engine has it as it is: nothing can be rewritten.
        """
        settings = self._engine.image_settings(reference)
        labels = settings.get('Labels') or {}
        for label in labels:
            if names.is_reserved_label(label):
                raise errors.InvalidImage(f'it has the reserved label {label}')
        imageconfig.settings(settings, self._terms.bounds)
        image = self._engine.image(reference)
        if image.size > self._terms.bounds.size:
            raise errors.InvalidImage(
                f'it is larger than {self._terms.bounds.size} bytes')
        if len(image.layers) > self._terms.bounds.layers:
            raise errors.InvalidImage(
                f'it has {len(image.layers)} layers and may have '
                f'{self._terms.bounds.layers}')


@contextlib.contextmanager
def _answers(reference: str) -> Iterator[None]:
    """What the Engine says of a registry, as it concerns the requester."""
    try:
        yield
    except (errors.NotFound, errors.NotAuthorized) as error:
        raise errors.InvalidImage(
            f'the registry does not give {reference}: {error}') from error
    except errors.EngineTimeout as error:
        raise errors.TransferFailed(
            f'{reference} does not arrive: {error}') from error
    except errors.EngineUnavailable:
        raise
    except errors.EngineError as error:
        raise errors.TransferFailed(
            f'the registry of {reference} does not answer: {error}'
        ) from error


def _parsed(secret: bytes) -> Mapping[str, Any]:
    """:raises InvalidImage: if that is no pair of a name and a password"""
    try:
        found = json.loads(secret)
        return {'username': str(found['username']),
                'password': str(found['password'])}
    except (ValueError, TypeError, KeyError, RecursionError):
        raise errors.InvalidImage(
            'the registry\'s secret is not a JSON mapping with username and '
            'password') from None
