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

"""What becomes of image archives, honest and hostile."""

import hashlib
import io
import json
import os
import re
import tarfile
import time
import tracemalloc
import unittest

from hypothesis import given
from hypothesis import settings
from hypothesis import strategies

from nova_docker_driver import archive
from nova_docker_driver import errors
from nova_docker_driver import imagemodels
from nova_docker_driver import models
from nova_docker_driver import names
from tests import archives

TAG = names.image_tag('00000000-0000-0000-0000-000000000001')

#: Small, so that what exceeds them is made fast.
BOUNDS = imagemodels.ImageBounds(size=100 * models.MIB, members=5000)
TERMS = imagemodels.Terms(TAG, 'amd64', BOUNDS)

EXAMPLES = int(os.environ.get('NOVA_DOCKER_EXAMPLES', '2000'))


def chunks(content, size=65536):
    return [content[at:at + size] for at in range(0, len(content), size)]


def rewritten(content, terms=TERMS, size=65536):
    """What the Engine gets, and what is known of it."""
    verdict = imagemodels.Verdict()
    output = b''.join(archive.rewrite(chunks(content, size), terms, verdict))
    return output, verdict


def described(output):
    """The configuration and the manifest's entry in what the Engine gets."""
    with tarfile.open(fileobj=io.BytesIO(output)) as found:
        entry, = json.load(found.extractfile('manifest.json'))
        return json.load(found.extractfile(entry['Config'])), entry


class TestSamples(unittest.TestCase):

    def test_there_are_enough(self):
        hostile = [sample for sample in archives.SAMPLES if sample.refused]
        self.assertLessEqual(60, len(hostile))
        self.assertEqual(len(archives.SAMPLES), len(
            {sample.name for sample in archives.SAMPLES}))

    def test_each_is_judged_as_expected(self):
        for sample in archives.SAMPLES:
            content = sample.make()
            with self.subTest(sample.name):
                if sample.refused:
                    with self.assertRaisesRegex(errors.InvalidImage,
                                                sample.refused):
                        rewritten(content)
                    continue
                output, verdict = rewritten(content)
                _, entry = described(output)
                self.assertEqual([TAG], entry['RepoTags'])
                with tarfile.open(fileobj=io.BytesIO(output)) as found:
                    self.assertEqual(
                        {entry['Config'], 'manifest.json'},
                        {name for name in found.getnames()
                         if not re.fullmatch(r'layer-\d+\.tar', name)})
                self.assertEqual(f'sha256:{entry["Config"][:-5]}',
                                 verdict.image_id)

    def test_pieces_of_any_size_make_no_difference(self):
        content = archives.tar(archives.saved())
        expected, _ = rewritten(content)
        for size in (1, 3, 511, 513):
            self.assertEqual(expected, rewritten(content, size=size)[0])

    def test_bombs_need_no_memory(self):
        for sample in archives.SAMPLES:
            if not sample.refused:
                continue
            pieces = chunks(sample.make())
            tracemalloc.start()
            with self.assertRaises(errors.InvalidImage):
                for _ in archive.rewrite(pieces, TERMS,
                                         imagemodels.Verdict()):
                    pass
            _, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            self.assertLess(peak, BOUNDS.window, sample.name)


