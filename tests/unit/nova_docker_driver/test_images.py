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

"""Archives and their way from Glance into the Engine."""

import hashlib
import io
import json
import tarfile
import threading
import unittest
from unittest import mock

from hypothesis import given
from hypothesis import strategies
from nova import exception

from lab import container_images
from nova_docker_driver import archive
from nova_docker_driver import errors
from nova_docker_driver import images
from nova_docker_driver import models
from nova_docker_driver import names
from nova_docker_driver import sandbox
from tests.unit.nova_docker_driver import fakes

CONFIG = json.dumps({'config': {'Cmd': ['sh']}}).encode()
TAG = names.image_tag(fakes.IMAGE_ID)


def members(**changes):
    values = {
        'c.json': CONFIG, 'l/layer.tar': b'x' * 700_000,
        'repositories': b'{"busybox": {"latest": "1"}}',
        'manifest.json': json.dumps([{
            'Config': 'c.json', 'RepoTags': ['busybox:latest', 'b:2'],
            'Layers': ['l/layer.tar']}]).encode()}
    return {**values, **changes}


def with_settings(settings):
    """An archive whose configuration has these settings."""
    return container_images.tar(members(**{'c.json': json.dumps(
        {'config': settings}).encode()}))


def chunks(content, size=65536):
    return [content[at:at + size] for at in range(0, len(content), size)]


def rewritten(content, checksum=None):
    verdict = archive.Verdict()
    output = b''.join(archive.rewrite(chunks(content), TAG, verdict,
                                      checksum))
    return output, verdict.image_id


