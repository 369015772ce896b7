"""One file over HTTP on good and on bad days, from a server on this computer."""

from __future__ import annotations

import hashlib
import json
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from model_server import ModelServer, Offer

from geoseg_qgis.engine.zoo import asking, transfer
from geoseg_qgis.engine.zoo.addresses import Address
from geoseg_qgis.engine.zoo.asking import TransferSettings, open_client
from geoseg_qgis.engine.zoo.card import WeightsFile
from geoseg_qgis.engine.zoo.partial import PartialFile
from geoseg_qgis.engine.zoo.transfer import Transfer
from geoseg_qgis.protocol.errors import CancelledError, ErrorCode, JobError

CONTENT = bytes(range(256)) * 400
DIGEST = hashlib.sha256(CONTENT).hexdigest()
QUICK = TransferSettings(attempts=3, first_wait=0.0, timeout=30.0, allow_plain_http=True)
SAM = WeightsFile("sam.pt", "sam2", size=len(CONTENT), sha256=DIGEST)


class Fetching:
    """Fetches one file of the server into a folder."""

    def __init__(self, server: ModelServer, folder: Path, watch) -> None:
        self.server, self.folder, self.watch = server, folder, watch
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
        with open_client(settings) as client:
            moved = Transfer(client, address, weights, partial, self.watch, settings)
            moved.run()
        partial.finish()
        return moved

    def fail(self, **arguments) -> JobError:
        with pytest.raises(JobError) as caught:
            self(**arguments)
        assert not self.final.exists()
        return caught.value


@pytest.fixture
def fetch(server: ModelServer, tmp_path: Path, watch) -> Fetching:
    (tmp_path / "models").mkdir()
    return Fetching(server, tmp_path / "models", watch)


def ranges(server: ModelServer) -> list[str]:
    return [asked.headers.get("range", "") for asked in server.asked]


def test_a_whole_file_in_one_go(fetch, server) -> None:
    server.offers["/sam.pt"] = Offer(CONTENT)
    assert fetch().received == len(CONTENT)
    assert fetch.final.read_bytes() == CONTENT
    assert [path.name for path in fetch.folder.iterdir()] == ["sam.pt"]
    assert fetch.watch.fractions[-1] == 1.0
    assert fetch.watch.phases[0] == "Downloading sam.pt (0.1 MB)"
    assert server.asked[0].headers["accept-encoding"] == "identity"


def test_broken_connections_are_taken_up_where_they_ended(fetch, server) -> None:
    server.offers["/sam.pt"] = Offer(CONTENT, break_after=[40_000, 30_000])
    assert fetch().received == len(CONTENT)
    assert fetch.final.read_bytes() == CONTENT
    assert ranges(server) == ["", "bytes=40000-", "bytes=70000-"]
    assert server.asked[1].headers["if-range"] == '"one"'


def test_a_cancel_keeps_what_came_and_the_next_call_goes_on(fetch, server) -> None:
    server.offers["/sam.pt"] = Offer(CONTENT, pause=lambda: None)
    fetch.watch.looks = 1
    with pytest.raises(CancelledError):
        fetch()
    kept = fetch.part.stat().st_size
    assert 0 < kept <= len(CONTENT)
    assert not fetch.final.exists()
    fetch.watch.looks = None
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
    assert "alone vouches" in fetch.watch.sentences[0]


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


def test_a_part_that_is_too_long_begins_anew(fetch, server) -> None:
    weights = replace(SAM, size=None)
    server.offers["/sam.pt"] = Offer(CONTENT)
    fetch.part.write_bytes(bytes(len(CONTENT) + 5))
    fetch.part.with_name("sam.pt.part.json").write_text(json.dumps({"identity": DIGEST}))
    fetch(weights)
    assert ranges(server) == [f"bytes={len(CONTENT) + 5}-", ""]
    assert fetch.final.read_bytes() == CONTENT


def test_a_wrong_digest_is_deleted_and_said(fetch, server) -> None:
    server.offers["/sam.pt"] = Offer(bytes(len(CONTENT)))
    error = fetch.fail()
    assert error.code is ErrorCode.MODEL_INVALID
    assert "is not the file that the card describes, and was deleted: it has another" in str(error)
    assert list(fetch.folder.iterdir()) == []
    assert len(server.asked) == 1


def test_a_size_that_cannot_be_right_is_not_fetched(fetch, server) -> None:
    server.offers["/sam.pt"] = Offer(CONTENT * 2)
    error = fetch.fail()
    assert f"it has {2 * len(CONTENT)} bytes in place of {len(CONTENT)}" in error.message
    assert list(fetch.folder.iterdir()) == []


def test_a_promise_of_more_bytes_than_come_is_an_interruption(fetch, server) -> None:
    server.offers["/sam.pt"] = Offer(CONTENT, length=len(CONTENT) + 1000)
    error = fetch.fail(weights=replace(SAM, size=None))
    assert error.code is ErrorCode.MODEL_MISSING
    assert "the connection to 127.0.0.1 broke" in error.message
    assert "What came so far is kept" in error.hint
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
        "sam.pt could not be fetched, because 127.0.0.1 answers with status 503."
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


def test_progress_forgives_earlier_breaks(fetch, server, monkeypatch) -> None:
    monkeypatch.setattr(transfer, "_PROGRESS", 10_000)
    server.offers["/sam.pt"] = Offer(CONTENT, break_after=[15_000] * 5)
    fetch()
    assert len(server.asked) == 6


