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

"""Snapshots of real containers, and servers that are made of them."""

from unittest import mock

from tests import conservation
from tests.functional import base

CANARY = 'canary-3f7b'


class TestSnapshot(base.ContainerCase):

    def snapshot(self, instance):
        self.lifecycle.take_snapshot(None, instance, [], 'i', mock.Mock())
        # The tag alone: its image may be in use.
        conservation.remove_images(self.client, base.IMAGE_ID)

    def test_another_server_has_the_files(self):
        instance = self.spawn(
            'command: [sh, -c, "echo precious > /data; sleep 600"]\n'
            f'environment: {{PASSWORD: {CANARY}}}\n'
            f'labels: {{team: {CANARY}}}\n'
            f'secrets: [{{target: key, content: {CANARY}}}]')
        images = {image['Id'] for image in self.client.images()}
        before = self.lifecycle.inspect(instance).pid
        self.snapshot(instance)
        # It was frozen, not ended; and the Engine has no image more.
        self.assertEqual(('running', before), (
            self.lifecycle.inspect(instance).status,
            self.lifecycle.inspect(instance).pid))
        self.assertLessEqual({image['Id'] for image in self.client.images()},
                             images)
        self.assertNotIn(CANARY.encode(), self.glance.content)
        self.assertNotIn(b'org.openstack.nova-docker', self.glance.content)
        other = self.spawn()
        self.assertEqual('precious', self.run_inside(
            other, 'cat', '/data').strip())
        self.addCleanup(self.lifecycle.destroy, other, [])

    def test_a_snapshot_of_a_snapshot(self):
        instance = self.spawn(
            'command: [sh, -c, "echo one > /one; sleep 600"]')
        self.snapshot(instance)
        second = self.spawn(
            'command: [sh, -c, "echo two > /two; rm /one; sleep 600"]')
        self.snapshot(second)
        third = self.spawn()
        self.assertEqual('two', self.run_inside(third, 'cat', '/two').strip())
        self.assertIn('No such', self.run_inside(third, 'cat', '/one'))
