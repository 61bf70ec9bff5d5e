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

"""Image archives of all kinds, the hostile ones too, made by our own code."""

import bz2
from collections.abc import Callable
import dataclasses
import gzip
import hashlib
import io
import json
import lzma
import tarfile

from backports import zstd

from nova_docker_driver import names

#: A tag of the host that no archive may move.
VICTIM = 'victim:1'

COMPRESSIONS = {
    'plain': bytes, 'gzip': gzip.compress, 'bzip2': bz2.compress,
    'xz': lzma.compress, 'zstd': zstd.compress}


def tar(members, **options):
    """A tar of pairs of a TarInfo or a name, and content."""
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode='w', **options) as outer:
        for info, content in (members.items() if isinstance(members, dict)
                              else members):
            if isinstance(info, str):
                info = tarfile.TarInfo(info)
            info.size = info.size or len(content)
            outer.addfile(info, io.BytesIO(content.ljust(info.size, b'\0')))
    return output.getvalue()


def entry(name, kind, target='', size=0):
    """A member of another kind than a file."""
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, target, size
    return info


def layer(files=None, extra=()):
    """A layer's tar."""
    return tar([*(files or {'etc/motd': b'hello\n'}).items(), *extra])


def digest(content):
    return hashlib.sha256(content).hexdigest()


def config(layers, settings=None, **values):
    """An image's configuration."""
    return json.dumps({
        'architecture': 'amd64', 'os': 'linux',
        'created': '2026-01-01T00:00:00Z',
        'config': {'Cmd': ['sh'], **(settings or {})},
        'rootfs': {'type': 'layers',
                   'diff_ids': ['sha256:' + digest(one) for one in layers]},
        **values}).encode()


def saved(layers=None, settings=None, tag='honest:1', description=None,
          **changes):
    """The members of a docker-save archive.

    :param changes: members that are added or replaced; None removes one
    """
    layers = [layer()] if layers is None else layers
    if description is None:
        description = config(layers, settings)
    paths = [f'{position}/layer.tar' for position in range(len(layers))]
    members = {
        'config.json': description,
        **dict(zip(paths, layers, strict=True)),
        'manifest.json': json.dumps([{
            'Config': 'config.json', 'RepoTags': [tag],
            'Layers': paths}]).encode(),
        'repositories': json.dumps(
            {'honest': {'1': '0' * 64}}).encode(),
        **changes}
    return {name: content for name, content in members.items()
            if content is not None}


def manifest(**changes):
    """Another manifest.json for ``saved``."""
    return json.dumps([{'Config': 'config.json', 'RepoTags': ['honest:1'],
                        'Layers': ['0/layer.tar'], **changes}]).encode()


def blobs(*contents):
    return {f'blobs/sha256/{digest(content)}': content
            for content in contents}


def descriptor(content, **more):
    return {'mediaType': 'application/vnd.oci.image.manifest.v1+json',
            'digest': 'sha256:' + digest(content), 'size': len(content),
            **more}


def oci_image(layers, compress=bytes, **values):
    """The blobs of an image in the OCI layout, and its manifest."""
    description = config(layers, **values)
    packed = [compress(one) for one in layers]
    document = json.dumps({
        'schemaVersion': 2,
        'config': descriptor(
            description,
            mediaType='application/vnd.oci.image.config.v1+json'),
        'layers': [descriptor(one, mediaType='layer') for one in packed],
    }).encode()
    return blobs(description, *packed, document), document


def index(*entries):
    return json.dumps({'schemaVersion': 2,
                       'manifests': list(entries)}).encode()


def oci(layers=None, compress=bytes, **values):
    """The members of an archive in the OCI layout."""
    found, document = oci_image(layers or [layer()], compress, **values)
    return {'oci-layout': b'{"imageLayoutVersion": "1.0.0"}', **found,
            'index.json': index(descriptor(document))}


def _platform(architecture):
    return {'platform': {'os': 'linux', 'architecture': architecture}}