@pytest.mark.parametrize(
    ("status", "headers", "words"),
    [
        (404, {}, "127.0.0.1 has no sam.pt (status 404). It may have been moved: look at"),
        (403, {}, "does not let you have sam.pt (status 403). Look at https://page.example/sam"),
        (401, {"X-Error-Code": "RepoNotFound"}, "does not let you have sam.pt (status 401)."),
        (418, {}, "answers the request for sam.pt with status 418."),
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
    assert "granted access (status 401)" in error.message
    assert "Visit https://page.example/sam" in error.hint
    assert "set the variable HF_TOKEN" in error.hint
    assert "authorization" not in server.asked[0].headers


def test_repositories_that_are_not_there_are_told_from_gated_ones(fetch, server) -> None:
    server.offers["/sam.pt"] = Offer(status=401, headers={"X-Error-Code": "RepoNotFound"})
    error = fetch.fail(on_hub=True)
    assert error.message == "127.0.0.1 has no sam.pt, or shows it to others only (status 401)."
    assert "look at https://page.example/sam" in error.hint


def test_an_account_without_access_is_told_so(fetch, server, monkeypatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_pieces_of_a_word")
    server.offers["/sam.pt"] = Offer(status=403, headers={"X-Error-Code": "GatedRepo"})
    error = fetch.fail(on_hub=True)
    assert "and that your token may read it" in error.hint
    assert server.asked[0].headers["authorization"] == "Bearer hf_pieces_of_a_word"
    assert "hf_pieces" not in str(error) + error.detail
    server.offers["/sam.pt"] = Offer(status=401)
    assert "does not know the account" in fetch.fail(on_hub=True).message


def test_the_account_is_not_named_where_a_redirect_leads(fetch, server, monkeypatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_pieces_of_a_word")
    with ModelServer() as store:
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


def test_the_digest_that_the_hub_states_is_checked(fetch, server) -> None:
    unknown = replace(SAM, sha256=None)
    with ModelServer() as store:
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
    assert "redirects in circles" in fetch.fail().message


def test_plain_http_is_for_this_computer_in_tests_only(fetch, server) -> None:
    server.offers["/sam.pt"] = Offer(location="http://files.example/sam.pt")
    assert "files.example is not asked, because" in fetch.fail().message
    server.offers["/sam.pt"] = Offer(CONTENT)
    error = fetch.fail(settings=replace(QUICK, allow_plain_http=False))
    assert "without encryption" in error.message
    assert len(server.asked) == 1


def test_untrusted_certificates_are_refused(fetch, certificate, monkeypatch) -> None:
    with ModelServer(certificate) as server:
        server.offers["/sam.pt"] = Offer(CONTENT)
        error = fetch.fail(url=server.url("/sam.pt"))
        assert error.message == "127.0.0.1 was refused because its certificate is not trusted."
        assert "SSL_CERT_FILE" in error.hint
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        fetch(url=server.url("/sam.pt"))
    assert fetch.final.read_bytes() == CONTENT


def test_nobody_answers(fetch) -> None:
    with ModelServer() as gone:
        url = gone.url("/sam.pt")
    error = fetch.fail(url=url)
    assert "because 127.0.0.1 cannot be reached" in error.message


def test_a_server_that_falls_silent_is_given_up(fetch, server) -> None:
    silence = threading.Event()
    server.offers["/sam.pt"] = Offer(CONTENT, pause=lambda: silence.wait(60.0) and None)
    error = fetch.fail(settings=replace(QUICK, attempts=1, timeout=2.0))
    silence.set()
    assert "because 127.0.0.1 sends nothing" in error.message
    assert fetch.part.stat().st_size == 4096


def test_proxies_of_the_environment_are_used(fetch, server, monkeypatch) -> None:
    server.offers["/sam.pt"] = Offer(CONTENT)
    monkeypatch.setenv("HTTP_PROXY", server.url(""))
    fetch(url="http://localhost:9/sam.pt")
    assert [asked.path for asked in server.asked] == ["http://localhost:9/sam.pt"]
    fetch.final.unlink()
    monkeypatch.setenv("NO_PROXY", "localhost")
    assert "cannot be reached" in fetch.fail(url="http://localhost:9/sam.pt").message


def test_proxies_that_cannot_be_used_are_said(monkeypatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "socks5://proxy.example:1080")
    with pytest.raises(JobError, match="The proxy could not be used"):
        open_client(QUICK)


def test_a_full_disk_keeps_the_part(fetch, server) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("this system has no /dev/full")
    fetch.part.symlink_to(full)
    server.offers["/sam.pt"] = Offer(CONTENT)
    partial = PartialFile(fetch.final, DIGEST)
    with pytest.raises(JobError) as caught:
        partial.append(CONTENT)
    assert caught.value.code is ErrorCode.DISK_FULL
    assert "what came so far is kept" in caught.value.hint


def test_a_size_that_only_the_server_knows_must_fit_the_disk(fetch, server) -> None:
    server.offers["/sam.pt"] = Offer(CONTENT, length=10**17)
    error = fetch.fail(weights=replace(SAM, size=None))
    assert error.code is ErrorCode.DISK_FULL
    assert error.message.startswith("sam.pt needs 100000000.00 GB more in")


def test_the_default_never_allows_plain_http() -> None:
    assert asking.TransferSettings().allow_plain_http is False
