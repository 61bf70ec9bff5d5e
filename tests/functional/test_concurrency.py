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

"""Many threads do what they like to some servers; a model says what may be.

Actions on one server that overlap have no order: what the server is
afterwards must be what some order of them gives.
"""

from concurrent import futures
import itertools
import os
import sys

from hypothesis import HealthCheck
from hypothesis import Phase
from hypothesis import settings
from hypothesis import stateful
from hypothesis import strategies
from nova import exception

from nova_docker_driver import errors
from tests.functional import base

STEPS = 2000 if os.environ.get('NOVA_DOCKER_EXAMPLES') else 300
SERVERS, THREADS = 20, 32
#: Overlapping actions of one server: the orders of four are 24.
MOST = 4
PLAN = 30

ABSENT, RUNNING, PAUSED, STOPPED = 'absent', 'running', 'paused', 'exited'

#: What each action makes of each state; where it is not named it stays, and
#: the action is refused.
MODEL = {
    'spawn': dict.fromkeys((ABSENT, RUNNING, PAUSED, STOPPED), RUNNING),
    'destroy': dict.fromkeys((RUNNING, PAUSED, STOPPED), ABSENT),
    'power_off': {RUNNING: STOPPED, PAUSED: STOPPED},
    'power_on': {STOPPED: RUNNING},
    'reboot': {RUNNING: RUNNING, STOPPED: RUNNING, PAUSED: RUNNING},
    'pause': {RUNNING: PAUSED},
    'unpause': {PAUSED: RUNNING},
}

SPEC = 'command: [sh, -c, "trap exit TERM; sleep 600 & wait"]'


def outcomes(state, actions):
    """What a state can become by these actions, in any order."""
    found = set()
    for order in itertools.permutations(actions):
        now = state
        for action in order:
            now = MODEL[action].get(now, now)
        found.add(now)
    return found


class Servers(stateful.RuleBasedStateMachine):

    def __init__(self, case):
        super().__init__()
        self.case = case
        self.instances = [case.instance(SPEC) for _ in range(SERVERS)]
        self.states = [ABSENT] * SERVERS
        self.pending = [[] for _ in range(SERVERS)]
        self.pool = futures.ThreadPoolExecutor(THREADS)
        self.acted = 0

    # A run may consist of one rule: so one rule is many actions.
    @stateful.rule(plan=strategies.lists(strategies.tuples(
        strategies.integers(0, SERVERS - 1),
        strategies.sampled_from(sorted(MODEL))),
        min_size=PLAN, max_size=2 * PLAN))
    def act(self, plan):
        for number, action in plan:
            self.begin(number, action)

    def begin(self, number, action):
        self.acted += 1
        if len(self.pending[number]) == MOST:
            self.settle()
        self.pending[number].append((action, self.pool.submit(
            getattr(self, f'do_{action}'), self.instances[number])))

    @stateful.rule()
    def settle(self):
        """Everything ends, in time, and as the model says."""
        for number, pending in enumerate(self.pending):
            for action, future in pending:
                error = future.exception(timeout=120)
                if error is not None and not isinstance(error, (
                        exception.NovaException, errors.EngineError)):
                    raise AssertionError(f'{action} broke') from error
            found = self.found(self.instances[number])
            self.case.assertIn(found, outcomes(
                self.states[number], [action for action, _ in pending]))
            self.states[number] = found
            pending.clear()

    def teardown(self):
        self.settle()
        self.pool.shutdown()
        for instance in self.instances:
            self.case.lifecycle.destroy(instance, [])
        self.case.acted += self.acted

    def found(self, instance):
        try:
            return self.case.lifecycle.inspect(instance).status
        except exception.InstanceNotFound:
            return ABSENT

    # -- the actions --------------------------------------------------------

    def do_spawn(self, instance):
        self.case.spawn_instance(instance)

    def do_destroy(self, instance):
        self.case.lifecycle.destroy(instance, [])

    def do_power_off(self, instance):
        self.case.lifecycle.power_off(instance, 0)

    def do_power_on(self, instance):
        self.case.lifecycle.power_on(instance, [])

    def do_reboot(self, instance):
        self.case.lifecycle.reboot(None, instance, [], False, 5,
                                   self.case.policy)

    def do_pause(self, instance):
        self.case.lifecycle.pause(instance)

    def do_unpause(self, instance):
        self.case.lifecycle.unpause(instance)


class TestConcurrency(base.ContainerCase):

    def test_any_actions_by_many_threads(self):
        self.acted = 0
        stateful.run_state_machine_as_test(
            lambda: Servers(self), settings=settings(
                max_examples=STEPS // PLAN, stateful_step_count=3,
                deadline=None, database=None, phases=[Phase.generate],
                suppress_health_check=list(HealthCheck)))
        print(f'{self.acted} actions on {SERVERS} servers', file=sys.stderr)
        self.assertGreaterEqual(self.acted, STEPS)