def many_platforms(*architectures, nested=True, same=False):
    """An OCI layout for several architectures, with an attestation."""
    members, entries = {}, []
    for architecture in architectures:
        content = layer({'arch': b'' if same else architecture.encode()})
        found, document = oci_image([content], gzip.compress,
                                    architecture=architecture)
        members.update(found)
        entries.append(descriptor(document, **_platform(architecture)))
    attestation, document = oci_image([b'{"in-toto": 1}'.ljust(600)])
    members.update(attestation)
    entries.append(descriptor(
        document, platform={'os': 'unknown', 'architecture': 'unknown'},
        annotations={'vnd.docker.reference.type': 'attestation-manifest'}))
    listing = index(*entries)
    if nested:
        members.update(blobs(listing))
        listing = index(descriptor(listing))
    return {**members, 'index.json': listing}


def both_forms(other=False):
    """As newer Engines save: a manifest.json beside an OCI index."""
    content = layer()
    members, document = oci_image([content])
    description = config([content], {'Cmd': ['other']} if other else None)
    members.update(blobs(description))
    return {**members, 'index.json': index(descriptor(document)),
            'manifest.json': json.dumps([{
                'Config': f'blobs/sha256/{digest(description)}',
                'RepoTags': ['honest:1'],
                'Layers': [f'blobs/sha256/{digest(content)}']}]).encode()}


@dataclasses.dataclass(frozen=True)
class Sample:
    """An archive, and what is to become of it."""

    name: str
    make: Callable[[], bytes]
    #: A regular expression that the refusal matches; empty if there is none.
    refused: str = ''
    #: Only inspected: making the Engine load it takes too long.
    engine: bool = True


def _raw_header(**fields):
    info = tarfile.TarInfo('0/layer.tar')
    for key, value in fields.items():
        setattr(info, key, value)
    return info.tobuf(tarfile.GNU_FORMAT)


def _header_with(at, content):
    """A header of which bytes are changed, with a right checksum."""
    block = bytearray(_raw_header(size=512))
    block[at:at + len(content)] = content
    block[148:156] = b' ' * 8
    block[148:156] = b'%06o\0 ' % sum(block)
    return bytes(block)


def _pax(**headers):
    info = tarfile.TarInfo('0/layer.tar')
    info.pax_headers = headers
    return info


def _pax_member(size=512, content=b'', **headers):
    info = _pax(**headers)
    info.size = size
    return tar([(info, content)], format=tarfile.PAX_FORMAT)


def _doubled_manifest():
    return tar([*saved().items(), ('manifest.json', manifest())])


def _bomb(compress, size=64):
    """Much of nothing in a few bytes, as a layer."""
    content = layer({'zeros': bytes(size * 1024 * 1024)})
    return tar(saved([compress(content)],
                     description=config([content])))


def _many(count):
    return tar([(f'f{number}', b'') for number in range(count)])


def _deep_json():
    return b'[' * 100_000


def _cycle(first, second):
    return tar([
        (entry('0/layer.tar', tarfile.SYMTYPE, first), b''),
        (entry('1/layer.tar', tarfile.SYMTYPE, second), b''),
        ('config.json', config([layer()])),
        ('manifest.json', manifest())])


def _linked(target, kind=tarfile.SYMTYPE):
    """Two layers of which one is a link to the other."""
    content = layer()
    return tar([
        ('config.json', config([content, content])),
        ('0/layer.tar', content),
        (entry('1/layer.tar', kind, target), b''),
        ('manifest.json', manifest(Layers=['0/layer.tar', '1/layer.tar']))])


def _looped_index():
    members, document = oci_image([layer()])
    inner = index(descriptor(document), descriptor(document))
    return {**members, **blobs(inner),
            'index.json': index(*[descriptor(inner)] * 1000)}


def _two_in_an_index():
    one, first = oci_image([layer({'a': b'1'})])
    two, second = oci_image([layer({'a': b'2'})])
    return {**one, **two,
            'index.json': index(descriptor(first), descriptor(second))}


def _wrong_blob():
    members = oci()
    name = next(name for name, content in members.items()
                if b'"layers": [' in content)
    return {**members, name: members[name].replace(b'schemaVersion',
                                                   b'SchemaVersion')}


def _settings(**settings):
    return lambda: tar(saved(settings=settings))


def _with(**changes):
    return lambda: tar(saved(**changes))


