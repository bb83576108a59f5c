"""What is counted of uploaded files. Threads count some of it."""

from server.metering.declaring import Declarations
from server.metering.labels import Label


class FileMetrics:
    def __init__(self, declare: Declarations) -> None:
        self.file_uploads = declare.counter(
            "fovea_files_uploads",
            "Uploads ended; left: by their caller",
            Label("outcome", ("stored", "refused", "failed", "left")),
        )
        self.file_bytes = declare.counter("fovea_files_uploaded_bytes", "Bytes of stored uploads")
        self.files_removed = declare.counter(
            "fovea_files_removed",
            "Files deleted or expired; bytes that were orphaned",
            Label("reason", ("deleted", "expired", "orphaned")),
        )
        self.file_failures = declare.counter(
            "fovea_files_failures",
            "Failures of disk, catalogue or s3, and damaged bytes",
            Label("place", ("disk", "catalogue", "s3", "bytes")),
            Label("kind", ("full", "failed", "damaged")),
        )
        self.embeddings_forgotten = declare.counter(
            "fovea_embeddings_forgotten",
            "Names of deleted files' pictures, told to each engine; none_kept: it keeps no embeddings, failed: "
            "told again later",
            Label("outcome", ("forgotten", "none_kept", "failed", "given_up")),
        )