class TestArchive(unittest.TestCase):

    def test_only_our_tag_is_left(self):
        output, image_id = rewritten(container_images.tar(members()))
        with tarfile.open(fileobj=io.BytesIO(output)) as found:
            self.assertEqual({'c.json', 'l/layer.tar', 'manifest.json'},
                             set(found.getnames()))
            manifest = json.load(found.extractfile('manifest.json'))
            self.assertEqual(b'x' * 700_000,
                             found.extractfile('l/layer.tar').read())
        self.assertEqual([{'Config': 'c.json', 'RepoTags': [TAG],
                           'Layers': ['l/layer.tar']}], manifest)
        self.assertEqual('sha256:' + hashlib.sha256(CONFIG).hexdigest(),
                         image_id)

    def test_the_checksum_is_compared_before_the_manifest_leaves(self):
        content = container_images.tar(members())
        good = hashlib.sha512(content).hexdigest()
        rewritten(content, ('sha512', good))
        seen = b''
        with self.assertRaisesRegex(errors.InvalidImage, 'checksum'):
            for chunk in archive.rewrite(
                    chunks(content[:-1] + b'\1'), TAG, archive.Verdict(),
                    ('sha512', good)):
                seen += chunk
        self.assertNotIn(b'manifest.json', seen)

    def test_refusals_have_reasons(self):
        manifest = json.loads(members()['manifest.json'])
        two = json.dumps(manifest * 2).encode()
        lost = json.dumps([{**manifest[0], 'Config': 'd.json'}]).encode()
        bare = json.dumps([{**manifest[0], 'Layers': ['m']}]).encode()
        reserved = json.dumps({'config': {'Labels': {
            names.INSTANCE_LABEL: fakes.UUID}}}).encode()
        escape = json.dumps({'config': {
            'WorkingDir': '/proc/self/fd/7'}}).encode()
        for change, reason in (
                ({'manifest.json': two}, 'exactly one'),
                ({'manifest.json': b'[1]'}, 'not understood'),
                ({'manifest.json': b'{'}, 'not JSON'),
                ({'manifest.json': lost}, 'configuration'),
                ({'manifest.json': bare}, 'layer'),
                ({'manifest.json': b'[' * 2 ** 21}, 'larger'),
                ({'c.json': reserved}, 'reserved label'),
                ({'c.json': escape}, 'working directory'),
                ({'../x': b''}, 'leads out'), ({'/x': b''}, 'leads out')):
            with self.assertRaisesRegex(errors.InvalidImage, reason):
                rewritten(container_images.tar(members(**change)))

    def test_members_that_are_no_files(self):
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE,
                     tarfile.FIFOTYPE):
            output = io.BytesIO()
            with tarfile.open(fileobj=output, mode='w') as outer:
                info = tarfile.TarInfo('layer.tar')
                info.type, info.linkname = kind, '/etc/passwd'
                outer.addfile(info)
            with self.assertRaisesRegex(errors.InvalidImage, 'neither'):
                rewritten(output.getvalue())

    def test_a_few_bytes_that_stand_for_many(self):
        """Sparse files, which tar would fill with zeros."""
        for headers in (
                {'GNU.sparse.major': '1', 'GNU.sparse.minor': '0',
                 'GNU.sparse.name': 'big', 'GNU.sparse.realsize': '1' * 12},
                {'GNU.sparse.map': '0,1', 'GNU.sparse.size': '1' * 12},
                {'GNU.sparse.map': '0,x'}):
            output = io.BytesIO()
            with tarfile.open(fileobj=output, mode='w',
                              format=tarfile.PAX_FORMAT) as outer:
                info = tarfile.TarInfo('layer.tar')
                info.pax_headers, info.size = headers, 512
                outer.addfile(info, io.BytesIO(b'1\n0\n1\n'.ljust(512, b'\0')))
            with self.assertRaises(errors.InvalidImage, msg=headers):
                rewritten(output.getvalue())

    def test_a_configuration_of_odd_kinds(self):
        for settings in ([1], {'WorkingDir': 7}, {'Labels': [1]}, 'x',
                         {'WorkingDir': '//proc/self/fd/8'},
                         {'WorkingDir': '/./proc/1'},
                         {'WorkingDir': '/a/../dev'}):
            with self.assertRaises(errors.InvalidImage, msg=settings):
                rewritten(with_settings(settings))

    def test_a_checksum_of_an_unknown_kind(self):
        with self.assertRaisesRegex(errors.InvalidImage, 'kind'):
            rewritten(b'', ('rot13', 'x'))

    def test_a_member_twice(self):
        output = io.BytesIO()
        with tarfile.open(fileobj=output, mode='w') as outer:
            for _ in range(2):
                outer.addfile(tarfile.TarInfo('a'))
        with self.assertRaisesRegex(errors.InvalidImage, 'twice'):
            rewritten(output.getvalue())

    def test_what_is_no_archive(self):
        for content in (b'', b'x' * 5000, b'\x1f\x8b' + b'x' * 5000):
            with self.assertRaises(errors.InvalidImage):
                rewritten(content)

    def test_directories_are_left_out(self):
        output = io.BytesIO()
        with tarfile.open(fileobj=output, mode='w') as outer:
            info = tarfile.TarInfo('l')
            info.type = tarfile.DIRTYPE
            outer.addfile(info)
        with self.assertRaisesRegex(errors.InvalidImage, 'no manifest'):
            rewritten(output.getvalue())

    @given(strategies.integers(min_value=0, max_value=99))
    def test_a_cut_stream_is_refused(self, percent):
        content = container_images.tar(members())
        with self.assertRaises(errors.InvalidImage):
            rewritten(content[:len(content) * percent // 110])


class TestPublished(unittest.TestCase):
    """What the Engine saves, as a snapshot tells it to others."""

    def saved(self):
        output = io.BytesIO()
        config = json.dumps({
            'architecture': 'amd64', 'os': 'linux', 'created': 'now',
            'container_config': {'Env': ['A=canary']},
            'config': {'Env': ['A=canary'], 'Labels': {'x': 'canary'}},
            'rootfs': {'type': 'layers', 'diff_ids': ['1', '2']},
            'history': [{'created_by': 'base'},
                        {'created_by': 'canary', 'comment': 'canary'}]})
        with tarfile.open(fileobj=output, mode='w') as outer:
            for name, text in (
                    ('a/VERSION', '1.0'), ('a/json', '{"canary": 1}'),
                    ('a/layer.tar', 'first'), ('b/layer.tar', None),
                    ('c.json', config), ('repositories', '{"canary": {}}'),
                    ('manifest.json', json.dumps([{
                        'Config': 'c.json', 'RepoTags': ['canary:1'],
                        'Layers': ['a/layer.tar', 'b/layer.tar']}]))):
                info = tarfile.TarInfo(name)
                if text is None:
                    info.type, info.linkname = (tarfile.SYMTYPE,
                                                '../a/layer.tar')
                    outer.addfile(info)
                else:
                    info.size = len(text)
                    outer.addfile(info, io.BytesIO(text.encode()))
        return output.getvalue()

    def test_nothing_of_the_server_is_in_it(self):
        content = b''.join(archive.published(
            chunks(self.saved()), {'Cmd': ['sh']}))
        self.assertNotIn(b'canary', content)
        with tarfile.open(fileobj=io.BytesIO(content)) as found:
            entry, = json.load(found.extractfile('manifest.json'))
            self.assertEqual(['a/layer.tar'] * 2, entry['Layers'])
            config = json.load(found.extractfile(entry['Config']))
        self.assertEqual({'Cmd': ['sh']}, config['config'])
        self.assertEqual(['base', 'nova snapshot'], [
            step['created_by'] for step in config['history']])
        # It is one that we would take back.
        _, image_id = rewritten(content)
        self.assertEqual(f'sha256:{entry["Config"][:-5]}', image_id)

    def test_the_form_of_newer_engines(self):
        """Its documents are blobs among the layers; none passes as it is."""
        config = json.dumps({
            'architecture': 'amd64', 'os': 'linux',
            'config': {'Env': ['A=canary']},
            'rootfs': {'type': 'layers', 'diff_ids': ['1']}}).encode()
        saved = container_images.tar({
            'blobs/sha256/c': config, 'blobs/sha256/l': b'layer',
            'index.json': b'{"canary": 1}', 'oci-layout': b'{"canary": 1}',
            'manifest.json': json.dumps([{
                'Config': 'blobs/sha256/c', 'RepoTags': None,
                'Layers': ['blobs/sha256/l']}]).encode()})
        content = b''.join(archive.published(chunks(saved), {'Cmd': ['sh']}))
        self.assertNotIn(b'canary', content)
        _, image_id = rewritten(content)
        self.assertTrue(image_id.startswith('sha256:'))

    def test_a_history_that_is_not_there(self):
        self.assertEqual([], archive._anonymous([]))


class TestImages(unittest.TestCase):

    def setUp(self):
        super().setUp()
        self.engine = fakes.Engine()
        self.content = container_images.tar(members())
        self.service = mock.Mock()
        self.service.get.return_value = {
            'os_hash_algo': 'sha512',
            'os_hash_value': hashlib.sha512(self.content).hexdigest()}
        self.service.download.side_effect = (
            lambda context, image_id: chunks(self.content))
        self.images = images.Images(self.engine, self.service)
        self.digest = 'sha256:' + hashlib.sha256(CONFIG).hexdigest()

    def load_as(self, digest):
        def load(content):
            b''.join(content)
            self.engine.calls.append('load')
            self.engine.known_images[TAG] = models.EngineImage(digest)
        self.engine.load = load

    def test_an_image_is_transferred_once(self):
        self.load_as(self.digest)
        threads = [threading.Thread(target=self.images.ensure, args=(
            None, fakes.image_meta())) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(1, self.engine.calls.count('load'))
        self.service.download.assert_called_once()

    def test_what_was_not_inspected_is_not_run(self):
        self.load_as('sha256:other')
        with self.assertRaisesRegex(errors.InvalidImage, 'inspected'):
            self.images.ensure(None, fakes.image_meta())
        self.assertEqual({}, self.engine.known_images)

    def test_an_image_in_another_format(self):
        with self.assertRaisesRegex(errors.InvalidImage, 'container_format'):
            self.images.ensure(None, fakes.image_meta(
                container_format='bare'))

    def test_an_image_that_vanished_from_glance(self):
        self.service.get.side_effect = exception.ImageNotFound(image_id='x')
        with self.assertRaisesRegex(errors.InvalidImage, 'not in Glance'):
            self.images.ensure(None, fakes.image_meta())

    def test_no_image_at_all(self):
        meta = fakes.image_meta()
        delattr(meta, '_obj_id')
        with self.assertRaises(exception.ImageUnacceptable):
            self.images.ensure(None, meta)

    def test_a_download_that_breaks(self):
        def broken(context, image_id):
            yield self.content[:100_000]
            raise BrokenPipeError('Corrupt image download')
        self.service.download.side_effect = broken
        with self.assertRaisesRegex(errors.TransferFailed, 'Corrupt'):
            self.images.ensure(None, fakes.image_meta())

    def test_the_engine_does_not_accept_it(self):
        self.engine.failures = {'load': [errors.InvalidRequest('bad')]}
        with self.assertRaisesRegex(errors.InvalidImage, 'bad'):
            self.images.ensure(None, fakes.image_meta())

    def test_which_checksum_is_compared(self):
        self.assertEqual(('md5', 'abc'), images._checksum(
            {'checksum': 'abc'}))
        self.assertEqual(('sha256', 'd'), images._checksum({
            'checksum': 'abc', 'properties': {
                'os_hash_algo': 'sha256', 'os_hash_value': 'd'}}))
        self.assertIsNone(images._checksum({}))


class TestSandbox(unittest.TestCase):

    def test_the_image_is_the_same_each_time(self):
        self.assertEqual(sandbox.image_archive('x86_64'),
                         sandbox.image_archive('x86_64'))
        self.assertLess(len(sandbox.program('aarch64')), 200)

    def test_an_unknown_architecture(self):
        with self.assertRaisesRegex(errors.InvalidImage, 'sandbox_image'):
            sandbox.program('riscv64')

    def test_the_archive_is_one_that_we_would_accept(self):
        digest, content = sandbox.image_archive('x86_64')
        self.assertEqual(digest, rewritten(content)[1])

    def test_an_operators_own_image(self):
        engine = fakes.Engine()
        boxes = sandbox.Sandboxes(engine, 'sha256:own')
        boxes.make(fakes.UUID, 'web', fakes.policy())
        self.assertEqual('sha256:own', engine.specs['id1'].image)

    def test_the_image_is_loaded_where_it_is_missing(self):
        engine = fakes.Engine()
        digest, content = sandbox.image_archive('x86_64')
        original = engine.load

        def load(parts):
            original(parts)
            engine.known_images[digest] = models.EngineImage(digest)
        engine.load = load
        boxes = sandbox.Sandboxes(engine, '')
        made = boxes.make(fakes.UUID, 'web', fakes.policy())
        self.assertEqual(content, engine.loaded)
        self.assertTrue(made.running)

    def test_an_image_that_vanished_is_loaded_again(self):
        engine = fakes.Engine()
        digest, _ = sandbox.image_archive('x86_64')
        engine.known_images[digest] = models.EngineImage(digest)
        engine.failures = {'create': [errors.NotFound('no image')]}
        boxes = sandbox.Sandboxes(engine, '')
        self.assertTrue(boxes.make(fakes.UUID, 'w', fakes.policy()).running)

    def test_a_left_one_is_replaced_and_a_foreign_one_is_not(self):
        engine = fakes.Engine()
        boxes = sandbox.Sandboxes(engine, 'sha256:own')
        boxes.make(fakes.UUID, 'web', fakes.policy())
        boxes.make(fakes.UUID, 'web', fakes.policy())
        self.assertEqual(['id2'], list(engine.specs))
        foreign = mock.Mock(labels={}, image='x')
        foreign.name = names.sandbox(fakes.UUID)
        engine.specs['id2'] = foreign
        with self.assertRaises(errors.ForeignContainer):
            boxes.make(fakes.UUID, 'web', fakes.policy())
