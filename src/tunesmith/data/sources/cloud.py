# Copyright 2026 the tunesmith authors
# SPDX-License-Identifier: Apache-2.0
"""Files in a cloud's storage (s3:// and gs://), fetched once through fsspec into the user's cache."""

import hashlib
from pathlib import Path
from typing import Any

from tunesmith.core.errors import TunesmithError, refusal
from tunesmith.core.files import write_stream_atomic
from tunesmith.core.optional import import_by_name
from tunesmith.core.progress import say
from tunesmith.models.cache import user_cache

# Protocol → the package that speaks it.
PROTOCOLS = {"s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs"}
_CHUNK_BYTES = 2**20


def fetch_cloud_file(url: str) -> Path:
    """Fetch a file, anonymously first and then with the credentials of the environment; fetched ones are kept."""
    protocol = url.partition("://")[0]
    if protocol not in PROTOCOLS:
        raise refusal(
            "data.cloud_unreachable",
            f"The address {url!r} is none of a cloud that is known.",
            f"Addresses begin with {', '.join(f'{name}://' for name in PROTOCOLS)}.",
        )
    fsspec: Any = import_by_name("fsspec")
    reasons: list[str] = []
    anonymous: dict[str, object] = {"anon": True} if PROTOCOLS[protocol] == "s3fs" else {"token": "anon"}
    for options in (anonymous, {}):
        try:
            files, path = fsspec.core.url_to_fs(url, **options)
            return _fetch(files, path, url)
        except ImportError as error:
            raise _package_missing(protocol, url) from error
        except (OSError, ValueError) as error:
            reasons.append(str(error))
    raise refusal(
        "data.cloud_unreachable",
        f"{url} cannot be fetched: {reasons[0]} (anonymously); {reasons[-1]} (with the credentials at hand).",
        "Check the address, the network and your credentials, or download the file and name it in file_name.",
    )


def _fetch(files: Any, path: str, url: str) -> Path:
    """Copy a file into the cache, unless the same version lies there."""
    facts = files.info(path)
    version = [str(facts.get(key)) for key in ("size", "ETag", "etag", "LastModified", "mtime", "updated")]
    key = hashlib.sha256("\n".join([url, *version]).encode("utf-8")).hexdigest()[:32]
    target = user_cache() / "cloud" / key / url.rpartition("/")[2]
    if target.is_file():
        return target
    say(f"{url}: fetched into {target.parent.as_posix()}")
    target.parent.mkdir(parents=True, exist_ok=True)
    with files.open(path, mode="rb") as source, write_stream_atomic(target) as stream:
        while chunk := source.read(_CHUNK_BYTES):
            stream.write(chunk)
    return target


def _package_missing(protocol: str, url: str) -> TunesmithError:
    package = PROTOCOLS[protocol]
    return refusal(
        "environment.package_missing",
        f"{url} needs the package {package!r}, which is not installed.",
        f"Install it with: pip install {package}; or download the file and name it in file_name.",
    )
