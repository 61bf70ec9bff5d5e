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

"""What of netns needs no privileges: who goes where, and comes back."""

import contextlib
import os
import unittest
from unittest import mock

from nova_docker_driver import netns

HERE = '/proc/thread-self/ns/net'


class TestSocketInside(unittest.TestCase):

    def setUp(self):
        self.entered = []
        self.enterContext(mock.patch.object(
            netns._LIBC, 'setns', create=True, side_effect=self.enter))

    def enter(self, handle, kind):
        self.assertEqual(os.CLONE_NEWNET if hasattr(os, 'CLONE_NEWNET')
                         else 0x40000000, kind)
        self.entered.append(os.readlink(f'/proc/self/fd/{handle}'))
        return 0

    def test_there_and_back(self):
        with contextlib.closing(netns._socket_inside('/proc/self/ns/uts')):
            pass
        self.assertEqual(['uts', 'net'],
                         [path.split(':')[0] for path in self.entered])

    def test_back_though_there_is_no_socket(self):
        with mock.patch.object(netns.socket, 'socket', side_effect=OSError):
            with self.assertRaises(OSError):
                netns._socket_inside('/proc/self/ns/uts')
        self.assertEqual(os.readlink(HERE), self.entered[-1])

    def test_a_namespace_that_is_gone(self):
        with self.assertRaises(FileNotFoundError):
            netns._socket_inside('/nonexistent')
        self.assertEqual([], self.entered)

    def test_a_namespace_that_cannot_be_entered(self):
        with mock.patch.object(netns._LIBC, 'setns', create=True,
                               return_value=-1):
            with self.assertRaises(OSError):
                netns._socket_inside('/proc/self/ns/uts')
