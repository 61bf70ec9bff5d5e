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

"""What tests of Compose files have in common."""

import unittest

from heat_plugins.compose import documents
from heat_plugins.compose import models
from heat_plugins.compose import plans
from heat_plugins.compose import templates

FLAVORS = (plans.Flavor('large', 4, 4096),
           plans.Flavor('tiny', 1, 64),
           plans.Flavor('small', 1, 256))
CHOICES = plans.Choices(flavors=FLAVORS)


def service(**keys):
    return {'services': {'web': {'image': 'web', **keys}}}


def web(escaped=True, **keys):
    return documents.read(service(**keys), escaped).services['web']


def template(document, **choices):
    return templates.make(
        documents.read(document),
        plans.Choices(flavors=FLAVORS, **choices))


class ComposeCase(unittest.TestCase):

    def assertRefused(self, where, document, **choices):
        with self.assertRaises(models.Refused) as caught:
            template(document, **choices)
        self.assertIn(where, [problem.where for problem
                              in caught.exception.problems],
                      caught.exception)
