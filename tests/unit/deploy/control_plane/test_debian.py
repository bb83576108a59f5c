from pathlib import Path

import pytest

from deploy.control_plane.debian import Debian, UnavailableError, own_sources

STANZAS = """Types: deb
# a comment
URIs: http://mirror.example.com/debian
Suites: bookworm bookworm-updates
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://mirror.example.com/node
Suites: nodistro
Components: main
"""
LINES = """# deb http://old.example.com/debian bookworm main
deb [signed-by=/usr/share/keyrings/x.gpg] http://mirror.example.com/debian bookworm main
deb-src http://mirror.example.com/debian bookworm main
deb http://mirror.example.com/security bookworm-security main contrib
deb http://mirror.example.com/cloud cloud-sdk-bookworm main
"""


def test_the_machines_own_archive_is_asked_for_sources_too(tmp_path: Path) -> None:
    (tmp_path / "sources.list.d").mkdir()
    (tmp_path / "sources.list.d" / "debian.sources").write_text(STANZAS)
    lines, stanzas = own_sources(tmp_path, "bookworm")
    assert lines == ""
    assert stanzas.startswith("Types: deb deb-src\n# a comment\nURIs: http://mirror.example.com/debian\nSuites: ")
    assert "Signed-By" in stanzas
    assert "nodistro" not in stanzas


def test_lines_of_the_old_format_keep_their_keys_and_nobody_elses_are_taken(tmp_path: Path) -> None:
    (tmp_path / "sources.list").write_text(LINES)
    lines, stanzas = own_sources(tmp_path, "bookworm")
    assert stanzas == ""
    assert lines.splitlines() == [
        "deb [signed-by=/usr/share/keyrings/x.gpg] http://mirror.example.com/debian bookworm main",
        "deb-src [signed-by=/usr/share/keyrings/x.gpg] http://mirror.example.com/debian bookworm main",
        "deb http://mirror.example.com/security bookworm-security main contrib",
        "deb-src http://mirror.example.com/security bookworm-security main contrib",
    ]


def test_a_machine_without_an_archive_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UnavailableError, match=r"names no archive of Debian|there is no apt-get here"):
        Debian(tmp_path / "apt", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UnavailableError, match="there is no apt-get here"):
        Debian(tmp_path / "apt", tmp_path)
