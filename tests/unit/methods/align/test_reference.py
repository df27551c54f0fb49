import http.server
import threading

import numpy as np
import pytest
import torch

from interp_plugins.methods.align import reference
from interp_plugins.methods.align.api import align
from interp_plugins.methods.align.downloads import fetch
from interp_plugins.methods.align.metric_choice import BoundMetric
from interp_plugins.methods.align.reference import Alignment
from interp_registry.catalog import Catalog
from interp_registry.discovery import discover
from interp_registry.errors import CorruptError, DataError, OfflineError, UsageError


@pytest.fixture
def files(tmp_path, make_layers):
    paths = []
    for seed in (1, 2):
        paths.append(str(tmp_path / f"ref{seed}.npy"))
        np.save(paths[-1], np.stack([a.numpy() for a in make_layers(3, seed=seed)], axis=1))
    return paths


def test_scores_are_those_of_align_with_the_same_preparation(files, make_layers):
    mine = make_layers(2, seed=9)
    found = Alignment(files).score(mine, "mutual_knn", topk=5)
    for path in files:
        expected = align(mine, np.load(path), topk=5, clamp="quantile-exact").best
        assert found[path] == expected


def test_reference_states_are_prepared_once_and_then_read_from_disk(files, make_layers, monkeypatch):
    mine = torch.stack(make_layers(2, seed=9), dim=1)
    calls = []
    prepare = BoundMetric.prepare
    monkeypatch.setattr(BoundMetric, "prepare", lambda self, layers: calls.append(1) or prepare(self, layers))
    first = Alignment(files)
    scores = first.score(mine, "cka")
    assert len(calls) == 3
    first.score(mine, "cka")
    assert len(calls) == 4
    monkeypatch.setattr(reference, "load_features", None)
    again = Alignment(models=files)
    assert again.score(mine, "cka") == scores
    assert len(calls) == 5


def test_changed_features_do_not_meet_an_old_state(files, make_layers):
    mine = make_layers(1, seed=9)
    before = Alignment(files[:1]).score(mine, "cka")[files[0]]
    np.save(files[0], np.stack([a.numpy() for a in make_layers(3, seed=77)], axis=1))
    assert Alignment(files[:1]).score(mine, "cka")[files[0]] != before


def test_wrong_use_is_explained(files, make_layers):
    with pytest.raises(UsageError, match="no reference"):
        Alignment()
    with pytest.raises(UsageError, match="both were given"):
        Alignment(files, models=files)
    with pytest.raises(DataError, match=r"the features have 60 samples and .* has 64"):
        Alignment(files).score([layer[:60] for layer in make_layers(1)])
    with pytest.raises(UsageError, match="'sound' is unknown"):
        Alignment(files).get_data("sound")


def test_the_26_published_short_names_are_in_the_catalog():
    catalog = Catalog(tuple(discover().config_folders)).get("references", "platonic")
    assert len(catalog["models"]) == 26
    assert catalog["models"]["dinov2_g"]["file"] == "vit_giant_patch14_dinov2.lvd142m_pool-cls.pt"
    assert catalog["models"]["llama_65b"]["file"] == "huggyllama_llama-65b_pool-avg.pt"
    with pytest.raises(UsageError, match='use dataset="prh"'):
        Alignment(["dinov2_g"], offline=True).score(torch.randn(20, 4))
    with pytest.raises(OfflineError, match="the network is off"):
        Alignment(["dinov2_g"], dataset="minhuh/prh", offline=True).score(torch.randn(20, 4))


@pytest.mark.slow
def test_a_model_of_the_zoo_is_extracted_and_scored():
    alignment = Alignment(["vit-d32"], limit=24)
    texts, images = alignment.get_data("text"), alignment.get_data("image")
    assert len(texts) == len(images) == 24
    assert isinstance(texts[0], str)
    found = alignment.score(torch.randn(24, 2, 8, generator=torch.Generator().manual_seed(0)), topk=3)
    assert 0 <= found["vit-d32"].score <= 1


class Server(http.server.BaseHTTPRequestHandler):
    content = bytes(range(256)) * 40
    stop_after: int | None = None
    asked: list[str | None]

    def do_GET(self):
        start = int((self.headers.get("Range") or "bytes=0-")[6:].split("-")[0])
        type(self).asked.append(self.headers.get("Range"))
        body = self.content[start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: self.stop_after])

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    Server.asked, Server.stop_after = [], None
    with http.server.HTTPServer(("127.0.0.1", 0), Server) as running:
        thread = threading.Thread(target=running.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}/file.pt"
        running.shutdown()
        thread.join()


def test_a_download_that_breaks_off_goes_on_where_it_stopped(server, tmp_path):
    path = tmp_path / "cache" / "file.pt"
    Server.stop_after = 1000
    with pytest.raises(OfflineError, match=r"broke off after 1000 of 10240|cannot be reached"):
        fetch(server, path)
    assert not path.exists()
    Server.stop_after = None
    assert fetch(server, path).read_bytes() == Server.content
    assert Server.asked == [None, "bytes=1000-"]
    fetch(server, path)
    assert len(Server.asked) == 2


def test_a_file_with_another_digest_is_refused(server, tmp_path):
    path = tmp_path / "file.pt"
    with pytest.raises(CorruptError, match="expected 00ff"):
        fetch(server, path, sha256="00ff")
    assert list(tmp_path.iterdir()) == []
    fetch(server, path)
    path.write_bytes(b"changed")
    with pytest.raises(CorruptError, match="has the digest"):
        fetch(server, path)
