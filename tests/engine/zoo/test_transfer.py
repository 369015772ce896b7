"""One file over HTTP on good and on bad days, from a server on this computer."""

from __future__ import annotations

import gzip
import json
import shutil
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from model_server import ModelServer, Offer
from zoo_cases import QUICK as SHORT
from zoo_cases import Recorder, described, digest

from geoseg_qgis.engine.zoo.addresses import Address
from geoseg_qgis.engine.zoo.card import WeightsFile
from geoseg_qgis.engine.zoo.http_client import TransferSettings
from geoseg_qgis.engine.zoo.partial import PartialFile
from geoseg_qgis.engine.zoo.transfer import Transfer
from geoseg_qgis.protocol.errors import CancelledError, ErrorCode, JobError

CONTENT = bytes(range(256)) * 400
DIGEST = digest(CONTENT)
QUICK = replace(SHORT, attempts=3)
SAM = described("sam.pt", CONTENT)


class Fetching:
    """Downloads one file of the server into a folder."""

    def __init__(self, server: ModelServer, folder: Path, recorder: Recorder) -> None:
        self.server, self.folder, self.recorder = server, folder, recorder
        self.final = folder / "sam.pt"
        self.part = folder / "sam.pt.part"

    def __call__(
        self,
        weights: WeightsFile = SAM,
        settings: TransferSettings = QUICK,
        on_hub: bool = False,
        url: str = "",
    ) -> Transfer:
        address = Address(url or self.server.url("/sam.pt"), "https://page.example/sam", on_hub)
        partial = PartialFile(self.final, weights.sha256 or address.url)
        moved = Transfer(address, weights, partial, self.recorder.context, settings)
        moved.run()
        partial.finish()
        return moved

    def fail(self, **arguments) -> JobError:
        with pytest.raises(JobError) as caught:
            self(**arguments)
        assert not self.final.exists()
        return caught.value


@pytest.fixture
def fetch(server: ModelServer, tmp_path: Path, recorder: Recorder) -> Fetching:
    (tmp_path / "models").mkdir()
    return Fetching(server, tmp_path / "models", recorder)


@pytest.fixture
def silence() -> Iterator[threading.Event]:
    """Set when the test is over, for servers that wait."""
    over = threading.Event()
    yield over
    over.set()


def ranges(server: ModelServer) -> list[str]:
    return [asked.headers.get("range", "") for asked in server.asked]


def test_a_whole_file_in_one_go(fetch, server) -> None:
    server.offers["/sam.pt"] = Offer(CONTENT)
    assert fetch().received == len(CONTENT)
    assert fetch.final.read_bytes() == CONTENT
    assert [path.name for path in fetch.folder.iterdir()] == ["sam.pt"]
    assert fetch.recorder.fractions[-1] == 1.0
    assert fetch.recorder.phases[0] == "Downloading sam.pt (0.1 MB)"
    assert server.asked[0].headers["accept-encoding"] == "identity"


def test_broken_connections_are_taken_up_where_they_ended(fetch, server) -> None:
    server.offers["/sam.pt"] = Offer(CONTENT, break_after=[40_000, 30_000])
    assert fetch().received == len(CONTENT)
    assert fetch.final.read_bytes() == CONTENT
    assert ranges(server) == ["", "bytes=40000-", "bytes=70000-"]
    assert server.asked[1].headers["if-range"] == '"one"'


def test_a_cancel_keeps_what_came_and_the_next_call_goes_on(fetch, server) -> None:
    server.offers["/sam.pt"] = Offer(CONTENT, pause=lambda: None)
    fetch.recorder.cancelled = lambda: fetch.part.is_file() and fetch.part.stat().st_size > 0
    with pytest.raises(CancelledError):
        fetch()
    kept = fetch.part.stat().st_size
    assert 0 < kept <= len(CONTENT)
    assert not fetch.final.exists()
    fetch.recorder.cancelled = lambda: False
    assert fetch().received == len(CONTENT) - kept
    assert fetch.final.read_bytes() == CONTENT


