"""Uploaded files and where they are kept, out of the settings."""

from server.errors import ConfigError
from server.files.blobs import Blobs, DiskThreads, FolderBlobs
from server.files.incoming import Incoming
from server.files.record import Catalogue, Usage
from server.files.sqlite_catalogue import SqliteCatalogue
from server.files.store import FileStore
from server.files.sweep import Sweeper
from server.files.upload import FileLimits
from server.metrics import Metrics
from server.setting_sections.media import FileSettings
from server.settings import Settings


def make_files(settings: Settings, metrics: Metrics) -> tuple[FileStore | None, Sweeper | None]:
    """Raises ConfigError where the folder, the catalogue or the bucket's client cannot be used."""
    files = settings.files
    if files.path is None:
        return None, None
    disk = DiskThreads(metrics)
    try:
        files.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        incoming = Incoming.open(files.path / "incoming")
        if files.s3_bucket is None:
            blobs: Blobs = FolderBlobs(files.path / "blobs", disk)
            catalogue: Catalogue = SqliteCatalogue(files.path / "catalogue.sqlite", metrics)
        else:
            blobs, catalogue = make_s3(files.s3_bucket, files, metrics)
    except OSError as problem:
        raise ConfigError(f"files.path: cannot use {files.path}: {problem.strerror}") from problem
    quota = Usage(files.tenant_files, files.tenant_bytes)
    limits = FileLimits(settings.images.max_bytes, files.max_uploads, files.ttl_s, quota)
    store = FileStore(limits, catalogue, blobs, incoming, disk, metrics)
    return store, Sweeper(catalogue, blobs, metrics)


def make_s3(name: str, files: FileSettings, metrics: Metrics) -> tuple[Blobs, Catalogue]:
    try:  # an optional extra
        from server.files.s3 import Bucket, S3Blobs, open_bucket
        from server.files.s3_catalogue import S3Catalogue
    except ModuleNotFoundError as problem:
        raise ConfigError(f"files.s3_bucket: {problem.name} is not installed: pip install 'fovea[s3]'") from problem
    bucket = Bucket(open_bucket(name, files.s3_prefix, files.s3_endpoint, files.s3_region), metrics)
    return S3Blobs(bucket), S3Catalogue(bucket)