class TestArchive(unittest.TestCase):

    def test_only_our_tag_is_left(self):
        content = archives.layer({'a': b'x' * 700_000})
        output, verdict = rewritten(archives.tar(archives.saved([content])))
        config, entry = described(output)
        self.assertEqual({'Config': entry['Config'], 'RepoTags': [TAG],
                          'Layers': ['layer-0.tar']}, entry)
        with tarfile.open(fileobj=io.BytesIO(output)) as found:
            self.assertEqual(
                {'layer-0.tar', entry['Config'], 'manifest.json'},
                set(found.getnames()))
            self.assertEqual(content,
                             found.extractfile('layer-0.tar').read())
            described_as = found.extractfile(entry['Config']).read()
        self.assertEqual(
            'sha256:' + hashlib.sha256(described_as).hexdigest(),
            verdict.image_id)
        self.assertEqual(len(content), verdict.size)
        self.assertEqual(['sh'], config['config']['Cmd'])

    def test_nothing_that_describes_leaves_before_the_end(self):
        content = archives.tar(archives.saved())

        def broken():
            yield from chunks(content)
            raise errors.InvalidImage('wrong checksum')
        seen = b''
        with self.assertRaises(errors.InvalidImage):
            for piece in archive.rewrite(broken(), TERMS,
                                         imagemodels.Verdict()):
                seen += piece
        self.assertIn(b'layer-0.tar', seen)
        self.assertNotIn(b'json', seen)

    def test_what_stays_of_a_configuration(self):
        check = {'Test': ['CMD', 'true'], 'Interval': 5_000_000_000}
        kept = {'Env': ['A=b'], 'Entrypoint': ['/x'], 'Cmd': ['y'],
                'User': 'u', 'WorkingDir': '/srv', 'Volumes': {'/data': {}},
                'ExposedPorts': {'80/tcp': {}}, 'StopSignal': 'SIGINT',
                'Shell': ['/bin/ash', '-c'], 'Healthcheck': check,
                'Labels': {'fine': 'yes'}}
        output, _ = rewritten(archives.tar(archives.saved(settings={
            **kept, 'OnBuild': ['RUN x'], 'Future': 1,
            'Labels': {'fine': 'yes', names.ROLE_LABEL: 'server'}})))
        self.assertEqual(kept, described(output)[0]['config'])

    def test_what_goes_of_a_configuration(self):
        output, _ = rewritten(archives.tar(archives.saved(settings={
            'StopSignal': 'SIGX', 'Healthcheck': {
                'Test': ['CMD', 'x'], 'Interval': 1}})))
        self.assertEqual({'Cmd': ['sh'], 'Labels': {}},
                         described(output)[0]['config'])
        for check in ('x', {'Test': 'x'}, {'Test': [1]},
                      {'Test': [], 'Retries': 'x'}, {'Test': [], 'X': 1},
                      {'Test': [], 'Timeout': 'x'}):
            output, _ = rewritten(archives.tar(archives.saved(
                settings={'Healthcheck': check})))
            self.assertNotIn('Healthcheck', described(output)[0]['config'])

    def test_zstd_goes_on_unpacked_where_its_size_is_known(self):
        """Engines before 23 do not know it."""
        content = archives.layer({'a': b'words ' * 100_000})
        for compress, unpacked in ((archives.COMPRESSIONS['zstd'], True),
                                   (archives._unsized_zstd, False)):
            packed = compress(content)
            output, _ = rewritten(archives.tar(archives.saved(
                [packed], description=archives.config([content]))))
            with tarfile.open(fileobj=io.BytesIO(output)) as found:
                self.assertEqual(
                    content if unpacked else packed,
                    found.extractfile('layer-0.tar').read())

    def test_a_bill_of_materials_of_any_size(self):
        """Beside an image, and not asked for."""
        bill = b'{' + b' ' * (2 * models.MIB) + b'}'
        rewritten(archives.tar({**archives.oci(), **archives.blobs(bill)}))

    def test_no_name_of_the_tenants_goes_on(self):
        """Some Engines take oci-layout for the sign of another format."""
        for name in ('oci-layout', 'index.json', 'repositories'):
            output, _ = rewritten(archives.tar(
                {**archives.saved(), name: archives.layer()}))
            with tarfile.open(fileobj=io.BytesIO(output)) as found:
                self.assertNotIn(name, found.getnames())

    def test_what_takes_long_is_refused_soon(self):
        """A few bytes that would keep a processor busy for hours."""
        many = [(archives.entry(f'l{number}', tarfile.SYMTYPE,
                                f'l{number + 1}'), b'')
                for number in range(2000)]
        pax = archives._raw_header(type=tarfile.XHDTYPE, size=200_000)
        pax += b'5 a=\n' * 40_000 + bytes(-200_000 % 512)
        empty = archives.COMPRESSIONS['zstd'](b'') * 100_000
        names = [(f'{number}' + 'x' * 4000, b'') for number in range(4000)]
        for content in (archives.tar(many), pax, empty, archives.tar(names)):
            began = time.process_time()
            with self.assertRaises(errors.InvalidImage):
                rewritten(content)
            self.assertLess(time.process_time() - began, 2)

    def test_a_name_can_be_written_anywhere(self):
        with self.assertRaises(errors.InvalidImage) as refused:
            rewritten(archives.tar([(archives.entry(
                'bad\udcff', tarfile.LNKTYPE, 'x'), b'')]))
        str(refused.exception).encode()

    def test_documents_without_end(self):
        many = {f'{number}.json': b'{' + b' ' * (models.MIB - 1)
                for number in range(20)}
        content = archives.tar({**many, **archives.saved()})
        tracemalloc.start()
        rewritten(content)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        self.assertLess(peak, len(content) + 16 * models.MIB)

    def test_the_image_of_this_host(self):
        output, _ = rewritten(archives.tar(archives.many_platforms(
            'arm64', 'amd64')))
        self.assertEqual('amd64', described(output)[0]['architecture'])
        with self.assertRaisesRegex(errors.InvalidImage, 'exactly one'):
            rewritten(archives.tar(archives.many_platforms(
                'arm64', 'amd64')), imagemodels.Terms(TAG))

    @settings(max_examples=50)
    @given(strategies.integers(min_value=0, max_value=99))
    def test_a_cut_stream_is_refused(self, percent):
        for members in (archives.saved(), archives.oci()):
            content = archives.tar(members)
            # The end of a tar is filled up with nothing.
            whole = len(content.rstrip(b'\0'))
            with self.assertRaises(errors.InvalidImage):
                rewritten(content[:whole * percent // 100])


class TestThin(unittest.TestCase):
    """Layers that are left out, because the Engine has them."""

    def setUp(self):
        super().setUp()
        self.layers = [archives.layer({'base': b''}),
                       archives.layer({'new': b''})]
        self.base = ('sha256:' + archives.digest(self.layers[0]),)
        self.content = archives.tar(archives.saved(
            self.layers, **{'0/layer.tar': None}))

    def test_with_its_base(self):
        output, _ = rewritten(self.content, imagemodels.Terms(
            TAG, base=self.base))
        with tarfile.open(fileobj=io.BytesIO(output)) as found:
            self.assertNotIn('base-0.tar', found.getnames())
        self.assertEqual(['base-0.tar', 'layer-0.tar'],
                         described(output)[1]['Layers'])

    def test_without_its_base_or_with_another_one(self):
        other = ('sha256:' + '0' * 64,)
        for base in ((), other, other + self.base):
            with self.assertRaisesRegex(errors.InvalidImage,
                                        'does not hold'):
                rewritten(self.content, imagemodels.Terms(TAG, base=base))

    def test_a_layer_above_the_base_cannot_be_left_out(self):
        """Whoever knows its digest would have somebody else's files."""
        content = archives.tar(archives.saved(
            self.layers, **{'0/layer.tar': None, '1/layer.tar': None}))
        with self.assertRaisesRegex(errors.InvalidImage, 'does not hold'):
            rewritten(content, imagemodels.Terms(TAG, base=self.base))


class TestRootFs(unittest.TestCase):

    def rewritten(self, content, size=None, terms=TERMS):
        verdict = imagemodels.Verdict()
        output = b''.join(archive.rewrite_rootfs(
            chunks(content), len(content) if size is None else size, terms,
            verdict))
        return output, verdict

    def test_files_become_an_image(self):
        content = archives.layer()
        for compress in archives.COMPRESSIONS.values():
            output, verdict = self.rewritten(compress(content))
            config, entry = described(output)
            self.assertEqual(['sha256:' + archives.digest(content)],
                             config['rootfs']['diff_ids'])
            self.assertEqual(len(content), verdict.size)
            self.assertEqual([TAG], entry['RepoTags'])

    def test_what_is_refused(self):
        content = archives.layer()
        for bad, size, reason in (
                (content, 7, 'larger'), (content, 99999, 'smaller'),
                (b'text' * 999, None, 'not a tar'), (b'', None, 'smaller|tar'),
                (archives.layer({'proc': b''}), None, '/proc')):
            with self.assertRaisesRegex(errors.InvalidImage, reason):
                self.rewritten(bad, size)


class TestFuzz(unittest.TestCase):
    """Archives that were good once, with something done to them."""

    SEEDS = (archives.tar(archives.saved()), archives.tar(archives.oci()),
             archives.tar(archives.saved(), format=tarfile.PAX_FORMAT),
             archives.tar(archives.both_forms()),
             archives._linked('../0/layer.tar'))

    @settings(max_examples=EXAMPLES, deadline=2000)
    @given(strategies.data())
    def test_it_is_refused_or_ours(self, data):
        content = bytearray(data.draw(strategies.sampled_from(self.SEEDS)))
        for _ in range(data.draw(strategies.integers(1, 6))):
            at = data.draw(strategies.integers(0, len(content) - 1))
            match data.draw(strategies.integers(0, 4)):
                case 0:
                    content[at] = data.draw(strategies.integers(0, 255))
                case 1:
                    del content[at:at + data.draw(strategies.sampled_from(
                        (1, 512, 1024)))]
                case 2:
                    content[at:at] = data.draw(strategies.binary(max_size=20))
                case 3:
                    block = at // 512 * 512
                    content[at:at] = content[block:block + 512]
                case _:
                    content[at:at + 4] = data.draw(strategies.sampled_from(
                        (b'0777', b'../x', b'/etc', b'\xff\xff\xff\xff',
                         b'"\\u0', b'[[[[')))
            if not content:
                return
        packed = data.draw(strategies.sampled_from(
            tuple(archives.COMPRESSIONS.values())))(bytes(content))
        try:
            output, verdict = rewritten(packed)
        except errors.InvalidImage as error:
            self.assertTrue(str(error))
            return
        _, entry = described(output)
        self.assertEqual([TAG], entry['RepoTags'])
        self.assertTrue(verdict.image_id)
