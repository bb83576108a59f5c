"""Settings of pictures, videos and files."""

import re
from pathlib import Path
from typing import Literal, Self

from pydantic import ByteSize, Field, field_validator, model_validator

from server.setting_sections.section import Section

ImageFormat = Literal["jpeg", "png", "webp", "gif", "avif", "tiff", "heic"]


class ImageSettings(Section):
    max_count: int = Field(16, ge=0, description="images a request may hold")
    max_bytes: ByteSize = Field(ByteSize(20 * 1024**2), description="bytes of one image")
    max_pixels: int = Field(36_000_000, gt=0, description="width x height of one image")
    max_side: int = Field(16_384, gt=0, description="width or height of one image, in pixels")
    max_aspect: int = Field(200, gt=0, description="longer side over shorter")
    max_frames: int = Field(1000, gt=0, description="frames of an animation, of which the first is taken")
    max_request_bytes: ByteSize = Field(
        ByteSize(64 * 1024**2), description="bytes of all images of a request together"
    )
    max_request_pixels: int = Field(144_000_000, gt=0, description="pixels of all images of a request together")
    formats: tuple[ImageFormat, ...] = Field(
        ("jpeg", "png", "webp", "gif", "avif"),
        description="formats that are taken; also: tiff, and heic with the extra of that name",
    )
    downscale: bool = Field(
        True, description="send engines no more pixels than the model's preprocessor keeps, where it is known"
    )
    low_detail_pixels: int = Field(512 * 512, gt=0, description="pixels of an image with detail: low")
    auto_detail: Literal["low", "high"] = Field("high", description="what detail: auto means")
    rendition_cache: ByteSize = Field(
        ByteSize(64 * 1024**2), description="bytes of downscaled and re-encoded images that are kept"
    )
    allow_http: bool = Field(False, description="fetch http:// as well as https://")
    allow_private_addresses: bool = Field(False, description="fetch from private and loopback addresses")
    ca_file: Path | None = Field(None, description="certificates to trust when fetching, besides the system's")
    allow_domains: tuple[str, ...] = Field((), description="fetch from these and what is below them only")
    deny_domains: tuple[str, ...] = Field((), description="never fetch from these or what is below them")
    fetch_timeout_s: float = Field(15, gt=0, description="for the whole of a fetch, redirects included")
    fetch_connect_s: float = Field(5, gt=0, description="to connect to a host")
    fetch_first_byte_s: float = Field(10, gt=0, description="for a host's answer to begin, connecting included")
    max_redirects: int = Field(3, ge=0, description="hops a fetch may follow, each checked anew")
    max_fetches: int = Field(32, gt=0, description="fetches under way at once")
    max_fetches_per_host: int = Field(8, gt=0, description="of these to one host")
    fetch_cache: ByteSize = Field(ByteSize(128 * 1024**2), description="bytes of fetched images that are kept")
    fetch_ttl_s: float = Field(60, ge=0, description="how long, where the host does not say")
    fetch_max_ttl_s: float = Field(3600, ge=0, description="how long at most, whatever the host says")
    check_threads: int = Field(2, gt=0, description="threads that decode base64, read headers and digest")
    decode_threads: int = Field(2, gt=0, description="threads that decode rasters, where that is needed")
    work_timeout_s: float = Field(
        10, gt=0, description="time that one of these has for an image, queueing included"
    )
    isolate_tenants: bool = Field(True, description="equal images of two tenants get different identities")

    @field_validator("allow_domains", "deny_domains")
    @classmethod
    def check_domains(cls, domains: tuple[str, ...]) -> tuple[str, ...]:
        for domain in domains:
            if not re.fullmatch(r"[a-z0-9-]+(\.[a-z0-9-]+)*", domain):
                raise ValueError(f"'{domain}' is not a domain like example.com (lower case; IDN as xn--...)")
        return domains


class FileSettings(Section):
    path: Path | None = Field(None, description="folder of uploaded files; none: /v1/files is off")
    max_uploads: int = Field(32, gt=0, description="uploads under way at once")
    upload_timeout_s: float = Field(120, gt=0, le=1800, description="time a caller has to send a file")
    ttl_s: int = Field(30 * 24 * 3600, gt=0, description="how long a file is kept, where its upload does not say")
    tenant_files: int = Field(1000, gt=0, le=10_000, description="files that a tenant may have")
    tenant_bytes: ByteSize = Field(ByteSize(1024**3), description="bytes that a tenant's files may have")
    sweep_s: float = Field(60, gt=0, description="seconds between looks for expired files")
    s3_bucket: str | None = Field(None, description="keep files in this bucket; path then holds uploads under way")
    s3_prefix: str = Field("", description="put before all names in the bucket")
    s3_endpoint: str | None = Field(None, description="URL of an S3 store that is not AWS's")
    s3_region: str = Field("us-east-1", description="region of the bucket")

    @model_validator(mode="after")
    def a_bucket_needs_a_folder(self) -> Self:
        if self.s3_bucket is not None and self.path is None:
            raise ValueError("s3_bucket needs path too: uploads are written there before they are sent on")
        return self


class VideoSettings(Section):
    max_count: int = Field(0, ge=0, description="videos a request may hold; 0: videos are not taken")
    max_bytes: ByteSize = Field(ByteSize(16 * 1024**2), description="bytes of one video")
    max_duration_s: float = Field(60, gt=0, description="length of one video, as it says itself")
    max_frames: int = Field(3600, gt=0, description="pictures of one video, as it says itself")
    max_pixels: int = Field(3840 * 2160, gt=0, description="width x height of these, as it says itself")