def test_a_file_that_changed_meanwhile_begins_anew(fetch, server) -> None:
    offer = server.offers["/sam.pt"] = Offer(bytes(len(CONTENT)), break_after=[50_000], length=None)
    weights = replace(SAM, sha256=None)
    with pytest.raises(JobError):
        fetch(weights, replace(QUICK, attempts=1))
    assert fetch.part.stat().st_size == 50_000
    server.offers["/sam.pt"] = replace(offer, content=CONTENT, etag='"two"')
    assert fetch(weights).received == len(CONTENT)
    assert fetch.final.read_bytes() == CONTENT
    assert server.asked[-1].headers["if-range"] == '"one"'


def test_without_validator_and_digest_nothing_is_taken_up(fetch, server) -> None:
    server.offers["/sam.pt"] = Offer(CONTENT, etag="", break_after=[50_000])
    assert fetch(replace(SAM, sha256=None)).received == 50_000 + len(CONTENT)
    assert ranges(server) == ["", ""]
    assert "only the encrypted connection vouches" in fetch.recorder.sentences[0]


def test_weak_validators_prove_nothing(fetch, server) -> None:
    server.offers["/sam.pt"] = Offer(CONTENT, etag='W/"one"', break_after=[50_000])
    fetch()
    assert ranges(server) == ["", "bytes=50000-"]
    assert "if-range" not in server.asked[1].headers
    assert fetch.final.read_bytes() == CONTENT


def test_parts_of_something_else_are_dropped(fetch, server) -> None:
    server.offers["/sam.pt"] = Offer(CONTENT)
    fetch.part.write_bytes(b"other" * 100)
    fetch.part.with_name("sam.pt.part.json").write_text(json.dumps({"identity": "other"}))
    fetch()
    assert ranges(server) == [""]
    assert fetch.final.read_bytes() == CONTENT


def test_a_server_that_ignores_ranges_begins_anew(fetch, server) -> None:
    server.offers["/sam.pt"] = Offer(CONTENT, ranges=False, break_after=[40_000])
    assert fetch().received == 40_000 + len(CONTENT)
    assert fetch.final.read_bytes() == CONTENT


def test_another_part_than_asked_for_is_not_appended(fetch, server) -> None:
    server.offers["/sam.pt"] = Offer(CONTENT, break_after=[40_000], shift=7)
    fetch()
    assert fetch.final.read_bytes() == CONTENT
    assert ranges(server) == ["", "bytes=40000-", ""]


@pytest.mark.parametrize("range_", ["bytes", "bytes ²-9/9", "bytes " + "4" * 5000 + "-5/*", ""])
def test_a_range_that_makes_no_sense_is_not_appended(fetch, server, range_) -> None:
    headers = {"Content-Range": range_}
    server.offers["/sam.pt"] = Offer(CONTENT, break_after=[40_000], headers=headers)
    fetch()
    assert fetch.final.read_bytes() == CONTENT
    assert ranges(server) == ["", "bytes=40000-", ""]


def test_a_range_that_was_not_asked_for_is_not_taken_for_the_file(fetch, server) -> None:
    headers = {"Content-Range": f"bytes 0-9/{len(CONTENT)}"}
    server.offers["/sam.pt"] = Offer(CONTENT[:10], partial=True, headers=headers)
    assert "has 10 bytes instead of" in fetch.fail().message
    assert "another SHA-256" in fetch.fail(weights=replace(SAM, size=None)).message


def test_a_part_that_is_too_long_begins_anew(fetch, server) -> None:
    weights = replace(SAM, size=None)
    server.offers["/sam.pt"] = Offer(CONTENT)
    fetch.part.write_bytes(bytes(len(CONTENT) + 5))
    fetch.part.with_name("sam.pt.part.json").write_text(json.dumps({"identity": DIGEST}))
    fetch(weights)
    assert ranges(server) == [f"bytes={len(CONTENT) + 5}-", ""]
    assert fetch.final.read_bytes() == CONTENT


