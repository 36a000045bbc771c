"""What the URLs of stores say, as fsspec takes them: one rule for whatever keeps files there.

Nothing here needs fsspec, or makes a request.
"""

from __future__ import annotations

import re
from typing import Final

__all__ = ["FOLDER_PROTOCOLS", "without_user_info"]

#: Where a folder has to be made before a file is written into it. Elsewhere, to make one may be to make a bucket, and a
#: name with a typo would become one.
FOLDER_PROTOCOLS: Final = frozenset({"ftp", "hdfs", "sftp", "smb", "ssh", "webdav", "webhdfs"})

#: What stands before the host in a URL, up to the last @: `abfs://container@account` is none, it names no user.
_USER_INFO: Final = re.compile(r"(?<!abfs)(?<!abfss)://[^/]*@")


def without_user_info(url: str) -> str:
    """Return a URL, or a text with one in it, without user and password: for messages, logs and records."""
    return _USER_INFO.sub("://", url)
