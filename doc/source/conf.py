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


def _honoured(schema, of_images):
    """Each key and the keys below it: what it is, and who may say it."""
    for key, entry in schema['properties'].items():
        image = ('' if key in of_images else
                 ' *Not a property of an image.*')
        yield f'``{key}``', entry['description'] + image
        for below, more in entry.get('properties', {}).items():
            if 'description' in more:
                yield f'``{key}.{below}``', more['description']


def _matrix(path):
    import yaml
    rows = yaml.safe_load(path.read_text())
    lines = ['.. list-table::', '   :header-rows: 1',
             '   :widths: 40 12 48', '',
             '   * - feature', '     - status', '     - how, or why not']
    for row in rows:
        lines += [f'   * - {row["title"]} (``{row["feature"]}``)',
                  f'     - {row["status"]}', f'     - {row["reason"]}']
    complete = sum(row['status'] == 'complete' for row in rows)
    partial = sum(row['status'] == 'partial' for row in rows)
    return (f'{complete} of {len(rows)} are complete, {partial} partial.\n\n'
            + '\n'.join(lines).replace('quota:disk_*', '``quota:disk_*``')
            + '\n')


def _properties(schema):
    """Each property and those below it, as Heat tells of them."""
    from heat.engine import properties
    for name, entry in properties.schemata(schema).items():
        if not entry.implemented:
            continue
        yield f'``{name}``', _told(entry, *(
            [] if entry.update_allowed else ['A change makes another one.']))
        inner = entry.schema
        if inner is not None and entry.type == properties.Schema.LIST:
            inner = inner['*'].schema if '*' in inner else None
        for below, more in sorted((inner or {}).items()):
            if isinstance(more, properties.Schema) and more.description:
                yield f'``{name}.{below}``', _told(more)


def _told(entry, *notes):
    from heat.engine import constraints
    notes = list(notes)
    if entry.required:
        notes.append('Required.')
    notes += [f'One of: {", ".join(map(str, one.allowed))}.'
              for one in entry.constraints
              if isinstance(one, constraints.AllowedValues)]
    if entry.default not in (None, '', [], {}):
        notes.append(f'Default: {entry.default}.')
    return ' '.join([str(entry.description or ''),
                     *(f'*{note}*' for note in notes)])


def _write_heat(target):
    # Before any module of Heat is imported, which would choose eventlet.
    from oslo_service import backend
    backend.init_backend(backend.BackendType.THREADING)

    from heat_plugins.resources import container
    from heat_plugins.resources import group
    from heat_plugins.resources import image
    from heat_plugins.resources import legacy
    from heat_plugins.compose import keys
    from heat_plugins import schemas
    for name, schema in (
            ('container', {**{key: container.Container.properties_schema[key]
                              for key in ('image', 'flavor_update_policy')},
                           **schemas.PROPERTIES}),
            ('group', group.ContainerGroup.properties_schema),
            ('image', image.Image.properties_schema),
            ('legacy', legacy.Container.properties_schema)):
        (target / f'{name}_properties.txt').write_text(_table(
            ('property', 'meaning'), _properties(schema)))
    for name, schema in (
            ('container', schemas.ATTRIBUTES),
            ('group', group.ContainerGroup.attributes_schema),
            ('image', image.Image.attributes_schema),
            ('legacy', legacy.Container.attributes_schema)):
        (target / f'{name}_attributes.txt').write_text(_table(
            ('attribute', 'meaning'), (
                (f'``{key}``', str(entry.description))
                for key, entry in schema.items())))
    (target / 'compose_refused.txt').write_text(_table(
        ('key', 'why, or what instead'), (
            (f'``{key}``', reason)
            for key, reason in sorted(keys.REFUSED.items()))))


def _write_tables():
    import json
    from pathlib import Path

    from nova_docker_driver import composekeys
    from nova_docker_driver import specvalues
    from nova_docker_driver import userspec
    root = Path(composekeys.__file__).parent
    schema = json.loads((root / 'container_spec.schema.json').read_text())
    target = Path(__file__).parent / '_generated'
    target.mkdir(exist_ok=True)
    for name, head, rows in (
            ('honoured', ('key', 'meaning'), (
                _honoured(schema, set(schema['properties'])
                          - userspec.NOT_OF_IMAGES))),
            ('operators', ('key', 'granted by'), (
                (f'``{key}``', text or 'nobody: it would weaken the '
                 'isolation of the host and its servers')
                for key, text in composekeys.OPERATORS.items())),
            ('elsewhere', ('key', 'instead'), (
                (f'``{key}``', text)
                for key, text in composekeys.ELSEWHERE.items()))):
        text = _table(head, rows).replace('quota:disk_*', '``quota:disk_*``')
        (target / f'{name}.txt').write_text(text)
    (target / 'sysctls.txt').write_text(''.join(
        f'* ``{name}``\n' for name in sorted(specvalues.SAFE_SYSCTLS)))
    _write_heat(target)
    (target / 'matrix.txt').write_text(_matrix(
        Path(__file__).with_name('support-matrix.yaml')))


_write_tables()