def test_a_wrong_digest_is_deleted_and_reported(fetch, server) -> None:
    server.offers["/sam.pt"] = Offer(bytes(len(CONTENT)))
    error = fetch.fail()
    assert error.code is ErrorCode.MODEL_INVALID
    assert "was deleted, because it is not the file that the card describes: it has another" in str(
        error
    )
    assert list(fetch.folder.iterdir()) == []
    assert len(server.asked) == 1


def test_a_size_that_cannot_be_right_is_not_fetched(fetch, server) -> None:
    server.offers["/sam.pt"] = Offer(CONTENT * 2)
    error = fetch.fail()
    assert f"it has {2 * len(CONTENT)} bytes instead of {len(CONTENT)}" in error.message
    assert list(fetch.folder.iterdir()) == []


def test_a_promise_of_more_bytes_than_come_is_an_interruption(fetch, server) -> None:
    server.offers["/sam.pt"] = Offer(CONTENT, length=len(CONTENT) + 1000)
    error = fetch.fail(weights=replace(SAM, size=None))
    assert error.code is ErrorCode.MODEL_MISSING
    assert "the connection to 127.0.0.1 broke" in error.message
    assert "What arrived so far is kept" in error.hint
    assert fetch.part.stat().st_size == len(CONTENT)


def test_a_promise_of_fewer_bytes_than_belong_is_found_out(fetch, server) -> None:
    server.offers["/sam.pt"] = Offer(CONTENT, length=len(CONTENT) - 1000)
    error = fetch.fail(weights=replace(SAM, size=None))
    assert error.code is ErrorCode.MODEL_INVALID
    assert "another SHA-256" in error.message


def test_tries_that_bring_nothing_are_counted(fetch, server) -> None:
    server.offers["/sam.pt"] = Offer(CONTENT, failures=99)
    error = fetch.fail()
    assert error.message == (
        "sam.pt could not be downloaded, because 127.0.0.1 responds with status 503."
    )
    assert error.hint.startswith("Check the network connection and the proxy. Run again later, or")
    assert len(server.asked) == 3


def test_passing_troubles_pass(fetch, server) -> None:
    server.offers["/sam.pt"] = Offer(CONTENT, failures=2, headers={"Retry-After": "0"})
    fetch()
    assert len(server.asked) == 3


def test_drops_of_bytes_do_not_count_as_progress(fetch, server) -> None:
    server.offers["/sam.pt"] = Offer(CONTENT, break_after=[10, 10, 10, 10, 10])
    fetch.fail()
    assert len(server.asked) == 3
    assert fetch.part.stat().st_size == 30


def test_progress_forgives_earlier_breaks(fetch, server) -> None:
    server.offers["/sam.pt"] = Offer(CONTENT, break_after=[15_000] * 5)
    fetch(settings=replace(QUICK, minimum_progress=10_000))
    assert len(server.asked) == 6


@pytest.mark.parametrize(
    ("status", "headers", "words"),
    [
        (404, {}, "127.0.0.1 has no sam.pt (status 404). It may have moved: look at"),
        (403, {}, "gives you no access to sam.pt (status 403). See https://page.example/sam"),
        (401, {"X-Error-Code": "RepoNotFound"}, "gives you no access to sam.pt (status 401)."),
        (418, {}, "does not send sam.pt (status 418)."),
        (407, {}, "The proxy could not be used"),
    ],
)
def test_refusals_are_explained_at_once(fetch, server, status, headers, words) -> None:
    server.offers["/sam.pt"] = Offer(status=status, headers=headers)
    assert words in str(fetch.fail())
    assert len(server.asked) == 1


