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

import unittest
from unittest import mock

from castellan.common import exception as castellan_exception

from nova_docker_driver import errors
from nova_docker_driver import keymanager
from nova_docker_driver import models


class TestSecret(unittest.TestCase):

    def setUp(self):
        super().setUp()
        api = self.enterContext(mock.patch.object(
            keymanager.barbican_key_manager, 'BarbicanKeyManager'))
        self.get = api.return_value.get

    def test_bytes_and_texts(self):
        for content in (b'x', 'x'):
            self.get.return_value.get_encoded.return_value = content
            self.assertEqual(b'x', keymanager.secret('context', 'id'))
        self.get.assert_called_with('context', 'id')

    def test_a_refusal_has_a_reason(self):
        for error in (castellan_exception.Forbidden, TypeError('canary')):
            self.get.side_effect = error
            name = getattr(error, '__name__', type(error).__name__)
            with self.assertRaisesRegex(errors.SecretUnavailable, name
                                        ) as caught:
                keymanager.secret('context', 'id')
            self.assertNotIn('canary', str(caught.exception))

    def test_one_without_a_payload_is_none(self):
        self.get.return_value.get_encoded.return_value = None
        with self.assertRaisesRegex(errors.SecretUnavailable, 'no payload'):
            keymanager.secret('context', 'id')


class TestVariables(unittest.TestCase):

    TENANT = models.TenantSpec(environment={'MODE': 'live'},
                               environment_secrets={'PASSWORD': 'id'})

    def setUp(self):
        super().setUp()
        self.secrets = mock.Mock(return_value='pässword'.encode())
        self.context = mock.Mock(project_id='project')

    def resolved(self, tenant=TENANT):
        return keymanager.with_secrets(tenant, 'project', self.context,
                                       self.secrets)

    def test_they_hold_what_the_requester_may_read(self):
        self.assertEqual({'MODE': 'live', 'PASSWORD': 'pässword'},
                         self.resolved().environment)
        self.secrets.assert_called_once_with(self.context, 'id')
        # Nobody else's specification has changed.
        self.assertEqual({'MODE': 'live'}, self.TENANT.environment)

    def test_nobody_is_asked_for_none(self):
        tenant = models.TenantSpec()
        self.assertIs(tenant, self.resolved(tenant))
        self.secrets.assert_not_called()

    def test_nobody_reads_them_for_another_project(self):
        self.context.project_id = 'admin'
        with self.assertRaisesRegex(errors.InvalidSpec,
                                    'PASSWORD: is read only'):
            self.resolved()
        self.secrets.assert_not_called()

    def test_they_are_not_shown(self):
        self.assertNotIn('pässword', repr(self.resolved()))

    def test_refusals_name_the_variable_and_never_the_value(self):
        for content, reason in ((b'canary\xff', 'is not UTF-8'),
                                (b'canary\0', 'has a NUL character'),
                                (b'canary' * 40_000, 'is longer than')):
            self.secrets.return_value = content
            with self.assertRaisesRegex(
                    errors.InvalidSpec,
                    f'environment_secrets.PASSWORD: {reason}') as caught:
                self.resolved()
            self.assertNotIn('canary', str(caught.exception))

    def test_one_that_is_not_to_be_had(self):
        self.secrets.side_effect = errors.SecretUnavailable('Forbidden')
        with self.assertRaisesRegex(
                errors.InvalidSpec, 'PASSWORD: Forbidden'):
            self.resolved()
