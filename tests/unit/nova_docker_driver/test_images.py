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
import time
import unittest
from unittest import mock

import cryptography.exceptions
from nova import exception

from lab import container_images
from nova_docker_driver import archive
from nova_docker_driver import errors
from nova_docker_driver import flights
from nova_docker_driver import imagemodels
from nova_docker_driver import images
from nova_docker_driver import models
from nova_docker_driver import names
from nova_docker_driver import publishing
from nova_docker_driver import sandbox
from nova_docker_driver import snapshots
from tests import archives
from tests.unit.nova_docker_driver import fakes

TAG = names.image_tag(fakes.IMAGE_ID)
LAYER = archives.layer()


def chunks(content, size=65536):
    return [content[at:at + size] for at in range(0, len(content), size)]


class TestPublished(unittest.TestCase):
    """What the Engine saves, as a snapshot tells it to others."""

    def saved(self):
        output = io.BytesIO()
        config = json.dumps({
            'architecture': 'amd64', 'os': 'linux', 'created': 'now',
            'container_config': {'Env': ['A=canary']},
            'config': {'Env': ['A=canary'], 'Labels': {'x': 'canary'}},
            'rootfs': {'type': 'layers', 'diff_ids': [
                'sha256:' + archives.digest(LAYER)] * 2},
            'history': [{'created_by': 'base'},
                        {'created_by': 'canary', 'comment': 'canary'}]})
        with tarfile.open(fileobj=output, mode='w') as outer:
            for name, text in (
                    ('a/VERSION', '1.0'), ('a/json', '{"canary": 1}'),
                    ('a/layer.tar', LAYER.decode()), ('b/layer.tar', None),
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
        content = b''.join(publishing.published(
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
        verdict = imagemodels.Verdict()
        for _ in archive.rewrite([content], imagemodels.Terms(TAG), verdict):
            pass
        self.assertTrue(verdict.image_id)

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
        content = b''.join(publishing.published(
            chunks(saved), {'Cmd': ['sh']}))
        self.assertNotIn(b'canary', content)
        self.assertIn(b'blobs/sha256/l', content)

    LAYERS = (archives.layer({'base': b''}), archives.layer({'new': b''}))
    DIGESTS = tuple('sha256:' + archives.digest(one) for one in LAYERS)

    def old_form(self):
        """Layers of which each has a document before it."""
        return archives.tar({
            '0/json': b'{"created": "1970-01-01T00:00:00Z"}',
            '1/json': b'{"created": "2026-01-01T00:00:00Z"}',
            **archives.saved(self.LAYERS)})

    def new_form(self):
        members, document = archives.oci_image(list(self.LAYERS))
        config = archives.config(self.LAYERS)
        return archives.tar({
            **members, 'index.json': archives.index(
                archives.descriptor(document)),
            'manifest.json': json.dumps([{
                'Config': f'blobs/sha256/{archives.digest(config)}',
                'RepoTags': None, 'Layers': [
                    f'blobs/sha256/{archives.digest(one)}'
                    for one in self.LAYERS]}]).encode()})

    def layers_in(self, content):
        with tarfile.open(fileobj=io.BytesIO(content)) as found:
            contents = [found.extractfile(name).read()
                        for name in found.getnames()]
        return [one for one in self.LAYERS if one in contents]

    def test_only_new_layers(self):
        for saved in (self.old_form(), self.new_form()):
            content = b''.join(publishing.published(
                chunks(saved), {'Cmd': ['sh']}, self.DIGESTS[:1]))
            self.assertEqual([self.LAYERS[1]], self.layers_in(content))
            # It is one that we would take back, on top of its base only.
            for base in (self.DIGESTS[:1], ()):
                verdict = imagemodels.Verdict()
                rewriting = archive.rewrite([content], imagemodels.Terms(
                    TAG, base=base), verdict)
                if base:
                    self.assertTrue(b''.join(rewriting))
                else:
                    with self.assertRaises(errors.InvalidImage):
                        b''.join(rewriting)

    def test_nothing_is_new(self):
        for saved in (self.old_form(), self.new_form()):
            content = b''.join(publishing.published(
                chunks(saved), {}, self.DIGESTS, unchanged=True))
            self.assertEqual([], self.layers_in(content))

    def test_another_base_than_the_one_it_has(self):
        for saved in (self.old_form(), self.new_form()):
            with self.assertRaisesRegex(errors.InvalidImage, 'its base'):
                b''.join(publishing.published(
                    chunks(saved), {}, ('sha256:' + '0' * 64,)))

    def test_a_document_without_end(self):
        with self.assertRaisesRegex(errors.InvalidImage, 'too large'):
            b''.join(publishing.published(chunks(archives.tar(
                {'x.json': b' ' * 2 ** 21})), {}))

    def test_what_a_snapshot_stands_on(self):
        engine, service = fakes.Engine(), mock.Mock()
        engine.known_images = {TAG: models.EngineImage('sha256:1')}
        store = snapshots.Snapshots(engine, service, thin=True)
        instance = mock.Mock(image_ref=fakes.IMAGE_ID)
        service.get.return_value = {}

        def base(container='sha256:1'):
            return store._base(None, instance,
                               mock.Mock(image=container))
        self.assertEqual('sha256:1', base().id)
        self.assertIsNone(base('sha256:2'))
        service.get.side_effect = exception.ImageNotFound(image_id='x')
        self.assertIsNone(base())
        instance.image_ref = ''
        self.assertIsNone(base())

    def test_what_a_snapshot_does_not_inherit(self):
        self.assertEqual({}, images.own_data({}))
        self.assertEqual(
            {'docker_image_ref': '', 'docker_base_image': ''},
            images.own_data({'properties': {
                'docker_image_ref': 'x/y', 'docker_base_image': '1',
                'docker_command': 'sh'}}))

    def test_a_history_that_is_not_there(self):
        self.assertEqual([], publishing._anonymous([]))


class Glance:
    """Images in memory, as Nova's client tells of them."""

    def __init__(self):
        self.records = {}
        self.contents = {}
        self.downloads = []
        #: Called with the position of each piece.
        self.during = lambda at: None

    def add(self, image_id, content, **record):
        self.contents[image_id] = content
        self.records[image_id] = {
            'container_format': 'docker', 'os_hash_algo': 'sha512',
            'os_hash_value': hashlib.sha512(content).hexdigest(),
            'size': len(content), **record}

    def get(self, context, image_id):
        if image_id not in self.records or context == 'stranger':
            raise exception.ImageNotFound(image_id=image_id)
        return self.records[image_id]

    def download(self, context, image_id, data=None, dest_path=None,
                 trusted_certs=None):
        self.downloads.append((image_id, trusted_certs))
        for at, piece in enumerate(chunks(self.contents[image_id], 4096)):
            self.during(at)
            data.write(piece)


class ImagesCase(unittest.TestCase):

    def setUp(self):
        super().setUp()
        self.engine = fakes.Engine()
        self.engine.load = self.load
        self.glance = Glance()
        self.content = archives.tar(archives.saved())
        self.glance.add(fakes.IMAGE_ID, self.content)
        self.images = self.new_images()

    def new_images(self, stall=5, **bounds):
        return images.Images(
            self.engine, self.glance, imagemodels.Terms(
                '', 'amd64', imagemodels.ImageBounds(**bounds)), stall)

    def load(self, content):
        """As the Engine does: the image is what the archive says."""
        archive = b''.join(content)
        self.engine.calls.append('load')
        with tarfile.open(fileobj=io.BytesIO(archive)) as found:
            entry, = json.load(found.extractfile('manifest.json'))
            config = json.load(found.extractfile(entry['Config']))
        self.engine.known_images[entry['RepoTags'][0]] = models.EngineImage(
            f'sha256:{entry["Config"][:-5]}', size=len(archive),
            layers=tuple(config['rootfs']['diff_ids']))

    def ensure(self, context='tenant', image_id=fakes.IMAGE_ID, **values):
        with self.images.held(imagemodels.Request(
                context, image_id, **values)) as image:
            return image

    def refused(self, reason, error=errors.InvalidImage, **values):
        with self.assertRaisesRegex(error, reason):
            self.ensure(**values)
        self.assertEqual({}, self.engine.known_images)

    def threads(self, number, work):
        def run():
            try:
                results.append(work())
            except Exception as error:
                results.append(error)
        results = []
        threads = [threading.Thread(target=run) for _ in range(number)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return results


class TestImages(ImagesCase):

    def test_an_image_is_transferred_once(self):
        found = self.threads(64, self.ensure)
        self.assertEqual(1, len(set(found)))
        self.assertEqual(1, self.engine.calls.count('load'))
        self.assertEqual(1, len(self.glance.downloads))

    def test_a_failure_is_shared(self):
        waiting = threading.Barrier(9, timeout=5)

        def once(at):
            if at == 0:
                waiting.wait()
                time.sleep(0.2)
                raise exception.GlanceConnectionFailed(
                    server='x', reason='canary')
        self.glance.during = once

        def work():
            if threading.current_thread() is not leader:
                waiting.wait()
            return self.ensure()
        leader = threading.Thread(target=lambda: results.append(
            self.threads(1, self.ensure)[0]))
        results = []
        leader.start()
        results += self.threads(8, work)
        leader.join()
        self.assertEqual([errors.TransferFailed] * 9,
                         [type(result) for result in results])
        self.assertEqual(1, len(self.glance.downloads))

    def test_nobody_wants_it_any_more(self):
        self.enterContext(mock.patch.object(flights, '_LOOK', 0))

        def gone():
            raise exception.UnexpectedDeletingTaskStateError(
                instance_uuid='x', expected={}, actual={})
        self.refused('', exception.UnexpectedDeletingTaskStateError,
                     check_wanted=gone)
        self.assertNotIn('load', self.engine.calls)

    def test_somebody_still_wants_it(self):
        self.enterContext(mock.patch.object(flights, '_LOOK', 0))
        flight = flights.Flight()
        flight.wanted = [mock.Mock(side_effect=ValueError), mock.Mock()]
        flight.check()
        flight.wanted.pop()
        self.assertRaises(ValueError, flight.check)

    def test_what_was_not_inspected_is_not_run(self):
        def load(content):
            b''.join(content)
            self.engine.known_images[tag] = models.EngineImage('sha256:x')
        tag = images.tag_of(fakes.IMAGE_ID,
                            self.glance.records[fakes.IMAGE_ID])
        self.engine.load = load
        self.refused('inspected')

    def test_an_image_in_another_format(self):
        self.glance.add(fakes.IMAGE_ID, b'', container_format='bare')
        self.refused('container_format')

    def test_an_image_that_vanished_from_glance(self):
        self.glance.records.clear()
        self.refused('not in Glance')

    def test_what_is_here_is_not_everybodys(self):
        self.ensure()
        with self.assertRaisesRegex(errors.InvalidImage, 'not in Glance'):
            self.ensure('stranger')

    def test_other_data_under_the_same_id_is_another_image(self):
        first = self.ensure()
        self.glance.add(fakes.IMAGE_ID, archives.tar(
            archives.saved(settings={'Cmd': ['other']})))
        self.assertNotEqual(first.id, self.ensure().id)

    def test_no_image_at_all(self):
        meta = fakes.image_meta()
        delattr(meta, '_obj_id')
        with self.assertRaises(exception.ImageUnacceptable):
            images.wanted(None, meta)

    def test_a_download_that_breaks(self):
        def broken(at):
            if at == 2:
                raise BrokenPipeError('Corrupt image download')
        self.glance.during = broken
        self.refused('Corrupt', errors.TransferFailed)
        self.glance.during = lambda at: None
        self.ensure()

    def test_a_download_that_stalls(self):
        goes_on = threading.Event()
        self.addCleanup(goes_on.set)
        self.images = self.new_images(stall=0.2)
        self.glance.during = lambda at: at == 2 and goes_on.wait(9)
        self.refused('nothing came for 0.2 s', errors.TransferFailed)

    def test_the_engine_does_not_accept_it(self):
        self.engine.load = mock.Mock(side_effect=errors.InvalidRequest('bad'))
        self.refused('bad')

    def test_a_wrong_checksum(self):
        self.glance.records[fakes.IMAGE_ID]['os_hash_value'] = 'other'
        self.refused('sha512 checksum')

    def test_a_checksum_of_an_unknown_kind(self):
        self.glance.records[fakes.IMAGE_ID]['os_hash_algo'] = 'rot13'
        self.refused('kind')

    def test_a_wrong_signature(self):
        error = cryptography.exceptions.InvalidSignature()
        self.glance.during = mock.Mock(side_effect=error)
        self.refused('signature', trusted_certs='certs')
        self.assertEqual([(fakes.IMAGE_ID, 'certs')], self.glance.downloads)
        self.glance.during = mock.Mock(
            side_effect=exception.ImageUnacceptable(image_id='x', reason='y'))
        self.refused('y')

    def test_which_checksum_is_compared(self):
        self.assertEqual(('md5', 'abc'), images._checksum(
            {'checksum': 'abc'}))
        self.assertEqual(('sha256', 'd'), images._checksum({
            'checksum': 'abc', 'properties': {
                'os_hash_algo': 'sha256', 'os_hash_value': 'd'}}))
        self.assertIsNone(images._checksum({}))

    def test_larger_than_the_flavors_disk(self):
        with self.assertRaisesRegex(errors.InvalidImage, 'disk 100'):
            self.ensure(disk=100)
        # It is as good as before for another flavor.
        self.ensure(disk=10 ** 9)
        self.assertEqual(1, len(self.glance.downloads))

    def test_a_root_file_system(self):
        for container_format in ('docker', 'bare'):
            content = archives.layer({container_format: b''})
            self.glance.add('rootfs', content,
                            container_format=container_format,
                            properties={'docker_image_format': 'rootfs'})
            self.assertEqual(('sha256:' + archives.digest(content),),
                             self.ensure(image_id='rootfs').layers)


class TestRefusals(ImagesCase):
    """What is known to be bad is not fetched again."""

    def test_a_bad_image_is_fetched_once(self):
        self.glance.add(fakes.IMAGE_ID, archives.tar(
            archives.saved([archives.layer({'proc': b''})])))
        for _ in range(3):
            self.refused('/proc is no directory')
        self.assertEqual(1, len(self.glance.downloads))
        # Other data under its id is another matter.
        self.glance.add(fakes.IMAGE_ID, self.content)
        self.ensure()

    def test_a_stream_that_was_changed_says_nothing(self):
        content = bytearray(self.content)
        content[700] ^= 1
        self.glance.contents[fakes.IMAGE_ID] = bytes(content)
        self.refused('.')
        content[0] ^= 1
        self.glance.contents[fakes.IMAGE_ID] = bytes(content)
        self.refused('not a tar')
        self.glance.contents[fakes.IMAGE_ID] = self.content
        self.ensure()

    def test_a_stream_that_was_cut_says_nothing(self):
        self.glance.contents[fakes.IMAGE_ID] = self.content[:2000]
        self.refused('2000 of', errors.TransferFailed)
        self.glance.contents[fakes.IMAGE_ID] = self.content
        self.ensure()

    def test_a_property_that_was_wrong(self):
        """The same bytes are another image once it is said what they are."""
        self.glance.add(fakes.IMAGE_ID, archives.layer())
        self.refused('neither a manifest')
        self.glance.records[fakes.IMAGE_ID]['properties'] = {
            'docker_image_format': 'rootfs'}
        self.ensure()

    def test_not_all_are_remembered(self):
        self.enterContext(mock.patch.object(images, '_REMEMBERED', 2))
        for number in range(3):
            self.images._remember(f'{number}', 'bad')
        self.assertEqual({'1', '2'}, set(self.images._refused))


class TestBases(ImagesCase):
    """Thin snapshots, which stand on other images."""

    def thin(self, base='base', image_id=fakes.IMAGE_ID):
        below, above = archives.layer(), archives.layer({'new': b''})
        self.glance.add('base', archives.tar(archives.saved([below])))
        self.glance.add(
            image_id, archives.tar(archives.saved(
                [below, above], **{'0/layer.tar': None})),
            properties={'docker_base_image': base})

    def test_the_base_comes_first(self):
        self.thin()
        self.assertEqual(2, len(self.ensure().layers))
        self.assertEqual(['base', fakes.IMAGE_ID],
                         [image_id for image_id, _ in self.glance.downloads])

    def test_a_base_that_one_may_not_use(self):
        self.thin('secret')
        self.refused('the image secret that it stands on: it is not in')

    def test_images_that_stand_on_each_other(self):
        self.thin('other')
        self.thin(fakes.IMAGE_ID, 'other')
        self.refused('more than 16')


class TestEviction(ImagesCase):

    def test_not_while_a_build_uses_it(self):
        with self.images.held(imagemodels.Request('x', fakes.IMAGE_ID)):
            tag, = self.engine.known_images
            self.assertFalse(self.images.evict(tag))
        self.assertTrue(self.images.evict(tag))
        self.assertEqual({}, self.engine.known_images)

    def test_spawning_while_it_is_evicted(self):
        """Each build finds its image until it has made its container."""
        self.ensure()
        tag, = self.engine.known_images
        ended = threading.Event()

        def evict():
            while not ended.is_set():
                self.images.evict(tag)
        evictor = threading.Thread(target=evict)
        evictor.start()

        request = imagemodels.Request('x', fakes.IMAGE_ID)

        def build():
            for _ in range(50):
                with self.images.held(request):
                    assert tag in self.engine.known_images
            return True
        try:
            self.assertEqual([True] * 4, self.threads(4, build))
        finally:
            ended.set()
            evictor.join()


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
        with tarfile.open(fileobj=io.BytesIO(content)) as found:
            entry, = json.load(found.extractfile('manifest.json'))
            config = found.extractfile(entry['Config']).read()
        self.assertEqual(digest,
                         'sha256:' + hashlib.sha256(config).hexdigest())

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
