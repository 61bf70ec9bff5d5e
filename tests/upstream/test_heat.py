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

"""Heat's own tests of what we build on, with our types loaded."""

from pathlib import Path
import sys
import unittest

from heat.common import config  # noqa: F401
from heat.engine import resources
from heat.tests import common
from heat.tests.convergence import test_converge
from heat.tests.openstack.nova import test_server
from heat.tests import test_convg_stack
from heat.tests import test_plugin_loader
from heat.tests import test_resource
from heat.tests import test_stack_resource
from oslo_config import cfg
import testtools

from heat_plugins import clients

#: Of servers and their updates, convergence, and what groups are made of.
MODULES = (test_server, test_converge, test_convg_stack, test_plugin_loader,
           test_resource, test_stack_resource)

#: It reads Heat's own templates, which a wheel does not have in that place.
NEEDS_A_CHECKOUT = 'test_no_resource_properties_required_default'

# As an operator does, before anything of Heat's engine is loaded; the wheel
# has Heat's own environment where its tests do not look for it.
cfg.CONF.set_default('plugin_dirs', [clients.LOADER])
cfg.CONF.set_default('environment_dir',
                     str(Path(sys.prefix) / 'etc/heat/environment.d'))
resources.initialise()


class TestOurs(common.HeatTestCase):

    def test_our_types_are_loaded(self):
        known = set(resources.global_env().get_types())
        self.assertLessEqual(
            {'OS::NovaDocker::Container', 'OS::NovaDocker::ContainerGroup',
             'OS::NovaDocker::Image', 'OS::Nova::Server'}, known)


def load_tests(loader: unittest.TestLoader, tests: unittest.TestSuite,
               pattern: str) -> unittest.TestSuite:
    for module in MODULES:
        tests.addTests(test for test in testtools.iterate_tests(
            loader.loadTestsFromModule(module))
            if not test.id().endswith('.' + NEEDS_A_CHECKOUT))
    return tests