def test_gated_models_name_page_and_variable(fetch, server) -> None:
    server.offers["/sam.pt"] = Offer(status=401, headers={"X-Error-Code": "GatedRepo"})
    error = fetch.fail(on_hub=True)
    assert error.code is ErrorCode.MODEL_MISSING
    assert "only after access was granted (status 401)" in error.message
    assert "Visit https://page.example/sam" in error.hint
    assert "set the variable HF_TOKEN" in error.hint
    assert "authorization" not in server.asked[0].headers


def test_repositories_that_are_not_there_are_distinguished_from_gated_ones(fetch, server) -> None:
    server.offers["/sam.pt"] = Offer(status=401, headers={"X-Error-Code": "RepoNotFound"})
    error = fetch.fail(on_hub=True)
    assert error.message == "127.0.0.1 has no sam.pt, or keeps it private (status 401)."
    assert "look at https://page.example/sam" in error.hint


def test_an_account_without_access_is_told(fetch, server, monkeypatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_pieces_of_a_word")
    server.offers["/sam.pt"] = Offer(status=403, headers={"X-Error-Code": "GatedRepo"})
    error = fetch.fail(on_hub=True)
    assert "and make sure that your token may read it" in error.hint
    assert server.asked[0].headers["authorization"] == "Bearer hf_pieces_of_a_word"
    assert "hf_pieces" not in str(error) + error.detail
    server.offers["/sam.pt"] = Offer(status=401)
    assert "does not accept the access token" in fetch.fail(on_hub=True).message


def test_the_account_is_not_named_where_a_redirect_leads(
    fetch, server, trusted, monkeypatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_pieces_of_a_word")
    with ModelServer(trusted) as store:
        store.offers["/blob"] = Offer(CONTENT, break_after=[40_000])
        server.offers["/moved"] = Offer(location=store.url("/blob"))
        server.offers["/sam.pt"] = Offer(location="/moved")
        fetch(on_hub=True)
        kept = [asked.headers for asked in store.asked]
    assert fetch.final.read_bytes() == CONTENT
    assert [asked.headers.get("authorization") for asked in server.asked] == [
        "Bearer hf_pieces_of_a_word"
    ] * 4
    assert not any("authorization" in headers for headers in kept)
    assert kept[1]["range"] == "bytes=40000-"


def test_no_account_is_named_elsewhere(fetch, server, monkeypatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_pieces_of_a_word")
    server.offers["/sam.pt"] = Offer(CONTENT)
    fetch()
    assert "authorization" not in server.asked[0].headers


def test_the_digest_that_the_hub_states_is_checked(fetch, server, trusted) -> None:
    unknown = replace(SAM, sha256=None)
    with ModelServer(trusted) as store:
        store.offers["/blob"] = Offer(CONTENT, headers={"X-Linked-Etag": '"' + "0" * 64 + '"'})
        server.offers["/sam.pt"] = Offer(
            location=store.url("/blob"), headers={"X-Linked-Etag": f'"{DIGEST}"'}
        )
        fetch(unknown, on_hub=True)
        assert fetch.final.read_bytes() == CONTENT
        fetch.final.unlink()
        store.offers["/blob"] = Offer(bytes(len(CONTENT)))
        assert "another SHA-256" in fetch.fail(weights=unknown, on_hub=True).message


def test_circles_end(fetch, server) -> None:
    server.offers["/sam.pt"] = Offer(location="/sam.pt")
    assert "redirects endlessly" in fetch.fail().message


def test_plain_http_is_refused(fetch, server) -> None:
    server.offers["/sam.pt"] = Offer(location="http://files.example/sam.pt")
    assert "files.example was not contacted, because" in fetch.fail().message
    with ModelServer() as plain:
        plain.offers["/sam.pt"] = Offer(CONTENT)
        error = fetch.fail(url=plain.url("/sam.pt"))
        assert "would not be encrypted" in error.message
        assert plain.asked == []
        server.offers["/sam.pt"] = Offer(location=plain.url("/sam.pt"))
        assert "would not be encrypted" in fetch.fail().message
        assert plain.asked == []
    assert len(server.asked) == 2


def test_untrusted_certificates_are_refused(fetch, server, trusted, monkeypatch) -> None:
    server.offers["/sam.pt"] = Offer(CONTENT)
    monkeypatch.delenv("SSL_CERT_FILE")
    error = fetch.fail()
    assert error.message == "127.0.0.1 was refused because its certificate is not trusted."
    assert "SSL_CERT_FILE" in error.hint
    assert server.asked == []
    monkeypatch.setenv("SSL_CERT_FILE", str(trusted))
    fetch()
    assert fetch.final.read_bytes() == CONTENT


def test_nobody_answers(fetch, trusted) -> None:
    with ModelServer(trusted) as gone:
        url = gone.url("/sam.pt")
    error = fetch.fail(url=url)
    assert "because 127.0.0.1 cannot be reached" in error.message


@pytest.mark.slow
def test_a_server_that_falls_silent_is_given_up(fetch, server, silence) -> None:
    server.offers["/sam.pt"] = Offer(CONTENT, pause=lambda: silence.wait(60.0))
    error = fetch.fail(settings=replace(QUICK, attempts=1, silence_timeout=2.0))
    assert "because 127.0.0.1 sends nothing" in error.message
    assert fetch.part.stat().st_size == 4096


def test_a_silent_server_does_not_delay_a_cancel(fetch, server, silence) -> None:
    server.offers["/sam.pt"] = Offer(CONTENT, pause=lambda: silence.wait(60.0))
    fetch.recorder.cancelled = lambda: fetch.part.is_file() and fetch.part.stat().st_size == 4096
    with pytest.raises(CancelledError):
        fetch()
    assert not silence.is_set()


@pytest.mark.slow
def test_headers_that_drip_are_given_up(fetch, server, silence) -> None:
    server.offers["/sam.pt"] = Offer(CONTENT, drip=lambda: not silence.wait(0.05))
    error = fetch.fail(settings=replace(QUICK, attempts=2, response_timeout=0.5))
    assert "because 127.0.0.1 sends nothing" in error.message
    assert len(server.asked) == 2


def test_dripping_headers_do_not_delay_a_cancel(fetch, server, silence) -> None:
    server.offers["/sam.pt"] = Offer(CONTENT, drip=lambda: not silence.wait(0.05))
    fetch.recorder.cancelled = lambda: bool(server.asked)
    with pytest.raises(CancelledError):
        fetch()
    assert not silence.is_set()


def test_nothing_goes_on_after_a_transfer(fetch, server, silence) -> None:
    before = threading.active_count()
    server.offers["/sam.pt"] = Offer(CONTENT, drip=lambda: not silence.wait(0.05))
    fetch.fail(settings=replace(QUICK, attempts=1, response_timeout=0.2))
    server.offers["/sam.pt"] = Offer(CONTENT, endless=True)
    fetch.fail()
    for thread in threading.enumerate():
        if "process_request" in thread.name:
            thread.join(30.0)
    assert threading.active_count() == before
    assert not silence.is_set()


@pytest.mark.slow
def test_bodies_that_drip_are_given_up(fetch, server, silence) -> None:
    server.offers["/sam.pt"] = Offer(CONTENT, pause=lambda: silence.wait(0.05))
    error = fetch.fail(
        settings=replace(QUICK, attempts=2, rate_window=0.2, minimum_rate=10_000_000)
    )
    assert "because 127.0.0.1 sends less than 10000000 bytes a second" in error.message
    assert "What arrived so far is kept" in error.hint
    assert len(server.asked) == 2
    assert 4096 <= fetch.part.stat().st_size < len(CONTENT)


def test_a_transfer_has_a_deadline(fetch, server) -> None:
    server.offers["/sam.pt"] = Offer(CONTENT)
    error = fetch.fail(settings=replace(QUICK, attempts=9, total_timeout=-1.0))
    assert "because it took more than" in error.message
    assert len(server.asked) == 1


def test_endless_bodies_end(fetch, server) -> None:
    server.offers["/sam.pt"] = Offer(CONTENT, endless=True)
    assert "goes on after 102400 bytes" in fetch.fail().message
    unknown = replace(SAM, size=None)
    error = fetch.fail(weights=unknown, settings=replace(QUICK, maximum_size=1_000_000))
    assert "goes on after 1000000 bytes" in error.message
    assert list(fetch.folder.iterdir()) == []


@pytest.mark.slow
def test_endless_bodies_leave_room_on_the_disk(fetch, server, monkeypatch) -> None:
    free = 10**9

    def usage(_folder: Path) -> SimpleNamespace:
        written = fetch.part.stat().st_size if fetch.part.is_file() else 0
        return SimpleNamespace(free=free - 50 * written)

    monkeypatch.setattr(shutil, "disk_usage", usage)
    server.offers["/sam.pt"] = Offer(CONTENT * 10, endless=True)
    error = fetch.fail(weights=replace(SAM, size=None))
    assert error.code is ErrorCode.DISK_FULL
    assert "200 MB must stay free" in error.message
    assert list(fetch.folder.iterdir()) == []


def test_bodies_of_redirects_are_not_read(fetch, server) -> None:
    server.offers["/endless"] = Offer(CONTENT)
    server.offers["/sam.pt"] = Offer(CONTENT, location="/endless", endless=True)
    fetch()
    assert fetch.final.read_bytes() == CONTENT


def test_compressed_bodies_are_not_taken_for_the_file(fetch, server) -> None:
    packed = gzip.compress(CONTENT)
    server.offers["/sam.pt"] = Offer(packed, headers={"Content-Encoding": "gzip"})
    assert "bytes instead of" in fetch.fail().message
    error = fetch.fail(weights=replace(SAM, size=None))
    assert "another SHA-256" in error.message


def test_proxies_of_the_environment_are_used(fetch, server, monkeypatch) -> None:
    server.offers["/sam.pt"] = Offer(CONTENT)
    with ModelServer() as proxy:
        proxy.tunnel = server
        monkeypatch.setenv("HTTPS_PROXY", proxy.url(""))
        fetch(url="https://127.0.0.1:9/sam.pt")
        assert [asked.path for asked in proxy.asked] == ["127.0.0.1:9"]
    assert [asked.path for asked in server.asked] == ["/sam.pt"]
    assert fetch.final.read_bytes() == CONTENT
    fetch.final.unlink()
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    assert "cannot be reached" in fetch.fail(url="https://127.0.0.1:9/sam.pt").message


def test_proxies_that_let_nobody_through_are_reported(fetch, server, monkeypatch) -> None:
    with ModelServer() as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url(""))
        assert "The proxy could not be used" in fetch.fail().message
    assert server.asked == []


def test_proxies_that_cannot_be_used_are_reported(fetch, monkeypatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "socks5://proxy.example:1080")
    assert "The proxy could not be used" in fetch.fail().message


def test_a_full_disk_keeps_the_part(fetch, server) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("this system has no /dev/full")
    fetch.part.symlink_to(full)
    server.offers["/sam.pt"] = Offer(CONTENT)
    partial = PartialFile(fetch.final, DIGEST)
    with pytest.raises(JobError) as caught:
        partial.append(CONTENT)
    partial.close()
    assert caught.value.code is ErrorCode.DISK_FULL
    assert "what arrived so far is kept" in caught.value.hint


def test_a_size_that_only_the_server_knows_must_fit_the_disk(fetch, server) -> None:
    server.offers["/sam.pt"] = Offer(CONTENT, length=10**17)
    error = fetch.fail(weights=replace(SAM, size=None))
    assert error.code is ErrorCode.DISK_FULL
    assert error.message.startswith("sam.pt needs 100000000.00 GB more in")
