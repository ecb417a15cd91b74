"""The name and certificate with which this host serves others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sluicegate.services import durable
from sluicegate.services.host.certificates import Pair, check_pair, content, read_pair
from sluicegate.services.host.issuing import authority_file, own_pair


@dataclass
class ServedName:
    """The name and certificate with which this host serves others. Broken files do not affect the pair in use."""

    folder: Path
    host: str
    files: tuple[Path, Path] | None
    """Files of a certificate and key that are renewed elsewhere; None: they are created here."""
    clock: Callable[[], datetime]

    @property
    def in_use(self) -> Path:
        """The file with the pair in use, which serving programs watch."""
        return self.folder / "in-use.pem"

    @property
    def authority(self) -> Path | None:
        """The authority that clients have to trust in addition to their system's; None if there is none."""
        return authority_file(self.folder) if self.files is None else None

    def take_up(self) -> Pair:
        """Put the pair in the files in use. Raises InvalidSetting; then the former pair stays in use."""
        now = self.clock()
        pair = read_pair(*(self.files or own_pair(self.folder, self.host, now)), self.host, now)
        if not self.in_use.exists() or self.in_use.read_text(encoding="utf-8") != pair.text:
            durable.replace(self.in_use, pair.text, mode=durable.PRIVATE)
        return pair

    def pair_in_use(self) -> Pair:
        """The pair in use. Raises InvalidSetting if it is no longer valid, or if there is none."""
        text = content(self.in_use)
        key = text[text.rfind(b"-----BEGIN") :]
        return check_pair(text.removesuffix(key), key, self.host, self.clock(), where=(str(self.in_use),) * 2)