def _member(name, kind, target=''):
    return lambda: tar([*saved().items(), (entry(name, kind, target), b'')])


def _in_layer(name, kind, target='', size=0):
    return lambda: tar(saved([layer(extra=[
        (entry(name, kind, target, size), b'')])]))


def _packed(compress):
    return lambda: compress(tar(saved()))


def _packed_layer(compress):
    content = layer({'data': b'words ' * 100_000})
    return lambda: tar(saved([compress(content)],
                             description=config([content])))


def _unsized_zstd(content):
    packer = zstd.ZstdCompressor(options={
        zstd.CompressionParameter.content_size_flag: 0})
    return packer.compress(content) + packer.flush()


_DIR, _SYM, _LNK = tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE

SAMPLES = (
    # What honest tools write.
    Sample('docker save', lambda: tar(saved())),
    Sample('two layers', lambda: tar(saved([layer(), layer({'a': b''})]))),
    Sample('one layer twice', lambda: _linked('../0/layer.tar')),
    Sample('a layer without files', lambda: tar(saved([tar({})]))),
    Sample('pax headers', lambda: tar(saved(), format=tarfile.PAX_FORMAT)),
    Sample('names that begin with a dot', lambda: tar(
        {'./' + name: content for name, content in saved().items()})),
    Sample('directories', lambda: tar([
        (entry('0/', _DIR), b''), *saved().items()])),
    Sample('metadata of old', lambda: tar(saved(
        **{'0/json': b'{"id": "0"}', '0/VERSION': b'1.0'}))),
    *(Sample(f'packed with {name}', _packed(compress))
      for name, compress in COMPRESSIONS.items()),
    *(Sample(f'layers packed with {name}', _packed_layer(compress))
      for name, compress in COMPRESSIONS.items()),
    Sample('two gzip streams', lambda: gzip.compress(
        tar(saved())[:700]) + gzip.compress(tar(saved())[700:])),
    *(Sample(f'OCI layout with {name}', lambda compress=compress: tar(
        oci(compress=compress)))
      for name, compress in COMPRESSIONS.items()),
    Sample('OCI layout, packed', lambda: gzip.compress(tar(oci()))),
    Sample('OCI index first', lambda: tar(dict(sorted(
        oci().items(), key=lambda pair: pair[0] != 'index.json')))),
    Sample('several platforms', lambda: tar(many_platforms(
        'arm64', 'amd64', 's390x'))),
    Sample('several platforms, not nested', lambda: tar(many_platforms(
        'arm64', 'amd64', nested=False))),
    Sample('an index a thousand times', lambda: tar(_looped_index())),
    Sample('both forms', lambda: tar(both_forms())),
    Sample('links, devices and pipes in a layer', lambda: tar(saved([layer(
        extra=[(entry('a', _SYM, '/proc/self'), b''),
               (entry('b', _LNK, 'etc/motd'), b''),
               (entry('dev', _DIR), b''), (entry('proc', _DIR), b''),
               (entry('dev/null', tarfile.CHRTYPE), b''),
               (entry('pipe', tarfile.FIFOTYPE), b'')])]))),
    Sample('labels of ours are taken away', _settings(Labels={
        names.INSTANCE_LABEL: '1', 'fine': 'yes'})),
    Sample('a health check a nanosecond', _settings(Healthcheck={
        'Test': ['CMD', 'x'], 'Interval': 1})),
    Sample('a build trigger', _settings(OnBuild=['RUN x'])),
    Sample('a signal that is none', _settings(StopSignal='SIGNOTHING')),
    Sample('somebody else\'s tag', lambda: tar(saved(tag=VICTIM))),
    Sample('somebody else\'s tag in repositories', _with(repositories=(
        b'{"victim": {"1": "0"}}'))),
    Sample('an index that names somebody else\'s tag', lambda: tar({
        **both_forms(), 'repositories': b'{"victim": {"1": "0"}}'})),
    # The archive itself.
    Sample('nothing', lambda: b'', 'not a tar'),
    Sample('a text', lambda: b'not a tar' * 999, 'not a tar'),
    Sample('a broken gzip', lambda: b'\x1f\x8b\x08' + b'x' * 5000, 'broken'),
    Sample('a cut gzip', lambda: gzip.compress(tar(saved()))[:-40], 'ends'),
    Sample('text behind gzip', lambda: gzip.compress(tar(saved())) + b'text',
           'broken'),
    Sample('a cut tar', lambda: tar(saved())[:1500], 'ends'),
    Sample('a header with a wrong checksum', lambda: b'x' + _raw_header()[1:],
           'not a tar'),
    Sample('more behind the end of one block', lambda: (
        tar(saved())[:1024] + bytes(512) + tar(saved())), 'after its end'),
    Sample('a negative size', lambda: _header_with(
        124, b'\xff' * 12) + bytes(1024), 'size'),
    Sample('a size beyond all bounds', lambda: _header_with(
        124, b'\x80\x00\x00\x00\x7f' + b'\xff' * 7) + bytes(1024), 'ends'),
    Sample('a name of a gigabyte', lambda: _raw_header(
        type=tarfile.GNUTYPE_LONGNAME, size=2 ** 30) + bytes(9999), 'bytes'),
    Sample('attributes of a gigabyte', lambda: _raw_header(
        type=tarfile.XHDTYPE, size=2 ** 30) + bytes(9999), 'bytes'),
    Sample('broken attributes', lambda: _raw_header(
        type=tarfile.XHDTYPE, size=12) + b'99 path=abc\n'.ljust(512, b'\0')
        + _raw_header(), 'attributes'),
    Sample('attributes without a length', lambda: _raw_header(
        type=tarfile.XHDTYPE, size=12) + b'path=abcdef\n'.ljust(512, b'\0')
        + _raw_header(), 'attributes'),
    Sample('a size in attributes that is none', lambda: _raw_header(
        type=tarfile.XHDTYPE, size=11) + b'11 size=-1\n'.ljust(512, b'\0')
        + _raw_header() + bytes(1024), 'size'),
    Sample('a name in two ways', lambda: _raw_header(
        type=tarfile.GNUTYPE_LONGNAME, size=5) + b'proc\0'.ljust(512, b'\0')
        + _raw_header(type=tarfile.XHDTYPE, size=12)
        + b'12 path=abc\n'.ljust(512, b'\0') + _raw_header()
        + bytes(1024), 'twice'),
    Sample('a name that is empty', lambda: _raw_header(
        type=tarfile.XHDTYPE, size=8) + b'8 path=\n'.ljust(512, b'\0')
        + _raw_header() + bytes(1024), 'not at all'),
    Sample('an attribute twice', lambda: _raw_header(
        type=tarfile.XHDTYPE, size=24) + (b'12 path=abc\n' * 2).ljust(
            512, b'\0') + _raw_header() + bytes(1024), 'twice'),
    Sample('a size that only some can read', lambda: _raw_header(
        type=tarfile.XHDTYPE, size=12) + b'12 size=1_0\n'.ljust(512, b'\0')
        + _raw_header() + bytes(1024), 'size'),
    Sample('the rest of a name without its format', lambda: _header_with(
        345, b'x') + bytes(1024), 'readers differ'),
    Sample('a file that is a directory', lambda: _header_with(
        0, b'directory/\0') + bytes(1024), 'a file and a directory'),
    Sample('a name of five thousand characters', _with(
        **{'x' * 5000: b''}), 'too long'),
    Sample('one name for all', lambda: _raw_header(
        type=tarfile.XGLTYPE, size=12) + b'12 path=abc\n'.ljust(512, b'\0')
        + tar(saved()), 'all of its members'),
    Sample('a sparse file of old', lambda: _raw_header(
        type=tarfile.GNUTYPE_SPARSE, size=512) + bytes(1024), 'neither'),
    Sample('a sparse file, 0.1', lambda: _pax_member(
        **{'GNU.sparse.map': '0,1', 'GNU.sparse.size': '1' * 12}),
        'neither'),
    Sample('a sparse file, 1.0', lambda: _pax_member(
        content=b'1\n0\n1\n', **{
            'GNU.sparse.major': '1', 'GNU.sparse.minor': '0',
            'GNU.sparse.name': 'big', 'GNU.sparse.realsize': '1' * 12}),
           'neither'),
    Sample('a member of an unknown kind', _member('x', b'Z'), 'neither'),
    Sample('a device', _member('x', tarfile.CHRTYPE), 'neither'),
    Sample('a disk', _member('x', tarfile.BLKTYPE), 'neither'),
    Sample('a pipe', _member('x', tarfile.FIFOTYPE), 'neither'),
    Sample('a hard link', lambda: _linked('0/layer.tar', _LNK), 'neither'),
    Sample('a link to the host', lambda: _linked('/etc/passwd'), 'leads out'),
    Sample('a link upwards', lambda: _linked('../../etc/passwd'),
           'leads out'),
    Sample('a link to a document', lambda: _linked('../config.json'),
           'no layer'),
    Sample('a link to nothing', lambda: _linked('../9/layer.tar'),
           'no layer'),
    Sample('links in a circle', lambda: _cycle('../1/layer.tar',
                                               '../0/layer.tar'), 'no layer'),
    Sample('a link to itself', lambda: _cycle('layer.tar', 'layer.tar'),
           'no layer'),
    Sample('an absolute name', _with(**{'/etc/x': b''}), 'leads out'),
    Sample('a name upwards', _with(**{'../x': b''}), 'leads out'),
    Sample('a name upwards from within', _with(**{'a/../../x': b''}),
           'leads out'),
    Sample('two manifests', _doubled_manifest, 'twice'),
    Sample('a name in two spellings', lambda: tar([
        *saved().items(), ('.//0/layer.tar', b'x')]), 'twice'),
    # Documents.
    Sample('no manifest', _with(**{'manifest.json': None}), 'neither a'),
    Sample('a manifest that is no JSON', _with(**{'manifest.json': b'[{'}),
           'not JSON'),
    Sample('a manifest that is too deep', _with(
        **{'manifest.json': _deep_json()}), 'not JSON'),
    Sample('a manifest of another kind', _with(**{'manifest.json': b'{}'}),
           'not understood'),
    Sample('an entry of another kind', _with(**{'manifest.json': b'[1]'}),
           'not understood'),
    Sample('no image', _with(**{'manifest.json': b'[]'}), 'exactly one'),
    Sample('two images', _with(**{'manifest.json': b'[{}, {}]'}),
           'exactly one'),
    Sample('a manifest that is too large', _with(
        **{'manifest.json': b'[' + b' ' * 2 ** 21}), 'larger'),
    Sample('a configuration that is not there', _with(
        **{'manifest.json': manifest(Config='other.json')}), 'does not hold'),
    Sample('a configuration that is a list', lambda: tar(saved(
        description=b'[]')), 'not understood'),
    Sample('a configuration that is too large', _settings(
        Env=['A=' + 'x' * 300_000]), 'larger'),
    Sample('layers that are no list', _with(
        **{'manifest.json': manifest(Layers='0/layer.tar')}),
        'not understood'),
    Sample('a layer that is not there', _with(
        **{'manifest.json': manifest(Layers=['9/layer.tar'])}),
        'does not hold'),
    Sample('a layer that is a file of the host', _with(
        **{'manifest.json': manifest(Layers=['../../../etc/passwd'])}),
        'does not hold'),
    Sample('a layer that is not described', _with(
        description=config([])), 'describes'),
    Sample('the layers of somebody else', lambda: tar(saved(
        [layer({'x': b''})], description=config([layer({'secret': b''})]))),
        'content of layer'),
    Sample('a digest that is none', lambda: tar(saved(
        description=config([], rootfs={'diff_ids': ['sha256:../x']}))),
        'rootfs'),
    Sample('128 layers', lambda: tar(saved(
        [layer({f'{number}': b''}) for number in range(128)])), 'may have'),
    Sample('a text for a list', _settings(Env='A=b'), 'Env'),
    Sample('a zero in a command', _settings(Cmd=['a\0b']), 'Cmd'),
    Sample('settings that are a list', lambda: tar(saved(
        description=config([layer()], config=[1]))), 'not understood'),
    Sample('labels that are a list', _settings(Labels=[1]), 'Labels'),
    Sample('the Engine\'s own files', _settings(
        WorkingDir='/proc/self/fd/7'), 'working directory'),
    Sample('the Engine\'s own files, spelt oddly', _settings(
        WorkingDir='//./proc/../proc/self/fd'), 'working directory'),
    Sample('a volume over everything', _settings(Volumes={'/': {}}),
           'volume'),
    Sample('a volume in /proc', _settings(Volumes={'/proc/x': {}}),
           'volume'),
    Sample('a volume without a path', _settings(Volumes={'x': {}}),
           'volume'),
    Sample('a hundred volumes', _settings(
        Volumes={f'/v{number}': {} for number in range(100)}), '100 volumes'),
    Sample('another architecture', lambda: tar(saved(
        description=config([layer()], architecture='s390x'))), 's390x'),
    Sample('another system', lambda: tar(saved(
        description=config([layer()], os='windows'))), 'windows'),
    Sample('no platform of ours', lambda: tar(many_platforms(
        'arm64', 's390x')), 'no image for amd64; it is for arm64, s390x'),
    Sample('two images in an index', lambda: tar(_two_in_an_index()),
           'exactly one'),
    Sample('two forms that differ', lambda: tar(both_forms(other=True)),
           'different'),
    Sample('an index of another kind', lambda: tar(
        {**oci(), 'index.json': b'[]'}), 'not understood'),
    Sample('an index without entries', lambda: tar(
        {**oci(), 'index.json': b'{"manifests": 7}'}), 'not understood'),
    Sample('a digest that leads away', lambda: tar({
        **oci(), 'index.json': index({'digest': 'sha256:../../x'})}),
        'no digest'),
    Sample('a document that is not its digest\'s', lambda: tar(
        _wrong_blob()), 'not the digest'),
    # Layers.
    Sample('a layer that is a text', lambda: tar(saved(
        [b'x' * 5000])), 'is none'),
    Sample('a layer that is cut', lambda: tar(saved([layer()[:700]])),
           'ends'),
    Sample('a layer upwards', lambda: tar(saved([layer({'../x': b''})])),
           'out of a layer'),
    *(Sample(f'/{name} as a link', _in_layer(name, _SYM, '/etc'),
             f'/{name} is no') for name in ('dev', 'proc', 'sys')),
    Sample('/proc as a file', lambda: tar(saved([layer({'proc': b''})])),
           '/proc is no'),
    Sample('/dev as a hard link', _in_layer('./dev', _LNK, 'etc/motd'),
           '/dev is no'),
    Sample('/sys as a pipe', _in_layer('a//../sys'.replace('a//../', './/'),
                                       tarfile.FIFOTYPE), '/sys is no'),
    Sample('a sparse file in a layer', lambda: tar(saved([
        layer()[:1024] + _raw_header(
            type=tarfile.GNUTYPE_SPARSE, size=512) + bytes(2048)])),
           'neither'),
    # Bombs.
    Sample('a gzip bomb', lambda: _bomb(gzip.compress), '200:1'),
    Sample('a bzip2 bomb', lambda: _bomb(bz2.compress), '200:1'),
    Sample('an xz bomb', lambda: _bomb(lzma.compress), '200:1'),
    Sample('a zstd bomb', lambda: _bomb(zstd.compress), '200:1'),
    Sample('a bomb in a bomb', lambda: gzip.compress(
        _bomb(lambda content: zstd.compress(content))), '200:1'),
    Sample('a packed bomb', lambda: gzip.compress(
        tar(saved([layer({'zeros': bytes(64 * 1024 * 1024)})]))), '200:1'),
    Sample('members without end', lambda: tar(saved([_many(5001)])),
           'members'),
    Sample('members of the archive without end', lambda: _many(5001),
           'members'),
    Sample('larger than all bounds', lambda: tar(saved(
        [layer({'zeros': bytes(101 * 1024 * 1024)})])), 'unpacked'),
    Sample('a window of 128 MiB', lambda: tar(saved([lzma.compress(
        layer(), filters=[{'id': lzma.FILTER_LZMA2, 'preset': 0,
                           'dict_size': 128 * 1024 * 1024}])])), 'memory'),
)
