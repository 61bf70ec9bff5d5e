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

extensions = ['oslo_config.sphinxext']
project = 'nova-docker-driver'
master_doc = 'index'
html_theme = 'alabaster'


# -- the tables of keys, from what the driver itself reads -------------------

def _table(head, rows):
    lines = ['.. list-table::', '   :header-rows: 1', '   :widths: 25 75', '']
    for key, text in (head, *rows):
        lines += [f'   * - {key}', f'     - {text}']
    return '\n'.join(lines) + '\n'


def _write_tables():
    import json
    from pathlib import Path

    from nova_docker_driver import composekeys
    root = Path(composekeys.__file__).parent
    schema = json.loads((root / 'container_spec.schema.json').read_text())
    target = Path(__file__).parent / '_generated'
    target.mkdir(exist_ok=True)
    for name, head, rows in (
            ('honoured', ('key', 'meaning'), (
                (f'``{key}``', entry['description'])
                for key, entry in schema['properties'].items())),
            ('operators', ('key', 'granted by'), (
                (f'``{key}``', text)
                for key, text in composekeys.OPERATORS.items())),
            ('elsewhere', ('key', 'instead'), (
                (f'``{key}``', text)
                for key, text in composekeys.ELSEWHERE.items()))):
        text = _table(head, rows).replace('quota:disk_*', '``quota:disk_*``')
        (target / f'{name}.txt').write_text(text)


_write_tables()
